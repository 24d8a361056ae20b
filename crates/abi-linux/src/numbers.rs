//! Numbers in text: `kstrto*`, `simple_strto*`, options, hexadecimal, UUIDs.

use alloc::vec::Vec;

use ferrmod_kernel::text::ctype::CLASSES;
use ferrmod_kernel::text::number::{self, After};
use ferrmod_kernel::text::{hexdump, params, string as words};
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::string::text;
use crate::{ram, user};

/// Stores a result and answers 0, or answers the error.
fn store<T: Copy>(to: u64, result: Result<T, Errno>) -> i32 {
    match result {
        Ok(value) => {
            // SAFETY: the caller's variable of this type.
            unsafe { ram::put(to, value) };
            0
        }
        Err(errno) => errno.to_return(),
    }
}

/// As [`store`], from a text in user memory; what Linux reads of it is bounded by the longest number there is.
fn store_from_user<T: Copy>(from: u64, length: u64, to: u64, read: impl FnOnce(&[u8]) -> Result<T, Errno>) -> i32 {
    /// Sign, 64 binary digits with their prefix, newline.
    const LONGEST: u64 = 1 + 2 + 64 + 1;
    match user::copy_in(from, length.min(LONGEST)) {
        Ok(bytes) => store(to, read(&bytes)),
        Err(errno) => errno.to_return(),
    }
}

macro_rules! strict {
    ($($name:ident $from_user:ident $kind:ty, $read:ident;)*) => {
        $(
            /// Reads a whole number: text, base, where to store it.
            extern "C" fn $name(from: u64, base: u32, to: u64) -> i32 {
                store(to, number::$read(text(from), base, <$kind>::BITS).map(|value| value as $kind))
            }
            /// The same of a text in user memory: address, length, base, where to store it.
            extern "C" fn $from_user(from: u64, length: u64, base: u32, to: u64) -> i32 {
                store_from_user(from, length, to, |text| {
                    number::$read(text, base, <$kind>::BITS).map(|value| value as $kind)
                })
            }
        )*
    };
}

strict! {
    kstrtoull kstrtoull_from_user u64, unsigned_bits;
    kstrtoll kstrtoll_from_user i64, signed_bits;
    kstrtouint kstrtouint_from_user u32, unsigned_bits;
    kstrtoint kstrtoint_from_user i32, signed_bits;
    kstrtou16 kstrtou16_from_user u16, unsigned_bits;
    kstrtos16 kstrtos16_from_user i16, signed_bits;
    kstrtou8 kstrtou8_from_user u8, unsigned_bits;
    kstrtos8 kstrtos8_from_user i8, signed_bits;
}

/// `int kstrtobool(const char *, bool *)`
extern "C" fn kstrtobool(from: u64, to: u64) -> i32 {
    if from == 0 { Errno::EINVAL.to_return() } else { store(to, number::truth(text(from)).map(u8::from)) }
}
extern "C" fn kstrtobool_from_user(from: u64, length: u64, to: u64) -> i32 {
    store_from_user(from, length.min(3), to, |text| number::truth(text).map(u8::from))
}

/// Stores where a number ended, when somebody asks.
fn end_at(end: u64, at: u64) {
    if end != 0 {
        // SAFETY: the caller's pointer variable.
        unsafe { ram::put(end, at) };
    }
}

extern "C" fn simple_strtoull(from: u64, end: u64, base: u32) -> u64 {
    let (value, used) = number::leading_unsigned(text(from), base);
    end_at(end, from + used as u64);
    value
}
extern "C" fn simple_strtoll(from: u64, end: u64, base: u32) -> i64 {
    let (value, used) = number::leading_signed(text(from), base);
    end_at(end, from + used as u64);
    value
}

/// `unsigned long long memparse(const char *, char **)`
extern "C" fn memparse(from: u64, end: u64) -> u64 {
    let (value, used) = number::size(text(from));
    end_at(end, from + used as u64);
    value
}

/// `int get_option(char **, int *)`
extern "C" fn get_option(cursor: u64, to: u64) -> i32 {
    // SAFETY: the caller's cursor.
    let from: u64 = unsafe { ram::get(cursor) };
    if from == 0 {
        return After::NoInteger as i32;
    }
    let (value, used, after) = number::option(text(from));
    // SAFETY: as above; the integer is the caller's and may be left out.
    unsafe {
        ram::put(cursor, from + used as u64);
        if to != 0 && !text(from).is_empty() {
            ram::put(to, value);
        }
    }
    after as i32
}

