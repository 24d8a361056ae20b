//! Requests that take too long: their driver is asked what becomes of them.

use ferrmod_kernel::kernel;

use super::{IN_FLIGHT, call, is_queue, operations, request, request_queue, requests, timed_out_flag};
use crate::export::{Export, exports};
use crate::{boot, time, workqueue};

/// `BLK_EH_RESET_TIMER`: the driver goes on waiting.
const RESET: u32 = 1;

/// A request may take as long as it says, or as its queue says.
///
/// # Safety
/// `at` is a request of a queue.
pub(super) unsafe fn add(at: u64) {
    // SAFETY: the caller vouches for the request.
    unsafe {
        let queue: u64 = request::q.get(at);
        if request::timeout.get::<u32>(at) == 0 {
            request::timeout.set(at, request_queue::rq_timeout.get::<u32>(queue));
        }
        request::rq_flags.set(at, request::rq_flags.get::<u32>(at) & !timed_out_flag());
        let most = u64::from(request::timeout.get::<u32>(at));
        request::deadline.set(at, boot::jiffies().wrapping_add(most));
        let key = request_queue::timeout.at(queue);
        arm(key, most);
    }
}

/// Looks in so many jiffies, unless that is to be sooner.
fn arm(key: u64, jiffies: u64) {
    if let Some(at) = time::after_jiffies(jiffies as i64)
        && kernel().timers.due(key).is_none_or(|due| at < due)
    {
        kernel().timers.set(key, at, |key| workqueue::queue_own(key, look));
    }
}

/// Nothing of the queue is on its way any more.
pub(super) fn cancel(queue: u64) {
    kernel().timers.cancel(request_queue::timeout.at(queue));
}

/// The queue goes: nobody is to look any more.
pub(super) fn end(queue: u64) {
    let key = request_queue::timeout.at(queue);
    kernel().timers.cancel(key);
    kernel().work.cancel(key);
    kernel().work.flush(key);
}

/// Asks the drivers of what is due, and waits for what is not.
fn look(key: u64) {
    let queue = request_queue::timeout.container(key);
    if !is_queue(queue) {
        return;
    }
    let mut next: Option<u64> = None;
    let all: alloc::vec::Vec<u64> = requests::started(queue).collect();
    for at in all {
        // SAFETY: requests of the queue's set.
        unsafe {
            // The driver may have ended this one when it was asked about another.
            if request::q.get::<u64>(at) != queue || request::state.get::<u32>(at) != IN_FLIGHT {
                continue;
            }
            let left = request::deadline.get::<u64>(at).wrapping_sub(boot::jiffies()) as i64;
            let flags: u32 = request::rq_flags.get(at);
            if left > 0 {
                next = Some(next.map_or(left as u64, |next| next.min(left as u64)));
            } else if flags & timed_out_flag() == 0 {
                request::rq_flags.set(at, flags | timed_out_flag());
                let answer = call(super::table(queue), &operations::timeout, [at]);
                if answer.is_none_or(|answer| answer as u32 == RESET) {
                    add(at);
                }
            }
        }
    }
    if let Some(jiffies) = next {
        arm(key, jiffies);
    }
}

/// `void blk_abort_request(struct request *)`: its time is over now.
extern "C" fn blk_abort_request(at: u64) {
    // SAFETY: the driver's request.
    unsafe {
        request::deadline.set(at, boot::jiffies());
        workqueue::queue_own(request_queue::timeout.at(request::q.get(at)), look);
    }
}

/// `void blk_queue_rq_timeout(struct request_queue *, unsigned int jiffies)`
extern "C" fn blk_queue_rq_timeout(queue: u64, jiffies: u32) {
    // SAFETY: the driver's queue.
    unsafe { request_queue::rq_timeout.set(queue, jiffies) };
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c blk_abort_request, c blk_queue_rq_timeout];
