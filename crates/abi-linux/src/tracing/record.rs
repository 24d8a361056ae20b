//! What happened: the records that the probes of events write, until somebody reads them.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use ferrmod_kernel::kernel;
use ferrmod_kernel::lock::Lock;

use super::{trace_event_call, trace_event_file};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{instructions, ram, slab, tasks};

layout! {
    mod trace_event_buffer = "trace_event_buffer" { event, trace_file, entry }
    pub(super) mod trace_entry = "trace_entry" { type_ = "type", flags, preempt_count, pid }
}

/// Bytes of memory for records; when it is full, older ones go.
const ROOM: usize = 1 << 20;
/// Bytes in front of an entry that is being written, for its length.
const FRONT: u64 = 16;
/// `TRACE_FLAG_IRQS_OFF`, `TRACE_FLAG_HARDIRQ`, `TRACE_FLAG_SOFTIRQ`, `TRACE_FLAG_BH_OFF`
pub(super) const INTERRUPTS_OFF: u8 = 1;
pub(super) const IN_INTERRUPT: u8 = 8;
pub(super) const IN_SOFTIRQ: u8 = 0x10;
pub(super) const BOTTOM_HALVES_OFF: u8 = 0x80;

/// One record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The number of its event.
    pub(super) event: u16,
    /// Nanoseconds of the platform's clock.
    pub(super) time: u64,
    pub(super) cpu: u32,
    pub(super) pid: u32,
    /// What the task is called.
    pub(super) task: String,
    /// `struct trace_entry` and what the event says.
    pub(super) bytes: Vec<u8>,
}

impl Record {
    /// The memory that it takes.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.task.len() + self.bytes.len()
    }
}

/// The records, oldest first, how many there ever were, and the memory that they take.
#[derive(Default)]
struct Ring {
    records: VecDeque<Record>,
    written: u64,
    weight: usize,
}

impl Ring {
    /// Adds a record, and lets the oldest go that there is no room for any more.
    fn add(&mut self, record: Record) {
        self.weight += record.weight();
        self.written += 1;
        self.records.push_back(record);
        while self.weight > ROOM && self.take().is_some() {}
    }

    /// Takes the oldest record.
    fn take(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.weight -= record.weight();
        Some(record)
    }
}

static RING: Lock<Ring> = Lock::new(Ring { records: VecDeque::new(), written: 0, weight: 0 });
/// `tracing_on`
static IS_ON: AtomicBool = AtomicBool::new(true);

/// Whether anything is recorded.
pub(super) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Lets nothing be recorded, or everything again.
pub(super) fn switch(on: bool) {
    IS_ON.store(on, Ordering::Relaxed);
    wake();
}

/// The records that there are, and how many there ever were.
pub(super) fn all() -> (Vec<Record>, u64) {
    let ring = RING.lock();
    (ring.records.iter().cloned().collect(), ring.written)
}

/// Takes the oldest record.
pub(super) fn take() -> Option<Record> {
    RING.lock().take()
}

/// Forgets all records.
pub(super) fn clear() {
    *RING.lock() = Ring::default();
}

fn keep(record: Record) {
    RING.lock().add(record);
    wake();
}

/// What those wait for who want a record.
fn channel() -> u64 {
    &raw const RING as u64
}

fn wake() {
    kernel().tasks.wake_channel(channel(), usize::MAX);
}

/// Whether there is a record.
pub(super) fn is_there() -> bool {
    !RING.lock().records.is_empty()
}

/// Waits until somebody writes a record or lets nothing be recorded any more, at most until a time of the platform's clock.
pub(super) fn wait(until: Option<u64>) {
    kernel().tasks.block(until, Some(channel()));
}

/// What was off where an event happened, and how deep preemption was switched off.
fn context(count: u32, interrupts: bool) -> (u8, u8) {
    let serving = tasks::SOFTIRQ_OFFSET.cast_unsigned();
    let disabled = tasks::SOFTIRQ_MASK & !serving;
    let mut flags = if interrupts { 0 } else { INTERRUPTS_OFF };
    for (part, flag) in [(tasks::HARDIRQ_MASK, IN_INTERRUPT), (serving, IN_SOFTIRQ), (disabled, BOTTOM_HALVES_OFF)] {
        if count & part != 0 {
            flags |= flag;
        }
    }
    // The tracepoint itself has switched it off once.
    (flags, (count & tasks::PREEMPT_MASK).saturating_sub(1).min(15) as u8)
}

