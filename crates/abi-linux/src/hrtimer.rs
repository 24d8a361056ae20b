//! High-resolution timers.
//!
//! They are the kernel's timers with a time in nanoseconds. Inline code looks at a timer's `state`, and asks its clock base what
//! the time is.

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, Owner, Wake, kernel};
use hashbrown::HashMap;

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, symbols, tasks};

layout! {
    mod hrtimer = "hrtimer" { expires = "node.expires", soft_expires = "_softexpires", function, base, state, is_rel, is_soft, is_hard }
    mod hrtimer_clock_base = "hrtimer_clock_base" { running, get_time, clockid }
    mod hrtimer_sleeper = "hrtimer_sleeper" { timer, task }
}

/// `CLOCK_REALTIME`, `CLOCK_TAI`: clocks that count from 1970.
const REALTIME: u32 = 0;
const TAI: u32 = 11;
/// `HRTIMER_MODE_REL`, `HRTIMER_MODE_SOFT`, `HRTIMER_MODE_HARD`
const RELATIVE: u32 = 1;
const SOFT: u32 = 4;
const HARD: u32 = 8;
/// `HRTIMER_STATE_ENQUEUED`
const ENQUEUED: u8 = 1;
/// `HRTIMER_RESTART`
const RESTART: u32 = 1;

/// A clock base for each clock that somebody has used.
static BASES: Lock<Option<HashMap<u32, u64>>> = Lock::new(None);

fn base_of(clock: u32) -> u64 {
    let known = BASES.lock().get_or_insert_default().get(&clock).copied();
    if let Some(base) = known {
        return base;
    }
    let size = hrtimer_clock_base::SIZE.get();
    let Ok(base) = kernel().allocate_for(size, 64, Owner::Kernel, 0, &ferrmod_kernel::inject::Injection::default())
    else {
        return 0;
    };
    let clock_name = if matches!(clock, REALTIME | TAI) { "ktime_get_real" } else { "ktime_get" };
    // SAFETY: the heap has just given these bytes, which every member lies within.
    unsafe {
        ram::fill(base, 0, size);
        hrtimer_clock_base::get_time.set(base, symbols::address(clock_name).unwrap_or(0));
        hrtimer_clock_base::clockid.set(base, clock);
    }
    BASES.lock().get_or_insert_default().insert(clock, base);
    base
}

/// The time of the timer's clock.
fn now_of(timer: u64) -> u64 {
    // SAFETY: an initialised timer has a base of ours.
    let clock: u32 = unsafe { hrtimer_clock_base::clockid.get(hrtimer::base.get(timer)) };
    clock_now(clock)
}

fn clock_now(clock: u32) -> u64 {
    if matches!(clock, REALTIME | TAI) { kernel().platform.wall_clock() } else { kernel().platform.now() }
}

/// The platform's time when the clock that reads `now` will read `expires`.
fn platform_time(now: u64, expires: u64) -> u64 {
    kernel().platform.now().saturating_add(expires.saturating_sub(now))
}

/// `void hrtimer_init(struct hrtimer *, clockid_t, enum hrtimer_mode)`
extern "C" fn hrtimer_init(timer: u64, clock: u32, mode: u32) {
    // SAFETY: the caller's timer, which it lets us initialise.
    unsafe {
        ram::fill(timer, 0, hrtimer::SIZE.get());
        hrtimer::base.set(timer, base_of(clock));
        hrtimer::is_soft.set(timer, u8::from(mode & SOFT != 0));
        hrtimer::is_hard.set(timer, u8::from(mode & HARD != 0));
    }
}

fn enqueue(timer: u64) {
    // SAFETY: an initialised timer of the module's.
    let expires: u64 = unsafe {
        hrtimer::state.set(timer, ENQUEUED);
        hrtimer::expires.get(timer)
    };
    kernel().timers.set(timer, platform_time(now_of(timer), expires), fire);
}

fn fire(timer: u64) {
    // SAFETY: the timer was pending, so it is its owner's to keep until its function has returned.
    unsafe {
        hrtimer::state.set(timer, 0u8);
        let base: u64 = hrtimer::base.get(timer);
        hrtimer_clock_base::running.set(base, timer);
        let mut again = 0;
        tasks::in_softirq(|| again = ram::call(hrtimer::function.get(timer), [timer]) as u32);
        hrtimer_clock_base::running.set(base, 0u64);
        if again == RESTART && hrtimer::state.get::<u8>(timer) == 0 {
            enqueue(timer);
        }
    }
}

/// `void hrtimer_start_range_ns(struct hrtimer *, ktime_t, u64 slack, const enum hrtimer_mode)`
extern "C" fn hrtimer_start_range_ns(timer: u64, time: u64, slack: u64, mode: u32) {
    let start = if mode & RELATIVE != 0 { now_of(timer).saturating_add(time) } else { time };
    // SAFETY: an initialised timer of the module's.
    unsafe {
        hrtimer::soft_expires.set(timer, start);
        hrtimer::expires.set(timer, start.saturating_add(slack));
        hrtimer::is_rel.set(timer, u8::from(mode & RELATIVE != 0));
    }
    enqueue(timer);
}

/// 1 taken back, 0 it was not set, -1 its function runs.
extern "C" fn hrtimer_try_to_cancel(timer: u64) -> i32 {
    if kernel().timers.firing() == Some(timer) {
        return -1;
    }
    let pending = kernel().timers.cancel(timer);
    if pending {
        // SAFETY: an initialised timer of the module's.
        unsafe { hrtimer::state.set(timer, 0u8) };
    }
    pending.into()
}

