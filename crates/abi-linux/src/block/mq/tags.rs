//! Tag sets: the requests of a driver's hardware queues, one for each tag.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::{call, operations, queue_map, request, set_flag, tag_map, tag_set};
use crate::device::layout::mutex;
use crate::export::{Export, exports};
use crate::{bitmaps, locks, ram, slab, tasks};

/// `BLK_MQ_MAX_DEPTH`, `HCTX_MAX_TYPES`
const DEPTH_MAX: u32 = 10240;
const KINDS: u32 = 3;

/// Which tags of a `struct blk_mq_tags` are taken.
#[derive(Debug)]
struct Tags {
    /// The set it belongs to.
    set: u64,
    /// So many of the lowest are reserved.
    reserved: u32,
    taken: Vec<bool>,
    /// The block of memory that the requests are in.
    memory: u64,
    /// Bytes from one request to the next.
    stride: u64,
}

static TAGS: Lock<BTreeMap<u64, Tags>> = Lock::new(BTreeMap::new());

/// Takes a tag: a free one of the reserved ones, or of the others.
pub(super) fn take(tags: u64, reserved: bool) -> Option<u32> {
    let mut all = TAGS.lock();
    let tags = all.get_mut(&tags)?;
    let most = tags.taken.len() as u32;
    let mut range = if reserved { 0..tags.reserved } else { tags.reserved..most };
    let free = range.find(|&tag| !tags.taken[tag as usize])?;
    tags.taken[free as usize] = true;
    Some(free)
}

/// Takes a tag, and waits for one unless `may_wait` is false.
pub(super) fn take_or_wait(tags: u64, reserved: bool, may_wait: bool, caller: u64) -> Option<u32> {
    if reserved && sizes(tags).1 == 0 {
        // Linux says so as well, and then tries for ever.
        kernel().warn("blk-mq: a reserved tag is asked for where there are none", caller);
        return None;
    }
    loop {
        match take(tags, reserved) {
            Some(tag) => return Some(tag),
            None if !may_wait || !TAGS.lock().contains_key(&tags) => return None,
            None => {
                tasks::might_block(caller);
                kernel().tasks.block(None, Some(tags));
            }
        }
    }
}

/// Gives a tag back.
pub(super) fn give(tags: u64, tag: u32) {
    let place =
        TAGS.lock().get_mut(&tags).and_then(|tags| tags.taken.get_mut(tag as usize).map(|taken| *taken = false));
    if place.is_some() {
        kernel().tasks.wake_channel(tags, usize::MAX);
    }
}

/// The request of a tag.
pub(super) fn request_of(tags: u64, tag: u32) -> u64 {
    TAGS.lock().get(&tags).map_or(0, |tags| tags.memory + u64::from(tag) * tags.stride)
}

/// The requests of a `struct blk_mq_tags` whose tags are taken.
pub(super) fn taken(tags: u64) -> Vec<u64> {
    let all = TAGS.lock();
    let Some(tags) = all.get(&tags) else { return Vec::new() };
    let numbers = tags.taken.iter().enumerate().filter(|(_, taken)| **taken);
    numbers.map(|(tag, _)| tags.memory + tag as u64 * tags.stride).collect()
}

/// The different `struct blk_mq_tags` of a set.
pub(super) fn of_set(set: u64) -> Vec<u64> {
    TAGS.lock().iter().filter(|(_, tags)| tags.set == set).map(|(&at, _)| at).collect()
}

/// How many tags there are, and how many of them are reserved.
pub(super) fn sizes(tags: u64) -> (u64, u64) {
    TAGS.lock().get(&tags).map_or((0, 0), |tags| (tags.taken.len() as u64, tags.reserved.into()))
}

