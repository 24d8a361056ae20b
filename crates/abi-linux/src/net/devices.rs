//! Network devices: who wants to hear of them, and the lock over their configuration.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, TaskId, kernel};

use super::sk_buff;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, notifiers, ram, slab, tasks, waiting};

layout! {
    mod net_device = "net_device" { netdev_ops, mc, flags, addr_len, uc }
    mod net_device_ops = "net_device_ops" { ndo_start_xmit, ndo_set_rx_mode }
    mod netdev_hw_addr_list = "netdev_hw_addr_list" { list, count }
    mod netdev_hw_addr = "netdev_hw_addr" { list, addr, refcount }
    mod sk_buff_c = "sk_buff" { dev }
    mod rtnl_msg_handler = "rtnl_msg_handler" { protocol, msgtype }
    mod rtnl_link_ops = "rtnl_link_ops" { kind }
}

/// The chain of those who want to hear of devices.
static CHAIN: Datum = Datum::new("netdev_chain", 64, Begin::Zero);

/// Taken by whoever says which parts of a connection programs may write, and that function.
static ACCESS_LOCK: Datum = Datum::new(
    "nf_conn_btf_access_lock",
    128,
    Begin::With(|at| {
        layout! { mod mutex = "mutex" { wait_list } }
        // SAFETY: `data::place` gives more zeros than the struct has.
        unsafe { locks::init_list(mutex::wait_list.at(at)) };
    }),
);
static ACCESS: Datum = Datum::new("nfct_btf_struct_access", 8, Begin::Zero);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&CHAIN, &ACCESS_LOCK, &ACCESS];

/// `int register_netdevice_notifier(struct notifier_block *)`: no device exists that it would be told of.
extern "C" fn register_netdevice_notifier(block: u64) -> i32 {
    let caller = ram::caller();
    match notifiers::register(CHAIN.address(), block, false) {
        Ok(()) => {
            let name = kernel().symbolise(block);
            // It was not in the chain, so it is not registered.
            let _ = kernel().registrations.add("netdevice_notifier", block, name, kernel().owner_of(caller));
            0
        }
        Err(errno) => errno.to_return(),
    }
}
extern "C" fn unregister_netdevice_notifier(block: u64) -> i32 {
    kernel().registrations.remove("netdevice_notifier", block);
    notifiers::unregister(CHAIN.address(), block).map_or_else(Errno::to_return, |()| 0)
}
extern "C" fn register_netdevice_notifier_net(_net: u64, block: u64) -> i32 {
    register_netdevice_notifier(block)
}
extern "C" fn unregister_netdevice_notifier_net(_net: u64, block: u64) -> i32 {
    unregister_netdevice_notifier(block)
}

/// Who holds the lock.
static HOLDER: Lock<Option<TaskId>> = Lock::new(None);
/// What waits for it: an address no module has.
const CHANNEL: u64 = 0x7274_6e6c;

extern "C" fn rtnl_lock() {
    let caller = ram::caller();
    while HOLDER.lock().is_some() {
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(CHANNEL));
    }
    *HOLDER.lock() = Some(kernel().tasks.current());
}
extern "C" fn rtnl_lock_killable() -> i32 {
    rtnl_lock();
    0
}
extern "C" fn rtnl_trylock() -> i32 {
    let mut holder = HOLDER.lock();
    if holder.is_some() {
        return 0;
    }
    *holder = Some(kernel().tasks.current());
    1
}
extern "C" fn rtnl_unlock() {
    *HOLDER.lock() = None;
    kernel().tasks.wake_channel(CHANNEL, 1);
}
extern "C" fn rtnl_is_locked() -> i32 {
    HOLDER.lock().is_some().into()
}

/// `int rtnl_link_register(struct rtnl_link_ops *)`
extern "C" fn rtnl_link_register(ops: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's operations.
    let name = unsafe { ram::c_string_or_empty(rtnl_link_ops::kind.get(ops)) };
    if kernel().registrations.named("rtnl_link", &name).is_some() {
        return Errno::EEXIST.to_return();
    }
    kernel().registrations.add("rtnl_link", ops, name, kernel().owner_of(caller)).map_or_else(Errno::to_return, |()| 0)
}
extern "C" fn rtnl_link_unregister(ops: u64) {
    kernel().registrations.remove("rtnl_link", ops);
}

