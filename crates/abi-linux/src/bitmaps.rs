//! Bitmaps and CPU masks.

use alloc::borrow::Cow;
use core::ops::{BitAnd, BitOr, BitXor};

use ferrmod_kernel::bits;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::{ram, slab, user};

/// The words of a bitmap. Most are arrays of longs and aligned like them; one inside a packed struct is copied.
fn words<'a>(at: u64, bits: u64) -> Cow<'a, [u64]> {
    let count = if at == 0 { 0 } else { bits.div_ceil(64) as usize };
    if count > 0 && at.is_multiple_of(8) {
        // SAFETY: a bitmap of the caller's, which is aligned.
        return Cow::Borrowed(unsafe { core::slice::from_raw_parts(at as *const u64, count) });
    }
    (0..count).map(|index| word(at, index)).collect()
}

/// Lets `change` have the words of a bitmap, and writes them back.
fn update<T>(at: u64, bits: u64, change: impl FnOnce(&mut [u64]) -> T) -> T {
    let mut words = words(at, bits).into_owned();
    let answer = change(&mut words);
    for (index, value) in words.into_iter().enumerate() {
        set_word(at, index, value);
    }
    answer
}

/// Word number `index` of a bitmap.
fn word(at: u64, index: usize) -> u64 {
    // SAFETY: as above.
    unsafe { ram::get(at + 8 * index as u64) }
}
fn set_word(at: u64, index: usize, value: u64) {
    // SAFETY: as above.
    unsafe { ram::put(at + 8 * index as u64, value) }
}

/// The bits of the last word that count.
fn last_mask(bits: u64) -> u64 {
    if bits.is_multiple_of(64) { u64::MAX } else { (1 << (bits % 64)) - 1 }
}

/// The mask of word `index` of a bitmap.
fn mask(index: usize, bits: u64) -> u64 {
    if index as u64 + 1 == bits.div_ceil(64) { last_mask(bits) } else { u64::MAX }
}

/// Stores a word for each of two bitmaps; whether any bit that counts is set.
fn combine(to: u64, one: u64, other: u64, bits: u32, operation: impl Fn(u64, u64) -> u64) -> bool {
    let bits = u64::from(bits);
    let mut any = 0;
    for index in 0..bits.div_ceil(64) as usize {
        let value = operation(word(one, index), word(other, index));
        set_word(to, index, value);
        any |= value & mask(index, bits);
    }
    any != 0
}

extern "C" fn __bitmap_and(to: u64, one: u64, other: u64, bits: u32) -> bool {
    combine(to, one, other, bits, BitAnd::bitand)
}
extern "C" fn __bitmap_or(to: u64, one: u64, other: u64, bits: u32) {
    combine(to, one, other, bits, BitOr::bitor);
}
extern "C" fn __bitmap_xor(to: u64, one: u64, other: u64, bits: u32) {
    combine(to, one, other, bits, BitXor::bitxor);
}
extern "C" fn __bitmap_andnot(to: u64, one: u64, other: u64, bits: u32) -> bool {
    combine(to, one, other, bits, |one, other| one & !other)
}
extern "C" fn __bitmap_complement(to: u64, from: u64, bits: u32) {
    combine(to, from, from, bits, |word, _| !word);
}
/// `void __bitmap_replace(unsigned long *dst, const *old, const *new, const *mask, unsigned nbits)`
extern "C" fn __bitmap_replace(to: u64, old: u64, new: u64, mask: u64, bits: u32) {
    for index in 0..u64::from(bits).div_ceil(64) as usize {
        let chosen = word(mask, index);
        set_word(to, index, word(old, index) & !chosen | word(new, index) & chosen);
    }
}

