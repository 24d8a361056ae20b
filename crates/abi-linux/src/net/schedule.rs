//! Packet schedulers: their list, the queues that are made of them, and the plain one that is always there.
//!
//! A queue (`struct Qdisc`) is its scheduler's own; what is here makes it, gives it back, and is the first in, first out queue
//! that other schedulers have below them. There are no filters: packets are classified by their priority.

use alloc::vec::Vec;

use ferrmod_kernel::Errno;
use ferrmod_kernel::lock::Lock;

use super::sk_buff::{self, sk_buff as packet};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::{Field, layout};
use crate::registries::{Name, Registry, Unique};
use crate::{module, ram, slab, symbols};

layout! {
    mod qdisc_ops = "Qdisc_ops" {
        next, id, priv_size, static_flags, enqueue, dequeue, peek, init, reset, destroy, change, owner,
    }
    mod qdisc = "Qdisc" {
        enqueue, dequeue, flags, limit, ops, handle, parent, dev_queue, refcnt, gso_skb, skb_bad_txq,
        first = "q.head", last = "q.tail", length = "q.qlen", backlog = "qstats.backlog", drops = "qstats.drops",
        bytes = "bstats.bytes", packets = "bstats.packets",
    }
    mod netdev_queue = "netdev_queue" { dev }
    mod net_device = "net_device" { tx_queue_len, mtu, hard_header_len }
    mod qdisc_skb = "sk_buff" { priority }
    mod qdisc_skb_cb = "qdisc_skb_cb" { pkt_len }
    mod tc_fifo_qopt = "tc_fifo_qopt" { limit }
    mod tcf_proto = "tcf_proto" { next, classify }
    mod nlattr = "nlattr" { nla_len }
}

/// `TCQ_F_BUILTIN`, `TCQ_F_CAN_BYPASS`
const BUILT_IN: u32 = 1;
const CAN_BYPASS: u32 = 4;
/// `NET_XMIT_SUCCESS`, `NET_XMIT_DROP`, `NET_XMIT_CN`
const TAKEN: i32 = 0;
const DROPPED: i32 = 1;
const CONGESTED: i32 = 2;
/// `TC_H_ROOT`: the parent of a device's own queue.
pub(crate) const ROOT: u32 = u32::MAX;
/// Room for a table of functions of any kernel, and for a queue without anything of its own.
const TABLE: u64 = 512;
const QUEUE: u64 = 1024;

static SCHEDULERS: Registry =
    Registry::new("qdisc", Name::Array(Field::new("Qdisc_ops", "id")), Unique::Name(Errno::EEXIST), Errno::ENOENT);

/// Fills in a table of functions of our own.
fn table(at: u64, id: &str, enqueue: &str, init: &str) {
    let named = |name: &str| symbols::address(name).unwrap_or(0);
    // SAFETY: `data::place` gives so many writable bytes.
    unsafe {
        ram::bytes_mut(qdisc_ops::id.at(at), id.len() as u64).copy_from_slice(id.as_bytes());
        qdisc_ops::enqueue.set(at, named(enqueue));
        qdisc_ops::dequeue.set(at, named("fifo_dequeue"));
        qdisc_ops::peek.set(at, named("fifo_peek"));
        qdisc_ops::init.set(at, named(init));
        qdisc_ops::change.set(at, named(init));
        qdisc_ops::reset.set(at, named("fifo_reset"));
    }
}

static PACKETS: Datum =
    Datum::new("pfifo_qdisc_ops", TABLE, Begin::With(|at| table(at, "pfifo", "pfifo_enqueue", "pfifo_init")));
static BYTES: Datum =
    Datum::new("bfifo_qdisc_ops", TABLE, Begin::With(|at| table(at, "bfifo", "bfifo_enqueue", "bfifo_init")));
