//! Symmetric key ciphers over scatterlists: `struct skcipher_alg`, its calls, and instances made of a plain block cipher.

use ferrmod_kernel::Errno;

use super::kinds::Kind;
use super::walk::cipher_of;
use super::{
    MOST, NEED_KEY, TYPE_CIPHER, TYPE_MASK, TYPE_SKCIPHER, algorithms, ask, change_flags, cipher, code, context,
    crypto_alg, crypto_instance, crypto_spawn, crypto_template, crypto_tfm, function, instances, needs_key, pointer,
    result, set_key, templates, transforms,
};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    pub(crate) mod skcipher_alg = "skcipher_alg" {
        setkey, encrypt, decrypt, export, import, init, exit, min_keysize, max_keysize, ivsize, chunksize, walksize, statesize,
        base,
    }
    pub(crate) mod crypto_skcipher = "crypto_skcipher" { reqsize, base }
    pub(crate) mod skcipher_request = "skcipher_request" { cryptlen, iv, src, dst, base }
    pub(crate) mod skcipher_instance = "skcipher_instance" { free, alg, base = "s.base" }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_register_skcipher, c crypto_unregister_skcipher, c crypto_register_skciphers, c crypto_unregister_skciphers,
    c skcipher_register_instance, c skcipher_alloc_instance_simple, c crypto_skcipher_setkey, c crypto_skcipher_encrypt,
    c crypto_skcipher_decrypt, c crypto_skcipher_export, c crypto_skcipher_import, c crypto_skcipher_exit_tfm,
    c skcipher_setkey_simple, c skcipher_init_tfm_simple, c skcipher_exit_tfm_simple, c skcipher_free_instance_simple,
    k skcipher_noexport, k skcipher_noimport,
];

/// The `struct skcipher_alg` of a cipher.
///
/// # Safety
/// `cipher` is a live `struct crypto_skcipher`.
pub(crate) unsafe fn alg_of(cipher: u64) -> u64 {
    // SAFETY: the caller vouches for the cipher.
    unsafe { skcipher_alg::base.container(crypto_tfm::alg.get(crypto_skcipher::base.at(cipher))) }
}

/// `init_tfm` of the frontend.
///
/// # Safety
/// As [`Kind::init`].
pub(crate) unsafe fn init(tfm: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the transform.
    unsafe {
        let cipher = crypto_skcipher::base.container(tfm);
        let alg = alg_of(cipher);
        if skcipher_alg::max_keysize.get::<u32>(alg) != 0 {
            change_flags(tfm, NEED_KEY, 0);
        }
        if skcipher_alg::exit.get::<u64>(alg) != 0 {
            crypto_tfm::exit.set(tfm, function("crypto_skcipher_exit_tfm"));
        }
        match skcipher_alg::init.get::<u64>(alg) {
            0 => Ok(()),
            init => result(ask(init, [cipher])),
        }
    }
}

/// `void (*exit)(struct crypto_tfm *)`
extern "C" fn crypto_skcipher_exit_tfm(tfm: u64) {
    // SAFETY: the transform of a cipher whose algorithm has an `exit`.
    unsafe {
        let cipher = crypto_skcipher::base.container(tfm);
        ram::call(skcipher_alg::exit.get(alg_of(cipher)), [cipher]);
    }
}

unsafe fn prepare(alg: u64) -> Result<(), Errno> {
    // SAFETY: the caller has a `struct skcipher_alg` to register.
    unsafe {
        let largest = [&skcipher_alg::ivsize, &skcipher_alg::chunksize, &skcipher_alg::walksize];
        if largest.iter().any(|field| field.get::<u32>(alg) > MOST) {
            return Err(Errno::EINVAL);
        }
        let base = skcipher_alg::base.at(alg);
        if skcipher_alg::chunksize.get::<u32>(alg) == 0 {
            skcipher_alg::chunksize.set(alg, crypto_alg::cra_blocksize.get::<u32>(base));
        }
        if skcipher_alg::walksize.get::<u32>(alg) == 0 {
            skcipher_alg::walksize.set(alg, skcipher_alg::chunksize.get::<u32>(alg));
        }
        if skcipher_alg::statesize.offset().is_some() && skcipher_alg::statesize.get::<u32>(alg) == 0 {
            skcipher_alg::export.set(alg, function("skcipher_noexport"));
            skcipher_alg::import.set(alg, function("skcipher_noimport"));
        }
        crypto_alg::cra_type.set(base, Kind::Skcipher.frontend());
        crypto_alg::cra_flags.set(base, (algorithms::flags(base) & !TYPE_MASK) | TYPE_SKCIPHER);
        Ok(())
    }
}

