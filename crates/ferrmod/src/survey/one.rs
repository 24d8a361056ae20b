//! One module in a machine of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ferrmod_index::{Index, ModuleFile};
use ferrmod_kernel::Errno;
use ferrmod_machine::{Checks, FactsBytes, Fetch, LoadFlags, LogLine, Machine, MachineError, Options};
use ferrmod_plan::Request;
use serde::Serialize;

use super::reference::Reference;
use crate::report::{Ended, Left, Slept};
use crate::run::unload_all;

/// How the log names a call of something that nobody provides.
const CALLED: &str = "unimplemented kernel symbol ";

/// How long a machine runs on after the last unload, so that what was put off until later is done.
const AFTERMATH: Duration = Duration::from_millis(50);

/// What every module of a survey is looked at with.
pub(super) struct Stage {
    pub(super) index: Arc<Index>,
    pub(super) facts: FactsBytes,
    pub(super) timeout: Duration,
    pub(super) cpus: u32,
    /// What is looked for in the use of heap memory.
    pub(super) checks: Checks,
    /// Whether soft dependencies are loaded and requests of modules are answered.
    pub(super) modprobe: bool,
}

/// What came of one module.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Finding {
    pub(super) module: String,
    /// Its path in the tree.
    pub(super) path: String,
    /// How its own load ended. When it was not even tried: how the load of `stopped_at` ended.
    pub(super) init: Ended,
    /// The dependency that went so wrong that nothing more was loaded.
    pub(super) stopped_at: Option<String>,
    /// Dependencies that answered with an error.
    pub(super) failed_dependencies: Vec<String>,
    /// How its unload ended, if it was loaded.
    pub(super) exit: Option<Ended>,
    /// What was registered while everything was loaded: `kind name`.
    pub(super) registered: Vec<String>,
    /// Imports that nobody provides, bound to stubs.
    pub(super) deferred: usize,
    /// Those of them that were called.
    pub(super) called: Vec<String>,
    /// One line each.
    pub(super) oopses: Vec<String>,
    /// Where a task slept, or might have, where it must not; one line each.
    pub(super) atomic_sleeps: Vec<String>,
    /// What was left behind after everything was unloaded.
    pub(super) left: Left,
    /// What the recording says of init and exit.
    pub(super) recorded: Option<[String; 2]>,
    /// Whether it is as recorded, when something is.
    pub(super) agrees: Option<bool>,
}

impl Finding {
    fn of(module: &ModuleFile, root: &Path) -> Self {
        let path = module.path.strip_prefix(root).unwrap_or(&module.path);
        Self {
            module: module.name.clone(),
            path: path.to_string_lossy().into_owned(),
            init: Ended::Ok,
            stopped_at: None,
            failed_dependencies: Vec::new(),
            exit: None,
            registered: Vec::new(),
            deferred: 0,
            called: Vec::new(),
            oopses: Vec::new(),
            atomic_sleeps: Vec::new(),
            left: Left::default(),
            recorded: None,
            agrees: None,
        }
    }

    /// Whether init and exit did what they should and nothing is left behind; an init may answer with an error.
    pub(super) fn is_clean(&self) -> bool {
        !self.went_wrong() && self.left.is_nothing() && matches!(self.exit, None | Some(Ended::Ok))
    }

    /// An oops, an endless sleep, one where nobody may sleep, a time that was over, a machine that died.
    pub(super) fn went_wrong(&self) -> bool {
        let wrong = |ended: &Ended| !matches!(ended, Ended::Ok | Ended::Error { .. });
        wrong(&self.init)
            || self.exit.as_ref().is_some_and(wrong)
            || !self.oopses.is_empty()
            || !self.atomic_sleeps.is_empty()
    }

    /// Compares with what is recorded of this module, if anything is.
    pub(super) fn compare(&mut self, reference: &Reference) {
        let Some(recorded) = reference.get(&self.path) else { return };
        let same = |ended: &Ended, recorded: &str| match ended {
            Ended::Ok => recorded == "ok",
            Ended::Error { errno, .. } => Errno::from_name(recorded) == Some(Errno(*errno)),
            _ => false,
        };
        let exit = match &self.exit {
            None => recorded.exit == "-",
            Some(ended) => same(ended, &recorded.exit),
        };
        // What stays loaded there stays here too, with all that is its own.
        let tidy = recorded.exit != "ok" || self.left.is_nothing();
        self.agrees = Some(same(&self.init, &recorded.init) && exit && tidy && self.oopses.is_empty());
        self.recorded = Some([recorded.init.clone(), recorded.exit.clone()]);
    }

