//! Queues that programs give commands to: the devices of class `bsg`. They are seen; nobody serves their files.

use alloc::vec::Vec;

use ferrmod_kernel::chrdev::Number;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::vfs::chrdev;
use crate::{device, ram};

/// How many there may be.
const MOST: u32 = 1 << 15;

/// The major of all of them: the first time one that is free.
fn major() -> Result<u32, Errno> {
    static MAJOR: spin::Once<u32> = spin::Once::new();
    MAJOR.try_call_once(|| chrdev::reserve_for(0, 0, MOST, b"bsg", 0).map(|first| first.major())).copied()
}

/// Minors with their devices.
static DEVICES: Lock<Vec<(u32, u64)>> = Lock::new(Vec::new());

fn class() -> u64 {
    static CLASS: spin::Once<u64> = spin::Once::new();
    *CLASS.call_once(|| device::class::own("bsg", crate::symbols::address("bsg_devnode").unwrap_or(0)))
}

/// `char *bsg_devnode(const struct device *, umode_t *)` of the class: its files are in a directory.
extern "C" fn bsg_devnode(dev: u64) -> u64 {
    crate::printf::duplicate(alloc::format!("bsg/{}", device::name(dev)).as_bytes(), 0, 0)
}

/// `struct bsg_device *bsg_register_queue(struct request_queue *, struct device *parent, const char *name, bsg_sg_io_fn *)`
extern "C" fn bsg_register_queue(_queue: u64, parent: u64, name: u64) -> u64 {
    let caller = ram::caller();
    // SAFETY: the caller's C string.
    let name = unsafe { ram::c_string_or_empty(name) };
    let free = (0..MOST).find(|minor| DEVICES.lock().iter().all(|(taken, _)| taken != minor));
    let Some(minor) = free else { return Errno::ENOSPC.to_pointer() };
    let class = class();
    if class == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    let made =
        major().and_then(|major| device::create(class, parent, Number::new(major, minor).0, 0, 0, &name, caller));
    match made {
        Ok(dev) => {
            DEVICES.lock().push((minor, dev));
            dev
        }
        Err(errno) => errno.to_pointer(),
    }
}
/// `void bsg_unregister_queue(struct bsg_device *)`
extern "C" fn bsg_unregister_queue(dev: u64) {
    let caller = ram::caller();
    let known = {
        let mut devices = DEVICES.lock();
        let place = devices.iter().position(|(_, other)| *other == dev);
        place.map(|place| devices.swap_remove(place)).is_some()
    };
    if known {
        device::destroy(dev);
    } else {
        kernel().warn("bsg_unregister_queue: not registered", caller);
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c bsg_devnode, c bsg_register_queue, c bsg_unregister_queue];
