//! Asynchronous hashes: `struct ahash_alg`, and synchronous hashes behind the same calls.
//!
//! In older kernels a transform holds the functions of its algorithm and C code calls them inline; newer ones note
//! `using_shash` and call out of line. Both are served: which members `struct crypto_ahash` has decides.

use ferrmod_kernel::Errno;

use super::algorithms::{self, hold, release};
use super::bytes::with_aligned;
use super::kinds::Kind;
use super::scatterlist::{extent, page_address, sg_next};
use super::shash::{self, crypto_shash, shash_alg, shash_desc};
use super::{
    NEED_KEY, OPTIONAL_KEY, TYPE_AHASH, TYPE_MASK, ask, change_flags, code, context, crypto_alg, crypto_async_request,
    crypto_tfm, function, instances, needs_key, result, set_key, transforms,
};
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::ram;

layout! {
    pub(crate) mod ahash_alg = "ahash_alg" {
        init, update, final_ = "final", finup, digest, export, import, setkey, init_tfm, exit_tfm, reqsize,
        digestsize = "halg.digestsize", statesize = "halg.statesize", base = "halg.base",
    }
    pub(crate) mod crypto_ahash = "crypto_ahash" {
        init, update, final_ = "final", finup, digest, export, import, setkey, reqsize, using_shash, statesize, base,
    }
    pub(crate) mod ahash_request = "ahash_request" { base, nbytes, src, result, ctx = "__ctx" }
    pub(crate) mod ahash_instance = "ahash_instance" { free, alg, base = "s.base" }
    mod hash_alg_common = "hash_alg_common" { base }
    mod crypto_hash_walk = "crypto_hash_walk" { data, offset, page = "pg", entrylen, total, sg }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_register_ahash, c crypto_unregister_ahash, c crypto_register_ahashes, c crypto_unregister_ahashes,
    c ahash_register_instance, c crypto_ahash_setkey, c crypto_ahash_init, c crypto_ahash_update, c crypto_ahash_final,
    c crypto_ahash_finup, c crypto_ahash_digest, c crypto_ahash_export, c crypto_ahash_import, c crypto_hash_alg_has_setkey,
    c crypto_hash_walk_first, c crypto_hash_walk_done, c shash_ahash_update, c shash_ahash_finup, c shash_ahash_digest,
    k ahash_nosetkey, c ahash_def_finup, c crypto_ahash_exit_tfm, c crypto_exit_ahash_using_shash, c shash_async_init,
    c shash_async_update, c shash_async_final, c shash_async_finup, c shash_async_digest, c shash_async_export,
    c shash_async_import, c shash_async_setkey,
];

/// The operations, as the members of the algorithm and of the transform that keep them.
const OPERATIONS: [(&Field, &Field, &str); 7] = [
    (&ahash_alg::init, &crypto_ahash::init, "shash_async_init"),
    (&ahash_alg::update, &crypto_ahash::update, "shash_async_update"),
    (&ahash_alg::final_, &crypto_ahash::final_, "shash_async_final"),
    (&ahash_alg::finup, &crypto_ahash::finup, "shash_async_finup"),
    (&ahash_alg::digest, &crypto_ahash::digest, "shash_async_digest"),
    (&ahash_alg::export, &crypto_ahash::export, "shash_async_export"),
    (&ahash_alg::import, &crypto_ahash::import, "shash_async_import"),
];

/// Whether transforms keep the functions themselves.
fn keeps_operations() -> bool {
    crypto_ahash::init.offset().is_some()
}

unsafe fn base_alg(hash: u64) -> u64 {
    // SAFETY: the caller has a live hash.
    unsafe { crypto_tfm::alg.get(crypto_ahash::base.at(hash)) }
}

/// Whether the hash is a synchronous one behind asynchronous calls.
unsafe fn is_shash(hash: u64) -> bool {
    // SAFETY: the caller has a live hash.
    unsafe { Kind::of(base_alg(hash)) == Some(Kind::Shash) }
}

/// That synchronous hash; it is all the context holds.
unsafe fn inner(hash: u64) -> u64 {
    // SAFETY: the caller has a hash for which `is_shash` holds.
    unsafe { ram::get(context(crypto_ahash::base.at(hash))) }
}

