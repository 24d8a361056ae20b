//! The template `hmac` (RFC 2104), which Linux has built in.
//!
//! The context of a transform is the hash below it and two states of that hash: after the key block XOR `ipad`, and XOR `opad`.

use ferrmod_kernel::Errno;

use super::builtin::template;
use super::kinds::Kind;
use super::shash::{
    self, Desc, crypto_shash, crypto_shash_digest, crypto_shash_export, crypto_shash_final, crypto_shash_finup,
    crypto_shash_import, crypto_shash_update, shash_alg, shash_desc, shash_instance, shash_register_instance,
};
use super::{
    OPTIONAL_KEY, TYPE_SHASH, algorithms, builtin, code, context, crypto_alg, crypto_instance, crypto_spawn,
    crypto_template, crypto_tfm, instances, result, templates, transforms,
};
use crate::export::{Export, exports};
use crate::{ram, slab};

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c hmac_create, c hmac_init, c hmac_update, c hmac_final, c hmac_finup, c hmac_export, c hmac_import, c hmac_setkey,
    c hmac_init_tfm, c hmac_exit_tfm,
];

/// RFC 2104, 2
const IPAD: u8 = 0x36;
const OPAD: u8 = 0x5c;

/// The longest block of any hash (`MAX_ALGAPI_BLOCKSIZE`).
const MAX_BLOCK: usize = 160;

/// Registers the template.
pub(crate) fn begin() {
    template("hmac", "hmac_create");
}

extern "C" fn hmac_create(template: u64, attributes: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: what the lookup gives a template.
    code(unsafe { create(template, attributes, caller) })
}

unsafe fn create(template: u64, attributes: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller has a template and its attributes; the instance has room for one spawn.
    unsafe {
        let mask = templates::check_type(attributes, TYPE_SHASH)?;
        let size = shash_instance::base.at(0) + crypto_instance::ctx.at(0) + crypto_spawn::SIZE.get();
        let inst = slab::allocate(size.max(shash_instance::SIZE.get()), 8, slab::ZERO, caller);
        if inst == 0 {
            return Err(Errno::ENOMEM);
        }
        let answer =
            fill(template, attributes, inst, mask).and_then(|()| result(shash_register_instance(template, inst)));
        if answer.is_err() {
            instances::crypto_drop_spawn(crypto_instance::ctx.at(shash_instance::base.at(inst)));
            slab::release(inst, caller);
        }
        answer
    }
}

unsafe fn fill(template: u64, attributes: u64, inst: u64, mask: u32) -> Result<(), Errno> {
    // SAFETY: the caller has a cleared instance.
    unsafe {
        let (base, alg) = (shash_instance::base.at(inst), shash_instance::alg.at(inst));
        let spawn = crypto_instance::ctx.at(base);
        crypto_spawn::frontend.set(spawn, Kind::Shash.frontend());
        instances::grab(spawn, base, &templates::argument(attributes, 1)?, 0, mask)?;
        let inner_base: u64 = crypto_spawn::alg.get(spawn);
        let inner = shash_alg::base.container(inner_base);
        let (digest, state): (u32, u32) = (shash_alg::digestsize.get(inner), shash_alg::statesize.get(inner));
        let block: u32 = crypto_alg::cra_blocksize.get(inner_base);
        let keyed = shash::has_setkey(inner) && algorithms::flags(inner_base) & OPTIONAL_KEY == 0;
        // A hash whose state does not hold a block is none that RFC 2104 speaks of.
        if keyed || digest > block || state < block || block as usize > MAX_BLOCK {
            return Err(Errno::EINVAL);
        }
        templates::set_name(base, algorithms::text(crypto_template::name.at(template)), inner_base)?;
        for field in [&crypto_alg::cra_blocksize, &crypto_alg::cra_priority] {
            field.set(base, field.get::<u32>(inner_base));
        }
        shash_alg::digestsize.set(alg, digest);
        shash_alg::statesize.set(alg, state);
        shash_alg::descsize.set(alg, shash_desc::SIZE.get() as u32 + shash_alg::descsize.get::<u32>(inner));
        crypto_alg::cra_ctxsize.set(base, 8 + 2 * state.next_multiple_of(8));
        builtin::operations(
            alg,
            &[
                (&shash_alg::init, "hmac_init"),
                (&shash_alg::update, "hmac_update"),
                (&shash_alg::final_, "hmac_final"),
                (&shash_alg::finup, "hmac_finup"),
                (&shash_alg::export, "hmac_export"),
                (&shash_alg::import, "hmac_import"),
                (&shash_alg::setkey, "hmac_setkey"),
                (&shash_alg::init_tfm, "hmac_init_tfm"),
                (&shash_alg::exit_tfm, "hmac_exit_tfm"),
            ],
        );
        shash_instance::free.set(inst, super::function("shash_free_singlespawn_instance"));
        Ok(())
    }
}

