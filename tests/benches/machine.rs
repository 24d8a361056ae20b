//! How long a machine takes: to boot, to load and unload one module, to load 500; and `ferrmod run` from exec to exit.
//!
//! See benches/README.md for the commands and the numbers measured. Every figure is a median.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ferrmod_image::compress::decompress;
use ferrmod_image::linux::Image;
use ferrmod_machine::{FactsBytes, LoadFlags, LoadOutcome, Machine, Options, facts_cache};
use ferrmod_tests::corpus::{Tree, module_name, tree_or_skip};
use ferrmod_tests::random::Random;

/// Modules of the large load.
const MANY: usize = 500;
/// How often it is made.
const ROUNDS: usize = 5;
/// Modules whose init times its own algorithms, for half a second.
const SELF_TIMED: [&str; 2] = ["raid6_pq", "xor"];
/// More than any module has.
const LARGEST: usize = 64 << 20;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn repeat(count: usize, mut run: impl FnMut() -> Duration) -> Duration {
    median((0..count).map(|_| run()).collect())
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = run();
    (start.elapsed(), value)
}

fn boot(facts: &FactsBytes) -> Machine {
    let timeout = Duration::from_secs(1);
    let options = Options { facts: Some(facts.clone()), timeout, ..Options::default() };
    Machine::boot(options, Box::new(|_| ()), Box::new(|_| None)).expect("a machine boots")
}

/// The modules of a tree by name, and in which order they can be loaded.
struct Files {
    paths: HashMap<String, PathBuf>,
    names: Vec<String>,
}

impl Files {
    fn new(tree: &Tree) -> Self {
        let paths: HashMap<String, PathBuf> =
            tree.files().into_iter().filter_map(|path| Some((module_name(&path)?, path))).collect();
        let mut names: Vec<String> = paths.keys().cloned().collect();
        names.sort();
        Self { paths, names }
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let bytes = std::fs::read(&self.paths[name]).expect("a module of the tree");
        decompress(&bytes, LARGEST).expect("a module of the tree").into_owned()
    }

    /// Adds a module behind those it depends on.
    fn add(&self, name: &str, seen: &mut HashSet<String>, chain: &mut Vec<String>) {
        if !self.paths.contains_key(name) || SELF_TIMED.contains(&name) || !seen.insert(name.to_owned()) {
            return;
        }
        let file = self.read(name);
        let image = Image::read(&file).expect("a module of the tree");
        let depends = image.modinfo().get("depends").map(ToString::to_string).unwrap_or_default();
        for other in depends.split(',').filter(|other| !other.is_empty()) {
            self.add(&other.replace('-', "_"), seen, chain);
        }
        chain.push(name.to_owned());
    }

    /// So many modules, always the same, each behind its dependencies.
    fn random(&self, count: usize) -> Vec<String> {
        let (mut seen, mut chain, mut random) = (HashSet::new(), Vec::new(), Random::new(0));
        while chain.len() < count {
            let name: &String = random.pick(&self.names);
            self.add(name, &mut seen, &mut chain);
        }
        chain.truncate(count);
        chain
    }
}

fn many(facts: &FactsBytes, files: &Files) {
    let chain = files.random(MANY);
    let bytes: u64 = chain.iter().map(|name| files.read(name).len() as u64).sum();
    let mut last = (0, 0, 0);
    let before = spent();
    let time = repeat(ROUNDS, || {
        let start = Instant::now();
        let mut machine = boot(facts);
        let (mut live, mut refused, mut dead) = (0, 0, 0);
        for name in &chain {
            match machine.load(&files.read(name), b"", LoadFlags::empty()).expect("the machine survives") {
                LoadOutcome::Loaded => live += 1,
                LoadOutcome::Errno(_) => refused += 1,
                other => {
                    if std::env::var_os("FERRMOD_LOG").is_some() {
                        eprintln!("{name}: {other:?}");
                    }
                    dead += 1;
                }
            }
        }
        let report = machine.report().expect("the machine survives");
        std::hint::black_box(report);
        last = (live, refused, dead);
        start.elapsed()
    });
    let spent = (spent() - before) / ROUNDS as u32;
    println!("{MANY} modules, {} MB, boot to report: {time:?}, processor time {spent:?}", bytes >> 20);
    println!("  live {}, init answers an error {}, oops {}", last.0, last.1, last.2);
}

fn round_trip(facts: &FactsBytes, files: &Files, name: &str) {
    let mut machine = boot(facts);
    let file = files.read(name);
    let mut round = |what: &str| {
        let (load, outcome) = timed(|| machine.load(&file, b"", LoadFlags::empty()).expect("the machine survives"));
        assert_eq!(outcome, LoadOutcome::Loaded, "{what}");
        let (unload, outcome) = timed(|| machine.unload(name.as_bytes(), false).expect("the machine survives"));
        outcome.done().expect("it unloads");
        (load, unload)
    };
    for _ in 0..20 {
        round("warm");
    }
    let rounds: Vec<(Duration, Duration)> = (0..300).map(|_| round("measured")).collect();
    let load = median(rounds.iter().map(|round| round.0).collect());
    let unload = median(rounds.iter().map(|round| round.1).collect());
    println!("{name} ({} kB): load {load:?}, unload {unload:?}", file.len() >> 10);
}

fn command(program: &Path, tree: &Tree, module: &str) -> Duration {
    repeat(31, || {
        let mut command = Command::new(program);
        command.arg("run").arg("--tree").arg(&tree.root).arg(module).stdout(Stdio::null()).stderr(Stdio::null());
        let (time, status) = timed(|| command.status().expect("the command runs"));
        assert!(status.success(), "{status}");
        time
    })
}

/// Processor time of this process and of the machines that have ended, user and system.
fn spent() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc_pid_stat(5): utime, stime, cutime, cstime are fields 14 to 17, in ticks of 10 ms.
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4);
    Duration::from_millis(ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

fn main() {
    // `cargo test --benches` only wants to see it run.
    let Some(tree) = tree_or_skip("6.1") else { return };
    let (cold, facts) = timed(|| facts_cache::open(&tree.vmlinuz).expect("the kernel image is read"));
    println!("facts, as they were: {cold:?}");
    println!("facts, warm: {:?}", repeat(21, || timed(|| facts_cache::open(&tree.vmlinuz).is_ok()).0));
    println!("boot: {:?}", repeat(51, || timed(|| boot(&facts)).0));
    let files = Files::new(&tree);
    for name in ["crc7", "nls_cp437", "md4", "lz4_compress"] {
        round_trip(&facts, &files, name);
    }
    many(&facts, &files);
    let program = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.parent()?.join("ferrmod")));
    match program.filter(|program| program.is_file()) {
        Some(program) => println!("ferrmod run crc7, exec to exit: {:?}", command(&program, &tree, "crc7")),
        None => println!("ferrmod run: build it first, with `cargo build --release -p ferrmod`"),
    }
}
