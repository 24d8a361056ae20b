//! Interrupt lines and messages: who waits for which, and what happens when a device raises one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::device::devres;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{instructions, ram, slab, tasks};

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

/// Messages have the numbers from here on.
const FIRST_VECTOR: u32 = 32;
/// `IRQF_NO_AUTOEN`
const STAYS_OFF: u64 = 0x80000;
/// `IRQ_WAKE_THREAD`, a bit like `IRQ_HANDLED`.
const WAKE_THREAD: u32 = 2;

/// One who waits: the line, the functions, the module's own mark, whether others may too, and the key of the registration.
#[derive(Clone, Copy)]
struct Waiting {
    line: u32,
    handler: u64,
    thread: u64,
    device: u64,
    shared: bool,
    key: u64,
}

static WAITING: Lock<Vec<Waiting>> = Lock::new(Vec::new());
/// The numbers that messages have.
static VECTORS: Lock<BTreeSet<u32>> = Lock::new(BTreeSet::new());
/// How often each line was switched off, and whether it was raised meanwhile.
static OFF: Lock<BTreeMap<u32, (u32, bool)>> = Lock::new(BTreeMap::new());

/// Takes a number for messages.
pub(crate) fn take_vector() -> u32 {
    let mut vectors = VECTORS.lock();
    let free = (FIRST_VECTOR..).find(|number| !vectors.contains(number)).unwrap_or(FIRST_VECTOR);
    vectors.insert(free);
    free
}
/// Gives it back.
pub(crate) fn give_vector(number: u32) {
    VECTORS.lock().remove(&number);
}

/// Runs the handlers of a line; whether one of them did something.
pub(crate) fn handle(line: u32) -> bool {
    if let Some((_, raised)) = OFF.lock().get_mut(&line) {
        *raised = true;
        return false;
    }
    let waiting: Vec<Waiting> = WAITING.lock().iter().filter(|one| one.line == line).copied().collect();
    let call = |one: &Waiting, function: u64| {
        // SAFETY: a handler takes its line and its mark.
        unsafe { ram::call(function, [one.line.into(), one.device]) as u32 }
    };
    let on = instructions::interrupts_enabled();
    instructions::set_interrupts(false);
    tasks::add_preempt(tasks::HARDIRQ_OFFSET);
    let answers: Vec<u32> =
        waiting.iter().map(|one| if one.handler == 0 { WAKE_THREAD } else { call(one, one.handler) }).collect();
    tasks::add_preempt(-tasks::HARDIRQ_OFFSET);
    instructions::set_interrupts(on);
    for (one, _) in waiting.iter().zip(&answers).filter(|(one, answer)| **answer & WAKE_THREAD != 0 && one.thread != 0)
    {
        call(one, one.thread);
    }
    answers.iter().any(|&answer| answer != 0)
}

fn request(
    line: u32,
    (handler, thread): (u64, u64),
    flags: u64,
    name: u64,
    device: u64,
    caller: u64,
) -> Result<u64, Errno> {
    let shared = flags & SHARED != 0;
    let exists = line < LINES || VECTORS.lock().contains(&line);
    if !exists || (shared && device == 0) || (handler == 0 && thread == 0) {
        return Err(Errno::EINVAL);
    }
    let taken = WAITING.lock().iter().any(|other| other.line == line && !(shared && other.shared));
    if taken || OWN.contains(&line) {
        return Err(Errno::EBUSY);
    }
    // What a line costs its module: the registration's key is its address.
    let key = slab::allocate(8, 8, 0, caller);
    if key == 0 {
        return Err(Errno::ENOMEM);
    }
    let mut text = alloc::format!("{line} ").into_bytes();
    // SAFETY: the module's C string.
    text.extend(unsafe { ram::c_string_or_empty(name) });
    WAITING.lock().push(Waiting { line, handler, thread, device, shared, key });
    // The key is new.
    let _ = kernel().registrations.add(KIND, key, text, kernel().owner_of(caller));
    if flags & STAYS_OFF != 0 {
        switch_off(line);
    } else if kernel().hardware.is_raised(line) {
        kernel().deliver(line);
    }
    Ok(key)
}

