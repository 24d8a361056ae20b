//! `init_net`, and operations that are carried out for every namespace: for the one there is.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use super::rtnl;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::vfs::proc;
use crate::{locks, ram, rcu, slab, waiting};

layout! {
    pub(crate) mod net = "net" {
        passive, list, exit_list, dev_base_head, proc_net, proc_net_stat, dev_name_head, dev_index_head, rules_ops, gen_ = "gen",
        ns_count = "ns.count", ns_number = "ns.inum",
        net_cookie,
    }
    mod pernet_operations = "pernet_operations" { init, pre_exit, exit, exit_batch, exit_batch_rtnl, id, size }
}

/// Room for a `struct net` of any kernel.
const ROOM: u64 = 16 << 10;
/// Pointers that `net_generic` can hand out; the first ones lie under its header.
const GENERIC: u64 = 512;
const FIRST_ID: u32 = 3;
/// `NETDEV_HASHENTRIES`
const HASH: u64 = 256;

static INIT_NET: Datum = Datum::new("init_net", ROOM, Begin::With(begin));
static NAMESPACES: Datum = Datum::new(
    "net_namespace_list",
    16,
    Begin::With(|at| {
        // SAFETY: `data::place` gives 16 writable bytes; `init_net` has its address.
        unsafe {
            locks::init_list(at);
            locks::init_list(net::list.at(INIT_NET.address()));
            waiting::link_last(net::list.at(INIT_NET.address()), at);
        }
    }),
);

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&INIT_NET, &NAMESPACES, &OPERATIONS_LOCK, &LIST_LOCK];

/// Taken by whoever walks the operations of all namespaces.
static OPERATIONS_LOCK: Datum = Datum::new("pernet_ops_rwsem", 256, Begin::With(begin_semaphore));
/// Guards the list of namespaces; whoever walks it takes it.
static LIST_LOCK: Datum = Datum::new("net_rwsem", 256, Begin::With(begin_semaphore));

fn begin_semaphore(at: u64) {
    layout! { mod rw_semaphore = "rw_semaphore" { wait_list } }
    // SAFETY: `data::place` gives more zeros than the struct has.
    unsafe { locks::init_list(rw_semaphore::wait_list.at(at)) };
}

/// The address of `init_net`.
pub(crate) fn init_net() -> u64 {
    INIT_NET.address()
}

fn begin(at: u64) {
    let lists = [&net::list, &net::exit_list, &net::dev_base_head, &net::rules_ops];
    // SAFETY: `data::place` gives `ROOM` writable bytes of zeros.
    unsafe {
        for list in lists {
            locks::init_list(list.at(at));
        }
        net::passive.set(at, 1u32);
        net::ns_count.set(at, 1u32);
        // `PROC_NET_INIT_INO`'s neighbour: the first number of a dynamic namespace.
        net::ns_number.set(at, 0xf000_0098u32);
        net::net_cookie.set(at, 1u64);
        let array = |count: u64| slab::allocate(8 * count, 8, slab::ZERO, 0);
        net::dev_name_head.set(at, array(HASH));
        net::dev_index_head.set(at, array(HASH));
        net::gen_.set(at, array(GENERIC));
        net::proc_net.set(at, proc::own_directory("/proc/net"));
        net::proc_net_stat.set(at, proc::own_directory("/proc/net/stat"));
    }
}

/// Operations that are registered, with the number and memory given to them.
#[derive(Clone, Copy, Debug)]
struct Registered {
    ops: u64,
    id: u32,
    memory: u64,
}

static OPERATIONS: Lock<Vec<Registered>> = Lock::new(Vec::new());

fn generic_slot(id: u32) -> u64 {
    // SAFETY: `init_net` has its array.
    unsafe { net::gen_.get::<u64>(init_net()) + 8 * u64::from(id) }
}

