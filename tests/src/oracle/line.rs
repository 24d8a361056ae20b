//! The lines of the recording: each is parsed into what it says and writes itself back.

use std::fmt;

/// One line of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// `@@ # TITLE`: the heading of what follows.
    Title(&'a str),
    /// A call and its answer.
    Call(Call<'a>),
    /// `@R nonroot F -1, X -1`: what a process without privilege is answered.
    Unprivileged {
        /// `finit_module`'s answer.
        load: i64,
        /// `delete_module`'s answer.
        unload: i64,
    },
    /// A line of the kernel's log.
    Log(Log<'a>),
    /// A line of `/proc/modules`.
    Module(Module<'a>),
    /// A file and its content.
    Content {
        /// Absolute path.
        path: &'a str,
        /// Content without the last line break.
        content: &'a str,
    },
    /// A file that could not be opened.
    Unopened {
        /// Absolute path.
        path: &'a str,
        /// `open`'s answer.
        error: i64,
    },
    /// A file or folder that exists.
    Node {
        /// Absolute path.
        path: &'a str,
        /// Permission bits.
        mode: u16,
        /// Size in bytes as `stat` says it.
        size: u64,
        /// Whether it is a folder.
        folder: bool,
    },
    /// A line of `/proc/kallsyms`.
    Symbol {
        /// Value.
        address: u64,
        /// Type letter as nm gives it.
        kind: char,
        /// Name.
        name: &'a str,
        /// Module it belongs to.
        module: &'a str,
    },
    /// A line of `ls -l`.
    Listing(&'a str),
    /// What the shell complained about.
    Shell(&'a str),
    /// End of the recording.
    Done,
    /// The kernel's last word, without a level: it went to the serial line directly.
    PowerDown(&'a str),
}

/// Which call was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// `finit_module(2)`.
    Finit,
    /// `init_module(2)`.
    Init,
    /// `delete_module(2)`.
    Delete,
    /// `write(2)` to a file, whose answer is the number of bytes.
    Write,
    /// `finit_module(2)` in the background; the line tells when it ended.
    BackgroundFinit,
    /// `delete_module(2)` in the background; the line tells when it ended.
    BackgroundDelete,
}

/// A call and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Which call.
    pub kind: CallKind,
    /// File to load, name to unload, or path to write to.
    pub target: &'a str,
    /// Parameter string to load with, flags to unload with (in hexadecimal), or text to write.
    pub arguments: &'a str,
    /// Flags of `finit_module`; `None` where the recording does not tell them (they were 0).
    pub flags: Option<u32>,
    /// The answer: 0 or more, or a negative errno.
    pub result: i64,
    /// How long it took.
    pub milliseconds: u32,
}

impl<'a> Call<'a> {
    /// Name of the file to load, without its folder; `None` when nothing is loaded.
    pub fn file(&self) -> Option<&'a str> {
        use CallKind::{BackgroundFinit, Finit, Init};
        matches!(self.kind, Finit | Init | BackgroundFinit)
            .then(|| self.target.rsplit('/').next().unwrap_or(self.target))
    }

    /// Flags of `delete_module`; 0 when none were given.
    pub fn unload_flags(&self) -> u32 {
        let digits = self.arguments.strip_prefix("0x");
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }
}

/// A line of the kernel's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log<'a> {
    /// Level, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Seconds since boot, padded as printk does.
    pub time: &'a str,
    /// What was said.
    pub text: &'a str,
}

/// A line of `/proc/modules`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// Name.
    pub name: &'a str,
    /// Bytes of the core and, while it exists, the init part.
    pub size: u64,
    /// Reference count; -1 while unloading.
    pub references: i64,
    /// The fourth column: `-`, or names and `[permanent]`, each followed by a comma.
    pub holders: &'a str,
    /// `Live`, `Loading` or `Unloading`.
    pub state: &'a str,
    /// Address of the core part.
    pub address: u64,
    /// Taint letters, with `+` while loading and `-` while unloading.
    pub taints: Option<&'a str>,
}

impl<'a> Module<'a> {
    /// Modules that use this one, newest first.
    pub fn users(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.holders.split(',').filter(|name| !["", "-", "[permanent]"].contains(name))
    }

    /// Whether it can never be unloaded.
    pub fn is_permanent(&self) -> bool {
        self.holders.split(',').any(|name| name == "[permanent]")
    }

    fn parse(text: &'a str) -> Option<Module<'a>> {
        let mut words = text.split(' ');
        let module = Module {
            name: words.next()?,
            size: words.next()?.parse().ok()?,
            references: words.next()?.parse().ok()?,
            holders: words.next()?,
            state: words.next()?,
            address: u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?,
            taints: match words.next() {
                Some(word) => Some(word.strip_prefix('(')?.strip_suffix(')')?),
                None => None,
            },
        };
        words.next().is_none().then_some(module)
    }
}

impl fmt::Display for Module<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Module { name, size, references, holders, state, address, taints } = self;
        write!(f, "{name} {size} {references} {holders} {state} {address:#018x}")?;
        taints.map_or(Ok(()), |taints| write!(f, " ({taints})"))
    }
}

const LOG: &str = "      | <";
const SEEN: &str = "   /";
const MODULES: &str = "   /proc/modules: ";

