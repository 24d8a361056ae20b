//! Platform devices: what no bus can find by itself, made by whoever knows of it.

use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::hardware::DeviceId;
use ferrmod_kernel::hardware::description::PlatformDevice;
use ferrmod_kernel::{Errno, kernel};

use super::layout::{device, device_driver};
use super::{buses, described, driver, object};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{iomem, kobject, ram, slab, symbols};

layout! {
    mod platform_device = "platform_device" {
        name, id, id_auto, dev, platform_dma_mask, num_resources, resource, id_entry, driver_override,
    }
    mod platform_device_info = "platform_device_info" { parent, fwnode, name, id, res, num_res, data, size_data, dma_mask }
    mod platform_driver = "platform_driver" { probe, remove, remove_new, driver, id_table }
    mod platform_device_id = "platform_device_id" { name }
    mod resource = "resource" { start, end, name, flags }
    mod dma = "device" { dma_mask, coherent_dma_mask, platform_data, fwnode }
}

/// `IORESOURCE_MEM`, `IORESOURCE_IRQ`
const MEMORY: u64 = 0x200;
const IRQ: u64 = 0x400;
/// `PLATFORM_DEVID_NONE`, `PLATFORM_DEVID_AUTO`
const NONE: i32 = -1;
const AUTO: i32 = -2;
/// `IORESOURCE_TYPE_BITS`
const TYPE: u64 = 0x1f00;
const LOW: u64 = 0xffff_ffff;

/// The device that platform devices without a parent lie below.
static ROOT: Datum = Datum::new("platform_bus", 4096, Begin::Zero);

/// Makes the device that platform devices lie below.
pub(crate) fn begin() {
    super::begin(ROOT.address());
    let named = kobject::set_name(object(ROOT.address()), b"platform", 0);
    // Without memory platform devices are refused.
    let _ = named.and_then(|()| super::add_for(ROOT.address(), 0));
}

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&ROOT];

fn of_device(dev: u64) -> u64 {
    platform_device::dev.container(dev)
}

/// The release function of devices made here: name, resources and data go with them.
extern "C" fn platform_device_release(dev: u64) {
    let made = of_device(dev);
    // SAFETY: a device that `allocate` made.
    unsafe {
        for block in [dma::platform_data.get::<u64>(dev), platform_device::resource.get(made)] {
            if kernel().heap.find(block).is_some_and(|found| found.start == block) {
                slab::release(block, 0);
            }
        }
    }
    slab::release(made, 0);
}

fn allocate(name: &[u8], id: i32, caller: u64) -> u64 {
    let size = platform_device::SIZE.get();
    let made = slab::allocate(size + name.len() as u64 + 1, 8, slab::ZERO, caller);
    if made != 0 {
        // SAFETY: a zeroed block with room for the struct and the name.
        unsafe {
            ram::bytes_mut(made + size, name.len() as u64).copy_from_slice(name);
            platform_device::name.set(made, made + size);
            platform_device::id.set(made, id);
        }
        let dev = platform_device::dev.at(made);
        super::begin(dev);
        // SAFETY: as above.
        unsafe { device::release.set(dev, symbols::address("platform_device_release").unwrap_or(0)) };
        begin_dma(made);
    }
    made
}

fn begin_dma(made: u64) {
    let dev = platform_device::dev.at(made);
    // SAFETY: a platform device.
    unsafe {
        if dma::coherent_dma_mask.get::<u64>(dev) == 0 {
            dma::coherent_dma_mask.set(dev, LOW);
        }
        if dma::dma_mask.get::<u64>(dev) == 0 {
            platform_device::platform_dma_mask.set(made, LOW);
            dma::dma_mask.set(dev, platform_device::platform_dma_mask.at(made));
        }
    }
}

fn copy(from: u64, length: u64, caller: u64) -> Result<u64, Errno> {
    if from == 0 || length == 0 {
        return Ok(0);
    }
    let at = slab::allocate(length, 8, 0, caller);
    if at == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the caller's bytes and our own block.
    unsafe { ram::copy(at, from, length) };
    Ok(at)
}

fn add_resources(made: u64, from: u64, count: u32, caller: u64) -> Result<(), Errno> {
    let block = copy(from, u64::from(count) * resource::SIZE.get(), caller)?;
    // SAFETY: a platform device.
    unsafe {
        slab::release(platform_device::resource.get(made), caller);
        platform_device::resource.set(made, block);
        platform_device::num_resources.set(made, count);
    }
    Ok(())
}
fn add_data(made: u64, from: u64, length: u64, caller: u64) -> Result<(), Errno> {
    let block = copy(from, length, caller)?;
    let dev = platform_device::dev.at(made);
    // SAFETY: a platform device.
    unsafe {
        slab::release(dma::platform_data.get(dev), caller);
        dma::platform_data.set(dev, block);
    }
    Ok(())
}

