//! Reference counts that notice overflow, counts with a lock, rate limits, and remembered errors.

use core::sync::atomic::{AtomicU32, Ordering};

use ferrmod_kernel::kernel;

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::string::text;
use crate::{boot, locks, ram, time};

layout! {
    mod lockref = "lockref" { lock, count }
    mod ratelimit_state = "ratelimit_state" { interval, burst, printed, missed, begin, flags }
}

/// What is wrong with a reference count, by `enum refcount_saturation_type`.
const COMPLAINTS: [&str; 5] = [
    "saturated; leaking memory",
    "saturated; leaking memory",
    "addition on 0; use-after-free",
    "underflow; use-after-free",
    "decrement hit 0; leaking memory",
];
/// `REFCOUNT_SATURATED`
const SATURATED: i32 = i32::MIN / 2;

/// Complaints made already: each is made once.
static COMPLAINED: AtomicU32 = AtomicU32::new(0);

/// `void refcount_warn_saturate(refcount_t *, enum refcount_saturation_type)`
extern "C" fn refcount_warn_saturate(count: u64, kind: u32) {
    let caller = ram::caller();
    // SAFETY: the caller's count.
    unsafe { ram::put(count, SATURATED) };
    let text = COMPLAINTS.get(kind as usize).copied().unwrap_or("unknown saturation event!?");
    let bit = 1 << kind.min(31);
    if COMPLAINED.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        kernel().warn(&alloc::format!("refcount_t: {text}."), caller);
    }
}

fn count(at: u64) -> i32 {
    // SAFETY: the caller's counter.
    unsafe { ram::get(at) }
}
fn set_count(at: u64, value: i32) {
    // SAFETY: the caller's counter.
    unsafe { ram::put(at, value) };
}

/// `bool refcount_dec_if_one(refcount_t *)`
extern "C" fn refcount_dec_if_one(at: u64) -> bool {
    let one = count(at) == 1;
    if one {
        set_count(at, 0);
    }
    one
}
/// `bool refcount_dec_not_one(refcount_t *)`: whether it was given back without being the last.
extern "C" fn refcount_dec_not_one(at: u64) -> bool {
    match count(at) {
        1 => false,
        SATURATED => true,
        0 => {
            refcount_warn_saturate(at, 3);
            true
        }
        value => {
            set_count(at, value.wrapping_sub(1));
            true
        }
    }
}

/// Gives the last reference back with a lock held; whether it was the last.
fn last_with_lock(at: u64, lock: impl FnOnce()) -> bool {
    if count(at) != 1 {
        set_count(at, count(at).wrapping_sub(1));
        return false;
    }
    lock();
    set_count(at, 0);
    true
}
/// `bool refcount_dec_and_lock(refcount_t *, spinlock_t *)`
extern "C" fn refcount_dec_and_lock(at: u64, lock: u64) -> bool {
    !refcount_dec_not_one(at) && last_with_lock(at, || locks::spin_take(lock))
}
/// `bool refcount_dec_and_lock_irqsave(refcount_t *, spinlock_t *, unsigned long *flags)`
extern "C" fn refcount_dec_and_lock_irqsave(at: u64, lock: u64, flags: u64) -> bool {
    let last = refcount_dec_and_lock(at, lock);
    if last {
        // SAFETY: the caller's variable.
        unsafe { ram::put(flags, locks::INTERRUPTS_ON) };
    }
    last
}
extern "C" fn refcount_dec_and_mutex_lock(at: u64, lock: u64) -> bool {
    let caller = ram::caller();
    !refcount_dec_not_one(at) && last_with_lock(at, || locks::take(lock, caller))
}
/// `int _atomic_dec_and_lock(atomic_t *, spinlock_t *)`
extern "C" fn _atomic_dec_and_lock(at: u64, lock: u64) -> i32 {
    last_with_lock(at, || locks::spin_take(lock)).into()
}
extern "C" fn _atomic_dec_and_lock_irqsave(at: u64, lock: u64, flags: u64) -> i32 {
    let last = _atomic_dec_and_lock(at, lock);
    if last != 0 {
        // SAFETY: the caller's variable.
        unsafe { ram::put(flags, locks::INTERRUPTS_ON) };
    }
    last
}

