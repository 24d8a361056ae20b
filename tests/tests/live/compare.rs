//! What two guests did differently.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::guest::{Step, Transcript};
use crate::script::Script;

/// One difference a paragraph; empty when there is none.
pub(crate) fn differences(script: &Script, ours: &Transcript, reference: &Transcript) -> Vec<String> {
    let mut out = Vec::new();
    for (who, transcript) in [("ours", ours), ("the reference", reference)] {
        if !transcript.is_whole || !transcript.faults.is_empty() {
            let last = transcript.steps.last().map_or("nothing", |step| &step.command);
            out.push(format!(
                "{who} did not come to its end: the last step is {last:?}; {:?}; the console is in {}\n",
                transcript.faults,
                transcript.console.display()
            ));
        }
    }
    if !out.is_empty() {
        return out;
    }
    // Devices appear in the order in which their drivers are done, so the order within a line means nothing.
    let mut others: Vec<&Step> = reference.steps.iter().collect();
    for step in &ours.steps {
        match others.iter().position(|other| (other.line, &other.command) == (step.line, &step.command)) {
            Some(at) => out.extend(difference(script, step, others.remove(at))),
            None if script.is_ours(step.line) => out.extend(unexpected(script, step)),
            None => out.push(format!("only we did line {}, {}\n", step.line, step.command)),
        }
    }
    out.extend(others.iter().map(|other| format!("only the reference did line {}, {}\n", other.line, other.command)));
    out
}

fn difference(script: &Script, ours: &Step, reference: &Step) -> Option<String> {
    let quiet = script.is_unspoken(ours.line);
    let said = |step: &Step| step.errors.iter().map(|line| plain(line)).collect::<Vec<_>>();
    let mut out = String::new();
    if ours.status != reference.status && !script.is_better(ours.line) {
        let _ = writeln!(out, "  status: ours {:?}, reference {:?}", ours.status, reference.status);
    }
    out.extend(unexpected(script, ours));
    let state = |step: &Step| step.modules.iter().cloned().collect::<BTreeSet<_>>();
    if state(ours) != state(reference) && !script.is_better(ours.line) {
        list(&mut out, "modules", &ours.modules, &reference.modules);
    }
    if ours.output != reference.output && !quiet {
        list(&mut out, "output", &ours.output, &reference.output);
    }
    if said(ours) != said(reference) && !quiet {
        list(&mut out, "errors", &ours.errors, &reference.errors);
    }
    (!out.is_empty()).then(|| format!("line {}, {}\n{out}", ours.line, ours.command))
}

/// What the script wants of ours and does not get.
fn unexpected(script: &Script, ours: &Step) -> Option<String> {
    let expected = script.expected(ours.line)?;
    let mut out = String::new();
    if expected.status != ours.status {
        let _ = writeln!(out, "  status: ours {:?}, wanted {:?}", ours.status, expected.status);
    }
    if let Some(text) = &expected.text
        && !ours.output.iter().chain(&ours.errors).any(|line| line.contains(text))
    {
        let said = [&*ours.output, &*ours.errors].concat().join("\n    ");
        let _ = writeln!(out, "  {text:?} is not said in line {}, {}, but\n    {said}", ours.line, ours.command);
    }
    (!out.is_empty()).then_some(out)
}

/// A message without the place in kmod's sources that Debian's debugging build puts before it.
fn plain(line: &str) -> String {
    match line.find("../libkmod/") {
        Some(at) => {
            let (before, after) = line.split_at(at);
            let text = after.split_once(' ').map_or("", |(_, text)| text);
            let text = text.split_once("() ").map_or(text, |(_, text)| text);
            format!("{before}{text}")
        }
        None => line.to_owned(),
    }
}

fn list(out: &mut String, what: &str, ours: &[String], reference: &[String]) {
    let _ = writeln!(out, "  {what}:");
    for line in ours.iter().filter(|line| !reference.contains(line)) {
        let _ = writeln!(out, "    ours      {line}");
    }
    for line in reference.iter().filter(|line| !ours.contains(line)) {
        let _ = writeln!(out, "    reference {line}");
    }
    if ours.iter().all(|line| reference.contains(line)) && reference.iter().all(|line| ours.contains(line)) {
        let _ = writeln!(out, "    ours      {}\n    reference {}", ours.join(" | "), reference.join(" | "));
    }
}

/// Everything a guest did, to be read by people.
pub(crate) fn report(transcript: &Transcript) -> String {
    let mut out = String::new();
    for step in &transcript.steps {
        let Step { line, command, status, milliseconds, .. } = step;
        let _ = writeln!(out, "{line}: {command} = {status} ({milliseconds} ms)");
        for (mark, lines) in [("  1 ", &step.output), ("  2 ", &step.errors), ("    ", &step.modules)] {
            for line in lines {
                let _ = writeln!(out, "{mark}{line}");
            }
        }
    }
    out
}
