//! `kmalloc`, `vmalloc` and their families.

use alloc::collections::BTreeMap;

use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::{atomic, caches, ram};

/// `__GFP_ZERO`
pub(crate) const ZERO: u32 = 0x100;
/// `ZERO_SIZE_PTR`: what an allocation of nothing gives. It and null may be freed.
const NOTHING: u64 = 16;
/// `KMALLOC_MAX_SIZE` of a kernel whose largest block is of order 10.
const KMALLOC_MAX: u64 = 4 << 20;

/// What `vmalloc` gave out: start and size.
static VMALLOC: Lock<BTreeMap<u64, u64>> = Lock::new(BTreeMap::new());

/// Takes heap memory as C does: 0 when there is none. It is cleared whatever the flags say, as Debian's kernels do
/// (`CONFIG_INIT_ON_ALLOC_DEFAULT_ON`).
pub(crate) fn allocate(size: u64, align: u64, flags: u32, caller: u64) -> u64 {
    atomic::might_alloc(flags, caller);
    match kernel().allocate(size, align, caller) {
        Ok(address) => {
            // SAFETY: the heap has just given these bytes to us.
            unsafe { ram::fill(address, 0, size) };
            address
        }
        Err(Errno(_)) => 0,
    }
}

/// Gives heap memory back; a pointer that was not given out is a bug of the caller.
pub(crate) fn release(address: u64, caller: u64) {
    if address <= NOTHING {
        return;
    }
    caches::forget(address);
    if let Err(error) = kernel().free(address, caller) {
        kernel().bad_free(error, caller);
    }
}

/// A copy of bytes on the heap; 0 without memory.
pub(crate) fn duplicate(bytes: &[u8], flags: u32, caller: u64) -> u64 {
    let copy = kmalloc(bytes.len() as u64, flags & !ZERO, caller);
    if copy > NOTHING {
        // SAFETY: the heap has just given this room to us.
        unsafe { ram::bytes_mut(copy, bytes.len() as u64) }.copy_from_slice(bytes);
    }
    copy
}

/// As `kmalloc`.
pub(crate) fn kmalloc(size: u64, flags: u32, caller: u64) -> u64 {
    match size {
        0 => NOTHING,
        size if size > KMALLOC_MAX => 0,
        size => allocate(size, 8, flags, caller),
    }
}

/// `void kfree(const void *)`
extern "C" fn kfree(address: u64) {
    let caller = ram::caller();
    if VMALLOC.lock().contains_key(&address) {
        kernel().bug("BUG: kfree of memory that vmalloc gave", caller);
    }
    release(address, caller);
}

/// `void *__kmalloc(size_t, gfp_t)`
extern "C" fn __kmalloc(size: u64, flags: u32) -> u64 {
    kmalloc(size, flags, ram::caller())
}
/// `void *kmalloc_trace(struct kmem_cache *, gfp_t, size_t)`; the cache is one of `kmalloc_caches`, which hold none.
extern "C" fn kmalloc_trace(_cache: u64, flags: u32, size: u64) -> u64 {
    kmalloc(size, flags, ram::caller())
}
/// `void *kmalloc_node_trace(struct kmem_cache *, gfp_t, int node, size_t)`
extern "C" fn kmalloc_node_trace(_cache: u64, flags: u32, _node: i32, size: u64) -> u64 {
    kmalloc(size, flags, ram::caller())
}
/// `void *__kmalloc_node_noprof(size_t, kmem_buckets *, gfp_t, int node)`
extern "C" fn __kmalloc_node_noprof(size: u64, _buckets: u64, flags: u32) -> u64 {
    kmalloc(size, flags, ram::caller())
}

/// The bytes that can be used of what starts at `address`.
fn usable(address: u64) -> u64 {
    if address <= NOTHING { 0 } else { kernel().heap.find(address).map_or(0, |object| object.usable) }
}
extern "C" fn ksize(address: u64) -> u64 {
    let usable = usable(address);
    // Whoever asks may use all of it.
    kernel().widen(address, usable);
    usable
}
/// `size_t kmalloc_size_roundup(size_t)`
extern "C" fn kmalloc_size_roundup(size: u64) -> u64 {
    use ferrmod_kernel::heap::CLASSES;
    match size {
        0 => 0,
        size => CLASSES
            .iter()
            .map(|&class| u64::from(class))
            .find(|&class| class >= size)
            .unwrap_or(size.next_multiple_of(PAGE)),
    }
}

