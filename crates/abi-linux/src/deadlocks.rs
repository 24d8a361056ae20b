//! Deadlocks: tasks that wait in a circle for locks that know who holds them. Such a circle is found when the last of its tasks is
//! about to wait, and both that task and the others are shown.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{TaskId, kernel};

use crate::tasks;

/// A task that waits for a lock.
#[derive(Clone, Copy)]
struct Waiting {
    task: TaskId,
    lock: u64,
    holder: Holder,
}

/// Who holds the lock at an address, if that is known.
pub(crate) type Holder = fn(lock: u64) -> Option<TaskId>;

static WAITING: Lock<Vec<Waiting>> = Lock::new(Vec::new());

/// The tasks between `task` and itself: the holder of the lock, whoever holds what that one waits for, and so on.
fn circle(task: TaskId, lock: u64, holder: Holder) -> Option<Vec<TaskId>> {
    let waiting: Vec<Waiting> = WAITING.lock().clone();
    let mut between = Vec::new();
    let mut next = holder(lock)?;
    while next != task {
        if between.contains(&next) {
            // A circle of others, which has been told.
            return None;
        }
        between.push(next);
        let wanted = waiting.iter().find(|waiting| waiting.task == next)?;
        next = (wanted.holder)(wanted.lock)?;
    }
    Some(between)
}

/// Blocks the running task until the lock at `lock` is given back by somebody. When that cannot happen, because its holder was killed
/// or waits in the end for this task, that is said, and the task ends: on Linux it would hang.
pub(crate) fn wait(lock: u64, holder: Holder, what: &str, caller: u64) {
    let tasks = &kernel().tasks;
    if let Some(holder) = holder(lock) {
        crate::locks::check_holder(holder, what, caller);
    }
    let task = tasks.current();
    if let Some(others) = circle(task, lock, holder) {
        for other in others {
            kernel()
                .report_hung(other, "waits for a lock whose holder waits, in the end, for one that it holds itself");
        }
        kernel().bug(&alloc::format!("BUG: deadlock: the holder of the {what} waits for this task"), caller);
    }
    tasks::might_block(caller);
    WAITING.lock().push(Waiting { task, lock, holder });
    tasks.block(None, Some(lock));
    // One that was killed while it waited does not come here.
    WAITING.lock().retain(|waiting| waiting.task != task && tasks.is_alive(waiting.task));
}
