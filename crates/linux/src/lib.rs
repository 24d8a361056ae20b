//! The Linux kernel we run on: what it has loaded, what it says, what it is told.
//!
//! A [`Kernel`] stands for one running kernel, seen through `/proc`, `/sys` and `/dev`. It loads and unloads modules
//! ([`Kernel::load`], [`Kernel::unload`]), lists them ([`Kernel::modules`]), says what it knows about one of them
//! ([`Kernel::module`]) and what it logged meanwhile ([`Kernel::log`]): the kernel answers a load with one number, and says
//! why only there.
//!
//! The folders can be given ([`Kernel::recorded`]), so that what is read here can be read from a made tree as well. Such a
//! kernel is asked, never told: it refuses to load and unload with [`Errno::NOSYS`].
//!
//! What these files hold is taken for hostile: names are bytes, sizes are limited, and no content makes anything here panic.
//!
//! # What this crate does not do
//!
//! It opens no module file and unpacks none, knows no configuration and no dependency, decides nothing and prints nothing. An
//! error is the kernel's [`Errno`]: which words go with it depends on the tool.
#![forbid(unsafe_code)]

mod act;
mod keys;
mod log;
mod modules;
mod policy;
mod read;
mod sysfs;
mod trace;

use std::path::PathBuf;

use bstr::BString;
pub use rustix::io::Errno;

pub use act::{LoadFlags, UnloadFlags};
pub use keys::{AsymmetricKey, Keys, Variable, parse_keys, variable, variables};
pub use log::{Log, LogStart, Record, RecordFault};
pub use modules::{LineFault, LoadedModule, LoadedModules, parse_modules};
pub use policy::{Compression, Lockdown};
pub use read::{Error, Problem};
pub use sysfs::{InitState, Parameter, Section, State, SysModule};
pub use trace::{Act, ModuleTrace, Traced};

/// Where the files are in which a kernel shows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Where procfs is, `/proc`.
    pub proc: PathBuf,
    /// Where sysfs is, `/sys`.
    pub sys: PathBuf,
    /// Where the devices are, `/dev`.
    pub dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), dev: "/dev".into() }
    }
}

/// A kernel: the running one, or what was kept of one.
#[derive(Debug, Clone)]
pub struct Kernel {
    roots: Roots,
    /// Whether it can be told something, too.
    acts: bool,
}

impl Kernel {
    /// The running kernel, with its files where they always are. Nothing is opened yet.
    pub fn running() -> Self {
        Self { roots: Roots::default(), acts: true }
    }

    /// A kernel whose files are in these folders. It is only read: [`Kernel::load`] and [`Kernel::unload`] refuse with
    /// [`Errno::NOSYS`], because the only kernel they could reach is another one.
    pub fn recorded(roots: Roots) -> Self {
        Self { roots, acts: false }
    }

    /// Where its files are.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The release of the running kernel, as `uname -r` says it (`6.1.0-56-amd64`).
    ///
    /// The one thing that does not come from the given folders, but from uname(2): a sandbox or a `setarch` may have changed
    /// it for this process, and then module folders are to be found under that name.
    pub fn release() -> BString {
        rustix::system::uname().release().to_bytes().into()
    }

    /// The kernel's command line, without its final newline; all of it, also what other programs than the kernel read.
    ///
    /// # Errors
    ///
    /// [`Error`] when `/proc/cmdline` cannot be read, for instance because nothing is mounted there.
    pub fn command_line(&self) -> Result<BString, Error> {
        let mut line = read::attribute(&self.roots.proc.join("cmdline"))?;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok(line)
    }
}
