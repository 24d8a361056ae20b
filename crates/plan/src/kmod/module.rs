//! A module as a look-up finds it.

use std::path::PathBuf;

use bstr::BString;
use ferrmod_config::Entry;

/// Where a module's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// In the root: what is opened.
    pub inside: PathBuf,
    /// As one names it from outside of the root: what is printed.
    pub shown: PathBuf,
    /// Whether `inside` is a path of the caller and not of the root.
    pub of_caller: bool,
}

/// Who says that a name stands for a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How<'c> {
    /// It was given as a file.
    Path,
    /// An `alias` line.
    ConfiguredAlias(Entry<'c>),
    /// `modules.dep`: it is the module's name.
    Name,
    /// `modules.symbols`: the module exports it.
    Symbol,
    /// An `install` or `remove` line names it; there may be no such module.
    Command(Entry<'c>),
    /// `modules.alias`: this pattern matches.
    Alias(BString),
    /// `modules.builtin`.
    Builtin,
    /// `modules.builtin.alias`: this pattern matches.
    BuiltinAlias(BString),
    /// `modules.dep` says that another module needs it.
    Dependency,
}

/// A module, or the name of one that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module<'c> {
    /// Its name, with `_`.
    pub name: BString,
    /// The alias it was found by, when it was not its name: the pattern of an `alias` line, or else what was asked for.
    /// `options` lines and the blacklist depend on it.
    pub alias: Option<BString>,
    /// Who says that it is meant.
    pub how: How<'c>,
    /// Its file; `None` when it is built in, or does not exist.
    pub file: Option<File>,
    /// The files of what it needs, all of them, in the order in which they load.
    pub needs: Vec<File>,
}

impl Module<'_> {
    /// Whether `other` is the same module found by the same alias: what kmod takes for one.
    #[must_use]
    pub fn is_same(&self, other: &Module<'_>) -> bool {
        self.name == other.name && self.alias == other.alias
    }
}
