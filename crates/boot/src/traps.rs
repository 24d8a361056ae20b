//! Descriptor tables, and what happens first when the processor stops the running code.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use ferrmod_boot::memory::PAGE;
use x86_64::VirtAddr;
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::registers::control::{Cr2, Cr4, Cr4Flags};
use x86_64::registers::model_specific::GsBase;
use x86_64::registers::segmentation::{CS, SS, Segment};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, instructions};

use crate::deliver;
use crate::paging;
use crate::serial::say;
use crate::time;

/// Vector of the timer interrupt.
pub(crate) const TIMER: u64 = 32;
const PAGE_FAULT: u64 = 14;
const NMI: usize = 2;
const DOUBLE_FAULT: usize = 8;
const VECTORS: usize = 48;

const TRAP_STACK: usize = 128 << 10;
const DEPTH_MAX: u32 = 4;
const IST_STACK: usize = 8 << 10;

/// Nesting depth of traps being handled.
static DEPTH: AtomicU32 = AtomicU32::new(0);
static TRAP_STACKS: Stack<{ TRAP_STACK * DEPTH_MAX as usize }> = Stack::new();
static IST_STACKS: Stack<{ IST_STACK * 2 }> = Stack::new();
static TABLES: spin::Once<(TaskStateSegment, Idt)> = spin::Once::new();
static GDT: spin::Once<(GlobalDescriptorTable, SegmentSelector, SegmentSelector, SegmentSelector)> = spin::Once::new();

/// Memory for stacks, touched only by the processor.
#[repr(C, align(4096))]
pub(crate) struct Stack<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: nothing in Rust reads or writes the bytes.
unsafe impl<const SIZE: usize> Sync for Stack<SIZE> {}

impl<const SIZE: usize> Stack<SIZE> {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new([0; SIZE]))
    }

    pub(crate) fn range(&self) -> Range<u64> {
        let start = self.0.get() as u64;
        start..start + SIZE as u64
    }
}

global_asm!(
    include_str!("asm/trap.s"),
    depth = sym DEPTH,
    depth_max = const DEPTH_MAX,
    trap_stacks = sym TRAP_STACKS,
    trap_stack_size = const TRAP_STACK,
    trap = sym trap,
    too_deep = sym too_deep,
    options(att_syntax)
);

unsafe extern "C" {
    fn trap_gates();
    fn nmi_gate();
}

/// What `trap.s` saves, in its order.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Frame {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rbp: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rdx: u64,
    pub(crate) rcx: u64,
    pub(crate) rbx: u64,
    pub(crate) rax: u64,
    pub(crate) vector: u64,
    pub(crate) error: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

/// The FXSAVE area of the interrupted code.
#[repr(C, align(16))]
pub(crate) struct FloatState([u8; 512]);

impl FloatState {
    /// As a new context would find it. The registers themselves are caller-saved and may hold anything.
    pub(crate) fn reset_control(&mut self) {
        self.0[0..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        self.0[2..8].fill(0);
        self.0[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    }
}

#[repr(C, align(16))]
struct Idt([[u64; 2]; VECTORS]);

impl Idt {
    fn new(code: SegmentSelector) -> Self {
        let mut entries = [[0; 2]; VECTORS];
        for (vector, entry) in entries.iter_mut().enumerate() {
            let (handler, stack) = match vector {
                NMI => (nmi_gate as *const () as u64, 2),
                DOUBLE_FAULT => (gate(vector), 2),
                _ => (gate(vector), 1),
            };
            // Intel SDM vol. 3, "64-Bit Mode IDT": interrupt gate (IF is cleared), present, with an IST.
            let flags = stack | 0x8e00;
            entry[0] = handler & 0xffff | u64::from(code.0) << 16 | flags << 32 | (handler >> 16 & 0xffff) << 48;
            entry[1] = handler >> 32;
        }
        Self(entries)
    }
}

/// Gates are 16 bytes apart.
fn gate(vector: usize) -> u64 {
    trap_gates as *const () as u64 + vector as u64 * 16
}

/// Loads the descriptor tables; from now on a fault is reported. Called once, first.
pub(crate) fn initialise() {
    let ist = IST_STACKS.range();
    let mut tss = TaskStateSegment::new();
    tss.interrupt_stack_table[0] = VirtAddr::new(ist.start + IST_STACK as u64);
    tss.interrupt_stack_table[1] = VirtAddr::new(ist.end);
    // The code selector is the first one appended below.
    let code = SegmentSelector::new(1, PrivilegeLevel::Ring0);
    let (tss, idt) = TABLES.call_once(|| (tss, Idt::new(code)));
    let (gdt, code, data, task) = GDT.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        let code = gdt.append(Descriptor::kernel_code_segment());
        let data = gdt.append(Descriptor::kernel_data_segment());
        let task = gdt.append(Descriptor::tss_segment(tss));
        (gdt, code, data, task)
    });
    gdt.load();
    let pointer =
        DescriptorTablePointer { limit: size_of::<Idt>() as u16 - 1, base: VirtAddr::new(idt.0.as_ptr() as u64) };
    // SAFETY: the selectors are those of the table just loaded, which is static, as are the TSS and the IDT; every gate
    // leads to a stub that saves and restores all registers.
    unsafe {
        CS::set_reg(*code);
        SS::set_reg(*data);
        load_tss(*task);
        lidt(&pointer);
    }
    enable_avx();
}

