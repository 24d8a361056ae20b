//! LED triggers that drivers keep for events of theirs.

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab};

layout! {
    mod led_trigger = "led_trigger" { name, brightness, led_cdevs, next_trig }
}

/// `void led_trigger_register_simple(const char *, struct led_trigger **)`
extern "C" fn led_trigger_register_simple(name: u64, result: u64) {
    let caller = ram::caller();
    let trigger = slab::allocate(led_trigger::SIZE.get(), 8, slab::ZERO, caller);
    // SAFETY: the module's C string and pointer, and our own block.
    unsafe {
        if trigger == 0 {
            kernel().printk(b"\x014LED trigger failed to register (no memory)\n");
            ram::put(result, 0u64);
            return;
        }
        let text = ram::c_string(name).to_vec();
        led_trigger::name.set(trigger, name);
        locks::init_list(led_trigger::led_cdevs.at(trigger));
        locks::init_list(led_trigger::next_trig.at(trigger));
        let taken = kernel().registrations.named("led_trigger", &text).is_some();
        let added = !taken
            && kernel().registrations.add("led_trigger", trigger, text.clone(), kernel().owner_of(caller)).is_ok();
        if added {
            ram::put(result, trigger);
        } else {
            slab::release(trigger, caller);
            ram::put(result, 0u64);
            let error = Errno::EEXIST.to_return();
            kernel().printk(alloc::format!("\x014LED trigger failed to register ({error})\n").as_bytes());
        }
    }
}
extern "C" fn led_trigger_unregister_simple(trigger: u64) {
    if trigger != 0 {
        kernel().registrations.remove("led_trigger", trigger);
        slab::release(trigger, ram::caller());
    }
}
/// `void led_trigger_event(struct led_trigger *, enum led_brightness)`: no LED follows it; it remembers.
extern "C" fn led_trigger_event(trigger: u64, brightness: u32) {
    if trigger != 0 {
        // SAFETY: the module's trigger.
        unsafe { led_trigger::brightness.set(trigger, brightness) };
    }
}
extern "C" fn led_trigger_blink(trigger: u64) {
    led_trigger_event(trigger, 255);
}
/// `void led_trigger_rename_static(const char *, struct led_trigger *)`
extern "C" fn led_trigger_rename_static(name: u64, trigger: u64) {
    // SAFETY: the module's trigger.
    unsafe { led_trigger::name.set(trigger, name) };
}
/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c led_trigger_register_simple, c led_trigger_unregister_simple, c led_trigger_event, c led_trigger_blink,
    c led_trigger_blink_oneshot = led_trigger_blink, c led_trigger_rename_static,
];
