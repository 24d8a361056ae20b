//! Exit codes, and the failures that lead to them.

use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything loaded, ran and left nothing behind.
    Clean = 0,
    /// A module's init returned an error.
    ModuleError = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A module was refused, or could not be found.
    Refused = 3,
    /// A module oopsed, or the watchdog ended it.
    Oops = 4,
    /// Something was left behind.
    LeftBehind = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the host said.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no tree of modules.
    #[error("{0}")]
    Tree(String),
    /// What was asked for cannot be loaded.
    #[error("{0}")]
    Refused(String),
    /// The image of the kernel a module was built for is not at hand.
    #[error(
        "no image of kernel {release} (looked for {}); it comes with the package linux-image-{release}, or name it with --kernel IMAGE",
        tried.join(", ")
    )]
    NoKernel {
        /// The release.
        release: String,
        /// Where it was looked for.
        tried: Vec<String>,
    },
    /// There is no machine.
    #[error(transparent)]
    Boot(#[from] ferrmod_machine::BootError),
    /// The machine is gone.
    #[error(transparent)]
    Machine(#[from] ferrmod_machine::MachineError),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Standard output or input failed.
    #[error("{0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// What was named as a module's file is none.
    pub(crate) fn no_module(path: &std::path::Path) -> Self {
        let reason = if path.exists() { "neither a regular file nor a folder" } else { "no such file" };
        Self::Content { path: path.display().to_string(), reason: reason.to_owned() }
    }

    /// The exit code it leads to.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Machine(_) => Exit::Oops,
            _ => Exit::Refused,
        }
    }
}
