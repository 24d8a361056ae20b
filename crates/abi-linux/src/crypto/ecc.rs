//! Elliptic curves over prime fields, for kernels that have them built in: the calls of `ecdh_generic` and `ecrdsa_generic`.
//!
//! Numbers are little-endian arrays of 64-bit digits, as Linux keeps them. The arithmetic is Montgomery's for any odd prime and
//! makes no attempt to take the same time for every key.

use ferrmod_kernel::{Errno, kernel};

use super::code;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod ecc_point = "ecc_point" { x, y, ndigits }
    mod ecc_curve = "ecc_curve" { p, n, a, b }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c ecc_is_key_valid, c ecc_gen_privkey, c ecc_make_pub_key, c crypto_ecdh_shared_secret, c ecc_is_pubkey_valid_partial,
    c ecc_digits_from_bytes, c ecc_point_mult_shamir, c ecc_point_is_zero, c vli_cmp, c vli_from_be64, c vli_from_le64,
    c vli_is_zero, c vli_mod_inv, c vli_mod_mult_slow, c vli_sub, c vli_num_bits,
];

/// `ECC_MAX_DIGITS`
const MOST: usize = 9;

/// A number of up to [`MOST`] digits; those beyond the ones in use are 0.
type Number = [u64; MOST];

/// A named curve (FIPS 186-4, D.1.2): p, b, the order, and the generator. The coefficient a is -3.
struct Named {
    digits: usize,
    p: &'static str,
    b: &'static str,
    n: &'static str,
    g: [&'static str; 2],
}

/// `ECC_CURVE_NIST_P192`, `_P256`, `_P384`: numbered from 1.
static CURVES: [Named; 3] = [
    Named {
        digits: 3,
        p: "fffffffffffffffffffffffffffffffeffffffffffffffff",
        b: "64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1",
        n: "ffffffffffffffffffffffff99def836146bc9b1b4d22831",
        g: ["188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012", "07192b95ffc8da78631011ed6b24cdd573f977a11e794811"],
    },
    Named {
        digits: 4,
        p: "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        b: "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
        n: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        g: [
            "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
            "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        ],
    },
    Named {
        digits: 6,
        p: "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
        b: "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
        n: "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        g: [
            "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
            "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
        ],
    },
];

/// A constant written in hexadecimal, the highest digit first.
fn constant(text: &str) -> Number {
    let mut number = [0; MOST];
    for (place, digit) in text.bytes().rev().enumerate() {
        let value = (digit as char).to_digit(16).unwrap_or(0);
        number[place / 16] |= u64::from(value) << (4 * (place % 16));
    }
    number
}

fn compare(one: &Number, other: &Number) -> core::cmp::Ordering {
    one.iter().rev().cmp(other.iter().rev())
}

/// `one - other`, and whether it was less than 0.
fn subtract(one: &Number, other: &Number) -> (Number, bool) {
    let (mut result, mut borrow) = ([0; MOST], false);
    for (place, digit) in result.iter_mut().enumerate() {
        let (first, under) = one[place].overflowing_sub(other[place]);
        let (second, again) = first.overflowing_sub(u64::from(borrow));
        (*digit, borrow) = (second, under || again);
    }
    (result, borrow)
}

fn bit(number: &Number, at: usize) -> bool {
    number[at / 64] >> (at % 64) & 1 == 1
}

/// Arithmetic modulo an odd number, on values times 2^(64 digits) (Montgomery's form).
struct Field {
    modulus: Number,
    digits: usize,
    /// -1 / modulus, modulo 2^64.
    inverse: u64,
    /// 2^(128 digits) modulo the modulus.
    square: Number,
}

impl Field {
    /// `None` for an even modulus, and for 1.
    fn new(modulus: Number, digits: usize) -> Option<Self> {
        if modulus[0] & 1 == 0 || modulus[0] == 1 && modulus[1..] == [0; MOST - 1] || digits == 0 || digits > MOST {
            return None;
        }
        let mut inverse = 1u64;
        for _ in 0..6 {
            // Newton's step doubles the number of right bits.
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(modulus[0].wrapping_mul(inverse)));
        }
        let mut field = Self { modulus, digits, inverse: inverse.wrapping_neg(), square: [0; MOST] };
        let mut power = [0; MOST];
        power[0] = 1;
        for _ in 0..128 * digits {
            power = field.add(&power, &power);
        }
        field.square = power;
        Some(field)
    }

