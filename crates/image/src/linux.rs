//! A Linux module: an ELF relocatable file with a few sections that the kernel's loader knows by name.
//!
//! [`Image::read`] does what the first three steps of `load_module` do — set the appended signature aside, check the
//! structure of the ELF file, find the symbol table and `.gnu.linkonce.this_module` — in the same order and with the same
//! texts, and then the checks that Linux leaves out. Everything else is read when it is asked for, and borrows from the file.

mod error;
mod modinfo;
mod parameters;
mod read;
mod signature;
mod symbols;
mod versions;

use alloc::vec::Vec;

use bstr::{BStr, ByteSlice};
use object::LittleEndian as LE;
use object::elf::{FileHeader64, Rela64, SHF_ALLOC, SHT_RELA, Sym64};
use object::pod;

pub use error::{ModuleName, ReadError};
pub use modinfo::{Modinfo, Softdep};
pub use parameters::Parameter;
pub use signature::{Signature, SignatureError, of_file as signature_of};
pub use symbols::{EntryPoints, Export, ExportClass, Import, Pointer};
pub use versions::{VersionCursor, Versions};

/// A section of a module.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// Name.
    pub name: &'a BStr,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// Size in memory, in bytes.
    pub size: u64,
    /// `sh_addralign`: 0 or a power of two when the section is loaded.
    pub align: u64,
    /// `sh_link`.
    pub link: u32,
    /// `sh_info`.
    pub info: u32,
    /// `sh_entsize`.
    pub entsize: u64,
    /// Where the contents begin in the file.
    pub offset: u64,
    /// The contents; empty when the file has none (`SHT_NOBITS`).
    pub data: &'a [u8],
}

impl Section<'_> {
    /// Whether the section takes memory when the module is loaded.
    #[inline]
    #[must_use]
    pub fn is_alloc(&self) -> bool {
        self.flags & SHF_ALLOC.0 != 0
    }
}

/// A Linux `.ko` whose structure holds together.
///
/// Having an `Image` tells you that the file is an x86-64 relocatable ELF file, that every section with contents lies in it
/// and (when it is loaded) has a name and a sound alignment, that there is one symbol table whose names all lie in
/// their table, that there is one `.gnu.linkonce.this_module`, and that `.modinfo` is made of whole strings. It does not tell
/// you that a relocation's place or symbol exists, that tables have whole entries, or that anything would load.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    bytes: &'a [u8],
    signature: Result<Option<Signature<'a>>, SignatureError>,
    header: &'a FileHeader64<LE>,
    sections: Vec<Section<'a>>,
    symbols: &'a [Sym64<LE>],
    symbol_names: &'a [u8],
    symbol_table: usize,
    this_module: usize,
    modinfo: &'a [u8],
}

