//! Contacts of touch screens and pads: a slot for each (Linux, `Documentation/input/multi-touch-protocol.rst`, type B).

use ferrmod_kernel::Errno;

use super::bits::{self, ABSOLUTE, KEY};
use super::event::{self, input_event};
use super::{input_absinfo, input_dev};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod input_mt = "input_mt" { trkid, num_slots, slot, flags, frame, slots }
    mod input_mt_slot = "input_mt_slot" { abs, frame, key }
}

/// `ABS_X`, `ABS_Y`, `ABS_PRESSURE`, `ABS_DISTANCE`
const X: u32 = 0x00;
const Y: u32 = 0x01;
const PRESSURE: u32 = 0x18;
const DISTANCE: u32 = 0x19;
/// `ABS_MT_SLOT`
pub(super) const SLOT: u32 = 0x2f;
/// `ABS_MT_FIRST`, `ABS_MT_LAST`: what is said of a contact.
const FIRST: u32 = 0x30;
const LAST: u32 = 0x3d;
/// `ABS_MT_POSITION_X`, `ABS_MT_POSITION_Y`, `ABS_MT_TOOL_TYPE`, `ABS_MT_TRACKING_ID`, `ABS_MT_PRESSURE`, `ABS_MT_DISTANCE`
const POSITION_X: u32 = 0x35;
const POSITION_Y: u32 = 0x36;
const TOOL_TYPE: u32 = 0x37;
const TRACKING: u32 = 0x39;
const CONTACT_PRESSURE: u32 = 0x3a;
const CONTACT_DISTANCE: u32 = 0x3b;
/// `BTN_TOUCH`, and the tools of one to five fingers.
const TOUCH: u32 = 0x14a;
const FINGERS: [u32; 5] = [0x145, 0x14d, 0x14e, 0x14f, 0x148];
/// `INPUT_MT_POINTER`, `INPUT_MT_DIRECT`, `INPUT_MT_DROP_UNUSED`, `INPUT_MT_TRACK`, `INPUT_MT_SEMI_MT`
const IS_POINTER: u32 = 1;
const IS_DIRECT: u32 = 2;
const DROPS_UNUSED: u32 = 4;
const TRACKS: u32 = 8;
const COUNTS_FINGERS: u32 = 16;
/// `INPUT_PROP_POINTER`, `INPUT_PROP_DIRECT`, `INPUT_PROP_SEMI_MT`
const PROPERTY_POINTER: u32 = 0;
const PROPERTY_DIRECT: u32 = 1;
const PROPERTY_SEMI: u32 = 3;
/// `TRKID_MAX`, and half of it: a number that is further ahead is one that is behind.
const LAST_TRACKING: i32 = 0xffff;
const HALF: i32 = 0x8000;
/// More contacts than a device may have.
const MOST: u32 = 1024;

/// Whether an axis is one of a contact.
pub(super) fn is_of_contact(code: u32) -> bool {
    (FIRST..=LAST).contains(&code)
}

/// The state of a device's contacts, if it has slots.
fn contacts(made: u64) -> Option<u64> {
    // SAFETY: a device.
    let state: u64 = unsafe { input_dev::mt.get(made) };
    (state != 0).then_some(state)
}

/// The slots.
///
/// # Safety
/// The state of contacts.
unsafe fn slots(state: u64) -> impl Iterator<Item = u64> {
    // SAFETY: the caller vouches for it.
    let count = unsafe { input_mt::num_slots.get::<i32>(state) }.max(0) as u64;
    (0..count).map(move |number| input_mt::slots.at(state) + number * input_mt_slot::SIZE.get())
}

/// Where the value of an axis of a contact is.
fn value_at(slot: u64, code: u32) -> u64 {
    input_mt_slot::abs.at(slot) + 4 * u64::from(code - FIRST)
}

/// The value of an axis of a contact.
///
/// # Safety
/// A slot.
unsafe fn value(slot: u64, code: u32) -> i32 {
    // SAFETY: the caller vouches for it.
    unsafe { ram::get(value_at(slot, code)) }
}

