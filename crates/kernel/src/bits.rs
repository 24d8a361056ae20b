//! Bitmaps: finding, counting, printing and parsing, over 64-bit words as the kernel keeps them.
//!
//! A bitmap of `bits` bits lies in the first `bits.div_ceil(64)` words; bits beyond count as clear whatever they hold, and a
//! slice that is too short counts as zeros. Finding returns `bits` when there is nothing to find.

use alloc::string::String;
use core::fmt::Write;

use crate::text::Errno;
use crate::text::ctype::{self, at};
use crate::text::number;
use crate::text::string::hex_digit;

fn word(words: &[u64], index: usize) -> u64 {
    words.get(index).copied().unwrap_or(0)
}

/// The word at `index` with the bits below `from` and from `bits` on cleared.
fn masked(value: u64, index: usize, from: usize, bits: usize) -> u64 {
    let low = if from / 64 == index { u64::MAX << (from % 64) } else { u64::MAX };
    let high = match bits.saturating_sub(index * 64) {
        0 => 0,
        left @ 1..64 => u64::MAX >> (64 - left),
        _ => u64::MAX,
    };
    value & low & high
}

/// The first bit from `from` on for which `get` (given a word's index) has a one.
pub fn find_next(get: impl Fn(usize) -> u64, bits: usize, from: usize) -> usize {
    (from / 64..bits.div_ceil(64))
        .find_map(|index| {
            let found = masked(get(index), index, from, bits);
            (found != 0).then(|| index * 64 + found.trailing_zeros() as usize)
        })
        .unwrap_or(bits)
}

/// The first set bit from `from` on (`find_next_bit`).
pub fn find_next_set(words: &[u64], bits: usize, from: usize) -> usize {
    find_next(|index| word(words, index), bits, from)
}

/// The first clear bit from `from` on (`find_next_zero_bit`).
pub fn find_next_clear(words: &[u64], bits: usize, from: usize) -> usize {
    find_next(|index| !word(words, index), bits, from)
}

/// The first bit from `from` on that is set in both (`find_next_and_bit`).
pub fn find_next_and(one: &[u64], other: &[u64], bits: usize, from: usize) -> usize {
    find_next(|index| word(one, index) & word(other, index), bits, from)
}

/// The first bit from `from` on that is set in `one` and clear in `other` (`find_next_andnot_bit`).
pub fn find_next_and_not(one: &[u64], other: &[u64], bits: usize, from: usize) -> usize {
    find_next(|index| word(one, index) & !word(other, index), bits, from)
}

/// The last set bit (`find_last_bit`).
pub fn find_last(words: &[u64], bits: usize) -> usize {
    (0..bits.div_ceil(64))
        .rev()
        .find_map(|index| {
            let found = masked(word(words, index), index, 0, bits);
            (found != 0).then(|| index * 64 + 63 - found.leading_zeros() as usize)
        })
        .unwrap_or(bits)
}

/// The `n`th set bit, counted from 0 (`find_nth_bit`).
pub fn find_nth(words: &[u64], bits: usize, mut n: usize) -> usize {
    for index in 0..bits.div_ceil(64) {
        let mut left = masked(word(words, index), index, 0, bits);
        let count = left.count_ones() as usize;
        if n < count {
            for _ in 0..n {
                left &= left - 1;
            }
            return index * 64 + left.trailing_zeros() as usize;
        }
        n -= count;
    }
    bits
}

/// The number of set bits (`bitmap_weight`).
pub fn weight(words: &[u64], bits: usize) -> usize {
    (0..bits.div_ceil(64)).map(|index| masked(word(words, index), index, 0, bits).count_ones() as usize).sum()
}

/// Whether a bit is set.
pub fn is_set(words: &[u64], bit: usize) -> bool {
    word(words, bit / 64) >> (bit % 64) & 1 != 0
}

