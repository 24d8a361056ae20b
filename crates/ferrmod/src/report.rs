//! What a run found, as one value; text, JSON and the exit code are views of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ferrmod_kernel::Errno;
use ferrmod_machine::{AtomicSleep, LoadOutcome, LogLine, MemoryError, ModuleStatus, Outcome, Report};
use serde::Serialize;

use crate::described::Described;
use crate::exit::Exit;
use crate::output::{BAD, DIM, GOOD, HEAD, NOTE};

/// The name and version of the JSON schema (docs/schema/run.md).
const SCHEMA: &str = "ferrmod.run/1";

/// How a load or an unload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "result", rename_all = "lowercase")]
pub(crate) enum Ended {
    /// As wished.
    Ok,
    /// With an error.
    Error {
        /// Linux's number, positive.
        errno: i32,
        /// Its name.
        name: String,
        /// What it means, or what is wrong with the file.
        message: String,
    },
    /// An oops killed the task.
    Oops,
    /// It waits for something that will never come.
    Hung,
    /// It was not done in time.
    Timeout,
    /// The machine itself is gone.
    Died {
        /// Why.
        reason: String,
    },
}

impl Ended {
    pub(crate) fn errno(number: i32) -> Self {
        let errno = Errno(number);
        Self::Error {
            errno: number,
            name: errno.name().map_or_else(|| number.to_string(), str::to_owned),
            message: errno.message().unwrap_or("unknown error").to_owned(),
        }
    }

    /// With an error that something more is known of than what it means.
    pub(crate) fn because(errno: Errno, reason: String) -> Self {
        match Self::errno(errno.0) {
            Self::Error { errno, name, .. } => Self::Error { errno, name, message: reason },
            other => other,
        }
    }

    pub(crate) fn exit(&self, on_error: Exit) -> Exit {
        match self {
            Self::Ok => Exit::Clean,
            Self::Error { .. } => on_error,
            Self::Oops | Self::Hung | Self::Timeout | Self::Died { .. } => Exit::Oops,
        }
    }
}

impl From<LoadOutcome> for Ended {
    fn from(outcome: LoadOutcome) -> Self {
        match outcome {
            LoadOutcome::Loaded => Self::Ok,
            LoadOutcome::Errno(errno) => Self::errno(errno),
            LoadOutcome::Oopsed => Self::Oops,
            LoadOutcome::Hung => Self::Hung,
            LoadOutcome::TimedOut => Self::Timeout,
        }
    }
}

impl From<Outcome<()>> for Ended {
    fn from(outcome: Outcome<()>) -> Self {
        match outcome {
            Outcome::Done(()) => Self::Ok,
            Outcome::Errno(errno) => Self::errno(errno),
            Outcome::Oopsed => Self::Oops,
            Outcome::Hung => Self::Hung,
            Outcome::TimedOut => Self::Timeout,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Error { errno, name, message } => write!(f, "-{errno} ({name}: {message})"),
            Self::Oops => f.write_str("killed by an oops"),
            Self::Hung => f.write_str("waits for something that will never come"),
            Self::Timeout => f.write_str("not done in time"),
            Self::Died { reason } => f.write_str(reason),
        }
    }
}

/// One load.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Load {
    /// The module's name, or what was asked for when it could not be read.
    pub(crate) module: String,
    /// Its file.
    pub(crate) file: String,
    /// Why it was loaded.
    pub(crate) why: String,
    /// Its parameters.
    pub(crate) arguments: String,
    /// It got as far as its init function.
    pub(crate) init_ran: bool,
    /// Another module would have liked to have it; its failure is none of the run's.
    pub(crate) optional: bool,
    /// How it ended.
    #[serde(flatten)]
    pub(crate) ended: Ended,
}

/// One unload.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Unload {
    /// The module's name.
    pub(crate) module: String,
    /// How it ended.
    #[serde(flatten)]
    pub(crate) ended: Ended,
}

/// A record of the log.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Line {
    /// Nanoseconds since boot.
    time: u64,
    /// 0 to 7.
    level: u8,
    /// The text.
    text: String,
}

impl From<&LogLine> for Line {
    fn from(line: &LogLine) -> Self {
        Self { time: line.time, level: line.level, text: line.text.to_string() }
    }
}

/// A loaded module.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) references: i64,
    pub(crate) used_by: Vec<String>,
    pub(crate) taints: String,
    /// Imports bound to stubs.
    pub(crate) deferred: Vec<String>,
}

