//! Wait queues: real lists of entries, each with the function that wakes its task.

use ferrmod_kernel::kernel;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, symbols, tasks, time};

layout! {
    mod wait_queue_head = "wait_queue_head" { head }
    pub(crate) mod wait_queue_entry = "wait_queue_entry" { flags, private, func, entry }
    mod list_head = "list_head" { next, prev }
}

/// `WQ_FLAG_EXCLUSIVE`, `WQ_FLAG_WOKEN`
const EXCLUSIVE: u32 = 1;
const WOKEN: u32 = 2;

/// Puts `entry` between two neighbours.
///
/// # Safety
/// All three are `struct list_head`s, the neighbours of one list.
pub(crate) unsafe fn link(entry: u64, previous: u64, next: u64) {
    // SAFETY: the caller vouches for the list.
    unsafe {
        list_head::prev.set(next, entry);
        list_head::next.set(entry, next);
        list_head::prev.set(entry, previous);
        list_head::next.set(previous, entry);
    }
}

/// Puts `entry` first in a list.
///
/// # Safety
/// As [`link`].
pub(crate) unsafe fn link_first(entry: u64, head: u64) {
    // SAFETY: the caller vouches for the list.
    unsafe { link(entry, head, list_head::next.get(head)) };
}

/// Puts `entry` last in a list.
///
/// # Safety
/// As [`link`].
pub(crate) unsafe fn link_last(entry: u64, head: u64) {
    // SAFETY: the caller vouches for the list.
    unsafe { link(entry, list_head::prev.get(head), head) };
}

/// Takes `entry` out of its list and makes it a list of its own.
///
/// # Safety
/// It is in a list.
pub(crate) unsafe fn unlink(entry: u64) {
    // SAFETY: the caller vouches for the list.
    unsafe {
        let (next, previous): (u64, u64) = (list_head::next.get(entry), list_head::prev.get(entry));
        list_head::next.set(previous, next);
        list_head::prev.set(next, previous);
        list_head::next.set(entry, entry);
        list_head::prev.set(entry, entry);
    }
}

/// The entries of a list, read one ahead, so that the one given may be taken out.
///
/// # Safety
/// `head` is the head of a list that stays one while it is walked.
pub(crate) unsafe fn each(head: u64) -> impl Iterator<Item = u64> {
    // SAFETY: the caller vouches for the list.
    let mut next: u64 = unsafe { list_head::next.get(head) };
    core::iter::from_fn(move || {
        if next == head || next == 0 {
            return None;
        }
        let entry = next;
        // SAFETY: as above.
        next = unsafe { list_head::next.get(entry) };
        Some(entry)
    })
}

fn is_linked(entry: u64) -> bool {
    // SAFETY: an initialised entry; an empty list points at itself.
    unsafe { list_head::next.get::<u64>(entry) != entry }
}

/// `void __init_waitqueue_head(wait_queue_head_t *, const char *, struct lock_class_key *)`
extern "C" fn __init_waitqueue_head(queue: u64) {
    // SAFETY: the caller's queue.
    unsafe { begin_queue(queue) };
}

/// Makes a wait queue empty.
///
/// # Safety
/// It is a `struct wait_queue_head` that may be overwritten.
pub(crate) unsafe fn begin_queue(queue: u64) {
    // SAFETY: the caller vouches for the queue.
    unsafe {
        ram::fill(queue, 0, wait_queue_head::SIZE.get());
        crate::locks::init_list(wait_queue_head::head.at(queue));
    }
}

extern "C" fn add_wait_queue(queue: u64, entry: u64) {
    add(queue, entry);
}

/// Puts an entry on a queue whose task is woken with all others.
pub(crate) fn add(queue: u64, entry: u64) {
    // SAFETY: a queue and an entry of the module's.
    unsafe {
        let flags: u32 = wait_queue_entry::flags.get(entry);
        wait_queue_entry::flags.set(entry, flags & !EXCLUSIVE);
        link_first(wait_queue_entry::entry.at(entry), wait_queue_head::head.at(queue));
    }
}
extern "C" fn add_wait_queue_exclusive(queue: u64, entry: u64) {
    // SAFETY: a queue and an entry of the module's.
    unsafe {
        let flags: u32 = wait_queue_entry::flags.get(entry);
        wait_queue_entry::flags.set(entry, flags | EXCLUSIVE);
        link_last(wait_queue_entry::entry.at(entry), wait_queue_head::head.at(queue));
    }
}
extern "C" fn remove_wait_queue(_queue: u64, entry: u64) {
    // SAFETY: an entry that is on the queue.
    unsafe { unlink(wait_queue_entry::entry.at(entry)) };
}

extern "C" fn init_wait_entry(entry: u64, flags: u32) {
    // SAFETY: the caller's entry.
    unsafe {
        wait_queue_entry::flags.set(entry, flags);
        wait_queue_entry::private.set(entry, tasks::current());
        wait_queue_entry::func.set(entry, symbols::address("autoremove_wake_function").unwrap_or(0));
        crate::locks::init_list(wait_queue_entry::entry.at(entry));
    }
}

