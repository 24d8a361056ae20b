//! Faults: what the kernel makes of them, and the report it prints.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use bstr::ByteSlice;
use ferrmod_linker::orc::{Frame, Table, Unwinder};

use crate::module::TAINT_LETTERS;
use crate::task::TaskId;
use crate::trap::{Registers, Trap, Verdict};
use crate::{Kernel, lock, printk};

mod emulate;

/// A fault that killed a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oops {
    /// What happened, in one line.
    pub reason: String,
    /// Where, symbolised.
    pub location: String,
    /// The task it killed.
    pub task: TaskId,
    /// The call trace, innermost first; `?` before what was found by searching.
    pub trace: Vec<String>,
}

/// `BUGFLAG_WARNING`.
const WARNING: u16 = 1;
/// `BUGFLAG_ONCE`.
const ONCE: u16 = 2;
/// Bit of `TAINT_DIE`, letter D, and of `TAINT_WARN`, letter W.
const DIED: u64 = 1 << 7;
const WARNED: u64 = 1 << 9;
/// The deepest trace printed.
const DEEPEST: usize = 64;

impl Kernel {
    /// Takes a fault from the platform's handler, which runs on a stack of its own.
    ///
    /// A WARN is printed and the code goes on; an instruction with an exception-table entry goes on at its fix-up; port
    /// input reads ones. Everything else is an oops that kills the task, or stops the kernel when the scheduler or the
    /// kernel's own locked state was hit.
    pub fn trap(&'static self, trap: Trap, registers: &mut Registers) -> Verdict {
        if lock::held() > 0 {
            return Verdict::Halt;
        }
        if trap == Trap::InvalidOpcode && self.warned(registers) {
            return Verdict::Resume;
        }
        if self.fixed_up(registers) {
            return Verdict::Resume;
        }
        if trap == Trap::GeneralProtection && emulate::port_access(self.platform, registers) {
            return Verdict::Resume;
        }
        let reason = self.reason(trap, registers);
        let location = self.symbolise(registers.rip);
        let trace = self.trace(registers);
        let number = self.oopses.lock().len() + 1;
        self.report(trap, registers, &reason, number, &trace);
        let task = self.tasks.current();
        self.modules.taint(DIED);
        self.oopses.lock().push(Oops { reason, location, task, trace });
        if task.0 == 0 { Verdict::Halt } else { Verdict::Kill }
    }

    /// The oopses so far.
    pub fn oopses(&self) -> Vec<Oops> {
        self.oopses.lock().clone()
    }

    /// Reports something wrong that the kernel found by itself (`BUG()` inside a function) and kills the running task.
    pub fn bug(&'static self, reason: &str, caller: u64) -> ! {
        let registers = Registers { rip: caller, rsp: 0, ..Registers::default() };
        let trace = self.trace_from_here(caller);
        let number = self.oopses.lock().len() + 1;
        self.say_block(|text| {
            let _ = writeln!(text, "{reason}");
            let _ = writeln!(text, "Oops: 0000 [#{number}] PREEMPT SMP");
            let _ = writeln!(text, "{}", self.task_line());
            let _ = writeln!(text, "RIP: 0010:{}", self.symbolise(registers.rip));
            self.write_trace(text, &trace);
        });
        self.modules.taint(DIED);
        let location = self.symbolise(caller);
        self.oopses.lock().push(Oops { reason: reason.into(), location, task: self.tasks.current(), trace });
        if self.tasks.current().0 == 0 {
            self.platform.halt(reason);
        }
        crate::task_died()
    }

    /// Prints a warning as WARN does and goes on.
    pub fn warn(&'static self, reason: &str, caller: u64) {
        let trace = self.trace_from_here(caller);
        self.modules.taint(WARNED);
        self.say_block(|text| {
            let _ = writeln!(text, "------------[ cut here ]------------");
            let _ = writeln!(text, "{reason}");
            let _ = writeln!(text, "WARNING: at {}", self.symbolise(caller));
            let _ = writeln!(text, "{}", self.task_line());
            self.write_trace(text, &trace);
            let _ = writeln!(text, "---[ end trace 0000000000000000 ]---");
        });
    }

