//! Heap memory with its contents: what lies around an object, what a freed one is filled with, and what is said when either
//! was changed.
//!
//! Three ways of looking ([`Checks`]): not at all; zones beside every object that are looked at when it is freed, and a filling
//! of freed ones that is looked at when their place is given out again; or pages of its own for every object, so that a wrong
//! access faults where it is made.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::heap::{Allocation, Checks, FreeError, Owner, PAGE, Wish};
use crate::inject::Injection;
use crate::module::Module;
use crate::text::Errno;
use crate::{Kernel, oops::MemoryError};

/// What the bytes beside an object are (`SLUB_RED_ACTIVE`), those of a freed one (`POISON_FREE`) and its last (`POISON_END`).
const ZONE: u8 = 0xcc;
const FREED: u8 = 0x6b;
const FREED_END: u8 = 0xa5;
/// Bytes of a freed object that are filled and looked at.
const FILLED: u64 = PAGE;

impl Kernel {
    /// Takes heap memory for whoever called from `caller`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn allocate(&self, size: u64, align: u64, caller: u64) -> Result<u64, Errno> {
        self.allocate_for(size, align, self.owner_of(caller), caller, &self.inject)
    }

    /// Takes `size` bytes aligned to `align` (a power of two) for `owner`.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room, or when failure is injected.
    pub fn allocate_for(
        &self,
        size: u64,
        align: u64,
        owner: Owner,
        caller: u64,
        inject: &Injection,
    ) -> Result<u64, Errno> {
        if inject.should_fail() {
            return Err(Errno::ENOMEM);
        }
        let checks = self.heap.checks();
        let trail = if checks == Checks::Off { Default::default() } else { self.keep_trail(caller) };
        let wish = Wish { size, align, owner, caller, trail };
        let taken = match checks {
            // When the host has no more mappings to give, the rest gets zones.
            Checks::Pages => self.allocate_paged(&wish).or_else(|_| self.heap.take(&wish, false))?,
            Checks::Off | Checks::Zones => self.heap.take(&wish, false)?,
        };
        self.fill_zones(&taken);
        Ok(taken.start)
    }

    fn allocate_paged(&self, wish: &Wish) -> Result<Allocation, Errno> {
        let taken = self.heap.take(wish, true)?;
        let pages = taken.start / PAGE * PAGE..taken.start + taken.usable;
        if self.platform.forbid(pages, false).is_err() {
            // Never handed out, so nobody has used it.
            let _ = self.heap.give(taken.start, Default::default());
            return Err(Errno::ENOMEM);
        }
        Ok(taken)
    }

    fn fill_zones(&self, object: &Allocation) {
        let [before, after] = object.zones;
        let zone = [ZONE; 64];
        let fill = |at: u64, length: u64| {
            if length > 0 {
                // The heap's own memory is writable.
                let _ = self.platform.write(at, &zone[..length.min(64) as usize]);
            }
        };
        fill(object.start - before, before);
        fill(object.start + object.room, after);
    }

    /// The owner of the object at `address` may use `room` bytes of it from now on, as far as there are so many.
    pub fn widen(&self, address: u64, room: u64) {
        if let Some(object) = self.heap.widen(address, room) {
            self.fill_zones(&object);
        }
    }

    /// Gives heap memory back for whoever called from `caller` (0: the kernel itself).
    ///
    /// # Errors
    /// [`FreeError`] when `address` is not the start of a live allocation; nothing is changed.
    pub fn free(&'static self, address: u64, caller: u64) -> Result<Allocation, FreeError> {
        let checks = self.heap.checks();
        let trail = if checks == Checks::Off { Default::default() } else { self.keep_trail(caller) };
        let object = self.heap.give(address, trail)?;
        if checks == Checks::Off {
            return Ok(object);
        }
        self.look_beside(&object, caller);
        if object.paged {
            let pages = object.start / PAGE * PAGE..object.start + object.usable;
            self.platform.discard(pages.clone());
            // A page that stays accessible only finds less.
            let _ = self.platform.forbid(pages, true);
        } else {
            self.fill_freed(&object);
        }
        while let Some(old) = self.heap.evict(false) {
            self.look_inside(&old);
        }
        Ok(object)
    }

    fn fill_freed(&self, object: &Allocation) {
        let filling = [FREED; FILLED as usize];
        let length = object.size.min(FILLED);
        if length > 0 {
            let _ = self.platform.write(object.start, &filling[..length as usize]);
            let _ = self.platform.write(object.start + length - 1, &[FREED_END]);
        }
    }

    /// Whether somebody wrote beside an object that is or was live.
    fn look_beside(&'static self, object: &Allocation, caller: u64) {
        let [before, after] = object.zones;
        let end = object.start + object.room;
        for (from, length, is_before) in [(object.start - before, before, true), (end, after, false)] {
            let Some((at, count)) = self.changed(from, length, |_| ZONE) else { continue };
            let (distance, side) = match is_before {
                true => (object.start - at, "before"),
                false => (at - (object.start + object.size), "after"),
            };
            let bytes = if count == 1 { "byte" } else { "bytes" };
            let text = format!(
                "BUG: out-of-bounds write, {count} {bytes}, {distance} bytes {side} the object of size {} allocated by {}",
                object.size,
                self.allocated_by(object),
            );
            self.report_memory("out-of-bounds", text, at, object, caller);
            // Reported once.
            let _ = self.platform.write(at, &[ZONE; 64][..(from + length - at).min(64) as usize]);
        }
    }

    /// Whether somebody wrote into a freed object.
    fn look_inside(&'static self, object: &Allocation) {
        if object.paged {
            return;
        }
        let length = object.size.min(FILLED);
        let filling = move |at: u64| if at + 1 == length { FREED_END } else { FREED };
        let Some((at, count)) = self.changed(object.start, length, filling) else { return };
        let bytes = if count == 1 { "byte" } else { "bytes" };
        let text = format!(
            "BUG: use-after-free write, {count} {bytes}, {} bytes into the freed object of size {} allocated by {}",
            at - object.start,
            object.size,
            self.allocated_by(object),
        );
        self.report_memory("use-after-free", text, at, object, 0);
    }

    /// The first byte of a range that is not what it should be, and how many bytes there are from it to the last such.
    fn changed(&self, from: u64, length: u64, expected: impl Fn(u64) -> u8) -> Option<(u64, u64)> {
        let mut buffer = [0; FILLED as usize];
        let bytes = &mut buffer[..length.min(FILLED) as usize];
        if bytes.is_empty() || self.platform.read(from, bytes).is_err() {
            return None;
        }
        let wrong = |(at, byte): &(usize, &u8)| **byte != expected(*at as u64);
        let first = bytes.iter().enumerate().find(wrong)?.0 as u64;
        let last = bytes.iter().enumerate().rfind(wrong).map_or(first, |(at, _)| at as u64);
        Some((from + first, last - first + 1))
    }

    /// Who allocated an object, symbolised.
    pub fn allocated_by(&self, object: &Allocation) -> String {
        let by_trail = self.tell_trail(object.trails[0]).and_then(|(_, trace)| trace.into_iter().next());
        by_trail.unwrap_or_else(|| self.modules.name_of_caller(self, object.owner, object.caller))
    }

    /// Looks at what there is of `module` before its code is gone, and keeps the names of the calls that led to what stays.
    pub(crate) fn look_before_leaving(&'static self, module: &Module) {
        if self.heap.checks() == Checks::Off {
            return;
        }
        let owner = Owner::Module(module.id);
        let live = self.heap.allocations_of(owner);
        for object in &live {
            self.look_beside(object, 0);
        }
        // What it has freed is looked at while its names are known.
        let held = self.heap.held();
        let concerned = |object: &&Allocation| object.owner == owner;
        for object in held.iter().filter(concerned) {
            self.look_inside(object);
            if !object.paged {
                self.fill_freed(object);
            }
        }
        let objects = live.iter().chain(&held);
        let wanted: Vec<_> = objects.flat_map(|object| object.trails).collect();
        self.settle_trails(&wanted, &module.memory.parts());
    }

    /// Keeps the names of the calls in init that led to what there is, before that code is gone.
    pub(crate) fn keep_init_trails(&self, module: &Module) {
        if self.heap.checks() != Checks::Off {
            let owner = Owner::Module(module.id);
            let (live, held) = (self.heap.allocations_of(owner), self.heap.held());
            let held = held.iter().filter(|one| one.owner == owner);
            let wanted: Vec<_> = live.iter().chain(held).flat_map(|one| one.trails).collect();
            self.settle_trails(&wanted, &[module.memory.init_text()]);
        }
    }

    /// Looks at everything there is: the machine ends.
    pub fn look_at_heap(&'static self) {
        if self.heap.checks() == Checks::Off {
            return;
        }
        for object in self.heap.allocations() {
            self.look_beside(&object, 0);
        }
        while let Some(object) = self.heap.evict(true) {
            self.look_inside(&object);
        }
    }

    fn report_memory(&'static self, kind: &'static str, text: String, address: u64, object: &Allocation, caller: u64) {
        let error = MemoryError::about(self, kind, text, address, Some(object), caller);
        self.report_memory_error(error);
    }
}
