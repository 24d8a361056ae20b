//! `%p` extensions for structures whose layout never changes: resources and times.

use alloc::vec::Vec;

use super::super::ctype::at;
use super::super::memory;
use super::pointer::complaint;
use super::{Formatter, Limited, Spec};

// include/linux/ioport.h: the flags of struct resource that are shown.
const IO: u64 = 0x100;
const MEMORY: u64 = 0x200;
const IRQ: u64 = 0x400;
const DMA: u64 = 0x800;
const BUS: u64 = 0x1000;
const PREFETCH: u64 = 0x2000;
const MEMORY_64: u64 = 0x10_0000;
const WINDOW: u64 = 0x20_0000;
const DISABLED: u64 = 0x1000_0000;
const UNSET: u64 = 0x2000_0000;

impl Formatter<'_> {
    /// `%pR`, and `%pr` with the flags as a number: `[mem 0xfd000000-0xfdffffff pref]`.
    pub(super) fn resource(&mut self, letters: &[u8], address: u64, spec: Spec) {
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        // struct resource { u64 start, end; const char *name; unsigned long flags; … }
        let Ok(bytes) = memory::array::<32, _>(self.environment, address) else {
            return self.failure("(efault)", spec);
        };
        let field = |offset: usize| bytes[offset..].first_chunk().copied().map_or(0, u64::from_le_bytes);
        let (start, end, flags) = (field(0), field(8), field(24));

        let hex = Spec { zero: true, ..Spec::FLAGS };
        let kinds = [
            (IO, "io  ", Spec { width: 6, ..hex }),
            (MEMORY, "mem ", Spec { width: 10, ..hex }),
            (IRQ, "irq ", Spec::DEFAULT),
            (DMA, "dma ", Spec::DEFAULT),
            (BUS, "bus ", Spec { width: 2, special: false, ..hex }),
        ];
        let known = kinds.into_iter().find(|(flag, ..)| flags & flag != 0);
        let decode = letters[0] == b'R' && known.is_some();
        let (_, kind, numbers) = known.unwrap_or((0, "??? ", Spec { width: 10, ..hex }));

        let mut out = Limited::new(128);
        {
            let mut part = Formatter { out: &mut out, environment: self.environment, depth: self.depth };
            part.out.put(b"[");
            part.out.put(kind.as_bytes());
            if decode && flags & UNSET != 0 {
                part.out.put(b"size ");
                part.number(end.wrapping_sub(start).wrapping_add(1), numbers);
            } else {
                part.number(start, numbers);
                if start != end {
                    part.out.put(b"-");
                    part.number(end, numbers);
                }
            }
            if decode {
                for (flag, name) in
                    [(MEMORY_64, " 64bit"), (PREFETCH, " pref"), (WINDOW, " window"), (DISABLED, " disabled")]
                {
                    if flags & flag != 0 {
                        part.out.put(name.as_bytes());
                    }
                }
            } else {
                part.out.put(b" flags ");
                part.number(flags, Spec::FLAGS);
            }
            part.out.put(b"]");
        }
        let text: Vec<u8> = out.into_bytes();
        self.text(&text, spec);
    }

    /// `%ptR` (struct rtc_time) and `%ptT` (time64_t), with `d`, `t`, `r` and `s`.
    pub(super) fn time(&mut self, letters: &[u8], address: u64, spec: Spec) {
        let kind = at(letters, 1);
        if !matches!(kind, b'R' | b'T') {
            return self.failure("(%pt?)", spec);
        }
        if let Some(complaint) = complaint(address) {
            return self.failure(complaint, spec);
        }
        let time = match kind {
            b'R' => memory::array(self.environment, address).map(Time::from_rtc),
            _ => memory::word(self.environment, address).map(|seconds| Time::from_seconds(seconds as i64)),
        };
        let Ok(time) = time else {
            return self.failure("(efault)", spec);
        };

        let mut rest = letters.get(2..).unwrap_or_default();
        let (mut date, mut clock) = (true, true);
        match at(rest, 0) {
            b'd' => clock = false,
            b't' => date = false,
            _ => {}
        }
        if !(date && clock) {
            rest = &rest[1..];
        }
        let (mut raw, mut separator) = (false, b"T");
        for letter in rest {
            match letter {
                b'r' => raw = true,
                b's' => separator = b" ",
                _ => break,
            }
        }
        if date {
            let (years, months) = if raw { (0, 0) } else { (1900, 1) };
            self.decimal(time.year.wrapping_add(years), Spec { width: 4, ..Spec::DECIMAL_2 });
            self.out.put(b"-");
            self.decimal(time.month.wrapping_add(months), Spec::DECIMAL_2);
            self.out.put(b"-");
            self.decimal(time.day, Spec::DECIMAL_2);
        }
        if date && clock {
            self.out.put(separator);
        }
        if clock {
            self.decimal(time.hour, Spec::DECIMAL_2);
            self.out.put(b":");
            self.decimal(time.minute, Spec::DECIMAL_2);
            self.out.put(b":");
            self.decimal(time.second, Spec::DECIMAL_2);
        }
    }

    fn decimal(&mut self, value: i32, spec: Spec) {
        self.number(i64::from(value) as u64, spec);
    }
}

/// A time in parts, as `struct rtc_time` has them: the year from 1900, the month from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Time {
    second: i32,
    minute: i32,
    hour: i32,
    day: i32,
    month: i32,
    year: i32,
}

impl Time {
    fn from_rtc(bytes: [u8; 24]) -> Time {
        let field = |index: usize| bytes[4 * index..].first_chunk().copied().map_or(0, i32::from_le_bytes);
        Time { second: field(0), minute: field(1), hour: field(2), day: field(3), month: field(4), year: field(5) }
    }

    /// UTC, proleptic Gregorian calendar.
    fn from_seconds(seconds: i64) -> Time {
        const DAY: i64 = 86400;
        /// Days in 400 years, after which the calendar repeats.
        const ERA: i64 = 146_097;
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY) as i32);
        // Days since 0000-03-01: the leap day is the last of such a year.
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Months from March on: 153 days in every five.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, later) = if month < 10 { (month + 2, 0) } else { (month - 10, 1) };
        Time {
            second: second % 60,
            minute: second / 60 % 60,
            hour: second / 3600,
            day: day as i32,
            month: month as i32,
            year: (year + era * 400 + later - 1900) as i32,
        }
    }
}