impl<'a> Image<'a> {
    /// The file, without an appended signature.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The envelope of the appended signature, if there is one.
    ///
    /// # Errors
    /// When the file ends in the marker of a signature but what stands before it is not one that Linux takes.
    pub fn signature(&self) -> Result<Option<Signature<'a>>, SignatureError> {
        self.signature
    }

    /// The ELF header.
    #[must_use]
    pub fn header(&self) -> &'a FileHeader64<LE> {
        self.header
    }

    /// Every section, at its ELF index.
    #[inline]
    #[must_use]
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// The first section of this name that is loaded, and its index: what Linux means by "section X".
    #[must_use]
    pub fn section(&self, name: &str) -> Option<(usize, &Section<'a>)> {
        self.sections.iter().enumerate().find(|(_, section)| section.name == name && section.is_alloc())
    }

    /// The first section of this name, loaded or not, and its index.
    #[must_use]
    pub fn any_section(&self, name: &str) -> Option<(usize, &Section<'a>)> {
        self.sections.iter().enumerate().find(|(_, section)| section.name == name)
    }

    /// The contents of the first loaded section of this name; empty when there is none.
    #[must_use]
    pub fn section_data(&self, name: &str) -> &'a [u8] {
        self.section(name).map_or(&[], |(_, section)| section.data)
    }

    /// The symbol table, with the null symbol at index 0.
    #[inline]
    #[must_use]
    pub fn symbols(&self) -> &'a [Sym64<LE>] {
        self.symbols
    }

    /// The index of the section that holds the symbol table.
    #[must_use]
    pub fn symbol_table(&self) -> usize {
        self.symbol_table
    }

    /// The table of the symbols' names.
    #[must_use]
    pub fn symbol_names(&self) -> &'a [u8] {
        self.symbol_names
    }

    /// The name of a symbol; empty when `st_name` is out of range (which no symbol of this image's is).
    #[inline]
    #[must_use]
    pub fn symbol_name(&self, symbol: &Sym64<LE>) -> &'a BStr {
        string_at(self.symbol_names, u64::from(symbol.st_name.get(LE)))
    }

    /// Every table of relocations (`SHT_RELA`), with the index of the section it is for. Tables for sections that do not exist
    /// are left out, as Linux does; a last entry that is not whole is, too.
    pub fn relocations(&self) -> impl Iterator<Item = (usize, &'a [Rela64<LE>])> + '_ {
        self.sections
            .iter()
            .filter(|section| section.kind == SHT_RELA.0 && (section.info as usize) < self.sections.len())
            .map(|section| (section.info as usize, whole_entries(section.data)))
    }

    /// What `.modinfo` says.
    #[must_use]
    pub fn modinfo(&self) -> Modinfo<'a> {
        Modinfo::new(self.modinfo)
    }

    /// The module's name, from `.modinfo`.
    #[must_use]
    pub fn name(&self) -> Option<&'a BStr> {
        self.modinfo().get("name")
    }

    /// The index of `.gnu.linkonce.this_module`, the file's `struct module`. Every image has one.
    #[must_use]
    pub fn this_module(&self) -> Option<usize> {
        Some(self.this_module)
    }

    /// The modules that this one says it needs (`depends=`), in its order.
    pub fn depends(&self) -> impl Iterator<Item = &'a BStr> + use<'a> {
        let names = self.modinfo().get("depends").unwrap_or_default();
        names.split_str(b",").filter(|name| !name.is_empty()).map(BStr::new)
    }

    /// The modules that are wanted before and after this one (`softdep=`), in the order of the file.
    pub fn softdeps(&self) -> impl Iterator<Item = Softdep<'a>> + use<'a> {
        self.modinfo().all("softdep").flat_map(Softdep::parse)
    }

    /// The licence that the module states.
    #[must_use]
    pub fn licence(&self) -> Option<&'a BStr> {
        self.modinfo().get("license")
    }

    /// Whether the licence is one of those that Linux takes as compatible with the GPL.
    #[must_use]
    pub fn is_gpl_compatible(&self) -> bool {
        self.licence().is_some_and(is_gpl_compatible)
    }

    /// The CRCs of the symbols that the module imports; `None` when it was built without `CONFIG_MODVERSIONS`.
    #[must_use]
    pub fn versions(&self) -> Option<Versions<'a>> {
        let basic = self.section("__versions").map(|(_, section)| section.data);
        let crcs = self.section("__version_ext_crcs").map(|(_, section)| section.data);
        let names = self.section("__version_ext_names").map(|(_, section)| section.data);
        (basic.is_some() || crcs.is_some())
            .then(|| Versions::new(basic.unwrap_or_default(), crcs.unwrap_or_default(), names.unwrap_or_default()))
    }
}

/// Whether `licence` is one of the identifiers that Linux takes as compatible with the GPL (`license_is_gpl_compatible`).
#[must_use]
pub fn is_gpl_compatible(licence: &BStr) -> bool {
    matches!(
        licence.as_bytes(),
        b"GPL" | b"GPL v2" | b"GPL and additional rights" | b"Dual BSD/GPL" | b"Dual MIT/GPL" | b"Dual MPL/GPL"
    )
}

/// The string at `offset` of `table`, without its NUL; empty when it is not there.
#[inline]
fn string_at(table: &[u8], offset: u64) -> &BStr {
    let rest = usize::try_from(offset).ok().and_then(|offset| table.get(offset..)).unwrap_or_default();
    BStr::new(match rest.find_byte(0) {
        Some(end) => rest.get(..end).unwrap_or_default(),
        None => rest,
    })
}

/// `bytes` as entries, without a last one that is not whole.
fn whole_entries<T: pod::Pod>(bytes: &[u8]) -> &[T] {
    let count = bytes.len() / size_of::<T>();
    pod::slice_from_bytes(bytes, count).map_or(&[], |(entries, _)| entries)
}
