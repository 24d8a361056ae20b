//! Sorting, searching, and arithmetic that C has no operator for.

use crate::export::{Export, exports};
use crate::ram;

/// Sorts `count` items in place with any comparison and exchange (a heap sort: no memory, no worst case).
fn heap_sort(count: u64, compare: impl Fn(u64, u64) -> i32, exchange: impl Fn(u64, u64)) {
    let sift = |mut root: u64, end: u64| {
        while 2 * root + 1 < end {
            let mut child = 2 * root + 1;
            if child + 1 < end && compare(child, child + 1) < 0 {
                child += 1;
            }
            if compare(root, child) >= 0 {
                return;
            }
            exchange(root, child);
            root = child;
        }
    };
    for root in (0..count / 2).rev() {
        sift(root, count);
    }
    for end in (1..count).rev() {
        exchange(0, end);
        sift(0, end);
    }
}

fn exchange_bytes(one: u64, other: u64, size: u64) {
    for index in 0..size {
        // SAFETY: two items of the caller's array.
        unsafe {
            let byte: u8 = ram::get(one + index);
            ram::put(one + index, ram::get::<u8>(other + index));
            ram::put(other + index, byte);
        }
    }
}

/// `void sort_r(void *, size_t num, size_t size, cmp_r_func_t, swap_r_func_t, const void *priv)`
extern "C" fn sort_r(base: u64, count: u64, size: u64, compare: u64, swap: u64, private: u64) {
    let item = |index: u64| base + index * size;
    heap_sort(
        count,
        // SAFETY: the caller's comparison of two of its items.
        |one, other| unsafe { ram::call(compare, [item(one), item(other), private]) } as i32,
        |one, other| match swap {
            0 => exchange_bytes(item(one), item(other), size),
            // SAFETY: the caller's exchange; one without a third word ignores it.
            swap => _ = unsafe { ram::call(swap, [item(one), item(other), size, private]) },
        },
    );
}
/// `void sort(void *, size_t num, size_t size, cmp_func_t, swap_func_t)`
extern "C" fn sort(base: u64, count: u64, size: u64, compare: u64, swap: u64) {
    sort_r(base, count, size, compare, swap, 0);
}

/// `void *bsearch(const void *key, const void *base, size_t num, size_t size, cmp_func_t)`
extern "C" fn bsearch(key: u64, base: u64, count: u64, size: u64, compare: u64) -> u64 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        let item = base + middle * size;
        // SAFETY: the caller's comparison of its key with one of its items.
        match unsafe { ram::call(compare, [key, item]) } as i32 {
            0 => return item,
            order if order < 0 => high = middle,
            _ => low = middle + 1,
        }
    }
    0
}

extern "C" fn gcd(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}
/// The least common multiple; 0 when one is 0.
extern "C" fn lcm(one: u64, other: u64) -> u64 {
    if one == 0 || other == 0 { 0 } else { (one / gcd(one, other)).wrapping_mul(other) }
}
/// The same, but the other when one is 0.
extern "C" fn lcm_not_zero(one: u64, other: u64) -> u64 {
    match lcm(one, other) {
        0 if other != 0 => other,
        0 => one,
        multiple => multiple,
    }
}
extern "C" fn int_pow(base: u64, power: u32) -> u64 {
    base.wrapping_pow(power)
}
extern "C" fn int_sqrt(of: u64) -> u64 {
    of.isqrt()
}

/// The fraction nearest to `numerator / denominator` whose terms do not exceed these (continued fractions, with the last
/// semiconvergent when it is nearer).
fn best_fraction(numerator: u64, denominator: u64, most: (u64, u64)) -> (u64, u64) {
    let (mut n, mut d) = (u128::from(numerator), u128::from(denominator));
    let (most_n, most_d) = (u128::from(most.0), u128::from(most.1));
    let (mut before, mut last) = ((0u128, 1u128), (1u128, 0u128));
    while d != 0 {
        let whole = n / d;
        let next = (before.0 + whole * last.0, before.1 + whole * last.1);
        if next.0 > most_n || next.1 > most_d {
            // How far the step may go without leaving the bounds.
            let room = |most: u128, before: u128, last: u128| (most - before).checked_div(last).unwrap_or(whole);
            let part = room(most_n, before.0, last.0).min(room(most_d, before.1, last.1)).min(whole);
            // More than half of the step is nearer than the convergent before; exactly half needs a closer look.
            let half = 2 * part > whole || 2 * part == whole && before.1 * d > last.1 * (n % d);
            if last.1 == 0 || half {
                last = (before.0 + part * last.0, before.1 + part * last.1);
            }
            break;
        }
        (before, last) = (last, next);
        (n, d) = (d, n % d);
    }
    (last.0 as u64, last.1 as u64)
}

extern "C" fn rational_best_approximation(
    numerator: u64,
    denominator: u64,
    most_numerator: u64,
    most_denominator: u64,
    to_numerator: u64,
    to_denominator: u64,
) {
    let (n, d) = best_fraction(numerator, denominator, (most_numerator, most_denominator));
    // SAFETY: the caller's two variables.
    unsafe {
        ram::put(to_numerator, n);
        ram::put(to_denominator, d);
    }
}

