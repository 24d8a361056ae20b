//! Scalable bitmaps: words of bits, of which those given back are noted beside until somebody looks for a free one.

use alloc::vec::Vec;

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{percpu, ram, slab};

layout! {
    mod sbitmap = "sbitmap" { depth, shift, map_nr, round_robin, map, alloc_hint }
    mod sbitmap_word = "sbitmap_word" { word, cleared }
}

/// Bits of a word of the largest kind.
const LARGEST: u32 = 6;

/// `int sbitmap_init_node(struct sbitmap *, unsigned int depth, int shift, gfp_t, int node, bool round_robin, bool alloc_hint)`: the
/// last argument lies on the stack.
extern "C" fn sbitmap_init_node(
    at: u64,
    depth: u32,
    shift: i32,
    _flags: u32,
    _node: i32,
    in_turn: bool,
    hints: bool,
) -> i32 {
    let caller = ram::caller();
    let shift = u32::try_from(shift).unwrap_or_else(|_| spread(depth));
    if shift > LARGEST {
        return Errno::EINVAL.to_return();
    }
    let words = depth.div_ceil(1 << shift);
    // SAFETY: the caller's bitmap, which may be overwritten.
    unsafe {
        ram::fill(at, 0, sbitmap::SIZE.get());
        sbitmap::depth.set(at, depth);
        sbitmap::shift.set(at, shift);
        sbitmap::map_nr.set(at, words);
        sbitmap::round_robin.set(at, in_turn);
        if depth == 0 {
            return 0;
        }
        let map = slab::allocate(u64::from(words) * sbitmap_word::SIZE.get(), 64, slab::ZERO, caller);
        let hint = if hints { percpu::allocate(4, 4, caller) } else { 0 };
        if map == 0 || hints && hint == 0 {
            slab::release(map, caller);
            percpu::release(hint, caller);
            return Errno::ENOMEM.to_return();
        }
        sbitmap::map.set(at, map);
        sbitmap::alloc_hint.set(at, hint);
    }
    0
}

/// The bits of a word, so that a bitmap of this depth has several.
fn spread(depth: u32) -> u32 {
    let mut shift = LARGEST;
    if depth >= 4 {
        while 4 << shift > depth {
            shift -= 1;
        }
    }
    shift
}

/// The words with the number of bits that each has.
///
/// # Safety
/// `at` is a bitmap.
unsafe fn words(at: u64) -> impl Iterator<Item = (u64, u32)> {
    // SAFETY: the caller vouches for the bitmap.
    let (map, depth, shift) =
        unsafe { (sbitmap::map.get::<u64>(at), sbitmap::depth.get::<u32>(at), sbitmap::shift.get::<u32>(at) & 31) };
    (0..depth.div_ceil(1 << shift)).map(move |number| {
        let bits = (depth - (number << shift)).min(1 << shift);
        (map + u64::from(number) * sbitmap_word::SIZE.get(), bits)
    })
}

/// In which words a free bit is looked for, and from which bit of each on: first where the hint is, and last before it when bits are
/// given out in turn.
fn way(words: u32, shift: u32, hint: u32, in_turn: bool) -> impl Iterator<Item = (u32, u32)> {
    let first = hint >> shift;
    let begin = if in_turn { hint & ((1 << shift) - 1) } else { 0 };
    let others = (1..words).map(move |step| ((first + step) % words, 0));
    core::iter::once((first, begin)).chain(others).chain((begin > 0).then_some((first, 0)))
}

/// Where the next search begins.
fn next_hint(given: Option<u32>, hint: u32, depth: u32, in_turn: bool) -> u32 {
    let next = given.map_or(0, |bit| if in_turn || bit == hint { bit + 1 } else { hint });
    if next + 1 < depth { next } else { 0 }
}

