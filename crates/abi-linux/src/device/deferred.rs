//! Devices whose driver answered that something it needs is not there yet.
//!
//! They are offered to the drivers again whenever a driver has taken a device, since that may be what was missing.
//! `/sys/kernel/debug/devices_deferred` lists them.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, files, kernel};

use super::driver;

/// The driver cannot say yet whether it takes the device (`include/linux/errno.h`).
pub(crate) const EPROBE_DEFER: Errno = Errno(517);

#[derive(Default)]
struct Deferred {
    /// In the order of their answers.
    devices: Vec<u64>,
    /// Why, as far as the driver has told.
    reasons: Vec<(u64, Vec<u8>)>,
    /// A task is on its way that offers them again.
    is_due: bool,
}

static DEFERRED: Lock<Deferred> = Lock::new(Deferred { devices: Vec::new(), reasons: Vec::new(), is_due: false });

/// A driver answered so for this device.
pub(crate) fn add(dev: u64) {
    let mut deferred = DEFERRED.lock();
    deferred.devices.retain(|&other| other != dev);
    deferred.devices.push(dev);
}

/// Says why a device is about to be deferred.
pub(crate) fn because(dev: u64, reason: Vec<u8>) {
    let mut deferred = DEFERRED.lock();
    deferred.reasons.retain(|&(other, _)| other != dev);
    deferred.reasons.push((dev, reason));
}

/// The device goes, or has a driver.
pub(crate) fn forget(dev: u64) {
    let mut deferred = DEFERRED.lock();
    deferred.devices.retain(|&other| other != dev);
    deferred.reasons.retain(|&(other, _)| other != dev);
}

/// A driver has taken a device: offers the deferred ones again, by a task of its own, because whoever is taking a device now may
/// hold locks that others need.
pub(crate) fn retry() {
    {
        let mut deferred = DEFERRED.lock();
        if deferred.devices.is_empty() || deferred.is_due {
            return;
        }
        deferred.is_due = true;
    }
    let offer = || {
        let devices = {
            let mut deferred = DEFERRED.lock();
            deferred.is_due = false;
            core::mem::take(&mut deferred.devices)
        };
        for dev in devices {
            // One may have gone while another was offered.
            if super::all().contains(&dev) {
                driver::look_for(dev);
            }
        }
    };
    if kernel().tasks.spawn("kworker/deferred", true, offer).is_err() {
        DEFERRED.lock().is_due = false;
    }
}

/// Makes the file that lists them.
pub(crate) fn begin() {
    let list = || {
        // Names lie in memory of modules, which is not read with a lock held.
        let (devices, reasons) = {
            let deferred = DEFERRED.lock();
            (deferred.devices.clone(), deferred.reasons.clone())
        };
        let line = |dev: u64| {
            let reason = reasons.iter().find(|(other, _)| *other == dev);
            let reason: &[u8] = reason.map_or(b"\n", |(_, reason)| reason);
            [super::name(dev).as_bytes(), b"\t", reason].concat()
        };
        devices.into_iter().flat_map(line).collect()
    };
    // Nothing else is called so.
    let _ = kernel().files.add("/sys/kernel/debug/devices_deferred", files::read_only(0o444, list));
}
