//! `/sys/kernel/tracing`: the trace events that modules bring.
//!
//! A module's table names its events. One that is switched on has its module's own probe at its tracepoint, which writes a record
//! ([`record`]) that its module's own function turns into text ([`output`]). The events of the kernel itself are not there.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, Ordering};

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::module::Module;
use ferrmod_kernel::{Errno, Kernel};

use crate::boot::facts;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab};

mod files;
mod format;
pub(crate) mod output;
pub(crate) mod points;
pub(crate) mod record;

layout! {
    mod trace_event_call = "trace_event_call" { class, name, event, number = "event.type", print_fmt, flags }
    mod trace_event_class = "trace_event_class" { system, probe, reg, fields_array }
    mod trace_event_file = "trace_event_file" { event_call, flags, triggers }
}

/// `TRACE_REG_REGISTER`, `TRACE_REG_UNREGISTER`
const REGISTER: u32 = 0;
const UNREGISTER: u32 = 1;
/// `EVENT_FILE_FL_ENABLED`
const ENABLED: u64 = 1;
/// The number of the first event of a module: those below are the kernel's own.
const FIRST: u16 = 2000;
/// Where is looked first for the number of the next event.
static NEXT: AtomicU16 = AtomicU16::new(FIRST);

/// An event of a loaded module, with its names.
#[derive(Clone, Debug)]
struct Event {
    system: String,
    name: String,
    known: Known,
}

/// An event of a loaded module.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Its `struct trace_event_call`.
    call: u64,
    number: u16,
    /// The `struct trace_event_file`, while it is switched on.
    file: u64,
    /// The number of its module.
    module: u32,
    /// It has been switched on once, so that there may be records of it.
    was_on: bool,
}

/// The events, newest first. Their names are read when somebody looks.
static EVENTS: Lock<VecDeque<Known>> = Lock::new(VecDeque::new());

/// The events as they are now.
fn events() -> Vec<Event> {
    let known: Vec<Known> = EVENTS.lock().iter().copied().collect();
    let named = |known: Known| Event { system: system_of(known.call), name: name_of(known.call), known };
    known.into_iter().map(named).collect()
}

/// The system of an event.
fn system_of(call: u64) -> String {
    // SAFETY: an event of a loaded module and its C string.
    unsafe {
        let system: u64 = trace_event_class::system.get(trace_event_call::class.get(call));
        ram::c_string_or_empty(system).to_str_lossy().into_owned()
    }
}

/// What an event is called.
fn name_of(call: u64) -> String {
    /// `TRACE_EVENT_FL_TRACEPOINT`, where it is not an enumerator.
    const FROM_TRACEPOINT: u64 = 1 << 4;
    static MARK: spin::Once<u64> = spin::Once::new();
    let known = || facts().btf().enum_value("TRACE_EVENT_FL_TRACEPOINT");
    let mark = *MARK.call_once(|| known().map_or(FROM_TRACEPOINT, |value| value as u64));
    // SAFETY: an event of a loaded module and its C strings.
    unsafe {
        let name: u64 = trace_event_call::name.get(call);
        let is_point = u64::from(trace_event_call::flags.get::<u32>(call)) & mark != 0;
        let name = if is_point { points::tracepoint::name.get(name) } else { name };
        ram::c_string_or_empty(name).to_str_lossy().into_owned()
    }
}

/// The event with a number.
fn event_named(number: u16) -> Option<u64> {
    EVENTS.lock().iter().find(|event| event.number == number).map(|event| event.call)
}

/// The numbers that no event has, from `next` on.
fn free_numbers(taken: BTreeSet<u16>, next: u16) -> impl Iterator<Item = u16> {
    (next..=u16::MAX).chain(FIRST..next).filter(move |number| !taken.contains(number))
}

/// A module comes: its events have numbers. One for which there is none left is not there.
pub(crate) fn coming(module: &Arc<Module>) {
    format::remember(module);
    let table = module.linked().tables.trace_events;
    let taken = EVENTS.lock().iter().map(|event| event.number).collect();
    for (place, number) in (0..u64::from(table.count)).zip(free_numbers(taken, NEXT.load(Ordering::Relaxed))) {
        NEXT.store(number.checked_add(1).unwrap_or(FIRST), Ordering::Relaxed);
        // SAFETY: the module's table holds pointers to its events.
        let call = unsafe {
            let call: u64 = ram::get(table.address + 8 * place);
            trace_event_call::number.set(call, u32::from(number));
            call
        };
        EVENTS.lock().push_front(Known { call, number, file: 0, module: module.id, was_on: false });
    }
}

