//! The public half of RSA: what a signature was made of.
//!
//! Only public numbers pass through here, so that nothing need be hidden by constant time, and the exponent is small. What the
//! general crates do in a millisecond takes a fifteenth of it this way, and a fiftieth with a vector unit for it; a kernel verifies
//! every module it loads.

use alloc::vec::Vec;

#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod vector;

/// Limbs of the longest modulus that is taken: 8192 bits, so that a made-up key cannot keep anybody busy for long.
const LONGEST: usize = 128;
/// Bits of the shortest modulus, which has room for a padded SHA-512 digest or is refused.
const SHORTEST_BITS: u32 = 512;

/// An RSA key, ready for use. Having one tells you that the modulus is odd, from 512 to 8192 bits long, and the exponent
/// odd, greater than 1 and less than 2^64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    /// The modulus n, least significant limb first.
    modulus: Vec<u64>,
    /// R² mod n, where R is 2 to the bits of all limbs.
    square: Vec<u64>,
    /// -1/n mod 2^64.
    inverse: u64,
    exponent: u64,
    bits: u32,
    /// The same for the processor's vector unit.
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    wide: Option<vector::Wide>,
}

/// `accumulator += numbers * factor`; the carry.
fn add_product(accumulator: &mut [u64], numbers: &[u64], factor: u64) -> u64 {
    let mut carry = 0;
    for (limb, &number) in accumulator.iter_mut().zip(numbers) {
        let sum = u128::from(number) * u128::from(factor) + u128::from(*limb) + u128::from(carry);
        *limb = sum as u64;
        carry = (sum >> 64) as u64;
    }
    carry
}

/// `accumulator += numbers * (first + second * 2^64) + carry`; the carry. The accumulator has one limb more than the numbers. Two rows
/// at once take two thirds of the time of one after the other.
fn add_products(accumulator: &mut [u64], numbers: &[u64], first: u64, second: u64, carry: u64) -> u128 {
    let Some((last, limbs)) = accumulator.split_last_mut() else { return carry.into() };
    let (mut low, mut high, mut before) = (carry, 0, 0u64);
    for (limb, &number) in limbs.iter_mut().zip(numbers) {
        let sum = u128::from(number) * u128::from(first) + u128::from(*limb) + u128::from(low);
        low = (sum >> 64) as u64;
        let sum = u128::from(before) * u128::from(second) + u128::from(sum as u64) + u128::from(high);
        high = (sum >> 64) as u64;
        *limb = sum as u64;
        before = number;
    }
    // The largest product leaves room for one limb, but not for three: the carry may be 2^64.
    let (partial, overflowed) = last.overflowing_add(low);
    let sum = u128::from(before) * u128::from(second) + u128::from(partial) + u128::from(high);
    *last = sum as u64;
    (sum >> 64) + u128::from(overflowed)
}

/// `numbers += carry`; what does not fit.
fn add_carry(numbers: &mut [u64], mut carry: u128) -> u128 {
    for limb in numbers {
        if carry == 0 {
            break;
        }
        let (sum, overflowed) = limb.overflowing_add(carry as u64);
        *limb = sum;
        carry = (carry >> 64) + u128::from(overflowed);
    }
    carry
}

/// `numbers * 2`; the bit that falls out.
fn double(numbers: &mut [u64]) -> u64 {
    let mut carry = 0;
    for limb in numbers {
        let next = *limb >> 63;
        *limb = *limb << 1 | carry;
        carry = next;
    }
    carry
}

fn is_less(left: &[u64], right: &[u64]) -> bool {
    left.iter().rev().lt(right.iter().rev())
}

fn subtract(left: &mut [u64], right: &[u64]) {
    let mut borrow = false;
    for (limb, &other) in left.iter_mut().zip(right) {
        let (difference, first) = limb.overflowing_sub(other);
        let (difference, second) = difference.overflowing_sub(borrow.into());
        *limb = difference;
        borrow = first || second;
    }
}

/// Big-endian bytes as `count` limbs; `None` when they do not fit.
fn limbs(bytes: &[u8], count: usize) -> Option<Vec<u64>> {
    let mut out = Vec::with_capacity(count);
    for chunk in bytes.rchunks(8) {
        let limb = chunk.iter().fold(0, |limb, &byte| limb << 8 | u64::from(byte));
        if out.len() < count {
            out.push(limb);
        } else if limb != 0 {
            return None;
        }
    }
    out.resize(count, 0);
    Some(out)
}

