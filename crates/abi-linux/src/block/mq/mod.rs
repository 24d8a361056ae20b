//! Disks with queues of requests: what lies between a bio and a driver's `queue_rq`.
//!
//! A driver describes its hardware queues in a *tag set*: how many, how deep, how large its own part of a request is. The set owns
//! the requests, one for each tag. A *queue* over a set has one *hardware context* for each hardware queue. A bio becomes a request
//! when a tag is free, and goes to the driver in the context of whoever submitted it; what the driver cannot take waits in its
//! hardware context and is given again by a worker. There are no schedulers, and nothing is merged: a driver sees each bio as one
//! request, unless the bio is larger than the queue's limits.
//!
//! The C structs hold what drivers read inline; who waits, what is frozen and which tags are taken is kept here.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use ferrmod_kernel::TaskId;
use ferrmod_kernel::lock::Lock;

use crate::block::operations::OPERATION;
use crate::boot::facts;
use crate::field::{Field, layout};

pub(crate) mod dispatch;
pub(crate) mod execute;
pub(crate) mod freeze;
pub(crate) mod queues;
pub(crate) mod requests;
pub(crate) mod show;
pub(crate) mod tags;
pub(crate) mod timeouts;

layout! {
    pub(super) mod request = "request" {
        q, mq_hctx, cmd_flags, rq_flags, tag, internal_tag, timeout, data_len = "__data_len", sector = "__sector", bio, biotail,
        queuelist, rq_next, part, start_time_ns, io_start_time_ns, nr_phys_segments, ioprio, state, reference = "ref", deadline,
        special_vec, end_io, end_io_data,
    }
    mod tag_set = "blk_mq_tag_set" {
        map, nr_maps, ops, nr_hw_queues, queue_depth, reserved_tags, cmd_size, numa_node, timeout, flags, driver_data, tags,
        shared_tags, tag_list_lock, tag_list,
    }
    mod queue_map = "blk_mq_queue_map" { mq_map, nr_queues, queue_offset }
    mod operations = "blk_mq_ops" {
        queue_rq, get_budget, put_budget, set_rq_budget_token, timeout, complete, init_hctx, exit_hctx, init_request, exit_request, map_queues,
    }
    mod context = "blk_mq_hw_ctx" {
        dispatch, state, cpumask, flags, queue, nr_ctx, tags, numa_node, queue_num,
    }
    mod tag_map = "blk_mq_tags" { nr_tags, nr_reserved_tags, rqs, static_rqs, page_list }
    mod queue_data = "blk_mq_queue_data" { rq, last }
    pub(super) mod request_queue = "request_queue" {
        mq_ops, nr_hw_queues, hctx_table, queuedata, nr_requests, rq_timeout, timeout, mq_freeze_depth, quiesce_depth,
        tag_set, tag_set_list, disk, mq_freeze_wq, requeue_work,
    }
}

/// What is known of a queue beside its struct.
#[derive(Debug, Default)]
struct Queue {
    /// The tag set.
    set: u64,
    /// Who holds the struct: disks, and whoever asked for it.
    references: u32,
    /// Requests that are allocated.
    users: u32,
    /// How often it was frozen: nothing new comes in.
    frozen: u32,
    /// How often it was quiesced: nothing goes to the driver.
    quiesced: u32,
    /// Everything that comes is refused.
    is_dying: bool,
    /// It was made with its disk, and ends with it.
    is_of_disk: bool,
    /// The hardware contexts, by number; empty when they are gone.
    contexts: Vec<u64>,
    /// Tasks that are in the driver's `queue_rq`.
    dispatching: Vec<TaskId>,
    /// Requests that wait to be given to the driver, by hardware context.
    waiting: BTreeMap<u64, VecDeque<u64>>,
    /// Requests that their driver has given back, until somebody kicks them.
    requeued: Vec<u64>,
}

/// The queues of requests, by their structs.
static QUEUES: Lock<BTreeMap<u64, Queue>> = Lock::new(BTreeMap::new());

