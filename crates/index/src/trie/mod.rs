//! The tries of depmod: `modules.*.bin`, which find a key by reading a few nodes.
//!
//! A file is three big-endian words — the magic number, the version, the root's reference — and nodes. A node's reference is its
//! offset in the file with three flags above it, which say what the node has, in this order: the [`PREFIX`] that all keys below
//! it go on with, ended by a NUL; [`CHILDS`], two bytes for the first and the last byte that a key may go on with, and a reference for each
//! byte from the first to the last, 0 where there is no such key; and [`VALUES`], their number and then for each its priority and
//! its text, ended by a NUL. Keys and prefixes are made of bytes below 0x80. The root has no prefix.
//!
//! Nothing in the format depends on the order of the nodes: kmod wrote a node behind its children up to release 30 and
//! before them since then.

mod read;
mod write;

pub use read::{Entry, Trie, TrieError};
pub use write::{KeyError, NodeOrder, TrieWriteError, TrieWriter};

/// The first word of a file.
pub const MAGIC: u32 = 0xB007_F457;

/// The second word of a file: the major version above, the minor version below. Readers compare the major one.
pub const VERSION: u32 = 0x0002_0001;

/// The words before the nodes, in bytes.
pub const HEADER: u32 = 12;

/// Flag of a reference: the node has a prefix.
pub const PREFIX: u32 = 0x8000_0000;

/// Flag of a reference: the node has values.
pub const VALUES: u32 = 0x4000_0000;

/// Flag of a reference: the node has children.
pub const CHILDS: u32 = 0x2000_0000;

/// The part of a reference that is the node's offset in the file.
pub const OFFSET: u32 = 0x0FFF_FFFF;

/// One more than the largest byte of a key.
pub const KEY_BYTES: u8 = 0x80;
