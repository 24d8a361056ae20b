//! Linux's crypto API: algorithms, templates, instances, transforms and requests over the C objects modules bring.
//!
//! The lists are real (`crypto_alg_list`, `cra_users`, a template's instances), because modules walk them, and the C objects
//! are the only state: what a module registers is found by name, priority and type, and a transform holds a reference on the
//! module whose code it runs. Names like `hmac(sha256)` are made when first asked for, by the template of that name; a name
//! nobody has is asked of `request_module("crypto-NAME")` first.
//!
//! # What is different from Linux
//! Algorithms are usable as soon as they are registered: there are no self tests and so no larvals that wait for them. An
//! instance is freed at once when its last user goes, not from a work item. Scatterlists are walked in pieces as long as their
//! entries, not in pages, because all memory is in the direct map.

use ferrmod_kernel::Errno;

use crate::field::layout;
use crate::{ram, symbols};

pub(crate) mod acomp;
pub(crate) mod aead;
pub(crate) mod aes;
pub(crate) mod ahash;
pub(crate) mod akcipher;
pub(crate) mod algorithms;
pub(crate) mod asn1;
pub(crate) mod blake2s;
pub(crate) mod builtin;
pub(crate) mod bytes;
pub(crate) mod cbc;
pub(crate) mod chacha;
pub(crate) mod cipher;
pub(crate) mod cpu;
pub(crate) mod ctr;
pub(crate) mod deflate;
pub(crate) mod digests;
pub(crate) mod dmaengine;
pub(crate) mod ecc;
pub(crate) mod geniv;
pub(crate) mod hmac;
pub(crate) mod instances;
pub(crate) mod keys;
pub(crate) mod kinds;
pub(crate) mod kpp;
pub(crate) mod lz4;
pub(crate) mod null;
pub(crate) mod oid;
pub(crate) mod padata;
pub(crate) mod proc;
pub(crate) mod queue;
pub(crate) mod rfc3686;
pub(crate) mod rng;
pub(crate) mod scatterlist;
pub(crate) mod scatterwalk;
pub(crate) mod sha3;
pub(crate) mod shash;
pub(crate) mod skcipher;
pub(crate) mod sums;
pub(crate) mod templates;
pub(crate) mod transforms;
pub(crate) mod walk;
pub(crate) mod zlib;
pub(crate) mod zstd;

layout! {
    pub(crate) mod crypto_alg = "crypto_alg" {
        cra_list, cra_users, cra_flags, cra_blocksize, cra_ctxsize, cra_alignmask, cra_priority, cra_refcnt, cra_name,
        cra_driver_name, cra_type, cra_init, cra_exit, cra_destroy, cra_module,
        cia_min_keysize = "cra_u.cipher.cia_min_keysize", cia_max_keysize = "cra_u.cipher.cia_max_keysize",
        cia_setkey = "cra_u.cipher.cia_setkey", cia_encrypt = "cra_u.cipher.cia_encrypt",
        cia_decrypt = "cra_u.cipher.cia_decrypt", coa_compress = "cra_u.compress.coa_compress",
        coa_decompress = "cra_u.compress.coa_decompress",
    }
    pub(crate) mod crypto_tfm = "crypto_tfm" { refcnt, crt_flags, node, exit, alg = "__crt_alg", ctx = "__crt_ctx" }
    pub(crate) mod crypto_instance = "crypto_instance" { tmpl, list, spawns, ctx = "__ctx" }
    pub(crate) mod crypto_spawn = "crypto_spawn" { list, alg, inst, next, frontend, mask, dead, registered }
    pub(crate) mod crypto_template = "crypto_template" { list, instances, module, create, name }
    pub(crate) mod crypto_async_request = "crypto_async_request" { list, data, tfm, flags }
}

/// The number of the type in `cra_flags`, and the types.
pub(crate) const TYPE_MASK: u32 = 0xf;
pub(crate) const TYPE_CIPHER: u32 = 1;
pub(crate) const TYPE_COMPRESS: u32 = 2;
pub(crate) const TYPE_AEAD: u32 = 3;
pub(crate) const TYPE_SKCIPHER: u32 = 5;
pub(crate) const TYPE_KPP: u32 = 8;
pub(crate) const TYPE_ACOMPRESS: u32 = 0xa;
pub(crate) const TYPE_SCOMPRESS: u32 = 0xb;
pub(crate) const TYPE_RNG: u32 = 0xc;
pub(crate) const TYPE_SHASH: u32 = 0xe;
pub(crate) const TYPE_AHASH: u32 = 0xf;

