//! Booting a guest, and what it reports.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ferrmod_tests::corpus::Tree;
use ferrmod_tests::newc;
use ferrmod_tests::qemu::QEMU;

use crate::root::Root;

/// Far more than the whole script needs on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(1500);

/// The devices of the machine: something for most kinds of modules.
const DEVICES: [&str; 11] = [
    "e1000e",
    "intel-hda",
    "hda-duplex,audiodev=silence",
    "qemu-xhci,id=xhci",
    "usb-storage,bus=xhci.0,drive=stick",
    "usb-tablet,bus=xhci.0",
    "ich9-usb-ehci1",
    "virtio-rng-pci",
    "i6300esb",
    "virtio-balloon-pci",
    "pci-serial",
];

/// What one line of the script did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Step {
    /// The line of the script, from 1.
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) status: String,
    /// How long it took, waiting for calm included.
    pub(crate) milliseconds: u64,
    pub(crate) output: Vec<String>,
    pub(crate) errors: Vec<String>,
    /// What came and went, `+ LINE` and `- NAME`.
    pub(crate) modules: Vec<String>,
}

/// What a guest reported.
#[derive(Debug)]
pub(crate) struct Transcript {
    pub(crate) steps: Vec<Step>,
    /// What else it wrote into its report.
    pub(crate) faults: Vec<String>,
    /// Whether it came to its end.
    pub(crate) is_whole: bool,
    pub(crate) time: Duration,
    /// What the kernel said; to be looked at when something went wrong.
    pub(crate) console: PathBuf,
}

/// Boots a guest with what is in `root`.
pub(crate) fn boot(tree: &Tree, root: &Root, name: &str, arguments: &str) -> Transcript {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live");
    fs::create_dir_all(&folder).expect("a folder can be made");
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    let (initrd, report, console) = (path("cpio"), path("report"), path("console"));
    let archive = newc::of_folder(root.folder()).expect("the folder can be read");
    let mut hasher = DefaultHasher::new();
    (&archive, arguments, DEVICES, &tree.vmlinuz).hash(&mut hasher);
    let (key, key_file) = (hasher.finish().to_string(), path("key"));
    if env::var_os("FERRMOD_LIVE_KEEP").is_some() && fs::read_to_string(&key_file).is_ok_and(|kept| kept == key) {
        return finish(&report, Duration::ZERO, console);
    }
    let _ = fs::remove_file(&key_file);
    fs::write(&initrd, archive).expect("the archive can be written");
    let mut qemu = Command::new(QEMU);
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35", "-m", "1024", "-smp", "2"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-vga", "std"])
        .args(["-audiodev", "none,id=silence", "-drive", "if=none,id=stick,driver=null-co,size=16M,read-zeroes=on"])
        .args(DEVICES.iter().flat_map(|device| ["-device", device]))
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", report.display()))
        .arg("-kernel")
        .arg(&tree.vmlinuz)
        .arg("-initrd")
        .arg(&initrd)
        .args([
            "-append",
            &format!("console=ttyS0 panic=-1 oops=panic loglevel=6 mitigations=off no_timer_check {arguments}"),
        ])
        .stdin(Stdio::null());
    // On a loaded machine a kernel may find at boot that its clocks do not fit together.
    let mut transcript = wait(&mut qemu, &report, console.clone());
    for _ in 0..2 {
        if transcript.steps.is_empty() {
            transcript = wait(&mut qemu, &report, console.clone());
        }
    }
    let _ = fs::remove_file(initrd);
    if transcript.is_whole {
        fs::write(key_file, key).expect("a key can be written");
    }
    transcript
}

/// Waits for the end of a machine.
fn wait(qemu: &mut Command, report: &Path, console: PathBuf) -> Transcript {
    let begin = Instant::now();
    let mut child = qemu.spawn().expect("QEMU starts");
    while child.try_wait().expect("QEMU can be waited for").is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill().expect("QEMU can be ended");
            child.wait().expect("QEMU can be waited for");
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    finish(report, begin.elapsed(), console)
}

fn finish(report: &Path, time: Duration, console: PathBuf) -> Transcript {
    let text = String::from_utf8_lossy(&fs::read(report).unwrap_or_default()).replace('\r', "");
    Transcript { time, console, ..read(&text) }
}

/// Reads what `live_init` writes.
fn read(text: &str) -> Transcript {
    let mut steps: Vec<Step> = Vec::new();
    let mut faults = Vec::new();
    let mut is_whole = false;
    for line in text.lines() {
        let (mark, rest) = line.split_at_checked(4).unwrap_or((line, ""));
        match (mark, steps.last_mut()) {
            ("RUN ", _) => {
                let (line, command) = rest.split_once(' ').unwrap_or_default();
                let line = line.parse().unwrap_or_default();
                steps.push(Step { line, command: command.to_owned(), ..Step::default() });
            }
            ("OUT ", Some(step)) => step.output.push(rest.to_owned()),
            ("ERR ", Some(step)) => step.errors.push(rest.to_owned()),
            ("END ", Some(step)) => step.status = rest.to_owned(),
            ("TOOK", Some(step)) => step.milliseconds = rest.trim().parse().unwrap_or_default(),
            ("MOD ", Some(step)) => step.modules.push(rest.to_owned()),
            ("DONE", _) => is_whole = true,
            _ => faults.push(line.to_owned()),
        }
    }
    Transcript { steps, faults, is_whole, time: Duration::ZERO, console: PathBuf::new() }
}
