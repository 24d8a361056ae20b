//! Events on their way from a device to those who listen: what is new is passed on, packet by packet.
//!
//! A driver says everything it sees; `Documentation/input/input-programming.rst` and `event-codes.rst` of Linux say what listeners may rely
//! on: no code that the device does not have, no state that is what it was, and packets that end with `SYN_REPORT`.

use ferrmod_kernel::kernel;

use super::bits::{self, ABSOLUTE, FORCE, KEY, LED, MISCELLANEOUS, POWER, RELATIVE, REPEAT, SOUND, SWITCH, SYNC};
use super::handlers::{self, input_handle, input_handler};
use super::{input_absinfo, input_dev, touch};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, time};

layout! {
    pub(super) mod input_value = "input_value" { type_ = "type", code, value }
}

/// `SYN_REPORT`, `SYN_CONFIG`, `SYN_MT_REPORT`
pub(super) const REPORT: u32 = 0;
const CONFIG: u32 = 1;
const TOUCH_REPORT: u32 = 2;
/// What a key's event has as its value when it is repeated.
const REPEATED: i32 = 2;
/// `REP_DELAY`, `REP_PERIOD`, `REP_CNT`
const DELAY: u64 = 0;
const PERIOD: u64 = 1;
const REPETITIONS: u32 = 2;
/// `INPUT_CLK_REAL`, `INPUT_CLK_MONO`, `INPUT_CLK_BOOT`
const REAL: u64 = 0;
const MONOTONIC: u64 = 1;
const SINCE_BOOT: u64 = 2;

/// Who gets an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pass {
    /// The driver, through its `event`.
    device: bool,
    /// Those who listen.
    handlers: bool,
    /// The contact that it is about has to be said before.
    slot: bool,
    /// It ends a packet.
    ends: bool,
}

impl Pass {
    const NOBODY: Self = Self { device: false, handlers: false, slot: false, ends: false };
    const HANDLERS: Self = Self { handlers: true, ..Self::NOBODY };
    const ALL: Self = Self { device: true, ..Self::HANDLERS };
    const END: Self = Self { ends: true, ..Self::HANDLERS };
}

/// Runs `body` with the device's `event_lock`.
pub(super) fn locked<T>(made: u64, body: impl FnOnce() -> T) -> T {
    let lock = input_dev::event_lock.at(made);
    let flags = locks::_raw_spin_lock_irqsave(lock);
    let result = body();
    locks::_raw_spin_unlock_irqrestore(lock, flags);
    result
}

/// Writes what is new into a map of states; whether it was.
///
/// # Safety
/// The map has this bit.
unsafe fn changes(map: u64, code: u32, value: i32) -> bool {
    // SAFETY: the caller vouches for the map.
    unsafe {
        let is_new = bits::is_set(map, code) != (value != 0);
        bits::put(map, code, value != 0);
        is_new
    }
}

/// What a jittering axis is taken to say: close to the old value it stays, further away it moves by a part.
fn without_jitter(value: i32, old: i32, fuzz: i32) -> i32 {
    let (wide, fuzz_wide) = (i64::from(value), i64::from(fuzz));
    let within = |range: i64| wide > i64::from(old) - range && wide < i64::from(old) + range;
    match () {
        () if fuzz == 0 => value,
        () if within(fuzz_wide / 2) => old,
        () if within(fuzz_wide) => ((i64::from(old) * 3 + wide) / 4) as i32,
        () if within(fuzz_wide * 2) => ((i64::from(old) + wide) / 2) as i32,
        () => value,
    }
}

