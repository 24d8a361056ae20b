//! Where the real kernels and modules are on this machine, if they are.
//!
//! `cargo xtask corpus` puts them into the folder that [`folder`] names; a test asks for a
//! [`Tree`] and passes with a loud word when there is none, unless real input [is
//! required](is_required).

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The corpus folder: `FERRMOD_CORPUS`, else `ferrmod/corpus` in the user's cache folder.
///
/// It holds one folder of unpacked packages a kernel (`6.1`, `6.12`), the headers of 6.1
/// (`6.1-headers`) and our own modules in C (`modules`).
pub fn folder() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("FERRMOD_CORPUS") {
        return folder;
    }
    // XDG Base Directory Specification: a relative path is to be ignored.
    let cache = set("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
    let cache = cache.or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_else(env::temp_dir).join("ferrmod/corpus")
}

/// Whether a test without its real input fails instead of passing: in CI, or when
/// `FERRMOD_REQUIRE_CORPUS` is 1.
pub fn is_required() -> bool {
    let is = |name: &str, values: &[&str]| env::var(name).is_ok_and(|value| values.contains(&value.as_str()));
    is("CI", &["true", "1"]) || is("FERRMOD_REQUIRE_CORPUS", &["1", "true"])
}

/// Says that a test did nothing for want of `what`, past the test harness's capture.
///
/// # Panics
///
/// When real input [is required](is_required).
pub fn skip(what: &str, remedy: &str) {
    assert!(!is_required(), "{what} is required here and missing; {remedy}");
    // Not eprintln!, which the harness keeps to itself when a test passes.
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let word = format!("SKIPPED {test}: {what} is missing; {remedy}\n");
    let _ = std::io::stderr().write_all(word.as_bytes());
}

/// One kernel of the corpus: its image and its modules are there.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The folder the packages were unpacked into (a root file system's beginning).
    pub root: PathBuf,
    /// The kernel's release, as `uname -r` says it.
    pub release: String,
    /// The kernel's image, `boot/vmlinuz-RELEASE`.
    pub vmlinuz: PathBuf,
    /// The modules' folder, `lib/modules/RELEASE` or `usr/lib/modules/RELEASE`.
    pub modules: PathBuf,
}

/// The kernel of this version (`6.1`, `6.12`), if it was fetched.
pub fn tree(version: &str) -> Option<Tree> {
    tree_in(&folder(), version)
}

/// The kernel of this version, or `None` with a loud word ([`skip`]).
///
/// # Panics
///
/// When it is missing and real input [is required](is_required).
pub fn tree_or_skip(version: &str) -> Option<Tree> {
    let tree = tree(version);
    if tree.is_none() {
        skip(&format!("the {version} kernel"), "run `cargo xtask corpus`");
    }
    tree
}

/// As [`tree`], in another corpus folder.
pub fn tree_in(corpus: &Path, version: &str) -> Option<Tree> {
    let root = corpus.join(version);
    let mut images: Vec<(String, PathBuf)> = fs::read_dir(root.join("boot"))
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let release = entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned();
            Some((release, entry.path()))
        })
        .collect();
    images.sort();
    let (release, vmlinuz) = images.pop()?;
    let modules = ["lib/modules", "usr/lib/modules"]
        .iter()
        .map(|folder| root.join(folder).join(&release))
        .find(|folder| folder.join("kernel").is_dir())?;
    Some(Tree { root, release, vmlinuz, modules })
}

impl Tree {
    /// Every module file (`.ko`, `.ko.xz`, `.ko.gz`, `.ko.zst`), sorted by path.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.modules.join("kernel")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(path),
                    Ok(kind) if kind.is_file() && module_name(&path).is_some() => files.push(path),
                    _ => {}
                }
            }
        }
        files.sort();
        files
    }

    /// The file of the module of this name; `-` and `_` are the same, as everywhere in Linux.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        let name = name.replace('-', "_");
        self.files().into_iter().find(|path| module_name(path).as_deref() == Some(&*name))
    }
}

/// The module's name by its file's name: `lib/crc-itu-t.ko.xz` is `crc_itu_t`.
pub fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name().and_then(OsStr::to_str)?;
    let stem = [".ko", ".ko.xz", ".ko.gz", ".ko.zst"].iter().find_map(|ending| name.strip_suffix(ending))?;
    Some(stem.replace('-', "_"))
}

/// Where `cargo xtask modules` puts the modules of tests/modules.
pub fn own_modules_folder() -> PathBuf {
    folder().join("modules")
}

/// The file of one of our own C modules, if they were built.
pub fn own_module(name: &str) -> Option<PathBuf> {
    let path = own_modules_folder().join(format!("{name}.ko"));
    path.is_file().then_some(path)
}

/// The file of one of our own C modules, or `None` with a loud word ([`skip`]).
///
/// # Panics
///
/// When it is missing and real input [is required](is_required).
pub fn own_module_or_skip(name: &str) -> Option<PathBuf> {
    let path = own_module(name);
    if path.is_none() {
        skip(&format!("{name}.ko"), "run `cargo xtask corpus`, then `cargo xtask modules`");
    }
    path
}

/// A number that CI makes larger than a developer's run wants it: the value of the environment
/// variable, else `default`.
///
/// # Panics
///
/// When the variable holds anything but a number: a misspelt budget must not pass as a small one.
pub fn budget(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(value) => match value.parse() {
            Ok(number) => number,
            Err(_) => panic!("{variable}={value} is not a number"),
        },
        Err(_) => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_after_its_file() {
        let name = |path: &str| module_name(Path::new(path));
        assert_eq!(name("lib/crc-itu-t.ko").as_deref(), Some("crc_itu_t"));
        assert_eq!(name("x/snd.ko.xz").as_deref(), Some("snd"));
        assert_eq!(name("x/snd.ko.zst").as_deref(), Some("snd"));
        assert_eq!(name("x/modules.dep"), None);
        assert_eq!(name("x/snd.ko.sig"), None);
    }

    #[test]
    fn a_tree_has_its_image_and_thousands_of_modules() {
        for version in ["6.1", "6.12"] {
            let Some(tree) = tree_or_skip(version) else {
                continue;
            };
            assert!(tree.release.starts_with(version), "{}", tree.release);
            assert!(tree.files().len() > 4000, "{} modules", tree.files().len());
            assert!(tree.file("crc-itu-t").is_some());
        }
    }

    #[test]
    fn an_empty_folder_is_no_tree() {
        assert!(tree_in(Path::new("/nonexistent"), "6.1").is_none());
    }
}
