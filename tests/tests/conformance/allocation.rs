//! Memory that fails: every allocation of a load in turn. The load answers ENOMEM (or goes on, where the module itself can do
//! without) and leaves nothing; the next load of the same module succeeds.

use ferrmod_image::linux::Image;
use ferrmod_machine::{LoadOutcome, Report};

use crate::stage::{Stage, left};

/// Modules of the tree and of our own, each with what else may become of its load, and why.
const MODULES: &[(&str, &[i32])] = &[
    ("crc7", &[]),
    ("crc_itu_t", &[]),
    ("lz4_compress", &[]),
    ("reed_solomon", &[]),
    ("ts_kmp", &[]),
    ("nls_cp437", &[]),
    ("nls_utf8", &[]),
    ("md4", &[]),
    ("xxhash_generic", &[]),
    ("ccm", &[]),
    ("p8022", &[]),
    ("base", &[]),
    ("exporter", &[]),
    ("pcpu", &[]),
    ("threads", &[]),
    ("works", &[]),
    ("timers", &[]),
    ("chardev", &[]),
    ("files", &[]),
];

/// `ENOMEM`.
const NO_MEMORY: LoadOutcome = LoadOutcome::Errno(12);

/// What must be the same before and after.
fn state(stage: &mut Stage) -> (Vec<String>, Vec<String>, u64) {
    let report: Report = stage.report();
    (stage.modules(), left(&report), report.heap)
}

fn load_what_it_needs(stage: &mut Stage, name: &str) {
    let file = stage.file(name);
    let image = Image::read(&file).unwrap();
    let depends = image.modinfo().get("depends").map(ToString::to_string).unwrap_or_default();
    for other in depends.split(',').filter(|other| !other.is_empty()) {
        load_what_it_needs(stage, other);
        assert!(matches!(stage.load(other, ""), LoadOutcome::Loaded | LoadOutcome::Errno(17)), "{other}");
    }
}

fn every_allocation(name: &str, others: &[i32], wrong: &mut Vec<String>) -> Option<u64> {
    let mut stage = Stage::open()?;
    load_what_it_needs(&mut stage, name);
    // What is made once, on first use, is there afterwards.
    for _ in 0..2 {
        assert_eq!(stage.load(name, ""), LoadOutcome::Loaded, "{name}: {}", stage.text());
        assert_eq!(stage.unload(name), 0, "{name}");
    }
    let before = state(&mut stage);
    stage.machine.fail_allocation(0).unwrap();
    assert_eq!(stage.load(name, ""), LoadOutcome::Loaded, "{name}");
    let count = stage.report().allocations;
    assert_eq!(stage.unload(name), 0, "{name}");
    let file = stage.file(name);
    let (mut failed, mut tolerated) = (0, 0);
    for number in 1..=count {
        stage.machine.fail_allocation(number).unwrap();
        let outcome = match stage.machine.load(&file, b"", Default::default()) {
            Ok(outcome) => outcome,
            Err(error) => {
                wrong.push(format!("{name}, allocation {number} of {count}: {error}"));
                return Some(count);
            }
        };
        stage.machine.fail_allocation(0).unwrap();
        match outcome {
            NO_MEMORY => failed += 1,
            LoadOutcome::Loaded => {
                tolerated += 1;
                assert_eq!(stage.unload(name), 0, "{name}");
            }
            LoadOutcome::Errno(errno) if others.contains(&errno) => failed += 1,
            other => wrong.push(format!("{name}, allocation {number} of {count}: {other:?}\n{}", stage.text())),
        }
        let after = state(&mut stage);
        if after != before {
            wrong.push(format!(
                "{name}, allocation {number} of {count} ({outcome:?}): before {before:?}, after {after:?}\n{}",
                stage.text()
            ));
            return Some(count);
        }
        stage.said();
    }
    if failed == 0 {
        wrong.push(format!("{name}: no allocation of {count} failed the load"));
    }
    assert_eq!(stage.load(name, ""), LoadOutcome::Loaded, "{name}");
    println!("{name:16} {count:3} allocations: {failed} fail the load, {tolerated} do not matter");
    Some(count)
}

#[test]
fn a_load_that_runs_out_of_memory_leaves_nothing() {
    let mut wrong = Vec::new();
    let mut all = 0;
    for (name, others) in MODULES {
        let Some(count) = every_allocation(name, others, &mut wrong) else { return };
        all += count;
    }
    assert!(wrong.is_empty(), "{} of {all}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(all > 120, "{all} allocations");
}
