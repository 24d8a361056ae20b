//! Pages: memory with a `struct page`.
//!
//! The array of `struct page` lies at `vmemmap_base`, one for every page of the direct map from `page_offset_base` on, so that
//! the arithmetic that modules do inline comes out right. A page that is not given out has zeros there.

use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::kernel;

use crate::boot::facts;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::slab::{self, ZERO};
use crate::{ram, waiting};

layout! {
    mod page = "page" { flags, compound_head, compound_order, compound_nr, _refcount, _mapcount, lru, mapping }
    mod folio = "folio" { flags_1 = "_flags_1", folio_nr_pages = "_folio_nr_pages" }
}

/// `__GFP_COMP`
const COMPOUND: u32 = 0x4_0000;
/// The largest order that is given out.
const ORDER_MAX: u32 = 10;

/// `_mapcount` of a page that nobody has mapped.
const UNMAPPED: u32 = u32::MAX;

fn page_head_bit() -> u64 {
    static BIT: spin::Once<u64> = spin::Once::new();
    *BIT.call_once(|| facts().btf().enum_value("PG_head").map_or(0, |bit| 1 << (bit as u64 & 63)))
}

/// The `struct page` of an address.
pub(crate) fn page_of(address: u64) -> u64 {
    let regions = kernel().platform.regions();
    regions.vmemmap.wrapping_add(address.wrapping_sub(regions.page_offset) / PAGE * page::SIZE.get())
}

/// The `struct page` of a variable of the kernel's, whose physical address is another (`__pa_symbol`).
fn page_of_symbol(address: u64) -> u64 {
    /// `__START_KERNEL_map`
    const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
    let regions = kernel().platform.regions();
    let physical = address.wrapping_sub(KERNEL_MAP).wrapping_add(regions.phys_base);
    regions.vmemmap.wrapping_add(physical / PAGE * page::SIZE.get())
}

/// The address of a page's memory.
pub(crate) fn address_of(page: u64) -> u64 {
    let regions = kernel().platform.regions();
    (page.wrapping_sub(regions.vmemmap) / page::SIZE.get() * PAGE).wrapping_add(regions.page_offset)
}

/// Gives out 2^`order` pages; their first `struct page`, or 0.
pub(crate) fn allocate(flags: u32, order: u32, caller: u64) -> u64 {
    if order > ORDER_MAX {
        return 0;
    }
    let size = PAGE << order;
    let address = slab::allocate(size, size, flags, caller);
    if address == 0 {
        return 0;
    }
    let first = page_of(address);
    let step = page::SIZE.get();
    // SAFETY: the `struct page`s of the memory that was just given out.
    unsafe {
        ram::fill(first, 0, step << order);
        for number in 0..1u64 << order {
            page::_mapcount.set(first + number * step, UNMAPPED);
        }
        page::_refcount.set(first, 1u32);
        if flags & COMPOUND != 0 && order > 0 {
            make_compound(first, order);
        }
    }
    first
}

/// Makes pages one compound page.
///
/// # Safety
/// `first` is the first of 2^`order` `struct page`s that were just given out.
unsafe fn make_compound(first: u64, order: u32) {
    let step = page::SIZE.get();
    // SAFETY: the caller vouches for the pages.
    unsafe {
        let flags: u64 = page::flags.get(first);
        page::flags.set(first, flags | page_head_bit());
        for number in 1..1u64 << order {
            page::compound_head.set(first + number * step, first | 1);
        }
        if page::compound_order.offset().is_some() {
            page::compound_order.set(first + step, order as u8);
        } else if folio::flags_1.offset().is_some() {
            // Since 6.6 the order is the low byte of the second page's flags.
            let flags: u64 = folio::flags_1.get(first);
            folio::flags_1.set(first, flags & !0xff | u64::from(order));
        }
        let pages = 1u32 << order;
        if page::compound_nr.offset().is_some() {
            page::compound_nr.set(first + step, pages);
        } else if folio::folio_nr_pages.offset().is_some() {
            folio::folio_nr_pages.set(first, pages);
        }
    }
}