/// `init_tfm` of the frontend.
///
/// # Safety
/// As [`Kind::init`].
pub(crate) unsafe fn init(tfm: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the transform.
    unsafe {
        let hash = crypto_ahash::base.container(tfm);
        let base = base_alg(hash);
        if crypto_ahash::setkey.offset().is_some() {
            crypto_ahash::setkey.set(hash, function("ahash_nosetkey"));
        }
        if is_shash(hash) {
            return init_over_shash(hash, tfm, base, caller);
        }
        let alg = ahash_alg::base.container(base);
        if keeps_operations() {
            for (from, to, _) in OPERATIONS {
                to.set(hash, from.get::<u64>(alg));
            }
            if ahash_alg::finup.get::<u64>(alg) == 0 {
                crypto_ahash::finup.set(hash, function("ahash_def_finup"));
            }
        }
        if crypto_ahash::statesize.offset().is_some() {
            crypto_ahash::statesize.set(hash, ahash_alg::statesize.get::<u32>(alg));
            crypto_ahash::reqsize.set(hash, ahash_alg::reqsize.get::<u32>(alg));
        }
        if has_setkey(alg) {
            if crypto_ahash::setkey.offset().is_some() {
                crypto_ahash::setkey.set(hash, ahash_alg::setkey.get::<u64>(alg));
            }
            if algorithms::flags(base) & OPTIONAL_KEY == 0 {
                change_flags(tfm, NEED_KEY, 0);
            }
        }
        if ahash_alg::exit_tfm.get::<u64>(alg) != 0 {
            crypto_tfm::exit.set(tfm, function("crypto_ahash_exit_tfm"));
        }
        match ahash_alg::init_tfm.get::<u64>(alg) {
            0 => Ok(()),
            init => result(ask(init, [hash])),
        }
    }
}

unsafe fn init_over_shash(hash: u64, tfm: u64, base: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller has a new transform of a synchronous hash; its context holds a pointer.
    unsafe {
        if !hold(base) {
            return Err(Errno::EAGAIN);
        }
        let made = transforms::create(base, Kind::Shash, caller).inspect_err(|_| release(base))?;
        ram::put(context(tfm), made);
        crypto_tfm::exit.set(tfm, function("crypto_exit_ahash_using_shash"));
        if keeps_operations() {
            for (_, to, name) in OPERATIONS {
                to.set(hash, function(name));
            }
        }
        let alg = shash::alg_of(made);
        if crypto_ahash::setkey.offset().is_some() && shash::has_setkey(alg) {
            crypto_ahash::setkey.set(hash, function("shash_async_setkey"));
        }
        if crypto_ahash::using_shash.offset().is_some() {
            crypto_ahash::using_shash.set(hash, 1u8);
            crypto_ahash::statesize.set(hash, shash_alg::statesize.get::<u32>(alg));
        }
        let flags: u32 = crypto_tfm::crt_flags.get(crypto_shash::base.at(made));
        change_flags(tfm, flags & NEED_KEY, 0);
        crypto_ahash::reqsize.set(hash, shash_desc::SIZE.get() as u32 + crypto_shash::descsize.get::<u32>(made));
        Ok(())
    }
}

extern "C" fn crypto_exit_ahash_using_shash(tfm: u64) {
    let caller = ram::caller();
    // SAFETY: a transform that `init_over_shash` made ready.
    unsafe { transforms::close_kind(inner(crypto_ahash::base.container(tfm)), Kind::Shash, caller) };
}
extern "C" fn crypto_ahash_exit_tfm(tfm: u64) {
    // SAFETY: a transform whose algorithm has an `exit_tfm`.
    unsafe {
        let hash = crypto_ahash::base.container(tfm);
        ram::call(ahash_alg::exit_tfm.get(ahash_alg::base.container(base_alg(hash))), [hash]);
    }
}

/// `int ahash_nosetkey(struct crypto_ahash *, const u8 *, unsigned int)`
extern "C" fn ahash_nosetkey() -> i32 {
    Errno::ENOSYS.to_return()
}

unsafe fn has_setkey(alg: u64) -> bool {
    // SAFETY: the caller has a `struct ahash_alg`.
    let set: u64 = unsafe { ahash_alg::setkey.get(alg) };
    set != 0 && set != function("ahash_nosetkey")
}

unsafe fn prepare(alg: u64) -> Result<(), Errno> {
    // SAFETY: the caller has a `struct ahash_alg` to register.
    unsafe {
        let state: u32 = ahash_alg::statesize.get(alg);
        if ahash_alg::digestsize.get::<u32>(alg) > shash::MAX_DIGEST || state > shash::MAX_STATE || state == 0 {
            return Err(Errno::EINVAL);
        }
        let base = ahash_alg::base.at(alg);
        crypto_alg::cra_type.set(base, Kind::Ahash.frontend());
        crypto_alg::cra_flags.set(base, (algorithms::flags(base) & !TYPE_MASK) | TYPE_AHASH);
        if !keeps_operations() {
            for (field, name) in [(&ahash_alg::finup, "ahash_def_finup"), (&ahash_alg::setkey, "ahash_nosetkey")] {
                if field.get::<u64>(alg) == 0 {
                    field.set(alg, function(name));
                }
            }
        }
        Ok(())
    }
}

