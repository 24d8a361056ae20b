//! Bytes as text that does nothing to the terminal or the document it stands in.

use alloc::string::String;
use core::fmt::Write;

use bstr::ByteSlice;

/// The longest text that is taken over whole, in bytes. Names of modules have at most 55, paths 4,096.
const LONGEST: usize = 4096;

/// `bytes` as text: control characters are escaped, what is no UTF-8 is replaced, and what is longer than any name ends in `…`.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let (kept, more) = match bytes.get(..LONGEST) {
        Some(kept) if bytes.len() > LONGEST => (kept, "…"),
        _ => (bytes, ""),
    };
    let mut out = String::with_capacity(kept.len());
    for character in kept.chars() {
        if is_harmful(character) {
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
    out.push_str(more);
    out
}

/// Whether a character may be a command to a terminal, changes the direction of the text after it, or is not seen at all: a name with
/// it looks like another.
#[must_use]
pub fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal() {
        assert_eq!(shown(b"e\x1b[2Jvil\n\xff"), "e\\u{1b}[2Jvil\\n\u{fffd}");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(shown("café".as_bytes()), "café");
        assert!(shown(&[b'a'; 5000]).ends_with("a…"));
    }
}
