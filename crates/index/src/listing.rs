//! The list of a tree's files, and whether it still is true.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cache::Cache;
use crate::file::FileError;
use crate::name::module_name;
use crate::table::{self, Table};

/// What the list is kept as.
const WHAT: &str = "files";

/// A folder that was changed so lately could be changed again without its time telling it.
const UNSETTLED: Duration = Duration::from_secs(2);

/// How deep folders may be in each other.
const MAX_DEPTH: usize = 64;

/// The file of a module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleFile {
    /// The module's name, with `_` for `-`.
    pub name: String,
    /// Where its file is.
    pub path: PathBuf,
}

/// The folders of a tree with their identities, and the module files in them.
pub(crate) struct Listing {
    /// Path in the tree → identity.
    folders: Vec<u8>,
    /// Name → path in the tree, sorted by name; of several files of one name the first counts.
    files: Vec<u8>,
    /// Whether this comes from the cache and may be out of date.
    pub(crate) from_cache: bool,
}

/// What tells that a folder is the same as before, and has the same entries: device, inode and the time of its last change.
fn identity(metadata: &Metadata) -> [u8; 32] {
    let mut identity = [0; 32];
    let words = [metadata.dev(), metadata.ino(), metadata.mtime() as u64, metadata.mtime_nsec() as u64];
    for (to, word) in identity.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    identity
}

/// A path in the tree, from its bytes; `None` when it would lead out of the tree.
fn inside(bytes: &[u8]) -> Option<&Path> {
    let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
    path.components().all(|component| matches!(component, Component::Normal(_))).then_some(path)
}

impl Listing {
    /// The list from the cache, or from the tree.
    ///
    /// # Errors
    /// When the tree's folder cannot be read. A folder in it that cannot be read is as one that is empty.
    pub(crate) fn load(tree: &Path, cache: Option<&Cache>) -> Result<Listing, FileError> {
        let kept = cache.and_then(|cache| cache.load::<2>(WHAT));
        if let Some([folders, files]) = kept {
            let listing = Listing { folders, files, from_cache: true };
            // A list without a single file is nothing to believe in.
            if listing.holds(tree, &[]) && listing.len() > 0 {
                return Ok(listing);
            }
        }
        Listing::walk(tree, cache)
    }

    /// The list from the tree, for the cache.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub(crate) fn walk(tree: &Path, cache: Option<&Cache>) -> Result<Listing, FileError> {
        let mut walk = Walk::default();
        walk.folder(tree, &mut Vec::new(), 0).map_err(|error| FileError::io(tree, &error))?;
        // updates/ comes before everything else, as depmod has it without a configuration; then the first path.
        let rank = |path: &[u8]| !path.starts_with(b"updates/");
        walk.files.sort_by(|(name, path), (other, other_path)| {
            name.cmp(other).then_with(|| rank(path).cmp(&rank(other_path))).then_with(|| path.cmp(other_path))
        });
        walk.folders.sort();
        let listing =
            Listing { folders: table::build(&walk.folders), files: table::build(&walk.files), from_cache: false };
        if let Some(cache) = cache
            && !walk.unsettled
        {
            cache.store(WHAT, &[&listing.folders, &listing.files]);
        }
        Ok(listing)
    }

    /// The number of files.
    pub(crate) fn len(&self) -> usize {
        Table::new(&self.files).len()
    }

    /// Names and paths in the tree, sorted by name.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        Table::new(&self.files).iter().filter_map(|(name, path)| Some((std::str::from_utf8(name).ok()?, inside(path)?)))
    }

    /// The path in the tree of the module of this (normalised) name.
    pub(crate) fn find(&self, name: &str) -> Option<&Path> {
        inside(Table::new(&self.files).find(name.as_bytes())?)
    }

    /// Whether the folder at `path` in the tree (and the tree's own, and those that are looked at before others) is as it was.
    pub(crate) fn holds(&self, tree: &Path, path: &[u8]) -> bool {
        let folders = Table::new(&self.folders);
        let same = |path: &[u8]| {
            let Some(kept) = folders.find(path) else {
                return false;
            };
            let Some(inside) = inside(path) else {
                return false;
            };
            fs::metadata(tree.join(inside)).is_ok_and(|metadata| identity(&metadata) == kept)
        };
        // A file that is new in updates/ would hide one elsewhere.
        same(b"") && (path.is_empty() || same(path)) && (folders.find(b"updates").is_none() || same(b"updates"))
    }

    /// Whether every folder is as it was.
    pub(crate) fn is_current(&self, tree: &Path) -> bool {
        Table::new(&self.folders).iter().all(|(path, kept)| {
            inside(path)
                .is_some_and(|path| fs::metadata(tree.join(path)).is_ok_and(|metadata| identity(&metadata) == kept))
        })
    }

    /// A number that changes when a folder or a file comes, goes or is replaced.
    pub(crate) fn stamp(&self) -> [u8; 12] {
        let mut stamp = [0; 12];
        let sums = [crc32fast::hash(&self.folders), crc32fast::hash(&self.files), self.len() as u32];
        for (to, sum) in stamp.chunks_exact_mut(4).zip(sums) {
            to.copy_from_slice(&sum.to_le_bytes());
        }
        stamp
    }
}

/// A walk through a tree.
#[derive(Default)]
struct Walk {
    folders: Vec<(Vec<u8>, [u8; 32])>,
    files: Vec<(String, Vec<u8>)>,
    /// Folders seen, by device and inode: links may lead round in circles.
    seen: HashSet<(u64, u64)>,
    unsettled: bool,
}

impl Walk {
    /// Takes in `folder`, which is at `path` in the tree.
    fn folder(&mut self, folder: &Path, path: &mut Vec<u8>, depth: usize) -> io::Result<()> {
        // Before its entries are read, so that a change meanwhile makes the list old and not wrong.
        let metadata = fs::metadata(folder)?;
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        let settled = metadata
            .modified()
            .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > UNSETTLED));
        self.unsettled |= !settled;
        let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        self.folders.push((path.clone(), identity(&metadata)));
        for entry in entries {
            let name = entry.file_name().into_vec();
            let Ok(mut kind) = entry.file_type() else {
                continue;
            };
            let at = entry.path();
            if kind.is_symlink() {
                // build and source lead out of the tree, into kernel sources.
                let Ok(target) = fs::metadata(&at) else {
                    continue;
                };
                kind = target.file_type();
            }
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if kind.is_dir() {
                let out_of_the_tree = length == 0 && matches!(&name[..], b"build" | b"source");
                if !out_of_the_tree && depth < MAX_DEPTH {
                    // A folder that may not be read is none of ours.
                    let _ = self.folder(&at, path, depth + 1);
                }
            } else if kind.is_file()
                && let Some(name) = module_name(&at)
            {
                self.files.push((name, path.clone()));
            }
            path.truncate(length);
        }
        Ok(())
    }
}
