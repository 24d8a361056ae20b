//! What a machine cannot do, and what its supervisor makes of one that tries.
//!
//! The child is forked from this process, so functions of this file are in it too, at the same addresses: `call` runs them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Test, boot, impatient};
use ferrmod_machine::{Argument, Called, Machine, MachineError, Options, Outcome};

/// The child's control socket.
const CONTROL: i32 = 3;

fn run(test: &mut Test, function: extern "C" fn(u64) -> i64, argument: u64) -> Result<Outcome<Called>, MachineError> {
    test.machine.call(function as usize as u64, &[Argument::Value(argument)])
}

fn value(test: &mut Test, function: extern "C" fn(u64) -> i64, argument: u64) -> i64 {
    match run(test, function, argument) {
        Ok(Outcome::Done(called)) => called.value as i64,
        other => panic!("{other:?}\n{}", test.text()),
    }
}

/// The result of a system call, or minus its errno.
fn refused(result: i64) -> i64 {
    if result == -1 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { result }
}

extern "C" fn system_call(which: u64) -> i64 {
    let at = 0x1000_0000 as *mut libc::c_void;
    let (read_write, all) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
    // SAFETY: every one of these is refused by the system, or acts on the child alone.
    refused(unsafe {
        match which {
            0 => libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY).into(),
            1 => libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0).into(),
            2 => libc::fork().into(),
            3 => libc::kill(libc::getppid(), libc::SIGTERM).into(),
            4 => libc::mprotect(at, 4096, read_write).into(),
            5 => libc::mprotect(at, 4096, all).into(),
            6 => libc::mprotect(0x5000_0000 as *mut libc::c_void, 4096, libc::PROT_READ | libc::PROT_EXEC).into(),
            7 => {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                libc::mmap(std::ptr::null_mut(), 4096, all, flags, -1, 0) as i64
            }
            8 => libc::madvise(0x5000_0000 as *mut libc::c_void, 4096, libc::MADV_HWPOISON).into(),
            9 => libc::write(1, c"x".as_ptr().cast(), 1) as i64,
            // ARCH_SET_FS; that of GS chooses a CPU.
            10 => libc::syscall(libc::SYS_arch_prctl, 0x1002, 0),
            11 => libc::ptrace(libc::PTRACE_ATTACH, libc::getppid(), 0, 0),
            12 => libc::prctl(libc::PR_SET_SECCOMP, 0).into(),
            13 => libc::syscall(libc::SYS_execve, c"/bin/true".as_ptr(), 0, 0),
            14 => libc::syscall(libc::SYS_tgkill, libc::getppid(), libc::getppid(), libc::SIGABRT),
            15 => libc::syscall(libc::SYS_process_vm_writev, libc::getppid(), 0, 0, 0, 0, 0),
            16 => libc::syscall(libc::SYS_getuid),
            // What is allowed.
            100 => libc::syscall(libc::SYS_getppid),
            _ => 0,
        }
    })
}

#[test]
fn system_calls_are_refused() {
    let mut test = boot(Options::default());
    for which in 0..=16 {
        let result = value(&mut test, system_call, which);
        // The file is sealed, so the system refuses a writable mapping of text even where the filter does not.
        let wanted = if which == 4 { -libc::EACCES } else { -libc::EPERM };
        assert_eq!(result, wanted.into(), "system call {which}");
    }
    assert_eq!(value(&mut test, system_call, 100), std::process::id().into());
    test.is_well();
}

