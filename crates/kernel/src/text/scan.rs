//! The kernel's `scanf`.
//!
//! It differs from C's: `%[` needs a width and knows no ranges, `%*` skips everything up to white space, a width counts sign
//! and prefix, numbers wrap around, and the answer is never EOF.

use super::arguments::Arguments;
use super::ctype::{at, is_space, skip_spaces, until_nul};
use super::memory::MemoryMut;
use super::number;
use crate::platform::Fault;

/// Scans `text` as `format` says; the arguments are addresses to store at. Returns the number of conversions stored.
///
/// # Errors
/// [`Fault`] when one of the addresses cannot be written; the conversions before it are stored.
pub fn scan(text: &[u8], format: &[u8], arguments: &mut dyn Arguments, memory: &dyn MemoryMut) -> Result<i32, Fault> {
    let text = until_nul(text);
    let mut scanner = Scanner { whole: text, text, format: until_nul(format), arguments, memory, stored: 0 };
    while scanner.step()? {}
    Ok(scanner.stored)
}

struct Scanner<'s> {
    whole: &'s [u8],
    /// What is not scanned yet.
    text: &'s [u8],
    format: &'s [u8],
    arguments: &'s mut dyn Arguments,
    memory: &'s dyn MemoryMut,
    stored: i32,
}

