//! The radix tree's names for an `xarray`.

use ferrmod_kernel::Errno;

use super::tree::{MARKS, Place, SLOTS};
use super::{store, tree};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, tasks};

layout! {
    mod radix_tree_iter = "radix_tree_iter" { index, next_index, tags, node }
}

/// `RADIX_TREE_ITER_TAG_MASK`, `RADIX_TREE_ITER_TAGGED`, `RADIX_TREE_ITER_CONTIG`
const TAG: u32 = 0x0f;
const TAGGED: u32 = 0x10;
const CONTIGUOUS: u32 = 0x20;

extern "C" fn radix_tree_insert(at: u64, index: u64, item: u64) -> i32 {
    let caller = ram::caller();
    if tree(at).load(index) != 0 {
        return Errno::EEXIST.to_return();
    }
    store(at, index, item, caller).map_or_else(Errno::to_return, |_| 0)
}
extern "C" fn radix_tree_lookup(at: u64, index: u64) -> u64 {
    tree(at).load(index)
}
/// `void __rcu **radix_tree_lookup_slot(const struct radix_tree_root *, unsigned long)`
extern "C" fn radix_tree_lookup_slot(at: u64, index: u64) -> u64 {
    let array = tree(at);
    array.walk(index).filter(|found| found.entry != 0).map_or(0, |found| array.slot_address(found.place))
}
extern "C" fn radix_tree_delete(at: u64, index: u64) -> u64 {
    store(at, index, 0, ram::caller()).unwrap_or(0)
}
/// `void *radix_tree_delete_item(struct radix_tree_root *, unsigned long, void *)`: only this item.
extern "C" fn radix_tree_delete_item(at: u64, index: u64, item: u64) -> u64 {
    let caller = ram::caller();
    let found = tree(at).load(index);
    if found == 0 || item != 0 && found != item {
        return 0;
    }
    store(at, index, 0, caller).unwrap_or(0)
}

/// Stores up to `count` items from an index on; how many. `what` gives what to store of each.
fn gang(at: u64, to: u64, from: u64, count: u32, mark: Option<u32>, what: impl Fn(&super::tree::Found) -> u64) -> u32 {
    let array = tree(at);
    let (mut taken, mut from) = (0, Some(from));
    while taken < count
        && let Some(found) = from.and_then(|from| array.find(from, u64::MAX, mark))
    {
        // SAFETY: the caller's array of `count` pointers.
        unsafe { ram::put(to + 8 * u64::from(taken), what(&found)) };
        taken += 1;
        from = found.index.checked_add(1);
    }
    taken
}
/// `unsigned radix_tree_gang_lookup(const struct radix_tree_root *, void **, unsigned long first, unsigned max)`
extern "C" fn radix_tree_gang_lookup(at: u64, to: u64, from: u64, count: u32) -> u32 {
    gang(at, to, from, count, None, |found| found.entry)
}
extern "C" fn radix_tree_gang_lookup_tag(at: u64, to: u64, from: u64, count: u32, tag: u32) -> u32 {
    gang(at, to, from, count, Some(tag % MARKS), |found| found.entry)
}
extern "C" fn radix_tree_gang_lookup_tag_slot(at: u64, to: u64, from: u64, count: u32, tag: u32) -> u32 {
    let array = tree(at);
    gang(at, to, from, count, Some(tag % MARKS), |found| array.slot_address(found.place))
}

fn set_tag(at: u64, index: u64, tag: u32, set: bool) -> u64 {
    let array = tree(at);
    let Some(found) = array.walk(index).filter(|found| found.entry != 0) else { return 0 };
    if tag < MARKS {
        array.set_mark(found.place, tag, set);
    }
    found.entry
}
extern "C" fn radix_tree_tag_set(at: u64, index: u64, tag: u32) -> u64 {
    set_tag(at, index, tag, true)
}
extern "C" fn radix_tree_tag_clear(at: u64, index: u64, tag: u32) -> u64 {
    set_tag(at, index, tag, false)
}
extern "C" fn radix_tree_tag_get(at: u64, index: u64, tag: u32) -> i32 {
    let array = tree(at);
    array.walk(index).is_some_and(|found| found.entry != 0 && tag < MARKS && array.mark(found.place, tag)).into()
}
extern "C" fn radix_tree_tagged(at: u64, tag: u32) -> i32 {
    (tag < MARKS && tree(at).head_mark(tag)).into()
}
/// `void radix_tree_replace_slot(struct radix_tree_root *, void __rcu **slot, void *item)`
extern "C" fn radix_tree_replace_slot(_at: u64, slot: u64, item: u64) {
    // SAFETY: a slot that was given out.
    unsafe { ram::put(slot, item) };
}

