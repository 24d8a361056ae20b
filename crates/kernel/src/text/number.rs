//! Reading numbers, sizes and truth values from text.
//!
//! Two families, as in Linux: `kstrto*` read a whole string strictly and report what is wrong; `simple_strto*` read as far
//! as there are digits and never complain.

use alloc::vec::Vec;

use super::Errno;
use super::ctype::at;

/// Digits read from the start of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digits {
    value: u64,
    count: usize,
    /// The value does not fit in 64 bits; `value` is what remains of it.
    overflow: bool,
}

/// What base the text is in and how many bytes its prefix takes. Base 0 means: look at the prefix.
fn radix(text: &[u8], base: u32) -> (u32, usize) {
    let hex_prefix = at(text, 0) == b'0' && at(text, 1).eq_ignore_ascii_case(&b'x');
    let base = match base {
        0 if hex_prefix && at(text, 2).is_ascii_hexdigit() => 16,
        0 if at(text, 0) == b'0' => 8,
        0 => 10,
        base => base,
    };
    (base, if base == 16 && hex_prefix { 2 } else { 0 })
}

fn digits(text: &[u8], base: u32, limit: usize) -> Digits {
    let mut read = Digits { value: 0, count: 0, overflow: false };
    for &byte in text.iter().take(limit) {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => break,
        };
        if u32::from(digit) >= base {
            break;
        }
        let next = read.value.checked_mul(u64::from(base)).and_then(|value| value.checked_add(u64::from(digit)));
        read.overflow |= next.is_none();
        read.value = read.value.wrapping_mul(u64::from(base)).wrapping_add(u64::from(digit));
        read.count += 1;
    }
    read
}

/// A whole unsigned number without sign, one newline allowed behind it.
fn whole(text: &[u8], base: u32) -> Result<u64, Errno> {
    let (base, prefix) = radix(text, base);
    let text = text.get(prefix..).unwrap_or_default();
    let read = digits(text, base, usize::MAX);
    if read.overflow {
        return Err(Errno::ERANGE);
    }
    let rest = &text[read.count..];
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    if read.count == 0 || at(rest, 0) != 0 { Err(Errno::EINVAL) } else { Ok(read.value) }
}

/// Reads a whole unsigned number (`kstrtoull`): base 0 looks at the prefix `0x` or `0`, a leading `+` and one trailing
/// newline are allowed.
///
/// # Errors
/// `ERANGE` when it does not fit in 64 bits, `EINVAL` when it is not a number.
pub fn unsigned(text: &[u8], base: u32) -> Result<u64, Errno> {
    whole(text.strip_prefix(b"+").unwrap_or(text), base)
}

/// Reads a whole signed number (`kstrtoll`).
///
/// # Errors
/// As [`unsigned`].
pub fn signed(text: &[u8], base: u32) -> Result<i64, Errno> {
    match text.strip_prefix(b"-") {
        Some(magnitude) => {
            let negative = whole(magnitude, base)?.wrapping_neg() as i64;
            if negative > 0 { Err(Errno::ERANGE) } else { Ok(negative) }
        }
        None => i64::try_from(unsigned(text, base)?).map_err(|_| Errno::ERANGE),
    }
}

/// Reads an unsigned number that must fit in `bits` bits (`kstrtou8`, `kstrtou16`, `kstrtouint`, …).
///
/// # Errors
/// As [`unsigned`].
pub fn unsigned_bits(text: &[u8], base: u32, bits: u32) -> Result<u64, Errno> {
    let value = unsigned(text, base)?;
    if bits < 64 && value >> bits != 0 { Err(Errno::ERANGE) } else { Ok(value) }
}

/// Reads a signed number that must fit in `bits` bits (`kstrtos8`, `kstrtos16`, `kstrtoint`, …).
///
/// # Errors
/// As [`unsigned`].
pub fn signed_bits(text: &[u8], base: u32, bits: u32) -> Result<i64, Errno> {
    let value = signed(text, base)?;
    let sign = value >> (bits.clamp(1, 64) - 1);
    if sign != 0 && sign != -1 { Err(Errno::ERANGE) } else { Ok(value) }
}

/// Reads a truth value (`kstrtobool`). Only the first one or two characters count.
///
/// # Errors
/// `EINVAL` when there is none.
pub fn truth(text: &[u8]) -> Result<bool, Errno> {
    match (at(text, 0), at(text, 1)) {
        (b'y' | b'Y' | b't' | b'T' | b'1', _) | (b'o' | b'O', b'n' | b'N') => Ok(true),
        (b'n' | b'N' | b'f' | b'F' | b'0', _) | (b'o' | b'O', b'f' | b'F') => Ok(false),
        _ => Err(Errno::EINVAL),
    }
}

/// Reads digits as far as they go and says how many bytes were used (`simple_strtoull`). Too large a number wraps around.
pub fn leading_unsigned(text: &[u8], base: u32) -> (u64, usize) {
    leading_unsigned_limited(text, base, usize::MAX)
}

