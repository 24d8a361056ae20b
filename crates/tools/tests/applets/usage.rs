//! Command lines that are wrong, and what needs no module.

use std::fs;

use crate::oracle::{Oracle, Scratch, ours, ours_in_shell};

#[test]
fn wrong_options() {
    let Some(oracle) = Oracle::or_skip() else { return };
    let scratch = Scratch::new();
    for (applet, cases) in [
        ("modinfo", "-x|--foo|--foo=1|--field|-F|--null=x|--f|--f=x|-nx|-F|--d -n x|--n x|x -x|-- -x|-|"),
        ("lsmod", "-x|x|--versio=1|--s x|--"),
        ("rmmod", "-w x|-x|--f=1|nothere -x|"),
        ("insmod", "-x|-|/nothere|--f=x /nothere|/nothere -x|-- -x|--forc /nothere|"),
        ("kmod", "-x list|--foo|list x|list -x|list --foo|static-nodes -x|static-nodes --f|--x list"),
    ] {
        for case in cases.split('|') {
            let arguments: Vec<&str> = case.split(' ').filter(|word| !word.is_empty()).collect();
            oracle.compare(applet, &arguments, scratch.path());
        }
    }
}

/// Help is ours; where it goes, and what else is said, is kmod's.
#[test]
fn help_goes_where_kmods_goes() {
    let Some(oracle) = Oracle::or_skip() else { return };
    let scratch = Scratch::new();
    for (applet, arguments) in [
        ("kmod", vec![]),
        ("kmod", vec!["foo"]),
        ("kmod", vec!["help"]),
        ("kmod", vec!["--hel"]),
        ("kmod", vec!["list", "-h"]),
        ("kmod", vec!["static-nodes", "-f", "foo"]),
        ("modinfo", vec!["-nh"]),
        ("insmod", vec!["--help"]),
        ("rmmod", vec!["-V"]),
        ("lsmod", vec!["-V", "-x"]),
    ] {
        let wanted = oracle.ask(applet, &arguments, scratch.path());
        let found = ours(applet, &arguments, scratch.path());
        let shape = |output: &std::process::Output| (output.status.code(), output.stdout.is_empty());
        assert_eq!(shape(&found), shape(&wanted), "{applet} {arguments:?}");
        assert_eq!(found.stderr, wanted.stderr, "{applet} {arguments:?}");
    }
}

#[test]
fn options_of_kmod_30_are_taken() {
    let scratch = Scratch::new();
    let found = ours("insmod", &["-p", "-f", "/nothere"], scratch.path());
    assert_eq!(found.stderr, b"insmod: ERROR: could not load module /nothere: No such file or directory\n");
}

/// The kernel starts modprobe with nothing open at all. Messages are lost then, kmod's as well as ours (its manual says that they
/// go to the system log, which its program does not do), and nothing else changes.
#[test]
fn closed_streams_change_no_exit_status() {
    let Some(oracle) = Oracle::or_skip() else { return };
    let scratch = Scratch::new();
    for (applet, arguments) in [
        ("modprobe", &["nothere"][..]),
        ("modprobe", &["-a", "nothere", "nor-this"]),
        ("modprobe", &["--foo"]),
        ("modprobe", &["-q", "-n", "nothere"]),
        ("modprobe", &[]),
        ("rmmod", &["nothere"]),
        ("insmod", &["/nothere"]),
        ("lsmod", &["x"]),
        ("modinfo", &["nothere"]),
        ("modinfo", &["-V"]),
        ("depmod", &["9.9.9"]),
        ("kmod", &["static-nodes", "-f", "foo"]),
    ] {
        let open = ours(applet, arguments, scratch.path());
        for closed in ["2>&-", "<&- 2>&-", "<&- >&- 2>&-"] {
            let wanted = oracle.ask_in_shell(applet, arguments, closed, scratch.path());
            let found = ours_in_shell(applet, arguments, closed, scratch.path());
            assert_eq!(found.status.code(), wanted.status.code(), "{applet} {arguments:?} {closed}");
            assert_eq!(found.status.code(), open.status.code(), "{applet} {arguments:?} {closed}");
            if !closed.contains(">&- 2") {
                assert_eq!(found.stdout, open.stdout, "{applet} {arguments:?} {closed}");
            }
        }
    }
}

/// A file that is opened while nothing else is must not get the messages.
#[test]
fn closed_streams_do_not_send_messages_into_the_index() {
    let scratch = Scratch::new();
    let tree = scratch.path().join("lib/modules/1.0");
    fs::create_dir_all(tree.join("kernel")).unwrap();
    fs::write(tree.join("kernel/good.ko"), crate::elf::modinfo(b"alias=fine\0")).unwrap();
    fs::write(tree.join("kernel/odd.ko"), crate::elf::modinfo(b"alias=caf\xc3\xa9\0")).unwrap();
    fs::write(tree.join("kernel/broken.ko"), b"no module at all").unwrap();
    let root = scratch.path().display().to_string();
    let index = || {
        let entries = fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.filter(|path| path.is_file()).map(|path| (fs::read(&path).unwrap(), path)).collect();
        files.sort();
        files.iter().for_each(|(_, path)| fs::remove_file(path).unwrap());
        files
    };
    let arguments = ["-b", &root, "1.0"];
    // What is remembered has times in it.
    let open = ours("depmod", &[&arguments[..], &["--no-cache"]].concat(), scratch.path());
    let wanted = index();
    assert!(!open.stderr.is_empty() && wanted.len() >= 11, "{open:?}");
    for closed in ["2>&-", "<&- >&- 2>&-"] {
        let found = ours_in_shell("depmod", &[&arguments[..], &["--no-cache"]].concat(), closed, scratch.path());
        assert_eq!(found.status.code(), open.status.code());
        assert!(index() == wanted, "{closed}");
    }
}
