//! Making the index of a tree: what depmod does.
//!
//! [`build`] looks for the modules of a tree, reads what each of them says, works out who needs whom, and hands out
//! the contents of every file of the index ([`Built`]). Nothing is written before [`Built::write`], and then every file is
//! written whole under another name, brought to the disk, and renamed: whoever looks, at any moment, finds the old file or the new one.
//!
//! The order of everything in these files is that of kmod, byte for byte: modules first as `modules.order` lists them and then by
//! the hash of their names, symbols by the hash of theirs, dependencies in the order of kmod's topological sort.

mod cache;
mod check;
mod commit;
mod cycles;
mod elf;
mod events;
mod facts;
mod files;
mod graph;
mod hash;
mod kernel;
mod options;
mod order;
mod report;
mod root;
mod scan;
mod symbols;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use check::{Difference, Fault};
pub use elf::ElfError;
pub use events::{DuplicateIn, Event, Problem};
pub use facts::{ModuleFacts, module_facts};
pub use files::IndexFile;
pub use options::{Format, Options, Override, Progress, Search};

use crate::trie::TrieWriteError;

use hashbrown::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::thread;

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};

use self::cache::Cache;
use self::elf::Facts;
use self::files::{Made, Module, Note, What};
use self::graph::{Exports, Graph, ModuleNumber, Provider};
use self::root::Root;
use self::scan::Outcome;
use self::symbols::Symbols;
use self::walk::{Found, Identity, Modules, Tree};
use crate::trie::NodeOrder;

/// How often a tree that changes while it is read is read again.
const ROUNDS: u32 = 3;

/// Why there is no index.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DepmodError {
    /// The tree's folder cannot be read.
    #[error("could not open directory {}: {error}", path.display())]
    Tree {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file that was named cannot be opened, or its module was named before (`EEXIST`).
    #[error("could not create module {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file that was named has no absolute path.
    #[error("{}: not absolute path.", path.display())]
    Relative {
        /// What was named.
        path: PathBuf,
    },
    /// Modules need each other in a circle, so that none of them can be first.
    #[error("found {} modules in dependency cycles", members.len())]
    Cycles {
        /// Some of the cycles, each from a module through those it needs back to itself.
        cycles: Vec<Vec<String>>,
        /// Every module that is in a cycle, by name.
        members: Vec<String>,
    },
    /// An index is too large for its format.
    #[error("{name}: {error}")]
    Index {
        /// The index.
        name: &'static str,
        /// Why.
        #[source]
        error: TrieWriteError,
    },
    /// The folder of the index cannot be opened or made.
    #[error("could not create directory {}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file cannot be written; none of the index was changed.
    #[error("could not write {}: {error}", folder.join(name).display())]
    Write {
        /// The folder.
        folder: PathBuf,
        /// The file's name.
        name: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Somebody asked for the work to end.
    #[error("interrupted")]
    Cancelled,
}

/// The index of a tree, ready to be written.
#[derive(Debug)]
pub struct Built {
    files: Vec<IndexFile>,
    remembered: Option<Remembered>,
    /// How many modules there are.
    pub modules: usize,
    /// How many of them were read, and not known from the time before.
    pub read: usize,
    /// How many could not be read.
    pub broken: usize,
    /// Whether the tree still changed when it was read for the last time.
    pub changing: bool,
}

/// What is kept for the next time.
#[derive(Debug)]
struct Remembered {
    entries: Vec<Entry>,
    symbols: Symbols,
    /// When the first file was looked at.
    started: i128,
}

impl Remembered {
    fn file(&self) -> IndexFile {
        let facts = self.entries.iter().filter_map(|entry| Some((&entry.found.identity, entry.facts.as_ref()?)));
        IndexFile { name: cache::NAME, bytes: cache::write(facts, &self.symbols, self.started) }
    }
}

/// What one module of the index is.
#[derive(Debug)]
struct Entry {
    found: Found,
    facts: Option<Facts>,
}

/// Makes the index of the tree that `options` names. `observe` is told what is worth knowing, in kmod's order.
///
/// # Errors
/// When the tree or a file that was named cannot be opened, when there are cycles of dependencies, or when the work is cancelled. A
/// module that cannot be read is no error: see [`Event::Broken`].
pub fn build(options: &Options<'_>, observe: &mut dyn FnMut(Event<'_>)) -> Result<Built, DepmodError> {
    let started = cache::now();
    let kernel = kernel::symbols(options, observe);
    let kept = if options.cache { kept(options) } else { Vec::new() };
    let mut symbols = Symbols::default();
    let cache = Cache::read(&kept, &mut symbols);
    let mut known: HashMap<Identity, Facts> = HashMap::new();
    let mut read = 0;
    let mut round = 1;
    let (tree, entries, changing) = loop {
        let tree = Tree::open(options).map_err(|error| match options.files.first() {
            Some(path) if path.is_relative() => DepmodError::Relative { path: path.clone() },
            _ => DepmodError::Tree { path: options.tree_folder(), error },
        })?;
        let Learned { entries, problems, changed, read: count } =
            learn(options, &tree, &cache, &mut known, &mut symbols, observe)?;
        read += count;
        if options.is_cancelled() {
            return Err(DepmodError::Cancelled);
        }
        let changing = changed || tree.changed();
        if !changing || round == ROUNDS {
            for (path, problem) in &problems {
                observe(Event::Broken { path: &options.full(path), problem });
            }
            break (tree, entries, changing);
        }
        observe(Event::Changed { times: round });
        known.extend(entries.into_iter().filter_map(|entry| Some((entry.found.identity, entry.facts?))));
        round += 1;
    };
    if changing {
        observe(Event::StillChanging);
    }
    let broken = entries.iter().filter(|entry| entry.facts.is_none()).count();
    let modules: Vec<Module<'_>> = entries
        .iter()
        .map(|entry| Module { name: &entry.found.name, path: &entry.found.path, facts: entry.facts.as_ref() })
        .collect();
    let exports = exports(options, &modules, &symbols, &kernel);
    let facts: Vec<Option<&Facts>> = modules.iter().map(|module| module.facts).collect();
    report::imports(options, &modules, &symbols, &exports, observe);
    let graph = Graph::new(&facts, &symbols, &exports);
    if !graph.cyclic.is_empty() {
        return Err(cycles::error(&graph, &modules));
    }
    if options.make_folder {
        make_folder(options)?;
    }
    let write_cache = options.cache && (read > 0 || cache.len() != entries.len() - broken);
    let files = contents(options, &tree, &modules, &graph, &exports, observe)?;
    // What is kept was borrowed until here.
    drop(exports);
    let modules = entries.len();
    let remembered = write_cache.then_some(Remembered { entries, symbols, started });
    Ok(Built { files, remembered, modules, read, broken, changing })
}

