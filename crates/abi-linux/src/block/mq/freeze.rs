//! Queues that stand still: frozen ones take no request, quiesced ones give none to their driver.

use ferrmod_kernel::{Errno, kernel};

use super::{QUEUES, dispatch, quiesced_flag, request_queue, with};
use crate::block::queue as limits;
use crate::export::{Export, exports};
use crate::{ram, tasks, time};

/// Nanoseconds between two looks at who is still in a driver.
const PAUSE: u64 = 1_000_000;

/// Where those wait that a frozen queue keeps out, or that wait for the last request.
fn channel(queue: u64) -> u64 {
    request_queue::mq_freeze_wq.at(queue)
}

/// One more request is on its way; waits while the queue is frozen.
///
/// # Errors
/// `ENODEV` when the queue ends, `EAGAIN` when it would have to wait and must not.
pub(super) fn enter(queue: u64, may_wait: bool, caller: u64) -> Result<(), Errno> {
    loop {
        let entered = with(queue, |queue| {
            let comes_in = queue.frozen == 0;
            queue.users += u32::from(comes_in && !queue.is_dying);
            if queue.is_dying { Err(Errno::ENODEV) } else { Ok(comes_in) }
        });
        match entered.ok_or(Errno::ENODEV)?? {
            true => return Ok(()),
            false if !may_wait => return Err(Errno::EAGAIN),
            false => {
                tasks::might_block(caller);
                kernel().tasks.block(None, Some(channel(queue)));
            }
        }
    }
}

/// A request is over.
pub(super) fn leave(queue: u64) {
    let left = with(queue, |queue| {
        queue.users = queue.users.saturating_sub(1);
        queue.users
    });
    if left == Some(0) {
        super::timeouts::cancel(queue);
        kernel().tasks.wake_channel(channel(queue), usize::MAX);
    }
}

fn note_depth(queue: u64, depth: u32) {
    // SAFETY: a queue of requests.
    unsafe { request_queue::mq_freeze_depth.set(queue, depth) };
}

/// Nothing new comes in.
pub(super) fn start(queue: u64) {
    let depth = with(queue, |queue| {
        queue.frozen += 1;
        queue.frozen
    });
    let Some(depth) = depth else { return };
    note_depth(queue, depth);
    if depth == 1 {
        dispatch::run_all(queue, false);
    }
}

/// The queue is dying: whoever waits to come in is told.
pub(super) fn refuse(queue: u64) {
    kernel().tasks.wake_channel(channel(queue), usize::MAX);
}

/// Waits until everything that is in has ended.
pub(super) fn wait(queue: u64, caller: u64) {
    while with(queue, |queue| queue.users > 0) == Some(true) {
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(channel(queue)));
    }
}

/// What was frozen once more than it was unfrozen stays so.
pub(super) fn end(queue: u64) {
    let depth = with(queue, |queue| {
        queue.frozen = queue.frozen.saturating_sub(1);
        queue.frozen
    });
    let Some(depth) = depth else { return };
    note_depth(queue, depth);
    if depth == 0 {
        kernel().tasks.wake_channel(channel(queue), usize::MAX);
    }
}

/// `void blk_freeze_queue_start(struct request_queue *)`
extern "C" fn blk_freeze_queue_start(queue: u64) {
    start(queue);
}
/// `void blk_mq_freeze_queue_wait(struct request_queue *)`
extern "C" fn blk_mq_freeze_queue_wait(queue: u64) {
    wait(queue, ram::caller());
}
/// `int blk_mq_freeze_queue_wait_timeout(struct request_queue *, unsigned long jiffies)`: jiffies that are left, 0 when it took longer.
extern "C" fn blk_mq_freeze_queue_wait_timeout(queue: u64, jiffies: u64) -> i32 {
    let caller = ram::caller();
    let until = time::after_jiffies(jiffies as i64);
    while with(queue, |queue| queue.users > 0) == Some(true) {
        if until.is_some_and(|until| kernel().platform.now() >= until) {
            return 0;
        }
        tasks::might_block(caller);
        kernel().tasks.block(until, Some(channel(queue)));
    }
    time::jiffies_left(until).clamp(1, i32::MAX as u64) as i32
}
/// `void blk_mq_freeze_queue(struct request_queue *)`
extern "C" fn blk_mq_freeze_queue(queue: u64) {
    let caller = ram::caller();
    start(queue);
    wait(queue, caller);
}
/// `void blk_mq_unfreeze_queue(struct request_queue *)`
extern "C" fn blk_mq_unfreeze_queue(queue: u64) {
    end(queue);
}

/// Nothing goes to the driver any more.
fn quiesce(queue: u64) {
    let depth = with(queue, |queue| {
        queue.quiesced += 1;
        queue.quiesced
    });
    note_quiesced(queue, depth);
}

fn note_quiesced(queue: u64, depth: Option<u32>) {
    let Some(depth) = depth else { return };
    // SAFETY: a queue of requests.
    unsafe {
        request_queue::quiesce_depth.set(queue, depth);
        limits::change_flag(queue, quiesced_flag().into(), depth > 0);
    }
}

/// Waits until nobody else is in the driver's `queue_rq`.
fn wait_until_quiet(queue: u64, caller: u64) {
    let me = kernel().tasks.current();
    loop {
        let inside = with(queue, |queue| queue.dispatching.clone()).unwrap_or_default();
        // A task that was killed in there does not come back.
        if !inside.into_iter().any(|task| task != me && kernel().tasks.is_alive(task)) {
            return;
        }
        tasks::might_block(caller);
        let until = kernel().platform.now().saturating_add(PAUSE);
        kernel().tasks.block(Some(until), None);
    }
}

/// `void blk_mq_quiesce_queue_nowait(struct request_queue *)`
extern "C" fn blk_mq_quiesce_queue_nowait(queue: u64) {
    quiesce(queue);
}
/// `void blk_mq_wait_quiesce_done(struct request_queue *)`, and since 6.7 of a tag set.
extern "C" fn blk_mq_wait_quiesce_done(of: u64) {
    let caller = ram::caller();
    let all: alloc::vec::Vec<u64> = QUEUES
        .lock()
        .iter()
        .filter(|&(&queue, known)| queue == of || known.set == of)
        .map(|(&queue, _)| queue)
        .collect();
    all.into_iter().for_each(|queue| wait_until_quiet(queue, caller));
}
/// `void blk_mq_quiesce_queue(struct request_queue *)`
extern "C" fn blk_mq_quiesce_queue(queue: u64) {
    let caller = ram::caller();
    quiesce(queue);
    wait_until_quiet(queue, caller);
}
/// `void blk_mq_unquiesce_queue(struct request_queue *)`
extern "C" fn blk_mq_unquiesce_queue(queue: u64) {
    let caller = ram::caller();
    let before = with(queue, |queue| queue.quiesced);
    if before == Some(0) {
        return kernel().warn("blk_mq_unquiesce_queue: it is not quiesced", caller);
    }
    let depth = with(queue, |queue| {
        queue.quiesced -= 1;
        queue.quiesced
    });
    note_quiesced(queue, depth);
    if depth == Some(0) {
        dispatch::run_all(queue, true);
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c blk_freeze_queue_start, c blk_mq_freeze_queue_wait, c blk_mq_freeze_queue_wait_timeout, c blk_mq_freeze_queue,
    c blk_mq_unfreeze_queue, c blk_mq_quiesce_queue_nowait, c blk_mq_wait_quiesce_done, c blk_mq_quiesce_queue,
    c blk_mq_unquiesce_queue,
];
