//! String functions that are more than a loop: escapes, globs, sizes, hexadecimal.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use super::Errno;
use super::ctype::{at, is_print};

bitflags::bitflags! {
    /// What [`escape`] escapes and how (`ESCAPE_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Escape: u32 {
        /// Form feed, newline, carriage return and tabs, as letters.
        const SPACE = 1 << 0;
        /// Quote, backslash, bell and escape, as letters.
        const SPECIAL = 1 << 1;
        /// NUL, as `\0`.
        const NULL = 1 << 2;
        /// Everything that is left, as `\ooo`.
        const OCTAL = 1 << 3;
        /// The four above.
        const ANY = 0xf;
        /// Only what is not printable.
        const NP = 1 << 4;
        /// [`Escape::ANY`] of what is not printable.
        const ANY_NP = 0x1f;
        /// Everything that is left, as `\xhh`.
        const HEX = 1 << 5;
        /// Only what is not ASCII.
        const NA = 1 << 6;
        /// Only what is not printable or not ASCII.
        const NAP = 1 << 7;
        /// The listed bytes are escaped in addition to what the other flags select, not instead.
        const APPEND = 1 << 8;
    }
}

/// Escapes bytes (`string_escape_mem`). With `only` not empty, only the bytes in it are escaped (see [`Escape::APPEND`]).
pub fn escape(bytes: &[u8], flags: Escape, only: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        let listed = only.contains(&byte);
        let append = flags.contains(Escape::APPEND);
        let spared = !(append && listed)
            && (flags.contains(Escape::NAP) && byte.is_ascii() && is_print(byte)
                || flags.contains(Escape::NP) && is_print(byte)
                || flags.contains(Escape::NA) && byte.is_ascii());
        if !only.is_empty() && !listed && !append || spared {
            out.push(byte);
            continue;
        }
        let letter = match byte {
            b'\n' => Some((b'n', Escape::SPACE)),
            b'\r' => Some((b'r', Escape::SPACE)),
            b'\t' => Some((b't', Escape::SPACE)),
            0x0b => Some((b'v', Escape::SPACE)),
            0x0c => Some((b'f', Escape::SPACE)),
            b'\\' => Some((b'\\', Escape::SPECIAL)),
            0x07 => Some((b'a', Escape::SPECIAL)),
            0x1b => Some((b'e', Escape::SPECIAL)),
            b'"' => Some((b'"', Escape::SPECIAL)),
            0 => Some((b'0', Escape::NULL)),
            _ => None,
        };
        match letter.filter(|(_, class)| flags.contains(*class)) {
            Some((letter, _)) => out.extend_from_slice(&[b'\\', letter]),
            None if flags.contains(Escape::OCTAL) => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            None if flags.contains(Escape::HEX) => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            None => out.push(byte),
        }
    }
    out
}

bitflags::bitflags! {
    /// What [`unescape`] understands (`UNESCAPE_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Unescape: u32 {
        /// `\f`, `\n`, `\r`, `\t`, `\v`.
        const SPACE = 1 << 0;
        /// `\o`, `\oo`, `\ooo`.
        const OCTAL = 1 << 1;
        /// `\xh`, `\xhh`.
        const HEX = 1 << 2;
        /// `\"`, `\\`, `\a`, `\e`.
        const SPECIAL = 1 << 3;
        /// All of them.
        const ANY = 0xf;
    }
}

/// Undoes escapes (`string_unescape`), at most `most` bytes. What is no escape stays as it is.
pub fn unescape(text: &[u8], flags: Unescape, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = super::ctype::until_nul(text);
    while let [byte, after @ ..] = rest {
        if out.len() >= most {
            break;
        }
        let (value, used) = match byte {
            // A backslash that has no room for itself and a letter is not looked into.
            b'\\' if !after.is_empty() && out.len() + 1 < most => escape_sequence(after, flags),
            b'\\' => (None, 0),
            byte => (Some(*byte), 0),
        };
        match value {
            Some(value) => out.push(value),
            None => {
                out.push(b'\\');
                if let Some(next) = after.first().filter(|_| out.len() < most) {
                    out.push(*next);
                    rest = &after[1..];
                    continue;
                }
            }
        }
        rest = &after[used..];
    }
    out
}

