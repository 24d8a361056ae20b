//! `string.h`: memory and C strings.
//!
//! Everything here runs on addresses that module code gave: a wrong one faults in the module's name. Nothing is kept.

use core::cmp::Ordering;

use ferrmod_kernel::Errno;
use ferrmod_kernel::text::ctype;

use crate::export::{Export, exports};
use crate::{printf, ram, slab};

/// The byte at an address.
fn byte(at: u64) -> u8 {
    // SAFETY: memory of the caller, or a fault in its name.
    unsafe { ram::get(at) }
}

/// Writes the byte at an address.
fn set_byte(at: u64, value: u8) {
    // SAFETY: memory of the caller, or a fault in its name.
    unsafe { ram::put(at, value) }
}

/// The C string at an address, without its NUL.
pub(crate) fn text<'a>(at: u64) -> &'a [u8] {
    // SAFETY: a C string of the caller, or a fault in its name.
    unsafe { ram::c_string(at) }
}

/// At most `most` bytes of the string at an address.
pub(crate) fn text_within<'a>(at: u64, most: u64) -> &'a [u8] {
    let length = strnlen(at, most);
    // SAFETY: the bytes have just been read.
    unsafe { ram::bytes(at, length) }
}

/// Bytes of the caller's.
fn slice<'a>(at: u64, length: u64) -> &'a [u8] {
    // SAFETY: memory of the caller, or a fault in its name.
    unsafe { ram::bytes(at, length) }
}

/// As C compares bytes: the sign counts, not the size.
fn order(one: &[u8], other: &[u8]) -> i32 {
    match one.cmp(other) {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }
}

extern "C" fn memcpy(to: u64, from: u64, length: u64) -> u64 {
    // SAFETY: both ranges are the caller's.
    unsafe { ram::copy(to, from, length) };
    to
}

extern "C" fn memset(to: u64, value: i32, length: u64) -> u64 {
    // SAFETY: the range is the caller's.
    unsafe { ram::fill(to, value as u8, length) };
    to
}

macro_rules! fill_words {
    ($($name:ident $word:ty),* $(,)?) => {
        $(
            /// Fills memory with words; `count` is in words.
            extern "C" fn $name(to: u64, value: $word, count: u64) -> u64 {
                for index in 0..count {
                    // SAFETY: the range is the caller's.
                    unsafe { ram::put(to + index * size_of::<$word>() as u64, value) };
                }
                to
            }
        )*
    };
}

fill_words! { memset16 u16, memset32 u32, memset64 u64 }

extern "C" fn memcmp(one: u64, other: u64, length: u64) -> i32 {
    order(slice(one, length), slice(other, length))
}

/// Zero when equal, as `memcmp`; another number otherwise.
extern "C" fn bcmp(one: u64, other: u64, length: u64) -> i32 {
    memcmp(one, other, length)
}

/// The address of `at`'s element number `index`, or null.
fn place(at: u64, index: Option<usize>) -> u64 {
    index.map_or(0, |index| at + index as u64)
}

extern "C" fn memchr(at: u64, wanted: i32, length: u64) -> u64 {
    // Byte by byte: what lies behind the byte that is found need not be there.
    (at..at.wrapping_add(length)).find(|&here| byte(here) == wanted as u8).unwrap_or(0)
}

/// `void *memchr_inv(const void *, int, size_t)`: the first byte that is another.
extern "C" fn memchr_inv(at: u64, unwanted: i32, length: u64) -> u64 {
    place(at, slice(at, length).iter().position(|&here| here != unwanted as u8))
}

/// `void *memscan(void *, int, size_t)`: as `memchr`, but one past the end instead of null.
extern "C" fn memscan(at: u64, wanted: i32, length: u64) -> u64 {
    match memchr(at, wanted, length) {
        0 => at + length,
        found => found,
    }
}

/// `size_t memweight(const void *, size_t)`: the number of set bits.
extern "C" fn memweight(at: u64, length: u64) -> u64 {
    slice(at, length).iter().map(|byte| u64::from(byte.count_ones())).sum()
}

extern "C" fn strlen(at: u64) -> u64 {
    text(at).len() as u64
}

extern "C" fn strnlen(at: u64, most: u64) -> u64 {
    (0..most).find(|&index| byte(at + index) == 0).unwrap_or(most)
}

