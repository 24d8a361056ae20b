//! The PCI core: functions on the one bus of a machine, and their drivers.

use alloc::string::String;
use alloc::vec::Vec;

use ferrmod_kernel::hardware::DeviceId;
use ferrmod_kernel::hardware::config_space::ConfigSpace;
use ferrmod_kernel::hardware::description::PciDevice;
use ferrmod_kernel::{Errno, files, kernel};

use crate::boot::facts;
use crate::device as devices;
use crate::device::described::{self, device_of, id_of};
use crate::device::layout::device;
use crate::device::{buses, object};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{kobject, locks, power, ram, slab, symbols};

pub(crate) mod config;
pub(crate) mod enable;
pub(crate) mod ids;
pub(crate) mod interrupts;

layout! {
    pub(crate) mod pci_dev = "pci_dev" {
        bus, devfn, vendor, device, subsystem_vendor, subsystem_device, class, revision, pin, driver, dma_mask, dev, cfg_size, irq,
        resource, error_state, pcie_cap, msi_cap, pm_cap, saved = "saved_config_space", bus_list, dma_parms,
    }
    mod pci_bus = "pci_bus" { sysdata, name, node, children, devices }
    mod pci_driver = "pci_driver" { id_table, probe, remove, driver }
    mod pci_device_id = "pci_device_id" { vendor, device, subvendor, subdevice, class, class_mask, driver_data }
    pub(crate) mod resource = "resource" { start, end, flags }
    mod dma = "device" { dma_mask, coherent_dma_mask, dma_parms }
}

/// `PCI_ANY_ID`
const ANY: u32 = u32::MAX;
/// `IORESOURCE_IO`, `IORESOURCE_MEM`
pub(crate) const PORTS: u64 = 0x100;
pub(crate) const MEMORY: u64 = 0x200;
/// `pci_channel_io_normal`
const NORMAL: u32 = 1;
/// `PCI_CAP_ID_PM`, `PCI_CAP_ID_MSI`, `PCI_CAP_ID_EXP`
const POWER: u8 = 0x01;
pub(crate) const MESSAGES: u8 = 0x05;
pub(crate) const EXPRESS: u8 = 0x10;

fn of_device(dev: u64) -> u64 {
    pci_dev::dev.container(dev)
}

/// The description behind a function.
pub(crate) fn id(function: u64) -> Option<DeviceId> {
    if function == 0 { None } else { id_of(pci_dev::dev.at(function)) }
}

/// Uses the configuration space of a function.
pub(crate) fn with_config<T>(function: u64, use_it: impl FnOnce(&mut ConfigSpace) -> T) -> Option<T> {
    kernel().hardware.with_config(id(function)?, use_it)
}

/// Sets a member that is one bit wide, where this kernel's struct has it.
pub(crate) fn set_bit(function: u64, member: &str, on: bool) {
    let found = facts().btf().struct_named("pci_dev").and_then(|found| found.member(member));
    if let Some(found) = found {
        let (byte, bit) = (function + u64::from(found.bit_offset as u32 / 8), found.bit_offset % 8);
        // SAFETY: a byte of the function's struct.
        unsafe { ram::put(byte, ram::get::<u8>(byte) & !(1 << bit) | u8::from(on) << bit) };
    }
}

/// The bus, whose functions are found by their number alone.
fn root_bus() -> Result<u64, Errno> {
    static BUS: spin::Once<Result<u64, Errno>> = spin::Once::new();
    *BUS.call_once(|| {
        /// `struct pci_sysdata` of any kernel fits into this; its domain is 0.
        const SYSDATA: u64 = 256;
        let bus = slab::allocate(pci_bus::SIZE.get(), 8, slab::ZERO, 0);
        let sysdata = slab::allocate(SYSDATA, 8, slab::ZERO, 0);
        if bus == 0 || sysdata == 0 {
            return Err(Errno::ENOMEM);
        }
        let name = b"PCI Bus 0000:00";
        // SAFETY: a zeroed block of the struct's size.
        unsafe {
            pci_bus::sysdata.set(bus, sysdata);
            ram::bytes_mut(pci_bus::name.at(bus), name.len() as u64).copy_from_slice(name);
            for list in [&pci_bus::node, &pci_bus::children, &pci_bus::devices] {
                locks::init_list(list.at(bus));
            }
        }
        Ok(bus)
    })
}

/// The device that functions lie below.
fn root() -> Result<u64, Errno> {
    static ROOT: spin::Once<Result<u64, Errno>> = spin::Once::new();
    *ROOT.call_once(|| devices::make_root(b"pci0000:00"))
}

