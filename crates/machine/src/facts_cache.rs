//! What is known about a kernel, kept on disk.
//!
//! Reading a kernel's image takes a good part of a second; its facts, once made, are mapped in microseconds. One file for each
//! image, named after what tells the image from any other: device, inode, size, times, and the format's version. Whatever is
//! wrong with the cache, the facts are made anew; an unwritable cache only costs time.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferrmod_image::facts::{FORMAT, Facts};
use ferrmod_image::kernel::{KernelImage, KernelReadError};

/// The bytes of a kernel's facts, in memory or mapped from the cache. Cheap to clone.
#[derive(Clone)]
pub struct FactsBytes(Arc<Inner>);

enum Inner {
    Owned(Vec<u8>),
    Static(&'static [u8]),
    Mapped { base: *const u8, length: usize },
}

// SAFETY: the mapping is private and read-only, and is undone only when the last owner is gone.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Self::Mapped { base, length } = *self {
            // SAFETY: our own mapping, whose last owner goes.
            unsafe { libc::munmap(base.cast_mut().cast(), length) };
        }
    }
}

impl std::fmt::Debug for FactsBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FactsBytes").field(&self.len()).finish()
    }
}

impl Deref for FactsBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Inner::Owned(bytes) => bytes,
            Inner::Static(bytes) => bytes,
            // SAFETY: mapped readable for this length as long as `self` lives. Cache files are never changed in place: a new
            // one replaces the name, not the contents.
            Inner::Mapped { base, length } => unsafe { std::slice::from_raw_parts(*base, *length) },
        }
    }
}

impl From<Vec<u8>> for FactsBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner::Owned(bytes)))
    }
}

impl From<&'static [u8]> for FactsBytes {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Arc::new(Inner::Static(bytes)))
    }
}

/// There are no facts to be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum FactsCacheError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The kernel's image.
        path: PathBuf,
        /// What the host said.
        error: io::Error,
    },
    /// The file is not a kernel's image that we can read.
    #[error("{}: {error}", path.display())]
    Kernel {
        /// The kernel's image.
        path: PathBuf,
        /// What is wrong with it.
        error: KernelReadError,
    },
}

/// The folder the facts are kept in: `$XDG_CACHE_HOME/ferrmod/facts`, by default `~/.cache/ferrmod/facts`.
pub fn folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("ferrmod").join("facts"))
}

/// The name of the file for an image: all that changes when the image does.
fn key(image: &Metadata) -> String {
    format!(
        "{FORMAT}-{:x}-{:x}-{:x}-{:x}.{:x}-{:x}.{:x}",
        image.dev(),
        image.ino(),
        image.size(),
        image.mtime(),
        image.mtime_nsec(),
        image.ctime(),
        image.ctime_nsec(),
    )
}

/// The facts of the kernel whose image (a bzImage or an ELF `vmlinux`) is at `path`: from the cache, or read and cached.
///
/// # Errors
/// [`FactsCacheError`] when the image cannot be read; never because of the cache.
pub fn open(path: &Path) -> Result<FactsBytes, FactsCacheError> {
    open_in(folder().as_deref(), path)
}

/// As [`open`], with the cache in `folder`, or without one.
///
/// # Errors
/// As [`open`].
pub fn open_in(folder: Option<&Path>, path: &Path) -> Result<FactsBytes, FactsCacheError> {
    let unread = |error| FactsCacheError::Read { path: path.to_owned(), error };
    let metadata = fs::metadata(path).map_err(unread)?;
    let cached = folder.map(|folder| folder.join(key(&metadata)));
    if let Some(facts) = cached.as_deref().and_then(|cached| map(cached).ok())
        && Facts::open(&facts).is_ok()
    {
        return Ok(facts);
    }
    let file = fs::read(path).map_err(unread)?;
    let image = KernelImage::read(&file).map_err(|error| FactsCacheError::Kernel { path: path.to_owned(), error })?;
    let facts = Facts::build(&image);
    if let Some(cached) = &cached {
        // Without a cache the next run takes longer, and that is all.
        let _ = store(cached, &facts);
    }
    Ok(facts.into())
}

fn map(path: &Path) -> io::Result<FactsBytes> {
    let file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // SAFETY: a new private mapping where the system likes; the descriptor is open. Length 0 is refused by the system.
    let base =
        unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(FactsBytes(Arc::new(Inner::Mapped { base: base.cast(), length })))
}

/// Writes the whole file under another name, then gives it its own: a reader sees all of it or nothing.
fn store(path: &Path, facts: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}-{:?}", std::process::id(), std::thread::current().id()));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(facts)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&new, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&new);
    }
    renamed
}
