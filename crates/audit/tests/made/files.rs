//! Modules and their files.

use ferrmod_audit::{Severity, Signature, Subject};

use crate::world::{RELEASE, World, keys, module, said, signed};

/// All of this file, for the test that counts rules.
pub(crate) fn all() {
    nothing_is_found_where_nothing_is_wrong();
    who_vouches();
    what_kind_of_module();
    what_is_loaded_is_not_the_file();
    packages();
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let world = World::new();
    world.add_good("good");
    world.add_good("other");
    let audit = world.audit(Subject::Loaded);
    assert_eq!(said(&audit.findings), [], "{:?}", audit.findings);
    assert_eq!(audit.modules.len(), 2);
    if keys().is_some() {
        assert!(matches!(audit.modules[0].file.as_ref().unwrap().signature, Signature::Signed { .. }));
        assert_eq!(audit.modules[0].signer(), Some("CN = ours"));
        assert_eq!(audit.severity(), None);
    }
    assert_eq!(audit.trees[0].release, RELEASE);
    assert!(audit.views.iter().all(|view| view.unreadable.is_none()), "{:?}", audit.views);
    assert_eq!(said(&world.installed()), []);
}

#[test]
fn who_vouches() {
    let Some([ours, foreign]) = keys() else { return };
    let world = World::new();
    let file = |name| module(name, &[]).write();
    world.install("unsigned", &file("unsigned"));
    world.load("unsigned", 1, "E");
    world.install("foreign", &foreign.sign(&file("foreign")));
    world.load("foreign", 1, "E");
    world.install("owner", &foreign.sign(&file("owner")));
    world.load("owner", 1, "");
    let mut changed = ours.sign(&file("changed"));
    changed[70] ^= 1;
    world.install("changed", &changed);
    world.load("changed", 1, "");
    // Bytes behind the message: Linux does not look at them.
    let mut altered = ours.sign(&file("altered"));
    let end = altered.len() - 28 - 12;
    altered.splice(end..end, [0, 0]);
    let length = altered.len() - 28 - 4;
    let message = u32::from_be_bytes(altered[length..length + 4].try_into().unwrap()) + 2;
    altered[length..length + 4].copy_from_slice(&message.to_be_bytes());
    world.install("altered", &altered);
    world.load("altered", 1, "");
    world.file("proc/sys/kernel/tainted", format!("{}\n", 1 << 13));
    let findings = world.loaded();
    assert_eq!(
        said(&findings),
        [
            ("bad-signature", "changed"),
            ("altered-message", "altered"),
            ("unsigned", "unsigned"),
            ("unknown-signer", "foreign"),
            ("unknown-signer", "owner"),
        ]
    );
    assert!(findings[0].message.contains("changed after ours signed it"), "{}", findings[0].message);
    assert_eq!(findings[2].message, "not signed, by its taint and its file");
    assert!(findings[3].message.contains("CN = foreign") && !findings[3].message.contains("the kernel took"));
    assert!(findings[4].message.ends_with("the kernel took its signature when it was loaded (no taint E)"));
}

#[test]
fn what_kind_of_module() {
    let world = World::new();
    let kinds: [(&str, &[&str], &str); 6] = [
        ("away", &["intree="], "O"),
        ("closed", &["license=Proprietary"], "P"),
        ("stage", &["staging=Y"], "C"),
        ("patch", &["livepatch=Y"], "K"),
        ("check", &["test=Y"], "N"),
        ("force", &[], "F"),
    ];
    for (name, modinfo, taints) in kinds {
        world.install(name, &signed(&module(name, modinfo).write()));
        world.load(name, 1, taints);
    }
    world.file("proc/sys/kernel/tainted", format!("{}\n", 1 | 1 << 1 | 1 << 10 | 1 << 12 | 1 << 15 | 1 << 18));
    let findings = world.loaded();
    assert_eq!(
        said(&findings),
        [
            ("forced", "force"),
            ("out-of-tree", "away"),
            ("proprietary", "closed"),
            ("staging", "stage"),
            ("test", "check"),
            ("livepatch", "patch"),
        ]
    );
    let closed = findings.iter().find(|finding| finding.module.as_deref() == Some("closed")).unwrap();
    assert_eq!(closed.message, "proprietary, by its taint and its file (licence `Proprietary`)");

    // The kernel alone, when the file says nothing of it.
    world.file("sys/module/force/taint", "FO\n");
    world.file("proc/modules", "force 16384 1 - Live 0x0 (FO)\n");
    let findings = world.loaded();
    assert!(findings.iter().any(|finding| finding.message == "built outside of the kernel's tree, by its taint"));

    // Installed, a staging driver is no warning yet.
    let installed = world.installed();
    let stage = installed.iter().find(|finding| finding.module.as_deref() == Some("stage")).unwrap();
    assert_eq!((stage.rule.id(), stage.severity), ("staging", Severity::Information));
}