    fn add(&self, one: &Number, other: &Number) -> Number {
        let (mut sum, mut carry) = ([0; MOST], false);
        for place in 0..self.digits {
            let (first, over) = one[place].overflowing_add(other[place]);
            let (second, again) = first.overflowing_add(u64::from(carry));
            (sum[place], carry) = (second, over || again);
        }
        if carry || compare(&sum, &self.modulus).is_ge() {
            // A carry out of the digits in use is what the borrow takes back.
            let mut less = subtract(&sum, &self.modulus).0;
            less[self.digits..].fill(0);
            return less;
        }
        sum
    }

    fn sub(&self, one: &Number, other: &Number) -> Number {
        let (mut less, borrow) = subtract(one, other);
        if borrow {
            let mut carry = false;
            for (place, digit) in less.iter_mut().enumerate() {
                let (first, over) = digit.overflowing_add(self.modulus[place]);
                let (second, again) = first.overflowing_add(u64::from(carry));
                (*digit, carry) = (second, over || again);
            }
        }
        less
    }

    /// Montgomery's product: `one * other / 2^(64 digits)`.
    fn mul(&self, one: &Number, other: &Number) -> Number {
        let mut sum = [0u64; MOST + 2];
        let row = |sum: &mut [u64; MOST + 2], factor: u64, with: &Number| {
            let mut carry = 0u128;
            for place in 0..self.digits {
                let value = u128::from(sum[place]) + u128::from(factor) * u128::from(with[place]) + carry;
                sum[place] = value as u64;
                carry = value >> 64;
            }
            for digit in &mut sum[self.digits..] {
                let value = u128::from(*digit) + carry;
                *digit = value as u64;
                carry = value >> 64;
            }
        };
        for &digit in &one[..self.digits] {
            row(&mut sum, digit, other);
            let factor = sum[0].wrapping_mul(self.inverse);
            row(&mut sum, factor, &self.modulus);
            sum.copy_within(1.., 0);
            sum[MOST + 1] = 0;
        }
        let mut result = [0; MOST];
        result[..self.digits].copy_from_slice(&sum[..self.digits]);
        if sum[self.digits] != 0 || compare(&result, &self.modulus).is_ge() {
            result = subtract(&result, &self.modulus).0;
            result[self.digits..].fill(0);
        }
        result
    }

    fn enter(&self, value: &Number) -> Number {
        // The product of anything of these digits and a reduced number is reduced.
        self.mul(value, &self.square)
    }

    fn leave(&self, value: &Number) -> Number {
        let mut one = [0; MOST];
        one[0] = 1;
        self.mul(value, &one)
    }

    /// The inverse modulo a prime, by Fermat's theorem; 0 for 0.
    fn invert(&self, value: &Number) -> Number {
        let mut two = [0; MOST];
        two[0] = 2;
        let exponent = subtract(&self.modulus, &two).0;
        let mut one = [0; MOST];
        one[0] = 1;
        let mut result = self.enter(&one);
        for at in (0..64 * self.digits).rev() {
            result = self.mul(&result, &result);
            if bit(&exponent, at) {
                result = self.mul(&result, value);
            }
        }
        result
    }
}

/// A point in Jacobian coordinates (x/z², y/z³), in the field's form; z is 0 at infinity.
#[derive(Clone, Copy)]
struct Point {
    x: Number,
    y: Number,
    z: Number,
}

struct Curve {
    field: Field,
    /// In the field's form.
    a: Number,
    b: Number,
    order: Number,
}

impl Curve {
    fn named(id: u32) -> Option<(Self, &'static Named)> {
        let named = CURVES.get((id as usize).checked_sub(1)?)?;
        let field = Field::new(constant(named.p), named.digits)?;
        let mut three = [0; MOST];
        three[0] = 3;
        let a = field.enter(&field.sub(&[0; MOST], &three));
        let b = field.enter(&constant(named.b));
        Some((Self { field, a, b, order: constant(named.n) }, named))
    }

