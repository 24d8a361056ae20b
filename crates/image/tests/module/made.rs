//! Made modules: ELF bytes put together field by field, so that a test can break exactly one of them.

/// A section to be written.
#[derive(Clone)]
pub(crate) struct MadeSection {
    pub(crate) name: &'static str,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) size: Option<u64>,
    pub(crate) align: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
}

/// Flags of sections.
pub(crate) const WRITE: u64 = 1;
pub(crate) const ALLOC: u64 = 2;
pub(crate) const EXEC: u64 = 4;

/// Types of sections.
pub(crate) const PROGBITS: u32 = 1;
pub(crate) const SYMTAB: u32 = 2;
pub(crate) const STRTAB: u32 = 3;
pub(crate) const RELA: u32 = 4;
pub(crate) const NOBITS: u32 = 8;

/// Bytes of a section header.
pub(crate) const HEADER: usize = 64;

/// A module to be written. Sections are numbered from 1 in the order in which they are added.
#[derive(Clone, Default)]
pub(crate) struct Made {
    pub(crate) sections: Vec<MadeSection>,
    symbols: Vec<u8>,
    names: Vec<u8>,
}

impl Made {
    pub(crate) fn new() -> Made {
        Made { sections: Vec::new(), symbols: vec![0; 24], names: vec![0] }
    }

    /// A module that loads anywhere: `.modinfo`, a `struct module` and a symbol table.
    pub(crate) fn module() -> Made {
        let mut made = Made::new();
        made.section(".modinfo", PROGBITS, ALLOC, b"license=GPL\0name=made\0");
        made.section(".gnu.linkonce.this_module", PROGBITS, ALLOC | WRITE, &[0; 896]);
        made
    }

    /// Adds a section; its index.
    pub(crate) fn section(&mut self, name: &'static str, kind: u32, flags: u64, data: &[u8]) -> u32 {
        self.sections.push(MadeSection {
            name,
            kind,
            flags,
            data: data.to_vec(),
            size: None,
            align: 8,
            link: 0,
            info: 0,
        });
        self.sections.len() as u32
    }

    /// Adds a symbol; its index.
    pub(crate) fn symbol(&mut self, name: &str, info: u8, section: u16, value: u64) -> u32 {
        let index = self.symbols.len() / 24;
        let at = self.names.len() as u32;
        self.names.extend(name.bytes().chain([0]));
        self.symbols.extend(at.to_le_bytes());
        self.symbols.extend([info, 0]);
        self.symbols.extend(section.to_le_bytes());
        self.symbols.extend(value.to_le_bytes());
        self.symbols.extend(0u64.to_le_bytes());
        index as u32
    }

    /// Adds a section of relocations for section `target`: place, type, symbol, addend.
    pub(crate) fn relocations(&mut self, target: u32, entries: &[(u64, u32, u32, i64)]) {
        let mut data = Vec::new();
        for &(place, kind, symbol, addend) in entries {
            data.extend(place.to_le_bytes());
            data.extend((u64::from(symbol) << 32 | u64::from(kind)).to_le_bytes());
            data.extend(addend.to_le_bytes());
        }
        let index = self.section(".rela", RELA, 0, &data);
        self.sections[index as usize - 1].info = target;
    }

    /// The bytes. The symbol table, its strings and the names of sections come last, in this order.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut made = self.clone();
        let symbols = std::mem::take(&mut made.symbols);
        let names = std::mem::take(&mut made.names);
        let index = made.section(".symtab", SYMTAB, 0, &symbols);
        made.sections[index as usize - 1].link = index + 1;
        made.section(".strtab", STRTAB, 0, &names);
        made.section(".shstrtab", STRTAB, 0, &[]);
        let mut section_names = vec![0];
        let offsets: Vec<u32> = made
            .sections
            .iter()
            .map(|section| {
                let at = section_names.len() as u32;
                section_names.extend(section.name.bytes().chain([0]));
                at
            })
            .collect();
        let last = made.sections.len();
        made.sections[last - 1].data = section_names;

        let mut body: Vec<u8> = Vec::new();
        let mut headers = vec![0; HEADER];
        for (section, name) in made.sections.iter().zip(offsets) {
            let offset = 64 + body.len() as u64;
            if section.kind != NOBITS {
                body.extend(&section.data);
            }
            headers.extend(name.to_le_bytes());
            headers.extend(section.kind.to_le_bytes());
            headers.extend(section.flags.to_le_bytes());
            headers.extend(0u64.to_le_bytes());
            headers.extend(offset.to_le_bytes());
            headers.extend(section.size.unwrap_or(section.data.len() as u64).to_le_bytes());
            headers.extend(section.link.to_le_bytes());
            headers.extend(section.info.to_le_bytes());
            headers.extend(section.align.to_le_bytes());
            headers.extend(0u64.to_le_bytes());
        }
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(1u16.to_le_bytes()); // e_type: ET_REL
        file.extend(62u16.to_le_bytes()); // e_machine: EM_X86_64
        file.extend(1u32.to_le_bytes()); // e_version
        file.extend(0u64.to_le_bytes()); // e_entry
        file.extend(0u64.to_le_bytes()); // e_phoff
        file.extend((64 + body.len() as u64).to_le_bytes()); // e_shoff
        file.extend(0u32.to_le_bytes()); // e_flags
        file.extend(64u16.to_le_bytes()); // e_ehsize
        file.extend(0u16.to_le_bytes()); // e_phentsize
        file.extend(0u16.to_le_bytes()); // e_phnum
        file.extend(64u16.to_le_bytes()); // e_shentsize
        file.extend((last as u16 + 1).to_le_bytes()); // e_shnum
        file.extend((last as u16).to_le_bytes()); // e_shstrndx
        file.extend(body);
        file.extend(headers);
        file
    }
}

/// Where the header of section `index` begins in `file`.
pub(crate) fn header_of(file: &[u8], index: usize) -> usize {
    u64::from_le_bytes(file[40..48].try_into().unwrap()) as usize + index * HEADER
}

/// Overwrites bytes of `file`.
pub(crate) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
