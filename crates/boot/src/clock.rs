//! Calendar and counter arithmetic.

/// Seconds since 1970-01-01 of a date and time in UTC (proleptic Gregorian calendar, years from 1970).
pub fn unix_time(year: u64, month: u64, day: u64, hour: u64, minute: u64, second: u64) -> u64 {
    // Years start in March here, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day.saturating_sub(1);
    // Days from 0000-03-01 to 1970-01-01.
    (days.saturating_sub(719_468) * 24 + hour) * 3600 + minute * 60 + second
}

/// A value of the real-time clock, which counts in BCD unless told otherwise.
pub fn from_bcd(value: u8) -> u8 {
    (value >> 4) * 10 + (value & 15)
}

/// Nanoseconds of `ticks` of a counter with `hertz` ticks a second.
pub fn nanoseconds(ticks: u64, hertz: u64) -> u64 {
    (u128::from(ticks) * 1_000_000_000 / u128::from(hertz.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(unix_time(1970, 1, 1, 0, 0, 0), 0);
        assert_eq!(unix_time(2000, 2, 29, 12, 0, 0), 951_825_600);
        assert_eq!(unix_time(2026, 11, 23, 0, 57, 0), 1_795_395_420);
        assert_eq!(from_bcd(0x59), 59);
    }

    #[test]
    fn long_counts_do_not_overflow() {
        assert_eq!(nanoseconds(3_000_000_000 * 86_400 * 365, 3_000_000_000), 86_400 * 365 * 1_000_000_000);
        assert_eq!(nanoseconds(5, 0), 5_000_000_000);
    }
}
