//! The native world: how the kernel's steps of a load look to a Rust module.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::BStr;
use ferrmod_boundary::{MODULE_LAYOUT, VERMAGIC, VERMAGIC_PREFIX};
use ferrmod_kernel::module::{Module, State};
use ferrmod_kernel::world::{Parameter, World, WorldSymbol};
use ferrmod_kernel::{Errno, Owner, TaskId};
use ferrmod_linker::check::Host;

use crate::{export, files, parameters};

/// See the module's documentation.
pub(crate) struct NativeWorld;

impl World for NativeWorld {
    fn accepts(&self, vermagic: Option<&BStr>) -> bool {
        vermagic.is_some_and(|vermagic| vermagic.starts_with(VERMAGIC_PREFIX.as_bytes()))
    }

    fn host(&self) -> Host<'static> {
        Host {
            vermagic: BStr::new(VERMAGIC.as_bytes()),
            module_layout: Some(MODULE_LAYOUT),
            // What cannot be checked is not loaded: a Rust module always has its CRCs.
            force_load: false,
            retpoline: false,
            livepatch: false,
        }
    }

    fn release(&self) -> &str {
        VERMAGIC.split(' ').next().unwrap_or(VERMAGIC)
    }

    fn allows_got(&self) -> bool {
        true
    }

    fn symbol(&self, name: &BStr) -> Option<WorldSymbol> {
        export::find(name)
    }

    /// Everything the boundary lists is provided, so nothing is ever absent.
    fn absent(&self, _name: &BStr) -> Result<u64, Errno> {
        Err(Errno::ENOENT)
    }

    fn name_of(&self, address: u64) -> Option<(&'static str, u64)> {
        export::name_of(address)
    }

    fn absent_at(&self, _address: u64) -> Option<Vec<u8>> {
        None
    }

    fn task_created(&self, _id: TaskId, _name: &str) -> Result<(), Errno> {
        Ok(())
    }

    fn task_running(&self, _id: TaskId) {}

    fn task_gone(&self, _id: TaskId) {}

    fn formed(&self, _module: &Arc<Module>) -> Result<(), Errno> {
        Ok(())
    }

    fn coming(&self, _module: &Arc<Module>) -> Result<(), Errno> {
        Ok(())
    }

    fn state_changed(&self, _module: &Arc<Module>, _state: State) {}

    fn going(&self, _module: &Arc<Module>) {}

    fn gone(&self, module: &Arc<Module>) {
        files::forget(Owner::Module(module.id));
    }

    fn init_freed(&self, _module: &Arc<Module>) {}

    fn parameters(&self, module: &Arc<Module>) -> Vec<Parameter> {
        parameters::of(module)
    }

    fn set_parameter(&self, _: &Arc<Module>, parameter: &Parameter, value: Option<&mut [u8]>) -> Result<(), Errno> {
        parameters::set(parameter, value)
    }

    fn get_parameter(&self, _: &Arc<Module>, parameter: &Parameter) -> Result<Vec<u8>, Errno> {
        parameters::get(parameter)
    }

    fn init(&self, module: &Arc<Module>) -> i32 {
        let Some(address) = module.linked().init else { return 0 };
        // SAFETY: the linker took the address from the module's own `init_module`, of this type, and placed it in its text.
        unsafe {
            let init: unsafe extern "C" fn() -> i32 = core::mem::transmute(address);
            init()
        }
    }

    fn exit(&self, module: &Arc<Module>) {
        let Some(address) = module.linked().exit else { return };
        // SAFETY: as for `init`, with `cleanup_module`.
        unsafe {
            let exit: unsafe extern "C" fn() = core::mem::transmute(address);
            exit();
        }
    }
}
