//! Described HID devices: what a program does that serves one through `/dev/uhid` (Linux, `Documentation/hid/uhid.rst`).
//!
//! So the device is one of an unmodified transport, and no struct of the HID core is written here. Nobody answers when a driver asks
//! for a report; the transport tells it so after a while.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files::OpenFile;
use ferrmod_kernel::hardware::DeviceId;
use ferrmod_kernel::hardware::description::HidDevice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::{bus, described, show};
use crate::time;

/// The transport's file, and the alias by which its module says that it serves it.
const FILE: &str = "/dev/uhid";
const ALIAS: &[u8] = b"devname:uhid";
/// `O_RDWR | O_NONBLOCK`
const FLAGS: u32 = 0o2 | 0o4000;
/// `UHID_CREATE2`, and the bytes of its names (`include/uapi/linux/uhid.h`).
const CREATE: u32 = 11;
const NAME: usize = 128;
const PHYS: usize = 64;
const UNIQ: usize = 64;
/// The transport makes the device in a task of its own; so long that is waited for, in milliseconds.
const PATIENCE: u32 = 2000;

/// A device that is there as long as its file is open.
struct Served {
    id: DeviceId,
    /// Held for its end.
    _file: Box<dyn OpenFile>,
    modalias: String,
}

static SERVED: Lock<Vec<Served>> = Lock::new(Vec::new());

/// Where the device says it is, which tells it from others.
fn place(id: DeviceId) -> String {
    alloc::format!("ferrmod/{}", id.0)
}

/// The event that makes a device.
fn event(id: DeviceId, wanted: &HidDevice) -> Vec<u8> {
    let mut event = CREATE.to_le_bytes().to_vec();
    for (text, room) in [(wanted.name.as_str(), NAME), (&place(id), PHYS), ("", UNIQ)] {
        // The last byte stays 0.
        let mut bytes = alloc::vec![0; room];
        let used = text.len().min(room - 1);
        bytes[..used].copy_from_slice(&text.as_bytes()[..used]);
        event.extend_from_slice(&bytes);
    }
    // Reading the description has bounded it.
    event.extend_from_slice(&(wanted.descriptor.len() as u16).to_le_bytes());
    event.extend_from_slice(&wanted.bus.to_le_bytes());
    // Vendor, product, version and country.
    for number in [wanted.id.0.into(), wanted.id.1.into(), 0_u32, 0] {
        event.extend_from_slice(&number.to_le_bytes());
    }
    event.extend_from_slice(&wanted.descriptor);
    event
}

/// The device that says it is at that place, and its `MODALIAS`.
fn find(place: &str) -> Option<(u64, String)> {
    let wanted = alloc::format!("HID_PHYS={place}");
    super::all().into_iter().filter(|&dev| bus::of(dev) == "hid").find_map(|dev| {
        let text = show::uevent_text(dev);
        let mut lines = text.lines();
        lines.clone().any(|line| line == wanted.as_bytes()).then_some(())?;
        let modalias = lines.find_map(|line| line.strip_prefix(b"MODALIAS="))?;
        Some((dev, modalias.to_str_lossy().to_string()))
    })
}

/// Makes the device.
///
/// # Errors
/// `ENODEV` when there is no transport or it makes no device, or what it answers.
pub(crate) fn describe(id: DeviceId, wanted: &HidDevice) -> Result<(), Errno> {
    // As opening the static node of a module does; whether there is a file then says whether that helped.
    let _ = kernel().request_module(ALIAS);
    let mut file = kernel().files.open(FILE, FLAGS).map_err(|_| Errno::ENODEV)?;
    file.write(&event(id, wanted))?;
    for _ in 0..PATIENCE {
        if let Some((dev, modalias)) = find(&place(id)) {
            described::remember(id, dev);
            SERVED.lock().push(Served { id, _file: file, modalias });
            return Ok(());
        }
        time::sleep(1_000_000, 0);
    }
    Err(Errno::ENODEV)
}

/// What names the modules that may have a driver for it.
pub(crate) fn modalias(id: DeviceId) -> Option<String> {
    SERVED.lock().iter().find(|served| served.id == id).map(|served| served.modalias.clone())
}

/// Takes it away.
pub(crate) fn forget(id: DeviceId) {
    let served = {
        let mut all = SERVED.lock();
        let place = all.iter().position(|served| served.id == id);
        place.map(|place| all.remove(place))
    };
    // The transport's functions are called here, with no lock held.
    drop(served);
}
