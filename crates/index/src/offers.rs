//! What the modules of a tree export and what they say about themselves, in the detail that linking asks for: versions, namespaces,
//! licences.
//!
//! [`Facts`](crate::Facts) answers by name alone and suffices to find a module. Whether another module fits it is told by this.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bstr::{BStr, ByteSlice};
use ferrmod_image::linux::signature_of;
use ferrmod_image::{ExportClass, Image};

use crate::cache::Cache;
use crate::file::{FileError, read_module};
use crate::index::Index;
use crate::listing::Listing;
use crate::name::normalise;
use crate::parallel::in_parallel;
use crate::table::{self, Table};

/// What the offers are kept as; the number is the version of their form.
const WHAT: &str = "offers-1";

/// Bytes before the texts of a module's entry: the stamp of its file, then its flags.
const STAMP: usize = 24;

/// Flag of a module: its file could not be read as one.
const UNREADABLE: u8 = 1;
/// Flag of a module: its licence is compatible with the GPL.
const GPL: u8 = 2;
/// Flag of a module: `intree=` is there.
const IN_TREE: u8 = 4;
/// Flag of a module: a signature is appended that has the form Linux takes.
const SIGNED: u8 = 8;
/// Flag of a module: there are CRCs of what it imports.
const VERSIONS: u8 = 16;

/// A symbol that a module of the tree exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The module's number, for [`Offers::module`].
    pub module: u32,
    /// The CRC of its type, with `CONFIG_MODVERSIONS`.
    pub crc: Option<u32>,
    /// Only for modules with a licence compatible with the GPL.
    pub gpl_only: bool,
    /// The namespace that a user has to import.
    pub namespace: Option<&'a BStr>,
}

/// What a module of the tree says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferingModule<'a> {
    /// Its name by its file, normalised.
    pub name: &'a str,
    /// Its file, in the tree.
    pub path: &'a Path,
    /// Its name in `.modinfo`; empty when it states none.
    pub stated: &'a BStr,
    /// Its `vermagic`; `None` when it states none.
    pub vermagic: Option<&'a BStr>,
    /// The modules it says it needs, as they are spelled there, separated by commas.
    pub depends: &'a str,
    /// Whether its file is no module that can be read; then nothing but its name and path is known.
    pub unreadable: bool,
    /// Whether its licence is compatible with the GPL.
    pub gpl: bool,
    /// Whether it says that it was built with its kernel.
    pub in_tree: bool,
    /// Whether it carries a signature in the form that Linux takes.
    pub signed: bool,
    /// Whether it has the CRCs of what it imports.
    pub versions: bool,
}

/// What the modules of one tree offer.
pub struct Offers {
    folder: PathBuf,
    /// Name → stamp, flags, and texts separated by NULs; in the order of the listing.
    modules: Vec<u8>,
    /// Symbol → module, CRC, flags, namespace; sorted by symbol, exporters in the order of the modules.
    symbols: Vec<u8>,
    from_cache: bool,
}

/// How far a scan of a tree is: files read, and how many there are.
pub type Progress<'p> = &'p (dyn Fn(usize, usize) + Sync);

/// What one file says.
struct Said {
    entry: Vec<u8>,
    exports: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What tells that a file is the same as before.
fn stamp(path: &Path) -> Option<[u8; STAMP]> {
    let metadata = fs::metadata(path).ok()?;
    let mut stamp = [0; STAMP];
    let words = [metadata.size(), metadata.mtime() as u64, metadata.mtime_nsec() as u64];
    for (to, word) in stamp.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    Some(stamp)
}

impl Index {
    /// What the modules of the tree export, from the cache if the files it was made of are still in their places, else from the files
    /// (`progress` is told how far that is).
    ///
    /// A file that was overwritten where it stood is noticed by [`Offers::holds`] alone, which asks about one file; then
    /// [`Index::scan_offers`] is due.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn offers(&self, progress: Progress<'_>) -> Result<Offers, FileError> {
        let (listing, cache) = self.files()?;
        if let Some([of, modules, symbols]) = cache.and_then(|cache| cache.load::<3>(WHAT))
            && of == listing.stamp()
        {
            return Ok(Offers { folder: self.tree().folder.clone(), modules, symbols, from_cache: true });
        }
        Ok(Offers::scan(&self.tree().folder, &listing, cache, progress))
    }

