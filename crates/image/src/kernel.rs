//! A kernel's own image: what it exports, and what it says about itself.
//!
//! [`KernelImage::read`] takes the file a boot loader takes — an x86 bzImage (`vmlinuz`), whose
//! payload it unpacks — or the ELF file inside it (`vmlinux`, stripped or not). Nothing is compiled
//! in for one version: exports are found through the export tables, layouts through BTF, the rest
//! by its form.
//!
//! # What this module does not do
//! It reads x86-64 kernels; an image of another architecture is named in the error. It does not
//! look for the file, and keeps nothing: [`crate::facts`] makes the compact form that is worth
//! keeping.
//!
//! # References
//! The kernel's `Documentation/arch/x86/boot.rst` (setup header),
//! `Documentation/kbuild/modules.rst` (export tables).

mod boot;
mod certificates;
mod exports;
mod text;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

use bstr::{BStr, ByteSlice};
use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, SectionHeader};

pub use boot::{fingerprint, release_of};

use crate::compress::{DecompressError, decompress};
use crate::linux::ExportClass;

/// The most an embedded configuration may unpack to. Real ones are below 0.4 MiB.
const MAX_CONFIG: usize = 16 << 20;

/// The most sections looked at. Kernels have some fifty.
const MAX_SECTIONS: usize = 4096;

/// The longest name of a symbol. Linux's own limit is 511 bytes.
const MAX_NAME: usize = 1024;

/// The most initial contents kept of one export. Variables whose size matters are smaller; what is
/// larger ends here.
pub(crate) const MAX_CONTENTS: usize = 16 << 10;

/// Why a file is not a kernel image that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelReadError {
    /// Neither a bzImage nor an ELF file.
    #[error("not a kernel image: no boot header (HdrS) and no ELF header")]
    NotAKernel,
    /// Something that is recognised, and is not an x86-64 kernel.
    #[error("not an x86-64 kernel image: this is {what}")]
    Other {
        /// What it is.
        what: &'static str,
    },
    /// A boot protocol from before the payload had an address (Linux 2.6.26).
    #[error("bzImage: boot protocol {}.{:02} does not say where the payload is (2.08 does)", .protocol >> 8, .protocol & 0xff)]
    Protocol {
        /// The protocol's version, as the header has it.
        protocol: u16,
    },
    /// The payload lies outside the file.
    #[error("bzImage: the payload ({offset:#x}, {len:#x} bytes) lies outside the file of {available:#x} bytes")]
    Payload {
        /// Where it should start.
        offset: u64,
        /// How long it should be.
        len: u32,
        /// Length of the file.
        available: usize,
    },
    /// A payload compressed in a way that is not read here.
    #[error(
        "bzImage: the payload is compressed with {what}, which is not supported: give the vmlinux unpacked from it"
    )]
    Compression {
        /// The method.
        what: &'static str,
    },
    /// The payload does not unpack.
    #[error("bzImage: the payload does not unpack: {0}")]
    Decompress(DecompressError),
    /// The ELF file inside is broken.
    #[error("vmlinux: {field} is broken")]
    Elf {
        /// The part that is.
        field: &'static str,
    },
    /// Something every modular kernel has is not there.
    #[error("vmlinux: {what} not found (is this a kernel with loadable modules?)")]
    Missing {
        /// What is missed.
        what: &'static str,
    },
    /// An export table does not have one of the known forms.
    #[error("vmlinux: {section}: {len} bytes are no table of exports")]
    Exports {
        /// The table.
        section: &'static str,
        /// Its length.
        len: usize,
    },
}

/// What an exported symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExportKind {
    /// Code.
    Function,
    /// A variable.
    Data,
    /// A per-CPU variable: its address is that of the first copy. In kernels whose per-CPU section
    /// starts at 0 (all x86-64 kernels before 6.15) that is the offset from the GS base.
    PerCpu,
}

/// A symbol the kernel offers to modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelExport<'a> {
    /// Its name.
    pub name: &'a BStr,
    /// Who may use it.
    pub class: ExportClass,
    /// Its CRC, where the kernel was built with modversions.
    pub crc: Option<u32>,
    /// The namespace it is in.
    pub namespace: Option<&'a BStr>,
    /// Its address in `vmlinux`; for [`ExportKind::PerCpu`] its offset in the per-CPU area.
    pub address: u64,
    /// What it is.
    pub kind: ExportKind,
}