/// `char *get_options(const char *, int nints, int *ints)`: the count in `ints[0]`, the values behind it.
extern "C" fn get_options(from: u64, room: i32, to: u64) -> u64 {
    let (values, count, used) = number::options(text(from), (room.max(1) - 1) as usize);
    // SAFETY: the caller's array of `room` integers, or one when it only counts.
    unsafe {
        for (index, value) in values.iter().enumerate() {
            ram::put(to + 4 * (index as u64 + 1), *value);
        }
        ram::put(to, count as i32);
    }
    from + used as u64
}

/// `bool parse_option_str(const char *, const char *)`: whether a comma separated list has an item.
extern "C" fn parse_option_str(list: u64, item: u64) -> bool {
    text(list).split(|&byte| byte == b',').any(|other| other == text(item))
}

/// `char *next_arg(char *, char **param, char **val)`
extern "C" fn next_arg(from: u64, name: u64, value: u64) -> u64 {
    let length = text(from).len() as u64;
    // SAFETY: the caller's string, its NUL included, which may be cut.
    let bytes = unsafe { ram::bytes_mut(from, length + 1) };
    let token = params::next_argument(bytes, 0);
    // SAFETY: the caller's two pointer variables.
    unsafe {
        ram::put(name, from + token.name.start as u64);
        ram::put(value, token.value.map_or(0, |value| from + value.start as u64));
    }
    from + token.next as u64
}

/// `int hex_to_bin(unsigned char)`
extern "C" fn hex_to_bin(digit: u8) -> i32 {
    words::hex_digit(digit).map_or(-1, i32::from)
}

/// `int hex2bin(u8 *, const char *, size_t)`
extern "C" fn hex2bin(to: u64, from: u64, count: u64) -> i32 {
    let mut bytes = alloc::vec![0; count as usize];
    // Digits are read up to the first that is none, so the string may end early.
    let result = words::from_hex(crate::string::text_within(from, count.saturating_mul(2)), &mut bytes);
    // SAFETY: the caller's buffer of `count` bytes.
    unsafe { ram::bytes_mut(to, count) }.copy_from_slice(&bytes);
    Errno::returned(result)
}

/// `char *bin2hex(char *, const void *, size_t)`
extern "C" fn bin2hex(to: u64, from: u64, count: u64) -> u64 {
    // SAFETY: the caller's bytes, and room for twice as many.
    unsafe {
        let digits = words::to_hex(ram::bytes(from, count));
        ram::bytes_mut(to, digits.len() as u64).copy_from_slice(&digits);
    }
    to + 2 * count
}

/// `int hex_dump_to_buffer(const void *, size_t, int rowsize, int groupsize, char *, size_t, bool ascii)`
extern "C" fn hex_dump_to_buffer(from: u64, length: u64, row: i32, group: i32, to: u64, room: u64, ascii: bool) -> i32 {
    let layout = hexdump::Layout { row: row as usize, group: group as usize, ascii };
    // SAFETY: at most a row of the caller's bytes, and the caller's buffer.
    unsafe { hexdump::line_into(ram::bytes_mut(to, room), ram::bytes(from, length.min(32)), layout) }
}

/// `void print_hex_dump(const char *level, const char *prefix, int type, int rowsize, int groupsize, const void *, size_t, bool)`
extern "C" fn print_hex_dump(
    level: u64,
    prefix: u64,
    prefix_type: i32,
    row: i32,
    group: i32,
    from: u64,
    length: u64,
    ascii: bool,
) {
    use ferrmod_kernel::text::format::Environment;
    /// `DUMP_PREFIX_ADDRESS`, `DUMP_PREFIX_OFFSET`.
    const ADDRESS: i32 = 1;
    const OFFSET: i32 = 2;
    fn hash(address: u64) -> u64 {
        ferrmod_kernel::text::format::hash_pointer(crate::printf::ModuleMemory.pointer_key(), address).into()
    }
    let layout = hexdump::Layout { row: row as usize, group: group as usize, ascii };
    let (level, label) = (text(level), text(prefix));
    let prefix = match prefix_type {
        ADDRESS => hexdump::Prefix::Address(from, hash),
        OFFSET => hexdump::Prefix::Offset,
        _ => hexdump::Prefix::None,
    };
    // SAFETY: the caller's bytes.
    let bytes = unsafe { ram::bytes(from, length) };
    for line in hexdump::dump(label, prefix, bytes, layout) {
        kernel().printk(&[level, &line, b"\n"].concat());
    }
}

