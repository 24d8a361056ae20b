//! How things look on a terminal. Without one, or with `NO_COLOR`, it is plain text.

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

/// Prints a report as one JSON document.
pub(crate) fn json(report: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(report).map_err(std::io::Error::from)?;
    text.push('\n');
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// A record of the kernel log, as `dmesg` shows it.
pub(crate) fn log_line(line: &LogLine) -> String {
    let style = match line.level {
        0..=3 => BAD,
        4 => NOTE,
        _ => Style::new(),
    };
    let (seconds, micros) = (line.time / 1_000_000_000, line.time / 1000 % 1_000_000);
    let mut out = String::new();
    for text in line.text.to_string().split('\n') {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{DIM}[{seconds:5}.{micros:06}]{DIM:#} {style}{text}{style:#}"));
    }
    out
}
