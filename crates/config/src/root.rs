//! A folder that is `/` for whoever looks into it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A folder that stands for `/`.
///
/// Paths are taken as that system would: absolute ones begin at the root, relative ones too, symbolic links point to what they
/// would point to there, and `..` of the root is the root. Nothing outside is ever opened: the path is walked name by name,
/// each relative to the folder before, and links are followed by hand. The host's own `/` is a root as well ([`Root::host`]); there
/// the kernel walks, and relative paths begin at the working folder.
#[derive(Debug)]
pub struct Root {
    /// `None` is the host's.
    folder: Option<(PathBuf, OwnedFd)>,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderEntry {
    /// The name.
    pub name: OsString,
    /// What it is, links not followed; `Unknown` where the file system does not say.
    pub kind: FileType,
}

/// As many links as Linux follows in one path.
const MOST_LINKS: u32 = 40;

const TO_FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const TO_READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl Root {
    /// The system that runs.
    #[must_use]
    pub fn host() -> Root {
        Root { folder: None }
    }

    /// The folder `path` as a root. `/` is [`Root::host`].
    ///
    /// # Errors
    /// The folder cannot be opened.
    pub fn new(path: &Path) -> io::Result<Root> {
        if path.has_root() && path.components().all(|part| part == Component::RootDir) {
            return Ok(Root::host());
        }
        let folder = rustix::fs::open(path, TO_FOLDER, Mode::empty())?;
        Ok(Root { folder: Some((path.to_owned(), folder)) })
    }

    /// Whether this is the system that runs.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.folder.is_none()
    }

    /// How one would name `path` from outside: for messages, and for programs that know no root.
    #[must_use]
    pub fn outside(&self, path: &Path) -> PathBuf {
        match &self.folder {
            None => path.to_owned(),
            Some((root, _)) => {
                let mut whole = root.clone();
                whole.extend(path.components().filter(|part| *part != Component::RootDir));
                whole
            }
        }
    }

    /// Opens a file for reading. Does not wait for the other side of a pipe.
    ///
    /// # Errors
    /// As open(2); `ELOOP` for too many links.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        Ok(self.open_with(path, TO_READ | OFlags::NONBLOCK, Mode::empty())?.into())
    }

    /// Opens a file for reading, and waits for whoever writes into it when it is a pipe.
    ///
    /// # Errors
    /// As open(2); `ELOOP` for too many links.
    pub fn open_waiting(&self, path: &Path) -> io::Result<File> {
        Ok(self.open_with(path, TO_READ, Mode::empty())?.into())
    }

    /// Opens a folder, for calls relative to it.
    ///
    /// # Errors
    /// As open(2).
    pub fn open_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        Ok(self.open_with(path, TO_READ | OFlags::DIRECTORY, Mode::empty())?)
    }

    /// Opens whatever is at `path` with flags of open(2), and with `mode` if that makes the file. A last name that is a link is
    /// followed, unless the flags have `NOFOLLOW`, or `CREATE` with `EXCL`.
    ///
    /// # Errors
    /// As open(2); `ELOOP` for too many links.
    pub fn open_with(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        match &self.folder {
            None => rustix::fs::openat(CWD, path, flags, mode),
            Some((_, root)) => walk(root.as_fd(), path, flags, mode),
        }
    }

    /// All bytes of a file.
    ///
    /// # Errors
    /// As open(2) and read(2).
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = self.open(path)?;
        // One byte more than there is, so that one call sees the end.
        let length = file.metadata().map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(0));
        let mut bytes = Vec::new();
        bytes.try_reserve(length.saturating_add(1)).map_err(|_| Errno::NOMEM)?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What stat(2) says of a file, links followed.
    ///
    /// # Errors
    /// As stat(2).
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        match &self.folder {
            None => std::fs::metadata(path),
            Some(_) => File::from(self.open_with(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?).metadata(),
        }
    }

    /// The names in a folder, in the order in which the kernel gives them, without `.` and `..`.
    ///
    /// # Errors
    /// As open(2) and getdents(2).
    pub fn entries(&self, path: &Path) -> io::Result<Vec<FolderEntry>> {
        let folder = self.open_with(path, TO_READ | OFlags::DIRECTORY | OFlags::NONBLOCK, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in Dir::new(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                entries.push(FolderEntry { name: OsStr::from_bytes(name).to_owned(), kind: entry.file_type() });
            }
        }
        Ok(entries)
    }
}

/// A part of a path that is still to be walked.
enum Step {
    Name(OsString),
    Up,
    Root,
    /// The end of a path that can only be a folder: `a/`, `a/.`.
    Here,
}

fn steps(path: &OsStr) -> VecDeque<Step> {
    let path = path.as_bytes();
    let root = path.starts_with(b"/").then_some(Step::Root);
    let parts = path.split(|&byte| byte == b'/').filter_map(|part| match part {
        b"" | b"." => None,
        b".." => Some(Step::Up),
        name => Some(Step::Name(OsStr::from_bytes(name).to_owned())),
    });
    let here = (path.ends_with(b"/") || path.ends_with(b"/.") || path == b".").then_some(Step::Here);
    root.into_iter().chain(parts).chain(here).collect()
}

/// Opens `path` under `root`, never leaving it.
fn walk(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    if path.as_os_str().is_empty() {
        return Err(Errno::NOENT);
    }
    // Going up means going back to a folder that was entered: `..` of the kernel could lead out when somebody moves folders.
    let mut entered: Vec<OwnedFd> = Vec::new();
    let mut left = steps(path.as_os_str());
    let mut links = 0;
    let follow = !flags.contains(OFlags::NOFOLLOW) && !flags.contains(OFlags::CREATE | OFlags::EXCL);
    while let Some(step) = left.pop_front() {
        let name = match step {
            Step::Root => {
                entered.clear();
                continue;
            }
            Step::Up => {
                entered.pop();
                continue;
            }
            Step::Here => continue,
            Step::Name(name) => name,
        };
        let here = entered.last().map_or(root, AsFd::as_fd);
        let last = left.is_empty();
        let opened = if last {
            open_last(here, &name, flags, mode)
        } else {
            rustix::fs::openat(here, &*name, TO_FOLDER | OFlags::NOFOLLOW, Mode::empty())
        };
        match opened {
            Ok(file) if last => return Ok(file),
            Ok(folder) => entered.push(folder),
            // What Linux says of a link here depends on the flags.
            Err(error @ (Errno::LOOP | Errno::NOTDIR)) if follow || !last => {
                let Ok(target) = rustix::fs::readlinkat(here, &*name, Vec::new()) else { return Err(error) };
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = OsString::from_vec(target.into_bytes());
                steps(&target).into_iter().rev().for_each(|step| left.push_front(step));
            }
            Err(error) => return Err(error),
        }
    }
    // The path, or its last link, can only be a folder: it ends in `/`, `.` or `..`.
    let here = entered.last().map_or(root, AsFd::as_fd);
    rustix::fs::openat(here, c".", flags - OFlags::CREATE - OFlags::EXCL, mode)
}

/// Opens the last name of a path: `ELOOP` when it is a link.
fn open_last(here: BorrowedFd<'_>, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let file = rustix::fs::openat(here, name, flags | OFlags::NOFOLLOW, mode)?;
    // O_PATH with O_NOFOLLOW opens the link itself.
    if flags.contains(OFlags::PATH)
        && !flags.contains(OFlags::NOFOLLOW)
        && FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::Symlink
    {
        return Err(Errno::LOOP);
    }
    Ok(file)
}
