//! Tasks: what runs, what waits, and for what.
//!
//! On a CPU, a task runs until it blocks, yields or ends, and timers fire between tasks. Context 0 is the scheduler; it never
//! runs module code. Every task has a guarded stack of its own, so that a fault kills one task.
//!
//! Several CPUs take turns on the one real processor: when a task has had it for a while, the platform calls [`Tasks::slice`],
//! and the next CPU goes on with its own task; what was interrupted goes on where it was, before anything else on its CPU.
//! That happens in module code only, so that the kernel itself never runs twice at once. With one CPU nothing is ever
//! interrupted, and every run is the same.
//!
//! What this module does not do: preempt a task for another of the same CPU. A task that never gives up its CPU is ended by
//! the platform's watchdog.

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
    /// The CPU it runs on, or ran on last.
    cpu: u32,
    /// The CPUs it may run on, a bit each.
    allowed: u64,
    state: State,
    wake: Wake,
    body: Option<Body>,
    /// A service of the kernel: it may wait for ever.
    service: bool,
}

/// A virtual CPU.
#[derive(Default)]
struct Cpu {
    /// What waits for it, longest first.
    ready: VecDeque<TaskId>,
    /// What it was doing when another CPU's turn came.
    interrupted: Option<TaskId>,
    /// When its task was switched to.
    since: u64,
}

#[derive(Default)]
struct Table {
    tasks: BTreeMap<TaskId, Task>,
    /// As many as there are; empty before the first task.
    cpus: Vec<Cpu>,
    last: u32,
    /// How many turns in a row ended in a task that only waits for another CPU.
    spins: usize,
}

/// Every CPU is allowed.
pub const ANY_CPU: u64 = u64::MAX;

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
    /// The CPU it runs on, or ran on last.
    pub cpu: u32,
}

/// All tasks of a kernel.
#[derive(Default)]
pub struct Tasks {
    table: Lock<Table>,
    current: AtomicU32,
    cpu: AtomicU32,
    since: AtomicU64,
    /// Other CPUs' interrupts that are being served; see [`Tasks::as_cpu`].
    borrowed: AtomicU32,
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

    /// The CPU that has its turn.
    pub fn cpu(&self) -> u32 {
        self.cpu.load(Ordering::Relaxed)
    }

    /// When the running task was switched to, in nanoseconds of the platform's clock; `None` while the scheduler runs.
    /// Uses atomics only, so that an interrupt handler may ask.
    pub fn running_since(&self) -> Option<u64> {
        (self.current().0 != 0).then(|| self.since.load(Ordering::Relaxed))
    }

