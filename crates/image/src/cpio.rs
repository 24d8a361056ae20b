//! Reading the `newc` cpio archives that an initramfs is made of.
//!
//! Only what is needed to find regular files: a record is a 110-byte header of eight-digit hexadecimal numbers
//! (`cpio(5)`, "New ASCII Format"), the name with its NUL, padding to 4 bytes, the contents, padding to 4 bytes.

const HEADER: usize = 110;
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
const TRAILER: &[u8] = b"TRAILER!!!";

/// A regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The path, without a leading `/` or `./`.
    pub path: &'a [u8],
    /// The contents.
    pub contents: &'a [u8],
}

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpioError {
    /// There is no record header at this offset.
    Magic(usize),
    /// The header at this offset has a field that is not hexadecimal.
    Number(usize),
    /// The record at this offset is longer than the archive.
    Truncated(usize),
}

impl core::fmt::Display for CpioError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic(offset) => write!(f, "cpio: no newc header at offset {offset:#x}"),
            Self::Number(offset) => {
                write!(f, "cpio: header at offset {offset:#x} has a number that is not hexadecimal")
            }
            Self::Truncated(offset) => write!(f, "cpio: record at offset {offset:#x} is longer than the archive"),
        }
    }
}

/// The regular files of an archive, in its order.
#[derive(Clone, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    offset: usize,
    end: Option<usize>,
}

impl<'a> Archive<'a> {
    /// Nothing is read until the archive is iterated.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, end: None }
    }

    /// Where the archive ends, behind its trailer, once the iteration has come that far; `None` before, and when it has none.
    pub fn end(&self) -> Option<usize> {
        self.end
    }

    /// The contents of the file with this path; of the last one, as unpacking would leave it. `None` also when the archive
    /// is broken before it.
    pub fn find(&self, path: &[u8]) -> Option<&'a [u8]> {
        let path = strip(path);
        let archive = Self::new(self.bytes);
        archive.map_while(Result::ok).filter(|entry| entry.path == path).last().map(|entry| entry.contents)
    }

    fn record(&mut self) -> Result<Option<(u32, Entry<'a>)>, CpioError> {
        let start = self.offset;
        let truncated = CpioError::Truncated(start);
        let header = self.bytes.get(start..).and_then(|rest| rest.get(..HEADER)).ok_or(truncated)?;
        if !MAGICS.contains(&&header[..6]) {
            return Err(CpioError::Magic(start));
        }
        let number = |index: usize| {
            let digits = core::str::from_utf8(&header[6 + index * 8..14 + index * 8]).ok();
            let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
            digits.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or(CpioError::Number(start))
        };
        // Fields: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let (mode, size, name_size) = (number(1)?, number(6)? as usize, number(11)? as usize);
        let name_start = start + HEADER;
        let name_end = name_start.checked_add(name_size).ok_or(truncated)?;
        let name = self.bytes.get(name_start..name_end).ok_or(truncated)?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let data_start = name_end.checked_next_multiple_of(4).ok_or(truncated)?;
        let data_end = data_start.checked_add(size).ok_or(truncated)?;
        if name == TRAILER {
            self.end = Some(data_end.checked_next_multiple_of(4).ok_or(truncated)?.min(self.bytes.len()));
            return Ok(None);
        }
        let contents = self.bytes.get(data_start..data_end).ok_or(truncated)?;
        self.offset = data_end.checked_next_multiple_of(4).ok_or(truncated)?;
        Ok(Some((mode, Entry { path: strip(name), contents })))
    }
}

impl<'a> Iterator for Archive<'a> {
    type Item = Result<Entry<'a>, CpioError>;

