//! Our applets against kmod: the same invocation, the same world, the same answer.
//!
//! Thousands of invocations are made from fixed seeds ([`generate`]). Each runs once with kmod 34.2
//! (kmod 30 for options that only it has) and once with ours, in a made or a real tree that is the
//! same to the last byte, inside a mount namespace where nothing of the machine can be reached
//! ([`space`]). Standard output, standard error, what went to the system's log, exit status and files must be equal, but for the
//! differences that [`differences`] lists with their reasons.
//!
//! `FERRMOD_KMOD_REPORT=FOLDER` writes every finding into a file a group; `FERRMOD_KMOD_CASE="modprobe
//! -D alpha"` shows both sides of one invocation (words are split at spaces, `$STAGE` is replaced).

mod case;
mod differences;
mod generate;
mod made;
mod run;
mod shard;
mod space;
mod syslog;
mod world;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ferrmod_tests::corpus;
use libtest_mimic::{Arguments, Failed, Trial};

use run::Peers;

fn main() -> ExitCode {
    // "Ours" is this program under an applet's name: always what was just compiled.
    if let Some(code) = ferrmod_tools::main(env::args_os()) {
        return code;
    }
    if let Some(stage) = space::stage() {
        return shard::main(stage);
    }
    if let Ok(words) = env::var("FERRMOD_KMOD_CASE") {
        print!("{}", in_space(&["case", &words]).unwrap_or_else(|failed| failed.message().unwrap_or("?").to_owned()));
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let group = |name: &str| {
        let name = name.to_owned();
        Trial::test(name.clone(), move || compare(&["group", &name]))
    };
    let mut trials: Vec<Trial> = generate::GROUPS.iter().map(|made| group(made.name)).collect();
    trials.push(Trial::test("kmod_agrees_with_itself", || compare(&["itself"])));
    trials.push(Trial::test("every_difference_is_still_there", || compare(&["differences"])));
    trials.push(Trial::test("the_document_lists_every_difference", document));
    // The long ones first.
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Where kmod is, or a loud word.
fn available() -> bool {
    if Peers::find(&corpus::folder()).is_none() {
        corpus::skip("kmod 34", "run `cargo xtask corpus`");
        return false;
    }
    if corpus::tree_or_skip("6.1").is_none() {
        return false;
    }
    if let Some(obstacle) = space::obstacle() {
        corpus::skip("a mount namespace", &obstacle);
        return false;
    }
    true
}

/// Runs one part in a namespace of its own.
fn compare(part: &[&str]) -> Result<(), Failed> {
    if !available() {
        return Ok(());
    }
    let report = in_space(part)?;
    if let Some(folder) = env::var_os("FERRMOD_KMOD_REPORT") {
        let folder = PathBuf::from(folder);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{}.txt", part.last().unwrap_or(&""))), &report)?;
    }
    let last = report.lines().last().unwrap_or_default();
    if last.starts_with("ok: ") {
        return Ok(());
    }
    const SHOWN: usize = 12_000;
    let mut end = report.len().min(SHOWN);
    while !report.is_char_boundary(end) {
        end -= 1;
    }
    Err(format!("{}\n{last}", &report[..end]).into())
}

fn in_space(part: &[&str]) -> Result<String, Failed> {
    let tree = corpus::tree("6.1");
    let tree = tree.as_ref().map(|tree| (tree.modules.as_path(), tree.release.as_str()));
    let output = space::enter(part, tree)?;
    if !output.status.success() {
        return Err(
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// docs/kmod-differences.md is the table in words; `FERRMOD_BLESS=1` writes it.
fn document() -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kmod-differences.md");
    let text = differences::document();
    if env::var_os("FERRMOD_BLESS").is_some() {
        fs::write(&path, text)?;
        return Ok(());
    }
    if fs::read_to_string(&path).unwrap_or_default() != text {
        return Err("docs/kmod-differences.md is not what the table says; FERRMOD_BLESS=1 writes it".into());
    }
    Ok(())
}
