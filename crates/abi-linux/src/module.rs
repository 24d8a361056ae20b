//! `struct module`, references, and the module notifier chain.

use alloc::sync::Arc;

use ferrmod_kernel::module::{Module, State};
use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;

layout! {
    mod c_module = "module" {
        state, kp, num_kp, list, source_list, target_list, percpu, percpu_size, bug_list,
    }
    mod list_head = "list_head" { next, prev }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c try_module_get, c __module_get, c module_put, c module_refcount,
];

/// The module whose `struct module` is at `address`.
pub(crate) fn at(address: u64) -> Option<Arc<Module>> {
    kernel().modules.at(address).filter(|module| module.linked().this_module.address == address)
}

/// Fills in the members of `struct module` that module code reads.
pub(crate) fn formed(module: &Arc<Module>) {
    let linked = module.linked();
    let this = linked.this_module.address;
    if this == 0 {
        return;
    }
    // SAFETY: `this` is the module's own object; the reader has checked that its section has the size BTF gives it, and no
    // code of the module runs yet.
    unsafe {
        for head in [&c_module::list, &c_module::source_list, &c_module::target_list, &c_module::bug_list] {
            if head.offset().is_some() {
                let at = head.at(this);
                list_head::next.set(at, at);
                list_head::prev.set(at, at);
            }
        }
        c_module::kp.set(this, linked.tables.params.address);
        c_module::num_kp.set(this, linked.tables.params.count);
        if let Some((offset, size)) = module.percpu() {
            c_module::percpu.set(this, offset);
            c_module::percpu_size.set(this, size as u32);
        }
    }
}

/// Writes `module->state`.
pub(crate) fn state_changed(module: &Arc<Module>, state: State) {
    let this = module.linked().this_module.address;
    if this != 0 {
        // SAFETY: the module's own object, which lives as long as the module is registered.
        unsafe { c_module::state.set(this, state as u8 as u32) };
    }
}

/// The module is about to be initialised.
///
/// # Errors
/// What a listener answers.
pub(crate) fn coming(_module: &Arc<Module>) -> Result<(), Errno> {
    Ok(())
}

/// The module goes.
pub(crate) fn going(_module: &Arc<Module>) {}

/// `bool try_module_get(struct module *)`: built-in code (null) can always be had.
extern "C" fn try_module_get(module: u64) -> bool {
    module == 0 || at(module).is_some_and(|module| module.try_get())
}

/// `void __module_get(struct module *)`
extern "C" fn __module_get(module: u64) {
    if let Some(module) = at(module) {
        module.get();
    }
}

/// `void module_put(struct module *)`
extern "C" fn module_put(module: u64) {
    let caller = crate::ram::caller();
    if let Some(module) = at(module)
        && !module.put()
    {
        kernel().warn("module_put: no reference to give back", caller);
    }
}

/// `int module_refcount(struct module *)`
extern "C" fn module_refcount(module: u64) -> i32 {
    at(module).map_or(0, |module| module.references() as i32)
}
