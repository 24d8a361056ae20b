//! depmod against kmod's: the same tree, the same files, byte for byte.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ferrmod_tests::corpus;
use ferrmod_tests::module_file::{Crc, Import, Module};

/// The files of an index.
const FILES: [&str; 11] = [
    "modules.dep",
    "modules.dep.bin",
    "modules.alias",
    "modules.alias.bin",
    "modules.softdep",
    "modules.weakdep",
    "modules.symbols",
    "modules.symbols.bin",
    "modules.builtin.bin",
    "modules.builtin.alias.bin",
    "modules.devname",
];

/// A folder that goes away with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("ferrmod-depmod-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A root with a copy of a tree of the corpus: links to the modules, and the files that kbuild made.
fn copy(tree: &corpus::Tree, root: &Path) -> PathBuf {
    let to = root.join("lib/modules").join(&tree.release);
    fs::create_dir_all(&to).unwrap();
    std::os::unix::fs::symlink(tree.modules.join("kernel"), to.join("kernel")).unwrap();
    for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(tree.modules.join(name), to.join(name)).unwrap();
    }
    to
}

/// Links cannot lead out of a root: the modules themselves have to be in it.
fn copy_whole(tree: &corpus::Tree, root: &Path) -> PathBuf {
    let to = copy(tree, root);
    fs::remove_file(to.join("kernel")).unwrap();
    for file in tree.files() {
        let inside = to.join(file.strip_prefix(&tree.modules).unwrap());
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        if fs::hard_link(&file, &inside).is_err() {
            fs::copy(&file, &inside).unwrap();
        }
    }
    to
}

fn ours(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kmod")).arg0("depmod").args(arguments).output().unwrap()
}

/// Debian 13's kmod, with the libraries that it came with.
fn kmod34(arguments: &[&str]) -> Option<Output> {
    let folder = corpus::folder().join("kmod34");
    let libraries = folder.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(&libraries).args(["--argv0", "depmod"]).arg(folder.join("usr/bin/kmod"));
    command.args(arguments).output().ok()
}

/// The system's depmod, when it is kmod 30.
fn kmod30(arguments: &[&str]) -> Option<Output> {
    let version = Command::new("/sbin/depmod").arg("--version").output().ok()?;
    let is_30 = version.stdout.starts_with(b"kmod version 30\n");
    is_30.then(|| Command::new("/sbin/depmod").args(arguments).output().ok()).flatten()
}

/// The files of the index in `folder`, taken away from there.
fn take(folder: &Path) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let _ = fs::remove_file(folder.join("modules.ferrmod"));
    FILES
        .into_iter()
        .map(|name| {
            let bytes = fs::read(folder.join(name)).ok();
            let _ = fs::remove_file(folder.join(name));
            (name, bytes)
        })
        .collect()
}

/// Compares the indexes of a whole tree.
fn compare(version: &str) {
    let Some(tree) = corpus::tree_or_skip(version) else {
        return;
    };
    let scratch = Scratch::new(version);
    let folder = copy_whole(&tree, &scratch.0);
    let root = scratch.0.to_str().unwrap();
    let mut compared = 0;
    type Peer = fn(&[&str]) -> Option<Output>;
    for (format, peer) in [("--format=34", kmod34 as Peer), ("--format=30", kmod30 as Peer)] {
        let Some(theirs) = peer(&["-b", root, &tree.release]) else {
            corpus::skip(&format!("the kmod of {format}"), "run `cargo xtask corpus`");
            continue;
        };
        let wanted = take(&folder);
        for cache in [&["--no-cache"][..], &[]] {
            let own = ours(&[&["-b", root, format], cache, &[&tree.release]].concat());
            assert_eq!(own.status.code(), theirs.status.code(), "{}", String::from_utf8_lossy(&own.stderr));
            assert_eq!(String::from_utf8_lossy(&own.stderr), String::from_utf8_lossy(&theirs.stderr));
            let check = ours(&["-b", root, format, "--check", &tree.release]);
            assert_eq!((check.status.code(), check.stdout.as_slice()), (Some(0), &b""[..]));
            for ((name, own), (_, wanted)) in take(&folder).into_iter().zip(&wanted) {
                assert!(own == *wanted, "{version}: {name} differs from that of {format}");
            }
        }
        compared += 1;
    }
    assert!(compared > 0 || !corpus::is_required());
}

#[test]
fn the_index_of_6_1_is_kmods() {
    compare("6.1");
}

#[test]
fn the_index_of_6_1_cloud_is_kmods() {
    compare("6.1-cloud");
}

#[test]
fn the_index_of_6_1_rt_is_kmods() {
    compare("6.1-rt");
}

#[test]
fn the_index_of_6_12_is_kmods() {
    compare("6.12");
}

#[test]
fn what_is_shown_is_kmods() {
    let Some(tree) = corpus::tree_or_skip("6.1-cloud") else {
        return;
    };
    let scratch = Scratch::new("show");
    let folder = copy_whole(&tree, &scratch.0);
    let root = scratch.0.to_str().unwrap();
    for options in [&["-n"][..], &["-n", "-v"], &["-n", "-w"], &["-A", "-n"]] {
        let arguments = [options, &["-b", root, &tree.release]].concat();
        let Some(theirs) = kmod34(&arguments) else {
            return corpus::skip("kmod 34", "run `cargo xtask corpus`");
        };
        let own = ours(&arguments);
        assert!(own == theirs, "{options:?}");
    }
    assert!(take(&folder).iter().all(|(_, bytes)| bytes.is_none()), "-n wrote something");
}

