//! The worlds a machine's kernel knows.

use ferrmod_kernel::Kernel;

/// Adds the worlds to a kernel that has just been booted.
///
/// # Errors
/// What the world says.
pub(super) fn boot(kernel: &'static Kernel, facts: Option<&'static [u8]>) -> Result<(), String> {
    match facts {
        Some(facts) => ferrmod_abi_linux::boot(kernel, facts).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// Lets time pass: called every 4 ms while something runs. Async-signal-safe.
pub(super) fn tick() {
    ferrmod_abi_linux::tick();
}
