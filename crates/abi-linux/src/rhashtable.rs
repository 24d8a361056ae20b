//! Resizable hash tables (`struct rhashtable`): buckets of chains in C memory, which inline functions of modules read and change.
//!
//! A bucket holds the first entry, or 0; a chain ends with its bucket's address and bit 0 set. Bit 0 of a bucket is its lock.
//! A table grows and shrinks at once, in the task that asks or in the table's work item: nobody is in the middle of a chain
//! then, since tasks switch only where they block. So there is never a second table (`future_tbl`), and no nested buckets.

use alloc::vec::Vec;

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{locks, ram, rcu, slab, symbols, waiting};

layout! {
    mod table = "rhashtable" { tbl, key_len, max_elems, p, rhlist, run_work, mutex, nelems }
    mod parameters = "rhashtable_params" {
        nelem_hint, key_len, key_offset, head_offset, max_size, min_size, automatic_shrinking, hashfn, obj_hashfn, obj_cmpfn,
    }
    mod bucket_table = "bucket_table" { size, hash_rnd, walkers, buckets }
    mod iterator = "rhashtable_iter" { ht, p, list, walker, slot, skip, end_of_table }
    mod walker = "rhashtable_walker" { list, tbl }
    mod rhash_head = "rhash_head" { next }
    mod rhlist_head = "rhlist_head" { rhead, next }
    mod work_struct = "work_struct" { entry, func }
}

/// `HASH_MIN_SIZE`, `HASH_DEFAULT_SIZE`
const SIZE_MIN: u32 = 4;
const SIZE_DEFAULT: u32 = 64;
/// Entries that fit into any table.
const MOST: u32 = 1 << 31;

/// Bob Jenkins's lookup3 over bytes, begun as Linux's `jhash` begins it.
fn jhash_bytes(bytes: &[u8], seed: u32) -> u32 {
    const START: u32 = 0xdead_beef;
    let start = START.wrapping_add(bytes.len() as u32).wrapping_add(seed);
    let (mut a, mut b, mut c) = (start, start, start);
    let word = |bytes: &[u8], index: usize| {
        bytes
            .iter()
            .skip(4 * index)
            .take(4)
            .enumerate()
            .fold(0, |word, (place, &byte)| word | u32::from(byte) << (8 * place))
    };
    let mut left = bytes;
    while left.len() > 12 {
        a = a.wrapping_add(word(left, 0));
        b = b.wrapping_add(word(left, 1));
        c = c.wrapping_add(word(left, 2));
        for (turn, rotation) in [4, 6, 8, 16, 19, 4].into_iter().enumerate() {
            // Each step takes from one, mixes with another, and adds to the third.
            let (x, y, z) = match turn % 3 {
                0 => (&mut a, &mut c, &mut b),
                1 => (&mut b, &mut a, &mut c),
                _ => (&mut c, &mut b, &mut a),
            };
            *x = x.wrapping_sub(*y) ^ y.rotate_left(rotation);
            *y = y.wrapping_add(*z);
        }
        left = &left[12..];
    }
    if left.is_empty() {
        return c;
    }
    a = a.wrapping_add(word(left, 0));
    b = b.wrapping_add(word(left, 1));
    c = c.wrapping_add(word(left, 2));
    for (turn, rotation) in [14, 11, 25, 16, 4, 14, 24].into_iter().enumerate() {
        let (x, y) = match turn % 3 {
            0 => (&mut c, b),
            1 => (&mut a, c),
            _ => (&mut b, a),
        };
        *x = (*x ^ y).wrapping_sub(y.rotate_left(rotation));
    }
    c
}

/// `u32 jhash(const void *, u32 length, u32 seed)`
extern "C" fn jhash(key: u64, length: u32, seed: u32) -> u32 {
    // SAFETY: the caller's key.
    jhash_bytes(unsafe { ram::bytes(key, length.into()) }, seed)
}
/// The same with the length in words.
extern "C" fn rhashtable_jhash2(key: u64, words: u32, seed: u32) -> u32 {
    jhash(key, words * 4, seed)
}

fn address(name: &str) -> u64 {
    symbols::address(name).unwrap_or(0)
}

/// A member of the table's parameters.
fn parameter<T: Copy>(ht: u64, member: &Field) -> T {
    // SAFETY: the caller's table, which holds what `rhashtable_init` wrote; every caller names the member's type.
    unsafe { member.get(table::p.at(ht)) }
}

