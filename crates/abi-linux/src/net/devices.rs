//! The registry of network devices: `init_net`'s list of them, how they come and how they go.
//!
//! Coming and going have Linux's steps in Linux's order, because drivers and listeners see it: the driver's `ndo_init`, a number,
//! `NETDEV_POST_INIT`, `/sys/class/net`, the list, `NETDEV_REGISTER`; and back. What follows an unregistration waits until the lock
//! over the configuration is given back ([`finish`]), and until nobody holds the device any more.

use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::events::{self, Detail};
use super::layout::{net_device, net_device_ops, net_fields};
use super::namespace::init_net;
use super::state::{self, UP};
use super::{addresses, allocate, names, rtnl, show, stats, transmit};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{device, kobject, locks, percpu, ram, rcu, waiting};

/// What `reg_state` says.
pub(crate) const UNINITIALIZED: u8 = 0;
pub(crate) const REGISTERED: u8 = 1;
pub(crate) const UNREGISTERING: u8 = 2;
pub(crate) const UNREGISTERED: u8 = 3;
pub(crate) const RELEASED: u8 = 4;
pub(crate) const DUMMY: u8 = 5;

const KIND: &str = "netdev";

/// Devices whose unregistration is to be finished when the lock is given back.
static LEAVING: Lock<Vec<u64>> = Lock::new(Vec::new());

/// How far a device has come.
pub(crate) fn state(dev: u64) -> u8 {
    // SAFETY: the caller's device. The member is a byte, or the first of a bit field of 8 bits.
    unsafe { ram::get(net_device::reg_state.at(dev)) }
}
pub(crate) fn set_state(dev: u64, to: u8) {
    // SAFETY: as above.
    unsafe { ram::put(net_device::reg_state.at(dev), to) };
}
/// Whether a device was never registered, or is no longer.
pub(crate) fn is_unregistered(dev: u64) -> bool {
    matches!(state(dev), UNINITIALIZED | UNREGISTERED)
}
/// Whether it is registered.
pub(crate) fn is_listed(dev: u64) -> bool {
    state(dev) == REGISTERED
}
/// Whether it waits in a list of those to be unregistered.
pub(crate) fn is_queued(dev: u64) -> bool {
    let entry = net_device::unreg_list.at(dev);
    // SAFETY: an initialised entry; one that is in no list points at itself.
    unsafe { ram::get::<u64>(entry) != entry }
}

/// Adds to the references of a device. Modules count them in inline code, each on its CPU.
pub(crate) fn hold(dev: u64, by: i32) {
    // SAFETY: the caller's device, whose counter has a place in every area.
    unsafe {
        if let Some(at) = percpu::each(net_device::pcpu_refcnt.get(dev)).next() {
            ram::put(at, ram::get::<i32>(at).wrapping_add(by));
        }
    }
}
fn references(dev: u64) -> i32 {
    // SAFETY: as above.
    unsafe { percpu::each(net_device::pcpu_refcnt.get(dev)).fold(0, |sum, at| sum + ram::get::<i32>(at)) }
}

/// The devices of the one namespace, in their order.
pub(crate) fn all() -> Vec<u64> {
    // SAFETY: the list of `init_net`.
    unsafe { waiting::each(net_fields::dev_base_head.at(init_net())) }
        .map(|entry| net_device::dev_list.container(entry))
        .collect()
}
/// The device of this name.
pub(crate) fn by_name(name: &[u8]) -> Option<u64> {
    // SAFETY: registered devices.
    all().into_iter().find(|&dev| unsafe { ram::c_string(net_device::name.at(dev)) } == name)
}
/// The device of this number.
pub(crate) fn by_index(index: i32) -> Option<u64> {
    // SAFETY: registered devices.
    all().into_iter().find(|&dev| unsafe { net_device::ifindex.get::<i32>(dev) } == index)
}

/// The next number (`dev_new_index`).
fn new_index() -> i32 {
    let kept = net_fields::ifindex.offset().is_some();
    // SAFETY: a member of `init_net`, of a kernel that keeps the last number there; registered devices.
    unsafe {
        let mut index = if kept {
            net_fields::ifindex.get(init_net())
        } else {
            all().into_iter().map(|dev| net_device::ifindex.get::<i32>(dev)).max().unwrap_or(0)
        };
        loop {
            index = if index == i32::MAX { 1 } else { index + 1 };
            if by_index(index).is_none() {
                break;
            }
        }
        if kept {
            net_fields::ifindex.set(init_net(), index);
        }
        index
    }
}