/// `int sbitmap_get(struct sbitmap *)`: a free bit, which is taken then; -1 when there is none.
extern "C" fn sbitmap_get(at: u64) -> i32 {
    // SAFETY: the caller's bitmap, and the hint of the running processor in its own memory.
    unsafe {
        let (depth, shift) = (sbitmap::depth.get::<u32>(at), sbitmap::shift.get::<u32>(at) & 31);
        let in_turn: bool = sbitmap::round_robin.get::<u8>(at) != 0;
        let hints: u64 = sbitmap::alloc_hint.get(at);
        let place = (hints != 0).then(|| percpu::each(hints).nth(kernel().tasks.cpu() as usize)).flatten();
        let hint = place.map_or(0, |place| ram::get::<u32>(place));
        let hint = if hint < depth { hint } else { 0 };
        let words: Vec<(u64, u32)> = words(at).collect();
        let given = way(words.len() as u32, shift, hint, in_turn).find_map(|(number, from)| {
            let &(word, bits) = words.get(number as usize)?;
            Some(number << shift | take(word, from, bits)?)
        });
        if let Some(place) = place {
            ram::put(place, next_hint(given, hint, depth, in_turn));
        }
        given.map_or(-1, |bit| bit as i32)
    }
}

/// Takes the first free bit of a word from a bit on.
///
/// # Safety
/// `place` is a word of a bitmap.
unsafe fn take(place: u64, from: u32, bits: u32) -> Option<u32> {
    // SAFETY: the caller vouches for the word.
    unsafe {
        let taken = sbitmap_word::word.get::<u64>(place) & !sbitmap_word::cleared.get::<u64>(place);
        let free = (from..bits).find(|bit| taken & 1 << bit == 0);
        sbitmap_word::cleared.set(place, 0u64);
        sbitmap_word::word.set(place, taken | free.map_or(0, |bit| 1 << bit));
        free
    }
}
/// `void sbitmap_resize(struct sbitmap *, unsigned int depth)`: not beyond what it was made for.
extern "C" fn sbitmap_resize(at: u64, depth: u32) {
    // SAFETY: the caller's bitmap.
    unsafe {
        let most = sbitmap::map_nr.get::<u32>(at) << (sbitmap::shift.get::<u32>(at) & 31);
        sbitmap::depth.set(at, depth.min(most));
    }
}
/// `unsigned int sbitmap_weight(const struct sbitmap *)`
extern "C" fn sbitmap_weight(at: u64) -> u32 {
    // SAFETY: the caller's bitmap.
    unsafe {
        words(at)
            .map(|(place, _)| {
                (sbitmap_word::word.get::<u64>(place) & !sbitmap_word::cleared.get::<u64>(place)).count_ones()
            })
            .sum()
    }
}
/// `bool sbitmap_any_bit_set(const struct sbitmap *)`
extern "C" fn sbitmap_any_bit_set(at: u64) -> bool {
    sbitmap_weight(at) != 0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![s1 sbitmap_init_node, c sbitmap_get, c sbitmap_resize, c sbitmap_weight, c sbitmap_any_bit_set];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_goes_on_at_the_hint() {
        let all = |hint, in_turn| way(3, 2, hint, in_turn).collect::<Vec<_>>();
        assert_eq!(all(0, false), [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(all(6, false), [(1, 0), (2, 0), (0, 0)]);
        assert_eq!(all(6, true), [(1, 2), (2, 0), (0, 0), (1, 0)]);
        assert_eq!(way(0, 2, 0, true).collect::<Vec<_>>(), [(0, 0)]);
    }

    #[test]
    fn the_hint_follows_what_was_given() {
        assert_eq!(next_hint(Some(6), 6, 12, false), 7);
        assert_eq!(next_hint(Some(2), 6, 12, false), 6);
        assert_eq!(next_hint(Some(2), 6, 12, true), 3);
        assert_eq!(next_hint(Some(10), 10, 12, true), 0);
        assert_eq!(next_hint(None, 6, 12, true), 0);
    }
}