/// [`leading_unsigned`] over at most `limit` bytes, prefix included (what `sscanf` does with a field width).
pub fn leading_unsigned_limited(text: &[u8], base: u32, limit: usize) -> (u64, usize) {
    let (base, prefix) = radix(text, base);
    if prefix >= limit {
        // No room for a digit behind the prefix: the field is skipped.
        return (0, limit);
    }
    let read = digits(text.get(prefix..).unwrap_or_default(), base, limit - prefix);
    (read.value, prefix + read.count)
}

/// [`leading_unsigned`] with an optional leading `-` (`simple_strtoll`).
pub fn leading_signed(text: &[u8], base: u32) -> (i64, usize) {
    leading_signed_limited(text, base, usize::MAX)
}

/// [`leading_signed`] over at most `limit` bytes, sign and prefix included.
pub fn leading_signed_limited(text: &[u8], base: u32, limit: usize) -> (i64, usize) {
    if at(text, 0) == b'-' && limit > 0 {
        let (value, used) = leading_unsigned_limited(&text[1..], base, limit - 1);
        return (value.wrapping_neg() as i64, used + 1);
    }
    let (value, used) = leading_unsigned_limited(text, base, limit);
    (value as i64, used)
}

/// Reads a size such as `64K` or `0x10M` (`memparse`): the suffixes K, M, G, T, P and E, of either case, are powers of 1024.
/// Also says how many bytes were used.
pub fn size(text: &[u8]) -> (u64, usize) {
    let (value, used) = leading_unsigned(text, 0);
    let power = match at(text, used).to_ascii_uppercase() {
        b'K' => 1,
        b'M' => 2,
        b'G' => 3,
        b'T' => 4,
        b'P' => 5,
        b'E' => 6,
        _ => return (value, used),
    };
    (value << (10 * power), used + 1)
}

/// What stood behind an integer read by [`option`]. The discriminant is what `get_option` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum After {
    /// There was no integer.
    NoInteger = 0,
    /// The end, or something else.
    End = 1,
    /// A comma, which was consumed.
    Comma = 2,
    /// A hyphen: the integer begins a range.
    Hyphen = 3,
}

/// Reads one integer of a comma separated list (`get_option`). Returns the value, the bytes used and what followed.
pub fn option(text: &[u8]) -> (i32, usize, After) {
    if at(text, 0) == 0 {
        return (0, 0, After::NoInteger);
    }
    let sign = usize::from(text[0] == b'-');
    let (magnitude, digits) = leading_unsigned(&text[sign..], 0);
    let value = if sign == 1 { magnitude.wrapping_neg() } else { magnitude } as i32;
    let used = sign + digits;
    match at(text, used) {
        _ if digits == 0 => (value, used, After::NoInteger),
        b',' => (value, used + 1, After::Comma),
        b'-' => (value, used, After::Hyphen),
        _ => (value, used, After::End),
    }
}

