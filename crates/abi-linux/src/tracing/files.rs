//! The files of `/sys/kernel/tracing`.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files::{self, FileOperations, IoctlArgument, Node, OpenFile, Provider, Whole};
use ferrmod_kernel::text::number;
use ferrmod_kernel::{Errno, kernel};

use super::{Event, events, format, output, record, switch};
use crate::bitmaps;

/// `O_ACCMODE`, `O_RDONLY`, `O_TRUNC`, `O_NONBLOCK`
const ACCESS: u32 = 3;
const READ_ONLY: u32 = 0;
const TRUNCATE: u32 = 0o1000;
const NO_WAIT: u32 = 0o4000;

/// What `trace` begins with.
fn heading(kept: usize, written: u64) -> String {
    alloc::format!(
        "# tracer: nop\n#\n# entries-in-buffer/entries-written: {kept}/{written}   #P:{}\n#\n\
         #                                _-----=> irqs-off/BH-disabled\n\
         #                               / _----=> need-resched\n\
         #                              | / _---=> hardirq/softirq\n\
         #                              || / _--=> preempt-depth\n\
         #                              ||| / _-=> migrate-disable\n\
         #                              |||| /     delay\n\
         #           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n\
         #              | |         |   |||||     |         |\n",
        bitmaps::cpus()
    )
}

/// A file whose content is made when it is opened, and that may do something when it is opened to be emptied.
#[derive(Clone, Copy)]
struct File {
    read: fn() -> Vec<u8>,
    write: fn(&[u8]) -> Result<usize, Errno>,
    empty: fn(),
    /// Writing to it without opening it, as `echo` does, empties it.
    is_emptied: bool,
}

/// `trace`: writing does nothing, emptying forgets all records.
const TRACE: File = File {
    read: || {
        let (records, written) = record::all();
        let mut out = heading(records.len(), written).into_bytes();
        records.iter().for_each(|record| out.extend(output::line(record)));
        out
    },
    write: |bytes| Ok(bytes.len()),
    empty: record::clear,
    is_emptied: true,
};

/// `set_event`: the events that are on; emptying switches all off.
const CHOICE: File = File {
    read: || {
        let on = events().into_iter().filter(|event| event.known.file != 0);
        on.flat_map(|event| alloc::format!("{}:{}\n", event.system, event.name).into_bytes()).collect()
    },
    write: choose,
    empty: || {
        for event in events() {
            // One that is off stays so.
            let _ = switch(event.known.number, false);
        }
    },
    is_emptied: false,
};

impl FileOperations for File {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        Ok((self.read)())
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.is_emptied {
            (self.empty)();
        }
        (self.write)(bytes)
    }

    fn open(&self, flags: u32) -> Option<Result<Box<dyn OpenFile>, Errno>> {
        if flags & ACCESS != READ_ONLY && flags & TRUNCATE != 0 {
            (self.empty)();
        }
        Some(Ok(Box::new(Whole::new(Arc::new(File { is_emptied: false, ..*self })))))
    }
}

/// `trace_pipe`: what is read is gone; who reads waits for more.
struct Pipe;

impl FileOperations for Pipe {
    /// What there is, without waiting.
    fn read(&self) -> Result<Vec<u8>, Errno> {
        Ok(core::iter::from_fn(record::take).flat_map(|record| output::line(&record)).collect())
    }

    fn write(&self, _bytes: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn open(&self, flags: u32) -> Option<Result<Box<dyn OpenFile>, Errno>> {
        Some(Ok(Box::new(OpenPipe { waits: flags & NO_WAIT == 0, rest: Vec::new(), has_read: false })))
    }
}

struct OpenPipe {
    waits: bool,
    /// Of a line that did not fit.
    rest: Vec<u8>,
    /// There was a record before: who has read everything waits for no more while nothing is recorded.
    has_read: bool,
}

impl OpenFile for OpenPipe {
    fn read(&mut self, length: u64) -> Result<Vec<u8>, Errno> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        while self.rest.is_empty() && length > 0 {
            while self.rest.len() < length {
                let Some(record) = record::take() else { break };
                self.rest.extend(output::line(&record));
                self.has_read = true;
            }
            match () {
                () if !self.rest.is_empty() => (),
                () if !self.waits => return Err(Errno::EAGAIN),
                () if self.has_read && !record::is_on() => break,
                () => record::wait(None),
            }
        }
        Ok(self.rest.drain(..length.min(self.rest.len())).collect())
    }