    /// As [`Index::offers`], from the files.
    ///
    /// # Errors
    /// When the tree's folder cannot be read.
    pub fn scan_offers(&self, progress: Progress<'_>) -> Result<Offers, FileError> {
        let (listing, cache) = self.files()?;
        Ok(Offers::scan(&self.tree().folder, &listing, cache, progress))
    }
}

impl Offers {
    fn scan(tree: &Path, listing: &Listing, cache: Option<&Cache>, progress: Progress<'_>) -> Offers {
        let mut files: Vec<(&str, &Path)> = Vec::with_capacity(listing.len());
        for (name, path) in listing.files() {
            // The first of a name is the one that counts.
            if files.last().is_none_or(|&(last, _)| last != name) {
                files.push((name, path));
            }
        }
        let said = read_all(tree, &files, progress);
        let modules: Vec<(&str, &[u8])> =
            files.iter().zip(&said).map(|((name, _), said)| (*name, &said.entry[..])).collect();
        let mut symbols: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for (number, said) in (0u32..).zip(&said) {
            for (name, value) in &said.exports {
                symbols.push((name, [&number.to_le_bytes()[..], value].concat()));
            }
        }
        // Stable, so that exporters of one symbol stay in the order of the modules.
        symbols.sort_by(|a, b| a.0.cmp(b.0));
        let offers = Offers {
            folder: tree.to_owned(),
            modules: table::build(&modules),
            symbols: table::build(&symbols),
            from_cache: false,
        };
        if let Some(cache) = cache {
            cache.store(WHAT, &[&listing.stamp(), &offers.modules, &offers.symbols]);
        }
        offers
    }

    /// The number of modules.
    #[must_use]
    pub fn modules_len(&self) -> u32 {
        u32::try_from(Table::new(&self.modules).len()).unwrap_or(u32::MAX)
    }

    /// The number of exported symbols, each counted as often as it is exported.
    #[must_use]
    pub fn symbols_len(&self) -> usize {
        Table::new(&self.symbols).len()
    }

    /// Module `number`.
    #[must_use]
    pub fn module(&self, number: u32) -> Option<OfferingModule<'_>> {
        let (name, value) = Table::new(&self.modules).get(number as usize)?;
        let (_, value) = value.split_at_checked(STAMP)?;
        let (&flags, texts) = value.split_first()?;
        let mut texts = texts.split(|&byte| byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        let (path, stated, vermagic, depends) = (text(), text(), text(), text());
        Some(OfferingModule {
            name: std::str::from_utf8(name).ok()?,
            path: Path::new(std::ffi::OsStr::from_bytes(path)),
            stated: BStr::new(stated),
            vermagic: (!vermagic.is_empty()).then_some(BStr::new(vermagic)),
            depends: std::str::from_utf8(depends).unwrap_or_default(),
            unreadable: flags & UNREADABLE != 0,
            gpl: flags & GPL != 0,
            in_tree: flags & IN_TREE != 0,
            signed: flags & SIGNED != 0,
            versions: flags & VERSIONS != 0,
        })
    }

    /// The file of a module.
    #[must_use]
    pub fn path(&self, module: &OfferingModule<'_>) -> PathBuf {
        self.folder.join(module.path)
    }

    /// The number of the module of this (normalised) name.
    #[must_use]
    pub fn find_module(&self, name: &str) -> Option<u32> {
        let table = Table::new(&self.modules);
        let at = lower_bound(table, name.as_bytes());
        table.get(at).filter(|(found, _)| *found == name.as_bytes())?;
        u32::try_from(at).ok()
    }

