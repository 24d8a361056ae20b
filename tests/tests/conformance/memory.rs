//! Every wrong use of heap memory of `tests/modules/faults/memory.c`: it is reported with the calls that allocated and freed the
//! object, by what is found around and in objects, or at once when they have pages of their own.

use ferrmod_machine::{Checks, LoadOutcome, MemoryError};

use crate::stage::Stage;

/// What is found.
struct Found {
    what: &'static str,
    /// Kind, where the report says it was found, and its size, where an access is told.
    zones: Option<&'static str>,
    pages: Option<(&'static str, &'static str)>,
    /// The wrong address, from the start of the object, and the size of that.
    place: (i64, u64),
    /// Who has freed it, before it was found.
    freed: [bool; 2],
}

const FOUND: &[Found] = &[
    Found {
        what: "after",
        zones: Some("out-of-bounds"),
        pages: Some(("slab-out-of-bounds", "Write of size 1")),
        place: (40, 40),
        freed: [true, false],
    },
    // Before it there is room on its page, which is looked at when it is freed.
    Found { what: "before", zones: Some("out-of-bounds"), pages: None, place: (-3, 40), freed: [true, true] },
    Found {
        what: "read_after",
        zones: None,
        pages: Some(("slab-out-of-bounds", "Read of size 4")),
        place: (40, 40),
        freed: [false, false],
    },
    Found {
        what: "freed_write",
        zones: Some("use-after-free"),
        pages: Some(("use-after-free", "Write of size 4")),
        place: (8, 40),
        freed: [true, true],
    },
    Found {
        what: "freed_read",
        zones: None,
        pages: Some(("use-after-free", "Read of size 4")),
        place: (8, 40),
        freed: [true, true],
    },
    Found {
        what: "cache",
        zones: Some("out-of-bounds"),
        pages: Some(("slab-out-of-bounds", "Write of size 1")),
        place: (72, 72),
        freed: [true, false],
    },
    Found {
        what: "virtual",
        zones: Some("out-of-bounds"),
        pages: None,
        place: (2 * 4096 + 40, 2 * 4096 + 40),
        freed: [true, true],
    },
    Found {
        what: "page",
        zones: Some("out-of-bounds"),
        pages: Some(("slab-out-of-bounds", "Write of size 1")),
        place: (4096, 4096),
        freed: [true, false],
    },
    Found {
        what: "leaked",
        zones: Some("out-of-bounds"),
        pages: Some(("slab-out-of-bounds", "Write of size 1")),
        place: (40, 40),
        freed: [false, false],
    },
];

fn stage(checks: Checks) -> Option<Stage> {
    ferrmod_tests::corpus::own_module_or_skip("memory")?;
    Stage::open_with(|options| options.checks = checks)
}

/// Commits it and lets everything be looked at.
fn errors(stage: &mut Stage, what: &str, expected: LoadOutcome) -> Vec<MemoryError> {
    assert_eq!(stage.load("memory", &format!("what={what}")), expected, "{what}");
    if expected == LoadOutcome::Loaded {
        assert_eq!(stage.unload("memory"), 0, "{what}");
    }
    let report = stage.report();
    assert_eq!(report.oopses.len(), report.memory_errors.len(), "{what}: {:?}", report.oopses);
    report.memory_errors
}