/// `int crypto_register_ahash(struct ahash_alg *)`
extern "C" fn crypto_register_ahash(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    unsafe { code(prepare(alg).and_then(|()| algorithms::register(ahash_alg::base.at(alg)))) }
}
extern "C" fn crypto_unregister_ahash(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { algorithms::unregister(ahash_alg::base.at(alg), caller) };
}
extern "C" fn crypto_register_ahashes(algs: u64, count: i32) -> i32 {
    algorithms::register_all(algs, count, ahash_alg::SIZE.get(), crypto_register_ahash, crypto_unregister_ahash)
}
extern "C" fn crypto_unregister_ahashes(algs: u64, count: i32) {
    algorithms::unregister_all(algs, count, ahash_alg::SIZE.get(), crypto_unregister_ahash);
}

/// `int ahash_register_instance(struct crypto_template *, struct ahash_instance *)`
extern "C" fn ahash_register_instance(template: u64, inst: u64) -> i32 {
    // SAFETY: the module's template and instance.
    unsafe {
        if ahash_instance::free.get::<u64>(inst) == 0 {
            return Errno::EINVAL.to_return();
        }
        let prepared = prepare(ahash_instance::alg.at(inst));
        code(prepared.and_then(|()| instances::register_instance(template, ahash_instance::base.at(inst))))
    }
}

/// `bool crypto_hash_alg_has_setkey(struct hash_alg_common *)`
extern "C" fn crypto_hash_alg_has_setkey(common: u64) -> bool {
    // SAFETY: the module's algorithm, synchronous or not.
    unsafe {
        let base = hash_alg_common::base.at(common);
        match Kind::of(base) {
            Some(Kind::Shash) => shash::has_setkey(shash_alg::base.container(base)),
            _ => has_setkey(ahash_alg::base.container(base)),
        }
    }
}

/// `int crypto_ahash_setkey(struct crypto_ahash *, const u8 *, unsigned int)`
pub(crate) extern "C" fn crypto_ahash_setkey(hash: u64, key: u64, length: u32) -> i32 {
    // SAFETY: the caller's hash and key.
    unsafe {
        let tfm = crypto_ahash::base.at(hash);
        if is_shash(hash) {
            let answer = shash::crypto_shash_setkey(inner(hash), key, length);
            let flags: u32 = crypto_tfm::crt_flags.get(crypto_shash::base.at(inner(hash)));
            change_flags(tfm, flags & NEED_KEY, NEED_KEY);
            return answer;
        }
        let alg = ahash_alg::base.container(base_alg(hash));
        let set = if keeps_operations() { crypto_ahash::setkey.get(hash) } else { ahash_alg::setkey.get(alg) };
        let wanted = has_setkey(alg) && algorithms::flags(base_alg(hash)) & OPTIONAL_KEY == 0;
        set_key(set, hash, tfm, key, length, crypto_alg::cra_alignmask.get(base_alg(hash)), wanted)
    }
}

unsafe fn hash_of(request: u64) -> u64 {
    // SAFETY: the caller's request.
    unsafe { crypto_ahash::base.container(crypto_async_request::tfm.get(ahash_request::base.at(request))) }
}

/// The descriptor of a synchronous hash in a request's context.
unsafe fn descriptor(request: u64) -> u64 {
    let desc = ahash_request::ctx.at(request);
    // SAFETY: the caller's request of a hash for which `is_shash` holds; its context has room for a descriptor.
    unsafe { shash_desc::tfm.set(desc, inner(hash_of(request))) };
    desc
}

/// Calls operation `index` with arguments of which the first is the request.
unsafe fn operate<const N: usize>(index: usize, arguments: [u64; N]) -> i32 {
    // SAFETY: the caller's request.
    unsafe {
        let hash = hash_of(arguments[0]);
        let (of_alg, of_hash, over_shash) = OPERATIONS[index];
        let target = if keeps_operations() {
            of_hash.get(hash)
        } else if is_shash(hash) {
            function(over_shash)
        } else {
            of_alg.get(ahash_alg::base.container(base_alg(hash)))
        };
        ask(target, arguments)
    }
}

unsafe fn lacks_key(request: u64) -> bool {
    // SAFETY: the caller's request.
    unsafe { needs_key(crypto_ahash::base.at(hash_of(request))) }
}

