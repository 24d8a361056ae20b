//! An answer, as text and as JSON.

use std::fmt::Write as _;

use ferrmod_plan::check::Answer as Loads;
use ferrmod_plan::why::{Answer, Hindrance, Path, Verdict, Way};

use super::{Report, Why};
use crate::exit::Failure;
use crate::output::{self, BAD, DIM, GOOD, HEAD, NOTE};

/// How many paths the first sentence names.
const NAMED: usize = 4;
/// How many devices are told one by one.
const DEVICES: usize = 6;
/// How wide the column of paths may be.
const WIDEST: usize = 40;

/// Prints a report.
///
/// # Errors
/// When it cannot be written.
pub(super) fn show(args: &Why, report: &Report) -> Result<(), Failure> {
    if args.json {
        return output::json(report);
    }
    let mut out = String::new();
    for (number, answer) in report.modules.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        one(&mut out, args, answer);
    }
    output::print(&out);
    Ok(())
}

/// The first sentence.
fn summary(answer: &Answer) -> String {
    let name = &answer.module;
    if answer.built_in && answer.file.is_none() {
        return format!(
            "{name} is {GOOD}built in{GOOD:#}: there is nothing to load, and nothing of modprobe.d keeps it out"
        );
    }
    let all = answer.present;
    if !answer.can_be_loaded {
        let now = if answer.loaded.is_some() { ", but is loaded now" } else { "" };
        return match all {
            1 => format!("{name} {BAD}cannot be loaded{BAD:#}: the only path is blocked{now}"),
            _ => format!("{name} {BAD}cannot be loaded{BAD:#}: all {all} paths are blocked{now}"),
        };
    }
    let open: Vec<&Path> = answer.paths.iter().filter(|path| path.verdict == Verdict::Open).collect();
    let mut names: Vec<String> = open.iter().take(NAMED).map(|path| path.way.to_string()).collect();
    if open.len() > NAMED {
        names.push(format!("{} more", open.len() - NAMED));
    }
    let automatic = open.iter().any(|path| path.automatic);
    let alone = if automatic { "" } else { "; nothing loads it unless an administrator does" };
    let paths = if all == 1 { "path" } else { "paths" };
    let count = answer.open;
    format!("{name} {GOOD}can be loaded{GOOD:#}: by {count} of {all} {paths} ({}){alone}", names.join(", "))
}

fn one(out: &mut String, args: &Why, answer: &Answer) {
    let _ = writeln!(out, "{}", summary(answer));
    if let Some(found_by) = &answer.found_by {
        item(out, "found by", found_by);
    }
    if let Some(file) = &answer.file {
        item(out, "file", file);
    }
    if answer.built_in && answer.file.is_some() {
        item(out, "built in", "yes, so that modprobe loads nothing");
    }
    if let Some(loaded) = &answer.loaded {
        let users = match (loaded.references, loaded.used_by.as_slice()) {
            (Some(0), []) => ", not in use".to_owned(),
            (Some(count), []) => format!(", {count} uses, none of them by a module"),
            (_, []) => String::new(),
            (_, users) => format!(", used by {}", users.join(" ")),
        };
        item(out, "loaded", &format!("{}{users}", loaded.state));
    } else if answer.file.is_some() {
        item(out, "loaded", "no");
    }
    kernel(out, answer);
    paths(out, args, answer);
    for effect in &answer.directives {
        let _ = writeln!(out, "\n{HEAD}{}{HEAD:#}", effect.origin);
        for line in effect.lines() {
            wrapped(out, &line);
        }
    }
    for note in &answer.notes {
        let _ = writeln!(out, "\n{NOTE}note{NOTE:#}: {note}");
    }
}

/// A line that is set in, and broken at commas when it is long.
fn wrapped(out: &mut String, line: &str) {
    const WIDTH: usize = 100;
    let mut width = 0;
    out.push_str("  ");
    for (number, part) in line.split_inclusive(", ").enumerate() {
        if number > 0 && width + part.len() > WIDTH {
            out.truncate(out.trim_end().len());
            out.push_str("\n      ");
            width = 0;
        }
        out.push_str(part);
        width += part.len();
    }
    out.push('\n');
}