/// What a cipher without state between requests has.
extern "C" fn skcipher_noexport() -> i32 {
    0
}
extern "C" fn skcipher_noimport() -> i32 {
    0
}

/// `int crypto_register_skcipher(struct skcipher_alg *)`
pub(crate) extern "C" fn crypto_register_skcipher(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    unsafe { code(prepare(alg).and_then(|()| algorithms::register(skcipher_alg::base.at(alg)))) }
}
extern "C" fn crypto_unregister_skcipher(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { algorithms::unregister(skcipher_alg::base.at(alg), caller) };
}
extern "C" fn crypto_register_skciphers(algs: u64, count: i32) -> i32 {
    algorithms::register_all(
        algs,
        count,
        skcipher_alg::SIZE.get(),
        crypto_register_skcipher,
        crypto_unregister_skcipher,
    )
}
extern "C" fn crypto_unregister_skciphers(algs: u64, count: i32) {
    algorithms::unregister_all(algs, count, skcipher_alg::SIZE.get(), crypto_unregister_skcipher);
}

/// `int skcipher_register_instance(struct crypto_template *, struct skcipher_instance *)`
pub(crate) extern "C" fn skcipher_register_instance(template: u64, inst: u64) -> i32 {
    // SAFETY: the module's template and instance.
    unsafe {
        if skcipher_instance::free.get::<u64>(inst) == 0 {
            return Errno::EINVAL.to_return();
        }
        let prepared = prepare(skcipher_instance::alg.at(inst));
        code(prepared.and_then(|()| instances::register_instance(template, skcipher_instance::base.at(inst))))
    }
}

/// `int crypto_skcipher_setkey(struct crypto_skcipher *, const u8 *, unsigned int)`
pub(crate) extern "C" fn crypto_skcipher_setkey(cipher: u64, key: u64, length: u32) -> i32 {
    // SAFETY: the caller's cipher and key.
    unsafe {
        let alg = alg_of(cipher);
        let (least, most): (u32, u32) = (skcipher_alg::min_keysize.get(alg), skcipher_alg::max_keysize.get(alg));
        if !(least..=most).contains(&length) {
            return Errno::EINVAL.to_return();
        }
        let mask = crypto_alg::cra_alignmask.get(skcipher_alg::base.at(alg));
        set_key(skcipher_alg::setkey.get(alg), cipher, crypto_skcipher::base.at(cipher), key, length, mask, most != 0)
    }
}

unsafe fn crypt(field: &crate::field::Field, request: u64) -> i32 {
    // SAFETY: the caller's request.
    unsafe {
        let cipher = cipher_of(request);
        if needs_key(crypto_skcipher::base.at(cipher)) {
            return Errno::ENOKEY.to_return();
        }
        ask(field.get(alg_of(cipher)), [request])
    }
}

/// `int crypto_skcipher_encrypt(struct skcipher_request *)`
pub(crate) extern "C" fn crypto_skcipher_encrypt(request: u64) -> i32 {
    // SAFETY: the caller's request.
    unsafe { crypt(&skcipher_alg::encrypt, request) }
}

/// `int crypto_skcipher_decrypt(struct skcipher_request *)`
pub(crate) extern "C" fn crypto_skcipher_decrypt(request: u64) -> i32 {
    // SAFETY: the caller's request.
    unsafe { crypt(&skcipher_alg::decrypt, request) }
}

/// `int crypto_skcipher_export(struct skcipher_request *, void *)`
extern "C" fn crypto_skcipher_export(request: u64, out: u64) -> i32 {
    // SAFETY: the module's request, and room for its state.
    unsafe { ask(skcipher_alg::export.get(alg_of(cipher_of(request))), [request, out]) }
}
extern "C" fn crypto_skcipher_import(request: u64, state: u64) -> i32 {
    // SAFETY: the module's request and state.
    unsafe { ask(skcipher_alg::import.get(alg_of(cipher_of(request))), [request, state]) }
}

/// The block cipher in the context of a cipher made by [`skcipher_alloc_instance_simple`].
///
/// # Safety
/// `cipher` is one.
pub(crate) unsafe fn inner(cipher: u64) -> u64 {
    // SAFETY: the caller vouches for the cipher; its context is that one pointer.
    unsafe { ram::get(context(crypto_skcipher::base.at(cipher))) }
}

