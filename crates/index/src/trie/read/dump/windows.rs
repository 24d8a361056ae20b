//! The parts of a file that were read last.

use std::fs::File;

use super::super::{Store, Trie, TrieError, read_up_to};

/// How far windows are apart, in bytes. In larger ones, what the first touch of a page costs is more than the calls that are saved.
const STEP: u64 = 32 * 1024;
/// How far a window goes on behind the beginning of the next one: nodes that are longer are rare.
const OVERLAP: usize = 1024;
/// Windows that are kept. Files of kmod 30 have each node behind its children and need more than one.
const WINDOWS: usize = 4;

/// The parts of the file that were read last.
pub(super) struct Windows<'t> {
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
    pub(super) fn new(trie: &Trie) -> Windows<'_> {
        let source = match &trie.store {
            Store::Memory(bytes) => Source::Memory(bytes),
            Store::File(file, _) => Source::File(file, trie.size),
        };
        Windows { source, current: Window::default(), others: Vec::new() }
    }

    /// The bytes from `at` on, as far as they are at hand.
    #[inline]
    pub(super) fn bytes_at(&mut self, at: u64) -> Result<&[u8], TrieError> {
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
        let length = read_up_to(file, bytes, start)?;
        bytes.truncate(length);
        Ok(())
    }
}