    /// A curve that a module describes.
    ///
    /// # Safety
    /// `at` is a `struct ecc_curve` whose numbers have that many digits.
    unsafe fn read(at: u64, digits: usize) -> Option<Self> {
        // SAFETY: the caller vouches for the curve.
        unsafe {
            let number = |field: &crate::field::Field| load(field.get(at), digits);
            let field = Field::new(number(&ecc_curve::p), digits)?;
            let (a, b) = (field.enter(&number(&ecc_curve::a)), field.enter(&number(&ecc_curve::b)));
            Some(Self { field, a, b, order: number(&ecc_curve::n) })
        }
    }

    fn infinity(&self) -> Point {
        let mut one = [0; MOST];
        one[0] = 1;
        let one = self.field.enter(&one);
        Point { x: one, y: one, z: [0; MOST] }
    }

    fn enter(&self, [x, y]: [Number; 2]) -> Point {
        let mut one = [0; MOST];
        one[0] = 1;
        Point { x: self.field.enter(&x), y: self.field.enter(&y), z: self.field.enter(&one) }
    }

    /// The point's plain coordinates; zeros for infinity.
    fn leave(&self, point: &Point) -> [Number; 2] {
        let field = &self.field;
        let inverse = field.invert(&point.z);
        let square = field.mul(&inverse, &inverse);
        let cube = field.mul(&square, &inverse);
        [field.leave(&field.mul(&point.x, &square)), field.leave(&field.mul(&point.y, &cube))]
    }

    fn double(&self, point: &Point) -> Point {
        let field = &self.field;
        let twice = |value: &Number| field.add(value, value);
        let yy = field.mul(&point.y, &point.y);
        let s = twice(&twice(&field.mul(&point.x, &yy)));
        let xx = field.mul(&point.x, &point.x);
        let zz = field.mul(&point.z, &point.z);
        let zzzz = field.mul(&zz, &zz);
        let m = field.add(&field.add(&twice(&xx), &xx), &field.mul(&self.a, &zzzz));
        let x = field.sub(&field.mul(&m, &m), &twice(&s));
        let yyyy = twice(&twice(&twice(&field.mul(&yy, &yy))));
        let y = field.sub(&field.mul(&m, &field.sub(&s, &x)), &yyyy);
        Point { x, y, z: twice(&field.mul(&point.y, &point.z)) }
    }

    fn add(&self, one: &Point, other: &Point) -> Point {
        if one.z == [0; MOST] {
            return *other;
        }
        if other.z == [0; MOST] {
            return *one;
        }
        let field = &self.field;
        let (z1, z2) = (field.mul(&one.z, &one.z), field.mul(&other.z, &other.z));
        let (u1, u2) = (field.mul(&one.x, &z2), field.mul(&other.x, &z1));
        let s1 = field.mul(&one.y, &field.mul(&z2, &other.z));
        let s2 = field.mul(&other.y, &field.mul(&z1, &one.z));
        let (h, r) = (field.sub(&u2, &u1), field.sub(&s2, &s1));
        if h == [0; MOST] {
            return if r == [0; MOST] { self.double(one) } else { self.infinity() };
        }
        let hh = field.mul(&h, &h);
        let hhh = field.mul(&hh, &h);
        let v = field.mul(&u1, &hh);
        let x = field.sub(&field.sub(&field.mul(&r, &r), &hhh), &field.add(&v, &v));
        let y = field.sub(&field.mul(&r, &field.sub(&v, &x)), &field.mul(&s1, &hhh));
        Point { x, y, z: field.mul(&h, &field.mul(&one.z, &other.z)) }
    }

    fn multiply(&self, by: &Number, point: &Point) -> Point {
        let mut result = self.infinity();
        for at in (0..64 * self.field.digits).rev() {
            result = self.double(&result);
            if bit(by, at) {
                result = self.add(&result, point);
            }
        }
        result
    }

