//! Who gets which physical memory, and where things lie in the address space.

use core::ops::Range;

/// Size of a page.
pub const PAGE: u64 = 4096;
/// Size of a large page; every part of the plan is a multiple of it, so that the tables stay small.
pub const LARGE_PAGE: u64 = 2 << 20;

/// Start of the direct map: physical address `p` is at `DIRECT_MAP + p`. Linux's default `page_offset_base`.
pub const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
/// Start of the kernel's private writable alias of the module area.
pub const MODULE_ALIAS: u64 = 0xffff_a000_0000_0000;
/// Start of the context stacks. Linux has its vmalloc area here.
pub const STACKS: u64 = 0xffff_c900_0000_0000;
/// Start of the array of `struct page`. Linux's default `vmemmap_base`.
pub const VMEMMAP: u64 = 0xffff_ea00_0000_0000;
/// What the linker script calls `KERNEL_VMA`, and Linux `__START_KERNEL_map`.
pub const KERNEL_VMA: u64 = 0xffff_ffff_8000_0000;
/// Start of module text, in reach of 32-bit relocations from and to the kernel. Linux has its modules here too.
pub const MODULES: u64 = 0xffff_ffff_c000_0000;
/// Addresses that are never mapped, still in reach of 32-bit relocations.
pub const ABSENT: Range<u64> = 0xffff_ffff_f000_0000..0xffff_ffff_f800_0000;

/// Boot tables reach this far, so nothing above it is used.
const REACH: u64 = 4 << 30;
/// Size of `struct page` in every x86-64 Linux.
const STRUCT_PAGE: u64 = 64;
/// The module area must end below [`ABSENT`].
const MODULE_AREA_MAX: u64 = 512 << 20;

/// The physical ranges of everything that is handed out, each a multiple of [`LARGE_PAGE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Frames for page tables and stacks.
    pub frames: Range<u64>,
    /// The heap of the Rust code itself.
    pub rust_heap: Range<u64>,
    /// Module text. `rodata` and `data` follow it directly.
    pub text: Range<u64>,
    /// Module read-only data.
    pub rodata: Range<u64>,
    /// Module data and the kernel's exported data.
    pub data: Range<u64>,
    /// The heap modules allocate from.
    pub heap: Range<u64>,
    /// The per-CPU area.
    pub percpu: Range<u64>,
    /// The array of `struct page`.
    pub vmemmap: Range<u64>,
}

impl MemoryPlan {
    /// Cuts the largest hole that `taken` leaves in `ram`. `percpu` is the size of the per-CPU area. `None` when there is
    /// not enough memory.
    pub fn new(ram: &[Range<u64>], taken: &[Range<u64>], percpu: u64) -> Option<Self> {
        let hole = largest_hole(ram, taken)?;
        let percpu = percpu.next_multiple_of(LARGE_PAGE);
        let vmemmap = (hole.end / PAGE * STRUCT_PAGE).next_multiple_of(LARGE_PAGE);
        let rest = (hole.end - hole.start).checked_sub(percpu + vmemmap)?;
        let share = |parts: u64| (rest / 16 * parts / LARGE_PAGE * LARGE_PAGE).max(LARGE_PAGE);
        let module_share = |parts: u64| share(parts).min(MODULE_AREA_MAX / 4);

        let mut next = hole.start;
        let mut take = |size: u64| {
            let start = next;
            next += size;
            start..next
        };
        let plan = Self {
            frames: take(share(2)),
            rust_heap: take(share(4)),
            text: take(module_share(2)),
            rodata: take(module_share(1)),
            data: take(module_share(2)),
            heap: take(share(4)),
            percpu: take(percpu),
            vmemmap: take(vmemmap),
        };
        (plan.vmemmap.end <= hole.end).then_some(plan)
    }

    /// The three ranges of the module area, which are one block.
    pub fn modules(&self) -> Range<u64> {
        self.text.start..self.data.end
    }

    /// Where a physical address of the module area is mapped for modules.
    pub fn module_address(&self, physical: u64) -> u64 {
        MODULES + (physical - self.text.start)
    }

