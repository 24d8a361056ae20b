//! What is decided before a machine boots, and what can go wrong with one.

use std::time::Duration;

use ferrmod_kernel::heap::Checks;

use crate::facts_cache::FactsBytes;
pub use crate::layout::MOST_CPUS;

/// What a machine is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is known about the Linux kernel whose modules are to run; without it only modules written with `sdk` load.
    pub facts: Option<FactsBytes>,
    /// Refuse modules with imports that nobody provides, as Linux does.
    pub strict: bool,
    /// Refuse modules without a valid signature.
    pub signature_enforced: bool,
    /// Names that are never loaded.
    pub blacklist: Vec<Vec<u8>>,
    /// The kernel's command line.
    pub command_line: String,
    /// The number of CPUs, from 1 to [`MOST_CPUS`]. Several take turns on the processor of the host, so that what modules do on
    /// one can be interrupted by what they do on another; with one, every run is the same.
    pub cpus: u32,
    /// The longest a task may keep the processor before it is stopped.
    pub watchdog: Duration,
    /// The longest one request may take; what has not ended then is [`LoadOutcome::TimedOut`]. [`crate::Machine::set_timeout`]
    /// changes it.
    pub timeout: Duration,
    /// How long a machine may be silent beyond its timeout before it is killed.
    pub grace: Duration,
    /// What is found out about the use of heap memory.
    pub checks: Checks,
    /// Fail the allocation of this number, counted from the boot's end.
    pub fail_allocation: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            facts: None,
            strict: false,
            signature_enforced: false,
            blacklist: Vec::new(),
            command_line: String::new(),
            cpus: 1,
            watchdog: Duration::from_secs(2),
            timeout: Duration::from_secs(30),
            grace: Duration::from_secs(4),
            checks: Checks::default(),
            fail_allocation: None,
        }
    }
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadOutcome {
    /// Init has returned 0.
    Loaded,
    /// The module was refused, or its init failed: Linux's error number, positive. The log says why.
    Errno(i32),
    /// It was killed by an oops.
    Oopsed,
    /// It waits for something that nothing will ever do.
    Hung,
    /// It was not done when the time was over.
    TimedOut,
}

/// How something else that module code takes part in ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It is done.
    Done(T),
    /// Linux's error number, positive.
    Errno(i32),
    /// The code was killed by an oops.
    Oopsed,
    /// It waits for something that nothing will ever do.
    Hung,
    /// It was not done when the time was over.
    TimedOut,
}

impl<T> Outcome<T> {
    /// The value, if it is done.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            _ => None,
        }
    }

    /// The same with what `change` makes of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(value) => Outcome::Done(change(value)),
            Self::Errno(errno) => Outcome::Errno(errno),
            Self::Oopsed => Outcome::Oopsed,
            Self::Hung => Outcome::Hung,
            Self::TimedOut => Outcome::TimedOut,
        }
    }
}

/// The machine is gone. Nothing outside of it was touched; make a new one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// The process ended.
    #[error("the machine died: {reason}")]
    Died {
        /// What it said last, or how the process ended.
        reason: String,
    },
    /// It did not answer, and was killed.
    #[error("the machine did not answer for {} ms and was killed", after.as_millis())]
    Hung {
        /// How long it was given.
        after: Duration,
    },
    /// It said something that makes no sense, and was killed.
    #[error("the machine broke the protocol ({what}) and was killed")]
    Protocol {
        /// What was wrong.
        what: &'static str,
    },
    /// What was to be sent does not fit; the machine goes on.
    #[error("this is more than the {room} bytes a machine takes at once")]
    TooLarge {
        /// Bytes there is room for.
        room: usize,
    },
    /// What was asked for cannot be; the machine goes on.
    #[error("{0}")]
    Refused(String),
    /// The kernel answered with an error to something that involves no module.
    #[error("the machine's kernel answered with errno {0}")]
    Errno(i32),
}

/// There is no machine.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The host did not give what a machine needs.
    #[error("cannot make a machine: {what}: {error}")]
    Host {
        /// Which step failed.
        what: &'static str,
        /// What the host said.
        error: std::io::Error,
    },
    /// The kernel inside did not boot.
    #[error("the machine's kernel did not boot: {0}")]
    Kernel(String),
    /// The process ended before it was ready.
    #[error(transparent)]
    Machine(#[from] MachineError),
}
