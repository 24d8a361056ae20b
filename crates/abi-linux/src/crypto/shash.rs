//! Synchronous hashes: `struct shash_alg`, its defaults, and its calls.

use ferrmod_kernel::Errno;

use super::bytes::{Aligned, with_aligned};
use super::kinds::Kind;
use super::{
    NEED_KEY, OPTIONAL_KEY, TYPE_MASK, TYPE_SHASH, algorithms, ask, change_flags, code, crypto_alg, crypto_tfm,
    function, instances, needs_key, result, set_key,
};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    pub(crate) mod shash_alg = "shash_alg" {
        init, update, final_ = "final", finup, digest, export, import, setkey, init_tfm, exit_tfm, clone_tfm, descsize,
        digestsize, statesize, base,
    }
    pub(crate) mod crypto_shash = "crypto_shash" { descsize, base }
    pub(crate) mod shash_desc = "shash_desc" { tfm, ctx = "__ctx" }
    pub(crate) mod shash_instance = "shash_instance" { free, alg, base = "s.base" }
}

/// `HASH_MAX_DIGESTSIZE`, `HASH_MAX_DESCSIZE`, `HASH_MAX_STATESIZE`
pub(crate) const MAX_DIGEST: u32 = 64;
pub(crate) const MAX_DESC: u32 = 368;
pub(crate) const MAX_STATE: u32 = 512;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_register_shash, c crypto_unregister_shash, c crypto_register_shashes, c crypto_unregister_shashes,
    c shash_register_instance, c shash_free_singlespawn_instance, c crypto_shash_setkey, c crypto_shash_update,
    c crypto_shash_final, c crypto_shash_finup, c crypto_shash_digest, c crypto_shash_tfm_digest, c crypto_shash_export,
    c crypto_shash_import, c crypto_shash_alg_has_setkey, k shash_no_setkey, c crypto_shash_exit_tfm,
    c shash_default_finup, c shash_default_digest, c shash_default_export, c shash_default_import,
];

/// A descriptor on the stack of a caller that has none.
#[repr(C, align(64))]
pub(crate) struct Desc([u8; MAX_DESC as usize + 80]);

impl Desc {
    /// Of a hash.
    ///
    /// # Safety
    /// `hash` is a live `struct crypto_shash`.
    pub(crate) unsafe fn new(hash: u64) -> Self {
        let mut desc = Self([0; MAX_DESC as usize + 80]);
        // SAFETY: the array is larger than a descriptor's head.
        unsafe { shash_desc::tfm.set(desc.address(), hash) };
        desc
    }

    /// The `struct shash_desc`.
    pub(crate) fn address(&mut self) -> u64 {
        self.0.as_mut_ptr() as u64
    }
}

/// The `struct shash_alg` of a hash.
///
/// # Safety
/// `hash` is a live `struct crypto_shash`.
pub(crate) unsafe fn alg_of(hash: u64) -> u64 {
    // SAFETY: the caller vouches for the hash.
    unsafe { shash_alg::base.container(crypto_tfm::alg.get(crypto_shash::base.at(hash))) }
}

/// Whether an algorithm takes a key.
///
/// # Safety
/// `alg` is a registered `struct shash_alg`.
pub(crate) unsafe fn has_setkey(alg: u64) -> bool {
    // SAFETY: the caller vouches for the algorithm.
    unsafe { shash_alg::setkey.get::<u64>(alg) != function("shash_no_setkey") }
}

unsafe fn alignmask(alg: u64) -> u32 {
    // SAFETY: the caller has a `struct shash_alg`.
    unsafe { crypto_alg::cra_alignmask.get(shash_alg::base.at(alg)) }
}

