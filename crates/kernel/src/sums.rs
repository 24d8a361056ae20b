//! Checksums, with the state in the open: modules keep it in variables of their own and go on with it.
//!
//! The functions do what the C ones of the same name do: they take the value so far and invert nothing unless they say so.

/// The table of a CRC that takes the lowest bit first, for a polynomial with its bits reversed.
const fn reflected(polynomial: u64) -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 != 0 { value >> 1 ^ polynomial } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

/// The table of a CRC of so many bits that takes the highest bit first.
const fn forward(polynomial: u64, bits: u32) -> [u64; 256] {
    let mask = u64::MAX >> (64 - bits);
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = (byte as u64) << (bits - 8);
        let mut bit = 0;
        while bit < 8 {
            let carry = value >> (bits - 1) & 1 != 0;
            value = value << 1 & mask;
            if carry {
                value ^= polynomial;
            }
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

macro_rules! narrow {
    ($table:expr, $kind:ty) => {{
        let wide = $table;
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            table[index] = wide[index] as $kind;
            index += 1;
        }
        table
    }};
}

macro_rules! crc {
    ($(#[$doc:meta])* $name:ident $kind:ty, $(#[$table_doc:meta])* $table:ident, reflected $polynomial:literal) => {
        $(#[$table_doc])*
        pub static $table: [$kind; 256] = narrow!(reflected($polynomial), $kind);

        $(#[$doc])*
        pub fn $name(crc: $kind, bytes: &[u8]) -> $kind {
            bytes.iter().fold(crc, |crc, &byte| crc >> 8 ^ $table[usize::from(crc as u8 ^ byte)])
        }
    };
    ($(#[$doc:meta])* $name:ident $kind:ty, $(#[$table_doc:meta])* $table:ident, forward $polynomial:literal) => {
        $(#[$table_doc])*
        pub static $table: [$kind; 256] = narrow!(forward($polynomial, <$kind>::BITS), $kind);

        $(#[$doc])*
        pub fn $name(crc: $kind, bytes: &[u8]) -> $kind {
            bytes
                .iter()
                .fold(crc, |crc, &byte| {
                    let index = usize::from((crc >> (<$kind>::BITS - 8)) as u8 ^ byte);
                    // A CRC of eight bits has nothing left after the shift.
                    crc.checked_shl(8).unwrap_or(0) ^ $table[index]
                })
        }
    };
}

crc!(
    /// `crc32_le`: IEEE 802.3.
    crc32_le u32,
    /// Its table.
    CRC32_LE, reflected 0xedb8_8320
);
crc!(
    /// `crc32_be`: the same polynomial, highest bit first.
    crc32_be u32,
    /// Its table.
    CRC32_BE, forward 0x04c1_1db7
);
crc!(
    /// `__crc32c_le`: Castagnoli.
    crc32c u32,
    /// Its table.
    CRC32C, reflected 0x82f6_3b78
);
crc!(
    /// `crc16`: polynomial 0x8005.
    crc16 u16,
    /// The exported `crc16_table`.
    CRC16, reflected 0xa001
);
crc!(
    /// `crc_ccitt`: polynomial 0x1021, lowest bit first.
    crc_ccitt u16,
    /// The exported `crc_ccitt_table`.
    CRC_CCITT, reflected 0x8408
);
crc!(
    /// `crc_itu_t` and `crc_ccitt_false`: polynomial 0x1021, highest bit first.
    crc_itu_t u16,
    /// The exported `crc_itu_t_table` and `crc_ccitt_false_table`.
    CRC_ITU_T, forward 0x1021
);
crc!(
    /// `crc_t10dif_generic`: SCSI's data integrity field.
    crc_t10dif u16,
    /// Its table.
    CRC_T10DIF, forward 0x8bb7
);
crc!(
    /// `crc7_be`: polynomial 0x09 in the upper seven bits.
    crc7_be u8,
    /// The exported `crc7_be_syndrome_table`.
    CRC7_BE, forward 0x12
);
crc!(
    /// `crc64_be`: ECMA-182.
    crc64_be u64,
    /// Its table.
    CRC64_BE, forward 0x42f0_e1eb_a9ea_3693
);
crc!(
    /// Rocksoft's CRC-64 without the inversions.
    crc64_rocksoft_plain u64,
    /// Its table.
    CRC64_ROCKSOFT, reflected 0x9a6c_9329_ac4b_c9b5
);

/// `crc64_rocksoft_generic`: inverts before and after.
pub fn crc64_rocksoft(crc: u64, bytes: &[u8]) -> u64 {
    !crc64_rocksoft_plain(!crc, bytes)
}

/// The table that `crc8_populate_msb` makes.
pub const fn crc8_table_msb(polynomial: u8) -> [u8; 256] {
    narrow!(forward(polynomial as u64, 8), u8)
}

/// The table that `crc8_populate_lsb` makes.
pub const fn crc8_table_lsb(polynomial: u8) -> [u8; 256] {
    narrow!(reflected(polynomial as u64), u8)
}

/// `crc8`, with either kind of table.
pub fn crc8(table: &[u8; 256], bytes: &[u8], crc: u8) -> u8 {
    bytes.iter().fold(crc, |crc, &byte| table[usize::from(crc ^ byte)])
}

/// `crc4`: the lowest `bits` bits of `value`, four at a time, highest first; polynomial 0x7.
pub fn crc4(crc: u8, value: u64, bits: u32) -> u8 {
    // Whole groups of four: what is above the bits asked for counts as zeros.
    let bits = bits.min(64);
    let value = if bits == 0 { 0 } else { value & u64::MAX >> (64 - bits) };
    let mut crc = crc & 0xf;
    for nibble in (0..bits.div_ceil(4)).rev() {
        crc ^= (value >> (4 * nibble)) as u8 & 0xf;
        for _ in 0..4 {
            crc = if crc & 8 != 0 { crc << 1 ^ 0x7 } else { crc << 1 } & 0xf;
        }
    }
    crc
}

/// `crc32_le_shift`: `crc` after `length` zero bytes, in steps that double.
pub fn crc32_le_shift(crc: u32, length: u64) -> u32 {
    shift(crc, length, 0xedb8_8320)
}

/// `__crc32c_le_shift`.
pub fn crc32c_shift(crc: u32, length: u64) -> u32 {
    shift(crc, length, 0x82f6_3b78)
}

fn shift(crc: u32, length: u64, polynomial: u32) -> u32 {
    // Multiplication of polynomials over GF(2), bits reversed: the top bit is the power 0.
    let multiply = |mut one: u32, other: u32| {
        let mut product = 0;
        for bit in (0..32).rev() {
            if other >> bit & 1 != 0 {
                product ^= one;
            }
            one = if one & 1 != 0 { one >> 1 ^ polynomial } else { one >> 1 };
        }
        product
    };
    // x^8, squared as often as the length has bits.
    let mut power = 1 << 23;
    let mut result = crc;
    let mut left = length;
    while left > 0 {
        if left & 1 != 0 {
            result = multiply(result, power);
        }
        power = multiply(power, power);
        left >>= 1;
    }
    result
}

const PRIME32: [u32; 5] = [2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393];
const PRIME64: [u64; 5] = [
    11_400_714_785_074_694_791,
    14_029_467_366_897_019_727,
    1_609_587_929_392_839_161,
    9_650_029_242_287_828_579,
    2_870_177_450_012_600_261,
];

macro_rules! xxhash {
    ($(#[$doc:meta])* $state:ident, $word:ty, $primes:ident, rotate $round_rotate:literal, $merge:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $state {
            /// Bytes taken so far.
            pub length: u64,
            /// The four lanes.
            pub lanes: [$word; 4],
            /// Bytes that do not fill a stripe yet.
            pub pending: [u8; 4 * size_of::<$word>()],
            /// How many of them there are.
            pub pending_length: u32,
        }

        impl $state {
            const STRIPE: usize = 4 * size_of::<$word>();

            /// The state before the first byte.
            pub const fn new(seed: $word) -> $state {
                $state {
                    length: 0,
                    lanes: [
                        seed.wrapping_add($primes[0]).wrapping_add($primes[1]),
                        seed.wrapping_add($primes[1]),
                        seed,
                        seed.wrapping_sub($primes[0]),
                    ],
                    pending: [0; Self::STRIPE],
                    pending_length: 0,
                }
            }

            fn round(lane: $word, input: $word) -> $word {
                lane.wrapping_add(input.wrapping_mul($primes[1])).rotate_left($round_rotate).wrapping_mul($primes[0])
            }

            fn stripe(&mut self, stripe: &[u8]) {
                for (lane, bytes) in self.lanes.iter_mut().zip(stripe.chunks_exact(size_of::<$word>())) {
                    *lane = Self::round(*lane, bytes.try_into().map_or(0, <$word>::from_le_bytes));
                }
            }

            /// Takes bytes.
            pub fn update(&mut self, mut bytes: &[u8]) {
                self.length = self.length.wrapping_add(bytes.len() as u64);
                // The state may come from a module's memory.
                let held = (self.pending_length as usize).min(Self::STRIPE - 1);
                let fits = bytes.len().min(Self::STRIPE - held);
                self.pending[held..held + fits].copy_from_slice(&bytes[..fits]);
                if held + fits < Self::STRIPE {
                    self.pending_length = (held + fits) as u32;
                    return;
                }
                bytes = &bytes[fits..];
                let pending = self.pending;
                self.stripe(&pending);
                let (stripes, rest) = bytes.split_at(bytes.len() - bytes.len() % Self::STRIPE);
                for stripe in stripes.chunks_exact(Self::STRIPE) {
                    self.stripe(stripe);
                }
                self.pending[..rest.len()].copy_from_slice(rest);
                self.pending_length = rest.len() as u32;
            }

            fn lanes_digest(&self) -> $word {
                let [a, b, c, d] = self.lanes;
                let sum = a
                    .rotate_left(1)
                    .wrapping_add(b.rotate_left(7))
                    .wrapping_add(c.rotate_left(12))
                    .wrapping_add(d.rotate_left(18));
                self.lanes.iter().fold(sum, |hash, lane| $merge(hash, *lane))
            }

            fn rest(&self) -> &[u8] {
                &self.pending[..(self.pending_length as usize).min(Self::STRIPE - 1)]
            }
        }
    };
}

/// XXH32 only adds its lanes.
fn merge32(hash: u32, _lane: u32) -> u32 {
    hash
}

fn merge64(hash: u64, lane: u64) -> u64 {
    (hash ^ Xxh64::round(0, lane)).wrapping_mul(PRIME64[0]).wrapping_add(PRIME64[3])
}

xxhash!(
    /// XXH32 in progress.
    Xxh32, u32, PRIME32, rotate 13, merge32
);
xxhash!(
    /// XXH64 in progress.
    Xxh64, u64, PRIME64, rotate 31, merge64
);

impl Xxh32 {
    /// The hash of the bytes so far (`xxh32_digest`).
    pub fn digest(&self) -> u32 {
        let [one, two, three, four, five] = PRIME32;
        // Before the first stripe, lane 2 is the seed.
        let start = if self.length >= 16 { self.lanes_digest() } else { self.lanes[2].wrapping_add(five) };
        let mut hash = start.wrapping_add(self.length as u32);
        let mut words = self.rest().chunks_exact(4);
        for word in &mut words {
            let word = word.try_into().map_or(0, u32::from_le_bytes);
            hash = hash.wrapping_add(word.wrapping_mul(three)).rotate_left(17).wrapping_mul(four);
        }
        for &byte in words.remainder() {
            hash = hash.wrapping_add(u32::from(byte).wrapping_mul(five)).rotate_left(11).wrapping_mul(one);
        }
        hash = (hash ^ hash >> 15).wrapping_mul(two);
        hash = (hash ^ hash >> 13).wrapping_mul(three);
        hash ^ hash >> 16
    }
}

impl Xxh64 {
    /// The hash of the bytes so far (`xxh64_digest`).
    pub fn digest(&self) -> u64 {
        let [one, two, three, four, five] = PRIME64;
        let start = if self.length >= 32 { self.lanes_digest() } else { self.lanes[2].wrapping_add(five) };
        let mut hash = start.wrapping_add(self.length);
        let mut words = self.rest().chunks_exact(8);
        for word in &mut words {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            hash = (hash ^ Xxh64::round(0, word)).rotate_left(27).wrapping_mul(one).wrapping_add(four);
        }
        let mut halves = words.remainder().chunks_exact(4);
        for half in &mut halves {
            let half = half.try_into().map_or(0, u32::from_le_bytes);
            hash = (hash ^ u64::from(half).wrapping_mul(one)).rotate_left(23).wrapping_mul(two).wrapping_add(three);
        }
        for &byte in halves.remainder() {
            hash = (hash ^ u64::from(byte).wrapping_mul(five)).rotate_left(11).wrapping_mul(one);
        }
        hash = (hash ^ hash >> 33).wrapping_mul(two);
        hash = (hash ^ hash >> 29).wrapping_mul(three);
        hash ^ hash >> 32
    }
}

/// `xxh32`.
pub fn xxh32(bytes: &[u8], seed: u32) -> u32 {
    let mut state = Xxh32::new(seed);
    state.update(bytes);
    state.digest()
}

/// `xxh64`.
pub fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let mut state = Xxh64::new(seed);
    state.update(bytes);
    state.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crc::{Algorithm, Crc};
    use proptest::prelude::*;

    const CHECK: &[u8] = b"123456789";

    #[test]
    fn check_values_of_the_catalogue() {
        assert_eq!(!crc32_le(!0, CHECK), 0xcbf4_3926);
        assert_eq!(!crc32_be(!0, CHECK), 0xfc89_1918);
        assert_eq!(!crc32c(!0, CHECK), 0xe306_9283);
        assert_eq!(crc16(0, CHECK), 0xbb3d);
        assert_eq!(crc_ccitt(0, CHECK), 0x2189);
        assert_eq!(crc_itu_t(0xffff, CHECK), 0x29b1);
        assert_eq!(crc_itu_t(0, CHECK), 0x31c3);
        assert_eq!(crc_t10dif(0, CHECK), 0xd0db);
        assert_eq!(crc7_be(0, CHECK) >> 1, 0x75);
        assert_eq!(crc64_be(0, CHECK), 0x6c40_df5f_0b49_7347);
        assert_eq!(crc64_rocksoft(0, CHECK), 0xae8b_1486_0a79_9888);
        assert_eq!(crc8(&crc8_table_msb(0x07), CHECK, 0), 0xf4);
        assert_eq!(crc8(&crc8_table_lsb(0x8c), CHECK, 0), 0xa1);
        assert_eq!(CRC16[1], 0xc0c1);
        assert_eq!(CRC_CCITT[1], 0x1189);
    }

    #[test]
    fn four_bits() {
        // Bit by bit: x^4 + x^2 + x + 1 into which the value's bits are shifted.
        let plain = |value: u64, bits: u32| {
            (0..bits).rev().fold(0u8, |crc, bit| {
                let carry = crc >> 3 ^ (value >> bit) as u8 & 1;
                (crc << 1 & 0xf) ^ if carry & 1 != 0 { 0x7 } else { 0 }
            })
        };
        for value in [0u64, 1, 0x5a, 0x1234_5678, u64::MAX] {
            for bits in [4, 8, 32, 64] {
                assert_eq!(crc4(0, value, bits), plain(value, bits));
            }
        }
        assert_eq!(crc4(0, u64::MAX, 0), 0);
        assert_eq!(crc4(0, 0xff, 100), crc4(0, 0xff, 64));
    }

    proptest! {
        #[test]
        fn like_the_peers(bytes in proptest::collection::vec(any::<u8>(), 0..200), seed: u64, cut in 0usize..200) {
            const IEEE: Algorithm<u32> = crc::CRC_32_ISO_HDLC;
            prop_assert_eq!(!crc32_le(!0, &bytes), Crc::<u32>::new(&IEEE).checksum(&bytes));
            prop_assert_eq!(!crc32c(!0, &bytes), Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&bytes));
            prop_assert_eq!(crc_itu_t(0, &bytes), Crc::<u16>::new(&crc::CRC_16_XMODEM).checksum(&bytes));
            prop_assert_eq!(xxh32(&bytes, seed as u32), xxhash_rust::xxh32::xxh32(&bytes, seed as u32));
            prop_assert_eq!(xxh64(&bytes, seed), xxhash_rust::xxh64::xxh64(&bytes, seed));
            let cut = cut.min(bytes.len());
            let (mut small, mut large) = (Xxh32::new(seed as u32), Xxh64::new(seed));
            for part in [&bytes[..cut], &bytes[cut..]] {
                small.update(part);
                large.update(part);
            }
            prop_assert_eq!(small.digest(), xxh32(&bytes, seed as u32));
            prop_assert_eq!(large.digest(), xxh64(&bytes, seed));
            prop_assert_eq!(crc32_le(crc32_le(1, &bytes[..cut]), &bytes[cut..]), crc32_le(1, &bytes));
        }

        #[test]
        fn shifting_is_taking_zeros(crc: u32, length in 0u64..300) {
            let zeros = [0; 300];
            prop_assert_eq!(crc32_le_shift(crc, length), crc32_le(crc, &zeros[..length as usize]));
            prop_assert_eq!(crc32c_shift(crc, length), crc32c(crc, &zeros[..length as usize]));
        }

        #[test]
        fn no_state_panics(length: u64, pending_length: u32, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut state = Xxh64 { length, pending_length, ..Xxh64::new(0) };
            state.update(&bytes);
            let _ = state.digest();
            let mut state = Xxh32 { length, pending_length, ..Xxh32::new(0) };
            state.update(&bytes);
            let _ = state.digest();
        }
    }
}
