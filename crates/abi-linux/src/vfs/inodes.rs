//! Inodes of file systems that modules bring along: made, counted, and given back to whoever made them.

use core::sync::atomic::{AtomicU32, Ordering};

use ferrmod_kernel::files::S_IFMT;
use ferrmod_kernel::{Errno, kernel};

use super::{CHARACTER, DIRECTORY, address_space, inode, rw_semaphore, superblock::super_block};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab, symbols};

layout! {
    mod inode_more = "inode" {
        i_sb, i_op, i_uid, i_gid, i_lru, i_sb_list, i_io_list, i_wb_list, i_devices, i_blkbits,
        atime = "i_atime_sec", atime_nanoseconds = "i_atime_nsec", mtime = "i_mtime_sec", mtime_nanoseconds = "i_mtime_nsec",
        ctime = "i_ctime_sec", ctime_nanoseconds = "i_ctime_nsec",
    }
    mod super_operations = "super_operations" { alloc_inode, destroy_inode, free_inode, drop_inode, evict_inode }
    mod mapping_more = "address_space" { a_ops, private_list, i_private_list, rwsem = "i_mmap_rwsem" }
    mod iattr = "iattr" { ia_valid, ia_mode, ia_uid, ia_gid }
}

/// `S_ISGID`
const SET_GROUP: u32 = 0o2_000;

/// `ATTR_MODE`, `ATTR_UID`, `ATTR_GID`
const ATTR_MODE: u32 = 1;
const ATTR_UID: u32 = 2;
const ATTR_GID: u32 = 4;

/// Room for a table of functions of any kernel; all of an empty one are null.
const TABLE: u64 = 512;

static NO_OPERATIONS: Datum = Datum::new("ferrmod_empty_iops", TABLE, Begin::Zero);
static NO_FILE_OPERATIONS: Datum = Datum::new("ferrmod_no_fops", TABLE, Begin::Zero);
static RAM_PAGES: Datum = Datum::new("ram_aops", TABLE, Begin::Zero);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&NO_OPERATIONS, &NO_FILE_OPERATIONS, &RAM_PAGES];

/// Calls a function of the super block's table, if it has that one.
fn call(sb: u64, function: &crate::field::Field, at: u64) -> Option<u64> {
    // SAFETY: a super block whose table is its file system's.
    unsafe {
        let table: u64 = if sb == 0 { 0 } else { super_block::s_op.get(sb) };
        let function: u64 = if table == 0 || function.offset().is_none() { 0 } else { function.get(table) };
        (function != 0).then(|| ram::call(function, [at]))
    }
}

/// What `inode_init_once` does: lists and locks.
extern "C" fn inode_init_once(at: u64) {
    // SAFETY: the caller's inode.
    unsafe {
        ram::fill(at, 0, inode::SIZE.get());
        for list in [
            &inode_more::i_lru,
            &inode_more::i_sb_list,
            &inode_more::i_io_list,
            &inode_more::i_wb_list,
            &inode_more::i_devices,
        ] {
            if list.offset().is_some() {
                locks::init_list(list.at(at));
            }
        }
        let mapping = inode::i_data.at(at);
        for list in [&mapping_more::private_list, &mapping_more::i_private_list] {
            if list.offset().is_some() {
                locks::init_list(list.at(mapping));
            }
        }
        locks::init_list(rw_semaphore::wait_list.at(mapping_more::rwsem.at(mapping)));
        locks::init_list(rw_semaphore::wait_list.at(inode::i_rwsem.at(at)));
    }
}

/// What `inode_init_always` does: a new file of `sb`.
fn begin(at: u64, sb: u64) {
    // SAFETY: an inode whose lists and locks are ready.
    unsafe {
        inode_more::i_sb.set(at, sb);
        inode_more::i_op.set(at, NO_OPERATIONS.address());
        inode::i_fop.set(at, NO_FILE_OPERATIONS.address());
        inode::i_count.set(at, 1u32);
        inode::i_nlink.set(at, 1u32);
        if sb != 0 {
            inode_more::i_blkbits.set(at, super_block::s_blocksize_bits.get::<u8>(sb));
        }
        let mapping = inode::i_data.at(at);
        inode::i_mapping.set(at, mapping);
        address_space::host.set(mapping, at);
        mapping_more::a_ops.set(mapping, NO_OPERATIONS.address());
    }
}