/// The slot that the driver speaks of from now on.
pub(super) fn choose(made: u64, slot: i32) {
    if let Some(state) = contacts(made) {
        // SAFETY: the device's state.
        unsafe {
            if (0..input_mt::num_slots.get(state)).contains(&slot) {
                input_mt::slot.set(state, slot);
            }
        }
    }
}

/// The slot that the driver speaks of; 0 without slots.
pub(super) fn chosen(made: u64) -> i32 {
    // SAFETY: the device's state.
    contacts(made).map_or(0, |state| unsafe { input_mt::slot.get(state) })
}

/// Where the state of an axis of the chosen contact is, and the number of the slot; `None` without slots.
pub(super) fn state(made: u64, code: u32) -> Option<(u64, i32)> {
    let state = contacts(made)?;
    let slot = chosen(made);
    let at = input_mt::slots.at(state) + slot.max(0) as u64 * input_mt_slot::SIZE.get();
    Some((value_at(at, code), slot))
}

/// Says that nothing touches the device, with its lock held.
///
/// # Safety
/// A registered device.
pub(super) unsafe fn release(made: u64) {
    if let Some(state) = contacts(made) {
        // SAFETY: the caller vouches for the device.
        unsafe {
            // Nothing has been said in a frame that only begins.
            next_frame(state);
            drop_unused(made, state);
        }
    }
}

/// Goes on to the next frame.
///
/// # Safety
/// The state of contacts.
unsafe fn next_frame(state: u64) {
    // SAFETY: the caller vouches for it.
    unsafe { input_mt::frame.set(state, input_mt::frame.get::<u32>(state).wrapping_add(1)) };
}

/// An axis of the device's own is like one of its contacts.
fn copy_axis(made: u64, to: u32, from: u32) {
    if !bits::has(made, ABSOLUTE, from) {
        return;
    }
    bits::give(made, ABSOLUTE, to);
    // SAFETY: a device with axes.
    unsafe {
        let info: u64 = input_dev::absinfo.get(made);
        if info != 0 {
            let size = input_absinfo::SIZE.get();
            ram::copy(info + u64::from(to) * size, info + u64::from(from) * size, size);
            // Contacts have a jitter of their own.
            input_absinfo::fuzz.set(info + u64::from(to) * size, 0i32);
        }
    }
}

