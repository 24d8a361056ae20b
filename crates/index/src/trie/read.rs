//! Looking into a trie on disk.
//!
//! A look-up reads the few pages that it touches, and nothing is mapped: a file that somebody cuts off while it is read is an error and
//! not a signal. What a file says is never believed further than its own bytes: reading a whole trie takes each of its bytes at most
//! once, so that a file whose nodes refer to each other in a circle, or many times to the same one, runs out of bytes and is refused.

mod dump;

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bstr::BString;
use thiserror::Error;

use super::{CHILDS, HEADER, MAGIC, OFFSET, PREFIX, VALUES, VERSION};
use ferrmod_image::fnmatch;

/// How much is read at once, in bytes. Most nodes and values are shorter, and a look-up goes from one end of the file to the other: a
/// larger piece would be copied for nothing.
const PAGE: usize = 1024;

/// A trie that is not used, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TrieError {
    /// The system does not hand the file out.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Io(i32),
    /// It is a folder, a pipe or a device.
    #[error("not a regular file")]
    NotAFile,
    /// It does not begin as a trie does.
    #[error("bad magic number {0:#010x}, expected {MAGIC:#010x}")]
    Magic(u32),
    /// It is of another major version.
    #[error("version {}.{}, expected {}.x", .0 >> 16, .0 & 0xffff, VERSION >> 16)]
    Version(u32),
    /// A node goes on behind the end of the file.
    #[error("the node at {node:#x} goes on at {at:#x}, where the file has ended")]
    Truncated {
        /// The node's offset.
        node: u32,
        /// The offset that is needed.
        at: u64,
    },
    /// A reference points into the header.
    #[error("a reference points to {0:#x}, which is no place for a node")]
    Reference(u32),
    /// A node's last byte comes before its first.
    #[error("the children of the node at {node:#x} go from {first:#04x} to {last:#04x}")]
    Range {
        /// The node's offset.
        node: u32,
        /// The first byte.
        first: u8,
        /// The last byte.
        last: u8,
    },
    /// Nodes are reached twice.
    #[error("nodes are reached more than once, at last the one at {0:#x}")]
    Tangled(u32),
}

impl TrieError {
    fn io(error: &io::Error) -> TrieError {
        // Every error of these calls is the system's own and has a number.
        TrieError::Io(error.raw_os_error().unwrap_or(0))
    }

    /// Whether the file is not there at all.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, TrieError::Io(number)
            if io::Error::from_raw_os_error(*number).kind() == io::ErrorKind::NotFound)
    }
}

/// A key of a trie and one of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key: a name, or the pattern of an alias.
    pub key: BString,
    /// The value.
    pub value: BString,
    /// Its priority: the place of the module in the order of depmod, the lowest first.
    pub priority: u32,
}

/// A trie on disk (or in memory).
///
/// Having a `Trie` tells you that there is a file whose header is right; each look-up checks what it reads.
#[derive(Debug)]
pub struct Trie {
    store: Store,
    size: u64,
    root: u32,
}

#[derive(Debug)]
enum Store {
    Memory(Arc<[u8]>),
    // A page that was read stays: a look-up touches a dozen, and the next one mostly the same.
    File(File, RefCell<Vec<Option<Arc<[u8]>>>>),
}

/// Who is shown keys, priorities and values.
type Visit<'v> = dyn FnMut(&[u8], u32, &[u8]) + 'v;

/// Where reading is.
struct Cursor<'t> {
    trie: &'t Trie,
    /// The node that is read, for errors.
    node: u32,
    at: u64,
    page: Arc<[u8]>,
    /// The offset of the page's first byte.
    start: u64,
}

/// Fills `bytes` from the place `start` of a file; how many there were, fewer only at its end.
fn read_up_to(file: &File, bytes: &mut [u8], start: u64) -> Result<usize, TrieError> {
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
    Ok(length)
}

impl Trie {
    /// Opens the trie at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened or read, is not a regular file, or does not begin as a trie does.
    pub fn open(path: &Path) -> Result<Trie, TrieError> {
        Trie::from_file(File::open(path).map_err(|error| TrieError::io(&error))?)
    }

