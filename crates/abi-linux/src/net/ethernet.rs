//! Ethernet headers (IEEE 802.3), and the one device that every kernel has, `lo`, whose packets have them.

use super::layout::{net_device, net_device_ops, net_fields};
use super::namespace::init_net;
use super::sk_buff::{self, Packet};
use super::{allocate, devices, rtnl, stats, transmit};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{percpu, ram, symbols};

layout! {
    mod header_ops = "header_ops" { create, parse }
    mod packet = "sk_buff" { dev, protocol, pkt_type, head, data, mac_header }
    mod pcpu_lstats = "pcpu_lstats" { packets, bytes }
}

/// Bytes of a header, and of an address in it.
const HEADER: u32 = 14;
const ADDRESS: u64 = 6;
/// Room for a table of functions of any kernel.
const TABLE: u64 = 1024;

static HEADERS: Datum = Datum::new(
    "eth_header_ops",
    TABLE,
    Begin::With(|at| {
        // SAFETY: `data::place` gives so many writable bytes.
        unsafe {
            header_ops::create.set(at, symbols::address("eth_header").unwrap_or(0));
            header_ops::parse.set(at, symbols::address("eth_header_parse").unwrap_or(0));
        }
    }),
);
static LOOPBACK: Datum = Datum::new(
    "loopback_ops",
    TABLE,
    Begin::With(|at| {
        // SAFETY: as above.
        unsafe {
            net_device_ops::ndo_start_xmit.set(at, symbols::address("loopback_xmit").unwrap_or(0));
            net_device_ops::ndo_get_stats64.set(at, symbols::address("loopback_get_stats64").unwrap_or(0));
            net_device_ops::ndo_set_mac_address.set(at, symbols::address("eth_mac_addr").unwrap_or(0));
        }
    }),
);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&HEADERS, &LOOPBACK];

/// The operations of Ethernet headers.
pub(crate) fn header_operations() -> u64 {
    HEADERS.address()
}

/// `__be16 eth_type_trans(struct sk_buff *, struct net_device *)`: takes the header off; the protocol.
extern "C" fn eth_type_trans(at: u64, dev: u64) -> u16 {
    /// `ETH_P_802_3_MIN`, `ETH_P_802_3`, `ETH_P_802_2`
    const LEAST: u16 = 0x600;
    const RAW: u16 = 1;
    const LLC: u16 = 4;
    /// `PACKET_BROADCAST`, `PACKET_MULTICAST`, `PACKET_OTHERHOST`; the bits of `pkt_type`.
    const BROADCAST: u8 = 1;
    const MULTICAST: u8 = 2;
    const OTHER: u8 = 3;
    const KIND: u8 = 7;
    // SAFETY: the caller's packet and device.
    unsafe {
        packet::dev.set(at, dev);
        let header = packet::data.get::<u64>(at) - packet::head.get::<u64>(at);
        packet::mac_header.set(at, header as u16);
        let bytes = transmit::linear(at);
        let Some((ethernet, rest)) = bytes.split_at_checked(HEADER as usize) else { return LLC.to_be() };
        let to = &ethernet[..6];
        let kind = if to[0] & 1 != 0 {
            if to == ram::bytes(net_device::broadcast.at(dev), ADDRESS) { BROADCAST } else { MULTICAST }
        } else if to != ram::bytes(net_device::dev_addr.get(dev), ADDRESS) {
            OTHER
        } else {
            0
        };
        let protocol = u16::from_be_bytes([ethernet[12], ethernet[13]]);
        let protocol = match protocol {
            LEAST.. => protocol,
            _ if rest.starts_with(&[0xff, 0xff]) => RAW,
            _ => LLC,
        };
        let byte = packet::pkt_type.at(at);
        ram::put(byte, ram::get::<u8>(byte) & !KIND | kind);
        sk_buff::skip(Packet(at), HEADER);
        protocol.to_be()
    }
}
/// `int eth_header(struct sk_buff *, struct net_device *, unsigned short type, const void *to, const void *from, unsigned len)`
extern "C" fn eth_header(at: u64, dev: u64, kind: u16, to: u64, from: u64, length: u32) -> i32 {
    /// `ETH_P_802_3`, `ETH_P_802_2`; `IFF_LOOPBACK | IFF_NOARP`
    const WITH_LENGTH: [u16; 2] = [1, 4];
    const NO_NEIGHBOURS: u32 = 1 << 3 | 1 << 7;
    let header = sk_buff::skb_push(at, HEADER);
    // SAFETY: the header just made, the caller's device and addresses.
    unsafe {
        let word = if WITH_LENGTH.contains(&kind) { length as u16 } else { kind };
        ram::put(header + 2 * ADDRESS, word.to_be());
        ram::copy(header + ADDRESS, if from == 0 { net_device::dev_addr.get(dev) } else { from }, ADDRESS);
        if to != 0 {
            ram::copy(header, to, ADDRESS);
        } else if net_device::flags.get::<u32>(dev) & NO_NEIGHBOURS != 0 {
            ram::fill(header, 0, ADDRESS);
        } else {
            return -(HEADER as i32);
        }
    }
    HEADER as i32
}
/// `int eth_header_parse(const struct sk_buff *, unsigned char *)`: who sent it.
extern "C" fn eth_header_parse(at: u64, out: u64) -> i32 {
    // SAFETY: the caller's packet with a header, and its room.
    unsafe {
        let header = packet::head.get::<u64>(at) + u64::from(packet::mac_header.get::<u16>(at));
        ram::copy(out, header + ADDRESS, ADDRESS);
    }
    ADDRESS as i32
}

