//! Finding the image of the kernel a module was built for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use bstr::{BStr, ByteSlice};
use ferrmod_machine::FactsBytes;
use ferrmod_machine::facts_cache::{self, FactsCacheError};

use crate::exit::Failure;

/// The release in a vermagic: its first word.
pub(crate) fn release_of(vermagic: &BStr) -> String {
    vermagic.split(|&byte| byte == b' ').next().unwrap_or_default().to_str_lossy().into_owned()
}

/// The root that a file of a modules tree stands in: what is before `lib/modules` or `usr/lib/modules`.
pub(crate) fn root_of(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let mut above = path.as_path();
    while let Some(parent) = above.parent() {
        if above.file_name() == Some(OsStr::new("modules")) && parent.file_name() == Some(OsStr::new("lib")) {
            let root = parent.parent()?;
            return Some(if root.file_name() == Some(OsStr::new("usr")) { root.parent()?.into() } else { root.into() });
        }
        above = parent;
    }
    None
}

/// Where the image of `release` may be, best first.
fn candidates(release: &str, tree: Option<&Path>, files: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let name = format!("vmlinuz-{release}");
    let mut add = |path: PathBuf| {
        if !found.contains(&path) {
            found.push(path);
        }
    };
    for place in tree.into_iter().map(Path::to_path_buf).chain(files.iter().cloned()) {
        if let Some(root) = root_of(&place).or_else(|| place.is_dir().then(|| place.clone())) {
            for modules in ["lib/modules", "usr/lib/modules"] {
                add(root.join(modules).join(release).join("vmlinuz"));
            }
            add(root.join("boot").join(&name));
        }
        if place.is_dir() {
            add(place.join("vmlinuz"));
        }
    }
    add(Path::new("/lib/modules").join(release).join("vmlinuz"));
    add(Path::new("/boot").join(&name));
    found
}

/// What is known about the kernel `release`.
///
/// `image` is the user's own choice. Otherwise it is looked for in the tree, in the root each file's own tree stands in, and
/// in `/boot`.
pub(crate) fn facts(
    release: &str,
    image: Option<&Path>,
    tree: Option<&Path>,
    files: &[PathBuf],
) -> Result<FactsBytes, Failure> {
    let path = match image {
        Some(image) => image.to_path_buf(),
        None => {
            let tried = candidates(release, tree, files);
            let found = tried.iter().find(|path| path.is_file());
            found.cloned().ok_or_else(|| Failure::NoKernel {
                release: release.into(),
                tried: tried.iter().map(|path| path.display().to_string()).collect(),
            })?
        }
    };
    facts_cache::open(&path).map_err(|error| match error {
        FactsCacheError::Read { path, error } => Failure::File { path: path.display().to_string(), error },
        FactsCacheError::Kernel { path, error } => {
            Failure::Content { path: path.display().to_string(), reason: error.to_string() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_above_lib_modules() {
        let root = |path: &str| root_of(Path::new(path)).map(|root| root.display().to_string());
        assert_eq!(root("/x/lib/modules/6.1/kernel/lib/crc7.ko"), Some("/x".into()));
        assert_eq!(root("/x/usr/lib/modules/6.1"), Some("/x".into()));
        assert_eq!(root("/lib/modules/6.1"), Some("/".into()));
        assert_eq!(root("/x/modules/y.ko"), None);
    }

    #[test]
    fn the_release_is_the_first_word() {
        assert_eq!(release_of(BStr::new("6.1.0-56-amd64 SMP preempt mod_unload modversions ")), "6.1.0-56-amd64");
        assert_eq!(release_of(BStr::new("")), "");
    }
}