/// The hash below, and the two states.
unsafe fn parts(parent: u64) -> (u64, u64, u64) {
    // SAFETY: the caller has a hash of this template.
    unsafe {
        let at = context(crypto_shash::base.at(parent));
        let hash: u64 = ram::get(at);
        let state = u64::from(shash_alg::statesize.get::<u32>(shash::alg_of(hash)).next_multiple_of(8));
        (hash, at + 8, at + 8 + state)
    }
}

extern "C" fn hmac_init_tfm(parent: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: a new hash of this template.
    unsafe {
        let tfm = crypto_shash::base.at(parent);
        let inst: u64 = crypto_tfm::alg.get(tfm);
        match transforms::spawn(crypto_instance::ctx.at(inst), caller) {
            Ok(hash) => {
                ram::put(context(tfm), hash);
                crypto_shash::descsize
                    .set(parent, shash_desc::SIZE.get() as u32 + crypto_shash::descsize.get::<u32>(hash));
                0
            }
            Err(errno) => errno.to_return(),
        }
    }
}
extern "C" fn hmac_exit_tfm(parent: u64) {
    let caller = ram::caller();
    // SAFETY: a hash of this template.
    unsafe { transforms::close_kind(ram::get(context(crypto_shash::base.at(parent))), Kind::Shash, caller) };
}

extern "C" fn hmac_setkey(parent: u64, key: u64, length: u32) -> i32 {
    // SAFETY: a hash of this template, and the caller's key; `fill` bounds the block.
    code(unsafe { set_key(parent, key, length) })
}

unsafe fn set_key(parent: u64, key: u64, length: u32) -> Result<(), Errno> {
    // SAFETY: see `hmac_setkey`.
    unsafe {
        let (hash, inner, outer) = parts(parent);
        let block = crypto_alg::cra_blocksize.get::<u32>(shash_alg::base.at(shash::alg_of(hash))) as usize;
        let mut desc = Desc::new(hash);
        let desc = desc.address();
        let mut bytes = [0u8; MAX_BLOCK];
        if length as usize > block {
            result(crypto_shash_digest(desc, key, length, bytes.as_mut_ptr() as u64))?;
        } else {
            bytes[..length as usize].copy_from_slice(ram::bytes(key, u64::from(length)));
        }
        for (pad, state) in [(IPAD, inner), (OPAD, outer)] {
            let mut padded = bytes;
            padded[..block].iter_mut().for_each(|byte| *byte ^= pad);
            result(shash::begin(desc))?;
            result(crypto_shash_update(desc, padded.as_ptr() as u64, block as u32))?;
            result(crypto_shash_export(desc, state))?;
        }
        Ok(())
    }
}

/// The descriptor of the hash below, in the context of ours.
unsafe fn below(desc: u64) -> (u64, u64) {
    // SAFETY: the caller has a descriptor of a hash of this template.
    unsafe {
        let inner = shash_desc::ctx.at(desc);
        let parent: u64 = shash_desc::tfm.get(desc);
        shash_desc::tfm.set(inner, parts(parent).0);
        (inner, parent)
    }
}

extern "C" fn hmac_init(desc: u64) -> i32 {
    // SAFETY: a descriptor of a hash of this template.
    unsafe {
        let (inner, parent) = below(desc);
        crypto_shash_import(inner, parts(parent).1)
    }
}
extern "C" fn hmac_update(desc: u64, data: u64, length: u32) -> i32 {
    // SAFETY: a descriptor of a hash of this template.
    crypto_shash_update(unsafe { below(desc).0 }, data, length)
}

/// The outer hash over the inner digest, which lies where the result goes.
unsafe fn conclude(desc: u64, out: u64, answer: i32) -> i32 {
    if answer != 0 {
        return answer;
    }
    // SAFETY: the caller has a descriptor of a hash of this template whose inner hash is done.
    unsafe {
        let (inner, parent) = below(desc);
        let (hash, _, outer) = parts(parent);
        match crypto_shash_import(inner, outer) {
            0 => crypto_shash_finup(inner, out, shash_alg::digestsize.get(shash::alg_of(hash)), out),
            answer => answer,
        }
    }
}

extern "C" fn hmac_final(desc: u64, out: u64) -> i32 {
    // SAFETY: a descriptor of a hash of this template.
    unsafe {
        let answer = crypto_shash_final(below(desc).0, out);
        conclude(desc, out, answer)
    }
}
extern "C" fn hmac_finup(desc: u64, data: u64, length: u32, out: u64) -> i32 {
    // SAFETY: a descriptor of a hash of this template.
    unsafe {
        let answer = crypto_shash_finup(below(desc).0, data, length, out);
        conclude(desc, out, answer)
    }
}
extern "C" fn hmac_export(desc: u64, out: u64) -> i32 {
    // SAFETY: a descriptor of a hash of this template.
    crypto_shash_export(unsafe { below(desc).0 }, out)
}
extern "C" fn hmac_import(desc: u64, state: u64) -> i32 {
    // SAFETY: a descriptor of a hash of this template.
    crypto_shash_import(unsafe { below(desc).0 }, state)
}
