//! `poll(2)`: asking a file whether it is ready, and waiting on the queues that it names until it is.

use alloc::vec::Vec;

use ferrmod_kernel::kernel;
use ferrmod_kernel::lock::Lock;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::waiting::{self, wait_queue_entry};
use crate::{ram, slab, symbols, tasks};

layout! {
    mod poll_table_struct = "poll_table_struct" { qproc = "_qproc", key = "_key" }
}

/// `EPOLLERR`, `EPOLLHUP`: told to everybody.
const ALWAYS: u32 = 0x18;
/// `TASK_RUNNING`, `TASK_INTERRUPTIBLE`
const RUNNING: u32 = 0;
const SLEEPS: u32 = 1;

/// Who waits where: the table of a call, and an entry of a queue.
static WAITING: Lock<Vec<(u64, u64)>> = Lock::new(Vec::new());

/// `void qproc(struct file *, wait_queue_head_t *, struct poll_table_struct *)`: a file's function names a queue.
extern "C" fn poll_wait_on(_file: u64, queue: u64, table: u64) {
    let entry = slab::allocate(wait_queue_entry::SIZE.get(), 8, slab::ZERO, 0);
    // Without memory the task is not woken by this queue, as on Linux.
    if entry != 0 {
        // SAFETY: a zeroed block of the struct's size, and the queue of a module.
        unsafe {
            wait_queue_entry::private.set(entry, tasks::current());
            wait_queue_entry::func.set(entry, symbols::address("default_wake_function").unwrap_or(0));
        }
        waiting::add(queue, entry);
        WAITING.lock().push((table, entry));
    }
}

/// The queues of a table are left.
fn leave(table: u64) {
    let mut entries = Vec::new();
    WAITING.lock().retain(|&(other, entry)| {
        if other == table {
            entries.push(entry);
        }
        other != table
    });
    for entry in entries {
        // SAFETY: an entry that `poll_wait_on` has put on a queue.
        unsafe { waiting::unlink(wait_queue_entry::entry.at(entry)) };
        slab::release(entry, 0);
    }
}

/// Calls a file's `poll` until it says one of the events that are wanted, or the time has come, or the caller has enough, who wakes the
/// task then; what it said of them.
pub(super) fn wait(function: u64, file: u64, wanted: u32, until: Option<u64>, enough: &dyn Fn() -> bool) -> u32 {
    let table = slab::allocate(poll_table_struct::SIZE.get(), 8, slab::ZERO, 0);
    if table == 0 {
        return 0;
    }
    let wanted = wanted | ALWAYS;
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        poll_table_struct::key.set(table, wanted);
        poll_table_struct::qproc.set(table, symbols::address("poll_wait_on").unwrap_or(0));
    }
    let said = loop {
        // Before the file is asked: what wakes the task from now on is not missed.
        tasks::set_state(SLEEPS);
        // SAFETY: a file's `poll` takes the file and a table.
        let said = unsafe { ram::call(function, [file, table]) } as u32 & wanted;
        let is_late = until.is_some_and(|until| kernel().platform.now() >= until);
        if said != 0 || is_late || enough() {
            break said;
        }
        // Each queue is named once.
        // SAFETY: our own table.
        unsafe { poll_table_struct::qproc.set(table, 0u64) };
        tasks::schedule_until(until, 0);
    };
    tasks::set_state(RUNNING);
    leave(table);
    slab::release(table, 0);
    said
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c poll_wait_on];