/// `int input_mt_init_slots(struct input_dev *, unsigned int num_slots, unsigned int flags)`
extern "C" fn input_mt_init_slots(made: u64, count: u32, flags: u32) -> i32 {
    let caller = ram::caller();
    if count == 0 {
        return 0;
    }
    if count > MOST {
        return Errno::EINVAL.to_return();
    }
    // SAFETY: the caller's device, and a zeroed block of its own.
    unsafe {
        if let Some(state) = contacts(made) {
            let same = input_mt::num_slots.get::<u32>(state) == count;
            return if same { 0 } else { Errno::EINVAL.to_return() };
        }
        if flags & TRACKS != 0 {
            // Finding out which contact is which is the kernel's then, and nobody here does it.
            return Errno::EOPNOTSUPP.to_return();
        }
        let size = input_mt::slots.at(0) + u64::from(count) * input_mt_slot::SIZE.get();
        let state = slab::allocate(size, 8, slab::ZERO, caller);
        if state == 0 {
            return Errno::ENOMEM.to_return();
        }
        input_mt::num_slots.set(state, count);
        input_mt::flags.set(state, flags);
        super::input_set_abs_params(made, SLOT, 0, count as i32 - 1, 0, 0);
        super::input_set_abs_params(made, TRACKING, 0, LAST_TRACKING, 0, 0);
        if flags & (IS_POINTER | IS_DIRECT) != 0 {
            bits::give(made, KEY, TOUCH);
            for (to, from) in [(X, POSITION_X), (Y, POSITION_Y), (PRESSURE, CONTACT_PRESSURE)] {
                copy_axis(made, to, from);
            }
        }
        if flags & IS_POINTER != 0 {
            for (code, least) in FINGERS.into_iter().zip([0, 0, 3, 4, 5]) {
                if count >= least {
                    bits::give(made, KEY, code);
                }
            }
        }
        for (flag, property) in
            [(IS_POINTER, PROPERTY_POINTER), (IS_DIRECT, PROPERTY_DIRECT), (COUNTS_FINGERS, PROPERTY_SEMI)]
        {
            if flags & flag != 0 {
                bits::put(input_dev::propbit.at(made), property, true);
            }
        }
        for slot in slots(state) {
            ram::put(value_at(slot, TRACKING), -1i32);
        }
        input_mt::frame.set(state, 1u32);
        input_dev::mt.set(made, state);
    }
    0
}
/// `void input_mt_destroy_slots(struct input_dev *)`
pub(super) extern "C" fn input_mt_destroy_slots(made: u64) {
    if let Some(state) = contacts(made) {
        // SAFETY: the caller's device.
        unsafe { input_dev::mt.set(made, 0u64) };
        slab::release(state, 0);
    }
}
/// `bool input_mt_report_slot_state(struct input_dev *, unsigned int tool_type, bool active)`
extern "C" fn input_mt_report_slot_state(made: u64, tool: u32, active: bool) -> bool {
    let Some(contacts) = contacts(made) else { return false };
    // SAFETY: the caller's device.
    unsafe {
        let slot = input_mt::slots.at(contacts) + chosen(made).max(0) as u64 * input_mt_slot::SIZE.get();
        input_mt_slot::frame.set(slot, input_mt::frame.get::<u32>(contacts));
        if !active {
            input_event(made, ABSOLUTE, TRACKING, -1);
            return false;
        }
        let mut tracking = value(slot, TRACKING);
        if tracking < 0 {
            let next: i32 = input_mt::trkid.get(contacts);
            input_mt::trkid.set(contacts, next.wrapping_add(1));
            tracking = next & LAST_TRACKING;
        }
        input_event(made, ABSOLUTE, TRACKING, tracking);
        input_event(made, ABSOLUTE, TOOL_TYPE, tool as i32);
    }
    true
}
/// `void input_mt_report_finger_count(struct input_dev *, int)`
extern "C" fn input_mt_report_finger_count(made: u64, count: i32) {
    for (code, fingers) in FINGERS.into_iter().zip(1..) {
        input_event(made, KEY, code, i32::from(count == fingers));
    }
}
/// `void input_mt_report_pointer_emulation(struct input_dev *, bool use_count)`: the oldest contact is what the device points at.
extern "C" fn input_mt_report_pointer_emulation(made: u64, fingers: bool) {
    let Some(state) = contacts(made) else { return };
    // SAFETY: the caller's device.
    unsafe {
        let mut last: i32 = input_mt::trkid.get(state);
        let (mut oldest, mut count) = (None, 0);
        for slot in slots(state) {
            let tracking = value(slot, TRACKING);
            if tracking < 0 {
                continue;
            }
            if tracking.wrapping_sub(last) & HALF != 0 {
                (oldest, last) = (Some(slot), tracking);
            }
            count += 1;
        }
        input_event(made, KEY, TOUCH, i32::from(count > 0));
        if fingers {
            // A finger that is above a pad which says no distances of its contacts.
            let hovers = !bits::has(made, ABSOLUTE, CONTACT_DISTANCE)
                && bits::has(made, ABSOLUTE, DISTANCE)
                && axis_value(made, DISTANCE) != 0;
            input_mt_report_finger_count(made, if count == 0 && hovers { 1 } else { count });
        }
        let has_pressure = bits::has(made, ABSOLUTE, CONTACT_PRESSURE);
        match oldest {
            Some(slot) => {
                input_event(made, ABSOLUTE, X, value(slot, POSITION_X));
                input_event(made, ABSOLUTE, Y, value(slot, POSITION_Y));
                if has_pressure {
                    input_event(made, ABSOLUTE, PRESSURE, value(slot, CONTACT_PRESSURE));
                }
            }
            None if has_pressure => input_event(made, ABSOLUTE, PRESSURE, 0),
            None => (),
        }
    }
}

