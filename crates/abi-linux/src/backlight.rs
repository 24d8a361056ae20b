//! Backlights: devices of the class `backlight`, whose drivers set the brightness of a panel.

use alloc::string::ToString;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::text::number;
use ferrmod_kernel::{Errno, files, kernel};

use crate::device::{self, class, devres, layout::device as c_device};
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{chains, kobject, locks, notifiers, printf, ram, slab, symbols, uevent};

layout! {
    mod backlight_device = "backlight_device" { props, update_lock, ops_lock, ops, entry, dev }
    mod backlight_properties = "backlight_properties" { brightness, max_brightness, power, type_ = "type", scale }
    mod backlight_ops = "backlight_ops" { update_status, get_brightness }
}

/// `enum backlight_type`, from 1 on
const TYPES: [&str; 3] = ["raw", "platform", "firmware"];
/// `enum backlight_scale`
const SCALES: [&str; 3] = ["unknown", "linear", "non-linear"];
/// `BACKLIGHT_REGISTERED`, `BACKLIGHT_UNREGISTERED`
const REGISTERED: u64 = 0;
const UNREGISTERED: u64 = 1;

/// Every backlight, the newest first.
static ALL: Lock<Vec<u64>> = Lock::new(Vec::new());

/// The class, which is there before any backlight is.
fn backlight_class() -> u64 {
    static CLASS: spin::Once<u64> = spin::Once::new();
    *CLASS.call_once(|| class::own("backlight", 0))
}

/// Registers the class.
pub(crate) fn begin() {
    backlight_class();
}

fn property(panel: u64, field: &Field) -> i32 {
    // SAFETY: a registered backlight.
    unsafe { field.get(backlight_device::props.at(panel)) }
}

fn set_property(panel: u64, field: &Field, value: i32) {
    // SAFETY: a registered backlight.
    unsafe { field.set(backlight_device::props.at(panel), value) };
}

/// The driver's function; `None` when the backlight is going or has none.
fn operation(panel: u64, field: &Field) -> Option<u64> {
    // SAFETY: a registered backlight and its driver's table.
    unsafe {
        let table: u64 = backlight_device::ops.get(panel);
        let function: u64 = if table == 0 { 0 } else { field.get(table) };
        (function != 0).then_some(function)
    }
}

/// Has the driver do what the properties say.
fn update(panel: u64) -> Result<(), Errno> {
    let function = operation(panel, &backlight_ops::update_status).ok_or(Errno::ENOENT)?;
    // SAFETY: the driver's function.
    let answer = unsafe { ram::call(function, [panel]) as i32 };
    Errno::result(answer)
}

/// The brightness that the driver reads from the panel, or the one that was set.
fn actual(panel: u64) -> Result<i32, Errno> {
    let Some(function) = operation(panel, &backlight_ops::get_brightness) else {
        return Ok(property(panel, &backlight_properties::brightness));
    };
    // SAFETY: the driver's function.
    let answer = unsafe { ram::call(function, [panel]) as i32 };
    Errno::from_return(answer.into()).map_or(Ok(answer), Err)
}

fn has_driver(panel: u64) -> bool {
    // SAFETY: a registered backlight.
    unsafe { backlight_device::ops.get::<u64>(panel) != 0 }
}

fn tell(panel: u64, source: &str) {
    let variable = alloc::format!("SOURCE={source}").into_bytes();
    uevent::send(device::object(backlight_device::dev.at(panel)), "change", &[variable]);
}

fn set_brightness(panel: u64, brightness: u64) -> Result<(), Errno> {
    if !has_driver(panel) {
        return Err(Errno::ENXIO);
    }
    let most = property(panel, &backlight_properties::max_brightness);
    let brightness = i32::try_from(brightness).ok().filter(|&wanted| wanted <= most).ok_or(Errno::EINVAL)?;
    set_property(panel, &backlight_properties::brightness, brightness);
    let result = update(panel);
    tell(panel, "sysfs");
    result
}

