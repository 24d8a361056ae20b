//! Memory as C sees it: raw reads and writes at addresses, strings, and argument lists.
//!
//! Nothing here is checked. A bad address faults, and the platform turns the fault into an oops of the running task; that is
//! what would happen on Linux, and why no kernel lock may be held around these.

use alloc::vec::Vec;
use core::arch::asm;

use ferrmod_kernel::percpu::{CALLER_SLOT, FRAME_SLOT, INTERRUPTS_SLOT};

/// Touches address 0 as the access that is about to be made would, where Rust's own primitives must not be given it: the fault
/// is the module's and not a panic of the kernel.
#[cold]
#[inline(never)]
fn touch_null(write: bool) {
    // SAFETY: nothing is ever mapped at address 0, so that neither access can change or reveal anything; each faults.
    unsafe {
        if write {
            asm!("mov byte ptr [{0}], 0", in(reg) 0_u64, options(nostack, preserves_flags));
        } else {
            asm!("mov {0:l}, byte ptr [{0:r}]", inout(reg) 0_u64 => _, options(nostack, preserves_flags));
        }
    }
}

#[inline]
fn before_read(address: u64) {
    if address == 0 {
        touch_null(false);
    }
}

#[inline]
fn before_write(address: u64) {
    if address == 0 {
        touch_null(true);
    }
}

/// Reads a value.
///
/// # Safety
/// `address` holds a `T`, or faults.
#[inline]
pub(crate) unsafe fn get<T: Copy>(address: u64) -> T {
    before_read(address);
    // SAFETY: the caller vouches for the address.
    unsafe { (address as *const T).read_unaligned() }
}

/// Writes a value.
///
/// # Safety
/// `address` has room for a `T` that may be overwritten, or faults.
#[inline]
pub(crate) unsafe fn put<T: Copy>(address: u64, value: T) {
    before_write(address);
    // SAFETY: the caller vouches for the address.
    unsafe { (address as *mut T).write_unaligned(value) }
}

/// The bytes at an address.
///
/// # Safety
/// They are there, and nobody writes to them while the slice lives.
#[inline]
pub(crate) unsafe fn bytes<'a>(address: u64, length: u64) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    before_read(address);
    // SAFETY: the caller vouches for the range; a zero length is handled above, so the address may be anything.
    unsafe { core::slice::from_raw_parts(address as *const u8, length as usize) }
}

/// The bytes at an address, to be written.
///
/// # Safety
/// They are there, and nobody else uses them while the slice lives.
#[inline]
pub(crate) unsafe fn bytes_mut<'a>(address: u64, length: u64) -> &'a mut [u8] {
    if length == 0 {
        return &mut [];
    }
    before_write(address);
    // SAFETY: as for `bytes`.
    unsafe { core::slice::from_raw_parts_mut(address as *mut u8, length as usize) }
}

/// Copies bytes between addresses that may overlap.
///
/// # Safety
/// Both ranges are there, and the target may be overwritten.
#[inline]
pub(crate) unsafe fn copy(to: u64, from: u64, length: u64) {
    if length == 0 {
        return;
    }
    before_read(from);
    before_write(to);
    // SAFETY: the caller vouches for both ranges.
    unsafe { core::ptr::copy(from as *const u8, to as *mut u8, length as usize) }
}

/// Fills bytes.
///
/// # Safety
/// The range is there and may be overwritten.
#[inline]
pub(crate) unsafe fn fill(to: u64, byte: u8, length: u64) {
    if length == 0 {
        return;
    }
    before_write(to);
    // SAFETY: the caller vouches for the range.
    unsafe { core::ptr::write_bytes(to as *mut u8, byte, length as usize) }
}

/// The bytes of a C string, without the NUL.
///
/// # Safety
/// A NUL-terminated string is there and stays as it is while the slice lives.
pub(crate) unsafe fn c_string<'a>(address: u64) -> &'a [u8] {
    // SAFETY: the caller vouches for the string.
    unsafe {
        let mut length = 0;
        while get::<u8>(address + length) != 0 {
            length += 1;
        }
        bytes(address, length)
    }
}

/// A copy of a C string that may be null.
///
/// # Safety
/// As [`c_string`], unless `address` is 0.
pub(crate) unsafe fn c_string_or_empty(address: u64) -> Vec<u8> {
    if address == 0 {
        return Vec::new();
    }
    // SAFETY: the caller vouches for the string.
    unsafe { c_string(address) }.to_vec()
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

/// Where the frame of the module code's last call lies: its frame pointer, and above that the return address.
#[inline]
pub(crate) fn frame() -> u64 {
    let frame: u64;
    // SAFETY: as in `caller`.
    unsafe {
        asm!("mov {}, gs:[{slot}]", out(reg) frame, slot = const FRAME_SLOT, options(nostack, readonly, preserves_flags));
    }
    frame
}

/// Where module code that has switched interrupts off by itself goes on, and where its stack is then; 0 when it was the kernel.
pub(crate) fn interrupts_off_at() -> (u64, u64) {
    let (ip, sp): (u64, u64);
    // SAFETY: as in `caller`.
    unsafe {
        asm!(
            "mov {}, gs:[{slot}]", "mov {}, gs:[{slot} + 8]",
            out(reg) ip, out(reg) sp, slot = const INTERRUPTS_SLOT, options(nostack, readonly, preserves_flags),
        );
    }
    (ip, sp)
}

/// The kernel switches interrupts off for module code.
pub(crate) fn forget_interrupts_off() {
    // SAFETY: as in `caller`; nobody else has a use for the slot.
    unsafe {
        asm!("mov qword ptr gs:[{slot}], 0", slot = const INTERRUPTS_SLOT, options(nostack, preserves_flags));
    }
}

/// The 32-bit word at `offset` of the per-CPU area.
///
/// # Safety
/// The offset is that of a per-CPU variable.
#[inline]
pub(crate) unsafe fn percpu_word(offset: u32) -> u32 {
    let word: u32;
    // SAFETY: GS is the start of the per-CPU area while a kernel runs; the caller vouches for the offset.
    unsafe {
        asm!("mov {0:e}, gs:[{1:r}]", out(reg) word, in(reg) u64::from(offset), options(nostack, readonly, preserves_flags));
    }
    word
}

/// Sets it.
///
/// # Safety
/// As [`percpu_word`].
#[inline]
pub(crate) unsafe fn set_percpu_word(offset: u32, word: u32) {
    // SAFETY: as in `percpu_word`.
    unsafe {
        asm!("mov gs:[{1:r}], {0:e}", in(reg) word, in(reg) u64::from(offset), options(nostack, preserves_flags));
    }
}

/// Calls C code at `address`.
///
/// # Safety
/// A C function of these arguments is there.
#[inline]
pub(crate) unsafe fn call<const N: usize>(address: u64, arguments: [u64; N]) -> u64 {
    let mut six = [0; 6];
    six[..N].copy_from_slice(&arguments);
    // SAFETY: the caller vouches for the function; integer arguments beyond those it takes are ignored in the SysV ABI.
    unsafe {
        let function: unsafe extern "C" fn(u64, u64, u64, u64, u64, u64) -> u64 = core::mem::transmute(address);
        function(six[0], six[1], six[2], six[3], six[4], six[5])
    }
}
