//! File systems of modules, mounted where the machine's files are: their directories are looked into with their own `lookup` and
//! `iterate_shared`, and their files are opened as any other.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files::{self, FileOperations, IoctlArgument, OpenFile, Provider, S_IFMT};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::superblock::{self, vfsmount};
use super::{DIRECTORY, Node, Opened, READ_ONLY, Source, dcache, dentry, inode};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab, symbols};

layout! {
    mod inode_more = "inode" { i_op, i_link }
    mod inode_operations = "inode_operations" { lookup, get_link }
    mod directory_operations = "file_operations" { iterate_shared, iterate }
    mod dir_context = "dir_context" { actor, pos }
    mod delayed_call = "delayed_call" { fn_ = "fn", arg }
}

/// `S_IFLNK`
const LINK: u32 = 0o120_000;
/// `SB_RDONLY`
const READ_ONLY_MOUNT: u32 = 1;
/// `O_ACCMODE`
const ACCESS: u32 = 3;

/// A mounted file system. Whoever uses it keeps one of these.
#[derive(Debug)]
struct Mounted {
    mount: u64,
    kind: String,
    source: String,
}

/// The mounts by path.
static MOUNTS: Lock<BTreeMap<String, Arc<Mounted>>> = Lock::new(BTreeMap::new());

/// Mounts the file system `kind` that is on the block device `source` read-only at `target`, a directory that is
/// made if it is not there.
///
/// # Errors
/// `ENODEV` for a file system nobody has registered, `EBUSY` when something is mounted there, `ENOTBLK` when the source is no
/// block device; what the file system answers.
pub fn mount(kind: &str, source: &str, target: &str) -> Result<(), Errno> {
    let found = kernel().registrations.named("filesystem", kind.as_bytes()).ok_or(Errno::ENODEV)?;
    if MOUNTS.lock().contains_key(target) {
        return Err(Errno::EBUSY);
    }
    let mount = superblock::mount(found.key, Some(source), READ_ONLY_MOUNT)?;
    let mounted = Arc::new(Mounted { mount, kind: kind.into(), source: source.into() });
    MOUNTS.lock().insert(target.into(), Arc::clone(&mounted));
    kernel().files.mount(target, Arc::new(Tree(mounted)));
    Ok(())
}

/// Takes a mount away.
///
/// # Errors
/// `EINVAL` when nothing is mounted there, `EBUSY` while a file of it is open.
pub fn unmount(target: &str) -> Result<(), Errno> {
    /// The table above, and the tree of files.
    const OURS: usize = 2;
    let mounted = {
        let mut mounts = MOUNTS.lock();
        let found = mounts.get(target).ok_or(Errno::EINVAL)?;
        if Arc::strong_count(found) > OURS {
            return Err(Errno::EBUSY);
        }
        mounts.remove(target).ok_or(Errno::EINVAL)?
    };
    kernel().files.unmount(target);
    superblock::unmount(mounted.mount);
    Ok(())
}

/// `/proc/mounts`
pub(crate) fn list() -> Vec<u8> {
    let line = |(target, mounted): (&String, &Arc<Mounted>)| {
        alloc::format!("{} {target} {} ro,relatime 0 0\n", mounted.source, mounted.kind)
    };
    MOUNTS.lock().iter().map(line).collect::<String>().into_bytes()
}

/// A file system as the machine's files see it.
struct Tree(Arc<Mounted>);

/// A dentry that is held as long as this lives.
struct Held(u64);

impl Drop for Held {
    fn drop(&mut self) {
        dcache::dput(self.0);
    }
}

fn inode_of(entry: u64) -> u64 {
    // SAFETY: a dentry.
    unsafe { dentry::d_inode.get(entry) }
}
fn mode_of(at: u64) -> u32 {
    // SAFETY: an inode.
    unsafe { inode::i_mode.get::<u16>(at) }.into()
}

