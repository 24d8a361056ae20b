//! What `ferrmod policy` prints.

use std::fmt::Write as _;

use ferrmod_plan::policy::{Break, InUse, Policy, Settled, Thing, unspeakable};
use serde::Serialize;

use super::replay::Report;
use super::{MakeArgs, SimulateArgs, TestArgs};
use crate::exit::Failure;
use crate::output::{self, BAD, DIM, GOOD, HEAD, NOTE};
use crate::report::Ended;

/// A policy as it is shown: with what cannot be kept in it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Made<'p> {
    #[serde(flatten)]
    policy: &'p Policy,
    /// When loading can be forbidden altogether, if a record tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<&'p Settled>,
}

pub(super) fn made(args: &MakeArgs, policy: &Policy, settled: Option<&Settled>) -> Result<(), Failure> {
    if args.json {
        return output::json(&Made { policy, settled });
    }
    let mut out = String::new();
    let (allowed, denied) = (policy.allowed.len(), policy.denied.len());
    let _ = writeln!(out, "{HEAD}{allowed} modules of {} may be loaded, {denied} may not.{HEAD:#}", policy.kernel);
    let width = policy.allowed.keys().map(String::len).max().unwrap_or_default();
    for (name, because) in &policy.allowed {
        let because: Vec<String> = because.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "  {name:width$}  {DIM}{}{DIM:#}", because.join("; "));
    }
    let mut list = |what: &str, names: &[String]| {
        if !names.is_empty() {
            let _ = writeln!(out, "{NOTE}{what}:{NOTE:#} {}", names.join(" "));
        }
    };
    list("built in", &policy.builtin);
    list("wanted and not in the tree", &policy.missing);
    let odd: Vec<String> =
        policy.allowed.keys().chain(&policy.denied).filter(|name| unspeakable(name)).cloned().collect();
    list("no line of modprobe.d can have the name", &odd);
    match &policy.root {
        Some(root) => list("before the root file system", root),
        None => {
            list("before the root file system", &["not known here, so there is no list for the initramfs".to_owned()])
        }
    }
    for (name, reason) in &policy.broken {
        let _ = writeln!(out, "{BAD}{name} cannot be loaded as the tree is:{BAD:#} {reason}");
    }
    if let Some(settled) = settled {
        let plural = if settled.boots == 1 { "" } else { "s" };
        let _ = writeln!(
            out,
            "modules_disabled=1: in {} recorded boot{plural} the last module came {:.0} s after the start, and none for {:.0} s after that.",
            settled.boots, settled.after, settled.quiet
        );
        for late in settled.late.iter().take(10) {
            let _ = writeln!(out, "  {DIM}{} came after {:.0} s{DIM:#}", late.module, late.after);
        }
        let _ = writeln!(
            out,
            "With modules-load.conf in /etc/modules-load.d all of them come early, and it is safe once systemd-modules-load.service is done."
        );
    }
    if let Some(folder) = &args.into {
        let _ = writeln!(out, "written to {}", folder.display());
    }
    crate::output::print(&out);
    Ok(())
}

/// What a simulation found.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Simulated<'b> {
    /// `ferrmod.policy-simulation/1`.
    schema: &'static str,
    /// How many devices were looked at.
    devices: usize,
    /// How many mounts were looked at.
    mounts: usize,
    /// How many rules of firewalls were looked at.
    rules: usize,
    /// What would no longer work, or would not begin to.
    breaks: &'b [Break],
}

pub(super) fn breaks(args: &SimulateArgs, in_use: &InUse, breaks: &[Break]) -> Result<(), Failure> {
    let report = Simulated {
        schema: "ferrmod.policy-simulation/1",
        devices: in_use.devices.len(),
        mounts: in_use.mounts.len(),
        rules: in_use.rules.len(),
        breaks,
    };
    if args.json {
        return output::json(&report);
    }
    let mut out = String::new();
    for one in breaks {
        let what = match &one.what {
            Thing::Device { path, modalias } => format!("{path} ({modalias}) gets no driver"),
            Thing::Mount { on, kind, source } => format!("{on} cannot be mounted: {kind} ({source})"),
            Thing::Rule { line, text } => format!("rule {line} cannot be set: {text}"),
        };
        let (style, when) = if one.works_now { (BAD, "") } else { (NOTE, ", as now") };
        let _ = writeln!(out, "{style}{what}{style:#}{when}: it would take {}", one.modules.join(" or "));
    }
    let now = breaks.iter().filter(|one| one.works_now).count();
    let style = if now == 0 { GOOD } else { BAD };
    let _ = writeln!(
        out,
        "{style}{now} would no longer work{style:#}, {} do not now either; looked at {} devices, {} mounts, {} rules",
        breaks.len() - now,
        report.devices,
        report.mounts,
        report.rules
    );
    crate::output::print(&out);
    Ok(())
}

pub(super) fn tested(args: &TestArgs, report: &Report) -> Result<(), Failure> {
    if args.json {
        return output::json(report);
    }
    let mut out = String::new();
    for module in &report.modules {
        if !module.lacks.is_empty() {
            let _ = writeln!(
                out,
                "{BAD}{}{BAD:#} needs {}, which the policy does not allow",
                module.module,
                module.lacks.join(", ")
            );
        }
        if let Some(reason) = &module.refused {
            let _ = writeln!(out, "{BAD}{}{BAD:#} cannot be tried: {reason}", module.module);
        }
        match &module.init {
            None | Some(Ended::Ok) => {}
            Some(Ended::Error { .. }) if module.requested.is_empty() => {}
            Some(ended) => {
                let _ = writeln!(out, "{NOTE}{}{NOTE:#}: {ended}", module.module);
            }
        }
        if !module.requested.is_empty() {
            let _ = writeln!(out, "{NOTE}{}{NOTE:#} asked in vain for {}", module.module, module.requested.join(", "));
        }
    }
    for contradiction in &report.contradictions {
        let _ = writeln!(out, "{BAD}{contradiction}{BAD:#}");
    }
    let bad = report.modules.iter().filter(|module| module.is_bad()).count();
    let up = report.modules.iter().filter(|module| module.init == Some(Ended::Ok)).count();
    let style = if bad == 0 { GOOD } else { BAD };
    let _ = writeln!(
        out,
        "{style}{} allowed modules, {bad} without what they need{style:#}; {up} came up in a kernel without hardware",
        report.modules.len()
    );
    crate::output::print(&out);
    Ok(())
}