/// The event of an axis, and the value that is passed on.
///
/// # Safety
/// A registered device that has the axis.
unsafe fn axis(made: u64, code: u32, value: i32) -> (Pass, i32) {
    // SAFETY: the caller vouches for the device; the array has every axis.
    unsafe {
        if code == touch::SLOT {
            touch::choose(made, value);
            return (Pass::NOBODY, value);
        }
        let info: u64 = input_dev::absinfo.get(made);
        if info == 0 {
            return (Pass::HANDLERS, value);
        }
        let info_of = |code: u32| info + u64::from(code) * input_absinfo::SIZE.get();
        let (state, is_other) = if touch::is_of_contact(code) {
            match touch::state(made, code) {
                // A device that says all contacts in each packet has no states.
                None => return (Pass::HANDLERS, value),
                Some((state, slot)) => {
                    (state, (slot != input_absinfo::value.get(info_of(touch::SLOT))).then_some(slot))
                }
            }
        } else {
            (input_absinfo::value.at(info_of(code)), None)
        };
        let old: i32 = ram::get(state);
        let value = without_jitter(value, old, input_absinfo::fuzz.get(info_of(code)));
        if value == old {
            return (Pass::NOBODY, value);
        }
        ram::put(state, value);
        if let Some(slot) = is_other {
            input_absinfo::value.set(info_of(touch::SLOT), slot);
        }
        (Pass { slot: is_other.is_some(), ..Pass::HANDLERS }, value)
    }
}

/// Who is to get an event, and with which value.
///
/// # Safety
/// A registered device.
unsafe fn disposition(made: u64, kind: u32, code: u32, value: i32) -> (Pass, i32) {
    // SAFETY: the caller vouches for the device; its maps have the bits that `has` knows.
    let pass = unsafe {
        if input_dev::inhibited.get::<u8>(made) != 0 {
            return (Pass::NOBODY, value);
        }
        match kind {
            SYNC if code == CONFIG => Pass::ALL,
            SYNC if code == REPORT => Pass::END,
            SYNC if code == TOUCH_REPORT => Pass::HANDLERS,
            KEY if bits::has(made, kind, code) => {
                let passes = value == REPEATED || changes(input_dev::key.at(made), code, value);
                if passes { Pass::HANDLERS } else { Pass::NOBODY }
            }
            SWITCH if bits::has(made, kind, code) && changes(input_dev::sw.at(made), code, value) => Pass::HANDLERS,
            ABSOLUTE if bits::has(made, kind, code) => return axis(made, code, value),
            RELATIVE if bits::has(made, kind, code) && value != 0 => Pass::HANDLERS,
            MISCELLANEOUS if bits::has(made, kind, code) => Pass::ALL,
            LED if bits::has(made, kind, code) && changes(input_dev::led.at(made), code, value) => Pass::ALL,
            SOUND if bits::has(made, kind, code) => {
                changes(input_dev::snd.at(made), code, value);
                Pass::ALL
            }
            REPEAT if code < REPETITIONS && value >= 0 => {
                let place = input_dev::rep.at(made) + 4 * u64::from(code);
                let is_new = ram::get::<i32>(place) != value;
                ram::put(place, value);
                if is_new { Pass::ALL } else { Pass::NOBODY }
            }
            FORCE if value >= 0 => Pass::ALL,
            POWER => Pass::ALL,
            _ => Pass::NOBODY,
        }
    };
    (pass, value)
}

/// Puts an event behind those of the packet.
///
/// # Safety
/// A registered device, whose packet has room.
unsafe fn push(made: u64, kind: u32, code: u32, value: i32) {
    // SAFETY: the caller vouches for the device.
    unsafe {
        let count: u32 = input_dev::num_vals.get(made);
        put_event(input_dev::vals.get::<u64>(made) + u64::from(count) * input_value::SIZE.get(), kind, code, value);
        input_dev::num_vals.set(made, count + 1);
    }
}

/// # Safety
/// There is room for an event.
unsafe fn put_event(at: u64, kind: u32, code: u32, value: i32) {
    // SAFETY: the caller vouches for the room.
    unsafe {
        input_value::type_.set(at, kind as u16);
        input_value::code.set(at, code as u16);
        input_value::value.set(at, value);
    }
}

