//! Parts of a disk that different arms serve (`struct blk_independent_access_ranges`).

use crate::export::{Export, exports};
use crate::field::{Size, layout};
use crate::{ram, slab};

layout! {
    mod gendisk = "gendisk" { ia_ranges }
    mod ranges = "blk_independent_access_ranges" { nr_ia_ranges }
}

/// The size of a range.
static RANGE: Size = Size::new("blk_independent_access_range");

/// `struct blk_independent_access_ranges *disk_alloc_independent_access_ranges(struct gendisk *, int)`
extern "C" fn disk_alloc_independent_access_ranges(_disk: u64, count: i32) -> u64 {
    let caller = ram::caller();
    let count = count.max(0) as u32;
    let made = slab::allocate(ranges::SIZE.get() + u64::from(count) * RANGE.get(), 8, slab::ZERO, caller);
    if made != 0 {
        // SAFETY: a zeroed block of the struct's size.
        unsafe { ranges::nr_ia_ranges.set(made, count) };
    }
    made
}
/// `void disk_set_independent_access_ranges(struct gendisk *, struct blk_independent_access_ranges *)`: in place of those before; null
/// for none.
extern "C" fn disk_set_independent_access_ranges(disk: u64, new: u64) {
    let caller = ram::caller();
    // SAFETY: the driver's disk.
    unsafe {
        let before: u64 = gendisk::ia_ranges.get(disk);
        if before != new {
            slab::release(before, caller);
            gendisk::ia_ranges.set(disk, new);
        }
    }
}

/// A disk goes, and its ranges with it.
pub(super) fn remove(disk: u64) {
    disk_set_independent_access_ranges(disk, 0);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c disk_alloc_independent_access_ranges, c disk_set_independent_access_ranges];
