//! Variables that modules import.

use core::sync::atomic::{AtomicU64, Ordering};

use ferrmod_kernel::{Errno, Kernel};

use crate::boot::facts;
use crate::ram;

/// A variable: its name, its size, and how it begins.
#[derive(Debug)]
pub(crate) struct Datum {
    /// The symbol.
    pub(crate) name: &'static str,
    size: u64,
    begin: Begin,
    address: AtomicU64,
}

/// What a variable holds when the kernel has booted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    /// Zeros.
    Zero,
    /// What the target kernel's image holds there. Only for data without pointers in it.
    Image,
    /// What the function writes at the address it is given. All variables have their addresses by then.
    With(fn(u64)),
}

impl Datum {
    /// A variable of `size` bytes.
    pub(crate) const fn new(name: &'static str, size: u64, begin: Begin) -> Self {
        Self { name, size, begin, address: AtomicU64::new(0) }
    }

    /// Whole pages are page aligned, everything else is aligned to cache lines.
    fn align(&self) -> u64 {
        if self.size.is_multiple_of(4096) { 4096 } else { 64 }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> u64 {
        self.address.load(Ordering::Relaxed)
    }
}

/// Gives every variable its place and its first value.
///
/// # Errors
/// `ENOMEM` when the data region is too small.
pub(crate) fn place(kernel: &Kernel, all: &[&[&'static Datum]]) -> Result<(), Errno> {
    let each = || all.iter().flat_map(|file| file.iter());
    let next = |at: u64, datum: &Datum| at.next_multiple_of(datum.align()) + datum.size;
    let total = each().fold(0, |at, datum| next(at, datum));
    let mut at = kernel.data.take(total.max(64), 4096)?;
    for datum in each() {
        let end = next(at, datum);
        datum.address.store(end - datum.size, Ordering::Relaxed);
        at = end;
    }
    for datum in each() {
        match datum.begin {
            Begin::Zero => (),
            Begin::Image => {
                let index = facts().find_export(datum.name.as_bytes());
                let bytes = index.map(|index| facts().export_bytes(index)).unwrap_or_default();
                let bytes = &bytes[..bytes.len().min(datum.size as usize)];
                kernel.platform.write(datum.address(), bytes).map_err(|_| Errno::ENOMEM)?;
            }
            Begin::With(begin) => begin(datum.address()),
        }
    }
    Ok(())
}

/// A variable that holds one number.
impl Datum {
    /// Reads it as a 64-bit number.
    pub(crate) fn load(&self) -> u64 {
        // SAFETY: the address was given by `place` and stays valid; every caller's variable is at least 8 bytes long.
        unsafe { ram::get(self.address()) }
    }
}
