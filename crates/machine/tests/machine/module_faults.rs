//! Everything that a module can do wrong, by one that does it (`tests/modules/faults`): each ends as it should, says so, names
//! the function, and the machine still works afterwards.

use std::time::Duration;

use ferrmod_machine::{LoadFlags, LoadOutcome, Options, facts_cache};
use ferrmod_tests::corpus;

use crate::common::boot;

/// The value of its `what` parameter; how its init ends; what the log says.
const FAULTS: &[(&str, LoadOutcome, &str)] = &[
    ("none", LoadOutcome::Loaded, "faults: none returned"),
    ("null", LoadOutcome::Oopsed, "BUG: kernel NULL pointer dereference, address: 0000000000000000"),
    ("null_read", LoadOutcome::Oopsed, "BUG: kernel NULL pointer dereference, address: 0000000000000010"),
    ("noncanonical", LoadOutcome::Oopsed, "general protection fault"),
    ("user", LoadOutcome::Oopsed, "BUG: unable to handle page fault for address: 0000000000400000"),
    ("memcpy", LoadOutcome::Oopsed, "BUG: kernel NULL pointer dereference"),
    ("stack", LoadOutcome::Oopsed, "stack guard page was hit"),
    ("rodata", LoadOutcome::Oopsed, "permissions violation"),
    ("text", LoadOutcome::Oopsed, "permissions violation"),
    ("wild", LoadOutcome::Oopsed, "BUG: unable to handle page fault for address: ffffffffdeadbee0"),
    ("null_call", LoadOutcome::Oopsed, "supervisor instruction fetch in kernel mode"),
    ("data_call", LoadOutcome::Oopsed, "kernel tried to execute NX-protected page"),
    ("bug", LoadOutcome::Oopsed, "kernel BUG at tests/modules/faults/faults.c:"),
    ("warn", LoadOutcome::Loaded, "faults: warned on purpose"),
    ("warn_once", LoadOutcome::Loaded, "WARNING: "),
    ("cli", LoadOutcome::Oopsed, "general protection fault"),
    ("hlt", LoadOutcome::Oopsed, "general protection fault"),
    ("cr3", LoadOutcome::Oopsed, "general protection fault"),
    ("wrmsr", LoadOutcome::Oopsed, "general protection fault"),
    ("ud2", LoadOutcome::Oopsed, "invalid opcode"),
    ("int3", LoadOutcome::Oopsed, "int3"),
    ("port", LoadOutcome::Loaded, "read ff"),
    ("syscall", LoadOutcome::Oopsed, "system call instruction"),
    ("syscall_exit", LoadOutcome::Oopsed, "system call instruction"),
    ("divide", LoadOutcome::Oopsed, "divide error"),
    ("divide_overflow", LoadOutcome::Oopsed, "divide error"),
    ("loop", LoadOutcome::Oopsed, "soft lockup"),
    ("kernel_loop", LoadOutcome::Oopsed, "soft lockup"),
    ("sleep", LoadOutcome::TimedOut, "INFO: task insmod:"),
    ("deadlock", LoadOutcome::Oopsed, "lock"),
    ("spin", LoadOutcome::Oopsed, "spinlock lockup"),
];

#[test]
fn every_fault_of_a_module_is_contained() {
    let Some(tree) = corpus::tree_or_skip("6.1") else { return };
    let Ok(file) = std::fs::read(corpus::folder().join("modules/faults.ko")) else {
        return corpus::skip("faults.ko", "run `cargo xtask modules`");
    };
    let facts = facts_cache::open(&tree.vmlinuz).unwrap();
    for &(what, ends, said) in FAULTS {
        let mut test = boot(Options {
            facts: Some(facts.clone()),
            watchdog: Duration::from_millis(200),
            timeout: Duration::from_secs(if ends == LoadOutcome::TimedOut { 1 } else { 20 }),
            ..Options::default()
        });
        let outcome = test.machine.load(&file, format!("what={what}").as_bytes(), LoadFlags::empty());
        let text = test.text();
        assert_eq!(outcome, Ok(ends), "{what}: {text}");
        assert!(text.contains(said), "{what} does not say {said:?}: {text}");
        if ends != LoadOutcome::Loaded {
            // Some end in a jump elsewhere: when that faults, their own frame is gone.
            let jumps = ["memcpy", "wild", "null_call", "data_call", "deadlock", "spin"].contains(&what);
            let name = if jumps { "[faults]".to_owned() } else { format!("fault_{what}") };
            assert!(text.contains(&name), "{name} is not named: {text}");
            assert_eq!(test.machine.report().unwrap().oopses.len(), 1, "{what}: {text}");
        }
        test.is_well();
    }
}