/// Sets or clears `count` bits from `start` on (`bitmap_set`, `bitmap_clear`). Bits outside the slice are left out.
pub fn fill(words: &mut [u64], start: usize, count: usize, set: bool) {
    let end = start.saturating_add(count);
    let last = end.div_ceil(64).min(words.len());
    for (index, slot) in words.iter_mut().enumerate().take(last).skip(start / 64) {
        let mask = masked(u64::MAX, index, start, end);
        if set {
            *slot |= mask;
        } else {
            *slot &= !mask;
        }
    }
}

/// The first place from `from` on with `count` clear bits, where `place + offset` is a multiple of `align_mask + 1`
/// (`bitmap_find_next_zero_area_off`). Something above `bits` when there is none.
pub fn find_clear_area(
    words: &[u64],
    bits: usize,
    from: usize,
    count: usize,
    align_mask: usize,
    offset: usize,
) -> usize {
    let mut start = from;
    loop {
        let index = find_next_clear(words, bits, start);
        let index = (index.wrapping_add(offset).wrapping_add(align_mask) & !align_mask).wrapping_sub(offset);
        let Some(end) = index.checked_add(count).filter(|end| *end <= bits) else {
            return index.saturating_add(count).max(bits.saturating_add(1));
        };
        let taken = find_next_set(words, end, index);
        if taken >= end {
            return index;
        }
        start = taken + 1;
    }
}

/// The runs of set bits, as first and one past the last.
pub fn runs(words: &[u64], bits: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let start = find_next_set(words, bits, at);
        if start >= bits {
            return None;
        }
        at = find_next_clear(words, bits, start);
        Some((start, at))
    })
}

/// As `%*pbl` shows a bitmap: `0,3-5,63`.
pub fn list_text(words: &[u64], bits: usize) -> String {
    let mut text = String::new();
    for (start, end) in runs(words, bits) {
        let comma = if text.is_empty() { "" } else { "," };
        _ = if end - start == 1 { write!(text, "{comma}{start}") } else { write!(text, "{comma}{start}-{}", end - 1) };
    }
    text
}

/// As `%*pb` shows a bitmap: 32-bit groups from the top, the first one only as wide as it must be.
pub fn hex_text(words: &[u64], bits: usize) -> String {
    let mut text = String::new();
    for group in (0..bits.div_ceil(32)).rev() {
        let value = masked(word(words, group / 2), group / 2, 0, bits) >> (32 * (group % 2)) as u32 & 0xffff_ffff;
        let width = (bits - group * 32).min(32).div_ceil(4);
        let comma = if text.is_empty() { "" } else { "," };
        _ = write!(text, "{comma}{value:0width$x}");
    }
    text
}

fn separates(byte: u8) -> bool {
    ctype::is_space(byte) || byte == b','
}

/// Reads a list such as `0-3,8,16-31:1/2`, `all` or `5-N` into `words` (`bitmap_parselist`), which is cleared first.
///
/// # Errors
/// `EINVAL` for what is no list, `EOVERFLOW` for a number beyond 32 bits, `ERANGE` for a bit that the bitmap has not. What
/// was read before stays set.
pub fn parse_list(text: &[u8], words: &mut [u64], bits: usize) -> Result<(), Errno> {
    let text = ctype::until_nul(text);
    fill(words, 0, bits, false);
    let last = bits.wrapping_sub(1) as u32;
    let number = |at_byte: usize| -> Result<(u32, usize), Errno> {
        let rest = text.get(at_byte..).unwrap_or_default();
        if at(rest, 0) == b'N' {
            return Ok((last, at_byte + 1));
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(Errno::EINVAL);
        }
        let value = number::unsigned_bits(&rest[..digits], 10, 32).map_err(|_| Errno::EOVERFLOW)?;
        Ok((value as u32, at_byte + digits))
    };
    let ends = |position: usize| matches!(at(text, position), 0) || separates(at(text, position));
    let mut position = 0;
    loop {
        while position < text.len() && separates(text[position]) {
            position += 1;
        }
        if position >= text.len() {
            return Ok(());
        }
        let start;
        let mut end;
        if text[position..].get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"all")) {
            (start, end) = (0, last);
            position += 3;
        } else {
            (start, position) = number(position)?;
            end = start;
            if !ends(position) {
                if at(text, position) != b'-' {
                    return Err(Errno::EINVAL);
                }
                (end, position) = number(position + 1)?;
            }
        }
        let (mut used, mut group) = (end.wrapping_add(1), end.wrapping_add(1));
        if !ends(position) {
            if at(text, position) != b':' {
                return Err(Errno::EINVAL);
            }
            (used, position) = number(position + 1)?;
            if at(text, position) != b'/' {
                return Err(Errno::EINVAL);
            }
            (group, position) = number(position + 1)?;
        }
        if start > end || group == 0 || used > group {
            return Err(Errno::EINVAL);
        }
        if end as usize >= bits {
            return Err(Errno::ERANGE);
        }
        let (end, group) = (end as usize, group as usize);
        let mut from = start as usize;
        while from <= end {
            fill(words, from, (end - from + 1).min(used as usize), true);
            from += group;
        }
        // A newline behind a region ends the list.
        if at(text, position) == b'\n' {
            return Ok(());
        }
    }
}