/// An allocated section of `vmlinux`.
#[derive(Clone, Debug)]
struct Section {
    name: Range<usize>,
    address: u64,
    size: u64,
    executable: bool,
    /// Its bytes in the file; empty when it has none.
    data: Range<usize>,
}

/// An export, with places instead of names.
#[derive(Clone, Debug)]
struct Found {
    name: Range<usize>,
    namespace: Option<Range<usize>>,
    class: ExportClass,
    crc: Option<u32>,
    address: u64,
    kind: ExportKind,
    /// Initial contents in the file; empty when there are none.
    data: Range<usize>,
    /// Bytes up to the next export, or to the end of the section.
    extent: u64,
}

/// A kernel's image whose structure holds together.
///
/// Having one tells you that its export tables are sound: every name and namespace lies inside the
/// image. Names come in the order of the tables, those for everybody first.
#[derive(Clone, Debug)]
pub struct KernelImage<'a> {
    bytes: Cow<'a, [u8]>,
    sections: Vec<Section>,
    exports: Vec<Found>,
    version: Range<usize>,
    release: Range<usize>,
    vermagic: Range<usize>,
    certificates: Range<usize>,
    config: Option<Vec<u8>>,
}

impl<'a> KernelImage<'a> {
    /// Reads a kernel image: a bzImage, or an ELF `vmlinux`.
    ///
    /// # Errors
    /// What the file is instead, or the part that is broken.
    pub fn read(file: &'a [u8]) -> Result<KernelImage<'a>, KernelReadError> {
        KernelImage::of(boot::vmlinux(file)?)
    }

    /// Reads `vmlinux`.
    fn of(bytes: Cow<'a, [u8]>) -> Result<KernelImage<'a>, KernelReadError> {
        let sections = sections(&bytes)?;
        let exports = exports::read(&bytes, &sections)?;
        let (version, release) = text::banner(&bytes, &sections)
            .ok_or(KernelReadError::Missing { what: "the version banner (\"Linux version ...\")" })?;
        let vermagic = text::vermagic(&bytes, &sections, &release)
            .ok_or(KernelReadError::Missing { what: "the version magic of its modules" })?;
        let config = text::config(&bytes, &sections)
            .and_then(|packed| decompress(bytes.get(packed)?, MAX_CONFIG).ok().map(Cow::into_owned));
        let certificates = certificates::find(&bytes, &sections);
        Ok(KernelImage { sections, exports, version, release, vermagic, certificates, config, bytes })
    }

    /// The ELF file.
    pub fn vmlinux(&self) -> &[u8] {
        &self.bytes
    }

    /// Some bytes of it.
    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// Some text of it.
    fn text(&self, range: &Range<usize>) -> &str {
        // Only text is ever put into these ranges.
        core::str::from_utf8(self.slice(range)).unwrap_or_default()
    }

    /// The release, as `uname -r` prints it.
    pub fn release(&self) -> &str {
        self.text(&self.release)
    }

    /// The banner, as `/proc/version` prints it: `Linux version ...`.
    pub fn version(&self) -> &str {
        self.text(&self.version)
    }

    /// The version magic this kernel wants of modules, its trailing space included.
    pub fn vermagic(&self) -> &str {
        self.text(&self.vermagic)
    }

    /// Number of exported symbols.
    pub fn exports_len(&self) -> usize {
        self.exports.len()
    }

    /// The exported symbols.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = KernelExport<'_>> {
        self.exports.iter().map(|found| KernelExport {
            name: BStr::new(self.slice(&found.name)),
            class: found.class,
            crc: found.crc,
            namespace: found.namespace.as_ref().map(|namespace| BStr::new(self.slice(namespace))),
            address: found.address,
            kind: found.kind,
        })
    }

    /// The initial contents of export `index` (in the order of [`KernelImage::exports`]), up to the
    /// next export, at most 16 KiB; empty for functions and for what starts as zeroes.
    pub fn export_bytes(&self, index: usize) -> &[u8] {
        self.exports.get(index).map(|found| self.slice(&found.data)).unwrap_or_default()
    }

    /// How many bytes lie between export `index` and the next one in its section: its size is at
    /// most that.
    pub fn export_extent(&self, index: usize) -> u64 {
        self.exports.get(index).map_or(0, |found| found.extent)
    }

    /// The bytes of an allocated section.
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        find_section(&self.bytes, &self.sections, name).map(|section| self.slice(&section.data))
    }

