//! Input devices: what drivers say that people do, and who listens.
//!
//! The core is a part of the kernel. Drivers allocate a device, say what it has ([`bits`]), register it and tell events ([`event`]);
//! modules that listen register handlers ([`handlers`]), which are offered every device.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::device::layout::{class, device as c_device, device_type};
use crate::device::{self, devres};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::vfs::chrdev;
use crate::{kobject, locks, ram, slab, symbols, system, time, user};

mod bits;
pub(crate) mod event;
pub(crate) mod handlers;
pub(crate) mod keys;
pub(crate) mod show;
pub(crate) mod touch;

layout! {
    mod input_dev = "input_dev" {
        name, phys, uniq, id, propbit, evbit, keybit, relbit, absbit, mscbit, ledbit, sndbit, ffbit, swbit,
        hint_events_per_packet, keycodemax, keycodesize, keycode, setkeycode, getkeycode, repeat_key, timer, rep, mt, absinfo,
        key, led, snd, sw, open, close, flush, event, grab, event_lock, mutex, users, going_away, dev, h_list, node,
        num_vals, max_vals, vals, devres_managed, timestamp, inhibited,
    }
    mod input_id = "input_id" { bustype, vendor, product, version }
    mod input_absinfo = "input_absinfo" { value, minimum, maximum, fuzz, flat }
    mod timer_list = "timer_list" { function }
}

const KIND: &str = "input";

/// `INPUT_MAJOR`, and the minors of it that are the kernel's (`INPUT_MAX_CHAR_DEVICES`); those from `INPUT_FIRST_DYNAMIC_DEV` on are for
/// handlers whose own are taken.
const MAJOR: u32 = 13;
const MINORS: u32 = 1024;
const DYNAMIC: u32 = 256;

/// Room for a `struct class` and a `struct device_type` of any kernel.
const ROOM: u64 = 256;
/// `struct class input_class`
static CLASS: Datum = Datum::new("input_class", ROOM, Begin::With(begin_class));
/// What tells the devices of drivers from those that handlers make of them.
static TYPE: Datum = Datum::new("input_dev_type", ROOM, Begin::With(begin_type));
/// Held while devices and handlers come together.
static MUTEX: Datum = Datum::new(
    "input_mutex",
    ROOM,
    Begin::With(|at| {
        // SAFETY: `data::place` gives more zeros than the struct has.
        unsafe { locks::begin_mutex(at) };
    }),
);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&CLASS, &TYPE, &MUTEX];

/// The devices that are registered, in the order in which they came.
static DEVICES: Lock<Vec<u64>> = Lock::new(Vec::new());
/// The devices that go with the driver of another, each with a number of its own.
static MANAGED: Lock<BTreeMap<u64, u64>> = Lock::new(BTreeMap::new());

fn begin_class(at: u64) {
    // SAFETY: `data::place` gives `ROOM` writable bytes of zeros, more than the struct has.
    unsafe {
        class::name.set(at, c"input".as_ptr() as u64);
        class::devnode.set(at, symbols::address("input_devnode").unwrap_or(0));
    }
}

