//! Character sets: the tables that file systems translate names with.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{module, ram, slab, symbols};

layout! {
    mod nls_table = "nls_table" {
        charset, alias, uni2char, char2uni, charset2lower, charset2upper, owner, next,
    }
}

const KIND: &str = "nls";

/// The tables, newest first; the built-in one, which knows Latin-1 only, is always last.
static TABLES: Lock<Vec<u64>> = Lock::new(Vec::new());
static DEFAULT: spin::Once<u64> = spin::Once::new();

/// The built-in table, made when first needed; 0 without memory.
fn default_table() -> u64 {
    *DEFAULT.call_once(|| {
        let size = nls_table::SIZE.get();
        let table = slab::allocate(size + 16 + 512, 8, slab::ZERO, 0);
        if table == 0 {
            return 0;
        }
        let (name, lower, upper) = (table + size, table + size + 16, table + size + 16 + 256);
        // SAFETY: the table and its three arrays lie in the block just allocated.
        unsafe {
            ram::bytes_mut(name, 7).copy_from_slice(b"default");
            for code in 0..=255u8 {
                ram::put(lower + u64::from(code), code.to_ascii_lowercase());
                ram::put(upper + u64::from(code), code.to_ascii_uppercase());
            }
            nls_table::charset.set(table, name);
            nls_table::charset2lower.set(table, lower);
            nls_table::charset2upper.set(table, upper);
            nls_table::uni2char.set(table, symbols::address("nls_default_uni2char").unwrap_or(0));
            nls_table::char2uni.set(table, symbols::address("nls_default_char2uni").unwrap_or(0));
        }
        table
    })
}

extern "C" fn nls_default_uni2char(character: u16, out: u64, room: i32) -> i32 {
    if room <= 0 {
        return Errno::ENAMETOOLONG.to_return();
    }
    let Ok(byte) = u8::try_from(character) else { return Errno::EINVAL.to_return() };
    if byte == 0 {
        return Errno::EINVAL.to_return();
    }
    // SAFETY: the caller's buffer has `room` bytes.
    unsafe { ram::put(out, byte) };
    1
}

extern "C" fn nls_default_char2uni(input: u64, length: i32, out: u64) -> i32 {
    if length <= 0 {
        return Errno::ENAMETOOLONG.to_return();
    }
    // SAFETY: the caller's buffers: `length` bytes and one `wchar_t`.
    unsafe { ram::put(out, u16::from(ram::get::<u8>(input))) };
    1
}

/// `int __register_nls(struct nls_table *, struct module *)`
extern "C" fn __register_nls(table: u64, owner: u64) -> i32 {
    let caller = ram::caller();
    let default = default_table();
    // SAFETY: the module's table.
    let (next, name) =
        unsafe { (nls_table::next.get::<u64>(table), ram::c_string_or_empty(nls_table::charset.get(table))) };
    if next != 0 || TABLES.lock().contains(&table) {
        return Errno::EBUSY.to_return();
    }
    let first = TABLES.lock().first().copied().unwrap_or(default);
    // SAFETY: as above; the chain through `next` is how C walks the tables.
    unsafe {
        nls_table::owner.set(table, owner);
        nls_table::next.set(table, first);
    }
    TABLES.lock().insert(0, table);
    // It is not in the list, so it is not registered.
    let _ = kernel().registrations.add(KIND, table, name, kernel().owner_of(caller));
    0
}

/// `int unregister_nls(struct nls_table *)`
extern "C" fn unregister_nls(table: u64) -> i32 {
    let found = {
        let mut tables = TABLES.lock();
        let place = tables.iter().position(|&other| other == table);
        place.map(|place| {
            tables.remove(place);
            place.checked_sub(1).map(|before| tables[before])
        })
    };
    let Some(before) = found else { return Errno::EINVAL.to_return() };
    if let Some(before) = before {
        // SAFETY: both are registered tables of loaded modules.
        unsafe { nls_table::next.set(before, nls_table::next.get::<u64>(table)) };
    }
    kernel().registrations.remove(KIND, table);
    0
}

fn find(name: &[u8]) -> Option<u64> {
    let tables = TABLES.lock().clone();
    tables.into_iter().chain([default_table()]).find(|&table| {
        // SAFETY: registered tables of loaded modules, or the built-in one.
        unsafe {
            let alias: u64 = nls_table::alias.get(table);
            ram::c_string(nls_table::charset.get(table)) == name || (alias != 0 && ram::c_string(alias) == name)
        }
    })
}

fn take(table: u64) -> Option<u64> {
    // SAFETY: a registered table.
    let owner: u64 = unsafe { nls_table::owner.get(table) };
    let taken = owner == 0 || module::at(owner).is_some_and(|module| module.try_get());
    taken.then_some(table)
}

fn load(name: &[u8]) -> Option<u64> {
    if let Some(table) = find(name).and_then(take) {
        return Some(table);
    }
    // Whether it came is seen below.
    let _ = kernel().request_module(&[b"nls_", name].concat());
    find(name).and_then(take)
}

/// `struct nls_table *load_nls(const char *)`
extern "C" fn load_nls(name: u64) -> u64 {
    // SAFETY: the module's C string.
    load(unsafe { ram::c_string(name) }).unwrap_or(0)
}

/// `struct nls_table *load_nls_default(void)`: UTF-8 when it can be had.
extern "C" fn load_nls_default() -> u64 {
    load(b"utf8").unwrap_or_else(default_table)
}

