//! `ferrmod diff`: what is different between two kernels and their modules.

use std::ffi::OsString;
use std::fmt::Write as _;

use anstream::eprintln;
use clap::Args;
use ferrmod_plan::check::{Comparison, Difference};
use ferrmod_plan::diff::{Changed, Differences, ExportChange, Side, StructChange, diff};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::check::kernels::{Files, Where, asked_for};
use crate::exit::{Exit, Failure};
use crate::output::{self, BAD, DIM, GOOD, HEAD, NOTE};

/// The name and version of the JSON schema (docs/schema/diff.md).
const SCHEMA: &str = "ferrmod.diff/1";

/// How many lines of each kind are printed without being asked for all.
const FEW: usize = 15;

/// Say what is different between two kernels and their modules.
///
/// Modules that came, went or became part of the kernel; aliases and parameters of those that stayed; exported symbols with
/// their CRCs, those first that most modules use, with what has changed in their types; licences; structs that are laid out
/// differently, those first that most exported functions take.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Diff {
    /// The kernel before: a folder of modules or a root with lib/modules in it, a release, or an image.
    #[arg(value_name = "TREE-A")]
    pub before: OsString,
    /// The kernel after.
    #[arg(value_name = "TREE-B")]
    pub after: OsString,
    /// Print all of it, not the first few of each kind.
    #[arg(long)]
    pub all: bool,
    /// Print one JSON document instead of text (schema: docs/schema/diff.md).
    #[arg(long)]
    pub json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing that a module could depend on is different
  1  something is
  2  usage
  3  a kernel's files cannot be read";

/// The document that `--json` prints.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report {
    schema: &'static str,
    #[serde(flatten)]
    differences: Differences,
    /// Files that could not be read as modules.
    unreadable: Vec<String>,
}

