//! Jiffies, clocks, timers, sleeping.

use ferrmod_kernel::kernel;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{boot, ram, tasks};

layout! {
    mod timer_list = "timer_list" { entry, expires, function, flags }
    mod hlist_node = "hlist_node" { pprev }
}

/// Ticks a second (`CONFIG_HZ` of Debian's kernels).
pub(crate) const HZ: u64 = 250;
const TICK: u64 = 1_000_000_000 / HZ;
/// `MAX_SCHEDULE_TIMEOUT`: for ever.
const FOREVER: i64 = i64::MAX;

/// The platform's time when so many jiffies have passed; `None` for ever.
pub(crate) fn after_jiffies(jiffies: i64) -> Option<u64> {
    match jiffies {
        FOREVER => None,
        jiffies => Some(kernel().platform.now().saturating_add((jiffies.max(0) as u64).saturating_mul(TICK))),
    }
}

/// Jiffies until a time; 0 when it has passed.
pub(crate) fn jiffies_left(until: Option<u64>) -> u64 {
    until.map_or(FOREVER as u64, |until| until.saturating_sub(kernel().platform.now()).div_ceil(TICK))
}

/// Sleeps.
pub(crate) fn sleep(nanoseconds: u64, caller: u64) {
    let until = kernel().platform.now().saturating_add(nanoseconds);
    tasks::might_block(caller);
    while kernel().platform.now() < until {
        kernel().tasks.block(Some(until), None);
    }
}

extern "C" fn msleep(milliseconds: u32) {
    sleep(u64::from(milliseconds) * 1_000_000, ram::caller());
}
extern "C" fn msleep_interruptible(milliseconds: u32) -> u64 {
    sleep(u64::from(milliseconds) * 1_000_000, ram::caller());
    0
}
extern "C" fn usleep_range_state(least: u64, _most: u64, _state: u32) {
    sleep(least.saturating_mul(1000), ram::caller());
}

/// Waits without giving up the processor, as the caller may hold a spin lock.
fn delay(nanoseconds: u64) {
    let until = kernel().platform.now().saturating_add(nanoseconds);
    while kernel().platform.now() < until {
        core::hint::spin_loop();
    }
}

extern "C" fn __udelay(microseconds: u64) {
    delay(microseconds.saturating_mul(1000));
}
extern "C" fn __ndelay(nanoseconds: u64) {
    delay(nanoseconds);
}
/// `void __const_udelay(unsigned long xloops)`: microseconds * 2^32 / 10^6.
extern "C" fn __const_udelay(loops: u64) {
    delay(((u128::from(loops) * 1_000_000_000) >> 32) as u64);
}

extern "C" fn ktime_get() -> u64 {
    kernel().platform.now()
}
extern "C" fn ktime_get_real() -> u64 {
    kernel().platform.wall_clock()
}
/// `ktime_t ktime_get_with_offset(enum tk_offsets)`: 0 real, 1 boot, 2 TAI.
extern "C" fn ktime_get_with_offset(which: u32) -> u64 {
    if which == 1 { kernel().platform.now() } else { kernel().platform.wall_clock() }
}
extern "C" fn ktime_get_real_seconds() -> u64 {
    kernel().platform.wall_clock() / 1_000_000_000
}
extern "C" fn ktime_get_seconds() -> u64 {
    kernel().platform.now() / 1_000_000_000
}

/// A `struct timespec64`, which is returned in two registers.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}
/// `struct timespec64 ns_to_timespec64(s64)`
extern "C" fn ns_to_timespec64(nanoseconds: i64) -> Timespec {
    const SECOND: i64 = 1_000_000_000;
    Timespec { seconds: nanoseconds.div_euclid(SECOND), nanoseconds: nanoseconds.rem_euclid(SECOND) }
}

/// Writes a `struct timespec64`: two 64-bit numbers in every ABI.
fn timespec(at: u64, nanoseconds: u64) {
    // SAFETY: the caller's `struct timespec64`.
    unsafe {
        ram::put(at, nanoseconds / 1_000_000_000);
        ram::put(at + 8, nanoseconds % 1_000_000_000);
    }
}
extern "C" fn ktime_get_ts64(at: u64) {
    timespec(at, kernel().platform.now());
}
extern "C" fn ktime_get_real_ts64(at: u64) {
    timespec(at, kernel().platform.wall_clock());
}

