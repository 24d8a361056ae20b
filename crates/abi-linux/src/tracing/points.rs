//! Tracepoints of modules: functions that are called when something happens.
//!
//! A tracepoint is a branch that is patched in while it has functions; its module's own iterator calls each of a list that ends with
//! zeros.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{jump_labels, ram, rcu, slab, symbols};

layout! {
    pub(super) mod tracepoint = "tracepoint" { name, key, regfunc, unregfunc, funcs }
    mod tracepoint_func = "tracepoint_func" { func, data, prio }
}

/// `TRACEPOINT_DEFAULT_PRIO`: higher ones are called before.
const USUAL: i32 = 10;

/// A function of a tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    function: u64,
    data: u64,
    priority: i32,
}

/// What stands in a list where a function was that is gone.
extern "C" fn tp_stub_func() {}

fn stub() -> u64 {
    symbols::address("tp_stub_func").unwrap_or(0)
}

/// The places of a tracepoint's list, in the order in which they are called.
///
/// # Safety
/// A tracepoint.
unsafe fn places(point: u64) -> impl Iterator<Item = u64> {
    // SAFETY: the caller vouches for the tracepoint; its list ends with a function of 0.
    let mut at: u64 = unsafe { tracepoint::funcs.get(point) };
    core::iter::from_fn(move || {
        // SAFETY: as above.
        if at == 0 || unsafe { tracepoint_func::func.get::<u64>(at) } == 0 {
            return None;
        }
        let place = at;
        at += tracepoint_func::SIZE.get();
        Some(place)
    })
}

/// The functions of a tracepoint, in the order in which they are called.
///
/// # Safety
/// A tracepoint.
unsafe fn probes(point: u64) -> Vec<Probe> {
    let gone = stub();
    // SAFETY: the caller vouches for the tracepoint.
    unsafe {
        let all = places(point).map(|at| Probe {
            function: tracepoint_func::func.get(at),
            data: tracepoint_func::data.get(at),
            priority: tracepoint_func::prio.get(at),
        });
        all.filter(|probe| probe.function != gone).collect()
    }
}

/// Gives a tracepoint these functions.
///
/// # Safety
/// A tracepoint.
unsafe fn put(point: u64, probes: &[Probe]) -> Result<(), Errno> {
    let size = tracepoint_func::SIZE.get();
    let list = if probes.is_empty() { 0 } else { slab::allocate(size * (probes.len() as u64 + 1), 8, slab::ZERO, 0) };
    if list == 0 && !probes.is_empty() {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the caller vouches for the tracepoint; the list is a block of zeros with room for one more.
    unsafe {
        for (probe, number) in probes.iter().zip(0..) {
            let at = list + number * size;
            tracepoint_func::func.set(at, probe.function);
            tracepoint_func::data.set(at, probe.data);
            tracepoint_func::prio.set(at, probe.priority);
        }
        let before: u64 = tracepoint::funcs.get(point);
        tracepoint::funcs.set(point, list);
        if before != 0 {
            // Another CPU may be going through it.
            rcu::free_later(before);
        }
    }
    Ok(())
}

/// Adds a function to a tracepoint.
///
/// # Errors
/// `EEXIST` when it is there with the same data, `ENOMEM`, or what the tracepoint's own function answers.
fn register(point: u64, probe: Probe) -> Result<(), Errno> {
    // SAFETY: the caller's tracepoint and its functions.
    unsafe {
        let mut probes = probes(point);
        if probes.iter().any(|other| (other.function, other.data) == (probe.function, probe.data)) {
            return Err(Errno::EEXIST);
        }
        let is_first = probes.is_empty();
        let begin: u64 = tracepoint::regfunc.get(point);
        if is_first && begin != 0 {
            let result = ram::call(begin, []) as i32;
            if let Some(errno) = Errno::from_return(result.into()) {
                return Err(errno);
            }
        }
        let place = probes.iter().position(|other| other.priority < probe.priority).unwrap_or(probes.len());
        probes.insert(place, probe);
        put(point, &probes)?;
        if is_first {
            jump_labels::enable(tracepoint::key.at(point), 0);
        }
    }
    Ok(())
}

/// Takes a function from a tracepoint. It is not called any more, whether there is memory for a shorter list or not.
///
/// # Errors
/// `ENOENT` when it has no such function.
fn unregister(point: u64, function: u64, data: u64) -> Result<(), Errno> {
    // SAFETY: the caller's tracepoint and its functions.
    unsafe {
        let mut probes = probes(point);
        let is_it = |other: &Probe| (other.function, other.data) == (function, data);
        let place = probes.iter().position(is_it).ok_or(Errno::ENOENT)?;
        probes.remove(place);
        if probes.is_empty() {
            jump_labels::disable(tracepoint::key.at(point), 0);
        }
        if put(point, &probes).is_err() {
            let at = places(point)
                .find(|&at| (tracepoint_func::func.get(at), tracepoint_func::data.get(at)) == (function, data));
            tracepoint_func::func.set(at.ok_or(Errno::ENOENT)?, stub());
        }
        let end: u64 = tracepoint::unregfunc.get(point);
        if probes.is_empty() && end != 0 {
            ram::call(end, []);
        }
    }
    Ok(())
}

/// `int tracepoint_probe_register(struct tracepoint *, void *probe, void *data)`
pub(super) extern "C" fn tracepoint_probe_register(point: u64, function: u64, data: u64) -> i32 {
    Errno::returned(register(point, Probe { function, data, priority: USUAL }))
}
/// `int tracepoint_probe_register_prio(struct tracepoint *, void *probe, void *data, int prio)`
extern "C" fn tracepoint_probe_register_prio(point: u64, function: u64, data: u64, priority: i32) -> i32 {
    Errno::returned(register(point, Probe { function, data, priority }))
}
/// `int tracepoint_probe_unregister(struct tracepoint *, void *probe, void *data)`
pub(super) extern "C" fn tracepoint_probe_unregister(point: u64, function: u64, data: u64) -> i32 {
    Errno::returned(unregister(point, function, data))
}
/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k tp_stub_func, c tracepoint_probe_register, c tracepoint_probe_register_prio,
    c tracepoint_probe_register_prio_may_exist = tracepoint_probe_register_prio, c tracepoint_probe_unregister,
];
