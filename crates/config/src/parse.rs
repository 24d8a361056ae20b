//! One line of modprobe.d.

use std::borrow::Cow;
use std::ops::Range;

use crate::lines::{Line, Word, Words};
use crate::name::normalise;
use crate::{Kind, Problem};

/// A directive before it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: Cow<'a, [u8]>,
    pub(crate) value: Cow<'a, [u8]>,
}

/// What is wrong with a line, and where in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) problem: Problem,
    pub(crate) columns: Range<usize>,
}

impl Fault {
    /// The fault is this word.
    pub(crate) fn word((at, word): Word<'_>, problem: Problem) -> Fault {
        Fault { problem, columns: at..at + word.len() }
    }

    /// The line ends where something was to come.
    pub(crate) fn missing(line: &[u8], what: &'static str) -> Fault {
        Fault { problem: Problem::Missing(what), columns: line.len()..line.len() }
    }
}

/// The first word of a line, unless it is empty or a comment.
pub(crate) fn first_word<'a>(line: &'a [u8]) -> Option<(Word<'a>, Words<'a>)> {
    if line.first() == Some(&b'#') {
        return None;
    }
    let mut words = Words::new(line);
    Some((words.next()?, words))
}

/// Calls `take` with every directive of a line. `Err` when the line does not count.
pub(crate) fn parse<'a>(line: &'a Line<'_>, mut take: impl FnMut(Parsed<'a>)) -> Result<(), Fault> {
    let text: &'a [u8] = &line.text;
    let Some((word, mut words)) = first_word(text) else { return Ok(()) };
    let kind = match word.1 {
        b"alias" => Kind::Alias,
        b"blacklist" => Kind::Blacklist,
        b"options" => Kind::Options,
        b"install" => Kind::Install,
        b"remove" => Kind::Remove,
        b"softdep" => Kind::Softdep,
        b"weakdep" => Kind::Weakdep,
        b"mask" => Kind::Mask,
        b"allow" => Kind::Allow,
        b"include" | b"config" => return Err(Fault::word(word, Problem::Deprecated)),
        _ => return Err(Fault::word(word, Problem::Unknown)),
    };
    let spelled = |(at, name): Word<'a>| {
        normalise(name).map_err(|bracket| Fault { problem: Problem::Bracket, columns: at + bracket..at + bracket + 1 })
    };
    let first = words.next().ok_or_else(|| Fault::missing(text, "a name"))?;
    let name = spelled(first)?;
    let value = match kind {
        Kind::Blacklist => Cow::Borrowed(&[][..]),
        Kind::Alias => spelled(words.next().ok_or_else(|| Fault::missing(text, "the module it stands for"))?)?,
        Kind::Install | Kind::Remove => Cow::Borrowed(words.rest().ok_or_else(|| Fault::missing(text, "a command"))?),
        Kind::Softdep | Kind::Weakdep => {
            Cow::Borrowed(words.rest().ok_or_else(|| Fault::missing(text, "names of modules"))?)
        }
        Kind::Options => {
            let options = words.rest().ok_or_else(|| Fault::missing(text, "a parameter"))?;
            if options.contains(&b'\t') {
                Cow::Owned(options.iter().map(|&byte| if byte == b'\t' { b' ' } else { byte }).collect())
            } else {
                Cow::Borrowed(options)
            }
        }
        Kind::Mask | Kind::Allow => {
            // All or nothing: a list that lacks one of its names would be believed to be whole.
            let names: Vec<_> = words.map(spelled).collect::<Result<_, _>>()?;
            take(Parsed { kind, name, value: Cow::Borrowed(&[]) });
            names.into_iter().for_each(|name| take(Parsed { kind, name, value: Cow::Borrowed(&[]) }));
            return Ok(());
        }
    };
    take(Parsed { kind, name, value });
    Ok(())
}
