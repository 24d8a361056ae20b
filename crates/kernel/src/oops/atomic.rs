//! Sleeping where it is not allowed: what is printed, and kept for the verdict.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ferrmod_linker::orc::Frame;

use super::{DEEPEST, WARNED, report};
use crate::Kernel;
use crate::task::TaskId;

/// A call from module code into the kernel: where it returns to, and the stack and frame pointers there. With a stack pointer of 0
/// only the first is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The return address.
    pub ip: u64,
    /// The stack pointer after the return.
    pub sp: u64,
    /// The frame pointer.
    pub bp: u64,
}

/// Something that keeps a task from sleeping, and where it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The line above it.
    pub headline: String,
    /// Who it was when no call of a module's has begun it.
    pub by: String,
    /// Module code can begin it by adding to this per-CPU variable, without a call.
    pub counter: Option<u64>,
    /// The call that began it.
    pub call: Option<Call>,
    /// The words of the stack as they were then, from the call's stack pointer on.
    pub words: Vec<u64>,
}

/// A task that slept, or might have, where it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtomicSleep {
    /// The report's first line.
    pub reason: String,
    /// Where it was done.
    pub location: String,
    /// The task.
    pub task: TaskId,
    /// The calls that led there, innermost first.
    pub trace: Vec<String>,
    /// What forbids it, and the calls that led to its beginning.
    pub sections: Vec<(String, Vec<String>)>,
}

/// `KERN_ERR`.
const ERROR: u8 = 3;
/// As much of a function is looked at.
const LARGEST_FUNCTION: u64 = 64 << 10;
/// Reports that are kept for whoever asks; the log has all of them.
const KEPT: usize = 256;

impl Kernel {
    /// Prints that the running task sleeps, or might, where it must not, and goes on: `lines` are what is said first, with `modules`
    /// followed by what is loaded, `sections` what forbids it, `call` where it does.
    pub fn report_atomic_sleep(&'static self, lines: &[String], modules: bool, sections: &[Section], call: Call) {
        let trace = match call.sp {
            0 => self.trace_from_here(call.ip),
            _ => self.trace_from(
                Frame { ip: call.ip, sp: call.sp, bp: call.bp, exact: false, scratch: None },
                self.tasks.current(),
            ),
        };
        let told: Vec<(String, Vec<String>)> =
            sections.iter().map(|section| (section.headline.clone(), self.trace_of(section, call))).collect();
        self.print_at(ERROR, lines);
        if modules {
            self.print_at(report::WARNING, &[self.linked_in()]);
        }
        let mut all = Vec::new();
        for (headline, calls) in &told {
            all.push(headline.clone());
            all.extend(calls.iter().map(|call| format!(" {call}")));
        }
        self.print_at(ERROR, &all);
        let mut place = Vec::from([self.task_line()]);
        place.extend(report::trace_lines(&trace));
        self.print_at(report::WARNING, &place);
        self.modules.taint(WARNED);
        let mut kept = self.atomic_sleeps.lock();
        if kept.len() < KEPT {
            kept.push(AtomicSleep {
                reason: lines.first().cloned().unwrap_or_default(),
                location: trace.first().cloned().unwrap_or_default(),
                task: self.tasks.current(),
                trace,
                sections: told,
            });
        }
    }

    /// The tasks that slept where they must not, so far.
    pub fn atomic_sleeps(&self) -> Vec<AtomicSleep> {
        self.atomic_sleeps.lock().clone()
    }

    /// The calls that led to the beginning of a section, as seen from the `call` that sleeps in it.
    fn trace_of(&'static self, section: &Section, call: Call) -> Vec<String> {
        if let Some(begin) = section.call {
            return self.frames(begin, &section.words).iter().map(|frame| self.symbolise_return(frame.ip)).collect();
        }
        let frames = self.frames(call, &[]);
        let inline = |counter| {
            let found = frames.iter().enumerate();
            found.filter_map(move |(depth, frame)| Some((depth, self.adds_to(counter, frame.ip)?))).next()
        };
        let Some((depth, place)) = section.counter.and_then(inline) else { return Vec::from([section.by.clone()]) };
        let callers = frames.iter().skip(depth + 1).map(|frame| self.symbolise_return(frame.ip));
        core::iter::once(self.symbolise(place)).chain(callers).collect()
    }

    /// The frames from a call outwards, as far as unwind tables and frame pointers lead. What of its stack may have changed since is
    /// taken from `words`, which lay from its stack pointer on.
    fn frames(&self, call: Call, words: &[u64]) -> Vec<Frame> {
        let tables = self.unwind_tables();
        let context = self.tasks.context(self.tasks.current());
        let end = context.map_or(0, |context| self.platform.stack_of(context).end);
        let mut read = |address: u64, into: &mut [u8]| match words.get((address.wrapping_sub(call.sp) / 8) as usize) {
            Some(word) if address.is_multiple_of(8) && into.len() <= 8 => {
                into.copy_from_slice(&word.to_le_bytes()[..into.len()]);
                true
            }
            _ => self.platform.read(address, into).is_ok(),
        };
        let mut frames = Vec::from([Frame { ip: call.ip, sp: call.sp, bp: call.bp, exact: false, scratch: None }]);
        while let Some(&frame) = frames.last().filter(|frame| frame.sp != 0)
            && frames.len() < DEEPEST
        {
            let next = self.caller_by_tables(&frame, &tables, &mut read);
            let Some(next) = next.or_else(|| self.step_frame_pointer(&frame, end)) else { break };
            frames.push(next);
        }
        frames
    }

    /// The last instruction before `ip` in its function that adds to a per-CPU variable.
    fn adds_to(&self, counter: u64, ip: u64) -> Option<u64> {
        let (_, distance, ..) = self.modules.symbolise(ip.wrapping_sub(1))?;
        let start = ip - 1 - distance;
        let mut code = alloc::vec![0; (distance + 1).min(LARGEST_FUNCTION) as usize];
        self.platform.read(start, &mut code).ok()?;
        let is_it = |at: &usize| {
            let code = &code[*at..];
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, i32::from_le_bytes);
            let (length, displacement) = match *code {
                // incl %gs:counter(%rip); addl $number, %gs:counter(%rip) with one byte and with four.
                [0x65, 0xff, 0x05, ..] if code.len() >= 7 => (7, number(&code[3..7])),
                [0x65, 0x83, 0x05, ..] if code.len() >= 8 && code[7] < 0x80 => (8, number(&code[3..7])),
                [0x65, 0x81, 0x05, ..] if code.len() >= 11 && code[10] < 0x80 => (11, number(&code[3..7])),
                _ => return false,
            };
            (start + *at as u64 + length).wrapping_add_signed(displacement.into()) == counter
        };
        (0..code.len()).rev().find(is_it).map(|at| start + at as u64)
    }

    /// The name of the function that the call which returns to `address` calls, when it calls one directly.
    pub fn called_from(&self, address: u64) -> Option<&'static str> {
        let target = self.call_target(address)?;
        self.worlds().into_iter().find_map(|world| world.name_of(target)).map(|(name, _)| name)
    }
}
