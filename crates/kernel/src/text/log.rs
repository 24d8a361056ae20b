//! The kernel log: records with levels, times and sequence numbers in a bounded ring.
//!
//! What does not fit pushes the oldest records out, and a reader learns how many it missed: nothing is lost without being
//! counted.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use bstr::BString;

/// A message's level (`KERN_ERR` is `Level::Error`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// The system is unusable.
    Emergency = 0,
    /// Action must be taken at once.
    Alert = 1,
    /// Critical conditions.
    Critical = 2,
    /// Error conditions.
    Error = 3,
    /// Warning conditions.
    Warning = 4,
    /// Normal but significant.
    Notice = 5,
    /// Informational.
    Info = 6,
    /// Debugging.
    Debug = 7,
}

impl Level {
    /// The level of a message that names none.
    pub const DEFAULT: Level = Level::Warning;

    /// The level of this number.
    pub const fn from_number(number: u8) -> Option<Level> {
        Some(match number {
            0 => Level::Emergency,
            1 => Level::Alert,
            2 => Level::Critical,
            3 => Level::Error,
            4 => Level::Warning,
            5 => Level::Notice,
            6 => Level::Info,
            7 => Level::Debug,
            _ => return None,
        })
    }
}

/// What stands before a message's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// The level, if one is named.
    pub level: Option<Level>,
    /// The text goes on where the message before stopped (`KERN_CONT`).
    pub continued: bool,
}

/// The byte before a level digit (`KERN_SOH`).
pub const START_OF_HEADER: u8 = 1;

/// Splits a message into its prefixes and its text. The first level named counts.
pub fn parse_prefix(mut message: &[u8]) -> (Prefix, &[u8]) {
    let mut prefix = Prefix::default();
    while let [START_OF_HEADER, kind @ (b'0'..=b'7' | b'c'), rest @ ..] = message {
        match Level::from_number(kind.wrapping_sub(b'0')) {
            Some(level) => prefix.level = prefix.level.or(Some(level)),
            None => prefix.continued = true,
        }
        message = rest;
    }
    (prefix, message)
}

/// Who wrote a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A task, by its process id.
    Task(u32),
    /// An interrupt handler, by its CPU.
    Cpu(u32),
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The records are numbered from 0 without gaps.
    pub sequence: u64,
    /// Nanoseconds since boot.
    pub time: u64,
    /// 0 for the kernel, otherwise what user space wrote (`LOG_USER` is 1).
    pub facility: u32,
    /// The level.
    pub level: Level,
    /// Who wrote it.
    pub caller: Caller,
    /// Begins with a continuation that found nothing to go on with.
    pub continued: bool,
    /// The text without prefix and final newline; newlines inside separate lines.
    pub text: BString,
    /// The device it is about, as `subsystem` and `device` of `/dev/kmsg`; empty if none.
    pub device: Option<Device>,
}

/// The device a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `SUBSYSTEM=`.
    pub subsystem: BString,
    /// `DEVICE=`, such as `+usb:2-1` or `b8:0`.
    pub device: BString,
}

impl Record {
    /// Facility and level in one number, as in `<6>`.
    pub fn priority(&self) -> u32 {
        self.facility << 3 | self.level as u32
    }

    /// The time as `[    2.587525] `.
    pub fn timestamp(&self) -> BString {
        format!("[{:5}.{:06}] ", self.time / 1_000_000_000, self.time % 1_000_000_000 / 1000).into()
    }

