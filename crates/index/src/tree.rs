//! Finding the trees of modules.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where trees are in a root file system. Some systems have `lib` as a link to `usr/lib`.
const FOLDERS: [&str; 2] = ["lib/modules", "usr/lib/modules"];

/// The folder of one kernel's modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The folder, `.../lib/modules/RELEASE`.
    pub folder: PathBuf,
    /// The release of the kernel, as the folder is named; empty when it has no name that could be one.
    pub release: String,
    /// The root of the file system that the tree stands in, when the folder is where such a root has it.
    pub root: Option<PathBuf>,
}

/// Why no tree was found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TreeError {
    /// The folder is not there or cannot be read.
    #[error("{}: {text}", folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// The system's words.
        text: String,
    },
    /// There are no modules in the folder and in none that a root file system has them in.
    #[error("{}: no modules: neither a folder of modules nor a root with lib/modules/RELEASE", folder.display())]
    None {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no tree for the release that was asked for.
    #[error("{}: no modules for {release}; there are modules for {}", folder.display(), found.join(", "))]
    NoRelease {
        /// The folder.
        folder: PathBuf,
        /// The release that was asked for.
        release: String,
        /// The releases there are.
        found: Vec<String>,
    },
    /// There are several trees and none was asked for.
    #[error("{}: modules for several kernels ({}): say which", folder.display(), found.join(", "))]
    Several {
        /// The folder.
        folder: PathBuf,
        /// The releases there are.
        found: Vec<String>,
    },
}

impl Tree {
    /// The tree that `folder` is, whatever it looks like.
    #[must_use]
    pub fn at(folder: &Path) -> Tree {
        let release = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let root = FOLDERS.iter().find_map(|folders| {
            let parent = folder.parent().filter(|parent| parent.ends_with(folders))?;
            parent.ancestors().nth(folders.split('/').count()).map(Path::to_owned)
        });
        // `usr/lib/modules` ends in `lib/modules`, too.
        let root = root.map(|root| match root.file_name() {
            Some(name) if name == "usr" => root.parent().map(Path::to_owned).unwrap_or(root),
            _ => root,
        });
        Tree { folder: folder.to_owned(), release, root }
    }

    /// Every tree that `folder` is or holds, by release: `folder` may be a tree, the folder of the trees (`/lib/modules`), or the
    /// root of a file system.
    ///
    /// # Errors
    /// When there is none.
    pub fn find_all(folder: &Path) -> Result<Vec<Tree>, TreeError> {
        if let Err(error) = fs::read_dir(folder) {
            return Err(TreeError::Unreadable { folder: folder.to_owned(), text: error.to_string() });
        }
        let in_folder = |parent: &Path, trees: &mut Vec<Tree>| {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                let tree = Tree::at(&entry.path());
                if is_tree(&tree.folder) && trees.iter().all(|other| other.release != tree.release) {
                    trees.push(tree);
                }
            }
        };
        let mut trees = Vec::new();
        FOLDERS.iter().for_each(|folders| in_folder(&folder.join(folders), &mut trees));
        if trees.is_empty() && is_tree(folder) {
            return Ok(vec![Tree::at(folder)]);
        }
        // What lies in the root of a file system beside lib/modules is no kernel's.
        if trees.is_empty() && !["etc", "lib", "sys", "usr"].iter().any(|name| folder.join(name).is_dir()) {
            in_folder(folder, &mut trees);
        }
        trees.sort_by(|a, b| a.release.cmp(&b.release));
        if trees.is_empty() {
            return Err(TreeError::None { folder: folder.to_owned() });
        }
        Ok(trees)
    }

    /// The one tree of `release` that `folder` is or holds; without a release, the only one.
    ///
    /// A folder of modules that is not named after a release (modules just built) is taken whatever the release.
    ///
    /// # Errors
    /// When there is none, or several and no release was named.
    pub fn find(folder: &Path, release: Option<&str>) -> Result<Tree, TreeError> {
        let trees = Tree::find_all(folder)?;
        let found = || trees.iter().map(|tree| tree.release.clone()).collect::<Vec<_>>();
        match (release, trees.as_slice()) {
            (None, [tree]) => Ok(tree.clone()),
            (None, _) => Err(TreeError::Several { folder: folder.to_owned(), found: found() }),
            (Some(_), [tree]) if tree.folder == folder && tree.root.is_none() => Ok(tree.clone()),
            (Some(release), trees) => trees.iter().find(|tree| tree.release == release).cloned().ok_or_else(|| {
                TreeError::NoRelease { folder: folder.to_owned(), release: release.to_owned(), found: found() }
            }),
        }
    }
}

/// Whether `folder` is a tree: depmod or kbuild wrote into it, or there are modules right in it.
fn is_tree(folder: &Path) -> bool {
    ["kernel", "updates"].iter().any(|name| folder.join(name).is_dir())
        || ["modules.dep", "modules.order", "modules.builtin"].iter().any(|name| folder.join(name).is_file())
        || fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| crate::name::module_name(&entry.path()).is_some())
}
