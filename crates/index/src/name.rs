//! Names of modules and aliases, which have one spelling for the kernel and two for people.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

/// The endings of module files.
const ENDINGS: [&str; 4] = [".ko", ".ko.xz", ".ko.gz", ".ko.zst"];

/// The module's name by its file's: `lib/crc-itu-t.ko.xz` is `crc_itu_t`. `None` when the file is not named as a module, or
/// its name is not UTF-8.
#[must_use]
pub fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name().and_then(OsStr::to_str)?;
    let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))?;
    (!stem.is_empty()).then(|| normalise(stem).into_owned())
}

/// A module's name with `-` as `_`, which are the same.
#[must_use]
pub fn normalise(name: &str) -> Cow<'_, str> {
    if name.contains('-') { Cow::Owned(name.replace('-', "_")) } else { Cow::Borrowed(name) }
}

/// The distance of two names: how many letters to change, insert, leave out or swap with their neighbour (optimal string
/// alignment), or more than `most`.
pub(crate) fn distance(a: &[u8], b: &[u8], most: usize) -> usize {
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && b.get(j - 1) == Some(&x) && a.get(i - 1) == Some(&y);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_is_an_underscore() {
        assert_eq!(normalise("snd-hda-intel"), "snd_hda_intel");
        assert_eq!(module_name(Path::new("x/crc-itu-t.ko.zst")).as_deref(), Some("crc_itu_t"));
        assert_eq!(module_name(Path::new("x/.ko")), None);
        assert_eq!(module_name(Path::new("x/a.ko.bz2")), None);
    }

    #[test]
    fn distances_count_edits() {
        assert_eq!(distance(b"crc7", b"crc7", 3), 0);
        assert_eq!(distance(b"crc7", b"crc8", 3), 1);
        assert_eq!(distance(b"ext4", b"etx4", 3), 1);
        assert_eq!(distance(b"e1000", b"e1000e", 3), 1);
        assert_eq!(distance(b"", b"abc", 3), 3);
        assert!(distance(b"", b"abcd", 3) > 3);
    }
}
