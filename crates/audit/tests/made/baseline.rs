//! Baselines.

use ferrmod_audit::{Baseline, BaselineError, Severity, Subject};

use crate::world::{RELEASE, World, module, said, signed};

/// All of this file, for the test that counts rules.
pub(crate) fn all() {
    what_changed_since();
    another_kernel();
}

#[test]
fn what_changed_since() {
    let world = World::new();
    for name in ["stays", "goes", "changes"] {
        world.add_good(name);
    }
    let then = world.audit(Subject::Loaded);
    let text = Baseline::of(&then).write().unwrap();
    let baseline = Baseline::read(text.as_bytes()).unwrap();
    assert_eq!(baseline, Baseline::of(&then));
    assert_eq!(baseline.compare(&then).unwrap(), []);

    world.add_good("comes");
    world.file("sys/module/changes/srcversion", "NEW\n");
    world.file(&format!("lib/modules/{RELEASE}/kernel/changes.ko"), module("changes", &[]).write());
    let lines = std::fs::read_to_string(world.path("proc/modules")).unwrap();
    let kept: Vec<&str> = lines.lines().filter(|line| !line.starts_with("goes")).collect();
    world.file("proc/modules", kept.join("\n"));
    world.file("proc/sys/kernel/modules_disabled", "0\n");
    world.file("proc/sys/kernel/kptr_restrict", "2\n");
    let now = world.audit(Subject::Loaded);
    let findings = crate::noted(baseline.compare(&now).unwrap());
    let said = said(&findings);
    assert!(said.contains(&("baseline-new", "comes")) && said.contains(&("baseline-gone", "goes")));
    assert!(!said.iter().any(|(_, name)| *name == "stays"));
    let message = |text: &str| findings.iter().find(|finding| finding.message.contains(text));
    assert!(message("srcversion was SRCchanges in the baseline and is NEW").is_some(), "{findings:?}");
    if crate::world::keys().is_some() {
        assert!(message("signer was CN = ours in the baseline and is not there").is_some(), "{findings:?}");
    }
    let weaker = message("kernel.modules_disabled was 1 in the baseline and is 0").unwrap();
    assert_eq!(weaker.severity, Severity::Warning);
    // What protects more than before is no warning.
    let better = message("kernel.kptr_restrict was 1 in the baseline and is 2").unwrap();
    assert_eq!(better.severity, Severity::Information);
}

#[test]
fn another_kernel() {
    let world = World::new();
    world.add_good("good");
    let baseline = Baseline::of(&world.audit(Subject::Loaded));
    world.file("proc/sys/kernel/osrelease", "6.2.0-next\n");
    world.file("lib/modules/6.2.0-next/kernel/good.ko", signed(&module("good", &["srcversion=NEXT"]).write()));
    let now = world.audit(Subject::Loaded);
    let findings = crate::noted(baseline.compare(&now).unwrap());
    assert_eq!(said(&findings), [("baseline-kernel", "")]);
}

#[test]
fn what_is_no_baseline_is_refused() {
    let world = World::new();
    world.add_good("good");
    let loaded = world.audit(Subject::Loaded);
    let error = Baseline::of(&world.audit(Subject::Installed)).compare(&loaded).unwrap_err();
    assert_eq!(error.to_string(), "the baseline is of what was installed, and this looks at what is loaded");
    for text in [&b""[..], b"{}", b"[]", b"\xff", br#"{"schema": 1}"#] {
        assert!(matches!(Baseline::read(text), Err(BaselineError::Json(_))));
    }
    let other = Baseline::read(br#"{"schema": "ferrmod.audit/1"}"#).unwrap_err();
    assert!(matches!(other, BaselineError::Schema(_)), "{other}");
    let deep = [&b"{\"schema\":"[..], &vec![b'['; 100_000]].concat();
    assert!(Baseline::read(&deep).is_err());
}