/// What names the modules that may have a driver for a function.
pub(crate) fn modalias(dev: u64) -> String {
    let function = of_device(dev);
    // SAFETY: a function.
    unsafe {
        let class: u32 = pci_dev::class.get(function);
        alloc::format!(
            "pci:v{:08X}d{:08X}sv{:08X}sd{:08X}bc{:02X}sc{:02X}i{:02X}",
            pci_dev::vendor.get::<u16>(function),
            pci_dev::device.get::<u16>(function),
            pci_dev::subsystem_vendor.get::<u16>(function),
            pci_dev::subsystem_device.get::<u16>(function),
            class >> 16 & 0xff,
            class >> 8 & 0xff,
            class & 0xff
        )
    }
}

fn is_function(dev: u64) -> bool {
    // SAFETY: a device that is added.
    unsafe { device::bus.get::<u64>(dev) == buses::PCI.address() }
}

/// What the events of a function say besides its modalias; nothing for other devices.
pub(crate) fn variables(dev: u64) -> Vec<String> {
    if !is_function(dev) {
        return Vec::new();
    }
    let function = of_device(dev);
    // SAFETY: a function.
    unsafe {
        alloc::vec![
            alloc::format!("PCI_CLASS={:04X}", pci_dev::class.get::<u32>(function)),
            alloc::format!(
                "PCI_ID={:04X}:{:04X}",
                pci_dev::vendor.get::<u16>(function),
                pci_dev::device.get::<u16>(function)
            ),
            alloc::format!(
                "PCI_SUBSYS_ID={:04X}:{:04X}",
                pci_dev::subsystem_vendor.get::<u16>(function),
                pci_dev::subsystem_device.get::<u16>(function)
            ),
            alloc::format!("PCI_SLOT_NAME={}", devices::name(dev)),
        ]
    }
}

/// Adds the files of a function.
///
/// # Errors
/// `EEXIST`, `ENOENT`.
pub(crate) fn show(dev: u64, path: &str) -> Result<(), Errno> {
    if !is_function(dev) {
        return Ok(());
    }
    let function = of_device(dev);
    // SAFETY: a function.
    let fixed = unsafe {
        [
            ("vendor", alloc::format!("{:#06x}\n", pci_dev::vendor.get::<u16>(function))),
            ("device", alloc::format!("{:#06x}\n", pci_dev::device.get::<u16>(function))),
            ("subsystem_vendor", alloc::format!("{:#06x}\n", pci_dev::subsystem_vendor.get::<u16>(function))),
            ("subsystem_device", alloc::format!("{:#06x}\n", pci_dev::subsystem_device.get::<u16>(function))),
            ("class", alloc::format!("{:#08x}\n", pci_dev::class.get::<u32>(function))),
            ("revision", alloc::format!("{:#04x}\n", pci_dev::revision.get::<u8>(function))),
        ]
    };
    for (name, text) in fixed {
        kernel()
            .files
            .add(&alloc::format!("{path}/{name}"), files::read_only(0o444, move || text.clone().into_bytes()))?;
    }
    let config = move || {
        let read = |at| with_config(function, |space| space.read(at, 1) as u8).unwrap_or(0xff);
        (0..ferrmod_kernel::hardware::config_space::SIZE).map(read).collect()
    };
    kernel().files.add(&alloc::format!("{path}/config"), files::read_only(0o644, config))?;
    let windows = move || {
        let line = |number| {
            // SAFETY: a function that is added.
            let (start, end, flags): (u64, u64, u64) = unsafe {
                let at = resource_at(function, number);
                (resource::start.get(at), resource::end.get(at), resource::flags.get(at))
            };
            alloc::format!("{start:#018x} {end:#018x} {flags:#018x}\n").into_bytes()
        };
        (0..6).flat_map(line).collect()
    };
    kernel().files.add(&alloc::format!("{path}/resource"), files::read_only(0o444, windows))
}

/// A window's `struct resource`.
pub(crate) fn resource_at(function: u64, number: u64) -> u64 {
    pci_dev::resource.at(function) + number * resource::SIZE.get()
}

