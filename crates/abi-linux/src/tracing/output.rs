//! Records as text: each event's own function of its module writes what it says, as on Linux.

use alloc::string::String;
use alloc::vec::Vec;

use ferrmod_kernel::bits;

use super::record::{self, Record, trace_entry};
use super::{event_named, trace_event_call};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{printf, ram, slab};

layout! {
    mod trace_iterator = "trace_iterator" { tmp_seq, seq, ent, ent_size, cpu, ts }
    mod trace_seq = "trace_seq" { buffer, seq, full }
    mod seq_buf = "seq_buf" { buffer, size, len }
    mod trace_event = "trace_event" { funcs }
    mod trace_event_functions = "trace_event_functions" { trace }
    mod trace_print_flags = "trace_print_flags" { mask, name }
}

/// `enum print_line_t`
const PARTIAL: i32 = 0;
const HANDLED: i32 = 1;
const UNHANDLED: i32 = 2;

/// Makes a text empty.
fn begin(seq: u64) {
    // SAFETY: a text of the kernel's or of an iterator.
    unsafe {
        let inner = trace_seq::seq.at(seq);
        seq_buf::buffer.set(inner, trace_seq::buffer.at(seq));
        seq_buf::size.set(inner, trace_seq::seq.at(0) - trace_seq::buffer.at(0));
        seq_buf::len.set(inner, 0u64);
        trace_seq::full.set(seq, 0u32);
    }
}

/// What a text says.
fn text(seq: u64) -> Vec<u8> {
    // SAFETY: as above; no more than the buffer has.
    unsafe {
        let inner = trace_seq::seq.at(seq);
        let (size, length): (u64, u64) = (seq_buf::size.get(inner), seq_buf::len.get(inner));
        ram::bytes(seq_buf::buffer.get(inner), length.min(size)).to_vec()
    }
}

/// Adds to a text; what does not fit makes it full, and nothing is added any more.
fn add(seq: u64, bytes: &[u8]) {
    // SAFETY: as above; the bytes fit.
    unsafe {
        if trace_seq::full.get::<u32>(seq) != 0 {
            return;
        }
        let inner = trace_seq::seq.at(seq);
        let (size, length): (u64, u64) = (seq_buf::size.get(inner), seq_buf::len.get(inner));
        if length + bytes.len() as u64 > size {
            trace_seq::full.set(seq, 1u32);
            return;
        }
        ram::bytes_mut(seq_buf::buffer.get::<u64>(inner) + length, bytes.len() as u64).copy_from_slice(bytes);
        seq_buf::len.set(inner, length + bytes.len() as u64);
    }
}

/// Adds a C string to a text; where it begins.
fn add_string(seq: u64, bytes: &[u8]) -> u64 {
    // SAFETY: as above.
    let begins = unsafe {
        let inner = trace_seq::seq.at(seq);
        seq_buf::buffer.get::<u64>(inner) + seq_buf::len.get::<u64>(inner)
    };
    add(seq, bytes);
    add(seq, b"\0");
    begins
}

/// `void trace_seq_printf(struct trace_seq *, const char *, ...)`, and with a `va_list`.
extern "C" fn trace_seq_vprintf(seq: u64, format: u64, list: u64) {
    add(seq, &printf::text_of(format, list));
}
extern "C" fn trace_seq_puts(seq: u64, from: u64) {
    // SAFETY: the caller's C string.
    add(seq, unsafe { ram::c_string(from) });
}
extern "C" fn trace_seq_putc(seq: u64, byte: u8) {
    add(seq, &[byte]);
}
extern "C" fn trace_seq_putmem(seq: u64, from: u64, length: u32) {
    // SAFETY: the caller's bytes.
    add(seq, unsafe { ram::bytes(from, length.into()) });
}
/// `enum print_line_t trace_handle_return(struct trace_seq *)`
extern "C" fn trace_handle_return(seq: u64) -> i32 {
    // SAFETY: the caller's text.
    if unsafe { trace_seq::full.get::<u32>(seq) } != 0 { PARTIAL } else { HANDLED }
}
/// `int trace_raw_output_prep(struct trace_iterator *, struct trace_event *)`: begins the text of an entry with its event's name.
extern "C" fn trace_raw_output_prep(iterator: u64, event: u64) -> i32 {
    let call = trace_event_call::event.container(event);
    // SAFETY: an iterator of ours with an entry, and the event of a module.
    unsafe {
        let entry: u64 = trace_iterator::ent.get(iterator);
        if u32::from(trace_entry::type_.get::<u16>(entry)) != trace_event_call::number.get::<u32>(call) {
            return UNHANDLED;
        }
        begin(trace_iterator::tmp_seq.at(iterator));
        let seq = trace_iterator::seq.at(iterator);
        add(seq, alloc::format!("{}: ", super::name_of(call)).as_bytes());
        trace_handle_return(seq)
    }
}
/// `void trace_event_printf(struct trace_iterator *, const char *, ...)`
extern "C" fn trace_event_printf(iterator: u64, format: u64, list: u64) {
    add(trace_iterator::seq.at(iterator), &printf::text_of(format, list));
}

