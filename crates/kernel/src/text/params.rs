//! Module parameters: the argument string cut into tokens, each handed to its parameter.
//!
//! Every token is handled even after one has failed; what was set before stays set, and the last error is the answer.

use alloc::format;
use alloc::vec::Vec;
use bstr::{BStr, BString, ByteSlice};
use ferrmod_image::arguments::Argument;
pub use ferrmod_image::arguments::same_name;

use super::Errno;
use super::ctype;
use super::log::Level;
use super::number;

/// Where messages go: a level and a text without newline.
pub type Log<'a> = &'a mut dyn FnMut(Level, &BStr);

/// Cuts one argument off `arguments` at `start`, writing NULs where C code expects its strings to end (`next_arg`).
pub fn next_argument(arguments: &mut [u8], start: usize) -> Argument {
    let length = ctype::until_nul(arguments).len();
    cut(arguments, length, start)
}

/// As [`next_argument`], of arguments whose first NUL was at `length` before any was cut off.
fn cut(arguments: &mut [u8], length: usize, start: usize) -> Argument {
    let argument = ferrmod_image::arguments::next_argument(&arguments[..length], start);
    for stop in [argument.equals.unwrap_or(argument.end), argument.last, argument.end] {
        if let Some(byte) = arguments.get_mut(stop) {
            *byte = 0;
        }
    }
    argument
}

/// What [`parse_args`] must know about a parameter before it sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Entry {
    /// The set's own number for it.
    pub index: usize,
    /// It may be given without a value (`KERNEL_PARAM_OPS_FL_NOARG`).
    pub no_value: bool,
    /// Setting it taints the kernel (`KERNEL_PARAM_FL_UNSAFE`).
    pub unsafe_to_set: bool,
    /// It describes hardware and is refused under lockdown (`KERNEL_PARAM_FL_HWPARAM`).
    pub hardware: bool,
}

/// A parameter's value: text inside the argument string.
#[derive(Debug)]
pub struct Value<'a> {
    /// The bytes, without the NUL that follows them in the argument string. A setter may destroy them.
    pub bytes: &'a mut [u8],
    /// Their offset in the argument string.
    pub offset: usize,
}

/// The parameters of one module.
pub trait ParameterSet {
    /// The parameter of this name. Names are the same when [`same_name`] says so.
    fn find(&mut self, name: &BStr) -> Option<Entry>;

    /// Sets a parameter.
    ///
    /// # Errors
    /// Whatever its type says; `ENOSPC` makes the message say "too large".
    fn set(&mut self, entry: Entry, value: Option<Value<'_>>, log: Log<'_>) -> Result<(), Errno>;

