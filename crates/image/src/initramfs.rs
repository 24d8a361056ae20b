//! The file that a kernel unpacks into its first root file system.
//!
//! It is one or more cpio archives behind each other, each as it is or compressed as a whole
//! (Documentation/driver-api/early-userspace/buffer-format.rst): as a rule a small one with microcode that is not compressed, so that
//! the kernel finds it early, and then one with everything else. Zeros may stand between them. All archives are unpacked over
//! each other, so that of several files of one path the last one counts.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use thiserror::Error;

use crate::compress::{Compression, DecompressError, decompress, detect};
use crate::cpio::{Archive, CpioError, Entry};

/// An initramfs whose archives were all gone through, so that they hold together.
#[derive(Debug, Clone)]
pub struct Initramfs<'a> {
    parts: Vec<Part<'a>>,
}

/// One archive of it, or several that are compressed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Where it begins in the file.
    pub offset: usize,
    /// How it is compressed.
    pub compression: Compression,
    /// The archives in it, each begins where it says.
    archives: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

/// Why a file is no initramfs that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InitramfsError {
    /// There is nothing in it.
    #[error("no archive in it")]
    Empty,
    /// A part begins neither as an archive nor as anything compressed that is known here.
    #[error("what is at byte {offset:#x} is neither a newc archive nor compressed in a known way{}", known(.looks_like))]
    Unknown {
        /// Where the part begins.
        offset: usize,
        /// A format that is known and not read.
        looks_like: Option<&'static str>,
    },
    /// A compressed part does not unpack.
    #[error("the part at byte {offset:#x}: {error}")]
    Packed {
        /// Where the part begins.
        offset: usize,
        /// What is wrong with it.
        error: DecompressError,
    },
    /// An archive does not hold together.
    #[error("the part at byte {offset:#x}: {error}")]
    Archive {
        /// Where the part begins in the file.
        offset: usize,
        /// What is wrong, with an offset in the unpacked part.
        error: CpioError,
    },
    /// More would be unpacked than the caller wanted.
    #[error("unpacks to more than {limit} bytes")]
    Limit {
        /// The most that was wanted.
        limit: usize,
    },
}

fn known(format: &Option<&'static str>) -> alloc::string::String {
    format.map(|format| alloc::format!(" (it begins as {format}, which is not read)")).unwrap_or_default()
}

/// What a kernel may take that is not read here, by its first bytes (Linux, lib/decompress.c and the formats' own texts).
const NOT_READ: [(&[u8], &str); 3] =
    [(b"BZh", "bzip2"), (&[0x5d, 0, 0], "lzma"), (&[0x89, b'L', b'Z', b'O', 0], "lzo")];

impl<'a> Initramfs<'a> {
    /// Goes through all of it. Its parts unpack to at most `limit` bytes together.
    ///
    /// # Errors
    /// The first thing that does not hold together.
    pub fn read(bytes: &'a [u8], limit: usize) -> Result<Initramfs<'a>, InitramfsError> {
        let mut parts = Vec::new();
        let mut offset = 0;
        let mut left = limit;
        loop {
            offset += zeros(bytes, offset);
            let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) else { break };
            let compression = detect(rest);
            let part = match compression {
                Compression::None if rest.starts_with(b"07070") => {
                    let (archives, end) =
                        archives(rest, true).map_err(|error| InitramfsError::Archive { offset, error })?;
                    let own = rest.get(..end).unwrap_or(rest);
                    Part { offset, compression, archives, bytes: Cow::Borrowed(own) }
                }
                Compression::None => {
                    let looks_like = NOT_READ.iter().find(|(magic, _)| rest.starts_with(magic)).map(|&(_, name)| name);
                    return Err(InitramfsError::Unknown { offset, looks_like });
                }
                _ => {
                    let bytes = decompress(rest, left).map_err(|error| match error.problem {
                        crate::compress::Problem::Limit { .. } => InitramfsError::Limit { limit },
                        _ => InitramfsError::Packed { offset, error },
                    })?;
                    left = left.saturating_sub(bytes.len());
                    let (archives, _) =
                        archives(&bytes, false).map_err(|error| InitramfsError::Archive { offset, error })?;
                    Part { offset, compression, archives, bytes }
                }
            };
            // What is compressed goes on to the end of the file.
            offset = if compression == Compression::None { offset + part.bytes.len() } else { bytes.len() };
            parts.push(part);
        }
        if parts.is_empty() { Err(InitramfsError::Empty) } else { Ok(Initramfs { parts }) }
    }

    /// Its parts, in their order.
    #[must_use]
    pub fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }

    /// The regular files, in their order; a path may come again.
    pub fn files(&self) -> impl Iterator<Item = Entry<'_>> {
        self.parts.iter().flat_map(Part::files)
    }
}

impl Part<'_> {
    /// The regular files in it, in their order.
    pub fn files(&self) -> impl Iterator<Item = Entry<'_>> {
        self.archives.iter().flat_map(|&start| {
            let bytes = self.bytes.get(start..).unwrap_or_default();
            // All of them were gone through before.
            Archive::new(bytes).map_while(Result::ok)
        })
    }
}

