//! What drivers say about network devices.

use alloc::vec::Vec;

use ferrmod_kernel::kernel;

use crate::device;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{printf, ram};

layout! {
    mod net_device = "net_device" { name, dev, reg_state }
    mod parent = "device" { parent }
}

/// What a message begins with: the device below, and the network device's name and state.
fn prefix(dev: u64) -> Vec<u8> {
    if dev == 0 {
        return b"(NULL net_device): ".to_vec();
    }
    // SAFETY: the driver's device.
    unsafe {
        let mut out = Vec::new();
        let below: u64 = parent::parent.get(net_device::dev.at(dev));
        if below != 0 {
            out.extend_from_slice(device::label(below).as_bytes());
            out.push(b' ');
        }
        let name = ram::c_string(net_device::name.at(dev));
        let named = !name.is_empty() && !name.contains(&b'%');
        out.extend_from_slice(if named { name } else { b"(unnamed net_device)" });
        // `NETREG_UNINITIALIZED` is 0; a few bits of the member, which is one byte in newer kernels, are all that is used.
        if ram::get::<u8>(net_device::reg_state.at(dev)) == 0 {
            out.extend_from_slice(b" (uninitialized)");
        }
        out.extend_from_slice(b": ");
        out
    }
}

macro_rules! levels {
    ($($name:ident $level:literal),* $(,)?) => {
        $(
            /// A network device's message at its level.
            extern "C" fn $name(dev: u64, format: u64, list: u64) {
                kernel().printk(&[&$level[..], &prefix(dev), &printf::text_of(format, list)].concat());
            }
        )*
    };
}

levels! {
    netdev_emerg b"\x010", netdev_alert b"\x011", netdev_crit b"\x012", netdev_err b"\x013", netdev_warn b"\x014",
    netdev_notice b"\x015", netdev_info b"\x016",
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    v2 netdev_emerg, v2 netdev_alert, v2 netdev_crit, v2 netdev_err, v2 netdev_warn, v2 netdev_notice, v2 netdev_info,
];