    /// An argument that no parameter has the name of.
    ///
    /// # Errors
    /// `ENOENT` makes the message say "Unknown parameter"; modules never fail here (see [`unknown_to_module`]).
    fn unknown(&mut self, name: &BStr, value: Option<&BStr>, log: Log<'_>) -> Result<(), Errno>;

    /// A parameter that taints the kernel is about to be set (`TAINT_USER`).
    fn taint_user(&mut self) {}

    /// Whether hardware parameters are locked down.
    fn locked_down(&self) -> bool {
        false
    }
}

/// Parses a whole argument string (`parse_args`). `doing` is the name that messages begin with.
///
/// Returns where the text after `--` starts, if there was one.
///
/// # Errors
/// The error of the last token that had one, after all tokens have been handled.
pub fn parse_args(
    doing: &str,
    arguments: &mut [u8],
    parameters: &mut dyn ParameterSet,
    log: Log<'_>,
) -> Result<Option<usize>, Errno> {
    let length = ctype::until_nul(arguments).len();
    let mut at = length - ctype::skip_spaces(&arguments[..length]).len();
    let mut failed = None;
    // Tokens are ended with NULs as they are cut, so the original length is what counts.
    while at < length {
        let token = cut(arguments, length, at);
        at = token.next;
        if token.value.is_none() && &arguments[token.name.clone()] == b"--" {
            return failed.map_or(Ok(Some(at)), Err);
        }
        if let Err(error) = parse_one(arguments, &token, parameters, log) {
            let name = arguments[token.name.clone()].as_bstr();
            let value = token.value.clone().map_or(&[][..], |value| ctype::until_nul(&arguments[value]));
            let value = value.as_bstr();
            let message = match error {
                Errno::ENOENT => message(&[doing.as_bytes(), b": Unknown parameter `", name, b"'"]),
                Errno::ENOSPC => {
                    message(&[doing.as_bytes(), b": `", value, b"' too large for parameter `", name, b"'"])
                }
                _ => message(&[doing.as_bytes(), b": `", value, b"' invalid for parameter `", name, b"'"]),
            };
            log(Level::Error, message.as_bstr());
            failed = Some(error);
        }
    }
    failed.map_or(Ok(None), Err)
}

fn parse_one(
    arguments: &mut [u8],
    token: &Argument,
    parameters: &mut dyn ParameterSet,
    log: Log<'_>,
) -> Result<(), Errno> {
    let name = BString::from(&arguments[token.name.clone()]);
    let Some(entry) = parameters.find(name.as_ref()) else {
        let value = token.value.clone().map(|value| arguments[value].as_bstr());
        return parameters.unknown(name.as_ref(), value, log);
    };
    if token.value.is_none() && !entry.no_value {
        return Err(Errno::EINVAL);
    }
    if entry.hardware && parameters.locked_down() {
        return Err(Errno::EPERM);
    }
    if entry.unsafe_to_set {
        log(Level::Notice, message(&[b"Setting dangerous option ", &name, b" - tainting kernel"]).as_bstr());
        parameters.taint_user();
    }
    let value = token.value.clone().map(|range| Value { offset: range.start, bytes: &mut arguments[range] });
    parameters.set(entry, value, log)
}

fn message(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// What an argument that a module does not know means to the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown<'a> {
    /// `async_probe[=bool]`: drivers of this module may be probed asynchronously.
    AsyncProbe(bool),
    /// `dyndbg[=query]`, for the module named before a dot if there is one.
    DynamicDebug {
        /// The name before the dot.
        module: Option<&'a BStr>,
        /// The query.
        query: Option<&'a BStr>,
    },
    /// Nothing: a warning is due, with the name cut at its first dot.
    Ignored(&'a BStr),
}

/// Sorts out an argument no parameter has the name of.
pub fn unknown_to_module<'a>(name: &'a BStr, value: Option<&'a BStr>) -> Unknown<'a> {
    if name == "async_probe" {
        // Anything that is no truth value means yes.
        return Unknown::AsyncProbe(value.is_none_or(|value| number::truth(value).unwrap_or(true)));
    }
    let (module, rest) = match name.split_once_str(".") {
        Some((module, rest)) => (Some(module.as_bstr()), rest.as_bstr()),
        None => (None, name),
    };
    if rest == "dyndbg" {
        Unknown::DynamicDebug { module, query: value }
    } else {
        Unknown::Ignored(module.unwrap_or(name))
    }
}

/// The loader's warning about an argument that was ignored.
pub fn ignored_message(doing: &str, name: &BStr) -> BString {
    message(&[doing.as_bytes(), b": unknown parameter '", name, b"' ignored"]).into()
}

/// The loader's warning about what stood after `--`.
pub fn after_dashes_message(doing: &str, rest: &[u8]) -> BString {
    message(&[doing.as_bytes(), b": parameters '", ctype::until_nul(rest), b"' after `--' ignored"]).into()
}

/// Sets one element of an array: its index, its text, and where messages go.
pub type SetElement<'a> = dyn FnMut(usize, &mut [u8], Log<'_>) -> Result<(), Errno> + 'a;

/// Cuts a list at its commas, sets every element and counts them, as the loader does for array parameters
/// (`param_array`). The commas become NULs, so that a message shows what was read last-first only.
///
/// # Errors
/// The first element's error that has one; `EINVAL` (with a message) when there are more than `most` elements.
/// The count says how many elements were set in either case.
pub fn parse_array(
    name: &BStr,
    value: &mut [u8],
    most: usize,
    log: Log<'_>,
    set: &mut SetElement<'_>,
) -> (usize, Result<(), Errno>) {
    let length = ctype::until_nul(value).len();
    let mut value = &mut value[..length];
    let mut count = 0;
    loop {
        if count == most {
            let number = format!("{most}");
            let text = message(&[name, b": can only take ", number.as_bytes(), b" arguments"]);
            log(Level::Error, text.as_bstr());
            return (count, Err(Errno::EINVAL));
        }
        let comma = value.iter().position(|&byte| byte == b',');
        let (element, rest) = value.split_at_mut(comma.unwrap_or(value.len()));
        if let Some(comma) = rest.first_mut() {
            *comma = 0;
        }
        if let Err(error) = set(count, element, log) {
            return (count, Err(error));
        }
        count += 1;
        match rest.get_mut(1..) {
            Some(rest) if comma.is_some() => value = rest,
            _ => return (count, Ok(())),
        }
    }
}

/// Whether two strings are equal but for one newline at the end of one of them (`sysfs_streq`).
pub fn same_line(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (ctype::until_nul(one), ctype::until_nul(other));
    one == other || one.strip_suffix(b"\n") == Some(other) || other.strip_suffix(b"\n") == Some(one)
}

#[cfg(test)]
mod tests {
    use core::ops::Range;

    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;
    use proptest::prelude::*;

