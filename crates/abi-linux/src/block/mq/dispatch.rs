//! The way of requests to their driver: at once, or when it has room again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ferrmod_kernel::kernel;

use super::{
    call, context, flush_first, force_unit_access, is_queue, no_wait, operations, queue_data, queues, request,
    request_queue, requests, with,
};
use crate::block::operations::{AGAIN, DEVICE_RESOURCE, FLUSH, IO_ERROR, RESOURCE};
use crate::block::{SECTOR, bio, queue as limits};
use crate::boot::facts;
use crate::export::{Export, exports};
use crate::{slab, symbols, tasks, workqueue};

/// Milliseconds until a driver without room is asked again (`BLK_MQ_RESOURCE_DELAY`).
const DELAY: u64 = 3;

/// Whether the driver cannot take it now.
fn is_busy(status: u8) -> bool {
    status == RESOURCE || status == DEVICE_RESOURCE
}

/// A bio goes to a queue of requests.
///
/// # Safety
/// Both are what they are called.
pub(crate) unsafe fn submit(queue: u64, at: u64, caller: u64) {
    // SAFETY: the caller vouches for both.
    unsafe {
        let flags = bio::flags_of(at);
        if flags & flush_first() != 0 {
            return flush(queue, at, caller);
        }
        if flags & force_unit_access() != 0 && !limits::writes_past_cache(queue) {
            return flush_behind(queue, at, caller);
        }
        while let Some(sectors) = limits::too_large(queue, at) {
            let Some(part) = bio::split_front(at, sectors, caller) else { return bio::fail(at, AGAIN) };
            one(queue, part, caller);
        }
        one(queue, at, caller);
    }
}

/// A bio that is not too large becomes a request.
///
/// # Safety
/// As [`submit`].
unsafe fn one(queue: u64, at: u64, caller: u64) {
    // SAFETY: the caller vouches for queue and bio.
    unsafe {
        let flags = bio::flags_of(at);
        let how = if flags & no_wait() != 0 { requests::NO_WAIT } else { 0 };
        match requests::allocate(queue, flags, how, caller) {
            Ok(made) => {
                requests::take_bio(made, at);
                insert(made, false);
            }
            Err(ferrmod_kernel::Errno::EAGAIN) => bio::fail(at, AGAIN),
            Err(_) => bio::fail(at, IO_ERROR),
        }
    }
}

/// What was written before is flushed first; the bio goes on then.
///
/// # Safety
/// As [`submit`].
unsafe fn flush(queue: u64, at: u64, caller: u64) {
    // SAFETY: the caller vouches for queue and bio.
    unsafe {
        match requests::allocate(queue, FLUSH | flush_first(), 0, caller) {
            Ok(made) => {
                request::part.set(made, bio::device_of(at));
                request::end_io.set(made, symbols::address("flush_end_io").unwrap_or(0));
                request::end_io_data.set(made, at);
                insert(made, false);
            }
            Err(_) => bio::fail(at, IO_ERROR),
        }
    }
}

/// What is written is flushed behind it: a bio of its own takes all of it, and the other goes on as a flush.
///
/// # Safety
/// As [`submit`].
unsafe fn flush_behind(queue: u64, at: u64, caller: u64) {
    // SAFETY: the caller vouches for queue and bio.
    unsafe {
        let sectors = (u64::from(bio::size_of(at)) / SECTOR) as u32;
        bio::change_flags(at, force_unit_access(), 0);
        let Some(made) = bio::split(at, sectors, 0, caller) else { return bio::fail(at, RESOURCE) };
        bio::change_flags(at, 0, flush_first());
        bio::set_end(made, symbols::address("flush_behind_endio").unwrap_or(0), at);
        submit(queue, made, caller);
    }
}

/// The end function of a bio that a flush is to follow: the other one goes on.
extern "C" fn flush_behind_endio(at: u64) {
    // SAFETY: a bio of `flush_behind`, and the one that it was cut off.
    unsafe {
        let (behind, status) = (bio::data_of(at), bio::status_of(at));
        bio::bio_put(at);
        if status == 0 {
            later(behind);
        } else {
            bio::fail(behind, status);
        }
    }
}