/// Copies a string and its NUL; the address of the NUL.
fn copy_string(to: u64, from: u64) -> u64 {
    let length = strlen(from);
    // SAFETY: the caller vouches for room; the string and its NUL have been read.
    unsafe { ram::copy(to, from, length + 1) };
    to + length
}

extern "C" fn strcpy(to: u64, from: u64) -> u64 {
    copy_string(to, from);
    to
}
extern "C" fn stpcpy(to: u64, from: u64) -> u64 {
    copy_string(to, from)
}
extern "C" fn strcat(to: u64, from: u64) -> u64 {
    copy_string(to + strlen(to), from);
    to
}

/// Fills up with NULs, and ends without one when the string is too long.
extern "C" fn strncpy(to: u64, from: u64, room: u64) -> u64 {
    let length = strnlen(from, room);
    // SAFETY: the caller's buffer of `room` bytes.
    unsafe {
        ram::copy(to, from, length);
        ram::fill(to + length, 0, room - length);
    }
    to
}

extern "C" fn strncat(to: u64, from: u64, most: u64) -> u64 {
    let (end, length) = (to + strlen(to), strnlen(from, most));
    // SAFETY: the caller vouches for the room.
    unsafe { ram::copy(end, from, length) };
    set_byte(end + length, 0);
    to
}

/// Copies what fits with its NUL; the bytes copied, or nothing when the string was cut.
fn copy_bounded(to: u64, from: u64, room: u64) -> Option<u64> {
    if room == 0 || room > i32::MAX as u64 {
        return None;
    }
    let length = strnlen(from, room);
    let kept = length.min(room - 1);
    // SAFETY: the caller's buffer of `room` bytes.
    unsafe { ram::copy(to, from, kept) };
    set_byte(to + kept, 0);
    (length < room).then_some(kept)
}

/// `ssize_t strscpy(char *, const char *, size_t)`
pub(crate) extern "C" fn strscpy(to: u64, from: u64, room: u64) -> i64 {
    copy_bounded(to, from, room).map_or(i64::from(Errno::E2BIG.to_return()), |length| length as i64)
}

/// `strscpy` that fills up with NULs.
extern "C" fn strscpy_pad(to: u64, from: u64, room: u64) -> i64 {
    let copied = strscpy(to, from, room);
    if copied >= 0 && (copied as u64) < room {
        // SAFETY: the rest of the caller's buffer.
        unsafe { ram::fill(to + copied as u64, 0, room - copied as u64) };
    }
    copied
}

/// `size_t strlcpy(char *, const char *, size_t)`: the length of the whole source.
extern "C" fn strlcpy(to: u64, from: u64, room: u64) -> u64 {
    let length = strlen(from);
    if room > 0 {
        let kept = length.min(room - 1);
        // SAFETY: the caller's buffer of `room` bytes.
        unsafe { ram::copy(to, from, kept) };
        set_byte(to + kept, 0);
    }
    length
}

/// `size_t strlcat(char *, const char *, size_t)`: the length that the whole would have.
extern "C" fn strlcat(to: u64, from: u64, room: u64) -> u64 {
    let have = strnlen(to, room);
    if have == room {
        return room + strlen(from);
    }
    have + strlcpy(to + have, from, room - have)
}

/// Compares two strings of at most `most` bytes after `fold`ing them.
fn compare(one: u64, other: u64, most: u64, fold: impl Fn(u8) -> u8) -> i32 {
    for index in 0..most {
        let (here, there) = (fold(byte(one + index)), fold(byte(other + index)));
        if here != there || here == 0 {
            return i32::from(here) - i32::from(there);
        }
    }
    0
}

extern "C" fn strcmp(one: u64, other: u64) -> i32 {
    compare(one, other, u64::MAX, |byte| byte).signum()
}
extern "C" fn strncmp(one: u64, other: u64, most: u64) -> i32 {
    compare(one, other, most, |byte| byte).signum()
}

/// The kernel's `tolower`: Latin-1 too.
fn lower(byte: u8) -> u8 {
    if ctype::CLASSES[usize::from(byte)] & ctype::UPPER != 0 { byte + 32 } else { byte }
}
extern "C" fn strcasecmp(one: u64, other: u64) -> i32 {
    compare(one, other, u64::MAX, lower)
}
extern "C" fn strncasecmp(one: u64, other: u64, most: u64) -> i32 {
    compare(one, other, most, lower)
}

