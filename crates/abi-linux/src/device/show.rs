//! A device's attributes, and what its events say.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::chrdev::Number;
use ferrmod_kernel::{Errno, kernel};

use super::layout::{bus_type, class, dev_ext_attribute, device, device_attribute, device_driver, device_type};
use super::{deferred, object, of_object};
use crate::export::{Export, exports};
use crate::{kobject, printf, ram, symbols, sysfs, uevent};

extern "C" fn dev_attr_show(at: u64, attribute: u64, buffer: u64) -> i64 {
    // SAFETY: the attribute of a device and its function.
    unsafe {
        match device_attribute::show.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            show => ram::call(show, [of_object(at), attribute, buffer]) as i64,
        }
    }
}
extern "C" fn dev_attr_store(at: u64, attribute: u64, buffer: u64, count: u64) -> i64 {
    // SAFETY: as above.
    unsafe {
        match device_attribute::store.get::<u64>(attribute) {
            0 => Errno::EIO.to_return().into(),
            store => ram::call(store, [of_object(at), attribute, buffer, count]) as i64,
        }
    }
}

/// What every event of a device says.
fn variables(dev: u64) -> Vec<String> {
    let mut out = Vec::new();
    // SAFETY: a device that is added, its type and its driver.
    unsafe {
        let number = Number(device::devt.get(dev));
        if number.major() != 0 {
            out.push(alloc::format!("MAJOR={}", number.major()));
            out.push(alloc::format!("MINOR={}", number.minor()));
            out.push(alloc::format!("DEVNAME={}", super::name(dev).replace('!', "/")));
        }
        let kind: u64 = device::type_.get(dev);
        if kind != 0 && device_type::name.get::<u64>(kind) != 0 {
            out.push(alloc::format!("DEVTYPE={}", ram::c_string(device_type::name.get(kind)).to_str_lossy()));
        }
        let driver: u64 = device::driver.get(dev);
        if driver != 0 {
            out.push(alloc::format!("DRIVER={}", ram::c_string(device_driver::name.get(driver)).to_str_lossy()));
        }
    }
    out
}

/// The functions of a device's bus, class and type that add to its events.
fn functions(dev: u64) -> [u64; 3] {
    // SAFETY: a device that is added, and its bus, class and type.
    unsafe {
        let (bus, of_class, kind): (u64, u64, u64) =
            (device::bus.get(dev), device::class.get(dev), device::type_.get(dev));
        [
            if bus == 0 { 0 } else { bus_type::uevent.get(bus) },
            if of_class == 0 { 0 } else { class::dev_uevent.get(of_class) },
            if kind == 0 { 0 } else { device_type::uevent.get(kind) },
        ]
    }
}

extern "C" fn device_uevent_filter(at: u64) -> i32 {
    let dev = of_object(at);
    // SAFETY: a device that is added.
    unsafe { device::bus.get::<u64>(dev) != 0 || device::class.get::<u64>(dev) != 0 }.into()
}
extern "C" fn device_uevent_name(at: u64) -> u64 {
    let dev = of_object(at);
    // SAFETY: a device that is added, and its bus and class.
    unsafe {
        let (bus, of_class): (u64, u64) = (device::bus.get(dev), device::class.get(dev));
        match (bus, of_class) {
            (0, 0) => 0,
            (0, of_class) => class::name.get(of_class),
            (bus, _) => bus_type::name.get(bus),
        }
    }
}
extern "C" fn device_uevent_fill(at: u64, env: u64) -> i32 {
    let dev = of_object(at);
    for variable in variables(dev) {
        let result = uevent::add_variable(env, variable.as_bytes());
        if result != 0 {
            return result;
        }
    }
    for function in functions(dev).into_iter().filter(|&function| function != 0) {
        // SAFETY: these functions take the device and the environment. What one answers is only told to the log on Linux.
        unsafe { ram::call(function, [dev, env]) };
    }
    0
}

