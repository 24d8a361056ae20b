//! Watching what is loaded and unloaded, as it happens.

use std::collections::BTreeMap;

use ferrmod_linux::{Error, InitState, Kernel, Log, LogStart, Record};
use serde::Serialize;

use crate::shown::shown;

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
        let known = listed(&kernel)?;
        Ok(Self { kernel, known, log, log_problem })
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
        let now = listed(&self.kernel)?;
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
        let mut events = Vec::new();
        let mut event = |change, name: &String, known: &Known| {
            let of_it = records.iter().filter(|record| record.mentions(name));
            events.push(Event {
                change,
                module: name.clone(),
                taints: known.taints.clone(),
                size: Some(known.size),
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
                Some(before) if before != module => event(Change::Reloaded, name, module),
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
        let mention =
            |(module, log)| Event { change: Change::Mentioned, module, taints: String::new(), size: None, log };
        events.extend(mentioned.into_iter().map(mention));
        self.known = now;
        Ok(events)
    }
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

/// The modules whose load has ended: one that is still being loaded has another size, and may fail.
fn listed(kernel: &Kernel) -> Result<BTreeMap<String, Known>, Error> {
    let modules = kernel.modules()?;
    let live = modules.iter().flatten().filter(|module| module.state != InitState::Coming);
    Ok(live
        .map(|module| {
            let taints = shown(module.taints).trim_end_matches(['+', '-']).to_owned();
            (shown(module.name), Known { size: module.size, address: module.address, taints })
        })
        .collect())
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
}
