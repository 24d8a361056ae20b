//! Mounting what modules bring along: contexts, super blocks and the mounts of the kernel itself.

use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::{dcache, file, rw_semaphore};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{block, locks, module, net, printf, ram, slab, symbols};

layout! {
    pub(crate) mod super_block = "super_block" {
        s_root, s_type, s_op, s_fs_info, s_blocksize, s_blocksize_bits, s_flags, s_maxbytes, s_time_gran, s_d_op, s_umount, s_active,
        s_count, s_bdev, s_bdev_file, s_dev, s_id, s_inodes, s_mounts, s_list, s_user_ns, s_magic,
    }
    mod fs_context = "fs_context" { ops, fs_type, root, source, s_fs_info, sb_flags, user_ns, net_ns }
    mod fs_context_operations = "fs_context_operations" { free, get_tree }
    mod file_system_type = "file_system_type" { owner, init_fs_context, kill_sb, mount }
    pub(crate) mod vfsmount = "vfsmount" { mnt_root, mnt_sb }
    pub(super) mod kstatfs = "kstatfs" { f_type, f_bsize, f_namelen }
    pub(super) mod path = "path" { dentry }
}

/// `SB_KERNMOUNT`, `SB_ACTIVE`, `SB_BORN`
const KERNEL_MOUNT: u32 = 1 << 22;
const ACTIVE: u64 = 1 << 30;
const BORN: u64 = 1 << 29;

/// The super blocks there are.
static BLOCKS: Lock<Vec<u64>> = Lock::new(Vec::new());

