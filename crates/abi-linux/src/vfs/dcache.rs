//! Names of files in file systems that modules bring along.
//!
//! A dentry counts who holds it, and holds the one above it. What nobody holds and is still found by its name stays until its
//! tree is taken down.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ferrmod_kernel::Errno;
use ferrmod_kernel::files::S_IFMT;
use ferrmod_kernel::lock::Lock;

use super::superblock::super_block;
use super::{DIRECTORY, REGULAR, dentry, inode, inodes};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab};

layout! {
    mod more = "dentry" {
        d_flags, d_sb, d_op, d_lockref_count = "d_lockref.count", hashed = "d_hash.pprev", d_subdirs, d_child,
    }
    mod dentry_operations = "dentry_operations" { d_delete, d_init, d_release, d_iput }
    mod qstr = "qstr" { name, len }
}

/// `DCACHE_DIRECTORY_TYPE`, `DCACHE_REGULAR_TYPE`, `DCACHE_SPECIAL_TYPE`, `DCACHE_SYMLINK_TYPE` and their mask
const TYPE_DIRECTORY: u32 = 0x20_0000;
const TYPE_REGULAR: u32 = 0x40_0000;
const TYPE_SPECIAL: u32 = 0x50_0000;
const TYPE_LINK: u32 = 0x60_0000;
const TYPE_MASK: u32 = 0x70_0000;
/// `S_IFLNK`
const LINK: u32 = 0o120_000;

/// The children of each dentry.
static BELOW: Lock<BTreeMap<u64, Vec<u64>>> = Lock::new(BTreeMap::new());

fn count(entry: u64) -> i32 {
    // SAFETY: a dentry.
    unsafe { more::d_lockref_count.get(entry) }
}
fn set_count(entry: u64, value: i32) {
    // SAFETY: a dentry.
    unsafe { more::d_lockref_count.set(entry, value) };
}
fn is_hashed(entry: u64) -> bool {
    // SAFETY: a dentry.
    unsafe { more::hashed.get::<u64>(entry) != 0 }
}
fn inode_of(entry: u64) -> u64 {
    // SAFETY: a dentry.
    unsafe { dentry::d_inode.get(entry) }
}
fn parent_of(entry: u64) -> u64 {
    // SAFETY: a dentry.
    unsafe { dentry::d_parent.get(entry) }
}

/// The super block of a dentry.
pub(crate) fn block_of(entry: u64) -> u64 {
    // SAFETY: a dentry.
    unsafe { more::d_sb.get(entry) }
}

/// One holder more.
pub(crate) fn hold(entry: u64) -> u64 {
    if entry != 0 {
        set_count(entry, count(entry) + 1);
    }
    entry
}

/// Calls a function of the dentry's table, if it has that one.
fn call(entry: u64, function: &crate::field::Field, arguments: [u64; 2]) -> Option<u64> {
    // SAFETY: a dentry whose table is its file system's.
    unsafe {
        let table: u64 = more::d_op.get(entry);
        let function: u64 = if table == 0 { 0 } else { function.get(table) };
        (function != 0).then(|| ram::call(function, arguments))
    }
}

/// A dentry that its maker holds, without a file yet; 0 without memory.
pub(crate) fn make(name: &[u8], sb: u64, parent: u64) -> u64 {
    let made = super::make_dentry(name, 0, parent);
    if made != 0 {
        // SAFETY: a dentry that is being made.
        unsafe {
            more::d_sb.set(made, sb);
            set_count(made, 1);
            for list in [&more::d_subdirs, &more::d_child] {
                if list.offset().is_some() {
                    locks::init_list(list.at(made));
                }
            }
            if sb != 0 {
                more::d_op.set(made, super_block::s_d_op.get::<u64>(sb));
            }
        }
        if parent != 0 {
            hold(parent);
            BELOW.lock().entry(parent).or_default().push(made);
        }
        call(made, &dentry_operations::d_init, [made, 0]);
    }
    made
}

