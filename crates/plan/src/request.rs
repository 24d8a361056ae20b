//! What somebody asks for.

use std::path::{Path, PathBuf};

use ferrmod_index::module_name;

/// A module that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// This file.
    File(PathBuf),
    /// The module of this name, or the modules that have this alias.
    Name(String),
}

impl Request {
    /// Takes an argument of a command line for a file when it is written as one (with a slash, or ending as module files do), else for a
    /// name or an alias.
    #[must_use]
    pub fn from_argument(argument: &str) -> Request {
        if argument.contains('/') || module_name(Path::new(argument)).is_some() {
            Request::File(PathBuf::from(argument))
        } else {
            Request::Name(argument.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_told_apart_by_how_they_are_written() {
        let file = |argument: &str| Request::from_argument(argument) == Request::File(argument.into());
        assert!(file("./crc7") && file("crc7.ko") && file("/a/b") && file("crc7.ko.xz"));
        assert!(!file("crc7") && !file("pci:v0*") && !file("crc7.o"));
    }
}