/// The content of a device's `uevent` file.
pub(crate) fn uevent_text(dev: u64) -> Vec<u8> {
    let mut out = Vec::new();
    uevent::with_environment(|env| {
        device_uevent_fill(object(dev), env);
        out = uevent::environment_text(env);
    });
    out
}

fn remove(dev: u64, attribute: u64) {
    if let Some(path) = (dev != 0).then(|| kobject::path(object(dev))).flatten() {
        // SAFETY: the module's attribute and its C string.
        let name = unsafe { ram::c_string_or_empty(sysfs::attribute::name.get(attribute)) };
        kernel().files.remove(&alloc::format!("{path}/{}", name.to_str_lossy()));
    }
}
extern "C" fn device_remove_file(dev: u64, attribute: u64) {
    remove(dev, attribute);
}
extern "C" fn device_remove_file_self(dev: u64, attribute: u64) -> bool {
    remove(dev, attribute);
    true
}
extern "C" fn device_create_bin_file(dev: u64, attribute: u64) -> i32 {
    if dev == 0 {
        return Errno::EINVAL.to_return();
    }
    Errno::returned(sysfs::add_binary(object(dev), "", attribute, None))
}

/// The kernel's own `sysfs_emit` with one number.
fn emit(buffer: u64, format: &core::ffi::CStr, value: u64) -> i64 {
    // SAFETY: the exported function, a page, and a format with one conversion.
    symbols::address("sysfs_emit")
        .map_or(0, |emit| i64::from(unsafe { ram::call(emit, [buffer, format.as_ptr() as u64, value]) } as i32))
}
fn variable(attribute: u64) -> u64 {
    // SAFETY: a `dev_ext_attribute`, which begins with its attribute.
    unsafe { dev_ext_attribute::var.get(attribute) }
}
extern "C" fn device_show_int(_dev: u64, attribute: u64, buffer: u64) -> i64 {
    // SAFETY: the module's variable.
    emit(buffer, c"%d\n", unsafe { ram::get::<u32>(variable(attribute)) }.into())
}
extern "C" fn device_show_ulong(_dev: u64, attribute: u64, buffer: u64) -> i64 {
    // SAFETY: the module's variable.
    emit(buffer, c"%lx\n", unsafe { ram::get(variable(attribute)) })
}
extern "C" fn device_show_bool(_dev: u64, attribute: u64, buffer: u64) -> i64 {
    // SAFETY: the module's variable.
    emit(buffer, c"%d\n", unsafe { ram::get::<u8>(variable(attribute)) }.into())
}
extern "C" fn device_show_string(_dev: u64, attribute: u64, buffer: u64) -> i64 {
    emit(buffer, c"%s\n", variable(attribute))
}

/// `int dev_err_probe(const struct device *, int err, const char *fmt, ...)`
extern "C" fn dev_err_probe(dev: u64, error: i32, format: u64, list: u64) -> i32 {
    let text = printf::text_of(format, list);
    let is_deferred = error == deferred::EPROBE_DEFER.to_return();
    if is_deferred {
        // SAFETY: the caller's device.
        let of: u64 = unsafe { device::driver.get(dev) };
        let name = if of == 0 { String::new() } else { super::driver::name(of) };
        deferred::because(dev, [name.as_bytes(), b": ", &text].concat());
    }
    let level: &[u8] = if is_deferred { b"\x017" } else { b"\x013" };
    let prefix = alloc::format!("{}: error {error}: ", super::name(dev));
    kernel().printk(&[level, prefix.as_bytes(), &text].concat());
    error
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c dev_attr_show, c dev_attr_store, c device_uevent_filter, c device_uevent_name, c device_uevent_fill, c device_remove_file,
    c device_remove_file_self, c device_create_bin_file, c device_remove_bin_file = device_remove_file, c device_show_int,
    c device_show_ulong, c device_show_bool, c device_show_string, v3 dev_err_probe,
];
