//! Tasks of Rust modules.

use alloc::string::String;

use bstr::ByteSlice;
use ferrmod_kernel::{Errno, Owner, TaskId, kernel};

use crate::ram;

/// The kind under which a module's running tasks are registered.
const KIND: &str = "task";
/// How often to look whether the task waited for is still alive, in nanoseconds: an oops wakes nobody.
const LOOK_AGAIN: u64 = 50_000_000;

/// What a task that waits for another waits on. No address has its top bit set and the next one clear.
fn channel(id: u32) -> u64 {
    1 << 63 | u64::from(id)
}

pub(crate) extern "C" fn ferrmod_sleep(nanoseconds: u64) {
    let kernel = kernel();
    kernel.tasks.block(Some(kernel.platform.now().saturating_add(nanoseconds)), None);
}

pub(crate) extern "C" fn ferrmod_yield() {
    kernel().tasks.yield_now();
}

pub(crate) extern "C" fn ferrmod_task_spawn(
    name: *const u8,
    length: usize,
    entry: unsafe extern "C" fn(usize),
    data: usize,
) -> i64 {
    let owner = kernel().owner_of(ram::caller());
    // SAFETY: the module hands over a text of this length, or faults.
    let name = unsafe { ram::bytes(name, length) }.to_str_lossy().into_owned();
    match spawn(name, owner, entry, data) {
        Ok(id) => i64::from(id.0),
        Err(errno) => errno.to_return().into(),
    }
}

fn spawn(name: String, owner: Owner, entry: unsafe extern "C" fn(usize), data: usize) -> Result<TaskId, Errno> {
    let kernel = kernel();
    let id = kernel.tasks.spawn(&name, true, move || {
        // SAFETY: the module asked for this call; it waits for its tasks before it goes.
        unsafe { entry(data) };
        over(kernel.tasks.current());
    })?;
    // Task numbers are never used twice, so it is not there.
    let _ = kernel.registrations.add(KIND, id.0.into(), name, owner);
    Ok(id)
}

fn over(id: TaskId) {
    kernel().registrations.remove(KIND, id.0.into());
    kernel().tasks.wake_channel(channel(id.0), usize::MAX);
}

pub(crate) extern "C" fn ferrmod_task_join(task: i64) -> i32 {
    let kernel = kernel();
    let Ok(id) = u32::try_from(task).map(TaskId) else { return Errno::ESRCH.to_return() };
    while kernel.registrations.get(KIND, id.0.into()).is_some() {
        if !kernel.tasks.is_alive(id) {
            kernel.registrations.remove(KIND, id.0.into());
            return Errno::EOWNERDEAD.to_return();
        }
        kernel.tasks.block(Some(kernel.platform.now() + LOOK_AGAIN), Some(channel(id.0)));
    }
    0
}
