# From the PVH entry (32-bit protected mode, no paging, EBX = physical address of hvm_start_info) to 64-bit Rust.
#
# Boot tables: the first 4 GiB in 2 MiB pages, at 0 (for this code), at the direct map and, 1 GiB of it, at the kernel's
# own addresses. They live until the final tables are made.

.set KERNEL_VMA, 0xffffffff80000000

.section .note.pvh, "a", @note
.align 4
    .long 4                     # name
    .long 8                     # description
    .long 18                    # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

.section .boot, "awx", @progbits
.code32
.globl pvh_start
pvh_start:
    cli
    cld
    movl %ebx, %ebp

    movl $(boot_pdpt_low + 3), boot_pml4            # 0
    movl $(boot_pdpt_low + 3), boot_pml4 + 273 * 8  # 0xffff888000000000
    movl $(boot_pdpt_high + 3), boot_pml4 + 511 * 8
    movl $(boot_pd + 3), boot_pdpt_high + 510 * 8   # 0xffffffff80000000
    movl $(boot_pd + 0x0003), boot_pdpt_low
    movl $(boot_pd + 0x1003), boot_pdpt_low + 8
    movl $(boot_pd + 0x2003), boot_pdpt_low + 16
    movl $(boot_pd + 0x3003), boot_pdpt_low + 24

    movl $boot_pd, %edi
    movl $0x83, %eax            # present, writable, 2 MiB
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    decl %ecx
    jnz 1b

    movl %cr4, %eax
    orl $0x620, %eax            # PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      # EFER
    rdmsr
    orl $0x900, %eax            # LME, NXE
    wrmsr
    movl %cr0, %eax
    andl $~0x6000000c, %eax     # no EM, TS, NW, CD
    orl $0x80010023, %eax       # PG, WP, NE, MP, PE
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $8, $boot_long

.code64
boot_long:
    xorl %eax, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movabsq $boot_high, %rax
    jmpq *%rax

.align 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    # 64-bit code
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt

.align 4096
boot_pml4: .skip 4096
boot_pdpt_low: .skip 4096
boot_pdpt_high: .skip 4096
boot_pd: .skip 4 * 4096

.section .text.boot_high, "ax", @progbits
boot_high:
    leaq {boot_stack}(%rip), %rsp
    addq ${boot_stack_size}, %rsp
    movl %ebp, %edi
    xorl %ebp, %ebp
    call {start}
    ud2
