//! LEDs: devices of the class `leds`, their brightness, and what makes them blink.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, files, kernel};

use crate::device::{self, class, devres};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{kobject, locks, ram, sysfs, time, workqueue};

pub(crate) mod triggers;

layout! {
    pub(crate) mod led_classdev = "led_classdev" {
        name, brightness, max_brightness, flags, brightness_set, brightness_set_blocking, brightness_get, blink_set, dev,
        groups, node, default_trigger, blink_delay_on, blink_delay_off, blink_timer, blink_brightness,
        set_brightness_work, delayed_set_value, trigger, trigger_type, trig_list, trigger_data, activated, led_access, trigger_lock,
    }
    mod led_init_data = "led_init_data" { default_label, devicename, devname_mandatory }
    mod rw_semaphore = "rw_semaphore" { wait_list }
}

const KIND: &str = "led";

/// `LED_FULL`
const FULL: u32 = 255;
/// `LED_SUSPENDED`, `LED_UNREGISTERING`, `LED_CORE_SUSPENDRESUME`, `LED_SYSFS_DISABLE`, `LED_RETAIN_AT_SHUTDOWN`
const SUSPENDED: u32 = 1;
const UNREGISTERING: u32 = 1 << 1;
const SYSFS_DISABLED: u32 = 1 << 17;
const RETAINED: u32 = 1 << 22;

/// Every LED, in the order in which they came.
static LEDS: Lock<Vec<u64>> = Lock::new(Vec::new());

/// The class, which is there before any LED is.
fn led_class() -> u64 {
    static CLASS: spin::Once<u64> = spin::Once::new();
    *CLASS.call_once(|| class::own("leds", 0))
}

/// Registers the class.
pub(crate) fn begin() {
    led_class();
}

fn flags(led: u64) -> u32 {
    // SAFETY: a registered LED.
    unsafe { led_classdev::flags.get(led) }
}

fn change_flags(led: u64, set: u32, clear: u32) {
    // SAFETY: a registered LED.
    unsafe { led_classdev::flags.set(led, flags(led) & !clear | set) };
}

/// Tells the driver the brightness that it set last; functions that may sleep are called from a worker.
fn tell(led: u64, brightness: u32) {
    // SAFETY: a registered LED and its driver's functions.
    unsafe {
        let set: u64 = led_classdev::brightness_set.get(led);
        if set != 0 {
            ram::call(set, [led, brightness.into()]);
        } else if led_classdev::brightness_set_blocking.get::<u64>(led) != 0 {
            led_classdev::delayed_set_value.set(led, brightness);
            workqueue::queue_own(led_classdev::set_brightness_work.at(led), tell_blocking);
        }
    }
}

fn tell_blocking(work: u64) {
    let led = led_classdev::set_brightness_work.container(work);
    // SAFETY: a registered LED: its work is waited for before it goes.
    unsafe {
        let brightness: u32 = led_classdev::delayed_set_value.get(led);
        ram::call(led_classdev::brightness_set_blocking.get(led), [led, brightness.into()]);
    }
}

/// `void led_set_brightness_nosleep(struct led_classdev *, unsigned int)`
pub(crate) extern "C" fn led_set_brightness_nosleep(led: u64, brightness: u32) {
    // SAFETY: a registered LED.
    unsafe {
        let brightness = brightness.min(led_classdev::max_brightness.get(led));
        led_classdev::brightness.set(led, brightness);
        if flags(led) & SUSPENDED == 0 {
            tell(led, brightness);
        }
    }
}
/// `void led_set_brightness(struct led_classdev *, unsigned int)`: a blinking LED goes on with that, or stops for 0.
pub(crate) extern "C" fn led_set_brightness(led: u64, brightness: u32) {
    // SAFETY: a registered LED.
    let blinks = unsafe { led_classdev::blink_delay_on.get::<u64>(led) != 0 };
    if !blinks || brightness == 0 {
        led_stop_software_blink(led);
        led_set_brightness_nosleep(led, brightness);
    } else {
        // SAFETY: as above.
        unsafe { led_classdev::blink_brightness.set(led, brightness) };
    }
}
/// `int led_update_brightness(struct led_classdev *)`
extern "C" fn led_update_brightness(led: u64) -> i32 {
    // SAFETY: a registered LED and its driver's function.
    unsafe {
        let get: u64 = led_classdev::brightness_get.get(led);
        let answer = if get == 0 { 0 } else { ram::call(get, [led]) as i32 };
        if get != 0 && answer >= 0 {
            led_classdev::brightness.set(led, answer);
        }
        answer.min(0)
    }
}

/// `void led_stop_software_blink(struct led_classdev *)`
pub(crate) extern "C" fn led_stop_software_blink(led: u64) {
    // SAFETY: a registered LED.
    unsafe {
        time::cancel_timer(led_classdev::blink_timer.at(led), true);
        led_classdev::blink_delay_on.set(led, 0_u64);
        led_classdev::blink_delay_off.set(led, 0_u64);
    }
}

