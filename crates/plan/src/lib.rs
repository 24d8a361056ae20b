//! What loads, in which order, or why not.
//!
//! [`plan`] takes what somebody asked for — files, names, aliases — and an [`Index`], and answers with a [`Plan`]: every module
//! that has to be loaded, in an order in which each one finds what it needs, with the reason why it is there. Or it
//! answers with a [`Refusal`]: all reasons at once, each with its evidence as data.
//!
//! Whether a module fits a kernel, with all that Linux's loader looks at, is told by [`check`]; what is different between two
//! kernels and their modules by [`diff`]; what needs what, as a picture is made of it, by [`graph`]. What `modprobe` does with a name, in kmod's order and with the administrator's
//! configuration, is in [`kmod`]; by which paths a module can come to be loaded at all, and what blocks each, in [`why`].
//!
//! # What this crate does not do
//!
//! It loads nothing and prints nothing.
#![forbid(unsafe_code)]

pub mod check;
pub mod diff;
pub mod graph;
pub mod kmod;
pub mod policy;
mod reason;
mod request;
mod walk;
pub mod why;

use std::fmt;
use std::path::PathBuf;

pub use ferrmod_index::{FileError, FileProblem, Index};
pub use reason::{Reason, Refusal};
pub use request::Request;
pub use walk::{Needs, needs};

/// The modules to load, in their order.
///
/// Having a `Plan` tells you that every module in it was read and is one by its structure, that what it says it needs comes
/// before it (or is built into the kernel), and that none of them comes twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What loads, the first one first. Empty when all that was asked for is built in.
    pub loads: Vec<Load>,
    /// What was left out, and that is no reason to refuse.
    pub notes: Vec<Note>,
}

/// One module to load.
#[derive(Clone, PartialEq, Eq)]
pub struct Load {
    /// The module's name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// The content of the file, unpacked: what was looked at is what loads, even when the file changes meanwhile.
    pub bytes: Vec<u8>,
    /// Why it is in the plan.
    pub why: Why,
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("bytes", &self.bytes.len())
            .field("why", &self.why)
            .finish()
    }
}

/// Why a module is in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It was asked for.
    Requested {
        /// Which request, counted from 0.
        request: usize,
        /// The alias of the module that matched the name that was asked for, when it is not its name.
        alias: Option<String>,
    },
    /// Another module needs it.
    DependencyOf {
        /// That module.
        module: String,
    },
    /// Another module would like to have it.
    SoftdepOf {
        /// That module.
        module: String,
        /// Whether it is wanted before that module.
        before: bool,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Requested { alias: None, .. } => f.write_str("requested"),
            Why::Requested { alias: Some(alias), .. } => write!(f, "requested by its alias {alias}"),
            Why::DependencyOf { module } => write!(f, "dependency of {module}"),
            Why::SoftdepOf { module, before: true } => write!(f, "softdep of {module}"),
            Why::SoftdepOf { module, before: false } => write!(f, "softdep after {module}"),
        }
    }
}

/// Something that was left out of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The kernel has it built in, so that there is nothing to load.
    Builtin {
        /// The built-in module.
        name: String,
    },
    /// A module would like to have something that is not there.
    SoftdepMissing {
        /// The module.
        module: String,
        /// What it would like to have.
        wanted: String,
    },
    /// A module would like to have something before it that itself needs the module.
    SoftdepCycle {
        /// The module.
        module: String,
        /// What it would like to have.
        wanted: String,
    },
    /// A module would like to have something that cannot be loaded.
    SoftdepRefused {
        /// The module.
        module: String,
        /// Why it cannot.
        reason: Box<Reason>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Builtin { name } => write!(f, "{name} is built into the kernel"),
            Note::SoftdepMissing { module, wanted } => {
                write!(f, "{module} would like to have {wanted}, which is not there")
            }
            Note::SoftdepCycle { module, wanted } => {
                write!(f, "{module} would like to have {wanted} first, which itself needs {module}")
            }
            Note::SoftdepRefused { module, reason } => {
                write!(f, "{module} does without a softdep: {reason}")
            }
        }
    }
}

/// What a plan is to take into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether modules also get what they would only like to have (`softdep`).
    pub softdeps: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { softdeps: true }
    }
}

/// Plans to load `requests`, in this order as far as their dependencies allow.
///
/// Names and dependencies are looked for among the requested files first, then in `index`, and dependencies at last in the
/// folder of the file that needs them.
///
/// # Errors
/// Every reason that was found why this cannot be done.
pub fn plan(requests: &[Request], index: Option<&Index>, options: Options) -> Result<Plan, Refusal> {
    walk::Walk::new(index, options).plan(requests)
}