/// What every device can do, whether its driver says so or not (`NETIF_F_SOFT_FEATURES`), and what follows of that.
fn settle_features(dev: u64) {
    /// Bits of `netdev_features_t` (`include/linux/netdev_features.h`): `NETIF_F_GSO`, `NETIF_F_GRO`, `NETIF_F_HIGHDMA`.
    const GSO: u64 = 1 << 11;
    const GRO: u64 = 1 << 14;
    const HIGH_MEMORY: u64 = 1 << 5;
    // SAFETY: the caller's device.
    unsafe {
        let add = |field: &crate::field::Field, bits: u64| field.set(dev, field.get::<u64>(dev) | bits);
        add(&net_device::hw_features, GSO | GRO);
        add(&net_device::features, GSO | GRO);
        net_device::wanted_features
            .set(dev, net_device::features.get::<u64>(dev) & net_device::hw_features.get::<u64>(dev));
        add(&net_device::vlan_features, HIGH_MEMORY);
    }
}

/// Registers a device. The lock is held.
///
/// # Errors
/// `EINVAL` for a bad name, `EEXIST` for one that is taken, `EBUSY` for a number that is, `ENOMEM`, and what the driver's `ndo_init` or
/// a listener answers.
pub(crate) fn register(dev: u64, caller: u64) -> Result<(), Errno> {
    if rtnl::is_free() {
        kernel().warn("RTNL: assertion failed at register_netdevice", caller);
    }
    if state(dev) != UNINITIALIZED {
        kernel().bug("kernel BUG: register_netdevice of a network device that has been registered", caller);
    }
    names::settle(dev)?;
    let result = state::operate(dev, &net_device_ops::ndo_init, [dev]).unwrap_or(0);
    if result != 0 {
        return Err(if result > 0 { Errno::EIO } else { Errno(-result) });
    }
    introduce(dev, caller).inspect_err(|_| {
        if is_unregistered(dev) {
            back_out(dev);
        }
    })
}
/// Undoes what the driver's `ndo_init` did.
fn back_out(dev: u64) {
    stats::free(dev);
    state::operate(dev, &net_device_ops::ndo_uninit, [dev]);
    call_destructor(dev);
}
fn call_destructor(dev: u64) {
    // SAFETY: the driver's function.
    unsafe {
        let destructor: u64 = net_device::priv_destructor.get(dev);
        if destructor != 0 {
            ram::call(destructor, [dev]);
        }
    }
}

/// What comes behind `ndo_init`.
fn introduce(dev: u64, caller: u64) -> Result<(), Errno> {
    stats::allocate(dev, caller)?;
    // SAFETY: the caller's device.
    unsafe {
        match net_device::ifindex.get::<i32>(dev) {
            0 => net_device::ifindex.set(dev, new_index()),
            index if by_index(index).is_some() => return Err(Errno::EBUSY),
            _ => (),
        }
    }
    settle_features(dev);
    events::announce("NETDEV_POST_INIT", dev, Detail::None)?;
    if let Err(errno) = show::add(dev, caller) {
        set_state(dev, UNREGISTERED);
        return Err(errno);
    }
    set_state(dev, REGISTERED);
    // SAFETY: the caller's device.
    unsafe {
        net_device::state.set(dev, net_device::state.get::<u64>(dev) | state::PRESENT);
        state::begin_link(dev);
        hold(dev, 1);
        waiting::link_last(net_device::dev_list.at(dev), net_fields::dev_base_head.at(init_net()));
        /// `NET_ADDR_PERM`
        const PERMANENT: u8 = 0;
        if net_device::addr_assign_type.get::<u8>(dev) == PERMANENT {
            let length = u64::from(net_device::addr_len.get::<u8>(dev)).min(addresses::LONGEST);
            ram::copy(net_device::perm_addr.at(dev), net_device::dev_addr.get(dev), length);
        }
    }
    // It is new.
    let _ = kernel().registrations.add(KIND, dev, names::of(dev), kernel().owner_of(caller));
    events::announce("NETDEV_REGISTER", dev, Detail::None).inspect_err(|_| {
        // SAFETY: the caller's device, which the caller frees.
        unsafe { net_device::needs_free_netdev.set(dev, 0u8) };
        unregister_all(&[dev], caller);
    })
}

