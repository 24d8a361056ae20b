//! Who takes which packets.

use alloc::vec::Vec;

use ferrmod_kernel::kernel;
use ferrmod_kernel::lock::Lock;

use super::sk_buff;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{locks, ram, waiting};

layout! {
    mod packet_type = "packet_type" { type_ = "type", list, dev, func }
    mod packet_offload = "packet_offload" { type_ = "type", list }
}

/// The takers, newest first.
static TYPES: Lock<Vec<u64>> = Lock::new(Vec::new());

/// `ETH_P_ALL`
const EVERYTHING: u16 = 3;

fn taking(wanted: u16, dev: u64) -> Vec<u64> {
    let all = TYPES.lock().clone();
    // SAFETY: takers that modules have registered.
    let fits = |taker: &u64| unsafe {
        let of: u64 = packet_type::dev.get(*taker);
        packet_type::type_.get::<u16>(*taker) == wanted && (of == 0 || of == dev)
    };
    all.into_iter().filter(fits).collect()
}
/// Who takes packets of a protocol (in network byte order) from a device.
pub(crate) fn takers(protocol: u16, dev: u64) -> Vec<u64> {
    if u16::from_be(protocol) == EVERYTHING { Vec::new() } else { taking(protocol, dev) }
}
/// Who takes every packet from a device.
pub(crate) fn takers_of_all(dev: u64) -> Vec<u64> {
    taking(EVERYTHING.to_be(), dev)
}
/// Shows a packet that is about to be sent to those who take every packet (`dev_queue_xmit_nit`).
pub(crate) fn tap(at: u64, dev: u64) {
    for taker in takers_of_all(dev) {
        let copy = sk_buff::duplicate(at);
        if copy == 0 {
            return;
        }
        // SAFETY: the function of a registered taker, and a packet that is its own.
        unsafe { ram::call(packet_type::func.get(taker), [copy, dev, taker, dev]) };
    }
}

fn protocol(number: u16) -> alloc::string::String {
    alloc::format!("{:#06x}", u16::from_be(number))
}

/// `void dev_add_pack(struct packet_type *)`
extern "C" fn dev_add_pack(taker: u64) {
    let caller = ram::caller();
    TYPES.lock().insert(0, taker);
    // SAFETY: the module's taker.
    let number: u16 = unsafe {
        locks::init_list(packet_type::list.at(taker));
        packet_type::type_.get(taker)
    };
    // Adding one twice is a bug of the module's that the list shows.
    let _ = kernel().registrations.add("packet_type", taker, protocol(number), kernel().owner_of(caller));
}
extern "C" fn __dev_remove_pack(taker: u64) {
    let known = {
        let mut all = TYPES.lock();
        let place = all.iter().position(|&other| other == taker);
        place.map(|place| all.remove(place)).is_some()
    };
    if known {
        kernel().registrations.remove("packet_type", taker);
    } else {
        kernel().printk(alloc::format!("\x014dev_remove_pack: {taker:#x} not found\n").as_bytes());
    }
}

extern "C" fn dev_add_offload(offload: u64) {
    let caller = ram::caller();
    // SAFETY: the module's offload.
    let number: u16 = unsafe {
        locks::init_list(packet_offload::list.at(offload));
        packet_offload::type_.get(offload)
    };
    // As for takers.
    let _ = kernel().registrations.add("packet_offload", offload, protocol(number), kernel().owner_of(caller));
}
extern "C" fn dev_remove_offload(offload: u64) {
    kernel().registrations.remove("packet_offload", offload);
    // SAFETY: it was initialised when it was added.
    unsafe { waiting::unlink(packet_offload::list.at(offload)) };
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c dev_add_pack, c dev_remove_pack = __dev_remove_pack, c __dev_remove_pack, c dev_add_offload, c dev_remove_offload,
];