impl RsaKey {
    /// A key from its two numbers, big-endian. `None` when they are none that is taken.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let strip = |bytes: &[u8]| bytes.iter().position(|&byte| byte != 0).map_or(bytes.len(), |zeros| zeros);
        let modulus = modulus.get(strip(modulus)..)?;
        let exponent = exponent.get(strip(exponent)..).filter(|bytes| bytes.len() <= 8)?;
        let exponent = exponent.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let count = modulus.len().div_ceil(8);
        if count > LONGEST || modulus.last().is_none_or(|low| low % 2 == 0) || exponent < 3 || exponent % 2 == 0 {
            return None;
        }
        let modulus = limbs(modulus, count)?;
        let bits = 64 * count as u32 - modulus.last()?.leading_zeros();
        if bits < SHORTEST_BITS {
            return None;
        }
        // Newton's iteration: each step doubles the bits that are right, and an odd number is its own inverse to three bits.
        let low = *modulus.first()?;
        let inverse = (0..5).fold(low, |x, _| x.wrapping_mul(2u64.wrapping_sub(low.wrapping_mul(x)))).wrapping_neg();
        let mut key = Self {
            modulus,
            square: Vec::new(),
            inverse,
            exponent,
            bits,
            #[cfg(all(feature = "simd", target_arch = "x86_64"))]
            wide: None,
        };
        key.square = key.square_of_r();
        #[cfg(all(feature = "simd", target_arch = "x86_64"))]
        {
            key.wide = vector::Wide::new(&key.modulus, inverse, |exponent| key.power_of_two(exponent));
        }
        Some(key)
    }

    /// Bits of the modulus.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Bytes of the modulus, and so of a signature.
    pub fn bytes(&self) -> usize {
        self.bits.div_ceil(8) as usize
    }

    /// R² mod n: R mod n by doubling from the highest power of two below n, then 2^count · R the same way, then squarings, each of
    /// which doubles the power of two: 2^(64 · count) · R.
    fn square_of_r(&self) -> Vec<u64> {
        let count = self.modulus.len();
        let mut number = alloc::vec![0; count];
        let top = self.bits as usize - 1;
        if let Some(limb) = number.get_mut(top / 64) {
            *limb = 1 << (top % 64);
        }
        self.double(&mut number, 64 * count - top + count);
        let mut wide = alloc::vec![0; 2 * count];
        for _ in 0..64u32.trailing_zeros() {
            self.square(&mut number, &mut wide);
        }
        number
    }

    /// `number = number * 2^times mod n`, where number is less than n.
    fn double(&self, number: &mut [u64], times: usize) {
        for _ in 0..times {
            if double(number) != 0 || !is_less(number, &self.modulus) {
                subtract(number, &self.modulus);
            }
        }
    }

    /// 2^exponent mod n, for exponents from that of R² on.
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    fn power_of_two(&self, exponent: usize) -> Vec<u64> {
        let mut number = self.square.clone();
        self.double(&mut number, exponent.saturating_sub(2 * 64 * self.modulus.len()));
        number
    }

    /// `number = number² / R mod n`.
    fn square(&self, number: &mut [u64], wide: &mut [u64]) {
        let count = number.len();
        wide.fill(0);
        // Products of two different limbs occur twice, so they are made once and doubled.
        let mut rest: &[u64] = number;
        let mut at = 1;
        while let [first, second, tail @ ..] = rest {
            let Some((start, wide)) = wide.get_mut(at..).and_then(<[u64]>::split_first_mut) else { break };
            let product = u128::from(*first) * u128::from(*second) + u128::from(*start);
            *start = product as u64;
            if let Some((rows, over)) = wide.split_at_mut_checked(tail.len() + 1) {
                let carry = add_products(rows, tail, *first, *second, (product >> 64) as u64);
                if let Some(over) = over.first_mut() {
                    *over = carry as u64;
                }
            }
            rest = tail;
            at += 4;
        }
        double(wide);
        let mut carry = 0u64;
        for (pair, &limb) in wide.as_chunks_mut::<2>().0.iter_mut().zip(&*number) {
            let product = u128::from(limb) * u128::from(limb);
            let sum = u128::from(pair[0]) + u128::from(product as u64) + u128::from(carry);
            pair[0] = sum as u64;
            let sum = u128::from(pair[1]) + (product >> 64) + (sum >> 64);
            pair[1] = sum as u64;
            carry = (sum >> 64) as u64;
        }
        self.reduce(wide, number);
        debug_assert_eq!(number.len(), count);
    }

    /// `number = number * factor / R mod n`.
    fn multiply(&self, number: &mut [u64], factor: &[u64], wide: &mut [u64]) {
        let count = number.len();
        wide.fill(0);
        let (pairs, last) = number.as_chunks::<2>();
        for (at, &[first, second]) in (0..).step_by(2).zip(pairs) {
            if let Some((rows, rest)) = wide.get_mut(at..).and_then(|wide| wide.split_at_mut_checked(count + 1)) {
                let over = add_products(rows, factor, first, second, 0);
                // Nothing was there yet, and a product of so many limbs has no more.
                if let Some(carry) = rest.first_mut() {
                    *carry = over as u64;
                }
            }
        }
        if let [limb] = last
            && let Some((row, carry)) = wide.get_mut(count - 1..).and_then(|wide| wide.split_at_mut_checked(count))
        {
            let over = add_product(row, factor, *limb);
            if let Some(carry) = carry.first_mut() {
                *carry = over;
            }
        }
        self.reduce(wide, number);
    }

    /// `out = wide / R mod n` (Montgomery); `wide` is used up.
    fn reduce(&self, wide: &mut [u64], out: &mut [u64]) {
        let count = self.modulus.len();
        let (mut over, mut at) = (0, 0);
        while at < count {
            let Some(part) = wide.get_mut(at..) else { return };
            let carry = match (part, &*self.modulus) {
                ([limb0, limb1, ..], [low0, low1, ..]) if at + 1 < count => {
                    let first = limb0.wrapping_mul(self.inverse);
                    // The second limb as it will be when the first row is in.
                    let carry = (u128::from(first) * u128::from(*low0) + u128::from(*limb0)) >> 64;
                    let limb1 = first.wrapping_mul(*low1).wrapping_add(*limb1).wrapping_add(carry as u64);
                    let second = limb1.wrapping_mul(self.inverse);
                    let Some((rows, rest)) = wide.get_mut(at..).and_then(|wide| wide.split_at_mut_checked(count + 1))
                    else {
                        return;
                    };
                    let carry = add_products(rows, &self.modulus, first, second, 0);
                    at += 2;
                    add_carry(rest, carry)
                }
                ([limb0, ..], modulus) => {
                    let factor = limb0.wrapping_mul(self.inverse);
                    let Some((row, rest)) = wide.get_mut(at..).and_then(|wide| wide.split_at_mut_checked(count)) else {
                        return;
                    };
                    let carry = add_product(row, modulus, factor);
                    at += 1;
                    add_carry(rest, carry.into())
                }
                _ => return,
            };
            over += carry;
        }
        if let Some(high) = wide.get(count..) {
            out.copy_from_slice(high);
        }
        if over != 0 || !is_less(out, &self.modulus) {
            subtract(out, &self.modulus);
        }
    }

    /// `signature` to the power of the exponent modulo n: what was signed, padded, as many bytes as [`RsaKey::bytes`].
    /// `None` when the signature is not of that length or not less than the modulus.
    pub fn open(&self, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() != self.bytes() {
            return None;
        }
        let count = self.modulus.len();
        let base = limbs(signature, count).filter(|base| is_less(base, &self.modulus))?;
        #[cfg(all(feature = "simd", target_arch = "x86_64"))]
        if let Some(mut power) = self.wide.as_ref().and_then(|wide| wide.power(&base, self.exponent)) {
            let over = power.pop()?;
            if over != 0 || !is_less(&power, &self.modulus) {
                subtract(&mut power, &self.modulus);
            }
            return self.padded(&power);
        }
        self.padded(&self.power(&base))
    }

    /// A number as bytes, as many as the modulus has.
    fn padded(&self, number: &[u64]) -> Option<Vec<u8>> {
        let mut bytes: Vec<u8> = number.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
        Some(bytes.split_off(bytes.len().checked_sub(self.bytes())?))
    }

    /// `base` to the power of the exponent modulo n; `base` is less than n.
    fn power(&self, base: &[u64]) -> Vec<u64> {
        let count = self.modulus.len();
        let mut wide = alloc::vec![0; 2 * count];
        let mut in_form = base.to_vec();
        self.multiply(&mut in_form, &self.square, &mut wide);
        let mut power = in_form.clone();
        // From the second highest bit of the exponent to the second lowest.
        for bit in (1..self.exponent.ilog2()).rev() {
            self.square(&mut power, &mut wide);
            if self.exponent >> bit & 1 != 0 {
                self.multiply(&mut power, &in_form, &mut wide);
            }
        }
        self.square(&mut power, &mut wide);
        // The exponent is odd; the base as it was takes the number out of Montgomery's form.
        self.multiply(&mut power, base, &mut wide);
        power
    }

    /// The digest that `signature` was made over, by PKCS#1 v1.5 (RFC 8017, 8.2.2); `info` is the digest's `DigestInfo` up to the
    /// digest, whose last byte is the digest's length. `None` when this key did not make the signature, or over another kind of
    /// digest.
    pub fn signed(&self, info: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
        let mut opened = self.open(signature)?;
        let digest = usize::from(*info.last()?);
        let padding = opened.len().checked_sub(info.len() + digest + 3).filter(|&padding| padding >= 8)?;
        let expected = [0, 1].into_iter().chain(core::iter::repeat_n(0xff, padding)).chain([0]);
        let digest = opened.split_off(opened.len() - digest);
        expected.chain(info.iter().copied()).eq(opened).then_some(digest)
    }
}

