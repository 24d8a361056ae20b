//! A device's state: up or down, with or without a carrier, its flags, MTU and address.

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::work::QueueId;
use ferrmod_kernel::{Errno, kernel};

use super::events::{self, Detail};
use super::layout::{net_device, net_device_ops};
use super::{addresses, allocate, devices, rtnl, transmit};
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{ram, symbols, waiting};

layout! {
    mod sockaddr = "sockaddr" { sa_family, sa_data }
}

/// `IFF_…` of `flags` (`include/uapi/linux/if.h`).
pub(crate) const UP: u32 = 1 << 0;
const BROADCAST: u32 = 1 << 1;
const DEBUG: u32 = 1 << 2;
pub(crate) const LOOPBACK: u32 = 1 << 3;
const POINT_TO_POINT: u32 = 1 << 4;
const NO_TRAILERS: u32 = 1 << 5;
const RUNNING: u32 = 1 << 6;
const NO_ARP: u32 = 1 << 7;
const PROMISCUOUS: u32 = 1 << 8;
const ALL_MULTICAST: u32 = 1 << 9;
const MASTER: u32 = 1 << 10;
const SLAVE: u32 = 1 << 11;
const MULTICAST: u32 = 1 << 12;
const PORT_SELECT: u32 = 1 << 13;
const AUTO_MEDIA: u32 = 1 << 14;
const DYNAMIC: u32 = 1 << 15;
const LOWER_UP: u32 = 1 << 16;
const IS_DORMANT: u32 = 1 << 17;
const ECHO: u32 = 1 << 18;
/// Those that only the device itself changes.
const VOLATILE: u32 = LOOPBACK | POINT_TO_POINT | BROADCAST | ECHO | MASTER | SLAVE | RUNNING | LOWER_UP | IS_DORMANT;
/// Those that are simply set.
const SETTABLE: u32 = DEBUG | NO_TRAILERS | NO_ARP | DYNAMIC | MULTICAST | PORT_SELECT | AUTO_MEDIA;

/// Bits of `state` (`enum netdev_state_t`).
pub(crate) const STARTED: u64 = 1 << 0;
pub(crate) const PRESENT: u64 = 1 << 1;
const NO_CARRIER: u64 = 1 << 2;
const LINK_PENDING: u64 = 1 << 3;
pub(crate) const DORMANT: u64 = 1 << 4;
pub(crate) const TESTING: u64 = 1 << 5;

/// `IF_OPER_…` (RFC 2863)
pub(crate) const OPER_DOWN: u8 = 2;
const OPER_LOWER_DOWN: u8 = 3;
const OPER_TESTING: u8 = 4;
const OPER_DORMANT: u8 = 5;
const OPER_UP: u8 = 6;
/// `IF_LINK_MODE_DORMANT`, `IF_LINK_MODE_TESTING`
const MODE_DORMANT: u8 = 1;
const MODE_TESTING: u8 = 2;

/// A driver's function; 0 when it has none.
fn operation(dev: u64, field: &Field) -> u64 {
    // SAFETY: the caller's device and its operations.
    unsafe {
        let ops: u64 = net_device::netdev_ops.get(dev);
        if ops == 0 { 0 } else { field.get(ops) }
    }
}
/// Whether a driver has a function.
pub(crate) fn can(dev: u64, field: &Field) -> bool {
    operation(dev, field) != 0
}
/// Calls a driver's function; `None` when it has none.
pub(crate) fn operate<const N: usize>(dev: u64, field: &Field, arguments: [u64; N]) -> Option<i32> {
    operate_for_pointer(dev, field, arguments).map(|answer| answer as i32)
}
/// The same of one that answers with a pointer.
pub(crate) fn operate_for_pointer<const N: usize>(dev: u64, field: &Field, arguments: [u64; N]) -> Option<u64> {
    match operation(dev, field) {
        0 => None,
        // SAFETY: the driver's function and what it takes.
        function => Some(unsafe { ram::call(function, arguments) }),
    }
}
/// The same, where 0 is no error.
fn ask<const N: usize>(dev: u64, field: &Field, arguments: [u64; N]) -> Result<(), Errno> {
    match operate(dev, field, arguments).unwrap_or(0) {
        0 => Ok(()),
        error if error < 0 => Err(Errno(-error)),
        // A driver that answers a positive number says so; nobody on Linux takes it for success either.
        error => Err(Errno(error)),
    }
}

