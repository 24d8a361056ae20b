//! The argument string of a load, cut as the kernel cuts it (`next_arg`).

use core::ops::Range;

/// One argument, as ranges of the string it was cut from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: Range<usize>,
    /// What stood behind the first `=`, quotes removed.
    pub value: Option<Range<usize>>,
    /// Where the equals sign is.
    pub equals: Option<usize>,
    /// Where it ends without a quote that closes it.
    pub last: usize,
    /// Where it ends with that.
    pub end: usize,
    /// Where the next argument starts.
    pub next: usize,
}

/// Linux's `isspace`, which also takes the no-break space of Latin-1.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

/// How much of `text` from `at` on is white space, added to `at`.
fn skip(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|&byte| !is_space(byte)).unwrap_or(rest.len())
}

/// The arguments of `text`, which ends at its first NUL.
pub fn arguments(text: &[u8]) -> impl Iterator<Item = Argument> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut at = skip(text, 0);
    core::iter::from_fn(move || {
        let argument = (at < text.len()).then(|| next_argument(text, at))?;
        at = argument.next;
        Some(argument)
    })
}

/// The argument of `text` that begins at `start`, empty when there is white space or nothing. `text` has no NUL in it.
///
/// White space outside of double quotes ends an argument. The quotes round a value or round the whole argument go, all others stay. There
/// is no escape character.
#[must_use]
pub fn next_argument(text: &[u8], start: usize) -> Argument {
    let quoted = text.get(start) == Some(&b'"');
    let start = start.min(text.len()) + usize::from(quoted);
    let mut in_quote = quoted;
    let mut equals = None;
    let mut end = start;
    while let Some(&byte) = text.get(end)
        && (in_quote || !is_space(byte))
    {
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
        equals + 1 + usize::from(value_quoted)
    });
    Argument {
        name: start..equals.unwrap_or(last).min(last).max(start),
        // `cp="` has one quote that both opens and closes; its value is empty.
        value: value.map(|value| value..last.max(value)),
        equals,
        last,
        end,
        next: skip(text, end),
    }
}

/// Whether two names of parameters are the same: `-` and `_` are.
#[must_use]
pub fn same_name(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'-' { b'_' } else { *byte };
    one.iter().map(plain).eq(other.iter().map(plain))
}
