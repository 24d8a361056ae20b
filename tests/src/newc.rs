//! `newc` cpio archives, as an initramfs is made of them.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// An archive of files with these paths and contents, with its trailer, filled up to a multiple of 512 bytes as cpio(1) does.
///
/// # Panics
///
/// When a file has 4 GiB or more.
#[must_use]
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Archive::default();
    for (name, contents) in files {
        archive.record(name.as_bytes(), 0o100_644, contents).expect("an archive holds files of less than 4 GiB");
    }
    archive.finish().expect("a trailer is short")
}

/// Everything in the folder: folders, files and symbolic links, owned by root.
///
/// # Errors
///
/// When something in it cannot be read or is too long for the format.
pub fn of_folder(folder: &Path) -> io::Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.folder(folder, b"")?;
    archive.finish()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    records: u32,
}

impl Archive {
    fn folder(&mut self, folder: &Path, prefix: &[u8]) -> io::Result<()> {
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = [prefix, entry.file_name().as_bytes()].concat();
            let (path, metadata) = (entry.path(), entry.metadata()?);
            let permissions = metadata.permissions().mode() & 0o7777;
            if metadata.is_symlink() {
                self.record(&name, 0o120_777, fs::read_link(path)?.as_os_str().as_bytes())?;
            } else if metadata.is_dir() {
                self.record(&name, 0o040_000 | permissions, b"")?;
                self.folder(&path, &[&name, b"/".as_slice()].concat())?;
            } else {
                self.record(&name, 0o100_000 | permissions, &fs::read(path)?)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, name: &[u8], mode: u32, contents: &[u8]) -> io::Result<()> {
        let number = |length: usize| u32::try_from(length).map_err(io::Error::other);
        self.records += 1;
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let (size, name_size) = (number(contents.len())?, number(name.len() + 1)?);
        let fields = [self.records, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            write!(self.bytes, "{field:08x}")?;
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend_from_slice(contents);
        self.pad(4);
        Ok(())
    }

    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        self.record(b"TRAILER!!!", 0o100_644, b"")?;
        self.pad(512);
        Ok(self.bytes)
    }
}
