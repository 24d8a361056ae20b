//! The emulator that tests and recordings boot kernels in.

use std::process::{Command, Stdio};

use crate::corpus;

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";

/// Whether QEMU is here; if not, a loud word.
///
/// # Panics
/// When it is required (`FERRMOD_REQUIRE_QEMU` is 1) and missing.
pub fn qemu_or_skip() -> bool {
    let found = Command::new(QEMU).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        let required = std::env::var("FERRMOD_REQUIRE_QEMU").is_ok_and(|value| value == "1");
        assert!(!required, "{QEMU} is required here and missing");
        corpus::skip(QEMU, "install the package qemu-system-x86");
    }
    found
}