#[test]
fn what_is_loaded_is_not_the_file() {
    let world = World::new();
    for name in ["source", "build", "taint", "idle", "bound", "linked"] {
        world.add_good(name);
    }
    world.file("sys/module/source/srcversion", "OTHER\n");
    let note = [&4_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), &3_u32.to_le_bytes(), b"GNU\0", &[1, 2, 0, 0]].concat();
    world.file("sys/module/build/notes/.note.gnu.build-id", note);
    world.file("sys/module/taint/taint", "O\n");
    world.file("proc/sys/kernel/tainted", "4096\n");
    world.load("gone", 1, "");
    let lines = std::fs::read_to_string(world.path("proc/modules")).unwrap();
    let free = |line: &str| line.replace("16384 1", "16384 0");
    let lines: Vec<String> = lines
        .lines()
        .map(|line| {
            if ["idle", "bound", "linked"].iter().any(|name| line.starts_with(name)) { free(line) } else { line.into() }
        })
        .collect();
    world.file("proc/modules", lines.join("\n"));
    // A device that is bound to a driver, which links to its module, or which only the module links to.
    world.link("sys/bus/pci/drivers/bound/module", "../../../../module/bound");
    world.link("sys/bus/pci/drivers/bound/0000:00:03.0", "../../../../devices/x");
    world.link("sys/bus/pci/drivers/linked/0000:00:04.0", "../../../../devices/y");
    world.link("sys/module/linked/drivers/pci:linked", "../../../bus/pci/drivers/linked");
    world.link("sys/bus/pci/drivers/idle/module", "../../../../module/idle");
    let findings = world.loaded();
    assert_eq!(
        said(&findings),
        [
            ("taint-mismatch", "taint"),
            ("out-of-tree", "taint"),
            ("no-file", "gone"),
            ("srcversion-differs", "source"),
            ("build-id-differs", "build"),
            ("unused", "idle"),
        ]
    );
    assert_eq!(findings[3].message, "loaded was OTHER, the file now is SRCsource (srcversion)");
    assert!(findings[4].message.starts_with("loaded was 0102, the file now is 0707"));
}

#[test]
fn packages() {
    let world = World::new();
    for name in ["good", "changed", "removed"] {
        world.add_good(name);
    }
    world.file(&format!("lib/modules/{RELEASE}/kernel/changed.ko"), signed(&module("changed", &["x=y"]).write()));
    world.remove(&format!("lib/modules/{RELEASE}/kernel/removed.ko"));
    world.file(&format!("lib/modules/{RELEASE}/updates/dkms/mine.ko"), signed(&module("mine", &[]).write()));
    world.file(&format!("lib/modules/{RELEASE}/kernel/broken.ko"), b"no module");
    // A package without check sums has its plain list, below /usr as newer ones have it.
    world
        .file("var/lib/dpkg/info/extra:amd64.list", format!("/.\n/usr/lib/modules/{RELEASE}/updates/dkms/listed.ko\n"));
    world.file(&format!("lib/modules/{RELEASE}/updates/dkms/listed.ko"), signed(&module("listed", &[]).write()));
    // A file that is diverted is looked for where it is.
    world.append("var/lib/dpkg/info/image.md5sums", "not a line\n");
    let findings = world.installed();
    let unsigned = |said: Vec<(&'static str, &str)>| {
        said.into_iter()
            .filter(|(rule, _)| *rule != "unsigned")
            .map(|(rule, name)| format!("{rule} {name}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        unsigned(said(&findings)),
        [
            "package-differs changed",
            "unreadable-file broken",
            "package-missing removed",
            "unpackaged broken",
            "unpackaged mine",
            "unchecked ",
        ]
    );
    let differs = &findings.iter().find(|finding| finding.rule.id() == "package-differs").unwrap();
    assert!(differs.message.starts_with("not what package image installed: MD5 "), "{}", differs.message);
    assert!(findings.last().unwrap().message.ends_with("image.md5sums: line 4: no check sum"), "{:?}", findings.last());

    let from = format!("/lib/modules/{RELEASE}/kernel/changed.ko");
    world.file("var/lib/dpkg/diversions", format!("{from}\n{from}.distrib\nmine\n"));
    world.file(&format!("lib/modules/{RELEASE}/kernel/changed.ko.distrib"), signed(&module("changed", &[]).write()));
    let names = unsigned(said(&world.installed()));
    assert!(
        names.contains(&"unpackaged changed".to_owned())
            && !names.iter().any(|line| line.starts_with("package-differs"))
    );

    // A kernel that no package knows is said once.
    world.file("var/lib/dpkg/info/image.md5sums", "");
    world.remove("var/lib/dpkg/info/extra:amd64.list");
    let findings = world.installed();
    assert_eq!(findings.iter().filter(|finding| finding.rule.id().starts_with("unpackaged")).count(), 1);
}

#[test]
fn there_must_be_something_to_look_at() {
    let world = World::new();
    world.remove("lib");
    assert!(world.try_audit(Subject::Installed).unwrap_err().to_string().contains("no modules"));
    let findings = world.loaded();
    assert!(findings[0].message.starts_with("not looked at: files of the loaded modules"), "{findings:?}");
    world.remove("proc/modules");
    assert!(world.try_audit(Subject::Loaded).unwrap_err().to_string().contains("proc/modules"));
}
