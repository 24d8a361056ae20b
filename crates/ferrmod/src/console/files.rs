//! Files of the machine, used by hand as a program uses them.

use std::io::Write;
use std::time::Duration;

use anstream::println;
use ferrmod_machine::Argument;
use sha2::{Digest, Sha256};

use super::value;
use crate::exit::{Exit, Failure};
use crate::session::Session;

/// `O_RDONLY`, `O_WRONLY`, `O_RDWR`, `O_CREAT`, `O_TRUNC`, `O_NONBLOCK`
const READ_ONLY: u32 = 0;
const WRITE_ONLY: u32 = 1;
const READ_WRITE: u32 = 2;
const CREATE: u32 = 0o100;
const TRUNCATE: u32 = 0o1000;
const NO_WAIT: u32 = 0o4000;
/// `SEEK_SET`
const FROM_START: u32 = 0;
/// `POLLIN`, `POLLPRI`, `POLLOUT`, `POLLERR`, `POLLHUP`
const READY: [(u16, &str); 5] = [(1, "read"), (2, "urgent"), (4, "write"), (8, "error"), (16, "gone")];
/// Bytes of one transfer.
const CHUNK: usize = 64 << 10;

/// Runs one of the commands; `None` when the words do not fit it.
///
/// # Errors
/// [`Failure`] when the machine is gone or a file of the host cannot be read.
pub(super) fn execute(session: &mut Session, command: &str, words: &[&str]) -> Result<Option<Exit>, Failure> {
    let done = match (command, words) {
        ("open", [path]) => open(session, path, READ_ONLY),
        ("open", [path, how]) => match flags(how) {
            Some(flags) => open(session, path, flags),
            None => return Ok(None),
        },
        ("read", [file, length]) => match number(length) {
            Some(length) => with(session, file, READ_ONLY, |session, at| read(session, file, at, length)),
            None => return Ok(None),
        },
        ("write", [file, text]) => match bytes(text) {
            Some(bytes) => with(session, file, WRITE_ONLY, |session, at| write(session, file, at, &bytes)),
            None => return Ok(None),
        },
        ("seek", [file, offset]) => match (file.parse(), number(offset)) {
            (Ok(at), Some(offset)) => seek(session, file, at, offset),
            _ => return Ok(None),
        },
        ("ioctl", [file, request, rest @ ..]) => match (number(request), argument(rest)) {
            (Some(request), Some(argument)) => {
                with(session, file, READ_WRITE, |session, at| ioctl(session, file, at, request as u32, argument))
            }
            _ => return Ok(None),
        },
        ("poll", [file, rest @ ..]) => match rest {
            [] => with(session, file, READ_ONLY, |session, at| poll(session, file, at, 0)),
            [time] => match number(time) {
                Some(time) => with(session, file, READ_ONLY, |session, at| poll(session, file, at, time)),
                None => return Ok(None),
            },
            _ => return Ok(None),
        },
        ("close", [file]) => match file.parse() {
            Ok(at) => session.machine.close(at).map_err(Failure::from).map(|outcome| said(value(outcome, file))),
            Err(_) => return Ok(None),
        },
        ("copy", [from, to]) => copy(session, from, to),
        ("mount", []) => mounts(session),
        ("mount", ["-t", kind, source, target]) => {
            let outcome = session.machine.mount(kind, source, target)?;
            Ok(said(value(outcome, target)))
        }
        ("umount", [target]) => {
            let outcome = session.machine.unmount(target)?;
            Ok(said(value(outcome, target)))
        }
        ("sha256sum", [_, ..]) => sums(session, words),
        _ => return Ok(None),
    };
    done.map(Some)
}

fn said(result: Result<(), Exit>) -> Exit {
    result.err().unwrap_or(Exit::Clean)
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `r`, `w` or `rw`, and `n`.
fn flags(how: &str) -> Option<u32> {
    let (access, wait) = match how.strip_suffix('n') {
        Some(access) => (access, NO_WAIT),
        None => (how, 0),
    };
    let access = match access {
        "r" => READ_ONLY,
        "w" => WRITE_ONLY,
        "rw" => READ_WRITE,
        _ => return None,
    };
    Some(access | wait)
}

/// `HEX` or `HEX/LENGTH`, filled up with zeros.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    /// More is no argument of an `ioctl`.
    const MOST: u64 = 1 << 20;
    let (digits, length) = text.split_once('/').unwrap_or((text, "0"));
    if !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2);
    let mut bytes = pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect::<Option<Vec<u8>>>()?;
    let length = number(length).filter(|&length| length <= MOST)?;
    bytes.resize(bytes.len().max(length as usize), 0);
    Some(bytes)
}

fn argument(words: &[&str]) -> Option<Argument> {
    match words {
        [] => Some(Argument::Value(0)),
        [word] => match word.strip_prefix('@') {
            Some(text) => bytes(text).map(Argument::InOut),
            None => number(word).map(Argument::Value),
        },
        _ => None,
    }
}

