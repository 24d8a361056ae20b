//! Loading a module of the tree behind its dependencies, and looking at what it leaves.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrmod_image::compress;
use ferrmod_image::linux::Image;
use ferrmod_machine::{FactsBytes, Fetch, LoadFlags, LoadOutcome, Machine, Options, Outcome, Report, facts_cache};
use ferrmod_tests::corpus::{Tree, module_name};

/// What the real kernel said.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Path in the tree, from `kernel/` on.
    pub(crate) path: String,
    /// 0, or the errno of init.
    pub(crate) init: i32,
    /// Dependencies that did not load; what needs them could not either.
    pub(crate) broken: Vec<String>,
}

/// The errnos that the recorded outcomes name.
const ERRNOS: [(&str, i32); 16] = [
    ("ok", 0),
    ("EPERM", 1),
    ("ENOENT", 2),
    ("EIO", 5),
    ("ENXIO", 6),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("ENODEV", 19),
    ("EINVAL", 22),
    ("ENOTTY", 25),
    ("ENOSPC", 28),
    ("ENOSYS", 38),
    ("ETIMEDOUT", 110),
    ("EOPNOTSUPP", 95),
];

/// Every recorded outcome that has a number here, in the file's order.
pub(crate) fn outcomes() -> Vec<Expected> {
    include_str!("../../data/linux-6.1-outcomes.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let path = fields.next()?.to_owned();
            let said = fields.next()?;
            let (_, init) = ERRNOS.iter().find(|(name, _)| *name == said)?;
            let broken = fields.nth(1).unwrap_or_default().split(' ').filter_map(|one| one.split_once(':'));
            let broken = broken.map(|(name, _)| name.replace('-', "_")).collect();
            Some(Expected { path, init: *init, broken })
        })
        .collect()
}

/// Every module of a tree, expected to load.
pub(crate) fn loading(tree: &Tree) -> Vec<Expected> {
    let path_of = |path: PathBuf| path.strip_prefix(&tree.modules).map(|path| path.to_string_lossy().into_owned());
    let paths = tree.files().into_iter().filter_map(|path| path_of(path).ok());
    paths.map(|path| Expected { path, init: 0, broken: Vec::new() }).collect()
}

/// The modules of one tree, ready to be loaded.
pub(crate) struct Survey {
    facts: FactsBytes,
    files: Arc<HashMap<String, PathBuf>>,
}

fn read(path: &PathBuf) -> Vec<u8> {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    compress::decompress(&file, 1 << 30).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into_owned()
}

/// The names in a module's `depends=`, and those of its `softdep=pre:`.
fn wants(file: &[u8], soft: bool) -> Vec<String> {
    let image = Image::read(file).unwrap_or_else(|error| panic!("{error}"));
    let info = image.modinfo();
    let depends = info.get("depends").map(ToString::to_string).unwrap_or_default();
    let mut names: Vec<String> = depends.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if soft {
        for line in info.all("softdep") {
            let line = line.to_string();
            let before = line.split_whitespace().skip_while(|word| *word != "pre:").skip(1);
            names.extend(before.take_while(|word| *word != "post:").map(str::to_owned));
        }
    }
    names.iter().map(|name| name.replace('-', "_")).collect()
}

/// Alias and module.
pub(crate) type Aliases = HashMap<String, String>;

fn aliases_of(files: &HashMap<String, PathBuf>) -> Aliases {
    let mut aliases = Aliases::new();
    for (name, path) in files.iter().filter(|(_, path)| path.to_string_lossy().contains("/crypto/")) {
        let file = read(path);
        let Ok(image) = Image::read(&file) else { continue };
        for alias in image.modinfo().all("alias") {
            // As in names, `-` and `_` are the same.
            aliases.insert(alias.to_string().replace('-', "_"), name.clone());
        }
    }
    aliases
}

/// The chain of a module, itself last: name and bytes.
pub(crate) fn chain(
    files: &HashMap<String, PathBuf>,
    aliases: &Aliases,
    name: &str,
    soft: bool,
    chain: &mut Vec<(String, Vec<u8>)>,
) {
    let name = files.get_key_value(name).map_or_else(|| aliases.get(name).cloned(), |(name, _)| Some(name.clone()));
    let Some((name, path)) = name.and_then(|name| files.get(&name).map(|path| (name.clone(), path))) else { return };
    if chain.iter().any(|(other, _)| *other == name) {
        return;
    }
    let file = read(path);
    for other in wants(&file, soft) {
        self::chain(files, aliases, &other, soft, chain);
    }
    chain.push((name, file));
}

/// The files of a tree by the modules' names.
pub(crate) fn files_of(tree: &Tree) -> HashMap<String, PathBuf> {
    tree.files().into_iter().filter_map(|path| Some((module_name(&path)?, path))).collect()
}

