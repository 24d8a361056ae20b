//! What was learned from the modules, kept beside the index for the next time.
//!
//! The file is a magic number with a version, a check sum of the rest, the symbols, and for each module the identity of its file and its
//! facts. A module's record counts for a file of the same identity only: device, inode, size, and both times. It is not kept
//! when the file was changed so shortly before it was read that another change might have left the same times.

use std::time::{SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;

use super::elf::Facts;
use super::symbols::{Symbol, SymbolNumber, Symbols};
use super::walk::Identity;

/// The file's name.
pub(super) const NAME: &str = "modules.ferrmod";

/// The magic number; its last byte is the version of everything in the file.
const MAGIC: &[u8; 8] = b"FRMDEP\0\x01";

/// The largest file that is read back. That of 50,000 modules has 40 MB.
pub(super) const MAX: u64 = 1 << 30;

/// How far apart two changes are at least that file systems with fractions of a second tell apart: some ticks of the kernel's clock.
const FINE: i128 = 100_000_000;

/// The same for file systems without; FAT counts in two seconds.
const COARSE: i128 = 2_000_000_000;

/// The facts that were kept.
#[derive(Default)]
pub(super) struct Cache<'a> {
    records: HashMap<Identity, &'a [u8]>,
    /// How many symbols their numbers go up to.
    symbols: usize,
}

