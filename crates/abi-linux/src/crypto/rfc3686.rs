//! The template `rfc3686` (counter mode for IPsec), for kernels that have it built in: a nonce in the key, an IV of 8 bytes, and
//! blocks counted from 1.

use ferrmod_kernel::Errno;

use super::builtin::{has, operations, template};
use super::kinds::Kind;
use super::skcipher::{
    crypto_skcipher, crypto_skcipher_encrypt, crypto_skcipher_setkey, skcipher_alg, skcipher_instance,
    skcipher_register_instance, skcipher_request,
};
use super::walk::cipher_of;
use super::{
    REQ_MASK, TYPE_SKCIPHER, algorithms, change_flags, code, context, crypto_alg, crypto_async_request,
    crypto_instance, crypto_spawn, crypto_template, crypto_tfm, function, instances, result, templates, transforms,
};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod async_request = "crypto_async_request" { complete }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_rfc3686_create, c crypto_rfc3686_setkey, c crypto_rfc3686_crypt, c crypto_rfc3686_init_tfm,
    c crypto_rfc3686_exit_tfm, c crypto_rfc3686_free,
];

/// RFC 3686, 5.1 and 4: bytes of the nonce, of the IV, and of a counter block.
const NONCE: u64 = 4;
const IV: u64 = 8;
const BLOCK: u64 = 16;

/// Registers the template.
pub(crate) fn begin() {
    if has("crypto_rfc3686_create") {
        template("rfc3686", "crypto_rfc3686_create");
    }
}

extern "C" fn crypto_rfc3686_create(template: u64, attributes: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: what the lookup gives a template.
    code(unsafe { create(template, attributes, caller) })
}

unsafe fn create(template: u64, attributes: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller has a template and its attributes; the instance has room for one spawn.
    unsafe {
        let mask = templates::check_type(attributes, TYPE_SKCIPHER)?;
        let size = skcipher_instance::base.at(0) + crypto_instance::ctx.at(0) + crypto_spawn::SIZE.get();
        let inst = slab::allocate(size.max(skcipher_instance::SIZE.get()), 8, slab::ZERO, caller);
        if inst == 0 {
            return Err(Errno::ENOMEM);
        }
        let answer =
            fill(template, attributes, inst, mask).and_then(|()| result(skcipher_register_instance(template, inst)));
        if answer.is_err() {
            crypto_rfc3686_free(inst);
        }
        answer
    }
}

unsafe fn fill(template: u64, attributes: u64, inst: u64, mask: u32) -> Result<(), Errno> {
    // SAFETY: the caller has a cleared instance.
    unsafe {
        let (base, alg) = (skcipher_instance::base.at(inst), skcipher_instance::alg.at(inst));
        let spawn = crypto_instance::ctx.at(base);
        crypto_spawn::frontend.set(spawn, Kind::Skcipher.frontend());
        instances::grab(spawn, base, &templates::argument(attributes, 1)?, 0, mask)?;
        let inner_base: u64 = crypto_spawn::alg.get(spawn);
        let inner = skcipher_alg::base.container(inner_base);
        let stream = crypto_alg::cra_blocksize.get::<u32>(inner_base) == 1;
        if !stream || u64::from(skcipher_alg::ivsize.get::<u32>(inner)) != BLOCK {
            return Err(Errno::EINVAL);
        }
        templates::set_name(base, algorithms::text(crypto_template::name.at(template)), inner_base)?;
        for field in [&crypto_alg::cra_priority, &crypto_alg::cra_blocksize, &crypto_alg::cra_alignmask] {
            field.set(base, field.get::<u32>(inner_base));
        }
        skcipher_alg::ivsize.set(alg, IV as u32);
        skcipher_alg::chunksize.set(alg, skcipher_alg::chunksize.get::<u32>(inner));
        for field in [&skcipher_alg::min_keysize, &skcipher_alg::max_keysize] {
            field.set(alg, field.get::<u32>(inner) + NONCE as u32);
        }
        // The cipher below, and the nonce.
        crypto_alg::cra_ctxsize.set(base, 16u32);
        operations(
            alg,
            &[
                (&skcipher_alg::setkey, "crypto_rfc3686_setkey"),
                (&skcipher_alg::encrypt, "crypto_rfc3686_crypt"),
                (&skcipher_alg::decrypt, "crypto_rfc3686_crypt"),
                (&skcipher_alg::init, "crypto_rfc3686_init_tfm"),
                (&skcipher_alg::exit, "crypto_rfc3686_exit_tfm"),
            ],
        );
        skcipher_instance::free.set(inst, function("crypto_rfc3686_free"));
        Ok(())
    }
}

