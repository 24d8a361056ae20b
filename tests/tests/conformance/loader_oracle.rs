//! What stock Linux 6.1 answered to the loader's conformance cases, our kernel answers too: errno, log lines, `/proc/modules`
//! and the files of `/sys/module`.
//!
//! The recording (`tests/data/linux-6.1-loader-oracle.txt`) is replayed call by call in one machine. Left out are the parts
//! in [`NOT_REPLAYED`] and the loads in [`NOT_HERE`], each with its reason.

use ferrmod_machine::{LoadFlags, Outcome};
use ferrmod_tests::oracle::{self, Call, CallKind, Case, Line};

use crate::stage::{Said, Stage, number};

/// Titles whose cases are not replayed, and why.
const NOT_REPLAYED: [(&str, &str); 4] = [
    ("concurrency", "its calls are in the background: `semantics` makes them"),
    ("irq/preempt imbalance", "the report is about the real kernel's own code; `faults` has one of ours"),
    ("sig_enforce", "it is switched on at boot here, and `semantics` has such a machine"),
    ("lockdown", "a policy of the host's, which this kernel has not"),
];

/// Titles whose loads are not made, and why.
const NOT_HERE: [(&str, &str); 5] = [
    ("nonroot", "privilege belongs to the system call, which is not here"),
    ("invalid flags 8", "flags are checked by the system call, which is not here"),
    ("compressed flag 4", "flags are checked by the system call, which is not here"),
    (
        "10 byte init_module",
        "init_module(2) looks at the length by itself; here is one way in, which is finit_module's",
    ),
    ("R_X86_64_32 (overflow)", "modules lie in the low 2 GiB here, so that this relocation fits"),
];

/// Ends of files' names that are not compared, and why.
const NO_FILE: [(&str, &str); 3] = [
    ("/sections/.symtab", "the kernel keeps symbols for itself and gives the section no address"),
    ("/sections/.strtab", "as .symtab"),
    ("base/srcversion", "it is a sum over sources that were written anew for these tests"),
];

/// What Linux prints and this kernel does not: dumps of its own stack and of the machine it runs on, and the second CPU.
fn is_dump(text: &str) -> bool {
    let registers = ["RIP: 0033", "Code: ", "RSP: ", "RAX: ", "RDX: ", "RBP: ", "R10: ", "R13: "];
    let machine = ["CPU: ", "Hardware name: ", "Call Trace:", " ", "pcpu 1 "];
    registers.iter().chain(&machine).any(|start| text.starts_with(start))
}

/// Hexadecimal numbers of 16 digits, and what a relocation found, masked: they are or depend on addresses.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_hexdigit() {
            run.push(character);
            continue;
        }
        if run.len() == 16 || out.ends_with(", val ") {
            out.push('#')
        } else {
            out.push_str(&run)
        }
        run.clear();
        if character != '\0' {
            out.push(character);
        }
    }
    out
}

/// The bytes of a file of the recording.
fn file(stage: &Stage, file: &str) -> Vec<u8> {
    let source = oracle::source_of(file).unwrap_or_else(|| panic!("{file}"));
    oracle::mutate(file, &stage.file(source)).unwrap_or_else(|| panic!("{file}"))
}

fn perform(stage: &mut Stage, call: &Call<'_>) -> i64 {
    match call.kind {
        CallKind::Finit | CallKind::Init => {
            let bytes = file(stage, call.file().unwrap());
            let flags = LoadFlags::from_bits_truncate(call.flags.unwrap_or(0));
            number(stage.machine.load(&bytes, call.arguments.as_bytes(), flags).unwrap())
        }
        CallKind::Delete => {
            /// `O_TRUNC`: force.
            const FORCE: u32 = 0x200;
            stage.unload_with(call.target, call.unload_flags() & FORCE != 0)
        }
        CallKind::Write => match stage.machine.write_file(call.target, call.arguments.as_bytes()).unwrap() {
            Outcome::Done(count) => count as i64,
            Outcome::Errno(errno) => -i64::from(errno),
            other => panic!("{call:?}: {other:?}"),
        },
        CallKind::BackgroundFinit | CallKind::BackgroundDelete => unreachable!("background calls are not replayed"),
    }
}

