//! The frontends: what kinds of algorithms there are, and the `struct crypto_type` that marks each.

use ferrmod_kernel::Errno;

use super::{
    TYPE_ACOMPRESS, TYPE_AEAD, TYPE_AHASH, TYPE_KPP, TYPE_MASK, TYPE_RNG, TYPE_SCOMPRESS, TYPE_SHASH, TYPE_SKCIPHER,
    acomp, aead, ahash, akcipher, crypto_alg, function, kpp, rng, shash, skcipher,
};
use crate::boot::facts;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::ram;

layout! {
    mod crypto_type = "crypto_type" { free, kind = "type", maskclear, maskset, tfmsize }
}

/// A kind of algorithm that has a frontend; plain ciphers and compressors have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Shash,
    Ahash,
    Skcipher,
    Aead,
    Akcipher,
    Kpp,
    Rng,
    Acomp,
    Scomp,
}

const ALL: [(Kind, &Datum); 9] = [
    (Kind::Shash, &SHASH),
    (Kind::Ahash, &AHASH),
    (Kind::Skcipher, &SKCIPHER),
    (Kind::Aead, &AEAD),
    (Kind::Akcipher, &AKCIPHER),
    (Kind::Kpp, &KPP),
    (Kind::Rng, &RNG),
    (Kind::Acomp, &ACOMP),
    (Kind::Scomp, &SCOMP),
];

/// More than any kernel's `struct crypto_type` has.
const SIZE: u64 = 128;

static SHASH: Datum = Datum::new("crypto_shash_type", SIZE, Begin::With(|at| Kind::Shash.begin(at)));
static AHASH: Datum = Datum::new("crypto_ahash_type", SIZE, Begin::With(|at| Kind::Ahash.begin(at)));
static SKCIPHER: Datum = Datum::new("crypto_skcipher_type", SIZE, Begin::With(|at| Kind::Skcipher.begin(at)));
static AEAD: Datum = Datum::new("crypto_aead_type", SIZE, Begin::With(|at| Kind::Aead.begin(at)));
static AKCIPHER: Datum = Datum::new("crypto_akcipher_type", SIZE, Begin::With(|at| Kind::Akcipher.begin(at)));
static KPP: Datum = Datum::new("crypto_kpp_type", SIZE, Begin::With(|at| Kind::Kpp.begin(at)));
static RNG: Datum = Datum::new("crypto_rng_type", SIZE, Begin::With(|at| Kind::Rng.begin(at)));
static ACOMP: Datum = Datum::new("crypto_acomp_type", SIZE, Begin::With(|at| Kind::Acomp.begin(at)));
static SCOMP: Datum = Datum::new("crypto_scomp_type", SIZE, Begin::With(|at| Kind::Scomp.begin(at)));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&SHASH, &AHASH, &SKCIPHER, &AEAD, &AKCIPHER, &KPP, &RNG, &ACOMP, &SCOMP];

/// The functions of this file, which only `struct crypto_type` leads to.
pub(crate) static EXPORTS: &[Export] = exports![c crypto_free_instance];

impl Kind {
    /// The kind whose `struct crypto_type` is at `address`.
    pub(crate) fn at(address: u64) -> Option<Self> {
        ALL.iter().find(|(_, datum)| datum.address() == address).map(|&(kind, _)| kind)
    }

    /// The kind of an algorithm; `None` for plain ciphers and compressors.
    ///
    /// # Safety
    /// `alg` is a registered `struct crypto_alg`.
    pub(crate) unsafe fn of(alg: u64) -> Option<Self> {
        // SAFETY: the caller vouches for the algorithm.
        Self::at(unsafe { crypto_alg::cra_type.get(alg) })
    }

