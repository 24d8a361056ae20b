//! What depmod needs of a module's file, read piece by piece.
//!
//! Most of a module is code, relocations and debugging information, which say nothing about what the module offers. So only the
//! section headers and five or six sections are read: an eighth of the bytes of a kernel's modules.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bstr::ByteSlice;
use thiserror::Error;

use super::symbols::{Symbol, SymbolNumber, Symbols};

/// Why a file's contents are no module's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ElfError {
    /// It does not begin as an ELF file does.
    #[error("not an ELF file")]
    NotElf,
    /// It ends before something that it says it has.
    #[error("the file ends before the {what}")]
    Truncated {
        /// What is not there.
        what: &'static str,
    },
    /// A field of a header cannot be.
    #[error("{field} is {value}, which cannot be")]
    Field {
        /// The field's name in the gABI.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The file could not be read.
    #[error("{0}")]
    Io(std::io::ErrorKind),
}

/// What one module says about itself and others, with symbols by their number in a table of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The symbols that it exports, in the order of its symbol table.
    pub(super) exports: Vec<SymbolNumber>,
    /// The symbols that it imports, in the order in which they are resolved.
    pub(super) imports: Vec<SymbolNumber>,
    /// Its aliases, each ended by a NUL, in the order of the file.
    pub(super) aliases: Vec<u8>,
    /// Its soft and weak dependencies as they stand in `.modinfo` (`softdep=...`), each ended by a NUL.
    pub(super) wishes: Vec<u8>,
}

