//! Request queues: what a disk says of its limits.

use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::{Errno, kernel};

use crate::device::layout::mutex;
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{locks, ram, slab};

use super::gendisk;
use super::operations::{DISCARD, OPERATION, SECURE_ERASE, WRITE_ZEROES};
use super::parts::Limits;

layout! {
    mod request_queue = "request_queue" {
        queue_flags, disk, limits, node, icq_list, blkg_list, requeue_list, limits_lock, sysfs_lock, dma_pad_mask,
    }
    mod queue_limits = "queue_limits" {
        features, logical_block_size, physical_block_size, io_min, io_opt, max_hw_sectors, max_sectors, max_segments,
        max_segment_size, max_discard_sectors, max_hw_discard_sectors, max_write_zeroes_sectors, seg_boundary_mask,
        virt_boundary_mask, chunk_sectors, max_user_discard_sectors, max_secure_erase_sectors,
        max_zone_append_sectors, max_discard_segments, discard_granularity, alignment_offset, dma_alignment,
        zone_write_granularity, max_dev_sectors, zoned, discard_alignment,
    }
}

/// Whether disks are made with their limits, as they are since 6.9.
pub(super) fn limits_come_first() -> bool {
    // The member came with the last step of that change.
    queue_limits::features.offset().is_some()
}

/// `BLK_SAFE_MAX_SECTORS`, `BLK_MAX_SEGMENTS`, `BLK_MAX_SEGMENT_SIZE`, `BLK_SEG_BOUNDARY_MASK`, `BLK_DEF_MAX_SECTORS`
const MAX_SECTORS: u32 = 255;
const MAX_SEGMENTS: u16 = 128;
const MAX_SEGMENT: u32 = 65536;
const BOUNDARY: u64 = 0xffff_ffff;
const DEFAULT_SECTORS: u32 = 2560;

/// A queue with `limits` (0: those that every queue begins with); 0 without memory.
pub(super) fn make(limits: u64, caller: u64) -> u64 {
    let made = slab::allocate(request_queue::SIZE.get(), 64, slab::ZERO, caller);
    if made == 0 {
        return 0;
    }
    // SAFETY: a zeroed block of the struct's size; the module's limits, if there are any.
    unsafe {
        for list in [&request_queue::icq_list, &request_queue::blkg_list, &request_queue::requeue_list] {
            if list.offset().is_some() {
                locks::init_list(list.at(made));
            }
        }
        for lock in [&request_queue::limits_lock, &request_queue::sysfs_lock] {
            if lock.offset().is_some() {
                locks::init_list(mutex::wait_list.at(lock.at(made)));
            }
        }
        request_queue::node.set(made, -1i32);
        let own = request_queue::limits.at(made);
        if limits != 0 {
            ram::copy(own, limits, queue_limits::SIZE.get());
        }
        complete(own, limits != 0);
    }
    made
}