/// The scheduler of devices that have a queue.
static BANDS: Datum = Datum::new(
    "pfifo_fast_ops",
    TABLE,
    Begin::With(|at| {
        table(at, "pfifo_fast", "bands_enqueue", "bands_init");
        // SAFETY: as above.
        unsafe {
            qdisc_ops::priv_size.set(at, BAND_SIZE as u32 * BAND_COUNT as u32);
            for (field, name) in [
                (&qdisc_ops::dequeue, "bands_dequeue"),
                (&qdisc_ops::peek, "bands_peek"),
                (&qdisc_ops::reset, "bands_reset"),
            ] {
                field.set(at, symbols::address(name).unwrap_or(0));
            }
            qdisc_ops::change.set(at, 0u64);
        }
    }),
);
/// That of devices that have none: nothing can be put into it.
static NO_QUEUE: Datum = Datum::new(
    "noqueue_qdisc_ops",
    TABLE,
    Begin::With(|at| {
        // SAFETY: as above.
        unsafe { ram::bytes_mut(qdisc_ops::id.at(at), 7).copy_from_slice(b"noqueue") };
    }),
);
static NOTHING: Datum = Datum::new(
    "noop_qdisc",
    QUEUE,
    Begin::With(|at| {
        let named = |name: &str| symbols::address(name).unwrap_or(0);
        // SAFETY: as above.
        unsafe {
            qdisc::enqueue.set(at, named("noop_enqueue"));
            qdisc::dequeue.set(at, named("noop_dequeue"));
            qdisc::flags.set(at, BUILT_IN);
            ram::put(qdisc::refcnt.at(at), 1u32);
        }
    }),
);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&PACKETS, &BYTES, &BANDS, &NO_QUEUE, &NOTHING];

/// The schedulers in their order: the plain ones, then as they came.
fn all() -> Vec<u64> {
    let mut all = Vec::new();
    let mut at = PACKETS.address();
    while at != 0 {
        all.push(at);
        // SAFETY: a registered table.
        at = unsafe { qdisc_ops::next.get(at) };
    }
    all
}

/// `int register_qdisc(struct Qdisc_ops *)`: behind those that are there.
extern "C" fn register_qdisc(ops: u64) -> i32 {
    let caller = ram::caller();
    let first = PACKETS.address();
    // SAFETY: our own two tables, and the module's.
    unsafe {
        if qdisc_ops::next.get::<u64>(first) == 0 {
            qdisc_ops::next.set(first, BYTES.address());
        }
        let id = |table: u64| ram::c_string(qdisc_ops::id.at(table)).to_vec();
        let tables = all();
        if tables.iter().any(|&other| id(other) == id(ops)) {
            return Errno::EEXIST.to_return();
        }
        let result = SCHEDULERS.add(ops, caller);
        if result == 0 {
            qdisc_ops::next.set(ops, 0u64);
            qdisc_ops::next.set(tables.last().copied().unwrap_or(first), ops);
        }
        result
    }
}
/// `int unregister_qdisc(struct Qdisc_ops *)`
extern "C" fn unregister_qdisc(ops: u64) -> i32 {
    let tables = all();
    // SAFETY: registered tables.
    unsafe {
        if let Some(place) = tables.iter().position(|&other| other == ops).filter(|&place| place > 0) {
            qdisc_ops::next.set(tables[place - 1], qdisc_ops::next.get::<u64>(ops));
            qdisc_ops::next.set(ops, 0u64);
        }
    }
    SCHEDULERS.remove(ops)
}

/// The queues there are, for those who look one up by its handle.
static QUEUES: Lock<Vec<u64>> = Lock::new(Vec::new());