fn compare(stage: &mut Stage, case: &Case<'_>, wrong: &mut Vec<String>) {
    let Some(call) = &case.call else { return };
    let mut differs = |what: String| wrong.push(format!("line {}: {}: {call:?}: {what}", case.number, case.title));
    if call.file().is_some() && NOT_HERE.iter().any(|(title, _)| case.title.contains(title)) {
        return;
    }
    stage.said();
    let answer = perform(stage, call);
    if answer != call.result {
        differs(format!("ours {answer}"));
    }
    let line = |level: u8, text: &str| Said { level, text: masked(text) };
    let ours: Vec<Said> =
        stage.said().iter().filter(|said| !is_dump(&said.text)).map(|said| line(said.level, &said.text)).collect();
    let theirs: Vec<Said> =
        case.log.iter().filter(|said| !is_dump(said.text)).map(|said| line(said.level, said.text)).collect();
    if ours != theirs {
        differs(format!("\n  Linux {theirs:#?}\n  ours  {ours:#?}"));
    }
    let listed = stage.read("/proc/modules").unwrap();
    for theirs in &case.modules {
        // The address is another.
        let theirs = without_address(&theirs.to_string());
        if !listed.lines().any(|ours| without_address(ours) == theirs) {
            differs(format!("/proc/modules has no line {theirs}, but\n{listed}"));
        }
    }
    for seen in &case.seen {
        if NO_FILE.iter().any(|(end, _)| seen.to_string().split([':', ' ']).any(|word| word.ends_with(end))) {
            continue;
        }
        match look(stage, seen) {
            Ok(()) => (),
            Err(ours) => differs(format!("\n  Linux {seen}\n  ours  {ours}")),
        }
    }
}

fn without_address(line: &str) -> String {
    let words = line.split(' ').map(|word| if word.starts_with("0x") { "0x#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Without the digits at the end of names the compiler numbers.
fn unnumbered(line: &str) -> String {
    let (symbol, module) = line.split_once('\t').unwrap_or((line, ""));
    format!("{}\t{module}", symbol.trim_end_matches(|digit: char| digit.is_ascii_digit()))
}

/// Looks at what the recording looked at; what is there instead.
fn look(stage: &mut Stage, seen: &Line<'_>) -> Result<(), String> {
    match *seen {
        Line::Content { path, content } => match stage.read(path) {
            Ok(ours) if masked(ours.trim_end_matches('\n')) == masked(content) => Ok(()),
            other => Err(format!("{other:?}")),
        },
        Line::Unopened { path, error } => match stage.read(path) {
            Err(ours) if ours == error => Ok(()),
            other => Err(format!("{other:?}")),
        },
        Line::Node { path, mode, size, folder } => {
            let theirs = if folder { 0o040_000 } else { 0o100_000 } | u32::from(mode);
            match stage.machine.mode(path).unwrap() {
                Outcome::Done(ours) if ours == theirs => (),
                other => return Err(format!("{other:?}")),
            }
            let (above, name) = path.rsplit_once('/').unwrap();
            match stage.machine.list_directory(above).unwrap() {
                Outcome::Done(names) if names.iter().any(|other| other == name) => (),
                other => return Err(format!("{other:?}")),
            }
            // A binary file's size is its content's, an attribute's a page and an address's the length of one.
            if path.contains("/notes/") {
                let ours = stage.machine.read_file(path).unwrap().done().map(|bytes| bytes.len() as u64);
                return if ours == Some(size) { Ok(()) } else { Err(format!("{ours:?} bytes")) };
            }
            Ok(())
        }
        Line::Symbol { kind, name, module, .. } => {
            let listed = stage.read("/proc/kallsyms").unwrap();
            let end = format!(" {kind} {name}\t[{module}]");
            if listed.lines().any(|line| unnumbered(line).ends_with(&unnumbered(&end))) { Ok(()) } else { Err(listed) }
        }
        _ => Ok(()),
    }
}

#[test]
fn the_loader_says_what_linux_says() {
    // As on the recorded machine's command line.
    let blacklist = vec![b"foo".to_vec(), b"nothinx".to_vec()];
    let Some(mut stage) = Stage::open_with(|options| options.blacklist = blacklist) else { return };
    let cases = oracle::cases(oracle::TEXT).unwrap();
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for case in cases.iter().filter(|case| !NOT_REPLAYED.iter().any(|(title, _)| case.title.contains(title))) {
        compare(&mut stage, case, &mut wrong);
        compared += 1;
    }
    assert!(compared > 250, "only {compared} cases");
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}
