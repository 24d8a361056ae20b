//! Lists of what has not been used for longest.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab, waiting};

layout! {
    mod list_lru = "list_lru" { node }
    mod list_lru_node = "list_lru_node" { list = "lru.list", count = "lru.nr_items", nr_items }
}

/// What `isolate` answers: `LRU_REMOVED`, `LRU_REMOVED_RETRY`, `LRU_ROTATE`, `LRU_SKIP`, `LRU_RETRY`
const REMOVED: u64 = 0;
const REMOVED_RETRY: u64 = 1;
const ROTATE: u64 = 2;

/// The one node's list.
fn node(lru: u64) -> u64 {
    // SAFETY: the caller's list.
    unsafe { list_lru::node.get(lru) }
}
fn change(node: u64, by: i64) {
    // SAFETY: a node of ours.
    unsafe {
        list_lru_node::count.set(node, list_lru_node::count.get::<i64>(node) + by);
        list_lru_node::nr_items.set(node, list_lru_node::nr_items.get::<i64>(node) + by);
    }
}

/// `int __list_lru_init(struct list_lru *, bool memcg_aware, struct lock_class_key *, struct shrinker *)`
extern "C" fn __list_lru_init(lru: u64) -> i32 {
    let caller = ram::caller();
    let made = slab::allocate(list_lru_node::SIZE.get(), 64, slab::ZERO, caller);
    if made == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: the caller's list and a zeroed block of the node's size.
    unsafe {
        locks::init_list(list_lru_node::list.at(made));
        list_lru::node.set(lru, made);
    }
    0
}
/// `void list_lru_destroy(struct list_lru *)`
extern "C" fn list_lru_destroy(lru: u64) {
    let made = node(lru);
    if made != 0 {
        // SAFETY: the caller's list.
        unsafe { list_lru::node.set(lru, 0u64) };
        slab::release(made, ram::caller());
    }
}
/// `bool list_lru_add(struct list_lru *, struct list_head *)`: whether it was in none before.
extern "C" fn list_lru_add(lru: u64, item: u64) -> bool {
    let node = node(lru);
    // SAFETY: the caller's list and entry.
    unsafe {
        if ram::get::<u64>(item) != item {
            return false;
        }
        waiting::link_last(item, list_lru_node::list.at(node));
    }
    change(node, 1);
    true
}
/// `bool list_lru_del(struct list_lru *, struct list_head *)`: whether it was in one.
extern "C" fn list_lru_del(lru: u64, item: u64) -> bool {
    // SAFETY: the caller's list and entry.
    unsafe {
        if ram::get::<u64>(item) == item {
            return false;
        }
        waiting::unlink(item);
    }
    change(node(lru), -1);
    true
}
/// `void list_lru_isolate(struct list_lru_one *, struct list_head *item)`: `isolate` takes it out; the walk counts.
extern "C" fn list_lru_isolate(_list: u64, item: u64) {
    // SAFETY: the caller's entry.
    unsafe { waiting::unlink(item) };
}
/// `void list_lru_isolate_move(struct list_lru_one *, struct list_head *item, struct list_head *to)`
extern "C" fn list_lru_isolate_move(_list: u64, item: u64, to: u64) {
    // SAFETY: the caller's entry and list.
    unsafe {
        waiting::unlink(item);
        waiting::link_last(item, to);
    }
}
/// `unsigned long list_lru_count_one(struct list_lru *, int nid, struct mem_cgroup *)`
extern "C" fn list_lru_count_one(lru: u64) -> u64 {
    // SAFETY: the caller's list.
    unsafe { list_lru_node::count.get(node(lru)) }
}
/// `unsigned long list_lru_walk_node(struct list_lru *, int nid, isolate, void *, unsigned long *nr_to_walk)`: how many were
/// taken out.
extern "C" fn list_lru_walk_node(lru: u64, _node: i32, isolate: u64, data: u64, most: u64) -> u64 {
    let node = node(lru);
    let list = list_lru_node::list.at(node);
    layout! { mod one = "list_lru_node" { lru, lock } }
    let mut taken = 0;
    // SAFETY: the caller's list and function; the entries are read before any is taken out.
    unsafe {
        let items: Vec<u64> = waiting::each(list).collect();
        for item in items {
            let left: u64 = ram::get(most);
            if left == 0 {
                break;
            }
            ram::put(most, left - 1);
            match ram::call(isolate, [item, one::lru.at(node), one::lock.at(node), data]) & 0xff {
                REMOVED | REMOVED_RETRY => {
                    taken += 1;
                    change(node, -1);
                }
                ROTATE => {
                    waiting::unlink(item);
                    waiting::link_last(item, list);
                }
                _ => (),
            }
        }
    }
    taken
}
/// `unsigned long list_lru_walk_one(struct list_lru *, int nid, struct mem_cgroup *, isolate, void *, unsigned long *nr_to_walk)`
extern "C" fn list_lru_walk_one(lru: u64, of: i32, _group: u64, isolate: u64, data: u64, most: u64) -> u64 {
    list_lru_walk_node(lru, of, isolate, data, most)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __list_lru_init, c list_lru_destroy, c list_lru_add, c list_lru_add_obj = list_lru_add, c list_lru_del,
    c list_lru_del_obj = list_lru_del, c list_lru_isolate, c list_lru_isolate_move, c list_lru_count_one,
    c list_lru_count_node = list_lru_count_one, c list_lru_walk_node, c list_lru_walk_one,
];
