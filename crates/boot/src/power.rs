//! Ending: the exit code QEMU leaves with says how it went.

use x86_64::instructions::port::Port;
use x86_64::instructions::{hlt, interrupts};

/// How it ended. QEMU's `isa-debug-exit` device turns the value `v` into the exit code `2 v + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Verdict {
    /// The script reached `poweroff`, and every check held: exit code 33.
    Good = 16,
    /// The script reached its end, but a line failed: exit code 35.
    Failed = 17,
    /// The kernel could not go on: exit code 37.
    Halted = 18,
}

const DEBUG_EXIT: u16 = 0xf4;
/// PM1a control of QEMU's `pc` and `q35`; SLP_EN with the sleep type of S5, which is 0 there.
const ACPI: u16 = 0x604;
const SLEEP: u16 = 0x2000;

/// Turns the machine off.
pub(crate) fn off(verdict: Verdict) -> ! {
    interrupts::disable();
    // SAFETY: nothing runs after this; where a device does not exist the write goes nowhere.
    unsafe {
        Port::<u32>::new(DEBUG_EXIT).write(verdict as u32);
        Port::<u16>::new(ACPI).write(SLEEP);
    }
    loop {
        hlt();
    }
}