/// Where the entries of a table are.
#[derive(Clone, Copy, Debug)]
struct Buckets {
    at: u64,
    size: u32,
}

impl Buckets {
    fn of(ht: u64) -> Self {
        // SAFETY: the caller's table.
        unsafe { Self::at(table::tbl.get(ht)) }
    }
    fn at(at: u64) -> Self {
        // SAFETY: a bucket table of ours.
        Self { at, size: unsafe { bucket_table::size.get(at) } }
    }
    fn bucket(self, index: u32) -> u64 {
        bucket_table::buckets.at(self.at) + 8 * u64::from(index)
    }
    /// The first entry of a bucket, or the mark of its end.
    fn first(self, index: u32) -> u64 {
        let bucket = self.bucket(index);
        // SAFETY: a bucket of ours.
        match unsafe { ram::get::<u64>(bucket) } & !1 {
            0 => bucket | 1,
            first => first,
        }
    }
    fn seed(self) -> u32 {
        // SAFETY: a bucket table of ours.
        unsafe { bucket_table::hash_rnd.get(self.at) }
    }
    /// The entries of a bucket.
    fn chain(self, index: u32) -> impl Iterator<Item = u64> {
        let mut next = self.first(index);
        core::iter::from_fn(move || {
            if next & 1 != 0 {
                return None;
            }
            let entry = next;
            next = next_of(entry);
            Some(entry)
        })
    }
    /// Puts an entry first in its bucket. Whoever holds the bucket's lock keeps it.
    fn push(self, index: u32, entry: u64) {
        let first = self.first(index);
        // SAFETY: the caller's entry, and a bucket of ours.
        unsafe {
            rhash_head::next.set(entry, first);
            let bucket = self.bucket(index);
            ram::put(bucket, entry | ram::get::<u64>(bucket) & 1);
        }
    }
}

fn next_of(entry: u64) -> u64 {
    // SAFETY: an entry of the module's.
    unsafe { rhash_head::next.get(entry) }
}
fn elements(ht: u64) -> u32 {
    // SAFETY: the caller's table.
    unsafe { table::nelems.get(ht) }
}
fn is_list(ht: u64) -> bool {
    // SAFETY: the caller's table.
    unsafe { table::rhlist.get::<u8>(ht) != 0 }
}
fn object_of(ht: u64, entry: u64) -> u64 {
    let offset: u16 = parameter(ht, &parameters::head_offset);
    entry.wrapping_sub(offset.into())
}

/// The bucket of an entry.
fn index_of(ht: u64, buckets: Buckets, entry: u64) -> u32 {
    let object = object_of(ht, entry);
    let by_object: u64 = parameter(ht, &parameters::obj_hashfn);
    let seed = buckets.seed().into();
    // SAFETY: the table's own functions with an object of it.
    let hash = unsafe {
        if by_object != 0 {
            let length: u16 = parameter(ht, &parameters::key_len);
            ram::call(by_object, [object, length.into(), seed])
        } else {
            let offset: u16 = parameter(ht, &parameters::key_offset);
            ram::call(
                parameter(ht, &parameters::hashfn),
                [object + u64::from(offset), table::key_len.get::<u32>(ht).into(), seed],
            )
        }
    };
    hash as u32 & (buckets.size - 1)
}

/// Whether an entry has a key.
fn has_key(ht: u64, entry: u64, key: u64) -> bool {
    let object = object_of(ht, entry);
    let compare: u64 = parameter(ht, &parameters::obj_cmpfn);
    // SAFETY: the table's own comparison, whose first argument is a `struct rhashtable_compare_arg`; or the keys themselves.
    unsafe {
        if compare != 0 {
            let argument = [ht, key];
            return ram::call(compare, [argument.as_ptr() as u64, object]) as i32 == 0;
        }
        let (offset, length): (u16, u16) =
            (parameter(ht, &parameters::key_offset), parameter(ht, &parameters::key_len));
        ram::bytes(object + u64::from(offset), length.into()) == ram::bytes(key, length.into())
    }
}

fn new_buckets(size: u32, caller: u64) -> Option<Buckets> {
    let bytes = bucket_table::buckets.at(0) + 8 * u64::from(size);
    let at = slab::allocate(bytes, 64, slab::ZERO, caller);
    if at == 0 {
        return None;
    }
    let mut seed = [0; 4];
    kernel().platform.random(&mut seed);
    // SAFETY: new memory for the table.
    unsafe {
        bucket_table::size.set(at, size);
        bucket_table::hash_rnd.set(at, seed);
        locks::init_list(bucket_table::walkers.at(at));
    }
    Some(Buckets { at, size })
}