impl From<&ModuleStatus> for Loaded {
    fn from(status: &ModuleStatus) -> Self {
        Self {
            name: status.name.to_string(),
            size: status.size,
            references: status.references,
            used_by: status.users.iter().map(ToString::to_string).collect(),
            taints: status.taints.clone(),
            deferred: status.deferred.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Everything a run found.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct RunReport {
    pub(crate) schema: &'static str,
    /// The kernel the modules were built for; empty when none of them needs one.
    pub(crate) kernel: String,
    pub(crate) loads: Vec<Load>,
    /// What was loaded before unloading, newest first.
    pub(crate) modules: Vec<Loaded>,
    /// The memory that was taken then.
    pub(crate) memory: HeldMemory,
    /// The described devices, as they were before unloading.
    pub(crate) devices: Vec<Described>,
    pub(crate) unloads: Vec<Unload>,
    /// What was left behind.
    pub(crate) left: Left,
    /// One line each.
    pub(crate) oopses: Vec<String>,
    /// Wrong uses of heap memory; each is one of the oopses, too.
    pub(crate) memory_errors: Vec<Wrong>,
    /// Tasks that slept, or might have, where they must not.
    pub(crate) atomic_sleeps: Vec<Slept>,
    pub(crate) log: Vec<Line>,
    pub(crate) exit_code: u8,
    /// Many modules: their verdict is a sum.
    #[serde(skip)]
    pub(crate) is_many: bool,
}

/// Memory that was taken at some time, in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct HeldMemory {
    /// What the modules' own code and data take.
    pub(crate) modules: u64,
    /// What everybody has taken of the heap.
    pub(crate) heap: u64,
}

/// A wrong use of heap memory.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Wrong {
    /// `out-of-bounds`, `use-after-free`, `double-free` or `invalid-free`.
    kind: String,
    /// The report's first line.
    reason: String,
    /// The address that was written to, read or freed.
    address: u64,
    /// The object it was about.
    object: Option<Object>,
    /// Where it was done; empty when only the change was found, some time later.
    location: String,
    /// The calls that led there, innermost first.
    trace: Vec<String>,
    /// The calls that allocated the object.
    allocated: Option<Calls>,
    /// The calls that freed it.
    freed: Option<Calls>,
}

/// A task that slept, or might have, where it must not.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Slept {
    /// The report's first line.
    reason: String,
    /// Where it was done.
    location: String,
    /// The calls that led there, innermost first.
    trace: Vec<String>,
    /// What forbids it.
    sections: Vec<Section>,
}

/// Something that forbids a task to sleep.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Section {
    /// What the log says of it.
    headline: String,
    /// The calls that led to where it began, innermost first.
    trace: Vec<String>,
}

impl From<&AtomicSleep> for Slept {
    fn from(sleep: &AtomicSleep) -> Self {
        let section =
            |(headline, trace): &(String, Vec<String>)| Section { headline: headline.clone(), trace: trace.clone() };
        Self {
            reason: sleep.reason.clone(),
            location: sleep.location.clone(),
            trace: sleep.trace.clone(),
            sections: sleep.sections.iter().map(section).collect(),
        }
    }
}

impl std::fmt::Display for Slept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.reason, self.location)?;
        for section in &self.sections {
            write!(f, "; {} {}", section.headline, section.trace.first().map_or("", String::as_str))?;
        }
        Ok(())
    }
}

/// A heap object.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Object {
    /// Its first address.
    address: u64,
    /// Bytes asked for.
    size: u64,
}

/// The calls that led to something, innermost first.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Calls {
    /// The number of the task.
    task: u32,
    trace: Vec<String>,
}

impl From<&MemoryError> for Wrong {
    fn from(error: &MemoryError) -> Self {
        let calls = |told: &Option<(u32, Vec<String>)>| {
            told.as_ref().map(|(task, trace)| Calls { task: *task, trace: trace.clone() })
        };
        Self {
            kind: error.kind.clone(),
            reason: error.reason.clone(),
            address: error.address,
            object: error.object.map(|(address, size)| Object { address, size }),
            location: error.location.clone(),
            trace: error.trace.clone(),
            allocated: calls(&error.allocated),
            freed: calls(&error.freed),
        }
    }
}

