//! The lock over the configuration of the network, and who answers messages about it.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, TaskId, kernel};

use super::{devices, sk_buff, state};
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::{deadlocks, locks, ram};

layout! {
    mod rtnl_msg_handler = "rtnl_msg_handler" { protocol, msgtype }
}

/// Taken by whoever says which parts of a connection programs may write, and that function.
static ACCESS_LOCK: Datum = Datum::new(
    "nf_conn_btf_access_lock",
    128,
    Begin::With(|at| {
        layout! { mod mutex = "mutex" { wait_list } }
        // SAFETY: `data::place` gives more zeros than the struct has.
        unsafe { locks::init_list(mutex::wait_list.at(at)) };
    }),
);
static ACCESS: Datum = Datum::new("nfct_btf_struct_access", 8, Begin::Zero);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&ACCESS_LOCK, &ACCESS];

/// Who holds the lock.
static HOLDER: Lock<Option<TaskId>> = Lock::new(None);
/// What waits for it: an address no module has.
const CHANNEL: u64 = 0x7274_6e6c;

/// Takes the lock for whoever called from `caller`.
pub(crate) fn lock(caller: u64) {
    while HOLDER.lock().is_some() {
        deadlocks::wait(CHANNEL, |_| *HOLDER.lock(), "mutex of the network", caller);
    }
    *HOLDER.lock() = Some(kernel().tasks.current());
}
/// Gives it back; devices that were unregistered under it are done with then.
pub(crate) fn unlock() {
    state::look_at_links();
    *HOLDER.lock() = None;
    kernel().tasks.wake_channel(CHANNEL, 1);
    devices::finish();
}
/// Does something with the lock held.
pub(crate) fn with<T>(caller: u64, body: impl FnOnce() -> T) -> T {
    lock(caller);
    let result = body();
    unlock();
    result
}

extern "C" fn rtnl_lock() {
    lock(ram::caller());
}
extern "C" fn rtnl_lock_killable() -> i32 {
    lock(ram::caller());
    0
}
extern "C" fn rtnl_trylock() -> i32 {
    let mut holder = HOLDER.lock();
    if holder.is_some() {
        return 0;
    }
    *holder = Some(kernel().tasks.current());
    1
}
extern "C" fn rtnl_unlock() {
    unlock();
}
/// Whether nobody holds it.
pub(crate) fn is_free() -> bool {
    HOLDER.lock().is_none()
}
extern "C" fn rtnl_is_locked() -> i32 {
    (!is_free()).into()
}

/// Message handlers: protocol and type in one number.
fn message_key(protocol: i32, kind: i32) -> u64 {
    (protocol as u64) << 32 | kind as u32 as u64
}
fn register_message(protocol: i32, kind: i32, caller: u64) -> i32 {
    // A handler may be replaced.
    let name = alloc::format!("{protocol}:{kind}");
    let _ = kernel().registrations.add("rtnl", message_key(protocol, kind), name, kernel().owner_of(caller));
    0
}
/// `int rtnl_register_module(struct module *, int protocol, int type, doit, dumpit, flags)`
extern "C" fn rtnl_register_module(_owner: u64, protocol: i32, kind: i32) -> i32 {
    register_message(protocol, kind, ram::caller())
}
extern "C" fn rtnl_register(protocol: i32, kind: i32) {
    register_message(protocol, kind, ram::caller());
}
/// `int __rtnl_register_many(const struct rtnl_msg_handler *, int count)`: all of them, or none.
extern "C" fn __rtnl_register_many(handlers: u64, count: i32) -> i32 {
    let caller = ram::caller();
    for index in 0..count.max(0) as u64 {
        let (protocol, kind) = handler(handlers, index);
        let result = register_message(protocol, kind, caller);
        if result != 0 {
            __rtnl_unregister_many(handlers, index as i32);
            return result;
        }
    }
    0
}
extern "C" fn __rtnl_unregister_many(handlers: u64, count: i32) {
    for index in (0..count.max(0) as u64).rev() {
        let (protocol, kind) = handler(handlers, index);
        rtnl_unregister(protocol, kind);
    }
}
/// Protocol and type of a handler in an array.
fn handler(handlers: u64, index: u64) -> (i32, i32) {
    let at = handlers + index * rtnl_msg_handler::SIZE.get();
    // SAFETY: the caller's array.
    unsafe { (rtnl_msg_handler::protocol.get(at), rtnl_msg_handler::msgtype.get(at)) }
}
extern "C" fn rtnl_unregister(protocol: i32, kind: i32) -> i32 {
    match kernel().registrations.remove("rtnl", message_key(protocol, kind)) {
        Some(_) => 0,
        None => Errno::ENOENT.to_return(),
    }
}
extern "C" fn rtnl_unregister_all(protocol: i32) {
    let all: Vec<u64> = kernel().registrations.of_kind("rtnl").into_iter().map(|one| one.key).collect();
    for key in all.into_iter().filter(|key| (key >> 32) as i32 == protocol) {
        kernel().registrations.remove("rtnl", key);
    }
}

/// `void rtnl_notify(struct sk_buff *, struct net *, u32 portid, u32 group, const struct nlmsghdr *, gfp_t)`: nobody listens to the
/// groups of this protocol.
extern "C" fn rtnl_notify(message: u64) {
    sk_buff::free(message);
}
/// `void rtnl_set_sk_err(struct net *, u32 group, int)`, `void wireless_nlevent_flush(void)`: as above.
extern "C" fn nobody_listens() {}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c rtnl_lock, c rtnl_lock_killable, c rtnl_trylock, c rtnl_unlock, c rtnl_is_locked, c rtnl_register_module, c rtnl_register,
    c rtnl_unregister, c __rtnl_register_many, c __rtnl_unregister_many, c rtnl_unregister_all, c rtnl_notify,
    k rtnl_set_sk_err = nobody_listens, k wireless_nlevent_flush = nobody_listens,
];
