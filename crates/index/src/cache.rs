//! The user's cache folder: what was learned about a tree, so that it need not be learned again.
//!
//! A file is a magic number with a version, a check sum of the rest, and parts, each after its length. It is written under another name
//! and then renamed, so that a reader sees all of it or nothing. Failing to write is no error: the next run learns again.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// The magic number; its last letter is the version of everything that is kept.
const MAGIC: &[u8; 8] = b"FRMIDX\0\x01";

/// The largest file that is read back: an index of ten thousand modules has some 10 MB.
const MAX: u64 = 256 << 20;

/// Where things about one tree are kept.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    folder: PathBuf,
    key: String,
}

/// `ferrmod/index` in the user's cache folder (XDG Base Directory Specification: a relative path is to be ignored).
pub(crate) fn default_folder() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache"))).map(|cache| cache.join("ferrmod/index"))
}

impl Cache {
    /// The cache in `folder` for the tree at `tree`, which is named by its path: what is in it tells whether it still is the same tree.
    pub(crate) fn new(folder: PathBuf, tree: &Path) -> Cache {
        // FNV-1a: the name of the file has to be the same in every run of every version.
        let hash = tree.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Cache { folder, key: format!("{hash:016x}") }
    }

    fn path(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}.{what}", self.key))
    }

    /// The parts of what is kept as `what`, if it is whole and there are `N` of them.
    pub(crate) fn load<const N: usize>(&self, what: &str) -> Option<[Vec<u8>; N]> {
        let path = self.path(what);
        if fs::metadata(&path).ok()?.len() > MAX {
            return None;
        }
        let bytes = fs::read(path).ok()?;
        let (sum, mut rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
        if crc32fast::hash(rest) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut parts = [const { Vec::new() }; N];
        for part in &mut parts {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            *part = bytes.to_vec();
            rest = after;
        }
        rest.is_empty().then_some(parts)
    }

    /// Keeps `parts` as `what`.
    pub(crate) fn store(&self, what: &str, parts: &[&[u8]]) {
        let mut body = Vec::new();
        for part in parts {
            let Ok(length) = u32::try_from(part.len()) else {
                return;
            };
            body.extend(length.to_le_bytes());
            body.extend_from_slice(part);
        }
        let sum = crc32fast::hash(&body).to_le_bytes();
        // Nobody is told when it does not work: a cache that is not there is only slow.
        let _ = self.write(&self.path(what), &[MAGIC, &sum, &body]);
    }

    fn write(&self, path: &Path, chunks: &[&[u8]]) -> io::Result<()> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = path.file_name().unwrap_or(OsStr::new("index")).to_string_lossy();
        let temporary = self.folder.join(format!(".{name}.{}.{number}", process::id()));
        let written = (|| {
            // A new file and nothing else, so that a link that somebody put there is not followed.
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            chunks.iter().try_for_each(|chunk| file.write_all(chunk))?;
            drop(file);
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}
