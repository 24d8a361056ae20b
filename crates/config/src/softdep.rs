//! The text of `softdep` and `weakdep` lines.

use bstr::{BStr, ByteSlice};
use ferrmod_image::normalise_alias;
use hashbrown::HashSet;

use crate::Entry;

/// What is loaded before and after a module, where it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SoftDependencies<'a> {
    /// Before the module, in order.
    pub pre: Vec<Dependency<'a>>,
    /// After the module, in order.
    pub post: Vec<Dependency<'a>>,
}

/// One name in a softdep, and the line that it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency<'a> {
    /// A module or an alias, as it is in the file.
    pub name: &'a BStr,
    /// The line.
    pub entry: Entry<'a>,
}

impl<'a> FromIterator<Entry<'a>> for SoftDependencies<'a> {
    /// What all of these lines ask for; a name that comes again stays where it was.
    fn from_iter<I: IntoIterator<Item = Entry<'a>>>(lines: I) -> SoftDependencies<'a> {
        let mut all = SoftDependencies::default();
        let mut known = [HashSet::new(), HashSet::new()];
        for entry in lines {
            let (pre, post) = split(entry.value);
            for ((names, list), known) in [(pre, &mut all.pre), (post, &mut all.post)].into_iter().zip(&mut known) {
                let new = names.into_iter().filter(|name| known.insert(normalise_alias(name)));
                list.extend(new.map(|name| Dependency { name, entry }));
            }
        }
        all
    }
}

impl<'a> Entry<'a> {
    /// The names in a `softdep` line: those behind `pre:` and those behind `post:`, as they are in the file. Names before the first
    /// of these words do not count.
    #[must_use]
    pub fn soft_dependencies(&self) -> (Vec<&'a BStr>, Vec<&'a BStr>) {
        split(self.value)
    }

    /// The names in a `weakdep` line, as they are in the file.
    pub fn words(&self) -> impl Iterator<Item = &'a BStr> + use<'a> {
        words(self.value)
    }
}

fn words(text: &BStr) -> impl Iterator<Item = &BStr> {
    // isspace(3) in the C locale.
    text.split(|byte| matches!(byte, b' ' | 0x09..=0x0d)).filter(|word| !word.is_empty()).map(BStr::new)
}

/// The names behind `pre:` and those behind `post:`.
fn split(text: &BStr) -> (Vec<&BStr>, Vec<&BStr>) {
    let (mut pre, mut post) = (Vec::new(), Vec::new());
    let mut behind: Option<bool> = None;
    for word in words(text) {
        match (word.as_bytes(), behind) {
            (b"pre:", _) => behind = Some(false),
            (b"post:", _) => behind = Some(true),
            (_, Some(false)) => pre.push(word),
            (_, Some(true)) => post.push(word),
            (_, None) => {}
        }
    }
    (pre, post)
}

/// A softdep as kmod prints it: there is no space in front of `post:`.
pub(crate) fn write_softdep(text: &BStr, out: &mut Vec<u8>) {
    let (pre, post) = split(text);
    for (word, names) in [("pre: ", pre), ("post: ", post)] {
        if !names.is_empty() {
            out.extend_from_slice(word.as_bytes());
            write_joined(names.into_iter(), out);
        }
    }
}

/// A weakdep as kmod prints it.
pub(crate) fn write_weakdep(text: &BStr, out: &mut Vec<u8>) {
    write_joined(words(text), out);
}

fn write_joined<'a>(names: impl Iterator<Item = &'a BStr>, out: &mut Vec<u8>) {
    for (at, name) in names.enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(name);
    }
}
