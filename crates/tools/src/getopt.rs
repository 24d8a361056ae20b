//! The command line, read as the C library's `getopt_long` reads it.
//!
//! kmod's users lean on all of it: operands between options, `-k6.1`, `-vvn`, `--set=6.1` for `--set-version 6.1`, and the
//! exact words that follow a mistake. The program's name in those words is `argv[0]`, with its folder.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use bstr::BStr;

use crate::flags::{Flag, Origin, Value};

/// What happens at the first operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is set aside and options behind it are read, unless `POSIXLY_CORRECT` is in the environment.
    Permute,
    /// Options end there: what follows belongs to a subcommand.
    Require,
}

/// One option as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// [`Flag::id`].
    pub id: &'static str,
    /// The spelling that was used: the long name in full, or the letter.
    pub spelling: Spelling,
    /// Its value.
    pub value: Option<OsString>,
}

/// How an option was spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As `--NAME`, here in full.
    Long(&'static str),
    /// As a letter.
    Short(u8),
}

/// Reads the options of a command line.
#[derive(Debug)]
pub struct Getopt {
    program: OsString,
    flags: &'static [Flag],
    rest: VecDeque<OsString>,
    operands: Vec<OsString>,
    /// Letters that are left of a word such as `-vvn`.
    bundle: VecDeque<u8>,
    order: Order,
}

impl Getopt {
    /// Reads `arguments`, which do not contain the program's name; `program` is that name as `argv[0]` gave it.
    #[must_use]
    pub fn new(program: OsString, flags: &'static [Flag], arguments: Vec<OsString>, order: Order) -> Getopt {
        let posix = std::env::var_os("POSIXLY_CORRECT").is_some();
        let order = if posix { Order::Require } else { order };
        Getopt { program, flags, rest: arguments.into(), operands: Vec::new(), bundle: VecDeque::new(), order }
    }

