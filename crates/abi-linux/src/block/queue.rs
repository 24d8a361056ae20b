//! Request queues: what a disk says of its limits.

use ferrmod_kernel::kernel;

use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{locks, ram, slab};

use super::gendisk;

layout! {
    mod request_queue = "request_queue" { queue_flags, disk, limits, node, icq_list, blkg_list, requeue_list }
    mod queue_limits = "queue_limits" {
        features, logical_block_size, physical_block_size, io_min, io_opt, max_hw_sectors, max_sectors, max_segments,
        max_segment_size, max_discard_sectors, max_hw_discard_sectors, max_write_zeroes_sectors, seg_boundary_mask,

    }
}

/// Whether disks are made with their limits, as they are since 6.9.
pub(super) fn limits_come_first() -> bool {
    // The member came with the last step of that change.
    queue_limits::features.offset().is_some()
}

/// A queue with `limits` (0: those that every queue begins with); 0 without memory.
pub(super) fn make(limits: u64, caller: u64) -> u64 {
    /// `BLK_SAFE_MAX_SECTORS`, `BLK_MAX_SEGMENTS`, `BLK_MAX_SEGMENT_SIZE`, `BLK_SEG_BOUNDARY_MASK`
    const MAX_SECTORS: u32 = 255;
    const MAX_SEGMENTS: u16 = 128;
    const MAX_SEGMENT: u32 = 65536;
    const BOUNDARY: u64 = 0xffff_ffff;
    let made = slab::allocate(request_queue::SIZE.get(), 64, slab::ZERO, caller);
    if made == 0 {
        return 0;
    }
    let own = request_queue::limits.at(made);
    // SAFETY: a zeroed block of the struct's size; the module's limits, if there are any.
    unsafe {
        for list in [&request_queue::icq_list, &request_queue::blkg_list, &request_queue::requeue_list] {
            if list.offset().is_some() {
                locks::init_list(list.at(made));
            }
        }
        request_queue::node.set(made, -1i32);
        if limits != 0 {
            ram::copy(own, limits, queue_limits::SIZE.get());
        }
        let fill = |field: &Field, value: u32| {
            if field.get::<u32>(own) == 0 {
                field.set(own, value);
            }
        };
        fill(&queue_limits::logical_block_size, super::SECTOR as u32);
        let logical: u32 = queue_limits::logical_block_size.get(own);
        fill(&queue_limits::physical_block_size, logical);
        fill(&queue_limits::io_min, logical);
        fill(&queue_limits::max_hw_sectors, MAX_SECTORS);
        fill(&queue_limits::max_sectors, MAX_SECTORS);
        fill(&queue_limits::max_segment_size, MAX_SEGMENT);
        queue_limits::max_segments.set(own, MAX_SEGMENTS);
        queue_limits::seg_boundary_mask.set(own, BOUNDARY);
    }
    made
}

/// The queue serves this disk.
///
/// # Safety
/// Both are what they are called.
pub(super) unsafe fn set_disk(queue: u64, disk: u64) {
    // SAFETY: the caller vouches for both.
    unsafe { request_queue::disk.set(queue, disk) };
}

/// Frees a queue.
pub(super) fn free(queue: u64) {
    slab::release(queue, 0);
}

fn limit(disk: u64, field: &Field) -> u64 {
    // SAFETY: a disk and its queue.
    unsafe { u64::from(field.get::<u32>(request_queue::limits.at(gendisk::queue.get(disk)))) }
}

/// Bytes of the smallest block that a disk transfers.
pub(crate) fn logical_block_size(disk: u64) -> u64 {
    limit(disk, &queue_limits::logical_block_size)
}
/// Bytes of the smallest block that a disk writes at once.
pub(crate) fn physical_block_size(disk: u64) -> u64 {
    limit(disk, &queue_limits::physical_block_size)
}

