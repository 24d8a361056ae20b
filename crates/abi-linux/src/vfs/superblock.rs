//! Mounting what modules bring along: contexts, super blocks and the mounts of the kernel itself.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;
use ferrmod_kernel::lock::Lock;

use super::{dcache, rw_semaphore};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, module, net, ram, slab, symbols};

layout! {
    pub(crate) mod super_block = "super_block" {
        s_root, s_type, s_op, s_fs_info, s_blocksize, s_blocksize_bits, s_flags, s_maxbytes, s_time_gran, s_d_op, s_umount, s_active,
        s_count, s_inodes, s_mounts, s_list, s_user_ns, s_magic,
    }
    mod fs_context = "fs_context" { ops, fs_type, root, s_fs_info, sb_flags, user_ns, net_ns }
    mod fs_context_operations = "fs_context_operations" { free, get_tree }
    mod file_system_type = "file_system_type" { owner, init_fs_context, kill_sb }
    mod vfsmount = "vfsmount" { mnt_root, mnt_sb }
    mod kstatfs = "kstatfs" { f_type, f_bsize, f_namelen }
    mod path = "path" { dentry }
}

/// `SB_KERNMOUNT`, `SB_ACTIVE`, `SB_BORN`
const KERNEL_MOUNT: u32 = 1 << 22;
const ACTIVE: u64 = 1 << 30;
const BORN: u64 = 1 << 29;

/// The super blocks there are.
static BLOCKS: Lock<Vec<u64>> = Lock::new(Vec::new());

/// A new super block of a file system; 0 without memory.
fn make(kind: u64, info: u64) -> u64 {
    let made = slab::allocate(super_block::SIZE.get(), 64, slab::ZERO, 0);
    if made != 0 {
        // SAFETY: a zeroed block of the struct's size.
        unsafe {
            super_block::s_type.set(made, kind);
            super_block::s_fs_info.set(made, info);
            super_block::s_blocksize.set(made, 4096u64);
            super_block::s_blocksize_bits.set(made, 12u8);
            super_block::s_maxbytes.set(made, 0x7fff_ffffu64);
            super_block::s_time_gran.set(made, 1_000_000_000u32);
            super_block::s_active.set(made, 1u32);
            super_block::s_count.set(made, 1u32);
            if let Some(namespace) = symbols::address("init_user_ns") {
                super_block::s_user_ns.set(made, namespace);
            }
            for list in [&super_block::s_inodes, &super_block::s_mounts, &super_block::s_list] {
                if list.offset().is_some() {
                    locks::init_list(list.at(made));
                }
            }
            locks::init_list(rw_semaphore::wait_list.at(super_block::s_umount.at(made)));
        }
        BLOCKS.lock().push(made);
    }
    made
}

/// `int get_tree_single(struct fs_context *, int (*fill_super)(struct super_block *, struct fs_context *))`: one super block of a
/// kind.
extern "C" fn get_tree_single(context: u64, fill: u64) -> i32 {
    get_tree(context, fill, true).map_or_else(Errno::to_return, |()| 0)
}
/// `int get_tree_nodev(struct fs_context *, int (*)(struct super_block *, struct fs_context *))`: one for each mount.
extern "C" fn get_tree_nodev(context: u64, fill: u64) -> i32 {
    get_tree(context, fill, false).map_or_else(Errno::to_return, |()| 0)
}

fn get_tree(context: u64, fill: u64, single: bool) -> Result<(), Errno> {
    // SAFETY: a context and the function of its file system.
    unsafe {
        let kind: u64 = fs_context::fs_type.get(context);
        let all: Vec<u64> = BLOCKS.lock().clone();
        let found = all.into_iter().find(|&sb| single && super_block::s_type.get::<u64>(sb) == kind);
        let sb = match found {
            Some(sb) => {
                super_block::s_active.set(sb, super_block::s_active.get::<u32>(sb) + 1);
                sb
            }
            None => {
                let sb = make(kind, fs_context::s_fs_info.get(context));
                if sb == 0 {
                    return Err(Errno::ENOMEM);
                }
                // It belongs to the super block now.
                fs_context::s_fs_info.set(context, 0u64);
                if let Some(errno) = Errno::from_return(i64::from(ram::call(fill, [sb, context]) as i32)) {
                    deactivate(sb);
                    return Err(errno);
                }
                super_block::s_flags.set(sb, super_block::s_flags.get::<u64>(sb) | ACTIVE | BORN);
                sb
            }
        };
        fs_context::root.set(context, dcache::hold(super_block::s_root.get(sb)));
    }
    Ok(())
}

/// Gives a super block back; the last one kills it.
fn deactivate(sb: u64) {
    // SAFETY: a super block of ours.
    unsafe {
        let left = super_block::s_active.get::<u32>(sb).saturating_sub(1);
        super_block::s_active.set(sb, left);
        if left > 0 {
            return;
        }
        let kind: u64 = super_block::s_type.get(sb);
        let kill: u64 = file_system_type::kill_sb.get(kind);
        if kill != 0 {
            ram::call(kill, [sb]);
        } else {
            generic_shutdown_super(sb);
        }
    }
    BLOCKS.lock().retain(|&other| other != sb);
    slab::release(sb, 0);
}

/// `void generic_shutdown_super(struct super_block *)`
extern "C" fn generic_shutdown_super(sb: u64) {
    layout! { mod operations = "super_operations" { put_super } }
    // SAFETY: a super block of ours.
    unsafe {
        let root: u64 = super_block::s_root.get(sb);
        super_block::s_root.set(sb, 0u64);
        if root != 0 {
            dcache::kill_tree(root);
            let table: u64 = super_block::s_op.get(sb);
            let put: u64 = if table == 0 { 0 } else { operations::put_super.get(table) };
            if put != 0 {
                ram::call(put, [sb]);
            }
        }
    }
}

