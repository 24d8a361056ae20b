//! The kernels that modules are checked on: where their files are.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bstr::BString;
use ferrmod_image::compress::decompress;
use ferrmod_image::facts::Facts;
use ferrmod_index::{Index, Tree};
use ferrmod_machine::FactsBytes;
use ferrmod_plan::check::{Core, Kernel, KernelConfig, Symvers, vermagic_of_modules};
use indicatif::{ProgressBar, ProgressStyle};

use super::Check;
use crate::exit::Failure;
use crate::kernel_image;
use crate::tree::running_release;

/// The largest `Module.symvers` that is read, unpacked.
const MAX_SYMVERS: usize = 64 << 20;

/// Where kernels are looked for, and what is used instead of what is found there.
#[derive(Clone, Copy, Default)]
pub(crate) struct Where<'a> {
    /// The root of releases; the running system's by default.
    pub(crate) root: Option<&'a Path>,
    /// A `Module.symvers` instead of the kernel's image.
    pub(crate) symvers: Option<&'a Path>,
    /// A configuration.
    pub(crate) config: Option<&'a Path>,
}

impl<'a> Where<'a> {
    fn of(args: &'a Check) -> Where<'a> {
        Where { root: args.root.as_deref(), symvers: args.symvers.as_deref(), config: args.config.as_deref() }
    }

    fn root(&self) -> &'a Path {
        self.root.unwrap_or(Path::new("/"))
    }
}

/// The files of one kernel.
pub(crate) struct Files {
    release: String,
    image: Option<FactsBytes>,
    symvers: Option<Symvers>,
    index: Option<Index>,
    config: KernelConfig,
    /// Whether its cached offers were seen not to be true.
    stale: OnceLock<()>,
}

/// Every kernel that was asked for, or the one that belongs to the first module, or the running one. The second value is how many of them
/// are to be checked on: those behind are there for their evidence.
pub(super) fn find(args: &Check) -> Result<(Vec<Files>, usize), Failure> {
    let at = Where::of(args);
    let mut kernels: Vec<Files> = Vec::new();
    let add = |kernels: &mut Vec<Files>, files: Files| {
        if kernels.iter().all(|other| other.release != files.release || other.folder() != files.folder()) {
            kernels.push(files);
        }
    };
    for wanted in &args.kernel {
        for files in asked_for(at, wanted)? {
            add(&mut kernels, files);
        }
    }
    if args.all_kernels {
        let trees = Tree::find_all(at.root()).or_else(|error| match at.root {
            None => Tree::find_all(Path::new("/lib/modules")).map_err(|_| error),
            Some(_) => Err(error),
        });
        for tree in trees.map_err(|error| Failure::Tree(error.to_string()))? {
            add(&mut kernels, of_tree(at, tree)?);
        }
    }
    if kernels.is_empty() {
        let own = args.modules.iter().find_map(|module| tree_of(Path::new(module)));
        kernels.push(match own {
            Some(tree) if args.root.is_none() => of_tree(at, tree)?,
            _ => of_release(at, &running_release().unwrap_or_default())?,
        });
    }
    let wanted = kernels.len();
    // The kernel that a module comes from tells what its symbols were.
    for tree in args.modules.iter().filter_map(|module| tree_of(Path::new(module))) {
        if kernels.iter().all(|other| other.release != tree.release)
            && let Ok(files) = of_tree(at, tree)
        {
            add(&mut kernels, files);
        }
    }
    for evidence in &args.from {
        for files in asked_for(at, evidence)? {
            add(&mut kernels, files);
        }
    }
    Ok((kernels, wanted))
}

/// The tree that a module's file stands in.
fn tree_of(path: &Path) -> Option<Tree> {
    let path = std::path::absolute(path).ok().filter(|path| path.exists())?;
    let folder = path.ancestors().find(|above| {
        let parent = above.parent();
        parent.and_then(Path::file_name) == Some(OsStr::new("modules"))
            && parent.and_then(Path::parent).and_then(Path::file_name) == Some(OsStr::new("lib"))
    })?;
    Some(Tree::at(folder))
}