    /// Linux's `phys_base`: with it `__pa` of an address in the module area (`x - __START_KERNEL_map + phys_base`) and
    /// `__pa` of the same byte in the direct map (`x - page_offset_base`) agree.
    pub fn phys_base(&self) -> u64 {
        self.text.start.wrapping_sub(MODULES - KERNEL_VMA)
    }
}

/// The largest range of RAM nobody has taken, cut to large pages. The first MiB is left to the firmware.
fn largest_hole(ram: &[Range<u64>], taken: &[Range<u64>]) -> Option<Range<u64>> {
    let mut best: Option<Range<u64>> = None;
    for range in ram {
        let mut start = range.start.max(1 << 20);
        let end = range.end.min(REACH);
        while start < end {
            // Everything taken that begins at or before `start` moves it on; the next one that begins later ends the hole.
            if let Some(blocking) = taken.iter().find(|taken| taken.start <= start && taken.end > start) {
                start = blocking.end;
                continue;
            }
            let stop =
                taken.iter().filter(|taken| taken.start > start && taken.start < taken.end).map(|taken| taken.start);
            let stop = stop.min().unwrap_or(end).min(end);
            let hole = start.next_multiple_of(LARGE_PAGE)..stop / LARGE_PAGE * LARGE_PAGE;
            let size = |range: &Range<u64>| range.end.saturating_sub(range.start);
            if hole.end > hole.start && best.as_ref().is_none_or(|best| size(&hole) > size(best)) {
                best = Some(hole);
            }
            start = stop;
        }
    }
    best
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of one range are meant")]
mod tests {
    use super::*;
    use alloc::vec;

    const MIB: u64 = 1 << 20;

    #[test]
    fn holes_avoid_what_is_taken() {
        let ram = [0..0x9_fc00, MIB..256 * MIB];
        let taken = [MIB..3 * MIB + 5, 200 * MIB + 1..210 * MIB, 0..0x1000];
        assert_eq!(largest_hole(&ram, &taken), Some(4 * MIB..200 * MIB));
        assert_eq!(largest_hole(&ram, &[MIB..256 * MIB]), None);
        assert_eq!(largest_hole(&[MIB..u64::MAX], &[]), Some(2 * MIB..4096 * MIB));
    }

    #[test]
    fn parts_are_disjoint_aligned_and_in_reach() {
        for size in [32, 64, 128, 256, 512, 1024, 3072, 4096] {
            let plan = MemoryPlan::new(&[MIB..size * MIB], &[MIB..4 * MIB], 4 * MIB).expect("enough memory");
            let parts = vec![
                &plan.frames,
                &plan.rust_heap,
                &plan.text,
                &plan.rodata,
                &plan.data,
                &plan.heap,
                &plan.percpu,
                &plan.vmemmap,
            ];
            for pair in parts.windows(2) {
                assert!(pair[0].end <= pair[1].start);
            }
            for part in &parts {
                assert!(part.start < part.end && part.start % LARGE_PAGE == 0 && part.end % LARGE_PAGE == 0);
            }
            assert!(plan.module_address(plan.data.end) <= ABSENT.start);
            assert!(plan.vmemmap.end - plan.vmemmap.start >= plan.vmemmap.end / PAGE * STRUCT_PAGE);
        }
        assert_eq!(MemoryPlan::new(&[MIB..16 * MIB], &[MIB..4 * MIB], 4 * MIB), None);
    }

    #[test]
    fn both_formulas_of_pa_agree() {
        let plan = MemoryPlan::new(&[MIB..256 * MIB], &[MIB..4 * MIB], 4 * MIB).expect("enough memory");
        for physical in [plan.text.start, plan.rodata.start + 5, plan.data.end - 1] {
            let low = plan.module_address(physical).wrapping_sub(KERNEL_VMA).wrapping_add(plan.phys_base());
            let high = (DIRECT_MAP + physical) - DIRECT_MAP;
            assert_eq!((low, high), (physical, physical));
        }
    }
}
