//! Tasklets: functions that run as soft interrupts, once for however many requests.

use ferrmod_kernel::kernel;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, tasks};

layout! {
    mod tasklet = "tasklet_struct" { state, count, use_callback, func, data }
}

/// `TASKLET_STATE_SCHED`, `TASKLET_STATE_RUN`
const SCHEDULED: u64 = 1;
const RUNNING: u64 = 2;
/// How long to wait before looking again whether a disabled tasklet was enabled: a tick.
const AGAIN_NS: u64 = 4_000_000;

fn state(at: u64) -> u64 {
    // SAFETY: the module's tasklet, which it keeps while it is scheduled.
    unsafe { tasklet::state.get(at) }
}
fn set_state(at: u64, clear: u64, set: u64) {
    // SAFETY: as above.
    unsafe { tasklet::state.set(at, state(at) & !clear | set) };
}

fn fire(at: u64) {
    // SAFETY: as above.
    let disabled = unsafe { tasklet::count.get::<i32>(at) } != 0;
    if disabled {
        kernel().timers.set(at, kernel().platform.now() + AGAIN_NS, fire);
        return;
    }
    set_state(at, SCHEDULED, RUNNING);
    tasks::in_softirq(|| {
        // SAFETY: the function that the tasklet was set up with, and what it takes.
        unsafe {
            let by_callback = tasklet::use_callback.get::<u8>(at) != 0;
            ram::call(tasklet::func.get(at), [if by_callback { at } else { tasklet::data.get(at) }]);
        }
    });
    set_state(at, RUNNING, 0);
}

/// `void __tasklet_schedule(struct tasklet_struct *)`: the inline caller has set `TASKLET_STATE_SCHED`.
extern "C" fn __tasklet_schedule(at: u64) {
    kernel().timers.set(at, kernel().platform.now(), fire);
}

fn begin(at: u64, function: u64, data: u64, by_callback: bool) {
    // SAFETY: the caller's tasklet, which may be overwritten.
    unsafe {
        ram::fill(at, 0, tasklet::SIZE.get());
        tasklet::func.set(at, function);
        tasklet::data.set(at, data);
        tasklet::use_callback.set(at, u8::from(by_callback));
    }
}
/// `void tasklet_setup(struct tasklet_struct *, void (*)(struct tasklet_struct *))`
extern "C" fn tasklet_setup(at: u64, function: u64) {
    begin(at, function, 0, true);
}
/// `void tasklet_init(struct tasklet_struct *, void (*)(unsigned long), unsigned long)`
extern "C" fn tasklet_init(at: u64, function: u64, data: u64) {
    begin(at, function, data, false);
}

/// Waits until the tasklet's function has returned.
extern "C" fn tasklet_unlock_wait(at: u64) {
    while state(at) & RUNNING != 0 && kernel().timers.firing() == Some(at) {
        kernel().tasks.yield_now();
    }
}
/// Waits until what was scheduled has run. One that is disabled would never run, so it is taken back.
extern "C" fn tasklet_kill(at: u64) {
    let caller = ram::caller();
    while kernel().timers.is_pending(at) {
        // SAFETY: the module's tasklet.
        if unsafe { tasklet::count.get::<i32>(at) } != 0 {
            kernel().timers.cancel(at);
            break;
        }
        tasks::might_block(caller);
        kernel().tasks.block(Some(kernel().platform.now()), None);
    }
    tasklet_unlock_wait(at);
    set_state(at, SCHEDULED, 0);
}
extern "C" fn tasklet_unlock(at: u64) {
    set_state(at, RUNNING, 0);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __tasklet_schedule, c __tasklet_hi_schedule = __tasklet_schedule, c tasklet_setup, c tasklet_init, c tasklet_kill,
    c tasklet_unlock_wait, c tasklet_unlock_spin_wait = tasklet_unlock_wait, c tasklet_unlock,
];
