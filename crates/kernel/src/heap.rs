//! The kernel heap: which addresses are taken, how large, and by whom.
//!
//! The heap hands out addresses and never touches the memory behind them: its book-keeping is out of band, so that a module
//! that writes past an object, or into a freed one, cannot break it. Small objects come from slabs of one size class
//! (naturally aligned for powers of two, as `kmalloc` promises), large ones are runs of pages.
//!
//! How objects are placed depends on what is to be found out about their use ([`Checks`]): with gaps between them, or each on
//! pages of its own in front of one that is never given out. A freed object is held back for a while before its place is
//! given out again.
//!
//! What this module does not do: clear, poison or check memory contents ([`crate::guard`] does).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use hashbrown::HashMap;

use crate::area::Area;
use crate::lock::Lock;
use crate::text::Errno;
use crate::trails::TrailId;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// What is to be found out about the use of heap memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// Nothing: objects lie side by side.
    Off,
    /// Writes beside an object or into a freed one, when it is freed or its place is given out again.
    #[default]
    Zones,
    /// Every access beside an object or to a freed one, at once: it faults.
    Pages,
}

/// Most bytes of a gap that are looked at: behind an object, and before it.
const ZONE_AFTER: u64 = 64;
const ZONE_BEFORE: u64 = 16;
/// Freed objects that are held back, and the bytes they may have together. Where they lie on pages of their own they cost only
/// addresses.
const HELD: usize = 512;
const HELD_BYTES: u64 = 1 << 20;
const HELD_PAGED: usize = 16 << 10;
const HELD_PAGED_BYTES: u64 = 2 << 30;

/// The sizes of small objects, in bytes.
pub const CLASSES: [u32; 12] = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096];

/// Who an allocation belongs to: the kernel, or the module whose code asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The kernel itself.
    Kernel,
    /// A module, by its number.
    Module(u32),
}

/// One live allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Its first address.
    pub start: u64,
    /// Bytes asked for.
    pub size: u64,
    /// Bytes usable (the size class, or whole pages).
    pub usable: u64,
    /// Whose it is.
    pub owner: Owner,
    /// The return address of the call that asked for it; 0 when unknown.
    pub caller: u64,
    /// Bytes that may be used: those asked for, or more when the owner has asked how many there are.
    pub room: u64,
    /// Bytes in front of it and behind its room that nobody may write to.
    pub zones: [u64; 2],
    /// The calls that led to its allocation and, in one that is free again, to its end.
    pub trails: [TrailId; 2],
    /// It has pages of its own.
    pub paged: bool,
}

/// A `kfree` of something that is not the start of a live allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreeError {
    /// The address was allocated once and is free now.
    #[error("object at {0:#x} is already free")]
    AlreadyFree(u64),
    /// The address lies inside a live allocation.
    #[error("{0:#x} is not the start of an object")]
    Interior(u64),
    /// The heap never gave this address out.
    #[error("{0:#x} was never allocated")]
    Unknown(u64),
}

#[derive(Clone, Copy, Debug)]
struct Object {
    size: u64,
    room: u64,
    owner: Owner,
    caller: u64,
    trails: [TrailId; 2],
    /// Free again, and not given out again yet.
    held: bool,
}

#[derive(Debug)]
struct Slab {
    base: u64,
    class: u8,
    objects: Vec<Option<Object>>,
    free: Vec<u16>,
}

/// Bytes between the objects of a class, and before the first one: a multiple of their alignment.
fn gap(class: u64, checks: Checks) -> u64 {
    match checks {
        Checks::Off => 0,
        // The largest power of two that divides the class.
        Checks::Zones | Checks::Pages => (1 << class.trailing_zeros()).max(16),
    }
}

#[derive(Clone, Copy, Debug)]
enum Page {
    Slab(u32),
    Run(u64),
}

#[derive(Debug)]
struct Run {
    /// First address of the object, which need not be that of its pages.
    start: u64,
    /// Pages that can be used.
    pages: u64,
    object: Object,
    paged: bool,
}

