//! Tasks as C sees them: a `task_struct` for each, and `current`.

use core::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, Kernel, Owner, TaskId, Wake, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{atomic, instructions, ram, symbols, time};

layout! {
    mod task_struct = "task_struct" { comm, pid, tgid, usage, state = "__state" }
}

struct Shadows {
    by_id: HashMap<TaskId, u64>,
    by_address: HashMap<u64, TaskId>,
    /// `__preempt_count` of tasks that do not run, whether they had interrupts on, and how deep they are in RCU.
    preempt: HashMap<TaskId, (u32, bool, u32)>,
    running: TaskId,
}

static SHADOWS: Lock<Option<Shadows>> = Lock::new(None);

/// Gives the scheduler its own shadow.
pub(crate) fn begin(_kernel: &Kernel) {
    *SHADOWS.lock() = Some(Shadows {
        by_id: HashMap::new(),
        by_address: HashMap::new(),
        preempt: HashMap::new(),
        running: TaskId(0),
    });
    let offset = symbols::percpu_offset("__preempt_count").and_then(|offset| u32::try_from(offset).ok());
    PREEMPT.store(offset.unwrap_or(0), Ordering::Relaxed);
    // Without memory for it `current` is null on the scheduler, where no module code runs.
    let _ = created(TaskId(0), "swapper/0");
    running(TaskId(0));
}

/// Makes the `task_struct` of a task.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn created(id: TaskId, name: &str) -> Result<(), Errno> {
    let size = task_struct::SIZE.get();
    let kernel = kernel();
    let address = kernel.allocate_for(size, 64, Owner::Kernel, 0, &kernel.inject)?;
    // SAFETY: the heap has just given `size` bytes to us, and every member lies within.
    unsafe {
        ram::fill(address, 0, size);
        task_struct::pid.set(address, id.0);
        task_struct::tgid.set(address, id.0);
        task_struct::usage.set(address, 1u32);
        let comm = task_struct::comm.at(address);
        let length = name.len().min(15);
        ram::bytes_mut(comm, length as u64).copy_from_slice(&name.as_bytes()[..length]);
    }
    crate::identity::dress(address);
    if let Some(shadows) = SHADOWS.lock().as_mut() {
        shadows.by_id.insert(id, address);
        shadows.by_address.insert(address, id);
    }
    Ok(())
}

/// Makes `current` the task's.
pub(crate) fn running(id: TaskId) {
    let address = shadow(id).unwrap_or(0);
    if let Some(shadows) = SHADOWS.lock().as_mut() {
        let left = (preempt_count() | NO_RESCHEDULE, instructions::interrupts_enabled(), atomic::readers());
        shadows.preempt.insert(shadows.running, left);
        let (count, interrupts, readers) = shadows.preempt.remove(&id).unwrap_or((NO_RESCHEDULE, true, 0));
        set_preempt(count);
        instructions::set_interrupts(interrupts);
        atomic::set_readers(readers);
        shadows.running = id;
        // What the last task on this CPU had begun is not this one's. The scheduler comes between two turns of one task.
        if id != TaskId(0) && count == NO_RESCHEDULE {
            atomic::forget(atomic::Kind::Preemption);
        }
    }
    let kernel = kernel();
    if let Some(context) = kernel.tasks.context(id) {
        atomic::on_stack(&kernel.platform.stack_of(context));
    }
    if let Some(current) = symbols::percpu("current_task") {
        // SAFETY: the per-CPU variable lies in the mapped area.
        unsafe { ram::put(current, address) };
    }
}

/// Frees the `task_struct`.
pub(crate) fn gone(id: TaskId) {
    let address = SHADOWS.lock().as_mut().and_then(|shadows| {
        let address = shadows.by_id.remove(&id)?;
        shadows.by_address.remove(&address);
        shadows.preempt.remove(&id);
        Some(address)
    });
    if let Some(address) = address {
        drop_reference(address);
    }
}

/// Gives back one of the references that keep a `task_struct`.
pub(crate) fn drop_reference(address: u64) {
    // SAFETY: a `task_struct` of ours that is still referenced.
    unsafe {
        let usage = task_struct::usage.get::<u32>(address).saturating_sub(1);
        task_struct::usage.set(address, usage);
        if usage == 0 {
            // It came from the heap.
            let _ = kernel().free(address, 0);
        }
    }
}

