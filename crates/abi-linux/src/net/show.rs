//! Network devices as programs see them: `/sys/class/net` and `/proc/net/dev`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files::{self, Node};
use ferrmod_kernel::text::number;
use ferrmod_kernel::{Errno, kernel};

use super::layout::{net_device, net_device_ops, netdev_queue};
use super::{devices, names, rtnl, state, stats, transmit};
use crate::device::layout::{class, device as device_c};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{device, kobject, ram, symbols, uevent};

layout! {
    mod ethtool_ops = "ethtool_ops" { get_link_ksettings }
    mod ksettings = "ethtool_link_ksettings" { speed = "base.speed", duplex = "base.duplex" }
}

/// The class of all of them.
///
/// # Errors
/// `ENOMEM`.
fn class() -> Result<u64, Errno> {
    static CLASS: spin::Once<u64> = spin::Once::new();
    let made = *CLASS.call_once(|| {
        let made = device::class::own("net", 0);
        if made != 0 {
            // SAFETY: a class of ours.
            unsafe {
                class::dev_release.set(made, symbols::address("netdev_release").unwrap_or(0));
                class::dev_uevent.set(made, symbols::address("netdev_uevent").unwrap_or(0));
            }
        }
        made
    });
    if made == 0 { Err(Errno::ENOMEM) } else { Ok(made) }
}

/// What the events of a device say.
extern "C" fn netdev_uevent(object: u64, env: u64) -> i32 {
    let dev = net_device::dev.container(object);
    let interface = [b"INTERFACE=", names::of(dev).as_slice()].concat();
    // SAFETY: a registered device.
    let index = format!("IFINDEX={}", unsafe { net_device::ifindex.get::<i32>(dev) });
    match uevent::add_variable(env, &interface) {
        0 => uevent::add_variable(env, index.as_bytes()),
        error => error,
    }
}

/// Shows a device. The lock is held.
///
/// # Errors
/// `EEXIST`, `ENOMEM`.
pub(crate) fn add(dev: u64, caller: u64) -> Result<(), Errno> {
    let object = net_device::dev.at(dev);
    let class = class()?;
    device::begin(object);
    // SAFETY: the caller's device.
    unsafe {
        device_c::class.set(object, class);
        device_c::groups.set(object, net_device::sysfs_groups.at(dev));
        kobject::set_name(device::object(object), &names::of(dev), caller)?;
    }
    device::add_for(object, caller)?;
    attributes(dev).inspect_err(|_| device::delete(object))
}
/// Takes it out of sight. A reference stays with the device until it is finished with.
pub(crate) fn remove(dev: u64) {
    let object = net_device::dev.at(dev);
    kobject::get(device::object(object));
    device::delete(object);
}

type Show = fn(u64) -> Result<String, Errno>;
type Store = fn(u64, u64) -> Result<(), Errno>;

macro_rules! decimal {
    ($field:ident $kind:ty) => {
        // SAFETY: a registered device, whose member this is.
        |dev| Ok(format!("{}", unsafe { net_device::$field.get::<$kind>(dev) }))
    };
}
macro_rules! hexadecimal {
    ($field:ident $kind:ty) => {
        // SAFETY: as above.
        |dev| Ok(format!("{:#x}", unsafe { net_device::$field.get::<$kind>(dev) }))
    };
}

/// What can only be read (`net_class_attrs`).
const READABLE: &[(&str, Show)] = &[
    ("addr_assign_type", decimal!(addr_assign_type u8)),
    ("addr_len", decimal!(addr_len u8)),
    // SAFETY: a registered device.
    ("address", |dev| Ok(address(dev, unsafe { net_device::dev_addr.get(dev) }))),
    ("broadcast", |dev| Ok(address(dev, net_device::broadcast.at(dev)))),
    ("carrier_changes", |dev| Ok(format!("{}", ups(dev).wrapping_add(downs(dev))))),
    ("carrier_down_count", |dev| Ok(format!("{}", downs(dev)))),
    ("carrier_up_count", |dev| Ok(format!("{}", ups(dev)))),
    ("dev_id", hexadecimal!(dev_id u16)),
    ("dev_port", decimal!(dev_port u16)),
    ("dormant", |dev| while_running(dev, state::has(dev, state::DORMANT))),
    ("duplex", duplex),
    ("ifindex", decimal!(ifindex i32)),
    ("iflink", |dev| Ok(format!("{}", state::below(dev)))),
    ("link_mode", decimal!(link_mode u8)),
    ("name_assign_type", name_assign_type),
    ("operstate", |dev| Ok(operstate(dev).into())),
    ("phys_port_id", |_| Err(Errno::EOPNOTSUPP)),
    ("phys_port_name", |_| Err(Errno::EOPNOTSUPP)),
    ("phys_switch_id", |_| Err(Errno::EOPNOTSUPP)),
    ("speed", speed),
    ("testing", |dev| while_running(dev, state::has(dev, state::TESTING))),
    ("type", decimal!(type_ u16)),
];

