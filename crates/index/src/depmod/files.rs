//! The contents of the files of an index.

use std::borrow::Cow;

use bstr::ByteSlice;
use ferrmod_image::normalise_alias;
use hashbrown::HashSet;

use super::elf::Facts;
use super::events::{DuplicateIn, Event};
use super::graph::{Graph, ModuleNumber};
use super::hash;
use super::walk::{base, stem};
use crate::trie::{KeyError, NodeOrder, TrieWriteError, TrieWriter};

/// A module of the index.
pub(super) struct Module<'a> {
    pub(super) name: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) facts: Option<&'a Facts>,
}

/// A file of an index and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Its name.
    pub name: &'static str,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// A file and the trie that goes with it, and what is to be told about them.
#[derive(Default)]
pub(super) struct Made {
    pub(super) text: Vec<u8>,
    pub(super) trie: Vec<u8>,
    pub(super) notes: Vec<Note>,
}

/// An [`Event`] that can be kept.
pub(super) enum Note {
    Duplicate(DuplicateIn, Vec<u8>, Vec<u8>),
    UnmatchedBracket(Vec<u8>),
    BadKey(Vec<u8>, Vec<u8>, KeyError),
    DevnameIncomplete(Vec<u8>, Vec<u8>),
    InvalidBuiltin(Vec<u8>),
}

impl Note {
    pub(super) fn event(&self) -> Event<'_> {
        match self {
            Note::Duplicate(index, key, module) => Event::Duplicate { index: *index, key, module },
            Note::UnmatchedBracket(alias) => Event::UnmatchedBracket { alias },
            Note::BadKey(key, module, problem) => Event::BadKey { key, module, problem: *problem },
            Note::DevnameIncomplete(module, node) => Event::DevnameIncomplete { module, node },
            Note::InvalidBuiltin(line) => Event::InvalidBuiltin { line },
        }
    }
}

impl Module<'_> {
    /// The aliases, in the order of the file.
    fn aliases(&self) -> impl Iterator<Item = &[u8]> {
        strings(self.facts.map(|facts| facts.aliases.as_slice()).unwrap_or_default())
    }

    /// The soft or weak dependencies, in the order of the file; `key` has its `=`.
    fn wishes<'m>(&'m self, key: &'m [u8]) -> impl Iterator<Item = &'m [u8]> + 'm {
        let wishes = self.facts.map(|facts| facts.wishes.as_slice()).unwrap_or_default();
        strings(wishes).filter_map(move |string| string.strip_prefix(key))
    }
}

/// Strings that are each ended by a NUL.
fn strings(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (string, after) = rest.split_at_checked(rest.find_byte(0)?)?;
        rest = after.get(1..).unwrap_or_default();
        Some(string)
    })
}

/// What is wanted of the files.
#[derive(Debug, Clone, Copy)]
pub(super) struct What {
    /// The order of the nodes of tries.
    pub(super) order: NodeOrder,
    /// Whether tries are wanted at all.
    pub(super) tries: bool,
    /// Whether keys that a module has twice are told.
    pub(super) duplicates: bool,
}

/// A trie under construction, and what it does not take.
struct Keys {
    trie: TrieWriter,
    /// Whether the trie is wanted.
    wanted: bool,
    /// The priorities of the keys that were added, when somebody wants to know which come twice.
    seen: Option<HashSet<(Vec<u8>, u32)>>,
    notes: Vec<Note>,
}

impl Keys {
    /// Room for `bytes` of keys and values; `duplicates` are told when that is wanted.
    fn new(bytes: usize, what: What) -> Keys {
        let trie = if what.tries { TrieWriter::with_capacity(bytes / 32, bytes) } else { TrieWriter::new() };
        Keys { trie, wanted: what.tries, seen: what.duplicates.then(HashSet::new), notes: Vec::new() }
    }

    /// Adds a key of `index` for `module`.
    fn add(&mut self, index: DuplicateIn, key: &[u8], value: &[u8], priority: u32, module: &[u8]) {
        if !self.wanted {
            return;
        }
        match self.trie.insert(key, value, priority) {
            Ok(()) => {
                if self.seen.as_mut().is_some_and(|seen| !seen.insert((key.to_vec(), priority))) {
                    self.notes.push(Note::Duplicate(index, key.to_vec(), module.to_vec()));
                }
            }
            Err(problem) => self.notes.push(Note::BadKey(key.to_vec(), module.to_vec(), problem)),
        }
    }

