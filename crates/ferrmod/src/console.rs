//! The console of a machine.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{eprintln, print, println};
use ferrmod_kernel::Errno;
use ferrmod_machine::Outcome;

use crate::cli::{Console, Request};
use crate::described;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::report::{Ended, Loaded, RunReport};
use crate::session::Session;

mod files;

/// Whether the kernel log is not printed as it happens.
static QUIET: AtomicBool = AtomicBool::new(false);

const HELP: &str = "\
insmod FILE [NAME=VALUE]...     load a module file
modprobe NAME [NAME=VALUE]...   load a module and what it depends on, by name or alias
rmmod [-f] NAME...              unload modules
lsmod                           what is loaded
top                             the same with the memory that each has taken, live on a terminal
modinfo NAME|FILE               what a module file says
dmesg                           the kernel log
cat PATH...                     a file of the machine (/proc, /sys, /dev)
ls [PATH]                       a directory of the machine
echo WORD... > PATH             write to a file of the machine
device                          the devices that were described, and their drivers
device add DESCRIPTION          make one, such as i2c:lm75@0x48,temp=23500, and load its module
device set NUMBER NAME=VALUE    change a setting of one
device report NUMBER HEX        let a HID device say a report
device reports NUMBER           the reports that came to it since this was asked last
device remove NUMBER            take one away
open PATH [r|w|rw][n]           open a file of the machine (n: do not block); its number
read FILE LENGTH                read from a file, by path or by the number of an open one
write FILE HEX                  write bytes to it
seek FILE OFFSET                go to a place of an open file
ioctl FILE REQUEST [ARGUMENT]   ask it: a number, or @HEX[/LENGTH] for memory
poll FILE [MILLISECONDS]        wait until it can be read or written
close NUMBER                    close an open file
copy HOST-FILE PATH             write a file of the host to a file of the machine (made below /tmp)
mount [-t TYPE SOURCE DIRECTORY]  mount a file system of a module, read-only
umount DIRECTORY                take a mount away
sha256sum PATH...               hash files of the machine
help                            this list
exit                            leave";

/// Runs the command.
///
/// # Errors
/// [`Failure`] when there is no machine, or the script cannot be read.
pub(crate) fn console(console: &Console) -> Result<Exit, Failure> {
    let script = match &console.script {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::File { path: path.display().to_string(), error })?;
            Some(text)
        }
        None => None,
    };
    let (mut session, _) = Session::boot(&console.machine, &[], None, true, |line| {
        if !QUIET.load(Ordering::Relaxed) {
            println!("{}", output::log_line(line));
        }
    })?;
    described::autoload(&mut session)?;
    match script {
        Some(text) => {
            for line in text.lines() {
                match execute(&mut session, line, false)? {
                    Step::Next(Exit::Clean) => (),
                    Step::Next(exit) => return Ok(exit),
                    Step::Leave => break,
                }
            }
            Ok(Exit::Clean)
        }
        None => interact(&mut session),
    }
}

/// Reads commands from standard input until it ends; the exit code of the last one.
///
/// # Errors
/// [`Failure`] when the machine is gone or standard input fails.
pub(crate) fn interact(session: &mut Session) -> Result<Exit, Failure> {
    let input = std::io::stdin();
    let prompt = input.is_terminal() && std::io::stdout().is_terminal();
    let mut last = Exit::Clean;
    let mut line = String::new();
    loop {
        if prompt {
            print!("ferrmod# ");
            std::io::stdout().flush()?;
        }
        line.clear();
        if input.lock().read_line(&mut line)? == 0 {
            return Ok(last);
        }
        match execute(session, &line, true)? {
            Step::Next(exit) => last = exit,
            Step::Leave => return Ok(last),
        }
    }
}

enum Step {
    Next(Exit),
    Leave,
}

