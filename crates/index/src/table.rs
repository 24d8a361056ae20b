//! Tables of byte strings inside a byte string, read where they lie.
//!
//! A table is the number of its entries, then for each entry where it ends, then the entries: the length of the key, the key, the
//! value. All numbers are little-endian and of 32 bits. Nothing in a table is believed: a damaged one has fewer entries.

/// Puts `entries` into one byte string.
pub(crate) fn build<K: AsRef<[u8]>, V: AsRef<[u8]>>(entries: &[(K, V)]) -> Vec<u8> {
    let mut ends = Vec::with_capacity(entries.len() * 4);
    let mut data = Vec::new();
    for (key, value) in entries {
        let (key, value) = (key.as_ref(), value.as_ref());
        data.extend((key.len() as u32).to_le_bytes());
        data.extend_from_slice(key);
        data.extend_from_slice(value);
        ends.extend((data.len() as u32).to_le_bytes());
    }
    let mut table = (entries.len() as u32).to_le_bytes().to_vec();
    table.extend(ends);
    table.extend(data);
    table
}

/// A table.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    ends: &'a [[u8; 4]],
    data: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table in `bytes`; an empty one when it does not fit.
    pub(crate) fn new(bytes: &'a [u8]) -> Table<'a> {
        let whole = || {
            let (count, rest) = bytes.split_first_chunk::<4>()?;
            let count = u32::from_le_bytes(*count) as usize;
            let (ends, data) = rest.split_at_checked(count.checked_mul(4)?)?;
            Some(Table { ends: ends.as_chunks().0, data })
        };
        whole().unwrap_or(Table { ends: &[], data: &[] })
    }

    /// The number of entries.
    pub(crate) fn len(self) -> usize {
        self.ends.len()
    }

    /// Entry `index`: key and value.
    pub(crate) fn get(self, index: usize) -> Option<(&'a [u8], &'a [u8])> {
        let end = |index: usize| self.ends.get(index).map(|&end| u32::from_le_bytes(end) as usize);
        let start = if index == 0 { 0 } else { end(index - 1)? };
        let (length, rest) = self.data.get(start..end(index)?)?.split_first_chunk::<4>()?;
        rest.split_at_checked(u32::from_le_bytes(*length) as usize)
    }

    /// Every entry.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        (0..self.len()).filter_map(move |index| self.get(index))
    }

    /// The value of the first entry whose key is `key`, in a table sorted by key.
    pub(crate) fn find(self, key: &[u8]) -> Option<&'a [u8]> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle)?.0 < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.get(low).filter(|(found, _)| *found == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found() {
        let bytes = build(&[("a", "1"), ("b", "2"), ("b", "3"), ("c", "")]);
        let table = Table::new(&bytes);
        assert_eq!((table.len(), table.iter().count()), (4, 4));
        assert_eq!(table.find(b"a"), Some(&b"1"[..]));
        assert_eq!(table.find(b"b"), Some(&b"2"[..]));
        assert_eq!(table.find(b"c"), Some(&b""[..]));
        assert_eq!(table.find(b"d"), None);
        assert_eq!(table.find(b""), None);
    }

    #[test]
    fn a_damaged_table_is_read_without_harm() {
        let whole = build(&[("a", "1"), ("b", "2"), ("c", "3")]);
        for length in 0..whole.len() {
            let cut = whole.get(..length).unwrap_or_default();
            let table = Table::new(cut);
            let _ = (table.iter().count(), table.find(b"b"));
        }
        for place in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged.iter_mut().skip(place).take(1).for_each(|byte| *byte = value);
                let table = Table::new(&damaged);
                let _ = (table.iter().count(), table.find(b"b"));
            }
        }
    }
}
