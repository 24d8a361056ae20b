//! The system calls a machine may make.
//!
//! Everything that reaches outside is the control socket, which exists already. What is left is memory without PROT_EXEC,
//! time, and ending. The program is made before the fork, since that allocates; the child fills in its process id.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use crate::child::CONTROL;
use crate::layout::{ARCH_SET_GS, TEXT};

/// Stands for the child's process id until it is known. Larger than any process id.
const OWN_PID: u32 = 0x7ead_beef;

/// A filter, ready to be installed.
#[derive(Debug)]
pub(crate) struct Program(Vec<sock_filter>);

/// The filter of every machine.
///
/// # Errors
/// What the compiler says; it never does with the rules below.
pub(crate) fn program() -> Result<&'static Program, String> {
    static PROGRAM: OnceLock<Result<Program, String>> = OnceLock::new();
    PROGRAM.get_or_init(|| make().map_err(|error| error.to_string())).as_ref().map_err(Clone::clone)
}

fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)?])
}

fn make() -> Result<Program, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in [
        libc::SYS_exit_group,
        libc::SYS_exit,
        libc::SYS_futex,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_brk,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_clock_gettime,
        libc::SYS_setitimer,
        libc::SYS_ppoll,
        libc::SYS_restart_syscall,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_gettid,
        libc::SYS_getrandom,
    ] {
        rules.insert(call, Vec::new());
    }
    for call in [libc::SYS_sendto, libc::SYS_recvfrom] {
        rules.insert(call, vec![argument(0, Eq, CONTROL as u64)?]);
    }
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![argument(2, MaskedEq(libc::PROT_EXEC as u64), 0)?]);
    }
    rules.insert(libc::SYS_arch_prctl, vec![argument(0, Eq, ARCH_SET_GS)?]);
    // Not MADV_HWPOISON and its like, which act on the host.
    let advice = [libc::MADV_DONTNEED, libc::MADV_FREE, libc::MADV_POPULATE_WRITE];
    let advice = advice.iter().map(|&advice| argument(2, Eq, advice as u64)).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_madvise, advice);
    // `abort` signals its own thread.
    let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, Eq, u64::from(OWN_PID))?;
    let abort = SeccompCondition::new(2, SeccompCmpArgLen::Dword, Eq, libc::SIGABRT as u64)?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![own, abort])?]);

    let filter =
        SeccompFilter::new(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow, TargetArch::x86_64)?;
    let body: BpfProgram = filter.try_into()?;
    let mut program = modules_make_none();
    program.extend(body);
    Ok(Program(program))
}

/// Traps every system call that is not made by a 64-bit instruction outside of module text: module code makes none, and
/// one that it tries is worth an oops rather than an error number nobody reads.
fn modules_make_none() -> Vec<sock_filter> {
    // Offsets in `struct seccomp_data`: arch 4, instruction_pointer 8 (low half) and 12 (high half).
    let load =
        |offset| sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset };
    let jump =
        |test: u32, value, jt, jf| sock_filter { code: (libc::BPF_JMP | test | libc::BPF_K) as u16, jt, jf, k: value };
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    vec![
        load(4),
        jump(libc::BPF_JEQ, AUDIT_ARCH_X86_64, 0, 4),
        load(12),
        jump(libc::BPF_JEQ, 0, 0, 3),
        load(8),
        jump(libc::BPF_JGE, TEXT.start as u32, 0, 1),
        sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_TRAP },
    ]
}

impl Program {
    /// Installs the filter in this process; negative on failure.
    pub(crate) fn install(&self) -> i32 {
        let mut program = self.0.clone();
        // SAFETY: asks for a number.
        let own = unsafe { libc::getpid() } as u32;
        for instruction in program.iter_mut().filter(|instruction| instruction.k == OWN_PID) {
            instruction.k = own;
        }
        let description = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr().cast() };
        // SAFETY: `description` points to `len` instructions, laid out as the system's (the crate's type is `repr(C)`).
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const description) }
    }
}
