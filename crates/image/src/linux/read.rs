//! From bytes to an [`Image`]: the checks, in Linux's order.

use alloc::vec::Vec;

use bstr::BStr;
use object::LittleEndian as LE;
use object::elf::{
    EM_X86_64, ET_REL, FileHeader64, SHF_ALLOC, SHF_WRITE, SHN_UNDEF, SHT_NOBITS, SHT_NULL, SHT_SYMTAB,
    SectionHeader64, Sym64,
};
use object::pod;

use super::modinfo::Modinfo;
use super::signature;
use super::{Image, ModuleName, ReadError, Section, string_at, whole_entries};

/// A `struct module` begins with its state and a list node, and its name comes right after them, in every 64-bit Linux.
const THIS_MODULE_MIN: u64 = 24 + 56;

/// No `struct module` comes near this; more is a file made to hurt.
const THIS_MODULE_MAX: u64 = 1 << 16;

impl<'a> Image<'a> {
    /// Reads a module from the bytes of a file that is not compressed (see [`compress`](crate::compress)).
    ///
    /// # Errors
    /// The first check that fails, in Linux's order.
    pub fn read(bytes: &'a [u8]) -> Result<Image<'a>, ReadError> {
        // Step 1, module_sig_check, comes before the file is looked at as ELF.
        let (bytes, signature) = signature::split(bytes);

        let table = SectionTable::check(bytes)?;
        let sections = table.sections(bytes)?;
        let found = Found::look(&table, &sections)?;
        let symbols = beyond_linux(&table, &sections, &found)?;

        Ok(Image {
            bytes,
            signature,
            header: table.header,
            symbols,
            symbol_names: sections.get(found.symbol_names).map_or(&[], |section| section.data),
            symbol_table: found.symbol_table,
            this_module: found.this_module,
            modinfo: found.modinfo,
            sections,
        })
    }
}

/// The ELF header and the table of section headers, which lie in the file.
struct SectionTable<'a> {
    header: &'a FileHeader64<LE>,
    headers: &'a [SectionHeader64<LE>],
    names: &'a [u8],
}

/// `[offset, offset + size)` of `bytes`.
fn contents(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let end = offset.checked_add(size)?;
    bytes.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
}

impl<'a> SectionTable<'a> {
    /// The first half of `elf_validity_check`.
    fn check(bytes: &'a [u8]) -> Result<SectionTable<'a>, ReadError> {
        let length = bytes.len();
        let Ok((header, _)) = pod::from_bytes::<FileHeader64<LE>>(bytes) else {
            return Err(ReadError::HeaderLength { length });
        };
        if !bytes.starts_with(b"\x7fELF") {
            return Err(ReadError::Magic);
        }
        let kind = header.e_type.get(LE).0;
        if kind != ET_REL.0 {
            return Err(ReadError::Type { kind });
        }
        // The machine is all that x86 checks: EI_CLASS and EI_DATA may say anything.
        let machine = header.e_machine.get(LE).0;
        if machine != EM_X86_64.0 {
            return Err(ReadError::Machine { machine });
        }
        let size = header.e_shentsize.get(LE);
        if usize::from(size) != size_of::<SectionHeader64<LE>>() {
            return Err(ReadError::SectionHeaderSize { size });
        }
        let offset = header.e_shoff.get(LE);
        let count = header.e_shnum.get(LE);
        let headers = usize::try_from(offset)
            .ok()
            .filter(|&offset| offset < length)
            .and_then(|offset| {
                pod::slice_from_bytes::<SectionHeader64<LE>>(bytes.get(offset..)?, usize::from(count)).ok()
            })
            .map(|(headers, _)| headers)
            .ok_or(ReadError::SectionHeaderOverflow { offset, count })?;

        let index = header.e_shstrndx.get(LE).0;
        let names = match headers.get(usize::from(index)) {
            Some(names) if index != SHN_UNDEF.0 => names,
            _ => return Err(ReadError::SectionNameIndex { index, count }),
        };
        let (offset, size) = (names.sh_offset.get(LE), names.sh_size.get(LE));
        let names = contents(bytes, offset, size).ok_or(ReadError::SectionNameTable {
            kind: names.sh_type.get(LE).0,
            offset,
            size,
        })?;
        match names.last() {
            None => return Err(ReadError::EmptySectionNames),
            Some(0) => {}
            Some(_) => return Err(ReadError::UnterminatedSectionNames),
        }
        if let Some(first) = headers.first() {
            let kind = first.sh_type.get(LE).0;
            if kind != SHT_NULL.0 || first.sh_size.get(LE) != 0 || first.sh_addr.get(LE) != 0 {
                return Err(ReadError::FirstSection { kind });
            }
        }
        Ok(SectionTable { header, headers, names })
    }

    /// The second half of `elf_validity_check`: every section on its own.
    fn sections(&self, bytes: &'a [u8]) -> Result<Vec<Section<'a>>, ReadError> {
        let count = self.header.e_shnum.get(LE);
        let mut sections = Vec::with_capacity(self.headers.len());
        for (section, header) in (0u32..).zip(self.headers) {
            let kind = header.sh_type.get(LE);
            let flags = header.sh_flags.get(LE).0;
            let (offset, size) = (header.sh_offset.get(LE), header.sh_size.get(LE));
            let name = header.sh_name.get(LE);
            let link = header.sh_link.get(LE);
            let mut data: &[u8] = &[];
            if kind != SHT_NULL && kind != SHT_NOBITS {
                if kind == SHT_SYMTAB && (link == u32::from(SHN_UNDEF.0) || link >= u32::from(count)) {
                    return Err(ReadError::SymbolTableLink { link, count });
                }
                data = contents(bytes, offset, size).ok_or(ReadError::SectionBounds {
                    section,
                    kind: kind.0,
                    offset,
                    size,
                })?;
                if flags & SHF_ALLOC.0 != 0 && name as usize >= self.names.len() {
                    return Err(ReadError::SectionName { section, kind: kind.0, name });
                }
            }
            sections.push(Section {
                name: string_at(self.names, u64::from(name)),
                kind: kind.0,
                flags,
                size,
                align: header.sh_addralign.get(LE),
                link,
                info: header.sh_info.get(LE),
                entsize: header.sh_entsize.get(LE),
                offset,
                data,
            });
        }
        Ok(sections)
    }
}

/// What `setup_load_info` finds.
struct Found<'a> {
    modinfo: &'a [u8],
    modinfo_section: usize,
    symbol_table: usize,
    symbol_names: usize,
    this_module: usize,
}

impl<'a> Found<'a> {
    fn look(table: &SectionTable<'a>, sections: &[Section<'a>]) -> Result<Found<'a>, ReadError> {
        let loaded =
            |name: &str| sections.iter().position(|section| section.name == name && section.flags & SHF_ALLOC.0 != 0);
        let modinfo_section = loaded(".modinfo").unwrap_or(0);
        let modinfo = sections.get(modinfo_section).map_or(&[][..], |section| section.data);
        let name = || ModuleName::new(Modinfo::new(modinfo).get("name"));

