//! Requests: allocated, started, ended and freed.

use ferrmod_kernel::{Errno, kernel};

use super::{
    COMPLETE, IDLE, IN_FLIGHT, call, context, is_passthrough, operation, operations, power_flag, queues, quiet_flag,
    request, request_queue, reserved_flag, tag_map, tags, timed_out_flag, with,
};
use crate::block::operations::{OPERATION, operation_name, status_name};
use crate::block::{self, bio, gendisk};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram};

layout! {
    mod batch = "io_comp_batch" { req_list }
}

/// `BLK_MQ_REQ_NOWAIT`, `BLK_MQ_REQ_RESERVED`, `BLK_MQ_REQ_PM`
pub(super) const NO_WAIT: u32 = 1;
const RESERVED: u32 = 2;
const POWER: u32 = 4;
/// `RQ_END_IO_FREE`: the end function leaves the request to be freed.
pub(super) const FREE: u32 = 1;

/// Allocates a request for what `flags` of an operation say; waits for a tag unless `NO_WAIT` is asked for.
///
/// # Errors
/// `ENODEV` when the queue ends, `EWOULDBLOCK` (`EAGAIN`) when it would have to wait and must not.
///
/// # Safety
/// `queue` is a queue of requests.
pub(super) unsafe fn allocate(queue: u64, operation: u32, how: u32, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the queue.
    unsafe { allocate_in(queue, operation, how, None, caller) }
}

/// As [`allocate`], in a certain hardware context.
///
/// # Safety
/// As there.
unsafe fn allocate_in(queue: u64, flags: u32, how: u32, of: Option<u64>, caller: u64) -> Result<u64, Errno> {
    let may_wait = how & NO_WAIT == 0;
    super::freeze::enter(queue, may_wait, caller)?;
    let left = |errno| {
        super::freeze::leave(queue);
        Err(errno)
    };
    let Some(at) = of.or_else(|| queues::context_for(queue, flags & OPERATION)) else {
        return left(Errno::ENODEV);
    };
    // SAFETY: the caller vouches for the queue; contexts and requests are its own.
    unsafe {
        let map: u64 = context::tags.get(at);
        let Some(tag) = tags::take_or_wait(map, how & RESERVED != 0, may_wait, caller) else {
            return left(Errno::EAGAIN);
        };
        let made = tags::request_of(map, tag);
        ram::fill(made, 0, request::SIZE.get());
        request::q.set(made, queue);
        request::mq_hctx.set(made, at);
        request::cmd_flags.set(made, flags);
        request::sector.set(made, u64::MAX);
        let reserved = if how & RESERVED != 0 { reserved_flag() } else { 0 };
        let power = if how & POWER != 0 { power_flag() } else { 0 };
        request::rq_flags.set(made, reserved | power);
        request::tag.set(made, tag);
        request::internal_tag.set(made, -1i32);
        request::reference.set(made, 1u32);
        request::start_time_ns.set(made, kernel().platform.now());
        locks::init_list(request::queuelist.at(made));
        ram::put(tag_map::rqs.get::<u64>(map) + 8 * u64::from(tag), made);
        Ok(made)
    }
}

/// Frees a request.
///
/// # Safety
/// `at` is a request that nobody uses any more.
pub(super) unsafe fn free(at: u64) {
    // SAFETY: the caller vouches for the request.
    unsafe {
        let (queue, of): (u64, u64) = (request::q.get(at), request::mq_hctx.get(at));
        let (map, tag): (u64, u32) = (context::tags.get(of), request::tag.get(at));
        request::state.set(at, IDLE);
        request::reference.set(at, 0u32);
        tags::give(map, tag);
        super::dispatch::room(queue);
        super::freeze::leave(queue);
    }
}

/// Makes a request one for what a bio wants.
///
/// # Safety
/// Both are what they are called, and the request is new.
pub(super) unsafe fn take_bio(at: u64, of: u64) {
    // SAFETY: the caller vouches for both.
    unsafe {
        request::bio.set(at, of);
        request::biotail.set(at, of);
        request::sector.set(at, bio::sector_of(of));
        request::data_len.set(at, bio::size_of(of));
        if request::ioprio.offset().is_some() {
            request::ioprio.set(at, bio::priority_of(of));
        }
        request::nr_phys_segments.set(at, super::execute::segments(request::q.get(at), of) as u16);
        request::part.set(at, bio::device_of(of));
    }
}

/// `void blk_mq_start_request(struct request *)`: the driver has begun with it.
extern "C" fn blk_mq_start_request(at: u64) {
    let caller = ram::caller();
    // SAFETY: the driver's request.
    unsafe {
        if request::state.get::<u32>(at) != IDLE {
            kernel().warn("blk_mq_start_request: the request has been started", caller);
        }
        request::io_start_time_ns.set(at, kernel().platform.now());
        super::timeouts::add(at);
        request::state.set(at, IN_FLIGHT);
    }
}

