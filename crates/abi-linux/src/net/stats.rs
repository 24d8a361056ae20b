//! What a device has counted.

use ferrmod_kernel::Errno;

use super::layout::{net_device, net_device_ops};
use super::state;
use crate::export::{Export, exports};
use crate::field::{Size, layout};
use crate::{percpu, ram};

layout! {
    mod pcpu_lstats = "pcpu_lstats" { packets, bytes }
    mod pcpu_sw_netstats = "pcpu_sw_netstats" { rx_packets, rx_bytes, tx_packets, tx_bytes }
    mod core_stats = "net_device_core_stats" { rx_dropped, tx_dropped, rx_nohandler }
}

static DSTATS_SIZE: Size = Size::new("pcpu_dstats");
static LINK_STATS: Size = Size::new("rtnl_link_stats64");
static OLD_STATS: Size = Size::new("net_device_stats");

/// The counters of `struct rtnl_link_stats64` (`include/uapi/linux/if_link.h`), in its order, which `struct net_device_stats` shares.
pub(crate) const NAMES: [&str; 24] = [
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
    "multicast",
    "collisions",
    "rx_length_errors",
    "rx_over_errors",
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
    "tx_aborted_errors",
    "tx_carrier_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_window_errors",
    "rx_compressed",
    "tx_compressed",
    "rx_nohandler",
];
const RX_PACKETS: usize = 0;
const TX_PACKETS: usize = 1;
const RX_BYTES: usize = 2;
const TX_BYTES: usize = 3;
const RX_DROPPED: usize = 6;
const TX_DROPPED: usize = 7;
const RX_NOHANDLER: usize = 23;
/// More than the struct of any kernel.
const WORDS: usize = 64;

/// A device's counters, in the order of [`NAMES`].
pub(crate) fn of(dev: u64) -> [u64; NAMES.len()] {
    let mut block = [0u64; WORDS];
    let at = block.as_mut_ptr() as u64;
    fill(dev, at);
    core::array::from_fn(|place| block[place])
}

/// Fills a `struct rtnl_link_stats64` in (`dev_get_stats`).
fn fill(dev: u64, at: u64) {
    // SAFETY: the caller's device and a struct of this kernel's size.
    unsafe {
        let size = LINK_STATS.get();
        ram::fill(at, 0, size);
        if state::operate(dev, &net_device_ops::ndo_get_stats64, [dev, at]).is_some() {
            // The driver has filled it in.
        } else {
            let own = match state::operate_for_pointer(dev, &net_device_ops::ndo_get_stats, [dev]) {
                Some(own) if own != 0 => own,
                _ => net_device::stats.at(dev),
            };
            ram::copy(at, own, OLD_STATS.get().min(size));
            if kind(dev) == Some(TSTATS) {
                add_tstats(at, net_device::lstats.get(dev));
            }
        }
        let add = |place: usize, by: u64| {
            let word = at + 8 * place as u64;
            ram::put(word, ram::get::<u64>(word) + by);
        };
        let cores: u64 = if net_device::core_stats.offset().is_some() { net_device::core_stats.get(dev) } else { 0 };
        if cores != 0 {
            for area in percpu::each(cores) {
                add(RX_DROPPED, core_stats::rx_dropped.get(area));
                add(TX_DROPPED, core_stats::tx_dropped.get(area));
                add(RX_NOHANDLER, core_stats::rx_nohandler.get(area));
            }
        }
    }
}

/// Adds the counters of a tunnel, of which each CPU has its own.
fn add_tstats(at: u64, counters: u64) {
    let fields = [
        (RX_PACKETS, &pcpu_sw_netstats::rx_packets),
        (RX_BYTES, &pcpu_sw_netstats::rx_bytes),
        (TX_PACKETS, &pcpu_sw_netstats::tx_packets),
        (TX_BYTES, &pcpu_sw_netstats::tx_bytes),
    ];
    if counters == 0 {
        return;
    }
    for area in percpu::each(counters) {
        for (place, field) in fields {
            // SAFETY: the driver's counters, and a struct of the kernel's size.
            unsafe {
                let word = at + 8 * place as u64;
                ram::put(word, ram::get::<u64>(word) + field.get::<u64>(area));
            }
        }
    }
}