extern "C" fn strchr(at: u64, wanted: i32) -> u64 {
    match strchrnul(at, wanted) {
        end if byte(end) == wanted as u8 => end,
        _ => 0,
    }
}
/// The end of the string when the character is not there.
extern "C" fn strchrnul(at: u64, wanted: i32) -> u64 {
    let text = text(at);
    at + text.iter().position(|&here| here == wanted as u8).unwrap_or(text.len()) as u64
}
extern "C" fn strnchr(at: u64, most: u64, wanted: i32) -> u64 {
    for here in at..at.wrapping_add(most) {
        let found = byte(here);
        if found == wanted as u8 {
            return here;
        }
        if found == 0 {
            break;
        }
    }
    0
}
extern "C" fn strnchrnul(at: u64, most: u64, wanted: i32) -> u64 {
    let text = text_within(at, most);
    at + text.iter().position(|&here| here == wanted as u8).unwrap_or(text.len()) as u64
}
extern "C" fn strrchr(at: u64, wanted: i32) -> u64 {
    let length = strlen(at);
    (at..=at + length).rev().find(|&here| byte(here) == wanted as u8).unwrap_or(0)
}

/// Where `needle` begins in `hay`.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() { Some(0) } else { hay.windows(needle.len()).position(|window| window == needle) }
}
extern "C" fn strstr(hay: u64, needle: u64) -> u64 {
    place(hay, find(text(hay), text(needle)))
}
extern "C" fn strnstr(hay: u64, needle: u64, most: u64) -> u64 {
    place(hay, find(text_within(hay, most), text(needle)))
}

extern "C" fn strspn(at: u64, accept: u64) -> u64 {
    let accept = text(accept);
    text(at).iter().take_while(|byte| accept.contains(byte)).count() as u64
}
extern "C" fn strcspn(at: u64, reject: u64) -> u64 {
    let reject = text(reject);
    text(at).iter().take_while(|byte| !reject.contains(byte)).count() as u64
}
extern "C" fn strpbrk(at: u64, wanted: u64) -> u64 {
    let end = at + strcspn(at, wanted);
    if byte(end) == 0 { 0 } else { end }
}

/// `char *strsep(char **, const char *)`
extern "C" fn strsep(cursor: u64, delimiters: u64) -> u64 {
    // SAFETY: the caller's pointer variable.
    let start: u64 = unsafe { ram::get(cursor) };
    if start == 0 {
        return 0;
    }
    let end = strpbrk(start, delimiters);
    let next = if end == 0 {
        0
    } else {
        set_byte(end, 0);
        end + 1
    };
    // SAFETY: as above.
    unsafe { ram::put(cursor, next) };
    start
}

extern "C" fn skip_spaces(at: u64) -> u64 {
    let text = text(at);
    at + (text.len() - ctype::skip_spaces(text).len()) as u64
}

/// Cuts white space off the end and skips it at the start.
extern "C" fn strim(at: u64) -> u64 {
    let kept = text(at).iter().rposition(|&byte| !ctype::is_space(byte)).map_or(0, |last| last + 1);
    if kept as u64 != strlen(at) {
        set_byte(at + kept as u64, 0);
    }
    skip_spaces(at)
}

/// Replaces a character; the end of the string (6.1; the start since 6.5, which no caller uses).
extern "C" fn strreplace(at: u64, old: u8, new: u8) -> u64 {
    let mut here = at;
    loop {
        match byte(here) {
            0 => return here,
            found if found == old => set_byte(here, new),
            _ => (),
        }
        here += 1;
    }
}

/// Whether two strings are equal but for one newline at an end.
extern "C" fn sysfs_streq(one: u64, other: u64) -> bool {
    same_line(text(one), text(other))
}

fn same_line(one: &[u8], other: &[u8]) -> bool {
    let trim = |text: &'_ [u8]| text.len() - usize::from(text.ends_with(b"\n"));
    one == other || one[..trim(one)] == *other || *one == other[..trim(other)]
}

/// The index of the string for which `matches` holds in an array of at most `count` string pointers that may end at a null.
fn index_of(array: u64, count: u64, matches: impl Fn(&[u8]) -> bool) -> i32 {
    for index in 0..count {
        // SAFETY: the caller's array of `count` pointers.
        let item: u64 = unsafe { ram::get(array.wrapping_add(index.wrapping_mul(8))) };
        if item == 0 {
            break;
        }
        if matches(text(item)) {
            return index as i32;
        }
    }
    Errno::EINVAL.to_return()
}

