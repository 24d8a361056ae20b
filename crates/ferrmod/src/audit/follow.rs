//! `ferrmod audit --follow`: loads and unloads as they happen.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ferrmod_audit::{By, Change, Event, Finding, Follow, Severity, Subject};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{AuditArgs, Scene};
use crate::exit::{Exit, Failure};
use crate::output::{BAD, DIM, HEAD, NOTE};

/// The name and version of the JSON schema of a line (docs/schema/audit.md).
const SCHEMA: &str = "ferrmod.audit.event/1";

/// How long a signal may wait.
const STEP: Duration = Duration::from_millis(50);

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
    // The trace is the kernel's, and has to be given back before this ends.
    let ended = Arc::new(AtomicUsize::new(0));
    if scene.running {
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register_usize(signal, Arc::clone(&ended), signal as usize)?;
        }
        follow = follow.with_trace();
        if let Some(problem) = follow.trace_problem() {
            anstream::eprintln!("ferrmod: without the kernel's trace, who loads a module is not known: {problem}");
        }
    }
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
        let begin = Instant::now();
        while ended.load(Ordering::Relaxed) == 0 && begin.elapsed() < args.interval {
            thread::sleep(args.interval.saturating_sub(begin.elapsed()).min(STEP));
        }
        let signal = ended.load(Ordering::Relaxed);
        if signal != 0 {
            drop(follow);
            // As if it had not been caught.
            let _ = signal_hook::low_level::emulate_default_handler(signal as i32);
            return Ok(Exit::Clean);
        }
    }
}

/// What is to be said of a module that was loaded.
fn findings(scene: &Scene, event: &Event) -> Result<Vec<Finding>, Failure> {
    if matches!(event.change, Change::Unloaded | Change::Mentioned | Change::Passed) {
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
        Change::Passed => "came and went",
        Change::Unlisted => "loaded, and not in the list",
    };
    let mut out = format!("{HEAD}{word}{HEAD:#} {}", event.module);
    if let Some(size) = event.size {
        out.push_str(&format!(", {size} bytes"));
    }
    if !event.taints.is_empty() {
        out.push_str(&format!(", taints {NOTE}{}{NOTE:#}", event.taints));
    }
    if let Some(By { task, pid }) = &event.by {
        out.push_str(&format!(", by {task} ({pid})"));
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