/// Takes back what `wanted` accepts; whether there was such.
fn free(wanted: impl Fn(&Waiting) -> bool) -> bool {
    let found = {
        let mut all = WAITING.lock();
        let place = all.iter().position(wanted);
        place.map(|place| all.remove(place))
    };
    let Some(one) = found else { return false };
    kernel().registrations.remove(KIND, one.key);
    slab::release(one.key, 0);
    let last = !WAITING.lock().iter().any(|other| other.line == one.line);
    if last {
        OFF.lock().remove(&one.line);
    }
    true
}

/// `int request_threaded_irq(unsigned irq, handler, thread_fn, unsigned long flags, const char *name, void *dev)`
extern "C" fn request_threaded_irq(line: u32, handler: u64, thread: u64, flags: u64, name: u64, device: u64) -> i32 {
    let caller = ram::caller();
    request(line, (handler, thread), flags, name, device, caller).map_or_else(Errno::to_return, |_| 0)
}
/// `int request_any_context_irq(unsigned irq, handler, unsigned long flags, const char *name, void *)`
extern "C" fn request_any_context_irq(line: u32, handler: u64, flags: u64, name: u64, device: u64) -> i32 {
    let caller = ram::caller();
    request(line, (handler, 0), flags, name, device, caller).map_or_else(Errno::to_return, |_| 0)
}
/// `int devm_request_threaded_irq(struct device *, irq, handler, thread_fn, flags, const char *name, void *dev)`
extern "C" fn devm_request_threaded_irq(
    dev: u64,
    line: u32,
    handler: u64,
    thread: u64,
    flags: u64,
    name: u64,
    device: u64,
) -> i32 {
    let caller = ram::caller();
    match request(line, (handler, thread), flags, name, device, caller) {
        Ok(key) => {
            devres::on_release(dev, move || _ = free(|one| one.key == key));
            0
        }
        Err(errno) => errno.to_return(),
    }
}
/// `void devm_free_irq(struct device *, unsigned irq, void *)`
extern "C" fn devm_free_irq(_dev: u64, line: u32, device: u64) {
    free_irq(line, device);
}
/// `const void *free_irq(unsigned irq, void *dev)`
extern "C" fn free_irq(line: u32, device: u64) -> u64 {
    if !free(|one| one.line == line && one.device == device) {
        kernel().printk(alloc::format!("\x014Trying to free already-free IRQ {line}\n").as_bytes());
    }
    0
}

fn switch_off(line: u32) {
    OFF.lock().entry(line).or_insert((0, false)).0 += 1;
}
extern "C" fn disable_irq(line: u32) {
    switch_off(line);
}
extern "C" fn disable_hardirq(line: u32) -> bool {
    switch_off(line);
    true
}
extern "C" fn enable_irq(line: u32) {
    let raised = {
        let mut off = OFF.lock();
        match off.get_mut(&line) {
            Some((count, _)) if *count > 1 => {
                *count -= 1;
                Some(false)
            }
            Some(&mut (_, raised)) => {
                off.remove(&line);
                Some(raised)
            }
            None => None,
        }
    };
    match raised {
        Some(true) => kernel().deliver(line),
        Some(false) => (),
        None => kernel().warn(&alloc::format!("Unbalanced enable for IRQ {line}"), ram::caller()),
    }
}
/// `void synchronize_irq(unsigned)`: handlers run to completion, so that none is running when somebody else is.
extern "C" fn synchronize_irq() {}
/// `unsigned long probe_irq_on(void)`: nothing raises a line, so that none is found.
extern "C" fn probe_irq_on() -> u64 {
    0
}

/// `int __register_nmi_handler(unsigned type, struct nmiaction *)`
extern "C" fn __register_nmi_handler(_kind: u32, action: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(kernel().registrations.add(
        "nmi",
        action,
        kernel().symbolise(action).into_bytes(),
        kernel().owner_of(caller),
    ))
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

/// What is asked of a line's controller here needs nothing.
extern "C" fn needs_nothing() -> i32 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c request_threaded_irq, c request_any_context_irq, s1 devm_request_threaded_irq, c devm_free_irq, c free_irq, c disable_irq,
    c disable_irq_nosync = disable_irq, c disable_hardirq, c enable_irq, k synchronize_irq,
    k irq_set_irq_wake = needs_nothing, k __irq_apply_affinity_hint = needs_nothing, k probe_irq_on, k probe_irq_off = probe_irq_on, c __register_nmi_handler,
    c unregister_nmi_handler,
];
