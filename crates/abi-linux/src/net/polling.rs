//! NAPI: drivers that are asked for what they have received.

use ferrmod_kernel::kernel;

use super::layout::net_device;
use super::{sk_buff, transmit};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, tasks, waiting};

layout! {
    mod napi_struct = "napi_struct" { poll_list, weight, poll, dev, dev_list, state }
}

/// `NAPI_STATE_SCHED`, `…_MISSED`, `…_DISABLE`, `…_NPSVC`
const SCHEDULED: u64 = 1 << 0;
const MISSED: u64 = 1 << 1;
const DISABLING: u64 = 1 << 2;
const NO_POLL: u64 = 1 << 3;
/// How long to wait before looking again whether a driver is done: a tick.
const AGAIN_NS: u64 = 4_000_000;

fn state(napi: u64) -> u64 {
    // SAFETY: the driver's struct.
    unsafe { napi_struct::state.get(napi) }
}
fn change(napi: u64, clear: u64, set: u64) {
    // SAFETY: as above.
    unsafe { napi_struct::state.set(napi, state(napi) & !clear | set) };
}

/// `void netif_napi_add_weight(struct net_device *, struct napi_struct *, int (*poll)(struct napi_struct *, int), int weight)`
extern "C" fn netif_napi_add_weight(dev: u64, napi: u64, poll: u64, weight: i32) {
    // SAFETY: the driver's structs.
    unsafe {
        locks::init_list(napi_struct::poll_list.at(napi));
        waiting::link_first(napi_struct::dev_list.at(napi), net_device::napi_list.at(dev));
        napi_struct::weight.set(napi, weight);
        napi_struct::poll.set(napi, poll);
        napi_struct::dev.set(napi, dev);
        napi_struct::state.set(napi, SCHEDULED | NO_POLL);
    }
}
extern "C" fn __netif_napi_del(napi: u64) {
    kernel().timers.cancel(napi);
    // SAFETY: the driver's struct; one of zeros was never added.
    unsafe {
        if ram::get::<u64>(napi_struct::dev_list.at(napi)) != 0 {
            waiting::unlink(napi_struct::dev_list.at(napi));
        }
    }
}
/// Forgets what a device that is freed has not taken back itself.
pub(crate) fn forget(dev: u64) {
    // SAFETY: a device's list.
    for entry in unsafe { waiting::each(net_device::napi_list.at(dev)) } {
        __netif_napi_del(napi_struct::dev_list.container(entry));
    }
}

extern "C" fn napi_enable(napi: u64) {
    change(napi, SCHEDULED | NO_POLL, 0);
}
/// `void napi_disable(struct napi_struct *)`: when it returns, the driver is not asked any more.
extern "C" fn napi_disable(napi: u64) {
    let caller = ram::caller();
    change(napi, 0, DISABLING);
    while state(napi) & (SCHEDULED | NO_POLL) != 0 {
        tasks::might_block(caller);
        kernel().tasks.block(Some(kernel().platform.now() + AGAIN_NS), None);
    }
    change(napi, DISABLING, SCHEDULED | NO_POLL);
}
/// `bool napi_schedule_prep(struct napi_struct *)`: whether the caller is to have it asked.
extern "C" fn napi_schedule_prep(napi: u64) -> bool {
    let now = state(napi);
    if now & DISABLING != 0 {
        return false;
    }
    let is_new = now & SCHEDULED == 0;
    change(napi, 0, if is_new { SCHEDULED } else { SCHEDULED | MISSED });
    is_new
}
/// `void __napi_schedule(struct napi_struct *)`
extern "C" fn __napi_schedule(napi: u64) {
    kernel().timers.set(napi, kernel().platform.now(), |napi| {
        // SAFETY: the driver's struct and its function.
        let (weight, poll): (i32, u64) = unsafe { (napi_struct::weight.get(napi), napi_struct::poll.get(napi)) };
        tasks::in_softirq(|| {
            // SAFETY: as above.
            let done = unsafe { ram::call(poll, [napi, weight as u64]) } as i32;
            if done >= weight {
                __napi_schedule(napi);
            }
        });
    });
}
/// `bool napi_complete_done(struct napi_struct *, int work_done)`: the driver has no more; false when it is asked again.
extern "C" fn napi_complete_done(napi: u64, _done: i32) -> bool {
    let missed = state(napi) & MISSED != 0;
    change(napi, SCHEDULED | MISSED, if missed { SCHEDULED } else { 0 });
    if missed {
        __napi_schedule(napi);
    }
    !missed
}
/// `gro_result_t napi_gro_receive(struct napi_struct *, struct sk_buff *)`: packets are not put together.
extern "C" fn napi_gro_receive(_napi: u64, at: u64) -> i32 {
    /// `GRO_NORMAL`
    const PLAIN: i32 = 3;
    transmit::deliver(at);
    PLAIN
}
/// `struct sk_buff *napi_alloc_skb(struct napi_struct *, unsigned length, gfp_t)`
extern "C" fn napi_alloc_skb(napi: u64, length: u32, flags: u32) -> u64 {
    let caller = ram::caller();
    // SAFETY: the driver's struct.
    sk_buff::allocate_for(unsafe { napi_struct::dev.get(napi) }, length, flags, caller)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c netif_napi_add_weight, c __netif_napi_del, c napi_enable, c napi_disable, c napi_schedule_prep, c __napi_schedule,
    c __napi_schedule_irqoff = __napi_schedule, c napi_complete_done, c napi_gro_receive, c __napi_alloc_skb = napi_alloc_skb,
    c napi_alloc_skb,
];
