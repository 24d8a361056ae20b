//! `struct iov_iter`: buffers of several kinds, walked as one.

use alloc::vec::Vec;

use crate::boot::facts;
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{pages, ram, user};

layout! {
    mod iov_iter = "iov_iter" {
        iter_type, data_source, user_backed, iov_offset, count, nr_segs, ubuf, iov, new_iov = "__iov", kvec, bvec,
    }
    mod page_struct = "page" { _refcount }
    mod iovec = "iovec" { iov_base, iov_len }
    mod bio_vec = "bio_vec" { bv_page, bv_len, bv_offset }
}

/// What an iterator's segments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One buffer of user memory.
    User,
    /// `struct iovec`s of user memory.
    Vectors,
    /// `struct kvec`s of kernel memory.
    Kernel,
    /// `struct bio_vec`s: parts of pages.
    Pages,
    /// Bytes that go nowhere.
    Nothing,
    /// A kind that is not walked here (pipes, page caches).
    Other,
}

const KINDS: [(&str, Kind); 5] = [
    ("ITER_UBUF", Kind::User),
    ("ITER_IOVEC", Kind::Vectors),
    ("ITER_KVEC", Kind::Kernel),
    ("ITER_BVEC", Kind::Pages),
    ("ITER_DISCARD", Kind::Nothing),
];

/// The numbers of the kinds, in `KINDS`'s order, as the target kernel counts them; -1 for one it lacks.
fn numbers() -> &'static [i64; 5] {
    static NUMBERS: spin::Once<[i64; 5]> = spin::Once::new();
    NUMBERS.call_once(|| KINDS.map(|(name, _)| facts().btf().enum_value(name).unwrap_or(-1)))
}

fn kind_of(iter: u64) -> Kind {
    // SAFETY: the caller's iterator.
    let number = i64::from(unsafe { iov_iter::iter_type.get::<u8>(iter) });
    let place = numbers().iter().position(|&other| other == number);
    place.map_or(Kind::Other, |place| KINDS[place].1)
}

fn number_of(kind: Kind) -> u8 {
    let place = KINDS.iter().position(|&(_, other)| other == kind);
    place.map_or(0, |place| numbers()[place] as u8)
}

fn vectors() -> &'static Field {
    if iov_iter::new_iov.offset().is_some() { &iov_iter::new_iov } else { &iov_iter::iov }
}

/// The size of a `struct iov_iter`.
pub(crate) fn size() -> u64 {
    iov_iter::SIZE.get()
}

/// `ITER_SOURCE`: the iterator's bytes are read from.
const SOURCE: u32 = 1;

/// Begins an iterator over nothing but its kind.
fn begin(iter: u64, kind: Kind, direction: u32, segments: u64, count: u64) {
    // SAFETY: the caller's iterator, which may be overwritten.
    unsafe {
        ram::fill(iter, 0, iov_iter::SIZE.get());
        iov_iter::iter_type.set(iter, number_of(kind));
        iov_iter::data_source.set(iter, direction & SOURCE == SOURCE);
        if iov_iter::user_backed.offset().is_some() {
            iov_iter::user_backed.set(iter, matches!(kind, Kind::User | Kind::Vectors));
        }
        iov_iter::count.set(iter, count);
        iov_iter::nr_segs.set(iter, segments);
    }
}

/// Makes an iterator over `length` bytes of user memory at `at`; `to_user`: they are written to.
///
/// # Safety
/// `iter` has room for a `struct iov_iter`.
pub(crate) unsafe fn begin_user(iter: u64, at: u64, length: u64, to_user: bool) {
    begin(iter, Kind::User, u32::from(!to_user), 1, length);
    // SAFETY: the caller vouches for the iterator.
    unsafe { iov_iter::ubuf.set(iter, at) };
}

