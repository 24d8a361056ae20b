//! The kernel's log, `/dev/kmsg`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use bstr::{BString, ByteSlice};
use rustix::fs::OFlags;

use crate::read::{Error, errno};
use crate::{Errno, Kernel};

/// The longest record, with room to spare; Linux refuses smaller buffers when a record does not fit.
const RECORD: usize = 1 << 14;
/// A log that grows faster than it is read must not keep its reader for ever.
const MOST_READS: usize = 1 << 16;

/// Where to begin in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStart {
    /// With what is logged from now on.
    Now,
    /// With the oldest record that is kept.
    Oldest,
    /// With the first record after the one of this sequence number.
    After(u64),
}

impl Kernel {
    /// Opens the log. It can be read ([`Log::read`]) as often as one likes, and says each record once.
    ///
    /// To learn what a load logs, open it with [`LogStart::Now`] before, and read it after: the kernel has logged its reasons
    /// by the time that the call returns. Other messages may be among them.
    ///
    /// # Errors
    ///
    /// [`Error`] when `/dev/kmsg` is not there or may not be read (sysctl `kernel.dmesg_restrict`).
    pub fn log(&self, start: LogStart) -> Result<Log, Error> {
        let path = self.roots.dev.join("kmsg");
        let open = || -> std::io::Result<File> {
            let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
            let mut file = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
            if start == LogStart::Now {
                file.seek(SeekFrom::End(0))?;
            }
            Ok(file)
        };
        let file = open().map_err(|error| Error::os(&path, &error))?;
        let after = if let LogStart::After(sequence) = start { Some(sequence) } else { None };
        Ok(Log { file, path, after, begun: Vec::new(), lost: 0 })
    }
}

/// The log, opened.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    /// Records up to this one are not wanted.
    after: Option<u64>,
    /// The beginning of a record whose end has not been read. A device gives whole records; a file that was kept of one does
    /// not.
    begun: Vec<u8>,
    lost: u64,
}

impl Log {
    /// What was logged since the last call. Records that cannot be read as one are left out.
    ///
    /// # Errors
    ///
    /// [`Error`] when the device cannot be read; what was read up to there is lost.
    pub fn read(&mut self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mut buffer = vec![0; RECORD];
        for _ in 0..MOST_READS {
            match self.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    self.begun.extend_from_slice(&buffer[..length]);
                    self.take_records(&mut records, false);
                }
                Err(error) => match errno(&error) {
                    Errno::AGAIN => break,
                    Errno::INTR => {}
                    // Records were overwritten before they were read; the next read gives the oldest that is left.
                    Errno::PIPE => self.lost += 1,
                    _ => return Err(Error::os(&self.path, &error)),
                },
            }
        }
        self.take_records(&mut records, true);
        Ok(records)
    }

    /// How often records were overwritten before they could be read.
    pub fn gaps(&self) -> u64 {
        self.lost
    }

    /// Takes the records out of what has been read: a record goes on as long as lines begin with a space. The last one is
    /// known to be whole only at the `end`.
    fn take_records(&mut self, records: &mut Vec<Record>, end: bool) {
        let mut rest = self.begun.as_slice();
        while let Some(length) = record_length(rest, end) {
            let (record, tail) = rest.split_at(length);
            rest = tail;
            if let Ok(record) = Record::parse(record)
                && self.after.is_none_or(|after| record.sequence > after)
            {
                records.push(record);
            }
        }
        self.begun = rest.to_vec();
        // No record is that long.
        if self.begun.len() > RECORD * 4 {
            self.begun.clear();
        }
    }
}

/// How long the first record is, if it is there as a whole.
fn record_length(text: &[u8], end: bool) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text[at..].find_byte(b'\n')? + 1;
        match text.get(at) {
            Some(b' ') => {}
            Some(_) => return Some(at),
            None => return end.then_some(at),
        }
    }
}

/// A message of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How grave it is, from 0 (emergency) to 7 (debug). syslog(3), "Values for level".
    pub level: u8,
    /// Who it is from; 0 is the kernel. syslog(3), "Values for facility", divided by 8.
    pub facility: u32,
    /// Its number; each record has the next one.
    pub sequence: u64,
    /// When it was logged, since the boot.
    pub time: Duration,
    /// Whether it is a piece of a line that goes on.
    pub is_fragment: bool,
    /// What it says.
    pub text: BString,
    /// What it is about (`SUBSYSTEM=pci`, `DEVICE=+pci:0000:00:03.0`).
    pub properties: Vec<(BString, BString)>,
}

/// A record that the kernel cannot have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no {field} in the record")]
pub struct RecordFault {
    /// What is missing.
    pub field: &'static str,
}

impl Record {
    /// Reads one record as `/dev/kmsg` gives it: `PRIORITY,SEQUENCE,MICROSECONDS,FLAG[,more];TEXT`, a newline, and lines of
    /// properties that begin with a space.
    ///
    /// # Errors
    ///
    /// [`RecordFault`] names the first field that is not there.
    ///
    /// # References
    ///
    /// Documentation/ABI/testing/dev-kmsg
    pub fn parse(record: &[u8]) -> Result<Self, RecordFault> {
        let (prefix, body) = record.split_once_str(";").ok_or(RecordFault { field: "text" })?;
        let mut fields = prefix.split(|&byte| byte == b',');
        let mut number = |field| {
            let text = std::str::from_utf8(fields.next().unwrap_or_default()).ok();
            text.and_then(|text| text.parse::<u64>().ok()).ok_or(RecordFault { field })
        };
        let (priority, sequence, time) = (number("priority")?, number("sequence number")?, number("time")?);
        let facility = u32::try_from(priority >> 3).map_err(|_| RecordFault { field: "priority" })?;
        let flag = fields.next().ok_or(RecordFault { field: "flag" })?;
        let mut lines = body.lines();
        let text = unescape(lines.next().unwrap_or_default());
        let property = |line: &[u8]| {
            let (key, value) = line.strip_prefix(b" ")?.split_once_str("=")?;
            Some((unescape(key), unescape(value)))
        };
        Ok(Self {
            level: (priority & 7) as u8,
            facility,
            sequence,
            time: Duration::from_micros(time),
            is_fragment: flag == b"c" || flag == b"+",
            text,
            properties: lines.filter_map(property).collect(),
        })
    }

