//! What the kernel command line says about modules.

use std::borrow::Cow;

use ferrmod_image::normalise_alias;

use crate::name::normalise;
use crate::parse::Parsed;
use crate::{Kind, Problem, Warning};

/// The kernel command line as words.
///
/// A word ends at a blank that is not between quotes; the whole ends at the end of the line. Boot loaders put a word that has a blank in
/// quotes as a whole (`"a.b=c d"`), people put the value in quotes (`a.b="c d"`): both mean the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandLine<'a>(&'a [u8]);

/// One word of the kernel command line that names something of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    /// The module, as it is written.
    module: &'a [u8],
    /// The parameter, without value.
    name: &'a [u8],
    /// The `=` and the value, with its quotes. A quote before the module stands behind the `=` here.
    value: Option<Cow<'a, [u8]>>,
}

impl<'a> CommandLine<'a> {
    /// A text like that of `/proc/cmdline`.
    pub(crate) fn new(text: &'a [u8]) -> CommandLine<'a> {
        let end = text.iter().position(|byte| matches!(byte, b'\n' | 0)).unwrap_or(text.len());
        CommandLine(text.get(..end).unwrap_or_default())
    }

    /// The words that name something of a module, with their numbers counted from 1.
    pub(crate) fn words(self) -> impl Iterator<Item = (u32, Parameter<'a>)> {
        let mut rest = self.0;
        let words = std::iter::from_fn(move || {
            rest = rest.get(rest.iter().position(|&byte| !is_space(byte))?..)?;
            let mut quoted = false;
            let end = rest.iter().position(|&byte| {
                quoted ^= byte == b'"';
                is_space(byte) && !quoted
            });
            let (word, left) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
            rest = left;
            (!word.is_empty()).then_some(word)
        });
        (1..).zip(words).filter_map(|(number, word)| Some((number, Parameter::read(word)?)))
    }
}

/// isspace(3) in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

impl<'a> Parameter<'a> {
    /// A word as `module.parameter` or `module.parameter=value`.
    fn read(word: &'a [u8]) -> Option<Parameter<'a>> {
        let (quoted, word) = match word.strip_prefix(b"\"") {
            Some(word) => (true, word),
            None => (false, word),
        };
        let equals = word.iter().position(|&byte| byte == b'=');
        let (whole, value) = word.split_at_checked(equals.unwrap_or(word.len()))?;
        let dot = whole.iter().position(|&byte| byte == b'.')?;
        let (module, name) = (whole.get(..dot)?, whole.get(dot + 1..)?);
        if name.contains(&b'.') || whole.contains(&b'"') {
            return None;
        }
        let value = match value {
            [] => None,
            [_, value @ ..] if quoted => Some(Cow::Owned([b"=\"", value].concat())),
            value => Some(Cow::Borrowed(value)),
        };
        Some(Parameter { module, name, value })
    }

    /// Calls `take` with every directive that the word makes.
    pub(crate) fn directives(self, mut take: impl FnMut(&Parsed<'_>), warning: &mut Option<Warning>) {
        if self.module == b"modprobe"
            && let Some(value) = &self.value
            && let Some(kind) = match self.name {
                b"blacklist" => Some(Kind::Blacklist),
                b"mask" => Some(Kind::Mask),
                b"allow" => Some(Kind::Allow),
                _ => None,
            }
        {
            let value = value.strip_prefix(b"=").unwrap_or(value);
            let names: Vec<u8> = value.iter().copied().filter(|&byte| byte != b'"').collect();
            for name in names.split(|&byte| byte == b',') {
                take(&Parsed { kind, name: normalise_alias(name), value: Cow::Borrowed(&[]) });
            }
            return;
        }
        match normalise(self.module) {
            Ok(name) => {
                let value = match self.value {
                    Some(value) => Cow::Owned([self.name, &value].concat()),
                    None => Cow::Borrowed(self.name),
                };
                take(&Parsed { kind: Kind::Options, name, value });
            }
            Err(_) => {
                *warning = Some(Warning {
                    text: self.module.into(),
                    ..Warning::of_file("/proc/cmdline".into(), Problem::CommandLine)
                });
            }
        }
    }
}
