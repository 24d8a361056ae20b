//! Described virtio devices: registers behind a window of a platform device, which an unmodified transport makes a virtio device of.

use alloc::string::String;

use ferrmod_kernel::hardware::DeviceId;
use ferrmod_kernel::hardware::description::{PlatformDevice, VirtioDevice};
use ferrmod_kernel::{Errno, kernel};

use super::layout::device;
use super::{bus, platform};
use crate::boot::facts;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::{ram, symbols};

/// Whether a driver may only use memory that was shared with the host before (encrypted guests): here all is shared.
static ACCESS: Datum = Datum::new("virtio_check_mem_acc_cb", 8, Begin::With(begin));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&ACCESS];

fn begin(at: u64) {
    // SAFETY: `data::place` gives 8 writable bytes.
    unsafe { ram::put(at, symbols::address("virtio_no_restricted_mem_acc").unwrap_or(0)) };
}

extern "C" fn is_not_restricted() -> bool {
    false
}
extern "C" fn is_restricted() -> bool {
    true
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k virtio_no_restricted_mem_acc = is_not_restricted, k virtio_require_restricted_mem_acc = is_restricted,
];

/// What firmware calls a transport of memory-mapped registers (the ACPI id that Linux and QEMU agreed on), as an alias of its driver.
pub(crate) const TRANSPORT: &str = "acpi:LNRO0005:";
/// What the platform device is called (Linux, `Documentation/admin-guide/kernel-parameters.txt`, "virtio_mmio.device").
const NAME: &str = "virtio-mmio";

/// Makes the platform device.
///
/// # Errors
/// As [`platform::describe`]; `EOPNOTSUPP` when the core of virtio is a part of the kernel and no module, since there is none here.
pub(crate) fn describe(id: DeviceId) -> Result<(), Errno> {
    if facts().find_export(b"register_virtio_device").is_some() {
        return Err(Errno::EOPNOTSUPP);
    }
    let line = kernel().hardware.line(id);
    let number = u16::try_from(id.0).ok();
    platform::describe(id, &PlatformDevice { name: NAME.into(), id: number, window: None, line })
}

/// The virtio device that the transport has made of this platform device.
pub(crate) fn behind(transport: u64) -> Option<u64> {
    super::all().into_iter().find(|&dev| {
        // SAFETY: devices that are added.
        let above: u64 = unsafe { device::parent.get(dev) };
        above == transport && bus::of(dev) == "virtio"
    })
}

/// What names the modules that may have a driver for it.
pub(crate) fn modalias(wanted: &VirtioDevice) -> String {
    alloc::format!("virtio:d{:08X}v{:08X}", wanted.id, wanted.vendor)
}
