//! What is different between two kernels and their modules, the one that breaks most first.
//!
//! The question behind it is an update's: which modules are gone or have become part of the kernel, which device is driven by another
//! module, which parameter in somebody's `modprobe.d` has lost its meaning, and which modules built elsewhere will not load any more, and
//! why.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bstr::{BStr, BString, ByteSlice};
use ferrmod_image::btf::{Btf, Kind, Node};
use ferrmod_image::{ExportClass, Image};
use ferrmod_index::{FileError, Progress, in_parallel};

use crate::check::Kernel;
use crate::check::prototype::{self, Comparison, Difference};

/// How many exports that differ are explained by their types.
const EXPLAINED: usize = 40;

/// What one module says about itself, as far as a difference is made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    licence: String,
    aliases: Vec<String>,
    parameters: BTreeMap<String, String>,
    exports: Vec<Export>,
    imports: Vec<BString>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Export {
    name: BString,
    crc: Option<u32>,
    gpl_only: bool,
    namespace: Option<String>,
}

/// A kernel with everything its modules say.
pub struct Side<'k> {
    kernel: &'k Kernel<'k>,
    modules: BTreeMap<String, Said>,
    /// Files that could not be read as modules.
    pub unreadable: Vec<FileError>,
}

/// A list that has changed, of one module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Changed {
    /// The module.
    pub module: String,
    /// What is new.
    pub added: Vec<String>,
    /// What is gone.
    pub removed: Vec<String>,
}

/// A text that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Replaced {
    /// The module.
    pub module: String,
    /// Before.
    pub from: String,
    /// Now.
    pub to: String,
}

/// What became of an exported symbol.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ExportChange {
    /// The symbol.
    pub symbol: String,
    /// Who exported it: a module, or `vmlinux`; `None` when nobody did.
    pub from: Option<String>,
    /// Who exports it now.
    pub to: Option<String>,
    /// Its CRC before.
    pub crc_from: Option<u32>,
    /// Its CRC now.
    pub crc_to: Option<u32>,
    /// It is for GPL-compatible modules only now, or no longer.
    pub gpl_only: Option<bool>,
    /// Its namespace now, when that has changed.
    pub namespace: Option<String>,
    /// How many modules of the first tree use it.
    pub users: usize,
    /// What is different in its type, for those with the most users.
    pub compared: Option<Comparison>,
}

/// A struct or union that is laid out differently.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StructChange {
    /// Its name.
    pub name: String,
    /// What is different.
    pub what: Difference,
    /// How many functions that the first kernel exports take it or return it.
    pub functions: usize,
}

/// Everything that is different.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Differences {
    /// The release of the first kernel.
    pub from: String,
    /// The release of the second one.
    pub to: String,
    /// Modules that are new.
    pub modules_added: Vec<String>,
    /// Modules that are gone and not built in.
    pub modules_removed: Vec<String>,
    /// Modules that are built in now.
    pub modules_built_in: Vec<String>,
    /// Aliases of modules that both have.
    pub aliases: Vec<Changed>,
    /// Aliases that another module has now: alias, before, now.
    pub aliases_moved: Vec<(String, String, String)>,
    /// Parameters (name and type) of modules that both have.
    pub parameters: Vec<Changed>,
    /// Licences.
    pub licences: Vec<Replaced>,
    /// Exports that are gone, those with the most users first.
    pub exports_removed: Vec<ExportChange>,
    /// Exports whose CRC, owner, licence or namespace has changed, those with the most users first.
    pub exports_changed: Vec<ExportChange>,
    /// Exports that are new.
    pub exports_added: Vec<ExportChange>,
    /// How many exports are the same.
    pub exports_same: usize,
    /// Structs and unions, those that most exported functions take first.
    pub structs: Vec<StructChange>,
}

impl<'k> Side<'k> {
    /// Reads every module of a kernel's tree.
    ///
    /// # Errors
    /// When the tree cannot be read, or there is none.
    pub fn read(kernel: &'k Kernel<'k>, progress: Progress<'_>) -> Result<Side<'k>, FileError> {
        let mut files = match &kernel.modules {
            Some((index, _)) => index.modules()?,
            None => Vec::new(),
        };
        let done = AtomicUsize::new(0);
        // Of several files of one name the first counts.
        files.dedup_by(|later, earlier| later.name == earlier.name);
        let read = in_parallel(&files, |file| {
            progress(done.fetch_add(1, Ordering::Relaxed), files.len());
            (file.name.clone(), said(&file.path))
        });
        let (mut modules, mut unreadable) = (BTreeMap::new(), Vec::new());
        for (name, said) in read {
            match said {
                Ok(said) => drop(modules.insert(name, said)),
                Err(error) => unreadable.push(error),
            }
        }
        unreadable.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Side { kernel, modules, unreadable })
    }