fn bits(dev: u64) -> u64 {
    // SAFETY: the caller's device.
    unsafe { net_device::state.get(dev) }
}
fn change_bits(dev: u64, clear: u64, set: u64) {
    // SAFETY: the caller's device.
    unsafe { net_device::state.set(dev, bits(dev) & !clear | set) };
}
/// `flags`
pub(crate) fn flags(dev: u64) -> u32 {
    // SAFETY: the caller's device.
    unsafe { net_device::flags.get(dev) }
}
fn set_flags(dev: u64, to: u32) {
    // SAFETY: the caller's device.
    unsafe { net_device::flags.set(dev, to) };
}
/// Whether a bit of the state is set.
pub(crate) fn has(dev: u64, bit: u64) -> bool {
    bits(dev) & bit != 0
}
/// Whether its hardware is there.
pub(crate) fn is_present(dev: u64) -> bool {
    has(dev, PRESENT)
}
/// Whether it was opened.
pub(crate) fn is_running(dev: u64) -> bool {
    has(dev, STARTED)
}
/// Whether there is somebody at the other end.
pub(crate) fn has_carrier(dev: u64) -> bool {
    !has(dev, NO_CARRIER)
}

/// Opens a device (`dev_open`).
///
/// # Errors
/// `ENODEV` without hardware, what a listener to `NETDEV_PRE_UP` answers, and what the driver does.
fn open(dev: u64) -> Result<(), Errno> {
    if flags(dev) & UP != 0 {
        return Ok(());
    }
    open_quietly(dev)?;
    // Nobody can object to a device that is up.
    let _ = events::announce("NETDEV_UP", dev, Detail::None);
    Ok(())
}
fn open_quietly(dev: u64) -> Result<(), Errno> {
    if !is_present(dev) {
        return Err(Errno::ENODEV);
    }
    events::announce("NETDEV_PRE_UP", dev, Detail::None)?;
    change_bits(dev, 0, STARTED);
    let opened =
        ask(dev, &net_device_ops::ndo_validate_addr, [dev]).and_then(|()| ask(dev, &net_device_ops::ndo_open, [dev]));
    if let Err(errno) = opened {
        change_bits(dev, STARTED, 0);
        return Err(errno);
    }
    set_flags(dev, flags(dev) | UP);
    addresses::tell(dev);
    transmit::activate(dev);
    Ok(())
}
/// Closes a device (`dev_close`).
pub(crate) fn close(dev: u64) {
    if flags(dev) & UP == 0 {
        return;
    }
    close_quietly(dev);
    let _ = events::announce("NETDEV_DOWN", dev, Detail::None);
}
fn close_quietly(dev: u64) {
    // A device that goes down cannot be held up.
    let _ = events::announce("NETDEV_GOING_DOWN", dev, Detail::None);
    change_bits(dev, STARTED, 0);
    transmit::deactivate(dev);
    operate(dev, &net_device_ops::ndo_stop, [dev]);
    set_flags(dev, flags(dev) & !UP);
}

