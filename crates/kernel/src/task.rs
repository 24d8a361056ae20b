//! Tasks: what runs, what waits, and for what.
//!
//! One CPU, cooperative: a task runs until it blocks, yields or ends, and timers fire between tasks. Context 0 is the
//! scheduler; it never runs module code. Every task has a guarded stack of its own, so that a fault kills one task.
//!
//! What this module does not do: preempt. A task that never gives up the processor is ended by the platform's watchdog.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::lock::Lock;
use crate::platform::Context;
use crate::text::Errno;
use crate::{Kernel, kernel};

/// The number of a task, unique in the life of a kernel. Context 0, the scheduler, is task 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u32);

/// Why [`Tasks::block`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Somebody woke the task.
    Woken,
    /// The time given had passed.
    TimedOut,
}

/// How [`Kernel::execute`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The body returned.
    Done(T),
    /// The task was killed by an oops.
    Oopsed,
    /// The task waits for something that nothing in this kernel will ever do.
    Hung,
    /// The deadline passed first; the task still exists.
    TimedOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Running,
    Blocked { until: Option<u64>, channel: Option<u64> },
    Finished,
    Killed,
}

type Body = Box<dyn FnOnce() + Send>;

struct Task {
    name: String,
    context: Context,
    state: State,
    wake: Wake,
    body: Option<Body>,
    /// A service of the kernel: it may wait for ever.
    service: bool,
}

#[derive(Default)]
struct Table {
    tasks: BTreeMap<TaskId, Task>,
    ready: VecDeque<TaskId>,
    last: u32,
}

/// A line of the task list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// Its number.
    pub id: TaskId,
    /// Its name (`comm`).
    pub name: String,
    /// It can run.
    pub ready: bool,
    /// It waits for this address, when it said so.
    pub channel: Option<u64>,
    /// It is a service of the kernel.
    pub service: bool,
}

/// All tasks of a kernel.
#[derive(Default)]
pub struct Tasks {
    table: Lock<Table>,
    current: AtomicU32,
    since: AtomicU64,
}

impl core::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

extern "C" fn task_main(id: u64) -> ! {
    let kernel = kernel();
    let body = kernel.tasks.table.lock().tasks.get_mut(&TaskId(id as u32)).and_then(|task| task.body.take());
    if let Some(body) = body {
        body();
    }
    kernel.tasks.leave(State::Finished)
}

/// Ends the running task after an oops; the platform enters it on the top of the dead task's stack.
pub extern "C" fn task_died() -> ! {
    kernel().tasks.leave(State::Killed)
}

impl Tasks {
    /// The running task; 0 is the scheduler.
    pub fn current(&self) -> TaskId {
        TaskId(self.current.load(Ordering::Relaxed))
    }

    /// When the running task was switched to, in nanoseconds of the platform's clock; `None` while the scheduler runs.
    /// Uses atomics only, so that an interrupt handler may ask.
    pub fn running_since(&self) -> Option<u64> {
        (self.current().0 != 0).then(|| self.since.load(Ordering::Relaxed))
    }

    /// The name of a task.
    pub fn name(&self, id: TaskId) -> Option<String> {
        if id.0 == 0 {
            return Some("swapper/0".into());
        }
        self.table.lock().tasks.get(&id).map(|task| task.name.clone())
    }

    /// The context of a live task.
    pub fn context(&self, id: TaskId) -> Option<Context> {
        if id.0 == 0 {
            return Some(Context(0));
        }
        self.table.lock().tasks.get(&id).map(|task| task.context)
    }

    /// Every live task but the scheduler.
    pub fn list(&self) -> Vec<TaskStatus> {
        self.table
            .lock()
            .tasks
            .iter()
            .map(|(&id, task)| TaskStatus {
                id,
                name: task.name.clone(),
                ready: matches!(task.state, State::Ready | State::Running),
                channel: match task.state {
                    State::Blocked { channel, .. } => channel,
                    _ => None,
                },
                service: task.service,
            })
            .collect()
    }

    /// Makes a task; it runs when the scheduler comes to it. `ready` false: not before somebody wakes it.
    ///
    /// # Errors
    /// `ENOMEM` without memory or a stack.
    pub fn spawn(&self, name: &str, ready: bool, body: impl FnOnce() + Send + 'static) -> Result<TaskId, Errno> {
        self.start(name, ready, false, Box::new(body))
    }

