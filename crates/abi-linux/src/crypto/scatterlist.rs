//! Scatterlists: entries of pages, chains of them, and copying in and out.

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::{Size, layout};
use crate::{ram, slab};

layout! {
    pub(crate) mod scatterlist = "scatterlist" { page_link, offset, length }
    mod sg_mapping_iter = "sg_mapping_iter" {
        page, addr, length, consumed, sg = "piter.sg", nents = "piter.__nents",
        offset = "__offset", remaining = "__remaining", flags = "__flags",
    }
    mod sg_page_iter = "sg_page_iter" { sg, sg_pgoffset, nents = "__nents", advance = "__pg_advance" }
    mod sg_table = "sg_table" { sgl, nents, orig_nents }
}

static PAGE_STRUCT: Size = Size::new("page");

/// Bits of `page_link`: the entry is a link to another array; the entry is the last.
const CHAIN: u64 = 1;
const END: u64 = 2;
const PAGE: u64 = 4096;
/// Entries in one page (`SG_MAX_SINGLE_ALLOC`).
const MAX_SINGLE: u32 = 128;
/// Where Linux maps its own image; on platforms that run it elsewhere no such address comes up.
const IMAGE: u64 = 0xffff_ffff_8000_0000;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c sg_next, c sg_last, c sg_nents, c sg_nents_for_len, c sg_init_table, c sg_init_one, c sg_copy_from_buffer,
    c sg_copy_to_buffer, c sg_pcopy_from_buffer, c sg_pcopy_to_buffer, c sg_copy_buffer, c sg_zero_buffer, c sg_miter_start,
    c sg_miter_next, c sg_miter_skip, c sg_miter_stop, c sg_alloc_table, c sg_free_table,
    c sg_alloc_table_chained, c sg_free_table_chained, c __sg_page_iter_start,
    c __sg_page_iter_next,
];

/// The `struct page` of an address.
pub(crate) fn page_of(address: u64) -> u64 {
    let regions = kernel().platform.regions();
    let physical = match address {
        IMAGE.. => (address - IMAGE).wrapping_add(regions.phys_base),
        _ => address.wrapping_sub(regions.page_offset),
    };
    regions.vmemmap.wrapping_add((physical / PAGE).wrapping_mul(PAGE_STRUCT.get()))
}

/// The address of the page whose `struct page` this is.
pub(crate) fn address_of(page: u64) -> u64 {
    let regions = kernel().platform.regions();
    // The array of pages is below or above what it describes, so the distance is signed.
    let index = (page.wrapping_sub(regions.vmemmap) as i64).div_euclid(PAGE_STRUCT.get() as i64) as u64;
    index.wrapping_mul(PAGE).wrapping_add(regions.page_offset)
}

/// Where the bytes of an entry begin, leaving its offset aside.
///
/// # Safety
/// `sg` is an entry that is no link.
pub(crate) unsafe fn page_address(sg: u64) -> u64 {
    // SAFETY: the caller vouches for the entry.
    address_of(unsafe { scatterlist::page_link.get::<u64>(sg) } & !(CHAIN | END))
}

/// Offset and length of an entry.
///
/// # Safety
/// As [`page_address`].
pub(crate) unsafe fn extent(sg: u64) -> (u32, u32) {
    // SAFETY: the caller vouches for the entry.
    unsafe { (scatterlist::offset.get(sg), scatterlist::length.get(sg)) }
}

/// Points an entry at bytes.
///
/// # Safety
/// `sg` is an entry.
pub(crate) unsafe fn set(sg: u64, page: u64, offset: u32, length: u32) {
    // SAFETY: the caller vouches for the entry.
    unsafe {
        let bits = scatterlist::page_link.get::<u64>(sg) & (CHAIN | END);
        scatterlist::page_link.set(sg, page | bits);
        scatterlist::offset.set(sg, offset);
        scatterlist::length.set(sg, length);
    }
}

/// Says whether an entry is the last of its list.
///
/// # Safety
/// `sg` is an entry.
pub(crate) unsafe fn mark_end(sg: u64, is_last: bool) {
    // SAFETY: the caller vouches for the entry.
    unsafe {
        let link = scatterlist::page_link.get::<u64>(sg);
        scatterlist::page_link.set(sg, if is_last { (link | END) & !CHAIN } else { link & !END });
    }
}

/// Makes an entry a link to another array.
///
/// # Safety
/// `sg` is an entry, `to` the first entry of an array.
pub(crate) unsafe fn link(sg: u64, to: u64) {
    // SAFETY: the caller vouches for both.
    unsafe {
        scatterlist::offset.set(sg, 0u32);
        scatterlist::length.set(sg, 0u32);
        scatterlist::page_link.set(sg, (to | CHAIN) & !END);
    }
}