/// `struct Qdisc *qdisc_create_dflt(struct netdev_queue *, const struct Qdisc_ops *, unsigned int parent, struct netlink_ext_ack *)`
extern "C" fn qdisc_create_dflt(queue: u64, ops: u64, parent: u32, ack: u64) -> u64 {
    create(queue, ops, parent, ack, ram::caller())
}
/// Makes a queue of a scheduler for whoever called from `caller`; 0 when it cannot be made.
pub(crate) fn create(queue: u64, ops: u64, parent: u32, ack: u64, caller: u64) -> u64 {
    if queue == 0 || ops == 0 {
        return 0;
    }
    // SAFETY: the scheduler's table.
    let owner: u64 = unsafe { qdisc_ops::owner.get(ops) };
    if owner != 0 && !module::at(owner).is_some_and(|module| module.try_get()) {
        return 0;
    }
    let made = make(queue, ops, parent, caller);
    if made == 0 {
        if let Some(owner) = module::at(owner) {
            owner.put();
        }
        return 0;
    }
    // SAFETY: the queue just made, and its scheduler's own function.
    unsafe {
        let init: u64 = qdisc_ops::init.get(ops);
        if init != 0 && ram::call(init, [made, 0, ack]) as i32 != 0 {
            qdisc_put(made);
            return 0;
        }
    }
    made
}

fn make(queue: u64, ops: u64, parent: u32, caller: u64) -> u64 {
    // SAFETY: the scheduler's table and the queue of a device; a zeroed block with room for the struct and what is the scheduler's.
    unsafe {
        let size = qdisc::SIZE.get() + u64::from(qdisc_ops::priv_size.get::<u32>(ops));
        let made = slab::allocate(size, 64, slab::ZERO, caller);
        if made == 0 {
            return 0;
        }
        sk_buff::begin_queue(qdisc::gso_skb.at(made));
        sk_buff::begin_queue(qdisc::skb_bad_txq.at(made));
        let flags: u32 = qdisc_ops::static_flags.get(ops);
        qdisc::ops.set(made, ops);
        qdisc::flags.set(made, flags);
        qdisc::enqueue.set(made, qdisc_ops::enqueue.get::<u64>(ops));
        qdisc::dequeue.set(made, qdisc_ops::dequeue.get::<u64>(ops));
        qdisc::dev_queue.set(made, queue);
        qdisc::parent.set(made, parent);
        ram::put(qdisc::refcnt.at(made), 1u32);
        QUEUES.lock().push(made);
        made
    }
}

fn call_own(queue: u64, function: &Field) {
    // SAFETY: a queue and its scheduler's table.
    unsafe {
        let ops: u64 = qdisc::ops.get(queue);
        let function: u64 = if ops == 0 { 0 } else { function.get(ops) };
        if function != 0 {
            ram::call(function, [queue]);
        }
    }
}

/// `void qdisc_reset(struct Qdisc *)`: nothing waits in it any more.
extern "C" fn qdisc_reset(queue: u64) {
    reset(queue);
}
/// Frees what waits in a queue.
pub(crate) fn reset(queue: u64) {
    call_own(queue, &qdisc_ops::reset);
    for list in [&qdisc::gso_skb, &qdisc::skb_bad_txq] {
        loop {
            match sk_buff::take_first(list.at(queue)) {
                0 => break,
                waiting => sk_buff::free(waiting),
            }
        }
    }
    // SAFETY: a queue.
    unsafe {
        qdisc::length.set(queue, 0u32);
        qdisc::backlog.set(queue, 0u32);
    }
}
/// `void qdisc_put(struct Qdisc *)`: the last one takes it away.
extern "C" fn qdisc_put(queue: u64) {
    put(queue);
}
/// Gives a reference of a queue back.
pub(crate) fn put(queue: u64) {
    if queue == 0 {
        return;
    }
    // SAFETY: a queue, its table and its module.
    unsafe {
        if qdisc::flags.get::<u32>(queue) & BUILT_IN != 0 {
            return;
        }
        let left = ram::get::<u32>(qdisc::refcnt.at(queue)).saturating_sub(1);
        ram::put(qdisc::refcnt.at(queue), left);
        if left > 0 {
            return;
        }
        QUEUES.lock().retain(|&other| other != queue);
        call_own(queue, &qdisc_ops::reset);
        call_own(queue, &qdisc_ops::destroy);
        let owner: u64 = qdisc_ops::owner.get(qdisc::ops.get(queue));
        if let Some(owner) = module::at(owner) {
            owner.put();
        }
        slab::release(queue, 0);
    }
}

