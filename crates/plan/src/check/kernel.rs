//! What is known about one kernel that a module may be loaded into.

use std::path::{Path, PathBuf};

use bstr::{BStr, BString, ByteSlice};
use ferrmod_image::btf::Btf;
use ferrmod_image::facts::Facts;
use ferrmod_image::linux::ExportClass;
use ferrmod_image::{Image, Modinfo};
use ferrmod_index::{FileError, Index, Offers, read_module};
use ferrmod_signature::Keyring;

use super::{KernelConfig, Symvers};

/// What the kernel itself exports, and where that is known from.
#[derive(Debug)]
pub enum Core<'k> {
    /// From its image: everything is known.
    Image(Box<Facts<'k>>),
    /// From a `Module.symvers`: no types, no certificates.
    Symvers(Symvers),
}

/// A kernel: its own exports, its modules, its configuration.
pub struct Kernel<'k> {
    /// Its release, as `uname -r` prints it.
    pub release: String,
    /// The version magic it wants of modules, its trailing space included.
    pub vermagic: BString,
    /// What it exports itself.
    pub core: Core<'k>,
    /// What it was built with; may be empty.
    pub config: KernelConfig,
    /// Its modules, when their tree is at hand.
    pub modules: Option<(&'k Index, Offers)>,
}

/// A symbol that the kernel itself exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreExport<'k> {
    /// The CRC of its type, with `CONFIG_MODVERSIONS`.
    pub crc: Option<u32>,
    /// Only for modules with a licence compatible with the GPL.
    pub gpl_only: bool,
    /// The namespace that a user has to import.
    pub namespace: Option<&'k BStr>,
    /// Where it is linked, or where it could be.
    pub address: u64,
}

/// Something that is built into a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltIn {
    /// The kernel has a folder in `/sys/module` for it, because it has parameters or states a version.
    pub has_folder: bool,
}

/// Where the kernel's text begins on x86-64 (`__START_KERNEL_map` and 16 MiB).
const TEXT: u64 = 0xffff_ffff_8100_0000;

impl Kernel<'_> {
    /// The export of this name of the kernel itself.
    #[must_use]
    pub fn export(&self, name: &BStr) -> Option<CoreExport<'_>> {
        match &self.core {
            Core::Image(facts) => {
                let export = facts.export(facts.find_export(name)?);
                Some(CoreExport {
                    crc: export.crc,
                    gpl_only: export.class == ExportClass::GplOnly,
                    namespace: export.namespace,
                    address: export.address,
                })
            }
            Core::Symvers(symvers) => {
                let export = symvers.get(name.to_str().ok()?)?;
                Some(CoreExport {
                    crc: export.crc,
                    gpl_only: export.gpl_only,
                    namespace: export.namespace.as_deref().map(BStr::new),
                    address: TEXT,
                })
            }
        }
    }

    /// Every name the kernel itself exports.
    pub fn export_names(&self) -> Box<dyn Iterator<Item = &BStr> + '_> {
        match &self.core {
            Core::Image(facts) => Box::new((0..facts.exports_len()).map(|index| facts.export(index).name)),
            Core::Symvers(symvers) => Box::new(symvers.names().map(BStr::new)),
        }
    }

    /// The kernel's facts, where its image is at hand.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts<'_>> {
        match &self.core {
            Core::Image(facts) => Some(facts),
            Core::Symvers(_) => None,
        }
    }

    /// The certificates that the kernel trusts from its start; `None` when its image is not at hand. One that cannot be read is left out.
    #[must_use]
    pub fn keyring(&self) -> Option<Keyring> {
        let facts = self.facts()?;
        let mut keyring = Keyring::new();
        // Those before one that cannot be read are trusted all the same.
        let _ = keyring.add_der(facts.certificates(), &self.release);
        Some(keyring)
    }

    /// The kernel's types, where it has some.
    #[must_use]
    pub fn btf(&self) -> Option<&Btf<'_>> {
        self.facts().map(Facts::btf).filter(|btf| btf.types_len() > 1)
    }

    /// What the modules of its tree offer.
    #[must_use]
    pub fn offers(&self) -> Option<&Offers> {
        self.modules.as_ref().map(|(_, offers)| offers)
    }

    /// Whether its release says that it is this version of Linux or a later one.
    #[must_use]
    pub(super) fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten().unwrap_or(0);
        (next(), next()) >= (major, minor)
    }

    /// The folder of its modules.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.modules.as_ref().map(|(index, _)| index.tree().folder.as_path())
    }

    /// The path and the bytes, unpacked, of module `number` of its tree.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, number: u32) -> Result<Option<(PathBuf, Vec<u8>)>, FileError> {
        let Some(path) = self.offers().and_then(|offers| Some(offers.path(&offers.module(number)?))) else {
            return Ok(None);
        };
        let bytes = read_module(&path)?;
        Ok(Some((path, bytes)))
    }

    /// Whether something of this (normalised) name is built in, and what the kernel shows of it.
    #[must_use]
    pub fn built_in(&self, name: &str) -> Option<BuiltIn> {
        let (index, _) = self.modules.as_ref()?;
        if !index.is_builtin(name) {
            return None;
        }
        let text = std::fs::read(index.tree().folder.join("modules.builtin.modinfo")).unwrap_or_default();
        let has_folder = Modinfo::new(&text).iter().any(|(key, _)| {
            let Some((owner, what)) = key.split_once_str(".") else {
                return false;
            };
            let same = owner.len() == name.len()
                && owner.iter().zip(name.bytes()).all(|(&a, b)| a == b || (a == b'-' && b == b'_'));
            same && matches!(what, b"parmtype" | b"version")
        });
        Some(BuiltIn { has_folder })
    }
}

/// The version magic of a kernel whose image is not at hand: that of a module that says it was built with it.
#[must_use]
pub fn vermagic_of_modules(offers: &Offers) -> Option<BString> {
    (0..offers.modules_len())
        .filter_map(|number| offers.module(number))
        .find(|module| module.in_tree && module.vermagic.is_some())
        .and_then(|module| module.vermagic.map(ToOwned::to_owned))
}

/// The release of the kernel that a module was built for: the first word of its `vermagic`.
#[must_use]
pub fn built_for(image: &Image<'_>) -> Option<String> {
    let vermagic = image.modinfo().get("vermagic")?;
    let word = vermagic.split(|&byte| byte == b' ').next().unwrap_or_default();
    Some(word.to_str_lossy().into_owned())
}