/// Makes a request one that was not given to its driver yet.
///
/// # Safety
/// `at` is a request that its driver has given back.
pub(super) unsafe fn take_back(at: u64) {
    // SAFETY: the caller vouches for the request.
    unsafe {
        if request::state.get::<u32>(at) != IDLE {
            request::state.set(at, IDLE);
            request::rq_flags.set(at, request::rq_flags.get::<u32>(at) & !timed_out_flag());
        }
    }
}

/// The priority of a request (`IOPRIO_PRIO_VALUE`): its own, or since it has none that of its bio.
///
/// # Safety
/// `at` is a request.
unsafe fn priority(at: u64) -> u16 {
    // SAFETY: the caller vouches for the request and its bio.
    unsafe {
        match request::bio.get::<u64>(at) {
            _ if request::ioprio.offset().is_some() => request::ioprio.get(at),
            0 => 0,
            of => bio::priority_of(of),
        }
    }
}

/// Tells of a failure, as the kernel does.
///
/// # Safety
/// `at` is a request.
unsafe fn tell(at: u64, status: u8) {
    // SAFETY: the caller vouches for the request.
    unsafe {
        let disk: u64 = request_queue::disk.get(request::q.get(at));
        let (flags, what) = (request::cmd_flags.get::<u32>(at), operation(at));
        let name = if disk == 0 { "?".into() } else { block::name(disk) };
        let text = alloc::format!(
            "\x013{} error, dev {name}, sector {} op {what:#x}:({}) flags {:#x} phys_seg {} prio class {}\n",
            status_name(status),
            request::sector.get::<u64>(at),
            operation_name(what),
            flags & !OPERATION,
            request::nr_phys_segments.get::<u16>(at),
            priority(at) >> 13,
        );
        kernel().printk(text.as_bytes());
    }
}

/// `bool blk_update_request(struct request *, blk_status_t, unsigned int bytes)`: so much of it is done; whether anything is left.
pub(super) extern "C" fn blk_update_request(at: u64, status: u8, bytes: u32) -> bool {
    // SAFETY: the driver's request and its bios.
    unsafe {
        if request::bio.get::<u64>(at) == 0 {
            return false;
        }
        let passes = is_passthrough(operation(at));
        if status != 0 && !passes && request::rq_flags.get::<u32>(at) & quiet_flag() == 0 {
            tell(at, status);
        }
        let mut left = bytes;
        loop {
            let first: u64 = request::bio.get(at);
            if first == 0 {
                break;
            }
            let part = bio::size_of(first).min(left);
            let is_whole = part == bio::size_of(first);
            if is_whole {
                request::bio.set(at, bio::take_next(first));
            }
            crate::block::parts::advance(first, part);
            if status != 0 {
                bio::set_status(first, status);
            }
            if is_whole {
                bio::bio_endio(first);
            }
            left -= part;
            if left == 0 {
                break;
            }
        }
        if request::bio.get::<u64>(at) == 0 {
            request::data_len.set(at, 0u32);
            return false;
        }
        request::data_len.set(at, request::data_len.get::<u32>(at).saturating_sub(bytes));
        if !passes {
            request::sector.set(at, request::sector.get::<u64>(at) + u64::from(bytes) / block::SECTOR);
        }
        true
    }
}

/// `void __blk_mq_end_request(struct request *, blk_status_t)`: it is over; its bios have ended.
pub(super) extern "C" fn __blk_mq_end_request(at: u64, status: u8) {
    // SAFETY: the driver's request, and the function of whoever allocated it.
    unsafe {
        let end: u64 = request::end_io.get(at);
        if end == 0 || ram::call(end, [at, status.into()]) as u32 == FREE {
            free(at);
        }
    }
}
/// `void blk_mq_end_request(struct request *, blk_status_t)`
pub(super) extern "C" fn blk_mq_end_request(at: u64, status: u8) {
    let caller = ram::caller();
    // SAFETY: the driver's request.
    let length = unsafe { request::data_len.get::<u32>(at) };
    if blk_update_request(at, status, length) {
        kernel().bug("blk_mq_end_request: something of the request is left", caller);
    }
    __blk_mq_end_request(at, status);
}
/// `void blk_mq_end_request_batch(struct io_comp_batch *)`: all of a list.
extern "C" fn blk_mq_end_request_batch(of: u64) {
    // SAFETY: the driver's batch and its requests.
    unsafe {
        loop {
            let first: u64 = batch::req_list.get(of);
            if first == 0 {
                return;
            }
            batch::req_list.set(of, request::rq_next.get::<u64>(first));
            locks::init_list(request::queuelist.at(first));
            blk_mq_end_request(first, 0);
        }
    }
}

