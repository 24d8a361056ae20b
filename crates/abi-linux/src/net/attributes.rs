//! Netlink attributes: type, length, value, padded to four bytes.

use ferrmod_kernel::Errno;

use super::sk_buff::{put, sk_buff};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{printf, ram};

layout! {
    mod nla_policy = "nla_policy" { type_ = "type", validation_type, len, min, max, validate, mask }
    mod netlink_ext_ack = "netlink_ext_ack" { _msg, bad_attr, policy }
}

/// The length of an attribute's header.
const HEADER: u64 = 4;
/// `NLA_TYPE_MASK`: without the flags for nesting and byte order.
const TYPE: u16 = 0x3fff;

/// `enum netlink_validation`, as far as it matters here.
const STRICT: u32 = 0x1;
const STRICT_UNKNOWN: u32 = 0x2;

/// Kinds of values (`NLA_*`): their numbers, and the sizes of numbers.
const STRING: u8 = 5;
const FLAG: u8 = 6;
const NESTED: u8 = 8;
const NUL_STRING: u8 = 10;
const BINARY: u8 = 11;
const REJECT: u8 = 17;

fn size_of(kind: u8) -> Option<u64> {
    match kind {
        1 | 12 => Some(1),
        2 | 13 | 18 => Some(2),
        3 | 14 | 19 => Some(4),
        4 | 7 | 15 | 16 => Some(8),
        _ => None,
    }
}

/// An attribute in a message.
#[derive(Clone, Copy, Debug)]
struct Attribute(u64);

impl Attribute {
    fn length(self) -> u64 {
        // SAFETY: an attribute whose header lies in the message.
        u64::from(unsafe { ram::get::<u16>(self.0) })
    }
    fn kind(self) -> u16 {
        // SAFETY: as above.
        unsafe { ram::get::<u16>(self.0 + 2) & TYPE }
    }
    fn value(self) -> u64 {
        self.0 + HEADER
    }
    fn size(self) -> u64 {
        self.length() - HEADER
    }
    fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: the attribute lies in the message.
        unsafe { ram::bytes(self.value(), self.size()) }
    }
}

/// The attributes from `head` on in `length` bytes; it ends at one that does not fit.
fn each(head: u64, length: i32) -> impl Iterator<Item = Attribute> {
    let (mut at, mut left) = (head, length.max(0) as u64);
    core::iter::from_fn(move || {
        if left < HEADER {
            return None;
        }
        let attribute = Attribute(at);
        let length = attribute.length();
        if length < HEADER || length > left {
            return None;
        }
        let step = length.next_multiple_of(4).min(left);
        at += step;
        left -= step;
        Some(attribute)
    })
}

/// What one value's policy says about it.
fn check(attribute: Attribute, policy: u64, strict: u32) -> Result<(), Errno> {
    // SAFETY: an entry of the module's policy.
    let (kind, limit, way): (u8, u16, u8) = unsafe {
        (nla_policy::type_.get(policy), nla_policy::len.get(policy), nla_policy::validation_type.get(policy))
    };
    let (size, limit) = (attribute.size(), u64::from(limit));
    if let Some(exact) = size_of(kind)
        && (size < exact || (strict & STRICT != 0 && size != exact))
    {
        return Err(if size < exact { Errno::ERANGE } else { Errno::EINVAL });
    }
    match kind {
        REJECT => return Err(Errno::EINVAL),
        FLAG if size > 0 => return Err(Errno::ERANGE),
        NUL_STRING => {
            let bytes = attribute.bytes();
            let part = if limit == 0 { bytes } else { &bytes[..bytes.len().min(limit as usize + 1)] };
            if !part.contains(&0) {
                return Err(Errno::EINVAL);
            }
        }
        STRING => {
            let bytes = attribute.bytes();
            let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
            if bytes.is_empty() || (limit != 0 && text.len() as u64 > limit) {
                return Err(Errno::ERANGE);
            }
        }
        BINARY if limit != 0 && size > limit => return Err(Errno::ERANGE),
        0 if size < limit => return Err(Errno::ERANGE),
        NESTED if size > 0 && size < HEADER => return Err(Errno::ERANGE),
        _ => (),
    }
    number_in_range(attribute, policy, kind, way)
}

/// `NLA_VALIDATE_*`
const RANGE: u8 = 1;
const MIN: u8 = 3;
const MAX: u8 = 4;
const MASK: u8 = 5;
const FUNCTION: u8 = 7;

