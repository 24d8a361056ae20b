//! Drivers: what a bus offers its devices to.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::layout::{bus_type, device, device_driver, driver_attribute, driver_private};
use super::{bus, deferred, devres, object};
use crate::export::{Export, exports};
use crate::kobject;
use crate::{module, ram, slab, sysfs, uevent};

const KIND: &str = "driver";

/// Bus and driver, in the order of registration.
static DRIVERS: Lock<Vec<(u64, u64)>> = Lock::new(Vec::new());

/// What the drivers that were offered a device answered, oldest first.
static PROBES: Lock<Vec<(u64, String, i32)>> = Lock::new(Vec::new());
/// So many answers are kept for one device.
const KEPT: usize = 16;

/// The drivers that were offered a device, and what their `probe` returned.
pub(crate) fn probes(dev: u64) -> Vec<(String, i32)> {
    let probes = PROBES.lock();
    probes.iter().filter(|(other, ..)| *other == dev).map(|(_, name, result)| (name.clone(), *result)).collect()
}

fn remember(dev: u64, driver: u64, result: i32) {
    let name = name(driver);
    let mut probes = PROBES.lock();
    if probes.iter().filter(|(other, ..)| *other == dev).count() < KEPT {
        probes.push((dev, name, result));
    }
}

/// Forgets what was answered for a device that goes.
pub(crate) fn forget(dev: u64) {
    PROBES.lock().retain(|(other, ..)| *other != dev);
    deferred::forget(dev);
}

/// The drivers of a bus.
pub(crate) fn of_bus(bus: u64) -> Vec<u64> {
    DRIVERS.lock().iter().filter(|(other, _)| *other == bus).map(|&(_, driver)| driver).collect()
}

/// A driver's name.
pub(crate) fn name(driver: u64) -> String {
    // SAFETY: the caller's driver and its C string.
    unsafe { ram::c_string_or_empty(device_driver::name.get(driver)) }.to_str_lossy().into_owned()
}

fn driver_object(driver: u64) -> u64 {
    // SAFETY: a driver that is registered.
    driver_private::kobj.at(unsafe { device_driver::p.get(driver) })
}

fn driver_kind() -> u64 {
    static TYPE: spin::Once<u64> = spin::Once::new();
    *TYPE.call_once(|| kobject::make_type("driver_release", kobject::operations("drv_attr_show", "drv_attr_store")))
}

extern "C" fn driver_release(object: u64) {
    slab::release(driver_private::kobj.container(object), 0);
}

/// Registers a driver for whoever called from `caller`, and offers it the devices of its bus.
///
/// # Errors
/// `EINVAL` when the bus is not registered, `EBUSY` when it has a driver of that name, `ENOMEM`.
pub(crate) fn register(driver: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the caller's driver.
    let bus: u64 = unsafe { device_driver::bus.get(driver) };
    let name = name(driver);
    let Some(above) = bus::drivers_object(bus) else {
        let bus = if bus == 0 { String::new() } else { bus::name(bus) };
        kernel().printk(alloc::format!(
            "\x013Driver '{name}' was unable to register with bus_type '{bus}' because the bus was not initialized.\n"
        ).as_bytes());
        return Err(Errno::EINVAL);
    };
    if of_bus(bus).into_iter().any(|other| self::name(other) == name) {
        kernel().printk(alloc::format!("\x013Error: Driver '{name}' is already registered, aborting...\n").as_bytes());
        return Err(Errno::EBUSY);
    }
    let private = slab::allocate(driver_private::SIZE.get(), 8, slab::ZERO, caller);
    if private == 0 {
        return Err(Errno::ENOMEM);
    }
    let object = driver_private::kobj.at(private);
    kobject::init(object, driver_kind());
    kobject::set_parent(object, above);
    // SAFETY: a zeroed block of the struct's size, and the caller's driver.
    unsafe {
        driver_private::driver.set(private, driver);
        device_driver::p.set(driver, private);
    }
    let added = kobject::set_name(object, name.as_bytes(), caller)
        .and_then(|()| kobject::add_as(KIND, object, caller))
        .and_then(|()| show(driver, bus));
    if let Err(errno) = added {
        // SAFETY: as above.
        unsafe { device_driver::p.set(driver, 0u64) };
        kobject::delete(object);
        kobject::put(object);
        return Err(errno);
    }
    DRIVERS.lock().push((bus, driver));
    uevent::send(object, "add", &[]);
    for dev in bus::devices(bus, 0) {
        if !is_bound(dev) && fits(dev, driver) {
            // What a probe answers decides about its device alone.
            let _ = bind(dev, driver);
        }
    }
    Ok(())
}

