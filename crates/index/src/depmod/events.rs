//! What depmod tells while it works.

use std::io;
use std::path::Path;

use ferrmod_image::compress::DecompressError;

use super::elf::ElfError;
use crate::trie::KeyError;

/// Something worth knowing that does not end the work.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A folder of the tree cannot be read; what is in it is left out.
    FolderUnreadable {
        /// The folder.
        path: &'a Path,
        /// Why.
        error: &'a io::Error,
    },
    /// A folder outside the tree that the configuration names cannot be read; not every kernel has every one.
    ExternalUnreadable {
        /// The folder.
        path: &'a Path,
        /// Why.
        error: &'a io::Error,
    },
    /// A link leads to a folder that it is in; it is not followed.
    FolderLoop {
        /// The link.
        path: &'a Path,
    },
    /// An entry of a folder cannot be looked at; it is left out.
    EntryUnreadable {
        /// The entry.
        path: &'a Path,
        /// Why.
        error: &'a io::Error,
    },
    /// An entry is neither a file nor a folder; it is left out.
    Unsupported {
        /// The entry.
        path: &'a Path,
        /// The `S_IFMT` bits of its mode.
        kind: u32,
    },
    /// A file that kbuild writes is not there.
    InputMissing {
        /// Its name.
        name: &'static str,
        /// The tree's folder.
        folder: &'a Path,
        /// Why it cannot be read.
        error: &'a io::Error,
    },
    /// A line of `modules.order` has no end; it is left out.
    UnfinishedLine {
        /// The tree's folder.
        folder: &'a Path,
        /// The line's number, from 1.
        line: usize,
    },
    /// A line of `Module.symvers` has no number where a check sum stands; it is left out.
    InvalidSymbolVersion {
        /// The line's number, from 1.
        line: usize,
        /// What stands there.
        version: &'a [u8],
    },
    /// A line of `System.map` has too few words; it is left out.
    InvalidSystemMap {
        /// The line's number, from 1.
        line: usize,
        /// The line, with its end.
        text: &'a [u8],
    },
    /// A line of `modules.builtin` names no module's file.
    InvalidBuiltin {
        /// The line.
        line: &'a [u8],
    },
    /// A module cannot be read; the index holds its name and path, and nothing that it offers.
    Broken {
        /// The file.
        path: &'a Path,
        /// Why.
        problem: &'a Problem,
    },
    /// Nobody exports a symbol that a module needs.
    UnknownSymbol {
        /// The module's file.
        path: &'a Path,
        /// The symbol.
        symbol: &'a [u8],
    },
    /// The kernel's symbol has another check sum than the one that a module was built for.
    VersionDisagrees {
        /// The module's file.
        path: &'a Path,
        /// The symbol.
        symbol: &'a [u8],
    },
    /// A module uses another module's symbols. Told once for the two of them.
    Needs {
        /// The user's file.
        path: &'a Path,
        /// The first of the symbols.
        symbol: &'a [u8],
        /// The exporter's file.
        provider: &'a Path,
    },
    /// A module has a key of an index twice.
    Duplicate {
        /// The index.
        index: DuplicateIn,
        /// The key.
        key: &'a [u8],
        /// The module that has it twice.
        module: &'a [u8],
    },
    /// An alias has a bracket without its partner; no index finds it.
    UnmatchedBracket {
        /// The alias.
        alias: &'a [u8],
    },
    /// An index cannot hold a key; the rest is written.
    BadKey {
        /// The key.
        key: &'a [u8],
        /// The module it is of.
        module: &'a [u8],
        /// Why.
        problem: KeyError,
    },
    /// A module has a device node, but no alias that says which; it is left out.
    DevnameIncomplete {
        /// The module's name.
        module: &'a [u8],
        /// The node's name.
        node: &'a [u8],
    },
    /// The tree was changed by somebody while it was read; it is read again.
    Changed {
        /// How often it was.
        times: u32,
    },
    /// The tree was changed again and again while it was read: the index holds what was found last.
    StillChanging,
}

/// Which index has a key twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateIn {
    /// `modules.dep.bin`
    Dependencies,
    /// `modules.alias.bin`
    Aliases,
    /// `modules.symbols.bin`
    Symbols,
}

/// Why a module cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system does not hand the file out.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It does not unpack.
    #[error(transparent)]
    Unpack(#[from] DecompressError),
    /// It is no module.
    #[error(transparent)]
    Elf(#[from] ElfError),
}
