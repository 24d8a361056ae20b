//! What makes a LED light: triggers, and the LEDs that follow each.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::led_classdev;
use crate::device::devres;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, slab};

layout! {
    mod led_trigger = "led_trigger" { name, activate, deactivate, trigger_type, brightness, led_cdevs, next_trig, groups }
}

const KIND: &str = "led_trigger";

/// Every trigger, in the order in which they came.
static TRIGGERS: Lock<Vec<u64>> = Lock::new(Vec::new());

fn name(trigger: u64) -> String {
    // SAFETY: a registered trigger and its C string.
    unsafe { super::text(led_trigger::name.get(trigger)) }
}

/// The trigger that a LED follows, or 0.
fn of(led: u64) -> u64 {
    // SAFETY: a registered LED.
    unsafe { led_classdev::trigger.get(led) }
}

fn followers(trigger: u64) -> Vec<u64> {
    super::all().into_iter().filter(|&led| of(led) == trigger).collect()
}

/// The triggers that a LED may follow: one that is made for a device is for its LEDs only.
fn fitting(led: u64) -> Vec<u64> {
    let all = TRIGGERS.lock().clone();
    // SAFETY: a registered LED; the type is a pointer that is only compared.
    let own: u64 = unsafe { led_classdev::trigger_type.get(led) };
    // SAFETY: registered triggers.
    all.into_iter().filter(|&one| [0, own].contains(&unsafe { led_trigger::trigger_type.get::<u64>(one) })).collect()
}

/// Makes a LED follow a trigger, or none (0).
///
/// # Errors
/// What the trigger answers; the LED follows none then.
pub(crate) fn set(led: u64, trigger: u64) -> Result<(), Errno> {
    let before = of(led);
    // SAFETY: a registered LED, and the functions of its triggers.
    unsafe {
        if before != 0 {
            super::led_stop_software_blink(led);
            // Taking groups away cannot fail.
            let _ = super::change_groups(led, led_trigger::groups.get(before), false);
            let deactivate: u64 = led_trigger::deactivate.get(before);
            if deactivate != 0 {
                ram::call(deactivate, [led]);
            }
            led_classdev::trigger.set(led, 0_u64);
            led_classdev::trigger_data.set(led, 0_u64);
            led_classdev::activated.set(led, 0_u8);
            super::led_set_brightness(led, 0);
        }
        if trigger == 0 {
            return Ok(());
        }
        led_classdev::trigger.set(led, trigger);
        let activate: u64 = led_trigger::activate.get(trigger);
        let answer = if activate == 0 { 0 } else { ram::call(activate, [led]) as i32 };
        let added =
            Errno::result(answer).and_then(|()| super::change_groups(led, led_trigger::groups.get(trigger), true));
        if added.is_err() {
            led_classdev::trigger.set(led, 0_u64);
            led_classdev::trigger_data.set(led, 0_u64);
            super::led_set_brightness(led, 0);
        }
        added
    }
}

/// The trigger that a LED asks for by name, if it is there.
pub(crate) fn set_default(led: u64) {
    // SAFETY: a registered LED and its C string.
    let wanted = unsafe { super::text(led_classdev::default_trigger.get(led)) };
    if let Some(trigger) = fitting(led).into_iter().find(|&one| !wanted.is_empty() && name(one) == wanted) {
        // One that refuses leaves the LED without.
        let _ = set(led, trigger);
    }
}

/// The file `trigger` of a LED.
pub(crate) fn list(led: u64) -> Vec<u8> {
    let now = of(led);
    let mut out = String::from(if now == 0 { "[none]" } else { "none" });
    for trigger in fitting(led) {
        let name = name(trigger);
        out += &if trigger == now { alloc::format!(" [{name}]") } else { alloc::format!(" {name}") };
    }
    out.push('\n');
    out.into_bytes()
}

/// What is written to it.
///
/// # Errors
/// `EINVAL` for a trigger that is not there.
pub(crate) fn choose(led: u64, text: &[u8]) -> Result<usize, Errno> {
    let wanted = text.trim_ascii().to_str_lossy();
    if wanted == "none" {
        set(led, 0)?;
    } else {
        let trigger = fitting(led).into_iter().find(|&one| name(one) == wanted).ok_or(Errno::EINVAL)?;
        set(led, trigger)?;
    }
    Ok(text.len())
}

