//! Algorithms of our own: those the target kernel has built in, so that no module brings them.

use ferrmod_kernel::{Owner, kernel};

use super::{crypto_alg, crypto_template, function, instances};
use crate::boot::facts;
use crate::field::Field;
use crate::ram;

/// What every algorithm says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    /// `cra_name`
    pub(crate) name: &'static str,
    /// `cra_driver_name`
    pub(crate) driver: &'static str,
    /// `cra_priority`
    pub(crate) priority: i32,
    /// `cra_blocksize`
    pub(crate) blocksize: u32,
    /// `cra_ctxsize`
    pub(crate) ctxsize: u32,
    /// `cra_flags`, its type for plain ciphers
    pub(crate) flags: u32,
}

impl Named {
    /// Writes it.
    ///
    /// # Safety
    /// `base` is a cleared `struct crypto_alg`.
    pub(crate) unsafe fn write(&self, base: u64) {
        // SAFETY: the caller vouches for the algorithm; the names are shorter than their arrays.
        unsafe {
            ram::copy(crypto_alg::cra_name.at(base), self.name.as_ptr() as u64, self.name.len() as u64);
            ram::copy(crypto_alg::cra_driver_name.at(base), self.driver.as_ptr() as u64, self.driver.len() as u64);
            crypto_alg::cra_priority.set(base, self.priority);
            crypto_alg::cra_blocksize.set(base, self.blocksize);
            crypto_alg::cra_ctxsize.set(base, self.ctxsize);
            crypto_alg::cra_flags.set(base, self.flags);
        }
    }
}

/// Whether the target kernel's image has this function: so whether it has an algorithm built in.
pub(crate) fn has(name: &str) -> bool {
    facts().btf().function(name).is_some()
}

/// A cleared C object that is never freed.
pub(crate) fn object(size: u64) -> Option<u64> {
    let at = kernel().allocate_for(size, 64, Owner::Kernel, 0, &kernel().inject).ok()?;
    // SAFETY: the heap has just given these bytes to us.
    unsafe { ram::fill(at, 0, size) };
    Some(at)
}

/// Writes the addresses of functions to members.
///
/// # Safety
/// `object` is of the members' struct.
pub(crate) unsafe fn operations(object: u64, members: &[(&Field, &str)]) {
    for (field, name) in members {
        // SAFETY: the caller vouches for the object.
        unsafe { field.set(object, function(name)) };
    }
}

/// Registers a template whose `create` is the function called `create`.
pub(crate) fn template(name: &str, create: &str) {
    let Some(at) = object(crypto_template::SIZE.get()) else { return };
    // SAFETY: a template of our own; nobody has registered one of that name when the kernel boots.
    unsafe {
        ram::copy(crypto_template::name.at(at), name.as_ptr() as u64, name.len() as u64);
        crypto_template::create.set(at, function(create));
        let _ = instances::register_template(at);
    }
}

/// Registers everything that is built in.
pub(crate) fn begin() {
    super::aes::begin();
    super::digests::begin();
    super::sha3::begin();
    super::null::begin();
    super::rng::begin();
    super::cbc::begin();
    super::ctr::begin();
    super::rfc3686::begin();
    super::hmac::begin();
    super::deflate::begin();
    super::proc::begin();
}