/// Where the bytes of a module come from.
pub(super) enum Source<'a> {
    /// A file that is not compressed, and its size.
    File(&'a File, u64),
    /// The whole module.
    Bytes(&'a [u8]),
}

/// Buffers that are used for one file after the other.
#[derive(Default)]
pub(super) struct Buffers {
    windows: Vec<Window>,
    used: usize,
    seen: Vec<bool>,
}

/// A part of the file.
#[derive(Default)]
struct Window {
    start: u64,
    length: usize,
    bytes: Vec<u8>,
}

impl Window {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Parts of the file that are this close are read with what is between them: a call costs more than copying so much.
const GAP: u64 = 8 << 10;

/// How much is read with the section headers, before them: their names mostly stand there.
const BEFORE_HEADERS: u64 = 1 << 10;

/// The largest part of a file that is read at once. No section of a real module that is read here comes near.
const MAX_PART: u64 = 1 << 30;

/// Reads parts of the file.
struct Reader<'a> {
    source: Source<'a>,
    buffers: &'a mut Buffers,
}

impl Reader<'_> {
    fn size(&self) -> u64 {
        match self.source {
            Source::File(_, size) => size,
            Source::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Reads `parts` (offsets and lengths), so that they can be had. Parts that are not in the file are not read.
    fn load(&mut self, parts: &mut [(u64, u64)]) -> Result<(), ElfError> {
        let Source::File(file, size) = self.source else {
            return Ok(());
        };
        parts.sort_unstable();
        let mut parts = parts.iter().copied().filter(|&(start, length)| {
            length > 0 && length <= MAX_PART && start.checked_add(length).is_some_and(|end| end <= size)
        });
        let Some(mut whole) = parts.next() else {
            return Ok(());
        };
        let mut next = parts.next();
        loop {
            match next {
                Some((start, length)) if start <= (whole.0 + whole.1).saturating_add(GAP) => {
                    whole.1 = whole.1.max(start + length - whole.0);
                    next = parts.next();
                    continue;
                }
                _ => self.buffers.read(file, whole.0, whole.1)?,
            }
            match next {
                Some(part) => whole = part,
                None => return Ok(()),
            }
            next = parts.next();
        }
    }

    /// A part of the file that was loaded.
    fn part(&self, start: u64, length: u64, what: &'static str) -> Result<&[u8], ElfError> {
        let slice = |bytes: &[u8], start: u64| -> Option<(usize, usize)> {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            (end <= bytes.len()).then_some((start, end))
        };
        let found = match self.source {
            Source::Bytes(bytes) => slice(bytes, start).and_then(|(from, to)| bytes.get(from..to)),
            Source::File(..) if length == 0 && start <= self.size() => Some(&[][..]),
            Source::File(..) => self.buffers.windows.iter().take(self.buffers.used).find_map(|window| {
                let (from, to) = slice(window.bytes(), start.checked_sub(window.start)?)?;
                window.bytes().get(from..to)
            }),
        };
        found.ok_or(ElfError::Truncated { what })
    }

    /// Loads a part and hands it out.
    fn fetch(&mut self, start: u64, length: u64, what: &'static str) -> Result<&[u8], ElfError> {
        self.load(&mut [(start, length)])?;
        self.part(start, length, what)
    }
}

impl Buffers {
    fn read(&mut self, file: &File, start: u64, length: u64) -> Result<(), ElfError> {
        if self.used == self.windows.len() {
            self.windows.push(Window::default());
        }
        let Some(window) = self.windows.get_mut(self.used) else {
            return Ok(());
        };
        self.used += 1;
        window.start = start;
        window.length = usize::try_from(length).unwrap_or(usize::MAX);
        // What an earlier file left in the buffer is written over; only a buffer that grows is cleared.
        if window.bytes.len() < window.length {
            window.bytes.resize(window.length, 0);
        }
        file.read_exact_at(window.bytes.get_mut(..window.length).unwrap_or_default(), start).map_err(
            |error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => ElfError::Truncated { what: "end it had a moment ago" },
                kind => ElfError::Io(kind),
            },
        )
    }
}

/// The two properties of an ELF file that its fields depend on.
#[derive(Debug, Clone, Copy)]
struct Layout {
    wide: bool,
    big: bool,
}

impl Layout {
    /// The field of `width` bytes at `offset`; 0 when it is not there, which callers have checked.
    #[inline]
    fn number(self, bytes: &[u8], offset: usize, width: usize) -> u64 {
        let bytes = bytes.get(offset..).unwrap_or_default();
        match width {
            2 => bytes.first_chunk().map_or(0, |&field| {
                u64::from(if self.big { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) })
            }),
            4 => bytes.first_chunk().map_or(0, |&field| {
                u64::from(if self.big { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) })
            }),
            _ => bytes
                .first_chunk()
                .map_or(0, |&field| if self.big { u64::from_be_bytes(field) } else { u64::from_le_bytes(field) }),
        }
    }

    /// A field that is 4 bytes wide in small files, and 8 in wide ones, at one place or the other.
    #[inline]
    fn word(self, bytes: &[u8], small: usize, wide: usize) -> u64 {
        if self.wide { self.number(bytes, wide, 8) } else { self.number(bytes, small, 4) }
    }
}

/// Where a section's contents are.
#[derive(Debug, Clone, Copy)]
struct Section {
    offset: u64,
    size: u64,
}

/// `SHN_ABS`
const ABSOLUTE: u64 = 0xfff1;
/// `SHT_NOBITS`
const NOBITS: u64 = 8;
/// `STB_WEAK`
const WEAK: u8 = 2;
/// `EM_SPARC` and `EM_SPARCV9`, where an undefined symbol of type `STT_SPARC_REGISTER` is no symbol.
const SPARC: [u64; 2] = [2, 43];
/// `STT_SPARC_REGISTER`
const SPARC_REGISTER: u8 = 13;
/// What the names of the symbols of check sums begin with.
const CRC: &[u8; 6] = b"__crc_";
/// Bytes of `struct modversion_info`.
const VERSION: usize = 64;

/// The sections that say something, in the order of `Sections`.
const NAMES: [&[u8]; 7] = [
    b".symtab",
    b".strtab",
    b".modinfo",
    b"__versions",
    b"__ksymtab_strings",
    b"__version_ext_crcs",
    b"__version_ext_names",
];

