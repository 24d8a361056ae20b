//! A writer of small module files, well-formed or not.
//!
//! Only what module tools look at is there: `.modinfo`, `__versions`, the exported names and the
//! symbol table. Both classes and both byte orders can be written.

/// One undefined symbol of a module.
#[derive(Clone)]
pub struct Import {
    /// Its name.
    pub name: Vec<u8>,
    /// Whether it is weak.
    pub weak: bool,
    /// The CRC in `__versions`; `None` leaves the symbol out of it.
    pub crc: Option<u32>,
}

/// How an exported symbol carries its CRC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Crc {
    /// An absolute symbol `__crc_NAME` whose value it is.
    Absolute(u32),
    /// A symbol `__crc_NAME` that points at four bytes of a section.
    InSection(u32),
    /// None at all: only the name in `__ksymtab_strings`.
    Missing,
}

/// A module to be written.
#[derive(Clone)]
pub struct Module {
    /// 64 bits.
    pub wide: bool,
    /// The highest byte first.
    pub big_endian: bool,
    /// `key=value` strings in order.
    pub modinfo: Vec<Vec<u8>>,
    /// Names and their CRCs.
    pub exports: Vec<(Vec<u8>, Crc)>,
    /// Undefined symbols.
    pub imports: Vec<Import>,
    /// A note with the build's id.
    pub build_id: Option<[u8; 20]>,
    /// Further sections: name and content.
    pub sections: Vec<(&'static str, Vec<u8>)>,
    /// Leave the symbol table out.
    pub without_symbols: bool,
    /// What `e_shstrndx` holds instead of the truth.
    pub name_section: Option<u16>,
    /// Further symbols: name, section index, value.
    pub odd_symbols: Vec<(&'static [u8], u16, u64)>,
}

impl Default for Module {
    fn default() -> Self {
        Self {
            wide: true,
            big_endian: false,
            modinfo: Vec::new(),
            exports: Vec::new(),
            imports: Vec::new(),
            build_id: None,
            sections: Vec::new(),
            without_symbols: false,
            name_section: None,
            odd_symbols: Vec::new(),
        }
    }
}

/// Numbers in the file's byte order and word size.
struct Bytes {
    wide: bool,
    big: bool,
    bytes: Vec<u8>,
}

impl Bytes {
    fn new(module: &Module) -> Self {
        Self { wide: module.wide, big: module.big_endian, bytes: Vec::new() }
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn u64(&mut self, value: u64) {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn word(&mut self, value: usize) {
        if self.wide { self.u64(value as u64) } else { self.u32(value as u32) }
    }

    fn symbol(&mut self, name: u32, info: u8, section: u16, value: u64) {
        self.u32(name);
        if self.wide {
            self.bytes.extend([info, 0]);
            self.u16(section);
            self.u64(value);
            self.u64(0);
        } else {
            self.u32(value as u32);
            self.u32(0);
            self.bytes.extend([info, 0]);
            self.u16(section);
        }
    }
}

/// A section before it has its place.
struct Section {
    name: &'static str,
    kind: u32,
    flags: usize,
    link: u32,
    entry: usize,
    content: Vec<u8>,
}

// gABI, "Section Header": types and flags.
const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const NOTE: u32 = 7;
const ALLOC: usize = 2;
const WRITE: usize = 1;
// gABI, "Symbol Table".
const ABS: u16 = 0xfff1;
const GLOBAL: u8 = 0x10;
const WEAK: u8 = 0x20;

impl Module {
    /// The module's file.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut sections = vec![Section { name: "", kind: 0, flags: 0, link: 0, entry: 0, content: Vec::new() }];
        let mut add = |name, kind, flags, content| {
            sections.push(Section { name, kind, flags, link: 0, entry: 0, content });
            sections.len() as u16 - 1
        };
        let modinfo: Vec<u8> = self.modinfo.iter().flat_map(|line| line.iter().copied().chain([0])).collect();
        if !modinfo.is_empty() {
            add(".modinfo", PROGBITS, ALLOC, modinfo);
        }
        if let Some(id) = self.build_id {
            let mut note = Bytes::new(self);
            note.u32(4);
            note.u32(20);
            note.u32(3);
            note.bytes.extend(b"GNU\0");
            note.bytes.extend(id);
            add(".note.gnu.build-id", NOTE, ALLOC, note.bytes);
        }
        let versions = self.versions();
        if !versions.is_empty() {
            add("__versions", PROGBITS, ALLOC, versions);
        }
        if !self.exports.is_empty() {
            let names = self.exports.iter().flat_map(|(name, _)| name.iter().copied().chain([0])).collect();
            add("__ksymtab_strings", PROGBITS, ALLOC, names);
        }
        let mut kcrctab = Bytes::new(self);
        for (_, crc) in &self.exports {
            if let Crc::InSection(crc) = crc {
                kcrctab.u32(*crc);
            }
        }
        let crc_section = if kcrctab.bytes.is_empty() { 0 } else { add("__kcrctab", PROGBITS, ALLOC, kcrctab.bytes) };
        for (name, content) in &self.sections {
            // The kernel writes into the module's own object.
            let write = if *name == ".gnu.linkonce.this_module" { WRITE } else { 0 };
            add(name, PROGBITS, ALLOC | write, content.clone());
        }
        if !self.without_symbols {
            let (symbols, strings) = self.symbols(crc_section);
            let strings_at = add(".strtab", STRTAB, 0, strings);
            let at = add(".symtab", SYMTAB, 0, symbols);
            let table = &mut sections[usize::from(at)];
            table.link = u32::from(strings_at);
            table.entry = if self.wide { 24 } else { 16 };
        }
        self.assemble(sections)
    }

    fn versions(&self) -> Vec<u8> {
        let mut versions = Bytes::new(self);
        for import in &self.imports {
            if let Some(crc) = import.crc {
                versions.word(crc as usize);
                // struct modversion_info: 64 bytes in all, the name padded with NUL.
                let space = if self.wide { 56 } else { 60 };
                let mut name = import.name.clone();
                name.truncate(space - 1);
                name.resize(space, 0);
                versions.bytes.extend(name);
            }
        }
        versions.bytes
    }

    fn symbols(&self, crc_section: u16) -> (Vec<u8>, Vec<u8>) {
        let mut strings = vec![0];
        let mut symbols = Bytes::new(self);
        symbols.symbol(0, 0, 0, 0);
        let mut name_at = |name: &[u8]| {
            let at = strings.len() as u32;
            strings.extend(name);
            strings.push(0);
            at
        };
        let mut offset = 0;
        for (name, crc) in &self.exports {
            let long = [b"__crc_", name.as_slice()].concat();
            match crc {
                Crc::Absolute(crc) => symbols.symbol(name_at(&long), GLOBAL, ABS, u64::from(*crc)),
                Crc::InSection(_) => {
                    symbols.symbol(name_at(&long), GLOBAL, crc_section, offset);
                    offset += 4;
                }
                Crc::Missing => {}
            }
            symbols.symbol(name_at(name), GLOBAL | 2, 1, 0);
        }
        for import in &self.imports {
            symbols.symbol(name_at(&import.name), if import.weak { WEAK } else { GLOBAL }, 0, 0);
        }
        for (name, section, value) in &self.odd_symbols {
            symbols.symbol(name_at(name), GLOBAL, *section, *value);
        }
        (symbols.bytes, strings)
    }

    fn assemble(&self, mut sections: Vec<Section>) -> Vec<u8> {
        let mut names = vec![0];
        let mut name_offsets = Vec::new();
        sections.push(Section { name: ".shstrtab", kind: STRTAB, flags: 0, link: 0, entry: 0, content: Vec::new() });
        for section in &sections {
            name_offsets.push(if section.name.is_empty() { 0 } else { names.len() as u32 });
            if !section.name.is_empty() {
                names.extend(section.name.as_bytes());
                names.push(0);
            }
        }
        let last = sections.len() - 1;
        sections[last].content = names;

        let header_size = if self.wide { 64 } else { 52 };
        let mut body = Vec::new();
        let mut offsets = Vec::new();
        for section in &sections {
            while !(header_size + body.len()).is_multiple_of(8) {
                body.push(0);
            }
            offsets.push(header_size + body.len());
            body.extend(&section.content);
        }
        while !(header_size + body.len()).is_multiple_of(8) {
            body.push(0);
        }
        let table_at = header_size + body.len();

        let mut file = Bytes::new(self);
        file.bytes.extend(b"\x7fELF");
        file.bytes.extend([if self.wide { 2 } else { 1 }, if self.big_endian { 2 } else { 1 }, 1]);
        file.bytes.resize(16, 0);
        file.u16(1);
        // x86-64, i386, PowerPC 64, PowerPC: nobody here looks at it.
        file.u16(match (self.wide, self.big_endian) {
            (true, false) => 62,
            (false, false) => 3,
            (true, true) => 21,
            (false, true) => 20,
        });
        file.u32(1);
        file.word(0);
        file.word(0);
        file.word(table_at);
        file.u32(0);
        file.u16(header_size as u16);
        file.u16(0);
        file.u16(0);
        file.u16(if self.wide { 64 } else { 40 });
        file.u16(sections.len() as u16);
        file.u16(self.name_section.unwrap_or(last as u16));
        file.bytes.extend(body);
        for ((section, offset), name) in sections.iter().zip(offsets).zip(name_offsets) {
            file.u32(name);
            file.u32(section.kind);
            file.word(section.flags);
            file.word(0);
            file.word(if section.kind == 0 { 0 } else { offset });
            file.word(section.content.len());
            file.u32(section.link);
            file.u32(u32::from(section.kind == SYMTAB));
            file.word(1);
            file.word(section.entry);
        }
        file.bytes
    }
}
