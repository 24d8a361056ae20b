//! `ferrmod why` on a system made of Debian's modules, a configuration, devices and an initramfs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrmod_tests::corpus::{Tree, tree_or_skip};
use ferrmod_tests::newc::archive;
use serde_json::Value;

/// Modules of the tree that the system has, with what they need.
const MODULES: [&str; 24] = [
    "usb-storage",
    "usbcore",
    "usb-common",
    "scsi_mod",
    "scsi_common",
    "uas",
    "pcspkr",
    "loop",
    "floppy",
    "crc7",
    "dccp",
    "dccp_ipv4",
    "sctp",
    "libcrc32c",
    "crc32c_generic",
    "udp_tunnel",
    "ip6_udp_tunnel",
    "fuse",
    "e1000e",
    "ptp",
    "pps_core",
    "af_alg",
    "algif_hash",
    "mbcache",
];

const MODPROBE_D: &str = "\
# a machine's own
blacklist usb-storage
install dccp /bin/false
mask sctp
alias mydisk loop
softdep e1000e pre: crc7
blacklsit crc7
install floppy /sbin/modprobe loop
";

fn run(words: &[&str]) -> (i32, String, String) {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("why-cache");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrmod"));
    let output = command.args(words).env("XDG_CACHE_HOME", cache).env("NO_COLOR", "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A file of the system, with its folder.
fn write(root: &Path, path: &str, contents: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

/// The system, in a folder of the build's.
struct System {
    root: PathBuf,
    release: String,
}

impl System {
    fn made(name: &str) -> Option<System> {
        let tree: Tree = tree_or_skip("6.1")?;
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("why-{name}"));
        let _ = fs::remove_dir_all(&root);
        let release = tree.release.clone();
        let folder = root.join("lib/modules").join(&release);
        for file in tree.files() {
            let name = ferrmod_tests::corpus::module_name(&file).unwrap();
            if MODULES.iter().any(|wanted| wanted.replace('-', "_") == name) {
                let to = folder.join(file.strip_prefix(&tree.modules).unwrap());
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(&file, to).unwrap();
            }
        }
        for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
            fs::copy(tree.modules.join(name), folder.join(name)).unwrap();
        }
        fs::create_dir_all(root.join("boot")).unwrap();
        fs::copy(&tree.vmlinuz, root.join("boot").join(format!("vmlinuz-{release}"))).unwrap();
        let config = format!("boot/config-{release}");
        fs::copy(tree.root.join(&config), root.join(&config)).unwrap();
        let (code, _, error) = run(&["depmod", "-b", root.to_str().unwrap(), &release]);
        assert_eq!(code, 0, "{error}");

        write(&root, "etc/modprobe.d/local.conf", MODPROBE_D);
        write(&root, "usr/lib/modules-load.d/disks.conf", "loop\n");
        write(&root, "usr/lib/modules-load.d/off.conf", "fuse\n");
        write(&root, "etc/modules-load.d/off.conf", "# switched off\n");
        write(&root, "proc/cmdline", "BOOT_IMAGE=/vmlinuz module_blacklist=algif_hash rd.driver.pre=loop\n");
        write(&root, "proc/sys/kernel/osrelease", format!("{release}\n"));
        write(
            &root,
            "sys/devices/pci0000:00/0000:00:1f.6/modalias",
            "pci:v00008086d000015B8sv00001028sd00000700bc02sc00i00\n",
        );
        write(
            &root,
            "sys/devices/usb1/1-1:1.0/uevent",
            "DEVTYPE=usb_interface\nMODALIAS=usb:v0781p5567d0100dc00dsc00dp00ic08isc06ip50in00\n",
        );
        write(&root, "sys/module/fuse/initstate", "live\n");
        write(&root, "sys/module/fuse/refcnt", "3\n");
        Some(System { root, release })
    }

    /// With an initramfs of these files, whose second part zstd packs if it is there.
    fn with_initramfs(&self, files: &[(&str, &[u8])]) {
        let early = archive(&[("kernel/x86/microcode/x.bin", b"microcode")]);
        write(&self.root, &format!("boot/initrd.img-{}", self.release), [early, archive(files)].concat());
    }

    fn why(&self, name: &str, more: &[&str]) -> (i32, String, String) {
        run(&[&["why", name, "--root", self.root.to_str().unwrap()], more].concat())
    }

    /// The answer for one module.
    fn answer(&self, name: &str, more: &[&str]) -> (i32, Value) {
        let (code, out, error) = self.why(name, &[more, &["--json"]].concat());
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
        assert_eq!(report["schema"], "ferrmod.why/1");
        assert_eq!(report["exit_code"], code);
        (code, report["modules"][0].clone())
    }
}

/// The paths of a way: their verdicts and what blocks each first.
fn verdicts(answer: &Value, way: &str) -> Vec<(String, String)> {
    let paths = answer["paths"].as_array().unwrap().iter().filter(|path| path["way"] == way);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    paths.map(|path| (text(&path["verdict"]), text(&path["blocked_by"][0]["by"]))).collect()
}

fn one(verdict: &str, by: &str) -> Vec<(String, String)> {
    vec![(verdict.to_owned(), by.to_owned())]
}

#[test]
fn a_systems_own_words_decide() {
    let Some(system) = System::made("words") else { return };
    let member = format!("usr/lib/modules/{}/kernel/drivers/usb/storage/usb-storage.ko", system.release);
    system.with_initramfs(&[(&member, b"ELF"), ("usr/lib/systemd/systemd-udevd", b""), ("conf/modules", b"loop\n")]);

    let (code, answer) = system.answer("usb-storage", &[]);
    assert_eq!((code, &answer["module"], &answer["can_be_loaded"]), (0, &"usb_storage".into(), &true.into()));
    assert_eq!(answer["kernel"]["answer"], "loads");
    assert!(answer["kernel"]["signature"].as_str().unwrap().starts_with("signed by "), "{answer}");
    assert_eq!(verdicts(&answer, "name"), one("open", ""));
    assert_eq!(verdicts(&answer, "file"), one("open", ""));
    assert_eq!(verdicts(&answer, "device"), one("blocked", "blacklist"));
    assert_eq!(verdicts(&answer, "dependency"), one("open", ""));
    // The initramfs was made before the line was written.
    assert_eq!(verdicts(&answer, "initramfs"), one("open", ""));
    let device = answer["paths"].as_array().unwrap().iter().find(|path| path["way"] == "device").unwrap();
    let origin = &device["blocked_by"][0]["origin"];
    assert!(
        origin["source"].as_str().unwrap().ends_with("/etc/modprobe.d/local.conf") && origin["line"] == 2,
        "{origin}"
    );
    let effect = &answer["directives"][0];
    assert_eq!(effect["directive"], "blacklist");
    assert!(effect["stops"].as_array().unwrap().contains(&"devices".into()));
    assert!(effect["passes"].as_array().unwrap().contains(&"file".into()));

    let (_, text, _) = system.why("usb-storage", &[]);
    assert!(
        text.starts_with("usb_storage can be loaded: by 4 of 6 paths (modprobe usb_storage, insmod FILE, "),
        "{text}"
    );
    assert!(text.contains("make it anew") && text.contains("does not stop: modprobe NAME"), "{text}");

    let (code, answer) = system.answer("dccp", &[]);
    assert_eq!((code, verdicts(&answer, "name")), (0, one("blocked", "install")));
    assert_eq!(
        (verdicts(&answer, "file"), verdicts(&answer, "dependency")),
        (one("open", ""), one("blocked", "install"))
    );

    let (_, answer) = system.answer("sctp", &[]);
    assert_eq!(
        (verdicts(&answer, "name"), verdicts(&answer, "request")),
        (one("blocked", "masked"), [one("blocked", "masked"), one("blocked", "masked")].concat())
    );

    let (_, answer) = system.answer("loop", &[]);
    assert_eq!(verdicts(&answer, "list"), one("open", ""));
    assert_eq!((verdicts(&answer, "alias"), verdicts(&answer, "command")), (one("open", ""), one("open", "")));
    assert_eq!(verdicts(&answer, "node"), one("open", ""));
    // It is named in the initramfs, but not in it.
    assert_eq!(verdicts(&answer, "command_line"), one("blocked", "no_file"));
    assert_eq!(verdicts(&answer, "initramfs"), one("absent", ""));
}

#[test]
fn a_module_that_the_kernel_refuses_is_blocked_everywhere() {
    let Some(system) = System::made("refused") else { return };
    let (code, text, _) = system.why("algif_hash", &[]);
    assert_eq!(code, 1);
    assert!(text.starts_with("algif_hash cannot be loaded: all "), "{text}");
    assert!(text.contains("module_blacklist=algif_hash") && text.contains("refuses the file (EPERM)"), "{text}");
    assert_eq!(system.why("algif_hash", &["--cmdline", "quiet"]).0, 0);
    // What needs a module that the kernel refuses is refused for it.
    let (code, answer) = system.answer("algif_hash", &["--cmdline", "module_blacklist=af_alg"]);
    assert_eq!((code, verdicts(&answer, "file")), (1, one("blocked", "kernel")));
    let (code, answer) = system.answer("crc7", &["--cmdline", "nomodule"]);
    assert_eq!((code, verdicts(&answer, "name")), (1, one("blocked", "kernel")));
    assert_eq!(answer["notes"][0]["reason"], "there is no directive 'blacklsit'; is it 'blacklist'?");

    // A file that is not signed, under a kernel that wants signatures.
    let unsigned = system.root.join("mine.ko");
    let bytes = fs::read(tree_or_skip("6.1").unwrap().file("crc7").unwrap()).unwrap();
    let tail = bytes.windows(28).rposition(|part| part == b"~Module signature appended~\n").unwrap();
    fs::write(&unsigned, &bytes[..tail]).unwrap();
    let (code, answer) = system.answer(unsigned.to_str().unwrap(), &["--cmdline", "module.sig_enforce"]);
    assert_eq!((code, answer["kernel"]["reasons"][0]["reason"].as_str()), (1, Some("signature")), "{answer}");
}

#[test]
fn paths_are_made_by_the_module_itself_by_lists_and_by_others() {
    let Some(system) = System::made("paths") else { return };
    // A file of the same name in /etc takes the place of the one in /usr/lib.
    let (_, answer) = system.answer("fuse", &[]);
    assert_eq!(verdicts(&answer, "list"), []);
    assert_eq!((&answer["loaded"]["state"], &answer["loaded"]["references"]), (&"live".into(), &3.into()));
    let groups: Vec<&str> =
        answer["paths"].as_array().unwrap().iter().filter_map(|path| path["pattern"].as_str()).collect();
    assert_eq!(groups, ["char-major-*", "fs-*", "symbol:*"]);

    let (_, answer) = system.answer("crc7", &[]);
    assert_eq!(verdicts(&answer, "softdep"), one("open", ""));
    let (_, answer) = system.answer("e1000e", &[]);
    assert_eq!(verdicts(&answer, "device"), one("open", ""));

    let (code, answer) = system.answer("fs-fuseblk", &[]);
    assert_eq!((code, &answer["module"]), (0, &"fuse".into()));
    assert!(answer["found_by"].as_str().unwrap().contains("modules.alias"), "{answer}");
    let (code, text, _) = system.why("ext2", &[]);
    assert!(code == 3 || text.contains("ext4"), "{text}");
    let (code, _, error) = system.why("crc77", &[]);
    assert!(code == 3 && error.contains("did you mean crc7"), "{error}");
    let (code, out, _) = system.why("crc77", &["--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["nearest"][0], report["modules"].as_array().unwrap().len()), (3, &"crc7".into(), 0));
    assert_eq!(system.why("usb-storage", &["--kernel", "5.0"]).0, 3);
    let (code, answer) = system.answer("amd_uncore", &[]);
    assert_eq!((code, &answer["built_in"]), (0, &true.into()));
}

#[test]
fn an_initramfs_that_cannot_be_read_is_named_with_its_reason() {
    let Some(system) = System::made("initramfs") else { return };
    let path = format!("boot/initrd.img-{}", system.release);
    write(&system.root, &path, b"BZh91AY&SY");
    let (code, text, _) = system.why("crc7", &[]);
    assert!(code == 0 && text.contains("bzip2, which is not read"), "{text}");
    let (code, text, _) = system.why("crc7", &["--initramfs", "/nonexistent/initrd"]);
    assert!(code == 0 && text.contains("initramfs: cannot be read: No such file"), "{text}");

    // A list in it, and a configuration of its own.
    let member = format!("lib/modules/{}/kernel/lib/crc7.ko", system.release);
    system.with_initramfs(&[
        (&member, b"ELF"),
        ("conf/modules", b"# first\ncrc7\n"),
        ("etc/modprobe.d/a.conf", b"install crc7 /bin/false\n"),
    ]);
    let (_, answer) = system.answer("crc7", &[]);
    assert_eq!(verdicts(&answer, "initramfs"), one("blocked", "install"));
    let list = answer["paths"].as_array().unwrap().iter().find(|path| path["way"] == "initramfs").unwrap();
    assert!(
        list["origin"]["source"].as_str().unwrap().ends_with(":conf/modules") && list["origin"]["line"] == 2,
        "{list}"
    );
}