#[derive(Debug)]
struct State {
    checks: Checks,
    frames: Area,
    /// For objects with pages of their own.
    paged: Area,
    /// Free objects whose place is not given out yet, the oldest first, and their bytes.
    held: VecDeque<u64>,
    held_bytes: u64,
    /// Those with pages of their own.
    held_paged: VecDeque<u64>,
    held_paged_bytes: u64,
    slabs: Vec<Slab>,
    partial: [Vec<u32>; CLASSES.len()],
    pages: HashMap<u64, Page>,
    runs: BTreeMap<u64, Run>,
    /// What everybody holds.
    holdings: HashMap<Owner, Holding>,
}

/// What one owner holds: bytes, and where its live objects start.
#[derive(Debug, Default)]
struct Holding {
    bytes: u64,
    objects: BTreeSet<u64>,
}

/// The heap of one kernel.
#[derive(Debug)]
pub struct Heap {
    range: Range<u64>,
    checks: Checks,
    state: Lock<State>,
}

fn class_of(size: u64, align: u64) -> Option<usize> {
    CLASSES.iter().position(|&class| u64::from(class) >= size && u64::from(class).is_multiple_of(align))
}

/// The part of the heap that objects with pages of their own come from.
pub fn paged_part(range: &Range<u64>, checks: Checks) -> Range<u64> {
    let length = (range.end - range.start) / 8 * 7 / PAGE * PAGE;
    match checks {
        Checks::Pages => range.start..range.start + length,
        Checks::Off | Checks::Zones => range.start..range.start,
    }
}

impl Heap {
    /// A heap over `range`, which must be page aligned. With [`Checks::Pages`] nothing in [`paged_part`] may be accessible
    /// that is not given out.
    pub fn new(range: Range<u64>, checks: Checks) -> Self {
        let paged = paged_part(&range, checks);
        Self {
            range: range.clone(),
            checks,
            state: Lock::new(State {
                checks,
                frames: Area::new(paged.end..range.end),
                paged: Area::new(paged),
                held: VecDeque::new(),
                held_bytes: 0,
                held_paged: VecDeque::new(),
                held_paged_bytes: 0,
                slabs: Vec::new(),
                partial: Default::default(),
                pages: HashMap::new(),
                runs: BTreeMap::new(),
                holdings: HashMap::new(),
            }),
        }
    }

    /// Addresses the heap may give out.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// What is found out about its use.
    pub fn checks(&self) -> Checks {
        self.checks
    }

    /// Takes `size` bytes aligned to `align` (a power of two). With `paged` they get pages of their own, which have to be made
    /// accessible.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room.
    pub(crate) fn take(&self, wish: &Wish, paged: bool) -> Result<Allocation, Errno> {
        if wish.size > self.range.end - self.range.start {
            return Err(Errno::ENOMEM);
        }
        let mut state = self.state.lock();
        let object = Object {
            size: wish.size,
            room: wish.size,
            owner: wish.owner,
            caller: wish.caller,
            trails: [wish.trail, TrailId::default()],
            held: false,
        };
        let allocation = match class_of(wish.size.max(1), wish.align) {
            _ if paged => state.take_paged(wish.align, object)?,
            Some(class) => state.take_small(class, object)?,
            None => state.take_run(wish.align, object)?,
        };
        let holding = state.holdings.entry(wish.owner).or_default();
        holding.bytes += wish.size;
        holding.objects.insert(allocation.start);
        Ok(allocation)
    }

