//! How the program starts and ends, which it does without std's runtime: exit codes, closed standard streams, broken pipes.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program, called by one of its names.
fn called(name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmod"));
    command.arg0(name).args(words).stdin(Stdio::null());
    command
}

/// A root with one file that is no module, of which depmod says so.
fn root(test: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("start-{test}-{}", std::process::id()));
    fs::create_dir_all(root.join("lib/modules/1.0/kernel")).unwrap();
    fs::write(root.join("lib/modules/1.0/kernel/bad.ko"), "no module").unwrap();
    root
}

#[test]
fn exit_codes_come_out() {
    let status = |name: &str, words: &[&str]| {
        called(name, words).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(status("kmod", &["--version"]), Some(0));
    assert_eq!(status("kmod", &["no-such-command"]), Some(1));
    assert_eq!(status("modinfo", &["/nonexistent.ko"]), Some(1));
}

#[test]
fn messages_get_into_no_file_when_standard_streams_are_closed() {
    let root = root("closed");
    symlink(env!("CARGO_BIN_EXE_kmod"), root.join("depmod")).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$1/depmod" -b "$1" 1.0 <&- >&- 2>&-"#, "sh"]).arg(&root);
    assert_eq!(shell.status().unwrap().code(), Some(1));
    let folder = root.join("lib/modules/1.0");
    assert!(folder.join("modules.dep").exists());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = fs::read(&path).unwrap();
            assert!(!String::from_utf8_lossy(&content).contains("depmod:"), "{}", path.display());
        }
    }
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn a_broken_pipe_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = called("kmod", &["--help"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.signal(), Some(13), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
