//! The argument string of a load, as the kernel reads it.

use bstr::{BStr, ByteSlice};
use ferrmod_image::arguments::arguments;

/// One argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Argument<'a> {
    /// The name, as it is spelled.
    pub(super) name: &'a BStr,
    /// What stands behind the first `=`, quotes removed.
    pub(super) value: Option<&'a BStr>,
}

/// The arguments in `text`, and what stands behind a `--`.
pub(super) fn split(text: &[u8]) -> (Vec<Argument<'_>>, Option<&BStr>) {
    let part = |range| BStr::new(text.get(range).unwrap_or_default());
    let mut found = Vec::new();
    for argument in arguments(text) {
        let (name, value) = (part(argument.name), argument.value.map(part));
        if value.is_none() && name == "--" {
            let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
            return (found, Some(part(argument.next..end)));
        }
        found.push(Argument { name, value });
    }
    (found, None)
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
        assert_eq!(unknown(BStr::new("nosuch.x")), Some(BStr::new("nosuch")));
        assert_eq!(unknown(BStr::new("async_probe")), None);
        assert_eq!(unknown(BStr::new("dyndbg")), None);
        assert_eq!(unknown(BStr::new("base.dyndbg")), None);
    }
}