/// What an argument of `--kernel` means.
pub(crate) fn asked_for(at: Where<'_>, wanted: &OsStr) -> Result<Vec<Files>, Failure> {
    let path = Path::new(wanted);
    if path.is_dir() {
        let trees = Tree::find_all(path).map_err(|error| Failure::Tree(error.to_string()))?;
        return trees.into_iter().map(|tree| of_tree(at, tree)).collect();
    }
    if path.is_file() {
        return of_image(at, path).map(|files| vec![files]);
    }
    match wanted.to_str() {
        Some(release) if !release.contains('/') => of_release(at, release).map(|files| vec![files]),
        _ => Err(Failure::Tree(format!(
            "{}: neither a folder of modules, nor a kernel's image, nor a release",
            path.display()
        ))),
    }
}

fn of_release(at: Where<'_>, release: &str) -> Result<Files, Failure> {
    let root = at.root();
    let tree = Tree::find(root, Some(release)).or_else(|error| match at.root {
        None => Tree::find(Path::new("/lib/modules"), Some(release)).map_err(|_| error),
        Some(_) => Err(error),
    });
    match tree {
        Ok(tree) => of_tree(at, tree),
        // Without modules there still may be a kernel.
        Err(error) => {
            let image = kernel_image::facts(release, None, Some(root), &[]);
            let image = image.map_err(|_| Failure::Tree(format!("kernel {release}: {error}")))?;
            Ok(Files::new(at, release.to_owned(), Some(image), None, Some(root.to_owned())))
        }
    }
}

fn of_tree(at: Where<'_>, tree: Tree) -> Result<Files, Failure> {
    let release = tree.release.clone();
    let root = tree.root.clone();
    let image = kernel_image::facts(&release, None, Some(&tree.folder), &[]);
    let mut files = match image {
        Ok(image) => Files::new(at, release, Some(image), Some(tree), root),
        Err(missing) => {
            let folder = tree.folder.clone();
            let mut files = Files::new(at, release, None, Some(tree), root);
            files.symvers = symvers(at, &folder)?;
            if files.symvers.is_none() {
                return Err(missing);
            }
            files
        }
    };
    if let Some(path) = at.symvers {
        files.symvers = Some(read_symvers(path)?);
        files.image = None;
    }
    Ok(files)
}

fn of_image(at: Where<'_>, path: &Path) -> Result<Files, Failure> {
    let content = |reason: String| Failure::Content { path: path.display().to_string(), reason };
    let image = kernel_image::facts("", Some(path), None, &[])?;
    let release = Facts::open(&image).map_err(|error| content(error.to_string()))?.release().to_owned();
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let above = path.parent();
    // boot/vmlinuz-RELEASE stands beside lib/modules; lib/modules/RELEASE/vmlinuz stands in it.
    let beside = above.filter(|folder| folder.file_name() == Some(OsStr::new("boot"))).and_then(Path::parent);
    let tree = match beside {
        Some(root) => Tree::find(root, Some(&release)).ok(),
        None => above.filter(|folder| folder.join("kernel").is_dir()).map(Tree::at),
    };
    let root = beside.map(Path::to_owned).or_else(|| tree.as_ref().and_then(|tree| tree.root.clone()));
    Ok(Files::new(at, release, Some(image), tree, root))
}

/// The `Module.symvers` that a distribution or a build put beside the modules.
fn symvers(at: Where<'_>, tree: &Path) -> Result<Option<Symvers>, Failure> {
    if let Some(path) = at.symvers {
        return read_symvers(path).map(Some);
    }
    let names = ["symvers.gz", "symvers.xz", "symvers.zst", "Module.symvers", "build/Module.symvers"];
    names.iter().map(|name| tree.join(name)).find(|path| path.is_file()).map(|path| read_symvers(&path)).transpose()
}

