//! Queues over tag sets: their hardware contexts, from the first to the last reference.

use alloc::vec::Vec;

use ferrmod_kernel::{Errno, kernel};

use super::{
    QUEUES, Queue, call, context, dying_flag, operations, ready_flag, request_queue, set_flag, show, tag_set, tags,
    with,
};
use crate::block::queue as limits;
use crate::export::{Export, exports};
use crate::field::Size;
use crate::{bitmaps, locks, ram, slab, xarray};

/// The size of a mask of processors.
static CPU_MASK: Size = Size::new("cpumask");

/// Jiffies that a driver has for a request when it does not say.
const TIMEOUT: u32 = 30 * crate::time::HZ as u32;

/// A queue over a tag set, with the limits at `first` (0: those that every queue begins with), held once.
///
/// # Errors
/// `ENOMEM`, or what `init_hctx` answers.
///
/// # Safety
/// `set` is a tag set that has been allocated; `first` is 0 or a `struct queue_limits`.
pub(crate) unsafe fn make(set: u64, first: u64, data: u64, caller: u64) -> Result<u64, Errno> {
    let queue = limits::make(first, caller);
    if queue == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: a queue of ours, and the caller's set.
    unsafe {
        request_queue::mq_ops.set(queue, tag_set::ops.get::<u64>(set));
        request_queue::tag_set.set(queue, set);
        request_queue::queuedata.set(queue, data);
        request_queue::nr_requests.set(queue, u64::from(tag_set::queue_depth.get::<u32>(set)));
        let timeout = tag_set::timeout.get::<u32>(set);
        request_queue::rq_timeout.set(queue, if timeout == 0 { TIMEOUT } else { timeout });
        locks::init_list(request_queue::tag_set_list.at(queue));
        QUEUES.lock().insert(queue, Queue { set, references: 1, ..Queue::default() });
        if let Err(errno) = make_contexts(queue, caller) {
            QUEUES.lock().remove(&queue);
            limits::free(queue);
            return Err(errno);
        }
        limits::change_flag(queue, ready_flag().into(), true);
    }
    Ok(queue)
}

/// Makes the hardware contexts of a queue.
///
/// # Safety
/// `queue` is a queue over a set, and has none.
unsafe fn make_contexts(queue: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the queue.
    unsafe {
        let set: u64 = request_queue::tag_set.get(queue);
        let count: u32 = tag_set::nr_hw_queues.get(set);
        let is_shared = others_of(set, queue) > 0;
        request_queue::nr_hw_queues.set(queue, count);
        for number in 0..count {
            let made = make_context(queue, set, number, is_shared, caller);
            match made {
                Ok(at) => with(queue, |queue| queue.contexts.push(at)),
                Err(errno) => {
                    exit_contexts(queue, caller);
                    return Err(errno);
                }
            };
        }
    }
    Ok(())
}

/// How many other queues a set has.
fn others_of(set: u64, queue: u64) -> usize {
    QUEUES.lock().iter().filter(|&(&other, known)| known.set == set && other != queue).count()
}

