//! Regulators: a machine's firmware looks after its supplies, as a PC's does, so every supply is the dummy that is always on.

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use crate::device::{self, devres};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod bulk = "regulator_bulk_data" { supply, consumer }
}

/// How often each supply was switched on.
static ENABLED: Lock<Option<HashMap<u64, u32>>> = Lock::new(None);

fn get(dev: u64, id: u64, caller: u64) -> Result<u64, Errno> {
    // SAFETY: the driver's C string.
    let supply = alloc::string::String::from_utf8_lossy(&unsafe { ram::c_string_or_empty(id) }).into_owned();
    // What a driver calls a supply by is opaque to it.
    let made = slab::allocate(8, 8, slab::ZERO, caller);
    if made == 0 {
        return Err(Errno::ENOMEM);
    }
    ENABLED.lock().get_or_insert_default().insert(made, 0);
    kernel().printk(
        alloc::format!("\x014{}: supply {supply} not found, using dummy regulator\n", device::label(dev)).as_bytes(),
    );
    Ok(made)
}
fn put(regulator: u64) {
    let known = ENABLED.lock().as_mut().and_then(|all| all.remove(&regulator)).is_some();
    if known {
        slab::release(regulator, 0);
    }
}
fn managed(dev: u64, id: u64, caller: u64) -> Result<u64, Errno> {
    get(dev, id, caller).inspect(|&made| devres::on_release(dev, move || put(made)))
}

extern "C" fn regulator_get(dev: u64, id: u64) -> u64 {
    let caller = ram::caller();
    get(dev, id, caller).unwrap_or_else(Errno::to_pointer)
}
extern "C" fn devm_regulator_get(dev: u64, id: u64) -> u64 {
    let caller = ram::caller();
    managed(dev, id, caller).unwrap_or_else(Errno::to_pointer)
}
/// A supply that may be missing is.
extern "C" fn regulator_get_optional() -> u64 {
    Errno::ENODEV.to_pointer()
}
extern "C" fn devm_regulator_get_enable(dev: u64, id: u64) -> i32 {
    let caller = ram::caller();
    managed(dev, id, caller).map_or_else(Errno::to_return, regulator_enable_one)
}
extern "C" fn regulator_put(regulator: u64) {
    put(regulator);
}

fn count(regulator: u64, change: impl FnOnce(u32) -> Option<u32>) -> Option<u32> {
    let mut all = ENABLED.lock();
    let count = all.as_mut()?.get_mut(&regulator)?;
    *count = change(*count)?;
    Some(*count)
}
fn regulator_enable_one(regulator: u64) -> i32 {
    count(regulator, |count| count.checked_add(1)).map_or(Errno::EINVAL.to_return(), |_| 0)
}
extern "C" fn regulator_enable(regulator: u64) -> i32 {
    regulator_enable_one(regulator)
}
extern "C" fn regulator_disable(regulator: u64) -> i32 {
    let caller = ram::caller();
    match count(regulator, |count| count.checked_sub(1)) {
        Some(_) => 0,
        None => {
            kernel().warn("Underflow of regulator enable count", caller);
            Errno::EINVAL.to_return()
        }
    }
}
/// The dummy is always on.
extern "C" fn regulator_is_enabled() -> i32 {
    1
}
/// It does not know its voltage.
extern "C" fn regulator_get_voltage() -> i32 {
    Errno::EINVAL.to_return()
}

fn each(array: u64, number: i32) -> impl DoubleEndedIterator<Item = u64> {
    (0..number.max(0) as u64).map(move |number| array + number * bulk::SIZE.get())
}
/// `int devm_regulator_bulk_get(struct device *, int, struct regulator_bulk_data *)`
extern "C" fn devm_regulator_bulk_get(dev: u64, number: i32, array: u64) -> i32 {
    let caller = ram::caller();
    for entry in each(array, number) {
        // SAFETY: the driver's array.
        unsafe {
            match managed(dev, bulk::supply.get(entry), caller) {
                Ok(made) => bulk::consumer.set(entry, made),
                Err(errno) => return errno.to_return(),
            }
        }
    }
    0
}
extern "C" fn regulator_bulk_enable(number: i32, array: u64) -> i32 {
    // SAFETY: the driver's array.
    let results = each(array, number).map(|entry| regulator_enable_one(unsafe { bulk::consumer.get(entry) }));
    results.into_iter().find(|&result| result != 0).unwrap_or(0)
}
extern "C" fn regulator_bulk_disable(number: i32, array: u64) -> i32 {
    for entry in each(array, number).rev() {
        // SAFETY: the driver's array.
        let result = regulator_disable(unsafe { bulk::consumer.get(entry) });
        if result != 0 {
            return result;
        }
    }
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c regulator_get, c devm_regulator_get, k regulator_get_optional, k devm_regulator_get_optional = regulator_get_optional,
    c devm_regulator_get_enable, k devm_regulator_get_enable_optional = no_supply, c regulator_put,
    c devm_regulator_put = regulator_put, c regulator_enable,
    c regulator_disable, k regulator_is_enabled, k regulator_get_voltage, c devm_regulator_bulk_get, c regulator_bulk_enable,
    c regulator_bulk_disable,
];

/// An optional supply that is to be switched on is not there.
extern "C" fn no_supply() -> i32 {
    Errno::ENODEV.to_return()
}
