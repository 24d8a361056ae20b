//! Damaged real modules loaded into a machine: the supervisor goes on whatever happens, and the machine's end is a value.
//!
//! `FERRMOD_MUTATIONS` says how many; the default is what a developer's run bears.

use std::time::{Duration, Instant};

use ferrmod_machine::{LoadOutcome, MachineError, Outcome};
use ferrmod_tests::corpus::budget;
use ferrmod_tests::random::Random;

use crate::stage::Stage;

/// Small modules of different kinds, so that many fit into a run.
const MODULES: [&str; 12] = [
    "crc7",
    "crc_itu_t",
    "nls_cp437",
    "nls_utf8",
    "lz4_compress",
    "md4",
    "reed_solomon",
    "ts_kmp",
    "base",
    "exporter",
    "works",
    "pcpu",
];
/// A part of the budget that other tests share is spent here, where each mutation costs a load: one in this many.
const SHARE: u64 = 20;
const DEFAULT: u64 = 400 * SHARE;

/// Where a module says what it is: the file header, the section headers, and each section that the loader interprets.
fn interesting(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let word = |at: usize| {
        let bytes: [u8; 8] = file.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        u64::from_le_bytes(bytes) as usize
    };
    // gABI, "ELF Header": e_shoff, e_shnum; "Section Header": sh_offset, sh_size.
    let table = word(40);
    let count = usize::from(u16::from_le_bytes([file[60], file[61]]));
    let mut ranges = vec![0..64, table..table + 64 * count];
    for section in 0..count {
        let (start, size) = (word(table + 64 * section + 24), word(table + 64 * section + 32));
        if size > 0 && start + size <= file.len() {
            ranges.push(start..start + size);
        }
    }
    ranges.retain(|range| !range.is_empty() && range.end <= file.len());
    ranges
}

fn mutate(file: &[u8], ranges: &[std::ops::Range<usize>], random: &mut Random) -> Vec<u8> {
    let mut copy = file.to_vec();
    for _ in 0..=random.below(4) {
        let range = &ranges[random.below(ranges.len())];
        let at = range.start + random.below(range.len());
        match random.below(6) {
            0 => copy[at] ^= 1 << random.below(8),
            1 => copy[at] = random.next() as u8,
            2 => copy[at] = if random.below(2) == 0 { 0 } else { 0xff },
            3 => copy[at] = copy[at].wrapping_add(1),
            4 => {
                let value = random.next().to_le_bytes();
                let end = (at + 8).min(copy.len());
                copy[at..end].copy_from_slice(&value[..end - at]);
            }
            _ => {
                let from = random.below(copy.len());
                let length = random.below(64).min(copy.len() - at).min(copy.len() - from);
                copy.copy_within(from..from + length, at);
            }
        }
    }
    if random.below(64) == 0 {
        copy.truncate(random.below(copy.len()));
    }
    copy
}

#[derive(Debug, Default)]
struct Count {
    loaded: u64,
    refused: u64,
    oopsed: u64,
    hung: u64,
    died: u64,
    boots: u64,
}

fn impatient() -> Option<Stage> {
    Stage::open_with(|options| {
        options.watchdog = Duration::from_millis(100);
        options.timeout = Duration::from_millis(600);
        options.grace = Duration::from_millis(1500);
    })
}

/// One damaged module; whether the machine can take another.
fn one(stage: &mut Stage, file: &[u8], count: &mut Count) -> Result<bool, MachineError> {
    match stage.machine.load(file, b"", Default::default())? {
        LoadOutcome::Loaded => {
            count.loaded += 1;
            let names = stage.machine.list()?;
            for module in names {
                match stage.machine.unload(&module.name, true)? {
                    Outcome::Done(()) => (),
                    // It runs a damaged exit, or none at all.
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        LoadOutcome::Errno(_) => {
            count.refused += 1;
            Ok(true)
        }
        LoadOutcome::Oopsed => {
            count.oopsed += 1;
            Ok(false)
        }
        LoadOutcome::Hung | LoadOutcome::TimedOut => {
            count.hung += 1;
            Ok(false)
        }
    }
}

#[test]
fn mutated_modules_never_reach_the_supervisor() {
    let Some(first) = impatient() else { return };
    let mut stage = Some(first);
    let mutations = budget("FERRMOD_MUTATIONS", DEFAULT).div_ceil(SHARE);
    let files: Vec<(Vec<u8>, Vec<std::ops::Range<usize>>)> = MODULES
        .iter()
        .map(|name| {
            let file = stage.as_ref().unwrap().file(name);
            let ranges = interesting(&file);
            (file, ranges)
        })
        .collect();
    let mut random = Random::new(0x0f3d_11e5_c0de_cafe);
    let mut count = Count::default();
    let start = Instant::now();
    for number in 0..mutations {
        let (file, ranges) = &files[number as usize % files.len()];
        let copy = mutate(file, ranges, &mut random);
        let machine = stage.get_or_insert_with(|| {
            count.boots += 1;
            impatient().unwrap()
        });
        match one(machine, &copy, &mut count) {
            Ok(true) => (),
            Ok(false) => stage = None,
            Err(error @ (MachineError::Died { .. } | MachineError::Hung { .. })) => {
                println!("mutation {number} of {}: {error}", MODULES[number as usize % MODULES.len()]);
                count.died += 1;
                stage = None;
            }
            Err(error) => panic!("mutation {number} of {}: {error}", MODULES[number as usize % MODULES.len()]),
        }
    }
    println!("{mutations} mutated modules in {:?}: {count:?}", start.elapsed());
    assert!(count.loaded > 0 && count.refused > 0, "{count:?}");
    // The supervisor is well, and so is its next machine.
    let mut last = impatient().unwrap();
    assert_eq!(last.load("crc7", ""), LoadOutcome::Loaded);
}
