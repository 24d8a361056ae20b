//! The files of the machine: `/proc`, `/sys`, `/dev`, debugfs.
//!
//! Two kinds of content live in one tree. Static nodes are added and removed one by one (what a module creates under `/proc` or
//! debugfs). Providers answer for a whole directory from live data (`/sys/module`), so that a load costs nothing for files
//! nobody reads.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Kernel;
use crate::lock::Lock;
use crate::text::Errno;

mod memory;
mod open;
mod standard;

pub use memory::Content;
pub use open::{ALWAYS_READY, Descriptors, IoctlArgument, OpenFile, Whole};
pub(crate) use standard::mount as mount_standard;

/// The bits of a mode that say what kind of file it is.
pub const S_IFMT: u32 = 0o170_000;
/// `S_IFREG`
const REGULAR: u32 = 0o100_000;

/// What can be done with a file.
pub trait FileOperations: Send + Sync {
    /// The whole content.
    ///
    /// # Errors
    /// What reading answers; `EIO` when it cannot be read at all.
    fn read(&self) -> Result<Vec<u8>, Errno>;

    /// Writes; how many bytes were taken.
    ///
    /// # Errors
    /// What writing answers.
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno>;

    /// What kind of file it is, as `st_mode` has it.
    fn kind(&self) -> u32 {
        REGULAR
    }

    /// Opens it with the flags of `open(2)`; `None` for a file that knows no more than its whole content.
    fn open(&self, _flags: u32) -> Option<Result<Box<dyn OpenFile>, Errno>> {
        None
    }
}

/// What a path leads to.
#[derive(Clone)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file with its permission bits.
    File(u16, Arc<dyn FileOperations>),
    /// A symbolic link.
    Link(String),
}

impl core::fmt::Debug for Node {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Node::Directory => f.write_str("Directory"),
            Node::File(mode, _) => write!(f, "File({mode:o})"),
            Node::Link(target) => write!(f, "Link({target})"),
        }
    }
}

/// Answers for everything below one directory.
pub trait Provider: Send + Sync {
    /// The node at `path`, relative to the directory, without slashes at its ends; empty for the directory itself.
    fn node(&self, path: &str) -> Option<Node>;

    /// The names in the directory `path`.
    fn list(&self, path: &str) -> Option<Vec<String>>;

    /// Type and permissions as `st_mode` has them, where they are more than [`Provider::node`] says.
    fn mode(&self, _path: &str) -> Option<u32> {
        None
    }
}

#[derive(Default)]
struct Tree {
    nodes: BTreeMap<String, Node>,
    providers: BTreeMap<String, Arc<dyn Provider>>,
}

/// The tree of files. Paths are absolute, with single slashes.
#[derive(Default)]
pub struct Files(Lock<Tree>);

impl core::fmt::Debug for Files {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.0.lock().nodes.keys()).finish()
    }
}

/// So many links are followed on the way to a file (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;

fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn normal(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        out.push('/');
        out.push_str(part);
    }
    out
}

impl Files {
    /// Adds a node. Missing directories above it are not made.
    ///
    /// # Errors
    /// `EEXIST` when the path is taken, `ENOENT` when the directory above is missing.
    pub fn add(&self, path: &str, node: Node) -> Result<(), Errno> {
        let path = normal(path);
        let mut tree = self.0.lock();
        if tree.nodes.contains_key(&path) || path.is_empty() {
            return Err(Errno::EEXIST);
        }
        let parent = parent_of(&path);
        if !parent.is_empty() && !matches!(tree.nodes.get(parent), Some(Node::Directory)) {
            return Err(Errno::ENOENT);
        }
        tree.nodes.insert(path, node);
        Ok(())
    }

    /// Makes a directory and those above it.
    pub fn make_directories(&self, path: &str) {
        let path = normal(path);
        let mut tree = self.0.lock();
        let ends = path.match_indices('/').skip(1).map(|(end, _)| end).chain([path.len()]);
        for end in ends.filter(|&end| end > 0) {
            tree.nodes.entry(path[..end].into()).or_insert(Node::Directory);
        }
    }

