//! Queues of fragments that wait to be put together.

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{ram, slab};

layout! {
    mod inet_frags = "inet_frags" { frags_cache_name, refcnt }
    mod fqdir = "fqdir" { f, net, high_thresh, dead }
}

/// `int inet_frags_init(struct inet_frags *)`
extern "C" fn inet_frags_init(frags: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's description.
    let name = unsafe {
        inet_frags::refcnt.set(frags, 1u32);
        ram::c_string_or_empty(inet_frags::frags_cache_name.get(frags))
    };
    Errno::returned(kernel().registrations.add("inet_frags", frags, name, kernel().owner_of(caller)))
}
extern "C" fn inet_frags_fini(frags: u64) {
    kernel().registrations.remove("inet_frags", frags);
}
/// `int fqdir_init(struct fqdir **, struct inet_frags *, struct net *)`
extern "C" fn fqdir_init(result: u64, frags: u64, net: u64) -> i32 {
    let caller = ram::caller();
    let made = slab::allocate(fqdir::SIZE.get(), 64, slab::ZERO, caller);
    if made == 0 {
        return Errno::ENOMEM.to_return();
    }
    // SAFETY: a zeroed block of the struct's size, and the module's pointer.
    unsafe {
        fqdir::f.set(made, frags);
        fqdir::net.set(made, net);
        ram::put(result, made);
    }
    0
}
/// `void fqdir_pre_exit(struct fqdir *)`: no fragment is taken any more.
extern "C" fn fqdir_pre_exit(made: u64) {
    // SAFETY: the module's queue.
    unsafe {
        fqdir::high_thresh.set(made, 0u64);
        fqdir::dead.set(made, 1u8);
    }
}
/// `void fqdir_exit(struct fqdir *)`: no fragment is in it.
extern "C" fn fqdir_exit(made: u64) {
    slab::release(made, 0);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c inet_frags_init, c inet_frags_fini, c fqdir_init, c fqdir_pre_exit, c fqdir_exit];
