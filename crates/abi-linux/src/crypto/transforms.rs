//! Transforms: an algorithm with a context of one user's.

use ferrmod_kernel::Errno;

use super::algorithms::{self, find, hold, look_up, release, set_flags};
use super::kinds::{Kind, padding};
use super::{
    ASYNC, DYING, TYPE_CIPHER, TYPE_COMPRESS, TYPE_MASK, ask, crypto_alg, crypto_spawn, crypto_tfm, instances, pointer,
    result, shash,
};
use crate::export::{Export, exports};
use crate::{ram, slab};

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_alloc_base, c __crypto_alloc_tfm, c __crypto_alloc_tfmgfp = __crypto_alloc_tfm, c crypto_alloc_tfm_node,
    c crypto_create_tfm_node, c crypto_destroy_tfm, c crypto_spawn_tfm, c crypto_spawn_tfm2, c crypto_alloc_shash,
    c crypto_alloc_ahash, c crypto_alloc_skcipher, c crypto_alloc_sync_skcipher, c crypto_alloc_aead, c crypto_alloc_akcipher,
    c crypto_alloc_kpp, c crypto_alloc_rng, c crypto_alloc_acomp, c crypto_alloc_acomp_node, c crypto_clone_tfm,
    c crypto_clone_shash, c crypto_clone_cipher, c crypto_alg_extsize,
];

/// How often a transform is tried again because its algorithm went while it was made.
const TRIES: u32 = 16;

/// The most a request of a synchronous cipher may need (`MAX_SYNC_SKCIPHER_REQSIZE`).
const MAX_SYNC_REQUEST: u32 = 384;

/// Makes a transform of a held algorithm. The algorithm's hold goes over to the transform.
///
/// # Errors
/// `ENOMEM`, or what the algorithm's own code answers; the algorithm is still the caller's then.
///
/// # Safety
/// `alg` is held by the caller.
pub(crate) unsafe fn create(alg: u64, kind: Kind, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the algorithm; the object has room for the frontend's struct, the transform and what
    // `extra` counts.
    unsafe {
        let before = kind.base().at(0);
        let object = allocate(before + crypto_tfm::SIZE.get() + kind.extra(alg), alg, before, caller)?;
        let tfm = object + before;
        finish(tfm, alg, object, kind.init(tfm, caller), caller)?;
        Ok(object)
    }
}

/// Makes a transform of a held algorithm without a frontend: a plain cipher or compressor.
///
/// # Errors
/// As [`create`].
///
/// # Safety
/// As [`create`].
pub(crate) unsafe fn create_plain(alg: u64, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the algorithm.
    unsafe {
        let size = match algorithms::flags(alg) & TYPE_MASK {
            TYPE_CIPHER | TYPE_COMPRESS => u64::from(crypto_alg::cra_ctxsize.get::<u32>(alg)),
            _ => return Err(Errno::EINVAL),
        };
        let tfm = allocate(crypto_tfm::SIZE.get() + padding(alg) + size, alg, 0, caller)?;
        finish(tfm, alg, tfm, Ok(()), caller)?;
        Ok(tfm)
    }
}

unsafe fn allocate(size: u64, alg: u64, before: u64, caller: u64) -> Result<u64, Errno> {
    let object = slab::allocate(size, 8, slab::ZERO, caller);
    if object == 0 {
        return Err(Errno::ENOMEM);
    }
    let tfm = object + before;
    // SAFETY: the object was just given to us and is large enough.
    unsafe {
        crypto_tfm::alg.set(tfm, alg);
        if crypto_tfm::refcnt.offset().is_some() {
            crypto_tfm::refcnt.set(tfm, 1u32);
        }
        // `NUMA_NO_NODE`
        crypto_tfm::node.set(tfm, -1i32);
    }
    Ok(object)
}

/// `cra_init`, unless the frontend's own `exit` shows that it has done the work; undoes everything on failure.
unsafe fn finish(tfm: u64, alg: u64, object: u64, begun: Result<(), Errno>, caller: u64) -> Result<(), Errno> {
    // SAFETY: `allocate` made the transform.
    unsafe {
        let answer = begun.and_then(|()| {
            let init: u64 = crypto_alg::cra_init.get(alg);
            let exit: u64 = crypto_tfm::exit.get(tfm);
            if exit == 0 && init != 0 { result(ask(init, [tfm])) } else { Ok(()) }
        });
        if let Err(errno) = answer {
            if begun.is_ok() {
                call_exit(tfm, alg);
            }
            if errno == Errno::EAGAIN {
                set_flags(alg, DYING);
            }
            slab::release(object, caller);
        }
        answer
    }
}

