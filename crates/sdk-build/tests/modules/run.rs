//! In a machine: they load, work, fail and leave nothing behind.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bstr::ByteSlice;
use ferrmod_machine::{Argument, LoadFlags, LoadOutcome, Machine, Options, Outcome};
use ferrmod_sdk_build::module;

/// Linux's numbers.
const ENOENT: i32 = 2;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;

struct Test {
    machine: Machine,
    log: Arc<Mutex<Vec<String>>>,
}

impl Test {
    fn boot(options: Options) -> Test {
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let sink = move |line: &ferrmod_machine::LogLine| lines.lock().unwrap().push(line.text.to_string());
        let machine = Machine::boot(options, Box::new(sink), Box::new(|_| None)).unwrap();
        Test { machine, log }
    }

    fn load(&mut self, name: &str, arguments: &str) -> LoadOutcome {
        self.machine.load(&module(name), arguments.as_bytes(), LoadFlags::default()).unwrap()
    }

    fn unload(&mut self, name: &str) -> Outcome<()> {
        self.machine.unload(name.as_bytes(), false).unwrap()
    }

    fn said(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }

    fn read(&mut self, path: &str) -> Outcome<String> {
        match self.machine.read_file(path).unwrap() {
            Outcome::Done(bytes) => Outcome::Done(bytes.to_str_lossy().into_owned()),
            Outcome::Errno(errno) => Outcome::Errno(errno),
            other => panic!("{other:?}"),
        }
    }

    fn left_nothing(&mut self) {
        let report = self.machine.report().unwrap();
        assert!(report.registrations.is_empty(), "{:?}", report.registrations);
        assert!(report.memory.iter().all(|memory| memory.owner.is_none() && !memory.orphaned), "{:?}", report.memory);
    }
}

fn line(text: &str) -> Outcome<String> {
    Outcome::Done(format!("{text}\n"))
}

#[test]
fn one_module_uses_another() {
    let mut test = Test::boot(Options::default());
    assert_eq!(test.load("question", ""), LoadOutcome::Errno(ENOENT));
    assert!(test.said("question: Unknown symbol answer_to (err -2)"));
    assert_eq!(test.load("answer", "answer=7"), LoadOutcome::Loaded, "{:?}", test.log);
    assert!(test.said("answer: the answer is 7"));
    assert_eq!(test.load("question", "question=\"what then\""), LoadOutcome::Loaded);
    assert!(test.said("question: what then? 63"), "{:?}", test.log);
    let list = test.machine.list().unwrap();
    assert_eq!(
        (list[1].name.to_string(), list[1].users[0].to_string(), list[1].references),
        ("answer".into(), "question".into(), 1)
    );
    assert_eq!(test.unload("answer"), Outcome::Errno(EAGAIN));
    let address = test.machine.symbol(b"answer_to").unwrap().unwrap();
    assert_eq!(test.machine.call(address, &[Argument::Value(6)]).unwrap().done().unwrap().value as u32, 42);
    assert_eq!(test.unload("question"), Outcome::Done(()));
    assert_eq!(test.unload("answer"), Outcome::Done(()));
    assert!(test.said("answer: no more answers"));
    test.left_nothing();
}

#[test]
fn parameters_are_files() {
    let mut test = Test::boot(Options::default());
    assert_eq!(test.load("answer", "answer=0"), LoadOutcome::Errno(EINVAL));
    assert_eq!(test.load("answer", "answer=many"), LoadOutcome::Errno(EINVAL));
    assert!(test.said("answer: `many' invalid for parameter `answer'"), "{:?}", test.log);
    assert_eq!(test.load("answer", "modest nonsense=1"), LoadOutcome::Loaded);
    assert!(test.said("answer: unknown parameter 'nonsense' ignored"));
    assert!(!test.said("answer: the answer"));
    assert_eq!(test.read("/sys/module/answer/parameters/answer"), line("42"));
    assert_eq!(test.read("/sys/module/answer/parameters/modest"), line("Y"));
    let write =
        |test: &mut Test, text: &[u8]| test.machine.write_file("/sys/module/answer/parameters/answer", text).unwrap();
    assert_eq!(write(&mut test, b"0x10\n"), Outcome::Done(5));
    assert_eq!(write(&mut test, b"ten\n"), Outcome::Errno(EINVAL));
    assert_eq!(test.read("/sys/module/answer/parameters/answer"), line("16"));
    assert_eq!(test.unload("answer"), Outcome::Done(()));
    test.left_nothing();
}

