//! Hardware monitoring: sensors as files of a class.
//!
//! A driver says which channels of which types its chip has, with a bit for each attribute. The names of the files are those of
//! the kernel's own enumerations: `hwmon_temp_max_hyst` of the first channel is `temp1_max_hyst`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_image::btf::{Kind, Node};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::text::number;
use ferrmod_kernel::{Errno, files, kernel};

use crate::boot::facts;
use crate::device::{self, class, devres, object};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{kobject, printf, ram, slab, sysfs, uevent};

layout! {
    mod hwmon_chip_info = "hwmon_chip_info" { ops, info }
    mod hwmon_channel_info = "hwmon_channel_info" { type_ = "type", config }
    mod hwmon_ops = "hwmon_ops" { is_visible, read, read_string, write }
}

/// The numbers that are taken, with the devices that have them.
static NUMBERS: Lock<Vec<(u32, u64)>> = Lock::new(Vec::new());

/// The class.
fn hwmon_class() -> u64 {
    static CLASS: spin::Once<u64> = spin::Once::new();
    *CLASS.call_once(|| class::own("hwmon", 0))
}

/// Registers the class, which is there before any device is.
pub(crate) fn begin() {
    hwmon_class();
}

/// The enumerators of an enumeration whose names begin with `prefix`: the rest of each name, and its value.
fn enumerators(of: &str, prefix: &str) -> Vec<(String, u64)> {
    let btf = facts().btf();
    let Some(Node::Enum { values, .. }) = btf.find(Kind::Enum, of).map(|id| btf.node(id)) else { return Vec::new() };
    values.filter_map(|(name, value)| Some((name.to_str_lossy().strip_prefix(prefix)?.to_string(), value))).collect()
}

/// One attribute of one channel.
#[derive(Clone, Copy)]
struct Attribute {
    dev: u64,
    ops: u64,
    kind: u32,
    number: u32,
    channel: u32,
    is_text: bool,
}

impl Attribute {
    fn show(self) -> Result<Vec<u8>, Errno> {
        let at = slab::allocate(8, 8, slab::ZERO, 0);
        if at == 0 {
            return Err(Errno::ENOMEM);
        }
        let field = if self.is_text { &hwmon_ops::read_string } else { &hwmon_ops::read };
        // SAFETY: the driver's functions, which store a string's address or a number.
        let shown = unsafe {
            let arguments = [self.dev, self.kind.into(), self.number.into(), self.channel.into(), at];
            let result = ram::call(field.get(self.ops), arguments) as i32;
            match (Errno::from_return(result.into()), self.is_text) {
                (Some(errno), _) => Err(errno),
                (None, true) => Ok([&ram::c_string_or_empty(ram::get(at))[..], b"\n"].concat()),
                (None, false) => Ok(alloc::format!("{}\n", ram::get::<i64>(at)).into_bytes()),
            }
        };
        slab::release(at, 0);
        shown
    }

    fn store(self, text: &[u8]) -> Result<usize, Errno> {
        let value = number::signed(text, 10)?;
        // SAFETY: the driver's function.
        let result = unsafe {
            let arguments =
                [self.dev, self.kind.into(), self.number.into(), self.channel.into(), value.cast_unsigned()];
            ram::call(hwmon_ops::write.get(self.ops), arguments) as i32
        };
        Errno::from_return(result.into()).map_or(Ok(text.len()), Err)
    }
}

/// The file of an attribute; `None` for bits that stand for none.
fn file_name(kind: &str, attribute: &str, channel: u32) -> Option<String> {
    // Voltages and intrusion sensors are counted from 0.
    let number = channel + u32::from(!matches!(kind, "in" | "intrusion"));
    match (kind, attribute) {
        ("chip", "register_tz") => None,
        ("chip", _) => Some(attribute.to_string()),
        ("pwm", "input") => Some(alloc::format!("pwm{number}")),
        _ => Some(alloc::format!("{kind}{number}_{attribute}")),
    }
}