/// Whether `holds` for every pair of words, of which only the bits that count are looked at.
fn every(one: u64, other: u64, bits: u32, holds: impl Fn(u64, u64) -> bool) -> bool {
    let bits = u64::from(bits);
    (0..bits.div_ceil(64) as usize).all(|index| {
        let mask = mask(index, bits);
        holds(word(one, index) & mask, word(other, index) & mask)
    })
}
extern "C" fn __bitmap_equal(one: u64, other: u64, bits: u32) -> bool {
    every(one, other, bits, |one, other| one == other)
}
extern "C" fn __bitmap_subset(one: u64, other: u64, bits: u32) -> bool {
    every(one, other, bits, |one, other| one & !other == 0)
}
extern "C" fn __bitmap_intersects(one: u64, other: u64, bits: u32) -> bool {
    !every(one, other, bits, |one, other| one & other == 0)
}
/// `bool __bitmap_or_equal(const *a, const *b, const *c, unsigned nbits)`: whether a or b is c.
extern "C" fn __bitmap_or_equal(one: u64, other: u64, sum: u64, bits: u32) -> bool {
    let bits = u64::from(bits);
    (0..bits.div_ceil(64) as usize).all(|index| {
        (word(one, index) | word(other, index)) & mask(index, bits) == word(sum, index) & mask(index, bits)
    })
}

extern "C" fn __bitmap_weight(at: u64, bits: u32) -> u32 {
    bits::weight(&words(at, bits.into()), bits as usize) as u32
}
extern "C" fn __bitmap_weight_and(one: u64, other: u64, bits: u32) -> u32 {
    let bits = u64::from(bits);
    (0..bits.div_ceil(64) as usize)
        .map(|index| (word(one, index) & word(other, index) & mask(index, bits)).count_ones())
        .sum()
}
fn fill(at: u64, start: u32, count: i32, set: bool) {
    let (start, end) = (u64::from(start), u64::from(start) + count.max(0) as u64);
    for index in start / 64..end.div_ceil(64) {
        // The bits of this word from the start on, up to the end.
        let low = start.saturating_sub(index * 64).min(64);
        let high = (end - index * 64).min(64);
        let mask = u64::MAX.checked_shr((64 - (high - low)) as u32).unwrap_or(0).checked_shl(low as u32).unwrap_or(0);
        let old = word(at, index as usize);
        set_word(at, index as usize, if set { old | mask } else { old & !mask });
    }
}
extern "C" fn __bitmap_set(at: u64, start: u32, count: i32) {
    fill(at, start, count, true);
}
extern "C" fn __bitmap_clear(at: u64, start: u32, count: i32) {
    fill(at, start, count, false);
}

/// Moves bits by `distance`: bit `from(n)` becomes bit `n`.
fn shifted(to: u64, from: u64, bits: u32, source: impl Fn(usize) -> Option<usize>) {
    let old = words(from, bits.into()).into_owned();
    update(to, bits.into(), |new| {
        new.fill(0);
        for bit in 0..bits as usize {
            if source(bit).is_some_and(|from| from < bits as usize && bits::is_set(&old, from)) {
                new[bit / 64] |= 1 << (bit % 64);
            }
        }
    });
}
extern "C" fn __bitmap_shift_left(to: u64, from: u64, distance: u32, bits: u32) {
    shifted(to, from, bits, |bit| bit.checked_sub(distance as usize));
}
extern "C" fn __bitmap_shift_right(to: u64, from: u64, distance: u32, bits: u32) {
    shifted(to, from, bits, |bit| bit.checked_add(distance as usize));
}
/// `void bitmap_cut(unsigned long *, const *, unsigned first, unsigned cut, unsigned nbits)`
extern "C" fn bitmap_cut(to: u64, from: u64, first: u32, cut: u32, bits: u32) {
    shifted(to, from, bits, |bit| if bit < first as usize { Some(bit) } else { bit.checked_add(cut as usize) });
}