/// Changes a device's flags (`dev_change_flags`).
///
/// # Errors
/// What opening it answers.
pub(crate) fn change_flags(dev: u64, wanted: u32) -> Result<(), Errno> {
    let before = flags(dev);
    set_flags(dev, wanted & SETTABLE | before & (UP | VOLATILE | PROMISCUOUS | ALL_MULTICAST));
    if (before ^ wanted) & MULTICAST != 0 {
        tell_of_flags(dev, MULTICAST);
    }
    addresses::tell(dev);
    let result = match (before & UP != 0, wanted & UP != 0) {
        (false, true) => open_quietly(dev),
        (true, false) => {
            close_quietly(dev);
            Ok(())
        }
        _ => Ok(()),
    };
    // SAFETY: the caller's device.
    let global = u32::from(unsafe { net_device::gflags.get::<u16>(dev) });
    for (flag, field) in [(PROMISCUOUS, &net_device::promiscuity), (ALL_MULTICAST, &net_device::allmulti)] {
        if (wanted ^ global) & flag != 0 {
            // SAFETY: the caller's device.
            unsafe { net_device::gflags.set(dev, (global ^ flag) as u16) };
            // Counting does not fail here: one up or one down from a small number.
            let _ = count(dev, field, flag, if wanted & flag != 0 { 1 } else { -1 });
        }
    }
    result?;
    let changes = before ^ flags(dev);
    if changes & UP != 0 {
        let event = if flags(dev) & UP != 0 { "NETDEV_UP" } else { "NETDEV_DOWN" };
        let _ = events::announce(event, dev, Detail::None);
    }
    if flags(dev) & UP != 0 && changes & !(UP | PROMISCUOUS | ALL_MULTICAST | VOLATILE) != 0 {
        let _ = events::announce("NETDEV_CHANGE", dev, Detail::Flags(changes));
    }
    Ok(())
}
fn tell_of_flags(dev: u64, changed: u32) {
    operate(dev, &net_device_ops::ndo_change_rx_flags, [dev, u64::from(changed)]);
}

/// Counts those who want a device to listen to everything, or to every group.
fn count(dev: u64, field: &Field, flag: u32, by: i32) -> Result<(), Errno> {
    // SAFETY: the caller's device.
    unsafe {
        let before: u32 = field.get(dev);
        let now = before.wrapping_add_signed(by);
        if now == 0 && by > 0 {
            return Err(Errno::EOVERFLOW);
        }
        field.set(dev, now);
        let flags_before = flags(dev);
        set_flags(dev, if now == 0 { flags_before & !flag } else { flags_before | flag });
        if flags(dev) != flags_before {
            if flag == PROMISCUOUS {
                let what = if now == 0 { "left" } else { "entered" };
                let name = alloc::string::String::from_utf8_lossy(&super::names::of(dev)).into_owned();
                kernel().printk(alloc::format!("\x016device {name} {what} promiscuous mode\n").as_bytes());
            }
            tell_of_flags(dev, flag);
        }
    }
    addresses::tell(dev);
    Ok(())
}

/// Something of a device has changed but its flags (`netdev_state_change`).
pub(crate) fn changed(dev: u64) {
    if flags(dev) & UP != 0 {
        // Nobody can object.
        let _ = events::announce("NETDEV_CHANGE", dev, Detail::Flags(0));
    }
}

/// Changes the MTU (`dev_set_mtu`).
///
/// # Errors
/// `EINVAL` outside of what the device can, `ENODEV` without hardware, and what listeners or the driver answer.
pub(crate) fn set_mtu(dev: u64, to: i32) -> Result<(), Errno> {
    // SAFETY: the caller's device.
    let (now, least, most): (u32, u32, u32) =
        unsafe { (net_device::mtu.get(dev), net_device::min_mtu.get(dev), net_device::max_mtu.get(dev)) };
    let wanted = u32::try_from(to).map_err(|_| Errno::EINVAL)?;
    if wanted == now {
        return Ok(());
    }
    if wanted < least || most > 0 && wanted > most {
        return Err(Errno::EINVAL);
    }
    if !is_present(dev) {
        return Err(Errno::ENODEV);
    }
    events::announce("NETDEV_PRECHANGEMTU", dev, Detail::Mtu(wanted))?;
    write_mtu(dev, wanted)?;
    events::announce("NETDEV_CHANGEMTU", dev, Detail::Mtu(now)).inspect_err(|_| {
        // As it was, and everybody is told.
        if write_mtu(dev, now).is_ok() {
            let _ = events::announce("NETDEV_CHANGEMTU", dev, Detail::Mtu(wanted));
        }
    })
}
fn write_mtu(dev: u64, to: u32) -> Result<(), Errno> {
    match operate(dev, &net_device_ops::ndo_change_mtu, [dev, u64::from(to)]) {
        None => {
            // SAFETY: the caller's device.
            unsafe { net_device::mtu.set(dev, to) };
            Ok(())
        }
        Some(0) => Ok(()),
        Some(error) => Err(Errno(error.abs())),
    }
}

