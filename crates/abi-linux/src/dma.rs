//! Memory that devices reach, and windows onto devices. A machine's devices reach all memory; behind a window nobody answers.

use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{pages, ram, slab};

layout! {
    mod device = "device" { dma_mask, coherent_dma_mask }
}

/// What a bus without an answer reads as.
const NOBODY: u8 = 0xff;

/// `int dma_set_mask(struct device *, u64)`
extern "C" fn dma_set_mask(dev: u64, mask: u64) -> i32 {
    // SAFETY: the caller's device.
    unsafe {
        let at: u64 = device::dma_mask.get(dev);
        if at == 0 {
            return Errno::EIO.to_return();
        }
        ram::put(at, mask);
    }
    0
}
/// `int dma_set_coherent_mask(struct device *, u64)`
extern "C" fn dma_set_coherent_mask(dev: u64, mask: u64) -> i32 {
    // SAFETY: the caller's device.
    unsafe { device::coherent_dma_mask.set(dev, mask) };
    0
}

/// `void *dma_alloc_attrs(struct device *, size_t, dma_addr_t *, gfp_t, unsigned long)`: whole pages, and where they are for a
/// device.
extern "C" fn dma_alloc_attrs(_dev: u64, size: u64, handle: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    let order = size.div_ceil(PAGE).next_power_of_two().trailing_zeros();
    let first = pages::allocate(flags | slab::ZERO, order, caller);
    if first == 0 {
        return 0;
    }
    let address = pages::address_of(first);
    // SAFETY: the caller's variable.
    unsafe { ram::put(handle, address.wrapping_sub(kernel().platform.regions().page_offset)) };
    address
}
extern "C" fn dma_free_attrs(_dev: u64, size: u64, address: u64) {
    let caller = ram::caller();
    let order = size.div_ceil(PAGE).next_power_of_two().trailing_zeros();
    pages::give(pages::page_of(address), order, caller);
}

/// `void __iomem *ioremap(resource_size_t, unsigned long size)`: a window behind which nobody answers, so that all bits are read
/// as ones.
extern "C" fn ioremap(physical: u64, size: u64) -> u64 {
    let caller = ram::caller();
    let inside = physical % PAGE;
    if size == 0 || size > 1 << 28 {
        return 0;
    }
    let window = slab::vmalloc(inside + size, 0, caller);
    if window == 0 {
        return 0;
    }
    // SAFETY: memory that has just been given to us.
    unsafe { ram::fill(window, NOBODY, inside + size) };
    window + inside
}
/// `void iounmap(volatile void __iomem *)`
extern "C" fn iounmap(window: u64) {
    slab::release_any(window / PAGE * PAGE, ram::caller());
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c dma_set_mask, c dma_set_coherent_mask, c dma_alloc_attrs, c dma_free_attrs, c ioremap, c ioremap_wc = ioremap,
    c ioremap_cache = ioremap, c ioremap_uc = ioremap, c iounmap,
];
