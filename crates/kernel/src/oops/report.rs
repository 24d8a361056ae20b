//! What is printed about a fault: Linux's lines in Linux's order, each at its level.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use bstr::ByteSlice;

use super::emulate;
use crate::module::TAINT_LETTERS;
use crate::trap::{Registers, Trap};
use crate::{Kernel, printk};

/// The line that separates what was before from what a BUG or WARN says.
pub(super) const CUT_HERE: &str = "------------[ cut here ]------------";
const END_TRACE: &str = "---[ end trace 0000000000000000 ]---";
/// `BUGFLAG_NO_CUT_HERE`: `__warn_printk` has drawn the line.
const NO_CUT_HERE: u16 = 8;
/// What an oops line ends with: how the kernel is configured.
const CONFIGURED: &str = "PREEMPT SMP NOPTI";
/// Bytes shown before the instruction, and from it on.
const CODE_BEFORE: i64 = 42;
const CODE_AFTER: i64 = 22;

/// `KERN_EMERG`, `KERN_ALERT`, `KERN_CRIT`, `KERN_WARNING`.
const EMERGENCY: u8 = 0;
const ALERT: u8 = 1;
const CRITICAL: u8 = 2;
pub(super) const WARNING: u8 = 4;

/// Lines with their levels.
pub(super) type Lines = Vec<(u8, String)>;

impl Kernel {
    /// What happened: the lines before the report's common part. The last of them counts the oopses.
    pub(super) fn headline(&self, trap: Trap, registers: &Registers, number: usize) -> Lines {
        let counted = |what: &str, code: u32| (WARNING, format!("{what}: {code:04x} [#{number}] {CONFIGURED}"));
        match trap {
            Trap::PageFault { address, write, fetch, protection } => {
                let mut lines = Vec::new();
                if fetch && protection {
                    let text = "kernel tried to execute NX-protected page - exploit attempt? (uid: 0)";
                    lines.push((CRITICAL, text.into()));
                }
                let what = match self.absent_name(address) {
                    Some(name) => format!("BUG: unimplemented kernel symbol {} used", name.as_bstr()),
                    None if address < 4096 => {
                        format!("BUG: kernel NULL pointer dereference, address: {address:016x}")
                    }
                    None => format!("BUG: unable to handle page fault for address: {address:016x}"),
                };
                let code = u32::from(protection) | u32::from(write) << 1 | u32::from(fetch) << 4;
                let access = match (fetch, write) {
                    (true, _) => "instruction fetch",
                    (_, true) => "write access",
                    _ => "read access",
                };
                let why = if protection { "permissions violation" } else { "not-present page" };
                lines.extend([
                    (ALERT, what),
                    (ALERT, format!("#PF: supervisor {access} in kernel mode")),
                    (ALERT, format!("#PF: error_code({code:#06x}) - {why}")),
                    counted("Oops", code),
                ]);
                lines
            }
            Trap::StackOverflow { address } => {
                let stack = self.tasks.context(self.tasks.current()).map_or(0..0, |task| self.platform.stack_of(task));
                let (start, end) = (stack.start, stack.end.saturating_sub(1));
                let text =
                    format!("BUG: TASK stack guard page was hit at {address:016x} (stack is {start:016x}..{end:016x})");
                Vec::from([(EMERGENCY, text), counted("stack guard page", 0)])
            }
            Trap::InvalidOpcode => match self.bug_place(registers.rip) {
                Some((place, flags)) => {
                    let cut = (flags & NO_CUT_HERE == 0).then(|| (WARNING, CUT_HERE.into()));
                    let bug = (CRITICAL, format!("kernel BUG at {place}!"));
                    cut.into_iter().chain([bug, counted("invalid opcode", 0)]).collect()
                }
                None => Vec::from([counted("invalid opcode", 0)]),
            },
            Trap::GeneralProtection => {
                // The processor does not say which address it was.
                let what = match emulate::address_of_access(self.platform, registers) {
                    Some(address) if !emulate::is_canonical(address) => {
                        format!("general protection fault, probably for non-canonical address {address:#x}")
                    }
                    Some(address) => format!("general protection fault, maybe for address {address:#x}"),
                    None => "general protection fault".into(),
                };
                Vec::from([counted(&what, 0)])
            }
            Trap::DivideError => Vec::from([counted("divide error", 0)]),
            Trap::Breakpoint => Vec::from([counted("int3", 0)]),
            Trap::Debug => Vec::from([counted("debug", 0)]),
            Trap::Other(vector) => Vec::from([counted(&format!("exception {vector}"), 0)]),
            Trap::SoftLockup(time) => {
                let (task, seconds) = (self.tasks.current(), time / 1_000_000_000);
                let name = self.tasks.name(task).unwrap_or_default();
                let text = format!("watchdog: BUG: soft lockup - CPU#0 stuck for {seconds}s! [{name}:{}]", task.0);
                Vec::from([(EMERGENCY, text)])
            }
            Trap::SystemCall => {
                Vec::from([(ALERT, "BUG: system call instruction in kernel code".into()), counted("Oops", 0)])
            }
        }
    }

    /// Prints an oops.
    pub(super) fn print_oops(
        &'static self,
        headline: &Lines,
        trap: Trap,
        registers: &Registers,
        location: &str,
        trace: &[String],
    ) {
        self.print(headline);
        let mut lines = self.machine_lines(location, Some(registers));
        lines.extend(trace_lines(trace));
        lines.push(self.linked_in());
        if let Trap::PageFault { address, .. } | Trap::StackOverflow { address } = trap {
            lines.push(format!("CR2: {address:016x}"));
        }
        lines.push(END_TRACE.into());
        self.print_at(WARNING, &lines);
    }

