//! The modules of `tests/modules/work`: they use the kernel, and what they say is what they said on Linux.

use std::time::Duration;

use ferrmod_machine::Outcome;
use ferrmod_tests::oracle::{self, CallKind, Case, Line};

use crate::stage::{Stage, left, number};

/// Sections of the recording that this file replays: all before the faults.
const END: &str = "two modules that need each other";

/// What a module leaves behind on purpose: title, parameters, and what the report says.
fn leaves(case: &Case<'_>) -> Option<&'static str> {
    match (case.title, case.call?.arguments) {
        ("leak", arguments) if !arguments.contains("none") => Some("bytes"),
        ("leakreg", arguments) if !arguments.contains("nothing") => Some("chrdev"),
        _ => None,
    }
}

fn text<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    lines
        .filter(|line| !line.contains("taints kernel") && !line.contains("tainting kernel"))
        .map(|line| {
            // Whether a major number is above 0 is all that is said of it.
            line.to_owned()
        })
        .collect()
}

fn look(stage: &mut Stage, seen: &Line<'_>) -> Option<String> {
    let Line::Content { path, content } = *seen else { return None };
    match stage.read(path) {
        Ok(ours) if ours.lines().next() == Some(content) => None,
        other => Some(format!("{path}: Linux {content:?}, ours {other:?}")),
    }
}

#[test]
fn our_modules_do_their_work_as_on_linux() {
    let cases = oracle::cases(oracle::OWN_MODULES).unwrap();
    let mut wrong = Vec::new();
    let mut machine = None;
    let mut expects: Option<&str> = None;
    let mut count = 0;
    for case in cases.iter().take_while(|case| case.title != END) {
        let Some(call) = case.call else { continue };
        count += 1;
        let name = call.target.rsplit('/').next().unwrap().trim_end_matches(".ko");
        if call.kind == CallKind::Finit {
            // Each in a machine of its own, so that what is left behind can be told apart.
            machine = Stage::open();
            expects = leaves(case);
        }
        let Some(stage) = &mut machine else { return };
        if call.kind == CallKind::Delete && name == "works" {
            // Between two calls the recorded kernel went on for a second.
            stage.machine.run(Duration::from_millis(1100)).unwrap();
        }
        let result = match call.kind {
            CallKind::Finit => number(stage.load(name, call.arguments)),
            CallKind::Delete => stage.unload(name),
            _ => panic!("{call:?}"),
        };
        let ours = text(stage.said().iter().map(|said| said.text.as_str()));
        let theirs = text(case.log.iter().map(|log| log.text));
        if result != call.result || ours != theirs {
            wrong.push(format!("{call:?}: ours {result}\nLinux {theirs:#?}\nours {ours:#?}"));
        }
        for module in &case.modules {
            let listed = stage.read("/proc/modules").unwrap();
            let line = module.to_string();
            let before = line.split(" 0x").next().unwrap();
            if !listed.lines().any(|line| line.split(" 0x").next() == Some(before)) {
                wrong.push(format!("/proc/modules has no {line}, but {listed}"));
            }
        }
        for seen in &case.seen {
            if seen.to_string().contains(": 12") || seen.to_string().contains("dev/ferrmod") {
                // After a write, which the recording does not show; the tests below make it.
                continue;
            }
            wrong.extend(look(stage, seen));
        }
        if call.kind == CallKind::Delete {
            let left = left(&stage.report());
            match expects {
                None if left.is_empty() => (),
                Some(what) if left.iter().any(|one| one.contains(what)) => {}
                _ => wrong.push(format!("{} left {left:?}, expected {expects:?}", case.title)),
            }
        }
    }
    assert!(count > 25, "{count} calls");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_character_device_is_read_and_written() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(number(stage.load("chardev", "")), 0, "{}", stage.text());
    for (path, first, text, after) in [
        ("/dev/ferrmod0", "ferrmod\n", "hello\n", "hello\nd\n"),
        ("/dev/ferrmod_misc", "hello\nd\n", "HELLO", "HELLO\nd\n"),
    ] {
        assert_eq!(stage.read(path).as_deref(), Ok(first), "{path}");
        assert_eq!(
            stage.machine.write_file(path, text.as_bytes()).unwrap(),
            Outcome::Done(text.len() as u64),
            "{path}"
        );
        assert_eq!(stage.read(path).as_deref(), Ok(after), "{path}");
    }
    assert_eq!(stage.unload("chardev"), 0);
    assert_eq!(stage.read("/dev/ferrmod0"), Err(-2));
    assert_eq!(left(&stage.report()), [""; 0]);
}

#[test]
fn files_of_a_module_are_read_and_written() {
    let Some(mut stage) = Stage::open() else { return };
    assert_eq!(number(stage.load("files", "")), 0, "{}", stage.text());
    let lines = stage.read("/proc/ferrmod_lines").unwrap();
    assert!(lines.starts_with("line 0 of ferrmod\n"), "{lines}");
    assert_eq!(stage.read("/sys/kernel/ferrmod_files/number").as_deref(), Ok("7\n"));
    assert_eq!(stage.machine.write_file("/sys/kernel/ferrmod_files/number", b"12\n").unwrap(), Outcome::Done(3));
    assert_eq!(stage.read("/sys/kernel/debug/ferrmod/number").as_deref().map(str::trim_end), Ok("12"));
    assert_eq!(stage.unload("files"), 0);
    for path in ["/proc/ferrmod_lines", "/sys/kernel/ferrmod_files/number", "/sys/kernel/debug/ferrmod/number"] {
        assert_eq!(stage.read(path), Err(-2), "{path}");
    }
    assert_eq!(left(&stage.report()), [""; 0]);
}
