//! What the initramfs of a kernel holds.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use ferrmod_config::{Config, Root, parse_listed};
use ferrmod_image::initramfs::Initramfs as Archive;
use ferrmod_index::module_name;
use ferrmod_plan::why::{Initramfs, InitramfsContents};

/// The most that an initramfs may unpack to, in bytes. Debian's with every driver in it has 300 MB.
const MOST: usize = 2 << 30;

/// Where the configuration of modprobe is, the most important first, as in [`ferrmod_config::Folders`].
const MODPROBE: [&str; 5] = ["etc", "run", "usr/local/lib", "usr/lib", "lib"];

/// The names that distributions give an initramfs, in `/boot`.
fn names(release: &str) -> [PathBuf; 4] {
    [
        format!("/boot/initrd.img-{release}"),
        format!("/boot/initramfs-{release}.img"),
        format!("/boot/initrd-{release}"),
        format!("/boot/initramfs-{release}"),
    ]
    .map(PathBuf::from)
}

/// What is in the initramfs of a kernel; `own` is one that was named.
pub(super) fn read(root: &Root, release: &str, own: Option<&Path>) -> Initramfs {
    let mut looked = Vec::new();
    if let Some(path) = own {
        return unpack(&path.display().to_string(), std::fs::read(path), release);
    }
    for name in names(release) {
        let shown = root.outside(&name).display().to_string();
        match root.read(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => looked.push(shown),
            read => return unpack(&shown, read, release),
        }
    }
    Initramfs::Missing { looked }
}

fn unpack(file: &str, bytes: io::Result<Vec<u8>>, release: &str) -> Initramfs {
    let unreadable = |problem: String| Initramfs::Unreadable { file: file.to_owned(), problem };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => return unreadable(error.to_string()),
    };
    match Archive::read(&bytes, MOST) {
        Ok(archive) => Initramfs::Read(Box::new(contents(file, &archive, release))),
        Err(error) => unreadable(error.to_string()),
    }
}

/// A file in it: its path and contents.
type Named<'a> = (Vec<u8>, &'a [u8]);

/// What has a say in it.
fn contents(file: &str, archive: &Archive<'_>, release: &str) -> InitramfsContents {
    let mut contents = InitramfsContents { file: file.to_owned(), ..InitramfsContents::default() };
    // Of several files of one path the last one counts, which is what is left in these.
    let mut lists: BTreeMap<Vec<u8>, &[u8]> = BTreeMap::new();
    let mut configs: BTreeMap<Vec<u8>, BTreeMap<usize, Named<'_>>> = BTreeMap::new();
    let folder = format!("lib/modules/{release}/");
    for entry in archive.files() {
        let in_tree = entry.path.strip_prefix(b"usr/").unwrap_or(entry.path).starts_with(folder.as_bytes());
        let path = Path::new(OsStr::from_bytes(entry.path));
        if in_tree {
            if let Some(name) = module_name(path) {
                contents.modules.insert(name, path.display().to_string());
            }
            continue;
        }
        let base = entry.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        contents.udev |= matches!(base, b"systemd-udevd" | b"udevd") || entry.path.ends_with(b"bin/udevadm");
        if entry.path == b"conf/modules" || is_in(entry.path, "modules-load.d").is_some() {
            lists.insert(entry.path.to_vec(), entry.contents);
        }
        if let Some(rank) = is_in(entry.path, "modprobe.d") {
            configs.entry(base.to_vec()).or_default().insert(rank, (entry.path.to_vec(), entry.contents));
        }
    }
    let shown = |path: &[u8]| PathBuf::from(format!("{file}:{}", path.to_str_lossy()));
    for (path, text) in lists {
        contents.lists.extend(parse_listed(&shown(&path), text));
    }
    for (_, of_name) in configs {
        // Of one name the file of the first folder counts.
        if let Some((_, (path, text))) = of_name.into_iter().next() {
            contents.configs.push(Config::from_text(shown(&path), text.to_vec(), true));
        }
    }
    contents
}

/// The rank of the folder when `path` is a `*.conf` in a configuration folder of this name.
fn is_in(path: &[u8], folder: &str) -> Option<usize> {
    let name = path.strip_suffix(b".conf")?;
    MODPROBE.iter().position(|parent| {
        let rest = name.strip_prefix(format!("{parent}/{folder}/").as_bytes());
        rest.is_some_and(|rest| !rest.contains(&b'/'))
    })
}
