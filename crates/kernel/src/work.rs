//! Deferred work: queues of functions that worker tasks call.
//!
//! A worker takes the next item whose queue may run one more; when every worker is blocked and work waits, another worker is
//! made. An item is known by a key: for Linux modules the address of its `work_struct`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use crate::lock::Lock;
use crate::task::{ANY_CPU, TaskId};
use crate::text::Errno;
use crate::{Kernel, kernel};

/// What a work item calls, with its key.
pub type Run = fn(u64);

/// The number of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

#[derive(Debug)]
struct Queue {
    name: String,
    limit: usize,
    running: usize,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    key: u64,
    queue: QueueId,
    run: Run,
    /// The CPU it has to run on.
    cpu: Option<u32>,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<QueueId, Queue>,
    pending: VecDeque<Item>,
    running: Vec<(TaskId, Item)>,
    idle: Vec<TaskId>,
    workers: usize,
    /// A worker was called and has not come yet.
    called: bool,
}

/// More workers than this are never made; work waits then.
const MOST_WORKERS: usize = 256;

/// All work queues of a kernel.
#[derive(Debug, Default)]
pub struct WorkQueues(Lock<State>);

impl WorkQueues {
    /// Adds a queue that runs at most `limit` items at once (0: as many as there are workers).
    pub fn add_queue(&self, id: QueueId, name: &str, limit: usize) {
        let limit = if limit == 0 { usize::MAX } else { limit };
        self.0.lock().queues.insert(id, Queue { name: name.into(), limit, running: 0 });
    }

    /// Removes a queue; its pending items are dropped (the caller has drained it).
    pub fn remove_queue(&self, id: QueueId) {
        let mut state = self.0.lock();
        state.queues.remove(&id);
        state.pending.retain(|item| item.queue != id);
    }

    /// The name of a queue.
    pub fn queue_name(&self, id: QueueId) -> Option<String> {
        self.0.lock().queues.get(&id).map(|queue| queue.name.clone())
    }

    /// Puts `key` on a queue unless it is pending already; whether it was put.
    ///
    /// # Errors
    /// `ENOMEM` when no worker can be made and none exists; `EINVAL` when there is no such queue.
    pub fn enqueue(&self, queue: QueueId, key: u64, run: Run) -> Result<bool, Errno> {
        self.enqueue_on(None, queue, key, run)
    }

    /// As [`WorkQueues::enqueue`], for a certain CPU.
    ///
    /// # Errors
    /// As there.
    pub fn enqueue_on(&self, cpu: Option<u32>, queue: QueueId, key: u64, run: Run) -> Result<bool, Errno> {
        {
            let mut state = self.0.lock();
            if !state.queues.contains_key(&queue) {
                return Err(Errno::EINVAL);
            }
            if state.pending.iter().any(|item| item.key == key) {
                return Ok(false);
            }
            state.pending.push_back(Item { key, queue, run, cpu });
        }
        self.call_worker()?;
        Ok(true)
    }

    fn call_worker(&self) -> Result<(), Errno> {
        let (idle, workers) = {
            let mut state = self.0.lock();
            if state.called {
                return Ok(());
            }
            (state.idle.pop(), state.workers)
        };
        if let Some(worker) = idle {
            self.0.lock().called = true;
            kernel().tasks.wake(worker);
            return Ok(());
        }
        if workers >= MOST_WORKERS {
            return Ok(());
        }
        let mut name = String::from("kworker/0:");
        let _ = core::fmt::Write::write_fmt(&mut name, format_args!("{workers}"));
        kernel().tasks.spawn_service(&name, worker_main)?;
        let mut state = self.0.lock();
        state.workers += 1;
        state.called = true;
        Ok(())
    }

    /// Takes a pending item back; whether it was pending.
    pub fn cancel(&self, key: u64) -> bool {
        let mut state = self.0.lock();
        let before = state.pending.len();
        state.pending.retain(|item| item.key != key);
        state.pending.len() != before
    }