/// `struct scatterlist *sg_next(struct scatterlist *)`: null after the last.
pub(crate) extern "C" fn sg_next(sg: u64) -> u64 {
    // SAFETY: the caller's entry; after one that is not the last there is another or a link.
    unsafe {
        if scatterlist::page_link.get::<u64>(sg) & END != 0 {
            return 0;
        }
        let next = sg + scatterlist::SIZE.get();
        match scatterlist::page_link.get::<u64>(next) {
            link if link & CHAIN != 0 => link & !(CHAIN | END),
            _ => next,
        }
    }
}

/// The entries of a list.
pub(crate) fn each(first: u64) -> impl Iterator<Item = u64> {
    core::iter::successors(Some(first).filter(|&sg| sg != 0), |&sg| Some(sg_next(sg)).filter(|&next| next != 0))
}

/// `struct scatterlist *sg_last(struct scatterlist *, unsigned int nents)`
extern "C" fn sg_last(first: u64, count: u32) -> u64 {
    each(first).take(count.max(1) as usize).last().unwrap_or(first)
}

/// `int sg_nents(struct scatterlist *)`
extern "C" fn sg_nents(first: u64) -> i32 {
    each(first).count() as i32
}

/// `int sg_nents_for_len(struct scatterlist *, u64 len)`
extern "C" fn sg_nents_for_len(first: u64, length: u64) -> i32 {
    if length == 0 {
        return 0;
    }
    let mut total = 0;
    for (index, sg) in each(first).enumerate() {
        // SAFETY: an entry of the caller's list.
        total += u64::from(unsafe { extent(sg).1 });
        if total >= length {
            return index as i32 + 1;
        }
    }
    Errno::EINVAL.to_return()
}

/// `void sg_init_table(struct scatterlist *, unsigned int nents)`
pub(crate) extern "C" fn sg_init_table(first: u64, count: u32) {
    let size = scatterlist::SIZE.get();
    // SAFETY: the caller's array of that many entries.
    unsafe {
        ram::fill(first, 0, size * u64::from(count));
        if count != 0 {
            scatterlist::page_link.set(first + size * u64::from(count - 1), END);
        }
    }
}

/// `void sg_init_one(struct scatterlist *, const void *buf, unsigned int buflen)`
pub(crate) extern "C" fn sg_init_one(sg: u64, buffer: u64, length: u32) {
    sg_init_table(sg, 1);
    // SAFETY: the caller's entry.
    unsafe { set(sg, page_of(buffer), (buffer % PAGE) as u32, length) };
}

/// Gives `visit` the pieces of a list, after `skip` bytes and up to `limit`; how many bytes it saw.
fn pieces(first: u64, count: u32, limit: u64, mut skip: u64, mut visit: impl FnMut(u64, u64, u64)) -> u64 {
    let mut done = 0;
    for sg in each(first).take(count as usize) {
        // SAFETY: an entry of the caller's list.
        let (at, length) = unsafe {
            let (offset, length) = extent(sg);
            (page_address(sg) + u64::from(offset), u64::from(length))
        };
        if skip >= length {
            skip -= length;
            continue;
        }
        let now = (length - skip).min(limit - done);
        visit(at + skip, done, now);
        done += now;
        skip = 0;
        if done == limit {
            break;
        }
    }
    done
}

/// `size_t sg_copy_buffer(struct scatterlist *, unsigned int nents, void *, size_t, off_t skip, bool to_buffer)`
extern "C" fn sg_copy_buffer(first: u64, count: u32, buffer: u64, length: u64, skip: u64, to_buffer: bool) -> u64 {
    pieces(first, count, length, skip, |piece, done, now| {
        // SAFETY: the caller's list and buffer.
        unsafe { if to_buffer { ram::copy(buffer + done, piece, now) } else { ram::copy(piece, buffer + done, now) } }
    })
}
extern "C" fn sg_copy_from_buffer(first: u64, count: u32, buffer: u64, length: u64) -> u64 {
    sg_copy_buffer(first, count, buffer, length, 0, false)
}
extern "C" fn sg_copy_to_buffer(first: u64, count: u32, buffer: u64, length: u64) -> u64 {
    sg_copy_buffer(first, count, buffer, length, 0, true)
}
extern "C" fn sg_pcopy_from_buffer(first: u64, count: u32, buffer: u64, length: u64, skip: u64) -> u64 {
    sg_copy_buffer(first, count, buffer, length, skip, false)
}
extern "C" fn sg_pcopy_to_buffer(first: u64, count: u32, buffer: u64, length: u64, skip: u64) -> u64 {
    sg_copy_buffer(first, count, buffer, length, skip, true)
}
extern "C" fn sg_zero_buffer(first: u64, count: u32, length: u64, skip: u64) -> u64 {
    pieces(first, count, length, skip, |piece, _, now| {
        // SAFETY: the caller's list.
        unsafe { ram::fill(piece, 0, now) }
    })
}

