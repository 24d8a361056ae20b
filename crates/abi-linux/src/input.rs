//! Input devices: what a module offers, and who listens.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use ferrmod_kernel::{Errno, kernel};

use crate::device::layout::device;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{device as devices, kobject, locks, ram, slab, symbols, user};

layout! {
    mod input_dev = "input_dev" {
        name, dev, evbit, keybit, relbit, absbit, mscbit, ledbit, sndbit, ffbit, swbit, mutex, h_list, node, absinfo,
    }
    mod mutex = "mutex" { wait_list }
    mod input_absinfo = "input_absinfo" { minimum, maximum, fuzz, flat }
}

const KIND: &str = "input";

/// `EV_KEY` and so on: which bits say what there is of each type of event.
fn bits_of(kind: u32) -> Option<&'static crate::field::Field> {
    Some(match kind {
        0x01 => &input_dev::keybit,
        0x02 => &input_dev::relbit,
        0x03 => &input_dev::absbit,
        0x04 => &input_dev::mscbit,
        0x05 => &input_dev::swbit,
        0x11 => &input_dev::ledbit,
        0x12 => &input_dev::sndbit,
        0x15 => &input_dev::ffbit,
        _ => return None,
    })
}
/// `EV_PWR`
const POWER: u32 = 0x16;
/// `ABS_CNT`
const AXES: u64 = 0x40;

fn set_bit(map: u64, bit: u32) {
    let word = map + u64::from(bit / 64) * 8;
    // SAFETY: a bitmap of the caller's device, with room for every event of its type.
    unsafe { ram::put(word, ram::get::<u64>(word) | 1 << (bit % 64)) };
}

/// `struct input_dev *input_allocate_device(void)`
extern "C" fn input_allocate_device() -> u64 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let caller = ram::caller();
    let made = slab::allocate(input_dev::SIZE.get(), 64, slab::ZERO, caller);
    if made == 0 {
        return 0;
    }
    let dev = input_dev::dev.at(made);
    devices::begin(dev);
    // SAFETY: a zeroed block of the struct's size.
    let named = unsafe {
        device::release.set(dev, symbols::address("input_dev_release").unwrap_or(0));
        for list in [&input_dev::h_list, &input_dev::node] {
            locks::init_list(list.at(made));
        }
        locks::init_list(mutex::wait_list.at(input_dev::mutex.at(made)));
        let name = alloc::format!("input{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        kobject::set_name(devices::object(dev), name.as_bytes(), caller)
    };
    if named.is_err() {
        kobject::put(devices::object(dev));
        return 0;
    }
    made
}
extern "C" fn input_dev_release(dev: u64) {
    let made = input_dev::dev.container(dev);
    // SAFETY: a device that nobody uses any more.
    slab::release(unsafe { input_dev::absinfo.get(made) }, 0);
    slab::release(made, 0);
}
/// `void input_free_device(struct input_dev *)`
extern "C" fn input_free_device(made: u64) {
    if made != 0 {
        kobject::put(devices::object(input_dev::dev.at(made)));
    }
}

/// `int input_register_device(struct input_dev *)`
extern "C" fn input_register_device(made: u64) -> i32 {
    let caller = ram::caller();
    /// `EV_SYN`
    const SYNC: u32 = 0;
    set_bit(input_dev::evbit.at(made), SYNC);
    let dev = input_dev::dev.at(made);
    if let Err(errno) = devices::add_for(dev, caller) {
        return errno.to_return();
    }
    // SAFETY: the module's C string.
    let name: Vec<u8> = unsafe { ram::c_string_or_empty(input_dev::name.get(made)) };
    let path = devices::name(dev);
    let shown: &[u8] = if name.is_empty() { b"Unspecified device" } else { &name };
    let mut text = b"\x016input: ".to_vec();
    text.extend_from_slice(shown);
    text.extend_from_slice(alloc::format!(" as /devices/virtual/input/{path}\n").as_bytes());
    kernel().printk(&text);
    kernel().registrations.add(KIND, made, shown, kernel().owner_of(caller)).map_or_else(Errno::to_return, |()| 0)
}
/// `void input_unregister_device(struct input_dev *)`
extern "C" fn input_unregister_device(made: u64) {
    kernel().registrations.remove(KIND, made);
    devices::destroy(input_dev::dev.at(made));
}

/// `void input_set_capability(struct input_dev *, unsigned type, unsigned code)`
extern "C" fn input_set_capability(made: u64, kind: u32, code: u32) {
    match bits_of(kind) {
        Some(field) => set_bit(field.at(made), code),
        None if kind == POWER => (),
        None => {
            kernel()
                .printk(alloc::format!("\x013input_set_capability: unknown type {kind} (code {code})\n").as_bytes());
            return;
        }
    }
    set_bit(input_dev::evbit.at(made), kind);
}
/// `void input_alloc_absinfo(struct input_dev *)`
extern "C" fn input_alloc_absinfo(made: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's device.
    unsafe {
        if input_dev::absinfo.get::<u64>(made) == 0 {
            let info = slab::allocate(AXES * input_absinfo::SIZE.get(), 8, slab::ZERO, caller);
            input_dev::absinfo.set(made, info);
        }
    }
}
/// `void input_set_abs_params(struct input_dev *, unsigned axis, int min, int max, int fuzz, int flat)`
extern "C" fn input_set_abs_params(made: u64, axis: u32, least: i32, most: i32, fuzz: i32, flat: i32) {
    /// `EV_ABS`
    const ABSOLUTE: u32 = 3;
    set_bit(input_dev::evbit.at(made), ABSOLUTE);
    set_bit(input_dev::absbit.at(made), axis);
    input_alloc_absinfo(made);
    // SAFETY: the caller's device; the array has room for every axis.
    unsafe {
        let info: u64 = input_dev::absinfo.get(made);
        if info != 0 && u64::from(axis) < AXES {
            let info = info + u64::from(axis) * input_absinfo::SIZE.get();
            input_absinfo::minimum.set(info, least);
            input_absinfo::maximum.set(info, most);
            input_absinfo::fuzz.set(info, fuzz);
            input_absinfo::flat.set(info, flat);
        }
    }
}
/// `void input_event(struct input_dev *, unsigned type, unsigned code, int value)`: nobody listens.
extern "C" fn input_event() {}

/// Bytes of a `struct input_event` of a 64-bit program.
const EVENT: u64 = 24;

/// `int input_event_from_user(const char __user *, struct input_event *)`
extern "C" fn input_event_from_user(from: u64, event: u64) -> i32 {
    if user::_copy_from_user(event, from, EVENT) == 0 { 0 } else { Errno::EFAULT.to_return() }
}
/// `int input_event_to_user(char __user *, const struct input_event *)`
extern "C" fn input_event_to_user(to: u64, event: u64) -> i32 {
    if user::_copy_to_user(to, event, EVENT) == 0 { 0 } else { Errno::EFAULT.to_return() }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c input_allocate_device, c input_dev_release, c input_free_device, c input_register_device, c input_unregister_device,
    c input_set_capability, c input_alloc_absinfo, c input_set_abs_params, k input_event, c input_event_from_user,
    c input_event_to_user,
];
