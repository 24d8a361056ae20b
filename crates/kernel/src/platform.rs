//! What the kernel needs from wherever it runs: a process or a machine.
//!
//! The kernel itself is safe Rust over numbers; everything that touches memory, time, stacks or the outside goes through
//! [`Platform`]. `machine` implements it in a process, `boot` on hardware.

use alloc::vec::Vec;
use core::ops::Range;

use crate::percpu::AREA_SIZE;
use crate::text::Errno;
use crate::text::log::Record;
use crate::trap::Registers;

/// Where the kernel's memory lies. All ranges are page aligned, disjoint and fixed for the life of the kernel.
#[derive(Clone, Debug)]
pub struct Regions {
    /// Module text and generated code: readable and executable, never writable through these addresses.
    pub text: Range<u64>,
    /// Module read-only data.
    pub rodata: Range<u64>,
    /// Module data and the kernel's exported data: readable and writable, never executable.
    pub data: Range<u64>,
    /// The kernel heap: readable, writable, zero when first touched.
    pub heap: Range<u64>,
    /// Addresses that fault on any access; data symbols nobody provides point here.
    pub absent: Range<u64>,
    /// Addresses that nothing is mapped at, for the windows of described devices; empty where there can be none.
    pub windows: Range<u64>,
    /// The per-CPU areas, [`crate::percpu::AREA_SIZE`] bytes a CPU; the GS base of module code is the start of its CPU's.
    pub percpu: Range<u64>,
    /// The number of CPUs, from 1 to 64.
    pub cpus: u32,
    /// Value of Linux's `page_offset_base`: the start of the direct map.
    pub page_offset: u64,
    /// Value of Linux's `phys_base`, chosen so that both of `__pa`'s formulas agree.
    pub phys_base: u64,
    /// Value of Linux's `vmemmap_base`: start of the array of `struct page`.
    pub vmemmap: u64,
}

impl Regions {
    /// Where the per-CPU area of a CPU starts.
    pub fn percpu_of(&self, cpu: u32) -> u64 {
        self.percpu.start + u64::from(cpu) * AREA_SIZE
    }

    /// The starts of all per-CPU areas.
    pub fn percpu_areas(&self) -> impl Iterator<Item = u64> + use<> {
        self.percpu.clone().step_by(AREA_SIZE as usize)
    }
}

/// An access to memory that is not there or not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no access to {length} bytes at {address:#x}")]
pub struct Fault {
    /// First byte asked for.
    pub address: u64,
    /// Number of bytes asked for.
    pub length: u64,
}

/// An execution context (a stack and saved registers) owned by the platform.
///
/// Context 0 is the one the kernel was booted on; it runs the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Context(pub u32);

/// One module's bytes, fetched because something inside the kernel asked for it (`request_module`).
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The file as it is on disk, decompressed.
    pub bytes: Vec<u8>,
    /// Parameters to load it with.
    pub arguments: Vec<u8>,
}

/// The kernel's only way to the outside.
///
/// No method may be called while a [`crate::lock::Lock`] is held that its implementation could need again.
pub trait Platform: Sync {
    /// Where everything lies.
    fn regions(&self) -> &Regions;

    /// Writes `bytes` at `address` in any of the regions, text included. Writes to text and rodata may be delayed until
    /// [`Platform::commit`].
    ///
    /// # Errors
    /// [`Fault`] when the range is not inside one region.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// Makes all earlier writes visible to execution. Called before any new code runs.
    fn commit(&self) -> Result<(), Fault>;

    /// Reads `into.len()` bytes at `address`; any kernel address may be asked for.
    ///
    /// # Errors
    /// [`Fault`] when the range is not readable kernel memory.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// Makes a page-aligned part of the data region read-only (`true`) or writable again (`false`).
    ///
    /// # Errors
    /// [`Fault`] when the range is not page aligned or not inside the data region.
    fn seal(&self, range: Range<u64>, read_only: bool) -> Result<(), Fault>;

    /// Makes a page-aligned part of the heap inaccessible (`true`), or usable again (`false`).
    ///
    /// # Errors
    /// [`Fault`] when the range is not page aligned or not inside the heap, and where that cannot be done.
    fn forbid(&self, range: Range<u64>, inaccessible: bool) -> Result<(), Fault> {
        let _ = inaccessible;
        Err(Fault { address: range.start, length: range.end.saturating_sub(range.start) })
    }

    /// Says that a page-aligned range of any region is free: its contents vanish, a later read gives zeros (in text and
    /// rodata: until written again).
    fn discard(&self, range: Range<u64>);

    /// Nanoseconds since the kernel was booted, monotonic.
    fn now(&self) -> u64;

    /// Nanoseconds since 1970-01-01 UTC.
    fn wall_clock(&self) -> u64;

    /// Waits until `now() >= until` or something happened. Called on context 0 only, when nothing can run.
    fn wait(&self, until: u64);

    /// Makes a context that will run `entry(argument)` on a guarded stack of its own when first switched to.
    ///
    /// # Errors
    /// `ENOMEM` when there is no stack to be had.
    fn create_context(&self, entry: extern "C" fn(u64) -> !, argument: u64) -> Result<Context, Errno>;

    /// Points GS at the area of a CPU. Called on any context; platforms of one CPU have nothing to do.
    fn select_cpu(&self, _cpu: u32) {}

    /// Saves the running context as `from` and goes on with `to`; returns when somebody switches back.
    fn switch(&self, from: Context, to: Context);

    /// Frees a context that will never run again. Never the running one.
    fn destroy_context(&self, context: Context);

    /// The range of the stack of `context`, guard pages excluded.
    fn stack_of(&self, context: Context) -> Range<u64>;

    /// The callee-saved registers, instruction and stack pointer of a context that is not running (the others read 0).
    fn saved_registers(&self, context: Context) -> Registers;

    /// Calls C code at `address` on the running stack with up to six integer arguments; the value of `rax`.
    fn call(&self, address: u64, arguments: [u64; 6]) -> u64;

    /// Hands a kernel-log record to the outside as it is written.
    fn console(&self, record: &Record);

    /// Asks the outside for the modules that `name` (a module name or an alias) stands for, dependencies first.
    ///
    /// # Errors
    /// `ENOENT` when nobody knows it.
    fn fetch_module(&self, name: &[u8]) -> Result<Vec<Fetched>, Errno>;

    /// Fills `into` with random bytes.
    fn random(&self, into: &mut [u8]);

    /// The kernel cannot go on (`panic()`, or an oops while its own state was locked).
    fn halt(&self, reason: &str) -> !;
}
