//! Comparing an index with what it should be.

use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{Mode, OFlags, openat};

use super::files::IndexFile;
use super::options::Options;
use super::{DepmodError, folder};

/// A file of an index that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The file's name.
    pub name: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a file of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be read; mostly because it is not there.
    Unreadable {
        /// The system's words.
        text: String,
    },
    /// It is a text, and a line is another.
    Line {
        /// The line's number, from 1.
        number: usize,
        /// The line in the file; `None` when it ends before.
        found: Option<Vec<u8>>,
        /// The line as it should be; `None` when there should be no more.
        wanted: Option<Vec<u8>>,
    },
    /// It is a trie, and a byte is another.
    Byte {
        /// The byte's place in the file, from 0.
        at: usize,
        /// The file's size.
        found: usize,
        /// The size that it should have.
        wanted: usize,
    },
}

/// The files that are not what `files` says.
pub(super) fn check(files: &[IndexFile], options: &Options<'_>) -> Result<Vec<Difference>, DepmodError> {
    let folder = folder(options, false).map_err(|error| DepmodError::Tree { path: options.tree_folder(), error })?;
    let read = |name: &str| -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut bytes = Vec::new();
        File::from(openat(&folder, name, flags, Mode::empty())?).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let mut differences = Vec::new();
    for file in files {
        let fault = match read(file.name) {
            Ok(bytes) => difference(file, &bytes),
            Err(error) => Some(Fault::Unreadable { text: error.to_string() }),
        };
        differences.extend(fault.map(|fault| Difference { name: file.name, fault }));
    }
    Ok(differences)
}

fn difference(file: &IndexFile, found: &[u8]) -> Option<Fault> {
    if file.bytes == found {
        return None;
    }
    if file.name.ends_with(".bin") {
        let same = file.bytes.iter().zip(found).take_while(|(a, b)| a == b).count();
        return Some(Fault::Byte { at: same, found: found.len(), wanted: file.bytes.len() });
    }
    let mut wanted_lines = file.bytes.split_inclusive(|&byte| byte == b'\n');
    let mut found_lines = found.split_inclusive(|&byte| byte == b'\n');
    let mut number = 0;
    loop {
        number += 1;
        let (wanted, found) = (wanted_lines.next(), found_lines.next());
        if wanted != found {
            let line = |line: &[u8]| line.strip_suffix(b"\n").unwrap_or(line).to_vec();
            return Some(Fault::Line { number, found: found.map(line), wanted: wanted.map(line) });
        }
        // Files that are not the same have a line that is not.
        wanted?;
    }
}
