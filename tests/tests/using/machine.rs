//! The same operations in a machine.

use std::collections::HashMap;
use std::time::Duration;

use ferrmod_machine::{Argument, LoadFlags, LoadOutcome, Machine, Options, Outcome, facts_cache};
use ferrmod_tests::corpus::Tree;

use crate::content::{self, hash, pattern};
use crate::script::Script;

/// More bytes than this are answered by their hash.
const LARGE: usize = 256;
/// `O_RDONLY`, `O_WRONLY`
const READ_ONLY: u32 = 0;
const WRITE_ONLY: u32 = 1;

/// A machine, the modules a script names, and the files it has open.
pub(crate) struct World<'a> {
    machine: Machine,
    script: &'a Script,
    files: HashMap<String, u32>,
    /// What `find` has found, by its name with a `$`.
    found: HashMap<String, String>,
}

/// How a number is written and read: decimal, hexadecimal, octal.
fn number(text: &str) -> i64 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text} is no number"))
}

/// `HEX` or `HEX/LENGTH`, filled up with zeros, and more of them behind `+`.
fn bytes(text: &str) -> Vec<u8> {
    text.split('+').flat_map(part).collect()
}

fn part(text: &str) -> Vec<u8> {
    let (digits, length) = text.split_once('/').unwrap_or((text, "0"));
    let mut bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap_or_else(|_| panic!("{text}")))
        .collect();
    bytes.resize(bytes.len().max(number(length) as usize), 0);
    bytes
}

/// A value and the bytes that came with it.
fn data(value: u64, bytes: &[u8]) -> String {
    if bytes.len() > LARGE {
        return format!("{value} #{:016x}", hash(bytes));
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{value} {hex}")
}

/// A text with a name for what was found, unless its number goes on.
fn named(text: &str, name: &str, found: &str) -> String {
    let mut parts = text.split(found);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += if part.starts_with(|next: char| next.is_ascii_digit()) { found } else { name };
        out += part;
    }
    out
}

/// A `struct input_event` without its time: type, code, value.
fn event(bytes: &[u8]) -> String {
    let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let value = i32::from_le_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]);
    format!("{} {} {value}", number(16), number(18))
}

