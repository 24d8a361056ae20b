//! Where modules come from: files, and the tree behind them.

use std::path::PathBuf;

use crate::cli::Request;
use crate::exit::Failure;

/// One load, and why.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<u8>,
    pub(crate) why: String,
    /// Asked for by name, not for another's sake.
    pub(crate) requested: bool,
}

/// A tree of modules.
pub(crate) struct Tree {}

impl Tree {
    pub(crate) fn new(_: Option<PathBuf>, _: Option<String>) -> Self {
        Self {}
    }
    pub(crate) fn set_release(&self, _: &str) {}
    pub(crate) fn plan(&self, requests: &[Request]) -> Result<Vec<Planned>, Failure> {
        Ok(requests
            .iter()
            .map(|r| Planned {
                name: PathBuf::from(&r.module).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                path: PathBuf::from(&r.module),
                arguments: r.arguments.clone(),
                why: "asked for".into(),
                requested: true,
            })
            .collect())
    }
}
