//! Character device numbers: who has reserved which.
//!
//! A device number is a major (12 bits) and a minor (20 bits). A driver reserves a region of minors under a major, of its
//! choice or the kernel's; two regions of one major never overlap.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bstr::BString;

use crate::lock::Lock;
use crate::text::Errno;

/// Bits of the minor.
pub const MINOR_BITS: u32 = 20;
/// One past the largest major a driver may ask for (`CHRDEV_MAJOR_MAX`).
pub const MAJORS: u32 = 512;
/// Majors given out when a driver has no wish: these downwards, first the first range.
const DYNAMIC: [core::ops::RangeInclusive<u32>; 2] = [234..=254, 384..=511];

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u32);

impl Number {
    /// Of a major and a minor.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self(major << MINOR_BITS | minor & ((1 << MINOR_BITS) - 1))
    }

    /// The major.
    pub const fn major(self) -> u32 {
        self.0 >> MINOR_BITS
    }

    /// The minor.
    pub const fn minor(self) -> u32 {
        self.0 & ((1 << MINOR_BITS) - 1)
    }
}

#[derive(Clone, Debug)]
struct Region {
    count: u32,
    name: BString,
}

/// The regions of a kernel.
#[derive(Debug, Default)]
pub struct Regions(Lock<BTreeMap<Number, Region>>);

impl Regions {
    /// None.
    pub const fn new() -> Self {
        Self(Lock::new(BTreeMap::new()))
    }

    /// Reserves `count` numbers from `first`.
    ///
    /// # Errors
    /// `EBUSY` when one is taken, `EINVAL` when the major or the minors are beyond what there is.
    pub fn reserve(&self, first: Number, count: u32, name: impl Into<BString>) -> Result<(), Errno> {
        let end = u64::from(first.minor()) + u64::from(count);
        if first.major() >= MAJORS || end > 1 << MINOR_BITS || count == 0 {
            return Err(Errno::EINVAL);
        }
        let mut regions = self.0.lock();
        let of_major = Number::new(first.major(), 0)..=Number::new(first.major(), u32::MAX);
        let taken = regions.range(of_major).any(|(other, region)| {
            let start = u64::from(other.minor());
            start < end && u64::from(first.minor()) < start + u64::from(region.count)
        });
        if taken {
            return Err(Errno::EBUSY);
        }
        regions.insert(first, Region { count, name: name.into() });
        Ok(())
    }

    /// Reserves minors under a major that nobody has yet.
    ///
    /// # Errors
    /// `EBUSY` when there is none, or as [`Regions::reserve`].
    pub fn reserve_anywhere(&self, minor: u32, count: u32, name: impl Into<BString>) -> Result<Number, Errno> {
        let free = |major: &u32| {
            let of_major = Number::new(*major, 0)..=Number::new(*major, u32::MAX);
            self.0.lock().range(of_major).next().is_none()
        };
        let major = DYNAMIC.into_iter().find_map(|range| range.rev().find(free)).ok_or(Errno::EBUSY)?;
        let first = Number::new(major, minor);
        self.reserve(first, count, name)?;
        Ok(first)
    }

    /// Gives a region back; it must be one that was reserved.
    pub fn release(&self, first: Number, count: u32) -> bool {
        let mut regions = self.0.lock();
        let is = regions.get(&first).is_some_and(|region| region.count == count);
        is && regions.remove(&first).is_some()
    }

    /// The majors with their names, as `/proc/devices` lists them.
    pub fn list(&self) -> Vec<(u32, BString)> {
        let mut list: Vec<_> =
            self.0.lock().iter().map(|(first, region)| (first.major(), region.name.clone())).collect();
        list.dedup();
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_do_not_overlap() {
        let regions = Regions::new();
        regions.reserve(Number::new(10, 0), 256, "misc").unwrap();
        assert_eq!(regions.reserve(Number::new(10, 255), 1, "x"), Err(Errno::EBUSY));
        regions.reserve(Number::new(10, 256), 1, "y").unwrap();
        regions.reserve(Number::new(11, 0), 1 << 20, "all").unwrap();
        assert_eq!(regions.reserve(Number::new(11, 5), 1, "x"), Err(Errno::EBUSY));
        assert_eq!(regions.reserve(Number::new(512, 0), 1, "x"), Err(Errno::EINVAL));
        assert_eq!(regions.reserve(Number::new(1, 1), 1 << 20, "x"), Err(Errno::EINVAL));
        assert!(!regions.release(Number::new(10, 0), 255));
        assert!(regions.release(Number::new(10, 0), 256));
        regions.reserve(Number::new(10, 255), 1, "x").unwrap();
    }

    #[test]
    fn dynamic_majors_count_down() {
        let regions = Regions::new();
        let first = regions.reserve_anywhere(0, 1, "a").unwrap();
        assert_eq!(first, Number::new(254, 0));
        assert_eq!(regions.reserve_anywhere(3, 1, "b").unwrap(), Number::new(253, 3));
        assert!(regions.release(first, 1));
        assert_eq!(regions.reserve_anywhere(0, 1, "c").unwrap().major(), 254);
        for _ in 0..19 {
            regions.reserve_anywhere(0, 1, "d").unwrap();
        }
        assert_eq!(regions.reserve_anywhere(0, 1, "e").unwrap().major(), 511);
    }
}
