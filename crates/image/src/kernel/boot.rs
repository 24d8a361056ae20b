//! From the file a boot loader takes to `vmlinux`.

use alloc::borrow::Cow;

use bstr::{BStr, ByteSlice};

use super::KernelReadError;
use crate::compress::{Compression, decompress, detect};
use crate::flat::{cstr_at, u16_at, u32_at};

/// The most a payload may unpack to. Debian's kernels are 60 to 70 MiB.
const MAX_VMLINUX: usize = 512 << 20;

/// Offsets of the setup header's fields in the file (boot.rst, "The Real-Mode Kernel Header").
mod field {
    /// `setup_sects`: sectors of setup code, without the boot sector.
    pub(super) const SETUP_SECTS: usize = 0x1f1;
    /// `header`: the magic `HdrS`.
    pub(super) const HEADER: usize = 0x202;
    /// `version`: of the boot protocol.
    pub(super) const VERSION: usize = 0x206;
    /// `kernel_version`: where the release is, less 0x200.
    pub(super) const KERNEL_VERSION: usize = 0x20e;
    /// `payload_offset`: from the start of the protected-mode code.
    pub(super) const PAYLOAD_OFFSET: usize = 0x248;
    /// `payload_length`.
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
}

/// Compressions a kernel may use and that are not read here, by how they begin.
const OTHER_COMPRESSIONS: [(&[u8], &str); 3] =
    [(b"BZh", "bzip2"), (b"\x5d\0\0", "lzma"), (b"\x89LZO\0\r\n\x1a\n", "lzo")];

/// Whether the file has a setup header.
fn is_bzimage(file: &[u8]) -> bool {
    file.get(field::HEADER..field::HEADER + 4) == Some(b"HdrS")
}

/// The ELF file in a kernel image.
pub(super) fn vmlinux(file: &[u8]) -> Result<Cow<'_, [u8]>, KernelReadError> {
    let vmlinux = if is_bzimage(file) {
        payload(file)?
    } else if file.starts_with(b"\x7fELF") {
        Cow::Borrowed(file)
    } else {
        return Err(other(file));
    };
    match elf_problem(&vmlinux) {
        Some(problem) => Err(problem),
        None => Ok(vmlinux),
    }
}

/// What stands in the way of reading this as an x86-64 kernel's ELF file.
fn elf_problem(bytes: &[u8]) -> Option<KernelReadError> {
    let other = |what| Some(KernelReadError::Other { what });
    // gABI, "ELF Header": EI_CLASS, EI_DATA, e_type, e_machine.
    match (bytes.get(..4), bytes.get(4), bytes.get(5), u16_at(bytes, 16), u16_at(bytes, 18)) {
        (Some(b"\x7fELF"), Some(2), Some(1), Some(2 | 3), Some(62)) => None,
        (Some(b"\x7fELF"), _, _, Some(1), _) => other("a relocatable ELF file (a kernel module?)"),
        (Some(b"\x7fELF"), Some(1), ..) => other("a 32-bit ELF file"),
        (Some(b"\x7fELF"), _, Some(2), ..) => other("a big-endian ELF file"),
        (Some(b"\x7fELF"), _, _, Some(4), _) => other("a core dump"),
        (Some(b"\x7fELF"), ..) => other("an ELF file of another architecture"),
        _ => other("a boot image whose payload is not an ELF file"),
    }
}

/// What a file that is neither bzImage nor ELF may be.
fn other(file: &[u8]) -> KernelReadError {
    let what = match detect(file) {
        Compression::None if file.get(0x38..0x3c) == Some(b"ARM\x64") => "an arm64 Image",
        Compression::None if file.get(0x38..0x3c) == Some(b"RSC\x05") => "a RISC-V Image",
        Compression::None if file.get(4..8) == Some(b"zimg") => "an EFI zboot image",
        Compression::None if file.starts_with(b"MZ") => {
            "an EFI program (of a unified kernel image, give the .linux section)"
        }
        Compression::None if file.starts_with(b"!<arch>\n") => "an archive (a .deb package? unpack it)",
        Compression::None => return KernelReadError::NotAKernel,
        _ => "a compressed file (unpack it)",
    };
    KernelReadError::Other { what }
}

/// The unpacked payload of a bzImage.
fn payload(file: &[u8]) -> Result<Cow<'_, [u8]>, KernelReadError> {
    let short = KernelReadError::NotAKernel;
    let protocol = u16_at(file, field::VERSION).ok_or(short)?;
    if protocol < 0x208 {
        return Err(KernelReadError::Protocol { protocol });
    }
    // boot.rst: for backwards compatibility, 0 means 4.
    let sectors = match *file.get(field::SETUP_SECTS).ok_or(short)? {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let offset = (sectors + 1) * 512 + u64::from(u32_at(file, field::PAYLOAD_OFFSET).ok_or(short)?);
    let len = u32_at(file, field::PAYLOAD_LENGTH).ok_or(short)?;
    let payload = usize::try_from(offset)
        .ok()
        .and_then(|offset| file.get(offset..)?.get(..len as usize))
        .ok_or(KernelReadError::Payload { offset, len, available: file.len() })?;
    if let Some(&(_, what)) = OTHER_COMPRESSIONS.iter().find(|(magic, _)| payload.starts_with(magic)) {
        return Err(KernelReadError::Compression { what });
    }
    // The payload's last four bytes are the unpacked length: gzip's own, and kbuild appends it to
    // the others.
    let unpacked = payload.len().checked_sub(4).and_then(|last| u32_at(payload, last)).unwrap_or(0) as usize;
    let (packed, limit) = match detect(payload) {
        Compression::None => return Ok(Cow::Borrowed(payload)),
        Compression::Gzip => (payload, unpacked),
        _ => (payload.get(..payload.len().saturating_sub(4)).unwrap_or_default(), unpacked),
    };
    decompress(packed, limit.min(MAX_VMLINUX)).map_err(KernelReadError::Decompress)
}

/// The release a kernel image says it is, without unpacking anything: cheap enough to look for the
/// right image among several. Of a bzImage; `None` for an ELF file.
pub fn release_of(file: &[u8]) -> Option<&BStr> {
    if !is_bzimage(file) {
        return None;
    }
    // boot.rst, "kernel_version": 0 when there is none.
    let start = u16_at(file, field::KERNEL_VERSION).filter(|&start| start != 0)?;
    let text = cstr_at(file, usize::from(start) + 0x200)?;
    Some(BStr::new(text.split_once_str(" ").map_or(text, |(release, _)| release)))
}

/// A number that stands for one kernel image file, cheap to make and different as soon as the file
/// is: what a cache of [`crate::facts`] is keyed by. FNV-1a 64 over the file's length and
/// modification time in nanoseconds (both as 64-bit little-endian numbers; 0 for a time that is not
/// known), its first and its last 4 KiB (all of it twice when it is shorter): of a bzImage these
/// hold the setup header with the release and build, and the end of the payload or of the
/// signature.
pub fn fingerprint(len: u64, modified: u64, head: &[u8], tail: &[u8]) -> u64 {
    let head = head.get(..4096).unwrap_or(head);
    let tail = tail.get(tail.len().saturating_sub(4096)..).unwrap_or_default();
    crate::flat::fnv1a(&[&len.to_le_bytes(), &modified.to_le_bytes(), head, tail].concat())
}
