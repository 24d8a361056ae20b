//! The facts of one kernel, in one flat byte string.
//!
//! Unpacking a kernel image takes a second; a run of a module takes milliseconds. So what Ferrmod
//! needs to know of a kernel is written once into a byte string that can be kept in a file and used
//! where it lies: [`Facts::build`] makes it, [`Facts::open`] looks at its header and at nothing
//! else, and every question after that reads only the bytes it is about (a file may be mapped, and
//! most of its pages are then never touched).
//!
//! # The format
//! Little-endian. A header: magic `FERRFACT`, a 32-bit format number ([`FORMAT`]), a 32-bit number
//! of sections, the 64-bit length of the whole, and the 64-bit FNV-1a hash of the header with this
//! field as zero, the directory included. The directory: for each section 64-bit offset and length.
//! Sections are aligned to 16 and stand in the order of `Part`; those that a load reads first
//! come first. Contents are not hashed: a cache is written whole or not at all (write, then
//! rename), and wrong contents give wrong answers, never a panic.
//!
//! # Keeping it
//! The caller decides where. The name of a cache file should be `<release>-<fingerprint as 16 hex
//! digits>-<FORMAT>.facts` with [`crate::kernel::fingerprint`] of the image file, so that an image
//! that was replaced, or another version of Ferrmod, never meets the wrong one.
//!
//! # What this module does not do
//! It opens no files and knows nothing of one kernel version.

mod build;

use bstr::BStr;

pub use crate::kernel::{ExportKind, KernelExport};

use crate::btf::Btf;
use crate::flat::{NameTable, fnv1a, u32_at, u64_at};
use crate::kernel::{KernelImage, MAX_CONTENTS};
use crate::linux::ExportClass;
use alloc::vec::Vec;

/// The number of the format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// The first bytes.
const MAGIC: &[u8; 8] = b"FERRFACT";

/// Bytes of the header before the directory.
const HEADER: usize = 32;

/// Where the hash is in the header.
const HASH: usize = 24;

/// Bytes of an export's record.
const RECORD: usize = 48;

/// The sections.
#[derive(Clone, Copy)]
enum Part {
    /// Release.
    Release,
    /// Banner.
    Version,
    /// Version magic.
    Vermagic,
    /// Records of exports: see `build::record`.
    Exports,
    /// Name table of the exports.
    ExportNames,
    /// Export numbers sorted by address.
    ExportAddresses,
    /// Names and namespaces, end to end.
    Strings,
    /// Initial contents of exports.
    Data,
    /// Address of the per-CPU section.
    PerCpuAddress,
    /// Initial contents of the per-CPU section.
    PerCpu,
    /// Certificates.
    Certificates,
    /// Configuration; empty when not known.
    Config,
    /// Index of the BTF.
    BtfIndex,
    /// BTF; empty when the kernel has none.
    Btf,
}

/// Number of sections.
const PARTS: usize = Part::Btf as usize + 1;

/// Why bytes are not the facts of a kernel. Whatever it is, they have to be made again from the
/// kernel's image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// The first bytes are something else.
    #[error("not a kernel facts file")]
    Magic,
    /// Written by another version.
    #[error("kernel facts of format {found}, not {FORMAT}: make them again")]
    Format {
        /// The number found.
        found: u32,
    },
    /// Cut off, or longer than it was.
    #[error("kernel facts of {found} bytes should have {wanted}: make them again")]
    Length {
        /// Bytes given.
        found: u64,
        /// Bytes the header gives.
        wanted: u64,
    },
    /// The header or the directory is not what was written.
    #[error("kernel facts: the header is damaged: make them again")]
    Header,
    /// A section is not where the directory says, or not text where it should be.
    #[error("kernel facts: section {section} is damaged: make them again")]
    Section {
        /// Its number.
        section: usize,
    },
    /// The type information or its index is damaged.
    #[error("kernel facts: {0}")]
    Btf(#[from] crate::btf::BtfError),
}

/// Everything Ferrmod needs to know about one kernel.
///
/// Having a `Facts` tells you that the header is what was written, that every section lies inside
/// the bytes and that the texts are text. Records inside sections are checked when they are read.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    parts: [&'a [u8]; PARTS],
    release: &'a str,
    version: &'a str,
    vermagic: &'a str,
    btf: Btf<'a>,
}

