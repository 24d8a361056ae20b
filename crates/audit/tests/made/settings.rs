//! Settings.

use ferrmod_audit::Subject;

use crate::world::{World, said};

/// All of this file, for the test that counts rules.
pub(crate) fn all() {
    settings_that_are_off();
    the_program_that_loads_modules();
}

#[test]
fn settings_that_are_off() {
    let world = World::new();
    let on = world.audit(Subject::Loaded);
    assert!(on.settings.iter().all(|setting| setting.on == Some(true)), "{:?}", on.settings);
    assert_eq!(on.settings.len(), 6);
    world.file("proc/sys/kernel/modules_disabled", "0\n");
    world.file("proc/sys/kernel/modprobe", "/sbin/modprobe\n");
    world.file("proc/sys/kernel/kptr_restrict", "0\n");
    world.file("proc/sys/kernel/dmesg_restrict", "0\n");
    world.file("sys/module/module/parameters/sig_enforce", "N\n");
    world.file("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
    let off = world.audit(Subject::Loaded);
    assert!(off.settings.iter().all(|setting| setting.on == Some(false)), "{:?}", off.settings);
    assert_eq!(off.findings.iter().filter(|finding| finding.rule.id() == "setting-open").count(), 6);
    world.file("proc/sys/kernel/kptr_restrict", "many\n");
    let odd = world.audit(Subject::Loaded);
    assert!(odd.findings.iter().any(|one| one.message == "not looked at: kernel.kptr_restrict: not a number"));
}

#[test]
fn the_program_that_loads_modules() {
    let world = World::new();
    for (path, bad) in [
        ("/sbin/modprobe", false),
        ("/usr/sbin/modprobe", false),
        ("/nix/store/abc-kmod/bin/modprobe", false),
        ("/tmp/x", true),
        ("/sbin/modprob", true),
    ] {
        world.file("proc/sys/kernel/modprobe", format!("{path}\n"));
        let findings = world.loaded();
        assert_eq!(said(&findings).contains(&("modprobe-path", "")), bad, "{path}");
    }
    world.file("proc/sys/kernel/modprobe", "/sbin/modprobe\n");
    world.file("sbin/modprobe", "");
    world.mode("sbin/modprobe", 0o755);
    assert!(!said(&world.loaded()).contains(&("modprobe-path", "")));
    world.mode("sbin/modprobe", 0o777);
    let findings = world.loaded();
    assert!(findings[0].message.ends_with("others than its owner may write to it"), "{findings:?}");
}
