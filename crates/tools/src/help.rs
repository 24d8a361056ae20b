//! `--help` and `--version`.

use std::fmt::Write as _;

use crate::flags::{Applet, Flag, Value};

/// What `--version` prints. The first line is kmod's, for those who look for its version; the second one names in kmod's way
/// what can be read.
pub(crate) const VERSION: &str =
    concat!("kmod version 34.2\n+ZSTD +XZ +ZLIB -OPENSSL\nferrmod version ", env!("CARGO_PKG_VERSION"), "\n");

/// The width that the spellings of an option take.
const COLUMN: usize = 28;

/// What `--help` prints, of an applet called as `name`.
pub(crate) fn text(applet: &Applet, name: &str) -> String {
    let mut text = String::from("Usage:\n");
    for form in applet.synopsis {
        let _ = writeln!(text, "\t{name} {form}");
    }
    let shown: Vec<&Flag> = applet.flags.iter().filter(|flag| !flag.hidden).collect();
    if !shown.is_empty() {
        text.push_str("\nOptions:\n");
    }
    for flag in shown {
        let spelling = spelling(flag);
        if spelling.len() < COLUMN {
            let _ = writeln!(text, "\t{spelling:COLUMN$}{}", flag.summary);
        } else {
            let _ = writeln!(text, "\t{spelling}\n\t{:COLUMN$}{}", "", flag.summary);
        }
    }
    if !applet.notes.is_empty() {
        let _ = write!(text, "\n{}\n", applet.notes.trim_end());
    }
    text
}

/// `-k, --set-version=VERSION`.
fn spelling(flag: &Flag) -> String {
    let mut text = match flag.short {
        Some(letter) => format!("-{}", char::from(letter)),
        None => "  ".to_owned(),
    };
    if let Some(long) = flag.long {
        text.push_str(if flag.short.is_some() { ", --" } else { "  --" });
        text.push_str(long);
    }
    if let Value::Required(name) = flag.value {
        text.push(if flag.long.is_some() { '=' } else { ' ' });
        text.push_str(name);
    }
    text
}
