//! What drivers of network cards share for `ethtool`.

use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod speed_map = "ethtool_forced_speed_map" { caps, cap_arr, arr_size }
}

/// `void ethtool_forced_speed_maps_init(struct ethtool_forced_speed_map *maps, u32 size)` (`include/linux/ethtool.h`): the link modes that
/// each speed lists become bits, and the lists are let go, because they are `__initconst`.
extern "C" fn ethtool_forced_speed_maps_init(maps: u64, count: u32) {
    for number in 0..u64::from(count) {
        let map = maps + number * speed_map::SIZE.get();
        // SAFETY: the module's array of maps, each with a list of so many modes.
        unsafe {
            let list: u64 = speed_map::cap_arr.get(map);
            let bits = speed_map::caps.at(map);
            for at in 0..u64::from(speed_map::arr_size.get::<u32>(map)) {
                let mode = u64::from(ram::get::<u32>(list + 4 * at));
                let word = bits + mode / 64 * 8;
                ram::put(word, ram::get::<u64>(word) | 1 << (mode % 64));
            }
            speed_map::cap_arr.set(map, 0u64);
            speed_map::arr_size.set(map, 0u32);
        }
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![c ethtool_forced_speed_maps_init];