extern "C" fn _find_first_bit(at: u64, bits: u64) -> u64 {
    bits::find_next_set(&words(at, bits), bits as usize, 0) as u64
}
extern "C" fn _find_first_zero_bit(at: u64, bits: u64) -> u64 {
    bits::find_next_clear(&words(at, bits), bits as usize, 0) as u64
}
extern "C" fn _find_next_bit(at: u64, bits: u64, from: u64) -> u64 {
    bits::find_next_set(&words(at, bits), bits as usize, from as usize) as u64
}
extern "C" fn _find_next_zero_bit(at: u64, bits: u64, from: u64) -> u64 {
    bits::find_next_clear(&words(at, bits), bits as usize, from as usize) as u64
}
extern "C" fn _find_last_bit(at: u64, bits: u64) -> u64 {
    bits::find_last(&words(at, bits), bits as usize) as u64
}
extern "C" fn _find_next_and_bit(one: u64, other: u64, bits: u64, from: u64) -> u64 {
    bits::find_next_and(&words(one, bits), &words(other, bits), bits as usize, from as usize) as u64
}
extern "C" fn _find_first_and_bit(one: u64, other: u64, bits: u64) -> u64 {
    _find_next_and_bit(one, other, bits, 0)
}
extern "C" fn _find_next_andnot_bit(one: u64, other: u64, bits: u64, from: u64) -> u64 {
    bits::find_next_and_not(&words(one, bits), &words(other, bits), bits as usize, from as usize) as u64
}
extern "C" fn _find_next_or_bit(one: u64, other: u64, bits: u64, from: u64) -> u64 {
    bits::find_next(|index| word(one, index) | word(other, index), bits as usize, from as usize) as u64
}
extern "C" fn __find_nth_bit(at: u64, bits: u64, number: u64) -> u64 {
    bits::find_nth(&words(at, bits), bits as usize, number as usize) as u64
}
extern "C" fn __find_nth_and_bit(one: u64, other: u64, bits: u64, number: u64) -> u64 {
    let both: alloc::vec::Vec<u64> =
        (0..bits.div_ceil(64) as usize).map(|index| word(one, index) & word(other, index)).collect();
    bits::find_nth(&both, bits as usize, number as usize) as u64
}
/// `unsigned long find_next_clump8(unsigned long *clump, const unsigned long *, unsigned long size, unsigned long offset)`
extern "C" fn find_next_clump8(clump: u64, at: u64, bits: u64, from: u64) -> u64 {
    let found = _find_next_bit(at, bits, from);
    if found >= bits {
        return bits;
    }
    let start = found & !7;
    // SAFETY: the caller's variable.
    unsafe { ram::put(clump, word(at, (start / 64) as usize) >> (start % 64) & 0xff) };
    start
}

/// `unsigned long bitmap_find_next_zero_area_off(unsigned long *, unsigned long size, start, unsigned nr, align_mask, offset)`
extern "C" fn bitmap_find_next_zero_area_off(
    at: u64,
    bits: u64,
    from: u64,
    count: u32,
    align: u64,
    offset: u64,
) -> u64 {
    bits::find_clear_area(
        &words(at, bits),
        bits as usize,
        from as usize,
        count as usize,
        align as usize,
        offset as usize,
    ) as u64
}

/// `int bitmap_find_free_region(unsigned long *, unsigned bits, int order)`: takes a free run of 2^order, aligned to its size.
extern "C" fn bitmap_find_free_region(at: u64, bits: u32, order: i32) -> i32 {
    let size = 1u32 << (order & 31);
    let mut place = 0;
    while place + size <= bits {
        if bitmap_allocate_region(at, place, order) == 0 {
            return place as i32;
        }
        place += size;
    }
    Errno::ENOMEM.to_return()
}
extern "C" fn bitmap_release_region(at: u64, place: u32, order: i32) {
    fill(at, place, 1 << (order & 31), false);
}
extern "C" fn bitmap_allocate_region(at: u64, place: u32, order: i32) -> i32 {
    let end = u64::from(place) + (1 << (order & 31));
    if _find_next_bit(at, end, place.into()) < end {
        return Errno::EBUSY.to_return();
    }
    fill(at, place, 1 << (order & 31), true);
    0
}

fn new_bitmap(bits: u32, flags: u32, caller: u64) -> u64 {
    slab::kmalloc(u64::from(bits).div_ceil(64) * 8, flags, caller)
}
/// `unsigned long *bitmap_alloc(unsigned nbits, gfp_t)`
extern "C" fn bitmap_alloc(bits: u32, flags: u32) -> u64 {
    new_bitmap(bits, flags, ram::caller())
}
extern "C" fn bitmap_zalloc(bits: u32, flags: u32) -> u64 {
    new_bitmap(bits, flags | slab::ZERO, ram::caller())
}
extern "C" fn bitmap_free(at: u64) {
    slab::release(at, ram::caller());
}