    /// Makes a task of the kernel's own that may wait for ever without being called hung.
    ///
    /// # Errors
    /// `ENOMEM` without memory or a stack.
    pub fn spawn_service(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<TaskId, Errno> {
        self.start(name, true, true, Box::new(body))
    }

    fn start(&self, name: &str, ready: bool, service: bool, body: Body) -> Result<TaskId, Errno> {
        let kernel = kernel();
        if kernel.inject.should_fail() {
            return Err(Errno::ENOMEM);
        }
        let id = {
            let mut table = self.table.lock();
            table.last += 1;
            TaskId(table.last)
        };
        let context = kernel.platform.create_context(task_main, u64::from(id.0))?;
        let state = if ready { State::Ready } else { State::Blocked { until: None, channel: None } };
        let task = Task {
            name: name.chars().take(15).collect(),
            context,
            state,
            wake: Wake::Woken,
            body: Some(body),
            service,
        };
        let mut table = self.table.lock();
        table.tasks.insert(id, task);
        if ready {
            table.ready.push_back(id);
        }
        drop(table);
        if let Some(world) = kernel.linux_world()
            && let Err(errno) = world.task_created(id, name)
        {
            let mut table = self.table.lock();
            table.tasks.remove(&id);
            table.ready.retain(|&other| other != id);
            drop(table);
            kernel.platform.destroy_context(context);
            return Err(errno);
        }
        Ok(id)
    }

    /// Waits until somebody wakes this task or `until` (platform time, ns) has come. `channel` is what it waits for.
    ///
    /// # Panics
    /// On the scheduler's own context, which must never wait.
    pub fn block(&self, until: Option<u64>, channel: Option<u64>) -> Wake {
        let current = self.current();
        assert!(current.0 != 0, "the scheduler cannot wait");
        self.set_state(current, State::Blocked { until, channel });
        self.to_scheduler(current);
        self.table.lock().tasks.get(&current).map_or(Wake::Woken, |task| task.wake)
    }

    /// Lets others run.
    pub fn yield_now(&self) {
        let current = self.current();
        if current.0 == 0 {
            return;
        }
        {
            let mut table = self.table.lock();
            if let Some(task) = table.tasks.get_mut(&current) {
                task.state = State::Ready;
            }
            table.ready.push_back(current);
        }
        self.to_scheduler(current);
    }

    /// Makes a blocked task ready; true when it was blocked.
    pub fn wake(&self, id: TaskId) -> bool {
        self.table.lock().wake(id, Wake::Woken)
    }

    /// Wakes up to `limit` tasks that wait for `channel`, the longest waiting first; how many.
    pub fn wake_channel(&self, channel: u64, limit: usize) -> usize {
        let mut table = self.table.lock();
        let waiting: Vec<TaskId> = table
            .tasks
            .iter()
            .filter(|(_, task)| matches!(task.state, State::Blocked { channel: Some(other), .. } if other == channel))
            .map(|(&id, _)| id)
            .take(limit)
            .collect();
        for &id in &waiting {
            table.wake(id, Wake::Woken);
        }
        waiting.len()
    }

    /// Ends the running task as if its body had returned.
    pub fn exit(&self) -> ! {
        self.leave(State::Finished)
    }

    fn leave(&self, state: State) -> ! {
        let current = self.current();
        self.set_state(current, state);
        loop {
            // A task that is over is never switched to again.
            self.to_scheduler(current);
        }
    }

    fn set_state(&self, id: TaskId, state: State) {
        if let Some(task) = self.table.lock().tasks.get_mut(&id) {
            task.state = state;
        }
    }

    fn to_scheduler(&self, from: TaskId) {
        if let Some(context) = self.context(from) {
            kernel().platform.switch(context, Context(0));
        }
    }

    /// Switches from the scheduler to the next ready task; false when none is.
    fn run_next(&self, kernel: &Kernel) -> bool {
        let (id, context) = {
            let mut table = self.table.lock();
            let Some(id) = table.ready.pop_front() else { return false };
            let Some(task) = table.tasks.get_mut(&id) else { return true };
            task.state = State::Running;
            (id, task.context)
        };
        self.since.store(kernel.platform.now(), Ordering::Relaxed);
        self.current.store(id.0, Ordering::Relaxed);
        if let Some(world) = kernel.linux_world() {
            world.task_running(id);
        }
        kernel.platform.switch(Context(0), context);
        self.current.store(0, Ordering::Relaxed);
        if let Some(world) = kernel.linux_world() {
            world.task_running(TaskId(0));
        }
        self.bury(kernel, id);
        true
    }

    /// Frees a task that has finished. A killed one is kept, as on Linux: what it held stays held.
    fn bury(&self, kernel: &Kernel, id: TaskId) {
        let mut table = self.table.lock();
        if table.tasks.get(&id).is_some_and(|task| task.state == State::Finished)
            && let Some(task) = table.tasks.remove(&id)
        {
            drop(table);
            if let Some(world) = kernel.linux_world() {
                world.task_gone(id);
            }
            kernel.platform.destroy_context(task.context);
            return;
        }
        let killed = table.tasks.get(&id).is_some_and(|task| task.state == State::Killed);
        drop(table);
        if killed {
            kernel.work.worker_died(id);
            kernel.softirq_died(id);
        }
    }

    /// Whether the task exists and has not been killed.
    pub fn is_alive(&self, id: TaskId) -> bool {
        self.table.lock().tasks.get(&id).is_some_and(|task| task.state != State::Killed)
    }

    /// Readies every task whose time has come; the earliest time anyone still waits for.
    fn expire(&self, now: u64) -> Option<u64> {
        let mut table = self.table.lock();
        let mut next = None;
        let mut due = Vec::new();
        for (&id, task) in &table.tasks {
            if let State::Blocked { until: Some(until), .. } = task.state {
                if until <= now {
                    due.push(id);
                } else {
                    next = Some(next.map_or(until, |other: u64| other.min(until)));
                }
            }
        }
        for id in due {
            table.wake(id, Wake::TimedOut);
        }
        next
    }

    fn state_of(&self, id: TaskId) -> Option<State> {
        self.table.lock().tasks.get(&id).map(|task| task.state)
    }
}

impl Table {
    fn wake(&mut self, id: TaskId, why: Wake) -> bool {
        match self.tasks.get_mut(&id) {
            Some(task) if matches!(task.state, State::Blocked { .. }) => {
                task.state = State::Ready;
                task.wake = why;
                self.ready.push_back(id);
                true
            }
            _ => false,
        }
    }
}

/// What [`Kernel::step`] found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ran,
    Idle { next: Option<u64> },
}

