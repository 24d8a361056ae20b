//! What a check found, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ferrmod_plan::check::{Answer, ImportProblem, Note, Reason, Verdict};

use super::{Cell, Check, Report, Row};
use crate::exit::Failure;
use crate::output::{self, BAD, DIM, GOOD, HEAD, NOTE};

/// How many reasons of one module are told in full.
const MAX_REASONS: usize = 8;

/// How many lines of the kernel's log are shown.
const MAX_LINES: usize = 10;

/// How many cells are told in full where there is a matrix.
const MAX_DETAILS: usize = 12;

/// Prints a report.
///
/// # Errors
/// When it cannot be written.
pub(super) fn show(args: &Check, report: &Report) -> Result<(), Failure> {
    if args.json {
        return output::json(report);
    }
    let mut out = String::new();
    let matrix = report.kernels.len() > 1;
    if matrix {
        table(&mut out, report);
    }
    let single = report.modules.len() * report.kernels.len() == 1;
    if !args.brief || !matrix {
        details(&mut out, args, report, single);
    }
    if report.modules.len() > 1 {
        summary(&mut out, report);
    }
    output::print(&out);
    Ok(())
}

/// The answer in a word.
fn short(cell: &Cell) -> String {
    match cell {
        Cell::Absent { .. } => format!("{NOTE}absent{NOTE:#}"),
        Cell::Judged { verdict, .. } => match verdict.answer {
            Answer::Loads => format!("{GOOD}loads{GOOD:#}"),
            Answer::LoadsWithTaint => format!("{NOTE}loads, {}{NOTE:#}", taints(verdict)),
            Answer::Refused => {
                let first = verdict.reasons.first().map_or("", Reason::word);
                let more = verdict.reasons.len().saturating_sub(1);
                let more = if more > 0 { format!(" +{more}") } else { String::new() };
                let errno = verdict.errno_name.unwrap_or("modprobe");
                format!("{BAD}{errno}{BAD:#} {first}{more}")
            }
        },
    }
}

/// The letters of the taints, with those that are the kernel's alone.
fn taints(verdict: &Verdict) -> String {
    let mut letters = verdict.taints.clone();
    for note in &verdict.notes {
        if let Note::Taint { letter, .. } = note
            && !letters.contains(*letter)
        {
            letters.push(*letter);
        }
    }
    letters
}

/// How wide a text is without its colours.
fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