extern "C" fn bitmap_from_arr32(to: u64, from: u64, bits: u32) {
    let groups = u64::from(bits).div_ceil(32);
    for index in 0..groups.div_ceil(2) {
        // SAFETY: the caller's array of 32-bit words.
        let half = |half: u64| if half < groups { u64::from(unsafe { ram::get::<u32>(from + 4 * half) }) } else { 0 };
        let value = half(2 * index) | half(2 * index + 1) << 32;
        set_word(to, index as usize, value & mask(index as usize, bits.into()));
    }
}
extern "C" fn bitmap_to_arr32(to: u64, from: u64, bits: u32) {
    for index in 0..u64::from(bits).div_ceil(32) {
        let word = word(from, (index / 2) as usize) & mask((index / 2) as usize, bits.into());
        // SAFETY: the caller's array of 32-bit words.
        unsafe { ram::put(to + 4 * index, (word >> (32 * (index % 2))) as u32) };
    }
}

/// Copies a bitmap out of a parser.
fn parsed(to: u64, bits: i32, parse: impl FnOnce(&mut [u64], usize) -> Result<(), Errno>) -> i32 {
    let bits = bits.max(0) as usize;
    Errno::returned(update(to, bits as u64, |words| parse(words, bits)))
}
/// `int bitmap_parselist(const char *, unsigned long *, int nmaskbits)`
extern "C" fn bitmap_parselist(from: u64, to: u64, bits: i32) -> i32 {
    parsed(to, bits, |words, bits| bits::parse_list(crate::string::text(from), words, bits))
}
/// `int bitmap_parse(const char *, unsigned buflen, unsigned long *, int nmaskbits)`
extern "C" fn bitmap_parse(from: u64, length: u32, to: u64, bits: i32) -> i32 {
    parsed(to, bits, |words, bits| bits::parse_hex(crate::string::text_within(from, length.into()), words, bits))
}
extern "C" fn bitmap_parselist_user(from: u64, length: u32, to: u64, bits: i32) -> i32 {
    parsed(to, bits, |words, bits| bits::parse_list(&user::copy_in(from, length.into())?, words, bits))
}
extern "C" fn bitmap_parse_user(from: u64, length: u32, to: u64, bits: i32) -> i32 {
    parsed(to, bits, |words, bits| bits::parse_hex(&user::copy_in(from, length.into())?, words, bits))
}
/// `int bitmap_print_to_pagebuf(bool list, char *, const unsigned long *, int nmaskbits)`: what fits into the page.
extern "C" fn bitmap_print_to_pagebuf(list: bool, to: u64, at: u64, bits: i32) -> i32 {
    let count = bits.max(0) as usize;
    let map = words(at, count as u64);
    let mut text = if list { bits::list_text(&map, count) } else { bits::hex_text(&map, count) };
    text.push('\n');
    let room = (4096 - to % 4096).saturating_sub(1) as usize;
    let kept = text.len().min(room);
    // SAFETY: the rest of the caller's page.
    unsafe {
        ram::bytes_mut(to, kept as u64).copy_from_slice(&text.as_bytes()[..kept]);
        ram::put(to + kept as u64, 0u8);
    }
    kept as i32
}

