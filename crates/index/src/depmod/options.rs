//! What depmod is asked to do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::root::path_of;

/// Whose files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Those of kmod 30: the nodes of tries behind their children, no `modules.weakdep`.
    Kmod30,
    /// Those of kmod 34.
    #[default]
    Kmod34,
}

/// A word of depmod.d's `search`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// `built-in`: wherever no other word matches.
    BuiltIn,
    /// `external`: the folders outside the tree.
    External,
    /// A folder in the tree.
    Folder(Vec<u8>),
}

/// depmod.d's `override`, for this kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The module's name, as it is written.
    pub module: Vec<u8>,
    /// The folder in the tree whose file of that name counts.
    pub folder: Vec<u8>,
}

/// How far the reading of modules is; looked at from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many modules there are to read; 0 until that is known.
    pub total: AtomicUsize,
    /// How many were read.
    pub done: AtomicUsize,
}

/// What depmod is asked to do. Everything that a configuration can say is here as plain values, already chosen for the kernel in question.
#[derive(Debug)]
pub struct Options<'a> {
    /// The root of the file system in which everything is read; nothing outside it is touched, whatever links say.
    pub root: PathBuf,
    /// The folder of the trees, in the root: `/lib/modules`.
    pub module_dir: PathBuf,
    /// The root in which everything is written, when that is another one.
    pub out: Option<PathBuf>,
    /// The kernel's release, which is the name of its tree.
    pub release: OsString,
    /// Whose files are written.
    pub format: Format,
    /// The order of folders; empty: `updates built-in`.
    pub search: Vec<Search>,
    /// Which of several files of one name counts; of several lines that match, the last one.
    pub overrides: Vec<Override>,
    /// Folders outside the tree, absolute in the root.
    pub external: Vec<PathBuf>,
    /// Names of folders that are not entered.
    pub exclude: Vec<Vec<u8>>,
    /// Only these files, absolute, instead of all that are in the tree.
    pub files: Vec<PathBuf>,
    /// The text of a `Module.symvers`: the kernel's symbols with their check sums, which are compared.
    pub symvers: Option<Vec<u8>>,
    /// The text of a `System.map`: the kernel's symbols.
    pub system_map: Option<Vec<u8>>,
    /// A character that stands before every symbol.
    pub symbol_prefix: Option<u8>,
    /// Whether symbols that nobody exports are told ([`Event::UnknownSymbol`](super::Event::UnknownSymbol)).
    pub report_unknown: bool,
    /// Whether every use of another module's symbol is told ([`Event::Needs`](super::Event::Needs)).
    pub report_needs: bool,
    /// Whether keys with several values are told ([`Event::Duplicate`](super::Event::Duplicate)).
    pub report_duplicates: bool,
    /// Whether the folder of the index is made when it is known what belongs into it, and before that is worked out in detail.
    pub make_folder: bool,
    /// Whether the tries are wanted, and not the texts alone.
    pub tries: bool,
    /// Whether what was learned from the files is kept beside the index, and used the next time.
    pub cache: bool,
    /// How many threads read modules; 0: as many as there are processors.
    pub threads: usize,
    /// Where the number of modules that are read is counted.
    pub progress: Option<&'a Progress>,
    /// Set by somebody else when the work is to end without a result.
    pub cancel: Option<&'a AtomicBool>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            root: PathBuf::from("/"),
            module_dir: PathBuf::from("/lib/modules"),
            out: None,
            release: OsString::new(),
            format: Format::default(),
            search: Vec::new(),
            overrides: Vec::new(),
            external: Vec::new(),
            exclude: Vec::new(),
            files: Vec::new(),
            symvers: None,
            system_map: None,
            symbol_prefix: None,
            report_unknown: false,
            report_needs: false,
            report_duplicates: false,
            make_folder: false,
            tries: true,
            cache: true,
            threads: 0,
            progress: None,
            cancel: None,
        }
    }
}

impl Options<'_> {
    /// The tree's folder, in the root.
    pub(super) fn tree(&self) -> PathBuf {
        Path::new("/").join(&self.module_dir).join(&self.release)
    }

    /// A file of the tree as the host knows it, for messages.
    pub(super) fn full(&self, path: &[u8]) -> PathBuf {
        // Only files that the user named are absolute, or folders of the root.
        if path.starts_with(b"/") && self.files.iter().any(|file| file == path_of(path)) {
            return path_of(path).to_owned();
        }
        let inside = self.tree().join(path_of(path));
        self.root.join(inside.strip_prefix("/").unwrap_or(&inside))
    }

    /// The tree's folder as the host knows it, for messages.
    #[must_use]
    pub fn tree_folder(&self) -> PathBuf {
        let tree = self.tree();
        self.root.join(tree.strip_prefix("/").unwrap_or(&tree))
    }

    /// The folder of the index as the host knows it, for messages.
    #[must_use]
    pub fn index_folder(&self) -> PathBuf {
        let tree = self.tree();
        self.out.as_deref().unwrap_or(&self.root).join(tree.strip_prefix("/").unwrap_or(&tree))
    }

    /// Whether the work is to end.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }
}
