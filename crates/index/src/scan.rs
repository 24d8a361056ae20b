//! What all modules of a tree say, taken together: aliases, exports, dependencies.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bstr::{BStr, ByteSlice};
use ferrmod_image::{Image, fnmatch, normalise_alias};
use hashbrown::HashMap;

use crate::cache::Cache;
use crate::file::{FileError, read_module};
use crate::listing::Listing;
use crate::name::normalise;
use crate::parallel::in_parallel;
use crate::table::{self, Table};

/// What the facts are kept as.
const WHAT: &str = "facts";

/// What the modules of a tree say.
pub struct Facts {
    /// Name → time and size of its file.
    stamps: Vec<u8>,
    /// Alias, normalised → name; in the order in which aliases are tried.
    aliases: Vec<u8>,
    /// Symbol → name; sorted.
    exports: Vec<u8>,
    /// Name → names of the modules whose symbols it uses, separated by spaces; sorted.
    needs: Vec<u8>,
    /// Files that could not be read; not known when the facts come from the cache.
    unreadable: Vec<FileError>,
    /// Whether this comes from the cache and may be out of date.
    pub(crate) from_cache: bool,
}

/// What one module says.
struct Said {
    aliases: Vec<Vec<u8>>,
    exports: Vec<Vec<u8>>,
    imports: Vec<Vec<u8>>,
}

/// What tells that a file is the same as before.
fn stamp(path: &Path) -> Option<[u8; 24]> {
    let metadata = fs::metadata(path).ok()?;
    let mut stamp = [0; 24];
    let words = [metadata.size(), metadata.mtime() as u64, metadata.mtime_nsec() as u64];
    for (to, word) in stamp.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    Some(stamp)
}

impl Facts {
    /// The facts about the files of `listing`, from the cache if it knows them, else from the files.
    pub(crate) fn load(tree: &Path, listing: &Listing, cache: Option<&Cache>) -> Facts {
        if let Some([of, stamps, aliases, exports, needs]) = cache.and_then(|cache| cache.load::<5>(WHAT))
            && of == listing.stamp()
        {
            return Facts { stamps, aliases, exports, needs, unreadable: Vec::new(), from_cache: true };
        }
        Facts::scan(tree, listing, cache)
    }

    /// The facts from the files, for the cache.
    pub(crate) fn scan(tree: &Path, listing: &Listing, cache: Option<&Cache>) -> Facts {
        let mut files: Vec<(&str, PathBuf)> = Vec::with_capacity(listing.len());
        for (name, path) in listing.files() {
            // The first of a name is the one that counts.
            if files.last().is_none_or(|&(last, _)| last != name) {
                files.push((name, tree.join(path)));
            }
        }
        let stamps: Vec<_> = files.iter().map(|(name, path)| (*name, stamp(path).unwrap_or_default())).collect();
        let (said, unreadable) = read_all(&files);

        let mut exporters: HashMap<&[u8], &str> = HashMap::new();
        for ((name, _), said) in files.iter().zip(&said) {
            for export in said.iter().flat_map(|said| &said.exports) {
                // Of two exporters the one that comes later counts, as in depmod.
                exporters.insert(export, name);
            }
        }
        let needs: Vec<(&str, String)> = files
            .iter()
            .zip(&said)
            .map(|((name, _), said)| {
                let imports = said.iter().flat_map(|said| &said.imports);
                let mut needed: Vec<&str> = imports
                    .filter_map(|import| exporters.get(&import[..]).copied())
                    .filter(|needed| needed != name)
                    .collect();
                needed.sort_unstable();
                needed.dedup();
                (*name, needed.join(" "))
            })
            .collect();
        let mut exports: Vec<_> = exporters.iter().map(|(&symbol, &name)| (symbol, name)).collect();
        exports.sort_unstable();

        let order = order(tree, &files);
        let aliases: Vec<(&[u8], &str)> = order
            .iter()
            .filter_map(|&index| Some((files.get(index)?.0, said.get(index)?.as_ref()?)))
            .flat_map(|(name, said)| said.aliases.iter().map(move |alias| (&alias[..], name)))
            .collect();

        let facts = Facts {
            stamps: table::build(&stamps),
            aliases: table::build(&aliases),
            exports: table::build(&exports),
            needs: table::build(&needs),
            unreadable,
            from_cache: false,
        };
        // Facts with holes would be believed later, when the hole may have been filled.
        if let Some(cache) = cache
            && facts.unreadable.is_empty()
        {
            cache.store(WHAT, &[&listing.stamp(), &facts.stamps, &facts.aliases, &facts.exports, &facts.needs]);
        }
        facts
    }

