//! The same power with a vector unit: AVX-512 multiplies eight numbers of 52 bits at once (IFMA).
//!
//! Numbers are cut into limbs of 52 bits, eight to a vector. A multiplication is Montgomery's, row by row, and compares
//! nothing at its end: with R = 2^(52 · limbs) > 4n, the product of two factors below 2n is below 2n, and if one of them is
//! below n, it is below 3n/2, so that one subtraction ends the last.
//!
//! What the processor can do is asked at run time; where there is no such unit, [`crate::RsaKey`] does without.

use alloc::vec::Vec;
use core::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_alignr_epi64, _mm512_broadcastq_epi64, _mm512_castsi512_si128,
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_maskz_srli_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
};

use fearless_simd::prelude::*;
use fearless_simd::{Level, u64x8};

/// Bits of a limb.
const BITS: usize = 52;
const MASK: u64 = (1 << BITS) - 1;

/// A modulus of at most 4096 bits, cut for the vector unit that this processor has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wide {
    /// Limbs that count; the others of the last vectors are 0.
    limbs: usize,
    modulus: Vec<[u64; 8]>,
    /// R² mod n.
    square: Vec<[u64; 8]>,
    /// -1/n mod 2^52.
    inverse: u64,
}

/// Limbs of 52 bits made of limbs of 64, in `vectors` vectors.
fn cut(limbs: &[u64], vectors: usize) -> Vec<[u64; 8]> {
    let limb = |at: usize| u128::from(limbs.get(at).copied().unwrap_or(0));
    let digit = |at: usize| {
        let (word, bit) = (at * BITS / 64, at * BITS % 64);
        ((limb(word) | limb(word + 1) << 64) >> bit) as u64 & MASK
    };
    (0..vectors).map(|vector| core::array::from_fn(|at| digit(8 * vector + at))).collect()
}

/// The reverse of [`cut`]: `count` limbs of 64 bits.
fn join(digits: &[[u64; 8]], count: usize) -> Vec<u64> {
    let mut out = Vec::with_capacity(count);
    let (mut bits, mut held) = (0u128, 0);
    for &digit in digits.as_flattened() {
        bits |= u128::from(digit) << held;
        held += BITS;
        if held >= 64 {
            out.push(bits as u64);
            bits >>= 64;
            held -= 64;
        }
    }
    out.resize(count, 0);
    out
}

/// Brings limbs below 2^52, carrying what is above into the next.
fn carry(digits: &mut [[u64; 8]]) {
    let mut over = 0;
    for digit in digits.as_flattened_mut() {
        let sum = *digit + over;
        *digit = sum & MASK;
        over = sum >> BITS;
    }
}

/// The power of numbers of a fixed count of vectors, which then stay in registers.
macro_rules! power {
    ($name:ident, $vectors:literal) => {
        fearless_simd::kernel!(
            fn $name(avx512: Avx512, key: &Wide, base: &[[u64; 8]], exponent: u64) -> Option<Vec<[u64; 8]>> {
                type Number = [[u64; 8]; $vectors];
                let load = |number: &Number| number.map(|limbs| __m512i::from(u64x8::simd_from(avx512, limbs)));
                let modulus = load(key.modulus.as_slice().try_into().ok()?);
                let inverse = _mm512_set1_epi64(key.inverse as i64);
                // `left * right / R mod n`, in the bounds that are told above.
                let multiply = |left: &Number, right: &Number| -> Number {
                    let left = load(left);
                    let mut sum = [_mm512_setzero_si512(); $vectors];
                    for &digit in right.as_flattened().iter().take(key.limbs) {
                        let digit = _mm512_set1_epi64(digit as i64);
                        for (sum, left) in sum.iter_mut().zip(left) {
                            *sum = _mm512_madd52lo_epu64(*sum, left, digit);
                        }
                        // What makes the lowest limb 0 when so many times the modulus is added.
                        let factor = _mm512_madd52lo_epu64(_mm512_setzero_si512(), sum[0], inverse);
                        let factor = _mm512_broadcastq_epi64(_mm512_castsi512_si128(factor));
                        for (sum, modulus) in sum.iter_mut().zip(modulus) {
                            *sum = _mm512_madd52lo_epu64(*sum, modulus, factor);
                        }
                        // It is 0 but for its carry. All limbs move down by one, and with that the upper halves of the
                        // products fit their places. A limb takes in less than 2^54 at each step, and leaves after at most 80.
                        let carry = _mm512_maskz_srli_epi64::<52>(1, sum[0]);
                        for at in 0..$vectors {
                            let next = if at + 1 < $vectors { sum[at + 1] } else { _mm512_setzero_si512() };
                            sum[at] = _mm512_alignr_epi64::<1>(next, sum[at]);
                        }
                        sum[0] = _mm512_add_epi64(sum[0], carry);
                        for ((sum, left), modulus) in sum.iter_mut().zip(left).zip(modulus) {
                            *sum = _mm512_madd52hi_epu64(*sum, left, digit);
                            *sum = _mm512_madd52hi_epu64(*sum, modulus, factor);
                        }
                    }
                    let mut out = sum.map(|limbs| <[u64; 8]>::from(u64x8::simd_from(avx512, limbs)));
                    carry(&mut out);
                    out
                };
                let base: &Number = base.try_into().ok()?;
                let in_form = multiply(base, key.square.as_slice().try_into().ok()?);
                let mut power = in_form;
                for bit in (1..exponent.ilog2()).rev() {
                    power = multiply(&power, &power);
                    if exponent >> bit & 1 != 0 {
                        power = multiply(&power, &in_form);
                    }
                }
                power = multiply(&power, &power);
                // The exponent is odd; the base as it was takes the number out of Montgomery's form.
                Some(multiply(&power, base).to_vec())
            }
        );
    };
}
power!(power_5, 5);
power!(power_8, 8);
power!(power_10, 10);

impl Wide {
    /// The modulus n, with -1/n mod 2^64; `power_of_two` makes 2^k mod n. `None` where the processor has no such unit, and when the
    /// modulus is too long.
    pub(super) fn new(modulus: &[u64], inverse: u64, power_of_two: impl FnOnce(usize) -> Vec<u64>) -> Option<Self> {
        Level::new().as_avx512()?;
        let limbs = (64 * modulus.len() + 2).div_ceil(BITS);
        let vectors = [5, 8, 10].into_iter().find(|&vectors| limbs <= 8 * vectors)?;
        let square = cut(&power_of_two(2 * BITS * limbs), vectors);
        Some(Self { limbs, modulus: cut(modulus, vectors), square, inverse: inverse & MASK })
    }

    /// `base` to the power of `exponent`, which is odd and greater than 1: congruent modulo n, and less than 2n.
    pub(super) fn power(&self, base: &[u64], exponent: u64) -> Option<Vec<u64>> {
        let avx512 = Level::new().as_avx512()?;
        let digits = cut(base, self.modulus.len());
        let power = match self.modulus.len() {
            5 => power_5(avx512, self, &digits, exponent),
            8 => power_8(avx512, self, &digits, exponent),
            _ => power_10(avx512, self, &digits, exponent),
        }?;
        Some(join(&power, base.len() + 1))
    }
}
