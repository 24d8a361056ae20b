//! Functions with a calling convention of their own that compilers and inline assembly call: user access, bit counts, page
//! clearing, and the `pv_ops` table.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU32, Ordering};

use ferrmod_kernel::Errno;
use ferrmod_kernel::percpu::INTERRUPTS_SLOT;

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::user::{deliver, fetch};
use crate::{ram, symbols};

macro_rules! get_user {
    ($($name:ident $size:literal),* $(,)?) => {
        $(
            /// Address in rax; error in rax, value in rdx, everything else kept.
            #[unsafe(naked)]
            extern "C" fn $name() {
                naked_asm!(
                    "push rbp", "mov rbp, rsp", "push rcx", "push rsi", "push rdi", "push r8", "push r9", "push r10",
                    "push r11", "and rsp, -16",
                    "mov rdi, rax", concat!("mov esi, ", $size), "call {fetch}",
                    "lea rsp, [rbp - 56]", "pop r11", "pop r10", "pop r9", "pop r8", "pop rdi", "pop rsi", "pop rcx",
                    "pop rbp", "ret",
                    fetch = sym fetch,
                )
            }
        )*
    };
}

get_user! { __get_user_1 "1", __get_user_2 "2", __get_user_4 "4", __get_user_8 "8" }

macro_rules! put_user {
    ($($name:ident $size:literal),* $(,)?) => {
        $(
            /// Value in rax, address in rcx; error in ecx, everything else kept (the caller expects rbx to be lost).
            #[unsafe(naked)]
            extern "C" fn $name() {
                naked_asm!(
                    "push rbp", "mov rbp, rsp", "push rax", "push rdx", "push rsi", "push rdi", "push r8", "push r9",
                    "push r10", "push r11", "and rsp, -16",
                    "mov rdi, rcx", "mov rsi, rax", concat!("mov edx, ", $size), "call {deliver}",
                    "mov rcx, rax",
                    "lea rsp, [rbp - 64]", "pop r11", "pop r10", "pop r9", "pop r8", "pop rdi", "pop rsi", "pop rdx",
                    "pop rax", "pop rbp", "ret",
                    deliver = sym deliver,
                )
            }
        )*
    };
}

put_user! { __put_user_1 "1", __put_user_2 "2", __put_user_4 "4", __put_user_8 "8" }

/// Address in rdi, count in rcx, rax 0: clears user memory behind an `access_ok`; what is left in rcx.
#[unsafe(naked)]
extern "C" fn clear_user_bytes() {
    naked_asm!("rep stosb", "ret")
}

/// To in rdi, from in rsi, count in rcx; what is left in rcx (6.4 and later).
#[unsafe(naked)]
extern "C" fn copy_user_bytes() {
    naked_asm!("rep movsb", "ret")
}

/// `clear_page_*`: the page in rdi; rax and rcx are lost.
#[unsafe(naked)]
extern "C" fn clear_page() {
    naked_asm!("mov ecx, 512", "xor eax, eax", "rep stosq", "ret")
}

/// `copy_page`: to in rdi, from in rsi.
#[unsafe(naked)]
extern "C" fn copy_page() {
    naked_asm!("mov ecx, 512", "rep movsq", "ret")
}

/// The number of set bits of edi, in eax; everything else kept.
#[unsafe(naked)]
extern "C" fn __sw_hweight32() {
    naked_asm!(
        "push rdx",
        "mov eax, edi",
        "shr eax, 1",
        "and eax, 0x55555555",
        "mov edx, edi",
        "sub edx, eax",
        "mov eax, edx",
        "shr eax, 2",
        "and edx, 0x33333333",
        "and eax, 0x33333333",
        "add eax, edx",
        "mov edx, eax",
        "shr edx, 4",
        "add eax, edx",
        "and eax, 0x0f0f0f0f",
        "imul eax, eax, 0x01010101",
        "shr eax, 24",
        "pop rdx",
        "ret",
    )
}

