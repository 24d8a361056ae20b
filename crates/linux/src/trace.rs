//! The kernel's own trace of its modules: who loaded and unloaded which, as it happened.
//!
//! Tracing has instances, each with buffers and events of its own, so that nobody else's tracing is disturbed. One is made for each
//! [`ModuleTrace`], and removed with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString, ByteSlice};
use rustix::fs::OFlags;

use crate::Kernel;
use crate::read::Error;

/// How the instances are called: so, and the number of the process.
const PREFIX: &str = "ferrmod-modules-";
/// A trace that grows faster than it is read must not keep its reader for ever.
const MOST_READS: usize = 1 << 10;
/// The longest line that is waited for.
const LONGEST: usize = 1 << 12;
/// `TASK_COMM_LEN` without its zero, padded by one: the name of a task takes that many columns.
const NAME: usize = 16;

/// What the kernel did with a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is in place, and its init is about to run.
    Load,
    /// It is gone: unloaded, or its init failed.
    Free,
}

/// A line of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// What happened.
    pub act: Act,
    /// The module.
    pub module: BString,
    /// The letters of its taints, when it was loaded.
    pub taints: BString,
    /// The name of the task that asked for it.
    pub task: BString,
    /// Its number, in the initial namespace.
    pub pid: u32,
}

impl Traced {
    /// A line of `trace_pipe`; `None` for those of other events, and for what the kernel does not write.
    ///
    /// The name of a task comes first and may hold anything, and so may a module's at the end: the columns between tell them apart.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (task, rest) = line.split_at_checked(NAME)?;
        let (pid, rest) = rest.strip_prefix(b"-")?.split_once_str(" ")?;
        let pid = pid.to_str().ok()?.parse().ok()?;
        // With the option record-tgid the process stands in brackets.
        let rest = rest.trim_ascii_start();
        let rest = if rest.starts_with(b"(") { rest.split_once_str(")")?.1.trim_ascii_start() } else { rest };
        let (_processor, rest) = rest.strip_prefix(b"[")?.split_once_str("]")?;
        let (before, rest) = rest.split_once_str(": ")?;
        // Flags, unless they are off, and the time.
        if !(1..=2).contains(&before.fields_with(char::is_whitespace).count()) {
            return None;
        }
        let (event, said) = rest.split_once_str(": ")?;
        let act = match event {
            b"module_load" => Act::Load,
            b"module_free" => Act::Free,
            _ => return None,
        };
        // A load has its taints behind the name, or an empty word.
        let (module, taints) = match act {
            Act::Load => said.rsplit_once_str(" ").unwrap_or((said, b"")),
            Act::Free => (said, &b""[..]),
        };
        let (module, taints) = (BString::from(module.trim_ascii_end()), BString::from(taints));
        (!module.is_empty()).then(|| Self { act, module, taints, task: task.trim_ascii_start().into(), pid })
    }
}

/// The trace, while it runs.
#[derive(Debug)]
pub struct ModuleTrace {
    folder: PathBuf,
    pipe: File,
    /// The beginning of a line that has not ended yet.
    begun: Vec<u8>,
}

impl Kernel {
    /// Lets the kernel trace its modules from now on. It stops when the answer is dropped, and what processes that were killed have
    /// left behind is removed.
    ///
    /// # Errors
    /// [`Error`] when there is no tracing here, or it is not ours to use.
    pub fn trace_modules(&self) -> Result<ModuleTrace, Error> {
        let places = [self.roots.sys.join("kernel/tracing"), self.roots.sys.join("kernel/debug/tracing")];
        let instances = places.map(|place| place.join("instances"));
        let instances = instances.iter().find(|folder| folder.is_dir()).unwrap_or(&instances[0]);
        forget(instances, &self.roots.proc);
        let folder = instances.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| Error::os(&folder, &error))?;
        let switch_on = || -> io::Result<File> {
            for event in ["module_load", "module_free"] {
                // Made by the kernel with the folder, or this is no tracing.
                let file = folder.join("events/module").join(event).join("enable");
                OpenOptions::new().write(true).open(file).and_then(|mut file| io::Write::write_all(&mut file, b"1"))?;
            }
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            OpenOptions::new().read(true).custom_flags(flags).open(folder.join("trace_pipe"))
        };
        match switch_on() {
            Ok(pipe) => Ok(ModuleTrace { folder, pipe, begun: Vec::new() }),
            Err(error) => {
                let _ = fs::remove_dir(&folder);
                Err(Error::os(&folder, &error))
            }
        }
    }
}

