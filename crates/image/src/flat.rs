//! Flat little-endian bytes: checked numbers, and name tables that live inside them.
//!
//! Everything that is cached (the facts of a kernel, the index of its BTF) is one byte string that
//! a reader uses where it lies. A name table is an open-addressed hash table of 8-byte slots: the
//! upper half of the name's FNV-1a hash, then the value plus one (zero marks an empty slot). The
//! lower half of the hash picks the first slot, and the number of slots is a power of two, so that
//! a look-up is a few steps and needs no set-up.

use alloc::vec;
use alloc::vec::Vec;

/// The bytes of `field` in `bytes`, if they are all there.
fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

/// The little-endian 16-bit number at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array(bytes, offset).map(u16::from_le_bytes)
}

/// The little-endian 32-bit number at `offset`.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array(bytes, offset).map(u32::from_le_bytes)
}

/// The little-endian 64-bit number at `offset`.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array(bytes, offset).map(u64::from_le_bytes)
}

/// The bytes from `offset` up to the next NUL; `None` when `offset` is outside or no NUL follows.
#[inline]
pub(crate) fn cstr_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let rest = bytes.get(offset..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    rest.get(..end)
}

/// FNV-1a over 64 bits. Fixed, because its values are stored in cache files.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Bytes of one slot.
const SLOT: usize = 8;

/// A name table inside a byte string.
#[derive(Clone, Copy)]
pub(crate) struct NameTable<'a> {
    slots: &'a [u8],
}

impl<'a> NameTable<'a> {
    /// The table in `slots`; empty when the length is not a power of two of slots.
    pub(crate) fn new(slots: &'a [u8]) -> NameTable<'a> {
        let holds = slots.len().is_multiple_of(SLOT) && (slots.len() / SLOT).is_power_of_two();
        NameTable { slots: if holds { slots } else { &[] } }
    }

    /// The values stored under the hash of `name`, in the order they were put in. The caller
    /// compares the names: a hash may be shared.
    #[inline]
    pub(crate) fn candidates(self, name: &[u8]) -> impl Iterator<Item = u32> + use<'a> {
        let hash = fnv1a(name);
        let tag = (hash >> 32) as u32;
        let count = self.slots.len() / SLOT;
        let mask = count.wrapping_sub(1);
        (0..count)
            .map_while(move |step| {
                let slot = ((hash as usize).wrapping_add(step) & mask).checked_mul(SLOT)?;
                let value = u32_at(self.slots, slot + 4)?.checked_sub(1)?;
                Some((u32_at(self.slots, slot)?, value))
            })
            .filter(move |&(found, _)| found == tag)
            .map(|(_, value)| value)
    }

    /// The bytes of a table that holds `entries` (hash of the name, value), at most three quarters
    /// full. Values are below `u32::MAX`.
    pub(crate) fn build(entries: &[(u64, u32)]) -> Vec<u8> {
        let count = (entries.len() * 4 / 3 + 1).next_power_of_two();
        let mut slots = vec![(0u32, 0u32); count];
        for &(hash, value) in entries {
            let mut at = hash as usize & (count - 1);
            while slots[at].1 != 0 {
                at = (at + 1) & (count - 1);
            }
            slots[at] = ((hash >> 32) as u32, value.wrapping_add(1));
        }
        let mut bytes = Vec::with_capacity(count * SLOT);
        for (tag, value) in slots {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_table_finds_what_was_put_in_and_keeps_the_order_of_equal_names() {
        let names: Vec<Vec<u8>> = (0..1000u32).map(|n| alloc::format!("name{}", n % 900).into_bytes()).collect();
        let entries: Vec<(u64, u32)> = names.iter().zip(0..).map(|(name, value)| (fnv1a(name), value)).collect();
        let bytes = NameTable::build(&entries);
        let table = NameTable::new(&bytes);
        let found: Vec<u32> = table.candidates(b"name5").filter(|&v| names[v as usize] == b"name5").collect();
        assert_eq!(found, [5, 905]);
        assert!(table.candidates(b"absent").all(|v| names[v as usize] != b"absent"));
    }

    #[test]
    fn a_full_table_of_rubbish_ends() {
        let bytes = [0xffu8; 64 * SLOT];
        assert_eq!(NameTable::new(&bytes).candidates(b"x").count(), 0);
        assert_eq!(NameTable::new(&bytes[..63 * SLOT]).candidates(b"x").count(), 0);
        assert_eq!(NameTable::new(&[]).candidates(b"x").count(), 0);
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // The published test vectors of FNV-1a 64.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
