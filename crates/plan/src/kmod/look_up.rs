//! From a name to modules.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_config::{Config, Entry, Kind, Root};

use super::{File, How, Indexes, Module, Table};

/// The two names of a tree's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// In the root: `/lib/modules/6.1.0`.
    pub inside: PathBuf,
    /// From outside: the root's path as it was given, absolute, and then the same. Paths of modules are printed below it.
    pub shown: PathBuf,
}

/// A tree with its configuration.
#[derive(Debug)]
pub struct Modules<'c> {
    /// The configuration.
    pub config: &'c Config,
    /// What depmod wrote.
    pub indexes: Indexes<'c>,
    shown: PathBuf,
}

/// A module's name with `-` as `_`.
pub(super) fn normal(name: &[u8]) -> BString {
    name.replace("-", "_").into()
}

/// An alias with `-` as `_` outside of brackets; `None` when a bracket is not closed or not opened, which kmod takes for no alias.
fn normal_alias(alias: &[u8]) -> Option<BString> {
    let mut inside = false;
    let mut normal = Vec::with_capacity(alias.len());
    for &byte in alias {
        match byte {
            b']' if !inside => return None,
            b'[' => inside = true,
            b']' => inside = false,
            _ => {}
        }
        normal.push(if byte == b'-' && !inside { b'_' } else { byte });
    }
    (!inside).then(|| normal.into())
}

/// The name that a module has by its file's: what comes before the first dot, with `_`.
#[must_use]
pub fn name_of_path(path: &Path) -> BString {
    let name = path.as_os_str().as_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    normal(name.split(|&byte| byte == b'.').next().unwrap_or_default())
}

impl<'c> Modules<'c> {
    /// The tree in `paths` of `root`. Nothing is opened yet.
    #[must_use]
    pub fn new(config: &'c Config, root: &'c Root, paths: Paths) -> Modules<'c> {
        Modules { config, indexes: Indexes::new(root, paths.inside), shown: paths.shown }
    }

    /// The tree's folder as one names it from outside.
    #[must_use]
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// The modules that `name` stands for, in the order in which they are loaded; empty when it stands for none. An `alias` or
    /// `install` line may name a module that does not exist: it is among them, without a file.
    #[must_use]
    pub fn look_up(&self, name: &BStr) -> Vec<Rc<Module<'c>>> {
        let Some(name) = normal_alias(name) else { return Vec::new() };
        let name = name.as_bstr();
        let aliases: Vec<_> = self
            .config
            .aliases(name)
            .map(|entry| self.module(normal(entry.value), Some(entry.name.into()), How::ConfiguredAlias(entry)))
            .collect();
        if !aliases.is_empty() {
            return aliases;
        }
        if !name.contains(&b':')
            && let Some(line) = self.indexes.find(Table::Dependencies, name)
        {
            return vec![self.with_line(name.into(), None, How::Name, Some(line))];
        }
        if name.starts_with(b"symbol:")
            && let Some(module) = self.indexes.find(Table::Symbols, name)
        {
            return vec![self.module(module, Some(name.into()), How::Symbol)];
        }
        if let Some(entry) = self.command(name) {
            return vec![self.module(name.into(), None, How::Command(entry))];
        }
        let found = self.found(Table::Aliases, name, How::Alias);
        if !found.is_empty() {
            return found;
        }
        if self.is_builtin(name) {
            return vec![self.without_file(name.into(), None, How::Builtin)];
        }
        self.found(Table::BuiltinAliases, name, How::BuiltinAlias)
    }

    /// The module in a file that the caller named. Its dependencies are those of the tree's module of the same name.
    #[must_use]
    pub fn of_path(&self, path: &Path, shown: PathBuf) -> Rc<Module<'c>> {
        let name = name_of_path(path);
        let module = self.module(name, None, How::Path);
        let file = File { inside: path.to_owned(), shown, of_caller: true };
        Rc::new(Module { file: Some(file), ..Module::clone(&module) })
    }

    /// The module of exactly this name, whatever says something about it.
    #[must_use]
    pub fn named(&self, name: &BStr, how: How<'c>) -> Rc<Module<'c>> {
        self.module(normal(name), None, how)
    }

    /// Whether the tree's kernel has the module of this name (with `_`) built in.
    #[must_use]
    pub fn is_builtin(&self, name: &BStr) -> bool {
        self.indexes.find(Table::Builtin, name).is_some()
    }

    /// The `install` line of exactly this name, else the `remove` line. Patterns do not count here, unless the name is spelled so.
    fn command(&self, name: &BStr) -> Option<Entry<'c>> {
        let config: &'c Config = self.config;
        [Kind::Install, Kind::Remove].into_iter().find_map(|kind| config.spelled(kind, name))
    }

    fn found(&self, table: Table, name: &BStr, how: impl Fn(BString) -> How<'c>) -> Vec<Rc<Module<'c>>> {
        let found = self.indexes.search(table, name);
        found.into_iter().map(|entry| self.module(entry.value, Some(name.into()), how(entry.key))).collect()
    }

    fn module(&self, name: BString, alias: Option<BString>, how: How<'c>) -> Rc<Module<'c>> {
        let line = self.indexes.find(Table::Dependencies, name.as_bstr());
        self.with_line(name, alias, how, line)
    }

    fn without_file(&self, name: BString, alias: Option<BString>, how: How<'c>) -> Rc<Module<'c>> {
        Rc::new(Module { name, alias, how, file: None, needs: Vec::new() })
    }

    /// The module of a line of `modules.dep`: `PATH: PATH PATH`, what loads first last.
    fn with_line(&self, name: BString, alias: Option<BString>, how: How<'c>, line: Option<BString>) -> Rc<Module<'c>> {
        let Some((path, needs)) = line.as_ref().and_then(|line| line.split_once_str(":")) else {
            return self.without_file(name, alias, how);
        };
        let words = needs.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let needs = words.rev().map(|path| self.file(path)).collect();
        Rc::new(Module { name, alias, how, file: Some(self.file(path)), needs })
    }

    /// The file of a path in `modules.dep`, which is relative to the tree unless the module is from outside of it.
    fn file(&self, path: &[u8]) -> File {
        let inside = self.indexes.folder().join(OsStr::from_bytes(path));
        let shown = match path {
            [b'/', ..] => path.to_vec(),
            // Not `join`: kmod does not care whether there is a slash already.
            _ => [self.shown.as_os_str().as_bytes(), b"/", path].concat(),
        };
        File { inside, shown: OsString::from_vec(shown).into(), of_caller: false }
    }
}