/// The name of the module in a file of this name: what stands before the first dot, with `_` for `-`.
#[must_use]
pub fn module_name(path: &Path) -> Vec<u8> {
    walk::stem(walk::base(path.as_os_str().as_encoded_bytes()))
}

/// Whether no module is newer than the index: what `depmod --quick` asks. Modules that were removed are not noticed, as in kmod, and
/// [`Options::files`] are not looked at.
///
/// # Errors
/// When the tree cannot be read.
pub fn is_current(options: &Options<'_>, observe: &mut dyn FnMut(Event<'_>)) -> Result<bool, DepmodError> {
    let tree = Tree::open(options).map_err(|error| DepmodError::Tree { path: options.tree_folder(), error })?;
    let Ok(index) = statat(&tree.folder, "modules.dep", AtFlags::empty()) else {
        return Ok(false);
    };
    let made = Identity::of(&index).modified;
    let mut tell = |_: &Found| {};
    let mut modules = Modules::new(options, &tree, observe, &mut tell);
    modules.search().map_err(|error| DepmodError::Tree { path: options.tree_folder(), error })?;
    Ok(modules.newest <= made)
}

/// The modules of the tree, in the order of the index. `tell` is told about each file that is found as soon as it is.
fn look(
    options: &Options<'_>,
    tree: &Tree,
    observe: &mut dyn FnMut(Event<'_>),
    tell: &mut dyn FnMut(&Found),
) -> Result<Vec<Found>, DepmodError> {
    let files = &options.files;
    let mut modules = Modules::new(options, tree, observe, tell);
    if files.is_empty() {
        modules.search().map_err(|error| DepmodError::Tree { path: options.tree_folder(), error })?;
    }
    for path in files {
        if !path.is_absolute() {
            return Err(DepmodError::Relative { path: path.clone() });
        }
        modules.file(path).map_err(|error| DepmodError::File { path: path.clone(), error })?;
    }
    let mut found = modules.found;
    order::sort(&mut found, options, tree, observe);
    Ok(found)
}

/// What the files of a tree say.
struct Learned {
    entries: Vec<Entry>,
    /// The modules that cannot be read, by path.
    problems: Vec<(Vec<u8>, Problem)>,
    /// Whether one of the files changed meanwhile.
    changed: bool,
    /// How many were read.
    read: usize,
}

/// Finds the modules, and what each file says: from the cache, or by reading it.
fn learn(
    options: &Options<'_>,
    tree: &Tree,
    cache: &Cache<'_>,
    known: &mut HashMap<Identity, Facts>,
    symbols: &mut Symbols,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Learned, DepmodError> {
    if let Some(progress) = options.progress {
        progress.done.store(0, Ordering::Relaxed);
        progress.total.store(0, Ordering::Relaxed);
    }
    // By the number of the file.
    let mut outcomes: Vec<Option<Outcome>> = Vec::new();
    let (found, scanned) = scan::scan(options, tree, symbols, |read| {
        look(options, tree, observe, &mut |found| {
            let facts = cache.find(&found.identity).or_else(|| known.remove(&found.identity));
            if facts.is_none() {
                read(found.number, found);
            }
            outcomes.push(facts.map(Outcome::Facts));
        })
    });
    let read = scanned.results.len();
    for (number, outcome) in scanned.results {
        if let Some(slot) = outcomes.get_mut(number) {
            *slot = Some(outcome);
        }
    }
    let mut problems = Vec::new();
    let mut entry = |found: Found| {
        let facts = match outcomes.get_mut(found.number).and_then(Option::take) {
            Some(Outcome::Facts(facts)) => Some(facts),
            Some(Outcome::Broken(problem)) => {
                problems.push((found.path.clone(), problem));
                None
            }
            None => None,
        };
        Entry { found, facts }
    };
    let entries = found?.into_iter().map(&mut entry).collect();
    Ok(Learned { entries, problems, changed: scanned.changed, read })
}

/// Every symbol that the kernel and the modules export. Of several exporters the last one counts.
fn exports<'a>(
    options: &Options<'_>,
    modules: &[Module<'a>],
    symbols: &'a Symbols,
    kernel: &'a [(Vec<u8>, u64)],
) -> Exports<'a> {
    let mut exports = Exports::new(options.symbol_prefix);
    for (name, crc) in kernel {
        exports.add(name, Provider::Kernel, *crc);
    }
    for (number, module) in modules.iter().enumerate() {
        for &symbol in module.facts.iter().flat_map(|facts| &facts.exports) {
            let symbol = symbols.get(symbol);
            exports.add(symbol.name, Provider::Module(number as ModuleNumber), symbol.crc);
        }
    }
    exports
}

/// The contents of every file.
fn contents(
    options: &Options<'_>,
    tree: &Tree,
    modules: &[Module<'_>],
    graph: &Graph,
    exports: &Exports<'_>,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<IndexFile>, DepmodError> {
    let order = match options.format {
        Format::Kmod30 => NodeOrder::ChildrenFirst,
        Format::Kmod34 => NodeOrder::ParentFirst,
    };
    let what = What { order, tries: options.tries, duplicates: options.report_duplicates };
    let index = |name| move |error| DepmodError::Index { name, error };
    let (dependencies, aliases, symbols) = thread::scope(|scope| {
        let aliases = scope.spawn(|| files::aliases(modules, what));
        let dependencies = files::dependencies(modules, graph, what);
        let symbols = files::symbols(modules, exports.of_modules().collect(), what);
        // Only a bug makes a thread panic; then the work is done here, where it is seen.
        let aliases = aliases.join().unwrap_or_else(|_| files::aliases(modules, what));
        (dependencies, aliases, symbols)
    });
    let dependencies = dependencies.map_err(index("modules.dep.bin"))?;
    let aliases = aliases.map_err(index("modules.alias.bin"))?;
    let symbols = symbols.map_err(index("modules.symbols.bin"))?;
    let mut files = Vec::with_capacity(12);
    let mut add = |observe: &mut dyn FnMut(Event<'_>), text: &'static str, trie: &'static str, made: Made| {
        made.notes.iter().for_each(|note| observe(note.event()));
        files.push(IndexFile { name: text, bytes: made.text });
        if !trie.is_empty() && options.tries {
            files.push(IndexFile { name: trie, bytes: made.trie });
        }
    };
    let text = |text: Vec<u8>, notes: Vec<Note>| Made { text, trie: Vec::new(), notes };
    add(observe, "modules.dep", "modules.dep.bin", dependencies);
    add(observe, "modules.alias", "modules.alias.bin", aliases);
    add(observe, "modules.softdep", "", text(files::softdeps(modules), Vec::new()));
    if options.format == Format::Kmod34 {
        add(observe, "modules.weakdep", "", text(files::weakdeps(modules), Vec::new()));
    }
    add(observe, "modules.symbols", "modules.symbols.bin", symbols);
    let builtin = |observe: &mut dyn FnMut(Event<'_>), name: &'static str| match tree.read(name) {
        Ok(text) => Some(text),
        Err(error) => {
            observe(Event::InputMissing { name, folder: &options.tree_folder(), error: &error });
            None
        }
    };
    if options.tries {
        let names = builtin(observe, "modules.builtin");
        let made = files::builtin(names.as_deref(), what).map_err(index("modules.builtin.bin"))?;
        add(observe, "modules.builtin.bin", "", text(made.trie, made.notes));
        let modinfo = builtin(observe, "modules.builtin.modinfo");
        let made = files::builtin_aliases(modinfo.as_deref(), what).map_err(index("modules.builtin.alias.bin"))?;
        add(observe, "modules.builtin.alias.bin", "", text(made.trie, made.notes));
    }
    let (devnames, notes) = files::devnames(modules);
    add(observe, "modules.devname", "", text(devnames, notes));
    Ok(files)
}

/// The folder in which the index is, or is to be.
fn folder(options: &Options<'_>, make: bool) -> io::Result<OwnedFd> {
    let root = options.out.as_deref().unwrap_or(&options.root);
    let root = if make { Root::open_or_make(root)? } else { Root::open(root)? };
    if make {
        root.open_or_make_folder(&options.tree())
    } else {
        root.open_at(&options.tree(), OFlags::RDONLY | OFlags::DIRECTORY)
    }
}

/// The bytes of the cache, when there are any.
fn kept(options: &Options<'_>) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let folder = folder(options, false)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&folder, cache::NAME, flags, Mode::empty())?);
        let size = file.metadata()?.len().min(cache::MAX);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        file.take(cache::MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().unwrap_or_default()
}

/// Makes the folder that the index is written into, when it is not there: what is worth doing before all the work.
///
/// # Errors
/// When it cannot be made.
fn make_folder(options: &Options<'_>) -> Result<(), DepmodError> {
    match folder(options, true) {
        Ok(_) => Ok(()),
        Err(error) => Err(DepmodError::Folder { path: options.index_folder(), error }),
    }
}

impl Built {
    /// The files of the index and what is in them, in the order in which kmod writes them.
    #[must_use]
    pub fn files(&self) -> &[IndexFile] {
        &self.files
    }

    /// Writes the index: every file whole or none at all.
    ///
    /// # Errors
    /// When a file cannot be written, or when the work is cancelled; the old index stays then.
    pub fn write(&self, options: &Options<'_>) -> Result<(), DepmodError> {
        let path = options.index_folder();
        let folder = folder(options, true).map_err(|error| DepmodError::Folder { path: path.clone(), error })?;
        let files: Vec<&IndexFile> = self.files.iter().collect();
        thread::scope(|scope| {
            // Mostly, who writes waits for the disk.
            let remembered = self.remembered.as_ref().map(|remembered| scope.spawn(|| remembered.file()));
            match commit::write(&folder, &files, true, &|| options.is_cancelled()) {
                Ok(true) => {}
                Ok(false) => return Err(DepmodError::Cancelled),
                Err(commit::WriteError { name, error }) => {
                    return Err(DepmodError::Write { folder: path, name, error });
                }
            }
            // A thread that panics is a bug; the index does without its cache then.
            if let Some(Ok(cache)) = remembered.map(thread::ScopedJoinHandle::join) {
                // It has a check sum, so that nothing needs to wait for the disk; and without it the next time is only slower.
                let _ = commit::write(&folder, &[&cache], false, &|| false);
            }
            Ok(())
        })
    }

    /// The files of the index that are not as they should be, with the first line (of text) or byte that is different.
    ///
    /// # Errors
    /// When the folder of the index cannot be opened.
    pub fn check(&self, options: &Options<'_>) -> Result<Vec<Difference>, DepmodError> {
        check::check(&self.files, options)
    }
}
