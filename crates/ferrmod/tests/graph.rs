//! `ferrmod graph` and `ferrmod top` from the outside, on a system that was kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn run(words: &[&str]) -> (i32, String, String) {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("graph-cache");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrmod"));
    let output = command.args(words).env("XDG_CACHE_HOME", cache).env("NO_COLOR", "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A folder with what `/proc/modules` said.
fn kept(name: &str, modules: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("proc")).unwrap();
    fs::write(root.join("proc/modules"), modules).unwrap();
    root
}

const MODULES: &str =
    "user 16384 0 - Live 0x0\nused 32768 3 user, Live 0x0 (OE)\nforever 4096 0 [permanent], Live 0x0\n";

#[test]
fn what_is_loaded_is_drawn_without_files_of_it() {
    let root = kept("graph-loaded", MODULES);
    let root_text = root.to_str().unwrap();
    let (code, out, error) = run(&["graph", "--loaded", "--root", root_text]);
    assert_eq!((code, error.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().skip(2).collect();
    assert_eq!(
        lines,
        [
            "forever  4096 0  permanent: it has no exit function",
            "user  16384 0",
            "└── used  32768 3  OE  used 2 times outside of modules",
        ]
    );
    // The form is what the file's name says, and the file is there as a whole.
    let picture = root.join("loaded.svg");
    let (code, out, _) = run(&["graph", "--loaded", "--root", root_text, "-o", picture.to_str().unwrap()]);
    let drawn = fs::read_to_string(&picture).unwrap();
    assert!(code == 0 && out.is_empty() && drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
    assert!(drawn.contains("used 2 times outside of modules") && drawn.contains("OE: out of tree, unsigned"));

    let (code, _, error) = run(&["graph", "--loaded", "--root", root_text, "nobody"]);
    assert_eq!((code, error.as_str()), (3, "ferrmod: nobody: not loaded\n"));
    assert_eq!(run(&["graph", "--reverse"]).0, 2);
}

#[test]
fn top_into_a_pipe_is_one_table() {
    let root = kept("top-once", MODULES);
    let (code, out, error) = run(&["top", "--root", root.to_str().unwrap(), "--sort", "name"]);
    assert_eq!((code, error.as_str()), (0, ""));
    let names: Vec<&str> = out.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["MODULE", "forever", "used", "user"]);
    assert!(out.lines().any(|line| line.ends_with("[permanent]")));

    fs::write(root.join("proc/modules"), "no such line\n").unwrap();
    let (code, out, error) = run(&["top", "--root", root.to_str().unwrap()]);
    assert!(code == 3 && out.is_empty() && error.contains("line 1, byte 3: no size"), "{error}");
}