fn begin_type(at: u64) {
    // SAFETY: as above.
    unsafe {
        device_type::uevent.set(at, symbols::address("input_dev_uevent").unwrap_or(0));
        device_type::release.set(at, symbols::address("input_dev_release").unwrap_or(0));
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

/// Every device that is registered, in the order in which they came.
fn all() -> Vec<u64> {
    DEVICES.lock().clone()
}

/// Does something with all devices while none comes or goes.
fn with_devices<T>(caller: u64, body: impl FnOnce(&[u64]) -> T) -> T {
    locks::take(MUTEX.address(), caller);
    let result = body(&all());
    locks::give(MUTEX.address(), caller);
    result
}

/// Does something with a device's mutex held.
fn with_mutex<T>(made: u64, caller: u64, body: impl FnOnce() -> T) -> T {
    let mutex = input_dev::mutex.at(made);
    locks::take(mutex, caller);
    let result = body();
    locks::give(mutex, caller);
    result
}

fn allocate(caller: u64) -> u64 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let made = slab::allocate(input_dev::SIZE.get(), 64, slab::ZERO, caller);
    if made == 0 {
        return 0;
    }
    let dev = input_dev::dev.at(made);
    device::begin(dev);
    // SAFETY: a zeroed block of the struct's size.
    let named = unsafe {
        c_device::class.set(dev, CLASS.address());
        c_device::type_.set(dev, TYPE.address());
        for list in [&input_dev::h_list, &input_dev::node] {
            locks::init_list(list.at(made));
        }
        locks::begin_mutex(input_dev::mutex.at(made));
        time::init_timer_key(input_dev::timer.at(made), 0, 0);
        let name = alloc::format!("input{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        kobject::set_name(device::object(dev), name.as_bytes(), caller)
    };
    if named.is_err() {
        kobject::put(device::object(dev));
        return 0;
    }
    made
}
/// `struct input_dev *input_allocate_device(void)`
extern "C" fn input_allocate_device() -> u64 {
    allocate(ram::caller())
}
/// `struct input_dev *devm_input_allocate_device(struct device *)`: one that goes with the driver.
extern "C" fn devm_input_allocate_device(parent: u64) -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let made = allocate(ram::caller());
    if made == 0 {
        return 0;
    }
    // SAFETY: the device just made.
    unsafe {
        c_device::parent.set(input_dev::dev.at(made), parent);
        input_dev::devres_managed.set(made, 1u8);
    }
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    MANAGED.lock().insert(made, number);
    devres::on_release(parent, move || {
        if MANAGED.lock().get(&made) == Some(&number) {
            unregister(made);
            MANAGED.lock().remove(&made);
            kobject::put(device::object(input_dev::dev.at(made)));
        }
    });
    made
}
extern "C" fn input_dev_release(dev: u64) {
    let made = input_dev::dev.container(dev);
    touch::input_mt_destroy_slots(made);
    // SAFETY: a device that nobody uses any more.
    unsafe {
        slab::release(input_dev::absinfo.get(made), 0);
        slab::release(input_dev::vals.get(made), 0);
    }
    slab::release(made, 0);
}
/// `void input_free_device(struct input_dev *)`
extern "C" fn input_free_device(made: u64) {
    if made != 0 {
        MANAGED.lock().remove(&made);
        kobject::put(device::object(input_dev::dev.at(made)));
    }
}

/// So many events a packet of the device is expected to have.
fn packet_size(made: u64) -> u32 {
    /// Keys and what else there is of them.
    const OTHERS: u32 = 7;
    let contacts = touch::most_contacts(made);
    // SAFETY: a device and its maps.
    let (axes, moves) = unsafe {
        (bits::all(input_dev::absbit.at(made), bits::AXES), bits::all(input_dev::relbit.at(made), 16).len() as u32)
    };
    let of_axis = |code: u32| if code == touch::SLOT || touch::is_of_contact(code) { contacts } else { 1 };
    let axes: u32 = if bits::has_type(made, bits::ABSOLUTE) { axes.into_iter().map(of_axis).sum() } else { 0 };
    let moves = if bits::has_type(made, bits::RELATIVE) { moves } else { 0 };
    contacts + 1 + axes + moves + OTHERS
}

fn register(made: u64, caller: u64) -> Result<(), Errno> {
    let dev = input_dev::dev.at(made);
    // SAFETY: the caller's device.
    let name: Vec<u8> = unsafe {
        if bits::has_type(made, bits::ABSOLUTE) && input_dev::absinfo.get::<u64>(made) == 0 {
            let label = device::label(dev);
            kernel().printk(
                alloc::format!("\x013{label}: Absolute device without dev->absinfo, refusing to register\n").as_bytes(),
            );
            return Err(Errno::EINVAL);
        }
        bits::put(input_dev::evbit.at(made), bits::SYNC, true);
        bits::put(input_dev::keybit.at(made), keys::RESERVED, false);
        // Codes of types that the device does not have are none.
        for (_, kind, codes) in bits::MAPS {
            if let Some(map) = bits::map_of(kind).filter(|_| !bits::has_type(made, kind)) {
                ram::fill(map.at(made), 0, u64::from(codes.div_ceil(64)) * 8);
            }
        }
        let size = packet_size(made).max(input_dev::hint_events_per_packet.get(made));
        // The driver may have asked for any size.
        let most = size.checked_add(2).ok_or(Errno::ENOMEM)?;
        input_dev::hint_events_per_packet.set(made, size);
        input_dev::max_vals.set(made, most);
        let events = slab::allocate(u64::from(most) * event::input_value::SIZE.get(), 8, slab::ZERO, caller);
        if events == 0 {
            return Err(Errno::ENOMEM);
        }
        input_dev::vals.set(made, events);
        ram::c_string_or_empty(input_dev::name.get(made))
    };
    event::repeat_by_default(made);
    keys::complete(made);
    let added = device::add_for(dev, caller).and_then(|()| show::add_files(made).inspect_err(|_| device::delete(dev)));
    if let Err(errno) = added {
        // SAFETY: the block just taken.
        unsafe {
            slab::release(input_dev::vals.get(made), caller);
            input_dev::vals.set(made, 0u64);
        }
        return Err(errno);
    }
    let path = kobject::path(device::object(dev)).unwrap_or_default();
    let shown: &[u8] = if name.is_empty() { b"Unspecified device" } else { &name };
    let text = alloc::format!("\x016input: {} as {}\n", shown.as_bstr(), path.strip_prefix("/sys").unwrap_or(&path));
    kernel().printk(text.as_bytes());
    with_devices(caller, |_| {
        DEVICES.lock().push(made);
        // A device is added once, as its directory has just shown.
        let _ = kernel().registrations.add(KIND, made, shown, kernel().owner_of(caller));
        handlers::arrived(made);
    });
    Ok(())
}
/// `int input_register_device(struct input_dev *)`
extern "C" fn input_register_device(made: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(made, caller))
}