    /// Whether plain coordinates are of a point on the curve, not of infinity.
    fn has(&self, [x, y]: &[Number; 2]) -> bool {
        let field = &self.field;
        if compare(x, &field.modulus).is_ge()
            || compare(y, &field.modulus).is_ge()
            || (*x, *y) == ([0; MOST], [0; MOST])
        {
            return false;
        }
        let (x, y) = (field.enter(x), field.enter(y));
        let cubic = field.mul(&field.add(&field.mul(&x, &x), &self.a), &x);
        field.mul(&y, &y) == field.add(&cubic, &self.b)
    }

    /// SP 800-56A, 5.6.1.2.1: a private key is 2 to the order less 3.
    fn takes(&self, key: &Number) -> bool {
        let (mut one, mut two) = ([0; MOST], [0; MOST]);
        (one[0], two[0]) = (1, 2);
        compare(key, &one).is_gt() && compare(key, &subtract(&self.order, &two).0).is_lt()
    }
}

unsafe fn load(at: u64, digits: usize) -> Number {
    let mut number = [0; MOST];
    for (place, digit) in number.iter_mut().take(digits).enumerate() {
        // SAFETY: the caller has that many digits.
        *digit = unsafe { ram::get(at + 8 * place as u64) };
    }
    number
}

unsafe fn store(at: u64, number: &Number, digits: usize) {
    for (place, &digit) in number.iter().take(digits).enumerate() {
        // SAFETY: the caller has room for that many digits.
        unsafe { ram::put(at + 8 * place as u64, digit) };
    }
}

/// A public key's half: big-endian bytes.
unsafe fn load_bytes(at: u64, digits: usize) -> Number {
    let mut number = [0; MOST];
    for (place, digit) in number.iter_mut().take(digits).enumerate() {
        // SAFETY: the caller has that many digits.
        *digit = u64::from_be(unsafe { ram::get(at + 8 * (digits - 1 - place) as u64) });
    }
    number
}

unsafe fn store_bytes(at: u64, number: &Number, digits: usize) {
    for (place, digit) in number.iter().take(digits).enumerate() {
        // SAFETY: the caller has room for that many digits.
        unsafe { ram::put(at + 8 * (digits - 1 - place) as u64, digit.to_be()) };
    }
}

unsafe fn load_point(at: u64) -> ([Number; 2], usize) {
    // SAFETY: the caller has a `struct ecc_point`.
    unsafe {
        let digits = usize::from(ecc_point::ndigits.get::<u8>(at)).min(MOST);
        ([load(ecc_point::x.get(at), digits), load(ecc_point::y.get(at), digits)], digits)
    }
}

fn digits_of(count: u32) -> usize {
    (count as usize).min(MOST)
}

/// `int ecc_is_key_valid(unsigned int curve_id, unsigned int ndigits, const u64 *key, unsigned int length)`
extern "C" fn ecc_is_key_valid(id: u32, count: u32, key: u64, length: u32) -> i32 {
    let Some((curve, named)) = Curve::named(id) else { return Errno::EINVAL.to_return() };
    // SAFETY: the module's key.
    let fits = named.digits == digits_of(count)
        && length == count * 8
        && key != 0
        && curve.takes(&unsafe { load(key, named.digits) });
    if fits { 0 } else { Errno::EINVAL.to_return() }
}

/// `int ecc_gen_privkey(unsigned int curve_id, unsigned int ndigits, u64 *key)`
extern "C" fn ecc_gen_privkey(id: u32, count: u32, key: u64) -> i32 {
    let Some((curve, named)) = Curve::named(id) else { return Errno::EINVAL.to_return() };
    let mut number = [0; MOST];
    let mut bytes = [0; 8 * MOST];
    // One try in two at worst is below the order.
    for _ in 0..128 {
        kernel().platform.random(&mut bytes);
        for (digit, bytes) in number.iter_mut().take(named.digits.min(digits_of(count))).zip(bytes.as_chunks::<8>().0) {
            *digit = u64::from_ne_bytes(*bytes);
        }
        if curve.takes(&number) {
            // SAFETY: the module's room for a key.
            unsafe { store(key, &number, digits_of(count)) };
            return 0;
        }
    }
    Errno::EINVAL.to_return()
}