    /// Prints where a task that is not going on is, and `why` that is wrong.
    pub fn report_hung(&'static self, id: TaskId, why: &str) {
        let Some(context) = self.tasks.context(id) else { return };
        let registers = self.platform.saved_registers(context);
        let trace = self.trace(&registers);
        let name = self.tasks.name(id).unwrap_or_default();
        let reason = format!("INFO: task {name}:{} {why}", id.0);
        self.say_block(|text| {
            let _ = writeln!(text, "{reason}");
            self.write_trace(text, &trace);
        });
        let location = trace.first().cloned().unwrap_or_default();
        self.oopses.lock().push(Oops { reason, location, task: id, trace });
    }

    /// `name+0x12/0x34 [module]`, or the bare number.
    pub fn symbolise(&self, address: u64) -> String {
        if let Some((name, distance, size, module)) = self.modules.symbolise(address) {
            return format!("{name}+{distance:#x}/{size:#x} [{module}]");
        }
        for world in self.worlds() {
            if let Some((name, distance)) = world.name_of(address) {
                return format!("{name}+{distance:#x}");
            }
        }
        format!("{address:#018x}")
    }

    fn warned(&'static self, registers: &mut Registers) -> bool {
        let Some(module) = self.modules.at(registers.rip) else { return false };
        let linked = module.linked();
        let Some(bug) = linked.bug_at(registers.rip).copied() else { return false };
        if bug.flags & WARNING == 0 {
            return false;
        }
        let again = bug.flags & ONCE != 0 && !self.first_warning(bug.address);
        if !again {
            let place = format!("{}:{}", self.string_at(bug.file), bug.line);
            let trace = self.trace(registers);
            self.modules.taint(WARNED);
            self.say_block(|text| {
                let task = self.tasks.current();
                let _ = writeln!(text, "------------[ cut here ]------------");
                let location = self.symbolise(registers.rip);
                let _ = writeln!(text, "WARNING: CPU: 0 PID: {} at {place} {location}", task.0);
                let _ = writeln!(text, "{}", self.task_line());
                let _ = writeln!(text, "RIP: 0010:{location}");
                self.write_trace(text, &trace);
                let _ = writeln!(text, "---[ end trace 0000000000000000 ]---");
            });
        }
        // `ud2` is two bytes long.
        registers.rip += 2;
        true
    }

    fn first_warning(&self, address: u64) -> bool {
        self.registrations.add("warned", address, "", crate::Owner::Kernel).is_ok()
    }

    fn fixed_up(&self, registers: &mut Registers) -> bool {
        let Some(module) = self.modules.at(registers.rip) else { return false };
        let linked = module.linked();
        let Some(entry) = linked.exception_at(registers.rip) else { return false };
        emulate::exception_fixup(entry.data, entry.fixup, registers)
    }

    fn reason(&self, trap: Trap, registers: &Registers) -> String {
        match trap {
            Trap::PageFault { address, write, fetch, protection } => {
                if let Some(name) = self.absent_name(address) {
                    return format!("unimplemented kernel symbol {} used", name.as_bstr());
                }
                if address < 4096 {
                    return format!("BUG: kernel NULL pointer dereference, address: {address:016x}");
                }
                if fetch && protection {
                    return format!("kernel tried to execute NX-protected page, address: {address:016x}");
                }
                let _ = write;
                format!("BUG: unable to handle page fault for address: {address:016x}")
            }
            Trap::StackOverflow { address } => {
                format!("BUG: kernel stack overflow, stack guard page was hit at {address:016x}")
            }
            Trap::InvalidOpcode => match self.bug_place(registers.rip) {
                Some(place) => format!("kernel BUG at {place}!"),
                None => "invalid opcode: 0000".into(),
            },
            Trap::GeneralProtection => "general protection fault".into(),
            Trap::DivideError => "divide error: 0000".into(),
            Trap::Breakpoint => "int3: 0000".into(),
            Trap::Debug => "debug exception: 0000".into(),
            Trap::Other(vector) => format!("exception {vector}"),
            Trap::SoftLockup(time) => {
                let (task, seconds) = (self.tasks.current(), time / 1_000_000_000);
                let name = self.tasks.name(task).unwrap_or_default();
                format!("watchdog: BUG: soft lockup - CPU#0 stuck for {seconds}s! [{name}:{}]", task.0)
            }
            Trap::SystemCall => "system call instruction in kernel code".into(),
        }
    }