/// `int match_string(const char * const *, size_t, const char *)`
extern "C" fn match_string(array: u64, count: u64, wanted: u64) -> i32 {
    let wanted = text(wanted);
    index_of(array, count, |item| item == wanted)
}
extern "C" fn __sysfs_match_string(array: u64, count: u64, wanted: u64) -> i32 {
    let wanted = text(wanted);
    index_of(array, count, |item| same_line(item, wanted))
}

extern "C" fn kstrdup(from: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    if from == 0 { 0 } else { printf::duplicate(text(from), flags, caller) }
}
extern "C" fn kstrndup(from: u64, most: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    if from == 0 { 0 } else { printf::duplicate(text_within(from, most), flags, caller) }
}
extern "C" fn kmemdup_nul(from: u64, length: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    if from == 0 { 0 } else { printf::duplicate(slice(from, length), flags, caller) }
}
extern "C" fn kmemdup(from: u64, length: u64, flags: u32) -> u64 {
    slab::duplicate(slice(from, length), flags, ram::caller())
}
extern "C" fn kmemdup_array(from: u64, size: u64, count: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    size.checked_mul(count).map_or(0, |length| slab::duplicate(slice(from, length), flags, caller))
}

/// No string of a module lies in the kernel's own read-only data, so every one is copied and every copy freed.
extern "C" fn kfree_const(at: u64) {
    slab::release(at, ram::caller());
}

/// `void fortify_panic(const char *)`: a bounds check that the compiler put in has failed.
extern "C" fn fortify_panic(name: u64) {
    let caller = ram::caller();
    use bstr::ByteSlice;
    let text = alloc::format!("detected buffer overflow in {}", text(name).as_bstr());
    ferrmod_kernel::kernel().bug(&text, caller);
}