/// An event of a driver's or of a listener's, with the device's lock held.
///
/// # Safety
/// A registered device.
pub(super) unsafe fn dispatch(made: u64, kind: u32, code: u32, value: i32) {
    // SAFETY: the caller vouches for the device, its driver for the function.
    unsafe {
        let (pass, value) = disposition(made, kind, code, value);
        if pass.device {
            let event: u64 = input_dev::event.get(made);
            if event != 0 {
                ram::call(event, [made, kind.into(), code.into(), value as u32 as u64]);
            }
        }
        if input_dev::vals.get::<u64>(made) == 0 {
            return;
        }
        if pass.slot {
            push(made, ABSOLUTE, touch::SLOT, touch::chosen(made));
        }
        if pass.handlers {
            push(made, kind, code, value);
        }
        let count: u32 = input_dev::num_vals.get(made);
        if pass.ends {
            if count >= 2 {
                deliver(made, input_dev::vals.get(made), count);
            }
            input_dev::num_vals.set(made, 0u32);
            // The next packet has its own time.
            ram::put(input_dev::timestamp.at(made) + 8 * MONOTONIC, 0u64);
        } else if count + 2 >= input_dev::max_vals.get::<u32>(made) {
            push(made, SYNC, REPORT, 1);
            deliver(made, input_dev::vals.get(made), count + 1);
            input_dev::num_vals.set(made, 0u32);
        }
    }
}

/// Gives events to those who have the device open, or to the one who has grabbed it.
///
/// # Safety
/// A registered device and so many events.
unsafe fn deliver(made: u64, events: u64, count: u32) {
    let mut left = count;
    // SAFETY: the caller vouches for the device; a handle is in its list as long as its handler is there.
    unsafe {
        let grabbed: u64 = input_dev::grab.get(made);
        if grabbed != 0 {
            left = give(grabbed, events, left);
        } else {
            for handle in handlers::of_device(made) {
                if input_handle::open.get::<i32>(handle) == 0 {
                    continue;
                }
                left = give(handle, events, left);
                if left == 0 {
                    break;
                }
            }
        }
        if !bits::has_type(made, REPEAT) || !bits::has_type(made, KEY) {
            return;
        }
        for number in 0..u64::from(left) {
            let at = events + number * input_value::SIZE.get();
            let (kind, code, value): (u16, u16, i32) =
                (input_value::type_.get(at), input_value::code.get(at), input_value::value.get(at));
            match value {
                _ if u32::from(kind) != KEY => (),
                REPEATED => (),
                0 => {
                    time::cancel_timer(input_dev::timer.at(made), false);
                }
                _ => repeat(made, code.into()),
            }
        }
    }
}

/// Gives events to one handle; how many are left for others.
///
/// # Safety
/// A handle and so many events.
unsafe fn give(handle: u64, events: u64, count: u32) -> u32 {
    // SAFETY: the caller vouches for the handle, its handler for the functions.
    unsafe {
        let handler: u64 = input_handle::handler.get(handle);
        let filter: u64 = input_handler::filter.get(handler);
        let each = |function: u64, at: u64| {
            let (kind, code): (u16, u16) = (input_value::type_.get(at), input_value::code.get(at));
            ram::call(function, [handle, kind.into(), code.into(), input_value::value.get::<u32>(at).into()])
        };
        let mut left = count;
        if filter != 0 {
            left = 0;
            for number in 0..u64::from(count) {
                let at = events + number * input_value::SIZE.get();
                if each(filter, at) & 0xff == 0 {
                    ram::copy(events + u64::from(left) * input_value::SIZE.get(), at, input_value::SIZE.get());
                    left += 1;
                }
            }
        }
        let (whole, single): (u64, u64) = (input_handler::events.get(handler), input_handler::event.get(handler));
        if left == 0 {
            return 0;
        }
        if whole != 0 {
            let kept = ram::call(whole, [handle, events, left.into()]) as u32;
            return if handlers::says_what_is_left() { kept.min(left) } else { left };
        }
        if single != 0 {
            for number in 0..u64::from(left) {
                each(single, events + number * input_value::SIZE.get());
            }
        }
        left
    }
}

/// The milliseconds of `rep[which]`.
///
/// # Safety
/// A device.
unsafe fn repetition(made: u64, which: u64) -> u32 {
    // SAFETY: the caller vouches for the device.
    unsafe { ram::get::<i32>(input_dev::rep.at(made) + 4 * which) }.max(0) as u32
}

