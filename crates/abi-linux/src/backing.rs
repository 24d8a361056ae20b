//! Backing devices and transport classes.

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{device, locks, printf, ram, slab};

layout! {
    mod backing_dev_info = "backing_dev_info" { refcnt, bdi_list, ra_pages, dev, wb_list }
    mod transport_class = "transport_class" { class }
    mod anon_transport_class = "anon_transport_class" { tclass, container }
    mod attribute_container = "attribute_container" { class, flags }
}

/// `struct backing_dev_info *bdi_alloc(int node)`
extern "C" fn bdi_alloc() -> u64 {
    let caller = ram::caller();
    let made = slab::allocate(backing_dev_info::SIZE.get(), 64, slab::ZERO, caller);
    if made != 0 {
        /// 128 KiB (`VM_READAHEAD_PAGES`).
        const AHEAD: u64 = 32;
        // SAFETY: a zeroed block of the struct's size.
        unsafe {
            backing_dev_info::refcnt.set(made, 1u32);
            backing_dev_info::ra_pages.set(made, AHEAD);
            locks::init_list(backing_dev_info::bdi_list.at(made));
            locks::init_list(backing_dev_info::wb_list.at(made));
        }
    }
    made
}
/// `int bdi_register(struct backing_dev_info *, const char *, ...)`: a device of the class `bdi`.
extern "C" fn bdi_register(made: u64, format: u64, list: u64) -> i32 {
    let caller = ram::caller();
    static CLASS: spin::Once<u64> = spin::Once::new();
    let class = *CLASS.call_once(|| device::class::own("bdi", 0));
    let name = printf::text_of(format, list);
    match device::create(class, 0, 0, made, 0, &name, caller) {
        Ok(dev) => {
            // SAFETY: the module's backing device.
            unsafe { backing_dev_info::dev.set(made, dev) };
            0
        }
        Err(errno) => errno.to_return(),
    }
}
extern "C" fn bdi_unregister(made: u64) {
    // SAFETY: the module's backing device.
    unsafe {
        let dev: u64 = backing_dev_info::dev.get(made);
        if dev != 0 {
            backing_dev_info::dev.set(made, 0u64);
            device::destroy(dev);
        }
    }
}
extern "C" fn bdi_put(made: u64) {
    // SAFETY: the module's backing device.
    let left = unsafe {
        let left = backing_dev_info::refcnt.get::<u32>(made).saturating_sub(1);
        backing_dev_info::refcnt.set(made, left);
        left
    };
    if left == 0 {
        bdi_unregister(made);
        slab::release(made, 0);
    }
}

/// `int transport_class_register(struct transport_class *)`: a class with more to it.
extern "C" fn transport_class_register(transport: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(device::class::register(transport_class::class.at(transport), caller))
}
extern "C" fn transport_class_unregister(transport: u64) {
    device::class::unregister(transport_class::class.at(transport));
}
/// `int anon_transport_class_register(struct anon_transport_class *)`: one that makes no class devices.
extern "C" fn anon_transport_class_register(anonymous: u64) -> i32 {
    let caller = ram::caller();
    /// `ATTRIBUTE_CONTAINER_NO_CLASSDEVS`
    const NO_DEVICES: u64 = 1;
    let container = anon_transport_class::container.at(anonymous);
    // SAFETY: the module's class.
    unsafe {
        attribute_container::class
            .set(container, transport_class::class.at(anon_transport_class::tclass.at(anonymous)));
        attribute_container::flags.set(container, NO_DEVICES);
    }
    let name = kernel().symbolise(anonymous);
    let owner = kernel().owner_of(caller);
    Errno::returned(kernel().registrations.add("attribute_container", container, name, owner))
}
extern "C" fn anon_transport_class_unregister(anonymous: u64) {
    kernel().registrations.remove("attribute_container", anon_transport_class::container.at(anonymous));
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c bdi_alloc, c bdi_register, c bdi_unregister, c bdi_put, c transport_class_register, c transport_class_unregister,
    c anon_transport_class_register, c anon_transport_class_unregister,
];