/// `void string_get_size(u64 size, u64 blk_size, enum string_size_units, char *, int)`
extern "C" fn string_get_size(size: u64, block: u64, units: u32, to: u64, room: i32) -> i32 {
    let units = if units & 1 == 0 { words::Units::Decimal } else { words::Units::Binary };
    let text = words::size_text(size, block, units);
    write_text(to, room.max(0) as u64, text.as_bytes());
    text.len() as i32
}

/// Writes what fits of a text, and a NUL.
fn write_text(to: u64, room: u64, text: &[u8]) {
    if room > 0 {
        let kept = (text.len() as u64).min(room - 1);
        // SAFETY: the caller's buffer of `room` bytes.
        unsafe {
            ram::bytes_mut(to, kept).copy_from_slice(&text[..kept as usize]);
            ram::put(to + kept, 0u8);
        }
    }
}

/// `int string_escape_mem(const char *, size_t, char *, size_t, unsigned int flags, const char *only)`: no NUL is written, and
/// no part of an escape.
extern "C" fn string_escape_mem(from: u64, length: u64, to: u64, room: u64, flags: u32, only: u64) -> i32 {
    let flags = words::Escape::from_bits_truncate(flags);
    let only = if only == 0 { &[][..] } else { text(only) };
    // SAFETY: the caller's bytes.
    let bytes = unsafe { ram::bytes(from, length) };
    let mut written = 0;
    let mut total = 0;
    for byte in bytes.chunks(1) {
        let escaped = words::escape(byte, flags, only);
        total += escaped.len() as u64;
        if total <= room && written + escaped.len() as u64 == total {
            // SAFETY: it fits into the caller's buffer.
            unsafe { ram::bytes_mut(to + written, escaped.len() as u64) }.copy_from_slice(&escaped);
            written = total;
        }
    }
    total as i32
}

/// `int string_unescape(char *, char *, size_t, unsigned int)`
extern "C" fn string_unescape(from: u64, to: u64, room: u64, flags: u32) -> i32 {
    let source = text(from).to_vec();
    let most = if room == 0 { usize::MAX } else { room as usize - 1 };
    let plain = words::unescape(&source, words::Unescape::from_bits_truncate(flags), most);
    write_text(to, plain.len() as u64 + 1, &plain);
    plain.len() as i32
}

/// `bool glob_match(const char *pattern, const char *name)`
extern "C" fn glob_match(pattern: u64, name: u64) -> bool {
    words::glob_match(text(pattern), text(name))
}

/// The bytes of a UUID's text in the order they are stored: `guid_t` has its first three numbers little-endian.
const GUID_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

/// Reads `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`; what is behind it does not matter.
fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut digits = Vec::with_capacity(32);
    for (index, &byte) in text.get(..36)?.iter().enumerate() {
        match index {
            8 | 13 | 18 | 23 if byte == b'-' => (),
            8 | 13 | 18 | 23 => return None,
            _ => digits.push(byte),
        }
    }
    let mut bytes = [0; 16];
    words::from_hex(&digits, &mut bytes).ok()?;
    Some(bytes)
}

fn store_uuid(to: u64, bytes: Option<[u8; 16]>) -> i32 {
    store(to, bytes.ok_or(Errno::EINVAL))
}
extern "C" fn uuid_is_valid(from: u64) -> bool {
    parse_uuid(text(from)).is_some()
}
extern "C" fn uuid_parse(from: u64, to: u64) -> i32 {
    store_uuid(to, parse_uuid(text(from)))
}
extern "C" fn guid_parse(from: u64, to: u64) -> i32 {
    store_uuid(to, parse_uuid(text(from)).map(|bytes| GUID_ORDER.map(|index| bytes[index])))
}

/// A random UUID of version 4: the version is in the high half of byte `version_at`.
fn random_uuid(to: u64, version_at: usize) {
    let mut bytes = [0; 16];
    kernel().platform.random(&mut bytes);
    bytes[version_at] = bytes[version_at] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    store_uuid(to, Some(bytes));
}
extern "C" fn uuid_gen(to: u64) {
    random_uuid(to, 6);
}
extern "C" fn guid_gen(to: u64) {
    random_uuid(to, 7);
}
/// `void generate_random_uuid(unsigned char uuid[16])`
extern "C" fn generate_random_uuid(to: u64) {
    random_uuid(to, 6);
}