    fn next(&mut self) -> Option<Self::Item> {
        const KIND: u32 = 0o170_000;
        const REGULAR: u32 = 0o100_000;
        while self.offset < self.bytes.len() {
            match self.record() {
                Ok(Some((mode, entry))) if mode & KIND == REGULAR => return Some(Ok(entry)),
                Ok(Some(_)) => {}
                Ok(None) => self.offset = self.bytes.len(),
                Err(error) => {
                    self.offset = self.bytes.len();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

fn strip(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b".").filter(|rest| rest.first() == Some(&b'/')).unwrap_or(path);
    path.strip_prefix(b"/").unwrap_or(path)
}

impl core::error::Error for CpioError {}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use alloc::vec::Vec;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// An archive made by the real tool, or `None` where it is not installed.
    fn real(files: &[(&str, &[u8])]) -> Option<Vec<u8>> {
        let folder = std::env::temp_dir().join(std::format!("ferrmod-cpio-{}", std::process::id()));
        std::fs::create_dir_all(&folder).ok()?;
        let mut names = std::string::String::new();
        for (name, contents) in files {
            std::fs::write(folder.join(name), contents).ok()?;
            names.push_str(name);
            names.push('\n');
        }
        let mut cpio = Command::new("cpio");
        cpio.args(["-o", "-H", "newc", "--quiet"]).current_dir(&folder);
        let mut child = cpio.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        child.stdin.take()?.write_all(names.as_bytes()).ok()?;
        let output = child.wait_with_output().ok()?;
        std::fs::remove_dir_all(&folder).ok()?;
        Some(output.stdout)
    }

    fn record(mode: u32, name: &str, contents: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = [1, mode, 0, 0, 1, 0, contents.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        out.extend_from_slice(b"070701");
        for field in fields {
            write!(out, "{field:08x}").expect("writing to memory");
        }
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(contents);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn sample() -> Vec<u8> {
        let mut bytes = record(0o040_755, ".", b"");
        bytes.extend(record(0o100_644, "./etc/a", b"one"));
        bytes.extend(record(0o100_644, "b", b"12345"));
        bytes.extend(record(0o100_644, "etc/a", b"two"));
        bytes.extend(record(0, "TRAILER!!!", b""));
        bytes.resize(1024, 0);
        bytes
    }

    #[test]
    fn reads_what_cpio_writes() {
        let files: [(&str, &[u8]); 3] = [("a", b"first"), ("empty", b""), ("long-name-of-a-file", &[7; 1001])];
        let Some(bytes) = real(&files) else {
            std::eprintln!("SKIPPED: cpio is not installed");
            return;
        };
        let read: Vec<Entry<'_>> = Archive::new(&bytes).map(|entry| entry.expect("a sound archive")).collect();
        let expected: Vec<_> =
            files.iter().map(|&(path, contents)| Entry { path: path.as_bytes(), contents }).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn the_last_file_of_a_name_wins_and_folders_are_passed_over() {
        let bytes = sample();
        let archive = Archive::new(&bytes);
        assert_eq!(archive.find(b"/etc/a"), Some(&b"two"[..]));
        assert_eq!(archive.find(b"b"), Some(&b"12345"[..]));
        assert_eq!(archive.find(b"c"), None);
        let mut read = archive.clone();
        assert_eq!(read.end(), None);
        assert_eq!(read.by_ref().count(), 3);
        // The padding behind it is none of it.
        assert!(read.end().is_some_and(|end| end < bytes.len() && bytes[..end].ends_with(b"TRAILER!!!\0\0\0\0")));
    }

    #[test]
    fn no_cut_or_changed_byte_panics() {
        let bytes = sample();
        for end in 0..bytes.len() {
            Archive::new(&bytes[..end]).for_each(drop);
        }
        for position in 0..bytes.len() {
            for value in [0, b'f', b'+', 0xff] {
                let mut changed = bytes.clone();
                changed[position] = value;
                Archive::new(&changed).for_each(drop);
            }
        }
    }

    #[test]
    fn errors_name_the_offset() {
        assert_eq!(Archive::new(&[b'x'; 200]).next(), Some(Err(CpioError::Magic(0))));
        assert_eq!(Archive::new(b"070701").next(), Some(Err(CpioError::Truncated(0))));
    }
}
