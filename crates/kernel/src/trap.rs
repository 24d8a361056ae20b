//! What the platform's fault handler tells the kernel, and what the kernel decides.

/// The general registers at a fault, as the processor had them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field names are the register names")]
pub struct Registers {
    pub rip: u64,
    pub rsp: u64,
    pub rflags: u64,
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

/// Why the processor (or the watchdog) stopped the running task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// #PF: an access to `address`; `write` and `fetch` say which kind, `protection` that the page exists but forbids it.
    PageFault {
        /// The address accessed (CR2).
        address: u64,
        /// It was a write.
        write: bool,
        /// It was an instruction fetch.
        fetch: bool,
        /// The page is mapped, but not for this.
        protection: bool,
    },
    /// #PF on the guard page below the running stack.
    StackOverflow {
        /// The address accessed.
        address: u64,
    },
    /// #UD: `ud2` of WARN and BUG, or no instruction at all.
    InvalidOpcode,
    /// #GP, and #SS: privileged instruction, port I/O, non-canonical address.
    GeneralProtection,
    /// #DE.
    DivideError,
    /// #BP: `int3`.
    Breakpoint,
    /// #DB.
    Debug,
    /// #AC, #MF, #XM and what else has no name of its own here; the number is the processor's vector.
    Other(u8),
    /// The running task has not given up the processor for this many nanoseconds.
    SoftLockup(u64),
    /// A system-call instruction was tried.
    SystemCall,
}

/// What the platform does after [`crate::Kernel::trap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with the registers as they are now (they may have been changed).
    Resume,
    /// The running task is dead: run [`crate::task_died`] on the top of its own stack; never return to the faulting code.
    Kill,
    /// The kernel cannot be trusted any more: stop it.
    Halt,
}