/// Mounts a file system for the kernel itself.
fn mount(kind: u64) -> Result<u64, Errno> {
    // SAFETY: the module's file system, and structs made here.
    unsafe {
        let owner: u64 = file_system_type::owner.get(kind);
        if owner != 0 && !module::at(owner).is_some_and(|module| module.try_get()) {
            return Err(Errno::ENODEV);
        }
        let mounted = mount_of(kind);
        if mounted.is_err() && owner != 0 {
            put_owner(kind);
        }
        mounted
    }
}

fn put_owner(kind: u64) {
    // SAFETY: a file system whose owner has been taken.
    let owner: u64 = unsafe { file_system_type::owner.get(kind) };
    if let Some(module) = module::at(owner) {
        module.put();
    }
}

/// # Safety
/// `kind` is a file system.
unsafe fn mount_of(kind: u64) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the file system; the rest is made here.
    unsafe {
        let init: u64 = file_system_type::init_fs_context.get(kind);
        if init == 0 {
            return Err(Errno::ENODEV);
        }
        let context = slab::allocate(fs_context::SIZE.get(), 8, slab::ZERO, 0);
        let made = slab::allocate(vfsmount::SIZE.get(), 8, slab::ZERO, 0);
        if context == 0 || made == 0 {
            slab::release(context, 0);
            slab::release(made, 0);
            return Err(Errno::ENOMEM);
        }
        fs_context::fs_type.set(context, kind);
        fs_context::sb_flags.set(context, KERNEL_MOUNT);
        fs_context::net_ns.set(context, net::init_net());
        if let Some(namespace) = symbols::address("init_user_ns") {
            fs_context::user_ns.set(context, namespace);
        }
        let answered = |value: u64| Errno::from_return(i64::from(value as i32)).map_or(Ok(()), Err);
        let mut result = answered(ram::call(init, [context]));
        let table: u64 = fs_context::ops.get(context);
        if result.is_ok() && table != 0 {
            result = answered(ram::call(fs_context_operations::get_tree.get(table), [context]));
        }
        let free: u64 = if table == 0 { 0 } else { fs_context_operations::free.get(table) };
        if free != 0 {
            ram::call(free, [context]);
        }
        let root: u64 = fs_context::root.get(context);
        slab::release(context, 0);
        if let Err(errno) = result {
            slab::release(made, 0);
            return Err(errno);
        }
        vfsmount::mnt_root.set(made, root);
        vfsmount::mnt_sb.set(made, dcache::block_of(root));
        Ok(made)
    }
}

/// `struct vfsmount *kern_mount(struct file_system_type *)`
extern "C" fn kern_mount(kind: u64) -> u64 {
    mount(kind).unwrap_or_else(Errno::to_pointer)
}
/// `void kern_unmount(struct vfsmount *)`
extern "C" fn kern_unmount(mounted: u64) {
    if mounted != 0 && Errno::from_pointer(mounted).is_none() {
        unmount(mounted);
    }
}

fn unmount(mounted: u64) {
    // SAFETY: a mount of ours.
    unsafe {
        let sb: u64 = vfsmount::mnt_sb.get(mounted);
        let kind: u64 = super_block::s_type.get(sb);
        dcache::dput(vfsmount::mnt_root.get(mounted));
        deactivate(sb);
        put_owner(kind);
    }
    slab::release(mounted, 0);
}

/// `int simple_pin_fs(struct file_system_type *, struct vfsmount **, int *count)`
extern "C" fn simple_pin_fs(kind: u64, mounted: u64, count: u64) -> i32 {
    // SAFETY: the caller's two variables.
    unsafe {
        if ram::get::<u64>(mounted) == 0 {
            match mount(kind) {
                Ok(made) => ram::put(mounted, made),
                Err(errno) => return errno.to_return(),
            }
        }
        ram::put(count, ram::get::<i32>(count) + 1);
    }
    0
}
/// `void simple_release_fs(struct vfsmount **, int *count)`
extern "C" fn simple_release_fs(mounted: u64, count: u64) {
    // SAFETY: the caller's two variables.
    unsafe {
        let left = ram::get::<i32>(count) - 1;
        ram::put(count, left);
        if left == 0 {
            let made: u64 = ram::get(mounted);
            ram::put(mounted, 0u64);
            unmount(made);
        }
    }
}

/// `int simple_statfs(struct dentry *, struct kstatfs *)`
extern "C" fn simple_statfs(entry: u64, to: u64) -> i32 {
    // SAFETY: the caller's dentry and struct.
    unsafe {
        let sb = dcache::block_of(entry);
        kstatfs::f_type.set(to, super_block::s_magic.get::<u64>(sb));
        kstatfs::f_bsize.set(to, 4096u64);
        kstatfs::f_namelen.set(to, 255u64);
    }
    0
}

/// `int kern_path(const char *, unsigned flags, struct path *)`: nothing of what is mounted can be reached by a path.
extern "C" fn kern_path() -> i32 {
    Errno::ENOENT.to_return()
}
/// `void path_put(const struct path *)`
extern "C" fn path_put(at: u64) {
    // SAFETY: the caller's path.
    dcache::dput(unsafe { path::dentry.get(at) });
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c get_tree_single, c get_tree_nodev, c generic_shutdown_super, c kill_anon_super = generic_shutdown_super,
    c kill_litter_super = generic_shutdown_super, c kern_mount, c kern_unmount, c simple_pin_fs, c simple_release_fs, c simple_statfs,
    k kern_path, c path_put,
];