/// What can be written, too.
const WRITABLE: &[(&str, Show, Store)] = &[
    ("carrier", |dev| while_running(dev, state::has_carrier(dev)), set_carrier),
    ("flags", hexadecimal!(flags u32), |dev, to| state::change_flags(dev, to as u32)),
    ("gro_flush_timeout", decimal!(gro_flush_timeout u64), |dev, to| {
        // SAFETY: a registered device.
        unsafe { net_device::gro_flush_timeout.set(dev, to) };
        Ok(())
    }),
    ("mtu", decimal!(mtu u32), |dev, to| state::set_mtu(dev, to as i32)),
    ("netdev_group", decimal!(group i32), |dev, to| {
        // SAFETY: a registered device.
        unsafe { net_device::group.set(dev, to as i32) };
        Ok(())
    }),
    ("tx_queue_len", decimal!(tx_queue_len u32), |dev, to| {
        let length = u32::try_from(to).map_err(|_| Errno::ERANGE)?;
        // SAFETY: a registered device.
        unsafe { net_device::tx_queue_len.set(dev, length) };
        Ok(())
    }),
];

fn ups(dev: u64) -> u32 {
    // SAFETY: a registered device.
    unsafe { net_device::carrier_up_count.get(dev) }
}
fn downs(dev: u64) -> u32 {
    // SAFETY: a registered device.
    unsafe { net_device::carrier_down_count.get(dev) }
}
fn while_running(dev: u64, what: bool) -> Result<String, Errno> {
    if state::is_running(dev) { Ok(format!("{}", u8::from(what))) } else { Err(Errno::EINVAL) }
}
fn name_assign_type(dev: u64) -> Result<String, Errno> {
    // `NET_NAME_UNKNOWN` is 0.
    // SAFETY: a registered device.
    match unsafe { net_device::name_assign_type.get::<u8>(dev) } {
        0 => Err(Errno::EINVAL),
        how => Ok(format!("{how}")),
    }
}
/// Bytes of an address, with colons; nothing for a device without.
fn address(dev: u64, at: u64) -> String {
    // SAFETY: a registered device and its address.
    let bytes = unsafe { ram::bytes(at, net_device::addr_len.get::<u8>(dev).into()) };
    let words: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    words.join(":")
}
fn operstate(dev: u64) -> &'static str {
    const NAMES: [&str; 7] = ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"];
    // SAFETY: a registered device.
    let status: u8 = if state::is_running(dev) { unsafe { net_device::operstate.get(dev) } } else { state::OPER_DOWN };
    NAMES.get(usize::from(status)).copied().unwrap_or("unknown")
}
fn set_carrier(dev: u64, to: u64) -> Result<(), Errno> {
    if !state::can(dev, &net_device_ops::ndo_change_carrier) {
        return Err(Errno::EOPNOTSUPP);
    }
    if !state::is_running(dev) {
        return Err(Errno::EINVAL);
    }
    match state::operate(dev, &net_device_ops::ndo_change_carrier, [dev, u64::from(to != 0)]).unwrap_or(0) {
        0 => Ok(()),
        error => Err(Errno(error.abs())),
    }
}

/// Speed and duplex, as the driver says (`__ethtool_get_link_ksettings`).
fn link_settings(dev: u64) -> Result<(u32, u8), Errno> {
    if !state::is_running(dev) || !state::is_present(dev) {
        return Err(Errno::EINVAL);
    }
    let mut block = alloc::vec![0u64; ksettings::SIZE.get().div_ceil(8) as usize];
    let at = block.as_mut_ptr() as u64;
    // SAFETY: the driver's function, and a block of the struct's size.
    unsafe {
        let ops: u64 = net_device::ethtool_ops.get(dev);
        let function: u64 = if ops == 0 { 0 } else { ethtool_ops::get_link_ksettings.get(ops) };
        if function == 0 {
            return Err(Errno::EINVAL);
        }
        match ram::call(function, [dev, at]) as i32 {
            0 => Ok((ksettings::speed.get(at), ksettings::duplex.get(at))),
            error => Err(Errno(error.abs())),
        }
    }
}
fn speed(dev: u64) -> Result<String, Errno> {
    link_settings(dev).map(|(speed, _)| format!("{}", speed as i32))
}
fn duplex(dev: u64) -> Result<String, Errno> {
    /// `DUPLEX_HALF`, `DUPLEX_FULL`
    const WORDS: [&str; 2] = ["half", "full"];
    link_settings(dev).map(|(_, duplex)| WORDS.get(usize::from(duplex)).copied().unwrap_or("unknown").into())
}