/// Submits a bio in a worker: it may have to wait for a tag, which nobody may who ends another.
fn later(at: u64) {
    workqueue::queue_own(at, |at| bio::submit_bio(at));
}

/// `enum rq_end_io_ret flush_end_io(struct request *, blk_status_t)`: the end of a flush that a bio waits for.
extern "C" fn flush_end_io(at: u64, status: u8) -> u32 {
    // SAFETY: a request of `flush`, whose bio has not ended.
    unsafe {
        let waiting: u64 = request::end_io_data.get(at);
        bio::change_flags(waiting, flush_first(), 0);
        if status != 0 || bio::size_of(waiting) == 0 {
            bio::end_with(waiting, status);
        } else {
            later(waiting);
        }
    }
    requests::FREE
}

/// A request goes to its driver, or behind (`first`: before) those that wait.
///
/// # Safety
/// `at` is a request that nobody has given to the driver.
pub(super) unsafe fn insert(at: u64, first: bool) {
    // SAFETY: the caller vouches for the request.
    unsafe {
        let (queue, of): (u64, u64) = (request::q.get(at), request::mq_hctx.get(at));
        let others_wait = with(queue, |queue| queue.waiting.get(&of).is_some_and(|waiting| !waiting.is_empty()));
        if !first && others_wait == Some(false) && !stands_still(queue, of) {
            match issue(queue, of, at) {
                0 => return,
                status if is_busy(status) => {
                    wait_for_room(queue, of, at);
                    return run_later(of, DELAY);
                }
                status => return requests::blk_mq_end_request(at, status),
            }
        }
        with(queue, |queue| {
            let waiting = queue.waiting.entry(of).or_default();
            if first { waiting.push_front(at) } else { waiting.push_back(at) }
        });
        if first { run(of) } else { run_later(of, 0) }
    }
}

/// # Safety
/// As [`insert`].
unsafe fn wait_for_room(queue: u64, of: u64, at: u64) {
    // SAFETY: the caller vouches for the request.
    unsafe { requests::take_back(at) };
    with(queue, |queue| queue.waiting.entry(of).or_default().push_front(at));
}

/// The bit of a stopped hardware context's state.
fn stopped_bit() -> u64 {
    static BIT: spin::Once<u64> = spin::Once::new();
    *BIT.call_once(|| 1 << facts().btf().enum_value("BLK_MQ_S_STOPPED").map_or(0, |bit| bit as u64 & 63))
}

/// Whether nothing may go to the driver.
///
/// # Safety
/// `of` is a hardware context of the queue.
unsafe fn stands_still(queue: u64, of: u64) -> bool {
    // SAFETY: the caller vouches for the context.
    let is_stopped = unsafe { context::state.get::<u64>(of) } & stopped_bit() != 0;
    is_stopped || with(queue, |queue| queue.quiesced > 0) != Some(false)
}

/// Gives a request to its driver; what it answers.
///
/// # Safety
/// As [`insert`].
unsafe fn issue(queue: u64, of: u64, at: u64) -> u8 {
    // SAFETY: the caller vouches for the request; the driver's table belongs to its queue.
    unsafe {
        let table = super::table(queue);
        let data = slab::allocate(queue_data::SIZE.get(), 8, slab::ZERO, 0);
        if data == 0 {
            return RESOURCE;
        }
        if let Some(token) = call(table, &operations::get_budget, [queue]) {
            if (token as i32) < 0 {
                slab::release(data, 0);
                return RESOURCE;
            }
            call(table, &operations::set_rq_budget_token, [at, token & 0xffff_ffff]);
        }
        queue_data::rq.set(data, at);
        queue_data::last.set(data, 1u8);
        let me = kernel().tasks.current();
        with(queue, |queue| queue.dispatching.push(me));
        let status = call(table, &operations::queue_rq, [of, data]).map_or(IO_ERROR, |status| status as u8);
        with(queue, |queue| {
            if let Some(place) = queue.dispatching.iter().position(|&task| task == me) {
                queue.dispatching.swap_remove(place);
            }
        });
        slab::release(data, 0);
        status
    }
}