/// Makes an iterator over one `struct kvec`'s memory.
pub(crate) extern "C" fn iov_iter_kvec(iter: u64, direction: u32, vector: u64, segments: u64, count: u64) {
    begin(iter, Kind::Kernel, direction, segments, count);
    // SAFETY: the caller's iterator.
    unsafe { iov_iter::kvec.set(iter, vector) };
}
extern "C" fn iov_iter_bvec(iter: u64, direction: u32, vector: u64, segments: u64, count: u64) {
    begin(iter, Kind::Pages, direction, segments, count);
    // SAFETY: the caller's iterator.
    unsafe { iov_iter::bvec.set(iter, vector) };
}
extern "C" fn iov_iter_init(iter: u64, direction: u32, vector: u64, segments: u64, count: u64) {
    begin(iter, Kind::Vectors, direction, segments, count);
    // SAFETY: the caller's iterator.
    unsafe { vectors().set(iter, vector) };
}
extern "C" fn iov_iter_discard(iter: u64, direction: u32, count: u64) {
    begin(iter, Kind::Nothing, direction, 0, count);
}

/// Bytes that are left.
pub(crate) fn left(iter: u64) -> u64 {
    // SAFETY: the caller's iterator.
    unsafe { iov_iter::count.get(iter) }
}

/// A piece of memory: its address, its length.
type Piece = (u64, u64);

/// The segment at the iterator's place: what is left of it, and its whole length; `None` at the end.
fn segment(iter: u64) -> Option<(Piece, u64)> {
    // SAFETY: the caller's iterator and its segments.
    unsafe {
        let offset: u64 = iov_iter::iov_offset.get(iter);
        let (base, length) = match kind_of(iter) {
            Kind::User => return Some(((iov_iter::ubuf.get::<u64>(iter) + offset, left(iter)), u64::MAX)),
            Kind::Nothing => return Some(((0, left(iter)), u64::MAX)),
            Kind::Other => return None,
            _ if iov_iter::nr_segs.get::<u64>(iter) == 0 => return None,
            Kind::Vectors => {
                let at: u64 = vectors().get(iter);
                (iovec::iov_base.get(at), iovec::iov_len.get(at))
            }
            Kind::Kernel => {
                let at: u64 = iov_iter::kvec.get(iter);
                (iovec::iov_base.get(at), iovec::iov_len.get(at))
            }
            Kind::Pages => {
                let at: u64 = iov_iter::bvec.get(iter);
                let start = bio_vec::bv_offset.get::<u32>(at);
                (
                    pages::address_of(bio_vec::bv_page.get(at)) + u64::from(start),
                    u64::from(bio_vec::bv_len.get::<u32>(at)),
                )
            }
        };
        Some(((base + offset, length.saturating_sub(offset)), length))
    }
}

fn vector(kind: Kind) -> Option<(&'static Field, u64)> {
    match kind {
        Kind::Vectors => Some((vectors(), iovec::SIZE.get())),
        Kind::Kernel => Some((&iov_iter::kvec, iovec::SIZE.get())),
        Kind::Pages => Some((&iov_iter::bvec, bio_vec::SIZE.get())),
        _ => None,
    }
}

/// Goes on by `count` bytes, at most to the end.
fn advance(iter: u64, count: u64) {
    let mut rest = count.min(left(iter));
    let kind = kind_of(iter);
    // SAFETY: the caller's iterator and its segments.
    unsafe {
        iov_iter::count.set(iter, left(iter) - rest);
        let Some((field, size)) = vector(kind) else {
            iov_iter::iov_offset.set(iter, iov_iter::iov_offset.get::<u64>(iter) + rest);
            return;
        };
        while let Some(((_, remains), _)) = segment(iter) {
            if rest < remains {
                break;
            }
            rest -= remains;
            field.set(iter, field.get::<u64>(iter) + size);
            iov_iter::nr_segs.set(iter, iov_iter::nr_segs.get::<u64>(iter) - 1);
            iov_iter::iov_offset.set(iter, 0u64);
        }
        iov_iter::iov_offset.set(iter, iov_iter::iov_offset.get::<u64>(iter) + rest);
    }
}