/// A key went down: it is repeated from now on.
///
/// # Safety
/// A registered device.
unsafe fn repeat(made: u64, code: u32) {
    // SAFETY: the caller vouches for the device.
    unsafe {
        let (delay, period) = (repetition(made, DELAY), repetition(made, PERIOD));
        if delay != 0 && period != 0 && super::timer_list::function.get::<u64>(input_dev::timer.at(made)) != 0 {
            input_dev::repeat_key.set(made, code);
            time::start_timer(input_dev::timer.at(made), time::__msecs_to_jiffies(delay));
        }
    }
}

/// The timer of a key that is held.
extern "C" fn input_repeat_key(timer: u64) {
    let made = input_dev::timer.container(timer);
    locked(made, || {
        // SAFETY: a registered device: its timer is taken back before it goes.
        unsafe {
            let code: u32 = input_dev::repeat_key.get(made);
            let is_held = bits::has(made, KEY, code) && bits::is_set(input_dev::key.at(made), code);
            if input_dev::inhibited.get::<u8>(made) != 0 || !is_held {
                return;
            }
            input_set_timestamp(made, kernel().platform.now());
            dispatch(made, KEY, code, REPEATED);
            dispatch(made, SYNC, REPORT, 1);
            let period = repetition(made, PERIOD);
            if period != 0 {
                time::start_timer(timer, time::__msecs_to_jiffies(period));
            }
        }
    });
}

/// `void input_enable_softrepeat(struct input_dev *, int delay, int period)`: in milliseconds.
pub(super) extern "C" fn input_enable_softrepeat(made: u64, delay: i32, period: i32) {
    // SAFETY: the caller's device.
    unsafe {
        let timer = input_dev::timer.at(made);
        super::timer_list::function.set(timer, crate::symbols::address("input_repeat_key").unwrap_or(0));
        ram::put(input_dev::rep.at(made) + 4 * DELAY, delay);
        ram::put(input_dev::rep.at(made) + 4 * PERIOD, period);
    }
}

/// Lets software repeat the keys of a device that has said nothing about it.
pub(super) fn repeat_by_default(made: u64) {
    /// In milliseconds.
    const BEFORE: i32 = 250;
    const BETWEEN: i32 = 33;
    // SAFETY: the caller's device.
    if unsafe { repetition(made, DELAY) == 0 && repetition(made, PERIOD) == 0 } {
        input_enable_softrepeat(made, BEFORE, BETWEEN);
    }
}

/// Says that a key is up that the device no longer has.
///
/// # Safety
/// A registered device, whose lock is held, and one of its codes.
pub(super) unsafe fn say_released(made: u64, code: u32) {
    // SAFETY: the caller vouches for the device; a packet of two events is no longer than this.
    unsafe {
        let mut packet = [0u64; 4];
        let at = packet.as_mut_ptr() as u64;
        bits::put(input_dev::key.at(made), code, false);
        put_event(at, KEY, code, 0);
        put_event(at + input_value::SIZE.get(), SYNC, REPORT, 1);
        deliver(made, at, 2);
    }
}

/// Says that all keys are up that are down; whether there were any.
///
/// # Safety
/// A registered device, whose lock is held.
pub(super) unsafe fn release_keys(made: u64) -> bool {
    // SAFETY: the caller vouches for the device and its maps.
    unsafe {
        let held =
            if bits::has_type(made, KEY) { bits::all(input_dev::key.at(made), bits::KEYS) } else { Default::default() };
        for &code in &held {
            dispatch(made, KEY, code, 0);
        }
        !held.is_empty()
    }
}