    fn absent_name(&self, address: u64) -> Option<Vec<u8>> {
        if !self.platform.regions().absent.contains(&address) {
            return None;
        }
        self.worlds().into_iter().find_map(|world| world.absent_at(address))
    }

    fn bug_place(&self, address: u64) -> Option<String> {
        let linked = self.modules.at(address)?.linked();
        let bug = linked.bug_at(address)?;
        Some(format!("{}:{}", self.string_at(bug.file), bug.line))
    }

    fn string_at(&self, address: u64) -> String {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while bytes.len() < 256 && self.platform.read(address + bytes.len() as u64, &mut byte).is_ok() && byte[0] != 0 {
            bytes.push(byte[0]);
        }
        bytes.to_str_lossy().into_owned()
    }

    fn report(&'static self, trap: Trap, registers: &Registers, reason: &str, number: usize, trace: &[String]) {
        self.say_block(|text| {
            let _ = writeln!(text, "{reason}");
            let mut code = 0;
            if let Trap::PageFault { write, fetch, protection, .. } = trap {
                code = u32::from(protection) | u32::from(write) << 1 | u32::from(fetch) << 4;
                let access = if fetch { "instruction fetch" } else if write { "write access" } else { "read access" };
                let why = if protection { "permissions violation" } else { "not-present page" };
                let _ = writeln!(text, "#PF: supervisor {access} in kernel mode");
                let _ = writeln!(text, "#PF: error_code({code:#06x}) - {why}");
            }
            let _ = writeln!(text, "Oops: {code:04x} [#{number}] PREEMPT SMP");
            let _ = writeln!(text, "{}", self.task_line());
            let _ = writeln!(text, "RIP: 0010:{}", self.symbolise(registers.rip));
            let _ = writeln!(text, "Code: {}", self.code_bytes(registers.rip));
            let r = registers;
            let _ = writeln!(text, "RSP: 0018:{:016x} EFLAGS: {:08x}", r.rsp, r.rflags);
            let _ = writeln!(text, "RAX: {:016x} RBX: {:016x} RCX: {:016x}", r.rax, r.rbx, r.rcx);
            let _ = writeln!(text, "RDX: {:016x} RSI: {:016x} RDI: {:016x}", r.rdx, r.rsi, r.rdi);
            let _ = writeln!(text, "RBP: {:016x} R08: {:016x} R09: {:016x}", r.rbp, r.r8, r.r9);
            let _ = writeln!(text, "R10: {:016x} R11: {:016x} R12: {:016x}", r.r10, r.r11, r.r12);
            let _ = writeln!(text, "R13: {:016x} R14: {:016x} R15: {:016x}", r.r13, r.r14, r.r15);
            self.write_trace(text, trace);
            let _ = writeln!(text, "---[ end trace 0000000000000000 ]---");
        });
    }

    fn say_block(&self, write: impl FnOnce(&mut String)) {
        let mut text = String::new();
        write(&mut text);
        printk::say(self, 1, &text);
    }

    fn task_line(&self) -> String {
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
        let tainted = if taints == 0 { "Not tainted".into() } else { format!("Tainted: {}", letters.trim_end()) };
        format!("CPU: 0 PID: {} Comm: {name} {tainted} {}", task.0, self.release())
    }

    /// What the kernel calls itself: the release its modules were built for, when it takes a Linux kernel's.
    pub fn release(&self) -> &str {
        self.linux_world().map_or(&self.options.release, |world| world.release())
    }

    fn write_trace(&self, text: &mut String, trace: &[String]) {
        let _ = writeln!(text, "Call Trace:");
        let _ = writeln!(text, " <TASK>");
        for line in trace {
            let _ = writeln!(text, " {line}");
        }
        let _ = writeln!(text, " </TASK>");
        let mut linked_in = String::from("Modules linked in:");
        for module in self.modules.list() {
            let _ = write!(linked_in, " {}", module.name);
            if !module.taints.is_empty() {
                let _ = write!(linked_in, "({})", module.taints);
            }
        }
        if let Some((name, taints)) = self.modules.last_unloaded() {
            let _ = write!(linked_in, " [last unloaded: {name}");
            if !taints.is_empty() {
                let _ = write!(linked_in, "({taints})");
            }
            linked_in.push(']');
        }
        let _ = writeln!(text, "{linked_in}");
    }