/// `void *trace_event_buffer_reserve(struct trace_event_buffer *, struct trace_event_file *, unsigned long len)`: a place for an entry.
extern "C" fn trace_event_buffer_reserve(buffer: u64, file: u64, length: u64) -> u64 {
    /// More than this no record has (`BUF_MAX_DATA_SIZE` is less).
    const MOST: u64 = 64 << 10;
    if !is_on() || length > MOST {
        return 0;
    }
    let length = length.max(trace_entry::SIZE.get());
    let block = slab::allocate(FRONT + length, 8, slab::ZERO, 0);
    if block == 0 {
        return 0;
    }
    let entry = block + FRONT;
    let (flags, depth) = context(tasks::preempt_count(), instructions::interrupts_enabled());
    // SAFETY: a probe's buffer and its event's file; a zeroed block with room for the entry.
    unsafe {
        ram::put(block, length);
        let call: u64 = trace_event_file::event_call.get(file);
        trace_entry::type_.set(entry, trace_event_call::number.get::<u32>(call) as u16);
        trace_entry::flags.set(entry, flags);
        trace_entry::preempt_count.set(entry, depth);
        trace_entry::pid.set(entry, kernel().tasks.current().0);
        trace_event_buffer::event.set(buffer, block);
        trace_event_buffer::trace_file.set(buffer, file);
        trace_event_buffer::entry.set(buffer, entry);
    }
    entry
}
/// `void trace_event_buffer_commit(struct trace_event_buffer *)`: the entry is written.
extern "C" fn trace_event_buffer_commit(buffer: u64) {
    let me = kernel().tasks.current();
    // SAFETY: a buffer that `trace_event_buffer_reserve` has filled.
    unsafe {
        let block: u64 = trace_event_buffer::event.get(buffer);
        let bytes = ram::bytes(block + FRONT, ram::get(block)).to_vec();
        let event: u16 = trace_entry::type_.get(block + FRONT);
        slab::release(block, 0);
        keep(Record {
            event,
            time: kernel().platform.now(),
            cpu: kernel().tasks.cpu(),
            pid: me.0,
            task: kernel().tasks.name(me).unwrap_or_default(),
            bytes,
        });
    }
}
/// `bool __trace_trigger_soft_disabled(struct trace_event_file *)`: nothing is triggered by events.
extern "C" fn __trace_trigger_soft_disabled() -> bool {
    false
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c trace_event_buffer_reserve, c trace_event_buffer_commit, k __trace_trigger_soft_disabled,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_records_do_not_take_more_memory_than_there_is_room() {
        let mut ring = Ring::default();
        let record = Record { event: 1, time: 0, cpu: 0, pid: 1, task: "task".into(), bytes: alloc::vec![0; 8] };
        let most = ROOM / record.weight();
        for _ in 0..2 * most {
            ring.add(record.clone());
        }
        assert_eq!((ring.records.len(), ring.written), (most, 2 * most as u64));
        while ring.take().is_some() {}
        assert_eq!(ring.weight, 0);
    }

    #[test]
    fn what_was_off_is_seen_in_the_count_of_preemption() {
        for (count, interrupts, expected) in [
            (0x1, true, (0, 0)),
            (0x3, true, (0, 2)),
            (0xff, true, (0, 15)),
            (0x1, false, (INTERRUPTS_OFF, 0)),
            (0x201, true, (BOTTOM_HALVES_OFF, 0)),
            (0x101, true, (IN_SOFTIRQ, 0)),
            (0x301, true, (IN_SOFTIRQ | BOTTOM_HALVES_OFF, 0)),
            (0x1_0101, false, (INTERRUPTS_OFF | IN_INTERRUPT | IN_SOFTIRQ, 0)),
        ] {
            assert_eq!(context(count, interrupts), expected, "{count:#x}");
        }
    }
}
