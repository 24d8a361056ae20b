//! One section of an ELF file, found with as little reading as possible.
//!
//! `ferrmod_image` reads modules for x86-64 and proves that all of their structure holds together. What a module says about
//! itself can be asked of any module, for any machine and of either byte order, and costs three short reads.

use std::borrow::Cow;

use bstr::ByteSlice;

/// Bytes that can be asked for piece by piece.
pub(crate) trait Source {
    /// How many there are.
    fn size(&self) -> u64;

    /// `length` bytes at `offset`; `None` when they are not there.
    fn bytes(&self, offset: u64, length: usize) -> Option<Cow<'_, [u8]>>;
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn bytes(&self, offset: u64, length: usize) -> Option<Cow<'_, [u8]>> {
        self.get(usize::try_from(offset).ok()?..)?.get(..length).map(Cow::Borrowed)
    }
}

/// Where a section is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    /// `sh_offset`.
    pub(crate) offset: u64,
    /// `sh_size`.
    pub(crate) size: u64,
    /// Where in the file the lowest byte of its `sh_flags` is.
    pub(crate) flags_at: u64,
}

/// Why a section cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElfError {
    /// It is no ELF file.
    NotElf,
    /// It is one, and does not hold together.
    Damaged(&'static str),
    /// It has no such section.
    Missing,
}

/// `EI_NIDENT`: bytes that say how the others are to be read.
const IDENT: usize = 16;

/// How numbers stand in the file.
#[derive(Clone, Copy)]
struct Layout {
    is_64: bool,
    is_big: bool,
}

impl Layout {
    /// The unsigned number of `length` bytes at `offset`.
    fn number(self, bytes: &[u8], offset: usize, length: usize) -> Option<u64> {
        let bytes = bytes.get(offset..offset.checked_add(length)?)?;
        let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        Some(if self.is_big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }

    /// The one of two places that counts for this class; numbers there are `length` bytes, or 4 and 8 when it is 0.
    fn field(self, bytes: &[u8], at_32: usize, at_64: usize, length: usize) -> Option<u64> {
        let word = if self.is_64 { 8 } else { 4 };
        let length = if length == 0 { word } else { length };
        self.number(bytes, if self.is_64 { at_64 } else { at_32 }, length)
    }
}

/// Where the first section named `name` is.
pub(crate) fn section(source: &(impl Source + ?Sized), name: &[u8]) -> Result<Section, ElfError> {
    let ident = source
        .bytes(0, IDENT.min(source.size() as usize))
        .filter(|_| source.size() > IDENT as u64)
        .ok_or(ElfError::NotElf)?;
    let damaged = ElfError::Damaged;
    let layout = match (ident.get(..4), ident.get(4), ident.get(5)) {
        (Some(b"\x7fELF"), Some(class @ (1 | 2)), Some(data @ (1 | 2))) => {
            Layout { is_64: *class == 2, is_big: *data == 2 }
        }
        (Some(b"\x7fELF"), ..) => return Err(damaged("e_ident has a class or a byte order that does not exist")),
        _ => return Err(ElfError::NotElf),
    };
    let header = source.bytes(0, if layout.is_64 { 64 } else { 52 }).ok_or(damaged("the ELF header is cut off"))?;
    let of_header = |at_32, at_64, length| layout.field(&header, at_32, at_64, length).unwrap_or(0);
    let table_at = of_header(0x20, 0x28, 0);
    let entry = of_header(0x2e, 0x3a, 2) as usize;
    let count = of_header(0x30, 0x3c, 2) as usize;
    let names = of_header(0x32, 0x3e, 2) as usize;
    if entry != if layout.is_64 { 64 } else { 40 } {
        return Err(damaged("e_shentsize is not the size of a section header"));
    }
    let table = source.bytes(table_at, entry * count).ok_or(damaged("the section headers lie outside of the file"))?;
    // (sh_name, sh_offset, sh_size)
    let header_at = |index: usize| {
        let header = table.get(index.checked_mul(entry)?..)?.get(..entry)?;
        let offset = layout.field(header, 0x10, 0x18, 0)?;
        let size = layout.field(header, 0x14, 0x20, 0)?;
        Some((layout.number(header, 0, 4)?, offset, size))
    };
    let inside = |offset: u64, size: u64| offset.checked_add(size).is_some_and(|end| end <= source.size());
    let (_, offset, size) = header_at(names)
        .filter(|&(_, offset, size)| names != 0 && inside(offset, size))
        .ok_or(damaged("e_shstrndx is not the index of the sections' names"))?;
    let names = source.bytes(offset, size as usize).ok_or(damaged("the names of the sections are cut off"))?;
    let is_named = |at: u64| {
        let rest = usize::try_from(at).ok().and_then(|at| names.get(at..)).unwrap_or_default();
        rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"\0") || rest.is_empty())
    };
    for index in 1..count {
        let Some((_, offset, size)) = header_at(index).filter(|&(at, ..)| is_named(at)) else { continue };
        if !inside(offset, size) {
            return Err(damaged("the section lies outside of the file"));
        }
        // sh_flags is the third field; its size is that of the class.
        let width = if layout.is_64 { 8 } else { 4 };
        let flags_at = table_at + (index * entry) as u64 + 8 + if layout.is_big { width - 1 } else { 0 };
        return Ok(Section { offset, size, flags_at });
    }
    Err(ElfError::Missing)
}

/// The strings of a `.modinfo`: bytes that end in NULs, several of which count as one. The last one may lack its NUL.
pub(crate) fn strings(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section.split_str(b"\0").filter(|string| !string.is_empty())
}
