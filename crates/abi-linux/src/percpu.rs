//! Per-CPU memory, counters and references.

use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;
use crate::slab::{self, ZERO};

layout! {
    mod percpu_counter = "percpu_counter" { count, list, counters }
    mod percpu_ref = "percpu_ref" { percpu_count_ptr, data }
    mod percpu_ref_data = "percpu_ref_data" { count, release, owner = "ref" }
}

/// The largest piece (`PCPU_MIN_UNIT_SIZE`) and the largest alignment.
const LARGEST: u64 = 32 << 10;
const ALIGN_MAX: u64 = 4096;

/// Gives out `size` bytes of zeros in the area of every CPU; 0 without memory.
pub(crate) fn allocate(size: u64, align: u64, caller: u64) -> u64 {
    let kernel = kernel();
    if size == 0 || size > LARGEST || !align.is_power_of_two() || align > ALIGN_MAX {
        let text = alloc::format!("illegal size ({size}) or align ({align}) for percpu allocation");
        kernel.warn(&text, caller);
        return 0;
    }
    if kernel.inject.should_fail() {
        return 0;
    }
    let Ok(offset) = kernel.percpu.take(size, align) else { return 0 };
    for area in kernel.platform.regions().percpu_areas() {
        // SAFETY: these bytes of every area have just been given to us.
        unsafe { ram::fill(area + offset, 0, size) };
    }
    // The offset is new, so nothing is registered under it.
    let _ = kernel.registrations.add("percpu", offset, alloc::format!("{size} bytes"), kernel.owner_of(caller));
    offset
}

/// Takes them back.
pub(crate) fn release(offset: u64, caller: u64) {
    if offset == 0 {
        return;
    }
    if kernel().registrations.remove("percpu", offset).is_none() || kernel().percpu.give(offset).is_none() {
        kernel().bug(&alloc::format!("BUG: free_percpu of {offset:#x}, which was not given out"), caller);
    }
}

/// Where what was given out lies for each CPU.
pub(crate) fn each(offset: u64) -> impl Iterator<Item = u64> {
    kernel().platform.regions().percpu_areas().map(move |area| area + offset)
}

/// `void __percpu *__alloc_percpu(size_t, size_t align)`
extern "C" fn __alloc_percpu(size: u64, align: u64) -> u64 {
    allocate(size, align, ram::caller())
}
extern "C" fn free_percpu(offset: u64) {
    release(offset, ram::caller());
}

/// One counter a slot: C's `s32`, aligned to a long.
const SLOT: u64 = 8;

/// `int __percpu_counter_init_many(struct percpu_counter *, s64, gfp_t, u32 count, struct lock_class_key *)`
fn begin_counters(counters: u64, amount: i64, count: u32, caller: u64) -> i32 {
    let memory = allocate(SLOT * u64::from(count.max(1)), SLOT, caller);
    if memory == 0 {
        return Errno::ENOMEM.to_return();
    }
    for index in 0..u64::from(count) {
        let counter = counters + index * percpu_counter::SIZE.get();
        // SAFETY: the caller's counters.
        unsafe {
            ram::fill(counter, 0, percpu_counter::SIZE.get());
            percpu_counter::count.set(counter, amount);
            percpu_counter::counters.set(counter, memory + SLOT * index);
            if percpu_counter::list.offset().is_some() {
                crate::locks::init_list(percpu_counter::list.at(counter));
            }
        }
    }
    0
}
extern "C" fn __percpu_counter_init_many(counters: u64, amount: i64, _flags: u32, count: u32) -> i32 {
    begin_counters(counters, amount, count, ram::caller())
}
/// `int __percpu_counter_init(struct percpu_counter *, s64, gfp_t, struct lock_class_key *)`
extern "C" fn __percpu_counter_init(counter: u64, amount: i64) -> i32 {
    begin_counters(counter, amount, 1, ram::caller())
}
fn end_counters(counters: u64, count: u32, caller: u64) {
    if counters == 0 {
        return;
    }
    // SAFETY: the caller's counters; one that was never begun has no memory.
    unsafe {
        let memory: u64 = percpu_counter::counters.get(counters);
        for index in 0..u64::from(count) {
            percpu_counter::counters.set(counters + index * percpu_counter::SIZE.get(), 0u64);
        }
        release(memory, caller);
    }
}
extern "C" fn percpu_counter_destroy_many(counters: u64, count: u32) {
    end_counters(counters, count, ram::caller());
}
extern "C" fn percpu_counter_destroy(counter: u64) {
    end_counters(counter, 1, ram::caller());
}

/// The kernel's own code never runs twice at once, so the shared count is exact and nothing is batched.
extern "C" fn percpu_counter_add_batch(counter: u64, amount: i64, _batch: i32) {
    // SAFETY: the caller's counter.
    unsafe { percpu_counter::count.set(counter, percpu_counter::count.get::<i64>(counter).wrapping_add(amount)) };
}
extern "C" fn percpu_counter_set(counter: u64, amount: i64) {
    // SAFETY: as above.
    unsafe { percpu_counter::count.set(counter, amount) };
}
extern "C" fn __percpu_counter_sum(counter: u64) -> i64 {
    // SAFETY: as above.
    unsafe { percpu_counter::count.get(counter) }
}
/// `int __percpu_counter_compare(struct percpu_counter *, s64, s32 batch)`
extern "C" fn __percpu_counter_compare(counter: u64, other: i64, _batch: i32) -> i32 {
    __percpu_counter_sum(counter).cmp(&other) as i32
}

