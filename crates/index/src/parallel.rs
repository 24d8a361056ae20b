//! The same work for many things at once.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What `work` answers for each of `items`, in their order, with a thread for each processor.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    with_threads(processors, items, work)
}

/// What `work` answers for each of `items`, in their order, when each first reads a file that may have to come from a disk: with
/// several threads for each processor, so that a disk has something to do while others compute.
pub fn in_parallel_reading<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    /// Four readers already get nine tenths of what a disk of a virtual machine gives, and each holds a file in memory.
    const READERS: usize = 16;
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    with_threads(READERS.max(processors), items, work)
}

/// What `work` answers for each of `items`, in their order, with at most so many threads.
///
/// The calling thread is one of them. Each takes the next item when it is done with one, so one slow item holds up no other.
pub fn with_threads<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::with_capacity(items.len()));
    let worker = || {
        let mut own = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { break };
            own.push((number, work(item)));
        }
        answers.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_unstable_by_key(|&(number, _)| number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        for threads in [0, 1, 2, 7, 2000] {
            let answers = with_threads(threads, &items, |item| {
                if item % 7 == 0 {
                    thread::yield_now();
                }
                item * 2
            });
            assert!(answers.iter().zip(&items).all(|(answer, item)| *answer == item * 2));
            assert_eq!(answers.len(), items.len());
        }
        assert!(in_parallel(&[] as &[u8], |_| ()).is_empty());
    }
}
