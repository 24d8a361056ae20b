//! A module's file, as much of it as was asked for.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;

use ferrmod_image::compress::{self, Compression};
use ferrmod_index::{MAX_MODULE, Unpacker};
use ferrmod_signature::Summary;
use rustix::io::Errno;

use crate::elf::{self, ElfError, Source};

/// The last bytes of a file: the section headers, their names and the signature are there as a rule.
const TAIL: u64 = 6 * 1024;

/// The first bytes of a file: the ELF header.
const HEAD: usize = 64;

/// Bytes of the trailer of a signature: `struct module_signature` and the marker.
const TRAILER: usize = 12 + 28;

/// A module's file.
#[derive(Debug)]
pub(super) struct ModuleFile {
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    /// As it lies on the disk, its beginning and its end read. The beginning is zeros where the end has all of it.
    OnDisk { file: File, size: u64, head: [u8; HEAD], tail: Vec<u8> },
    /// Unpacked.
    Unpacked(Vec<u8>),
}

/// Why nothing can be told about a module: kmod's number, and more where more is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// What kmod says.
    pub(super) errno: Errno,
    /// What is wrong.
    pub(super) detail: Option<String>,
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Problem {
        Problem { errno: Errno::from_io_error(&error).unwrap_or(Errno::IO), detail: None }
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    /// How many bytes it has.
    size: u64,
}

impl Opened {
    /// The file and what is known of it; also whether it is a regular one.
    pub(super) fn new(file: File) -> std::io::Result<(Opened, bool)> {
        let metadata = file.metadata()?;
        Ok((Opened { file, size: metadata.len() }, metadata.is_file()))
    }
}

/// Reads one file after the other, into the same memory.
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    packed: Vec<u8>,
    unpacker: Unpacker,
}

impl Reader {
    /// Takes an open file, and unpacks it if it is compressed, whatever its name says.
    pub(super) fn read(&mut self, Opened { file, size }: Opened) -> Result<ModuleFile, Problem> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let length = size.min(TAIL) as usize;
        // What is in it is overwritten: only what is missing costs.
        buffer.resize(length, 0);
        file.read_exact_at(&mut buffer, size - length as u64)?;
        // What kmod needs to see how a file is compressed.
        if size < 6 {
            return Err(Problem { errno: Errno::INVAL, detail: Some("the file is empty or nearly so".into()) });
        }
        let mut head = [0; HEAD];
        let first = if length as u64 == size {
            &buffer
        } else {
            file.read_exact_at(&mut head, 0)?;
            &head[..]
        };
        if compress::detect(first) == Compression::None {
            return Ok(ModuleFile { contents: Contents::OnDisk { file, size, head, tail: buffer } });
        }
        if size > MAX_MODULE as u64 {
            return Err(Problem { errno: Errno::FBIG, detail: None });
        }
        self.packed.resize(size as usize, 0);
        file.read_exact_at(&mut self.packed, 0)?;
        match self.unpacker.unpack(&self.packed, &mut buffer) {
            Ok(_) => Ok(ModuleFile { contents: Contents::Unpacked(buffer) }),
            Err(error) => Err(Problem { errno: Errno::INVAL, detail: Some(error.to_string()) }),
        }
    }

    /// Takes a file's memory for the next one.
    pub(super) fn reuse(&mut self, file: ModuleFile) {
        match file.contents {
            Contents::OnDisk { tail: buffer, .. } | Contents::Unpacked(buffer) => self.buffer = buffer,
        }
    }
}

