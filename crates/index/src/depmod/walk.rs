//! Which files are the modules of a tree.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};

use super::events::Event;
use super::options::{Options, Search};
use super::root::{Root, bytes_of, path_of};

/// The endings of module files.
pub(super) const ENDINGS: [&[u8]; 4] = [b".ko", b".ko.gz", b".ko.xz", b".ko.zst"];

/// What tells one state of a file from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// When the contents changed last, in nanoseconds.
    pub(super) modified: i128,
    /// When anything about the file changed last, in nanoseconds.
    pub(super) changed: i128,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Identity {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        #[expect(clippy::unnecessary_cast, reason = "the types of these fields differ between architectures")]
        Identity {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    pub(super) fn of_file(file: impl AsFd) -> io::Result<Identity> {
        Ok(Identity::of(&fstat(file)?))
    }
}

/// A module's file.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// How many files were found before it.
    pub(super) number: usize,
    /// The module's name, with `_` for `-`.
    pub(super) name: Vec<u8>,
    /// The file, in the tree, or absolute in the root when it is not in the tree.
    pub(super) path: Vec<u8>,
    /// The file as it was seen.
    pub(super) identity: Identity,
    /// Whether its path goes through a link.
    pub(super) linked: bool,
    /// Whether the path is one of the host's, named by the user, and not in the root.
    pub(super) host: bool,
}

/// The tree while its modules are looked for, and the folders that were seen.
pub(super) struct Tree {
    pub(super) root: Root,
    /// The folder of the tree.
    pub(super) folder: OwnedFd,
    /// The same, in the root: `/lib/modules/RELEASE`.
    pub(super) path: PathBuf,
    /// Every folder that was read, and how it was then.
    seen: Mutex<Vec<(Vec<u8>, Identity, bool)>>,
}

/// The module's name by its file's: everything up to the first dot, with `_` for `-`. `None` when no module's file is named so.
pub(super) fn name_of(file: &[u8]) -> Option<Vec<u8>> {
    let stem = ENDINGS.iter().find_map(|ending| file.strip_suffix(*ending))?;
    // A file that begins with its ending has no name.
    if stem.is_empty() {
        return None;
    }
    Some(self::stem(stem))
}

/// What stands before the first dot, with `_` for `-`.
pub(super) fn stem(file: &[u8]) -> Vec<u8> {
    file.iter().take_while(|&&byte| byte != b'.').map(|&byte| if byte == b'-' { b'_' } else { byte }).collect()
}

/// The bytes behind the last slash.
pub(super) fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

impl Tree {
    /// Opens the tree that `options` names.
    pub(super) fn open(options: &Options<'_>) -> io::Result<Tree> {
        let root = Root::open(&options.root)?;
        let path = options.tree();
        let folder = root.open_at(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Tree { root, folder, path, seen: Mutex::default() })
    }

    fn seen(&self) -> MutexGuard<'_, Vec<(Vec<u8>, Identity, bool)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a file of the tree (or of the root, when `path` is absolute). Whoever opened it knows that no link leads out of the root.
    pub(super) fn open_file(&self, path: &[u8], linked: bool) -> io::Result<OwnedFd> {
        // A pipe would be waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if linked || path.starts_with(b"/") {
            self.root.open_at(&self.path.join(path_of(path)), flags)
        } else {
            Ok(openat(&self.folder, path_of(path), flags | OFlags::NOFOLLOW, Mode::empty())?)
        }
    }

    /// Opens the file of a module.
    pub(super) fn open_module(&self, found: &Found) -> io::Result<OwnedFd> {
        if found.host {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            return Ok(openat(CWD, path_of(&found.path), flags, Mode::empty())?);
        }
        self.open_file(&found.path, found.linked)
    }

    /// The contents of a file of the tree, when it is there.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = std::fs::File::from(self.open_file(name.as_bytes(), true)?);
        io::Read::read_to_end(&mut file, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether a folder was changed since it was read.
    pub(super) fn changed(&self) -> bool {
        self.seen().iter().any(|(path, before, linked)| {
            let now = if *linked || path.starts_with(b"/") {
                self.root
                    .open_at(&self.path.join(path_of(path)), OFlags::PATH | OFlags::DIRECTORY)
                    .and_then(|folder| Identity::of_file(&folder))
            } else {
                let name = if path.is_empty() { &b"."[..] } else { path };
                statat(&self.folder, path_of(name), AtFlags::SYMLINK_NOFOLLOW)
                    .map(|stat| Identity::of(&stat))
                    .map_err(io::Error::from)
            };
            // Our own temporaries change the time of the folder they are in; that of the tree is looked at by what it held.
            !path.is_empty() && now.ok() != Some(*before)
        })
    }
}

