//! Files against rpm's database: one that rpm itself made, and answers that it would not give.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use ferrmod_audit::{Audit, Subject};
use ferrmod_tests::corpus;

use crate::world::{RELEASE, World, module, said, signed};

/// What the package is made of; the digests are made by rpmbuild, with the algorithm that is asked for.
const SPEC: &str = "\
%define debug_package %{nil}
%define __os_install_post %{nil}
%define _build_id_links none
Name: kernel-made
Version: 6.1
Release: 1
Summary: modules
License: GPL
BuildArch: noarch
%description
modules
%install
mkdir -p %{buildroot}
cp -r %{tree}/lib %{buildroot}
%files
/lib/modules
%ghost /lib/modules/RELEASE/kernel/ghost.ko
";

/// Installs the modules of `world` as a package, in a database in `folder`. False when rpm is not there.
fn package(world: &World, folder: &str, algorithm: &str) -> bool {
    let path = |path: &str| world.path(path).display().to_string();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).env("HOME", world.path("rpm")).output().ok()?;
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(())
    };
    world.file("rpm/spec", SPEC.replace("RELEASE", RELEASE));
    // Only the modules are packaged: the links and lists of the tree come from elsewhere.
    let (top, tree, digest) = (
        format!("_topdir {}", path("rpm")),
        format!("tree {}", path("")),
        format!("_binary_filedigest_algorithm {algorithm}"),
    );
    let spec = path("rpm/spec");
    if run("rpmbuild", &["-bb", "--define", &top, "--define", &tree, "--define", &digest, &spec]).is_none() {
        corpus::skip("rpm", "install the package rpm");
        return false;
    }
    let made = path("rpm/RPMS/noarch/kernel-made-6.1-1.noarch.rpm");
    // The files are there already.
    let database = path(folder);
    run("rpm", &["--dbpath", &database, "-i", "--justdb", "--nodeps", "--nosignature", &made]).unwrap();
    world.remove("rpm");
    true
}

fn world() -> World {
    let world = World::new();
    world.remove("var/lib/dpkg");
    for name in ["good", "changed", "removed", "ghost"] {
        world.file(&format!("lib/modules/{RELEASE}/kernel/{name}.ko"), signed(&module(name, &[]).write()));
    }
    world
}

#[test]
fn files_against_rpms_database() {
    for (folder, algorithm, name) in
        [("var/lib/rpm", "8", "SHA256"), ("usr/lib/sysimage/rpm", "1", "MD5"), ("var/lib/rpm", "10", "SHA512")]
    {
        let world = world();
        if !package(&world, folder, algorithm) {
            return;
        }
        let audit = world.audit(Subject::Installed);
        let database = audit.packages.as_ref().unwrap();
        assert_eq!((database.kind, database.packages), ("rpm", 1));
        // Ghosts are made by something else than the package, and belong to it all the same; here one was never made by it.
        assert_eq!(said(&audit.findings), [("unpackaged", "ghost")]);

        world.file(&format!("lib/modules/{RELEASE}/kernel/changed.ko"), signed(&module("changed", &["x=y"]).write()));
        world.remove(&format!("lib/modules/{RELEASE}/kernel/removed.ko"));
        world.remove(&format!("lib/modules/{RELEASE}/kernel/ghost.ko"));
        world.file(&format!("lib/modules/{RELEASE}/updates/mine.ko"), signed(&module("mine", &[]).write()));
        let findings = world.installed();
        assert_eq!(
            said(&findings),
            [("package-differs", "changed"), ("package-missing", "removed"), ("unpackaged", "mine")]
        );
        let begin = format!("not what package kernel-made-6.1-1.noarch installed: {name} ");
        assert!(findings[0].message.starts_with(&begin), "{}", findings[0].message);
        // dpkg's tools on a system of rpm's, and the other way around.
        world.file("var/lib/dpkg/info/rpm.md5sums", "");
        assert_eq!(world.audit(Subject::Installed).packages.unwrap().kind, "rpm");
        world.file(
            "var/lib/dpkg/info/image.list",
            format!("/lib/modules/{RELEASE}/kernel/good.ko\n/lib/modules/{RELEASE}/kernel/changed.ko\n"),
        );
        assert_eq!(world.audit(Subject::Installed).packages.unwrap().kind, "dpkg");
    }
}

