//! What loading and unloading twenty modules takes, in instructions: the kernel boots in QEMU, whose processor counts one tick of its
//! time-stamp counter for each (`-icount shift=0`), so that the numbers do not depend on the machine or on what else it does.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

use ferrmod_image::linux::Image;
use ferrmod_tests::corpus::{module_name, tree_or_skip};
use ferrmod_tests::qemu::qemu_or_skip;

#[path = "../tests/guest/mod.rs"]
#[expect(dead_code, reason = "the other verdicts, and what is said, are for the tests")]
mod guest;
use guest::archive::Archive;
use guest::{GOOD, boot_with, facts};

/// Small ones and large ones, of every part of the tree.
const MODULES: [&str; 20] = [
    "crc7",
    "crc16",
    "libarc4",
    "lz4_compress",
    "reed_solomon",
    "ts_kmp",
    "nls_cp437",
    "nls_cp932",
    "md4",
    "michael_mic",
    "xxhash_generic",
    "algif_hash",
    "brd",
    "isofs",
    "dummy",
    "x_tables",
    "sch_fq",
    "lm75",
    "e1000e",
    "snd",
];

/// Puts a module and those it depends on into the archive.
fn add(name: &str, files: &HashMap<String, PathBuf>, seen: &mut HashSet<String>, archive: &mut Archive) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    let file = files.get(name).unwrap_or_else(|| panic!("the tree has no {name}"));
    let bytes = fs::read(file).expect("a module can be read");
    let image = Image::read(&bytes).expect("a module of the tree");
    let depends = image.modinfo().get("depends").map(ToString::to_string).unwrap_or_default();
    for other in depends.split(',').filter(|other| !other.is_empty()) {
        add(&other.replace('-', "_"), files, seen, archive);
    }
    archive.add(&format!("lib/modules/{name}.ko"), &bytes);
}

fn main() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    if !qemu_or_skip() {
        return;
    }
    let files: HashMap<String, PathBuf> =
        tree.files().into_iter().filter_map(|path| Some((module_name(&path)?, path))).collect();
    let mut archive = Archive::default();
    archive.add("etc/ferrmod/facts", &facts(&tree));
    let (mut seen, mut script) = (HashSet::new(), String::new());
    for name in MODULES {
        add(name, &files, &mut seen, &mut archive);
        // What it depends on is there, and so is what is made when it is loaded for the first time.
        script += &format!("modprobe {name}\nrmmod {name}\ncount insmod /lib/modules/{name}.ko\ncount rmmod {name}\n");
    }
    archive.add("init.ferrmod", script.as_bytes());
    let run = boot_with(archive, &["-icount", "shift=0"]);
    run.ends_with(GOOD);
    let mut counts = HashMap::new();
    let mut last = None;
    for line in run.console.lines() {
        if let Some(count) = line.strip_prefix("counts: ") {
            last = count.parse::<u64>().ok();
        } else if let (Some(did), Some(count)) = (line.strip_prefix("ok: count "), last.take()) {
            counts.insert(did.to_owned(), count);
        }
    }
    println!("| module | bytes | load and init | exit and unload |\n|---|---|---|---|");
    for name in MODULES {
        let count = |did: String| counts.get(&did).map_or_else(|| "-".to_owned(), u64::to_string);
        let size = fs::metadata(&files[name]).map_or(0, |file| file.len());
        let load = count(format!("insmod /lib/modules/{name}.ko"));
        println!("| `{name}` | {size} | {load} | {} |", count(format!("rmmod {name}")));
    }
    if counts.len() != 2 * MODULES.len() {
        eprintln!("some did not do as expected:\n{}", run.console);
        std::process::exit(1);
    }
}
