# Gates and stack switches.
#
# Every gate enters on an IST stack, so nothing is ever pushed below the interrupted stack pointer: the red zone of prebuilt
# Rust code and guard pages stay untouched. The frame is then moved to the trap stack of this nesting depth, which frees the
# IST stack for a fault inside the handler (a page that appears when first touched, for example). The handler uses SSE:
# FXSAVE around it suffices also when AVX is on, because legacy SSE instructions leave the upper halves alone.

.set FRAME_WORDS, 22

.section .text.traps, "ax", @progbits

.align 16
.globl trap_gates
trap_gates:
.set vector, 0
.rept 48
    .align 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp trap_common
    .set vector, vector + 1
.endr

.align 16
trap_common:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movl {depth}(%rip), %eax
    cmpl ${depth_max}, %eax
    jae 2f
    incl {depth}(%rip)
    imulq ${trap_stack_size}, %rax, %rax
    leaq {trap_stacks}(%rip), %rdi
    leaq ({trap_stack_size} - FRAME_WORDS * 8)(%rdi,%rax), %rdi
    movq %rsp, %rsi
    movq %rdi, %rbx
    movl $FRAME_WORDS, %ecx
    rep movsq
    movq %rbx, %rsp
    subq $512, %rsp
    fxsave64 (%rsp)
    fninit
    pushq $0
    movl $0x1f80, (%rsp)        # MXCSR as after reset: all exceptions masked
    ldmxcsr (%rsp)
    addq $8, %rsp
    movq %rbx, %rdi
    movq %rsp, %rsi
    call {trap}
    fxrstor64 (%rsp)
    movq %rbx, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp
    decl {depth}(%rip)
    iretq
2:  movq %rsp, %rdi
    andq $-16, %rsp
    call {too_deep}
    ud2

# An NMI is none of our business, and must not disturb a trap that is being taken.
.align 16
.globl nmi_gate
nmi_gate:
    iretq

# context_switch(save: *mut u64, load: u64)
.align 16
.globl context_switch
context_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

# The first thing a new context runs: rbx = entry, r12 = argument.
.align 16
.globl context_start
context_start:
    movq %r12, %rdi
    xorl %ebp, %ebp
    callq *%rbx
    ud2