        // Section 0 has been seen to be null, so that a symbol table never is at index 0.
        let symbol_table = table
            .headers
            .iter()
            .position(|header| header.sh_type.get(LE) == SHT_SYMTAB)
            .ok_or_else(|| ReadError::NoSymbols { name: name() })?;
        let this_module = loaded(THIS_MODULE).ok_or_else(|| ReadError::NoModule { name: name() })?;
        let symbol_names = sections.get(symbol_table).map_or(0, |section| section.link as usize);
        Ok(Found { modinfo, modinfo_section, symbol_table, symbol_names, this_module })
    }
}

/// The section that becomes `struct module`.
const THIS_MODULE: &str = ".gnu.linkonce.this_module";

/// What Linux 6.1 does not check, but acts on.
fn beyond_linux<'a>(
    table: &SectionTable<'a>,
    sections: &[Section<'a>],
    found: &Found<'a>,
) -> Result<&'a [Sym64<LE>], ReadError> {
    let mut symbol_tables = 0;
    let mut modules = 0;
    for ((index, section), header) in (0u32..).zip(sections).zip(table.headers) {
        symbol_tables += usize::from(section.kind == SHT_SYMTAB.0);
        if !section.is_alloc() {
            continue;
        }
        let name = header.sh_name.get(LE);
        if name as usize >= table.names.len() {
            return Err(ReadError::EmptySectionName { section: index, kind: section.kind, name });
        }
        if section.kind == SHT_NULL.0 && section.size != 0 {
            return Err(ReadError::Untyped { section: index });
        }
        if section.align != 0 && !section.align.is_power_of_two() {
            return Err(ReadError::Alignment { section: index, align: section.align });
        }
        modules += usize::from(section.name == THIS_MODULE);
    }
    if symbol_tables > 1 {
        return Err(ReadError::SymbolTables { count: symbol_tables });
    }
    if modules > 1 {
        return Err(ReadError::Modules { count: modules });
    }
    if let Some(section) = sections.get(found.this_module) {
        let (kind, flags, size) = (section.kind, section.flags, section.size);
        let holds_a_module =
            kind != SHT_NOBITS.0 && flags & SHF_WRITE.0 != 0 && (THIS_MODULE_MIN..=THIS_MODULE_MAX).contains(&size);
        if !holds_a_module {
            return Err(ReadError::ThisModule { section: found.this_module as u32, kind, flags, size });
        }
    }
    if found.modinfo.last().is_some_and(|&last| last != 0) {
        return Err(ReadError::UnterminatedModinfo { section: found.modinfo_section as u32 });
    }
    symbols(sections, found)
}

/// The symbol table, whose names all lie in their table.
fn symbols<'a>(sections: &[Section<'a>], found: &Found<'a>) -> Result<&'a [Sym64<LE>], ReadError> {
    let symbols: &[Sym64<LE>] = sections.get(found.symbol_table).map_or(&[], |section| whole_entries(section.data));
    let section = found.symbol_names as u32;
    let Some(names) = sections.get(found.symbol_names) else {
        return Ok(symbols);
    };
    if names.kind == SHT_NULL.0 || names.kind == SHT_NOBITS.0 {
        return Err(ReadError::SymbolNames { section, kind: names.kind });
    }
    if names.data.last().is_some_and(|&last| last != 0) {
        return Err(ReadError::UnterminatedSymbolNames { section });
    }
    let size = names.data.len() as u64;
    // One pass without an exit, because that is the fast one; who is wrong is asked only when somebody is.
    let furthest = symbols.iter().fold(0, |furthest, symbol| symbol.st_name.get(LE).max(furthest));
    if u64::from(furthest) >= size && !symbols.is_empty() {
        let at_fault = (0u32..).zip(symbols).find(|(_, symbol)| u64::from(symbol.st_name.get(LE)) >= size);
        if let Some((symbol, entry)) = at_fault {
            return Err(ReadError::SymbolName { symbol, name: entry.st_name.get(LE), size });
        }
    }
    Ok(symbols)
}

impl Image<'_> {
    /// The module's name as the kernel prints it.
    #[must_use]
    pub fn printed_name(&self) -> ModuleName {
        ModuleName::new(self.name().map(BStr::new))
    }
}
