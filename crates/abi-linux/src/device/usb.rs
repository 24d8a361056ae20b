//! Described USB devices: what a program does that brings a device of another machine here over USB/IP (Linux,
//! `Documentation/usb/usbip_protocol.rst`, and `drivers/usb/usbip` in `Documentation/ABI/testing/sysfs-platform-usbip-vudc` and
//! `tools/usb/usbip`).
//!
//! So the host controller is an unmodified one, the core of USB enumerates the device, and no struct of either is written here: the
//! modules that have them are not a part of the kernel's image, which would say how they are laid out.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files;
use ferrmod_kernel::hardware::description::{UsbDevice, usb::Speed};
use ferrmod_kernel::hardware::usb::usbip::Connection;
use ferrmod_kernel::hardware::{DeviceId, DeviceStatus};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::layout::device;
use super::{bus, described, driver, object, show};
use crate::kobject;
use crate::net::served::{self, Peer};

/// The module of the controller whose ports lead to other machines, and the first such controller, which has the files for all of them.
const MODULE: &[u8] = b"vhci-hcd";
const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";
/// What a port's line in `status` says of one where nothing is (`VDEV_ST_NULL`).
const FREE: &str = "004";
/// So long a device is waited for, to come and to go, in milliseconds.
const PATIENCE: u32 = 3000;
/// Where the endpoints of described devices are fed and read.
const FILES: &str = "/proc/ferrmod-usb";

/// A device that is plugged into a port.
#[derive(Clone)]
struct Plugged {
    id: DeviceId,
    /// The port's number among those of the controllers.
    port: u32,
    /// What its device is called, and the directory of the port.
    name: String,
    place: String,
}

static PLUGGED: Lock<Vec<Plugged>> = Lock::new(Vec::new());

/// The model's end of the connection.
struct Model(DeviceId);

impl Model {
    fn with<T>(&self, use_it: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        kernel().hardware.with_usb(self.0, use_it)
    }
}

impl Peer for Model {
    fn receive(&self, bytes: &[u8]) {
        self.with(|connection| connection.receive(bytes));
    }

    fn send(&self, most: usize) -> Option<Vec<u8>> {
        self.with(|connection| connection.answers(most)).flatten()
    }

    fn end(&self) {
        self.with(Connection::end);
    }
}

/// A port of the controllers.
struct Port {
    number: u32,
    name: String,
    place: String,
}

/// The words of `status` of each port: `hub port sta spd dev sockfd local_busid`.
fn ports() -> Result<Vec<Vec<String>>, Errno> {
    let text = kernel().files.read(&alloc::format!("{CONTROLLER}/status")).map_err(|_| Errno::ENODEV)?;
    let words = |line: &str| line.split_whitespace().map(ToString::to_string).collect();
    Ok(text.to_str_lossy().lines().skip(1).map(words).collect())
}

fn number_of(port: &[String]) -> Option<u32> {
    port.get(1)?.parse().ok()
}

fn is_free(port: &[String]) -> bool {
    port.get(2).is_some_and(|state| state == FREE)
}

/// A port of that speed where nothing is plugged.
///
/// # Errors
/// `ENODEV` without a controller, `EBUSY` when all are taken.
fn free_port(speed: Speed) -> Result<Port, Errno> {
    let wanted = if speed == Speed::Super { "ss" } else { "hs" };
    let of_hub = ports()?.into_iter().filter(|port| port.first().is_some_and(|hub| hub == wanted));
    let (port, on_hub) = of_hub.zip(1..).find(|(port, _)| is_free(port)).ok_or(Errno::EBUSY)?;
    let number = number_of(&port).ok_or(Errno::EIO)?;
    let roots = kernel().files.list(CONTROLLER)?;
    let root = roots.iter().find(|name| {
        let speed = kernel().files.read(&alloc::format!("{CONTROLLER}/{name}/speed")).unwrap_or_default();
        name.starts_with("usb") && (speed.trim_ascii() == b"480") == (wanted == "hs")
    });
    let root = root.ok_or(Errno::ENODEV)?;
    let bus = &root["usb".len()..];
    Ok(Port {
        number,
        name: alloc::format!("{bus}-{on_hub}"),
        place: alloc::format!("{CONTROLLER}/{root}/{bus}-0:1.0/{root}-port{on_hub}"),
    })
}

