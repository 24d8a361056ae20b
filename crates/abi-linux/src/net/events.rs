//! Who hears of network devices, and what they are told.

use ferrmod_kernel::{Errno, kernel};

use super::layout::{net_device, net_fields};
use super::namespace::init_net;
use super::state::UP;
use super::{devices, rtnl};
use crate::boot::facts;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{notifiers, ram};

layout! {
    mod change_info = "netdev_notifier_change_info" { dev = "info.dev", flags_changed }
    mod ext_info = "netdev_notifier_info_ext" { dev = "info.dev", mtu = "ext.mtu" }
    mod pre_changeaddr_info = "netdev_notifier_pre_changeaddr_info" { dev = "info.dev", dev_addr }
}

/// The chain of those who want to hear of the devices of every namespace.
static CHAIN: Datum = Datum::new("netdev_chain", 64, Begin::Zero);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&CHAIN];

/// The head of the chain of the one namespace.
fn of_namespace() -> u64 {
    net_fields::netdev_chain.at(init_net())
}

/// What is told beside the event and the device.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Detail {
    /// Nothing.
    None,
    /// The flags that have changed.
    Flags(u32),
    /// An MTU.
    Mtu(u32),
    /// The address of an address to be.
    Address(u64),
}

/// `enum netdev_cmd`, by name.
fn number(event: &str) -> Option<u64> {
    facts().btf().enum_value(event).map(|value| value as u64)
}

/// `struct netdev_notifier_info` and what may follow it, for the time of a call.
fn with_info<T>(dev: u64, detail: Detail, call: impl FnOnce(u64) -> T) -> T {
    // The largest of these structs has four words.
    let mut words = [0u64; 8];
    let at = words.as_mut_ptr() as u64;
    // SAFETY: a block of ours that is larger than each of the structs.
    unsafe {
        match detail {
            Detail::None => ram::put(at, dev),
            Detail::Flags(flags) => {
                change_info::dev.set(at, dev);
                change_info::flags_changed.set(at, flags);
            }
            Detail::Mtu(mtu) => {
                ext_info::dev.set(at, dev);
                ext_info::mtu.set(at, mtu);
            }
            Detail::Address(address) => {
                pre_changeaddr_info::dev.set(at, dev);
                pre_changeaddr_info::dev_addr.set(at, address);
            }
        }
    }
    call(at)
}

fn tell_all(number: u64, dev: u64, detail: Detail) -> i32 {
    /// `NOTIFY_STOP_MASK`
    const STOP: i32 = 0x8000;
    with_info(dev, detail, |info| match notifiers::call(of_namespace(), number, info) {
        answer if answer & STOP != 0 => answer,
        _ => notifiers::call(CHAIN.address(), number, info),
    })
}

/// Tells everybody of an event (`NETDEV_…`) of a device: the namespace's chain first, as Linux does.
///
/// # Errors
/// What a listener answers.
pub(crate) fn announce(event: &str, dev: u64, detail: Detail) -> Result<(), Errno> {
    // A kernel without such an event has nobody who waits for it.
    let Some(number) = number(event) else { return Ok(()) };
    notifiers::to_errno(tell_all(number, dev, detail))
}

/// Tells one listener.
fn tell(block: u64, event: &str, dev: u64) -> Result<(), Errno> {
    let Some(number) = number(event) else { return Ok(()) };
    notifiers::to_errno(with_info(dev, Detail::None, |info| notifiers::call_one(block, number, info)))
}

/// Tells a new listener of a device that is there.
fn replay(block: u64, dev: u64) -> Result<(), Errno> {
    tell(block, "NETDEV_REGISTER", dev)?;
    // SAFETY: a registered device.
    if unsafe { net_device::flags.get::<u32>(dev) } & UP != 0 {
        // Nobody can object to a device that is up.
        let _ = tell(block, "NETDEV_UP", dev);
    }
    Ok(())
}
/// Tells a listener that leaves that every device does.
fn replay_back(block: u64, all: &[u64]) {
    for &dev in all {
        // SAFETY: a registered device.
        let up = unsafe { net_device::flags.get::<u32>(dev) } & UP != 0;
        let events: &[&str] =
            if up { &["NETDEV_GOING_DOWN", "NETDEV_DOWN", "NETDEV_UNREGISTER"] } else { &["NETDEV_UNREGISTER"] };
        for event in events {
            // A device that goes cannot be kept by who hears of it.
            let _ = tell(block, event, dev);
        }
    }
}

fn register(head: u64, block: u64, caller: u64) -> Result<(), Errno> {
    rtnl::with(caller, || register_locked(head, block, caller))
}
fn register_locked(head: u64, block: u64, caller: u64) -> Result<(), Errno> {
    let owner = kernel().owner_of(caller);
    notifiers::register(head, block, false)?;
    let all = devices::all();
    for (place, &dev) in all.iter().enumerate() {
        if let Err(errno) = replay(block, dev) {
            replay_back(block, &all[..place]);
            notifiers::unregister(head, block)?;
            return Err(errno);
        }
    }
    // It was not in the chain, so it is not registered.
    let _ = kernel().registrations.add("netdevice_notifier", block, kernel().symbolise(block), owner);
    Ok(())
}
fn unregister(head: u64, block: u64) -> Result<(), Errno> {
    let caller = ram::caller();
    rtnl::with(caller, || {
        notifiers::unregister(head, block)?;
        kernel().registrations.remove("netdevice_notifier", block);
        replay_back(block, &devices::all());
        Ok(())
    })
}
fn outcome(result: Result<(), Errno>) -> i32 {
    Errno::returned(result)
}

/// `int register_netdevice_notifier(struct notifier_block *)`: it is told of the devices there are.
extern "C" fn register_netdevice_notifier(block: u64) -> i32 {
    let caller = ram::caller();
    outcome(register(CHAIN.address(), block, caller))
}
extern "C" fn unregister_netdevice_notifier(block: u64) -> i32 {
    outcome(unregister(CHAIN.address(), block))
}
extern "C" fn register_netdevice_notifier_net(_net: u64, block: u64) -> i32 {
    let caller = ram::caller();
    outcome(register(of_namespace(), block, caller))
}
extern "C" fn unregister_netdevice_notifier_net(_net: u64, block: u64) -> i32 {
    outcome(unregister(of_namespace(), block))
}
/// `int register_netdevice_notifier_dev_net(struct net_device *, struct notifier_block *, struct netdev_net_notifier *)`: the device
/// never leaves the one namespace.
extern "C" fn register_netdevice_notifier_dev_net(_dev: u64, block: u64) -> i32 {
    let caller = ram::caller();
    outcome(register(of_namespace(), block, caller))
}
extern "C" fn unregister_netdevice_notifier_dev_net(_dev: u64, block: u64) -> i32 {
    outcome(unregister(of_namespace(), block))
}

/// `int call_netdevice_notifiers(unsigned long event, struct net_device *)`
extern "C" fn call_netdevice_notifiers(event: u64, dev: u64) -> i32 {
    tell_all(event, dev, Detail::None)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c register_netdevice_notifier, c unregister_netdevice_notifier, c register_netdevice_notifier_net,
    c unregister_netdevice_notifier_net, c register_netdevice_notifier_dev_net, c unregister_netdevice_notifier_dev_net,
    c call_netdevice_notifiers,
];
