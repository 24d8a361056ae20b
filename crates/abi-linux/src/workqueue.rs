//! Work queues and delayed work.

use bstr::ByteSlice;
use ferrmod_kernel::work::QueueId;
use ferrmod_kernel::{Kernel, kernel};

use crate::boot::facts;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{bitmaps, printf, ram, slab, tasks, time};

layout! {
    mod work_struct = "work_struct" { data, func }
    mod execute_work = "execute_work" { work }
    mod delayed_work = "delayed_work" { work, timer, wq, cpu }
}

/// `WORK_STRUCT_PENDING`
const PENDING: u64 = 1;
/// `WQ_UNBOUND`, `__WQ_ORDERED` of 6.1.
const ORDERED: u32 = 1 << 17;

macro_rules! system_queues {
    ($($ident:ident $name:literal),* $(,)?) => {
        $(static $ident: Datum = Datum::new($name, 8, Begin::With(begin_system_queue));)*
        /// The variables of this file: pointers to the queues everybody may use.
        pub(crate) static VARIABLES: &[&Datum] = &[$(&$ident),*];
    };
}

system_queues! {
    SYSTEM "system_wq", HIGHPRI "system_highpri_wq", LONG "system_long_wq", UNBOUND "system_unbound_wq",
    FREEZABLE "system_freezable_wq", POWER "system_power_efficient_wq", FREEZABLE_POWER "system_freezable_power_efficient_wq",
    PERCPU "system_percpu_wq", BH "system_bh_wq", BH_HIGHPRI "system_bh_highpri_wq",
}

fn begin_system_queue(at: u64) {
    // A queue is known by an address; that of the variable itself is as good as any.
    kernel().work.add_queue(QueueId(at), "events", 0);
    // SAFETY: `data::place` gives 8 writable bytes.
    unsafe { ram::put(at, at) };
}

fn set_pending(work: u64, pending: bool) {
    // SAFETY: the module's work item.
    unsafe {
        let data: u64 = work_struct::data.get(work);
        work_struct::data.set(work, if pending { data | PENDING } else { data & !PENDING });
    }
}

fn is_pending(work: u64) -> bool {
    // SAFETY: the module's work item.
    unsafe { work_struct::data.get::<u64>(work) & PENDING != 0 }
}

/// How often a work item was disabled, and the place of that number among the bits of `data`, where kernels have it (since 6.10).
/// `INIT_WORK` makes it 0.
fn disabled(work: u64) -> Option<(u64, i64)> {
    /// `WORK_OFFQ_DISABLE_BITS`
    const BITS: u64 = 16;
    static SHIFT: spin::Once<Option<i64>> = spin::Once::new();
    let shift = (*SHIFT.call_once(|| facts().btf().enum_value("WORK_OFFQ_DISABLE_SHIFT")))?;
    // SAFETY: the module's work item.
    let data: u64 = unsafe { work_struct::data.get(work) };
    Some((data >> shift & ((1 << BITS) - 1), shift))
}
/// Whether a work item can be put on a queue: it waits on none, and nobody has disabled it.
fn is_free(work: u64) -> bool {
    !is_pending(work) && disabled(work).is_none_or(|(times, _)| times == 0)
}
/// Disables a work item once more, or once less; how often it is now. What was disabled 65,535 times stays so.
fn disable(work: u64, more: bool) -> u64 {
    let Some((times, shift)) = disabled(work) else { return 0 };
    let now = if more { (times + 1).min(u64::from(u16::MAX)) } else { times.saturating_sub(1) };
    // SAFETY: as above.
    unsafe { work_struct::data.set(work, work_struct::data.get::<u64>(work) ^ (times ^ now) << shift) };
    now
}

fn run(work: u64) {
    set_pending(work, false);
    // SAFETY: the item was queued with its function set; it may free itself in there.
    unsafe { ram::call(work_struct::func.get(work), [work]) };
}

/// The same for the queues whose work is done in soft interrupts, as that of tasklets is.
fn run_in_softirq(work: u64) {
    tasks::in_softirq(|| run(work));
}

/// `cpu` is one that exists, or any other number for no matter which.
fn queue(cpu: i32, queue: u64, work: u64) -> bool {
    set_pending(work, true);
    let is_softirq = [&BH, &BH_HIGHPRI].iter().any(|one| one.address() == queue);
    let run = if is_softirq { run_in_softirq } else { run };
    let cpu = u32::try_from(cpu).ok().filter(|&cpu| cpu < bitmaps::cpus());
    kernel().work.enqueue_on(cpu, QueueId(queue), work, run).unwrap_or_else(|errno| {
        set_pending(work, false);
        kernel().warn(&alloc::format!("work item not queued: {errno:?}"), 0);
        false
    })
}

