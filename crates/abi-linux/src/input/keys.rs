//! Which key a scan code stands for: the table of a driver, read and changed by programs (`EVIOCGKEYCODE_V2`, `EVIOCSKEYCODE_V2`).

use ferrmod_kernel::{Errno, kernel};

use super::bits::{self, KEY, KEYS};
use super::event::{self, locked};
use super::input_dev;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{device, ram};

layout! {
    mod input_keymap_entry = "input_keymap_entry" { flags, len, index, keycode, scancode }
}

/// `INPUT_KEYMAP_BY_INDEX`
const BY_INDEX: u8 = 1;
/// `KEY_RESERVED`
pub(super) const RESERVED: u32 = 0;

/// The scan code of an entry, when it is a number of 1, 2 or 4 bytes.
///
/// # Safety
/// An entry.
unsafe fn scancode(entry: u64) -> Option<u32> {
    // SAFETY: the caller vouches for the entry.
    unsafe {
        let at = input_keymap_entry::scancode.at(entry);
        Some(match input_keymap_entry::len.get::<u8>(entry) {
            1 => ram::get::<u8>(at).into(),
            2 => ram::get::<u16>(at).into(),
            4 => ram::get(at),
            _ => return None,
        })
    }
}
/// `int input_scancode_to_scalar(const struct input_keymap_entry *, unsigned int *)`
extern "C" fn input_scancode_to_scalar(entry: u64, to: u64) -> i32 {
    // SAFETY: the caller's entry and number.
    unsafe {
        match scancode(entry) {
            Some(code) => {
                ram::put(to, code);
                0
            }
            None => Errno::EINVAL.to_return(),
        }
    }
}

/// The place of an entry in the driver's table, and how many bytes a code has there.
///
/// # Safety
/// A device and an entry.
unsafe fn place(made: u64, entry: u64) -> Option<(u32, u64)> {
    // SAFETY: the caller vouches for both.
    unsafe {
        let size: u32 = input_dev::keycodesize.get(made);
        let by_index = input_keymap_entry::flags.get::<u8>(entry) & BY_INDEX != 0;
        let index = if by_index { Some(input_keymap_entry::index.get::<u16>(entry).into()) } else { scancode(entry) };
        let index = index.filter(|&index| size != 0 && index < input_dev::keycodemax.get::<u32>(made))?;
        Some((index, size.into()))
    }
}

/// The code at a place of the table.
///
/// # Safety
/// The device's table has this place.
unsafe fn code_at(made: u64, index: u32, size: u64) -> u32 {
    // SAFETY: the caller vouches for the table.
    unsafe {
        let table: u64 = input_dev::keycode.get(made);
        match size {
            1 => ram::get::<u8>(table + u64::from(index)).into(),
            2 => ram::get::<u16>(table + 2 * u64::from(index)).into(),
            _ => ram::get(table + 4 * u64::from(index)),
        }
    }
}

/// What a driver without a function of its own answers.
extern "C" fn input_default_getkeycode(made: u64, entry: u64) -> i32 {
    // SAFETY: a registered device and the caller's entry.
    unsafe {
        let Some((index, size)) = place(made, entry) else { return Errno::EINVAL.to_return() };
        input_keymap_entry::keycode.set(entry, code_at(made, index, size));
        input_keymap_entry::index.set(entry, index as u16);
        input_keymap_entry::len.set(entry, 4u8);
        ram::put(input_keymap_entry::scancode.at(entry), index);
    }
    0
}
/// The same for changing one; the code that was there goes to `old`.
extern "C" fn input_default_setkeycode(made: u64, entry: u64, old: u64) -> i32 {
    // SAFETY: a registered device, the caller's entry and number.
    unsafe {
        let Some((index, size)) = place(made, entry) else { return Errno::EINVAL.to_return() };
        let code: u32 = input_keymap_entry::keycode.get(entry);
        if size < 4 && code >> (8 * size) != 0 {
            return Errno::EINVAL.to_return();
        }
        let before = code_at(made, index, size);
        ram::put(old, before);
        let table: u64 = input_dev::keycode.get(made);
        match size {
            1 => ram::put(table + u64::from(index), code as u8),
            2 => ram::put(table + 2 * u64::from(index), code as u16),
            _ => ram::put(table + 4 * u64::from(index), code),
        }
        let map = input_dev::keybit.at(made);
        if before < KEYS {
            let most: u32 = input_dev::keycodemax.get(made);
            bits::put(map, before, (0..most).any(|other| code_at(made, other, size) == before));
        }
        if code < KEYS {
            bits::put(map, code, true);
        }
    }
    0
}

/// Gives a device the functions that its driver has not.
pub(super) fn complete(made: u64) {
    for (field, name) in
        [(&input_dev::getkeycode, "input_default_getkeycode"), (&input_dev::setkeycode, "input_default_setkeycode")]
    {
        // SAFETY: the caller's device.
        unsafe {
            if field.get::<u64>(made) == 0 {
                field.set(made, crate::symbols::address(name).unwrap_or(0));
            }
        }
    }
}

/// `int input_get_keycode(struct input_dev *, struct input_keymap_entry *)`
extern "C" fn input_get_keycode(made: u64, entry: u64) -> i32 {
    // SAFETY: the caller's device and entry, and its driver's function.
    locked(made, || unsafe { ram::call(input_dev::getkeycode.get(made), [made, entry]) as i32 })
}
/// `int input_set_keycode(struct input_dev *, const struct input_keymap_entry *)`
extern "C" fn input_set_keycode(made: u64, entry: u64) -> i32 {
    // SAFETY: as above.
    unsafe {
        if input_keymap_entry::keycode.get::<u32>(entry) >= KEYS {
            return Errno::EINVAL.to_return();
        }
        locked(made, || {
            let mut old = 0u32;
            let result = ram::call(input_dev::setkeycode.get(made), [made, entry, &raw mut old as u64]) as i32;
            if result != 0 {
                return result;
            }
            bits::put(input_dev::keybit.at(made), RESERVED, false);
            if old >= KEYS {
                let label = device::label(input_dev::dev.at(made));
                kernel().printk(
                    alloc::format!("\x014{label}: input_set_keycode: got too big old keycode {old:#x}\n").as_bytes(),
                );
            } else if bits::has_type(made, KEY)
                && !bits::has(made, KEY, old)
                && bits::is_set(input_dev::key.at(made), old)
            {
                // Nobody can release a key that is no more.
                event::say_released(made, old);
            }
            0
        })
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c input_scancode_to_scalar, c input_default_getkeycode, c input_default_setkeycode, c input_get_keycode,
    c input_set_keycode,
];
