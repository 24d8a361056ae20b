//! Requests to block devices: `struct bio`, from whoever wants bytes to the driver that moves them.

use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::{Errno, kernel};

use super::operations::{IO_ERROR, NOT_SUPPORTED, OPERATION, READ, WRITE, errno};
use super::parts::bio_vec;
use super::{SECTOR, block_device, block_device_operations, gendisk, mq, queue};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{pages, ram, slab, tasks};

layout! {
    mod bio = "bio" {
        bi_bdev, bi_opf, bi_status, remaining = "__bi_remaining", sector = "bi_iter.bi_sector",
        size = "bi_iter.bi_size", bi_end_io, bi_private, bi_vcnt, bi_max_vecs, count = "__bi_cnt",
        bi_io_vec, bi_inline_vecs, bi_pool, bi_next, bi_ioprio, index = "bi_iter.bi_idx", done = "bi_iter.bi_bvec_done",
    }
    mod bio_set = "bio_set" { front_pad }
}

/// `void bio_init(struct bio *, struct block_device *, struct bio_vec *, unsigned short, blk_opf_t)`
extern "C" fn bio_init(at: u64, device: u64, vectors: u64, most: u16, operation: u32) {
    // SAFETY: the caller's bio, which may be overwritten.
    unsafe {
        ram::fill(at, 0, bio::bi_inline_vecs.at(0));
        bio::bi_bdev.set(at, device);
        bio::bi_opf.set(at, operation);
        bio::remaining.set(at, 1u32);
        bio::count.set(at, 1u32);
        bio::bi_io_vec.set(at, vectors);
        bio::bi_max_vecs.set(at, most);
    }
}

/// A bio with room for `most` parts, behind `pad` bytes of its owner's; 0 without memory.
pub(super) fn allocate(device: u64, most: u16, operation: u32, pad: u64, caller: u64) -> u64 {
    let vectors = bio::bi_inline_vecs.at(0);
    let made = slab::allocate(pad + vectors + u64::from(most) * bio_vec::SIZE.get(), 8, slab::ZERO, caller);
    if made == 0 {
        return 0;
    }
    bio_init(made + pad, device, if most == 0 { 0 } else { made + pad + vectors }, most, operation);
    made + pad
}

/// `struct bio *bio_alloc_bioset(struct block_device *, unsigned short, blk_opf_t, gfp_t, struct bio_set *)`
extern "C" fn bio_alloc_bioset(device: u64, most: u16, operation: u32, _flags: u32, set: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's set.
    let pad = if set == 0 { 0 } else { u64::from(unsafe { bio_set::front_pad.get::<u32>(set) }) };
    let made = allocate(device, most, operation, pad, caller);
    if made != 0 {
        // SAFETY: the bio just made.
        unsafe { bio::bi_pool.set(made, set) };
    }
    made
}
/// `UIO_MAXIOV`: more parts no bio has that is not of a set.
pub(super) const PARTS_MAX: u16 = 1024;

/// `struct bio *bio_kmalloc(unsigned short, gfp_t)`: the caller initialises and frees it.
extern "C" fn bio_kmalloc(most: u16) -> u64 {
    let caller = ram::caller();
    if most > PARTS_MAX {
        return 0;
    }
    slab::allocate(bio::bi_inline_vecs.at(0) + u64::from(most) * bio_vec::SIZE.get(), 8, slab::ZERO, caller)
}
/// `void bio_put(struct bio *)`
pub(super) extern "C" fn bio_put(at: u64) {
    // SAFETY: the caller's bio.
    unsafe {
        let left = bio::count.get::<u32>(at).saturating_sub(1);
        bio::count.set(at, left);
        if left == 0 {
            let set: u64 = bio::bi_pool.get(at);
            let pad = if set == 0 { 0 } else { u64::from(bio_set::front_pad.get::<u32>(set)) };
            slab::release(at - pad, 0);
        }
    }
}
/// `void bio_uninit(struct bio *)`: there is nothing beside it.
extern "C" fn bio_uninit() {}