fn number_in_range(attribute: Attribute, policy: u64, kind: u8, way: u8) -> Result<(), Errno> {
    if way == FUNCTION {
        // SAFETY: the policy's function.
        let result = unsafe { ram::call(nla_policy::validate.get(policy), [attribute.0, 0]) } as i32;
        return Errno::result(result);
    }
    let Some(size) = size_of(kind) else { return Ok(()) };
    let signed = (12..=15).contains(&kind);
    let swapped = (18..=19).contains(&kind);
    let mut raw = [0; 8];
    raw[..size as usize].copy_from_slice(&attribute.bytes()[..size as usize]);
    if swapped {
        raw[..size as usize].reverse();
    }
    let unsigned = u64::from_le_bytes(raw);
    let value = if signed {
        let shift = 64 - 8 * size as u32;
        i128::from((unsigned << shift) as i64 >> shift)
    } else {
        i128::from(unsigned)
    };
    // SAFETY: an entry of the module's policy.
    let (low, high, mask): (i16, i16, u32) =
        unsafe { (nla_policy::min.get(policy), nla_policy::max.get(policy), nla_policy::mask.get(policy)) };
    let fits = match way {
        RANGE => value >= low.into() && value <= high.into(),
        MIN => value >= low.into(),
        MAX => value <= high.into(),
        MASK => unsigned & !u64::from(mask) == 0,
        _ => true,
    };
    if fits { Ok(()) } else { Err(if way == MASK { Errno::EINVAL } else { Errno::ERANGE }) }
}

fn complain(extack: u64, text: &'static core::ffi::CStr, at: u64, policy: u64) {
    if extack != 0 {
        // SAFETY: the caller's extended answer.
        unsafe {
            netlink_ext_ack::_msg.set(extack, text.as_ptr() as u64);
            netlink_ext_ack::bad_attr.set(extack, at);
            netlink_ext_ack::policy.set(extack, policy);
        }
    }
}

struct Message {
    head: u64,
    length: i32,
    most: i32,
    policy: u64,
    strict: u32,
    extack: u64,
}

