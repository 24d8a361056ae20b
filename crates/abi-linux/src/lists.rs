//! Lists: the checks of `CONFIG_DEBUG_LIST`, sorting, lock-less lists.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ferrmod_kernel::kernel;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab, sysfs, waiting};

layout! {
    mod list_head = "list_head" { next, prev }
}

/// `LIST_POISON1`, `LIST_POISON2`: what a deleted entry points at.
const POISON_NEXT: u64 = 0xdead_0000_0000_0100;
const POISON_PREVIOUS: u64 = 0xdead_0000_0000_0122;

/// What is wrong with putting `new` between two entries, in Linux's words. `links` gives an entry's next and previous.
fn wrong_add(new: u64, previous: u64, next: u64, links: impl Fn(u64) -> (u64, u64)) -> Option<String> {
    if previous == 0 {
        return Some("list_add corruption. prev is NULL.".into());
    }
    if next == 0 {
        return Some("list_add corruption. next is NULL.".into());
    }
    let (_, back) = links(next);
    if back != previous {
        return Some(format!(
            "list_add corruption. next->prev should be prev ({previous:016x}), but was {back:016x}. (next={next:016x})."
        ));
    }
    let (forth, _) = links(previous);
    if forth != next {
        return Some(format!(
            "list_add corruption. prev->next should be next ({next:016x}), but was {forth:016x}. (prev={previous:016x})."
        ));
    }
    (new == previous || new == next)
        .then(|| format!("list_add double add: new={new:016x}, prev={previous:016x}, next={next:016x}."))
}

/// What is wrong with taking `entry` out of its list.
fn wrong_delete(entry: u64, links: impl Fn(u64) -> (u64, u64)) -> Option<String> {
    let (next, previous) = links(entry);
    if next == 0 {
        return Some(format!("list_del corruption, {entry:016x}->next is NULL"));
    }
    if previous == 0 {
        return Some(format!("list_del corruption, {entry:016x}->prev is NULL"));
    }
    if next == POISON_NEXT {
        return Some(format!("list_del corruption, {entry:016x}->next is LIST_POISON1 ({next:016x})"));
    }
    if previous == POISON_PREVIOUS {
        return Some(format!("list_del corruption, {entry:016x}->prev is LIST_POISON2 ({previous:016x})"));
    }
    let (forth, _) = links(previous);
    if forth != entry {
        return Some(format!(
            "list_del corruption. prev->next should be {entry:016x}, but was {forth:016x}. (prev={previous:016x})"
        ));
    }
    let (_, back) = links(next);
    (back != entry).then(|| {
        format!("list_del corruption. next->prev should be {entry:016x}, but was {back:016x}. (next={next:016x})")
    })
}

fn links(entry: u64) -> (u64, u64) {
    // SAFETY: an entry of the caller's list, or a fault in its name.
    unsafe { (list_head::next.get(entry), list_head::prev.get(entry)) }
}

/// Debian's kernels stop the task that corrupts a list (`CONFIG_BUG_ON_DATA_CORRUPTION`).
fn judge(wrong: Option<String>, caller: u64) -> bool {
    match wrong {
        None => true,
        Some(text) => {
            kernel().printk(format!("\x013{text}\n").as_bytes());
            kernel().bug("kernel BUG: list corruption", caller)
        }
    }
}

/// `bool __list_add_valid(struct list_head *new, struct list_head *prev, struct list_head *next)`
extern "C" fn __list_add_valid(new: u64, previous: u64, next: u64) -> bool {
    let caller = ram::caller();
    judge(wrong_add(new, previous, next, links), caller)
}
/// `bool __list_del_entry_valid(struct list_head *)`
extern "C" fn __list_del_entry_valid(entry: u64) -> bool {
    let caller = ram::caller();
    judge(wrong_delete(entry, links), caller)
}

/// Sorts so that equal items keep their order; `after(a, b)` says whether `a`, which comes first now, belongs behind `b`.
/// The order may be no order at all, as the comparison is a module's.
pub(crate) fn merge_sort(items: &mut Vec<u64>, after: &mut impl FnMut(u64, u64) -> bool) {
    let count = items.len();
    let mut other = items.clone();
    let mut width = 1;
    while width < count {
        for start in (0..count).step_by(2 * width) {
            let (middle, end) = ((start + width).min(count), (start + 2 * width).min(count));
            let (mut left, mut right) = (start, middle);
            for slot in &mut other[start..end] {
                let take_right = left == middle || right < end && after(items[left], items[right]);
                let from = if take_right { &mut right } else { &mut left };
                *slot = items[*from];
                *from += 1;
            }
        }
        core::mem::swap(items, &mut other);
        width *= 2;
    }
}

