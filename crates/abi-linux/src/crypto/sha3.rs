//! SHA-3, for kernels that have it built in.

use super::builtin::{Named, has, object, operations};
use super::crypto_tfm;
use super::shash::{crypto_register_shash, crypto_shash, shash_alg, shash_desc};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod sha3_state = "sha3_state" { st, rsiz, partial, buffer = "buf" }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c crypto_sha3_init, c crypto_sha3_update, c crypto_sha3_final];

/// Words in the state.
const WORDS: usize = 25;
/// Bits that SHA-3 appends to a message, and the first of the padding (FIPS 202, B.2).
const SUFFIX: u8 = 0x06;

unsafe fn digest_of(desc: u64) -> u32 {
    // SAFETY: the caller has a descriptor.
    unsafe {
        let hash: u64 = shash_desc::tfm.get(desc);
        shash_alg::digestsize.get(shash_alg::base.container(crypto_tfm::alg.get(crypto_shash::base.at(hash))))
    }
}

/// Works bytes into the state, as many as the rate.
unsafe fn absorb(state: u64, data: u64, rate: u64) {
    // SAFETY: the caller has a state, and that many bytes, a multiple of 8.
    unsafe {
        let mut words: [u64; WORDS] = sha3_state::st.get(state);
        for (index, word) in words.iter_mut().take(rate as usize / 8).enumerate() {
            *word ^= ram::get::<u64>(data + 8 * index as u64);
        }
        keccak::f1600(&mut words);
        sha3_state::st.set(state, words);
    }
}

/// `int crypto_sha3_init(struct shash_desc *)`
extern "C" fn crypto_sha3_init(desc: u64) -> i32 {
    // SAFETY: the caller's descriptor.
    unsafe {
        let state = shash_desc::ctx.at(desc);
        ram::fill(state, 0, sha3_state::SIZE.get());
        sha3_state::rsiz.set(state, 200 - 2 * digest_of(desc));
    }
    0
}

/// `int crypto_sha3_update(struct shash_desc *, const u8 *, unsigned int)`
extern "C" fn crypto_sha3_update(desc: u64, mut data: u64, length: u32) -> i32 {
    // SAFETY: the caller's descriptor and data.
    unsafe {
        let state = shash_desc::ctx.at(desc);
        let rate = u64::from(sha3_state::rsiz.get::<u32>(state));
        let buffer = sha3_state::buffer.at(state);
        let mut held = u64::from(sha3_state::partial.get::<u32>(state));
        let mut left = u64::from(length);
        while left != 0 {
            let now = (rate - held).min(left);
            ram::copy(buffer + held, data, now);
            held += now;
            data += now;
            left -= now;
            if held == rate {
                absorb(state, buffer, rate);
                held = 0;
            }
        }
        sha3_state::partial.set(state, held as u32);
    }
    0
}

/// `int crypto_sha3_final(struct shash_desc *, u8 *out)`
extern "C" fn crypto_sha3_final(desc: u64, out: u64) -> i32 {
    // SAFETY: the caller's descriptor, and room for a digest.
    unsafe {
        let state = shash_desc::ctx.at(desc);
        let rate = u64::from(sha3_state::rsiz.get::<u32>(state));
        let buffer = sha3_state::buffer.at(state);
        let held = u64::from(sha3_state::partial.get::<u32>(state));
        ram::fill(buffer + held, 0, rate - held);
        ram::put(buffer + held, SUFFIX);
        ram::put(buffer + rate - 1, ram::get::<u8>(buffer + rate - 1) | 0x80);
        absorb(state, buffer, rate);
        ram::copy(out, sha3_state::st.at(state), u64::from(digest_of(desc)));
        ram::fill(state, 0, sha3_state::SIZE.get());
    }
    0
}

/// Registers what the target kernel has built in.
pub(crate) fn begin() {
    if !has("crypto_sha3_init") {
        return;
    }
    for (name, driver, digest) in [
        ("sha3-224", "sha3-224-generic", 28u32),
        ("sha3-256", "sha3-256-generic", 32),
        ("sha3-384", "sha3-384-generic", 48),
        ("sha3-512", "sha3-512-generic", 64),
    ] {
        let Some(alg) = object(shash_alg::SIZE.get()) else { return };
        // SAFETY: a new object of our own.
        unsafe {
            let named = Named { name, driver, priority: 0, blocksize: 200 - 2 * digest, ctxsize: 0, flags: 0 };
            named.write(shash_alg::base.at(alg));
            shash_alg::digestsize.set(alg, digest);
            shash_alg::descsize.set(alg, sha3_state::SIZE.get() as u32);
            operations(
                alg,
                &[
                    (&shash_alg::init, "crypto_sha3_init"),
                    (&shash_alg::update, "crypto_sha3_update"),
                    (&shash_alg::final_, "crypto_sha3_final"),
                ],
            );
            crypto_register_shash(alg);
        }
    }
}