/// A new super block of a file system; 0 without memory.
pub(super) fn make(kind: u64, info: u64) -> u64 {
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
    Errno::returned(get_tree(context, fill, true))
}
/// `int get_tree_nodev(struct fs_context *, int (*)(struct super_block *, struct fs_context *))`: one for each mount.
pub(super) extern "C" fn get_tree_nodev(context: u64, fill: u64) -> i32 {
    Errno::returned(get_tree(context, fill, false))
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

/// Mounts a file system: for the kernel itself, or from a block device; its `struct vfsmount`.
///
/// # Errors
/// `ENODEV` when its module goes; what the file system answers.
pub(crate) fn mount(kind: u64, source: Option<&str>, flags: u32) -> Result<u64, Errno> {
    // SAFETY: the module's file system, and structs made here.
    unsafe {
        let owner: u64 = file_system_type::owner.get(kind);
        if owner != 0 && !module::at(owner).is_some_and(|module| module.try_get()) {
            return Err(Errno::ENODEV);
        }
        let mounted = mount_of(kind, source, flags);
        // The reference belongs to the super block: one that was there has its own.
        let is_shared = |&mounted: &u64| super_block::s_active.get::<u32>(vfsmount::mnt_sb.get(mounted)) > 1;
        if mounted.as_ref().map_or(true, is_shared) && owner != 0 {
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
unsafe fn mount_of(kind: u64, source: Option<&str>, flags: u32) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the file system; the rest is made here.
    unsafe {
        let init: u64 = file_system_type::init_fs_context.get(kind);
        if init == 0 {
            return legacy(kind, source, flags);
        }
        let context = slab::allocate(fs_context::SIZE.get(), 8, slab::ZERO, 0);
        let made = slab::allocate(vfsmount::SIZE.get(), 8, slab::ZERO, 0);
        if context == 0 || made == 0 {
            slab::release(context, 0);
            slab::release(made, 0);
            return Err(Errno::ENOMEM);
        }
        fs_context::fs_type.set(context, kind);
        fs_context::sb_flags.set(context, flags);
        if let Some(source) = source {
            fs_context::source.set(context, printf::duplicate(source.as_bytes(), 0, 0));
        }
        fs_context::net_ns.set(context, net::init_net());
        if let Some(namespace) = symbols::address("init_user_ns") {
            fs_context::user_ns.set(context, namespace);
        }
        let answered = |value: u64| Errno::result(value as i32);
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
        slab::release(fs_context::source.get(context), 0);
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

/// Mounts a file system that knows no contexts.
///
/// # Safety
/// `kind` is a file system.
unsafe fn legacy(kind: u64, source: Option<&str>, flags: u32) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the file system.
    unsafe {
        let function: u64 = file_system_type::mount.get(kind);
        if function == 0 {
            return Err(Errno::ENODEV);
        }
        let made = slab::allocate(vfsmount::SIZE.get(), 8, slab::ZERO, 0);
        let name = printf::duplicate(source.unwrap_or("none").as_bytes(), 0, 0);
        if made == 0 || name == 0 {
            slab::release(made, 0);
            slab::release(name, 0);
            return Err(Errno::ENOMEM);
        }
        let root = ram::call(function, [kind, flags.into(), name, 0]);
        slab::release(name, 0);
        if let Some(errno) = Errno::from_pointer(root) {
            slab::release(made, 0);
            return Err(errno);
        }
        vfsmount::mnt_root.set(made, root);
        vfsmount::mnt_sb.set(made, dcache::block_of(root));
        Ok(made)
    }
}

/// The open block device of a super block.
struct Device {
    sb: u64,
    device: u64,
    /// Its `struct file`, where super blocks have one (since 6.9), else 0. All that is asked of it is to be closed.
    file: u64,
    opened: block::file::Opened,
}

static DEVICES: Lock<Vec<Device>> = Lock::new(Vec::new());

/// Closes the device that is meant, and forgets its blocks.
fn close(is_meant: impl Fn(&Device) -> bool) {
    let found = {
        let mut devices = DEVICES.lock();
        devices.iter().position(is_meant).map(|place| devices.swap_remove(place))
    };
    if let Some(Device { device, file, opened, .. }) = found {
        block::buffers::drop_all(device);
        slab::release(file, 0);
        // Its driver is called here, with no lock held.
        drop(opened);
    }
}

/// A super block on the block device `source`, filled in by `fill`, or the one that is there; its root, held.
fn on_device(kind: u64, source: u64, info: u64, flags: u32, fill: impl FnOnce(u64) -> i32) -> Result<u64, Errno> {
    // SAFETY: the caller's C string.
    let path = unsafe { ram::c_string_or_empty(source) };
    if path.is_empty() {
        return Err(Errno::EINVAL);
    }
    let disk = block::by_path(&path.to_str_lossy())?;
    let device = block::whole(disk);
    // SAFETY: the super blocks there are, and the one that is made.
    unsafe {
        let all: Vec<u64> = BLOCKS.lock().clone();
        let same =
            |sb: &u64| super_block::s_type.get::<u64>(*sb) == kind && super_block::s_bdev.get::<u64>(*sb) == device;
        if let Some(sb) = all.into_iter().find(same) {
            super_block::s_active.set(sb, super_block::s_active.get::<u32>(sb) + 1);
            return Ok(dcache::hold(super_block::s_root.get(sb)));
        }
        let number: u32 = block::block_device::bd_dev.get(device);
        let opened = block::file::Opened::open(number, 0)?;
        let has_file = super_block::s_bdev_file.offset().is_some();
        let file = if has_file { slab::allocate(file::SIZE.get(), 8, slab::ZERO, 0) } else { 0 };
        let sb = if has_file && file == 0 { 0 } else { make(kind, info) };
        if sb == 0 {
            slab::release(file, 0);
            return Err(Errno::ENOMEM);
        }
        if has_file {
            super_block::s_bdev_file.set(sb, file);
        }
        super_block::s_bdev.set(sb, device);
        super_block::s_dev.set(sb, number);
        super_block::s_flags.set(sb, u64::from(flags));
        let id = block::name(disk);
        let length = id.len().min(31);
        ram::bytes_mut(super_block::s_id.at(sb), length as u64).copy_from_slice(&id.as_bytes()[..length]);
        DEVICES.lock().push(Device { sb, device, file, opened });
        set_block_size(sb, default_block_size(disk));
        if let Some(errno) = Errno::from_return(i64::from(fill(sb))) {
            deactivate(sb);
            return Err(errno);
        }
        super_block::s_flags.set(sb, super_block::s_flags.get::<u64>(sb) | ACTIVE | BORN);
        Ok(dcache::hold(super_block::s_root.get(sb)))
    }
}

/// The largest block that a disk's size is a multiple of, up to a page.
fn default_block_size(disk: u64) -> u64 {
    let bytes = block::sectors(disk).saturating_mul(block::SECTOR);
    let mut size = block::queue::logical_block_size(disk);
    while size < 4096 && bytes & size == 0 {
        size <<= 1;
    }
    size
}

fn set_block_size(sb: u64, size: u64) {
    // SAFETY: a super block.
    unsafe {
        super_block::s_blocksize.set(sb, size);
        super_block::s_blocksize_bits.set(sb, size.trailing_zeros() as u8);
    }
}

/// `int sb_set_blocksize(struct super_block *, int)`: the size, or 0 when the device cannot have it.
extern "C" fn sb_set_blocksize(sb: u64, size: i32) -> i32 {
    let wanted = size.max(0) as u64;
    // SAFETY: a super block on a block device.
    let least = unsafe {
        let device: u64 = super_block::s_bdev.get(sb);
        block::queue::logical_block_size(block::block_device::bd_disk.get(device))
    };
    if !wanted.is_power_of_two() || !(block::SECTOR..=4096).contains(&wanted) || wanted < least {
        return 0;
    }
    set_block_size(sb, wanted);
    size
}
/// `int sb_min_blocksize(struct super_block *, int)`: not less than the device's own blocks.
extern "C" fn sb_min_blocksize(sb: u64, size: i32) -> i32 {
    // SAFETY: a super block on a block device.
    let least = unsafe {
        let device: u64 = super_block::s_bdev.get(sb);
        block::queue::logical_block_size(block::block_device::bd_disk.get(device))
    };
    sb_set_blocksize(sb, size.max(least as i32))
}

/// `int get_tree_bdev(struct fs_context *, int (*fill_super)(struct super_block *, struct fs_context *))`
extern "C" fn get_tree_bdev(context: u64, fill: u64) -> i32 {
    // SAFETY: a context and the function of its file system.
    let root = unsafe {
        let info: u64 = fs_context::s_fs_info.get(context);
        on_device(
            fs_context::fs_type.get(context),
            fs_context::source.get(context),
            info,
            fs_context::sb_flags.get(context),
            |sb| {
                // It belongs to the super block now.
                fs_context::s_fs_info.set(context, 0u64);
                ram::call(fill, [sb, context]) as i32
            },
        )
    };
    match root {
        Ok(root) => {
            // SAFETY: as above.
            unsafe { fs_context::root.set(context, root) };
            0
        }
        Err(errno) => errno.to_return(),
    }
}

/// `struct dentry *mount_bdev(struct file_system_type *, int flags, const char *, void *data, int (*fill)(struct super_block *, void *, int))`
extern "C" fn mount_bdev(kind: u64, flags: u32, source: u64, data: u64, fill: u64) -> u64 {
    /// `SB_SILENT`
    const SILENT: u32 = 1 << 15;
    let silent = u64::from(flags & SILENT != 0);
    // SAFETY: the function of the file system, with its super block.
    on_device(kind, source, 0, flags, |sb| unsafe { ram::call(fill, [sb, data, silent]) as i32 })
        .unwrap_or_else(Errno::to_pointer)
}

/// `void kill_block_super(struct super_block *)`
extern "C" fn kill_block_super(sb: u64) {
    generic_shutdown_super(sb);
    close(|of| of.sb == sb);
}
/// `void bdev_fput(struct file *)`: of a super block, whose file system shuts it down itself.
extern "C" fn bdev_fput(file: u64) {
    close(|of| of.file == file);
}

/// `void logfc(struct fc_log *, const char *prefix, char level, const char *, ...)`: without a log of the context's own, to the
/// kernel's.
extern "C" fn logfc(_log: u64, prefix: u64, level: u8, format: u64, list: u64) {
    let mark = match level {
        b'w' => '4',
        b'e' => '3',
        _ => '5',
    };
    // SAFETY: the module's C string, or null.
    let prefix = unsafe { ram::c_string_or_empty(prefix) };
    let mut line = alloc::format!("\x01{mark}").into_bytes();
    if !prefix.is_empty() {
        line.extend_from_slice(&prefix);
        line.extend_from_slice(b": ");
    }
    line.extend_from_slice(&printf::text_of(format, list));
    line.push(b'\n');
    kernel().printk(&line);
}
/// `int sync_filesystem(struct super_block *)`: nothing is kept back.
extern "C" fn sync_filesystem() -> i32 {
    0
}

/// `struct vfsmount *kern_mount(struct file_system_type *)`
extern "C" fn kern_mount(kind: u64) -> u64 {
    mount(kind, None, KERNEL_MOUNT).unwrap_or_else(Errno::to_pointer)
}
/// `void kern_unmount(struct vfsmount *)`
extern "C" fn kern_unmount(mounted: u64) {
    if mounted != 0 && Errno::from_pointer(mounted).is_none() {
        unmount(mounted);
    }
}

/// Gives a mount back.
pub(crate) fn unmount(mounted: u64) {
    // SAFETY: a mount of ours.
    unsafe {
        let sb: u64 = vfsmount::mnt_sb.get(mounted);
        let kind: u64 = super_block::s_type.get(sb);
        let is_last = super_block::s_active.get::<u32>(sb) == 1;
        dcache::dput(vfsmount::mnt_root.get(mounted));
        deactivate(sb);
        if is_last {
            put_owner(kind);
        }
    }
    slab::release(mounted, 0);
}

/// `int simple_pin_fs(struct file_system_type *, struct vfsmount **, int *count)`
extern "C" fn simple_pin_fs(kind: u64, mounted: u64, count: u64) -> i32 {
    // SAFETY: the caller's two variables.
    unsafe {
        if ram::get::<u64>(mounted) == 0 {
            match mount(kind, None, KERNEL_MOUNT) {
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
/// `void path_get(const struct path *)`
extern "C" fn path_get(at: u64) {
    // SAFETY: the caller's path.
    dcache::hold(unsafe { path::dentry.get(at) });
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
    k kern_path, c path_get, c path_put, c sb_set_blocksize, c sb_min_blocksize, c get_tree_bdev, c mount_bdev, c kill_block_super, c bdev_fput,
    v4 logfc, k sync_filesystem,
];
