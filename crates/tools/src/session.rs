//! One run of one applet.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::flags::Applet;
use crate::getopt::{Getopt, Order, Parsed, UsageError};
use crate::output::Output;
use crate::report::{Fatal, Log, stderr};
use crate::{help, short_name};

/// How a command ended: kmod knows two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Exit status 0.
    Success,
    /// Exit status 1.
    Failure,
}

impl Status {
    /// [`Status::Failure`] where `failed`.
    #[must_use]
    pub const fn failed(failed: bool) -> Status {
        if failed { Status::Failure } else { Status::Success }
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Stop {
    /// With a last message, and exit status 1.
    Fatal(Fatal),
    /// The command line cannot be read.
    Usage(UsageError),
    /// Everything is done (`--help`, `--version`) or said.
    Done(Status),
}

impl From<Fatal> for Stop {
    fn from(fatal: Fatal) -> Stop {
        Stop::Fatal(fatal)
    }
}

impl From<UsageError> for Stop {
    fn from(error: UsageError) -> Stop {
        Stop::Usage(error)
    }
}

/// One run of one applet.
#[derive(Debug)]
pub struct Session {
    /// What runs.
    pub applet: &'static Applet,
    /// `argv[0]` as given, which getopt's messages begin with.
    pub program: OsString,
    /// The arguments behind it; [`Session::options`] takes them away.
    pub arguments: Vec<OsString>,
    /// The name that messages and help begin with: that of the program, without its folder.
    pub name: String,
    /// Messages.
    pub log: Log,
    /// Results.
    pub out: Output,
}

impl Session {
    /// Called as `program` with `arguments`.
    #[must_use]
    pub fn new(applet: &'static Applet, program: OsString, arguments: Vec<OsString>) -> Session {
        let name = String::from_utf8_lossy(short_name(&program)).into_owned();
        let log = Log::new(&name, applet.level);
        Session { applet, program, arguments, name, log, out: Output::new() }
    }

    /// The options of the applet's table; operands may stand between them.
    pub fn options(&mut self) -> Getopt {
        self.options_in(Order::Permute)
    }

    /// The options of the applet's table, read in `order`.
    pub fn options_in(&mut self, order: Order) -> Getopt {
        Getopt::new(self.program.clone(), self.applet.flags, std::mem::take(&mut self.arguments), order)
    }

    /// What `help`, `version`, `syslog`, `verbose` and `quiet` do everywhere.
    ///
    /// # Errors
    /// [`Stop::Done`] after help and version.
    pub fn common(&mut self, option: &Parsed) -> Result<(), Stop> {
        match option.id {
            "help" => {
                self.out.add(help::text(self.applet, &self.name).as_bytes());
                return Err(Stop::Done(Status::Success));
            }
            "version" => {
                self.out.add(help::VERSION.as_bytes());
                return Err(Stop::Done(Status::Success));
            }
            "syslog" => self.log.to_syslog(),
            "verbose" => self.log.raise(),
            "quiet" => self.log.silence(),
            _ => {}
        }
        Ok(())
    }

    /// [`Session::finish`], as an exit code.
    pub fn run(mut self) -> ExitCode {
        match self.finish() {
            Status::Success => ExitCode::SUCCESS,
            Status::Failure => ExitCode::FAILURE,
        }
    }

    /// Called as `name command …` with `arguments`: messages begin with the name, getopt's with the command.
    #[must_use]
    pub fn within(&self, applet: &'static Applet, arguments: Vec<OsString>) -> Session {
        Session {
            applet,
            program: applet.name.into(),
            arguments,
            name: self.name.clone(),
            log: Log::new(&self.name, applet.level),
            out: Output::new(),
        }
    }

    /// Runs it to its end and says what it has to say.
    pub fn finish(&mut self) -> Status {
        let status = match (self.applet.run)(self) {
            Ok(status) | Err(Stop::Done(status)) => status,
            Err(Stop::Fatal(fatal)) => {
                self.log.fatal(&fatal);
                Status::Failure
            }
            Err(Stop::Usage(error)) => {
                stderr(&[&error.line()[..], b"\n"].concat());
                Status::Failure
            }
        };
        self.out.drain();
        status
    }
}
