//! The symbols that modules name, each kept once.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// A symbol as a module exports or imports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol<'a> {
    /// Its name, without the dot that PowerPC puts before the names of functions.
    pub(super) name: &'a [u8],
    /// The check sum of its type, 0 when there is none.
    pub(super) crc: u64,
    /// Whether the module does without it when it is not there.
    pub(super) weak: bool,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    start: usize,
    length: u32,
    weak: bool,
    crc: u64,
}

/// The number of a symbol in its [`Symbols`].
pub(super) type SymbolNumber = u32;

/// A set of symbols, numbered from 0 in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    text: Vec<u8>,
    kept: Vec<Kept>,
    table: HashTable<SymbolNumber>,
    hasher: DefaultHashBuilder,
}

impl Symbols {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Symbol `number`; one without a name when there is no such.
    pub(super) fn get(&self, number: SymbolNumber) -> Symbol<'_> {
        let Some(kept) = self.kept.get(number as usize) else {
            return Symbol { name: b"", crc: 0, weak: false };
        };
        Symbol { name: slice(&self.text, kept), crc: kept.crc, weak: kept.weak }
    }

    /// Every symbol, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.len() as SymbolNumber).map(|number| self.get(number))
    }

    /// The number of `symbol`, a new one when it has none yet.
    pub(super) fn number(&mut self, symbol: Symbol<'_>) -> SymbolNumber {
        let Symbols { text, kept, table, hasher } = self;
        let hash = |name: &[u8], crc: u64, weak: bool| hasher.hash_one((name, crc, weak));
        let same = |&number: &SymbolNumber| {
            kept.get(number as usize).is_some_and(|kept| {
                kept.crc == symbol.crc && kept.weak == symbol.weak && slice(text, kept) == symbol.name
            })
        };
        let own = hash(symbol.name, symbol.crc, symbol.weak);
        if let Some(&number) = table.find(own, same) {
            return number;
        }
        let number = kept.len() as SymbolNumber;
        kept.push(Kept { start: text.len(), length: symbol.name.len() as u32, weak: symbol.weak, crc: symbol.crc });
        text.extend_from_slice(symbol.name);
        table.insert_unique(own, number, |&number| {
            kept.get(number as usize).map(|kept| hash(slice(text, kept), kept.crc, kept.weak)).unwrap_or_default()
        });
        number
    }
}

fn slice<'a>(text: &'a [u8], kept: &Kept) -> &'a [u8] {
    text.get(kept.start..kept.start + kept.length as usize).unwrap_or_default()
}