/// `bool blk_mq_complete_request_remote(struct request *)`: always to be completed where the caller is.
extern "C" fn blk_mq_complete_request_remote(at: u64) -> bool {
    // SAFETY: the driver's request.
    unsafe { request::state.set(at, COMPLETE) };
    false
}
/// `void blk_mq_complete_request(struct request *)`: the driver's `complete` goes on.
pub(super) extern "C" fn blk_mq_complete_request(at: u64) {
    // SAFETY: the driver's request.
    unsafe {
        request::state.set(at, COMPLETE);
        if call(super::table(request::q.get(at)), &operations::complete, [at]).is_none() {
            blk_mq_end_request(at, 0);
        }
    }
}

/// `struct request *blk_mq_alloc_request(struct request_queue *, blk_opf_t, blk_mq_req_flags_t)`
extern "C" fn blk_mq_alloc_request(queue: u64, flags: u32, how: u32) -> u64 {
    let caller = ram::caller();
    // SAFETY: the caller's queue.
    unsafe { allocate(queue, flags, how, caller) }.unwrap_or_else(Errno::to_pointer)
}
/// `struct request *blk_mq_alloc_request_hctx(struct request_queue *, blk_opf_t, blk_mq_req_flags_t, unsigned int hctx_idx)`
extern "C" fn blk_mq_alloc_request_hctx(queue: u64, flags: u32, how: u32, number: u32) -> u64 {
    let caller = ram::caller();
    let Some(&of) = queues::contexts(queue).get(number as usize) else { return Errno::EIO.to_pointer() };
    // SAFETY: as above.
    unsafe { allocate_in(queue, flags, how, Some(of), caller) }.unwrap_or_else(Errno::to_pointer)
}
/// `void blk_mq_free_request(struct request *)`
extern "C" fn blk_mq_free_request(at: u64) {
    // SAFETY: the caller's request.
    unsafe { free(at) };
}
/// `void blk_rq_init(struct request_queue *, struct request *)`: a request that has no tag.
extern "C" fn blk_rq_init(queue: u64, at: u64) {
    // SAFETY: the caller's request, which may be overwritten.
    unsafe {
        ram::fill(at, 0, request::SIZE.get());
        request::q.set(at, queue);
        request::sector.set(at, u64::MAX);
        request::tag.set(at, -1i32);
        request::internal_tag.set(at, -1i32);
        request::start_time_ns.set(at, kernel().platform.now());
        locks::init_list(request::queuelist.at(at));
    }
}
/// `u32 blk_mq_unique_tag(struct request *)`: the hardware queue's number above, the tag below.
extern "C" fn blk_mq_unique_tag(at: u64) -> u32 {
    // SAFETY: the driver's request.
    unsafe {
        let number: u32 = context::queue_num.get(request::mq_hctx.get(at));
        number << 16 | request::tag.get::<u32>(at) & 0xffff
    }
}
/// `bool blk_mq_queue_inflight(struct request_queue *)`: whether any request of it is with the driver.
extern "C" fn blk_mq_queue_inflight(queue: u64) -> bool {
    started(queue).next().is_some()
}

/// The requests of a queue that its driver has.
pub(super) fn started(queue: u64) -> impl Iterator<Item = u64> {
    let set = with(queue, |queue| queue.set).unwrap_or(0);
    let all = tags::of_set(set).into_iter().flat_map(tags::taken);
    // SAFETY: requests whose tags are taken.
    all.filter(move |&at| unsafe { request::q.get::<u64>(at) == queue && request::state.get::<u32>(at) == IN_FLIGHT })
}

/// `void blk_set_queue_depth(struct request_queue *, unsigned int)`
extern "C" fn blk_set_queue_depth(queue: u64, depth: u32) {
    crate::field::layout! { mod depth_of = "request_queue" { queue_depth } }
    // SAFETY: the driver's queue.
    unsafe { depth_of::queue_depth.set(queue, depth) };
}

/// The queue of a disk.
///
/// # Safety
/// `disk` is a disk.
pub(super) unsafe fn queue_of(disk: u64) -> u64 {
    // SAFETY: the caller vouches for the disk.
    unsafe { gendisk::queue.get(disk) }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c blk_mq_start_request, c blk_update_request, c __blk_mq_end_request, c blk_mq_end_request, c blk_mq_end_request_batch,
    c blk_mq_complete_request_remote, c blk_mq_complete_request, c blk_mq_alloc_request, c blk_mq_alloc_request_hctx,
    c blk_mq_free_request, c blk_rq_init, c blk_mq_unique_tag, c blk_mq_queue_inflight, c blk_set_queue_depth,
];