/// Bit 31 of `__preempt_count`, set: no rescheduling is due. Nothing else is set while nothing forbids to sleep.
pub(crate) const NO_RESCHEDULE: u32 = 0x8000_0000;
/// The fields of `__preempt_count`: how often preemption was switched off, soft interrupts, hard ones.
pub(crate) const PREEMPT_MASK: u32 = 0xff;
pub(crate) const SOFTIRQ_MASK: u32 = 0xff00;
pub(crate) const HARDIRQ_MASK: u32 = 0xf_0000;
/// What is added while a soft interrupt is served, for each time they are switched off, and for each hard interrupt.
pub(crate) const SOFTIRQ_OFFSET: i32 = 0x100;
pub(crate) const SOFTIRQ_DISABLE_OFFSET: i32 = 2 * SOFTIRQ_OFFSET;
pub(crate) const HARDIRQ_OFFSET: i32 = 0x1_0000;

/// Where `__preempt_count` lies in the per-CPU area; 0 while that is not known.
static PREEMPT: AtomicU32 = AtomicU32::new(0);

/// The per-CPU offset of `__preempt_count`.
pub(crate) fn preempt_counter() -> Option<u64> {
    Some(PREEMPT.load(Ordering::Relaxed)).filter(|&offset| offset != 0).map(u64::from)
}

/// Adds to `__preempt_count`.
pub(crate) fn add_preempt(count: i32) {
    let before = preempt_count();
    let after = before.wrapping_add_signed(count);
    let of_interrupt = count & SOFTIRQ_OFFSET != 0 || count >= HARDIRQ_OFFSET;
    if before == 0 && count > 0 && !of_interrupt {
        atomic::begins(atomic::Kind::Preemption);
    } else if before == 0 || after == 0 {
        atomic::forget(atomic::Kind::Preemption);
    }
    set_preempt(after);
}

/// `__preempt_count` without the rescheduling bit.
#[inline]
pub(crate) fn preempt_count() -> u32 {
    match PREEMPT.load(Ordering::Relaxed) {
        0 => 0,
        // SAFETY: the per-CPU variable lies in the mapped area.
        offset => unsafe { ram::percpu_word(offset) & !NO_RESCHEDULE },
    }
}

/// Whether a soft interrupt is served.
pub(crate) fn in_serving_softirq() -> bool {
    preempt_count() & SOFTIRQ_OFFSET as u32 != 0
}

/// `in_interrupt()`: an interrupt is served, or soft ones are switched off.
pub(crate) fn in_interrupt() -> bool {
    preempt_count() & (SOFTIRQ_MASK | HARDIRQ_MASK) != 0
}

/// Sets `__preempt_count`; no rescheduling is due.
pub(crate) fn set_preempt(count: u32) {
    let offset = PREEMPT.load(Ordering::Relaxed);
    if offset != 0 {
        // SAFETY: the per-CPU variable lies in the mapped area.
        unsafe { ram::set_percpu_word(offset, count | NO_RESCHEDULE) };
    }
}

/// Called before a task blocks: one that must not is reported, as `schedule()` does on Linux.
pub(crate) fn might_block(caller: u64) {
    if atomic::is_atomic() {
        atomic::scheduling(caller);
        if preempt_count() != 0 {
            set_preempt(0);
            atomic::forget(atomic::Kind::Preemption);
        }
    }
}

/// Complains about an init function that did not put back what it found, and puts it back: `before` was the preemption count.
pub(crate) fn check_balance(init: u64, before: u32) {
    let mut text = alloc::string::String::new();
    if preempt_count() != before {
        text.push_str("preemption imbalance ");
        set_preempt(before);
        atomic::forget(atomic::Kind::Preemption);
    }
    if !instructions::interrupts_enabled() {
        text.push_str("disabled interrupts ");
        instructions::set_interrupts(true);
    }
    if !text.is_empty() {
        let name = kernel().symbolise(init);
        kernel().warn(&alloc::format!("initcall {name} returned with {text}"), 0);
    }
}

/// Runs `body` as a soft interrupt (`in_softirq()` is true).
pub(crate) fn in_softirq(body: impl FnOnce()) {
    add_preempt(SOFTIRQ_OFFSET);
    body();
    add_preempt(-SOFTIRQ_OFFSET);
}