/// Reads a list of integers and ranges such as `1,4-7` into at most `room` values (`get_options`, whose array holds
/// `room` + 1). Returns the values, how many there are in the text as far as it was read, and the bytes used.
///
/// With `room` 0 nothing is stored and everything is counted. The lower end of a range that ends below it is stored, not
/// counted.
pub fn options(text: &[u8], room: usize) -> (Vec<i32>, usize, usize) {
    let counting = room == 0;
    let mut values = Vec::new();
    let (mut count, mut used) = (0usize, 0usize);
    while counting || count < room {
        let (value, length, after) = option(&text[used..]);
        used += length;
        match after {
            After::NoInteger => break,
            After::Hyphen => {
                // The upper end is read again by the next round as a value of its own.
                used += 1;
                let (upper, _) = leading_signed(text.get(used..).unwrap_or_default(), 0);
                let span = i32::try_from(upper).ok().and_then(|upper| upper.checked_sub(value));
                let Some(span) = span.filter(|span| *span >= 0) else {
                    // The lower end was stored before the range was found to be none.
                    values.extend((!counting).then_some(value));
                    break;
                };
                if !counting {
                    let space = room - count;
                    values.extend((0..span).take(space).map(|step| value + step));
                }
                count += span as usize;
            }
            After::Comma | After::End => {
                if !counting {
                    values.push(value);
                }
                count += 1;
                if after == After::End {
                    break;
                }
            }
        }
    }
    (values, count, used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strict_unsigned() {
        for (text, base, value) in [
            ("0", 0, 0u64),
            ("010", 0, 8),
            ("0x1F", 0, 31),
            ("0X1f\n", 0, 31),
            ("+7", 0, 7),
            ("1f", 16, 31),
            ("0x1f", 16, 31),
            ("010", 10, 10),
            ("1777777777777777777777", 8, u64::MAX),
            ("18446744073709551615", 10, u64::MAX),
            ("0xffffffffffffffff", 16, u64::MAX),
        ] {
            assert_eq!(unsigned(text.as_bytes(), base), Ok(value), "{text} in base {base}");
        }
        for (text, base, error) in [
            ("", 0, Errno::EINVAL),
            ("\n", 0, Errno::EINVAL),
            ("+", 0, Errno::EINVAL),
            ("-1", 0, Errno::EINVAL),
            ("-0", 0, Errno::EINVAL),
            ("0x", 0, Errno::EINVAL),
            ("0x", 16, Errno::EINVAL),
            ("08", 0, Errno::EINVAL),
            ("1\n\n", 0, Errno::EINVAL),
            ("1 ", 0, Errno::EINVAL),
            (" 1", 0, Errno::EINVAL),
            ("++1", 0, Errno::EINVAL),
            ("18446744073709551616", 10, Errno::ERANGE),
            ("2000000000000000000000", 8, Errno::ERANGE),
            ("10000000000000000", 16, Errno::ERANGE),
        ] {
            assert_eq!(unsigned(text.as_bytes(), base), Err(error), "{text} in base {base}");
        }
    }

    #[test]
    fn strict_signed() {
        assert_eq!(signed(b"-9223372036854775808", 0), Ok(i64::MIN));
        assert_eq!(signed(b"-9223372036854775809", 0), Err(Errno::ERANGE));
        assert_eq!(signed(b"9223372036854775807\n", 0), Ok(i64::MAX));
        assert_eq!(signed(b"9223372036854775808", 0), Err(Errno::ERANGE));
        assert_eq!(signed(b"-+1", 0), Err(Errno::EINVAL));
        assert_eq!(signed(b"-0x10", 0), Ok(-16));
        assert_eq!(signed_bits(b"-32768", 0, 16), Ok(-32768));
        assert_eq!(signed_bits(b"32768", 0, 16), Err(Errno::ERANGE));
        assert_eq!(signed_bits(b"-32769", 0, 16), Err(Errno::ERANGE));
        assert_eq!(unsigned_bits(b"255", 0, 8), Ok(255));
        assert_eq!(unsigned_bits(b"256", 0, 8), Err(Errno::ERANGE));
    }

    #[test]
    fn lenient() {
        assert_eq!(leading_unsigned(b"0xzz", 0), (0, 1));
        assert_eq!(leading_unsigned(b"0xzz", 16), (0, 2));
        assert_eq!(leading_unsigned(b"12ab", 0), (12, 2));
        assert_eq!(leading_unsigned(b"", 0), (0, 0));
        assert_eq!(leading_signed(b"-12,", 0), (-12, 3));
        assert_eq!(leading_signed_limited(b"-", 0, 1), (0, 1));
        assert_eq!(leading_unsigned_limited(b"0x1234", 16, 2), (0, 2));
        assert_eq!(leading_unsigned_limited(b"0x1234", 16, 4), (0x12, 4));
    }

    #[test]
    fn sizes() {
        assert_eq!(size(b"64K"), (65536, 3));
        assert_eq!(size(b"0x10M@1G"), (16 << 20, 5));
        assert_eq!(size(b"3g"), (3 << 30, 2));
        assert_eq!(size(b"1E"), (1 << 60, 2));
        assert_eq!(size(b"17E"), (1 << 60, 3));
        assert_eq!(size(b"12"), (12, 2));
    }

    #[test]
    fn lists() {
        assert_eq!(option(b"12,3"), (12, 3, After::Comma));
        assert_eq!(option(b"-5"), (-5, 2, After::End));
        assert_eq!(option(b"4-7"), (4, 1, After::Hyphen));
        assert_eq!(option(b"-"), (0, 1, After::NoInteger));
        assert_eq!(option(b"x"), (0, 0, After::NoInteger));
        assert_eq!(options(b"1,4-7,9", 8), (alloc::vec![1, 4, 5, 6, 7, 9], 6, 7));
        assert_eq!(options(b"1,4-7,9", 0).1, 6);
        assert_eq!(options(b"1,2,3", 2), (alloc::vec![1, 2], 2, 4));
        assert_eq!(options(b"7-4", 8), (alloc::vec![7], 0, 2));
    }

    proptest! {
        #[test]
        fn every_number_reads_back(value: u64, negative: i64) {
            prop_assert_eq!(unsigned(alloc::format!("{value}").as_bytes(), 0), Ok(value));
            prop_assert_eq!(unsigned(alloc::format!("{value:#x}").as_bytes(), 0), Ok(value));
            prop_assert_eq!(signed(alloc::format!("{negative}\n").as_bytes(), 10), Ok(negative));
        }

        #[test]
        fn agrees_with_rust_on_any_digits(text in "[-+]?[0-9]{0,22}") {
            let ours = signed(text.as_bytes(), 10).ok();
            prop_assert_eq!(ours, text.parse::<i64>().ok());
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..24), base in 0u32..17, room in 0usize..5) {
            let _ = (unsigned(&text, base), signed(&text, base), truth(&text), size(&text), option(&text));
            let (_, used) = leading_signed_limited(&text, base, 5);
            prop_assert!(used <= 5);
            let _ = options(&text, room);
        }
    }
}