/// `struct inode *alloc_anon_inode(struct super_block *)`: one without a name.
extern "C" fn alloc_anon_inode(sb: u64) -> u64 {
    /// `S_IRUSR | S_IWUSR`
    const MODE: u16 = 0o600;
    let made = new_inode(sb);
    if made == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    // SAFETY: the inode just made.
    unsafe { inode::i_mode.set(made, MODE) };
    made
}
/// `struct inode *new_inode(struct super_block *)`; 0 without memory.
pub(crate) extern "C" fn new_inode(sb: u64) -> u64 {
    let made = match call(sb, &super_operations::alloc_inode, sb) {
        Some(made) => made,
        None => {
            let made = slab::allocate(inode::SIZE.get(), 64, slab::ZERO, 0);
            if made != 0 {
                inode_init_once(made);
            }
            made
        }
    };
    if made != 0 {
        begin(made, sb);
    }
    made
}

/// `void ihold(struct inode *)`
pub(crate) extern "C" fn ihold(at: u64) {
    // SAFETY: the caller's inode.
    unsafe { inode::i_count.set(at, inode::i_count.get::<u32>(at) + 1) };
}
/// `struct inode *igrab(struct inode *)`
extern "C" fn igrab(at: u64) -> u64 {
    ihold(at);
    at
}

/// `void iput(struct inode *)`: the last one gives it back.
pub(crate) extern "C" fn iput(at: u64) {
    if at == 0 {
        return;
    }
    // SAFETY: the caller's inode.
    let (left, sb) = unsafe {
        let left = inode::i_count.get::<u32>(at).saturating_sub(1);
        inode::i_count.set(at, left);
        (left, inode_more::i_sb.get::<u64>(at))
    };
    if left > 0 {
        return;
    }
    // Nothing is cached: whatever `drop_inode` says, the inode goes.
    call(sb, &super_operations::drop_inode, at);
    if call(sb, &super_operations::evict_inode, at).is_none() {
        super::hash::clear_inode(at);
    }
    super::hash::forget(at);
    super::cache::forget(inode::i_data.at(at));
    let destroyed = call(sb, &super_operations::destroy_inode, at).is_some();
    let freed = call(sb, &super_operations::free_inode, at).is_some();
    if !destroyed && !freed {
        slab::release(at, 0);
    }
}

/// `void free_inode_nonrcu(struct inode *)`
extern "C" fn free_inode_nonrcu(at: u64) {
    slab::release(at, 0);
}
/// `int generic_delete_inode(struct inode *)`
extern "C" fn generic_delete_inode() -> i32 {
    1
}

/// `unsigned int get_next_ino(void)`
extern "C" fn get_next_ino() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).max(1)
}
/// `ino_t iunique(struct super_block *, ino_t reserved)`
extern "C" fn iunique(_sb: u64, reserved: u64) -> u64 {
    u64::from(get_next_ino()) + reserved
}

fn count_links(at: u64, by: i32) {
    // SAFETY: the caller's inode.
    unsafe { inode::i_nlink.set(at, inode::i_nlink.get::<u32>(at).saturating_add_signed(by)) };
}
extern "C" fn inc_nlink(at: u64) {
    count_links(at, 1);
}
extern "C" fn drop_nlink(at: u64) {
    count_links(at, -1);
}
extern "C" fn clear_nlink(at: u64) {
    set_nlink(at, 0);
}
extern "C" fn set_nlink(at: u64, count: u32) {
    // SAFETY: the caller's inode.
    unsafe { inode::i_nlink.set(at, count) };
}

/// `struct timespec64 current_time(struct inode *)`: two numbers in two registers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}
extern "C" fn current_time() -> Timespec {
    let now = kernel().platform.wall_clock();
    Timespec { seconds: (now / 1_000_000_000) as i64, nanoseconds: (now % 1_000_000_000) as i64 }
}

