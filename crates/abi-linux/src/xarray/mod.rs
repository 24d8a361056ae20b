//! `xarray`, and what is made of it: `idr`, `ida`, the radix tree.

use ferrmod_kernel::Errno;

use crate::boot::facts;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, rcu, slab};

pub(crate) mod ids;
pub(crate) mod radix;
pub(crate) mod state;
mod tree;

use tree::{MARKS, NoMemory, Nodes, Shape, TRACK_FREE, Tree, ZERO};

layout! {
    mod c_xarray = "xarray" { xa_flags, xa_head }
    mod c_node = "xa_node" { shift, offset, count, nr_values, parent, array, private_list, slots, marks }
}

/// `XA_FLAGS_ZERO_BUSY`, `XA_FLAGS_ALLOC_WRAPPED`
const ZERO_BUSY: u32 = 8;
const WRAPPED: u32 = 16;

/// Where the members are in this kernel.
fn shape() -> &'static Shape {
    static SHAPE: spin::Once<Shape> = spin::Once::new();
    SHAPE.call_once(|| Shape {
        flags: c_xarray::xa_flags.at(0),
        head: c_xarray::xa_head.at(0),
        node_size: c_node::SIZE.get(),
        shift: c_node::shift.at(0),
        offset: c_node::offset.at(0),
        count: c_node::count.at(0),
        values: c_node::nr_values.at(0),
        parent: c_node::parent.at(0),
        array: c_node::array.at(0),
        list: c_node::private_list.at(0),
        slots: c_node::slots.at(0),
        marks: c_node::marks.at(0),
        // `__GFP_BITS_SHIFT`: an enumerator since 6.10, 27 before.
        mark_bit: facts().btf().enum_value("___GFP_LAST_BIT").map_or(27, |bit| bit as u32),
    })
}

/// The array at an address.
fn tree(at: u64) -> Tree<'static> {
    Tree { at, shape: shape() }
}

/// Nodes from the heap, for the caller of a function.
struct Heap {
    caller: u64,
}

impl Nodes for Heap {
    fn allocate(&mut self, size: u64) -> u64 {
        slab::allocate(size, 8, 0, self.caller)
    }
    fn release(&mut self, node: u64) {
        // Readers may be walking over it until the running task gives up the processor.
        rcu::free_later(node);
    }
}

/// An entry as callers see it.
fn seen(entry: u64) -> u64 {
    if entry == ZERO { 0 } else { entry }
}

/// An error as an entry (`XA_ERROR`).
fn error_entry(errno: Errno) -> u64 {
    (i64::from(errno.to_return()) as u64) << 2 | 2
}

/// Entries of the array's own kind may not be stored.
fn is_internal(entry: u64) -> bool {
    entry & 3 == 2 && entry != ZERO
}

/// Stores an entry; the one before it.
///
/// # Errors
/// `ENOMEM`; nothing has changed then.
pub(crate) fn store(at: u64, index: u64, entry: u64, caller: u64) -> Result<u64, Errno> {
    match tree(at).store(&mut Heap { caller }, index, entry) {
        Ok((old, _)) => Ok(old),
        Err(NoMemory) => Err(Errno::ENOMEM),
    }
}

/// A previous entry, or an error in the same place.
fn result(result: Result<u64, Errno>) -> u64 {
    result.map_or_else(error_entry, seen)
}