/// `int bio_add_page(struct bio *, struct page *, unsigned int, unsigned int)`: how many bytes were taken.
pub(super) extern "C" fn bio_add_page(at: u64, page: u64, length: u32, offset: u32) -> i32 {
    // SAFETY: the caller's bio, whose parts have room for `bi_max_vecs`.
    unsafe {
        let (used, most): (u16, u16) = (bio::bi_vcnt.get(at), bio::bi_max_vecs.get(at));
        if used >= most {
            return 0;
        }
        let part = bio::bi_io_vec.get::<u64>(at) + u64::from(used) * bio_vec::SIZE.get();
        bio_vec::bv_page.set(part, page);
        bio_vec::bv_len.set(part, length);
        bio_vec::bv_offset.set(part, offset);
        bio::bi_vcnt.set(at, used + 1);
        bio::size.set(at, bio::size.get::<u32>(at) + length);
    }
    length as i32
}
/// `void __bio_add_page(struct bio *, struct page *, unsigned int, unsigned int)`
extern "C" fn __bio_add_page(at: u64, page: u64, length: u32, offset: u32) {
    bio_add_page(at, page, length, offset);
}

/// `void bio_free_pages(struct bio *)`
extern "C" fn bio_free_pages(at: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's bio and its parts.
    unsafe {
        let parts: u64 = bio::bi_io_vec.get(at);
        for number in 0..u64::from(bio::bi_vcnt.get::<u16>(at)) {
            pages::give(bio_vec::bv_page.get(parts + number * bio_vec::SIZE.get()), 0, caller);
        }
    }
}

/// `void bio_endio(struct bio *)`: the driver is done with it.
pub(super) extern "C" fn bio_endio(at: u64) {
    // SAFETY: a bio that was submitted, and its own end function.
    unsafe {
        let left = bio::remaining.get::<u32>(at).saturating_sub(1);
        bio::remaining.set(at, left);
        if left > 0 {
            return;
        }
        bio::remaining.set(at, 1u32);
        let end: u64 = bio::bi_end_io.get(at);
        if end != 0 {
            ram::call(end, [at]);
        }
    }
}
/// Ends a bio with a failure.
pub(super) fn fail(at: u64, status: u8) {
    // SAFETY: the caller's bio.
    unsafe { bio::bi_status.set(at, status) };
    bio_endio(at);
}

