//! `newc` cpio archives of regular files, as an initramfs is made of them.

use std::io::Write;

/// An archive of files with these paths and contents, with its trailer, filled up to a multiple of 512 bytes as cpio(1) does.
#[must_use]
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let trailer: &[(&str, &[u8])] = &[("TRAILER!!!", b"")];
    for (name, contents) in files.iter().chain(trailer) {
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let fields = [1, 0o100_644, 0, 0, 1, 0, contents.len(), 0, 0, 0, 0, name.len() + 1, 0];
        out.extend_from_slice(b"070701");
        fields.iter().for_each(|field| write!(out, "{field:08x}").expect("memory can be written"));
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(contents);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out.resize(out.len().next_multiple_of(512), 0);
    out
}
