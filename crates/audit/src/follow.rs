//! Watching what is loaded and unloaded, as it happens.

use std::collections::{BTreeMap, BTreeSet};

use ferrmod_linux::{Act, Error, InitState, Kernel, Log, LogStart, ModuleTrace, Record, Traced};
use serde::Serialize;

use ferrmod_image::shown;

/// What happened to a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not listed before, and is.
    Loaded,
    /// It was listed, and is no more.
    Unloaded,
    /// It was unloaded and loaded again between two looks: its size, its place or its taints are others.
    Reloaded,
    /// It is not listed, and the kernel's log says that it was loaded or refused: it came and went between two looks, its load
    /// failed, or it hides.
    Mentioned,
    /// The kernel has traced that it was loaded, and that it went, before it was ever seen in the list: it came and went between two
    /// looks, or its init failed.
    Passed,
    /// The kernel has traced that it was loaded and not that it went, and it is not listed: it hides.
    Unlisted,
}

/// Who asked the kernel for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct By {
    /// The name of the task; for what the kernel itself wants that is its modprobe.
    pub task: String,
    /// Its number.
    pub pid: u32,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// What.
    pub change: Change,
    /// To which module.
    pub module: String,
    /// The letters of its taints.
    pub taints: String,
    /// The memory that it takes or took, in bytes.
    pub size: Option<u64>,
    /// Who asked for it; known when the kernel can be made to trace its modules.
    pub by: Option<By>,
    /// What the kernel's log said of it meanwhile.
    pub log: Vec<String>,
}

/// What is known of a listed module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    size: u64,
    address: u64,
    taints: String,
}

/// Looks at a kernel again and again.
#[derive(Debug)]
pub struct Follow {
    kernel: Kernel,
    known: BTreeMap<String, Known>,
    log: Option<Log>,
    /// Why the kernel's log is not watched.
    log_problem: Option<String>,
    trace: Option<ModuleTrace>,
    /// Why the modules are not traced.
    trace_problem: Option<String>,
    /// What was traced of modules that were not in the list then, and need not be yet: their last load.
    expected: BTreeMap<String, Traced>,
}