impl<'a> Line<'a> {
    /// Reads one line; `None` when it fits no form.
    pub fn parse(line: &'a str) -> Option<Line<'a>> {
        if let Some(title) = line.strip_prefix("@@ # ") {
            Some(Line::Title(title))
        } else if let Some(call) = line.strip_prefix("@R ") {
            parse_call(call)
        } else if let Some(log) = line.strip_prefix(LOG) {
            let (level, rest) = log.split_once(">[")?;
            let (time, text) = rest.split_once("] ")?;
            Some(Line::Log(Log { level: level.parse().ok()?, time, text }))
        } else if let Some(module) = line.strip_prefix(MODULES) {
            Some(Line::Module(Module::parse(module)?))
        } else if line.starts_with(SEEN) {
            parse_seen(line.trim_start())
        } else if line == "@DONE" {
            Some(Line::Done)
        } else if line.starts_with("sh: ") {
            Some(Line::Shell(line))
        } else if line == "total 0" || ["-r", "lr"].iter().any(|start| line.starts_with(start)) {
            Some(Line::Listing(line))
        } else if line.starts_with('[') && line.ends_with("reboot: Power down") {
            Some(Line::PowerDown(line))
        } else {
            parse_symbol(line)
        }
    }
}

fn parse_call(call: &str) -> Option<Line<'_>> {
    if let Some(answers) = call.strip_prefix("nonroot F ") {
        let (load, unload) = answers.split_once(", X ")?;
        return Some(Line::Unprivileged { load: load.parse().ok()?, unload: unload.parse().ok()? });
    }
    let (kind, rest) = call.split_once(' ')?;
    let background = match kind {
        "BG-F" => Some(CallKind::BackgroundFinit),
        "BG-X" => Some(CallKind::BackgroundDelete),
        _ => None,
    };
    if let Some(kind) = background {
        let (target, answer) = rest.split_once(" -> ")?;
        let (result, time) = answer.split_once(" after ")?;
        return Some(Line::Call(Call {
            kind,
            target,
            arguments: "",
            flags: None,
            result: result.parse().ok()?,
            milliseconds: time.strip_suffix(" ms")?.parse().ok()?,
        }));
    }
    let kind = match kind {
        "F" => CallKind::Finit,
        "I" => CallKind::Init,
        "X" => CallKind::Delete,
        "W" => CallKind::Write,
        _ => return None,
    };
    let (question, answer) = rest.rsplit_once(" -> ")?;
    let (target, question) = question.split_once(" [")?;
    let (arguments, flags) = question.rsplit_once("] ")?;
    let (result, time) = answer.split_once(" (")?;
    Some(Line::Call(Call {
        kind,
        target,
        arguments,
        flags: if flags.is_empty() { None } else { Some(flags.parse().ok()?) },
        result: result.parse().ok()?,
        milliseconds: time.strip_suffix(" ms)")?.parse().ok()?,
    }))
}

/// `PATH: CONTENT`, `PATH: open ERRNO` or `PATH MODE SIZE [dir]`.
fn parse_seen(line: &str) -> Option<Line<'_>> {
    if let Some((path, content)) = line.split_once(": ") {
        let error = content.strip_prefix("open ").and_then(|error| error.parse().ok());
        return Some(match error {
            Some(error) => Line::Unopened { path, error },
            None => Line::Content { path, content },
        });
    }
    let mut words = line.split(' ');
    let path = words.next()?;
    let mode = u16::from_str_radix(words.next()?, 8).ok()?;
    let size = words.next()?.parse().ok()?;
    let folder = match words.next() {
        None => false,
        Some("dir") => true,
        Some(_) => return None,
    };
    Some(Line::Node { path, mode, size, folder })
}

fn parse_symbol(line: &str) -> Option<Line<'_>> {
    let (symbol, module) = line.split_once("\t[")?;
    let mut words = symbol.splitn(3, ' ');
    let address = words.next().filter(|digits| digits.len() == 16)?;
    let mut kind = words.next()?.chars();
    let name = words.next()?;
    Some(Line::Symbol {
        address: u64::from_str_radix(address, 16).ok()?,
        kind: kind.next().filter(|_| kind.next().is_none())?,
        name,
        module: module.strip_suffix(']')?,
    })
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Title(title) => write!(f, "@@ # {title}"),
            Line::Call(call) => write!(f, "@R {call}"),
            Line::Unprivileged { load, unload } => write!(f, "@R nonroot F {load}, X {unload}"),
            Line::Log(Log { level, time, text }) => write!(f, "{LOG}{level}>[{time}] {text}"),
            Line::Module(module) => write!(f, "{MODULES}{module}"),
            Line::Content { path, content } => write!(f, "   {path}: {content}"),
            Line::Unopened { path, error } => write!(f, "   {path}: open {error}"),
            Line::Node { path, mode, size, folder } => {
                write!(f, "   {path} {mode:o} {size}{}", if *folder { " dir" } else { "" })
            }
            Line::Symbol { address, kind, name, module } => {
                write!(f, "{address:016x} {kind} {name}\t[{module}]")
            }
            Line::Listing(line) | Line::Shell(line) | Line::PowerDown(line) => f.write_str(line),
            Line::Done => f.write_str("@DONE"),
        }
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call { target, arguments, result, milliseconds, .. } = self;
        let kind = match self.kind {
            CallKind::Finit => "F",
            CallKind::Init => "I",
            CallKind::Delete => "X",
            CallKind::Write => "W",
            CallKind::BackgroundFinit | CallKind::BackgroundDelete => {
                let kind = if self.kind == CallKind::BackgroundFinit { "F" } else { "X" };
                return write!(f, "BG-{kind} {target} -> {result} after {milliseconds} ms");
            }
        };
        write!(f, "{kind} {target} [{arguments}] ")?;
        if let Some(flags) = self.flags {
            write!(f, "{flags}")?;
        }
        write!(f, " -> {result} ({milliseconds} ms)")
    }
}
