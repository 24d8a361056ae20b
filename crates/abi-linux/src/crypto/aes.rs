//! AES as Linux's library has it (FIPS 197): expanded keys in `struct crypto_aes_ctx`, single blocks, the tables that modules
//! with their own code use, and the plain cipher `aes-generic`.
//!
//! The implementation computes with whole S-boxes and is no faster than it must be: what is fast brings its own code.

use ferrmod_kernel::Errno;

use super::builtin::{Named, has, object, operations};
use super::{TYPE_CIPHER, algorithms, context, crypto_alg};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod crypto_aes_ctx = "crypto_aes_ctx" { key_enc, key_dec, key_length }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c aes_expandkey, c aes_encrypt, c aes_decrypt, c crypto_aes_set_key, c crypto_aes_encrypt, c crypto_aes_decrypt,
];

static SBOX: Datum = Datum::new("crypto_aes_sbox", 256, Begin::With(|at| put(at, &TABLES.sbox)));
static INVERSE: Datum = Datum::new("crypto_aes_inv_sbox", 256, Begin::With(|at| put(at, &TABLES.inverse)));
static FORWARD: Datum =
    Datum::new("crypto_ft_tab", 4096, Begin::With(|at| put(at, &rounds(&TABLES.sbox, [2, 1, 1, 3]))));
static BACKWARD: Datum =
    Datum::new("crypto_it_tab", 4096, Begin::With(|at| put(at, &rounds(&TABLES.inverse, [14, 9, 13, 11]))));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&SBOX, &INVERSE, &FORWARD, &BACKWARD];

fn put<T: Copy>(at: u64, value: &T) {
    // SAFETY: `data::place` gives an address with room for the variable.
    unsafe { ram::put(at, *value) };
}

struct Tables {
    sbox: [u8; 256],
    inverse: [u8; 256],
}

static TABLES: Tables = tables();

/// Multiplication by x in GF(2^8) (FIPS 197, 4.2.1).
const fn double(value: u8) -> u8 {
    (value << 1) ^ if value & 0x80 != 0 { 0x1b } else { 0 }
}

/// Multiplication in GF(2^8).
const fn multiply(mut value: u8, mut by: u8) -> u8 {
    let mut product = 0;
    while by != 0 {
        if by & 1 != 0 {
            product ^= value;
        }
        value = double(value);
        by >>= 1;
    }
    product
}

/// The S-box: the inverse in GF(2^8), then the affine map (FIPS 197, 5.1.1). 3 generates the field, so that its powers and
/// those of its inverse 0xf6 meet each element with its inverse.
const fn tables() -> Tables {
    let (mut sbox, mut inverse) = ([0; 256], [0; 256]);
    let (mut value, mut other): (u8, u8) = (1, 1);
    loop {
        let turned =
            other ^ other.rotate_left(1) ^ other.rotate_left(2) ^ other.rotate_left(3) ^ other.rotate_left(4) ^ 0x63;
        sbox[value as usize] = turned;
        inverse[turned as usize] = value;
        value = multiply(value, 3);
        other = multiply(other, 0xf6);
        if value == 1 {
            break;
        }
    }
    sbox[0] = 0x63;
    inverse[0x63] = 0;
    Tables { sbox, inverse }
}

/// A column that a byte contributes to, after the S-box, for each of the four rows it may be in.
fn rounds(sbox: &[u8; 256], factors: [u8; 4]) -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    for (value, &turned) in sbox.iter().enumerate() {
        let column = u32::from_le_bytes(factors.map(|factor| multiply(turned, factor)));
        for (row, table) in tables.iter_mut().enumerate() {
            table[value] = column.rotate_left(8 * row as u32);
        }
    }
    tables
}

fn substitute(word: u32, sbox: &[u8; 256]) -> u32 {
    u32::from_le_bytes(word.to_le_bytes().map(|byte| sbox[usize::from(byte)]))
}

/// A column times the polynomial whose coefficients these are, the constant one first.
fn mix(column: u32, factors: [u8; 4]) -> u32 {
    let bytes = column.to_le_bytes();
    let mut mixed = [0; 4];
    for (row, byte) in mixed.iter_mut().enumerate() {
        for (place, &value) in bytes.iter().enumerate() {
            *byte ^= multiply(value, factors[(row + 4 - place) % 4]);
        }
    }
    u32::from_le_bytes(mixed)
}

