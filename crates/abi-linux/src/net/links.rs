//! Kinds of links (`ip link add … type KIND`): their operations, and devices made with them.
//!
//! Nobody sends netlink messages in a machine. Who wants a device of a kind writes `add NAME type KIND` or `del NAME` to
//! `/proc/ferrmod-links`; what is done then is what `RTM_NEWLINK` and `RTM_DELLINK` without further attributes do.

use alloc::string::String;
use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::layout::net_device;
use super::namespace::init_net;
use super::{allocate, devices, events, names, rtnl, state};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, symbols};

layout! {
    mod rtnl_link_ops = "rtnl_link_ops" {
        kind, priv_size, alloc, setup, maxtype, validate, newlink, dellink, get_num_tx_queues, get_num_rx_queues,
    }
    mod rtnl_newlink_params = "rtnl_newlink_params" { src_net, net, tb, data }
    mod ifinfomsg = "ifinfomsg" { ifi_flags, ifi_change }
}

/// `RTNL_LINK_INITIALIZED`, `RTNL_LINK_INITIALIZING`
const INITIALIZED: u8 = 0;
const INITIALIZING: u8 = 1;
/// `NET_NAME_USER`, `NET_NAME_ENUM`
const BY_USER: u8 = 3;
const NUMBERED: u8 = 1;
/// More attributes than any kind of link knows (`IFLA_MAX` and each kind's own).
const ATTRIBUTES: usize = 256;

/// The kinds, in their order.
static KINDS: Lock<Vec<u64>> = Lock::new(Vec::new());

fn kind_of(ops: u64) -> Vec<u8> {
    // SAFETY: the operations of a kind.
    unsafe { ram::c_string_or_empty(rtnl_link_ops::kind.get(ops)) }
}

/// The operations of a kind.
fn find(kind: &[u8]) -> Option<u64> {
    let kinds = KINDS.lock().clone();
    kinds.into_iter().find(|&ops| kind_of(ops) == kind)
}

fn register(ops: u64, caller: u64) -> Result<(), Errno> {
    let kind = kind_of(ops);
    if find(&kind).is_some() {
        return Err(Errno::EEXIST);
    }
    kernel().registrations.add("rtnl_link", ops, kind, kernel().owner_of(caller))?;
    // SAFETY: the module's operations.
    unsafe {
        let makes = rtnl_link_ops::setup.get::<u64>(ops) != 0
            || rtnl_link_ops::alloc.offset().is_some() && rtnl_link_ops::alloc.get::<u64>(ops) != 0;
        if makes && rtnl_link_ops::dellink.get::<u64>(ops) == 0 {
            rtnl_link_ops::dellink.set(ops, symbols::address("unregister_netdevice_queue").unwrap_or(0));
        }
    }
    KINDS.lock().push(ops);
    Ok(())
}
/// Takes a kind away, and all devices of it.
fn unregister(ops: u64, caller: u64) {
    let known = {
        let mut kinds = KINDS.lock();
        let before = kinds.len();
        kinds.retain(|&other| other != ops);
        kinds.len() != before
    };
    if !known {
        return;
    }
    // SAFETY: registered devices.
    let own = devices::all().into_iter().filter(|&dev| unsafe { net_device::rtnl_link_ops.get::<u64>(dev) } == ops);
    delete(&own.collect::<Vec<u64>>(), ops, caller);
    kernel().registrations.remove("rtnl_link", ops);
}

/// Deletes devices of a kind with its own function.
fn delete(all: &[u64], ops: u64, caller: u64) {
    let mut head = [0u64; 2];
    let list = head.as_mut_ptr() as u64;
    // SAFETY: a list of ours, and the kind's function, which puts devices into it.
    unsafe {
        locks::init_list(list);
        let dellink: u64 = rtnl_link_ops::dellink.get(ops);
        for &dev in all {
            // Deleting one may have deleted another (the two ends of a pair).
            if dellink != 0 && devices::is_listed(dev) && !devices::is_queued(dev) {
                ram::call(dellink, [dev, list]);
            }
        }
    }
    devices::unregister_list(list, caller);
}