#[test]
fn wrong_arguments_are_refused_in_kmods_words() {
    let scratch = Scratch::new("arguments");
    let root = scratch.0.to_str().unwrap();
    for arguments in [
        &["-b", root, "abc"][..],
        &["-b", root, "1"],
        &["-b", root, "/1.2"],
        &["-b", root, "1.2.3"],
        &["-b", root, "1.2.3", "relative.ko"],
        &["-P", "ab"],
        &["-P", ""],
        &["-b"],
        &["--nothing"],
        &["--s"],
        &["-b", root, "-E", "/nonexistent", "1.2.3"],
        &["-b", root, "-F", "/nonexistent", "1.2.3"],
        &["-b", root, "-e", "1.2.3"],
        &["-b", root, "-m", "/elsewhere", "1.2.3"],
    ] {
        let Some(theirs) = kmod34(arguments) else {
            return corpus::skip("kmod 34", "run `cargo xtask corpus`");
        };
        assert_eq!(ours(arguments), theirs, "{arguments:?}");
    }
}

#[test]
fn options_that_kmod_34_dropped_are_taken() {
    let Some(tree) = corpus::tree_or_skip("6.1-cloud") else {
        return;
    };
    let scratch = Scratch::new("dropped");
    copy_whole(&tree, &scratch.0);
    let root = scratch.0.to_str().unwrap();
    for option in ["-u", "-q", "-r", "--map", "--unresolved-error"] {
        let own = ours(&["-b", root, option, "-n", &tree.release]);
        assert_eq!(own.status.code(), Some(0), "{option}");
        assert!(own.stderr.starts_with(b"depmod: WARNING: Ignored deprecated option -"), "{option}");
    }
}

#[test]
fn the_configuration_of_the_root_counts_when_it_is_asked_for() {
    let scratch = Scratch::new("root-config");
    let tree = scratch.0.join("lib/modules/1.0");
    for folder in ["kernel/skipped", "kernel/kept"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
        let module =
            ferrmod_tests::module_file::Module { modinfo: vec![b"license=GPL".to_vec()], ..Default::default() };
        fs::write(tree.join(folder).join("m.ko"), module.write()).unwrap();
    }
    let folder = scratch.0.join("etc/depmod.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.conf"), "exclude skipped\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kmod"));
        command.arg0("depmod").arg("-b").arg(&scratch.0).args(arguments).arg("1.0").output().unwrap()
    };
    let shown = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown(&run(&["-n", "--root-config"])).starts_with("kernel/kept/m.ko:\n"));
    assert!(!shown(&run(&["-n", "--root-config"])).contains("skipped"));
    // Once more without: the module that is found first is taken, and an exclusion elsewhere is none here.
    fs::remove_dir_all(tree.join("kernel/kept")).unwrap();
    assert!(shown(&run(&["-n"])).starts_with("kernel/skipped/m.ko:\n"));
    assert!(!shown(&run(&["-n", "--root-config"])).contains("m.ko"));
}

/// Installs a program and the libraries that it is linked with.
fn install(program: &Path, root: &Path) {
    let needed = Command::new("ldd").arg(program).output().unwrap();
    let needed = String::from_utf8_lossy(&needed.stdout).into_owned();
    let libraries = needed.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
    let to = |path: &Path| root.join(path.strip_prefix("/").unwrap());
    for library in libraries {
        fs::create_dir_all(to(library).parent().unwrap()).unwrap();
        fs::copy(library, to(library)).unwrap();
    }
    fs::copy(program, root.join("depmod")).unwrap();
}

/// How initramfs builders and installers call it. kmod 30 writes no index there.
#[test]
fn a_chroot_without_proc_gets_its_index() {
    let scratch = Scratch::new("chroot");
    let folder = scratch.0.join("lib/modules/1.0");
    fs::create_dir_all(folder.join("kernel")).unwrap();
    let base = Module { exports: vec![(b"base_symbol".to_vec(), Crc::Absolute(7))], ..Module::default() };
    let import = Import { name: b"base_symbol".to_vec(), weak: false, crc: Some(7) };
    let user = Module { imports: vec![import], modinfo: vec![b"alias=one:two*".to_vec()], ..Module::default() };
    fs::write(folder.join("kernel/base.ko"), base.write()).unwrap();
    fs::write(folder.join("kernel/user.ko"), user.write()).unwrap();
    fs::write(folder.join("modules.order"), "kernel/base.ko\nkernel/user.ko\n").unwrap();
    let outside = ours(&["-b", scratch.0.to_str().unwrap(), "1.0"]);
    assert!(outside.status.success(), "{}", String::from_utf8_lossy(&outside.stderr));
    let wanted = take(&folder);
    install(Path::new(env!("CARGO_BIN_EXE_kmod")), &scratch.0);
    let mut command = Command::new("chroot");
    if !rustix::process::geteuid().is_root() {
        command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "chroot"]);
    }
    let inside = command.arg(&scratch.0).args(["/depmod", "-a", "1.0"]).output();
    let permitted = |ended: &Output| !ended.stderr.starts_with(b"unshare: ") && ended.status.code() != Some(125);
    let Some(inside) = inside.ok().filter(permitted) else {
        return corpus::skip("chroot", "it needs root, or namespaces for users");
    };
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stderr));
    assert!(wanted.iter().any(|(name, bytes)| *name == "modules.dep" && bytes.is_some()));
    assert!(take(&folder) == wanted);
}