impl<'a> Facts<'a> {
    /// Writes down the facts of a kernel.
    pub fn build(image: &KernelImage<'_>) -> Vec<u8> {
        build::build(image)
    }

    /// The facts in `bytes`, which [`Facts::build`] made before. Takes the time of hashing the
    /// header.
    ///
    /// # Errors
    /// Why they cannot be used; make them again.
    pub fn open(bytes: &'a [u8]) -> Result<Facts<'a>, FactsError> {
        if !bytes.starts_with(MAGIC) {
            return Err(FactsError::Magic);
        }
        let found = u32_at(bytes, 8).ok_or(FactsError::Header)?;
        if found != FORMAT {
            return Err(FactsError::Format { found });
        }
        let wanted = u64_at(bytes, 16).ok_or(FactsError::Header)?;
        if wanted != bytes.len() as u64 {
            return Err(FactsError::Length { found: bytes.len() as u64, wanted });
        }
        let count = u32_at(bytes, 12).ok_or(FactsError::Header)?;
        let header = bytes.get(..HEADER + PARTS * 16).ok_or(FactsError::Header)?;
        if count as usize != PARTS || u64_at(bytes, HASH) != Some(header_hash(header)) {
            return Err(FactsError::Header);
        }
        let mut parts = [&[][..]; PARTS];
        for (section, part) in parts.iter_mut().enumerate() {
            let number = |field| u64_at(header, HEADER + section * 16 + field).and_then(|n| usize::try_from(n).ok());
            *part = number(0)
                .zip(number(8))
                .and_then(|(offset, len)| bytes.get(offset..)?.get(..len))
                .ok_or(FactsError::Section { section })?;
        }
        let text = |part: Part| {
            let section = part as usize;
            core::str::from_utf8(parts[section]).map_err(|_| FactsError::Section { section })
        };
        let (release, version, vermagic) = (text(Part::Release)?, text(Part::Version)?, text(Part::Vermagic)?);
        let btf = match parts[Part::Btf as usize] {
            [] => Btf::empty(),
            raw => Btf::with_index(raw, parts[Part::BtfIndex as usize])?,
        };
        Ok(Facts { parts, release, version, vermagic, btf })
    }

    /// A section.
    fn part(&self, part: Part) -> &'a [u8] {
        self.parts[part as usize]
    }

