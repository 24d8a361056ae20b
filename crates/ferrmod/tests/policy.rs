//! `ferrmod policy` from the outside.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ferrmod_tests::corpus::{Tree, skip, tree_or_skip};
use serde_json::Value;

fn ferrmod(words: &[&str]) -> Command {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy-cache");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrmod"));
    command.arg("policy").args(words).env("XDG_CACHE_HOME", cache).env("NO_COLOR", "1");
    command
}

/// Exit code, standard output, standard error.
fn run(words: &[&str]) -> (i32, String, String) {
    of(&ferrmod(words).output().unwrap())
}

fn of(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("policy-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn link(root: &Path, path: &str, to: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(to, path).unwrap();
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A system that was recorded: what is loaded, `uptime` seconds after the boot `id`.
fn loaded(root: &Path, id: &str, uptime: &str, modules: &str) {
    put(root, "proc/uptime", &format!("{uptime} 10.00\n"));
    put(root, "proc/sys/kernel/random/boot_id", &format!("{id}\n"));
    put(root, "proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
    put(root, "proc/modules", modules);
}

/// A system with the tree of the corpus, an AHCI disk with ext4 on it, a network card and a sensor without a driver.
fn system(tree: &Tree, name: &str) -> PathBuf {
    let root = scratch(name);
    symlink(tree.root.join("lib"), root.join("lib")).unwrap();
    symlink(tree.root.join("boot"), root.join("boot")).unwrap();
    put(&root, "proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
    put(&root, "proc/mounts", "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n");
    put(&root, "proc/filesystems", "nodev\tproc\n\text4\n");
    put(&root, "etc/fstab", "# comment\n/dev/sda2 /boot/efi vfat defaults 0 1\n/dev/sda3 none swap sw 0 0\n");
    let disk = "sys/devices/pci0/0000:00:1f.2/ata1/host0/target0/0:0:0:0";
    put(&root, &format!("{disk}/block/sda/sda1/dev"), "8:1\n");
    for module in ["ahci", "sd_mod", "e1000e"] {
        fs::create_dir_all(root.join("sys/module").join(module)).unwrap();
    }
    put(&root, "sys/bus/pci/drivers/ahci/uevent", "");
    link(&root, "sys/bus/pci/drivers/ahci/module", "../../../../module/ahci");
    put(&root, "sys/bus/pci/drivers/e1000e/uevent", "");
    link(&root, "sys/bus/pci/drivers/e1000e/module", "../../../../module/e1000e");
    put(&root, "sys/bus/scsi/drivers/sd/uevent", "");
    link(&root, "sys/bus/scsi/drivers/sd/module", "../../../../module/sd_mod");
    put(&root, "sys/devices/pci0/0000:00:1f.2/modalias", "pci:v00008086d00002922sv0sd0bc01sc06i01\n");
    link(&root, "sys/devices/pci0/0000:00:1f.2/driver", "../../../bus/pci/drivers/ahci");
    link(&root, &format!("{disk}/driver"), "../../../../../../../bus/scsi/drivers/sd");
    put(&root, "sys/devices/pci0/0000:00:02.0/modalias", "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00\n");
    link(&root, "sys/devices/pci0/0000:00:02.0/driver", "../../../bus/pci/drivers/e1000e");
    put(&root, "sys/devices/i2c-0/0-0048/modalias", "i2c:lm75\n");
    link(&root, "sys/dev/block/8:1", &format!("../../../{disk}/block/sda/sda1"));
    root
}

#[test]
fn a_record_keeps_boots_apart_and_is_read_again() {
    let root = scratch("record-root");
    let file = scratch("record").join("use.json");
    loaded(&root, "first", "12.50", "ext4 1000 1 - Live 0x0\nfuse 1000 0 - Live 0x0\n");
    let (code, out, error) = run(&["record", str(&file), "--for", "0", "--root", str(&root)]);
    assert_eq!((code, out.as_str(), error.as_str()), (0, "ext4\nfuse\n", ""));
    loaded(&root, "second", "5.00", "ext4 1000 1 - Live 0x0\n");
    assert_eq!(run(&["record", str(&file), "--for", "0", "--root", str(&root)]).0, 0);
    loaded(&root, "second", "60.00", "vfat 1000 0 - Live 0x0\next4 1000 1 - Live 0x0\n");
    assert_eq!(run(&["record", str(&file), "--for", "0", "--root", str(&root)]).1, "vfat\n");
    let record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let boots = record["boots"].as_array().unwrap();
    assert_eq!(boots.len(), 2);
    assert_eq!(boots[1]["modules"]["vfat"]["first"], 60.0);
    assert_eq!(boots[0]["modules"]["ext4"]["used"], true);
    assert_eq!(boots[0]["modules"]["fuse"]["used"], false);
}

#[test]
fn a_record_that_is_none_is_left_alone() {
    let root = scratch("bad-root");
    let file = scratch("bad").join("use.json");
    loaded(&root, "first", "1.0", "");
    for text in
        ["", "{}", "[]", "{\"schema\":\"ferrmod.check/1\",\"boots\":[]}", "{\"schema\":\"ferrmod.policy-record/1\"}"]
    {
        fs::write(&file, text).unwrap();
        let (code, _, error) = run(&["record", str(&file), "--for", "0", "--root", str(&root)]);
        assert!(code == 3 && error.contains("use.json"), "{text}: {code} {error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    // A system without what has to be read is an error, and nothing is written.
    fs::remove_file(&file).unwrap();
    fs::write(root.join("proc/uptime"), "soon").unwrap();
    assert_eq!(run(&["record", str(&file), "--for", "0", "--root", str(&root)]).0, 3);
    assert!(!file.exists());
}

#[test]
fn watching_ends_at_a_signal_with_the_record_written() {
    let root = scratch("signal-root");
    let file = scratch("signal").join("use.json");
    loaded(&root, "only", "1.0", "ext4 1000 1 - Live 0x0\n");
    let words = ["record", str(&file), "--interval", "0.05", "--root", str(&root)];
    let child = ferrmod(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while !file.exists() && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    loaded(&root, "only", "9.0", "ext4 1000 1 - Live 0x0\nfuse 1000 0 - Live 0x0\n");
    while !fs::read_to_string(&file).is_ok_and(|text| text.contains("fuse"))
        && begin.elapsed() < Duration::from_secs(60)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let (code, out, error) = of(&child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str(), error.as_str()), (0, "ext4\nfuse\n", ""));
}

#[test]
fn a_policy_allows_what_is_wanted_and_what_that_needs() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let root = system(&tree, "make");
    let folder = scratch("made");
    put(&folder, "list", "# what we want\ne1000e\nnls-utf8\nno_such_module\n");
    let list = folder.join("list");
    let words = ["make", "--list", str(&list), "--allow", "crc7", "--root", str(&root), "--into", str(&folder)];
    let (code, out, error) = run(&words);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    let policy: Value = serde_json::from_slice(&fs::read(folder.join("policy.json")).unwrap()).unwrap();
    let allowed = policy["allowed"].as_object().unwrap();
    // The network card, and what the root file system is on with what that needs.
    for name in
        ["e1000e", "nls_utf8", "crc7", "ext4", "jbd2", "mbcache", "ahci", "libahci", "libata", "scsi_mod", "sd_mod"]
    {
        assert!(allowed.contains_key(name), "{name}: {out}");
    }
    assert_eq!(policy["missing"], serde_json::json!(["no_such_module"]));
    assert_eq!(allowed["jbd2"][0]["needed_by"], "ext4");
    let denied = policy["denied"].as_array().unwrap();
    assert!(denied.len() + allowed.len() >= 4023 && denied.contains(&"vfat".into()));
    let initramfs = fs::read_to_string(folder.join("initramfs-modules")).unwrap();
    assert!(
        initramfs.contains("\nahci\n") && initramfs.contains("\njbd2\n") && !initramfs.contains("e1000e"),
        "{initramfs}"
    );
    let load = fs::read_to_string(folder.join("modules-load.conf")).unwrap();
    assert!(load.contains("\ne1000e\n") && !load.contains("jbd2"), "{load}");
    let conf = fs::read_to_string(folder.join("modprobe.conf")).unwrap();
    assert!(conf.contains("\nallow crc7\n") && !conf.contains("vfat"), "{conf}");

    // Nothing wanted is a mistake, and a list that is not there too.
    assert_eq!(run(&["make", "--root", str(&root)]).0, 2);
    assert_eq!(run(&["make", "--list", "/nonexistent/list", "--root", str(&root)]).0, 3);
}

#[test]
fn kmod_obeys_what_is_written_for_it() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    if !Path::new("/sbin/modprobe").exists() {
        return skip("kmod's modprobe", "apt-get install kmod");
    }
    let folder = scratch("kmod");
    // kmod needs the index that depmod makes.
    let small = folder.join("root");
    let kernel = small.join("lib/modules").join(&tree.release).join("kernel");
    fs::create_dir_all(&kernel).unwrap();
    for name in [
        "ext4",
        "jbd2",
        "mbcache",
        "crc16",
        "crc32c_generic",
        "libcrc32c",
        "fat",
        "vfat",
        "btrfs",
        "xor",
        "raid6_pq",
        "e1000e",
    ] {
        if let Some(file) = tree.file(name) {
            fs::copy(&file, kernel.join(file.file_name().unwrap())).unwrap();
        }
    }
    let root = str(&small);
    assert!(Command::new("/sbin/depmod").args(["-b", root, &tree.release]).status().unwrap().success());
    let words = ["make", "--allow", "ext4", "--modprobe", "kmod", "--root", root, "--into", str(&folder)];
    assert_eq!(run(&words).0, 0);
    let modprobe = |name: &str| {
        let conf = folder.join("modprobe.conf");
        let words = ["-n", "-v", "-d", root, "-S", &tree.release, "-C", str(&conf), name];
        of(&Command::new("/sbin/modprobe").args(words).output().unwrap())
    };
    let (code, out, error) = modprobe("ext4");
    assert!(code == 0 && out.contains("jbd2.ko") && out.contains("ext4.ko"), "{out}{error}");
    for (asked, file) in [("vfat", "fat.ko"), ("e1000e", "e1000e.ko"), ("fs-btrfs", "btrfs.ko")] {
        let (_, out, error) = modprobe(asked);
        assert!(out.contains("install /bin/false") && !out.contains(file), "{asked}: {out}{error}");
    }
}

#[test]
fn what_would_no_longer_work_is_named() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let root = system(&tree, "simulate");
    let folder = scratch("simulated");
    assert_eq!(run(&["make", "--allow", "crc7", "--root", str(&root), "--into", str(&folder)]).0, 0);
    put(
        &folder,
        "rules",
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n",
    );
    let policy = folder.join("policy.json");
    let rules = folder.join("rules");
    let words = ["simulate", str(&policy), "--root", str(&root), "--ruleset", str(&rules)];
    let (code, out, error) = run(&words);
    assert_eq!((code, error.as_str()), (1, ""), "{out}");
    for part in [
        "0000:00:02.0 (pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00) gets no driver: it would take e1000e",
        "0-0048 (i2c:lm75) gets no driver, as now: it would take lm75",
        "/boot/efi cannot be mounted: vfat (/etc/fstab), as now: it would take vfat",
        "rule 1 cannot be set: *filter: it would take ip6table_filter or iptable_filter",
        "xt_conntrack",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    assert!(!out.contains("ahci") && !out.contains("ext4"), "{out}");
    let (code, out, _) = run(&[&words[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["schema"]), (1, &"ferrmod.policy-simulation/1".into()));
    assert_eq!(report["breaks"].as_array().unwrap().len(), 5);
    // With all of it allowed, nothing is left.
    let words = [
        "make",
        "--allow",
        "e1000e",
        "--allow",
        "lm75",
        "--allow",
        "vfat",
        "--allow",
        "iptable_filter",
        "--allow",
        "xt_conntrack",
        "--root",
        str(&root),
        "--into",
        str(&folder),
    ];
    assert_eq!(run(&words).0, 0);
    let (code, out, _) = run(&["simulate", str(&policy), "--root", str(&root), "--ruleset", str(&rules)]);
    assert!(code == 0 && out.starts_with("0 would no longer work, 0 "), "{out}");
}

#[test]
fn every_allowed_module_is_tried_with_nothing_else_at_hand() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let folder = scratch("tested");
    let root = str(&tree.root);
    let words =
        ["make", "--allow", "crc7", "--allow", "nls_cp437", "--allow", "lz4", "--root", root, "--into", str(&folder)];
    assert_eq!(run(&words).0, 0);
    let path = folder.join("policy.json");
    let (code, out, error) = run(&["test", str(&path), "--root", root]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("allowed modules, 0 without what they need"), "{out}");

    // A policy that somebody has cut too far.
    let mut policy: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let needed: Vec<String> =
        policy["allowed"].as_object().unwrap().keys().filter(|name| name.starts_with("lz4_")).cloned().collect();
    assert!(!needed.is_empty());
    policy["allowed"].as_object_mut().unwrap().retain(|name, _| !needed.contains(name));
    fs::write(&path, policy.to_string()).unwrap();
    let (code, out, _) = run(&["test", str(&path), "--root", root]);
    assert!(code == 1 && out.contains("lz4 needs lz4_compress"), "{code}: {out}");

    for text in ["", "{}", "null", "{\"schema\":\"ferrmod.policy/2\"}"] {
        fs::write(&path, text).unwrap();
        let (code, _, error) = run(&["test", str(&path), "--root", root]);
        assert!(code == 3 && error.contains("policy.json"), "{text}: {error}");
    }
}
