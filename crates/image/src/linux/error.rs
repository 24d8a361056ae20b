//! What can be wrong with the structure of a module file.

use core::fmt;

use bstr::{BStr, ByteSlice};
use thiserror::Error;

/// Longest name that fits into `struct module` with its NUL (`MODULE_NAME_LEN` - 1).
const NAME_MAX: usize = 55;

/// The module's name as the kernel would print it in a message about a file that it cannot load.
///
/// Holding one says nothing about the file: it is the `name=` of `.modinfo`, cut at 55 bytes, or the kernel's placeholder
/// when there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ModuleName {
    bytes: [u8; NAME_MAX],
    length: u8,
}

impl ModuleName {
    /// What the kernel prints when the name is not known.
    pub const PLACEHOLDER: &'static str = "(missing .modinfo section or name field)";

    /// Copies `name`, or says that there is none.
    #[must_use]
    pub fn new(name: Option<&BStr>) -> ModuleName {
        let from = name.map_or(Self::PLACEHOLDER.as_bytes(), |name| name.as_bytes());
        let from = from.get(..NAME_MAX).unwrap_or(from);
        let mut bytes = [0; NAME_MAX];
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
        }
        ModuleName { bytes, length: from.len() as u8 }
    }

    /// The name.
    #[must_use]
    pub fn as_bstr(&self) -> &BStr {
        BStr::new(self.bytes.get(..usize::from(self.length)).unwrap_or_default())
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_bstr(), f)
    }
}

impl fmt::Debug for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_bstr(), f)
    }
}