/// Moves everything into a table of another size. Without memory it stays as it is.
fn resize(ht: u64, size: u32, caller: u64) -> bool {
    let old = Buckets::of(ht);
    let Some(new) = new_buckets(size, caller) else { return false };
    for index in 0..old.size {
        for entry in old.chain(index).collect::<Vec<_>>() {
            new.push(index_of(ht, new, entry), entry);
        }
    }
    // SAFETY: the caller's table; walkers of the old buckets begin anew.
    unsafe {
        for at in waiting::each(bucket_table::walkers.at(old.at)) {
            walker::tbl.set(walker::list.container(at), 0u64);
        }
        table::tbl.set(ht, new.at);
    }
    rcu::free_later(old.at);
    true
}

fn may_grow(ht: u64, size: u32) -> bool {
    let most: u32 = parameter(ht, &parameters::max_size);
    most == 0 || size < most
}

/// Gives the table the size that its entries want.
fn adjust(ht: u64, caller: u64) {
    let size = Buckets::of(ht).size;
    let count = elements(ht);
    let (shrinks, least): (u8, u16) =
        (parameter(ht, &parameters::automatic_shrinking), parameter(ht, &parameters::min_size));
    if count > size / 4 * 3 && may_grow(ht, size) {
        resize(ht, size * 2, caller);
    } else if shrinks != 0 && count < size / 10 * 3 && size > u32::from(least) {
        let wanted = (count * 3 / 2).max(1).next_power_of_two().max(least.into());
        if wanted < size {
            resize(ht, wanted, caller);
        }
    }
}

/// The table's work item.
extern "C" fn rht_deferred_worker(work: u64) {
    adjust(table::run_work.container(work), 0);
}

/// `int rhashtable_init(struct rhashtable *, const struct rhashtable_params *)`
extern "C" fn rhashtable_init(ht: u64, given: u64) -> i32 {
    begin(ht, given, false, ram::caller())
}
/// `int rhltable_init(struct rhltable *, const struct rhashtable_params *)`: entries with equal keys share a place.
extern "C" fn rhltable_init(ht: u64, given: u64) -> i32 {
    begin(ht, given, true, ram::caller())
}

fn begin(ht: u64, given: u64, list: bool, caller: u64) -> i32 {
    // SAFETY: the caller's table, which may be overwritten, and its parameters.
    unsafe {
        let (key, hash, compare): (u16, u64, u64) =
            (parameters::key_len.get(given), parameters::obj_hashfn.get(given), parameters::obj_cmpfn.get(given));
        if key == 0 && hash == 0 || hash != 0 && compare == 0 {
            return Errno::EINVAL.to_return();
        }
        ram::fill(ht, 0, table::SIZE.get());
        let p = table::p.at(ht);
        ram::copy(p, given, parameters::SIZE.get());
        let least = u32::from(parameters::min_size.get::<u16>(p)).max(1).next_power_of_two().max(SIZE_MIN);
        parameters::min_size.set(p, least.min(1 << 15) as u16);
        let most: u32 = parameters::max_size.get(p);
        if most != 0 {
            let most = 1 << (31 - most.leading_zeros());
            parameters::max_size.set(p, most);
            table::max_elems.set(ht, if most < MOST / 2 { most * 2 } else { MOST });
        } else {
            table::max_elems.set(ht, MOST);
        }
        table::rhlist.set(ht, u8::from(list));
        if parameters::hashfn.get::<u64>(p) == 0 {
            let (name, length) = if key.is_multiple_of(4) { ("rhashtable_jhash2", key / 4) } else { ("jhash", key) };
            parameters::hashfn.set(p, address(name));
            table::key_len.set(ht, u32::from(length));
        } else {
            table::key_len.set(ht, u32::from(key));
        }
        crate::locks::begin_mutex(table::mutex.at(ht));
        let work = table::run_work.at(ht);
        locks::init_list(work_struct::entry.at(work));
        work_struct::func.set(work, address("rht_deferred_worker"));
        let hint = u32::from(parameters::nelem_hint.get::<u16>(p));
        let size = if hint > 0 { (hint * 4 / 3).next_power_of_two() } else { SIZE_DEFAULT };
        match new_buckets(size.max(least), caller) {
            Some(buckets) => {
                table::tbl.set(ht, buckets.at);
                0
            }
            None => Errno::ENOMEM.to_return(),
        }
    }
}

