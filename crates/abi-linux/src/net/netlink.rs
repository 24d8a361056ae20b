//! Netlink: messages between programs and the kernel. Here is the kernel's side; no program listens in a machine.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::attributes;
use super::sk_buff::{self, Packet};
use super::sockets::{self, sock};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{module, ram, tasks};

layout! {
    mod netlink_kernel_cfg = "netlink_kernel_cfg" { input }
    mod netlink_sock = "netlink_sock" { netlink_rcv, module }
    mod netlink_skb_parms = "netlink_skb_parms" { portid }
    mod nlmsghdr = "nlmsghdr" { nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq, nlmsg_pid }
    mod nlmsgerr = "nlmsgerr" { error, msg }
    mod netlink_dump_control = "netlink_dump_control" { start, dump, done, data, module }
    mod netlink_callback = "netlink_callback" { skb, nlh, dump, done, data, module }
    mod netlink_ext_ack = "netlink_ext_ack" { _msg }
    mod genl_family = "genl_family" { id, name, version, hdrsize, n_mcgrps, mcgrp_offset }
}

/// Length of a message's header, and alignment of messages.
const HEADER: u32 = 16;
const ALIGN: u32 = 4;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_MULTI`
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const MULTI: u16 = 2;
/// `NLMSG_ERROR`, `NLMSG_DONE`; smaller types than `NLMSG_MIN_TYPE` are for control.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const FIRST_TYPE: u16 = 16;
/// `MAX_LINKS`
const PROTOCOLS: u32 = 32;

/// Protocol and kernel socket.
static KERNEL: Lock<Vec<(u32, u64)>> = Lock::new(Vec::new());

fn socket_of(protocol: u32) -> Option<u64> {
    KERNEL.lock().iter().find(|(other, _)| *other == protocol).map(|&(_, socket)| socket)
}

/// `struct sock *__netlink_kernel_create(struct net *, int unit, struct module *, struct netlink_kernel_cfg *)`
extern "C" fn __netlink_kernel_create(net: u64, unit: u32, owner: u64, config: u64) -> u64 {
    let caller = ram::caller();
    if unit >= PROTOCOLS || socket_of(unit).is_some() {
        return 0;
    }
    /// `AF_NETLINK`
    const FAMILY: u16 = 16;
    let socket = sockets::allocate(netlink_sock::SIZE.get(), FAMILY, net, 0, caller);
    if socket == 0 {
        return 0;
    }
    // SAFETY: a socket of this size, and the module's configuration.
    unsafe {
        if config != 0 {
            netlink_sock::netlink_rcv.set(socket, netlink_kernel_cfg::input.get::<u64>(config));
        }
        netlink_sock::module.set(socket, owner);
        sock::sk_protocol.set(socket, unit as u16);
    }
    KERNEL.lock().push((unit, socket));
    // The socket is new.
    let _ = kernel().registrations.add("netlink", socket, alloc::format!("{unit}"), kernel().owner_of(caller));
    socket
}
/// `void netlink_kernel_release(struct sock *)`
extern "C" fn netlink_kernel_release(socket: u64) {
    if socket == 0 || Errno::from_pointer(socket).is_some() {
        return;
    }
    KERNEL.lock().retain(|&(_, other)| other != socket);
    kernel().registrations.remove("netlink", socket);
    sockets::put(socket);
}

/// Hands a message to the kernel's side of a protocol, as a program's `send` does.
fn deliver(socket: u64, packet: u64) -> i32 {
    // SAFETY: a kernel socket and its function.
    unsafe {
        let receive: u64 = netlink_sock::netlink_rcv.get(socket);
        if receive == 0 {
            sk_buff::free(packet);
            return Errno::ECONNREFUSED.to_return();
        }
        let length = Packet(packet).len();
        ram::call(receive, [packet]);
        sk_buff::free(packet);
        length as i32
    }
}

/// `int netlink_unicast(struct sock *, struct sk_buff *, u32 portid, int nonblock)`
extern "C" fn netlink_unicast(socket: u64, packet: u64, port: u32, _nonblock: i32) -> i32 {
    // SAFETY: the caller's socket.
    let protocol = u32::from(unsafe { sock::sk_protocol.get::<u16>(socket) });
    match socket_of(protocol).filter(|_| port == 0) {
        Some(kernel_side) => deliver(kernel_side, packet),
        None => {
            // Nobody has this port.
            sk_buff::free(packet);
            Errno::ECONNREFUSED.to_return()
        }
    }
}
/// `int netlink_broadcast(struct sock *, struct sk_buff *, u32 portid, u32 group, gfp_t)`: nobody has joined a group.
extern "C" fn netlink_broadcast(_socket: u64, packet: u64) -> i32 {
    sk_buff::free(packet);
    Errno::ESRCH.to_return()
}
extern "C" fn nlmsg_notify(socket: u64, packet: u64, port: u32, group: u32, report: i32) -> i32 {
    let _ = group;
    if report != 0 && port != 0 { netlink_unicast(socket, packet, port, 1) } else { netlink_broadcast(socket, packet) }
}
extern "C" fn netlink_has_listeners() -> i32 {
    0
}
extern "C" fn netlink_set_err() -> i32 {
    0
}
/// Everybody in a machine may do everything.
extern "C" fn netlink_capable() -> bool {
    true
}

/// `struct nlmsghdr *__nlmsg_put(struct sk_buff *, u32 portid, u32 seq, int type, int len, int flags)`
extern "C" fn __nlmsg_put(packet: u64, port: u32, sequence: u32, kind: i32, length: i32, flags: i32) -> u64 {
    message(packet, port, sequence, kind as u16, length.max(0) as u32, flags as u16, ram::caller())
}
fn message(packet: u64, port: u32, sequence: u32, kind: u16, length: u32, flags: u16, caller: u64) -> u64 {
    let size = HEADER + length;
    let whole = size.next_multiple_of(ALIGN);
    let at = sk_buff::put(packet, whole, caller);
    // SAFETY: the room just taken.
    unsafe {
        nlmsghdr::nlmsg_len.set(at, size);
        nlmsghdr::nlmsg_type.set(at, kind);
        nlmsghdr::nlmsg_flags.set(at, flags);
        nlmsghdr::nlmsg_seq.set(at, sequence);
        nlmsghdr::nlmsg_pid.set(at, port);
        ram::fill(at + u64::from(size), 0, u64::from(whole - size));
    }
    at
}

/// `void netlink_ack(struct sk_buff *in, struct nlmsghdr *, int err, const struct netlink_ext_ack *)`
extern "C" fn netlink_ack(packet: u64, header: u64, error: i32, extack: u64) {
    let caller = ram::caller();
    // SAFETY: the caller's message and packet.
    unsafe {
        let length: u32 = nlmsghdr::nlmsg_len.get(header);
        let text = if extack == 0 { Vec::new() } else { ram::c_string_or_empty(netlink_ext_ack::_msg.get(extack)) };
        let size = u64::from(HEADER) * 2 + 4 + u64::from(length) + text.len() as u64 + 16;
        let answer = sk_buff::allocate(size, 0, caller);
        if answer == 0 {
            return;
        }
        let port: u32 = netlink_skb_parms::portid.get(sk_buff::sk_buff::cb.at(packet));
        let quoted = if error != 0 { length } else { HEADER };
        let at =
            message(answer, port, nlmsghdr::nlmsg_seq.get(header), ERROR, 4 + quoted, 0, caller) + u64::from(HEADER);
        nlmsgerr::error.set(at, error);
        ram::copy(nlmsgerr::msg.at(at), header, quoted.into());
        if !text.is_empty() {
            /// `NLMSGERR_ATTR_MSG`
            const TEXT: i32 = 1;
            attributes::append(answer, TEXT, &[text.as_slice(), &[0]].concat(), caller);
        }
        let socket: u64 = sk_buff::sk_buff::sk.get(packet);
        if socket == 0 {
            sk_buff::free(answer);
        } else {
            netlink_unicast(socket, answer, port, 1);
        }
    }
}

/// `int netlink_rcv_skb(struct sk_buff *, int (*cb)(struct sk_buff *, struct nlmsghdr *, struct netlink_ext_ack *))`
extern "C" fn netlink_rcv_skb(at: u64, function: u64) -> i32 {
    let packet = Packet(at);
    while packet.len() >= HEADER {
        let header = packet.data();
        // SAFETY: the packet holds at least a header; the module's function.
        unsafe {
            let (length, kind, flags): (u32, u16, u16) =
                (nlmsghdr::nlmsg_len.get(header), nlmsghdr::nlmsg_type.get(header), nlmsghdr::nlmsg_flags.get(header));
            if length < HEADER || packet.len() < length {
                return 0;
            }
            let mut extack: Vec<u8> = alloc::vec![0; netlink_ext_ack::SIZE.get() as usize];
            let extack = extack.as_mut_ptr() as u64;
            let mut error = 0;
            if flags & REQUEST != 0 && kind >= FIRST_TYPE {
                error = ram::call(function, [at, header, extack]) as i32;
            }
            // The function has answered by itself, or will.
            if error != Errno::EINTR.to_return() && (flags & ACK != 0 || error != 0) {
                netlink_ack(at, header, error, extack);
            }
            let step = length.next_multiple_of(ALIGN).min(packet.len());
            sk_buff::skip(packet, step);
        }
    }
    0
}

/// `int __netlink_dump_start(struct sock *, struct sk_buff *, const struct nlmsghdr *, struct netlink_dump_control *)`: the
/// whole dump is made at once and sent, part by part.
extern "C" fn __netlink_dump_start(socket: u64, request: u64, header: u64, control: u64) -> i32 {
    let caller = ram::caller();
    let mut block: Vec<u8> = alloc::vec![0; netlink_callback::SIZE.get() as usize];
    let callback = block.as_mut_ptr() as u64;
    // SAFETY: the caller's request and control, their functions, and our own callback.
    unsafe {
        let owner = module::at(netlink_dump_control::module.get(control));
        if let Some(owner) = &owner
            && !owner.try_get()
        {
            return Errno::EPROTONOSUPPORT.to_return();
        }
        netlink_callback::skb.set(callback, request);
        netlink_callback::nlh.set(callback, header);
        for (from, to) in [
            (&netlink_dump_control::dump, &netlink_callback::dump),
            (&netlink_dump_control::done, &netlink_callback::done),
            (&netlink_dump_control::data, &netlink_callback::data),
            (&netlink_dump_control::module, &netlink_callback::module),
        ] {
            to.set(callback, from.get::<u64>(control));
        }
        let port: u32 = netlink_skb_parms::portid.get(sk_buff::sk_buff::cb.at(request));
        let sequence: u32 = nlmsghdr::nlmsg_seq.get(header);
        let start: u64 = netlink_dump_control::start.get(control);
        let mut result = if start == 0 { 0 } else { ram::call(start, [callback]) as i32 };
        let begun = result == 0;
        while result == 0 {
            let part = sk_buff::allocate(PART, 0, caller);
            if part == 0 {
                result = Errno::ENOMEM.to_return();
                break;
            }
            let length = ram::call(netlink_callback::dump.get(callback), [part, callback]) as i32;
            if length > 0 {
                netlink_unicast(socket, part, port, 1);
                continue;
            }
            let at = message(part, port, sequence, DONE, 4, MULTI, caller) + u64::from(HEADER);
            ram::put(at, length);
            netlink_unicast(socket, part, port, 1);
            result = Errno::EINTR.to_return();
        }
        let done: u64 = netlink_callback::done.get(callback);
        if begun && done != 0 {
            ram::call(done, [callback]);
        }
        if let Some(owner) = owner {
            owner.put();
        }
        result
    }
}
/// Bytes of one part of a dump (`NLMSG_GOODSIZE`, with room for its end).
const PART: u64 = 8192;

/// The families of generic netlink: number and `struct genl_family`.
static FAMILIES: Lock<Vec<(u32, u64)>> = Lock::new(Vec::new());
/// `GENL_START_ALLOC`
const FIRST_FAMILY: u32 = 0x13;
/// The first group after those with fixed numbers.
const FIRST_GROUP: u32 = 0x13;

/// Who has generic netlink's lock.
static LOCKED: Lock<bool> = Lock::new(false);

fn lock_channel() -> u64 {
    &raw const LOCKED as u64
}
extern "C" fn genl_lock() {
    let caller = ram::caller();
    while core::mem::replace(&mut *LOCKED.lock(), true) {
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(lock_channel()));
    }
}
extern "C" fn genl_unlock() {
    *LOCKED.lock() = false;
    kernel().tasks.wake_channel(lock_channel(), 1);
}

/// `int genl_register_family(struct genl_family *)`
extern "C" fn genl_register_family(family: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's family, and the registered ones.
    unsafe {
        let name_of = |family| ram::c_string(genl_family::name.at(family));
        let name = name_of(family);
        let others = FAMILIES.lock().clone();
        if others.iter().any(|&(_, other)| name_of(other) == name) {
            return Errno::EEXIST.to_return();
        }
        let id = (FIRST_FAMILY..0x3ff).find(|id| others.iter().all(|(other, _)| other != id));
        let Some(id) = id else { return Errno::ENOMEM.to_return() };
        genl_family::id.set(family, id);
        let groups = others.iter().map(|&(_, other)| {
            genl_family::mcgrp_offset.get::<u32>(other) + u32::from(genl_family::n_mcgrps.get::<u8>(other))
        });
        genl_family::mcgrp_offset.set(family, groups.max().unwrap_or(0).max(FIRST_GROUP));
        FAMILIES.lock().push((id, family));
        // It is not in the list, so it is not registered.
        let _ = kernel().registrations.add("genl_family", family, name, kernel().owner_of(caller));
    }
    0
}
extern "C" fn genl_unregister_family(family: u64) -> i32 {
    if kernel().registrations.remove("genl_family", family).is_none() {
        return Errno::ENOENT.to_return();
    }
    FAMILIES.lock().retain(|&(_, other)| other != family);
    0
}
/// `void *genlmsg_put(struct sk_buff *, u32 portid, u32 seq, const struct genl_family *, int flags, u8 cmd)`
extern "C" fn genlmsg_put(packet: u64, port: u32, sequence: u32, family: u64, flags: i32, command: u8) -> u64 {
    let caller = ram::caller();
    // SAFETY: the module's family, and the room just taken.
    unsafe {
        let own: u32 = genl_family::hdrsize.get(family);
        let id: u32 = genl_family::id.get(family);
        let at = message(packet, port, sequence, id as u16, 4 + own, flags as u16, caller) + u64::from(HEADER);
        ram::put(at, [command, genl_family::version.get::<u32>(family) as u8, 0, 0]);
        at + 4
    }
}
extern "C" fn genlmsg_multicast_allns(_family: u64, packet: u64) -> i32 {
    sk_buff::free(packet);
    Errno::ESRCH.to_return()
}
extern "C" fn genl_notify(_family: u64, packet: u64) {
    sk_buff::free(packet);
}
/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __netlink_kernel_create, c netlink_kernel_release, c netlink_unicast, c netlink_broadcast, c netlink_broadcast_filtered = netlink_broadcast, c nlmsg_notify,
    k netlink_has_listeners, k netlink_set_err, k netlink_capable, k netlink_ns_capable = netlink_capable,
    k netlink_net_capable = netlink_capable, k __netlink_ns_capable = netlink_capable, c __nlmsg_put, c netlink_ack,
    c netlink_rcv_skb, c __netlink_dump_start, c genl_register_family, c genl_unregister_family, c genl_lock, c genl_unlock, c genlmsg_put,
    c genlmsg_multicast_allns, c genl_notify,
];
