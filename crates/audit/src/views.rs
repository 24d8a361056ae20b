//! The views in which a kernel shows its modules, held against each other.
//!
//! A module that takes itself out of one list is still in the others, because each is kept by another part of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ferrmod_linux::{Kernel, State};
use serde::Serialize;

use crate::owners::owners;
use ferrmod_image::shown;

/// Far more than the lists of the largest kernels have: `/proc/kallsyms` has some 10 MiB.
const LARGEST: u64 = 1 << 28;

/// One of the views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ViewName {
    /// The list of modules, `/proc/modules`.
    Modules,
    /// The folders in `/sys/module` that say what stage their module is in.
    Sysfs,
    /// Who holds whom: the users in `/proc/modules` and `/sys/module/*/holders`.
    Holders,
    /// Whose drivers they are: `/sys/bus/*/drivers/*/module`.
    Drivers,
    /// The owners of symbols in `/proc/kallsyms`.
    Kallsyms,
    /// The types of modules, `/sys/kernel/btf`.
    Btf,
    /// The owners of functions in tracing's `available_filter_functions`.
    Tracing,
}

impl fmt::Display for ViewName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modules => "/proc/modules",
            Self::Sysfs => "/sys/module",
            Self::Holders => "the lists of holders",
            Self::Drivers => "the drivers of buses",
            Self::Kallsyms => "/proc/kallsyms",
            Self::Btf => "/sys/kernel/btf",
            Self::Tracing => "tracing's list of functions",
        })
    }
}

/// What was seen of modules in one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct View {
    /// Which one.
    pub view: ViewName,
    /// Where it is.
    pub path: String,
    /// How many modules it shows.
    pub modules: usize,
    /// Why it could not be read, and what would help.
    pub unreadable: Option<String>,
    /// The modules and what was seen of each.
    #[serde(skip)]
    pub(crate) seen: BTreeMap<String, String>,
}

impl View {
    fn new(view: ViewName, path: &Path, seen: Result<BTreeMap<String, String>, String>) -> Self {
        let (seen, unreadable) = match seen {
            Ok(seen) => (seen, None),
            Err(reason) => (BTreeMap::new(), Some(reason)),
        };
        Self { view, path: shown(path.as_os_str().as_encoded_bytes()), modules: seen.len(), unreadable, seen }
    }
}

/// All views of `kernel` but the list itself, whose modules are `listed` (name and users).
pub(crate) fn views<'a>(kernel: &Kernel, listed: impl Iterator<Item = (&'a str, &'a [String])>) -> Vec<View> {
    let roots = kernel.roots();
    let folder = roots.sys.join("module");
    let bus = roots.sys.join("bus");
    let btf = roots.sys.join("kernel/btf");
    let kallsyms = roots.proc.join("kallsyms");
    let tracing = [roots.sys.join("kernel/tracing"), roots.sys.join("kernel/debug/tracing")];
    let tracing = tracing.map(|folder| folder.join("available_filter_functions"));
    // debugfs has the old place of tracefs, which is mounted there only when somebody looks.
    let tracing = tracing.iter().find(|path| path.is_file()).unwrap_or(&tracing[0]);
    vec![
        View::new(ViewName::Sysfs, &folder, sysfs(kernel, &folder)),
        View::new(ViewName::Holders, &folder, holders(&folder, listed)),
        View::new(ViewName::Drivers, &bus, drivers(&bus, &folder)),
        View::new(ViewName::Kallsyms, &kallsyms, owned(&kallsyms, "symbol")),
        View::new(ViewName::Btf, &btf, types(&btf)),
        View::new(ViewName::Tracing, tracing, owned(tracing, "function")),
    ]
}

/// Why something could not be read, with what would help.
pub(crate) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "not permitted; root may read it".to_owned(),
        io::ErrorKind::NotFound => "not there; the kernel was built without it, or it is not mounted".to_owned(),
        _ => error.to_string(),
    }
}

fn names(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(&error))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn name_of(path: &Path) -> String {
    shown(path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default())
}

fn sysfs(kernel: &Kernel, folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut seen = BTreeMap::new();
    for path in names(folder)? {
        let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
        let state = kernel.module(name).and_then(|module| module.state());
        // What cannot be read says at least that there is a module.
        let said = match state {
            Ok(State::Absent | State::Folder) => continue,
            Ok(State::Module(state)) => format!("{state:?}").to_lowercase(),
            Err(error) => error.problem.to_string(),
        };
        seen.insert(shown(name), format!("its state there is {said}"));
    }
    Ok(seen)
}

fn holders<'a>(
    folder: &Path,
    listed: impl Iterator<Item = (&'a str, &'a [String])>,
) -> Result<BTreeMap<String, String>, String> {
    let mut seen = BTreeMap::new();
    for (name, users) in listed {
        for user in users {
            seen.entry(user.clone()).or_insert_with(|| format!("it uses {name}"));
        }
    }
    for path in names(folder)? {
        for holder in fs::read_dir(path.join("holders")).into_iter().flatten().flatten() {
            seen.entry(name_of(&holder.path())).or_insert_with(|| format!("it holds {}", name_of(&path)));
        }
    }
    Ok(seen)
}

/// The folders of all drivers of a system, each with its name as `BUS:DRIVER`.
pub(crate) fn driver_folders(bus: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut folders = Vec::new();
    for bus in names(bus)? {
        for driver in fs::read_dir(bus.join("drivers")).into_iter().flatten().flatten() {
            folders.push((format!("{}:{}", name_of(&bus), name_of(&driver.path())), driver.path()));
        }
    }
    Ok(folders)
}

/// The modules of drivers. A driver of something that is built in has a folder in `/sys/module` as well, but no state there; so only
/// those count that have a state, and those whose folder is gone.
fn drivers(bus: &Path, modules: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut seen = BTreeMap::new();
    for (driver, folder) in driver_folders(bus)? {
        let Ok(target) = fs::read_link(folder.join("module")) else { continue };
        let Some(module) = target.file_name() else { continue };
        let module_folder = modules.join(module);
        if module_folder.join("initstate").exists() || !module_folder.exists() {
            seen.insert(shown(module.as_encoded_bytes()), format!("it has driver {driver}"));
        }
    }
    Ok(seen)
}

fn types(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let names = names(folder)?.into_iter().map(|path| name_of(&path)).filter(|name| name != "vmlinux");
    Ok(names.map(|name| (name, "its types are there".to_owned())).collect())
}

fn owned(path: &Path, what: &str) -> Result<BTreeMap<String, String>, String> {
    let mut text = Vec::new();
    // A pipe in a copy of these files would be waited for.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err("not a file".to_owned());
    }
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text))
        .map_err(|error| unreadable(&error))?;
    if text.len() as u64 > LARGEST {
        return Err(format!("larger than {LARGEST} bytes"));
    }
    if text.trim_ascii().is_empty() {
        return Err("empty; root may read it".to_owned());
    }
    let said = |count: usize| format!("{count} {what}{} of it", if count == 1 { "" } else { "s" });
    let seen = owners(&text).into_iter().map(|(name, count)| (shown(name), said(count)));
    Ok(seen.collect())
}

/// The modules that a view shows and the list does not.
pub(crate) fn hidden(views: &[View], listed: &BTreeSet<&str>) -> BTreeSet<(ViewName, String)> {
    let unlisted = |view: &View| {
        let names = view.seen.keys().filter(|name| !listed.contains(name.as_str()));
        names.map(|name| (view.view, name.clone())).collect::<Vec<_>>()
    };
    views.iter().flat_map(unlisted).collect()
}
