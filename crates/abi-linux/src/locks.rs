//! Spin locks, mutexes, semaphores, completions.
//!
//! A spin lock that is held when somebody wants it is held by another CPU, which is given its turn; when no other CPU can give
//! it back any more, that is reported at once. Whoever has to wait for a mutex or a semaphore blocks on its address.

use ferrmod_kernel::{Errno, TaskId, Wake, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::tasks::SOFTIRQ_DISABLE_OFFSET;
use crate::{atomic, deadlocks, instructions, ram, tasks, time};

layout! {
    mod mutex = "mutex" { owner, wait_list }
    mod rw_semaphore = "rw_semaphore" { count, owner, wait_list }
    mod semaphore = "semaphore" { count }
    mod completion = "completion" { done }
    mod swait_queue_head = "swait_queue_head" { task_list }
    mod list_head = "list_head" { next, prev }
}

/// Makes a list empty.
///
/// # Safety
/// `head` is a `struct list_head` that may be overwritten.
pub(crate) unsafe fn init_list(head: u64) {
    // SAFETY: the caller vouches for it.
    unsafe {
        list_head::next.set(head, head);
        list_head::prev.set(head, head);
    }
}

/// The lock word of a queued spin lock: its low byte is 1 while it is held, and inline code stores 0 there.
const HELD: u8 = 1;

/// Gives the other CPUs their turns while a lock is held. When none of them can give it back any more, that is the end of the
/// running task, and where the others are is shown too.
fn spin(lockup: &str, caller: u64) {
    let kernel = kernel();
    if kernel.tasks.spin() {
        return;
    }
    for id in kernel.tasks.interrupted() {
        kernel.report_hung(id, "has another CPU and goes no further");
    }
    kernel.bug(lockup, caller);
}

/// Takes a spin lock.
pub(crate) fn spin_take(lock: u64) {
    let caller = ram::caller();
    // SAFETY: a spin lock of the module's.
    unsafe {
        while ram::get::<u8>(lock) != 0 {
            spin("BUG: spinlock lockup: the lock is held and nobody can give it back", caller);
        }
        ram::put(lock, HELD);
    }
    tasks::add_preempt(1);
}

/// Gives it back.
pub(crate) fn spin_give(lock: u64) {
    // SAFETY: a spin lock of the module's.
    unsafe { ram::put(lock, 0u8) };
    tasks::add_preempt(-1);
}

/// The flags word with interrupts on (`X86_EFLAGS_IF`).
pub(crate) const INTERRUPTS_ON: u64 = instructions::INTERRUPTS_ON as u64;

extern "C" fn _raw_spin_lock(lock: u64) {
    spin_take(lock);
}

extern "C" fn _raw_spin_unlock(lock: u64) {
    spin_give(lock);
}

/// Switches interrupts off; the flags as they were.
fn save_interrupts() -> u64 {
    if !instructions::interrupts_enabled() {
        return 0;
    }
    atomic::begins(atomic::Kind::Interrupts);
    ram::forget_interrupts_off();
    instructions::set_interrupts(false);
    INTERRUPTS_ON
}

fn restore_interrupts(flags: u64) {
    instructions::set_interrupts(flags & INTERRUPTS_ON != 0);
}

pub(crate) extern "C" fn _raw_spin_lock_irqsave(lock: u64) -> u64 {
    spin_take(lock);
    save_interrupts()
}

pub(crate) extern "C" fn _raw_spin_unlock_irqrestore(lock: u64, flags: u64) {
    spin_give(lock);
    restore_interrupts(flags);
}

extern "C" fn _raw_spin_lock_irq(lock: u64) {
    spin_take(lock);
    save_interrupts();
}

extern "C" fn _raw_spin_unlock_irq(lock: u64) {
    spin_give(lock);
    restore_interrupts(INTERRUPTS_ON);
}

extern "C" fn _raw_spin_lock_bh(lock: u64) {
    spin_take(lock);
    tasks::add_preempt(SOFTIRQ_DISABLE_OFFSET);
}

extern "C" fn _raw_spin_unlock_bh(lock: u64) {
    tasks::add_preempt(-SOFTIRQ_DISABLE_OFFSET);
    spin_give(lock);
}

extern "C" fn _raw_spin_trylock(lock: u64) -> i32 {
    // SAFETY: a spin lock of the module's.
    if unsafe { ram::get::<u8>(lock) } != 0 {
        return 0;
    }
    spin_take(lock);
    1
}

extern "C" fn _raw_spin_trylock_bh(lock: u64) -> i32 {
    let taken = _raw_spin_trylock(lock);
    if taken != 0 {
        tasks::add_preempt(SOFTIRQ_DISABLE_OFFSET);
    }
    taken
}

/// A queued read-write lock: 0x100 a reader, 0xff in the low byte for a writer.
const READER: u32 = 0x100;
const WRITER: u32 = 0xff;

fn read_take(lock: u64) {
    let caller = ram::caller();
    // SAFETY: a read-write lock of the module's.
    unsafe {
        while ram::get::<u32>(lock) & WRITER != 0 {
            spin("BUG: rwlock lockup: held by a writer that cannot give it back", caller);
        }
        ram::put(lock, ram::get::<u32>(lock) + READER);
    }
    tasks::add_preempt(1);
}

fn read_give(lock: u64) {
    // SAFETY: a read-write lock of the module's.
    unsafe { ram::put(lock, ram::get::<u32>(lock).wrapping_sub(READER)) };
    tasks::add_preempt(-1);
}

fn write_take(lock: u64) {
    let caller = ram::caller();
    // SAFETY: a read-write lock of the module's.
    unsafe {
        while ram::get::<u32>(lock) != 0 {
            spin("BUG: rwlock lockup: held by somebody who cannot give it back", caller);
        }
        ram::put(lock, WRITER);
    }
    tasks::add_preempt(1);
}

fn write_give(lock: u64) {
    // SAFETY: a read-write lock of the module's.
    unsafe { ram::put(lock, 0u8) };
    tasks::add_preempt(-1);
}

extern "C" fn _raw_read_lock(lock: u64) {
    read_take(lock);
}
extern "C" fn _raw_read_unlock(lock: u64) {
    read_give(lock);
}
extern "C" fn _raw_write_lock(lock: u64) {
    write_take(lock);
}
extern "C" fn _raw_write_unlock(lock: u64) {
    write_give(lock);
}
extern "C" fn _raw_read_lock_irqsave(lock: u64) -> u64 {
    read_take(lock);
    save_interrupts()
}
extern "C" fn _raw_read_unlock_irqrestore(lock: u64, flags: u64) {
    read_give(lock);
    restore_interrupts(flags);
}
extern "C" fn _raw_read_lock_irq(lock: u64) {
    read_take(lock);
    save_interrupts();
}
extern "C" fn _raw_read_unlock_irq(lock: u64) {
    read_give(lock);
    restore_interrupts(INTERRUPTS_ON);
}
extern "C" fn _raw_write_lock_irqsave(lock: u64) -> u64 {
    write_take(lock);
    save_interrupts()
}
extern "C" fn _raw_write_unlock_irqrestore(lock: u64, flags: u64) {
    write_give(lock);
    restore_interrupts(flags);
}
extern "C" fn _raw_write_lock_irq(lock: u64) {
    write_take(lock);
    save_interrupts();
}
extern "C" fn _raw_write_unlock_irq(lock: u64) {
    write_give(lock);
    restore_interrupts(INTERRUPTS_ON);
}
extern "C" fn _raw_read_lock_bh(lock: u64) {
    read_take(lock);
    tasks::add_preempt(SOFTIRQ_DISABLE_OFFSET);
}
extern "C" fn _raw_read_unlock_bh(lock: u64) {
    tasks::add_preempt(-SOFTIRQ_DISABLE_OFFSET);
    read_give(lock);
}
extern "C" fn _raw_write_lock_bh(lock: u64) {
    write_take(lock);
    tasks::add_preempt(SOFTIRQ_DISABLE_OFFSET);
}
extern "C" fn _raw_write_unlock_bh(lock: u64) {
    tasks::add_preempt(-SOFTIRQ_DISABLE_OFFSET);
    write_give(lock);
}

/// `void __local_bh_enable_ip(unsigned long ip, unsigned int cnt)`
extern "C" fn __local_bh_enable_ip(_ip: u64, count: u32) {
    tasks::add_preempt(-(count as i32));
}

/// `void __local_bh_disable_ip(unsigned long ip, unsigned int cnt)`
extern "C" fn __local_bh_disable_ip(_ip: u64, count: u32) {
    tasks::add_preempt(count as i32);
}

/// `void __mutex_init(struct mutex *, const char *, struct lock_class_key *)`
extern "C" fn __mutex_init(lock: u64) {
    // SAFETY: the caller's mutex.
    unsafe { begin_mutex(lock) };
}

/// Makes a mutex that nobody holds.
///
/// # Safety
/// `lock` is a `struct mutex` that may be overwritten.
pub(crate) unsafe fn begin_mutex(lock: u64) {
    // SAFETY: the caller vouches for it.
    unsafe {
        ram::fill(lock, 0, mutex::SIZE.get());
        init_list(mutex::wait_list.at(lock));
    }
}

/// `current`, or another number that is not 0 where there is none.
fn me() -> u64 {
    tasks::current().max(1)
}

/// The low bits of `owner` are flags.
const OWNER_FLAGS: u64 = 7;

/// Takes a mutex if nobody has it.
pub(crate) fn mutex_try(lock: u64) -> bool {
    // SAFETY: a mutex of the module's.
    unsafe {
        if mutex::owner.get::<u64>(lock) & !OWNER_FLAGS != 0 {
            return false;
        }
        mutex::owner.set(lock, me());
    }
    true
}

/// Ends the running task when the one that holds a lock was killed with it in its hands: nobody will ever give it back, and on Linux
/// this task would hang.
pub(crate) fn check_holder(holder: TaskId, what: &str, caller: u64) {
    if !kernel().tasks.is_alive(holder) {
        kernel().bug(&alloc::format!("BUG: the {what} is held by a task that was killed"), caller);
    }
}

fn mutex_holder(lock: u64) -> Option<TaskId> {
    // SAFETY: a mutex of the module's.
    tasks::at(unsafe { mutex::owner.get::<u64>(lock) } & !OWNER_FLAGS)
}

/// Takes a mutex.
pub(crate) fn take(lock: u64, caller: u64) {
    // SAFETY: a mutex of the module's.
    if unsafe { mutex::owner.get::<u64>(lock) } == me() {
        kernel().bug("possible recursive locking: this task holds the mutex already", caller);
    }
    while !mutex_try(lock) {
        deadlocks::wait(lock, mutex_holder, "mutex", caller);
    }
}

/// Gives a mutex back.
pub(crate) fn give(lock: u64, caller: u64) {
    // SAFETY: a mutex of the module's.
    unsafe {
        if mutex::owner.get::<u64>(lock) & !OWNER_FLAGS == 0 {
            kernel().warn("mutex_unlock: the mutex is not locked", caller);
        }
        mutex::owner.set(lock, 0u64);
    }
    kernel().tasks.wake_channel(lock, 1);
}

extern "C" fn mutex_lock(lock: u64) {
    take(lock, ram::caller());
}

extern "C" fn mutex_lock_interruptible(lock: u64) -> i32 {
    take(lock, ram::caller());
    0
}

extern "C" fn mutex_trylock(lock: u64) -> i32 {
    mutex_try(lock).into()
}

extern "C" fn mutex_unlock(lock: u64) {
    give(lock, ram::caller());
}

extern "C" fn mutex_is_locked(lock: u64) -> bool {
    // SAFETY: a mutex of the module's.
    unsafe { mutex::owner.get::<u64>(lock) & !OWNER_FLAGS != 0 }
}

/// `int atomic_dec_and_mutex_lock(atomic_t *, struct mutex *)`
extern "C" fn atomic_dec_and_mutex_lock(count: u64, lock: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's counter.
    unsafe {
        let value: i32 = ram::get(count);
        if value != 1 {
            ram::put(count, value.wrapping_sub(1));
            return 0;
        }
        take(lock, caller);
        ram::put(count, 0i32);
    }
    1
}

/// A read-write semaphore: bit 0 for the writer, 0x100 a reader.
const SEM_WRITER: u64 = 1;
const SEM_READER: u64 = 0x100;

/// `void __init_rwsem(struct rw_semaphore *, const char *, struct lock_class_key *)`
extern "C" fn __init_rwsem(lock: u64) {
    // SAFETY: the caller's semaphore.
    unsafe {
        ram::fill(lock, 0, rw_semaphore::SIZE.get());
        init_list(rw_semaphore::wait_list.at(lock));
    }
}

/// Who holds a semaphore for writing: readers leave the owner as it is, and 0 is nobody.
fn writer(lock: u64) -> Option<TaskId> {
    // SAFETY: a semaphore of the module's.
    tasks::at(unsafe { rw_semaphore::owner.get::<u64>(lock) })
}

fn read_down(lock: u64, wait: bool, caller: u64) -> bool {
    loop {
        // SAFETY: a semaphore of the module's.
        unsafe {
            let count: u64 = rw_semaphore::count.get(lock);
            if count & SEM_WRITER == 0 {
                rw_semaphore::count.set(lock, count + SEM_READER);
                return true;
            }
        }
        if !wait {
            return false;
        }
        deadlocks::wait(lock, writer, "semaphore", caller);
    }
}

fn write_down(lock: u64, wait: bool, caller: u64) -> bool {
    loop {
        // SAFETY: a semaphore of the module's.
        unsafe {
            if rw_semaphore::count.get::<u64>(lock) == 0 {
                rw_semaphore::count.set(lock, SEM_WRITER);
                rw_semaphore::owner.set(lock, me());
                return true;
            }
        }
        if !wait {
            return false;
        }
        deadlocks::wait(lock, writer, "semaphore", caller);
    }
}

extern "C" fn down_read(lock: u64) {
    read_down(lock, true, ram::caller());
}
extern "C" fn down_read_killable(lock: u64) -> i32 {
    read_down(lock, true, ram::caller());
    0
}
extern "C" fn down_read_trylock(lock: u64) -> i32 {
    read_down(lock, false, 0).into()
}
extern "C" fn down_write(lock: u64) {
    write_down(lock, true, ram::caller());
}
extern "C" fn down_write_killable(lock: u64) -> i32 {
    write_down(lock, true, ram::caller());
    0
}
extern "C" fn down_write_trylock(lock: u64) -> i32 {
    write_down(lock, false, 0).into()
}
extern "C" fn up_read(lock: u64) {
    // SAFETY: a semaphore of the module's.
    unsafe { rw_semaphore::count.set(lock, rw_semaphore::count.get::<u64>(lock).wrapping_sub(SEM_READER)) };
    kernel().tasks.wake_channel(lock, usize::MAX);
}
extern "C" fn up_write(lock: u64) {
    // SAFETY: a semaphore of the module's.
    unsafe {
        rw_semaphore::count.set(lock, 0u64);
        rw_semaphore::owner.set(lock, 0u64);
    }
    kernel().tasks.wake_channel(lock, usize::MAX);
}
extern "C" fn downgrade_write(lock: u64) {
    // SAFETY: a semaphore of the module's.
    unsafe {
        rw_semaphore::count.set(lock, SEM_READER);
        rw_semaphore::owner.set(lock, 0u64);
    }
    kernel().tasks.wake_channel(lock, usize::MAX);
}

fn semaphore_down(lock: u64, until: Option<u64>, caller: u64) -> bool {
    loop {
        // SAFETY: a semaphore of the module's.
        unsafe {
            let count: u32 = semaphore::count.get(lock);
            if count > 0 {
                semaphore::count.set(lock, count - 1);
                return true;
            }
        }
        tasks::might_block(caller);
        if kernel().tasks.block(until, Some(lock)) == Wake::TimedOut {
            return false;
        }
    }
}

extern "C" fn down(lock: u64) {
    semaphore_down(lock, None, ram::caller());
}
extern "C" fn down_interruptible(lock: u64) -> i32 {
    semaphore_down(lock, None, ram::caller());
    0
}
extern "C" fn down_trylock(lock: u64) -> i32 {
    // SAFETY: a semaphore of the module's. The answer is the other way round than a mutex's.
    if unsafe { semaphore::count.get::<u32>(lock) } == 0 {
        return 1;
    }
    semaphore_down(lock, None, 0);
    0
}
extern "C" fn down_timeout(lock: u64, jiffies: i64) -> i32 {
    let caller = ram::caller();
    if semaphore_down(lock, time::after_jiffies(jiffies), caller) { 0 } else { Errno::ETIME.to_return() }
}
extern "C" fn up(lock: u64) {
    // SAFETY: a semaphore of the module's.
    unsafe { semaphore::count.set(lock, semaphore::count.get::<u32>(lock).wrapping_add(1)) };
    kernel().tasks.wake_channel(lock, 1);
}

/// `void __init_swait_queue_head(struct swait_queue_head *, const char *, struct lock_class_key *)`
extern "C" fn __init_swait_queue_head(queue: u64) {
    // SAFETY: the caller's queue.
    unsafe {
        ram::fill(queue, 0, swait_queue_head::SIZE.get());
        init_list(swait_queue_head::task_list.at(queue));
    }
}

fn wait_done(done: u64, until: Option<u64>, caller: u64) -> bool {
    loop {
        // SAFETY: a completion of the module's.
        unsafe {
            let count: u32 = completion::done.get(done);
            if count > 0 {
                // `complete_all` stays done for ever.
                if count != u32::MAX {
                    completion::done.set(done, count - 1);
                }
                return true;
            }
        }
        tasks::might_block(caller);
        if kernel().tasks.block(until, Some(done)) == Wake::TimedOut {
            return false;
        }
    }
}

extern "C" fn complete(done: u64) {
    // SAFETY: a completion of the module's.
    unsafe {
        let count: u32 = completion::done.get(done);
        completion::done.set(done, count.saturating_add(1));
    }
    kernel().tasks.wake_channel(done, 1);
}
extern "C" fn complete_all(done: u64) {
    // SAFETY: a completion of the module's.
    unsafe { completion::done.set(done, u32::MAX) };
    kernel().tasks.wake_channel(done, usize::MAX);
}
extern "C" fn wait_for_completion(done: u64) {
    wait_done(done, None, ram::caller());
}
extern "C" fn wait_for_completion_interruptible(done: u64) -> i32 {
    wait_done(done, None, ram::caller());
    0
}
/// What is left of the time, at least 1, or 0.
extern "C" fn wait_for_completion_timeout(done: u64, jiffies: u64) -> u64 {
    let caller = ram::caller();
    let until = time::after_jiffies(jiffies as i64);
    if wait_done(done, until, caller) { time::jiffies_left(until).max(1) } else { 0 }
}
extern "C" fn try_wait_for_completion(done: u64) -> bool {
    // SAFETY: a completion of the module's.
    unsafe { completion::done.get::<u32>(done) > 0 && wait_done(done, None, 0) }
}
extern "C" fn completion_done(done: u64) -> bool {
    // SAFETY: a completion of the module's.
    unsafe { completion::done.get::<u32>(done) > 0 }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c _raw_spin_lock, c _raw_spin_unlock, c _raw_spin_lock_irqsave, c _raw_spin_unlock_irqrestore, c _raw_spin_lock_bh,
    c _raw_spin_unlock_bh, c _raw_spin_trylock, c _raw_spin_trylock_bh, c _raw_spin_lock_irq,
    c _raw_spin_unlock_irq,
    c _raw_read_lock, c _raw_read_unlock, c _raw_write_lock, c _raw_write_unlock, c _raw_read_lock_irqsave,
    c _raw_write_lock_irqsave, c _raw_read_unlock_irqrestore,
    c _raw_write_unlock_irqrestore, c _raw_read_lock_bh, c _raw_read_unlock_bh, c _raw_write_lock_bh,
    c _raw_write_unlock_bh, c _raw_read_lock_irq, c _raw_read_unlock_irq,
    c _raw_write_lock_irq, c _raw_write_unlock_irq,
    c __local_bh_enable_ip, c __local_bh_disable_ip,
    c __mutex_init, c mutex_lock, c mutex_lock_interruptible, c mutex_lock_killable = mutex_lock_interruptible,
    c mutex_trylock, c mutex_unlock, c mutex_is_locked, c atomic_dec_and_mutex_lock,
    c __init_rwsem, c down_read, c down_read_killable, c down_read_interruptible = down_read_killable, c down_read_trylock,
    c down_write, c down_write_killable, c down_write_trylock, c up_read, c up_write, c downgrade_write,
    c down, c down_interruptible, c down_killable = down_interruptible, c down_trylock, c down_timeout, c up,
    c __init_swait_queue_head, c complete, c complete_all, c wait_for_completion, c wait_for_completion_interruptible,
    c wait_for_completion_killable = wait_for_completion_interruptible, c wait_for_completion_timeout,
    c wait_for_completion_killable_timeout = wait_for_completion_timeout, c try_wait_for_completion, c completion_done,
];
