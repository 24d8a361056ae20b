//! Input devices: what a module offers, and who listens.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use bstr::ByteSlice;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::device::layout::{class, device as c_device};
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::vfs::chrdev;
use crate::{device, kobject, locks, ram, registries, slab, symbols, user};

layout! {
    mod input_dev = "input_dev" {
        name, phys, uniq, id, propbit, dev, evbit, keybit, relbit, absbit, mscbit, ledbit, sndbit, ffbit, swbit, mutex, h_list, node, absinfo,
    }
    mod mutex = "mutex" { wait_list }
    mod input_id = "input_id" { bustype, vendor, product, version }
    mod input_handler = "input_handler" { name, filter, legacy_minors, minor }
    mod input_absinfo = "input_absinfo" { minimum, maximum, fuzz, flat }
}

const KIND: &str = "input";

/// `INPUT_MAJOR`, and the minors of it that are the kernel's (`INPUT_MAX_CHAR_DEVICES`).
const MAJOR: u32 = 13;
const MINORS: u32 = 1024;

/// Room for a `struct class` of any kernel.
const ROOM: u64 = 256;
/// `struct class input_class`
static CLASS: Datum = Datum::new("input_class", ROOM, Begin::With(begin_class));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&CLASS];

fn begin_class(at: u64) {
    // SAFETY: `data::place` gives `ROOM` writable bytes of zeros, more than the struct has.
    unsafe {
        class::name.set(at, c"input".as_ptr() as u64);
        class::devnode.set(at, symbols::address("input_devnode").unwrap_or(0));
    }
}

/// `char *devnode(const struct device *, umode_t *)` of the class: what handlers make is in `/dev/input`.
extern "C" fn input_devnode(dev: u64, _mode: u64) -> u64 {
    crate::printf::duplicate(alloc::format!("input/{}", device::name(dev)).as_bytes(), 0, 0)
}

/// Registers the class and the device numbers of handlers.
pub(crate) fn begin() {
    // The machine is new: neither is taken. Without memory devices have no class, and are refused.
    let _ = device::class::register(CLASS.address(), 0);
    let _ = chrdev::reserve_for(MAJOR, 0, MINORS, b"input", 0);
}

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
    device::begin(dev);
    // SAFETY: a zeroed block of the struct's size.
    let named = unsafe {
        c_device::class.set(dev, CLASS.address());
        c_device::release.set(dev, symbols::address("input_dev_release").unwrap_or(0));
        for list in [&input_dev::h_list, &input_dev::node] {
            locks::init_list(list.at(made));
        }
        locks::init_list(mutex::wait_list.at(input_dev::mutex.at(made)));
        let name = alloc::format!("input{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        kobject::set_name(device::object(dev), name.as_bytes(), caller)
    };
    if named.is_err() {
        kobject::put(device::object(dev));
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
        kobject::put(device::object(input_dev::dev.at(made)));
    }
}

/// `int input_register_device(struct input_dev *)`
extern "C" fn input_register_device(made: u64) -> i32 {
    let caller = ram::caller();
    /// `EV_SYN`
    const SYNC: u32 = 0;
    set_bit(input_dev::evbit.at(made), SYNC);
    let dev = input_dev::dev.at(made);
    if let Err(errno) = device::add_for(dev, caller) {
        return errno.to_return();
    }
    // SAFETY: the module's C string.
    let name: Vec<u8> = unsafe { ram::c_string_or_empty(input_dev::name.get(made)) };
    let path = device::name(dev);
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
    device::destroy(input_dev::dev.at(made));
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

/// Bits of each type of event that devices have a map of: its name, its number, how many there are (`EV_CNT` and so on).
const MAPS: [(&str, u32, u64); 8] = [
    ("KEY", 0x01, 0x300),
    ("REL", 0x02, 0x10),
    ("ABS", 0x03, 0x40),
    ("MSC", 0x04, 0x08),
    ("LED", 0x11, 0x10),
    ("SND", 0x12, 0x08),
    ("FF", 0x15, 0x80),
    ("SW", 0x05, 0x11),
];

/// A bitmap as `/proc/bus/input/devices` has it: words from the highest that is not zero on.
fn map_line(name: &str, map: u64, bits: u64) -> String {
    // SAFETY: a bitmap of a device with this many bits.
    let words = (0..bits.div_ceil(64)).rev().map(|word| unsafe { ram::get::<u64>(map + 8 * word) });
    let mut shown: Vec<String> = words.skip_while(|&word| word == 0).map(|word| alloc::format!("{word:x}")).collect();
    if shown.is_empty() {
        shown.push("0".into());
    }
    alloc::format!("B: {name}={}\n", shown.join(" "))
}

/// `/proc/bus/input/devices`
pub(crate) fn devices() -> Vec<u8> {
    /// `INPUT_PROP_CNT`, `EV_CNT`
    const BITS: u64 = 0x20;
    let mut out = String::new();
    for one in kernel().registrations.of_kind(KIND) {
        let made = one.key;
        // SAFETY: a registered device and its C strings.
        unsafe {
            let id = input_dev::id.at(made);
            let [bus, vendor, product, version]: [u16; 4] =
                [&input_id::bustype, &input_id::vendor, &input_id::product, &input_id::version]
                    .map(|field| field.get(id));
            let text = |field: &Field| ram::c_string_or_empty(field.get(made)).to_str_lossy().into_owned();
            let path = kobject::path(device::object(input_dev::dev.at(made))).unwrap_or_default();
            out += &alloc::format!(
                "I: Bus={bus:04x} Vendor={vendor:04x} Product={product:04x} Version={version:04x}\n\
                 N: Name=\"{}\"\nP: Phys={}\nS: Sysfs={}\nU: Uniq={}\nH: Handlers=\n",
                text(&input_dev::name),
                text(&input_dev::phys),
                path.strip_prefix("/sys").unwrap_or(&path),
                text(&input_dev::uniq),
            );
            out += &map_line("PROP", input_dev::propbit.at(made), BITS);
            let types = input_dev::evbit.at(made);
            out += &map_line("EV", types, BITS);
            for (name, kind, bits) in MAPS {
                if let Some(field) = bits_of(kind).filter(|_| ram::get::<u64>(types) >> kind & 1 != 0) {
                    out += &map_line(name, field.at(made), bits);
                }
            }
        }
        out.push('\n');
    }
    out.into_bytes()
}

/// `/proc/bus/input/handlers`
pub(crate) fn handlers() -> Vec<u8> {
    let mut out = String::new();
    for (number, handler) in registries::input_handlers().into_iter().enumerate() {
        // SAFETY: a registered handler and its C string.
        unsafe {
            let name = ram::c_string_or_empty(input_handler::name.get(handler));
            out += &alloc::format!("N: Number={number} Name={}", name.to_str_lossy());
            if input_handler::filter.get::<u64>(handler) != 0 {
                out += " (filter)";
            }
            if input_handler::legacy_minors.get::<u8>(handler) != 0 {
                out += &alloc::format!(" Minor={}", input_handler::minor.get::<i32>(handler));
            }
        }
        out.push('\n');
    }
    out.into_bytes()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c input_devnode, c input_allocate_device, c input_dev_release, c input_free_device, c input_register_device, c input_unregister_device,
    c input_set_capability, c input_alloc_absinfo, c input_set_abs_params, k input_event, c input_event_from_user,
    c input_event_to_user,
];
