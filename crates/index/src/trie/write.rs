//! Writing a trie.

use std::cmp::Reverse;

use thiserror::Error;

use super::{CHILDS, HEADER, KEY_BYTES, MAGIC, OFFSET, PREFIX, VALUES, VERSION};

/// In which order the nodes of a trie stand in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeOrder {
    /// A node before its children, as kmod writes since release 31.
    #[default]
    ParentFirst,
    /// A node behind its children and the root last, as kmod 30 writes.
    ChildrenFirst,
}

/// Why a trie cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TrieWriteError {
    /// The references of the format reach no further.
    #[error("the index would be larger than {} bytes", OFFSET + 1)]
    TooLarge,
}

/// Why a key or value does not enter a trie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Keys are of 7-bit ASCII.
    #[error("byte {byte:#04x} at {at} is not ASCII, which is all that an index holds")]
    NotAscii {
        /// The byte.
        byte: u8,
        /// Where it is in the key.
        at: usize,
    },
    /// Strings end at a NUL in the file.
    #[error("a NUL at {at}, where a string of an index ends")]
    Nul {
        /// Where it is.
        at: usize,
    },
}

/// One value of one key.
#[derive(Debug, Clone, Copy)]
struct Item {
    key: (u32, u32),
    value: (u32, u32),
    priority: u32,
}

/// Keys and values that become a trie. What it looks like depends only on what was inserted, except that of several values of one
/// key with the same priority the newest comes first.
#[derive(Debug, Default)]
pub struct TrieWriter {
    text: Vec<u8>,
    items: Vec<Item>,
}

impl TrieWriter {
    /// A trie without keys.
    #[must_use]
    pub fn new() -> TrieWriter {
        TrieWriter::default()
    }

    /// A trie without keys, with room for `items` values and `bytes` of text.
    #[must_use]
    pub fn with_capacity(items: usize, bytes: usize) -> TrieWriter {
        TrieWriter { text: Vec::with_capacity(bytes), items: Vec::with_capacity(items) }
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing was inserted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds `value` to the values of `key`; lower priorities are found first.
    ///
    /// # Errors
    /// When `key` is not ASCII, or one of the two has a NUL; nothing is inserted then.
    pub fn insert(&mut self, key: &[u8], value: &[u8], priority: u32) -> Result<(), KeyError> {
        if let Some((at, &byte)) = key.iter().enumerate().find(|&(_, &byte)| byte == 0 || byte >= KEY_BYTES) {
            return Err(if byte == 0 { KeyError::Nul { at } } else { KeyError::NotAscii { byte, at } });
        }
        if let Some(at) = value.iter().position(|&byte| byte == 0) {
            return Err(KeyError::Nul { at });
        }
        let key = self.push(key);
        // What one module offers mostly goes by one value; it is kept once.
        let value = match self.items.last() {
            Some(last) if self.slice(last.value) == value => last.value,
            _ => self.push(value),
        };
        self.items.push(Item { key, value, priority });
        Ok(())
    }

    /// Keeps `bytes`: where they are. More than 4 GiB wraps, and fails as too large when it is written.
    fn push(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        (start, bytes.len() as u32)
    }

    fn slice(&self, (start, length): (u32, u32)) -> &[u8] {
        let start = start as usize;
        self.text.get(start..start.saturating_add(length as usize)).unwrap_or_default()
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// When they would be too many.
    pub fn finish(&self, order: NodeOrder) -> Result<Vec<u8>, TrieWriteError> {
        if self.text.len() > u32::MAX as usize {
            return Err(TrieWriteError::TooLarge);
        }
        let items = self.sorted();
        let mut file = Vec::with_capacity(self.text.len().saturating_mul(3) + HEADER as usize);
        file.extend(MAGIC.to_be_bytes());
        file.extend(VERSION.to_be_bytes());
        file.extend(HEADER.to_be_bytes());
        let mut nodes = Nodes { writer: self, items: &items, file };
        if !items.is_empty() {
            match order {
                NodeOrder::ParentFirst => nodes.parent_first(),
                NodeOrder::ChildrenFirst => nodes.children_first(),
            }
        }
        let file = nodes.file;
        if file.len() > OFFSET as usize { Err(TrieWriteError::TooLarge) } else { Ok(file) }
    }

    /// The items by their keys, those of one key by priority and the newest first.
    ///
    /// Keys begin alike, and comparing them goes through what is the same again and again. So they are sorted by eight bytes as one
    /// number, and then those that have these in common by the next eight.
    fn sorted(&self) -> Vec<Item> {
        let word = |number: u32, depth: usize| {
            let key = self.items.get(number as usize).map(|item| self.slice(item.key)).unwrap_or_default();
            let rest = key.get(depth..).unwrap_or_default();
            // There is no NUL in a key: what ends comes before what goes on.
            u64::from_be_bytes(rest.first_chunk().copied().unwrap_or_else(|| {
                let mut last = [0; WORD];
                last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                last
            }))
        };
        let mut places: Vec<(u64, u32)> =
            (0..self.items.len() as u32).map(|number| (word(number, 0), number)).collect();
        // Groups that have so many bytes in common.
        let mut open = vec![(0..places.len(), 0)];
        while let Some((range, depth)) = open.pop() {
            let mut begin = range.start;
            let Some(group) = places.get_mut(range) else { continue };
            if depth > 0 {
                group.iter_mut().for_each(|(key, number)| *key = word(*number, depth));
            }
            group.sort_unstable_by_key(|(key, _)| *key);
            for same in group.chunk_by_mut(|a, b| a.0 == b.0) {
                let end = begin + same.len();
                match same.first() {
                    Some((key, _)) if same.len() > 1 && key.to_be_bytes().last() == Some(&0) => {
                        let priority = |number: u32| self.items.get(number as usize).map(|item| item.priority);
                        same.sort_unstable_by_key(|&(_, number)| (priority(number), Reverse(number)));
                    }
                    _ if same.len() > 1 => open.push((begin..end, depth + WORD)),
                    _ => {}
                }
                begin = end;
            }
        }
        places.into_iter().filter_map(|(_, number)| self.items.get(number as usize).copied()).collect()
    }
}

/// How many bytes of keys are compared at once.
const WORD: usize = size_of::<u64>();

/// What one node holds, of the sorted items.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The items below the node.
    from: usize,
    to: usize,
    /// How many bytes of their keys the nodes above stand for.
    depth: usize,
    /// How many more bytes they share.
    prefix: usize,
    /// The items from `from` to here have no further bytes: they are the node's values.
    values: usize,
}

/// The file while it grows.
struct Nodes<'a> {
    writer: &'a TrieWriter,
    items: &'a [Item],
    file: Vec<u8>,
}

