//! Non-volatile memories: what flash chips and fuses offer besides their own files.

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod nvmem_config = "nvmem_config" { name, id }
    mod nvmem_device = "nvmem_device" { id }
}

/// `struct nvmem_device *nvmem_register(const struct nvmem_config *)`
extern "C" fn nvmem_register(config: u64) -> u64 {
    let caller = ram::caller();
    let made = slab::allocate(nvmem_device::SIZE.get(), 8, slab::ZERO, caller);
    if made == 0 {
        return Errno::ENOMEM.to_pointer();
    }
    // SAFETY: the module's description and its C string; a zeroed block of the struct's size.
    let name = unsafe {
        nvmem_device::id.set(made, nvmem_config::id.get::<i32>(config));
        ram::c_string_or_empty(nvmem_config::name.get(config))
    };
    // The memory is new.
    let _ = kernel().registrations.add("nvmem", made, name, kernel().owner_of(caller));
    made
}
/// `void nvmem_unregister(struct nvmem_device *)`
extern "C" fn nvmem_unregister(device: u64) {
    if kernel().registrations.remove("nvmem", device).is_some() {
        slab::release(device, 0);
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c nvmem_register, c nvmem_unregister];
