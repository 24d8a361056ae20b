//! Character devices: numbers, and the functions behind them.

use alloc::vec::Vec;

use ferrmod_kernel::chrdev::{Number, Regions};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::file_operations;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{device, kobject, locks, misc, ram, slab};

layout! {
    mod cdev = "cdev" { kobj, owner, ops, list, dev, count }
}

static REGIONS: Regions = Regions::new();

/// A device that was added: its first number, how many, its `struct cdev`.
#[derive(Clone, Copy, Debug)]
struct Added {
    first: u32,
    count: u32,
    cdev: u64,
}

/// The devices, newest last.
static DEVICES: Lock<Vec<Added>> = Lock::new(Vec::new());

/// Who serves a device number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// The `struct file_operations`.
    pub(crate) ops: u64,
    /// What `private_data` begins with.
    pub(crate) private: u64,
    /// The `struct cdev`, or 0.
    pub(crate) cdev: u64,
    /// The `struct module` that the device itself belongs to, or 0.
    pub(crate) owner: u64,
    /// The number itself.
    pub(crate) number: u32,
}

/// Who serves `device`.
pub(crate) fn serving(device: u32) -> Option<Served> {
    if Number(device).major() == misc::MAJOR {
        let (ops, private) = misc::serving(Number(device).minor())?;
        return Some(Served { ops, private, cdev: 0, owner: 0, number: device });
    }
    let devices = DEVICES.lock().clone();
    let found = devices.iter().rev().find(|added| device.wrapping_sub(added.first) < added.count)?;
    // SAFETY: a device that was added and not deleted.
    let (ops, owner): (u64, u64) = unsafe { (cdev::ops.get(found.cdev), cdev::owner.get(found.cdev)) };
    (ops != 0).then_some(Served { ops, private: 0, cdev: found.cdev, owner, number: device })
}

fn reserve(first: u32, count: u32, name: u64, caller: u64) -> i32 {
    // SAFETY: the module's C string.
    let name = unsafe { ram::c_string_or_empty(name) };
    match REGIONS.reserve(Number(first), count, name.clone()) {
        Ok(()) => {
            // The region is new.
            let _ = kernel().registrations.add("chrdev", first.into(), name, kernel().owner_of(caller));
            0
        }
        Err(errno) => errno.to_return(),
    }
}

/// Reserves minors under a major, or under any (0), for whoever called from `caller`.
///
/// # Errors
/// As [`Regions::reserve`].
pub(crate) fn reserve_for(major: u32, minor: u32, count: u32, name: &[u8], caller: u64) -> Result<Number, Errno> {
    let first = if major == 0 {
        REGIONS.reserve_anywhere(minor, count, name)?
    } else {
        let first = Number::new(major, minor);
        REGIONS.reserve(first, count, name)?;
        first
    };
    // The region is new.
    let _ = kernel().registrations.add("chrdev", first.0.into(), name, kernel().owner_of(caller));
    Ok(first)
}

/// Gives such minors back.
pub(crate) fn give_back(major: u32, minor: u32, count: u32) {
    unregister_chrdev_region(Number::new(major, minor).0, count);
}

/// `int register_chrdev_region(dev_t, unsigned count, const char *)`
extern "C" fn register_chrdev_region(first: u32, count: u32, name: u64) -> i32 {
    reserve(first, count, name, ram::caller())
}

fn reserve_anywhere(minor: u32, count: u32, name: u64, caller: u64) -> Result<Number, Errno> {
    // SAFETY: the module's C string.
    let name = unsafe { ram::c_string_or_empty(name) };
    let first = REGIONS.reserve_anywhere(minor, count, name.clone())?;
    // The region is new.
    let _ = kernel().registrations.add("chrdev", first.0.into(), name, kernel().owner_of(caller));
    Ok(first)
}

/// `int alloc_chrdev_region(dev_t *, unsigned baseminor, unsigned count, const char *)`
extern "C" fn alloc_chrdev_region(device: u64, minor: u32, count: u32, name: u64) -> i32 {
    match reserve_anywhere(minor, count, name, ram::caller()) {
        Ok(first) => {
            // SAFETY: the caller's `dev_t`.
            unsafe { ram::put(device, first.0) };
            0
        }
        Err(errno) => errno.to_return(),
    }
}

/// `void unregister_chrdev_region(dev_t, unsigned)`
extern "C" fn unregister_chrdev_region(first: u32, count: u32) {
    if REGIONS.release(Number(first), count) {
        kernel().registrations.remove("chrdev", first.into());
    }
}

/// Gives the parent of a device back that nobody uses any more, which may hold the device itself.
fn leave_parent(object: u64) {
    // SAFETY: a device's object.
    let parent: u64 = unsafe { kobject::kobject::parent.get(object) };
    kobject::put(parent);
}
extern "C" fn cdev_release(object: u64) {
    leave_parent(object);
}
extern "C" fn cdev_release_free(object: u64) {
    leave_parent(object);
    slab::release(cdev::kobj.container(object), 0);
}
/// The type of devices that lie in other objects.
fn plain_type() -> u64 {
    static TYPE: spin::Once<u64> = spin::Once::new();
    *TYPE.call_once(|| kobject::make_type("cdev_release", 0))
}
/// The type of devices that are blocks of their own.
fn freeing_type() -> u64 {
    static TYPE: spin::Once<u64> = spin::Once::new();
    *TYPE.call_once(|| kobject::make_type("cdev_release_free", 0))
}