/// `int dev_set_mac_address(struct net_device *, struct sockaddr *, struct netlink_ext_ack *)`
extern "C" fn dev_set_mac_address(dev: u64, address: u64) -> i32 {
    /// `NET_ADDR_SET`
    const SET: u8 = 3;
    let set = || {
        if !can(dev, &net_device_ops::ndo_set_mac_address) {
            return Err(Errno::EOPNOTSUPP);
        }
        // SAFETY: the caller's device and address.
        unsafe {
            if sockaddr::sa_family.get::<u16>(address) != net_device::type_.get::<u16>(dev) {
                return Err(Errno::EINVAL);
            }
        }
        if !is_present(dev) {
            return Err(Errno::ENODEV);
        }
        events::announce("NETDEV_PRE_CHANGEADDR", dev, Detail::Address(sockaddr::sa_data.at(address)))?;
        ask(dev, &net_device_ops::ndo_set_mac_address, [dev, address])?;
        // SAFETY: the caller's device.
        unsafe { net_device::addr_assign_type.set(dev, SET) };
        let _ = events::announce("NETDEV_CHANGEADDR", dev, Detail::None);
        Ok(())
    };
    outcome(set())
}

fn is_good_address(address: u64) -> bool {
    // SAFETY: six bytes of the caller's.
    let bytes = unsafe { ram::bytes(address, 6) };
    bytes[0] & 1 == 0 && bytes.iter().any(|&byte| byte != 0)
}
/// `int eth_prepare_mac_addr_change(struct net_device *, void *)`
extern "C" fn eth_prepare_mac_addr_change(dev: u64, address: u64) -> i32 {
    /// `IFF_LIVE_ADDR_CHANGE`
    const WHILE_UP: u32 = 1 << 15;
    // SAFETY: the caller's device.
    if unsafe { net_device::priv_flags.get::<u32>(dev) } & WHILE_UP == 0 && is_running(dev) {
        return Errno::EBUSY.to_return();
    }
    if !is_good_address(sockaddr::sa_data.at(address)) {
        return Errno::EADDRNOTAVAIL.to_return();
    }
    0
}
extern "C" fn eth_commit_mac_addr_change(dev: u64, address: u64) {
    allocate::dev_addr_mod(dev, 0, sockaddr::sa_data.at(address), 6);
}
/// `int eth_mac_addr(struct net_device *, void *)`
extern "C" fn eth_mac_addr(dev: u64, address: u64) -> i32 {
    let result = eth_prepare_mac_addr_change(dev, address);
    if result == 0 {
        eth_commit_mac_addr_change(dev, address);
    }
    result
}
extern "C" fn eth_validate_addr(dev: u64) -> i32 {
    // SAFETY: the caller's device and its address.
    if is_good_address(unsafe { net_device::dev_addr.get(dev) }) { 0 } else { Errno::EADDRNOTAVAIL.to_return() }
}

