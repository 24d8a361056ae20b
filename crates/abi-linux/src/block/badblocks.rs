//! Ranges of a disk that are known to be bad.
//!
//! The list is a page of 64-bit entries, sorted: the first sector, the length less one, and whether somebody has taken note.

use alloc::string::String;
use alloc::vec::Vec;

use ferrmod_kernel::Errno;
use ferrmod_kernel::heap::PAGE;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod badblocks = "badblocks" { dev, count, unacked_exist, shift, page, changed }
}

/// `BB_LEN_MASK`, `BB_OFFSET_MASK`, `BB_ACK_MASK`, `BB_MAX_LEN`, `MAX_BADBLOCKS`
const LENGTH: u64 = 0x1ff;
const OFFSET: u64 = 0x7fff_ffff_ffff_fe00;
const NOTED: u64 = 1 << 63;
const LONGEST: u64 = 512;
const MOST: usize = (PAGE / 8) as usize;

/// A bad range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
    is_noted: bool,
}

impl Range {
    fn read(entry: u64) -> Self {
        let start = (entry & OFFSET) >> 9;
        Self { start, end: start + (entry & LENGTH) + 1, is_noted: entry & NOTED != 0 }
    }

    fn entry(self) -> u64 {
        self.start << 9 | (self.end - self.start - 1) & LENGTH | if self.is_noted { NOTED } else { 0 }
    }
}

/// What a list is without a range.
fn without(all: &[Range], start: u64, end: u64) -> Vec<Range> {
    let mut out = Vec::new();
    for &range in all {
        let before = Range { end: range.end.min(start), ..range };
        let after = Range { start: range.start.max(end), ..range };
        out.extend([before, after].into_iter().filter(|part| part.start < part.end));
    }
    out
}

/// What a list is with a range; one that is noted stays so.
fn with(all: &[Range], new: Range) -> Vec<Range> {
    let mut out = Vec::new();
    if new.is_noted {
        out = without(all, new.start, new.end);
        out.push(new);
    } else {
        let noted: Vec<Range> = all.iter().copied().filter(|range| range.is_noted).collect();
        out.extend(without(all, new.start, new.end).into_iter().filter(|range| !range.is_noted));
        let mut rest = alloc::vec![new];
        for range in &noted {
            rest = without(&rest, range.start, range.end);
        }
        out.extend(rest);
        out.extend(noted);
    }
    out.sort_by_key(|range| range.start);
    joined(&out)
}

/// Neighbours become one, and none is longer than an entry says.
fn joined(all: &[Range]) -> Vec<Range> {
    let mut out: Vec<Range> = Vec::new();
    for &range in all {
        match out.last_mut() {
            Some(last) if last.end == range.start && last.is_noted == range.is_noted => last.end = range.end,
            _ => out.push(range),
        }
    }
    let pieces = |range: Range| {
        (range.start..range.end).step_by(LONGEST as usize).map(move |start| Range {
            start,
            end: range.end.min(start.saturating_add(LONGEST)),
            ..range
        })
    };
    // One more than there is room for tells that there are too many.
    out.into_iter().flat_map(pieces).take(MOST + 1).collect()
}

/// What a list is with as much of a range, from its beginning, as there is room for; whether that is all of it.
fn with_what_fits(all: &[Range], new: Range) -> (Vec<Range>, bool) {
    let whole = with(all, new);
    if whole.len() <= MOST {
        return (whole, true);
    }
    let (mut best, mut fits, mut end) = (all.to_vec(), new.start, new.end);
    while end - fits > 1 {
        let middle = fits + (end - fits) / 2;
        let some = with(all, Range { end: middle, ..new });
        if some.len() <= MOST {
            (best, fits) = (some, middle);
        } else {
            end = middle;
        }
    }
    (best, false)
}

/// The list; `None` when there is none.
///
/// # Safety
/// `at` is a `struct badblocks`.
unsafe fn list(at: u64) -> Option<Vec<Range>> {
    // SAFETY: the caller vouches for the list.
    unsafe {
        if badblocks::shift.get::<i32>(at) < 0 {
            return None;
        }
        let page: u64 = badblocks::page.get(at);
        let count = (badblocks::count.get::<i32>(at).max(0) as u64).min(MOST as u64);
        Some((0..count).map(|number| Range::read(ram::get(page + 8 * number))).collect())
    }
}

