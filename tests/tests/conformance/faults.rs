//! Every fault of `tests/modules/faults`: it ends one task and nothing else, and the report is the one that Linux printed.
//!
//! Where the recording (`tests/data/linux-6.1-own-modules.txt`) has Linux's report of the same module, ours is compared with it
//! line by line: what happened, where, and through which of the module's functions. Every machine that Linux would survive
//! in has to load and run another module afterwards, and so has ours where Linux did not survive.

use std::time::Duration;

use ferrmod_machine::{LoadFlags, LoadOutcome, Outcome};
use ferrmod_tests::oracle::{self, Case};

use crate::stage::{Said, Stage};

/// How the load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The fault went through, as on Linux.
    Returns,
    /// The task was killed.
    Dies,
    /// It never ends by itself.
    Stays,
}
use End::{Dies, Returns, Stays};

/// What our report is measured by.
enum Measure {
    /// Linux's own report.
    Linux,
    /// These words, for the given reason.
    Words(&'static [&'static str], &'static str),
}
use Measure::{Linux, Words};

const RING_0: &str = "on Linux the module runs in ring 0 and may execute it";
const WATCHED: &str = "Debian's kernel does not watch its heap";
const OWN_CHECK: &str = "Linux's report is about the line of its own source that found it";
const STOPPED: &str = "on Linux the whole kernel stopped, or never came back";

/// The fault, how it ends here, and what its report is measured by.
const FAULTS: &[(&str, End, Measure)] = &[
    ("none", Returns, Linux),
    ("null", Dies, Linux),
    ("null_read", Dies, Linux),
    ("noncanonical", Dies, Linux),
    (
        "user",
        Dies,
        Words(
            &["BUG: unable to handle page fault for address: 0000000000400000", "fault_user+0xc/0x20"],
            "on Linux the page existed: the caller's own program lay there",
        ),
    ),
    (
        "memcpy",
        Dies,
        Words(
            &[
                "BUG: kernel NULL pointer dereference, address: 0000000000000000",
                "#PF: supervisor write access",
                "commit.cold",
            ],
            "the fault is in the kernel's memcpy, which is another function here",
        ),
    ),
    (
        "stack",
        Dies,
        Words(
            &["BUG: TASK stack guard page was hit at", "stack guard page: 0000 [#1]", "RIP: 0010:fault_stack+"],
            STOPPED,
        ),
    ),
    ("rodata", Dies, Linux),
    ("text", Dies, Linux),
    ("wild", Dies, Linux),
    ("null_call", Dies, Linux),
    (
        "data_call",
        Dies,
        Words(
            &["kernel tried to execute NX-protected page", "#PF: error_code(0x0011)", "commit.cold"],
            "data has no names in our traces",
        ),
    ),
    ("bug", Dies, Linux),
    ("warn", Returns, Linux),
    ("warn_once", Returns, Linux),
    ("panic", Dies, Words(&["Kernel panic - not syncing: faults: panic on purpose", "fault_panic+"], STOPPED)),
    ("cli", Dies, Words(&["general protection fault: 0000", "RIP: 0010:fault_cli+0x5/"], RING_0)),
    ("hlt", Dies, Words(&["general protection fault: 0000", "RIP: 0010:fault_hlt+0x5/"], RING_0)),
    ("cr3", Dies, Words(&["general protection fault: 0000", "RIP: 0010:fault_cr3+"], RING_0)),
    ("read_cr0", Dies, Words(&["general protection fault: 0000", "RIP: 0010:fault_read_cr0+0x5/"], RING_0)),
    ("wrmsr", Dies, Words(&["general protection fault: 0000", "RIP: 0010:fault_wrmsr+"], RING_0)),
    ("ud2", Dies, Linux),
    ("int3", Dies, Linux),
    ("port", Returns, Linux),
    ("syscall", Dies, Words(&["BUG: system call instruction in kernel code", "RIP: 0010:fault_syscall+"], STOPPED)),
    (
        "syscall_exit",
        Dies,
        Words(&["BUG: system call instruction in kernel code", "RIP: 0010:fault_syscall_exit+"], STOPPED),
    ),
    ("divide", Dies, Linux),
    ("divide_overflow", Dies, Linux),
    ("loop", Dies, Words(&["watchdog: BUG: soft lockup - CPU#0 stuck for", "RIP: 0010:fault_loop+"], STOPPED)),
    ("kernel_loop", Dies, Words(&["watchdog: BUG: soft lockup - CPU#0 stuck for", "fault_kernel_loop+"], STOPPED)),
    ("sleep", Stays, Words(&["INFO: task insmod:1 did not end in the time it was given", " fault_sleep+"], STOPPED)),
    ("deadlock", Dies, Words(&["possible recursive locking", "commit.cold"], STOPPED)),
    ("spin", Dies, Words(&["BUG: spinlock lockup", "commit.cold"], STOPPED)),
    ("double_free", Dies, Words(&["BUG: double free", "commit.cold"], OWN_CHECK)),
    ("free_wild", Dies, Words(&["BUG: invalid free", "commit.cold"], OWN_CHECK)),
    (
        "use_after_free",
        Returns,
        Words(&["faults: the next block is another", "faults: use_after_free returned"], WATCHED),
    ),
    (
        "overrun",
        Returns,
        Words(
            &["BUG: out-of-bounds write, 1 byte, 0 bytes after the object of size 64 allocated by fault_overrun+"],
            WATCHED,
        ),
    ),
    (
        "list",
        Dies,
        Words(
            &["list_del corruption, ", "->next is LIST_POISON1 (dead000000000100)", "kernel BUG", " fault_list+"],
            OWN_CHECK,
        ),
    ),
    (
        "list_add",
        Dies,
        Words(&["list_add corruption. prev->next should be next (", "kernel BUG", " fault_list_add+"], OWN_CHECK),
    ),
    (
        "freed_list",
        Dies,
        Words(&["list_del corruption. next->prev should be", "6b6b6b6b6b6b6b6b", " fault_freed_list+"], OWN_CHECK),
    ),
    (
        "refcount",
        Returns,
        Words(
            &[
                "refcount_t: addition on 0; use-after-free.",
                "refcount_t: decrement hit 0; leaking memory.",
                "faults: refcount returned",
            ],
            OWN_CHECK,
        ),
    ),
    ("fortify", Dies, Words(&["detected buffer overflow in memcpy", "fault_fortify"], OWN_CHECK)),
    (
        "canary",
        Dies,
        Words(
            &[
                "Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: fault_canary.cold+0x29/0x29 [faults]",
            ],
            STOPPED,
        ),
    ),
    ("irqs_off", Returns, Linux),
    ("atomic_sleep", Returns, Linux),
];

