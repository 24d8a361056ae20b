//! What the kernel does with one module after another: load what it needs, load it, take it all out again.
//!
//! A line of the list is the path of a module and then the files to load in order, the module's own last. What comes of it is a
//! line of the report: its path, what init answered, what exit answered, and which dependencies failed, between tabs, with
//! numbers for errors. `BEGIN PATH` goes before it, so that whoever reads knows which module the kernel did not survive.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::system::{delete_module, finit_module};

/// Some drivers look for hardware for half a minute before they give up, and `test_bpf` takes minutes on a loaded host.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often, and after how long each time, a module is tried again that is in use when nothing else can go.
const AGAIN: usize = 4;
const LATER: Duration = Duration::from_millis(25);

/// Goes through the list.
pub(crate) fn run(list: &str, report: &mut File) -> io::Result<()> {
    for line in list.lines() {
        let mut words = line.split('\t').map(str::to_owned);
        let Some(path) = words.next() else { continue };
        let files: Vec<String> = words.collect();
        writeln!(report, "BEGIN\t{path}")?;
        let (sender, receiver) = channel();
        // A task that the kernel kills or never lets go says nothing.
        thread::spawn(move || sender.send(outcome(&files)));
        match receiver.recv_timeout(PATIENCE) {
            Ok(outcome) => writeln!(report, "END\t{path}\t{}", outcome?)?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                // What holds on to such a module cannot be undone: the next one gets another kernel.
                return writeln!(report, "STUCK\t{path}");
            }
        }
    }
    Ok(())
}

/// The modules that are there, with their place in the list: newest first.
fn loaded() -> io::Result<BTreeMap<String, usize>> {
    let text = fs::read_to_string("/proc/modules")?;
    Ok(text.lines().enumerate().filter_map(|(at, line)| Some((line.split(' ').next()?.to_owned(), at))).collect())
}

fn name_of(file: &str) -> String {
    let name = Path::new(file).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    name.split('.').next().unwrap_or_default().replace('-', "_")
}

fn answer(result: Result<(), Errno>) -> String {
    result.map_or_else(|errno| errno.raw_os_error().to_string(), |()| "ok".to_owned())
}

fn load(file: &str) -> io::Result<Result<(), Errno>> {
    Ok(finit_module(&File::open(file)?, c"", 0))
}

fn outcome(files: &[String]) -> io::Result<String> {
    let before = loaded()?;
    let mut failed = Vec::new();
    let mut init = String::new();
    for (at, file) in files.iter().enumerate() {
        let name = name_of(file);
        // Another one may have requested it while it was loaded.
        let result = if loaded()?.contains_key(&name) { Ok(()) } else { load(file)? };
        if at + 1 == files.len() {
            init = answer(result);
        } else if let Err(errno) = result {
            failed.push(format!("{name}:{}", errno.raw_os_error()));
        }
    }
    let own = files.last().map_or_else(String::new, |file| name_of(file));
    let exit = if before.contains_key(&own) { unload(&own) } else { unload_new(&before, &own)? };
    let exit = if init == "ok" { exit } else { "-".to_owned() };
    let failed = if failed.is_empty() { "-".to_owned() } else { failed.join(" ") };
    Ok(format!("{init}\t{exit}\t{failed}"))
}

fn unload(name: &str) -> String {
    let name = CString::new(name).unwrap_or_default();
    answer(delete_module(&name, OFlags::NONBLOCK.bits().cast_signed()))
}

/// Takes out what was not there before, newest first, and what is in use again as long as anything goes; what the module itself
/// answered last.
fn unload_new(before: &BTreeMap<String, usize>, own: &str) -> io::Result<String> {
    let mut exit = "-".to_owned();
    let mut patience = AGAIN;
    loop {
        let mut new: Vec<(usize, String)> =
            loaded()?.into_iter().filter(|(name, _)| !before.contains_key(name)).map(|(name, at)| (at, name)).collect();
        new.sort();
        let mut has_gone = false;
        for (_, name) in &new {
            let answer = unload(name);
            has_gone |= answer == "ok";
            if name == own {
                exit = answer;
            }
        }
        if new.is_empty() || !has_gone && patience == 0 {
            return Ok(exit);
        }
        if !has_gone {
            patience -= 1;
            thread::sleep(LATER);
        }
    }
}
