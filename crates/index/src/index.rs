//! One tree, and the answers about it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bstr::{BStr, ByteSlice};
use ferrmod_image::{Image, Softdep};

use crate::cache::{self, Cache};
use crate::file::FileError;
use crate::listing::{Listing, ModuleFile};
use crate::name::{distance, normalise};
use crate::scan::Facts;
use crate::text::{self, Dependencies};
use crate::tree::Tree;

/// How many names are proposed for one that does not exist.
const NEAREST: usize = 3;

/// What a name stands for in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A module of this name.
    Module(ModuleFile),
    /// Modules that have an alias which matches; never empty, each module once, the alias that matched first with it.
    Alias(Vec<(String, ModuleFile)>),
    /// Nothing to load: the kernel has it built in, under this name.
    Builtin(String),
    /// Nothing; these are the names most like it.
    Absent {
        /// Names of modules, the most likely first.
        nearest: Vec<String>,
    },
}

/// Where an answer about dependencies comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// depmod wrote it.
    Depmod,
    /// The module's own `.modinfo` says it.
    Modinfo,
    /// The symbols it uses tell it.
    Symbols,
}

/// The modules that a module needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Their names, in the order in which they load: all of them when depmod wrote them, else those that the module itself needs.
    pub modules: Vec<String>,
    /// Where this comes from.
    pub source: Source,
}

/// The modules that a module would like to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftNeeds {
    /// Names or aliases wanted before it.
    pub before: Vec<String>,
    /// Names or aliases wanted after it.
    pub after: Vec<String>,
    /// Where this comes from.
    pub source: Source,
}

/// The answers about one tree.
///
/// Nothing is read when an `Index` is made, and nothing twice: what a question needs is read when it is asked.
pub struct Index {
    tree: Tree,
    cache: Option<Cache>,
    dependencies: OnceLock<Option<Dependencies>>,
    listing: Mutex<Option<Arc<Listing>>>,
    facts: Mutex<Option<Arc<Facts>>>,
}