/// Frees the memory behind a page whose last reference is gone.
fn free(first: u64, caller: u64) {
    let address = address_of(first);
    match kernel().heap.find(address) {
        Some(object) if object.start == address => {
            let pages = object.usable.div_ceil(PAGE).max(1);
            // SAFETY: the `struct page`s of memory that goes.
            unsafe { ram::fill(first, 0, pages * page::SIZE.get()) };
            slab::release(address, caller);
        }
        _ => {
            kernel().bug(&alloc::format!("BUG: Bad page state: {first:#x} is not the first of pages given out"), caller)
        }
    }
}

/// Gives back a reference to pages.
pub(crate) fn give(first: u64, _order: u32, caller: u64) {
    if first == 0 {
        return;
    }
    // SAFETY: a `struct page` of the caller's.
    let left = unsafe {
        let left = page::_refcount.get::<u32>(first).wrapping_sub(1);
        page::_refcount.set(first, left);
        left
    };
    if left == 0 {
        free(first, caller);
    } else if left == u32::MAX {
        kernel().bug("BUG: Bad page state: freed without a reference", caller);
    }
}

/// `struct page *alloc_pages(gfp_t, unsigned order)`
extern "C" fn alloc_pages(flags: u32, order: u32) -> u64 {
    allocate(flags, order, ram::caller())
}
/// `struct folio *folio_alloc(gfp_t, unsigned order)`: always one compound page.
extern "C" fn folio_alloc(flags: u32, order: u32) -> u64 {
    allocate(flags | COMPOUND, order, ram::caller())
}
extern "C" fn __free_pages(first: u64, order: u32) {
    give(first, order, ram::caller());
}
/// `void __folio_put(struct folio *)`: the last reference was given back inline.
extern "C" fn __folio_put(first: u64) {
    free(first, ram::caller());
}

fn address_or_null(first: u64) -> u64 {
    if first == 0 { 0 } else { address_of(first) }
}
extern "C" fn __get_free_pages(flags: u32, order: u32) -> u64 {
    address_or_null(allocate(flags, order, ram::caller()))
}
extern "C" fn get_zeroed_page(flags: u32) -> u64 {
    address_or_null(allocate(flags | ZERO, 0, ram::caller()))
}
extern "C" fn free_pages(address: u64, order: u32) {
    let caller = ram::caller();
    if address != 0 {
        give(page_of(address), order, caller);
    }
}
/// `void *alloc_pages_exact(size_t, gfp_t)`
extern "C" fn alloc_pages_exact(size: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    if size == 0 || size > PAGE << ORDER_MAX {
        return 0;
    }
    let order = size.div_ceil(PAGE).next_power_of_two().trailing_zeros();
    address_or_null(allocate(flags, order, caller))
}
extern "C" fn free_pages_exact(address: u64, _size: u64) {
    free_pages(address, 0);
}
/// `unsigned long alloc_pages_bulk_noprof(gfp_t, int nid, nodemask_t *, int, struct list_head *, struct page **)`: how many
/// there are then. Places of the array that are filled are left.
extern "C" fn __alloc_pages_bulk(flags: u32, _node: i32, _mask: u64, count: i32, list: u64, array: u64) -> u64 {
    let caller = ram::caller();
    let mut have = 0;
    for index in 0..count.max(0) as u64 {
        // SAFETY: the caller's array of `count` pointers.
        if array != 0 && unsafe { ram::get::<u64>(array + 8 * index) } != 0 {
            have += 1;
            continue;
        }
        let first = allocate(flags, 0, caller);
        if first == 0 {
            break;
        }
        // SAFETY: as above, or the caller's list.
        unsafe {
            if array != 0 {
                ram::put(array + 8 * index, first);
            } else {
                waiting::link_first(page::lru.at(first), list);
            }
        }
        have += 1;
    }
    have
}
/// `void put_pages_list(struct list_head *)`
extern "C" fn put_pages_list(list: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's list of pages.
    unsafe {
        for entry in waiting::each(list) {
            give(page::lru.container(entry), 0, caller);
        }
        crate::locks::init_list(list);
    }
}

/// `struct page *vmalloc_to_page(const void *)`: the memory of `vmalloc` lies in the direct map too.
extern "C" fn vmalloc_to_page(address: u64) -> u64 {
    page_of(address)
}
extern "C" fn vmalloc_to_pfn(address: u64) -> u64 {
    address.wrapping_sub(kernel().platform.regions().page_offset) / PAGE
}

