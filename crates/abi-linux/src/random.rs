//! Random numbers: the platform's, and a generator that repeats itself.

use ferrmod_kernel::kernel;

use crate::export::{Export, exports};
use crate::ram;

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    kernel().platform.random(&mut bytes);
    bytes
}

extern "C" fn get_random_bytes(to: u64, length: u64) {
    // Through a buffer of our own: the platform does not fault in a module's name.
    let mut buffer = [0; 256];
    for start in (0..length).step_by(buffer.len()) {
        let part = (length - start).min(buffer.len() as u64);
        kernel().platform.random(&mut buffer[..part as usize]);
        // SAFETY: the caller's buffer.
        unsafe { ram::bytes_mut(to + start, part) }.copy_from_slice(&buffer[..part as usize]);
    }
}
extern "C" fn get_random_bytes_arch(to: u64, length: u64) -> u64 {
    get_random_bytes(to, length);
    length
}
extern "C" fn get_random_u8() -> u8 {
    random::<1>()[0]
}
extern "C" fn get_random_u16() -> u16 {
    u16::from_le_bytes(random())
}
extern "C" fn get_random_u32() -> u32 {
    u32::from_le_bytes(random())
}
extern "C" fn get_random_u64() -> u64 {
    u64::from_le_bytes(random())
}

/// `u32 __get_random_u32_below(u32 ceil)`: every number below the ceiling is as likely as any other; 0 means all of them.
extern "C" fn __get_random_u32_below(ceiling: u32) -> u32 {
    below(ceiling, || get_random_u32())
}

/// Lemire's method: multiply, and draw again in the part that would favour some.
fn below(ceiling: u32, mut draw: impl FnMut() -> u32) -> u32 {
    if ceiling == 0 {
        return draw();
    }
    let unfair = ceiling.wrapping_neg() % ceiling;
    loop {
        let product = u64::from(draw()) * u64::from(ceiling);
        if product as u32 >= unfair {
            return (product >> 32) as u32;
        }
    }
}

/// The platform's randomness is there from the start.
extern "C" fn rng_is_initialized() -> bool {
    true
}
extern "C" fn wait_for_random_bytes() -> i32 {
    0
}
/// `int execute_with_initialized_rng(struct notifier_block *)`: at once.
extern "C" fn execute_with_initialized_rng(block: u64) -> i32 {
    // SAFETY: the caller's block; its function is the first member in every kernel.
    unsafe { ram::call(ram::get(block), [block, 0, 0]) };
    0
}
/// What a module knows that is random adds nothing to the platform's.
extern "C" fn add_randomness() {}

/// L'Ecuyer's LFSR113, which `prandom` is: four words of state.
fn step(state: [u32; 4]) -> [u32; 4] {
    let shift = |word: u32, a: u32, b: u32, mask: u32, d: u32| (word & mask) << d ^ (word << a ^ word) >> b;
    [
        shift(state[0], 6, 13, !1, 18),
        shift(state[1], 2, 27, !7, 2),
        shift(state[2], 13, 21, !15, 7),
        shift(state[3], 3, 12, !127, 13),
    ]
}

fn next_of(state: u64) -> u32 {
    // SAFETY: the caller's `struct rnd_state`, four words.
    unsafe {
        let words = step(ram::get(state));
        ram::put(state, words);
        words.iter().fold(0, |sum, word| sum ^ word)
    }
}
/// `u32 prandom_u32_state(struct rnd_state *)`
extern "C" fn prandom_u32_state(state: u64) -> u32 {
    next_of(state)
}
/// `void prandom_bytes_state(struct rnd_state *, void *, size_t)`
extern "C" fn prandom_bytes_state(state: u64, to: u64, length: u64) {
    for start in (0..length).step_by(4) {
        let part = (length - start).min(4);
        let bytes = next_of(state).to_le_bytes();
        // SAFETY: the caller's buffer.
        unsafe { ram::bytes_mut(to + start, part) }.copy_from_slice(&bytes[..part as usize]);
    }
}
/// `void prandom_seed_full_state(struct rnd_state __percpu *)`
extern "C" fn prandom_seed_full_state(offset: u64) {
    for area in kernel().platform.regions().percpu_areas() {
        let state = area + offset;
        // The generator wants each word above a bound.
        let words: [u32; 4] = [2, 8, 16, 128].map(|least| get_random_u32() | least);
        // SAFETY: the caller's per-CPU variable on each CPU.
        unsafe { ram::put(state, words) };
        for _ in 0..10 {
            next_of(state);
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c get_random_bytes, c get_random_bytes_arch, c get_random_u8, c get_random_u16, c get_random_u32, c get_random_u64,
    c __get_random_u32_below, k rng_is_initialized, k wait_for_random_bytes, c execute_with_initialized_rng,
    k add_device_randomness = add_randomness, k add_interrupt_randomness = add_randomness,
    k add_input_randomness = add_randomness, k add_hwgenerator_randomness = add_randomness,
    k add_disk_randomness = add_randomness, c prandom_u32_state, c prandom_bytes_state, c prandom_seed_full_state,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_fair() {
        let mut counts = [0; 7];
        // Numbers all over the range, evenly.
        let mut words = (0..u32::MAX).step_by(1 << 20);
        for _ in 0..4090 {
            counts[below(7, || words.next().unwrap()) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (580..=590).contains(&count)), "{counts:?}");
        assert_eq!(below(1, || 12345), 0);
        assert_eq!(below(0, || 12345), 12345);
    }

    #[test]
    fn the_generator_repeats_itself() {
        let mut state = [2u32, 8, 16, 128];
        let at = state.as_mut_ptr() as u64;
        let first: [u32; 3] = [0; 3].map(|_: i32| prandom_u32_state(at));
        state = [2, 8, 16, 128];
        let again: [u32; 3] = [0; 3].map(|_: i32| prandom_u32_state(state.as_mut_ptr() as u64));
        assert_eq!(first, again);
        let mut bytes = [0u8; 6];
        state = [2, 8, 16, 128];
        prandom_bytes_state(state.as_mut_ptr() as u64, bytes.as_mut_ptr() as u64, 6);
        assert_eq!(bytes[..4], first[0].to_le_bytes());
        assert_eq!(bytes[4..], first[1].to_le_bytes()[..2]);
    }
}