extern "C" fn rtnl_link_register(ops: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(rtnl::with(caller, || register(ops, caller)))
}
extern "C" fn __rtnl_link_register(ops: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(ops, caller))
}
extern "C" fn rtnl_link_unregister(ops: u64) {
    let caller = ram::caller();
    rtnl::with(caller, || unregister(ops, caller));
}
extern "C" fn __rtnl_link_unregister(ops: u64) {
    unregister(ops, ram::caller());
}

/// Makes a device of a kind, for whoever called from `caller`; it is not registered yet.
fn create(name: &[u8], how: u8, ops: u64, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the kind's operations and their functions.
    unsafe {
        let count = |field: &crate::field::Field| match field.get::<u64>(ops) {
            0 => 1,
            function => ram::call(function, []) as u32,
        };
        let (senders, receivers) = (count(&rtnl_link_ops::get_num_tx_queues), count(&rtnl_link_ops::get_num_rx_queues));
        let size = rtnl_link_ops::priv_size.get::<u64>(ops);
        let setup: u64 = rtnl_link_ops::setup.get(ops);
        let dev = allocate::make(size, name, how, senders, receivers, caller);
        if dev == 0 {
            return Err(Errno::ENOMEM);
        }
        allocate::set_up(dev, setup);
        net_device::rtnl_link_ops.set(dev, ops);
        set_link_state(dev, INITIALIZING);
        Ok(dev)
    }
}
fn set_link_state(dev: u64, to: u8) {
    // SAFETY: the caller's device; the member's other bits are never used.
    unsafe { ram::put(net_device::rtnl_link_state.at(dev), to) };
}

/// `struct net_device *rtnl_create_link(struct net *, const char *ifname, unsigned char name_assign_type,
/// const struct rtnl_link_ops *, struct nlattr *tb[], struct netlink_ext_ack *)`
extern "C" fn rtnl_create_link(_net: u64, name: u64, how: u8, ops: u64, attributes: u64) -> u64 {
    /// `IFLA_MTU`, and where the value of an attribute begins.
    const MTU: u64 = 4;
    const HEADER: u64 = 4;
    let caller = ram::caller();
    // SAFETY: the caller's C string.
    let name = unsafe { ram::c_string(name) }.to_vec();
    match create(&name, how, ops, caller) {
        Ok(dev) => {
            // SAFETY: the caller's attributes: an array of pointers.
            unsafe {
                let mtu: u64 = if attributes == 0 { 0 } else { ram::get(attributes + 8 * MTU) };
                if mtu != 0 {
                    net_device::mtu.set(dev, ram::get::<u32>(mtu + HEADER));
                }
            }
            dev
        }
        Err(errno) => errno.to_pointer(),
    }
}
/// `int rtnl_configure_link(struct net_device *, const struct ifinfomsg *, …)`: it may be used now.
extern "C" fn rtnl_configure_link(dev: u64, message: u64) -> i32 {
    if message != 0 {
        // SAFETY: the caller's device and message.
        let (flags, change): (u32, u32) =
            unsafe { (ifinfomsg::ifi_flags.get(message), ifinfomsg::ifi_change.get(message)) };
        if flags != 0 || change != 0 {
            // SAFETY: as above.
            let now: u32 = unsafe { net_device::flags.get(dev) };
            let wanted = if change == 0 { flags } else { flags & change | now & !change };
            if let Err(errno) = state::change_flags(dev, wanted) {
                return errno.to_return();
            }
        }
    }
    set_link_state(dev, INITIALIZED);
    0
}
/// `int rtnl_delete_link(struct net_device *, …)`
extern "C" fn rtnl_delete_link(dev: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the caller's device.
    let ops: u64 = unsafe { net_device::rtnl_link_ops.get(dev) };
    // SAFETY: the kind's operations.
    if ops == 0 || unsafe { rtnl_link_ops::dellink.get::<u64>(ops) } == 0 {
        return Errno::EOPNOTSUPP.to_return();
    }
    delete(&[dev], ops, caller);
    0
}