/// The modules of a tree: one file a name.
pub(super) struct Modules<'a> {
    options: &'a Options<'a>,
    tree: &'a Tree,
    observe: &'a mut dyn FnMut(Event<'_>),
    /// Told about every file that is found, of those too that do not count in the end.
    tell: &'a mut dyn FnMut(&Found),
    /// How many that were.
    told: usize,
    pub(super) found: Vec<Found>,
    by_name: HashMap<Vec<u8>, usize>,
    /// When the newest of all module files was changed, of those too that do not count; in nanoseconds.
    pub(super) newest: i128,
}

/// What is left to do in a folder.
struct Folder {
    path: Vec<u8>,
    linked: bool,
    entries: std::vec::IntoIter<(CString, FileType)>,
    /// The device and inode of the folder, to tell when links lead back to it.
    place: (u64, u64),
}

impl<'a> Modules<'a> {
    pub(super) fn new(
        options: &'a Options<'a>,
        tree: &'a Tree,
        observe: &'a mut dyn FnMut(Event<'_>),
        tell: &'a mut dyn FnMut(&Found),
    ) -> Modules<'a> {
        let (found, by_name) = (Vec::new(), HashMap::new());
        Modules { options, tree, observe, tell, told: 0, found, by_name, newest: i128::MIN }
    }

    /// Looks in the whole tree, and in the folders outside it that the configuration searches.
    pub(super) fn search(&mut self) -> io::Result<()> {
        self.walk(Vec::new())?;
        if self.options.search.contains(&Search::External) {
            for folder in &self.options.external {
                if let Err(error) = self.walk(bytes_of(folder.clone())) {
                    (self.observe)(Event::ExternalUnreadable { path: folder, error: &error });
                }
            }
        }
        Ok(())
    }

    /// Takes one file, whatever it is named. A file that is not in the tree is opened where the host has it.
    pub(super) fn file(&mut self, path: &Path) -> io::Result<()> {
        let inside = path.strip_prefix(self.options.tree_folder()).ok().map(Path::to_owned);
        let host = inside.is_none();
        let path = bytes_of(inside.unwrap_or_else(|| path.to_owned()));
        let name = stem(base(&path));
        let mut found = Found { number: self.told, name, path, identity: Identity::default(), linked: !host, host };
        found.identity = Identity::of_file(self.tree.open_module(&found)?)?;
        if self.by_name.contains_key(&found.name) {
            return Err(rustix::io::Errno::EXIST.into());
        }
        self.by_name.insert(found.name.clone(), self.found.len());
        self.tell(&found);
        self.found.push(found);
        Ok(())
    }

    fn open_folder(&mut self, path: Vec<u8>, linked: bool) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = if path.is_empty() {
            openat(&self.tree.folder, ".", flags, Mode::empty())?
        } else if linked || path.starts_with(b"/") {
            self.tree.root.open_at(&self.tree.path.join(path_of(&path)), flags)?
        } else {
            openat(&self.tree.folder, path_of(&path), flags | OFlags::NOFOLLOW, Mode::empty())?
        };
        let identity = Identity::of_file(&folder)?;
        let mut entries = Vec::new();
        for entry in Dir::new(folder)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                entries.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        self.tree.seen().push((path.clone(), identity, linked));
        Ok(Folder { path, linked, entries: entries.into_iter(), place: (identity.device, identity.inode) })
    }

    /// Looks in a folder and in those below it, in the order in which the file system lists them.
    fn walk(&mut self, start: Vec<u8>) -> io::Result<()> {
        let first = self.open_folder(start, false)?;
        let mut path = vec![first];
        while let Some(folder) = path.last_mut() {
            let Some((name, kind)) = folder.entries.next() else {
                path.pop();
                continue;
            };
            let bytes = name.to_bytes();
            if matches!(bytes, b"build" | b"source") || self.options.exclude.iter().any(|excluded| excluded == bytes) {
                continue;
            }
            let (linked, mut full) = (folder.linked, folder.path.clone());
            if !full.is_empty() && !full.ends_with(b"/") {
                full.push(b'/');
            }
            full.extend_from_slice(bytes);
            let Some((linked, kind, stat)) = self.look(&full, linked, kind) else {
                continue;
            };
            match kind {
                FileType::Directory => match self.open_folder(full.clone(), linked) {
                    Ok(below) => {
                        // Only links lead to a folder that one is in already.
                        if linked && path.iter().any(|above| above.place == below.place) {
                            (self.observe)(Event::FolderLoop { path: &self.options.full(&full) });
                        } else {
                            path.push(below);
                        }
                    }
                    Err(error) => {
                        (self.observe)(Event::FolderUnreadable { path: &self.options.full(&full), error: &error });
                    }
                },
                FileType::RegularFile => {
                    if let (Some(stat), Some(name)) = (stat, name_of(bytes)) {
                        let identity = Identity::of(&stat);
                        self.add(Found { number: self.told, name, path: full, identity, linked, host: false });
                    }
                }
                kind => {
                    (self.observe)(Event::Unsupported { path: &self.options.full(&full), kind: kind.as_raw_mode() })
                }
            }
        }
        Ok(())
    }

    /// What stands at `path`: whether a link leads there, what it is, and for files that may be modules everything.
    fn look(&mut self, path: &[u8], linked: bool, kind: FileType) -> Option<(bool, FileType, Option<Stat>)> {
        let module = || name_of(base(path)).is_some();
        match kind {
            FileType::Directory if !linked => return Some((false, kind, None)),
            FileType::RegularFile if !module() => return Some((linked, kind, None)),
            _ => {}
        }
        let tree = self.tree;
        let stat = if linked || path.starts_with(b"/") || kind == FileType::Symlink {
            tree.root.open_at(&tree.path.join(path_of(path)), OFlags::PATH).and_then(|file| Ok((true, fstat(file)?)))
        } else {
            match statat(&tree.folder, path_of(path), AtFlags::SYMLINK_NOFOLLOW) {
                // File systems that do not tell the kind when they list a folder.
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => tree
                    .root
                    .open_at(&tree.path.join(path_of(path)), OFlags::PATH)
                    .and_then(|file| Ok((true, fstat(file)?))),
                Ok(stat) => Ok((linked, stat)),
                Err(error) => Err(error.into()),
            }
        };
        match stat {
            Ok((linked, stat)) => Some((linked, FileType::from_raw_mode(stat.st_mode), Some(stat))),
            Err(error) => {
                (self.observe)(Event::EntryUnreadable { path: &self.options.full(path), error: &error });
                None
            }
        }
    }

    /// Takes a file, if it counts more than the one of the same name that was found before.
    fn add(&mut self, new: Found) {
        self.newest = self.newest.max(new.identity.modified);
        let Some(&at) = self.by_name.get(&new.name) else {
            self.by_name.insert(new.name.clone(), self.found.len());
            self.tell(&new);
            self.found.push(new);
            return;
        };
        let Some(old) = self.found.get_mut(at) else {
            return;
        };
        if rank(self.options, &new, None) < rank(self.options, old, Some(&new)) {
            *old = new.clone();
            self.tell(&new);
        }
    }

    fn tell(&mut self, found: &Found) {
        self.told += 1;
        (self.tell)(found);
    }
}