/// Why a file is not a loadable Linux module.
///
/// The first group are the kernel's own checks, in its order, and `Display` is its log line. The second group
/// ([`is_beyond_linux`](ReadError::is_beyond_linux)) are checks that Linux 6.1 leaves out and that a reader which must
/// survive every file needs; Linux answers `ENOEXEC` to all of the first group, and some later kernels check some of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The file is shorter than an ELF header.
    #[error("Invalid ELF header len {length}")]
    HeaderLength {
        /// Bytes there are, without a signature.
        length: usize,
    },
    /// The file does not begin with the ELF magic number.
    #[error("Invalid ELF header magic: != \x7fELF")]
    Magic,
    /// The file is not relocatable (`ET_REL`).
    #[error("Invalid ELF header type: {kind} != 1")]
    Type {
        /// `e_type`.
        kind: u16,
    },
    /// The file is for another machine.
    #[error("Invalid architecture in ELF header: {machine}")]
    Machine {
        /// `e_machine`.
        machine: u16,
    },
    /// A section header is not 64 bytes.
    #[error("Invalid ELF section header size")]
    SectionHeaderSize {
        /// `e_shentsize`.
        size: u16,
    },
    /// The table of section headers does not lie in the file.
    #[error("Invalid ELF section header overflow")]
    SectionHeaderOverflow {
        /// `e_shoff`.
        offset: u64,
        /// `e_shnum`.
        count: u16,
    },
    /// The section that holds the names of sections does not exist.
    #[error("Invalid ELF section name index: {index} || e_shstrndx ({index}) >= e_shnum ({count})")]
    SectionNameIndex {
        /// `e_shstrndx`.
        index: u16,
        /// `e_shnum`.
        count: u16,
    },
    /// The section that holds the names of sections does not lie in the file.
    #[error("Invalid ELF section hdr(type {kind})")]
    SectionNameTable {
        /// `sh_type`.
        kind: u32,
        /// `sh_offset`.
        offset: u64,
        /// `sh_size`.
        size: u64,
    },
    /// The section that holds the names of sections is empty.
    #[error("empty section name table")]
    EmptySectionNames,
    /// The last name of a section has no end.
    #[error("ELF Spec violation: section name table isn't null terminated")]
    UnterminatedSectionNames,
    /// Section 0 is not the null section.
    #[error("ELF Spec violation: section 0 type({kind})!=SH_NULL or non-zero len or addr")]
    FirstSection {
        /// `sh_type`.
        kind: u32,
    },
    /// A symbol table names no section as its strings.
    #[error("Invalid ELF sh_link!=SHN_UNDEF({link}) or (sh_link({link}) >= hdr->e_shnum({count})")]
    SymbolTableLink {
        /// `sh_link`.
        link: u32,
        /// `e_shnum`.
        count: u16,
    },
    /// A section does not lie in the file.
    #[error("Invalid ELF section in module (section {section} type {kind})")]
    SectionBounds {
        /// Index of the section.
        section: u32,
        /// `sh_type`.
        kind: u32,
        /// `sh_offset`.
        offset: u64,
        /// `sh_size`.
        size: u64,
    },
    /// The name of a section does not lie in the table of names.
    #[error("Invalid ELF section name in module (section {section} type {kind})")]
    SectionName {
        /// Index of the section.
        section: u32,
        /// `sh_type`.
        kind: u32,
        /// `sh_name`.
        name: u32,
    },
    /// There is no symbol table.
    #[error("{name}: module has no symbols (stripped?)")]
    NoSymbols {
        /// Name of the module.
        name: ModuleName,
    },
    /// There is no `.gnu.linkonce.this_module`.
    #[error("{name}: No module found in object")]
    NoModule {
        /// Name of the module.
        name: ModuleName,
    },

    /// There is more than one symbol table.
    #[error("only one symbol table is expected: found {count}")]
    SymbolTables {
        /// Number of `SHT_SYMTAB` sections.
        count: usize,
    },
    /// There is more than one `.gnu.linkonce.this_module`.
    #[error("only one .gnu.linkonce.this_module section is expected: found {count}")]
    Modules {
        /// Number of such sections.
        count: usize,
    },
    /// The names of symbols are not in a section with contents.
    #[error("names of symbols are in section {section} of type {kind}, which has no contents")]
    SymbolNames {
        /// `sh_link` of the symbol table.
        section: u32,
        /// `sh_type` of that section.
        kind: u32,
    },
    /// The last name of a symbol has no end.
    #[error("names of symbols (section {section}) do not end with a NUL")]
    UnterminatedSymbolNames {
        /// Index of the string table.
        section: u32,
    },
    /// The name of a symbol lies outside of the string table.
    #[error("name of symbol {symbol} at {name:#x} lies outside of its table of {size:#x} bytes")]
    SymbolName {
        /// Index of the symbol.
        symbol: u32,
        /// `st_name`.
        name: u32,
        /// Size of the string table.
        size: u64,
    },
    /// The name of a section without contents (which Linux does not look at) does not lie in the table of names.
    #[error("name of section {section} of type {kind} at {name:#x} lies outside of the section names")]
    EmptySectionName {
        /// Index of the section.
        section: u32,
        /// `sh_type`.
        kind: u32,
        /// `sh_name`.
        name: u32,
    },
    /// A section wants memory but has no type.
    #[error("section {section} is to be loaded but has no type")]
    Untyped {
        /// Index of the section.
        section: u32,
    },
    /// The alignment of a section that is loaded is not a power of two.
    #[error("alignment {align:#x} of section {section} is not a power of two")]
    Alignment {
        /// Index of the section.
        section: u32,
        /// `sh_addralign`.
        align: u64,
    },
    /// `.gnu.linkonce.this_module` cannot be a `struct module`.
    #[error(
        ".gnu.linkonce.this_module (section {section}, type {kind}, flags {flags:#x}, {size} bytes) cannot be a struct module"
    )]
    ThisModule {
        /// Index of the section.
        section: u32,
        /// `sh_type`.
        kind: u32,
        /// `sh_flags`.
        flags: u64,
        /// `sh_size`.
        size: u64,
    },
    /// `.modinfo` does not end with a NUL.
    #[error(".modinfo (section {section}) does not end with a NUL")]
    UnterminatedModinfo {
        /// Index of the section.
        section: u32,
    },
}

impl ReadError {
    /// Whether Linux 6.1 would not have noticed, so that the text is ours and not the kernel's.
    #[must_use]
    pub fn is_beyond_linux(&self) -> bool {
        matches!(
            self,
            ReadError::SymbolTables { .. }
                | ReadError::Modules { .. }
                | ReadError::SymbolNames { .. }
                | ReadError::UnterminatedSymbolNames { .. }
                | ReadError::SymbolName { .. }
                | ReadError::EmptySectionName { .. }
                | ReadError::Untyped { .. }
                | ReadError::Alignment { .. }
                | ReadError::ThisModule { .. }
                | ReadError::UnterminatedModinfo { .. }
        )
    }

    /// Whether the kernel prints the line as a warning (level 4) and not as an error (level 3).
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, ReadError::NoSymbols { .. } | ReadError::NoModule { .. })
    }
}
