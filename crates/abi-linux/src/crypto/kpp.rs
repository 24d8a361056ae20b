//! Key agreement: `struct kpp_alg`. Requests are called inline by C code.

use ferrmod_kernel::Errno;

use super::kinds::Kind;
use super::{TYPE_KPP, TYPE_MASK, algorithms, ask, code, crypto_alg, crypto_tfm, function, instances, result};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    pub(crate) mod kpp_alg = "kpp_alg" { init, exit, base }
    pub(crate) mod crypto_kpp = "crypto_kpp" { base }
    pub(crate) mod kpp_instance = "kpp_instance" { free, alg, base = "s.base" }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c crypto_register_kpp, c crypto_unregister_kpp, c kpp_register_instance, c crypto_kpp_exit_tfm];

unsafe fn alg_of(kpp: u64) -> u64 {
    // SAFETY: the caller has a live transform.
    unsafe { kpp_alg::base.container(crypto_tfm::alg.get(crypto_kpp::base.at(kpp))) }
}

/// `init_tfm` of the frontend.
///
/// # Safety
/// As [`Kind::init`].
pub(crate) unsafe fn init(tfm: u64) -> Result<(), Errno> {
    // SAFETY: the caller vouches for the transform.
    unsafe {
        let kpp = crypto_kpp::base.container(tfm);
        let alg = alg_of(kpp);
        if kpp_alg::exit.get::<u64>(alg) != 0 {
            crypto_tfm::exit.set(tfm, function("crypto_kpp_exit_tfm"));
        }
        match kpp_alg::init.get::<u64>(alg) {
            0 => Ok(()),
            init => result(ask(init, [kpp])),
        }
    }
}

extern "C" fn crypto_kpp_exit_tfm(tfm: u64) {
    // SAFETY: a transform whose algorithm has an `exit`.
    unsafe {
        let kpp = crypto_kpp::base.container(tfm);
        ram::call(kpp_alg::exit.get(alg_of(kpp)), [kpp]);
    }
}

unsafe fn prepare(alg: u64) {
    // SAFETY: the caller has a `struct kpp_alg` to register.
    unsafe {
        let base = kpp_alg::base.at(alg);
        crypto_alg::cra_type.set(base, Kind::Kpp.frontend());
        crypto_alg::cra_flags.set(base, (algorithms::flags(base) & !TYPE_MASK) | TYPE_KPP);
    }
}

/// `int crypto_register_kpp(struct kpp_alg *)`
extern "C" fn crypto_register_kpp(alg: u64) -> i32 {
    // SAFETY: the module's algorithm.
    unsafe {
        prepare(alg);
        code(algorithms::register(kpp_alg::base.at(alg)))
    }
}
extern "C" fn crypto_unregister_kpp(alg: u64) {
    let caller = ram::caller();
    // SAFETY: the module's algorithm.
    unsafe { algorithms::unregister(kpp_alg::base.at(alg), caller) };
}

/// `int kpp_register_instance(struct crypto_template *, struct kpp_instance *)`
extern "C" fn kpp_register_instance(template: u64, inst: u64) -> i32 {
    // SAFETY: the module's template and instance.
    unsafe {
        if kpp_instance::free.get::<u64>(inst) == 0 {
            return Errno::EINVAL.to_return();
        }
        prepare(kpp_instance::alg.at(inst));
        code(instances::register_instance(template, kpp_instance::base.at(inst)))
    }
}