extern "C" fn xa_load(at: u64, index: u64) -> u64 {
    seen(tree(at).load(index))
}
/// `void *xa_store(struct xarray *, unsigned long, void *, gfp_t)`
extern "C" fn xa_store(at: u64, index: u64, entry: u64) -> u64 {
    let caller = ram::caller();
    if is_internal(entry) {
        return error_entry(Errno::EINVAL);
    }
    result(store(at, index, entry, caller))
}
/// `void *xa_store_range(struct xarray *, unsigned long first, unsigned long last, void *, gfp_t)`: the entry at every index.
extern "C" fn xa_store_range(at: u64, first: u64, last: u64, entry: u64) -> u64 {
    /// No range that is kept here is longer.
    const MOST: u64 = 1 << 20;
    let caller = ram::caller();
    if is_internal(entry) || last < first || last - first >= MOST {
        return error_entry(Errno::EINVAL);
    }
    for index in first..=last {
        if let Err(errno) = store(at, index, entry, caller) {
            return error_entry(errno);
        }
    }
    0
}
extern "C" fn xa_erase(at: u64, index: u64) -> u64 {
    result(store(at, index, 0, ram::caller()))
}
/// `int __xa_insert(struct xarray *, unsigned long, void *, gfp_t)`
extern "C" fn xa_insert(at: u64, index: u64, entry: u64) -> i32 {
    let caller = ram::caller();
    if is_internal(entry) {
        return Errno::EINVAL.to_return();
    }
    if tree(at).load(index) != 0 {
        return Errno::EBUSY.to_return();
    }
    store(at, index, if entry == 0 { ZERO } else { entry }, caller).map_or_else(Errno::to_return, |_| 0)
}
/// `void *__xa_cmpxchg(struct xarray *, unsigned long, void *old, void *entry, gfp_t)`
extern "C" fn xa_cmpxchg(at: u64, index: u64, old: u64, entry: u64) -> u64 {
    let caller = ram::caller();
    if is_internal(entry) {
        return error_entry(Errno::EINVAL);
    }
    let current = tree(at).load(index);
    if current == old
        && let Err(errno) = store(at, index, entry, caller)
    {
        return error_entry(errno);
    }
    seen(current)
}

/// The first free index of a range gets `entry`.
fn allocate(at: u64, entry: u64, least: u64, most: u64, caller: u64) -> Result<u64, Errno> {
    let least = if tree(at).flags() & ZERO_BUSY != 0 { least.max(1) } else { least };
    let index = tree(at).find_free(least, most).ok_or(Errno::EBUSY)?;
    store(at, index, if entry == 0 { ZERO } else { entry }, caller)?;
    Ok(index)
}

/// A `struct xa_limit` comes in one register: the most below, the least above.
fn limits(limit: u64) -> (u64, u64) {
    (limit >> 32, limit & 0xffff_ffff)
}

/// `int __xa_alloc(struct xarray *, u32 *id, void *, struct xa_limit, gfp_t)`
extern "C" fn xa_alloc(at: u64, id: u64, entry: u64, limit: u64) -> i32 {
    let caller = ram::caller();
    if is_internal(entry) || tree(at).flags() & TRACK_FREE == 0 {
        return Errno::EINVAL.to_return();
    }
    let (least, most) = limits(limit);
    match allocate(at, entry, least, most, caller) {
        Ok(index) => {
            // SAFETY: the caller's variable.
            unsafe { ram::put(id, index as u32) };
            0
        }
        Err(errno) => errno.to_return(),
    }
}
/// `int __xa_alloc_cyclic(struct xarray *, u32 *id, void *, struct xa_limit, u32 *next, gfp_t)`: 1 when it began again.
extern "C" fn xa_alloc_cyclic(at: u64, id: u64, entry: u64, limit: u64, next: u64) -> i32 {
    let caller = ram::caller();
    let array = tree(at);
    if is_internal(entry) || array.flags() & TRACK_FREE == 0 {
        return Errno::EINVAL.to_return();
    }
    let (least, most) = limits(limit);
    // SAFETY: the caller's variable.
    let from = least.max(u64::from(unsafe { ram::get::<u32>(next) }));
    let mut again = 0;
    let mut found = allocate(at, entry, from, most, caller);
    if array.flags() & WRAPPED != 0 {
        array.set_flags(array.flags() & !WRAPPED);
        again = 1;
    }
    if found == Err(Errno::EBUSY) && from > least {
        found = allocate(at, entry, least, most, caller);
        again = 1;
    }
    match found {
        Ok(index) => {
            let following = (index as u32).wrapping_add(1);
            // SAFETY: the caller's two variables.
            unsafe {
                ram::put(id, index as u32);
                ram::put(next, following);
            }
            if following == 0 {
                array.set_flags(array.flags() | WRAPPED);
            }
            again
        }
        Err(errno) => errno.to_return(),
    }
}

