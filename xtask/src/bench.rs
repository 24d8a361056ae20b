//! `cargo xtask bench tools`: our tools against Debian's kmod 30 and kmod 34.2.
//!
//! Every number is about a whole process, from exec to exit, with a warm page cache. The runs of
//! the peers are interleaved, so that a busy moment of the machine hits them alike; what is printed
//! are medians and the ratios of one session. Processor time is the steadier of the two.

mod cases;
mod measure;
mod trees;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use ferrmod_tests::corpus;

use crate::command;
use measure::{Median, Tool};

/// What to measure
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(clap::Subcommand)]
enum Subject {
    /// The tools against Debian's kmod 30 and 34.2
    Tools(Tools),
}

/// How to measure
#[derive(clap::Args)]
pub(crate) struct Tools {
    /// Runs of every long command; short ones run ten times as often
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Where the trees are prepared, about 3 GB
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// A kmod of ours that is built already
    #[arg(long, value_name = "FILE")]
    ours: Option<PathBuf>,
    /// Modules of the largest made tree
    #[arg(long, default_value_t = 50_000)]
    modules: usize,
}

/// One line of the table.
struct Row {
    name: String,
    goal: &'static str,
    /// Ours, kmod 34.2, kmod 30; `None` where that one cannot do it.
    medians: [Option<Median>; 3],
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let Subject::Tools(tools) = &options.subject;
    let folder = match &tools.folder {
        Some(folder) => std::path::absolute(folder)?,
        None => target_folder().join("bench-tools"),
    };
    let ours = match &tools.ours {
        Some(file) => file.clone(),
        None => build()?,
    };
    let corpus = corpus::folder();
    let peers = [Some(Tool::here(ours)), Tool::unpacked(&corpus.join("kmod34")), kmod_30(&corpus)];
    if peers[1].is_none() {
        bail!("kmod 34 is not in {}; run `cargo xtask corpus`", corpus.display());
    }
    let mut rows = Vec::new();
    cases::all(tools, &folder, &peers, &mut |row| {
        if !tools.json {
            eprintln!("{}", line(&row));
        }
        rows.push(row);
    })?;
    if tools.json {
        println!("{}", json(&rows));
    } else {
        println!("{}{}", table(&rows), growth(&rows));
    }
    Ok(())
}

fn kmod_30(corpus: &Path) -> Option<Tool> {
    if crate::corpus::kmod_30_is_installed() {
        return ["/usr/bin/kmod", "/bin/kmod"].iter().map(PathBuf::from).find(|path| path.is_file()).map(Tool::here);
    }
    Tool::unpacked(&corpus.join("kmod30"))
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

fn build() -> Result<PathBuf> {
    command::run(Command::new("cargo").args([
        "build",
        "--profile",
        "dist",
        "--quiet",
        "--package",
        "ferrmod-tools",
        "--bin",
        "kmod",
    ]))?;
    let file = target_folder().join("dist/kmod");
    std::path::absolute(&file).with_context(|| format!("find {}", file.display()))
}

const HEAD: &str = "| what | ours: wall, cpu, memory | kmod 34.2 | kmod 30 | wall / 34 | wall / 30 | cpu / 34 | memory / 34 | goal |\n\
                    |---|---|---|---|---|---|---|---|---|";

fn table(rows: &[Row]) -> String {
    let lines: Vec<String> = rows.iter().map(line).collect();
    format!("{HEAD}\n{}", lines.join("\n"))
}

/// What the largest made tree takes, as a multiple of what the smallest takes.
fn growth(rows: &[Row]) -> String {
    let made: Vec<&Row> = rows.iter().filter(|row| row.name.ends_with(cases::MADE)).collect();
    let [small, .., large] = made.as_slice() else { return String::new() };
    let mut text = format!("\n\n{} against {}:", large.name, small.name);
    for (at, name) in ["ours", "kmod 34.2", "kmod 30"].into_iter().enumerate() {
        if let (Some(small), Some(large)) = (&small.medians[at], &large.medians[at]) {
            let (wall, cpu, memory) = (large.wall / small.wall, large.cpu / small.cpu, large.memory / small.memory);
            text += &format!("\n* {name}: {wall:.1}× the time, {cpu:.1}× the processor time, {memory:.1}× the memory");
        }
    }
    text
}

fn line(row: &Row) -> String {
    let [ours, newer, older] = &row.medians;
    let show = |median: &Option<Median>| median.as_ref().map_or_else(|| "cannot".to_owned(), Median::to_string);
    let faster = |peer: &Option<Median>| match (ours, peer) {
        (Some(ours), Some(peer)) => format!("{:.2}× faster", peer.wall / ours.wall),
        _ => String::new(),
    };
    let share = |of: fn(&Median) -> f64| match (ours, newer) {
        (Some(ours), Some(newer)) => format!("{:.2}×", of(ours) / of(newer)),
        _ => String::new(),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        row.name,
        show(ours),
        show(newer),
        show(older),
        faster(newer),
        faster(older),
        share(|median| median.cpu),
        share(|median| median.memory),
        row.goal
    )
}

fn json(rows: &[Row]) -> String {
    let median = |median: &Option<Median>| {
        median.as_ref().map_or_else(
            || "null".to_owned(),
            |median| {
                format!(
                    r#"{{"wall_seconds": {}, "cpu_seconds": {}, "peak_bytes": {}, "runs": {}}}"#,
                    median.wall, median.cpu, median.memory, median.runs
                )
            },
        )
    };
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                r#"{{"name": "{}", "goal": "{}", "ours": {}, "kmod34": {}, "kmod30": {}}}"#,
                row.name,
                row.goal,
                median(&row.medians[0]),
                median(&row.medians[1]),
                median(&row.medians[2])
            )
        })
        .collect();
    format!("{{\"schema\": \"ferrmod.bench.tools/1\", \"rows\": [\n  {}\n]}}", rows.join(",\n  "))
}
