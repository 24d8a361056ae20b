//! Writing the facts down.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{ExportKind, FORMAT, HASH, HEADER, MAGIC, PARTS, Part, header_hash};
use crate::btf::Btf;
use crate::flat::{NameTable, fnv1a};
use crate::kernel::KernelImage;
use crate::linux::ExportClass;

/// Flag of a record: the lower two bits are the kind. Neither bit: a variable.
pub(super) const KIND: u32 = 3;
/// A function.
pub(super) const FUNCTION: u32 = 1;
/// A per-CPU variable.
pub(super) const PER_CPU: u32 = 2;
/// Only for modules with a GPL-compatible licence.
pub(super) const GPL_ONLY: u32 = 4;
/// The CRC field holds one.
pub(super) const HAS_CRC: u32 = 8;

/// The byte string of `image`.
pub(super) fn build(image: &KernelImage<'_>) -> Vec<u8> {
    let mut parts: [Vec<u8>; PARTS] = Default::default();
    let mut put = |part: Part, bytes: Vec<u8>| parts[part as usize] = bytes;
    put(Part::Release, image.release().into());
    put(Part::Version, image.version().into());
    put(Part::Vermagic, image.vermagic().into());

    let mut records = Vec::new();
    let mut strings = Vec::new();
    let mut data = Vec::new();
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    let mut contents = BTreeMap::new();
    for (index, export) in image.exports().enumerate() {
        // A table of exports is a section of at most some MiB.
        let number = index as u32;
        names.push((fnv1a(export.name), number));
        addresses.push((export.address, number));
        let kind = match export.kind {
            ExportKind::Data => 0,
            ExportKind::Function => FUNCTION,
            ExportKind::PerCpu => PER_CPU,
        };
        let class = if export.class == ExportClass::GplOnly { GPL_ONLY } else { 0 };
        let crc = if export.crc.is_some() { HAS_CRC } else { 0 };
        // The record: address, CRC, flags, then place and length of name, namespace and contents,
        // then the extent.
        records.extend_from_slice(&export.address.to_le_bytes());
        records.extend_from_slice(&export.crc.unwrap_or(0).to_le_bytes());
        records.extend_from_slice(&(kind | class | crc).to_le_bytes());
        // The per-CPU section is kept whole, and read from there.
        let bytes = if export.kind == ExportKind::PerCpu { &[] } else { image.export_bytes(index) };
        // Two names of one variable share its contents.
        let place = *contents.entry(export.address).or_insert_with(|| append(&mut data, bytes));
        let name = append(&mut strings, export.name);
        let namespace = append(&mut strings, export.namespace.unwrap_or_default());
        for number in [name, namespace, place].as_flattened() {
            records.extend_from_slice(&number.to_le_bytes());
        }
        records.extend_from_slice(&image.export_extent(index).to_le_bytes());
    }
    addresses.sort_unstable();
    put(Part::Exports, records);
    put(Part::ExportNames, NameTable::build(&names));
    put(Part::ExportAddresses, addresses.iter().flat_map(|(_, number)| number.to_le_bytes()).collect());
    put(Part::Strings, strings);
    put(Part::Data, data);

    if let Some((address, bytes)) = image.percpu() {
        put(Part::PerCpuAddress, address.to_le_bytes().into());
        put(Part::PerCpu, bytes.into());
    }
    put(Part::Certificates, image.certificates().into());
    put(Part::Config, image.config().unwrap_or_default().into());
    // Type information that cannot be read is as good as none.
    if let Some((raw, btf)) = image.btf().and_then(|raw| Some((raw, Btf::read(raw).ok()?))) {
        put(Part::BtfIndex, btf.index().into());
        put(Part::Btf, raw.into());
    }
    assemble(&parts)
}

/// Puts `bytes` at the end of a section; answers their place and length there.
fn append(section: &mut Vec<u8>, bytes: &[u8]) -> [u32; 2] {
    let place = [section.len() as u32, bytes.len() as u32];
    section.extend_from_slice(bytes);
    place
}

/// Header, directory and sections, end to end.
fn assemble(parts: &[Vec<u8>; PARTS]) -> Vec<u8> {
    let start = HEADER + PARTS * 16;
    let len: usize = parts.iter().map(|part| part.len().next_multiple_of(16)).sum();
    let mut bytes = Vec::with_capacity(start + len);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&(PARTS as u32).to_le_bytes());
    bytes.extend_from_slice(&((start + len) as u64).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let mut offset = start;
    for part in parts {
        bytes.extend_from_slice(&(offset as u64).to_le_bytes());
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        offset += part.len().next_multiple_of(16);
    }
    let hash = header_hash(&bytes);
    bytes[HASH..HASH + 8].copy_from_slice(&hash.to_le_bytes());
    for part in parts {
        bytes.extend_from_slice(part);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
    }
    bytes
}