/// Reads hexadecimal 32-bit groups separated by commas, the lowest last (`bitmap_parse`), up to a newline.
///
/// # Errors
/// `EINVAL` for what is no digit, `EOVERFLOW` for a group of more than eight digits or bits that the bitmap has not.
pub fn parse_hex(text: &[u8], words: &mut [u64], bits: usize) -> Result<(), Errno> {
    let text = ctype::until_nul(text);
    let mut rest = &text[..text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len())];
    let groups = bits.div_ceil(32);
    fill(words, 0, groups * 32, false);
    let mut group = 0;
    loop {
        while let [before @ .., last] = rest
            && separates(*last)
        {
            rest = before;
        }
        if rest.is_empty() {
            break;
        }
        if group == groups {
            return Err(Errno::EOVERFLOW);
        }
        let mut value = 0;
        let mut digits = 0;
        while let [before @ .., last] = rest
            && !separates(*last)
        {
            rest = before;
            let digit = hex_digit(*last).map(u64::from);
            match digit {
                Some(digit) if digits < 8 => value |= digit << (4 * digits),
                Some(_) => return Err(Errno::EOVERFLOW),
                None if digits < 8 => return Err(Errno::EINVAL),
                // The ninth is only looked at to be no digit.
                None => break,
            }
            digits += 1;
        }
        if let Some(slot) = words.get_mut(group / 2) {
            *slot |= value << (32 * (group % 2));
        }
        group += 1;
    }
    if find_next_set(words, groups * 32, bits) < groups * 32 { Err(Errno::EOVERFLOW) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn printing() {
        let words = [0x0000_00f0_0000_8001, 1];
        assert_eq!(list_text(&words, 128), "0,15,36-39,64");
        assert_eq!(hex_text(&words, 65), "1,000000f0,00008001");
        assert_eq!(hex_text(&words, 40), "f0,00008001");
        assert_eq!(hex_text(&words, 0), "");
        assert_eq!(list_text(&[u64::MAX; 2], 100), "0-99");
    }

    #[test]
    fn parsing_lists() {
        let parse = |text: &str, bits| {
            let mut words = [0u64; 2];
            parse_list(text.as_bytes(), &mut words, bits).map(|()| list_text(&words, bits))
        };
        assert_eq!(parse("0-3,8 16-31:1/2\n", 64).as_deref(), Ok("0-3,8,16,18,20,22,24,26,28,30"));
        assert_eq!(parse("all", 70).as_deref(), Ok("0-69"));
        assert_eq!(parse("ALL:2/5", 16).as_deref(), Ok("0-1,5-6,10-11,15"));
        assert_eq!(parse("60-N", 65).as_deref(), Ok("60-64"));
        assert_eq!(parse("", 8).as_deref(), Ok(""));
        assert_eq!(parse("0-0:1/0", 8), Err(Errno::EINVAL));
        assert_eq!(parse("3-1", 8), Err(Errno::EINVAL));
        assert_eq!(parse("8", 8), Err(Errno::ERANGE));
        assert_eq!(parse("4294967296", 8), Err(Errno::EOVERFLOW));
        assert_eq!(parse("a", 8), Err(Errno::EINVAL));
        assert_eq!(parse("1-", 8), Err(Errno::EINVAL));
        assert_eq!(parse("0-5:3", 8), Err(Errno::EINVAL));
    }

    #[test]
    fn parsing_hex() {
        let parse = |text: &str, bits| {
            let mut words = [0u64; 2];
            parse_hex(text.as_bytes(), &mut words, bits).map(|()| hex_text(&words, bits))
        };
        assert_eq!(parse("1,0000F0f0\n", 64).as_deref(), Ok("00000001,0000f0f0"));
        assert_eq!(parse("", 32).as_deref(), Ok("00000000"));
        assert_eq!(parse("100", 8), Err(Errno::EOVERFLOW));
        assert_eq!(parse("123456789", 64), Err(Errno::EOVERFLOW));
        assert_eq!(parse("1,2,3", 64), Err(Errno::EOVERFLOW));
        assert_eq!(parse("g", 64), Err(Errno::EINVAL));
    }

    #[test]
    fn clear_areas() {
        let words = [0b1101u64];
        assert_eq!(find_clear_area(&words, 64, 0, 1, 0, 0), 1);
        assert_eq!(find_clear_area(&words, 64, 0, 2, 0, 0), 4);
        assert_eq!(find_clear_area(&words, 64, 0, 2, 7, 0), 8);
        assert!(find_clear_area(&words, 64, 0, 61, 0, 0) > 64);
    }

    proptest! {
        #[test]
        fn like_a_list_of_truth_values(words in proptest::collection::vec(any::<u64>(), 0..4), mask: u64, bits in 0usize..260, from in 0usize..270) {
            let words: Vec<u64> = words.iter().map(|word| word & mask).collect();
            let plain: Vec<bool> = (0..bits).map(|bit| is_set(&words, bit)).collect();
            let next = |wanted| (from..bits).find(|bit| plain[*bit] == wanted).unwrap_or(bits);
            prop_assert_eq!(find_next_set(&words, bits, from), next(true));
            prop_assert_eq!(find_next_clear(&words, bits, from), next(false));
            prop_assert_eq!(find_last(&words, bits), plain.iter().rposition(|set| *set).unwrap_or(bits));
            prop_assert_eq!(weight(&words, bits), plain.iter().filter(|set| **set).count());
            let nth: Vec<usize> = (0..bits).filter(|bit| plain[*bit]).collect();
            prop_assert_eq!(find_nth(&words, bits, from), nth.get(from).copied().unwrap_or(bits));
            let mut read = [0u64; 5];
            prop_assert_eq!(parse_list(list_text(&words, bits).as_bytes(), &mut read, bits), Ok(()));
            prop_assert!((0..bits).all(|bit| is_set(&read, bit) == plain[bit]));
            prop_assert_eq!(parse_hex(hex_text(&words, bits).as_bytes(), &mut read, bits), Ok(()));
            prop_assert!((0..bits).all(|bit| is_set(&read, bit) == plain[bit]));
        }

        #[test]
        fn filling(start in 0usize..300, count in 0usize..300, set: bool) {
            let mut words = [if set { 0 } else { u64::MAX }; 4];
            fill(&mut words, start, count, set);
            prop_assert!((0..256).all(|bit| is_set(&words, bit) == (set == (start..start + count).contains(&bit))));
        }

        #[test]
        fn no_text_panics(text in "[-0-9N,:/al a-f\n]{0,20}", bits in 0usize..130) {
            let mut words = [0u64; 1];
            let _ = parse_list(text.as_bytes(), &mut words, bits);
            let _ = parse_hex(text.as_bytes(), &mut words, bits);
        }
    }
}
