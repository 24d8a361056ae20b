# What the prebuilt `core` and `alloc` of the host target expect from a C library. Bulk copies go through 16-byte registers:
# under emulation that is several times faster than `rep movsb`.

.section .text.mem, "ax", @progbits

.globl memcpy
.type memcpy, @function
memcpy:
    movq %rdi, %rax
copy_forward:
    cmpq $64, %rdx
    jb 2f
1:  movups (%rsi), %xmm0
    movups 16(%rsi), %xmm1
    movups 32(%rsi), %xmm2
    movups 48(%rsi), %xmm3
    movups %xmm0, (%rdi)
    movups %xmm1, 16(%rdi)
    movups %xmm2, 32(%rdi)
    movups %xmm3, 48(%rdi)
    addq $64, %rsi
    addq $64, %rdi
    subq $64, %rdx
    cmpq $64, %rdx
    jae 1b
2:  cmpq $8, %rdx
    jb 4f
3:  movq (%rsi), %rcx
    movq %rcx, (%rdi)
    addq $8, %rsi
    addq $8, %rdi
    subq $8, %rdx
    cmpq $8, %rdx
    jae 3b
4:  testq %rdx, %rdx
    jz 6f
5:  movb (%rsi), %cl
    movb %cl, (%rdi)
    incq %rsi
    incq %rdi
    decq %rdx
    jnz 5b
6:  ret

.globl memmove
.type memmove, @function
memmove:
    movq %rdi, %rax
    movq %rdi, %rcx
    subq %rsi, %rcx
    cmpq %rdx, %rcx             # unsigned: forward unless src < dst < src + n
    jae copy_forward
    addq %rdx, %rsi
    addq %rdx, %rdi
1:  cmpq $8, %rdx
    jb 3f
2:  subq $8, %rsi
    subq $8, %rdi
    movq (%rsi), %rcx
    movq %rcx, (%rdi)
    subq $8, %rdx
    cmpq $8, %rdx
    jae 2b
3:  testq %rdx, %rdx
    jz 5f
4:  decq %rsi
    decq %rdi
    movb (%rsi), %cl
    movb %cl, (%rdi)
    decq %rdx
    jnz 4b
5:  ret

.globl memset
.type memset, @function
memset:
    movq %rdi, %r8
    movzbl %sil, %eax
    movabsq $0x0101010101010101, %rcx
    imulq %rcx, %rax
    movq %rax, %xmm0
    punpcklqdq %xmm0, %xmm0
1:  cmpq $32, %rdx
    jb 3f
2:  movups %xmm0, (%rdi)
    movups %xmm0, 16(%rdi)
    addq $32, %rdi
    subq $32, %rdx
    cmpq $32, %rdx
    jae 2b
3:  testq %rdx, %rdx
    jz 5f
4:  movb %al, (%rdi)
    incq %rdi
    decq %rdx
    jnz 4b
5:  movq %r8, %rax
    ret

.globl bcmp
.type bcmp, @function
.globl memcmp
.type memcmp, @function
bcmp:
memcmp:
1:  cmpq $8, %rdx
    jb 2f
    movq (%rdi), %rax
    cmpq (%rsi), %rax
    jne 2f                      # the bytes below find out which
    addq $8, %rdi
    addq $8, %rsi
    subq $8, %rdx
    jmp 1b
2:  testq %rdx, %rdx
    jz 4f
3:  movzbl (%rdi), %eax
    movzbl (%rsi), %ecx
    subl %ecx, %eax
    jnz 5f
    incq %rdi
    incq %rsi
    decq %rdx
    jnz 3b
4:  xorl %eax, %eax
5:  ret

.globl strlen
.type strlen, @function
strlen:
    xorl %eax, %eax
1:  cmpb $0, (%rdi,%rax)
    je 2f
    incq %rax
    jmp 1b
2:  ret

# Named by unwind tables only; never called, because panics abort.
.globl rust_eh_personality
rust_eh_personality:
.globl _Unwind_Resume
_Unwind_Resume:
    ud2
