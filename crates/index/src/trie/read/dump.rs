//! Everything in a trie, fast.
//!
//! depmod writes nodes in the order in which a walk comes to them, or nearly, so a few windows that slide over the file are enough: no more
//! of it is in memory at once, and none of its pages is touched twice. A node is taken apart in place when it lies in one window as
//! a whole. What does not, or is not right, is read again byte by byte by the [`Cursor`](super::Cursor) that all look-ups use,
//! which says what is wrong.

mod text;
mod windows;

use super::{Budget, Trie, TrieError};
use crate::trie::{CHILDS, HEADER, OFFSET, PREFIX, VALUES};
use text::Text;
use windows::Windows;

/// A node that is still to be visited.
#[derive(Clone, Copy, Default)]
struct Open {
    /// How long the key above it is.
    length: usize,
    /// The byte of the key that leads to it.
    byte: u8,
    reference: u32,
}

/// The nodes that are still to be visited, the next one last.
struct Opened {
    /// With room for the children of one node, and more.
    nodes: Vec<Open>,
    count: usize,
}

/// The most children that a node can have.
const CHILDREN: usize = 256;

/// Who is shown keys and values.
trait Reader {
    /// Takes the value that `text` begins with: how long it is. `None`, and nothing taken, when it does not end in `text`.
    fn take(&mut self, key: &Text, priority: u32, text: &[u8]) -> Option<usize>;
}

/// Calls `visit` with every key, its priority and its value, in the order of the trie.
pub(super) fn each(trie: &Trie, visit: &mut impl FnMut(&[u8], u32, &[u8])) -> Result<(), TrieError> {
    walk(trie, b"", &mut Visit(visit))
}

/// Makes a line of every key and each of its values: `before`, the key, a space, and the value. Hands them to `print`, many at once, in the
/// order of the trie.
pub(super) fn lines(trie: &Trie, before: &[u8], print: &mut impl FnMut(&[u8])) -> Result<(), TrieError> {
    let mut lines = Lines { page: vec![0; PAGE + LINE], length: 0, print };
    let ended = walk(trie, before, &mut lines);
    lines.hand_over();
    ended
}

struct Visit<'v, F>(&'v mut F);

impl<F: FnMut(&[u8], u32, &[u8])> Reader for Visit<'_, F> {
    #[inline]
    fn take(&mut self, key: &Text, priority: u32, text: &[u8]) -> Option<usize> {
        let length = text::length(text)?;
        (self.0)(key.as_bytes(), priority, text.get(..length)?);
        Some(length)
    }
}

/// Lines, put together in a page that stays in the processor's cache.
struct Lines<'p, F> {
    page: Vec<u8>,
    length: usize,
    print: &'p mut F,
}

/// How many bytes of lines are handed out at once.
const PAGE: usize = 32 * 1024;
/// The room for a line that is as short as most.
const LINE: usize = 128;

impl<F: FnMut(&[u8])> Lines<'_, F> {
    fn hand_over(&mut self) {
        (self.print)(self.page.get(..self.length).unwrap_or_default());
        self.length = 0;
    }

    /// Puts a line into the page if it is as short as most: how long it is, and its value.
    #[inline]
    fn put(&mut self, key: &Text, value: &[u8]) -> Option<(usize, usize)> {
        let line: &mut [u8; LINE] = self.page.get_mut(self.length..)?.first_chunk_mut()?;
        let begin = key.copy_to(line.first_chunk_mut()?)? + 1;
        *line.get_mut(begin - 1)? = b' ';
        let value = text::copy(value, line.get_mut(begin..)?)?;
        *line.get_mut(begin + value)? = b'\n';
        Some((begin + value + 1, value))
    }

    /// Hands out a line that is longer.
    #[cold]
    fn print(&mut self, key: &Text, value: &[u8]) {
        self.hand_over();
        [key.as_bytes(), b" ", value, b"\n"].into_iter().for_each(|part| (self.print)(part));
    }
}

impl<F: FnMut(&[u8])> Reader for Lines<'_, F> {
    #[inline(always)]
    fn take(&mut self, key: &Text, _: u32, text: &[u8]) -> Option<usize> {
        if let Some((line, value)) = self.put(key, text) {
            self.length += line;
            if self.length >= PAGE {
                self.hand_over();
            }
            return Some(value);
        }
        let value = text.get(..text::length(text)?)?;
        self.print(key, value);
        Some(value.len())
    }
}

