//! Windows onto devices, and the functions that access them.
//!
//! A described device's window has the address it has on the bus; touching it faults, and the fault is answered by the device.
//! Functions ask the device themselves. Behind every other address nobody answers: a window there is memory of ones.

use ferrmod_kernel::hardware::Access;
use ferrmod_kernel::heap::PAGE;
use ferrmod_kernel::{Errno, kernel};

use crate::device::devres;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{hardware, ram, slab};

layout! {
    mod resource = "resource" { start, end, name, flags }
}

/// What a bus without an answer reads as.
const NOBODY: u8 = 0xff;
/// A port as an address: `PIO_OFFSET`; addresses below `PIO_RESERVED` are such.
const PIO: u64 = 0x10000;
const PIO_END: u64 = 0x40000;
/// `IORESOURCE_TYPE_BITS`, `IORESOURCE_MEM`
const TYPE: u64 = 0x1f00;
const MEMORY: u64 = 0x200;

/// The address that stands for a port.
pub(crate) fn of_port(port: u64) -> u64 {
    PIO + port
}

/// Makes a window; 0 without memory.
pub(crate) fn map(physical: u64, size: u64, caller: u64) -> u64 {
    if kernel().hardware.has(physical) {
        return physical;
    }
    let inside = physical % PAGE;
    if size == 0 || size > 1 << 28 {
        return 0;
    }
    let window = slab::vmalloc(inside + size, 0, caller);
    if window == 0 {
        return 0;
    }
    // SAFETY: memory that has just been given to us.
    unsafe { ram::fill(window, NOBODY, inside + size) };
    window + inside
}
/// Takes it away.
pub(crate) fn unmap(window: u64, caller: u64) {
    let is_own = kernel().platform.regions().windows.contains(&window);
    if window >= PIO_END && !is_own {
        slab::release_any(window / PAGE * PAGE, caller);
    }
}

/// `void __iomem *ioremap(resource_size_t, unsigned long size)`
extern "C" fn ioremap(physical: u64, size: u64) -> u64 {
    let caller = ram::caller();
    map(physical, size, caller)
}
/// `void iounmap(volatile void __iomem *)`
extern "C" fn iounmap(window: u64) {
    unmap(window, ram::caller());
}
fn map_managed(dev: u64, physical: u64, size: u64, caller: u64) -> u64 {
    let window = map(physical, size, caller);
    if window != 0 {
        devres::on_release(dev, move || unmap(window, 0));
    }
    window
}
extern "C" fn devm_ioremap(dev: u64, physical: u64, size: u64) -> u64 {
    let caller = ram::caller();
    map_managed(dev, physical, size, caller)
}
/// A resource taken and mapped until the driver goes.
pub(crate) fn map_resource(dev: u64, at: u64, caller: u64) -> Result<u64, Errno> {
    if at == 0 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the driver's resource.
    let (start, end, flags, name): (u64, u64, u64, u64) =
        unsafe { (resource::start.get(at), resource::end.get(at), resource::flags.get(at), resource::name.get(at)) };
    if flags & TYPE != MEMORY {
        return Err(Errno::EINVAL);
    }
    let length = end.wrapping_sub(start).wrapping_add(1);
    if hardware::take(hardware::memory(), start, length, name, 0, caller) == 0 {
        return Err(Errno::EBUSY);
    }
    devres::on_release(dev, move || _ = hardware::give(hardware::memory(), start, length));
    match map_managed(dev, start, length, caller) {
        0 => Err(Errno::ENOMEM),
        window => Ok(window),
    }
}
extern "C" fn devm_ioremap_resource(dev: u64, at: u64) -> u64 {
    let caller = ram::caller();
    map_resource(dev, at, caller).unwrap_or_else(Errno::to_pointer)
}
/// `void __iomem *ioport_map(unsigned long port, unsigned count)`
extern "C" fn ioport_map(port: u64, _count: u32) -> u64 {
    if port < PIO { of_port(port) } else { 0 }
}
extern "C" fn ioport_unmap() {}
/// As [`ioport_map`]; nothing is left to do when the driver goes.
extern "C" fn devm_ioport_map(_dev: u64, port: u64, count: u32) -> u64 {
    ioport_map(port, count)
}

/// How an address is reached: as a port, as a device's window, or as memory.
fn access(address: u64, width: u8) -> Option<Access> {
    if (PIO..PIO_END).contains(&address) {
        return Some(Access { address: address & (PIO - 1), port: true, width });
    }
    let is_window = kernel().platform.regions().windows.contains(&address);
    is_window.then_some(Access { address, port: false, width })
}

