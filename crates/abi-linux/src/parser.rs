//! Options by pattern (`match_token`), words, and addresses in text.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;
use ferrmod_kernel::text::{ctype, number, string as words};

use crate::export::{Export, exports};
use crate::string::{text, text_within};
use crate::{printf, ram, slab};

/// Arguments a pattern can have (`MAX_OPT_ARGS`).
const ARGUMENTS: usize = 3;

/// Matches a whole text with a pattern of literals and `%s`, `%d`, `%u`, `%o`, `%x` (a width before the letter of a string
/// limits it); the ranges that the arguments took.
fn match_pattern(mut pattern: &[u8], text: &[u8]) -> Option<Vec<(usize, usize)>> {
    let mut taken = Vec::new();
    let mut at = 0;
    loop {
        let Some(literal) = pattern.iter().position(|&byte| byte == b'%') else {
            return (pattern == &text[at..]).then_some(taken);
        };
        if !text[at..].starts_with(&pattern[..literal]) {
            return None;
        }
        at += literal;
        pattern = &pattern[literal + 1..];
        if let Some(rest) = pattern.strip_prefix(b"%") {
            if text.get(at) != Some(&b'%') {
                return None;
            }
            (at, pattern) = (at + 1, rest);
            continue;
        }
        if taken.len() == ARGUMENTS {
            return None;
        }
        let (width, digits) = number::leading_unsigned(pattern, 10);
        let (kind, rest) = pattern.get(digits..)?.split_first()?;
        let left = &text[at..];
        let length = match kind {
            b's' if left.is_empty() => return None,
            b's' if digits > 0 => left.len().min(width as usize),
            b's' => left.len(),
            b'd' => number::leading_signed(left, 0).1,
            b'u' => number::leading_unsigned(left, 0).1,
            b'o' => number::leading_unsigned(left, 8).1,
            b'x' => number::leading_unsigned(left, 16).1,
            _ => return None,
        };
        if length == 0 {
            return None;
        }
        taken.push((at, at + length));
        at += length;
        pattern = rest;
    }
}

/// `int match_token(char *, const match_table_t, substring_t args[])`: the token of the first pattern that matches, or of the
/// entry without one.
extern "C" fn match_token(from: u64, table: u64, arguments: u64) -> i32 {
    let given = text(from);
    let mut entry = table;
    loop {
        // SAFETY: the caller's table of tokens and patterns, and its three substrings.
        unsafe {
            let (token, pattern): (i32, u64) = (ram::get(entry), ram::get(entry + 8));
            if pattern == 0 {
                return token;
            }
            if let Some(ranges) = match_pattern(text(pattern), given) {
                for (index, (start, end)) in ranges.into_iter().enumerate() {
                    ram::put(arguments + 16 * index as u64, [from + start as u64, from + end as u64]);
                }
                return token;
            }
        }
        entry += 16;
    }
}

/// The text of a `substring_t`.
fn substring<'a>(at: u64) -> &'a [u8] {
    // SAFETY: the caller's substring, as `match_token` made it.
    unsafe {
        let [from, to]: [u64; 2] = ram::get(at);
        ram::bytes(from, to.saturating_sub(from))
    }
}

fn store<T: Copy>(to: u64, result: Result<T, Errno>) -> i32 {
    match result {
        // SAFETY: the caller's variable of this type.
        Ok(value) => unsafe {
            ram::put(to, value);
            0
        },
        Err(errno) => errno.to_return(),
    }
}
fn match_number(at: u64, to: u64, base: u32) -> i32 {
    let given = substring(at);
    let (value, used) = number::leading_signed(given, base);
    let value = if used == 0 { Err(Errno::EINVAL) } else { i32::try_from(value).map_err(|_| Errno::ERANGE) };
    store(to, value)
}
extern "C" fn match_int(at: u64, to: u64) -> i32 {
    match_number(at, to, 0)
}
extern "C" fn match_octal(at: u64, to: u64) -> i32 {
    match_number(at, to, 8)
}
extern "C" fn match_hex(at: u64, to: u64) -> i32 {
    match_number(at, to, 16)
}
extern "C" fn match_uint(at: u64, to: u64) -> i32 {
    store(to, number::unsigned_bits(substring(at), 10, 32).map(|value| value as u32))
}
extern "C" fn match_u64(at: u64, to: u64) -> i32 {
    store(to, number::unsigned(substring(at), 0))
}
extern "C" fn match_strdup(at: u64) -> u64 {
    let caller = ram::caller();
    printf::duplicate(substring(at), 0, caller)
}
/// `size_t match_strlcpy(char *, const substring_t *, size_t)`: the length of the whole.
extern "C" fn match_strlcpy(to: u64, at: u64, room: u64) -> u64 {
    let given = substring(at);
    if room > 0 {
        let kept = given.len().min(room as usize - 1);
        // SAFETY: the caller's buffer of `room` bytes.
        unsafe {
            ram::bytes_mut(to, kept as u64).copy_from_slice(&given[..kept]);
            ram::put(to + kept as u64, 0u8);
        }
    }
    given.len() as u64
}