/// `int ecc_make_pub_key(unsigned int curve_id, unsigned int ndigits, const u64 *key, u64 *public)`
extern "C" fn ecc_make_pub_key(id: u32, count: u32, key: u64, public: u64) -> i32 {
    let Some((curve, named)) = Curve::named(id).filter(|(_, named)| named.digits == digits_of(count)) else {
        return Errno::EINVAL.to_return();
    };
    let generator = curve.enter(named.g.map(constant));
    // SAFETY: the module's key, and room for a public one.
    unsafe {
        let [x, y] = curve.leave(&curve.multiply(&load(key, named.digits), &generator));
        if !curve.has(&[x, y]) {
            return Errno::EAGAIN.to_return();
        }
        store_bytes(public, &x, named.digits);
        store_bytes(public + 8 * named.digits as u64, &y, named.digits);
    }
    0
}

/// `int crypto_ecdh_shared_secret(unsigned int curve_id, unsigned int ndigits, const u64 *key, const u64 *public, u64 *secret)`
extern "C" fn crypto_ecdh_shared_secret(id: u32, count: u32, key: u64, public: u64, secret: u64) -> i32 {
    let Some((curve, named)) = Curve::named(id).filter(|(_, named)| named.digits == digits_of(count)) else {
        return Errno::EINVAL.to_return();
    };
    // SAFETY: the module's keys, and room for the secret.
    let agreed = unsafe {
        let half = 8 * named.digits as u64;
        let other = [load_bytes(public, named.digits), load_bytes(public + half, named.digits)];
        if !curve.has(&other) {
            return Errno::EINVAL.to_return();
        }
        let product = curve.multiply(&load(key, named.digits), &curve.enter(other));
        if product.z == [0; MOST] {
            Err(Errno::EFAULT)
        } else {
            store_bytes(secret, &curve.leave(&product)[0], named.digits);
            Ok(())
        }
    };
    code(agreed)
}

/// `int ecc_is_pubkey_valid_partial(const struct ecc_curve *, struct ecc_point *)`
extern "C" fn ecc_is_pubkey_valid_partial(curve: u64, point: u64) -> i32 {
    // SAFETY: the module's curve and point.
    unsafe {
        let (point, digits) = load_point(point);
        match Curve::read(curve, digits) {
            Some(curve) if curve.has(&point) => 0,
            _ => Errno::EINVAL.to_return(),
        }
    }
}

/// `void ecc_digits_from_bytes(const u8 *in, unsigned int nbytes, u64 *out, unsigned int ndigits)`
extern "C" fn ecc_digits_from_bytes(from: u64, length: u32, to: u64, count: u32) {
    let mut number = [0u64; MOST];
    // SAFETY: the module's bytes, the highest first, and room for the digits.
    unsafe {
        for (place, &byte) in ram::bytes(from, u64::from(length)).iter().rev().take(8 * MOST).enumerate() {
            number[place / 8] |= u64::from(byte) << (8 * (place % 8));
        }
        store(to, &number, digits_of(count));
    }
}

/// `void ecc_point_mult_shamir(const struct ecc_point *result, const u64 *u1, const struct ecc_point *p, const u64 *u2,
/// const struct ecc_point *q, const struct ecc_curve *)`: `u1 p + u2 q`
extern "C" fn ecc_point_mult_shamir(result: u64, u1: u64, p: u64, u2: u64, q: u64, curve: u64) {
    // SAFETY: the module's numbers, points and curve.
    unsafe {
        let ((p, digits), (q, _)) = (load_point(p), load_point(q));
        let Some(curve) = Curve::read(curve, digits) else { return };
        let first = curve.multiply(&load(u1, digits), &curve.enter(p));
        let second = curve.multiply(&load(u2, digits), &curve.enter(q));
        let [x, y] = curve.leave(&curve.add(&first, &second));
        store(ecc_point::x.get(result), &x, digits);
        store(ecc_point::y.get(result), &y, digits);
    }
}