fn set_power(panel: u64, power: i32) -> Result<(), Errno> {
    if !has_driver(panel) {
        return Err(Errno::ENXIO);
    }
    let before = property(panel, &backlight_properties::power);
    if before == power {
        return Ok(());
    }
    set_property(panel, &backlight_properties::power, power);
    update(panel).inspect_err(|_| set_property(panel, &backlight_properties::power, before))
}

/// The files of the class.
fn add_files(panel: u64, path: &str) -> Result<(), Errno> {
    let text = |number: i32| alloc::format!("{number}\n").into_bytes();
    let show = move |field: &'static Field| move || text(property(panel, field));
    let word = move |words: &'static [&'static str], field: &'static Field, first: i32| {
        move || {
            let index = usize::try_from(property(panel, field) - first).unwrap_or(usize::MAX);
            alloc::format!("{}\n", words.get(index).copied().unwrap_or("unknown")).into_bytes()
        }
    };
    let power = files::read_write(
        0o644,
        move || Ok(show(&backlight_properties::power)()),
        move |text| set_power(panel, number::unsigned(text, 0)? as i32).map(|()| text.len()),
    );
    let brightness = files::read_write(
        0o644,
        move || Ok(show(&backlight_properties::brightness)()),
        move |text| set_brightness(panel, number::unsigned(text, 0)?).map(|()| text.len()),
    );
    let nodes = [
        ("bl_power", power),
        ("brightness", brightness),
        ("actual_brightness", files::read_write(0o444, move || actual(panel).map(text), |_| Err(Errno::EACCES))),
        ("max_brightness", files::read_only(0o444, show(&backlight_properties::max_brightness))),
        ("scale", files::read_only(0o444, word(&SCALES, &backlight_properties::scale, 0))),
        ("type", files::read_only(0o444, word(&TYPES, &backlight_properties::type_, 1))),
    ];
    nodes.into_iter().try_for_each(|(name, node)| kernel().files.add(&alloc::format!("{path}/{name}"), node))
}

fn register(name: u64, parent: u64, data: u64, ops: u64, properties: u64, caller: u64) -> Result<u64, Errno> {
    let panel = slab::allocate(backlight_device::SIZE.get(), 8, slab::ZERO, caller);
    if panel == 0 {
        return Err(Errno::ENOMEM);
    }
    let dev = backlight_device::dev.at(panel);
    device::begin(dev);
    // SAFETY: a zeroed block of the struct's size, and the driver's name and properties.
    let name = unsafe {
        locks::begin_mutex(backlight_device::update_lock.at(panel));
        locks::begin_mutex(backlight_device::ops_lock.at(panel));
        locks::init_list(backlight_device::entry.at(panel));
        c_device::class.set(dev, backlight_class());
        c_device::parent.set(dev, parent);
        c_device::release.set(dev, symbols::address("bl_device_release").unwrap_or(0));
        c_device::driver_data.set(dev, data);
        if properties != 0 {
            ram::copy(backlight_device::props.at(panel), properties, backlight_properties::SIZE.get());
            let kind: i32 = backlight_properties::type_.get(properties);
            if !(1..=TYPES.len() as i32).contains(&kind) {
                kernel().warn(&alloc::format!("{}: invalid backlight type", name_of(name)), caller);
                set_property(panel, &backlight_properties::type_, 1);
            }
        } else {
            set_property(panel, &backlight_properties::type_, 1);
        }
        backlight_device::ops.set(panel, ops);
        ram::c_string_or_empty(name)
    };
    let object = device::object(dev);
    let added = kobject::set_name(object, &name, caller).and_then(|()| device::add_for(dev, caller));
    added.inspect_err(|_| kobject::put(object))?;
    let path = kobject::path(object).ok_or(Errno::ENOENT);
    path.and_then(|path| add_files(panel, &path)).inspect_err(|_| device::destroy(dev))?;
    ALL.lock().insert(0, panel);
    notifiers::call(chains::BACKLIGHT.address(), REGISTERED, panel);
    Ok(panel)
}