/// The frontend's `exit`.
unsafe fn call_exit(tfm: u64, alg: u64) {
    // SAFETY: the caller has a transform of that algorithm.
    unsafe {
        let exit: u64 = crypto_tfm::exit.get(tfm);
        if exit != 0 && crypto_alg::cra_type.get::<u64>(alg) != 0 {
            ram::call(exit, [tfm]);
        }
    }
}

/// Finds an algorithm and makes a transform of it.
///
/// # Errors
/// As [`algorithms::look_up`] and [`create`].
pub(crate) fn open(name: &[u8], kind: Kind, wanted: u32, mask: u32, caller: u64) -> Result<u64, Errno> {
    again(|| {
        let alg = find(name, Some(kind), wanted, mask)?;
        // SAFETY: just found, and held.
        unsafe { create(alg, kind, caller).inspect_err(|_| release(alg)) }
    })
}

/// Finds a plain cipher or compressor and makes a transform of it.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_plain(name: &[u8], wanted: u32, mask: u32, caller: u64) -> Result<u64, Errno> {
    again(|| {
        let alg = look_up(name, wanted, mask)?;
        // SAFETY: just found, and held.
        unsafe { create_plain(alg, caller).inspect_err(|_| release(alg)) }
    })
}

fn again(make: impl Fn() -> Result<u64, Errno>) -> Result<u64, Errno> {
    let mut answer = Err(Errno::EAGAIN);
    for _ in 0..TRIES {
        answer = make();
        if answer != Err(Errno::EAGAIN) {
            break;
        }
    }
    answer
}

/// Ends a transform: `cra_exit` or the frontend's `exit`, the algorithm's hold, the memory (cleared: it held keys).
///
/// # Safety
/// `object` is what [`create`] answered and `tfm` the transform in it, or 0 or an error.
pub(crate) unsafe fn close(object: u64, tfm: u64, caller: u64) {
    if object == 0 || Errno::from_pointer(object).is_some() {
        return;
    }
    // SAFETY: the caller vouches for the transform.
    unsafe {
        if crypto_tfm::refcnt.offset().is_some() {
            let count = crypto_tfm::refcnt.get::<u32>(tfm).wrapping_sub(1);
            crypto_tfm::refcnt.set(tfm, count);
            if count != 0 {
                return;
            }
        }
        let alg: u64 = crypto_tfm::alg.get(tfm);
        let exit: u64 = crypto_alg::cra_exit.get(alg);
        if crypto_tfm::exit.get::<u64>(tfm) == 0 && exit != 0 {
            ram::call(exit, [tfm]);
        }
        call_exit(tfm, alg);
        release(alg);
        if let Some(allocation) = ferrmod_kernel::kernel().heap.find(object) {
            ram::fill(object, 0, allocation.size);
        }
        slab::release(object, caller);
    }
}

/// Ends a transform of a known kind.
///
/// # Safety
/// `object` is what [`create`] answered for `kind`, or 0 or an error.
pub(crate) unsafe fn close_kind(object: u64, kind: Kind, caller: u64) {
    // SAFETY: the caller vouches for the object.
    unsafe { close(object, kind.base().at(object), caller) };
}

/// `void crypto_destroy_tfm(void *mem, struct crypto_tfm *tfm)`
extern "C" fn crypto_destroy_tfm(object: u64, tfm: u64) {
    let caller = ram::caller();
    // SAFETY: the module's transform.
    unsafe { close(object, tfm, caller) };
}

/// `struct crypto_tfm *crypto_alloc_base(const char *, u32 type, u32 mask)`
extern "C" fn crypto_alloc_base(name: u64, kind: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's string; copied, because what is loaded may free it.
    pointer(open_plain(&unsafe { ram::c_string_or_empty(name) }, kind, mask, caller))
}

/// `struct crypto_tfm *__crypto_alloc_tfm(struct crypto_alg *, u32 type, u32 mask)`: the caller holds the algorithm.
extern "C" fn __crypto_alloc_tfm(alg: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module holds it.
    pointer(unsafe { create_plain(alg, caller) })
}

