//! Small pieces of the internet protocols that modules share: address types, tables of sockets, caches of routes.

use ferrmod_kernel::Errno;

use super::sk_buff;
use crate::export::{Export, exports};
use crate::field::{Size, layout};
use crate::{bitmaps, percpu, ram, slab};

layout! {
    mod inet_hashinfo = "inet_hashinfo" { ehash_locks, ehash_mask, ehash_locks_mask, lhash2_mask, lhash2 }
    mod bucket = "inet_listen_hashbucket" { lock, nulls_head }
    mod dst_cache = "dst_cache" { cache, reset_ts }
    mod gro_cells = "gro_cells" { cells }
}

/// The kinds of `__ipv6_addr_type` (`include/net/ipv6.h`), with the scope (RFC 4291) above them.
const UNICAST: u32 = 0x0001;
const MULTICAST: u32 = 0x0002;
const LOOPBACK: u32 = 0x0010;
const LINK_LOCAL: u32 = 0x0020;
const SITE_LOCAL: u32 = 0x0040;
const COMPATIBLE: u32 = 0x0080;
const MAPPED: u32 = 0x1000;
const fn scope(number: u32) -> u32 {
    number << 16
}
const NODE: u32 = 1;
const LINK: u32 = 2;
const SITE: u32 = 5;
const GLOBAL: u32 = 14;

/// What an IPv6 address is.
fn kind_of(address: &[u8; 16]) -> u32 {
    let word = |place: usize| {
        u32::from_be_bytes([address[4 * place], address[4 * place + 1], address[4 * place + 2], address[4 * place + 3]])
    };
    let first = word(0);
    match first >> 29 {
        0 | 7 => (),
        _ => return UNICAST | scope(GLOBAL),
    }
    if first >> 24 == 0xff {
        let number = u32::from(address[1] & 0xf);
        let local = match number {
            NODE => LOOPBACK,
            LINK => LINK_LOCAL,
            SITE => SITE_LOCAL,
            _ => 0,
        };
        return MULTICAST | local | scope(number);
    }
    match first >> 22 {
        0x3fa => return UNICAST | LINK_LOCAL | scope(LINK),
        0x3fb => return UNICAST | SITE_LOCAL | scope(SITE),
        _ => (),
    }
    if first == 0 && word(1) == 0 {
        match (word(2), word(3)) {
            (0, 0) => return 0,
            (0, 1) => return LOOPBACK | UNICAST | scope(LINK),
            (0, _) => return COMPATIBLE | UNICAST | scope(GLOBAL),
            (0xffff, _) => return MAPPED | scope(GLOBAL),
            _ => (),
        }
    }
    UNICAST | scope(GLOBAL)
}
/// `int __ipv6_addr_type(const struct in6_addr *)`
extern "C" fn __ipv6_addr_type(address: u64) -> u32 {
    // SAFETY: the caller's address.
    kind_of(&unsafe { ram::get::<[u8; 16]>(address) })
}

/// `int inet_hashinfo2_init_mod(struct inet_hashinfo *)`: the table of a protocol's listening sockets, which its module frees.
extern "C" fn inet_hashinfo2_init_mod(info: u64) -> i32 {
    /// `INET_LHTABLE_SIZE`, `LISTENING_NULLS_BASE`
    const BUCKETS: u64 = 32;
    const BASE: u64 = 1 << 29;
    let caller = ram::caller();
    let table = slab::kmalloc(BUCKETS * bucket::SIZE.get(), slab::ZERO, caller);
    if table == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: the caller's struct and the block just made. A list that ends with a number ends with twice that and one.
    unsafe {
        inet_hashinfo::lhash2.set(info, table);
        inet_hashinfo::lhash2_mask.set(info, BUCKETS as u32 - 1);
        for number in 0..BUCKETS {
            let at = table + number * bucket::SIZE.get();
            ram::put(bucket::lock.at(at), 0u32);
            bucket::nulls_head.set(at, (BASE + number) << 1 | 1);
        }
    }
    0
}
/// `int inet_ehash_locks_alloc(struct inet_hashinfo *)`: two cache lines of locks a CPU, but no more than there are buckets.
extern "C" fn inet_ehash_locks_alloc(info: u64) -> i32 {
    /// Bytes of a lock and of a cache line.
    const LOCK: u32 = 4;
    const LINE: u32 = 64;
    let caller = ram::caller();
    // SAFETY: the caller's struct.
    unsafe {
        let buckets = inet_hashinfo::ehash_mask.get::<u32>(info).saturating_add(1);
        let locks = (2 * LINE / LOCK * bitmaps::cpus()).next_power_of_two().min(buckets);
        let block = slab::kmalloc(u64::from(locks * LOCK), slab::ZERO, caller);
        if block == 0 {
            return Errno::ENOMEM.to_return();
        }
        inet_hashinfo::ehash_locks.set(info, block);
        inet_hashinfo::ehash_locks_mask.set(info, locks - 1);
    }
    0
}