/// Crypto modules use AVX between `kernel_fpu_begin` and `kernel_fpu_end` where the processor has it.
fn enable_avx() {
    const XSAVE: u32 = 1 << 26;
    const AVX: u32 = 1 << 28;
    let features = core::arch::x86_64::__cpuid(1).ecx;
    if features & XSAVE == 0 {
        return;
    }
    let avx = if features & AVX != 0 { XCr0Flags::AVX } else { XCr0Flags::empty() };
    // SAFETY: the processor says it has XSAVE, and AVX where its state is enabled; nothing uses them yet.
    unsafe {
        Cr4::update(|flags| flags.insert(Cr4Flags::OSXSAVE));
        XCr0::write(XCr0Flags::X87 | XCr0Flags::SSE | avx);
    }
}

/// Takes the lowest page of each trap stack out of the tables. They must be the final ones.
pub(crate) fn guard_stacks() {
    for page in TRAP_STACKS.range().step_by(TRAP_STACK) {
        paging::guard(page);
    }
    paging::guard(IST_STACKS.range().start);
    paging::guard(IST_STACKS.range().start + IST_STACK as u64);
}

/// Whether an address is in a stack of a trap handler.
pub(crate) fn in_trap_stack(address: u64) -> bool {
    TRAP_STACKS.range().contains(&address)
}

/// How many traps are being handled, one in the other.
pub(crate) fn depth() -> u32 {
    DEPTH.load(Ordering::Relaxed)
}

/// GS base of module code: CPU 0's per-CPU area.
pub(crate) fn set_gs_base(address: u64) {
    GsBase::write(VirtAddr::new_truncate(address));
}

/// Called by `trap.s` with the interrupted registers, which it restores afterwards as they are then.
extern "C" fn trap(frame: &mut Frame, float: &mut FloatState) {
    match frame.vector {
        PAGE_FAULT => {
            let address = Cr2::read_raw();
            const PRESENT: u64 = 1;
            if frame.error & PRESENT == 0 && paging::demand(address) {
                return;
            }
            deliver::fault(frame, float, address);
        }
        TIMER => {
            time::acknowledge();
            deliver::tick(frame, float);
        }
        vector if vector > TIMER => {} // spurious: everything else is masked
        _ => deliver::fault(frame, float, 0),
    }
}

/// A trap in a trap in a trap: the words the processor pushed are all there is.
extern "C" fn too_deep(frame: &Frame) -> ! {
    say!("trap {} at {:#x} while handling traps, cr2 {:#x}", frame.vector, frame.rip, Cr2::read_raw());
    crate::power::off(crate::power::Verdict::Halted)
}

// Guards are whole pages.
const _: () = assert!((TRAP_STACK as u64).is_multiple_of(PAGE) && (IST_STACK as u64).is_multiple_of(PAGE));

/// Makes all earlier writes to code visible to execution.
pub(crate) fn serialise() {
    core::hint::black_box(core::arch::x86_64::__cpuid(0));
    instructions::nop();
}
