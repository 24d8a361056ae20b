//! Everything in a trie, fast.
//!
//! depmod writes nodes in the order in which a walk comes to them, or nearly, so a few windows that slide over the file are enough: no more
//! of it is in memory at once, and none of its pages is touched twice. A node is taken apart in place when it lies in one window as
//! a whole. What does not, or is not right, is read again byte by byte by the [`Cursor`](super::Cursor) that all look-ups use,
//! which says what is wrong.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{Budget, Store, Trie, TrieError};
use crate::trie::{CHILDS, HEADER, OFFSET, PREFIX, VALUES};

/// How far windows are apart, in bytes. In larger ones, what the first touch of a page costs is more than the calls that are saved.
const STEP: u64 = 32 * 1024;
/// How far a window goes on behind the beginning of the next one: nodes that are longer are rare.
const OVERLAP: usize = 1024;
/// Windows that are kept. Files of kmod 30 have each node behind its children and need more than one.
const WINDOWS: usize = 4;

/// A node that is still to be visited.
#[derive(Clone, Copy, Default)]
struct Open {
    /// How long the key above it is.
    length: usize,
    /// The byte of the key that leads to it.
    byte: u8,
    reference: u32,
}

/// Room for the children of one node.
type Scratch = [Open; 256];

/// The parts of the file that were read last.
struct Windows<'t> {
    source: Source<'t>,
    /// The one that the last node was in.
    current: Window,
    /// Those before it, the newest last.
    others: Vec<Window>,
}

enum Source<'t> {
    Memory(&'t [u8]),
    File(&'t File, u64),
}

#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Windows<'_> {
    fn new(trie: &Trie) -> Windows<'_> {
        let source = match &trie.store {
            Store::Memory(bytes) => Source::Memory(bytes),
            Store::File(file, _) => Source::File(file, trie.size),
        };
        Windows { source, current: Window::default(), others: Vec::new() }
    }

    /// The bytes from `at` on, as far as they are at hand.
    #[inline]
    fn bytes_at(&mut self, at: u64) -> Result<&[u8], TrieError> {
        let skip = at.wrapping_sub(self.current.start);
        if skip >= STEP || self.current.bytes.is_empty() {
            return self.bytes_elsewhere(at);
        }
        Ok(self.current.bytes.get(skip as usize..).unwrap_or_default())
    }

    #[cold]
    fn bytes_elsewhere(&mut self, at: u64) -> Result<&[u8], TrieError> {
        let (file, size) = match self.source {
            Source::Memory(bytes) => {
                return Ok(usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default());
            }
            Source::File(file, size) => (file, size),
        };
        if at >= size {
            return Ok(&[]);
        }
        let start = at - at % STEP;
        if self.current.start != start || self.current.bytes.is_empty() {
            self.change(file, size, start)?;
        }
        Ok(usize::try_from(at - start).ok().and_then(|skip| self.current.bytes.get(skip..)).unwrap_or_default())
    }

    /// Goes to the window at `start`.
    fn change(&mut self, file: &File, size: u64, start: u64) -> Result<(), TrieError> {
        if let Some(kept) = self.others.iter().position(|window| window.start == start) {
            let kept = self.others.remove(kept);
            self.others.push(std::mem::replace(&mut self.current, kept));
            return Ok(());
        }
        if !self.current.bytes.is_empty() {
            let oldest = if self.others.len() + 1 < WINDOWS { Window::default() } else { self.others.remove(0) };
            self.others.push(std::mem::replace(&mut self.current, oldest));
        }
        let Window { start: place, bytes } = &mut self.current;
        *place = start;
        let most = usize::try_from(size - start).unwrap_or(usize::MAX);
        // Sized once: what was in there before is overwritten.
        bytes.resize(most.min(STEP as usize + OVERLAP), 0);
        let mut length = 0;
        while let Some(rest) = bytes.get_mut(length..)
            && !rest.is_empty()
        {
            match file.read_at(rest, start + length as u64) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TrieError::io(&error)),
            }
        }
        bytes.truncate(length);
        Ok(())
    }
}

/// Calls `visit` with every key, its priority and its value, in the order of the trie.
pub(super) fn each(trie: &Trie, visit: &mut impl FnMut(&[u8], u32, &[u8])) -> Result<(), TrieError> {
    let mut windows = Windows::new(trie);
    let mut budget = Budget { left: trie.size };
    // The root has no byte: what stands first in here is not of the key.
    let mut key = Vec::new();
    let mut open = vec![Open { length: 0, byte: 0, reference: trie.root }];
    let mut scratch = [Open::default(); 256];
    while let Some(Open { length, byte, reference }) = open.pop() {
        key.truncate(length);
        key.push(byte);
        let offset = reference & OFFSET;
        if offset < HEADER {
            return Err(TrieError::Reference(reference));
        }
        let bytes = windows.bytes_at(u64::from(offset))?;
        let above = (key.len(), open.len());
        let mut visited = 0;
        let mut show = |key: &[u8], priority, value: &[u8]| {
            visited += 1;
            visit(key.get(1..).unwrap_or_default(), priority, value);
        };
        match take_apart(bytes, reference, &mut key, &mut open, &mut scratch, &mut show) {
            Some(consumed) => budget.spend(offset, consumed)?,
            None => {
                key.truncate(above.0);
                open.truncate(above.1);
                let mut rest = |key: &[u8], priority, value: &[u8]| match visited {
                    0 => visit(key.get(1..).unwrap_or_default(), priority, value),
                    _ => visited -= 1,
                };
                visit_slowly(trie.node(reference)?, reference, &mut key, &mut open, &mut budget, &mut rest)?;
            }
        }
    }
    Ok(())
}