/// Message handlers: protocol and type in one number.
fn message_key(protocol: i32, kind: i32) -> u64 {
    (protocol as u64) << 32 | kind as u32 as u64
}
fn register_message(protocol: i32, kind: i32, caller: u64) -> i32 {
    // A handler may be replaced.
    let name = alloc::format!("{protocol}:{kind}");
    let _ = kernel().registrations.add("rtnl", message_key(protocol, kind), name, kernel().owner_of(caller));
    0
}
/// `int rtnl_register_module(struct module *, int protocol, int type, doit, dumpit, flags)`
extern "C" fn rtnl_register_module(_owner: u64, protocol: i32, kind: i32) -> i32 {
    register_message(protocol, kind, ram::caller())
}
extern "C" fn rtnl_register(protocol: i32, kind: i32) {
    register_message(protocol, kind, ram::caller());
}
/// `int __rtnl_register_many(const struct rtnl_msg_handler *, int count)`: all of them, or none.
extern "C" fn __rtnl_register_many(handlers: u64, count: i32) -> i32 {
    let caller = ram::caller();
    for index in 0..count.max(0) as u64 {
        let (protocol, kind) = handler(handlers, index);
        let result = register_message(protocol, kind, caller);
        if result != 0 {
            __rtnl_unregister_many(handlers, index as i32);
            return result;
        }
    }
    0
}
extern "C" fn __rtnl_unregister_many(handlers: u64, count: i32) {
    for index in (0..count.max(0) as u64).rev() {
        let (protocol, kind) = handler(handlers, index);
        rtnl_unregister(protocol, kind);
    }
}
/// Protocol and type of a handler in an array.
fn handler(handlers: u64, index: u64) -> (i32, i32) {
    let at = handlers + index * rtnl_msg_handler::SIZE.get();
    // SAFETY: the caller's array.
    unsafe { (rtnl_msg_handler::protocol.get(at), rtnl_msg_handler::msgtype.get(at)) }
}
extern "C" fn rtnl_unregister(protocol: i32, kind: i32) -> i32 {
    match kernel().registrations.remove("rtnl", message_key(protocol, kind)) {
        Some(_) => 0,
        None => Errno::ENOENT.to_return(),
    }
}
extern "C" fn rtnl_unregister_all(protocol: i32) {
    let all: Vec<u64> = kernel().registrations.of_kind("rtnl").into_iter().map(|one| one.key).collect();
    for key in all.into_iter().filter(|key| (key >> 32) as i32 == protocol) {
        kernel().registrations.remove("rtnl", key);
    }
}