/// The words of a command line. Double quotes keep spaces together and stay in the word, because they mean something to a
/// module's parameters.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quoted) = (None, false);
    for (at, character) in line.char_indices() {
        quoted ^= character == '"';
        match (character.is_whitespace() && !quoted, start) {
            (true, Some(from)) => {
                words.push(&line[from..at]);
                start = None;
            }
            (false, None) => start = Some(at),
            _ => (),
        }
    }
    if let Some(from) = start {
        words.push(&line[from..]);
    }
    words
}

/// Runs one line. `live` tells that somebody sits there, and no script is read.
fn execute(session: &mut Session, line: &str, live: bool) -> Result<Step, Failure> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Step::Next(Exit::Clean));
    }
    let words = words(line);
    let (command, arguments) = (words[0], &words[1..]);
    let done = match (command, arguments) {
        ("exit" | "quit", []) => return Ok(Step::Leave),
        ("help", _) => {
            println!("{HELP}");
            Ok(Exit::Clean)
        }
        ("insmod" | "modprobe", [module, parameters @ ..]) => load(session, command, module, parameters),
        ("rmmod", [first, ..]) => {
            let force = *first == "-f";
            unload(session, if force { &arguments[1..] } else { arguments }, force)
        }
        ("lsmod", []) => lsmod(session),
        ("top", []) => top(session, live),
        ("device", words) => described::command(session, words),
        ("modinfo", [module]) => modinfo(session, module),
        ("dmesg", []) => dmesg(session),
        ("cat", paths @ [_, ..]) => cat(session, paths),
        ("ls", []) => list(session, "/"),
        ("ls", [path]) => list(session, path),
        ("echo", _) => echo(session, line),
        (
            "open" | "read" | "write" | "seek" | "ioctl" | "poll" | "close" | "copy" | "mount" | "umount" | "sha256sum",
            _,
        ) => match files::execute(session, command, arguments)? {
            Some(exit) => Ok(exit),
            None => Err(Failure::Usage(format!("{line}: not this way; `help` says how"))),
        },
        _ => Err(Failure::Usage(format!("{line}: no such command, or not this way; `help` lists them"))),
    };
    // What came by this command may have brought devices.
    if done.is_ok() && matches!(command, "insmod" | "modprobe" | "echo" | "write" | "ioctl") {
        described::announce(session)?;
    }
    match done {
        Ok(exit) => Ok(Step::Next(exit)),
        // The machine is gone: nothing more can be done here.
        Err(failure @ Failure::Machine(_)) => Err(failure),
        Err(failure) => {
            eprintln!("{command}: {failure}");
            Ok(Step::Next(failure.exit()))
        }
    }
}

fn load(session: &mut Session, command: &str, module: &str, parameters: &[&str]) -> Result<Exit, Failure> {
    let request = Request { module: module.into(), arguments: parameters.join(" ").into_bytes() };
    let mut plan = session.plan(&request)?;
    if command == "insmod" {
        // As ever, insmod loads this file and nothing else.
        plan.retain(|planned| planned.requested);
    }
    for planned in &plan {
        // modprobe wants it to be there, and it is.
        if command == "modprobe" && session.loaded()?.contains(&planned.name) {
            continue;
        }
        if let Some(load) = session.load(planned)?
            && load.ended != Ended::Ok
            && !(load.optional && matches!(load.ended, Ended::Error { .. }))
        {
            println!("{command}: {}: {}", load.module, load.ended);
            if session.lacks_kernel_of(planned) {
                println!("{command}: no image of a kernel was found for the machine: --kernel names one");
            }
            return Ok(load.ended.exit(if load.init_ran { Exit::ModuleError } else { Exit::Refused }));
        }
    }
    Ok(Exit::Clean)
}

fn unload(session: &mut Session, names: &[&str], force: bool) -> Result<Exit, Failure> {
    let mut worst = Exit::Clean;
    for name in names {
        let ended: Ended = session.machine.unload(name.as_bytes(), force)?.into();
        if ended != Ended::Ok {
            println!("rmmod: {name}: {ended}");
            worst = worst.max(ended.exit(Exit::ModuleError));
        }
    }
    Ok(worst)
}

