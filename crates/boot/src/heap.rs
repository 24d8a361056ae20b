//! The heap of the Rust code itself, apart from the heap that modules allocate from.

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use talc::TalcLock;
use talc::source::Manual;

/// Enough for what is read before the memory map is known.
const EARLY: usize = 64 << 10;

#[repr(align(16))]
struct Early(core::cell::UnsafeCell<[u8; EARLY]>);

// SAFETY: the bytes are only ever touched by the allocator they are given to, which has a lock.
unsafe impl Sync for Early {}

static EARLY_HEAP: Early = Early(core::cell::UnsafeCell::new([0; EARLY]));
static TALC: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);
static INSIDE: AtomicU32 = AtomicU32::new(0);

struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

/// Whether the interrupted code was inside the allocator, so that nothing may be allocated now.
pub(crate) fn busy() -> bool {
    INSIDE.load(Ordering::Relaxed) != 0
}

fn inside<T>(work: impl FnOnce() -> T) -> T {
    INSIDE.fetch_add(1, Ordering::Relaxed);
    let result = work();
    INSIDE.fetch_sub(1, Ordering::Relaxed);
    result
}

// SAFETY: every call is passed on unchanged to talc, whose implementation keeps the contract.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        inside(|| unsafe { TALC.alloc(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        inside(|| unsafe { TALC.dealloc(pointer, layout) });
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        inside(|| unsafe { TALC.realloc(pointer, layout, size) })
    }
}

/// Gives the allocator a few pages of the image. Called once, first.
pub(crate) fn claim_early() {
    // SAFETY: nobody else uses the static, and this is called once.
    let claimed = unsafe { TALC.lock().claim(EARLY_HEAP.0.get().cast(), EARLY) };
    assert!(claimed.is_some(), "the early heap is too small for its own bookkeeping");
}

/// Gives the allocator its real memory.
///
/// # Safety
/// `range` is mapped, writable and used by nobody else, for ever; called once.
pub(crate) unsafe fn claim(range: Range<u64>) {
    // SAFETY: the caller's promise.
    let claimed = unsafe { TALC.lock().claim(range.start as *mut u8, (range.end - range.start) as usize) };
    assert!(claimed.is_some(), "the heap is too small for its own bookkeeping");
}