/// `void sg_miter_start(struct sg_mapping_iter *, struct scatterlist *, unsigned int nents, unsigned int flags)`
extern "C" fn sg_miter_start(iter: u64, first: u64, count: u32, flags: u32) {
    // SAFETY: the module's iterator.
    unsafe {
        ram::fill(iter, 0, sg_mapping_iter::SIZE.get());
        sg_mapping_iter::sg.set(iter, first);
        sg_mapping_iter::nents.set(iter, count);
        sg_mapping_iter::flags.set(iter, flags);
        start_entry(iter);
    }
}

/// Sets up the entry the iterator is at: nothing of it is done, and none of its pages is mapped.
unsafe fn start_entry(iter: u64) {
    // SAFETY: the caller's iterator.
    unsafe {
        let (sg, count): (u64, u32) = (sg_mapping_iter::sg.get(iter), sg_mapping_iter::nents.get(iter));
        let (offset, length) = if count == 0 || sg == 0 { (0, 0) } else { extent(sg) };
        sg_mapping_iter::offset.set(iter, offset);
        sg_mapping_iter::remaining.set(iter, length);
    }
}

/// Goes on to an entry with bytes left; false at the end. `__offset` counts from the entry's first page, `__remaining` to the
/// entry's end.
unsafe fn find_bytes(iter: u64) -> bool {
    // SAFETY: the caller's iterator.
    unsafe {
        while sg_mapping_iter::remaining.get::<u32>(iter) == 0 {
            let (sg, count): (u64, u32) = (sg_mapping_iter::sg.get(iter), sg_mapping_iter::nents.get(iter));
            let next = if count > 1 && sg != 0 { sg_next(sg) } else { 0 };
            if next == 0 {
                return false;
            }
            sg_mapping_iter::sg.set(iter, next);
            sg_mapping_iter::nents.set(iter, count - 1);
            start_entry(iter);
        }
        true
    }
}

unsafe fn advance(iter: u64, bytes: u32) {
    // SAFETY: the caller's iterator.
    unsafe {
        sg_mapping_iter::offset.set(iter, sg_mapping_iter::offset.get::<u32>(iter) + bytes);
        sg_mapping_iter::remaining.set(iter, sg_mapping_iter::remaining.get::<u32>(iter) - bytes);
    }
}

/// `bool sg_miter_next(struct sg_mapping_iter *)`: the next piece within a page.
extern "C" fn sg_miter_next(iter: u64) -> bool {
    sg_miter_stop(iter);
    // SAFETY: the module's iterator.
    unsafe {
        if !find_bytes(iter) {
            return false;
        }
        let (offset, left): (u32, u32) = (sg_mapping_iter::offset.get(iter), sg_mapping_iter::remaining.get(iter));
        let address = page_address(sg_mapping_iter::sg.get(iter)) + u64::from(offset);
        let length = u64::from(left).min(PAGE - address % PAGE);
        sg_mapping_iter::page.set(iter, page_of(address));
        sg_mapping_iter::addr.set(iter, address);
        sg_mapping_iter::length.set(iter, length);
        sg_mapping_iter::consumed.set(iter, length);
        true
    }
}

/// `bool sg_miter_skip(struct sg_mapping_iter *, off_t)`
extern "C" fn sg_miter_skip(iter: u64, mut bytes: u64) -> bool {
    sg_miter_stop(iter);
    // SAFETY: the module's iterator.
    unsafe {
        while bytes != 0 {
            if !find_bytes(iter) {
                return false;
            }
            let now = bytes.min(u64::from(sg_mapping_iter::remaining.get::<u32>(iter)));
            advance(iter, now as u32);
            bytes -= now;
        }
    }
    true
}

/// `void sg_miter_stop(struct sg_mapping_iter *)`: takes what was consumed of the last piece into account.
extern "C" fn sg_miter_stop(iter: u64) {
    // SAFETY: the module's iterator.
    unsafe {
        if sg_mapping_iter::addr.get::<u64>(iter) == 0 {
            return;
        }
        let length: u64 = sg_mapping_iter::length.get(iter);
        advance(iter, sg_mapping_iter::consumed.get::<u64>(iter).min(length) as u32);
        sg_mapping_iter::addr.set(iter, 0u64);
        sg_mapping_iter::page.set(iter, 0u64);
        sg_mapping_iter::length.set(iter, 0u64);
        sg_mapping_iter::consumed.set(iter, 0u64);
    }
}

