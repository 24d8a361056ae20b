//! A policy, tried out in a kernel of our own.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ferrmod_config::{Allowed, Config};
use ferrmod_index::{Index, in_parallel};
use ferrmod_machine::{FactsBytes, LoadFlags, Machine, Options};
use ferrmod_plan::Request;
use ferrmod_plan::policy::{self, Dialect, Policy};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{TestArgs, index, read_policy, show};
use crate::exit::{Exit, Failure};
use crate::kernel_image;
use crate::report::Ended;

/// What came of a policy.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report {
    /// `ferrmod.policy-test/1`.
    pub(super) schema: &'static str,
    /// The kernel.
    pub(super) kernel: String,
    /// Every allowed module, by name.
    pub(super) modules: Vec<Replayed>,
    /// Where the files of modprobe.d do not say what the policy says.
    pub(super) contradictions: Vec<String>,
}

/// What came of one allowed module.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Replayed {
    /// The module.
    pub(super) module: String,
    /// What it needs and the policy does not allow.
    pub(super) lacks: Vec<String>,
    /// Why it could not even be tried.
    pub(super) refused: Option<String>,
    /// How the load ended; an error of its init is none of the policy.
    pub(super) init: Option<Ended>,
    /// What was requested while it loaded and the policy does not allow.
    pub(super) requested: Vec<String>,
}

impl Replayed {
    /// Whether the policy leaves it without something it needs.
    pub(super) fn is_bad(&self) -> bool {
        !self.lacks.is_empty() || self.refused.is_some()
    }

    fn went_wrong(&self) -> bool {
        !matches!(self.init, None | Some(Ended::Ok | Ended::Error { .. }))
    }
}

pub(super) fn test(args: &TestArgs) -> Result<Exit, Failure> {
    let policy = Arc::new(read_policy(&args.policy)?);
    let index = Arc::new(index(&args.root, Some(&policy.kernel))?);
    let facts = kernel_image::facts(&policy.kernel, args.image.as_deref(), Some(&args.root), &[])?;
    let names: Vec<&String> = policy.allowed.keys().collect();
    let bar = ProgressBar::new(names.len() as u64);
    let look = ProgressStyle::with_template("loading {bar:30} {pos}/{len} {eta}");
    bar.set_style(look.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let modules = in_parallel(&names, |name| {
        let replayed = replay(args, name, &policy, &index, &facts);
        bar.inc(1);
        replayed
    });
    bar.finish_and_clear();
    let report = Report {
        schema: "ferrmod.policy-test/1",
        kernel: policy.kernel.clone(),
        modules,
        contradictions: contradictions(&policy),
    };
    show::tested(args, &report)?;
    Ok(if report.modules.iter().any(Replayed::went_wrong) {
        Exit::Oops
    } else if report.modules.iter().any(Replayed::is_bad) || !report.contradictions.is_empty() {
        Exit::ModuleError
    } else {
        Exit::Clean
    })
}

/// Loads one module in a machine in which only what the policy allows can be had.
fn replay(args: &TestArgs, name: &str, policy: &Arc<Policy>, index: &Arc<Index>, facts: &FactsBytes) -> Replayed {
    let mut replayed =
        Replayed { module: name.to_owned(), lacks: Vec::new(), refused: None, init: None, requested: Vec::new() };
    let plan =
        match ferrmod_plan::plan(&[Request::Name(name.to_owned())], Some(index), ferrmod_plan::Options::default()) {
            Ok(plan) => plan,
            Err(refusal) => {
                replayed.refused = Some(refusal.to_string());
                return replayed;
            }
        };
    let needed = |load: &&ferrmod_plan::Load| !matches!(load.why, ferrmod_plan::Why::SoftdepOf { .. });
    replayed.lacks = plan
        .loads
        .iter()
        .filter(needed)
        .filter(|load| !policy.allows(&load.name))
        .map(|load| load.name.clone())
        .collect();
    if !replayed.lacks.is_empty() {
        return replayed;
    }
    let requested = Arc::new(Mutex::new(Vec::new()));
    let (asked, allowed, tree) = (Arc::clone(&requested), Arc::clone(policy), Arc::clone(index));
    let fetch = Box::new(move |wanted: &str| {
        let request = [Request::from_argument(wanted)];
        let plan = ferrmod_plan::plan(&request, Some(&tree), ferrmod_plan::Options::default()).ok()?;
        let denied: Vec<&str> =
            plan.loads.iter().map(|load| load.name.as_str()).filter(|name| !allowed.allows(name)).collect();
        if !denied.is_empty() {
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.extend(denied.into_iter().map(|name| format!("{wanted} ({name})")));
            return None;
        }
        Some(plan.loads.into_iter().map(|load| (load.bytes, Vec::new())).collect())
    });
    let options = Options {
        facts: Some(facts.clone()),
        timeout: args.timeout,
        command_line: "ferrmod".into(),
        ..Options::default()
    };
    match Machine::boot(options, Box::new(|_| ()), fetch) {
        Ok(mut machine) => {
            for load in plan.loads.iter().filter(|load| policy.allows(&load.name)) {
                let ended = match machine.load(&load.bytes, b"", LoadFlags::default()) {
                    Ok(outcome) => outcome.into(),
                    Err(error) => Ended::Died { reason: error.to_string() },
                };
                if load.name == name {
                    replayed.init = Some(ended);
                } else if !matches!(ended, Ended::Ok | Ended::Error { .. }) {
                    // It cannot be reached in this kernel; the policy is not at fault.
                    replayed.init = Some(ended);
                    break;
                }
            }
        }
        Err(error) => replayed.refused = Some(error.to_string()),
    }
    replayed.requested = std::mem::take(&mut *requested.lock().unwrap_or_else(PoisonError::into_inner));
    replayed
}

/// Where what modprobe.d would say is not what the policy says.
fn contradictions(policy: &Policy) -> Vec<String> {
    let read = |dialect| {
        let text = policy::modprobe_conf(policy, dialect);
        Config::from_text(PathBuf::from("modprobe.conf"), text.into_bytes(), true)
    };
    let (ours, kmods) = (read(Dialect::Ferrmod), read(Dialect::Kmod));
    let mut found = Vec::new();
    let mut check = |name: &String, allowed: bool| {
        if matches!(ours.allowed(name.as_bytes()), Allowed::No(_)) == allowed {
            found.push(format!("{name}: the allow lines say otherwise"));
        }
        if kmods.install(name.as_bytes()).is_some() == allowed {
            found.push(format!("{name}: the install lines say otherwise"));
        }
    };
    policy.allowed.keys().for_each(|name| check(name, true));
    policy.denied.iter().for_each(|name| check(name, false));
    found
}