fn one(wanted: &OsString) -> Result<Files, Failure> {
    let mut found = asked_for(Where::default(), wanted)?;
    match (found.pop(), found.is_empty()) {
        (Some(files), true) => Ok(files),
        _ => Err(Failure::Usage(format!("{}: several kernels; name one of their folders", wanted.to_string_lossy()))),
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when one of the kernels cannot be read.
pub(crate) fn run(args: &Diff) -> Result<Exit, Failure> {
    let files = [one(&args.before)?, one(&args.after)?];
    let kernels = [files[0].kernel(false)?, files[1].kernel(false)?];
    let mut sides = Vec::with_capacity(2);
    for kernel in &kernels {
        let bar = ProgressBar::new(0);
        let look = ProgressStyle::with_template("reading {msg} {bar:30} {pos}/{len}");
        bar.set_style(look.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(kernel.release.clone());
        let side = Side::read(kernel, &|done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        sides.push(side.map_err(|error| Failure::Tree(error.to_string()))?);
    }
    let [before, after] = &sides[..] else {
        return Err(Failure::Usage("two kernels are compared".to_owned()));
    };
    let unreadable = before.unreadable.iter().chain(&after.unreadable).map(ToString::to_string).collect();
    let report = Report { schema: SCHEMA, differences: diff(before, after), unreadable };
    let same = is_same(&report.differences);
    if args.json {
        output::json(&report)?;
    } else {
        report.unreadable.iter().for_each(|text| eprintln!("ferrmod: {}", output::harmless(text)));
        output::print(&text(&report.differences, if args.all { usize::MAX } else { FEW }));
    }
    Ok(if same { Exit::Clean } else { Exit::ModuleError })
}

fn is_same(all: &Differences) -> bool {
    let modules = all.modules_added.is_empty() && all.modules_removed.is_empty() && all.modules_built_in.is_empty();
    let said = all.aliases.is_empty() && all.parameters.is_empty() && all.licences.is_empty();
    let exports = all.exports_added.is_empty() && all.exports_changed.is_empty() && all.exports_removed.is_empty();
    modules && said && exports && all.structs.is_empty()
}

fn text(all: &Differences, most: usize) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{HEAD}{} → {}{HEAD:#}", all.from, all.to);
    let list = |out: &mut String, what: &str, names: &[String]| {
        if names.is_empty() {
            return;
        }
        let few: Vec<&str> = names.iter().take(most.saturating_mul(4)).map(String::as_str).collect();
        let more = names.len() - few.len();
        let _ = write!(out, "\n{HEAD}{} {what}{HEAD:#}\n  {}", names.len(), few.join(" "));
        let _ = if more > 0 { writeln!(out, " {DIM}and {more} more{DIM:#}") } else { writeln!(out) };
    };
    list(&mut out, "modules are gone", &all.modules_removed);
    list(&mut out, "modules are built in now", &all.modules_built_in);
    list(&mut out, "modules are new", &all.modules_added);

    section(&mut out, "exports are gone", &all.exports_removed, most, |out, change| {
        let _ = writeln!(out, "  {BAD}{}{BAD:#} of {}{}", change.symbol, owner(&change.from), users(change.users));
    });
    section(&mut out, "exports have changed", &all.exports_changed, most, changed_export);
    if !all.exports_added.is_empty() {
        let _ = writeln!(
            out,
            "\n{HEAD}{} exports are new{HEAD:#}, {} are the same",
            all.exports_added.len(),
            all.exports_same
        );
    }
    section(&mut out, "structs are laid out differently", &all.structs, most, |out, change: &StructChange| {
        let taken = match change.functions {
            0 => String::new(),
            count => format!(" {DIM}(taken by {count} exported functions){DIM:#}"),
        };
        let _ = writeln!(out, "  {NOTE}{}{NOTE:#}: {}{taken}", change.name, layout(&change.what));
    });
    section(&mut out, "modules have other parameters", &all.parameters, most, changed_list);
    section(&mut out, "aliases belong to another module", &all.aliases_moved, most, |out, (alias, from, to)| {
        let _ = writeln!(out, "  {alias}: {from} → {to}");
    });
    section(&mut out, "modules have other aliases", &all.aliases, most, changed_list);
    section(&mut out, "modules have another licence", &all.licences, most, |out, change| {
        let _ = writeln!(out, "  {}: {} → {}", change.module, change.from, change.to);
    });
    out
}

/// A heading with a count, and the first few.
fn section<T>(out: &mut String, what: &str, all: &[T], most: usize, mut line: impl FnMut(&mut String, &T)) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{HEAD}{} {what}{HEAD:#}", all.len());
    all.iter().take(most).for_each(|one| line(out, one));
    if all.len() > most {
        let _ = writeln!(out, "  {DIM}and {} more (--all){DIM:#}", all.len() - most);
    }
}

fn owner(of: &Option<String>) -> &str {
    of.as_deref().unwrap_or("nobody")
}

fn users(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => format!(" {DIM}(1 module uses it){DIM:#}"),
        count => format!(" {DIM}({count} modules use it){DIM:#}"),
    }
}

fn changed_export(out: &mut String, change: &ExportChange) {
    let mut parts = Vec::new();
    if change.from != change.to {
        parts.push(format!("{} → {}", owner(&change.from), owner(&change.to)));
    }
    if let (Some(from), Some(to)) = (change.crc_from, change.crc_to)
        && from != to
    {
        parts.push(format!("CRC {from:#010x} → {to:#010x}"));
    }
    match change.gpl_only {
        Some(true) => parts.push("for GPL-compatible modules only now".to_owned()),
        Some(false) => parts.push("for every module now".to_owned()),
        None => {}
    }
    match change.namespace.as_deref() {
        Some("") => parts.push("in no namespace now".to_owned()),
        Some(name) => parts.push(format!("in the namespace {name} now")),
        None => {}
    }
    let _ = writeln!(out, "  {NOTE}{}{NOTE:#}: {}{}", change.symbol, parts.join(", "), users(change.users));
    if let Some(Comparison::Changed { changes }) = &change.compared {
        for change in changes.iter().take(1) {
            let _ = writeln!(out, "      {change}");
        }
    }
}

fn changed_list(out: &mut String, change: &Changed) {
    let words = |names: &[String], sign: &str, style: anstyle::Style| {
        const WORDS: usize = 6;
        let mut words: Vec<String> =
            names.iter().take(WORDS).map(|name| format!("{style}{sign}{name}{style:#}")).collect();
        if names.len() > WORDS {
            words.push(format!("{DIM}{sign}{} more{DIM:#}", names.len() - WORDS));
        }
        words
    };
    let all = [words(&change.removed, "-", BAD), words(&change.added, "+", GOOD)].concat();
    let _ = writeln!(out, "  {}: {}", change.module, all.join(" "));
}

/// What is different in a layout, in a line.
fn layout(what: &Difference) -> String {
    let change = ferrmod_plan::check::Change { path: String::new(), of: String::new(), what: what.clone() };
    change.to_string().trim_start_matches(": ").to_owned()
}
