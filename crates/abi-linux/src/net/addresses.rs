//! Lists of hardware addresses: a device's own, and those it is to listen to.

use ferrmod_kernel::Errno;

use super::layout::{net_device, net_device_ops};
use super::state::{self, UP};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab, waiting};

layout! {
    mod netdev_hw_addr_list = "netdev_hw_addr_list" { list, count }
    mod netdev_hw_addr = "netdev_hw_addr" { list, addr, type_ = "type", global_use, sync_cnt, refcount }
}

/// `MAX_ADDR_LEN`
pub(crate) const LONGEST: u64 = 32;
/// `NETDEV_HW_ADDR_T_…`
const LAN: u8 = 1;
const UNICAST: u8 = 3;
const MULTICAST: u8 = 4;

/// The entries of a list, which is not empty before it was begun.
fn entries(list: u64) -> impl Iterator<Item = u64> {
    // SAFETY: a list that was begun.
    unsafe { waiting::each(netdev_hw_addr_list::list.at(list)) }.map(|at| netdev_hw_addr::list.container(at))
}

/// The entry of an address in a list.
fn find(list: u64, address: &[u8], kind: u8) -> Option<u64> {
    // SAFETY: the entries of a list.
    entries(list).find(|&entry| unsafe {
        netdev_hw_addr::type_.get::<u8>(entry) == kind
            && ram::bytes(netdev_hw_addr::addr.at(entry), address.len() as u64) == address
    })
}

fn count(list: u64, by: i32) {
    // SAFETY: the caller's list.
    unsafe { netdev_hw_addr_list::count.set(list, netdev_hw_addr_list::count.get::<i32>(list) + by) };
}

/// Begins a list.
pub(crate) fn begin(list: u64) {
    // SAFETY: the caller's list, which may be overwritten.
    unsafe {
        ram::fill(list, 0, netdev_hw_addr_list::SIZE.get());
        locks::init_list(netdev_hw_addr_list::list.at(list));
    }
}

/// Adds an entry; `None` without memory.
fn new(list: u64, address: &[u8], kind: u8, caller: u64) -> Option<u64> {
    let entry = slab::allocate(netdev_hw_addr::SIZE.get(), 64, slab::ZERO, caller);
    if entry == 0 {
        return None;
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        ram::bytes_mut(netdev_hw_addr::addr.at(entry), address.len() as u64).copy_from_slice(address);
        netdev_hw_addr::type_.set(entry, kind);
        netdev_hw_addr::refcount.set(entry, 1i32);
        waiting::link_last(netdev_hw_addr::list.at(entry), netdev_hw_addr_list::list.at(list));
    }
    count(list, 1);
    Some(entry)
}

/// Gives a device its own first address, of zeros, and where it is kept.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn own(dev: u64, caller: u64) -> Result<u64, Errno> {
    let entry = new(net_device::dev_addrs.at(dev), &[0; LONGEST as usize], LAN, caller).ok_or(Errno::ENOMEM)?;
    Ok(netdev_hw_addr::addr.at(entry))
}

/// Forgets every address of a list.
pub(crate) fn flush(list: u64, caller: u64) {
    for entry in entries(list) {
        // SAFETY: an entry of the list.
        unsafe { waiting::unlink(netdev_hw_addr::list.at(entry)) };
        slab::release(entry, caller);
    }
    // SAFETY: the caller's list.
    unsafe { netdev_hw_addr_list::count.set(list, 0i32) };
}

fn add(list: u64, address: &[u8], kind: u8, global: bool, caller: u64) -> Result<(), Errno> {
    match find(list, address, kind) {
        // SAFETY: an entry of the list.
        Some(entry) => unsafe {
            if global {
                // One that everybody shares is counted once.
                if netdev_hw_addr::global_use.get::<u8>(entry) != 0 {
                    return Ok(());
                }
                netdev_hw_addr::global_use.set(entry, 1u8);
            }
            netdev_hw_addr::refcount.set(entry, netdev_hw_addr::refcount.get::<i32>(entry) + 1);
        },
        None => {
            let entry = new(list, address, kind, caller).ok_or(Errno::ENOMEM)?;
            // SAFETY: the entry just made.
            unsafe { netdev_hw_addr::global_use.set(entry, u8::from(global)) };
        }
    }
    Ok(())
}