/// Takes the node apart that `bytes` begin with: appends its prefix to the key and its children to what is open (the first one last), and
/// shows its values. How long it is; `None` when it does not end in `bytes` or is not right.
#[inline]
fn take_apart(
    bytes: &[u8],
    reference: u32,
    key: &mut Vec<u8>,
    open: &mut Vec<Open>,
    scratch: &mut Scratch,
    show: &mut impl FnMut(&[u8], u32, &[u8]),
) -> Option<usize> {
    let mut rest = bytes;
    if reference & PREFIX != 0 {
        rest = rest.get(take_text(rest, key)? + 1..)?;
    }
    if reference & CHILDS != 0 {
        let [first, last, after @ ..] = rest else { return None };
        let (table, after) = after.split_at_checked((usize::from(last.checked_sub(*first)?) + 1) * 4)?;
        rest = after;
        push_children(table.as_chunks().0, *first, key.len(), open, scratch);
    }
    if reference & VALUES != 0 {
        let (count, mut values) = rest.split_first_chunk()?;
        for _ in 0..u32::from_be_bytes(*count) {
            let (priority, text) = values.split_first_chunk()?;
            let length = text_length(text)?;
            show(key, u32::from_be_bytes(*priority), text.get(..length)?);
            values = text.get(length + 1..)?;
        }
        rest = values;
    }
    Some(bytes.len() - rest.len())
}

/// Texts are looked through by so many bytes at once: most are no longer. A search that has to be set up would cost more.
const WORD: usize = 16;

/// Where the first byte of a word is that is 0.
#[inline]
fn nul(word: &[u8; WORD]) -> Option<usize> {
    const LOW: u128 = u128::MAX / 0xff;
    const HIGH: u128 = LOW << 7;
    let word = u128::from_le_bytes(*word);
    // The lowest bit that is set belongs to it.
    let nul = word.wrapping_sub(LOW) & !word & HIGH;
    (nul != 0).then_some((nul.trailing_zeros() / 8) as usize)
}

/// Where the NUL is that ends a text.
#[inline]
fn text_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        if let Some(nul) = nul(word) {
            return Some(bytes.len() - rest.len() + nul);
        }
        rest = after;
    }
    Some(bytes.len() - rest.len() + rest.iter().position(|&byte| byte == 0)?)
}

/// Appends the text that `bytes` begin with; how long it is.
#[inline]
fn take_text(bytes: &[u8], text: &mut Vec<u8>) -> Option<usize> {
    let mut rest = bytes;
    let begin = text.len();
    while let Some((word, after)) = rest.split_first_chunk::<WORD>() {
        text.extend_from_slice(word);
        if let Some(nul) = nul(word) {
            let length = bytes.len() - rest.len() + nul;
            text.truncate(begin + length);
            return Some(length);
        }
        rest = after;
    }
    let end = rest.iter().position(|&byte| byte == 0)?;
    text.extend_from_slice(rest.get(..end)?);
    Some(bytes.len() - rest.len() + end)
}

/// Adds the children of the bytes from `first` on, the last one first.
///
/// Which places have a child cannot be foretold: all are written down, and the next one goes over a place that has none.
#[inline]
fn push_children(children: &[[u8; 4]], first: u8, length: usize, open: &mut Vec<Open>, scratch: &mut Scratch) {
    let mut count = 0;
    for (number, child) in children.iter().enumerate().rev() {
        let reference = u32::from_be_bytes(*child);
        // There are at most 256 of them.
        scratch[count % scratch.len()] = Open { length, byte: first.wrapping_add(number as u8), reference };
        count += usize::from(reference != 0);
    }
    open.extend_from_slice(scratch.get(..count).unwrap_or_default());
}

/// The same for a node that is long, or not right.
fn visit_slowly(
    mut node: super::Cursor<'_>,
    reference: u32,
    key: &mut Vec<u8>,
    open: &mut Vec<Open>,
    budget: &mut Budget,
    visit: &mut impl FnMut(&[u8], u32, &[u8]),
) -> Result<(), TrieError> {
    let begin = node.at;
    if reference & PREFIX != 0 {
        node.text(key)?;
    }
    if reference & CHILDS != 0 {
        let (first, last) = node.range()?;
        let pushed = open.len();
        for byte in first..=last {
            let child = node.word()?;
            if child != 0 {
                open.push(Open { length: key.len(), byte, reference: child });
            }
        }
        open.get_mut(pushed..).unwrap_or_default().reverse();
    }
    if reference & VALUES != 0 {
        let mut value = Vec::new();
        for _ in 0..node.word()? {
            let priority = node.word()?;
            value.clear();
            node.text(&mut value)?;
            visit(key, priority, &value);
        }
    }
    budget.spend(node.node, usize::try_from(node.at - begin).unwrap_or(usize::MAX))
}