/// Somebody opens a file of this device, which stays as long.
pub(crate) fn hold(device: u64) {
    if device != 0 {
        kobject::get(cdev::kobj.at(device));
    }
}
/// Somebody has closed it.
pub(crate) fn let_go(device: u64) {
    if device != 0 {
        kobject::put(cdev::kobj.at(device));
    }
}

/// `void cdev_init(struct cdev *, const struct file_operations *)`
extern "C" fn cdev_init(device: u64, ops: u64) {
    // SAFETY: the caller's device, which may be overwritten.
    unsafe {
        ram::fill(device, 0, cdev::SIZE.get());
        locks::init_list(cdev::list.at(device));
        cdev::ops.set(device, ops);
    }
    kobject::init(cdev::kobj.at(device), plain_type());
}

/// `struct cdev *cdev_alloc(void)`
extern "C" fn cdev_alloc() -> u64 {
    let caller = ram::caller();
    let device = slab::allocate(cdev::SIZE.get(), 8, slab::ZERO, caller);
    if device != 0 {
        // SAFETY: a zeroed block of the struct's size.
        unsafe { locks::init_list(cdev::list.at(device)) };
        kobject::init(cdev::kobj.at(device), freeing_type());
    }
    device
}

/// `int cdev_add(struct cdev *, dev_t, unsigned)`
pub(crate) extern "C" fn cdev_add(device: u64, first: u32, count: u32) -> i32 {
    // SAFETY: the caller's device.
    unsafe {
        cdev::dev.set(device, first);
        cdev::count.set(device, count);
        kobject::get(kobject::kobject::parent.get(cdev::kobj.at(device)));
    }
    DEVICES.lock().push(Added { first, count, cdev: device });
    0
}

/// `void cdev_del(struct cdev *)`
pub(crate) extern "C" fn cdev_del(device: u64) {
    DEVICES.lock().retain(|added| added.cdev != device);
    kobject::put(cdev::kobj.at(device));
}

extern "C" fn cdev_set_parent(device: u64, parent: u64) {
    kobject::set_parent(cdev::kobj.at(device), parent);
}

/// `int cdev_device_add(struct cdev *, struct device *)`
extern "C" fn cdev_device_add(at: u64, dev: u64) -> i32 {
    // SAFETY: the caller's device.
    let number: u32 = unsafe { device::layout::device::devt.get(dev) };
    if number != 0 {
        kobject::set_parent(cdev::kobj.at(at), device::object(dev));
        cdev_add(at, number, 1);
    }
    let result = device::add(dev);
    if result != 0 && number != 0 {
        cdev_del(at);
    }
    result
}

/// `void cdev_device_del(struct cdev *, struct device *)`
extern "C" fn cdev_device_del(at: u64, dev: u64) {
    device::delete(dev);
    // SAFETY: the caller's device.
    if unsafe { device::layout::device::devt.get::<u32>(dev) } != 0 {
        cdev_del(at);
    }
}

/// `int __register_chrdev(unsigned major, unsigned baseminor, unsigned count, const char *, const struct file_operations *)`
extern "C" fn __register_chrdev(major: u32, minor: u32, count: u32, name: u64, ops: u64) -> i32 {
    let caller = ram::caller();
    let first = if major == 0 {
        match reserve_anywhere(minor, count, name, caller) {
            Ok(first) => first,
            Err(errno) => return errno.to_return(),
        }
    } else {
        let first = Number::new(major, minor);
        match reserve(first.0, count, name, caller) {
            0 => first,
            error => return error,
        }
    };
    let device = slab::allocate(cdev::SIZE.get(), 8, slab::ZERO, caller);
    if device == 0 {
        unregister_chrdev_region(first.0, count);
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        locks::init_list(cdev::list.at(device));
        cdev::ops.set(device, ops);
        cdev::owner.set(device, file_operations::owner.get::<u64>(ops));
    }
    kobject::init(cdev::kobj.at(device), freeing_type());
    cdev_add(device, first.0, count);
    if major == 0 { first.major() as i32 } else { 0 }
}

/// `void __unregister_chrdev(unsigned major, unsigned baseminor, unsigned count, const char *)`
extern "C" fn __unregister_chrdev(major: u32, minor: u32, count: u32) {
    let first = Number::new(major, minor);
    unregister_chrdev_region(first.0, count);
    let found =
        DEVICES.lock().iter().find(|added| added.first == first.0 && added.count == count).map(|added| added.cdev);
    if let Some(device) = found {
        cdev_del(device);
    }
}

/// What `/proc/devices` says.
pub(crate) fn list() -> Vec<u8> {
    let mut out = alloc::format!("Character devices:\n{:3} misc\n", misc::MAJOR);
    for (major, name) in REGIONS.list() {
        out.push_str(&alloc::format!("{major:3} {name}\n"));
    }
    out.push_str("\nBlock devices:\n");
    for one in kernel().registrations.of_kind("blkdev") {
        out.push_str(&alloc::format!("{:3} {}\n", one.key, one.name));
    }
    out.into_bytes()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c cdev_release, c cdev_release_free, c register_chrdev_region, c alloc_chrdev_region, c unregister_chrdev_region, c cdev_init, c cdev_alloc, c cdev_add,
    c cdev_del, c cdev_set_parent, c cdev_device_add, c cdev_device_del, c __register_chrdev, c __unregister_chrdev,
];