    /// Removes a node and all below it; whether it was there.
    pub fn remove(&self, path: &str) -> bool {
        let path = normal(path);
        let mut tree = self.0.lock();
        let below: Vec<String> = tree
            .nodes
            .range(path.clone()..)
            .take_while(|(other, _)| other.starts_with(&path))
            .filter(|(other, _)| other.len() == path.len() || other.as_bytes()[path.len()] == b'/')
            .map(|(other, _)| other.clone())
            .collect();
        for other in &below {
            tree.nodes.remove(other);
        }
        !below.is_empty()
    }

    /// Moves a node and all below it.
    ///
    /// # Errors
    /// `ENOENT` without the node or the directory it is to be in, `EEXIST` when the new path is taken.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let (from, to) = (normal(from), normal(to));
        let mut tree = self.0.lock();
        if tree.nodes.contains_key(&to) {
            return Err(Errno::EEXIST);
        }
        if !matches!(tree.nodes.get(parent_of(&to)), Some(Node::Directory)) || !tree.nodes.contains_key(&from) {
            return Err(Errno::ENOENT);
        }
        let moved: Vec<String> = tree
            .nodes
            .range(from.clone()..)
            .take_while(|(other, _)| other.starts_with(&from))
            .filter(|(other, _)| other.len() == from.len() || other.as_bytes()[from.len()] == b'/')
            .map(|(other, _)| other.clone())
            .collect();
        for old in moved {
            if let Some(node) = tree.nodes.remove(&old) {
                let new = [to.as_str(), &old[from.len()..]].concat();
                tree.nodes.insert(new, node);
            }
        }
        Ok(())
    }

    /// Lets `provider` answer for everything below `path`.
    pub fn mount(&self, path: &str, provider: Arc<dyn Provider>) {
        self.make_directories(path);
        self.0.lock().providers.insert(normal(path), provider);
    }

    /// Nobody answers for what is below `path` any more; who did.
    pub fn unmount(&self, path: &str) -> Option<Arc<dyn Provider>> {
        self.0.lock().providers.remove(&normal(path))
    }

    fn provider(&self, path: &str) -> Option<(Arc<dyn Provider>, String)> {
        let tree = self.0.lock();
        tree.providers.iter().find_map(|(root, provider)| {
            let rest = path.strip_prefix(root.as_str())?;
            (rest.is_empty() || rest.starts_with('/'))
                .then(|| (Arc::clone(provider), rest.trim_start_matches('/').into()))
        })
    }

    /// The node at `path`; no links are followed.
    pub fn node(&self, path: &str) -> Option<Node> {
        let path = normal(path);
        if path.is_empty() {
            return Some(Node::Directory);
        }
        if let Some((provider, rest)) = self.provider(&path) {
            return provider.node(&rest);
        }
        self.0.lock().nodes.get(&path).cloned()
    }

    /// The path without links in it; the last part may stay one unless `last` says that it is followed too.
    ///
    /// # Errors
    /// `ELOOP` when links lead in circles.
    fn resolve(&self, path: &str, last: bool) -> Result<String, Errno> {
        let direct = normal(path);
        // What is found at once has no link above it.
        match self.node(&direct) {
            Some(Node::Link(_)) if last => (),
            Some(_) => return Ok(direct),
            None => (),
        }
        let mut parts: Vec<String> = path.split('/').rev().map(Into::into).collect();
        let mut out = String::new();
        let mut links = 0;
        while let Some(part) = parts.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    out.truncate(out.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => (),
            }
            let next = alloc::format!("{out}/{part}");
            let is_last = parts.iter().all(|part| part.is_empty());
            match self.node(&next) {
                Some(Node::Link(target)) if last || !is_last => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    if target.starts_with('/') {
                        out.clear();
                    }
                    parts.extend(target.split('/').rev().map(Into::into));
                }
                _ => out = next,
            }
        }
        Ok(out)
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// `ENOENT` without such a path, `ENOTDIR` when it is not a directory.
    pub fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let path = self.resolve(path, true)?;
        match self.node(&path) {
            None => return Err(Errno::ENOENT),
            Some(Node::Directory) => (),
            Some(_) => return Err(Errno::ENOTDIR),
        }
        if let Some((provider, rest)) = self.provider(&path) {
            return provider.list(&rest).ok_or(Errno::ENOENT);
        }
        let tree = self.0.lock();
        let mut names: Vec<String> = tree
            .nodes
            .keys()
            .filter(|other| parent_of(other) == path)
            .map(|other| other[path.len() + 1..].into())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Type and permissions of what is at `path`, as `st_mode` has them; a link there is not followed.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn mode(&self, path: &str) -> Result<u32, Errno> {
        let path = self.resolve(path, false)?;
        if let Some(mode) = self.provider(&path).and_then(|(provider, rest)| provider.mode(&rest)) {
            return Ok(mode);
        }
        // stat(2): S_IFDIR, S_IFREG, S_IFLNK.
        Ok(match self.node(&path).ok_or(Errno::ENOENT)? {
            Node::Directory => 0o040_755,
            Node::File(mode, file) => file.kind() | u32::from(mode),
            Node::Link(_) => 0o120_777,
        })
    }

    fn file(&self, path: &str) -> Result<(u16, Arc<dyn FileOperations>), Errno> {
        match self.node(&self.resolve(path, true)?).ok_or(Errno::ENOENT)? {
            Node::File(mode, operations) => Ok((mode, operations)),
            Node::Directory => Err(Errno::EISDIR),
            Node::Link(_) => Err(Errno::ELOOP),
        }
    }

    /// Makes a file that is not there, below the one directory where programs have theirs.
    fn make(&self, path: &str) -> Result<(), Errno> {
        /// Where that is.
        const OWN: &str = "/tmp/";
        let path = self.resolve(path, true)?;
        if !path.starts_with(OWN) {
            return Err(Errno::ENOENT);
        }
        self.add(&path, Node::File(0o600, Arc::new(Content::new(&path))))
    }

    /// Opens a file with the flags of `open(2)`; below `/tmp` it is made when they say so.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EEXIST`, or what the file answers.
    pub fn open(&self, path: &str, flags: u32) -> Result<Box<dyn OpenFile>, Errno> {
        /// `O_CREAT`, `O_EXCL`
        const CREATE: u32 = 0o100;
        const EXCLUSIVE: u32 = 0o200;
        let (_, file) = match self.file(path) {
            Err(Errno::ENOENT) if flags & CREATE != 0 => self.make(path).and_then(|()| self.file(path))?,
            Ok(_) if flags & CREATE != 0 && flags & EXCLUSIVE != 0 => return Err(Errno::EEXIST),
            found => found?,
        };
        file.open(flags).unwrap_or_else(|| Ok(Box::new(open::Whole::new(Arc::clone(&file)))))
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EACCES` when nobody may read it, or what the file answers.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let (mode, file) = self.file(path)?;
        if mode & 0o444 == 0 {
            return Err(Errno::EACCES);
        }
        file.read()
    }

    /// Writes to a file.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EACCES` when nobody may write it, or what the file answers.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<usize, Errno> {
        let (mode, file) = self.file(path)?;
        if mode & 0o222 == 0 {
            return Err(Errno::EACCES);
        }
        file.write(bytes)
    }
}