/// One error about an object that `take` or the kernel's own allocator gave to the function, with the calls that led there.
fn check(found: &Found, error: &MemoryError, is_freed: bool) {
    let Found { what, place: (offset, size), .. } = found;
    let (start, length) = error.object.unwrap_or_else(|| panic!("{what}: {error:#?}"));
    assert_eq!((error.address.wrapping_sub(start).cast_signed(), length), (*offset, *size), "{what}: {error:#?}");
    let (_, allocated) = error.allocated.as_ref().unwrap_or_else(|| panic!("{what}: {error:#?}"));
    let direct = matches!(*what, "cache" | "virtual" | "page");
    let names: Vec<&str> = allocated.iter().map(|call| call.split('+').next().unwrap_or_default()).collect();
    let expected: &[&str] = if direct { &[what] } else { &["take", what] };
    assert!(
        names.iter().zip(expected).all(|(name, wanted)| name.trim_end_matches(".cold") == *wanted),
        "{what}: {names:?}"
    );
    assert!(names.contains(&"memory_init"), "{what}: {names:?}");
    assert!(allocated.iter().all(|call| call.ends_with("[memory]")), "{what}: {allocated:?}");
    assert_eq!(error.freed.is_some(), is_freed, "{what}: {error:#?}");
    if let Some((_, freed)) = &error.freed {
        let wanted = if direct { what } else { "give" };
        assert!(freed[0].starts_with(wanted) && freed[0].ends_with("[memory]"), "{what}: {freed:?}");
    }
}

#[test]
fn a_wrong_write_is_found_when_the_object_is_freed_or_its_place_given_out_again() {
    for found in FOUND {
        let Some(mut stage) = stage(Checks::Zones) else { return };
        let errors = errors(&mut stage, found.what, LoadOutcome::Loaded);
        let text = stage.text();
        assert!(text.contains(&format!("memory: {} returned", found.what)), "{text}");
        match found.zones {
            Some(kind) => {
                assert_eq!(
                    errors.iter().map(|error| error.kind.as_str()).collect::<Vec<_>>(),
                    [kind],
                    "{}",
                    found.what
                );
                check(found, &errors[0], found.freed[0]);
                assert!(text.contains("Allocated by task 1:\n"), "{text}");
            }
            None => assert_eq!(errors, [], "{}", found.what),
        }
    }
}

#[test]
fn with_pages_of_its_own_a_wrong_access_is_an_oops_at_once() {
    for found in FOUND {
        let Some(mut stage) = stage(Checks::Pages) else { return };
        let expected = if found.pages.is_some() { LoadOutcome::Oopsed } else { LoadOutcome::Loaded };
        let errors = errors(&mut stage, found.what, expected);
        let text = stage.text();
        assert_eq!(errors.len(), 1, "{}: {errors:#?}", found.what);
        check(found, &errors[0], found.freed[1]);
        let Some((kind, access)) = found.pages else { continue };
        let function = &errors[0].location;
        assert!(function.trim_start_matches(found.what).starts_with(['+', '.']), "{function}");
        assert!(text.contains(&format!("BUG: KASAN: {kind} in {function}\n{access} at addr ")), "{text}");
        assert!(!text.contains("returned"), "{text}");
        let (start, size) = errors[0].object.unwrap();
        assert!(text.contains(&format!(" {size}-byte region [{start:016x}, {:016x})", start + size)), "{text}");
    }
}

#[test]
fn what_ksize_and_krealloc_give_may_be_used() {
    for checks in [Checks::Off, Checks::Zones, Checks::Pages] {
        for what in ["none", "whole"] {
            let Some(mut stage) = stage(checks) else { return };
            assert_eq!(errors(&mut stage, what, LoadOutcome::Loaded), [], "{checks:?} {what}");
            assert_eq!(stage.report().memory, [], "{checks:?} {what}");
        }
    }
}

#[test]
fn a_wrong_free_names_who_allocated_and_who_freed() {
    for checks in [Checks::Zones, Checks::Pages] {
        for (what, kind) in [("twice", "double-free"), ("inside", "invalid-free")] {
            let Some(mut stage) = stage(checks) else { return };
            let errors = errors(&mut stage, what, LoadOutcome::Oopsed);
            assert_eq!(errors.len(), 1, "{errors:#?}");
            assert_eq!(errors[0].kind, kind);
            let freed = errors[0].freed.as_ref().map(|(_, calls)| calls[0].as_str());
            assert_eq!(freed.is_some_and(|call| call.starts_with("give+")), what == "twice", "{errors:#?}");
            let (_, allocated) = errors[0].allocated.as_ref().unwrap();
            assert!(allocated[0].starts_with("take+"), "{allocated:?}");
        }
    }
}
