//! The kernel heap: which addresses are taken, how large, and by whom.
//!
//! The heap hands out addresses and never touches the memory behind them: its book-keeping is out of band, so that a module
//! that writes past an object, or into a freed one, cannot break it. Small objects come from slabs of one size class
//! (naturally aligned for powers of two, as `kmalloc` promises), large ones are runs of pages.
//!
//! What this module does not do: clear, poison or check memory contents.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use hashbrown::HashMap;

use crate::area::Area;
use crate::inject::Injection;
use crate::lock::Lock;
use crate::text::Errno;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

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
    size: u32,
    owner: Owner,
    caller: u64,
}

#[derive(Debug)]
struct Slab {
    base: u64,
    class: u8,
    objects: Vec<Option<Object>>,
    free: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
enum Page {
    Slab(u32),
    Run(u64),
}

#[derive(Debug)]
struct Run {
    pages: u64,
    object: Object,
    size: u64,
}

#[derive(Debug)]
struct State {
    frames: Area,
    slabs: Vec<Slab>,
    partial: [Vec<u32>; CLASSES.len()],
    pages: HashMap<u64, Page>,
    runs: BTreeMap<u64, Run>,
    bytes: HashMap<Owner, u64>,
}

/// The heap of one kernel.
#[derive(Debug)]
pub struct Heap {
    range: Range<u64>,
    state: Lock<State>,
}

fn class_of(size: u64, align: u64) -> Option<usize> {
    CLASSES.iter().position(|&class| u64::from(class) >= size && u64::from(class).is_multiple_of(align))
}

impl Heap {
    /// A heap over `range`, which must be page aligned.
    pub fn new(range: Range<u64>) -> Self {
        Self {
            range: range.clone(),
            state: Lock::new(State {
                frames: Area::new(range),
                slabs: Vec::new(),
                partial: Default::default(),
                pages: HashMap::new(),
                runs: BTreeMap::new(),
                bytes: HashMap::new(),
            }),
        }
    }

    /// Addresses the heap may give out.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Takes `size` bytes aligned to `align` (a power of two).
    ///
    /// # Errors
    /// `ENOMEM` when there is no room, or when failure is injected.
    pub fn allocate(&self, size: u64, align: u64, owner: Owner, caller: u64, inject: &Injection) -> Result<u64, Errno> {
        if size > self.range.end - self.range.start || inject.should_fail() {
            return Err(Errno::ENOMEM);
        }
        let mut state = self.state.lock();
        let object = Object { size: size.min(u64::from(u32::MAX)) as u32, owner, caller };
        let address = match class_of(size.max(1), align) {
            Some(class) => state.take_small(class, object)?,
            None => state.take_run(size, align, object)?,
        };
        *state.bytes.entry(owner).or_default() += size;
        Ok(address)
    }

    /// Gives back what [`Heap::allocate`] gave; says what it was.
    ///
    /// # Errors
    /// [`FreeError`] when `address` is not the start of a live allocation; nothing is changed.
    pub fn free(&self, address: u64) -> Result<Allocation, FreeError> {
        let mut state = self.state.lock();
        let allocation = match state.pages.get(&(address / PAGE)).copied() {
            None => return Err(FreeError::Unknown(address)),
            Some(Page::Slab(number)) => state.give_small(number, address)?,
            Some(Page::Run(start)) => state.give_run(start, address)?,
        };
        if let Some(bytes) = state.bytes.get_mut(&allocation.owner) {
            *bytes -= allocation.size;
        }
        Ok(allocation)
    }

    /// The live allocation that `address` lies in.
    pub fn find(&self, address: u64) -> Option<Allocation> {
        let state = self.state.lock();
        match *state.pages.get(&(address / PAGE))? {
            Page::Slab(number) => {
                let slab = &state.slabs[number as usize];
                let class = u64::from(CLASSES[usize::from(slab.class)]);
                let index = (address - slab.base) / class;
                let object = (*slab.objects.get(index as usize)?)?;
                Some(Allocation {
                    start: slab.base + index * class,
                    size: u64::from(object.size),
                    usable: class,
                    owner: object.owner,
                    caller: object.caller,
                })
            }
            Page::Run(start) => state.runs.get(&start).map(|run| run.allocation(start)),
        }
    }

    /// Bytes that `owner` holds.
    pub fn bytes_of(&self, owner: Owner) -> u64 {
        self.state.lock().bytes.get(&owner).copied().unwrap_or(0)
    }

    /// Bytes held by everybody.
    pub fn bytes(&self) -> u64 {
        self.state.lock().bytes.values().sum()
    }

    /// Everybody who holds memory.
    pub fn owners(&self) -> Vec<Owner> {
        let state = self.state.lock();
        let mut owners: Vec<Owner> =
            state.bytes.iter().filter(|(_, bytes)| **bytes > 0).map(|(&owner, _)| owner).collect();
        owners.sort_unstable();
        owners
    }

