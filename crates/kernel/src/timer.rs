//! Timers: what is to be called when.

use alloc::collections::BTreeMap;

use hashbrown::HashMap;

use crate::lock::Lock;
use crate::task::TaskId;
use crate::{Kernel, kernel};

/// What a timer calls when it fires, with the timer's key. Runs on the soft-interrupt task.
pub type Fire = fn(u64);

#[derive(Debug, Default)]
struct Queue {
    by_time: BTreeMap<(u64, u64), (u64, Fire)>,
    by_key: HashMap<u64, (u64, u64)>,
    sequence: u64,
    firing: Option<u64>,
}

/// The pending timers of a kernel. A timer is known by a key: for Linux modules the address of their `timer_list`.
#[derive(Debug, Default)]
pub struct Timers(Lock<Queue>);

impl Timers {
    /// Makes the timer `key` fire at `at` (platform time, ns), whether it was pending or not; whether it was.
    pub fn set(&self, key: u64, at: u64, fire: Fire) -> bool {
        let mut queue = self.0.lock();
        let pending = queue.remove(key);
        queue.sequence += 1;
        let place = (at, queue.sequence);
        queue.by_time.insert(place, (key, fire));
        queue.by_key.insert(key, place);
        pending
    }

    /// Takes the timer back; whether it was pending.
    pub fn cancel(&self, key: u64) -> bool {
        self.0.lock().remove(key)
    }

    /// Whether the timer will fire.
    pub fn is_pending(&self, key: u64) -> bool {
        self.0.lock().by_key.contains_key(&key)
    }

    /// When the timer will fire.
    pub fn due(&self, key: u64) -> Option<u64> {
        self.0.lock().by_key.get(&key).map(|&(at, _)| at)
    }

    /// The timer whose function runs now (and is perhaps blocked).
    pub fn firing(&self) -> Option<u64> {
        self.0.lock().firing
    }

    /// The task that called timers was killed: the one whose function ran is over.
    pub(crate) fn abandon(&self) {
        self.0.lock().firing = None;
    }

    /// When the next timer is due.
    pub fn next(&self) -> Option<u64> {
        self.0.lock().by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// The keys of pending timers that lie in `range`: what a module that goes must not leave behind.
    pub fn within(&self, range: core::ops::Range<u64>) -> usize {
        self.0.lock().by_key.keys().filter(|key| range.contains(*key)).count()
    }

    /// Calls every timer that is due.
    pub fn run(&self, now: u64) {
        loop {
            let (key, fire) = {
                let mut queue = self.0.lock();
                let Some((&place, &(key, fire))) = queue.by_time.first_key_value() else { return };
                if place.0 > now {
                    return;
                }
                queue.remove(key);
                queue.firing = Some(key);
                (key, fire)
            };
            fire(key);
            self.0.lock().firing = None;
        }
    }
}

impl Queue {
    fn remove(&mut self, key: u64) -> bool {
        match self.by_key.remove(&key) {
            Some(place) => {
                self.by_time.remove(&place);
                true
            }
            None => false,
        }
    }
}

impl Kernel {
    /// A task was killed: if it ran timers, the next one that is due gets a new task.
    pub(crate) fn softirq_died(&self, id: TaskId) {
        let mut softirq = self.softirq.lock();
        if *softirq == Some(id) {
            *softirq = None;
            self.timers.abandon();
        }
    }

    /// Makes the task that runs timers ready. It is made at the first call.
    pub(crate) fn wake_softirq(&'static self) {
        let known = *self.softirq.lock();
        match known {
            Some(id) if self.tasks.is_alive(id) => {
                self.tasks.wake(id);
            }
            _ => {
                let made = self.tasks.spawn_service("ksoftirqd/0", softirq_main);
                if let Ok(id) = made {
                    *self.softirq.lock() = Some(id);
                }
            }
        }
    }
}

fn softirq_main() {
    let kernel = kernel();
    loop {
        kernel.timers.run(kernel.platform.now());
        kernel.tasks.block(None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_moves_and_is_taken_back() {
        let timers = Timers::default();
        assert!(!timers.set(1, 100, |_| ()));
        assert!(timers.set(1, 50, |_| ()));
        assert!(!timers.set(2, 60, |_| ()));
        assert_eq!(timers.next(), Some(50));
        timers.run(55);
        assert!(!timers.is_pending(1));
        assert!(timers.is_pending(2));
        assert!(timers.cancel(2));
        assert!(!timers.cancel(2));
        assert_eq!(timers.next(), None);
    }
}
