//! Several CPUs: `tests/modules/work/cpus.c` says the same as on Debian's 6.1 in QEMU with two processors, and two CPUs that wait for each other are both shown.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrmod_machine::{LoadFlags, LoadOutcome, Machine, Options, facts_cache};
use ferrmod_tests::corpus::{own_module_or_skip, tree_or_skip};

struct Ran {
    outcome: LoadOutcome,
    log: Vec<String>,
    report: ferrmod_machine::Report,
}

/// Loads a module into a machine with so many CPUs, and unloads it if it came up; `None` without the corpus.
fn run(name: &str, cpus: u32, arguments: &str) -> Option<Ran> {
    let (tree, module) = (tree_or_skip("6.1")?, own_module_or_skip(name)?);
    let facts = facts_cache::open(&tree.vmlinuz).unwrap_or_else(|error| panic!("{error}"));
    let options = Options { facts: Some(facts), cpus, timeout: Duration::from_secs(120), ..Options::default() };
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    let sink = Box::new(move |line: &ferrmod_machine::LogLine| kept.lock().unwrap().push(line.text.to_string()));
    let mut machine = Machine::boot(options, sink, Box::new(|_| None)).unwrap();
    let bytes = std::fs::read(module).unwrap();
    let outcome = machine.load(&bytes, arguments.as_bytes(), LoadFlags::default()).unwrap();
    if outcome == LoadOutcome::Loaded {
        machine.unload(name.as_bytes(), false).unwrap();
    }
    let report = machine.report().unwrap();
    let log = log.lock().unwrap().clone();
    Some(Ran { outcome, log, report })
}

/// What a module says.
fn said<'a>(ran: &'a Ran, name: &str) -> Vec<&'a str> {
    let of_module = |line: &'a String| line.strip_prefix(name)?.strip_prefix(": ");
    ran.log.iter().filter_map(of_module).filter(|line| !line.contains("taint")).collect()
}

#[test]
fn two_cpus_do_what_linux_does() {
    let Some(ran) = run("cpus", 2, "") else { return };
    let lines = said(&ran, "cpus");
    assert_eq!(ran.outcome, LoadOutcome::Loaded, "{:#?}", ran.log);
    assert_eq!(lines.first(), Some(&"2 online, 2 possible"));
    assert_eq!(lines.iter().filter(|line| line.ends_with(": right")).count(), lines.len() - 1, "{lines:#?}");
    assert_eq!(lines.len(), 14, "{lines:#?}");
    assert!(ran.report.memory.is_empty() && ran.report.registrations.is_empty(), "{:#?}", ran.report);
}

#[test]
fn one_cpu_is_one_cpu() {
    let Some(ran) = run("cpus", 1, "") else { return };
    assert_eq!((ran.outcome, said(&ran, "cpus")), (LoadOutcome::Errno(19), vec!["1 online, 1 possible"]));
}

#[test]
fn a_deadlock_of_two_cpus_shows_both() {
    let Some(ran) = run("cpus", 2, "deadlock=1") else { return };
    let all = ran.log.join("\n");
    assert!(matches!(ran.outcome, LoadOutcome::Hung | LoadOutcome::TimedOut), "{:?} {all}", ran.outcome);
    assert!(all.contains("BUG: spinlock lockup") && all.contains("has another CPU and goes no further"), "{all}");
    assert!(all.matches(" embrace+").count() >= 2, "{all}");
}

/// `tests/modules/work/listeners.c`, as on Debian's 6.1 in QEMU with two processors.
#[test]
fn a_listener_goes_when_the_other_cpu_gives_it_nothing_any_more() {
    let Some(ran) = run("listeners", 2, "") else { return };
    assert_eq!(ran.outcome, LoadOutcome::Loaded, "{:#?}", ran.log);
    assert_eq!(
        said(&ran, "listeners"),
        ["one goes when the other has heard: right", "heard 1 and 0"],
        "{:#?}",
        ran.log
    );
    assert!(ran.report.memory.is_empty() && ran.report.registrations.is_empty(), "{:#?}", ran.report);
}
