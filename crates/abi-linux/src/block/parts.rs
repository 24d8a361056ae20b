//! The memory that a bio is about: parts of pages, from where it has got to.

use alloc::vec::Vec;

use ferrmod_kernel::{Errno, kernel};

use super::operations::has_no_memory;
use super::{SECTOR, bio};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{pages, ram};

layout! {
    pub(super) mod bio_vec = "bio_vec" { bv_page, bv_len, bv_offset }
    mod bio_c = "bio" {
        bi_io_vec, size = "bi_iter.bi_size", sector = "bi_iter.bi_sector", index = "bi_iter.bi_idx", done = "bi_iter.bi_bvec_done",
    }
}

/// A part of a page, or of pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) page: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
}

impl Part {
    /// Where its bytes are.
    fn address(self) -> u64 {
        pages::address_of(self.page) + u64::from(self.offset)
    }

    /// Where they are for a device.
    pub(super) fn physical(self) -> u64 {
        self.address().wrapping_sub(kernel().platform.regions().page_offset)
    }
}

/// What is left of a bio.
///
/// # Safety
/// `at` is a bio with memory.
pub(super) unsafe fn of_bio(at: u64) -> Vec<Part> {
    // SAFETY: the caller vouches for the bio.
    unsafe { of_iterator(at, bio_c::size.get(at), bio_c::index.get(at), bio_c::done.get(at)) }
}

/// # Safety
/// As [`of_bio`]; the place lies in the bio.
unsafe fn of_iterator(at: u64, size: u32, index: u32, done: u32) -> Vec<Part> {
    let (mut left, mut index, mut done) = (size, u64::from(index), done);
    let mut out = Vec::new();
    // SAFETY: the caller vouches for the bio.
    unsafe {
        if has_no_memory(bio::flags_of(at)) {
            return out;
        }
        let vectors: u64 = bio_c::bi_io_vec.get(at);
        while left > 0 && vectors != 0 {
            let vector = vectors + index * bio_vec::SIZE.get();
            let length = bio_vec::bv_len.get::<u32>(vector).saturating_sub(done).min(left);
            let offset = bio_vec::bv_offset.get::<u32>(vector) + done;
            if length > 0 {
                out.push(Part { page: bio_vec::bv_page.get(vector), offset, length });
            }
            left -= length;
            index += 1;
            done = 0;
        }
    }
    out
}

/// So many bytes of a bio are done, or all that it has left.
///
/// # Safety
/// `at` is a bio.
pub(super) unsafe fn advance(at: u64, bytes: u32) {
    // SAFETY: the caller vouches for the bio.
    unsafe {
        let size: u32 = bio_c::size.get(at);
        let bytes = bytes.min(size);
        bio_c::sector.set(at, bio_c::sector.get::<u64>(at) + u64::from(bytes) / SECTOR);
        bio_c::size.set(at, size - bytes);
        let vectors: u64 = bio_c::bi_io_vec.get(at);
        if has_no_memory(bio::flags_of(at)) || vectors == 0 {
            return;
        }
        let mut index: u32 = bio_c::index.get(at);
        let mut done = bio_c::done.get::<u32>(at).saturating_add(bytes);
        while done > 0 {
            let length: u32 = bio_vec::bv_len.get(vectors + u64::from(index) * bio_vec::SIZE.get());
            if done < length {
                break;
            }
            done -= length;
            index += 1;
        }
        bio_c::index.set(at, index);
        bio_c::done.set(at, done);
    }
}

/// What one transfer of a queue may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Sectors.
    pub(super) sectors: u32,
    /// Pieces of memory.
    pub(super) segments: u16,
    /// Bytes of the largest piece.
    pub(super) largest: u32,
    /// Bytes of the blocks that it consists of.
    pub(super) block: u32,
    /// Only the first piece may begin, and only the last may end, where bits of this mask are set.
    pub(super) gap: u64,
    /// No piece goes beyond where all bits of this mask are set.
    pub(super) boundary: u64,
}

impl Limits {
    /// Bytes of the first piece of memory at a physical address.
    pub(super) fn piece(&self, physical: u64, length: u32) -> u32 {
        let until = (self.boundary - (physical & self.boundary)).saturating_add(1);
        length.min(self.largest.max(1)).min(u32::try_from(until).unwrap_or(u32::MAX))
    }

    /// How many bytes of `size` the first transfer takes, with the memory they are in (physical addresses and lengths; none for
    /// what needs none); `None` when it takes all.
    fn first(&self, size: u32, memory: impl Iterator<Item = (u64, u32)>) -> Option<u32> {
        let mut taken = 0;
        let mut pieces = 0;
        let mut last_end = None;
        let mut has_memory = false;
        'parts: for (mut physical, mut left) in memory {
            has_memory = true;
            if last_end.is_some_and(|end: u64| (end | physical) & self.gap != 0) {
                break;
            }
            while left > 0 {
                if pieces == self.segments {
                    break 'parts;
                }
                let piece = self.piece(physical, left);
                taken += piece;
                left -= piece;
                physical += u64::from(piece);
                pieces += 1;
            }
            last_end = Some(physical);
        }
        let all = if has_memory { taken } else { size };
        let most = all.min(self.sectors.saturating_mul(SECTOR as u32));
        // At least a block, or nothing would ever get through.
        let block = self.block.max(SECTOR as u32);
        let fits = (most / block).max(1).saturating_mul(block);
        (most < size && fits < size).then_some(fits)
    }
}

