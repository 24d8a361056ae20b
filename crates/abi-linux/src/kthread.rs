//! Kernel threads.

use alloc::string::String;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{TaskId, kernel};
use hashbrown::HashMap;

use crate::export::{Export, exports};
use crate::{printf, ram, tasks};

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    stop: bool,
    park: bool,
    parked: bool,
    result: Option<i32>,
}

static THREADS: Lock<Option<HashMap<TaskId, Thread>>> = Lock::new(None);

fn with<T>(id: TaskId, look: impl FnOnce(&mut Thread) -> T) -> Option<T> {
    THREADS.lock().get_or_insert_default().get_mut(&id).map(look)
}

/// What a task that waits for a thread's end waits on: an address no module has.
fn channel(id: TaskId) -> u64 {
    u64::MAX - u64::from(id.0)
}

/// `-EINTR`: the thread was stopped before it ever ran.
const NEVER_RAN: i32 = -4;

/// Makes a thread that will call `function(data)`; it waits until it is woken.
fn create(function: u64, data: u64, name: &str) -> u64 {
    let made = kernel().tasks.spawn(name, false, move || {
        let me = kernel().tasks.current();
        let stopped = with(me, |thread| thread.stop).unwrap_or(false);
        // SAFETY: the function and its argument are those the module gave.
        let result = if stopped { NEVER_RAN } else { unsafe { ram::call(function, [data]) as i32 } };
        end(me, result);
    });
    match made {
        Ok(id) => {
            THREADS.lock().get_or_insert_default().insert(id, Thread::default());
            // A thread begins asleep, so that its first wake-up counts as one.
            tasks::shadow(id).unwrap_or(0)
        }
        Err(errno) => errno.to_pointer(),
    }
}

fn end(id: TaskId, result: i32) {
    let stopping = with(id, |thread| {
        thread.result = Some(result);
        thread.stop
    });
    if stopping != Some(true) {
        THREADS.lock().get_or_insert_default().remove(&id);
    }
    kernel().tasks.wake_channel(channel(id), usize::MAX);
}

/// `struct task_struct *kthread_create_on_node(int (*)(void *), void *, int node, const char *namefmt, ...)`
extern "C" fn kthread_create_on_node(function: u64, data: u64, _node: i32, format: u64, list: u64) -> u64 {
    let name: String = printf::text_of(format, list).to_str_lossy().into_owned();
    create(function, data, &name)
}

/// `struct task_struct *kthread_create_on_cpu(int (*)(void *), void *, unsigned int cpu, const char *namefmt)`
extern "C" fn kthread_create_on_cpu(function: u64, data: u64, cpu: u32, format: u64) -> u64 {
    // SAFETY: the module's name, whose only conversion is the CPU's number.
    let format = unsafe { ram::c_string(format) }.to_str_lossy();
    let task = create(function, data, &format.replace("%u", &alloc::format!("{cpu}")));
    kthread_bind(task, cpu);
    task
}

extern "C" fn kthread_should_stop() -> bool {
    with(kernel().tasks.current(), |thread| thread.stop).unwrap_or(false)
}
extern "C" fn kthread_should_park() -> bool {
    with(kernel().tasks.current(), |thread| thread.park).unwrap_or(false)
}
extern "C" fn kthread_freezable_should_stop(was_frozen: u64) -> bool {
    if was_frozen != 0 {
        // SAFETY: the caller's `bool`.
        unsafe { ram::put(was_frozen, 0u8) };
    }
    kthread_should_stop()
}

/// Asks the thread to stop and waits for its end; what it returned.
extern "C" fn kthread_stop(task: u64) -> i32 {
    let caller = ram::caller();
    stop(task, caller)
}
/// The same, and gives the caller's reference to its `task_struct` back.
extern "C" fn kthread_stop_put(task: u64) -> i32 {
    let caller = ram::caller();
    let result = stop(task, caller);
    tasks::drop_reference(task);
    result
}
fn stop(task: u64, caller: u64) -> i32 {
    let Some(id) = tasks::at(task) else { return NEVER_RAN };
    with(id, |thread| {
        thread.stop = true;
        thread.park = false;
    });
    kernel().tasks.wake_channel(channel(id) ^ 1 << 40, usize::MAX);
    tasks::wake(task);
    loop {
        match with(id, |thread| thread.result) {
            Some(None) if kernel().tasks.is_alive(id) => {
                tasks::might_block(caller);
                kernel().tasks.block(None, Some(channel(id)));
            }
            result => {
                THREADS.lock().get_or_insert_default().remove(&id);
                return result.flatten().unwrap_or(NEVER_RAN);
            }
        }
    }
}

/// Ends the running thread.
extern "C" fn kthread_exit(result: i64) {
    end(kernel().tasks.current(), result as i32);
    kernel().tasks.exit();
}
extern "C" fn kthread_complete_and_exit(done: u64, result: i64) {
    if done != 0
        && let Some(complete) = crate::symbols::address("complete")
    {
        // SAFETY: our own function, with the module's completion.
        unsafe { ram::call(complete, [done]) };
    }
    kthread_exit(result);
}
extern "C" fn __module_put_and_kthread_exit(module: u64, result: i64) {
    if let Some(module) = crate::module::at(module) {
        module.put();
    }
    kthread_exit(result);
}

extern "C" fn kthread_park(task: u64) -> i32 {
    let Some(id) = tasks::at(task) else { return -3 };
    with(id, |thread| thread.park = true);
    tasks::wake(task);
    while with(id, |thread| !thread.parked).unwrap_or(false) && kernel().tasks.is_alive(id) {
        kernel().tasks.yield_now();
    }
    0
}
extern "C" fn kthread_unpark(task: u64) {
    if let Some(id) = tasks::at(task) {
        with(id, |thread| thread.park = false);
        kernel().tasks.wake_channel(channel(id) ^ 1 << 40, usize::MAX);
    }
}
extern "C" fn kthread_parkme() {
    let me = kernel().tasks.current();
    while with(me, |thread| {
        thread.parked = thread.park;
        thread.park
    })
    .unwrap_or(false)
    {
        kernel().tasks.block(None, Some(channel(me) ^ 1 << 40));
    }
}

/// `void kthread_bind(struct task_struct *, unsigned int cpu)`
extern "C" fn kthread_bind(task: u64, cpu: u32) {
    if let Some(id) = tasks::at(task) {
        // A CPU that does not exist binds nothing.
        let _ = kernel().tasks.allow(id, 1_u64.checked_shl(cpu).unwrap_or(0));
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    v4 kthread_create_on_node, c kthread_create_on_cpu, c kthread_should_stop, c kthread_should_park,
    c kthread_freezable_should_stop, c kthread_stop, c kthread_stop_put, c kthread_exit, c kthread_complete_and_exit,
    c __module_put_and_kthread_exit, c kthread_park, c kthread_unpark, c kthread_parkme, c kthread_bind,
];
