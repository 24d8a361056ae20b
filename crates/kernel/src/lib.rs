//! The modular kernel: modules, symbols, tasks, timers, memory and files as safe values.
//!
//! A [`Kernel`] holds what a running system knows about its modules. It loads them (`linker` turns bytes into code, a
//! [`world::World`] speaks their C), runs them as tasks, accounts for every byte and registration by owner, and takes them
//! out again. All of it is safe Rust over numbers: memory, stacks, time and the outside are behind
//! [`platform::Platform`], and the C boundary is in the rooms `abi-*`.
//!
//! # What this crate does not do
//! It touches no memory of a module itself, defines no C function, knows no layout of a C struct, and never names the
//! process or the hardware it runs on.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod area;
pub mod bits;
pub mod chrdev;
pub mod files;
pub mod guard;
pub mod hardware;
pub mod heap;
pub mod inject;
pub mod lock;
pub mod module;
pub mod oops;
pub mod percpu;
pub mod platform;
pub mod printk;
pub mod registrations;
pub mod sums;
pub mod task;
pub mod text;
pub mod timer;
pub mod trails;
pub mod trap;
pub mod work;
pub mod world;

use alloc::string::String;
use alloc::vec::Vec;

pub use heap::Owner;
pub use module::{LoadFlags, Module, ModuleStatus};
pub use task::{Outcome, TaskId, Wake, task_died};
pub use text::Errno;

use area::Area;
use bstr::BStr;
use files::Files;
use hardware::Hardware;
use heap::Heap;
use inject::Injection;
use lock::Lock;
use module::Modules;
use percpu::PerCpu;
use platform::Platform;
use printk::Printk;
use registrations::Registrations;
use task::Tasks;
use timer::Timers;
use work::WorkQueues;
use world::World;

/// What is decided before the kernel runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Refuse modules whose imports nobody provides, as Linux does, instead of binding stubs that name themselves.
    pub strict: bool,
    /// Refuse modules without a valid signature.
    pub signature_enforced: bool,
    /// Names that are never loaded (`module_blacklist=`).
    pub blacklist: Vec<Vec<u8>>,
    /// The kernel's command line, for `/proc/cmdline`.
    pub command_line: String,
    /// The release `/proc/version` and oopses name; worlds may set it.
    pub release: String,
    /// What is found out about the use of heap memory.
    pub checks: heap::Checks,
}

/// One kernel.
pub struct Kernel {
    /// The way to the outside.
    pub platform: &'static dyn Platform,
    /// What was decided at boot.
    pub options: Options,
    /// The kernel log.
    pub printk: Printk,
    /// The heap.
    pub heap: Heap,
    /// Module text (and code the kernel generates).
    pub text: Area,
    /// Module read-only data.
    pub rodata: Area,
    /// Module data and exported data.
    pub data: Area,
    /// Per-CPU memory.
    pub percpu: PerCpu,
    /// The modules.
    pub modules: Modules,
    /// The tasks.
    pub tasks: Tasks,
    /// The timers.
    pub timers: Timers,
    /// The work queues.
    pub work: WorkQueues,
    /// What is registered, by whom.
    pub registrations: Registrations,
    /// `/proc`, `/sys`, `/dev`.
    pub files: Files,
    /// Described devices.
    pub hardware: Hardware,
    /// The files that are open from outside.
    pub descriptors: files::Descriptors,
    /// Failure injection.
    pub inject: Injection,
    softirq: Lock<Option<TaskId>>,
    worlds: Lock<Vec<&'static dyn World>>,
    linux: spin::Once<&'static dyn World>,
    keyring: spin::Once<ferrmod_signature::Keyring>,
    oopses: Lock<Vec<oops::Oops>>,
    memory_errors: Lock<Vec<oops::MemoryError>>,
    atomic_sleeps: Lock<Vec<oops::AtomicSleep>>,
    trails: trails::Trails,
}

impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kernel").field("options", &self.options).finish_non_exhaustive()
    }
}

static KERNEL: spin::Once<Kernel> = spin::Once::new();

/// Boots the kernel of this process or machine. Called once, on context 0.
///
/// # Panics
/// When called twice.
pub fn boot(platform: &'static dyn Platform, options: Options) -> &'static Kernel {
    assert!(KERNEL.get().is_none(), "a kernel is booted already");
    let regions = platform.regions();
    let mut options = options;
    let paged = heap::paged_part(&regions.heap, options.checks);
    if !paged.is_empty() && platform.forbid(paged, true).is_err() {
        // Where no page can be made inaccessible, what is changed is found later.
        options.checks = heap::Checks::Zones;
    }
    let checks = options.checks;
    let kernel = KERNEL.call_once(|| Kernel {
        platform,
        options,
        printk: Printk::default(),
        heap: Heap::new(regions.heap.clone(), checks),
        text: Area::new(regions.text.clone()),
        rodata: Area::new(regions.rodata.clone()),
        data: Area::new(regions.data.clone()),
        percpu: PerCpu::default(),
        modules: Modules::default(),
        tasks: Tasks::default(),
        timers: Timers::default(),
        work: WorkQueues::default(),
        registrations: Registrations::default(),
        files: Files::default(),
        hardware: Hardware::default(),
        descriptors: files::Descriptors::default(),
        inject: Injection::default(),
        softirq: Lock::new(None),
        worlds: Lock::new(Vec::new()),
        linux: spin::Once::new(),
        keyring: spin::Once::new(),
        oopses: Lock::new(Vec::new()),
        memory_errors: Lock::new(Vec::new()),
        atomic_sleeps: Lock::new(Vec::new()),
        trails: trails::Trails::default(),
    });
    files::mount_standard(kernel);
    kernel
}

/// The kernel.
///
/// # Panics
/// Before [`boot`].
pub fn kernel() -> &'static Kernel {
    KERNEL.get().expect("the kernel is booted first")
}

/// The kernel, if it is booted: for handlers that may run before.
pub fn try_kernel() -> Option<&'static Kernel> {
    KERNEL.get()
}

impl Kernel {
    /// Adds a world; the first one added that accepts a module gets it.
    pub fn add_world(&self, world: &'static dyn World) {
        self.worlds.lock().push(world);
    }

    /// Adds the Linux world, whose tasks have shadows in C memory.
    pub fn add_linux_world(&self, world: &'static dyn World) {
        self.linux.call_once(|| world);
        self.add_world(world);
    }

    /// The world whose modules see tasks as C objects.
    pub fn linux_world(&self) -> Option<&'static dyn World> {
        self.linux.get().copied()
    }

    /// All worlds.
    pub fn worlds(&self) -> Vec<&'static dyn World> {
        self.worlds.lock().clone()
    }

    /// The address of an exported symbol of the kernel or of a live module.
    pub fn symbol(&self, name: &BStr) -> Option<u64> {
        self.modules.export(name).or_else(|| self.worlds().into_iter().find_map(|world| world.symbol(name)?.address))
    }

    /// Whose code lies at `address`.
    pub fn owner_of(&self, address: u64) -> Owner {
        self.modules.at(address).map_or(Owner::Kernel, |module| Owner::Module(module.id))
    }

    /// When the running task was switched to; `None` while the scheduler runs. Atomics only.
    pub fn running_since(&self) -> Option<u64> {
        self.tasks.running_since()
    }
}