/// What unloaded modules left behind.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Left {
    /// `kind name (owner)`.
    pub(crate) registrations: Vec<String>,
    /// Bytes of heap memory, and where they were taken.
    pub(crate) bytes: u64,
    pub(crate) allocations: Vec<String>,
    /// Tasks that still exist.
    pub(crate) tasks: Vec<String>,
    /// Timers still set.
    pub(crate) timers: u64,
}

fn owner(name: &Option<bstr::BString>) -> String {
    name.as_ref().map_or_else(|| "a module that is gone".into(), ToString::to_string)
}

impl Left {
    /// From the machine's report after everything was unloaded. What belongs to a module that is still `loaded` is none of it.
    pub(crate) fn of(report: &Report, loaded: &[ModuleStatus]) -> Self {
        let gone = |owner: &Option<bstr::BString>| {
            !owner.as_ref().is_some_and(|owner| loaded.iter().any(|module| module.name == *owner))
        };
        let memory: Vec<_> = report.memory.iter().filter(|memory| gone(&memory.owner)).collect();
        let allocations = memory.iter().flat_map(|memory| {
            memory.allocations.iter().map(|one| {
                format!("{} bytes at {:#x} of {}, taken by {}", one.size, one.address, owner(&memory.owner), one.caller)
            })
        });
        Self {
            registrations: report
                .registrations
                .iter()
                .filter(|one| gone(&one.owner))
                .map(|one| format!("{} {} of {}", one.kind, one.name, owner(&one.owner)))
                .collect(),
            bytes: memory.iter().map(|memory| memory.bytes).sum(),
            allocations: allocations.collect(),
            tasks: report.tasks.iter().filter(|task| !task.service).map(|task| task.name.clone()).collect(),
            timers: report.timers,
        }
    }

    /// A few words for each kind of thing that was left.
    pub(crate) fn in_short(&self) -> Vec<String> {
        let mut words: Vec<String> = self.registrations.iter().map(|one| format!("left registered: {one}")).collect();
        if let Some(first) = self.allocations.first() {
            words.push(format!(
                "left {} bytes in {} allocations, the first {first}",
                self.bytes,
                self.allocations.len()
            ));
        }
        words.extend(self.tasks.iter().map(|task| format!("left running: task {task}")));
        if self.timers > 0 {
            words.push(format!("left {} timers set", self.timers));
        }
        words
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.registrations.is_empty() && self.bytes == 0 && self.tasks.is_empty() && self.timers == 0
    }
}

impl RunReport {
    pub(crate) fn new(kernel: String) -> Self {
        Self { schema: SCHEMA, kernel, ..Self::default() }
    }

    /// The exit code that all of it amounts to: the worst of an oops, a refusal, an error and a leak, in this order.
    pub(crate) fn exit(&self) -> Exit {
        let is_tolerated = |load: &Load| load.optional && matches!(load.ended, Ended::Error { .. });
        let loads = self
            .loads
            .iter()
            .filter(|load| !is_tolerated(load))
            .map(|load| load.ended.exit(if load.init_ran { Exit::ModuleError } else { Exit::Refused }));
        let unloads = self.unloads.iter().map(|unload| unload.ended.exit(Exit::LeftBehind));
        let devices = self.devices.iter().map(Described::exit);
        let mut all: Vec<Exit> = loads.chain(unloads).chain(devices).collect();
        if !self.oopses.is_empty() || !self.atomic_sleeps.is_empty() {
            all.push(Exit::Oops);
        }
        for wanted in [Exit::Oops, Exit::Refused, Exit::ModuleError, Exit::LeftBehind] {
            if all.contains(&wanted) {
                return wanted;
            }
        }
        if self.left.is_nothing() { Exit::Clean } else { Exit::LeftBehind }
    }

    /// The table of what is loaded, as `lsmod` shows it with two columns more.
    pub(crate) fn table(modules: &[Loaded]) -> String {
        let mut out = format!("{HEAD}{:<24} {:>9} {:<6} {}{HEAD:#}\n", "Module", "Size", "Taints", "Used by");
        for module in modules {
            let _ = write!(out, "{:<24} {:>9} {:<6} ", module.name, module.size, module.taints);
            let _ = writeln!(out, "{} {}", module.references, module.used_by.join(","));
        }
        out
    }