/// Makes the function that was described.
///
/// # Errors
/// `EEXIST` when its slot is taken, `ENOMEM`.
pub(crate) fn describe(number: DeviceId, wanted: &PciDevice) -> Result<(), Errno> {
    let (bus, root) = (root_bus()?, root()?);
    let function = slab::allocate(pci_dev::SIZE.get(), 8, slab::ZERO, 0);
    if function == 0 {
        return Err(Errno::ENOMEM);
    }
    let dev = pci_dev::dev.at(function);
    // The first slots are a PC's own.
    let slot = (number.0 + 1) % 32;
    let config =
        |cap: u8| kernel().hardware.with_config(number, |space| space.capability(cap)).flatten().unwrap_or(0) as u8;
    // SAFETY: a zeroed block of the struct's size.
    unsafe {
        pci_dev::bus.set(function, bus);
        pci_dev::devfn.set(function, slot << 3);
        pci_dev::vendor.set(function, wanted.id.0);
        pci_dev::device.set(function, wanted.id.1);
        pci_dev::subsystem_vendor.set(function, wanted.subsystem.0);
        pci_dev::subsystem_device.set(function, wanted.subsystem.1);
        pci_dev::class.set(function, wanted.class);
        pci_dev::revision.set(function, wanted.revision);
        pci_dev::pin.set(function, 1_u8);
        pci_dev::cfg_size.set(function, 4096_i32);
        pci_dev::irq.set(function, kernel().hardware.line(number).unwrap_or(0));
        pci_dev::error_state.set(function, NORMAL);
        pci_dev::pcie_cap.set(function, config(EXPRESS));
        pci_dev::msi_cap.set(function, config(MESSAGES));
        pci_dev::pm_cap.set(function, config(POWER));
        pci_dev::dma_mask.set(function, 0xffff_ffff_u64);
        locks::init_list(pci_dev::bus_list.at(function));
        devices::begin(dev);
        dma::dma_mask.set(dev, pci_dev::dma_mask.at(function));
        dma::coherent_dma_mask.set(dev, 0xffff_ffff_u64);
        if pci_dev::dma_parms.offset().is_some() {
            dma::dma_parms.set(dev, pci_dev::dma_parms.at(function));
        }
        device::parent.set(dev, root);
        device::bus.set(dev, buses::PCI.address());
        device::release.set(dev, symbols::address("pci_release_dev").unwrap_or(0));
    }
    for (bar, ports, range) in kernel().hardware.windows(number) {
        let at = resource_at(function, bar as u64);
        // SAFETY: one of the struct's resources.
        unsafe {
            resource::start.set(at, range.start);
            resource::end.set(at, range.end - 1);
            resource::flags.set(at, if ports { PORTS } else { MEMORY });
        }
    }
    // It stays awake until somebody lets it sleep.
    power::pm_runtime_enable(dev);
    power::pm_runtime_forbid(dev);
    described::remember(number, dev);
    let name = alloc::format!("0000:00:{slot:02x}.0");
    let added = kobject::set_name(object(dev), name.as_bytes(), 0).and_then(|()| devices::add_for(dev, 0));
    added.inspect_err(|_| kobject::put(object(dev)))
}

/// Takes a function away.
pub(crate) fn forget(dev: u64) {
    devices::destroy(dev);
}
extern "C" fn pci_release_dev(dev: u64) {
    slab::release(of_device(dev), 0);
}

/// The entry of a table that fits a function; 0 when none does.
fn entry_for(table: u64, function: u64) -> u64 {
    let mut at = table;
    // SAFETY: the module's table, which ends with an entry of zeros, and a function.
    unsafe {
        let class: u32 = pci_dev::class.get(function);
        let own = [
            u32::from(pci_dev::vendor.get::<u16>(function)),
            pci_dev::device.get::<u16>(function).into(),
            pci_dev::subsystem_vendor.get::<u16>(function).into(),
            pci_dev::subsystem_device.get::<u16>(function).into(),
        ];
        while at != 0 {
            let ids: [u32; 4] = [
                pci_device_id::vendor.get(at),
                pci_device_id::device.get(at),
                pci_device_id::subvendor.get(at),
                pci_device_id::subdevice.get(at),
            ];
            let mask: u32 = pci_device_id::class_mask.get(at);
            if ids[0] == 0 && ids[2] == 0 && mask == 0 {
                break;
            }
            let fits = ids.iter().zip(own).all(|(&id, own)| id == ANY || id == own);
            if fits && (pci_device_id::class.get::<u32>(at) ^ class) & mask == 0 {
                return at;
            }
            at += pci_device_id::SIZE.get();
        }
    }
    0
}
extern "C" fn pci_match_id(table: u64, function: u64) -> u64 {
    entry_for(table, function)
}