fn add(made: u64, caller: u64) -> Result<(), Errno> {
    if made == 0 {
        return Err(Errno::EINVAL);
    }
    let dev = platform_device::dev.at(made);
    // SAFETY: a platform device.
    unsafe {
        if device::parent.get::<u64>(dev) == 0 {
            device::parent.set(dev, ROOT.address());
        }
        device::bus.set(dev, buses::PLATFORM.address());
        let name = ram::c_string(platform_device::name.get(made)).to_str_lossy().into_owned();
        let full = match platform_device::id.get::<i32>(made) {
            NONE => name,
            AUTO => {
                let number = next_number();
                platform_device::id.set(made, number);
                platform_device::id_auto.set(made, true);
                alloc::format!("{name}.{number}.auto")
            }
            number => alloc::format!("{name}.{number}"),
        };
        kobject::set_name(object(dev), full.as_bytes(), caller)?;
    }
    super::add_for(dev, caller).inspect_err(|_| {
        // SAFETY: as above.
        unsafe {
            if platform_device::id_auto.get::<bool>(made) {
                platform_device::id.set(made, AUTO);
            }
        }
    })
}

/// What names the modules that may have a driver for a device.
pub(crate) fn modalias(dev: u64) -> alloc::string::String {
    // SAFETY: a device of this bus, and its C string.
    let name = unsafe { ram::c_string_or_empty(platform_device::name.get(of_device(dev))) };
    alloc::format!("platform:{}", name.to_str_lossy())
}

/// Makes the device that was described.
///
/// # Errors
/// As [`add`].
pub(crate) fn describe(id: DeviceId, wanted: &PlatformDevice) -> Result<(), Errno> {
    let made = allocate(wanted.name.as_bytes(), wanted.id.map_or(NONE, i32::from), 0);
    if made == 0 {
        return Err(Errno::ENOMEM);
    }
    let windows = kernel().hardware.windows(id).into_iter().map(|(_, _, range)| (range.start, range.end - 1, MEMORY));
    let lines = wanted.line.into_iter().map(|line| (line.into(), line.into(), IRQ));
    let all: Vec<(u64, u64, u64)> = windows.chain(lines).collect();
    let size = resource::SIZE.get();
    let block = slab::allocate(size * all.len() as u64, 8, slab::ZERO, 0);
    let added = if block == 0 && !all.is_empty() {
        Err(Errno::ENOMEM)
    } else {
        for (number, &(start, end, flags)) in all.iter().enumerate() {
            let at = block + number as u64 * size;
            // SAFETY: a zeroed block with room for so many.
            unsafe {
                resource::start.set(at, start);
                resource::end.set(at, end);
                resource::flags.set(at, flags);
                resource::name.set(at, platform_device::name.get::<u64>(made));
            }
        }
        // SAFETY: a platform device.
        unsafe {
            platform_device::resource.set(made, block);
            platform_device::num_resources.set(made, all.len() as u32);
        }
        described::remember(id, platform_device::dev.at(made));
        add(made, 0)
    };
    added.inspect_err(|_| platform_device_put(made))
}

fn next_number() -> i32 {
    use core::sync::atomic::{AtomicI32, Ordering};
    static NEXT: AtomicI32 = AtomicI32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

extern "C" fn platform_device_alloc(name: u64, id: i32) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's C string.
    allocate(unsafe { ram::c_string(name) }, id, caller)
}
extern "C" fn platform_device_add_resources(made: u64, from: u64, count: u32) -> i32 {
    let caller = ram::caller();
    Errno::returned(add_resources(made, from, count, caller))
}
extern "C" fn platform_device_add_data(made: u64, from: u64, length: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(add_data(made, from, length, caller))
}
extern "C" fn platform_device_add(made: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(add(made, caller))
}
extern "C" fn platform_device_register(made: u64) -> i32 {
    let caller = ram::caller();
    super::begin(platform_device::dev.at(made));
    begin_dma(made);
    Errno::returned(add(made, caller))
}
extern "C" fn platform_device_del(made: u64) {
    if made != 0 && Errno::from_pointer(made).is_none() {
        super::delete(platform_device::dev.at(made));
    }
}
extern "C" fn platform_device_put(made: u64) {
    if made != 0 && Errno::from_pointer(made).is_none() {
        kobject::put(object(platform_device::dev.at(made)));
    }
}
extern "C" fn platform_device_unregister(made: u64) {
    platform_device_del(made);
    platform_device_put(made);
}
/// `struct platform_device *platform_device_register_full(const struct platform_device_info *)`
extern "C" fn platform_device_register_full(info: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's description.
    unsafe {
        let made =
            allocate(ram::c_string(platform_device_info::name.get(info)), platform_device_info::id.get(info), caller);
        if made == 0 {
            return Errno::ENOMEM.to_pointer();
        }
        let dev = platform_device::dev.at(made);
        device::parent.set(dev, platform_device_info::parent.get::<u64>(info));
        dma::fwnode.set(dev, platform_device_info::fwnode.get::<u64>(info));
        let mask: u64 = platform_device_info::dma_mask.get(info);
        if mask != 0 {
            platform_device::platform_dma_mask.set(made, mask);
            dma::coherent_dma_mask.set(dev, mask);
        }
        let count: u32 = platform_device_info::num_res.get(info);
        let added = add_resources(made, platform_device_info::res.get(info), count, caller)
            .and_then(|()| {
                add_data(made, platform_device_info::data.get(info), platform_device_info::size_data.get(info), caller)
            })
            .and_then(|()| add(made, caller));
        match added {
            Ok(()) => made,
            Err(errno) => {
                platform_device_put(made);
                errno.to_pointer()
            }
        }
    }
}

