//! What a driver takes: its table, and what was written to its `new_id`.

use alloc::vec::Vec;

use bstr::ByteSlice;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, files};

use super::{ANY, entry_for, pci_device_id, pci_driver};
use crate::device::driver;
use crate::field::Field;
use crate::slab;

/// Driver, and a table of one entry and its end.
static ADDED: Lock<Vec<(u64, u64)>> = Lock::new(Vec::new());

/// The tables of a driver: those that were added go first.
fn tables(of: u64) -> Vec<u64> {
    let mut all: Vec<u64> = ADDED.lock().iter().filter(|(driver, _)| *driver == of).map(|&(_, table)| table).collect();
    // SAFETY: a registered driver.
    all.push(unsafe { pci_driver::id_table.get(of) });
    all
}

/// The entry of a driver that fits a function; 0 when none does.
pub(crate) fn entry(of: u64, function: u64) -> u64 {
    tables(of).into_iter().map(|table| entry_for(table, function)).find(|&entry| entry != 0).unwrap_or(0)
}

/// Vendor, device, vendor and device of the board, class, mask of the class, driver data.
fn numbers(text: &[u8], most: usize) -> Result<Vec<u64>, Errno> {
    let text = text.to_str_lossy();
    let all: Vec<u64> =
        text.split_whitespace().take(most).map_while(|word| u64::from_str_radix(word, 16).ok()).collect();
    if all.len() < 2 { Err(Errno::EINVAL) } else { Ok(all) }
}

fn values(all: &[u64]) -> [u32; 6] {
    let defaults = [0, 0, ANY, ANY, 0, 0];
    core::array::from_fn(|at| all.get(at).map_or(defaults[at], |&value| value as u32))
}

/// Where the six numbers of an entry are.
fn fields() -> [&'static Field; 6] {
    [
        &pci_device_id::vendor,
        &pci_device_id::device,
        &pci_device_id::subvendor,
        &pci_device_id::subdevice,
        &pci_device_id::class,
        &pci_device_id::class_mask,
    ]
}

fn of_entry(at: u64) -> [u32; 6] {
    // SAFETY: an entry of a table.
    fields().map(|field| unsafe { field.get(at) })
}

/// The entries of the driver's own table.
fn own(of: u64) -> Vec<u64> {
    // SAFETY: a registered driver.
    let first: u64 = unsafe { pci_driver::id_table.get(of) };
    let entries = (0..).map(|number| first + number * pci_device_id::SIZE.get());
    let is_entry = |&at: &u64| {
        let [vendor, _, board, _, _, mask] = of_entry(at);
        vendor != 0 || board != 0 || mask != 0
    };
    if first == 0 { Vec::new() } else { entries.take_while(is_entry).collect() }
}

fn add(of: u64, inner: u64, text: &[u8]) -> Result<usize, Errno> {
    let all = numbers(text, 7)?;
    let (wanted, data) = (values(&all), all.get(6).copied().unwrap_or(0));
    let own = own(of);
    let covers = |entry: [u32; 6]| {
        (0..4).all(|at| entry[at] == ANY || entry[at] == wanted[at]) && (entry[4] ^ wanted[4]) & entry[5] == 0
    };
    if all.len() != 7 && own.iter().any(|&entry| covers(of_entry(entry))) {
        return Err(Errno::EEXIST);
    }
    // The driver knows what its own entries say only.
    // SAFETY: entries of the driver's table.
    if !own.is_empty() && !own.iter().any(|&entry| unsafe { pci_device_id::driver_data.get::<u64>(entry) } == data) {
        return Err(Errno::EINVAL);
    }
    let table = slab::allocate(2 * pci_device_id::SIZE.get(), 8, slab::ZERO, 0);
    if table == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: a zeroed block of two entries.
    unsafe {
        for (field, value) in fields().into_iter().zip(wanted) {
            field.set(table, value);
        }
        pci_device_id::driver_data.set(table, data);
    }
    ADDED.lock().push((of, table));
    driver::attach(inner);
    Ok(text.len())
}

fn remove(of: u64, text: &[u8]) -> Result<usize, Errno> {
    let wanted = values(&numbers(text, 6)?);
    let found = {
        let mut added = ADDED.lock();
        let place = added.iter().position(|&(driver, table)| driver == of && of_entry(table)[..4] == wanted[..4]);
        place.map(|place| added.remove(place).1)
    };
    slab::release(found.ok_or(Errno::ENODEV)?, 0);
    Ok(text.len())
}

/// Adds `new_id` and `remove_id` to a driver that is registered.
///
/// # Errors
/// `EEXIST` when a name is taken.
pub(crate) fn add_files(of: u64, inner: u64) -> Result<(), Errno> {
    let unreadable = || Err(Errno::EACCES);
    let new = files::read_write(0o200, unreadable, move |text| add(of, inner, text));
    driver::add_file(inner, "new_id", new)?;
    driver::add_file(inner, "remove_id", files::read_write(0o200, unreadable, move |text| remove(of, text)))
}

/// Forgets what was added to a driver that goes.
pub(crate) fn forget(of: u64) {
    let gone: Vec<u64> = {
        let mut added = ADDED.lock();
        let gone = added.iter().filter(|(driver, _)| *driver == of).map(|&(_, table)| table).collect();
        added.retain(|(driver, _)| *driver != of);
        gone
    };
    for table in gone {
        slab::release(table, 0);
    }
}