    fn finish(self, text: Vec<u8>, what: What) -> Result<Made, TrieWriteError> {
        let trie = if self.wanted { self.trie.finish(what.order)? } else { Vec::new() };
        Ok(Made { text, trie, notes: self.notes })
    }
}

/// Puts words into `text`.
fn put(text: &mut Vec<u8>, words: &[&[u8]]) {
    words.iter().for_each(|word| text.extend_from_slice(word));
}

/// `modules.dep` and its trie.
pub(super) fn dependencies(modules: &[Module<'_>], graph: &Graph, what: What) -> Result<Made, TrieWriteError> {
    let mut text = Vec::with_capacity(modules.len() * 140);
    let mut keys = Keys::new(modules.len() * 160, what);
    let mut seen = vec![ModuleNumber::MAX; modules.len()];
    for (number, module) in modules.iter().enumerate() {
        let start = text.len();
        put(&mut text, &[module.path, b":"]);
        for needed in graph.closure(number as ModuleNumber, &mut seen) {
            if let Some(needed) = modules.get(needed as usize) {
                put(&mut text, &[b" ", needed.path]);
            }
        }
        let line = text.get(start..).unwrap_or_default().to_vec();
        text.push(b'\n');
        keys.add(DuplicateIn::Dependencies, module.name, &line, number as u32, module.name);
    }
    keys.finish(text, what)
}

/// `modules.alias` and its trie.
pub(super) fn aliases(modules: &[Module<'_>], what: What) -> Result<Made, TrieWriteError> {
    let bytes: usize = modules.iter().filter_map(|module| module.facts).map(|facts| facts.aliases.len()).sum();
    let mut text = Vec::with_capacity(bytes * 2);
    text.extend_from_slice(b"# Aliases extracted from modules themselves.\n");
    let mut keys = Keys::new(bytes + bytes / 2, what);
    for (number, module) in modules.iter().enumerate() {
        for alias in module.aliases() {
            put(&mut text, &[b"alias ", alias, b" ", module.name, b"\n"]);
            if !what.tries {
                continue;
            }
            let Some(key) = checked_alias(alias) else {
                keys.notes.push(Note::UnmatchedBracket(alias.to_vec()));
                continue;
            };
            keys.add(DuplicateIn::Aliases, &key, module.name, number as u32, module.name);
        }
    }
    keys.finish(text, what)
}

/// An alias as it is looked for, unless it has a bracket without its partner.
fn checked_alias(alias: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut rest = alias;
    while let Some(at) = rest.find_byteset(b"[]") {
        if rest.get(at) == Some(&b']') {
            return None;
        }
        let inside = rest.get(at..)?;
        let end = inside.find_byte(b']')?;
        rest = inside.get(end + 1..)?;
    }
    Some(normalise_alias(alias))
}

/// `modules.symbols` and its trie.
pub(super) fn symbols(
    modules: &[Module<'_>],
    mut exported: Vec<(&[u8], ModuleNumber)>,
    what: What,
) -> Result<Made, TrieWriteError> {
    hash::order(&mut exported, hash::SYMBOL_BUCKETS, |(name, _)| name);
    let mut text = Vec::with_capacity(exported.len() * 48);
    text.extend_from_slice(b"# Aliases for symbols, used by symbol_request().\n");
    let mut keys = Keys::new(exported.len() * 40, what);
    let mut key = b"symbol:".to_vec();
    for (name, number) in exported {
        let Some(module) = modules.get(number as usize) else {
            continue;
        };
        put(&mut text, &[b"alias symbol:", name, b" ", module.name, b"\n"]);
        key.truncate(b"symbol:".len());
        key.extend_from_slice(name);
        keys.add(DuplicateIn::Symbols, &key, module.name, number, module.name);
    }
    keys.finish(text, what)
}

/// `modules.softdep`.
pub(super) fn softdeps(modules: &[Module<'_>]) -> Vec<u8> {
    wishes(modules, b"# Soft dependencies extracted from modules themselves.\n", b"softdep")
}

/// `modules.weakdep`.
pub(super) fn weakdeps(modules: &[Module<'_>]) -> Vec<u8> {
    wishes(modules, b"# Weak dependencies extracted from modules themselves.\n", b"weakdep")
}

fn wishes(modules: &[Module<'_>], header: &[u8], word: &[u8]) -> Vec<u8> {
    let mut text = header.to_vec();
    let key = [word, b"="].concat();
    for module in modules {
        for value in module.wishes(&key) {
            put(&mut text, &[word, b" ", module.name, b" ", value, b"\n"]);
        }
    }
    text
}

/// `modules.devname`: the device nodes that are there before their drivers.
pub(super) fn devnames(modules: &[Module<'_>]) -> (Vec<u8>, Vec<Note>) {
    let mut text = Vec::new();
    let mut notes = Vec::new();
    for module in modules {
        let mut node = None;
        let mut device = None;
        if !module.facts.is_some_and(|facts| facts.aliases.contains_str(b"devname:")) {
            continue;
        }
        for alias in module.aliases() {
            if let Some(name) = alias.strip_prefix(b"devname:") {
                node = Some(name);
            } else if let Some(rest) = alias.strip_prefix(b"char-major-") {
                device = numbers(rest).map(|numbers| ('c', numbers)).or(device);
            } else if let Some(rest) = alias.strip_prefix(b"block-major-") {
                device = numbers(rest).map(|numbers| ('b', numbers)).or(device);
            }
            if node.is_some() && device.is_some() {
                break;
            }
        }
        match (node, device) {
            (Some(node), Some((kind, (major, minor)))) => {
                if text.is_empty() {
                    text.extend_from_slice(b"# Device nodes to trigger on-demand module loading.\n");
                }
                let device = format!(" {kind}{major}:{minor}\n");
                put(&mut text, &[module.name, b" ", node, device.as_bytes()]);
            }
            (Some(node), None) => notes.push(Note::DevnameIncomplete(module.name.to_vec(), node.to_vec())),
            (None, _) => {}
        }
    }
    (text, notes)
}

/// The two numbers of `10-200`, whatever follows them; read as scanf reads `%u-%u`, which takes spaces and signs.
fn numbers(text: &[u8]) -> Option<(u32, u32)> {
    let number = |text: &mut &[u8]| -> Option<u32> {
        let mut rest = text.trim_ascii_start();
        let negative = rest.starts_with(b"-");
        rest = rest.strip_prefix(b"-").or_else(|| rest.strip_prefix(b"+")).unwrap_or(rest);
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, after) = rest.split_at_checked(length).filter(|(digits, _)| !digits.is_empty())?;
        *text = after;
        let value =
            digits.iter().fold(0u64, |value, &digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        let value = value as u32;
        Some(if negative { value.wrapping_neg() } else { value })
    };
    let mut rest = text;
    let major = number(&mut rest)?;
    rest = rest.strip_prefix(b"-")?;
    Some((major, number(&mut rest)?))
}

/// The trie of `modules.builtin`; empty when that is not there.
pub(super) fn builtin(text: Option<&[u8]>, what: What) -> Result<Made, TrieWriteError> {
    let Some(text) = text else {
        return Ok(Made::default());
    };
    let mut keys = Keys::new(text.len(), What { duplicates: false, ..what });
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        // Behind a NUL kmod sees nothing.
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        if !line.first().is_some_and(u8::is_ascii_alphabetic) {
            keys.notes.push(Note::InvalidBuiltin(line.to_vec()));
            continue;
        }
        let name = stem(base(line));
        keys.add(DuplicateIn::Dependencies, &name, b"", 0, &name);
    }
    keys.finish(Vec::new(), what)
}

/// The trie of the aliases in `modules.builtin.modinfo`; empty when that is not there.
pub(super) fn builtin_aliases(text: Option<&[u8]>, what: What) -> Result<Made, TrieWriteError> {
    let Some(text) = text else {
        return Ok(Made::default());
    };
    let mut keys = Keys::new(text.len(), What { duplicates: false, ..what });
    // What comes behind the last NUL was cut off.
    for string in strings(text) {
        let Some((module, rest)) = string.split_once_str(b".") else {
            continue;
        };
        let Some(alias) = rest.strip_prefix(b"alias=") else {
            continue;
        };
        match checked_alias(alias) {
            Some(key) => keys.add(DuplicateIn::Aliases, &key, module, 0, module),
            None => keys.notes.push(Note::UnmatchedBracket(alias.to_vec())),
        }
    }
    keys.finish(Vec::new(), what)
}
