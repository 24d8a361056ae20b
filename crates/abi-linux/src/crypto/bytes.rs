//! Bytes in memory: aligned copies, XOR, counters, and comparing without telling where.

use ferrmod_kernel::{Errno, Owner, kernel};

use crate::export::{Export, exports};
use crate::ram;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c __crypto_xor, c crypto_inc, c __crypto_memneq];

/// Memory of the kernel's own that is given back when it goes out of scope, cleared.
pub(crate) struct Buffer {
    address: u64,
    size: u64,
}

impl Buffer {
    /// `size` cleared bytes, aligned as a `cra_alignmask` asks.
    ///
    /// # Errors
    /// `ENOMEM`
    pub(crate) fn new(size: u64, mask: u32) -> Result<Self, Errno> {
        let kernel = kernel();
        let align = (u64::from(mask) + 1).next_power_of_two().max(8);
        let address = kernel.allocate_for(size.max(1), align, Owner::Kernel, 0, &kernel.inject)?;
        // SAFETY: the heap has just given these bytes to us.
        unsafe { ram::fill(address, 0, size) };
        Ok(Self { address, size })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: our own bytes, which nobody else holds.
        unsafe { ram::fill(self.address, 0, self.size) };
        // It came from the heap.
        let _ = kernel().free(self.address, 0);
    }
}

/// Bytes at an address that has the alignment an algorithm asks for: where they are, or a copy.
pub(crate) struct Aligned {
    address: u64,
    _copy: Option<Buffer>,
}

impl Aligned {
    /// The `size` bytes at `address`.
    ///
    /// # Errors
    /// `ENOMEM` when a copy is needed and there is no memory.
    ///
    /// # Safety
    /// They are there.
    pub(crate) unsafe fn of(address: u64, size: u64, mask: u32) -> Result<Self, Errno> {
        if address & u64::from(mask) == 0 {
            return Ok(Self { address, _copy: None });
        }
        let copy = Buffer::new(size, mask)?;
        // SAFETY: the caller vouches for the source; the copy has the size.
        unsafe { ram::copy(copy.address, address, size) };
        Ok(Self { address: copy.address, _copy: Some(copy) })
    }

    /// Where they are.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }
}

/// Lets `write` fill `size` bytes at an aligned address, and puts them where they belong.
///
/// # Safety
/// There is room for them at `address`.
pub(crate) unsafe fn with_aligned(address: u64, size: u64, mask: u32, write: impl FnOnce(u64) -> i32) -> i32 {
    if address & u64::from(mask) == 0 {
        return write(address);
    }
    match Buffer::new(size, mask) {
        Ok(buffer) => {
            let answer = write(buffer.address);
            // SAFETY: the caller vouches for the room.
            unsafe { ram::copy(address, buffer.address, size) };
            answer
        }
        Err(errno) => errno.to_return(),
    }
}

/// `void __crypto_xor(u8 *dst, const u8 *src1, const u8 *src2, unsigned int len)`
extern "C" fn __crypto_xor(to: u64, first: u64, second: u64, length: u32) {
    // SAFETY: the module's buffers; any two may be the same one, so they are read byte by byte.
    unsafe {
        for at in 0..u64::from(length) {
            ram::put(to + at, ram::get::<u8>(first + at) ^ ram::get::<u8>(second + at));
        }
    }
}

/// Adds one to a big-endian number.
pub(crate) fn increment(number: &mut [u8]) {
    for byte in number.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return;
        }
    }
}

/// `void crypto_inc(u8 *, unsigned int)`
extern "C" fn crypto_inc(number: u64, size: u32) {
    // SAFETY: the module's buffer.
    increment(unsafe { ram::bytes_mut(number, u64::from(size)) });
}

/// `unsigned long __crypto_memneq(const void *, const void *, size_t)`: every byte is looked at.
extern "C" fn __crypto_memneq(first: u64, second: u64, size: u64) -> u64 {
    // SAFETY: the module's buffers.
    unsafe { (0..size).fold(0, |seen, at| seen | (ram::get::<u8>(first + at) ^ ram::get::<u8>(second + at))).into() }
}