extern "C" fn crypto_rfc3686_free(inst: u64) {
    let caller = ram::caller();
    instances::crypto_drop_spawn(crypto_instance::ctx.at(skcipher_instance::base.at(inst)));
    slab::release(inst, caller);
}

/// The context of a cipher of this template: the cipher below, then the nonce.
unsafe fn parts(cipher: u64) -> (u64, u64) {
    // SAFETY: the caller has one.
    unsafe {
        let at = context(crypto_skcipher::base.at(cipher));
        (ram::get(at), at + 8)
    }
}

extern "C" fn crypto_rfc3686_init_tfm(cipher: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: a new cipher of this template. A request's context holds a counter block and the request below.
    unsafe {
        let tfm = crypto_skcipher::base.at(cipher);
        let inst: u64 = crypto_tfm::alg.get(tfm);
        match transforms::spawn(crypto_instance::ctx.at(inst), caller) {
            Ok(child) => {
                ram::put(context(tfm), child);
                let below = skcipher_request::SIZE.get() as u32 + crypto_skcipher::reqsize.get::<u32>(child);
                crypto_skcipher::reqsize.set(cipher, BLOCK as u32 + below);
                0
            }
            Err(errno) => errno.to_return(),
        }
    }
}

extern "C" fn crypto_rfc3686_exit_tfm(cipher: u64) {
    let caller = ram::caller();
    // SAFETY: a cipher of this template.
    unsafe { transforms::close_kind(parts(cipher).0, Kind::Skcipher, caller) };
}

extern "C" fn crypto_rfc3686_setkey(cipher: u64, key: u64, length: u32) -> i32 {
    let Some(rest) = length.checked_sub(NONCE as u32) else { return Errno::EINVAL.to_return() };
    // SAFETY: a cipher of this template, and the caller's key, which ends with the nonce.
    unsafe {
        let (child, nonce) = parts(cipher);
        ram::copy(nonce, key + u64::from(rest), NONCE);
        let asked = crypto_tfm::crt_flags.get::<u32>(crypto_skcipher::base.at(cipher)) & REQ_MASK;
        change_flags(crypto_skcipher::base.at(child), asked, REQ_MASK);
        crypto_skcipher_setkey(child, key, rest)
    }
}

extern "C" fn crypto_rfc3686_crypt(request: u64) -> i32 {
    // SAFETY: a request of a cipher of this template, with the context `crypto_rfc3686_init_tfm` asked for.
    unsafe {
        let cipher = cipher_of(request);
        let (child, nonce) = parts(cipher);
        let block = request + skcipher_request::SIZE.get();
        ram::copy(block, nonce, NONCE);
        ram::copy(block + NONCE, skcipher_request::iv.get(request), IV);
        ram::put(block + NONCE + IV, 1u32.to_be());
        let below = block + BLOCK;
        let (from, to) = (skcipher_request::base.at(request), skcipher_request::base.at(below));
        for field in [&async_request::complete, &crypto_async_request::data] {
            field.set(to, field.get::<u64>(from));
        }
        crypto_async_request::flags.set(to, crypto_async_request::flags.get::<u32>(from));
        crypto_async_request::tfm.set(to, crypto_skcipher::base.at(child));
        for field in [&skcipher_request::src, &skcipher_request::dst] {
            field.set(below, field.get::<u64>(request));
        }
        skcipher_request::cryptlen.set(below, skcipher_request::cryptlen.get::<u32>(request));
        skcipher_request::iv.set(below, block);
        crypto_skcipher_encrypt(below)
    }
}
