//! Every cause of `tests/modules/faults/atomic.c` to sleep where it is not allowed: it is reported with both places, as Linux does
//! with `CONFIG_DEBUG_ATOMIC_SLEEP`, and the module goes on.

use ferrmod_machine::{AtomicSleep, LoadOutcome};

use crate::stage::Stage;

/// What is reported.
struct Slept {
    what: &'static str,
    /// The function that sleeps, and the states that are told.
    function: &'static str,
    state: [&'static str; 3],
    /// The module's functions that led there, innermost first.
    trace: &'static [&'static str],
    /// What forbids it, and the module's functions that led to its beginning.
    sections: &'static [(&'static str, &'static [&'static str])],
}

const PREEMPTION: &str = "Preemption disabled at:";
const INTERRUPTS: &str = "Interrupts disabled at:";
const READER: &str = "RCU read-side critical section entered at:";
const ATOMIC: [&str; 3] = ["in_atomic(): 1, irqs_disabled(): 0,", "preempt_count: 1,", "RCU nest depth: 0,"];

const SLEPT: &[Slept] = &[
    Slept {
        what: "spin_lock",
        function: "mutex_lock",
        state: ATOMIC,
        trace: &["sleeper", "by_spin_lock", "atomic_init"],
        // `begin` has returned long ago.
        sections: &[(PREEMPTION, &["begin", "by_spin_lock", "atomic_init"])],
    },
    Slept {
        what: "irqsave",
        function: "kmalloc_trace",
        state: ["in_atomic(): 1, irqs_disabled(): 1,", "preempt_count: 1,", "RCU nest depth: 0,"],
        trace: &["by_irqsave", "atomic_init"],
        sections: &[(PREEMPTION, &["by_irqsave", "atomic_init"])],
    },
    Slept {
        what: "bottom_halves",
        function: "vmalloc",
        state: ["in_atomic(): 1, irqs_disabled(): 0,", "preempt_count: 200,", "RCU nest depth: 0,"],
        trace: &["by_bottom_halves", "atomic_init"],
        sections: &[(PREEMPTION, &["by_bottom_halves", "atomic_init"])],
    },
    Slept {
        what: "preempt",
        function: "mutex_lock",
        state: ATOMIC,
        trace: &["sleeper", "by_preempt", "atomic_init"],
        // One instruction in the middle of a function, which is looked for when it is too late.
        sections: &[(PREEMPTION, &["by_preempt", "atomic_init"])],
    },
    Slept {
        what: "interrupts",
        function: "down",
        state: ["in_atomic(): 0, irqs_disabled(): 1,", "preempt_count: 0,", "RCU nest depth: 0,"],
        trace: &["by_interrupts", "atomic_init"],
        sections: &[(INTERRUPTS, &["by_interrupts", "atomic_init"])],
    },
    Slept {
        what: "rcu",
        function: "down_read",
        state: ["in_atomic(): 0, irqs_disabled(): 0,", "preempt_count: 0,", "RCU nest depth: 1,"],
        trace: &["by_rcu", "atomic_init"],
        sections: &[(READER, &["by_rcu", "atomic_init"])],
    },
    Slept {
        what: "write_lock",
        function: "__SCT__might_resched",
        state: ATOMIC,
        trace: &["by_write_lock", "atomic_init"],
        sections: &[(PREEMPTION, &["by_write_lock", "atomic_init"])],
    },
    Slept {
        what: "timer",
        function: "mutex_lock",
        state: ["in_atomic(): 1, irqs_disabled(): 0,", "preempt_count: 100,", "RCU nest depth: 0,"],
        trace: &["sleeper", "fired"],
        sections: &[(PREEMPTION, &["a soft interrupt"])],
    },
    Slept {
        what: "both",
        function: "mutex_lock",
        state: ["in_atomic(): 1, irqs_disabled(): 0,", "preempt_count: 1,", "RCU nest depth: 1,"],
        trace: &["sleeper", "by_both", "atomic_init"],
        sections: &[(PREEMPTION, &["begin", "by_both", "atomic_init"]), (READER, &["by_both", "atomic_init"])],
    },
    Slept {
        what: "idle_work",
        function: "cancel_work_sync",
        state: ATOMIC,
        trace: &["by_idle_work", "atomic_init"],
        sections: &[(PREEMPTION, &["begin", "by_idle_work", "atomic_init"])],
    },
    Slept {
        what: "successor",
        function: "mutex_lock",
        state: ATOMIC,
        trace: &["sleeper", "by_preempt", "by_successor", "atomic_init"],
        // Not where the task before it took a lock that it never gave back.
        sections: &[(PREEMPTION, &["by_preempt", "by_successor", "atomic_init"])],
    },
    Slept {
        what: "call",
        function: "mutex_lock",
        state: ["in_atomic(): 0, irqs_disabled(): 1,", "preempt_count: 0,", "RCU nest depth: 0,"],
        trace: &["sleeper", "called", "by_call", "atomic_init"],
        // Not where interrupts were off before.
        sections: &[(INTERRUPTS, &["the kernel"])],
    },
    Slept {
        what: "pool",
        function: "mempool_alloc",
        state: ATOMIC,
        trace: &["by_pool", "atomic_init"],
        sections: &[(PREEMPTION, &["begin", "by_pool", "atomic_init"])],
    },
];

