//! A lock that knows it should never have to wait.
//!
//! The kernel switches tasks only where it says so and never with a lock held, so a lock that is taken twice is a bug: it is
//! reported at once instead of hanging. The count of held locks tells the fault handler whether the kernel's own state was in
//! the middle of a change when module code (or a function called by it) faulted.

use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

static HELD: AtomicU32 = AtomicU32::new(0);

/// The number of locks held now. More than 0 in a fault handler: the kernel's state cannot be trusted any more.
pub fn held() -> u32 {
    HELD.load(Ordering::Relaxed)
}

/// A value that only its holder may touch. See the module's documentation.
#[derive(Debug, Default)]
pub struct Lock<T>(spin::Mutex<T>);

impl<T> Lock<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    /// Takes the lock.
    ///
    /// # Panics
    /// When it is held already, which is a bug in the kernel and never depends on input.
    #[track_caller]
    pub fn lock(&self) -> Guard<'_, T> {
        // Counted before it is taken and until it has been given back, so that a signal in between sees it held.
        let counted = Counted::new();
        match self.0.try_lock() {
            Some(guard) => Guard(guard, counted),
            None => panic!("kernel lock taken twice"),
        }
    }
}

/// Access to a locked value, until dropped.
#[derive(Debug)]
pub struct Guard<'a, T>(spin::MutexGuard<'a, T>, Counted);

/// A lock in the count of those held.
#[derive(Debug)]
struct Counted(());

impl Counted {
    fn new() -> Self {
        HELD.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}