/// What RFC 2863 says of a device.
fn judge(dev: u64) {
    // SAFETY: the caller's device.
    unsafe {
        let mode: u8 = net_device::link_mode.get(dev);
        let status = if !has_carrier(dev) {
            let ifindex: i32 = net_device::ifindex.get(dev);
            if below(dev) == ifindex { OPER_DOWN } else { OPER_LOWER_DOWN }
        } else if has(dev, TESTING) {
            OPER_TESTING
        } else if has(dev, DORMANT) {
            OPER_DORMANT
        } else {
            OPER_UP
        };
        let status = match (mode, status) {
            (MODE_DORMANT, OPER_UP) => OPER_DORMANT,
            (MODE_TESTING, OPER_UP) => OPER_TESTING,
            (_, status) => status,
        };
        net_device::operstate.set(dev, status);
    }
}
/// The number of the device below (`dev_get_iflink`), or its own.
pub(crate) fn below(dev: u64) -> i32 {
    // SAFETY: the caller's device.
    operate(dev, &net_device_ops::ndo_get_iflink, [dev]).unwrap_or_else(|| unsafe { net_device::ifindex.get(dev) })
}
/// What is said of a device's link when it is registered.
pub(crate) fn begin_link(dev: u64) {
    if bits(dev) & (NO_CARRIER | DORMANT | TESTING) != 0 {
        judge(dev);
    }
}

/// Devices whose link has changed and nobody has looked yet.
static LINKS: Lock<alloc::vec::Vec<u64>> = Lock::new(alloc::vec::Vec::new());

/// A device's link has changed: somebody looks at it, with the lock held.
fn link_changed(dev: u64) {
    if bits(dev) & LINK_PENDING != 0 {
        return;
    }
    change_bits(dev, 0, LINK_PENDING);
    devices::hold(dev, 1);
    LINKS.lock().push(dev);
    let Some(queue) = symbols::address("system_wq") else { return };
    // Where no worker can be had, it is looked at when the lock is given back.
    let _ = kernel().work.enqueue(QueueId(queue), queue ^ 1, |_| rtnl::with(0, || ()));
}
/// Looks at the devices whose link has changed. The lock is held.
pub(crate) fn look_at_links() {
    let links = core::mem::take(&mut *LINKS.lock());
    for dev in links {
        change_bits(dev, LINK_PENDING, 0);
        judge(dev);
        if flags(dev) & UP != 0 {
            if has_carrier(dev) {
                transmit::activate(dev);
            } else {
                transmit::deactivate(dev);
            }
            changed(dev);
        }
        devices::hold(dev, -1);
    }
}

fn count_carrier(dev: u64, field: &Field) {
    // SAFETY: the caller's device.
    unsafe { field.set(dev, field.get::<u32>(dev).wrapping_add(1)) };
}
/// `void netif_carrier_on(struct net_device *)`
extern "C" fn netif_carrier_on(dev: u64) {
    if has_carrier(dev) {
        return;
    }
    change_bits(dev, NO_CARRIER, 0);
    if devices::state(dev) != devices::UNINITIALIZED {
        count_carrier(dev, &net_device::carrier_up_count);
        link_changed(dev);
    }
}
extern "C" fn netif_carrier_off(dev: u64) {
    if !has_carrier(dev) {
        return;
    }
    change_bits(dev, 0, NO_CARRIER);
    if devices::state(dev) != devices::UNINITIALIZED {
        count_carrier(dev, &net_device::carrier_down_count);
        link_changed(dev);
    }
}
/// `void netif_device_detach(struct net_device *)`
extern "C" fn netif_device_detach(dev: u64) {
    if is_present(dev) {
        change_bits(dev, PRESENT, 0);
        if is_running(dev) {
            transmit::stop_all(dev);
        }
    }
}
extern "C" fn netif_device_attach(dev: u64) {
    if !is_present(dev) {
        change_bits(dev, 0, PRESENT);
        if is_running(dev) {
            transmit::wake_all(dev);
        }
    }
}

