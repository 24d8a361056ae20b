//! What another kernel did with the same modules.

use std::collections::HashMap;
use std::path::Path;

use crate::exit::Failure;

/// What the other kernel did with one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// `ok`, or the name of an errno.
    pub(super) init: String,
    /// `ok`, the name of an errno, or `-` when there was nothing to unload.
    pub(super) exit: String,
}

/// A recording: lines of path, init, exit and what else there is, between tabs; `#` begins a comment.
pub(super) struct Reference(HashMap<String, Recorded>);

/// The path without what names the compression, so that trees are compared however they are packed.
pub(super) fn plain(path: &str) -> &str {
    path.find(".ko").map_or(path, |at| &path[..at + 3])
}

impl Reference {
    /// Reads the file of that name.
    ///
    /// # Errors
    /// [`Failure`] with the line that is none of a recording.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Failure::File { path: name.clone(), error })?;
        Self::parse(&text).map_err(|reason| Failure::Content { path: name, reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut all = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fields = line.split('\t');
            let (Some(path), Some(init), Some(exit)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(format!("line {}: want path, init and exit between tabs", number + 1));
            };
            let recorded = Recorded { init: init.to_owned(), exit: exit.to_owned() };
            if all.insert(plain(path).to_owned(), recorded).is_some() {
                return Err(format!("line {}: {path} is there twice", number + 1));
            }
        }
        Ok(Self(all))
    }

    /// What is recorded of the module at `path` in the tree.
    pub(super) fn get(&self, path: &str) -> Option<&Recorded> {
        self.0.get(plain(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_found_however_the_module_is_packed() {
        let reference = Reference::parse("# path\tinit\texit\nkernel/a.ko\tENODEV\t-\t-\n").unwrap();
        let recorded = Recorded { init: "ENODEV".into(), exit: "-".into() };
        assert_eq!(reference.get("kernel/a.ko.xz"), Some(&recorded));
        assert_eq!(reference.get("kernel/b.ko"), None);
    }

    #[test]
    fn a_bad_line_is_named() {
        let said = |text| Reference::parse(text).err().unwrap_or_default();
        assert_eq!(said("a.ko\tok\tok\nb.ko ok\n"), "line 2: want path, init and exit between tabs");
        assert_eq!(said("a.ko\tok\tok\na.ko\tok\tok\n"), "line 2: a.ko is there twice");
    }
}