fn remove(list: u64, address: &[u8], kind: u8, global: bool) -> Result<(), Errno> {
    let entry = find(list, address, kind).ok_or(Errno::ENOENT)?;
    // SAFETY: an entry of the list.
    unsafe {
        if global {
            if netdev_hw_addr::global_use.get::<u8>(entry) == 0 {
                return Err(Errno::ENOENT);
            }
            netdev_hw_addr::global_use.set(entry, 0u8);
        }
        drop_one(list, entry);
    }
    Ok(())
}
/// Gives one use of an entry back.
fn drop_one(list: u64, entry: u64) {
    // SAFETY: an entry of the list.
    unsafe {
        let left = netdev_hw_addr::refcount.get::<i32>(entry) - 1;
        netdev_hw_addr::refcount.set(entry, left);
        if left == 0 {
            waiting::unlink(netdev_hw_addr::list.at(entry));
            count(list, -1);
            slab::release(entry, 0);
        }
    }
}

fn outcome(result: Result<(), Errno>) -> i32 {
    Errno::returned(result)
}

/// Lets the driver look at its lists (`__dev_set_rx_mode`).
pub(crate) fn tell(dev: u64) {
    // SAFETY: the caller's device and its operations.
    unsafe {
        if net_device::flags.get::<u32>(dev) & UP != 0 && state::is_present(dev) {
            state::operate(dev, &net_device_ops::ndo_set_rx_mode, [dev]);
        }
    }
}

fn address_of<'a>(dev: u64, address: u64) -> &'a [u8] {
    // SAFETY: the caller's device, and as many bytes as its addresses have.
    unsafe { ram::bytes(address, u64::from(net_device::addr_len.get::<u8>(dev))) }
}

macro_rules! lists {
    ($($kind:ident $field:ident $add:ident $add_excl:ident $del:ident $flush:ident $init:ident;)*) => {
        $(
            /// Adds an address to a device's list.
            extern "C" fn $add(dev: u64, address: u64) -> i32 {
                let caller = ram::caller();
                let result = add(net_device::$field.at(dev), address_of(dev, address), $kind, false, caller);
                tell(dev);
                outcome(result)
            }
            /// Adds an address that must not be in the list yet.
            extern "C" fn $add_excl(dev: u64, address: u64) -> i32 {
                let caller = ram::caller();
                let (list, address) = (net_device::$field.at(dev), address_of(dev, address));
                if find(list, address, $kind).is_some() {
                    return Errno::EEXIST.to_return();
                }
                let result = add(list, address, $kind, true, caller);
                tell(dev);
                outcome(result)
            }
            /// Takes an address out of it.
            extern "C" fn $del(dev: u64, address: u64) -> i32 {
                let result = remove(net_device::$field.at(dev), address_of(dev, address), $kind, false);
                tell(dev);
                outcome(result)
            }
            /// Takes all of them out.
            extern "C" fn $flush(dev: u64) {
                flush(net_device::$field.at(dev), ram::caller());
            }
            /// Begins the list.
            extern "C" fn $init(dev: u64) {
                begin(net_device::$field.at(dev));
            }
        )*
    };
}

lists! {
    UNICAST uc dev_uc_add dev_uc_add_excl dev_uc_del dev_uc_flush dev_uc_init;
    MULTICAST mc dev_mc_add dev_mc_add_excl dev_mc_del dev_mc_flush dev_mc_init;
}

extern "C" fn dev_mc_add_global(dev: u64, address: u64) -> i32 {
    let caller = ram::caller();
    let result = add(net_device::mc.at(dev), address_of(dev, address), MULTICAST, true, caller);
    tell(dev);
    outcome(result)
}
extern "C" fn dev_mc_del_global(dev: u64, address: u64) -> i32 {
    let result = remove(net_device::mc.at(dev), address_of(dev, address), MULTICAST, true);
    tell(dev);
    outcome(result)
}

/// `void __hw_addr_init(struct netdev_hw_addr_list *)`
extern "C" fn __hw_addr_init(list: u64) {
    begin(list);
}

/// Copies what `from` has and `to` has not been given yet, and takes back what `from` has dropped.
fn sync(to: u64, from: u64, length: u64, caller: u64) -> Result<(), Errno> {
    for entry in entries(from) {
        // SAFETY: an entry of the list.
        unsafe {
            let address = ram::bytes(netdev_hw_addr::addr.at(entry), length).to_vec();
            let kind: u8 = netdev_hw_addr::type_.get(entry);
            let (given, uses): (i32, i32) = (netdev_hw_addr::sync_cnt.get(entry), netdev_hw_addr::refcount.get(entry));
            if given == 0 {
                add(to, &address, kind, false, caller)?;
                netdev_hw_addr::sync_cnt.set(entry, 1i32);
                netdev_hw_addr::refcount.set(entry, uses + 1);
            } else if uses == given {
                unsync_one(to, from, entry, &address, kind);
            }
        }
    }
    Ok(())
}
fn unsync_one(to: u64, from: u64, entry: u64, address: &[u8], kind: u8) {
    if remove(to, address, kind, false).is_ok() {
        // SAFETY: an entry of the list.
        unsafe { netdev_hw_addr::sync_cnt.set(entry, netdev_hw_addr::sync_cnt.get::<i32>(entry) - 1) };
        drop_one(from, entry);
    }
}
fn unsync(to: u64, from: u64, length: u64) {
    for entry in entries(from) {
        // SAFETY: an entry of the list.
        let (address, kind, given): (_, u8, i32) = unsafe {
            let address = ram::bytes(netdev_hw_addr::addr.at(entry), length).to_vec();
            (address, netdev_hw_addr::type_.get(entry), netdev_hw_addr::sync_cnt.get(entry))
        };
        if given > 0 {
            unsync_one(to, from, entry, &address, kind);
        }
    }
}
/// `int __hw_addr_sync(struct netdev_hw_addr_list *to, struct netdev_hw_addr_list *from, int addr_len)`
extern "C" fn __hw_addr_sync(to: u64, from: u64, length: u32) -> i32 {
    let caller = ram::caller();
    outcome(sync(to, from, u64::from(length).min(LONGEST), caller))
}
extern "C" fn __hw_addr_unsync(to: u64, from: u64, length: u32) {
    unsync(to, from, u64::from(length).min(LONGEST));
}

