//! Properties that firmware gives devices. A described device has none, and no firmware node.

use ferrmod_kernel::Errno;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod device = "device" { fwnode }
}

extern "C" fn absent() -> bool {
    false
}
extern "C" fn not_given() -> i32 {
    Errno::EINVAL.to_return()
}
extern "C" fn none() -> u64 {
    0
}
extern "C" fn no_node() {}

/// `struct fwnode_handle *__dev_fwnode(struct device *)`
extern "C" fn __dev_fwnode(dev: u64) -> u64 {
    // SAFETY: the caller's device.
    if dev == 0 { Errno::EINVAL.to_pointer() } else { unsafe { ram::get(device::fwnode.at(dev)) } }
}

/// `void device_set_node(struct device *, struct fwnode_handle *)`
extern "C" fn device_set_node(dev: u64, node: u64) {
    // SAFETY: the caller's device.
    unsafe { device::fwnode.set(dev, node) };
}

/// `void set_primary_fwnode(struct device *, struct fwnode_handle *)`: nothing here has a second one.
extern "C" fn set_primary_fwnode(dev: u64, node: u64) {
    device_set_node(dev, node);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k device_property_present = absent, k device_property_read_bool = absent, k device_property_read_u8_array = not_given,
    k device_property_read_u16_array = not_given, k device_property_read_u32_array = not_given,
    k device_property_read_u64_array = not_given, k device_property_read_string_array = not_given,
    k device_property_read_string = not_given, k device_property_match_string = not_given,
    k fwnode_property_present = absent, k fwnode_property_read_u32_array = not_given,
    k fwnode_property_read_string = not_given, k device_get_match_data = none, k device_get_child_node_count = none,
    k device_get_next_child_node = none, k fwnode_get_next_child_node = none, k fwnode_get_named_child_node = none,
    k device_get_named_child_node = none, k fwnode_handle_get = none, k fwnode_handle_put = no_node, c __dev_fwnode, c device_set_node, c set_primary_fwnode,
    c __dev_fwnode_const = __dev_fwnode, k acpi_device_get_match_data = none,
];
