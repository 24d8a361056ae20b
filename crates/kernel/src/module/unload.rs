//! Taking a module out.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Module, Modules, State};
use crate::text::Errno;
use crate::{Kernel, Owner, kernel};

/// Bit of `TAINT_FORCED_RMMOD`, letter R.
const FORCED_REMOVAL: u64 = 1 << 3;

impl Modules {
    /// Removes a module as `delete_module(2)` does. Runs in a task.
    ///
    /// # Errors
    /// `EPERM` modules are disabled; `ENOENT` no such module; `EAGAIN` other modules use it, or it is referenced; `EBUSY` it is
    /// not live, or cannot be removed.
    pub fn unload(&self, name: &[u8], force: bool) -> Result<(), Errno> {
        if self.are_disabled() {
            return Err(Errno::EPERM);
        }
        if name.is_empty() || name.len() >= 56 {
            return Err(Errno::ENOENT);
        }
        let module = self.named(name).ok_or(Errno::ENOENT)?;
        if !module.users.lock().is_empty() {
            return Err(Errno::EAGAIN);
        }
        if module.state() != State::Live {
            return Err(Errno::EBUSY);
        }
        let mut forced = false;
        if module.has_init && !module.has_exit {
            if !force {
                return Err(Errno::EBUSY);
            }
            forced = true;
        }
        if module.references() > 0 {
            if !force {
                return Err(Errno::EAGAIN);
            }
            forced = true;
        }
        if forced {
            self.taint(FORCED_REMOVAL);
        }
        module.references.store(0, core::sync::atomic::Ordering::Relaxed);
        module.set_state(State::Going);
        if module.has_exit {
            module.world.exit(&module);
        }
        module.world.going(&module);
        let mut registry = self.0.lock();
        registry.last_unloaded = Some((module.name.clone(), super::taint_letters(module.taints(), State::Live)));
        drop(registry);
        self.free(kernel(), &module);
        Ok(())
    }

    /// Keeps the names of the places a module's remaining memory was asked for from: another module may lie there later.
    fn name_leftovers(&self, kernel: &Kernel, module: &Arc<Module>) {
        let owner = Owner::Module(module.id);
        if kernel.heap.bytes_of(owner) == 0 {
            return;
        }
        let allocations = kernel.heap.allocations_of(owner);
        let callers: BTreeSet<u64> = allocations.iter().map(|allocation| allocation.caller).collect();
        let names: Vec<_> = callers.into_iter().map(|caller| (caller, kernel.symbolise_return(caller))).collect();
        self.0.lock().leftovers.extend(names.into_iter().map(|(caller, name)| ((module.id, caller), name)));
    }

    /// What the place was called that memory of `owner` was asked for from.
    pub fn name_of_caller(&self, kernel: &Kernel, owner: Owner, caller: u64) -> String {
        let Owner::Module(id) = owner else { return kernel.symbolise_return(caller) };
        let kept = self.0.lock().leftovers.get(&(id, caller)).cloned();
        kept.unwrap_or_else(|| kernel.symbolise_return(caller))
    }

    /// Forgets a module and gives its memory back.
    pub(super) fn free(&self, kernel: &'static Kernel, module: &Arc<Module>) {
        module.world.gone(module);
        self.name_leftovers(kernel, module);
        kernel.look_before_leaving(module);
        for used in core::mem::take(&mut *module.uses.lock()) {
            if let Some(owner) = self.numbered(used) {
                owner.users.lock().retain(|&user| user != module.id);
                owner.put();
            }
        }
        {
            let linked = module.linked();
            let mut registry = self.0.lock();
            for export in &linked.exports {
                let name = linked.name(export.name);
                if registry.exports.get(name).is_some_and(|found| found.owner == module.id) {
                    registry.exports.remove(name);
                }
            }
            for part in module.memory.parts() {
                registry.ranges.remove(&part.start);
            }
            registry.by_name.remove(&module.name);
            registry.modules.retain(|other| other.id != module.id);
        }
        kernel.tasks.wake_channel(module.channel(), usize::MAX);
        module.memory.give(kernel);
    }
}