    fn write(&mut self, _bytes: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn seek(&mut self, _offset: i64, _whence: u32) -> Result<u64, Errno> {
        Err(Errno::ESPIPE)
    }

    fn ioctl(&mut self, _command: u32, _argument: IoctlArgument) -> Result<(u64, Vec<u8>), Errno> {
        Err(Errno::ENOTTY)
    }

    fn poll(&mut self, events: u32, until: u64) -> Result<u32, Errno> {
        /// `POLLIN`, `POLLRDNORM`
        const READABLE: u32 = 0x41;
        loop {
            if !self.rest.is_empty() || record::is_there() {
                return Ok(READABLE & events);
            }
            if kernel().platform.now() >= until {
                return Ok(0);
            }
            record::wait(Some(until));
        }
    }
}

/// Switches what a word names: `[!]SYSTEM:EVENT`, where one of both may be `*` or nothing, or the name of either.
///
/// # Errors
/// `EINVAL` when it names nothing.
fn choose_word(word: &str) -> Result<(), Errno> {
    let (on, word) = word.strip_prefix('!').map_or((true, word), |word| (false, word));
    let is = |wanted: &str, name: &str| matches!(wanted, "" | "*") || wanted == name;
    let wanted = |event: &Event| match word.split_once(':') {
        Some((system, name)) => is(system, &event.system) && is(name, &event.name),
        None => word == event.system || word == event.name,
    };
    let chosen: Vec<Event> = events().into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        return Err(Errno::EINVAL);
    }
    chosen.iter().try_for_each(|event| switch(event.known.number, on))
}

fn choose(bytes: &[u8]) -> Result<usize, Errno> {
    let text = bytes.to_str().map_err(|_| Errno::EINVAL)?;
    text.split_whitespace().try_for_each(choose_word)?;
    Ok(bytes.len())
}

/// A file that says whether events are on and switches them: `0`, `1`, or `X` for some of them.
fn switches(wanted: impl Fn(&Event) -> bool + Send + Sync + Clone + 'static) -> Node {
    let chosen = wanted.clone();
    files::read_write(
        0o640,
        move || {
            let states: BTreeSet<bool> =
                events().iter().filter(|event| wanted(event)).map(|event| event.known.file != 0).collect();
            let sign = match (states.contains(&false), states.contains(&true)) {
                (true, true) => 'X',
                (_, true) => '1',
                _ => '0',
            };
            Ok(alloc::format!("{sign}\n").into_bytes())
        },
        move |bytes| {
            let on = one_or_zero(bytes)?;
            let wanted: Vec<Event> = events().into_iter().filter(&chosen).collect();
            wanted.iter().try_for_each(|event| switch(event.known.number, on))?;
            Ok(bytes.len())
        },
    )
}

/// 0 or 1.
///
/// # Errors
/// `EINVAL` for anything else.
fn one_or_zero(bytes: &[u8]) -> Result<bool, Errno> {
    match number::unsigned(bytes, 10)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Errno::EINVAL),
    }
}

/// `tracing_on`: 0, or any other number.
fn recording() -> Node {
    files::read_write(
        0o640,
        || Ok(alloc::format!("{}\n", u8::from(record::is_on())).into_bytes()),
        |bytes| {
            record::switch(number::unsigned(bytes, 10)? != 0);
            Ok(bytes.len())
        },
    )
}

/// The directory.
pub(super) struct Tracing;

impl Provider for Tracing {
    fn node(&self, path: &str) -> Option<Node> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let text = |text: String| Some(files::read_only(0o440, move || text.clone().into_bytes()));
        match *parts.as_slice() {
            [] | ["events"] => Some(Node::Directory),
            ["available_events"] => {
                let line = |event: &Event| alloc::format!("{}:{}\n", event.system, event.name);
                text(events().iter().map(line).collect())
            }
            ["set_event"] => Some(Node::File(0o640, Arc::new(CHOICE))),
            ["trace"] => Some(Node::File(0o640, Arc::new(TRACE))),
            ["trace_pipe"] => Some(Node::File(0o440, Arc::new(Pipe))),
            ["tracing_on"] => Some(recording()),
            ["events", "enable"] => Some(switches(|_| true)),
            ["events", system, ref rest @ ..] => {
                let own: Vec<Event> = events().into_iter().filter(|event| event.system == system).collect();
                let find = |name: &str| own.iter().find(|event| event.name == name).cloned();
                let wanted = String::from(system);
                match *rest {
                    _ if own.is_empty() => None,
                    [] => Some(Node::Directory),
                    ["enable"] => Some(switches(move |event| event.system == wanted)),
                    [name] => find(name).map(|_| Node::Directory),
                    [name, "enable"] => {
                        find(name).map(|event| switches(move |other| other.known.number == event.known.number))
                    }
                    [name, "id"] => find(name).and_then(|event| text(alloc::format!("{}\n", event.known.number))),
                    [name, "format"] => find(name).and_then(|event| text(format::text(&event))),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        let own = |names: &[&str]| names.iter().map(|&name| name.into()).collect::<Vec<String>>();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut names = match *parts.as_slice() {
            [] => own(&["available_events", "events", "set_event", "trace", "trace_pipe", "tracing_on"]),
            ["events"] => {
                let systems: BTreeSet<String> = events().into_iter().map(|event| event.system).collect();
                systems.into_iter().chain(own(&["enable"])).collect()
            }
            ["events", system] => {
                let names = events().into_iter().filter(|event| event.system == system).map(|event| event.name);
                names.chain(own(&["enable"])).collect()
            }
            ["events", _, _] => own(&["enable", "format", "id"]),
            _ => return None,
        };
        names.sort();
        Some(names)
    }
}
