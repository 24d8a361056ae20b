//! Bringing the native world up in a kernel that has booted.

use ferrmod_kernel::{Errno, Kernel};

use crate::export;
use crate::world::NativeWorld;

/// Why the native world did not come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// The text region is too small.
    #[error("no room for the bridges to the functions for Rust modules: {0:?}")]
    Memory(Errno),
    /// It is up already.
    #[error("the native world is up already")]
    Twice,
}

static WORLD: NativeWorld = NativeWorld;

/// Makes `kernel` take modules written in Rust with `ferrmod-sdk`.
///
/// # Errors
/// [`BootError`]; the kernel runs on without a native world.
pub fn boot(kernel: &'static Kernel) -> Result<(), BootError> {
    if export::is_up() {
        return Err(BootError::Twice);
    }
    export::begin(kernel).map_err(BootError::Memory)?;
    kernel.add_world(&WORLD);
    Ok(())
}