/// Calls an operation that gives the digest, aligned as the algorithm asks. A request that may be over later keeps its own
/// pointer: nobody would be there to copy the result.
unsafe fn conclude(index: usize, request: u64) -> i32 {
    // SAFETY: the caller's request.
    unsafe {
        let hash = hash_of(request);
        let base = base_alg(hash);
        let mask: u32 = crypto_alg::cra_alignmask.get(base);
        let out: u64 = ahash_request::result.get(request);
        if is_shash(hash) || algorithms::flags(base) & super::ASYNC != 0 || out & u64::from(mask) == 0 {
            return operate(index, [request]);
        }
        let size = u64::from(ahash_alg::digestsize.get::<u32>(ahash_alg::base.container(base)));
        let answer = with_aligned(out, size, mask, |aligned| {
            ahash_request::result.set(request, aligned);
            operate(index, [request])
        });
        ahash_request::result.set(request, out);
        answer
    }
}

/// `int crypto_ahash_init(struct ahash_request *)`
pub(crate) extern "C" fn crypto_ahash_init(request: u64) -> i32 {
    // SAFETY: the caller's request.
    unsafe { if lacks_key(request) { Errno::ENOKEY.to_return() } else { operate(0, [request]) } }
}
extern "C" fn crypto_ahash_update(request: u64) -> i32 {
    // SAFETY: the module's request.
    unsafe { operate(1, [request]) }
}
extern "C" fn crypto_ahash_final(request: u64) -> i32 {
    // SAFETY: the module's request.
    unsafe { conclude(2, request) }
}
extern "C" fn crypto_ahash_finup(request: u64) -> i32 {
    // SAFETY: the module's request.
    unsafe { conclude(3, request) }
}

/// `int crypto_ahash_digest(struct ahash_request *)`
pub(crate) extern "C" fn crypto_ahash_digest(request: u64) -> i32 {
    // SAFETY: the caller's request.
    unsafe { if lacks_key(request) { Errno::ENOKEY.to_return() } else { conclude(4, request) } }
}
extern "C" fn crypto_ahash_export(request: u64, out: u64) -> i32 {
    // SAFETY: the module's request, and room for a state.
    unsafe { operate(5, [request, out]) }
}
extern "C" fn crypto_ahash_import(request: u64, state: u64) -> i32 {
    // SAFETY: the module's request and state.
    unsafe { if lacks_key(request) { Errno::ENOKEY.to_return() } else { operate(6, [request, state]) } }
}

/// What an algorithm without `finup` has: `update`, then `final`. An `update` that is over later would need a second request;
/// it is refused by name.
extern "C" fn ahash_def_finup(request: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's request.
    unsafe {
        match operate(1, [request]) {
            0 => operate(2, [request]),
            answer if answer == Errno::EINPROGRESS.to_return() || answer == Errno::EBUSY.to_return() => {
                ferrmod_kernel::kernel().warn("crypto: finup of an asynchronous hash that has none", caller);
                Errno::EOPNOTSUPP.to_return()
            }
            answer => answer,
        }
    }
}

/// The pieces of a request's data; `visit` gets address, bytes, and whether it is the last.
unsafe fn pieces(request: u64, mut visit: impl FnMut(u64, u32, bool) -> i32) -> i32 {
    // SAFETY: the caller's request.
    unsafe {
        let mut left: u32 = ahash_request::nbytes.get(request);
        let mut sg: u64 = ahash_request::src.get(request);
        while left != 0 && sg != 0 {
            let (offset, length) = extent(sg);
            let now = length.min(left);
            left -= now;
            if now != 0 {
                let answer = visit(page_address(sg) + u64::from(offset), now, left == 0);
                if answer != 0 {
                    return answer;
                }
            }
            if left != 0 {
                sg = sg_next(sg);
            }
        }
        0
    }
}

/// `int shash_ahash_update(struct ahash_request *, struct shash_desc *)`
extern "C" fn shash_ahash_update(request: u64, desc: u64) -> i32 {
    // SAFETY: the module's request and descriptor.
    unsafe { pieces(request, |data, length, _| shash::crypto_shash_update(desc, data, length)) }
}

/// `int shash_ahash_finup(struct ahash_request *, struct shash_desc *)`
extern "C" fn shash_ahash_finup(request: u64, desc: u64) -> i32 {
    // SAFETY: the module's request and descriptor.
    unsafe {
        let out: u64 = ahash_request::result.get(request);
        if ahash_request::nbytes.get::<u32>(request) == 0 {
            return shash::crypto_shash_final(desc, out);
        }
        pieces(request, |data, length, last| {
            if last {
                shash::crypto_shash_finup(desc, data, length, out)
            } else {
                shash::crypto_shash_update(desc, data, length)
            }
        })
    }
}