    /// The lines as the console and `dmesg` show them, each with a time (and `<priority>` in front when `raw`) and a newline.
    pub fn lines(&self, raw: bool) -> BString {
        let mut prefix = Vec::new();
        if raw {
            prefix.extend_from_slice(format!("<{}>", self.priority()).as_bytes());
        }
        prefix.extend_from_slice(&self.timestamp());
        let mut out = Vec::new();
        for line in self.text.split(|&byte| byte == b'\n') {
            out.extend_from_slice(&prefix);
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.into()
    }

    /// The record as reading `/dev/kmsg` gives it.
    pub fn kmsg(&self) -> BString {
        let flag = if self.continued { 'c' } else { '-' };
        let mut out = format!("{},{},{},{flag};", self.priority(), self.sequence, self.time / 1000).into_bytes();
        escape(&mut out, &self.text);
        out.push(b'\n');
        if let Some(device) = &self.device {
            for (key, value) in [("SUBSYSTEM", &device.subsystem), ("DEVICE", &device.device)] {
                if !value.is_empty() {
                    out.extend_from_slice(format!(" {key}=").as_bytes());
                    escape(&mut out, value);
                    out.push(b'\n');
                }
            }
        }
        out.into()
    }
}

fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        if (b' '..127).contains(&byte) && byte != b'\\' {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

/// The most text a record holds (`LOG_LINE_MAX`, without the NUL).
pub const TEXT_MAX: usize = 1024 - 32 - 1;
/// The room for text: Debian's `CONFIG_LOG_BUF_SHIFT`, 17.
pub const DEFAULT_CAPACITY: usize = 1 << 17;
/// Linux plans with 32 bytes of text a record, and has as many records.
const BYTES_A_RECORD: usize = 32;

/// The console prints records of a smaller level than this one.
pub const DEFAULT_CONSOLE_LEVEL: u8 = 7;
/// The same with `quiet` on the command line.
pub const QUIET_CONSOLE_LEVEL: u8 = 4;

/// The ring of records.
#[derive(Clone, Debug)]
pub struct Ring {
    records: VecDeque<Record>,
    /// The newest record may be continued.
    open: bool,
    /// Bytes of text held.
    used: usize,
    capacity: usize,
    /// The number of the next record.
    next: u64,
    /// What `dmesg --clear` hid.
    cleared: u64,
    /// The console level; [`Ring::prints`] compares with it.
    pub console_level: u8,
}

impl Default for Ring {
    fn default() -> Ring {
        Ring::new(DEFAULT_CAPACITY)
    }
}

/// What a reader finds at its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A record. The reader goes on at its sequence number + 1.
    Record(&'a Record),
    /// So many records were pushed out before they were read. The reader goes on at the second number.
    Dropped(u64, u64),
    /// Nothing yet.
    Nothing,
}

impl Ring {
    /// A ring with room for so many bytes of text.
    pub const fn new(capacity: usize) -> Ring {
        Ring {
            records: VecDeque::new(),
            open: false,
            used: 0,
            capacity: if capacity < TEXT_MAX { TEXT_MAX } else { capacity },
            next: 0,
            cleared: 0,
            console_level: DEFAULT_CONSOLE_LEVEL,
        }
    }

    /// Writes a formatted message, prefix and newline included, as `printk` does.
    ///
    /// A message without a newline stays open: a continuation by the same caller goes to its end. Any other message closes
    /// it. Text beyond [`TEXT_MAX`] is cut.
    pub fn write(&mut self, time: u64, caller: Caller, message: &[u8], device: Option<Device>) {
        let (prefix, text) = parse_prefix(message);
        self.write_text(time, caller, prefix, text, device);
    }

    /// [`Ring::write`] with the prefix already taken off.
    pub fn write_text(&mut self, time: u64, caller: Caller, prefix: Prefix, text: &[u8], device: Option<Device>) {
        let text = &text[..text.len().min(TEXT_MAX)];
        let (text, closes) = match text.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (text, false),
        };
        if prefix.continued && self.extend(caller, text, closes) {
            return;
        }
        let record = Record {
            sequence: 0,
            time,
            facility: 0,
            level: prefix.level.unwrap_or(Level::DEFAULT),
            caller,
            continued: prefix.continued,
            text: text.into(),
            device,
        };
        self.push(record);
        self.open = !closes;
    }

    fn extend(&mut self, caller: Caller, text: &[u8], closes: bool) -> bool {
        let Some(last) = self.records.back_mut() else {
            return false;
        };
        if !self.open || last.caller != caller || last.text.len() + text.len() > TEXT_MAX {
            return false;
        }
        last.text.extend_from_slice(text);
        self.used += text.len();
        self.open = !closes;
        self.make_room(0);
        true
    }

    /// Adds a closed record; it gets the next sequence number, which is returned. Text beyond [`TEXT_MAX`] is cut.
    pub fn push(&mut self, mut record: Record) -> u64 {
        record.text.truncate(TEXT_MAX);
        record.sequence = self.next;
        self.make_room(record.text.len());
        self.used += record.text.len();
        self.next += 1;
        self.open = false;
        self.records.push_back(record);
        self.next - 1
    }

    fn make_room(&mut self, wanted: usize) {
        // The newest record is never pushed out by its own continuation.
        let keep = usize::from(wanted == 0);
        while self.records.len() > keep
            && (self.used + wanted > self.capacity || self.records.len() >= (self.capacity / BYTES_A_RECORD).max(2))
        {
            if let Some(oldest) = self.records.pop_front() {
                self.used -= oldest.text.len();
            }
        }
    }

    /// Closes an open record, so that readers see it.
    pub fn flush(&mut self) {
        self.open = false;
    }

    /// The number of the oldest record held (of the next one, when none is).
    pub fn first(&self) -> u64 {
        self.next - self.records.len() as u64
    }

    /// The number the next record gets: how many there have ever been.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many records were pushed out so far.
    pub fn dropped(&self) -> u64 {
        self.first()
    }

    /// Where reading ends: an open record is not read yet.
    fn readable_end(&self) -> u64 {
        self.next - u64::from(self.open && !self.records.is_empty())
    }

    /// What is at `sequence`.
    pub fn at(&self, sequence: u64) -> Next<'_> {
        let first = self.first();
        if sequence < first {
            return Next::Dropped(first - sequence, first);
        }
        if sequence >= self.readable_end() {
            return Next::Nothing;
        }
        match self.records.get((sequence - first) as usize) {
            Some(record) => Next::Record(record),
            None => Next::Nothing,
        }
    }

