//! How things look on a terminal. Without one, or with `NO_COLOR`, it is plain text.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use ferrmod_machine::LogLine;

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

/// Writes a file so that it is whole or not there: under another name, then renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file = File::create_new(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
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
