//! Buses: devices and the drivers that may fit them.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use super::driver;
use super::layout::{bus_attribute, bus_type, device, rw_semaphore, subsys_private};
use crate::export::{Export, exports};
use crate::kobject::{self, kset};
use crate::{locks, notifiers, ram, slab, sysfs};

const KIND: &str = "bus";

/// `BUS_NOTIFY_*` of this kernel (an enumeration since 6.6, with the same order).
pub(crate) const ADDED: &str = "BUS_NOTIFY_ADD_DEVICE";
pub(crate) const REMOVING: &str = "BUS_NOTIFY_DEL_DEVICE";
pub(crate) const REMOVED: &str = "BUS_NOTIFY_REMOVED_DEVICE";
pub(crate) const BINDING: &str = "BUS_NOTIFY_BIND_DRIVER";
pub(crate) const BOUND: &str = "BUS_NOTIFY_BOUND_DRIVER";
pub(crate) const UNBINDING: &str = "BUS_NOTIFY_UNBIND_DRIVER";
pub(crate) const UNBOUND: &str = "BUS_NOTIFY_UNBOUND_DRIVER";
pub(crate) const NOT_BOUND: &str = "BUS_NOTIFY_DRIVER_NOT_BOUND";

/// Their values in kernels where they are macros (before 6.6), in the order of the enumeration.
const EVENTS: [(&str, u64); 8] =
    [(ADDED, 1), (REMOVING, 2), (REMOVED, 3), (BINDING, 4), (BOUND, 5), (UNBINDING, 6), (UNBOUND, 7), (NOT_BOUND, 8)];

/// A bus that is registered.
#[derive(Clone, Copy, Debug)]
struct Bus {
    /// Its `struct subsys_private`.
    private: u64,
    /// The objects of its `devices` and `drivers` directories.
    devices: u64,
    drivers: u64,
}

static BUSES: Lock<Option<HashMap<u64, Bus>>> = Lock::new(None);

fn find(bus: u64) -> Option<Bus> {
    BUSES.lock().as_ref()?.get(&bus).copied()
}

/// Whether a bus is registered.
pub(crate) fn is_registered(bus: u64) -> bool {
    find(bus).is_some()
}

fn bus_object(bus: &Bus) -> u64 {
    kset::kobj.at(subsys_private::subsys.at(bus.private))
}

/// The directory of a bus; `None` when it is not registered.
pub(crate) fn path(bus: u64) -> Option<String> {
    kobject::path(bus_object(&find(bus)?))
}

/// The object of its `drivers` directory.
pub(crate) fn drivers_object(bus: u64) -> Option<u64> {
    Some(kset::kobj.at(find(bus)?.drivers))
}

/// A bus's name.
pub(crate) fn name(bus: u64) -> String {
    // SAFETY: the caller's bus and its C string.
    unsafe { ram::c_string_or_empty(bus_type::name.get(bus)) }.to_str_lossy().into_owned()
}

/// The name of the bus that a device is on; empty without one.
pub(crate) fn of(dev: u64) -> String {
    // SAFETY: a device that is added.
    match unsafe { device::bus.get(dev) } {
        0 => String::new(),
        bus => name(bus),
    }
}

/// Tells a bus's notifier chain that something happened to a device.
pub(crate) fn notify(bus: u64, event: &str, dev: u64) {
    let Some(found) = find(bus) else { return };
    let number = crate::boot::facts()
        .btf()
        .enum_value(event)
        .map(|value| value as u64)
        .or_else(|| EVENTS.iter().find(|(name, _)| *name == event).map(|&(_, value)| value));
    if let Some(number) = number {
        notifiers::call(subsys_private::notifier.at(found.private), number, dev);
    }
}

/// A device came: look for a driver.
pub(crate) fn arrived(dev: u64) {
    // SAFETY: a device that is added.
    if is_registered(unsafe { device::bus.get(dev) }) {
        driver::look_for(dev);
    }
}

/// The devices of a bus, from after `start` (0: from the first) on.
pub(crate) fn devices(bus: u64, start: u64) -> Vec<u64> {
    // SAFETY: devices that are added.
    let mut all: Vec<u64> =
        super::all().into_iter().filter(|&dev| unsafe { device::bus.get::<u64>(dev) } == bus).collect();
    if let Some(place) = all.iter().position(|&dev| dev == start) {
        all.drain(..=place);
    }
    all
}

fn bus_kind() -> u64 {
    static TYPE: spin::Once<u64> = spin::Once::new();
    *TYPE.call_once(|| {
        kobject::make_type("kobject_release_nothing", kobject::operations("bus_attr_show", "bus_attr_store"))
    })
}

/// `/sys/bus` as an object.
fn root() -> u64 {
    static ROOT: spin::Once<u64> = spin::Once::new();
    *ROOT.call_once(|| kobject::make_own("/sys/bus"))
}

