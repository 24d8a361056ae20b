//! MD5, SHA-1 and SHA-2, which Linux has built in: as algorithms, and as the functions that modules with faster code for whole
//! blocks call for the rest. The state in a descriptor is Linux's (`struct sha256_state` and its like).

use sha2::digest::generic_array::GenericArray;

use super::builtin::{Named, has, object, operations};
use super::shash::{crypto_register_shash, shash_alg, shash_desc};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::{Field, Size, layout};
use crate::ram;

layout! {
    mod md5_state = "md5_state" { hash, block, count = "byte_count" }
    mod sha1_state = "sha1_state" { state, count, buffer }
    mod sha256_state = "sha256_state" { state, count, buffer = "buf" }
    mod sha512_state = "sha512_state" { state, count, buffer = "buf" }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c md5_init, c md5_update, c md5_final, c sha1_base_init, c crypto_sha1_update, c sha1_base_final, c crypto_sha1_finup,
    c sha224_base_init, c sha256_base_init, c crypto_sha256_update, c sha256_base_final, c crypto_sha256_finup,
    c sha384_base_init, c sha512_base_init, c crypto_sha512_update, c sha512_base_final, c crypto_sha512_finup,
    c sha1_init, c sha1_transform, c sha256_update, c sha256_final, c sha224_update = sha256_update, c sha224_final, c sha256,
];

static MD5_ZERO: Datum = Datum::new("md5_zero_message_hash", 16, Begin::Image);
static SHA1_ZERO: Datum = Datum::new("sha1_zero_message_hash", 20, Begin::Image);
static SHA224_ZERO: Datum = Datum::new("sha224_zero_message_hash", 28, Begin::Image);
static SHA256_ZERO: Datum = Datum::new("sha256_zero_message_hash", 32, Begin::Image);
static SHA384_ZERO: Datum = Datum::new("sha384_zero_message_hash", 48, Begin::Image);
static SHA512_ZERO: Datum = Datum::new("sha512_zero_message_hash", 64, Begin::Image);

/// The variables of this file: the digests of the empty message.
pub(crate) static VARIABLES: &[&Datum] =
    &[&MD5_ZERO, &SHA1_ZERO, &SHA224_ZERO, &SHA256_ZERO, &SHA384_ZERO, &SHA512_ZERO];

/// A hash of the Merkle–Damgård kind.
struct Shape {
    state: &'static Field,
    count: &'static Field,
    buffer: &'static Field,
    /// Bytes in a block; the message's length takes an eighth of it.
    block: u64,
    /// Bytes in a word of the state and of the digest.
    word: u64,
    big_endian: bool,
    /// Works blocks into the state.
    compress: unsafe fn(state: u64, data: u64, blocks: u64),
}

static MD5: Shape = Shape {
    state: &md5_state::hash,
    count: &md5_state::count,
    buffer: &md5_state::block,
    block: 64,
    word: 4,
    big_endian: false,
    compress: compress_md5,
};
static SHA1: Shape = Shape {
    state: &sha1_state::state,
    count: &sha1_state::count,
    buffer: &sha1_state::buffer,
    block: 64,
    word: 4,
    big_endian: true,
    compress: compress_sha1,
};
static SHA256: Shape = Shape {
    state: &sha256_state::state,
    count: &sha256_state::count,
    buffer: &sha256_state::buffer,
    compress: compress_sha256,
    ..SHA1
};
static SHA512: Shape = Shape {
    state: &sha512_state::state,
    count: &sha512_state::count,
    buffer: &sha512_state::buffer,
    block: 128,
    word: 8,
    big_endian: true,
    compress: compress_sha512,
};

unsafe fn compress_sha1(state: u64, data: u64, blocks: u64) {
    // SAFETY: the caller has five words and that many blocks.
    unsafe {
        let mut words: [u32; 5] = ram::get(state);
        let blocks = core::slice::from_raw_parts(data as *const GenericArray<u8, _>, blocks as usize);
        sha1::compress(&mut words, blocks);
        ram::put(state, words);
    }
}