impl Tree {
    /// What a path below the mount leads to.
    fn walk(&self, path: &str) -> Result<Held, Errno> {
        // SAFETY: a mount of ours.
        let mut at = Held(dcache::hold(unsafe { vfsmount::mnt_root.get(self.0.mount) }));
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = look_up(&at, name.as_bytes())?;
        }
        if inode_of(at.0) == 0 { Err(Errno::ENOENT) } else { Ok(at) }
    }

    fn open(&self, path: &str, flags: u32) -> Result<Box<dyn OpenFile>, Errno> {
        if flags & ACCESS != READ_ONLY {
            return Err(Errno::EROFS);
        }
        let held = self.walk(path)?;
        Ok(Box::new(open(&held, Arc::clone(&self.0), flags)?))
    }
}

/// A name in a directory: from the cache, or by asking the file system.
fn look_up(above: &Held, name: &[u8]) -> Result<Held, Errno> {
    let directory = inode_of(above.0);
    if directory == 0 {
        return Err(Errno::ENOENT);
    }
    if mode_of(directory) & S_IFMT != DIRECTORY {
        return Err(Errno::ENOTDIR);
    }
    let known = dcache::look_up(above.0, name);
    if known != 0 {
        return Ok(Held(known));
    }
    // SAFETY: the directory's table and its function.
    unsafe {
        let table: u64 = inode_more::i_op.get(directory);
        let lookup: u64 = if table == 0 { 0 } else { inode_operations::lookup.get(table) };
        if lookup == 0 {
            return Err(Errno::ENOTDIR);
        }
        let made = dcache::make(name, super_of(above.0), above.0);
        if made == 0 {
            return Err(Errno::ENOMEM);
        }
        let made = Held(made);
        let answer = ram::call(lookup, [directory, made.0, 0]);
        match Errno::from_pointer(answer) {
            Some(errno) => Err(errno),
            // Another dentry of the same directory took its place.
            None if answer != 0 => Ok(Held(answer)),
            None => Ok(made),
        }
    }
}

fn super_of(entry: u64) -> u64 {
    dcache::block_of(entry)
}

/// An open file of a mount.
struct OpenInMount {
    // Closed before the rest is given back.
    opened: Opened,
    _entry: Held,
    _mounted: Arc<Mounted>,
}

fn open(held: &Held, mounted: Arc<Mounted>, flags: u32) -> Result<OpenInMount, Errno> {
    let at = inode_of(held.0);
    // SAFETY: an inode of the file system.
    let ops: u64 = unsafe { inode::i_fop.get(at) };
    let node = Node { source: Source::File(ops), mode: mode_of(at), data: 0, inode: at, dentry: held.0, pde: 0 };
    let opened = Opened::open(&Arc::new(node), flags)?;
    Ok(OpenInMount { opened, _entry: Held(dcache::hold(held.0)), _mounted: mounted })
}

impl OpenFile for OpenInMount {
    fn read(&mut self, length: u64) -> Result<Vec<u8>, Errno> {
        OpenFile::read(&mut self.opened, length)
    }
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        OpenFile::write(&mut self.opened, bytes)
    }
    fn seek(&mut self, offset: i64, whence: u32) -> Result<u64, Errno> {
        OpenFile::seek(&mut self.opened, offset, whence)
    }
    fn ioctl(&mut self, command: u32, argument: IoctlArgument) -> Result<(u64, Vec<u8>), Errno> {
        OpenFile::ioctl(&mut self.opened, command, argument)
    }
}

/// A file of a mount, by its path.
struct FileInMount {
    tree: Tree,
    path: String,
}

impl FileOperations for FileInMount {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        super::whole(&mut *self.tree.open(&self.path, READ_ONLY)?)
    }

    fn write(&self, _bytes: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EROFS)
    }

    fn open(&self, flags: u32) -> Option<Result<Box<dyn OpenFile>, Errno>> {
        Some(self.tree.open(&self.path, flags))
    }
}

