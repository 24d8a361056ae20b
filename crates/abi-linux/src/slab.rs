//! `kmalloc` and its family.

use ferrmod_kernel::heap::FreeError;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::ram;

/// `__GFP_ZERO`
pub(crate) const ZERO: u32 = 0x100;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c kfree, c __kmalloc];

/// Takes heap memory as C does: 0 when there is none, cleared when the flags ask for it.
pub(crate) fn allocate(size: u64, align: u64, flags: u32, caller: u64) -> u64 {
    match kernel().allocate(size, align, caller) {
        Ok(address) => {
            if flags & ZERO != 0 {
                // SAFETY: the heap has just given these bytes to us.
                unsafe { ram::fill(address, 0, size) };
            }
            address
        }
        Err(Errno(_)) => 0,
    }
}

/// Gives heap memory back; a pointer that was not given out is a bug of the caller.
pub(crate) fn release(address: u64, caller: u64) {
    // `ZERO_SIZE_PTR` is 16; it and null may be freed.
    if address <= 16 {
        return;
    }
    if let Err(error) = kernel().heap.free(address) {
        let what = match error {
            FreeError::AlreadyFree(_) => "BUG: double free",
            FreeError::Interior(_) | FreeError::Unknown(_) => "BUG: invalid free",
        };
        kernel().bug(&alloc::format!("{what}: {error}"), caller);
    }
}

/// `void kfree(const void *)`
extern "C" fn kfree(address: u64) {
    release(address, ram::caller());
}

/// `void *__kmalloc(size_t, gfp_t)`
extern "C" fn __kmalloc(size: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    if size == 0 { 16 } else { allocate(size, 8, flags, caller) }
}
