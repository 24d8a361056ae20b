//! What the kernel offers a module that is being linked.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::BStr;
use ferrmod_linker::{BindError, Found, Linked, Owner, OwnerId, SymbolTable};

use super::{Module, Modules, State};
use crate::Kernel;
use crate::text::Errno;
use crate::world::World;

/// How long a load waits for a module it uses to finish its init, in nanoseconds; Linux: 30 s.
const WAIT_FOR_INIT: u64 = 30_000_000_000;

/// Bit of `TAINT_PROPRIETARY_MODULE`.
pub(super) const PROPRIETARY: u64 = 1;

/// The symbol table as one module sees it.
pub(super) struct Offered<'k> {
    kernel: &'static Kernel,
    modules: &'k Modules,
    world: &'static dyn World,
    strict: bool,
    /// Whether the module may use GPL-only symbols: false from the first import that may not be one.
    gpl_ok: bool,
    /// Modules the new one uses; each has been given a reference.
    pub(super) uses: Vec<u32>,
    /// Whose names the last answer borrows.
    owner: Option<(Arc<Module>, Arc<Linked>)>,
    /// What went wrong while a stub was made.
    pub(super) failure: Option<Errno>,
}

impl<'k> Offered<'k> {
    pub(super) fn new(kernel: &'static Kernel, world: &'static dyn World) -> Self {
        Self {
            kernel,
            modules: &kernel.modules,
            world,
            strict: kernel.options.strict,
            gpl_ok: true,
            uses: Vec::new(),
            owner: None,
            failure: None,
        }
    }
}

impl SymbolTable for Offered<'_> {
    fn find(&mut self, name: &BStr, gpl_ok: bool) -> Option<Found<'_>> {
        self.gpl_ok &= gpl_ok;
        if let Some(symbol) = self.world.symbol(name)
            && let Some(value) = symbol.address
        {
            return (gpl_ok || !symbol.gpl_only).then_some(Found {
                value,
                crc: symbol.crc,
                gpl_only: symbol.gpl_only,
                namespace: symbol.namespace,
                owner: Owner::Kernel,
            });
        }
        let export = self.modules.0.lock().exports.get(name).copied();
        if let Some(export) = export.filter(|export| gpl_ok || !export.gpl_only)
            && let Some(module) = self.modules.numbered(export.owner)
        {
            let linked = module.linked();
            let (module, linked) = &*self.owner.insert((module, linked));
            let namespace = linked.exports.get(export.index as usize).and_then(|symbol| symbol.namespace);
            return Some(Found {
                value: export.value,
                crc: export.crc,
                gpl_only: export.gpl_only,
                namespace: namespace.map(|name| linked.name(name)),
                owner: Owner::Module {
                    id: OwnerId(u64::from(module.id)),
                    name: module.name.as_ref(),
                    proprietary: module.taints() & PROPRIETARY != 0,
                },
            });
        }
        None
    }

    fn bind(&mut self, owner: OwnerId) -> Result<(), BindError> {
        let id = owner.0 as u32;
        let deadline = self.kernel.platform.now() + WAIT_FOR_INIT;
        loop {
            let module = self.modules.numbered(id).ok_or(BindError::Again)?;
            match module.state() {
                State::Live => {
                    if !module.try_get() {
                        return Err(BindError::Going);
                    }
                    self.uses.push(id);
                    return Ok(());
                }
                State::Going => return Err(BindError::Going),
                State::Coming | State::Unformed => {
                    // Linux waits in vain for a module whose init was killed by an oops; the answer is the same.
                    if self.kernel.platform.now() >= deadline || module.is_abandoned(self.kernel) {
                        return Err(BindError::GaveUp);
                    }
                    self.kernel.tasks.block(Some(deadline), Some(module.channel()));
                }
            }
        }
    }

    fn absent(&mut self, name: &BStr) -> Option<u64> {
        if self.strict {
            return None;
        }
        let symbol = self.world.symbol(name)?;
        // It exists, but not for this module; or would not be for it where it exists.
        if symbol.address.is_some() || symbol.gpl_only && !self.gpl_ok {
            return None;
        }
        match self.world.absent(name) {
            Ok(address) => Some(address),
            Err(errno) => {
                self.failure = Some(errno);
                None
            }
        }
    }
}