/// `void __rcu **radix_tree_next_chunk(const struct radix_tree_root *, struct radix_tree_iter *, unsigned flags)`: the slots of
/// one leaf from the next item on, which the inline iterator walks by itself.
extern "C" fn radix_tree_next_chunk(at: u64, iterator: u64, flags: u32) -> u64 {
    let array = tree(at);
    // SAFETY: the caller's iterator.
    let (from, index): (u64, u64) =
        unsafe { (radix_tree_iter::next_index.get(iterator), radix_tree_iter::index.get(iterator)) };
    // The next index has wrapped around.
    if from == 0 && index != 0 {
        return 0;
    }
    let mark = (flags & TAGGED != 0).then_some((flags & TAG) % MARKS);
    let Some(found) = array.find(from, u64::MAX, mark) else { return 0 };
    if flags & CONTIGUOUS != 0 && found.index != from {
        return 0;
    }
    let Place { node, offset } = found.place;
    let (next, tags) = match (node, mark) {
        (0, _) => (1, 1),
        (node, mark) => {
            let tags = mark.map_or(0, |mark| array.marks_of(node, mark) >> offset);
            ((found.index | (SLOTS - 1)).wrapping_add(1), tags)
        }
    };
    // SAFETY: as above.
    unsafe {
        radix_tree_iter::index.set(iterator, found.index);
        radix_tree_iter::next_index.set(iterator, next);
        radix_tree_iter::tags.set(iterator, tags);
        radix_tree_iter::node.set(iterator, node);
    }
    array.slot_address(found.place)
}
/// `void radix_tree_iter_delete(struct radix_tree_root *, struct radix_tree_iter *, void __rcu **slot)`
extern "C" fn radix_tree_iter_delete(at: u64, iterator: u64, _slot: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's iterator.
    unsafe {
        let index = radix_tree_iter::index.get(iterator);
        let _ = store(at, index, 0, caller);
        // Its leaf may be gone: the next item is looked for from the top.
        radix_tree_iter::next_index.set(iterator, index.wrapping_add(1));
    }
}
/// `void __rcu **radix_tree_iter_resume(void __rcu **slot, struct radix_tree_iter *)`
extern "C" fn radix_tree_iter_resume(_slot: u64, iterator: u64) -> u64 {
    // SAFETY: the caller's iterator.
    unsafe {
        let next = radix_tree_iter::index.get::<u64>(iterator).wrapping_add(1);
        radix_tree_iter::index.set(iterator, next);
        radix_tree_iter::next_index.set(iterator, next);
        radix_tree_iter::tags.set(iterator, 0u64);
    }
    0
}
/// Inline `radix_tree_preload_end()` enables preemption again.
extern "C" fn radix_tree_preload() -> i32 {
    tasks::add_preempt(1);
    0
}
/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c radix_tree_insert, c radix_tree_lookup, c radix_tree_lookup_slot, c radix_tree_delete, c radix_tree_delete_item,
    c radix_tree_gang_lookup, c radix_tree_gang_lookup_tag, c radix_tree_gang_lookup_tag_slot, c radix_tree_tag_set,
    c radix_tree_tag_clear, c radix_tree_tag_get, c radix_tree_tagged, c radix_tree_replace_slot, c radix_tree_next_chunk,
    c radix_tree_iter_delete, c radix_tree_iter_resume, c radix_tree_preload, c radix_tree_maybe_preload = radix_tree_preload,
];