/// The low bits of `percpu_count_ptr`: the count is in `data`, and the reference is dead.
const ATOMIC: u64 = 1;
const DEAD: u64 = 2;
/// `PERCPU_REF_INIT_DEAD`
const INIT_DEAD: u32 = 2;

fn count_of(reference: u64) -> u64 {
    // SAFETY: a reference of the caller's that was begun.
    unsafe { percpu_ref_data::count.at(percpu_ref::data.get(reference)) }
}
fn add(reference: u64, amount: i64) -> i64 {
    let at = count_of(reference);
    // SAFETY: as above.
    unsafe {
        let count = ram::get::<i64>(at).wrapping_add(amount);
        ram::put(at, count);
        count
    }
}
fn set_state(reference: u64, state: u64) {
    // SAFETY: as above.
    unsafe { percpu_ref::percpu_count_ptr.set(reference, state) };
}
fn state(reference: u64) -> u64 {
    // SAFETY: as above.
    unsafe { percpu_ref::percpu_count_ptr.get(reference) }
}

/// `int percpu_ref_init(struct percpu_ref *, percpu_ref_func_t *release, unsigned flags, gfp_t)`. It counts in `data` from the
/// start: the kernel's own code never runs twice at once, so a count a CPU would gain nothing.
extern "C" fn percpu_ref_init(reference: u64, release: u64, flags: u32, _gfp: u32) -> i32 {
    let caller = ram::caller();
    let data = slab::allocate(percpu_ref_data::SIZE.get(), 8, ZERO, caller);
    if data == 0 {
        return Errno::ENOMEM.to_return();
    }
    let dead = flags & INIT_DEAD != 0;
    // SAFETY: the caller's reference and the new data.
    unsafe {
        percpu_ref_data::count.set(data, i64::from(!dead));
        percpu_ref_data::release.set(data, release);
        percpu_ref_data::owner.set(data, reference);
        percpu_ref::data.set(reference, data);
    }
    set_state(reference, if dead { ATOMIC | DEAD } else { ATOMIC });
    0
}
extern "C" fn percpu_ref_exit(reference: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's reference.
    unsafe {
        slab::release(percpu_ref::data.get(reference), caller);
        percpu_ref::data.set(reference, 0u64);
    }
    set_state(reference, ATOMIC | DEAD);
}

fn put_reference(reference: u64) {
    if add(reference, -1) == 0 {
        // SAFETY: the release function that the caller of `percpu_ref_init` gave.
        unsafe { ram::call(percpu_ref_data::release.get(percpu_ref::data.get(reference)), [reference]) };
    }
}
/// `void percpu_ref_kill_and_confirm(struct percpu_ref *, percpu_ref_func_t *)`: gives the first reference back.
extern "C" fn percpu_ref_kill_and_confirm(reference: u64, confirm: u64) {
    let caller = ram::caller();
    if state(reference) & DEAD != 0 {
        kernel().warn("percpu_ref_kill_and_confirm called more than once", caller);
    }
    set_state(reference, ATOMIC | DEAD);
    if confirm != 0 {
        // SAFETY: the caller's function.
        unsafe { ram::call(confirm, [reference]) };
    }
    put_reference(reference);
}
extern "C" fn percpu_ref_is_zero(reference: u64) -> bool {
    add(reference, 0) == 0
}
extern "C" fn percpu_ref_resurrect(reference: u64) {
    set_state(reference, ATOMIC);
    add(reference, 1);
}
extern "C" fn percpu_ref_reinit(reference: u64) {
    let caller = ram::caller();
    if add(reference, 0) != 0 {
        kernel().warn("percpu_ref_reinit: it is still referenced", caller);
    }
    percpu_ref_resurrect(reference);
}
/// It always counts in one place.
extern "C" fn percpu_ref_switch(_reference: u64) {}
/// `void percpu_ref_switch_to_atomic(struct percpu_ref *, percpu_ref_func_t *)`
extern "C" fn percpu_ref_switch_to_atomic(reference: u64, confirm: u64) {
    if confirm != 0 {
        // SAFETY: the caller's function.
        unsafe { ram::call(confirm, [reference]) };
    }
}

static BATCH: Datum = Datum::new(
    "percpu_counter_batch",
    4,
    Begin::With(|at| {
        // SAFETY: `data::place` gives 4 writable bytes.
        unsafe { ram::put(at, 32i32) };
    }),
);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&BATCH];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __alloc_percpu, c __alloc_percpu_gfp = __alloc_percpu, c pcpu_alloc_noprof = __alloc_percpu, c free_percpu,
    c __percpu_counter_init_many, c __percpu_counter_init, c percpu_counter_destroy_many, c percpu_counter_destroy,
    c percpu_counter_add_batch, c percpu_counter_set, c __percpu_counter_sum, c percpu_counter_sum_all = __percpu_counter_sum,
    c __percpu_counter_compare, k percpu_counter_sync = percpu_ref_switch, c percpu_ref_init, c percpu_ref_exit,
    c percpu_ref_kill_and_confirm, c percpu_ref_is_zero, c percpu_ref_resurrect, c percpu_ref_reinit,
    k percpu_ref_switch_to_atomic_sync = percpu_ref_switch, k percpu_ref_switch_to_percpu = percpu_ref_switch,
    c percpu_ref_switch_to_atomic,
];