/// The running task's `task_struct`.
pub(crate) fn current() -> u64 {
    shadow(kernel().tasks.current()).unwrap_or(0)
}

/// `TASK_RUNNING`
const RUNNING: u32 = 0;

/// Makes the task at `task` ready; whether it was not.
pub(crate) fn wake(task: u64) -> bool {
    let Some(id) = at(task) else { return false };
    // SAFETY: a `task_struct` of ours.
    let asleep = unsafe {
        let asleep = task_struct::state.get::<u32>(task) != RUNNING;
        task_struct::state.set(task, RUNNING);
        asleep
    };
    kernel().tasks.wake(id) || asleep
}

/// Gives up the processor: until somebody wakes the task when its `__state` says that it sleeps, else for a moment.
pub(crate) fn schedule_until(until: Option<u64>, caller: u64) -> Wake {
    let task = current();
    might_block(caller);
    // SAFETY: our own `task_struct`.
    let state: u32 = unsafe { task_struct::state.get(task) };
    if state == RUNNING {
        kernel().tasks.yield_now();
        return Wake::Woken;
    }
    let wake = kernel().tasks.block(until, None);
    // SAFETY: as above.
    unsafe { task_struct::state.set(task, RUNNING) };
    wake
}

/// Sets the running task's `__state`.
pub(crate) fn set_state(state: u32) {
    // SAFETY: our own `task_struct`.
    unsafe { task_struct::state.set(current(), state) };
}

extern "C" fn schedule() {
    schedule_until(None, ram::caller());
}

extern "C" fn schedule_timeout(jiffies: i64) -> i64 {
    let caller = ram::caller();
    let until = time::after_jiffies(jiffies);
    schedule_until(until, caller);
    time::jiffies_left(until) as i64
}

extern "C" fn schedule_timeout_interruptible(jiffies: i64) -> i64 {
    set_state(1);
    schedule_timeout(jiffies)
}

extern "C" fn schedule_timeout_uninterruptible(jiffies: i64) -> i64 {
    set_state(2);
    schedule_timeout(jiffies)
}

extern "C" fn wake_up_process(task: u64) -> i32 {
    wake(task).into()
}

extern "C" fn __cond_resched() -> i32 {
    if preempt_count() == 0 {
        kernel().tasks.yield_now();
    }
    0
}

extern "C" fn yield_() {
    kernel().tasks.yield_now();
}

extern "C" fn __put_task_struct(task: u64) {
    // Its last reference was given back inline.
    let _ = kernel().free(task, 0);
}

/// `void put_pid(struct pid *)` and `pid_t pid_vnr(struct pid *)`: tasks have numbers and no `struct pid`, so modules pass null.
extern "C" fn no_pid() -> i32 {
    0
}

/// `pid_t __task_pid_nr_ns(struct task_struct *, enum pid_type, struct pid_namespace *)`: a task is alone in its groups.
extern "C" fn __task_pid_nr_ns(task: u64) -> u32 {
    // SAFETY: the caller's task, or null for the one that runs.
    unsafe { task_struct::pid.get(if task == 0 { current() } else { task }) }
}

/// There are no priorities: a task runs when it is its turn.
extern "C" fn set_priority() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c schedule, c schedule_timeout, c schedule_timeout_interruptible, c schedule_timeout_uninterruptible,
    c schedule_timeout_killable = schedule_timeout_uninterruptible, c wake_up_process,
    c __cond_resched, c __SCT__cond_resched = __cond_resched, c __SCT__might_resched = __cond_resched,
    c dynamic_cond_resched = __cond_resched, c dynamic_might_resched = __cond_resched,
    c yield = yield_, c __put_task_struct, c __task_pid_nr_ns, k put_pid = no_pid, k pid_vnr = no_pid,
    k sched_set_fifo = set_priority, k sched_set_fifo_low = set_priority, k sched_set_normal = set_priority,
    k set_user_nice = set_priority,
];

/// The `task_struct` of a task.
pub(crate) fn shadow(id: TaskId) -> Option<u64> {
    SHADOWS.lock().as_ref()?.by_id.get(&id).copied()
}

/// The task whose `task_struct` is at `address`.
pub(crate) fn at(address: u64) -> Option<TaskId> {
    SHADOWS.lock().as_ref()?.by_address.get(&address).copied()
}