/// Has a function of the kernel's own called with `key` by a worker, once until it begins.
pub(crate) fn queue_own(key: u64, run: fn(u64)) {
    // Without memory it is not called, as a module's work would not be.
    let _ = kernel().work.enqueue_on(None, QueueId(SYSTEM.address()), key, run);
}

/// Puts a work item on the queue everybody may use; whether it was not there.
pub(crate) fn schedule(work: u64) -> bool {
    queue_work_on(-1, SYSTEM.address(), work)
}
/// As [`schedule`], in so many jiffies, whatever it waited for before; whether it was waiting.
pub(crate) fn schedule_in(cpu: i32, delayed: u64, jiffies: u64) -> bool {
    mod_delayed_work_on(cpu, SYSTEM.address(), delayed, jiffies)
}

/// `bool queue_work_on(int cpu, struct workqueue_struct *, struct work_struct *)`
extern "C" fn queue_work_on(cpu: i32, wq: u64, work: u64) -> bool {
    is_free(work) && queue(cpu, wq, work)
}

/// `bool queue_work_node(int node, struct workqueue_struct *, struct work_struct *)`: every CPU is of the one node.
extern "C" fn queue_work_node(_node: i32, wq: u64, work: u64) -> bool {
    queue_work_on(-1, wq, work)
}

/// `void delayed_work_timer_fn(struct timer_list *)`
extern "C" fn delayed_work_timer_fn(timer: u64) {
    let delayed = delayed_work::timer.container(timer);
    // SAFETY: the timer of a delayed work item.
    let (wq, cpu) = unsafe { (delayed_work::wq.get(delayed), delayed_work::cpu.get(delayed)) };
    queue(cpu, wq, delayed_work::work.at(delayed));
}

fn delay(cpu: i32, wq: u64, delayed: u64, jiffies: u64) {
    let work = delayed_work::work.at(delayed);
    if jiffies == 0 {
        queue(cpu, wq, work);
        return;
    }
    set_pending(work, true);
    // SAFETY: the module's item.
    unsafe {
        delayed_work::wq.set(delayed, wq);
        delayed_work::cpu.set(delayed, cpu);
    }
    time::start_timer(delayed_work::timer.at(delayed), jiffies);
}

/// `bool queue_delayed_work_on(int cpu, struct workqueue_struct *, struct delayed_work *, unsigned long delay)`
extern "C" fn queue_delayed_work_on(cpu: i32, wq: u64, delayed: u64, jiffies: u64) -> bool {
    if !is_free(delayed_work::work.at(delayed)) {
        return false;
    }
    delay(cpu, wq, delayed, jiffies);
    true
}
extern "C" fn mod_delayed_work_on(cpu: i32, wq: u64, delayed: u64, jiffies: u64) -> bool {
    let pending = take_back(delayed);
    if is_free(delayed_work::work.at(delayed)) {
        delay(cpu, wq, delayed, jiffies);
    }
    pending
}

fn take_back(delayed: u64) -> bool {
    let work = delayed_work::work.at(delayed);
    let pending = time::cancel_timer(delayed_work::timer.at(delayed), true) | kernel().work.cancel(work);
    set_pending(work, false);
    pending
}

