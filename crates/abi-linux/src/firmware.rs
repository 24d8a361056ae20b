//! Firmware: there is no store of it in a machine, and that is what everybody is told.

use bstr::ByteSlice;
use ferrmod_kernel::work::QueueId;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{device, locks, module, ram, slab, symbols};

layout! {
    mod firmware = "firmware" { data }
}

static EMBEDDED: Datum = Datum::new(
    "efi_embedded_fw_list",
    16,
    Begin::With(|at| {
        // SAFETY: `data::place` gives 16 writable bytes.
        unsafe { locks::init_list(at) };
    }),
);
/// Whether the firmware's own memory was searched: it was not, for there is none.
static CHECKED: Datum = Datum::new("efi_embedded_fw_checked", 1, Begin::Zero);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&EMBEDDED, &CHECKED];

/// Looks for firmware: an empty name is no question, and every other has no answer.
fn look(result: u64, name: u64, dev: u64, warn: bool) -> i32 {
    // SAFETY: the caller's pointer and C string.
    let name = unsafe {
        ram::put(result, 0u64);
        ram::c_string_or_empty(name)
    };
    if name.is_empty() {
        return Errno::EINVAL.to_return();
    }
    if warn {
        let who = if dev == 0 { "(NULL device *)".into() } else { device::name(dev) };
        let text = alloc::format!("\x014{who}: Direct firmware load for {} failed with error -2\n", name.as_bstr());
        kernel().printk(text.as_bytes());
    }
    Errno::ENOENT.to_return()
}

/// `int request_firmware(const struct firmware **, const char *, struct device *)`
extern "C" fn request_firmware(result: u64, name: u64, dev: u64) -> i32 {
    look(result, name, dev, true)
}
extern "C" fn request_firmware_quietly(result: u64, name: u64, dev: u64) -> i32 {
    look(result, name, dev, false)
}

/// What a request in the background needs: callback, its argument, module.
const LATER: u64 = 24;

/// Calls back without firmware.
fn call_back(later: u64) {
    // SAFETY: the block that `request_firmware_nowait` made, and the module's function.
    unsafe {
        let (function, argument, owner): (u64, u64, u64) = (ram::get(later), ram::get(later + 8), ram::get(later + 16));
        slab::release(later, 0);
        ram::call(function, [0, argument]);
        if let Some(owner) = module::at(owner) {
            owner.put();
        }
    }
}

/// `int request_firmware_nowait(struct module *, bool uevent, const char *, struct device *, gfp_t, void *context, void (*cont)(const struct firmware *, void *))`
extern "C" fn request_firmware_nowait(
    owner: u64,
    _uevent: bool,
    name: u64,
    dev: u64,
    _flags: u32,
    context: u64,
    function: u64,
) -> i32 {
    let mut none = 0u64;
    let error = look(&raw mut none as u64, name, dev, true);
    if error == Errno::EINVAL.to_return() {
        return error;
    }
    let taken = owner == 0 || module::at(owner).is_some_and(|module| module.try_get());
    if !taken {
        return Errno::EFAULT.to_return();
    }
    let later = slab::allocate(LATER, 8, 0, 0);
    if later == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: the block just allocated.
    unsafe {
        ram::put(later, function);
        ram::put(later + 8, context);
        ram::put(later + 16, owner);
    }
    // The system's queue is known by its variable's address.
    let queue = QueueId(symbols::address("system_wq").unwrap_or(0));
    match kernel().work.enqueue(queue, later, call_back) {
        Ok(_) => 0,
        Err(errno) => errno.to_return(),
    }
}

/// `void release_firmware(const struct firmware *)`: none was ever given out, except null.
extern "C" fn release_firmware(given: u64) {
    if given != 0 {
        // SAFETY: the caller's object.
        let data: u64 = unsafe { firmware::data.get(given) };
        kernel().warn(&alloc::format!("release_firmware: {data:#x} was not given out"), ram::caller());
    }
}
extern "C" fn firmware_request_cache() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c request_firmware, c request_firmware_direct = request_firmware_quietly, c firmware_request_nowarn = request_firmware_quietly,
    c firmware_request_platform = request_firmware, c request_firmware_into_buf = request_firmware,
    c request_partial_firmware_into_buf = request_firmware, s1 request_firmware_nowait, c release_firmware,
    k firmware_request_cache,
];