    /// The name of a task.
    pub fn name(&self, id: TaskId) -> Option<String> {
        if id.0 == 0 {
            return Some(alloc::format!("swapper/{}", self.cpu()));
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
                cpu: task.cpu,
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
        let mut table = self.table.lock();
        let cpu = table.idlest(kernel.platform.regions().cpus, self.cpu());
        let task = Task {
            name: name.chars().take(15).collect(),
            context,
            cpu,
            allowed: ANY_CPU,
            state,
            wake: Wake::Woken,
            body: Some(body),
            service,
        };
        table.tasks.insert(id, task);
        if ready {
            table.enqueue(id);
        }
        drop(table);
        if let Some(world) = kernel.linux_world()
            && let Err(errno) = world.task_created(id, name)
        {
            let mut table = self.table.lock();
            table.tasks.remove(&id);
            table.cpus.iter_mut().for_each(|cpu| cpu.ready.retain(|&other| other != id));
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
            table.enqueue(current);
        }
        self.to_scheduler(current);
    }

    /// Ends the turn of this CPU: the next goes on, and later the running task. Called by the platform where the task can be
    /// interrupted; with one CPU nothing happens.
    pub fn slice(&self) {
        let current = self.current();
        if current.0 == 0 || self.borrowed.load(Ordering::Relaxed) != 0 || self.table.lock().cpus.len() < 2 {
            return;
        }
        // It is still `Running`, which tells the scheduler that it was interrupted.
        self.to_scheduler(current);
    }

    /// Whether [`Tasks::slice`] would do anything. Uses no lock, so that an interrupt handler may ask.
    pub fn takes_turns(&self) -> bool {
        self.current().0 != 0
            && self.borrowed.load(Ordering::Relaxed) == 0
            && crate::try_kernel().is_some_and(|kernel| kernel.platform.regions().cpus > 1)
    }

    /// Waits for another CPU to do something, without giving up this one (a spin lock). False when no other CPU does
    /// anything any more that could end the waiting.
    pub fn spin(&self) -> bool {
        {
            let mut table = self.table.lock();
            let cpus = table.cpus.len();
            if cpus < 2 || self.borrowed.load(Ordering::Relaxed) != 0 {
                return false;
            }
            table.spins += 1;
            if table.spins > 2 * cpus {
                table.spins = 0;
                return false;
            }
        }
        self.slice();
        true
    }

    /// The tasks that other CPUs are in the middle of.
    pub fn interrupted(&self) -> Vec<TaskId> {
        self.table.lock().cpus.iter().filter_map(|cpu| cpu.interrupted).collect()
    }

    /// Whether another CPU is in the middle of a task: it may be inside a section that must not be pulled away under it.
    pub fn others_interrupted(&self) -> bool {
        self.table.lock().cpus.iter().any(|cpu| cpu.interrupted.is_some())
    }

    /// Restricts a task to the CPUs of a mask, of which one has to exist; it moves when it is switched to next.
    ///
    /// # Errors
    /// `EINVAL` when no CPU of the mask exists.
    pub fn allow(&self, id: TaskId, mask: u64) -> Result<(), Errno> {
        let mut table = self.table.lock();
        let existing = 1_u64.checked_shl(table.cpus.len().max(1) as u32).map_or(ANY_CPU, |bit| bit - 1);
        if mask & existing == 0 {
            return Err(Errno::EINVAL);
        }
        let Some(task) = table.tasks.get_mut(&id) else { return Ok(()) };
        task.allowed = mask;
        let (waits, before) = (task.state == State::Ready, task.cpu);
        if waits && let Some(cpu) = table.cpus.get_mut(before as usize) {
            cpu.ready.retain(|&other| other != id);
            table.enqueue(id);
        }
        Ok(())
    }

    /// Binds the running task to a CPU and goes on there; one that does not exist changes nothing.
    pub fn move_to(&self, me: TaskId, cpu: u32) {
        let mask = 1_u64.checked_shl(cpu).unwrap_or(0);
        if self.allow(me, mask).is_ok() && self.cpu() != cpu {
            self.yield_now();
        }
    }

    /// Runs `body` as a part of the running task, on a CPU; one that does not exist is as good as any.
    pub fn on_cpu<T>(&self, cpu: u32, body: impl FnOnce() -> T) -> T {
        let me = self.current();
        let before = self.table.lock().tasks.get(&me).map_or(ANY_CPU, |task| task.allowed);
        self.move_to(me, cpu);
        let result = body();
        // It was allowed before.
        let _ = self.allow(me, before);
        result
    }

    /// Runs `body` on another CPU's per-CPU memory, as an interrupt there would: between two instructions of what that CPU
    /// does, and without waiting for anything.
    pub fn as_cpu<T>(&self, cpu: u32, body: impl FnOnce() -> T) -> T {
        let kernel = kernel();
        let before = self.cpu();
        self.borrowed.fetch_add(1, Ordering::Relaxed);
        self.cpu.store(cpu, Ordering::Relaxed);
        kernel.platform.select_cpu(cpu);
        let result = body();
        self.cpu.store(before, Ordering::Relaxed);
        kernel.platform.select_cpu(before);
        self.borrowed.fetch_sub(1, Ordering::Relaxed);
        result
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

    /// Switches from the scheduler to what the next CPU has to do; false when none has anything.
    fn run_next(&self, kernel: &Kernel) -> bool {
        let (cpu, id, context, since) = {
            let mut table = self.table.lock();
            let Some((cpu, id)) = table.next(self.cpu()) else { return false };
            let Some(task) = table.tasks.get_mut(&id) else { return true };
            task.cpu = cpu;
            let context = task.context;
            // What was interrupted still has its CPU from before.
            if task.state != State::Running {
                task.state = State::Running;
                table.cpus[cpu as usize].since = kernel.platform.now();
            }
            (cpu, id, context, table.cpus[cpu as usize].since)
        };
        self.since.store(since, Ordering::Relaxed);
        self.cpu.store(cpu, Ordering::Relaxed);
        kernel.platform.select_cpu(cpu);
        self.current.store(id.0, Ordering::Relaxed);
        if let Some(world) = kernel.linux_world() {
            world.task_running(id);
        }
        let spins = self.table.lock().spins;
        kernel.platform.switch(Context(0), context);
        self.current.store(0, Ordering::Relaxed);
        // It may have died while it served another CPU's interrupt.
        if self.borrowed.swap(0, Ordering::Relaxed) != 0 {
            self.cpu.store(cpu, Ordering::Relaxed);
            kernel.platform.select_cpu(cpu);
        }
        if let Some(world) = kernel.linux_world() {
            world.task_running(TaskId(0));
        }
        {
            let mut table = self.table.lock();
            if table.tasks.get(&id).is_some_and(|task| task.state == State::Running) {
                table.cpus[cpu as usize].interrupted = Some(id);
            }
            if table.spins == spins {
                table.spins = 0;
            }
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
                self.enqueue(id);
                true
            }
            _ => false,
        }
    }

    /// Lets a task wait for the CPU it ran on last, or for one that it may run on.
    fn enqueue(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.allowed >> task.cpu & 1 == 0 {
            let cpus = self.cpus.len() as u32;
            task.cpu = (0..cpus).find(|cpu| task.allowed >> cpu & 1 != 0).unwrap_or(0);
        }
        self.cpus[task.cpu as usize].ready.push_back(id);
    }

    /// The CPU with the least to do, the running one last.
    fn idlest(&mut self, cpus: u32, running: u32) -> u32 {
        if self.cpus.is_empty() {
            self.cpus.resize_with(cpus.max(1) as usize, Cpu::default);
        }
        let busy = |cpu: &Cpu, number| cpu.ready.len() + usize::from(cpu.interrupted.is_some() || number == running);
        let idlest = self.cpus.iter().zip(0..).min_by_key(|&(cpu, number)| busy(cpu, number));
        idlest.map_or(0, |(_, number)| number)
    }

    /// Whose turn it is after `last`'s, and what is to be done.
    fn next(&mut self, last: u32) -> Option<(u32, TaskId)> {
        let cpus = self.cpus.len();
        (1..=cpus).map(|step| (last as usize + step) % cpus).find_map(|cpu| {
            let own = &mut self.cpus[cpu];
            let id = own.interrupted.take().or_else(|| own.ready.pop_front()).or_else(|| self.take_over(cpu))?;
            Some((cpu as u32, id))
        })
    }

    /// What waits for a busy CPU and may as well run on `cpu`.
    fn take_over(&mut self, cpu: usize) -> Option<TaskId> {
        let may = |id: &TaskId| self.tasks.get(id).is_some_and(|task| task.allowed >> cpu & 1 != 0);
        self.cpus.iter_mut().filter(|busy| busy.interrupted.is_some()).find_map(|busy| {
            let at = busy.ready.iter().position(may)?;
            busy.ready.remove(at)
        })
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