fn register(trigger: u64, caller: u64) -> Result<(), Errno> {
    let name = name(trigger);
    // SAFETY: the module's trigger, and those that are registered.
    unsafe {
        locks::init_list(led_trigger::led_cdevs.at(trigger));
        locks::init_list(led_trigger::next_trig.at(trigger));
        let kind = |one| led_trigger::trigger_type.get::<u64>(one);
        let others = TRIGGERS.lock().clone();
        if others.into_iter().any(|other| self::name(other) == name && [0, kind(trigger)].contains(&kind(other))) {
            return Err(Errno::EEXIST);
        }
    }
    kernel().registrations.add(KIND, trigger, name, kernel().owner_of(caller))?;
    TRIGGERS.lock().push(trigger);
    for led in super::all().into_iter().filter(|&led| of(led) == 0) {
        set_default(led);
    }
    Ok(())
}

fn unregister(trigger: u64) {
    TRIGGERS.lock().retain(|&other| other != trigger);
    for led in followers(trigger) {
        // Following none cannot be refused.
        let _ = set(led, 0);
    }
    kernel().registrations.remove(KIND, trigger);
}

/// `int led_trigger_register(struct led_trigger *)`
extern "C" fn led_trigger_register(trigger: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(trigger, caller))
}
extern "C" fn led_trigger_unregister(trigger: u64) {
    unregister(trigger);
}
/// As [`led_trigger_register`], until the driver goes.
extern "C" fn devm_led_trigger_register(dev: u64, trigger: u64) -> i32 {
    let caller = ram::caller();
    match register(trigger, caller) {
        Ok(()) => {
            devres::on_release(dev, move || unregister(trigger));
            0
        }
        Err(errno) => errno.to_return(),
    }
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
        led_trigger::name.set(trigger, name);
        match register(trigger, caller) {
            Ok(()) => ram::put(result, trigger),
            Err(errno) => {
                slab::release(trigger, caller);
                ram::put(result, 0u64);
                let error = errno.to_return();
                kernel().printk(alloc::format!("\x014LED trigger failed to register ({error})\n").as_bytes());
            }
        }
    }
}
extern "C" fn led_trigger_unregister_simple(trigger: u64) {
    if trigger != 0 {
        unregister(trigger);
        slab::release(trigger, ram::caller());
    }
}
/// `void led_trigger_event(struct led_trigger *, enum led_brightness)`
extern "C" fn led_trigger_event(trigger: u64, brightness: u32) {
    if trigger == 0 {
        return;
    }
    if led_trigger::brightness.offset().is_some() {
        // SAFETY: the module's trigger.
        unsafe { led_trigger::brightness.set(trigger, brightness) };
    }
    for led in followers(trigger) {
        super::led_set_brightness(led, brightness);
    }
}
/// `void led_trigger_blink(struct led_trigger *, unsigned long on, unsigned long off)`, in milliseconds; before 6.4 the two are
/// behind pointers, which are larger than any time.
extern "C" fn led_trigger_blink(trigger: u64, on: u64, off: u64) {
    const LONGEST: u64 = 1 << 46;
    for led in if trigger == 0 { Vec::new() } else { followers(trigger) } {
        // SAFETY: the caller's variables, if they are that.
        let (mut on, mut off) =
            unsafe { if on > LONGEST { (ram::get::<u64>(on), ram::get::<u64>(off)) } else { (on, off) } };
        super::led_blink_set(led, &raw mut on as u64, &raw mut off as u64);
    }
}
/// `void led_trigger_rename_static(const char *, struct led_trigger *)`
extern "C" fn led_trigger_rename_static(name: u64, trigger: u64) {
    // SAFETY: the module's trigger.
    unsafe { led_trigger::name.set(trigger, name) };
}
/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c led_trigger_register, c led_trigger_unregister, c devm_led_trigger_register, c led_trigger_register_simple,
    c led_trigger_unregister_simple, c led_trigger_event, c led_trigger_blink,
    c led_trigger_blink_oneshot = led_trigger_blink, c led_trigger_rename_static,
];