fn outcome(result: Result<(), Errno>) -> i32 {
    Errno::returned(result)
}
/// `int dev_open(struct net_device *, struct netlink_ext_ack *)`
extern "C" fn dev_open(dev: u64) -> i32 {
    outcome(open(dev))
}
extern "C" fn dev_close(dev: u64) {
    close(dev);
}
/// `void dev_close_many(struct list_head *, bool unlink)`
extern "C" fn dev_close_many(list: u64, unlink: bool) {
    // SAFETY: the caller's list of devices.
    for entry in unsafe { waiting::each(list) } {
        close(net_device::close_list.container(entry));
        if unlink {
            // SAFETY: an entry of the list.
            unsafe { waiting::unlink(entry) };
        }
    }
}
extern "C" fn dev_change_flags(dev: u64, wanted: u32) -> i32 {
    outcome(change_flags(dev, wanted))
}
/// `unsigned int dev_get_flags(const struct net_device *)`: with what the device is just now.
extern "C" fn dev_get_flags(dev: u64) -> u32 {
    let mut all = flags(dev) & !(PROMISCUOUS | ALL_MULTICAST | RUNNING | LOWER_UP | IS_DORMANT);
    // SAFETY: the caller's device.
    unsafe {
        all |= u32::from(net_device::gflags.get::<u16>(dev)) & (PROMISCUOUS | ALL_MULTICAST);
        if is_running(dev) {
            let status: u8 = net_device::operstate.get(dev);
            // `IF_OPER_UNKNOWN` is 0.
            if status == OPER_UP || status == 0 {
                all |= RUNNING;
            }
            if has_carrier(dev) {
                all |= LOWER_UP;
            }
            if has(dev, DORMANT) {
                all |= IS_DORMANT;
            }
        }
    }
    all
}
extern "C" fn dev_set_mtu(dev: u64, to: i32) -> i32 {
    outcome(set_mtu(dev, to))
}
extern "C" fn dev_get_iflink(dev: u64) -> i32 {
    below(dev)
}
/// `int dev_set_promiscuity(struct net_device *, int)`
extern "C" fn dev_set_promiscuity(dev: u64, by: i32) -> i32 {
    outcome(count(dev, &net_device::promiscuity, PROMISCUOUS, by))
}
extern "C" fn dev_set_allmulti(dev: u64, by: i32) -> i32 {
    outcome(count(dev, &net_device::allmulti, ALL_MULTICAST, by))
}
/// `u32 ethtool_op_get_link(struct net_device *)`
extern "C" fn ethtool_op_get_link(dev: u64) -> u32 {
    has_carrier(dev).into()
}
/// `void netdev_update_features(struct net_device *)`: what is wanted, as far as the driver lets it be, and listeners are told.
extern "C" fn netdev_update_features(dev: u64) {
    // SAFETY: the caller's device and its functions.
    unsafe {
        let before: u64 = net_device::features.get(dev);
        let able: u64 = net_device::hw_features.get(dev);
        let wanted = before & !able | net_device::wanted_features.get::<u64>(dev) & able;
        let wanted = operate_for_pointer(dev, &net_device_ops::ndo_fix_features, [dev, wanted]).unwrap_or(wanted);
        if wanted == before {
            return;
        }
        if operate(dev, &net_device_ops::ndo_set_features, [dev, wanted]).unwrap_or(0) >= 0 {
            net_device::features.set(dev, wanted);
        }
    }
    netdev_features_change(dev);
}
extern "C" fn netdev_features_change(dev: u64) {
    // Nobody can object.
    let _ = events::announce("NETDEV_FEAT_CHANGE", dev, Detail::None);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c dev_open, c dev_close, c dev_close_many, c dev_change_flags, c dev_get_flags, c dev_set_mtu, c dev_get_iflink,
    c dev_set_promiscuity, c dev_set_allmulti, c dev_set_mac_address, c eth_prepare_mac_addr_change, c eth_commit_mac_addr_change,
    c eth_mac_addr, c eth_validate_addr, c netif_carrier_on, c netif_carrier_off, c netif_device_detach, c netif_device_attach,
    c ethtool_op_get_link, c netdev_update_features, c netdev_features_change,
];