/// `struct timespec64 simple_inode_init_ts(struct inode *)`: all times of the file are now.
extern "C" fn simple_inode_init_ts(at: u64) -> Timespec {
    let now = current_time();
    let parts = [
        (&inode_more::atime, &inode_more::atime_nanoseconds),
        (&inode_more::mtime, &inode_more::mtime_nanoseconds),
        (&inode_more::ctime, &inode_more::ctime_nanoseconds),
    ];
    for (seconds, nanoseconds) in parts {
        if seconds.offset().is_some() {
            // SAFETY: the caller's inode.
            unsafe {
                seconds.set(at, now.seconds);
                nanoseconds.set(at, now.nanoseconds as u32);
            }
        }
    }
    now
}

/// `struct timespec64 inode_set_ctime_current(struct inode *)`: the file has changed now.
extern "C" fn inode_set_ctime_current(at: u64) -> Timespec {
    let now = current_time();
    if inode_more::ctime.offset().is_some() {
        // SAFETY: the caller's inode.
        unsafe {
            inode_more::ctime.set(at, now.seconds);
            inode_more::ctime_nanoseconds.set(at, now.nanoseconds as u32);
        }
    }
    now
}

/// `void inode_init_owner(struct user_namespace *, struct inode *, const struct inode *dir, umode_t)`: root's; a directory that
/// hands its group down is followed.
extern "C" fn inode_init_owner(_namespace: u64, at: u64, above: u64, mode: u16) {
    let mut mode = u32::from(mode);
    // SAFETY: the caller's inodes.
    unsafe {
        if above != 0 && u32::from(inode::i_mode.get::<u16>(above)) & SET_GROUP != 0 {
            inode_more::i_gid.set(at, inode_more::i_gid.get::<u32>(above));
            if mode & S_IFMT == DIRECTORY {
                mode |= SET_GROUP;
            }
        }
        inode::i_mode.set(at, mode as u16);
    }
}

/// `void init_special_inode(struct inode *, umode_t, dev_t)`
extern "C" fn init_special_inode(at: u64, mode: u16, number: u32) {
    // SAFETY: the caller's inode.
    unsafe {
        inode::i_mode.set(at, mode);
        inode::i_rdev.set(at, number);
        if u32::from(mode) & S_IFMT == CHARACTER {
            inode::i_fop.set(at, symbols::address("def_chr_fops").unwrap_or(NO_FILE_OPERATIONS.address()));
        }
    }
}

/// `int simple_setattr(struct user_namespace *, struct dentry *, struct iattr *)`: mode and owners.
extern "C" fn simple_setattr(_namespace: u64, entry: u64, change: u64) -> i32 {
    // SAFETY: the caller's dentry, its inode and the change.
    unsafe {
        let at: u64 = super::dentry::d_inode.get(entry);
        let valid: u32 = iattr::ia_valid.get(change);
        if valid & ATTR_MODE != 0 {
            inode::i_mode.set(at, iattr::ia_mode.get::<u16>(change));
        }
        if valid & ATTR_UID != 0 {
            inode_more::i_uid.set(at, iattr::ia_uid.get::<u32>(change));
        }
        if valid & ATTR_GID != 0 {
            inode_more::i_gid.set(at, iattr::ia_gid.get::<u32>(change));
        }
    }
    0
}
/// `int inode_permission(struct user_namespace *, struct inode *, int)`: everybody is root.
extern "C" fn inode_permission() -> i32 {
    0
}
/// `int in_group_p(kgid_t)`: for the same reason.
extern "C" fn in_group_p() -> i32 {
    1
}
/// `int fsnotify(...)`: nobody watches files here.
extern "C" fn fsnotify() -> i32 {
    0
}
/// `ssize_t generic_read_dir(struct file *, char *, size_t, loff_t *)`
extern "C" fn generic_read_dir() -> i64 {
    Errno::EISDIR.to_return().into()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c inode_init_once, c new_inode, c alloc_anon_inode, c ihold, c igrab, c iput, c free_inode_nonrcu, k generic_delete_inode,
    c get_next_ino, c iunique, c inc_nlink, c drop_nlink, c clear_nlink, c set_nlink, c current_time, c simple_inode_init_ts, c inode_set_ctime_current, c inode_init_owner,
    c init_special_inode, c simple_setattr, k inode_permission, k in_group_p, k fsnotify, k generic_read_dir,
];