/// Checks what a driver wants, fills in what it has left open, and makes requests.
///
/// # Errors
/// `EINVAL` for what no queue can be, `ENOMEM`, or what `init_request` answers.
fn allocate(set: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the driver's set.
    unsafe {
        let (hardware, depth): (u32, u32) = (tag_set::nr_hw_queues.get(set), tag_set::queue_depth.get(set));
        let (reserved, table): (u32, u64) = (tag_set::reserved_tags.get(set), tag_set::ops.get(set));
        let maps: u32 = tag_set::nr_maps.get(set);
        if hardware == 0 || depth == 0 || depth.min(DEPTH_MAX) <= reserved || table == 0 || maps > KINDS {
            return Err(Errno::EINVAL);
        }
        let (get, put): (u64, u64) = (operations::get_budget.get(table), operations::put_budget.get(table));
        if operations::queue_rq.get::<u64>(table) == 0 || (get == 0) != (put == 0) {
            return Err(Errno::EINVAL);
        }
        if depth > DEPTH_MAX {
            kernel().printk(alloc::format!("\x016blk-mq: reduced tag depth to {DEPTH_MAX}\n").as_bytes());
            tag_set::queue_depth.set(set, DEPTH_MAX);
        }
        tag_set::nr_maps.set(set, maps.max(1));
        let cpus = bitmaps::cpus();
        // More queues than processors are of use only when they are of several kinds.
        if maps <= 1 && hardware > cpus {
            tag_set::nr_hw_queues.set(set, cpus);
        }
        locks::init_list(mutex::wait_list.at(tag_set::tag_list_lock.at(set)));
        locks::init_list(tag_set::tag_list.at(set));
        make_all(set, caller)
    }
}

/// Makes the maps from processors to hardware queues, and the requests of each.
///
/// # Errors
/// As [`allocate`]; nothing is left then.
///
/// # Safety
/// `set` is a set whose numbers have been checked.
pub(super) unsafe fn make_all(set: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the set.
    unsafe {
        let hardware = tag_set::nr_hw_queues.get::<u32>(set);
        let array = slab::allocate(8 * u64::from(hardware), 8, slab::ZERO, caller);
        if array == 0 {
            return Err(Errno::ENOMEM);
        }
        tag_set::tags.set(set, array);
        let result = make_maps(set, caller).and_then(|()| {
            let is_shared = tag_set::flags.get::<u32>(set) & set_flag("BLK_MQ_F_TAG_HCTX_SHARED") != 0;
            let mut first = 0;
            for number in 0..hardware {
                let tags = if is_shared && first != 0 { first } else { make_tags(set, number, caller)? };
                first = if first == 0 { tags } else { first };
                ram::put(array + 8 * u64::from(number), tags);
            }
            tag_set::shared_tags.set(set, if is_shared { first } else { 0 });
            Ok(())
        });
        result.inspect_err(|_| free_all(set, caller))
    }
}

/// # Safety
/// As [`make_all`].
unsafe fn make_maps(set: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the set; `mq_map` has a number for each processor.
    unsafe {
        let (count, hardware): (u32, u32) = (tag_set::nr_maps.get(set), tag_set::nr_hw_queues.get(set));
        for map in maps(set).take(count as usize) {
            let memory = slab::allocate(4 * u64::from(bitmaps::cpus()), 4, slab::ZERO, caller);
            if memory == 0 {
                return Err(Errno::ENOMEM);
            }
            queue_map::mq_map.set(map, memory);
            queue_map::nr_queues.set(map, hardware);
        }
        let first = tag_set::map.at(set);
        if call(tag_set::ops.get(set), &operations::map_queues, [set]).is_none() {
            blk_mq_map_queues(first);
        }
        Ok(())
    }
}

fn maps(set: u64) -> impl Iterator<Item = u64> {
    let first = tag_set::map.at(set);
    (0..u64::from(KINDS)).map(move |kind| first + kind * queue_map::SIZE.get())
}

