//! What a module's appended signature says about itself, without verifying anything: the signature fields of `modinfo`.

use bstr::BStr;

use crate::{Digest, Message, SignerId, name};

/// The marker, `MODULE_SIG_STRING`.
const MARKER: &[u8] = b"~Module signature appended~\n";

/// What `modinfo` shows of a signature. The parts lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary<'a> {
    /// `sig_id`: `PKCS#7`; `PGP` or `X509` for kernels before 4.3.
    pub id: &'static str,
    /// `signer`: for PKCS#7 the issuer's common name (its last attribute when it has none). Absent when the message names the
    /// signer by a key identifier.
    pub signer: Option<&'a BStr>,
    /// `sig_key`: serial number of the signer's certificate, or the key identifier.
    pub key: &'a [u8],
    /// `key` is a key identifier and no serial number. kmod shows no signature fields at all then.
    pub key_is_identifier: bool,
    /// `sig_hashalgo`.
    pub digest: &'static str,
    /// `signature`: the bytes of it.
    pub signature: &'a [u8],
}

/// Names by the numbers of the trailer before PKCS#7 came.
const DIGESTS: [&str; 9] = ["md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224", "sm3"];
const ALGORITHMS: u8 = 2;

/// The signature fields of the module in `file` (unpacked); `None` when it has no signature or none that can be read.
pub fn summary(file: &[u8]) -> Option<Summary<'_>> {
    let before = file.strip_suffix(MARKER)?;
    let (before, &info) = before.split_last_chunk::<12>()?;
    let [algorithm, digest, id_type, signer_length, key_length, _, _, _, l0, l1, l2, l3] = info;
    let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).ok()?;
    // kmod knows no more, and takes what has other numbers for no signature.
    let name = DIGESTS.get(usize::from(digest))?;
    if length == 0 || algorithm >= ALGORITHMS {
        return None;
    }
    let (before, signature) = before.split_at_checked(before.len().checked_sub(length)?)?;
    let id = match id_type {
        0 => "PGP",
        1 => "X509",
        2 => return pkcs7(signature),
        _ => return None,
    };
    let (before, key) = before.split_at_checked(before.len().checked_sub(key_length.into())?)?;
    let (_, signer) = before.split_at_checked(before.len().checked_sub(signer_length.into())?)?;
    Some(Summary { id, signer: Some(signer.into()), key, key_is_identifier: false, digest: name, signature })
}

fn pkcs7(message: &[u8]) -> Option<Summary<'_>> {
    let signer = Message::read(message).ok()?.signers().next()?.ok()?;
    let digest = Digest::of_oid(&signer.digest)?.name();
    let (called, key, key_is_identifier) = match signer.id {
        SignerId::IssuerAndSerial { issuer, serial } => (name::short(issuer), serial, false),
        SignerId::KeyId(key) => (None, key, true),
    };
    // As OpenSSL, which shows a number and not its encoding.
    let key = match key {
        [0, rest @ ..] if !key_is_identifier && !rest.is_empty() => rest,
        _ => key,
    };
    let signature = signer.signature;
    Some(Summary { id: "PKCS#7", signer: called, key, key_is_identifier, digest, signature })
}

/// Whether the file ends in a signature's marker, readable or not.
pub fn is_marked(file: &[u8]) -> bool {
    file.ends_with(MARKER)
}