/// `void *vmap(struct page **, unsigned count, unsigned long flags, pgprot_t)`: only pages that follow each other anyway have
/// one address.
extern "C" fn vmap(pages: u64, count: u32) -> u64 {
    let caller = ram::caller();
    // SAFETY: the caller's array.
    let at = |index: u64| unsafe { ram::get::<u64>(pages + 8 * index) };
    if count == 0 {
        return 0;
    }
    let first = at(0);
    if (1..u64::from(count)).any(|index| at(index) != first + index * page::SIZE.get()) {
        kernel().warn("vmap: these pages do not follow each other, and there is no mapping of others here", caller);
        return 0;
    }
    address_of(first)
}
/// The address is that of the pages themselves.
extern "C" fn vunmap() {}

fn begin_page_offset(at: u64) {
    // SAFETY: `data::place` gives 8 writable bytes; so for the two below.
    unsafe { ram::put(at, kernel().platform.regions().page_offset) };
}
fn begin_phys_base(at: u64) {
    // SAFETY: as above.
    unsafe { ram::put(at, kernel().platform.regions().phys_base) };
}
fn begin_vmemmap(at: u64) {
    // SAFETY: as above.
    unsafe { ram::put(at, kernel().platform.regions().vmemmap) };
}
fn begin_vmalloc(at: u64) {
    // Memory from `vmalloc` comes from the heap: no address range is its own.
    // SAFETY: as above.
    unsafe { ram::put(at, kernel().platform.regions().heap.end) };
}

static PAGE_OFFSET: Datum = Datum::new("page_offset_base", 8, Begin::With(begin_page_offset));
static PHYS_BASE: Datum = Datum::new("phys_base", 8, Begin::With(begin_phys_base));
static VMEMMAP: Datum = Datum::new("vmemmap_base", 8, Begin::With(begin_vmemmap));
static VMALLOC: Datum = Datum::new("vmalloc_base", 8, Begin::With(begin_vmalloc));
static EMPTY_ZERO_PAGE: Datum = Datum::new(
    "empty_zero_page",
    PAGE,
    Begin::With(|at| {
        // The kernel's own reference, so that nobody else's is the last.
        // SAFETY: the page's `struct page`.
        unsafe { page::_refcount.set(page_of_symbol(at), 1u32) };
    }),
);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&PAGE_OFFSET, &PHYS_BASE, &VMEMMAP, &VMALLOC, &EMPTY_ZERO_PAGE];

/// `PAGE_MAPPING_MOVABLE`
const MOVABLE: u64 = 2;

/// `void __SetPageMovable(struct page *, const struct movable_operations *)`
extern "C" fn set_page_movable(at: u64, operations: u64) {
    // SAFETY: the caller's page.
    unsafe { page::mapping.set(at, operations | MOVABLE) };
}
/// `void __ClearPageMovable(struct page *)`
extern "C" fn clear_page_movable(at: u64) {
    // SAFETY: the caller's page.
    unsafe { page::mapping.set(at, MOVABLE) };
}
/// `void inc_zone_page_state(struct page *, enum zone_stat_item)` and its sibling: there are no zones.
extern "C" fn no_zone() {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c alloc_pages, c __alloc_pages = alloc_pages, c alloc_pages_noprof = alloc_pages, c __alloc_pages_noprof = alloc_pages,
    c alloc_pages_node = alloc_pages, c folio_alloc, c __folio_alloc = folio_alloc, c folio_alloc_noprof = folio_alloc,
    c __folio_alloc_noprof = folio_alloc, c __free_pages, c __folio_put, c __get_free_pages,
    c get_free_pages_noprof = __get_free_pages, c get_zeroed_page, c get_zeroed_page_noprof = get_zeroed_page, c free_pages,
    c alloc_pages_exact, c alloc_pages_exact_noprof = alloc_pages_exact, c free_pages_exact, c __alloc_pages_bulk,
    c alloc_pages_bulk_noprof = __alloc_pages_bulk, c put_pages_list, c vmalloc_to_page, c vmalloc_to_pfn, c vmap, c vunmap,
    c __SetPageMovable = set_page_movable, c __ClearPageMovable = clear_page_movable, k inc_zone_page_state = no_zone,
    k dec_zone_page_state = no_zone,
];
