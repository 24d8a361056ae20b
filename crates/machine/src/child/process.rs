//! The process as a [`Platform`].

use std::io::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use ferrmod_kernel::Errno;
use ferrmod_kernel::platform::{Context, Fault, Fetched, Platform, Regions};
use ferrmod_kernel::text::log::Record;
use ferrmod_kernel::trap::Registers;

use super::{CONTROL, Setup, Step, context, fault, leave, memory, wire, worlds};
use crate::layout::{
    ABSENT, DATA, MOST_CPUS, OUTBOX_SIZE, PAGE_OFFSET, PERCPU, PHYS_BASE, RODATA, TEXT, TICK, VMEMMAP, WINDOWS, inside,
};
use crate::packet;
use crate::protocol::{Down, Message, OPERATIONS, Operation, PACKET};
use crate::value::LogLine;
use ferrmod_kernel::percpu::AREA_SIZE;

static PROCESS: OnceLock<Process> = OnceLock::new();

/// The kernel's way out of this process.
pub(crate) struct Process {
    regions: Regions,
    start: u64,
    staging: Mutex<Staging>,
    busy: AtomicU32,
    /// Address of the outbox.
    pub(super) outbox: u64,
    /// The process id of the supervisor.
    pub(super) supervisor: i32,
    /// The longest a task may keep the processor, in nanoseconds.
    pub(super) watchdog: u64,
    /// Where the C library's code lies.
    pub(super) library: Range<u64>,
}

/// Changes of text and rodata that wait for the commit.
#[derive(Default)]
struct Staging {
    operations: Vec<Operation>,
    used: u64,
}

/// This process, when it is a machine's child.
pub(crate) fn process() -> Option<&'static Process> {
    PROCESS.get()
}

/// While it lives, the process's own state is in the middle of a change: the watchdog waits.
struct Busy<'a>(&'a AtomicU32);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec. The clocks used here cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Makes this process the platform.
pub(super) fn start(setup: &Setup<'_>) -> Step {
    let cpus = setup.options.cpus.clamp(1, MOST_CPUS);
    let process = Process {
        regions: Regions {
            text: TEXT,
            rodata: RODATA,
            data: DATA,
            heap: memory::heap(),
            absent: ABSENT,
            windows: WINDOWS,
            percpu: PERCPU.start..PERCPU.start + u64::from(cpus) * AREA_SIZE,
            cpus,
            page_offset: PAGE_OFFSET,
            phys_base: PHYS_BASE,
            vmemmap: VMEMMAP.start,
        },
        start: clock(libc::CLOCK_MONOTONIC),
        staging: Mutex::default(),
        busy: AtomicU32::new(0),
        outbox: setup.outbox as u64,
        supervisor: setup.supervisor,
        watchdog: setup.options.watchdog.as_nanos().try_into().unwrap_or(u64::MAX),
        library: setup.library.clone(),
    };
    PROCESS.set(process).map_err(|_| ("process", std::io::ErrorKind::AlreadyExists.into()))
}

/// The kernel has stopped. Says so without an allocation, since the fault may be in the allocator.
pub(super) fn halt(reason: std::fmt::Arguments<'_>) -> ! {
    let mut text = [0_u8; 512];
    let mut rest = &mut text[..];
    // What does not fit is cut off.
    let _ = rest.write_fmt(reason);
    let length = 512 - rest.len();
    let text = std::str::from_utf8(&text[..length]).unwrap_or("stopped");
    wire::send(&Message::Halted(text.into()));
    leave(2)
}

/// A record as it is sent.
pub(super) fn line(record: &Record) -> LogLine {
    LogLine {
        sequence: record.sequence,
        time: record.time,
        level: record.level as u8,
        facility: record.facility,
        text: record.text.clone(),
    }
}

impl Process {
    fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(&self.busy)
    }

    /// Whether the process's own state is in the middle of a change.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) != 0
    }

    /// Whatever was being done will never be finished: its task is dead.
    pub(super) fn abandon(&self) {
        self.busy.store(0, Ordering::Relaxed);
    }

    /// Bytes of the outbox in use.
    pub(super) fn staged(&self) -> u64 {
        self.staging.try_lock().map_or(OUTBOX_SIZE, |staging| staging.used)
    }

    /// The request is over: what was freed vanishes now rather than with the next commit, without waiting for it.
    pub(super) fn settle(&self) {
        let _busy = self.busy();
        let Ok(mut staging) = self.staging.try_lock() else { return };
        let clears = staging.operations.iter().all(|operation| matches!(operation, Operation::Clear { .. }));
        if clears && staging.operations.len() <= OPERATIONS {
            if !staging.operations.is_empty() {
                wire::send(&Message::Clear(std::mem::take(&mut staging.operations)));
            }
        } else {
            staging.flush();
        }
    }

    fn stage(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let length = bytes.len() as u64;
        let fault = Fault { address, length };
        let mut staging = self.staging.try_lock().map_err(|_| fault)?;
        if length > OUTBOX_SIZE - staging.used {
            staging.flush();
            if length > OUTBOX_SIZE {
                return Err(fault);
            }
        }
        let offset = staging.used;
        // SAFETY: `offset + length` is inside the outbox, which this process uses from `used` on.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (self.outbox + offset) as *mut u8, bytes.len()) };
        staging.used += length;
        // Everything staged lies in order and without gaps, so a write behind the last one makes that longer.
        if let Some(Operation::Copy { address: last, length: so_far, .. }) = staging.operations.last_mut()
            && *last + *so_far == address
        {
            *so_far += length;
        } else {
            staging.operations.push(Operation::Copy { address, offset, length });
        }
        Ok(())
    }
}