/// What `lockref_mark_dead` leaves.
const DEAD: i32 = -128;

fn references(at: u64) -> i32 {
    // SAFETY: the caller's lockref.
    unsafe { lockref::count.get(at) }
}
fn set_references(at: u64, value: i32) {
    // SAFETY: as above.
    unsafe { lockref::count.set(at, value) };
}
extern "C" fn lockref_get(at: u64) {
    set_references(at, references(at).wrapping_add(1));
}
/// Adds `change` when the count is more than `least`; whether it did.
fn change_above(at: u64, least: i32, change: i32) -> i32 {
    let value = references(at);
    if value <= least {
        return 0;
    }
    set_references(at, value.wrapping_add(change));
    1
}
extern "C" fn lockref_get_not_zero(at: u64) -> i32 {
    change_above(at, 0, 1)
}
extern "C" fn lockref_get_not_dead(at: u64) -> i32 {
    change_above(at, -1, 1)
}
extern "C" fn lockref_put_not_zero(at: u64) -> i32 {
    change_above(at, 1, -1)
}
/// The new count; -1 when it cannot be given back without the lock.
extern "C" fn lockref_put_return(at: u64) -> i32 {
    if change_above(at, 0, -1) != 0 { references(at) } else { -1 }
}
extern "C" fn lockref_put_or_lock(at: u64) -> i32 {
    let given = change_above(at, 1, -1);
    if given == 0 {
        locks::spin_take(lockref::lock.at(at));
    }
    given
}
extern "C" fn lockref_mark_dead(at: u64) {
    set_references(at, DEAD);
}

/// The decision of a rate limit, and how many were refused before, when that is to be said now.
struct Limit {
    allowed: bool,
    suppressed: i32,
}

/// `RATELIMIT_MSG_ON_RELEASE`: its owner tells what was refused.
const MESSAGE_ON_RELEASE: u32 = 1;

fn limit(state: u64, now: u64) -> Limit {
    // SAFETY: the caller's state.
    unsafe {
        let interval: i32 = ratelimit_state::interval.get(state);
        let burst: i32 = ratelimit_state::burst.get(state);
        if interval == 0 {
            return Limit { allowed: true, suppressed: 0 };
        }
        let mut begin: u64 = ratelimit_state::begin.get(state);
        let mut suppressed = 0;
        if begin == 0 {
            begin = now;
        }
        if now.wrapping_sub(begin.wrapping_add(interval as u64)) as i64 > 0 {
            if ratelimit_state::flags.get::<u32>(state) & MESSAGE_ON_RELEASE == 0 {
                suppressed = ratelimit_state::missed.get(state);
                ratelimit_state::missed.set(state, 0);
            }
            begin = now;
            ratelimit_state::printed.set(state, 0);
        }
        ratelimit_state::begin.set(state, begin);
        let printed: i32 = ratelimit_state::printed.get(state);
        let allowed = burst != 0 && burst > printed;
        if allowed {
            ratelimit_state::printed.set(state, printed + 1);
        } else {
            ratelimit_state::missed.set(state, ratelimit_state::missed.get::<i32>(state).wrapping_add(1));
        }
        Limit { allowed, suppressed }
    }
}

/// `int ___ratelimit(struct ratelimit_state *, const char *func)`: 1 when it may be done now.
pub(crate) extern "C" fn ___ratelimit(state: u64, function: u64) -> i32 {
    let limit = limit(state, boot::jiffies());
    if limit.suppressed > 0 {
        use bstr::ByteSlice;
        let text = alloc::format!("\x014{}: {} callbacks suppressed\n", text(function).as_bstr(), limit.suppressed);
        kernel().printk(text.as_bytes());
    }
    limit.allowed.into()
}
/// `int __printk_ratelimit(const char *func)`
extern "C" fn __printk_ratelimit(function: u64) -> i32 {
    ___ratelimit(PRINTK.address(), function)
}