    /// The records from `sequence` on, the open one included.
    pub fn since(&self, sequence: u64) -> impl DoubleEndedIterator<Item = &Record> {
        let skip = sequence.saturating_sub(self.first()).min(self.records.len() as u64);
        self.records.range(skip as usize..)
    }

    /// The records that `dmesg` shows: those since the last [`Ring::clear`].
    pub fn visible(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.since(self.cleared)
    }

    /// Hides everything written so far from [`Ring::visible`]; readers by number still see it.
    pub fn clear(&mut self) {
        self.cleared = self.next;
    }

    /// Whether the console prints records of this level.
    pub fn prints(&self, level: Level) -> bool {
        (level as u8) < self.console_level
    }

    /// The room for text in bytes, and how much of it is taken.
    pub fn room(&self) -> (usize, usize) {
        (self.capacity, self.used)
    }
}

/// The console's line about records it could not show.
pub fn dropped_message(count: u64) -> BString {
    format!("** {count} printk messages dropped **\n").into()
}

/// The state of a rate limit (`struct ratelimit_state`): so many messages in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Length of an interval, in whatever unit the clock has (Linux: jiffies). 0: no limit.
    pub interval: i32,
    /// Messages let through an interval.
    pub burst: i32,
    /// Messages let through in this one.
    pub printed: i32,
    /// Messages held back.
    pub missed: i32,
    /// When this interval began; 0 before the first message.
    pub begin: u64,
    /// Do not report held back messages when an interval ends (`RATELIMIT_MSG_ON_RELEASE`).
    pub report_on_release: bool,
}

/// The answer of a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The message may pass.
    pub passes: bool,
    /// First report that so many were held back (`%s: %d callbacks suppressed`).
    pub report: Option<i32>,
}

impl RateLimit {
    /// A limit of `burst` messages in `interval`.
    pub const fn new(interval: i32, burst: i32) -> RateLimit {
        RateLimit { interval, burst, printed: 0, missed: 0, begin: 0, report_on_release: false }
    }