/// `void unload_nls(struct nls_table *)`
extern "C" fn unload_nls(table: u64) {
    if table != 0 {
        // SAFETY: a table that `load_nls` gave.
        if let Some(owner) = module::at(unsafe { nls_table::owner.get(table) }) {
            owner.put();
        }
    }
}

/// The largest code point, and the range that UTF-16 keeps for itself.
const UNICODE_MAX: u32 = 0x10_ffff;
const SURROGATES: core::ops::RangeInclusive<u32> = 0xd800..=0xdfff;

/// Reads one character: its code and length. Overlong forms, surrogates and what lies beyond Unicode are refused.
fn decode(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    let (length, begin, least) = match first {
        0..0x80 => return Some((first.into(), 1)),
        0xc0..0xe0 => (2, first & 0x1f, 0x80),
        0xe0..0xf0 => (3, first & 0x0f, 0x800),
        0xf0..0xf8 => (4, first & 0x07, 0x1_0000),
        _ => return None,
    };
    let mut code = u32::from(begin);
    for &byte in bytes.get(1..length)? {
        if byte & 0xc0 != 0x80 {
            return None;
        }
        code = code << 6 | u32::from(byte & 0x3f);
    }
    (code >= least && code <= UNICODE_MAX && !SURROGATES.contains(&code)).then_some((code, length))
}

/// `int utf8_to_utf32(const u8 *, int, unicode_t *)`: bytes read, -1 when they are no character.
extern "C" fn utf8_to_utf32(input: u64, length: i32, out: u64) -> i32 {
    // SAFETY: the caller's `length` bytes and its one `unicode_t`; a character ends within four bytes.
    unsafe {
        match decode(ram::bytes(input, length.clamp(0, 4) as u64)) {
            Some((code, read)) => {
                ram::put(out, code);
                read as i32
            }
            None => -1,
        }
    }
}

/// `int utf32_to_utf8(unicode_t, u8 *, int)`: bytes written, -1 when the code is none or does not fit.
extern "C" fn utf32_to_utf8(code: u32, out: u64, room: i32) -> i32 {
    if out == 0 {
        return 0;
    }
    let Some(character) = char::from_u32(code) else { return -1 };
    let mut buffer = [0; 4];
    let text = character.encode_utf8(&mut buffer).as_bytes();
    if text.len() as i64 > i64::from(room) {
        return -1;
    }
    // SAFETY: the caller's buffer of `room` bytes.
    unsafe { ram::bytes_mut(out, text.len() as u64).copy_from_slice(text) };
    text.len() as i32
}

/// `enum utf16_endian`: the machine's order, little, big.
fn to_order(unit: u16, order: u32) -> u16 {
    if order == 2 { unit.swap_bytes() } else { unit }
}

/// `int utf8s_to_utf16s(const u8 *, int, enum utf16_endian, wchar_t *, int)`: units written.
extern "C" fn utf8s_to_utf16s(input: u64, length: i32, order: u32, out: u64, room: i32) -> i32 {
    // SAFETY: the caller's string.
    let mut rest = unsafe { ram::bytes(input, length.max(0) as u64) };
    let mut written: i32 = 0;
    while !rest.is_empty() && rest[0] != 0 && written < room {
        let Some((code, read)) = decode(rest) else { return Errno::EINVAL.to_return() };
        let mut units = [0; 2];
        let units = char::from_u32(code).unwrap_or('\0').encode_utf16(&mut units);
        if written + units.len() as i32 > room {
            break;
        }
        for unit in units {
            // SAFETY: `room` units are the caller's.
            unsafe { ram::put(out + 2 * written as u64, to_order(*unit, order)) };
            written += 1;
        }
        rest = &rest[read..];
    }
    written
}

/// `int utf16s_to_utf8s(const wchar_t *, int, enum utf16_endian, u8 *, int)`: bytes written; a lone surrogate is left out.
extern "C" fn utf16s_to_utf8s(input: u64, length: i32, order: u32, out: u64, room: i32) -> i32 {
    // SAFETY: `length` units are the caller's.
    let units = (0..length.max(0) as u64).map(|at| to_order(unsafe { ram::get::<u16>(input + 2 * at) }, order));
    let mut written: i32 = 0;
    for character in char::decode_utf16(units.take_while(|&unit| unit != 0)) {
        let Ok(character) = character else { continue };
        let mut buffer = [0; 4];
        let text = character.encode_utf8(&mut buffer).as_bytes();
        if written + text.len() as i32 > room {
            break;
        }
        // SAFETY: `room` bytes are the caller's.
        unsafe { ram::bytes_mut(out + written as u64, text.len() as u64).copy_from_slice(text) };
        written += text.len() as i32;
    }
    written
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __register_nls, c unregister_nls, c load_nls, c load_nls_default, c unload_nls, c nls_default_uni2char,
    c nls_default_char2uni, c utf8_to_utf32, c utf32_to_utf8, c utf8s_to_utf16s, c utf16s_to_utf8s,
];

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn utf8_is_strict() {
        assert_eq!(decode("ä".as_bytes()), Some((0xe4, 2)));
        assert_eq!(decode("\u{10ffff}".as_bytes()), Some((0x10_ffff, 4)));
        for wrong in [&b"\xc0\x80"[..], b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b""] {
            assert_eq!(decode(wrong), None, "{wrong:x?}");
        }
    }
}