/// What a cache of routes keeps for each CPU.
static ROUTE: Size = Size::new("dst_cache_pcpu");

/// `int dst_cache_init(struct dst_cache *, gfp_t)`: a route for each CPU; none is known yet.
extern "C" fn dst_cache_init(cache: u64) -> i32 {
    let caller = ram::caller();
    let made = percpu::allocate(ROUTE.get(), 16, caller);
    if made == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: the caller's struct.
    unsafe {
        dst_cache::cache.set(cache, made);
        dst_cache::reset_ts.set(cache, crate::boot::jiffies());
    }
    0
}
/// `void dst_cache_destroy(struct dst_cache *)`: nothing here makes routes, so that none is held.
extern "C" fn dst_cache_destroy(cache: u64) {
    // SAFETY: the caller's struct.
    unsafe {
        percpu::release(dst_cache::cache.get(cache), ram::caller());
        dst_cache::cache.set(cache, 0u64);
    }
}

/// `int xfrm_dev_state_flush(struct net *, struct net_device *, bool)`, `int xfrm_dev_policy_flush(…)`: a device that goes has no
/// security associations, because nobody makes any.
extern "C" fn no_associations() -> i32 {
    Errno::ESRCH.to_return()
}

/// Of a `struct gro_cell`, which no module looks into: its queue of packets.
const CELL_ALIGN: u64 = 64;
/// `int gro_cells_init(struct gro_cells *, struct net_device *)`
extern "C" fn gro_cells_init(cells: u64, _dev: u64) -> i32 {
    let caller = ram::caller();
    let made = percpu::allocate(sk_buff::sk_buff_head::SIZE.get(), CELL_ALIGN, caller);
    if made == 0 {
        return Errno::ENOMEM.to_return();
    }
    percpu::each(made).for_each(sk_buff::begin_queue);
    // SAFETY: the caller's struct.
    unsafe { gro_cells::cells.set(cells, made) };
    0
}
/// `void gro_cells_destroy(struct gro_cells *)`
extern "C" fn gro_cells_destroy(cells: u64) {
    // SAFETY: the caller's struct.
    unsafe {
        percpu::release(gro_cells::cells.get(cells), ram::caller());
        gro_cells::cells.set(cells, 0u64);
    }
}
/// `int gro_cells_receive(struct gro_cells *, struct sk_buff *)`: a tunnel has taken its header off.
extern "C" fn gro_cells_receive(_cells: u64, at: u64) -> i32 {
    super::transmit::netif_rx(at)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __ipv6_addr_type, c inet_hashinfo2_init_mod, c inet_ehash_locks_alloc, c dst_cache_init, c dst_cache_destroy,
    k xfrm_dev_state_flush = no_associations, k xfrm_dev_policy_flush = no_associations, c gro_cells_init, c gro_cells_destroy, c gro_cells_receive,
];

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn addresses_have_the_kinds_of_rfc_4291() {
        for (text, kind) in [
            ("::", 0),
            ("::1", LOOPBACK | UNICAST | scope(LINK)),
            ("::10.0.0.1", COMPATIBLE | UNICAST | scope(GLOBAL)),
            ("::ffff:10.0.0.1", MAPPED | scope(GLOBAL)),
            ("2001:db8::1", UNICAST | scope(GLOBAL)),
            ("64:ff9b::1", UNICAST | scope(GLOBAL)),
            ("fc00::1", UNICAST | scope(GLOBAL)),
            ("fe80::1", UNICAST | LINK_LOCAL | scope(LINK)),
            ("fec0::1", UNICAST | SITE_LOCAL | scope(SITE)),
            ("ff01::1", MULTICAST | LOOPBACK | scope(NODE)),
            ("ff02::1", MULTICAST | LINK_LOCAL | scope(LINK)),
            ("ff05::2", MULTICAST | SITE_LOCAL | scope(SITE)),
            ("ff0e::101", MULTICAST | scope(GLOBAL)),
        ] {
            let address: Ipv6Addr = text.parse().unwrap();
            assert_eq!(kind_of(&address.octets()), kind, "{text}");
        }
    }
}
