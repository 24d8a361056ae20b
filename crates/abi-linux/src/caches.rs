//! `kmem_cache`: objects of one size with a name, and memory pools over them.

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::slab::{self, ZERO};
use crate::string::text;
use crate::{atomic, ram, tasks};

layout! {
    mod kmem_cache_args = "kmem_cache_args" { align, ctor }
    mod mempool = "mempool_s" { min_nr, curr_nr, elements, pool_data, alloc, free, wait }
}

#[derive(Clone, Copy, Debug)]
struct Cache {
    size: u64,
    align: u64,
    constructor: u64,
    live: u64,
}

#[derive(Debug)]
struct Caches {
    caches: Option<HashMap<u64, Cache>>,
    /// Which cache a live object is of, as `kfree` may be asked to free it.
    objects: Option<HashMap<u64, u64>>,
}

static CACHES: Lock<Caches> = Lock::new(Caches { caches: None, objects: None });

/// What stands for a `struct kmem_cache`, which no module looks into.
const HANDLE_SIZE: u64 = 64;
/// `SLAB_HWCACHE_ALIGN`
const CACHE_LINE_ALIGNED: u32 = 0x2000;
const CACHE_LINE: u64 = 64;
/// The largest object (`KMALLOC_MAX_SIZE`).
const LARGEST: u64 = 4 << 20;

fn create(name: u64, size: u32, align: u32, flags: u32, constructor: u64, caller: u64) -> u64 {
    let size = u64::from(size);
    if name == 0 || size == 0 || size > LARGEST {
        kernel().warn("kmem_cache_create: integrity check failed", caller);
        return 0;
    }
    let handle = slab::allocate(HANDLE_SIZE, 8, ZERO, caller);
    if handle == 0 {
        return 0;
    }
    let line = if flags & CACHE_LINE_ALIGNED != 0 { CACHE_LINE.min(size.next_power_of_two()) } else { 8 };
    let align = u64::from(align).next_power_of_two().max(line);
    let owner = kernel().owner_of(caller);
    let cache = Cache { size, align, constructor, live: 0 };
    CACHES.lock().caches.get_or_insert_default().insert(handle, cache);
    // The address is new, so nothing is registered under it.
    let _ = kernel().registrations.add("kmem_cache", handle, text(name).to_vec(), owner);
    handle
}

/// `struct kmem_cache *kmem_cache_create(const char *, unsigned size, unsigned align, slab_flags_t, void (*ctor)(void *))`
extern "C" fn kmem_cache_create(name: u64, size: u32, align: u32, flags: u32, constructor: u64) -> u64 {
    create(name, size, align, flags, constructor, ram::caller())
}
extern "C" fn kmem_cache_create_usercopy(
    name: u64,
    size: u32,
    align: u32,
    flags: u32,
    _user_offset: u32,
    _user_size: u32,
    constructor: u64,
) -> u64 {
    create(name, size, align, flags, constructor, ram::caller())
}
/// `struct kmem_cache *__kmem_cache_create_args(const char *, unsigned size, struct kmem_cache_args *, slab_flags_t)`
extern "C" fn __kmem_cache_create_args(name: u64, size: u32, arguments: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    // SAFETY: the caller's arguments.
    let (align, constructor) = unsafe { (kmem_cache_args::align.get(arguments), kmem_cache_args::ctor.get(arguments)) };
    create(name, size, align, flags, constructor, caller)
}

fn cache(handle: u64) -> Option<Cache> {
    CACHES.lock().caches.as_ref()?.get(&handle).copied()
}

/// A cache that is not there is a bug of the caller.
fn cache_of(handle: u64, caller: u64) -> Cache {
    cache(handle).unwrap_or_else(|| kernel().bug("BUG: this is no kmem_cache", caller))
}

extern "C" fn kmem_cache_size(handle: u64) -> u32 {
    cache(handle).map_or(0, |cache| cache.size as u32)
}