/// Reads what a module says.
pub(super) fn read(source: Source<'_>, buffers: &mut Buffers, symbols: &mut Symbols) -> Result<Facts, ElfError> {
    buffers.used = 0;
    let mut reader = Reader { source, buffers };
    let size = reader.size();
    let header: [u8; 64] = {
        // The header of small files has 52 bytes.
        let bytes = reader.fetch(0, size.min(64), "ELF header")?;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let mut header = [0; 64];
        header.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        header
    };
    let layout = match (header[4], header[5]) {
        (class @ (1 | 2), data @ (1 | 2)) => Layout { wide: class == 2, big: data == 2 },
        (1 | 2, data) => return Err(ElfError::Field { field: "e_ident[EI_DATA]", value: data.into() }),
        (class, _) => return Err(ElfError::Field { field: "e_ident[EI_CLASS]", value: class.into() }),
    };
    let (header_size, entry) = if layout.wide { (64, 64) } else { (52, 40) };
    if size < header_size {
        return Err(ElfError::Truncated { what: "end of the ELF header" });
    }
    let machine = layout.number(&header, 18, 2);
    let table = layout.word(&header, 32, 40);
    let small = if layout.wide { 58 } else { 46 };
    let entry_size = layout.number(&header, small, 2);
    let count = layout.number(&header, small + 2, 2);
    let names = layout.number(&header, small + 4, 2);
    if entry_size != entry {
        return Err(ElfError::Field { field: "e_shentsize", value: entry_size });
    }
    if names == 0 || names >= count {
        return Err(ElfError::Field { field: "e_shstrndx", value: names });
    }
    let table_size = count * entry;
    if table.checked_add(table_size).is_none_or(|end| end > size) {
        return Err(ElfError::Truncated { what: "section headers" });
    }
    let before = BEFORE_HEADERS.min(table);
    reader.load(&mut [(table - before, before), (table, table_size)])?;
    let section = |headers: &[u8], index: u64| -> (u64, u64, Section) {
        let start = usize::try_from(index * entry).unwrap_or(usize::MAX);
        let bytes = headers.get(start..).unwrap_or_default();
        let kind = layout.number(bytes, 4, 4);
        let place = Section { offset: layout.word(bytes, 16, 24), size: layout.word(bytes, 20, 32) };
        (layout.number(bytes, 0, 4), kind, place)
    };
    let headers = reader.part(table, table_size, "section headers")?;
    let (_, _, name_table) = section(headers, names);
    if name_table.offset.checked_add(name_table.size).is_none_or(|end| end > size) {
        return Err(ElfError::Truncated { what: "names of the sections" });
    }
    if reader.part(name_table.offset, name_table.size, "").is_err() {
        reader.load(&mut [(name_table.offset, name_table.size)])?;
    }
    let headers = reader.part(table, table_size, "section headers")?;
    let name_bytes = reader.part(name_table.offset, name_table.size, "names of the sections")?;
    let mut found: [Option<Section>; NAMES.len()] = [None; NAMES.len()];
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for index in 1..count {
        let (name, kind, place) = section(headers, index);
        let name = usize::try_from(name).ok().and_then(|start| name_bytes.get(start..)).unwrap_or_default();
        if kind == NOBITS {
            continue;
        }
        if place.offset.checked_add(place.size).is_none_or(|end| end > size) {
            return Err(ElfError::Truncated { what: "contents of a section" });
        }
        // Most sections are relocations and code.
        let name = match name.first_chunk::<2>() {
            Some(b".s" | b".m" | b"__") => until_nul(name),
            _ => continue,
        };
        match NAMES.iter().position(|wanted| *wanted == name) {
            Some(which) => {
                if let Some(slot @ None) = found.get_mut(which) {
                    *slot = Some(place);
                    parts.push((place.offset, place.size));
                }
            }
            // Since Linux 5.19; those of before have relocations instead.
            None if name.starts_with(b"__kcrctab") || name.starts_with(b"___kcrctab") => {
                parts.push((place.offset, place.size));
            }
            None => {}
        }
    }
    reader.load(&mut parts)?;

    let contents = |reader: &Reader<'_>, which: usize| -> Result<Option<(u64, u64)>, ElfError> {
        let Some(Some(place)) = found.get(which).copied() else {
            return Ok(None);
        };
        reader.part(place.offset, place.size, "contents of a section")?;
        Ok(Some((place.offset, place.size)))
    };
    let mut places = [None; NAMES.len()];
    for (which, place) in places.iter_mut().enumerate() {
        *place = contents(&reader, which)?;
    }
    let mut seen = std::mem::take(&mut reader.buffers.seen);
    let tables = Tables { reader: &reader, layout, headers: (table, table_size), entry, count, machine, places };
    let facts = tables.facts(symbols, &mut seen);
    reader.buffers.seen = seen;
    facts
}

