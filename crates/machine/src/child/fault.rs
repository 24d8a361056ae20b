//! Faults and the tick: signals become [`Trap`]s, and the kernel's verdict becomes registers.
//!
//! The handlers run on a stack of their own. They never leave by a jump: they change the registers that the return from the
//! signal restores, so that the signal mask is restored with them. A fault inside a handler (other than in a copy that may
//! fault) stops the machine.

use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ferrmod_kernel::platform::{Context, Platform as _};
use ferrmod_kernel::trap::{Registers, Trap, Verdict};

use super::process::halt;
use super::{Step, check, context, leave, memory, process, worlds};
use crate::layout::{MOST_CPUS, PAGE, TEXT, TICK};

/// Bytes of the handlers' stack. An oops is formatted on it.
const STACK: usize = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };
/// Look for a new parent this often.
const PARENT_TICKS: u32 = 64;
/// A task that hangs in a loop is ended in module code if it is seen there within this many ticks, since the kernel's own
/// code may be in the middle of something.
const PATIENCE: u64 = 64;

/// Start of the addresses that belong to the system.
const UPPER_HALF: u64 = 1 << 63;

/// How many handlers are active.
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// What the watchdog has seen of each CPU.
static WATCHED: [Watched; MOST_CPUS as usize] =
    [const { Watched { since: AtomicU64::new(0), ticks: AtomicU64::new(0) } }; MOST_CPUS as usize];

struct Watched {
    /// When its task was switched to.
    since: AtomicU64,
    /// The ticks it was seen at since.
    ticks: AtomicU64,
}
static TICKS: AtomicU32 = AtomicU32::new(0);

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs the handlers.
pub(super) fn install() -> Step {
    // SAFETY: a new mapping; its first page is made a guard, the rest becomes the signal stack of this thread.
    unsafe {
        let guard = PAGE as usize;
        let base = libc::mmap(
            ptr::null_mut(),
            STACK + guard,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        );
        if base == libc::MAP_FAILED {
            return Err(("signal stack", std::io::Error::last_os_error()));
        }
        check("signal stack", libc::mprotect(base, guard, libc::PROT_NONE).into())?;
        let stack = libc::stack_t { ss_sp: base.byte_add(guard), ss_flags: 0, ss_size: STACK };
        check("sigaltstack", libc::sigaltstack(&raw const stack, ptr::null_mut()).into())?;
    }
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS] {
        handle(signal, on_fault, libc::SA_NODEFER)?;
    }
    handle(libc::SIGABRT, on_abort, 0)?;
    handle(libc::SIGALRM, on_alarm, libc::SA_RESTART)
}

fn handle(signal: i32, handler: Handler, flags: i32) -> Step {
    // SAFETY: the structure is filled in as sigaction(2) wants it; the handlers use nothing that is not async-signal-safe
    // but the kernel's own code, which says by `lock::held` when it cannot be entered.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | flags;
        libc::sigaddset(&raw mut action.sa_mask, libc::SIGALRM);
        check("sigaction", libc::sigaction(signal, &raw const action, ptr::null_mut()).into())
    }
}

/// Ticks every 4 ms from now on.
pub(super) fn start_tick() {
    set_tick(TICK);
}

/// No tick until the next start.
pub(super) fn stop_tick() {
    set_tick(0);
}

fn set_tick(nanoseconds: u64) {
    let time = libc::timeval { tv_sec: 0, tv_usec: (nanoseconds / 1000) as i64 };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: one itimerval, read during the call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
}

fn registers_of(gregs: &[libc::greg_t; 23]) -> Registers {
    let at = |index: i32| gregs[index as usize] as u64;
    Registers {
        rip: at(libc::REG_RIP),
        rsp: at(libc::REG_RSP),
        rflags: at(libc::REG_EFL),
        rax: at(libc::REG_RAX),
        rbx: at(libc::REG_RBX),
        rcx: at(libc::REG_RCX),
        rdx: at(libc::REG_RDX),
        rsi: at(libc::REG_RSI),
        rdi: at(libc::REG_RDI),
        rbp: at(libc::REG_RBP),
        r8: at(libc::REG_R8),
        r9: at(libc::REG_R9),
        r10: at(libc::REG_R10),
        r11: at(libc::REG_R11),
        r12: at(libc::REG_R12),
        r13: at(libc::REG_R13),
        r14: at(libc::REG_R14),
        r15: at(libc::REG_R15),
    }
}