/// `struct dentry *d_make_root(struct inode *)`; the inode is given back when there is no memory.
pub(super) extern "C" fn d_make_root(at: u64) -> u64 {
    layout! { mod of = "inode" { i_sb } }
    if at == 0 {
        return 0;
    }
    // SAFETY: the caller's inode.
    let made = make(b"/", unsafe { of::i_sb.get(at) }, 0);
    if made == 0 {
        inodes::iput(at);
    } else {
        d_instantiate(made, at);
    }
    made
}
/// `struct dentry *d_alloc_name(struct dentry *parent, const char *)`
extern "C" fn d_alloc_name(parent: u64, name: u64) -> u64 {
    // SAFETY: the module's C string.
    make(unsafe { ram::c_string(name) }, block_of(parent), parent)
}
/// `struct dentry *d_alloc(struct dentry *parent, const struct qstr *)`
extern "C" fn d_alloc(parent: u64, name: u64) -> u64 {
    // SAFETY: the caller's string and its length.
    let name = unsafe { ram::bytes(qstr::name.get(name), u64::from(qstr::len.get::<u32>(name))) };
    make(name, block_of(parent), parent)
}

/// `void d_instantiate(struct dentry *, struct inode *)`: the name stands for that file, or for none.
extern "C" fn d_instantiate(entry: u64, at: u64) {
    // SAFETY: the caller's dentry and inode.
    unsafe {
        dentry::d_inode.set(entry, at);
        let kind = if at == 0 { 0 } else { u32::from(inode::i_mode.get::<u16>(at)) & S_IFMT };
        let kind = match kind {
            0 if at == 0 => 0,
            DIRECTORY => TYPE_DIRECTORY,
            REGULAR => TYPE_REGULAR,
            LINK => TYPE_LINK,
            _ => TYPE_SPECIAL,
        };
        more::d_flags.set(entry, more::d_flags.get::<u32>(entry) & !TYPE_MASK | kind);
    }
}
/// `void d_rehash(struct dentry *)`: it is found by its name from now on.
extern "C" fn d_rehash(entry: u64) {
    // What matters is that it is not null.
    // SAFETY: the caller's dentry.
    unsafe { more::hashed.set(entry, more::hashed.at(entry)) };
}
extern "C" fn d_add(entry: u64, at: u64) {
    d_instantiate(entry, at);
    d_rehash(entry);
}
/// `struct dentry *d_splice_alias(struct inode *, struct dentry *)`
extern "C" fn d_splice_alias(at: u64, entry: u64) -> u64 {
    if Errno::from_pointer(at).is_some() {
        return at;
    }
    d_add(entry, at);
    0
}
/// `void d_drop(struct dentry *)`
extern "C" fn d_drop(entry: u64) {
    // SAFETY: the caller's dentry.
    unsafe { more::hashed.set(entry, 0u64) };
}

/// Takes the inode out of a dentry and gives it back.
fn unlink_inode(entry: u64) {
    let at = inode_of(entry);
    if at != 0 {
        d_instantiate(entry, 0);
        if call(entry, &dentry_operations::d_iput, [entry, at]).is_none() {
            inodes::iput(at);
        }
    }
}
/// `void d_delete(struct dentry *)`: for its only holder the name stands for nothing; for others it is found no more.
extern "C" fn d_delete(entry: u64) {
    if count(entry) == 1 {
        unlink_inode(entry);
    } else {
        d_drop(entry);
    }
}
/// `int always_delete_dentry(const struct dentry *)`
extern "C" fn always_delete_dentry() -> i32 {
    1
}

/// Frees a dentry nobody holds; the one above is held by one less.
fn free(entry: u64) {
    unlink_inode(entry);
    call(entry, &dentry_operations::d_release, [entry, 0]);
    let parent = parent_of(entry);
    BELOW.lock().remove(&entry);
    slab::release(entry, 0);
    if parent != entry {
        if let Some(below) = BELOW.lock().get_mut(&parent) {
            below.retain(|&other| other != entry);
        }
        dput(parent);
    }
}