/// `init_tfm` of the frontend.
///
/// # Safety
/// As [`Kind::init`].
pub(crate) unsafe fn init(tfm: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the transform.
    unsafe {
        let hash = crypto_shash::base.container(tfm);
        let alg = alg_of(hash);
        crypto_shash::descsize.set(hash, shash_alg::descsize.get::<u32>(alg));
        if has_setkey(alg) && algorithms::flags(shash_alg::base.at(alg)) & OPTIONAL_KEY == 0 {
            change_flags(tfm, NEED_KEY, 0);
        }
        if shash_alg::exit_tfm.get::<u64>(alg) != 0 {
            crypto_tfm::exit.set(tfm, function("crypto_shash_exit_tfm"));
        }
        let init: u64 = shash_alg::init_tfm.get(alg);
        if init == 0 {
            return Ok(());
        }
        result(ask(init, [hash]))?;
        // The algorithm may have made it larger.
        if crypto_shash::descsize.get::<u32>(hash) > MAX_DESC {
            crypto_shash_exit_tfm(tfm);
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// `void (*exit)(struct crypto_tfm *)`
extern "C" fn crypto_shash_exit_tfm(tfm: u64) {
    // SAFETY: the transform of a hash.
    unsafe {
        let hash = crypto_shash::base.container(tfm);
        let exit: u64 = shash_alg::exit_tfm.get(alg_of(hash));
        if exit != 0 {
            ram::call(exit, [hash]);
        }
    }
}

/// Checks an algorithm and fills in what it left out.
unsafe fn prepare(alg: u64) -> Result<(), Errno> {
    // SAFETY: the caller has a `struct shash_alg` to register.
    unsafe {
        let (export, import): (u64, u64) = (shash_alg::export.get(alg), shash_alg::import.get(alg));
        if shash_alg::digestsize.get::<u32>(alg) > MAX_DIGEST
            || shash_alg::descsize.get::<u32>(alg) > MAX_DESC
            || shash_alg::statesize.get::<u32>(alg) > MAX_STATE
            || (export == 0) != (import == 0)
        {
            return Err(Errno::EINVAL);
        }
        let base = shash_alg::base.at(alg);
        crypto_alg::cra_type.set(base, Kind::Shash.frontend());
        crypto_alg::cra_flags.set(base, (algorithms::flags(base) & !TYPE_MASK) | TYPE_SHASH);
        for (field, default) in [
            (&shash_alg::finup, "shash_default_finup"),
            (&shash_alg::digest, "shash_default_digest"),
            (&shash_alg::setkey, "shash_no_setkey"),
        ] {
            if field.get::<u64>(alg) == 0 {
                field.set(alg, function(default));
            }
        }
        if export == 0 {
            shash_alg::export.set(alg, function("shash_default_export"));
            shash_alg::import.set(alg, function("shash_default_import"));
            shash_alg::statesize.set(alg, shash_alg::descsize.get::<u32>(alg));
        }
        Ok(())
    }
}

/// `int crypto_register_shash(struct shash_alg *)`
pub(crate) extern "C" fn crypto_register_shash(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    unsafe { code(prepare(alg).and_then(|()| algorithms::register(shash_alg::base.at(alg)))) }
}

/// `void crypto_unregister_shash(struct shash_alg *)`
extern "C" fn crypto_unregister_shash(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { algorithms::unregister(shash_alg::base.at(alg), caller) };
}
extern "C" fn crypto_register_shashes(algs: u64, count: i32) -> i32 {
    algorithms::register_all(algs, count, shash_alg::SIZE.get(), crypto_register_shash, crypto_unregister_shash)
}
extern "C" fn crypto_unregister_shashes(algs: u64, count: i32) {
    algorithms::unregister_all(algs, count, shash_alg::SIZE.get(), crypto_unregister_shash);
}

/// `int shash_register_instance(struct crypto_template *, struct shash_instance *)`
pub(crate) extern "C" fn shash_register_instance(template: u64, inst: u64) -> i32 {
    // SAFETY: the module's template and instance.
    unsafe {
        if shash_instance::free.get::<u64>(inst) == 0 {
            return Errno::EINVAL.to_return();
        }
        let prepared = prepare(shash_instance::alg.at(inst));
        code(prepared.and_then(|()| instances::register_instance(template, shash_instance::base.at(inst))))
    }
}

/// `void shash_free_singlespawn_instance(struct shash_instance *)`
extern "C" fn shash_free_singlespawn_instance(inst: u64) {
    let caller = ram::caller();
    instances::crypto_drop_spawn(super::crypto_instance::ctx.at(shash_instance::base.at(inst)));
    slab::release(inst, caller);
}

/// `int shash_no_setkey(struct crypto_shash *, const u8 *, unsigned int)`: what an algorithm without keys has.
extern "C" fn shash_no_setkey() -> i32 {
    Errno::ENOSYS.to_return()
}

/// `bool crypto_shash_alg_has_setkey(struct shash_alg *)`
extern "C" fn crypto_shash_alg_has_setkey(alg: u64) -> bool {
    // SAFETY: the module's algorithm.
    unsafe { has_setkey(alg) }
}

/// `int crypto_shash_setkey(struct crypto_shash *, const u8 *key, unsigned int keylen)`
pub(crate) extern "C" fn crypto_shash_setkey(hash: u64, key: u64, length: u32) -> i32 {
    // SAFETY: the caller's hash and key.
    unsafe {
        let alg = alg_of(hash);
        let wanted = has_setkey(alg) && algorithms::flags(shash_alg::base.at(alg)) & OPTIONAL_KEY == 0;
        set_key(shash_alg::setkey.get(alg), hash, crypto_shash::base.at(hash), key, length, alignmask(alg), wanted)
    }
}

/// `crypto_shash_init`, which is inline in C.
///
/// # Safety
/// `desc` is a `struct shash_desc` with its hash set.
pub(crate) unsafe fn begin(desc: u64) -> i32 {
    // SAFETY: the caller vouches for the descriptor.
    unsafe {
        let hash = shash_desc::tfm.get(desc);
        if needs_key(crypto_shash::base.at(hash)) {
            return Errno::ENOKEY.to_return();
        }
        ask(shash_alg::init.get(alg_of(hash)), [desc])
    }
}

/// `int crypto_shash_update(struct shash_desc *, const u8 *, unsigned int)`
pub(crate) extern "C" fn crypto_shash_update(desc: u64, data: u64, length: u32) -> i32 {
    // SAFETY: the caller's descriptor and data.
    unsafe {
        let alg = alg_of(shash_desc::tfm.get(desc));
        match Aligned::of(data, u64::from(length), alignmask(alg)) {
            Ok(data) => ask(shash_alg::update.get(alg), [desc, data.address(), u64::from(length)]),
            Err(errno) => errno.to_return(),
        }
    }
}

/// `int crypto_shash_final(struct shash_desc *, u8 *out)`
pub(crate) extern "C" fn crypto_shash_final(desc: u64, out: u64) -> i32 {
    // SAFETY: the caller's descriptor, and room for a digest.
    unsafe {
        let alg = alg_of(shash_desc::tfm.get(desc));
        let size = u64::from(shash_alg::digestsize.get::<u32>(alg));
        with_aligned(out, size, alignmask(alg), |out| ask(shash_alg::final_.get(alg), [desc, out]))
    }
}

/// Calls one of the two functions that take data and give the digest.
unsafe fn whole(field: &crate::field::Field, desc: u64, data: u64, length: u32, out: u64) -> i32 {
    // SAFETY: the caller has a descriptor, data, and room for a digest.
    unsafe {
        let alg = alg_of(shash_desc::tfm.get(desc));
        let (mask, size) = (alignmask(alg), u64::from(shash_alg::digestsize.get::<u32>(alg)));
        match Aligned::of(data, u64::from(length), mask) {
            Ok(data) => {
                with_aligned(out, size, mask, |out| ask(field.get(alg), [desc, data.address(), u64::from(length), out]))
            }
            Err(errno) => errno.to_return(),
        }
    }
}

/// `int crypto_shash_finup(struct shash_desc *, const u8 *, unsigned int, u8 *out)`
pub(crate) extern "C" fn crypto_shash_finup(desc: u64, data: u64, length: u32, out: u64) -> i32 {
    // SAFETY: the caller's descriptor, data, and room for a digest.
    unsafe { whole(&shash_alg::finup, desc, data, length, out) }
}

/// `int crypto_shash_digest(struct shash_desc *, const u8 *, unsigned int, u8 *out)`
pub(crate) extern "C" fn crypto_shash_digest(desc: u64, data: u64, length: u32, out: u64) -> i32 {
    // SAFETY: the caller's descriptor, data, and room for a digest.
    unsafe {
        let hash = shash_desc::tfm.get(desc);
        if needs_key(crypto_shash::base.at(hash)) {
            return Errno::ENOKEY.to_return();
        }
        whole(&shash_alg::digest, desc, data, length, out)
    }
}

/// `int crypto_shash_tfm_digest(struct crypto_shash *, const u8 *, unsigned int, u8 *out)`
extern "C" fn crypto_shash_tfm_digest(hash: u64, data: u64, length: u32, out: u64) -> i32 {
    // SAFETY: the module's hash; `prepare` bounds what a descriptor needs.
    let mut desc = unsafe { Desc::new(hash) };
    crypto_shash_digest(desc.address(), data, length, out)
}

/// `int crypto_shash_export(struct shash_desc *, void *)`
pub(crate) extern "C" fn crypto_shash_export(desc: u64, out: u64) -> i32 {
    // SAFETY: the caller's descriptor, and room for a state.
    unsafe { ask(shash_alg::export.get(alg_of(shash_desc::tfm.get(desc))), [desc, out]) }
}

/// `int crypto_shash_import(struct shash_desc *, const void *)`
pub(crate) extern "C" fn crypto_shash_import(desc: u64, state: u64) -> i32 {
    // SAFETY: the caller's descriptor and state.
    unsafe {
        let hash = shash_desc::tfm.get(desc);
        if needs_key(crypto_shash::base.at(hash)) {
            return Errno::ENOKEY.to_return();
        }
        ask(shash_alg::import.get(alg_of(hash)), [desc, state])
    }
}

/// What an algorithm without `finup` has: `update`, then `final`.
extern "C" fn shash_default_finup(desc: u64, data: u64, length: u32, out: u64) -> i32 {
    match crypto_shash_update(desc, data, length) {
        0 => crypto_shash_final(desc, out),
        answer => answer,
    }
}

/// What an algorithm without `digest` has: `init`, then `finup`.
extern "C" fn shash_default_digest(desc: u64, data: u64, length: u32, out: u64) -> i32 {
    // SAFETY: the caller's descriptor.
    match unsafe { begin(desc) } {
        0 => crypto_shash_finup(desc, data, length, out),
        answer => answer,
    }
}

/// What an algorithm without `export` has: a copy of the descriptor's context.
extern "C" fn shash_default_export(desc: u64, out: u64) -> i32 {
    // SAFETY: the caller's descriptor, and room for a state.
    unsafe { ram::copy(out, shash_desc::ctx.at(desc), state_of(desc)) };
    0
}
extern "C" fn shash_default_import(desc: u64, state: u64) -> i32 {
    // SAFETY: the caller's descriptor and state.
    unsafe { ram::copy(shash_desc::ctx.at(desc), state, state_of(desc)) };
    0
}

unsafe fn state_of(desc: u64) -> u64 {
    // SAFETY: the caller has a descriptor.
    u64::from(unsafe { crypto_shash::descsize.get::<u32>(shash_desc::tfm.get(desc)) })
}