fn take(handle: u64, flags: u32, caller: u64) -> u64 {
    let cache = cache_of(handle, caller);
    let object = slab::allocate(cache.size, cache.align, flags, caller);
    if object == 0 {
        return 0;
    }
    {
        let mut all = CACHES.lock();
        all.objects.get_or_insert_default().insert(object, handle);
        if let Some(cache) = all.caches.get_or_insert_default().get_mut(&handle) {
            cache.live += 1;
        }
    }
    if cache.constructor != 0 {
        // An object is freed as it was constructed, so constructing it anew at every turn gives what is expected.
        // SAFETY: the module's constructor, and a new object of its size.
        unsafe { ram::call(cache.constructor, [object]) };
    }
    object
}

/// `object` is being freed: takes it out of its cache's count, if it is of one.
pub(crate) fn forget(object: u64) -> Option<u64> {
    let mut all = CACHES.lock();
    let handle = all.objects.as_mut()?.remove(&object)?;
    if let Some(cache) = all.caches.as_mut()?.get_mut(&handle) {
        cache.live = cache.live.saturating_sub(1);
    }
    Some(handle)
}

extern "C" fn kmem_cache_alloc(handle: u64, flags: u32) -> u64 {
    take(handle, flags, ram::caller())
}
/// `void *kmem_cache_alloc_lru(struct kmem_cache *, struct list_lru *, gfp_t)`
extern "C" fn kmem_cache_alloc_lru(handle: u64, _lru: u64, flags: u32) -> u64 {
    take(handle, flags, ram::caller())
}
/// `int kmem_cache_alloc_bulk(struct kmem_cache *, gfp_t, size_t, void **)`: all or none.
extern "C" fn kmem_cache_alloc_bulk(handle: u64, flags: u32, count: u64, into: u64) -> i32 {
    let caller = ram::caller();
    for index in 0..count {
        let object = take(handle, flags, caller);
        if object == 0 {
            give_all(handle, index, into, caller);
            return 0;
        }
        // SAFETY: the caller's array.
        unsafe { ram::put(into + 8 * index, object) };
    }
    count as i32
}

fn give(handle: u64, object: u64, caller: u64) {
    if object == 0 {
        return;
    }
    match forget(object) {
        Some(owner) if handle != 0 && owner != handle => {
            kernel().warn("cache_from_obj: wrong slab cache: the object is of another one", caller);
        }
        _ => (),
    }
    slab::release(object, caller);
}
fn give_all(handle: u64, count: u64, from: u64, caller: u64) {
    for index in 0..count {
        // SAFETY: the caller's array.
        give(handle, unsafe { ram::get(from + 8 * index) }, caller);
    }
}
extern "C" fn kmem_cache_free(handle: u64, object: u64) {
    give(handle, object, ram::caller());
}
/// `void kmem_cache_free_bulk(struct kmem_cache *, size_t, void **)`
extern "C" fn kmem_cache_free_bulk(handle: u64, count: u64, from: u64) {
    give_all(handle, count, from, ram::caller());
}

extern "C" fn kmem_cache_destroy(handle: u64) {
    let caller = ram::caller();
    if handle == 0 {
        return;
    }
    // Objects that were freed for later are still live.
    crate::rcu::run();
    let cache = cache_of(handle, caller);
    let name = kernel().registrations.get("kmem_cache", handle).map(|found| found.name).unwrap_or_default();
    if cache.live > 0 {
        let from = kernel().symbolise(caller);
        let text = alloc::format!(
            "kmem_cache_destroy {name}: Slab cache still has objects when called from {from} ({} of them)",
            cache.live
        );
        kernel().warn(&text, caller);
        // As on Linux the cache stays, so that its objects still have one.
        return;
    }
    if let Some(caches) = CACHES.lock().caches.as_mut() {
        caches.remove(&handle);
    }
    kernel().registrations.remove("kmem_cache", handle);
    slab::release(handle, caller);
}

/// A cache holds no free objects that could be given back.
extern "C" fn kmem_cache_shrink() -> i32 {
    0
}