/// Registers a bus for whoever called from `caller`.
///
/// # Errors
/// `EEXIST` when the name is taken, `ENOMEM`.
pub(crate) fn register(bus: u64, caller: u64) -> Result<(), Errno> {
    let private = slab::allocate(subsys_private::SIZE.get(), 8, slab::ZERO, caller);
    if private == 0 {
        return Err(Errno::ENOMEM);
    }
    let object = kset::kobj.at(subsys_private::subsys.at(private));
    kobject::init(object, bus_kind());
    kobject::set_parent(object, root());
    // SAFETY: a zeroed block of the struct's size, and the caller's bus.
    let added = unsafe {
        subsys_private::bus.set(private, bus);
        locks::init_list(kset::list.at(subsys_private::subsys.at(private)));
        locks::init_list(subsys_private::interfaces.at(private));
        locks::init_list(rw_semaphore::wait_list.at(subsys_private::notifier_lock.at(private)));
        let name = ram::c_string(bus_type::name.get(bus));
        kobject::set_name(object, name, caller).and_then(|()| kobject::add_as(KIND, object, caller))
    };
    if let Err(errno) = added {
        kobject::put(object);
        slab::release(private, caller);
        return Err(errno);
    }
    let devices = kobject::make_set(b"devices", 0, object, caller);
    let drivers = kobject::make_set(b"drivers", 0, object, caller);
    let made = Bus { private, devices, drivers };
    let groups = if devices == 0 || drivers == 0 {
        Err(Errno::ENOMEM)
    } else {
        // SAFETY: the caller's bus.
        sysfs::add_groups(object, unsafe { bus_type::bus_groups.get(bus) })
    };
    if let Err(errno) = groups {
        take_apart(&made);
        return Err(errno);
    }
    // SAFETY: the caller's bus and our own block.
    unsafe {
        subsys_private::devices_kset.set(private, devices);
        subsys_private::drivers_kset.set(private, drivers);
        if bus_type::p.offset().is_some() {
            bus_type::p.set(bus, private);
        }
    }
    BUSES.lock().get_or_insert_default().insert(bus, made);
    Ok(())
}

fn take_apart(bus: &Bus) {
    for set in [bus.drivers, bus.devices].into_iter().filter(|&set| set != 0) {
        kobject::delete(kset::kobj.at(set));
        kobject::put(kset::kobj.at(set));
    }
    let object = bus_object(bus);
    kobject::delete(object);
    kobject::put(object);
    slab::release(bus.private, 0);
}

extern "C" fn bus_register(bus: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(bus, caller))
}
extern "C" fn bus_unregister(bus: u64) {
    let Some(found) = BUSES.lock().as_mut().and_then(|buses| buses.remove(&bus)) else { return };
    // SAFETY: the caller's bus.
    unsafe {
        if bus_type::p.offset().is_some() {
            bus_type::p.set(bus, 0u64);
        }
    }
    take_apart(&found);
}
extern "C" fn bus_create_file(bus: u64, attribute: u64) -> i32 {
    match find(bus) {
        Some(found) => Errno::returned(sysfs::add_file(bus_object(&found), "", attribute, None)),
        None => Errno::EINVAL.to_return(),
    }
}
extern "C" fn bus_remove_file(bus: u64, attribute: u64) {
    if let Some(path) = path(bus) {
        // SAFETY: the module's attribute and its C string.
        let name = unsafe { ram::c_string_or_empty(sysfs::attribute::name.get(attribute)) };
        kernel().files.remove(&alloc::format!("{path}/{}", name.to_str_lossy()));
    }
}

fn of_object(object: u64) -> u64 {
    let private = subsys_private::subsys.container(kset::kobj.container(object));
    // SAFETY: the object of a registered bus.
    unsafe { subsys_private::bus.get(private) }
}
extern "C" fn bus_attr_show(object: u64, attribute: u64, buffer: u64) -> i64 {
    // SAFETY: the attribute of a bus and its function.
    unsafe {
        match bus_attribute::show.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            show => ram::call(show, [of_object(object), buffer]) as i64,
        }
    }
}
extern "C" fn bus_attr_store(object: u64, attribute: u64, buffer: u64, count: u64) -> i64 {
    // SAFETY: as above.
    unsafe {
        match bus_attribute::store.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            store => ram::call(store, [of_object(object), buffer, count]) as i64,
        }
    }
}

extern "C" fn bus_for_each_dev(bus: u64, start: u64, data: u64, function: u64) -> i32 {
    super::each(devices(bus, start), data, function)
}
extern "C" fn bus_find_device(bus: u64, start: u64, data: u64, function: u64) -> u64 {
    super::find(devices(bus, start), data, function)
}
extern "C" fn bus_for_each_drv(bus: u64, start: u64, data: u64, function: u64) -> i32 {
    let mut all = driver::of_bus(bus);
    if let Some(place) = all.iter().position(|&other| other == start) {
        all.drain(..place);
    }
    super::each(all, data, function)
}
extern "C" fn bus_register_notifier(bus: u64, block: u64) -> i32 {
    let Some(found) = find(bus) else { return Errno::EINVAL.to_return() };
    Errno::returned(notifiers::register(subsys_private::notifier.at(found.private), block, false))
}
extern "C" fn bus_unregister_notifier(bus: u64, block: u64) -> i32 {
    let Some(found) = find(bus) else { return Errno::EINVAL.to_return() };
    Errno::returned(notifiers::unregister(subsys_private::notifier.at(found.private), block))
}
extern "C" fn bus_rescan_devices(bus: u64) -> i32 {
    for dev in devices(bus, 0) {
        driver::look_for(dev);
    }
    0
}
extern "C" fn bus_get_kset(bus: u64) -> u64 {
    find(bus).map_or(0, |found| subsys_private::subsys.at(found.private))
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c bus_register, c bus_unregister, c bus_create_file, c bus_remove_file, c bus_attr_show, c bus_attr_store,
    c bus_for_each_dev, c bus_find_device, c bus_for_each_drv, c bus_register_notifier, c bus_unregister_notifier,
    c bus_rescan_devices, c bus_get_kset,
];
