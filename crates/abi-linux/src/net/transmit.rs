//! Packets through devices: queues, the driver's `ndo_start_xmit`, and what is received.
//!
//! A device's queue begins with `noop`, which takes nothing. When the device goes up it gets the plain scheduler with three bands
//! (`pfifo_fast`), or none when its driver asked for that; a packet is then put into it and taken out again as long as the driver
//! has room. What is received waits for a soft interrupt and goes to whoever registered for its protocol.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::layout::{net_device, net_device_ops, netdev_queue};
use super::sk_buff::{self, Packet};
use super::state::{self, STARTED};
use super::{allocate, devices, packets, schedule};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{boot, locks, ram, symbols, tasks};

layout! {
    mod packet = "sk_buff" { next, dev, queue_mapping, protocol, cb, len, head, data, mac_header, network_header, transport_header }
    mod qdisc = "Qdisc" { enqueue, dequeue, gso_skb }
    mod packet_type = "packet_type" { func }
}

/// `__QUEUE_STATE_DRV_XOFF`, `…_STACK_XOFF`, `…_FROZEN` of a queue's state.
const STOPPED: u64 = 1 << 0;
const FROZEN: u64 = 1 << 2;
const ANY_STOP: u64 = STOPPED | 1 << 1 | FROZEN;
/// `NETIF_F_LLTX`: the driver has locks of its own.
const OWN_LOCKS: u64 = 1 << 12;
/// `NETDEV_TX_BUSY`, and below which an answer says that the packet is no longer ours (`NET_XMIT_MASK`).
const BUSY: i32 = 0x10;
const MASK: i32 = 0x0f;
/// `NET_RX_SUCCESS`, `NET_RX_DROP`
const TAKEN: i32 = 0;
const DROPPED: i32 = 1;

/// A device's queue of this number.
pub(crate) fn queue(dev: u64, number: u32) -> u64 {
    // SAFETY: the caller's device.
    unsafe { net_device::tx.get::<u64>(dev) + u64::from(number) * netdev_queue::SIZE.get() }
}
fn queues(dev: u64) -> impl Iterator<Item = u64> {
    // SAFETY: the caller's device.
    let count: u32 = unsafe { net_device::num_tx_queues.get(dev) };
    (0..count).map(move |number| queue(dev, number))
}

/// Lets a device begin with queues that take nothing.
pub(crate) fn begin(dev: u64) {
    let nothing = symbols::address("noop_qdisc").unwrap_or(0);
    // SAFETY: a device that is being made.
    unsafe { net_device::qdisc.set(dev, nothing) };
    for at in queues(dev) {
        set_scheduler(at, nothing);
        // SAFETY: as above.
        unsafe { netdev_queue::qdisc_sleeping.set(at, nothing) };
    }
}
fn scheduler(at: u64) -> u64 {
    // SAFETY: the queue of a device.
    unsafe { netdev_queue::qdisc.get(at) }
}
fn set_scheduler(at: u64, to: u64) {
    // SAFETY: as above.
    unsafe { netdev_queue::qdisc.set(at, to) };
}