/// `XA_PRESENT`, or a mark.
fn filter(filter: u32) -> Option<u32> {
    (filter < MARKS).then_some(filter)
}

/// The first entry that is not only reserved.
fn find(at: u64, from: u64, last: u64, mark: Option<u32>) -> Option<tree::Found> {
    let mut from = from;
    loop {
        let found = tree(at).find(from, last, mark)?;
        if found.entry != ZERO {
            return Some(found);
        }
        from = found.index.checked_add(1)?;
    }
}

fn find_into(at: u64, index: u64, from: Option<u64>, last: u64, mark: u32) -> u64 {
    match from.and_then(|from| find(at, from, last, filter(mark))) {
        Some(found) => {
            // SAFETY: the caller's variable.
            unsafe { ram::put(index, found.index) };
            found.entry
        }
        None => 0,
    }
}
/// `void *xa_find(struct xarray *, unsigned long *index, unsigned long max, xa_mark_t)`
extern "C" fn xa_find(at: u64, index: u64, last: u64, mark: u32) -> u64 {
    // SAFETY: the caller's variable.
    let from = unsafe { ram::get(index) };
    find_into(at, index, Some(from), last, mark)
}
/// The same behind `*index`.
extern "C" fn xa_find_after(at: u64, index: u64, last: u64, mark: u32) -> u64 {
    // SAFETY: the caller's variable.
    let from = unsafe { ram::get::<u64>(index) }.checked_add(1);
    find_into(at, index, from, last, mark)
}
/// `unsigned xa_extract(struct xarray *, void **, unsigned long start, unsigned long max, unsigned n, xa_mark_t)`
extern "C" fn xa_extract(at: u64, to: u64, start: u64, last: u64, count: u32, mark: u32) -> u32 {
    let (mut taken, mut from) = (0, Some(start));
    while taken < count
        && let Some(found) = from.and_then(|from| find(at, from, last, filter(mark)))
    {
        // SAFETY: the caller's array of `count` pointers.
        unsafe { ram::put(to + 8 * u64::from(taken), found.entry) };
        taken += 1;
        from = found.index.checked_add(1);
    }
    taken
}
pub(crate) extern "C" fn xa_destroy(at: u64) {
    tree(at).destroy(&mut Heap { caller: ram::caller() });
}

extern "C" fn xa_get_mark(at: u64, index: u64, mark: u32) -> bool {
    let array = tree(at);
    array.walk(index).is_some_and(|found| found.entry != 0 && mark < MARKS && array.mark(found.place, mark))
}
fn mark(at: u64, index: u64, mark: u32, set: bool) {
    let array = tree(at);
    if let Some(found) = array.walk(index).filter(|found| found.entry != 0 && mark < MARKS) {
        array.set_mark(found.place, mark, set);
    }
}
extern "C" fn xa_set_mark(at: u64, index: u64, which: u32) {
    mark(at, index, which, true);
}
extern "C" fn xa_clear_mark(at: u64, index: u64, which: u32) {
    mark(at, index, which, false);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c xa_load, c xa_store, c xa_store_range, c __xa_store = xa_store, c xa_erase, c __xa_erase = xa_erase, c __xa_insert = xa_insert,
    c __xa_cmpxchg = xa_cmpxchg, c __xa_alloc = xa_alloc, c __xa_alloc_cyclic = xa_alloc_cyclic, c xa_find, c xa_find_after,
    c xa_extract, c xa_destroy, c xa_get_mark, c xa_set_mark, c __xa_set_mark = xa_set_mark, c xa_clear_mark,
    c __xa_clear_mark = xa_clear_mark,
];