    /// Whether the item waits to run.
    pub fn is_pending(&self, key: u64) -> bool {
        self.0.lock().pending.iter().any(|item| item.key == key)
    }

    /// Whether the item waits or runs.
    pub fn is_busy(&self, key: u64) -> bool {
        let state = self.0.lock();
        state.pending.iter().any(|item| item.key == key) || state.running.iter().any(|(_, item)| item.key == key)
    }

    /// Whether a queue has items waiting or running.
    pub fn queue_is_busy(&self, id: QueueId) -> bool {
        let state = self.0.lock();
        state.pending.iter().any(|item| item.queue == id) || state.running.iter().any(|(_, item)| item.queue == id)
    }

    /// The item the task runs as a worker.
    pub fn running_on(&self, task: TaskId) -> Option<u64> {
        self.0.lock().running.iter().find(|(worker, _)| *worker == task).map(|(_, item)| item.key)
    }

    /// Whether [`WorkQueues::flush`] would block the running task now.
    pub fn must_wait(&self, key: u64) -> bool {
        // A worker that flushes its own item would wait for ever; Linux warns and goes on.
        self.is_busy(key) && self.running_on(kernel().tasks.current()) != Some(key)
    }

    /// Blocks the running task until the item neither waits nor runs. True when it had to wait.
    pub fn flush(&self, key: u64) -> bool {
        let mut waited = false;
        while self.must_wait(key) {
            waited = true;
            kernel().tasks.block(None, Some(key));
        }
        waited
    }

    /// Blocks the running task until a queue is empty.
    pub fn flush_queue(&self, id: QueueId) {
        while self.queue_is_busy(id) {
            kernel().tasks.block(None, Some(id.0));
        }
    }

    fn next(&self, worker: TaskId) -> Option<Item> {
        let item = self.take(worker)?;
        if !self.0.lock().pending.is_empty() {
            // Should this item block, the next one must not wait for it. Without memory it does.
            let _ = self.call_worker();
        }
        Some(item)
    }

    fn take(&self, worker: TaskId) -> Option<Item> {
        let mut state = self.0.lock();
        let state = &mut *state;
        state.called = false;
        let position = state.pending.iter().position(|item| {
            // The same item never runs twice at once.
            state.queues.get(&item.queue).is_some_and(|queue| queue.running < queue.limit)
                && !state.running.iter().any(|(_, other)| other.key == item.key)
        });
        let Some(item) = position.and_then(|position| state.pending.remove(position)) else {
            state.idle.push(worker);
            return None;
        };
        if let Some(queue) = state.queues.get_mut(&item.queue) {
            queue.running += 1;
        }
        state.running.push((worker, item));
        Some(item)
    }

    fn finished(&self, worker: TaskId, item: Item) {
        {
            let mut state = self.0.lock();
            state.running.retain(|(task, _)| *task != worker);
            if let Some(queue) = state.queues.get_mut(&item.queue) {
                queue.running -= 1;
            }
        }
        kernel().tasks.wake_channel(item.key, usize::MAX);
        kernel().tasks.wake_channel(item.queue.0, usize::MAX);
    }

    /// A worker was killed while it ran an item: the item is over and the worker gone.
    pub(crate) fn worker_died(&self, worker: TaskId) {
        let item = self.0.lock().running.iter().find(|(task, _)| *task == worker).map(|(_, item)| *item);
        if let Some(item) = item {
            self.0.lock().workers -= 1;
            self.finished(worker, item);
        }
    }
}

fn worker_main() {
    let kernel: &Kernel = kernel();
    let me = kernel.tasks.current();
    loop {
        while let Some(item) = kernel.work.next(me) {
            if let Some(cpu) = item.cpu {
                kernel.tasks.move_to(me, cpu);
            }
            (item.run)(item.key);
            if item.cpu.is_some() {
                // Every CPU of this mask exists.
                let _ = kernel.tasks.allow(me, ANY_CPU);
            }
            kernel.work.finished(me, item);
        }
        kernel.tasks.block(None, None);
    }
}