/// Fills in what limits do not say; `given`: they came from a driver, which may say more than it transfers at once.
///
/// # Safety
/// `own` is a `struct queue_limits`.
unsafe fn complete(own: u64, given: bool) {
    // SAFETY: the caller vouches for the limits.
    unsafe {
        let fill = |field: &Field, value: u32| {
            if field.offset().is_some() && field.get::<u32>(own) == 0 {
                field.set(own, value);
            }
        };
        fill(&queue_limits::logical_block_size, super::SECTOR as u32);
        let logical: u32 = queue_limits::logical_block_size.get(own);
        fill(&queue_limits::physical_block_size, logical);
        let physical: u32 = queue_limits::physical_block_size.get(own);
        fill(&queue_limits::io_min, physical);
        fill(&queue_limits::max_hw_sectors, MAX_SECTORS);
        let hardware: u32 = queue_limits::max_hw_sectors.get(own);
        if given {
            queue_limits::max_sectors.set(own, hardware.min(DEFAULT_SECTORS));
        } else {
            fill(&queue_limits::max_sectors, MAX_SECTORS);
        }
        // Pieces need no largest size where they need gaps nowhere.
        let gaps: u64 = queue_limits::virt_boundary_mask.get(own);
        fill(&queue_limits::max_segment_size, if gaps == 0 { MAX_SEGMENT } else { u32::MAX });
        if queue_limits::max_user_discard_sectors.offset().is_some() {
            if !given {
                queue_limits::max_user_discard_sectors.set(own, u32::MAX);
            }
            let (most, asked): (u32, u32) =
                (queue_limits::max_hw_discard_sectors.get(own), queue_limits::max_user_discard_sectors.get(own));
            queue_limits::max_discard_sectors.set(own, if asked == 0 { most } else { most.min(asked) });
        }
        for (field, value) in [(&queue_limits::max_segments, MAX_SEGMENTS), (&queue_limits::max_discard_segments, 1)] {
            if field.get::<u16>(own) == 0 {
                field.set(own, value);
            }
        }
        if queue_limits::seg_boundary_mask.get::<u64>(own) == 0 {
            queue_limits::seg_boundary_mask.set(own, BOUNDARY);
        }
    }
}