    /// The type information, for [`crate::btf::Btf`].
    pub fn btf(&self) -> Option<&[u8]> {
        self.section(".BTF")
    }

    /// Address and initial contents of the per-CPU section.
    pub fn percpu(&self) -> Option<(u64, &[u8])> {
        let section = find_section(&self.bytes, &self.sections, exports::PERCPU)?;
        Some((section.address, self.slice(&section.data)))
    }

    /// The certificates the kernel trusts from the start, DER, one after the other.
    pub fn certificates(&self) -> &[u8] {
        self.slice(&self.certificates)
    }

    /// The configuration the kernel was built with, where it carries it (`CONFIG_IKCONFIG`).
    pub fn config(&self) -> Option<&[u8]> {
        self.config.as_deref()
    }
}

/// The allocated sections of `vmlinux`.
fn sections(bytes: &[u8]) -> Result<Vec<Section>, KernelReadError> {
    let broken = |field| KernelReadError::Elf { field };
    let header = elf::FileHeader64::<LittleEndian>::parse(bytes).map_err(|_| broken("the ELF header"))?;
    let endian = header.endian().map_err(|_| broken("the byte order"))?;
    let table = header.sections(endian, bytes).map_err(|_| broken("the section table"))?;
    if table.is_empty() {
        return Err(KernelReadError::Missing { what: "the section table" });
    }
    if table.len() > MAX_SECTIONS {
        return Err(broken("the number of sections"));
    }
    let names = header
        .shstrndx(endian, bytes)
        .ok()
        .and_then(|index| table.section(object::SectionIndex(index as usize)).ok())
        .map(|section| section.sh_offset(endian))
        .and_then(|offset| usize::try_from(offset).ok())
        .ok_or(broken("the section of section names"))?;
    let mut sections = Vec::with_capacity(table.len());
    for section in table.iter() {
        let flags = section.sh_flags(endian);
        if !flags.contains(elf::SHF_ALLOC) {
            continue;
        }
        let name = table.section_name(endian, section).map_err(|_| broken("the name of a section"))?;
        let start = names.checked_add(section.sh_name(endian) as usize).ok_or(broken("the name of a section"))?;
        let data = match section.file_range(endian) {
            None => 0..0,
            Some((offset, len)) => usize::try_from(offset)
                .ok()
                .zip(usize::try_from(len).ok())
                .and_then(|(offset, len)| Some(offset..offset.checked_add(len)?))
                .filter(|range| bytes.get(range.clone()).is_some())
                .ok_or(broken("the place of a section"))?,
        };
        sections.push(Section {
            name: start..start.saturating_add(name.len()),
            address: section.sh_addr(endian),
            size: section.sh_size(endian),
            executable: flags.contains(elf::SHF_EXECINSTR),
            data,
        });
    }
    Ok(sections)
}

/// The first section of that name.
fn find_section<'s>(bytes: &[u8], sections: &'s [Section], name: &str) -> Option<&'s Section> {
    sections.iter().find(|section| bytes.get(section.name.clone()) == Some(name.as_bytes()))
}

/// The place in the file of an address, and how many bytes of its section follow it there.
fn place(sections: &[Section], address: u64) -> Option<Range<usize>> {
    sections.iter().find_map(|section| {
        let offset = usize::try_from(address.checked_sub(section.address)?).ok()?;
        (offset < section.data.len()).then(|| section.data.start + offset..section.data.end)
    })
}

/// The text at an address: up to the NUL, which has to be in the same section.
fn text_at(bytes: &[u8], sections: &[Section], address: u64) -> Option<Range<usize>> {
    let range = place(sections, address)?;
    let rest = bytes.get(range.clone())?;
    let len = rest.get(..MAX_NAME).unwrap_or(rest).find_byte(0)?;
    Some(range.start..range.start + len)
}