macro_rules! between {
    ($($field:ident $sync:ident $unsync:ident;)*) => {
        $(
            /// Gives the addresses of a device to the one below it: to, from.
            extern "C" fn $sync(to: u64, from: u64) -> i32 {
                let caller = ram::caller();
                // SAFETY: the caller's devices.
                let (length, other) = unsafe {
                    (net_device::addr_len.get::<u8>(to), net_device::addr_len.get::<u8>(from))
                };
                if length != other {
                    return Errno::EINVAL.to_return();
                }
                let result = sync(net_device::$field.at(to), net_device::$field.at(from), length.into(), caller);
                if result.is_ok() {
                    tell(to);
                }
                outcome(result)
            }
            /// Takes them back.
            extern "C" fn $unsync(to: u64, from: u64) {
                // SAFETY: the caller's device.
                let length = unsafe { net_device::addr_len.get::<u8>(to) };
                unsync(net_device::$field.at(to), net_device::$field.at(from), length.into());
                tell(to);
            }
        )*
    };
}

between! {
    uc dev_uc_sync dev_uc_unsync;
    mc dev_mc_sync dev_mc_unsync;
}

/// `int __hw_addr_sync_dev(struct netdev_hw_addr_list *, struct net_device *, int (*sync)(dev, addr), int (*unsync)(dev, addr))`:
/// tells the driver of each address that came or went.
extern "C" fn __hw_addr_sync_dev(list: u64, dev: u64, told: u64, taken: u64) -> i32 {
    for entry in entries(list) {
        // SAFETY: an entry of the list and the driver's functions.
        unsafe {
            let address = netdev_hw_addr::addr.at(entry);
            let (given, uses): (i32, i32) = (netdev_hw_addr::sync_cnt.get(entry), netdev_hw_addr::refcount.get(entry));
            if given != 0 && uses == 1 {
                take_back(list, dev, entry, taken);
            } else if given == 0 {
                let error = ram::call(told, [dev, address]) as i32;
                if error != 0 {
                    return error;
                }
                netdev_hw_addr::sync_cnt.set(entry, 1i32);
                netdev_hw_addr::refcount.set(entry, uses + 1);
            }
        }
    }
    0
}
fn take_back(list: u64, dev: u64, entry: u64, taken: u64) {
    // SAFETY: an entry of the list and the driver's function.
    unsafe {
        if taken == 0 || ram::call(taken, [dev, netdev_hw_addr::addr.at(entry)]) as i32 == 0 {
            netdev_hw_addr::sync_cnt.set(entry, 0i32);
            drop_one(list, entry);
        }
    }
}
extern "C" fn __hw_addr_unsync_dev(list: u64, dev: u64, taken: u64) {
    for entry in entries(list) {
        // SAFETY: an entry of the list.
        if unsafe { netdev_hw_addr::sync_cnt.get::<i32>(entry) } != 0 {
            take_back(list, dev, entry, taken);
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c dev_uc_add, c dev_uc_add_excl, c dev_uc_del, c dev_uc_flush, c dev_uc_init, c dev_mc_add, c dev_mc_add_excl, c dev_mc_del,
    c dev_mc_flush, c dev_mc_init, c dev_mc_add_global, c dev_mc_del_global, c __hw_addr_init, c __hw_addr_sync,
    c __hw_addr_unsync, c __hw_addr_sync_dev, c __hw_addr_unsync_dev, c dev_uc_sync, c dev_uc_unsync, c dev_mc_sync,
    c dev_mc_unsync, c dev_uc_sync_multiple = dev_uc_sync, c dev_mc_sync_multiple = dev_mc_sync,
];
