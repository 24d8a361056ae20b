//! Reading the small files of procfs and sysfs, never more than is sensible.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bstr::BString;
use rustix::io::Errno;

use crate::modules::LineFault;

/// More than any attribute has: a page is the most in sysfs, and the command line is not longer on any architecture.
const ATTRIBUTE_LIMIT: u64 = 1 << 16;

/// A file of the kernel could not be read or understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct Error {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("{0}")]
    Os(Errno),
    /// It is larger than the kernel ever makes it; the limit in bytes.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// It holds something else than the kernel writes there.
    #[error("not {0}")]
    NotA(&'static str),
    /// A line of a list holds something else than the kernel writes there.
    #[error(transparent)]
    Line(LineFault),
    /// No module can have the name that was asked for.
    #[error("not the name of a module")]
    Name,
}

impl Error {
    pub(crate) fn new(path: &Path, problem: Problem) -> Self {
        Self { path: path.to_owned(), problem }
    }

    pub(crate) fn os(path: &Path, error: &io::Error) -> Self {
        Self::new(path, Problem::Os(errno(error)))
    }

    /// Whether the file is not there.
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(Errno::NOENT)
    }

    /// What the system said, if it was the system that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self.problem {
            Problem::Os(errno) => Some(errno),
            _ => None,
        }
    }
}

/// The system's number of an error; the few that std makes itself count as input/output errors.
pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// A small file.
pub(crate) fn attribute(path: &Path) -> Result<BString, Error> {
    whole(path, ATTRIBUTE_LIMIT)
}

/// A small file that ends in a newline, without it.
pub(crate) fn line(path: &Path) -> Result<BString, Error> {
    let mut content = attribute(path)?;
    let kept = content.trim_ascii_end().len();
    content.truncate(kept);
    Ok(content)
}

/// A file, at most `limit` bytes of it.
pub(crate) fn whole(path: &Path, limit: u64) -> Result<BString, Error> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut content))
        .map_err(|error| Error::os(path, &error))?;
    if content.len() as u64 > limit {
        return Err(Error::new(path, Problem::TooLarge(limit)));
    }
    Ok(content.into())
}

/// A number in a file of its own.
pub(crate) fn number<T: std::str::FromStr>(path: &Path) -> Result<T, Error> {
    let content = line(path)?;
    let number = std::str::from_utf8(&content).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::new(path, Problem::NotA("a number")))
}