    /// All live allocations of `owner`, by address.
    pub fn allocations_of(&self, owner: Owner) -> Vec<Allocation> {
        let state = self.state.lock();
        let mut found: Vec<Allocation> = state
            .runs
            .iter()
            .filter(|(_, run)| run.object.owner == owner)
            .map(|(&start, run)| run.allocation(start))
            .collect();
        for slab in &state.slabs {
            let class = u64::from(CLASSES[usize::from(slab.class)]);
            for (index, object) in slab.objects.iter().enumerate() {
                if let Some(object) = object.filter(|object| object.owner == owner) {
                    found.push(Allocation {
                        start: slab.base + index as u64 * class,
                        size: u64::from(object.size),
                        usable: class,
                        owner,
                        caller: object.caller,
                    });
                }
            }
        }
        found.sort_by_key(|allocation| allocation.start);
        found
    }
}

impl Run {
    fn allocation(&self, start: u64) -> Allocation {
        Allocation {
            start,
            size: self.size,
            usable: self.pages * PAGE,
            owner: self.object.owner,
            caller: self.object.caller,
        }
    }
}

impl State {
    fn take_small(&mut self, class: usize, object: Object) -> Result<u64, Errno> {
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
        Ok(slab.base + u64::from(index) * u64::from(CLASSES[class]))
    }

    fn grow(&mut self, class: usize) -> Result<u32, Errno> {
        let size = u64::from(CLASSES[class]);
        let pages: u64 = if size >= 1024 { 8 } else { 1 };
        let base = self.frames.take(pages * PAGE, PAGE)?;
        let count = (pages * PAGE / size) as u16;
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

    fn take_run(&mut self, size: u64, align: u64, object: Object) -> Result<u64, Errno> {
        let pages = size.div_ceil(PAGE).max(1);
        // As `kmalloc` promises for powers of two.
        let natural = if size.is_power_of_two() { size } else { PAGE };
        let start = self.frames.take(pages * PAGE, align.max(natural).max(PAGE))?;
        for page in 0..pages {
            self.pages.insert(start / PAGE + page, Page::Run(start));
        }
        self.runs.insert(start, Run { pages, object, size });
        Ok(start)
    }

    fn give_small(&mut self, number: u32, address: u64) -> Result<Allocation, FreeError> {
        let slab = &mut self.slabs[number as usize];
        let class = u64::from(CLASSES[usize::from(slab.class)]);
        let (index, rest) = ((address - slab.base) / class, (address - slab.base) % class);
        let place = slab.objects.get_mut(index as usize).ok_or(FreeError::Unknown(address))?;
        let object = match place {
            None => return Err(FreeError::AlreadyFree(address)),
            Some(_) if rest != 0 => return Err(FreeError::Interior(address)),
            Some(object) => *object,
        };
        *place = None;
        slab.free.push(index as u16);
        if slab.free.len() == 1 {
            self.partial[usize::from(slab.class)].push(number);
        }
        Ok(Allocation {
            start: address,
            size: u64::from(object.size),
            usable: class,
            owner: object.owner,
            caller: object.caller,
        })
    }

    fn give_run(&mut self, start: u64, address: u64) -> Result<Allocation, FreeError> {
        if start != address {
            return Err(FreeError::Interior(address));
        }
        let run = self.runs.remove(&start).ok_or(FreeError::Unknown(address))?;
        for page in 0..run.pages {
            self.pages.remove(&(start / PAGE + page));
        }
        self.frames.give(start);
        Ok(run.allocation(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap() -> Heap {
        Heap::new(0x1_0000_0000..0x1_1000_0000)
    }

    #[test]
    fn objects_are_aligned_distinct_and_accounted() {
        let (heap, inject) = (heap(), Injection::default());
        let mut taken = Vec::new();
        for size in [1, 8, 33, 64, 100, 129, 4096, 4097, 100_000] {
            for _ in 0..70 {
                let start = heap.allocate(size, 8, Owner::Module(3), 0, &inject).unwrap();
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
            assert_eq!(heap.free(start).unwrap().size, size);
        }
        assert_eq!(heap.bytes(), 0);
    }

    #[test]
    fn wrong_frees_change_nothing() {
        let (heap, inject) = (heap(), Injection::default());
        let small = heap.allocate(64, 8, Owner::Kernel, 0, &inject).unwrap();
        let large = heap.allocate(9000, 8, Owner::Kernel, 0, &inject).unwrap();
        assert_eq!(heap.free(small + 8), Err(FreeError::Interior(small + 8)));
        assert_eq!(heap.free(large + 4096), Err(FreeError::Interior(large + 4096)));
        assert_eq!(heap.free(0), Err(FreeError::Unknown(0)));
        heap.free(small).unwrap();
        assert_eq!(heap.free(small), Err(FreeError::AlreadyFree(small)));
        heap.free(large).unwrap();
        assert!(heap.free(large).is_err());
    }

    #[test]
    fn too_much_is_refused() {
        let (heap, inject) = (heap(), Injection::default());
        assert_eq!(heap.allocate(u64::MAX, 8, Owner::Kernel, 0, &inject), Err(Errno::ENOMEM));
        assert_eq!(heap.allocate(0x1000_0001, 8, Owner::Kernel, 0, &inject), Err(Errno::ENOMEM));
        assert_eq!(heap.bytes(), 0);
    }
}