impl Scanner<'_> {
    /// One element of the format. `false`: it is over.
    fn step(&mut self) -> Result<bool, Fault> {
        if at(self.format, 0) == 0 {
            return Ok(false);
        }
        if is_space(self.format[0]) {
            self.format = skip_spaces(self.format);
            self.text = skip_spaces(self.text);
        }
        match self.format.split_first() {
            None => return Ok(false),
            Some((b'%', rest)) => self.format = rest,
            Some((literal, rest)) => {
                let matches = self.text.first() == Some(literal);
                self.format = rest;
                self.text = self.text.get(1..).unwrap_or_default();
                return Ok(matches);
            }
        }
        if at(self.format, 0) == b'*' {
            return Ok(self.skip());
        }

        let mut width = None;
        if at(self.format, 0).is_ascii_digit() {
            let (value, used) = number::leading_unsigned(self.format, 10);
            self.format = &self.format[used..];
            // The kernel keeps it in 16 bits.
            match usize::try_from(value as i16) {
                Ok(0) | Err(_) => return Ok(false),
                Ok(value) => width = Some(value),
            }
        }
        let size;
        (size, self.format) = match self.format {
            [b'h', b'h', rest @ ..] => (1, rest),
            [b'h', rest @ ..] => (2, rest),
            [b'l', b'l', rest @ ..] | [b'L', b'L', rest @ ..] | [b'l' | b'L' | b'z', rest @ ..] => (8, rest),
            rest => (4, rest),
        };
        let Some((&letter, rest)) = self.format.split_first() else {
            return Ok(false);
        };
        self.format = rest;
        if letter == b'n' {
            let read = (self.whole.len() - self.text.len()) as i32;
            let target = self.arguments.next(8);
            self.memory.write(target, &read.to_le_bytes())?;
            return Ok(true);
        }
        if self.text.is_empty() {
            return Ok(false);
        }
        match letter {
            b'c' => {
                let (taken, rest) = self.text.split_at(width.unwrap_or(1).min(self.text.len()));
                self.text = rest;
                let target = self.arguments.next(8);
                self.memory.write(target, taken)?;
                self.stored += 1;
                Ok(true)
            }
            b's' => {
                self.text = skip_spaces(self.text);
                self.store_string(width.unwrap_or(i16::MAX as usize), |byte| !is_space(byte))
            }
            b'[' => self.class(width),
            b'%' => {
                let matches = self.text[0] == b'%';
                self.text = &self.text[1..];
                Ok(matches)
            }
            b'o' => self.number(8, false, width, size),
            b'x' | b'X' => self.number(16, false, width, size),
            b'i' => self.number(0, true, width, size),
            b'd' => self.number(10, true, width, size),
            b'u' => self.number(10, false, width, size),
            _ => Ok(false),
        }
    }

    /// `%*`: both sides go on to the next white space (the format also to the next conversion).
    fn skip(&mut self) -> bool {
        if self.text.is_empty() {
            return false;
        }
        let end = self.format.iter().position(|&byte| is_space(byte) || byte == b'%' || byte == b'[');
        let end = end.unwrap_or(self.format.len());
        self.format = &self.format[end..];
        if at(self.format, 0) == b'[' {
            // %*[ is not supported.
            return false;
        }
        let end = self.text.iter().position(|&byte| is_space(byte)).unwrap_or(self.text.len());
        self.text = &self.text[end..];
        true
    }

    /// Stores the longest start of the text, at most `most` bytes, that `belongs`, and a NUL.
    fn store_string(&mut self, most: usize, belongs: impl Fn(u8) -> bool) -> Result<bool, Fault> {
        let end = self.text.iter().take(most).position(|&byte| !belongs(byte)).unwrap_or(most.min(self.text.len()));
        let (taken, rest) = self.text.split_at(end);
        self.text = rest;
        let target = self.arguments.next(8);
        self.memory.write(target, taken)?;
        self.memory.write(target.wrapping_add(taken.len() as u64), &[0])?;
        self.stored += 1;
        Ok(true)
    }

    fn class(&mut self, width: Option<usize>) -> Result<bool, Fault> {
        let Some(width) = width else { return Ok(false) };
        let inverted = at(self.format, 0) == b'^';
        let members = &self.format[usize::from(inverted)..];
        let Some(end) = members.iter().position(|&byte| byte == b']') else {
            return Ok(false);
        };
        let (members, rest) = (&members[..end], &members[end + 1..]);
        let belongs = |byte: u8| members.contains(&byte) != inverted;
        if members.is_empty() || !belongs(self.text[0]) {
            return Ok(false);
        }
        self.format = rest;
        self.store_string(width, belongs)
    }

    fn number(&mut self, base: u32, signed: bool, width: Option<usize>, size: usize) -> Result<bool, Fault> {
        self.text = skip_spaces(self.text);
        let minus = signed && at(self.text, 0) == b'-';
        if minus && width == Some(1) {
            return Ok(false);
        }
        let digit = at(self.text, minus.into());
        let fits = match base {
            16 => digit.is_ascii_hexdigit(),
            8 => (b'0'..=b'7').contains(&digit),
            _ => digit.is_ascii_digit(),
        };
        if !fits {
            return Ok(false);
        }
        let limit = width.unwrap_or(i32::MAX as usize);
        let (value, used) = if signed {
            number::leading_signed_limited(self.text, base, limit)
        } else {
            let (value, used) = number::leading_unsigned_limited(self.text, base, limit);
            (value as i64, used)
        };
        let target = self.arguments.next(8);
        self.memory.write(target, &value.to_le_bytes()[..size])?;
        self.stored += 1;
        self.text = self.text.get(used..).unwrap_or_default();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Words;
    use super::super::memory::tests::Pieces;
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Scans into eight places of 32 bytes; the count and the places' first words.
    fn words(text: &str, format: &str) -> (i32, [i64; 4]) {
        let (count, places, memory) = scanned(text.as_bytes(), format.as_bytes());
        (count, core::array::from_fn(|index| i64::from_le_bytes(memory.get(places[index], 8).try_into().unwrap())))
    }

    fn string(text: &str, format: &str) -> (i32, String) {
        let (count, places, memory) = scanned(text.as_bytes(), format.as_bytes());
        (count, String::from_utf8(until_nul(&memory.get(places[0], 32)).to_vec()).unwrap())
    }

    fn scanned(text: &[u8], format: &[u8]) -> (i32, Vec<u64>, Pieces) {
        let memory = Pieces::default();
        let places: Vec<u64> = (0..8).map(|_| memory.put(&[0; 32])).collect();
        let count = scan(text, format, &mut Words(&places), &memory).unwrap_or(-1);
        (count, places, memory)
    }

    #[test]
    fn numbers() {
        assert_eq!(words("12 -7 0x1f 017", "%d %d %i %i"), (4, [12, 0xffff_fff9, 31, 15]));
        assert_eq!(words("ff 0xFF 77", "%x %X %o"), (3, [255, 255, 63, 0]));
        assert_eq!(words("-1", "%u").0, 0);
        assert_eq!(words("-1 300", "%hhd %hhu"), (2, [0xff, 300 & 0xff, 0, 0]));
        assert_eq!(words("-1 -2", "%lld %hd"), (2, [-1, 0xfffe, 0, 0]));
        assert_eq!(words("18446744073709551615", "%llu"), (1, [-1, 0, 0, 0]));
        assert_eq!(words("0x", "%i"), (1, [0, 0, 0, 0]));
        assert_eq!(words("x", "%x").0, 0);
        assert_eq!(words("", "%d").0, 0);
        assert_eq!(words("  5", "%d"), (1, [5, 0, 0, 0]));
    }

    #[test]
    fn widths() {
        assert_eq!(words("12345", "%2d%3d"), (2, [12, 345, 0, 0]));
        assert_eq!(words("-12", "%1d").0, 0);
        assert_eq!(words("-12", "%2d%d"), (2, [0xffff_ffff, 2, 0, 0]));
        assert_eq!(words("0x12", "%2x"), (1, [0, 0, 0, 0]));
        assert_eq!(words("0x12", "%3x%x"), (2, [1, 2, 0, 0]));
        assert_eq!(words("1", "%0d").0, 0);
        assert_eq!(words("de:ad:be", "%2hhx:%2hhx:%2hhx"), (3, [0xde, 0xad, 0xbe, 0]));
    }

    #[test]
    fn literals_and_positions() {
        assert_eq!(words("a=1, b=2", "a=%d , b=%d"), (2, [1, 2, 0, 0]));
        assert_eq!(words("a=1;b=2", "a=%d,b=%d"), (1, [1, 0, 0, 0]));
        assert_eq!(words("100%", "%d%%%n"), (1, [100, 4, 0, 0]));
        assert_eq!(words("12", "%d%n"), (1, [12, 2, 0, 0]));
        assert_eq!(words("skip 5", "%*s %d"), (1, [5, 0, 0, 0]));
        assert_eq!(words("1 2", "%d %q"), (1, [1, 0, 0, 0]));
    }

    #[test]
    fn strings() {
        assert_eq!(string("  hello world", "%s"), (1, "hello".to_string()));
        assert_eq!(string("hello", "%3s"), (1, "hel".to_string()));
        assert_eq!(string("hello", "%2c"), (1, "he".to_string()));
        assert_eq!(string("abcabc1", "%9[abc]"), (1, "abcabc".to_string()));
        assert_eq!(string("key=value", "%31[^=]"), (1, "key".to_string()));
        assert_eq!(string("abc", "%[abc]").0, 0);
        assert_eq!(string("abc", "%3[]").0, 0);
        assert_eq!(string("abc", "%3[abc").0, 0);
        assert_eq!(string("xyz", "%3[abc]").0, 0);
        assert_eq!(string("abc", "%*[abc]").0, 0);
        assert_eq!(string("aabb", "%2[ab]"), (1, "aa".to_string()));
    }

    #[test]
    fn unwritable_targets() {
        let memory = Pieces::default();
        assert!(scan(b"1", b"%d", &mut Words(&[8]), &memory).is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(one: i32, two: u64, three: i64) {
            let (count, places, memory) = scanned(format!("{one} {two:#x},{three}").as_bytes(), b"%d %llx,%lld");
            prop_assert_eq!(count, 3);
            prop_assert_eq!(memory.get(places[0], 4), one.to_le_bytes());
            prop_assert_eq!(memory.get(places[1], 8), two.to_le_bytes());
            prop_assert_eq!(memory.get(places[2], 8), three.to_le_bytes());
        }

        #[test]
        fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..30), format in "[%*0-9hlLzncsdiuxXo\\[\\]^a =]{0,16}") {
            let _ = scanned(&text, format.as_bytes());
            let _ = scanned(format.as_bytes(), &text);
            let _ = scanned(b"0x12 -3 abc 4", format.as_bytes());
        }
    }
}