impl ModuleFile {
    /// The contents of `.modinfo`.
    pub(super) fn modinfo(&self) -> Result<Cow<'_, [u8]>, Problem> {
        let (errno, detail) = match elf::section(self, b".modinfo") {
            Ok(section) => {
                let bytes = usize::try_from(section.size).ok().and_then(|size| self.bytes(section.offset, size));
                return bytes.ok_or(Problem { errno: Errno::INVAL, detail: None });
            }
            Err(ElfError::NotElf) => (Errno::NOEXEC, "not an ELF file"),
            Err(ElfError::Damaged(what)) => (Errno::INVAL, what),
            Err(ElfError::Missing) => (Errno::NODATA, "no section .modinfo"),
        };
        Err(Problem { errno, detail: Some(detail.to_owned()) })
    }

    /// The end of the file with all of its signature in it; `None` when there is no signature.
    pub(super) fn signature(&self) -> Option<Cow<'_, [u8]>> {
        let length = self.size().min(TAIL) as usize;
        let tail = self.bytes(self.size() - length as u64, length)?;
        if !ferrmod_signature::is_marked(&tail) {
            return None;
        }
        let trailer = tail.len().checked_sub(TRAILER)?;
        let &[.., signer_length, key_length, _, _, _, l0, l1, l2, l3] = tail.get(trailer..)?.first_chunk::<12>()?;
        let message = u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
        let needed = TRAILER as u64 + message + u64::from(signer_length) + u64::from(key_length);
        if needed <= length as u64 || needed > self.size() {
            return Some(tail);
        }
        self.bytes(self.size() - needed, usize::try_from(needed).ok()?)
    }
}

impl Source for ModuleFile {
    fn size(&self) -> u64 {
        match &self.contents {
            Contents::OnDisk { size, .. } => *size,
            Contents::Unpacked(bytes) => bytes.len() as u64,
        }
    }

    fn bytes(&self, offset: u64, length: usize) -> Option<Cow<'_, [u8]>> {
        let end = offset.checked_add(length as u64).filter(|&end| end <= self.size())?;
        match &self.contents {
            Contents::Unpacked(bytes) => bytes.get(offset as usize..end as usize).map(Cow::Borrowed),
            Contents::OnDisk { file, size, head, tail } => {
                let first = size - tail.len() as u64;
                if let Some(at) = offset.checked_sub(first) {
                    return tail.get(at as usize..)?.get(..length).map(Cow::Borrowed);
                }
                if let Some(bytes) = head.get(offset as usize..end as usize) {
                    return Some(Cow::Borrowed(bytes));
                }
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, offset).ok()?;
                Some(Cow::Owned(bytes))
            }
        }
    }
}

/// Every byte as `modinfo` writes it: `4E:`.
static HEXADECIMAL: [[u8; 3]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut table = [*b"00:"; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15], b':'];
        byte += 1;
    }
    table
};

/// Bytes as `modinfo` writes them: `4E:0A:…`, twenty a line, the later lines set in.
pub(super) fn hexadecimal(bytes: &[u8], out: &mut Vec<u8>) {
    for (at, line) in bytes.chunks(20).enumerate() {
        if at != 0 {
            out.extend_from_slice(b"\n\t\t");
        }
        let mut text = [[0; 3]; 20];
        for (byte, place) in line.iter().zip(&mut text) {
            *place = HEXADECIMAL[usize::from(*byte)];
        }
        out.extend_from_slice(text.as_flattened().get(..line.len() * 3).unwrap_or_default());
    }
    // There is a colon at the end of each line but the last.
    out.pop();
}

/// The fields of a signature, in kmod's order.
pub(super) fn signature_fields(summary: &Summary<'_>) -> [(&'static [u8], Vec<u8>); 5] {
    let hexadecimal = |bytes: &[u8]| {
        let mut text = Vec::with_capacity(bytes.len() * 3 + bytes.len() / 6);
        hexadecimal(bytes, &mut text);
        text
    };
    [
        (b"sig_id", summary.id.into()),
        (b"signer", summary.signer.map(|signer| signer.to_vec()).unwrap_or_default()),
        (b"sig_key", hexadecimal(summary.key)),
        (b"sig_hashalgo", summary.digest.into()),
        (b"signature", hexadecimal(summary.signature)),
    ]
}