/// `void *crypto_create_tfm_node(struct crypto_alg *, const struct crypto_type *, int node)`: the caller holds the algorithm.
extern "C" fn crypto_create_tfm_node(alg: u64, frontend: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module holds it.
    pointer(Kind::at(frontend).ok_or(Errno::EINVAL).and_then(|kind| unsafe { create(alg, kind, caller) }))
}

fn open_at(name: u64, kind: Kind, wanted: u32, mask: u32, caller: u64) -> u64 {
    // SAFETY: the module's string; copied, because what is loaded may free it.
    pointer(open(&unsafe { ram::c_string_or_empty(name) }, kind, wanted, mask, caller))
}

/// `void *crypto_alloc_tfm_node(const char *, const struct crypto_type *, u32 type, u32 mask, int node)`
extern "C" fn crypto_alloc_tfm_node(name: u64, frontend: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    match Kind::at(frontend) {
        Some(kind) => open_at(name, kind, wanted, mask, caller),
        None => Errno::EINVAL.to_pointer(),
    }
}
extern "C" fn crypto_alloc_shash(name: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    open_at(name, Kind::Shash, wanted, mask, caller)
}
extern "C" fn crypto_alloc_ahash(name: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    open_at(name, Kind::Ahash, wanted, mask, caller)
}
extern "C" fn crypto_alloc_skcipher(name: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    open_at(name, Kind::Skcipher, wanted, mask, caller)
}
extern "C" fn crypto_alloc_aead(name: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    open_at(name, Kind::Aead, wanted, mask, caller)
}
extern "C" fn crypto_alloc_akcipher(name: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    open_at(name, Kind::Akcipher, wanted, mask, caller)
}
extern "C" fn crypto_alloc_kpp(name: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    open_at(name, Kind::Kpp, wanted, mask, caller)
}
extern "C" fn crypto_alloc_rng(name: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    open_at(name, Kind::Rng, wanted, mask, caller)
}
extern "C" fn crypto_alloc_acomp(name: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    open_at(name, Kind::Acomp, wanted, mask, caller)
}
extern "C" fn crypto_alloc_acomp_node(name: u64, wanted: u32, mask: u32, _node: i32) -> u64 {
    let caller = ram::caller();
    open_at(name, Kind::Acomp, wanted, mask, caller)
}

/// `struct crypto_sync_skcipher *crypto_alloc_sync_skcipher(const char *, u32 type, u32 mask)`: one whose requests are over when
/// the call returns and small enough for a stack.
extern "C" fn crypto_alloc_sync_skcipher(name: u64, wanted: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    let object = open_at(name, Kind::Skcipher, wanted & !ASYNC, mask | ASYNC, caller);
    // SAFETY: a transform that was just made, unless it is an error.
    unsafe {
        if Errno::from_pointer(object).is_none()
            && super::skcipher::crypto_skcipher::reqsize.get::<u32>(object) > MAX_SYNC_REQUEST
        {
            close_kind(object, Kind::Skcipher, caller);
            return Errno::EINVAL.to_pointer();
        }
    }
    object
}

/// `struct crypto_tfm *crypto_spawn_tfm(struct crypto_spawn *, u32 type, u32 mask)`
extern "C" fn crypto_spawn_tfm(spawn: u64, kind: u32, mask: u32) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's spawn.
    pointer(unsafe { spawn_plain(spawn, kind, mask, caller) })
}

/// A plain cipher of what a spawn is tied to.
///
/// # Errors
/// `EAGAIN` when that goes, `EINVAL` when it is of another type, and as [`create`].
///
/// # Safety
/// `spawn` was grabbed.
pub(crate) unsafe fn spawn_plain(spawn: u64, kind: u32, mask: u32, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the spawn.
    unsafe {
        let alg = instances::spawn_alg(spawn)?;
        let made = match (algorithms::flags(alg) ^ kind) & mask {
            0 => create_plain(alg, caller),
            _ => Err(Errno::EINVAL),
        };
        made.inspect_err(|_| release(alg))
    }
}