    /// Whether it speaks of the module: its name stands in the text as a word of its own, with `-` and `_` the same.
    pub fn mentions(&self, module: impl AsRef<[u8]>) -> bool {
        let underscored = |text: &[u8]| text.replace("-", "_");
        let (text, name) = (underscored(&self.text), underscored(module.as_ref()));
        let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        !name.is_empty()
            && text.find_iter(&name).any(|at| {
                let before = at.checked_sub(1).and_then(|at| text.get(at));
                !is_word(before) && !is_word(text.get(at + name.len()))
            })
    }
}

/// The bytes that stand as `\xNN`.
fn unescape(text: &[u8]) -> BString {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find_byte(b'\\') {
        out.extend_from_slice(&rest[..at]);
        let code = rest[at..].strip_prefix(b"\\x").and_then(|code| code.get(..2));
        let byte = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        out.push(byte.unwrap_or(b'\\'));
        rest = &rest[at + if byte.is_some() { 4 } else { 1 }..];
    }
    out.extend_from_slice(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_of_linux() {
        let record =
            b"30,339,5140900,-;systemd[1]: caf\\xc3\\xa9 \\x5c \\q\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:03.0\n";
        let record = Record::parse(record).unwrap();
        assert_eq!((record.level, record.facility, record.sequence), (6, 3, 339));
        assert_eq!(record.time, Duration::from_micros(5_140_900));
        assert_eq!(record.text, "systemd[1]: café \\ \\q");
        assert!(!record.is_fragment);
        let properties: Vec<_> = record.properties.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(properties, ["SUBSYSTEM=pci", "DEVICE=+pci:0000:00:03.0"]);
    }

    #[test]
    fn later_kernels_say_more_in_the_prefix() {
        let record = Record::parse(b"6,1,2,c,caller=T1;a;b\n").unwrap();
        assert!(record.is_fragment);
        assert_eq!(record.text, "a;b");
    }

    #[test]
    fn a_fault_names_what_is_missing() {
        let field = |text: &[u8]| Record::parse(text).unwrap_err().field;
        assert_eq!(field(b"6,1,2,-"), "text");
        assert_eq!(field(b"x,1,2,-;"), "priority");
        assert_eq!(field(b"99999999999999999,1,2,-;"), "priority");
        assert_eq!(field(b"6,-1,2,-;"), "sequence number");
        assert_eq!(field(b"6,1,,-;"), "time");
        assert_eq!(field(b"6,1,2;"), "flag");
    }

    #[test]
    fn a_module_is_mentioned_by_its_whole_name() {
        let record = |text: &str| Record::parse(format!("3,1,1,-;{text}\n").as_bytes()).unwrap();
        assert!(record("useprop: Unknown symbol x (err -2)").mentions("useprop"));
        assert!(record("usb-storage: no").mentions("usb_storage"));
        assert!(record("Module snd_hda_intel is blacklisted").mentions("snd-hda-intel"));
        assert!(!record("useprop2: no").mentions("useprop"));
        assert!(!record("my_useprop: no").mentions("useprop"));
        assert!(record("my_useprop: useprop").mentions("useprop"));
        assert!(!record("x").mentions(""));
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(text: Vec<u8>) {
            let _ = Record::parse(&text);
        }

        #[test]
        fn nearly_right_records_are_read_without_a_panic(text in "[0-9]{1,3},[0-9]{0,20},[0-9]{0,3},.;(\\\\x?[0-9a-f]{0,2}| |=|\n){0,20}") {
            let _ = Record::parse(text.as_bytes());
        }

        #[test]
        fn what_linux_escapes_comes_back(text: Vec<u8>) {
            let escape = |&byte: &u8| match byte {
                b' '..=b'~' if byte != b'\\' => (byte as char).to_string(),
                _ => format!("\\x{byte:02x}"),
            };
            let escaped: String = text.iter().map(escape).collect();
            let record = Record::parse(format!("6,1,1,-;{escaped}\n").as_bytes()).unwrap();
            prop_assert_eq!(record.text, text);
        }

        #[test]
        fn records_do_not_depend_on_how_they_are_cut(cut in 1..60_usize) {
            let text = b"6,1,1,-;one\n6,2,1,-;two\n A=b\n C=d\n6,3,1,-;three\n";
            let mut begun = Vec::new();
            let mut lengths = Vec::new();
            for (at, piece) in text.chunks(cut).enumerate() {
                begun.extend_from_slice(piece);
                let end = (at + 1) * cut >= text.len();
                while let Some(length) = record_length(&begun, end) {
                    lengths.push(length);
                    begun.drain(..length);
                }
            }
            prop_assert_eq!(lengths, [12, 22, 14]);
        }
    }
}