impl Kernel {
    /// Runs `body` as a task called `name`, and every other task that can run, until it is over. On context 0 only.
    ///
    /// `deadline` is in nanoseconds of the platform's clock.
    pub fn execute<T: Send + 'static>(
        &'static self,
        name: &str,
        deadline: Option<u64>,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Outcome<T>, Errno> {
        let result = Arc::new(Lock::new(None));
        let slot = Arc::clone(&result);
        let id = self.tasks.spawn(name, true, move || {
            let value = body();
            *slot.lock() = Some(value);
        })?;
        loop {
            let state = self.tasks.state_of(id);
            if state == Some(State::Killed) {
                return Ok(Outcome::Oopsed);
            }
            if state.is_none() {
                return Ok(result.lock().take().map_or(Outcome::Oopsed, Outcome::Done));
            }
            let now = self.platform.now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                self.report_hung(id, "did not end in the time it was given");
                return Ok(Outcome::TimedOut);
            }
            if let Step::Idle { next } = self.step(now) {
                let Some(next) = next else {
                    self.report_hung(id, "blocked, and nothing is left that could wake it");
                    return Ok(Outcome::Hung);
                };
                self.platform.wait(deadline.map_or(next, |deadline| deadline.min(next)));
            }
        }
    }

    /// Lets everything run that can, until nothing is ready and no timer is due, or `until` (platform time, ns) has come.
    pub fn run_until(&'static self, until: u64) {
        loop {
            let now = self.platform.now();
            if now >= until {
                return;
            }
            if let Step::Idle { next } = self.step(now) {
                match next {
                    Some(next) if next < until => self.platform.wait(next),
                    _ => return,
                }
            }
        }
    }

    fn step(&'static self, now: u64) -> Step {
        let sleeper = self.tasks.expire(now);
        let timer = self.timers.next();
        if timer.is_some_and(|due| due <= now) {
            self.wake_softirq();
        }
        if self.tasks.run_next(self) {
            return Step::Ran;
        }
        let next = match (sleeper, timer) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Step::Idle { next }
    }
}