fn restore(gregs: &mut [libc::greg_t; 23], registers: &Registers) {
    let r = registers;
    for (index, value) in [
        (libc::REG_RIP, r.rip),
        (libc::REG_RSP, r.rsp),
        (libc::REG_EFL, r.rflags),
        (libc::REG_RAX, r.rax),
        (libc::REG_RBX, r.rbx),
        (libc::REG_RCX, r.rcx),
        (libc::REG_RDX, r.rdx),
        (libc::REG_RSI, r.rsi),
        (libc::REG_RDI, r.rdi),
        (libc::REG_RBP, r.rbp),
        (libc::REG_R8, r.r8),
        (libc::REG_R9, r.r9),
        (libc::REG_R10, r.r10),
        (libc::REG_R11, r.r11),
        (libc::REG_R12, r.r12),
        (libc::REG_R13, r.r13),
        (libc::REG_R14, r.r14),
        (libc::REG_R15, r.r15),
    ] {
        gregs[index as usize] = value as i64;
    }
}

/// Which trap a signal stands for.
fn decode(signal: i32, gregs: &[libc::greg_t; 23], stack: &Range<u64>) -> Trap {
    if signal == libc::SIGSYS {
        return Trap::SystemCall;
    }
    let (error, address) = (gregs[libc::REG_ERR as usize] as u64, gregs[libc::REG_CR2 as usize] as u64);
    // The processor's vectors: Intel SDM volume 3, table 6-1.
    match gregs[libc::REG_TRAPNO as usize] {
        0 => Trap::DivideError,
        1 => Trap::Debug,
        3 => Trap::Breakpoint,
        6 => Trap::InvalidOpcode,
        12 | 13 => Trap::GeneralProtection,
        14 if (stack.start - PAGE..stack.start).contains(&address) => Trap::StackOverflow { address },
        14 => Trap::PageFault {
            address,
            write: error & 2 != 0,
            fetch: error & 16 != 0,
            // The system shows a process the upper half as forbidden, whatever is there; to a module nothing is.
            protection: error & 1 != 0 && address < UPPER_HALF,
        },
        vector => Trap::Other(vector as u8),
    }
}

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    memory::clear_alignment_check();
    // SAFETY: with SA_SIGINFO the system passes pointers to both, on this stack, alive until the handler returns.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<libc::ucontext_t>()) };
    if info.si_code <= 0 {
        // Sent by a process, not by the processor.
        return;
    }
    let gregs = &mut context.uc_mcontext.gregs;
    let rip = gregs[libc::REG_RIP as usize] as u64;
    if let Some(end) = memory::copy_fixup(rip) {
        gregs[libc::REG_RIP as usize] = end as i64;
        return;
    }
    match DEPTH.fetch_add(1, Ordering::Relaxed) {
        0 => (),
        1 => halt(format_args!(
            "signal {signal} in the fault handler, at {:#x} ({:+#x} in the program), address {:#x}",
            rip,
            rip.wrapping_sub(program()),
            gregs[libc::REG_CR2 as usize],
        )),
        _ => leave(3),
    }
    let trap = decode(signal, gregs, &context::stack(context::current()));
    deliver(trap, context);
    DEPTH.store(0, Ordering::Relaxed);
}

/// Address of the program's first byte, so that a reader can look up where its own code faulted.
fn program() -> u64 {
    unsafe extern "C" {
        static __ehdr_start: u8;
    }
    &raw const __ehdr_start as u64
}

/// Asks the kernel and does what it says.
fn deliver(trap: Trap, context: &mut libc::ucontext_t) {
    let mut registers = registers_of(&context.uc_mcontext.gregs);
    let rip = registers.rip;
    let place = rip.wrapping_sub(program());
    let Some(kernel) = ferrmod_kernel::try_kernel() else {
        halt(format_args!("{trap:x?} at {rip:#x} ({place:+#x} in the program) before the kernel was booted"))
    };
    match kernel.trap(trap, &mut registers) {
        Verdict::Resume => restore(&mut context.uc_mcontext.gregs, &registers),
        Verdict::Kill if context::current() != Context(0) => {
            if let Some(process) = process() {
                process.abandon();
            }
            kill(context);
        }
        Verdict::Kill | Verdict::Halt => {
            halt(format_args!("{trap:x?} at {rip:#x} ({place:+#x} in the program)"));
        }
    }
}