/// Measured by words although the recording has them.
fn recorded<'a>(cases: &'a [Case<'a>], what: &str) -> Option<&'a Case<'a>> {
    cases.iter().find(|case| {
        let survived = case.call.is_some_and(|call| call.arguments == format!("what={what}"));
        // A call that killed its caller has no line: its log stands under the heading.
        survived && !case.log.is_empty()
            || case.title == format!("fault {what}")
            || case.title.starts_with(&format!("fault {what} ("))
    })
}

/// Runs of digits replaced, and addresses.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', ',', '(', ')', '.']) {
        let bare = word.trim_end_matches([' ', ',', '(', ')', '.']);
        let is_address = bare.len() == 16 && bare.chars().all(|digit| digit.is_ascii_hexdigit());
        if is_address && bare != "0000000000000000" && bare != "0000000000000010" && bare != "ffffffffdeadbee0" {
            out.push('#');
            out.push_str(&word[bare.len()..]);
        } else {
            out.push_str(word);
        }
    }
    out
}

/// What two reports of the same fault have in common, whatever machine they come from.
fn essence(said: &[Said]) -> Vec<String> {
    let mut out = Vec::new();
    let mut in_trace = false;
    for Said { level, text } in said {
        let text = text.as_str();
        let kept = [
            "faults: ",
            "------------[ cut here",
            "kernel BUG",
            "kernel tried",
            "BUG: ",
            "#PF: ",
            "Oops: ",
            "invalid opcode",
            "divide error",
            "int3",
            "general protection",
            "WARNING: ",
            "RIP: 0010:",
            "initcall ",
            "Modules linked in:",
        ];
        if text.contains("taints kernel") || text.contains("tainting kernel") {
            continue;
        }
        if text == " <TASK>" || text == " </TASK>" {
            in_trace = text == " <TASK>";
        } else if in_trace && text.ends_with("[faults]") && !text.starts_with(" ?") {
            // The distance is the compiler's business.
            out.push(format!("<{level}> {}", text.split('+').next().unwrap_or_default()));
        } else if text.starts_with("---[ end trace") && out.iter().any(|line| line.contains("[#1]")) {
            // Linux repeats the registers of an oops.
            break;
        } else if kept.iter().any(|start| text.starts_with(start)) {
            out.push(format!("<{level}> {}", without_machine(&masked(text))));
        }
    }
    out
}