/// `void qdisc_tree_reduce_backlog(struct Qdisc *, int packets, int bytes)`: those above it have so much less, too.
extern "C" fn qdisc_tree_reduce_backlog(queue: u64, packets: i32, bytes: i32) {
    /// `TC_H_MAJ`
    const MAJOR: u32 = 0xffff_0000;
    if packets == 0 && bytes == 0 {
        return;
    }
    let mut at = queue;
    // A tree is not deeper than there are queues.
    for _ in 0..QUEUES.lock().len() {
        // SAFETY: queues that are there.
        unsafe {
            let parent: u32 = qdisc::parent.get(at);
            if parent == 0 || parent == ROOT {
                return;
            }
            let queues = QUEUES.lock().clone();
            let Some(above) = queues.into_iter().find(|&other| qdisc::handle.get::<u32>(other) == parent & MAJOR)
            else {
                return;
            };
            qdisc::length.set(above, qdisc::length.get::<u32>(above).wrapping_sub(packets as u32));
            qdisc::backlog.set(above, qdisc::backlog.get::<u32>(above).wrapping_sub(bytes as u32));
            at = above;
        }
    }
}
/// `void qdisc_hash_add(struct Qdisc *, bool)`: it is found by its handle already.
extern "C" fn qdisc_hash_add() {}

fn size_of(at: u64) -> u32 {
    // SAFETY: a packet whose control block its sender has filled in.
    unsafe { qdisc_skb_cb::pkt_len.get(packet::cb.at(at)) }
}

/// Puts a packet at the end.
fn append(at: u64, queue: u64) -> i32 {
    // SAFETY: a queue of ours and a packet that nobody else has.
    unsafe {
        packet::next.set(at, 0u64);
        match qdisc::last.get::<u64>(queue) {
            0 => qdisc::first.set(queue, at),
            last => packet::next.set(last, at),
        }
        qdisc::last.set(queue, at);
        qdisc::length.set(queue, qdisc::length.get::<u32>(queue) + 1);
        qdisc::backlog.set(queue, qdisc::backlog.get::<u32>(queue) + size_of(at));
    }
    TAKEN
}
/// Gives a packet to whoever frees those that have no place.
fn refuse(at: u64, queue: u64, to_free: u64) -> i32 {
    // SAFETY: a queue of ours, a packet, and the caller's list.
    unsafe {
        qdisc::drops.set(queue, qdisc::drops.get::<u32>(queue) + 1);
        packet::next.set(at, ram::get::<u64>(to_free));
        ram::put(to_free, at);
    }
    DROPPED
}

