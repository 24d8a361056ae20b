//! The tree of a `struct xarray`: nodes of 64 slots in C memory, as inline functions of modules walk them.
//!
//! An array without nodes keeps its one entry, at index 0, in the head. A node's entries lie in `slots`; below another node its
//! place is `offset`. The marks of a slot that holds a node say that something below is marked. Entries that cover more than
//! one index are not made here, only stepped over.

use alloc::vec::Vec;

use crate::ram;

/// Slots a node.
pub(super) const SLOTS: u64 = 64;
/// Bits of the index a level takes.
pub(super) const BITS: u8 = 6;
/// Kinds of marks.
pub(super) const MARKS: u32 = 3;
/// `XA_ZERO_ENTRY`: taken, and reads as nothing.
pub(super) const ZERO: u64 = 257 << 2 | 2;

/// Where the members of the structs are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub flags: u64,
    pub head: u64,
    pub node_size: u64,
    pub shift: u64,
    pub offset: u64,
    pub count: u64,
    pub values: u64,
    pub parent: u64,
    pub array: u64,
    pub list: u64,
    pub slots: u64,
    pub marks: u64,
    /// The bit of `xa_flags` for mark 0 (`__GFP_BITS_SHIFT`).
    pub mark_bit: u32,
}

/// Where nodes come from and go to.
pub(super) trait Nodes {
    /// Zeroed memory for a node; 0 when there is none.
    fn allocate(&mut self, size: u64) -> u64;
    /// Frees a node when nobody can be walking over it any more.
    fn release(&mut self, node: u64);
}

/// `XA_FLAGS_TRACK_FREE`
pub(super) const TRACK_FREE: u32 = 4;

/// There was no memory for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoMemory;

/// A place in the tree: a node and a slot of it, or the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The node; 0 for the head.
    pub node: u64,
    /// Its slot.
    pub offset: u8,
}

/// An entry that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub index: u64,
    pub entry: u64,
    pub place: Place,
}

pub(super) fn is_node(entry: u64) -> bool {
    entry & 3 == 2 && entry > 4096
}
fn node_of(entry: u64) -> u64 {
    entry & !3
}
fn is_value(entry: u64) -> bool {
    entry & 1 != 0
}

/// An array by its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree<'a> {
    pub at: u64,
    pub shape: &'a Shape,
}

