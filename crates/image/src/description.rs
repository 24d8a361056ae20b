//! An image as one owned value: for `--json`, for caches, for comparison.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bstr::{BStr, ByteSlice};

use crate::linux::{ExportClass, Image};

/// The version of the form that [`Description`] has when it is serialised; it grows when a field changes its meaning or goes away,
/// and stays when one is added.
pub const SCHEMA: u32 = 1;

/// What a module file says, in words of its own.
///
/// Names and texts are those of the file, with what is not UTF-8 replaced (U+FFFD): this is for people and for other
/// programs; who links uses [`Image`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Description {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The name that the kernel will know the module by.
    pub name: Option<String>,
    /// `vermagic`: the kernel that it was built for.
    pub vermagic: Option<String>,
    /// `license`.
    pub licence: Option<String>,
    /// Whether Linux takes that licence as compatible with the GPL.
    pub gpl_compatible: bool,
    /// `version`.
    pub version: Option<String>,
    /// `srcversion`.
    pub source_version: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `author`, each.
    pub authors: Vec<String>,
    /// `depends`: the modules that this one needs.
    pub depends: Vec<String>,
    /// `softdep`, each as it stands.
    pub softdeps: Vec<String>,
    /// `alias`, each.
    pub aliases: Vec<String>,
    /// `firmware`, each.
    pub firmware: Vec<String>,
    /// `import_ns`: the namespaces whose symbols it uses.
    pub imported_namespaces: Vec<String>,
    /// Every string of `.modinfo`, in its order.
    pub modinfo: Vec<KeyValue>,
    /// The functions that run at loading and unloading.
    pub entry_points: EntryNames,
    /// The parameters it takes.
    pub parameters: Vec<ParameterDescription>,
    /// The symbols it needs.
    pub imports: Vec<ImportDescription>,
    /// The symbols it provides.
    pub exports: Vec<ExportDescription>,
    /// Its sections, the null section left out.
    pub sections: Vec<SectionDescription>,
    /// How many relocations there are for each section that has some.
    pub relocations: Vec<RelocationCount>,
    /// Its appended signature.
    pub signature: SignatureDescription,
}

/// A string of `.modinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct KeyValue {
    /// Before the `=`.
    pub key: String,
    /// After it.
    pub value: String,
}

/// Names of the functions that run at loading and unloading.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EntryNames {
    /// Whether the module has an init function.
    pub init: bool,
    /// Whether the module has an exit function.
    pub exit: bool,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ParameterDescription {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The mode of its file in sysfs.
    pub perm: Option<u16>,
}

/// A symbol that the module needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ImportDescription {
    /// Its name.
    pub name: String,
    /// Whether the module works without it.
    pub weak: bool,
    /// The CRC it had.
    pub crc: Option<u32>,
}

/// A symbol that the module provides.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ExportDescription {
    /// Its name.
    pub name: String,
    /// Who may use it.
    pub class: ExportClass,
    /// Its CRC.
    pub crc: Option<u32>,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// A section.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SectionDescription {
    /// Its ELF index.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// Size in memory.
    pub size: u64,
    /// Alignment.
    pub align: u64,
    /// Where it stands in the file.
    pub offset: u64,
}

/// How many relocations a section has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RelocationCount {
    /// ELF index of the section.
    pub section: usize,
    /// Number of relocations.
    pub count: usize,
}

/// The appended signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "state", rename_all = "snake_case"))]
pub enum SignatureDescription {
    /// There is none.
    Unsigned,
    /// There is one in the form that Linux takes; whether it holds is not said.
    Present {
        /// `id_type`.
        id_type: u8,
        /// Bytes of the PKCS#7 message.
        length: u32,
    },
    /// There is something that Linux does not take as a signature.
    Malformed {
        /// Why.
        reason: String,
    },
}

/// Bytes as text.
fn text(bytes: &BStr) -> String {
    bytes.to_str_lossy().into_owned()
}

impl Image<'_> {
    /// Everything that this crate knows about the module, as one owned value.
    #[must_use]
    pub fn describe(&self) -> Description {
        let modinfo = self.modinfo();
        let first = |key: &str| modinfo.get(key).map(text);
        let every = |key: &str| modinfo.all(key).map(text).collect::<Vec<_>>();
        let entry_points = self.entry_points();
        let mut versions = self.versions().map(|versions| versions.cursor());
        Description {
            schema: SCHEMA,
            name: first("name"),
            vermagic: first("vermagic"),
            licence: first("license"),
            gpl_compatible: self.is_gpl_compatible(),
            version: first("version"),
            source_version: first("srcversion"),
            description: first("description"),
            authors: every("author"),
            depends: self.depends().map(text).collect(),
            softdeps: every("softdep"),
            aliases: every("alias"),
            firmware: every("firmware"),
            imported_namespaces: every("import_ns"),
            modinfo: modinfo.iter().map(|(key, value)| KeyValue { key: text(key), value: text(value) }).collect(),
            entry_points: EntryNames { init: entry_points.init.is_some(), exit: entry_points.exit.is_some() },
            parameters: self
                .parameters()
                .iter()
                .map(|parameter| ParameterDescription {
                    name: text(parameter.name),
                    kind: parameter.kind.map(text),
                    description: parameter.description.map(text),
                    perm: parameter.perm,
                })
                .collect(),
            imports: self
                .imports()
                .map(|import| ImportDescription {
                    name: text(import.name),
                    weak: import.weak,
                    crc: versions.as_mut().and_then(|versions| versions.get(import.name)),
                })
                .collect(),
            exports: self
                .exports()
                .iter()
                .map(|export| ExportDescription {
                    name: text(export.name),
                    class: export.class,
                    crc: export.crc,
                    namespace: export.namespace.map(text),
                })
                .collect(),
            sections: self
                .sections()
                .iter()
                .enumerate()
                .skip(1)
                .map(|(index, section)| SectionDescription {
                    index,
                    name: text(section.name),
                    kind: section.kind,
                    flags: section.flags,
                    size: section.size,
                    align: section.align,
                    offset: section.offset,
                })
                .collect(),
            relocations: self
                .relocations()
                .map(|(section, relocations)| RelocationCount { section, count: relocations.len() })
                .collect(),
            signature: match self.signature() {
                Ok(None) => SignatureDescription::Unsigned,
                Ok(Some(signature)) => {
                    SignatureDescription::Present { id_type: signature.id_type, length: signature.length }
                }
                Err(error) => SignatureDescription::Malformed { reason: error.to_string() },
            },
        }
    }
}
