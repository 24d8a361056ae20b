//! Modules that hide: one for each view that gives them away.

use ferrmod_audit::{Evidence, Finding, Severity, ViewName};

use crate::world::{World, said};

/// All of this file, for the test that counts rules.
pub(crate) fn all() {
    each_view_gives_a_module_away();
    a_module_that_sysfs_does_not_show();
    taints_that_nobody_has();
    what_cannot_be_read_is_said();
}

/// A system with one module that is listed.
fn world() -> World {
    let world = World::new();
    world.add_good("good");
    world
}

/// Who is hidden, and where it was seen.
fn hidden(findings: &[Finding]) -> Vec<(&str, ViewName)> {
    let one = |finding: &'_ Finding| match finding.evidence {
        Evidence::HiddenModule { view, .. } => Some(view),
        _ => None,
    };
    findings.iter().filter_map(|finding| Some((finding.module.as_deref()?, one(finding)?))).collect()
}

#[test]
fn each_view_gives_a_module_away() {
    type Trace = fn(&World);
    let traces: [(ViewName, Trace); 8] = [
        (ViewName::Sysfs, |world| world.file("sys/module/evil/initstate", "live\n")),
        (ViewName::Sysfs, |world| world.file("sys/module/evil/initstate", "\u{1b}[2J")),
        (ViewName::Holders, |world| world.file("proc/modules", "good 16384 1 evil, Live 0x0\n")),
        (ViewName::Holders, |world| world.link("sys/module/good/holders/evil", "../../evil")),
        (ViewName::Drivers, |world| world.link("sys/bus/pci/drivers/rk/module", "../../../../module/evil")),
        (ViewName::Kallsyms, |world| world.append("proc/kallsyms", "0 t hook\t[evil]\n0 t hook2\t[evil]\n")),
        (ViewName::Btf, |world| world.file("sys/kernel/btf/evil", "")),
        (ViewName::Tracing, |world| {
            world.append("sys/kernel/tracing/available_filter_functions", "hook [evil]\n");
        }),
    ];
    for (view, trace) in traces {
        let world = world();
        assert_eq!(said(&world.loaded()), [], "{view}");
        trace(&world);
        let findings = world.loaded();
        assert_eq!(hidden(&findings), [("evil", view)]);
        assert_eq!(findings[0].severity, Severity::Serious);
        assert_eq!(findings.iter().filter(|finding| finding.module.as_deref() == Some("evil")).count(), 1);
    }
    let world = world();
    world.append("proc/kallsyms", "0 t hook\t[evil]\n0 t hook2\t[evil]\n");
    let message = "seen in /proc/kallsyms (2 symbols of it), and /proc/modules does not list it";
    assert_eq!(world.loaded()[0].message, message);
}

#[test]
fn what_is_built_in_does_not_hide() {
    let world = world();
    world.file("sys/module/kernel/parameters/panic", "0\n");
    world.file("sys/module/usbcore/uevent", "");
    world.link("sys/bus/usb/drivers/usb/module", "../../../../module/usbcore");
    world.append("proc/kallsyms", "0 t tramp\t[__builtin__ftrace]\n0 t k\t[__builtin__kprobes]\n");
    assert_eq!(said(&world.loaded()), []);
}

#[test]
fn a_module_that_sysfs_does_not_show() {
    let world = world();
    world.remove("sys/module/good");
    assert_eq!(said(&world.loaded()), [("hidden-from-sysfs", "good")]);
    // One that is being loaded has no folder yet.
    world.file("proc/modules", "good 16384 1 - Loading 0x0 (+)\n");
    assert_eq!(said(&world.loaded()), []);
}

#[test]
fn taints_that_nobody_has() {
    let world = world();
    // O and E of a module, R by force, W by a warning, and a bit without a meaning.
    let bits: u64 = 1 << 12 | 1 << 13 | 1 << 3 | 1 << 9 | 1 << 40;
    world.file("proc/sys/kernel/tainted", format!("{bits}\n"));
    let findings = world.loaded();
    let rules: Vec<_> = findings.iter().map(|finding| finding.rule.id()).collect();
    assert_eq!(rules, ["unexplained-taint", "unexplained-taint", "forced-unload", "other-taint"]);
    assert!(findings[0].message.contains("taint E (an unsigned module was loaded), and no listed module has it"));

    world.load("rootkit", 1, "OE");
    world.file("proc/sys/kernel/tainted", "0\n");
    let cleared: Vec<_> = world
        .loaded()
        .into_iter()
        .filter(|finding| finding.rule.id() == "cleared-taint")
        .map(|one| one.message)
        .collect();
    assert_eq!(cleared.len(), 2);
    assert!(cleared[0].contains("(rootkit)"), "{cleared:?}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let world = world();
    world.append("proc/modules", "what is this\n");
    world.remove("proc/kallsyms");
    world.remove("proc/sys/kernel/tainted");
    world.remove("sys/kernel");
    world.remove("sys/module/module");
    let findings = world.loaded();
    assert_eq!(findings[0].rule.id(), "malformed-view");
    assert!(findings[0].message.starts_with("line 2, byte 5: no size"), "{}", findings[0].message);
    let unchecked: Vec<&str> = findings
        .iter()
        .filter_map(|finding| match &finding.evidence {
            Evidence::Unchecked { what, .. } => Some(what.as_str()),
            _ => None,
        })
        .filter(|what| !what.starts_with("signatures of"))
        .collect();
    let expected = [
        "lockdown",
        "module.sig_enforce",
        "modules in /proc/kallsyms",
        "modules in /sys/kernel/btf",
        "modules in tracing's list of functions",
        "the kernel's taints",
    ];
    assert_eq!(unchecked, expected);
}

#[test]
fn names_that_are_no_names_are_harmless() {
    let world = world();
    world.append("proc/modules", "\u{1b}[2J\u{202e}x 1 1 - Live 0x0\n../../etc 1 1 - Live 0x0\n");
    world.append("proc/kallsyms", "0 t x\t[\u{7}bell]\n0 t x\t[../up]\n");
    for finding in world.loaded() {
        assert!(!finding.message.chars().any(char::is_control), "{finding:?}");
        assert!(!finding.module.unwrap_or_default().chars().any(char::is_control));
    }
}
