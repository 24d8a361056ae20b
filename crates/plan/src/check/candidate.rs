//! The modules that are checked, and those that are given together with others.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};
use ferrmod_image::compress::{Compression, decompress, detect};
use ferrmod_image::{ExportClass, Image};
use ferrmod_index::{MAX_MODULE, module_name, normalise};

/// A module file that is to be checked.
#[derive(Debug, Clone)]
pub struct Candidate<'b> {
    /// Its name, by its file: what is shown where the file itself states none.
    pub name: String,
    /// Its file; empty when it never was one.
    pub path: PathBuf,
    /// Its bytes, unpacked; as they are in the file when they do not unpack.
    pub bytes: Cow<'b, [u8]>,
    /// How the file is packed.
    pub format: Compression,
    /// Why it does not unpack.
    pub broken: Option<String>,
    /// The parameters it is loaded with, separated by spaces.
    pub arguments: Vec<u8>,
    /// Whether it is on the file system of the kernel's own modules; `None` when nobody looked.
    pub on_the_trees_file_system: Option<bool>,
}

impl<'b> Candidate<'b> {
    /// The module in these bytes of a file, packed or not.
    #[must_use]
    pub fn new(path: &Path, file: &'b [u8]) -> Candidate<'b> {
        let format = detect(file);
        let (bytes, broken) = match decompress(file, MAX_MODULE) {
            Ok(bytes) => (bytes, None),
            Err(error) => (Cow::Borrowed(file), Some(error.to_string())),
        };
        let name = module_name(path)
            .or_else(|| path.file_stem().map(|stem| normalise(&stem.to_string_lossy()).into_owned()))
            .unwrap_or_default();
        Candidate {
            name,
            path: path.to_owned(),
            bytes,
            format,
            broken,
            arguments: Vec::new(),
            on_the_trees_file_system: None,
        }
    }
}

impl Candidate<'_> {
    /// The same with bytes of its own.
    #[must_use]
    pub fn into_owned(self) -> Candidate<'static> {
        let Candidate { name, path, bytes, format, broken, arguments, on_the_trees_file_system } = self;
        let bytes = Cow::Owned(bytes.into_owned());
        Candidate { name, path, bytes, format, broken, arguments, on_the_trees_file_system }
    }
}

/// A symbol that a given module exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GivenExport {
    pub(super) module: usize,
    pub(super) crc: Option<u32>,
    pub(super) gpl_only: bool,
    pub(super) namespace: Option<BString>,
}

/// What one of the given modules says about itself.
pub(super) struct Given {
    pub(super) name: String,
    pub(super) stated: BString,
    pub(super) gpl: bool,
    pub(super) depends: Vec<String>,
    pub(super) imports: Vec<BString>,
    pub(super) candidate: Candidate<'static>,
}

/// Modules that are at hand together: each may be what another needs, and counts instead of one of the same name in a kernel's tree.
#[derive(Default)]
pub struct Together {
    pub(super) modules: Vec<Given>,
    pub(super) by_name: HashMap<String, usize>,
    pub(super) by_symbol: HashMap<Vec<u8>, Vec<GivenExport>>,
}

impl Together {
    /// No modules.
    #[must_use]
    pub fn new() -> Together {
        Together::default()
    }

    /// Adds a module. One whose file cannot be read as a module offers nothing.
    pub fn add(&mut self, candidate: Candidate<'static>) {
        let module = self.modules.len();
        let Ok(image) = Image::read(&candidate.bytes) else {
            return;
        };
        for export in image.exports() {
            self.by_symbol.entry(export.name.to_vec()).or_default().push(GivenExport {
                module,
                crc: export.crc,
                gpl_only: export.class == ExportClass::GplOnly,
                namespace: export.namespace.map(ToOwned::to_owned),
            });
        }
        let stated = image.name().map(ToOwned::to_owned).unwrap_or_default();
        let name =
            if stated.is_empty() { candidate.name.clone() } else { normalise(&stated.to_str_lossy()).into_owned() };
        let given = Given {
            stated,
            gpl: image.is_gpl_compatible(),
            depends: image.depends().map(|name| normalise(&name.to_str_lossy()).into_owned()).collect(),
            imports: image.imports().map(|import| import.name.to_owned()).collect(),
            name: name.clone(),
            candidate,
        };
        self.by_name.entry(name).or_insert(module);
        self.modules.push(given);
    }
}