/// `void list_sort(void *priv, struct list_head *, list_cmp_func_t)`
extern "C" fn list_sort(private: u64, head: u64, compare: u64) {
    // SAFETY: the caller's list and comparison; the entries are linked anew in their order.
    unsafe {
        let mut entries: Vec<u64> = waiting::each(head).collect();
        merge_sort(&mut entries, &mut |one, other| ram::call(compare, [private, one, other]) as i32 > 0);
        crate::locks::init_list(head);
        for entry in entries {
            waiting::link_last(entry, head);
        }
    }
}

/// `void **__memcat_p(void **, void **)`: both arrays, which end with null, as one; null without memory.
extern "C" fn __memcat_p(one: u64, other: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the caller's arrays.
    let all: Vec<u8> =
        unsafe { sysfs::pointers(one).chain(sysfs::pointers(other)) }.chain([0]).flat_map(u64::to_le_bytes).collect();
    slab::duplicate(&all, 0, caller)
}

/// `bool llist_add_batch(struct llist_node *first, struct llist_node *last, struct llist_head *)`: whether it was empty.
extern "C" fn llist_add_batch(first: u64, last: u64, head: u64) -> bool {
    // SAFETY: the caller's nodes and list; both hold one pointer each.
    unsafe {
        let old: u64 = ram::get(head);
        ram::put(last, old);
        ram::put(head, first);
        old == 0
    }
}
extern "C" fn llist_del_first(head: u64) -> u64 {
    // SAFETY: as above.
    unsafe {
        let first: u64 = ram::get(head);
        if first != 0 {
            ram::put(head, ram::get::<u64>(first));
        }
        first
    }
}
extern "C" fn llist_reverse_order(first: u64) -> u64 {
    let (mut left, mut reversed) = (first, 0);
    while left != 0 {
        // SAFETY: as above.
        unsafe {
            let next = ram::get(left);
            ram::put(left, reversed);
            reversed = left;
            left = next;
        }
    }
    reversed
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __list_add_valid, c __list_add_valid_or_report = __list_add_valid, c __list_del_entry_valid,
    c __list_del_entry_valid_or_report = __list_del_entry_valid, c list_sort, c __memcat_p, c llist_add_batch, c llist_del_first,
    c llist_reverse_order,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corruption_is_named() {
        // Entries 1 and 2 and a head 3, linked in a ring.
        let ring = |entry| match entry {
            1 => (2, 3),
            2 => (3, 1),
            _ => (1, 2),
        };
        assert_eq!(wrong_add(9, 2, 3, ring), None);
        assert_eq!(wrong_delete(1, ring), None);
        assert_eq!(
            wrong_add(9, 1, 3, ring).unwrap(),
            "list_add corruption. next->prev should be prev (0000000000000001), but was 0000000000000002. (next=0000000000000003)."
        );
        assert_eq!(
            wrong_add(3, 2, 3, ring).unwrap(),
            "list_add double add: new=0000000000000003, prev=0000000000000002, next=0000000000000003."
        );
        assert_eq!(
            wrong_delete(1, |_| (POISON_NEXT, POISON_PREVIOUS)).unwrap(),
            "list_del corruption, 0000000000000001->next is LIST_POISON1 (dead000000000100)"
        );
        assert!(
            wrong_delete(1, |entry| if entry == 1 { (2, 3) } else { (0, 0) }).unwrap().contains("prev->next should be")
        );
    }

    #[test]
    fn sorting_is_stable() {
        for count in 0..40u64 {
            let mut items: Vec<u64> = (0..count).map(|index| (index * 7 % 5) << 8 | index).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item >> 8);
            merge_sort(&mut items, &mut |one, other| one >> 8 > other >> 8);
            assert_eq!(items, expected);
        }
        let mut items = alloc::vec![3, 1, 2];
        merge_sort(&mut items, &mut |_, _| true);
        assert_eq!(items.len(), 3, "a comparison without sense loses nothing");
    }

    #[test]
    fn lockless() {
        let mut nodes = [0u64; 3];
        let at = |index: usize, nodes: &mut [u64; 3]| &raw mut nodes[index] as u64;
        let mut head = 0u64;
        let list = &raw mut head as u64;
        let (one, two) = (at(0, &mut nodes), at(1, &mut nodes));
        assert!(llist_add_batch(one, one, list));
        assert!(!llist_add_batch(two, two, list));
        assert_eq!(llist_reverse_order(head), one);
        assert_eq!(nodes[0], two);
        head = one;
        assert_eq!(llist_del_first(list), one);
        assert_eq!(head, two);
    }
}
