//! `cargo xtask ci`: the whole of CI as a list of named steps.
//!
//! Every step runs, also after one failed, each under a time limit; the end is a table of what
//! passed and how long it took. A step that finds nothing to run has failed: CI must not be green
//! because a test went away.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command;

/// Which steps to run
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave these steps out
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    skip: Vec<String>,
    /// List the steps and what they are for
    #[arg(long)]
    list: bool,
    /// Minutes for all steps together
    #[arg(long, default_value_t = 42)]
    minutes: u64,
}

/// One step of CI.
struct Step {
    name: &'static str,
    /// What it proves.
    about: &'static str,
    /// Arguments of cargo.
    cargo: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// Whether missing real input fails the step.
    needs_corpus: bool,
    /// What must be there for the step to mean anything.
    subject: Subject,
    minutes: u64,
}

/// What a step is about; when it is not there, the step has failed.
enum Subject {
    /// The workspace itself.
    Workspace,
    /// A package of this name.
    Package(&'static str),
    /// Tests that the command (with `--list`) finds.
    Tests,
}

const STEPS: &[Step] = &[
    Step {
        name: "format",
        about: "the sources are formatted",
        cargo: &["fmt", "--all", "--check"],
        environment: &[],
        needs_corpus: false,
        subject: Subject::Workspace,
        minutes: 2,
    },
    Step {
        name: "lint",
        about: "no warning of rustc or clippy in any target, tests and benchmarks included",
        cargo: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        environment: &[],
        needs_corpus: false,
        subject: Subject::Workspace,
        minutes: 20,
    },
    Step {
        name: "lint-boot",
        about: "no warning in the boot image, which only its own feature builds",
        cargo: &[
            "clippy",
            "--package",
            "ferrmod-boot",
            "--features",
            "bare",
            "--bin",
            "ferrmod-boot",
            "--",
            "-D",
            "warnings",
        ],
        environment: &[],
        needs_corpus: false,
        subject: Subject::Package("ferrmod-boot"),
        minutes: 10,
    },
    Step {
        name: "fuzz-targets",
        about: "the fuzz targets, which are a workspace of their own, fit the code",
        cargo: &["clippy", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz", "--", "-D", "warnings"],
        environment: &[],
        needs_corpus: false,
        subject: Subject::Workspace,
        minutes: 10,
    },
    Step {
        name: "docs",
        about: "the documentation builds without a warning, private items included",
        cargo: &["doc", "--workspace", "--no-deps", "--document-private-items"],
        environment: &[("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")],
        needs_corpus: false,
        subject: Subject::Workspace,
        minutes: 15,
    },
    Step {
        name: "tests",
        about: "the tests pass with nothing but the Rust toolchain",
        cargo: &["test", "--workspace"],
        environment: &[("FERRMOD_CORPUS", "/nonexistent")],
        needs_corpus: false,
        subject: Subject::Workspace,
        minutes: 30,
    },
    Step {
        name: "corpus",
        about: "Debian's 6.1 and 6.12 kernels are fetched and unpacked",
        cargo: &["run", "--quiet", "--package", "xtask", "--", "corpus"],
        environment: &[],
        needs_corpus: true,
        subject: Subject::Workspace,
        minutes: 15,
    },
    Step {
        name: "modules",
        about: "our modules in C build with the stock kbuild",
        cargo: &["run", "--quiet", "--package", "xtask", "--", "modules"],
        environment: &[],
        needs_corpus: true,
        subject: Subject::Workspace,
        minutes: 10,
    },
    Step {
        name: "demo",
        about: "the command of the README shows the example modules",
        cargo: &["run", "--release"],
        environment: &[],
        needs_corpus: false,
        subject: Subject::Package("ferrmod"),
        minutes: 15,
    },
    Step {
        name: "corpus-tests",
        about: "every test passes with real input, none is skipped",
        cargo: &["test", "--workspace", "--release", "--no-fail-fast"],
        // The live tests have a step of their own.
        environment: &[("FERRMOD_CORPUS_STEP", "1"), ("FERRMOD_LIVE", "0")],
        needs_corpus: true,
        subject: Subject::Workspace,
        minutes: 40,
    },
    Step {
        name: "mutations",
        about: "a million mutated real modules neither panic nor crash anything",
        cargo: &["test", "--workspace", "--release", "mutat"],
        environment: &[("FERRMOD_MUTATIONS", "1000000")],
        needs_corpus: true,
        subject: Subject::Tests,
        minutes: 15,
    },
    Step {
        name: "boot",
        about: "the kernel boots in QEMU and runs an unmodified module in ring 0",
        cargo: &["test", "--release", "--package", "ferrmod-boot"],
        environment: &[("FERRMOD_REQUIRE_QEMU", "1")],
        needs_corpus: true,
        subject: Subject::Package("ferrmod-boot"),
        minutes: 15,
    },
    Step {
        name: "live",
        about: "on live kernels, 6.1 and 6.12 in QEMU, our tools do what Debian's kmod does, and modules fare as `check` says",
        // Of the whole workspace, so that what `corpus-tests` has built serves.
        cargo: &["test", "--workspace", "--release", "--test", "live"],
        // The step `demo` has built it.
        environment: &[("FERRMOD_REQUIRE_QEMU", "1"), ("FERRMOD_LIVE_FERRMOD", "target/release/ferrmod")],
        needs_corpus: true,
        subject: Subject::Package("ferrmod-tests"),
        minutes: 20,
    },
];

/// How a step ended.
enum Verdict {
    Passed,
    Failed(String),
}

pub(crate) fn run(options: &Options) -> Result<()> {
    for name in options.only.iter().chain(&options.skip) {
        if !STEPS.iter().any(|step| step.name == name) {
            bail!("no step is called {name}; `cargo xtask ci --list` lists them");
        }
    }
    let chosen: Vec<&Step> = STEPS
        .iter()
        .filter(|step| options.only.is_empty() || options.only.iter().any(|name| name == step.name))
        .filter(|step| !options.skip.iter().any(|name| name == step.name))
        .collect();
    if options.list {
        for step in chosen {
            println!("{:<13} {}", step.name, step.about);
        }
        return Ok(());
    }

    let begin = Instant::now();
    let budget = Duration::from_secs(options.minutes * 60);
    let mut results = Vec::new();
    for (at, step) in chosen.iter().enumerate() {
        println!("\n==> [{}/{}] {}: {}", at + 1, chosen.len(), step.name, step.about);
        let start = Instant::now();
        let left = budget.saturating_sub(begin.elapsed());
        let verdict = perform(step, left.min(Duration::from_secs(step.minutes * 60)));
        let took = start.elapsed();
        match &verdict {
            Verdict::Passed => println!("==> {} passed in {:.1} s", step.name, took.as_secs_f64()),
            Verdict::Failed(why) => {
                println!("==> {} FAILED after {:.1} s: {why}", step.name, took.as_secs_f64());
            }
        }
        results.push((step.name, verdict, took));
    }
    summarise(&results, begin.elapsed())
}

fn summarise(results: &[(&str, Verdict, Duration)], took: Duration) -> Result<()> {
    println!("\n==> summary");
    let mut failed = Vec::new();
    for (name, verdict, took) in results {
        let seconds = took.as_secs_f64();
        match verdict {
            Verdict::Passed => println!("  passed {seconds:>7.1} s  {name}"),
            Verdict::Failed(why) => {
                println!("  FAILED {seconds:>7.1} s  {name}: {why}");
                failed.push(*name);
            }
        }
    }
    let total = took.as_secs_f64() / 60.0;
    println!("  {} of {} steps passed in {total:.1} min", results.len() - failed.len(), results.len());
    if !failed.is_empty() {
        bail!("CI failed: {}", failed.join(", "));
    }
    Ok(())
}

fn perform(step: &Step, limit: Duration) -> Verdict {
    if limit.is_zero() {
        return Verdict::Failed("no time is left for it".to_owned());
    }
    match is_there(step) {
        Ok(None) => {}
        Ok(Some(missing)) => return Verdict::Failed(missing),
        Err(error) => return Verdict::Failed(format!("{error:#}")),
    }
    let mut cargo = prepare(step);
    // timeout(1) puts what it starts into a process group of its own and ends all of it.
    let mut command = if command::exists("timeout") {
        let mut timeout = Command::new("timeout");
        timeout.arg("--kill-after=10").arg(limit.as_secs().max(1).to_string());
        timeout.arg(cargo.get_program()).args(cargo.get_args());
        copy_environment(&cargo, &mut timeout);
        timeout
    } else {
        cargo.stdin(Stdio::null());
        cargo
    };
    println!("$ {}", command::line(&command));
    match command::run(&mut command) {
        Ok(()) => Verdict::Passed,
        // timeout(1), "EXIT STATUS".
        Err(error) if error.to_string().ends_with("exit status: 124") => {
            Verdict::Failed(format!("stopped at its limit of {} s", limit.as_secs()))
        }
        Err(error) => Verdict::Failed(format!("{error:#}")),
    }
}

fn prepare(step: &Step) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(step.cargo).envs(step.environment.iter().copied());
    if step.needs_corpus {
        cargo.env("FERRMOD_REQUIRE_CORPUS", "1");
    } else {
        // These steps show what a fresh clone does, wherever they run.
        cargo.env_remove("CI").env_remove("FERRMOD_REQUIRE_CORPUS");
    }
    // What `cargo run` sets for xtask itself must not reach the build it starts.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn copy_environment(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
}

/// What the step needs and does not find.
fn is_there(step: &Step) -> Result<Option<String>> {
    match step.subject {
        Subject::Workspace => Ok(None),
        Subject::Package(name) => {
            let known = Command::new("cargo")
                .args(["pkgid", "--package", name])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?
                .success();
            Ok((!known).then(|| format!("there is no package {name}")))
        }
        Subject::Tests => {
            let listed = command::output(prepare(step).args(["--", "--list"]))?;
            let tests = listed.lines().filter(|line| line.ends_with(": test")).count();
            println!("{tests} tests");
            Ok((tests == 0).then(|| "no test of this name exists".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_names_of_their_own() {
        for (at, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..at].iter().all(|earlier| earlier.name != step.name), "{}", step.name);
            assert!(step.minutes > 0 && !step.about.is_empty());
        }
    }

    #[test]
    fn real_input_is_fetched_before_it_is_required() {
        let position = |name: &str| STEPS.iter().position(|step| step.name == name).unwrap();
        let corpus = position("corpus");
        assert!(STEPS.iter().position(|step| step.needs_corpus).unwrap() == corpus);
        assert!(position("modules") > corpus && position("corpus-tests") > position("modules"));
    }

    #[test]
    fn one_failure_fails_all() {
        let passed = ("a", Verdict::Passed, Duration::ZERO);
        let failed = ("b", Verdict::Failed("why".to_owned()), Duration::ZERO);
        let error = summarise(&[passed, failed], Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "CI failed: b");
        assert!(summarise(&[("a", Verdict::Passed, Duration::ZERO)], Duration::ZERO).is_ok());
    }

    #[test]
    fn an_unknown_step_is_refused() {
        let options = Options { only: vec!["nosuch".to_owned()], skip: vec![], list: true, minutes: 1 };
        assert!(run(&options).unwrap_err().to_string().contains("nosuch"));
    }

    #[test]
    fn the_environment_follows_through_timeout() {
        let mut from = Command::new("a");
        from.env("X", "1").env_remove("Y");
        let mut to = Command::new("b");
        copy_environment(&from, &mut to);
        assert_eq!(to.get_envs().count(), 2);
    }
}