/// The tables of a module, all of them loaded.
struct Tables<'a, 'b> {
    reader: &'a Reader<'b>,
    layout: Layout,
    headers: (u64, u64),
    entry: u64,
    count: u64,
    machine: u64,
    places: [Option<(u64, u64)>; NAMES.len()],
}

/// A field of the symbol table.
struct SymbolFields<'a> {
    name: &'a [u8],
    info: u8,
    section: u64,
    value: u64,
}

impl Tables<'_, '_> {
    fn bytes(&self, which: usize) -> &[u8] {
        match self.places.get(which) {
            Some(&Some((start, length))) => self.reader.part(start, length, "").unwrap_or_default(),
            _ => &[],
        }
    }

    fn has(&self, which: usize) -> bool {
        self.places.get(which).is_some_and(Option::is_some)
    }

    fn facts(&self, symbols: &mut Symbols, seen: &mut Vec<bool>) -> Result<Facts, ElfError> {
        let mut facts = Facts::default();
        let mut rest = self.bytes(2);
        while !rest.is_empty() {
            let string = until_nul(rest);
            rest = rest.get(string.len() + 1..).unwrap_or_default();
            // Thousands of strings of other kinds are passed over by their first byte.
            let (to, text): (_, &[u8]) = match string.first() {
                Some(b'a') => match string.strip_prefix(b"alias") {
                    Some([b'=', alias @ ..]) => (&mut facts.aliases, alias),
                    Some([]) => (&mut facts.aliases, b""),
                    _ => continue,
                },
                Some(b's' | b'w') if string.starts_with(b"softdep=") || string.starts_with(b"weakdep=") => {
                    (&mut facts.wishes, string)
                }
                _ => continue,
            };
            to.extend_from_slice(text);
            to.push(0);
        }
        // kmod looks at the versions only of what has a symbol table.
        let versions = if self.has(0) && self.has(1) { self.bytes(3).as_chunks::<VERSION>().0 } else { &[] };
        seen.clear();
        seen.resize(versions.len(), false);
        facts.imports.reserve_exact(versions.len());
        let mut next = 0;
        let extended = self.extended();
        let (table, strings) = (self.bytes(0), self.bytes(1));
        let width = if self.layout.wide { 24 } else { 16 };
        let mut entries = table.chunks_exact(width);
        entries.next();
        for entry in entries {
            // Most symbols are local and of no interest: what they are called is looked at last.
            let symbol = self.symbol(entry, strings);
            if symbol.section == 0 {
                let weak = symbol.info >> 4 == WEAK;
                if symbol.name.is_empty() || (symbol.info & 0xf == SPARC_REGISTER && SPARC.contains(&self.machine)) {
                    continue;
                }
                let place = version_of(self.layout, versions, &mut next, symbol.name);
                let crc = match place {
                    Some((index, crc)) => {
                        seen.get_mut(index).into_iter().for_each(|seen| *seen = true);
                        crc
                    }
                    None => extended.iter().find(|(name, _)| *name == symbol.name).map_or(0, |&(_, crc)| crc),
                };
                facts.imports.push(symbols.number(Symbol { name: symbol.name, crc, weak }));
            } else if let Some(name) = symbol.name.strip_prefix(CRC) {
                let crc = self.crc(&symbol);
                facts.exports.push(symbols.number(Symbol { name, crc, weak: false }));
            }
        }
        for (version, seen) in versions.iter().zip(seen.iter()) {
            let name = version_name(self.layout, version);
            if !seen && !name.is_empty() {
                let crc = version_crc(self.layout, version);
                facts.imports.push(symbols.number(Symbol { name, crc, weak: false }));
            }
        }
        if facts.exports.is_empty() {
            for name in self.bytes(4).split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
                facts.exports.push(symbols.number(Symbol { name, crc: 0, weak: false }));
            }
        }
        Ok(facts)
    }

    /// A symbol of the table. The name of one that is defined and cannot be of interest is not looked for.
    fn symbol<'s>(&self, entry: &[u8], strings: &'s [u8]) -> SymbolFields<'s> {
        let layout = self.layout;
        let (info, section) = if layout.wide { (4, 6) } else { (12, 14) };
        let start = layout.number(entry, 0, 4) as usize;
        let section = layout.number(entry, section, 2);
        let rest = strings.get(start..).unwrap_or_default();
        let name = if section == 0 || rest.first_chunk() == Some(CRC) { until_nul(rest) } else { &[] };
        let value = layout.word(entry, 4, 8);
        SymbolFields { name, info: entry.get(info).copied().unwrap_or_default(), section, value }
    }

    /// The check sum that a symbol `__crc_X` stands for: its value, or (since Linux 5.19) what stands where it points.
    fn crc(&self, symbol: &SymbolFields<'_>) -> u64 {
        if symbol.section == ABSOLUTE || symbol.section >= self.count {
            return symbol.value;
        }
        let (table, table_size) = self.headers;
        let start = usize::try_from(symbol.section * self.entry).unwrap_or(usize::MAX);
        let headers = self.reader.part(table, table_size, "").unwrap_or_default();
        let header = headers.get(start..).unwrap_or_default();
        let offset = self.layout.word(header, 16, 24);
        let size = self.layout.word(header, 20, 32);
        if symbol.value.checked_add(4).is_none_or(|end| end > size) {
            return 0;
        }
        let place = offset.saturating_add(symbol.value);
        self.reader.part(place, 4, "").map_or(0, |bytes| self.layout.number(bytes, 0, 4))
    }

    /// Names and check sums of `__version_ext_names` and `__version_ext_crcs`, which hold names of any length.
    fn extended(&self) -> Vec<(&[u8], u64)> {
        let crcs = self.bytes(5).as_chunks::<4>().0;
        let names = self.bytes(6);
        if crcs.is_empty() {
            return Vec::new();
        }
        names
            .split(|&byte| byte == 0)
            .zip(crcs)
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, crc)| (name, self.layout.number(crc, 0, 4)))
            .collect()
    }
}