    /// How many did what.
    fn sum(&self) -> String {
        let mut refused: BTreeMap<(bool, String), Vec<&str>> = BTreeMap::new();
        for load in self.loads.iter().filter(|load| matches!(load.ended, Ended::Error { .. })) {
            refused.entry((load.init_ran, load.ended.to_string())).or_default().push(&load.module);
        }
        let (loaded, builtin): (Vec<_>, Vec<_>) =
            self.loads.iter().filter(|load| load.ended == Ended::Ok).partition(|load| load.init_ran);
        let unloaded = self.unloads.iter().filter(|unload| unload.ended == Ended::Ok).count();
        let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
        let mut out = format!(
            "{HEAD}{} of {} modules loaded, {unloaded} unloaded{HEAD:#} {DIM}({} MB of code and data, {} MB of heap){DIM:#}\n",
            loaded.len(),
            self.loads.len(),
            megabytes(self.memory.modules),
            megabytes(self.memory.heap),
        );
        let mut line = |what: &str, names: &[&str]| {
            let shown = names.iter().take(4).copied().collect::<Vec<_>>().join(" ");
            let more = if names.len() > 4 { format!(" and {} more", names.len() - 4) } else { String::new() };
            let _ = writeln!(out, "{:>5} {what}: {DIM}{shown}{more}{DIM:#}", names.len());
        };
        if !builtin.is_empty() {
            line("built in", &builtin.iter().map(|load| load.module.as_str()).collect::<Vec<_>>());
        }
        for ((init_ran, ended), names) in refused {
            line(&format!("{} {ended}", if init_ran { "init" } else { "load" }), &names);
        }
        out
    }

    /// The verdict, for people.
    pub(crate) fn verdict(&self) -> String {
        let mut out = String::new();
        if self.is_many {
            out.push_str(&self.sum());
        }
        // What many have in common is in the sum.
        let is_summed = |ended: &Ended| self.is_many && matches!(ended, Ended::Ok | Ended::Error { .. });
        for load in self.loads.iter().filter(|load| !is_summed(&load.ended)) {
            let style = if load.ended == Ended::Ok { GOOD } else { BAD };
            let what = if load.init_ran || load.ended == Ended::Ok { "init" } else { "load" };
            let _ = writeln!(out, "{}: {what} {style}{}{style:#} {DIM}({}){DIM:#}", load.module, load.ended, load.why);
        }
        for device in &self.devices {
            let _ = write!(out, "{device}");
        }
        for unload in self.unloads.iter().filter(|unload| unload.ended != Ended::Ok) {
            let _ = writeln!(out, "{}: unload {BAD}{}{BAD:#}", unload.module, unload.ended);
        }
        for module in self.modules.iter().filter(|module| !self.is_many && !module.deferred.is_empty()) {
            let (names, count) = (&module.deferred, module.deferred.len());
            let shown = names.iter().take(6).map(String::as_str).collect::<Vec<_>>().join(" ");
            let more = if count > 6 { format!(" and {} more", count - 6) } else { String::new() };
            // Calling one is an oops.
            let called = if self.oopses.is_empty() { ", never called" } else { "" };
            let _ = writeln!(out, "{}: {NOTE}{count} imports deferred{NOTE:#}{called}: {shown}{more}", module.name);
        }
        for oops in &self.oopses {
            let _ = writeln!(out, "{BAD}oops{BAD:#}: {oops}");
        }
        for sleep in &self.atomic_sleeps {
            let _ = writeln!(out, "{BAD}slept{BAD:#}: {sleep}");
        }
        for registration in &self.left.registrations {
            let _ = writeln!(out, "{BAD}left registered{BAD:#}: {registration}");
        }
        for allocation in &self.left.allocations {
            let _ = writeln!(out, "{BAD}left allocated{BAD:#}: {allocation}");
        }
        for task in &self.left.tasks {
            let _ = writeln!(out, "{BAD}left running{BAD:#}: task {task}");
        }
        if self.left.timers > 0 {
            let _ = writeln!(out, "{BAD}left set{BAD:#}: {} timers", self.left.timers);
        }
        let exit = self.exit();
        let (style, word) = match exit {
            Exit::Clean => (GOOD, "clean: everything was unloaded and nothing was left behind"),
            Exit::ModuleError => (BAD, "a module's init or a driver's probe returned an error"),
            Exit::Refused => (BAD, "a module was refused, or no driver fits a device"),
            Exit::Oops => (BAD, "a module went wrong; the machine contained it"),
            Exit::LeftBehind => (NOTE, "something was left behind"),
            Exit::Usage => (BAD, "usage"),
        };
        let _ = writeln!(out, "{style}{word}{style:#}");
        out
    }
}
