//! `ferrmod check` and `ferrmod diff` from the outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrmod_tests::corpus::{own_module_or_skip, tree_or_skip};
use serde_json::Value;

/// Runs the command with a cache of these tests' own; exit code, standard output, standard error.
fn run(words: &[&str]) -> (i32, String, String) {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check-cache");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrmod"));
    let output = command.args(words).env("XDG_CACHE_HOME", cache).env("NO_COLOR", "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn text(path: PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_module_of_the_tree_loads_and_says_who_signed_it() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let root = text(tree.root.clone());
    let (code, out, error) = run(&["check", "crc7", "--kernel", &root]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.starts_with(&format!("crc7 on {}: loads\n", tree.release)) && out.contains("signed by"), "{out}");
    // Its own tree is found from where it stands; the image alone finds its modules, too.
    assert_eq!(run(&["check", &text(tree.file("crc7").unwrap())]).0, 0);
    assert_eq!(run(&["check", "crc7", "--kernel", &text(tree.vmlinuz.clone())]).0, 0);
    let (code, out, _) = run(&["check", "crc77", "--kernel", &root]);
    assert!(code == 3 && out.contains("did you mean crc7"), "{out}");
}

#[test]
fn two_kernels_are_a_matrix_with_the_cause() {
    let (Some(old), Some(new)) = (tree_or_skip("6.1"), tree_or_skip("6.12")) else { return };
    let (module, old_root, new_root) = (text(old.file("crc7").unwrap()), text(old.root), text(new.root));
    let words = ["check", &module, "--kernel", &old_root, "--kernel", &new_root];
    let (code, out, error) = run(&words);
    assert_eq!(code, 3, "{error}");
    assert!(out.contains(&old.release) && out.contains(&new.release) && out.contains("ENOEXEC module size"), "{out}");
    assert!(out.contains("struct module: 896 bytes became"), "{out}");

    let (code, out, _) = run(&[&words[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["schema"], &report["exit_code"]), (3, &"ferrmod.check/1".into(), &3.into()));
    let verdicts = report["modules"][0]["verdicts"].as_array().unwrap();
    assert_eq!((verdicts.len(), &verdicts[0]["answer"]), (2, &"loads".into()));
    assert_eq!((&verdicts[1]["answer"], &verdicts[1]["errno"]), (&"refused".into(), &8.into()));
    // Since 6.4 Linux looks at the size of struct module first.
    assert_eq!(verdicts[1]["reasons"][1]["compared"]["outcome"], "changed");
}

#[test]
fn parameters_and_policies_come_from_the_command_line() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let Some(base) = own_module_or_skip("base") else { return };
    let (base, root) = (text(base), text(tree.root));
    let (code, out, _) = run(&["check", &base, "--kernel", &root]);
    assert!(code == 0 && out.contains("taints the kernel (OE)"), "{out}");
    let (code, out, _) = run(&["check", &base, "--kernel", &root, "--", "ui=abc"]);
    assert!(code == 3 && out.contains("refused with -22 (EINVAL)") && out.contains("`abc' invalid"), "{out}");
    let (code, out, _) = run(&["check", &base, "--kernel", &root, "--secure-boot"]);
    assert!(code == 3 && out.contains("locked down (integrity)"), "{out}");
    let (code, out, _) = run(&["check", "usbhid", "--kernel", &root, "--cmdline", "module_blacklist=usbcore"]);
    assert!(code == 3 && out.contains("needs usbcore, which does not load"), "{out}");

    let policy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy");
    fs::write(&policy, "lockdown=perhaps\n").unwrap();
    let (code, _, error) = run(&["check", &base, "--kernel", &root, "--policy", &text(policy.clone())]);
    assert!(code == 2 && error.contains("policy:1: `lockdown=perhaps`"), "{error}");
    // What is no kernel is named once, by every command.
    let no_kernel = text(policy);
    for command in ["check", "run", "verify"] {
        let (code, _, error) = run(&[command, &base, "--kernel", &no_kernel]);
        assert!(code == 3 && error.matches(&no_kernel).count() == 1, "{command}: {code} {error}");
    }
}

#[test]
fn a_kernel_does_not_differ_from_itself() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let root = text(tree.root);
    let (code, out, error) = run(&["diff", &root, &root, "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["schema"]), (0, &"ferrmod.diff/1".into()), "{error}");
    assert!(report["exports_same"].as_u64().unwrap() > 20_000);
}

#[test]
fn what_a_module_says_is_no_command_to_the_terminal() {
    let (Some(tree), Some(base)) = (tree_or_skip("6.1"), own_module_or_skip("base")) else { return };
    let mut module = fs::read(base).unwrap();
    let mut put = |before: &[u8], with: &[u8]| {
        let places = module.windows(before.len()).enumerate().filter(|(_, window)| *window == before);
        let places: Vec<usize> = places.map(|(at, _)| at).collect();
        assert!(!places.is_empty(), "{before:?}");
        places.into_iter().for_each(|at| module[at..at + with.len()].copy_from_slice(with));
    };
    put(b"_printk\0", b"\x1b[2Jev\0");
    put(b"vermagic=6.1.0-", b"vermagic=\x1b]0;ev");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("escape.ko");
    fs::write(&file, module).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrmod"));
    command.args(["check", &text(file), "--explain", "--kernel", &text(tree.root)]);
    let output = command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1").output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("\x1b[31m") && out.contains("\\u{1b}[2Jev") && out.contains("\\u{1b}]0;ev"), "{out:?}");
    assert!(!out.contains("\x1b[2J") && !out.contains("\x1b]"), "{out:?}");
}

#[test]
fn what_is_no_kernel_and_no_module_is_named() {
    let error = |words: &[&str]| {
        let (code, out, error) = run(words);
        assert!(code == 3 && out.is_empty(), "{words:?}: {out}{error}");
        error
    };
    assert_eq!(error(&["check", "none.ko", "--kernel", "/dev/null"]), "ferrmod: none.ko: no such file\n");
    let said = error(&["check", "/dev/null", "--kernel", "/dev/null"]);
    assert_eq!(said, "ferrmod: /dev/null: neither a regular file nor a folder\n");
    let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-kernels");
    fs::create_dir_all(&empty).unwrap();
    let said = error(&["check", "crc7", "--kernel", "6.1.0-none", "--root", &text(empty)]);
    assert!(said.contains("6.1.0-none"), "{said}");
}
