//! Network devices before they are registered and after they were: memory, queues, and what every device begins with.

use ferrmod_kernel::kernel;

use super::layout::{net_device, netdev_queue, rx_queue};
use super::namespace::init_net;
use super::{addresses, devices, ethernet, polling, transmit};
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{device, kobject, locks, percpu, ram, slab};

layout! {
    mod net_device_core_stats = "net_device_core_stats" { rx_dropped, tx_dropped }
}

/// `NETDEV_ALIGN`: the driver's own part begins at a multiple of this.
const ALIGN: u64 = 32;
/// `NET_NAME_ENUM`
const NUMBERED: u8 = 1;
/// `GSO_LEGACY_MAX_SIZE`, `TSO_LEGACY_MAX_SIZE` and the most segments, of a device that says nothing.
const GSO_BYTES: u32 = 65536;
const GSO_SEGMENTS: u16 = 65535;
/// No device has more queues.
const MOST_QUEUES: u32 = 4096;
/// `DEFAULT_TX_QUEUE_LEN`
const QUEUE_LENGTH: u32 = 1000;
/// `IFF_XMIT_DST_RELEASE | IFF_XMIT_DST_RELEASE_PERM` and `IFF_NO_QUEUE` of `priv_flags`.
const RELEASES_ROUTES: u32 = 1 << 4 | 1 << 17;
pub(crate) const NO_QUEUE: u32 = 1 << 16;

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
    set_up(dev, setup);
    dev
}
/// `struct net_device *alloc_etherdev_mqs(int sizeof_priv, unsigned txqs, unsigned rxqs)`
extern "C" fn alloc_etherdev_mqs(private: i32, senders: u32, receivers: u32) -> u64 {
    let caller = ram::caller();
    let dev = make(private.max(0) as u64, b"eth%d", NUMBERED, senders, receivers, caller);
    if dev != 0 {
        ether_setup(dev);
        settle(dev);
    }
    dev
}

/// Lets a driver's function fill a new device in; nothing is done with 0.
pub(crate) fn set_up(dev: u64, setup: u64) {
    if dev == 0 {
        return;
    }
    if setup != 0 {
        // SAFETY: the driver's function.
        unsafe { ram::call(setup, [dev]) };
    }
    settle(dev);
}
/// What a device gets whose driver has said nothing about its queue.
fn settle(dev: u64) {
    // SAFETY: a device of `make`.
    unsafe {
        if net_device::tx_queue_len.get::<u32>(dev) == 0 {
            net_device::priv_flags.set(dev, net_device::priv_flags.get::<u32>(dev) | NO_QUEUE);
            net_device::tx_queue_len.set(dev, QUEUE_LENGTH);
        }
    }
}

/// Makes a device that no driver has filled in yet; 0 for impossible numbers of queues, a name too long, or without memory.
pub(crate) fn make(private: u64, name: &[u8], how: u8, senders: u32, receivers: u32, caller: u64) -> u64 {
    if name.len() >= super::names::ROOM
        || !(1..=MOST_QUEUES).contains(&senders)
        || !(1..=MOST_QUEUES).contains(&receivers)
    {
        return 0;
    }
    let size = net_device::SIZE.get().next_multiple_of(ALIGN);
    let sending = slab::allocate(netdev_queue::SIZE.get() * u64::from(senders), 64, slab::ZERO, caller);
    let receiving = slab::allocate(rx_queue::SIZE.get() * u64::from(receivers), 64, slab::ZERO, caller);
    let dev = slab::allocate(size + private, 64, slab::ZERO, caller);
    let references = percpu::allocate(4, 4, caller);
    let undo = || {
        for block in [dev, sending, receiving] {
            slab::release(block, caller);
        }
        percpu::release(references, caller);
        0
    };
    if dev == 0 || sending == 0 || receiving == 0 || references == 0 {
        return undo();
    }
    for list in [
        &net_device::napi_list,
        &net_device::unreg_list,
        &net_device::close_list,
        &net_device::link_watch_list,
        &net_device::adj_upper,
        &net_device::adj_lower,
        &net_device::ptype_all,
        &net_device::ptype_specific,
        &net_device::net_notifier_list,
        &net_device::unlink_list,
        &net_device::dev_list,
    ] {
        begin_list(list, dev);
    }
    for list in [&net_device::dev_addrs, &net_device::uc, &net_device::mc] {
        addresses::begin(list.at(dev));
    }
    let Ok(address) = addresses::own(dev, caller) else { return undo() };
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
        net_device::nd_net.set(dev, init_net());
        net_device::gso_max_size.set(dev, GSO_BYTES);
        net_device::gso_max_segs.set(dev, GSO_SEGMENTS);
        net_device::gro_max_size.set(dev, GSO_BYTES);
        net_device::tso_max_size.set(dev, GSO_BYTES);
        net_device::tso_max_segs.set(dev, GSO_SEGMENTS);
        net_device::upper_level.set(dev, 1u8);
        net_device::lower_level.set(dev, 1u8);
        net_device::priv_flags.set(dev, RELEASES_ROUTES);
        net_device::dev_addr.set(dev, address);
        net_device::pcpu_refcnt.set(dev, references);
        for number in 0..u64::from(senders) {
            let queue = sending + number * netdev_queue::SIZE.get();
            netdev_queue::dev.set(queue, dev);
            netdev_queue::xmit_lock_owner.set(queue, -1i32);
        }
        for number in 0..u64::from(receivers) {
            rx_queue::dev.set(receiving + number * rx_queue::SIZE.get(), dev);
        }
    }
    transmit::begin(dev);
    devices::hold(dev, 1);
    dev
}

