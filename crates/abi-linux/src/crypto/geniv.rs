//! IV generators over authenticated ciphers, for kernels that have their common part built in.

use ferrmod_kernel::Errno;

use super::aead::{
    aead_alg, aead_instance, aead_request, alg_of, crypto_aead, crypto_aead_setauthsize, crypto_aead_setkey,
};
use super::kinds::Kind;
use super::{
    TYPE_AEAD, algorithms, code, context, crypto_alg, crypto_instance, crypto_spawn, crypto_template, crypto_tfm,
    function, instances, null, pointer, rng, templates, transforms,
};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod aead_geniv_ctx = "aead_geniv_ctx" { child, sknull, salt }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c aead_geniv_alloc, c aead_init_geniv, c aead_exit_geniv, c aead_geniv_setkey, c aead_geniv_setauthsize, c aead_geniv_free,
];

/// `struct aead_instance *aead_geniv_alloc(struct crypto_template *, struct rtattr **)`
extern "C" fn aead_geniv_alloc(template: u64, attributes: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: what `create` of the module's template was given.
    pointer(unsafe { allocate(template, attributes, caller) })
}

unsafe fn allocate(template: u64, attributes: u64, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller has a template and its attributes; the instance has room for one spawn.
    unsafe {
        let mask = templates::check_type(attributes, TYPE_AEAD)?;
        let size = aead_instance::base.at(0) + crypto_instance::ctx.at(0) + crypto_spawn::SIZE.get();
        let inst = slab::allocate(size.max(aead_instance::SIZE.get()), 8, slab::ZERO, caller);
        if inst == 0 {
            return Err(Errno::ENOMEM);
        }
        let (base, alg) = (aead_instance::base.at(inst), aead_instance::alg.at(inst));
        let filled = templates::argument(attributes, 1).and_then(|name| {
            let spawn = crypto_instance::ctx.at(base);
            crypto_spawn::frontend.set(spawn, Kind::Aead.frontend());
            instances::grab(spawn, base, &name, 0, mask)?;
            let inner_base: u64 = crypto_spawn::alg.get(spawn);
            let inner = aead_alg::base.container(inner_base);
            // The IV carries a 64-bit sequence number.
            if aead_alg::ivsize.get::<u32>(inner) < 8 {
                return Err(Errno::EINVAL);
            }
            let template_name = algorithms::text(crypto_template::name.at(template));
            templates::set_name(base, template_name, inner_base)?;
            for field in [&crypto_alg::cra_blocksize, &crypto_alg::cra_alignmask, &crypto_alg::cra_priority] {
                field.set(base, field.get::<u32>(inner_base));
            }
            for field in [&aead_alg::ivsize, &aead_alg::maxauthsize, &aead_alg::chunksize] {
                field.set(alg, field.get::<u32>(inner));
            }
            crypto_alg::cra_ctxsize.set(base, aead_geniv_ctx::SIZE.get() as u32);
            aead_alg::setkey.set(alg, function("aead_geniv_setkey"));
            aead_alg::setauthsize.set(alg, function("aead_geniv_setauthsize"));
            aead_instance::free.set(inst, function("aead_geniv_free"));
            Ok(())
        });
        if let Err(errno) = filled {
            aead_geniv_free(inst);
            return Err(errno);
        }
        Ok(inst)
    }
}

extern "C" fn aead_geniv_free(inst: u64) {
    let caller = ram::caller();
    instances::crypto_drop_spawn(crypto_instance::ctx.at(aead_instance::base.at(inst)));
    slab::release(inst, caller);
}

unsafe fn child(aead: u64) -> u64 {
    // SAFETY: the caller has a transform that `aead_init_geniv` made ready.
    unsafe { aead_geniv_ctx::child.get(context(crypto_aead::base.at(aead))) }
}

extern "C" fn aead_geniv_setkey(aead: u64, key: u64, length: u32) -> i32 {
    // SAFETY: a transform that `aead_init_geniv` made ready.
    crypto_aead_setkey(unsafe { child(aead) }, key, length)
}
extern "C" fn aead_geniv_setauthsize(aead: u64, size: u32) -> i32 {
    // SAFETY: a transform that `aead_init_geniv` made ready.
    crypto_aead_setauthsize(unsafe { child(aead) }, size)
}

/// `int aead_init_geniv(struct crypto_aead *)`
extern "C" fn aead_init_geniv(aead: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's transform.
    code(unsafe { init(aead, caller) })
}

unsafe fn init(aead: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller has a new transform whose context is a `struct aead_geniv_ctx` with room for a salt.
    unsafe {
        let ctx = context(crypto_aead::base.at(aead));
        rng::hold_default()?;
        let salted = rng::default_bytes(aead_geniv_ctx::salt.at(ctx), aead_alg::ivsize.get(alg_of(aead)));
        rng::crypto_put_default_rng();
        super::result(salted)?;
        let sknull = null::hold_default()?;
        aead_geniv_ctx::sknull.set(ctx, sknull);
        let inst: u64 = crypto_tfm::alg.get(crypto_aead::base.at(aead));
        let child =
            transforms::spawn(crypto_instance::ctx.at(inst), caller).inspect_err(|_| null::release_default(caller))?;
        aead_geniv_ctx::child.set(ctx, child);
        let size = crypto_aead::reqsize.get::<u32>(child) + aead_request::SIZE.get() as u32;
        crypto_aead::reqsize.set(aead, size);
        Ok(())
    }
}

/// `void aead_exit_geniv(struct crypto_aead *)`
extern "C" fn aead_exit_geniv(aead: u64) {
    let caller = ram::caller();
    // SAFETY: a transform that `aead_init_geniv` made ready.
    unsafe { transforms::close_kind(child(aead), Kind::Aead, caller) };
    null::release_default(caller);
}