    /// Ends an object's life; says what it was. Its place is held back if the use of memory is checked.
    ///
    /// # Errors
    /// [`FreeError`] when `address` is not the start of a live allocation; nothing is changed.
    pub(crate) fn give(&self, address: u64, trail: TrailId) -> Result<Allocation, FreeError> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let (start, object) = state.object_mut(address).ok_or(FreeError::Unknown(address))?;
        match object {
            None => return Err(FreeError::AlreadyFree(address)),
            Some(object) if object.held => return Err(FreeError::AlreadyFree(address)),
            Some(_) if start != address => return Err(FreeError::Interior(address)),
            Some(object) => (object.held, object.trails[1]) = (true, trail),
        }
        let allocation = state.allocation(address).ok_or(FreeError::Unknown(address))?;
        if let Some(holding) = state.holdings.get_mut(&allocation.owner) {
            holding.bytes -= allocation.size;
            holding.objects.remove(&address);
        }
        if state.checks == Checks::Off {
            state.release(address);
        } else if allocation.paged {
            state.held_paged.push_back(address);
            state.held_paged_bytes += allocation.usable;
        } else {
            state.held.push_back(address);
            state.held_bytes += allocation.usable;
        }
        Ok(allocation)
    }

    /// Lets go of the object that has been held back for longest, when there are more than there should be or `all` have to go;
    /// what it was.
    pub(crate) fn evict(&self, all: bool) -> Option<Allocation> {
        let mut state = self.state.lock();
        let address = if all || state.held.len() > HELD || state.held_bytes > HELD_BYTES {
            state.held.pop_front()
        } else if state.held_paged.len() > HELD_PAGED || state.held_paged_bytes > HELD_PAGED_BYTES {
            state.held_paged.pop_front()
        } else {
            None
        }?;
        let allocation = state.allocation(address)?;
        if allocation.paged {
            state.held_paged_bytes -= allocation.usable;
        } else {
            state.held_bytes -= allocation.usable;
        }
        state.release(address);
        Some(allocation)
    }

    /// Objects that are held back.
    pub(crate) fn held(&self) -> Vec<Allocation> {
        let state = self.state.lock();
        state.held.iter().chain(&state.held_paged).filter_map(|&address| state.allocation(address)).collect()
    }

    /// The owner has asked how many bytes there are, and may use them all, or grows an object in place.
    pub fn widen(&self, address: u64, room: u64) -> Option<Allocation> {
        let mut state = self.state.lock();
        let usable = state.allocation(address)?.usable;
        let (start, object) = state.object_mut(address)?;
        let object = object.filter(|object| !object.held && start == address)?;
        object.room = room.min(usable).max(object.room);
        state.allocation(address)
    }

    /// The live allocation that `address` lies in.
    pub fn find(&self, address: u64) -> Option<Allocation> {
        self.find_any(address).filter(|(_, held)| !held).map(|(allocation, _)| allocation)
    }

    /// The allocation that `address` lies in, and whether it is held back.
    pub(crate) fn find_any(&self, address: u64) -> Option<(Allocation, bool)> {
        let mut state = self.state.lock();
        let (start, object) = state.object_mut(address)?;
        let held = object?.held;
        Some((state.allocation(start)?, held))
    }

    /// The object with pages of its own that an access to `address`, which nobody may access, was most likely meant for; whether
    /// it is free.
    pub(crate) fn nearest(&self, address: u64) -> Option<(Allocation, bool)> {
        let state = self.state.lock();
        let whole = |run: &Run| (run.allocation(), run.object.held);
        if let Some(Page::Run(base)) = state.pages.get(&(address / PAGE))
            && let Some(run) = state.runs.get(base)
            && run.object.held
            && (base / PAGE..base / PAGE + run.pages).contains(&(address / PAGE))
        {
            return Some(whole(run));
        }
        let before = state.runs.range(..=address).next_back().map(|(_, run)| run);
        let after = state.runs.range(address..).next().map(|(_, run)| run);
        let behind = |run: &&Run| address.saturating_sub(run.start + run.object.size);
        let ahead = |run: &&Run| run.start.saturating_sub(address);
        let before = before.filter(|run| !run.object.held && behind(run) <= PAGE);
        let after = after.filter(|run| !run.object.held && ahead(run) <= PAGE);
        match (before, after) {
            (Some(before), Some(after)) if ahead(&after) < behind(&before) => Some(whole(after)),
            (before, after) => before.or(after).map(whole),
        }
    }

    /// Bytes that `owner` holds.
    pub fn bytes_of(&self, owner: Owner) -> u64 {
        self.state.lock().holdings.get(&owner).map_or(0, |holding| holding.bytes)
    }

    /// Bytes held by everybody.
    pub fn bytes(&self) -> u64 {
        self.state.lock().holdings.values().map(|holding| holding.bytes).sum()
    }

    /// Everybody who holds memory.
    pub fn owners(&self) -> Vec<Owner> {
        let state = self.state.lock();
        let mut owners: Vec<Owner> =
            state.holdings.iter().filter(|(_, holding)| holding.bytes > 0).map(|(&owner, _)| owner).collect();
        owners.sort_unstable();
        owners
    }

    /// All live allocations of `owner`, by address.
    pub fn allocations_of(&self, owner: Owner) -> Vec<Allocation> {
        let state = self.state.lock();
        let Some(holding) = state.holdings.get(&owner) else { return Vec::new() };
        holding.objects.iter().filter_map(|&address| state.allocation(address)).collect()
    }

    /// All live allocations, by address.
    pub(crate) fn allocations(&self) -> Vec<Allocation> {
        let state = self.state.lock();
        let mut found: Vec<Allocation> =
            state.runs.values().filter(|run| !run.object.held).map(Run::allocation).collect();
        for slab in &state.slabs {
            let objects = slab.objects.iter().enumerate();
            found.extend(objects.filter_map(|(index, object)| {
                let object = object.filter(|object| !object.held)?;
                Some(slab.allocation(index as u64, &object, state.checks))
            }));
        }
        found.sort_by_key(|allocation| allocation.start);
        found
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) size: u64,
    pub(crate) align: u64,
    pub(crate) owner: Owner,
    pub(crate) caller: u64,
    pub(crate) trail: TrailId,
}