/// The resources of a device.
fn resources(made: u64) -> Vec<u64> {
    // SAFETY: a platform device and its array.
    unsafe {
        let first: u64 = platform_device::resource.get(made);
        let count: u32 = platform_device::num_resources.get(made);
        (0..u64::from(count)).map(|number| first + number * resource::SIZE.get()).collect()
    }
}
extern "C" fn platform_get_resource(made: u64, kind: u32, number: u32) -> u64 {
    // SAFETY: the device's resources.
    let mut of_kind =
        resources(made).into_iter().filter(|&at| unsafe { resource::flags.get::<u64>(at) } & TYPE == kind.into());
    of_kind.nth(number as usize).unwrap_or(0)
}
extern "C" fn platform_get_resource_byname(made: u64, kind: u32, name: u64) -> u64 {
    // SAFETY: the device's resources and the module's C string.
    unsafe {
        let name = ram::c_string(name);
        let is = |at: &u64| {
            resource::flags.get::<u64>(*at) & TYPE == kind.into()
                && ram::c_string_or_empty(resource::name.get(*at)) == name
        };
        resources(made).into_iter().find(is).unwrap_or(0)
    }
}

/// The interrupt line of a device with this number among its lines.
fn line(made: u64, number: u32) -> i32 {
    match platform_get_resource(made, IRQ as u32, number) {
        0 => Errno::ENXIO.to_return(),
        // SAFETY: one of the device's resources.
        at => unsafe { resource::start.get::<u64>(at) as i32 },
    }
}
extern "C" fn platform_get_irq(made: u64, number: u32) -> i32 {
    let found = line(made, number);
    if found < 0 {
        let label = super::label(platform_device::dev.at(made));
        kernel().printk(alloc::format!("\x013{label}: error {found}: IRQ index {number} not found\n").as_bytes());
    }
    found
}
extern "C" fn platform_get_irq_optional(made: u64, number: u32) -> i32 {
    line(made, number)
}
extern "C" fn platform_irq_count(made: u64) -> i32 {
    (0..).take_while(|&number| line(made, number) >= 0).count() as i32
}
/// `void __iomem *devm_platform_ioremap_resource(struct platform_device *, unsigned)`
extern "C" fn devm_platform_ioremap_resource(made: u64, number: u32) -> u64 {
    let caller = ram::caller();
    let at = platform_get_resource(made, MEMORY as u32, number);
    iomem::map_resource(platform_device::dev.at(made), at, caller).unwrap_or_else(Errno::to_pointer)
}
/// `void __iomem *devm_platform_get_and_ioremap_resource(struct platform_device *, unsigned, struct resource **)`
extern "C" fn devm_platform_get_and_ioremap_resource(made: u64, number: u32, result: u64) -> u64 {
    let caller = ram::caller();
    let at = platform_get_resource(made, MEMORY as u32, number);
    if result != 0 {
        // SAFETY: the driver's variable.
        unsafe { ram::put(result, at) };
    }
    iomem::map_resource(platform_device::dev.at(made), at, caller).unwrap_or_else(Errno::to_pointer)
}

