//! Miscellaneous character devices: one major, a minor each.

use alloc::vec::Vec;

use ferrmod_kernel::chrdev::Number;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{device, locks, ram, slab, symbols};

layout! {
    mod miscdevice = "miscdevice" { minor, name, fops, list, parent, this_device, groups, nodename, mode }
    mod device_c = "device" { devt }
}

/// The major of all of them.
pub(crate) const MAJOR: u32 = 10;
/// `MISC_DYNAMIC_MINOR`: the device has no wish.
const ANY: u32 = 255;
/// Minors given out: these downwards, then from 256 on.
const DYNAMIC: u32 = 128;

/// Minor and device.
static DEVICES: Lock<Vec<(u32, u64)>> = Lock::new(Vec::new());

/// The file operations of the device with this minor, and what its files' `private_data` begins with.
pub(crate) fn serving(minor: u32) -> Option<(u64, u64)> {
    let device = DEVICES.lock().iter().find(|(other, _)| *other == minor).map(|&(_, device)| device)?;
    // SAFETY: a registered device.
    Some((unsafe { miscdevice::fops.get(device) }, device))
}

fn free_minor() -> Option<u32> {
    let devices = DEVICES.lock();
    let is_free = |minor: &u32| devices.iter().all(|(other, _)| other != minor);
    (0..DYNAMIC).rev().find(is_free).or_else(|| (256..1 << 20).find(is_free))
}

/// The class of all of them, made when the first one comes.
fn class() -> Result<u64, Errno> {
    static CLASS: spin::Once<u64> = spin::Once::new();
    let class = *CLASS.call_once(|| device::class::own("misc", symbols::address("misc_devnode").unwrap_or(0)));
    if class == 0 { Err(Errno::ENOMEM) } else { Ok(class) }
}

/// `char *devnode(const struct device *, umode_t *)` of the class.
extern "C" fn misc_devnode(dev: u64, mode: u64) -> u64 {
    // SAFETY: the device of a registered misc device.
    unsafe {
        let minor = Number(device_c::devt.get(dev)).minor();
        let Some((_, found)) = serving(minor) else { return 0 };
        if mode != 0 && miscdevice::mode.get::<u16>(found) != 0 {
            ram::put(mode, miscdevice::mode.get::<u16>(found));
        }
        let node: u64 = miscdevice::nodename.get(found);
        if node == 0 { 0 } else { crate::printf::duplicate(ram::c_string(node), 0, 0) }
    }
}

/// `int misc_register(struct miscdevice *)`
extern "C" fn misc_register(misc: u64) -> i32 {
    let caller = ram::caller();
    match register(misc, caller) {
        Ok(()) => 0,
        Err(errno) => errno.to_return(),
    }
}

fn register(misc: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the module's device.
    let (wanted, name) = unsafe {
        locks::init_list(miscdevice::list.at(misc));
        (miscdevice::minor.get::<u32>(misc), ram::c_string_or_empty(miscdevice::name.get(misc)))
    };
    let minor = if wanted == ANY { free_minor().ok_or(Errno::EBUSY)? } else { wanted };
    if DEVICES.lock().iter().any(|(other, _)| *other == minor) {
        return Err(Errno::EBUSY);
    }
    let class = class()?;
    DEVICES.lock().insert(0, (minor, misc));
    // SAFETY: as above.
    let made = unsafe {
        miscdevice::minor.set(misc, minor);
        let number = Number::new(MAJOR, minor).0;
        device::create(class, miscdevice::parent.get(misc), number, misc, miscdevice::groups.get(misc), &name, caller)
    };
    match made {
        Ok(dev) => {
            // SAFETY: as above.
            unsafe { miscdevice::this_device.set(misc, dev) };
            // It was not in the list, so it is not registered.
            let _ = kernel().registrations.add("misc", misc, name, kernel().owner_of(caller));
            Ok(())
        }
        Err(errno) => {
            DEVICES.lock().retain(|&(_, other)| other != misc);
            // SAFETY: as above.
            unsafe { miscdevice::minor.set(misc, wanted) };
            Err(errno)
        }
    }
}

/// Makes a device of the kernel's own, which stays: its name, that of its file, and the file's functions.
///
/// # Errors
/// `EBUSY` when the minor is taken, `ENOMEM`.
pub(crate) fn own(
    minor: u32,
    name: &'static core::ffi::CStr,
    node: &'static core::ffi::CStr,
    operations: u64,
) -> Result<(), Errno> {
    let made = slab::allocate(miscdevice::SIZE.get(), 8, slab::ZERO, 0);
    if made == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        miscdevice::minor.set(made, minor);
        miscdevice::name.set(made, name.as_ptr() as u64);
        miscdevice::nodename.set(made, node.as_ptr() as u64);
        miscdevice::fops.set(made, operations);
    }
    register(made, 0).inspect_err(|_| slab::release(made, 0))
}

/// `void misc_deregister(struct miscdevice *)`
extern "C" fn misc_deregister(misc: u64) {
    let known = {
        let mut devices = DEVICES.lock();
        let before = devices.len();
        devices.retain(|&(_, other)| other != misc);
        devices.len() != before
    };
    if !known {
        kernel().warn("misc_deregister: not registered", ram::caller());
        return;
    }
    // SAFETY: the module's device, which was registered.
    unsafe {
        device::destroy(miscdevice::this_device.get(misc));
    }
    kernel().registrations.remove("misc", misc);
}

/// `/proc/misc`: minors and names, newest first.
pub(crate) fn list() -> Vec<u8> {
    let devices = DEVICES.lock().clone();
    let line = |&(minor, misc): &(u32, u64)| {
        // SAFETY: a registered device and its C string.
        let name = unsafe { ram::c_string_or_empty(miscdevice::name.get(misc)) };
        [alloc::format!("{minor:3} ").as_bytes(), &name, b"\n"].concat()
    };
    devices.iter().flat_map(line).collect()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c misc_devnode, c misc_register, c misc_deregister];