/// A machine that has loaded and unloaded the module; what it said, and what is kept of it.
fn visit(what: &str) -> Option<(String, Vec<AtomicSleep>)> {
    ferrmod_tests::corpus::own_module_or_skip("atomic")?;
    let mut stage = Stage::open()?;
    assert_eq!(stage.load("atomic", &format!("what={what}")), LoadOutcome::Loaded, "{what}");
    assert_eq!(stage.unload("atomic"), 0, "{what}");
    let report = stage.report();
    assert!(report.oopses.is_empty(), "{what}: {:?}", report.oopses);
    let text = stage.text();
    assert!(text.contains(&format!("atomic: {what} returned")), "{text}");
    Some((text, report.atomic_sleeps))
}

/// The names of the module's functions in a trace, without what the compiler adds.
fn names(trace: &[String]) -> Vec<&str> {
    let name = |call: &String| call.split('+').next().unwrap_or_default().len();
    trace.iter().map(|call| call[..name(call)].trim_start_matches("? ").trim_end_matches(".cold")).collect()
}

#[test]
fn a_task_that_sleeps_in_an_atomic_section_is_reported_with_both_places() {
    for Slept { what, function, state, trace, sections } in SLEPT {
        let Some((text, slept)) = visit(what) else { return };
        // Freeing what `vmalloc` gave is the same mistake again, at another place.
        let first = slept.first().unwrap_or_else(|| panic!("{what}: nothing\n{text}"));
        assert_eq!(
            first.reason,
            format!("BUG: sleeping function called from invalid context at {function}"),
            "{what}\n{text}"
        );
        assert_eq!(names(&first.trace), *trace, "{what}\n{text}");
        assert!(first.location.starts_with(trace[0]), "{what}: {}", first.location);
        let told: Vec<(&str, Vec<&str>)> =
            first.sections.iter().map(|(headline, calls)| (headline.as_str(), names(calls))).collect();
        let expected: Vec<(&str, Vec<&str>)> =
            sections.iter().map(|(headline, calls)| (*headline, calls.to_vec())).collect();
        assert_eq!(told, expected, "{what}\n{text}");
        // The log says the same, in Linux's order.
        let mut rest = text.as_str();
        for line in [first.reason.as_str(), state[0], state[1], state[2], sections[0].0, "CPU: ", "Call Trace:"] {
            let at = rest.find(line).unwrap_or_else(|| panic!("{what}: no {line}\n{text}"));
            rest = &rest[at..];
        }
    }
}

#[test]
fn a_task_that_gives_up_its_cpu_in_an_atomic_section_is_reported_with_both_places() {
    let Some((text, slept)) = visit("schedule") else { return };
    let [slept] = slept.as_slice() else { panic!("{slept:#?}\n{text}") };
    assert!(slept.reason.starts_with("BUG: scheduling while atomic: insmod/"), "{}", slept.reason);
    assert_eq!(names(&slept.trace), ["by_schedule", "atomic_init"], "{text}");
    let [(headline, calls)] = slept.sections.as_slice() else { panic!("{slept:#?}") };
    assert_eq!((headline.as_str(), names(calls)), (PREEMPTION, vec!["begin", "by_schedule", "atomic_init"]), "{text}");
}

#[test]
fn one_place_is_reported_once() {
    for what in ["loop", "idle_work"] {
        let Some((text, slept)) = visit(what) else { return };
        assert_eq!(slept.len(), 1, "{what}: {slept:#?}\n{text}");
        assert_eq!(text.matches("BUG:").count(), 1, "{what}: {text}");
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    let Some((text, slept)) = visit("none") else { return };
    assert!(slept.is_empty(), "{slept:#?}");
    assert!(!text.contains("BUG:"), "{text}");
}
