//! What was wrong with a configuration.

use std::fmt::Write as _;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bstr::{BStr, BString};
use rustix::io::Errno;

/// Something in a configuration that does not count, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file, named as one would open it.
    pub file: PathBuf,
    /// The line counted from 1, the last one when several were joined; 0 when it is the whole file.
    pub line: u32,
    /// The bytes of `text` at fault, counted from 0; empty where something is missing.
    pub columns: Range<usize>,
    /// The line as it was understood: joined lines in one, without the end.
    pub text: BString,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// There is no such directive.
    Unknown,
    /// The line ends too early; this is missing.
    Missing(&'static str),
    /// A bracket has no partner.
    Bracket,
    /// A directive that had a meaning once (`include`, `config` in modprobe.d).
    Deprecated,
    /// A directive that never was made (`include`, `make_map_files` in depmod.d). Only to be mentioned.
    NotMade,
    /// A pattern for versions of the kernel that is no regular expression. Only to be mentioned: the line is for no kernel.
    KernelPattern,
    /// A folder in a folder, named like a configuration file.
    Folder,
    /// A name in a folder that leads nowhere.
    Stat(Errno),
    /// A file that is there and cannot be read.
    Unreadable(Errno),
    /// A pipe, a device or a socket, named like a configuration file.
    Special,
    /// A module's name on the kernel command line has a bracket without partner.
    CommandLine,
}

/// How bad it is, in kmod's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Shown unless everything is silenced.
    Error,
    /// Shown when more is asked for.
    Info,
}

impl Warning {
    /// Something about a whole file.
    pub(crate) fn of_file(file: PathBuf, problem: Problem) -> Warning {
        Warning { file, line: 0, columns: 0..0, text: BString::default(), problem }
    }

    /// How bad it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.problem {
            Problem::NotMade | Problem::KernelPattern => Level::Info,
            _ => Level::Error,
        }
    }

    /// The function of kmod's that complains about this, which it names in its messages about modprobe.d.
    #[must_use]
    pub fn function(&self) -> &'static str {
        match self.problem {
            Problem::Folder | Problem::Stat(_) | Problem::Special => "conf_files_filter_out",
            Problem::CommandLine => "kcmdline_parse_result",
            _ => "kmod_config_parse",
        }
    }

    /// The word that the line begins with.
    fn word(&self) -> &BStr {
        let mut words = self.text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        BStr::new(words.next().unwrap_or_default())
    }

    /// What kmod says about it in modprobe.d, without its prefix: `FILE line 3: ignoring bad line starting with 'foo'`.
    #[must_use]
    pub fn message(&self) -> BString {
        let file = self.file.as_os_str().as_bytes();
        match self.problem {
            Problem::Unknown | Problem::Missing(_) | Problem::Bracket => {
                let place = format!(" line {}: ignoring bad line starting with '", self.line);
                [file, place.as_bytes(), self.word(), b"'"].concat().into()
            }
            Problem::Deprecated => {
                [file, b": command ", self.word(), b" is deprecated and not parsed anymore"].concat().into()
            }
            Problem::CommandLine => {
                let said = "Ignoring bad option on kernel command line while parsing module name: '";
                [said.as_bytes(), &self.text, b"'"].concat().into()
            }
            _ => self.depmod_message(),
        }
    }

    /// What kmod says about it in depmod.d, without its prefix: `FILE:3: ignoring bad line starting with 'foo'`.
    #[must_use]
    pub fn depmod_message(&self) -> BString {
        let file = self.file.as_os_str().as_bytes();
        let place = format!(":{}: ", self.line);
        let place = place.as_bytes();
        let said: [&[u8]; 5] = match &self.problem {
            Problem::NotMade => [file, place, b"command ", self.word(), b" not implemented yet"],
            Problem::KernelPattern => {
                let external = self.word() == "external";
                let what: &[u8] = if external { b"external directory" } else { b"override kernel" };
                let pattern = self.text.get(self.columns.clone()).unwrap_or_default();
                [file, place, what, b" did not match ", pattern]
            }
            Problem::Folder => [b"Directories inside directories are not supported: ", file, b"", b"", b""],
            Problem::Stat(_) => [b"Cannot stat directory entry: ", file, b"", b"", b""],
            Problem::Special => [b"Not a regular file: ", file, b"", b"", b""],
            Problem::Unreadable(_) => {
                return [file, b": could not be read: ", self.reason().as_bytes()].concat().into();
            }
            _ => [file, place, b"ignoring bad line starting with '", self.word(), b"'"],
        };
        said.concat().into()
    }

    /// What is wrong, in a few words.
    #[must_use]
    pub fn reason(&self) -> String {
        let word = shown(self.word().get(..MOST_SHOWN).unwrap_or(self.word()));
        match self.problem {
            Problem::Unknown => match self.nearest() {
                Some(nearest) => format!("there is no directive '{word}'; is it '{nearest}'?"),
                None => format!("there is no directive '{word}'"),
            },
            Problem::Missing(what) => format!("'{word}' needs {what} here"),
            Problem::Bracket | Problem::CommandLine => "this bracket has no partner".to_owned(),
            Problem::Deprecated => format!("'{word}' has no meaning any more; name the file *.conf instead"),
            Problem::NotMade => format!("'{word}' has no meaning"),
            Problem::KernelPattern => "this is no regular expression, so the line is for no kernel".to_owned(),
            Problem::Folder => "a folder in a folder is not read".to_owned(),
            Problem::Special => "only regular files are read".to_owned(),
            Problem::Stat(errno) | Problem::Unreadable(errno) => std::io::Error::from(errno).to_string(),
        }
    }

    /// The directive that was meant, perhaps: the one that differs in one letter, or in two neighbours swapped.
    fn nearest(&self) -> Option<&'static str> {
        const WORDS: [&str; 13] = [
            "alias",
            "blacklist",
            "options",
            "install",
            "remove",
            "softdep",
            "weakdep",
            "mask",
            "allow",
            "search",
            "override",
            "external",
            "exclude",
        ];
        let word = self.word();
        WORDS.into_iter().find(|known| is_near(word, known.as_bytes()))
    }

    /// What is wrong, the line, and carets under what is at fault, as compilers do. Several lines, without the last one's end.
    ///
    /// Bytes that cannot be shown become `?`, tabs become blanks, and of a long line only the surroundings are shown.
    #[must_use]
    pub fn render(&self) -> String {
        let file = shown(self.file.as_os_str().as_bytes());
        let mut out = format!("warning: {}\n --> {file}", self.reason());
        if self.line == 0 {
            return out;
        }
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // Columns count bytes. A letter of several bytes gets as many columns only if it cannot be shown.
        let begin = self.columns.start.min(self.text.len());
        let end = self.columns.end.clamp(begin, self.text.len());
        let from = begin.saturating_sub(MOST_SHOWN / 2);
        let to = end.min(begin + MOST_SHOWN).saturating_add(MOST_SHOWN / 2).min(self.text.len());
        let shown = |from: usize, to: usize| shown(self.text.get(from..to).unwrap_or_default());
        let (before, fault, after) = (shown(from, begin), shown(begin, end.min(to)), shown(end.min(to), to));
        let cut = |cut: bool| if cut { "..." } else { "" };
        let (left, right) = (cut(from > 0), cut(to < self.text.len()));
        let carets = "^".repeat(fault.chars().count().max(1));
        let indent = " ".repeat(left.len() + before.chars().count());
        let _ = write!(
            out,
            ":{number}:{}\n{margin} |\n{number} | {left}{before}{fault}{after}{right}\n{margin} | {indent}{carets}",
            begin + 1
        );
        out
    }
}

