//! The values that come out of a machine.

use bstr::BString;
use serde::{Deserialize, Serialize};

/// One record of the kernel log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Records are numbered from 0 without gaps.
    pub sequence: u64,
    /// Nanoseconds since the machine's boot.
    pub time: u64,
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// 0 for the kernel, otherwise what user space wrote.
    pub facility: u32,
    /// The text without prefix and final newline.
    pub text: BString,
}

/// Where a module is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModuleState {
    /// Init has returned 0.
    Live,
    /// Init runs.
    Loading,
    /// Exit runs.
    Unloading,
}

/// A line of `/proc/modules`, and what more there is to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleStatus {
    /// Its name.
    pub name: BString,
    /// Bytes of memory it takes.
    pub size: u64,
    /// References besides the one that keeps it loaded; -1 while it goes.
    pub references: i64,
    /// Modules that use it, newest first.
    pub users: Vec<BString>,
    /// Its state.
    pub state: ModuleState,
    /// Its taint letters.
    pub taints: String,
    /// Address of its text.
    pub base: u64,
    /// It has an init function and no exit function.
    pub permanent: bool,
    /// Imports bound to stubs, because nobody provides them.
    pub deferred: Vec<BString>,
}

/// An argument of [`crate::Machine::call`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Argument {
    /// A number or an address.
    Value(u64),
    /// The address of a copy of these bytes, which is freed after the call.
    In(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The address of this many zero bytes, which come back in [`Called::buffers`].
    Out(u64),
    /// The address of a copy of these bytes, which come back in [`Called::buffers`].
    InOut(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// The value of `rax`.
    pub value: u64,
    /// The contents of the `Out` and `InOut` arguments after the call, in their order.
    pub buffers: Vec<serde_bytes::ByteBuf>,
}

/// A described device, and how it stands with the drivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its number in this machine, from 1.
    pub number: u32,
    /// Its directory in the machine's `/sys`.
    pub path: String,
    /// What names the modules that may have a driver for it.
    pub modalias: String,
    /// The driver that has it.
    pub driver: Option<String>,
    /// The drivers that were offered it and what their `probe` returned, oldest first: 0 or a negative errno.
    pub probes: Vec<(String, i32)>,
}

/// A report that came to a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// `output` or `feature`.
    pub kind: String,
    /// What it says, behind its number if the device's reports have numbers.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Something registered with the kernel and not taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// What it is, in the field's own words: `nls`, `crypto_alg`, `misc`.
    pub kind: String,
    /// Its name.
    pub name: BString,
    /// The module it belongs to; `None` for the kernel, or for a module that is gone (then `orphaned`).
    pub owner: Option<BString>,
    /// The owner is gone.
    pub orphaned: bool,
}

/// An allocation that was not freed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Its address.
    pub address: u64,
    /// Bytes asked for.
    pub size: u64,
    /// Who asked, symbolised.
    pub caller: String,
}

/// The memory of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The module; `None` for the kernel.
    pub owner: Option<BString>,
    /// The owner's number in this machine, which a later module of the same name does not share.
    pub number: u32,
    /// The owner is gone.
    pub orphaned: bool,
    /// Bytes held.
    pub bytes: u64,
    /// The allocations; at most 64.
    pub allocations: Vec<Allocation>,
}

/// A wrong use of heap memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryError {
    /// `out-of-bounds`, `use-after-free`, `double-free` or `invalid-free`.
    pub kind: String,
    /// The report's first line.
    pub reason: String,
    /// The address that was written to, read or freed.
    pub address: u64,
    /// First address and size of the object it was about.
    pub object: Option<(u64, u64)>,
    /// Where it was done; empty when only the change was found, some time later.
    pub location: String,
    /// The calls that led there, innermost first.
    pub trace: Vec<String>,
    /// The calls that allocated the object, with the number of their task.
    pub allocated: Option<(u32, Vec<String>)>,
    /// The calls that freed it.
    pub freed: Option<(u32, Vec<String>)>,
}

impl From<ferrmod_kernel::oops::MemoryError> for MemoryError {
    fn from(error: ferrmod_kernel::oops::MemoryError) -> Self {
        let ferrmod_kernel::oops::MemoryError { kind, reason, address, object, location, trace, allocated, freed } =
            error;
        Self { kind: kind.into(), reason, address, object, location, trace, allocated, freed }
    }
}

/// A task that slept, or might have, where it must not: with preemption or interrupts off, in an interrupt, as a reader of RCU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtomicSleep {
    /// The report's first line.
    pub reason: String,
    /// Where it was done.
    pub location: String,
    /// The number of the task.
    pub task: u32,
    /// The calls that led there, innermost first.
    pub trace: Vec<String>,
    /// What forbids it, and the calls that led to where that began.
    pub sections: Vec<(String, Vec<String>)>,
}

impl From<ferrmod_kernel::oops::AtomicSleep> for AtomicSleep {
    fn from(sleep: ferrmod_kernel::oops::AtomicSleep) -> Self {
        let ferrmod_kernel::oops::AtomicSleep { reason, location, task, trace, sections } = sleep;
        Self { reason, location, task: task.0, trace, sections }
    }
}

/// A task that still exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// It can run.
    pub ready: bool,
    /// It is a service of the kernel and is meant to stay.
    pub service: bool,
}

/// What there is in a machine besides modules: after all have been unloaded, what they left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Registrations of modules, gone ones included.
    pub registrations: Vec<Registration>,
    /// Heap memory of modules, gone ones included.
    pub memory: Vec<Memory>,
    /// Bytes of heap everybody holds together, the kernel included.
    pub heap: u64,
    /// Bytes of code and data of modules, and of the kernel's own that they see.
    pub module_memory: u64,
    /// Tasks besides the scheduler.
    pub tasks: Vec<Task>,
    /// Timers that are still set.
    pub timers: u64,
    /// Init functions that have returned an error so far.
    pub failed_inits: u64,
    /// Oopses so far, one line each.
    pub oopses: Vec<String>,
    /// Wrong uses of heap memory so far; each is one of the oopses, too.
    pub memory_errors: Vec<MemoryError>,
    /// Tasks that slept where they must not so far.
    pub atomic_sleeps: Vec<AtomicSleep>,
    /// The kernel's taint bits.
    pub taints: u64,
    /// Allocations counted since the last [`crate::Machine::fail_allocation`].
    pub allocations: u64,
}
