//! The memory that a bio is about: parts of pages, from where it has got to.

use alloc::vec::Vec;

use ferrmod_kernel::{Errno, kernel};

use super::{SECTOR, bio};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{pages, ram};

layout! {
    mod bio_vec = "bio_vec" { bv_page, bv_len, bv_offset }
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
}

/// Operations that have a length and no memory: discards, erasures, zeros.
fn has_no_memory(operation: u32) -> bool {
    matches!(operation & 0xff, 3 | 5 | 9)
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

/// So many bytes of a bio are done.
///
/// # Safety
/// `at` is a bio that has so many left.
pub(super) unsafe fn advance(at: u64, bytes: u32) {
    // SAFETY: the caller vouches for the bio.
    unsafe {
        bio_c::sector.set(at, bio_c::sector.get::<u64>(at) + u64::from(bytes) / SECTOR);
        bio_c::size.set(at, bio_c::size.get::<u32>(at).saturating_sub(bytes));
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

/// How many sectors of a bio a transfer of at most `sectors` and `segments` pieces of at most `largest` bytes takes, in whole blocks
/// of `block` bytes; `None` when it takes all.
///
/// # Safety
/// `at` is a bio.
pub(super) unsafe fn fitting(at: u64, sectors: u32, segments: u16, largest: u32, block: u32) -> Option<u32> {
    // SAFETY: the caller vouches for the bio.
    let (size, parts) = unsafe { (bio_c::size.get::<u32>(at), of_bio(at)) };
    let most = u64::from(sectors).saturating_mul(SECTOR);
    let mut taken = 0;
    let mut pieces = 0;
    for part in &parts {
        let mut left = part.length;
        while left > 0 && pieces < segments {
            let piece = left.min(largest.max(1));
            taken += piece;
            left -= piece;
            pieces += 1;
        }
        if left > 0 {
            break;
        }
    }
    let all = if parts.is_empty() { u64::from(size) } else { taken.into() };
    let fits = all.min(most);
    if fits >= u64::from(size) {
        return None;
    }
    let block = u64::from(block).max(SECTOR);
    // At least a block, or nothing would ever get through.
    Some((fits / block * block).max(block).div_euclid(SECTOR) as u32)
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
