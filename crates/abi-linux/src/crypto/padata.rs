//! `padata`: work on objects in parallel, then finish them in the order they came. With one CPU the work is done by a work queue.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::work::QueueId;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use super::function;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::locks::init_list;
use crate::{ram, slab};

layout! {
    mod padata_instance = "padata_instance" { pslist, kobj }
    mod padata_shell = "padata_shell" { pinst, list }
    mod padata_priv = "padata_priv" { pd, info, parallel, serial }
    mod kobj_type = "kobj_type" { release }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c padata_alloc, c padata_free, c padata_alloc_shell, c padata_free_shell, c padata_do_parallel, c padata_do_serial,
    c padata_sysfs_release,
];

/// The type of an instance's object in sysfs.
static TYPE: Datum = Datum::new("padata_attr_type", 128, Begin::With(begin_type));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&TYPE];

fn begin_type(at: u64) {
    // SAFETY: `data::place` gives the address of 128 cleared bytes, more than a `struct kobj_type` has.
    unsafe { kobj_type::release.set(at, function("padata_sysfs_release")) };
}

/// The objects of one shell in the order they came; whether each is ready to be finished.
static ORDER: Lock<Option<HashMap<u64, Queue>>> = Lock::new(None);
type Queue = VecDeque<(u64, bool)>;

/// `struct padata_instance *padata_alloc(const char *name)`
extern "C" fn padata_alloc(name: u64) -> u64 {
    let caller = ram::caller();
    let instance = slab::allocate(padata_instance::SIZE.get(), 8, slab::ZERO, caller);
    if instance != 0 {
        // SAFETY: a new object, and the module's string.
        unsafe {
            init_list(padata_instance::pslist.at(instance));
            let name = alloc::string::String::from_utf8_lossy(ram::c_string(name)).into_owned();
            kernel().work.add_queue(QueueId(instance), &name, 1);
            ram::call(function("kobject_init"), [padata_instance::kobj.at(instance), TYPE.address()]);
        }
    }
    instance
}

/// `void padata_free(struct padata_instance *)`: gives up the reference that making it took.
extern "C" fn padata_free(instance: u64) {
    // SAFETY: an instance that `padata_alloc` made.
    unsafe { ram::call(function("kobject_put"), [padata_instance::kobj.at(instance)]) };
}

/// The release of the instance's object: nobody refers to it any more.
extern "C" fn padata_sysfs_release(object: u64) {
    let caller = ram::caller();
    let instance = padata_instance::kobj.container(object);
    kernel().work.flush_queue(QueueId(instance));
    kernel().work.remove_queue(QueueId(instance));
    slab::release(instance, caller);
}

/// `struct padata_shell *padata_alloc_shell(struct padata_instance *)`
extern "C" fn padata_alloc_shell(instance: u64) -> u64 {
    let caller = ram::caller();
    let shell = slab::allocate(padata_shell::SIZE.get(), 8, slab::ZERO, caller);
    if shell != 0 {
        // SAFETY: a new object.
        unsafe {
            padata_shell::pinst.set(shell, instance);
            init_list(padata_shell::list.at(shell));
        }
        ORDER.lock().get_or_insert_default().insert(shell, VecDeque::new());
    }
    shell
}

/// `void padata_free_shell(struct padata_shell *)`
extern "C" fn padata_free_shell(shell: u64) {
    let caller = ram::caller();
    if shell != 0 {
        // SAFETY: a shell that `padata_alloc_shell` made.
        kernel().work.flush_queue(QueueId(unsafe { padata_shell::pinst.get(shell) }));
        ORDER.lock().get_or_insert_default().remove(&shell);
        slab::release(shell, caller);
    }
}

fn run_parallel(object: u64) {
    // SAFETY: the object of a caller of `padata_do_parallel`, which leaves it alone until it is finished.
    unsafe { ram::call(padata_priv::parallel.get(object), [object]) };
}

/// `int padata_do_parallel(struct padata_shell *, struct padata_priv *, int *cb_cpu)`
extern "C" fn padata_do_parallel(shell: u64, object: u64, cpu: u64) -> i32 {
    // SAFETY: the module's shell, object and variable.
    unsafe {
        if cpu != 0 {
            ram::put(cpu, 0i32);
        }
        // What `pd` points to is nobody's business but ours.
        padata_priv::pd.set(object, shell);
        padata_priv::info.set(object, 0i32);
        if let Some(order) = ORDER.lock().get_or_insert_default().get_mut(&shell) {
            order.push_back((object, false));
        } else {
            return Errno::EINVAL.to_return();
        }
        match kernel().work.enqueue(QueueId(padata_shell::pinst.get(shell)), object, run_parallel) {
            Ok(_) => 0,
            Err(errno) => {
                if let Some(order) = ORDER.lock().get_or_insert_default().get_mut(&shell) {
                    order.retain(|&(other, _)| other != object);
                }
                errno.to_return()
            }
        }
    }
}

/// `void padata_do_serial(struct padata_priv *)`: finishes the object once all that came before it are finished.
extern "C" fn padata_do_serial(object: u64) {
    // SAFETY: an object that `padata_do_parallel` took.
    let shell: u64 = unsafe { padata_priv::pd.get(object) };
    let mut ready = Vec::new();
    if let Some(order) = ORDER.lock().get_or_insert_default().get_mut(&shell) {
        if let Some(entry) = order.iter_mut().find(|entry| entry.0 == object) {
            entry.1 = true;
        }
        while order.front().is_some_and(|entry| entry.1) {
            ready.extend(order.pop_front().map(|entry| entry.0));
        }
    }
    for object in ready {
        // SAFETY: as above; the callback may free the object, which is not looked at again.
        unsafe { ram::call(padata_priv::serial.get(object), [object]) };
    }
}