/// Gives `old`'s contents a new size through `again`; null and nothing happens when there is no memory.
fn resize(old: u64, size: u64, flags: u32, caller: u64, again: impl FnOnce() -> u64) -> u64 {
    if size == 0 {
        release_any(old, caller);
        return NOTHING;
    }
    let room = usable(old);
    if old > NOTHING && size <= room && size * 2 > room {
        kernel().widen(old, size);
        return old;
    }
    let new = again();
    if new != 0 && old > NOTHING {
        // SAFETY: both are live objects of at least so many bytes.
        unsafe {
            let kept = size.min(kernel().heap.find(old).map_or(room, |object| object.room));
            ram::copy(new, old, kept);
            if flags & ZERO != 0 {
                ram::fill(new + kept, 0, size - kept);
            }
        }
        release_any(old, caller);
    }
    new
}
extern "C" fn krealloc(old: u64, size: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    resize(old, size, flags, caller, || kmalloc(size, flags, caller))
}
/// `void *kvrealloc_noprof(const void *, size_t, gfp_t)` (6.12)
extern "C" fn kvrealloc_noprof(old: u64, size: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    resize(old, size, flags, caller, || kvmalloc(size, flags, caller))
}
/// `void *kvrealloc(const void *, size_t old_size, size_t, gfp_t)` (6.1)
extern "C" fn kvrealloc(old: u64, _old_size: u64, size: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    resize(old, size, flags, caller, || kvmalloc(size, flags, caller))
}

/// Clears an object and frees it.
extern "C" fn kfree_sensitive(address: u64) {
    let caller = ram::caller();
    let room = if address <= NOTHING { 0 } else { kernel().heap.find(address).map_or(0, |object| object.room) };
    // SAFETY: the bytes of a live object, or none.
    unsafe { ram::fill(address, 0, room) };
    release(address, caller);
}

/// As `vmalloc`: whole pages, not contiguous in principle.
pub(crate) fn vmalloc(size: u64, flags: u32, caller: u64) -> u64 {
    if size == 0 {
        return 0;
    }
    let start = allocate(size, PAGE, flags, caller);
    if start != 0 {
        VMALLOC.lock().insert(start, size);
    }
    start
}

fn kvmalloc(size: u64, flags: u32, caller: u64) -> u64 {
    match size {
        0 => NOTHING,
        size if size > i32::MAX as u64 => 0,
        size if size > KMALLOC_MAX => vmalloc(size, flags, caller),
        size => kmalloc(size, flags, caller),
    }
}

/// Frees what `kmalloc` or `vmalloc` gave.
pub(crate) fn release_any(address: u64, caller: u64) {
    VMALLOC.lock().remove(&address);
    release(address, caller);
}

extern "C" fn vmalloc_flags(size: u64, flags: u32) -> u64 {
    vmalloc(size, flags, ram::caller())
}
extern "C" fn vmalloc_plain(size: u64) -> u64 {
    vmalloc(size, 0, ram::caller())
}
extern "C" fn vzalloc(size: u64) -> u64 {
    vmalloc(size, ZERO, ram::caller())
}
/// `void *__vmalloc_array(size_t n, size_t size, gfp_t)`
extern "C" fn __vmalloc_array(count: u64, size: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    count.checked_mul(size).map_or(0, |size| vmalloc(size, flags, caller))
}
extern "C" fn vmalloc_array(count: u64, size: u64) -> u64 {
    __vmalloc_array(count, size, 0)
}
extern "C" fn vcalloc(count: u64, size: u64) -> u64 {
    __vmalloc_array(count, size, ZERO)
}

extern "C" fn vfree(address: u64) {
    let caller = ram::caller();
    if address == 0 {
        return;
    }
    if VMALLOC.lock().remove(&address).is_none() {
        let text = alloc::format!("Trying to vfree() nonexistent vm area ({address:#018x})");
        kernel().warn(&text, caller);
        return;
    }
    release(address, caller);
}
extern "C" fn kvfree(address: u64) {
    release_any(address, ram::caller());
}
/// `void kvfree_sensitive(const void *, size_t)`
extern "C" fn kvfree_sensitive(address: u64, length: u64) {
    let caller = ram::caller();
    // SAFETY: so many bytes of a live object, or none.
    unsafe { ram::fill(address, 0, length.min(usable(address))) };
    release_any(address, caller);
}