/// What stands before the first NUL.
fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.find_byte(0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}

/// The check sum of an entry of `__versions`.
fn version_crc(layout: Layout, entry: &[u8; VERSION]) -> u64 {
    layout.word(entry, 0, 0)
}

/// The name of an entry of `__versions`.
fn version_name(layout: Layout, entry: &[u8; VERSION]) -> &[u8] {
    until_nul(entry.get(if layout.wide { 8 } else { 4 }..).unwrap_or_default())
}

/// How far symbols that stand in another order than their versions mostly are from each other.
const NEAR: usize = 4;

/// The entry of `__versions` for `name` and its check sum. They are nearly in the order of the symbols, so that the search
/// begins around `next`.
fn version_of(layout: Layout, versions: &[[u8; VERSION]], next: &mut usize, name: &[u8]) -> Option<(usize, u64)> {
    let start = if layout.wide { 8 } else { 4 };
    // The first bytes, as one number: nearly all of the others are passed over by them.
    let first = |bytes: &[u8]| bytes.first_chunk().map(|&first| u64::from_le_bytes(first));
    let begin = first(name);
    let is = |entry: &[u8; VERSION]| {
        entry
            .get(start..)
            .filter(|field| begin.is_none() || first(field) == begin)
            .and_then(|field| field.strip_prefix(name))
            .is_some_and(|rest| rest.first().is_none_or(|&byte| byte == 0))
    };
    let index = match versions.get(*next) {
        Some(entry) if is(entry) => *next,
        _ => {
            let (far, near) = versions.split_at(next.saturating_sub(NEAR).min(versions.len()));
            near.iter().position(is).map(|place| far.len() + place).or_else(|| far.iter().position(is))?
        }
    };
    *next = index + 1;
    versions.get(index).map(|entry| (index, version_crc(layout, entry)))
}