/// The number of set bits of rdi, in rax; everything else kept.
#[unsafe(naked)]
extern "C" fn __sw_hweight64() {
    naked_asm!(
        "push rdx",
        "push rcx",
        "mov rax, rdi",
        "shr rax, 1",
        "movabs rcx, 0x5555555555555555",
        "and rax, rcx",
        "mov rdx, rdi",
        "sub rdx, rax",
        "mov rax, rdx",
        "shr rax, 2",
        "movabs rcx, 0x3333333333333333",
        "and rdx, rcx",
        "and rax, rcx",
        "add rax, rdx",
        "mov rdx, rax",
        "shr rdx, 4",
        "add rax, rdx",
        "movabs rcx, 0x0f0f0f0f0f0f0f0f",
        "and rax, rcx",
        "movabs rcx, 0x0101010101010101",
        "imul rax, rcx",
        "shr rax, 56",
        "pop rcx",
        "pop rdx",
        "ret",
    )
}

/// A call that does nothing and may change nothing: preemption points of a kernel that does not preempt, tracepoints that are
/// off, waiting for a slow port.
#[unsafe(naked)]
extern "C" fn nothing() {
    naked_asm!("ret")
}

/// The interrupt flag as modules see it: `X86_EFLAGS_IF` or 0. Nothing interrupts them; who asks gets the answer to what it
/// did.
///
/// Behind it stands how deep the running task is in read-side sections of RCU: both are looked at together ([`crate::atomic`]).
pub(crate) static STATE: [AtomicU32; 2] = [AtomicU32::new(INTERRUPTS_ON), AtomicU32::new(0)];

/// `X86_EFLAGS_IF`
pub(crate) const INTERRUPTS_ON: u32 = 0x200;

/// Whether module code has interrupts on.
pub(crate) fn interrupts_enabled() -> bool {
    STATE[0].load(Ordering::Relaxed) != 0
}

/// Switches them on or off.
pub(crate) fn set_interrupts(on: bool) {
    STATE[0].store(if on { INTERRUPTS_ON } else { 0 }, Ordering::Relaxed);
}

/// Flags in rax, everything else kept.
#[unsafe(naked)]
extern "C" fn native_save_fl() {
    naked_asm!("mov eax, [rip + {flag}]", "ret", flag = sym STATE)
}
#[unsafe(naked)]
extern "C" fn native_irq_disable() {
    naked_asm!("mov dword ptr [rip + {flag}], 0", "ret", flag = sym STATE)
}
/// The same, called by module code: if they were on, it leaves where that was.
#[unsafe(naked)]
extern "C" fn irq_disable_noted() {
    naked_asm!(
        "cmp dword ptr [rip + {flag}], 0",
        "je 2f",
        "push rax",
        "mov rax, [rsp + 8]",
        "mov gs:[{slot}], rax",
        "lea rax, [rsp + 16]",
        "mov gs:[{slot} + 8], rax",
        "pop rax",
        "mov dword ptr [rip + {flag}], 0",
        "2:",
        "ret",
        flag = sym STATE,
        slot = const INTERRUPTS_SLOT,
    )
}
#[unsafe(naked)]
extern "C" fn native_irq_enable() {
    naked_asm!("mov dword ptr [rip + {flag}], 0x200", "ret", flag = sym STATE)
}
/// The argument in rdi comes back in rax, everything else kept.
#[unsafe(naked)]
extern "C" fn _paravirt_ident_64() {
    naked_asm!("mov rax, rdi", "ret")
}
/// 0 in rax, everything else kept.
#[unsafe(naked)]
extern "C" fn pv_zero() {
    naked_asm!("xor eax, eax", "ret")
}
/// The low byte of a queued spin lock is its holder's.
#[unsafe(naked)]
extern "C" fn pv_queued_spin_unlock() {
    naked_asm!("mov byte ptr [rdi], 0", "ret")
}

