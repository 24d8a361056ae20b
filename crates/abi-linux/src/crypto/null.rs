//! The algorithms that do nothing, and the null cipher that IV generators copy with.

use ferrmod_kernel::Errno;
use ferrmod_kernel::lock::Lock;

use super::builtin::{Named, has, object, operations};
use super::kinds::Kind;
use super::shash::{crypto_register_shash, shash_alg};
use super::skcipher::{crypto_register_skcipher, skcipher_alg, skcipher_request};
use super::{ASYNC, TYPE_CIPHER, TYPE_COMPRESS, algorithms, crypto_alg, scatterwalk, transforms};
use crate::export::{Export, exports};
use crate::ram;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_get_default_null_skcipher, c crypto_put_default_null_skcipher, k null_setkey, k null_hash_setkey, k null_init,
    k null_update, k null_final, k null_digest, c null_crypt, c null_compress, c null_skcipher_crypt,
];

/// The default null cipher and how many use it.
static DEFAULT: Lock<(u64, u32)> = Lock::new((0, 0));

/// Registers `cipher_null`, `compress_null`, `digest_null` and `ecb(cipher_null)` where no module does.
pub(crate) fn begin() {
    if !has("null_skcipher_crypt") {
        return;
    }
    let named = |name, driver, flags| Named { name, driver, priority: 0, blocksize: 1, ctxsize: 0, flags };
    // SAFETY: new objects of our own, large enough for their structs.
    unsafe {
        for (name, driver, kind) in [
            ("cipher_null", "cipher_null-generic", TYPE_CIPHER),
            ("compress_null", "compress_null-generic", TYPE_COMPRESS),
        ] {
            let Some(alg) = object(crypto_alg::SIZE.get()) else { return };
            named(name, driver, kind).write(alg);
            if kind == TYPE_CIPHER {
                operations(
                    alg,
                    &[
                        (&crypto_alg::cia_setkey, "null_setkey"),
                        (&crypto_alg::cia_encrypt, "null_crypt"),
                        (&crypto_alg::cia_decrypt, "null_crypt"),
                    ],
                );
            } else {
                operations(
                    alg,
                    &[(&crypto_alg::coa_compress, "null_compress"), (&crypto_alg::coa_decompress, "null_compress")],
                );
            }
            let _ = algorithms::register(alg);
        }
        let Some(alg) = object(shash_alg::SIZE.get()) else { return };
        named("digest_null", "digest_null-generic", 0).write(shash_alg::base.at(alg));
        operations(
            alg,
            &[
                (&shash_alg::setkey, "null_hash_setkey"),
                (&shash_alg::init, "null_init"),
                (&shash_alg::update, "null_update"),
                (&shash_alg::finup, "null_digest"),
                (&shash_alg::digest, "null_digest"),
                (&shash_alg::final_, "null_final"),
            ],
        );
        crypto_register_shash(alg);
        let Some(alg) = object(skcipher_alg::SIZE.get()) else { return };
        Named { priority: 100, ..named("ecb(cipher_null)", "ecb-cipher_null", 0) }.write(skcipher_alg::base.at(alg));
        operations(
            alg,
            &[
                (&skcipher_alg::setkey, "null_setkey"),
                (&skcipher_alg::encrypt, "null_skcipher_crypt"),
                (&skcipher_alg::decrypt, "null_skcipher_crypt"),
            ],
        );
        crypto_register_skcipher(alg);
    }
}

extern "C" fn null_setkey() -> i32 {
    0
}
extern "C" fn null_hash_setkey() -> i32 {
    0
}
extern "C" fn null_init() -> i32 {
    0
}
extern "C" fn null_update() -> i32 {
    0
}
extern "C" fn null_final() -> i32 {
    0
}
extern "C" fn null_digest() -> i32 {
    0
}
extern "C" fn null_crypt(_tfm: u64, to: u64, from: u64) {
    // SAFETY: blocks of one byte.
    unsafe { ram::copy(to, from, 1) };
}
extern "C" fn null_compress(_tfm: u64, from: u64, length: u32, to: u64, room: u64) -> i32 {
    // SAFETY: the caller's buffers.
    unsafe {
        if ram::get::<u32>(room) < length {
            return Errno::EINVAL.to_return();
        }
        ram::copy(to, from, u64::from(length));
        ram::put(room, length);
    }
    0
}
extern "C" fn null_skcipher_crypt(request: u64) -> i32 {
    // SAFETY: the caller's request.
    unsafe {
        let (from, to): (u64, u64) = (skcipher_request::src.get(request), skcipher_request::dst.get(request));
        if from != to {
            scatterwalk::copy(to, from, u64::from(skcipher_request::cryptlen.get::<u32>(request)));
        }
    }
    0
}

/// Holds the default null cipher, made when it is first wanted; it is the kernel's, whoever asks.
///
/// # Errors
/// As [`transforms::open`].
pub(crate) fn hold_default() -> Result<u64, Errno> {
    let (made, users) = *DEFAULT.lock();
    let cipher = if users == 0 { transforms::open(b"ecb(cipher_null)", Kind::Skcipher, 0, ASYNC, 0)? } else { made };
    *DEFAULT.lock() = (cipher, users + 1);
    Ok(cipher)
}

/// Gives it back.
pub(crate) fn release_default(caller: u64) {
    let (cipher, users) = *DEFAULT.lock();
    *DEFAULT.lock() = (cipher, users.saturating_sub(1));
    if users == 1 {
        // SAFETY: made by `hold_default`, and nobody uses it any more.
        unsafe { transforms::close_kind(cipher, Kind::Skcipher, caller) };
    }
}

/// `struct crypto_sync_skcipher *crypto_get_default_null_skcipher(void)`
extern "C" fn crypto_get_default_null_skcipher() -> u64 {
    super::pointer(hold_default())
}
extern "C" fn crypto_put_default_null_skcipher() {
    let caller = ram::caller();
    release_default(caller);
}