impl Run {
    fn allocation(&self) -> Allocation {
        let end = self.start.next_multiple_of(PAGE).max(self.start / PAGE * PAGE + self.pages * PAGE);
        let Object { size, room, owner, caller, trails, .. } = self.object;
        let usable = end - self.start;
        // The page behind a run without pages of its own is never given out, and can be looked at.
        let after = if self.paged { usable - room } else { usable + PAGE - room };
        let zones = [(self.start % PAGE).min(ZONE_AFTER), after.min(ZONE_AFTER)];
        Allocation { start: self.start, size, usable, owner, caller, room, zones, trails, paged: self.paged }
    }
}

impl Slab {
    fn allocation(&self, index: u64, object: &Object, checks: Checks) -> Allocation {
        let class = u64::from(CLASSES[usize::from(self.class)]);
        let gap = gap(class, checks);
        let &Object { size, room, owner, caller, trails, .. } = object;
        let zones = [(gap / 2).min(ZONE_BEFORE), (class + gap / 2 - room).min(ZONE_AFTER)];
        let start = self.base + gap + index * (class + gap);
        let zones = if checks == Checks::Off { [0; 2] } else { zones };
        Allocation { start, size, usable: class, owner, caller, room, zones, trails, paged: false }
    }

    /// The place that `address` lies in, and how far.
    fn place(&self, address: u64, checks: Checks) -> Option<(usize, u64)> {
        let class = u64::from(CLASSES[usize::from(self.class)]);
        let gap = gap(class, checks);
        let offset = address.checked_sub(self.base + gap)?;
        let (index, rest) = (offset / (class + gap), offset % (class + gap));
        (rest < class && index < self.objects.len() as u64).then_some((index as usize, rest))
    }
}

impl State {
    /// The object whose place `address` lies in, and the start of the place.
    fn object_mut(&mut self, address: u64) -> Option<(u64, Option<&mut Object>)> {
        match *self.pages.get(&(address / PAGE))? {
            Page::Slab(number) => {
                let slab = &mut self.slabs[number as usize];
                let (index, rest) = slab.place(address, self.checks)?;
                Some((address - rest, slab.objects.get_mut(index)?.as_mut()))
            }
            Page::Run(base) => {
                let run = self.runs.get_mut(&base)?;
                let last = run.start + run.object.room.max(1) - 1;
                (run.start..=last).contains(&address).then_some((run.start, Some(&mut run.object)))
            }
        }
    }

    /// The object that starts at `address`, free ones included.
    fn allocation(&self, address: u64) -> Option<Allocation> {
        match *self.pages.get(&(address / PAGE))? {
            Page::Slab(number) => {
                let slab = &self.slabs[number as usize];
                let (index, rest) = slab.place(address, self.checks)?;
                let object = slab.objects.get(index)?.as_ref().filter(|_| rest == 0)?;
                Some(slab.allocation(index as u64, object, self.checks))
            }
            Page::Run(base) => self.runs.get(&base).map(Run::allocation),
        }
    }

    fn take_small(&mut self, class: usize, object: Object) -> Result<Allocation, Errno> {
        let number = match self.partial[class].last() {
            Some(&number) => number,
            None => self.grow(class)?,
        };
        let slab = &mut self.slabs[number as usize];
        // A slab in `partial` has a free object by construction.
        let index = slab.free.pop().ok_or(Errno::ENOMEM)?;
        slab.objects[usize::from(index)] = Some(object);
        if slab.free.is_empty() {
            self.partial[class].pop();
        }
        Ok(slab.allocation(index.into(), &object, self.checks))
    }

