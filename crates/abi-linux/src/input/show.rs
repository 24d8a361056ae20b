//! Where devices are seen: their files in `/sys`, their events, `/proc/bus/input/devices`.

use alloc::string::String;
use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::files::{self, Node};
use ferrmod_kernel::text::number;
use ferrmod_kernel::{Errno, kernel};

use super::bits::{self, MAPS, PROPERTIES, TYPES};
use super::{handlers, input_dev, input_id};
use crate::export::{Export, exports};
use crate::field::Field;
use crate::{device, kobject, ram, uevent};

/// `INPUT_DEVICE_ID_KEY_MIN_INTERESTING`: keys below this one are in no alias.
const FIRST_INTERESTING: u32 = 0x71;

/// A string of a device; empty when it has none.
fn string(made: u64, field: &Field) -> String {
    // SAFETY: a registered device and its C string.
    unsafe { ram::c_string_or_empty(field.get(made)) }.to_str_lossy().into_owned()
}

/// Bus, vendor, product, version.
fn id(made: u64) -> [u16; 4] {
    // SAFETY: a registered device.
    [&input_id::bustype, &input_id::vendor, &input_id::product, &input_id::version]
        .map(|field| unsafe { field.get(input_dev::id.at(made)) })
}

fn map_text(made: u64, map: &Field, bits: u32) -> String {
    // SAFETY: a registered device, whose map has so many bits.
    unsafe { bits::text(map.at(made), bits) }
}

/// The maps of a device with their names: its types first.
fn maps() -> impl Iterator<Item = (&'static str, &'static Field, u32)> {
    let codes = MAPS.into_iter().filter_map(|(name, kind, codes)| Some((name, bits::map_of(kind)?, codes)));
    [("EV", &input_dev::evbit, TYPES)].into_iter().chain(codes)
}

/// The maps that are told of a device: its properties, its types, and those of the types that it has.
fn told(made: u64) -> Vec<(&'static str, String)> {
    let all = [("PROP", &input_dev::propbit, PROPERTIES), ("EV", &input_dev::evbit, TYPES)].into_iter();
    let of_types = MAPS.into_iter().filter(|&(_, kind, _)| bits::has_type(made, kind));
    let of_types = of_types.filter_map(|(name, kind, codes)| Some((name, bits::map_of(kind)?, codes)));
    all.chain(of_types).map(|(name, map, bits)| (name, map_text(made, map, bits))).collect()
}

/// What names the modules that listen to such a device.
fn modalias(made: u64) -> String {
    let [bus, vendor, product, version] = id(made);
    let mut out = alloc::format!("input:b{bus:04X}v{vendor:04X}p{product:04X}e{version:04X}-");
    for ((name, map, codes), letter) in maps().zip(["e", "k", "r", "a", "m", "l", "s", "f", "w"]) {
        let first = if name == "KEY" { FIRST_INTERESTING } else { 0 };
        out += letter;
        // SAFETY: a registered device, whose map has so many bits. The last code of each type is in no alias.
        for bit in unsafe { bits::all(map.at(made), codes - 1) }.into_iter().filter(|&bit| bit >= first) {
            out += &alloc::format!("{bit:X},");
        }
    }
    out
}

/// What every event of a device says.
extern "C" fn input_dev_uevent(dev: u64, env: u64) -> i32 {
    let made = input_dev::dev.container(dev);
    let [bus, vendor, product, version] = id(made);
    let mut variables = alloc::vec![alloc::format!("PRODUCT={bus:x}/{vendor:x}/{product:x}/{version:x}")];
    for (name, field) in [("NAME", &input_dev::name), ("PHYS", &input_dev::phys), ("UNIQ", &input_dev::uniq)] {
        // SAFETY: a registered device.
        if unsafe { field.get::<u64>(made) } != 0 {
            variables.push(alloc::format!("{name}=\"{}\"", string(made, field)));
        }
    }
    variables.extend(told(made).into_iter().map(|(name, text)| alloc::format!("{name}={text}")));
    variables.push(alloc::format!("MODALIAS={}", modalias(made)));
    let results = variables.iter().map(|variable| uevent::add_variable(env, variable.as_bytes()));
    results.into_iter().find(|&result| result != 0).unwrap_or(0)
}

/// A file of one line.
fn line(text: impl Fn() -> String + Send + Sync + 'static) -> Node {
    files::read_only(0o444, move || (text() + "\n").into_bytes())
}

/// Adds the files of a device.
///
/// # Errors
/// `ENOENT`, `EEXIST`.
pub(super) fn add_files(made: u64) -> Result<(), Errno> {
    let path = kobject::path(device::object(input_dev::dev.at(made))).ok_or(Errno::ENOENT)?;
    let add = |name: &str, node: Node| kernel().files.add(&alloc::format!("{path}/{name}"), node);
    add("name", line(move || string(made, &input_dev::name)))?;
    add("phys", line(move || string(made, &input_dev::phys)))?;
    add("uniq", line(move || string(made, &input_dev::uniq)))?;
    add("modalias", line(move || modalias(made)))?;
    add("properties", line(move || map_text(made, &input_dev::propbit, PROPERTIES)))?;
    let inhibited = files::read_write(
        0o644,
        // SAFETY: a registered device: its files go before it does.
        move || Ok(alloc::format!("{}\n", unsafe { input_dev::inhibited.get::<u8>(made) }).into_bytes()),
        move |text| {
            handlers::inhibit(made, number::truth(text).map_err(|_| Errno::EINVAL)?)?;
            Ok(text.len())
        },
    );
    add("inhibited", inhibited)?;
    add("id", Node::Directory)?;
    for (number, name) in ["bustype", "vendor", "product", "version"].into_iter().enumerate() {
        add(&alloc::format!("id/{name}"), line(move || alloc::format!("{:04x}", id(made)[number])))?;
    }
    add("capabilities", Node::Directory)?;
    for (name, map, bits) in maps() {
        let name = name.to_ascii_lowercase();
        add(&alloc::format!("capabilities/{name}"), line(move || map_text(made, map, bits)))?;
    }
    Ok(())
}

/// `/proc/bus/input/devices`
pub(crate) fn devices() -> Vec<u8> {
    let mut out = String::new();
    for made in super::all() {
        let [bus, vendor, product, version] = id(made);
        let path = kobject::path(device::object(input_dev::dev.at(made))).unwrap_or_default();
        // SAFETY: a registered device.
        let listening: String = unsafe { handlers::of_device(made) }
            .into_iter()
            .map(|handle| handlers::handle_name(handle) + " ")
            .collect();
        out += &alloc::format!(
            "I: Bus={bus:04x} Vendor={vendor:04x} Product={product:04x} Version={version:04x}\n\
             N: Name=\"{}\"\nP: Phys={}\nS: Sysfs={}\nU: Uniq={}\nH: Handlers={listening}\n",
            string(made, &input_dev::name),
            string(made, &input_dev::phys),
            path.strip_prefix("/sys").unwrap_or(&path),
            string(made, &input_dev::uniq),
        );
        for (name, text) in told(made) {
            out += &alloc::format!("B: {name}={text}\n");
        }
        out.push('\n');
    }
    out.into_bytes()
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c input_dev_uevent];