#[cfg(all(test, feature = "sign"))]
mod tests {
    use ferrmod_tests::random::Random;
    use rsa::BigUint;

    use super::*;

    #[test]
    fn powers_are_those_of_another_implementation() {
        let mut numbers = Random::new(0x9e37_79b9_7f4a_7c15);
        for round in 0..300 {
            let length = 64 + numbers.next() as usize % if round % 10 == 0 { 960 } else { 200 };
            let mut modulus = numbers.bytes(length);
            modulus[0] = match round % 4 {
                0 => 0xff,
                1 => 1,
                _ => modulus[0] | 1,
            };
            if round % 3 == 0 {
                // Limbs of ones and zeroes, where carries go far.
                let at = length / 3;
                let end = 2 * length / 3;
                modulus[at..end].fill(if round % 2 == 0 { 0xff } else { 0 });
            }
            *modulus.last_mut().unwrap() |= 1;
            let exponent = match round % 5 {
                0 => 3,
                1 => 17,
                2 => numbers.next() | 1 | 1 << 63,
                _ => 65537,
            };
            let Some(key) = RsaKey::new(&modulus, &exponent.to_be_bytes()) else {
                assert!(length == 64 && modulus[0] < 0x80, "{length} {:x}", modulus[0]);
                continue;
            };
            let n = BigUint::from_bytes_be(&modulus);
            assert_eq!(key.bits() as usize, n.bits());
            let base = match round % 7 {
                0 => &n - 1u32,
                1 => BigUint::from(round as u32),
                _ => BigUint::from_bytes_be(&numbers.bytes(length)) % &n,
            };
            let padded = |number: &BigUint| {
                let bytes = number.to_bytes_be();
                let bytes = if *number == BigUint::from(0u32) { Vec::new() } else { bytes };
                [alloc::vec![0; key.bytes() - bytes.len()], bytes].concat()
            };
            let power = padded(&base.modpow(&BigUint::from(exponent), &n));
            // With the vector unit, where there is one, and without.
            assert_eq!(key.open(&padded(&base)).as_ref(), Some(&power), "{round}");
            let limbs = limbs(&padded(&base), key.modulus.len()).unwrap();
            assert_eq!(key.padded(&key.power(&limbs)), Some(power), "{round}");
            assert_eq!(key.open(&padded(&n)), None);
        }
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let odd = [0xff; 256];
        assert!(RsaKey::new(&odd, &[1, 0, 1]).is_some());
        assert!(RsaKey::new(&[&[0][..], &odd].concat(), &[0, 0, 3]).is_some());
        let mut even = odd;
        even[255] = 0xfe;
        let cases: [(&[u8], &[u8]); 9] = [
            (&even, &[3]),
            (&odd, &[]),
            (&odd, &[0]),
            (&odd, &[1]),
            (&odd, &[2]),
            (&odd, &[1; 9]),
            (&[], &[3]),
            (&[0xff; 63], &[3]),
            (&[0xff; 1025], &[3]),
        ];
        for (modulus, exponent) in cases {
            assert_eq!(RsaKey::new(modulus, exponent), None);
        }
    }

    #[test]
    fn padding_is_looked_at_to_the_byte() {
        // With an exponent of 1 everything would be its own signature; 3 and a number whose cube is less than the modulus do as
        // well: what is opened is the cube.
        let key = RsaKey::new(&[0xff; 128], &[3]).unwrap();
        let mut signature = alloc::vec![0; 128];
        signature[127] = 2;
        assert_eq!(key.signed(Digest::Sha256.info(), &signature), None);
        assert_eq!(key.open(&signature).unwrap().last(), Some(&8));
    }

    use crate::Digest;
}
