//! Requests that somebody waits for, and the pieces of memory that a request is about.

use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::{Errno, kernel};

use super::{dispatch, request, special_flag};
use crate::block::operations::{DISCARD, OPERATION, RESOURCE, SECURE_ERASE, WRITE_ZEROES, has_no_memory};
use crate::block::parts::{self, bio_vec};
use crate::block::{bio, queue as limits};
use crate::crypto::scatterlist;
use crate::export::{Export, exports};
use crate::{pages, ram, slab, symbols, tasks};

/// How many pieces a driver will find in a bio.
///
/// # Safety
/// Both are what they are called.
pub(super) unsafe fn segments(queue: u64, of: u64) -> usize {
    // SAFETY: the caller vouches for queue and bio.
    unsafe {
        match bio::flags_of(of) & OPERATION {
            DISCARD | SECURE_ERASE => 1,
            WRITE_ZEROES => 0,
            _ => pieces(queue, of).len(),
        }
    }
}

/// The pieces of a bio, none other than the queue takes.
///
/// # Safety
/// As [`segments`].
unsafe fn pieces(queue: u64, of: u64) -> alloc::vec::Vec<parts::Part> {
    // SAFETY: the caller vouches for queue and bio.
    unsafe {
        let limits = limits::memory_limits(queue);
        let mut out = alloc::vec::Vec::new();
        for mut rest in parts::of_bio(of) {
            while rest.length > 0 {
                let length = limits.piece(rest.physical(), rest.length);
                out.push(parts::Part { length, ..rest });
                rest = parts::Part { offset: rest.offset + length, length: rest.length - length, ..rest };
            }
        }
        out
    }
}

/// `int __blk_rq_map_sg(struct request_queue *, struct request *, struct scatterlist *, struct scatterlist **last)`: how many
/// entries there are.
extern "C" fn __blk_rq_map_sg(queue: u64, at: u64, list: u64, last: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the driver's request, and a list with an entry for each of its segments.
    unsafe {
        let mut all = alloc::vec::Vec::new();
        if request::rq_flags.get::<u32>(at) & special_flag() != 0 {
            let special = request::special_vec.at(at);
            all.push(parts::Part {
                page: bio_vec::bv_page.get(special),
                offset: bio_vec::bv_offset.get(special),
                length: bio_vec::bv_len.get(special),
            });
        } else if !has_no_memory(super::operation(at)) {
            let mut of: u64 = request::bio.get(at);
            while of != 0 {
                all.extend(pieces(queue, of));
                of = bio::next_of(of);
            }
        }
        let room = usize::from(request::nr_phys_segments.get::<u16>(at));
        if all.len() > room {
            kernel().warn("__blk_rq_map_sg: the request has more pieces than it says", caller);
            all.truncate(room);
        }
        let mut place = list;
        for (number, part) in all.iter().enumerate() {
            if number > 0 {
                // The driver's list may have been used before, and end too early.
                scatterlist::mark_end(place, false);
                place = scatterlist::sg_next(place);
            }
            scatterlist::set(place, part.page, part.offset, part.length);
        }
        if !all.is_empty() {
            scatterlist::mark_end(place, true);
            if last != 0 {
                ram::put(last, place);
            }
        }
        all.len() as i32
    }
}

/// `enum rq_end_io_ret blk_end_sync_rq(struct request *, blk_status_t)`: `end_io_data` is where somebody waits.
extern "C" fn blk_end_sync_rq(at: u64, status: u8) -> u32 {
    /// `RQ_END_IO_NONE`
    const NONE: u32 = 0;
    // SAFETY: a request of `blk_execute_rq`, which waits.
    let place = unsafe {
        let place: u64 = request::end_io_data.get(at);
        ram::put(place, DONE | u32::from(status));
        place
    };
    kernel().tasks.wake_channel(place, usize::MAX);
    NONE
}
/// The request has ended, with the status below.
const DONE: u32 = 1 << 31;

