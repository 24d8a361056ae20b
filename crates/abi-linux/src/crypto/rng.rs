//! Random number generators: `struct rng_alg`, and the default one.

use ferrmod_kernel::{Errno, kernel};

use super::builtin::{Named, has, object, operations};
use super::bytes::Buffer;
use super::kinds::Kind;
use super::{MOST, TYPE_MASK, TYPE_RNG, algorithms, ask, code, crypto_alg, crypto_tfm, function, transforms};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;
use ferrmod_kernel::lock::Lock;

layout! {
    pub(crate) mod rng_alg = "rng_alg" { generate, seed, set_ent, seedsize, base }
    pub(crate) mod crypto_rng = "crypto_rng" { base }
}

/// `struct crypto_rng *crypto_default_rng`
static DEFAULT: Datum = Datum::new("crypto_default_rng", 8, Begin::Zero);
/// Whose the default one is: nobody's who asks for it.
const KERNEL: u64 = 0;
/// How many use the default one.
static USERS: Lock<u32> = Lock::new(0);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&DEFAULT];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_register_rng, c crypto_unregister_rng, c crypto_register_rngs, c crypto_unregister_rngs, c crypto_rng_reset,
    c crypto_get_default_rng, c crypto_put_default_rng, c crypto_del_default_rng, k rng_default_set_ent,
    c ferrmod_stdrng_generate, k ferrmod_stdrng_seed,
];

/// `int crypto_register_rng(struct rng_alg *)`
extern "C" fn crypto_register_rng(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    unsafe {
        if rng_alg::seedsize.get::<u32>(alg) > MOST {
            return Errno::EINVAL.to_return();
        }
        let base = rng_alg::base.at(alg);
        crypto_alg::cra_type.set(base, Kind::Rng.frontend());
        crypto_alg::cra_flags.set(base, (algorithms::flags(base) & !TYPE_MASK) | TYPE_RNG);
        if rng_alg::set_ent.get::<u64>(alg) == 0 {
            rng_alg::set_ent.set(alg, function("rng_default_set_ent"));
        }
        code(algorithms::register(base))
    }
}

/// What a generator that takes no entropy from outside has.
extern "C" fn rng_default_set_ent() {}

extern "C" fn crypto_unregister_rng(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { algorithms::unregister(rng_alg::base.at(alg), caller) };
}
extern "C" fn crypto_register_rngs(algs: u64, count: i32) -> i32 {
    algorithms::register_all(algs, count, rng_alg::SIZE.get(), crypto_register_rng, crypto_unregister_rng)
}
extern "C" fn crypto_unregister_rngs(algs: u64, count: i32) {
    algorithms::unregister_all(algs, count, rng_alg::SIZE.get(), crypto_unregister_rng);
}

/// `int crypto_rng_reset(struct crypto_rng *, const u8 *seed, unsigned int slen)`: without a seed, with random bytes.
extern "C" fn crypto_rng_reset(rng: u64, seed: u64, length: u32) -> i32 {
    // SAFETY: the caller's generator and seed.
    unsafe {
        let reseed: u64 = rng_alg::seed.get(rng_alg::base.container(crypto_tfm::alg.get(crypto_rng::base.at(rng))));
        if seed != 0 || length == 0 {
            return ask(reseed, [rng, seed, u64::from(length)]);
        }
        match Buffer::new(u64::from(length), 7) {
            Ok(buffer) => {
                kernel().platform.random(ram::bytes_mut(buffer.address(), u64::from(length)));
                ask(reseed, [rng, buffer.address(), u64::from(length)])
            }
            Err(errno) => errno.to_return(),
        }
    }
}

/// Holds the default generator, made when it is first wanted.
///
/// # Errors
/// As [`transforms::open`], and what seeding it answers.
pub(crate) fn hold_default() -> Result<(), Errno> {
    // SAFETY: the variable is ours; the transform was just made.
    unsafe {
        if ram::get::<u64>(DEFAULT.address()) == 0 {
            let rng = transforms::open(b"stdrng", Kind::Rng, 0, 0, KERNEL)?;
            let alg = rng_alg::base.container(crypto_tfm::alg.get(crypto_rng::base.at(rng)));
            let seeded = crypto_rng_reset(rng, 0, rng_alg::seedsize.get(alg));
            if let Err(errno) = super::result(seeded) {
                transforms::close_kind(rng, Kind::Rng, KERNEL);
                return Err(errno);
            }
            ram::put(DEFAULT.address(), rng);
        }
    }
    *USERS.lock() += 1;
    Ok(())
}

/// Bytes from the default generator, which is held.
///
/// # Safety
/// There is room for them at `to`.
pub(crate) unsafe fn default_bytes(to: u64, length: u32) -> i32 {
    // SAFETY: the caller vouches for the room; the generator is held.
    unsafe {
        let rng: u64 = ram::get(DEFAULT.address());
        let alg = rng_alg::base.container(crypto_tfm::alg.get(crypto_rng::base.at(rng)));
        ask(rng_alg::generate.get(alg), [rng, 0, 0, to, u64::from(length)])
    }
}

extern "C" fn crypto_get_default_rng() -> i32 {
    code(hold_default())
}

/// `void crypto_put_default_rng(void)`
pub(crate) extern "C" fn crypto_put_default_rng() {
    let mut users = USERS.lock();
    *users = users.saturating_sub(1);
}

/// `int crypto_del_default_rng(void)`: refused while somebody uses it.
extern "C" fn crypto_del_default_rng() -> i32 {
    let caller = ram::caller();
    if *USERS.lock() != 0 {
        return Errno::EBUSY.to_return();
    }
    // SAFETY: the variable is ours, and nobody uses what it holds.
    unsafe {
        let rng: u64 = ram::get(DEFAULT.address());
        ram::put(DEFAULT.address(), 0u64);
        transforms::close_kind(rng, Kind::Rng, caller);
    }
    0
}

/// Registers `stdrng` where the target kernel has its generator built in. It gives the platform's random bytes, and says so
/// in its driver name.
pub(crate) fn begin() {
    // `drbg` is a module where this is not in the image.
    if !has("drbg_kcapi_random") {
        return;
    }
    let Some(alg) = object(rng_alg::SIZE.get()) else { return };
    // SAFETY: a new object of our own.
    unsafe {
        let named =
            Named { name: "stdrng", driver: "stdrng-platform", priority: 100, blocksize: 0, ctxsize: 0, flags: 0 };
        named.write(rng_alg::base.at(alg));
        operations(alg, &[(&rng_alg::generate, "ferrmod_stdrng_generate"), (&rng_alg::seed, "ferrmod_stdrng_seed")]);
        crypto_register_rng(alg);
    }
}

extern "C" fn ferrmod_stdrng_generate(_rng: u64, _source: u64, _length: u32, to: u64, length: u32) -> i32 {
    // SAFETY: the caller's buffer.
    kernel().platform.random(unsafe { ram::bytes_mut(to, u64::from(length)) });
    0
}
/// The platform's generator needs no seed.
extern "C" fn ferrmod_stdrng_seed() -> i32 {
    0
}
