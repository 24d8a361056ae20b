//! Devices that somebody described: shown to the drivers of their bus, and taken away again.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ferrmod_kernel::hardware::{Description, DeviceId, DeviceReport, DeviceStatus};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, files, kernel};

use super::layout::device;
use super::{buses, driver, hid, object, platform, usb, virtio};
use crate::export::{Export, exports};
use crate::{i2c, kobject, pci, time, uevent};

/// The `struct device` of each described device.
static SHOWN: Lock<Vec<(DeviceId, u64)>> = Lock::new(Vec::new());

/// Waits for something that others do, so many milliseconds at most.
pub(super) fn wait_for<T>(milliseconds: u32, found: impl Fn() -> Option<T>) -> Option<T> {
    for _ in 0..milliseconds {
        if let Some(found) = found() {
            return Some(found);
        }
        time::sleep(1_000_000, 0);
    }
    None
}

/// The `struct device` of a described device.
pub(crate) fn device_of(id: DeviceId) -> Option<u64> {
    SHOWN.lock().iter().find(|(other, _)| *other == id).map(|&(_, dev)| dev)
}

/// The description of a `struct device`.
pub(crate) fn id_of(dev: u64) -> Option<DeviceId> {
    SHOWN.lock().iter().find(|(_, other)| *other == dev).map(|&(id, _)| id)
}

/// Remembers whose `struct device` this is. To be called before the drivers see it.
pub(crate) fn remember(id: DeviceId, dev: u64) {
    SHOWN.lock().push((id, dev));
}

/// Shows a device to the drivers of its bus.
///
/// # Errors
/// `ENODEV` when there is no such bus, `EEXIST` or `EBUSY` when its place is taken, `ENOMEM`.
pub(crate) fn add(id: DeviceId) -> Result<(), Errno> {
    let description = kernel().hardware.description(id).ok_or(Errno::ENODEV)?;
    let added = match &description {
        Description::Platform(wanted) => platform::describe(id, wanted),
        Description::I2c(wanted) => i2c::described::describe(id, wanted),
        Description::Pci(wanted) => pci::describe(id, wanted),
        Description::Hid(wanted) => hid::describe(id, wanted),
        Description::Virtio(_) => virtio::describe(id),
        Description::Usb(wanted) => usb::describe(id, wanted),
    };
    added.inspect_err(|_| SHOWN.lock().retain(|(other, _)| *other != id))
}

/// Takes it away.
pub(crate) fn remove(id: DeviceId) {
    let description = kernel().hardware.description(id);
    if let Some(Description::Usb(_)) = description {
        return usb::forget(id);
    }
    let Some(dev) = device_of(id) else { return };
    match description {
        Some(Description::Pci(_)) => pci::forget(dev),
        Some(Description::I2c(_)) => i2c::described::forget(dev),
        Some(Description::Hid(_)) => hid::forget(id),
        _ => super::destroy(dev),
    }
    SHOWN.lock().retain(|(other, _)| *other != id);
}

/// Says a report of a device that has some.
///
/// # Errors
/// `EOPNOTSUPP` when devices of this bus have none, or as [`hid::say`].
pub(crate) fn say(id: DeviceId, report: &[u8]) -> Result<(), Errno> {
    match kernel().hardware.description(id) {
        Some(Description::Hid(_)) => hid::say(id, report),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// What came to such a device.
///
/// # Errors
/// As [`say`].
pub(crate) fn heard(id: DeviceId) -> Result<Vec<DeviceReport>, Errno> {
    match kernel().hardware.description(id) {
        Some(Description::Hid(_)) => hid::heard(id),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// How it stands with the drivers.
pub(crate) fn status(id: DeviceId) -> Option<DeviceStatus> {
    if let Some(Description::Usb(_)) = kernel().hardware.description(id) {
        return usb::status(id);
    }
    let shown = device_of(id)?;
    // What the drivers of a virtual bus see is a device that the transport has made.
    let (dev, modalias) = match kernel().hardware.description(id) {
        Some(Description::Virtio(wanted)) => match virtio::behind(shown) {
            Some(dev) => (dev, Some(virtio::modalias(&wanted))),
            None => (shown, modalias(shown)),
        },
        Some(Description::Hid(_)) => (shown, Some(hid::modalias(id)?)),
        _ => (shown, modalias(shown)),
    };
    // SAFETY: a device that is added.
    let bound: u64 = unsafe { device::driver.get(dev) };
    Some(DeviceStatus {
        path: kobject::path(object(dev))?,
        modalias: modalias.unwrap_or_default(),
        driver: (bound != 0).then(|| driver::name(bound)),
        probes: driver::probes(dev),
    })
}

/// What names the modules that may have a driver for a device of one of the kernel's own buses.
pub(crate) fn modalias(dev: u64) -> Option<String> {
    // SAFETY: a device that is added.
    let bus: u64 = unsafe { device::bus.get(dev) };
    if bus == 0 {
        None
    } else if bus == buses::PLATFORM.address() {
        let described = id_of(dev).and_then(|id| kernel().hardware.description(id));
        Some(match described {
            Some(Description::Virtio(_)) => virtio::TRANSPORT.to_string(),
            _ => platform::modalias(dev),
        })
    } else if bus == buses::I2C.address() {
        i2c::modalias(dev)
    } else if bus == buses::PCI.address() {
        Some(pci::modalias(dev))
    } else {
        None
    }
}

/// Adds the `modalias` file of a device on one of these buses.
///
/// # Errors
/// `EEXIST`, `ENOENT`.
pub(crate) fn show(dev: u64, path: &str) -> Result<(), Errno> {
    let Some(text) = modalias(dev) else { return Ok(()) };
    let text = text + "\n";
    kernel().files.add(&alloc::format!("{path}/modalias"), files::read_only(0o444, move || text.clone().into_bytes()))
}

/// The `uevent` function of these buses.
extern "C" fn bus_uevent_modalias(dev: u64, env: u64) -> i32 {
    let Some(text) = modalias(dev) else { return 0 };
    let mut variables = pci::variables(dev);
    variables.push("MODALIAS=".to_string() + &text);
    let results = variables.iter().map(|variable| uevent::add_variable(env, variable.as_bytes()));
    results.into_iter().find(|&result| result != 0).unwrap_or(0)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c bus_uevent_modalias];