macro_rules! accessors {
    ($($read:ident $write:ident $kind:ty, $width:literal, $from:ident, $to:ident;)*) => {$(
        extern "C" fn $read(address: u64) -> $kind {
            let value = match access(address, $width) {
                Some(access) => kernel().hardware_read(access) as $kind,
                // SAFETY: the caller's window, which is memory.
                None => unsafe { ram::get::<$kind>(address) },
            };
            <$kind>::$from(value)
        }
        extern "C" fn $write(value: $kind, address: u64) {
            let value = value.$to();
            match access(address, $width) {
                Some(access) => kernel().hardware_write(access, value.into()),
                // SAFETY: the caller's window, which is memory.
                None => unsafe { ram::put(address, value) },
            }
        }
    )*};
}

accessors! {
    ioread8 iowrite8 u8, 1, from_le, to_le;
    ioread16 iowrite16 u16, 2, from_le, to_le;
    ioread32 iowrite32 u32, 4, from_le, to_le;
    ioread64 iowrite64 u64, 8, from_le, to_le;
    ioread16be iowrite16be u16, 2, from_be, to_be;
    ioread32be iowrite32be u32, 4, from_be, to_be;
}

macro_rules! repeated {
    ($($read:ident $write:ident $one:ident $other:ident $kind:ty;)*) => {$(
        extern "C" fn $read(address: u64, into: u64, count: u64) {
            for number in 0..count {
                // SAFETY: the caller's array.
                unsafe { ram::put(into + number * size_of::<$kind>() as u64, $one(address)) };
            }
        }
        extern "C" fn $write(address: u64, from: u64, count: u64) {
            for number in 0..count {
                // SAFETY: the caller's array.
                $other(unsafe { ram::get::<$kind>(from + number * size_of::<$kind>() as u64) }, address);
            }
        }
    )*};
}

repeated! {
    ioread8_rep iowrite8_rep ioread8 iowrite8 u8;
    ioread16_rep iowrite16_rep ioread16 iowrite16 u16;
    ioread32_rep iowrite32_rep ioread32 iowrite32 u32;
}

/// The width that a copy of a window goes on with: four bytes where both ends allow it, as the processor's string moves do.
fn step(window: u64, left: u64) -> u64 {
    if window.is_multiple_of(4) && left >= 4 { 4 } else { 1 }
}
/// `void memcpy_fromio(void *, const volatile void __iomem *, size_t)`
extern "C" fn memcpy_fromio(to: u64, from: u64, length: u64) {
    if access(from, 1).is_none() {
        // SAFETY: the caller's ranges.
        unsafe { ram::copy(to, from, length) };
        return;
    }
    let mut done = 0;
    while done < length {
        let step = step(from + done, length - done);
        // SAFETY: the caller's buffer.
        unsafe {
            match step {
                4 => ram::put(to + done, ioread32(from + done)),
                _ => ram::put(to + done, ioread8(from + done)),
            }
        }
        done += step;
    }
}
/// `void memcpy_toio(volatile void __iomem *, const void *, size_t)`
extern "C" fn memcpy_toio(to: u64, from: u64, length: u64) {
    if access(to, 1).is_none() {
        // SAFETY: the caller's ranges.
        unsafe { ram::copy(to, from, length) };
        return;
    }
    let mut done = 0;
    while done < length {
        let step = step(to + done, length - done);
        // SAFETY: the caller's buffer.
        unsafe {
            match step {
                4 => iowrite32(ram::get(from + done), to + done),
                _ => iowrite8(ram::get(from + done), to + done),
            }
        }
        done += step;
    }
}
/// `void memset_io(volatile void __iomem *, int, size_t)`
extern "C" fn memset_io(to: u64, byte: i32, length: u64) {
    if access(to, 1).is_none() {
        // SAFETY: the caller's range.
        unsafe { ram::fill(to, byte as u8, length) };
        return;
    }
    let mut done = 0;
    while done < length {
        let step = step(to + done, length - done);
        match step {
            4 => iowrite32(u32::from_ne_bytes([byte as u8; 4]), to + done),
            _ => iowrite8(byte as u8, to + done),
        }
        done += step;
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c ioremap, c ioremap_wc = ioremap, c ioremap_cache = ioremap, c ioremap_uc = ioremap, c iounmap, c devm_ioremap,
    c devm_ioremap_wc = devm_ioremap, c devm_ioremap_uc = devm_ioremap, c devm_ioremap_resource, c ioport_map, k ioport_unmap, c devm_ioport_map, k devm_ioport_unmap = ioport_unmap, c ioread8, c iowrite8,
    c ioread16, c iowrite16, c ioread32, c iowrite32, c ioread64, c iowrite64, c ioread16be, c iowrite16be, c ioread32be,
    c iowrite32be, c ioread8_rep, c iowrite8_rep, c ioread16_rep, c iowrite16_rep, c ioread32_rep, c iowrite32_rep,
    c memcpy_fromio, c memcpy_toio, c memset_io,
];