fn read_symvers(path: &Path) -> Result<Symvers, Failure> {
    let content = |reason: String| Failure::Content { path: path.display().to_string(), reason };
    let bytes = fs::read(path).map_err(|error| Failure::File { path: path.display().to_string(), error })?;
    let text = decompress(&bytes, MAX_SYMVERS).map_err(|error| content(error.to_string()))?;
    let text = std::str::from_utf8(&text).map_err(|error| content(error.to_string()))?;
    Symvers::parse(text).map_err(|error| content(error.to_string()))
}

impl Files {
    fn new(
        at: Where<'_>,
        release: String,
        image: Option<FactsBytes>,
        tree: Option<Tree>,
        root: Option<PathBuf>,
    ) -> Files {
        let packed = image.as_ref().and_then(|image| Facts::open(image).ok()?.config());
        let mut places = Vec::new();
        if let Some(path) = at.config {
            places.push(path.to_owned());
        }
        if let Some(tree) = &tree {
            places.extend([tree.folder.join("config"), tree.folder.join("build/.config")]);
        }
        if let Some(root) = &root {
            places.push(root.join("boot").join(format!("config-{release}")));
        }
        if Some(&release) == running_release().as_ref() {
            places.extend([PathBuf::from(format!("/boot/config-{release}")), PathBuf::from("/proc/config.gz")]);
        }
        let found = places.iter().find_map(|path| Some((path, fs::read(path).ok()?)));
        let config = match (found, packed) {
            (Some((path, text)), _) => KernelConfig::new(path.display().to_string(), &text),
            (None, Some(packed)) => KernelConfig::new("the kernel's image".to_owned(), packed),
            (None, None) => KernelConfig::default(),
        };
        Files { release, image, symvers: None, index: tree.map(Index::new), config, stale: OnceLock::new() }
    }

    /// The folder of its modules.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.index.as_ref().map(|index| index.tree().folder.as_path())
    }

    /// Its release.
    pub(super) fn release(&self) -> &str {
        &self.release
    }

    /// Its modules.
    pub(super) fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    /// Remembers that what the cache said of its modules is not true.
    pub(super) fn is_stale(&self) {
        let _ = self.stale.set(());
    }

    /// Whether that was seen; forgotten when asked.
    pub(super) fn take_stale(&mut self) -> bool {
        self.stale.take().is_some()
    }

    /// What the files say, read as far as has to be; `anew` when the cache is not to be asked.
    ///
    /// # Errors
    /// [`Failure`] names the file that cannot be used.
    pub(crate) fn kernel(&self, anew: bool) -> Result<Kernel<'_>, Failure> {
        let modules = match &self.index {
            Some(index) => {
                let bar = ProgressBar::new(0);
                let look = "reading the modules of {msg} {bar:30} {pos}/{len}";
                bar.set_style(ProgressStyle::with_template(look).unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_message(self.release.clone());
                let progress = |done: usize, all: usize| {
                    bar.set_length(all as u64);
                    bar.set_position(done as u64);
                };
                let offers = if anew { index.scan_offers(&progress) } else { index.offers(&progress) };
                bar.finish_and_clear();
                Some((index, offers.map_err(|error| Failure::Tree(error.to_string()))?))
            }
            None => None,
        };
        let (core, vermagic) = match (&self.image, &self.symvers) {
            (Some(image), _) => {
                let facts = Facts::open(image)
                    .map_err(|error| Failure::Content { path: self.release.clone(), reason: error.to_string() })?;
                let vermagic = BString::from(facts.vermagic());
                (Core::Image(Box::new(facts)), vermagic)
            }
            (None, symvers) => {
                let vermagic = modules.as_ref().and_then(|(_, offers)| vermagic_of_modules(offers));
                let vermagic = vermagic.ok_or_else(|| {
                    Failure::Tree(format!("{}: no module tells the version magic of this kernel", self.release))
                })?;
                (Core::Symvers(symvers.clone().unwrap_or_default()), vermagic)
            }
        };
        Ok(Kernel { release: self.release.clone(), vermagic, core, config: self.config.clone(), modules })
    }
}
