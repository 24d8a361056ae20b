//! The list of algorithms: registering, finding, holding, and telling listeners.

use alloc::vec::Vec;
use core::ops::Range;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::instances::{remove_final, remove_spawns};
use super::kinds::Kind;
use super::{
    DEAD, DYING, INTERNAL, LARVAL, MAX_NAME, NEED_FALLBACK, NOLOAD, TESTED, TYPE_CIPHER, TYPE_MASK, ask, code,
    crypto_alg, pointer, templates,
};
use crate::boot::facts;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::locks::init_list;
use crate::waiting::{each, link_first, unlink};
use crate::{module, ram};

layout! {
    mod notifier_block = "notifier_block" { notifier_call, priority }
    mod rw_semaphore = "rw_semaphore" { wait_list }
}

/// `MAX_ALGAPI_BLOCKSIZE`, `MAX_ALGAPI_ALIGNMASK`, `MAX_CIPHER_BLOCKSIZE`, `MAX_CIPHER_ALIGNMASK`
const MAX_BLOCK: u32 = 160;
const MAX_ALIGNMASK: u32 = 63;
const MAX_CIPHER_BLOCK: u32 = 16;
const MAX_CIPHER_ALIGNMASK: u32 = 15;

/// `CRYPTO_MSG_ALG_REGISTER`, `CRYPTO_MSG_ALG_LOADED`
const MESSAGE_REGISTER: u64 = 1;
const MESSAGE_LOADED: u64 = 2;

/// What a registered algorithm is called in the list of registrations.
const REGISTRATION: &str = "crypto_alg";

static LIST: Datum = Datum::new("crypto_alg_list", 16, Begin::With(begin_list));
static SEMAPHORE: Datum = Datum::new("crypto_alg_sem", 128, Begin::With(begin_semaphore));
/// `int fips_enabled`: never.
static FIPS: Datum = Datum::new("fips_enabled", 4, Begin::Zero);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&LIST, &SEMAPHORE, &FIPS];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_register_alg, c crypto_unregister_alg, c crypto_register_algs, c crypto_unregister_algs,
    c crypto_alg_mod_lookup, c crypto_has_alg, c crypto_mod_get, c crypto_mod_put, c crypto_find_alg,
    c crypto_type_has_alg, c crypto_has_skcipher, c crypto_has_shash, c crypto_has_ahash, c crypto_has_aead, c crypto_has_kpp,
    c crypto_register_notifier, c crypto_unregister_notifier, c crypto_shoot_alg, c alg_test, k crypto_alg_tested,
];

/// Listeners (`struct notifier_block`s), the highest priority first.
static LISTENERS: Lock<Vec<u64>> = Lock::new(Vec::new());

/// Makes an empty list head of a new variable.
pub(crate) fn begin_list(at: u64) {
    // SAFETY: `data::place` gives the address of at least 16 writable bytes.
    unsafe { init_list(at) };
}

fn begin_semaphore(at: u64) {
    // SAFETY: `data::place` gives the address of 128 cleared bytes, more than a `struct rw_semaphore` has.
    unsafe { init_list(rw_semaphore::wait_list.at(at)) };
}

/// Every algorithm, the newest first.
///
/// # Safety
/// The list is not changed before the iterator has given the next one.
pub(crate) unsafe fn all() -> impl Iterator<Item = u64> {
    // SAFETY: the head of a list that only `add` and `take_out` change.
    unsafe { each(LIST.address()) }.map(|entry| crypto_alg::cra_list.container(entry))
}

/// `cra_name`
///
/// # Safety
/// `alg` is a `struct crypto_alg` that stays while the name is used.
pub(crate) unsafe fn name<'a>(alg: u64) -> &'a [u8] {
    // SAFETY: an array of 128 bytes, ended by the caller's word or by its own length.
    unsafe { text(crypto_alg::cra_name.at(alg)) }
}