/// A module goes: so do its events, and the records of all events if one of them was ever switched on.
pub(crate) fn going(module: &Arc<Module>) {
    let own: Vec<Known> = EVENTS.lock().iter().filter(|event| event.module == module.id).copied().collect();
    for event in &own {
        // What cannot be switched off was not on.
        let _ = switch(event.number, false);
    }
    EVENTS.lock().retain(|event| event.module != module.id);
    format::forget(module);
    if own.iter().any(|event| event.was_on) {
        record::clear();
    }
}

/// Switches an event on or off; nothing happens to one that is so already.
///
/// # Errors
/// `ENODEV` when it is gone, `ENOMEM`, or what its tracepoint says.
fn switch(number: u16, on: bool) -> Result<(), Errno> {
    let event = EVENTS.lock().iter().find(|event| event.number == number).copied().ok_or(Errno::ENODEV)?;
    if (event.file != 0) == on {
        return Ok(());
    }
    let file = if on { make_file(event.call)? } else { event.file };
    // SAFETY: the event's own function, which takes the event, what to do and the file.
    let result = unsafe {
        let reg: u64 = trace_event_class::reg.get(trace_event_call::class.get(event.call));
        let what = if on { REGISTER } else { UNREGISTER };
        ram::call(reg, [event.call, what.into(), file]) as i32
    };
    let failed = Errno::from_return(result.into());
    if !on || failed.is_some() {
        // Another CPU may be in the probe, which has the file.
        crate::rcu::free_later(file);
    }
    if let Some(errno) = failed.filter(|_| on) {
        return Err(errno);
    }
    if let Some(event) = EVENTS.lock().iter_mut().find(|event| event.number == number) {
        event.file = if on { file } else { 0 };
        event.was_on |= on;
    }
    Ok(())
}

/// What stands between an event and its records.
fn make_file(call: u64) -> Result<u64, Errno> {
    let file = slab::allocate(trace_event_file::SIZE.get(), 8, slab::ZERO, 0);
    if file == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        trace_event_file::event_call.set(file, call);
        trace_event_file::flags.set(file, ENABLED);
        locks::init_list(trace_event_file::triggers.at(file));
    }
    Ok(file)
}

/// `int trace_event_reg(struct trace_event_call *, enum trace_reg, void *)`: the probe of a class at the tracepoint of one of its events.
extern "C" fn trace_event_reg(call: u64, what: u32, data: u64) -> i32 {
    // SAFETY: an event of a module, which is one of a tracepoint.
    let (point, probe): (u64, u64) =
        unsafe { (trace_event_call::name.get(call), trace_event_class::probe.get(trace_event_call::class.get(call))) };
    match what {
        REGISTER => points::tracepoint_probe_register(point, probe, data),
        UNREGISTER => {
            points::tracepoint_probe_unregister(point, probe, data);
            0
        }
        // Nobody measures performance here.
        _ => Errno::EOPNOTSUPP.to_return(),
    }
}
/// `int trace_event_raw_init(struct trace_event_call *)`: a module's events are numbered when it comes.
extern "C" fn trace_event_raw_init(_call: u64) -> i32 {
    0
}

/// Adds the directory.
pub(crate) fn begin(kernel: &Kernel) {
    kernel.files.mount("/sys/kernel/tracing", Arc::new(files::Tracing));
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c trace_event_reg, k trace_event_raw_init];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_anew_and_end_when_all_are_taken() {
        let numbers: Vec<u16> = free_numbers([FIRST, 65_535].into(), 65_534).take(2).collect();
        assert_eq!(numbers, [65_534, FIRST + 1]);
        assert_eq!(free_numbers(BTreeSet::new(), FIRST).count(), 63_536);
        assert_eq!(free_numbers((FIRST..=u16::MAX).collect(), 3000).next(), None);
    }
}
