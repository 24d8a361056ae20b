//! The tools on live kernels: Debian's 6.1 and 6.12 in QEMU, with our tools and with Debian's in the same guest.
//!
//! A guest holds one set of tools, some modules, and a first process that goes through `scripts/live.script` (`src/bin/live_init`).
//! It is booted twice: with the kmod that Debian ships for that kernel, and with our static binary and nothing else. Every
//! line has to end with the same status, leave the same `/proc/modules` and say the same; where that is different on
//! purpose the script has a mark.
//!
//! What both did is kept under the target folder in `tmp/live/*.txt`. While working on the tools, `FERRMOD_LIVE_TOOLS=FILE` takes
//! that binary for ours and `FERRMOD_LIVE_FERRMOD=FILE` that one for `ferrmod`, and `FERRMOD_LIVE_KEEP=1` does not boot again what has not changed. `FERRMOD_LIVE_SELF=1` boots the
//! reference twice: what is then different is no difference of the tools. `FERRMOD_LIVE=0` leaves these tests out.

mod compare;
mod follow;
#[path = "../../../crates/plan/tests/check/ground.rs"]
mod ground;
mod guest;
mod made;
mod root;
mod script;
mod tools;
mod truth;

use std::env;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use ferrmod_tests::corpus;
use ferrmod_tests::qemu::qemu_or_skip;

use guest::Transcript;
use root::Root;
use script::Script;
use tools::Tools;

/// The modules of the guests; what they need comes with them.
const MODULES: &[&str] = &[
    "ext4",
    "vfat",
    "xfs",
    "btrfs",
    "squashfs",
    "isofs",
    "fuse",
    "overlay",
    "nf_tables",
    "nft_ct",
    "nft_chain_nat",
    "nft_masq",
    "nfnetlink",
    "nf_conntrack_netlink",
    "x_tables",
    "iptable_filter",
    "e1000e",
    "dummy",
    "bonding",
    "tun",
    "sctp",
    "can",
    "can_raw",
    "can_bcm",
    "vsock",
    "af_alg",
    "algif_hash",
    "llc2",
    "x25",
    "bluetooth",
    "8021q",
    "bridge",
    "snd-hda-intel",
    "snd-hda-codec-generic",
    "snd-seq",
    "snd-timer",
    "usb-storage",
    "uas",
    "xhci_pci",
    "ehci_pci",
    "uhci_hcd",
    "usbhid",
    "hid-generic",
    "sd_mod",
    "sr_mod",
    "ahci",
    "ata_piix",
    "virtio_pci",
    "virtio_rng",
    "virtio_balloon",
    "i6300esb",
    "i2c_i801",
    "lpc_ich",
    "iTCO_wdt",
    "bochs",
    "evdev",
    "psmouse",
    "pcspkr",
    "button",
    "serio_raw",
    "qemu_fw_cfg",
    "loop",
    "crc32c_generic",
    "crc32c-intel",
    "crc32_pclmul",
    "crc7",
    "crc8",
    "crc_itu_t",
    "lz4_compress",
    "lz4",
    "nls_ascii",
    "nls_utf8",
    "nls_cp437",
    "nls_iso8859-1",
    "nls_euc-jp",
    "nls_cp932",
    "padlock-aes",
    "msr",
    "cpuid",
    "kvm_intel",
    "kvm_amd",
    "floppy",
    "parport_pc",
    "binfmt_misc",
    "softdog",
    "drbd",
    "nbd",
    "raid6_pq",
    "cordic",
    "ts_kmp",
    "sch_fq_codel",
    "tcp_bbr",
    "intel_rapl_common",
    "rapl",
    "acpi_power_meter",
    "fan",
    "thermal",
    "processor",
];

/// Our own modules in C, for 6.1.
const OWN_MODULES: &[&str] = &[
    "base",
    "user",
    "exporter",
    "dupexp",
    "noexit",
    "nothing",
    "slow",
    "useslow",
    "userns",
    "usernsok",
    "weaku",
    "propexp",
    "propgpl",
    "useprop",
    "usepropgpl",
];

/// Only one machine at a time: they get two processors, and time is measured in them.
static MACHINE: Mutex<()> = Mutex::new(());

#[test]
fn linux_6_1_with_kmod_30() {
    if let Some(tools) = Tools::installed_or_skip() {
        same_as(&tools, "6.1", &["30", "6.1"]);
    }
}

#[test]
fn linux_6_12_with_kmod_34() {
    if let Some(tools) = Tools::unpacked_or_skip() {
        same_as(&tools, "6.12", &["34", "6.12"]);
    }
}

/// Boots both guests and compares them.
fn same_as(reference: &Tools, version: &str, words: &[&str]) {
    if env::var_os("FERRMOD_LIVE").is_some_and(|value| value == "0") {
        eprintln!("left out, because FERRMOD_LIVE is 0");
        return;
    }
    let Some(tree) = corpus::tree_or_skip(version) else {
        return;
    };
    if !qemu_or_skip() {
        return;
    }
    let ending =
        if tree.file("ext4").is_some_and(|path| path.extension().is_some_and(|end| end == "xz")) { ".xz" } else { "" };
    let values = [("release", tree.release.as_str()), ("xz", ending)];
    let script = |words: &[&str]| Script::new(include_str!("scripts/live.script"), words, &values);

    let guest = |tools: &Tools, name: &str| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live").join(name);
        let root = Root::new(folder, &tree.release);
        root.add_modules(&tree, MODULES);
        root.add_made_modules(&tree);
        if version == "6.1" {
            root.add_own_modules(OWN_MODULES);
        }
        tools.install(&root);
        root.program("init", tools::init());
        root.link("usr/bin/sh", "/init");
        root.file("usr/lib/modprobe.d/aliases.conf", ALIASES);
        let words = if *tools == Tools::Ours { &[words, &["ours"]].concat() } else { words };
        root.file("script", script(words).text.as_bytes());
        let run = {
            let _one = MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            guest::boot(&tree, &root, name, ARGUMENTS)
        };
        let _ = fs::remove_dir_all(root.folder());
        fs::write(kept(name), compare::report(&run)).expect("a report can be written");
        run
    };
    let theirs = guest(reference, &format!("{version}-kmod"));
    let ours = match env::var_os("FERRMOD_LIVE_SELF") {
        None => guest(&Tools::Ours, &format!("{version}-ours")),
        Some(_) => guest(reference, &format!("{version}-self")),
    };
    let seconds = |run: &Transcript| run.time.as_secs_f64();
    eprintln!("{version}: {} steps; kmod {:.1} s, ours {:.1} s", ours.steps.len(), seconds(&theirs), seconds(&ours));

    let script = script(&[words, &["ours"]].concat());
    let differences = compare::differences(&script, &ours, &theirs);
    let text = differences.join("\n");
    fs::write(kept(&format!("{version}-differences")), &text).expect("a report can be written");
    assert!(ours.steps.len() > 100, "only {} steps were done", ours.steps.len());
    assert!(differences.is_empty(), "{} differences:\n\n{text}", differences.len());
}

/// What a guest's kernel is told: a parameter for a module, a blacklist that modprobe reads, and one that the kernel reads.
const ARGUMENTS: &str = "dummy.numdummies=3 modprobe.blacklist=pcspkr,floppy module_blacklist=crc8";

/// Aliases as distributions give them.
const ALIASES: &[u8] = b"alias net-pf-10 off\nalias char-major-10-235 autofs4\n";

fn kept(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("live").join(format!("{name}.txt"))
}
