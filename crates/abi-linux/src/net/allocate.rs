//! Network devices before they are registered: memory, queues and what every Ethernet device has.

use ferrmod_kernel::lock::Lock;

use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{locks, ram, slab, symbols};

layout! {
    mod net_device = "net_device" {
        name, mtu, min_mtu, max_mtu, type_ = "type", hard_header_len, min_header_len, addr_len, tx_queue_len, flags, broadcast,
        dev_addr, dev_addrs = "dev_addrs.list", tx = "_tx", rx = "_rx", num_tx_queues, real_num_tx_queues, num_rx_queues,
        real_num_rx_queues, nd_net, napi_list, uc = "uc.list", mc = "mc.list", unreg_list, close_list,
        link_watch_list, adj_upper = "adj_list.upper", adj_lower = "adj_list.lower", name_assign_type, gso_max_size,
        gso_max_segs, shadow = "dev_addr_shadow",
    }
    mod netdev_queue = "netdev_queue" { dev }
    mod rx_queue = "netdev_rx_queue" { dev }
    mod napi_struct = "napi_struct" { poll_list, weight, poll, dev, dev_list, state }
}

/// `NETDEV_ALIGN`: the driver's own part begins at a multiple of this.
const ALIGN: u64 = 32;
/// `NAPI_STATE_SCHED`, `NAPI_STATE_NPSVC` of a queue that is not switched on.
const SCHEDULED: u64 = 1 << 0;
const NO_POLL: u64 = 1 << 3;
/// `NET_NAME_ENUM`
const NUMBERED: u8 = 1;
/// `GSO_MAX_SIZE` and `GSO_MAX_SEGS` of a device that says nothing.
const GSO_BYTES: u32 = 65536;
const GSO_SEGMENTS: u16 = 65535;
/// No device has more queues.
const MOST_QUEUES: u32 = 4096;

/// The devices made here: their queues.
static MADE: Lock<alloc::vec::Vec<(u64, u64, u64)>> = Lock::new(alloc::vec::Vec::new());

/// Begins a list that this kernel's struct has.
fn begin_list(field: &Field, dev: u64) {
    if field.offset().is_some() {
        // SAFETY: a member of a block of ours.
        unsafe { locks::init_list(field.at(dev)) };
    }
}

/// `struct net_device *alloc_netdev_mqs(int sizeof_priv, const char *name, unsigned char, void (*setup)(struct net_device *),
/// unsigned txqs, unsigned rxqs)`
extern "C" fn alloc_netdev_mqs(private: i32, name: u64, how: u8, setup: u64, senders: u32, receivers: u32) -> u64 {
    let caller = ram::caller();
    // SAFETY: the driver's C string.
    let name = unsafe { ram::c_string(name) }.to_vec();
    let dev = make(private.max(0) as u64, &name, how, senders, receivers, caller);
    if dev != 0 && setup != 0 {
        // SAFETY: the driver's function.
        unsafe { ram::call(setup, [dev]) };
    }
    dev
}
/// `struct net_device *alloc_etherdev_mqs(int sizeof_priv, unsigned txqs, unsigned rxqs)`
extern "C" fn alloc_etherdev_mqs(private: i32, senders: u32, receivers: u32) -> u64 {
    let caller = ram::caller();
    let dev = make(private.max(0) as u64, b"eth%d", NUMBERED, senders, receivers, caller);
    if dev != 0 {
        ether_setup(dev);
    }
    dev
}

