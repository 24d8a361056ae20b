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

/// Bytes of records that are kept; older ones go.
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

/// The records, oldest first, and how many there ever were.
#[derive(Default)]
pub(super) struct Ring {
    pub(super) records: VecDeque<Record>,
    pub(super) written: u64,
    bytes: usize,
}

static RING: Lock<Ring> = Lock::new(Ring { records: VecDeque::new(), written: 0, bytes: 0 });
/// `tracing_on`
static IS_ON: AtomicBool = AtomicBool::new(true);

/// Whether anything is recorded.
pub(super) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Lets nothing be recorded, or everything again.
pub(super) fn switch(on: bool) {
    IS_ON.store(on, Ordering::Relaxed);
}

/// The records that there are, and how many there ever were.
pub(super) fn all() -> (Vec<Record>, u64) {
    let ring = RING.lock();
    (ring.records.iter().cloned().collect(), ring.written)
}

/// Takes the oldest record.
pub(super) fn take() -> Option<Record> {
    let mut ring = RING.lock();
    let record = ring.records.pop_front()?;
    ring.bytes -= record.bytes.len();
    Some(record)
}

/// Forgets all records.
pub(super) fn clear() {
    *RING.lock() = Ring::default();
}

fn keep(record: Record) {
    let mut ring = RING.lock();
    ring.bytes += record.bytes.len();
    ring.written += 1;
    ring.records.push_back(record);
    while ring.bytes > ROOM {
        let Some(oldest) = ring.records.pop_front() else { break };
        ring.bytes -= oldest.bytes.len();
    }
}

/// What was off where an event happened, and how deep preemption was switched off.
fn context() -> (u8, u8) {
    /// `SOFTIRQ_OFFSET`, `SOFTIRQ_MASK`, `HARDIRQ_MASK`, `PREEMPT_MASK`
    const SERVING: u32 = 0x100;
    const SOFT: u32 = 0xff00;
    const HARD: u32 = 0xf_0000;
    const DEPTH: u32 = 0xff;
    let count = tasks::preempt_count();
    let mut flags = 0;
    if !instructions::interrupts_enabled() {
        flags |= INTERRUPTS_OFF;
    }
    if count & HARD != 0 {
        flags |= IN_INTERRUPT;
    }
    if count & SERVING != 0 {
        flags |= IN_SOFTIRQ;
    } else if count & SOFT != 0 {
        flags |= BOTTOM_HALVES_OFF;
    }
    // The tracepoint itself has switched it off once.
    (flags, (count & DEPTH).saturating_sub(1).min(15) as u8)
}

/// `void *trace_event_buffer_reserve(struct trace_event_buffer *, struct trace_event_file *, unsigned long len)`: a place for an entry.
extern "C" fn trace_event_buffer_reserve(buffer: u64, file: u64, length: u64) -> u64 {
    /// More than this no record has (`BUF_MAX_DATA_SIZE` is less).
    const MOST: u64 = 64 << 10;
    if !is_on() || length > MOST {
        return 0;
    }
    let block = slab::allocate(FRONT + length.max(trace_entry::SIZE.get()), 8, slab::ZERO, 0);
    if block == 0 {
        return 0;
    }
    let entry = block + FRONT;
    let (flags, depth) = context();
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
