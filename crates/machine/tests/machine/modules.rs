//! Real modules, in machines.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::{Test, boot};
use ferrmod_image::compress;
use ferrmod_machine::{Argument, LoadFlags, LoadOutcome, Machine, Options, Outcome, facts_cache};
use ferrmod_tests::corpus::{Tree, tree_or_skip};

fn options(tree: &Tree) -> Options {
    let facts = facts_cache::open(&tree.vmlinuz).unwrap_or_else(|error| panic!("{error}"));
    Options { facts: Some(facts), ..Options::default() }
}

fn read(path: &Path) -> Vec<u8> {
    let file = std::fs::read(path).unwrap();
    compress::decompress(&file, 1 << 30).unwrap().into_owned()
}

fn loaded(test: &mut Test, tree: &Tree, name: &str) {
    let file = read(&tree.file(name).unwrap());
    let outcome =
        test.machine.load(&file, b"", LoadFlags::empty()).unwrap_or_else(|error| panic!("{error}\n{}", test.text()));
    assert_eq!(outcome, LoadOutcome::Loaded, "{name}: {}", test.text());
}

#[test]
fn crc7_computes_and_leaves_nothing() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = tree_or_skip(version) else { continue };
        let mut test = boot(options(&tree));
        loaded(&mut test, &tree, "crc7");
        assert_eq!(test.machine.list().unwrap().len(), 1);
        let address = test.machine.symbol(b"crc7_be").unwrap().unwrap();
        let arguments = [Argument::Value(0), Argument::In(vec![0x40, 0, 0, 0, 0]), Argument::Value(5)];
        // The CRC of an SD card's CMD0 is 0x95 with the end bit (SD Physical Layer Specification, 4.5).
        let called = test.machine.call(address, &arguments).unwrap().done().unwrap();
        assert_eq!(called.value & 0xff, 0x94);
        let file = test.machine.read_file("/proc/modules").unwrap().done().unwrap();
        assert!(file.starts_with(b"crc7 "), "{}", String::from_utf8_lossy(&file));
        assert_eq!(test.machine.unload(b"crc7", false).unwrap(), Outcome::Done(()));
        let report = test.machine.report().unwrap();
        assert_eq!((report.registrations.len(), report.memory.len()), (0, 0), "{report:?}");
    }
}

#[test]
fn request_module_reaches_the_supervisor() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let trees = tree.clone();
    let mut machine = Machine::boot(
        options(&tree),
        Box::new(|_| ()),
        Box::new(move |name| trees.file(name).map(|path| vec![(read(&path), Vec::new())])),
    )
    .unwrap();
    // Its init asks for nls_cp932 and fails without it.
    let outcome = machine.load(&read(&tree.file("nls_euc_jp").unwrap()), b"", LoadFlags::empty()).unwrap();
    assert_eq!(outcome, LoadOutcome::Loaded);
    let names: Vec<String> = machine.list().unwrap().into_iter().map(|module| module.name.to_string()).collect();
    assert!(names.contains(&"nls_cp932".to_owned()), "{names:?}");
}

#[test]
fn a_round_trip_is_fast() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let start = Instant::now();
    let options = options(&tree);
    println!("facts: {:?}", start.elapsed());
    let start = Instant::now();
    drop(boot(options.clone()));
    println!("boot with the Linux world, first: {:?}", start.elapsed());
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let start = Instant::now();
            let test = boot(options.clone());
            let time = start.elapsed();
            drop(test);
            time
        })
        .collect();
    times.sort_unstable();
    println!("boot with the Linux world: median {:?}, best {:?}", times[10], times[0]);
    let mut test = boot(options);
    let file = read(&tree.file("crc7").unwrap());
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        assert_eq!(test.machine.load(&file, b"", LoadFlags::empty()).unwrap(), LoadOutcome::Loaded);
        times.push(start.elapsed());
        test.machine.unload(b"crc7", false).unwrap();
    }
    println!("crc7, first: {:?}", times[0]);
    times.sort_unstable();
    println!("crc7, load and init: median {:?}, best {:?}", times[100], times[0]);
}

/// Files one after another without their dependencies, in one machine: whatever each of them ends as, the machine lives. By
/// default a few hundred; `FERRMOD_ALL=1` takes the whole tree.
#[test]
fn no_module_ends_the_machine() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let mut options = options(&tree);
    options.timeout = Duration::from_millis(100);
    let all = std::env::var_os("FERRMOD_ALL").is_some();
    let wanted = |path: &PathBuf| {
        let path = path.to_string_lossy();
        all || ["/fs/nls/", "/kernel/lib/", "/rc/keymaps/", "/crypto/"].iter().any(|part| path.contains(part))
    };
    let files: Vec<(PathBuf, Vec<u8>)> =
        tree.files().into_iter().filter(wanted).map(|path| (path.clone(), read(&path))).collect();
    let mut test = boot(options);
    let start = Instant::now();
    let mut count = std::collections::BTreeMap::<String, u32>::new();
    for (path, file) in &files {
        match test.machine.load(file, b"", LoadFlags::empty()) {
            Ok(outcome) => *count.entry(format!("{outcome:?}")).or_default() += 1,
            Err(error) => panic!("{}: {error}\n{}", path.display(), test.text()),
        }
    }
    println!("{} files in {:?}: {count:?}", files.len(), start.elapsed());
}

/// Five hundred modules, one after another, all loaded at the end: copies of one under different names.
#[test]
fn five_hundred_modules() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let path = ferrmod_tests::corpus::folder().join("modules/nothing.ko");
    let Ok(original) = std::fs::read(&path) else {
        ferrmod_tests::corpus::skip("nothing.ko", "run `cargo xtask modules`");
        return;
    };
    let copies: Vec<Vec<u8>> = (0..500)
        .map(|number| {
            let name = format!("n{number:06}");
            let mut copy = original.clone();
            let places: Vec<usize> =
                copy.windows(7).enumerate().filter(|(_, bytes)| bytes == b"nothing").map(|(at, _)| at).collect();
            for at in places {
                copy[at..at + 7].copy_from_slice(name.as_bytes());
            }
            copy
        })
        .collect();
    let start = Instant::now();
    let mut test = boot(options(&tree));
    for copy in &copies {
        let outcome = test.machine.load(copy, b"", LoadFlags::empty()).unwrap();
        assert_eq!(outcome, LoadOutcome::Loaded, "{}", test.text());
    }
    println!("500 modules: {:?}", start.elapsed());
    assert_eq!(test.machine.list().unwrap().len(), 500);
    let start = Instant::now();
    for number in 0..500 {
        assert_eq!(test.machine.unload(format!("n{number:06}").as_bytes(), false).unwrap(), Outcome::Done(()));
    }
    println!("unloaded: {:?}", start.elapsed());
    assert!(test.machine.report().unwrap().memory.is_empty());
}