    /// Its `struct crypto_type`.
    pub(crate) fn frontend(self) -> u64 {
        ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, datum)| datum.address())
    }

    /// The type number, and which of its bits a search compares.
    pub(crate) fn number(self) -> (u32, u32) {
        match self {
            Kind::Shash => (TYPE_SHASH, TYPE_MASK),
            // An asynchronous hash can be made of a synchronous one, whose number differs in the lowest bit.
            Kind::Ahash => (TYPE_AHASH, 0xe),
            Kind::Skcipher => (TYPE_SKCIPHER, skcipher_mask()),
            Kind::Aead => (TYPE_AEAD, TYPE_MASK),
            Kind::Akcipher => (akcipher_number(), TYPE_MASK),
            Kind::Kpp => (TYPE_KPP, TYPE_MASK),
            Kind::Rng => (TYPE_RNG, TYPE_MASK),
            // As for hashes.
            Kind::Acomp => (TYPE_ACOMPRESS, 0xe),
            Kind::Scomp => (TYPE_SCOMPRESS, TYPE_MASK),
        }
    }

    /// What a caller asks for, narrowed to this kind.
    pub(crate) fn narrow(self, kind: u32, mask: u32) -> (u32, u32) {
        let (number, bits) = self.number();
        ((kind & !TYPE_MASK) | number, (mask & !TYPE_MASK) | bits)
    }

    /// Where the `struct crypto_tfm` lies in a transform of this kind.
    pub(crate) fn base(self) -> &'static Field {
        match self {
            Kind::Shash => &shash::crypto_shash::base,
            Kind::Ahash => &ahash::crypto_ahash::base,
            Kind::Skcipher => &skcipher::crypto_skcipher::base,
            Kind::Aead => &aead::crypto_aead::base,
            Kind::Akcipher => &akcipher::crypto_akcipher::base,
            Kind::Kpp => &kpp::crypto_kpp::base,
            Kind::Rng => &rng::crypto_rng::base,
            Kind::Acomp => &acomp::crypto_acomp::base,
            Kind::Scomp => &acomp::crypto_scomp::base,
        }
    }

    /// Where `free` and the `struct crypto_instance` lie in an instance of this kind.
    pub(crate) fn instance(self) -> Option<(&'static Field, &'static Field)> {
        match self {
            Kind::Shash => Some((&shash::shash_instance::free, &shash::shash_instance::base)),
            Kind::Ahash => Some((&ahash::ahash_instance::free, &ahash::ahash_instance::base)),
            Kind::Skcipher => Some((&skcipher::skcipher_instance::free, &skcipher::skcipher_instance::base)),
            Kind::Aead => Some((&aead::aead_instance::free, &aead::aead_instance::base)),
            Kind::Akcipher => Some((&akcipher::akcipher_instance::free, &akcipher::akcipher_instance::base)),
            Kind::Kpp => Some((&kpp::kpp_instance::free, &kpp::kpp_instance::base)),
            Kind::Rng | Kind::Acomp | Kind::Scomp => None,
        }
    }

    /// Bytes a transform of `alg` needs after its `struct crypto_tfm`.
    ///
    /// # Safety
    /// `alg` is a registered `struct crypto_alg`.
    pub(crate) unsafe fn extra(self, alg: u64) -> u64 {
        // SAFETY: the caller vouches for the algorithm.
        unsafe {
            let same = Self::of(alg) == Some(self);
            match self {
                // The context of such a transform is a pointer to the synchronous one it is made of.
                Kind::Ahash | Kind::Acomp if !same => 8,
                _ => u64::from(crypto_alg::cra_ctxsize.get::<u32>(alg)) + padding(alg),
            }
        }
    }

    /// Makes a transform ready.
    ///
    /// # Safety
    /// `tfm` is the zeroed `struct crypto_tfm` of a transform of this kind, with its algorithm set.
    pub(crate) unsafe fn init(self, tfm: u64, caller: u64) -> Result<(), Errno> {
        // SAFETY: the caller vouches for the transform.
        unsafe {
            match self {
                Kind::Shash => shash::init(tfm),
                Kind::Ahash => ahash::init(tfm, caller),
                Kind::Skcipher => skcipher::init(tfm),
                Kind::Aead => aead::init(tfm),
                Kind::Akcipher => akcipher::init(tfm),
                Kind::Kpp => kpp::init(tfm),
                Kind::Rng | Kind::Scomp => Ok(()),
                Kind::Acomp => acomp::init(tfm, caller),
            }
        }
    }

    fn begin(self, at: u64) {
        let (number, mask) = self.number();
        // SAFETY: `data::place` gives the address of `SIZE` writable bytes, and no kernel's struct is larger.
        unsafe {
            crypto_type::kind.set(at, number);
            crypto_type::maskclear.set(at, !TYPE_MASK);
            crypto_type::maskset.set(at, mask);
            crypto_type::tfmsize.set(at, self.base().at(0) as u32);
            if self.instance().is_some() {
                crypto_type::free.set(at, function("crypto_free_instance"));
            }
        }
    }
}

/// Since there are linear ciphers, whose number differs in the lowest bit, a search for ciphers leaves that bit out, and
/// templates that look at what is asked for rely on it.
fn skcipher_mask() -> u32 {
    if facts().btf().struct_named("lskcipher_alg").is_some() { 0xe } else { TYPE_MASK }
}

/// `CRYPTO_ALG_TYPE_AKCIPHER` moved when signature algorithms got a type of their own.
fn akcipher_number() -> u32 {
    if facts().btf().struct_named("crypto_sig").is_some() { 6 } else { 0xd }
}

/// Bytes by which a context may have to be moved to be aligned, beyond the 8 of any allocation.
///
/// # Safety
/// `alg` is a `struct crypto_alg`.
pub(crate) unsafe fn padding(alg: u64) -> u64 {
    // SAFETY: the caller vouches for the algorithm.
    u64::from(unsafe { crypto_alg::cra_alignmask.get::<u32>(alg) }) & !7
}

/// `void (*free)(struct crypto_instance *)` of every kind: gives the instance to the function its template set.
extern "C" fn crypto_free_instance(inst: u64) {
    // SAFETY: an instance that its template filled in; its algorithm is its first member.
    unsafe {
        if let Some((free, base)) = Kind::of(inst).and_then(Kind::instance) {
            let object = base.container(inst);
            ram::call(free.get(object), [object]);
        }
    }
}