/// A device has gone up, or has a carrier now (`dev_activate`).
pub(crate) fn activate(dev: u64) {
    let nothing = symbols::address("noop_qdisc").unwrap_or(0);
    // SAFETY: a registered device, and its queues.
    unsafe {
        if net_device::qdisc.get::<u64>(dev) == nothing {
            let plain = net_device::priv_flags.get::<u32>(dev) & allocate::NO_QUEUE != 0;
            let ops = symbols::address(if plain { "noqueue_qdisc_ops" } else { "pfifo_fast_ops" }).unwrap_or(0);
            for at in queues(dev) {
                let made = schedule::create(at, ops, schedule::ROOT, 0, 0);
                netdev_queue::qdisc_sleeping.set(at, if made == 0 { nothing } else { made });
            }
            net_device::qdisc.set(dev, netdev_queue::qdisc_sleeping.get::<u64>(queue(dev, 0)));
        }
        if !state::has_carrier(dev) {
            return;
        }
        for at in queues(dev) {
            set_scheduler(at, netdev_queue::qdisc_sleeping.get(at));
            netdev_queue::trans_start.set(at, 0u64);
        }
    }
}
/// It goes down, or has none any more (`dev_deactivate`).
pub(crate) fn deactivate(dev: u64) {
    let nothing = symbols::address("noop_qdisc").unwrap_or(0);
    for at in queues(dev) {
        let before = scheduler(at);
        set_scheduler(at, nothing);
        if before != nothing && before != 0 {
            schedule::reset(before);
        }
    }
}
/// It goes for good (`dev_shutdown`).
pub(crate) fn shut_down(dev: u64) {
    let nothing = symbols::address("noop_qdisc").unwrap_or(0);
    for at in queues(dev) {
        // SAFETY: the queue of a device.
        unsafe {
            let sleeping: u64 = netdev_queue::qdisc_sleeping.get(at);
            set_scheduler(at, nothing);
            netdev_queue::qdisc_sleeping.set(at, nothing);
            if sleeping != nothing {
                schedule::put(sleeping);
            }
        }
    }
    // SAFETY: the caller's device.
    unsafe { net_device::qdisc.set(dev, nothing) };
}

fn queue_state(at: u64) -> u64 {
    // SAFETY: the queue of a device.
    unsafe { netdev_queue::state.get(at) }
}
fn change_queue(at: u64, clear: u64, set: u64) {
    // SAFETY: as above.
    unsafe { netdev_queue::state.set(at, queue_state(at) & !clear | set) };
}
/// The driver takes no more packets.
pub(crate) fn stop_all(dev: u64) {
    queues(dev).for_each(|at| change_queue(at, 0, STOPPED));
}
/// It takes them again.
pub(crate) fn wake_all(dev: u64) {
    queues(dev).for_each(|at| netif_tx_wake_queue(at));
}

/// Gives a packet to the driver; what it answers.
fn start(dev: u64, at: u64, packet: u64) -> i32 {
    // SAFETY: a registered device and its queue.
    let locks = unsafe { net_device::features.get::<u64>(dev) } & OWN_LOCKS == 0;
    packets::tap(packet, dev);
    if locks {
        locks::spin_take(netdev_queue::lock.at(at));
    }
    let answer = state::operate(dev, &net_device_ops::ndo_start_xmit, [packet, dev]).unwrap_or(BUSY);
    if answer == 0 {
        // SAFETY: as above.
        unsafe { netdev_queue::trans_start.set(at, boot::jiffies()) };
    }
    if locks {
        locks::spin_give(netdev_queue::lock.at(at));
    }
    answer
}

/// Takes packets out of a queue as long as the driver has room (`__qdisc_run`).
fn run(dev: u64, at: u64) {
    let scheduler = scheduler(at);
    while queue_state(at) & ANY_STOP == 0 {
        let waiting = qdisc::gso_skb.at(scheduler);
        // SAFETY: a scheduler and its function.
        let packet = unsafe {
            match sk_buff::take_first(waiting) {
                0 => ram::call(qdisc::dequeue.get(scheduler), [scheduler]),
                packet => packet,
            }
        };
        if packet == 0 {
            return;
        }
        let answer = start(dev, at, packet);
        if answer >= MASK {
            sk_buff::skb_queue_head(waiting, packet);
            return;
        }
    }
}