    /// Prints what the kernel found by itself to be fatal.
    pub(super) fn print_bug(&'static self, reason: &str, number: usize, location: &str, trace: &[String]) {
        self.print(&Vec::from([
            (WARNING, CUT_HERE.into()),
            (CRITICAL, reason.into()),
            (WARNING, format!("Oops: 0000 [#{number}] {CONFIGURED}")),
        ]));
        let mut lines = self.machine_lines(location, None);
        lines.extend(trace_lines(trace));
        lines.push(self.linked_in());
        lines.push(END_TRACE.into());
        self.print_at(WARNING, &lines);
    }

    /// Prints a WARN: `place` is the source line, when it is known.
    pub(super) fn print_warning(
        &'static self,
        before: &[&str],
        place: &str,
        location: &str,
        registers: Option<&Registers>,
        trace: &[String],
    ) {
        let task = self.tasks.current();
        let mut lines: Vec<String> = before.iter().map(|&line| line.into()).collect();
        lines.push(format!("WARNING: CPU: {} PID: {} at {place}{location}", self.tasks.cpu(), task.0));
        lines.push(self.linked_in());
        lines.extend(self.machine_lines(location, registers));
        lines.extend(trace_lines(trace));
        lines.push(END_TRACE.into());
        self.print_at(WARNING, &lines);
    }

    /// Prints where the running task is, after a complaint.
    pub(super) fn print_place(&'static self, level: u8, complaint: &str, trace: &[String]) {
        printk::say(self, level, complaint);
        let mut lines = Vec::from([self.linked_in(), self.task_line()]);
        lines.extend(trace_lines(trace));
        self.print_at(WARNING, &lines);
    }

    /// Prints where a task hangs.
    pub(super) fn print_hung(&'static self, reason: &str, trace: &[String]) {
        printk::say(self, 3, reason);
        self.print_at(3, &trace_lines(trace));
    }

    /// Whether the bug-table entry with these flags wants the line drawn.
    pub(super) fn draws_line(flags: u16) -> bool {
        flags & NO_CUT_HERE == 0
    }

    fn print(&self, lines: &Lines) {
        for (level, line) in lines {
            printk::say(self, *level, line);
        }
    }

    pub(super) fn print_at(&self, level: u8, lines: &[String]) {
        for line in lines {
            printk::say(self, level, line);
        }
    }

    /// Which task, where, and the registers when they are known.
    pub(super) fn machine_lines(&self, location: &str, registers: Option<&Registers>) -> Vec<String> {
        let mut lines = Vec::from([self.task_line(), format!("RIP: 0010:{location}")]);
        let Some(r) = registers else { return lines };
        lines.extend([
            format!("Code: {}", self.code_bytes(r.rip)),
            format!("RSP: 0018:{:016x} EFLAGS: {:08x}", r.rsp, r.rflags),
            format!("RAX: {:016x} RBX: {:016x} RCX: {:016x}", r.rax, r.rbx, r.rcx),
            format!("RDX: {:016x} RSI: {:016x} RDI: {:016x}", r.rdx, r.rsi, r.rdi),
            format!("RBP: {:016x} R08: {:016x} R09: {:016x}", r.rbp, r.r8, r.r9),
            format!("R10: {:016x} R11: {:016x} R12: {:016x}", r.r10, r.r11, r.r12),
            format!("R13: {:016x} R14: {:016x} R15: {:016x}", r.r13, r.r14, r.r15),
        ]);
        lines
    }

    pub(super) fn task_line(&self) -> String {
        let task = self.tasks.current();
        let name = self.tasks.name(task).unwrap_or_default();
        let taints = self.modules.taints();
        let letters: String = TAINT_LETTERS
            .iter()
            .enumerate()
            .map(|(bit, &letter)| match (bit, taints >> bit & 1) {
                (0, 0) => 'G',
                (_, 0) => ' ',
                _ => letter as char,
            })
            .collect();
        let tainted = if taints == 0 { "Not tainted".into() } else { format!("Tainted: {letters}") };
        format!("CPU: {} PID: {} Comm: {name} {tainted} {}", self.tasks.cpu(), task.0, self.release())
    }

    pub(super) fn linked_in(&self) -> String {
        let mut line = String::from("Modules linked in:");
        for module in self.modules.list() {
            let _ = write!(line, " {}", module.name);
            if !module.taints.is_empty() {
                let _ = write!(line, "({})", module.taints);
            }
        }
        if let Some((name, taints)) = self.modules.last_unloaded() {
            let _ = write!(line, " [last unloaded: {name}");
            if !taints.is_empty() {
                let _ = write!(line, "({taints})");
            }
            line.push(']');
        }
        line
    }

    /// The bytes around the instruction, its own first byte in angle brackets.
    fn code_bytes(&self, rip: u64) -> String {
        let mut out = String::new();
        for offset in -CODE_BEFORE..CODE_AFTER {
            let mut byte = [0];
            let address = rip.wrapping_add_signed(offset);
            match (self.platform.read(address, &mut byte), offset) {
                (Ok(()), 0) => {
                    let _ = write!(out, "<{:02x}> ", byte[0]);
                }
                (Ok(()), _) => {
                    let _ = write!(out, "{:02x} ", byte[0]);
                }
                (Err(_), 0) => {
                    return format!("Unable to access opcode bytes at {:#x}.", rip.wrapping_add_signed(-CODE_BEFORE));
                }
                (Err(_), _) => (),
            }
        }
        out.trim_end().into()
    }
}

pub(super) fn trace_lines(trace: &[String]) -> Vec<String> {
    let mut lines = Vec::from(["Call Trace:".into(), " <TASK>".into()]);
    lines.extend(trace.iter().map(|line| format!(" {line}")));
    lines.push(" </TASK>".into());
    lines
}