/// Adds the files of a chip's channels.
fn show_channels(dev: u64, data: u64, chip: u64) -> Result<(), Errno> {
    let path = kobject::path(object(dev)).ok_or(Errno::ENOENT)?;
    let kinds = enumerators("hwmon_sensor_types", "hwmon_");
    // SAFETY: the driver's description: a null-terminated array of channels, each with an array of bits that ends with 0.
    unsafe {
        let ops: u64 = hwmon_chip_info::ops.get(chip);
        let visible: u64 = hwmon_ops::is_visible.get(ops);
        for info in sysfs::pointers(hwmon_chip_info::info.get(chip)) {
            let kind: u32 = hwmon_channel_info::type_.get(info);
            let Some((kind_name, _)) = kinds.iter().find(|(_, value)| *value == kind.into()) else {
                return Err(Errno::EINVAL);
            };
            let names =
                enumerators(&alloc::format!("hwmon_{kind_name}_attributes"), &alloc::format!("hwmon_{kind_name}_"));
            let config: u64 = hwmon_channel_info::config.get(info);
            for channel in 0.. {
                let bits: u32 = ram::get(config + 4 * u64::from(channel));
                if bits == 0 {
                    break;
                }
                for number in (0..32).filter(|number| bits & 1 << number != 0) {
                    let found = names.iter().find(|(_, value)| *value == u64::from(number));
                    let Some(file) = found.and_then(|(name, _)| file_name(kind_name, name, channel)) else { continue };
                    let arguments = [data, kind.into(), number.into(), channel.into()];
                    let mode = ram::call(visible, arguments) as u16 & 0o777;
                    if mode == 0 {
                        continue;
                    }
                    let is_text = found.is_some_and(|(name, _)| name == "label");
                    let attribute = Attribute { dev, ops, kind, number, channel, is_text };
                    let read = if is_text { &hwmon_ops::read_string } else { &hwmon_ops::read };
                    if (mode & 0o444 != 0 && read.get::<u64>(ops) == 0)
                        || (mode & 0o222 != 0 && hwmon_ops::write.get::<u64>(ops) == 0)
                    {
                        return Err(Errno::EINVAL);
                    }
                    let node =
                        files::read_write(mode, move || attribute.show(), move |text: &[u8]| attribute.store(text));
                    kernel().files.add(&alloc::format!("{path}/{file}"), node)?;
                }
            }
        }
    }
    Ok(())
}

/// Makes a sensor device.
///
/// # Errors
/// `EINVAL` for an incomplete description, `ENOMEM`.
fn register(parent: u64, name: u64, data: u64, chip: u64, groups: u64, caller: u64) -> Result<u64, Errno> {
    if chip != 0 {
        // SAFETY: the driver's description.
        let complete = unsafe {
            let ops: u64 = hwmon_chip_info::ops.get(chip);
            ops != 0 && hwmon_ops::is_visible.get::<u64>(ops) != 0 && hwmon_chip_info::info.get::<u64>(chip) != 0
        };
        if !complete {
            return Err(Errno::EINVAL);
        }
    }
    // SAFETY: the driver's C string.
    let name = unsafe { ram::c_string_or_empty(name) };
    if name.iter().any(|byte| matches!(byte, b'-' | b'*' | b' ' | b'\t' | b'\n')) {
        let name = name.to_str_lossy();
        kernel().printk(alloc::format!("\x014hwmon: '{name}' is not a valid name attribute, please fix\n").as_bytes());
    }
    let number = {
        let mut numbers = NUMBERS.lock();
        let free = (0..).find(|number| !numbers.iter().any(|(other, _)| other == number)).unwrap_or(0);
        numbers.push((free, 0));
        free
    };
    let text = alloc::format!("hwmon{number}");
    let made = device::create(hwmon_class(), parent, 0, data, groups, text.as_bytes(), caller);
    let shown = made.and_then(|dev| {
        let path = kobject::path(object(dev)).ok_or(Errno::ENOENT)?;
        let shown = if name.is_empty() {
            Ok(())
        } else {
            let content = [&name[..], b"\n"].concat();
            kernel().files.add(&alloc::format!("{path}/name"), files::read_only(0o444, move || content.clone()))
        };
        let shown = shown.and_then(|()| if chip == 0 { Ok(()) } else { show_channels(dev, data, chip) });
        shown.map(|()| dev).inspect_err(|_| device::destroy(dev))
    });
    let mut numbers = NUMBERS.lock();
    match shown {
        Ok(dev) => numbers.iter_mut().filter(|(other, _)| *other == number).for_each(|entry| entry.1 = dev),
        Err(_) => numbers.retain(|(other, _)| *other != number),
    }
    shown
}

fn unregister(dev: u64) {
    if dev != 0 && Errno::from_pointer(dev).is_none() {
        NUMBERS.lock().retain(|(_, other)| *other != dev);
        device::destroy(dev);
    }
}