/// What is sent through `lo` is received there.
extern "C" fn loopback_xmit(at: u64, dev: u64) -> i32 {
    let length = Packet(at).len();
    sk_buff::orphan(at);
    let protocol = eth_type_trans(at, dev);
    // SAFETY: the caller's packet; the device's counters.
    unsafe {
        packet::protocol.set(at, protocol);
        if transmit::netif_rx(at) == 0
            && let Some(area) = percpu::each(net_device::lstats.get(dev)).next()
        {
            pcpu_lstats::packets.set(area, pcpu_lstats::packets.get::<u64>(area) + 1);
            pcpu_lstats::bytes.set(area, pcpu_lstats::bytes.get::<u64>(area) + u64::from(length));
        }
    }
    0
}
extern "C" fn loopback_get_stats64(dev: u64, out: u64) {
    stats::of_loopback(dev, out);
}

/// Makes and registers `lo`.
pub(crate) fn begin() {
    /// `NET_NAME_PREDICTABLE`, `ARPHRD_LOOPBACK`, `IFF_LOOPBACK`, `IFF_LIVE_ADDR_CHANGE`
    const PREDICTABLE: u8 = 2;
    const KIND: u16 = 772;
    const FLAGS: u32 = 1 << 3;
    const CHANGES_ADDRESS: u32 = 1 << 15;
    const MTU: u32 = 64 << 10;
    let dev = allocate::make(0, b"lo", PREDICTABLE, 1, 1, 0);
    if dev == 0 {
        return;
    }
    // SAFETY: a device of `make`.
    unsafe {
        net_device::mtu.set(dev, MTU);
        net_device::hard_header_len.set(dev, HEADER as u16);
        net_device::min_header_len.set(dev, HEADER as u8);
        net_device::addr_len.set(dev, ADDRESS as u8);
        net_device::type_.set(dev, KIND);
        net_device::flags.set(dev, FLAGS);
        net_device::priv_flags.set(dev, net_device::priv_flags.get::<u32>(dev) | CHANGES_ADDRESS);
        net_device::header_ops.set(dev, header_operations());
        net_device::netdev_ops.set(dev, LOOPBACK.address());
        net_device::lstats.set(dev, percpu::allocate(pcpu_lstats::SIZE.get(), 8, 0));
        allocate::set_up(dev, 0);
        if rtnl::with(0, || devices::register(dev, 0)).is_ok() {
            net_fields::loopback_dev.set(init_net(), dev);
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c eth_type_trans, c eth_header, c eth_header_parse, c loopback_xmit, c loopback_get_stats64];