/// `void *rhashtable_insert_slow(struct rhashtable *, const void *key, struct rhash_head *)`: null, the object that has the key
/// already, or an error.
extern "C" fn rhashtable_insert_slow(ht: u64, key: u64, entry: u64) -> u64 {
    let caller = ram::caller();
    let mut buckets = Buckets::of(ht);
    let mut index = index_of(ht, buckets, entry);
    if key != 0
        && let Some(other) = buckets.chain(index).find(|&other| has_key(ht, other, key))
    {
        if !is_list(ht) {
            return object_of(ht, other);
        }
        share(buckets, index, other, entry);
        return 0;
    }
    // SAFETY: the caller's table.
    if elements(ht) >= unsafe { table::max_elems.get(ht) } {
        return Errno::E2BIG.to_pointer();
    }
    if elements(ht) > buckets.size && may_grow(ht, buckets.size) && resize(ht, buckets.size * 2, caller) {
        buckets = Buckets::of(ht);
        index = index_of(ht, buckets, entry);
    }
    if is_list(ht) {
        // SAFETY: the caller's entry of a list.
        unsafe { rhlist_head::next.set(rhlist_head::rhead.container(entry), 0u64) };
    }
    buckets.push(index, entry);
    // SAFETY: the caller's table.
    unsafe { table::nelems.set(ht, elements(ht) + 1) };
    adjust(ht, caller);
    0
}

/// Puts `entry` in front of `other`, which has the same key, in its place in the chain.
fn share(buckets: Buckets, index: u32, other: u64, entry: u64) {
    // SAFETY: two entries of the module's, the second one in this chain.
    unsafe {
        rhlist_head::next.set(rhlist_head::rhead.container(entry), rhlist_head::rhead.container(other));
        rhash_head::next.set(entry, next_of(other));
        match buckets.chain(index).take_while(|&before| before != other).last() {
            Some(before) => rhash_head::next.set(before, entry),
            None => {
                let bucket = buckets.bucket(index);
                ram::put(bucket, entry | ram::get::<u64>(bucket) & 1);
            }
        }
    }
}

/// The entries that share a place with `entry`, itself first.
fn shared(ht: u64, entry: u64) -> Vec<u64> {
    if !is_list(ht) {
        return alloc::vec![entry];
    }
    let mut at = rhlist_head::rhead.container(entry);
    let mut entries = Vec::new();
    while at != 0 {
        entries.push(rhlist_head::rhead.at(at));
        // SAFETY: an entry of a list.
        at = unsafe { rhlist_head::next.get(at) };
    }
    entries
}

/// `void rhashtable_free_and_destroy(struct rhashtable *, void (*)(void *, void *), void *)`
extern "C" fn rhashtable_free_and_destroy(ht: u64, function: u64, argument: u64) {
    let caller = ram::caller();
    kernel().work.cancel(table::run_work.at(ht));
    kernel().work.flush(table::run_work.at(ht));
    let buckets = Buckets::of(ht);
    if function != 0 {
        for index in 0..buckets.size {
            for entry in buckets.chain(index).collect::<Vec<_>>() {
                for entry in shared(ht, entry) {
                    // SAFETY: the caller's function with an object of the table.
                    unsafe { ram::call(function, [object_of(ht, entry), argument]) };
                }
            }
        }
    }
    slab::release(buckets.at, caller);
}
extern "C" fn rhashtable_destroy(ht: u64) {
    rhashtable_free_and_destroy(ht, 0, 0);
}

/// `struct rhash_lock_head **rht_bucket_nested(const struct bucket_table *, unsigned hash)`
extern "C" fn rht_bucket_nested(buckets: u64, hash: u32) -> u64 {
    let buckets = Buckets::at(buckets);
    buckets.bucket(hash & (buckets.size - 1))
}
/// `struct rhash_lock_head **rht_bucket_nested_insert(struct rhashtable *, struct bucket_table *, unsigned hash)`
extern "C" fn rht_bucket_nested_insert(_ht: u64, buckets: u64, hash: u32) -> u64 {
    rht_bucket_nested(buckets, hash)
}