/// Gives to the driver what waits in a hardware context, until it has no room.
fn run(of: u64) {
    loop {
        // SAFETY: a hardware context of ours, unless it has gone.
        unsafe {
            let Some(queue) = queue_of(of) else { return };
            if stands_still(queue, of) {
                return;
            }
            let next = with(queue, |queue| queue.waiting.get_mut(&of).and_then(VecDeque::pop_front));
            let Some(at) = next.flatten() else { return };
            match issue(queue, of, at) {
                0 => (),
                status if is_busy(status) => {
                    wait_for_room(queue, of, at);
                    return run_later(of, DELAY);
                }
                status => requests::blk_mq_end_request(at, status),
            }
        }
    }
}

/// The queue of a hardware context that is still there.
fn queue_of(of: u64) -> Option<u64> {
    super::QUEUES.lock().iter().find(|(_, queue)| queue.contexts.contains(&of)).map(|(&queue, _)| queue)
}

/// Runs a hardware context in a worker, in so many milliseconds, whatever it waited for before.
fn run_later(of: u64, milliseconds: u64) {
    if milliseconds == 0 {
        kernel().timers.cancel(of);
        return workqueue::queue_own(of, run);
    }
    kernel().timers.set(of, after(milliseconds), |of| workqueue::queue_own(of, run));
}

/// The time of the platform in so many milliseconds.
fn after(milliseconds: u64) -> u64 {
    kernel().platform.now().saturating_add(milliseconds.saturating_mul(1_000_000))
}

/// Runs all hardware contexts of a queue: at once, or in a worker.
pub(super) fn run_all(queue: u64, later: bool) {
    for of in queues::contexts(queue) {
        if later { run_later(of, 0) } else { run(of) }
    }
}

/// A request of a queue has ended: those that wait may find room.
pub(super) fn room(queue: u64) {
    let waiting: Vec<u64> = with(queue, |queue| {
        queue.waiting.iter().filter(|(_, waiting)| !waiting.is_empty()).map(|(&of, _)| of).collect()
    })
    .unwrap_or_default();
    waiting.into_iter().for_each(|of| run_later(of, 0));
}

/// A hardware context goes.
pub(super) fn forget(of: u64) {
    kernel().timers.cancel(of);
    kernel().work.cancel(of);
    kernel().work.flush(of);
}

/// Where the requests of a queue that were given back are known by.
fn requeue_key(queue: u64) -> u64 {
    request_queue::requeue_work.at(queue)
}

/// A queue goes: nobody is to kick it.
pub(super) fn cancel_requeue(queue: u64) {
    let key = requeue_key(queue);
    kernel().timers.cancel(key);
    kernel().work.cancel(key);
    kernel().work.flush(key);
}

/// What drivers have given back goes to them again.
fn requeue(key: u64) {
    let queue = request_queue::requeue_work.container(key);
    let all = with(queue, |queue| core::mem::take(&mut queue.requeued)).unwrap_or_default();
    for at in all {
        // SAFETY: requests of the queue, which wait.
        let of: u64 = unsafe { request::mq_hctx.get(at) };
        with(queue, |queue| queue.waiting.entry(of).or_default().push_front(at));
    }
    run_all(queue, false);
}

fn kick(queue: u64, milliseconds: u64) {
    let key = requeue_key(queue);
    if milliseconds == 0 {
        kernel().timers.cancel(key);
        return workqueue::queue_own(key, requeue);
    }
    kernel().timers.set(key, after(milliseconds), |key| workqueue::queue_own(key, requeue));
}

/// `void blk_mq_requeue_request(struct request *, bool kick)`: to be given to the driver again, from the beginning.
extern "C" fn blk_mq_requeue_request(at: u64, kicks: bool) {
    // SAFETY: the driver's request.
    unsafe {
        requests::take_back(at);
        let queue: u64 = request::q.get(at);
        with(queue, |queue| queue.requeued.push(at));
        if kicks {
            kick(queue, 0);
        }
    }
}
/// `void blk_mq_kick_requeue_list(struct request_queue *)`
extern "C" fn blk_mq_kick_requeue_list(queue: u64) {
    if is_queue(queue) {
        kick(queue, 0);
    }
}
/// `void blk_mq_delay_kick_requeue_list(struct request_queue *, unsigned long msecs)`
extern "C" fn blk_mq_delay_kick_requeue_list(queue: u64, milliseconds: u64) {
    if is_queue(queue) {
        kick(queue, milliseconds);
    }
}