    /// The trie in an open file.
    ///
    /// # Errors
    /// As [`Trie::open`].
    pub fn from_file(file: File) -> Result<Trie, TrieError> {
        let metadata = file.metadata().map_err(|error| TrieError::io(&error))?;
        if !metadata.is_file() {
            return Err(TrieError::NotAFile);
        }
        // What is behind the last offset that can be written cannot be reached.
        let size = metadata.len().min(u64::from(OFFSET) + 1);
        Trie::new(Store::File(file, RefCell::new(Vec::new())), size)
    }

    /// The trie in `bytes`.
    ///
    /// # Errors
    /// When the bytes do not begin as a trie does.
    pub fn from_bytes(bytes: &[u8]) -> Result<Trie, TrieError> {
        Trie::new(Store::Memory(bytes.into()), bytes.len() as u64)
    }

    fn new(store: Store, size: u64) -> Result<Trie, TrieError> {
        let mut trie = Trie { store, size, root: 0 };
        let mut cursor = trie.cursor(0)?;
        let magic = cursor.word()?;
        if magic != MAGIC {
            return Err(TrieError::Magic(magic));
        }
        let version = cursor.word()?;
        if version >> 16 != VERSION >> 16 {
            return Err(TrieError::Version(version));
        }
        trie.root = cursor.word()?;
        Ok(trie)
    }

    /// The page that `at` lies in, and the offset of its first byte. Empty behind the end of the file.
    fn page(&self, at: u64) -> Result<(Arc<[u8]>, u64), TrieError> {
        let (file, pages) = match &self.store {
            Store::Memory(bytes) => return Ok((bytes.clone(), 0)),
            Store::File(file, pages) => (file, pages),
        };
        let number = usize::try_from(at / PAGE as u64).unwrap_or(usize::MAX);
        let start = at - at % PAGE as u64;
        if at >= self.size {
            return Ok((Arc::new([]), start));
        }
        let mut pages = pages.borrow_mut();
        if pages.len() <= number {
            pages.resize(number + 1, None);
        }
        if let Some(Some(page)) = pages.get(number) {
            return Ok((page.clone(), start));
        }
        let mut bytes = [0; PAGE];
        let length = read_up_to(file, &mut bytes, start)?;
        let page: Arc<[u8]> = bytes.get(..length).unwrap_or_default().into();
        if let Some(place) = pages.get_mut(number) {
            *place = Some(page.clone());
        }
        Ok((page, start))
    }