/// `int queue_limits_commit_update(struct request_queue *, struct queue_limits *)`: the driver's copy, changed; its lock is given back.
extern "C" fn queue_limits_commit_update(queue: u64, limits: u64) -> i32 {
    let caller = ram::caller();
    let answer = queue_limits_set_to(queue, limits);
    locks::give(request_queue::limits_lock.at(queue), caller);
    answer
}
/// `int queue_limits_set(struct request_queue *, struct queue_limits *)`
extern "C" fn queue_limits_set_to(queue: u64, limits: u64) -> i32 {
    // SAFETY: the driver's queue and limits.
    unsafe {
        let size: u32 = queue_limits::logical_block_size.get(limits);
        if size != 0 && (!size.is_power_of_two() || u64::from(size) < super::SECTOR || u64::from(size) > PAGE) {
            return Errno::EINVAL.to_return();
        }
        let own = request_queue::limits.at(queue);
        ram::copy(own, limits, queue_limits::SIZE.get());
        complete(own, true);
    }
    0
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

/// The members of limits that the queue's own transfers keep to.
fn own(queue: u64) -> u64 {
    request_queue::limits.at(queue)
}
/// Bytes of the largest transfer that the hardware makes.
pub(super) fn largest_transfer(queue: u64) -> u32 {
    // SAFETY: a queue.
    unsafe { queue_limits::max_hw_sectors.get::<u32>(own(queue)) }.saturating_mul(super::SECTOR as u32)
}

/// Operations without memory, and the sectors that a queue does of each at once.
const WITHOUT_MEMORY: [(u32, &Field); 3] = [
    (DISCARD, &queue_limits::max_discard_sectors),
    (SECURE_ERASE, &queue_limits::max_secure_erase_sectors),
    (WRITE_ZEROES, &queue_limits::max_write_zeroes_sectors),
];

/// Whether a queue can do an operation.
pub(super) fn can(queue: u64, operation: u32) -> bool {
    let known = WITHOUT_MEMORY.iter().find(|(other, _)| *other == operation);
    // SAFETY: a queue.
    known.is_none_or(|(_, field)| unsafe { field.get::<u32>(own(queue)) } != 0)
}

/// The sectors of a bio's first transfer when it is too large for one.
///
/// # Safety
/// Both are what they are called.
pub(super) unsafe fn too_large(queue: u64, bio: u64) -> Option<u32> {
    let limits = own(queue);
    // SAFETY: the caller vouches for both.
    unsafe {
        let operation = super::bio::flags_of(bio) & OPERATION;
        let known = WITHOUT_MEMORY.iter().find(|(other, _)| *other == operation);
        let most: u32 = known.map_or(&queue_limits::max_sectors, |(_, field)| field).get(limits);
        let chunk: u32 = queue_limits::chunk_sectors.get(limits);
        let until = match chunk {
            0 => u32::MAX,
            chunk => chunk - (super::bio::sector_of(bio) % u64::from(chunk)) as u32,
        };
        super::parts::fitting(bio, &Limits { sectors: most.min(until), ..memory_limits(queue) })
    }
}

/// What the queue's transfers and their pieces of memory may be.
pub(super) fn memory_limits(queue: u64) -> Limits {
    let limits = own(queue);
    // SAFETY: a queue.
    unsafe {
        Limits {
            sectors: queue_limits::max_sectors.get(limits),
            segments: queue_limits::max_segments.get(limits),
            largest: queue_limits::max_segment_size.get(limits),
            block: queue_limits::logical_block_size.get(limits),
            gap: queue_limits::virt_boundary_mask.get(limits),
            boundary: queue_limits::seg_boundary_mask.get(limits),
        }
    }
}

/// Flags of a queue, or features of its limits: a write cache, and writes that go past it.
const WRITE_CACHE: (u32, u32) = (17, 1 << 0);
const PAST_CACHE: (u32, u32) = (18, 1 << 1);
/// A disk that does not turn, or (since it is a feature) one that does.
const STILL: u32 = 6;
const TURNS: u32 = 1 << 2;

fn has(queue: u64, (flag, feature): (u32, u32)) -> bool {
    // SAFETY: a queue.
    unsafe {
        if queue_limits::features.offset().is_some() {
            queue_limits::features.get::<u32>(own(queue)) & feature != 0
        } else {
            request_queue::queue_flags.get::<u64>(queue) & 1 << flag != 0
        }
    }
}
/// Whether something can be written past the cache.
pub(super) fn writes_past_cache(queue: u64) -> bool {
    has(queue, PAST_CACHE)
}
/// Whether what is written may be lost until it is flushed.
pub(super) fn has_write_cache(queue: u64) -> bool {
    has(queue, WRITE_CACHE)
}
fn turns(disk: u64) -> u64 {
    // SAFETY: a disk and its queue.
    let queue: u64 = unsafe { gendisk::queue.get(disk) };
    let turns =
        if queue_limits::features.offset().is_some() { has(queue, (0, TURNS)) } else { !has(queue, (STILL, 0)) };
    turns.into()
}
fn short(disk: u64, field: &Field) -> u64 {
    // SAFETY: a disk and its queue.
    unsafe { u64::from(field.get::<u16>(own(gendisk::queue.get(disk)))) }
}

/// `void blk_queue_write_cache(struct request_queue *, bool enabled, bool fua)`
extern "C" fn blk_queue_write_cache(queue: u64, enabled: bool, fua: bool) {
    flag(queue, WRITE_CACHE.0, enabled);
    flag(queue, PAST_CACHE.0, fua);
}

/// Bytes by which a disk's first block is off.
pub(super) fn alignment_offset(disk: u64) -> u64 {
    limit(disk, &queue_limits::alignment_offset)
}
/// Bytes by which the first sector that can be discarded is off.
pub(super) fn discard_alignment(disk: u64) -> u64 {
    limit(disk, &queue_limits::discard_alignment)
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
    ("max_hw_sectors_kb", |disk| limit(disk, &queue_limits::max_hw_sectors) / 2),
    ("max_sectors_kb", |disk| limit(disk, &queue_limits::max_sectors) / 2),
    ("max_segments", |disk| short(disk, &queue_limits::max_segments)),
    ("max_segment_size", |disk| limit(disk, &queue_limits::max_segment_size)),
    ("max_discard_segments", |disk| short(disk, &queue_limits::max_discard_segments)),
    ("discard_max_bytes", |disk| limit(disk, &queue_limits::max_discard_sectors) * super::SECTOR),
    ("discard_max_hw_bytes", |disk| limit(disk, &queue_limits::max_hw_discard_sectors) * super::SECTOR),
    ("discard_granularity", |disk| limit(disk, &queue_limits::discard_granularity)),
    ("write_zeroes_max_bytes", |disk| limit(disk, &queue_limits::max_write_zeroes_sectors) * super::SECTOR),
    ("chunk_sectors", |disk| limit(disk, &queue_limits::chunk_sectors)),
    ("rotational", turns),
    ("fua", |disk| u64::from(queue_has(disk, PAST_CACHE))),
];

fn queue_has(disk: u64, which: (u32, u32)) -> bool {
    // SAFETY: a disk and its queue.
    has(unsafe { gendisk::queue.get(disk) }, which)
}

/// A name, and the word for a disk that it stands for.
pub(super) type Word = (&'static str, fn(u64) -> &'static str);

/// What `/sys/block/NAME/queue` says in words.
pub(super) const WORDS: &[Word] = &[
    ("write_cache", |disk| if queue_has(disk, WRITE_CACHE) { "write back" } else { "write through" }),
    ("zoned", |_| "none"),
];

fn flag(queue: u64, number: u32, is_set: bool) {
    // SAFETY: the module's queue.
    unsafe { change_flag(queue, 1 << (number & 63), is_set) };
}

/// Sets or clears a flag of a queue, given as its bit.
///
/// # Safety
/// `queue` is a queue.
pub(super) unsafe fn change_flag(queue: u64, bit: u64, is_set: bool) {
    // SAFETY: the caller vouches for the queue.
    unsafe {
        let flags: u64 = request_queue::queue_flags.get(queue);
        request_queue::queue_flags.set(queue, if is_set { flags | bit } else { flags & !bit });
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
/// `void blk_queue_max_hw_sectors(struct request_queue *, unsigned int)`
extern "C" fn blk_queue_max_hw_sectors(queue: u64, sectors: u32) {
    /// A page's worth.
    const FEWEST: u32 = 8;
    if sectors < FEWEST {
        kernel().printk(alloc::format!("\x016blk_queue_max_hw_sectors: set to minimum {FEWEST}\n").as_bytes());
    }
    let sectors = sectors.max(FEWEST);
    set(queue, &queue_limits::max_hw_sectors, sectors);
    // SAFETY: the module's queue.
    let most = match unsafe { queue_limits::max_dev_sectors.get::<u32>(own(queue)) } {
        0 => sectors,
        device => sectors.min(device),
    };
    set(queue, &queue_limits::max_sectors, most.min(DEFAULT_SECTORS));
}

fn set_short(queue: u64, field: &Field, value: u16) {
    // SAFETY: the module's queue.
    unsafe { field.set(own(queue), value) };
}
fn set_mask(queue: u64, field: &Field, value: u64) {
    // SAFETY: the module's queue.
    unsafe { field.set(own(queue), value) };
}
/// `void blk_queue_max_segments(struct request_queue *, unsigned short)`
extern "C" fn blk_queue_max_segments(queue: u64, count: u16) {
    set_short(queue, &queue_limits::max_segments, count.max(1));
}
extern "C" fn blk_queue_max_discard_segments(queue: u64, count: u16) {
    set_short(queue, &queue_limits::max_discard_segments, count);
}
/// `void blk_queue_max_segment_size(struct request_queue *, unsigned int)`: a page at least.
extern "C" fn blk_queue_max_segment_size(queue: u64, size: u32) {
    set(queue, &queue_limits::max_segment_size, size.max(PAGE as u32));
}
/// `void blk_queue_segment_boundary(struct request_queue *, unsigned long mask)`
extern "C" fn blk_queue_segment_boundary(queue: u64, mask: u64) {
    set_mask(queue, &queue_limits::seg_boundary_mask, mask.max(PAGE - 1));
}
/// `void blk_queue_virt_boundary(struct request_queue *, unsigned long mask)`: pieces may then be of any size.
extern "C" fn blk_queue_virt_boundary(queue: u64, mask: u64) {
    set_mask(queue, &queue_limits::virt_boundary_mask, mask);
    if mask != 0 {
        set(queue, &queue_limits::max_segment_size, u32::MAX);
    }
}
extern "C" fn blk_queue_dma_alignment(queue: u64, mask: u32) {
    set(queue, &queue_limits::dma_alignment, mask);
}
extern "C" fn blk_queue_update_dma_pad(queue: u64, mask: u32) {
    if request_queue::dma_pad_mask.offset().is_some() {
        // SAFETY: the module's queue.
        unsafe { request_queue::dma_pad_mask.set(queue, mask.max(request_queue::dma_pad_mask.get(queue))) };
    }
}
extern "C" fn blk_queue_chunk_sectors(queue: u64, sectors: u32) {
    set(queue, &queue_limits::chunk_sectors, sectors);
}
extern "C" fn blk_queue_alignment_offset(queue: u64, offset: u32) {
    set(queue, &queue_limits::alignment_offset, offset);
}
extern "C" fn blk_queue_max_secure_erase_sectors(queue: u64, sectors: u32) {
    set(queue, &queue_limits::max_secure_erase_sectors, sectors);
}
extern "C" fn blk_queue_max_zone_append_sectors(queue: u64, sectors: u32) {
    set(queue, &queue_limits::max_zone_append_sectors, sectors);
}
extern "C" fn blk_queue_zone_write_granularity(queue: u64, size: u32) {
    set(queue, &queue_limits::zone_write_granularity, size);
}
/// `void disk_set_zoned(struct gendisk *, enum blk_zoned_model)`
extern "C" fn disk_set_zoned(disk: u64, model: u32) {
    // SAFETY: the driver's disk and its queue.
    let queue: u64 = unsafe { gendisk::queue.get(disk) };
    set(queue, &queue_limits::zoned, model);
}
/// `void blk_queue_required_elevator_features(struct request_queue *, unsigned int)`: there are no schedulers.
extern "C" fn blk_queue_required_elevator_features() {}

/// `void blk_set_stacking_limits(struct queue_limits *)`: of a disk over others, whose own limits come later.
extern "C" fn blk_set_stacking_limits(limits: u64) {
    // SAFETY: the caller's limits, which may be overwritten.
    unsafe {
        ram::fill(limits, 0, queue_limits::SIZE.get());
        complete(limits, false);
        for field in [
            &queue_limits::max_hw_sectors,
            &queue_limits::max_sectors,
            &queue_limits::max_dev_sectors,
            &queue_limits::max_segment_size,
            &queue_limits::max_write_zeroes_sectors,
            &queue_limits::max_zone_append_sectors,
        ] {
            field.set(limits, u32::MAX);
        }
        queue_limits::max_segments.set(limits, u16::MAX);
        queue_limits::max_discard_segments.set(limits, u16::MAX);
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c queue_limits_commit_update, c queue_limits_commit_update_frozen = queue_limits_commit_update, c queue_limits_set = queue_limits_set_to,
    c blk_queue_flag_set, c blk_queue_flag_clear, c blk_queue_logical_block_size, c blk_queue_physical_block_size, c blk_queue_io_min,
    c blk_queue_io_opt, c blk_queue_max_discard_sectors, c blk_queue_max_write_zeroes_sectors, c blk_queue_max_hw_sectors,
    c blk_queue_max_segments, c blk_queue_max_discard_segments, c blk_queue_max_segment_size, c blk_queue_segment_boundary,
    c blk_queue_virt_boundary, c blk_queue_dma_alignment, c blk_queue_update_dma_alignment = blk_queue_dma_alignment,
    c blk_queue_update_dma_pad, c blk_queue_chunk_sectors, c blk_queue_alignment_offset, c blk_queue_max_secure_erase_sectors,
    c blk_queue_max_zone_append_sectors, c blk_queue_zone_write_granularity, k blk_queue_required_elevator_features,
    c blk_queue_write_cache, c disk_set_zoned, c blk_set_stacking_limits,
];
