//! What the zstd modules share with the kernel's own zstd: the allocator their callers choose.

use crate::export::{Export, exports};
use crate::ram;

/// `ZSTD_customMem`, which C passes by value on the stack.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Allocator {
    allocate: u64,
    free: u64,
    opaque: u64,
}

impl Allocator {
    /// Takes memory from the allocator. A context that lives in its caller's workspace has none, and gets none.
    fn take(&self, size: u64) -> u64 {
        if self.allocate == 0 {
            return 0;
        }
        // SAFETY: the function came with the context it is to serve.
        unsafe { ram::call(self.allocate, [self.opaque, size]) }
    }
}

/// `void *ZSTD_customMalloc(size_t, ZSTD_customMem)`
extern "C" fn zstd_malloc(size: u64, allocator: Allocator) -> u64 {
    allocator.take(size)
}

/// `void *ZSTD_customCalloc(size_t, ZSTD_customMem)`
extern "C" fn zstd_calloc(size: u64, allocator: Allocator) -> u64 {
    let address = allocator.take(size);
    if address != 0 {
        // SAFETY: the allocator has just given these bytes to us.
        unsafe { ram::fill(address, 0, size) };
    }
    address
}

/// `void ZSTD_customFree(void *, ZSTD_customMem)`
extern "C" fn zstd_free(address: u64, allocator: Allocator) {
    if address != 0 && allocator.free != 0 {
        // SAFETY: the function and the memory belong together.
        unsafe { ram::call(allocator.free, [allocator.opaque, address]) };
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![s3 ZSTD_customMalloc = zstd_malloc, s3 ZSTD_customCalloc = zstd_calloc, s3 ZSTD_customFree = zstd_free];