/// `int __dev_queue_xmit(struct sk_buff *, struct net_device *sb_dev)`
extern "C" fn __dev_queue_xmit(at: u64) -> i32 {
    tasks::add_preempt(tasks::SOFTIRQ_DISABLE_OFFSET);
    let result = send(at);
    tasks::add_preempt(-tasks::SOFTIRQ_DISABLE_OFFSET);
    result
}
fn send(at: u64) -> i32 {
    // SAFETY: the caller's packet, its device, and the functions of the driver and the scheduler.
    unsafe {
        let dev: u64 = packet::dev.get(at);
        if dev == 0 {
            sk_buff::free(at);
            return Errno::ENETDOWN.to_return();
        }
        let header = packet::data.get::<u64>(at) - packet::head.get::<u64>(at);
        packet::mac_header.set(at, header as u16);
        let count: u32 = net_device::real_num_tx_queues.get(dev);
        let number = match count {
            0 | 1 => 0,
            _ => state::operate(dev, &net_device_ops::ndo_select_queue, [dev, at, 0])
                .map_or(0, |number| u32::from(number as u16) % count),
        };
        packet::queue_mapping.set(at, number as u16);
        let queue = queue(dev, number);
        let scheduler = scheduler(queue);
        let enqueue: u64 = if scheduler == 0 { 0 } else { qdisc::enqueue.get(scheduler) };
        if enqueue != 0 {
            // `struct qdisc_skb_cb` begins with the length that schedulers count.
            ram::put(packet::cb.at(at), packet::len.get::<u32>(at));
            let mut refused = [0u64];
            let list = refused.as_mut_ptr() as u64;
            let answer = ram::call(enqueue, [at, scheduler, list]) as i32;
            let mut next: u64 = ram::get(list);
            while next != 0 {
                let behind: u64 = packet::next.get(next);
                packet::next.set(next, 0u64);
                sk_buff::free(next);
                next = behind;
            }
            run(dev, queue);
            return answer;
        }
        if devices::is_up(dev) && queue_state(queue) & ANY_STOP == 0 {
            let answer = start(dev, queue, at);
            if answer < MASK {
                return answer;
            }
        }
        allocate::count_dropped(dev, true);
        sk_buff::free(at);
        Errno::ENETDOWN.to_return()
    }
}

/// `void netif_tx_wake_queue(struct netdev_queue *)`
extern "C" fn netif_tx_wake_queue(at: u64) {
    let was_stopped = queue_state(at) & STOPPED != 0;
    change_queue(at, STOPPED, 0);
    if was_stopped {
        schedule_run(at);
    }
}
extern "C" fn netif_schedule_queue(at: u64) {
    if queue_state(at) & ANY_STOP == 0 {
        schedule_run(at);
    }
}
/// Has a queue run as a soft interrupt.
fn schedule_run(at: u64) {
    kernel().timers.set(at, kernel().platform.now(), |at| {
        // SAFETY: the queue of a device; one that goes takes the request back.
        let dev: u64 = unsafe { netdev_queue::dev.get(at) };
        if scheduler(at) != 0 {
            tasks::in_softirq(|| run(dev, at));
        }
    });
}
extern "C" fn netif_tx_stop_all_queues(dev: u64) {
    stop_all(dev);
}
/// `void netif_tx_lock(struct net_device *)`: nobody sends meanwhile.
extern "C" fn netif_tx_lock(dev: u64) {
    locks::spin_take(net_device::tx_global_lock.at(dev));
    queues(dev).for_each(|at| change_queue(at, 0, FROZEN));
}
extern "C" fn netif_tx_unlock(dev: u64) {
    for at in queues(dev) {
        change_queue(at, FROZEN, 0);
        netif_schedule_queue(at);
    }
    locks::spin_give(net_device::tx_global_lock.at(dev));
}
/// `unsigned long dev_trans_start(struct net_device *)`: when something was sent last.
extern "C" fn dev_trans_start(dev: u64) -> u64 {
    // SAFETY: the caller's device.
    queues(dev).map(|at| unsafe { netdev_queue::trans_start.get::<u64>(at) }).max().unwrap_or(0)
}
/// `int netif_set_real_num_tx_queues(struct net_device *, unsigned)`
extern "C" fn netif_set_real_num_tx_queues(dev: u64, count: u32) -> i32 {
    // SAFETY: the caller's device.
    unsafe {
        if count < 1 || count > net_device::num_tx_queues.get(dev) {
            return Errno::EINVAL.to_return();
        }
        net_device::real_num_tx_queues.set(dev, count);
    }
    0
}
extern "C" fn netif_set_real_num_rx_queues(dev: u64, count: u32) -> i32 {
    // SAFETY: the caller's device.
    unsafe {
        if count < 1 || count > net_device::num_rx_queues.get(dev) {
            return Errno::EINVAL.to_return();
        }
        net_device::real_num_rx_queues.set(dev, count);
    }
    0
}