impl Staging {
    fn flush(&mut self) {
        let mut answer = [0; 64];
        for operations in self.operations.chunks(OPERATIONS) {
            wire::send(&Message::Commit(operations.to_vec()));
            match wire::receive(&mut answer) {
                Down::Committed => (),
                // Only a supervisor that is not ours answers anything else.
                _ => leave(1),
            }
        }
        self.operations.clear();
        self.used = 0;
    }
}

impl Platform for Process {
    fn regions(&self) -> &Regions {
        &self.regions
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let length = bytes.len() as u64;
        let _busy = self.busy();
        if [TEXT, RODATA].iter().any(|range| inside(range, address, length)) {
            return self.stage(address, bytes);
        }
        let writable = [&self.regions.data, &self.regions.heap, &self.regions.percpu, &VMEMMAP];
        if writable.iter().any(|range| inside(range, address, length)) {
            // SAFETY: the kernel's own memory, which no Rust reference points into; sealed pages end the copy.
            if unsafe { memory::copy(address, bytes.as_ptr() as u64, bytes.len()) } {
                return Ok(());
            }
        }
        Err(Fault { address, length })
    }

    fn commit(&self) -> Result<(), Fault> {
        let _busy = self.busy();
        let mut staging = self.staging.try_lock().map_err(|_| Fault { address: 0, length: 0 })?;
        staging.flush();
        Ok(())
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        // SAFETY: `into` is writable; reading memory of this process that is not there ends the copy.
        if unsafe { memory::copy(into.as_mut_ptr() as u64, address, into.len()) } {
            Ok(())
        } else {
            Err(Fault { address, length: into.len() as u64 })
        }
    }

    fn seal(&self, range: Range<u64>, read_only: bool) -> Result<(), Fault> {
        let fault = Fault { address: range.start, length: range.end.saturating_sub(range.start) };
        if memory::seal(range, read_only) { Ok(()) } else { Err(fault) }
    }

    fn forbid(&self, range: Range<u64>, inaccessible: bool) -> Result<(), Fault> {
        let fault = Fault { address: range.start, length: range.end.saturating_sub(range.start) };
        if memory::forbid(range, inaccessible) { Ok(()) } else { Err(fault) }
    }

    fn discard(&self, range: Range<u64>) {
        let length = range.end.saturating_sub(range.start);
        if [TEXT, RODATA].iter().any(|pool| inside(pool, range.start, length)) {
            let _busy = self.busy();
            if let Ok(mut staging) = self.staging.try_lock() {
                staging.operations.push(Operation::Clear { address: range.start, length });
            }
        } else if [DATA, PERCPU, memory::heap()].iter().any(|pool| inside(pool, range.start, length)) {
            memory::discard(range);
        }
    }

    fn now(&self) -> u64 {
        clock(libc::CLOCK_MONOTONIC).saturating_sub(self.start)
    }

    fn wall_clock(&self) -> u64 {
        clock(libc::CLOCK_REALTIME)
    }

    fn wait(&self, until: u64) {
        let left = until.saturating_sub(self.now());
        if left == 0 {
            return;
        }
        // Nothing runs, so nothing looks at jiffies: a long wait needs no ticks.
        let long = left > 2 * TICK;
        if long {
            fault::stop_tick();
        }
        if packet::ready(CONTROL, left) && !wire::connected() {
            leave(0);
        }
        if long {
            fault::start_tick();
        }
        worlds::tick(self.now());
    }

    fn create_context(&self, entry: extern "C" fn(u64) -> !, argument: u64) -> Result<Context, Errno> {
        let _busy = self.busy();
        context::create(entry, argument)
    }

    fn select_cpu(&self, cpu: u32) {
        memory::select_gs(self.regions.percpu_of(cpu));
    }

    fn switch(&self, from: Context, to: Context) {
        context::switch(from, to);
    }

    fn destroy_context(&self, context: Context) {
        let _busy = self.busy();
        context::destroy(context);
    }

    fn stack_of(&self, context: Context) -> Range<u64> {
        context::stack(context)
    }

    fn saved_registers(&self, context: Context) -> Registers {
        context::registers(context)
    }

    fn call(&self, address: u64, arguments: [u64; 6]) -> u64 {
        context::call(address, &arguments)
    }

    fn console(&self, record: &Record) {
        let _busy = self.busy();
        wire::send(&Message::Log(line(record)));
    }

    fn fetch_module(&self, name: &[u8]) -> Result<Vec<Fetched>, Errno> {
        let _busy = self.busy();
        wire::send(&Message::Fetch(name.to_vec()));
        let mut answer = vec![0; PACKET];
        match wire::receive(&mut answer) {
            Down::Fetched(Some(modules)) => Ok(modules
                .into_iter()
                .map(|module| Fetched { bytes: module.bytes.to_vec(), arguments: module.arguments.to_vec() })
                .collect()),
            Down::Fetched(None) => Err(Errno::ENOENT),
            _ => leave(1),
        }
    }

    fn random(&self, into: &mut [u8]) {
        for part in into.chunks_mut(256) {
            // SAFETY: `part` is writable. Up to 256 bytes are given whole (getrandom(2)).
            unsafe { libc::getrandom(part.as_mut_ptr().cast(), part.len(), 0) };
        }
    }

    fn halt(&self, reason: &str) -> ! {
        halt(format_args!("{reason}"))
    }
}
