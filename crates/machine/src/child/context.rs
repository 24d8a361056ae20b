//! Contexts: stacks between guard pages, and the switch from one to another.
//!
//! Everything runs on one thread of the process. A context that does not run is a stack pointer; what the C ABI wants kept
//! across a call lies on its stack.

use std::arch::global_asm;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ferrmod_kernel::Errno;
use ferrmod_kernel::platform::Context;
use ferrmod_kernel::trap::Registers;

use super::memory;
use crate::layout::{BOOT_STACK, CONTEXTS, PAGE, STACK, STACKS};

/// This much of a freed stack stays present for the next task: most use no more.
const WARM: u64 = 16 << 10;

/// Where a context that does not run has its registers: on its stack, from here up.
static SAVED: [AtomicU64; CONTEXTS as usize + 1] = [const { AtomicU64::new(0) }; CONTEXTS as usize + 1];
static CURRENT: AtomicU32 = AtomicU32::new(0);
static SLOTS: Mutex<Slots> = Mutex::new(Slots { used: 0, free: Vec::new() });

struct Slots {
    /// Slots 0..used have been opened.
    used: u32,
    free: Vec<u32>,
}

global_asm!(
    ".pushsection .text.ferrmod_machine_context,\"ax\",@progbits",
    // switch(save: *mut u64 [rdi], to: u64 [rsi])
    ".globl ferrmod_machine_switch",
    ".hidden ferrmod_machine_switch",
    "ferrmod_machine_switch:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "stmxcsr [rsp]",
    "fnstcw [rsp + 4]",
    "mov [rdi], rsp",
    "mov rsp, rsi",
    "ldmxcsr [rsp]",
    "fldcw [rsp + 4]",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    // What a new context returns to: r12(r13), which never returns.
    ".globl ferrmod_machine_enter",
    ".hidden ferrmod_machine_enter",
    "ferrmod_machine_enter:",
    "mov rdi, r13",
    "call r12",
    "ud2",
    // boot(top [rdi], entry [rsi], argument [rdx]): goes on at another stack for ever.
    ".globl ferrmod_machine_boot",
    ".hidden ferrmod_machine_boot",
    "ferrmod_machine_boot:",
    "mov rsp, rdi",
    "xor ebp, ebp",
    "mov rdi, rdx",
    "call rsi",
    "ud2",
    // Where an interrupted task goes on, with all its registers but these: the instruction it was interrupted at lies on top of
    // its stack, below 128 bytes that belong to it.
    ".globl ferrmod_machine_interrupted",
    ".hidden ferrmod_machine_interrupted",
    "ferrmod_machine_interrupted:",
    "pushfq",
    "push 0x202",
    "popfq",
    "push rax",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push rbp",
    "mov rbp, rsp",
    "sub rsp, {state}",
    "and rsp, -64",
    // The header of the saved state has to be zero where the processor does not write it.
    "xor eax, eax",
    "lea rdi, [rsp + 512]",
    "mov ecx, 8",
    "rep stosq",
    "mov eax, {parts}",
    "xor edx, edx",
    "xsave64 [rsp]",
    "call {slice}",
    "mov eax, {parts}",
    "xor edx, edx",
    "xrstor64 [rsp]",
    "mov rsp, rbp",
    "pop rbp",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rax",
    "popfq",
    "ret 128",
    // call(address [rdi], registers: *const [u64; 6] [rsi], stack: *const u64 [rdx], count [rcx]) -> rax
    ".globl ferrmod_machine_call",
    ".hidden ferrmod_machine_call",
    "ferrmod_machine_call:",
    "push rbp",
    "mov rbp, rsp",
    "mov r11, rdi",
    "mov r10, rsi",
    // Room for the stack arguments, so that the stack is aligned at the call.
    "lea rax, [rcx + 1]",
    "and rax, -2",
    "shl rax, 3",
    "sub rsp, rax",
    "2:",
    "test rcx, rcx",
    "jz 3f",
    "dec rcx",
    "mov rax, [rdx + rcx * 8]",
    "mov [rsp + rcx * 8], rax",
    "jmp 2b",
    "3:",
    "mov rdi, [r10]",
    "mov rsi, [r10 + 8]",
    "mov rdx, [r10 + 16]",
    "mov rcx, [r10 + 24]",
    "mov r8, [r10 + 32]",
    "mov r9, [r10 + 40]",
    "xor eax, eax",
    "call r11",
    "leave",
    "ret",
    ".popsection",
    slice = sym slice,
    state = const STATE,
    parts = const PARTS,
);

/// Which registers are saved besides the general ones: x87, SSE, AVX and AVX-512, as far as there are any.
const PARTS: u32 = 0xe7;
/// Room for them: 2,688 bytes in the standard format.
const STATE: u32 = 4096;
/// What an interrupted task needs of its stack.
const SLICE_ROOM: u64 = 16 << 10;

extern "C" fn slice() {
    if let Some(kernel) = ferrmod_kernel::try_kernel() {
        kernel.tasks.slice();
    }
}

/// Lets the running task, interrupted at `rip` with its stack at `rsp`, end the turn of its CPU when it goes on: the registers
/// to go on with. `None` when its stack is no good for that.
pub(super) fn interrupt(rip: u64, rsp: u64) -> Option<(u64, u64)> {
    if !std::arch::is_x86_feature_detected!("xsave") {
        return None;
    }
    let stack = stack(current());
    let top = rsp.checked_sub(128 + 8)?;
    (stack.start + SLICE_ROOM..stack.end).contains(&top).then(|| {
        // SAFETY: the stack of the interrupted task, below what it uses.
        unsafe { (top as *mut u64).write(rip) };
        (ferrmod_machine_interrupted as *const () as u64, top)
    })
}