    /// Asks for one message at time `now` (`___ratelimit`).
    pub fn ask(&mut self, now: u64) -> Decision {
        if self.interval == 0 {
            return Decision { passes: true, report: None };
        }
        if self.begin == 0 {
            self.begin = now;
        }
        let mut report = None;
        // As jiffies do, time wraps around.
        if (now.wrapping_sub(self.begin.wrapping_add(self.interval as i64 as u64)) as i64) > 0 {
            if self.missed != 0 && !self.report_on_release {
                report = Some(core::mem::take(&mut self.missed));
            }
            self.begin = now;
            self.printed = 0;
        }
        let passes = self.burst > self.printed;
        if passes {
            self.printed += 1;
        } else {
            self.missed = self.missed.wrapping_add(1);
        }
        Decision { passes, report }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    const ME: Caller = Caller::Task(1);

    fn texts(ring: &Ring) -> Vec<alloc::string::String> {
        ring.since(0).map(|record| record.text.to_string()).collect()
    }

    #[test]
    fn prefixes() {
        let (prefix, text) = parse_prefix(b"\x016hello");
        assert_eq!((prefix.level, prefix.continued, text), (Some(Level::Info), false, &b"hello"[..]));
        let (prefix, text) = parse_prefix(b"\x01c\x013x");
        assert_eq!((prefix.level, prefix.continued, text), (Some(Level::Error), true, &b"x"[..]));
        // pr_info(KERN_ERR "x") has two.
        assert_eq!(parse_prefix(b"\x016\x013x").0.level, Some(Level::Info));
        assert_eq!(parse_prefix(b"\x018x").1, b"\x018x");
        assert_eq!(parse_prefix(b"\x01").1, b"\x01");
    }

    #[test]
    fn shown_as_the_recording_shows_it() {
        let mut ring = Ring::default();
        ring.write(2_587_527_999, ME, b"\x014base: loading out-of-tree module taints kernel.\n", None);
        ring.write(85_224_533_000, ME, b"\x013one\ntwo\n", None);
        let lines: Vec<_> = ring.since(0).map(|record| record.lines(true).to_string()).collect();
        assert_eq!(lines[0], "<4>[    2.587527] base: loading out-of-tree module taints kernel.\n");
        assert_eq!(lines[1], "<3>[   85.224533] one\n<3>[   85.224533] two\n");
        assert_eq!(
            ring.since(1).next().map(|record| record.lines(false)),
            Some("[   85.224533] one\n[   85.224533] two\n".into())
        );
        assert_eq!(ring.since(1).next().map(Record::kmsg), Some("3,1,85224533,-;one\\x0atwo\n".into()));
    }

    #[test]
    fn continuations() {
        let mut ring = Ring::default();
        ring.write(1, ME, b"\x016a", None);
        assert_eq!(ring.at(0), Next::Nothing);
        ring.write(2, ME, b"\x01cb", None);
        ring.write(3, Caller::Cpu(0), b"\x01cother\n", None);
        ring.write(4, ME, b"\x01c late\n", None);
        ring.write(5, ME, b"no level", None);
        ring.write(6, ME, b"\x016next\n", None);
        ring.write(7, ME, b"\x01c closed\n", None);
        assert_eq!(texts(&ring), ["ab", "other", " late", "no level", "next", " closed"]);
        let levels: Vec<u8> = ring.since(0).map(|record| record.level as u8).collect();
        assert_eq!(levels, [6, 4, 4, 4, 6, 4]);
        assert!(matches!(ring.at(5), Next::Record(record) if record.continued));
        assert_eq!(ring.at(6), Next::Nothing);
    }

    #[test]
    fn nothing_is_lost_uncounted() {
        let mut ring = Ring::new(4096);
        for number in 0..1000u64 {
            ring.write(number, ME, format!("\x016message {number}\n").as_bytes(), None);
        }
        assert_eq!(ring.next(), 1000);
        let held = ring.since(0).count() as u64;
        assert_eq!(ring.dropped() + held, 1000);
        assert_eq!(ring.at(3), Next::Dropped(ring.first() - 3, ring.first()));
        assert!(matches!(ring.at(999), Next::Record(record) if record.text == "message 999"));
        ring.clear();
        assert_eq!(ring.visible().count(), 0);
        ring.write(0, ME, &[b'x'; 5000], None);
        assert_eq!(ring.visible().next().map(|record| record.text.len()), Some(TEXT_MAX));
    }

    #[test]
    fn console_levels() {
        let mut ring = Ring::default();
        assert!(ring.prints(Level::Info) && !ring.prints(Level::Debug));
        ring.console_level = QUIET_CONSOLE_LEVEL;
        assert!(ring.prints(Level::Error) && !ring.prints(Level::Warning));
    }

    #[test]
    fn rate_limits() {
        let mut limit = RateLimit::new(1250, 2);
        let passes = |limit: &mut RateLimit, now| limit.ask(now);
        assert!(passes(&mut limit, 100).passes && passes(&mut limit, 101).passes);
        assert!(!passes(&mut limit, 102).passes && !passes(&mut limit, 1350).passes);
        assert_eq!(limit.ask(1351), Decision { passes: true, report: Some(2) });
        assert_eq!(RateLimit::new(0, 0).ask(5), Decision { passes: true, report: None });
        assert!(!RateLimit::new(10, 0).ask(5).passes);
    }

    proptest! {
        #[test]
        fn the_ring_stays_in_its_bounds(messages in proptest::collection::vec(("(\x01[0-9c])?", "[a-z\n]{0,600}", 0u32..2), 0..60)) {
            let mut ring = Ring::new(2048);
            for (prefix, text, caller) in messages {
                ring.write(0, Caller::Task(caller), format!("{prefix}{text}").as_bytes(), None);
                let (capacity, used) = ring.room();
                prop_assert!(used <= capacity);
                prop_assert_eq!(used, ring.since(0).map(|record| record.text.len()).sum::<usize>());
                prop_assert_eq!(ring.first() + ring.since(0).count() as u64, ring.next());
                prop_assert!(ring.since(0).zip(ring.first()..).all(|(record, number)| record.sequence == number));
            }
        }
    }
}