/// A file made of two closures.
pub struct Closures<R, W> {
    /// Gives the content.
    pub read: R,
    /// Takes bytes.
    pub write: W,
}

impl<R, W> FileOperations for Closures<R, W>
where
    R: Fn() -> Result<Vec<u8>, Errno> + Send + Sync,
    W: Fn(&[u8]) -> Result<usize, Errno> + Send + Sync,
{
    fn read(&self) -> Result<Vec<u8>, Errno> {
        (self.read)()
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        (self.write)(bytes)
    }
}

/// A read-only file whose content `read` gives.
pub fn read_only(mode: u16, read: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Node {
    Node::File(mode, Arc::new(Closures { read: move || Ok(read()), write: |_: &[u8]| Err(Errno::EACCES) }))
}

/// A file with both.
pub fn read_write(
    mode: u16,
    read: impl Fn() -> Result<Vec<u8>, Errno> + Send + Sync + 'static,
    write: impl Fn(&[u8]) -> Result<usize, Errno> + Send + Sync + 'static,
) -> Node {
    Node::File(mode, Arc::new(Closures { read, write }))
}

impl Kernel {
    /// Adds `/proc/NAME` or another static read-only file whose content is made on each read.
    pub(crate) fn provide(
        &'static self,
        path: &str,
        mode: u16,
        read: fn(&'static Kernel) -> Vec<u8>,
    ) -> Result<(), Errno> {
        self.files.add(path, read_only(mode, Box::new(move || read(self))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_come_and_go() {
        let files = Files::default();
        files.make_directories("/proc/sys//kernel");
        files.add("/proc/version", read_only(0o444, || b"x\n".to_vec())).unwrap();
        assert_eq!(files.add("/proc/version", Node::Directory), Err(Errno::EEXIST));
        assert_eq!(files.add("/none/version", Node::Directory), Err(Errno::ENOENT));
        assert_eq!(files.list("/proc").unwrap(), ["sys", "version"]);
        assert_eq!(files.list("/").unwrap(), ["proc"]);
        assert_eq!(files.read("/proc/version").unwrap(), b"x\n");
        assert_eq!(files.write("/proc/version", b"y"), Err(Errno::EACCES));
        assert_eq!(files.read("/proc"), Err(Errno::EISDIR));
        files.add("/proc/sysx", Node::Directory).unwrap();
        assert!(files.remove("/proc/sys"));
        assert_eq!(files.list("/proc").unwrap(), ["sysx", "version"], "a name that only begins alike stays");
    }

    #[test]
    fn links_are_followed_wherever_they_are() {
        let files = Files::default();
        files.make_directories("/sys/devices/x");
        files.make_directories("/sys/class/y");
        files.add("/sys/devices/x/temp", read_only(0o444, || b"23".to_vec())).unwrap();
        files.add("/sys/class/y/y0", Node::Link("/sys/devices/x".into())).unwrap();
        files.add("/sys/devices/x/back", Node::Link("../../class/y".into())).unwrap();
        files.add("/sys/devices/x/self", Node::Link("self".into())).unwrap();
        assert_eq!(files.read("/sys/class/y/y0/temp").unwrap(), b"23");
        assert_eq!(files.read("/sys/class/y/y0/back/y0/temp").unwrap(), b"23");
        assert_eq!(files.list("/sys/class/y/y0").unwrap(), ["back", "self", "temp"]);
        assert_eq!(files.mode("/sys/class/y/y0").unwrap(), 0o120_777, "the last link is not followed");
        assert_eq!(files.mode("/sys/class/y/y0/temp").unwrap(), 0o100_444);
        assert_eq!(files.read("/sys/class/y/y0/self"), Err(Errno::ELOOP));
        assert_eq!(files.read("/sys/class/y/y1/temp"), Err(Errno::ENOENT));
    }

    #[test]
    fn links_are_followed_and_circles_end() {
        let files = Files::default();
        files.make_directories("/sys/devices/disk");
        files.make_directories("/sys/block");
        files.add("/sys/devices/disk/size", read_only(0o444, || b"8\n".to_vec())).unwrap();
        files.add("/sys/block/ram0", Node::Link("/sys/devices/disk".into())).unwrap();
        files.add("/sys/block/ram1", Node::Link("../devices/./disk/../disk".into())).unwrap();
        files.add("/sys/block/round", Node::Link("round".into())).unwrap();
        assert_eq!(files.read("/sys/block/ram0/size").unwrap(), b"8\n");
        assert_eq!(files.read("/sys/block/ram1/size").unwrap(), b"8\n");
        assert_eq!(files.read("/sys/block/ram0"), Err(Errno::EISDIR));
        assert_eq!(files.read("/sys/block/round"), Err(Errno::ELOOP));
        assert_eq!(files.read("/sys/block/ram2/size"), Err(Errno::ENOENT));
        assert_eq!(files.list("/sys/block/ram0").unwrap(), ["size"]);
        assert_eq!(files.mode("/sys/block/ram0"), Ok(0o120_777), "a link itself");
    }

    #[test]
    fn a_directory_moves_with_what_is_in_it() {
        let files = Files::default();
        files.make_directories("/sys/a/b");
        files.make_directories("/sys/ab");
        files.add("/sys/a/b/c", read_only(0o444, || b"c".to_vec())).unwrap();
        assert_eq!(files.rename("/sys/a", "/sys/ab"), Err(Errno::EEXIST));
        assert_eq!(files.rename("/sys/x", "/sys/y"), Err(Errno::ENOENT));
        files.rename("/sys/a", "/sys/ab/z").unwrap();
        assert_eq!(files.read("/sys/ab/z/b/c").unwrap(), b"c");
        assert_eq!(files.list("/sys").unwrap(), ["ab"]);
    }
}
