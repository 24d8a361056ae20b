//! Scalable bitmaps: words of bits, of which those given back are noted beside until somebody looks for a free one.

use ferrmod_kernel::Errno;

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

/// `int sbitmap_get(struct sbitmap *)`: a free bit, which is taken then; -1 when there is none.
extern "C" fn sbitmap_get(at: u64) -> i32 {
    // SAFETY: the caller's bitmap.
    unsafe {
        let shift = sbitmap::shift.get::<u32>(at) & 31;
        for (number, (place, bits)) in words(at).enumerate() {
            let cleared: u64 = sbitmap_word::cleared.get(place);
            let taken = sbitmap_word::word.get::<u64>(place) & !cleared;
            sbitmap_word::cleared.set(place, 0u64);
            let free = (!taken).trailing_zeros();
            if free < bits {
                sbitmap_word::word.set(place, taken | 1 << free);
                return ((number as u32) << shift | free) as i32;
            }
            sbitmap_word::word.set(place, taken);
        }
    }
    -1
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
