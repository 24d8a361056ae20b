//! The files the machine was started with.

use alloc::vec::Vec;

use ferrmod_image::Image;
use ferrmod_image::compress;
use ferrmod_image::cpio::Archive;
use ferrmod_kernel::Errno;
use ferrmod_kernel::platform::Fetched;

/// Folder of the modules.
const MODULES: &[u8] = b"lib/modules/";
/// No module file is larger than this when decompressed.
const FILE_MAX: usize = 64 << 20;
/// The longest chain of dependencies followed.
const DEPTH_MAX: usize = 32;

/// The initramfs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initramfs(&'static [u8]);

impl Initramfs {
    /// Over the bytes of the archive.
    pub(crate) fn new(bytes: &'static [u8]) -> Self {
        Self(bytes)
    }

    /// The contents of a file.
    pub(crate) fn file(&self, path: &[u8]) -> Option<&'static [u8]> {
        Archive::new(self.0).find(path)
    }

    /// A module file, decompressed.
    pub(crate) fn module(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let bytes = self.file(path).ok_or(Errno::ENOENT)?;
        compress::decompress(bytes, FILE_MAX).map(|bytes| bytes.into_owned()).map_err(|_| Errno::EINVAL)
    }

    /// The modules a name stands for, dependencies first.
    pub(crate) fn fetch(&self, name: &[u8]) -> Result<Vec<Fetched>, Errno> {
        let mut found = Vec::new();
        let mut names = Vec::new();
        self.collect(name, 0, &mut names, &mut found)?;
        Ok(found)
    }

    fn collect(
        &self,
        name: &[u8],
        depth: usize,
        names: &mut Vec<Vec<u8>>,
        found: &mut Vec<Fetched>,
    ) -> Result<(), Errno> {
        let name = plain(name);
        if names.contains(&name) {
            return Ok(());
        }
        if depth > DEPTH_MAX {
            return Err(Errno::ELOOP);
        }
        let bytes = self.named(&name)?;
        names.push(name);
        let image = Image::read(&bytes).map_err(|_| Errno::ENOEXEC)?;
        let depends = image.modinfo().get("depends").map(|list| list.to_vec()).unwrap_or_default();
        for other in depends.split(|&byte| byte == b',').filter(|other| !other.is_empty()) {
            self.collect(other, depth + 1, names, found)?;
        }
        found.push(Fetched { bytes, arguments: Vec::new() });
        Ok(())
    }

    /// The module file of this name, or the first one that has it as an alias.
    fn named(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut files = Vec::new();
        for entry in Archive::new(self.0).map_while(Result::ok) {
            let Some(file) = entry.path.strip_prefix(MODULES) else {
                continue;
            };
            let file = file.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let Some(end) = file.windows(3).position(|part| part == b".ko") else {
                continue;
            };
            if plain(&file[..end]) == name {
                return self.module(entry.path);
            }
            files.push(entry.path);
        }
        for path in files {
            let bytes = self.module(path)?;
            let Ok(image) = Image::read(&bytes) else {
                continue;
            };
            if image.modinfo().all("alias").any(|alias| plain(alias) == name) {
                return Ok(bytes);
            }
        }
        Err(Errno::ENOENT)
    }
}

/// Names compare with `-` as `_`.
fn plain(name: &[u8]) -> Vec<u8> {
    name.iter().map(|&byte| if byte == b'-' { b'_' } else { byte }).collect()
}