/// Adds a file to a driver that is registered.
///
/// # Errors
/// `EEXIST` when the name is taken.
pub(crate) fn add_file(driver: u64, name: &str, file: files::Node) -> Result<(), Errno> {
    let path = kobject::path(driver_object(driver)).ok_or(Errno::ENOENT)?;
    kernel().files.add(&alloc::format!("{path}/{name}"), file)
}

/// Attribute groups, `bind`, `unbind`, and the link to the module.
fn show(driver: u64, bus: u64) -> Result<(), Errno> {
    let object = driver_object(driver);
    let path = kobject::path(object).ok_or(Errno::ENOENT)?;
    // SAFETY: the caller's driver and its bus.
    unsafe {
        sysfs::add_groups(object, bus_type::drv_groups.get(bus))?;
        sysfs::add_groups(object, device_driver::groups.get(driver))?;
        if let Some(owner) = module::at(device_driver::owner.get(driver)) {
            sysfs::add_link(&path, &alloc::format!("/sys/module/{}", owner.name), "module")?;
            owner.add_driver(alloc::format!("{}:{}", bus::name(bus), name(driver)), path.clone());
        }
    }
    let named = move |bytes: &[u8]| {
        let wanted = bytes.to_str_lossy().trim_end().to_string();
        bus::devices(bus, 0).into_iter().find(|&dev| super::name(dev) == wanted).ok_or(Errno::ENODEV)
    };
    let unreadable = || Err(Errno::EACCES);
    let bind_file = files::read_write(0o200, unreadable, move |bytes: &[u8]| {
        let dev = named(bytes)?;
        if is_bound(dev) || !fits(dev, driver) {
            return Err(Errno::ENODEV);
        }
        bind(dev, driver).map(|()| bytes.len())
    });
    let unbind_file = files::read_write(0o200, unreadable, move |bytes: &[u8]| {
        let dev = named(bytes)?;
        // SAFETY: a device that is added.
        if unsafe { device::driver.get::<u64>(dev) } != driver {
            return Err(Errno::ENODEV);
        }
        release(dev);
        Ok(bytes.len())
    });
    kernel().files.add(&alloc::format!("{path}/bind"), bind_file)?;
    kernel().files.add(&alloc::format!("{path}/unbind"), unbind_file)
}

/// Takes a driver away from its devices and its bus.
pub(crate) fn unregister(driver: u64) {
    let known = {
        let mut drivers = DRIVERS.lock();
        let before = drivers.len();
        drivers.retain(|&(_, other)| other != driver);
        drivers.len() != before
    };
    if !known {
        kernel().warn("Unexpected driver unregister!", ram::caller());
        return;
    }
    for dev in bound_to(driver) {
        release(dev);
    }
    // SAFETY: the caller's driver.
    let (of, owner): (u64, u64) = unsafe { (device_driver::bus.get(driver), device_driver::owner.get(driver)) };
    if let Some(owner) = module::at(owner) {
        owner.remove_driver(&alloc::format!("{}:{}", bus::name(of), name(driver)));
    }
    let object = driver_object(driver);
    kobject::delete(object);
    // SAFETY: the caller's driver.
    unsafe { device_driver::p.set(driver, 0u64) };
    kobject::put(object);
}

fn is_bound(dev: u64) -> bool {
    // SAFETY: a device that is added.
    unsafe { device::driver.get::<u64>(dev) != 0 }
}

/// Whether any device has this driver.
pub(crate) fn is_used(driver: u64) -> bool {
    !bound_to(driver).is_empty()
}

fn bound_to(driver: u64) -> Vec<u64> {
    // SAFETY: devices that are added.
    super::all().into_iter().filter(|&dev| unsafe { device::driver.get::<u64>(dev) } == driver).collect()
}

