//! `ferrmod run`: load, look, unload, judge.

use anstream::{eprintln, println};
use bstr::BString;
use ferrmod_machine::{Machine, MachineError};

use crate::cli::Run;
use crate::console;
use crate::described;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::report::{Ended, HeldMemory, Left, Line, Loaded, RunReport, Slept, Unload, Wrong};
use crate::session::Session;

mod many;

/// Runs the command.
///
/// # Errors
/// [`Failure`] when there is nothing to report because it never came to a load.
pub(crate) fn run(run: &Run) -> Result<Exit, Failure> {
    let is_many = many::is_wanted(run);
    let quiet = run.json || is_many;
    let print_line = move |line: &ferrmod_machine::LogLine| {
        if !quiet {
            println!("{}", output::log_line(line));
        }
    };
    let list = if is_many { Some(many::list(run)?) } else { None };
    let (mut session, plan) =
        Session::boot(&run.machine, &run.requests(), list.as_deref(), !run.no_modprobe, print_line)?;
    let mut report = RunReport::new(session.release.clone());
    report.is_many = is_many;
    if let Some(list) = &list {
        report.loads = many::load(&mut session, run, list)?;
    }
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
    if (is_many || report.loads.last().is_none_or(|load| load.ended == Ended::Ok || load.optional))
        && session.machine.dead().is_none()
    {
        report.loads.extend(described::autoload(&mut session)?);
    }
    finish(&mut session, &mut report, run)?;
    let exit = report.exit();
    report.exit_code = exit as u8;
    if run.json {
        output::json(&report)?;
    } else {
        println!();
        output::print(&report.verdict());
    }
    Ok(exit)
}

/// Everything after the loads: the picture, the console if asked for, the unloads, what is left. A machine that died in between
/// has its last words in the loads or unloads already.
fn finish(session: &mut Session, report: &mut RunReport, run: &Run) -> Result<(), Failure> {
    if session.machine.dead().is_none() {
        report.modules = session.machine.list()?.iter().map(Loaded::from).collect();
        let held = session.machine.report()?;
        report.memory = HeldMemory { modules: held.module_memory, heap: held.heap };
        if !run.json && !report.is_many {
            println!();
            output::print(&RunReport::table(&report.modules));
        }
        if run.keep {
            println!();
            console::interact(session)?;
        }
        described::look(session)?;
        report.devices = session.devices.clone();
        report.unloads = unload_all(&mut session.machine)?;
        // A driver that was killed still has its device, which nobody can take from it.
        if session.machine.dead().is_none() && session.machine.report()?.oopses.is_empty() {
            described::remove_all(session)?;
            unload_freed(session, &mut report.unloads)?;
        }
    }
    if session.machine.dead().is_none() {
        let left = session.machine.report()?;
        report.left = Left::of(&left, &session.machine.list()?);
        report.memory_errors = left.memory_errors.iter().map(Wrong::from).collect();
        report.atomic_sleeps = left.atomic_sleeps.iter().map(Slept::from).collect();
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

/// What keeps a module loaded that nobody uses.
fn is_in_use(unload: &Unload) -> bool {
    matches!(&unload.ended, Ended::Error { name, .. } if name == "EAGAIN")
}

/// Unloads what was in use by devices that are gone now: the modules of their transports.
fn unload_freed(session: &mut Session, unloads: &mut Vec<Unload>) -> Result<(), MachineError> {
    let freed: Vec<BString> =
        unloads.iter().filter(|unload| is_in_use(unload)).map(|unload| unload.module.as_str().into()).collect();
    if !freed.is_empty() && session.machine.dead().is_none() {
        unloads.retain(|unload| !is_in_use(unload));
        unloads.extend(unload_these(&mut session.machine, freed)?);
    }
    Ok(())
}

/// Unloads what is loaded, newest first.
pub(crate) fn unload_all(machine: &mut Machine) -> Result<Vec<Unload>, MachineError> {
    let names = machine.list()?.into_iter().map(|module| module.name).collect();
    unload_these(machine, names)
}

/// Unloads modules. What is still in use then is tried again as long as others go: a module that another one asked for while it ran
/// can be newer than its user.
fn unload_these(machine: &mut Machine, mut names: Vec<BString>) -> Result<Vec<Unload>, MachineError> {
    let mut unloads = Vec::new();
    loop {
        let mut in_use = Vec::new();
        let before = names.len();
        for name in names {
            // A module an oops stopped in its init stays as it is, as on Linux.
            let ended = match machine.unload(&name, false) {
                Ok(outcome) => outcome.into(),
                Err(error) => Ended::Died { reason: error.to_string() },
            };
            let unload = Unload { module: name.to_string(), ended };
            match &unload.ended {
                _ if is_in_use(&unload) => in_use.push((name, unload)),
                Ended::Died { .. } => {
                    unloads.push(unload);
                    return Ok(unloads);
                }
                _ => unloads.push(unload),
            }
        }
        if in_use.is_empty() || in_use.len() == before {
            unloads.extend(in_use.into_iter().map(|(_, unload)| unload));
            return Ok(unloads);
        }
        names = in_use.into_iter().map(|(name, _)| name).collect();
    }
}