/// Takes devices away. The lock is held.
fn unregister_all(all: &[u64], caller: u64) {
    let mut leaving: Vec<u64> = Vec::new();
    for &dev in all {
        if state(dev) == UNINITIALIZED {
            kernel().warn(
                &alloc::format!("unregister_netdevice: device {} never was registered", names::of(dev).as_bstr()),
                caller,
            );
            unlink_from_queue(dev);
        } else if state(dev) != REGISTERED {
            kernel().bug("kernel BUG: unregister_netdevice of a network device that is not registered", caller);
        } else {
            // SAFETY: the caller's device.
            unsafe { net_device::dismantle.set(dev, 1u8) };
            leaving.push(dev);
        }
    }
    for &dev in &leaving {
        state::close(dev);
    }
    for &dev in &leaving {
        // SAFETY: a registered device.
        unsafe { waiting::unlink(net_device::dev_list.at(dev)) };
        set_state(dev, UNREGISTERING);
    }
    transmit::forget(&leaving);
    for &dev in &leaving {
        transmit::shut_down(dev);
        // Nobody can object to a device that goes.
        let _ = events::announce("NETDEV_UNREGISTER", dev, Detail::None);
        addresses::flush(net_device::uc.at(dev), caller);
        addresses::flush(net_device::mc.at(dev), caller);
        state::operate(dev, &net_device_ops::ndo_uninit, [dev]);
        show::remove(dev);
        kernel().registrations.remove(KIND, dev);
    }
    for dev in leaving {
        unlink_from_queue(dev);
        hold(dev, -1);
        LEAVING.lock().push(dev);
    }
}
fn unlink_from_queue(dev: u64) {
    // SAFETY: an initialised entry.
    unsafe { waiting::unlink(net_device::unreg_list.at(dev)) };
}
/// Takes the devices of a list away.
pub(crate) fn unregister_list(head: u64, caller: u64) {
    // SAFETY: a list of devices that wait to be unregistered.
    let all: Vec<u64> = unsafe { waiting::each(head) }.map(|entry| net_device::unreg_list.container(entry)).collect();
    unregister_all(&all, caller);
}

/// Finishes what was begun under the lock: waits until nobody holds the devices, and lets their drivers free them.
pub(crate) fn finish() {
    let leaving = core::mem::take(&mut *LEAVING.lock());
    if leaving.is_empty() {
        return;
    }
    rcu::barrier();
    for dev in leaving {
        set_state(dev, UNREGISTERED);
        wait_for_references(dev);
        stats::free(dev);
        call_destructor(dev);
        // SAFETY: a device that is gone but for its memory.
        let wants_free = unsafe { net_device::needs_free_netdev.get::<u8>(dev) } != 0;
        let object = device::object(net_device::dev.at(dev));
        if wants_free {
            allocate::free(dev, 0);
        }
        kobject::put(object);
    }
}
fn wait_for_references(dev: u64) {
    /// How often it is looked, after how many looks Linux says so, and the one reference that is the device's own.
    const AGAIN_NS: u64 = 250_000_000;
    const PATIENCE: u32 = 40;
    const OWN: i32 = 1;
    let mut looks = 0;
    while references(dev) > OWN {
        if looks % 4 == 0 {
            // Whoever holds it is reminded. The lock is not held here, as it is on Linux, because it is free.
            let _ = events::announce("NETDEV_UNREGISTER", dev, Detail::None);
            rcu::run();
        }
        looks += 1;
        if looks % PATIENCE == 0 {
            let (name, count) = (names::of(dev), references(dev));
            let text = alloc::format!(
                "\x010unregister_netdevice: waiting for {} to become free. Usage count = {count}\n",
                name.as_bstr()
            );
            kernel().printk(text.as_bytes());
        }
        kernel().tasks.block(Some(kernel().platform.now() + AGAIN_NS), None);
    }
}

/// `int register_netdevice(struct net_device *)`
extern "C" fn register_netdevice(dev: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(dev, caller))
}
extern "C" fn register_netdev(dev: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(rtnl::with(caller, || register(dev, caller)))
}
/// `void unregister_netdevice_queue(struct net_device *, struct list_head *)`: at once without a list.
extern "C" fn unregister_netdevice_queue(dev: u64, list: u64) {
    let caller = ram::caller();
    if list == 0 {
        unregister_all(&[dev], caller);
        return;
    }
    let entry = net_device::unreg_list.at(dev);
    // SAFETY: an initialised entry and the caller's list.
    unsafe {
        waiting::unlink(entry);
        waiting::link_last(entry, list);
    }
}
extern "C" fn unregister_netdevice_many(list: u64) {
    unregister_list(list, ram::caller());
}
extern "C" fn unregister_netdev(dev: u64) {
    let caller = ram::caller();
    rtnl::with(caller, || unregister_all(&[dev], caller));
}