    fn grow(&mut self, class: usize) -> Result<u32, Errno> {
        let size = u64::from(CLASSES[class]);
        let gap = gap(size, self.checks);
        let pages: u64 = if size >= 1024 { 8 + gap.div_ceil(PAGE) } else { 1 };
        let base = self.frames.take(pages * PAGE, PAGE)?;
        let count = ((pages * PAGE - gap) / (size + gap)) as u16;
        let number = self.slabs.len() as u32;
        self.slabs.push(Slab {
            base,
            class: class as u8,
            objects: alloc::vec![None; usize::from(count)],
            free: (0..count).rev().collect(),
        });
        for page in 0..pages {
            self.pages.insert(base / PAGE + page, Page::Slab(number));
        }
        self.partial[class].push(number);
        Ok(number)
    }

    fn take_run(&mut self, align: u64, object: Object) -> Result<Allocation, Errno> {
        let size = object.size;
        let pages = size.div_ceil(PAGE).max(1);
        // As `kmalloc` promises for powers of two.
        let natural = if size.is_power_of_two() { size } else { PAGE };
        let beyond = u64::from(self.checks != Checks::Off);
        let start = self.frames.take((pages + beyond) * PAGE, align.max(natural).max(PAGE))?;
        Ok(self.add_run(start, Run { start, pages, object, paged: false }))
    }

    /// As far to the end of its pages as its alignment allows; the page behind them is nobody's.
    fn take_paged(&mut self, align: u64, object: Object) -> Result<Allocation, Errno> {
        let size = object.size;
        let pages = size.div_ceil(PAGE).max(1);
        let natural = if size.is_power_of_two() { size.max(align) } else { align };
        let base = self.paged.take((pages + 1) * PAGE, natural.max(PAGE))?;
        let start = (base + pages * PAGE - size.max(1)) / natural.max(1) * natural.max(1);
        Ok(self.add_run(base, Run { start: start.max(base), pages, object, paged: true }))
    }

    fn add_run(&mut self, base: u64, run: Run) -> Allocation {
        for page in 0..run.pages {
            self.pages.insert(base / PAGE + page, Page::Run(base));
        }
        let allocation = run.allocation();
        self.runs.insert(base, run);
        allocation
    }

