//! The objects of an archive: their sections, and which symbol is defined where.

use std::collections::HashMap;

use object::elf;
use object::read::archive::ArchiveFile;
use object::read::elf::ElfFile64;
use object::{
    LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget, SectionFlags,
    SectionIndex, SymbolIndex,
};

use crate::AssembleError;

type Elf<'a> = ElfFile64<'a, LittleEndian>;

/// A section of one of the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SectionId {
    pub(crate) object: usize,
    pub(crate) section: usize,
}

/// A place in a section, or a name nobody defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Place { section: SectionId, offset: u64, symbol: Option<SymbolIndex> },
    Import { name: &'a str, weak: bool },
    Absolute(u64),
}

/// A relocation of an input section.
#[derive(Clone, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) offset: u64,
    pub(crate) kind: elf::RelocationType,
    pub(crate) addend: i64,
    pub(crate) target: Target<'a>,
}

/// All objects of an archive.
pub(crate) struct Objects<'a> {
    objects: Vec<Elf<'a>>,
    /// The definition of each symbol that other objects see.
    globals: HashMap<&'a str, (usize, SymbolIndex)>,
}

impl<'a> Objects<'a> {
    /// Reads an archive.
    pub(crate) fn read(archive: &'a [u8]) -> Result<Self, AssembleError> {
        let mut objects = Vec::new();
        let file = ArchiveFile::parse(archive).map_err(AssembleError::Archive)?;
        for member in file.members() {
            let data = member.and_then(|member| member.data(archive)).map_err(AssembleError::Archive)?;
            // Compiler metadata lies beside the objects.
            if data.starts_with(b"\x7fELF") {
                objects.push(Elf::parse(data).map_err(AssembleError::Archive)?);
            }
        }
        let mut globals = HashMap::new();
        let mut weak = HashMap::new();
        for (index, object) in objects.iter().enumerate() {
            for symbol in object.symbols().filter(|symbol| symbol.is_global() && !symbol.is_undefined()) {
                let Ok(name) = symbol.name() else { continue };
                let definitions = if symbol.is_weak() { &mut weak } else { &mut globals };
                // The first in the archive counts, as it does for a linker.
                definitions.entry(name).or_insert((index, symbol.index()));
            }
        }
        for (name, definition) in weak {
            globals.entry(name).or_insert(definition);
        }
        Ok(Self { objects, globals })
    }

    /// The allocated sections of all objects.
    pub(crate) fn sections(&self) -> impl Iterator<Item = SectionId> + '_ {
        self.objects.iter().enumerate().flat_map(|(object, elf)| {
            elf.sections().map(move |section| SectionId { object, section: section.index().0 })
        })
    }

    /// Name, type, flags, size and alignment.
    pub(crate) fn header(&self, id: SectionId) -> Result<Header<'a>, AssembleError> {
        let section =
            self.objects[id.object].section_by_index(SectionIndex(id.section)).map_err(AssembleError::Archive)?;
        let SectionFlags::Elf { sh_type: kind, sh_flags: flags } = section.flags() else {
            return Ok(Header::default());
        };
        // Borrowed from the archive, not from the reader.
        let header = section.elf_section_header();
        let name = self.objects[id.object]
            .elf_section_table()
            .section_name(LittleEndian, header)
            .map_err(AssembleError::Archive)?;
        let name = std::str::from_utf8(name).unwrap_or_default();
        Ok(Header { name, kind, flags, size: section.size(), align: section.align().max(1) })
    }

    /// The contents; empty for a section without.
    pub(crate) fn data(&self, id: SectionId) -> Result<&'a [u8], AssembleError> {
        let section = self.objects[id.object].section_by_index(SectionIndex(id.section));
        section.and_then(|section| section.data()).map_err(AssembleError::Archive)
    }

    /// The named symbols defined in a section.
    pub(crate) fn symbols_in(&self, id: SectionId) -> impl Iterator<Item = Defined<'a>> + '_ {
        self.objects[id.object].symbols().filter_map(move |symbol| {
            if symbol.section_index() != Some(SectionIndex(id.section)) {
                return None;
            }
            let name = symbol.name().ok().filter(|name| !name.is_empty() && !name.starts_with(".L"))?;
            let object::SymbolFlags::Elf { st_info, .. } = symbol.flags() else { return None };
            let kind = st_info.st_type();
            (kind != elf::STT_SECTION && kind != elf::STT_FILE).then_some(Defined {
                index: symbol.index(),
                name,
                value: symbol.address(),
                size: symbol.size(),
                is_function: kind == elf::STT_FUNC,
            })
        })
    }

    /// The relocations of a section.
    pub(crate) fn links(&self, id: SectionId) -> Result<Vec<Link<'a>>, AssembleError> {
        let object = &self.objects[id.object];
        let section = object.section_by_index(SectionIndex(id.section)).map_err(AssembleError::Archive)?;
        let mut links = Vec::new();
        for (offset, relocation) in section.relocations() {
            let RelocationFlags::Elf { r_type: kind } = relocation.flags() else { continue };
            let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
            links.push(Link { offset, kind, addend: relocation.addend(), target: self.target(id.object, symbol)? });
        }
        Ok(links)
    }

    fn target(&self, object: usize, index: SymbolIndex) -> Result<Target<'a>, AssembleError> {
        let symbol = self.objects[object].symbol_by_index(index).map_err(AssembleError::Archive)?;
        if symbol.is_undefined() {
            let name = symbol.name().map_err(AssembleError::Archive)?;
            return match self.globals.get(name) {
                Some(&(object, index)) => self.target(object, index),
                None => Ok(Target::Import { name, weak: symbol.is_weak() }),
            };
        }
        Ok(match symbol.section_index() {
            Some(section) => {
                let section_symbol = symbol.kind() == object::SymbolKind::Section;
                Target::Place {
                    section: SectionId { object, section: section.0 },
                    offset: symbol.address(),
                    symbol: (!section_symbol).then_some(index),
                }
            }
            None => Target::Absolute(symbol.address()),
        })
    }
}

/// A section's header.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Header<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: elf::SectionType,
    pub(crate) flags: elf::SectionFlags,
    pub(crate) size: u64,
    pub(crate) align: u64,
}

impl Header<'_> {
    pub(crate) fn has(&self, flag: elf::SectionFlags) -> bool {
        self.flags.0 & flag.0 != 0
    }
}

/// A symbol defined in a section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defined<'a> {
    pub(crate) index: SymbolIndex,
    pub(crate) name: &'a str,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) is_function: bool,
}
