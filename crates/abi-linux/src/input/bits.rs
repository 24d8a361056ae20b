//! The maps of a device: which types of event it has, and which codes of each type.

use alloc::string::String;
use alloc::vec::Vec;

use super::input_dev;
use crate::field::Field;
use crate::ram;

/// `EV_SYN` to `EV_PWR` (`include/uapi/linux/input-event-codes.h`).
pub(super) const SYNC: u32 = 0x00;
pub(super) const KEY: u32 = 0x01;
pub(super) const RELATIVE: u32 = 0x02;
pub(super) const ABSOLUTE: u32 = 0x03;
pub(super) const MISCELLANEOUS: u32 = 0x04;
pub(super) const SWITCH: u32 = 0x05;
pub(super) const LED: u32 = 0x11;
pub(super) const SOUND: u32 = 0x12;
pub(super) const REPEAT: u32 = 0x14;
pub(super) const FORCE: u32 = 0x15;
pub(super) const POWER: u32 = 0x16;

/// `EV_CNT`, `INPUT_PROP_CNT`
pub(super) const TYPES: u32 = 0x20;
pub(super) const PROPERTIES: u32 = 0x20;
/// `KEY_CNT`, `ABS_CNT`
pub(super) const KEYS: u32 = 0x300;
pub(super) const AXES: u32 = 0x40;

/// Each type of event of which devices have a map: its name, its number, how many codes there are (`KEY_CNT` and so on).
pub(super) const MAPS: [(&str, u32, u32); 8] = [
    ("KEY", KEY, KEYS),
    ("REL", RELATIVE, 0x10),
    ("ABS", ABSOLUTE, AXES),
    ("MSC", MISCELLANEOUS, 0x08),
    ("LED", LED, 0x10),
    ("SND", SOUND, 0x08),
    ("FF", FORCE, 0x80),
    ("SW", SWITCH, 0x11),
];

/// The map that says which codes of a type a device has.
pub(super) fn map_of(kind: u32) -> Option<&'static Field> {
    Some(match kind {
        KEY => &input_dev::keybit,
        RELATIVE => &input_dev::relbit,
        ABSOLUTE => &input_dev::absbit,
        MISCELLANEOUS => &input_dev::mscbit,
        SWITCH => &input_dev::swbit,
        LED => &input_dev::ledbit,
        SOUND => &input_dev::sndbit,
        FORCE => &input_dev::ffbit,
        _ => return None,
    })
}

/// How many codes of a type there are.
pub(super) fn codes(kind: u32) -> u32 {
    MAPS.iter().find(|(_, other, _)| *other == kind).map_or(0, |&(_, _, codes)| codes)
}

/// Whether a bit of a map is set.
///
/// # Safety
/// The map has this bit.
pub(super) unsafe fn is_set(map: u64, bit: u32) -> bool {
    // SAFETY: the caller vouches for the map.
    unsafe { ram::get::<u64>(map + u64::from(bit / 64) * 8) >> (bit % 64) & 1 != 0 }
}

/// Sets or clears a bit of a map.
///
/// # Safety
/// The map has this bit.
pub(super) unsafe fn put(map: u64, bit: u32, value: bool) {
    let word = map + u64::from(bit / 64) * 8;
    // SAFETY: the caller vouches for the map.
    unsafe {
        let others = ram::get::<u64>(word) & !(1 << (bit % 64));
        ram::put(word, others | u64::from(value) << (bit % 64));
    }
}

/// Whether a device has events of a type.
pub(super) fn has_type(made: u64, kind: u32) -> bool {
    // SAFETY: a device and its map.
    kind < TYPES && unsafe { is_set(input_dev::evbit.at(made), kind) }
}

/// Whether a device has a code of a type.
pub(super) fn has(made: u64, kind: u32, code: u32) -> bool {
    // SAFETY: a device and its map, which has this many bits.
    map_of(kind).is_some_and(|map| code < codes(kind) && unsafe { is_set(map.at(made), code) })
}

/// Says that a device has a code of a type. What is no code is ignored.
pub(super) fn give(made: u64, kind: u32, code: u32) {
    if let Some(map) = map_of(kind).filter(|_| code < codes(kind)) {
        // SAFETY: a device and its maps, which have this many bits.
        unsafe {
            put(map.at(made), code, true);
            put(input_dev::evbit.at(made), kind, true);
        }
    }
}

/// The bits that are set.
///
/// # Safety
/// The map has so many bits.
pub(super) unsafe fn all(map: u64, bits: u32) -> Vec<u32> {
    // SAFETY: the caller vouches for the map.
    (0..bits).filter(|&bit| unsafe { is_set(map, bit) }).collect()
}

/// Whether everything in one map is in the other.
///
/// # Safety
/// Both have so many bits.
pub(super) unsafe fn is_subset(map: u64, of: u64, bits: u32) -> bool {
    let mut words = (0..u64::from(bits.div_ceil(64))).map(|word| 8 * word);
    // SAFETY: the caller vouches for the maps.
    words.all(|at| unsafe { ram::get::<u64>(map + at) & !ram::get::<u64>(of + at) == 0 })
}

/// A map as text: its words from the highest that is not zero on.
///
/// # Safety
/// It has so many bits.
pub(super) unsafe fn text(map: u64, bits: u32) -> String {
    let words = (0..u64::from(bits.div_ceil(64))).rev();
    // SAFETY: the caller vouches for the map.
    let words = words.map(|word| unsafe { ram::get::<u64>(map + 8 * word) });
    let shown: Vec<String> = words.skip_while(|&word| word == 0).map(|word| alloc::format!("{word:x}")).collect();
    if shown.is_empty() { "0".into() } else { shown.join(" ") }
}