/// The value of an axis of the device itself.
///
/// # Safety
/// A device.
unsafe fn axis_value(made: u64, code: u32) -> i32 {
    // SAFETY: the caller vouches for it.
    unsafe {
        match input_dev::absinfo.get::<u64>(made) {
            0 => 0,
            info => input_absinfo::value.get(info + u64::from(code) * input_absinfo::SIZE.get()),
        }
    }
}

/// Contacts that were not said in this frame are gone; with the device's lock held.
///
/// # Safety
/// A registered device and its state.
unsafe fn drop_unused(made: u64, state: u64) {
    // SAFETY: the caller vouches for both.
    unsafe {
        let frame: u32 = input_mt::frame.get(state);
        for (number, slot) in slots(state).enumerate() {
            if value(slot, TRACKING) >= 0 && input_mt_slot::frame.get::<u32>(slot) != frame {
                event::dispatch(made, ABSOLUTE, SLOT, number as i32);
                event::dispatch(made, ABSOLUTE, TRACKING, -1);
            }
        }
    }
}
/// `void input_mt_drop_unused(struct input_dev *)`
extern "C" fn input_mt_drop_unused(made: u64) {
    let Some(state) = contacts(made) else { return };
    // SAFETY: the caller's device.
    event::locked(made, || unsafe {
        drop_unused(made, state);
        next_frame(state);
    });
}
/// `void input_mt_sync_frame(struct input_dev *)`
extern "C" fn input_mt_sync_frame(made: u64) {
    let Some(state) = contacts(made) else { return };
    // SAFETY: the caller's device.
    unsafe {
        let flags: u32 = input_mt::flags.get(state);
        if flags & DROPS_UNUSED != 0 {
            event::locked(made, || drop_unused(made, state));
        }
        input_mt_report_pointer_emulation(made, flags & IS_POINTER != 0 && flags & COUNTS_FINGERS == 0);
        next_frame(state);
    }
}
/// `int input_mt_get_slot_by_key(struct input_dev *, int key)`
extern "C" fn input_mt_get_slot_by_key(made: u64, key: i32) -> i32 {
    let Some(state) = contacts(made) else { return -1 };
    // SAFETY: the caller's device.
    unsafe {
        let (frame, key): (u32, u32) = (input_mt::frame.get(state), key as u32);
        let all = || slots(state).enumerate();
        let is_active = |slot: u64| value(slot, TRACKING) >= 0;
        let known = all().find(|&(_, slot)| is_active(slot) && input_mt_slot::key.get::<u32>(slot) == key);
        let free = || all().find(|&(_, slot)| !is_active(slot) && input_mt_slot::frame.get::<u32>(slot) != frame);
        match known.or_else(free) {
            Some((number, slot)) => {
                input_mt_slot::key.set(slot, key);
                number as i32
            }
            None => -1,
        }
    }
}

/// How many contacts a packet of the device may say.
pub(super) fn most_contacts(made: u64) -> u32 {
    if let Some(state) = contacts(made) {
        // SAFETY: the device's state.
        return unsafe { input_mt::num_slots.get(state) };
    }
    if bits::has(made, ABSOLUTE, TRACKING) {
        // SAFETY: a device with axes.
        return unsafe {
            let info = input_dev::absinfo.get::<u64>(made) + u64::from(TRACKING) * input_absinfo::SIZE.get();
            let (least, most): (i32, i32) = (input_absinfo::minimum.get(info), input_absinfo::maximum.get(info));
            i64::from(most).saturating_sub(least.into()).saturating_add(1).clamp(2, 32) as u32
        };
    }
    if bits::has(made, ABSOLUTE, POSITION_X) { 2 } else { 0 }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c input_mt_init_slots, c input_mt_destroy_slots, c input_mt_report_slot_state, c input_mt_report_finger_count,
    c input_mt_report_pointer_emulation, c input_mt_drop_unused, c input_mt_sync_frame, c input_mt_get_slot_by_key,
];
