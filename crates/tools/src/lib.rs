//! The tools that manage modules: a drop-in for kmod.
//!
//! One program answers to many names. [`main()`] looks at the name it was called by (`modprobe`, `/sbin/lsmod`, …), finds the
//! [`Applet`] of that name and runs it; [`applet()`] does the same for `ferrmod modprobe …`. Options, output, messages and exit
//! codes are those of kmod 34.2, so that boot, udev, initramfs builders and people notice nothing but the speed.
//! `docs/kmod-differences.md` lists where we differ on purpose.
//!
//! # How an applet is made
//! 1. A file (or folder) of the applet's name holds `pub(crate) const APPLET: Applet`: name, synopsis, one-line summary,
//!    description and its [`Flag`]s. Parsing, `--help`, the manual page and the completions of three shells are made from this
//!    table and from nothing else.
//! 2. Its `run` is `fn(&mut Session) -> Result<Status, Stop>`:
//!    ```ignore
//!    let mut options = session.options();
//!    while let Some(option) = options.next()? {            // a wrong option ends the applet, getopt's words on stderr
//!        match option.id {
//!            "force" => force = true,                      // `id` is the flag's, whatever the spelling
//!            "field" => field = option.value,              // OsString, there if the flag takes one
//!            _ => session.common(&option)?,                // help, version, syslog, verbose, quiet
//!        }
//!    }
//!    let operands = options.operands();
//!    ```
//!    Results go to `session.out` (a [`Write`](std::io::Write) that is flushed at the end), messages to `session.log`
//!    ([`Log::error`] …), and what kmod calls FATAL is returned: `Err(Fatal::new("…").into())`.
//! 3. One line in the table [`APPLETS`]. An applet is listed when it works and not before.
//!
//! # What this crate does not do
//! It finds no module, orders nothing, reads no format and speaks to no kernel: `index`, `plan`, `image`, `config` and `linux`
//! do. It knows exit codes and kmod's words, and nothing below it does.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

pub mod flags;
mod getopt;
mod output;
mod report;
mod session;

pub mod completions;
mod elf;
mod explain;
mod help;
mod json;
mod load;
pub mod man;

mod depmod;
mod insmod;
mod install_links;
mod kmod;
mod lsmod;
mod modinfo;
mod modprobe;
mod rmmod;
#[cfg(feature = "schema")]
mod schemas;
mod static_nodes;

pub use flags::{Applet, Family, Flag, Operand, Origin, Value};
pub use getopt::{Getopt, Order, Parsed, UsageError};
pub use output::Output;
pub use report::{Fatal, Level, Log, io_words, words};
#[cfg(feature = "schema")]
pub use schemas::{schema_of, schemas};
pub use session::{Session, Status, Stop};

/// Every applet, in the order in which help lists them.
pub static APPLETS: &[&Applet] = &[
    &kmod::APPLET,
    &insmod::APPLET,
    &rmmod::APPLET,
    &lsmod::APPLET,
    &modinfo::APPLET,
    &modprobe::APPLET,
    &depmod::APPLET,
    &install_links::APPLET,
    &completions::APPLET,
];

/// Runs the applet that the program was called as, if there is one of that name.
///
/// `arguments` begins with the name of the program; everything up to its last slash is ignored.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter();
    let program = arguments.next()?;
    let applet = find(short_name(&program), Family::Kmod)?;
    Some(Session::new(applet, program, arguments.collect()).run())
}

/// Runs the applet that a program of another name was called with, if it was: `ferrmod modprobe …`.
///
/// `arguments` begins with the name of the program. A name that the program was called as comes first: see [`main()`].
pub fn dispatch(arguments: &[OsString]) -> Option<ExitCode> {
    let (program, rest) = arguments.split_first()?;
    if let Some(applet) = find(short_name(program), Family::Kmod) {
        return Some(Session::new(applet, program.clone(), rest.to_vec()).run());
    }
    let (name, rest) = rest.split_first()?;
    applet(name, rest.iter().cloned())
}

/// Runs the applet `name` (as in `ferrmod NAME …`) with `arguments`, which do not contain the name.
pub fn applet(name: &OsStr, arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let applet = find(name.as_bytes(), Family::Kmod).or_else(|| find(name.as_bytes(), Family::Own))?;
    Some(Session::new(applet, name.to_owned(), arguments.into_iter().collect()).run())
}

/// The list of applets, for the help of the program that has them as commands.
#[must_use]
pub fn overview() -> String {
    let mut text = String::from("Tools, as commands or by links of these names:\n");
    for applet in APPLETS {
        text.push_str(&format!("  {:14} {}\n", applet.name, applet.summary));
    }
    text
}

/// The applet of this name and family.
fn find(name: &[u8], family: Family) -> Option<&'static Applet> {
    APPLETS.iter().copied().find(|applet| applet.family == family && applet.name.as_bytes() == name)
}

/// What comes after the last slash.
fn short_name(program: &OsStr) -> &[u8] {
    program.as_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}