extern "C" fn pfifo_enqueue(at: u64, queue: u64, to_free: u64) -> i32 {
    // SAFETY: a queue of ours.
    let has_room = unsafe { qdisc::length.get::<u32>(queue) < qdisc::limit.get::<u32>(queue) };
    if has_room { append(at, queue) } else { refuse(at, queue, to_free) }
}
extern "C" fn bfifo_enqueue(at: u64, queue: u64, to_free: u64) -> i32 {
    // SAFETY: a queue of ours.
    let after = unsafe { u64::from(qdisc::backlog.get::<u32>(queue)) + u64::from(size_of(at)) };
    // SAFETY: as above.
    let has_room = after <= u64::from(unsafe { qdisc::limit.get::<u32>(queue) });
    if has_room { append(at, queue) } else { refuse(at, queue, to_free) }
}
extern "C" fn fifo_peek(queue: u64) -> u64 {
    // SAFETY: a queue of ours.
    unsafe { qdisc::first.get(queue) }
}
extern "C" fn fifo_dequeue(queue: u64) -> u64 {
    let at = fifo_peek(queue);
    if at != 0 {
        // SAFETY: a queue of ours and its first packet.
        unsafe {
            let next: u64 = packet::next.get(at);
            qdisc::first.set(queue, next);
            if next == 0 {
                qdisc::last.set(queue, 0u64);
            }
            packet::next.set(at, 0u64);
        }
        count_out(queue, at);
    }
    at
}
/// Counts a packet that was taken out of a queue.
fn count_out(queue: u64, at: u64) {
    // SAFETY: a queue of ours and its packet.
    unsafe {
        let size = size_of(at);
        qdisc::length.set(queue, qdisc::length.get::<u32>(queue) - 1);
        qdisc::backlog.set(queue, qdisc::backlog.get::<u32>(queue).wrapping_sub(size));
        qdisc::bytes.set(queue, qdisc::bytes.get::<u64>(queue) + u64::from(size));
        qdisc::packets.set(queue, qdisc::packets.get::<u64>(queue) + 1);
    }
}
extern "C" fn fifo_reset(queue: u64) {
    // SAFETY: a queue of ours and its packets.
    unsafe {
        let mut at: u64 = qdisc::first.get(queue);
        while at != 0 {
            let next: u64 = packet::next.get(at);
            packet::next.set(at, 0u64);
            sk_buff::free(at);
            at = next;
        }
        qdisc::first.set(queue, 0u64);
        qdisc::last.set(queue, 0u64);
        qdisc::length.set(queue, 0u32);
        qdisc::backlog.set(queue, 0u32);
    }
}

/// Sets the limit: what the attribute says, or as many packets as the device queues, times `size`.
fn begin(queue: u64, attribute: u64, size: impl FnOnce(u64) -> u32) -> i32 {
    /// `NLA_HDRLEN`
    const HEADER: u64 = 4;
    // SAFETY: a queue of ours, its device, and the caller's attribute.
    unsafe {
        let limit = if attribute == 0 {
            let device: u64 = netdev_queue::dev.get(qdisc::dev_queue.get(queue));
            net_device::tx_queue_len.get::<u32>(device).saturating_mul(size(device))
        } else {
            if u64::from(nlattr::nla_len.get::<u16>(attribute)) < HEADER + tc_fifo_qopt::SIZE.get() {
                return Errno::EINVAL.to_return();
            }
            tc_fifo_qopt::limit.get(attribute + HEADER)
        };
        qdisc::limit.set(queue, limit);
        qdisc::flags.set(queue, qdisc::flags.get::<u32>(queue) | if limit > 0 { CAN_BYPASS } else { 0 });
    }
    0
}
extern "C" fn pfifo_init(queue: u64, attribute: u64) -> i32 {
    begin(queue, attribute, |_| 1)
}
extern "C" fn bfifo_init(queue: u64, attribute: u64) -> i32 {
    // SAFETY: the device of a queue of ours.
    begin(queue, attribute, |device| unsafe {
        net_device::mtu.get::<u32>(device) + u32::from(net_device::hard_header_len.get::<u16>(device))
    })
}

/// Bands of `pfifo_fast`, the bytes of each (`struct sk_buff_head`), and the band of each priority.
const BAND_COUNT: usize = 3;
const BAND_SIZE: u64 = 24;
const BAND_OF: [u8; 16] = [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];

