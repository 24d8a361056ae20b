//! Text search: algorithms by name, and searches prepared with them.

use alloc::vec::Vec;

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{module, ram, symbols};

layout! {
    mod ts_ops = "ts_ops" { name, init, find, destroy, get_pattern, get_pattern_len, owner }
    mod ts_config = "ts_config" { ops, get_next_block, finish }
    mod ts_state = "ts_state" { offset, cb }
    /// What `textsearch_find_continuous` keeps in `ts_state.cb`.
    mod ts_linear_state = "ts_linear_state" { len, data }
}

const KIND: &str = "textsearch";
/// `TS_AUTOLOAD`
const AUTOLOAD: i32 = 1;

/// The algorithms, newest first.
static ALGORITHMS: Lock<Vec<u64>> = Lock::new(Vec::new());

fn find(name: &[u8]) -> Option<u64> {
    let all = ALGORITHMS.lock().clone();
    // SAFETY: registered operations of loaded modules.
    all.into_iter().find(|&ops| unsafe { ram::c_string_or_empty(ts_ops::name.get(ops)) } == name)
}

/// `int textsearch_register(struct ts_ops *)`
extern "C" fn textsearch_register(ops: u64) -> i32 {
    let caller = ram::caller();
    // SAFETY: the module's operations.
    let (name, complete) = unsafe {
        let needed = [&ts_ops::init, &ts_ops::find, &ts_ops::get_pattern, &ts_ops::get_pattern_len, &ts_ops::name];
        (ram::c_string_or_empty(ts_ops::name.get(ops)), needed.iter().all(|field| field.get::<u64>(ops) != 0))
    };
    if !complete {
        return Errno::EINVAL.to_return();
    }
    if find(&name).is_some() {
        return Errno::EEXIST.to_return();
    }
    ALGORITHMS.lock().insert(0, ops);
    // It is not in the list, so it is not registered.
    let _ = kernel().registrations.add(KIND, ops, name, kernel().owner_of(caller));
    0
}

/// `int textsearch_unregister(struct ts_ops *)`
extern "C" fn textsearch_unregister(ops: u64) -> i32 {
    if kernel().registrations.remove(KIND, ops).is_none() {
        return Errno::ENOENT.to_return();
    }
    ALGORITHMS.lock().retain(|&other| other != ops);
    0
}

/// `struct ts_config *textsearch_prepare(const char *algo, const void *pattern, unsigned int len, gfp_t, int flags)`
extern "C" fn textsearch_prepare(name: u64, pattern: u64, length: u32, gfp: u32, flags: i32) -> u64 {
    if length == 0 {
        return Errno::EINVAL.to_pointer();
    }
    // SAFETY: the module's C string.
    let name = unsafe { ram::c_string(name) };
    let mut ops = find(name);
    if ops.is_none() && flags & AUTOLOAD != 0 {
        // Whether it came is seen below.
        let _ = kernel().request_module(&[b"ts_", name].concat());
        ops = find(name);
    }
    let Some(ops) = ops else { return Errno::ENOENT.to_pointer() };
    // SAFETY: registered operations; `init` is a function of these arguments that gives a configuration or an error.
    unsafe {
        let owner: u64 = ts_ops::owner.get(ops);
        if owner != 0 && !module::at(owner).is_some_and(|module| module.try_get()) {
            return Errno::ENOENT.to_pointer();
        }
        let config = ram::call(ts_ops::init.get(ops), [pattern, length.into(), gfp.into(), flags as u64]);
        if Errno::from_pointer(config).is_some() {
            if let Some(owner) = module::at(owner) {
                owner.put();
            }
        } else {
            ts_config::ops.set(config, ops);
        }
        config
    }
}

/// `void textsearch_destroy(struct ts_config *)`: the configuration itself came from the algorithm's `kmalloc`.
extern "C" fn textsearch_destroy(config: u64) {
    let caller = ram::caller();
    // SAFETY: a configuration that `textsearch_prepare` gave.
    unsafe {
        let ops: u64 = ts_config::ops.get(config);
        if ops != 0 {
            let destroy: u64 = ts_ops::destroy.get(ops);
            if destroy != 0 {
                ram::call(destroy, [config]);
            }
            if let Some(owner) = module::at(ts_ops::owner.get(ops)) {
                owner.put();
            }
        }
    }
    crate::slab::release(config, caller);
}

/// The next block of a text that lies in one piece: all of it, once.
extern "C" fn textsearch_next_linear(consumed: u32, block: u64, _config: u64, state: u64) -> u32 {
    // SAFETY: called by an algorithm with the state that `textsearch_find_continuous` made.
    unsafe {
        let linear = ts_state::cb.at(state);
        let length: u32 = ts_linear_state::len.get(linear);
        if consumed >= length {
            return 0;
        }
        ram::put(block, ts_linear_state::data.get::<u64>(linear) + u64::from(consumed));
        length - consumed
    }
}

/// `unsigned int textsearch_find_continuous(struct ts_config *, struct ts_state *, const void *, unsigned int)`
extern "C" fn textsearch_find_continuous(config: u64, state: u64, data: u64, length: u32) -> u32 {
    // SAFETY: the caller's configuration and state; `find` is the algorithm's.
    unsafe {
        ts_config::get_next_block.set(config, symbols::address("textsearch_next_linear").unwrap_or(0));
        let linear = ts_state::cb.at(state);
        ts_linear_state::data.set(linear, data);
        ts_linear_state::len.set(linear, length);
        ts_state::offset.set(state, 0u32);
        let ops: u64 = ts_config::ops.get(config);
        let found = ram::call(ts_ops::find.get(ops), [config, state]) as u32;
        let finish: u64 = ts_config::finish.get(config);
        if finish != 0 {
            ram::call(finish, [config, state]);
        }
        found
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c textsearch_register, c textsearch_unregister, c textsearch_prepare, c textsearch_destroy, c textsearch_next_linear,
    c textsearch_find_continuous,
];
