//! Where the values come from: a kernel's `/proc` and `/sys`, or a machine.

use std::collections::VecDeque;
use std::path::PathBuf;

use bstr::ByteSlice;
use ferrmod_linux::{Kernel, Log, LogStart, Record};
use ferrmod_plan::graph::{LoadedModule, Stays};
use serde::Serialize;

use crate::exit::Failure;
use crate::graph::loaded;

/// How many records of the log are kept.
const MOST_RECORDS: usize = 20_000;
/// How many lines that mention a module are shown.
const MOST_LINES: usize = 200;

/// What is loaded at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The kernel's release, or what else it is.
    pub(super) kernel: String,
    /// The modules, the newest first.
    pub(super) modules: Vec<Row>,
}

/// A loaded module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// What the kernel says.
    pub(super) module: LoadedModule,
    /// Why it cannot be removed.
    pub(super) stays: Vec<Stays>,
    /// Bytes of memory that it has taken for itself; only a machine knows.
    pub(super) owned: Option<u64>,
}

/// More about one module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Detail {
    /// The module.
    pub(super) name: String,
    /// `version` and `srcversion`, where it has them.
    pub(super) versions: Vec<(&'static str, String)>,
    /// Its parameters, by name.
    pub(super) parameters: Vec<Parameter>,
    /// What the log says about it, the newest last.
    pub(super) log: Vec<String>,
    /// Why some of it is not known.
    pub(super) problems: Vec<String>,
}

/// A parameter of a loaded module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Parameter {
    /// Its name.
    pub(super) name: String,
    /// Its value; null for those who may not read it.
    pub(super) value: Option<String>,
    /// Whether it can be changed while the module is loaded.
    pub(super) writable: bool,
}

/// Who knows what is loaded.
pub(super) trait Source {
    /// What is loaded now.
    ///
    /// # Errors
    /// When that cannot be read.
    fn read(&mut self) -> Result<Snapshot, Failure>;

    /// More about one module.
    fn detail(&mut self, name: &str) -> Detail;

    /// Why nothing can be loaded and unloaded from here, if so.
    fn cannot_act(&self) -> Option<&'static str>;

    /// Whether `ferrmod why` speaks of the same kernel.
    fn explains(&self) -> bool {
        true
    }
}

/// A kernel: the running one, or what was kept of one.
pub(super) struct System {
    kernel: Kernel,
    root: Option<PathBuf>,
    log: Result<Log, String>,
    records: VecDeque<Record>,
}

impl System {
    pub(super) fn new(root: Option<PathBuf>) -> System {
        let kernel = loaded::kernel(root.as_deref());
        let log = kernel.log(LogStart::Oldest).map_err(|error| error.to_string());
        System { kernel, root, log, records: VecDeque::new() }
    }

    /// Reads what was logged since the last time.
    fn read_log(&mut self) -> Option<String> {
        let read = match &mut self.log {
            Ok(log) => log.read().map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        match read {
            Ok(records) => {
                self.records.extend(records);
                let too_many = self.records.len().saturating_sub(MOST_RECORDS);
                self.records.drain(..too_many);
                None
            }
            Err(error) => Some(error),
        }
    }
}

impl Source for System {
    fn read(&mut self) -> Result<Snapshot, Failure> {
        let disabled = self.kernel.modules_disabled().unwrap_or(false);
        let row = |module: LoadedModule| {
            let mut stays = module.loaded.stays();
            if disabled {
                stays.push(Stays::Disabled);
            }
            Row { module, stays, owned: None }
        };
        let modules = loaded::loaded(&self.kernel)?.into_iter().map(row).collect();
        let kernel = loaded::release(self.root.as_deref()).unwrap_or_default();
        Ok(Snapshot { kernel, modules })
    }

    fn detail(&mut self, name: &str) -> Detail {
        let mut detail = Detail { name: name.to_owned(), ..Detail::default() };
        match self.kernel.module(name) {
            Ok(module) => {
                let versions = [("version", module.version()), ("srcversion", module.source_version())];
                detail.versions =
                    versions.into_iter().filter_map(|(what, text)| Some((what, text.ok()?.to_string()))).collect();
                match module.parameters() {
                    Ok(parameters) => {
                        let one = |parameter: ferrmod_linux::Parameter| Parameter {
                            name: parameter.name.to_string(),
                            value: parameter.value.map(|value| value.to_string()),
                            writable: parameter.writable,
                        };
                        detail.parameters = parameters.into_iter().map(one).collect();
                        detail.parameters.sort_by(|a, b| a.name.cmp(&b.name));
                    }
                    Err(error) => detail.problems.push(error.to_string()),
                }
            }
            Err(error) => detail.problems.push(error.to_string()),
        }
        detail.problems.extend(self.read_log());
        let mentions = self.records.iter().rev().filter(|record| record.mentions(name)).take(MOST_LINES);
        detail.log = mentions.map(line).collect();
        detail.log.reverse();
        detail
    }

    fn cannot_act(&self) -> Option<&'static str> {
        self.root.as_ref().map(|_| "this is what was kept of a system: nothing can be loaded or unloaded")
    }
}

/// A record as dmesg shows it.
fn line(record: &Record) -> String {
    let time = record.time;
    format!("[{:5}.{:06}] {}", time.as_secs(), time.subsec_micros(), record.text.to_str_lossy())
}