/// Registers operations and carries them out for the one namespace.
///
/// # Errors
/// `ENOSPC` without a number to give, `ENOMEM`, or what `init` answers.
pub(crate) fn register(ops: u64, caller: u64) -> Result<(), Errno> {
    // SAFETY: the module's operations, their functions, and the number they want to be told.
    unsafe {
        let (number_at, size): (u64, u64) = (pernet_operations::id.get(ops), pernet_operations::size.get(ops));
        let mut registered = Registered { ops, id: 0, memory: 0 };
        if number_at != 0 {
            let taken: Vec<u32> = OPERATIONS.lock().iter().map(|other| other.id).collect();
            let id = (FIRST_ID..GENERIC as u32).find(|id| !taken.contains(id)).ok_or(Errno::ENOSPC)?;
            registered.id = id;
            ram::put(number_at, id);
            if size != 0 {
                registered.memory = slab::allocate(size, 8, slab::ZERO, caller);
                if registered.memory == 0 {
                    return Err(Errno::ENOMEM);
                }
            }
            ram::put(generic_slot(id), registered.memory);
        }
        OPERATIONS.lock().push(registered);
        let init: u64 = pernet_operations::init.get(ops);
        let result = if init == 0 { 0 } else { ram::call(init, [init_net()]) as i32 };
        if let Some(errno) = Errno::from_return(result.into()) {
            forget(ops);
            return Err(errno);
        }
    }
    let name = kernel().symbolise(ops);
    // It was not registered, or the module's own bug shows in the list.
    let _ = kernel().registrations.add("pernet", ops, name, kernel().owner_of(caller));
    Ok(())
}

fn forget(ops: u64) -> bool {
    let found = {
        let mut all = OPERATIONS.lock();
        all.iter().rposition(|other| other.ops == ops).map(|place| all.remove(place))
    };
    let Some(found) = found else { return false };
    if found.id != 0 {
        // SAFETY: the array has this many slots.
        unsafe { ram::put(generic_slot(found.id), 0u64) };
    }
    slab::release(found.memory, 0);
    true
}

/// Takes operations back, carrying out their end.
pub(crate) fn unregister(ops: u64) {
    if !OPERATIONS.lock().iter().any(|other| other.ops == ops) {
        return;
    }
    // SAFETY: the module's operations and their functions; the list of namespaces that go holds the only one.
    unsafe {
        let function = |field: &crate::field::Field| if field.offset().is_some() { field.get::<u64>(ops) } else { 0 };
        let space = init_net();
        let pre_exit = function(&pernet_operations::pre_exit);
        if pre_exit != 0 {
            ram::call(pre_exit, [space]);
        }
        let exit = function(&pernet_operations::exit);
        if exit != 0 {
            ram::call(exit, [space]);
        }
        for batch in [&pernet_operations::exit_batch_rtnl, &pernet_operations::exit_batch] {
            let exit = function(batch);
            if exit != 0 {
                // The namespaces that go, and the devices that go with them.
                let mut lists = [0u64; 4];
                let (spaces, devices) = (lists.as_mut_ptr() as u64, lists.as_mut_ptr() as u64 + 16);
                locks::init_list(spaces);
                locks::init_list(devices);
                waiting::link_last(net::exit_list.at(space), spaces);
                if core::ptr::eq(batch, &raw const pernet_operations::exit_batch_rtnl) {
                    // The devices that it puts into the second list are unregistered under the same lock.
                    rtnl::with(0, || {
                        ram::call(exit, [spaces, devices]);
                        super::devices::unregister_list(devices, 0);
                    });
                } else {
                    ram::call(exit, [spaces]);
                }
                waiting::unlink(net::exit_list.at(space));
            }
        }
    }
    // What was to be freed after it has readers may hold the operations' memory.
    rcu::barrier();
    forget(ops);
    kernel().registrations.remove("pernet", ops);
}

extern "C" fn register_pernet_subsys(ops: u64) -> i32 {
    let caller = ram::caller();
    Errno::returned(register(ops, caller))
}
extern "C" fn unregister_pernet_subsys(ops: u64) {
    unregister(ops);
}

/// `void __put_net(struct net *)`: the one namespace never goes.
extern "C" fn __put_net() {}
/// `void net_ns_barrier(void)`: no namespace is being made or taken away.
extern "C" fn net_ns_barrier() {}
extern "C" fn get_net_ns_by_fd() -> u64 {
    Errno::EINVAL.to_pointer()
}
extern "C" fn get_net_ns_by_pid() -> u64 {
    Errno::ESRCH.to_pointer()
}
extern "C" fn peernet2id() -> i32 {
    -1
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c register_pernet_subsys, c unregister_pernet_subsys, c register_pernet_device = register_pernet_subsys,
    c unregister_pernet_device = unregister_pernet_subsys, k __put_net, k net_ns_barrier, k get_net_ns_by_fd, k get_net_ns_by_pid,
    k peernet2id, k peernet2id_alloc = peernet2id,
];
