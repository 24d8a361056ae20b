//! What a directive is said to stop is what it stops.

use ferrmod_plan::why::{Directive, Door, Reader, Verdict, Way};

use crate::ground::Made;

/// The door that a path goes through; `None` for what has none of its own.
fn door(way: &Way) -> Option<Door> {
    Some(match way {
        Way::Name { .. } => Door::Name,
        Way::File { .. } => Door::File,
        Way::Device { .. } => Door::Devices,
        Way::Request { .. } | Way::Node { .. } => Door::Requests,
        Way::Alias { .. } => Door::Aliases,
        Way::List { reader: Reader::ModulesLoad, .. } => Door::ModulesLoad,
        Way::CommandLine { key, .. } if key == "modules_load" => Door::ModulesLoad,
        Way::Softdep { .. } => Door::Softdeps,
        Way::Dependency { .. } => Door::Dependencies,
        Way::Command { .. } => Door::Commands,
        Way::Initramfs { .. } => Door::Initramfs,
        _ => return None,
    })
}

#[test]
fn the_explanation_and_the_verdicts_agree() {
    let table = [
        (Directive::Blacklist, "blacklist m\n", ""),
        (Directive::ModprobeBlacklist, "", "modprobe.blacklist=m"),
        (Directive::InstallNothing, "install m /bin/true\n", ""),
        (Directive::Mask, "mask m\n", ""),
        (Directive::Mask, "", "modprobe.mask=m"),
        (Directive::Allow, "allow d p n other\n", ""),
        (Directive::ModuleBlacklist, "", "module_blacklist=m"),
        (Directive::ModulesDisabled, "", "nomodule"),
    ];
    for (directive, config, command_line) in table {
        let made = Made::with_all_ways(config, &format!("{command_line} modules_load=m"));
        let answer = made.answer("m");
        let effects: Vec<_> = answer.directives.iter().filter(|effect| effect.directive == directive).collect();
        assert_eq!(effects.len(), 1, "{directive:?}: {:?}", answer.directives);
        let effect = effects[0];
        let mut seen = 0;
        for path in answer.paths.iter().filter(|path| path.verdict != Verdict::Absent) {
            let Some(door) = door(&path.way) else { continue };
            // An initramfs is open by its list, whose configuration is another one.
            let word_is_read_there = matches!(directive, Directive::ModprobeBlacklist);
            if door == Door::Initramfs && word_is_read_there {
                continue;
            }
            seen += 1;
            let stopped = effect.stops.contains(&door);
            assert_eq!(
                path.verdict == Verdict::Blocked,
                stopped,
                "{directive:?} and {}: {:?}",
                path.way,
                path.blocked_by
            );
            // udev and systemd are kmod's, as far as `mask` and `allow` go.
            let kmod = effect.passes.contains(&Door::Kmod) && matches!(door, Door::Devices | Door::ModulesLoad);
            assert_eq!(effect.passes.contains(&door) || kmod, !stopped, "{directive:?} and {door:?}");
        }
        assert!(seen >= 12, "{directive:?}: {seen}");
    }
}