/// Shows everything to `reader`, with keys behind `before`.
fn walk(trie: &Trie, before: &[u8], reader: &mut impl Reader) -> Result<(), TrieError> {
    let mut windows = Windows::new(trie);
    let mut budget = Budget { left: trie.size };
    let mut key = Text::new(before);
    let mut open = Opened { nodes: vec![Open::default(); 4 * CHILDREN], count: 0 };
    let (length, byte) = key.last();
    open.push(Open { length, byte, reference: trie.root });
    while let Some(Open { length, byte, reference }) = open.pop() {
        key.set(length, byte);
        let offset = reference & OFFSET;
        if offset < HEADER {
            return Err(TrieError::Reference(reference));
        }
        let bytes = windows.bytes_at(u64::from(offset))?;
        let above = (key.end(), open.count);
        let mut taken = 0;
        match take_apart(bytes, reference, &mut key, &mut open, reader, &mut taken) {
            Some(consumed) => budget.spend(offset, consumed)?,
            None => {
                key.change(|key| key.truncate(above.0));
                open.count = above.1;
                visit_slowly(trie.node(reference)?, reference, &mut key, &mut open, &mut budget, reader, taken)?;
            }
        }
    }
    Ok(())
}

impl Opened {
    #[inline]
    fn pop(&mut self) -> Option<Open> {
        self.count = self.count.checked_sub(1)?;
        self.nodes.get(self.count).copied()
    }

    /// Room for the children of a node.
    #[inline]
    fn room(&mut self) -> Option<&mut [Open; CHILDREN]> {
        if self.nodes.len() < self.count + CHILDREN {
            self.nodes.resize(2 * (self.count + CHILDREN), Open::default());
        }
        self.nodes.get_mut(self.count..)?.first_chunk_mut()
    }

    fn push(&mut self, node: Open) {
        if let Some([place, ..]) = self.room() {
            *place = node;
            self.count += 1;
        }
    }

    /// Adds the children of the bytes from `first` on, the last one first.
    ///
    /// Which places have a child cannot be foretold: all are written down, and the next one goes over a place that has none.
    #[inline]
    fn push_children(&mut self, children: &[[u8; 4]], first: u8, length: usize) {
        let Some(room) = self.room() else { return };
        let mut count = 0;
        for (number, child) in children.iter().enumerate().rev() {
            let reference = u32::from_be_bytes(*child);
            // There are at most as many as there is room for.
            room[count % CHILDREN] = Open { length, byte: first.wrapping_add(number as u8), reference };
            count += usize::from(reference != 0);
        }
        self.count += count;
    }
}

/// Takes the node apart that `bytes` begin with: appends its prefix to the key and its children to what is open (the first one last), and
/// shows its values, which are counted. How long it is; `None` when it does not end in `bytes`, is longer than usual, or is not right.
#[inline]
fn take_apart(
    bytes: &[u8],
    reference: u32,
    key: &mut Text,
    open: &mut Opened,
    reader: &mut impl Reader,
    taken: &mut u32,
) -> Option<usize> {
    let mut rest = bytes;
    if reference & PREFIX != 0 {
        rest = rest.get(key.add_text(rest)? + 1..)?;
    }
    if reference & CHILDS != 0 {
        let [first, last, after @ ..] = rest else { return None };
        let (table, after) = after.split_at_checked((usize::from(last.checked_sub(*first)?) + 1) * 4)?;
        rest = after;
        open.push_children(table.as_chunks().0, *first, key.end());
    }
    if reference & VALUES != 0 {
        let (count, mut values) = rest.split_first_chunk()?;
        for _ in 0..u32::from_be_bytes(*count) {
            let (priority, text) = values.split_first_chunk()?;
            let length = reader.take(key, u32::from_be_bytes(*priority), text)?;
            *taken += 1;
            values = text.get(length + 1..)?;
        }
        rest = values;
    }
    Some(bytes.len() - rest.len())
}

/// The same for a node that is long, or not right. The first values were `taken` already.
#[cold]
fn visit_slowly(
    mut node: super::Cursor<'_>,
    reference: u32,
    key: &mut Text,
    open: &mut Opened,
    budget: &mut Budget,
    reader: &mut impl Reader,
    taken: u32,
) -> Result<(), TrieError> {
    let begin = node.at;
    if reference & PREFIX != 0 {
        key.change(|key| node.text(key))?;
    }
    if reference & CHILDS != 0 {
        let (first, last) = node.range()?;
        let mut table = Vec::with_capacity(CHILDREN);
        for _ in first..=last {
            table.push(node.word()?.to_be_bytes());
        }
        open.push_children(&table, first, key.end());
    }
    if reference & VALUES != 0 {
        let mut value = Vec::new();
        for number in 0..node.word()? {
            let priority = node.word()?;
            value.clear();
            node.text(&mut value)?;
            value.push(0);
            if number >= taken {
                reader.take(key, priority, &value);
            }
        }
    }
    budget.spend(node.node, usize::try_from(node.at - begin).unwrap_or(usize::MAX))
}
