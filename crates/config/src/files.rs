//! Which files are read, and in which order.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::{Problem, Root, Warning};

/// Where configuration is looked for when nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Folders {
    /// The folders of kmod since 32: `/etc`, `/run`, `/usr/local/lib`, `/usr/lib` and `/lib`; files in `*.conf`.
    #[default]
    Kmod34,
    /// The folders of kmod 30: without `/usr/lib`; files in `*.conf` and, for modprobe, `*.alias`.
    Kmod30,
}

impl Folders {
    /// The folders, the most important first. `name` is `modprobe.d` or `depmod.d`.
    pub fn list(self, name: &str) -> impl Iterator<Item = PathBuf> {
        let parents = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];
        parents
            .into_iter()
            .filter(move |&parent| self == Folders::Kmod34 || parent != "/usr/lib")
            .map(move |parent| Path::new(parent).join(name))
    }
}

/// What a configuration is read from.
#[derive(Debug, Clone)]
pub struct Sources<'a> {
    /// Where the folders are looked for.
    pub root: &'a Root,
    /// The list of folders.
    pub folders: Folders,
    /// What `-C` named: files or folders that are read instead of the folders. They are the caller's words and not looked
    /// for in the root. `None` when there was no `-C`.
    pub paths: Option<&'a [PathBuf]>,
    /// The folder of the kernel's modules, and the root that it is in: its `modules.softdep` and `modules.weakdep` are sorted in
    /// with the rest.
    pub tree: Option<(&'a Root, &'a Path)>,
    /// The text of `/proc/cmdline`, if it counts. It does not count for a root other than `/`.
    pub command_line: Option<&'a [u8]>,
}

/// A file that has a say.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    path: PathBuf,
    /// Where the path is looked for; `None` is where the caller stands.
    root: Option<&'a Root>,
    /// Whether it was found in a folder, and not named itself: then it must be a regular file.
    listed: bool,
}

/// The bytes of a file, and what is known about it.
#[derive(Debug)]
pub(crate) struct Text {
    /// The file, named from outside of the root.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    /// Whether commands from it may be run.
    pub(crate) trusted: bool,
}

/// No configuration is this large; what is, is no configuration.
const MOST_BYTES: u64 = 64 << 20;

/// The files of modprobe.d in the order in which they count.
pub(crate) fn modprobe_files<'a>(sources: &Sources<'a>, warnings: &mut Vec<Warning>) -> Vec<Candidate<'a>> {
    let endings: &[&str] = match sources.folders {
        Folders::Kmod34 => &[".conf"],
        Folders::Kmod30 => &[".conf", ".alias"],
    };
    let mut found = Found { files: BTreeMap::new(), endings, warnings };
    found.search(sources.root, sources.folders, "modprobe.d", sources.paths);
    if let Some((root, tree)) = sources.tree {
        let names: &[&str] = match sources.folders {
            Folders::Kmod34 => &["modules.softdep", "modules.weakdep"],
            Folders::Kmod30 => &["modules.softdep"],
        };
        for name in names {
            found.add(OsStr::new(name), Candidate { path: tree.join(name), root: Some(root), listed: false });
        }
    }
    found.files.into_values().collect()
}

/// The files of depmod.d in the order in which they count.
pub(crate) fn depmod_files<'a>(
    root: &'a Root,
    folders: Folders,
    paths: Option<&[PathBuf]>,
    warnings: &mut Vec<Warning>,
) -> Vec<Candidate<'a>> {
    let mut found = Found { files: BTreeMap::new(), endings: &[".conf"], warnings };
    found.search(root, folders, "depmod.d", paths);
    found.files.into_values().collect()
}

/// The files of modules-load.d in the order in which they count.
pub(crate) fn modules_load_files<'a>(
    root: &'a Root,
    folders: Folders,
    warnings: &mut Vec<Warning>,
) -> Vec<Candidate<'a>> {
    let mut found = Found { files: BTreeMap::new(), endings: &[".conf"], warnings };
    found.search(root, folders, "modules-load.d", None);
    found.files.into_values().collect()
}

impl<'a> Candidate<'a> {
    /// A file that is named and not found in a folder.
    pub(crate) fn named(root: &'a Root, path: &Path) -> Candidate<'a> {
        Candidate { path: path.to_owned(), root: Some(root), listed: false }
    }
}

/// The files found so far. Of one name the first counts; all are read in the order of their names.
struct Found<'a, 'w> {
    files: BTreeMap<OsString, Candidate<'a>>,
    endings: &'w [&'w str],
    warnings: &'w mut Vec<Warning>,
}

