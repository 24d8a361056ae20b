//! What stock Linux 6.1 answered to the loader's conformance cases, our kernel answers too: errno and log lines.
//!
//! The recording (`tests/data/linux-6.1-loader-oracle.txt`) is replayed call by call in one machine. Left out are the parts that
//! need another boot line or a second task on the caller's side (see [`LAST`]), and the calls in [`NOT_HERE`], each with its
//! reason.

use std::sync::{Arc, Mutex};

use ferrmod_machine::{LoadFlags, LoadOutcome, Machine, Options, Outcome, facts_cache};
use ferrmod_tests::corpus::{own_module_or_skip, tree_or_skip};
use ferrmod_tests::oracle::{self, Call, CallKind, Case};

/// The cases from this heading on are not replayed: background calls, `sig_enforce`, lockdown, `modules_disabled`, and an
/// imbalance of interrupts, which this kernel does not have.
const LAST: &str = "irq/preempt imbalance";

/// Titles and the reason they are not compared.
const NOT_HERE: [(&str, &str); 4] = [
    ("nonroot", "privilege belongs to the system call, which is not here"),
    ("invalid flags 8", "flags are checked by the system call, which is not here"),
    ("compressed flag 4", "flags are checked by the system call, which is not here"),
    ("signed module, one text byte flipped", "the cryptography of signatures is not checked yet"),
];

/// Hexadecimal numbers of 16 digits, which are addresses, masked.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_hexdigit() {
            run.push(character);
            continue;
        }
        if run.len() == 16 { out.push('#') } else { out.push_str(&run) }
        run.clear();
        if character != '\0' {
            out.push(character);
        }
    }
    out
}

/// What Linux prints and this kernel does not: its own dumps of the stack and of the machine it runs on.
fn is_dump(text: &str) -> bool {
    ["CPU: ", "Hardware name: ", "Call Trace:", " <TASK>", " </TASK>", "RIP: ", "RSP: ", "Code: "]
        .iter()
        .any(|start| text.starts_with(start))
        || text.starts_with(' ')
        || ["RAX", "RDX", "RBP", "R10", "R13"].iter().any(|register| text.starts_with(register))
}

fn perform(machine: &mut Machine, call: &Call<'_>) -> i64 {
    let load = |machine: &mut Machine, flags: u32| {
        let file = call.file().unwrap();
        let name = file.trim_end_matches(".ko");
        let source = oracle::source_of(file).or_else(|| oracle::source_of(name)).unwrap_or_else(|| panic!("{file}"));
        let bytes = match source {
            "nls_cp437" => std::fs::read(tree_or_skip("6.1").unwrap().file("nls_cp437").unwrap()).unwrap(),
            own => std::fs::read(own_module_or_skip(own).unwrap()).unwrap(),
        };
        let bytes = oracle::mutate(file, &bytes).unwrap_or_else(|| panic!("{file}"));
        let flags = LoadFlags::from_bits_truncate(flags);
        match machine.load(&bytes, call.arguments.as_bytes(), flags).unwrap() {
            LoadOutcome::Loaded => 0,
            LoadOutcome::Errno(errno) => -i64::from(errno),
            other => panic!("{call:?}: {other:?}"),
        }
    };
    match call.kind {
        CallKind::Finit => load(machine, call.flags.unwrap_or(0)),
        CallKind::Init => load(machine, 0),
        CallKind::Delete => {
            /// `O_TRUNC`: force.
            const FORCE: u32 = 0x200;
            match machine.unload(call.target.as_bytes(), call.unload_flags() & FORCE != 0).unwrap() {
                Outcome::Done(()) => 0,
                Outcome::Errno(errno) => -i64::from(errno),
                other => panic!("{call:?}: {other:?}"),
            }
        }
        CallKind::Write => match machine.write_file(call.target, call.arguments.as_bytes()).unwrap() {
            Outcome::Done(count) => count as i64,
            Outcome::Errno(errno) => -i64::from(errno),
            other => panic!("{call:?}: {other:?}"),
        },
        CallKind::BackgroundFinit | CallKind::BackgroundDelete => unreachable!("not before {LAST}"),
    }
}

fn compare(machine: &mut Machine, log: &Mutex<Vec<String>>, case: &Case<'_>, wrong: &mut Vec<String>) {
    let Some(call) = &case.call else { return };
    log.lock().unwrap().clear();
    let answer = perform(machine, call);
    if answer != call.result {
        wrong.push(format!("line {}: {}: {call:?}: ours {answer}", case.number, case.title));
    }
    let ours: Vec<String> = log.lock().unwrap().iter().filter(|text| !is_dump(text)).map(|text| masked(text)).collect();
    let theirs: Vec<String> =
        case.log.iter().map(|line| line.text).filter(|text| !is_dump(text)).map(masked).collect();
    if ours != theirs {
        wrong.push(format!("line {}: {}: {call:?}\n  Linux {theirs:#?}\n  ours  {ours:#?}", case.number, case.title));
    }
}

#[test]
fn the_loader_says_what_linux_says() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    if own_module_or_skip("base").is_none() {
        return;
    }
    let facts = facts_cache::open(&tree.vmlinuz).unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&log);
    let options = Options {
        facts: Some(facts),
        // As on the recorded machine's command line.
        blacklist: vec![b"foo".to_vec(), b"nothinx".to_vec()],
        ..Options::default()
    };
    let mut machine = Machine::boot(
        options,
        Box::new(move |line| sink.lock().unwrap().push(line.text.to_string())),
        Box::new(|_| None),
    )
    .unwrap();
    let cases = oracle::cases(oracle::TEXT).unwrap();
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for case in cases.iter().take_while(|case| !case.title.contains(LAST)) {
        if NOT_HERE.iter().any(|(title, _)| case.title.contains(title)) {
            continue;
        }
        compare(&mut machine, &log, case, &mut wrong);
        compared += 1;
    }
    assert!(compared > 250, "only {compared} cases");
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}
