//! Memory that devices reach: in a machine, all of it.

use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{pages, ram, slab};

layout! {
    mod device = "device" { dma_mask, coherent_dma_mask }
}

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

/// `dma_addr_t dma_map_page_attrs(struct device *, struct page *, size_t offset, size_t, direction, attrs)`: a device reaches
/// every page where it is.
extern "C" fn dma_map_page_attrs(_dev: u64, page: u64, offset: u64) -> u64 {
    pages::address_of(page).wrapping_add(offset).wrapping_sub(kernel().platform.regions().page_offset)
}
/// Caches see what devices write.
extern "C" fn is_coherent() {}

/// What a `struct dma_pool` is here: the size of a block, and its alignment.
const POOL: u64 = 16;

/// `struct dma_pool *dma_pool_create(const char *, struct device *, size_t size, size_t align, size_t boundary)`
extern "C" fn dma_pool_create(_name: u64, _dev: u64, size: u64, align: u64, boundary: u64) -> u64 {
    let caller = ram::caller();
    let align = align.max(1);
    if size == 0 || !align.is_power_of_two() || boundary != 0 && (boundary < size || !boundary.is_power_of_two()) {
        return 0;
    }
    // What is aligned to its own size crosses no boundary that it fits in.
    let Some(align) = size.checked_next_power_of_two().map(|whole| align.max(whole)) else { return 0 };
    let pool = slab::allocate(POOL, 8, slab::ZERO, caller);
    if pool != 0 {
        // SAFETY: a block of two words.
        unsafe {
            ram::put(pool, size);
            ram::put(pool + 8, align);
        }
    }
    pool
}
extern "C" fn dma_pool_destroy(pool: u64) {
    if pool != 0 {
        slab::release(pool, ram::caller());
    }
}
/// `void *dma_pool_alloc(struct dma_pool *, gfp_t, dma_addr_t *)`
extern "C" fn dma_pool_alloc(pool: u64, flags: u32, handle: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: a pool that `dma_pool_create` made, and the caller's variable.
    unsafe {
        let block = slab::allocate(ram::get(pool), ram::get(pool + 8), flags, caller);
        if block != 0 {
            ram::put(handle, block.wrapping_sub(kernel().platform.regions().page_offset));
        }
        block
    }
}
/// `void dma_pool_free(struct dma_pool *, void *, dma_addr_t)`
extern "C" fn dma_pool_free(_pool: u64, block: u64, _handle: u64) {
    slab::release(block, ram::caller());
}

/// `size_t dma_max_mapping_size(struct device *)`: there is no bounce buffer that could be too small.
extern "C" fn anything_fits() -> u64 {
    u64::MAX
}
/// `bool dma_need_sync(struct device *, dma_addr_t)`: a device sees what the processor wrote.
extern "C" fn needs_nothing() -> bool {
    false
}

/// `MAX_DMA_CHANNELS`: those of the bus.
const CHANNELS_OF_BUS: u32 = 8;

/// `int request_dma(unsigned int, const char *)`: one of the channels of the bus.
extern "C" fn request_dma(channel: u32, name: u64) -> i32 {
    /// What leads from one of the two controllers to the other.
    const CASCADE: u32 = 4;
    let caller = ram::caller();
    if channel >= CHANNELS_OF_BUS {
        return Errno::EINVAL.to_return();
    }
    if channel == CASCADE {
        return Errno::EBUSY.to_return();
    }
    // SAFETY: the driver's C string.
    let name = unsafe { ram::c_string_or_empty(name) };
    let taken = kernel().registrations.add("dma", channel.into(), name, kernel().owner_of(caller));
    if taken.is_err() { Errno::EBUSY.to_return() } else { 0 }
}
/// `void free_dma(unsigned int)`
extern "C" fn free_dma(channel: u32) {
    let what = match channel {
        CHANNELS_OF_BUS.. => "DMA",
        _ if kernel().registrations.remove("dma", channel.into()).is_none() => "free DMA",
        _ => return,
    };
    kernel().printk(alloc::format!("\x014Trying to free {what}{channel}\n").as_bytes());
}

/// `spinlock_t dma_spin_lock`: of the channels' registers.
static CHANNELS: Datum = Datum::new("dma_spin_lock", 4, Begin::Zero);
/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&CHANNELS];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c request_dma, c free_dma,
    c dma_pool_create, c dma_pool_destroy, c dma_pool_alloc, c dma_pool_free,
    c dma_set_mask, c dma_set_coherent_mask, c dma_alloc_attrs, c dma_free_attrs, c dma_map_page_attrs,
    k dma_max_mapping_size = anything_fits, k dma_need_sync = needs_nothing, k __dma_need_sync = needs_nothing,
    k dma_unmap_page_attrs = is_coherent, k dma_sync_single_for_cpu = is_coherent, k dma_sync_single_for_device = is_coherent,
    k __dma_sync_single_for_cpu = is_coherent, k __dma_sync_single_for_device = is_coherent,
];