/// `bool alloc_cpumask_var_node(cpumask_var_t *, gfp_t, int)`: masks are as long as the kernel's largest number of CPUs.
extern "C" fn alloc_cpumask_var_node(to: u64, flags: u32) -> bool {
    let mask = new_bitmap(CPUS_MAX, flags, ram::caller());
    // SAFETY: the caller's variable.
    unsafe { ram::put(to, mask) };
    mask != 0
}
extern "C" fn zalloc_cpumask_var_node(to: u64, flags: u32) -> bool {
    let mask = new_bitmap(CPUS_MAX, flags | slab::ZERO, ram::caller());
    // SAFETY: as above.
    unsafe { ram::put(to, mask) };
    mask != 0
}
extern "C" fn free_cpumask_var(mask: u64) {
    slab::release(mask, ram::caller());
}
/// `unsigned int cpumask_local_spread(unsigned int i, int node)`: every CPU is of the one node.
extern "C" fn cpumask_local_spread(which: u32) -> u32 {
    which % cpus()
}
/// `int cpumask_next_wrap(int n, const struct cpumask *, int start, bool wrap)`: the CPU of the mask that comes after `n` on a
/// way round that begins at `start`; `nr_cpu_ids` at its end. `wrap` says that the first step of the way has been made.
extern "C" fn cpumask_next_wrap(after: i32, mask: u64, start: i32, wrap: bool) -> u32 {
    let cpus = cpus();
    // SAFETY: the caller's mask; there are at most 64 CPUs, which are its first word.
    let set = unsafe { ram::get::<u64>(mask) };
    let next = |after: i32| ((after + 1).max(0) as u32..cpus).find(|&cpu| set >> cpu & 1 != 0).unwrap_or(cpus);
    let ended = |after: i32, found: u32| after < start && found as i32 >= start;
    let found = next(after);
    if wrap && ended(after, found) {
        return cpus;
    }
    if found < cpus {
        return found;
    }
    let again = next(-1);
    if ended(-1, again) { cpus } else { again }
}

/// The CPUs there are.
pub(crate) fn cpus() -> u32 {
    kernel().platform.regions().cpus
}
/// `NR_CPUS` of the kernels known.
const CPUS_MAX: u32 = 8192;

macro_rules! variables {
    ($($ident:ident $name:literal $size:expr, $begin:expr;)*) => {
        $(static $ident: Datum = Datum::new($name, $size, $begin);)*
        /// The variables of this file.
        pub(crate) static VARIABLES: &[&Datum] = &[$(&$ident),*];
    };
}

/// The address of `__cpu_online_mask`.
pub(crate) fn online_mask() -> u64 {
    ONLINE.address()
}

fn begin_count(at: u64) {
    // SAFETY: `data::place` gives 4 writable bytes.
    unsafe { ram::put(at, cpus()) };
}
/// The bits of all CPUs.
fn begin_mask(at: u64) {
    // SAFETY: `data::place` gives a whole mask, and there are at most 64 CPUs.
    unsafe { ram::put(at, u64::MAX >> (64 - cpus())) };
}
fn begin_offsets(at: u64) {
    let regions = kernel().platform.regions();
    let areas = regions.percpu_areas().chain(core::iter::repeat(regions.percpu.start));
    for (cpu, area) in (0..u64::from(CPUS_MAX)).zip(areas) {
        // SAFETY: `data::place` gives room for so many.
        unsafe { ram::put(at + 8 * cpu, area) };
    }
}
/// Row `n` of 64 has bit `n - 1` set in its first word.
fn begin_bits(at: u64) {
    let row = u64::from(CPUS_MAX) / 8;
    for bit in 0..64 {
        // SAFETY: `data::place` gives 65 rows.
        unsafe { ram::put(at + (bit + 1) * row, 1u64 << bit) };
    }
}
fn begin_all(at: u64) {
    // SAFETY: `data::place` gives a whole mask.
    unsafe { ram::fill(at, 0xff, u64::from(CPUS_MAX) / 8) };
}

const MASK: u64 = CPUS_MAX as u64 / 8;