extern "C" fn jiffies_to_msecs(jiffies: u64) -> u32 {
    (jiffies * (1000 / HZ)) as u32
}
extern "C" fn jiffies_to_usecs(jiffies: u64) -> u32 {
    (jiffies * (1_000_000 / HZ)) as u32
}
/// `MAX_JIFFY_OFFSET`
const MOST: u64 = (i64::MAX >> 1) as u64 - 1;
pub(crate) extern "C" fn __msecs_to_jiffies(milliseconds: u32) -> u64 {
    if (milliseconds as i32) < 0 { MOST } else { u64::from(milliseconds).div_ceil(1000 / HZ) }
}
extern "C" fn __usecs_to_jiffies(microseconds: u32) -> u64 {
    u64::from(microseconds).div_ceil(1_000_000 / HZ)
}
/// Ticks a second as programs count them (`USER_HZ`).
const USER_HZ: u64 = 100;
extern "C" fn jiffies_to_clock_t(jiffies: u64) -> u64 {
    (u128::from(jiffies) * u128::from(USER_HZ) / u128::from(HZ)) as u64
}
extern "C" fn clock_t_to_jiffies(ticks: u64) -> u64 {
    u64::try_from(u128::from(ticks) * u128::from(HZ) / u128::from(USER_HZ)).unwrap_or(u64::MAX)
}
extern "C" fn nsecs_to_jiffies(nanoseconds: u64) -> u64 {
    nanoseconds / TICK
}
extern "C" fn round_jiffies(jiffies: u64) -> u64 {
    jiffies.next_multiple_of(HZ)
}
pub(crate) extern "C" fn get_jiffies_64() -> u64 {
    boot::jiffies()
}

/// Inline `timer_pending()` asks whether `entry.pprev` is set.
fn mark_pending(timer: u64, pending: bool) {
    let entry = timer_list::entry.at(timer);
    // SAFETY: the module's timer. The address of the entry itself is as good a mark as any.
    unsafe { hlist_node::pprev.set(entry, if pending { entry } else { 0 }) };
}

fn fire(timer: u64) {
    mark_pending(timer, false);
    tasks::in_softirq(|| {
        // SAFETY: the timer is pending, so its memory is its owner's to keep, and `function` was set by `timer_setup`.
        unsafe { ram::call(timer_list::function.get(timer), [timer]) };
    });
}

fn set_timer(timer: u64, expires: u64) -> bool {
    // SAFETY: the module's timer.
    unsafe { timer_list::expires.set(timer, expires) };
    mark_pending(timer, true);
    let ahead = (expires.wrapping_sub(boot::jiffies()) as i64).max(0) as u64;
    kernel().timers.set(timer, kernel().platform.now().saturating_add(ahead.saturating_mul(TICK)), fire)
}

/// Takes a timer back and waits until its function has returned.
pub(crate) fn cancel_timer(timer: u64, wait: bool) -> bool {
    let pending = kernel().timers.cancel(timer);
    if pending {
        mark_pending(timer, false);
    }
    while wait && kernel().timers.firing() == Some(timer) && kernel().tasks.current().0 != 0 {
        kernel().tasks.yield_now();
    }
    pending
}

/// Sets a timer `jiffies` from now.
pub(crate) fn start_timer(timer: u64, jiffies: u64) -> bool {
    set_timer(timer, boot::jiffies().wrapping_add(jiffies))
}

