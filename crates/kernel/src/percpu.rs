//! Per-CPU memory: offsets that mean the same in the area of every CPU.
//!
//! x86-64 per-CPU symbols are offsets from the GS base. The kernel's own variables lie at the offsets the target kernel's image
//! gives them; what modules bring or allocate comes after, and the last page belongs to Ferrmod.

use crate::area::Area;
use crate::text::Errno;

/// Size of a CPU's area, in bytes.
pub const AREA_SIZE: u64 = 4 << 20;

/// Offset of the 8 bytes where a call from module code leaves its return address.
pub const CALLER_SLOT: u32 = (AREA_SIZE - 64) as u32;

/// Offset of the 8 bytes where it leaves the place of its frame: the caller's frame pointer, and above it the return address.
pub const FRAME_SLOT: u32 = CALLER_SLOT + 8;

/// Offset of the 16 bytes where module code that switches interrupts off by itself leaves where it goes on and where its stack
/// is then.
pub const INTERRUPTS_SLOT: u32 = CALLER_SLOT + 16;

/// Offset of the stack canary in every x86-64 Linux (`%gs:0x28`).
pub const CANARY: u64 = 0x28;

/// The kernel's own per-CPU variables end below this in every kernel seen (6.1: 0x34000).
const MODULES_START: u64 = 1 << 20;

/// Offsets given to modules and `alloc_percpu`.
#[derive(Debug)]
pub struct PerCpu(Area);

impl Default for PerCpu {
    fn default() -> Self {
        Self(Area::with_granule(MODULES_START..AREA_SIZE - 4096, 8))
    }
}

impl PerCpu {
    /// Takes `size` bytes aligned to `align` (at most a page); the offset.
    ///
    /// # Errors
    /// `ENOMEM` when the area is full.
    pub fn take(&self, size: u64, align: u64) -> Result<u64, Errno> {
        self.0.take(size, align.clamp(8, 4096))
    }

    /// Gives back what starts at `offset`; its size.
    pub fn give(&self, offset: u64) -> Option<u64> {
        self.0.give(offset).map(|range| range.end - range.start)
    }
}
