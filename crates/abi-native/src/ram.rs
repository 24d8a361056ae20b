//! Memory of a module, by address. Nothing here is checked: a bad address faults, and the fault is an oops of the running task.
//! No kernel lock may be held around these.

use core::arch::asm;

use ferrmod_kernel::percpu::CALLER_SLOT;

/// The bytes at an address.
///
/// # Safety
/// They are there, and nobody writes to them while the slice lives.
pub(crate) unsafe fn bytes<'a>(address: *const u8, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for the range; a zero length is handled above, so the address may be anything then.
    unsafe { core::slice::from_raw_parts(address, length) }
}

/// The bytes at an address, to be written.
///
/// # Safety
/// They are there, and nobody else uses them while the slice lives.
pub(crate) unsafe fn bytes_mut<'a>(address: *mut u8, length: usize) -> &'a mut [u8] {
    if length == 0 {
        return &mut [];
    }
    // SAFETY: as for `bytes`.
    unsafe { core::slice::from_raw_parts_mut(address, length) }
}

/// The bytes of a C string, without the NUL.
///
/// # Safety
/// A NUL-terminated string is there and stays as it is while the slice lives.
pub(crate) unsafe fn c_string<'a>(address: *const u8) -> &'a [u8] {
    // SAFETY: the caller vouches for the string.
    unsafe { core::ffi::CStr::from_ptr(address.cast()) }.to_bytes()
}

/// The return address of the module code that called the running function. To be read first, because every call through a
/// bridge overwrites it.
#[inline]
pub(crate) fn caller() -> u64 {
    let caller: u64;
    // SAFETY: while a kernel runs, GS is the start of its per-CPU area, and the slot lies in it.
    unsafe {
        asm!("mov {}, gs:[{slot}]", out(reg) caller, slot = const CALLER_SLOT, options(nostack, readonly, preserves_flags));
    }
    caller
}
