//! Kinds of memory, by how far away they are: what drivers of memory devices ask for before they add any. A machine has one node
//! of one kind.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab, waiting};

layout! {
    mod memory_dev_type = "memory_dev_type" { tiers = "tier_sibiling", tier = "tier_sibling", list, adistance, kref }
}

fn make(distance: i32, caller: u64) -> u64 {
    let made = slab::allocate(memory_dev_type::SIZE.get(), 8, slab::ZERO, caller);
    if made == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    // SAFETY: a zeroed block of the struct's size. The list's name was mended in 6.6, the second list came in 6.7.
    unsafe {
        for list in [&memory_dev_type::tiers, &memory_dev_type::tier, &memory_dev_type::list] {
            if list.offset().is_some() {
                locks::init_list(list.at(made));
            }
        }
        memory_dev_type::adistance.set(made, distance);
        memory_dev_type::kref.set(made, 1_u32);
    }
    made
}

/// `struct memory_dev_type *alloc_memory_type(int adistance)`
extern "C" fn alloc_memory_type(distance: i32) -> u64 {
    let caller = ram::caller();
    make(distance, caller)
}
extern "C" fn put_memory_type(kind: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's reference.
    unsafe {
        let left = memory_dev_type::kref.get::<u32>(kind).saturating_sub(1);
        memory_dev_type::kref.set(kind, left);
        if left == 0 {
            slab::release(kind, caller);
        }
    }
}
/// `struct memory_dev_type *mt_find_alloc_memory_type(int adistance, struct list_head *)`: the one of the list, or a new one in it.
extern "C" fn mt_find_alloc_memory_type(distance: i32, list: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the caller's list of such types.
    unsafe {
        let types = waiting::each(list).map(|link| memory_dev_type::list.container(link));
        for kind in types {
            if memory_dev_type::adistance.get::<i32>(kind) == distance {
                return kind;
            }
        }
        let made = make(distance, caller);
        if Errno::from_pointer(made).is_none() {
            waiting::link_first(memory_dev_type::list.at(made), list);
        }
        made
    }
}
/// `void mt_put_memory_types(struct list_head *)`
extern "C" fn mt_put_memory_types(list: u64) {
    // SAFETY: the caller's list of such types.
    unsafe {
        let links: Vec<u64> = waiting::each(list).collect();
        for link in links {
            waiting::unlink(link);
            put_memory_type(memory_dev_type::list.container(link));
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c alloc_memory_type, c put_memory_type, c destroy_memory_type = put_memory_type, c mt_find_alloc_memory_type, c mt_put_memory_types];