extern "C" fn hrtimer_cancel(timer: u64) -> i32 {
    loop {
        let cancelled = hrtimer_try_to_cancel(timer);
        if cancelled >= 0 {
            return cancelled;
        }
        kernel().tasks.yield_now();
    }
}

extern "C" fn hrtimer_active(timer: u64) -> bool {
    kernel().timers.is_pending(timer) || kernel().timers.firing() == Some(timer)
}

/// `u64 hrtimer_forward(struct hrtimer *, ktime_t now, ktime_t interval)`: moves the time on by whole intervals until it lies
/// after `now`; how many.
extern "C" fn hrtimer_forward(timer: u64, now: i64, interval: i64) -> u64 {
    // SAFETY: an initialised timer of the module's.
    let (expires, enqueued) =
        unsafe { (hrtimer::expires.get::<i64>(timer), hrtimer::state.get::<u8>(timer) & ENQUEUED != 0) };
    let late = now.saturating_sub(expires);
    if late < 0 || enqueued {
        return 0;
    }
    let interval = interval.max(1);
    let count = late / interval + 1;
    let ahead = interval.saturating_mul(count);
    // SAFETY: as above.
    unsafe {
        hrtimer::expires.set(timer, expires.saturating_add(ahead));
        hrtimer::soft_expires.set(timer, hrtimer::soft_expires.get::<i64>(timer).saturating_add(ahead));
    }
    count as u64
}

/// `ktime_t __hrtimer_get_remaining(const struct hrtimer *, bool adjust)`
extern "C" fn __hrtimer_get_remaining(timer: u64) -> i64 {
    // SAFETY: an initialised timer of the module's.
    let expires: u64 = unsafe { hrtimer::expires.get(timer) };
    expires.wrapping_sub(now_of(timer)).cast_signed()
}

/// Wakes the task of a sleeper.
fn wake_sleeper(timer: u64) {
    let sleeper = hrtimer_sleeper::timer.container(timer);
    // SAFETY: the timer of a sleeper, which lives until its task has been woken.
    unsafe {
        hrtimer::state.set(timer, 0u8);
        let task: u64 = hrtimer_sleeper::task.get(sleeper);
        hrtimer_sleeper::task.set(sleeper, 0u64);
        tasks::wake(task);
    }
}

/// `void hrtimer_init_sleeper(struct hrtimer_sleeper *, clockid_t, enum hrtimer_mode)`
extern "C" fn hrtimer_init_sleeper(sleeper: u64, clock: u32, mode: u32) {
    hrtimer_init(hrtimer_sleeper::timer.at(sleeper), clock, mode);
    // SAFETY: the caller's sleeper.
    unsafe { hrtimer_sleeper::task.set(sleeper, tasks::current()) };
}

/// `void hrtimer_sleeper_start_expires(struct hrtimer_sleeper *, enum hrtimer_mode)`
extern "C" fn hrtimer_sleeper_start_expires(sleeper: u64, mode: u32) {
    let timer = hrtimer_sleeper::timer.at(sleeper);
    // SAFETY: an initialised sleeper of the module's.
    let expires: u64 = unsafe {
        hrtimer::state.set(timer, ENQUEUED);
        hrtimer::expires.get(timer)
    };
    let now = if mode & RELATIVE != 0 { 0 } else { now_of(timer) };
    kernel().timers.set(timer, platform_time(now, expires), wake_sleeper);
}

/// Sleeps until the clock's time has come (0) or somebody wakes the task (`-EINTR`). `time` 0: for ever.
fn sleep(time: u64, mode: u32, clock: u32, caller: u64) -> i32 {
    // SAFETY: the caller's `ktime_t`.
    let until = (time != 0).then(|| unsafe { ram::get::<u64>(time) });
    let now = if mode & RELATIVE != 0 { 0 } else { clock_now(clock) };
    match tasks::schedule_until(until.map(|until| platform_time(now, until)), caller) {
        Wake::TimedOut => 0,
        Wake::Woken => Errno::EINTR.to_return(),
    }
}

/// `CLOCK_MONOTONIC`
const MONOTONIC: u32 = 1;

extern "C" fn schedule_hrtimeout(time: u64, mode: u32) -> i32 {
    sleep(time, mode, MONOTONIC, ram::caller())
}
extern "C" fn schedule_hrtimeout_range(time: u64, _slack: u64, mode: u32) -> i32 {
    sleep(time, mode, MONOTONIC, ram::caller())
}
extern "C" fn schedule_hrtimeout_range_clock(time: u64, _slack: u64, mode: u32, clock: u32) -> i32 {
    sleep(time, mode, clock, ram::caller())
}

/// Nanoseconds between two chances of a timer.
static RESOLUTION: Datum = Datum::new(
    "hrtimer_resolution",
    4,
    // SAFETY: `data::place` gives 4 writable bytes.
    Begin::With(|at| unsafe { ram::put(at, 1u32) }),
);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&RESOLUTION];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c hrtimer_init, c hrtimer_start_range_ns, c hrtimer_try_to_cancel, c hrtimer_cancel, c hrtimer_active, c hrtimer_forward,
    c __hrtimer_get_remaining, c hrtimer_init_sleeper, c hrtimer_sleeper_start_expires, c schedule_hrtimeout,
    c schedule_hrtimeout_range, c schedule_hrtimeout_range_clock,
];