/// The number of the hardware queue that requests of a kind from a processor go to.
///
/// # Safety
/// `set` has its maps.
pub(super) unsafe fn hardware_queue(set: u64, kind: u32, cpu: u32) -> u32 {
    // SAFETY: the caller vouches for the set.
    unsafe {
        let of_kind = maps(set).nth(kind as usize).filter(|&map| {
            kind < tag_set::nr_maps.get::<u32>(set)
                && queue_map::nr_queues.get::<u32>(map) > 0
                && queue_map::mq_map.get::<u64>(map) != 0
        });
        let map = of_kind.unwrap_or_else(|| tag_set::map.at(set));
        ram::get(queue_map::mq_map.get::<u64>(map) + 4 * u64::from(cpu))
    }
}

/// `void blk_mq_map_queues(struct blk_mq_queue_map *)`: processors take turns.
extern "C" fn blk_mq_map_queues(map: u64) {
    // SAFETY: a map with a number for each processor.
    unsafe {
        let (memory, count): (u64, u32) = (queue_map::mq_map.get(map), queue_map::nr_queues.get(map));
        let first: u32 = queue_map::queue_offset.get(map);
        for cpu in 0..bitmaps::cpus() {
            ram::put(memory + 4 * u64::from(cpu), first + cpu % count.max(1));
        }
    }
}

/// Makes the requests of a hardware queue; their `struct blk_mq_tags`.
///
/// # Safety
/// As [`make_all`].
unsafe fn make_tags(set: u64, number: u32, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the set; the rest is made here.
    unsafe {
        let (depth, reserved): (u32, u32) = (tag_set::queue_depth.get(set), tag_set::reserved_tags.get(set));
        let stride = (request::SIZE.get() + u64::from(tag_set::cmd_size.get::<u32>(set))).next_multiple_of(64);
        let at = slab::allocate(tag_map::SIZE.get(), 64, slab::ZERO, caller);
        let arrays = slab::allocate(16 * u64::from(depth), 8, slab::ZERO, caller);
        let memory = slab::allocate(stride * u64::from(depth), 64, slab::ZERO, caller);
        if at == 0 || arrays == 0 || memory == 0 {
            for made in [at, arrays, memory] {
                slab::release(made, caller);
            }
            return Err(Errno::ENOMEM);
        }
        tag_map::nr_tags.set(at, depth);
        tag_map::nr_reserved_tags.set(at, reserved);
        tag_map::rqs.set(at, arrays);
        tag_map::static_rqs.set(at, arrays + 8 * u64::from(depth));
        locks::init_list(tag_map::page_list.at(at));
        let taken = alloc::vec![false; depth as usize];
        TAGS.lock().insert(at, Tags { set, reserved, taken, memory, stride });
        let node = tag_set::numa_node.get::<u32>(set);
        for tag in 0..depth {
            let one = memory + u64::from(tag) * stride;
            ram::put(arrays + 8 * u64::from(depth + tag), one);
            let answer = call(tag_set::ops.get(set), &operations::init_request, [set, one, number.into(), node.into()]);
            if let Some(errno) = answer.and_then(|answer| Errno::from_return((answer as i32).into())) {
                free_tags(set, at, number, tag, caller);
                return Err(errno);
            }
        }
        Ok(at)
    }
}

/// Frees requests, of which the first `ready` were made ready by the driver.
///
/// # Safety
/// `at` are tags of the set.
unsafe fn free_tags(set: u64, at: u64, number: u32, ready: u32, caller: u64) {
    let Some(tags) = TAGS.lock().remove(&at) else { return };
    // SAFETY: the caller vouches for the tags; the driver's function takes back what it made.
    unsafe {
        for tag in 0..ready {
            let one = tags.memory + u64::from(tag) * tags.stride;
            call(tag_set::ops.get(set), &operations::exit_request, [set, one, number.into()]);
        }
        slab::release(tag_map::rqs.get(at), caller);
    }
    slab::release(tags.memory, caller);
    slab::release(at, caller);
    // Whoever waits for one of them finds none.
    kernel().tasks.wake_channel(at, usize::MAX);
}