#[test]
fn a_device_can_be_written_and_read() {
    let mut test = Test::boot(Options::default());
    assert_eq!(test.load("mailbox", ""), LoadOutcome::Loaded, "{:?}", test.log);
    assert_eq!(test.machine.write_file("/dev/mailbox", b"Dear reader\n").unwrap(), Outcome::Done(12));
    assert_eq!(test.machine.write_file("/dev/mailbox", b"no room\n").unwrap(), Outcome::Errno(EBUSY));
    assert_eq!(test.read("/dev/mailbox"), line("Dear reader"));
    assert_eq!(test.read("/dev/mailbox"), Outcome::Done(String::new()));
    assert_eq!(test.read("/proc/mailbox"), line("delivered 1"));
    assert_eq!(test.machine.report().unwrap().registrations.len(), 2);
    // A second one finds the name taken, and the first goes on.
    assert_eq!(test.unload("mailbox"), Outcome::Done(()));
    assert_eq!(test.read("/dev/mailbox"), Outcome::Errno(ENOENT));
    test.left_nothing();
}

#[test]
fn every_crash_is_an_oops() {
    let impatient =
        Options { watchdog: Duration::from_millis(200), timeout: Duration::from_millis(600), ..Options::default() };
    for (how, said) in [
        ("null", "BUG: kernel NULL pointer dereference, address: 0000000000000010"),
        ("index", "index out of bounds: the len is 3 but the index is 3"),
        ("write", "BUG: unable to handle page fault for address"),
        ("stack", "stack guard page was hit"),
        ("privileged", "general protection fault"),
        ("jump", "kernel tried to execute NX-protected page"),
        ("divide", "divide error"),
        ("free", "BUG: double free"),
        ("loop", "soft lockup"),
    ] {
        let mut test = Test::boot(impatient.clone());
        assert_eq!(test.load("crash", &format!("how={how}")), LoadOutcome::Oopsed, "{how}: {:?}", test.log);
        assert!(test.said(said), "{how} does not say {said:?}: {:#?}", test.log);
        assert!(test.said("[crash]"), "{how} names no function of the module: {:#?}", test.log);
        // The machine goes on.
        assert_eq!(test.load("answer", ""), LoadOutcome::Loaded, "{how}");
        assert_eq!(test.unload("answer"), Outcome::Done(()), "{how}");
    }
    let mut test = Test::boot(impatient);
    assert_eq!(test.load("crash", "how=sleep"), LoadOutcome::TimedOut);
    let mut test = Test::boot(Options::default());
    assert_eq!(test.load("crash", "how=politely"), LoadOutcome::Errno(EINVAL));
    test.left_nothing();
}