/// FIPS 197, 5.1.3 and 5.3.3: the polynomials of MixColumns and its inverse.
const MIX: [u8; 4] = [2, 1, 1, 3];
const UNMIX: [u8; 4] = [14, 9, 13, 11];

/// A key and its round keys, in the order C keeps them: forwards for encryption; for decryption backwards, with the inner ones
/// mixed (FIPS 197, 5.3.5).
pub(crate) struct Keys {
    /// `key_enc`
    pub(crate) forward: [u32; 60],
    /// `key_dec`
    pub(crate) backward: [u32; 60],
    length: usize,
}

impl Keys {
    /// Of a key of 16, 24 or 32 bytes (FIPS 197, 5.2).
    ///
    /// # Errors
    /// `EINVAL` for any other length.
    pub(crate) fn expand(key: &[u8]) -> Result<Self, Errno> {
        if !matches!(key.len(), 16 | 24 | 32) {
            return Err(Errno::EINVAL);
        }
        let (words, total) = (key.len() / 4, key.len() + 28);
        let mut forward = [0; 60];
        for (word, bytes) in forward.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let mut constant = 1;
        for at in words..total {
            let mut word: u32 = forward[at - 1];
            if at % words == 0 {
                word = substitute(word.rotate_right(8), &TABLES.sbox) ^ u32::from(constant);
                constant = double(constant);
            } else if words > 6 && at % words == 4 {
                word = substitute(word, &TABLES.sbox);
            }
            forward[at] = forward[at - words] ^ word;
        }
        let mut backward = [0; 60];
        let rounds = total / 4;
        for round in 0..rounds {
            for column in 0..4 {
                let word = forward[4 * (rounds - 1 - round) + column];
                let outer = round == 0 || round == rounds - 1;
                backward[4 * round + column] = if outer { word } else { mix(word, UNMIX) };
            }
        }
        Ok(Self { forward, backward, length: key.len() })
    }
}

/// One block through rounds of either direction; `step` is how far ShiftRows moves row 1 to the left, in columns.
fn block(keys: &[u32], length: usize, input: [u32; 4], sbox: &[u8; 256], factors: [u8; 4], step: usize) -> [u32; 4] {
    let rounds = length / 4 + 6;
    let mut state = input;
    state.iter_mut().zip(keys).for_each(|(word, key)| *word ^= key);
    for round in 1..=rounds {
        let before = state.map(|word| substitute(word, sbox).to_le_bytes());
        for (column, word) in state.iter_mut().enumerate() {
            let shifted = core::array::from_fn(|row| before[(column + step * row) % 4][row]);
            let shifted = u32::from_le_bytes(shifted);
            *word = if round == rounds { shifted } else { mix(shifted, factors) };
            *word ^= keys[4 * round + column];
        }
    }
    state
}

/// Encrypts a block.
pub(crate) fn encrypt(forward: &[u32; 60], length: usize, input: [u32; 4]) -> [u32; 4] {
    block(forward, length, input, &TABLES.sbox, MIX, 1)
}

/// Decrypts a block.
pub(crate) fn decrypt(backward: &[u32; 60], length: usize, input: [u32; 4]) -> [u32; 4] {
    block(backward, length, input, &TABLES.inverse, UNMIX, 3)
}

/// `int aes_expandkey(struct crypto_aes_ctx *, const u8 *, unsigned int)`
extern "C" fn aes_expandkey(ctx: u64, key: u64, length: u32) -> i32 {
    // SAFETY: the caller's context and key.
    unsafe {
        match Keys::expand(ram::bytes(key, u64::from(length))) {
            Ok(keys) => {
                crypto_aes_ctx::key_enc.set(ctx, keys.forward);
                crypto_aes_ctx::key_dec.set(ctx, keys.backward);
                crypto_aes_ctx::key_length.set(ctx, keys.length as u32);
                0
            }
            Err(errno) => errno.to_return(),
        }
    }
}

