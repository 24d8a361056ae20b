//! The command line, and what is put before it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use bstr::ByteSlice;
use ferrmod_linux::LoadFlags;

use super::Request;
use crate::report::{Level, stderr};
use crate::session::{Session, Stop};

/// `MODPROBE_OPTIONS`, if it may be heeded: not when the program runs with other rights than its caller has.
pub(super) fn inherited() -> Option<OsString> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    let own = getuid() == geteuid() && getgid() == getegid();
    std::env::var_os("MODPROBE_OPTIONS").filter(|_| own)
}

/// The words of `MODPROBE_OPTIONS`: parted by spaces, except between two `'` or two `"`, of which the second one ends the word. A
/// quote that is never closed is itself.
pub(super) fn split(options: &OsStr) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut rest = options.as_bytes();
    while let Some(start) = rest.find_not_byteset(b" ") {
        rest = rest.get(start..).unwrap_or_default();
        let mut word = Vec::new();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b' ' => break,
                b'"' | b'\'' => {
                    let Some(end) = after.find_byte(byte) else {
                        word.push(byte);
                        word.extend_from_slice(after);
                        rest = b"";
                        break;
                    };
                    word.extend_from_slice(after.get(..end).unwrap_or_default());
                    rest = after.get(end + 1..).unwrap_or_default();
                    break;
                }
                _ => word.push(byte),
            }
        }
        words.push(OsString::from_vec(word));
    }
    words
}

/// Reads the options into `request`; what remains are the operands.
pub(super) fn read(session: &mut Session, request: &mut Request) -> Result<Vec<OsString>, Stop> {
    let mut options = session.options();
    while let Some(option) = options.next()? {
        match option.id {
            "all" => request.all = true,
            "remove" => request.remove = true,
            "remove-holders" => request.holders = true,
            "wait" => {
                let value = option.value.unwrap_or_default();
                let Some(wait) = milliseconds(&value) else {
                    // Whatever -q and -s say: what is wrong with a command line is for whoever wrote it.
                    let said: [&[u8]; 4] =
                        [session.name.as_bytes(), b": ERROR: unexpected wait value '", value.as_bytes(), b"'.\n"];
                    stderr(&said.concat());
                    return Err(Stop::Done(crate::session::Status::Failure));
                };
                request.wait = Some(wait);
            }
            "resolve-alias" => request.resolve = true,
            "first-time" => request.first_time = true,
            "ignore-install" => request.ignore_commands = true,
            "use-blacklist" => request.use_blacklist = true,
            "force" => {
                request.force = true;
                request.flags |= LoadFlags::IGNORE_MODVERSIONS | LoadFlags::IGNORE_VERMAGIC;
            }
            "force-modversion" => request.flags |= LoadFlags::IGNORE_MODVERSIONS,
            "force-vermagic" => request.flags |= LoadFlags::IGNORE_VERMAGIC,
            "show-depends" => {
                request.depends = true;
                request.dry_run = true;
            }
            "show-config" => request.config = true,
            "show-modversions" => request.modversions = true,
            "show-exports" => request.exports = true,
            "dry-run" => request.dry_run = true,
            "config" => {
                let path = option.value.unwrap_or_default();
                inherit(request, &[b"-C ", path.as_bytes()].concat());
                request.configs.push(path.into());
            }
            "dirname" => request.dirname = option.value,
            "root-config" => request.root_config = true,
            "set-version" => request.version = option.value,
            "explain" => request.explain = true,
            "json" => request.json = true,
            other => {
                match other {
                    "syslog" => inherit(request, b"-s"),
                    "quiet" => inherit(request, b"-q"),
                    "verbose" => inherit(request, b"-v"),
                    _ => {}
                }
                session.common(&option)?;
            }
        }
    }
    // -q takes back the -v before it, and the ones behind it count from there.
    request.verbose = request.depends || session.log.above(Level::Warning) > 0;
    Ok(options.operands())
}

/// Adds what commands are to be told as well.
fn inherit(request: &mut Request, option: &[u8]) {
    if !request.inherited.is_empty() {
        request.inherited.push(" ");
    }
    request.inherited.push(OsStr::from_bytes(option));
}

/// A number as strtoul(3) reads it with base 0, of the whole word.
fn milliseconds(word: &OsStr) -> Option<u64> {
    let digits = word.to_str()?.trim_start_matches(|c: char| matches!(c, ' ' | '\t'..='\r'));
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (base, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits.get(1..)?),
        None => (10, digits),
    };
    // from_str_radix would take another sign.
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    let value = u64::from_str_radix(digits, base).unwrap_or(u64::MAX);
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(options: &str) -> Vec<String> {
        split(OsStr::new(options)).into_iter().map(|word| word.into_string().unwrap_or_default()).collect()
    }

    #[test]
    fn options_of_the_environment_are_split_at_spaces() {
        assert_eq!(words("  -D   crc8 "), ["-D", "crc8"]);
        assert_eq!(words("-D \"a b\" 'c d'"), ["-D", "a b", "c d"]);
        assert_eq!(words("-S\"6.1\" \"-D\"x"), ["-S6.1", "-D", "x"]);
        assert_eq!(words("-D 'a b"), ["-D", "'a b"]);
        assert_eq!(words("\"\""), [""]);
        assert!(words("").is_empty());
    }

    #[test]
    fn waits_are_numbers_of_c() {
        let read = |word: &str| milliseconds(OsStr::new(word));
        assert_eq!([read("5"), read(" 5"), read("0x10"), read("010"), read("0")], [5, 5, 16, 8, 0].map(Some));
        assert_eq!([read(""), read("5x"), read("x"), read("+-5"), read("0x")], [None; 5]);
        assert_eq!(read("99999999999999999999"), Some(u64::MAX));
    }
}