/// `void blk_mq_run_hw_queue(struct blk_mq_hw_ctx *, bool async)`
extern "C" fn blk_mq_run_hw_queue(of: u64, later: bool) {
    // Who must not sleep does not call a driver that may.
    if later || tasks::preempt_count() != 0 { run_later(of, 0) } else { run(of) }
}
/// `void blk_mq_delay_run_hw_queue(struct blk_mq_hw_ctx *, unsigned long msecs)`
extern "C" fn blk_mq_delay_run_hw_queue(of: u64, milliseconds: u64) {
    run_later(of, milliseconds);
}
/// `void blk_mq_run_hw_queues(struct request_queue *, bool async)`
extern "C" fn blk_mq_run_hw_queues(queue: u64, later: bool) {
    for of in queues::contexts(queue) {
        blk_mq_run_hw_queue(of, later);
    }
}
/// `void blk_mq_delay_run_hw_queues(struct request_queue *, unsigned long msecs)`
extern "C" fn blk_mq_delay_run_hw_queues(queue: u64, milliseconds: u64) {
    queues::contexts(queue).into_iter().for_each(|of| run_later(of, milliseconds));
}

fn change_stopped(of: u64, is_stopped: bool) -> bool {
    // SAFETY: a hardware context of the driver's.
    unsafe {
        let (state, bit) = (context::state.get::<u64>(of), stopped_bit());
        context::state.set(of, if is_stopped { state | bit } else { state & !bit });
        state & bit != 0
    }
}
/// `void blk_mq_stop_hw_queue(struct blk_mq_hw_ctx *)`
extern "C" fn blk_mq_stop_hw_queue(of: u64) {
    kernel().timers.cancel(of);
    change_stopped(of, true);
}
/// `void blk_mq_stop_hw_queues(struct request_queue *)`
extern "C" fn blk_mq_stop_hw_queues(queue: u64) {
    queues::contexts(queue).into_iter().for_each(|of| blk_mq_stop_hw_queue(of));
}
/// `void blk_mq_start_hw_queue(struct blk_mq_hw_ctx *)`
extern "C" fn blk_mq_start_hw_queue(of: u64) {
    change_stopped(of, false);
    blk_mq_run_hw_queue(of, false);
}
/// `void blk_mq_start_hw_queues(struct request_queue *)`
extern "C" fn blk_mq_start_hw_queues(queue: u64) {
    queues::contexts(queue).into_iter().for_each(|of| blk_mq_start_hw_queue(of));
}
/// `void blk_mq_start_stopped_hw_queue(struct blk_mq_hw_ctx *, bool async)`
extern "C" fn blk_mq_start_stopped_hw_queue(of: u64, later: bool) {
    if change_stopped(of, false) {
        blk_mq_run_hw_queue(of, later);
    }
}
/// `void blk_mq_start_stopped_hw_queues(struct request_queue *, bool async)`
extern "C" fn blk_mq_start_stopped_hw_queues(queue: u64, later: bool) {
    queues::contexts(queue).into_iter().for_each(|of| blk_mq_start_stopped_hw_queue(of, later));
}

/// `int kblockd_schedule_work(struct work_struct *)`
extern "C" fn kblockd_schedule_work(work: u64) -> i32 {
    workqueue::schedule(work).into()
}
/// `int kblockd_mod_delayed_work_on(int cpu, struct delayed_work *, unsigned long delay)`
extern "C" fn kblockd_mod_delayed_work_on(cpu: i32, delayed: u64, jiffies: u64) -> i32 {
    workqueue::schedule_in(cpu, delayed, jiffies).into()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c flush_end_io, c flush_behind_endio, c blk_mq_requeue_request, c blk_mq_kick_requeue_list, c blk_mq_delay_kick_requeue_list, c blk_mq_run_hw_queue,
    c blk_mq_delay_run_hw_queue, c blk_mq_run_hw_queues, c blk_mq_delay_run_hw_queues, c blk_mq_stop_hw_queue,
    c blk_mq_stop_hw_queues, c blk_mq_start_hw_queue, c blk_mq_start_hw_queues, c blk_mq_start_stopped_hw_queue,
    c blk_mq_start_stopped_hw_queues, c kblockd_schedule_work, c kblockd_mod_delayed_work_on,
];
