//! The tries of one tree, opened when they are needed.

use std::cell::{OnceCell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bstr::{BStr, BString};
use ferrmod_config::Root;
use ferrmod_index::trie::{Entry, Trie, TrieError};
use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};

/// One of the tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// `modules.dep.bin`: where each module is and what it needs.
    Dependencies,
    /// `modules.symbols.bin`: who exports a symbol.
    Symbols,
    /// `modules.alias.bin`: the patterns of the modules' aliases.
    Aliases,
    /// `modules.builtin.bin`: what is built in.
    Builtin,
    /// `modules.builtin.alias.bin`: the aliases of what is built in.
    BuiltinAliases,
}

impl Table {
    /// All of them, in kmod's order.
    pub const ALL: [Table; 5] =
        [Table::Dependencies, Table::Aliases, Table::Symbols, Table::BuiltinAliases, Table::Builtin];

    /// The file's name without `.bin`, as people know it.
    #[must_use]
    pub fn text(self) -> &'static str {
        self.file().trim_end_matches(".bin")
    }

    /// The file's name.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Table::Dependencies => "modules.dep.bin",
            Table::Symbols => "modules.symbols.bin",
            Table::Aliases => "modules.alias.bin",
            Table::Builtin => "modules.builtin.bin",
            Table::BuiltinAliases => "modules.builtin.alias.bin",
        }
    }
}

/// A trie that could not be used. What it knows is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexProblem {
    /// Which one.
    pub table: Table,
    /// What is wrong.
    pub error: TrieError,
}

/// The tries of one tree.
#[derive(Debug)]
pub struct Indexes<'c> {
    root: &'c Root,
    folder: PathBuf,
    /// The folder, opened, when finding it in the root takes several steps.
    opened: OnceCell<Option<OwnedFd>>,
    tries: [OnceCell<Option<Trie>>; 5],
    problems: RefCell<Vec<IndexProblem>>,
}

impl<'c> Indexes<'c> {
    /// Those in `folder` of `root`. Nothing is opened yet.
    #[must_use]
    pub fn new(root: &'c Root, folder: PathBuf) -> Indexes<'c> {
        Indexes { root, folder, opened: OnceCell::new(), tries: Default::default(), problems: RefCell::default() }
    }

    /// The folder of the tree, in the root.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens a file that is named in the root.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(&self, path: &Path) -> io::Result<File> {
        self.root.open(path)
    }

    /// Whether there is a file of this name in the root.
    ///
    /// # Errors
    /// As stat(2).
    pub fn stat(&self, path: &Path) -> io::Result<()> {
        let known = self.opened().zip(path.strip_prefix(&self.folder).ok()).is_some_and(|(folder, path)| {
            // Nothing is read: that a link leads out of the root is for whoever opens the file to see.
            statat(folder, path, AtFlags::empty()).is_ok()
        });
        if known { Ok(()) } else { self.root.metadata(path).map(|_| ()) }
    }

    fn opened(&self) -> Option<&OwnedFd> {
        let open = || (!self.root.is_host()).then(|| self.root.open_folder(&self.folder).ok()).flatten();
        self.opened.get_or_init(open).as_ref()
    }

    /// Opens a file of the folder.
    fn open_here(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        match self.opened().map(|folder| openat(folder, name, flags, Mode::empty())) {
            Some(Ok(file)) => Ok(file.into()),
            // A link, perhaps, which only the root can follow.
            _ => self.root.open(&self.folder.join(name)),
        }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &'c Root {
        self.root
    }

    /// What was wrong with tries so far; each trie once. A trie that is not there, or is an empty file, is nothing wrong.
    #[must_use]
    pub fn problems(&self) -> Vec<IndexProblem> {
        self.problems.borrow().clone()
    }

    fn trie(&self, table: Table) -> Option<&Trie> {
        self.tries.get(table as usize)?.get_or_init(|| self.open_trie(table)).as_ref()
    }

    fn open_trie(&self, table: Table) -> Option<Trie> {
        let file = self.open_here(table.file()).ok()?;
        match Trie::from_file(file) {
            Ok(trie) => Some(trie),
            // depmod leaves an empty file where there is nothing to say.
            Err(TrieError::Truncated { at: 0, .. }) => None,
            Err(error) => {
                self.note(table, error);
                None
            }
        }
    }

    fn note(&self, table: Table, error: TrieError) {
        let mut problems = self.problems.borrow_mut();
        if !problems.iter().any(|problem| problem.table == table) {
            problems.push(IndexProblem { table, error });
        }
    }

    /// The value of exactly this key.
    #[must_use]
    pub fn find(&self, table: Table, key: &BStr) -> Option<BString> {
        match self.trie(table)?.find(key) {
            Ok(found) => found.map(|entry| entry.value),
            Err(error) => {
                self.note(table, error);
                None
            }
        }
    }

    /// The values of all keys that are patterns which match `name`, and of `name` itself, by priority.
    #[must_use]
    pub fn search(&self, table: Table, name: &BStr) -> Vec<Entry> {
        let Some(trie) = self.trie(table) else { return Vec::new() };
        match trie.search(name) {
            Ok(mut found) => {
                found.sort_by_key(|entry| entry.priority);
                found
            }
            Err(error) => {
                self.note(table, error);
                Vec::new()
            }
        }
    }

    /// Everything in a trie, in its order: key, priority, value.
    pub fn each(&self, table: Table, visit: impl FnMut(&[u8], u32, &[u8])) {
        let Some(trie) = self.trie(table) else { return };
        if let Err(error) = trie.each(visit) {
            self.note(table, error);
        }
    }

    /// Everything in a trie, in its order: lines of `before`, the key, a space and the value, many at once.
    pub fn lines(&self, table: Table, before: &[u8], print: impl FnMut(&[u8])) {
        let Some(trie) = self.trie(table) else { return };
        if let Err(error) = trie.lines(before, print) {
            self.note(table, error);
        }
    }
}