impl<'a> Cache<'a> {
    /// Reads what was kept; puts its symbols into `symbols`, which has to be empty. A file that is not whole is as good as none.
    pub(super) fn read(bytes: &'a [u8], symbols: &mut Symbols) -> Cache<'a> {
        Cache::parse(bytes, symbols).unwrap_or_else(|| {
            *symbols = Symbols::default();
            Cache::default()
        })
    }

    fn parse(bytes: &'a [u8], symbols: &mut Symbols) -> Option<Cache<'a>> {
        let (sum, body) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut input = Input(body);
        let count = input.number()?;
        for number in 0..count {
            let length = input.number()?;
            let crc = input.number()?;
            let name = input.take(usize::try_from(length >> 1).ok()?)?;
            // Each symbol is there once, so that its number is its place.
            if u64::from(symbols.number(Symbol { name, crc, weak: length & 1 != 0 })) != number {
                return None;
            }
        }
        let mut records = HashMap::new();
        for _ in 0..input.number()? {
            let identity = Identity {
                device: input.word()?,
                inode: input.word()?,
                size: input.word()?,
                modified: input.word()?.cast_signed().into(),
                changed: input.word()?.cast_signed().into(),
            };
            let length = usize::try_from(input.number()?).ok()?;
            records.insert(identity, input.take(length)?);
        }
        input.0.is_empty().then_some(Cache { records, symbols: symbols.len() })
    }

    /// How many modules there are facts of.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The facts of the file of this identity.
    pub(super) fn find(&self, identity: &Identity) -> Option<Facts> {
        let mut input = Input(self.records.get(identity)?);
        let mut list = || -> Option<Vec<SymbolNumber>> {
            let count = usize::try_from(input.number()?).ok()?;
            let mut list = Vec::with_capacity(count.min(input.0.len()));
            for _ in 0..count {
                let number = input.number()?;
                list.push(SymbolNumber::try_from(number).ok().filter(|&number| (number as usize) < self.symbols)?);
            }
            Some(list)
        };
        let (exports, imports) = (list()?, list()?);
        let length = usize::try_from(input.number()?).ok()?;
        let aliases = input.take(length)?.to_vec();
        Some(Facts { exports, imports, aliases, wishes: input.0.to_vec() })
    }
}

/// The bytes that are still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    /// A number in as many bytes as it needs (LEB128).
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The file that keeps `modules`, the facts of files that were all read after `started`.
pub(super) fn write<'f>(
    modules: impl Iterator<Item = (&'f Identity, &'f Facts)>,
    symbols: &Symbols,
    started: i128,
) -> Vec<u8> {
    // Symbols that nobody uses any more are left out: numbers are given anew.
    let mut numbers = vec![SymbolNumber::MAX; symbols.len()];
    let mut used: SymbolNumber = 0;
    let mut kept = Vec::new();
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut count = 0;
    for (identity, facts) in modules.filter(|(identity, _)| is_settled(identity, started)) {
        record.clear();
        for list in [&facts.exports, &facts.imports] {
            put_number(&mut record, list.len() as u64);
            for &old in list {
                let Some(number) = numbers.get_mut(old as usize) else {
                    continue;
                };
                if *number == SymbolNumber::MAX {
                    *number = used;
                    used += 1;
                    let symbol = symbols.get(old);
                    put_number(&mut kept, (symbol.name.len() as u64) << 1 | u64::from(symbol.weak));
                    put_number(&mut kept, symbol.crc);
                    kept.extend_from_slice(symbol.name);
                }
                put_number(&mut record, (*number).into());
            }
        }
        put_number(&mut record, facts.aliases.len() as u64);
        record.extend_from_slice(&facts.aliases);
        record.extend_from_slice(&facts.wishes);
        let time = |time: i128| i64::try_from(time).unwrap_or(i64::MAX).cast_unsigned();
        for word in [identity.device, identity.inode, identity.size, time(identity.modified), time(identity.changed)] {
            records.extend(word.to_le_bytes());
        }
        put_number(&mut records, record.len() as u64);
        records.extend_from_slice(&record);
        count += 1;
    }
    let mut body = Vec::with_capacity(kept.len() + records.len() + 20);
    body.extend_from_slice(MAGIC);
    body.extend([0; 4]);
    put_number(&mut body, used.into());
    body.extend(kept);
    put_number(&mut body, count);
    body.extend(records);
    let sum = crc32fast::hash(body.get(MAGIC.len() + 4..).unwrap_or_default());
    body.iter_mut().skip(MAGIC.len()).zip(sum.to_le_bytes()).for_each(|(to, from)| *to = from);
    body
}

/// Whether any change after `started` gives the file other times than it has.
fn is_settled(identity: &Identity, started: i128) -> bool {
    let last = identity.modified.max(identity.changed);
    let fine = identity.changed % 1_000_000_000 != 0 && identity.modified % 1_000 != 0;
    last.saturating_add(if fine { FINE } else { COARSE }) < started
}

/// The time by the machine's clock, in nanoseconds since 1970.
pub(super) fn now() -> i128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<(Identity, Facts)>, Symbols) {
        let mut symbols = Symbols::default();
        let mut number = |name: &str, crc, weak| symbols.number(Symbol { name: name.as_bytes(), crc, weak });
        let facts = [
            Facts {
                exports: vec![number("a", 1, false), number("b", u64::MAX, false)],
                imports: vec![number("kfree", 7, false), number("maybe", 0, true)],
                aliases: b"pci:*\0\0".to_vec(),
                wishes: b"softdep=pre: b\0".to_vec(),
            },
            Facts { imports: vec![number("a", 1, false)], ..Facts::default() },
        ];
        let identity = |inode| Identity { device: 1, inode, size: 9, modified: 1_000_000_001, changed: 2_000_000_001 };
        (facts.into_iter().zip(1..).map(|(facts, inode)| (identity(inode), facts)).collect(), symbols)
    }

    fn file(modules: &[(Identity, Facts)], symbols: &Symbols, started: i128) -> Vec<u8> {
        write(modules.iter().map(|(identity, facts)| (identity, facts)), symbols, started)
    }

    fn names(list: &[SymbolNumber], symbols: &Symbols) -> Vec<(Vec<u8>, u64, bool)> {
        list.iter().map(|&number| symbols.get(number)).map(|s| (s.name.to_vec(), s.crc, s.weak)).collect()
    }

    #[test]
    fn what_was_kept_is_found_for_the_same_file_only() {
        let (modules, symbols) = sample();
        let bytes = file(&modules, &symbols, 10_000_000_000);
        let mut read = Symbols::default();
        let cache = Cache::read(&bytes, &mut read);
        assert_eq!(cache.len(), 2);
        for (identity, facts) in &modules {
            let found = cache.find(identity).expect("kept");
            assert_eq!(names(&found.imports, &read), names(&facts.imports, &symbols));
            assert_eq!(names(&found.exports, &read), names(&facts.exports, &symbols));
            assert_eq!((&found.aliases, &found.wishes), (&facts.aliases, &facts.wishes));
            for other in [
                Identity { size: 8, ..*identity },
                Identity { modified: 1, ..*identity },
                Identity { changed: 1, ..*identity },
                Identity { device: 2, ..*identity },
                Identity { inode: 99, ..*identity },
            ] {
                assert_eq!(cache.find(&other), None);
            }
        }
    }

    #[test]
    fn a_file_that_was_just_changed_is_not_kept() {
        let (modules, symbols) = sample();
        for (started, kept) in [(2_000_000_000, 0), (2_050_000_000, 0), (2_200_000_000, 2)] {
            let bytes = file(&modules, &symbols, started);
            assert_eq!(Cache::read(&bytes, &mut Symbols::default()).len(), kept, "{started}");
        }
        // A file system that counts in seconds leaves a wider doubt.
        let whole: Vec<_> = modules
            .into_iter()
            .map(|(identity, facts)| (Identity { modified: 1_000_000_000, changed: 2_000_000_000, ..identity }, facts))
            .collect();
        let bytes = file(&whole, &symbols, 3_000_000_000);
        assert_eq!(Cache::read(&bytes, &mut Symbols::default()).len(), 0);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let (modules, symbols) = sample();
        let bytes = file(&modules, &symbols, 10_000_000_000);
        for length in 0..bytes.len() {
            let mut read = Symbols::default();
            assert_eq!(Cache::read(bytes.get(..length).unwrap_or_default(), &mut read).len(), 0);
            assert_eq!(read.len(), 0);
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 0x41);
            assert_eq!(Cache::read(&damaged, &mut Symbols::default()).len(), 0, "byte {place}");
            // With a right check sum it is read, and does no harm.
            let sum = crc32fast::hash(damaged.get(12..).unwrap_or_default()).to_le_bytes();
            damaged.iter_mut().skip(8).zip(sum).for_each(|(to, from)| *to = from);
            let mut read = Symbols::default();
            let cache = Cache::read(&damaged, &mut read);
            for (identity, _) in &modules {
                let _ = cache.find(identity);
            }
        }
    }
}