/// `void (*cpuid)(unsigned int *eax, *ebx, *ecx, *edx)`: the leaf is in `*eax`, the subleaf in `*ecx`.
extern "C" fn native_cpuid(eax: u64, ebx: u64, ecx: u64, edx: u64) {
    // SAFETY: the caller's four variables.
    unsafe {
        let answer = core::arch::x86_64::__cpuid_count(ram::get(eax), ram::get(ecx));
        ram::put(eax, answer.eax);
        ram::put(ebx, answer.ebx);
        ram::put(ecx, answer.ecx);
        ram::put(edx, answer.edx);
    }
}

/// There are no model-specific registers: a read that may fail does, one that must not gives 0, as after a fixed-up fault.
extern "C" fn native_read_msr_safe(_register: u32, error: u64) -> u64 {
    // SAFETY: the caller's variable.
    unsafe { ram::put(error, Errno::EIO.to_return()) };
    0
}
extern "C" fn native_write_msr_safe() -> i32 {
    Errno::EIO.to_return()
}
layout! {
    mod pv_ops = "paravirt_patch_template" {
        cpu_io_delay = "cpu.io_delay", cpu_cpuid = "cpu.cpuid", cpu_read_msr_safe = "cpu.read_msr_safe",
        cpu_write_msr_safe = "cpu.write_msr_safe",
        irq_save_fl = "irq.save_fl", irq_disable = "irq.irq_disable", irq_enable = "irq.irq_enable",
        pte_val = "mmu.pte_val", make_pte = "mmu.make_pte", pgd_val = "mmu.pgd_val", make_pgd = "mmu.make_pgd",
        pmd_val = "mmu.pmd_val", make_pmd = "mmu.make_pmd", pud_val = "mmu.pud_val", make_pud = "mmu.make_pud",
        p4d_val = "mmu.p4d_val", make_p4d = "mmu.make_p4d",
        spin_unlock = "lock.queued_spin_unlock",
    }
}

/// Room for the table of every kernel known (672 bytes in 6.1).
const PV_OPS_SIZE: u64 = 1024;

fn begin_pv_ops(at: u64) {
    let address = |name| symbols::address(name).unwrap_or(0);
    let zero = address("pv_zero");
    for slot in 0..PV_OPS_SIZE / 8 {
        // SAFETY: `data::place` gives so many writable bytes.
        unsafe { ram::put(at + 8 * slot, zero) };
    }
    let identity = address("_paravirt_ident_64");
    let members = [
        (&pv_ops::cpu_io_delay, address("__SCT__preempt_schedule")),
        (&pv_ops::cpu_cpuid, address("native_cpuid")),
        (&pv_ops::cpu_read_msr_safe, address("native_read_msr_safe")),
        (&pv_ops::cpu_write_msr_safe, address("native_write_msr_safe")),
        (&pv_ops::irq_save_fl, address("native_save_fl")),
        (&pv_ops::irq_disable, address("irq_disable_noted")),
        (&pv_ops::irq_enable, address("native_irq_enable")),
        (&pv_ops::spin_unlock, address("pv_queued_spin_unlock")),
        (&pv_ops::pte_val, identity),
        (&pv_ops::make_pte, identity),
        (&pv_ops::pgd_val, identity),
        (&pv_ops::make_pgd, identity),
        (&pv_ops::pmd_val, identity),
        (&pv_ops::make_pmd, identity),
        (&pv_ops::pud_val, identity),
        (&pv_ops::make_pud, identity),
        (&pv_ops::p4d_val, identity),
        (&pv_ops::make_p4d, identity),
    ];
    for (field, value) in members {
        if let Some(offset) = field.offset().filter(|offset| *offset < PV_OPS_SIZE) {
            // SAFETY: within the table.
            unsafe { ram::put(at + offset, value) };
        }
    }
}

