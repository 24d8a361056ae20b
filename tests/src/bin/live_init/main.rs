//! The first process of a guest, and its shell: what the live tests boot beside the tools under test.
//!
//! As `/init` it mounts what every system has, goes through `/script` ([`script`]), and writes to the second serial port what each
//! line did: exit status, output, and what changed in `/proc/modules`. Then it ends the machine. Where there is `/outcomes`, it
//! goes through that instead ([`outcome`]). As `/bin/sh` it runs what `install` lines of modprobe's configuration ask for
//! ([`shell`]). It is linked statically: nothing else has to be in the guest.
//!
//! The report is text, a record a line, with everything but printable ASCII escaped as Rust does it:
//!
//! ```text
//! RUN 12 modprobe -r dummy
//! OUT rmmod dummy
//! ERR modprobe: FATAL: Module dummy is in use.
//! END exit 1
//! TOOK 31
//! MOD - dummy
//! MOD + nls_ascii 16384 0 - Live (E)
//! DONE
//! ```
#![forbid(unsafe_code)]

mod load;
mod outcome;
mod script;
mod shell;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use rustix::mount::{MountFlags, mount};

/// Where the report goes.
const REPORT: &str = "/dev/ttyS1";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    if Path::new(&called).file_name().is_some_and(|name| name == "sh") {
        return shell::main(arguments);
    }
    if std::process::id() != 1 {
        eprintln!("live_init is for process 1 of a guest");
        return ExitCode::FAILURE;
    }
    if let Err(error) = boot() {
        eprintln!("live_init: {error}");
    }
    // Also ends a machine that cannot switch its power off: QEMU's -no-reboot makes an end of it.
    let _ = rustix::system::reboot(rustix::system::RebootCommand::Restart);
    ExitCode::FAILURE
}

fn boot() -> std::io::Result<()> {
    const MOUNTS: [(&str, &str); 7] = [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("securityfs", "/sys/kernel/security"),
        ("tracefs", "/sys/kernel/tracing"),
    ];
    for (kind, target) in MOUNTS {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None)
            .map_err(|error| std::io::Error::other(format!("{kind} on {target}: {error}")))?;
    }
    // What udev would make.
    for (link, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        std::os::unix::fs::symlink(format!("/proc/self/fd{target}"), Path::new("/dev").join(link))?;
    }
    fs::create_dir_all("/mnt")?;
    let mut report = File::options().write(true).open(REPORT)?;
    let result = match fs::read_to_string("/outcomes") {
        Ok(list) => outcome::run(&list, &mut report),
        Err(_) => fs::read_to_string("/script").and_then(|text| script::run(&text, &mut report)),
    };
    if let Err(error) = &result {
        writeln!(report, "FAULT {}", error.to_string().escape_debug())?;
    }
    writeln!(report, "DONE")?;
    rustix::termios::tcdrain(&report)?;
    result
}
