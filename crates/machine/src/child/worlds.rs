//! The worlds a machine's kernel knows.

use std::sync::atomic::{AtomicU64, Ordering};

use ferrmod_kernel::{Errno, Kernel};

use crate::layout::TICK;

/// Ticks so far.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// Adds the worlds to a kernel that has just been booted.
///
/// # Errors
/// What the world says.
pub(super) fn boot(kernel: &'static Kernel, facts: Option<&'static [u8]>) -> Result<(), String> {
    ferrmod_abi_native::boot(kernel).map_err(|error| error.to_string())?;
    if let Some(facts) = facts {
        ferrmod_abi_linux::boot(kernel, facts).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Mounts a file system of a Linux module.
///
/// # Errors
/// As [`ferrmod_abi_linux::mount`].
pub(super) fn mount(kind: &str, source: &str, target: &str) -> Result<(), Errno> {
    ferrmod_abi_linux::mount(kind, source, target)
}

/// Takes such a mount away.
///
/// # Errors
/// As [`ferrmod_abi_linux::unmount`].
pub(super) fn unmount(target: &str) -> Result<(), Errno> {
    ferrmod_abi_linux::unmount(target)
}

/// Lets time pass up to `now` (the platform's clock): as many ticks as are due, since some are lost while the host runs
/// others, and none come while the machine stands still. Async-signal-safe.
pub(super) fn tick(now: u64) {
    let due = now / TICK;
    for _ in TICKS.fetch_max(due, Ordering::Relaxed)..due {
        ferrmod_abi_linux::tick();
    }
}
