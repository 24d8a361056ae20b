//! Tasks: functions that run beside the module's others.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::{Error, Lock, Result, kernel};

/// Lets the running task sleep.
pub fn sleep(time: Duration) {
    // SAFETY: no requirements.
    unsafe { kernel::ferrmod_sleep(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)) };
}

/// Lets other tasks run.
pub fn yield_now() {
    // SAFETY: no requirements.
    unsafe { kernel::ferrmod_yield() };
}

/// A task that runs a function. Dropping it waits until the function has returned, so that no task outlives its module.
pub struct Task<T> {
    id: i64,
    result: Arc<Lock<Option<T>>>,
    over: bool,
}

struct Start<F, T> {
    body: F,
    result: Arc<Lock<Option<T>>>,
}

unsafe extern "C" fn entry<F: FnOnce() -> T, T>(data: usize) {
    // SAFETY: `spawn` made the box for this one call.
    let start = unsafe { Box::from_raw(data as *mut Start<F, T>) };
    let Start { body, result } = *start;
    let value = body();
    *result.lock() = Some(value);
}

impl<T: Send + 'static> Task<T> {
    /// Makes a task called `name` (15 bytes of it are shown) that runs `body` when it is its turn.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn spawn(name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<Self> {
        spawn(name, body)
    }

    /// Waits for the function's value.
    ///
    /// # Errors
    /// `EOWNERDEAD` when the task was ended by an oops.
    pub fn join(mut self) -> Result<T> {
        self.wait()?;
        let value = self.result.lock().take();
        value.ok_or(Error::EOWNERDEAD)
    }
}

fn spawn<F: FnOnce() -> T + Send + 'static, T: Send + 'static>(name: &str, body: F) -> Result<Task<T>> {
    let result = Arc::new(Lock::new(None));
    let start = Box::into_raw(Box::new(Start { body, result: Arc::clone(&result) }));
    // SAFETY: the name lives during the call; `entry` of these types takes the box, once.
    let returned =
        unsafe { kernel::ferrmod_task_spawn(name.as_ptr(), name.len(), entry::<F, T>, start.expose_provenance()) };
    match Error::check(returned) {
        Ok(id) => Ok(Task { id, result, over: false }),
        Err(error) => {
            // SAFETY: no task was made, so the box is still ours.
            drop(unsafe { Box::from_raw(start) });
            Err(error)
        }
    }
}

impl<T> Task<T> {
    fn wait(&mut self) -> Result {
        if self.over {
            return Ok(());
        }
        self.over = true;
        // SAFETY: no requirements.
        Error::check(unsafe { kernel::ferrmod_task_join(self.id) }.into()).map(|_| ())
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        // A task that an oops has ended needs no waiting for.
        let _ = self.wait();
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_gives_its_value() {
        let task = Task::spawn("adder", || 40 + 2).unwrap();
        assert_eq!(task.join(), Ok(42));
    }

    #[test]
    fn dropping_waits() {
        let done = Arc::new(Lock::new(false));
        let inside = Arc::clone(&done);
        drop(Task::spawn("slow", move || {
            sleep(Duration::from_millis(20));
            *inside.lock() = true;
        }));
        assert!(*done.lock());
    }
}