/// An audit with a program in rpm's place that does what the shell is told.
fn with_program(world: &World, commands: &str) -> Audit {
    let program = world.path("fake");
    world.file("commands", format!("#!/bin/sh\n{commands}\n"));
    // Written by another process: one that this process has written may still be open in a child of another thread's.
    let copied = Command::new("install").arg("-m755").arg(world.path("commands")).arg(&program).status();
    assert!(copied.unwrap().success());
    world.try_audit_with(Subject::Installed, program.as_os_str()).unwrap()
}

#[test]
fn what_rpm_says_is_not_believed() {
    let world = world();
    world.file("var/lib/rpm/rpmdb.sqlite", "no database");
    let unchecked = |audit: &Audit| -> Vec<String> {
        let findings = audit.findings.iter().filter(|finding| finding.rule.id() == "unchecked");
        findings.map(|finding| finding.message.clone()).collect()
    };

    let absent = world.try_audit_with(Subject::Installed, OsStr::new("/nonexistent/rpm")).unwrap();
    assert_eq!(absent.packages, None);
    assert_eq!(
        unchecked(&absent),
        [
            "not looked at: files against packages: rpm's database is read by the program /nonexistent/rpm, which is not installed here"
        ]
    );
    let failed =
        with_program(&world, "echo; echo 'error: no \u{1b}[31mdatabase' >&2; yes >&2 & sleep 0.1; kill $!; exit 1");
    assert!(unchecked(&failed)[0].contains("could not read rpm's database: error: no "), "{:?}", unchecked(&failed));
    assert!(!unchecked(&failed)[0].contains('\u{1b}'));
    let killed = with_program(&world, "kill -9 $$");
    assert!(unchecked(&killed)[0].contains("signal: 9"), "{:?}", unchecked(&killed));

    // Lines that rpm would not write are told, and the others count.
    let odd = with_program(
        &world,
        &format!(
            "printf 'x\\nowner\\t8\\t\\t0\\t0\\t/lib/modules/{RELEASE}/kernel/good.ko\\n\\377\\t8\\tzz\\t0\\t0\\t/lib/modules/{RELEASE}/kernel/changed.ko\\n'"
        ),
    );
    assert_eq!(odd.packages.as_ref().map(|packages| packages.packages), Some(1));
    assert!(unchecked(&odd)[0].ends_with("fake: line 1: no algorithm"), "{:?}", unchecked(&odd));
    let unpackaged: Vec<_> = said(&odd.findings).into_iter().filter(|(rule, _)| *rule == "unpackaged").collect();
    assert_eq!(unpackaged, [("unpackaged", "changed"), ("unpackaged", "ghost"), ("unpackaged", "removed")]);

    // Nothing at all is a database without packages.
    let empty = with_program(&world, "exit 0");
    assert_eq!(empty.packages.as_ref().map(|packages| (packages.kind, packages.packages)), Some(("rpm", 0)));
    assert!(said(&empty.findings).contains(&("unpackaged-tree", "")));

    // It is called with the folder that has the database, and nothing is written there.
    let asked = with_program(&world, "echo \"$@\" > \"${0%/*}/arguments\"");
    assert_eq!(asked.packages.map(|packages| packages.packages), Some(0));
    let arguments = fs::read_to_string(world.path("arguments")).unwrap();
    assert!(arguments.starts_with(&format!("--dbpath {} -qa", world.path("var/lib/rpm").display())), "{arguments}");

    // Without a database nobody is asked.
    world.remove("var/lib/rpm");
    world.remove("arguments");
    fs::create_dir_all(world.path("var/lib/rpm")).unwrap();
    let without = world.try_audit_with(Subject::Installed, world.path("fake").as_os_str()).unwrap();
    assert_eq!(unchecked(&without), ["not looked at: files against packages: there is no database of dpkg's or rpm's"]);
    assert!(!world.path("arguments").exists());
}
