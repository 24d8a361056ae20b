//! Blocks of a device in memory, as file systems read their own structures: `struct buffer_head`.
//!
//! A block that was read stays until its device is closed or written to by its file.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ferrmod_kernel::Errno;
use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::lock::Lock;

use super::bio::{Bytes, transfer};
use super::{SECTOR, block_device};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{boot, locks, pages, ram, slab};

layout! {
    mod buffer_head = "buffer_head" {
        b_state, b_page, b_blocknr, b_size, b_data, b_bdev, b_count, b_assoc_buffers, b_this_page,
    }
}

/// The buffers by device, block and size.
static BUFFERS: Lock<BTreeMap<(u64, u64, u64), u64>> = Lock::new(BTreeMap::new());

/// The bit of a state, as the target kernel numbers it.
fn bit(name: &str) -> u64 {
    boot::facts().btf().enum_value(name).map_or(0, |bit| 1 << (bit as u64 & 63))
}

/// The size of a `struct buffer_head`.
pub(super) fn size() -> u64 {
    buffer_head::SIZE.get()
}
/// Makes a buffer one that asks where a block of `size` bytes is.
///
/// # Safety
/// `at` has room for a `struct buffer_head`.
pub(super) unsafe fn begin(at: u64, size: u64) {
    // SAFETY: the caller vouches for the room.
    unsafe {
        ram::fill(at, 0, buffer_head::SIZE.get());
        buffer_head::b_size.set(at, size);
    }
}
/// Device (or 0) and block that a file system has answered with; `None` for a hole.
///
/// # Safety
/// `at` is a `struct buffer_head`.
pub(super) unsafe fn mapped(at: u64) -> Option<(u64, u64)> {
    // SAFETY: the caller vouches for the buffer.
    unsafe {
        let state: u64 = buffer_head::b_state.get(at);
        (state & bit("BH_Mapped") != 0).then(|| (buffer_head::b_bdev.get(at), buffer_head::b_blocknr.get(at)))
    }
}

/// A buffer for a block, with what the device holds if `read`; held once more.
fn get(device: u64, block: u64, size: u64, read: bool) -> Result<u64, Errno> {
    let key = (device, block, size);
    let found = BUFFERS.lock().get(&key).copied();
    let at = match found {
        Some(at) => at,
        None => make(device, block, size)?,
    };
    // SAFETY: a buffer of ours, whose data has `size` bytes.
    unsafe {
        let state: u64 = buffer_head::b_state.get(at);
        let current = bit("BH_Uptodate");
        if read && state & current == 0 {
            let mut bytes = alloc::vec![0; size as usize];
            transfer(device, block * (size / SECTOR), Bytes::Read(&mut bytes))?;
            ram::bytes_mut(buffer_head::b_data.get(at), size).copy_from_slice(&bytes);
            buffer_head::b_state.set(at, state | current);
        }
        buffer_head::b_count.set(at, buffer_head::b_count.get::<u32>(at) + 1);
    }
    Ok(at)
}

fn make(device: u64, block: u64, size: u64) -> Result<u64, Errno> {
    // SAFETY: a device of a disk.
    let sectors: u64 = unsafe { block_device::bd_nr_sectors.get(device) };
    let past = block.checked_add(1).and_then(|end| end.checked_mul(size / SECTOR));
    if !(SECTOR..=PAGE).contains(&size) || past.is_none_or(|end| end > sectors) {
        return Err(Errno::EIO);
    }
    let at = slab::allocate(buffer_head::SIZE.get(), 8, slab::ZERO, 0);
    let page = pages::allocate(0, 0, 0);
    if at == 0 || page == 0 {
        slab::release(at, 0);
        pages::give(page, 0, 0);
        return Err(Errno::ENOMEM);
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        buffer_head::b_state.set(at, bit("BH_Mapped"));
        buffer_head::b_this_page.set(at, at);
        buffer_head::b_page.set(at, page);
        buffer_head::b_blocknr.set(at, block);
        buffer_head::b_size.set(at, size);
        buffer_head::b_data.set(at, pages::address_of(page));
        buffer_head::b_bdev.set(at, device);
        locks::init_list(buffer_head::b_assoc_buffers.at(at));
    }
    BUFFERS.lock().insert((device, block, size), at);
    Ok(at)
}

fn free(at: u64) {
    // SAFETY: a buffer of ours that is in no table.
    pages::give(unsafe { buffer_head::b_page.get(at) }, 0, 0);
    slab::release(at, 0);
}

fn drop_where(device: u64, mut gone: impl FnMut(u64) -> bool) {
    let of_device: Vec<((u64, u64, u64), u64)> =
        BUFFERS.lock().range((device, 0, 0)..=(device, u64::MAX, u64::MAX)).map(|(&key, &at)| (key, at)).collect();
    for (key, at) in of_device {
        if gone(at) {
            BUFFERS.lock().remove(&key);
            free(at);
        }
    }
}

/// Forgets the blocks of a device that nobody holds.
pub(crate) fn drop_unused(device: u64) {
    // SAFETY: buffers of ours.
    drop_where(device, |at| unsafe { buffer_head::b_count.get::<u32>(at) == 0 });
}

/// Forgets all blocks of a device.
pub(crate) fn drop_all(device: u64) {
    drop_where(device, |_| true);
}

/// `struct buffer_head *__bread_gfp(struct block_device *, sector_t, unsigned size, gfp_t)`
extern "C" fn __bread_gfp(device: u64, block: u64, size: u32) -> u64 {
    get(device, block, size.into(), true).unwrap_or(0)
}
/// `struct buffer_head *__getblk_gfp(struct block_device *, sector_t, unsigned size, gfp_t)`, `bdev_getblk` since 6.7
extern "C" fn __getblk_gfp(device: u64, block: u64, size: u32) -> u64 {
    get(device, block, size.into(), false).unwrap_or(0)
}
/// `void __brelse(struct buffer_head *)`
extern "C" fn __brelse(at: u64) {
    // SAFETY: the caller's buffer.
    unsafe {
        let count = buffer_head::b_count.get::<u32>(at);
        if count == 0 {
            ferrmod_kernel::kernel().warn("VFS: brelse: Trying to free free buffer", ram::caller());
        } else {
            buffer_head::b_count.set(at, count - 1);
        }
    }
}
/// `void __bh_read_batch(int, struct buffer_head *[], blk_opf_t, bool)`
extern "C" fn __bh_read_batch(count: i32, array: u64) {
    for number in 0..count.max(0) as u64 {
        // SAFETY: the caller's array of buffers.
        unsafe {
            let at: u64 = ram::get(array + 8 * number);
            let (device, block, size): (u64, u64, u64) =
                (buffer_head::b_bdev.get(at), buffer_head::b_blocknr.get(at), buffer_head::b_size.get(at));
            // One that cannot be read is not up to date, which is what the caller looks at.
            if get(device, block, size, true).is_ok() {
                __brelse(at);
            }
        }
    }
}
/// `void __wait_on_buffer(struct buffer_head *)`: what was read is there.
extern "C" fn __wait_on_buffer() {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __bread_gfp, c __getblk_gfp, c bdev_getblk = __getblk_gfp, c __brelse, c __bh_read_batch, k __wait_on_buffer,
];
