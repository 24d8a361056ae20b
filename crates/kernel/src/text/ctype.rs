//! Character classes as Linux has them: Latin-1, so that 0xa0 is a space and 0xe4 is a letter.

/// Upper case letter.
pub const UPPER: u8 = 0x01;
/// Lower case letter.
pub const LOWER: u8 = 0x02;
/// Decimal digit.
pub const DIGIT: u8 = 0x04;
/// Control character.
pub const CONTROL: u8 = 0x08;
/// Punctuation.
pub const PUNCTUATION: u8 = 0x10;
/// White space.
pub const SPACE: u8 = 0x20;
/// Letter that is a hexadecimal digit.
pub const HEX: u8 = 0x40;
/// The hard space, which is printable.
pub const HARD_SPACE: u8 = 0x80;

/// The class of every byte: the contents of the exported array `_ctype`.
pub const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            9..=13 => CONTROL | SPACE,
            0..=31 | 127 => CONTROL,
            b' ' | 160 => SPACE | HARD_SPACE,
            b'0'..=b'9' => DIGIT,
            b'A'..=b'F' => UPPER | HEX,
            b'G'..=b'Z' => UPPER,
            b'a'..=b'f' => LOWER | HEX,
            b'g'..=b'z' => LOWER,
            128..=159 => 0,
            33..=126 | 161..=191 | 215 | 247 => PUNCTUATION,
            192..=222 => UPPER,
            223..=255 => LOWER,
        };
        byte += 1;
    }
    classes
};

const fn is(byte: u8, classes: u8) -> bool {
    CLASSES[byte as usize] & classes != 0
}

/// `isspace`.
pub const fn is_space(byte: u8) -> bool {
    is(byte, SPACE)
}

/// `isalnum`.
pub const fn is_alphanumeric(byte: u8) -> bool {
    is(byte, UPPER | LOWER | DIGIT)
}

/// `isalpha`.
pub const fn is_alpha(byte: u8) -> bool {
    is(byte, UPPER | LOWER)
}

/// `isprint`.
pub const fn is_print(byte: u8) -> bool {
    is(byte, PUNCTUATION | UPPER | LOWER | DIGIT | HARD_SPACE)
}

/// The bytes after leading white space (`skip_spaces`).
pub fn skip_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_space(byte)).unwrap_or(text.len());
    &text[start..]
}

/// The bytes before the first NUL.
pub fn until_nul(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    &text[..end]
}

/// The byte at `index`, or NUL beyond the end: how C code sees a string.
pub(crate) fn at(text: &[u8], index: usize) -> u8 {
    text.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_agrees_with_rust() {
        for byte in 0..128u8 {
            assert_eq!(is_alphanumeric(byte), byte.is_ascii_alphanumeric(), "{byte}");
            assert_eq!(is_alpha(byte), byte.is_ascii_alphabetic(), "{byte}");
            assert_eq!(is_print(byte), byte.is_ascii_graphic() || byte == b' ', "{byte}");
            assert_eq!(is_space(byte), byte.is_ascii_whitespace() || byte == 11, "{byte}");
        }
    }

    #[test]
    fn latin_1_above() {
        assert!(is_space(160) && is_print(160) && !is_space(133));
        assert!(is_print(0xb5) && !is_alpha(0xb5) && is_alpha(0xe4) && !is_alpha(0xf7) && is_alpha(0xff));
    }
}
