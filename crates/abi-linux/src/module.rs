//! `struct module`, references, and the module notifier chain.

use alloc::sync::Arc;

use ferrmod_kernel::module::{Module, State};
use ferrmod_kernel::{Errno, kernel};
use ferrmod_linker::PartKind;

use crate::export::{Export, exports};
use crate::field::layout;
use crate::string::text;
use crate::{jump_labels, notifiers, parameter_types, rcu, symbols};

layout! {
    mod c_module = "module" {
        state, kp, num_kp, list, source_list, target_list, percpu, percpu_size, bug_list,
    }
    mod list_head = "list_head" { next, prev }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c try_module_get, c __module_get, c module_put, c module_refcount, c __symbol_get, c __symbol_put, c symbol_put_addr,
    c find_module, c is_module_address, k module_layout,
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
    if state == State::Live {
        notify(module, state);
    }
}

/// Tells the module notifiers; their answer.
fn notify(module: &Arc<Module>, event: State) -> i32 {
    notifiers::call(notifiers::modules(), event as u8 as u64, module.linked().this_module.address)
}

/// The module is about to be initialised: its branches are patched, and the notifiers called.
///
/// # Errors
/// What a listener answers; those that were called before it have been told that the module goes.
pub(crate) fn coming(module: &Arc<Module>) -> Result<(), Errno> {
    jump_labels::coming(module);
    crate::tracing::coming(module);
    let this = module.linked().this_module.address;
    let answer = notifiers::call_robust(notifiers::modules(), State::Coming as u64, State::Going as u64, this);
    notifiers::to_errno(answer)
}

/// The module goes.
pub(crate) fn going(module: &Arc<Module>) {
    notify(module, State::Going);
    crate::tracing::going(module);
}

/// The module's memory goes: nothing of it may be remembered.
pub(crate) fn gone(module: &Arc<Module>) {
    parameter_types::free_all(module);
    let ranges = PartKind::ALL.map(|kind| module.part(kind));
    let callbacks = rcu::forget(&ranges);
    if callbacks > 0 {
        let text = alloc::format!("{}: unloaded with {callbacks} RCU callbacks that will never run", module.name);
        kernel().warn(&text, 0);
    }
    crate::crypto::algorithms::forget_memory(&ranges);
    // What it has freed for later is free when it is gone.
    rcu::run();
    rcu::forget_domains(&ranges);
    crate::atomic::forget_places(&ranges);
}

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

/// The module that the symbol at `address` belongs to, when it is not the kernel's.
fn owner(address: u64) -> Option<Arc<Module>> {
    kernel().modules.at(address)
}

/// `void *__symbol_get(const char *)`: the symbol's address, with a reference to the module it is of.
extern "C" fn __symbol_get(name: u64) -> u64 {
    let name = text(name).into();
    if symbols::find(name).is_some_and(|found| !found.gpl_only) {
        kernel().printk(alloc::format!("\x014failing symbol_get of non-GPLONLY symbol {name}.\n").as_bytes());
        return 0;
    }
    match kernel().symbol(name) {
        Some(address) if owner(address).is_none_or(|module| module.try_get()) => address,
        _ => 0,
    }
}
/// `void symbol_put_addr(void *)`
extern "C" fn symbol_put_addr(address: u64) {
    if let Some(module) = owner(address) {
        module.put();
    }
}
extern "C" fn __symbol_put(name: u64) {
    if let Some(address) = kernel().symbol(text(name).into()) {
        symbol_put_addr(address);
    }
}
/// `struct module *find_module(const char *)`
extern "C" fn find_module(name: u64) -> u64 {
    kernel().modules.named(text(name)).map_or(0, |module| module.linked().this_module.address)
}
/// `bool is_module_address(unsigned long)`
extern "C" fn is_module_address(address: u64) -> bool {
    owner(address).is_some()
}
/// Exists for its checksum, which stands for the layout of `struct module`.
extern "C" fn module_layout() {}