/// # Safety
/// As [`make_contexts`].
unsafe fn make_context(queue: u64, set: u64, number: u32, is_shared: bool, caller: u64) -> Result<u64, Errno> {
    let at = slab::allocate(context::SIZE.get(), 64, slab::ZERO, caller);
    let mask = slab::allocate(CPU_MASK.get(), 8, slab::ZERO, caller);
    if at == 0 || mask == 0 {
        slab::release(at, caller);
        slab::release(mask, caller);
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the caller vouches for queue and set; the rest is zeroed blocks of the structs' sizes.
    unsafe {
        let mut served = 0u16;
        for cpu in 0..bitmaps::cpus() {
            let serves = |kind| tags::hardware_queue(set, kind, cpu) == number;
            if (0..tag_set::nr_maps.get::<u32>(set)).any(serves) {
                served += 1;
                let word = mask + u64::from(cpu / 64) * 8;
                ram::put(word, ram::get::<u64>(word) | 1 << (cpu % 64));
            }
        }
        let shared = if is_shared { set_flag("BLK_MQ_F_TAG_QUEUE_SHARED") } else { 0 };
        locks::init_list(context::dispatch.at(at));
        context::cpumask.set(at, mask);
        context::queue.set(at, queue);
        context::queue_num.set(at, number);
        context::flags.set(at, u64::from(tag_set::flags.get::<u32>(set) | shared));
        context::numa_node.set(at, tag_set::numa_node.get::<u32>(set));
        context::nr_ctx.set(at, served);
        context::tags.set(at, tags_of(set, number));
        let data: u64 = tag_set::driver_data.get(set);
        let answer = call(tag_set::ops.get(set), &operations::init_hctx, [at, data, number.into()]);
        if let Some(errno) = answer.and_then(|answer| Errno::from_return((answer as i32).into())) {
            free_context(at, caller);
            return Err(errno);
        }
        if let Err(errno) = xarray::store(request_queue::hctx_table.at(queue), number.into(), at, caller) {
            call(tag_set::ops.get(set), &operations::exit_hctx, [at, number.into()]);
            free_context(at, caller);
            return Err(errno);
        }
    }
    Ok(at)
}

/// # Safety
/// `at` is a hardware context that nobody uses any more.
unsafe fn free_context(at: u64, caller: u64) {
    // SAFETY: the caller vouches for the context.
    slab::release(unsafe { context::cpumask.get(at) }, caller);
    slab::release(at, caller);
}

/// # Safety
/// `set` has so many hardware queues.
unsafe fn tags_of(set: u64, number: u32) -> u64 {
    // SAFETY: the caller vouches for the set.
    unsafe { ram::get(tag_set::tags.get::<u64>(set) + 8 * u64::from(number)) }
}

/// Takes the hardware contexts of a queue away.
///
/// # Safety
/// `queue` is a queue of requests, and none of its requests is on its way.
unsafe fn exit_contexts(queue: u64, caller: u64) {
    let Some(gone) = with(queue, |queue| core::mem::take(&mut queue.contexts)) else { return };
    for (number, &at) in gone.iter().enumerate() {
        super::dispatch::forget(at);
        // SAFETY: the caller vouches for the queue; the driver's function gets back what its other one made.
        unsafe {
            call(super::table(queue), &operations::exit_hctx, [at, number as u64]);
            free_context(at, caller);
        }
    }
    xarray::xa_destroy(request_queue::hctx_table.at(queue));
}

/// Nothing more comes in, everything in it ends, and its hardware contexts go.
///
/// # Safety
/// As [`exit_contexts`], without the second condition.
pub(crate) unsafe fn end(queue: u64, caller: u64) {
    if with(queue, |queue| core::mem::replace(&mut queue.is_dying, true)) != Some(false) {
        return;
    }
    // SAFETY: the caller vouches for the queue.
    unsafe {
        limits::change_flag(queue, dying_flag().into(), true);
        super::freeze::refuse(queue);
        super::freeze::start(queue);
        super::freeze::wait(queue, caller);
        limits::change_flag(queue, ready_flag().into(), false);
        super::timeouts::end(queue);
        super::dispatch::cancel_requeue(queue);
        exit_contexts(queue, caller);
    }
}

/// One more reference; whether there is such a queue that is not on its end.
pub(crate) fn hold(queue: u64) -> bool {
    with(queue, |queue| {
        queue.references += u32::from(!queue.is_dying);
        !queue.is_dying
    })
    // One without requests lives as long as its disk.
    .unwrap_or(true)
}

/// Gives a reference back; the last one frees the queue.
pub(crate) fn put(queue: u64, caller: u64) {
    let left = with(queue, |queue| {
        queue.references = queue.references.saturating_sub(1);
        queue.references
    });
    match left {
        Some(0) => {
            // SAFETY: a queue of requests that nobody has any more.
            unsafe { end(queue, caller) };
            QUEUES.lock().remove(&queue);
            limits::free(queue);
        }
        Some(_) => (),
        None => limits::free(queue),
    }
}

/// A queue was made with its disk.
pub(crate) fn belongs_to_disk(queue: u64) {
    with(queue, |queue| queue.is_of_disk = true);
}

/// The disk of a queue has been taken away: what is on its way ends, and the queue too if it was made with it.
///
/// # Safety
/// `queue` is a queue.
pub(crate) unsafe fn disk_goes(queue: u64, caller: u64) {
    match with(queue, |queue| queue.is_of_disk) {
        // SAFETY: the caller vouches for the queue.
        Some(true) => unsafe { end(queue, caller) },
        Some(false) => {
            super::freeze::start(queue);
            super::freeze::wait(queue, caller);
            super::freeze::end(queue);
        }
        None => (),
    }
}

/// The disk of a queue has gone.
///
/// # Safety
/// `queue` is a queue.
pub(crate) unsafe fn leave_disk(queue: u64, caller: u64) {
    // SAFETY: the caller vouches for the queue.
    unsafe { limits::set_disk(queue, 0) };
    put(queue, caller);
}

/// The hardware contexts of a queue.
pub(super) fn contexts(queue: u64) -> Vec<u64> {
    with(queue, |queue| queue.contexts.clone()).unwrap_or_default()
}

/// The hardware context that an operation goes to from the running processor.
pub(super) fn context_for(queue: u64, operation: u32) -> Option<u64> {
    /// `HCTX_TYPE_DEFAULT`, `HCTX_TYPE_READ`; `REQ_OP_READ`
    const DEFAULT: u32 = 0;
    const READING: u32 = 1;
    const READ: u32 = 0;
    let kind = if operation == READ { READING } else { DEFAULT };
    let set = with(queue, |queue| queue.set)?;
    // SAFETY: a queue's set lives longer than the queue.
    let number = unsafe { tags::hardware_queue(set, kind, kernel().tasks.cpu()) };
    let contexts = contexts(queue);
    contexts.get(number as usize).or(contexts.first()).copied()
}

/// `struct request_queue *blk_mq_init_queue(struct blk_mq_tag_set *)`
extern "C" fn blk_mq_init_queue(set: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the driver's set.
    unsafe { make(set, 0, 0, caller) }.unwrap_or_else(Errno::to_pointer)
}
/// `struct request_queue *blk_mq_alloc_queue(struct blk_mq_tag_set *, struct queue_limits *, void *queuedata)`
extern "C" fn blk_mq_alloc_queue(set: u64, first: u64, data: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the driver's set and limits.
    unsafe { make(set, first, data, caller) }.unwrap_or_else(Errno::to_pointer)
}
/// `void blk_mq_destroy_queue(struct request_queue *)`: the reference stays.
extern "C" fn blk_mq_destroy_queue(queue: u64) {
    let caller = ram::caller();
    // SAFETY: the driver's queue.
    unsafe { end(queue, caller) };
}
/// `bool blk_get_queue(struct request_queue *)`
extern "C" fn blk_get_queue(queue: u64) -> bool {
    hold(queue)
}
/// `void blk_put_queue(struct request_queue *)`
extern "C" fn blk_put_queue(queue: u64) {
    let caller = ram::caller();
    if super::is_queue(queue) {
        put(queue, caller);
    }
}

/// Where the disk of a queue is in `/sys`, if it has one there.
///
/// # Safety
/// `queue` is a queue.
unsafe fn path(queue: u64) -> Option<alloc::string::String> {
    // SAFETY: the caller vouches for the queue.
    let disk: u64 = unsafe { request_queue::disk.get(queue) };
    if disk == 0 { None } else { crate::block::path(disk) }
}

/// `void blk_mq_update_nr_hw_queues(struct blk_mq_tag_set *, int)`: as many as asked for, unless there is no memory for them.
extern "C" fn blk_mq_update_nr_hw_queues(set: u64, count: i32) {
    let caller = ram::caller();
    // SAFETY: the driver's set.
    unsafe {
        let (before, maps): (u32, u32) = (tag_set::nr_hw_queues.get(set), tag_set::nr_maps.get(set));
        let most = if maps <= 1 { bitmaps::cpus() as i32 } else { i32::MAX };
        let wanted = count.min(most);
        if wanted < 1 || wanted as u32 == before {
            return;
        }
        let queues: Vec<u64> =
            QUEUES.lock().iter().filter(|(_, queue)| queue.set == set).map(|(&queue, _)| queue).collect();
        for &queue in &queues {
            super::freeze::start(queue);
            super::freeze::wait(queue, caller);
            if let Some(path) = path(queue) {
                show::remove(&path);
            }
            exit_contexts(queue, caller);
        }
        tags::free_all(set, caller);
        tag_set::nr_hw_queues.set(set, wanted as u32);
        let mut result = tags::make_all(set, caller);
        if result.is_err() {
            tag_set::nr_hw_queues.set(set, before);
            result = tags::make_all(set, caller);
        }
        for &queue in &queues {
            let made = result.and_then(|()| make_contexts(queue, caller));
            if made.and_then(|()| path(queue).map_or(Ok(()), |path| show::add_contexts(&path, queue))).is_err() {
                kernel().warn("blk_mq_update_nr_hw_queues: no memory for the hardware queues", caller);
            }
            super::freeze::end(queue);
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c blk_mq_init_queue, c blk_mq_alloc_queue, c blk_mq_destroy_queue, c blk_get_queue, c blk_put_queue,
    c blk_mq_update_nr_hw_queues,
];