/// `struct reciprocal_value reciprocal_value(u32)`: the multiplier and two shifts of a division by a number, as Granlund and
/// Montgomery give them; a struct of eight bytes comes back in one register.
extern "C" fn reciprocal_value(divisor: u32) -> u64 {
    let divisor = divisor.max(1);
    let length = 32 - (divisor - 1).leading_zeros();
    let multiplier = ((1u128 << 32) * ((1u128 << length) - u128::from(divisor)) / u128::from(divisor) + 1) as u32;
    let (first, second) = (length.min(1), length.saturating_sub(1));
    u64::from(multiplier) | u64::from(first) << 32 | u64::from(second) << 40
}

/// `u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)`
extern "C" fn mul_u64_u64_div_u64(one: u64, other: u64, by: u64) -> u64 {
    (u128::from(one) * u128::from(other)).checked_div(u128::from(by)).map_or(u64::MAX, |quotient| quotient as u64)
}
/// `u32 iter_div_u64_rem(u64, u32, u64 *)`
extern "C" fn iter_div_u64_rem(dividend: u64, divisor: u32, remainder: u64) -> u32 {
    let divisor = u64::from(divisor.max(1));
    // SAFETY: the caller's variable.
    unsafe { ram::put(remainder, dividend % divisor) };
    (dividend / divisor) as u32
}

/// `void __ndelay` and its kind have files of their own; these two are logarithms in 8.24 fixed point (6.12 exports them).
fn logarithm(value: u32) -> u64 {
    // 24 bits of the fraction by repeated squaring.
    let whole = u64::from(31 - value.leading_zeros());
    let mut mantissa = u64::from(value) << (63 - whole);
    let mut fraction = 0;
    for bit in (0..24).rev() {
        let squared = u128::from(mantissa) * u128::from(mantissa);
        if squared >> 127 != 0 {
            fraction |= 1 << bit;
            mantissa = (squared >> 64) as u64;
        } else {
            mantissa = (squared >> 63) as u64;
        }
    }
    whole << 24 | fraction
}
extern "C" fn intlog2(value: u32) -> u32 {
    if value == 0 { 0 } else { logarithm(value) as u32 }
}
extern "C" fn intlog10(value: u32) -> u32 {
    /// log10(2) in 0.31 fixed point.
    const LOG10_OF_2: u64 = 646_456_993;
    if value == 0 { 0 } else { ((logarithm(value) * LOG10_OF_2) >> 31) as u32 }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c sort, c sort_r, c bsearch, c gcd, c lcm, c lcm_not_zero, c int_pow, c int_sqrt, c rational_best_approximation,
    c reciprocal_value, c mul_u64_u64_div_u64, c iter_div_u64_rem, c intlog2, c intlog10,
];

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts(items in proptest::collection::vec(0i32..50, 0..60)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            let items = RefCell::new(items);
            let count = items.borrow().len() as u64;
            heap_sort(
                count,
                |one, other| items.borrow()[one as usize].cmp(&items.borrow()[other as usize]) as i32,
                |one, other| items.borrow_mut().swap(one as usize, other as usize),
            );
            prop_assert_eq!(items.into_inner(), expected);
        }

        #[test]
        fn reciprocals_divide(divisor in 1u32.., value: u32) {
            let packed = reciprocal_value(divisor);
            let (multiplier, first, second) = (packed as u32, packed >> 32 & 0xff, packed >> 40 & 0xff);
            let high = ((u64::from(value) * u64::from(multiplier)) >> 32) as u32;
            let quotient = (high.wrapping_add(value.wrapping_sub(high) >> first)) >> second;
            prop_assert_eq!(quotient, value / divisor);
        }

        #[test]
        fn fractions_within_bounds_are_best(n in 1u64..400, d in 1u64..400, most_n in 1u64..40, most_d in 1u64..40) {
            let (best_n, best_d) = best_fraction(n, d, (most_n, most_d));
            prop_assert!(best_n <= most_n && best_d <= most_d);
            if n / gcd(n, d) <= most_n && d / gcd(n, d) <= most_d {
                prop_assert_eq!((best_n, best_d), (n / gcd(n, d), d / gcd(n, d)));
            }
        }
    }

    #[test]
    fn known_fractions() {
        // From the function's documentation: PLL dividers.
        for (n, d, most, expected) in [
            (1230, 10, (100, 20), (100, 1)),
            (34567, 100, (120, 20), (120, 1)),
            (1, 30, (100, 10), (0, 1)),
            (1, 19, (100, 10), (1, 10)),
            (27, 32, (16, 16), (11, 13)),
            (1155, 7735, (255, 255), (33, 221)),
            (87, 32, (70, 32), (68, 25)),
            (14533, 4626, (15000, 2400), (7433, 2366)),
        ] {
            assert_eq!(best_fraction(n, d, most), expected, "{n}/{d}");
        }
    }

    #[test]
    fn logarithms() {
        assert_eq!(intlog2(8), 3 << 24);
        assert_eq!(intlog2(9), 53_182_516, "3.169925 in 8.24");
        assert!(intlog10(1000).abs_diff(3 << 24) < 16);
        assert_eq!((lcm(4, 6), lcm_not_zero(0, 6), gcd(12, 18), int_sqrt(99)), (12, 6, 6, 9));
    }
}
