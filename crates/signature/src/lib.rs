//! Who vouches for a module.
//!
//! A signed module ends in a PKCS#7 message. [`summary()`] says what the message claims, without any cryptography: it is what
//! `modinfo` shows. [`verify()`] checks it against a [`Keyring`] of trusted certificates in the order in which Linux does, and
//! answers with who signed and how that was found, or with the reason why the module does not count as signed: the
//! reason carries the errno and the words of Linux.
//!
//! `no_std`, with `alloc`: the kernel room verifies with it as the tools do. Features: `ecdsa` verifies signatures by keys on the
//! curves P-256 and P-384; `sign` makes signatures, reads keys and certificates in PEM; `simd`, which needs `std`, verifies RSA with
//! AVX-512 where the processor has it.
//!
//! # What this crate does not do
//! It opens no file, and does not know where a system keeps the certificates it trusts. It does not ask for the time: Linux
//! takes a certificate whose time is over, and [`Certificate::is_valid_at`] is for those who do not.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod algorithm;
mod attributes;
mod certificate;
mod efi;
mod hash;
mod key;
mod keyring;
mod message;
pub mod name;
#[cfg(feature = "sign")]
mod pem;
#[cfg(feature = "sign")]
mod private;
mod reader;
mod rsa;
#[cfg(feature = "sign")]
mod sign;
mod summary;
#[cfg(feature = "sign")]
mod token;
mod verify;
mod words;

pub use algorithm::Digest;
pub use certificate::{Certificate, Colons, Uses, certificates};
pub use efi::{EfiError, EfiSignature};
pub use hash::Hash;
pub use key::{Key, Scheme};
pub use keyring::{Keyring, Trusted};
pub use message::{Message, Signer, SignerId};
#[cfg(feature = "sign")]
pub use pem::{certificates_der, revocation_lists_der};
#[cfg(feature = "sign")]
pub use private::{KeyError, PrivateKey};
pub use reader::ParseError;
pub use rsa::RsaKey;
#[cfg(feature = "sign")]
pub use sign::{NameBy, SignError, append, message, sign, strip};
pub use summary::{Summary, is_marked, summary};
pub use verify::{AttributesKind, Matched, Oddity, Purpose, Refusal, Signed, verify, verify_detached};
