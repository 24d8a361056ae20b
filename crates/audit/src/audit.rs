//! Looking at everything, and putting together what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferrmod_index::{Index, Tree as Folder, TreeError, in_parallel_reading};
use ferrmod_linux::{Kernel, LoadedModules};
use ferrmod_signature::Keyring;
use serde::{Deserialize, Serialize};

use crate::file::{self, ModuleFile};
use crate::judge::{Scene, judge};
use crate::module::{Loaded, Module};
use crate::packages::{Packaged, Packages};
use crate::settings::{self, Setting};
use crate::views::{self, View, ViewName};
use crate::{Evidence, Finding, Severity, Taint, drivers};
use ferrmod_image::shown;

/// How long after a first look a second one tells a module that hides from one that was just being loaded or unloaded.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// What is loaded.
    Loaded,
    /// What is installed.
    Installed,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loaded => "loaded",
            Self::Installed => "installed",
        })
    }
}

/// What to look at, and with what.
pub struct Options<'a> {
    /// What to look at.
    pub subject: Subject,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Whether it runs: then what it shows may change while it is looked at.
    pub running: bool,
    /// The root of the file system with the trees of modules and the database of packages.
    pub root: &'a Path,
    /// The program that is asked for rpm's database: `rpm`, or where it is.
    pub rpm: &'a OsStr,
    /// The kernel's release. `None`: the one that the kernel's files name; of what is installed, all there are.
    pub release: Option<&'a str>,
    /// The certificates that vouch for the modules of a tree, or why there are none.
    pub certificates: &'a (dyn Fn(&Folder) -> Result<Keyring, String> + Sync),
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The kernel does not list its modules.
    #[error("{0}")]
    Modules(ferrmod_linux::Error),
    /// There is no tree of modules.
    #[error("{0}")]
    Tree(#[from] TreeError),
    /// A tree cannot be read.
    #[error("{0}")]
    Listing(#[from] ferrmod_index::FileError),
}

/// Everything that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Audit {
    /// What was looked at.
    pub subject: Subject,
    /// The trees of modules.
    pub trees: Vec<Tree>,
    /// The database of packages; `None` when there is none that can be read.
    pub packages: Option<PackageDatabase>,
    /// The kernel's taints, a bit each; `None` when they are not known.
    pub tainted: Option<u64>,
    /// The modules, by name.
    pub modules: Vec<Module>,
    /// The views in which the kernel shows its modules.
    pub views: Vec<View>,
    /// The settings that matter.
    pub settings: Vec<Setting>,
    /// What was found, the gravest first, then by rule and module.
    pub findings: Vec<Finding>,
}

/// A tree of modules that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tree {
    /// The kernel's release.
    pub release: String,
    /// Its folder; `None` when there is none.
    pub folder: Option<String>,
    /// How many certificates vouch for its modules.
    pub certificates: usize,
}

/// A database of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PackageDatabase {
    /// Whose: `dpkg` or `rpm`.
    pub kind: &'static str,
    /// How many packages it has.
    pub packages: usize,
}

impl Audit {
    /// The kernels, by release.
    #[must_use]
    pub fn releases(&self) -> Vec<String> {
        self.trees.iter().map(|tree| tree.release.clone()).collect()
    }

    /// The gravest of the findings; `None` when nothing was found.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Takes in further findings, such as those of a [`Baseline`](crate::Baseline).
    pub fn add(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
        self.sort();
    }

    fn sort(&mut self) {
        self.findings.sort_by(|a, b| {
            let by_gravity = b.severity.cmp(&a.severity).then(a.rule.cmp(&b.rule));
            by_gravity.then_with(|| a.module.cmp(&b.module)).then_with(|| a.message.cmp(&b.message))
        });
    }
}

/// Looks at everything.
///
/// # Errors
/// [`AuditError`] when there is nothing to look at. What else cannot be read is a finding.
pub fn audit(options: &Options<'_>) -> Result<Audit, AuditError> {
    let mut audit = Audit {
        subject: options.subject,
        trees: Vec::new(),
        packages: None,
        tainted: None,
        modules: Vec::new(),
        views: Vec::new(),
        settings: Vec::new(),
        findings: Vec::new(),
    };
    let packages = database(options, &mut audit);
    match options.subject {
        Subject::Loaded => loaded(options, packages.as_ref(), &mut audit)?,
        Subject::Installed => installed(options, packages.as_ref(), &mut audit)?,
    }
    audit.sort();
    Ok(audit)
}