/// `cra_driver_name`
///
/// # Safety
/// As [`name`].
pub(crate) unsafe fn driver<'a>(alg: u64) -> &'a [u8] {
    // SAFETY: as for `name`.
    unsafe { text(crypto_alg::cra_driver_name.at(alg)) }
}

/// A name in an array of [`MAX_NAME`] bytes, without its NUL.
///
/// # Safety
/// The array is there and stays while the name is used.
pub(crate) unsafe fn text<'a>(at: u64) -> &'a [u8] {
    // SAFETY: the caller vouches for the array.
    let all = unsafe { ram::bytes(at, MAX_NAME as u64) };
    &all[..all.iter().position(|&byte| byte == 0).unwrap_or(MAX_NAME)]
}

/// `cra_flags`
///
/// # Safety
/// `alg` is a `struct crypto_alg`.
pub(crate) unsafe fn flags(alg: u64) -> u32 {
    // SAFETY: the caller vouches for the algorithm.
    unsafe { crypto_alg::cra_flags.get(alg) }
}

/// Sets bits in `cra_flags`.
///
/// # Safety
/// `alg` is a `struct crypto_alg`.
pub(crate) unsafe fn set_flags(alg: u64, bits: u32) {
    // SAFETY: the caller vouches for the algorithm.
    unsafe { crypto_alg::cra_flags.set(alg, flags(alg) | bits) };
}

/// Whether it is on its way out.
///
/// # Safety
/// `alg` is a `struct crypto_alg`.
pub(crate) unsafe fn is_moribund(alg: u64) -> bool {
    // SAFETY: the caller vouches for the algorithm.
    unsafe { flags(alg) & (DEAD | DYING) != 0 }
}

/// Takes a reference on an algorithm and on the module it lives in; false when the module goes.
///
/// # Safety
/// `alg` is a registered `struct crypto_alg`.
pub(crate) unsafe fn hold(alg: u64) -> bool {
    // SAFETY: the caller vouches for the algorithm.
    unsafe {
        if !hold_module(crypto_alg::cra_module.get(alg)) {
            return false;
        }
        crypto_alg::cra_refcnt.set(alg, crypto_alg::cra_refcnt.get::<u32>(alg).wrapping_add(1));
        true
    }
}

/// Gives back what [`hold`] took. The last reference destroys an instance that was taken out.
///
/// # Safety
/// The caller holds `alg`.
pub(crate) unsafe fn release(alg: u64) {
    // SAFETY: the caller vouches for the algorithm; the module is released last because its code may run before.
    unsafe {
        let module = crypto_alg::cra_module.get(alg);
        put(alg);
        release_module(module);
    }
}

/// Gives a reference on the algorithm alone back.
///
/// # Safety
/// The caller has one to give.
pub(crate) unsafe fn put(alg: u64) {
    // SAFETY: the caller vouches for the algorithm.
    unsafe {
        let count = crypto_alg::cra_refcnt.get::<u32>(alg).wrapping_sub(1);
        crypto_alg::cra_refcnt.set(alg, count);
        let destroy: u64 = crypto_alg::cra_destroy.get(alg);
        if count == 0 && destroy != 0 {
            ram::call(destroy, [alg]);
        }
    }
}

/// `try_module_get`; code that is built in (null) can always be had.
pub(crate) fn hold_module(address: u64) -> bool {
    address == 0 || module::at(address).is_some_and(|module| module.try_get())
}

/// `module_put`
pub(crate) fn release_module(address: u64) {
    if let Some(module) = module::at(address) {
        module.put();
    }
}

/// The registered algorithm of this name, held: that driver name, or the highest priority of that name.
fn search(wanted: &[u8], kind: u32, mask: u32) -> Option<u64> {
    let mut best: Option<(i32, u64)> = None;
    // SAFETY: `hold` and `release` of an algorithm that stays in the list change no list.
    unsafe {
        for alg in all() {
            if is_moribund(alg) || (flags(alg) ^ kind) & mask != 0 {
                continue;
            }
            let exact = driver(alg) == wanted;
            let priority: i32 = crypto_alg::cra_priority.get(alg);
            let better = best.is_none_or(|(other, _)| priority > other);
            if !(exact || (name(alg) == wanted && better)) || !hold(alg) {
                continue;
            }
            if let Some((_, other)) = best.replace((priority, alg)) {
                release(other);
            }
            if exact {
                break;
            }
        }
    }
    best.map(|(_, alg)| alg)
}