/// The value behind a backslash, and the bytes it took.
fn escape_sequence(after: &[u8], flags: Unescape) -> (Option<u8>, usize) {
    let letter = |from: &[u8], to: &[u8]| from.iter().position(|byte| *byte == after[0]).map(|index| to[index]);
    if flags.contains(Unescape::SPACE)
        && let Some(value) = letter(b"nrtvf", b"\n\r\t\x0b\x0c")
    {
        return (Some(value), 1);
    }
    if flags.contains(Unescape::OCTAL) {
        let mut value = 0u32;
        let mut used = 0;
        // Three digits may be too large for a byte; then there are two.
        while used < 3
            && let digit @ b'0'..=b'7' = at(after, used)
            && value * 8 + u32::from(digit - b'0') < 256
        {
            value = value * 8 + u32::from(digit - b'0');
            used += 1;
        }
        if used > 0 {
            return (Some(value as u8), used);
        }
    }
    if flags.contains(Unescape::HEX) && after[0] == b'x' {
        let digits: Vec<u8> = after[1..].iter().take(2).map_while(|byte| hex_digit(*byte)).collect();
        if !digits.is_empty() {
            return (Some(digits.iter().fold(0, |value, digit| value << 4 | digit)), 1 + digits.len());
        }
    }
    if flags.contains(Unescape::SPECIAL)
        && let Some(value) = letter(b"\"\\ae", b"\"\\\x07\x1b")
    {
        return (Some(value), 1);
    }
    (None, 0)
}

/// The value of a hexadecimal digit (`hex_to_bin`).
pub fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Reads `into.len()` bytes from twice as many digits (`hex2bin`).
///
/// # Errors
/// `EINVAL` when there are fewer digits. What was read before is stored.
pub fn from_hex(text: &[u8], into: &mut [u8]) -> Result<(), Errno> {
    for (index, slot) in into.iter_mut().enumerate() {
        let digit = |offset| hex_digit(at(text, 2 * index + offset)).ok_or(Errno::EINVAL);
        *slot = digit(0)? << 4 | digit(1)?;
    }
    Ok(())
}