/// `void input_event(struct input_dev *, unsigned int type, unsigned int code, int value)`
pub(super) extern "C" fn input_event(made: u64, kind: u32, code: u32, value: i32) {
    if bits::has_type(made, kind) {
        // SAFETY: the caller's device.
        locked(made, || unsafe { dispatch(made, kind, code, value) });
    }
}
/// `void input_inject_event(struct input_handle *, unsigned int type, unsigned int code, int value)`: from one who listens.
extern "C" fn input_inject_event(handle: u64, kind: u32, code: u32, value: i32) {
    // SAFETY: the caller's handle and its device.
    unsafe {
        let made: u64 = input_handle::dev.get(handle);
        if !bits::has_type(made, kind) {
            return;
        }
        locked(made, || {
            let grabbed: u64 = input_dev::grab.get(made);
            if grabbed == 0 || grabbed == handle {
                dispatch(made, kind, code, value);
            }
        });
    }
}

/// `void input_set_timestamp(struct input_dev *, ktime_t)`: a time of the monotonic clock, in nanoseconds.
extern "C" fn input_set_timestamp(made: u64, monotonic: u64) {
    let platform = kernel().platform;
    let real = platform.wall_clock().wrapping_sub(platform.now()).wrapping_add(monotonic);
    // SAFETY: the caller's device; nobody sleeps here, so that both clocks since boot are one.
    unsafe {
        for (clock, time) in [(REAL, real), (MONOTONIC, monotonic), (SINCE_BOOT, monotonic)] {
            ram::put(input_dev::timestamp.at(made) + 8 * clock, time);
        }
    }
}
/// `ktime_t *input_get_timestamp(struct input_dev *)`: that of the packet, which is now if its driver has not said it.
extern "C" fn input_get_timestamp(made: u64) -> u64 {
    let at = input_dev::timestamp.at(made);
    // SAFETY: the caller's device.
    if unsafe { ram::get::<u64>(at + 8 * MONOTONIC) } == 0 {
        input_set_timestamp(made, kernel().platform.now());
    }
    at
}

/// What is sounding and shining on a device is said to its driver again, or that nothing is.
///
/// # Safety
/// A registered device.
pub(super) unsafe fn toggle(made: u64, on: bool) {
    // SAFETY: the caller vouches for the device, its driver for the function.
    unsafe {
        let event: u64 = input_dev::event.get(made);
        if event == 0 {
            return;
        }
        let tell = |kind: u32, code: u32, value: u32| {
            ram::call(event, [made, kind.into(), code.into(), value.into()]);
        };
        for (kind, states) in [(LED, &input_dev::led), (SOUND, &input_dev::snd)] {
            let Some((_, _, codes)) = bits::MAPS.into_iter().find(|(_, other, _)| *other == kind) else { continue };
            for code in (0..codes).filter(|&code| bits::has_type(made, kind) && bits::has(made, kind, code)) {
                let is_on = bits::is_set(states.at(made), code);
                if is_on || on {
                    tell(kind, code, u32::from(on && is_on));
                }
            }
        }
        if on && bits::has_type(made, REPEAT) {
            for which in [PERIOD, DELAY] {
                tell(REPEAT, which as u32, repetition(made, which));
            }
        }
    }
}
/// `void input_reset_device(struct input_dev *)`: its driver is told the state of the device, and keys are up.
extern "C" fn input_reset_device(made: u64) {
    let caller = ram::caller();
    super::with_mutex(made, caller, || {
        locked(made, || {
            // SAFETY: the caller's device.
            unsafe {
                toggle(made, true);
                if release_keys(made) {
                    dispatch(made, SYNC, REPORT, 1);
                }
            }
        });
    });
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c input_repeat_key, c input_enable_softrepeat, c input_event, c input_inject_event, c input_set_timestamp,
    c input_get_timestamp, c input_reset_device,
];

#[cfg(test)]
mod tests {
    use super::without_jitter;

    #[test]
    fn an_axis_that_jitters_stays_or_moves_by_a_part() {
        for (value, old, fuzz, expected) in [
            (7, 5, 0, 7),
            (101, 100, 8, 100),
            (104, 100, 8, 101),
            (110, 100, 8, 105),
            (116, 100, 8, 116),
            (90, 100, 8, 95),
            (i32::MAX, i32::MIN, i32::MAX, i32::MAX),
        ] {
            assert_eq!(without_jitter(value, old, fuzz), expected, "{value} after {old} with {fuzz}");
        }
    }
}
