//! `idr` and `ida`: numbers for pointers, and numbers alone.

use ferrmod_kernel::{Errno, kernel};

use super::tree::ZERO;
use super::{Heap, find, seen, store, tree};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, tasks};

layout! {
    mod idr = "idr" { idr_base, idr_next }
}

/// The largest number `idr_alloc` gives.
const LARGEST: u64 = i32::MAX as u64;

fn base(at: u64) -> u64 {
    // SAFETY: the caller's idr, whose first member is its array.
    u64::from(unsafe { idr::idr_base.get::<u32>(at) })
}

/// Gives the first free number from `from` on, up to `last`, both counted from 0 as callers do.
fn allocate(at: u64, pointer: u64, from: u64, last: u64, caller: u64) -> Result<u64, Errno> {
    let base = base(at);
    let from = from.saturating_sub(base);
    let index = tree(at).find_free(from, last.checked_sub(base).ok_or(Errno::ENOSPC)?).ok_or(Errno::ENOSPC)?;
    // A null pointer takes its number too.
    store(at, index, if pointer == 0 { ZERO } else { pointer }, caller)?;
    Ok(index + base)
}

/// `int idr_alloc_u32(struct idr *, void *, u32 *next, unsigned long max, gfp_t)`
extern "C" fn idr_alloc_u32(at: u64, pointer: u64, next: u64, most: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the caller's variable.
    let from = unsafe { ram::get::<u32>(next) };
    match allocate(at, pointer, from.into(), most, caller) {
        Ok(number) => {
            // SAFETY: as above.
            unsafe { ram::put(next, number as u32) };
            0
        }
        Err(errno) => errno.to_return(),
    }
}

/// The last number below `end`; 0 and negative mean that there is no end.
fn last_below(end: i32) -> u64 {
    if end > 0 { end as u64 - 1 } else { LARGEST }
}

/// `int idr_alloc(struct idr *, void *, int start, int end, gfp_t)`
extern "C" fn idr_alloc(at: u64, pointer: u64, start: i32, end: i32) -> i32 {
    let caller = ram::caller();
    let Ok(from) = u64::try_from(start) else { return Errno::EINVAL.to_return() };
    allocate(at, pointer, from, last_below(end), caller).map_or_else(Errno::to_return, |number| number as i32)
}
/// `int idr_alloc_cyclic(struct idr *, void *, int start, int end, gfp_t)`: goes on behind the number given last.
extern "C" fn idr_alloc_cyclic(at: u64, pointer: u64, start: i32, end: i32) -> i32 {
    let caller = ram::caller();
    let Ok(start) = u64::try_from(start) else { return Errno::EINVAL.to_return() };
    // SAFETY: the caller's idr.
    let from = start.max(u64::from(unsafe { idr::idr_next.get::<u32>(at) }));
    let last = last_below(end);
    let mut found = allocate(at, pointer, from, last, caller);
    if found == Err(Errno::ENOSPC) && from > start {
        found = allocate(at, pointer, start, last, caller);
    }
    match found {
        Ok(number) => {
            // SAFETY: as above.
            unsafe { idr::idr_next.set(at, number as u32 + 1) };
            number as i32
        }
        Err(errno) => errno.to_return(),
    }
}
extern "C" fn idr_find(at: u64, number: u64) -> u64 {
    number.checked_sub(base(at)).map_or(0, |index| seen(tree(at).load(index)))
}
extern "C" fn idr_remove(at: u64, number: u64) -> u64 {
    let caller = ram::caller();
    match number.checked_sub(base(at)) {
        Some(index) => seen(store(at, index, 0, caller).unwrap_or(0)),
        None => 0,
    }
}
/// `void *idr_replace(struct idr *, void *, unsigned long)`
extern "C" fn idr_replace(at: u64, pointer: u64, number: u64) -> u64 {
    let caller = ram::caller();
    let Some(index) = number.checked_sub(base(at)).filter(|&index| tree(at).load(index) != 0) else {
        return Errno::ENOENT.to_pointer();
    };
    match store(at, index, if pointer == 0 { ZERO } else { pointer }, caller) {
        Ok(old) => seen(old),
        Err(errno) => errno.to_pointer(),
    }
}
/// `int idr_for_each(const struct idr *, int (*)(int id, void *p, void *data), void *data)`
extern "C" fn idr_for_each(at: u64, function: u64, data: u64) -> i32 {
    let base = base(at);
    let mut from = 0;
    while let Some(found) = find(at, from, LARGEST, None) {
        // SAFETY: the caller's function.
        let result = unsafe { ram::call(function, [found.index + base, found.entry, data]) } as i32;
        if result != 0 {
            return result;
        }
        from = found.index + 1;
    }
    0
}