/// `NETDEV_PCPU_STAT_LSTATS`, `…_TSTATS`, `…_DSTATS`: what the kernel keeps for the driver, where it can be asked to.
const LSTATS: u8 = 1;
const TSTATS: u8 = 2;
const DSTATS: u8 = 3;

fn kind(dev: u64) -> Option<u8> {
    net_device::pcpu_stat_type.offset()?;
    // SAFETY: the caller's device; a bit field of 8 bits, or a byte.
    Some(unsafe { ram::get::<u8>(net_device::pcpu_stat_type.at(dev)) }).filter(|&kind| kind != 0)
}

/// Makes the counters that a driver wants the kernel to keep.
///
/// # Errors
/// `EINVAL` for an unknown kind, `ENOMEM`.
pub(crate) fn allocate(dev: u64, caller: u64) -> Result<(), Errno> {
    let size = match kind(dev) {
        None => return Ok(()),
        Some(LSTATS) => pcpu_lstats::SIZE.get(),
        Some(TSTATS) => pcpu_sw_netstats::SIZE.get(),
        Some(DSTATS) => DSTATS_SIZE.get(),
        Some(_) => return Err(Errno::EINVAL),
    };
    let made = percpu::allocate(size, 8, caller);
    if made == 0 {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the caller's device.
    unsafe { net_device::lstats.set(dev, made) };
    Ok(())
}
/// Gives them back.
pub(crate) fn free(dev: u64) {
    if kind(dev).is_some() {
        // SAFETY: the caller's device.
        unsafe {
            percpu::release(net_device::lstats.get(dev), 0);
            net_device::lstats.set(dev, 0u64);
        }
    }
}

/// `struct rtnl_link_stats64 *dev_get_stats(struct net_device *, struct rtnl_link_stats64 *)`
extern "C" fn dev_get_stats(dev: u64, at: u64) -> u64 {
    fill(dev, at);
    at
}
/// `void netdev_stats_to_stats64(struct rtnl_link_stats64 *, const struct net_device_stats *)`
extern "C" fn netdev_stats_to_stats64(at: u64, from: u64) {
    // SAFETY: the caller's structs.
    unsafe {
        ram::fill(at, 0, LINK_STATS.get());
        ram::copy(at, from, OLD_STATS.get().min(LINK_STATS.get()));
    }
}
/// `void dev_fetch_sw_netstats(struct rtnl_link_stats64 *, const struct pcpu_sw_netstats __percpu *)`
extern "C" fn dev_fetch_sw_netstats(at: u64, counters: u64) {
    add_tstats(at, counters);
}
/// `void dev_get_tstats64(struct net_device *, struct rtnl_link_stats64 *)`
extern "C" fn dev_get_tstats64(dev: u64, at: u64) {
    netdev_stats_to_stats64(at, net_device::stats.at(dev));
    // SAFETY: the caller's device.
    add_tstats(at, unsafe { net_device::lstats.get(dev) });
}
/// What `lo` has counted: each packet was sent and received.
pub(crate) fn of_loopback(dev: u64, at: u64) {
    let mut counted = [0u64; 2];
    let words = counted.as_mut_ptr() as u64;
    dev_lstats_read(dev, words, words + 8);
    for (place, from) in [(RX_PACKETS, words), (TX_PACKETS, words), (RX_BYTES, words + 8), (TX_BYTES, words + 8)] {
        // SAFETY: a struct of the kernel's size, and our own words.
        unsafe { ram::put(at + 8 * place as u64, ram::get::<u64>(from)) };
    }
}
/// `void dev_lstats_read(struct net_device *, u64 *packets, u64 *bytes)`
extern "C" fn dev_lstats_read(dev: u64, packets: u64, bytes: u64) {
    // SAFETY: the caller's device, its counters and variables.
    unsafe {
        let counters: u64 = net_device::lstats.get(dev);
        let sum = |field: &crate::field::Field| match counters {
            0 => 0,
            counters => percpu::each(counters).fold(0, |sum, area| sum + field.get::<u64>(area)),
        };
        ram::put(packets, sum(&pcpu_lstats::packets));
        ram::put(bytes, sum(&pcpu_lstats::bytes));
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c dev_get_stats, c netdev_stats_to_stats64, c dev_fetch_sw_netstats, c dev_get_tstats64, c dev_lstats_read,
];
