//! Failing allocations on purpose, so that every error path can be walked.

use core::sync::atomic::{AtomicU64, Ordering};

/// Makes one allocation fail: the one whose number (from 1) was asked for.
///
/// Counts every allocation the kernel makes for a module: heap, module memory, per-CPU memory, stacks.
#[derive(Debug, Default)]
pub struct Injection {
    count: AtomicU64,
    fail: AtomicU64,
}

impl Injection {
    /// Starts counting anew; allocation `number` will fail (0: none).
    pub fn arm(&self, number: u64) {
        self.count.store(0, Ordering::Relaxed);
        self.fail.store(number, Ordering::Relaxed);
    }

    /// Counts one allocation; true when it is the one that has to fail.
    pub fn should_fail(&self) -> bool {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        number == self.fail.load(Ordering::Relaxed)
    }

    /// Allocations counted since [`Injection::arm`].
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