impl Audit {
    fn say(&mut self, module: Option<&str>, place: Option<String>, evidence: Evidence) {
        self.findings.push(Finding::new(module, place, evidence));
    }

    fn unchecked(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.say(None, None, Evidence::Unchecked { what: what.into(), reason: reason.into() });
    }
}

/// The database of packages. Where there are two of them, as on a system of one kind with the other's tools, that which knows modules.
fn database(options: &Options<'_>, audit: &mut Audit) -> Option<Packages> {
    const WHAT: &str = "files against packages";
    let dpkg = Packages::dpkg(options.root);
    let mut rpm = None;
    let mut missing = "there is no database of dpkg's or rpm's".to_owned();
    if dpkg.as_ref().is_none_or(Packages::is_empty) {
        match Packages::rpm(options.root, options.rpm) {
            Some(Ok(found)) => rpm = Some(found).filter(|found| dpkg.is_none() || !found.is_empty()),
            Some(Err(reason)) if dpkg.is_some() => audit.unchecked(WHAT, reason),
            Some(Err(reason)) => missing = reason,
            None => {}
        }
    }
    let Some(packages) = rpm.or(dpkg) else {
        audit.unchecked(WHAT, missing);
        return None;
    };
    for problem in packages.problems() {
        audit.unchecked(WHAT, problem.clone());
    }
    audit.packages = Some(PackageDatabase { kind: packages.kind(), packages: packages.packages() });
    Some(packages)
}

/// A tree with what is needed to judge its modules.
struct Stage<'a> {
    tree: Folder,
    keyring: Option<Keyring>,
    packages: Option<&'a Packages>,
    /// Whose database of packages knows a module of the tree.
    packaged: Option<&'static str>,
    index: Index,
    files: Vec<ferrmod_index::ModuleFile>,
}

impl<'a> Stage<'a> {
    fn new(
        tree: Folder,
        options: &Options<'_>,
        packages: Option<&'a Packages>,
        audit: &mut Audit,
    ) -> Result<Self, AuditError> {
        // A cache is the user's, and this looks at what is there.
        let index = Index::with_cache(tree.clone(), None);
        let files = index.modules()?;
        let keyring = match (options.certificates)(&tree) {
            Ok(keyring) => Some(keyring),
            Err(reason) => {
                audit.unchecked(format!("signatures of {}", shown(tree.release.as_bytes())), shown(reason.as_bytes()));
                None
            }
        };
        let knows = |packages: &&Packages| packages.below(&tree.release).next().is_some();
        let packaged = packages.filter(knows).map(Packages::kind);
        audit.trees.push(Tree {
            release: shown(tree.release.as_bytes()),
            folder: Some(shown(tree.folder.as_os_str().as_encoded_bytes())),
            certificates: keyring.as_ref().map_or(0, |keyring| keyring.trusted().len()),
        });
        let stage = Self { tree, keyring, packages, packaged, index, files };
        stage.whole(audit);
        Ok(stage)
    }

    /// What is to be said about the tree as a whole.
    fn whole(&self, audit: &mut Audit) {
        let Some(packages) = self.packages else { return };
        if self.packaged.is_none() {
            let (release, modules) = (shown(self.tree.release.as_bytes()), self.files.len());
            if modules > 0 {
                let place = shown(self.tree.folder.as_os_str().as_encoded_bytes());
                audit.say(None, Some(place), Evidence::UnpackagedTree { release, modules });
            }
            return;
        }
        for (path, owner) in packages.below(&self.tree.release) {
            let Some(name) = ferrmod_index::module_name(path) else { continue };
            let file = self.tree.folder.join(path);
            if !file.exists() {
                let place = shown(file.as_os_str().as_encoded_bytes());
                audit.say(
                    Some(&shown(name.as_bytes())),
                    Some(place),
                    Evidence::PackageMissing { package: owner.package.clone() },
                );
            }
        }
    }

    fn owner(&self, path: &Path) -> Option<&Packaged> {
        let below = path.strip_prefix(&self.tree.folder).ok()?;
        let key: PathBuf = ["lib/modules", &self.tree.release].iter().collect::<PathBuf>().join(below);
        self.packages?.owner(&key)
    }

    fn read(&self, path: &Path) -> ModuleFile {
        file::read(path, self.keyring.as_ref(), self.owner(path))
    }

    fn scene(&self) -> Scene {
        Scene { has_tree: true, packaged: self.packaged }
    }
}