/// How many sectors the first transfer of a bio takes that is too large for one; `None` when it takes all.
///
/// # Safety
/// `at` is a bio.
pub(super) unsafe fn fitting(at: u64, limits: &Limits) -> Option<u32> {
    // SAFETY: the caller vouches for the bio.
    let (size, parts) = unsafe { (bio_c::size.get::<u32>(at), of_bio(at)) };
    let memory = parts.iter().map(|part| (part.physical(), part.length));
    limits.first(size, memory).map(|bytes| bytes / SECTOR as u32)
}

/// `void __bio_advance(struct bio *, unsigned bytes)`
extern "C" fn __bio_advance(at: u64, bytes: u32) {
    // SAFETY: the caller's bio.
    unsafe { advance(at, bytes) };
}
/// `void zero_fill_bio(struct bio *)`
extern "C" fn zero_fill_bio(at: u64) {
    // SAFETY: the caller's bio and its memory.
    unsafe {
        for part in of_bio(at) {
            ram::fill(part.address(), 0, part.length.into());
        }
    }
}
/// `struct bio *bio_split(struct bio *, int sectors, gfp_t, struct bio_set *)`: a bio for the first sectors; the other goes on there.
extern "C" fn bio_split(at: u64, sectors: i32, _flags: u32, set: u64) -> u64 {
    let caller = ram::caller();
    let bytes = u64::from(sectors.max(0) as u32).saturating_mul(SECTOR);
    // SAFETY: the caller's bio and set.
    unsafe {
        if bytes == 0 || bytes >= u64::from(bio_c::size.get::<u32>(at)) {
            kernel().warn("bio_split: nothing to be split", caller);
            return Errno::EINVAL.to_pointer();
        }
        bio::split(at, sectors as u32, set, caller).unwrap_or(0)
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c __bio_advance, c zero_fill_bio, c bio_split];

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u32 = 4096;

    /// A queue that takes nearly everything.
    const WIDE: Limits =
        Limits { sectors: 1 << 16, segments: 128, largest: 1 << 16, block: 512, gap: 0, boundary: 0xffff_ffff };

    #[test]
    fn what_fits_is_not_cut() {
        assert_eq!(WIDE.first(3 * PAGE, [(0, PAGE), (0x8000, 2 * PAGE)].into_iter()), None);
        assert_eq!(WIDE.first(1 << 24, core::iter::empty()), None);
    }

    #[test]
    fn a_cut_lies_between_blocks_of_the_bio() {
        let few = Limits { sectors: 9, block: 4096, ..WIDE };
        assert_eq!(few.first(2 * PAGE, [(0, 2 * PAGE)].into_iter()), Some(PAGE));
        assert_eq!(few.first(2 * PAGE, core::iter::empty()), Some(PAGE));
        // No block fits, and what is smaller than one is all there is.
        let less = Limits { sectors: 1, ..few };
        assert_eq!(less.first(2 * PAGE, [(0, 2 * PAGE)].into_iter()), Some(PAGE));
        assert_eq!(less.first(1024, [(0, 1024)].into_iter()), None);
    }

    #[test]
    fn pieces_are_counted() {
        let two = Limits { segments: 2, largest: PAGE, ..WIDE };
        assert_eq!(two.first(3 * PAGE, [(0, 3 * PAGE)].into_iter()), Some(2 * PAGE));
        assert_eq!(two.first(3 * PAGE, [(0, PAGE), (0, PAGE), (0, PAGE)].into_iter()), Some(2 * PAGE));
        assert_eq!(two.first(2 * PAGE, [(0, PAGE), (0, PAGE)].into_iter()), None);
    }

    #[test]
    fn no_piece_crosses_the_boundary() {
        let narrow = Limits { boundary: 0xffff, segments: 1, ..WIDE };
        assert_eq!(narrow.piece(0xf000, 2 * PAGE), PAGE);
        assert_eq!(narrow.piece(0x1_0000, 2 * PAGE), 2 * PAGE);
        assert_eq!(narrow.first(2 * PAGE, [(0xf000, 2 * PAGE)].into_iter()), Some(PAGE));
        assert_eq!(Limits { boundary: u64::MAX, ..WIDE }.piece(0, PAGE), PAGE);
    }

    #[test]
    fn there_is_no_gap_between_pieces() {
        let close = Limits { gap: 0xfff, ..WIDE };
        assert_eq!(close.first(1536, [(0x200, 512), (0x2000, 1024)].into_iter()), Some(512));
        assert_eq!(close.first(3 * PAGE, [(0x2000, PAGE), (0x8200, 2 * PAGE)].into_iter()), Some(PAGE));
        assert_eq!(close.first(PAGE, [(0x2e00, 512), (0x8000, 3584)].into_iter()), None);
    }
}
