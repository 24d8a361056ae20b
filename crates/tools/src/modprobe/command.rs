//! Commands of `install` and `remove` lines.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use bstr::{BStr, ByteSlice};
use ferrmod_config::Entry;

use super::Context;
use crate::report::{Level, io_words};
use crate::session::Session;

/// What a command line has for the options of the module.
const OPTIONS: &str = "$CMDLINE_OPTS";

/// The command of a line with the module's options put in.
pub(super) fn with_options(entry: &Entry<'_>, options: &[u8]) -> Vec<u8> {
    entry.value.replace(OPTIONS, options)
}

/// How a command did not work, in words.
pub(super) enum Failure {
    /// It says so itself.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It was not run.
    NotRun,
}

/// Runs a command with the shell. What is to be said about a command that cannot be run is said here.
pub(super) fn run(
    session: &mut Session,
    context: &Context<'_>,
    entry: &Entry<'_>,
    command: &[u8],
    module: &BStr,
) -> Result<(), Failure> {
    let origin = entry.origin;
    if !origin.trusted {
        let text =
            format!("not running the command of {origin}: others may write to that file, or it is of another system");
        session.log.bytes(Level::Error, text.as_bytes());
        return Err(Failure::NotRun);
    }
    // What was printed so far belongs before what the command prints.
    session.out.drain();
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(OsStr::from_bytes(command)).env("MODPROBE_MODULE", OsStr::from_bytes(module));
    if !context.request.inherited.is_empty() {
        shell.env("MODPROBE_OPTIONS", &context.request.inherited);
    }
    match shell.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failure(status)),
        Err(error) => {
            session.log.error(format_args!("could not run /bin/sh: {}", io_words(&error)));
            Err(Failure::NotRun)
        }
    }
}

fn failure(status: ExitStatus) -> Failure {
    match (status.code(), status.signal()) {
        (Some(code), _) => Failure::Code(code),
        (None, Some(signal)) => Failure::Signal(signal),
        (None, None) => Failure::NotRun,
    }
}