/// The files of a device.
fn attributes(dev: u64) -> Result<(), Errno> {
    let Some(path) = kobject::path(device::object(net_device::dev.at(dev))) else { return Err(Errno::ENOENT) };
    let add = |name: &str, node: Node| kernel().files.add(&format!("{path}/{name}"), node);
    for &(name, show) in READABLE {
        add(name, readable(dev, show))?;
    }
    for &(name, show, store) in WRITABLE {
        let write = move |bytes: &[u8]| {
            let to = number::unsigned_bits(bytes, 0, u64::BITS)?;
            rtnl::with(0, || if devices::is_listed(dev) { store(dev, to) } else { Err(Errno::EINVAL) })?;
            Ok(bytes.len())
        };
        add(name, files::read_write(0o644, move || line(show(dev)), write))?;
    }
    add("statistics", Node::Directory)?;
    for (place, name) in stats::NAMES.into_iter().enumerate() {
        let read = move || format!("{}\n", stats::of(dev)[place]).into_bytes();
        add(&format!("statistics/{name}"), files::read_only(0o444, read))?;
    }
    add("queues", Node::Directory)?;
    // SAFETY: a registered device.
    let (receivers, senders): (u32, u32) =
        unsafe { (net_device::real_num_rx_queues.get(dev), net_device::real_num_tx_queues.get(dev)) };
    for number in 0..receivers {
        add(&format!("queues/rx-{number}"), Node::Directory)?;
    }
    for number in 0..senders {
        add(&format!("queues/tx-{number}"), Node::Directory)?;
        let timeouts = move || {
            // SAFETY: the queue of a registered device.
            let count: u64 = unsafe { netdev_queue::trans_timeout.get(transmit::queue(dev, number)) };
            format!("{count}\n").into_bytes()
        };
        add(&format!("queues/tx-{number}/tx_timeout"), files::read_only(0o444, timeouts))?;
    }
    Ok(())
}
fn line(text: Result<String, Errno>) -> Result<Vec<u8>, Errno> {
    text.map(|text| format!("{text}\n").into_bytes())
}
/// A file that may have nothing to say.
fn readable(dev: u64, show: Show) -> Node {
    let refuse = |_: &[u8]| Err(Errno::EACCES);
    files::read_write(0o444, move || line(show(dev)), refuse)
}

/// `/proc/net/dev`
pub(crate) fn table() -> Vec<u8> {
    let mut out = String::from(
        "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n",
    );
    for dev in devices::all() {
        let counted = stats::of(dev);
        let of = |names: &[&str]| -> u64 {
            let place = |name: &&str| stats::NAMES.iter().position(|other| other == name);
            names.iter().filter_map(place).map(|place| counted[place]).sum()
        };
        let name = names::of(dev);
        out.push_str(&format!(
            "{:>6}: {:7} {:7} {:4} {:4} {:4} {:5} {:10} {:9} {:8} {:7} {:4} {:4} {:4} {:5} {:7} {:10}\n",
            name.as_bstr(),
            of(&["rx_bytes"]),
            of(&["rx_packets"]),
            of(&["rx_errors"]),
            of(&["rx_dropped", "rx_missed_errors"]),
            of(&["rx_fifo_errors"]),
            of(&["rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors"]),
            of(&["rx_compressed"]),
            of(&["multicast"]),
            of(&["tx_bytes"]),
            of(&["tx_packets"]),
            of(&["tx_errors"]),
            of(&["tx_dropped"]),
            of(&["tx_fifo_errors"]),
            of(&["collisions"]),
            of(&["tx_carrier_errors", "tx_aborted_errors", "tx_window_errors", "tx_heartbeat_errors"]),
            of(&["tx_compressed"]),
        ));
    }
    out.into_bytes()
}

/// `int netdev_class_create_file_ns(const struct class_attribute *, const void *)`: a file of the class itself.
extern "C" fn netdev_class_create_file_ns(attribute: u64) -> i32 {
    match class() {
        Ok(class) => device::class::class_create_file_ns(class, attribute, 0),
        Err(errno) => errno.to_return(),
    }
}
extern "C" fn netdev_class_remove_file_ns(attribute: u64) {
    if let Ok(class) = class() {
        device::class::class_remove_file_ns(class, attribute, 0);
    }
}
/// `void netdev_set_default_ethtool_ops(struct net_device *, const struct ethtool_ops *)`: unless the driver has some.
extern "C" fn netdev_set_default_ethtool_ops(dev: u64, ops: u64) {
    // SAFETY: the caller's device.
    unsafe {
        if net_device::ethtool_ops.get::<u64>(dev) == 0 {
            net_device::ethtool_ops.set(dev, ops);
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c netdev_uevent, c netdev_class_create_file_ns, c netdev_class_remove_file_ns, c netdev_set_default_ethtool_ops,
];