fn walk(message: &Message, mut found: impl FnMut(u16, u64)) -> Result<(), Errno> {
    let mut used = 0;
    for attribute in each(message.head, message.length) {
        used = (attribute.0 - message.head) + attribute.length().next_multiple_of(4);
        let kind = attribute.kind();
        if kind == 0 || i32::from(kind) > message.most {
            if message.strict & STRICT_UNKNOWN != 0 {
                complain(message.extack, c"Unknown attribute type", attribute.0, 0);
                return Err(Errno::EINVAL);
            }
            continue;
        }
        if message.policy != 0 {
            let policy = message.policy + u64::from(kind) * nla_policy::SIZE.get();
            if let Err(errno) = check(attribute, policy, message.strict) {
                complain(message.extack, c"Attribute failed policy validation", attribute.0, policy);
                return Err(errno);
            }
        }
        found(kind, attribute.0);
    }
    if (used as i64) < i64::from(message.length) && message.strict & STRICT != 0 {
        complain(message.extack, c"bytes leftover after parsing attributes", 0, 0);
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// `int __nla_parse(struct nlattr **, int maxtype, const struct nlattr *, int len, policy, unsigned validate, extack)`
extern "C" fn __nla_parse(table: u64, most: i32, head: u64, length: i32, policy: u64, strict: u32, extack: u64) -> i32 {
    // SAFETY: the caller's table has an entry for each type.
    unsafe { ram::fill(table, 0, 8 * (most.max(0) as u64 + 1)) };
    let message = Message { head, length, most, policy, strict, extack };
    // SAFETY: as above; `walk` gives only types up to `most`.
    Errno::returned(walk(&message, |kind, at| unsafe { ram::put(table + 8 * u64::from(kind), at) }))
}
extern "C" fn __nla_validate(head: u64, length: i32, most: i32, policy: u64, strict: u32, extack: u64) -> i32 {
    Errno::returned(walk(&Message { head, length, most, policy, strict, extack }, |_, _| ()))
}
extern "C" fn nla_find(head: u64, length: i32, kind: i32) -> u64 {
    each(head, length).find(|attribute| i32::from(attribute.kind()) == kind).map_or(0, |attribute| attribute.0)
}

/// Bytes that still fit behind a packet's data.
fn room(at: u64) -> u64 {
    // SAFETY: the caller's packet.
    unsafe { u64::from(sk_buff::end.get::<u32>(at)) - u64::from(sk_buff::tail.get::<u32>(at)) }
}

/// Appends an attribute without its value; 0 when it does not fit.
fn reserve(at: u64, kind: i32, length: u64, caller: u64) -> u64 {
    let whole = (HEADER + length).next_multiple_of(4);
    if whole > room(at) {
        return 0;
    }
    let attribute = put(at, whole as u32, caller);
    // SAFETY: the room just taken.
    unsafe {
        ram::put(attribute, (HEADER + length) as u16);
        ram::put(attribute + 2, kind as u16);
        ram::fill(attribute + HEADER + length, 0, whole - HEADER - length);
    }
    attribute
}

/// Appends an attribute.
pub(crate) fn append(at: u64, kind: i32, value: &[u8], caller: u64) -> i32 {
    match reserve(at, kind, value.len() as u64, caller) {
        0 => Errno::EMSGSIZE.to_return(),
        attribute => {
            // SAFETY: the room just taken.
            unsafe { ram::bytes_mut(attribute + HEADER, value.len() as u64).copy_from_slice(value) };
            0
        }
    }
}
extern "C" fn nla_reserve(at: u64, kind: i32, length: i32) -> u64 {
    reserve(at, kind, length.max(0) as u64, ram::caller())
}
extern "C" fn nla_reserve_64bit(at: u64, kind: i32, length: i32, _padding: i32) -> u64 {
    // x86 reads unaligned numbers well, so that nothing is padded.
    reserve(at, kind, length.max(0) as u64, ram::caller())
}
extern "C" fn nla_put(at: u64, kind: i32, length: i32, data: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's bytes.
    append(at, kind, unsafe { ram::bytes(data, length.max(0) as u64) }, caller)
}
extern "C" fn nla_put_nohdr(at: u64, length: i32, data: u64) -> i32 {
    let caller = ram::caller();
    let length = length.max(0) as u64;
    let whole = length.next_multiple_of(4);
    if whole > room(at) {
        return Errno::EMSGSIZE.to_return();
    }
    let to = put(at, whole as u32, caller);
    // SAFETY: the room just taken, and the module's bytes.
    unsafe {
        ram::copy(to, data, length);
        ram::fill(to + length, 0, whole - length);
    }
    0
}
extern "C" fn nla_append(at: u64, length: i32, data: u64) -> i32 {
    let caller = ram::caller();
    let length = length.max(0) as u64;
    if length > room(at) {
        return Errno::EMSGSIZE.to_return();
    }
    let to = put(at, length as u32, caller);
    // SAFETY: as for `nla_put_nohdr`.
    unsafe { ram::copy(to, data, length) };
    0
}

fn text_of<'a>(attribute: u64) -> &'a [u8] {
    let bytes = Attribute(attribute).bytes();
    bytes.strip_suffix(&[0]).unwrap_or(bytes)
}
/// `ssize_t nla_strscpy(char *, const struct nlattr *, size_t)`
extern "C" fn nla_strscpy(to: u64, attribute: u64, size: u64) -> i64 {
    if size == 0 {
        return Errno::E2BIG.to_return().into();
    }
    let text = text_of(attribute);
    let part = text.len().min(size as usize - 1);
    // SAFETY: the caller's buffer of `size` bytes.
    unsafe {
        ram::fill(to, 0, size);
        ram::bytes_mut(to, part as u64).copy_from_slice(&text[..part]);
    }
    if part < text.len() { Errno::E2BIG.to_return().into() } else { part as i64 }
}
extern "C" fn nla_strdup(attribute: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    printf::duplicate(text_of(attribute), flags, caller)
}
extern "C" fn nla_memcpy(to: u64, attribute: u64, count: i32) -> i32 {
    let bytes = Attribute(attribute).bytes();
    let part = bytes.len().min(count.max(0) as usize);
    // SAFETY: the caller's buffer of `count` bytes.
    unsafe {
        ram::bytes_mut(to, part as u64).copy_from_slice(&bytes[..part]);
        ram::fill(to + part as u64, 0, count.max(0) as u64 - part as u64);
    }
    part as i32
}
extern "C" fn nla_memcmp(attribute: u64, data: u64, size: u64) -> i32 {
    let bytes = Attribute(attribute).bytes();
    // SAFETY: the module's bytes.
    let other = unsafe { ram::bytes(data, size) };
    match bytes.len() as i32 - size as i32 {
        0 => bytes.cmp(other) as i32,
        difference => difference,
    }
}
extern "C" fn nla_strcmp(attribute: u64, text: u64) -> i32 {
    let bytes = text_of(attribute);
    // SAFETY: the module's C string.
    let other = unsafe { ram::c_string(text) };
    match bytes.len() as i32 - other.len() as i32 {
        0 => bytes.cmp(other) as i32,
        difference => difference,
    }
}
extern "C" fn nla_policy_len(policy: u64, count: i32) -> i32 {
    let each = (0..count.max(0) as u64).map(|number| policy + number * nla_policy::SIZE.get());
    // SAFETY: the module's policy of `count` entries.
    let sizes = each.map(|entry| unsafe {
        let size = u64::from(nla_policy::len.get::<u16>(entry)).max(size_of(nla_policy::type_.get(entry)).unwrap_or(0));
        (HEADER + size).next_multiple_of(4)
    });
    sizes.sum::<u64>() as i32
}
/// `void do_trace_netlink_extack(const char *)`: no tracepoint is on.
extern "C" fn do_trace_netlink_extack() {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    s1 __nla_parse, c __nla_validate, c nla_find, c nla_reserve, c __nla_reserve = nla_reserve, c nla_reserve_64bit,
    c __nla_reserve_64bit = nla_reserve_64bit, c nla_put, c __nla_put = nla_put, c nla_put_64bit = nla_put,
    c __nla_put_64bit = nla_put, c nla_put_nohdr, c __nla_put_nohdr = nla_put_nohdr, c nla_append, c nla_strscpy, c nla_strdup,
    c nla_memcpy, c nla_memcmp, c nla_strcmp, c nla_policy_len, k do_trace_netlink_extack,
];