/// `add NAME type KIND`
fn add(name: &[u8], kind: &[u8]) -> Result<(), Errno> {
    let ops = find(kind).ok_or(Errno::EOPNOTSUPP)?;
    if !names::is_valid(name) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the kind's operations and their functions; no attribute is given.
    unsafe {
        if rtnl_link_ops::setup.get::<u64>(ops) == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if !name.contains(&b'%') && devices::by_name(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let mut attributes = [0u64; ATTRIBUTES];
        let tb = attributes.as_mut_ptr() as u64;
        // The device belongs to the kind's module, whose operations lie in it.
        let owner = ops;
        let data = if rtnl_link_ops::maxtype.get::<u32>(ops) == 0 { 0 } else { tb };
        let validate: u64 = rtnl_link_ops::validate.get(ops);
        if validate != 0
            && let Some(errno) = Errno::from_return((ram::call(validate, [tb, data, 0]) as i32).into())
        {
            return Err(errno);
        }
        let how = if name.contains(&b'%') { NUMBERED } else { BY_USER };
        let dev = create(name, how, ops, owner)?;
        let newlink: u64 = rtnl_link_ops::newlink.get(ops);
        let result = match newlink {
            0 => Errno::returned(devices::register(dev, owner)),
            function if crate::boot::facts().btf().struct_named("rtnl_newlink_params").is_some() => {
                let mut words = [0u64; 16];
                let params = words.as_mut_ptr() as u64;
                rtnl_newlink_params::src_net.set(params, init_net());
                rtnl_newlink_params::net.set(params, init_net());
                rtnl_newlink_params::tb.set(params, tb);
                rtnl_newlink_params::data.set(params, data);
                ram::call(function, [dev, params, 0]) as i32
            }
            function => ram::call(function, [init_net(), dev, tb, data, 0]) as i32,
        };
        if result < 0 {
            if devices::is_unregistered(dev) {
                allocate::free(dev, owner);
            }
            return Err(Errno(-result));
        }
        set_link_state(dev, INITIALIZED);
    }
    Ok(())
}

/// What was written to `/proc/ferrmod-links`.
pub(crate) fn written(text: &[u8]) -> Result<usize, Errno> {
    let words: Vec<&[u8]> = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [b"add", name, b"type", kind] => {
            if find(kind).is_none() {
                // Without the lock, which the module takes. Whether it came is seen below.
                let _ = kernel().request_module(&[b"rtnl-link-", *kind].concat());
            }
            rtnl::with(0, || add(name, kind))?;
        }
        [b"del", name] => rtnl::with(0, || {
            let dev = devices::by_name(name).ok_or(Errno::ENODEV)?;
            match rtnl_delete_link(dev) {
                0 => Ok(()),
                errno => Err(Errno(-errno)),
            }
        })?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(text.len())
}

/// What is read there: each kind, and the module that it is of.
pub(crate) fn list() -> Vec<u8> {
    let mut out = String::new();
    for one in kernel().registrations.of_kind("rtnl_link") {
        let owner = kernel().modules.at(one.key).map_or("kernel".into(), |module| alloc::format!("{}", module.name));
        out.push_str(&alloc::format!("{} [{owner}]\n", one.name));
    }
    out.into_bytes()
}

/// `void netdev_state_change(struct net_device *)`: the flags are as before, something else is not.
extern "C" fn netdev_state_change(dev: u64) {
    state::changed(dev);
}
/// `void netdev_notify_peers(struct net_device *)`
extern "C" fn netdev_notify_peers(dev: u64) {
    for event in ["NETDEV_NOTIFY_PEERS", "NETDEV_RESEND_IGMP"] {
        // Nobody can object.
        let _ = events::announce(event, dev, events::Detail::None);
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c rtnl_link_register, c __rtnl_link_register, c rtnl_link_unregister, c __rtnl_link_unregister, c rtnl_create_link,
    c rtnl_configure_link, c rtnl_delete_link, c netdev_state_change, c netdev_notify_peers, c __netdev_notify_peers = netdev_notify_peers,
];