impl<'a> Nodes<'a> {
    fn key(&self, item: usize) -> &'a [u8] {
        self.items.get(item).map(|item| self.writer.slice(item.key)).unwrap_or_default()
    }

    /// The byte of an item's key that follows `depth` others.
    fn byte(&self, item: usize, depth: usize) -> u8 {
        self.key(item).get(depth).copied().unwrap_or_default()
    }

    /// The node of the items `from..to`, whose first `depth` bytes are the same.
    fn node(&self, from: usize, to: usize, depth: usize) -> Node {
        // Between sorted keys, what the first and the last share is what all share. The root has no prefix by definition.
        let prefix = if depth == 0 && from == 0 && to == self.items.len() {
            0
        } else {
            let (first, last) = (self.key(from), self.key(to.saturating_sub(1)));
            first.iter().zip(last).skip(depth).take_while(|(a, b)| a == b).count()
        };
        let length = depth + prefix;
        let values = (from..to).find(|&item| self.key(item).len() > length).unwrap_or(to);
        Node { from, to, depth, prefix, values }
    }

    /// The first item that is not below the child of `node` which `item` is below.
    fn end_of_child(&self, node: Node, item: usize) -> usize {
        let depth = node.depth + node.prefix;
        let byte = self.byte(item, depth);
        // Few children are large and many are one item: look close first, then by halves.
        let mut step = 1;
        let mut low = item;
        while low + step < node.to && self.byte(low + step, depth) == byte {
            low += step;
            step *= 2;
        }
        let mut high = (low + step).min(node.to);
        while low + 1 < high {
            let middle = low.midpoint(high);
            if self.byte(middle, depth) == byte {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// Writes `node`, with room for the references of its children: its own reference, and where the table of the
    /// references is, for the child of byte 0.
    fn write(&mut self, node: Node) -> (u32, usize) {
        // Checked by the caller of all this: a file that is too large is not handed out.
        let mut reference = self.file.len() as u32 & OFFSET;
        let length = node.depth + node.prefix;
        if node.prefix > 0 {
            reference |= PREFIX;
            let prefix = self.key(node.from).get(node.depth..length).unwrap_or_default();
            self.file.extend_from_slice(prefix);
            self.file.push(0);
        }
        let mut table = 0;
        if node.values < node.to {
            reference |= CHILDS;
            let (first, last) = (self.byte(node.values, length), self.byte(node.to - 1, length));
            self.file.extend([first, last]);
            table = self.file.len().wrapping_sub(usize::from(first) * 4);
            let count = usize::from(last.saturating_sub(first)) + 1;
            self.file.resize(self.file.len() + count * 4, 0);
        }
        if node.from < node.values {
            reference |= VALUES;
            self.file.extend(((node.values - node.from) as u32).to_be_bytes());
            for item in self.items.get(node.from..node.values).unwrap_or_default() {
                self.file.extend(item.priority.to_be_bytes());
                self.file.extend_from_slice(self.writer.slice(item.value));
                self.file.push(0);
            }
        }
        (reference, table)
    }

    fn patch(&mut self, place: usize, reference: u32) {
        if let Some(field) = self.file.get_mut(place..).and_then(|rest| rest.first_chunk_mut()) {
            *field = reference.to_be_bytes();
        }
    }

    // Keys may be as long as a file: neither way of writing recurses.

    fn parent_first(&mut self) {
        // Where the reference of a node goes, and its items.
        let mut waiting = vec![(8, 0, self.items.len(), 0)];
        while let Some((place, from, to, depth)) = waiting.pop() {
            let node = self.node(from, to, depth);
            let (reference, table) = self.write(node);
            self.patch(place, reference);
            if self.file.len() > OFFSET as usize {
                return;
            }
            let (begin, length) = (waiting.len(), node.depth + node.prefix);
            let mut item = node.values;
            while item < node.to {
                let end = self.end_of_child(node, item);
                let byte = usize::from(self.byte(item, length));
                waiting.push((table.wrapping_add(byte * 4), item, end, length + 1));
                item = end;
            }
            waiting.get_mut(begin..).unwrap_or_default().reverse();
        }
    }

    fn children_first(&mut self) {
        /// A node whose children are being written.
        struct Open {
            node: Node,
            next: usize,
            written: Vec<(u8, u32)>,
        }
        let mut path = vec![Open { node: self.node(0, self.items.len(), 0), next: usize::MAX, written: Vec::new() }];
        while let Some(open) = path.last_mut() {
            let node = open.node;
            let item = if open.next == usize::MAX { node.values } else { open.next };
            if item < node.to {
                let end = self.end_of_child(node, item);
                open.next = end;
                let child = self.node(item, end, node.depth + node.prefix + 1);
                path.push(Open { node: child, next: usize::MAX, written: Vec::new() });
                continue;
            }
            let Some(done) = path.pop() else { return };
            let (reference, table) = self.write(node);
            for (byte, child) in done.written {
                self.patch(table.wrapping_add(usize::from(byte) * 4), child);
            }
            if self.file.len() > OFFSET as usize {
                return;
            }
            match path.last_mut() {
                Some(parent) => {
                    let byte = self.byte(node.from, node.depth.saturating_sub(1));
                    parent.written.push((byte, reference));
                }
                None => self.patch(8, reference),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two keys that share a beginning, one of them with two values: worked out by hand from the format.
    #[test]
    fn nodes_stand_where_they_should() {
        let mut writer = TrieWriter::new();
        writer.insert(b"ab", b"x", 2).expect("ASCII");
        writer.insert(b"ab", b"y", 1).expect("ASCII");
        writer.insert(b"ac", b"", 0).expect("ASCII");
        let root = |at: u32| [MAGIC.to_be_bytes(), VERSION.to_be_bytes(), (CHILDS | at).to_be_bytes()].concat();
        let b = [&[0, 0, 0, 2, 0, 0, 0, 1][..], b"y\0", &[0, 0, 0, 2], b"x\0"].concat();
        let c = [0, 0, 0, 1, 0, 0, 0, 0, 0];
        let table = |first: u8, last: u8, children: &[u32]| {
            let mut table = vec![first, last];
            table.extend(children.iter().flat_map(|child| child.to_be_bytes()));
            table
        };
        // The root at 12 has one child at 18, which has two, at 28 and 44.
        let parent_first = [
            root(12),
            table(b'a', b'a', &[CHILDS | 18]),
            table(b'b', b'c', &[VALUES | 28, VALUES | 44]),
            b.clone(),
            c.to_vec(),
        ];
        assert_eq!(writer.finish(NodeOrder::ParentFirst), Ok(parent_first.concat()));
        let children_first = [
            root(47),
            b,
            c.to_vec(),
            table(b'b', b'c', &[VALUES | 12, VALUES | 28]),
            table(b'a', b'a', &[CHILDS | 37]),
        ];
        assert_eq!(writer.finish(NodeOrder::ChildrenFirst), Ok(children_first.concat()));
    }

    #[test]
    fn a_trie_without_keys_is_three_words() {
        let words = [MAGIC.to_be_bytes(), VERSION.to_be_bytes(), HEADER.to_be_bytes()].concat();
        for order in [NodeOrder::ParentFirst, NodeOrder::ChildrenFirst] {
            assert_eq!(TrieWriter::new().finish(order), Ok(words.clone()));
        }
    }

    #[test]
    fn what_the_format_cannot_hold_is_refused() {
        let mut writer = TrieWriter::new();
        assert_eq!(writer.insert(b"a\x80", b"", 0), Err(KeyError::NotAscii { byte: 0x80, at: 1 }));
        assert_eq!(writer.insert(b"a\0", b"", 0), Err(KeyError::Nul { at: 1 }));
        assert_eq!(writer.insert(b"a", b"\0", 0), Err(KeyError::Nul { at: 0 }));
        assert!(writer.is_empty());
    }
}
