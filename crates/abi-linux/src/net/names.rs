//! Names of network devices.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;

use super::devices;
use super::layout::net_device;
use crate::export::{Export, exports};
use crate::ram;

/// `IFNAMSIZ`: with the NUL.
pub(crate) const ROOM: usize = 16;

/// Whether a device may be called so (`dev_valid_name`).
pub(crate) fn is_valid(name: &[u8]) -> bool {
    let in_place = |byte: &u8| *byte == b'/' || *byte == b':' || byte.is_ascii_whitespace() || *byte == 11;
    !name.is_empty() && name.len() < ROOM && name != b"." && name != b".." && !name.iter().any(in_place)
}

/// The name of a device.
pub(crate) fn of(dev: u64) -> Vec<u8> {
    // SAFETY: the caller's device.
    unsafe { ram::c_string(net_device::name.at(dev)) }.to_vec()
}

/// A name with the smallest number that is free in place of its `%d`, and that number.
///
/// # Errors
/// `EINVAL` for a name that cannot be one, `ENFILE` when all numbers are taken, or `taken` for a plain name that is.
fn resolve(name: &[u8], taken: Errno) -> Result<(Vec<u8>, i32), Errno> {
    /// A page of bits: as many devices as one name can have.
    const NUMBERS: i32 = 8 * 4096;
    if !is_valid(name) {
        return Err(Errno::EINVAL);
    }
    let Some(place) = name.iter().position(|&byte| byte == b'%') else {
        return if devices::by_name(name).is_some() { Err(taken) } else { Ok((name.to_vec(), 0)) };
    };
    let (before, after) = (&name[..place], &name[place + 1..]);
    let Some(after) = after.strip_prefix(b"d").filter(|after| !after.contains(&b'%')) else {
        return Err(Errno::EINVAL);
    };
    let names: Vec<Vec<u8>> = devices::all().into_iter().map(of).collect();
    for number in 0..NUMBERS {
        let candidate = [before, alloc::format!("{number}").as_bytes(), after].concat();
        if candidate.len() >= ROOM {
            break;
        }
        if !names.contains(&candidate) {
            return Ok((candidate, number));
        }
    }
    Err(Errno::ENFILE)
}

/// Writes a device's name.
fn write(dev: u64, name: &[u8]) {
    let mut block = [0u8; ROOM];
    block[..name.len()].copy_from_slice(name);
    // SAFETY: the caller's device, whose name has this much room.
    unsafe { ram::bytes_mut(net_device::name.at(dev), ROOM as u64).copy_from_slice(&block) };
}

/// Gives a device that is about to be registered a name of its own.
///
/// # Errors
/// As [`resolve`], `EEXIST` for a name that is taken.
pub(crate) fn settle(dev: u64) -> Result<(), Errno> {
    let (name, _) = resolve(&of(dev), Errno::EEXIST)?;
    write(dev, &name);
    Ok(())
}

/// `int dev_alloc_name(struct net_device *, const char *)`: the number.
extern "C" fn dev_alloc_name(dev: u64, name: u64) -> i32 {
    // SAFETY: the caller's C string.
    match resolve(unsafe { ram::c_string(name) }, Errno::ENFILE) {
        Ok((name, number)) => {
            write(dev, &name);
            number
        }
        Err(errno) => errno.to_return(),
    }
}
/// `bool dev_valid_name(const char *)`
extern "C" fn dev_valid_name(name: u64) -> bool {
    // SAFETY: the caller's C string.
    is_valid(unsafe { ram::c_string(name) })
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c dev_alloc_name, c dev_valid_name];