fn name_of(name: u64) -> alloc::string::String {
    // SAFETY: the driver's C string.
    unsafe { ram::c_string_or_empty(name) }.to_str_lossy().into_owned()
}

fn unregister(panel: u64) {
    let known = {
        let mut all = ALL.lock();
        let before = all.len();
        all.retain(|&other| other != panel);
        all.len() != before
    };
    if !known {
        return;
    }
    notifiers::call(chains::BACKLIGHT.address(), UNREGISTERED, panel);
    // SAFETY: a registered backlight: who still has a file of it open finds no driver.
    unsafe { backlight_device::ops.set(panel, 0_u64) };
    device::destroy(backlight_device::dev.at(panel));
}

extern "C" fn bl_device_release(dev: u64) {
    slab::release(backlight_device::dev.container(dev), 0);
}
/// `struct backlight_device *backlight_device_register(const char *, struct device *parent, void *, const struct backlight_ops *,
/// const struct backlight_properties *)`
extern "C" fn backlight_device_register(name: u64, parent: u64, data: u64, ops: u64, properties: u64) -> u64 {
    let caller = ram::caller();
    register(name, parent, data, ops, properties, caller).unwrap_or_else(Errno::to_pointer)
}
extern "C" fn backlight_device_unregister(panel: u64) {
    unregister(panel);
}
/// As [`backlight_device_register`], until the driver of the first argument goes.
extern "C" fn devm_backlight_device_register(
    dev: u64,
    name: u64,
    parent: u64,
    data: u64,
    ops: u64,
    properties: u64,
) -> u64 {
    let caller = ram::caller();
    match register(name, parent, data, ops, properties, caller) {
        Ok(panel) => {
            devres::on_release(dev, move || unregister(panel));
            panel
        }
        Err(errno) => errno.to_pointer(),
    }
}
extern "C" fn devm_backlight_device_unregister(_dev: u64, panel: u64) {
    unregister(panel);
}
/// `int backlight_device_set_brightness(struct backlight_device *, unsigned long)`
extern "C" fn backlight_device_set_brightness(panel: u64, brightness: u64) -> i32 {
    Errno::returned(set_brightness(panel, brightness))
}
/// `void backlight_force_update(struct backlight_device *, enum backlight_update_reason)`: somebody else has changed it.
extern "C" fn backlight_force_update(panel: u64, reason: u32) {
    /// `BACKLIGHT_UPDATE_HOTKEY`
    const HOTKEY: u32 = 0;
    match actual(panel) {
        Ok(brightness) => set_property(panel, &backlight_properties::brightness, brightness),
        Err(errno) => {
            let name = errno.name().map_or_else(|| errno.0.to_string(), ToString::to_string);
            let text = alloc::format!("Could not update brightness from device: -{name}\n");
            printf::say_of_device(b"\x013", backlight_device::dev.at(panel), text.as_bytes());
        }
    }
    tell(panel, if reason == HOTKEY { "hotkey" } else { "sysfs" });
}
/// `struct backlight_device *backlight_device_get_by_type(enum backlight_type)`
extern "C" fn backlight_device_get_by_type(kind: i32) -> u64 {
    let all: Vec<u64> = ALL.lock().clone();
    all.into_iter().find(|&panel| property(panel, &backlight_properties::type_) == kind).unwrap_or(0)
}
/// `struct backlight_device *backlight_device_get_by_name(const char *)`, with a reference to its device.
extern "C" fn backlight_device_get_by_name(name: u64) -> u64 {
    let wanted = name_of(name);
    let all: Vec<u64> = ALL.lock().clone();
    let found = all.into_iter().find(|&panel| device::name(backlight_device::dev.at(panel)) == wanted);
    found.inspect(|&panel| _ = kobject::get(device::object(backlight_device::dev.at(panel)))).unwrap_or(0)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c bl_device_release, c backlight_device_register, c backlight_device_unregister, c devm_backlight_device_register,
    c devm_backlight_device_unregister, c backlight_device_set_brightness, c backlight_force_update,
    c backlight_device_get_by_type, c backlight_device_get_by_name,
];