    /// The aliases that match `name`, with their modules.
    #[must_use]
    pub fn aliases(&self, name: &str) -> Vec<(String, String)> {
        let name = normalise_alias(name.as_bytes());
        Table::new(&self.aliases)
            .iter()
            .filter(|(pattern, _)| fnmatch(pattern, &name))
            .map(|(pattern, module)| (pattern.to_str_lossy().into_owned(), module.to_str_lossy().into_owned()))
            .collect()
    }

    /// Every alias with its module, in the order in which they are tried.
    pub fn all_aliases(&self) -> impl Iterator<Item = (&BStr, &BStr)> {
        Table::new(&self.aliases).iter().map(|(pattern, module)| (BStr::new(pattern), BStr::new(module)))
    }

    /// The module that exports `symbol`.
    #[must_use]
    pub fn exporter(&self, symbol: &BStr) -> Option<&str> {
        std::str::from_utf8(Table::new(&self.exports).find(symbol)?).ok()
    }

    /// The number of symbols that modules of the tree export.
    #[must_use]
    pub fn exports_len(&self) -> usize {
        Table::new(&self.exports).len()
    }

    /// The modules whose symbols the module of this (normalised) name uses, sorted; `None` when it is not known.
    #[must_use]
    pub fn needs(&self, name: &str) -> Option<Vec<&str>> {
        let needs = std::str::from_utf8(Table::new(&self.needs).find(name.as_bytes())?).ok()?;
        Some(needs.split(' ').filter(|name| !name.is_empty()).collect())
    }

    /// The modules whose symbols `image` uses, sorted.
    #[must_use]
    pub fn needs_of(&self, image: &Image<'_>) -> Vec<String> {
        let own = image.name().map(|name| normalise(&name.to_str_lossy()).into_owned());
        let mut needs: Vec<String> = image
            .imports()
            .filter_map(|import| self.exporter(import.name))
            .filter(|needed| Some(*needed) != own.as_deref())
            .map(str::to_owned)
            .collect();
        needs.sort_unstable();
        needs.dedup();
        needs
    }

    /// The files that are named as modules and cannot be read as such. Empty when the facts come from the cache, which keeps none
    /// that have such holes.
    #[must_use]
    pub fn unreadable(&self) -> &[FileError] {
        &self.unreadable
    }

    /// Whether the file of module `name` is the one that these facts are of.
    pub(crate) fn holds(&self, name: &str, path: &Path) -> bool {
        Table::new(&self.stamps).find(name.as_bytes()).is_some_and(|kept| stamp(path).is_some_and(|now| now == *kept))
    }

    /// Whether every file is the one that these facts are of.
    pub(crate) fn is_current(&self, tree: &Path, listing: &Listing) -> bool {
        let mut last = "";
        listing.files().all(|(name, path)| {
            let first = name != last;
            last = name;
            !first || self.holds(name, &tree.join(path))
        })
    }
}

/// Reads every file, with all processors.
fn read_all(files: &[(&str, PathBuf)]) -> (Vec<Option<Said>>, Vec<FileError>) {
    let mut unreadable = Vec::new();
    let said = in_parallel(files, |(_, path)| read_one(path))
        .into_iter()
        .map(|result| result.map_err(|error| unreadable.push(error)).ok())
        .collect();
    unreadable.sort_by(|a, b| a.path.cmp(&b.path));
    (said, unreadable)
}

/// What one file says.
fn read_one(path: &Path) -> Result<Said, FileError> {
    let bytes = read_module(path)?;
    let image = Image::read(&bytes).map_err(|error| FileError::read(path, error))?;
    Ok(Said {
        aliases: image.modinfo().all("alias").map(|alias| normalise_alias(alias).into_owned()).collect(),
        exports: image.exports().iter().map(|export| export.name.to_vec()).collect(),
        imports: image.imports().map(|import| import.name.to_vec()).collect(),
    })
}

/// The order in which the aliases of modules are tried: that of `modules.order`, then the rest by path.
fn order(tree: &Path, files: &[(&str, PathBuf)]) -> Vec<usize> {
    let text = fs::read(tree.join("modules.order")).unwrap_or_default();
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    for (place, line) in text.lines().enumerate() {
        places.entry(line).or_insert(place);
    }
    let place = |path: &Path| {
        let path = path.strip_prefix(tree).ok()?.as_os_str().as_bytes();
        let plain = [&b".xz"[..], b".gz", b".zst"].iter().find_map(|ending| path.strip_suffix(*ending)).unwrap_or(path);
        places.get(plain).copied()
    };
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_cached_key(|&index| {
        let path = files.get(index).map(|(_, path)| path.clone()).unwrap_or_default();
        (place(&path).unwrap_or(usize::MAX), path)
    });
    order
}
