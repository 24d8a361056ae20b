//! The kernel as a guest of QEMU.
//!
//! The kernel is built here, by its own `cargo build`: a build of the whole workspace could unify std into it (see
//! `Cargo.toml`).

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ferrmod_image::facts::Facts;
use ferrmod_image::kernel::KernelImage;
use ferrmod_tests::corpus;
use ferrmod_tests::qemu::QEMU;

pub(crate) mod archive;
use archive::Archive;

/// Exit codes of QEMU for the verdicts of the kernel (`power.rs`).
pub(crate) const GOOD: i32 = 33;
pub(crate) const FAILED: i32 = 35;
pub(crate) const HALTED: i32 = 37;
/// Far more than a boot needs on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run of the machine left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) console: String,
    pub(crate) code: Option<i32>,
    pub(crate) time: Duration,
}

impl Run {
    /// The console has all of these, in this order.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) {
        let mut rest = &*self.console;
        for part in parts {
            let Some(at) = rest.find(part) else {
                panic!("{part:?} is not said (in this place):\n{}", self.console);
            };
            rest = &rest[at + part.len()..];
        }
    }

    #[track_caller]
    pub(crate) fn ends_with(&self, code: i32) {
        assert_eq!(self.code, Some(code), "exit code of QEMU; the console:\n{}", self.console);
    }
}

/// The kernel, built once a test run.
fn kernel() -> &'static Path {
    static KERNEL: OnceLock<PathBuf> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
        cargo.args(["--features", "bare", "--bin", "ferrmod-boot", "--message-format", "json-render-diagnostics"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success(), "the kernel does not build");
        let messages = String::from_utf8_lossy(&output.stdout);
        let (_, rest) = messages.rsplit_once("\"executable\":\"").expect("cargo names what it built");
        PathBuf::from(rest.split('"').next().expect("a string has an end"))
    })
}

/// Boots the kernel with this archive.
pub(crate) fn boot(archive: Archive) -> Run {
    boot_with(archive, &[])
}

/// The same, with more options for QEMU.
pub(crate) fn boot_with(archive: Archive, options: &[&str]) -> Run {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let thread = std::thread::current();
    let initrd = folder.join(format!("{}.cpio", thread.name().unwrap_or("boot")));
    fs::write(&initrd, archive.finish()).expect("the archive can be written");
    let kernel = kernel();
    let start = Instant::now();
    let mut child = Command::new(QEMU)
        .args(["-accel", "tcg", "-cpu", "max", "-machine", "q35", "-m", "256M", "-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(&initrd)
        .args(["-append", "watchdog=3"])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("QEMU starts");
    let mut output = child.stdout.take().expect("the output is piped");
    let reader = std::thread::spawn(move || {
        let mut console = Vec::new();
        let _ = output.read_to_end(&mut console);
        console
    });
    let code = loop {
        if let Some(status) = child.try_wait().expect("QEMU can be waited for") {
            break status.code();
        }
        if start.elapsed() > PATIENCE {
            child.kill().expect("QEMU can be ended");
            child.wait().expect("QEMU can be waited for");
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let time = start.elapsed();
    let console = reader.join().expect("the reader does not panic");
    Run { console: String::from_utf8_lossy(&console).replace('\r', ""), code, time }
}

/// What the kernel knows of Debian's 6.1, made from its own image. Kept beside the test: unpacking takes a while unoptimised.
pub(crate) fn facts(tree: &corpus::Tree) -> Vec<u8> {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.facts", tree.release));
    if let Ok(bytes) = fs::read(&kept)
        && Facts::open(&bytes).is_ok()
    {
        return bytes;
    }
    let file = fs::read(&tree.vmlinuz).expect("the kernel's image can be read");
    let bytes = Facts::build(&KernelImage::read(&file).expect("the kernel's image is one"));
    fs::write(&kept, &bytes).expect("the facts can be kept");
    bytes
}