/// A name, and the number of a disk that it stands for.
pub(super) type Attribute = (&'static str, fn(u64) -> u64);

/// What `/sys/block/NAME/queue` says.
pub(super) const ATTRIBUTES: &[Attribute] = &[
    ("logical_block_size", logical_block_size),
    ("physical_block_size", physical_block_size),
    ("hw_sector_size", logical_block_size),
    ("minimum_io_size", |disk| limit(disk, &queue_limits::io_min)),
    ("optimal_io_size", |disk| limit(disk, &queue_limits::io_opt)),
];

fn flag(queue: u64, number: u32, set: bool) {
    let bit = 1u64 << (number & 63);
    // SAFETY: the module's queue.
    unsafe {
        let flags: u64 = request_queue::queue_flags.get(queue);
        request_queue::queue_flags.set(queue, if set { flags | bit } else { flags & !bit });
    }
}
extern "C" fn blk_queue_flag_set(number: u32, queue: u64) {
    flag(queue, number, true);
}
extern "C" fn blk_queue_flag_clear(number: u32, queue: u64) {
    flag(queue, number, false);
}

fn set(queue: u64, field: &Field, value: u32) {
    if field.offset().is_some() {
        // SAFETY: the module's queue.
        unsafe { field.set(request_queue::limits.at(queue), value) };
    }
}
fn raise(queue: u64, field: &Field, value: u32) {
    // SAFETY: the module's queue.
    if unsafe { field.get::<u32>(request_queue::limits.at(queue)) } < value {
        set(queue, field, value);
    }
}
/// `void blk_queue_logical_block_size(struct request_queue *, unsigned int)`
extern "C" fn blk_queue_logical_block_size(queue: u64, size: u32) {
    set(queue, &queue_limits::logical_block_size, size);
    raise(queue, &queue_limits::physical_block_size, size);
    raise(queue, &queue_limits::io_min, size);
}
extern "C" fn blk_queue_physical_block_size(queue: u64, size: u32) {
    set(queue, &queue_limits::physical_block_size, size);
    // SAFETY: the module's queue.
    let logical = unsafe { queue_limits::logical_block_size.get::<u32>(request_queue::limits.at(queue)) };
    raise(queue, &queue_limits::physical_block_size, logical);
    raise(queue, &queue_limits::io_min, size.max(logical));
}
extern "C" fn blk_queue_io_min(queue: u64, size: u32) {
    set(queue, &queue_limits::io_min, size);
    // SAFETY: the module's queue.
    let physical = unsafe { queue_limits::physical_block_size.get::<u32>(request_queue::limits.at(queue)) };
    raise(queue, &queue_limits::io_min, physical);
}
extern "C" fn blk_queue_io_opt(queue: u64, size: u32) {
    set(queue, &queue_limits::io_opt, size);
}
extern "C" fn blk_queue_max_discard_sectors(queue: u64, sectors: u32) {
    set(queue, &queue_limits::max_hw_discard_sectors, sectors);
    set(queue, &queue_limits::max_discard_sectors, sectors);
}
extern "C" fn blk_queue_max_write_zeroes_sectors(queue: u64, sectors: u32) {
    set(queue, &queue_limits::max_write_zeroes_sectors, sectors);
}
extern "C" fn blk_queue_max_hw_sectors(queue: u64, sectors: u32) {
    /// A page's worth.
    const FEWEST: u32 = 8;
    if sectors < FEWEST {
        kernel().printk(alloc::format!("\x016blk_queue_max_hw_sectors: set to minimum {FEWEST}\n").as_bytes());
    }
    set(queue, &queue_limits::max_hw_sectors, sectors.max(FEWEST));
    set(queue, &queue_limits::max_sectors, sectors.max(FEWEST));
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c blk_queue_flag_set, c blk_queue_flag_clear, c blk_queue_logical_block_size, c blk_queue_physical_block_size, c blk_queue_io_min,
    c blk_queue_io_opt, c blk_queue_max_discard_sectors, c blk_queue_max_write_zeroes_sectors, c blk_queue_max_hw_sectors,
];
