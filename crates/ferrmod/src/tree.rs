//! Where modules come from: the files asked for, and the tree behind them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ferrmod_index::{Index, Tree as Folder};
use ferrmod_plan::{Options, Request as Wanted, Why};

use crate::cli::Request;
use crate::exit::Failure;
use crate::kernel_image;

/// One load, and why.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The module's name.
    pub(crate) name: String,
    /// Its file.
    pub(crate) path: PathBuf,
    /// The file's content, unpacked.
    pub(crate) bytes: Vec<u8>,
    /// Its parameters.
    pub(crate) arguments: Vec<u8>,
    /// Why it is loaded.
    pub(crate) why: String,
    /// Asked for, and not loaded for another's sake.
    pub(crate) requested: bool,
    /// Another module would like to have it and does without it.
    pub(crate) optional: bool,
}

/// A tree of modules that is looked for when something is asked of it.
pub(crate) struct Tree {
    folder: Option<PathBuf>,
    release: Option<String>,
    index: OnceLock<Result<Index, String>>,
}

/// The release in a path below `lib/modules`, with the root before it.
fn tree_of(path: &Path) -> Option<(PathBuf, String)> {
    let root = kernel_image::root_of(path)?;
    let path = std::path::absolute(path).ok()?;
    let mut parts = path.components().skip_while(|part| part.as_os_str() != "modules").skip(1);
    Some((root, parts.next()?.as_os_str().to_str()?.to_owned()))
}

/// What is asked for: files, and what is none.
fn wanted(requests: &[Request]) -> Vec<Wanted> {
    let of_request = |request: &Request| match request.module.to_str() {
        Some(text) if !Path::new(text).is_file() => Wanted::from_argument(text),
        _ => Wanted::File(PathBuf::from(&request.module)),
    };
    requests.iter().map(of_request).collect()
}

impl Tree {
    /// The tree in `folder`, or by default the one a file asked for stands in, or the running kernel's. `release` chooses among
    /// several.
    pub(crate) fn new(folder: Option<PathBuf>, release: Option<String>) -> Self {
        Self { folder, release, index: OnceLock::new() }
    }

    /// The index, found at the first question; a file's own tree is better than the running kernel's.
    fn index(&self, wanted: &[Wanted]) -> Result<&Index, &str> {
        let index = self.index.get_or_init(|| {
            let beside = wanted.iter().find_map(|wanted| match wanted {
                Wanted::File(path) => tree_of(path),
                Wanted::Name(_) => None,
            });
            let (folder, release) = match (&self.folder, beside) {
                (Some(folder), _) => (folder.clone(), self.release.clone()),
                (None, Some((root, release))) => (root, Some(release)),
                (None, None) => ("/lib/modules".into(), self.release.clone().or_else(running_release)),
            };
            Folder::find(&folder, release.as_deref()).map(Index::new).map_err(|error| error.to_string())
        });
        index.as_ref().map_err(String::as_str)
    }

    /// Looks for the tree as [`Tree::plan`] would for `requests`, unless it was looked for before.
    pub(crate) fn find_for(&self, requests: &[Request]) {
        // Whether there is one is told to who asks something of it.
        let _ = self.index(&wanted(requests));
    }

    /// The index of the tree.
    ///
    /// # Errors
    /// [`Failure`] when there is no tree.
    pub(crate) fn found(&self) -> Result<&Index, Failure> {
        self.index(&[]).map_err(|reason| Failure::Tree(reason.to_owned()))
    }

    /// The release of the tree's kernel; `None` when there is no tree.
    pub(crate) fn release(&self) -> Option<String> {
        self.index(&[]).ok().map(|index| index.tree().release.clone())
    }

    /// What has to be loaded for `requests`, in order; with `softdeps` also what they would like to have.
    ///
    /// # Errors
    /// [`Failure`] with every reason why it cannot be done.
    pub(crate) fn plan(&self, requests: &[Request], softdeps: bool) -> Result<Vec<Planned>, Failure> {
        let wanted = wanted(requests);
        let index = self.index(&wanted);
        if let (Err(reason), Some(_)) = (&index, &self.folder) {
            return Err(Failure::Tree((*reason).to_owned()));
        }
        let plan = ferrmod_plan::plan(&wanted, index.ok(), Options { softdeps }).map_err(|refusal| {
            let mut text = refusal.to_string();
            let by_name = wanted.iter().any(|wanted| matches!(wanted, Wanted::Name(_)));
            if let (true, Err(reason)) = (by_name, index) {
                text.push_str(&format!(" ({reason})"));
            }
            Failure::Refused(text)
        })?;
        Ok(plan
            .loads
            .into_iter()
            .map(|load| {
                let request = match &load.why {
                    Why::Requested { request, .. } => requests.get(*request),
                    _ => None,
                };
                Planned {
                    optional: matches!(load.why, Why::SoftdepOf { .. }),
                    why: load.why.to_string(),
                    name: load.name,
                    path: load.path,
                    bytes: load.bytes,
                    arguments: request.map(|request| request.arguments.clone()).unwrap_or_default(),
                    requested: request.is_some(),
                }
            })
            .collect())
    }
}

/// `uname -r`.
pub(crate) fn running_release() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_own_tree() {
        let tree = tree_of(Path::new("/x/usr/lib/modules/6.12/kernel/lib/crc7.ko.xz"));
        assert_eq!(tree, Some(("/x".into(), "6.12".into())));
        assert_eq!(tree_of(Path::new("/x/crc7.ko")), None);
    }
}