static PV_OPS: Datum = Datum::new("pv_ops", PV_OPS_SIZE, Begin::With(begin_pv_ops));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&PV_OPS];

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    raw __get_user_1, raw __get_user_2, raw __get_user_4, raw __get_user_8, raw __get_user_nocheck_1 = __get_user_1,
    raw __get_user_nocheck_2 = __get_user_2, raw __get_user_nocheck_4 = __get_user_4, raw __get_user_nocheck_8 = __get_user_8,
    raw __put_user_1, raw __put_user_2, raw __put_user_4, raw __put_user_8, raw __put_user_nocheck_1 = __put_user_1,
    raw __put_user_nocheck_2 = __put_user_2, raw __put_user_nocheck_4 = __put_user_4, raw __put_user_nocheck_8 = __put_user_8,
    raw clear_user_original = clear_user_bytes, raw clear_user_rep_good = clear_user_bytes,
    raw clear_user_erms = clear_user_bytes, raw rep_stos_alternative = clear_user_bytes,
    raw rep_movs_alternative = copy_user_bytes,
    raw clear_page_rep = clear_page, raw clear_page_orig = clear_page, raw clear_page_erms = clear_page, raw copy_page,
    raw __sw_hweight32, raw __sw_hweight64,
    raw __SCT__preempt_schedule = nothing, raw __SCT__preempt_schedule_notrace = nothing,
    raw preempt_schedule_thunk = nothing, raw preempt_schedule_notrace_thunk = nothing,
    raw preempt_schedule = nothing, raw preempt_schedule_notrace = nothing, raw native_io_delay = nothing,
    raw native_save_fl, raw native_irq_disable, raw irq_disable_noted, raw native_irq_enable, raw _paravirt_ident_64, raw pv_zero,
    raw pv_queued_spin_unlock, c native_cpuid, c native_read_msr_safe, k native_write_msr_safe,
];

#[cfg(test)]
mod tests {
    use super::*;
    use core::arch::asm;

    fn hweight(bits: u64, target: *const ()) -> u64 {
        let count: u64;
        // SAFETY: the stubs take rdi, answer in rax and keep the rest.
        unsafe { asm!("call {}", in(reg) target, in("rdi") bits, out("rax") count) };
        count
    }

    #[test]
    fn bits_are_counted() {
        for bits in [0, 1, u64::MAX, 0x8000_0000_0000_0001, 0x1234_5678_9abc_def0, 0xffff_ffff] {
            assert_eq!(hweight(bits, __sw_hweight64 as *const ()), u64::from(bits.count_ones()), "{bits:#x}");
            assert_eq!(hweight(bits, __sw_hweight32 as *const ()), u64::from((bits as u32).count_ones()), "{bits:#x}");
        }
    }

    #[test]
    fn user_access_refuses_and_keeps_registers() {
        let (error, value, kept): (u64, u64, u64);
        // SAFETY: the stub takes rax, answers in rax and rdx and keeps the rest.
        unsafe {
            asm!(
                "mov r11, 77", "call {}", "mov {}, r11",
                in(reg) __get_user_4 as *const (), lateout(reg) kept, inout("rax") 0x1000u64 => error,
                out("rdx") value, out("r11") _,
            );
        }
        assert_eq!((error as i64, value, kept), (-14, 0, 77));
        let error: u64;
        // SAFETY: the stub takes rax and rcx and answers in rcx.
        unsafe { asm!("call {}", in(reg) __put_user_8 as *const (), in("rax") 5u64, inout("rcx") 0x1000u64 => error) };
        assert_eq!(error as i32, -14);
    }

    #[test]
    fn the_interrupt_flag_is_what_was_last_done() {
        let ask = || {
            let flags: u64;
            // SAFETY: the stub only answers in rax.
            unsafe { asm!("call {}", in(reg) native_save_fl as *const (), out("rax") flags) };
            flags
        };
        assert_eq!(ask(), 0x200);
        // SAFETY: the stub changes nothing but the flag.
        unsafe { asm!("call {}", in(reg) native_irq_disable as *const ()) };
        assert_eq!(ask(), 0);
        assert!(!interrupts_enabled());
        set_interrupts(true);
        assert_eq!(ask(), 0x200);
    }
}
