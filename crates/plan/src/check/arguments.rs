//! The argument string of a load, cut as the kernel cuts it.
//!
//! `ferrmod_kernel::text::params` does the same to a string in a module's memory, in place and with the ends C code expects; what is
//! judged here is nobody's memory.

use bstr::{BStr, ByteSlice};

/// One argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Argument<'a> {
    /// The name, as it is spelled.
    pub(super) name: &'a BStr,
    /// What stands behind the first `=`, quotes removed.
    pub(super) value: Option<&'a BStr>,
}

/// Linux's `isspace`: also the no-break space of Latin-1.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0xa0)
}

/// The arguments in `text`, and what stands behind a `--`.
///
/// White space outside of double quotes ends an argument. Quotes round a value or the whole argument go, all others stay; there is no
/// escape character.
pub(super) fn split(text: &[u8]) -> (Vec<Argument<'_>>, Option<&BStr>) {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let skip = |mut rest: &'_ [u8]| {
        while let Some((&first, after)) = rest.split_first()
            && is_space(first)
        {
            rest = &rest[rest.len() - after.len()..];
        }
        rest.len()
    };
    let mut arguments = Vec::new();
    let mut at = text.len() - skip(text);
    while at < text.len() {
        let (argument, length) = one(text.get(at..).unwrap_or_default());
        at += length;
        at = text.len() - skip(text.get(at..).unwrap_or_default());
        if argument.value.is_none() && argument.name == "--" {
            return (arguments, text.get(at..).map(BStr::new));
        }
        arguments.push(argument);
    }
    (arguments, None)
}

/// The argument at the start of `text`, and how long it is with its quotes.
fn one(text: &[u8]) -> (Argument<'_>, usize) {
    let quoted = text.first() == Some(&b'"');
    let start = usize::from(quoted);
    let mut in_quote = quoted;
    let mut equals = None;
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        if is_space(byte) && !in_quote {
            break;
        }
        // An equals sign in front is part of the name.
        if byte == b'=' && equals.is_none() && end > start {
            equals = Some(end);
        }
        in_quote ^= byte == b'"';
        end += 1;
    }
    let closed = end > start && text.get(end - 1) == Some(&b'"');
    let mut last = if quoted && closed { end - 1 } else { end };
    let value = equals.map(|equals| {
        let value_quoted = equals + 1 < end && text.get(equals + 1) == Some(&b'"');
        if value_quoted && closed {
            last = end - 1;
        }
        let from = equals + 1 + usize::from(value_quoted);
        BStr::new(text.get(from..last.max(from)).unwrap_or_default())
    });
    let name_end = equals.unwrap_or(last).max(start);
    (Argument { name: BStr::new(text.get(start..name_end).unwrap_or_default()), value }, end)
}

/// Whether two names of parameters are the same: `-` and `_` are.
pub(super) fn same_name(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'-' { b'_' } else { *byte };
    one.iter().map(plain).eq(other.iter().map(plain))
}

/// Whether the kernel knows the argument although no parameter has its name (`async_probe`, `dyndbg`), else the name that its warning
/// about an unknown parameter shows: up to the first dot.
pub(super) fn unknown(name: &BStr) -> Option<&BStr> {
    let (before, after) =
        name.split_once_str(".").map_or((name, None), |(before, after)| (BStr::new(before), Some(after)));
    let magic = name == "async_probe" || after.unwrap_or(name) == b"dyndbg";
    (!magic).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<(String, Option<String>)> {
        let text_of = |text: &BStr| text.to_string();
        split(text.as_bytes()).0.iter().map(|one| (text_of(one.name), one.value.map(text_of))).collect()
    }

    fn token(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_string(), value.map(String::from))
    }

    #[test]
    fn quotes_and_equals_signs() {
        assert_eq!(tokens("cp=\"a b\" b"), [token("cp", Some("a b")), token("b", None)]);
        assert_eq!(tokens("\"cp=a b\" b"), [token("cp", Some("a b")), token("b", None)]);
        assert_eq!(tokens("cp=\"a b"), [token("cp", Some("a b"))]);
        assert_eq!(tokens("cp=a\"b c\"d"), [token("cp", Some("a\"b c\"d"))]);
        assert_eq!(tokens("\"a b\""), [token("a b", None)]);
        assert_eq!(tokens("cp=\""), [token("cp", Some(""))]);
        assert_eq!(tokens("cp=\"\""), [token("cp", Some(""))]);
        assert_eq!(tokens("a=b=c =5=6"), [token("a", Some("b=c")), token("=5", Some("6"))]);
        assert_eq!(tokens(" \t a\n\u{b}b "), [token("a", None), token("b", None)]);
    }

    #[test]
    fn two_dashes_end_the_arguments() {
        let (arguments, rest) = split(b"ui=1 -- sh=2 foo");
        assert_eq!((arguments.len(), rest.map(|rest| rest.to_string())), (1, Some("sh=2 foo".into())));
        assert_eq!(split(b"--x").1, None);
    }

    #[test]
    fn names() {
        assert!(same_name(b"with-dash", b"with_dash") && !same_name(b"a", b"ab"));
        assert_eq!(unknown(BStr::new("nosuch.x")), Some(BStr::new("nosuch")));
        assert_eq!(unknown(BStr::new("async_probe")), None);
        assert_eq!(unknown(BStr::new("dyndbg")), None);
        assert_eq!(unknown(BStr::new("base.dyndbg")), None);
    }
}
