//! The kernel log: `pr_info!` and its relatives.

use core::fmt::{self, Write as _};

use crate::kernel;

/// The length of a line at most; the rest is cut off.
const LINE_MAX: usize = 960;

/// Text on the stack, so that a message needs no memory when there is none.
pub(crate) struct Line {
    bytes: [u8; LINE_MAX],
    length: usize,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; LINE_MAX], length: 0 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
        if length < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Writes a message to the kernel log after the name of the crate that `path` (its `module_path!()`) begins with.
pub fn print(level: u32, path: &str, message: fmt::Arguments<'_>) {
    let mut line = Line::new();
    let name = path.split(':').next().unwrap_or(path);
    // Fails when the line is full, and then what fits is printed.
    let _ = write!(line, "{name}: {message}");
    let text = line.as_bytes();
    // SAFETY: the text lives during the call.
    unsafe { kernel::ferrmod_log(level, text.as_ptr(), text.len()) };
}

macro_rules! levels {
    ($dollar:tt $($name:ident $level:literal $doc:literal,)*) => {
        $(
            #[doc = $doc]
            #[macro_export]
            macro_rules! $name {
                ($dollar($dollar argument:tt)*) => {
                    $crate::log::print($level, ::core::module_path!(), ::core::format_args!($dollar($dollar argument)*))
                };
            }
        )*
    };
}

levels! { $
    pr_emerg 0 "Logs that the system is unusable.",
    pr_alert 1 "Logs that action must be taken at once.",
    pr_crit 2 "Logs a critical condition.",
    pr_err 3 "Logs an error.",
    pr_warn 4 "Logs a warning.",
    pr_notice 5 "Logs something normal that matters.",
    pr_info 6 "Logs a piece of information: `pr_info!(\"{count} letters\")`.",
    pr_debug 7 "Logs what only a developer wants to see.",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_what_fits() {
        let mut line = Line::new();
        assert!(write!(line, "{}", "x".repeat(LINE_MAX - 1)).is_ok());
        assert!(write!(line, "yz").is_err());
        assert_eq!(line.as_bytes().len(), LINE_MAX);
        assert_eq!(line.as_bytes().last(), Some(&b'y'));
    }

    #[test]
    fn a_message_names_its_crate() {
        print(4, module_path!(), format_args!("{} of {}", 1, 2));
        assert!(crate::host::log().contains(&(4, "ferrmod_sdk: 1 of 2".into())));
    }
}