/// The address in a list, if it is there.
fn find(list: u64, address: &[u8]) -> Option<u64> {
    // SAFETY: a list of a device.
    unsafe {
        waiting::each(netdev_hw_addr_list::list.at(list))
            .map(|at| netdev_hw_addr::list.container(at))
            .find(|&entry| ram::bytes(netdev_hw_addr::addr.at(entry), address.len() as u64) == address)
    }
}
fn tell(dev: u64) {
    // SAFETY: the caller's device and its operations.
    unsafe {
        let ops: u64 = net_device::netdev_ops.get(dev);
        let function: u64 = if ops == 0 { 0 } else { net_device_ops::ndo_set_rx_mode.get(ops) };
        /// `IFF_UP`
        const UP: u32 = 1;
        if function != 0 && net_device::flags.get::<u32>(dev) & UP != 0 {
            ram::call(function, [dev]);
        }
    }
}
fn add_address(dev: u64, list: u64, address: u64, caller: u64) -> i32 {
    // SAFETY: the caller's device and address.
    unsafe {
        let length = u64::from(net_device::addr_len.get::<u8>(dev));
        let bytes = ram::bytes(address, length);
        match find(list, bytes) {
            Some(entry) => netdev_hw_addr::refcount.set(entry, netdev_hw_addr::refcount.get::<i32>(entry) + 1),
            None => {
                let entry = slab::allocate(netdev_hw_addr::SIZE.get(), 8, slab::ZERO, caller);
                if entry == 0 {
                    return Errno::ENOMEM.to_return();
                }
                ram::copy(netdev_hw_addr::addr.at(entry), address, length);
                netdev_hw_addr::refcount.set(entry, 1i32);
                waiting::link_last(netdev_hw_addr::list.at(entry), netdev_hw_addr_list::list.at(list));
                netdev_hw_addr_list::count.set(list, netdev_hw_addr_list::count.get::<i32>(list) + 1);
            }
        }
    }
    tell(dev);
    0
}
fn remove_address(dev: u64, list: u64, address: u64) -> i32 {
    // SAFETY: the caller's device and address.
    unsafe {
        let bytes = ram::bytes(address, u64::from(net_device::addr_len.get::<u8>(dev)));
        let Some(entry) = find(list, bytes) else { return Errno::ENOENT.to_return() };
        let left = netdev_hw_addr::refcount.get::<i32>(entry) - 1;
        netdev_hw_addr::refcount.set(entry, left);
        if left == 0 {
            waiting::unlink(netdev_hw_addr::list.at(entry));
            netdev_hw_addr_list::count.set(list, netdev_hw_addr_list::count.get::<i32>(list) - 1);
            slab::release(entry, 0);
        }
    }
    tell(dev);
    0
}
extern "C" fn dev_mc_add(dev: u64, address: u64) -> i32 {
    add_address(dev, net_device::mc.at(dev), address, ram::caller())
}
extern "C" fn dev_mc_del(dev: u64, address: u64) -> i32 {
    remove_address(dev, net_device::mc.at(dev), address)
}
extern "C" fn dev_uc_add(dev: u64, address: u64) -> i32 {
    add_address(dev, net_device::uc.at(dev), address, ram::caller())
}
extern "C" fn dev_uc_del(dev: u64, address: u64) -> i32 {
    remove_address(dev, net_device::uc.at(dev), address)
}

/// `int __dev_queue_xmit(struct sk_buff *, struct net_device *sb_dev)`: straight to the driver; there are no queues.
extern "C" fn __dev_queue_xmit(packet: u64) -> i32 {
    // SAFETY: the caller's packet, its device and the driver's function.
    unsafe {
        let dev: u64 = sk_buff_c::dev.get(packet);
        let ops: u64 = if dev == 0 { 0 } else { net_device::netdev_ops.get(dev) };
        let transmit: u64 = if ops == 0 { 0 } else { net_device_ops::ndo_start_xmit.get(ops) };
        if transmit == 0 {
            sk_buff::free(packet);
            return Errno::ENETDOWN.to_return();
        }
        ram::call(transmit, [packet, dev]) as i32
    }
}

/// `struct net_device *__dev_get_by_name(struct net *, const char *)` and its siblings: no device is registered by name.
extern "C" fn no_device() -> u64 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c register_netdevice_notifier, c unregister_netdevice_notifier, c register_netdevice_notifier_net,
    c unregister_netdevice_notifier_net, c rtnl_lock, c rtnl_lock_killable, c rtnl_trylock, c rtnl_unlock, c rtnl_is_locked,
    c rtnl_link_register, c __rtnl_link_register = rtnl_link_register, c rtnl_link_unregister,
    c __rtnl_link_unregister = rtnl_link_unregister, c rtnl_register_module, c rtnl_register, c rtnl_unregister, c __rtnl_register_many,
    c __rtnl_unregister_many,
    c rtnl_unregister_all, c dev_mc_add, c dev_mc_del, c dev_mc_add_global = dev_mc_add, c dev_mc_del_global = dev_mc_del,
    c dev_uc_add, c dev_uc_del, c __dev_queue_xmit, k __dev_get_by_name = no_device, k dev_get_by_name = no_device,
    k dev_get_by_name_rcu = no_device,
];
