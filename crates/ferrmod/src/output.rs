//! How things look on a terminal. Without one, or with `NO_COLOR`, it is plain text.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use ferrmod_machine::LogLine;
use serde::Serialize;

use crate::exit::Failure;

/// Something wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Something to notice.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();
/// Something right.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// A heading.
pub(crate) const HEAD: Style = Style::new().bold();
/// What is less important.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Prints text on standard output. What files said is in it: nothing of that reaches a terminal as a command.
pub(crate) fn print(text: &str) {
    anstream::print!("{}", harmless(text));
}

/// The text with its colours. Every other control character is escaped, and so is what hides or turns text around it.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |character| ferrmod_image::is_harmful(character) && !matches!(character, '\n' | '\t');
    if !text.contains(is_harmful) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_harmful) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        // ECMA-48, 8.3.117: select graphic rendition.
        let is_parameter = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
        let colour = from.strip_prefix("\x1b[").map(|rest| rest.bytes().take_while(is_parameter).count());
        let length = match colour {
            Some(length) if from.as_bytes().get(2 + length) == Some(&b'm') => {
                out.push_str(from.get(..3 + length).unwrap_or_default());
                3 + length
            }
            _ => {
                let character = from.chars().next().unwrap_or_default();
                let _ = write!(out, "{}", character.escape_default());
                character.len_utf8()
            }
        };
        rest = from.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out.into()
}

/// Prints a report as one JSON document.
pub(crate) fn json(report: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(report).map_err(std::io::Error::from)?;
    text.push('\n');
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// A record of the kernel log, as `dmesg` shows it, with nothing of what a module said as a command.
pub(crate) fn log_line(line: &LogLine) -> String {
    let style = match line.level {
        0..=3 => BAD,
        4 => NOTE,
        _ => Style::new(),
    };
    let (seconds, micros) = (line.time / 1_000_000_000, line.time / 1000 % 1_000_000);
    let mut out = String::new();
    for text in harmless(&line.text.to_string()).split('\n') {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{DIM}[{seconds:5}.{micros:06}]{DIM:#} {style}{text}{style:#}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_log_is_no_command() {
        let line = LogLine { sequence: 0, time: 0, level: 6, facility: 0, text: "one\x1b[2J\ntwo\r".into() };
        let said = log_line(&line);
        assert!(said.contains("one\\u{1b}[2J") && said.contains("two\\r") && said.lines().count() == 2, "{said:?}");
    }

    #[test]
    fn colours_are_all_that_a_text_can_ask_of_a_terminal() {
        let plain = format!("{BAD}symbol{BAD:#}\tone\n");
        assert_eq!(harmless(&plain), plain);
        assert_eq!(
            harmless("\x1b[2J\x07\x1b[1;31mx\x1b[0m\x7fELF\r\u{9b}2J\u{202e}"),
            "\\u{1b}[2J\\u{7}\x1b[1;31mx\x1b[0m\\u{7f}ELF\\r\\u{9b}2J\\u{202e}"
        );
        assert_eq!(harmless("\x1b]0;title\x1b"), "\\u{1b}]0;title\\u{1b}");
        assert_eq!(harmless("\x1b[31"), "\\u{1b}[31");
    }
}