/// `bool ecc_point_is_zero(const struct ecc_point *)`
extern "C" fn ecc_point_is_zero(point: u64) -> bool {
    // SAFETY: the module's point.
    unsafe { load_point(point).0 == [[0; MOST]; 2] }
}

/// `int vli_cmp(const u64 *, const u64 *, unsigned int ndigits)`
extern "C" fn vli_cmp(one: u64, other: u64, count: u32) -> i32 {
    // SAFETY: the module's numbers.
    unsafe { compare(&load(one, digits_of(count)), &load(other, digits_of(count))) as i32 }
}
extern "C" fn vli_from_be64(to: u64, from: u64, count: u32) {
    // SAFETY: the module's numbers.
    unsafe { store(to, &load_bytes(from, digits_of(count)), digits_of(count)) };
}
extern "C" fn vli_from_le64(to: u64, from: u64, count: u32) {
    // SAFETY: the module's numbers; this machine is little-endian.
    unsafe { store(to, &load(from, digits_of(count)), digits_of(count)) };
}
extern "C" fn vli_is_zero(number: u64, count: u32) -> bool {
    // SAFETY: the module's number.
    unsafe { load(number, digits_of(count)) == [0; MOST] }
}
extern "C" fn vli_num_bits(number: u64, count: u32) -> u32 {
    // SAFETY: the module's number.
    let number = unsafe { load(number, digits_of(count)) };
    let highest = number.iter().enumerate().rev().find(|(_, digit)| **digit != 0);
    highest.map_or(0, |(place, digit)| 64 * place as u32 + 64 - digit.leading_zeros())
}

/// `void vli_mod_inv(u64 *result, const u64 *input, const u64 *mod, unsigned int ndigits)`: modulo a prime.
extern "C" fn vli_mod_inv(result: u64, input: u64, modulus: u64, count: u32) {
    let digits = digits_of(count);
    // SAFETY: the module's numbers.
    unsafe {
        let Some(field) = Field::new(load(modulus, digits), digits) else { return };
        let inverse = field.invert(&field.enter(&load(input, digits)));
        store(result, &field.leave(&inverse), digits);
    }
}

/// `void vli_mod_mult_slow(u64 *result, const u64 *, const u64 *, const u64 *mod, unsigned int ndigits)`: modulo an odd number.
extern "C" fn vli_mod_mult_slow(result: u64, one: u64, other: u64, modulus: u64, count: u32) {
    let digits = digits_of(count);
    // SAFETY: the module's numbers.
    unsafe {
        let Some(field) = Field::new(load(modulus, digits), digits) else { return };
        let product = field.mul(&field.enter(&load(one, digits)), &field.enter(&load(other, digits)));
        store(result, &field.leave(&product), digits);
    }
}

/// `u64 vli_sub(u64 *result, const u64 *, const u64 *, unsigned int ndigits)`: the borrow.
extern "C" fn vli_sub(result: u64, one: u64, other: u64, count: u32) -> u64 {
    // SAFETY: the module's numbers.
    unsafe {
        let (less, borrow) = subtract(&load(one, digits_of(count)), &load(other, digits_of(count)));
        store(result, &less, digits_of(count));
        u64::from(borrow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generators are on their curves, their orders are right, and P-256's double is the one NIST's examples give.
    #[test]
    fn the_curves_are_nists() {
        for id in 1..=3 {
            let (curve, named) = Curve::named(id).unwrap();
            let generator = named.g.map(constant);
            assert!(curve.has(&generator), "{id}");
            let point = curve.enter(generator);
            assert!(curve.multiply(&curve.order, &point).z == [0; MOST], "{id}");
            let mut three = [0; MOST];
            three[0] = 3;
            let sum = curve.add(&curve.double(&point), &point);
            assert_eq!(curve.leave(&curve.multiply(&three, &point)), curve.leave(&sum), "{id}");
            assert!(curve.has(&curve.leave(&sum)), "{id}");
        }
        let (curve, named) = Curve::named(2).unwrap();
        let double = curve.leave(&curve.double(&curve.enter(named.g.map(constant))));
        assert_eq!(double[0], constant("7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978"));
    }
}