/// Writes a list back; whether it has room.
///
/// # Safety
/// As [`list`].
unsafe fn keep(at: u64, all: &[Range]) -> bool {
    if all.len() > MOST {
        return false;
    }
    // SAFETY: the caller vouches for the list, whose page has room for `MOST` entries.
    unsafe {
        let page: u64 = badblocks::page.get(at);
        for (number, range) in all.iter().enumerate() {
            ram::put(page + 8 * number as u64, range.entry());
        }
        badblocks::count.set(at, all.len() as i32);
        badblocks::unacked_exist.set(at, i32::from(all.iter().any(|range| !range.is_noted)));
        badblocks::changed.set(at, 1i32);
    }
    true
}

/// Sectors in the list's own unit, which is larger: the first block, and the one behind the last.
///
/// # Safety
/// As [`list`].
unsafe fn blocks(at: u64, sector: u64, count: i32, outward: bool) -> (u64, u64) {
    // SAFETY: the caller vouches for the list.
    let shift = unsafe { badblocks::shift.get::<i32>(at) }.clamp(0, 63) as u32;
    let end = sector.saturating_add(count.max(0) as u64);
    let up = |value: u64| value.div_ceil(1 << shift);
    if outward { (sector >> shift, up(end)) } else { (up(sector), end >> shift) }
}

/// `int badblocks_check(struct badblocks *, sector_t, int sectors, sector_t *first, int *count)`: 0 when all is good, -1 when nobody
/// has taken note of something bad, else 1.
extern "C" fn badblocks_check(at: u64, sector: u64, count: i32, first: u64, length: u64) -> i32 {
    // SAFETY: the caller's list and variables.
    unsafe {
        let Some(all) = list(at) else { return 0 };
        let (start, end) = blocks(at, sector, count, true);
        let found: Vec<Range> = all.into_iter().filter(|range| range.start < end && start < range.end).collect();
        let Some(bad) = found.first() else { return 0 };
        let shift = badblocks::shift.get::<i32>(at).clamp(0, 63) as u32;
        ram::put(first, bad.start << shift);
        ram::put(length, ((bad.end - bad.start) << shift) as i32);
        if found.iter().all(|range| range.is_noted) { 1 } else { -1 }
    }
}
/// `int badblocks_set(struct badblocks *, sector_t, int sectors, int acknowledged)`: 0, or 1 when there is no room.
extern "C" fn badblocks_set(at: u64, sector: u64, count: i32, noted: i32) -> i32 {
    // SAFETY: the caller's list.
    unsafe {
        let Some(all) = list(at) else { return 1 };
        let (start, end) = blocks(at, sector, count, true);
        if start >= end {
            return 0;
        }
        let (new, is_all) = with_what_fits(&all, Range { start, end, is_noted: noted != 0 });
        (!keep(at, &new) || !is_all).into()
    }
}
/// `int badblocks_clear(struct badblocks *, sector_t, int sectors)`
extern "C" fn badblocks_clear(at: u64, sector: u64, count: i32) -> i32 {
    // SAFETY: the caller's list.
    unsafe {
        let Some(all) = list(at) else { return 1 };
        let (start, end) = blocks(at, sector, count, false);
        if start >= end {
            return 0;
        }
        if keep(at, &without(&all, start, end)) { 0 } else { Errno::ENOSPC.to_return() }
    }
}
/// `void ack_all_badblocks(struct badblocks *)`: somebody has taken note of all.
extern "C" fn ack_all_badblocks(at: u64) {
    // SAFETY: the caller's list.
    unsafe {
        let Some(all) = list(at) else { return };
        let noted: Vec<Range> = all.into_iter().map(|range| Range { is_noted: true, ..range }).collect();
        keep(at, &joined(&noted));
        badblocks::changed.set(at, 0i32);
    }
}
/// `ssize_t badblocks_show(struct badblocks *, char *page, int unack)`: a line for each, or for each that nobody has noted.
extern "C" fn badblocks_show(at: u64, to: u64, unnoted: i32) -> i64 {
    // SAFETY: the caller's list and page.
    unsafe {
        let Some(all) = list(at) else { return 0 };
        let shift = badblocks::shift.get::<i32>(at).clamp(0, 63) as u32;
        let mut text = String::new();
        for range in all.iter().filter(|range| unnoted == 0 || !range.is_noted) {
            let line = alloc::format!("{} {}\n", range.start << shift, (range.end - range.start) << shift);
            if text.len() + line.len() >= PAGE as usize {
                break;
            }
            text.push_str(&line);
        }
        ram::bytes_mut(to, text.len() as u64).copy_from_slice(text.as_bytes());
        ram::put(to + text.len() as u64, 0u8);
        text.len() as i64
    }
}
/// `ssize_t badblocks_store(struct badblocks *, const char *page, size_t, int unack)`: `SECTOR LENGTH`.
extern "C" fn badblocks_store(at: u64, from: u64, length: u64, unnoted: i32) -> i64 {
    // SAFETY: the caller's text.
    let text = String::from_utf8_lossy(unsafe { ram::bytes(from, length) }).into_owned();
    let mut words = text.trim_end_matches(['\n', '\0']).split(' ').map(|word| word.parse::<u64>().ok());
    let (Some(Some(sector)), Some(Some(count)), None) = (words.next(), words.next(), words.next()) else {
        return Errno::EINVAL.to_return().into();
    };
    let Ok(count @ 1..) = i32::try_from(count) else { return Errno::EINVAL.to_return().into() };
    if badblocks_set(at, sector, count, i32::from(unnoted == 0)) == 0 {
        length as i64
    } else {
        Errno::ENOSPC.to_return().into()
    }
}