impl Follow {
    /// What is loaded now is known; what comes later is told.
    ///
    /// # Errors
    /// [`Error`] when `/proc/modules` cannot be read. Without the kernel's log less is told ([`Follow::log_problem`]).
    pub fn new(kernel: Kernel) -> Result<Self, Error> {
        let (log, log_problem) = match kernel.log(LogStart::Now) {
            Ok(log) => (Some(log), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (known, _) = listed(&kernel)?;
        Ok(Self { kernel, known, log, log_problem, trace: None, trace_problem: None, expected: BTreeMap::new() })
    }

    /// Makes the kernel trace its modules besides, in an instance of tracing that is removed with this. Where that is not possible
    /// less is told ([`Follow::trace_problem`]).
    #[must_use]
    pub fn with_trace(mut self) -> Self {
        match self.kernel.trace_modules() {
            Ok(trace) => self.trace = Some(trace),
            Err(error) => self.trace_problem = Some(error.to_string()),
        }
        self
    }

    /// Why the modules are not traced; `None` when they are, or nobody asked for it.
    #[must_use]
    pub fn trace_problem(&self) -> Option<&str> {
        self.trace_problem.as_deref()
    }

    /// Why the kernel's log is not watched; `None` when it is.
    #[must_use]
    pub fn log_problem(&self) -> Option<&str> {
        self.log_problem.as_deref()
    }

    /// What happened since the last look.
    ///
    /// # Errors
    /// [`Error`] when `/proc/modules` can no longer be read.
    pub fn poll(&mut self) -> Result<Vec<Event>, Error> {
        // Before the list, so that what is traced as loaded is in it.
        let traced = match self.trace.as_mut().map(ModuleTrace::read).transpose() {
            Ok(traced) => traced.unwrap_or_default(),
            Err(error) => {
                self.trace_problem = Some(error.to_string());
                self.trace = None;
                Vec::new()
            }
        };
        self.look(traced)
    }

    /// As [`Follow::poll`], with what was traced meanwhile.
    fn look(&mut self, traced: Vec<Traced>) -> Result<Vec<Event>, Error> {
        let (now, coming) = listed(&self.kernel)?;
        let records = match &mut self.log {
            Some(log) => match log.read() {
                Ok(records) => records,
                Err(error) => {
                    self.log_problem = Some(error.to_string());
                    self.log = None;
                    Vec::new()
                }
            },
            None => Vec::new(),
        };
        let records: Vec<Record> = records.into_iter().filter(|record| record.facility == 0).collect();
        let last = |act: Act, name: &str| {
            let earlier = self.expected.get(name).filter(|traced| traced.act == act);
            traced.iter().rfind(|traced| traced.act == act && shown(&traced.module) == name).or(earlier).map(by)
        };
        let mut events = Vec::new();
        let mut event = |change, name: &String, known: &Known| {
            let of_it = records.iter().filter(|record| record.mentions(name));
            events.push(Event {
                change,
                module: name.clone(),
                taints: known.taints.clone(),
                size: Some(known.size),
                by: last(if change == Change::Unloaded { Act::Free } else { Act::Load }, name),
                log: of_it.map(|record| shown(&record.text)).collect(),
            });
        };
        for (name, before) in &self.known {
            if !now.contains_key(name) {
                event(Change::Unloaded, name, before);
            }
        }
        for (name, module) in &now {
            match self.known.get(name) {
                None => event(Change::Loaded, name, module),
                // One that is loaded anew may be the same in all that the list says.
                Some(before) if before != module || reloaded(&traced, name) => event(Change::Reloaded, name, module),
                Some(_) => {}
            }
        }
        let known = |name: &str| now.contains_key(name) || self.known.contains_key(name);
        let mut mentioned: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in &records {
            if let Some(name) = load_in(&record.text).map(shown).filter(|name| !known(name)) {
                mentioned.entry(name).or_default().push(shown(&record.text));
            }
        }
        let mut expected = BTreeMap::new();
        for (name, (load, freed)) in unlisted(&self.expected, &traced) {
            if known(&name) {
                continue;
            }
            let change = match freed {
                true => Change::Passed,
                // Its init runs, or it went after the trace was read: the next look tells.
                false if coming.contains(&name) || !self.expected.contains_key(&name) => {
                    expected.insert(name, load);
                    continue;
                }
                false => Change::Unlisted,
            };
            let log = mentioned.remove(&name).unwrap_or_default();
            let taints = shown(&load.taints);
            events.push(Event { change, module: name, taints, size: None, by: Some(by(&load)), log });
        }
        let mention = |(module, log)| Event {
            change: Change::Mentioned,
            module,
            taints: String::new(),
            size: None,
            by: None,
            log,
        };
        events.extend(mentioned.into_iter().map(mention));
        self.known = now;
        self.expected = expected;
        Ok(events)
    }
}

fn by(traced: &Traced) -> By {
    By { task: shown(&traced.task), pid: traced.pid }
}

/// Whether a module was freed and then loaded again.
fn reloaded(traced: &[Traced], name: &str) -> bool {
    let mut of_it = traced.iter().filter(|traced| shown(&traced.module) == name);
    of_it.any(|traced| traced.act == Act::Free) && of_it.any(|traced| traced.act == Act::Load)
}

/// The modules that were traced as loaded, now or before, with their last load and whether they were freed after it.
fn unlisted(before: &BTreeMap<String, Traced>, traced: &[Traced]) -> BTreeMap<String, (Traced, bool)> {
    let mut loads: BTreeMap<String, (Traced, bool)> =
        before.iter().map(|(name, load)| (name.clone(), (load.clone(), false))).collect();
    for one in traced {
        let name = shown(&one.module);
        match one.act {
            Act::Load => {
                loads.insert(name, (one.clone(), false));
            }
            Act::Free => {
                if let Some((_, freed)) = loads.get_mut(&name) {
                    *freed = true;
                }
            }
        }
    }
    loads
}

/// The module that a line of the log says was loaded or refused: `NAME: ` and words that only the loader of modules uses.
fn load_in(text: &[u8]) -> Option<&[u8]> {
    use bstr::ByteSlice;
    let (name, said) = text.split_once_str(": ")?;
    let is_name = !name.is_empty()
        && name.len() < 64
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte));
    let words = [
        &b"taints kernel"[..],
        b"tainting kernel",
        b"module verification failed",
        b"module license",
        b"version magic",
        b"disagrees about version of symbol",
        b"Unknown symbol",
        b"module is already loaded",
    ];
    (is_name && words.iter().any(|word| said.contains_str(word))).then_some(name)
}