/// Ten messages in five seconds.
static PRINTK: Datum = Datum::new(
    "printk_ratelimit_state",
    64,
    Begin::With(|at| {
        // SAFETY: `data::place` gives room for the state.
        unsafe {
            ratelimit_state::interval.set(at, 5 * time::HZ as i32);
            ratelimit_state::burst.set(at, 10);
        }
    }),
);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&PRINTK];

/// An `errseq_t`: the error in the low 12 bits, then whether somebody has seen it, then a count.
const ERROR: u32 = 0xfff;
const SEEN: u32 = 0x1000;
const COUNT: u32 = 0x2000;

fn sequence(at: u64) -> u32 {
    // SAFETY: the caller's `errseq_t`.
    unsafe { ram::get(at) }
}
/// `errseq_t errseq_set(errseq_t *, int)`: the value before.
extern "C" fn errseq_set(at: u64, error: i32) -> u32 {
    let old = sequence(at);
    if error == 0 || error < -(ERROR as i32) {
        return old;
    }
    let mut new = old & !(ERROR | SEEN) | error.unsigned_abs();
    if old & SEEN != 0 {
        new = new.wrapping_add(COUNT);
    }
    // SAFETY: as above.
    unsafe { ram::put(at, new) };
    new
}
/// `errseq_t errseq_sample(errseq_t *)`: 0 when nobody has seen the error yet, so that the sampler will.
extern "C" fn errseq_sample(at: u64) -> u32 {
    let old = sequence(at);
    if old & SEEN == 0 { 0 } else { old }
}
extern "C" fn errseq_check(at: u64, since: u32) -> i32 {
    let current = sequence(at);
    if current == since { 0 } else { -((current & ERROR) as i32) }
}
extern "C" fn errseq_check_and_advance(at: u64, since: u64) -> i32 {
    let (old, known) = (sequence(at), sequence(since));
    if old == known {
        return 0;
    }
    // SAFETY: the caller's two values.
    unsafe {
        ram::put(at, old | SEEN);
        ram::put(since, old | SEEN);
    }
    -((old & ERROR) as i32)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c refcount_warn_saturate, c refcount_dec_if_one, c refcount_dec_not_one, c refcount_dec_and_lock,
    c refcount_dec_and_lock_irqsave, c refcount_dec_and_mutex_lock, c _atomic_dec_and_lock, c _atomic_dec_and_lock_irqsave,
    c _atomic_dec_and_raw_lock = _atomic_dec_and_lock, c _atomic_dec_and_raw_lock_irqsave = _atomic_dec_and_lock_irqsave,
    c lockref_get, c lockref_get_not_zero, c lockref_get_not_dead, c lockref_put_not_zero, c lockref_put_return,
    c lockref_put_or_lock, c lockref_mark_dead, c ___ratelimit, c __printk_ratelimit, c errseq_set, c errseq_sample,
    c errseq_check, c errseq_check_and_advance,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_seen_once() {
        let (mut word, mut mine) = (0u32, 0u32);
        let (at, since) = (&raw mut word as u64, &raw mut mine as u64);
        assert_eq!(errseq_sample(at), 0);
        errseq_set(at, -5);
        assert_eq!(errseq_check(at, mine), -5);
        assert_eq!(errseq_check_and_advance(at, since), -5);
        assert_eq!(errseq_check_and_advance(at, since), 0);
        errseq_set(at, -5);
        assert_eq!(errseq_check_and_advance(at, since), -5, "the same error again is another one");
    }

    #[test]
    fn the_last_but_one() {
        let mut word = 2i32;
        let at = &raw mut word as u64;
        assert!(refcount_dec_not_one(at));
        assert!(!refcount_dec_not_one(at));
        assert!(refcount_dec_if_one(at));
        assert_eq!(word, 0);
    }
}