/// `CRYPTO_ALG_LARVAL`
pub(crate) const LARVAL: u32 = 0x10;
/// `CRYPTO_ALG_DEAD`: taken out.
pub(crate) const DEAD: u32 = 0x20;
/// `CRYPTO_ALG_DYING`: could not be had any more.
pub(crate) const DYING: u32 = 0x40;
/// `CRYPTO_ALG_ASYNC`
pub(crate) const ASYNC: u32 = 0x80;
/// `CRYPTO_ALG_NEED_FALLBACK`
pub(crate) const NEED_FALLBACK: u32 = 0x100;
/// `CRYPTO_ALG_TESTED`
pub(crate) const TESTED: u32 = 0x400;
/// `CRYPTO_ALG_INSTANCE`
pub(crate) const INSTANCE: u32 = 0x800;
/// `CRYPTO_ALG_INTERNAL`
pub(crate) const INTERNAL: u32 = 0x2000;
/// `CRYPTO_ALG_OPTIONAL_KEY`
pub(crate) const OPTIONAL_KEY: u32 = 0x4000;
/// `CRYPTO_NOLOAD`
pub(crate) const NOLOAD: u32 = 0x8000;
/// `CRYPTO_ALG_ALLOCATES_MEMORY`
pub(crate) const ALLOCATES_MEMORY: u32 = 0x1_0000;
/// `CRYPTO_ALG_FIPS_INTERNAL`
pub(crate) const FIPS_INTERNAL: u32 = 0x2_0000;
/// `CRYPTO_ALG_INHERITED_FLAGS`
pub(crate) const INHERITED: u32 = ASYNC | NEED_FALLBACK | ALLOCATES_MEMORY;

/// `CRYPTO_TFM_NEED_KEY`, `CRYPTO_TFM_REQ_MASK`, `CRYPTO_TFM_REQ_MAY_BACKLOG`
pub(crate) const NEED_KEY: u32 = 1;
pub(crate) const REQ_MASK: u32 = 0xf_ff00;
pub(crate) const MAY_BACKLOG: u32 = 0x400;

/// `CRYPTO_MAX_ALG_NAME`
pub(crate) const MAX_NAME: usize = 128;
/// An eighth of a page: the most that sizes given by algorithms may be.
pub(crate) const MOST: u32 = 4096 / 8;

/// What a C function answers for a result.
pub(crate) fn code(result: Result<(), Errno>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(errno) => errno.to_return(),
    }
}

/// The result in what a C function answered.
pub(crate) fn result(code: i32) -> Result<(), Errno> {
    match Errno::from_return(i64::from(code)) {
        Some(errno) => Err(errno),
        None => Ok(()),
    }
}

/// What a C function that returns a pointer answers.
pub(crate) fn pointer(result: Result<u64, Errno>) -> u64 {
    result.unwrap_or_else(Errno::to_pointer)
}

/// Calls a C function that returns `int`.
///
/// # Safety
/// As [`ram::call`].
pub(crate) unsafe fn ask<const N: usize>(function: u64, arguments: [u64; N]) -> i32 {
    // SAFETY: the caller vouches for the function.
    unsafe { ram::call(function, arguments) as i32 }
}

/// The address at which C code calls one of our functions.
pub(crate) fn function(name: &str) -> u64 {
    symbols::address(name).unwrap_or(0)
}

/// The context of a transform, aligned as its algorithm asks.
///
/// # Safety
/// `tfm` is a live `struct crypto_tfm`.
pub(crate) unsafe fn context(tfm: u64) -> u64 {
    crypto_tfm::ctx.at(tfm)
}

/// Whether a transform waits for its key.
///
/// # Safety
/// `tfm` is a live `struct crypto_tfm`.
pub(crate) unsafe fn needs_key(tfm: u64) -> bool {
    // SAFETY: the caller vouches for the transform.
    unsafe { crypto_tfm::crt_flags.get::<u32>(tfm) & NEED_KEY != 0 }
}

/// Sets and clears flags of a transform.
///
/// # Safety
/// `tfm` is a live `struct crypto_tfm`.
pub(crate) unsafe fn change_flags(tfm: u64, set: u32, clear: u32) {
    // SAFETY: the caller vouches for the transform.
    unsafe { crypto_tfm::crt_flags.set(tfm, (crypto_tfm::crt_flags.get::<u32>(tfm) & !clear) | set) };
}

/// Calls `setkey(tfm, key, length)` with a key that is aligned as `mask` asks, and notes whether the transform has a key now.
///
/// # Safety
/// `setkey` is such a function, `object` its first argument, `tfm` the transform in it, and the key is there.
pub(crate) unsafe fn set_key(
    setkey: u64,
    object: u64,
    tfm: u64,
    key: u64,
    length: u32,
    mask: u32,
    wanted: bool,
) -> i32 {
    // SAFETY: the caller vouches for all of it.
    unsafe {
        let answer = match bytes::Aligned::of(key, u64::from(length), mask) {
            Ok(aligned) => ask(setkey, [object, aligned.address(), u64::from(length)]),
            Err(errno) => return errno.to_return(),
        };
        match answer {
            0 => change_flags(tfm, 0, NEED_KEY),
            _ if wanted => change_flags(tfm, NEED_KEY, 0),
            _ => (),
        }
        answer
    }
}
