//! Texts that end with a NUL, copied from one place to another in pieces of one size: what a copy of just as many bytes as there are would
//! need to find out is more than the copy.

use wide::u8x16;

/// How much of a text is looked at and copied at once, in bytes. Most are no longer.
const WORD: usize = 16;

/// How much of a text is copied whose length is known, in bytes. Most are no longer.
const BLOCK: usize = 64;

/// Where the first byte of a word is that is 0.
#[inline]
fn nul(word: &[u8; WORD]) -> Option<usize> {
    let nuls = u8x16::new(*word).simd_eq(u8x16::ZERO).to_bitmask();
    (nuls != 0).then_some(nuls.trailing_zeros() as usize)
}

/// Where the NUL is that ends the text which `bytes` begin with.
#[inline]
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        if let Some(nul) = nul(word) {
            return Some(bytes.len() - rest.len() + nul);
        }
        rest = after;
    }
    Some(bytes.len() - rest.len() + rest.iter().position(|&byte| byte == 0)?)
}

/// Copies the text that `from` begins with to the beginning of `to`; how long it is. `None` when it does not end in `from`, or `to` has not
/// enough room behind it. More of `to` than the text may have been written to.
#[inline]
pub(super) fn copy(from: &[u8], to: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    for word in from.as_chunks().0 {
        *to.get_mut(length..)?.first_chunk_mut()? = *word;
        if let Some(nul) = nul(word) {
            return Some(length + nul);
        }
        length += WORD;
    }
    None
}

/// A text that bytes are added to and taken from, with room behind its end. A byte that is not shown stands before it, so that there always
/// is a last one.
pub(super) struct Text {
    bytes: Vec<u8>,
    end: usize,
}

/// The room that is kept for what is usual: a letter and a prefix.
const ROOM: usize = 256;

impl Text {
    pub(super) fn new(text: &[u8]) -> Text {
        let mut bytes = [b"\0", text].concat();
        let end = bytes.len();
        bytes.resize(end + 2 * ROOM, 0);
        Text { bytes, end }
    }

    /// Where it ends.
    #[inline]
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// The last byte, and where it is.
    pub(super) fn last(&self) -> (usize, u8) {
        let at = self.end - 1;
        (at, self.bytes.get(at).copied().unwrap_or(0))
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(1..self.end).unwrap_or_default()
    }

    /// Ends it at `end` and adds a byte.
    #[inline]
    pub(super) fn set(&mut self, end: usize, byte: u8) {
        if end + ROOM > self.bytes.len() {
            self.bytes.resize(2 * (end + ROOM), 0);
        }
        if let Some(place) = self.bytes.get_mut(end) {
            *place = byte;
        }
        self.end = end + 1;
    }

    /// Adds the text that `from` begins with; how long it is. `None` when it does not end in `from`, or is longer than usual.
    #[inline]
    pub(super) fn add_text(&mut self, from: &[u8]) -> Option<usize> {
        let length = copy(from, self.bytes.get_mut(self.end..)?)?;
        self.end += length;
        Some(length)
    }

    /// Has `change` do something to the end of the bytes.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.bytes.truncate(self.end);
        let answer = change(&mut self.bytes);
        self.end = self.bytes.len();
        self.bytes.resize(self.end + 2 * ROOM, 0);
        answer
    }

    /// Copies it to the beginning of `block` if it is shorter, with more behind its end; how long it is.
    #[inline]
    pub(super) fn copy_to(&self, block: &mut [u8; BLOCK]) -> Option<usize> {
        let (_, text) = self.bytes.split_first()?;
        *block = *text.first_chunk()?;
        (self.end <= BLOCK).then_some(self.end - 1)
    }
}
