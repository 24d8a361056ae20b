//! Authenticated encryption: `struct aead_alg` and its calls.

use ferrmod_kernel::Errno;

use super::kinds::Kind;
use super::{
    MOST, NEED_KEY, TYPE_AEAD, TYPE_MASK, algorithms, ask, change_flags, code, crypto_alg, crypto_async_request,
    crypto_tfm, function, instances, needs_key, result, set_key,
};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    pub(crate) mod aead_alg = "aead_alg" {
        setkey, setauthsize, encrypt, decrypt, init, exit, ivsize, maxauthsize, chunksize, base,
    }
    pub(crate) mod crypto_aead = "crypto_aead" { authsize, reqsize, base }
    pub(crate) mod aead_request = "aead_request" { base, assoclen, cryptlen, iv, src, dst }
    pub(crate) mod aead_instance = "aead_instance" { free, alg, base = "s.base" }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_register_aead, c crypto_unregister_aead, c crypto_register_aeads, c crypto_unregister_aeads,
    c aead_register_instance, c crypto_aead_setkey, c crypto_aead_setauthsize, c crypto_aead_encrypt, c crypto_aead_decrypt,
    c crypto_aead_exit_tfm,
];

/// The `struct aead_alg` of a transform.
///
/// # Safety
/// `aead` is a live `struct crypto_aead`.
pub(crate) unsafe fn alg_of(aead: u64) -> u64 {
    // SAFETY: the caller vouches for the transform.
    unsafe { aead_alg::base.container(crypto_tfm::alg.get(crypto_aead::base.at(aead))) }
}

/// `init_tfm` of the frontend.
///
/// # Safety
/// As [`Kind::init`].
pub(crate) unsafe fn init(tfm: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the transform.
    unsafe {
        let aead = crypto_aead::base.container(tfm);
        let alg = alg_of(aead);
        change_flags(tfm, NEED_KEY, 0);
        crypto_aead::authsize.set(aead, aead_alg::maxauthsize.get::<u32>(alg));
        if aead_alg::exit.get::<u64>(alg) != 0 {
            crypto_tfm::exit.set(tfm, function("crypto_aead_exit_tfm"));
        }
        match aead_alg::init.get::<u64>(alg) {
            0 => Ok(()),
            init => result(ask(init, [aead])),
        }
    }
}

extern "C" fn crypto_aead_exit_tfm(tfm: u64) {
    // SAFETY: a transform whose algorithm has an `exit`.
    unsafe {
        let aead = crypto_aead::base.container(tfm);
        ram::call(aead_alg::exit.get(alg_of(aead)), [aead]);
    }
}

unsafe fn prepare(alg: u64) -> Result<(), Errno> {
    // SAFETY: the caller has a `struct aead_alg` to register.
    unsafe {
        if [&aead_alg::maxauthsize, &aead_alg::ivsize, &aead_alg::chunksize]
            .iter()
            .any(|field| field.get::<u32>(alg) > MOST)
        {
            return Err(Errno::EINVAL);
        }
        let base = aead_alg::base.at(alg);
        if aead_alg::chunksize.get::<u32>(alg) == 0 {
            aead_alg::chunksize.set(alg, crypto_alg::cra_blocksize.get::<u32>(base));
        }
        crypto_alg::cra_type.set(base, Kind::Aead.frontend());
        crypto_alg::cra_flags.set(base, (algorithms::flags(base) & !TYPE_MASK) | TYPE_AEAD);
        Ok(())
    }
}

/// `int crypto_register_aead(struct aead_alg *)`
extern "C" fn crypto_register_aead(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    unsafe { code(prepare(alg).and_then(|()| algorithms::register(aead_alg::base.at(alg)))) }
}
extern "C" fn crypto_unregister_aead(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { algorithms::unregister(aead_alg::base.at(alg), caller) };
}
extern "C" fn crypto_register_aeads(algs: u64, count: i32) -> i32 {
    algorithms::register_all(algs, count, aead_alg::SIZE.get(), crypto_register_aead, crypto_unregister_aead)
}
extern "C" fn crypto_unregister_aeads(algs: u64, count: i32) {
    algorithms::unregister_all(algs, count, aead_alg::SIZE.get(), crypto_unregister_aead);
}

/// `int aead_register_instance(struct crypto_template *, struct aead_instance *)`
extern "C" fn aead_register_instance(template: u64, inst: u64) -> i32 {
    // SAFETY: the module's template and instance.
    unsafe {
        if aead_instance::free.get::<u64>(inst) == 0 {
            return Errno::EINVAL.to_return();
        }
        let prepared = prepare(aead_instance::alg.at(inst));
        code(prepared.and_then(|()| instances::register_instance(template, aead_instance::base.at(inst))))
    }
}

/// `int crypto_aead_setkey(struct crypto_aead *, const u8 *, unsigned int)`
pub(crate) extern "C" fn crypto_aead_setkey(aead: u64, key: u64, length: u32) -> i32 {
    // SAFETY: the caller's transform and key.
    unsafe {
        let alg = alg_of(aead);
        let mask = crypto_alg::cra_alignmask.get(aead_alg::base.at(alg));
        set_key(aead_alg::setkey.get(alg), aead, crypto_aead::base.at(aead), key, length, mask, true)
    }
}

/// `int crypto_aead_setauthsize(struct crypto_aead *, unsigned int)`
pub(crate) extern "C" fn crypto_aead_setauthsize(aead: u64, size: u32) -> i32 {
    // SAFETY: the caller's transform.
    unsafe {
        let alg = alg_of(aead);
        let most: u32 = aead_alg::maxauthsize.get(alg);
        if size > most || (size == 0 && most != 0) {
            return Errno::EINVAL.to_return();
        }
        let set: u64 = aead_alg::setauthsize.get(alg);
        if set != 0 {
            let answer = ask(set, [aead, u64::from(size)]);
            if answer != 0 {
                return answer;
            }
        }
        crypto_aead::authsize.set(aead, size);
        0
    }
}

unsafe fn of_request(request: u64) -> u64 {
    // SAFETY: the caller's request.
    unsafe { crypto_aead::base.container(crypto_async_request::tfm.get(aead_request::base.at(request))) }
}

/// `int crypto_aead_encrypt(struct aead_request *)`
extern "C" fn crypto_aead_encrypt(request: u64) -> i32 {
    // SAFETY: the module's request.
    unsafe {
        let aead = of_request(request);
        if needs_key(crypto_aead::base.at(aead)) {
            return Errno::ENOKEY.to_return();
        }
        ask(aead_alg::encrypt.get(alg_of(aead)), [request])
    }
}

/// `int crypto_aead_decrypt(struct aead_request *)`
extern "C" fn crypto_aead_decrypt(request: u64) -> i32 {
    // SAFETY: the module's request.
    unsafe {
        let aead = of_request(request);
        if needs_key(crypto_aead::base.at(aead)) {
            return Errno::ENOKEY.to_return();
        }
        if aead_request::cryptlen.get::<u32>(request) < crypto_aead::authsize.get::<u32>(aead) {
            return Errno::EINVAL.to_return();
        }
        ask(aead_alg::decrypt.get(alg_of(aead)), [request])
    }
}