fn make(private: u64, name: &[u8], how: u8, senders: u32, receivers: u32, caller: u64) -> u64 {
    /// `IFNAMSIZ`
    const ROOM: usize = 16;
    if name.len() >= ROOM || !(1..=MOST_QUEUES).contains(&senders) || !(1..=MOST_QUEUES).contains(&receivers) {
        return 0;
    }
    let size = net_device::SIZE.get().next_multiple_of(ALIGN);
    let sending = slab::allocate(netdev_queue::SIZE.get() * u64::from(senders), 64, slab::ZERO, caller);
    let receiving = slab::allocate(rx_queue::SIZE.get() * u64::from(receivers), 64, slab::ZERO, caller);
    let dev = slab::allocate(size + private, 64, slab::ZERO, caller);
    if dev == 0 || sending == 0 || receiving == 0 {
        for block in [dev, sending, receiving] {
            slab::release(block, caller);
        }
        return 0;
    }
    // SAFETY: zeroed blocks of the structs' sizes.
    unsafe {
        ram::bytes_mut(net_device::name.at(dev), name.len() as u64).copy_from_slice(name);
        net_device::name_assign_type.set(dev, how);
        net_device::tx.set(dev, sending);
        net_device::rx.set(dev, receiving);
        net_device::num_tx_queues.set(dev, senders);
        net_device::real_num_tx_queues.set(dev, senders);
        net_device::num_rx_queues.set(dev, receivers);
        net_device::real_num_rx_queues.set(dev, receivers);
        net_device::nd_net.set(dev, symbols::address("init_net").unwrap_or(0));
        net_device::gso_max_size.set(dev, GSO_BYTES);
        net_device::gso_max_segs.set(dev, GSO_SEGMENTS);
        for number in 0..u64::from(senders) {
            netdev_queue::dev.set(sending + number * netdev_queue::SIZE.get(), dev);
        }
        for number in 0..u64::from(receivers) {
            rx_queue::dev.set(receiving + number * rx_queue::SIZE.get(), dev);
        }
        // Where the address is kept is the business of whoever reads it through the pointer.
        net_device::dev_addr.set(dev, net_device::shadow.at(dev));
    }
    for list in [
        &net_device::napi_list,
        &net_device::dev_addrs,
        &net_device::uc,
        &net_device::mc,
        &net_device::unreg_list,
        &net_device::close_list,
        &net_device::link_watch_list,
        &net_device::adj_upper,
        &net_device::adj_lower,
    ] {
        begin_list(list, dev);
    }
    MADE.lock().push((dev, sending, receiving));
    dev
}

/// `void ether_setup(struct net_device *)`
extern "C" fn ether_setup(dev: u64) {
    /// `ARPHRD_ETHER`, `IFF_BROADCAST | IFF_MULTICAST`, and the sizes of IEEE 802.3.
    const ETHERNET: u16 = 1;
    const FLAGS: u32 = 0x1002;
    // SAFETY: a device of `make`.
    unsafe {
        net_device::type_.set(dev, ETHERNET);
        net_device::hard_header_len.set(dev, 14_u16);
        net_device::min_header_len.set(dev, 14_u8);
        net_device::mtu.set(dev, 1500_u32);
        net_device::min_mtu.set(dev, 68_u32);
        net_device::max_mtu.set(dev, 1500_u32);
        net_device::addr_len.set(dev, 6_u8);
        net_device::tx_queue_len.set(dev, 1000_u32);
        net_device::flags.set(dev, FLAGS);
        ram::fill(net_device::broadcast.at(dev), 0xff, 6);
    }
}

/// `void free_netdev(struct net_device *)`: of one that was not registered.
extern "C" fn free_netdev(dev: u64) {
    let caller = ram::caller();
    let found = {
        let mut made = MADE.lock();
        let place = made.iter().position(|(other, ..)| *other == dev);
        place.map(|place| made.remove(place))
    };
    if let Some((dev, sending, receiving)) = found {
        for block in [dev, sending, receiving] {
            slab::release(block, caller);
        }
    }
}

/// `void netif_napi_add_weight(struct net_device *, struct napi_struct *, int (*poll)(struct napi_struct *, int), int weight)`
extern "C" fn netif_napi_add_weight(dev: u64, napi: u64, poll: u64, weight: i32) {
    // SAFETY: the driver's structs.
    unsafe {
        locks::init_list(napi_struct::poll_list.at(napi));
        locks::init_list(napi_struct::dev_list.at(napi));
        napi_struct::weight.set(napi, weight);
        napi_struct::poll.set(napi, poll);
        napi_struct::dev.set(napi, dev);
        napi_struct::state.set(napi, SCHEDULED | NO_POLL);
    }
}
extern "C" fn __netif_napi_del(napi: u64) {
    // SAFETY: the driver's struct.
    unsafe { locks::init_list(napi_struct::dev_list.at(napi)) };
}

/// `void dev_addr_mod(struct net_device *, unsigned offset, const void *, size_t)`
extern "C" fn dev_addr_mod(dev: u64, offset: u32, from: u64, length: u64) {
    // SAFETY: the driver's device and its bytes.
    unsafe { ram::copy(net_device::dev_addr.get::<u64>(dev) + u64::from(offset), from, length) };
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c alloc_netdev_mqs, c alloc_etherdev_mqs, c ether_setup, c free_netdev, c netif_napi_add_weight, c __netif_napi_del, c dev_addr_mod,
];