/// Without what depends on the machine and the caller.
fn without_machine(text: &str) -> String {
    if let Some(rest) = text.strip_prefix("WARNING: CPU: ") {
        // The kernel's own source line says nothing about the module.
        let place = rest.split_once(" at ").map_or("", |(_, place)| place);
        return format!(
            "WARNING: {}",
            if place.contains("[faults]") && place.contains(".c:") { place } else { "in the kernel" }
        );
    }
    if text.starts_with("RIP: 0010:do_one_initcall") || text.starts_with("RIP: 0010:kernel") {
        return "RIP: in the kernel".into();
    }
    if text.starts_with("BUG: scheduling while atomic") {
        return text.replace("insmod/1/", "call/92/");
    }
    // Which modules were loaded before differs.
    text.split(" [last unloaded").next().unwrap_or_default().into()
}

/// A machine where nothing takes long.
fn impatient() -> Option<Stage> {
    Stage::open_with(|options| {
        options.watchdog = Duration::from_millis(200);
        options.timeout = Duration::from_secs(20);
    })
}

/// The machine loads, runs and unloads a module, and knows its modules.
fn is_well(stage: &mut Stage, what: &str) {
    assert_eq!(stage.load("crc7", ""), LoadOutcome::Loaded, "{what}");
    let crc7 = stage.machine.symbol(b"crc7_be").unwrap().unwrap();
    let arguments = [0, 1, 2].map(|_| ferrmod_machine::Argument::Value(0));
    assert_eq!(stage.machine.call(crc7, &arguments).unwrap().done().unwrap().value, 0, "{what}");
    assert_eq!(stage.unload("crc7"), 0, "{what}");
}

