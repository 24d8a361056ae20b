//! Who has a block device for itself, and media that change.

use ferrmod_kernel::{Errno, kernel};

use super::{block_device, buffers, device_of, queue, set_capacity, whole};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{device, ram, tasks, uevent, vfs};

layout! {
    mod holder = "block_device" { bd_holder, bd_claiming }
    mod inode = "inode" { i_blkbits }
    mod events = "gendisk" { diskseq }
    mod table = "block_device_operations" { check_events }
}

/// `int bd_prepare_to_claim(struct block_device *, void *holder, const struct blk_holder_ops *)`: nobody else may claim it until
/// the claim is aborted or becomes a holder.
extern "C" fn bd_prepare_to_claim(at: u64, by: u64) -> i32 {
    let caller = ram::caller();
    loop {
        // SAFETY: the caller's device.
        let (has, claims) = unsafe { (holder::bd_holder.get::<u64>(at), holder::bd_claiming.get::<u64>(at)) };
        if has != 0 && has != by {
            return Errno::EBUSY.to_return();
        }
        if claims == 0 || claims == by {
            // SAFETY: as above.
            unsafe { holder::bd_claiming.set(at, by) };
            return 0;
        }
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(holder::bd_claiming.at(at)));
    }
}
/// `void bd_abort_claiming(struct block_device *, void *holder)`
extern "C" fn bd_abort_claiming(at: u64, by: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's device.
    unsafe {
        if holder::bd_claiming.get::<u64>(at) != by {
            return kernel().warn("bd_abort_claiming: claimed by somebody else", caller);
        }
        holder::bd_claiming.set(at, 0u64);
    }
    kernel().tasks.wake_channel(holder::bd_claiming.at(at), usize::MAX);
}

/// `struct block_device *I_BDEV(struct inode *)`
extern "C" fn i_bdev(of: u64) -> u64 {
    super::INODES.lock().iter().find(|(_, inode)| *inode == of).map_or(0, |&(device, _)| device)
}

/// `int bdev_disk_changed(struct gendisk *, bool invalidate)`: partitions are not looked for.
extern "C" fn bdev_disk_changed(disk: u64) -> i32 {
    buffers::drop_unused(whole(disk));
    0
}
/// `void invalidate_disk(struct gendisk *)`: nothing is in it any more.
extern "C" fn invalidate_disk(disk: u64) {
    buffers::drop_unused(whole(disk));
    set_capacity(disk, 0);
}
/// `void invalidate_bdev(struct block_device *)`
extern "C" fn invalidate_bdev(at: u64) {
    buffers::drop_unused(at);
}
/// `int __invalidate_device(struct block_device *, bool kill_dirty)`
extern "C" fn __invalidate_device(at: u64) -> i32 {
    buffers::drop_unused(at);
    0
}

/// `DISK_EVENT_MEDIA_CHANGE`
const MEDIA_CHANGE: u32 = 1;

/// `bool disk_force_media_change(struct gendisk *, unsigned int events)`, later without events: the medium has changed.
extern "C" fn disk_force_media_change(disk: u64, what: u32) -> bool {
    // The argument went when holders got functions of their own.
    let is_told = block_device::bd_holder_ops.offset().is_none();
    if is_told && what & MEDIA_CHANGE == 0 {
        return false;
    }
    uevent::send(device::object(device_of(disk)), "change", &[b"DISK_MEDIA_CHANGE=1".to_vec()]);
    // SAFETY: the driver's disk.
    unsafe { events::diskseq.set(disk, events::diskseq.get::<u64>(disk) + 1) };
    buffers::drop_unused(whole(disk));
    true
}

/// Whether the driver says that the medium has changed.
fn has_changed(disk: u64) -> bool {
    // SAFETY: a disk and its driver's function.
    let changed = unsafe {
        let ops: u64 = super::gendisk::fops.get(disk);
        let check: u64 = if ops == 0 { 0 } else { table::check_events.get(ops) };
        check != 0 && ram::call(check, [disk, 0]) as u32 & MEDIA_CHANGE != 0
    };
    changed && disk_force_media_change(disk, MEDIA_CHANGE)
}
/// `bool bdev_check_media_change(struct block_device *)`
extern "C" fn bdev_check_media_change(at: u64) -> bool {
    // SAFETY: the caller's device.
    has_changed(unsafe { block_device::bd_disk.get(at) })
}
/// `bool disk_check_media_change(struct gendisk *)`
extern "C" fn disk_check_media_change(disk: u64) -> bool {
    has_changed(disk)
}

/// `unsigned int block_size(struct block_device *)`: of what is kept of it in memory.
extern "C" fn block_size(at: u64) -> u32 {
    // SAFETY: the caller's device.
    unsafe {
        let bits: u8 = inode::i_blkbits.get(super::inode_of(at));
        if bits == 0 { queue::logical_block_size(block_device::bd_disk.get(at)) as u32 } else { 1 << (bits & 31) }
    }
}
/// `int set_blocksize(struct block_device *, int)`, since 6.11 of its file.
extern "C" fn set_blocksize(of: u64, size: i32) -> i32 {
    let at = match super::INODES.lock().iter().any(|(device, _)| *device == of) {
        true => of,
        // SAFETY: the caller's file.
        false => i_bdev(unsafe { vfs::file::f_inode.get(of) }),
    };
    let wanted = size.max(0) as u64;
    if at == 0 || !wanted.is_power_of_two() || !(super::SECTOR..=ferrmod_kernel::heap::PAGE).contains(&wanted) {
        return Errno::EINVAL.to_return();
    }
    // SAFETY: a device of a disk and its inode.
    unsafe {
        if wanted < queue::logical_block_size(block_device::bd_disk.get(at)) {
            return Errno::EINVAL.to_return();
        }
        inode::i_blkbits.set(super::inode_of(at), wanted.trailing_zeros() as u8);
    }
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c bd_prepare_to_claim, c bd_abort_claiming, c I_BDEV = i_bdev, c bdev_disk_changed, c invalidate_disk, c invalidate_bdev,
    c __invalidate_device, c bdev_mark_dead = __invalidate_device, c disk_force_media_change, c bdev_check_media_change,
    c disk_check_media_change, c block_size, c set_blocksize,
];