/// The trees of modules in `root`, or the one of `release`.
fn trees(root: &Path, release: Option<&str>) -> Result<Vec<Folder>, TreeError> {
    match release {
        Some(_) => Ok(vec![Folder::find(root, release)?]),
        None => Folder::find_all(root),
    }
}

/// Every module of every tree.
fn installed(options: &Options<'_>, packages: Option<&Packages>, audit: &mut Audit) -> Result<(), AuditError> {
    for tree in trees(options.root, options.release)? {
        let stage = Stage::new(tree, options, packages, audit)?;
        let scene = stage.scene();
        let release = shown(stage.tree.release.as_bytes());
        let judged = in_parallel_reading(&stage.files, |module| {
            let file = Some(stage.read(&module.path));
            let module = Module { name: shown(module.name.as_bytes()), release: release.clone(), loaded: None, file };
            let findings = judge(&module, &scene);
            (module, findings)
        });
        for (module, findings) in judged {
            audit.modules.push(module);
            audit.findings.extend(findings);
        }
    }
    Ok(())
}

/// The release of the kernel.
fn release(options: &Options<'_>) -> Option<String> {
    if let Some(release) = options.release {
        return Some(release.to_owned());
    }
    let said = std::fs::read_to_string(options.kernel.roots().proc.join("sys/kernel/osrelease")).ok();
    let said = said.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    said.or_else(|| options.running.then(|| Kernel::release().to_string()))
}

/// Every loaded module, the views, the settings.
fn loaded(options: &Options<'_>, packages: Option<&Packages>, audit: &mut Audit) -> Result<(), AuditError> {
    let kernel = options.kernel;
    let list = kernel.modules().map_err(AuditError::Modules)?;
    let release = release(options);
    let stage = match Folder::find(options.root, release.as_deref()) {
        Ok(tree) => Some(Stage::new(tree, options, packages, audit)?),
        Err(error) => {
            audit.unchecked("files of the loaded modules", error.to_string());
            audit.trees.push(Tree {
                release: shown(release.as_deref().unwrap_or_default().as_bytes()),
                folder: None,
                certificates: 0,
            });
            None
        }
    };
    let bound = drivers::in_use(&kernel.roots().sys);
    let lines: Vec<_> = list.iter().flatten().collect();
    let scene = stage.as_ref().map_or(Scene { has_tree: false, packaged: None }, Stage::scene);
    let release = audit.trees.first().map(|tree| tree.release.clone()).unwrap_or_default();
    let judged = in_parallel_reading(&lines, |line| {
        let name = shown(line.name);
        // Of several files of one name the one that modprobe takes.
        let path = stage.as_ref().and_then(|stage| stage.index.file(&name).ok().flatten()).map(|file| file.path);
        let module = Module {
            release: release.clone(),
            loaded: Some(Loaded::read(kernel, line, bound.contains(&name))),
            file: stage.as_ref().zip(path).map(|(stage, path)| stage.read(&path)),
            name,
        };
        let findings = judge(&module, &scene);
        (module, findings)
    });
    for (module, findings) in judged {
        audit.modules.push(module);
        audit.findings.extend(findings);
    }
    audit.modules.sort_by(|a, b| a.name.cmp(&b.name));
    cross(options, &list, audit);
    taints(kernel, audit);
    judge_settings(options, audit);
    Ok(())
}

/// Holds the views against each other.
fn cross(options: &Options<'_>, list: &LoadedModules, audit: &mut Audit) {
    let place = shown(options.kernel.roots().proc.join("modules").as_os_str().as_encoded_bytes());
    for fault in list.iter().filter_map(Result::err) {
        audit.say(None, Some(place.clone()), Evidence::MalformedView { reason: fault.to_string() });
    }
    let (views, mut hidden, mut folderless) = look(options.kernel, list);
    if options.running && !(hidden.is_empty() && folderless.is_empty()) {
        // A module that is just being loaded or unloaded is in some views and not in others. It is not, a while later.
        std::thread::sleep(SECOND_LOOK);
        if let Ok(list) = options.kernel.modules() {
            let (_, again, without) = look(options.kernel, &list);
            hidden.retain(|one| again.contains(one));
            folderless.retain(|name, _| without.contains_key(name));
        }
    }
    for (name, state) in folderless {
        audit.say(Some(&name), Some(place.clone()), Evidence::HiddenFromSysfs { state });
    }
    for (view, name) in hidden {
        let Some(seen) = views.iter().find(|one| one.view == view) else { continue };
        let detail = seen.seen.get(&name).cloned().unwrap_or_default();
        audit.say(Some(&name), Some(seen.path.clone()), Evidence::HiddenModule { view, detail });
    }
    let modules = audit.modules.len();
    audit.views.push(View { view: ViewName::Modules, path: place, modules, unreadable: None, seen: BTreeMap::new() });
    for view in &views {
        if let Some(reason) = &view.unreadable {
            let evidence = Evidence::Unchecked { what: format!("modules in {}", view.view), reason: reason.clone() };
            audit.findings.push(Finding::new(None, Some(view.path.clone()), evidence));
        }
    }
    audit.views.extend(views);
}