    /// Every export, the kernel's own and those of its modules, with its owner.
    fn exports(&self) -> BTreeMap<BString, (String, Export)> {
        let mut exports = BTreeMap::new();
        for (module, said) in &self.modules {
            for export in &said.exports {
                exports.insert(export.name.clone(), (module.clone(), export.clone()));
            }
        }
        for name in self.kernel.export_names() {
            let Some(export) = self.kernel.export(name) else { continue };
            let export = Export {
                name: name.to_owned(),
                crc: export.crc,
                gpl_only: export.gpl_only,
                namespace: export.namespace.map(|name| name.to_str_lossy().into_owned()),
            };
            exports.insert(name.to_owned(), ("vmlinux".to_owned(), export));
        }
        exports
    }
}

/// What one file says.
fn said(path: &Path) -> Result<Said, FileError> {
    let bytes = ferrmod_index::read_module(path)?;
    let image = Image::read(&bytes).map_err(|error| FileError::read(path, error))?;
    let text = |text: &BStr| text.to_str_lossy().into_owned();
    let mut aliases: Vec<String> = image.modinfo().all("alias").map(text).collect();
    aliases.sort_unstable();
    aliases.dedup();
    Ok(Said {
        licence: image.licence().map(text).unwrap_or_default(),
        aliases,
        parameters: image
            .parameters()
            .iter()
            .filter(|parameter| parameter.perm.is_some())
            .map(|parameter| (text(parameter.name), parameter.kind.map(text).unwrap_or_default()))
            .collect(),
        exports: image
            .exports()
            .iter()
            .map(|export| Export {
                name: export.name.to_owned(),
                crc: export.crc,
                gpl_only: export.class == ExportClass::GplOnly,
                namespace: export.namespace.map(text),
            })
            .collect(),
        imports: image.imports().map(|import| import.name.to_owned()).collect(),
    })
}

/// What is on one side alone.
fn only<'n>(these: impl Iterator<Item = &'n String>, those: &HashSet<&String>) -> Vec<String> {
    these.filter(|one| !those.contains(one)).cloned().collect()
}

/// Compares two kernels and their modules.
#[must_use]
pub fn diff(from: &Side<'_>, to: &Side<'_>) -> Differences {
    let mut all =
        Differences { from: from.kernel.release.clone(), to: to.kernel.release.clone(), ..Differences::default() };
    modules(from, to, &mut all);
    exports(from, to, &mut all);
    if let (Some(before), Some(after)) = (from.kernel.btf(), to.kernel.btf()) {
        all.structs = structs(from.kernel, before, after);
    }
    all
}

fn modules(from: &Side<'_>, to: &Side<'_>, all: &mut Differences) {
    let names = |side: &Side<'_>| -> Vec<String> { side.modules.keys().cloned().collect() };
    let (before, after) = (names(from), names(to));
    all.modules_added = only(after.iter(), &before.iter().collect());
    let gone = only(before.iter(), &after.iter().collect());
    (all.modules_built_in, all.modules_removed) = gone.into_iter().partition(|name| to.kernel.built_in(name).is_some());

    // Who has an alias now.
    let mut owners: HashMap<&String, &String> = HashMap::new();
    for (module, said) in &to.modules {
        for alias in &said.aliases {
            owners.entry(alias).or_insert(module);
        }
    }
    for (module, old) in &from.modules {
        for alias in &old.aliases {
            let here = to.modules.get(module).is_some_and(|new| new.aliases.contains(alias));
            if let Some(owner) = owners.get(alias).filter(|_| !here) {
                all.aliases_moved.push((alias.clone(), module.clone(), (*owner).clone()));
            }
        }
        let Some(new) = to.modules.get(module) else { continue };
        let changed = |before: Vec<String>, after: Vec<String>| {
            let added = only(after.iter(), &before.iter().collect());
            let removed = only(before.iter(), &after.iter().collect());
            let any = !(added.is_empty() && removed.is_empty());
            any.then(|| Changed { module: module.clone(), added, removed })
        };
        all.aliases.extend(changed(old.aliases.clone(), new.aliases.clone()));
        let typed = |said: &Said| -> Vec<String> {
            said.parameters
                .iter()
                .map(|(name, kind)| if kind.is_empty() { name.clone() } else { format!("{name}:{kind}") })
                .collect()
        };
        all.parameters.extend(changed(typed(old), typed(new)));
        if old.licence != new.licence {
            all.licences.push(Replaced { module: module.clone(), from: old.licence.clone(), to: new.licence.clone() });
        }
    }
}