/// How many zeros there are at `offset`.
fn zeros(bytes: &[u8], offset: usize) -> usize {
    bytes.iter().skip(offset).take_while(|&&byte| byte == 0).count()
}

/// Goes through the archives that stand behind each other in `bytes`, with zeros between them: where each begins, and where the last one
/// ends. With `open_end`, something else may follow.
fn archives(bytes: &[u8], open_end: bool) -> Result<(Vec<usize>, usize), CpioError> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        if open_end && at > 0 && !rest.starts_with(b"07070") {
            break;
        }
        let mut archive = Archive::new(rest);
        let shift = |error| match error {
            CpioError::Magic(offset) => CpioError::Magic(at + offset),
            CpioError::Number(offset) => CpioError::Number(at + offset),
            CpioError::Truncated(offset) => CpioError::Truncated(at + offset),
        };
        archive.by_ref().try_for_each(|entry| entry.map(drop)).map_err(shift)?;
        starts.push(at);
        // The kernel needs no trailer at the end of everything.
        at += archive.end().unwrap_or(rest.len());
        at += zeros(bytes, at);
    }
    Ok((starts, at))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use ferrmod_tests::newc::archive;
    use proptest::prelude::*;

    use super::*;

    /// What a program makes of bytes, or `None` where it is not installed.
    fn packed(program: &str, arguments: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
        let mut command = Command::new(program);
        let mut child =
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        child.stdin.take()?.write_all(bytes).ok()?;
        Some(child.wait_with_output().ok()?.stdout)
    }

    fn listed(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, InitramfsError> {
        let read = Initramfs::read(bytes, 1 << 20)?;
        let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
        Ok(read.files().map(|entry| (text(entry.path), entry.contents.to_vec())).collect())
    }

    fn owned(files: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
        files.iter().map(|(path, contents)| ((*path).into(), contents.to_vec())).collect()
    }

    const EARLY: &[(&str, &[u8])] = &[("kernel/x86/microcode/GenuineIntel.bin", b"microcode")];
    const MAIN: &[(&str, &[u8])] = &[("conf/modules", b"crc7\n"), ("usr/lib/modules/6.1/kernel/lib/crc7.ko", b"ELF")];

    #[test]
    fn an_early_archive_and_one_compressed_in_any_way() {
        let all = [owned(EARLY), owned(MAIN)].concat();
        let plain = [archive(EARLY), archive(MAIN)].concat();
        assert_eq!(listed(&plain).unwrap(), all);
        let ways: [(&str, &[&str]); 4] = [
            ("gzip", &["-c"]),
            ("xz", &["--check=crc32", "-c"]),
            ("zstd", &["-q", "-c"]),
            ("lz4", &["-l", "-q", "-c"]),
        ];
        for (program, arguments) in ways {
            let Some(main) = packed(program, arguments, &archive(MAIN)) else {
                std::eprintln!("SKIPPED: {program} is not installed");
                continue;
            };
            let whole = [archive(EARLY), main].concat();
            assert_eq!(listed(&whole).as_ref(), Ok(&all), "{program}");
            let read = Initramfs::read(&whole, 1 << 20).unwrap();
            assert_eq!(read.parts().len(), 2, "{program}");
            assert_eq!(read.parts()[1].compression, detect(&whole[read.parts()[1].offset..]), "{program}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert_eq!(listed(b""), Err(InitramfsError::Empty));
        assert_eq!(listed(&[0; 600]), Err(InitramfsError::Empty));
        let early = archive(EARLY);
        let with = |tail: &[u8]| listed(&[&early[..], tail].concat()).unwrap_err();
        let offset = early.len();
        let error = with(b"BZh91AY");
        assert_eq!(error, InitramfsError::Unknown { offset, looks_like: Some("bzip2") });
        assert!(error.to_string().ends_with("(it begins as bzip2, which is not read)"), "{error}");
        assert_eq!(with(b"MZ"), InitramfsError::Unknown { offset, looks_like: None });
        assert!(matches!(with(&[0x1f, 0x8b, 8, 0, 0]), InitramfsError::Packed { offset: at, .. } if at == offset));
        assert!(matches!(with(&archive(MAIN)[..200]), InitramfsError::Archive { .. }));
        let Some(main) = packed("gzip", &["-c"], &archive(MAIN)) else { return };
        assert_eq!(Initramfs::read(&main, 100).unwrap_err(), InitramfsError::Limit { limit: 100 });
    }

    proptest! {
        #[test]
        fn no_changed_byte_panics_and_files_stay_inside(at in 0_usize..2048, value: u8, end in 0_usize..2048) {
            let mut bytes = [archive(EARLY), archive(MAIN)].concat();
            bytes.truncate(end.max(1));
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(read) = Initramfs::read(&bytes, 1 << 20) {
                let total: usize = read.files().map(|entry| entry.contents.len() + entry.path.len()).sum();
                prop_assert!(total <= bytes.len());
            }
        }
    }
}
