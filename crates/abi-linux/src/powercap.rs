//! Control types of the power capping framework: devices of the class `powercap` that zones of a processor or a package lie below.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::text::number;
use ferrmod_kernel::{Errno, files, kernel};

use crate::device::{self, class, layout::device as c_device};
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::{kobject, locks, printf, ram, slab, symbols};

layout! {
    mod powercap_control_type = "powercap_control_type" { dev, nr_zones, ops, lock, allocated, node }
    mod operations = "powercap_control_type_ops" { set_enable, get_enable, release }
}

/// Every control type.
static ALL: Lock<Vec<u64>> = Lock::new(Vec::new());

/// The class, which is there before any control type is.
fn powercap_class() -> u64 {
    static CLASS: spin::Once<u64> = spin::Once::new();
    *CLASS.call_once(|| class::own("powercap", 0))
}

/// Registers the class.
pub(crate) fn begin() {
    powercap_class();
}

/// The owner's function, 0 when it has none.
fn operation(control: u64, field: &Field) -> u64 {
    // SAFETY: a registered control type and its owner's table.
    unsafe {
        let table: u64 = powercap_control_type::ops.get(control);
        if table == 0 { 0 } else { field.get(table) }
    }
}

/// `enabled`: one whose owner does not say is, and one whose owner fails to say is not.
fn show_enabled(control: u64) -> Result<Vec<u8>, Errno> {
    let get = operation(control, &operations::get_enable);
    if get == 0 {
        return Ok(b"1\n".to_vec());
    }
    let at = slab::allocate(1, 1, slab::ZERO, 0);
    if at == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the owner's function, which stores a `bool`.
    let enabled = unsafe { ram::call(get, [control, at]) as i32 == 0 && ram::get::<u8>(at) & 1 != 0 };
    slab::release(at, 0);
    Ok(alloc::format!("{}\n", u8::from(enabled)).into_bytes())
}

fn store_enabled(control: u64, text: &[u8]) -> Result<usize, Errno> {
    let enabled = number::truth(text)?;
    let set = operation(control, &operations::set_enable);
    // SAFETY: the owner's function.
    let is_done = set != 0 && unsafe { ram::call(set, [control, enabled.into()]) as i32 } == 0;
    if is_done { Ok(text.len()) } else { Err(Errno::ENOSYS) }
}

fn register(given: u64, name: u64, ops: u64, caller: u64) -> Result<u64, Errno> {
    // Only the owner can free what the owner has given.
    // SAFETY: the owner's table.
    let can_release = ops != 0 && unsafe { operations::release.get::<u64>(ops) } != 0;
    if name == 0 || (given != 0 && !can_release) {
        return Err(Errno::EINVAL);
    }
    let control = match given {
        0 => slab::allocate(powercap_control_type::SIZE.get(), 8, slab::ZERO, caller),
        given => given,
    };
    if control == 0 {
        return Err(Errno::ENOMEM);
    }
    let dev = powercap_control_type::dev.at(control);
    // SAFETY: the owner's struct or a block of its size, and a C string.
    let name = unsafe {
        ram::fill(control, 0, powercap_control_type::SIZE.get());
        powercap_control_type::allocated.set(control, u8::from(given == 0));
        powercap_control_type::ops.set(control, ops);
        locks::begin_mutex(powercap_control_type::lock.at(control));
        locks::init_list(powercap_control_type::node.at(control));
        device::begin(dev);
        c_device::class.set(dev, powercap_class());
        c_device::release.set(dev, symbols::address("powercap_release").unwrap_or(0));
        ram::c_string_or_empty(name)
    };
    let object = device::object(dev);
    let added = kobject::set_name(object, &name, caller).and_then(|()| device::add_for(dev, caller));
    added.inspect_err(|_| kobject::put(object))?;
    let enabled = files::read_write(0o644, move || show_enabled(control), move |text| store_enabled(control, text));
    let path = kobject::path(object).ok_or(Errno::ENOENT);
    let shown = path.and_then(|path| kernel().files.add(&alloc::format!("{path}/enabled"), enabled));
    shown.inspect_err(|_| device::destroy(dev))?;
    ALL.lock().push(control);
    Ok(control)
}

/// The last reference to a control type's device is gone.
extern "C" fn powercap_release(dev: u64) {
    let control = powercap_control_type::dev.container(dev);
    let release = operation(control, &operations::release);
    // SAFETY: the control type of the device, and its owner's function.
    unsafe {
        if powercap_control_type::allocated.get::<u8>(control) != 0 {
            slab::release(control, 0);
        } else if release != 0 {
            ram::call(release, [control]);
        }
    }
}
/// `struct powercap_control_type *powercap_register_control_type(struct powercap_control_type *, const char *, const struct
/// powercap_control_type_ops *)`: in the struct that is given, or in a new one.
extern "C" fn powercap_register_control_type(given: u64, name: u64, ops: u64) -> u64 {
    let caller = ram::caller();
    register(given, name, ops, caller).unwrap_or_else(Errno::to_pointer)
}
/// `int powercap_unregister_control_type(struct powercap_control_type *)`
extern "C" fn powercap_unregister_control_type(control: u64) -> i32 {
    let dev = powercap_control_type::dev.at(control);
    // SAFETY: the caller's control type.
    if unsafe { powercap_control_type::nr_zones.get::<i32>(control) } != 0 {
        printf::say_of_device(b"\x013", dev, b"Zones of this type still not freed\n");
        return Errno::EINVAL.to_return();
    }
    if !ALL.lock().contains(&control) {
        return Errno::ENODEV.to_return();
    }
    ALL.lock().retain(|&other| other != control);
    device::destroy(dev);
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c powercap_release, c powercap_register_control_type, c powercap_unregister_control_type];
