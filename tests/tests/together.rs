//! Nearly every module of the 6.1 tree in one machine, one after the other, and out again: compared with what Debian's kernel did with
//! the same modules in the same order.

use std::path::Path;
use std::time::Duration;

use ferrmod_machine::{LoadFlags, LoadOutcome, Machine, Options, Outcome, facts_cache};
use ferrmod_tests::corpus;

/// What Linux did, in its order: path, init, exit.
const RECORDED: &str = include_str!("../data/linux-6.1-together.tsv");

/// The share of modules that have to do as they did on Linux, in a thousand. The others call what nobody provides yet, or need what
/// those have taken and never give back.
const AGREE: usize = 985;
/// All that modules take of their own and of the heap, in bytes. A machine needs about twice that for its books.
const MOST_MEMORY: u64 = 256 << 20;

/// The names that the recording has, as Linux numbers them; any other number stays one.
fn name_of(errno: i32) -> String {
    let names = [(5, "EIO"), (11, "EAGAIN"), (16, "EBUSY"), (17, "EEXIST"), (19, "ENODEV")];
    names.iter().find(|(number, _)| *number == errno).map_or_else(|| errno.to_string(), |(_, name)| (*name).into())
}

fn module_of(path: &str) -> String {
    Path::new(path).file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

/// Unloads modules in the order given, again as long as one more goes; what came of each.
fn unload(machine: &mut Machine, paths: &[&str]) -> Vec<String> {
    let mut ended = vec![String::new(); paths.len()];
    loop {
        let mut went = false;
        for (path, ended) in paths.iter().zip(&mut ended).rev().filter(|(_, ended)| *ended != "ok") {
            *ended = match machine
                .unload(module_of(path).as_bytes(), false)
                .unwrap_or_else(|error| panic!("{path}: {error}"))
            {
                Outcome::Done(()) => "ok".into(),
                Outcome::Errno(errno) => name_of(errno),
                other => format!("{other:?}"),
            };
            went |= ended == "ok";
        }
        if !went {
            return ended;
        }
    }
}

#[test]
fn a_whole_tree_does_in_one_machine_what_it_does_in_one_guest() {
    let Some(tree) = corpus::tree_or_skip("6.1") else { return };
    let facts = facts_cache::open(&tree.vmlinuz).unwrap();
    // On a loaded host each of them may have to wait for its turn.
    let patience = Duration::from_secs(120);
    let options = Options { facts: Some(facts), timeout: patience, watchdog: patience, ..Options::default() };
    let mut machine = Machine::boot(options, Box::new(|_| ()), Box::new(|_| None)).unwrap();
    let lines: Vec<Vec<&str>> =
        RECORDED.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
    let (mut loaded, mut different, mut wrong) = (Vec::new(), Vec::new(), 0);
    for line in &lines {
        let bytes = std::fs::read(tree.modules.join(line[0])).unwrap();
        let ended = match machine
            .load(&bytes, b"", LoadFlags::default())
            .unwrap_or_else(|error| panic!("{}: {error}", line[0]))
        {
            LoadOutcome::Loaded => "ok".into(),
            LoadOutcome::Errno(errno) => name_of(errno),
            other => {
                wrong += 1;
                format!("{other:?}")
            }
        };
        if ended == "ok" {
            loaded.push((line[0], line[2]));
        }
        if ended != line[1] {
            different.push(format!("{}: init {ended}, not {}", line[0], line[1]));
        }
    }
    let report = machine.report().unwrap();
    let memory = report.heap + report.module_memory;
    assert!(memory < MOST_MEMORY, "{memory} bytes: {} of modules, {} of heap", report.module_memory, report.heap);
    assert!(
        loaded.len() * 1000 >= lines.len() * AGREE,
        "only {} of {} loaded: {different:#?}",
        loaded.len(),
        lines.len()
    );
    assert!(different.len() * 1000 <= lines.len() * (1000 - AGREE), "{different:#?}");

    let paths: Vec<&str> = loaded.iter().map(|(path, _)| *path).collect();
    for (ended, (path, recorded)) in unload(&mut machine, &paths).iter().zip(&loaded) {
        if ended != recorded {
            different.push(format!("{path}: exit {ended}, not {recorded}"));
        }
    }
    let report = machine.report().unwrap();
    let said: Vec<&String> = report.atomic_sleeps.iter().map(|sleep| &sleep.reason).collect();
    assert!(said.is_empty(), "{said:?}");
    let names: Vec<_> = machine.list().unwrap().into_iter().map(|module| module.name).collect();
    let gone = |owner: &Option<_>| owner.as_ref().is_none_or(|owner| !names.contains(owner));
    let left: Vec<_> = report.registrations.iter().filter(|one| gone(&one.owner)).collect();
    assert!(left.is_empty(), "{left:#?}");
    // Where an init went wrong, what it uses stays.
    if wrong == 0 {
        assert!(different.len() * 1000 <= lines.len() * (1000 - AGREE), "{different:#?}");
    }
}
