//! Sets that bios come from, and the lists that somebody collects them in.

use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod bio_set = "bio_set" { front_pad }
    mod plug = "blk_plug" { cb_list }
}

/// `int bioset_init(struct bio_set *, unsigned int pool_size, unsigned int front_pad, int flags)`: its bios come from the heap, with
/// room for their owner before them.
extern "C" fn bioset_init(set: u64, _kept: u32, room: u32) -> i32 {
    // SAFETY: the caller's set, which may be overwritten.
    unsafe {
        ram::fill(set, 0, bio_set::SIZE.get());
        bio_set::front_pad.set(set, room);
    }
    0
}
/// `void bioset_exit(struct bio_set *)`: there is nothing beside it.
extern "C" fn bioset_exit(set: u64) {
    // SAFETY: the caller's set.
    unsafe { ram::fill(set, 0, bio_set::SIZE.get()) };
}
/// `int bioset_integrity_create(struct bio_set *, int)`: bios carry no checksums of their own.
extern "C" fn no_integrity() -> i32 {
    0
}

/// `void blk_start_plug(struct blk_plug *)`: what is submitted goes on at once, so there is nothing to be collected.
extern "C" fn blk_start_plug(of: u64) {
    // SAFETY: the caller's list.
    unsafe {
        ram::fill(of, 0, plug::SIZE.get());
        crate::locks::init_list(plug::cb_list.at(of));
    }
}
/// `void blk_finish_plug(struct blk_plug *)`
extern "C" fn blk_finish_plug() {}

/// `struct cgroup_subsys_state *bio_blkcg_css(struct bio *)`: a bio belongs to no group.
extern "C" fn no_group() -> u64 {
    0
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c bioset_init, c bioset_exit, k bioset_integrity_create = no_integrity, c blk_start_plug, k blk_finish_plug,
    k bio_blkcg_css = no_group,
];
