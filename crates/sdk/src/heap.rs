//! The kernel's heap as Rust's global allocator.

use core::alloc::{GlobalAlloc, Layout};

use crate::kernel;

/// The kernel's heap. `module!` makes it the global allocator; what a module takes is on its account.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

// SAFETY: the kernel gives blocks of the size and alignment asked for that overlap no other, and keeps them until they are given
// back; a failed request is null.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no requirements.
        unsafe { kernel::ferrmod_alloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller got the block from `alloc` with this layout.
        unsafe { kernel::ferrmod_free(memory, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`.
        unsafe { kernel::ferrmod_realloc(memory, layout.size(), layout.align(), new_size) }
    }
}
