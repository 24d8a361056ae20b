//! `__versions`: the CRC that each imported symbol had when the module was built.

use bstr::{BStr, ByteSlice};

use super::string_at;

/// Bytes of `struct modversion_info`: a CRC in eight bytes, then the name.
const ENTRY: usize = 64;

/// Where the name begins in an entry.
const NAME: usize = 8;

/// The imported symbols' CRCs.
///
/// Names longer than 55 bytes do not fit into `__versions`; kernels with `CONFIG_EXTENDED_MODVERSIONS` keep those (and all
/// others) in `__version_ext_crcs` and `__version_ext_names`. Both forms are read.
#[derive(Debug, Clone, Copy)]
pub struct Versions<'a> {
    basic: &'a [[u8; ENTRY]],
    crcs: &'a [[u8; 4]],
    names: &'a [u8],
}

/// The CRC and the name of an entry.
fn entry(entry: &[u8; ENTRY]) -> (&BStr, u32) {
    let [c0, c1, c2, c3, ..] = *entry;
    (string_at(entry, NAME as u64), u32::from_le_bytes([c0, c1, c2, c3]))
}

/// Whether `entry` is for `name`.
#[inline]
fn is_for(entry: &[u8; ENTRY], name: &[u8]) -> bool {
    entry
        .get(NAME..)
        .is_some_and(|field| field.starts_with(name) && field.get(name.len()).is_none_or(|&after| after == 0))
}

impl<'a> Versions<'a> {
    /// Reads the contents of `__versions`, `__version_ext_crcs` and `__version_ext_names`. An entry that is not whole is left out.
    pub(super) fn new(basic: &'a [u8], crcs: &'a [u8], names: &'a [u8]) -> Versions<'a> {
        Versions { basic: basic.as_chunks().0, crcs: crcs.as_chunks().0, names }
    }

    /// Names and CRCs: first the plain entries, then the extended ones.
    pub fn iter(self) -> impl Iterator<Item = (&'a BStr, u32)> {
        self.basic.iter().map(entry).chain(self.extended())
    }

    /// The extended entries.
    fn extended(self) -> impl Iterator<Item = (&'a BStr, u32)> {
        let names = self.names.strip_suffix(&[0]).unwrap_or(self.names).split_str(b"\0").map(BStr::new);
        names.zip(self.crcs).map(|(name, &crc)| (name, u32::from_le_bytes(crc)))
    }

    /// The CRC that `name` had.
    #[must_use]
    pub fn get(self, name: &BStr) -> Option<u32> {
        self.basic
            .iter()
            .find(|candidate| is_for(candidate, name))
            .map(|found| entry(found).1)
            .or_else(|| self.extended().find(|&(candidate, _)| candidate == name).map(|(_, crc)| crc))
    }

    /// Look-ups for all symbols of a module in the order of its symbol table.
    #[must_use]
    pub fn cursor(self) -> VersionCursor<'a> {
        VersionCursor { versions: self, next: 0 }
    }
}

/// [`Versions::get`] for names that are asked for in the order of the table, which is the order of the undefined symbols:
/// each look-up then is one comparison instead of a search.
#[derive(Debug, Clone)]
pub struct VersionCursor<'a> {
    versions: Versions<'a>,
    next: usize,
}

impl VersionCursor<'_> {
    /// The CRC that `name` had, whatever the order.
    #[must_use]
    pub fn get(&mut self, name: &BStr) -> Option<u32> {
        let basic = self.versions.basic;
        // A name twice in the table would be found at its second place; no tool makes such tables, and Linux takes
        // the first. The search below is for tables in another order.
        if let Some(next) = basic.get(self.next).filter(|candidate| is_for(candidate, name)) {
            self.next += 1;
            return Some(entry(next).1);
        }
        if let Some(found) = basic.iter().position(|candidate| is_for(candidate, name)) {
            self.next = found + 1;
            return basic.get(found).map(|found| entry(found).1);
        }
        self.versions.get(name)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn table(entries: &[(&str, u32)]) -> Vec<u8> {
        let mut table = Vec::new();
        for (name, crc) in entries {
            let mut entry = [0u8; ENTRY];
            entry.iter_mut().zip(crc.to_le_bytes()).for_each(|(to, from)| *to = from);
            entry.iter_mut().skip(NAME).zip(name.bytes()).for_each(|(to, from)| *to = from);
            table.extend(entry);
        }
        table
    }

    #[test]
    fn both_forms_are_read_and_searched() {
        let basic = table(&[("module_layout", 1), ("kfree", 2), ("kfree_rcu", 3)]);
        let long = "a".repeat(100);
        let names = [b"extended\0", long.as_bytes(), b"\0"].concat();
        let crcs = [4u32.to_le_bytes(), 5u32.to_le_bytes()].concat();
        let versions = Versions::new(&basic, &crcs, &names);
        let get = |name: &str| versions.get(BStr::new(name));
        assert_eq!((get("kfree"), get("kfree_rcu"), get("kfre")), (Some(2), Some(3), None));
        assert_eq!((get("extended"), get(&long), get("")), (Some(4), Some(5), None));
        assert_eq!(versions.iter().count(), 5);
    }

    #[test]
    fn a_cursor_finds_what_a_search_finds_in_any_order() {
        let basic = table(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
        let versions = Versions::new(&basic, &[], &[]);
        let mut cursor = versions.cursor();
        for name in ["a", "b", "d", "c", "x", "a", "c", "d"] {
            assert_eq!(cursor.get(BStr::new(name)), versions.get(BStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_name_that_fills_its_field_needs_no_nul() {
        let full = "f".repeat(ENTRY - NAME);
        let basic = table(&[(&full, 7)]);
        assert_eq!(Versions::new(&basic, &[], &[]).get(BStr::new(&full)), Some(7));
    }
}
