//! Command lines that are wrong, and what needs no module.

use crate::oracle::{Oracle, Scratch};

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
        let found = crate::oracle::ours(applet, &arguments, scratch.path());
        let shape = |output: &std::process::Output| (output.status.code(), output.stdout.is_empty());
        assert_eq!(shape(&found), shape(&wanted), "{applet} {arguments:?}");
        assert_eq!(found.stderr, wanted.stderr, "{applet} {arguments:?}");
    }
}

#[test]
fn options_of_kmod_30_are_taken() {
    let scratch = Scratch::new();
    let found = crate::oracle::ours("insmod", &["-p", "-f", "/nothere"], scratch.path());
    assert_eq!(found.stderr, b"insmod: ERROR: could not load module /nothere: No such file or directory\n");
}