/// Modules down, kernels across.
fn table(out: &mut String, report: &Report) {
    let name = |row: &Row| match row.verdicts.first() {
        Some(Cell::Judged { verdict, .. }) => verdict.module.clone(),
        _ => row.asked.clone(),
    };
    let cells: Vec<Vec<String>> = report.modules.iter().map(|row| row.verdicts.iter().map(short).collect()).collect();
    let first = report.modules.iter().map(|row| name(row).len()).max().unwrap_or(0);
    let widths: Vec<usize> = report
        .kernels
        .iter()
        .enumerate()
        .map(|(column, release)| {
            let cell = |row: &Vec<String>| row.get(column).map_or(0, |cell| width(cell));
            cells.iter().map(cell).max().unwrap_or(0).max(release.len())
        })
        .collect();
    let mut line = format!("{:first$}", "");
    for (release, wide) in report.kernels.iter().zip(&widths) {
        let _ = write!(line, "  {HEAD}{release}{HEAD:#}{:pad$}", "", pad = wide - release.len());
    }
    let _ = writeln!(out, "{}", line.trim_end());
    for (row, cells) in report.modules.iter().zip(&cells) {
        let mut line = format!("{:first$}", name(row));
        for (cell, wide) in cells.iter().zip(&widths) {
            let _ = write!(line, "  {cell}{:pad$}", "", pad = wide.saturating_sub(width(cell)));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// What is behind the answers: of all of them when there is one, else of those that are refused.
fn details(out: &mut String, args: &Check, report: &Report, single: bool) {
    let matrix = report.kernels.len() > 1;
    let mut told = 0;
    for row in &report.modules {
        for cell in &row.verdicts {
            // In a matrix all answers have been told.
            if matrix && cell.is_good() {
                continue;
            }
            let few = told < MAX_DETAILS || args.explain || !matrix;
            if !few {
                continue;
            }
            if matrix {
                let _ = writeln!(out);
            }
            told += 1;
            one(out, args, row, cell, single);
        }
    }
    let refused = report.modules.iter().flat_map(|row| &row.verdicts).filter(|cell| !cell.is_good()).count();
    if matrix && refused > told {
        let _ =
            writeln!(out, "\n{DIM}{} more are refused: --explain tells why, --json all of it{DIM:#}", refused - told);
    }
}

/// One module on one kernel.
fn one(out: &mut String, args: &Check, row: &Row, cell: &Cell, single: bool) {
    let verdict = match cell {
        Cell::Absent { kernel, text, .. } => {
            let _ = writeln!(out, "{}: {BAD}absent{BAD:#} on {kernel}: {text}", row.asked);
            return;
        }
        Cell::Judged { verdict, .. } => verdict,
    };
    let head = format!("{} on {}", verdict.module, verdict.kernel);
    match (verdict.answer, verdict.errno_name) {
        (Answer::Loads, _) => {
            let _ = writeln!(out, "{head}: {GOOD}loads{GOOD:#}");
        }
        (Answer::LoadsWithTaint, _) => {
            let _ = writeln!(out, "{head}: {NOTE}loads, and taints the kernel ({}){NOTE:#}", taints(verdict));
        }
        (Answer::Refused, Some(errno)) => {
            let number = verdict.errno.unwrap_or_default();
            let _ = writeln!(out, "{head}: {BAD}refused{BAD:#} with -{number} ({errno})");
        }
        (Answer::Refused, None) => {
            let _ = writeln!(out, "{head}: {BAD}refused{BAD:#} by modprobe, before the kernel is asked");
        }
    }
    if args.brief {
        return;
    }
    let most = if args.explain || single { usize::MAX } else { MAX_REASONS };
    let told = told(&verdict.reasons);
    for (word, text) in told.iter().take(most) {
        item(out, &format!("{BAD}{word:>13}{BAD:#}"), text);
    }
    if told.len() > most {
        let _ = writeln!(out, "{:>13}  {DIM}{} more reasons{DIM:#}", "", told.len() - most);
    }
    for note in &verdict.notes {
        let minor = matches!(
            note,
            Note::SignatureUnverified | Note::SignedBy { .. } | Note::OtherRelease { .. } | Note::UnpackedByTool { .. }
        );
        let of_a_load = matches!(note, Note::Taint { .. } | Note::NotTogether { .. });
        if (single || !minor) && (verdict.loads() || !of_a_load) {
            item(out, &format!("{NOTE}{:>13}{NOTE:#}", "note"), &note.to_string());
        }
    }
    if single && !verdict.needs.is_empty() {
        item(out, &format!("{:>13}", "loads first"), &verdict.needs.join(" "));
    }
    if (single || args.explain) && !verdict.loads() && !verdict.log.is_empty() {
        let mut lines: Vec<String> = verdict.log.iter().take(MAX_LINES).map(|line| line.text.clone()).collect();
        if verdict.log.len() > MAX_LINES {
            lines.push(format!("{DIM}{} more lines{DIM:#}", verdict.log.len() - MAX_LINES));
        }
        item(out, &format!("{:>13}", "kernel log"), &lines.join("\n"));
    }
}

/// The reasons in words; symbols of one module that cannot be loaded have one cause and are told as one.
fn told(reasons: &[Reason]) -> Vec<(&'static str, String)> {
    let stopped = |reason: &Reason| match reason {
        Reason::Import { problem: ImportProblem::Missing { stopped, .. }, symbol, .. } if !stopped.is_empty() => {
            Some((stopped.join(" and "), symbol.clone()))
        }
        _ => None,
    };
    let mut told: Vec<(&'static str, String)> = Vec::new();
    let mut groups: Vec<(String, Vec<String>, usize)> = Vec::new();
    for reason in reasons {
        match stopped(reason) {
            Some((by, symbol)) => match groups.iter_mut().find(|(other, _, _)| *other == by) {
                Some((_, symbols, _)) => symbols.push(symbol),
                None => {
                    groups.push((by, vec![symbol], told.len()));
                    told.push((reason.word(), reason.to_string()));
                }
            },
            None => told.push((reason.word(), reason.to_string())),
        }
    }
    for (by, symbols, place) in groups {
        if let (Some((_, text)), true) = (told.get_mut(place), symbols.len() > 1) {
            const NAMES: usize = 4;
            let few = symbols.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if symbols.len() > NAMES { ", …" } else { "" };
            *text = format!("{} symbols of {by}, which cannot be loaded: {few}{more}", symbols.len());
        }
    }
    told
}

/// A heading and its text, whose further lines are indented.
fn item(out: &mut String, head: &str, text: &str) {
    for (number, line) in text.lines().enumerate() {
        if number == 0 {
            let _ = writeln!(out, "{head}  {line}");
        } else {
            let _ = writeln!(out, "{:>13}    {line}", "");
        }
    }
}

/// How many of which answer.
fn summary(out: &mut String, report: &Report) {
    let _ = writeln!(out);
    for (column, release) in report.kernels.iter().enumerate() {
        let cells = || report.modules.iter().filter_map(|row| row.verdicts.get(column));
        let mut counts = BTreeMap::<String, usize>::new();
        for cell in cells() {
            let word = match cell {
                Cell::Absent { .. } => "absent".to_owned(),
                Cell::Judged { verdict, .. } => match verdict.answer {
                    Answer::Loads => "load".to_owned(),
                    Answer::LoadsWithTaint => "load with a taint".to_owned(),
                    Answer::Refused => {
                        format!("refused ({})", verdict.reasons.first().map_or("", Reason::word))
                    }
                },
            };
            *counts.entry(word).or_default() += 1;
        }
        let words: Vec<String> = counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
        let _ = writeln!(out, "{HEAD}{release}{HEAD:#}: {}", words.join(", "));
    }
}