/// The entry at or behind a number, and its number.
fn next(at: u64, number: u64) -> Option<(u64, u64)> {
    let base = base(at);
    find(at, number.saturating_sub(base), u64::MAX, None).map(|found| (found.index + base, found.entry))
}
/// `void *idr_get_next_ul(struct idr *, unsigned long *)`
extern "C" fn idr_get_next_ul(at: u64, number: u64) -> u64 {
    // SAFETY: the caller's variable.
    unsafe {
        next(at, ram::get(number)).map_or(0, |(found, entry)| {
            ram::put(number, found);
            entry
        })
    }
}
/// `void *idr_get_next(struct idr *, int *)`
extern "C" fn idr_get_next(at: u64, number: u64) -> u64 {
    // SAFETY: the caller's variable.
    unsafe {
        next(at, ram::get::<i32>(number) as u64).filter(|(found, _)| *found <= LARGEST).map_or(0, |(found, entry)| {
            ram::put(number, found as i32);
            entry
        })
    }
}
extern "C" fn idr_destroy(at: u64) {
    tree(at).destroy(&mut Heap { caller: ram::caller() });
}
/// Inline `idr_preload_end()` enables preemption again.
extern "C" fn idr_preload() {
    tasks::add_preempt(1);
}

/// Numbers an entry holds: a value of so many bits, one a number.
const NUMBERS: u64 = 62;

fn value(bits: u64) -> u64 {
    bits << 1 | 1
}
fn bits_of(entry: u64) -> u64 {
    entry >> 1
}

/// The first number from `from` on, up to `last`, that is not taken in an `ida`.
fn free_number(at: u64, from: u64, last: u64) -> Option<u64> {
    let array = tree(at);
    let mut number = from;
    while number <= last {
        let (index, bit) = (number / NUMBERS, number % NUMBERS);
        let taken = bits_of(array.load(index)) | ((1 << bit) - 1);
        let free = u64::from((!taken).trailing_zeros());
        if free < NUMBERS {
            number = index * NUMBERS + free;
            return (number <= last).then_some(number);
        }
        number = (index + 1) * NUMBERS;
    }
    None
}

/// `int ida_alloc_range(struct ida *, unsigned min, unsigned max, gfp_t)`
extern "C" fn ida_alloc_range(at: u64, least: u32, most: u32) -> i32 {
    let caller = ram::caller();
    if (least as i32) < 0 {
        return Errno::ENOSPC.to_return();
    }
    let last = u64::from(most).min(LARGEST);
    let Some(number) = free_number(at, least.into(), last) else { return Errno::ENOSPC.to_return() };
    let index = number / NUMBERS;
    let bits = bits_of(tree(at).load(index)) | 1 << (number % NUMBERS);
    store(at, index, value(bits), caller).map_or_else(Errno::to_return, |_| number as i32)
}
extern "C" fn ida_free(at: u64, number: u32) {
    let caller = ram::caller();
    if (number as i32) < 0 {
        return;
    }
    let (index, bit) = (u64::from(number) / NUMBERS, u64::from(number) % NUMBERS);
    let bits = bits_of(tree(at).load(index));
    if bits >> bit & 1 == 0 {
        kernel().warn(&alloc::format!("ida_free called for id={number} which is not allocated."), caller);
        return;
    }
    let left = bits & !(1 << bit);
    // A smaller value needs no memory.
    let _ = store(at, index, if left == 0 { 0 } else { value(left) }, caller);
}
extern "C" fn ida_destroy(at: u64) {
    tree(at).destroy(&mut Heap { caller: ram::caller() });
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c idr_alloc_u32, c idr_alloc, c idr_alloc_cyclic, c idr_find, c idr_remove, c idr_replace, c idr_for_each,
    c idr_get_next_ul, c idr_get_next, c idr_destroy, c idr_preload, c ida_alloc_range, c ida_free, c ida_destroy,
];
