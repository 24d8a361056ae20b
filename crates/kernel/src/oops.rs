//! Faults: what the kernel makes of them, and the report it prints.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_linker::orc::{Frame, Table, Unwinder};

use crate::task::TaskId;
use crate::trap::{Registers, Trap, Verdict};
use crate::{Kernel, lock};

mod atomic;
mod emulate;
mod memory;
mod report;
mod window;

pub use atomic::{AtomicSleep, Call, Section};
pub use memory::MemoryError;

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
/// No stack is larger.
const LARGEST_STACK: u64 = 2 << 20;
/// Frames of the kernel's own functions between a fault and the bridge take less than this, in bytes.
const LARGEST_FRAMES: u64 = 32 << 10;
/// A bridge puts at most this many words between its own frame and the caller's return address.
const BRIDGE_WORDS: usize = 24;

impl Kernel {
    /// Takes a fault from the platform's handler, which runs on a stack of its own.
    ///
    /// A WARN is printed and the code goes on; an instruction with an exception-table entry goes on at its fix-up; port
    /// access and one to a device's window go to the device. Everything else is an oops that kills the task, or stops the kernel when the scheduler or the
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
        if trap == Trap::GeneralProtection && emulate::port_access(self, registers) {
            return Verdict::Resume;
        }
        if let Trap::PageFault { address, fetch: false, .. } = trap
            && self.platform.regions().windows.contains(&address)
            && self.window_access(address, registers)
        {
            return Verdict::Resume;
        }
        let task = self.tasks.current();
        if let Some((error, headline)) = self.wrong_access(trap, registers) {
            self.modules.taint(DIED);
            let MemoryError { reason, location, trace, .. } = error.clone();
            self.report_wrong_access(error, &headline, registers);
            self.oopses.lock().push(Oops { reason, location, task, trace });
            return if task.0 == 0 { Verdict::Halt } else { Verdict::Kill };
        }
        let number = self.oopses.lock().len() + 1;
        let headline = self.headline(trap, registers, number);
        let location = self.location(registers);
        let trace = self.trace(registers);
        // The report's RIP line says where; the trace below it says who called.
        let callers = trace.iter().position(|line| line.trim_start_matches("? ") != location);
        self.print_oops(
            &headline,
            trap,
            registers,
            &location,
            trace.get(callers.unwrap_or(trace.len())..).unwrap_or(&[]),
        );
        self.modules.taint(DIED);
        let reason =
            headline.into_iter().map(|(_, line)| line).find(|line| line != report::CUT_HERE).unwrap_or_default();
        self.oopses.lock().push(Oops { reason, location, task, trace });
        if task.0 == 0 { Verdict::Halt } else { Verdict::Kill }
    }

    /// The oopses so far.
    pub fn oopses(&self) -> Vec<Oops> {
        self.oopses.lock().clone()
    }

    /// Reports something wrong that the kernel found by itself (`BUG()` inside a function) and kills the running task.
    pub fn bug(&'static self, reason: &str, caller: u64) -> ! {
        let trace = self.trace_from_here(caller);
        let number = self.oopses.lock().len() + 1;
        let location = self.symbolise_return(caller);
        self.print_bug(reason, number, &location, &trace);
        self.modules.taint(DIED);
        self.oopses.lock().push(Oops { reason: reason.into(), location, task: self.tasks.current(), trace });
        if self.tasks.current().0 == 0 {
            self.platform.halt(reason);
        }
        crate::task_died()
    }

    /// Prints a warning as WARN does and goes on. `caller` 0: no module has called the kernel.
    pub fn warn(&'static self, reason: &str, caller: u64) {
        let (location, trace) = match caller {
            0 => ("kernel".into(), Vec::new()),
            _ => (self.symbolise_return(caller), self.trace_from_here(caller)),
        };
        self.print_warning(&[report::CUT_HERE, reason], "", &location, None, &trace);
        self.modules.taint(WARNED);
    }

    /// Prints a complaint at `level` and where the running task is, and goes on.
    pub fn complain(&'static self, level: u8, complaint: &str, caller: u64) {
        let trace = self.trace_from_here(caller);
        self.print_place(level, complaint, &trace);
        self.modules.taint(WARNED);
    }

    /// Prints where a task that is not going on is, and `why` that is wrong.
    pub fn report_hung(&'static self, id: TaskId, why: &str) {
        let Some(context) = self.tasks.context(id) else { return };
        let Registers { rip: ip, rsp: sp, rbp: bp, .. } = self.platform.saved_registers(context);
        let trace = self.trace_from(Frame { ip, sp, bp, exact: true, scratch: None }, id);
        let name = self.tasks.name(id).unwrap_or_default();
        let reason = format!("INFO: task {name}:{} {why}", id.0);
        self.print_hung(&reason, &trace);
        // The innermost calls are the kernel's own and have no names.
        let names = || trace.iter().map(|line| line.trim_start_matches("? "));
        let location = names().find(|line| !line.starts_with("0x")).or(names().next()).unwrap_or_default().into();
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
        format!("{address:#x}")
    }

    /// Where a fault happened; in the kernel's own code, the function that the module had called.
    fn location(&self, registers: &Registers) -> String {
        let known = self.modules.at(registers.rip).is_some();
        let bridge = |address| self.worlds().into_iter().find_map(|world| world.name_of(address));
        if known || bridge(registers.rip).is_some() || self.platform.read(registers.rip, &mut [0]).is_err() {
            return self.symbolise(registers.rip);
        }
        let end = registers.rsp.saturating_add(LARGEST_FRAMES);
        let called = self.next_bridge(registers.rsp, end).and_then(|(_, word)| bridge(word).map(|found| (word, found)));
        let caller = self.calling_frame(registers.rsp, end);
        match (called, caller) {
            // An older call may have left its traces; this one is the one when the module's call leads there.
            (Some((_, (name, _))), Some(caller)) if self.called_from(caller.ip) == Some(name) => {
                format!("{name} [kernel]")
            }
            _ => self.symbolise(registers.rip),
        }
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
            let location = self.symbolise(registers.rip);
            let line: &[&str] = if Self::draws_line(bug.flags) { &[report::CUT_HERE] } else { &[] };
            let callers = trace.get(1..).unwrap_or(&[]);
            self.print_warning(line, &format!("{place} "), &location, Some(registers), callers);
            self.modules.taint(WARNED);
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

    fn absent_name(&self, address: u64) -> Option<Vec<u8>> {
        if !self.platform.regions().absent.contains(&address) {
            return None;
        }
        self.worlds().into_iter().find_map(|world| world.absent_at(address))
    }

    /// File and line of a BUG, and its flags.
    fn bug_place(&self, address: u64) -> Option<(String, u16)> {
        let linked = self.modules.at(address)?.linked();
        let bug = linked.bug_at(address)?;
        Some((format!("{}:{}", self.string_at(bug.file), bug.line), bug.flags))
    }

    fn string_at(&self, address: u64) -> String {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while bytes.len() < 256 && self.platform.read(address + bytes.len() as u64, &mut byte).is_ok() && byte[0] != 0 {
            bytes.push(byte[0]);
        }
        bytes.to_str_lossy().into_owned()
    }

    /// What the kernel calls itself: the release its modules were built for, when it takes a Linux kernel's.
    pub fn release(&self) -> &str {
        self.linux_world().map_or(&self.options.release, |world| world.release())
    }

    /// The return addresses on the running stack, from the call that came from `caller`.
    fn trace_from_here(&'static self, caller: u64) -> Vec<String> {
        let Some(context) = self.tasks.context(self.tasks.current()) else { return Vec::new() };
        let stack = self.platform.stack_of(context);
        // The call's return address is on the stack, above this function's own frame, and below it the caller's frame pointer,
        // which a bridge put there. The functions in between have copies of the address: the right place is the one from which
        // the stack can be followed.
        let marker = 0u8;
        let here = (core::ptr::from_ref(&marker).addr() as u64).next_multiple_of(8);
        let places = (here.max(stack.start)..stack.end).step_by(8).filter(|&at| self.word(at) == Some(caller));
        let frame =
            |at: u64| Frame { ip: caller, sp: at + 8, bp: self.word(at - 8).unwrap_or(0), exact: false, scratch: None };
        let tables = self.unwind_tables();
        let mut last = Frame { sp: stack.end, ..frame(stack.end) };
        for at in places {
            last = frame(at);
            if self.caller_of(&last, &tables, stack.end).is_some() {
                break;
            }
        }
        self.trace_from(last, self.tasks.current())
    }

    pub(crate) fn unwind_tables(&self) -> Vec<Table> {
        self.modules.all().iter().filter_map(|module| module.linked().orc).collect()
    }

    /// The caller's frame, by unwind tables or, in modules that have none, by frame pointers.
    fn caller_of(&self, frame: &Frame, tables: &[Table], end: u64) -> Option<Frame> {
        let mut read = |address: u64, into: &mut [u8]| self.platform.read(address, into).is_ok();
        self.caller_by_tables(frame, tables, &mut read).or_else(|| self.step_frame_pointer(frame, end))
    }

    /// The caller's frame by unwind tables.
    pub(crate) fn caller_by_tables(
        &self,
        frame: &Frame,
        tables: &[Table],
        read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
    ) -> Option<Frame> {
        let next = Unwinder::new(*frame, tables, read).step().ok();
        next.filter(|next| self.is_return_address(next.ip))
    }

    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.platform.read(address, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn trace(&'static self, registers: &Registers) -> Vec<String> {
        let &Registers { rip: ip, rsp: sp, rbp: bp, .. } = registers;
        self.trace_from(Frame { ip, sp, bp, exact: true, scratch: None }, self.tasks.current())
    }

    /// From `frame` outwards, on the stack of `task`.
    fn trace_from(&'static self, mut frame: Frame, task: TaskId) -> Vec<String> {
        let tables = self.unwind_tables();
        let stack = self.tasks.context(task).map_or(0..0, |context| self.platform.stack_of(context));
        let mut lines = Vec::new();
        let mut certain = true;
        if frame.ip == 0
            && let Some(ip) = self.word(frame.sp).filter(|&word| self.is_return_address(word))
        {
            // A call of null: nothing has been pushed since.
            frame = Frame { ip, sp: frame.sp + 8, exact: false, ..frame };
        }
        if self.modules.at(frame.ip).is_none() {
            lines.push(format!("? {}", self.symbolise(frame.ip)));
            match self.calling_frame(frame.sp, stack.end) {
                Some(next) => (frame, certain) = (next, false),
                None => return lines,
            }
        }
        while lines.len() < DEEPEST {
            let name = if frame.exact { self.symbolise(frame.ip) } else { self.symbolise_return(frame.ip) };
            lines.push(format!("{}{name}", if certain { "" } else { "? " }));
            match self.caller_of(&frame, &tables, stack.end) {
                Some(next) => (frame, certain) = (next, true),
                None => match self.calling_frame(frame.sp, stack.end) {
                    Some(next) => (frame, certain) = (next, false),
                    None => break,
                },
            }
        }
        lines
    }

    /// The caller's frame, when the frame pointer leads to a return address into module text.
    fn step_frame_pointer(&self, frame: &Frame, end: u64) -> Option<Frame> {
        let bp = frame.bp;
        if !(frame.sp..end).contains(&bp) {
            return None;
        }
        let (saved, ip) = (self.word(bp)?, self.word(bp + 8)?);
        self.is_return_address(ip).then_some(Frame { ip, sp: bp + 16, bp: saved, exact: false, scratch: None })
    }

    /// As [`Kernel::symbolise`] for a return address: a call may be the last instruction of its function, so the name is that of
    /// the call and the distance that of the return.
    pub fn symbolise_return(&self, address: u64) -> String {
        match self.modules.symbolise(address.wrapping_sub(1)) {
            Some((name, distance, size, module)) => format!("{name}+{:#x}/{size:#x} [{module}]", distance + 1),
            None => self.symbolise(address),
        }
    }

    pub(crate) fn is_return_address(&self, word: u64) -> bool {
        let last = word.wrapping_sub(1);
        let in_text = self.modules.at(last).is_some_and(|module| module.linked().text_contains(last).is_some());
        in_text && self.follows_call(word)
    }

    /// The next word on the stack that is a return address into a bridge, and where it is.
    fn next_bridge(&self, from: u64, end: u64) -> Option<(u64, u64)> {
        let worlds = self.worlds();
        let text = &self.platform.regions().text;
        let words = self.stack_words(from, end);
        let mut returns = words.filter(|(_, word)| text.contains(word) && self.follows_call(*word));
        returns.find(|(_, word)| worlds.iter().any(|world| world.name_of(*word).is_some()))
    }

    /// The module frame that called into the kernel's code, which is running at `from`: behind the bridge it went through.
    fn calling_frame(&self, from: u64, end: u64) -> Option<Frame> {
        let frame = |at: u64| {
            let ip = self.word(at)?;
            let bp = self.word(at - 8).unwrap_or(0);
            self.is_return_address(ip).then_some(Frame { ip, sp: at + 8, bp, exact: false, scratch: None })
        };
        self.next_bridge(from, end)
            .and_then(|(at, _)| (at + 8..end).step_by(8).take(BRIDGE_WORDS).find_map(frame))
            .or_else(|| self.next_module_frame(from, end))
    }

    /// The next word on the stack that is a return address into module text.
    fn next_module_frame(&self, from: u64, end: u64) -> Option<Frame> {
        let mut words = self.stack_words(from, end);
        let (at, ip) = words.find(|(_, word)| self.is_return_address(*word))?;
        Some(Frame { ip, sp: at + 8, bp: 0, exact: false, scratch: None })
    }

    /// The words of a stack from `from` on, with their places. Pages that cannot be read are left out, such as the guard page
    /// that a stack pointer may be in; a stack pointer that was lost points anywhere, and leads to nothing.
    fn stack_words(&self, from: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let mut next = if end.saturating_sub(from) > LARGEST_STACK { end } else { from.next_multiple_of(8) };
        core::iter::from_fn(move || {
            while next + 8 <= end {
                let at = next;
                let word = self.word(at);
                next = if word.is_some() { at + 8 } else { (at + 1).next_multiple_of(4096) };
                if let Some(word) = word {
                    return Some((at, word));
                }
            }
            None
        })
    }

    /// Where the direct call before the return address `address` leads.
    fn call_target(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 5];
        self.platform.read(address.checked_sub(5)?, &mut bytes).ok()?;
        let [0xe8, distance @ ..] = bytes else { return None };
        Some(address.wrapping_add_signed(i32::from_le_bytes(distance).into()))
    }

    /// Whether the bytes before `address` are a call: `e8 rel32`, or `ff /2` in its short forms.
    fn follows_call(&self, address: u64) -> bool {
        let mut bytes = [0; 7];
        let before = address.checked_sub(bytes.len() as u64);
        if before.is_none_or(|before| self.platform.read(before, &mut bytes).is_err()) {
            return false;
        }
        bytes[2] == 0xe8 || (1..6).any(|at| bytes[at] == 0xff && bytes[at + 1] >> 3 & 7 == 2)
    }
}
