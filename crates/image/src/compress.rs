//! Files that come compressed: modules (`.ko.gz`, `.ko.xz`, `.ko.zst`) and the payload of kernel images.
//!
//! The format is told by the first bytes and never by the file's name. What comes out is limited by the caller, so that no
//! file, however small, takes more memory than it was given; every check sum that a format has is checked.

mod gzip;
mod lz4;
mod xz;
mod zstd;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all, as far as its first bytes tell.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// xz.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
    /// LZ4 in the legacy frames of kernel images.
    Lz4,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
        })
    }
}

/// Tells by the first bytes how a file is compressed.
#[must_use]
pub fn detect(bytes: &[u8]) -> Compression {
    const FORMATS: [(&[u8], Compression); 4] = [
        (&gzip::MAGIC, Compression::Gzip),
        (&xz::MAGIC, Compression::Xz),
        (&zstd::MAGIC, Compression::Zstd),
        (&lz4::MAGIC, Compression::Lz4),
    ];
    FORMATS.iter().find(|(magic, _)| bytes.starts_with(magic)).map_or(Compression::None, |&(_, format)| format)
}

/// Why a compressed file cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{format}: {problem} (at byte {at:#x} of the compressed data)")]
pub struct DecompressError {
    /// The format that the first bytes told.
    pub format: Compression,
    /// How far into the compressed bytes it was noticed. Decoders read ahead, so the damage may lie before.
    pub at: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with compressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Problem {
    /// There is more in the file than the caller wanted to have.
    #[error("unpacks to more than {limit} bytes")]
    Limit {
        /// The most that was wanted.
        limit: usize,
    },
    /// The bytes end too early.
    #[error("the data ends too early")]
    Truncated,
    /// A part of the format does not hold together.
    #[error("the {what} is damaged")]
    Damaged {
        /// Which part.
        what: &'static str,
    },
    /// What was unpacked is not what was packed.
    #[error("the {what} is {found:#x} and should be {wanted:#x}")]
    CheckSum {
        /// Which check.
        what: &'static str,
        /// The value in the file.
        wanted: u32,
        /// The value of what was unpacked.
        found: u32,
    },
    /// A part of the format that kernels do not use.
    #[error("{what} is not supported")]
    Unsupported {
        /// Which part.
        what: &'static str,
    },
    /// There is something else behind the compressed data.
    #[error("other data follows")]
    Trailing,
    /// Unpacking needs memory that is not there, or more than a kernel ever asks for.
    #[error("unpacking needs too much memory")]
    Memory,
}

/// Unpacks a file; bytes that are not compressed are handed back as they are, whatever their length.
///
/// # Errors
/// When the bytes are no sound file of the format that they begin as, or when more than `limit` bytes would come out.
pub fn decompress(bytes: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, DecompressError> {
    let format = detect(bytes);
    let unpack = match format {
        Compression::None => return Ok(Cow::Borrowed(bytes)),
        Compression::Gzip => gzip::unpack,
        Compression::Xz => xz::unpack,
        Compression::Zstd => zstd::unpack,
        Compression::Lz4 => lz4::unpack,
    };
    let mut output = Output { bytes: Vec::new(), filled: 0, limit };
    let mut input = Input { bytes, at: 0 };
    match unpack(&mut input, &mut output) {
        Ok(()) => Ok(Cow::Owned(output.into_bytes())),
        Err(problem) => Err(DecompressError { format, at: input.at, problem }),
    }
}

/// The compressed bytes, and how far they are read.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// What is not read yet.
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next `count` bytes.
    fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let taken = self.rest().get(..count).ok_or(Problem::Truncated)?;
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let taken = self.rest().first_chunk().copied().ok_or(Problem::Truncated)?;
        self.at += N;
        Ok(taken)
    }
}

/// What is unpacked so far, with room for more.
struct Output {
    bytes: Vec<u8>,
    filled: usize,
    limit: usize,
}

impl Output {
    /// Makes room for `guess` bytes, if that is allowed, because that many are likely to come.
    fn expect(&mut self, guess: usize) -> Result<(), Problem> {
        self.resize(self.filled.saturating_add(guess))
    }

    /// Room for at least one byte more. One byte beyond the limit is given, so that a decoder which has written everything
    /// can still come to its end; using it is an error that the next call tells.
    fn room(&mut self) -> Result<&mut [u8], Problem> {
        self.check()?;
        if self.filled == self.bytes.len() {
            self.resize(self.bytes.len().saturating_mul(2).max(1 << 16))?;
        }
        Ok(self.bytes.get_mut(self.filled..).unwrap_or_default())
    }

    /// The whole buffer, with at least one byte of room behind what is filled.
    fn whole(&mut self) -> Result<&mut [u8], Problem> {
        self.room()?;
        Ok(&mut self.bytes)
    }

    /// `count` bytes of the room were written.
    fn advance(&mut self, count: usize) {
        self.filled = self.filled.saturating_add(count).min(self.bytes.len());
    }

    /// What was unpacked since `start`.
    fn since(&self, start: usize) -> &[u8] {
        self.bytes.get(start..self.filled).unwrap_or_default()
    }

    /// Whether there is no more than there may be.
    fn check(&self) -> Result<(), Problem> {
        if self.filled > self.limit { Err(Problem::Limit { limit: self.limit }) } else { Ok(()) }
    }

    fn resize(&mut self, size: usize) -> Result<(), Problem> {
        let size = size.min(self.limit.saturating_add(1));
        if size > self.bytes.len() {
            self.bytes.try_reserve_exact(size - self.bytes.len()).map_err(|_| Problem::Memory)?;
            self.bytes.resize(size, 0);
        }
        Ok(())
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.filled);
        self.bytes
    }
}