/// Uses an open file by its number, or opens a path for this one time.
fn with(
    session: &mut Session,
    file: &str,
    flags: u32,
    use_it: impl FnOnce(&mut Session, u32) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    if let Ok(at) = file.parse() {
        return use_it(session, at);
    }
    let at = match value(session.machine.open(file, flags)?, file) {
        Ok(at) => at,
        Err(exit) => return Ok(exit),
    };
    let done = use_it(session, at)?;
    let closed = value(session.machine.close(at)?, file);
    Ok(if done == Exit::Clean { said(closed) } else { done })
}

fn open(session: &mut Session, path: &str, flags: u32) -> Result<Exit, Failure> {
    match value(session.machine.open(path, flags)?, path) {
        Ok(at) => println!("{at}"),
        Err(exit) => return Ok(exit),
    }
    Ok(Exit::Clean)
}

/// Bytes as `hexdump -C` shows them.
fn dump(bytes: &[u8]) {
    for (number, row) in bytes.chunks(16).enumerate() {
        let hex: String = row.iter().map(|byte| format!(" {byte:02x}")).collect();
        let plain = |&byte: &u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' };
        let text: String = row.iter().map(plain).collect();
        println!("{:08x} {hex:<48}  |{text}|", number * 16);
    }
}

fn read(session: &mut Session, file: &str, at: u32, length: u64) -> Result<Exit, Failure> {
    match value(session.machine.read(at, length)?, file) {
        Ok(bytes) => dump(&bytes),
        Err(exit) => return Ok(exit),
    }
    Ok(Exit::Clean)
}

fn write(session: &mut Session, file: &str, at: u32, bytes: &[u8]) -> Result<Exit, Failure> {
    match value(session.machine.write(at, bytes)?, file) {
        Ok(count) => println!("{count}"),
        Err(exit) => return Ok(exit),
    }
    Ok(Exit::Clean)
}

fn seek(session: &mut Session, file: &str, at: u32, offset: u64) -> Result<Exit, Failure> {
    match value(session.machine.seek(at, offset as i64, FROM_START)?, file) {
        Ok(position) => println!("{position}"),
        Err(exit) => return Ok(exit),
    }
    Ok(Exit::Clean)
}

fn ioctl(session: &mut Session, file: &str, at: u32, request: u32, argument: Argument) -> Result<Exit, Failure> {
    match value(session.machine.ioctl(at, request, argument)?, file) {
        Ok(called) => {
            println!("{}", called.value as i64);
            for buffer in called.buffers {
                dump(&buffer);
            }
        }
        Err(exit) => return Ok(exit),
    }
    Ok(Exit::Clean)
}

fn poll(session: &mut Session, file: &str, at: u32, milliseconds: u64) -> Result<Exit, Failure> {
    match value(
        session.machine.poll(at, READY.iter().map(|&(bit, _)| bit).sum(), Duration::from_millis(milliseconds))?,
        file,
    ) {
        Ok(ready) => {
            let words: Vec<&str> = READY.iter().filter(|(bit, _)| ready & bit != 0).map(|&(_, word)| word).collect();
            println!("{}", if words.is_empty() { "not ready".to_owned() } else { words.join(" ") });
        }
        Err(exit) => return Ok(exit),
    }
    Ok(Exit::Clean)
}

fn copy(session: &mut Session, from: &str, to: &str) -> Result<Exit, Failure> {
    let content = std::fs::read(from).map_err(|error| Failure::File { path: from.into(), error })?;
    with(session, to, WRITE_ONLY | CREATE | TRUNCATE, |session, at| {
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let part = &rest[..rest.len().min(CHUNK)];
            match value(session.machine.write(at, part)?, to) {
                Ok(0) => break,
                Ok(count) => rest = &rest[count as usize..],
                Err(exit) => return Ok(exit),
            }
        }
        println!("{} bytes", content.len() - rest.len());
        Ok(Exit::Clean)
    })
}

fn mounts(session: &mut Session) -> Result<Exit, Failure> {
    match value(session.machine.read_file("/proc/mounts")?, "/proc/mounts") {
        Ok(text) => std::io::stdout().write_all(&text)?,
        Err(exit) => return Ok(exit),
    }
    Ok(Exit::Clean)
}

fn sums(session: &mut Session, paths: &[&str]) -> Result<Exit, Failure> {
    let mut worst = Exit::Clean;
    for path in paths {
        let done = with(session, path, READ_ONLY, |session, at| {
            let mut hasher = Sha256::new();
            loop {
                match value(session.machine.read(at, CHUNK as u64)?, path) {
                    Ok(part) if part.is_empty() => break,
                    Ok(part) => hasher.update(&part),
                    Err(exit) => return Ok(exit),
                }
            }
            let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            println!("{digest}  {path}");
            Ok(Exit::Clean)
        })?;
        worst = worst.max(done);
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbers_or_memory() {
        assert_eq!(argument(&[]), Some(Argument::Value(0)));
        assert_eq!(argument(&["0x10"]), Some(Argument::Value(16)));
        assert_eq!(argument(&["@0102/4"]), Some(Argument::InOut(vec![1, 2, 0, 0])));
        assert_eq!(argument(&["@010"]), None);
        assert_eq!(argument(&["@zz"]), None);
        assert_eq!(argument(&["@/99999999999"]), None);
        assert_eq!(flags("rwn"), Some(READ_WRITE | NO_WAIT));
        assert_eq!(flags("x"), None);
    }
}