    /// Who exports `symbol`: mostly nobody or one.
    pub fn exporters<'s>(&'s self, symbol: &[u8]) -> impl Iterator<Item = Offer<'s>> + use<'s> {
        let table = Table::new(&self.symbols);
        let start = lower_bound(table, symbol);
        let count =
            (start..table.len()).take_while(|&at| table.get(at).is_some_and(|(name, _)| name == symbol)).count();
        (start..start + count).filter_map(move |at| offer(table.get(at)?.1))
    }

    /// Every symbol and who exports it, sorted.
    pub fn symbols(&self) -> impl Iterator<Item = (&BStr, Offer<'_>)> {
        Table::new(&self.symbols).iter().filter_map(|(name, value)| Some((BStr::new(name), offer(value)?)))
    }

    /// Whether the file of module `number` is the one that this was read from.
    #[must_use]
    pub fn holds(&self, number: u32) -> bool {
        if !self.from_cache {
            return true;
        }
        let same = || {
            let (_, value) = Table::new(&self.modules).get(number as usize)?;
            let path = self.path(&self.module(number)?);
            Some(stamp(&path)?[..] == *value.get(..STAMP)?)
        };
        same().unwrap_or(false)
    }

    /// Whether every file is the one that this was read from.
    #[must_use]
    pub fn is_current(&self) -> bool {
        (0..self.modules_len()).all(|number| self.holds(number))
    }
}

/// Where `key` is in a sorted table, or would be.
fn lower_bound(table: Table<'_>, key: &[u8]) -> usize {
    let (mut low, mut high) = (0, table.len());
    while low < high {
        let middle = low.midpoint(high);
        if table.get(middle).is_some_and(|(found, _)| found < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Flag of an export: the CRC is one.
const HAS_CRC: u8 = 1;
/// Flag of an export: for GPL-compatible modules only.
const GPL_ONLY: u8 = 2;

/// What an entry of the table of symbols says.
fn offer(value: &[u8]) -> Option<Offer<'_>> {
    let (module, value) = value.split_first_chunk::<4>()?;
    let (crc, value) = value.split_first_chunk::<4>()?;
    let (&flags, namespace) = value.split_first()?;
    Some(Offer {
        module: u32::from_le_bytes(*module),
        crc: (flags & HAS_CRC != 0).then(|| u32::from_le_bytes(*crc)),
        gpl_only: flags & GPL_ONLY != 0,
        namespace: (!namespace.is_empty()).then_some(BStr::new(namespace)),
    })
}

/// Reads every file, with all processors.
fn read_all(tree: &Path, files: &[(&str, &Path)], progress: Progress<'_>) -> Vec<Said> {
    let done = AtomicUsize::new(0);
    in_parallel(files, |(_, path)| {
        let said = read_one(tree, path);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
        said
    })
}

/// What one file says. A file that cannot be read is kept as such: its stamp tells when it has changed.
fn read_one(tree: &Path, path: &Path) -> Said {
    let file = tree.join(path);
    let stamp = stamp(&file).unwrap_or_default();
    let read = read_module(&file).ok();
    let image = read.as_deref().and_then(|bytes| Image::read(bytes).ok());
    let Some((bytes, image)) = read.as_deref().zip(image) else {
        let entry = [&stamp[..], &[UNREADABLE], path.as_os_str().as_bytes(), b"\0\0\0"].concat();
        return Said { entry, exports: Vec::new() };
    };
    let modinfo = image.modinfo();
    let exports = image.exports();
    let mut flags = 0;
    let mut set = |flag: u8, is: bool| flags |= if is { flag } else { 0 };
    set(GPL, image.is_gpl_compatible());
    set(IN_TREE, modinfo.get("intree").is_some());
    set(SIGNED, matches!(signature_of(bytes), Ok(Some(_))));
    set(VERSIONS, image.versions().is_some());
    let depends = image.depends().map(|name| normalise(&name.to_str_lossy()).into_owned()).collect::<Vec<_>>();
    let entry = [
        &stamp[..],
        &[flags],
        path.as_os_str().as_bytes(),
        b"\0",
        image.name().unwrap_or_default(),
        b"\0",
        modinfo.get("vermagic").unwrap_or_default(),
        b"\0",
        depends.join(",").as_bytes(),
    ]
    .concat();
    let exports = exports
        .iter()
        .map(|export| {
            let crc = if export.crc.is_some() { HAS_CRC } else { 0 };
            let gpl = if export.class == ExportClass::GplOnly { GPL_ONLY } else { 0 };
            let value = [
                &export.crc.unwrap_or(0).to_le_bytes()[..],
                &[crc | gpl],
                export.namespace.unwrap_or_default().as_bytes(),
            ]
            .concat();
            (export.name.to_vec(), value)
        })
        .collect();
    Said { entry, exports }
}
