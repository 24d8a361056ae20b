//! The machine: one kernel in a child process, under seccomp.
//!
//! A [`Machine`] is a process that holds one kernel and the modules it loads. The process that boots it is its *supervisor*:
//! it forks the child (no `exec`, so a machine is ready in a millisecond), hands it requests over a socket, and holds the only
//! writable mapping of module text and read-only data. In the child, those have their final permissions before the first
//! module byte arrives; it makes no system call that reaches outside, and its memory is at the same addresses every time.
//!
//! Module code that faults is a signal here, which becomes an oops of the kernel and the end of one task. Code that does not
//! stop is found by the tick. Whatever else happens to the child, the supervisor sees as a value: everything the child sends
//! is checked, every wait has an end, and [`MachineError`] says what became of it.
//!
//! # What this crate does not do
//! It does not read, link or judge modules, knows no exported function, looks nothing up in a tree, and prints nothing. It does
//! not keep a module from reading the memory that the supervisor had when it forked: do not boot machines for modules you
//! distrust in a process that holds secrets.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("a machine runs x86-64 modules in a Linux process");

mod child;
pub mod facts_cache;
mod files;
mod layout;
mod options;
mod packet;
mod protocol;
mod requests;
mod seccomp;
mod shared;
mod supervisor;
mod value;

pub use ferrmod_kernel::LoadFlags;
pub use ferrmod_kernel::hardware::{Description, DescriptionError};
pub use ferrmod_kernel::heap::Checks;

pub use facts_cache::FactsBytes;
pub use options::{BootError, LoadOutcome, MOST_CPUS, MachineError, Options, Outcome};
pub use supervisor::{Fetch, Fetched, LogSink, Machine};
pub use value::{
    Allocation, Argument, AtomicSleep, Called, Device, DeviceReport, LogLine, Memory, MemoryError, ModuleState,
    ModuleStatus, Registration, Report, Task,
};