impl<'a> Found<'a, '_> {
    fn add(&mut self, name: &OsStr, candidate: Candidate<'a>) {
        // The order of OsString is that of its bytes, which is that of strcmp.
        self.files.entry(name.to_owned()).or_insert(candidate);
    }

    fn search(&mut self, root: &'a Root, folders: Folders, name: &str, paths: Option<&[PathBuf]>) {
        match paths {
            Some(paths) => {
                for path in paths {
                    self.visit(None, path);
                }
            }
            None => {
                for folder in folders.list(name) {
                    self.visit(Some(root), &folder);
                }
            }
        }
    }

    /// Takes a folder's files, or a file.
    fn visit(&mut self, place: Option<&'a Root>, path: &Path) {
        let host = Root::host();
        let root = place.unwrap_or(&host);
        let entries = match root.entries(path) {
            Ok(entries) => entries,
            // It is a file, or is not there.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTDIR) => {
                if let Some(name) = path.file_name()
                    && root.metadata(path).is_ok()
                {
                    self.add(name, Candidate { path: path.to_owned(), root: place, listed: false });
                }
                return;
            }
            Err(error) => return self.unreadable(root.outside(path), &error),
        };
        for entry in entries {
            let name = entry.name.as_bytes();
            if name.starts_with(b".") || !self.endings.iter().any(|ending| name.ends_with(ending.as_bytes())) {
                continue;
            }
            let file = path.join(&entry.name);
            // Most file systems say what it is; only links need a look behind them.
            let kind = match entry.kind {
                FileType::Symlink | FileType::Unknown => match root.metadata(&file) {
                    Ok(metadata) => FileType::from_raw_mode(metadata.mode()),
                    Err(error) => {
                        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                        self.warn(root.outside(&file), Problem::Stat(errno));
                        continue;
                    }
                },
                kind => kind,
            };
            match kind {
                FileType::Directory => self.warn(root.outside(&file), Problem::Folder),
                // A link to /dev/null is how one takes a file of this name out of force, so the name is taken.
                _ => self.add(&entry.name, Candidate { path: file, root: place, listed: true }),
            }
        }
    }

    fn unreadable(&mut self, path: PathBuf, error: &io::Error) {
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        if errno != Errno::NOENT {
            self.warn(path, Problem::Unreadable(errno));
        }
    }

    fn warn(&mut self, file: PathBuf, problem: Problem) {
        self.warnings.push(Warning::of_file(file, problem));
    }
}

/// Reads a file. `None` when it says nothing: it has gone, is a device, or cannot be read, which makes a warning.
pub(crate) fn read(candidate: &Candidate<'_>, warnings: &mut Vec<Warning>) -> Option<Text> {
    let host = Root::host();
    let root = candidate.root.unwrap_or(&host);
    let path = root.outside(&candidate.path);
    match read_text(root, candidate) {
        Ok(Some((bytes, trusted))) => Some(Text { path, bytes, trusted }),
        Ok(None) => None,
        Err(Problem::Unreadable(Errno::NOENT)) => None,
        Err(problem) => {
            warnings.push(Warning::of_file(path, problem));
            None
        }
    }
}

fn read_text(root: &Root, candidate: &Candidate<'_>) -> Result<Option<(Vec<u8>, bool)>, Problem> {
    let unreadable = |error: io::Error| Problem::Unreadable(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    // Opening a pipe that somebody left in the folder must not wait for a writer. A pipe that was named is wanted.
    let file = if candidate.listed { root.open(&candidate.path) } else { root.open_waiting(&candidate.path) };
    let file = file.map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    match FileType::from_raw_mode(metadata.mode()) {
        _ if !candidate.listed => {}
        FileType::RegularFile => {}
        // As a rule /dev/null, which has nothing to say.
        FileType::CharacterDevice => return Ok(None),
        _ => return Err(Problem::Special),
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(MOST_BYTES)).unwrap_or_default() + 1);
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Problem::Unreadable(Errno::FBIG));
    }
    Ok(Some((bytes, root.is_host() && trusted(metadata.uid(), metadata.mode()))))
}

/// Whether commands of a file of the system that runs with this owner and mode may be run by the caller.
fn trusted(owner: u32, mode: u32) -> bool {
    (owner == 0 || owner == rustix::process::geteuid().as_raw()) && mode & 0o002 == 0
}
