//! The command line, as data: help, man pages and parsing come from here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ferrmod_machine::{Checks, MOST_CPUS};

/// Kernel modules: what they are, whether they load, and what happens when they run.
///
/// Without a command, a machine is booted and example modules show what there is to see.
#[derive(Debug, Parser)]
#[command(name = "ferrmod", version, disable_help_subcommand = true, after_help = ferrmod_tools::overview())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "what a command is for is told of its arguments, and --help prints that")]
pub enum Command {
    Run(Run),
    Console(Console),
    Check(crate::check::Check),
    Diff(crate::diff::Diff),
    Audit(crate::audit::AuditArgs),
    Why(crate::why::Why),
    Graph(crate::graph::GraphArgs),
    Top(crate::top::Top),
    Verify(crate::verify::Verify),
    Sign(crate::sign::Sign),
    Policy(crate::policy::PolicyArgs),
    Survey(Survey),
}

/// Load modules into a kernel of our own, let them run, unload them, and say what happened.
///
/// MODULE is a file, or a name or alias that is looked up in a tree of modules. What it depends on is loaded first. The kernel
/// log is printed as it happens, then what is loaded, then everything is unloaded in reverse order, then the verdict.
///
/// The kernel runs in a child process that can touch nothing outside of itself: no root is needed, and no virtual machine.
///
/// With --all or --from, many modules are loaded into one machine and stay there until all are unloaded; those that refuse or go
/// wrong are counted, and the log goes into the document of --json only.
///
/// With --device, devices are there before the modules are. What their drivers answer is told; for a device that nobody has taken
/// then, the modules that the tree names for it are loaded.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Run {
    /// A module: a file, a name or an alias.
    #[arg(value_name = "MODULE", required_unless_present_any = ["device", "all", "from"])]
    pub module: Option<OsString>,
    /// Its parameters.
    #[arg(value_name = "NAME=VALUE")]
    pub parameters: Vec<OsString>,
    /// More modules, each with its parameters and each after another `--`.
    #[arg(last = true, value_name = "MODULE [NAME=VALUE]...")]
    pub more: Vec<OsString>,
    /// Every module of the tree, each behind what it needs.
    #[arg(long, conflicts_with_all = ["module", "more", "from", "keep"])]
    pub all: bool,
    /// The modules of a list, a line each: a file, its path in the tree, or a name or alias, and its parameters; `-` is standard
    /// input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["module", "more", "keep"])]
    pub from: Option<PathBuf>,
    /// Load no soft dependencies and answer no module's request for another, as on a system without modprobe.
    #[arg(long)]
    pub no_modprobe: bool,
    /// What both commands take.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Print one JSON document instead of text (schema: docs/schema/run.md).
    #[arg(long)]
    pub json: bool,
    /// Stop before unloading, and open the console.
    #[arg(long, conflicts_with = "json")]
    pub keep: bool,
}

/// The console of a machine.
///
/// Commands are read from SCRIPT, or from standard input. `help` lists them.
#[derive(Debug, Args)]
pub struct Console {
    /// A file of console commands; the first one that fails ends it.
    pub script: Option<PathBuf>,
    /// What both commands take.
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// Look at every module of a tree, each in a machine of its own.
///
/// A module is loaded behind its dependencies, everything is unloaded again, and what came of it is told: a table by family, and a
/// line for each module that went wrong, left something behind, or did not do what a recording says.
#[derive(Debug, Args)]
#[command(after_help = SURVEY_EXIT_CODES)]
pub struct Survey {
    /// Only modules with one of these in their path in the tree.
    #[arg(value_name = "PART")]
    pub only: Vec<String>,
    /// The tree of modules: a folder with lib/modules in it, or a modules folder itself [default: the running kernel's].
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// The kernel: a release in the tree, or its image (vmlinuz or vmlinux).
    #[arg(long, value_name = "RELEASE|IMAGE")]
    pub kernel: Option<OsString>,
    /// Compare with a recording: lines of path, init and exit (`ok`, the name of an errno, or `-`), between tabs.
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// How many machines run at a time [default: one a processor].
    #[arg(long, value_name = "N")]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Load no soft dependencies and answer no module's request for another, as in a guest without modprobe.
    #[arg(long)]
    pub no_modprobe: bool,
    /// A line for each module.
    #[arg(long)]
    pub all: bool,
    /// Print one JSON document instead of text (schema: docs/schema/survey.md).
    #[arg(long)]
    pub json: bool,
    /// Also write a page about what is not as it should be.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// The number of CPUs. With several, what modules do on one is interrupted by what they do on another, as on a real machine;
    /// with one, every run is the same.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MOST_CPUS.into()))]
    pub cpus: u32,
    /// What is looked for in the use of heap memory.
    #[command(flatten)]
    pub heap: HeapArgs,
    /// How long a load or an unload may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub timeout: Duration,
}

/// How a machine is made.
#[derive(Clone, Debug, Default, Args)]
pub struct MachineArgs {
    /// The tree of modules: a folder with lib/modules in it, or a modules folder itself [default: the running kernel's].
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// The kernel: a release in the tree, or its image (vmlinuz or vmlinux).
    #[arg(long, value_name = "RELEASE|IMAGE")]
    pub kernel: Option<OsString>,
    /// Refuse modules with imports that nobody provides, as Linux does.
    #[arg(long)]
    pub strict: bool,
    /// The number of CPUs. With several, what modules do on one is interrupted by what they do on another, as on a real machine;
    /// with one, every run is the same.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MOST_CPUS.into()))]
    pub cpus: u32,
    /// What is looked for in the use of heap memory.
    #[command(flatten)]
    pub heap: HeapArgs,
    /// How long a load or an unload may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub timeout: Duration,
    /// A device for the drivers, with settings after commas: platform:NAME, i2c:lm75@0x48,temp=23500, pci:8086:10d3,bar0=128K or
    /// pci:1234:11e8, which is QEMU's edu, hid:0003:046d:c00e,report=mouse, usb:046d:c077,interface=030102, virtio:4 (docs/run.md
    /// has all of it). Can be given more than once.
    #[arg(long, value_name = "BUS:WHAT[,KEY=VALUE]...", value_parser = described)]
    pub device: Vec<Description>,
}

/// A description of a device.
#[derive(Clone, Debug)]
pub struct Description {
    /// As it was given.
    pub given: String,
    /// With the bytes of the files that it names, which are read once: not everything can be read again.
    pub(crate) whole: String,
}

/// A description of a device, once it is known to be one.
fn described(text: &str) -> Result<Description, String> {
    let whole = crate::described::with_files(text).map_err(|failure| failure.to_string())?;
    whole.parse::<ferrmod_machine::Description>().map_err(|error| error.to_string())?;
    Ok(Description { given: text.to_owned(), whole: whole.into_owned() })
}

/// What is looked for in the use of heap memory.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct HeapArgs {
    /// Give every heap object pages of its own, so that an access beside it or after it was freed is an oops at once.
    #[arg(long)]
    pub kasan: bool,
    /// Do not look for writes beside heap objects and into freed ones.
    #[arg(long, conflicts_with = "kasan")]
    pub no_heap_checks: bool,
}

