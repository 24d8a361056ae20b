//! Read-copy-update: callbacks when every reader of now is done, and sleepable RCU.
//!
//! Tasks of a CPU switch only where they block, and a reader may not block; so a CPU that is not in the middle of a task has no
//! reader, and a grace period is over when the running task has given up its CPU while no other was in the middle of one.
//! Readers of an SRCU domain may block, so those are counted.

use alloc::collections::VecDeque;
use core::ops::Range;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{TaskId, kernel};
use hashbrown::HashMap;

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{atomic, ram, slab, tasks};

layout! {
    mod rcu_head = "callback_head" { func }
}

/// What is to be done after a grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Call `func(head)`.
    Call { head: u64, function: u64 },
    /// Free an object.
    Free { object: u64 },
    /// Call `func(head)` once no reader of a domain from before is left.
    Srcu { domain: u64, head: u64, function: u64 },
}

static QUEUE: Lock<VecDeque<Due>> = Lock::new(VecDeque::new());

/// The readers of an SRCU domain: those that began before the last flip of `index`, and those after.
#[derive(Clone, Copy, Debug, Default)]
struct Domain {
    index: usize,
    readers: [u64; 2],
}

static DOMAINS: Lock<Option<HashMap<u64, Domain>>> = Lock::new(None);

fn domain<T>(at: u64, look: impl FnOnce(&mut Domain) -> T) -> T {
    look(DOMAINS.lock().get_or_insert_default().entry(at).or_default())
}

/// The key of the timer that runs the callbacks: no timer of a module has the address of the queue.
fn timer_key() -> u64 {
    &raw const QUEUE as u64
}

fn later(due: Due) {
    QUEUE.lock().push_back(due);
    arm(0);
}

/// Lets the callbacks run so many nanoseconds from now, unless that is settled already.
fn arm(delay: u64) {
    let kernel = kernel();
    if !kernel.timers.is_pending(timer_key()) {
        kernel.timers.set(timer_key(), kernel.platform.now() + delay, |_| {
            run();
            // What is left waits for readers on other CPUs, or of an SRCU domain.
            if !QUEUE.lock().is_empty() {
                arm(READERS_NS);
            }
        });
    }
}

/// How long to wait before looking again whether SRCU readers have gone: a tick.
const READERS_NS: u64 = 4_000_000;

/// Does what was due when it began; what callbacks queue meanwhile is for the next grace period.
pub(crate) fn run() {
    if kernel().tasks.others_interrupted() {
        return;
    }
    let waiting = QUEUE.lock().len();
    for _ in 0..waiting {
        let Some(due) = QUEUE.lock().pop_front() else { break };
        tasks::in_softirq(|| match due {
            // SAFETY: the head is the module's until its callback has run, and holds its function.
            Due::Call { head, function } => _ = unsafe { ram::call(function, [head]) },
            Due::Free { object } => slab::release_any(object, 0),
            Due::Srcu { domain: at, head, function } => {
                if domain(at, |domain| domain.readers == [0, 0]) {
                    // SAFETY: as above.
                    unsafe { ram::call(function, [head]) };
                } else {
                    QUEUE.lock().push_back(due);
                }
            }
        });
    }
    if QUEUE.lock().is_empty() {
        kernel().timers.cancel(timer_key());
    }
}

/// Lets the other CPUs come to the end of what they do (`synchronize_rcu()`). A task that waits is in no read section itself.
pub(crate) fn wait_for_readers() {
    kernel().tasks.yield_now();
    while kernel().tasks.others_interrupted() && kernel().tasks.current() != TaskId(0) {
        kernel().tasks.yield_now();
    }
}

/// Waits until every callback queued so far has run.
pub(crate) fn barrier() {
    wait_for_readers();
    run();
    while QUEUE.lock().iter().any(|due| matches!(due, Due::Srcu { .. })) && kernel().tasks.current() != TaskId(0) {
        kernel().tasks.block(Some(kernel().platform.now() + READERS_NS), None);
        run();
    }
}

/// Forgets the callbacks whose functions lie in memory that goes; how many there were.
pub(crate) fn forget(ranges: &[Range<u64>]) -> usize {
    let mut queue = QUEUE.lock();
    let before = queue.len();
    queue.retain(|due| match due {
        Due::Call { function, .. } | Due::Srcu { function, .. } => !ranges.iter().any(|range| range.contains(function)),
        Due::Free { .. } => true,
    });
    before - queue.len()
}

/// Frees an object when every reader of now is done.
pub(crate) fn free_later(object: u64) {
    later(Due::Free { object });
}

extern "C" fn call_rcu(head: u64, function: u64) {
    // SAFETY: the caller's head.
    unsafe { rcu_head::func.set(head, function) };
    later(Due::Call { head, function });
}

/// `void kvfree_call_rcu(struct rcu_head *, rcu_callback_t)`: 6.1 passes the offset of the head in the object as the function,
/// later kernels the object; without a head both pass the object.
extern "C" fn kvfree_call_rcu(head: u64, which: u64) {
    /// `__is_kvfree_rcu_offset`
    const OFFSETS: u64 = 4096;
    let object = if which < OFFSETS { head.wrapping_sub(which) } else { which };
    if head == 0 {
        tasks::might_block(ram::caller());
    }
    later(Due::Free { object });
}