    /// The release, as `uname -r` prints it.
    pub fn release(&self) -> &'a str {
        self.release
    }

    /// The banner, as `/proc/version` prints it: `Linux version ...`.
    pub fn version(&self) -> &'a str {
        self.version
    }

    /// The version magic this kernel wants of modules, its trailing space included.
    pub fn vermagic(&self) -> &'a str {
        self.vermagic
    }

    /// Number of exported symbols.
    pub fn exports_len(&self) -> u32 {
        u32::try_from(self.part(Part::Exports).len() / RECORD).unwrap_or(u32::MAX)
    }

    /// The record of an export.
    fn record(&self, index: u32) -> Option<&'a [u8]> {
        let start = (index as usize).checked_mul(RECORD)?;
        self.part(Part::Exports).get(start..start.checked_add(RECORD)?)
    }

    /// The bytes of `part` that two numbers in a record name.
    fn named(&self, part: Part, record: &[u8], field: usize) -> Option<&'a [u8]> {
        let (start, len) = (u32_at(record, field)?, u32_at(record, field + 4)?);
        self.part(part).get(start as usize..)?.get(..len as usize)
    }

    /// Export `index`, counted from 0 in the order of the kernel's tables: those for everybody
    /// first. An export without a name when there is no such one.
    pub fn export(&self, index: u32) -> KernelExport<'a> {
        self.export_checked(index).unwrap_or(KernelExport {
            name: BStr::new(b""),
            class: ExportClass::Any,
            crc: None,
            namespace: None,
            address: 0,
            kind: ExportKind::Data,
        })
    }

    /// Export `index`, if its record is sound.
    fn export_checked(&self, index: u32) -> Option<KernelExport<'a>> {
        let record = self.record(index)?;
        let flags = u32_at(record, 12)?;
        let namespace = self.named(Part::Strings, record, 24)?;
        Some(KernelExport {
            name: BStr::new(self.named(Part::Strings, record, 16)?),
            class: if flags & build::GPL_ONLY != 0 { ExportClass::GplOnly } else { ExportClass::Any },
            crc: if flags & build::HAS_CRC != 0 { Some(u32_at(record, 8)?) } else { None },
            namespace: (!namespace.is_empty()).then_some(BStr::new(namespace)),
            address: u64_at(record, 0)?,
            kind: match flags & build::KIND {
                build::FUNCTION => ExportKind::Function,
                build::PER_CPU => ExportKind::PerCpu,
                _ => ExportKind::Data,
            },
        })
    }

    /// The number of the export of that name.
    pub fn find_export(&self, name: &[u8]) -> Option<u32> {
        NameTable::new(self.part(Part::ExportNames))
            .candidates(name)
            .find(|&index| self.record(index).and_then(|record| self.named(Part::Strings, record, 16)) == Some(name))
    }

    /// The number of the export at exactly that address (of several, the first in the order of
    /// addresses and then of numbers): what a pointer in initial contents points to.
    pub fn export_at(&self, address: u64) -> Option<u32> {
        let table = self.part(Part::ExportAddresses);
        let at = |position: usize| {
            let index = u32_at(table, position.checked_mul(4)?)?;
            Some((index, u64_at(self.record(index)?, 0)?))
        };
        let (mut low, mut high) = (0, table.len() / 4);
        while low < high {
            let middle = low.midpoint(high);
            if at(middle)?.1 < address { low = middle + 1 } else { high = middle }
        }
        at(low).filter(|&(_, found)| found == address).map(|(index, _)| index)
    }

    /// The initial contents of export `index`, up to the next export, at most 16 KiB; empty for
    /// functions and for what starts as zeroes. Pointers in them are addresses in `vmlinux`
    /// ([`Facts::export_at`]).
    pub fn export_bytes(&self, index: u32) -> &'a [u8] {
        self.contents(index).unwrap_or_default()
    }

    /// The same, if the record is sound.
    fn contents(&self, index: u32) -> Option<&'a [u8]> {
        let record = self.record(index)?;
        if u32_at(record, 12)? & build::KIND != build::PER_CPU {
            return self.named(Part::Data, record, 32);
        }
        // The per-CPU section is kept whole.
        let (start, image) = self.percpu_image();
        let rest = image.get(usize::try_from(u64_at(record, 0)?.checked_sub(start)?).ok()?..)?;
        let len = usize::try_from(u64_at(record, 40)?).ok()?.min(MAX_CONTENTS);
        Some(rest.get(..len).unwrap_or(rest))
    }

    /// How many bytes lie between export `index` and the next one in its section: its size is at
    /// most that. What starts as zeroes has an extent and no bytes.
    pub fn export_extent(&self, index: u32) -> u64 {
        self.record(index).and_then(|record| u64_at(record, 40)).unwrap_or(0)
    }

    /// The kernel's type information; without types when the kernel has none.
    pub fn btf(&self) -> &Btf<'a> {
        &self.btf
    }

    /// Address and initial contents of the per-CPU section. [`KernelExport::address`] of a per-CPU
    /// export, less this address, is its place in the contents. Empty when there is no such section
    /// (a kernel for one processor).
    pub fn percpu_image(&self) -> (u64, &'a [u8]) {
        (u64_at(self.part(Part::PerCpuAddress), 0).unwrap_or(0), self.part(Part::PerCpu))
    }

    /// The certificates the kernel trusts from the start, DER, one after the other; may be empty.
    pub fn certificates(&self) -> &'a [u8] {
        self.part(Part::Certificates)
    }

    /// The configuration the kernel was built with, where its image carries it.
    pub fn config(&self) -> Option<&'a [u8]> {
        Some(self.part(Part::Config)).filter(|config| !config.is_empty())
    }
}

/// The hash of a header (directory included) with its field for the hash as zero.
fn header_hash(header: &[u8]) -> u64 {
    let mut bytes = [0; HEADER + PARTS * 16];
    for (to, from) in bytes.iter_mut().zip(header) {
        *to = *from;
    }
    bytes[HASH..HASH + 8].fill(0);
    fnv1a(&bytes)
}