    /// The reason why it is not clean, or not as recorded, in a few words.
    pub(super) fn reason(&self) -> String {
        let mut reasons = Vec::new();
        if let Some(dependency) = &self.stopped_at {
            reasons.push(format!("{dependency}, which it needs, did not load: {}", self.init));
        } else if self.init != Ended::Ok {
            reasons.push(format!("init: {}", self.init));
        }
        if let Some(exit) = self.exit.as_ref().filter(|exit| **exit != Ended::Ok) {
            reasons.push(format!("exit: {exit}"));
        }
        if let Some([init, exit]) = self.recorded.as_ref().filter(|_| self.agrees == Some(false)) {
            reasons.push(format!("recorded: {init}, {exit}"));
        }
        if !self.failed_dependencies.is_empty() {
            reasons.push(format!("without {}", self.failed_dependencies.join(", ")));
        }
        if !self.called.is_empty() {
            reasons.push(format!("calls {}, which nobody provides", self.called.join(", ")));
        } else if let Some(oops) = self.oopses.first() {
            reasons.push(oops.clone());
        }
        reasons.extend(self.atomic_sleeps.iter().cloned());
        reasons.extend(self.left.in_short());
        reasons.join("; ")
    }
}

impl Stage {
    /// Looks at one module; a machine that cannot be made or dies is a finding too.
    pub(super) fn look(&self, module: &ModuleFile, root: &Path) -> Finding {
        let mut finding = Finding::of(module, root);
        if let Err(reason) = self.try_look(module, &mut finding) {
            finding.init = Ended::Died { reason };
        }
        finding
    }

    fn fetch(&self) -> Fetch {
        if !self.modprobe {
            return Box::new(|_| None);
        }
        let index = Arc::clone(&self.index);
        Box::new(move |name| {
            let request = [Request::from_argument(name)];
            let plan = ferrmod_plan::plan(&request, Some(&index), ferrmod_plan::Options::default()).ok()?;
            Some(plan.loads.into_iter().map(|load| (load.bytes, Vec::new())).collect())
        })
    }

    fn try_look(&self, module: &ModuleFile, finding: &mut Finding) -> Result<(), String> {
        let request = [Request::File(PathBuf::from(&module.path))];
        let options = ferrmod_plan::Options { softdeps: self.modprobe };
        let plan = ferrmod_plan::plan(&request, Some(&self.index), options).map_err(|refusal| refusal.to_string())?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let sink = Box::new(move |line: &LogLine| {
            if let Some(rest) = line.text.to_string().split_once(CALLED).map(|(_, rest)| rest) {
                let name = rest.split(' ').next().unwrap_or_default().to_owned();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if !kept.contains(&name) {
                    kept.push(name);
                }
            }
        });
        let options = Options {
            facts: Some(self.facts.clone()),
            timeout: self.timeout,
            cpus: self.cpus,
            command_line: "ferrmod".into(),
            checks: self.checks,
            ..Options::default()
        };
        let mut machine = Machine::boot(options, sink, self.fetch()).map_err(|error| error.to_string())?;
        let outcome = visit(&mut machine, module, plan, finding);
        finding.called = std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner));
        outcome.map_err(|error| error.to_string())
    }
}

fn visit(
    machine: &mut Machine,
    module: &ModuleFile,
    plan: ferrmod_plan::Plan,
    finding: &mut Finding,
) -> Result<(), MachineError> {
    for load in plan.loads {
        let ended = Ended::from(machine.load(&load.bytes, b"", LoadFlags::default())?);
        let is_it = load.name == module.name;
        match &ended {
            // It was requested by one before.
            Ended::Error { errno, .. } if !is_it && Errno(*errno) == Errno::EEXIST => {}
            Ended::Error { .. } if !is_it => finding.failed_dependencies.push(load.name),
            Ended::Ok if !is_it => {}
            _ => {
                finding.stopped_at = (!is_it).then_some(load.name);
                let stops = !is_it || !matches!(ended, Ended::Ok | Ended::Error { .. });
                finding.init = ended;
                if stops {
                    break;
                }
            }
        }
    }
    let loaded = machine.list()?;
    finding.deferred = loaded.iter().find(|one| one.name == module.name).map_or(0, |one| one.deferred.len());
    let registered = machine.report()?.registrations;
    finding.registered = registered.iter().map(|one| format!("{} {}", one.kind, one.name)).collect();
    for unload in unload_all(machine)? {
        if unload.module == module.name {
            finding.exit = (finding.init == Ended::Ok).then_some(unload.ended);
        } else if let Ended::Died { reason } = unload.ended {
            return Err(MachineError::Died { reason });
        }
    }
    machine.run(AFTERMATH)?;
    let report = machine.report()?;
    finding.left = Left::of(&report, &machine.list()?);
    finding.atomic_sleeps = report.atomic_sleeps.iter().map(|sleep| Slept::from(sleep).to_string()).collect();
    finding.oopses = report.oopses;
    Ok(())
}
