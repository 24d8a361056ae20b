//! The commands of Ferrmod.
//!
//! `ferrmod run` loads an unmodified kernel module into a kernel of our own, in a child process, and says what happened;
//! `ferrmod console` is that machine's console; `ferrmod` alone shows what there is to see. Each command is a thin reading of
//! its arguments over the library rooms: `index` finds modules, `plan` orders them, `machine` runs them.
//!
//! The tools that manage modules (`ferrmod modprobe`, or a link of that name) are those of `ferrmod_tools`; they are found before
//! anything here is looked at.
//!
//! # What this crate does not do
//! It decides nothing about modules. Everything it prints is a view of a value that another room made.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub mod audit;
pub mod check;
pub mod cli;
mod console;
mod demo;
mod described;
mod devices;
pub mod diff;
mod exit;
pub mod firmware;
pub mod graph;
mod kernel_image;
mod output;
pub mod policy;
mod replace;
mod report;
mod run;
#[cfg(feature = "schema")]
pub mod schemas;
mod session;
pub mod sign;
mod survey;
pub mod top;
mod tree;
pub mod verify;
pub mod why;

use cli::{Cli, Command};
use exit::Exit;

/// Runs the command line `arguments` (the program's name first).
///
/// Called as one of kmod's names, or with one of them as its command, it is that tool, and nothing else is set up.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(code) = ferrmod_tools::dispatch(&arguments) {
        return code;
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not mistakes. Nobody is left to tell when even this cannot be printed.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Clean.into() };
        }
    };
    let result = match cli.command {
        None => demo::demo(),
        Some(Command::Run(run)) => run::run(&run),
        Some(Command::Console(console)) => console::console(&console),
        Some(Command::Audit(args)) => audit::audit(&args),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Diff(args)) => diff::run(&args),
        Some(Command::Why(args)) => why::why(&args),
        Some(Command::Graph(args)) => graph::run(&args),
        Some(Command::Top(args)) => top::top(&args),
        Some(Command::Verify(args)) => verify::verify(&args),
        Some(Command::Sign(args)) => sign::sign(&args),
        Some(Command::Policy(args)) => policy::policy(&args),
        Some(Command::Survey(args)) => survey::survey(&args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            anstream::eprintln!("ferrmod: {}", output::harmless(&failure.to_string()));
            failure.exit().into()
        }
    }
}