/// Goes back by `count` bytes that were gone over before.
fn revert(iter: u64, count: u64) {
    let mut rest = count;
    // SAFETY: the caller's iterator; the segments before its place are the ones it came from.
    unsafe {
        iov_iter::count.set(iter, left(iter) + rest);
        let Some((field, size)) = vector(kind_of(iter)) else {
            iov_iter::iov_offset.set(iter, iov_iter::iov_offset.get::<u64>(iter).wrapping_sub(rest));
            return;
        };
        loop {
            let offset: u64 = iov_iter::iov_offset.get(iter);
            if rest <= offset {
                iov_iter::iov_offset.set(iter, offset - rest);
                return;
            }
            rest -= offset;
            field.set(iter, field.get::<u64>(iter) - size);
            iov_iter::nr_segs.set(iter, iov_iter::nr_segs.get::<u64>(iter) + 1);
            iov_iter::iov_offset.set(iter, 0u64);
            let Some((_, length)) = segment(iter) else { return };
            iov_iter::iov_offset.set(iter, length);
        }
    }
}

/// Hands out pieces of at most `length` bytes in all, until one is not taken whole; what was taken. `take` gives how much it
/// took of (address, length, is user memory).
fn walk(iter: u64, length: u64, mut take: impl FnMut(u64, u64, Kind) -> u64) -> u64 {
    let mut done = 0;
    let length = length.min(left(iter));
    let kind = kind_of(iter);
    while done < length {
        let Some(((at, remains), _)) = segment(iter) else { break };
        let part = remains.min(length - done);
        let taken = if part == 0 { 0 } else { take(at, part, kind) };
        advance(iter, taken);
        done += taken;
        if taken < part {
            break;
        }
        if part == 0 {
            // An empty segment: over it.
            advance(iter, 0);
        }
    }
    done
}

fn is_user(kind: Kind) -> bool {
    matches!(kind, Kind::User | Kind::Vectors)
}

/// Copies from `from` to the iterator's bytes; how many.
pub(crate) fn put(iter: u64, from: u64, length: u64) -> u64 {
    let mut source = from;
    walk(iter, length, |at, part, kind| {
        let copied = if is_user(kind) {
            part - user::_copy_to_user(at, source, part)
        } else {
            if kind != Kind::Nothing {
                // SAFETY: the segment's memory and the caller's.
                unsafe { ram::copy(at, source, part) };
            }
            part
        };
        source += copied;
        copied
    })
}

/// Copies the iterator's bytes to `to`; how many.
pub(crate) fn take(iter: u64, to: u64, length: u64) -> u64 {
    let mut target = to;
    walk(iter, length, |at, part, kind| {
        let copied = if is_user(kind) {
            part - user::_copy_from_user(target, at, part)
        } else {
            if kind != Kind::Nothing {
                // SAFETY: as for `put`.
                unsafe { ram::copy(target, at, part) };
            }
            part
        };
        target += copied;
        copied
    })
}

/// `size_t _copy_to_iter(const void *, size_t, struct iov_iter *)`
extern "C" fn _copy_to_iter(from: u64, length: u64, iter: u64) -> u64 {
    put(iter, from, length)
}
extern "C" fn _copy_from_iter(to: u64, length: u64, iter: u64) -> u64 {
    take(iter, to, length)
}
extern "C" fn copy_page_to_iter(page: u64, offset: u64, length: u64, iter: u64) -> u64 {
    put(iter, pages::address_of(page) + offset, length)
}
extern "C" fn copy_page_from_iter(page: u64, offset: u64, length: u64, iter: u64) -> u64 {
    take(iter, pages::address_of(page) + offset, length)
}
extern "C" fn iov_iter_zero(length: u64, iter: u64) -> u64 {
    let zeros: Vec<u8> = alloc::vec![0; 4096];
    let mut done = 0;
    while done < length {
        let part = (length - done).min(4096);
        let written = put(iter, zeros.as_ptr() as u64, part);
        done += written;
        if written < part {
            break;
        }
    }
    done
}
extern "C" fn iov_iter_advance(iter: u64, count: u64) {
    advance(iter, count);
}
extern "C" fn iov_iter_revert(iter: u64, count: u64) {
    if count != 0 {
        revert(iter, count);
    }
}
extern "C" fn iov_iter_single_seg_count(iter: u64) -> u64 {
    segment(iter).map_or(0, |((_, remains), _)| remains.min(left(iter)))
}

