//! What the kernel says of its keys (`/proc/keys`), and the variables of the firmware (efivarfs).
//!
//! The kernel describes its keys and never hands one out: of a certificate there is the subject and the key identifier.

use std::fs;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};

use crate::read;
use crate::{Error, Kernel};

/// Lists of keys and variables of the firmware are not larger.
const LIMIT: u64 = 16 << 20;

/// A key that the kernel holds to verify signatures with, as `/proc/keys` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsymmetricKey {
    /// The subject of its certificate, as the kernel words it.
    pub subject: BString,
    /// The subject key identifier of its certificate, or its serial number when it has none.
    pub id: Vec<u8>,
}

/// The keys of a kernel that have to do with signatures. Only those that the reader may see are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// The keys that signatures are verified with, of all keyrings.
    pub asymmetric: Vec<AsymmetricKey>,
    /// The blacklist: SHA-256 (or another digest) of files (`bin`) and of signed parts of certificates (`tbs`).
    pub blacklist: Vec<Vec<u8>>,
}

impl Keys {
    /// Whether a key with this identifier is there.
    pub fn holds(&self, id: &[u8]) -> bool {
        self.asymmetric.iter().any(|key| key.id == id)
    }
}

impl Kernel {
    /// The keys that the kernel describes.
    ///
    /// # Errors
    /// [`Error`] when they cannot be read; not found also means that the kernel was built without keys.
    pub fn keys(&self) -> Result<Keys, Error> {
        Ok(parse_keys(&read::whole(&self.roots.proc.join("keys"), LIMIT)?))
    }
}

/// Bytes written in hexadecimal.
fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())
}

/// Reads what `/proc/keys` shows. Lines about other kinds of keys, and those that are none, are passed over.
///
/// A line is: serial number, flags, usage, expiry, permissions, uid, gid, the type cut to nine letters, a description.
pub fn parse_keys(text: &[u8]) -> Keys {
    let mut keys = Keys::default();
    for line in text.lines() {
        let mut rest = line;
        let mut word = || -> Option<&[u8]> {
            let start = rest.trim_ascii_start();
            let end = start.find_byteset(b" \t").unwrap_or(start.len());
            let (word, after) = start.split_at_checked(end)?;
            rest = after;
            (!word.is_empty()).then_some(word)
        };
        let Some(kind) = (0..8).map_while(|_| word()).nth(7) else { continue };
        match kind {
            b"asymmetri" => {
                // `SUBJECT: IDENTIFIER: X509.rsa 1234abcd []`; a subject may have a colon in it.
                let description = rest.trim_ascii();
                let Some(end) = description.rfind(b": X509") else { continue };
                let Some((subject, id)) = description.get(..end).and_then(|text| text.rsplit_once_str(b": ")) else {
                    continue;
                };
                if let Some(id) = hexadecimal(id.trim_ascii()) {
                    keys.asymmetric.push(AsymmetricKey { subject: subject.trim_ascii().into(), id });
                }
            }
            b"blacklist" => {
                let description = rest.trim_ascii().trim_end_with(|letter| letter == ':' || letter == ' ');
                let digits = description.strip_prefix(b"bin:").or_else(|| description.strip_prefix(b"tbs:"));
                keys.blacklist.extend(digits.and_then(hexadecimal));
            }
            _ => {}
        }
    }
    keys
}

/// What a variable of the firmware is to the kernel's trust in modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// `db`: certificates that the firmware trusts.
    Db,
    /// `MokListRT`: the machine owner's keys, as shim hands them on; further parts are `MokListRT1` and so on.
    MokList,
    /// `dbx`: what the firmware forbids.
    Dbx,
    /// `MokListXRT`: what the machine's owner forbids.
    MokListX,
    /// `SecureBoot`: whether the firmware verifies what it starts.
    SecureBoot,
}