/// The algorithm `wanted`, held: a registered one, one that a module brings, or an instance made for it.
///
/// # Errors
/// `ENOENT` when there is none of these.
pub(crate) fn look_up(wanted: &[u8], kind: u32, mask: u32) -> Result<u64, Errno> {
    // Internal algorithms are only for those who ask for them.
    let mask = if (kind | mask) & INTERNAL == 0 { mask | INTERNAL } else { mask };
    let load = (kind | mask) & NOLOAD == 0;
    let (kind, mask) = (kind & !(NOLOAD | LARVAL | DEAD), mask & !(NOLOAD | LARVAL | DEAD));
    let (kind, mask) = (kind & !super::FIPS_INTERNAL, mask & !super::FIPS_INTERNAL);
    // What is not tested is not to be found, unless it is asked for; everything registered counts as tested.
    let find = || {
        if (kind | mask) & TESTED == 0 {
            search(wanted, kind | TESTED, mask | TESTED)
        } else {
            search(wanted, kind, mask)
        }
    };
    if let Some(alg) = find() {
        return Ok(alg);
    }
    if load {
        request(wanted, b"");
        if (kind ^ NEED_FALLBACK) & mask & NEED_FALLBACK == 0 {
            request(wanted, b"-all");
        }
        if let Some(alg) = find() {
            return Ok(alg);
        }
    }
    templates::probe(wanted, kind & !TESTED, mask & !TESTED)?;
    find().ok_or(Errno::ENOENT)
}

/// `request_module("crypto-%s")`; whether it helped shows in the next search.
pub(crate) fn request(wanted: &[u8], suffix: &[u8]) {
    let mut alias = Vec::with_capacity(7 + wanted.len() + suffix.len());
    for part in [b"crypto-".as_slice(), wanted, suffix] {
        alias.extend_from_slice(part);
    }
    let _ = kernel().request_module(&alias);
}

/// [`look_up`] for a frontend.
///
/// # Errors
/// As [`look_up`].
pub(crate) fn find(wanted: &[u8], frontend: Option<Kind>, kind: u32, mask: u32) -> Result<u64, Errno> {
    let (kind, mask) = frontend.map_or((kind, mask), |frontend| frontend.narrow(kind, mask));
    look_up(wanted, kind, mask)
}

/// What every algorithm must have. A new one begins with one reference, its registration's.
///
/// # Safety
/// `alg` is a `struct crypto_alg`.
pub(crate) unsafe fn check(alg: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the algorithm.
    unsafe {
        let (mask, block): (u32, u32) = (crypto_alg::cra_alignmask.get(alg), crypto_alg::cra_blocksize.get(alg));
        let plain = crypto_alg::cra_type.get::<u64>(alg) == 0 && flags(alg) & TYPE_MASK == TYPE_CIPHER;
        if name(alg).is_empty()
            || driver(alg).is_empty()
            || mask & mask.wrapping_add(1) != 0
            || mask > MAX_ALIGNMASK
            || block > MAX_BLOCK
            || (plain && (mask > MAX_CIPHER_ALIGNMASK || block > MAX_CIPHER_BLOCK))
            || crypto_alg::cra_priority.get::<i32>(alg) < 0
        {
            return Err(Errno::EINVAL);
        }
        crypto_alg::cra_refcnt.set(alg, 1u32);
        Ok(())
    }
}

/// Whether two algorithms may not have one driver name. Linux refuses that since 6.8; older stable kernels took it up and gave it up again.
/// Debian's 6.1.192 takes both, its 6.12.96 answers `EEXIST`.
fn refuses_twins() -> bool {
    let mut numbers = facts().release().split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok);
    next().zip(next()).is_some_and(|release| release >= (6, 8))
}