extern "C" fn synchronize_rcu() {
    tasks::might_block(ram::caller());
    wait_for_readers();
}
extern "C" fn rcu_barrier() {
    tasks::might_block(ram::caller());
    barrier();
}

/// A CPU in the middle of a task may be a reader anyway; what is noted is that it must not sleep.
extern "C" fn __rcu_read_lock() {
    atomic::begin_reader();
}
extern "C" fn __rcu_read_unlock() {
    atomic::end_reader();
}
/// Grace periods end where tasks block, whatever is told to RCU.
extern "C" fn reader() {}

/// `unsigned long get_state_synchronize_rcu(void)`: a time to compare with; every grace period asked about is over by the
/// time the caller has waited.
extern "C" fn get_state_synchronize_rcu() -> u64 {
    kernel().platform.now()
}
extern "C" fn poll_state_synchronize_rcu(state: u64) -> bool {
    kernel().platform.now() > state
}

/// `int init_srcu_struct(struct srcu_struct *)`
extern "C" fn init_srcu_struct(at: u64) -> i32 {
    DOMAINS.lock().get_or_insert_default().insert(at, Domain::default());
    0
}
extern "C" fn cleanup_srcu_struct(at: u64) {
    let caller = ram::caller();
    let left = DOMAINS.lock().get_or_insert_default().remove(&at);
    if left.is_some_and(|domain| domain.readers != [0, 0]) {
        kernel().warn("cleanup_srcu_struct: there are readers left", caller);
    }
}
extern "C" fn __srcu_read_lock(at: u64) -> i32 {
    domain(at, |domain| {
        domain.readers[domain.index] += 1;
        domain.index as i32
    })
}
extern "C" fn __srcu_read_unlock(at: u64, index: i32) {
    let caller = ram::caller();
    let index = usize::from(index != 0);
    let left = domain(at, |domain| {
        let had = domain.readers[index];
        domain.readers[index] = had.saturating_sub(1);
        (had > 0).then_some(domain.readers[index])
    });
    match left {
        None => kernel().warn("srcu_read_unlock without a reader", caller),
        Some(0) => _ = kernel().tasks.wake_channel(at, usize::MAX),
        Some(_) => (),
    }
}
extern "C" fn synchronize_srcu(at: u64) {
    tasks::might_block(ram::caller());
    let old = domain(at, |domain| {
        domain.index ^= 1;
        domain.index ^ 1
    });
    while domain(at, |domain| domain.readers[old] > 0) {
        kernel().tasks.block(None, Some(at));
    }
}
/// `void call_srcu(struct srcu_struct *, struct rcu_head *, rcu_callback_t)`
extern "C" fn call_srcu(at: u64, head: u64, function: u64) {
    // SAFETY: the caller's head.
    unsafe { rcu_head::func.set(head, function) };
    later(Due::Srcu { domain: at, head, function });
}
extern "C" fn srcu_barrier(_at: u64) {
    tasks::might_block(ram::caller());
    barrier();
}

/// Forgets the domains that lie in memory that goes.
pub(crate) fn forget_domains(ranges: &[Range<u64>]) {
    if let Some(domains) = DOMAINS.lock().as_mut() {
        domains.retain(|at, _| !ranges.iter().any(|range| range.contains(at)));
    }
}

/// `void __wait_rcu_gp(bool checktiny, int n, call_rcu_func_t *, struct rcu_synchronize *)`: all of them end when the caller
/// gives up the processor.
extern "C" fn __wait_rcu_gp() {
    tasks::might_block(ram::caller());
    kernel().tasks.yield_now();
    barrier();
}

static RCU_SCHEDULER_ACTIVE: Datum = Datum::new("rcu_scheduler_active", 4, Begin::Zero);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&RCU_SCHEDULER_ACTIVE];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c call_rcu, c call_rcu_hurry = call_rcu, c call_rcu_tasks = call_rcu, c call_rcu_tasks_trace = call_rcu, c kvfree_call_rcu,
    c synchronize_rcu, c synchronize_rcu_expedited = synchronize_rcu, c synchronize_rcu_tasks = synchronize_rcu,
    c synchronize_rcu_tasks_trace = synchronize_rcu, c synchronize_net = synchronize_rcu,
    c mmu_notifier_synchronize = synchronize_rcu, c rcu_barrier,
    c rcu_barrier_tasks = rcu_barrier, c rcu_barrier_tasks_trace = rcu_barrier, c kvfree_rcu_barrier = rcu_barrier,
    c __rcu_read_lock, c __rcu_read_unlock, k rcu_read_unlock_strict = reader, k rcu_note_context_switch = reader,
    k rcu_all_qs = reader, c get_state_synchronize_rcu, c start_poll_synchronize_rcu = get_state_synchronize_rcu,
    c poll_state_synchronize_rcu, c cond_synchronize_rcu = synchronize_rcu, c init_srcu_struct, c cleanup_srcu_struct,
    c __srcu_read_lock, c __srcu_read_unlock, c synchronize_srcu, c synchronize_srcu_expedited = synchronize_srcu, c call_srcu,
    c srcu_barrier, c __wait_rcu_gp,
];