/// `void init_timer_key(struct timer_list *, void (*func)(struct timer_list *), unsigned int flags, ...)`
pub(crate) extern "C" fn init_timer_key(timer: u64, function: u64, flags: u32) {
    // SAFETY: the caller's timer.
    unsafe {
        hlist_node::pprev.set(timer_list::entry.at(timer), 0u64);
        timer_list::function.set(timer, function);
        timer_list::flags.set(timer, flags);
    }
}
extern "C" fn mod_timer(timer: u64, expires: u64) -> i32 {
    set_timer(timer, expires).into()
}
extern "C" fn mod_timer_pending(timer: u64, expires: u64) -> i32 {
    (kernel().timers.is_pending(timer) && set_timer(timer, expires)).into()
}
extern "C" fn timer_reduce(timer: u64, expires: u64) -> i32 {
    // SAFETY: the module's timer.
    let earlier = unsafe { expires.wrapping_sub(timer_list::expires.get::<u64>(timer)) as i64 } < 0;
    if kernel().timers.is_pending(timer) && !earlier {
        return 1;
    }
    set_timer(timer, expires).into()
}
extern "C" fn add_timer(timer: u64) {
    // SAFETY: the module's timer.
    set_timer(timer, unsafe { timer_list::expires.get(timer) });
}
extern "C" fn add_timer_on(timer: u64, _cpu: i32) {
    add_timer(timer);
}
extern "C" fn del_timer(timer: u64) -> i32 {
    cancel_timer(timer, false).into()
}
extern "C" fn del_timer_sync(timer: u64) -> i32 {
    cancel_timer(timer, true).into()
}

/// `time64_t mktime64(unsigned year, unsigned mon, unsigned day, unsigned hour, unsigned min, unsigned sec)`
extern "C" fn mktime64(year: u32, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> i64 {
    // Years begin in March, so that a leap day is the last of one.
    let (year, month) = (i64::from(year) - i64::from(month <= 2), (i64::from(month) + 9).rem_euclid(12));
    /// Days from March 1 of year 0 to January 1, 1970.
    const EPOCH: i64 = 719_468;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + i64::from(day)
        - 1
        - EPOCH;
    ((days * 24 + i64::from(hour)) * 60 + i64::from(minute)) * 60 + i64::from(second)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c msleep, c msleep_interruptible, c usleep_range_state, c __udelay, c __ndelay, c __const_udelay,
    c ktime_get, c ktime_get_raw = ktime_get, c ktime_get_boot_fast_ns = ktime_get, c ktime_get_mono_fast_ns = ktime_get,
    c ktime_get_raw_fast_ns = ktime_get, c sched_clock = ktime_get, c local_clock = ktime_get, c ktime_get_real,
    c ktime_get_real_fast_ns = ktime_get_real, c ktime_get_with_offset, c ktime_get_coarse_with_offset = ktime_get_with_offset,
    c ktime_get_real_seconds, c ktime_get_seconds, c ktime_get_ts64, c ns_to_timespec64, c ktime_get_coarse_ts64 = ktime_get_ts64,
    c ktime_get_real_ts64, c ktime_get_coarse_real_ts64 = ktime_get_real_ts64,
    c jiffies_to_msecs, c jiffies_to_usecs, c __msecs_to_jiffies, c __usecs_to_jiffies, c nsecs_to_jiffies, c jiffies_to_clock_t, c clock_t_to_jiffies,
    c nsecs_to_jiffies64 = nsecs_to_jiffies, c round_jiffies, c round_jiffies_relative = round_jiffies,
    c round_jiffies_up = round_jiffies, c get_jiffies_64, c mktime64,
    c init_timer_key, c timer_init_key = init_timer_key, c mod_timer, c mod_timer_pending, c timer_reduce, c add_timer,
    c add_timer_on, c del_timer, c timer_delete = del_timer, c del_timer_sync, c timer_delete_sync = del_timer_sync,
    c try_to_del_timer_sync = del_timer_sync, c timer_shutdown_sync = del_timer_sync, c timer_shutdown = del_timer,
];

#[cfg(test)]
mod tests {
    use super::mktime64;

    #[test]
    fn seconds_since_1970() {
        // date -u +%s
        assert_eq!(mktime64(1970, 1, 1, 0, 0, 0), 0);
        assert_eq!(mktime64(2000, 2, 29, 23, 59, 59), 951_868_799);
        assert_eq!(mktime64(2026, 11, 23, 12, 0, 0), 1_795_435_200);
        assert_eq!(mktime64(1969, 12, 31, 23, 59, 59), -1);
    }
}