/// The variable of this file name: as efivarfs has it (`db-d719b2cb-3d3a-4596-a3bc-dad00e67656f`), or a dump's (`db`, `db.esl`,
/// `MokListRT.bin`).
pub fn variable(name: &str) -> Option<Variable> {
    const SECURITY: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
    const SHIM: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";
    const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let (stem, vendor) = match name.split_once('-') {
        Some((stem, vendor)) => (stem, Some(vendor.split('.').next().unwrap_or_default())),
        None => (name.split('.').next().unwrap_or_default(), None),
    };
    let (variable, owner) = match stem {
        "db" => (Variable::Db, SECURITY),
        "dbx" => (Variable::Dbx, SECURITY),
        "SecureBoot" => (Variable::SecureBoot, GLOBAL),
        _ => {
            let is_part = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
            let variable = match (stem.strip_prefix("MokListRT"), stem.strip_prefix("MokListXRT")) {
                (Some(rest), _) if is_part(rest) => Variable::MokList,
                (_, Some(rest)) if is_part(rest) => Variable::MokListX,
                _ => return None,
            };
            (variable, SHIM)
        }
    };
    // A variable of that name and of another vendor is somebody else's.
    vendor.is_none_or(|vendor| vendor.eq_ignore_ascii_case(owner)).then_some(variable)
}

/// The variables in a folder that matter to modules, with their contents, those of one kind together; of efivarfs or of dumps.
///
/// # Errors
/// [`Error`] when the folder or one of these files cannot be read.
pub fn variables(folder: &Path) -> Result<Vec<(Variable, PathBuf, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| Error::os(folder, &error))? {
        let path = entry.map_err(|error| Error::os(folder, &error))?.path();
        if let Some(variable) = path.file_name().and_then(|name| name.to_str()).and_then(variable) {
            let content = read::whole(&path, LIMIT)?;
            found.push((variable, path, content.into()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_described_and_read() {
        let text = b"\
0198ba3b I------     1 perm 1f030000     0     0 blacklist bin:80b4d96931bf0d02fd91a61e19d14f1da452e66db2408ca8604d411f92659f0a\n\
1b0d3d4c I------     1 perm 1f0b0000     0     0 blacklist tbs:01: \n\
03b851bd I--Q---     2 perm 1f3f0000     0 65534 keyring   _uid.0: empty\n\
2f9c1db5 I------     1 perm 1f030000     0     0 asymmetri Debian Project: Ben Hutchings: 008a018dca80932630: X509.rsa ca809326 []\n\
3a9c1db5 I------     1 perm 1f030000     0     0 asymmetri Build time autogenerated kernel key: 66f54e0a: X509.rsa 0a []\n\
3a9c1db6 I------     1 perm 1f030000     0     0 asymmetri odd: 66f: X509.rsa 0a []\n\
short line\n\n";
        let keys = parse_keys(text);
        assert_eq!(keys.blacklist.len(), 2);
        assert_eq!(keys.blacklist[1], [1]);
        let subjects: Vec<_> = keys.asymmetric.iter().map(|key| key.subject.to_string()).collect();
        assert_eq!(subjects, ["Debian Project: Ben Hutchings", "Build time autogenerated kernel key"]);
        assert!(
            keys.holds(b"\x66\xf5\x4e\x0a") && keys.holds(b"\x00\x8a\x01\x8d\xca\x80\x93\x26\x30") && !keys.holds(b"")
        );
    }

    #[test]
    fn nothing_in_the_file_makes_it_panic() {
        for text in [
            &b""[..],
            b"\n",
            b"a b c d e f g asymmetri",
            b"a b c d e f g asymmetri : X509",
            b"a b c d e f g blacklist bin:",
        ] {
            assert_eq!(parse_keys(text), Keys::default());
        }
    }

    #[test]
    fn variables_have_a_name_and_a_vendor() {
        assert_eq!(variable("db-d719b2cb-3d3a-4596-a3bc-dad00e67656f"), Some(Variable::Db));
        assert_eq!(variable("db-8be4df61-93ca-11d2-aa0d-00e098032b8c"), None);
        assert_eq!(variable("dbx.esl"), Some(Variable::Dbx));
        assert_eq!(variable("MokListRT"), Some(Variable::MokList));
        assert_eq!(variable("MokListRT1-605dab50-e046-4300-abb6-3dd810dd8b23"), Some(Variable::MokList));
        assert_eq!(variable("MokListXRT-605DAB50-e046-4300-abb6-3dd810dd8b23"), Some(Variable::MokListX));
        assert_eq!(variable("MokListTrustedRT-605dab50-e046-4300-abb6-3dd810dd8b23"), None);
        assert_eq!(variable("dbDefault-8be4df61-93ca-11d2-aa0d-00e098032b8c"), None);
    }
}
