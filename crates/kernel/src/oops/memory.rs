//! Wrong uses of heap memory: what was found, and the report that is printed, with the calls that allocated and freed the object.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{DIED, Oops, emulate, report};
use crate::Kernel;
use crate::heap::{Allocation, Checks, FreeError};
use crate::trap::{Registers, Trap};

/// One wrong use of heap memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryError {
    /// `out-of-bounds`, `use-after-free`, `double-free`, `invalid-free`.
    pub kind: &'static str,
    /// The report's first line.
    pub reason: String,
    /// The address that was written to, read or freed.
    pub address: u64,
    /// The object that it was about: its first address and its size.
    pub object: Option<(u64, u64)>,
    /// Where it was done or found; empty when only the change was found, some time later.
    pub location: String,
    /// The calls that led there, innermost first.
    pub trace: Vec<String>,
    /// The calls that allocated the object, with the number of the task.
    pub allocated: Option<(u32, Vec<String>)>,
    /// The calls that freed it.
    pub freed: Option<(u32, Vec<String>)>,
}

/// The line above and below a report.
const RULE: &str = "==================================================================";
/// `KERN_ERR`.
const ERROR: u8 = 3;
/// Wrong uses that are kept for whoever asks; the log has all of them.
const KEPT: usize = 256;

impl MemoryError {
    /// About `object`, found by the call that returns to `caller` (0: by nobody's).
    pub(crate) fn about(
        kernel: &'static Kernel,
        kind: &'static str,
        reason: String,
        address: u64,
        object: Option<&Allocation>,
        caller: u64,
    ) -> Self {
        let trace = if caller == 0 { Vec::new() } else { kernel.trace_from_here(caller) };
        let location = if caller == 0 { String::new() } else { kernel.symbolise_return(caller) };
        let told = |which: usize| object.and_then(|object| kernel.tell_trail(object.trails[which]));
        let [allocated, freed] = [told(0), told(1)];
        let object = object.map(|object| (object.start, object.size));
        Self { kind, reason, address, object, location, trace, allocated, freed }
    }

    /// What follows the place where it was found.
    fn background(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (what, told) in [("Allocated", &self.allocated), ("Freed", &self.freed)] {
            let Some((task, calls)) = told else { continue };
            lines.push(format!("{what} by task {task}:"));
            lines.extend(calls.iter().map(|call| format!(" {call}")));
        }
        if let Some((start, size)) = self.object {
            let end = start + size;
            let (distance, place) = match self.address {
                address if address < start => (start - address, "to the left of"),
                address if address < end => (address - start, "inside of"),
                address => (address - end, "to the right of"),
            };
            lines.push(format!("The buggy address belongs to the object at {start:016x}"));
            lines.push(format!("The buggy address is located {distance} bytes {place}"));
            lines.push(format!(" {size}-byte region [{start:016x}, {end:016x})"));
        }
        lines
    }
}

impl Kernel {
    /// Prints and keeps it; whoever did it goes on.
    pub(crate) fn report_memory_error(&'static self, error: MemoryError) {
        let task = self.tasks.current();
        let mut lines = Vec::from([RULE.into(), error.reason.clone()]);
        if !error.trace.is_empty() {
            lines.push(self.task_line());
            lines.extend(report::trace_lines(&error.trace));
        }
        lines.extend(error.background());
        lines.push(RULE.into());
        self.print_at(ERROR, &lines);
        self.modules.taint(DIED);
        let oops = Oops {
            reason: error.reason.clone(),
            location: if error.location.is_empty() { "an unknown place".into() } else { error.location.clone() },
            task,
            trace: error.trace.clone(),
        };
        self.oopses.lock().push(oops);
        self.keep_memory_error(error);
    }

    fn keep_memory_error(&self, error: MemoryError) {
        let mut kept = self.memory_errors.lock();
        if kept.len() < KEPT {
            kept.push(error);
        }
    }

    /// Wrong uses of heap memory so far.
    pub fn memory_errors(&self) -> Vec<MemoryError> {
        self.memory_errors.lock().clone()
    }

    /// Ends the task that freed what it should not.
    pub fn bad_free(&'static self, error: FreeError, caller: u64) -> ! {
        let (kind, address) = match error {
            FreeError::AlreadyFree(address) => ("double-free", address),
            FreeError::Interior(address) | FreeError::Unknown(address) => ("invalid-free", address),
        };
        let reason = match self.heap.checks() {
            Checks::Pages => format!("BUG: KASAN: {kind} in {}", self.symbolise_return(caller)),
            Checks::Off | Checks::Zones => format!("BUG: {}: {error}", kind.replace('-', " ")),
        };
        let object = self.heap.find_any(address).map(|(object, _)| object);
        let error = MemoryError::about(self, kind, reason.clone(), address, object.as_ref(), caller);
        let mut lines = Vec::from([RULE.into(), reason.clone(), self.act("Free of", address)]);
        lines.extend(error.background());
        lines.push(RULE.into());
        self.print_at(ERROR, &lines);
        self.keep_memory_error(error);
        self.bug(&reason, caller)
    }

    /// `Write of size 4 at addr 000000010000a040 by task insmod/1`, when `what` is the first part of it.
    fn act(&self, what: &str, address: u64) -> String {
        let task = self.tasks.current();
        let name = self.tasks.name(task).unwrap_or_default();
        format!("{what} addr {address:016x} by task {name}/{}", task.0)
    }

    /// What a fault is about when it hit memory beside an object that has pages of its own, or a freed one.
    pub(super) fn wrong_access(&'static self, trap: Trap, registers: &Registers) -> Option<(MemoryError, Vec<String>)> {
        let Trap::PageFault { address: hit, write, fetch: false, .. } = trap else { return None };
        if self.heap.checks() != Checks::Pages || !self.heap.range().contains(&hit) {
            return None;
        }
        let access = emulate::access(self.platform, registers);
        // The processor names the first byte that is not there, which may be in the middle.
        let begins = |at: u64| at <= hit && hit - at < access.size.unwrap_or(1);
        let address = access.address.filter(|&at| begins(at)).unwrap_or(hit);
        let (object, is_free) = self.heap.nearest(hit)?;
        let (kind, word) =
            if is_free { ("use-after-free", "use-after-free") } else { ("out-of-bounds", "slab-out-of-bounds") };
        let trace = self.trace(registers);
        let location = self.location(registers);
        let reason = format!("BUG: KASAN: {word} in {location}");
        let told = |which: usize| self.tell_trail(object.trails[which]);
        let error = MemoryError {
            kind,
            reason: reason.clone(),
            // Where it leaves the object, when it begins inside.
            address: if is_free { address } else { hit },
            object: Some((object.start, object.size)),
            location,
            trace,
            allocated: told(0),
            freed: told(1),
        };
        let what = if write { "Write" } else { "Read" };
        let what = access.size.map_or_else(|| format!("{what} at"), |size| format!("{what} of size {size} at"));
        Some((error, Vec::from([RULE.into(), reason, self.act(&what, address)])))
    }

    /// Prints a wrong access and keeps it.
    pub(super) fn report_wrong_access(&'static self, error: MemoryError, headline: &[String], registers: &Registers) {
        let mut lines = headline.to_vec();
        lines.extend(self.machine_lines(&error.location, Some(registers)));
        lines.extend(report::trace_lines(&error.trace));
        lines.extend(error.background());
        lines.push(self.linked_in());
        lines.push(RULE.into());
        self.print_at(ERROR, &lines);
        self.keep_memory_error(error);
    }
}
