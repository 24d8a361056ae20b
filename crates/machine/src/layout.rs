//! The addresses of a machine: the same in every one, so that a log of one run can be compared with another's.
//!
//! Module parts lie below 2 GiB, because the kernel's code model reaches symbols by sign-extended 32-bit addresses. The heap
//! lies above 4 GiB. Nothing here overlaps what a position-independent program or its libraries use.

use std::ops::Range;

/// Bytes in a page.
pub(crate) const PAGE: u64 = 4096;

/// Module text, and code the kernel generates. Start of the shared file.
pub(crate) const TEXT: Range<u64> = 0x1000_0000..0x3000_0000;
/// Module read-only data. Follows the text in the shared file.
pub(crate) const RODATA: Range<u64> = 0x3000_0000..0x4000_0000;
/// Module data.
pub(crate) const DATA: Range<u64> = 0x5000_0000..0x6000_0000;
/// Faults on any access; unlike a random low address, a fault here names an absent data symbol.
pub(crate) const ABSENT: Range<u64> = 0x6800_0000..0x6c00_0000;
/// The per-CPU areas. Low, so that `%gs:symbol(%rip)` reaches them as `%gs:symbol` does.
pub(crate) const PERCPU: Range<u64> = 0x7000_0000..0x7000_0000 + MOST_CPUS as u64 * ferrmod_kernel::percpu::AREA_SIZE;
/// As many CPUs as a machine can have.
pub const MOST_CPUS: u32 = 8;
/// The windows of described devices: faults on any access. Below 4 GiB, so that 32-bit base address registers reach it.
pub(crate) const WINDOWS: Range<u64> = 0xc000_0000..0xe000_0000;
/// Where the heap starts.
pub(crate) const HEAP_START: u64 = 0x1_0000_0000;
/// Sizes of the heap, tried in this order: no memory is taken before it is touched, but a limit may be in the way.
pub(crate) const HEAP_SIZES: [u64; 5] = [16 << 30, 8 << 30, 4 << 30, 2 << 30, 1 << 30];
/// Value of Linux's `page_offset_base`: physical addresses are virtual addresses.
pub(crate) const PAGE_OFFSET: u64 = 0;
/// Value of Linux's `phys_base` that makes `__pa` of an image address the address itself: image addresses lie below
/// `__START_KERNEL_map` here, and the macro's other branch would add 2 GiB.
pub(crate) const PHYS_BASE: u64 = (-0x8000_0000_i64) as u64;
/// The array of `struct page` (64 bytes a page frame), from frame 0 to the end of the largest heap.
pub(crate) const VMEMMAP: Range<u64> = 0x20_0000_0000..0x20_0000_0000 + (HEAP_START + HEAP_SIZES[0]) / PAGE * 64;
/// The stacks: the scheduler's, then one slot a context, each between guard pages.
pub(crate) const STACKS: u64 = 0x30_0000_0000;
/// What the supervisor sends, as the child sees it.
pub(crate) const INBOX: Range<u64> = 0x3c_0000_0000..0x3c_0000_0000 + INBOX_SIZE;
/// Size of what the supervisor can send at once.
pub(crate) const INBOX_SIZE: u64 = 256 << 20;
/// Size of what the child can send at once.
pub(crate) const OUTBOX_SIZE: u64 = 128 << 20;

/// Size of the shared file: text, rodata, inbox.
pub(crate) const FILE_SIZE: u64 = RODATA.end - TEXT.start + INBOX_SIZE;
/// Offset of the inbox in the shared file.
pub(crate) const INBOX_OFFSET: u64 = RODATA.end - TEXT.start;

/// Usable bytes of the scheduler's stack.
pub(crate) const BOOT_STACK: u64 = 1 << 20;
/// Usable bytes of a task's stack: far more than Linux's 16 KiB, because the compressors behind the crypto API keep their state on
/// it. Only what is touched takes memory.
pub(crate) const STACK: u64 = 512 << 10;
/// The number of contexts besides the scheduler's.
pub(crate) const CONTEXTS: u32 = 8192;

/// The `arch_prctl` operation that sets the base of GS.
pub(crate) const ARCH_SET_GS: u64 = 0x1001;

/// A period of the tick, in nanoseconds: 250 Hz, as Debian's kernels.
pub(crate) const TICK: u64 = 4_000_000;

/// Whether `length` bytes at `address` lie inside `range`.
pub(crate) fn inside(range: &Range<u64>, address: u64, length: u64) -> bool {
    address >= range.start && address.checked_add(length).is_some_and(|end| end <= range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_disjoint_and_low_ones_are_low() {
        let stacks = STACKS..STACKS + BOOT_STACK + PAGE * 2 + u64::from(CONTEXTS) * (STACK + PAGE);
        let heap = HEAP_START..HEAP_START + HEAP_SIZES[0];
        let all = [TEXT, RODATA, DATA, ABSENT, PERCPU, WINDOWS, heap, VMEMMAP, stacks, INBOX];
        for pair in all.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{pair:x?}");
        }
        const { assert!(PERCPU.end <= 0x8000_0000) };
    }

    #[test]
    fn ranges_that_wrap_are_outside() {
        assert!(inside(&TEXT, TEXT.start, 16));
        assert!(!inside(&TEXT, TEXT.end - 8, 16));
        assert!(!inside(&TEXT, TEXT.start + 8, u64::MAX));
        assert!(!inside(&TEXT, TEXT.start - 1, 1));
    }
}
