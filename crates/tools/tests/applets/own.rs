//! What kmod does not have.

use std::fs;
use std::process::Command;

use crate::oracle::{Scratch, ours};

/// `ferrmod NAME` without the program `ferrmod`: the small one under a name of no applet refuses, so that its own is used.
#[test]
fn unknown_names_fail_silently() {
    let scratch = Scratch::new();
    let found = ours("nothing", &["x"], scratch.path());
    assert_eq!((found.status.code(), found.stdout.len(), found.stderr.len()), (Some(1), 0, 0));
    let found = ours("install-links", &["."], scratch.path());
    assert_eq!(found.status.code(), Some(1));
}

#[test]
fn the_name_may_have_a_folder() {
    let scratch = Scratch::new();
    let found = ours("/sbin/modinfo", &["-x"], scratch.path());
    assert_eq!(found.stderr, b"/sbin/modinfo: invalid option -- 'x'\n");
    let found = ours("/sbin/modinfo", &["nothere"], scratch.path());
    assert_eq!(found.stderr, b"modinfo: ERROR: Module nothere not found.\n");
}

/// The scripts are sound for the one shell that is everywhere.
#[test]
fn bash_takes_its_completions() {
    let scratch = Scratch::new();
    for applet in ferrmod_tools::APPLETS {
        let script = ferrmod_tools::completions::script(applet, ferrmod_tools::completions::Shell::Bash);
        let path = scratch.write(applet.name, script.as_bytes());
        let Ok(found) = Command::new("bash").arg("-n").arg(&path).output() else { return };
        assert!(found.status.success() && found.stderr.is_empty(), "{}: {found:?}", applet.name);
    }
    assert!(fs::read_dir(scratch.path()).unwrap().count() >= 5);
}

#[test]
fn a_reader_that_goes_is_no_panic() {
    let Ok(found) =
        Command::new("sh").args(["-c", "\"$1\" --help | head -c 0; exit 0", "sh", env!("CARGO_BIN_EXE_kmod")]).output()
    else {
        return;
    };
    assert!(found.stderr.is_empty(), "{found:?}");
}