impl Tree<'_> {
    fn get<T: Copy>(&self, base: u64, offset: u64) -> T {
        // SAFETY: a live array or one of its nodes, or a fault in the module's name.
        unsafe { ram::get(base + offset) }
    }
    fn put<T: Copy>(&self, base: u64, offset: u64, value: T) {
        // SAFETY: as above.
        unsafe { ram::put(base + offset, value) };
    }

    pub(super) fn head(&self) -> u64 {
        self.get(self.at, self.shape.head)
    }
    fn set_head(&self, entry: u64) {
        self.put(self.at, self.shape.head, entry);
    }
    pub(super) fn flags(&self) -> u32 {
        self.get(self.at, self.shape.flags)
    }
    pub(super) fn set_flags(&self, flags: u32) {
        self.put(self.at, self.shape.flags, flags);
    }
    pub(super) fn shift(&self, node: u64) -> u8 {
        self.get(node, self.shape.shift)
    }
    fn offset(&self, node: u64) -> u8 {
        self.get(node, self.shape.offset)
    }
    pub(super) fn parent(&self, node: u64) -> u64 {
        self.get(node, self.shape.parent)
    }
    fn count(&self, node: u64) -> u8 {
        self.get(node, self.shape.count)
    }
    /// The address of a slot.
    pub(super) fn slot_address(&self, place: Place) -> u64 {
        match place.node {
            0 => self.at + self.shape.head,
            node => node + self.shape.slots + 8 * u64::from(place.offset),
        }
    }
    pub(super) fn slot(&self, node: u64, offset: u8) -> u64 {
        self.get(self.slot_address(Place { node, offset }), 0)
    }
    /// Sibling slots point at the slot that holds the entry.
    fn resolve(&self, node: u64, offset: u8) -> u64 {
        match self.slot(node, offset) {
            entry if entry & 3 == 2 && entry >> 2 < SLOTS => self.slot(node, (entry >> 2) as u8),
            entry => entry,
        }
    }
    pub(super) fn marks_of(&self, node: u64, mark: u32) -> u64 {
        self.get(node, self.shape.marks + 8 * u64::from(mark))
    }
    fn set_marks(&self, node: u64, mark: u32, marks: u64) {
        self.put(node, self.shape.marks + 8 * u64::from(mark), marks);
    }

    fn index_in(index: u64, shift: u8) -> u8 {
        (index >> shift & (SLOTS - 1)) as u8
    }

    /// The last index that the tree's height reaches.
    fn reach(&self) -> u64 {
        match self.head() {
            head if is_node(head) => self.reach_of(node_of(head)),
            _ => 0,
        }
    }
    fn reach_of(&self, node: u64) -> u64 {
        u64::MAX.checked_shr(64u32.saturating_sub(u32::from(self.shift(node)) + u32::from(BITS))).unwrap_or(0)
    }

    /// The place of an index and what is there; `None` when the tree does not reach so far.
    pub(super) fn walk(&self, index: u64) -> Option<Found> {
        let head = self.head();
        if !is_node(head) {
            return (index == 0).then_some(Found { index, entry: head, place: Place { node: 0, offset: 0 } });
        }
        if index > self.reach() {
            return None;
        }
        let mut node = node_of(head);
        loop {
            let offset = Self::index_in(index, self.shift(node));
            let entry = self.resolve(node, offset);
            if !is_node(entry) || self.shift(node) == 0 {
                return Some(Found { index, entry, place: Place { node, offset } });
            }
            node = node_of(entry);
        }
    }

    pub(super) fn load(&self, index: u64) -> u64 {
        self.walk(index).map_or(0, |found| found.entry)
    }

    /// The first entry from `from` on, up to `last`; with a mark, the first that has it.
    pub(super) fn find(&self, from: u64, last: u64, mark: Option<u32>) -> Option<Found> {
        let mut index = from;
        while index <= last {
            let head = self.head();
            if !is_node(head) {
                let wanted = mark.is_none_or(|mark| self.head_mark(mark));
                return (index == 0 && head != 0 && wanted).then_some(Found {
                    index,
                    entry: head,
                    place: Place { node: 0, offset: 0 },
                });
            }
            if index > self.reach() {
                return None;
            }
            let mut node = node_of(head);
            loop {
                let shift = self.shift(node);
                let start = Self::index_in(index, shift);
                let marks = mark.map(|mark| self.marks_of(node, mark));
                let wanted = |offset: u8| match marks {
                    Some(marks) => marks >> offset & 1 != 0,
                    None => self.slot(node, offset) != 0,
                };
                let Some(offset) = (start..SLOTS as u8).find(|&offset| wanted(offset)) else {
                    // On behind this node.
                    let span = 1u64.checked_shl(u32::from(shift) + u32::from(BITS)).unwrap_or(0);
                    index = (index & !span.wrapping_sub(1)).wrapping_add(span);
                    if span == 0 || index == 0 {
                        return None;
                    }
                    break;
                };
                if offset != start {
                    let low = (1u64 << shift) - 1;
                    index = index & !(low | (SLOTS - 1) << shift) | u64::from(offset) << shift;
                }
                if index > last {
                    return None;
                }
                let entry = self.resolve(node, offset);
                if !is_node(entry) || shift == 0 {
                    if entry == 0 {
                        // A mark without an entry: nothing that counts.
                        let (next, wrapped) = index.overflowing_add(1);
                        index = next;
                        if wrapped {
                            return None;
                        }
                        break;
                    }
                    return Some(Found { index, entry, place: Place { node, offset } });
                }
                node = node_of(entry);
            }
        }
        None
    }

    /// The first index from `from` on, up to `last`, that holds nothing.
    pub(super) fn find_free(&self, from: u64, last: u64) -> Option<u64> {
        let mut index = from;
        while index <= last {
            let Some(found) = self.walk(index) else { return Some(index) };
            if found.entry == 0 {
                return Some(index);
            }
            // A full leaf is passed in one step.
            let node = found.place.node;
            index = if node != 0 && self.shift(node) == 0 && u64::from(self.count(node)) == SLOTS {
                (index | (SLOTS - 1)).checked_add(1)?
            } else {
                index.checked_add(1)?
            };
        }
        None
    }

    fn head_bit(&self, mark: u32) -> u32 {
        1 << (self.shape.mark_bit + mark)
    }
    /// Whether anything in the array has a mark.
    pub(super) fn head_mark(&self, mark: u32) -> bool {
        self.flags() & self.head_bit(mark) != 0
    }
    fn set_head_mark(&self, mark: u32, set: bool) {
        // Mark 0 of an array that gives out numbers says that some are free, which is always so.
        if mark == 0 && self.flags() & TRACK_FREE != 0 {
            return;
        }
        let flags = self.flags() & !self.head_bit(mark);
        self.set_flags(if set { flags | self.head_bit(mark) } else { flags });
    }

    pub(super) fn mark(&self, place: Place, mark: u32) -> bool {
        match place.node {
            0 => self.head_mark(mark),
            node => self.marks_of(node, mark) >> place.offset & 1 != 0,
        }
    }

    /// Sets or clears the mark of an entry, and of what is above it.
    pub(super) fn set_mark(&self, place: Place, mark: u32, set: bool) {
        let Place { mut node, mut offset } = place;
        while node != 0 {
            let marks = self.marks_of(node, mark);
            let new = if set { marks | 1 << offset } else { marks & !(1 << offset) };
            if new == marks {
                return;
            }
            self.set_marks(node, mark, new);
            if !set && new != 0 {
                return;
            }
            (node, offset) = (self.parent(node), self.offset(node));
        }
        self.set_head_mark(mark, set);
    }

    fn new_node(&self, nodes: &mut impl Nodes, shift: u8, parent: u64, offset: u8) -> Result<u64, NoMemory> {
        let node = nodes.allocate(self.shape.node_size);
        if node == 0 {
            return Err(NoMemory);
        }
        self.put(node, self.shape.shift, shift);
        self.put(node, self.shape.offset, offset);
        self.put(node, self.shape.parent, parent);
        self.put(node, self.shape.array, self.at);
        // An empty list points at itself.
        self.put(node, self.shape.list, node + self.shape.list);
        self.put(node, self.shape.list + 8, node + self.shape.list);
        Ok(node)
    }

    fn add_count(&self, node: u64, count: i8, values: i8) {
        self.put(node, self.shape.count, self.count(node).wrapping_add_signed(count));
        let old: u8 = self.get(node, self.shape.values);
        self.put(node, self.shape.values, old.wrapping_add_signed(values));
    }

    /// Makes the tree reach `index`.
    fn grow(&self, nodes: &mut impl Nodes, index: u64) -> Result<(), NoMemory> {
        loop {
            let head = self.head();
            if is_node(head) && index <= self.reach() {
                return Ok(());
            }
            let shift = match head {
                // Nothing has to be reached but the index.
                0 => (64 - index.max(1).leading_zeros() as u8 - 1) / BITS * BITS,
                head if is_node(head) => self.shift(node_of(head)) + BITS,
                _ => 0,
            };
            let node = self.new_node(nodes, shift, 0, 0)?;
            if head != 0 {
                self.put(node, self.shape.slots, head);
                self.add_count(node, 1, i8::from(is_value(head)));
                for mark in 0..MARKS {
                    if self.head_mark(mark) {
                        self.set_marks(node, mark, 1);
                    }
                }
                if is_node(head) {
                    self.put(node_of(head), self.shape.parent, node);
                    self.put(node_of(head), self.shape.offset, 0u8);
                }
            }
            self.set_head(node | 2);
        }
    }

    /// Puts `entry` at `index` (0: takes out what is there); what was there, and where it is now.
    pub(super) fn store(&self, nodes: &mut impl Nodes, index: u64, entry: u64) -> Result<(u64, Place), NoMemory> {
        let nowhere = Place { node: 0, offset: 0 };
        if !is_node(self.head()) && index == 0 {
            let old = self.head();
            self.set_head(entry);
            if entry == 0 {
                (0..MARKS).for_each(|mark| self.set_head_mark(mark, false));
            }
            return Ok((old, nowhere));
        }
        if entry == 0 {
            let Some(found) = self.walk(index) else { return Ok((0, nowhere)) };
            if found.entry != 0 {
                self.take_out(nodes, found.place, found.entry);
            }
            return Ok((found.entry, nowhere));
        }
        self.grow(nodes, index)?;
        let mut node = node_of(self.head());
        loop {
            let shift = self.shift(node);
            let offset = Self::index_in(index, shift);
            let place = Place { node, offset };
            let old = self.resolve(node, offset);
            if shift == 0 {
                self.put(self.slot_address(place), 0, entry);
                self.add_count(node, i8::from(old == 0), i8::from(is_value(entry)) - i8::from(is_value(old)));
                return Ok((old, place));
            }
            node = if is_node(old) {
                node_of(old)
            } else {
                let below = self.new_node(nodes, shift - BITS, node, offset)?;
                self.put(self.slot_address(place), 0, below | 2);
                self.add_count(node, 1, 0);
                below
            };
        }
    }

    fn take_out(&self, nodes: &mut impl Nodes, place: Place, old: u64) {
        for mark in 0..MARKS {
            self.set_mark(place, mark, false);
        }
        self.put(self.slot_address(place), 0, 0u64);
        let mut node = place.node;
        self.add_count(node, -1, -i8::from(is_value(old)));
        while self.count(node) == 0 {
            let parent = self.parent(node);
            let offset = self.offset(node);
            if parent == 0 {
                self.set_head(0);
                nodes.release(node);
                return;
            }
            self.put(self.slot_address(Place { node: parent, offset }), 0, 0u64);
            self.add_count(parent, -1, 0);
            nodes.release(node);
            node = parent;
        }
        self.shrink(nodes);
    }

    /// While only the first slot of the top node is taken, the node is not needed.
    fn shrink(&self, nodes: &mut impl Nodes) {
        loop {
            let head = self.head();
            if !is_node(head) {
                return;
            }
            let node = node_of(head);
            let first = self.slot(node, 0);
            if self.count(node) != 1 || first == 0 || !is_node(first) && self.shift(node) != 0 {
                return;
            }
            self.set_head(first);
            if is_node(first) {
                self.put(node_of(first), self.shape.parent, 0u64);
            }
            nodes.release(node);
        }
    }

    /// Frees all nodes; the entries are forgotten.
    pub(super) fn destroy(&self, nodes: &mut impl Nodes) {
        let mut left = Vec::new();
        let head = self.head();
        self.set_head(0);
        (0..MARKS).for_each(|mark| self.set_head_mark(mark, false));
        if is_node(head) {
            left.push(node_of(head));
        }
        while let Some(node) = left.pop() {
            if self.shift(node) > 0 {
                left.extend(
                    (0..SLOTS as u8).map(|offset| self.slot(node, offset)).filter(|&entry| is_node(entry)).map(node_of),
                );
            }
            nodes.release(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::collections::{BTreeMap, BTreeSet};
    use proptest::prelude::*;

    const SHAPE: Shape = Shape {
        flags: 4,
        head: 8,
        node_size: 576,
        shift: 0,
        offset: 1,
        count: 2,
        values: 3,
        parent: 8,
        array: 16,
        list: 24,
        slots: 40,
        marks: 552,
        mark_bit: 27,
    };

    #[derive(Default)]
    struct Host {
        live: BTreeMap<u64, Box<[u64; 72]>>,
    }
    impl Nodes for Host {
        fn allocate(&mut self, size: u64) -> u64 {
            assert_eq!(size, 576);
            let mut memory = Box::new([0u64; 72]);
            let at = memory.as_mut_ptr() as u64;
            self.live.insert(at, memory);
            at
        }
        fn release(&mut self, node: u64) {
            assert!(self.live.remove(&node).is_some(), "a node is freed once");
        }
    }

    fn keys() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..200, 4000u64..4200, Just(u64::MAX), Just(1 << 40), any::<u64>()]
    }

    proptest! {
        #[test]
        fn like_a_map(operations in proptest::collection::vec((0u8..4, keys(), 0u32..3), 0..200)) {
            let mut array = [0u64; 2];
            let tree = Tree { at: array.as_mut_ptr() as u64, shape: &SHAPE };
            let mut nodes = Host::default();
            let mut map = BTreeMap::new();
            let mut marks: [BTreeSet<u64>; 3] = Default::default();
            for (number, (operation, key, mark)) in operations.into_iter().enumerate() {
                let entry = (number as u64 + 1) << 3;
                match operation {
                    0 | 1 => {
                        let (old, place) = tree.store(&mut nodes, key, entry).unwrap();
                        prop_assert_eq!(old, map.insert(key, entry).unwrap_or(0));
                        prop_assert_eq!(tree.walk(key).map(|found| found.place), Some(place));
                    }
                    2 => {
                        let (old, _) = tree.store(&mut nodes, key, 0).unwrap();
                        prop_assert_eq!(old, map.remove(&key).unwrap_or(0));
                        marks.iter_mut().for_each(|marks| _ = marks.remove(&key));
                    }
                    _ => if let Some(found) = tree.walk(key).filter(|found| found.entry != 0) {
                        let set = marks[mark as usize].insert(key);
                        if !set {
                            marks[mark as usize].remove(&key);
                        }
                        tree.set_mark(found.place, mark, set);
                    },
                }
                prop_assert_eq!(tree.head() == 0, map.is_empty());
                for mark in 0..3 {
                    prop_assert_eq!(tree.head_mark(mark), !marks[mark as usize].is_empty());
                }
                let next = tree.find(key, u64::MAX, None).map(|found| (found.index, found.entry));
                prop_assert_eq!(next, map.range(key..).next().map(|(key, entry)| (*key, *entry)));
                let marked = tree.find(key, u64::MAX, Some(mark)).map(|found| found.index);
                prop_assert_eq!(marked, marks[mark as usize].range(key..).next().copied());
                let free = tree.find_free(key, key.saturating_add(300));
                prop_assert_eq!(free, (key..=key.saturating_add(300)).find(|key| !map.contains_key(key)));
            }
            for (key, entry) in &map {
                prop_assert_eq!(tree.load(*key), *entry);
            }
            tree.destroy(&mut nodes);
            prop_assert!(nodes.live.is_empty(), "nothing stays behind");
        }
    }

    #[test]
    fn empties_and_shrinks() {
        let mut array = [0u64; 2];
        let tree = Tree { at: array.as_mut_ptr() as u64, shape: &SHAPE };
        let mut nodes = Host::default();
        tree.store(&mut nodes, 0, 8).unwrap();
        assert!(nodes.live.is_empty(), "one entry at 0 needs no node");
        tree.store(&mut nodes, 1 << 20, 16).unwrap();
        assert!(nodes.live.len() > 3);
        tree.store(&mut nodes, 1 << 20, 0).unwrap();
        assert!(nodes.live.is_empty() && tree.head() == 8);
    }
}