/// Whether the kernel takes the file.
fn kernel(out: &mut String, answer: &Answer) {
    if answer.file.is_none() {
        return;
    }
    let kernel = &answer.kernel;
    let text = match (kernel.answer, &kernel.unknown) {
        (Some(Loads::Loads), _) => format!("{} takes the file", kernel.kernel),
        (Some(Loads::LoadsWithTaint), _) => format!("{} takes the file, and is tainted by it", kernel.kernel),
        (Some(Loads::Refused), _) => {
            let errno = kernel.errno.map(|errno| format!(" ({errno})")).unwrap_or_default();
            let mut text = format!("{} {BAD}refuses{BAD:#} the file{errno}", kernel.kernel);
            const REASONS: usize = 3;
            for reason in kernel.reasons.iter().take(REASONS) {
                let _ = write!(text, "\n{}", reason.to_string().lines().next().unwrap_or_default());
            }
            if kernel.reasons.len() > REASONS {
                let _ = write!(text, "\n{} more reasons: ferrmod check tells", kernel.reasons.len() - REASONS);
            }
            text
        }
        (None, Some(why)) if !why.is_empty() => format!("{}: the file was not judged: {why}", kernel.kernel),
        (None, _) => format!("{}: the file was not judged", kernel.kernel),
    };
    item(out, "kernel", &text);
    if let Some(signature) = &kernel.signature {
        item(out, "signature", signature);
    }
}

/// A heading and its text, whose further lines are indented.
fn item(out: &mut String, head: &str, text: &str) {
    for (number, line) in text.lines().enumerate() {
        let head = if number == 0 { head } else { "" };
        let _ = writeln!(out, "{head:>10}  {line}");
    }
}

fn paths(out: &mut String, args: &Why, answer: &Answer) {
    let mut devices = 0;
    let mut left_out = 0;
    let mut shown: Vec<&Path> = Vec::new();
    let mut absent = Vec::new();
    for path in &answer.paths {
        let is_device = matches!(path.way, Way::Device { .. });
        match path.verdict {
            Verdict::Absent if !args.all => absent.push(path),
            _ if is_device && devices >= DEVICES && !args.all => left_out += 1,
            _ => {
                devices += usize::from(is_device);
                shown.push(path);
            }
        }
    }
    let width = shown.iter().map(|path| path.way.to_string().chars().count()).max().unwrap_or(0).min(WIDEST);
    if !shown.is_empty() {
        out.push('\n');
    }
    // When nothing else is in the way, the head has said why.
    let told = !answer.kernel.reasons.is_empty();
    for path in shown {
        let lines = lines(path, told);
        let (style, word) = match path.verdict {
            Verdict::Open => (GOOD, "open"),
            Verdict::Blocked => (BAD, "blocked"),
            Verdict::Absent => (DIM, "not here"),
        };
        let way = path.way.to_string();
        let first = lines.first().map_or("", String::as_str);
        let line = format!("{way:width$}  {style}{word:8}{style:#}  {first}");
        let _ = writeln!(out, "{}", line.trim_end());
        for line in lines.iter().skip(1) {
            let _ = writeln!(out, "{:width$}  {:8}  {line}", "", "");
        }
    }
    if left_out > 0 {
        let _ = writeln!(out, "{DIM}{left_out} more devices: --all tells{DIM:#}");
    }
    if !absent.is_empty() {
        let words = |path: &&Path| {
            let why = path.absent.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{}: {why}", path.way)
        };
        let _ = writeln!(out, "\n{DIM}not here{DIM:#}");
        absent.iter().map(words).for_each(|line| {
            let _ = writeln!(out, "  {DIM}{line}{DIM:#}");
        });
    }
}

/// What is to be said of a path, the most important first.
fn lines(path: &Path, told: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut kernel = false;
    for hindrance in &path.blocked_by {
        match hindrance {
            Hindrance::Kernel { .. } if told => {
                if !kernel {
                    lines.push("the kernel refuses the file".to_owned());
                }
                kernel = true;
            }
            _ => lines.push(hindrance.to_string()),
        }
    }
    lines.extend(path.absent.iter().map(ToString::to_string));
    lines.extend(path.origin.iter().map(|origin| format!("by {origin}")));
    let detail = path.way.detail();
    if !detail.is_empty() {
        lines.push(detail);
    }
    lines.extend(path.conditions.iter().map(ToString::to_string));
    lines
}