fn driver_of(inner: u64) -> u64 {
    pci_driver::driver.container(inner)
}
extern "C" fn pci_match(dev: u64, inner: u64) -> i32 {
    let driver = driver_of(inner);
    (ids::entry(driver, of_device(dev)) != 0).into()
}
extern "C" fn pci_probe(dev: u64) -> i32 {
    let function = of_device(dev);
    // SAFETY: a function that has just been given a driver, and the driver's function.
    unsafe {
        let driver = driver_of(device::driver.get(dev));
        let probe: u64 = pci_driver::probe.get(driver);
        if probe == 0 {
            return 0;
        }
        if pci_dev::driver.offset().is_some() {
            pci_dev::driver.set(function, driver);
        }
        let result = ram::call(probe, [function, ids::entry(driver, function)]) as i32;
        if result > 0 {
            let text =
                alloc::format!("\x014{}: Driver probe function unexpectedly returned {result}\n", devices::name(dev));
            kernel().printk(text.as_bytes());
        } else if result < 0 {
            left(function);
        }
        result.min(0)
    }
}
extern "C" fn pci_remove(dev: u64) {
    let function = of_device(dev);
    // SAFETY: a function that has a driver, and the driver's function.
    unsafe {
        let remove: u64 = pci_driver::remove.get(driver_of(device::driver.get(dev)));
        if remove != 0 {
            ram::call(remove, [function]);
        }
    }
    left(function);
}
/// A driver has left a function.
fn left(function: u64) {
    if pci_dev::driver.offset().is_some() {
        // SAFETY: a function.
        unsafe { pci_dev::driver.set(function, 0_u64) };
    }
}

/// The functions, from after `from` (0: from the first) on.
fn functions(from: u64) -> Vec<u64> {
    let ids = kernel().hardware.list().into_iter();
    let mut all: Vec<u64> = ids.filter_map(device_of).filter(|&dev| is_function(dev)).map(of_device).collect();
    if let Some(place) = all.iter().position(|&function| function == from) {
        all.drain(..=place);
    }
    all
}
/// Gives the first function that `wanted` accepts, with a reference, and takes that of the one before it.
fn search(from: u64, wanted: impl Fn(u64) -> bool) -> u64 {
    let found = functions(from).into_iter().find(|&function| wanted(function)).unwrap_or(0);
    pci_dev_get(found);
    pci_dev_put(from);
    found
}
extern "C" fn pci_dev_get(function: u64) -> u64 {
    if function != 0 {
        kobject::get(object(pci_dev::dev.at(function)));
    }
    function
}
extern "C" fn pci_dev_put(function: u64) {
    if function != 0 {
        kobject::put(object(pci_dev::dev.at(function)));
    }
}
/// `struct pci_dev *pci_get_subsys(vendor, device, ss_vendor, ss_device, from)`
extern "C" fn pci_get_subsys(vendor: u32, device: u32, board_vendor: u32, board: u32, from: u64) -> u64 {
    search(from, |function| {
        // SAFETY: a function.
        let own = unsafe {
            [
                pci_dev::vendor.get::<u16>(function),
                pci_dev::device.get::<u16>(function),
                pci_dev::subsystem_vendor.get::<u16>(function),
                pci_dev::subsystem_device.get::<u16>(function),
            ]
        };
        own.iter().zip([vendor, device, board_vendor, board]).all(|(&own, id)| id == ANY || id == own.into())
    })
}
extern "C" fn pci_get_device(vendor: u32, device: u32, from: u64) -> u64 {
    pci_get_subsys(vendor, device, ANY, ANY, from)
}
extern "C" fn pci_get_class(class: u32, from: u64) -> u64 {
    // SAFETY: a function.
    search(from, |function| unsafe { pci_dev::class.get::<u32>(function) } == class)
}
/// The same for a class without its subclass and programming interface.
extern "C" fn pci_get_base_class(class: u32, from: u64) -> u64 {
    // SAFETY: a function.
    search(from, |function| unsafe { pci_dev::class.get::<u32>(function) } >> 16 == class)
}
extern "C" fn pci_dev_present(table: u64) -> i32 {
    functions(0).into_iter().any(|function| entry_for(table, function) != 0).into()
}
/// `struct pci_dev *pci_get_domain_bus_and_slot(int domain, unsigned bus, unsigned devfn)`
extern "C" fn pci_get_domain_bus_and_slot(domain: i32, bus: u32, devfn: u32) -> u64 {
    // SAFETY: a function.
    let is = |function| domain == 0 && bus == 0 && unsafe { pci_dev::devfn.get::<u32>(function) } == devfn;
    search(0, is)
}
extern "C" fn pci_get_slot(bus: u64, devfn: u32) -> u64 {
    if root_bus() == Ok(bus) { pci_get_domain_bus_and_slot(0, 0, devfn) } else { 0 }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c pci_release_dev, c pci_match_id, c pci_match, c pci_probe, c pci_remove, c pci_dev_get, c pci_dev_put, c pci_get_subsys,
    c pci_get_device, c pci_get_class, c pci_get_base_class, c pci_dev_present, c pci_get_domain_bus_and_slot, c pci_get_slot,
];