fn exports(from: &Side<'_>, to: &Side<'_>, all: &mut Differences) {
    let mut users: HashMap<&BStr, usize> = HashMap::new();
    for said in from.modules.values() {
        for import in &said.imports {
            *users.entry(BStr::new(import)).or_default() += 1;
        }
    }
    let (before, after) = (from.exports(), to.exports());
    for (name, (owner, old)) in &before {
        let new = after.get(name);
        let same = new.is_some_and(|(other, new)| other == owner && new == old);
        if same {
            all.exports_same += 1;
            continue;
        }
        let change = ExportChange {
            symbol: name.to_str_lossy().into_owned(),
            from: Some(owner.clone()),
            to: new.map(|(owner, _)| owner.clone()),
            crc_from: old.crc,
            crc_to: new.and_then(|(_, new)| new.crc),
            gpl_only: new.map(|(_, new)| new.gpl_only).filter(|now| *now != old.gpl_only),
            namespace: new
                .filter(|(_, new)| new.namespace != old.namespace)
                .map(|(_, new)| new.namespace.clone().unwrap_or_default()),
            users: users.get(BStr::new(name)).copied().unwrap_or(0),
            compared: None,
        };
        if new.is_some() { all.exports_changed.push(change) } else { all.exports_removed.push(change) }
    }
    for (name, (owner, new)) in &after {
        if !before.contains_key(name) {
            all.exports_added.push(ExportChange {
                symbol: name.to_str_lossy().into_owned(),
                from: None,
                to: Some(owner.clone()),
                crc_from: None,
                crc_to: new.crc,
                gpl_only: None,
                namespace: new.namespace.clone(),
                users: 0,
                compared: None,
            });
        }
    }
    let by_users = |changes: &mut Vec<ExportChange>| {
        changes.sort_by(|a, b| b.users.cmp(&a.users).then_with(|| a.symbol.cmp(&b.symbol)));
    };
    by_users(&mut all.exports_removed);
    by_users(&mut all.exports_changed);
    if let (Some(before), Some(after)) = (from.kernel.btf(), to.kernel.btf()) {
        let of_the_kernel = |change: &&mut ExportChange| {
            change.crc_from != change.crc_to
                && change.from.as_deref() == Some("vmlinux")
                && change.to.as_deref() == Some("vmlinux")
        };
        for change in all.exports_changed.iter_mut().filter(of_the_kernel).take(EXPLAINED) {
            change.compared = Some(prototype::compare(BStr::new(&change.symbol), before, after));
        }
    }
}

/// The structs and unions that both kernels know by name and lay out differently.
fn structs(kernel: &Kernel<'_>, before: &Btf<'_>, after: &Btf<'_>) -> Vec<StructChange> {
    let mut functions: HashMap<BString, usize> = HashMap::new();
    for name in kernel.export_names() {
        let Some(function) = before.function(name) else { continue };
        let mut seen: Vec<BString> = Vec::new();
        for id in function.params().map(|parameter| parameter.type_id).chain([function.returns()]) {
            if let Some(name) = struct_behind(before, id)
                && !seen.contains(&name)
            {
                seen.push(name);
            }
        }
        seen.into_iter().for_each(|name| *functions.entry(name).or_default() += 1);
    }
    let mut looked: HashSet<BString> = HashSet::new();
    let mut changes = Vec::new();
    for id in 1..before.types_len() {
        if !matches!(before.kind(id), Some(Kind::Struct | Kind::Union)) {
            continue;
        }
        let name = before.name(id);
        // Several private structs may have one name; which is whose cannot be told.
        let twice = before.structs_named(name).nth(1).is_some() || after.structs_named(name).nth(1).is_some();
        if name.is_empty() || twice || !looked.insert(name.to_owned()) {
            continue;
        }
        if let Some(what) = prototype::compare_structs(name, before, after) {
            let functions = functions.get(name.as_bytes().as_bstr()).copied().unwrap_or(0);
            changes.push(StructChange { name: name.to_str_lossy().into_owned(), what, functions });
        }
    }
    changes.sort_by(|a, b| b.functions.cmp(&a.functions).then_with(|| a.name.cmp(&b.name)));
    changes
}

/// The struct that a parameter is, or points at.
fn struct_behind(btf: &Btf<'_>, mut id: u32) -> Option<BString> {
    for _ in 0..32 {
        id = match btf.node(id) {
            Node::Pointer(to) | Node::Typedef { to, .. } | Node::Qualified { to, .. } => to,
            Node::Array { element, .. } => element,
            Node::Struct(found) => return (!found.name().is_empty()).then(|| found.name().to_owned()),
            _ => return None,
        };
    }
    None
}
