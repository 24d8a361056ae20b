//! The drop-in tools without the machine: small enough for an initramfs.
//!
//! The C library calls `main` here, and the runtime of `std` is not started: it reads `/proc/self/maps` and maps a stack for the case that
//! the first one overflows, and that takes an eighth of the time of a short command. Of what it does, the tools need one thing,
//! which [`standard_streams`] does. A broken pipe ends them, as it ends kmod.
#![cfg_attr(target_env = "gnu", no_main)]
#![deny(unsafe_code)]

#[cfg(target_env = "gnu")]
use std::ffi::{c_char, c_int};

/// What the C library calls. `std` gets the arguments from the C library as well.
// SAFETY: the symbol is the C library's for this function, which has the type that C gives it; nothing else here has the name.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the name by which the C library knows it")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    standard_streams();
    c_int::from(ferrmod_tools::main(std::env::args_os()) != Some(std::process::ExitCode::SUCCESS))
}

#[cfg(not(target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    ferrmod_tools::main(std::env::args_os()).unwrap_or(std::process::ExitCode::FAILURE)
}

/// Puts `/dev/null` where a standard stream is closed: else the next file that is opened would be taken for it, and a message be written
/// into an index.
#[cfg(target_env = "gnu")]
fn standard_streams() {
    use rustix::fs::{Mode, OFlags, open};
    use rustix::stdio::{stderr, stdin, stdout};

    for stream in [stdin(), stdout(), stderr()] {
        if rustix::io::fcntl_getfd(stream) == Err(rustix::io::Errno::BADF)
            && let Ok(null) = open("/dev/null", OFlags::RDWR, Mode::empty())
        {
            // It has the lowest number that was free, which is the stream's.
            std::mem::forget(null);
        }
    }
}