/// The numbers and names of a table that ends with a null name.
///
/// # Safety
/// Such a table.
unsafe fn names(table: u64) -> impl Iterator<Item = (u64, &'static [u8])> {
    let mut at = table;
    core::iter::from_fn(move || {
        // SAFETY: the caller vouches for the table, whose strings are the module's.
        unsafe {
            let name: u64 = trace_print_flags::name.get(at);
            if name == 0 {
                return None;
            }
            let entry = (trace_print_flags::mask.get(at), ram::c_string(name));
            at += trace_print_flags::SIZE.get();
            Some(entry)
        }
    })
}

/// The names of the bits of a number between delimiters; what has no name is a number.
fn flags_text(mut flags: u64, delimiter: &[u8], names: impl Iterator<Item = (u64, &'static [u8])>) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for (mask, name) in names {
        // When none is left, a name of no bits does not stand for that.
        if flags != 0 && flags & mask == mask {
            parts.push(name.to_vec());
            flags &= !mask;
        }
    }
    if flags != 0 {
        parts.push(alloc::format!("{flags:#x}").into_bytes());
    }
    parts.join(delimiter)
}
/// `const char *trace_print_flags_seq(struct trace_seq *, const char *delim, unsigned long, const struct trace_print_flags *)`
extern "C" fn trace_print_flags_seq(seq: u64, delimiter: u64, flags: u64, table: u64) -> u64 {
    // SAFETY: the module's delimiter and table.
    unsafe { add_string(seq, &flags_text(flags, &ram::c_string_or_empty(delimiter), names(table))) }
}
/// `const char *trace_print_symbols_seq(struct trace_seq *, unsigned long, const struct trace_print_flags *)`
extern "C" fn trace_print_symbols_seq(seq: u64, value: u64, table: u64) -> u64 {
    // SAFETY: the module's table.
    let name = unsafe { names(table) }.find(|&(number, _)| number == value).map(|(_, name)| name.to_vec());
    add_string(seq, &name.unwrap_or_else(|| alloc::format!("{value:#x}").into_bytes()))
}

/// The number that up to eight bytes are.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Bits as the kernel prints them.
fn bitmask_text(bytes: &[u8]) -> String {
    let words: Vec<u64> = bytes.chunks(8).map(number).collect();
    bits::hex_text(&words, 8 * bytes.len())
}
/// `const char *trace_print_bitmask_seq(struct trace_seq *, void *, unsigned int bytes)`
extern "C" fn trace_print_bitmask_seq(seq: u64, from: u64, length: u32) -> u64 {
    // SAFETY: the module's bits.
    add_string(seq, bitmask_text(unsafe { ram::bytes(from, length.into()) }).as_bytes())
}
/// `const char *trace_print_hex_seq(struct trace_seq *, const unsigned char *, int length, bool concatenate)`
extern "C" fn trace_print_hex_seq(seq: u64, from: u64, length: i32, concatenate: bool) -> u64 {
    // SAFETY: the module's bytes.
    let bytes = unsafe { ram::bytes(from, length.max(0) as u64) };
    let parts: Vec<String> = bytes.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
    add_string(seq, parts.join(if concatenate { "" } else { " " }).as_bytes())
}
/// `const char *trace_print_array_seq(struct trace_seq *, const void *, int count, size_t size)`
extern "C" fn trace_print_array_seq(seq: u64, from: u64, count: i32, size: u64) -> u64 {
    // SAFETY: the module's array.
    let bytes = unsafe { ram::bytes(from, count.max(0) as u64 * size.min(8)) };
    let parts: Vec<String> =
        bytes.chunks_exact(size.clamp(1, 8) as usize).map(|one| alloc::format!("{:#x}", number(one))).collect();
    add_string(seq, alloc::format!("{{{}}}", parts.join(",")).as_bytes())
}