/// Lets the return from the signal enter [`ferrmod_kernel::task_died`] on the top of the running task's stack.
fn kill(context: &mut libc::ucontext_t) {
    let top = context::stack(context::current()).end - 24;
    // SAFETY: the top of an open stack whose frames will never be returned to. A return address of 0 ends back-traces.
    unsafe { (top as *mut [u64; 3]).write([0; 3]) };
    let registers = Registers {
        rip: ferrmod_kernel::task_died as *const () as u64,
        rsp: top,
        rflags: 0x202,
        ..Registers::default()
    };
    restore(&mut context.uc_mcontext.gregs, &registers);
    let floating = context.uc_mcontext.fpregs;
    if !floating.is_null() {
        // SAFETY: the system points this at the saved state in the signal frame. These are the ABI's values at a call.
        unsafe {
            (*floating).cwd = 0x37f;
            (*floating).swd = 0;
            (*floating).ftw = 0;
            (*floating).mxcsr = 0x1f80;
        }
    }
}

extern "C" fn on_abort(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    halt(format_args!("the process aborted"))
}

extern "C" fn on_alarm(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    memory::clear_alignment_check();
    // SAFETY: as in `on_fault`.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<libc::ucontext_t>()) };
    if info.si_code <= 0 {
        return;
    }
    let Some(process) = process() else { return };
    // Everything below runs as a fault handler does: if it faults, that is no fault of the task it interrupted.
    DEPTH.store(1, Ordering::Relaxed);
    worlds::tick(process.now());
    let look = TICKS.fetch_add(1, Ordering::Relaxed).is_multiple_of(PARENT_TICKS);
    // SAFETY: asks for a number.
    if look && unsafe { libc::getppid() } != process.supervisor {
        leave(0);
    }
    let rip = context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64;
    if let Some(elapsed) = watch(process, rip) {
        deliver(Trap::SoftLockup(elapsed), context);
    } else if can_interrupt(process, rip) {
        let gregs = &mut context.uc_mcontext.gregs;
        if let Some((rip, rsp)) = context::interrupt(rip, gregs[libc::REG_RSP as usize] as u64) {
            gregs[libc::REG_RIP as usize] = rip as i64;
            gregs[libc::REG_RSP as usize] = rsp as i64;
        }
    }
    DEPTH.store(0, Ordering::Relaxed);
}

/// Whether the running task can make room for another CPU's here: in module code, in the middle of nothing of the kernel's.
fn can_interrupt(process: &super::process::Process, rip: u64) -> bool {
    TEXT.contains(&rip)
        && !process.is_busy()
        && ferrmod_kernel::lock::held() == 0
        && ferrmod_kernel::try_kernel().is_some_and(|kernel| kernel.tasks.takes_turns())
}

/// Whether the running task has had the processor for too long and can be stopped here; for how long it has had it.
fn watch(process: &super::process::Process, rip: u64) -> Option<u64> {
    let kernel = ferrmod_kernel::try_kernel()?;
    let since = kernel.running_since()?;
    let watched = WATCHED.get(kernel.tasks.cpu() as usize)?;
    if watched.since.swap(since, Ordering::Relaxed) != since {
        watched.ticks.store(0, Ordering::Relaxed);
        return None;
    }
    // On a loaded host ticks are lost while others run, so both clocks have to agree.
    let ticks = watched.ticks.fetch_add(1, Ordering::Relaxed);
    let elapsed = process.now().saturating_sub(since);
    let late = (ticks * TICK).checked_sub(process.watchdog / 4 * 3)? / TICK;
    if elapsed < process.watchdog {
        return None;
    }
    let in_module = TEXT.contains(&rip);
    let unsafe_here = process.is_busy() || ferrmod_kernel::lock::held() > 0;
    // The C library may be in its allocator, which an oops needs.
    let in_library = process.library.contains(&rip);
    let stop = (in_module && !unsafe_here) || (late > PATIENCE && !unsafe_here && !in_library) || late > 4 * PATIENCE;
    stop.then(|| {
        watched.ticks.store(0, Ordering::Relaxed);
        elapsed
    })
}