/// How many bytes of a line are shown beside the fault, and of the fault.
const MOST_SHOWN: usize = 120;

/// Whether the words differ in one letter or in two neighbours swapped.
fn is_near(a: &[u8], b: &[u8]) -> bool {
    let front = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(front..).unwrap_or_default(), b.get(front..).unwrap_or_default());
    match (a, b) {
        ([x, y, a @ ..], [z, w, b @ ..]) if a == b && x == w && y == z => true,
        ([_, a @ ..], [_, b @ ..]) if a == b => true,
        ([_, a @ ..], b) if a == b => true,
        (a, [_, b @ ..]) if a == b => true,
        _ => false,
    }
}

/// Text for a terminal: nothing in it moves the cursor.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|letter| match letter {
            '\t' => ' ',
            letter if letter.is_control() => '?',
            letter => letter,
        }));
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_the_fault() {
        let warning = |text: &str, columns, problem| Warning {
            file: "/etc/modprobe.d/a.conf".into(),
            line: 12,
            columns,
            text: text.into(),
            problem,
        };
        let unknown = warning("\tblacklsit é foo", 1..10, Problem::Unknown);
        assert_eq!(unknown.message(), "/etc/modprobe.d/a.conf line 12: ignoring bad line starting with 'blacklsit'");
        assert_eq!(
            unknown.render(),
            "warning: there is no directive 'blacklsit'; is it 'blacklist'?\n --> /etc/modprobe.d/a.conf:12:2\n   |\n\
             12 |  blacklsit é foo\n   |  ^^^^^^^^^"
        );
        let missing = warning("alias é", 8..8, Problem::Missing("the module it stands for"));
        assert_eq!(
            missing.render(),
            "warning: 'alias' needs the module it stands for here\n --> /etc/modprobe.d/a.conf:12:9\n   |\n12 | alias é\n   |        ^"
        );
        let wild = warning("opt\u{1b}[2Jion\0 \u{7f}x", 0..9, Problem::Unknown);
        assert!(!wild.render().contains(|letter: char| letter.is_control() && letter != '\n'), "{:?}", wild.render());
        let long = warning(&format!("alias {}[ b", "x".repeat(500)), 506..507, Problem::Bracket);
        assert!(long.render().lines().all(|line| line.len() < 200), "{}", long.render());
    }
}
