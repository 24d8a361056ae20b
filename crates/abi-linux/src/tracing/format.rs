//! What a record of an event looks like, in words: the file `format`.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::module::Module;

use super::{Event, trace_event_call, trace_event_class};
use crate::field::layout;
use crate::ram;

layout! {
    mod trace_event_fields = "trace_event_fields" { type_ = "type", name, size, align, is_signed }
    mod trace_eval_map = "trace_eval_map" { system, eval_string, eval_value }
}

/// One member of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    kind: String,
    name: String,
    offset: u32,
    size: u32,
    is_signed: bool,
}

/// What every record begins with (`struct trace_entry`).
fn common() -> Vec<Member> {
    let member = |kind: &str, name: &str, offset: u32, size: u32, is_signed: bool| Member {
        kind: kind.into(),
        name: name.into(),
        offset,
        size,
        is_signed,
    };
    alloc::vec![
        member("unsigned short", "common_type", 0, 2, false),
        member("unsigned char", "common_flags", 2, 1, false),
        member("unsigned char", "common_preempt_count", 3, 1, false),
        member("int", "common_pid", 4, 4, true),
    ]
}

/// The members that the class of an event names.
fn members(call: u64) -> Vec<Member> {
    /// Bytes that every record begins with.
    const BEGIN: u32 = 8;
    let mut out = Vec::new();
    let mut offset = BEGIN;
    // SAFETY: the class of an event and its array, which ends with a member without a type.
    unsafe {
        let mut at: u64 = trace_event_class::fields_array.get(trace_event_call::class.get(call));
        while at != 0 && trace_event_fields::type_.get::<u64>(at) != 0 {
            let text = |field: &crate::field::Field| ram::c_string_or_empty(field.get(at)).to_str_lossy().into_owned();
            let (size, align): (u32, u32) = (trace_event_fields::size.get(at), trace_event_fields::align.get(at));
            offset = offset.checked_next_multiple_of(align.max(1)).unwrap_or(offset);
            out.push(Member {
                kind: text(&trace_event_fields::type_),
                name: text(&trace_event_fields::name),
                offset,
                size,
                is_signed: trace_event_fields::is_signed.get::<u32>(at) != 0,
            });
            offset = offset.saturating_add(size);
            at += trace_event_fields::SIZE.get();
        }
    }
    out
}

/// A member as C declares it: the number of an array's elements behind its name, unless it is only the place of an array.
fn declared(member: &Member) -> String {
    let is_place = member.kind.starts_with("__data_loc") || member.kind.starts_with("__rel_loc");
    match member.kind.find('[').filter(|_| !is_place) {
        Some(at) => alloc::format!("{} {}{}", &member.kind[..at], member.name, &member.kind[at..]),
        None => alloc::format!("{} {}", member.kind, member.name),
    }
}

fn line(member: &Member) -> String {
    let Member { offset, size, is_signed, .. } = member;
    alloc::format!("\tfield:{};\toffset:{offset};\tsize:{size};\tsigned:{};\n", declared(member), u8::from(*is_signed))
}

/// An enumerator that events of a system name.
struct Enumerator {
    system: String,
    name: String,
    value: i64,
}

/// The enumerators of each module, by its number: they lie in memory that is freed when its init is done.
static ENUMERATORS: Lock<BTreeMap<u32, Vec<Enumerator>>> = Lock::new(BTreeMap::new());

/// Remembers the enumerators of a module that comes.
pub(super) fn remember(module: &Module) {
    let table = module.linked().tables.trace_evals;
    let mut all = Vec::new();
    for place in 0..u64::from(table.count) {
        // SAFETY: the module's table holds pointers to its enumerators, and its init is still to be called.
        unsafe {
            let map: u64 = ram::get(table.address + 8 * place);
            let text = |field: &crate::field::Field| ram::c_string_or_empty(field.get(map)).to_str_lossy().into_owned();
            all.push(Enumerator {
                system: text(&trace_eval_map::system),
                name: text(&trace_eval_map::eval_string),
                value: trace_eval_map::eval_value.get(map),
            });
        }
    }
    if !all.is_empty() {
        ENUMERATORS.lock().insert(module.id, all);
    }
}

/// Forgets them.
pub(super) fn forget(module: &Module) {
    ENUMERATORS.lock().remove(&module.id);
}

/// The enumerators that an event may name.
fn evaluated(event: &Event) -> Vec<(String, i64)> {
    let all = ENUMERATORS.lock();
    let own = all.get(&event.known.module).into_iter().flatten().filter(|one| one.system == event.system);
    own.map(|one| (one.name.clone(), one.value)).collect()
}

/// A format with the values of enumerators in place of their names, but for those in strings and behind `.` or `->`.
fn with_values(format: &str, values: &[(String, i64)]) -> String {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let (mut out, mut rest, mut quoted) = (String::new(), format, false);
    while let Some(first) = rest.chars().next() {
        if first == '\\' && quoted {
            let end = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
            out += &rest[..end];
            rest = &rest[end..];
            continue;
        }
        quoted ^= first == '"';
        if quoted || !is_word(first) {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let is_member = out.ends_with('.') || out.ends_with("->");
        match values.iter().find(|(name, _)| name == word && !is_member) {
            Some((_, value)) => out += &alloc::format!("{value}"),
            None => out += word,
        }
        rest = behind;
    }
    out
}

/// The file.
pub(super) fn text(event: &Event) -> String {
    let mut out = alloc::format!("name: {}\nID: {}\nformat:\n", event.name, event.known.number);
    common().iter().for_each(|member| out += &line(member));
    out.push('\n');
    members(event.known.call).iter().for_each(|member| out += &line(member));
    // SAFETY: the event's C string.
    let format = unsafe { ram::c_string_or_empty(trace_event_call::print_fmt.get(event.known.call)) };
    out += &alloc::format!("\nprint fmt: {}\n", with_values(&format.to_str_lossy(), &evaluated(event)));
    out
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use super::*;

    #[test]
    fn arrays_are_declared_as_in_c() {
        let member = |kind: &str| Member { kind: kind.into(), name: "x".into(), offset: 8, size: 4, is_signed: true };
        assert_eq!(line(&member("char[16]")), "\tfield:char x[16];\toffset:8;\tsize:4;\tsigned:1;\n");
        assert_eq!(line(&member("__data_loc char[]")), "\tfield:__data_loc char[] x;\toffset:8;\tsize:4;\tsigned:1;\n");
        assert_eq!(declared(&member("unsigned long")), "unsigned long x");
    }

    #[test]
    fn enumerators_are_numbers_outside_of_strings() {
        let values = [("ONE".to_owned(), 1), ("TWO".to_owned(), 2)];
        let format = r#""ONE \"TWO", REC->ONE, ONE | TWOS, { TWO, "TWO" }"#;
        assert_eq!(with_values(format, &values), r#""ONE \"TWO", REC->ONE, 1 | TWOS, { 2, "TWO" }"#);
        for hostile in ["\"", "\"\\", "\\", "é\"é\\é", "ONE"] {
            // Nothing is lost of what is not well-formed.
            assert!(with_values(hostile, &[]).contains(hostile), "{hostile}");
        }
    }
}
