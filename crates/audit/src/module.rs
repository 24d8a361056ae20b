//! A module, as the kernel knows it and as its file is.

use std::fs::File;
use std::io::Read;

use ferrmod_linux::{InitState, Kernel, LoadedModule};
use serde::Serialize;

use crate::file::ModuleFile;
use crate::note::build_id;
use ferrmod_image::shown;

/// A module and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Module {
    /// Its name, with `_`.
    pub name: String,
    /// The kernel it is loaded in or installed for.
    pub release: String,
    /// What the kernel says of it; `None` when it is not loaded or nobody looked.
    pub loaded: Option<Loaded>,
    /// What its file says; `None` when there is none.
    pub file: Option<ModuleFile>,
}

/// What the kernel says of a loaded module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Loaded {
    /// `live`, `loading` or `unloading`.
    pub state: &'static str,
    /// The memory that it takes, in bytes.
    pub size: u64,
    /// How many uses it has; -1 while it is being unloaded, `None` when the kernel does not say.
    pub references: Option<i64>,
    /// The modules that use it.
    pub users: Vec<String>,
    /// The letters of its taints, by `/proc/modules`.
    pub taints: String,
    /// The same by sysfs; `None` when that does not say.
    pub sysfs_taints: Option<String>,
    /// Its `srcversion`.
    pub srcversion: Option<String>,
    /// Its build id, in hexadecimal.
    pub build_id: Option<String>,
    /// Whether a device is bound to one of its drivers.
    pub bound: bool,
}

impl Loaded {
    /// Reads what sysfs has of a module in the list.
    pub(crate) fn read(kernel: &Kernel, module: &LoadedModule<'_>, bound: bool) -> Self {
        let sysfs = kernel.module(module.name).ok();
        let line = |read: Option<Result<bstr::BString, _>>| read.and_then(Result::ok).map(|text| shown(&text));
        let notes = sysfs.as_ref().map(|sysfs| sysfs.folder().join("notes/.note.gnu.build-id"));
        let note = notes.and_then(|path| {
            let mut bytes = Vec::new();
            File::open(path).ok()?.take(1 << 16).read_to_end(&mut bytes).ok()?;
            build_id(&bytes)
        });
        Self {
            state: match module.state {
                InitState::Live => "live",
                InitState::Coming => "loading",
                InitState::Going => "unloading",
            },
            size: module.size,
            references: module.references,
            users: module.users().map(|user| shown(user)).collect(),
            taints: shown(module.taints).trim_end_matches(['+', '-']).to_owned(),
            sysfs_taints: line(sysfs.as_ref().map(ferrmod_linux::SysModule::taints)),
            srcversion: line(sysfs.as_ref().map(ferrmod_linux::SysModule::source_version)),
            build_id: note,
            bound,
        }
    }

    /// Whether it has the taint of this letter.
    #[must_use]
    pub fn has_taint(&self, letter: char) -> bool {
        self.taints.contains(letter) || self.sysfs_taints.as_ref().is_some_and(|taints| taints.contains(letter))
    }
}

impl Module {
    /// The `srcversion` of what is loaded, else of the file.
    #[must_use]
    pub fn srcversion(&self) -> Option<&str> {
        let loaded = self.loaded.as_ref().and_then(|loaded| loaded.srcversion.as_deref());
        loaded.or_else(|| self.file.as_ref()?.srcversion.as_deref())
    }

    /// The build id of what is loaded, else of the file.
    #[must_use]
    pub fn build_id(&self) -> Option<&str> {
        let loaded = self.loaded.as_ref().and_then(|loaded| loaded.build_id.as_deref());
        loaded.or_else(|| self.file.as_ref()?.build_id.as_deref())
    }

    /// Who has signed its file.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        self.file.as_ref()?.signature.signer()
    }

    /// Its file, in the root.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        Some(&self.file.as_ref()?.path)
    }
}
