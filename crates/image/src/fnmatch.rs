//! fnmatch(3) with no flags, byte by byte, as module aliases use it.

use alloc::borrow::Cow;

/// Whether `text` matches the shell pattern `pattern` (POSIX "Pattern Matching Notation", in the C locale).
///
/// `*` and `?` also match slashes and leading dots. `[...]` takes ranges, classes (`[:digit:]`) and `!` or `^` as negation; a
/// bracket that is never closed is itself. A backslash takes the special meaning from what follows.
#[must_use]
pub fn fnmatch(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when the rest does not match: behind the last star, with one byte more eaten by it. Going back to an
    // earlier star cannot help, so this is at worst the product of the lengths.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
                continue;
            }
            None if t == text.len() => return true,
            None => None,
            Some(_) => text.get(t).and_then(|&byte| one(pattern.get(p..).unwrap_or_default(), byte)),
        };
        if let Some(length) = step {
            p += length;
            t += 1;
            continue;
        }
        match retry {
            Some((after_star, eaten)) if eaten < text.len() => {
                p = after_star;
                t = eaten + 1;
                retry = Some((after_star, t));
            }
            _ => return false,
        }
    }
}

/// How long the part at the beginning of `pattern` is that matches `byte`, if it does.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [b'?', ..] => Some(1),
        [b'[', ..] => match bracket(pattern, byte) {
            Some((matches, length)) => matches.then_some(length),
            None => (byte == b'[').then_some(1),
        },
        [b'\\', escaped, ..] => (byte == escaped).then_some(2),
        // A backslash at the end escapes nothing and matches nothing.
        [b'\\'] => None,
        [literal, ..] => (byte == literal).then_some(1),
        [] => None,
    }
}

/// Whether the bracket expression at the beginning of `pattern` matches `byte`, and how long it is; `None` when it has no end.
fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let first = at;
    let mut matches = false;
    loop {
        let rest = pattern.get(at..)?;
        match *rest {
            [b']', ..] if at > first => return Some((matches != negated, at + 1)),
            [b'[', b':', ..] if let Some(end) = find(rest, b":]") => {
                matches |= class(rest.get(2..end)?, byte)?;
                at += end + 2;
            }
            _ => {
                let (low, length) = element(rest)?;
                at += length;
                let rest = pattern.get(at..)?;
                match *rest {
                    // A dash makes a range, unless it is the last of the expression.
                    [b'-', next, ..] if next != b']' => {
                        let (high, length) = element(rest.get(1..)?)?;
                        at += 1 + length;
                        matches |= (low..=high).contains(&byte);
                    }
                    _ => matches |= byte == low,
                }
            }
        }
    }
}

/// One element of a bracket expression: a byte, an escaped byte, `[.x.]` or `[=x=]`.
fn element(rest: &[u8]) -> Option<(u8, usize)> {
    match *rest {
        [b'[', b'.', byte, b'.', b']', ..] | [b'[', b'=', byte, b'=', b']', ..] => Some((byte, 5)),
        [b'\\', byte, ..] => Some((byte, 2)),
        [byte, ..] => Some((byte, 1)),
        [] => None,
    }
}

/// Where `what` begins in `bytes`, behind the first two.
fn find(bytes: &[u8], what: &[u8; 2]) -> Option<usize> {
    bytes.windows(2).skip(2).position(|window| window == what).map(|at| at + 2)
}

/// Whether `byte` is of the class; `None` when there is no such class, which makes the expression no expression.
fn class(name: &[u8], byte: u8) -> Option<bool> {
    Some(match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

/// An alias with `-` as `_`, except between brackets, where it makes a range.
#[must_use]
pub fn normalise_alias(alias: &[u8]) -> Cow<'_, [u8]> {
    if !alias.contains(&b'-') {
        return Cow::Borrowed(alias);
    }
    let mut inside = false;
    let normalised = alias.iter().map(|&byte| {
        match byte {
            b'[' => inside = true,
            b']' => inside = false,
            b'-' if !inside => return b'_',
            _ => {}
        }
        byte
    });
    Cow::Owned(normalised.collect())
}

#[cfg(test)]
mod tests {
    use super::{fnmatch, normalise_alias};

    #[test]
    fn a_dash_is_an_underscore_but_not_in_brackets() {
        assert_eq!(normalise_alias(b"a-b[0-9]c-d")[..], *b"a_b[0-9]c_d");
        assert_eq!(normalise_alias(b"a[0-9")[..], *b"a[0-9");
        assert_eq!(normalise_alias(b"a-[b-").as_ref(), b"a_[b-");
    }

    #[test]
    fn aliases_of_real_modules() {
        let pci = b"pci:v00008086d000010D3sv*sd*bc*sc*i*";
        assert!(fnmatch(pci, b"pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00"));
        assert!(!fnmatch(pci, b"pci:v00008086d000010D4sv00008086sd0000A01Fbc02sc00i00"));
        assert!(fnmatch(b"usb:v045Ep*d01[0-4][0-9]dc*", b"usb:v045Ep0001d0135dc00"));
        assert!(!fnmatch(b"usb:v045Ep*d01[0-4][0-9]dc*", b"usb:v045Ep0001d0155dc00"));
        assert!(fnmatch(b"*", b""));
        assert!(fnmatch(b"a*b*c", b"axxbyybzc"));
        assert!(!fnmatch(b"a*b*c", b"axxbyybz"));
    }
}