variables! {
    POSSIBLE "__cpu_possible_mask" MASK, Begin::With(begin_mask);
    ONLINE "__cpu_online_mask" MASK, Begin::With(begin_mask);
    PRESENT "__cpu_present_mask" MASK, Begin::With(begin_mask);
    ACTIVE "__cpu_active_mask" MASK, Begin::With(begin_mask);
    DYING "__cpu_dying_mask" MASK, Begin::Zero;
    ALL "cpu_all_bits" MASK, Begin::With(begin_all);
    BITS "cpu_bit_bitmap" MASK * 65, Begin::With(begin_bits);
    COUNT "nr_cpu_ids" 4, Begin::With(begin_count);
    NUMBER_ONLINE "__num_online_cpus" 4, Begin::With(begin_count);
    OFFSETS "__per_cpu_offset" CPUS_MAX as u64 * 8, Begin::With(begin_offsets);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __bitmap_and, c __bitmap_or, c __bitmap_xor, c __bitmap_andnot, c __bitmap_complement, c __bitmap_replace,
    c __bitmap_equal, c __bitmap_subset, c __bitmap_intersects, c __bitmap_or_equal, c __bitmap_weight, c __bitmap_weight_and,
    c __bitmap_set, c __bitmap_clear, c __bitmap_shift_left, c __bitmap_shift_right, c bitmap_cut, c _find_first_bit,
    c _find_first_zero_bit, c _find_next_bit, c _find_next_zero_bit, c _find_last_bit, c _find_next_and_bit,
    c _find_first_and_bit, c _find_next_andnot_bit, c _find_next_or_bit, c __find_nth_bit, c __find_nth_and_bit,
    c find_next_clump8, c bitmap_find_next_zero_area_off, c bitmap_find_free_region, c bitmap_release_region,
    c bitmap_allocate_region, c bitmap_alloc, c bitmap_zalloc, c bitmap_alloc_node = bitmap_alloc,
    c bitmap_zalloc_node = bitmap_zalloc, c bitmap_free, c bitmap_from_arr32, c bitmap_to_arr32, c bitmap_parselist,
    c bitmap_parse, c bitmap_parselist_user, c bitmap_parse_user, c bitmap_print_to_pagebuf, c alloc_cpumask_var_node,
    c zalloc_cpumask_var_node, c free_cpumask_var, c cpumask_local_spread, c cpumask_next_wrap,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_and_tails() {
        let (one, other) = ([u64::MAX, 0b1100], [u64::MAX, 0b1010]);
        let at = |words: &[u64; 2]| words.as_ptr() as u64;
        let mut to = [0u64; 2];
        let out = to.as_mut_ptr() as u64;
        assert!(__bitmap_and(out, at(&one), at(&other), 68));
        assert_eq!(to[1], 0b1000);
        assert!(!__bitmap_andnot(out, at(&one), at(&other), 66), "bit 66 does not count");
        assert!(__bitmap_equal(at(&one), at(&other), 65));
        assert!(!__bitmap_equal(at(&one), at(&other), 68));
        assert!(__bitmap_subset(at(&one), at(&other), 66));
        __bitmap_shift_left(out, at(&other), 1, 68);
        assert_eq!(to, [u64::MAX - 1, 0b0101]);
        __bitmap_shift_right(out, at(&other), 65, 68);
        assert_eq!(to, [0b101, 0]);
        bitmap_cut(out, at(&[0b1111_0000, 0]), 2, 4, 64);
        assert_eq!(to[0], 0b1100);
    }

    #[test]
    fn regions() {
        let mut map = [0b11u64];
        let at = map.as_mut_ptr() as u64;
        assert_eq!(bitmap_find_free_region(at, 64, 2), 4);
        assert_eq!(map[0], 0b1111_0011);
        assert_eq!(bitmap_allocate_region(at, 4, 1), -16);
        bitmap_release_region(at, 4, 2);
        let mut long = [u64::MAX; 3];
        __bitmap_clear(long.as_mut_ptr() as u64, 60, 70);
        assert_eq!(long, [u64::MAX >> 4, 0, u64::MAX << 2]);
        __bitmap_set(long.as_mut_ptr() as u64, 60, 70);
        assert_eq!(long, [u64::MAX; 3]);
        __bitmap_clear(long.as_mut_ptr() as u64, 64, 0);
        assert_eq!(long, [u64::MAX; 3]);
        assert_eq!(map[0], 0b11);
        assert_eq!(bitmap_find_free_region(at, 4, 2), -12);
    }

    #[test]
    fn halves() {
        let mut map = [u64::MAX; 2];
        bitmap_from_arr32(map.as_mut_ptr() as u64, [1u32, 2, 3].as_ptr() as u64, 70);
        assert_eq!(map, [2 << 32 | 1, 3]);
        let mut back = [9u32; 3];
        bitmap_to_arr32(back.as_mut_ptr() as u64, map.as_ptr() as u64, 70);
        assert_eq!(back, [1, 2, 3]);
    }
}