/// Whether the bus says that the driver fits the device.
fn fits(dev: u64, driver: u64) -> bool {
    // SAFETY: a device that is added, and its bus's function.
    unsafe {
        let bus: u64 = device::bus.get(dev);
        let matches: u64 = bus_type::match_.get(bus);
        matches == 0 || ram::call(matches, [dev, driver]) as i32 > 0
    }
}

/// Offers a device to the drivers of its bus until one takes it.
pub(crate) fn look_for(dev: u64) {
    if is_bound(dev) {
        return;
    }
    // SAFETY: a device that is added.
    for driver in of_bus(unsafe { device::bus.get(dev) }) {
        if fits(dev, driver) && bind(dev, driver).is_ok() {
            return;
        }
    }
}

/// Gives a device to a driver: its `probe` decides.
///
/// # Errors
/// What `probe` answers.
pub(crate) fn bind(dev: u64, driver: u64) -> Result<(), Errno> {
    // SAFETY: a device that is added, its bus and the driver.
    let (bus, probe, driver_probe): (u64, u64, u64) = unsafe {
        let bus: u64 = device::bus.get(dev);
        device::driver.set(dev, driver);
        (bus, bus_type::probe.get(bus), device_driver::probe.get(driver))
    };
    bus::notify(bus, bus::BINDING, dev);
    let link = kobject::path(object(dev)).zip(kobject::path(driver_object(driver)));
    if let Some((device, driver)) = &link {
        // The names are those of the driver core, so that nothing is in the way.
        let _ = sysfs::add_link(driver, device, &super::name(dev));
        let _ = sysfs::add_link(device, driver, "driver");
    }
    let function = if probe != 0 { probe } else { driver_probe };
    // SAFETY: the bus's or the driver's function takes the device.
    let result = if function == 0 { 0 } else { unsafe { ram::call(function, [dev]) as i32 } };
    remember(dev, driver, result);
    if let Some(errno) = Errno::from_return(result.into()) {
        bus::notify(bus, bus::NOT_BOUND, dev);
        unlink(dev, driver);
        devres::release_all(dev);
        // SAFETY: as above.
        unsafe {
            device::driver.set(dev, 0u64);
            device::driver_data.set(dev, 0u64);
        }
        if errno == deferred::EPROBE_DEFER {
            deferred::add(dev);
        } else if errno != Errno::ENODEV && errno != Errno::ENXIO {
            let text =
                alloc::format!("\x014{}: probe of {} failed with error {result}\n", name(driver), super::name(dev));
            kernel().printk(text.as_bytes());
        }
        return Err(errno);
    }
    // SAFETY: the driver's groups.
    let _ = sysfs::add_groups(object(dev), unsafe { device_driver::dev_groups.get(driver) });
    bus::notify(bus, bus::BOUND, dev);
    uevent::send(object(dev), "bind", &[]);
    deferred::forget(dev);
    deferred::retry();
    Ok(())
}

fn unlink(dev: u64, driver: u64) {
    if let Some((device, driver)) = kobject::path(object(dev)).zip(kobject::path(driver_object(driver))) {
        kernel().files.remove(&alloc::format!("{driver}/{}", super::name(dev)));
        kernel().files.remove(&alloc::format!("{device}/driver"));
    }
}

/// Takes a device from its driver, if it has one.
pub(crate) fn release(dev: u64) {
    // SAFETY: a device that is added, its bus and its driver.
    let (bus, driver): (u64, u64) = unsafe { (device::bus.get(dev), device::driver.get(dev)) };
    if driver == 0 {
        return;
    }
    bus::notify(bus, bus::UNBINDING, dev);
    // SAFETY: as above; the bus's or the driver's function takes the device.
    unsafe {
        sysfs::remove_groups(object(dev), device_driver::dev_groups.get(driver));
        let of_bus: u64 = if bus == 0 { 0 } else { bus_type::remove.get(bus) };
        let of_driver: u64 = device_driver::remove.get(driver);
        let function = if of_bus != 0 { of_bus } else { of_driver };
        if function != 0 {
            ram::call(function, [dev]);
        }
    }
    if bus::is_registered(bus) {
        unlink(dev, driver);
    }
    devres::release_all(dev);
    // SAFETY: as above.
    unsafe {
        device::driver.set(dev, 0u64);
        device::driver_data.set(dev, 0u64);
    }
    bus::notify(bus, bus::UNBOUND, dev);
    uevent::send(object(dev), "unbind", &[]);
}