fn lsmod(session: &mut Session) -> Result<Exit, Failure> {
    let modules: Vec<Loaded> = session.machine.list()?.iter().map(Loaded::from).collect();
    output::print(&RunReport::table(&modules));
    Ok(Exit::Clean)
}

/// The kernel log is not printed meanwhile: it would be written over the table. `dmesg` has it.
fn top(session: &mut Session, live: bool) -> Result<Exit, Failure> {
    let before = QUIET.swap(true, Ordering::Relaxed);
    let ended = crate::top::of_machine(session, live);
    QUIET.store(before, Ordering::Relaxed);
    ended
}

fn modinfo(session: &mut Session, module: &str) -> Result<Exit, Failure> {
    let request = Request { module: module.into(), arguments: Vec::new() };
    for planned in session.plan(&request)?.iter().filter(|planned| planned.requested) {
        let image = ferrmod_image::linux::Image::read(&planned.bytes).map_err(|error| Failure::Content {
            path: planned.path.display().to_string(),
            reason: error.to_string(),
        })?;
        println!("{:<16}{}", "filename:", planned.path.display());
        for (key, value) in image.modinfo().iter() {
            println!("{:<16}{}", format!("{key}:"), value);
        }
    }
    Ok(Exit::Clean)
}

fn dmesg(session: &mut Session) -> Result<Exit, Failure> {
    for line in session.machine.dmesg()? {
        println!("{}", output::log_line(&line));
    }
    Ok(Exit::Clean)
}

/// Bytes as the console takes them: two hexadecimal digits each.
pub(crate) fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    files::bytes(text)
}

/// Prints what went wrong with `path`, or gives the value.
///
/// # Errors
/// The exit code that it amounts to.
pub(crate) fn value<T>(outcome: Outcome<T>, path: &str) -> Result<T, Exit> {
    let ended = match outcome {
        Outcome::Done(value) => return Ok(value),
        Outcome::Errno(errno) => {
            let message = Errno(errno).message().unwrap_or("unknown error");
            eprintln!("{path}: {message}");
            return Err(Exit::ModuleError);
        }
        Outcome::Oopsed => Ended::Oops,
        Outcome::Hung => Ended::Hung,
        Outcome::TimedOut => Ended::Timeout,
    };
    eprintln!("{path}: {ended}");
    Err(Exit::Oops)
}

fn cat(session: &mut Session, paths: &[&str]) -> Result<Exit, Failure> {
    for path in paths {
        match value(session.machine.read_file(path)?, path) {
            Ok(bytes) => std::io::stdout().write_all(&bytes)?,
            Err(exit) => return Ok(exit),
        }
    }
    Ok(Exit::Clean)
}

fn list(session: &mut Session, path: &str) -> Result<Exit, Failure> {
    match value(session.machine.list_directory(path)?, path) {
        Ok(names) => {
            for name in names {
                println!("{name}");
            }
            Ok(Exit::Clean)
        }
        Err(exit) => Ok(exit),
    }
}

fn echo(session: &mut Session, line: &str) -> Result<Exit, Failure> {
    let text = line.strip_prefix("echo").unwrap_or(line);
    let Some((text, path)) = text.rsplit_once('>') else {
        println!("{}", text.trim());
        return Ok(Exit::Clean);
    };
    let (text, path) = (text.trim(), path.trim());
    let mut bytes = text.trim_matches('"').as_bytes().to_vec();
    bytes.push(b'\n');
    match value(session.machine.write_file(path, &bytes)?, path) {
        Ok(_) => Ok(Exit::Clean),
        Err(exit) => Ok(exit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(words(r#" insmod  x.ko a="b c"  d "#), ["insmod", "x.ko", r#"a="b c""#, "d"]);
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words("\"open"), ["\"open"]);
    }
}
