//! Folders and files in a root file system, which links cannot leave.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, readlinkat};

/// As many links as Linux follows in one path (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// A root file system.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// The root file system in the folder `path`.
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root { fd: openat(CWD, path, flags, Mode::empty())?, path: path.to_owned() })
    }

    /// The root file system in the folder `path`, which is made when it is not there.
    pub(super) fn open_or_make(path: &Path) -> io::Result<Root> {
        std::fs::create_dir_all(path)?;
        Root::open(path)
    }

    /// Opens `path`, which begins at the root, with `flags`. Absolute links begin at the root as well, and `..` of the root is the root.
    pub(super) fn open_at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.walk(path, flags, false)
    }

    /// Opens the folder `path`; makes it, and those above it, if it is not there.
    pub(super) fn open_or_make_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        self.walk(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, true)
    }

    fn walk(&self, path: &Path, flags: OFlags, make: bool) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if self.path == Path::new("/") && !make {
            return Ok(openat(&self.fd, path, flags, Mode::empty())?);
        }
        let names = |path: &[u8]| -> Vec<OsString> {
            let names = path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
            names.map(|name| OsStr::from_bytes(name).to_owned()).collect()
        };
        let mut rest: VecDeque<OsString> = names(path.as_os_str().as_bytes()).into();
        // The folders from the root (which is not among them) down to where we are.
        let mut above: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                above.pop();
                continue;
            }
            let here = above.last().unwrap_or(&self.fd);
            let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match openat(here, &name, look, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) if make => {
                    match mkdirat(here, &name, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    openat(here, &name, look, Mode::empty())?
                }
                found => found?,
            };
            if FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Symlink {
                links += 1;
                if links > MAX_LINKS {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = readlinkat(&found, "", Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    above.clear();
                }
                for name in names(&target).into_iter().rev() {
                    rest.push_front(name);
                }
            } else if rest.is_empty() {
                // Opened by its name in its folder and not as a link, it is what was looked at or at least in the same root.
                return Ok(openat(here, &name, flags | OFlags::NOFOLLOW, Mode::empty())?);
            } else {
                above.push(found);
            }
        }
        let here = above.last().unwrap_or(&self.fd);
        Ok(openat(here, ".", flags, Mode::empty())?)
    }
}

/// `bytes` as a path.
pub(super) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The bytes of `path`.
pub(super) fn bytes_of(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}