/// Puts a checked algorithm into the list and makes it usable.
///
/// # Safety
/// `alg` is a checked `struct crypto_alg`.
pub(crate) unsafe fn add(alg: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the algorithm.
    unsafe {
        if flags(alg) & DEAD != 0 {
            return Err(Errno::EINVAL);
        }
        for other in all() {
            if other == alg {
                return Err(Errno::EEXIST);
            }
            if is_moribund(other) {
                continue;
            }
            let is_same = refuses_twins() && driver(other) == driver(alg);
            if is_same || driver(other) == name(alg) || name(other) == driver(alg) {
                return Err(Errno::EEXIST);
            }
        }
        let owner = kernel().owner_of(crypto_alg::cra_module.get(alg));
        kernel().registrations.add(REGISTRATION, alg, driver(alg), owner)?;
        init_list(crypto_alg::cra_users.at(alg));
        link_first(crypto_alg::cra_list.at(alg), LIST.address());
        set_flags(alg, TESTED);
        Ok(())
    }
}

/// A new algorithm is in the list: instances made of a worse one of its name make way, and listeners hear of it.
///
/// # Safety
/// `alg` was just added.
pub(crate) unsafe fn announce(alg: u64) {
    // SAFETY: the list is read anew after each change of it; `gone` is a list head of our own.
    unsafe {
        tell(MESSAGE_REGISTER, alg);
        let mut gone = [0u64; 2];
        let gone = gone.as_mut_ptr() as u64;
        init_list(gone);
        let worse: Vec<u64> = all()
            .filter(|&other| {
                other != alg
                    && !is_moribund(other)
                    && name(other) == name(alg)
                    && (driver(other) == driver(alg)
                        || crypto_alg::cra_priority.get::<i32>(other) <= crypto_alg::cra_priority.get::<i32>(alg))
            })
            .collect();
        for other in worse {
            if !is_moribund(other) {
                remove_spawns(other, gone, alg);
            }
        }
        remove_final(gone);
        tell(MESSAGE_LOADED, alg);
    }
}

/// Calls every listener until one stops.
fn tell(message: u64, alg: u64) {
    /// `NOTIFY_STOP_MASK`
    const STOP: i32 = 0x8000;
    let listeners = LISTENERS.lock().clone();
    for block in listeners {
        // SAFETY: a registered `struct notifier_block`; the callback may take others out, which the copy does not mind.
        let answer = unsafe { ask(notifier_block::notifier_call.get(block), [block, message, alg]) };
        if answer & STOP != 0 {
            break;
        }
    }
}

/// Takes an algorithm out of the list, and what was made of it; `gone` collects the instances.
///
/// # Safety
/// `alg` is a `struct crypto_alg`, `gone` a list head.
pub(crate) unsafe fn take_out(alg: u64, gone: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for both.
    unsafe {
        if kernel().registrations.remove(REGISTRATION, alg).is_none() {
            return Err(Errno::ENOENT);
        }
        set_flags(alg, DEAD);
        unlink(crypto_alg::cra_list.at(alg));
        remove_spawns(alg, gone, 0);
        Ok(())
    }
}

/// An instance leaves the list without being destroyed yet.
pub(crate) fn forget(alg: u64) {
    kernel().registrations.remove(REGISTRATION, alg);
}

/// The memory in these ranges goes. What a module forgot to take back is taken out of the lists, so that the next search does
/// not walk into nothing; its registration stays, for the report.
pub(crate) fn forget_memory(ranges: &[Range<u64>]) {
    let within = |at: &u64| ranges.iter().any(|range| range.contains(at));
    LISTENERS.lock().retain(|block| !within(block));
    // SAFETY: the memory is still there; `gone` is a list head of our own. What is made of an algorithm that goes may itself
    // be made of others that do, so the list is read again after each.
    unsafe {
        while let Some(alg) = all().find(|alg| within(alg) || within(&crypto_alg::cra_module.get(*alg))) {
            let mut gone = [0u64; 2];
            let gone = gone.as_mut_ptr() as u64;
            init_list(gone);
            set_flags(alg, DEAD);
            unlink(crypto_alg::cra_list.at(alg));
            remove_spawns(alg, gone, 0);
            remove_final(gone);
        }
        super::instances::forget_memory(&within);
    }
}

