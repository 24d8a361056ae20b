//! A module's memory while it is being linked: the addresses it will have, and the bytes that will go there.

use alloc::vec::Vec;

use crate::layout::{Layout, PartKind, SectionPlace};

/// The addresses the caller chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The address of each part, by [`PartKind`]. A part without bytes still needs a plausible one, because symbols of empty
    /// sections point there.
    pub base: [u64; PartKind::COUNT],
    /// What is added to symbols of the module's per-CPU section: its offset in every CPU's area.
    pub percpu_offset: u64,
}

impl Placement {
    /// The address of a section.
    #[must_use]
    pub fn address(&self, place: SectionPlace) -> u64 {
        self.base[place.part as usize].wrapping_add(u64::from(place.offset))
    }
}

/// The buffers [`link`](crate::link()) fills, one a part. Each holds at least as many bytes as the part's size in the layout;
/// what they hold before does not matter.
#[derive(Debug)]
pub struct Parts<'b> {
    /// By [`PartKind`].
    pub bytes: [&'b mut [u8]; PartKind::COUNT],
}

/// Buffers to link into, reusable from one module to the next.
#[derive(Clone, Debug, Default)]
pub struct PartBuffers {
    bytes: [Vec<u8>; PartKind::COUNT],
    used: [usize; PartKind::COUNT],
}

impl PartBuffers {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> PartBuffers {
        PartBuffers::default()
    }

    /// Grows the buffers to what `layout` needs and lends them.
    pub fn parts(&mut self, layout: &Layout) -> Parts<'_> {
        for (kind, (bytes, used)) in PartKind::ALL.into_iter().zip(self.bytes.iter_mut().zip(&mut self.used)) {
            // At most 1008 MiB, which `Layout` guarantees.
            *used = layout.size(kind) as usize;
            if bytes.len() < *used {
                bytes.resize(*used, 0);
            }
        }
        let mut lent = self.bytes.iter_mut().zip(&self.used).map(|(bytes, &used)| &mut bytes[..used]);
        Parts { bytes: core::array::from_fn(|_| lent.next().unwrap_or_default()) }
    }

    /// The bytes of a part, as long as its size in the last layout.
    #[must_use]
    pub fn bytes(&self, part: PartKind) -> &[u8] {
        &self.bytes[part as usize][..self.used[part as usize]]
    }
}

/// Finds the bytes at an address of the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    base: [u64; PartKind::COUNT],
    size: [u64; PartKind::COUNT],
}

impl Map {
    pub(crate) fn new(layout: &Layout, placement: &Placement) -> Map {
        Map { base: placement.base, size: layout.parts.map(|part| part.size) }
    }

    /// The part that holds `length` bytes at `address`, and their offset in it.
    pub(crate) fn locate(&self, address: u64, length: u64) -> Option<(PartKind, usize)> {
        for kind in PartKind::ALL {
            let offset = address.wrapping_sub(self.base[kind as usize]);
            let size = self.size[kind as usize];
            if offset < size && size - offset >= length {
                return Some((kind, offset as usize));
            }
        }
        None
    }

    /// The same, in code only.
    pub(crate) fn locate_text(&self, address: u64, length: u64) -> Option<(PartKind, usize)> {
        for kind in [PartKind::Text, PartKind::InitText] {
            let offset = address.wrapping_sub(self.base[kind as usize]);
            let size = self.size[kind as usize];
            if offset < size && size - offset >= length {
                return Some((kind, offset as usize));
            }
        }
        None
    }

    /// Whether `address` is in the module.
    pub(crate) fn contains(&self, address: u64) -> bool {
        self.locate(address, 1).is_some()
    }
}