/// What is behind a lock that cannot be left in disorder: every value in it is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    /// The index of `tree`, with the user's cache folder.
    #[must_use]
    pub fn new(tree: Tree) -> Index {
        Index::with_cache(tree, cache::default_folder())
    }

    /// The index of `tree`, with another cache folder or none.
    #[must_use]
    pub fn with_cache(tree: Tree, folder: Option<PathBuf>) -> Index {
        // The tree by any other name is the same tree.
        let path = std::path::absolute(&tree.folder).unwrap_or_else(|_| tree.folder.clone());
        Index {
            cache: folder.map(|folder| Cache::new(folder, &path)),
            tree,
            dependencies: OnceLock::new(),
            listing: Mutex::new(None),
            facts: Mutex::new(None),
        }
    }

    /// The tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    fn folder(&self) -> &Path {
        &self.tree.folder
    }

    fn dependencies(&self) -> Option<&Dependencies> {
        self.dependencies.get_or_init(|| Dependencies::load(self.folder())).as_ref()
    }

    /// The list of files, perhaps as the cache has it.
    fn listing(&self) -> Result<Arc<Listing>, FileError> {
        let mut place = locked(&self.listing);
        if let Some(listing) = &*place {
            return Ok(listing.clone());
        }
        let listing = Arc::new(Listing::load(self.folder(), self.cache.as_ref())?);
        *place = Some(listing.clone());
        Ok(listing)
    }

    /// The list of files as it is now, when it has been seen that the cache's is not.
    fn new_listing(&self) -> Result<Arc<Listing>, FileError> {
        let listing = Arc::new(Listing::walk(self.folder(), self.cache.as_ref())?);
        *locked(&self.listing) = Some(listing.clone());
        *locked(&self.facts) = None;
        Ok(listing)
    }

    /// The list of files, which is known to be true.
    fn true_listing(&self) -> Result<Arc<Listing>, FileError> {
        let listing = self.listing()?;
        if listing.from_cache && !listing.is_current(self.folder()) { self.new_listing() } else { Ok(listing) }
    }

    /// The list of files, which is known to be true, and the cache.
    pub(crate) fn files(&self) -> Result<(Arc<Listing>, Option<&Cache>), FileError> {
        Ok((self.true_listing()?, self.cache.as_ref()))
    }

    /// Every module of the tree, by name. Where there are several files of one name the one that counts comes first.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn modules(&self) -> Result<Vec<ModuleFile>, FileError> {
        let listing = self.true_listing()?;
        Ok(listing
            .files()
            .map(|(name, path)| ModuleFile { name: name.to_owned(), path: self.folder().join(path) })
            .collect())
    }

    /// The file of the module of this name, with `-` and `_` the same.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn file(&self, name: &str) -> Result<Option<ModuleFile>, FileError> {
        let name = normalise(name).into_owned();
        let module = |path: PathBuf| ModuleFile { name: name.clone(), path };
        if let Some(line) = self.dependencies().and_then(|dependencies| dependencies.find(&name)) {
            // An absolute path is of a module outside of the tree, and join() leaves it as it is.
            let path = self.folder().join(&line.path);
            if path.is_file() {
                return Ok(Some(module(path)));
            }
        }
        let listing = self.listing()?;
        let Some(path) = listing.find(&name) else {
            // The cache does not know it, which is true only if the cache is.
            if !listing.from_cache || listing.is_current(self.folder()) {
                return Ok(None);
            }
            return Ok(self.new_listing()?.find(&name).map(|path| module(self.folder().join(path))));
        };
        let parent = path.parent().map(|parent| parent.as_os_str().as_encoded_bytes()).unwrap_or_default();
        if !listing.from_cache || (listing.holds(self.folder(), parent) && self.folder().join(path).is_file()) {
            return Ok(Some(module(self.folder().join(path))));
        }
        Ok(self.new_listing()?.find(&name).map(|path| module(self.folder().join(path))))
    }

    /// What the modules of the tree say: aliases, exports, dependencies. The first time this reads all of them.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn facts(&self) -> Result<Arc<Facts>, FileError> {
        let listing = self.true_listing()?;
        let mut place = locked(&self.facts);
        if let Some(facts) = &*place {
            return Ok(facts.clone());
        }
        let facts = Arc::new(Facts::load(self.folder(), &listing, self.cache.as_ref()));
        *place = Some(facts.clone());
        Ok(facts)
    }

    /// The facts from the files, when it has been seen that the cache's are not true.
    fn new_facts(&self) -> Result<Arc<Facts>, FileError> {
        let facts = Arc::new(Facts::scan(self.folder(), &*self.true_listing()?, self.cache.as_ref()));
        *locked(&self.facts) = Some(facts.clone());
        Ok(facts)
    }

    /// What `name` stands for: a module, an alias, something built in, or nothing.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn resolve(&self, name: &str) -> Result<Found, FileError> {
        if let Some(module) = self.file(name)? {
            return Ok(Found::Module(module));
        }
        let aliases = self.aliases(name)?;
        if !aliases.is_empty() {
            return Ok(Found::Alias(aliases));
        }
        if self.is_builtin(name) {
            return Ok(Found::Builtin(normalise(name).into_owned()));
        }
        if let Some(module) = text::builtin_aliases(self.folder(), name).into_iter().next() {
            return Ok(Found::Builtin(module));
        }
        Ok(Found::Absent { nearest: self.nearest(name)? })
    }

    /// The modules that have an alias which matches `name`, and that alias; `symbol:NAME` is the alias of who exports NAME.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn aliases(&self, name: &str) -> Result<Vec<(String, ModuleFile)>, FileError> {
        let found = match text::text(self.folder(), "modules.alias") {
            Some(text) => text::aliases(&text, name),
            None => self.aliases_of_modules(name)?,
        };
        let mut modules: Vec<(String, ModuleFile)> = Vec::new();
        let by_symbol = match name.strip_prefix("symbol:") {
            Some(symbol) => self.exporter(BStr::new(symbol))?.map(|module| (name.to_owned(), module)),
            None => None,
        };
        for (alias, module) in by_symbol.into_iter().chain(found) {
            if modules.iter().any(|(_, known)| known.name == module) {
                continue;
            }
            if let Some(file) = self.file(&module)? {
                modules.push((alias, file));
            }
        }
        Ok(modules)
    }

    /// As [`Index::aliases`], from the modules themselves.
    fn aliases_of_modules(&self, name: &str) -> Result<Vec<(String, String)>, FileError> {
        let facts = self.facts()?;
        let found = facts.aliases(name);
        if !facts.from_cache {
            return Ok(found);
        }
        let listing = self.listing()?;
        let holds =
            |module: &str| listing.find(module).is_some_and(|path| facts.holds(module, &self.folder().join(path)));
        let is_true = if found.is_empty() {
            facts.is_current(self.folder(), &listing)
        } else {
            found.iter().all(|(_, module)| holds(module))
        };
        Ok(if is_true { found } else { self.new_facts()?.aliases(name) })
    }

    /// The module of the tree that exports `symbol`.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn exporter(&self, symbol: &BStr) -> Result<Option<String>, FileError> {
        let facts = self.facts()?;
        let found = facts.exporter(symbol).map(str::to_owned);
        if !facts.from_cache {
            return Ok(found);
        }
        let listing = self.listing()?;
        let is_true = match &found {
            Some(module) => listing.find(module).is_some_and(|path| facts.holds(module, &self.folder().join(path))),
            None => facts.is_current(self.folder(), &listing),
        };
        if is_true {
            return Ok(found);
        }
        Ok(self.new_facts()?.exporter(symbol).map(str::to_owned))
    }

    /// The modules that `image`, which is the module `name`, needs: what depmod wrote, else what it says itself (`depends=`), else
    /// those whose symbols it uses.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn needs(&self, name: &str, image: &Image<'_>) -> Result<Needs, FileError> {
        if let Some(line) = self.dependencies().and_then(|dependencies| dependencies.find(&normalise(name))) {
            return Ok(Needs { modules: line.needs(), source: Source::Depmod });
        }
        self.needs_of(image)
    }

    /// As [`Index::needs`], for a module that is none of the tree's.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn needs_of(&self, image: &Image<'_>) -> Result<Needs, FileError> {
        if image.modinfo().get("depends").is_some() {
            let modules = image.depends().map(|name| normalise(&name.to_str_lossy()).into_owned()).collect();
            return Ok(Needs { modules, source: Source::Modinfo });
        }
        Ok(Needs { modules: self.facts()?.needs_of(image), source: Source::Symbols })
    }

    /// The modules that `image`, which is the module `name`, would like to have: what depmod wrote, else what it says itself.
    #[must_use]
    pub fn soft_needs(&self, name: &str, image: &Image<'_>) -> SoftNeeds {
        let mut needs = SoftNeeds { before: Vec::new(), after: Vec::new(), source: Source::Modinfo };
        let mut add = |softdep: Softdep<'_>| {
            let list = if softdep.before { &mut needs.before } else { &mut needs.after };
            list.push(softdep.name.to_str_lossy().into_owned());
        };
        let written = text::text(self.folder(), "modules.softdep");
        match written.as_deref().and_then(|text| text::softdep(text, &normalise(name))) {
            Some(text) => {
                Softdep::parse(BStr::new(text)).for_each(&mut add);
                needs.source = Source::Depmod;
            }
            None => image.softdeps().for_each(&mut add),
        }
        needs
    }

    /// Whether the kernel of this tree has the module of this name built in.
    #[must_use]
    pub fn is_builtin(&self, name: &str) -> bool {
        text::is_builtin(self.folder(), &normalise(name))
    }

    /// The names of modules that are most like `name`, the most likely first.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn nearest(&self, name: &str) -> Result<Vec<String>, FileError> {
        let name = normalise(name);
        let most = (name.len() / 3).clamp(1, 3);
        let listing = self.listing()?;
        let mut names: Vec<(usize, &str)> = listing
            .files()
            .filter_map(|(candidate, _)| {
                let far = distance(name.as_bytes(), candidate.as_bytes(), most);
                // Who types the beginning of a longer name means that one.
                let begun = name.len() >= 3 && candidate.starts_with(&*name);
                (far <= most || begun).then_some((far, candidate))
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        Ok(names.into_iter().take(NEAREST).map(|(_, name)| name.to_owned()).collect())
    }
}