/// Looks at a queue or changes it; `None` for one that has no requests. `look` touches no memory of modules.
fn with<T>(queue: u64, look: impl FnOnce(&mut Queue) -> T) -> Option<T> {
    QUEUES.lock().get_mut(&queue).map(look)
}

/// Whether a queue is one of requests.
pub(crate) fn is_queue(queue: u64) -> bool {
    QUEUES.lock().contains_key(&queue)
}

/// Calls a function of the driver's table, if it has it.
///
/// # Safety
/// `table` is the table of a set, and the function takes these arguments.
unsafe fn call<const N: usize>(table: u64, function: &Field, arguments: [u64; N]) -> Option<u64> {
    // SAFETY: the caller vouches for table and arguments.
    unsafe {
        let address: u64 = function.get(table);
        (address != 0).then(|| crate::ram::call(address, arguments))
    }
}

/// The table of functions of a queue's driver.
///
/// # Safety
/// `queue` is a queue of requests.
unsafe fn table(queue: u64) -> u64 {
    // SAFETY: the caller vouches for the queue.
    unsafe { request_queue::mq_ops.get(queue) }
}

macro_rules! named_bits {
    ($($(#[$meta:meta])* $function:ident = $name:literal, $before:literal;)*) => {
        $($(#[$meta])*
        pub(super) fn $function() -> u32 {
            static BIT: spin::Once<u32> = spin::Once::new();
            *BIT.call_once(|| 1 << facts().btf().enum_value($name).map_or($before, |bit| bit as u32 & 31))
        })*
    };
}

// Each with the number it had when it was no member of an enumeration yet.
named_bits! {
    /// `RQF_QUIET`: nobody is told of its failure.
    quiet_flag = "__RQF_QUIET", 11;
    /// `RQF_SPECIAL_PAYLOAD`: its bytes are in `special_vec`.
    special_flag = "__RQF_SPECIAL_PAYLOAD", 18;
    /// `RQF_TIMED_OUT`: its driver has been told that its time is over.
    timed_out_flag = "__RQF_TIMED_OUT", 21;
    /// `RQF_PM`: it changes the power state of its device.
    power_flag = "__RQF_PM", 15;
    /// `RQF_RESV`: its tag is a reserved one.
    reserved_flag = "__RQF_RESV", 23;
    /// `REQ_FUA`: what it writes is to be on the medium when it ends.
    force_unit_access = "__REQ_FUA", 17;
    /// `REQ_PREFLUSH`: what was written before is to be on the medium first.
    flush_first = "__REQ_PREFLUSH", 18;
    /// `REQ_NOWAIT`: it would rather fail than wait.
    no_wait = "__REQ_NOWAIT", 21;
    /// `QUEUE_FLAG_DYING`
    dying_flag = "QUEUE_FLAG_DYING", 1;
    /// `QUEUE_FLAG_QUIESCED`
    quiesced_flag = "QUEUE_FLAG_QUIESCED", 24;
    /// `QUEUE_FLAG_INIT_DONE`
    ready_flag = "QUEUE_FLAG_INIT_DONE", 14;
}

/// The value of a flag of a tag set (`BLK_MQ_F_*`); 0 when this kernel has none.
fn set_flag(name: &str) -> u32 {
    facts().btf().enum_value(name).map_or(0, |value| value as u32)
}

/// What a request does.
///
/// # Safety
/// `at` is a request.
unsafe fn operation(at: u64) -> u32 {
    // SAFETY: the caller vouches for the request.
    unsafe { request::cmd_flags.get::<u32>(at) & OPERATION }
}

/// Whether a request is a command of its device's own, with no sectors that the kernel knows of.
fn is_passthrough(operation: u32) -> bool {
    /// `REQ_OP_DRV_IN`, `REQ_OP_DRV_OUT`
    const OWN: core::ops::RangeInclusive<u32> = 34..=35;
    OWN.contains(&operation)
}

/// States of a request (`enum mq_rq_state`).
const IDLE: u32 = 0;
const IN_FLIGHT: u32 = 1;
const COMPLETE: u32 = 2;