/// `bool is_vmalloc_addr(const void *)`
extern "C" fn is_vmalloc_addr(address: u64) -> bool {
    VMALLOC.lock().range(..=address).next_back().is_some_and(|(start, size)| address - start < *size)
}

/// `void *kvmalloc_node(size_t, gfp_t, int node)`
extern "C" fn kvmalloc_node(size: u64, flags: u32) -> u64 {
    kvmalloc(size, flags, ram::caller())
}
/// `void *__kvmalloc_node_noprof(size_t, kmem_buckets *, gfp_t, int node)`
extern "C" fn __kvmalloc_node_noprof(size: u64, _buckets: u64, flags: u32) -> u64 {
    kvmalloc(size, flags, ram::caller())
}
/// `void *kvmemdup(const void *, size_t, gfp_t)`
extern "C" fn kvmemdup(from: u64, size: u64, flags: u32) -> u64 {
    let copy = kvmalloc(size, flags & !ZERO, ram::caller());
    if copy > NOTHING {
        // SAFETY: the caller's bytes, and a new object of this size.
        unsafe { ram::copy(copy, from, size) };
    }
    copy
}

/// Large enough for every kernel's `kmalloc_caches`; its pointers stay null, as nobody but `kmalloc_trace` reads them.
static KMALLOC_CACHES: Datum = Datum::new("kmalloc_caches", 8192, Begin::Zero);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&KMALLOC_CACHES];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c kfree, c __kmalloc, c __kmalloc_noprof = __kmalloc, c kmalloc_trace, c __kmalloc_cache_noprof = kmalloc_trace,
    c kmalloc_node_trace, c __kmalloc_cache_node_noprof = kmalloc_node_trace, c __kmalloc_node = __kmalloc,
    c __kmalloc_node_noprof, c __kmalloc_node_track_caller = __kmalloc,
    c __kmalloc_node_track_caller_noprof = __kmalloc_node_noprof, c __kmalloc_track_caller = __kmalloc,
    c kmalloc_large = __kmalloc, c kmalloc_large_node = __kmalloc, c __kmalloc_large_noprof = __kmalloc,
    c __kmalloc_large_node_noprof = __kmalloc, c ksize, c kmalloc_size_roundup, c krealloc, c krealloc_noprof = krealloc,
    c kvrealloc, c kvrealloc_noprof, c kfree_sensitive, c vmalloc = vmalloc_plain, c vmalloc_noprof = vmalloc_plain,
    c vmalloc_node = vmalloc_plain, c vmalloc_node_noprof = vmalloc_plain, c vmalloc_32 = vmalloc_plain,
    c vmalloc_32_noprof = vmalloc_plain, c vzalloc, c vzalloc_noprof = vzalloc, c vzalloc_node = vzalloc,
    c vzalloc_node_noprof = vzalloc, c vmalloc_user = vzalloc, c vmalloc_user_noprof = vzalloc, c vmalloc_32_user = vzalloc,
    c vmalloc_32_user_noprof = vzalloc, c __vmalloc = vmalloc_flags, c __vmalloc_noprof = vmalloc_flags,
    c vmalloc_huge = vmalloc_flags, c vmalloc_huge_noprof = vmalloc_flags, c __vmalloc_array, c vmalloc_array, c vcalloc,
    c __vmalloc_array_noprof = __vmalloc_array, c vmalloc_array_noprof = vmalloc_array, c vcalloc_noprof = vcalloc,
    c __vcalloc = __vmalloc_array_zeroed, c vfree, c vfree_atomic = vfree, c kvfree, c kvfree_sensitive, c is_vmalloc_addr,
    c is_vmalloc_or_module_addr = is_vmalloc_addr, c kvmalloc_node, c __kvmalloc_node_noprof, c kvmemdup,
];

/// `void *__vcalloc(size_t n, size_t size, gfp_t)`
extern "C" fn __vmalloc_array_zeroed(count: u64, size: u64, flags: u32) -> u64 {
    __vmalloc_array(count, size, flags | ZERO)
}
