//! A module's memory: its parts in the kernel's regions, and its per-CPU variables.

use core::ops::Range;

use ferrmod_linker::{Layout, PartKind, Placement};

use crate::Kernel;
use crate::heap::PAGE;
use crate::lock::Lock;
use crate::text::Errno;

/// What was taken for one module; given back part by part.
#[derive(Debug, Default)]
pub(crate) struct Memory(Lock<Taken>);

#[derive(Debug, Default)]
struct Taken {
    parts: [Range<u64>; PartKind::COUNT],
    percpu: Option<(u64, u64)>,
}

fn area(kernel: &Kernel, kind: PartKind) -> &crate::area::Area {
    match kind {
        PartKind::Text | PartKind::InitText => &kernel.text,
        PartKind::Rodata | PartKind::InitRodata => &kernel.rodata,
        PartKind::RoAfterInit | PartKind::Data | PartKind::InitData => &kernel.data,
    }
}

impl Memory {
    /// Takes room for every part of `layout`.
    ///
    /// # Errors
    /// `ENOMEM`; nothing stays taken then.
    pub(crate) fn take(kernel: &Kernel, layout: &Layout) -> Result<Self, Errno> {
        let memory = Self::default();
        match memory.fill(kernel, layout) {
            Ok(()) => Ok(memory),
            Err(errno) => {
                memory.give(kernel);
                Err(errno)
            }
        }
    }

    fn fill(&self, kernel: &Kernel, layout: &Layout) -> Result<(), Errno> {
        for kind in PartKind::ALL {
            let size = layout.size(kind);
            if size == 0 {
                continue;
            }
            if kernel.inject.should_fail() {
                return Err(Errno::ENOMEM);
            }
            let start = area(kernel, kind).take(size, layout.parts[kind as usize].align.max(PAGE))?;
            self.0.lock().parts[kind as usize] = start..start + size.next_multiple_of(PAGE);
        }
        if let Some(percpu) = &layout.percpu {
            if kernel.inject.should_fail() {
                return Err(Errno::ENOMEM);
            }
            let offset = kernel.percpu.take(percpu.size, percpu.align)?;
            self.0.lock().percpu = Some((offset, percpu.size));
        }
        Ok(())
    }

    /// The addresses for the linker.
    pub(crate) fn placement(&self) -> Placement {
        let taken = self.0.lock();
        let mut placement = Placement::default();
        for kind in PartKind::ALL {
            placement.base[kind as usize] = taken.parts[kind as usize].start;
        }
        placement.percpu_offset = taken.percpu.map_or(0, |(offset, _)| offset);
        placement
    }

    pub(crate) fn part(&self, kind: PartKind) -> Range<u64> {
        self.0.lock().parts[kind as usize].clone()
    }

    pub(crate) fn percpu(&self) -> Option<(u64, u64)> {
        self.0.lock().percpu
    }

    pub(crate) fn contains(&self, address: u64) -> bool {
        self.0.lock().parts.iter().any(|part| part.contains(&address))
    }

    /// The parts taken now.
    pub(crate) fn parts(&self) -> [Range<u64>; PartKind::COUNT] {
        self.0.lock().parts.clone()
    }

    /// Where the code of init is.
    pub(crate) fn init_text(&self) -> Range<u64> {
        self.0.lock().parts[PartKind::InitText as usize].clone()
    }

    /// Gives the init parts back; their ranges.
    pub(crate) fn give_init(&self, kernel: &Kernel) -> [Range<u64>; 3] {
        [PartKind::InitText, PartKind::InitRodata, PartKind::InitData].map(|kind| self.give_part(kernel, kind))
    }

    /// Gives everything back.
    pub(crate) fn give(&self, kernel: &Kernel) {
        for kind in PartKind::ALL {
            self.give_part(kernel, kind);
        }
        if let Some((offset, _)) = self.0.lock().percpu.take() {
            kernel.percpu.give(offset);
        }
    }

    fn give_part(&self, kernel: &Kernel, kind: PartKind) -> Range<u64> {
        let range = core::mem::take(&mut self.0.lock().parts[kind as usize]);
        if !range.is_empty() {
            if kind == PartKind::RoAfterInit {
                // It was writable when it was taken, so it can be made so again.
                let _ = kernel.platform.seal(range.clone(), false);
            }
            kernel.platform.discard(range.clone());
            area(kernel, kind).give(range.start);
        }
        range
    }
}