fn walker_of(iter: u64) -> u64 {
    iterator::walker.at(iter)
}
/// Remembers that the walk is in these buckets, so that a resize tells it.
fn watch(iter: u64, buckets: u64) {
    // SAFETY: the caller's iterator, and buckets of ours.
    unsafe {
        walker::tbl.set(walker_of(iter), buckets);
        waiting::link_first(walker::list.at(walker_of(iter)), bucket_table::walkers.at(buckets));
    }
}
fn unwatch(iter: u64) {
    // SAFETY: an iterator that is watched.
    unsafe { waiting::unlink(walker::list.at(walker_of(iter))) };
}
fn watched(iter: u64) -> u64 {
    // SAFETY: the caller's iterator.
    unsafe { walker::tbl.get(walker_of(iter)) }
}

/// `void rhashtable_walk_enter(struct rhashtable *, struct rhashtable_iter *)`
extern "C" fn rhashtable_walk_enter(ht: u64, iter: u64) {
    // SAFETY: the caller's iterator.
    unsafe {
        ram::fill(iter, 0, iterator::SIZE.get());
        iterator::ht.set(iter, ht);
        watch(iter, table::tbl.get(ht));
    }
}
extern "C" fn rhashtable_walk_exit(iter: u64) {
    if watched(iter) != 0 {
        unwatch(iter);
    }
}
/// `int rhashtable_walk_start_check(struct rhashtable_iter *)`: `EAGAIN` when the table was resized, and the walk begins anew.
extern "C" fn rhashtable_walk_start_check(iter: u64) -> i32 {
    // SAFETY: the caller's iterator and its table.
    unsafe {
        let ht: u64 = iterator::ht.get(iter);
        if watched(iter) != 0 {
            unwatch(iter);
        } else if iterator::end_of_table.get::<u8>(iter) == 0 {
            walker::tbl.set(walker_of(iter), table::tbl.get::<u64>(ht));
            iterator::p.set(iter, 0u64);
            iterator::slot.set(iter, 0u32);
            iterator::skip.set(iter, 0u32);
            return Errno::EAGAIN.to_return();
        }
        // An entry that went meanwhile is not gone on from; the count of entries passed is.
        let (p, slot): (u64, u32) = (iterator::p.get(iter), iterator::slot.get(iter));
        if p != 0 && !Buckets::of(ht).chain(slot).any(|entry| entry == p) {
            iterator::p.set(iter, 0u64);
        }
    }
    0
}
extern "C" fn rhashtable_walk_stop(iter: u64) {
    let buckets = watched(iter);
    // SAFETY: the caller's iterator.
    unsafe {
        let ht: u64 = iterator::ht.get(iter);
        if buckets == 0 {
            return;
        }
        if buckets == table::tbl.get::<u64>(ht) {
            watch(iter, buckets);
        } else {
            walker::tbl.set(walker_of(iter), 0u64);
        }
    }
}

/// Goes to an entry; its object.
fn arrive(iter: u64, ht: u64, entry: u64, list: u64) -> u64 {
    // SAFETY: the caller's iterator.
    unsafe {
        iterator::p.set(iter, entry);
        iterator::list.set(iter, list);
    }
    object_of(ht, if list != 0 { rhlist_head::rhead.at(list) } else { entry })
}

/// The next entry, from the slot and the count of entries passed in it.
fn look(iter: u64) -> u64 {
    // SAFETY: the caller's iterator and its table.
    unsafe {
        let ht: u64 = iterator::ht.get(iter);
        let buckets = Buckets::at(watched(iter));
        let (mut slot, mut skip): (u32, u32) = (iterator::slot.get(iter), iterator::skip.get(iter));
        while slot < buckets.size {
            if let Some((entry, list)) = entries(ht, buckets, slot).nth(skip as usize) {
                iterator::slot.set(iter, slot);
                iterator::skip.set(iter, skip + 1);
                return arrive(iter, ht, entry, list);
            }
            (slot, skip) = (slot + 1, 0);
        }
        iterator::slot.set(iter, slot);
        iterator::skip.set(iter, 0u32);
        iterator::p.set(iter, 0u64);
        iterator::end_of_table.set(iter, 1u8);
        walker::tbl.set(walker_of(iter), 0u64);
    }
    0
}

/// The entries of a slot, those that share a place one by one: the chain's entry, and the list's.
fn entries(ht: u64, buckets: Buckets, slot: u32) -> impl Iterator<Item = (u64, u64)> {
    let list = is_list(ht);
    buckets.chain(slot).flat_map(move |entry| {
        shared(ht, entry)
            .into_iter()
            .map(move |other| (entry, if list { rhlist_head::rhead.container(other) } else { 0 }))
    })
}