/// The records of a trace without tasks and times: what was off, and what each event says.
fn records(text: &str) -> Vec<String> {
    let record = |line: &str| {
        let (_, signs) = line.split_once("] ")?;
        let (_, rest) = signs.split_once(": ")?;
        // Pointers are hashed with a key of the boot.
        let mut parts = rest.split("=00000000");
        let mut text = parts.next()?.to_owned();
        for part in parts {
            let digits = part.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
            let (shown, part) = if digits == 8 { ("********", &part[8..]) } else { ("", part) };
            text += &format!("=00000000{shown}{part}");
        }
        Some(format!("{} {text}", &signs[..5]))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(record).collect()
}

fn said<T>(outcome: Outcome<T>, done: impl FnOnce(T) -> String) -> Vec<String> {
    vec![match outcome {
        Outcome::Done(value) => done(value),
        Outcome::Errno(errno) => format!("!{errno}"),
        Outcome::Oopsed => "oops".into(),
        Outcome::Hung => "hung".into(),
        Outcome::TimedOut => "too late".into(),
    }]
}

/// What of a text is asked for: the lines with a word, the lines between empty ones around it, or whether it is there.
fn looked_for(what: &str, text: &str, with: &str) -> Vec<String> {
    match what {
        "lines" => text.lines().filter(|line| line.contains(with)).map(str::to_owned).collect(),
        "entry" => {
            let entry = text.split("\n\n").find(|entry| entry.contains(with));
            entry.into_iter().flat_map(str::lines).map(str::to_owned).collect()
        }
        _ => {
            let has = text.split([' ', '\t', '\n', '[', ']']).any(|word| word == with);
            vec![u8::from(has).to_string()]
        }
    }
}

impl<'a> World<'a> {
    /// A machine where nobody answers requests for modules, as in the guest.
    pub(crate) fn boot(tree: &Tree, script: &'a Script) -> Self {
        let facts = facts_cache::open(&tree.vmlinuz).unwrap_or_else(|error| panic!("{error}"));
        let options = Options { facts: Some(facts), timeout: Duration::from_secs(20), ..Options::default() };
        let machine = Machine::boot(options, Box::new(|_| ()), Box::new(|_| None));
        Self {
            machine: machine.unwrap_or_else(|error| panic!("{error}")),
            script,
            files: HashMap::new(),
            found: HashMap::new(),
        }
    }

    /// What the machine answers to one operation. What was found has other numbers than in the guest, so it is called by its name.
    pub(crate) fn answer(&mut self, operation: &str) -> Vec<String> {
        let operation = self.found.iter().fold(operation.to_owned(), |text, (name, found)| text.replace(name, found));
        let answer = self.answer_to(&operation);
        let named = |line: String| self.found.iter().fold(line, |text, (name, found)| named(&text, name, found));
        answer.into_iter().map(named).collect()
    }

    fn answer_to(&mut self, operation: &str) -> Vec<String> {
        let words: Vec<&str> = operation.split(' ').collect();
        let file = words.get(1).and_then(|name| self.files.get(*name).copied()).unwrap_or(u32::MAX);
        let machine = &mut self.machine;
        let zero = |()| "0".to_owned();
        let plain = |value: u64| (value as i64).to_string();
        match words.as_slice() {
            ["load", name, arguments @ ..] => {
                let arguments = arguments.join(" ");
                match machine.load(&self.script.modules[*name], arguments.as_bytes(), LoadFlags::empty()).unwrap() {
                    LoadOutcome::Loaded => vec!["0".into()],
                    LoadOutcome::Errno(errno) => vec![format!("!{errno}")],
                    other => vec![format!("{other:?}")],
                }
            }
            ["unload", name] => said(machine.unload(name.as_bytes(), false).unwrap(), zero),
            ["open", name, path, flags] => {
                let outcome = machine.open(path, number(flags) as u32).unwrap();
                self.files.remove(*name);
                said(outcome, |file| {
                    self.files.insert((*name).to_owned(), file);
                    "0".into()
                })
            }
            ["read", _, length] => {
                let outcome = machine.read(file, number(length) as u64).unwrap();
                said(outcome, |bytes| data(bytes.len() as u64, &bytes))
            }
            ["write", _, content] => said(machine.write(file, &bytes(content)).unwrap(), plain),
            ["fill", _, length, seed] => {
                let content = pattern(number(length) as u64, number(seed) as u64);
                said(machine.write(file, &content).unwrap(), plain)
            }
            ["seek", _, offset, whence] => {
                said(machine.seek(file, number(offset), number(whence) as u32).unwrap(), plain)
            }
            ["ioctl", _, command, argument] => {
                let command = number(command) as u32;
                match argument.strip_prefix('@') {
                    Some(content) => {
                        let outcome = machine.ioctl(file, command, Argument::InOut(bytes(content))).unwrap();
                        said(outcome, |called| data(called.value, &called.buffers[0]))
                    }
                    None => {
                        let argument = Argument::Value(number(argument) as u64);
                        said(machine.ioctl(file, command, argument).unwrap(), |called| plain(called.value))
                    }
                }
            }
            ["ioctl-file", _, command, other] => {
                let argument = Argument::Value(self.files.get(*other).copied().unwrap_or(u32::MAX).into());
                said(machine.ioctl(file, number(command) as u32, argument).unwrap(), |called| plain(called.value))
            }
            ["poll", _, events, milliseconds] => {
                let time = Duration::from_millis(number(milliseconds) as u64);
                said(machine.poll(file, number(events) as u16, time).unwrap(), |ready| format!("{ready:#x}"))
            }
            ["close", _] => said(machine.close(file).unwrap(), zero),
            ["copy", name, path] => {
                let to = machine.open(path, WRITE_ONLY).unwrap().done().expect("the device opens");
                let outcome = machine.write(to, &content::image(name)).unwrap();
                machine.close(to).unwrap();
                said(outcome, plain)
            }
            ["mount", kind, source, target] => said(machine.mount(kind, source, target).unwrap(), zero),
            ["umount", target] => said(machine.unmount(target).unwrap(), zero),
            ["list", path] => said(machine.list_directory(path).unwrap(), |names| names.join(" ")),
            ["mode", path] => said(machine.mode(path).unwrap(), |mode| format!("{mode:o}")),
            ["text", path] => match machine.read_file(path).unwrap() {
                Outcome::Done(text) => String::from_utf8_lossy(&text).lines().map(str::to_owned).collect(),
                other => said(other, |_| String::new()),
            },
            ["echo", content, path] => {
                said(machine.write_file(path, content.replace('~', " ").as_bytes()).unwrap(), plain)
            }
            ["there", path] => said(machine.mode(path).unwrap(), |_| "0".to_owned()),
            ["registered", kind, name, _] => {
                let text =
                    machine.read_file("/proc/ferrmod-registrations").unwrap().done().expect("it is always there");
                // Kinds and names may have blanks in them, and words of a script have none.
                let begin = format!("{kind}_{name}_");
                let found =
                    String::from_utf8_lossy(&text).replace(' ', "_").lines().any(|line| line.starts_with(&begin));
                vec![u8::from(found).to_string()]
            }
            // What goes on by itself is over before a machine answers again.
            ["settle", _] => vec!["0".to_owned()],
            ["find", name, directory, prefix, text] => self.find(name, directory, prefix, &text.replace('~', " ")),
            ["events", _, count] => match machine.read(file, 24 * number(count) as u64).unwrap() {
                Outcome::Done(bytes) => bytes.chunks_exact(24).map(event).collect(),
                other => said(other, |_| String::new()),
            },
            ["records", _, count, size, from] => {
                let (size, from) = (number(size) as usize, number(from) as usize);
                match machine.read(file, size as u64 * number(count) as u64).unwrap() {
                    Outcome::Done(bytes) => {
                        bytes.chunks_exact(size).map(|one| data((size - from) as u64, &one[from..])).collect()
                    }
                    other => said(other, |_| String::new()),
                }
            }
            ["traced", path] => match machine.read_file(path).unwrap() {
                Outcome::Done(text) => records(&String::from_utf8_lossy(&text)),
                other => said(other, |_| String::new()),
            },
            ["piped", _] => match machine.read(file, 1 << 16).unwrap() {
                Outcome::Done(text) => records(&String::from_utf8_lossy(&text)),
                other => said(other, |_| String::new()),
            },
            ["wait", milliseconds] => {
                machine.run(Duration::from_millis(number(milliseconds) as u64)).unwrap();
                vec!["0".into()]
            }
            ["section", name] => vec![(*name).to_owned()],
            [what @ ("lines" | "entry" | "has"), path, with @ ..] => match machine.read_file(path).unwrap() {
                Outcome::Done(text) => looked_for(what, &String::from_utf8_lossy(&text), &with.join(" ")),
                other => said(other, |_| String::new()),
            },
            ["sum", path] => self.sum(path),
            _ => panic!("{operation} is unknown"),
        }
    }

    /// The entry of a directory with a prefix, whose `name` or `device/name` says this.
    fn find(&mut self, name: &str, directory: &str, prefix: &str, text: &str) -> Vec<String> {
        let entries = self.machine.list_directory(directory).unwrap().done().unwrap_or_default();
        let found = entries.into_iter().filter(|entry| entry.starts_with(prefix)).find(|entry| {
            ["name", "device/name"].iter().any(|file| {
                let content = self.machine.read_file(&format!("{directory}/{entry}/{file}")).unwrap().done();
                content.is_some_and(|content| content.strip_suffix(b"\n") == Some(text.as_bytes()))
            })
        });
        match found {
            Some(entry) => {
                self.found.insert(format!("${name}"), entry);
                vec!["0".into()]
            }
            None => vec!["!2".into()],
        }
    }

    /// A file's size and hash, read in parts as the guest's program does.
    fn sum(&mut self, path: &str) -> Vec<String> {
        let file = match self.machine.open(path, READ_ONLY).unwrap() {
            Outcome::Done(file) => file,
            other => return said(other, |_| String::new()),
        };
        let mut content = Vec::new();
        let failed = loop {
            match self.machine.read(file, 5000).unwrap() {
                Outcome::Done(part) if part.is_empty() => break None,
                Outcome::Done(part) => content.extend_from_slice(&part),
                other => break Some(said(other, |_| String::new())),
            }
        };
        self.machine.close(file).unwrap();
        failed.unwrap_or_else(|| vec![format!("{} #{:016x}", content.len(), hash(&content))])
    }

    pub(crate) fn log(&mut self) -> String {
        let lines = self.machine.dmesg().unwrap_or_default();
        lines.iter().map(|line| format!("\n{}", line.text)).collect()
    }

    /// Nothing of any module is left.
    pub(crate) fn is_clean(&mut self) {
        let report = self.machine.report().unwrap();
        assert!(report.registrations.is_empty(), "{:?}", report.registrations);
        assert!(report.memory.is_empty(), "{:?}", report.memory);
        assert!(report.oopses.is_empty(), "{:?}", report.oopses);
        assert!(self.machine.list().unwrap().is_empty());
    }
}