/// Whether a driver fits a device: by its table of names, else by its own name.
extern "C" fn platform_match(dev: u64, inner: u64) -> i32 {
    let made = of_device(dev);
    // SAFETY: a device and a driver of this bus.
    unsafe {
        let name = ram::c_string(platform_device::name.get(made));
        let forced: u64 = if platform_device::driver_override.offset().is_some() {
            platform_device::driver_override.get(made)
        } else {
            0
        };
        let own = ram::c_string(device_driver::name.get(inner));
        if forced != 0 {
            return (ram::c_string(forced) == own).into();
        }
        let mut entry: u64 = platform_driver::id_table.get(platform_driver::driver.container(inner));
        if entry != 0 {
            while ram::get::<u8>(entry) != 0 {
                if ram::c_string(platform_device_id::name.at(entry)) == name {
                    platform_device::id_entry.set(made, entry);
                    return 1;
                }
                entry += platform_device_id::SIZE.get();
            }
            return 0;
        }
        (name == own).into()
    }
}
fn wrapper(dev: u64) -> u64 {
    // SAFETY: a device of this bus that has a driver.
    platform_driver::driver.container(unsafe { device::driver.get(dev) })
}
extern "C" fn platform_probe(dev: u64) -> i32 {
    // SAFETY: the driver's function.
    unsafe {
        match platform_driver::probe.get::<u64>(wrapper(dev)) {
            0 => 0,
            probe => ram::call(probe, [of_device(dev)]) as i32,
        }
    }
}
extern "C" fn platform_remove(dev: u64) {
    // SAFETY: the driver's functions.
    unsafe {
        let driver = wrapper(dev);
        let newer: u64 =
            if platform_driver::remove_new.offset().is_some() { platform_driver::remove_new.get(driver) } else { 0 };
        let function = if newer != 0 { newer } else { platform_driver::remove.get(driver) };
        if function != 0 {
            ram::call(function, [of_device(dev)]);
        }
    }
}

fn probe_once(driver: u64, probe: u64, owner: u64, caller: u64) -> i32 {
    // SAFETY: the module's driver.
    unsafe { platform_driver::probe.set(driver, probe) };
    let result = buses::platform().register(driver, owner, caller);
    if result != 0 {
        return result;
    }
    if driver::is_used(platform_driver::driver.at(driver)) {
        return 0;
    }
    buses::platform().unregister(driver);
    Errno::ENODEV.to_return()
}
/// `int __platform_driver_probe(struct platform_driver *, int (*probe)(struct platform_device *), struct module *)`
extern "C" fn __platform_driver_probe(driver: u64, probe: u64, owner: u64) -> i32 {
    let caller = ram::caller();
    probe_once(driver, probe, owner, caller)
}
/// `struct platform_device *__platform_create_bundle(driver, probe, res, n_res, data, size, module)`
extern "C" fn __platform_create_bundle(
    driver: u64,
    probe: u64,
    from: u64,
    count: u32,
    data: u64,
    size: u64,
    owner: u64,
) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's driver.
    let made =
        unsafe { allocate(ram::c_string(device_driver::name.get(platform_driver::driver.at(driver))), NONE, caller) };
    if made == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    let added = add_resources(made, from, count, caller)
        .and_then(|()| add_data(made, data, size, caller))
        .and_then(|()| add(made, caller));
    if let Err(errno) = added {
        platform_device_put(made);
        return errno.to_pointer();
    }
    match probe_once(driver, probe, owner, caller) {
        0 => made,
        error => {
            platform_device_unregister(made);
            i64::from(error) as u64
        }
    }
}
extern "C" fn __platform_register_drivers(drivers: u64, count: u32, owner: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's array of `count` drivers.
    let all: Vec<u64> = (0..u64::from(count)).map(|number| unsafe { ram::get(drivers + 8 * number) }).collect();
    for (number, &driver) in all.iter().enumerate() {
        let result = buses::platform().register(driver, owner, caller);
        if result != 0 {
            for &before in all[..number].iter().rev() {
                buses::platform().unregister(before);
            }
            return result;
        }
    }
    0
}
extern "C" fn platform_unregister_drivers(drivers: u64, count: u32) {
    for number in (0..u64::from(count)).rev() {
        // SAFETY: the module's array of `count` drivers.
        buses::platform().unregister(unsafe { ram::get(drivers + 8 * number) });
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c platform_device_release, c platform_device_alloc, c platform_device_add_resources, c platform_device_add_data,
    c platform_device_add, c platform_device_register, c platform_device_del, c platform_device_put,
    c platform_device_unregister, c platform_device_register_full, c platform_get_resource, c platform_get_resource_byname,
    c platform_get_irq, c platform_get_irq_optional, c platform_irq_count, c devm_platform_ioremap_resource,
    c devm_platform_get_and_ioremap_resource, c platform_match, c platform_probe, c platform_remove, c __platform_driver_probe, s1 __platform_create_bundle,
    c __platform_register_drivers, c platform_unregister_drivers,
];