/// `void *rhashtable_walk_next(struct rhashtable_iter *)`: null at the end, `EAGAIN` when the table was resized.
extern "C" fn rhashtable_walk_next(iter: u64) -> u64 {
    // SAFETY: the caller's iterator.
    unsafe {
        if iterator::end_of_table.get::<u8>(iter) != 0 || watched(iter) == 0 {
            return 0;
        }
        let ht: u64 = iterator::ht.get(iter);
        if watched(iter) != table::tbl.get::<u64>(ht) {
            walker::tbl.set(walker_of(iter), table::tbl.get::<u64>(ht));
            iterator::slot.set(iter, 0u32);
            iterator::skip.set(iter, 0u32);
            iterator::p.set(iter, 0u64);
            return Errno::EAGAIN.to_pointer();
        }
    }
    // SAFETY: as above. An entry that was taken out still knows what came after it.
    unsafe {
        let (ht, p, list): (u64, u64, u64) = (iterator::ht.get(iter), iterator::p.get(iter), iterator::list.get(iter));
        if p != 0 {
            let skip: u32 = iterator::skip.get(iter);
            let shared: u64 = if list == 0 { 0 } else { rhlist_head::next.get(list) };
            let next = next_of(p);
            if shared != 0 {
                iterator::skip.set(iter, skip + 1);
                return arrive(iter, ht, p, shared);
            }
            if next & 1 == 0 {
                iterator::skip.set(iter, skip + 1);
                return arrive(iter, ht, next, if list == 0 { 0 } else { rhlist_head::rhead.container(next) });
            }
            iterator::slot.set(iter, iterator::slot.get::<u32>(iter) + 1);
            iterator::skip.set(iter, 0u32);
        }
    }
    look(iter)
}
/// `void *rhashtable_walk_peek(struct rhashtable_iter *)`: the entry the walk is at, or the first.
extern "C" fn rhashtable_walk_peek(iter: u64) -> u64 {
    // SAFETY: the caller's iterator.
    unsafe {
        let (p, list): (u64, u64) = (iterator::p.get(iter), iterator::list.get(iter));
        if p != 0 {
            return object_of(iterator::ht.get(iter), if list != 0 { rhlist_head::rhead.at(list) } else { p });
        }
        let skip: u32 = iterator::skip.get(iter);
        if skip > 0 {
            // The entry the walk was at has gone: the one that took its place is the next.
            iterator::skip.set(iter, skip - 1);
        }
    }
    rhashtable_walk_next(iter)
}

/// `int __alloc_bucket_spinlocks(spinlock_t **, unsigned *mask, size_t max, unsigned cpu_mult, gfp_t, const char *, key *)`:
/// locks that are not held, a power of two of them.
extern "C" fn __alloc_bucket_spinlocks(to: u64, mask: u64, most: u64, per_cpu: u32, flags: u32) -> i32 {
    let caller = ram::caller();
    let count = if per_cpu == 0 { most } else { most.min(per_cpu.into()) };
    let locks = slab::kmalloc(4 * count.max(1), flags, caller);
    if locks == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: the caller's two variables.
    unsafe {
        ram::put(to, locks);
        ram::put(mask, count.max(1) as u32 - 1);
    }
    0
}
extern "C" fn free_bucket_spinlocks(locks: u64) {
    slab::release(locks, ram::caller());
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c jhash, c rhashtable_jhash2, c rht_deferred_worker, c rhashtable_init, c rhashtable_init_noprof = rhashtable_init,
    c rhltable_init, c rhltable_init_noprof = rhltable_init, c rhashtable_insert_slow, c rhashtable_free_and_destroy,
    c rhashtable_destroy, c rht_bucket_nested, c __rht_bucket_nested = rht_bucket_nested, c rht_bucket_nested_insert,
    c rhashtable_walk_enter, c rhashtable_walk_exit, c rhashtable_walk_start_check, c rhashtable_walk_stop,
    c rhashtable_walk_next, c rhashtable_walk_peek, c __alloc_bucket_spinlocks, c free_bucket_spinlocks,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jenkins() {
        // lookup3's own self-test: hashlittle("Four score and seven years ago", 30, 0) and with seed 1, less its start value's
        // difference, which is the same constant.
        assert_eq!(jhash_bytes(b"Four score and seven years ago", 0), 0x1777_0551);
        assert_eq!(jhash_bytes(b"Four score and seven years ago", 1), 0xcd62_8161);
        assert_eq!(jhash_bytes(b"", 0), 0xdead_beef);
        assert_eq!(jhash_bytes(b"", 0xdead_beef), 0xbd5b_7dde);
    }
}