fn bands(queue: u64) -> impl Iterator<Item = u64> {
    (0..BAND_COUNT as u64).map(move |number| queue + qdisc::SIZE.get() + number * BAND_SIZE)
}
extern "C" fn bands_init(queue: u64, _attribute: u64) -> i32 {
    bands(queue).for_each(sk_buff::begin_queue);
    // SAFETY: a queue of ours.
    unsafe { qdisc::flags.set(queue, qdisc::flags.get::<u32>(queue) | CAN_BYPASS) };
    0
}
extern "C" fn bands_enqueue(at: u64, queue: u64, to_free: u64) -> i32 {
    // SAFETY: a queue of ours, its device, and a packet.
    unsafe {
        let device: u64 = netdev_queue::dev.get(qdisc::dev_queue.get(queue));
        let priority = qdisc_skb::priority.get::<u32>(at) as usize & (BAND_OF.len() - 1);
        let Some(band) = bands(queue).nth(BAND_OF[priority].into()) else { return refuse(at, queue, to_free) };
        if sk_buff::waiting(band) >= net_device::tx_queue_len.get(device) {
            return refuse(at, queue, to_free);
        }
        sk_buff::skb_queue_tail(band, at);
        qdisc::length.set(queue, qdisc::length.get::<u32>(queue) + 1);
        qdisc::backlog.set(queue, qdisc::backlog.get::<u32>(queue) + size_of(at));
    }
    TAKEN
}
extern "C" fn bands_dequeue(queue: u64) -> u64 {
    let at = bands(queue).map(sk_buff::take_first).find(|&at| at != 0).unwrap_or(0);
    if at != 0 {
        count_out(queue, at);
    }
    at
}
extern "C" fn bands_peek(queue: u64) -> u64 {
    bands(queue).map(sk_buff::first).find(|&at| at != 0).unwrap_or(0)
}
extern "C" fn bands_reset(queue: u64) {
    bands(queue).for_each(|band| sk_buff::skb_queue_purge(band));
    // SAFETY: a queue of ours.
    unsafe {
        qdisc::length.set(queue, 0u32);
        qdisc::backlog.set(queue, 0u32);
    }
}

extern "C" fn noop_enqueue(at: u64, _queue: u64, to_free: u64) -> i32 {
    // SAFETY: a packet and the caller's list.
    unsafe {
        packet::next.set(at, ram::get::<u64>(to_free));
        ram::put(to_free, at);
    }
    CONGESTED
}
extern "C" fn noop_dequeue() -> u64 {
    0
}

/// `int tcf_block_get(struct tcf_block **, struct tcf_proto **, struct Qdisc *, struct netlink_ext_ack *)`: one without filters.
extern "C" fn tcf_block_get(block: u64, chain: u64) -> i32 {
    // SAFETY: the caller's two variables.
    unsafe {
        ram::put(block, 0u64);
        ram::put(chain, 0u64);
    }
    0
}
extern "C" fn tcf_block_put() {}
/// `int tcf_classify(struct sk_buff *, const struct tcf_block *, const struct tcf_proto *, struct tcf_result *, bool)`
extern "C" fn tcf_classify(at: u64, _block: u64, chain: u64, result: u64) -> i32 {
    /// `TC_ACT_UNSPEC`
    const UNDECIDED: i32 = -1;
    let mut filter = chain;
    while filter != 0 {
        // SAFETY: a filter of a module and its function.
        unsafe {
            let answer = ram::call(tcf_proto::classify.get(filter), [at, filter, result]) as i32;
            if answer >= 0 {
                return answer;
            }
            filter = tcf_proto::next.get(filter);
        }
    }
    UNDECIDED
}
/// `void rtnl_kfree_skbs(struct sk_buff *head, struct sk_buff *tail)`
extern "C" fn rtnl_kfree_skbs(first: u64, last: u64) {
    let mut at = first;
    while at != 0 {
        // SAFETY: the caller's packets, from the first to the last.
        let next: u64 = if at == last { 0 } else { unsafe { packet::next.get(at) } };
        // SAFETY: as above.
        unsafe { packet::next.set(at, 0u64) };
        sk_buff::free(at);
        at = next;
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c register_qdisc, c unregister_qdisc, c qdisc_create_dflt, c qdisc_reset, c qdisc_put, c qdisc_tree_reduce_backlog,
    k qdisc_hash_add, c pfifo_enqueue, c bfifo_enqueue, c fifo_peek, c fifo_dequeue, c fifo_reset, c pfifo_init, c bfifo_init,
    c bands_init, c bands_enqueue, c bands_dequeue, c bands_peek, c bands_reset,
    c noop_enqueue, k noop_dequeue, c tcf_block_get, k tcf_block_put, c tcf_classify, c rtnl_kfree_skbs,
];