/// `int badblocks_init(struct badblocks *, int enable)`
extern "C" fn badblocks_init(at: u64, enable: i32) -> i32 {
    let caller = ram::caller();
    let page = slab::allocate(PAGE, PAGE, slab::ZERO, caller);
    // SAFETY: the caller's list, which may be overwritten.
    unsafe {
        badblocks::dev.set(at, 0u64);
        badblocks::count.set(at, 0i32);
        badblocks::page.set(at, page);
        badblocks::shift.set(at, if enable != 0 && page != 0 { 0i32 } else { -1 });
    }
    if page == 0 { Errno::ENOMEM.to_return() } else { 0 }
}
/// `void badblocks_exit(struct badblocks *)`
extern "C" fn badblocks_exit(at: u64) {
    let caller = ram::caller();
    if at != 0 {
        // SAFETY: the caller's list.
        unsafe {
            slab::release(badblocks::page.get(at), caller);
            badblocks::page.set(at, 0u64);
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c badblocks_check, c badblocks_set, c badblocks_clear, c ack_all_badblocks, c badblocks_show, c badblocks_store,
    c badblocks_init, c badblocks_exit,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64, is_noted: bool) -> Range {
        Range { start, end, is_noted }
    }

    #[test]
    fn ranges_join_and_part() {
        let one = with(&[], range(10, 20, true));
        assert_eq!(with(&one, range(20, 30, true)), [range(10, 30, true)]);
        assert_eq!(without(&one, 12, 14), [range(10, 12, true), range(14, 20, true)]);
        assert_eq!(without(&one, 0, 100), []);
    }

    #[test]
    fn what_is_noted_stays_so() {
        let one = with(&[], range(10, 20, true));
        assert_eq!(with(&one, range(5, 15, false)), [range(5, 10, false), range(10, 20, true)]);
        let other = with(&[], range(10, 20, false));
        assert_eq!(
            with(&other, range(12, 14, true)),
            [range(10, 12, false), range(12, 14, true), range(14, 20, false)]
        );
    }

    #[test]
    fn long_ranges_are_several_entries() {
        let all = with(&[], range(0, 1100, true));
        assert_eq!(all, [range(0, 512, true), range(512, 1024, true), range(1024, 1100, true)]);
        assert!(all.iter().all(|&one| Range::read(one.entry()) == one));
    }

    #[test]
    fn a_full_list_keeps_what_fits() {
        let (all, is_all) = with_what_fits(&[range(5000, 5001, true)], range(0, i32::MAX as u64, true));
        assert_eq!((all.len(), is_all), (MOST, false));
        assert_eq!((all[0], all[MOST - 1]), (range(0, 512, true), range(511 * 512, 512 * 512, true)));
        let full: Vec<Range> = (0..MOST as u64).map(|number| range(2 * number, 2 * number + 1, true)).collect();
        assert_eq!(with_what_fits(&full, range(5001, 5002, true)), (full.clone(), false));
        assert!(with_what_fits(&full, range(1, 2, true)).1);
    }

    #[test]
    fn ranges_end_with_the_last_sector() {
        assert_eq!(with(&[], range(u64::MAX - 10, u64::MAX - 5, true)), [range(u64::MAX - 10, u64::MAX - 5, true)]);
    }
}