macro_rules! members {
    ($($(#[$meta:meta])* $get:ident = $field:ident: $kind:ty;)*) => {
        $($(#[$meta])*
        ///
        /// # Safety
        /// `at` is a bio.
        pub(super) unsafe fn $get(at: u64) -> $kind {
            // SAFETY: the caller vouches for the bio.
            unsafe { bio::$field.get(at) }
        })*
    };
}

members! {
    /// The sector it goes on at.
    sector_of = sector: u64;
    /// Bytes that are left.
    size_of = size: u32;
    /// Its block device.
    device_of = bi_bdev: u64;
    /// Operation and flags.
    flags_of = bi_opf: u32;
    /// The next bio of its request.
    next_of = bi_next: u64;
    /// The priority that it was given (`IOPRIO_PRIO_VALUE`).
    priority_of = bi_ioprio: u16;
    /// What its end function knows it by.
    data_of = bi_private: u64;
    /// How it has ended.
    status_of = bi_status: u8;
}

/// Says which bio is the next of its request.
///
/// # Safety
/// `at` is a bio.
pub(super) unsafe fn set_next(at: u64, next: u64) {
    // SAFETY: the caller vouches for the bio.
    unsafe { bio::bi_next.set(at, next) };
}

/// Says how it ends.
///
/// # Safety
/// `at` is a bio.
pub(super) unsafe fn set_status(at: u64, status: u8) {
    // SAFETY: the caller vouches for the bio.
    unsafe { bio::bi_status.set(at, status) };
}

/// Takes a bio out of its request's list; the next one.
///
/// # Safety
/// `at` is a bio of a request.
pub(super) unsafe fn take_next(at: u64) -> u64 {
    // SAFETY: the caller vouches for the bio.
    unsafe {
        let next = next_of(at);
        set_next(at, 0);
        next
    }
}

/// Clears and sets flags of its operation.
///
/// # Safety
/// `at` is a bio.
pub(super) unsafe fn change_flags(at: u64, clear: u32, set: u32) {
    // SAFETY: the caller vouches for the bio.
    unsafe { bio::bi_opf.set(at, flags_of(at) & !clear | set) };
}

/// What is called when it ends, with what.
///
/// # Safety
/// `at` is a bio.
pub(super) unsafe fn set_end(at: u64, function: u64, data: u64) {
    // SAFETY: the caller vouches for the bio.
    unsafe {
        bio::bi_end_io.set(at, function);
        bio::bi_private.set(at, data);
    }
}

/// Ends a bio with a status; 0 keeps the one it has.
///
/// # Safety
/// `at` is a bio.
pub(super) unsafe fn end_with(at: u64, status: u8) {
    if status != 0 {
        // SAFETY: the caller vouches for the bio.
        unsafe { set_status(at, status) };
    }
    bio_endio(at);
}

/// A bio of `set` for the first sectors of another, which goes on behind them; `None` without memory.
///
/// # Safety
/// `at` is a bio with more sectors than that, `set` a set or 0.
pub(super) unsafe fn split(at: u64, sectors: u32, set: u64, caller: u64) -> Option<u64> {
    // SAFETY: the caller vouches for bio and set.
    unsafe {
        let pad = if set == 0 { 0 } else { u64::from(bio_set::front_pad.get::<u32>(set)) };
        let made = allocate(device_of(at), 0, flags_of(at), pad, caller);
        if made == 0 {
            return None;
        }
        let bytes = sectors * SECTOR as u32;
        bio::bi_pool.set(made, set);
        bio::bi_ioprio.set(made, priority_of(at));
        bio::bi_io_vec.set(made, bio::bi_io_vec.get::<u64>(at));
        bio::sector.set(made, sector_of(at));
        bio::size.set(made, bytes);
        bio::index.set(made, bio::index.get::<u32>(at));
        bio::done.set(made, bio::done.get::<u32>(at));
        super::parts::advance(at, bytes);
        Some(made)
    }
}

/// As [`split`]; the bio ends when the new one has ended too.
///
/// # Safety
/// As there.
pub(super) unsafe fn split_front(at: u64, sectors: u32, caller: u64) -> Option<u64> {
    // SAFETY: the caller vouches for the bio.
    let made = unsafe { split(at, sectors, 0, caller)? };
    bio_chain(made, at);
    Some(made)
}

/// The end function of a bio of a chain: what it answered is its parent's answer.
extern "C" fn bio_chain_endio(at: u64) {
    // SAFETY: a bio that `bio_chain` has taken, and its parent.
    unsafe {
        let parent: u64 = bio::bi_private.get(at);
        let status: u8 = bio::bi_status.get(at);
        if status != 0 && bio::bi_status.get::<u8>(parent) == 0 {
            bio::bi_status.set(parent, status);
        }
        bio_put(at);
        bio_endio(parent);
    }
}
/// `void bio_chain(struct bio *, struct bio *parent)`: the parent ends when both have.
extern "C" fn bio_chain(at: u64, parent: u64) {
    // SAFETY: the caller's two bios.
    unsafe {
        bio::bi_private.set(at, parent);
        bio::bi_end_io.set(at, crate::symbols::address("bio_chain_endio").unwrap_or(0));
        bio::remaining.set(parent, bio::remaining.get::<u32>(parent) + 1);
    }
}

/// `void submit_bio(struct bio *)`: to the driver, unless it reaches beyond the device.
pub(super) extern "C" fn submit_bio(at: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's bio, its device, disk and driver.
    unsafe {
        let device: u64 = bio::bi_bdev.get(at);
        let disk: u64 = block_device::bd_disk.get(device);
        let ops: u64 = gendisk::fops.get(disk);
        let (sector, size): (u64, u32) = (bio::sector.get(at), bio::size.get(at));
        let (count, all) = (u64::from(size) / SECTOR, super::sectors(disk));
        if count > all || sector > all - count {
            // One that is gone, or that has no medium, is not worth a word.
            if all != 0 {
                let text = alloc::format!(
                    "\x016attempt to access beyond end of device\n{}: rw={}, sector={sector}, nr_sectors = {count} limit={all}\n",
                    super::name(disk),
                    flags_of(at),
                );
                kernel().printk(text.as_bytes());
            }
            return fail(at, IO_ERROR);
        }
        let queue: u64 = gendisk::queue.get(disk);
        let special = flags_of(at) & (mq::flush_first() | mq::force_unit_access());
        if special != 0 && !queue::has_write_cache(queue) {
            // What is written is on the medium anyway.
            change_flags(at, special, 0);
            if size == 0 {
                return bio_endio(at);
            }
        }
        let operation = flags_of(at) & OPERATION;
        if operation == WRITE && size != 0 && super::is_read_only(disk) {
            return fail(at, IO_ERROR);
        }
        if !queue::can(queue, operation) {
            return fail(at, NOT_SUPPORTED);
        }
        match if ops == 0 { 0 } else { block_device_operations::submit_bio.get(ops) } {
            0 if mq::is_queue(queue) => mq::dispatch::submit(queue, at, caller),
            0 => fail(at, NOT_SUPPORTED),
            submit => {
                ram::call(submit, [at]);
            }
        }
    }
}

/// The end function of a bio that somebody waits for: `bi_private` is a flag.
extern "C" fn submit_bio_wait_endio(at: u64) {
    // SAFETY: the flag lies in the frame of whoever waits.
    unsafe { ram::put(bio::bi_private.get(at), 1u32) };
    kernel().tasks.wake_channel(at, usize::MAX);
}
/// `int submit_bio_wait(struct bio *)`
extern "C" fn submit_bio_wait(at: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(wait(at, caller))
}

fn wait(at: u64, caller: u64) -> Result<(), Errno> {
    let flag = slab::allocate(4, 4, slab::ZERO, 0);
    if flag == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the caller's bio, and a flag of our own.
    let status = unsafe {
        bio::bi_private.set(at, flag);
        bio::bi_end_io.set(at, crate::symbols::address("submit_bio_wait_endio").unwrap_or(0));
        submit_bio(at);
        while ram::get::<u32>(flag) == 0 {
            tasks::might_block(caller);
            kernel().tasks.block(None, Some(at));
        }
        bio::bi_status.get::<u8>(at)
    };
    slab::release(flag, 0);
    errno(status).map_or(Ok(()), Err)
}

/// Bytes that one request of ours moves at most.
const MOST: usize = 16 * PAGE as usize;

/// Moves whole sectors between a device and `bytes`, from `sector` on.
///
/// # Errors
/// What the driver answers; `ENOMEM`.
pub(crate) fn transfer(device: u64, mut sector: u64, bytes: Bytes<'_>) -> Result<(), Errno> {
    match bytes {
        Bytes::Read(bytes) => {
            for part in bytes.chunks_mut(MOST) {
                let length = part.len();
                one(device, sector, READ, length, |page, from, to| {
                    // SAFETY: a page of ours, which holds so many bytes.
                    part[from..to].copy_from_slice(unsafe { ram::bytes(page, (to - from) as u64) });
                })?;
                sector += length as u64 / SECTOR;
            }
        }
        Bytes::Write(bytes) => {
            for part in bytes.chunks(MOST) {
                one(device, sector, WRITE, part.len(), |page, from, to| {
                    // SAFETY: as above.
                    unsafe { ram::bytes_mut(page, (to - from) as u64) }.copy_from_slice(&part[from..to]);
                })?;
                sector += part.len() as u64 / SECTOR;
            }
        }
    }
    Ok(())
}

/// Where bytes go to, or come from.
pub(crate) enum Bytes<'a> {
    /// They are read from the device.
    Read(&'a mut [u8]),
    /// They are written to it.
    Write(&'a [u8]),
}

/// One request. `touch` gets each page's address and its range of the whole, before a write and after a read.
fn one(
    device: u64,
    sector: u64,
    operation: u32,
    length: usize,
    mut touch: impl FnMut(u64, usize, usize),
) -> Result<(), Errno> {
    let count = length.div_ceil(PAGE as usize);
    let at = allocate(device, count as u16, operation, 0, 0);
    if at == 0 {
        return Err(Errno::ENOMEM);
    }
    let mut all = alloc::vec::Vec::new();
    let ranges = (0..count).map(|number| {
        let from = number * PAGE as usize;
        (from, length.min(from + PAGE as usize))
    });
    let mut result = Ok(());
    for (from, to) in ranges {
        let page = pages::allocate(0, 0, 0);
        if page == 0 {
            result = Err(Errno::ENOMEM);
            break;
        }
        all.push((page, from, to));
        if operation == WRITE {
            touch(pages::address_of(page), from, to);
        }
        bio_add_page(at, page, (to - from) as u32, 0);
    }
    if result.is_ok() {
        // SAFETY: our own bio.
        unsafe { bio::sector.set(at, sector) };
        result = wait(at, 0);
    }
    for &(page, from, to) in &all {
        if operation == READ && result.is_ok() {
            touch(pages::address_of(page), from, to);
        }
        pages::give(page, 0, 0);
    }
    bio_put(at);
    result
}

/// `unsigned long bdev_start_io_acct(...)` and its siblings: when it began. Nothing is counted.
extern "C" fn start_accounting() -> u64 {
    crate::time::get_jiffies_64()
}
extern "C" fn end_accounting() {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c bio_init, c bio_alloc_bioset, c bio_kmalloc, c bio_put, k bio_uninit, c bio_add_page,
    c __bio_add_page, c bio_free_pages, c bio_endio, c bio_chain_endio, c bio_chain, c submit_bio, c submit_bio_noacct = submit_bio,
    c submit_bio_wait_endio, c submit_bio_wait, c bdev_start_io_acct = start_accounting, c bio_start_io_acct = start_accounting,
    k bdev_end_io_acct = end_accounting, k bio_end_io_acct_remapped = end_accounting,
];
