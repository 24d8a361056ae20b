//! Traps and ticks, handed to the kernel; and what it decides, done.

use alloc::format;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ferrmod_kernel::percpu::CALLER_SLOT;
use ferrmod_kernel::trap::{Registers, Trap, Verdict};
use ferrmod_kernel::{lock, try_kernel};

use crate::serial::say;
use crate::traps::{self, FloatState, Frame};
use crate::{contexts, heap, paging, power, time};

/// A task that runs this many nanoseconds without giving up the processor is locked up. Generous, because emulation is slow;
/// `watchdog=SECONDS` on the command line changes it.
static LOCKUP: AtomicU64 = AtomicU64::new(20_000_000_000);

/// When the task that was last caught was switched to.
static CAUGHT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Reads what the command line says about the watchdog.
pub(crate) fn configure(command_line: &str) {
    let seconds = command_line.split_whitespace().find_map(|word| word.strip_prefix("watchdog=")?.parse::<u64>().ok());
    if let Some(seconds) = seconds {
        LOCKUP.store(seconds.saturating_mul(1_000_000_000), Ordering::Relaxed);
    }
}

/// Bits of a page fault's error code (Intel SDM vol. 3, "Page-Fault Exceptions").
const PROTECTION: u64 = 1;
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 4;

/// Of RFLAGS: interrupts on, and the bit that is always set.
const CLEAN_FLAGS: u64 = 0x202;

fn registers(frame: &Frame) -> Registers {
    let &Frame { rip, rsp, rflags, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15, .. } =
        frame;
    Registers { rip, rsp, rflags, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15 }
}

fn restore(frame: &mut Frame, registers: &Registers) {
    let &Registers { rip, rsp, rflags, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15 } =
        registers;
    let &mut Frame { vector, error, cs, ss, .. } = frame;
    *frame = Frame {
        rip,
        rsp,
        rflags,
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        vector,
        error,
        cs,
        ss,
    };
}

fn reason(frame: &Frame, address: u64) -> Trap {
    match frame.vector {
        0 => Trap::DivideError,
        1 => Trap::Debug,
        3 => Trap::Breakpoint,
        6 if is_system_call(frame.rip) => Trap::SystemCall,
        6 => Trap::InvalidOpcode,
        12 | 13 => Trap::GeneralProtection,
        14 if contexts::in_guard(address) => Trap::StackOverflow { address },
        14 => Trap::PageFault {
            address,
            write: frame.error & WRITE != 0,
            fetch: frame.error & FETCH != 0,
            protection: frame.error & PROTECTION != 0,
        },
        vector => Trap::Other(vector as u8),
    }
}

/// `syscall` is an invalid opcode here, because EFER.SCE is clear.
fn is_system_call(rip: u64) -> bool {
    let mut code = [0; 2];
    paging::read(rip, &mut code) && code == [0x0f, 0x05]
}

/// Takes a fault nobody could make good. `address` is CR2's, for a page fault.
pub(crate) fn fault(frame: &mut Frame, float: &mut FloatState, address: u64) {
    let nested = traps::in_trap_stack(frame.rsp);
    let kernel = if nested { None } else { try_kernel() };
    let trap = reason(frame, address);
    let Some(kernel) = kernel else {
        say!("{trap:x?} in the kernel itself: {frame:#x?}");
        power::off(power::Verdict::Halted)
    };
    let mut registers = registers(frame);
    let verdict = kernel.trap(trap, &mut registers);
    restore(frame, &registers);
    act(verdict, trap, frame, float);
}

fn act(verdict: Verdict, trap: Trap, frame: &mut Frame, float: &mut FloatState) {
    match verdict {
        Verdict::Resume => {}
        Verdict::Kill => {
            frame.rip = ferrmod_kernel::task_died as *const () as u64;
            // As after a call: 8 below a multiple of 16.
            frame.rsp = contexts::stack_of(contexts::running()).end - 8;
            frame.rbp = 0;
            frame.rflags = CLEAN_FLAGS;
            float.reset_control();
        }
        Verdict::Halt => {
            say!("halted: {trap:x?} at {:#x}, {} locks held: {frame:#x?}", frame.rip, lock::held());
            power::off(power::Verdict::Halted)
        }
    }
}

/// A panic of Rust code that a task was in, with nothing of the kernel in the middle of a change, is that task's end and no more:
/// a module passed what a function cannot take. Returns when it is more than that.
pub(crate) fn panicked(info: &PanicInfo<'_>) {
    // Once: a panic in what follows is the kernel's own.
    static AGAIN: AtomicBool = AtomicBool::new(false);
    let Some(kernel) = try_kernel() else { return };
    let busy = lock::held() > 0 || heap::busy() || traps::depth() > 0;
    if busy || kernel.running_since().is_none() || AGAIN.swap(true, Ordering::Relaxed) {
        return;
    }
    let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
    let reason = format!("kernel BUG at {}! {}", place.unwrap_or_default(), info.message());
    let mut caller = [0; 8];
    let slot = kernel.platform.regions().percpu.start + u64::from(CALLER_SLOT);
    if !paging::read(slot, &mut caller) {
        return;
    }
    AGAIN.store(false, Ordering::Relaxed);
    kernel.bug(&reason, u64::from_le_bytes(caller))
}

/// Every 4 ms, with interrupts off, on a stack of its own; whatever ran is in `frame`.
pub(crate) fn tick(frame: &mut Frame, float: &mut FloatState) {
    ferrmod_abi_linux::tick();
    let Some(kernel) = try_kernel() else { return };
    let Some(since) = kernel.running_since() else {
        return;
    };
    let running = time::now().saturating_sub(since);
    // In the middle of a change of the kernel's own state is the wrong moment; the next tick is soon.
    let busy = lock::held() > 0 || heap::busy() || traps::in_trap_stack(frame.rsp);
    // Once a run: a tick that comes before the dead task is gone finds it still running.
    let known = CAUGHT.load(Ordering::Relaxed) == since;
    if running > LOCKUP.load(Ordering::Relaxed) && !busy && !known {
        CAUGHT.store(since, Ordering::Relaxed);
        let trap = Trap::SoftLockup(running);
        let mut registers = registers(frame);
        let verdict = kernel.trap(trap, &mut registers);
        restore(frame, &registers);
        act(verdict, trap, frame, float);
    }
}
