//! The index of a BTF: where each type is, and which types have a name.
//!
//! One byte string, so that it can lie in a cache file: four 32-bit numbers (types, slots of the
//! name table, slots of the enumerator table, zero), the offset of every type in the type section,
//! then the two tables. Types count from 0 here; the number of the first one is the reader's
//! business.

use alloc::vec::Vec;

use super::{Btf, BtfError, Kind, Type};
use crate::flat::{NameTable, fnv1a, u32_at};

/// Bytes of the header.
const HEADER: usize = 16;

/// Makes the index of the types that are `btf`'s own.
pub(super) fn build(btf: &Btf<'_>) -> Result<Vec<u8>, BtfError> {
    let mut offsets: Vec<u32> = Vec::new();
    let mut names = Vec::new();
    let mut enumerators = Vec::new();
    let mut offset = 0usize;
    while offset < btf.types.len() {
        // A section is at most 4 GiB long, and a type 12 bytes at least.
        let own = offsets.len() as u32;
        let at = offset as u32;
        let found = type_at(btf, own, at)?;
        let hash = |name: u32| btf.string(name).filter(|string| !string.is_empty()).map(fnv1a);
        if let Some(hash) = hash(found.name) {
            names.push((hash, own));
        }
        let entries = match found.kind {
            Kind::Enum => found.trailing.chunks_exact(8),
            Kind::Enum64 => found.trailing.chunks_exact(12),
            _ => [].chunks_exact(1),
        };
        for entry in entries {
            if let Some(hash) = u32_at(entry, 0).and_then(hash) {
                enumerators.push((hash, own));
            }
        }
        offsets.push(at);
        offset += 12 + found.trailing.len();
    }
    let names = NameTable::build(&names);
    let enumerators = NameTable::build(&enumerators);
    let mut index = Vec::with_capacity(HEADER + offsets.len() * 4 + names.len() + enumerators.len());
    for number in [offsets.len(), names.len() / 8, enumerators.len() / 8, 0] {
        index.extend_from_slice(&(number as u32).to_le_bytes());
    }
    for offset in offsets {
        index.extend_from_slice(&offset.to_le_bytes());
    }
    index.extend_from_slice(&names);
    index.extend_from_slice(&enumerators);
    Ok(index)
}

/// The type at `offset`, or what is wrong with it.
fn type_at<'b>(btf: &'b Btf<'_>, own: u32, offset: u32) -> Result<Type<'b>, BtfError> {
    let id = btf.first_type.saturating_add(own);
    let info = u32_at(btf.types, offset as usize + 4).ok_or(BtfError::Truncated { id, offset })?;
    let kind = (info >> 24 & 0x1f) as u8;
    if Kind::of(kind).is_none() {
        return Err(BtfError::UnknownKind { id, offset, kind });
    }
    btf.type_at(offset).ok_or(BtfError::Truncated { id, offset })
}

/// The lengths the header gives: types, bytes of the name table, bytes of the enumerator table.
fn lengths(index: &[u8]) -> Option<(usize, usize, usize)> {
    let number = |at| u32_at(index, at).map(|number| number as usize);
    Some((number(0)?, number(4)?.checked_mul(8)?, number(8)?.checked_mul(8)?))
}

/// Whether `index` has the form of one.
pub(super) fn holds(index: &[u8]) -> bool {
    lengths(index).is_some_and(|(types, names, enumerators)| {
        types
            .checked_mul(4)
            .and_then(|offsets| offsets.checked_add(HEADER)?.checked_add(names)?.checked_add(enumerators))
            == Some(index.len())
    })
}

/// Number of types.
pub(super) fn types(index: &[u8]) -> u32 {
    u32_at(index, 0).unwrap_or(0)
}

/// Where type `own` (counted from 0) is.
#[inline]
pub(super) fn type_offset(index: &[u8], own: u32) -> Option<u32> {
    if own >= types(index) {
        return None;
    }
    u32_at(index, (own as usize).checked_mul(4)?.checked_add(HEADER)?)
}

/// The table from names to types.
pub(super) fn names(index: &[u8]) -> NameTable<'_> {
    table(index, false).unwrap_or(NameTable::new(&[]))
}

/// The table from enumerators to the enumerations they are in.
pub(super) fn enumerators(index: &[u8]) -> NameTable<'_> {
    table(index, true).unwrap_or(NameTable::new(&[]))
}

/// One of the two tables.
fn table(index: &[u8], second: bool) -> Option<NameTable<'_>> {
    let (types, names, enumerators) = lengths(index)?;
    let start = types.checked_mul(4)?.checked_add(HEADER)?;
    let (start, len) = if second { (start.checked_add(names)?, enumerators) } else { (start, names) };
    Some(NameTable::new(index.get(start..start.checked_add(len)?)?))
}