/// Matches a whole name with a pattern of `?`, `*`, `[a-z]`, `[!a-z]` and `\` (`glob_match`). There are no special names
/// and no special characters such as a slash or a leading dot. A class that does not end is an ordinary bracket.
pub fn glob_match(pattern: &[u8], name: &[u8]) -> bool {
    let (pattern, name) = (super::ctype::until_nul(pattern), super::ctype::until_nul(name));
    let (mut p, mut n) = (0, 0);
    // Where to go on after a mismatch: behind the last star, one character further. Earlier stars need no second try.
    let mut back = None;
    loop {
        // A backslash with nothing behind it counts as the pattern's end.
        let character = pattern.get(p).filter(|_| &pattern[p..] != b"\\");
        let step = match character {
            Some(b'*') => {
                if p + 1 == pattern.len() {
                    return true;
                }
                back = Some((p + 1, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            None => None,
            Some(_) if n == name.len() => return false,
            Some(b'?') => Some(1),
            Some(b'[') => match class(&pattern[p + 1..], name[n]) {
                Some((true, used)) => Some(1 + used),
                Some((false, _)) => None,
                None => (name[n] == b'[').then_some(1),
            },
            Some(b'\\') => (at(pattern, p + 1) == name[n]).then_some(2),
            Some(byte) => (*byte == name[n]).then_some(1),
        };
        match (step, back) {
            (Some(step), _) => {
                p += step;
                n += 1;
            }
            (None, Some((after_star, tried))) => {
                (p, n) = (after_star, tried + 1);
                back = Some((after_star, tried + 1));
            }
            (None, None) => return false,
        }
    }
}

/// Whether a character is in the class that begins here (behind its bracket), and the class's length. `None`: no class.
fn class(pattern: &[u8], character: u8) -> Option<(bool, usize)> {
    let inverted = at(pattern, 0) == b'!';
    let mut index = usize::from(inverted);
    let mut found = false;
    loop {
        // A closing bracket that comes first is a member.
        let low = *pattern.get(index)?;
        let mut high = low;
        index += 1;
        if at(pattern, index) == b'-' && !matches!(at(pattern, index + 1), 0 | b']') {
            high = pattern[index + 1];
            index += 2;
        }
        found |= (low..=high).contains(&character);
        if *pattern.get(index)? == b']' {
            return Some((found != inverted, index + 1));
        }
    }
}

/// The units of [`size_text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// Powers of 1000: kB, MB.
    Decimal,
    /// Powers of 1024: KiB, MiB.
    Binary,
}

/// `size` blocks of `block` bytes in three significant figures (`string_get_size`): `8.39 MB`, `256 GB`.
pub fn size_text(size: u64, block: u64, units: Units) -> String {
    const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    let (divisor, names) = match units {
        Units::Decimal => (1000, DECIMAL),
        Units::Binary => (1024, BINARY),
    };
    let mut value = u128::from(size) * u128::from(block);
    if value == 0 {
        return String::from("0 B");
    }
    let (mut unit, mut remainder) = (0, 0);
    while value >= divisor {
        remainder = value % divisor;
        value /= divisor;
        unit += 1;
    }
    // In thousandths, whatever the unit.
    let mut thousandths = (remainder * 1000 / divisor) as u32;
    let places = match value {
        0..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    thousandths += [500, 50, 5][places];
    if thousandths >= 1000 {
        thousandths -= 1000;
        value += 1;
    }
    let fraction = format!("{thousandths:03}");
    let name = names.get(unit).copied().unwrap_or("UNK");
    match places {
        0 => format!("{value} {name}"),
        places => format!("{value}.{} {name}", &fraction[..places]),
    }
}

/// The index of `text` in a list that ends at the first `None` (`match_string`).
pub fn match_string<'a>(list: impl IntoIterator<Item = Option<&'a [u8]>>, text: &[u8]) -> Option<usize> {
    let text = super::ctype::until_nul(text);
    list.into_iter().map_while(|item| item).position(|item| super::ctype::until_nul(item) == text)
}

/// The digits of bytes, lower case (`bin2hex`).
pub fn to_hex(bytes: &[u8]) -> Vec<u8> {
    let mut text = vec![0; 2 * bytes.len()];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(format!("{byte:02x}").as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes() {
        assert_eq!(escape(b"a\n\0\"\x80", Escape::ANY, b""), b"\\141\\n\\0\\\"\\200");
        assert_eq!(escape(b"a\n\x01\x80", Escape::ANY_NP, b""), b"a\\n\\001\\200");
        assert_eq!(escape(b"\x90\r", Escape::HEX, b""), b"\\x90\\x0d");
        assert_eq!(escape(b"a\n", Escape::SPACE, b""), b"a\\n");
        assert_eq!(escape(b"abc", Escape::OCTAL, b"b"), b"a\\142c");
        assert_eq!(escape(b"ab\n", Escape::NP | Escape::OCTAL | Escape::APPEND, b"b"), b"a\\142\\012");
        assert_eq!(escape(b"\xe4", Escape::ANY_NP, b""), b"\xe4");
        assert_eq!(escape(b"\xe4", Escape::ANY | Escape::NAP, b""), b"\\344");
    }

    #[test]
    fn unescapes() {
        let all = |text: &[u8]| unescape(text, Unescape::ANY, usize::MAX);
        assert_eq!(all(b"\\f\\ \\n\\r\\t\\v"), b"\x0c\\ \n\r\t\x0b");
        assert_eq!(all(b"\\40\\1\\387\\0064\\05\\040\\8a\\110\\777"), b" \x01\x0387\x064\x05 \\8aH?7");
        assert_eq!(all(b"\\xv\\xa\\x2c\\xD\\x6f2"), b"\\xv\n,\ro2");
        assert_eq!(all(b"\\h\\\\\\\"\\a\\e\\"), b"\\h\\\"\x07\x1b\\");
        assert_eq!(unescape(b"\\n\\x41", Unescape::HEX, usize::MAX), b"\\nA");
        assert_eq!(unescape(b"abc", Unescape::ANY, 2), b"ab");
    }

    #[test]
    fn globs() {
        for (pattern, name, matches) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "aa", false),
            ("a", "", false),
            ("", "", true),
            ("", "a", false),
            ("[a]", "a", true),
            ("[!a]", "a", false),
            ("[!a]", "b", true),
            ("[ab]", "b", true),
            ("[a-c]", "b", true),
            ("[a-c]", "d", false),
            ("[a-c-e]", "-", true),
            ("[]a-ceg-ik[]", "]", true),
            ("[]a-ceg-ik[]", "[", true),
            ("[]a-ceg-ik[]", "h", true),
            ("[]a-ceg-ik[]", "f", false),
            ("[!]a-ceg-ik[]", "f", true),
            ("[!]a-ceg-ik[]", "]", false),
            ("[!]", "b", false),
            ("[", "[", true),
            ("?", "a", true),
            ("?", "aa", false),
            ("??", "a", false),
            ("a?c", "abc", true),
            ("*", "", true),
            ("*a", "bca", true),
            ("*bc", "abcbc", true),
            ("*ac*", "abacadaeafag", true),
            ("*ac*ae*ag*", "abacadaeafag", true),
            ("*a*b*[bc]*[ef]*g*", "abacadaeafag", true),
            ("*a*b*[ef]*[cd]*g*", "abacadaeafag", false),
            ("*ab*cd*", "abcabcabcabcefg", false),
            ("*aabcaa*", "baaabcaaa", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a", true),
            ("a\\", "a\\", false),
            ("snd-hda-codec-hdmi", "snd-hda-codec-hdmi", true),
        ] {
            assert_eq!(glob_match(pattern.as_bytes(), name.as_bytes()), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn sizes() {
        for (size, block, decimal, binary) in [
            (0, 512, "0 B", "0 B"),
            (1, 512, "512 B", "512 B"),
            (1100, 1, "1.10 kB", "1.07 KiB"),
            (16384, 512, "8.39 MB", "8.00 MiB"),
            (500_118_192, 512, "256 GB", "238 GiB"),
            (8192, 4096, "33.6 MB", "32.0 MiB"),
            (u64::MAX, 4096, "75.6 ZB", "64.0 ZiB"),
            (4096, u64::MAX, "75.6 ZB", "64.0 ZiB"),
        ] {
            assert_eq!(size_text(size, block, Units::Decimal), decimal);
            assert_eq!(size_text(size, block, Units::Binary), binary);
        }
        assert!(size_text(u64::MAX, u64::MAX, Units::Decimal).ends_with("UNK"));
    }

    #[test]
    fn hexadecimal() {
        let mut bytes = [0; 3];
        assert_eq!(from_hex(b"00fFa5", &mut bytes), Ok(()));
        assert_eq!(bytes, [0, 0xff, 0xa5]);
        assert_eq!(to_hex(&bytes), b"00ffa5");
        assert_eq!(from_hex(b"00f", &mut bytes), Err(Errno::EINVAL));
    }

    #[test]
    fn lists() {
        let list = [Some(&b"on"[..]), Some(b"off"), None, Some(b"auto")];
        assert_eq!(match_string(list, b"off\0x"), Some(1));
        assert_eq!(match_string(list, b"auto"), None);
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(bytes in proptest::collection::vec(1u8.., 0..40)) {
            let escaped = escape(&bytes, Escape::ANY, b"");
            prop_assert_eq!(unescape(&escaped, Unescape::ANY, usize::MAX), bytes);
        }

        #[test]
        fn nothing_panics(text in "[\\\\x0-9a-f\\[\\]!*?-]{0,16}", name in "[a-c0]{0,6}", most in 0usize..20) {
            let _ = glob_match(text.as_bytes(), name.as_bytes());
            prop_assert!(unescape(text.as_bytes(), Unescape::ANY, most).len() <= most);
        }
    }
}