/// What an event says in a record, with its name; raw where its event is gone or writes nothing.
fn said(record: &Record) -> Vec<u8> {
    let raw = || {
        let bytes: Vec<String> = record.bytes.iter().map(|byte| alloc::format!("{byte:02x}")).collect();
        alloc::format!("# event {}: {}\n", record.event, bytes.join(" ")).into_bytes()
    };
    let Some(call) = event_named(record.event) else { return raw() };
    let length = record.bytes.len() as u64;
    let iterator = slab::allocate(trace_iterator::SIZE.get() + length, 8, slab::ZERO, 0);
    if iterator == 0 {
        return raw();
    }
    let entry = iterator + trace_iterator::SIZE.get();
    // SAFETY: a zeroed block with room for the iterator and the entry, and the event's function, which takes them.
    let said = unsafe {
        ram::bytes_mut(entry, length).copy_from_slice(&record.bytes);
        let seq = trace_iterator::seq.at(iterator);
        begin(seq);
        begin(trace_iterator::tmp_seq.at(iterator));
        trace_iterator::ent.set(iterator, entry);
        trace_iterator::ent_size.set(iterator, length as u32);
        trace_iterator::cpu.set(iterator, record.cpu);
        trace_iterator::ts.set(iterator, record.time);
        let event = trace_event_call::event.at(call);
        let functions: u64 = trace_event::funcs.get(event);
        let function: u64 = if functions == 0 { 0 } else { trace_event_functions::trace.get(functions) };
        let result = if function == 0 { UNHANDLED } else { ram::call(function, [iterator, 0, event]) as i32 };
        if result == HANDLED { text(seq) } else { raw() }
    };
    slab::release(iterator, 0);
    said
}

/// The five signs for what was off where an event happened.
fn signs(flags: u8, depth: u8) -> String {
    let has = |flag: u8| flags & flag != 0;
    let off = match (has(record::INTERRUPTS_OFF), has(record::BOTTOM_HALVES_OFF)) {
        (true, true) => 'D',
        (true, false) => 'd',
        (false, true) => 'b',
        (false, false) => '.',
    };
    let interrupt = match (has(record::IN_INTERRUPT), has(record::IN_SOFTIRQ)) {
        (true, true) => 'H',
        (true, false) => 'h',
        (false, true) => 's',
        (false, false) => '.',
    };
    let depth = if depth == 0 { ".".into() } else { alloc::format!("{depth:x}") };
    alloc::format!("{off}.{interrupt}{depth}.")
}

/// A record as a line of `trace`.
pub(super) fn line(record: &Record) -> Vec<u8> {
    let field = |field: &crate::field::Field| record.bytes.get(field.at(0) as usize).copied().unwrap_or(0);
    let signs = signs(field(&trace_entry::flags), field(&trace_entry::preempt_count));
    let microseconds = record.time.saturating_add(500) / 1000;
    let mut line = alloc::format!(
        "{:>16}-{:<7} [{:03}] {signs} {:5}.{:06}: ",
        record.task,
        record.pid,
        record.cpu,
        microseconds / 1_000_000,
        microseconds % 1_000_000
    )
    .into_bytes();
    line.extend(said(record));
    line
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    v2 trace_seq_printf = trace_seq_vprintf, c trace_seq_vprintf, c trace_seq_puts, c trace_seq_putc, c trace_seq_putmem,
    c trace_handle_return, c trace_raw_output_prep, v2 trace_event_printf, c trace_print_flags_seq, c trace_print_symbols_seq,
    c trace_print_bitmask_seq, c trace_print_hex_seq, c trace_print_array_seq,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_names_or_are_numbers() {
        let names = || [(1, &b"one"[..]), (6, b"both"), (8, b"eight")].into_iter();
        assert_eq!(flags_text(0, b"|", names()), b"");
        assert_eq!(flags_text(7, b"|", names()), b"one|both");
        assert_eq!(flags_text(0x2b, b"|", names()), b"one|eight|0x22");
        assert_eq!(flags_text(2, b"|", names()), b"0x2");
        let with_none = || [(0, &b"none"[..]), (1, b"one")].into_iter();
        assert_eq!(flags_text(0, b"|", with_none()), b"");
        assert_eq!(flags_text(1, b"|", with_none()), b"none|one");
    }

    #[test]
    fn masks_are_groups_of_thirty_two_bits() {
        assert_eq!(bitmask_text(&[0xff, 0x80, 0, 0, 1, 0, 0, 0]), "00000001,000080ff");
        assert_eq!(bitmask_text(&[1, 2, 3, 4, 5]), "05,04030201");
        assert_eq!(bitmask_text(&[]), "");
    }

    #[test]
    fn signs_say_what_was_off() {
        assert_eq!(signs(0, 0), ".....");
        assert_eq!(signs(record::INTERRUPTS_OFF | record::IN_SOFTIRQ, 2), "d.s2.");
        assert_eq!(signs(record::BOTTOM_HALVES_OFF, 1), "b..1.");
    }
}