    /// The bytes around the instruction, its own first byte in angle brackets, as Linux prints them.
    fn code_bytes(&self, rip: u64) -> String {
        let mut out = String::new();
        for offset in -42i64..22 {
            let mut byte = [0];
            let address = rip.wrapping_add_signed(offset);
            match (self.platform.read(address, &mut byte), offset) {
                (Ok(()), 0) => {
                    let _ = write!(out, "<{:02x}> ", byte[0]);
                }
                (Ok(()), _) => {
                    let _ = write!(out, "{:02x} ", byte[0]);
                }
                (Err(_), 0) => return "Unable to access opcode bytes".into(),
                (Err(_), _) => (),
            }
        }
        out.trim_end().into()
    }

    /// The return addresses on the running stack, from the call that came from `caller`.
    fn trace_from_here(&'static self, caller: u64) -> Vec<String> {
        let Some(context) = self.tasks.context(self.tasks.current()) else { return Vec::new() };
        let stack = self.platform.stack_of(context);
        // The call's return address is on the stack, above this function's own frame; the innermost place it is found at is
        // where the trace begins.
        let marker = 0u8;
        let here = (core::ptr::from_ref(&marker).addr() as u64).next_multiple_of(8);
        let mut places = (here.max(stack.start)..stack.end).step_by(8);
        let found = places.find(|&at| self.word(at) == Some(caller));
        let rsp = found.map_or(stack.end, |at| at + 8);
        self.trace(&Registers { rip: caller, rsp, ..Registers::default() })
    }

    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.platform.read(address, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn trace(&'static self, registers: &Registers) -> Vec<String> {
        let tables: Vec<Table> = self.modules.all().iter().filter_map(|module| module.linked().orc).collect();
        let stack = self.tasks.context(self.tasks.current()).map_or(0..0, |context| self.platform.stack_of(context));
        let mut lines = Vec::new();
        let mut read = |address: u64, into: &mut [u8]| self.platform.read(address, into).is_ok();
        let mut frame = Frame {
            ip: registers.rip,
            sp: registers.rsp,
            bp: registers.rbp,
            exact: true,
            scratch: None,
        };
        let mut certain = true;
        if self.modules.at(frame.ip).is_none() {
            lines.push(format!("? {}", self.symbolise(frame.ip)));
            match self.next_module_frame(frame.sp, stack.end) {
                Some(next) => (frame, certain) = (next, false),
                None => return lines,
            }
        }
        while lines.len() < DEEPEST {
            lines.push(format!("{}{}", if certain { "" } else { "? " }, self.symbolise(frame.ip)));
            let mut unwinder = Unwinder::new(frame, &tables, &mut read);
            let next = unwinder.step().ok().filter(|next| self.modules.at(next.ip).is_some());
            match next {
                Some(next) => (frame, certain) = (next, true),
                None => match self.next_module_frame(unwinder.frame().sp.max(frame.sp), stack.end) {
                    Some(next) => (frame, certain) = (next, false),
                    None => break,
                },
            }
        }
        lines
    }

    /// The next word on the stack that is a return address into module text.
    fn next_module_frame(&self, from: u64, end: u64) -> Option<Frame> {
        let mut at = from.next_multiple_of(8);
        while at + 8 <= end {
            let word = self.word(at)?;
            let in_text = self.modules.at(word).is_some_and(|module| module.linked().text_contains(word).is_some());
            if in_text && self.follows_call(word) {
                return Some(Frame { ip: word, sp: at + 8, bp: 0, exact: false, scratch: None });
            }
            at += 8;
        }
        None
    }

    /// Whether the bytes before `address` are a call: `e8 rel32`, or `ff /2` in its short forms.
    fn follows_call(&self, address: u64) -> bool {
        let mut bytes = [0; 7];
        if self.platform.read(address - 7, &mut bytes).is_err() {
            return false;
        }
        bytes[2] == 0xe8 || (2..6).any(|at| bytes[at] == 0xff && bytes[at + 1] >> 3 & 7 == 2)
    }
}