/// A transform of what a spawn is tied to.
///
/// # Errors
/// `EAGAIN` when that goes, and as [`create`].
///
/// # Safety
/// `spawn` was grabbed with a frontend.
pub(crate) unsafe fn spawn(spawn: u64, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller vouches for the spawn.
    unsafe {
        let kind = Kind::at(crypto_spawn::frontend.get(spawn)).ok_or(Errno::EINVAL)?;
        let alg = instances::spawn_alg(spawn)?;
        create(alg, kind, caller).inspect_err(|_| release(alg))
    }
}

/// `void *crypto_spawn_tfm2(struct crypto_spawn *)`
extern "C" fn crypto_spawn_tfm2(tied: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's spawn.
    pointer(unsafe { spawn(tied, caller) })
}

/// Another transform of the same algorithm, without its key.
unsafe fn clone(object: u64, kind: Kind, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the caller has a transform of that kind.
    unsafe {
        let tfm = kind.base().at(object);
        let alg: u64 = crypto_tfm::alg.get(tfm);
        if !hold(alg) {
            return Err(Errno::EAGAIN);
        }
        let before = kind.base().at(0);
        let made = allocate(before + crypto_tfm::SIZE.get() + kind.extra(alg), alg, before, caller)
            .inspect_err(|_| release(alg))?;
        crypto_tfm::crt_flags.set(made + before, crypto_tfm::crt_flags.get::<u32>(tfm));
        crypto_tfm::exit.set(made + before, crypto_tfm::exit.get::<u64>(tfm));
        Ok(made)
    }
}

/// `void *crypto_clone_tfm(const struct crypto_type *, struct crypto_tfm *)`
extern "C" fn crypto_clone_tfm(frontend: u64, tfm: u64) -> u64 {
    let caller = ram::caller();
    let clone = |kind: Kind| {
        // SAFETY: the module's transform.
        unsafe { clone(kind.base().container(tfm), kind, caller) }
    };
    pointer(Kind::at(frontend).ok_or(Errno::EINVAL).and_then(clone))
}

/// `struct crypto_shash *crypto_clone_shash(struct crypto_shash *)`: one without a key is shared.
extern "C" fn crypto_clone_shash(object: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's transform.
    unsafe {
        let tfm = shash::crypto_shash::base.at(object);
        let alg = shash::alg_of(object);
        if !shash::has_setkey(alg) {
            crypto_tfm::refcnt.set(tfm, crypto_tfm::refcnt.get::<u32>(tfm) + 1);
            return object;
        }
        let clone_tfm: u64 = shash::shash_alg::clone_tfm.get(alg);
        let inner = shash::shash_alg::base.at(alg);
        if clone_tfm == 0
            && (shash::shash_alg::init_tfm.get::<u64>(alg) != 0 || crypto_alg::cra_init.get::<u64>(inner) != 0)
        {
            return Errno::ENOSYS.to_pointer();
        }
        let made = match clone(object, Kind::Shash, caller) {
            Ok(made) => made,
            Err(errno) => return errno.to_pointer(),
        };
        shash::crypto_shash::descsize.set(made, shash::crypto_shash::descsize.get::<u32>(object));
        let answer = if clone_tfm == 0 { Ok(()) } else { result(ask(clone_tfm, [made, object])) };
        match answer {
            Ok(()) => made,
            Err(errno) => {
                close_kind(made, Kind::Shash, caller);
                errno.to_pointer()
            }
        }
    }
}

/// `struct crypto_cipher *crypto_clone_cipher(struct crypto_cipher *)`: without its key.
extern "C" fn crypto_clone_cipher(tfm: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's transform.
    unsafe {
        let alg: u64 = crypto_tfm::alg.get(tfm);
        if crypto_alg::cra_init.get::<u64>(alg) != 0 {
            return Errno::ENOSYS.to_pointer();
        }
        if !hold(alg) {
            return Errno::EAGAIN.to_pointer();
        }
        let made = create_plain(alg, caller).inspect_err(|_| release(alg));
        if let Ok(made) = made {
            crypto_tfm::crt_flags.set(made, crypto_tfm::crt_flags.get::<u32>(tfm));
        }
        pointer(made)
    }
}

/// `unsigned int crypto_alg_extsize(struct crypto_alg *)`
extern "C" fn crypto_alg_extsize(alg: u64) -> u32 {
    // SAFETY: the module's algorithm.
    unsafe { crypto_alg::cra_ctxsize.get::<u32>(alg) + padding(alg) as u32 }
}