/// Registers a checked or unchecked algorithm that is no instance.
///
/// # Safety
/// `alg` is a `struct crypto_alg` that stays until it is unregistered.
pub(crate) unsafe fn register(alg: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the algorithm.
    unsafe {
        crypto_alg::cra_flags.set(alg, flags(alg) & !(DEAD | TESTED));
        check(alg)?;
        add(alg)?;
        announce(alg);
    }
    Ok(())
}

/// Takes an algorithm back. One that is in use stays as it is, with a warning: Linux's module references make that impossible.
///
/// # Safety
/// As [`register`].
pub(crate) unsafe fn unregister(alg: u64, caller: u64) {
    // SAFETY: the caller vouches for the algorithm; `gone` is a list head of our own.
    unsafe {
        let mut gone = [0u64; 2];
        let gone = gone.as_mut_ptr() as u64;
        init_list(gone);
        if take_out(alg, gone).is_err() {
            let name = alloc::string::String::from_utf8_lossy(driver(alg)).into_owned();
            kernel().warn(&alloc::format!("Algorithm {name} is not registered"), caller);
            return;
        }
        remove_final(gone);
        if crypto_alg::cra_refcnt.get::<u32>(alg) != 1 {
            kernel().warn("crypto: an algorithm in use was unregistered", caller);
            return;
        }
        let destroy: u64 = crypto_alg::cra_destroy.get(alg);
        if destroy != 0 {
            ram::call(destroy, [alg]);
        }
    }
}

/// Registers `count` objects of `size` bytes, or none.
pub(crate) fn register_all(
    first: u64,
    count: i32,
    size: u64,
    register: extern "C" fn(u64) -> i32,
    unregister: extern "C" fn(u64),
) -> i32 {
    let object = |index: u64| first + index * size;
    for index in 0..count.max(0) as u64 {
        let answer = register(object(index));
        if answer != 0 {
            (0..index).rev().for_each(|index| unregister(object(index)));
            return answer;
        }
    }
    0
}

/// Takes `count` objects back, the last first.
pub(crate) fn unregister_all(first: u64, count: i32, size: u64, unregister: extern "C" fn(u64)) {
    (0..count.max(0) as u64).rev().for_each(|index| unregister(first + index * size));
}

/// `int crypto_register_alg(struct crypto_alg *)`
extern "C" fn crypto_register_alg(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    code(unsafe { register(alg) })
}

/// `void crypto_unregister_alg(struct crypto_alg *)`
extern "C" fn crypto_unregister_alg(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { unregister(alg, caller) };
}

extern "C" fn crypto_register_algs(algs: u64, count: i32) -> i32 {
    register_all(algs, count, crypto_alg::SIZE.get(), crypto_register_alg, crypto_unregister_alg)
}
extern "C" fn crypto_unregister_algs(algs: u64, count: i32) {
    unregister_all(algs, count, crypto_alg::SIZE.get(), crypto_unregister_alg);
}

/// `struct crypto_alg *crypto_alg_mod_lookup(const char *name, u32 type, u32 mask)`
extern "C" fn crypto_alg_mod_lookup(name: u64, kind: u32, mask: u32) -> u64 {
    // SAFETY: the module's string; copied, because what is loaded may free it.
    pointer(look_up(&unsafe { ram::c_string_or_empty(name) }, kind, mask))
}

/// `struct crypto_alg *crypto_find_alg(const char *, const struct crypto_type *, u32 type, u32 mask)`
extern "C" fn crypto_find_alg(name: u64, frontend: u64, kind: u32, mask: u32) -> u64 {
    // SAFETY: the module's string.
    pointer(find(&unsafe { ram::c_string_or_empty(name) }, Kind::at(frontend), kind, mask))
}