/// `void dput(struct dentry *)`
pub(crate) extern "C" fn dput(entry: u64) {
    if entry == 0 {
        return;
    }
    let left = count(entry) - 1;
    set_count(entry, left);
    if left > 0 {
        return;
    }
    let unwanted = call(entry, &dentry_operations::d_delete, [entry, 0]).is_some_and(|answer| answer as i32 != 0);
    if unwanted || !is_hashed(entry) {
        d_drop(entry);
        free(entry);
    }
}
/// `struct dentry *dget_parent(struct dentry *)`
extern "C" fn dget_parent(entry: u64) -> u64 {
    hold(parent_of(entry))
}
/// `ino_t d_parent_ino(struct dentry *)`
extern "C" fn d_parent_ino(entry: u64) -> u64 {
    // SAFETY: the directory that the entry is in has an inode.
    unsafe { super::inode::i_ino.get(inode_of(parent_of(entry))) }
}

/// Takes a whole tree down, whoever holds what.
pub(crate) fn kill_tree(root: u64) {
    loop {
        // Each is freed after what is below it.
        let deepest = {
            let below = BELOW.lock();
            let mut at = root;
            while let Some(&child) = below.get(&at).and_then(|children| children.last()) {
                at = child;
            }
            at
        };
        // The holders are gone with their super block; the root frees nothing above it.
        d_drop(deepest);
        set_count(deepest, 0);
        if deepest == root {
            free(root);
            return;
        }
        // Nor is the one above it freed by what is below.
        set_count(parent_of(deepest), count(parent_of(deepest)) + 2);
        free(deepest);
    }
}

/// The child of that name, held; 0 when there is none.
pub(crate) fn look_up(parent: u64, name: &[u8]) -> u64 {
    let below: Vec<u64> = BELOW.lock().get(&parent).cloned().unwrap_or_default();
    // SAFETY: dentries and their names.
    let is_it = |&entry: &u64| unsafe {
        is_hashed(entry) && ram::bytes(dentry::name.get(entry), u64::from(dentry::len.get::<u32>(entry))) == name
    };
    below.into_iter().find(is_it).map_or(0, hold)
}
/// `struct dentry *d_lookup(const struct dentry *parent, const struct qstr *)`
extern "C" fn d_lookup(parent: u64, name: u64) -> u64 {
    // SAFETY: the caller's string and its length.
    look_up(parent, unsafe { ram::bytes(qstr::name.get(name), u64::from(qstr::len.get::<u32>(name))) })
}

fn change_links(at: u64, by: i32) {
    // SAFETY: the caller's inode.
    unsafe { inode::i_nlink.set(at, inode::i_nlink.get::<u32>(at).saturating_add_signed(by)) };
}
/// `int simple_unlink(struct inode *dir, struct dentry *)`
extern "C" fn simple_unlink(_above: u64, entry: u64) -> i32 {
    change_links(inode_of(entry), -1);
    dput(entry);
    0
}
/// `int simple_empty(struct dentry *)`: whether nothing is found below it.
extern "C" fn simple_empty(entry: u64) -> i32 {
    let below: Vec<u64> = BELOW.lock().get(&entry).cloned().unwrap_or_default();
    i32::from(!below.into_iter().any(|child| is_hashed(child) && inode_of(child) != 0))
}
/// `int simple_rmdir(struct inode *dir, struct dentry *)`
extern "C" fn simple_rmdir(above: u64, entry: u64) -> i32 {
    if simple_empty(entry) == 0 {
        return Errno::ENOTEMPTY.to_return();
    }
    change_links(inode_of(entry), -1);
    simple_unlink(above, entry);
    change_links(above, -1);
    0
}
/// `const char *simple_get_link(struct dentry *, struct inode *, struct delayed_call *)`
extern "C" fn simple_get_link(_entry: u64, at: u64) -> u64 {
    layout! { mod link = "inode" { i_link } }
    // SAFETY: the caller's inode.
    unsafe { link::i_link.get(at) }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c d_make_root, c d_alloc_name, c d_alloc, c d_instantiate, c d_instantiate_new = d_instantiate, c d_rehash, c d_add,
    c d_splice_alias, c d_drop, c __d_drop = d_drop, c d_delete, k always_delete_dentry, c dput, c dget_parent, c d_parent_ino, c d_lookup,
    c simple_unlink, c simple_empty, c simple_rmdir, c simple_get_link,
];