extern "C" fn driver_register(driver: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(driver, caller))
}
extern "C" fn driver_unregister(driver: u64) {
    unregister(driver);
}
extern "C" fn driver_find(wanted: u64, bus: u64) -> u64 {
    // SAFETY: the module's C string.
    let wanted = unsafe { ram::c_string(wanted) };
    of_bus(bus).into_iter().find(|&driver| name(driver).as_bytes() == wanted).unwrap_or(0)
}
/// Offers a driver the devices of its bus that have none.
pub(crate) fn attach(driver: u64) {
    // SAFETY: a driver that is registered.
    for dev in bus::devices(unsafe { device_driver::bus.get(driver) }, 0) {
        if !is_bound(dev) && fits(dev, driver) {
            // As in `register`.
            let _ = bind(dev, driver);
        }
    }
}
extern "C" fn driver_attach(driver: u64) -> i32 {
    attach(driver);
    0
}
extern "C" fn driver_create_file(driver: u64, attribute: u64) -> i32 {
    if driver == 0 {
        return Errno::EINVAL.to_return();
    }
    Errno::returned(sysfs::add_file(driver_object(driver), "", attribute, None))
}
extern "C" fn driver_remove_file(driver: u64, attribute: u64) {
    if let Some(path) = (driver != 0).then(|| kobject::path(driver_object(driver))).flatten() {
        // SAFETY: the module's attribute and its C string.
        let name = unsafe { ram::c_string_or_empty(sysfs::attribute::name.get(attribute)) };
        kernel().files.remove(&alloc::format!("{path}/{}", name.to_str_lossy()));
    }
}
extern "C" fn driver_for_each_device(driver: u64, start: u64, data: u64, function: u64) -> i32 {
    let mut all = bound_to(driver);
    if let Some(place) = all.iter().position(|&dev| dev == start) {
        all.drain(..=place);
    }
    super::each(all, data, function)
}
extern "C" fn driver_find_device(driver: u64, _start: u64, data: u64, function: u64) -> u64 {
    super::find(bound_to(driver), data, function)
}
extern "C" fn device_attach(dev: u64) -> i32 {
    look_for(dev);
    is_bound(dev).into()
}
extern "C" fn device_bind_driver(dev: u64) -> i32 {
    // SAFETY: the caller's device, whose driver is set already.
    let driver: u64 = unsafe { device::driver.get(dev) };
    if let Some((device, driver)) = kobject::path(object(dev)).zip(kobject::path(driver_object(driver))) {
        // As in `bind`.
        let _ = sysfs::add_link(&driver, &device, &super::name(dev));
        let _ = sysfs::add_link(&device, &driver, "driver");
    }
    0
}
extern "C" fn device_driver_attach(driver: u64, dev: u64) -> i32 {
    if is_bound(dev) {
        return Errno::EBUSY.to_return();
    }
    Errno::returned(bind(dev, driver))
}
extern "C" fn device_release_driver(dev: u64) {
    release(dev);
}
extern "C" fn device_reprobe(dev: u64) -> i32 {
    release(dev);
    device_attach(dev)
}

fn of_object(object: u64) -> u64 {
    // SAFETY: the object of a driver that is registered.
    unsafe { driver_private::driver.get(driver_private::kobj.container(object)) }
}
extern "C" fn drv_attr_show(object: u64, attribute: u64, buffer: u64) -> i64 {
    // SAFETY: the attribute of a driver and its function.
    unsafe {
        match driver_attribute::show.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            show => ram::call(show, [of_object(object), buffer]) as i64,
        }
    }
}
extern "C" fn drv_attr_store(object: u64, attribute: u64, buffer: u64, count: u64) -> i64 {
    // SAFETY: as above.
    unsafe {
        match driver_attribute::store.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            store => ram::call(store, [of_object(object), buffer, count]) as i64,
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c driver_release, c driver_register, c driver_unregister, c driver_find, c driver_attach, c driver_create_file,
    c driver_remove_file, c driver_for_each_device, c driver_find_device, c device_attach, c device_bind_driver,
    c device_driver_attach, c device_release_driver, c device_reprobe, c drv_attr_show, c drv_attr_store,
];
