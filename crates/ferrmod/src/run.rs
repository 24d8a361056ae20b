//! `ferrmod run`: load, look, unload, judge.

use anstream::{eprintln, print, println};

use crate::cli::Run;
use crate::console;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::report::{Ended, Left, Line, Loaded, RunReport, Unload};
use crate::session::Session;

/// Runs the command.
///
/// # Errors
/// [`Failure`] when there is nothing to report because it never came to a load.
pub(crate) fn run(run: &Run) -> Result<Exit, Failure> {
    let quiet = run.json;
    let print_line = move |line: &ferrmod_machine::LogLine| {
        if !quiet {
            println!("{}", output::log_line(line));
        }
    };
    let (mut session, plan) = Session::boot(&run.machine, &run.requests(), print_line)?;
    let mut report = RunReport::new(session.release.clone());
    for planned in &plan {
        if let Some(load) = session.load(planned)? {
            // As with modprobe, a module goes on without what it would only have liked to have. An oops ends the run.
            let tolerated = planned.optional && matches!(load.ended, Ended::Error { .. });
            let failed = load.ended != Ended::Ok && !tolerated;
            report.loads.push(load);
            if failed {
                break;
            }
        }
    }
    finish(&mut session, &mut report, run)?;
    let exit = report.exit();
    report.exit_code = exit as u8;
    if run.json {
        let mut text = serde_json::to_string_pretty(&report).map_err(std::io::Error::from)?;
        text.push('\n');
        std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    } else {
        println!();
        print!("{}", report.verdict());
    }
    Ok(exit)
}

/// Everything after the loads: the picture, the console if asked for, the unloads, what is left. A machine that died in between
/// has its last words in the loads or unloads already.
fn finish(session: &mut Session, report: &mut RunReport, run: &Run) -> Result<(), Failure> {
    if session.machine.dead().is_none() {
        report.modules = session.machine.list()?.iter().map(Loaded::from).collect();
        if !run.json {
            println!();
            print!("{}", RunReport::table(&report.modules));
        }
        if run.keep {
            println!();
            console::interact(session)?;
        }
        report.unloads = unload_all(session)?;
    }
    if session.machine.dead().is_none() {
        let left = session.machine.report()?;
        report.left = Left::of(&left);
        report.oopses = left.oopses;
    }
    if let Some(error) = session.machine.dead() {
        if !run.json {
            eprintln!("ferrmod: {error}");
        }
        report.oopses.push(error.to_string());
    }
    if let Ok(log) = session.log.lock() {
        report.log = log.iter().map(Line::from).collect();
    }
    Ok(())
}

/// Unloads what is loaded, newest first; what is used by a module that would not go is tried and reported too.
fn unload_all(session: &mut Session) -> Result<Vec<Unload>, Failure> {
    let mut unloads = Vec::new();
    for module in session.machine.list()? {
        // A module an oops stopped in its init stays as it is, as on Linux.
        let ended = match session.machine.unload(&module.name, false) {
            Ok(outcome) => outcome.into(),
            Err(error) => Ended::Died { reason: error.to_string() },
        };
        let died = matches!(ended, Ended::Died { .. });
        unloads.push(Unload { module: module.name.to_string(), ended });
        if died {
            break;
        }
    }
    Ok(unloads)
}