/// Adds an element to a pool's reserve; whether there was room.
fn keep(pool: u64, element: u64) -> bool {
    // SAFETY: the module's pool, whose reserve has room for `min_nr` elements.
    unsafe {
        let (have, least): (i32, i32) = (mempool::curr_nr.get(pool), mempool::min_nr.get(pool));
        if have >= least {
            return false;
        }
        ram::put(mempool::elements.get::<u64>(pool) + 8 * have as u64, element);
        mempool::curr_nr.set(pool, have + 1);
    }
    true
}

/// Takes one out of a pool's reserve.
fn reserve(pool: u64) -> u64 {
    // SAFETY: the module's pool.
    unsafe {
        let have: i32 = mempool::curr_nr.get(pool);
        if have == 0 {
            return 0;
        }
        mempool::curr_nr.set(pool, have - 1);
        ram::get(mempool::elements.get::<u64>(pool) + 8 * (have as u64 - 1))
    }
}

fn pool_alloc(pool: u64, flags: u32) -> u64 {
    // SAFETY: the module's pool with its own functions.
    unsafe { ram::call(mempool::alloc.get(pool), [u64::from(flags), mempool::pool_data.get(pool)]) }
}
fn pool_free(pool: u64, element: u64) {
    // SAFETY: as above.
    unsafe { ram::call(mempool::free.get(pool), [element, mempool::pool_data.get(pool)]) };
}

fn begin_pool(pool: u64, least: i32, alloc: u64, free: u64, data: u64, caller: u64) -> i32 {
    let elements = slab::kmalloc(8 * least.max(1) as u64, 0, caller);
    if elements == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: the caller's pool.
    unsafe {
        ram::fill(pool, 0, mempool::SIZE.get());
        mempool::min_nr.set(pool, least);
        mempool::elements.set(pool, elements);
        mempool::pool_data.set(pool, data);
        mempool::alloc.set(pool, alloc);
        mempool::free.set(pool, free);
        crate::waiting::begin_queue(mempool::wait.at(pool));
    }
    for _ in 0..least {
        let element = pool_alloc(pool, 0);
        if element == 0 {
            end_pool(pool, caller);
            return Errno::ENOMEM.to_return();
        }
        keep(pool, element);
    }
    0
}

fn end_pool(pool: u64, caller: u64) {
    loop {
        match reserve(pool) {
            0 => break,
            element => pool_free(pool, element),
        }
    }
    // SAFETY: the module's pool.
    unsafe {
        slab::release(mempool::elements.get(pool), caller);
        mempool::elements.set(pool, 0u64);
    }
}