/// The pieces that are left, without moving.
fn pieces(iter: u64) -> Vec<Piece> {
    let all = left(iter);
    let mut found = Vec::new();
    let moved = walk(iter, all, |at, part, _| {
        found.push((at, part));
        part
    });
    revert(iter, moved);
    found
}

const PAGE: u64 = 4096;

/// `int iov_iter_npages(const struct iov_iter *, int maxpages)`
extern "C" fn iov_iter_npages(iter: u64, most: i32) -> i32 {
    let count: u64 = pieces(iter).iter().map(|&(at, length)| (at % PAGE + length).div_ceil(PAGE)).sum();
    count.min(most.max(0) as u64) as i32
}
extern "C" fn iov_iter_alignment(iter: u64) -> u64 {
    pieces(iter).iter().fold(0, |bits, &(at, length)| bits | at | length)
}

/// Takes a reference of a page. One that was not given out as a page is of the heap, which holds a reference itself, so that the
/// last one given back frees nothing.
pub(crate) fn hold(page: u64) {
    // SAFETY: a `struct page` of the memory map.
    unsafe {
        let references = page_struct::_refcount.get::<u32>(page).max(1);
        page_struct::_refcount.set(page, references.wrapping_add(1));
    }
}

/// `ssize_t iov_iter_get_pages2(struct iov_iter *, struct page **, size_t maxsize, unsigned maxpages, size_t *start)`: the
/// pages of the first segment; the iterator goes on past them.
extern "C" fn iov_iter_get_pages2(iter: u64, array: u64, most: u64, pages_most: u32, start: u64) -> i64 {
    let Some(((at, remains), _)) = segment(iter) else { return 0 };
    let length = remains.min(left(iter)).min(most);
    if length == 0 {
        return 0;
    }
    let offset = at % PAGE;
    let length = length.min(u64::from(pages_most) * PAGE - offset);
    for number in 0..(offset + length).div_ceil(PAGE) {
        let page = pages::page_of(at - offset + number * PAGE);
        hold(page);
        // SAFETY: the caller's array has room for `pages_most` pointers.
        unsafe { ram::put(array + 8 * number, page) };
    }
    // SAFETY: the caller's number.
    unsafe { ram::put(start, offset) };
    advance(iter, length);
    length as i64
}

/// `int import_single_range(int rw, void __user *, size_t, struct iovec *, struct iov_iter *)`
extern "C" fn import_single_range(direction: u32, at: u64, length: u64, vector: u64, iter: u64) -> i32 {
    // SAFETY: the caller's vector.
    unsafe {
        iovec::iov_base.set(vector, at);
        iovec::iov_len.set(vector, length);
    }
    iov_iter_init(iter, direction, vector, 1, length);
    0
}
extern "C" fn import_ubuf(direction: u32, at: u64, length: u64, iter: u64) -> i32 {
    // SAFETY: the caller's iterator.
    unsafe { begin_user(iter, at, length, direction & SOURCE == 0) };
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c iov_iter_kvec, c iov_iter_bvec, c iov_iter_init, c iov_iter_discard, c _copy_to_iter, c _copy_from_iter,
    c copy_page_to_iter, c copy_page_from_iter, c iov_iter_zero, c iov_iter_advance, c iov_iter_revert,
    c iov_iter_single_seg_count, c iov_iter_npages, c iov_iter_alignment, c iov_iter_get_pages2, c import_single_range,
    c import_ubuf,
];