/// `void ether_setup(struct net_device *)`
extern "C" fn ether_setup(dev: u64) {
    /// `ARPHRD_ETHER`, `IFF_BROADCAST | IFF_MULTICAST`, and the sizes of IEEE 802.3.
    const ETHERNET: u16 = 1;
    const FLAGS: u32 = 0x1002;
    /// `IFF_TX_SKB_SHARING`
    const SHARES_PACKETS: u32 = 1 << 10;
    // SAFETY: a device of `make`.
    unsafe {
        net_device::header_ops.set(dev, ethernet::header_operations());
        net_device::type_.set(dev, ETHERNET);
        net_device::hard_header_len.set(dev, 14_u16);
        net_device::min_header_len.set(dev, 14_u8);
        net_device::mtu.set(dev, 1500_u32);
        net_device::min_mtu.set(dev, 68_u32);
        net_device::max_mtu.set(dev, 1500_u32);
        net_device::addr_len.set(dev, 6_u8);
        net_device::tx_queue_len.set(dev, QUEUE_LENGTH);
        net_device::flags.set(dev, FLAGS);
        net_device::priv_flags.set(dev, net_device::priv_flags.get::<u32>(dev) | SHARES_PACKETS);
        ram::fill(net_device::broadcast.at(dev), 0xff, 6);
    }
}

/// Frees a device, or has it freed when its unregistration is over.
pub(crate) fn free(dev: u64, caller: u64) {
    // SAFETY: a device of `make`.
    unsafe {
        if devices::state(dev) == devices::UNREGISTERING {
            net_device::needs_free_netdev.set(dev, 1u8);
            return;
        }
        slab::release(net_device::tx.get(dev), caller);
        slab::release(net_device::rx.get(dev), caller);
        addresses::flush(net_device::dev_addrs.at(dev), caller);
        polling::forget(dev);
        percpu::release(net_device::pcpu_refcnt.get(dev), caller);
        if net_device::core_stats.offset().is_some() {
            percpu::release(net_device::core_stats.get(dev), caller);
        }
        match devices::state(dev) {
            devices::UNINITIALIZED | devices::DUMMY => slab::release(dev, caller),
            devices::UNREGISTERED => {
                devices::set_state(dev, devices::RELEASED);
                kobject::put(device::object(net_device::dev.at(dev)));
            }
            _ => kernel().bug("kernel BUG: free_netdev of a network device that is registered", caller),
        }
    }
}
/// `void free_netdev(struct net_device *)`
extern "C" fn free_netdev(dev: u64) {
    free(dev, ram::caller());
}
/// The release function of the class: the last reference of a device is gone.
extern "C" fn netdev_release(object: u64) {
    slab::release(net_device::dev.container(object), 0);
}

/// `void dev_addr_mod(struct net_device *, unsigned offset, const void *, size_t)`
pub(crate) extern "C" fn dev_addr_mod(dev: u64, offset: u32, from: u64, length: u64) {
    // SAFETY: the driver's device and its bytes, no more than an address has.
    unsafe {
        let offset = u64::from(offset);
        ram::copy(net_device::dev_addr.get::<u64>(dev) + offset, from, length);
        ram::copy(net_device::shadow.at(dev) + offset, from, length);
    }
}

/// Counts a packet that was dropped, on its way out or in.
pub(crate) fn count_dropped(dev: u64, sending: bool) {
    let field = if sending { &net_device_core_stats::tx_dropped } else { &net_device_core_stats::rx_dropped };
    if let Some(area) = Some(core_stats(dev, dev)).filter(|&at| at != 0).and_then(|at| percpu::each(at).next()) {
        // SAFETY: the device's own counters.
        unsafe { field.set(area, field.get::<u64>(area) + 1) };
    }
}
/// `struct net_device_core_stats __percpu *netdev_core_stats_alloc(struct net_device *)`
extern "C" fn netdev_core_stats_alloc(dev: u64) -> u64 {
    core_stats(dev, ram::caller())
}
fn core_stats(dev: u64, caller: u64) -> u64 {
    // SAFETY: the caller's device.
    unsafe {
        let there: u64 = net_device::core_stats.get(dev);
        if there != 0 {
            return there;
        }
        let made = percpu::allocate(net_device_core_stats::SIZE.get(), 8, caller);
        net_device::core_stats.set(dev, made);
        made
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c alloc_netdev_mqs, c alloc_etherdev_mqs, c ether_setup, c free_netdev,
    c dev_addr_mod, c netdev_release, c netdev_core_stats_alloc,
];
