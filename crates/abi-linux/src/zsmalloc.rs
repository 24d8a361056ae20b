//! Memory for many small objects packed into pages (`zsmalloc`), where it is part of the kernel and not a module of its own.
//!
//! The objects stand on the heap, where accesses beside them are seen. What a pool says it takes are the pages that they would fill on
//! Linux, were none of them half empty (`Documentation/mm/zsmalloc.rst`).

use alloc::collections::BTreeMap;

use ferrmod_kernel::Errno;
use ferrmod_kernel::lock::Lock;

use crate::export::{Export, exports};
use crate::{ram, slab};

const PAGE: u64 = 4096;
/// Bytes of the smallest objects, and from one size to the next.
const SMALLEST: u64 = 32;
const STEP: u64 = 16;
/// Bytes before an object, unless it has a page of its own.
const HANDLE: u64 = 8;
/// Pages that objects of one size share at most: Debian's `CONFIG_ZSMALLOC_CHAIN_SIZE`.
const CHAIN: u64 = 8;

/// Objects of one size: the pages that are taken at once, and how many fit in them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Class {
    pages: u64,
    objects: u64,
}

impl Class {
    /// Of objects of `size` bytes: as many pages as waste least, and the fewest of those.
    fn of(size: u64) -> Self {
        let pages = (1..=CHAIN).min_by_key(|pages| pages * PAGE % size).unwrap_or(1);
        Self { pages, objects: pages * PAGE / size }
    }

    /// The size that objects of `size` bytes are given, and their class.
    fn for_object(size: u64) -> Self {
        Self::of((size + HANDLE).max(SMALLEST).next_multiple_of(STEP).min(PAGE))
    }
}

/// What a pool holds: its objects with their classes, and how many of each class there are.
#[derive(Default)]
struct Pool {
    objects: BTreeMap<u64, Class>,
    counts: BTreeMap<Class, u64>,
}

static POOLS: Lock<BTreeMap<u64, Pool>> = Lock::new(BTreeMap::new());

/// `struct zs_pool *zs_create_pool(const char *name)`: null without memory.
extern "C" fn zs_create_pool(_name: u64) -> u64 {
    let pool = slab::kmalloc(HANDLE, 0, ram::caller());
    if pool != 0 {
        POOLS.lock().insert(pool, Pool::default());
    }
    pool
}
/// `void zs_destroy_pool(struct zs_pool *)`: objects that are left are lost.
extern "C" fn zs_destroy_pool(pool: u64) {
    POOLS.lock().remove(&pool);
    slab::release(pool, ram::caller());
}
/// `unsigned long zs_malloc(struct zs_pool *, size_t, gfp_t)`: a handle, or an error's number.
extern "C" fn zs_malloc(pool: u64, size: u64, flags: u32) -> u64 {
    match size {
        0 => return Errno::EINVAL.to_pointer(),
        1..=PAGE => (),
        _ => return Errno::ENOSPC.to_pointer(),
    }
    let at = slab::allocate(size, STEP, flags, ram::caller());
    if at == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    if let Some(pool) = POOLS.lock().get_mut(&pool) {
        let class = Class::for_object(size);
        pool.objects.insert(at, class);
        *pool.counts.entry(class).or_default() += 1;
    }
    at
}
/// `void zs_free(struct zs_pool *, unsigned long handle)`
extern "C" fn zs_free(pool: u64, handle: u64) {
    // An error instead of a handle is nothing to free.
    if Errno::from_return(handle as i64).is_some() {
        return;
    }
    if let Some(pool) = POOLS.lock().get_mut(&pool)
        && let Some(class) = pool.objects.remove(&handle)
        && let Some(count) = pool.counts.get_mut(&class)
    {
        *count -= 1;
    }
    slab::release(handle, ram::caller());
}
/// `void *zs_map_object(struct zs_pool *, unsigned long handle, enum zs_mapmode)`
extern "C" fn zs_map_object(_pool: u64, handle: u64) -> u64 {
    handle
}
/// `void zs_unmap_object(struct zs_pool *, unsigned long handle)`
extern "C" fn zs_unmap_object() {}
/// `unsigned long zs_get_total_pages(struct zs_pool *)`
extern "C" fn zs_get_total_pages(pool: u64) -> u64 {
    let pools = POOLS.lock();
    let counts = pools.get(&pool).into_iter().flat_map(|pool| &pool.counts);
    counts.map(|(class, count)| count.div_ceil(class.objects) * class.pages).sum()
}
/// `size_t zs_huge_class_size(struct zs_pool *)`: from how many bytes an object has a page of its own.
extern "C" fn zs_huge_class_size(_pool: u64) -> u64 {
    let mut sizes = (SMALLEST..=PAGE).rev().step_by(STEP as usize);
    sizes.find(|&size| Class::of(size).objects > 1).map_or(PAGE, |size| size - (HANDLE - 1))
}
/// `unsigned long zs_compact(struct zs_pool *)`: pages that came free.
extern "C" fn zs_compact() -> u64 {
    0
}
/// `void zs_pool_stats(struct zs_pool *, struct zs_pool_stats *)`: pages that ever came free so.
extern "C" fn zs_pool_stats(_pool: u64, stats: u64) {
    // SAFETY: the caller's numbers, of which there is this one.
    unsafe { ram::put(stats, 0u64) };
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c zs_create_pool, c zs_destroy_pool, c zs_malloc, c zs_free, c zs_map_object, k zs_unmap_object, c zs_get_total_pages,
    c zs_huge_class_size, k zs_compact, c zs_pool_stats,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_share_the_pages_that_waste_least() {
        assert_eq!(Class::of(32), Class { pages: 1, objects: 128 });
        assert_eq!(Class::of(PAGE), Class { pages: 1, objects: 1 });
        // Three in two pages waste half of one; three quarters of a page are four in three.
        assert_eq!(Class::of(3072), Class { pages: 3, objects: 4 });
    }

    #[test]
    fn huge_objects_are_those_that_share_with_none() {
        assert_eq!(zs_huge_class_size(0), 3632 - 7);
    }
}
