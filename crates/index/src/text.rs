//! What depmod and kbuild write beside the modules.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use ferrmod_image::Modinfo;

use crate::name::{module_name, normalise};
use ferrmod_image::{fnmatch, normalise_alias};

/// `modules.dep`: where each module is, and everything it needs.
pub(crate) struct Dependencies(Vec<u8>);

/// A line of `modules.dep`.
pub(crate) struct Line<'a> {
    /// The module's file, in the tree (or anywhere, when absolute).
    pub(crate) path: PathBuf,
    needs: &'a [u8],
}

impl Line<'_> {
    /// The names of the modules that are needed, in the order in which they load.
    pub(crate) fn needs(&self) -> Vec<String> {
        // depmod writes them with the one that loads first last.
        self.needs.split(|&byte| byte == b' ').rev().filter_map(|path| module_name(path.to_path().ok()?)).collect()
    }
}

impl Dependencies {
    /// Reads the file of `tree`, if it is there.
    pub(crate) fn load(tree: &Path) -> Option<Dependencies> {
        fs::read(tree.join("modules.dep")).ok().map(Dependencies)
    }

    /// The line of the module of this (normalised) name.
    pub(crate) fn find(&self, name: &str) -> Option<Line<'_>> {
        self.0.lines().find_map(|line| {
            let (path, needs) = line.split_once_str(b":")?;
            let path = path.to_path().ok()?;
            // Cheap first: the letters of the name, whatever its dashes.
            let file = path.file_name()?.as_encoded_bytes();
            let same = file.len() > name.len()
                && file.iter().zip(name.bytes()).all(|(&a, b)| a == b || (a == b'-' && b == b'_'));
            (same && module_name(path)? == name).then(|| Line { path: path.to_owned(), needs })
        })
    }
}

/// Calls `visit` with every line of a file of depmod that begins with `word`: what follows it.
fn each_line<'a>(text: &'a [u8], word: &str) -> impl Iterator<Item = &'a [u8]> {
    text.lines().filter_map(move |line| line.strip_prefix(word.as_bytes())?.strip_prefix(b" "))
}

/// A file of `tree`, if it is there.
pub(crate) fn text(tree: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(tree.join(name)).ok()
}

/// The aliases of `text` (`modules.alias`) that match `name`, with their modules.
pub(crate) fn aliases(text: &[u8], name: &str) -> Vec<(String, String)> {
    let name = normalise_alias(name.as_bytes());
    each_line(text, "alias")
        .filter_map(|line| {
            let (pattern, module) = line.split_once_str(b" ")?;
            fnmatch(&normalise_alias(pattern), &name)
                .then(|| (pattern.to_str_lossy().into_owned(), normalise(&module.to_str_lossy()).into_owned()))
        })
        .collect()
}

/// The text of the soft dependencies of module `name` in `text` (`modules.softdep`).
pub(crate) fn softdep<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    each_line(text, "softdep").find_map(|line| {
        let (module, rest) = line.split_once_str(b" ")?;
        (normalise(module.to_str().ok()?) == name).then_some(rest)
    })
}

/// Whether the kernel of `tree` has the module of this (normalised) name built in (`modules.builtin`).
pub(crate) fn is_builtin(tree: &Path, name: &str) -> bool {
    text(tree, "modules.builtin")
        .is_some_and(|text| text.lines().any(|line| line.to_path().ok().and_then(module_name).as_deref() == Some(name)))
}

/// The built-in modules of `tree` that have an alias which matches `name` (`modules.builtin.modinfo`).
pub(crate) fn builtin_aliases(tree: &Path, name: &str) -> Vec<String> {
    let name = normalise_alias(name.as_bytes());
    let text = text(tree, "modules.builtin.modinfo").unwrap_or_default();
    let mut modules: Vec<String> = Vec::new();
    for (key, pattern) in Modinfo::new(&text).iter() {
        if let Some(module) = key.strip_suffix(b".alias")
            && fnmatch(&normalise_alias(pattern), &name)
        {
            let module = match module.to_str_lossy() {
                Cow::Borrowed(module) => normalise(module).into_owned(),
                Cow::Owned(module) => normalise(&module).into_owned(),
            };
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
    }
    modules
}
