//! `run --from`: a line that is wrong ends nothing, and the sum says what was wrong with it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use ferrmod_tests::corpus::tree_or_skip;
use serde_json::Value;

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ferrmod-many-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A run with the modules of a list.
fn run(list: &str, more: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ferrmod"))
        .args(["run", "--from", "-"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ferrmod starts");
    child.stdin.take().expect("a pipe").write_all(list.as_bytes()).expect("the list is written");
    child.wait_with_output().expect("ferrmod ends")
}

/// Each load: the module, why, and how it ended.
fn loads(output: &Output) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let word = |load: &Value, key: &str| load[key].as_str().unwrap_or_default().to_owned();
    let ended = |load: &Value| if load["result"] == "error" { word(load, "name") } else { word(load, "result") };
    let loads = report["loads"].as_array().expect("an array").iter();
    loads.map(|load| (word(load, "module"), word(load, "why"), ended(load))).collect()
}

#[test]
fn a_list_of_files_needs_no_tree() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let folder = Folder::new("files");
    let [garbage, locked] = ["a\x1b[2J.ko", "locked.ko"].map(|name| folder.0.join(name));
    fs::write(&garbage, "no module").unwrap();
    fs::write(&locked, "no module").unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
    let is_locked = fs::read(&locked).is_err();
    let list = format!("nosuch\n{}\n{}\n", garbage.display(), locked.display());
    let output = run(&list, &["--kernel", tree.vmlinuz.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("0 of 3 modules loaded, 0 unloaded"), "{said}");
    assert!(said.contains("load -2 (ENOENT: ") && said.contains("load -8 (ENOEXEC: "), "{said}");
    assert!(!is_locked || said.contains("load -13 (EACCES: "), "{said}");
    assert!(!said.contains('\x1b') && said.contains("a\\u{1b}[2J"), "{said}");
}

#[test]
fn a_list_has_what_is_not_there_and_what_is_built_in() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let list = "crc77\next4_nosuch\ncrc7\nusb_common\nunix\n";
    let output = run(list, &["--tree", tree.root.to_str().unwrap(), "--json"]);
    let loads = loads(&output);
    let told: Vec<(&str, &str)> = loads.iter().map(|(module, _, ended)| (&**module, &**ended)).collect();
    let expected =
        [("crc77", "ENOENT"), ("ext4_nosuch", "ENOENT"), ("crc7", "ok"), ("usb_common", "ok"), ("unix", "ok")];
    assert_eq!(told, expected);
}

#[test]
fn soft_dependencies_are_loaded_unless_nobody_would() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let root = tree.root.to_str().unwrap();
    let with = loads(&run("libcrc32c\n", &["--tree", root, "--json"]));
    assert!(with.iter().any(|(_, why, _)| why == "softdep of libcrc32c"), "{with:?}");
    let without = loads(&run("libcrc32c\n", &["--tree", root, "--json", "--no-modprobe"]));
    assert_eq!(without.len(), 1, "{without:?}");
}