/// `struct device *hwmon_device_register_with_info(struct device *, const char *name, void *, const struct hwmon_chip_info *,
/// const struct attribute_group **)`
extern "C" fn hwmon_device_register_with_info(parent: u64, name: u64, data: u64, chip: u64, groups: u64) -> u64 {
    let caller = ram::caller();
    if parent != 0 && (name == 0 || chip == 0) {
        return Errno::EINVAL.to_pointer();
    }
    register(parent, name, data, chip, groups, caller).unwrap_or_else(Errno::to_pointer)
}
fn managed(parent: u64, made: Result<u64, Errno>) -> u64 {
    made.inspect(|&dev| devres::on_release(parent, move || unregister(dev))).unwrap_or_else(Errno::to_pointer)
}
/// As [`hwmon_device_register_with_info`], until the driver goes; without a name it is the parent's.
extern "C" fn devm_hwmon_device_register_with_info(parent: u64, name: u64, data: u64, chip: u64, groups: u64) -> u64 {
    let caller = ram::caller();
    if parent == 0 || chip == 0 {
        return Errno::EINVAL.to_pointer();
    }
    let name = if name == 0 { sanitized(parent, device::name(parent).as_bytes(), caller) } else { name };
    managed(parent, register(parent, name, data, chip, groups, caller))
}
/// `struct device *hwmon_device_register_with_groups(struct device *, const char *name, void *, const struct attribute_group **)`
extern "C" fn hwmon_device_register_with_groups(parent: u64, name: u64, data: u64, groups: u64) -> u64 {
    let caller = ram::caller();
    if name == 0 {
        return Errno::EINVAL.to_pointer();
    }
    register(parent, name, data, 0, groups, caller).unwrap_or_else(Errno::to_pointer)
}
extern "C" fn devm_hwmon_device_register_with_groups(parent: u64, name: u64, data: u64, groups: u64) -> u64 {
    let caller = ram::caller();
    if parent == 0 || name == 0 {
        return Errno::EINVAL.to_pointer();
    }
    managed(parent, register(parent, name, data, 0, groups, caller))
}
/// `struct device *hwmon_device_register(struct device *)`: the old way, without a name.
extern "C" fn hwmon_device_register(parent: u64) -> u64 {
    let caller = ram::caller();
    register(parent, 0, 0, 0, 0, caller).unwrap_or_else(Errno::to_pointer)
}
extern "C" fn hwmon_device_unregister(dev: u64) {
    unregister(dev);
}

/// `int hwmon_notify_event(struct device *, enum hwmon_sensor_types, u32 attr, int channel)`
extern "C" fn hwmon_notify_event(dev: u64, kind: u32, number: u32, channel: u32) -> i32 {
    let kinds = enumerators("hwmon_sensor_types", "hwmon_");
    let file = kinds.iter().find(|(_, value)| *value == kind.into()).and_then(|(kind, _)| {
        let names = enumerators(&alloc::format!("hwmon_{kind}_attributes"), &alloc::format!("hwmon_{kind}_"));
        let (name, _) = names.into_iter().find(|(_, value)| *value == number.into())?;
        file_name(kind, &name, channel)
    });
    match file {
        Some(file) => {
            uevent::send(object(dev), "change", &[alloc::format!("NAME={file}").into_bytes()]);
            0
        }
        None => Errno::EINVAL.to_return(),
    }
}

/// A name without the characters that a sensor's may not have, as memory of the device.
fn sanitized(dev: u64, name: &[u8], caller: u64) -> u64 {
    let clean: Vec<u8> =
        name.iter().map(|&byte| if matches!(byte, b'-' | b'*' | b' ' | b'\t' | b'\n') { b'_' } else { byte }).collect();
    let made = printf::duplicate(&clean, 0, caller);
    if made != 0 && dev != 0 {
        devres::on_release(dev, move || slab::release(made, 0));
    }
    made
}
extern "C" fn devm_hwmon_sanitize_name(dev: u64, name: u64) -> u64 {
    let caller = ram::caller();
    if dev == 0 {
        return Errno::EINVAL.to_pointer();
    }
    // SAFETY: the driver's C string.
    match sanitized(dev, unsafe { ram::c_string(name) }, caller) {
        0 => Errno::ENOMEM.to_pointer(),
        made => made,
    }
}
extern "C" fn hwmon_sanitize_name(name: u64) -> u64 {
    let caller = ram::caller();
    if name == 0 {
        return Errno::EINVAL.to_pointer();
    }
    // SAFETY: the driver's C string.
    match sanitized(0, unsafe { ram::c_string(name) }, caller) {
        0 => Errno::ENOMEM.to_pointer(),
        made => made,
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c hwmon_device_register_with_info, c devm_hwmon_device_register_with_info, c hwmon_device_register_with_groups,
    c devm_hwmon_device_register_with_groups, c hwmon_device_register, c hwmon_device_unregister, c hwmon_notify_event,
    c devm_hwmon_sanitize_name, c hwmon_sanitize_name,
];