impl Survey {
    /// Over the modules of `tree`.
    pub(crate) fn new(tree: &Tree) -> Self {
        let facts = facts_cache::open(&tree.vmlinuz).unwrap_or_else(|error| panic!("{error}"));
        Self { facts, files: Arc::new(files_of(tree)) }
    }

    /// Loads and unloads, in a machine where nobody answers `request_module`; what differs from Linux or stays behind.
    pub(crate) fn judge(&self, expected: &Expected) -> Vec<String> {
        self.run(expected, expected.init, &Aliases::new(), false)
    }

    /// The same where soft dependencies are loaded first and requests are answered; init has to succeed.
    pub(crate) fn judge_with_requests(&self, expected: &Expected) -> Vec<String> {
        self.run(expected, 0, &aliases_of(&self.files), true)
    }

    fn run(&self, expected: &Expected, init: i32, aliases: &Aliases, full: bool) -> Vec<String> {
        let name = module_name(expected.path.as_ref()).unwrap_or_default();
        let mut files = Vec::new();
        chain(&self.files, aliases, &name, full, &mut files);
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let fetch: Fetch = if full {
            let (files, aliases) = (Arc::clone(&self.files), aliases.clone());
            Box::new(move |name| {
                let mut found = Vec::new();
                chain(&files, &aliases, &name.replace('-', "_"), true, &mut found);
                (!found.is_empty()).then(|| found.into_iter().map(|(_, file)| (file, Vec::new())).collect())
            })
        } else {
            Box::new(|_| None)
        };
        let options =
            Options { facts: Some(self.facts.clone()), timeout: Duration::from_secs(20), ..Options::default() };
        let sink = Box::new(move |line: &ferrmod_machine::LogLine| lines.lock().unwrap().push(line.text.to_string()));
        let mut machine = Machine::boot(options, sink, fetch).unwrap_or_else(|error| panic!("{error}"));
        let mut faults = Vec::new();
        if let Err(error) = visit(&mut machine, &files, init, if full { &[] } else { &expected.broken }, &mut faults) {
            faults.push(error.to_string());
        }
        if !faults.is_empty() {
            let log = log.lock().unwrap();
            let said = log.iter().rev().take(40).rev();
            // The first line of an oops, and what led to it.
            faults.extend(
                said.filter(|line| line.starts_with("BUG") || line.contains("RIP:") || line.contains("unimplemented"))
                    .map(|line| format!("| {line}")),
            );
            if std::env::var_os("FERRMOD_LOG").is_some() {
                faults.extend(log.iter().map(|line| format!("# {line}")));
            }
        }
        faults
    }
}

fn visit(
    machine: &mut Machine,
    files: &[(String, Vec<u8>)],
    init: i32,
    broken: &[String],
    faults: &mut Vec<String>,
) -> Result<(), ferrmod_machine::MachineError> {
    let (last, before) = files.split_last().expect("the chain holds the module itself");
    for (name, file) in before {
        let outcome = machine.load(file, b"", LoadFlags::empty())?;
        if matches!(outcome, LoadOutcome::Errno(_)) && broken.contains(name) {
            continue;
        }
        if !matches!(outcome, LoadOutcome::Loaded | LoadOutcome::Errno(17)) {
            faults.push(format!("dependency {name}: {outcome:?}"));
            return Ok(());
        }
    }
    let outcome = machine.load(&last.1, b"", LoadFlags::empty())?;
    let wanted = if init == 0 { LoadOutcome::Loaded } else { LoadOutcome::Errno(init) };
    if outcome != wanted {
        faults.push(format!("init: {outcome:?}, on Linux {wanted:?}"));
    }
    // Newest first, and again: a module that was requested is used by nobody once its user is gone.
    loop {
        let loaded = machine.list()?;
        let mut removed = 0;
        let mut refused = Vec::new();
        for module in &loaded {
            match machine.unload(&module.name, false)? {
                Outcome::Done(()) => removed += 1,
                other => refused.push(format!("exit of {}: {other:?}", module.name)),
            }
        }
        if removed == 0 || refused.is_empty() {
            faults.append(&mut refused);
            break;
        }
    }
    machine.run(Duration::from_millis(50))?;
    left(&machine.report()?, faults);
    Ok(())
}

/// What is left of modules that are gone.
fn left(report: &Report, faults: &mut Vec<String>) {
    faults.extend(report.oopses.iter().map(|oops| format!("oops: {oops}")));
    for one in &report.registrations {
        faults.push(format!("left registered: {} {}", one.kind, one.name));
    }
    for memory in &report.memory {
        let first = memory.allocations.first().map(|first| first.caller.clone()).unwrap_or_default();
        faults.push(format!(
            "left {} bytes in {} allocations, e.g. from {first}",
            memory.bytes,
            memory.allocations.len()
        ));
    }
    faults.extend(report.tasks.iter().filter(|task| !task.service).map(|task| format!("left task: {}", task.name)));
    if report.timers != 0 {
        faults.push(format!("left {} timers", report.timers));
    }
}
