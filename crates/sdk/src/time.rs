//! Time and randomness.

use core::time::Duration;

use crate::kernel;

/// The time since the kernel was booted.
pub fn now() -> Duration {
    // SAFETY: no requirements.
    Duration::from_nanos(unsafe { kernel::ferrmod_now() })
}

/// The time since 1970-01-01 UTC.
pub fn wall_clock() -> Duration {
    // SAFETY: no requirements.
    Duration::from_nanos(unsafe { kernel::ferrmod_wall_clock() })
}

/// Fills a buffer with random bytes.
pub fn fill_random(buffer: &mut [u8]) {
    // SAFETY: the buffer is ours during the call.
    unsafe { kernel::ferrmod_random(buffer.as_mut_ptr(), buffer.len()) };
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill_random(&mut bytes);
    bytes
}