/// The modules whose load has ended, and the names of the others: one that is still being loaded has another size, and may fail.
fn listed(kernel: &Kernel) -> Result<(BTreeMap<String, Known>, BTreeSet<String>), Error> {
    let modules = kernel.modules()?;
    let (mut live, mut coming) = (BTreeMap::new(), BTreeSet::new());
    for module in modules.iter().flatten() {
        if module.state == InitState::Coming {
            coming.insert(shown(module.name));
            continue;
        }
        let taints = shown(module.taints).trim_end_matches(['+', '-']).to_owned();
        live.insert(shown(module.name), Known { size: module.size, address: module.address, taints });
    }
    Ok((live, coming))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_modules_that_come_and_go() {
        assert_eq!(load_in(b"evil: loading out-of-tree module taints kernel."), Some(&b"evil"[..]));
        assert_eq!(
            load_in(b"evil: module verification failed: signature and/or required key missing - tainting kernel"),
            Some(&b"evil"[..])
        );
        assert_eq!(load_in(b"usb 1-1: new device"), None);
        assert_eq!(load_in(b"a b: taints kernel"), None);
    }
    fn traced(act: Act, module: &str, pid: u32) -> Traced {
        Traced { act, module: module.into(), taints: "OE".into(), task: "insmod".into(), pid }
    }

    #[test]
    fn the_trace_tells_what_the_list_does_not() {
        let root = std::env::temp_dir().join(format!("ferrmod-follow-{}", std::process::id()));
        let proc = root.join("proc");
        std::fs::create_dir_all(&proc).unwrap();
        let list = |text: &str| std::fs::write(proc.join("modules"), text).unwrap();
        list("old 1 0 - Live 0x0\n");
        let roots = ferrmod_linux::Roots { proc: proc.clone(), sys: root.join("sys"), dev: root.join("dev") };
        let mut follow = Follow::new(Kernel::recorded(roots)).unwrap().with_trace();
        assert!(follow.trace_problem().is_some());
        let mut look = |traced: Vec<Traced>| -> Vec<(Change, String, Option<u32>)> {
            let events = follow.look(traced).unwrap();
            events.into_iter().map(|event| (event.change, event.module, event.by.map(|by| by.pid))).collect()
        };
        let say = |change, name: &str, pid| (change, name.to_owned(), Some(pid));

        // It came and went between two looks; an unload of something that was never seen to be loaded is nothing.
        let quick = vec![traced(Act::Load, "quick", 2), traced(Act::Free, "quick", 3), traced(Act::Free, "x", 4)];
        assert_eq!(look(quick), [say(Change::Passed, "quick", 2)]);
        // The same again, in all that the list says.
        let again = vec![traced(Act::Free, "old", 4), traced(Act::Load, "old", 5)];
        assert_eq!(look(again), [say(Change::Reloaded, "old", 5)]);
        assert_eq!(look(vec![traced(Act::Load, "old", 6), traced(Act::Free, "old", 7)]), []);
        // Its init takes its time.
        list("old 1 0 - Live 0x0\nslow 1 0 - Loading 0x0\n");
        assert_eq!(look(vec![traced(Act::Load, "slow", 8)]), []);
        assert_eq!(look(vec![]), []);
        list("old 1 0 - Live 0x0\nslow 1 0 - Live 0x0\n");
        assert_eq!(look(vec![]), [say(Change::Loaded, "slow", 8)]);
        list("old 1 0 - Live 0x0\n");
        assert_eq!(look(vec![traced(Act::Free, "slow", 9)]), [say(Change::Unloaded, "slow", 9)]);
        // It takes itself out of the list.
        assert_eq!(look(vec![traced(Act::Load, "hider", 10)]), []);
        assert_eq!(look(vec![]), [say(Change::Unlisted, "hider", 10)]);
        assert_eq!(look(vec![]), []);
        // An unload that is traced a moment after the list was read.
        assert_eq!(look(vec![traced(Act::Load, "late", 11)]), []);
        assert_eq!(look(vec![traced(Act::Free, "late", 12)]), [say(Change::Passed, "late", 11)]);
        std::fs::remove_dir_all(root).unwrap();
    }
}
