//! What parts of a packet's headers a module wants to know.

use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod flow_dissector = "flow_dissector" { used_keys, offset }
    mod key = "flow_dissector_key" { key_id, offset }
}

/// `void skb_flow_dissector_init(struct flow_dissector *, const struct flow_dissector_key *, unsigned count)`: which keys there are, and
/// where each is to be put.
extern "C" fn skb_flow_dissector_init(dissector: u64, keys: u64, count: u32) {
    // SAFETY: the caller's struct and array. The set of keys has 32 bits in older kernels and 64 in newer ones, before the offsets.
    unsafe {
        let size = flow_dissector::SIZE.get();
        ram::fill(dissector, 0, size);
        for number in 0..u64::from(count) {
            let at = keys + number * key::SIZE.get();
            let (id, to): (u32, u64) = (key::key_id.get(at), key::offset.get(at));
            let place = flow_dissector::offset.at(dissector) + 2 * u64::from(id);
            if place + 2 > dissector + size {
                continue;
            }
            let byte = flow_dissector::used_keys.at(dissector) + u64::from(id / 8);
            ram::put(byte, ram::get::<u8>(byte) | 1 << (id % 8));
            ram::put(place, to as u16);
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c skb_flow_dissector_init];