/// Takes a device away that is registered; its memory stays.
fn unregister(made: u64) {
    let caller = ram::caller();
    if !DEVICES.lock().contains(&made) {
        return;
    }
    handlers::disconnected(made);
    with_devices(caller, |_| {
        handlers::leaves(made);
        time::cancel_timer(input_dev::timer.at(made), true);
        DEVICES.lock().retain(|&other| other != made);
        kernel().registrations.remove(KIND, made);
    });
    device::delete(input_dev::dev.at(made));
}
/// `void input_unregister_device(struct input_dev *)`
extern "C" fn input_unregister_device(made: u64) {
    unregister(made);
    // One that goes with a driver is given back when that goes.
    if !MANAGED.lock().contains_key(&made) {
        kobject::put(device::object(input_dev::dev.at(made)));
    }
}
/// `bool input_device_enabled(struct input_dev *)`
extern "C" fn input_device_enabled(made: u64) -> bool {
    // SAFETY: the caller's device.
    unsafe { input_dev::inhibited.get::<u8>(made) == 0 && input_dev::users.get::<u32>(made) > 0 }
}

/// `void input_set_capability(struct input_dev *, unsigned type, unsigned code)`
extern "C" fn input_set_capability(made: u64, kind: u32, code: u32) {
    match kind {
        // SAFETY: the caller's device.
        bits::POWER => unsafe { bits::put(input_dev::evbit.at(made), kind, true) },
        _ if bits::map_of(kind).is_some() => {
            if code >= bits::codes(kind) {
                return refuse_capability(&alloc::format!("invalid code {code} for type {kind}"));
            }
            if kind == bits::ABSOLUTE {
                input_alloc_absinfo(made);
            }
            bits::give(made, kind, code);
        }
        _ => refuse_capability(&alloc::format!("unknown type {kind} (code {code})")),
    }
}

/// Says what a device cannot have, and who wanted it.
fn refuse_capability(why: &str) {
    kernel().printk(alloc::format!("\x013input: input_set_capability: {why}\n").as_bytes());
    system::dump_stack();
}
/// `void input_alloc_absinfo(struct input_dev *)`
extern "C" fn input_alloc_absinfo(made: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's device.
    unsafe {
        if input_dev::absinfo.get::<u64>(made) == 0 {
            let info = slab::allocate(u64::from(bits::AXES) * input_absinfo::SIZE.get(), 8, slab::ZERO, caller);
            input_dev::absinfo.set(made, info);
        }
    }
}
/// `void input_set_abs_params(struct input_dev *, unsigned axis, int min, int max, int fuzz, int flat)`
extern "C" fn input_set_abs_params(made: u64, axis: u32, least: i32, most: i32, fuzz: i32, flat: i32) {
    bits::give(made, bits::ABSOLUTE, axis);
    input_alloc_absinfo(made);
    // SAFETY: the caller's device; the array has room for every axis.
    unsafe {
        let info: u64 = input_dev::absinfo.get(made);
        if info != 0 && axis < bits::AXES {
            let info = info + u64::from(axis) * input_absinfo::SIZE.get();
            input_absinfo::minimum.set(info, least);
            input_absinfo::maximum.set(info, most);
            input_absinfo::fuzz.set(info, fuzz);
            input_absinfo::flat.set(info, flat);
        }
    }
}
/// `void input_copy_abs(struct input_dev *, unsigned axis, const struct input_dev *, unsigned axis)`
extern "C" fn input_copy_abs(made: u64, axis: u32, from: u64, of: u32) {
    // SAFETY: the caller's devices.
    unsafe {
        let source: u64 = input_dev::absinfo.get(from);
        if !bits::has(from, bits::ABSOLUTE, of) || source == 0 {
            return;
        }
        bits::give(made, bits::ABSOLUTE, axis);
        input_alloc_absinfo(made);
        let target: u64 = input_dev::absinfo.get(made);
        let size = input_absinfo::SIZE.get();
        if target != 0 && axis < bits::AXES {
            ram::copy(target + u64::from(axis) * size, source + u64::from(of) * size, size);
        }
    }
}

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
    c input_devnode, c input_allocate_device, c devm_input_allocate_device, c input_dev_release, c input_free_device,
    c input_register_device, c input_unregister_device, c input_device_enabled, c input_set_capability, c input_alloc_absinfo,
    c input_set_abs_params, c input_copy_abs, c input_event_from_user, c input_event_to_user,
];