unsafe extern "C" {
    fn ferrmod_machine_interrupted();
    fn ferrmod_machine_switch(save: *mut u64, to: u64);
    fn ferrmod_machine_enter();
    fn ferrmod_machine_boot(top: u64, entry: extern "C" fn(u64) -> !, argument: u64) -> !;
    fn ferrmod_machine_call(address: u64, registers: *const [u64; 6], stack: *const u64, count: usize) -> u64;
}

/// The scheduler's stack.
pub(super) fn boot_stack() -> Range<u64> {
    STACKS + PAGE..STACKS + PAGE + BOOT_STACK
}

/// The stack of a context, guard pages excluded.
pub(super) fn stack(context: Context) -> Range<u64> {
    match context.0.checked_sub(1) {
        None => boot_stack(),
        Some(slot) => {
            let start = boot_stack().end + PAGE + u64::from(slot) * (STACK + PAGE);
            start..start + STACK
        }
    }
}

/// The running context.
pub(super) fn current() -> Context {
    Context(CURRENT.load(Ordering::Relaxed))
}

/// Goes on with `entry(argument)` on the scheduler's stack.
pub(super) fn on_boot_stack(entry: extern "C" fn(u64) -> !, argument: u64) -> ! {
    // SAFETY: the stack was just made and nobody is on it; `entry` never returns, so the stack left stays as it is.
    unsafe { ferrmod_machine_boot(boot_stack().end, entry, argument) }
}

/// Calls a C function at `address`; more than six arguments go onto the stack.
pub(super) fn call(address: u64, arguments: &[u64]) -> u64 {
    let mut registers = [0; 6];
    let (first, rest) = arguments.split_at(arguments.len().min(6));
    registers[..first.len()].copy_from_slice(first);
    // SAFETY: whatever is at `address` runs, with what it was given: that is what a machine is for. What it does wrong is a
    // fault, which the handler turns into the end of the running task, or damage, which stays inside this process.
    unsafe { ferrmod_machine_call(address, &raw const registers, rest.as_ptr(), rest.len()) }
}

fn saved(context: Context) -> Option<&'static AtomicU64> {
    SAVED.get(context.0 as usize)
}

/// Makes a context that will run `entry(argument)`.
pub(super) fn create(entry: extern "C" fn(u64) -> !, argument: u64) -> Result<Context, Errno> {
    let Ok(mut slots) = SLOTS.lock() else { return Err(Errno::ENOMEM) };
    let context = match slots.free.pop() {
        Some(slot) => Context(slot + 1),
        None => {
            let context = Context(slots.used + 1);
            if slots.used == CONTEXTS || memory::open(stack(context)).is_err() {
                return Err(Errno::ENOMEM);
            }
            slots.used += 1;
            context
        }
    };
    drop(slots);
    // What `ferrmod_machine_switch` pops, then two words of zero where a back-trace ends.
    let control = 0x1f80_u64 | 0x37f << 32;
    let frame = [control, 0, 0, argument, entry as usize as u64, 0, 0, ferrmod_machine_enter as *const () as u64, 0, 0];
    let at = stack(context).end - size_of_val(&frame) as u64;
    // SAFETY: the top of a stack that is open and that nobody uses; `at` is 16-byte aligned.
    unsafe { std::ptr::write(at as *mut [u64; 10], frame) };
    if let Some(place) = saved(context) {
        place.store(at, Ordering::Relaxed);
    }
    Ok(context)
}

/// Saves the running context as `from`, goes on with `to`.
pub(super) fn switch(from: Context, to: Context) {
    let (Some(save), Some(next)) = (saved(from), saved(to)) else { return };
    CURRENT.store(to.0, Ordering::Relaxed);
    // SAFETY:
    // 1. `next` was stored by `create` or by an earlier switch away from `to`, which is not running: it points to a frame as
    //    the switch pops it.
    // 2. `save` is a static that only this thread writes.
    unsafe { ferrmod_machine_switch(save.as_ptr(), next.load(Ordering::Relaxed)) };
}

/// The registers of a context that does not run.
pub(super) fn registers(context: Context) -> Registers {
    let at = saved(context).map_or(0, |place| place.load(Ordering::Relaxed));
    let mut frame = [0_u64; 8];
    if at == 0 || !crate::layout::inside(&stack(context), at, 64) {
        return Registers::default();
    }
    // SAFETY: `frame` is writable; the frame lies on an open stack, and a fault would only end the copy.
    unsafe { memory::copy(frame.as_mut_ptr() as u64, at, 64) };
    let [_, r15, r14, r13, r12, rbx, rbp, rip] = frame;
    Registers { rip, rsp: at + 64, rbx, rbp, r12, r13, r14, r15, ..Registers::default() }
}

/// Frees a context that will never run again.
pub(super) fn destroy(context: Context) {
    let Some(slot) = context.0.checked_sub(1) else { return };
    let range = stack(context);
    memory::discard(range.start..range.end - WARM);
    if let Some(place) = saved(context) {
        place.store(0, Ordering::Relaxed);
    }
    if let Ok(mut slots) = SLOTS.lock() {
        slots.free.push(slot);
    }
}
