//! `kthread_worker`: a thread of its own for a list of work.

use bstr::ByteSlice;
use ferrmod_kernel::work::QueueId;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, printf, ram, slab, tasks, time};

layout! {
    mod kthread_worker = "kthread_worker" { flags, work_list, delayed_work_list, task, current_work }
    mod kthread_work = "kthread_work" { func, worker }
    mod kthread_delayed_work = "kthread_delayed_work" { work, timer }
}

fn begin(worker: u64, name: &str) {
    // SAFETY: the caller's worker. The task is whoever made it: modules only set its priority.
    unsafe {
        locks::init_list(kthread_worker::work_list.at(worker));
        locks::init_list(kthread_worker::delayed_work_list.at(worker));
        kthread_worker::task.set(worker, tasks::current());
    }
    kernel().work.add_queue(QueueId(worker), name, 1);
}

/// `struct kthread_worker *kthread_create_worker(unsigned int flags, const char *, ...)`
extern "C" fn kthread_create_worker(flags: u32, format: u64, list: u64) -> u64 {
    let caller = ram::caller();
    let name = printf::text_of(format, list);
    create(flags, &name, caller)
}
/// `struct kthread_worker *kthread_create_worker_on_cpu(int cpu, unsigned int flags, const char *, ...)`
extern "C" fn kthread_create_worker_on_cpu(_cpu: i32, flags: u32, format: u64, list: u64) -> u64 {
    let caller = ram::caller();
    let name = printf::text_of(format, list);
    create(flags, &name, caller)
}
fn create(flags: u32, name: &[u8], caller: u64) -> u64 {
    let worker = slab::allocate(kthread_worker::SIZE.get(), 8, slab::ZERO, caller);
    if worker == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe { kthread_worker::flags.set(worker, flags) };
    begin(worker, &name.to_str_lossy());
    // The worker is new.
    let _ = kernel().registrations.add("kthread_worker", worker, name, kernel().owner_of(caller));
    worker
}
extern "C" fn kthread_destroy_worker(worker: u64) {
    kernel().work.flush_queue(QueueId(worker));
    kernel().work.remove_queue(QueueId(worker));
    kernel().registrations.remove("kthread_worker", worker);
    slab::release(worker, ram::caller());
}

fn run(work: u64) {
    // SAFETY: the item was queued with its function set; it may free itself in there.
    unsafe {
        let worker: u64 = kthread_work::worker.get(work);
        let function: u64 = kthread_work::func.get(work);
        kthread_worker::current_work.set(worker, work);
        ram::call(function, [work]);
        kthread_worker::current_work.set(worker, 0u64);
    }
}
fn queue(worker: u64, work: u64) -> bool {
    // SAFETY: the module's item.
    unsafe { kthread_work::worker.set(work, worker) };
    kernel().work.enqueue(QueueId(worker), work, run).unwrap_or(false)
}
/// `bool kthread_queue_work(struct kthread_worker *, struct kthread_work *)`
extern "C" fn kthread_queue_work(worker: u64, work: u64) -> bool {
    !kernel().work.is_pending(work) && queue(worker, work)
}
extern "C" fn kthread_delayed_work_timer_fn(timer: u64) {
    let work = kthread_delayed_work::work.at(kthread_delayed_work::timer.container(timer));
    // SAFETY: the item of a timer that was set here.
    queue(unsafe { kthread_work::worker.get(work) }, work);
}
fn delay(worker: u64, delayed: u64, jiffies: u64) {
    let work = kthread_delayed_work::work.at(delayed);
    if jiffies == 0 {
        queue(worker, work);
        return;
    }
    // SAFETY: the module's item.
    unsafe { kthread_work::worker.set(work, worker) };
    time::start_timer(kthread_delayed_work::timer.at(delayed), jiffies);
}
extern "C" fn kthread_queue_delayed_work(worker: u64, delayed: u64, jiffies: u64) -> bool {
    let pending = kernel().work.is_pending(kthread_delayed_work::work.at(delayed))
        || kernel().timers.is_pending(kthread_delayed_work::timer.at(delayed));
    if !pending {
        delay(worker, delayed, jiffies);
    }
    !pending
}
extern "C" fn kthread_mod_delayed_work(worker: u64, delayed: u64, jiffies: u64) -> bool {
    let pending = take_back(delayed);
    delay(worker, delayed, jiffies);
    pending
}
fn take_back(delayed: u64) -> bool {
    time::cancel_timer(kthread_delayed_work::timer.at(delayed), true)
        | kernel().work.cancel(kthread_delayed_work::work.at(delayed))
}
extern "C" fn kthread_cancel_work_sync(work: u64) -> bool {
    let pending = kernel().work.cancel(work);
    kernel().work.flush(work);
    pending
}
extern "C" fn kthread_cancel_delayed_work_sync(delayed: u64) -> bool {
    let pending = take_back(delayed);
    kernel().work.flush(kthread_delayed_work::work.at(delayed));
    pending
}
extern "C" fn kthread_flush_work(work: u64) {
    kernel().work.flush(work);
}
extern "C" fn kthread_flush_worker(worker: u64) {
    kernel().work.flush_queue(QueueId(worker));
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    v2 kthread_create_worker, v3 kthread_create_worker_on_cpu,
    c kthread_destroy_worker, c kthread_queue_work, c kthread_delayed_work_timer_fn, c kthread_queue_delayed_work,
    c kthread_mod_delayed_work, c kthread_cancel_work_sync, c kthread_cancel_delayed_work_sync, c kthread_flush_work,
    c kthread_flush_worker,
];