/// 6.12: `void __fortify_panic(const u8 reason, const size_t avail, const size_t size)`.
extern "C" fn __fortify_panic(reason: u8, room: u64, size: u64) {
    let caller = ram::caller();
    /// The functions that `FORTIFY_FUNC_*` number, from the top bits of the reason on; the lowest tells a write from a read.
    const NAMES: [&str; 16] = [
        "strncpy",
        "strnlen",
        "strlen",
        "strscpy",
        "strlcat",
        "strcat",
        "strncat",
        "memset",
        "memcpy",
        "memmove",
        "memscan",
        "memcmp",
        "memchr",
        "memchr_inv",
        "kmemdup",
        "strcpy",
    ];
    let name = NAMES.get(usize::from(reason >> 1)).copied().unwrap_or("unknown");
    let what = if reason & 1 != 0 { "write" } else { "read" };
    let text = alloc::format!("{name}: detected buffer overflow: {size} byte {what} of buffer size {room}");
    ferrmod_kernel::kernel().bug(&text, caller);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c memcpy, c __memcpy = memcpy, c memmove = memcpy, c __memmove = memcpy, c memset, c __memset = memset, c memset16,
    c memset32, c memset64, c memcmp, c bcmp, c memchr, c memchr_inv, c memscan, c memweight,
    c __memcpy_flushcache = memcpy,
    c strlen, c strnlen, c strcpy, c stpcpy, c strcat, c strncpy, c strncat, c strscpy, c sized_strscpy = strscpy,
    c strscpy_pad, c strlcpy, c strlcat, c strcmp, c strncmp, c strcasecmp, c strncasecmp, c strchr, c strchrnul, c strnchr,
    c strnchrnul, c strrchr, c strstr, c strnstr, c strspn, c strcspn, c strpbrk, c strsep, c skip_spaces, c strim,
    c strreplace, c sysfs_streq, c match_string, c __sysfs_match_string, c kstrdup, c kstrdup_const = kstrdup, c kstrndup,
    c kmemdup_nul, c kmemdup, c kmemdup_noprof = kmemdup, c kmemdup_array, c kfree_const, c fortify_panic, c __fortify_panic,
];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn c(text: &str) -> Vec<u8> {
        [text.as_bytes(), &[0]].concat()
    }
    fn at(text: &[u8]) -> u64 {
        text.as_ptr() as u64
    }
    fn offset(found: u64, start: &[u8]) -> Option<u64> {
        found.checked_sub(at(start))
    }

    #[test]
    fn bounded_copies() {
        let from = c("hello");
        let mut to = [b'#'; 8];
        let room = to.as_mut_ptr() as u64;
        assert_eq!(strscpy(room, at(&from), 8), 5);
        assert_eq!(&to, b"hello\0##");
        assert_eq!(strscpy(room, at(&from), 5), -7);
        assert_eq!(&to, b"hell\0\0##");
        assert_eq!(strscpy(room, at(&from), 0), -7);
        assert_eq!(strscpy_pad(room, at(&from), 8), 5);
        assert_eq!(&to, b"hello\0\0\0");
        assert_eq!(strlcpy(room, at(&from), 3), 5);
        assert_eq!(&to[..3], b"he\0");
        assert_eq!(strlcat(room, at(&from), 6), 7);
        assert_eq!(&to[..6], b"hehel\0");
        assert_eq!(strlcat(room, at(&from), 3), 8);
        strncpy(room, at(&from), 8);
        assert_eq!(&to, b"hello\0\0\0");
    }

    #[test]
    fn comparing() {
        let (abc, abd, upper) = (c("abc"), c("abd"), c("ABC"));
        assert_eq!(strcmp(at(&abc), at(&abd)), -1);
        assert_eq!(strncmp(at(&abc), at(&abd), 2), 0);
        assert_eq!(strcasecmp(at(&abc), at(&upper)), 0);
        assert!(strncasecmp(at(&upper), at(&abd), 3) < 0);
        assert_eq!(memcmp(at(&abd), at(&abc), 3), 1);
        let high = [0x80, 0];
        assert_eq!(strcmp(at(&high), at(&abc)), 1, "bytes are unsigned");
    }

    #[test]
    fn searching() {
        let text = c("key=value=x");
        assert_eq!(offset(strchr(at(&text), i32::from(b'=')), &text), Some(3));
        assert_eq!(offset(strrchr(at(&text), i32::from(b'=')), &text), Some(9));
        assert_eq!(strchr(at(&text), i32::from(b'!')), 0);
        assert_eq!(offset(strchr(at(&text), 0), &text), Some(11));
        assert_eq!(strnchr(at(&text), 3, i32::from(b'=')), 0);
        assert_eq!(offset(strstr(at(&text), at(&c("value"))), &text), Some(4));
        assert_eq!(strnstr(at(&text), at(&c("value")), 6), 0);
        assert_eq!(strcspn(at(&text), at(&c("=v"))), 3);
        assert_eq!(strspn(at(&text), at(&c("yek"))), 3);
        assert_eq!(offset(memchr_inv(at(&text), i32::from(b'k'), 11), &text), Some(1));
        assert_eq!(offset(memscan(at(&text), 1, 11), &text), Some(11));
    }

    #[test]
    fn tokens() {
        let mut text = c("a,b,,c");
        let start = text.as_mut_ptr() as u64;
        let mut cursor = start;
        let pointer = &raw mut cursor as u64;
        let mut tokens = Vec::new();
        loop {
            let token = strsep(pointer, at(&c(",")));
            if token == 0 {
                break;
            }
            tokens.push(super::text(token).to_vec());
        }
        assert_eq!(tokens, [&b"a"[..], b"b", b"", b"c"]);
    }

    #[test]
    fn trimming() {
        let mut text = c("  \tx y \n");
        let trimmed = strim(text.as_mut_ptr() as u64);
        assert_eq!(super::text(trimmed), b"x y");
        let mut blank = c("   ");
        assert_eq!(super::text(strim(blank.as_mut_ptr() as u64)), b"");
    }

    #[test]
    fn lines() {
        for (one, other, same) in [
            ("a", "a\n", true),
            ("a\n", "a", true),
            ("a\n", "a\n", true),
            ("a\n\n", "a", false),
            ("a", "b", false),
            ("", "\n", true),
        ] {
            assert_eq!(sysfs_streq(at(&c(one)), at(&c(other))), same, "{one:?} {other:?}");
        }
        let (on, off) = (c("on"), c("off"));
        let array = [at(&on), at(&off), 0];
        let list = array.as_ptr() as u64;
        assert_eq!(__sysfs_match_string(list, 2, at(&c("off\n"))), 1);
        assert_eq!(match_string(list, u64::MAX, at(&c("off\n"))), -22);
        assert_eq!(match_string(list, u64::MAX, at(&c("off"))), 1);
    }
}
