//! Page runs in one region: module text, module data, per-CPU memory.

use alloc::collections::BTreeMap;
use core::ops::Range;

use crate::heap::PAGE;
use crate::lock::Lock;
use crate::text::Errno;

/// Free and taken parts of a range of addresses, first fit, exact sizes.
#[derive(Debug)]
pub struct Area {
    granule: u64,
    state: Lock<State>,
}

#[derive(Debug)]
struct State {
    free: BTreeMap<u64, u64>,
    taken: BTreeMap<u64, u64>,
}

impl Area {
    /// An area over `range` that gives out multiples of a page.
    pub fn new(range: Range<u64>) -> Self {
        Self::with_granule(range, PAGE)
    }

    /// An area over `range` that gives out multiples of `granule` bytes.
    pub fn with_granule(range: Range<u64>, granule: u64) -> Self {
        let mut free = BTreeMap::new();
        if range.end > range.start {
            free.insert(range.start, range.end - range.start);
        }
        Self { granule, state: Lock::new(State { free, taken: BTreeMap::new() }) }
    }

    /// Takes at least `size` bytes (rounded up to the granule) at a multiple of `align`.
    ///
    /// # Errors
    /// `ENOMEM` when no free part is large enough.
    pub fn take(&self, size: u64, align: u64) -> Result<u64, Errno> {
        let size = size.max(1).checked_next_multiple_of(self.granule).ok_or(Errno::ENOMEM)?;
        let align = align.max(1);
        let mut state = self.state.lock();
        let (start, length, at) = state
            .free
            .iter()
            .find_map(|(&start, &length)| {
                let at = start.checked_next_multiple_of(align)?;
                (at - start <= length && length - (at - start) >= size).then_some((start, length, at))
            })
            .ok_or(Errno::ENOMEM)?;
        state.free.remove(&start);
        if at > start {
            state.free.insert(start, at - start);
        }
        if start + length > at + size {
            state.free.insert(at + size, start + length - at - size);
        }
        state.taken.insert(at, size);
        Ok(at)
    }

    /// Gives back what starts at `start`; its range, or `None` when nothing taken starts there.
    pub fn give(&self, start: u64) -> Option<Range<u64>> {
        let mut state = self.state.lock();
        let size = state.taken.remove(&start)?;
        let (mut from, mut to) = (start, start + size);
        if let Some((&before, &length)) = state.free.range(..start).next_back()
            && before + length == start
        {
            state.free.remove(&before);
            from = before;
        }
        if let Some(length) = state.free.remove(&to) {
            to += length;
        }
        state.free.insert(from, to - from);
        Some(start..start + size)
    }

    /// The size of what starts at `start`.
    pub fn size_of(&self, start: u64) -> Option<u64> {
        self.state.lock().taken.get(&start).copied()
    }

    /// Bytes taken.
    pub fn bytes(&self) -> u64 {
        self.state.lock().taken.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_split_and_joined() {
        let area = Area::new(0x10000..0x20000);
        let a = area.take(1, 1).unwrap();
        let b = area.take(0x2001, 1).unwrap();
        let c = area.take(0x1000, 0x4000).unwrap();
        assert_eq!((a, b, c), (0x10000, 0x11000, 0x14000));
        assert_eq!(area.bytes(), 0x5000);
        assert_eq!(area.give(b), Some(0x11000..0x14000));
        assert_eq!(area.give(b), None);
        area.give(a);
        area.give(c);
        assert_eq!(area.take(0x10000, 1), Ok(0x10000), "all parts are one again");
        assert_eq!(area.take(1, 1), Err(Errno::ENOMEM));
        assert_eq!(area.take(u64::MAX, 1), Err(Errno::ENOMEM));
    }
}