fn held(found: Option<u64>) -> u64 {
    if let Some(dev) = found {
        hold(dev, 1);
    }
    found.unwrap_or(0)
}
/// `struct net_device *__dev_get_by_name(struct net *, const char *)`
extern "C" fn __dev_get_by_name(_net: u64, name: u64) -> u64 {
    // SAFETY: the caller's C string.
    by_name(unsafe { ram::c_string(name) }).unwrap_or(0)
}
extern "C" fn dev_get_by_name(_net: u64, name: u64) -> u64 {
    // SAFETY: as above.
    held(by_name(unsafe { ram::c_string(name) }))
}
/// `struct net_device *__dev_get_by_index(struct net *, int)`
extern "C" fn __dev_get_by_index(_net: u64, index: i32) -> u64 {
    by_index(index).unwrap_or(0)
}
extern "C" fn dev_get_by_index(_net: u64, index: i32) -> u64 {
    held(by_index(index))
}
/// The first device that is up and has exactly these flags among those asked for.
extern "C" fn __dev_get_by_flags(_net: u64, flags: u16, mask: u16) -> u64 {
    // SAFETY: registered devices.
    let fits = |dev: &u64| unsafe { (net_device::flags.get::<u32>(*dev) as u16 ^ flags) & mask == 0 };
    all().into_iter().find(fits).unwrap_or(0)
}
fn first_of_kind(kind: u16) -> Option<u64> {
    // SAFETY: registered devices.
    all().into_iter().find(|&dev| unsafe { net_device::type_.get::<u16>(dev) } == kind)
}
/// `struct net_device *dev_getfirstbyhwtype(struct net *, unsigned short type)`
extern "C" fn dev_getfirstbyhwtype(_net: u64, kind: u16) -> u64 {
    held(first_of_kind(kind))
}
/// `struct net_device *dev_getbyhwaddr_rcu(struct net *, unsigned short type, const char *address)`
extern "C" fn dev_getbyhwaddr_rcu(_net: u64, kind: u16, address: u64) -> u64 {
    // SAFETY: registered devices, and as many bytes as their addresses have.
    let fits = |dev: &u64| unsafe {
        let length = u64::from(net_device::addr_len.get::<u8>(*dev));
        net_device::type_.get::<u16>(*dev) == kind
            && ram::bytes(net_device::dev_addr.get(*dev), length) == ram::bytes(address, length)
    };
    all().into_iter().find(fits).unwrap_or(0)
}
/// `int netdev_get_name(struct net *, char *, int ifindex)`
extern "C" fn netdev_get_name(_net: u64, out: u64, index: i32) -> i32 {
    let Some(dev) = by_index(index) else { return Errno::ENODEV.to_return() };
    // SAFETY: the caller's room for a name.
    unsafe { ram::copy(out, net_device::name.at(dev), names::ROOM as u64) };
    0
}

/// The next of the devices below another, as their master keeps it, and where to go on: `void *netdev_lower_get_next_private(struct
/// net_device *, struct list_head **iter)`.
extern "C" fn netdev_lower_get_next_private(dev: u64, iter: u64) -> u64 {
    layout! { mod netdev_adjacent = "netdev_adjacent" { private, list } }
    // SAFETY: the caller's device and its place in the list of what is below it; a list entry begins with the next one.
    unsafe {
        let at: u64 = ram::get(iter);
        if at == net_device::adj_lower.at(dev) {
            return 0;
        }
        ram::put(iter, ram::get::<u64>(at));
        netdev_adjacent::private.get(netdev_adjacent::list.container(at))
    }
}

/// `NETDEV_…` devices that are never registered begin as they stay: `int init_dummy_netdev(struct net_device *)`
extern "C" fn init_dummy_netdev(dev: u64) -> i32 {
    // SAFETY: the driver's struct, which may be overwritten.
    unsafe {
        ram::fill(dev, 0, net_device::SIZE.get());
        locks::init_list(net_device::napi_list.at(dev));
        set_state(dev, DUMMY);
        net_device::state.set(dev, state::PRESENT | state::STARTED);
    }
    0
}

/// Whether a device is up.
pub(crate) fn is_up(dev: u64) -> bool {
    // SAFETY: the caller's device.
    unsafe { net_device::flags.get::<u32>(dev) & UP != 0 }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c register_netdevice, c register_netdev, c unregister_netdevice_queue, c unregister_netdevice_many, c unregister_netdev,
    c __dev_get_by_name, c dev_get_by_name, c dev_get_by_name_rcu = __dev_get_by_name, c netdev_get_by_name = dev_get_by_name,
    c __dev_get_by_index, c dev_get_by_index, c dev_get_by_index_rcu = __dev_get_by_index, c netdev_get_by_index = dev_get_by_index,
    c __dev_get_by_flags, c dev_getfirstbyhwtype, c dev_getbyhwaddr_rcu, c netdev_get_name, c netdev_lower_get_next_private, c init_dummy_netdev,
];