    fn tokens(text: &str) -> Vec<(String, Option<String>)> {
        let mut bytes = text.as_bytes().to_vec();
        let mut found = vec![];
        let mut at = text.len() - ctype::skip_spaces(text.as_bytes()).len();
        while at < text.len() {
            let token = next_argument(&mut bytes[at..], 0);
            let word = |range: Range<usize>| bytes[range.start + at..range.end + at].to_str().unwrap().to_string();
            found.push((word(token.name.clone()), token.value.clone().map(word)));
            at += token.next;
        }
        found
    }

    fn token(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_string(), value.map(String::from))
    }

    #[test]
    fn quoting() {
        assert_eq!(tokens("cp=\"a b\" b"), [token("cp", Some("a b")), token("b", None)]);
        assert_eq!(tokens("\"cp=a b\" b"), [token("cp", Some("a b")), token("b", None)]);
        assert_eq!(tokens("cp=\"a b"), [token("cp", Some("a b"))]);
        assert_eq!(tokens("cp=a\"b c\"d"), [token("cp", Some("a\"b c\"d"))]);
        assert_eq!(tokens("\"a b\""), [token("a b", None)]);
        assert_eq!(tokens("cp=\""), [token("cp", Some(""))]);
        assert_eq!(tokens("cp=\"\""), [token("cp", Some(""))]);
        assert_eq!(tokens("\""), [token("", None)]);
        assert_eq!(tokens("\"\""), [token("", None)]);
    }

    #[test]
    fn equals_signs() {
        assert_eq!(tokens("a=b=c"), [token("a", Some("b=c"))]);
        assert_eq!(tokens("=5"), [token("=5", None)]);
        assert_eq!(tokens("=5=6"), [token("=5", Some("6"))]);
        assert_eq!(tokens("a="), [token("a", Some(""))]);
        assert_eq!(tokens(" \t a\n\u{b}b "), [token("a", None), token("b", None)]);
    }

    #[test]
    fn dashes_are_underscores() {
        assert!(same_name(b"with-dash", b"with_dash"));
        assert!(!same_name(b"with-dash", b"with_das"));
    }

    #[test]
    fn lines() {
        assert!(
            same_line(b"on\n", b"on")
                && same_line(b"on", b"on\n")
                && same_line(b"on\n", b"on\n")
                && same_line(b"", b"\n")
        );
        assert!(!same_line(b"on\n\n", b"on") && !same_line(b"o", b"on"));
    }

    #[test]
    fn unknown_arguments() {
        assert_eq!(unknown_to_module("async_probe".into(), None), Unknown::AsyncProbe(true));
        assert_eq!(unknown_to_module("async_probe".into(), Some("0".into())), Unknown::AsyncProbe(false));
        assert_eq!(unknown_to_module("async_probe".into(), Some("?".into())), Unknown::AsyncProbe(true));
        assert_eq!(unknown_to_module("base.ui".into(), Some("3".into())), Unknown::Ignored("base".into()));
        assert_eq!(
            unknown_to_module("dyndbg".into(), Some("+p".into())),
            Unknown::DynamicDebug { module: None, query: Some("+p".into()) }
        );
    }

    struct Anything;

    impl ParameterSet for Anything {
        fn find(&mut self, name: &BStr) -> Option<Entry> {
            (!name.starts_with(b"u")).then(|| Entry { no_value: name.len() > 1, ..Entry::default() })
        }
        fn set(&mut self, _: Entry, value: Option<Value<'_>>, log: Log<'_>) -> Result<(), Errno> {
            let Some(value) = value else { return Ok(()) };
            parse_array("x".into(), value.bytes, 3, log, &mut |_, element, _| number::signed(element, 0).map(drop)).1
        }
        fn unknown(&mut self, _: &BStr, _: Option<&BStr>, _: Log<'_>) -> Result<(), Errno> {
            Err(Errno::ENOENT)
        }
    }

    proptest! {
        #[test]
        fn no_argument_string_panics(mut text in proptest::collection::vec(
            prop_oneof![Just(b'"'), Just(b'='), Just(b' '), Just(b'-'), Just(b','), Just(b'1'), Just(b'u'), any::<u8>()], 0..40)
        ) {
            let length = ctype::until_nul(&text).len();
            if let Ok(Some(rest)) = parse_args("x", &mut text, &mut Anything, &mut |_, _| ()) {
                prop_assert!(rest <= length);
            }
        }

        #[test]
        fn plain_words_come_back(words in proptest::collection::vec(("[a-z]{1,8}", proptest::option::of("[a-z0-9,]{0,8}")), 0..6)) {
            let text: Vec<String> = words.iter().map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => name.clone(),
            }).collect();
            prop_assert_eq!(tokens(&text.join(" ")), words);
        }
    }
}
