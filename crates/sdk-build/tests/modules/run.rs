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
    assert_eq!((list[1].name.to_string(), list[1].users[0].to_string(), list[1].references), ("answer".into(), "question".into(), 1));
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
    let write = |test: &mut Test, text: &[u8]| test.machine.write_file("/sys/module/answer/parameters/answer", text).unwrap();
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
    let impatient = Options { watchdog: Duration::from_millis(200), timeout: Duration::from_millis(600), ..Options::default() };
    for (how, said) in [
        ("null", "BUG: kernel NULL pointer dereference, address: 0000000000000010"),
        ("index", "index out of bounds: the len is 3 but the index is 3"),
        ("write", "BUG: unable to handle page fault for address"),
        ("stack", "BUG: kernel stack overflow"),
        ("privileged", "general protection fault"),
        ("jump", "kernel tried to execute NX-protected page"),
        ("divide", "divide error"),
        ("free", "BUG: double free"),
        ("loop", "soft lockup"),
    ] {
        let mut test = Test::boot(impatient.clone());
        assert_eq!(test.load("crash", &format!("how={how}")), LoadOutcome::Oopsed, "{how}: {:?}", test.log);
        assert!(test.said(said), "{how} does not say {said:?}: {:#?}", test.log);
        println!("{}\n", test.log.lock().unwrap().join("\n"));
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
    assert!(test.said("crash::read_past_the_end") || test.said("crash::go_wrong"), "{:#?}", test.log);
    println!("{}", test.log.lock().unwrap().join("\n"));
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
