//! The Linux world: how the kernel's steps of a load look in C.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::BStr;
use ferrmod_kernel::hardware::{DeviceId, DeviceReport, DeviceStatus};
use ferrmod_kernel::module::{Module, State};
use ferrmod_kernel::world::{Parameter, World, WorldSymbol};
use ferrmod_kernel::{Errno, TaskId};
use ferrmod_linker::check::Host;

use crate::boot::facts;
use crate::device::described;
use crate::{irq, module, parameters, ram, symbols, tasks};

/// See the module's documentation.
pub(crate) struct LinuxWorld;

impl World for LinuxWorld {
    fn accepts(&self, vermagic: Option<&BStr>) -> bool {
        // Everything that does not say it is of another world.
        vermagic.is_none_or(|vermagic| !vermagic.starts_with(b"ferrmod"))
    }

    fn host(&self) -> Host<'static> {
        let layout = facts().find_export(b"module_layout").and_then(|index| facts().export(index).crc);
        Host {
            vermagic: BStr::new(facts().vermagic().as_bytes()),
            module_layout: layout,
            force_load: true,
            retpoline: true,
            livepatch: true,
        }
    }

    fn release(&self) -> &str {
        facts().release()
    }

    fn certificates(&self) -> &[u8] {
        facts().certificates()
    }

    fn symbol(&self, name: &BStr) -> Option<WorldSymbol> {
        symbols::find(name)
    }

    fn absent(&self, name: &BStr) -> Result<u64, Errno> {
        symbols::absent(name)
    }

    fn name_of(&self, address: u64) -> Option<(&'static str, u64)> {
        symbols::name_of(address)
    }

    fn absent_at(&self, address: u64) -> Option<Vec<u8>> {
        symbols::absent_at(address)
    }

    fn task_created(&self, id: TaskId, name: &str) -> Result<(), Errno> {
        tasks::created(id, name)
    }

    fn task_running(&self, id: TaskId) {
        tasks::running(id);
    }

    fn task_gone(&self, id: TaskId) {
        tasks::gone(id);
    }

    fn formed(&self, module: &Arc<Module>) -> Result<(), Errno> {
        module::formed(module);
        Ok(())
    }

    fn coming(&self, module: &Arc<Module>) -> Result<(), Errno> {
        module::coming(module)
    }

    fn state_changed(&self, module: &Arc<Module>, state: State) {
        module::state_changed(module, state);
    }

    fn going(&self, module: &Arc<Module>) {
        module::going(module);
    }

    fn gone(&self, module: &Arc<Module>) {
        module::gone(module);
    }

    fn init_freed(&self, _module: &Arc<Module>) {
        // What was put off may be code of the memory about to be freed.
        crate::system::wait_for_asynchronous();
    }

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
        let Some(init) = module.linked().init else { return 0 };
        let before = tasks::preempt_count();
        // SAFETY: the linker took the address from the module's own `init_module` and placed it in its text.
        let result = unsafe { ram::call(init, []) as i32 };
        tasks::check_balance(init, before);
        result
    }

    fn add_device(&self, id: DeviceId) -> Result<(), Errno> {
        described::add(id)
    }

    fn remove_device(&self, id: DeviceId) {
        described::remove(id);
    }

    fn device_status(&self, id: DeviceId) -> Option<DeviceStatus> {
        described::status(id)
    }

    fn send_report(&self, id: DeviceId, report: &[u8]) -> Result<(), Errno> {
        described::say(id, report)
    }

    fn take_reports(&self, id: DeviceId) -> Result<Vec<DeviceReport>, Errno> {
        described::heard(id)
    }

    fn interrupt(&self, line: u32) -> bool {
        irq::handle(line)
    }

    fn exit(&self, module: &Arc<Module>) {
        if let Some(exit) = module.linked().exit {
            // SAFETY: as for `init`, with `cleanup_module`.
            unsafe { ram::call(exit, []) };
        }
    }
}