    /// The next option, or `None` when only operands are left.
    ///
    /// # Errors
    /// An option that is not known, is not unique, lacks its value or has one too many.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would hide where reading stops")]
    pub fn next(&mut self) -> Result<Option<Parsed>, UsageError> {
        if let Some(letter) = self.bundle.pop_front() {
            return self.letter(letter).map(Some);
        }
        while let Some(word) = self.rest.pop_front() {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                break;
            }
            if let Some(long) = bytes.strip_prefix(b"--") {
                return self.long(long).map(Some);
            }
            match bytes.strip_prefix(b"-") {
                Some([first, letters @ ..]) => {
                    self.bundle = letters.iter().copied().collect();
                    return self.letter(*first).map(Some);
                }
                // A lone dash is an operand.
                _ => self.operands.push(word),
            }
            if self.order == Order::Require {
                break;
            }
        }
        Ok(None)
    }

    /// What is not an option, in its order: those set aside and everything not read.
    #[must_use]
    pub fn operands(mut self) -> Vec<OsString> {
        self.operands.extend(self.rest);
        self.operands
    }

    fn error(&self, problem: Problem) -> UsageError {
        UsageError { program: self.program.clone(), problem }
    }

    fn letter(&mut self, letter: u8) -> Result<Parsed, UsageError> {
        let flag = self.flags.iter().find(|flag| flag.short == Some(letter));
        // POSIX leaves `-:` and `-;` no meaning.
        let Some(flag) = flag.filter(|_| !matches!(letter, b':' | b';')) else {
            return Err(self.error(Problem::InvalidLetter(letter)));
        };
        let value = match flag.value {
            Value::None => None,
            Value::Required(_) if !self.bundle.is_empty() => {
                Some(OsString::from_vec(std::mem::take(&mut self.bundle).into()))
            }
            Value::Required(_) => match self.rest.pop_front() {
                Some(value) => Some(value),
                None => return Err(self.error(Problem::LetterNeedsValue(letter))),
            },
        };
        Ok(Parsed { id: flag.id, spelling: Spelling::Short(letter), value })
    }

    fn long(&mut self, word: &[u8]) -> Result<Parsed, UsageError> {
        let equals = word.iter().position(|&byte| byte == b'=');
        let (name, given) = match equals {
            Some(at) => (word.get(..at).unwrap_or_default(), word.get(at + 1..)),
            None => (word, None),
        };
        let whole = || OsStr::from_bytes(word).to_owned();
        let exact = self.flags.iter().find(|flag| flag.long.is_some_and(|long| long.as_bytes() == name));
        let flag = match exact {
            Some(flag) => flag,
            None => match self.abbreviated(name) {
                Ok(Some(flag)) => flag,
                Ok(None) => return Err(self.error(Problem::Unrecognized(whole()))),
                Err(possibilities) => return Err(self.error(Problem::Ambiguous { word: whole(), possibilities })),
            },
        };
        let long = flag.long.unwrap_or_default();
        let value = match (flag.value, given) {
            (Value::None, None) => None,
            (Value::None, Some(_)) => return Err(self.error(Problem::TakesNoValue(long))),
            (Value::Required(_), Some(value)) => Some(OsStr::from_bytes(value).to_owned()),
            (Value::Required(_), None) => match self.rest.pop_front() {
                Some(value) => Some(value),
                None => return Err(self.error(Problem::LongNeedsValue(long))),
            },
        };
        Ok(Parsed { id: flag.id, spelling: Spelling::Long(long), value })
    }

    /// The option that `name` abbreviates. Several spellings of one option are no ambiguity.
    fn abbreviated(&self, name: &[u8]) -> Result<Option<&'static Flag>, Vec<&'static str>> {
        // What kmod 34 does not have must not make its abbreviations ambiguous.
        for tier in [&[Origin::Kmod][..], &[Origin::Kmod30, Origin::Ours][..]] {
            let mut found: Option<&'static Flag> = None;
            let mut others = Vec::new();
            for flag in self.flags.iter().filter(|flag| tier.contains(&flag.origin)) {
                let Some(long) = flag.long.filter(|long| long.as_bytes().starts_with(name)) else { continue };
                match found {
                    None => found = Some(flag),
                    Some(first) if first.id == flag.id => {}
                    Some(_) => others.push(long),
                }
            }
            if let Some(first) = found.filter(|_| !others.is_empty()) {
                others.insert(0, first.long.unwrap_or_default());
                return Err(others);
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// A command line that cannot be read; `Display` is what the C library prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// `argv[0]`.
    pub program: OsString,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A letter that is no option.
    InvalidLetter(u8),
    /// A letter whose value is missing.
    LetterNeedsValue(u8),
    /// A long option that does not exist: the word without its dashes.
    Unrecognized(OsString),
    /// An abbreviation of several options.
    Ambiguous {
        /// The word without its dashes.
        word: OsString,
        /// What it may stand for.
        possibilities: Vec<&'static str>,
    },
    /// A long option with a value that it does not take.
    TakesNoValue(&'static str),
    /// A long option whose value is missing.
    LongNeedsValue(&'static str),
}

impl UsageError {
    /// The line without its end, as bytes: it may quote anything.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = self.program.as_bytes().to_vec();
        let mut add = |parts: &[&[u8]]| parts.iter().for_each(|part| line.extend_from_slice(part));
        match &self.problem {
            Problem::InvalidLetter(letter) => add(&[b": invalid option -- '", &[*letter], b"'"]),
            Problem::LetterNeedsValue(letter) => add(&[b": option requires an argument -- '", &[*letter], b"'"]),
            Problem::Unrecognized(word) => add(&[b": unrecognized option '--", word.as_bytes(), b"'"]),
            Problem::Ambiguous { word, possibilities } => {
                add(&[b": option '--", word.as_bytes(), b"' is ambiguous; possibilities:"]);
                for possibility in possibilities {
                    add(&[b" '--", possibility.as_bytes(), b"'"]);
                }
            }
            Problem::TakesNoValue(long) => add(&[b": option '--", long.as_bytes(), b"' doesn't allow an argument"]),
            Problem::LongNeedsValue(long) => add(&[b": option '--", long.as_bytes(), b"' requires an argument"]),
        }
        line
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BStr::new(&self.line()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::long("author", "").short(b'a'),
        Flag::long("filename", "").short(b'n'),
        Flag::long("null", "").short(b'0'),
        Flag::long("field", "").short(b'F').value("FIELD"),
        Flag::long("showconfig", "").short(b'c').id("show-config"),
        Flag::long("show-config", "").short(b'c'),
        Flag::long("force-old", "").kmod30(),
        Flag::long("nulls", "").ours(),
    ];

    /// An option with its value.
    type Found = (&'static str, Option<String>);

    fn read(words: &[&str], order: Order) -> (Vec<Found>, Result<Vec<String>, String>) {
        let arguments = words.iter().map(OsString::from).collect();
        let mut options = Getopt { order, ..Getopt::new("/sbin/x".into(), FLAGS, arguments, Order::Permute) };
        let mut found = Vec::new();
        loop {
            match options.next() {
                Ok(Some(option)) => found.push((option.id, option.value.map(|v| v.into_string().unwrap()))),
                Ok(None) => break,
                Err(error) => return (found, Err(error.to_string())),
            }
        }
        (found, Ok(options.operands().into_iter().map(|word| word.into_string().unwrap()).collect()))
    }

    #[test]
    fn options_are_found_between_operands() {
        let (found, operands) = read(&["one", "-aF", "x", "two", "--fie=y", "-", "-Fz", "--", "-a"], Order::Permute);
        let x = |value: &str| ("field", Some(value.to_owned()));
        assert_eq!(found, [("author", None), x("x"), x("y"), x("z")]);
        assert_eq!(operands.unwrap(), ["one", "two", "-", "-a"]);
    }

    #[test]
    fn options_end_at_the_first_operand_where_asked() {
        let (found, operands) = read(&["-a", "one", "-n"], Order::Require);
        assert_eq!(found, [("author", None)]);
        assert_eq!(operands.unwrap(), ["one", "-n"]);
    }

    #[test]
    fn spellings_of_one_option_are_not_ambiguous() {
        assert_eq!(read(&["--show"], Order::Permute).0, [("show-config", None)]);
        // Options that are not kmod's make nothing ambiguous, and have abbreviations of their own.
        assert_eq!(read(&["--nul", "--fo"], Order::Permute).0, [("null", None), ("force-old", None)]);
    }

    #[test]
    fn mistakes_are_named_in_the_c_librarys_words() {
        let error = |words: &[&str]| read(words, Order::Permute).1.unwrap_err();
        assert_eq!(error(&["-ax"]), "/sbin/x: invalid option -- 'x'");
        assert_eq!(error(&["-F"]), "/sbin/x: option requires an argument -- 'F'");
        assert_eq!(error(&["--foo=1"]), "/sbin/x: unrecognized option '--foo=1'");
        assert_eq!(error(&["--f"]), "/sbin/x: option '--f' is ambiguous; possibilities: '--filename' '--field'");
        assert_eq!(error(&["--nul=1"]), "/sbin/x: option '--null' doesn't allow an argument");
        assert_eq!(error(&["--fie"]), "/sbin/x: option '--field' requires an argument");
    }
}