    /// The place of the object that starts at `address` can be given out again.
    fn release(&mut self, address: u64) {
        match self.pages.get(&(address / PAGE)).copied() {
            Some(Page::Slab(number)) => {
                let slab = &mut self.slabs[number as usize];
                let Some((index, 0)) = slab.place(address, self.checks) else { return };
                slab.objects[index] = None;
                slab.free.push(index as u16);
                if slab.free.len() == 1 {
                    self.partial[usize::from(slab.class)].push(number);
                }
            }
            Some(Page::Run(base)) => {
                let Some(run) = self.runs.remove(&base) else { return };
                for page in 0..run.pages {
                    self.pages.remove(&(base / PAGE + page));
                }
                if run.paged {
                    self.paged.give(base)
                } else {
                    self.frames.give(base)
                };
            }
            None => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap(checks: Checks) -> Heap {
        Heap::new(0x1_0000_0000..0x1_1000_0000, checks)
    }

    fn take(heap: &Heap, size: u64, owner: Owner, paged: bool) -> Result<u64, Errno> {
        let wish = Wish { size, align: 8, owner, caller: 0, trail: TrailId::default() };
        heap.take(&wish, paged).map(|taken| taken.start)
    }

    fn give(heap: &Heap, address: u64) -> Result<Allocation, FreeError> {
        heap.give(address, TrailId::default())
    }

    const ALL: [Checks; 3] = [Checks::Off, Checks::Zones, Checks::Pages];

    #[test]
    fn objects_are_aligned_distinct_and_accounted() {
        for checks in ALL {
            let heap = heap(checks);
            let mut taken = Vec::new();
            for size in [1, 8, 33, 64, 100, 129, 192, 4096, 4097, 100_000] {
                for _ in 0..70 {
                    let start = take(&heap, size, Owner::Module(3), checks == Checks::Pages).unwrap();
                    assert!(start.is_multiple_of(if size.is_power_of_two() { size } else { 8 }));
                    taken.push((start, size));
                }
            }
            taken.sort_unstable();
            assert!(taken.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "two objects overlap");
            assert_eq!(heap.bytes_of(Owner::Module(3)), taken.iter().map(|object| object.1).sum::<u64>());
            assert_eq!(heap.allocations_of(Owner::Module(3)).len(), taken.len());
            for (start, size) in taken {
                assert_eq!(heap.find(start + size - 1).unwrap().start, start);
                assert_eq!(give(&heap, start).unwrap().size, size);
            }
            assert_eq!(heap.bytes(), 0);
        }
    }

    #[test]
    fn zones_belong_to_one_object_each() {
        for checks in [Checks::Zones, Checks::Pages] {
            let heap = heap(checks);
            let sizes = [1, 8, 9, 33, 64, 90, 96, 129, 192, 1024, 2048, 4000, 4096, 4097, 8192];
            for size in sizes.repeat(40) {
                take(&heap, size, Owner::Kernel, checks == Checks::Pages).unwrap();
            }
            let mut parts = Vec::new();
            for one in heap.allocations() {
                let [before, after] = one.zones;
                // Where its pages end, an object needs none behind it; only a run has none before it.
                assert!(after >= 4 || one.paged, "{one:x?}");
                assert!(before >= 4 || one.paged || one.size >= 4096, "{one:x?}");
                parts.push((one.start - before, one.start + one.room + after));
            }
            parts.sort_unstable();
            assert!(parts.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two zones overlap");
        }
    }

    #[test]
    fn a_place_is_held_back_before_it_is_given_out_again() {
        let heap = heap(Checks::Zones);
        let first = take(&heap, 64, Owner::Kernel, false).unwrap();
        give(&heap, first).unwrap();
        for _ in 0..HELD {
            let other = take(&heap, 64, Owner::Kernel, false).unwrap();
            assert_ne!(other, first);
            give(&heap, other).unwrap();
        }
        assert_eq!(heap.evict(false).unwrap().start, first);
        assert!(heap.evict(false).is_none());
        assert_eq!(take(&heap, 64, Owner::Kernel, false), Ok(first));
    }

    #[test]
    fn a_wild_access_is_told_by_the_nearest_object() {
        let heap = heap(Checks::Pages);
        let one = take(&heap, 100, Owner::Kernel, true).unwrap();
        let two = take(&heap, 4096, Owner::Kernel, true).unwrap();
        assert_eq!(heap.nearest(one + 104).unwrap().0.start, one);
        assert_eq!(heap.nearest(two - 1).unwrap().0.start, two);
        assert_eq!(heap.nearest(two + 4096).unwrap().0.start, two);
        assert!(heap.nearest(two + 3 * 4096).is_none());
        give(&heap, one).unwrap();
        assert_eq!(heap.nearest(one + 8).map(|(found, held)| (found.start, held)), Some((one, true)));
    }

    #[test]
    fn wrong_frees_change_nothing() {
        for checks in ALL {
            let heap = heap(checks);
            let paged = checks == Checks::Pages;
            let small = take(&heap, 64, Owner::Kernel, paged).unwrap();
            let large = take(&heap, 9000, Owner::Kernel, paged).unwrap();
            assert_eq!(give(&heap, small + 8), Err(FreeError::Interior(small + 8)));
            assert_eq!(give(&heap, large + 4096), Err(FreeError::Interior(large + 4096)));
            assert_eq!(give(&heap, 0), Err(FreeError::Unknown(0)));
            give(&heap, small).unwrap();
            assert_eq!(give(&heap, small), Err(FreeError::AlreadyFree(small)));
            give(&heap, large).unwrap();
            assert!(give(&heap, large).is_err());
        }
    }

    #[test]
    fn too_much_is_refused() {
        let heap = heap(Checks::Zones);
        assert_eq!(take(&heap, u64::MAX, Owner::Kernel, false), Err(Errno::ENOMEM));
        assert_eq!(take(&heap, 0x1000_0001, Owner::Kernel, false), Err(Errno::ENOMEM));
        assert_eq!(heap.bytes(), 0);
    }
}