/// Only `*` and `?` are special.
fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut back) = (0, 0, None);
    loop {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(&byte) if name.get(n).is_some_and(|&other| byte == b'?' || byte == other) => (p, n) = (p + 1, n + 1),
            None if n == name.len() => return true,
            _ => match back {
                Some((after, tried)) if tried < name.len() => {
                    back = Some((after, tried + 1));
                    (p, n) = (after, tried + 1);
                }
                _ => return false,
            },
        }
    }
}
/// `bool match_wildcard(const char *pattern, const char *)`
extern "C" fn match_wildcard(pattern: u64, name: u64) -> bool {
    wildcard(text(pattern), text(name))
}

/// `char **argv_split(gfp_t, const char *, int *)`: one allocation holds the copy's address, the pointers and a null.
extern "C" fn argv_split(flags: u32, from: u64, count: u64) -> u64 {
    let caller = ram::caller();
    let copy = printf::duplicate(text(from), flags, caller);
    if copy == 0 {
        return 0;
    }
    let given = text(copy);
    let starts: Vec<usize> = (0..given.len())
        .filter(|&index| !ctype::is_space(given[index]) && (index == 0 || ctype::is_space(given[index - 1])))
        .collect();
    let block = slab::kmalloc(8 * (starts.len() as u64 + 2), flags, caller);
    if block == 0 {
        slab::release(copy, caller);
        return 0;
    }
    let spaces: Vec<usize> = (0..given.len()).filter(|&index| ctype::is_space(given[index])).collect();
    // SAFETY: the two new objects, and the caller's variable.
    unsafe {
        for index in spaces {
            ram::put(copy + index as u64, 0u8);
        }
        ram::put(block, copy);
        for (index, start) in starts.iter().enumerate() {
            ram::put(block + 8 * (index as u64 + 1), copy + *start as u64);
        }
        ram::put(block + 8 * (starts.len() as u64 + 1), 0u64);
        if count != 0 {
            ram::put(count, starts.len() as i32);
        }
    }
    block + 8
}
extern "C" fn argv_free(argv: u64) {
    let caller = ram::caller();
    // SAFETY: what `argv_split` gave.
    slab::release(unsafe { ram::get(argv - 8) }, caller);
    slab::release(argv - 8, caller);
}

/// `bool mac_pton(const char *, u8 *)`: six pairs of digits with colons.
extern "C" fn mac_pton(from: u64, to: u64) -> bool {
    let given = text_within(from, 17);
    let mut address = [0; 6];
    let fits = given.len() == 17
        && (0..6).all(|index| {
            (index == 5 || given[3 * index + 2] == b':')
                && words::from_hex(&given[3 * index..3 * index + 2], &mut address[index..=index]).is_ok()
        });
    if fits {
        // SAFETY: the caller's six bytes.
        unsafe { ram::put(to, address) };
    }
    fits
}

