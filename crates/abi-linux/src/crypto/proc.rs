//! `/proc/crypto`: what algorithms there are.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use ferrmod_kernel::files::{FileOperations, Node};
use ferrmod_kernel::{Errno, kernel};

use super::aead::aead_alg;
use super::ahash::ahash_alg;
use super::kinds::Kind;
use super::rng::rng_alg;
use super::shash::shash_alg;
use super::skcipher::skcipher_alg;
use super::{ASYNC, INTERNAL, TYPE_CIPHER, TYPE_COMPRESS, TYPE_MASK, algorithms, crypto_alg};
use crate::module;

struct List;

impl FileOperations for List {
    fn read(&self) -> Result<Vec<u8>, Errno> {
        // SAFETY: nothing changes the list of algorithms while it is described.
        Ok(unsafe { algorithms::all() }.map(|alg| unsafe { describe(alg) }).collect::<String>().into_bytes())
    }

    fn write(&self, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EACCES)
    }
}

/// Makes the file.
pub(crate) fn begin() {
    // A machine without `/proc` has none.
    let _ = kernel().files.add("/proc/crypto", Node::File(0o444, Arc::new(List)));
}

fn line(text: &mut String, name: &str, value: impl core::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name:<13}: {value}");
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// A paragraph about one algorithm.
///
/// # Safety
/// `alg` is a registered `struct crypto_alg`.
unsafe fn describe(alg: u64) -> String {
    let mut text = String::new();
    // SAFETY: the caller vouches for the algorithm; its kind says which struct it is in.
    unsafe {
        let flags = algorithms::flags(alg);
        let string = |bytes| -> Cow<'_, str> { String::from_utf8_lossy(bytes) };
        let owner = module::at(crypto_alg::cra_module.get(alg));
        line(&mut text, "name", string(algorithms::name(alg)));
        line(&mut text, "driver", string(algorithms::driver(alg)));
        match owner {
            Some(owner) => line(&mut text, "module", &owner.name),
            None => line(&mut text, "module", "kernel"),
        }
        line(&mut text, "priority", crypto_alg::cra_priority.get::<i32>(alg));
        line(&mut text, "refcnt", crypto_alg::cra_refcnt.get::<u32>(alg));
        // There are no self tests; Linux says `passed` of what needs none.
        line(&mut text, "selftest", "passed");
        line(&mut text, "internal", yes(flags & INTERNAL != 0));
        let block: u32 = crypto_alg::cra_blocksize.get(alg);
        let kind = Kind::of(alg);
        let name = match (kind, flags & TYPE_MASK) {
            (Some(Kind::Shash), _) => "shash",
            (Some(Kind::Ahash), _) => "ahash",
            (Some(Kind::Skcipher), _) => "skcipher",
            (Some(Kind::Aead), _) => "aead",
            (Some(Kind::Akcipher), _) => "akcipher",
            (Some(Kind::Kpp), _) => "kpp",
            (Some(Kind::Rng), _) => "rng",
            (Some(Kind::Acomp), _) => "acomp",
            (Some(Kind::Scomp), _) => "scomp",
            (None, TYPE_CIPHER) => "cipher",
            (None, TYPE_COMPRESS) => "compression",
            (None, _) => "unknown",
        };
        line(&mut text, "type", name);
        let asynchronous = yes(flags & ASYNC != 0);
        match kind {
            Some(Kind::Shash) => {
                line(&mut text, "blocksize", block);
                line(&mut text, "digestsize", shash_alg::digestsize.get::<u32>(shash_alg::base.container(alg)));
            }
            Some(Kind::Ahash) => {
                line(&mut text, "async", asynchronous);
                line(&mut text, "blocksize", block);
                line(&mut text, "digestsize", ahash_alg::digestsize.get::<u32>(ahash_alg::base.container(alg)));
            }
            Some(Kind::Skcipher) => {
                let cipher = skcipher_alg::base.container(alg);
                line(&mut text, "async", asynchronous);
                line(&mut text, "blocksize", block);
                for (name, field) in [
                    ("min keysize", &skcipher_alg::min_keysize),
                    ("max keysize", &skcipher_alg::max_keysize),
                    ("ivsize", &skcipher_alg::ivsize),
                    ("chunksize", &skcipher_alg::chunksize),
                    ("walksize", &skcipher_alg::walksize),
                    ("statesize", &skcipher_alg::statesize),
                ] {
                    if field.offset().is_some() {
                        line(&mut text, name, field.get::<u32>(cipher));
                    }
                }
            }
            Some(Kind::Aead) => {
                let aead = aead_alg::base.container(alg);
                line(&mut text, "async", asynchronous);
                line(&mut text, "blocksize", block);
                line(&mut text, "ivsize", aead_alg::ivsize.get::<u32>(aead));
                line(&mut text, "maxauthsize", aead_alg::maxauthsize.get::<u32>(aead));
                line(&mut text, "geniv", "<none>");
            }
            Some(Kind::Rng) => {
                line(&mut text, "seedsize", rng_alg::seedsize.get::<u32>(rng_alg::base.container(alg)));
            }
            None if flags & TYPE_MASK == TYPE_CIPHER => {
                line(&mut text, "blocksize", block);
                line(&mut text, "min keysize", crypto_alg::cia_min_keysize.get::<u32>(alg));
                line(&mut text, "max keysize", crypto_alg::cia_max_keysize.get::<u32>(alg));
            }
            _ => (),
        }
    }
    text.push('\n');
    text
}