/// Removes the instances of processes that are no more.
fn forget(instances: &Path, proc: &Path) {
    for entry in fs::read_dir(instances).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if process.is_some_and(|process| proc.is_dir() && !proc.join(process.to_string()).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl ModuleTrace {
    /// What was traced since the last call, the oldest first. Lines that the kernel had no room for are missing.
    ///
    /// # Errors
    /// [`Error`] when the trace cannot be read any more.
    pub fn read(&mut self) -> Result<Vec<Traced>, Error> {
        let mut buffer = [0; 1 << 12];
        for _ in 0..MOST_READS {
            match self.pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.begun.extend(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::os(&self.folder, &error)),
            }
        }
        Ok(take_lines(&mut self.begun))
    }
}

/// Takes whole lines out of what was read.
fn take_lines(begun: &mut Vec<u8>) -> Vec<Traced> {
    let end = begun.rfind_byte(b'\n').map_or(0, |at| at + 1);
    let lines: Vec<u8> = begun.drain(..end).collect();
    if begun.len() > LONGEST {
        begun.clear();
    }
    lines.lines().filter_map(|line| Traced::parse(BStr::new(line))).collect()
}

impl Drop for ModuleTrace {
    fn drop(&mut self) {
        // An instance whose pipe is open is busy.
        if let Ok(null) = File::open("/dev/null") {
            self.pipe = null;
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Option<(Act, String, String, String, u32)> {
        let traced = Traced::parse(line.as_bytes())?;
        let text = |bytes: &BString| bytes.to_string();
        Some((traced.act, text(&traced.module), text(&traced.taints), text(&traced.task), traced.pid))
    }

    #[test]
    fn lines_of_linux() {
        let line = "        modprobe-73      [001] .....     5.123456: module_load: crc7 ";
        assert_eq!(parse(line), Some((Act::Load, "crc7".into(), "".into(), "modprobe".into(), 73)));
        let line = "          insmod-1234567 [000] d..1.   105.123456: module_load: works OE";
        assert_eq!(parse(line), Some((Act::Load, "works".into(), "OE".into(), "insmod".into(), 1_234_567)));
        let line = "           rmmod-80      (     80) [001] .....     6.000001: module_free: crc7";
        assert_eq!(parse(line), Some((Act::Free, "crc7".into(), "".into(), "rmmod".into(), 80)));
        let line = " : module_load: -9       [001]     6.000001: module_free: a b: c";
        assert_eq!(parse(line), Some((Act::Free, "a b: c".into(), "".into(), ": module_load: ".into(), 9)));
        for line in [
            "",
            "CPU:1 [LOST 5 EVENTS]",
            "        modprobe-73      [001] .....     5.123456: module_put: crc7 call_site=x refcnt=1",
            "        modprobe-73      [001] .....     5.123456: module_free: ",
            "        modprobe-x       [001] .....     5.123456: module_free: crc7",
            "        modprobe-73      module_free: crc7",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn lines_come_in_pieces() {
        let line = "        modprobe-73      [001] .....     5.123456: module_load: crc7 \n";
        let mut begun = Vec::new();
        let mut seen = 0;
        for byte in line.repeat(3).bytes() {
            begun.push(byte);
            seen += take_lines(&mut begun).len();
        }
        assert_eq!((seen, begun.len()), (3, 0));
        begun = vec![b'x'; LONGEST + 1];
        assert!(take_lines(&mut begun).is_empty() && begun.is_empty());
    }

    #[test]
    fn a_folder_that_is_no_tracing_is_left_as_it_was() {
        let root = std::env::temp_dir().join(format!("ferrmod-trace-{}", std::process::id()));
        let instances = root.join("sys/kernel/tracing/instances");
        let stale = instances.join(format!("{PREFIX}4000000000"));
        fs::create_dir_all(&stale).unwrap();
        fs::create_dir_all(root.join("proc")).unwrap();
        let roots = crate::Roots { proc: root.join("proc"), sys: root.join("sys"), dev: root.join("dev") };
        assert!(Kernel::recorded(roots).trace_modules().is_err());
        assert_eq!(fs::read_dir(&instances).unwrap().count(), 0);
        fs::remove_dir_all(root).unwrap();
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(line: Vec<u8>, text in ".{16}-[0-9]{1,11} \\[[0-9]{1,3}\\] .{0,40}") {
            let _ = Traced::parse(&line);
            let _ = Traced::parse(text.as_bytes());
        }
    }
}