/// The timer of a blinking LED: on when it is off, off when it is on.
extern "C" fn led_timer_function(timer: u64) {
    let led = led_classdev::blink_timer.container(timer);
    // SAFETY: a registered LED: its timer is taken back before it goes.
    unsafe {
        let (on, off): (u64, u64) = (led_classdev::blink_delay_on.get(led), led_classdev::blink_delay_off.get(led));
        if on == 0 || off == 0 {
            return;
        }
        let lights = led_classdev::brightness.get::<u32>(led) == 0;
        if !lights {
            led_classdev::blink_brightness.set(led, led_classdev::brightness.get::<u32>(led));
        }
        let brightness = if lights { led_classdev::blink_brightness.get(led) } else { 0 };
        led_set_brightness_nosleep(led, brightness);
        let milliseconds = u32::try_from(if lights { on } else { off }).unwrap_or(u32::MAX);
        time::start_timer(timer, time::__msecs_to_jiffies(milliseconds));
    }
}
/// `void led_blink_set(struct led_classdev *, unsigned long *on, unsigned long *off)`, in milliseconds: by the driver if it can.
pub(crate) extern "C" fn led_blink_set(led: u64, on: u64, off: u64) {
    /// What is taken when neither is said.
    const DEFAULT: u64 = 500;
    led_stop_software_blink(led);
    // SAFETY: a registered LED, its driver's function and the caller's variables.
    unsafe {
        let set: u64 = led_classdev::blink_set.get(led);
        if set != 0 && ram::call(set, [led, on, off]) as i32 == 0 {
            return;
        }
        if ram::get::<u64>(on) == 0 && ram::get::<u64>(off) == 0 {
            ram::put(on, DEFAULT);
            ram::put(off, DEFAULT);
        }
        let (on, off): (u64, u64) = (ram::get(on), ram::get(off));
        let now: u32 = led_classdev::brightness.get(led);
        let lit = match (now, led_classdev::blink_brightness.get::<u32>(led)) {
            (0, 0) => led_classdev::max_brightness.get(led),
            (0, before) => before,
            (now, _) => now,
        };
        led_classdev::blink_brightness.set(led, lit);
        led_classdev::blink_delay_on.set(led, on);
        led_classdev::blink_delay_off.set(led, off);
        match (on, off) {
            (0, _) => led_set_brightness_nosleep(led, 0),
            (_, 0) => led_set_brightness_nosleep(led, lit),
            _ => {
                time::start_timer(led_classdev::blink_timer.at(led), 1);
            }
        }
    }
}

fn show_brightness(led: u64) -> Vec<u8> {
    led_update_brightness(led);
    // SAFETY: a registered LED.
    alloc::format!("{}\n", unsafe { led_classdev::brightness.get::<u32>(led) }).into_bytes()
}

fn store_brightness(led: u64, text: &[u8]) -> Result<usize, Errno> {
    if flags(led) & SYSFS_DISABLED != 0 {
        return Err(Errno::EBUSY);
    }
    let words = text.to_str_lossy();
    let brightness: u64 = words.trim_end_matches('\n').parse().map_err(|_| Errno::EINVAL)?;
    if brightness == 0 {
        triggers::set(led, 0)?;
    }
    led_set_brightness(led, brightness.min(u32::MAX.into()) as u32);
    Ok(text.len())
}

/// The files of the class.
fn add_files(led: u64, path: &str) -> Result<(), Errno> {
    let files = &kernel().files;
    let brightness =
        files::read_write(0o644, move || Ok(show_brightness(led)), move |text| store_brightness(led, text));
    files.add(&alloc::format!("{path}/brightness"), brightness)?;
    // SAFETY: a registered LED.
    let most: u32 = unsafe { led_classdev::max_brightness.get(led) };
    let most = files::read_only(0o444, move || alloc::format!("{most}\n").into_bytes());
    files.add(&alloc::format!("{path}/max_brightness"), most)?;
    let trigger = files::read_write(0o644, move || Ok(triggers::list(led)), move |text| triggers::choose(led, text));
    files.add(&alloc::format!("{path}/trigger"), trigger)
}

/// What a LED is to be called.
///
/// # Safety
/// `led` and `data` are the caller's.
unsafe fn wanted_name(led: u64, data: u64) -> Result<Vec<u8>, Errno> {
    // SAFETY: the caller vouches for them.
    unsafe {
        if data == 0 {
            return Ok(ram::c_string_or_empty(led_classdev::name.get(led)));
        }
        let device = ram::c_string_or_empty(led_init_data::devicename.get(data));
        let label = ram::c_string_or_empty(led_init_data::default_label.get(data));
        let mandatory = led_init_data::devname_mandatory.get::<u8>(data) != 0;
        if label.is_empty() || (mandatory && device.is_empty()) {
            return Err(Errno::EINVAL);
        }
        Ok([device, label].join(b":".as_slice()))
    }
}