fn has(name: u64, frontend: Option<Kind>, kind: u32, mask: u32) -> i32 {
    // SAFETY: the module's string; an algorithm that was found is held until it is released here.
    unsafe {
        match find(&ram::c_string_or_empty(name), frontend, kind, mask) {
            Ok(alg) => {
                release(alg);
                1
            }
            Err(_) => 0,
        }
    }
}

extern "C" fn crypto_has_alg(name: u64, kind: u32, mask: u32) -> i32 {
    has(name, None, kind, mask)
}
extern "C" fn crypto_type_has_alg(name: u64, frontend: u64, kind: u32, mask: u32) -> i32 {
    has(name, Kind::at(frontend), kind, mask)
}
extern "C" fn crypto_has_skcipher(name: u64, kind: u32, mask: u32) -> i32 {
    has(name, Some(Kind::Skcipher), kind, mask)
}
extern "C" fn crypto_has_shash(name: u64, kind: u32, mask: u32) -> i32 {
    has(name, Some(Kind::Shash), kind, mask)
}
extern "C" fn crypto_has_ahash(name: u64, kind: u32, mask: u32) -> i32 {
    has(name, Some(Kind::Ahash), kind, mask)
}
extern "C" fn crypto_has_aead(name: u64, kind: u32, mask: u32) -> i32 {
    has(name, Some(Kind::Aead), kind, mask)
}
extern "C" fn crypto_has_kpp(name: u64, kind: u32, mask: u32) -> i32 {
    has(name, Some(Kind::Kpp), kind, mask)
}

/// `struct crypto_alg *crypto_mod_get(struct crypto_alg *)`: null when the module goes.
extern "C" fn crypto_mod_get(alg: u64) -> u64 {
    // SAFETY: the module's word that it is an algorithm.
    if unsafe { hold(alg) } { alg } else { 0 }
}

/// `void crypto_mod_put(struct crypto_alg *)`
extern "C" fn crypto_mod_put(alg: u64) {
    // SAFETY: the module holds it.
    unsafe { release(alg) };
}

/// `void crypto_shoot_alg(struct crypto_alg *)`
extern "C" fn crypto_shoot_alg(alg: u64) {
    // SAFETY: the module's word that it is an algorithm.
    unsafe { set_flags(alg, DYING) };
}

/// `int crypto_register_notifier(struct notifier_block *)`
extern "C" fn crypto_register_notifier(block: u64) -> i32 {
    // SAFETY: the module's listener.
    let priority = |block: u64| unsafe { notifier_block::priority.get::<i32>(block) };
    let mut listeners = LISTENERS.lock().clone();
    if listeners.contains(&block) {
        return Errno::EEXIST.to_return();
    }
    let at = listeners.iter().position(|&other| priority(other) < priority(block)).unwrap_or(listeners.len());
    listeners.insert(at, block);
    *LISTENERS.lock() = listeners;
    let caller = ram::caller();
    // It was not in the list of listeners, so it is not registered.
    let _ = kernel().registrations.add("crypto_notifier", block, "crypto_chain", kernel().owner_of(caller));
    0
}

/// `int crypto_unregister_notifier(struct notifier_block *)`
extern "C" fn crypto_unregister_notifier(block: u64) -> i32 {
    LISTENERS.lock().retain(|&other| other != block);
    match kernel().registrations.remove("crypto_notifier", block) {
        Some(_) => 0,
        None => Errno::ENOENT.to_return(),
    }
}

/// `int alg_test(const char *driver, const char *alg, u32 type, u32 mask)`: there are no test vectors, so that an algorithm
/// passes when it can be had at all.
extern "C" fn alg_test(driver: u64, _name: u64, kind: u32, mask: u32) -> i32 {
    if has(driver, None, kind, mask) != 0 { 0 } else { Errno::ENOENT.to_return() }
}

/// `void crypto_alg_tested(const char *, int)`: nobody waits for a test.
extern "C" fn crypto_alg_tested() {}