/// `blk_status_t blk_execute_rq(struct request *, bool at_head)`
extern "C" fn blk_execute_rq(at: u64, first: bool) -> u8 {
    let caller = ram::caller();
    let place = slab::allocate(4, 4, slab::ZERO, 0);
    if place == 0 {
        return RESOURCE;
    }
    // SAFETY: the caller's request, and a word of ours that lives until it has ended.
    let status = unsafe {
        request::end_io_data.set(at, place);
        request::end_io.set(at, symbols::address("blk_end_sync_rq").unwrap_or(0));
        dispatch::insert(at, first);
        while ram::get::<u32>(place) & DONE == 0 {
            tasks::might_block(caller);
            kernel().tasks.block(None, Some(place));
        }
        ram::get::<u32>(place) as u8
    };
    slab::release(place, 0);
    status
}
/// `void blk_execute_rq_nowait(struct request *, bool at_head)`
extern "C" fn blk_execute_rq_nowait(at: u64, first: bool) {
    // SAFETY: the caller's request.
    unsafe { dispatch::insert(at, first) };
}

/// `int blk_rq_append_bio(struct request *, struct bio *)`
extern "C" fn blk_rq_append_bio(at: u64, of: u64) -> i32 {
    // SAFETY: the caller's request and bio.
    unsafe {
        let queue: u64 = request::q.get(at);
        let more = segments(queue, of) as u16;
        let last: u64 = request::biotail.get(at);
        if request::bio.get::<u64>(at) == 0 {
            request::bio.set(at, of);
            request::nr_phys_segments.set(at, more);
            request::data_len.set(at, bio::size_of(of));
        } else {
            if limits::largest_transfer(queue) < request::data_len.get::<u32>(at) + bio::size_of(of) {
                return Errno::EINVAL.to_return();
            }
            bio::set_next(last, of);
            request::nr_phys_segments.set(at, request::nr_phys_segments.get::<u16>(at) + more);
            request::data_len.set(at, request::data_len.get::<u32>(at) + bio::size_of(of));
        }
        request::biotail.set(at, of);
    }
    0
}

/// `int blk_rq_map_kern(struct request_queue *, struct request *, void *, unsigned int, gfp_t)`: the request is about this memory.
extern "C" fn blk_rq_map_kern(queue: u64, at: u64, memory: u64, length: u32) -> i32 {
    let caller = ram::caller();
    if length == 0 || memory == 0 || u64::from(length) > u64::from(limits::largest_transfer(queue)) {
        return Errno::EINVAL.to_return();
    }
    // SAFETY: the caller's request and memory, which stays until the request has ended.
    unsafe {
        let (first, end) = (memory / PAGE, (memory + u64::from(length)).div_ceil(PAGE));
        let count = u16::try_from(end - first).ok().filter(|&count| count <= bio::PARTS_MAX);
        let Some(count) = count else { return Errno::ENOMEM.to_return() };
        let made = bio::allocate(0, count, request::cmd_flags.get(at), 0, caller);
        if made == 0 {
            return Errno::ENOMEM.to_return();
        }
        let (mut place, mut left) = (memory, length);
        while left > 0 {
            let offset = (place % PAGE) as u32;
            let part = left.min(PAGE as u32 - offset);
            bio::bio_add_page(made, pages::page_of(place - u64::from(offset)), part, offset);
            place += u64::from(part);
            left -= part;
        }
        bio::set_end(made, symbols::address("bio_map_kern_endio").unwrap_or(0), 0);
        let answer = blk_rq_append_bio(at, made);
        if answer != 0 {
            bio::bio_put(made);
        }
        answer
    }
}
/// `void bio_map_kern_endio(struct bio *)`
extern "C" fn bio_map_kern_endio(at: u64) {
    bio::bio_put(at);
}
/// `int blk_rq_map_user_io(...)`, `int blk_rq_map_user(...)`: a call of a program brings one piece of its memory along, which is the
/// argument itself; what that points to is not there.
extern "C" fn no_user_memory() -> i32 {
    Errno::EFAULT.to_return()
}
/// `int blk_rq_unmap_user(struct bio *)`: no memory of programs is mapped into requests.
extern "C" fn blk_rq_unmap_user() -> i32 {
    0
}
/// `int blk_rq_map_integrity_sg(...)`, `int blk_rq_count_integrity_sg(...)`: bios carry no checksums of their own.
extern "C" fn no_integrity() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __blk_rq_map_sg, c blk_end_sync_rq, c blk_execute_rq, c blk_execute_rq_nowait, c blk_rq_append_bio, c blk_rq_map_kern,
    c bio_map_kern_endio, k blk_rq_unmap_user, k blk_rq_map_user = no_user_memory, k blk_rq_map_user_io = no_user_memory, k blk_rq_map_integrity_sg = no_integrity, k blk_rq_count_integrity_sg = no_integrity,
];
