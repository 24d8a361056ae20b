//! Tracepoints of the kernel: they exist and stay off.
//!
//! A module tests a tracepoint's static key before it calls anything, so each is a struct of zeros, a static-call key without a
//! function, and a trampoline that returns.

use core::arch::naked_asm;

use crate::data::{Begin, Datum};
use crate::export::{Export, Kind};

/// Room for the `struct tracepoint` of every kernel known (72 bytes in 6.1).
const POINT: u64 = 128;
/// `struct static_call_key`
const KEY: u64 = 16;

/// What the trampoline of a tracepoint without probes does.
#[unsafe(naked)]
extern "C" fn no_probe() {
    naked_asm!("ret")
}

macro_rules! tracepoints {
    ($($name:ident),* $(,)?) => {
        $(
            mod $name {
                use super::{Begin, Datum, KEY, POINT};
                pub(super) static TRACEPOINT: Datum = Datum::new(concat!("__tracepoint_", stringify!($name)), POINT, Begin::Zero);
                pub(super) static STATIC_CALL: Datum =
                    Datum::new(concat!("__SCK__tp_func_", stringify!($name)), KEY, Begin::Zero);
            }
        )*
        /// The variables of this file.
        pub(crate) static VARIABLES: &[&Datum] = &[$(&$name::TRACEPOINT, &$name::STATIC_CALL),*];
        /// The functions of this file.
        pub(crate) static EXPORTS: &[Export] = &[
            $(
                Export::new(concat!("__SCT__tp_func_", stringify!($name)), Kind::Raw, no_probe as *const ()),
                Export::new(concat!("__traceiter_", stringify!($name)), Kind::Raw, no_probe as *const ()),
            )*
        ];
    };
}

tracepoints! {
    add_device_to_group, arm_event, attach_device_to_domain, block_bio_complete, block_bio_remap, block_rq_insert,
    block_rq_remap, block_split, block_unplug, br_fdb_add, br_fdb_external_learn_add, br_fdb_update, br_mdb_full, console,
    contention_begin, contention_end, cpu_frequency, cpu_idle, detach_device_from_domain, devlink_hwerr, devlink_hwmsg,
    devlink_trap_report, dma_fence_emit, dma_fence_enable_signal, dma_fence_signaled, error_report_end, extlog_mem_event,
    fdb_delete, fib6_table_lookup, io_page_fault, ipi_send_cpu, ipi_send_cpumask, kfree, kfree_skb, kmalloc,
    kmem_cache_alloc, kmem_cache_free, map, mc_event, mmap_lock_acquire_returned, mmap_lock_released,
    mmap_lock_start_locking, module_get, napi_poll, neigh_cleanup_and_release, neigh_event_send_dead, neigh_event_send_done,
    neigh_timer_handler, neigh_update, neigh_update_done, non_standard_event, pelt_cfs_tp, pelt_dl_tp, pelt_hw_tp,
    pelt_irq_tp, pelt_rt_tp, pelt_se_tp, pelt_thermal_tp, powernv_throttle, rdpmc, read_msr, remove_device_from_group,
    rpm_idle, rpm_resume, rpm_return_int, rpm_suspend, sched_compute_energy_tp, sched_cpu_capacity_tp,
    sched_overutilized_tp, sched_update_nr_running_tp, sched_util_est_cfs_tp, sched_util_est_se_tp, sk_data_ready,
    spi_transfer_start, spi_transfer_stop, suspend_resume, tcp_bad_csum, tcp_send_reset, udp_fail_queue_rcv_skb, unmap,
    wbc_writepage, write_msr, xdp_bulk_tx, xdp_exception,
}