/// `void __sg_page_iter_start(struct sg_page_iter *, struct scatterlist *, unsigned int nents, unsigned long pgoffset)`
extern "C" fn __sg_page_iter_start(iter: u64, first: u64, count: u32, offset: u64) {
    // SAFETY: the module's iterator.
    unsafe {
        sg_page_iter::advance.set(iter, 0u32);
        sg_page_iter::nents.set(iter, count);
        sg_page_iter::sg.set(iter, first);
        sg_page_iter::sg_pgoffset.set(iter, offset as u32);
    }
}

/// `bool __sg_page_iter_next(struct sg_page_iter *)`
extern "C" fn __sg_page_iter_next(iter: u64) -> bool {
    // SAFETY: the module's iterator and its list.
    unsafe {
        let (mut sg, mut count): (u64, u32) = (sg_page_iter::sg.get(iter), sg_page_iter::nents.get(iter));
        let mut at = sg_page_iter::sg_pgoffset.get::<u32>(iter) + sg_page_iter::advance.get::<u32>(iter);
        sg_page_iter::advance.set(iter, 1u32);
        while count != 0 && sg != 0 {
            let (offset, length) = extent(sg);
            let pages = (u64::from(offset) + u64::from(length)).div_ceil(PAGE) as u32;
            if at < pages {
                break;
            }
            at -= pages;
            sg = sg_next(sg);
            count -= 1;
        }
        sg_page_iter::sg.set(iter, sg);
        sg_page_iter::nents.set(iter, count);
        sg_page_iter::sg_pgoffset.set(iter, at);
        count != 0 && sg != 0
    }
}

/// `int sg_alloc_table(struct sg_table *, unsigned int nents, gfp_t)`
extern "C" fn sg_alloc_table(table: u64, count: u32, flags: u32) -> i32 {
    let caller = ram::caller();
    if count == 0 {
        return Errno::EINVAL.to_return();
    }
    let size = scatterlist::SIZE.get();
    // SAFETY: the module's table; each array has a page's worth of entries, the last of which links to the next array.
    unsafe {
        ram::fill(table, 0, sg_table::SIZE.get());
        let (mut left, mut last_link) = (count, 0);
        while left != 0 {
            let here = left.min(MAX_SINGLE);
            let used = if left > MAX_SINGLE { MAX_SINGLE - 1 } else { left };
            let array = slab::allocate(size * u64::from(here), 8, flags, caller);
            if array == 0 {
                sg_free_table(table);
                return Errno::ENOMEM.to_return();
            }
            sg_init_table(array, here);
            if last_link == 0 {
                sg_table::sgl.set(table, array);
            } else {
                link(last_link, array);
            }
            let total = sg_table::orig_nents.get::<u32>(table) + used;
            sg_table::orig_nents.set(table, total);
            sg_table::nents.set(table, total);
            left -= used;
            last_link = array + size * u64::from(here - 1);
        }
    }
    0
}

/// `int sg_alloc_table_chained(struct sg_table *, int nents, struct scatterlist *first, unsigned int)`: in the caller's own array where
/// that has room.
extern "C" fn sg_alloc_table_chained(table: u64, count: i32, first: u64, room: u32) -> i32 {
    /// `GFP_ATOMIC`
    const ATOMIC: u32 = 0x820;
    let count = count.max(0) as u32;
    if first == 0 || count > room {
        return sg_alloc_table(table, count, ATOMIC);
    }
    sg_init_table(first, count);
    // SAFETY: the module's table.
    unsafe {
        sg_table::sgl.set(table, first);
        sg_table::nents.set(table, count);
        sg_table::orig_nents.set(table, count);
    }
    0
}
/// `void sg_free_table_chained(struct sg_table *, unsigned int)`
extern "C" fn sg_free_table_chained(table: u64, room: u32) {
    // SAFETY: a table that `sg_alloc_table_chained` made.
    if unsafe { sg_table::orig_nents.get::<u32>(table) } > room {
        sg_free_table(table);
    }
}

/// `void sg_free_table(struct sg_table *)`
extern "C" fn sg_free_table(table: u64) {
    let caller = ram::caller();
    let size = scatterlist::SIZE.get();
    // SAFETY: a table that `sg_alloc_table` made.
    unsafe {
        let mut left: u32 = sg_table::orig_nents.get(table);
        let mut array: u64 = sg_table::sgl.get(table);
        while left != 0 && array != 0 {
            let next = match left {
                MAX_SINGLE.. if left > MAX_SINGLE => {
                    left -= MAX_SINGLE - 1;
                    scatterlist::page_link.get::<u64>(array + size * u64::from(MAX_SINGLE - 1)) & !(CHAIN | END)
                }
                _ => {
                    left = 0;
                    0
                }
            };
            slab::release(array, caller);
            array = next;
        }
        sg_table::sgl.set(table, 0u64);
        sg_table::orig_nents.set(table, 0u32);
        sg_table::nents.set(table, 0u32);
    }
}