/// An IPv4 address at the start of a text, and where it ends.
fn ipv4(given: &[u8]) -> Option<([u8; 4], usize)> {
    let (mut address, mut at) = ([0; 4], 0);
    for (index, slot) in address.iter_mut().enumerate() {
        if index > 0 {
            if given.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let digits = given[at..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let value = given[at..at + digits].iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
        *slot = u8::try_from(value).ok().filter(|_| digits > 0 && digits <= 3)?;
        at += digits;
    }
    Some((address, at))
}

/// An IPv6 address at the start of a text, and where it ends.
fn ipv6(given: &[u8]) -> Option<([u8; 16], usize)> {
    let mut groups: Vec<u16> = Vec::new();
    let mut gap = None;
    let mut at = 0;
    if given.starts_with(b"::") {
        (gap, at) = (Some(0), 2);
    }
    loop {
        if groups.len() <= 6
            && let Some((tail, used)) = ipv4(&given[at..])
        {
            groups.extend([u16::from_be_bytes([tail[0], tail[1]]), u16::from_be_bytes([tail[2], tail[3]])]);
            at += used;
            break;
        }
        let digits = given[at..].iter().take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits == 0 || digits > 4 || groups.len() == 8 {
            // Only a gap may come before nothing.
            if digits == 0 && gap == Some(groups.len()) {
                break;
            }
            return None;
        }
        groups.push(number::leading_unsigned(&[b"0x", &given[at..at + digits]].concat(), 16).0 as u16);
        at += digits;
        match (given.get(at), given.get(at + 1)) {
            (Some(b':'), Some(b':')) if gap.is_none() => {
                gap = Some(groups.len());
                at += 2;
            }
            (Some(b':'), Some(_)) if groups.len() < 8 => at += 1,
            _ => break,
        }
    }
    let missing = 8usize.checked_sub(groups.len())?;
    match gap {
        Some(gap) if missing > 0 => groups.splice(gap..gap, core::iter::repeat_n(0, missing)).for_each(drop),
        None if missing == 0 => (),
        _ => return None,
    }
    let mut address = [0; 16];
    for (pair, group) in address.chunks_exact_mut(2).zip(groups) {
        pair.copy_from_slice(&group.to_be_bytes());
    }
    Some((address, at))
}

/// The end of an address must be the end of the text, or the delimiter.
fn store_address<const N: usize>(
    from: u64,
    given: &[u8],
    found: Option<([u8; N], usize)>,
    to: u64,
    delimiter: i32,
    end: u64,
) -> i32 {
    let (ok, at) = match found {
        Some((address, at)) if at == given.len() || delimiter >= 0 && i32::from(given[at]) == delimiter => {
            // SAFETY: the caller's address.
            unsafe { ram::put(to, address) };
            (1, at)
        }
        Some((_, at)) => (0, at),
        None => (0, 0),
    };
    if end != 0 {
        // SAFETY: the caller's pointer variable.
        unsafe { ram::put(end, from + at as u64) };
    }
    ok
}
fn given<'a>(from: u64, length: i32) -> &'a [u8] {
    if length < 0 { text(from) } else { text_within(from, length as u64) }
}
/// `__be32 in_aton(const char *)`: four numbers with dots between them; one that is not there is 0.
extern "C" fn in_aton(from: u64) -> u32 {
    let line = text(from).split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut numbers = line.split(|&byte| byte == b'.').map(|part| {
        part.iter()
            .fold(0u32, |number, digit| number.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0'))))
    });
    (0..4).fold(0u32, |all, _| all << 8 | numbers.next().unwrap_or(0)).to_be()
}
/// `int in4_pton(const char *, int srclen, u8 *, int delim, const char **end)`
extern "C" fn in4_pton(from: u64, length: i32, to: u64, delimiter: i32, end: u64) -> i32 {
    let given = given(from, length);
    store_address(from, given, ipv4(given), to, delimiter, end)
}
extern "C" fn in6_pton(from: u64, length: i32, to: u64, delimiter: i32, end: u64) -> i32 {
    let given = given(from, length);
    store_address(from, given, ipv6(given), to, delimiter, end)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c match_token, c match_int, c match_octal, c match_hex, c match_uint, c match_u64, c match_strdup, c match_strlcpy,
    c match_wildcard, c argv_split, c argv_free, c mac_pton, c in_aton, c in4_pton, c in6_pton,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let ranges = |pattern: &str, text: &str| match_pattern(pattern.as_bytes(), text.as_bytes());
        assert_eq!(ranges("uid=%u", "uid=42"), Some(alloc::vec![(4, 6)]));
        assert_eq!(ranges("uid=%u", "uid=x"), None);
        assert_eq!(ranges("uid=%u", "uid=4x"), None);
        assert_eq!(ranges("name=%s", "name=a b"), Some(alloc::vec![(5, 8)]));
        assert_eq!(ranges("name=%s", "name="), None);
        assert_eq!(ranges("%2s-%x", "ab-ff"), Some(alloc::vec![(0, 2), (3, 5)]));
        assert_eq!(ranges("mode=%o%%", "mode=17%"), Some(alloc::vec![(5, 7)]));
        assert_eq!(ranges("ro", "ro"), Some(alloc::vec![]));
        assert_eq!(ranges("ro", "rox"), None);
        assert_eq!(ranges("n=%d", "n=-5"), Some(alloc::vec![(2, 4)]));
    }

    #[test]
    fn wildcards() {
        for (pattern, name, matches) in [
            ("*", "", true),
            ("a?c*", "abcdef", true),
            ("*b*d", "abcd", true),
            ("*b*d", "abce", false),
            ("", "a", false),
        ] {
            assert_eq!(wildcard(pattern.as_bytes(), name.as_bytes()), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn addresses() {
        use core::net::{Ipv4Addr, Ipv6Addr};
        assert_eq!(ipv4(b"10.0.0.255/8"), Some(([10, 0, 0, 255], 10)));
        assert_eq!(ipv4(b"10.0.0.256"), None);
        assert_eq!(ipv4(b"10.0.0"), None);
        for text in ["::", "::1", "1::", "2001:db8::8:800:200c:417a", "1:2:3:4:5:6:7:8", "::ffff:10.1.2.3", "fe80::1:2"]
        {
            let expected: Ipv6Addr = text.parse().unwrap();
            assert_eq!(ipv6(text.as_bytes()), Some((expected.octets(), text.len())), "{text}");
        }
        for text in ["", ":", "1:2", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::"] {
            assert!(ipv6(text.as_bytes()).is_none_or(|(_, end)| end < text.len()), "{text}");
        }
        assert_eq!(Ipv4Addr::from(ipv4(b"1.2.3.4").unwrap().0), Ipv4Addr::new(1, 2, 3, 4));
        let mut mac = [0u8; 6];
        assert!(mac_pton(c"00:1a:2B:3c:4d:5e".as_ptr() as u64, mac.as_mut_ptr() as u64));
        assert_eq!(mac, [0, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e]);
        assert!(!mac_pton(c"00:1a:2B:3c:4d-5e".as_ptr() as u64, mac.as_mut_ptr() as u64));
    }
}
