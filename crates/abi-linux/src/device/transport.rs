//! Transports of devices: what classes of them add to the devices of their kind.
//!
//! A transport class is seen in the table of `attribute_container`s. No device here belongs to one, so that there is nothing to be set
//! up, added or removed for it.

use crate::export::{Export, exports};

/// `int transport_add_device(struct device *)`, `void transport_setup_device(struct device *)` and their like.
extern "C" fn of_no_transport() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k transport_setup_device = of_no_transport, k transport_add_device = of_no_transport,
    k transport_configure_device = of_no_transport, k transport_remove_device = of_no_transport,
    k transport_destroy_device = of_no_transport,
];
