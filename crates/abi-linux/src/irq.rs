//! Interrupt lines: who waits for which. No device of a machine raises one yet.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod nmiaction = "nmiaction" { name }
}

const KIND: &str = "irq";
/// `IRQF_SHARED`
const SHARED: u64 = 0x80;
/// How many lines there are, as on a PC with one interrupt controller.
const LINES: u32 = 24;
/// The lines of the timer and of the cascade, which the kernel has itself.
const OWN: [u32; 2] = [0, 2];

/// One who waits: the line, the module's own mark, whether others may too, and the key of the registration.
struct Waiting {
    line: u32,
    device: u64,
    shared: bool,
    key: u64,
}

static WAITING: Lock<Vec<Waiting>> = Lock::new(Vec::new());

/// `int request_threaded_irq(unsigned irq, handler, thread_fn, unsigned long flags, const char *name, void *dev)`
extern "C" fn request_threaded_irq(line: u32, handler: u64, thread: u64, flags: u64, name: u64, device: u64) -> i32 {
    let caller = ram::caller();
    let shared = flags & SHARED != 0;
    if line >= LINES || (shared && device == 0) || (handler == 0 && thread == 0) {
        return Errno::EINVAL.to_return();
    }
    let taken = WAITING.lock().iter().any(|other| other.line == line && !(shared && other.shared));
    if taken || OWN.contains(&line) {
        return Errno::EBUSY.to_return();
    }
    // What a line costs its module: the registration's key is its address.
    let key = slab::allocate(8, 8, 0, caller);
    if key == 0 {
        return Errno::ENOMEM.to_return();
    }
    let mut text = alloc::format!("{line} ").into_bytes();
    // SAFETY: the module's C string.
    text.extend(unsafe { ram::c_string_or_empty(name) });
    WAITING.lock().push(Waiting { line, device, shared, key });
    // The key is new.
    let _ = kernel().registrations.add(KIND, key, text, kernel().owner_of(caller));
    0
}
/// `const void *free_irq(unsigned irq, void *dev)`
extern "C" fn free_irq(line: u32, device: u64) -> u64 {
    let found = {
        let mut all = WAITING.lock();
        let place = all.iter().position(|one| one.line == line && one.device == device);
        place.map(|place| all.remove(place))
    };
    match found {
        Some(one) => {
            kernel().registrations.remove(KIND, one.key);
            slab::release(one.key, 0);
        }
        None => kernel().printk(alloc::format!("\x014Trying to free already-free IRQ {line}\n").as_bytes()),
    }
    0
}
/// `unsigned long probe_irq_on(void)`: nothing raises a line, so that none is found.
extern "C" fn probe_irq_on() -> u64 {
    0
}

/// `int __register_nmi_handler(unsigned type, struct nmiaction *)`
extern "C" fn __register_nmi_handler(_kind: u32, action: u64) -> i32 {
    let caller = ram::caller();
    kernel()
        .registrations
        .add("nmi", action, kernel().symbolise(action).into_bytes(), kernel().owner_of(caller))
        .map_or_else(Errno::to_return, |()| 0)
}
/// `void unregister_nmi_handler(unsigned type, const char *name)`
extern "C" fn unregister_nmi_handler(_kind: u32, name: u64) {
    // SAFETY: the module's C strings; a registered action is there.
    let found = unsafe {
        let wanted = ram::c_string_or_empty(name);
        let mut actions = kernel().registrations.of_kind("nmi").into_iter().map(|one| one.key);
        actions.find(|&action| ram::c_string_or_empty(nmiaction::name.get(action)) == wanted)
    };
    if let Some(action) = found {
        kernel().registrations.remove("nmi", action);
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c request_threaded_irq, c free_irq, k probe_irq_on, k probe_irq_off = probe_irq_on, c __register_nmi_handler,
    c unregister_nmi_handler,
];
