//! A machine, our own modules in C and those of the tree, and what the kernel says meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrmod_image::compress::decompress;
use ferrmod_machine::{LoadFlags, LoadOutcome, Machine, Options, Outcome, Report, facts_cache};
use ferrmod_tests::corpus::{self, Tree, own_module_or_skip, tree_or_skip};

/// More than any module has.
const LARGEST: usize = 64 << 20;

/// A line of the kernel log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) level: u8,
    pub(crate) text: String,
}

/// See the module's documentation.
pub(crate) struct Stage {
    pub(crate) machine: Machine,
    tree: Tree,
    log: Arc<Mutex<Vec<Said>>>,
}

impl Stage {
    /// A machine for modules of 6.1; `None` without the corpus or our own modules.
    pub(crate) fn open() -> Option<Self> {
        Self::open_with(|_| ())
    }

    /// The same, with other options.
    pub(crate) fn open_with(change: impl FnOnce(&mut Options)) -> Option<Self> {
        let tree = tree_or_skip("6.1")?;
        own_module_or_skip("base")?;
        let facts = facts_cache::open(&tree.vmlinuz).unwrap_or_else(|error| panic!("{error}"));
        let mut options = Options { facts: Some(facts), timeout: Duration::from_secs(20), ..Options::default() };
        change(&mut options);
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&log);
        let loud = std::env::var_os("FERRMOD_LOG").is_some();
        let machine = Machine::boot(
            options,
            Box::new(move |line| {
                if loud {
                    eprintln!("<{}> {}", line.level, line.text);
                }
                sink.lock().unwrap().push(Said { level: line.level, text: line.text.to_string() });
            }),
            Box::new(|_| None),
        );
        Some(Self { machine: machine.unwrap_or_else(|error| panic!("{error}")), tree, log })
    }

    /// The bytes of one of our own modules, else of a module of the tree.
    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        let path =
            corpus::own_module(name).or_else(|| self.tree.file(name)).unwrap_or_else(|| panic!("no module {name}"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        decompress(&bytes, LARGEST).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_owned()
    }

    /// Loads a module.
    pub(crate) fn load(&mut self, name: &str, arguments: &str) -> LoadOutcome {
        self.load_with(name, arguments, LoadFlags::empty())
    }

    /// Loads a module by force.
    pub(crate) fn load_with(&mut self, name: &str, arguments: &str, flags: LoadFlags) -> LoadOutcome {
        let file = self.file(name);
        self.machine.load(&file, arguments.as_bytes(), flags).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Unloads a module; 0 or the negative errno.
    pub(crate) fn unload(&mut self, name: &str) -> i64 {
        self.unload_with(name, false)
    }

    /// Unloads a module, perhaps by force; 0 or the negative errno.
    pub(crate) fn unload_with(&mut self, name: &str, force: bool) -> i64 {
        match self.machine.unload(name.as_bytes(), force).unwrap_or_else(|error| panic!("{name}: {error}")) {
            Outcome::Done(()) => 0,
            Outcome::Errno(errno) => -i64::from(errno),
            other => panic!("{name}: {other:?}"),
        }
    }

    /// The content of a file of the machine; the negative errno when there is none.
    pub(crate) fn read(&mut self, path: &str) -> Result<String, i64> {
        match self.machine.read_file(path).unwrap_or_else(|error| panic!("{path}: {error}")) {
            Outcome::Done(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Outcome::Errno(errno) => Err(-i64::from(errno)),
            other => panic!("{path}: {other:?}"),
        }
    }

    /// The names of the loaded modules, newest first.
    pub(crate) fn modules(&mut self) -> Vec<String> {
        self.machine.list().unwrap().iter().map(|module| module.name.to_string()).collect()
    }

    /// What is registered, allocated and running.
    pub(crate) fn report(&mut self) -> Report {
        self.machine.report().unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the kernel has said since the last question.
    pub(crate) fn said(&self) -> Vec<Said> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    /// The same as one text.
    pub(crate) fn text(&self) -> String {
        self.said().into_iter().map(|line| line.text + "\n").collect()
    }
}

/// The errno of a load as the recordings have it: 0 or negative.
pub(crate) fn number(outcome: LoadOutcome) -> i64 {
    match outcome {
        LoadOutcome::Loaded => 0,
        LoadOutcome::Errno(errno) => -i64::from(errno),
        other => panic!("{other:?}"),
    }
}

/// What a gone module left in the machine; nothing, mostly.
pub(crate) fn left(report: &Report) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(report.registrations.iter().map(|one| format!("{} {}", one.kind, one.name)));
    for memory in &report.memory {
        let from: Vec<&str> = memory.allocations.iter().map(|one| one.caller.as_str()).collect();
        left.push(format!("{} bytes from {from:?}", memory.bytes));
    }
    left.extend(report.tasks.iter().filter(|task| !task.service).map(|task| format!("task {}", task.name)));
    if report.timers != 0 {
        left.push(format!("{} timers", report.timers));
    }
    left
}