extern "C" fn cancel_work(work: u64) -> bool {
    let pending = kernel().work.cancel(work);
    set_pending(work, false);
    pending
}
extern "C" fn cancel_work_sync(work: u64) -> bool {
    let caller = ram::caller();
    let pending = cancel_work(work);
    wait_for(work, caller);
    pending
}
extern "C" fn cancel_delayed_work(delayed: u64) -> bool {
    take_back(delayed)
}
extern "C" fn cancel_delayed_work_sync(delayed: u64) -> bool {
    let caller = ram::caller();
    let pending = take_back(delayed);
    wait_for(delayed_work::work.at(delayed), caller);
    pending
}
/// `bool disable_work(struct work_struct *)`: as [`cancel_work`], and it is on no queue until it is enabled as often.
extern "C" fn disable_work(work: u64) -> bool {
    disable(work, true);
    cancel_work(work)
}
extern "C" fn disable_work_sync(work: u64) -> bool {
    let caller = ram::caller();
    let pending = disable_work(work);
    wait_for(work, caller);
    pending
}
extern "C" fn disable_delayed_work(delayed: u64) -> bool {
    disable(delayed_work::work.at(delayed), true);
    take_back(delayed)
}
extern "C" fn disable_delayed_work_sync(delayed: u64) -> bool {
    let caller = ram::caller();
    let pending = disable_delayed_work(delayed);
    wait_for(delayed_work::work.at(delayed), caller);
    pending
}
/// `bool enable_work(struct work_struct *)`: whether nobody has it disabled any more.
extern "C" fn enable_work(work: u64) -> bool {
    disable(work, false) == 0
}
extern "C" fn enable_delayed_work(delayed: u64) -> bool {
    enable_work(delayed_work::work.at(delayed))
}
/// Blocks until a work item neither waits nor runs; whether it had to. One that is idle costs nothing, wherever it is asked for.
fn wait_for(work: u64, caller: u64) -> bool {
    let queues = &kernel().work;
    if queues.must_wait(work) {
        tasks::might_block(caller);
    }
    queues.flush(work)
}
extern "C" fn flush_work(work: u64) -> bool {
    wait_for(work, ram::caller())
}
extern "C" fn flush_delayed_work(delayed: u64) -> bool {
    let work = delayed_work::work.at(delayed);
    if time::cancel_timer(delayed_work::timer.at(delayed), true) {
        // SAFETY: the module's item, which was waiting for its time.
        let (wq, cpu) = unsafe { (delayed_work::wq.get(delayed), delayed_work::cpu.get(delayed)) };
        queue(cpu, wq, work);
    }
    flush_work(work)
}
/// Blocks until a queue is empty, if it is not.
fn wait_for_queue(wq: u64, caller: u64) {
    let queues = &kernel().work;
    if queues.queue_is_busy(QueueId(wq)) {
        tasks::might_block(caller);
        queues.flush_queue(QueueId(wq));
    }
}
extern "C" fn __flush_workqueue(wq: u64) {
    wait_for_queue(wq, ram::caller());
}

/// The size of what stands for a `struct workqueue_struct`, which no module looks into.
const QUEUE_SIZE: u64 = 64;

/// `struct workqueue_struct *alloc_workqueue(const char *fmt, unsigned int flags, int max_active, ...)`
extern "C" fn alloc_workqueue(format: u64, flags: u32, most: i32, list: u64) -> u64 {
    let caller = ram::caller();
    let name = printf::text_of(format, list);
    let wq = slab::allocate(QUEUE_SIZE, 8, slab::ZERO, caller);
    if wq == 0 {
        return 0;
    }
    let kernel: &Kernel = kernel();
    let limit = if flags & ORDERED != 0 { 1 } else { most.max(0) as usize };
    kernel.work.add_queue(QueueId(wq), &name.to_str_lossy(), limit);
    // The address is new, so nothing is registered under it.
    let _ = kernel.registrations.add("workqueue", wq, name, kernel.owner_of(caller));
    wq
}
extern "C" fn destroy_workqueue(wq: u64) {
    let caller = ram::caller();
    wait_for_queue(wq, caller);
    kernel().work.remove_queue(QueueId(wq));
    kernel().registrations.remove("workqueue", wq);
    slab::release(wq, caller);
}

/// `bool schedule_work(...)` is inline; this is `int schedule_on_each_cpu(work_func_t)`.
extern "C" fn schedule_on_each_cpu(function: u64) -> i32 {
    tasks::might_block(ram::caller());
    for cpu in 0..bitmaps::cpus() {
        // SAFETY: a work function, and the caller waits for it anyway.
        kernel().tasks.on_cpu(cpu, || unsafe { ram::call(function, [0]) });
    }
    0
}

/// `int execute_in_process_context(work_func_t, struct execute_work *)`: at once (0), or by a worker (1) in an interrupt.
extern "C" fn execute_in_process_context(function: u64, at: u64) -> i32 {
    let work = execute_work::work.at(at);
    if !tasks::in_interrupt() {
        // SAFETY: the caller's function and work.
        unsafe { ram::call(function, [work]) };
        return 0;
    }
    // SAFETY: the caller's work, which may be overwritten.
    unsafe {
        ram::fill(work, 0, work_struct::SIZE.get());
        work_struct::func.set(work, function);
    }
    schedule(work);
    1
}

/// `void __init_work(struct work_struct *, int onstack)`: only for object debugging.
extern "C" fn __init_work() {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c queue_work_on, c queue_work_node, c delayed_work_timer_fn, c queue_delayed_work_on,
    c mod_delayed_work_on, c cancel_work, c cancel_work_sync, c cancel_delayed_work, c cancel_delayed_work_sync, c disable_work,
    c disable_work_sync, c disable_delayed_work, c disable_delayed_work_sync, c enable_work, c enable_delayed_work, c flush_work,
    c flush_delayed_work, c __flush_workqueue, c drain_workqueue = __flush_workqueue, v3 alloc_workqueue,
    c destroy_workqueue, c schedule_on_each_cpu, c execute_in_process_context, k __init_work,
];
