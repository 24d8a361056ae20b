//! Lists of modules to load at boot.

use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};

use crate::files::{self, Candidate};
use crate::{Folders, Root, Warning};

/// A line of a list of modules: `/etc/modules-load.d/*.conf`, `/etc/modules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The first word: a module or an alias, as it is in the file.
    pub name: BString,
    /// What follows it. In `/etc/modules` these are parameters; systemd takes the whole line for a name.
    pub rest: BString,
    /// The file, named from outside of the root.
    pub file: PathBuf,
    /// The line in it, counted from 1.
    pub line: u32,
}

/// The lines of every file of `modules-load.d` in the order in which they count, and what could not be read: of one name the file in
/// the first of `/etc`, `/run`, `/usr/local/lib`, `/usr/lib` and `/lib` counts (modules-load.d(5)).
#[must_use]
pub fn modules_load(root: &Root) -> (Vec<Listed>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let files = files::modules_load_files(root, Folders::Kmod34, &mut warnings);
    let listed = read(&files, &mut warnings);
    (listed, warnings)
}

/// The lines of one file, named in the root; none when it is not there.
#[must_use]
pub fn modules_listed(root: &Root, path: &Path) -> Vec<Listed> {
    read(&[Candidate::named(root, path)], &mut Vec::new())
}

fn read(files: &[Candidate<'_>], warnings: &mut Vec<Warning>) -> Vec<Listed> {
    let texts: Vec<_> = files.iter().filter_map(|file| files::read(file, warnings)).collect();
    texts.iter().flat_map(|text| parse_listed(&text.path, &text.bytes)).collect()
}

/// The lines of a list, `file` in name only. Empty lines and those that begin with `#` or `;` are none.
pub fn parse_listed<'t>(file: &'t Path, text: &'t [u8]) -> impl Iterator<Item = Listed> + use<'t> {
    (1..).zip(text.lines()).filter_map(move |(line, text)| {
        let text = text.trim_ascii();
        if text.is_empty() || matches!(text.first(), Some(b'#' | b';')) {
            return None;
        }
        let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        Some(Listed { name: name.into(), rest: rest.trim_ascii().into(), file: file.to_owned(), line })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_lines_and_parameters_no_names() {
        let text = b"# a comment\n; and one\n\n  snd-pcm  \nloop max_loop=8 max_part=2\r\n";
        let listed: Vec<_> = parse_listed(Path::new("/etc/modules"), text).collect();
        let words: Vec<_> = listed.iter().map(|one| (one.line, one.name.to_string(), one.rest.to_string())).collect();
        assert_eq!(words, [(4, "snd-pcm".into(), String::new()), (5, "loop".into(), "max_loop=8 max_part=2".into())]);
    }
}