/// Plugs the device into a port, and waits until the core of USB is done with it.
///
/// # Errors
/// `ENODEV` without a controller, `EBUSY` when all its ports are taken, or what it answers.
pub(super) fn describe(id: DeviceId, wanted: &UsbDevice) -> Result<(), Errno> {
    if kernel().files.node(CONTROLLER).is_none() {
        // Whether that helped is seen next.
        let _ = kernel().request_module(MODULE);
    }
    let port = free_port(wanted.speed)?;
    let socket = served::connect(Arc::new(Model(id)))?;
    // Port, socket, number of the device where it is, speed.
    let line = alloc::format!("{} {socket} {} {}", port.number, id.0, wanted.speed.number());
    let attached = kernel().files.write(&alloc::format!("{CONTROLLER}/attach"), line.as_bytes());
    served::close(socket);
    attached?;
    PLUGGED.lock().push(Plugged { id, port: port.number, name: port.name.clone(), place: port.place });
    show_endpoints(id)?;
    // One that the core gives up stays plugged, and nothing is seen of it.
    let _ = described::wait_for(PATIENCE, || find(&port.name).filter(|&dev| !driver::probes(dev).is_empty()));
    Ok(())
}

/// The files by which a device's endpoints are fed and read.
fn show_endpoints(id: DeviceId) -> Result<(), Errno> {
    let directory = alloc::format!("{FILES}/{}", id.0);
    kernel().files.make_directories(&directory);
    let addresses = Model(id).with(|connection| connection.device().endpoints()).unwrap_or_default();
    for address in addresses {
        let node = if address & 0x80 != 0 {
            let feed = move |bytes: &[u8]| {
                Model(id).with(|connection| connection.feed(address, bytes)).ok_or(Errno::ENODEV)?;
                served::wake_all();
                Ok(bytes.len())
            };
            files::read_write(0o200, || Err(Errno::EACCES), feed)
        } else {
            files::read_only(0o400, move || Model(id).with(|connection| connection.taken(address)).unwrap_or_default())
        };
        kernel().files.add(&alloc::format!("{directory}/{address:02x}"), node)?;
    }
    Ok(())
}

/// The device on the USB bus that is called so.
fn find(name: &str) -> Option<u64> {
    super::all().into_iter().find(|&dev| super::name(dev) == name && bus::of(dev) == "usb")
}

/// The interfaces of a device.
fn interfaces(dev: u64) -> Vec<u64> {
    let mut all = super::children(dev);
    all.retain(|&child| bus::of(child) == "usb");
    all.sort_by_key(|&child| super::name(child));
    all
}

fn driver_of(dev: u64) -> Option<String> {
    // SAFETY: a device that is added.
    let bound: u64 = unsafe { device::driver.get(dev) };
    (bound != 0).then(|| driver::name(bound))
}

fn modalias(dev: u64) -> Option<String> {
    let text = show::uevent_text(dev);
    text.lines().find_map(|line| Some(line.strip_prefix(b"MODALIAS=")?.to_str_lossy().to_string()))
}

/// Whether the controller still has its end of the connection.
fn is_connected(id: DeviceId) -> bool {
    Model(id).with(|connection| !connection.is_ended()).unwrap_or(false)
}

/// How it stands with the drivers: those of its interfaces, as the first of them; or of itself, when it has none.
pub(super) fn status(id: DeviceId) -> Option<DeviceStatus> {
    let plugged = PLUGGED.lock().iter().find(|one| one.id == id).cloned()?;
    let Some(dev) = find(&plugged.name).filter(|_| is_connected(id)) else {
        let is_there = kernel().files.node(&plugged.place).is_some();
        return Some(DeviceStatus {
            path: if is_there { plugged.place } else { String::new() },
            ..DeviceStatus::default()
        });
    };
    let all = interfaces(dev);
    let first = all.first().copied().unwrap_or(dev);
    Some(DeviceStatus {
        path: kobject::path(object(first))?,
        modalias: modalias(first).unwrap_or_default(),
        driver: all.iter().find_map(|&one| driver_of(one)),
        probes: all.iter().flat_map(|&one| driver::probes(one)).collect(),
    })
}

/// Unplugs it, and waits until it is gone.
pub(super) fn forget(id: DeviceId) {
    let gone = {
        let mut all = PLUGGED.lock();
        all.iter().position(|one| one.id == id).map(|place| all.remove(place))
    };
    let Some(gone) = gone else { return };
    kernel().files.remove(&alloc::format!("{FILES}/{}", id.0));
    // Without the controller it is gone already, and its port may be another's.
    if !is_connected(id) {
        return;
    }
    if kernel().files.write(&alloc::format!("{CONTROLLER}/detach"), gone.port.to_string().as_bytes()).is_ok() {
        let is_free = || {
            let port = ports().unwrap_or_default().into_iter().find(|port| number_of(port) == Some(gone.port));
            port.is_none_or(|port| is_free(&port))
        };
        // A port that stays taken is no other's.
        let _ = described::wait_for(PATIENCE, || (find(&gone.name).is_none() && is_free()).then_some(()));
    }
}