#[test]
fn a_panic_says_where() {
    let mut test = Test::boot(Options::default());
    assert_eq!(test.load("crash", "how=index"), LoadOutcome::Oopsed);
    assert!(test.said("kernel BUG at modules/crash/src/lib.rs:"), "{:#?}", test.log);
    // The back-trace has every function from the panic up to init, and no guesses.
    let log = test.log.lock().unwrap();
    let trace = log.iter().skip_while(|line| *line != " <TASK>").skip(1).take_while(|line| *line != " </TASK>");
    let names: Vec<&str> = trace.filter_map(|line| line.trim().split('+').next()).collect();
    let wanted = [
        "ferrmod_sdk::module::panicked",
        "core::panicking::panic_bounds_check",
        "crash::read_past_the_end",
        "crash::go_wrong",
        "init_module",
    ];
    let found: Vec<&str> = names.iter().copied().filter(|name| wanted.contains(name)).collect();
    assert_eq!(found, wanted, "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with('?')), "{names:?}");
}

/// Changes the CRC of `symbol` in a module's `__versions`.
fn with_another_crc(name: &str, symbol: &str) -> Vec<u8> {
    let mut file = module(name);
    let record = [symbol.as_bytes(), &[0]].concat();
    let mut places: Vec<usize> = file.find_iter(&record).collect();
    places.retain(|&at| at >= 8 && file[at - 4..at] == [0; 4] && file[at - 8..at] != [0; 8]);
    assert_eq!(places.len(), 1, "{symbol}: {places:?}");
    file[places[0] - 8] ^= 1;
    file
}

#[test]
fn another_crc_is_refused_by_name() {
    let mut test = Test::boot(Options::default());
    assert_eq!(test.load("answer", ""), LoadOutcome::Loaded);
    for symbol in ["answer_to", "ferrmod_log"] {
        let file = with_another_crc("question", symbol);
        let outcome = test.machine.load(&file, b"", LoadFlags::default()).unwrap();
        assert_eq!(outcome, LoadOutcome::Errno(EINVAL), "{symbol}");
        assert!(test.said(&format!("question: disagrees about version of symbol {symbol}")), "{:?}", test.log);
    }
    assert_eq!(test.load("question", ""), LoadOutcome::Loaded);
}

#[test]
fn a_failed_allocation_leaves_nothing() {
    let mut failed = 0;
    for number in 0..64 {
        let mut test = Test::boot(Options::default());
        test.machine.fail_allocation(number).unwrap();
        let first = test.load("answer", "");
        test.machine.fail_allocation(u64::MAX).unwrap();
        match first {
            LoadOutcome::Loaded => {
                assert_eq!(test.unload("answer"), Outcome::Done(()));
            }
            LoadOutcome::Errno(ENOMEM) => failed += 1,
            other => panic!("allocation {number}: {other:?} {:?}", test.log),
        }
        test.left_nothing();
        assert_eq!(test.load("answer", ""), LoadOutcome::Loaded, "allocation {number}");
    }
    assert!(failed >= 4, "only {failed} allocations failed");
}

/// A module that uses what the examples do not: tasks, time, randomness, exports for GPL modules.
fn worker() -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("worker");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let sdk = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"worker\"\nedition = \"2024\"\n[dependencies]\nferrmod-sdk = {{ path = {sdk:?} }}\n[workspace]\n"
    );
    let write = |name: &str, text: &str| {
        // Cargo looks at the time of a file: an unchanged one keeps it.
        let path = folder.join(name);
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text) {
            std::fs::write(path, text).unwrap();
        }
    };
    write("Cargo.toml", &manifest);
    write("src/lib.rs", include_str!("worker.rs.in"));
    let options = ferrmod_sdk_build::Options { offline: true, ..Default::default() };
    let built = ferrmod_sdk_build::build(&folder.join("Cargo.toml"), &options);
    built.unwrap_or_else(|error| panic!("{error}")).bytes
}

#[test]
fn tasks_work_beside_the_module() {
    let file = worker();
    let mut test = Test::boot(Options::default());
    assert_eq!(test.machine.load(&file, b"", LoadFlags::default()).unwrap(), LoadOutcome::Loaded, "{:#?}", test.log);
    assert!(test.said("worker: 400 additions"), "{:#?}", test.log);
    assert!(test.said("worker: loading out-of-tree module taints kernel."));
    test.machine.run(Duration::from_millis(30)).unwrap();
    let Outcome::Done(rounds) = test.read("/proc/worker") else { panic!("{:#?}", test.log) };
    assert!(rounds.trim().parse::<u32>().unwrap() > 1, "{rounds}");
    let address = test.machine.symbol(b"wait_for_the_dead").unwrap().unwrap();
    // EOWNERDEAD
    assert_eq!(test.machine.call(address, &[]).unwrap().done().unwrap().value as u32, 130, "{:#?}", test.log);
    assert_eq!(test.unload("worker"), Outcome::Done(()));
    assert!(test.said("worker: the worker said Some(Ok("), "{:#?}", test.log);
    let report = test.machine.report().unwrap();
    assert!(report.registrations.is_empty(), "{:?}", report.registrations);
}

#[test]
fn what_is_left_behind_is_seen_and_harmless() {
    let file = worker();
    let mut test = Test::boot(Options::default());
    assert_eq!(test.machine.load(&file, b"forget", LoadFlags::default()).unwrap(), LoadOutcome::Loaded);
    assert_eq!(test.unload("worker"), Outcome::Done(()));
    // The file's functions are gone with the module, so the file is gone too; the registration says that nobody took it back.
    assert_eq!(test.read("/proc/worker"), Outcome::Errno(ENOENT));
    let report = test.machine.report().unwrap();
    let left: Vec<_> =
        report.registrations.iter().map(|one| (one.kind.as_str(), one.name.to_string(), one.orphaned)).collect();
    assert_eq!(left, [("proc", "worker".into(), true)]);
    let bytes: u64 = report.memory.iter().filter(|memory| memory.orphaned).map(|memory| memory.bytes).sum();
    assert!(bytes >= 100, "{:?}", report.memory);
}
