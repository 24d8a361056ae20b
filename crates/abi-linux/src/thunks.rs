//! Code with a calling convention of its own: thunks that compilers emit calls to.

use core::arch::naked_asm;

use ferrmod_kernel::kernel;

use crate::export::{Export, exports};
use crate::ram;

/// `__fentry__`: every function starts with a call of it; it may change nothing.
#[unsafe(naked)]
extern "C" fn __fentry__() {
    naked_asm!("ret")
}

/// `__x86_return_thunk`: functions end with a jump to it.
#[unsafe(naked)]
extern "C" fn __x86_return_thunk() {
    naked_asm!("ret")
}

macro_rules! indirect_thunks {
    ($($name:ident $register:literal),* $(,)?) => {
        $(
            /// An indirect jump through one register.
            #[unsafe(naked)]
            extern "C" fn $name() {
                naked_asm!(concat!("jmp ", $register))
            }
        )*
    };
}

indirect_thunks! {
    __x86_indirect_thunk_rax "rax", __x86_indirect_thunk_rbx "rbx", __x86_indirect_thunk_rcx "rcx",
    __x86_indirect_thunk_rdx "rdx", __x86_indirect_thunk_rsi "rsi", __x86_indirect_thunk_rdi "rdi",
    __x86_indirect_thunk_rbp "rbp", __x86_indirect_thunk_r8 "r8", __x86_indirect_thunk_r9 "r9",
    __x86_indirect_thunk_r10 "r10", __x86_indirect_thunk_r11 "r11", __x86_indirect_thunk_r12 "r12",
    __x86_indirect_thunk_r13 "r13", __x86_indirect_thunk_r14 "r14", __x86_indirect_thunk_r15 "r15",
}

/// `__stack_chk_fail`: a function found its canary changed.
extern "C" fn __stack_chk_fail() {
    let caller = ram::caller();
    let place = kernel().symbolise_return(caller);
    let text = alloc::format!("Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: {place}");
    kernel().bug(&text, caller)
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    raw __fentry__, raw __x86_return_thunk, c __stack_chk_fail,
    raw __x86_indirect_thunk_rax, raw __x86_indirect_thunk_rbx, raw __x86_indirect_thunk_rcx,
    raw __x86_indirect_thunk_rdx, raw __x86_indirect_thunk_rsi, raw __x86_indirect_thunk_rdi,
    raw __x86_indirect_thunk_rbp, raw __x86_indirect_thunk_r8, raw __x86_indirect_thunk_r9,
    raw __x86_indirect_thunk_r10, raw __x86_indirect_thunk_r11, raw __x86_indirect_thunk_r12,
    raw __x86_indirect_thunk_r13, raw __x86_indirect_thunk_r14, raw __x86_indirect_thunk_r15,
];