/// Frees requests and maps of a set.
///
/// # Safety
/// `set` is a set that nobody uses any more.
pub(super) unsafe fn free_all(set: u64, caller: u64) {
    // SAFETY: the caller vouches for the set.
    unsafe {
        let array: u64 = tag_set::tags.get(set);
        if array == 0 {
            return;
        }
        for number in 0..tag_set::nr_hw_queues.get::<u32>(set) {
            let at: u64 = ram::get(array + 8 * u64::from(number));
            let depth = TAGS.lock().get(&at).map_or(0, |tags| tags.taken.len() as u32);
            // Shared ones are freed by the first queue that has them.
            free_tags(set, at, number, depth, caller);
        }
        for map in maps(set) {
            slab::release(queue_map::mq_map.get(map), caller);
            queue_map::mq_map.set(map, 0u64);
        }
        tag_set::tags.set(set, 0u64);
        slab::release(array, caller);
    }
}

/// `int blk_mq_alloc_tag_set(struct blk_mq_tag_set *)`
extern "C" fn blk_mq_alloc_tag_set(set: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(allocate(set, caller))
}

/// `int blk_mq_alloc_sq_tag_set(struct blk_mq_tag_set *, const struct blk_mq_ops *, unsigned int depth, unsigned int flags)`: a
/// set of one hardware queue.
extern "C" fn blk_mq_alloc_sq_tag_set(set: u64, table: u64, depth: u32, flags: u32) -> i32 {
    let caller = ram::caller();
    // SAFETY: the driver's set, which may be overwritten.
    unsafe {
        ram::fill(set, 0, tag_set::SIZE.get());
        tag_set::ops.set(set, table);
        tag_set::nr_hw_queues.set(set, 1u32);
        tag_set::nr_maps.set(set, 1u32);
        tag_set::queue_depth.set(set, depth);
        tag_set::numa_node.set(set, -1i32);
        tag_set::flags.set(set, flags);
    }
    Errno::returned(allocate(set, caller))
}

/// `void blk_mq_free_tag_set(struct blk_mq_tag_set *)`
extern "C" fn blk_mq_free_tag_set(set: u64) {
    let caller = ram::caller();
    // SAFETY: the driver's set.
    unsafe { free_all(set, caller) };
}

/// `void blk_mq_tagset_busy_iter(struct blk_mq_tag_set *, bool (*)(struct request *, void *), void *)`: for every request that its
/// driver has, until the function says no.
extern "C" fn blk_mq_tagset_busy_iter(set: u64, function: u64, data: u64) {
    for at in of_set(set).into_iter().flat_map(taken) {
        // SAFETY: a request whose tag is taken, and the caller's function.
        unsafe {
            if request::state.get::<u32>(at) != super::IDLE && ram::call(function, [at, data]) as u8 == 0 {
                return;
            }
        }
    }
}
/// `void blk_mq_tagset_wait_completed_request(struct blk_mq_tag_set *)`: until what is complete has ended.
extern "C" fn blk_mq_tagset_wait_completed_request(set: u64) {
    /// Nanoseconds between two looks.
    const PAUSE: u64 = 5_000_000;
    let caller = ram::caller();
    // SAFETY: requests of the set.
    let is_complete = |&at: &u64| unsafe { request::state.get::<u32>(at) == super::COMPLETE };
    while of_set(set).into_iter().flat_map(taken).any(|at| is_complete(&at)) {
        tasks::might_block(caller);
        let until = kernel().platform.now().saturating_add(PAUSE);
        kernel().tasks.block(Some(until), None);
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c blk_mq_map_queues, c blk_mq_alloc_tag_set, c blk_mq_alloc_sq_tag_set, c blk_mq_free_tag_set, c blk_mq_tagset_busy_iter,
    c blk_mq_tagset_wait_completed_request,
];