impl Provider for Tree {
    fn node(&self, path: &str) -> Option<files::Node> {
        let held = self.walk(path).ok()?;
        let mode = mode_of(inode_of(held.0));
        Some(match mode & S_IFMT {
            DIRECTORY => files::Node::Directory,
            LINK => files::Node::Link(target(&held)?),
            _ => {
                let file = FileInMount { tree: Self(Arc::clone(&self.0)), path: path.into() };
                files::Node::File((mode & 0o7777) as u16, Arc::new(file))
            }
        })
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        let held = self.walk(path).ok()?;
        let opened = open(&held, Arc::clone(&self.0), READ_ONLY).ok()?;
        names(&opened.opened).ok()
    }

    fn mode(&self, path: &str) -> Option<u32> {
        Some(mode_of(inode_of(self.walk(path).ok()?.0)))
    }
}

/// What a symbolic link says.
fn target(held: &Held) -> Option<String> {
    let at = inode_of(held.0);
    // SAFETY: a link, its table, and a call of our own that its file system may fill in.
    unsafe {
        let plain: u64 = inode_more::i_link.get(at);
        if plain != 0 {
            return Some(ram::c_string(plain).to_str_lossy().into_owned());
        }
        let table: u64 = inode_more::i_op.get(at);
        let function: u64 = if table == 0 { 0 } else { inode_operations::get_link.get(table) };
        let after = slab::allocate(delayed_call::SIZE.get(), 8, slab::ZERO, 0);
        if function == 0 || after == 0 {
            slab::release(after, 0);
            return None;
        }
        let text = ram::call(function, [held.0, at, after]);
        let said =
            (text != 0 && Errno::from_pointer(text).is_none()).then(|| ram::c_string(text).to_str_lossy().into_owned());
        let then: u64 = delayed_call::fn_.get(after);
        if then != 0 {
            ram::call(then, [delayed_call::arg.get(after)]);
        }
        slab::release(after, 0);
        said
    }
}

/// The names that directories are saying, by their `struct dir_context`.
static SAID: Lock<BTreeMap<u64, Vec<String>>> = Lock::new(BTreeMap::new());

/// `bool (*filldir_t)(struct dir_context *, const char *, int, loff_t, u64, unsigned)`: go on.
extern "C" fn fill_directory(context: u64, name: u64, length: i32) -> bool {
    // SAFETY: the file system's text.
    let name = unsafe { ram::bytes(name, length.max(0) as u64) }.to_str_lossy().into_owned();
    if let Some(names) = SAID.lock().get_mut(&context) {
        names.push(name);
    }
    true
}

/// The names in an open directory but for itself and the one above, sorted.
fn names(opened: &Opened) -> Result<Vec<String>, Errno> {
    // SAFETY: an open directory, its table, and a context of our own.
    unsafe {
        let table: u64 = super::file::f_op.get(opened.file);
        let find = |field: &crate::field::Field| match field.offset() {
            Some(_) if table != 0 => field.get::<u64>(table),
            _ => 0,
        };
        let function = [&directory_operations::iterate_shared, &directory_operations::iterate].map(find);
        let function = function.into_iter().find(|&function| function != 0).ok_or(Errno::ENOTDIR)?;
        let context = slab::allocate(dir_context::SIZE.get(), 8, slab::ZERO, 0);
        if context == 0 {
            return Err(Errno::ENOMEM);
        }
        dir_context::actor.set(context, symbols::address("fill_directory").unwrap_or(0));
        SAID.lock().insert(context, Vec::new());
        let result = loop {
            let before = SAID.lock().get(&context).map_or(0, Vec::len);
            dir_context::pos.set(context, super::file::f_pos.get::<u64>(opened.file));
            let answer = ram::call(function, [opened.file, context]) as i32;
            super::file::f_pos.set(opened.file, dir_context::pos.get::<u64>(context));
            if let Some(errno) = Errno::from_return(answer.into()) {
                break Err(errno);
            }
            if SAID.lock().get(&context).map_or(0, Vec::len) == before {
                break Ok(());
            }
        };
        let mut names = SAID.lock().remove(&context).unwrap_or_default();
        slab::release(context, 0);
        result?;
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c fill_directory];
