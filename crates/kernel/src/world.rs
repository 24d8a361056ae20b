//! A world: one kind of module, with its C boundary.
//!
//! The kernel knows modules, symbols and tasks; how a `struct module` is laid out, what a parameter's `set` function looks
//! like and which functions a module may import is the business of the rooms `abi-*`, which implement [`World`].

use alloc::sync::Arc;
use alloc::vec::Vec;

use bstr::BStr;
use ferrmod_linker::check::Host;

use crate::hardware::{DeviceId, DeviceReport, DeviceStatus};
use crate::module::{Module, State};
use crate::task::TaskId;
use crate::text::Errno;

/// What a world's kernel exports under one name.
#[derive(Clone, Copy, Debug)]
pub struct WorldSymbol {
    /// Where it is; `None` when the world's kernel exports it and nobody here provides it.
    pub address: Option<u64>,
    /// Its modversions CRC.
    pub crc: Option<u32>,
    /// Only for GPL-compatible modules.
    pub gpl_only: bool,
    /// The namespace a module has to import.
    pub namespace: Option<&'static BStr>,
}

/// One kind of module. See the module's documentation.
pub trait World: Sync {
    /// Whether a module with this `vermagic` is of this world.
    fn accepts(&self, vermagic: Option<&BStr>) -> bool;

    /// What the world's kernel asks of a module.
    fn host(&self) -> Host<'static>;

    /// The release of the kernel whose modules these are.
    fn release(&self) -> &str;

    /// The certificates this world's kernel trusts from the start, DER, one after the other.
    fn certificates(&self) -> &[u8] {
        &[]
    }

    /// Modules of this world may be linked through a global offset table (code written for position independence).
    fn allows_got(&self) -> bool {
        false
    }

    /// The exported symbol `name`.
    fn symbol(&self, name: &BStr) -> Option<WorldSymbol>;

    /// An address for a symbol that is exported but provided by nobody: a stub that names itself when called, or memory that
    /// faults when touched.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room for another stub.
    fn absent(&self, name: &BStr) -> Result<u64, Errno>;

    /// What lies at `address` in the world's own code or data: a name and the distance from its start.
    fn name_of(&self, address: u64) -> Option<(&'static str, u64)>;

    /// What an absent symbol's address stands for.
    fn absent_at(&self, address: u64) -> Option<Vec<u8>>;

    /// A task is about to exist.
    ///
    /// # Errors
    /// `ENOMEM` when its shadow cannot be made; the task is not made then.
    fn task_created(&self, id: TaskId, name: &str) -> Result<(), Errno>;

    /// This task runs from now on; 0 is the scheduler.
    fn task_running(&self, id: TaskId);

    /// The task is over.
    fn task_gone(&self, id: TaskId);

    /// The module's bytes are in place: fill in its own `struct module`.
    ///
    /// # Errors
    /// An errno ends the load.
    fn formed(&self, module: &Arc<Module>) -> Result<(), Errno>;

    /// The module is `COMING`: patch its branches, call the notifier chain.
    ///
    /// # Errors
    /// An errno ends the load; `going` is called then.
    fn coming(&self, module: &Arc<Module>) -> Result<(), Errno>;

    /// The state changed; tell the module's own object, and on `Live` the notifier chain.
    fn state_changed(&self, module: &Arc<Module>, state: State);

    /// The module goes: call the notifier chain.
    fn going(&self, module: &Arc<Module>);

    /// Its memory is about to be freed: forget everything about it.
    fn gone(&self, module: &Arc<Module>);

    /// Its init function has returned: patch what lies in the memory about to be freed out of the world's lists.
    fn init_freed(&self, module: &Arc<Module>);

    /// The module's parameters, in file order.
    fn parameters(&self, module: &Arc<Module>) -> Vec<Parameter>;

    /// Calls the parameter's `set` with the text (`None`: a bare name); `set` may destroy the text.
    ///
    /// # Errors
    /// What `set` returned.
    fn set_parameter(&self, module: &Arc<Module>, parameter: &Parameter, value: Option<&mut [u8]>)
    -> Result<(), Errno>;

    /// Calls the parameter's `get`; its text with the newline.
    ///
    /// # Errors
    /// What `get` returned.
    fn get_parameter(&self, module: &Arc<Module>, parameter: &Parameter) -> Result<Vec<u8>, Errno>;

    /// Runs the init function; its value.
    fn init(&self, module: &Arc<Module>) -> i32;

    /// Runs the exit function.
    fn exit(&self, module: &Arc<Module>);

    /// A described device has been made: show it to the drivers of its bus.
    ///
    /// # Errors
    /// `ENODEV` when this world has no such bus.
    fn add_device(&self, _id: DeviceId) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }

    /// It goes: take it from its driver and its bus.
    fn remove_device(&self, _id: DeviceId) {}

    /// How a device that was shown stands with the drivers.
    fn device_status(&self, _id: DeviceId) -> Option<DeviceStatus> {
        None
    }

    /// A device says a report to the drivers.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when devices of its bus have none.
    fn send_report(&self, _id: DeviceId, _report: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The reports that drivers have sent to a device since this was asked last, oldest first.
    ///
    /// # Errors
    /// As [`World::send_report`].
    fn take_reports(&self, _id: DeviceId) -> Result<Vec<DeviceReport>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// A device raised this line: run its handlers; whether one of them did something.
    fn interrupt(&self, _line: u32) -> bool {
        false
    }
}

/// A parameter of a loaded module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: Vec<u8>,
    /// Address of its description in the module (`struct kernel_param`).
    pub address: u64,
    /// Permissions of its file under `/sys/module/NAME/parameters`; 0: no file.
    pub mode: u16,
    /// A bare name without `=value` is allowed.
    pub no_argument: bool,
    /// Setting it taints the kernel.
    pub unsafe_to_set: bool,
}
