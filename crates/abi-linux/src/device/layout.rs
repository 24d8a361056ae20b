//! The structs of the driver core.

use crate::field::layout;

layout! {
    pub(crate) mod device = "device" {
        kobj, parent, init_name, type_ = "type", bus, driver, driver_data, mutex, devt, id, class, groups,
        release, devres_head, numa_node, dma_pools, suppliers = "links.suppliers", consumers = "links.consumers",
        defer_sync = "links.defer_sync", power_entry = "power.entry",
    }
    pub(crate) mod class = "class" { name, class_groups, dev_groups, devnode, class_release, dev_release, dev_uevent, p }
    pub(crate) mod bus_type = "bus_type" {
        name, dev_name, dev_root, bus_groups, dev_groups, drv_groups, match_ = "match", uevent, probe, remove, p,
    }
    pub(crate) mod device_driver = "device_driver" {
        name, bus, owner, probe, remove, groups, dev_groups, p,
    }
    pub(crate) mod device_type = "device_type" { name, groups, uevent, devnode, release }
    pub(crate) mod driver_private = "driver_private" { kobj, driver }
    pub(crate) mod subsys_private = "subsys_private" {
        subsys, devices_kset, drivers_kset, bus, class, notifier = "bus_notifier.head", notifier_lock = "bus_notifier.rwsem",
        interfaces,
    }
    pub(crate) mod device_attribute = "device_attribute" { show, store }
    pub(crate) mod driver_attribute = "driver_attribute" { show, store }
    pub(crate) mod bus_attribute = "bus_attribute" { show, store }
    pub(crate) mod class_attribute = "class_attribute" { show, store }
    pub(crate) mod class_interface = "class_interface" { node, class, add_dev, remove_dev }
    pub(crate) mod dev_ext_attribute = "dev_ext_attribute" { var }
    pub(crate) mod mutex = "mutex" { wait_list }
    pub(crate) mod rw_semaphore = "rw_semaphore" { wait_list }
}