/// What was received and waits for its soft interrupt.
static BACKLOG: Lock<Vec<u64>> = Lock::new(Vec::new());
/// The timer of that: an address no module has.
const RECEIVING: u64 = 0x6e65_7472;

/// Forgets what waits of devices that go.
pub(crate) fn forget(leaving: &[u64]) {
    let waiting = core::mem::take(&mut *BACKLOG.lock());
    for at in waiting {
        // SAFETY: a packet that waits.
        if leaving.contains(&unsafe { packet::dev.get::<u64>(at) }) {
            sk_buff::free(at);
        } else {
            BACKLOG.lock().push(at);
        }
    }
    for &dev in leaving {
        queues(dev).for_each(|at| _ = kernel().timers.cancel(at));
    }
}

/// `int netif_rx(struct sk_buff *)`
pub(crate) extern "C" fn netif_rx(at: u64) -> i32 {
    // SAFETY: the caller's packet and its device.
    let dev: u64 = unsafe { packet::dev.get(at) };
    if dev == 0 || !state::has(dev, STARTED) {
        if dev != 0 {
            allocate::count_dropped(dev, false);
        }
        sk_buff::free(at);
        return DROPPED;
    }
    BACKLOG.lock().push(at);
    kernel().timers.set(RECEIVING, kernel().platform.now(), |_| {
        let waiting = core::mem::take(&mut *BACKLOG.lock());
        tasks::in_softirq(|| waiting.into_iter().for_each(|at| _ = deliver(at)));
    });
    TAKEN
}
/// `int netif_receive_skb(struct sk_buff *)`
extern "C" fn netif_receive_skb(at: u64) -> i32 {
    deliver(at)
}

/// Gives a packet to whoever wants it.
pub(crate) fn deliver(mut at: u64) -> i32 {
    /// `RX_HANDLER_CONSUMED`, `RX_HANDLER_ANOTHER`; how often a packet may change its device.
    const CONSUMED: i32 = 0;
    const ANOTHER: i32 = 1;
    const MOST: u32 = 16;
    // SAFETY: the caller's packet, its device, and functions of who registered for packets.
    unsafe {
        for _ in 0..MOST {
            let dev: u64 = packet::dev.get(at);
            let header = (packet::data.get::<u64>(at) - packet::head.get::<u64>(at)) as u16;
            packet::network_header.set(at, header);
            packet::transport_header.set(at, header);
            for taker in packets::takers_of_all(dev) {
                sk_buff::hold(at);
                ram::call(packet_type::func.get(taker), [at, dev, taker, dev]);
            }
            let handler: u64 = net_device::rx_handler.get(dev);
            if handler == 0 {
                break;
            }
            let mut slot = [at];
            let answer = ram::call(handler, [slot.as_mut_ptr() as u64]) as i32;
            at = core::ptr::read_volatile(&slot[0]);
            match answer {
                CONSUMED => return TAKEN,
                ANOTHER => (),
                _ => break,
            }
        }
        let dev: u64 = packet::dev.get(at);
        let takers = packets::takers(packet::protocol.get(at), dev);
        let Some((last, others)) = takers.split_last() else {
            allocate::count_dropped(dev, false);
            sk_buff::free(at);
            return DROPPED;
        };
        for &taker in others {
            sk_buff::hold(at);
            ram::call(packet_type::func.get(taker), [at, dev, taker, dev]);
        }
        ram::call(packet_type::func.get(*last), [at, dev, *last, dev]) as i32
    }
}

/// The bytes of a packet's linear part, for who looks at them.
pub(crate) fn linear<'a>(at: u64) -> &'a [u8] {
    let whole = Packet(at);
    // SAFETY: the caller's packet.
    unsafe { ram::bytes(whole.data(), u64::from(whole.head_len())) }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __dev_queue_xmit, c netif_tx_wake_queue, c netif_schedule_queue, c netif_tx_stop_all_queues, c netif_tx_lock,
    c netif_tx_unlock, c dev_trans_start, c netif_set_real_num_tx_queues, c netif_set_real_num_rx_queues, c netif_rx,
    c __netif_rx = netif_rx, c netif_receive_skb, c netif_receive_skb_core = netif_receive_skb,
];
