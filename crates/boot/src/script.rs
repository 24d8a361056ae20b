//! The language of `/init.ferrmod`: what the machine does after boot, one command a line.
//!
//! ```text
//! # a comment
//! echo TEXT                    prints TEXT
//! insmod FILE [NAME=VALUE...]  loads a file of the initramfs, and nothing else
//! modprobe NAME [NAME=VALUE..] loads a module and before it what it depends on
//! rmmod NAME                   unloads a module
//! lsmod                        lists the modules
//! cat PATH                     prints a file of the kernel: /proc/modules, /sys/module/x/parameters/y, ...
//! call SYMBOL [ARGUMENT...]    calls an exported function in a task of its own and prints its result
//! check crc7 | check lz4       computes through the functions of crc7.ko or lz4_compress.ko and compares the answer
//! check pages                  walks the page tables: what can be executed can be written nowhere
//! poweroff                     ends the machine; the end of the file does so too
//! ```
//!
//! An ARGUMENT is a hexadecimal number, `@SYMBOL` (its address), `$text` (the address of [`TEXT_SIZE`] bytes of text) or
//! `$scratch` (as much writable memory). `call ... = NUMBER` holds only when the result's low bits, four for each digit, are
//! NUMBER. A line that begins with
//! `!` holds only when its command fails; `oops COMMAND` only when the kernel kills the task that runs it, and goes on.
//! `count COMMAND` prints besides how far the time-stamp counter went meanwhile: instructions, in an emulator that counts them.
//!
//! After each line the machine prints `ok: LINE` or `FAILED: LINE: REASON`; a failed line does not stop the script.

use alloc::vec::Vec;

/// Size of the memory behind `$text` and `$scratch`.
pub const TEXT_SIZE: usize = 64 << 10;

/// What a line must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The command succeeds.
    Success,
    /// `!`: the command fails in its own words.
    Failure,
    /// `oops`: the task that runs the command is killed.
    Oops,
}

/// An argument of `call`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// A number.
    Number(u64),
    /// `@SYMBOL`.
    Symbol(&'a str),
    /// `$text`.
    Text,
    /// `$scratch`.
    Scratch,
}

/// The low bits a result must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Their value.
    pub value: u64,
    /// Which bits count.
    pub mask: u64,
}

impl Wanted {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mask = if digits.len() >= 16 { u64::MAX } else { (1 << (digits.len() * 4)) - 1 };
        Some(Self { value: u64::from_str_radix(digits, 16).ok()?, mask })
    }
}

/// What `check` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// `crc7_be`.
    Crc7,
    /// `LZ4_compress_default`.
    Lz4,
    /// The page tables.
    Pages,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the commands are described above")]
pub enum Command<'a> {
    Echo(&'a str),
    Insmod { file: &'a str, arguments: &'a str },
    Modprobe { name: &'a str, arguments: &'a str },
    Rmmod(&'a str),
    Lsmod,
    Cat(&'a str),
    Call { symbol: &'a str, arguments: Vec<Argument<'a>>, result: Option<Wanted> },
    Check(Check),
    Poweroff,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What it must come to.
    pub expected: Expected,
    /// Whether what it takes is printed.
    pub counted: bool,
    /// What to do.
    pub command: Command<'a>,
}

/// Why a line is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptError<'a> {
    /// There is no such command.
    Command(&'a str),
    /// The command needs a word here.
    Missing(&'static str),
    /// This is neither a number, nor `@SYMBOL`, nor `$text`, nor `$scratch`.
    Argument(&'a str),
    /// More arguments than registers.
    TooMany,
}

impl core::fmt::Display for ScriptError<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Command(word) => write!(f, "no command {word:?}"),
            Self::Missing(what) => write!(f, "{what} missing"),
            Self::Argument(word) => write!(f, "{word:?} is no number, @SYMBOL, $text or $scratch"),
            Self::TooMany => write!(f, "more than six arguments"),
        }
    }
}

/// Reads one line; `None` when it is empty or a comment.
///
/// # Errors
/// [`ScriptError`] when it is not a line of the language.
pub fn parse(line: &str) -> Result<Option<Line<'_>>, ScriptError<'_>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (expected, rest) = if let Some(rest) = line.strip_prefix('!') {
        (Expected::Failure, rest.trim_start())
    } else if let Some(rest) = line.strip_prefix("oops ") {
        (Expected::Oops, rest.trim_start())
    } else {
        (Expected::Success, line)
    };
    let (counted, rest) = rest.strip_prefix("count ").map_or((false, rest), |rest| (true, rest.trim_start()));
    Ok(Some(Line { expected, counted, command: command(rest)? }))
}

fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn command(text: &str) -> Result<Command<'_>, ScriptError<'_>> {
    let (word, rest) = split(text);
    let (first, arguments) = split(rest);
    let named = |what| {
        if first.is_empty() { Err(ScriptError::Missing(what)) } else { Ok(first) }
    };
    Ok(match word {
        "echo" => Command::Echo(rest),
        "insmod" => Command::Insmod { file: named("FILE")?, arguments },
        "modprobe" => Command::Modprobe { name: named("NAME")?, arguments },
        "rmmod" => Command::Rmmod(named("NAME")?),
        "lsmod" => Command::Lsmod,
        "cat" => Command::Cat(named("PATH")?),
        "call" => call(named("SYMBOL")?, arguments)?,
        "check" => Command::Check(match named("what to check")? {
            "crc7" => Check::Crc7,
            "lz4" => Check::Lz4,
            "pages" => Check::Pages,
            other => return Err(ScriptError::Argument(other)),
        }),
        "poweroff" => Command::Poweroff,
        other => return Err(ScriptError::Command(other)),
    })
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

fn call<'a>(symbol: &'a str, text: &'a str) -> Result<Command<'a>, ScriptError<'a>> {
    let mut arguments = Vec::new();
    let mut words = text.split_whitespace();
    let mut result = None;
    while let Some(word) = words.next() {
        arguments.push(match word {
            "=" => {
                let word = words.next().ok_or(ScriptError::Missing("the result after ="))?;
                result = Some(Wanted::parse(word).ok_or(ScriptError::Argument(word))?);
                break;
            }
            "$text" => Argument::Text,
            "$scratch" => Argument::Scratch,
            _ => match word.strip_prefix('@') {
                Some(symbol) => Argument::Symbol(symbol),
                None => Argument::Number(number(word).ok_or(ScriptError::Argument(word))?),
            },
        });
    }
    if arguments.len() > 6 { Err(ScriptError::TooMany) } else { Ok(Command::Call { symbol, arguments, result }) }
}

/// The bytes behind `$text`: words in an order that does not repeat, the same on every run.
pub fn sample_text() -> Vec<u8> {
    const WORDS: [&str; 8] = ["module ", "symbol ", "kernel ", "section ", "relocation ", "table ", "of ", "the "];
    let mut text = Vec::with_capacity(TEXT_SIZE + 16);
    let mut state = 1_u32;
    while text.len() < TEXT_SIZE {
        // Numerical Recipes' linear congruential generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(WORDS[(state >> 29) as usize].as_bytes());
    }
    text.truncate(TEXT_SIZE);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn one(line: &str) -> Line<'_> {
        parse(line).expect("a line of the language").expect("not a comment")
    }

    #[test]
    fn commands() {
        assert_eq!(parse("  # nothing"), Ok(None));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(
            one("insmod /a.ko x=1 y=\"two words\"").command,
            Command::Insmod { file: "/a.ko", arguments: "x=1 y=\"two words\"" }
        );
        let rmmod = Line { expected: Expected::Failure, counted: false, command: Command::Rmmod("nobody") };
        assert_eq!(one("! rmmod nobody"), rmmod);
        assert_eq!(one("! count  rmmod nobody"), Line { counted: true, ..rmmod });
        assert_eq!(
            one("oops call f 0 @g $text $scratch = 0x1f"),
            Line {
                expected: Expected::Oops,
                counted: false,
                command: Command::Call {
                    symbol: "f",
                    arguments: vec![Argument::Number(0), Argument::Symbol("g"), Argument::Text, Argument::Scratch],
                    result: Some(Wanted { value: 0x1f, mask: 0xff }),
                },
            }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse("insmod"), Err(ScriptError::Missing("FILE")));
        assert_eq!(parse("reboot now"), Err(ScriptError::Command("reboot")));
        assert_eq!(parse("call f zz"), Err(ScriptError::Argument("zz")));
        assert_eq!(parse("call f 1 ="), Err(ScriptError::Missing("the result after =")));
        assert_eq!(parse("call f 1 2 3 4 5 6 7"), Err(ScriptError::TooMany));
        assert_eq!(parse("check crc9"), Err(ScriptError::Argument("crc9")));
    }

    #[test]
    fn the_sample_is_text_and_does_not_repeat_at_once() {
        let text = sample_text();
        assert_eq!(text.len(), TEXT_SIZE);
        assert!(text.is_ascii());
        assert_ne!(text[..4096], text[4096..8192]);
    }
}