/// How much a file counts among those of its name: the smallest is taken.
///
/// `new` is the file that was found after `file`. Where a folder of `search` holds both, the new one counts as in that folder, and
/// the one before as if it were not in it. That is kmod's way: within such a folder the file that is found last is taken, everywhere
/// else the one that is found first.
fn rank(options: &Options<'_>, file: &Found, new: Option<&Found>) -> (usize, usize) {
    let holds = |folder: &[u8], file: &Found| {
        let folder = if folder == b"/" { b"" } else { folder };
        file.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
    };
    let inside = |folder: &[u8]| holds(folder, file);
    let absolute = file.path.starts_with(b"/");
    let overrides = |entry: &super::Override| {
        let rest = file.path.strip_prefix(entry.folder.as_slice()).and_then(|rest| rest.strip_prefix(b"/"));
        rest.and_then(|rest| rest.strip_prefix(entry.module.as_slice())).is_some_and(|rest| rest.starts_with(b"."))
    };
    if !absolute && let Some(place) = options.overrides.iter().rev().position(overrides) {
        return (place, 0);
    }
    let base = options.overrides.len();
    let default = [Search::Folder(b"updates".to_vec()), Search::BuiltIn];
    let search = if options.search.is_empty() { &default[..] } else { &options.search };
    let matching = search.iter().enumerate().find_map(|(place, word)| match word {
        Search::Folder(folder) if !absolute && inside(folder) && !new.is_some_and(|new| holds(folder, new)) => {
            Some((base + place, 0))
        }
        Search::External if absolute => {
            let which = options.external.iter().position(|folder| inside(folder.as_os_str().as_encoded_bytes()))?;
            Some((base + place, which))
        }
        _ => None,
    });
    let built_in = || search.iter().position(|word| *word == Search::BuiltIn).filter(|_| !absolute);
    matching.or_else(|| built_in().map(|place| (base + place, 0))).unwrap_or((usize::MAX, 0))
}