/// `int shash_ahash_digest(struct ahash_request *, struct shash_desc *)`
extern "C" fn shash_ahash_digest(request: u64, desc: u64) -> i32 {
    // SAFETY: the module's request and descriptor.
    unsafe {
        let (sg, length): (u64, u32) = (ahash_request::src.get(request), ahash_request::nbytes.get(request));
        if length != 0 && sg != 0 && extent(sg).1 >= length {
            let data = page_address(sg) + u64::from(extent(sg).0);
            return shash::crypto_shash_digest(desc, data, length, ahash_request::result.get(request));
        }
        match shash::begin(desc) {
            0 => shash_ahash_finup(request, desc),
            answer => answer,
        }
    }
}

extern "C" fn shash_async_init(request: u64) -> i32 {
    // SAFETY: the request of a synchronous hash.
    unsafe { shash::begin(descriptor(request)) }
}
extern "C" fn shash_async_update(request: u64) -> i32 {
    // SAFETY: the request of a synchronous hash.
    unsafe { shash_ahash_update(request, descriptor(request)) }
}
extern "C" fn shash_async_final(request: u64) -> i32 {
    // SAFETY: the request of a synchronous hash.
    unsafe { shash::crypto_shash_final(descriptor(request), ahash_request::result.get(request)) }
}
extern "C" fn shash_async_finup(request: u64) -> i32 {
    // SAFETY: the request of a synchronous hash.
    unsafe { shash_ahash_finup(request, descriptor(request)) }
}
extern "C" fn shash_async_digest(request: u64) -> i32 {
    // SAFETY: the request of a synchronous hash.
    unsafe { shash_ahash_digest(request, descriptor(request)) }
}
extern "C" fn shash_async_export(request: u64, out: u64) -> i32 {
    // SAFETY: the request of a synchronous hash, and room for a state.
    unsafe { shash::crypto_shash_export(descriptor(request), out) }
}
extern "C" fn shash_async_import(request: u64, state: u64) -> i32 {
    // SAFETY: the request of a synchronous hash, and a state.
    unsafe { shash::crypto_shash_import(descriptor(request), state) }
}
extern "C" fn shash_async_setkey(hash: u64, key: u64, length: u32) -> i32 {
    // SAFETY: a synchronous hash behind asynchronous calls.
    unsafe { shash::crypto_shash_setkey(inner(hash), key, length) }
}

/// Sets a hash walk to the piece it is at; its length.
unsafe fn walk_to(walk: u64, sg: u64) -> i32 {
    // SAFETY: the caller's walk and an entry of its list.
    unsafe {
        let (offset, length) = extent(sg);
        let now = length.min(crypto_hash_walk::total.get(walk));
        let address = page_address(sg) + u64::from(offset);
        crypto_hash_walk::sg.set(walk, sg);
        crypto_hash_walk::offset.set(walk, (address % 4096) as u32);
        crypto_hash_walk::page.set(walk, super::scatterlist::page_of(address));
        crypto_hash_walk::data.set(walk, address);
        // C asks whether anything is left by these two: what is being looked at is in neither.
        crypto_hash_walk::entrylen.set(walk, 0u32);
        crypto_hash_walk::total.set(walk, crypto_hash_walk::total.get::<u32>(walk) - now);
        now as i32
    }
}

/// `int crypto_hash_walk_first(struct ahash_request *, struct crypto_hash_walk *)`: bytes at `data`.
extern "C" fn crypto_hash_walk_first(request: u64, walk: u64) -> i32 {
    // SAFETY: the module's request and walk.
    unsafe {
        let total: u32 = ahash_request::nbytes.get(request);
        crypto_hash_walk::total.set(walk, total);
        crypto_hash_walk::entrylen.set(walk, 0u32);
        if total == 0 { 0 } else { walk_to(walk, ahash_request::src.get(request)) }
    }
}

/// `int crypto_hash_walk_done(struct crypto_hash_walk *, int err)`: bytes of the next piece, 0 at the end.
extern "C" fn crypto_hash_walk_done(walk: u64, error: i32) -> i32 {
    // SAFETY: the module's walk.
    unsafe {
        if error != 0 || crypto_hash_walk::total.get::<u32>(walk) == 0 {
            return error;
        }
        match sg_next(crypto_hash_walk::sg.get(walk)) {
            0 => 0,
            sg => walk_to(walk, sg),
        }
    }
}