/// `int mempool_init(mempool_t *, int min_nr, mempool_alloc_t *, mempool_free_t *, void *)`
extern "C" fn mempool_init(pool: u64, least: i32, alloc: u64, free: u64, data: u64) -> i32 {
    begin_pool(pool, least, alloc, free, data, ram::caller())
}
extern "C" fn mempool_exit(pool: u64) {
    let caller = ram::caller();
    // SAFETY: the module's pool; one that was never begun has no reserve.
    if unsafe { mempool::elements.get::<u64>(pool) } != 0 {
        end_pool(pool, caller);
    }
}
/// `mempool_t *mempool_create(int min_nr, mempool_alloc_t *, mempool_free_t *, void *)`
extern "C" fn mempool_create(least: i32, alloc: u64, free: u64, data: u64) -> u64 {
    let caller = ram::caller();
    let pool = slab::allocate(mempool::SIZE.get(), 8, ZERO, caller);
    if pool != 0 && begin_pool(pool, least, alloc, free, data, caller) != 0 {
        slab::release(pool, caller);
        return 0;
    }
    pool
}
extern "C" fn mempool_destroy(pool: u64) {
    let caller = ram::caller();
    if pool != 0 {
        end_pool(pool, caller);
        slab::release(pool, caller);
    }
}
extern "C" fn mempool_alloc(pool: u64, flags: u32) -> u64 {
    let caller = ram::caller();
    atomic::might_alloc(flags, caller);
    // The reserve comes before anybody waits for memory.
    let at_once = flags & !atomic::direct_reclaim();
    let mut asked = at_once;
    loop {
        let element = match pool_alloc(pool, asked) {
            0 => reserve(pool),
            element => element,
        };
        if element != 0 || flags == at_once {
            return element;
        }
        if asked != flags {
            asked = flags;
            continue;
        }
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(pool));
    }
}
extern "C" fn mempool_free(element: u64, pool: u64) {
    if element == 0 {
        return;
    }
    if keep(pool, element) {
        kernel().tasks.wake_channel(pool, 1);
    } else {
        pool_free(pool, element);
    }
}
/// `int mempool_resize(mempool_t *, int)`
extern "C" fn mempool_resize(pool: u64, least: i32) -> i32 {
    let caller = ram::caller();
    let elements = slab::kmalloc(8 * least.max(1) as u64, 0, caller);
    if elements == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: the module's pool; what does not fit into the new reserve is given back first.
    unsafe {
        while mempool::curr_nr.get::<i32>(pool) > least {
            pool_free(pool, reserve(pool));
        }
        let old: u64 = mempool::elements.get(pool);
        ram::copy(elements, old, 8 * mempool::curr_nr.get::<i32>(pool) as u64);
        mempool::elements.set(pool, elements);
        mempool::min_nr.set(pool, least);
        slab::release(old, caller);
        while mempool::curr_nr.get::<i32>(pool) < least {
            match pool_alloc(pool, 0) {
                0 => break,
                element => keep(pool, element),
            };
        }
    }
    0
}
/// `void *mempool_alloc_slab(gfp_t, void *cache)`
extern "C" fn mempool_alloc_slab(flags: u32, handle: u64) -> u64 {
    take(handle, flags, ram::caller())
}
extern "C" fn mempool_free_slab(object: u64, handle: u64) {
    give(handle, object, ram::caller());
}
/// `void *mempool_kmalloc(gfp_t, void *size)`
extern "C" fn mempool_kmalloc(flags: u32, size: u64) -> u64 {
    slab::kmalloc(size, flags, ram::caller())
}
extern "C" fn mempool_kfree(object: u64, _size: u64) {
    slab::release(object, ram::caller());
}
/// `void *mempool_alloc_pages(gfp_t, void *order)`
extern "C" fn mempool_alloc_pages(flags: u32, order: u64) -> u64 {
    crate::pages::allocate(flags, order as u32, ram::caller())
}
extern "C" fn mempool_free_pages(page: u64, order: u64) {
    crate::pages::give(page, order as u32, ram::caller());
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c kmem_cache_create, s1 kmem_cache_create_usercopy, c __kmem_cache_create_args, c kmem_cache_size, c kmem_cache_alloc,
    c kmem_cache_alloc_noprof = kmem_cache_alloc, c kmem_cache_alloc_node = kmem_cache_alloc,
    c kmem_cache_alloc_node_noprof = kmem_cache_alloc, c kmem_cache_alloc_lru,
    c kmem_cache_alloc_lru_noprof = kmem_cache_alloc_lru, c kmem_cache_alloc_bulk,
    c kmem_cache_alloc_bulk_noprof = kmem_cache_alloc_bulk, c kmem_cache_free, c kmem_cache_free_bulk, c kmem_cache_destroy,
    k kmem_cache_shrink, c mempool_init, c mempool_init_noprof = mempool_init, c mempool_init_node = mempool_init,
    c mempool_exit, c mempool_create, c mempool_create_node = mempool_create, c mempool_create_node_noprof = mempool_create,
    c mempool_destroy, c mempool_alloc, c mempool_alloc_noprof = mempool_alloc, c mempool_free, c mempool_resize,
    c mempool_alloc_slab, c mempool_free_slab, c mempool_kmalloc, c mempool_kfree, c mempool_alloc_pages,
    c mempool_free_pages,
];