/// A context's key length, bounded by what its arrays hold.
unsafe fn length_of(ctx: u64) -> usize {
    // SAFETY: the caller's context.
    unsafe { crypto_aes_ctx::key_length.get::<u32>(ctx) as usize }.min(32)
}

/// `void aes_encrypt(const struct crypto_aes_ctx *, u8 *out, const u8 *in)`
extern "C" fn aes_encrypt(ctx: u64, to: u64, from: u64) {
    // SAFETY: the caller's context and blocks.
    unsafe { ram::put(to, encrypt(&crypto_aes_ctx::key_enc.get(ctx), length_of(ctx), ram::get(from))) };
}

/// `void aes_decrypt(const struct crypto_aes_ctx *, u8 *out, const u8 *in)`
extern "C" fn aes_decrypt(ctx: u64, to: u64, from: u64) {
    // SAFETY: the caller's context and blocks.
    unsafe { ram::put(to, decrypt(&crypto_aes_ctx::key_dec.get(ctx), length_of(ctx), ram::get(from))) };
}

/// `int crypto_aes_set_key(struct crypto_tfm *, const u8 *, unsigned int)`
extern "C" fn crypto_aes_set_key(tfm: u64, key: u64, length: u32) -> i32 {
    // SAFETY: a transform whose context is a `struct crypto_aes_ctx`.
    aes_expandkey(unsafe { context(tfm) }, key, length)
}
extern "C" fn crypto_aes_encrypt(tfm: u64, to: u64, from: u64) {
    // SAFETY: a transform whose context is a `struct crypto_aes_ctx`.
    aes_encrypt(unsafe { context(tfm) }, to, from);
}
extern "C" fn crypto_aes_decrypt(tfm: u64, to: u64, from: u64) {
    // SAFETY: a transform whose context is a `struct crypto_aes_ctx`.
    aes_decrypt(unsafe { context(tfm) }, to, from);
}

/// Registers `aes-generic`.
pub(crate) fn begin() {
    if !has("crypto_aes_set_key") {
        return;
    }
    let Some(alg) = object(crypto_alg::SIZE.get()) else { return };
    let ctxsize = crypto_aes_ctx::SIZE.get() as u32;
    // SAFETY: a new object of our own.
    unsafe {
        Named { name: "aes", driver: "aes-generic", priority: 100, blocksize: 16, ctxsize, flags: TYPE_CIPHER }
            .write(alg);
        crypto_alg::cra_alignmask.set(alg, 3u32);
        crypto_alg::cia_min_keysize.set(alg, 16u32);
        crypto_alg::cia_max_keysize.set(alg, 32u32);
        operations(
            alg,
            &[
                (&crypto_alg::cia_setkey, "crypto_aes_set_key"),
                (&crypto_alg::cia_encrypt, "crypto_aes_encrypt"),
                (&crypto_alg::cia_decrypt, "crypto_aes_decrypt"),
            ],
        );
        let _ = algorithms::register(alg);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: &[u8]) -> [u32; 4] {
        core::array::from_fn(|at| u32::from_le_bytes(*bytes[4 * at..].first_chunk().unwrap()))
    }

    /// FIPS 197, appendix C: the same plaintext under keys of three lengths.
    #[test]
    fn blocks_are_fips_197s() {
        let plain: [u8; 16] = core::array::from_fn(|at| at as u8 * 0x11);
        let key: [u8; 32] = core::array::from_fn(|at| at as u8);
        let expected: [(usize, [u8; 16]); 3] = [
            (16, [0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a]),
            (24, [0xdd, 0xa9, 0x7c, 0xa4, 0x86, 0x4c, 0xdf, 0xe0, 0x6e, 0xaf, 0x70, 0xa0, 0xec, 0x0d, 0x71, 0x91]),
            (32, [0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf, 0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60, 0x89]),
        ];
        for (length, cipher) in expected {
            let keys = Keys::expand(&key[..length]).unwrap();
            assert_eq!(encrypt(&keys.forward, length, words(&plain)), words(&cipher), "{length}");
            assert_eq!(decrypt(&keys.backward, length, words(&cipher)), words(&plain), "{length}");
        }
    }
}