extern "C" fn say(what: u64) -> i64 {
    let send = |bytes: &[u8]| {
        // SAFETY: readable bytes, and the child's own socket.
        unsafe { libc::send(CONTROL, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) as i64 }
    };
    let placed = |offset: u64, length: u64| [&[1][..], &offset.to_le_bytes(), &length.to_le_bytes()].concat();
    // Variants of `Message` by number, as postcard writes them: 3 is a commit, whose operations are 0 (copy) and 1 (clear).
    match what {
        0 => send(&[0xff; 100]),
        1 => send(&[0; 1]),
        2 => send(&placed(u64::MAX - 5, 10)),
        3 => send(&placed(0, u64::MAX)),
        4 => send(&placed(0, 64 << 20)),
        // A copy to address 0, to the data region, and past the end of rodata.
        5 => send(&[0, 3, 1, 0, 0, 0, 8]),
        6 => send(&[0, 3, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x05, 0, 8]),
        7 => send(&[0, 3, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x03, 8]),
        // A length that wraps.
        8 => send(&[0, 3, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        // "More operations than there is memory."
        9 => send(&[0, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        // Ready, again.
        10 => send(&[0, 0]),
        // Too long.
        11 => send(&[0; 100_000]),
        // Commits without end, whose answers nobody reads.
        _ => loop {
            if send(&[0, 3, 0]) < 0 {
                return 0;
            }
        },
    }
}

#[test]
fn nonsense_ends_the_machine_and_nothing_else() {
    for what in 0..=12 {
        let mut test = boot(impatient());
        let start = Instant::now();
        let error = run(&mut test, say, what).expect_err("nonsense was taken");
        assert!(matches!(error, MachineError::Protocol { .. }), "{what}: {error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{what}");
        assert_eq!(test.machine.list().expect_err("it is dead"), error);
    }
}

extern "C" fn end(how: u64) -> i64 {
    // SAFETY: ends the child, or stops it for good.
    unsafe {
        match how {
            0 => libc::_exit(7),
            1 => libc::abort(),
            2 => panic!("the answer is {}", 42),
            3 => {
                // No tick, and no answer.
                let none: libc::itimerval = std::mem::zeroed();
                libc::setitimer(libc::ITIMER_REAL, &raw const none, std::ptr::null_mut());
                loop {
                    std::hint::spin_loop();
                }
            }
            // The stack of the fault handler itself is broken: FS is lost, and everything that needs it.
            _ => std::arch::asm!("xor eax, eax", "wrfsbase rax", "mov rax, [0]", options(noreturn)),
        }
    }
}

#[test]
fn every_end_is_a_value() {
    for (how, said) in [(0, "status 7"), (1, "aborted"), (2, "the answer is 42"), (3, "did not answer")] {
        let mut test = boot(Options {
            timeout: Duration::from_millis(300),
            grace: Duration::from_millis(300),
            watchdog: Duration::from_millis(100),
            ..Options::default()
        });
        let error = run(&mut test, end, how).expect_err("it is dead").to_string();
        assert!(error.contains(said), "{how}: {error}");
    }
    let mut test = boot(impatient());
    let error = run(&mut test, end, 4).expect_err("it is dead");
    assert!(matches!(error, MachineError::Died { .. }), "{error}");
}

extern "C" fn rust_code(what: u64) -> i64 {
    match what {
        // SAFETY: not at all: that is the test.
        0 => unsafe { std::ptr::read_volatile(std::ptr::without_provenance::<i64>(8)) },
        // SAFETY: as above.
        1 => unsafe {
            let mut into = [0_u8; 64];
            let nowhere = std::hint::black_box(std::ptr::without_provenance::<u8>(16));
            libc::memcpy(into.as_mut_ptr().cast(), nowhere.cast(), std::hint::black_box(64));
            std::hint::black_box(into)[0].into()
        },
        // Busy in the allocator, most of the time.
        _ => loop {
            let mut kept = Vec::new();
            for size in 1..100 {
                kept.push(std::hint::black_box(vec![0_u8; size * 40]));
            }
        },
    }
}

#[test]
fn faults_in_the_kernels_own_code_end_the_task() {
    let mut test = boot(impatient());
    for what in 0..=2 {
        for _ in 0..3 {
            let outcome = run(&mut test, rust_code, what);
            assert_eq!(outcome, Ok(Outcome::Oopsed), "{what}: {}", test.text());
        }
    }
    test.is_well();
}

/// Not a test: what the next one starts in a process of its own, whose machine must not outlive it.
#[test]
#[ignore = "run by the test below"]
fn supervisor_that_is_killed() {
    if std::env::var_os("FERRMOD_TEST_SUPERVISOR").is_none() {
        return;
    }
    let mut test =
        boot(Options { watchdog: Duration::from_secs(100), timeout: Duration::from_secs(100), ..Options::default() });
    println!("\nmachine {}", test.machine.pid());
    test.execute(&[0xeb, 0xfe], &[]);
}

#[test]
fn a_machine_ends_with_its_supervisor() {
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "walls::supervisor_that_is_killed", "--nocapture"])
        .env("FERRMOD_TEST_SUPERVISOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
    let pid = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("machine ").map(str::to_owned)).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    let start = Instant::now();
    let alive = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while alive() {
        assert!(start.elapsed() < Duration::from_secs(3), "the machine outlives its supervisor");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn dropping_a_machine_leaves_no_process() {
    let mut test = boot(Options::default());
    test.is_well();
    let pid = test.machine.pid();
    drop(test);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

extern "C" fn look(address: u64) -> i64 {
    // SAFETY: the address of this process's own memory, copied by the fork.
    unsafe { *(address as *const i64) }
}

#[test]
fn a_machine_sees_no_other_machines_memory() {
    fn mappings(pid: u32) -> usize {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        maps.lines().filter(|line| line.contains("memfd:ferrmod-machine")).count()
    }
    let first = boot(Options::default());
    let mut second = boot(Options::default());
    // Text, rodata and inbox: its own, and no writable one.
    assert_eq!(mappings(second.machine.pid()), 3);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", second.machine.pid())).unwrap();
    for line in maps.lines() {
        let flags = line.split_whitespace().nth(1).unwrap();
        assert!(!flags.contains('w') || !line.contains("memfd:ferrmod-machine"), "{line}");
        assert!(!flags.contains('w') || !flags.contains('x'), "{line}");
    }
    let outboxes = maps.lines().filter(|line| line.contains("/dev/zero")).count();
    assert_eq!(outboxes, 1);
    assert_eq!(std::fs::read_dir(format!("/proc/{}/fd", second.machine.pid())).unwrap().count(), 1);
    static HERE: i64 = 42;
    assert_eq!(value(&mut second, look, &raw const HERE as u64), 42);
    drop(first);
}

#[test]
fn machines_can_be_sent() {
    fn send<T: Send>() {}
    send::<Machine>();
}