/// The views, the modules that one of them shows and the list does not, and those of the list that sysfs does not show.
type Look = (Vec<View>, BTreeSet<(ViewName, String)>, BTreeMap<String, &'static str>);

fn look(kernel: &Kernel, list: &LoadedModules) -> Look {
    let lines: Vec<(String, Vec<String>, bool)> = list
        .iter()
        .flatten()
        .map(|line| {
            let users = line.users().map(|user| shown(user)).collect();
            (shown(line.name), users, line.state == ferrmod_linux::InitState::Live)
        })
        .collect();
    let views = views::views(kernel, lines.iter().map(|(name, users, _)| (name.as_str(), users.as_slice())));
    let listed: BTreeSet<&str> = lines.iter().map(|(name, ..)| name.as_str()).collect();
    let hidden = views::hidden(&views, &listed);
    let mut folderless = BTreeMap::new();
    if let Some(sysfs) = views.iter().find(|view| view.view == ViewName::Sysfs && view.unreadable.is_none()) {
        // One that is not live may not have its folder yet, or no longer.
        for (name, ..) in lines.iter().filter(|(name, _, live)| *live && !sysfs.seen.contains_key(name)) {
            folderless.insert(name.clone(), "live");
        }
    }
    (views, hidden, folderless)
}

/// Holds the kernel's taints against those of its modules.
fn taints(kernel: &Kernel, audit: &mut Audit) {
    let place = Some(shown(kernel.roots().proc.join("sys/kernel/tainted").as_os_str().as_encoded_bytes()));
    let bits = match kernel.taints() {
        Ok(bits) => bits,
        Err(error) => {
            audit.unchecked("the kernel's taints", error.to_string());
            return;
        }
    };
    audit.tainted = Some(bits);
    let of_module = |module: &Module| {
        let loaded = module.loaded.as_ref()?;
        Some(Taint::bits_of(&loaded.taints) | Taint::bits_of(loaded.sysfs_taints.as_deref().unwrap_or_default()))
    };
    let modules: Vec<(String, u64)> =
        audit.modules.iter().filter_map(|module| Some((module.name.clone(), of_module(module)?))).collect();
    let explained = modules.iter().fold(0, |all, (_, bits)| all | bits);
    for Taint { bit: _, letter, meaning, by_module } in Taint::of_bits(bits & !explained) {
        let evidence = match letter {
            _ if by_module => Evidence::UnexplainedTaint { letter, meaning },
            'R' => Evidence::ForcedUnload { meaning },
            _ => Evidence::OtherTaint { letter, meaning },
        };
        audit.say(None, place.clone(), evidence);
    }
    for taint in Taint::of_bits(explained & !bits) {
        let with: Vec<String> =
            modules.iter().filter(|(_, bits)| bits & (1 << taint.bit) != 0).map(|(name, _)| name.clone()).collect();
        audit.say(None, place.clone(), Evidence::ClearedTaint { letter: taint.letter, modules: with });
    }
}

fn judge_settings(options: &Options<'_>, audit: &mut Audit) {
    audit.settings = settings::settings(options.kernel);
    for setting in audit.settings.clone() {
        match (&setting.unknown, setting.on) {
            (Some(reason), _) => audit.unchecked(setting.name, reason.clone()),
            (None, Some(false)) => {
                let value = setting.value.clone().unwrap_or_default();
                audit.say(None, None, Evidence::SettingOpen { setting: setting.name, value, meaning: setting.meaning });
            }
            _ => {}
        }
        if setting.name == "kernel.modprobe"
            && let Some(evidence) = settings::modprobe_problem(&setting, options.root)
        {
            audit.say(None, None, evidence);
        }
    }
}