impl From<HeapArgs> for Checks {
    fn from(args: HeapArgs) -> Self {
        match args {
            HeapArgs { kasan: true, .. } => Self::Pages,
            HeapArgs { no_heap_checks: true, .. } => Self::Off,
            HeapArgs { .. } => Self::Zones,
        }
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  clean
  1  a module's init returned an error, or every driver that was offered a device did
  2  usage
  3  a module was refused or not found, or no driver fits a device
  4  oops, watchdog, or a task that slept where it must not
  5  something was left behind";

const SURVEY_EXIT_CODES: &str = "\
Exit codes:
  0  every module did what is recorded; without a recording: none went wrong or left something behind
  1  a module did something else than is recorded
  2  usage
  3  there is no tree or no kernel
  4  a module went wrong: oops, watchdog, or a task that slept where it must not
  5  something was left behind";

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))?;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err("a time between 0.001 and 86400 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// One module and its parameters as asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// A file, a name or an alias.
    pub module: OsString,
    /// Its parameters, joined by spaces.
    pub arguments: Vec<u8>,
}

impl Run {
    /// The modules asked for, in order.
    pub fn requests(&self) -> Vec<Request> {
        let mut requests: Vec<Request> = self.module.iter().map(|module| request(module, &self.parameters)).collect();
        for group in self.more.split(|word| word == "--") {
            if let Some((module, parameters)) = group.split_first() {
                requests.push(request(module, parameters));
            }
        }
        requests
    }
}

/// A module and its parameters.
pub(crate) fn request(module: &OsString, parameters: &[OsString]) -> Request {
    use std::os::unix::ffi::OsStrExt;
    let words: Vec<&[u8]> = parameters.iter().map(|word| word.as_bytes()).collect();
    Request { module: module.clone(), arguments: words.join(&b' ') }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(words: &[&str]) -> Run {
        match Cli::try_parse_from(words).unwrap().command {
            Some(Command::Run(run)) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn modules_are_split_at_double_dashes() {
        let run = run_of(&["ferrmod", "run", "--strict", "a", "x=1", "y=2", "--", "b", "--", "c", "z"]);
        assert!(run.machine.strict);
        let requests = run.requests();
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[0], Request { module: "a".into(), arguments: b"x=1 y=2".to_vec() });
        assert_eq!(requests[1], Request { module: "b".into(), arguments: Vec::new() });
        assert_eq!(requests[2], Request { module: "c".into(), arguments: b"z".to_vec() });
    }

    #[test]
    fn many_modules_are_asked_for_in_one_way() {
        for many in [&["--all"][..], &["--from", "list"]] {
            for more in [&["crc7"][..], &["--", "crc7"]] {
                let words = [&["ferrmod", "run"], many, more].concat();
                assert!(Cli::try_parse_from(&words).is_err(), "{words:?}");
            }
        }
    }

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_checked() {
        for bad in ["0", "-1", "nan", "inf", "1e9", "x", ""] {
            assert!(Cli::try_parse_from(["ferrmod", "run", "a", "--timeout", bad]).is_err(), "{bad}");
        }
    }
}
