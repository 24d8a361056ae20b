//! The kernel's way to the machine.

use alloc::vec::Vec;
use core::ops::Range;

use ferrmod_boot::memory::{ABSENT, DIRECT_MAP, MemoryPlan, PAGE, VMEMMAP};
use ferrmod_kernel::Errno;
use ferrmod_kernel::percpu::AREA_SIZE;
use ferrmod_kernel::platform::{Context, Fault, Fetched, Platform, Regions};
use ferrmod_kernel::text::log::Record;
use ferrmod_kernel::trap::Registers;

use crate::initramfs::Initramfs;
use crate::serial::{self, say};
use crate::{contexts, paging, power, time, traps};

/// This machine.
#[derive(Debug)]
pub(crate) struct Hardware {
    regions: Regions,
    initramfs: Initramfs,
}

impl Hardware {
    /// The machine whose memory is laid out like this.
    pub(crate) fn new(plan: &MemoryPlan, initramfs: Initramfs) -> Self {
        let module = |range: &Range<u64>| plan.module_address(range.start)..plan.module_address(range.end);
        let direct = |range: &Range<u64>| DIRECT_MAP + range.start..DIRECT_MAP + range.end;
        let percpu = DIRECT_MAP + plan.percpu.start;
        let regions = Regions {
            text: module(&plan.text),
            rodata: module(&plan.rodata),
            data: module(&plan.data),
            heap: direct(&plan.heap),
            absent: ABSENT,
            windows: 0..0,
            percpu: percpu..percpu + AREA_SIZE,
            cpus: 1,
            page_offset: DIRECT_MAP,
            phys_base: plan.phys_base(),
            vmemmap: VMEMMAP,
        };
        Self { regions, initramfs }
    }

    fn in_one_region(&self, address: u64, length: u64) -> bool {
        let Regions { text, rodata, data, heap, percpu, .. } = &self.regions;
        let end = address.checked_add(length);
        [text, rodata, data, heap, percpu]
            .into_iter()
            .any(|region| region.contains(&address) && end.is_some_and(|end| end <= region.end))
    }
}

fn check(holds: bool, address: u64, length: u64) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault { address, length }) }
}

impl Platform for Hardware {
    fn regions(&self) -> &Regions {
        &self.regions
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let length = bytes.len() as u64;
        check(self.in_one_region(address, length) && paging::write(address, bytes), address, length)
    }

    fn commit(&self) -> Result<(), Fault> {
        traps::serialise();
        Ok(())
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        check(paging::read(address, into), address, into.len() as u64)
    }

    fn seal(&self, range: Range<u64>, read_only: bool) -> Result<(), Fault> {
        let data = &self.regions.data;
        let aligned = range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE);
        let inside = data.start <= range.start && range.start <= range.end && range.end <= data.end;
        check(aligned && inside, range.start, range.end.wrapping_sub(range.start))?;
        paging::seal(range, read_only);
        Ok(())
    }

    fn discard(&self, range: Range<u64>) {
        if range.start < range.end && self.in_one_region(range.start, range.end - range.start) {
            paging::hide(range);
        }
    }

    fn now(&self) -> u64 {
        time::now()
    }

    fn wall_clock(&self) -> u64 {
        time::wall_clock()
    }

    fn wait(&self, until: u64) {
        time::wait(until);
    }

    fn create_context(&self, entry: extern "C" fn(u64) -> !, argument: u64) -> Result<Context, Errno> {
        contexts::create(entry, argument).map(Context).ok_or(Errno::ENOMEM)
    }

    fn switch(&self, from: Context, to: Context) {
        contexts::switch(from.0, to.0);
    }

    fn destroy_context(&self, context: Context) {
        contexts::destroy(context.0);
    }

    fn stack_of(&self, context: Context) -> Range<u64> {
        contexts::stack_of(context.0)
    }

    fn saved_registers(&self, context: Context) -> Registers {
        let [rip, rsp, rbp, rbx, r12, r13, r14, r15] = contexts::saved(context.0).unwrap_or_default();
        Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15, ..Registers::default() }
    }

    fn call(&self, address: u64, arguments: [u64; 6]) -> u64 {
        type Function = extern "C" fn(u64, u64, u64, u64, u64, u64) -> u64;
        let [a, b, c, d, e, f] = arguments;
        // SAFETY: the kernel asks for a call of C code at this address; a wrong one faults, and the fault kills the task.
        let function = unsafe { core::mem::transmute::<u64, Function>(address) };
        function(a, b, c, d, e, f)
    }

    fn console(&self, record: &Record) {
        serial::write(&record.lines(false));
    }

    fn fetch_module(&self, name: &[u8]) -> Result<Vec<Fetched>, Errno> {
        self.initramfs.fetch(name)
    }

    fn random(&self, into: &mut [u8]) {
        time::random(into);
    }

    fn halt(&self, reason: &str) -> ! {
        say!("halted: {reason}");
        power::off(power::Verdict::Halted)
    }
}