static CTYPE: Datum = Datum::new(
    "_ctype",
    256,
    Begin::With(|at| {
        // SAFETY: `data::place` gives 256 writable bytes.
        unsafe { ram::put(at, CLASSES) };
    }),
);
static HEX: Datum = Datum::new("hex_asc", 17, Begin::With(|at| put_text(at, b"0123456789abcdef")));
static HEX_UPPER: Datum = Datum::new("hex_asc_upper", 17, Begin::With(|at| put_text(at, b"0123456789ABCDEF")));
static UUID_NULL: Datum = Datum::new("uuid_null", 16, Begin::Zero);
static GUID_NULL: Datum = Datum::new("guid_null", 16, Begin::Zero);
static BYTE_REVERSED: Datum = Datum::new(
    "byte_rev_table",
    256,
    Begin::With(|at| {
        for byte in 0..=u8::MAX {
            // SAFETY: `data::place` gives 256 writable bytes.
            unsafe { ram::put(at + u64::from(byte), byte.reverse_bits()) };
        }
    }),
);

fn put_text(at: u64, text: &[u8; 16]) {
    // SAFETY: `data::place` gives 17 writable zeros.
    unsafe { ram::put(at, *text) };
}

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&CTYPE, &HEX, &HEX_UPPER, &UUID_NULL, &GUID_NULL, &BYTE_REVERSED];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c kstrtoull, c kstrtoll, c _kstrtoul = kstrtoull, c _kstrtol = kstrtoll, c kstrtouint, c kstrtoint, c kstrtou16,
    c kstrtos16, c kstrtou8, c kstrtos8, c kstrtoull_from_user, c kstrtoll_from_user, c kstrtoul_from_user = kstrtoull_from_user,
    c kstrtol_from_user = kstrtoll_from_user, c kstrtouint_from_user, c kstrtoint_from_user, c kstrtou16_from_user,
    c kstrtos16_from_user, c kstrtou8_from_user, c kstrtos8_from_user, c kstrtobool, c kstrtobool_from_user,
    c simple_strtoull, c simple_strtoul = simple_strtoull, c simple_strtoll, c simple_strtol = simple_strtoll, c memparse,
    c get_option, c get_options, c parse_option_str, c next_arg, c hex_to_bin, c hex2bin, c bin2hex, s1 hex_dump_to_buffer,
    s2 print_hex_dump, c string_get_size, c string_escape_mem, c string_unescape, c glob_match, c uuid_is_valid, c uuid_parse,
    c guid_parse, c uuid_gen, c guid_gen, c generate_random_uuid,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn c(text: &str) -> Vec<u8> {
        [text.as_bytes(), &[0]].concat()
    }

    #[test]
    fn results_are_stored_only_on_success() {
        let mut value = 77u8;
        let at = &raw mut value as u64;
        assert_eq!(kstrtou8(c("256").as_ptr() as u64, 0, at), -34);
        assert_eq!(value, 77);
        assert_eq!(kstrtou8(c("0x12\n").as_ptr() as u64, 0, at), 0);
        assert_eq!(value, 0x12);
        assert_eq!(kstrtobool(c("off").as_ptr() as u64, at), 0);
        assert_eq!(value, 0);
    }

    #[test]
    fn ends() {
        let text = c("0x1fz");
        let mut end = 0u64;
        assert_eq!(simple_strtoull(text.as_ptr() as u64, &raw mut end as u64, 0), 0x1f);
        assert_eq!(end, text.as_ptr() as u64 + 4);
        let mut ints = [0i32; 4];
        let text = c("1,5-6,x");
        get_options(text.as_ptr() as u64, 4, ints.as_mut_ptr() as u64);
        assert_eq!(ints, [3, 1, 5, 6]);
    }

    #[test]
    fn uuids() {
        let text = c("00112233-4455-6677-8899-aabbccddeeff");
        let mut bytes = [0u8; 16];
        assert_eq!(uuid_parse(text.as_ptr() as u64, bytes.as_mut_ptr() as u64), 0);
        assert_eq!(bytes[..6], [0, 0x11, 0x22, 0x33, 0x44, 0x55]);
        assert_eq!(guid_parse(text.as_ptr() as u64, bytes.as_mut_ptr() as u64), 0);
        assert_eq!(bytes[..8], [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66]);
        assert!(!uuid_is_valid(c("00112233-4455-6677-8899-aabbccddeef").as_ptr() as u64));
        assert!(!uuid_is_valid(c("0011223304455-6677-8899-aabbccddeeff").as_ptr() as u64));
    }

    #[test]
    fn escapes_are_written_whole_or_not_at_all() {
        let mut room = [b'#'; 4];
        let from = b"a\n\x01";
        // \n takes two, \001 four.
        let total = string_escape_mem(from.as_ptr() as u64, 3, room.as_mut_ptr() as u64, 4, 0x1f, 0);
        assert_eq!((total, &room), (7, b"a\\n#"));
    }
}