extern "C" fn prepare_to_wait_event(queue: u64, entry: u64, state: u32) -> i64 {
    let at = wait_queue_entry::entry.at(entry);
    if !is_linked(at) {
        // SAFETY: a queue and an initialised entry.
        unsafe {
            let flags: u32 = wait_queue_entry::flags.get(entry);
            let head = wait_queue_head::head.at(queue);
            if flags & EXCLUSIVE != 0 { link_last(at, head) } else { link_first(at, head) }
        }
    }
    tasks::set_state(state);
    0
}
extern "C" fn prepare_to_wait(queue: u64, entry: u64, state: u32) {
    // SAFETY: the module's entry.
    unsafe {
        let flags: u32 = wait_queue_entry::flags.get(entry);
        wait_queue_entry::flags.set(entry, flags & !EXCLUSIVE);
    }
    prepare_to_wait_event(queue, entry, state);
}
extern "C" fn prepare_to_wait_exclusive(queue: u64, entry: u64, state: u32) -> bool {
    // SAFETY: the module's queue and entry.
    let was_empty = unsafe {
        let flags: u32 = wait_queue_entry::flags.get(entry);
        wait_queue_entry::flags.set(entry, flags | EXCLUSIVE);
        !is_linked(wait_queue_head::head.at(queue))
    };
    prepare_to_wait_event(queue, entry, state);
    was_empty
}
extern "C" fn finish_wait(_queue: u64, entry: u64) {
    tasks::set_state(0);
    let at = wait_queue_entry::entry.at(entry);
    if is_linked(at) {
        // SAFETY: it is in a list.
        unsafe { unlink(at) };
    }
}

/// `int default_wake_function(wait_queue_entry_t *, unsigned mode, int flags, void *key)`
extern "C" fn default_wake_function(entry: u64, _mode: u32, _flags: i32, _key: u64) -> i32 {
    // SAFETY: the module's entry.
    tasks::wake(unsafe { wait_queue_entry::private.get(entry) }).into()
}
extern "C" fn autoremove_wake_function(entry: u64, mode: u32, flags: i32, key: u64) -> i32 {
    let woken = default_wake_function(entry, mode, flags, key);
    if woken != 0 {
        // SAFETY: it is on the queue that is being woken.
        unsafe { unlink(wait_queue_entry::entry.at(entry)) };
    }
    woken
}
extern "C" fn woken_wake_function(entry: u64, mode: u32, flags: i32, key: u64) -> i32 {
    // SAFETY: the module's entry.
    unsafe {
        let set: u32 = wait_queue_entry::flags.get(entry);
        wait_queue_entry::flags.set(entry, set | WOKEN);
    }
    default_wake_function(entry, mode, flags, key)
}
extern "C" fn wait_woken(entry: u64, state: u32, timeout: i64) -> i64 {
    let caller = ram::caller();
    tasks::set_state(state);
    let until = time::after_jiffies(timeout);
    // SAFETY: the module's entry.
    let flags: u32 = unsafe { wait_queue_entry::flags.get(entry) };
    if flags & WOKEN == 0 {
        tasks::schedule_until(until, caller);
    }
    tasks::set_state(0);
    // SAFETY: as above.
    unsafe {
        let flags: u32 = wait_queue_entry::flags.get(entry);
        wait_queue_entry::flags.set(entry, flags & !WOKEN);
    }
    time::jiffies_left(until) as i64
}

/// `int __wake_up(struct wait_queue_head *, unsigned int mode, int nr_exclusive, void *key)`
pub(crate) extern "C" fn __wake_up(queue: u64, mode: u32, exclusive: i32, key: u64) -> i32 {
    let mut left = exclusive;
    let mut count = 0;
    // SAFETY: the module's queue; an entry that takes itself out has been passed by then.
    unsafe {
        for at in each(wait_queue_head::head.at(queue)) {
            let entry = wait_queue_entry::entry.container(at);
            let flags: u32 = wait_queue_entry::flags.get(entry);
            let woken = ram::call(wait_queue_entry::func.get(entry), [entry, u64::from(mode), 0, key]) as i32;
            if woken < 0 {
                break;
            }
            if woken != 0 {
                count += 1;
                if flags & EXCLUSIVE != 0 {
                    left -= 1;
                    if left == 0 {
                        break;
                    }
                }
            }
        }
    }
    count
}
extern "C" fn __wake_up_sync_key(queue: u64, mode: u32, key: u64) {
    __wake_up(queue, mode, 1, key);
}
extern "C" fn __wake_up_locked(queue: u64, mode: u32, exclusive: i32) {
    __wake_up(queue, mode, exclusive, 0);
}
extern "C" fn __wake_up_sync(queue: u64, mode: u32) {
    __wake_up(queue, mode, 1, 0);
}

/// `wait_queue_head_t *bit_waitqueue(void *word, int bit)` and its users wait on the word's own address here.
extern "C" fn wake_up_bit(word: u64, _bit: i32) {
    kernel().tasks.wake_channel(word, usize::MAX);
}
/// `void wake_up_var(void *)`: those who wait for a variable to change.
extern "C" fn wake_up_var(variable: u64) {
    kernel().tasks.wake_channel(variable, usize::MAX);
}
extern "C" fn out_of_line_wait_on_bit(word: u64, bit: i32) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's flag word.
    while unsafe { ram::get::<u64>(word + (bit as u64 / 64) * 8) } >> (bit % 64) & 1 != 0 {
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(word));
    }
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __init_waitqueue_head, c add_wait_queue, c add_wait_queue_exclusive, c remove_wait_queue, c init_wait_entry,
    c prepare_to_wait, c prepare_to_wait_event, c prepare_to_wait_exclusive, c finish_wait, c default_wake_function,
    c autoremove_wake_function, c woken_wake_function, c wait_woken, c __wake_up, c __wake_up_sync_key, c __wake_up_locked,
    c __wake_up_sync, c wake_up_bit, c wake_up_var, c out_of_line_wait_on_bit,
];
