//! Reading a module's file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ferrmod_image::ReadError;
use ferrmod_image::compress::DecompressError;
use thiserror::Error;

/// The largest module that is read, unpacked: the largest real one has 9 MB, with debugging information a few hundred.
pub const MAX_MODULE: usize = 1 << 30;

/// A file that could not be read as a module.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {problem}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: FileProblem,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileProblem {
    /// The system does not hand it out.
    #[error("{text}")]
    Io {
        /// The kind of error.
        kind: io::ErrorKind,
        /// The system's words.
        text: String,
    },
    /// It is larger than any module.
    #[error("larger than {MAX_MODULE} bytes")]
    TooLarge,
    /// It does not unpack.
    #[error("{0}")]
    Decompress(DecompressError),
    /// It is no module.
    #[error("{0}")]
    Read(ReadError),
}

impl FileError {
    /// What the system said about `path`.
    #[must_use]
    pub fn io(path: &Path, error: &io::Error) -> FileError {
        FileError { path: path.to_owned(), problem: FileProblem::Io { kind: error.kind(), text: error.to_string() } }
    }

    /// What reading `path` as a module said.
    #[must_use]
    pub fn read(path: &Path, error: ReadError) -> FileError {
        FileError { path: path.to_owned(), problem: FileProblem::Read(error) }
    }
}

/// The bytes of a module's file, unpacked when it is compressed.
///
/// # Errors
/// When the file cannot be read, is not a regular file, is too large, or does not unpack.
pub fn read_module(path: &Path) -> Result<Vec<u8>, FileError> {
    let bytes = read_packed(path)?;
    let unpacked = match crate::unpack(&bytes) {
        Ok(Cow::Owned(unpacked)) => Some(unpacked),
        Ok(Cow::Borrowed(_)) => None,
        Err(error) => {
            return Err(FileError { path: path.to_owned(), problem: FileProblem::Decompress(error) });
        }
    };
    Ok(unpacked.unwrap_or(bytes))
}

/// The bytes of a module's file as they are, compressed or not.
///
/// # Errors
/// When the file cannot be read, is not a regular file, or is too large.
pub fn read_packed(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |error: &io::Error| FileError::io(path, error);
    let file = File::open(path).map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    // A pipe or a terminal would be waited for, and a folder fails in a way that nobody understands.
    if !metadata.is_file() {
        return Err(failed(&io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).min(MAX_MODULE) + 1);
    file.take(MAX_MODULE as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() > MAX_MODULE {
        return Err(FileError { path: path.to_owned(), problem: FileProblem::TooLarge });
    }
    Ok(bytes)
}
