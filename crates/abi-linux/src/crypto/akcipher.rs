//! Public key ciphers: `struct akcipher_alg`. Requests are called inline by C code.

use ferrmod_kernel::Errno;

use super::kinds::Kind;
use super::{TYPE_MASK, algorithms, ask, code, crypto_alg, crypto_tfm, function, instances, result};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    pub(crate) mod akcipher_alg = "akcipher_alg" {
        sign, verify, encrypt, decrypt, set_priv_key, init, exit, base,
    }
    pub(crate) mod crypto_akcipher = "crypto_akcipher" { base }
    pub(crate) mod akcipher_instance = "akcipher_instance" { free, alg, base = "s.base" }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c crypto_register_akcipher, c crypto_unregister_akcipher, c akcipher_register_instance, c crypto_akcipher_exit_tfm,
    k akcipher_default_op,
];

unsafe fn alg_of(cipher: u64) -> u64 {
    // SAFETY: the caller has a live transform.
    unsafe { akcipher_alg::base.container(crypto_tfm::alg.get(crypto_akcipher::base.at(cipher))) }
}

/// `init_tfm` of the frontend.
///
/// # Safety
/// As [`Kind::init`].
pub(crate) unsafe fn init(tfm: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the transform.
    unsafe {
        let cipher = crypto_akcipher::base.container(tfm);
        let alg = alg_of(cipher);
        if akcipher_alg::exit.get::<u64>(alg) != 0 {
            crypto_tfm::exit.set(tfm, function("crypto_akcipher_exit_tfm"));
        }
        match akcipher_alg::init.get::<u64>(alg) {
            0 => Ok(()),
            init => result(ask(init, [cipher])),
        }
    }
}

extern "C" fn crypto_akcipher_exit_tfm(tfm: u64) {
    // SAFETY: a transform whose algorithm has an `exit`.
    unsafe {
        let cipher = crypto_akcipher::base.container(tfm);
        ram::call(akcipher_alg::exit.get(alg_of(cipher)), [cipher]);
    }
}

/// What an algorithm lacks answers `-ENOSYS`.
extern "C" fn akcipher_default_op() -> i32 {
    Errno::ENOSYS.to_return()
}

unsafe fn prepare(alg: u64, defaults: bool) {
    // SAFETY: the caller has a `struct akcipher_alg` to register.
    unsafe {
        let base = akcipher_alg::base.at(alg);
        crypto_alg::cra_type.set(base, Kind::Akcipher.frontend());
        crypto_alg::cra_flags.set(base, (algorithms::flags(base) & !TYPE_MASK) | Kind::Akcipher.number().0);
        if defaults {
            use akcipher_alg as member;
            for field in [&member::sign, &member::verify, &member::encrypt, &member::decrypt, &member::set_priv_key] {
                if field.offset().is_some() && field.get::<u64>(alg) == 0 {
                    field.set(alg, function("akcipher_default_op"));
                }
            }
        }
    }
}

/// `int crypto_register_akcipher(struct akcipher_alg *)`
extern "C" fn crypto_register_akcipher(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    unsafe {
        prepare(alg, true);
        code(algorithms::register(akcipher_alg::base.at(alg)))
    }
}
extern "C" fn crypto_unregister_akcipher(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { algorithms::unregister(akcipher_alg::base.at(alg), caller) };
}

/// `int akcipher_register_instance(struct crypto_template *, struct akcipher_instance *)`
extern "C" fn akcipher_register_instance(template: u64, inst: u64) -> i32 {
    // SAFETY: the module's template and instance.
    unsafe {
        if akcipher_instance::free.get::<u64>(inst) == 0 {
            return Errno::EINVAL.to_return();
        }
        prepare(akcipher_instance::alg.at(inst), false);
        code(instances::register_instance(template, akcipher_instance::base.at(inst)))
    }
}