/// `int (*setkey)(struct crypto_skcipher *, const u8 *, unsigned int)` of such a cipher.
extern "C" fn skcipher_setkey_simple(cipher: u64, key: u64, length: u32) -> i32 {
    // SAFETY: a cipher made by `skcipher_alloc_instance_simple`.
    unsafe {
        let inner = inner(cipher);
        let asked = crypto_tfm::crt_flags.get::<u32>(crypto_skcipher::base.at(cipher)) & super::REQ_MASK;
        change_flags(inner, asked, super::REQ_MASK);
        cipher::crypto_cipher_setkey(inner, key, length)
    }
}

unsafe fn spawn_of(cipher: u64) -> u64 {
    // SAFETY: the caller has a cipher whose algorithm is an instance with one spawn.
    let alg: u64 = unsafe { crypto_tfm::alg.get(crypto_skcipher::base.at(cipher)) };
    crypto_instance::ctx.at(alg)
}

extern "C" fn skcipher_init_tfm_simple(cipher: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: a cipher made by `skcipher_alloc_instance_simple`.
    unsafe {
        let made = cipher::of_spawn(spawn_of(cipher), caller);
        code(made.map(|made| ram::put(context(crypto_skcipher::base.at(cipher)), made)))
    }
}
extern "C" fn skcipher_exit_tfm_simple(cipher: u64) {
    let caller = ram::caller();
    // SAFETY: a cipher made by `skcipher_alloc_instance_simple`.
    unsafe {
        let inner = inner(cipher);
        transforms::close(inner, inner, caller);
    }
}
extern "C" fn skcipher_free_instance_simple(inst: u64) {
    let caller = ram::caller();
    instances::crypto_drop_spawn(crypto_instance::ctx.at(skcipher_instance::base.at(inst)));
    slab::release(inst, caller);
}

/// `struct skcipher_instance *skcipher_alloc_instance_simple(struct crypto_template *, struct rtattr **)`: an instance of a
/// block cipher, with everything filled in but `encrypt` and `decrypt`.
pub(crate) extern "C" fn skcipher_alloc_instance_simple(template: u64, attributes: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: what `create` of the module's template was given.
    pointer(unsafe { simple(template, attributes, caller) })
}

unsafe fn simple(template: u64, attributes: u64, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller has a template and its attributes; the instance has room for one spawn.
    unsafe {
        let mask = templates::check_type(attributes, TYPE_SKCIPHER)?;
        let size = skcipher_instance::base.at(0) + crypto_instance::ctx.at(0) + crypto_spawn::SIZE.get();
        let inst = slab::allocate(size.max(skcipher_instance::SIZE.get()), 8, slab::ZERO, caller);
        if inst == 0 {
            return Err(Errno::ENOMEM);
        }
        skcipher_instance::free.set(inst, function("skcipher_free_instance_simple"));
        let (base, alg) = (skcipher_instance::base.at(inst), skcipher_instance::alg.at(inst));
        let filled = templates::argument(attributes, 1).and_then(|name| {
            let spawn = crypto_instance::ctx.at(base);
            instances::grab(spawn, base, &name, TYPE_CIPHER, mask | TYPE_MASK)?;
            let inner: u64 = crypto_spawn::alg.get(spawn);
            templates::set_name(base, algorithms::text(crypto_template::name.at(template)), inner)?;
            for field in [&crypto_alg::cra_blocksize, &crypto_alg::cra_alignmask, &crypto_alg::cra_priority] {
                field.set(base, field.get::<u32>(inner));
            }
            skcipher_alg::min_keysize.set(alg, crypto_alg::cia_min_keysize.get::<u32>(inner));
            skcipher_alg::max_keysize.set(alg, crypto_alg::cia_max_keysize.get::<u32>(inner));
            skcipher_alg::ivsize.set(alg, crypto_alg::cra_blocksize.get::<u32>(inner));
            crypto_alg::cra_ctxsize.set(base, 8u32);
            skcipher_alg::setkey.set(alg, function("skcipher_setkey_simple"));
            skcipher_alg::init.set(alg, function("skcipher_init_tfm_simple"));
            skcipher_alg::exit.set(alg, function("skcipher_exit_tfm_simple"));
            Ok(())
        });
        if let Err(errno) = filled {
            skcipher_free_instance_simple(inst);
            return Err(errno);
        }
        Ok(inst)
    }
}