#[test]
fn every_fault_is_reported_as_linux_reports_it() {
    let cases = oracle::cases(oracle::OWN_MODULES).unwrap();
    let mut wrong = Vec::new();
    for (what, end, measure) in FAULTS {
        let Some(mut stage) = impatient() else { return };
        if *end == Stays {
            stage.machine.set_timeout(Duration::from_millis(500));
        }
        let outcome = stage.load("faults", &format!("what={what}"));
        stage.machine.set_timeout(Duration::from_secs(20));
        let said = stage.said();
        let text: String = said.iter().map(|line| format!("<{}> {}\n", line.level, line.text)).collect();
        let expected = match end {
            Returns => LoadOutcome::Loaded,
            Dies => LoadOutcome::Oopsed,
            Stays => LoadOutcome::TimedOut,
        };
        if outcome != expected {
            wrong.push(format!("{what}: {outcome:?}\n{text}"));
        }
        match measure {
            Linux => {
                let case = recorded(&cases, what).unwrap_or_else(|| panic!("{what} is not recorded"));
                let theirs: Vec<Said> =
                    case.log.iter().map(|log| Said { level: log.level, text: log.text.into() }).collect();
                let (ours, theirs) = (essence(&said), essence(&theirs));
                if ours != theirs {
                    wrong.push(format!("{what}:\nLinux {theirs:#?}\nours {ours:#?}"));
                }
            }
            Words(words, reason) => {
                for word in *words {
                    if !text.contains(word) {
                        wrong.push(format!("{what} does not say {word:?} ({reason}):\n{text}"));
                    }
                }
            }
        }
        if *end != Returns && *what != "sleep" {
            for part in ["RIP: 0010:", "Call Trace:", "Modules linked in: faults(OE+)"] {
                assert!(text.contains(part), "{what}: no {part} in\n{text}");
            }
            let listed = stage.machine.list().unwrap();
            assert_eq!(listed[0].name, "faults", "{what}");
            // Linux: its module stays as it was and can never be unloaded.
            assert_eq!(stage.unload("faults"), -16, "{what}");
        }
        let oopses = stage.report().oopses;
        let is_reported = *end != Returns || matches!(*what, "use_after_free" | "overrun");
        assert_eq!(oopses.len(), usize::from(is_reported), "{what}: {oopses:?}");
        is_well(&mut stage, what);
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_fault_in_exit_leaves_a_module_that_goes_for_ever() {
    let Some(mut stage) = impatient() else { return };
    assert_eq!(stage.load("faults", "what=null when=exit"), LoadOutcome::Loaded);
    assert_eq!(stage.machine.unload(b"faults", false).unwrap(), Outcome::Oopsed);
    let text = stage.text();
    for part in [
        "RIP: 0010:fault_null+0xc/0x20 [faults]",
        " commit.cold+",
        " faults_exit+0x1c/",
        "Modules linked in: faults(OE-)",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let line = stage.read("/proc/modules").unwrap();
    assert!(line.starts_with("faults 16384 -1 - Unloading 0x") && line.ends_with(" (OE-)\n"), "{line}");
    assert_eq!(stage.unload("faults"), -16);
    is_well(&mut stage, "exit");
}

/// In a work item and in a timer the dead task is the kernel's own; the kernel makes another, and the module can go.
#[test]
fn a_fault_outside_of_a_load_kills_a_worker_only() {
    for (what, when, comm, function) in [
        ("null", "work", "kworker/0:", "fault_null"),
        ("null", "timer", "ksoftirqd/0", "fault_null"),
        ("bug", "timer", "ksoftirqd/0", "fault_bug"),
        ("loop", "work", "kworker/0:", "fault_loop"),
        ("loop", "timer", "ksoftirqd/0", "fault_loop"),
        ("divide", "work", "kworker/0:", "fault_divide"),
        ("double_free", "timer", "ksoftirqd/0", "commit.cold"),
    ] {
        let Some(mut stage) = impatient() else { return };
        assert_eq!(stage.load("faults", &format!("what={what} when={when}")), LoadOutcome::Loaded);
        stage.machine.run(Duration::from_millis(100)).unwrap();
        let text = stage.text();
        for part in [&format!("Comm: {comm}"), &format!("RIP: 0010:{function}"), "Modules linked in: faults(OE)"] {
            assert!(text.contains(part), "{what} in {when}: no {part} in\n{text}");
        }
        assert_eq!(stage.unload("faults"), 0, "{what} in {when}");
        // Timers and work still run.
        assert_eq!(stage.load("timers", ""), LoadOutcome::Loaded, "{what} in {when}");
        assert_eq!(stage.unload("timers"), 0);
        assert_eq!(stage.load("works", ""), LoadOutcome::Loaded, "{what} in {when}");
        assert_eq!(stage.unload("works"), 0);
        is_well(&mut stage, what);
    }
}

/// One machine takes all faults that end a task, one after the other.
#[test]
fn one_machine_survives_them_all() {
    let Some(mut stage) = impatient() else { return };
    let file = stage.file("faults");
    let mut dead = 0;
    for (number, (what, end, _)) in FAULTS.iter().enumerate() {
        if *end != Dies {
            continue;
        }
        // Each copy under a name of its own, since the last one stays; as long as the old one, so that nothing moves.
        let copy = renamed(&file, &format!("fault{}", (b'a' + number as u8 % 26) as char), number);
        let outcome = stage.machine.load(&copy, format!("what={what}").as_bytes(), LoadFlags::empty()).unwrap();
        assert_eq!(outcome, LoadOutcome::Oopsed, "{what}: {}", stage.text());
        dead += 1;
        assert_eq!(stage.report().oopses.len(), dead, "{what}");
    }
    is_well(&mut stage, "all");
}

/// The module under another name of the same length.
fn renamed(file: &[u8], name: &str, number: usize) -> Vec<u8> {
    assert_eq!(name.len(), 6);
    let name = if number < 26 { name.to_owned() } else { name.to_uppercase() };
    let mut copy = file.to_vec();
    let (old, new) = (b"name=faults\0", format!("name={name}\0"));
    let at = copy.windows(old.len()).position(|window| window == old).expect("a module has a name");
    copy[at..at + old.len()].copy_from_slice(new.as_bytes());
    // `struct module` has it too: what the loader goes by in modules with a .modinfo is the other one.
    copy
}