fn register(parent: u64, led: u64, data: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the module's LED.
    unsafe {
        let mut name = wanted_name(led, data)?;
        let of_class = class::path(led_class()).ok_or(Errno::ENODEV)?;
        let wanted = name.clone();
        for number in 1.. {
            if kernel().files.node(&alloc::format!("{of_class}/{}", name.to_str_lossy())).is_none() {
                break;
            }
            name = [wanted.as_slice(), alloc::format!("_{number}").as_bytes()].concat();
        }
        let dev = device::create(led_class(), parent, 0, led, led_classdev::groups.get(led), &name, caller)?;
        led_classdev::dev.set(led, dev);
        if led_classdev::max_brightness.get::<u32>(led) == 0 {
            led_classdev::max_brightness.set(led, FULL);
        }
        change_flags(led, 0, UNREGISTERING);
        locks::begin_mutex(led_classdev::led_access.at(led));
        locks::init_list(rw_semaphore::wait_list.at(led_classdev::trigger_lock.at(led)));
        locks::init_list(led_classdev::trig_list.at(led));
        locks::init_list(led_classdev::node.at(led));
        let function = crate::symbols::address("led_timer_function").unwrap_or(0);
        time::init_timer_key(led_classdev::blink_timer.at(led), function, 0);
        let path = kobject::path(device::object(dev)).ok_or(Errno::ENOENT)?;
        if let Err(errno) = add_files(led, &path) {
            device::destroy(dev);
            return Err(errno);
        }
        // One that is registered has its directory, so that this one is new.
        let _ = kernel().registrations.add(KIND, led, name, kernel().owner_of(caller));
        LEDS.lock().push(led);
        led_update_brightness(led);
        triggers::set_default(led);
    }
    Ok(())
}

fn unregister(led: u64) {
    let known = {
        let mut leds = LEDS.lock();
        let before = leds.len();
        leds.retain(|&other| other != led);
        leds.len() != before
    };
    if !known {
        return;
    }
    // Without a trigger nothing can be refused.
    let _ = triggers::set(led, 0);
    change_flags(led, UNREGISTERING, 0);
    led_stop_software_blink(led);
    if flags(led) & RETAINED == 0 {
        led_set_brightness(led, 0);
    }
    kernel().work.flush(led_classdev::set_brightness_work.at(led));
    kernel().registrations.remove(KIND, led);
    // SAFETY: the device that registering made.
    device::destroy(unsafe { led_classdev::dev.get(led) });
}

/// `int led_classdev_register_ext(struct device *parent, struct led_classdev *, struct led_init_data *)`
extern "C" fn led_classdev_register_ext(parent: u64, led: u64, data: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(parent, led, data, caller))
}
extern "C" fn led_classdev_unregister(led: u64) {
    unregister(led);
}
/// As [`led_classdev_register_ext`], until the driver goes.
extern "C" fn devm_led_classdev_register_ext(parent: u64, led: u64, data: u64) -> i32 {
    let caller = ram::caller();
    match register(parent, led, data, caller) {
        Ok(()) => {
            devres::on_release(parent, move || unregister(led));
            0
        }
        Err(errno) => errno.to_return(),
    }
}
extern "C" fn devm_led_classdev_unregister(_dev: u64, led: u64) {
    unregister(led);
}
extern "C" fn led_classdev_suspend(led: u64) {
    change_flags(led, SUSPENDED, 0);
    tell(led, 0);
}
extern "C" fn led_classdev_resume(led: u64) {
    // SAFETY: a registered LED.
    tell(led, unsafe { led_classdev::brightness.get(led) });
    change_flags(led, 0, SUSPENDED);
}

/// `u32 *led_get_default_pattern(struct led_classdev *, unsigned int *size)`: a pattern is a property of firmware, and no LED here
/// has any.
extern "C" fn led_get_default_pattern() -> u64 {
    0
}

/// Every LED.
fn all() -> Vec<u64> {
    LEDS.lock().clone()
}

/// The groups of a trigger come to, or go from, the directory of a LED.
fn change_groups(led: u64, groups: u64, add: bool) -> Result<(), Errno> {
    // SAFETY: a registered LED.
    let object = device::object(unsafe { led_classdev::dev.get(led) });
    if add {
        return sysfs::add_groups(object, groups);
    }
    sysfs::remove_groups(object, groups);
    Ok(())
}

/// The name of a trigger or LED.
///
/// # Safety
/// `at` is a C string or 0.
unsafe fn text(at: u64) -> String {
    // SAFETY: the caller vouches for it.
    unsafe { ram::c_string_or_empty(at) }.to_str_lossy().to_string()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c led_set_brightness_nosleep, c led_set_brightness, c led_update_brightness, c led_stop_software_blink,
    c led_timer_function, c led_blink_set, c led_classdev_register_ext, c led_classdev_unregister,
    k led_get_default_pattern, c devm_led_classdev_register_ext, c devm_led_classdev_unregister, c led_classdev_suspend, c led_classdev_resume,
];