    fn cursor(&self, at: u32) -> Result<Cursor<'_>, TrieError> {
        let (page, start) = self.page(u64::from(at))?;
        Ok(Cursor { trie: self, node: at, at: u64::from(at), page, start })
    }

    /// Begins to read the node that is referred to.
    fn node(&self, reference: u32) -> Result<Cursor<'_>, TrieError> {
        let offset = reference & OFFSET;
        // The root of an empty trie has no flags and no bytes, and lies where the file ends.
        if offset < HEADER {
            return Err(TrieError::Reference(reference));
        }
        self.cursor(offset)
    }

    /// The first value of `key`.
    ///
    /// # Errors
    /// When what is read on the way is not right.
    pub fn find(&self, key: &[u8]) -> Result<Option<Entry>, TrieError> {
        let mut reference = self.root;
        let mut rest = key;
        loop {
            let mut node = self.node(reference)?;
            if reference & PREFIX != 0 {
                match node.skip_prefix(rest)? {
                    Some(after) => rest = after,
                    None => return Ok(None),
                }
            }
            let Some((&byte, after)) = rest.split_first() else {
                if reference & VALUES == 0 {
                    return Ok(None);
                }
                if reference & CHILDS != 0 {
                    node.skip_children()?;
                }
                if node.word()? == 0 {
                    return Ok(None);
                }
                let priority = node.word()?;
                let mut value = Vec::new();
                node.text(&mut value)?;
                return Ok(Some(Entry { key: key.into(), value: value.into(), priority }));
            };
            if reference & CHILDS == 0 {
                return Ok(None);
            }
            match node.child(byte)? {
                0 => return Ok(None),
                child => reference = child,
            }
            rest = after;
        }
    }

    /// Every value of every key that `name` matches: of the key that is `name`, and of the keys that are patterns (of fnmatch(3), without
    /// flags) from their first `*`, `?` or `[` on. In the order of the trie, whatever the priorities.
    ///
    /// # Errors
    /// When what is read on the way is not right.
    pub fn search(&self, name: &[u8]) -> Result<Vec<Entry>, TrieError> {
        let mut found = Vec::new();
        // The key so far is a part of the name until a wildcard comes.
        let mut length = 0;
        let mut budget = Budget { left: self.size };
        let mut reference = self.root;
        let mut patterns = |reference: u32, from: u64, key: &[u8], budget: &mut Budget| {
            self.walk(reference, from, key, budget, &mut |key, priority, value| {
                if fnmatch(key, name) {
                    found.push(Entry { key: key.into(), value: value.into(), priority });
                }
            })
        };
        'nodes: loop {
            let mut node = self.node(reference)?;
            if reference & PREFIX != 0 {
                loop {
                    let at = node.at;
                    let byte = node.byte()?;
                    match byte {
                        0 => break,
                        b'*' | b'?' | b'[' => {
                            patterns(reference, at, name.get(..length).unwrap_or_default(), &mut budget)?;
                            break 'nodes;
                        }
                        _ if name.get(length) == Some(&byte) => length += 1,
                        _ => break 'nodes,
                    }
                }
            }
            let children = node.at;
            if reference & CHILDS != 0 {
                for wildcard in [b'*', b'?', b'['] {
                    let mut node = self.cursor_at(&node, children)?;
                    let child = node.child(wildcard)?;
                    if child != 0 {
                        let mut key = name.get(..length).unwrap_or_default().to_vec();
                        key.push(wildcard);
                        patterns(child, 0, &key, &mut budget)?;
                    }
                }
            }
            let Some(&byte) = name.get(length) else {
                if reference & VALUES != 0 {
                    let mut node = self.cursor_at(&node, children)?;
                    if reference & CHILDS != 0 {
                        node.skip_children()?;
                    }
                    let mut value = Vec::new();
                    for _ in 0..node.word()? {
                        let priority = node.word()?;
                        value.clear();
                        node.text(&mut value)?;
                        budget.spend(node.node, value.len())?;
                        found.push(Entry { key: name.into(), value: value.clone().into(), priority });
                    }
                }
                break;
            };
            if reference & CHILDS == 0 {
                break;
            }
            match node.child(byte)? {
                0 => break,
                child => reference = child,
            }
            length += 1;
        }
        Ok(found)
    }

    /// Calls `visit` with every key, its priority and its value, in the order of the trie: keys as strcmp(3) orders them, the values
    /// of one key in the order of the file.
    ///
    /// # Errors
    /// When what is read is not right; what came before was visited.
    pub fn each(&self, mut visit: impl FnMut(&[u8], u32, &[u8])) -> Result<(), TrieError> {
        dump::each(self, &mut visit)
    }

    /// Makes a line of every key and each of its values (`before`, the key, a space, the value) and calls `print` with them, many at once and
    /// in the order of [`Trie::each`], which takes longer to do the same.
    ///
    /// # Errors
    /// As [`Trie::each`]; what came before was printed.
    pub fn lines(&self, before: &[u8], mut print: impl FnMut(&[u8])) -> Result<(), TrieError> {
        dump::lines(self, before, &mut print)
    }

    /// Calls `visit` with everything below a node whose key so far is `key`, from its place `from` in the prefix on (0: from its
    /// beginning).
    fn walk(
        &self,
        reference: u32,
        from: u64,
        key: &[u8],
        budget: &mut Budget,
        visit: &mut Visit<'_>,
    ) -> Result<(), TrieError> {
        let mut key = key.to_vec();
        let mut value = Vec::new();
        // The children that are still to be walked, the next one last: the length of the key above each, its byte, the reference.
        let mut open: Vec<(usize, Option<u8>, u32)> = vec![(key.len(), None, reference)];
        let mut from = Some(from).filter(|&from| from != 0);
        while let Some((length, byte, reference)) = open.pop() {
            key.truncate(length);
            key.extend(byte);
            let mut node = self.node(reference)?;
            let begin = node.at;
            if let Some(from) = from.take() {
                node = self.cursor_at(&node, from)?;
            }
            if reference & PREFIX != 0 {
                node.text(&mut key)?;
            }
            if reference & CHILDS != 0 {
                let (first, last) = node.range()?;
                let length = key.len();
                let pushed = open.len();
                let size = (usize::from(last - first) + 1) * 4;
                // As a rule the table lies in one piece, which is faster to go through.
                if let Some(table) = node.rest()?.get(..size) {
                    let words =
                        table.chunks_exact(4).filter_map(|word| word.first_chunk().copied().map(u32::from_be_bytes));
                    let children = (first..=last).zip(words).filter(|&(_, child)| child != 0);
                    open.extend(children.map(|(byte, child)| (length, Some(byte), child)));
                    node.at += size as u64;
                } else {
                    for byte in first..=last {
                        let child = node.word()?;
                        if child != 0 {
                            open.push((length, Some(byte), child));
                        }
                    }
                }
                open.get_mut(pushed..).unwrap_or_default().reverse();
            }
            if reference & VALUES != 0 {
                for _ in 0..node.word()? {
                    let priority = node.word()?;
                    value.clear();
                    node.text(&mut value)?;
                    visit(&key, priority, &value);
                }
            }
            budget.spend(node.node, usize::try_from(node.at - begin).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }

    /// A cursor at `at`, for the node that `cursor` is in.
    fn cursor_at(&self, cursor: &Cursor<'_>, at: u64) -> Result<Cursor<'_>, TrieError> {
        let (page, start) = self.page(at)?;
        Ok(Cursor { trie: self, node: cursor.node, at, page, start })
    }
}

/// How many bytes may still be read in a walk.
struct Budget {
    left: u64,
}

impl Budget {
    #[inline]
    fn spend(&mut self, node: u32, bytes: usize) -> Result<(), TrieError> {
        // A node has at least one byte, or it would not be there.
        let bytes = (bytes as u64).max(1);
        self.left = self.left.checked_sub(bytes).ok_or(TrieError::Tangled(node))?;
        Ok(())
    }
}

impl Cursor<'_> {
    /// What is left of the page; the next page when nothing is.
    fn rest(&mut self) -> Result<&[u8], TrieError> {
        let inside = |cursor: &Self| {
            let skip = usize::try_from(cursor.at.checked_sub(cursor.start)?).ok()?;
            (skip < cursor.page.len()).then_some(skip)
        };
        if inside(self).is_none() {
            (self.page, self.start) = self.trie.page(self.at)?;
        }
        let skip = inside(self).ok_or(TrieError::Truncated { node: self.node, at: self.at })?;
        Ok(self.page.get(skip..).unwrap_or_default())
    }

    fn byte(&mut self) -> Result<u8, TrieError> {
        let byte = self.rest()?.first().copied().unwrap_or(0);
        self.at += 1;
        Ok(byte)
    }

    fn word(&mut self) -> Result<u32, TrieError> {
        if let Some(word) = self.rest()?.first_chunk::<4>() {
            let word = u32::from_be_bytes(*word);
            self.at += 4;
            return Ok(word);
        }
        let mut word = [0; 4];
        for byte in &mut word {
            *byte = self.byte()?;
        }
        Ok(u32::from_be_bytes(word))
    }

    /// Adds the text up to the next NUL to `text`, and goes behind it.
    fn text(&mut self, text: &mut Vec<u8>) -> Result<(), TrieError> {
        loop {
            let rest = self.rest()?;
            match bstr::ByteSlice::find_byte(rest, 0) {
                Some(end) => {
                    text.extend_from_slice(rest.get(..end).unwrap_or_default());
                    self.at += end as u64 + 1;
                    return Ok(());
                }
                None => {
                    text.extend_from_slice(rest);
                    self.at += rest.len() as u64;
                }
            }
        }
    }

    /// What is left of `key` behind the prefix that is read now, if the key has it.
    fn skip_prefix<'k>(&mut self, key: &'k [u8]) -> Result<Option<&'k [u8]>, TrieError> {
        let mut rest = key;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Ok(Some(rest));
            }
            match rest.split_first() {
                Some((&first, after)) if first == byte => rest = after,
                _ => return Ok(None),
            }
        }
    }

    /// The first and last byte of the children.
    fn range(&mut self) -> Result<(u8, u8), TrieError> {
        let (first, last) = (self.byte()?, self.byte()?);
        if first > last {
            return Err(TrieError::Range { node: self.node, first, last });
        }
        Ok((first, last))
    }

    fn skip_children(&mut self) -> Result<(), TrieError> {
        let (first, last) = self.range()?;
        self.at += (u64::from(last - first) + 1) * 4;
        Ok(())
    }

    /// The reference of the child at `byte`, 0 when there is none.
    fn child(&mut self, byte: u8) -> Result<u32, TrieError> {
        let (first, last) = self.range()?;
        if !(first..=last).contains(&byte) {
            return Ok(0);
        }
        self.at += u64::from(byte - first) * 4;
        self.word()
    }
}