unsafe fn compress_sha256(state: u64, data: u64, blocks: u64) {
    // SAFETY: the caller has eight words and that many blocks.
    unsafe {
        let mut words: [u32; 8] = ram::get(state);
        let blocks = core::slice::from_raw_parts(data as *const GenericArray<u8, _>, blocks as usize);
        sha2::compress256(&mut words, blocks);
        ram::put(state, words);
    }
}

unsafe fn compress_sha512(state: u64, data: u64, blocks: u64) {
    // SAFETY: the caller has eight words and that many blocks.
    unsafe {
        let mut words: [u64; 8] = ram::get(state);
        let blocks = core::slice::from_raw_parts(data as *const GenericArray<u8, _>, blocks as usize);
        sha2::compress512(&mut words, blocks);
        ram::put(state, words);
    }
}

/// RFC 1321, 3.4: the amounts of rotation in the four rounds.
const MD5_ROTATE: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
/// RFC 1321, 3.4: the integer part of 4294967296 times `abs(sin(i))`.
const MD5_TABLE: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// RFC 1321, 3.4.
fn md5(state: &mut [u32; 4], block: &[u32; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..64 {
        let (mixed, index) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(MD5_TABLE[step]).wrapping_add(block[index % 16]);
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(MD5_ROTATE[step / 16][step % 4]));
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

unsafe fn compress_md5(state: u64, data: u64, blocks: u64) {
    // SAFETY: the caller has four words and that many blocks; this machine is little-endian, as MD5 is.
    unsafe {
        let mut words: [u32; 4] = ram::get(state);
        for block in 0..blocks {
            md5(&mut words, &ram::get(data + 64 * block));
        }
        ram::put(state, words);
    }
}

impl Shape {
    /// Starts from these words.
    unsafe fn begin<T: Copy>(&self, at: u64, words: T) {
        // SAFETY: the caller has a state of this shape.
        unsafe {
            self.state.set(at, words);
            self.count.set(at, 0u64);
        }
    }

    unsafe fn update(&self, at: u64, mut data: u64, mut length: u64) {
        // SAFETY: the caller has a state of this shape and data.
        unsafe {
            let count: u64 = self.count.get(at);
            self.count.set(at, count.wrapping_add(length));
            let (state, buffer) = (self.state.at(at), self.buffer.at(at));
            let held = count % self.block;
            if held != 0 {
                let now = (self.block - held).min(length);
                ram::copy(buffer + held, data, now);
                data += now;
                length -= now;
                if held + now < self.block {
                    return;
                }
                (self.compress)(state, buffer, 1);
            }
            let whole = length / self.block;
            if whole != 0 {
                (self.compress)(state, data, whole);
            }
            ram::copy(buffer, data + whole * self.block, length % self.block);
        }
    }

    /// Pads (a one bit, zeros, the length in bits), gives the first `digest` bytes, and clears the state.
    unsafe fn finish(&self, at: u64, out: u64, digest: u64) {
        // SAFETY: the caller has a state of this shape and room for the digest.
        unsafe {
            let count: u64 = self.count.get(at);
            let (state, buffer) = (self.state.at(at), self.buffer.at(at));
            let held = count % self.block;
            ram::put(buffer + held, 0x80u8);
            ram::fill(buffer + held + 1, 0, self.block - held - 1);
            if held + 1 + self.block / 8 > self.block {
                (self.compress)(state, buffer, 1);
                ram::fill(buffer, 0, self.block);
            }
            let bits = count << 3;
            ram::put(buffer + self.block - 8, if self.big_endian { bits.to_be() } else { bits });
            if self.block == 128 {
                ram::put(buffer + self.block - 16, (count >> 61).to_be());
            }
            (self.compress)(state, buffer, 1);
            let mut result: [u8; 64] = [0; 64];
            for (place, byte) in result[..digest as usize].iter_mut().enumerate() {
                let (word, within) = (place as u64 / self.word, place as u64 % self.word);
                let within = if self.big_endian { self.word - 1 - within } else { within };
                *byte = ram::get(state + word * self.word + within);
            }
            ram::bytes_mut(out, digest).copy_from_slice(&result[..digest as usize]);
            self.begin(at, [0u8; 16]);
            ram::fill(buffer, 0, self.block);
        }
    }
}

/// The digest's size of a descriptor's hash.
unsafe fn digest_of(desc: u64) -> u64 {
    // SAFETY: the caller has a descriptor.
    u64::from(unsafe { shash_alg::digestsize.get::<u32>(super::shash::alg_of(shash_desc::tfm.get(desc))) })
}

macro_rules! descriptor_functions {
    ($($shape:ident: $update:ident, $final_:ident;)*) => {
        $(
            extern "C" fn $update(desc: u64, data: u64, length: u32) -> i32 {
                // SAFETY: the caller's descriptor and data.
                unsafe { $shape.update(shash_desc::ctx.at(desc), data, u64::from(length)) };
                0
            }
            extern "C" fn $final_(desc: u64, out: u64) -> i32 {
                // SAFETY: the caller's descriptor, and room for a digest.
                unsafe { $shape.finish(shash_desc::ctx.at(desc), out, digest_of(desc)) };
                0
            }
        )*
    };
}
descriptor_functions! {
    MD5: md5_update, md5_final;
    SHA1: crypto_sha1_update, sha1_base_final;
    SHA256: crypto_sha256_update, sha256_base_final;
    SHA512: crypto_sha512_update, sha512_base_final;
}

extern "C" fn crypto_sha1_finup(desc: u64, data: u64, length: u32, out: u64) -> i32 {
    crypto_sha1_update(desc, data, length);
    sha1_base_final(desc, out)
}
extern "C" fn crypto_sha256_finup(desc: u64, data: u64, length: u32, out: u64) -> i32 {
    crypto_sha256_update(desc, data, length);
    sha256_base_final(desc, out)
}
extern "C" fn crypto_sha512_finup(desc: u64, data: u64, length: u32, out: u64) -> i32 {
    crypto_sha512_update(desc, data, length);
    sha512_base_final(desc, out)
}

/// RFC 1321, 3.3; FIPS 180-4, 5.3.1: SHA-1's first four words are MD5's.
const MD5_START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
const SHA1_START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
/// FIPS 180-4, 5.3.2 to 5.3.5
const SHA224_START: [u32; 8] =
    [0xc105_9ed8, 0x367c_d507, 0x3070_dd17, 0xf70e_5939, 0xffc0_0b31, 0x6858_1511, 0x64f9_8fa7, 0xbefa_4fa4];
const SHA256_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const SHA384_START: [u64; 8] = [
    0xcbbb_9d5d_c105_9ed8,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa4,
];
const SHA512_START: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

macro_rules! start_functions {
    ($($name:ident: $shape:ident, $start:ident;)*) => {
        $(
            extern "C" fn $name(desc: u64) -> i32 {
                // SAFETY: the caller's descriptor.
                unsafe { $shape.begin(shash_desc::ctx.at(desc), $start) };
                0
            }
        )*
    };
}
start_functions! {
    md5_init: MD5, MD5_START;
    sha1_base_init: SHA1, SHA1_START;
    sha224_base_init: SHA256, SHA224_START;
    sha256_base_init: SHA256, SHA256_START;
    sha384_base_init: SHA512, SHA384_START;
    sha512_base_init: SHA512, SHA512_START;
}

/// A row of the algorithms that are built in: name, driver, digest and block size, the struct of its state, the functions, and
/// a function of the target kernel's image that shows it is there.
struct Row {
    names: [&'static str; 2],
    sizes: [u32; 2],
    state: &'static Size,
    init: &'static str,
    update: &'static str,
    final_: &'static str,
    finup: Option<&'static str>,
    marker: &'static str,
}

static ROWS: [Row; 6] = [
    Row {
        names: ["md5", "md5-generic"],
        sizes: [16, 64],
        state: &md5_state::SIZE,
        init: "md5_init",
        update: "md5_update",
        final_: "md5_final",
        finup: None,
        marker: "md5_transform",
    },
    Row {
        names: ["sha1", "sha1-generic"],
        sizes: [20, 64],
        state: &sha1_state::SIZE,
        init: "sha1_base_init",
        update: "crypto_sha1_update",
        final_: "sha1_base_final",
        finup: Some("crypto_sha1_finup"),
        marker: "crypto_sha1_finup",
    },
    sha256_row(["sha224", "sha224-generic"], 28, "sha224_base_init"),
    sha256_row(["sha256", "sha256-generic"], 32, "sha256_base_init"),
    sha512_row(["sha384", "sha384-generic"], 48, "sha384_base_init"),
    sha512_row(["sha512", "sha512-generic"], 64, "sha512_base_init"),
];

const fn sha256_row(names: [&'static str; 2], digest: u32, init: &'static str) -> Row {
    Row {
        names,
        sizes: [digest, 64],
        state: &sha256_state::SIZE,
        init,
        update: "crypto_sha256_update",
        final_: "sha256_base_final",
        finup: Some("crypto_sha256_finup"),
        marker: "crypto_sha256_finup",
    }
}

const fn sha512_row(names: [&'static str; 2], digest: u32, init: &'static str) -> Row {
    Row {
        names,
        sizes: [digest, 128],
        state: &sha512_state::SIZE,
        init,
        update: "crypto_sha512_update",
        final_: "sha512_base_final",
        finup: Some("crypto_sha512_finup"),
        marker: "crypto_sha512_finup",
    }
}

/// Registers what the target kernel has built in.
pub(crate) fn begin() {
    for row in ROWS.iter().filter(|row| has(row.marker)) {
        let Some(alg) = object(shash_alg::SIZE.get()) else { return };
        // SAFETY: a new object of our own.
        unsafe {
            let [name, driver] = row.names;
            let named = Named { name, driver, priority: 100, blocksize: row.sizes[1], ctxsize: 0, flags: 0 };
            named.write(shash_alg::base.at(alg));
            shash_alg::digestsize.set(alg, row.sizes[0]);
            shash_alg::descsize.set(alg, row.state.get() as u32);
            operations(
                alg,
                &[(&shash_alg::init, row.init), (&shash_alg::update, row.update), (&shash_alg::final_, row.final_)],
            );
            if let Some(finup) = row.finup {
                operations(alg, &[(&shash_alg::finup, finup)]);
            }
            crypto_register_shash(alg);
        }
    }
}

/// `void sha1_init(__u32 *)`
extern "C" fn sha1_init(words: u64) {
    // SAFETY: room for five words.
    unsafe { ram::put(words, SHA1_START) };
}

/// `void sha1_transform(__u32 *digest, const char *data, __u32 *array)`: one block; the scratch array is not needed.
extern "C" fn sha1_transform(words: u64, data: u64) {
    // SAFETY: five words and a block.
    unsafe { compress_sha1(words, data, 1) };
}

/// `void sha256_update(struct sha256_state *, const u8 *, unsigned int)`
extern "C" fn sha256_update(state: u64, data: u64, length: u32) {
    // SAFETY: the module's state and data.
    unsafe { SHA256.update(state, data, u64::from(length)) };
}
extern "C" fn sha256_final(state: u64, out: u64) {
    // SAFETY: the module's state, and room for a digest.
    unsafe { SHA256.finish(state, out, 32) };
}
extern "C" fn sha224_final(state: u64, out: u64) {
    // SAFETY: the module's state, and room for a digest.
    unsafe { SHA256.finish(state, out, 28) };
}

/// `void sha256(const u8 *, unsigned int, u8 *out)`
extern "C" fn sha256(data: u64, length: u32, out: u64) {
    let mut state = [0u64; 32];
    let state = state.as_mut_ptr() as u64;
    // SAFETY: a `struct sha256_state` is 104 bytes, less than the array; the caller's data and room for a digest.
    unsafe {
        SHA256.begin(state, SHA256_START);
        SHA256.update(state, data, u64::from(length));
        SHA256.finish(state, out, 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_is_rfc_1321s() {
        // RFC 1321, A.5: the digest of "abc", whose one block is padded by hand.
        let mut block = [0u32; 16];
        block[0] = u32::from_le_bytes(*b"abc\x80");
        block[14] = 24;
        let mut state = MD5_START;
        md5(&mut state, &block);
        assert_eq!(state.map(u32::swap_bytes), [0x9001_5098, 0x3cd2_4fb0, 0xd696_3f7d, 0x28e1_7f72]);
    }
}
