//! What the file of a module says, and who vouches for it.

use std::path::Path;

use ferrmod_image::Image;
use ferrmod_index::{FileError, read_packed, unpack};
use ferrmod_signature::{Colons, Keyring, Refusal, summary};
use serde::Serialize;

use crate::note::build_id;
use crate::packages::Packaged;
use ferrmod_image::shown;

/// What is known about a module's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModuleFile {
    /// Where it is, in the root.
    pub path: String,
    /// `srcversion` of `.modinfo`.
    pub srcversion: Option<String>,
    /// The build id, in hexadecimal.
    pub build_id: Option<String>,
    /// `license` of `.modinfo`.
    pub licence: Option<String>,
    /// Whether the licence is one that Linux takes as compatible with the GPL.
    pub gpl: bool,
    /// Whether it says that it was built with its kernel (`intree`).
    pub in_tree: bool,
    /// Whether it says that it is a staging driver.
    pub staging: bool,
    /// Whether it says that it is a live patch.
    pub livepatch: bool,
    /// Whether it says that it is a test.
    pub test: bool,
    /// Who vouches for it.
    pub signature: Signature,
    /// The package that installed it.
    pub package: Option<String>,
    /// When it is not what the package installed: the check sum it should have, and the one it has.
    pub package_differs: Option<(String, String)>,
    /// The algorithm of these (`MD5`, `SHA256`).
    #[serde(skip)]
    pub package_algorithm: Option<String>,
    /// Why it cannot be read as a module; then nothing else is known but its path and package.
    pub unreadable: Option<String>,
}

/// Who vouches for a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Signature {
    /// Somebody trusted.
    Signed {
        /// The signer's certificate's subject.
        signer: String,
        /// Its subject key identifier or else its serial number, bytes in hexadecimal with colons.
        key: String,
    },
    /// As [`Signature::Signed`], but the message has bytes that signing tools do not write.
    Altered {
        /// The signer's certificate's subject.
        signer: String,
        /// What is odd.
        oddities: Vec<String>,
    },
    /// Nobody.
    Unsigned,
    /// Somebody who is not trusted, or in a way that is not known here.
    Unknown {
        /// Who, and why that does not count.
        reason: String,
    },
    /// The signature does not hold.
    Bad {
        /// Why.
        reason: String,
        /// What Linux's check gives.
        errno: &'static str,
    },
    /// There is a signature, and no certificate to verify it with.
    Unverified {
        /// Who it says has signed.
        signer: String,
    },
    /// The file cannot be read.
    Unread,
}

impl Signature {
    /// Who has signed it, or says so.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        match self {
            Self::Signed { signer, .. } | Self::Altered { signer, .. } | Self::Unverified { signer } => Some(signer),
            Self::Unknown { .. } | Self::Unsigned | Self::Bad { .. } | Self::Unread => None,
        }
    }

    fn of(module: &[u8], keyring: Option<&Keyring>) -> Self {
        let Some(keyring) = keyring else {
            return match ferrmod_image::linux::signature_of(module) {
                Ok(None) => Self::Unsigned,
                Ok(Some(_)) => Self::Unverified { signer: claimed(module) },
                Err(error) => Self::of_refusal(&Refusal::Envelope(error)),
            };
        };
        match ferrmod_signature::verify(module, keyring) {
            Ok(signed) => {
                let certificate = signed.signer();
                let signer = shown(certificate.subject_text().as_bytes());
                if signed.oddities.is_empty() {
                    let key = certificate.key_id().unwrap_or(certificate.serial());
                    Self::Signed { signer, key: Colons(key).to_string() }
                } else {
                    Self::Altered { signer, oddities: signed.oddities.iter().map(ToString::to_string).collect() }
                }
            }
            Err(refusal) => Self::of_refusal(&refusal),
        }
    }

    fn of_refusal(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Unsigned => Self::Unsigned,
            refusal if refusal.is_unsigned() => Self::Unknown { reason: shown(refusal.to_string().as_bytes()) },
            refusal => Self::Bad { reason: shown(refusal.to_string().as_bytes()), errno: refusal.errno_name() },
        }
    }
}

/// Who a signature says has made it.
fn claimed(module: &[u8]) -> String {
    let Some(summary) = summary(module) else { return "somebody".to_owned() };
    match summary.signer {
        Some(signer) => shown(signer),
        None => format!("key {}", Colons(summary.key)),
    }
}

/// Reads the file at `path`, which `package` has installed, and verifies it with `keyring`.
pub(crate) fn read(path: &Path, keyring: Option<&Keyring>, package: Option<&Packaged>) -> ModuleFile {
    let mut file = ModuleFile {
        path: shown(path.as_os_str().as_encoded_bytes()),
        srcversion: None,
        build_id: None,
        licence: None,
        gpl: false,
        in_tree: false,
        staging: false,
        livepatch: false,
        test: false,
        signature: Signature::Unread,
        package: package.map(|package| package.package.clone()),
        package_differs: None,
        package_algorithm: None,
        unreadable: None,
    };
    let bytes = match read_packed(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            file.unreadable = Some(problem(&error));
            return file;
        }
    };
    // The sum is that of the file as it is on the disk, before it is unpacked.
    if let Some(wanted) = package.and_then(|package| package.sum)
        && let Some(found) = wanted.of_same_kind(&bytes)
        && found != wanted
    {
        file.package_differs = Some((wanted.to_string(), found.to_string()));
        file.package_algorithm = Some(wanted.algorithm());
    }
    let module = match unpack(&bytes) {
        Ok(module) => module,
        Err(error) => {
            file.unreadable = Some(shown(error.to_string().as_bytes()));
            return file;
        }
    };
    file.signature = Signature::of(&module, keyring);
    match Image::read(&module) {
        Ok(image) => {
            let modinfo = image.modinfo();
            let says = |key: &str| modinfo.get(key).is_some();
            file.srcversion = modinfo.get("srcversion").map(|text| shown(text));
            file.build_id = build_id(image.section_data(".note.gnu.build-id"));
            file.licence = image.licence().map(|text| shown(text));
            file.gpl = image.is_gpl_compatible();
            file.in_tree = says("intree");
            file.staging = says("staging");
            file.livepatch = says("livepatch");
            file.test = says("test");
        }
        Err(error) => file.unreadable = Some(shown(error.to_string().as_bytes())),
    }
    file
}

/// What is wrong, without the path: that stands beside it.
fn problem(error: &FileError) -> String {
    shown(error.problem.to_string().as_bytes().trim_ascii())
}
