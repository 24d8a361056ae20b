//! `ferrmod audit --follow`: loads and unloads as they happen.

use std::io::Write;
use std::thread;

use ferrmod_audit::{Change, Event, Finding, Follow, Severity, Subject};
use serde::Serialize;

use super::{AuditArgs, Scene};
use crate::exit::{Exit, Failure};
use crate::output::{BAD, DIM, HEAD, NOTE};

/// The name and version of the JSON schema of a line (docs/schema/audit.md).
const SCHEMA: &str = "ferrmod.audit.event/1";

/// A line of `--json`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Line<'a> {
    schema: &'static str,
    #[serde(flatten)]
    event: &'a Event,
    /// What an audit says of the module, when it is loaded.
    findings: &'a [Finding],
}

/// Watches until it is interrupted, or there is nothing to watch any more.
///
/// # Errors
/// [`Failure`] when the list of modules cannot be read, or nobody reads what is printed.
pub(super) fn follow(args: &AuditArgs, scene: &Scene) -> Result<Exit, Failure> {
    let failed = |error: ferrmod_linux::Error| Failure::Tree(error.to_string());
    let mut follow = Follow::new(scene.kernel.clone()).map_err(failed)?;
    let mut told = None;
    loop {
        // The log can be lost later, too, and that is told once.
        if follow.log_problem().is_some() && told.as_deref() != follow.log_problem() {
            told = follow.log_problem().map(str::to_owned);
            anstream::eprintln!("ferrmod: without the kernel's log: {}", told.as_deref().unwrap_or_default());
        }
        for event in follow.poll().map_err(failed)? {
            let findings = findings(scene, &event)?;
            let mut out = anstream::stdout().lock();
            if args.json {
                let line = Line { schema: SCHEMA, event: &event, findings: &findings };
                let text = serde_json::to_string(&line).map_err(std::io::Error::from)?;
                writeln!(out, "{text}")?;
            } else {
                write!(out, "{}", text(&event, &findings))?;
            }
            out.flush()?;
        }
        thread::sleep(args.interval);
    }
}

/// What is to be said of a module that was loaded.
fn findings(scene: &Scene, event: &Event) -> Result<Vec<Finding>, Failure> {
    if matches!(event.change, Change::Unloaded | Change::Mentioned) {
        return Ok(Vec::new());
    }
    let audit = scene.audit(Subject::Loaded)?;
    let of_it = |finding: &Finding| finding.module.as_deref() == Some(&event.module);
    Ok(audit
        .findings
        .into_iter()
        .filter(|finding| of_it(finding) && finding.severity > Severity::Information)
        .collect())
}

fn text(event: &Event, findings: &[Finding]) -> String {
    let word = match event.change {
        Change::Loaded => "loaded",
        Change::Unloaded => "unloaded",
        Change::Reloaded => "reloaded",
        Change::Mentioned => "in the log, not in the list",
    };
    let mut out = format!("{HEAD}{word}{HEAD:#} {}", event.module);
    if let Some(size) = event.size {
        out.push_str(&format!(", {size} bytes"));
    }
    if !event.taints.is_empty() {
        out.push_str(&format!(", taints {NOTE}{}{NOTE:#}", event.taints));
    }
    out.push('\n');
    for finding in findings {
        let style = if finding.severity == Severity::Serious { BAD } else { NOTE };
        out.push_str(&format!("  {style}{}{style:#}: {}\n", finding.rule.id(), finding.message));
    }
    for line in &event.log {
        out.push_str(&format!("  {DIM}{line}{DIM:#}\n"));
    }
    out
}
