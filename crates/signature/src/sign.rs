//! Making signatures: what `sign-file` writes, to the byte.

use alloc::string::String;
use alloc::vec::Vec;

use der::asn1::ObjectIdentifier;
use rsa::traits::PublicKeyParts;

use crate::certificate::Certificate;
use crate::key::{Key, P256_BYTES, P384_BYTES, Scheme};
use crate::message::DATA;
use crate::private::PrivateKey;
use crate::{Digest, Hash};

/// The marker, `MODULE_SIG_STRING`.
const MARKER: &[u8] = b"~Module signature appended~\n";
/// `id-signedData`.
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// `rsaEncryption`.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Tags of DER.
pub(crate) mod tag {
    pub(crate) const INTEGER: u8 = 0x02;
    pub(super) const OCTETS: u8 = 0x04;
    pub(super) const OID: u8 = 0x06;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
    /// `[0]`, implicit, of bytes.
    pub(super) const KEY_ID: u8 = 0x80;
    /// `[0]`, explicit.
    pub(super) const CONTENT: u8 = 0xa0;
}

/// How the message names the signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameBy {
    /// By the certificate's issuer and serial number.
    #[default]
    IssuerAndSerial,
    /// By the certificate's subject key identifier (`sign-file -k`).
    KeyId,
}

/// Why a module could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Signatures over this digest are not made here.
    #[error("no signature can be made over {0} here; sha256 or sha512 are")]
    Digest(Digest),
    /// The certificate has no subject key identifier.
    #[error("the certificate has no subject key identifier")]
    NoKeyId,
    /// The certificate is another key's.
    #[error("the certificate of {0} does not belong to the key")]
    OtherKey(String),
    /// The signature is not by the certificate's key over this module.
    #[error("the signature is not by the key of {0} over this module")]
    Mismatch(String),
    /// The message that was given does not verify.
    #[error("the PKCS#7 message does not verify: {0}")]
    Message(String),
    /// The key could not be used.
    #[error("the key cannot sign: {0}")]
    Key(String),
}

/// One DER element.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let significant = bytes.iter().position(|&byte| byte != 0).and_then(|at| bytes.get(at..)).unwrap_or_default();
    let mut out = alloc::vec![tag];
    match u8::try_from(length) {
        Ok(length @ 0..=0x7f) => out.push(length),
        _ => {
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
    }
    out.extend(parts.iter().copied().flatten());
    out
}

fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    element(tag::OID, &[oid.as_bytes()])
}

/// The PKCS#7 message for a signature that was made over the module's digest, perhaps elsewhere.
///
/// # Errors
/// [`SignError`] when the signature is not by the certificate's key, or cannot be written as asked.
pub fn message(
    certificate: &Certificate,
    digest: Digest,
    hash: &Hash,
    signature: &[u8],
    name_by: NameBy,
) -> Result<Vec<u8>, SignError> {
    let (scheme, algorithm) = match &certificate.key {
        Key::Rsa(_) => (Scheme::Rsa, element(tag::SEQUENCE, &[&oid(RSA), b"\x05\x00"])),
        Key::P256(_) | Key::P384(_) => {
            let named = Scheme::Ecdsa.oid(digest).ok_or(SignError::Digest(digest))?;
            (Scheme::Ecdsa, element(tag::SEQUENCE, &[&oid(named)]))
        }
        Key::Unsupported { .. } => return Err(SignError::Key(alloc::format!("its kind is {}", certificate.key))),
    };
    if certificate.key.verify(scheme, digest, hash, signature) != Ok(true) {
        return Err(SignError::Mismatch(certificate.subject_text()));
    }
    let (version, signer) = match name_by {
        NameBy::IssuerAndSerial => {
            let serial = element(tag::INTEGER, &[certificate.serial()]);
            (1, element(tag::SEQUENCE, &[certificate.issuer(), &serial]))
        }
        NameBy::KeyId => (3, element(tag::KEY_ID, &[certificate.key_id().ok_or(SignError::NoKeyId)?])),
    };
    let version = element(tag::INTEGER, &[&[version]]);
    let digest = element(tag::SEQUENCE, &[&oid(digest.oid())]);
    let signature = element(tag::OCTETS, &[signature]);
    let info = element(tag::SEQUENCE, &[&version, &signer, &digest, &algorithm, &signature]);
    let content = element(tag::SEQUENCE, &[&oid(DATA)]);
    let (digests, infos) = (element(tag::SET, &[&digest]), element(tag::SET, &[&info]));
    let signed = element(tag::SEQUENCE, &[&version, &digests, &content, &infos]);
    Ok(element(tag::SEQUENCE, &[&oid(SIGNED_DATA), &element(tag::CONTENT, &[&signed])]))
}

/// Signs `module` (without a signature): the PKCS#7 message.
///
/// The same module, key, certificate and digest always give the same bytes, by RSA those that `sign-file` writes. RSA is blinded
/// with random numbers, which do not change the result.
///
/// # Errors
/// [`SignError`]
pub fn sign(
    module: &[u8],
    key: &PrivateKey,
    certificate: &Certificate,
    digest: Digest,
    name_by: NameBy,
) -> Result<Vec<u8>, SignError> {
    let hash = digest.of(&[module]).ok_or(SignError::Digest(digest))?;
    if !key.belongs_to(certificate) {
        return Err(SignError::OtherKey(certificate.subject_text()));
    }
    let signature = key.sign(digest, &hash)?;
    message(certificate, digest, &hash, &signature, name_by)
}

/// The module with the message behind it: a signed module's file.
pub fn append(module: &[u8], message: &[u8]) -> Vec<u8> {
    // `struct module_signature`: algo, hash, id_type (2 is PKCS#7), signer_len, key_id_len, padding, sig_len.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [module, message, &[0, 0, 2, 0, 0, 0, 0, 0], &length, MARKER].concat()
}

/// The module without its appended signature; `None` when it has none that can be read.
pub fn strip(file: &[u8]) -> Option<&[u8]> {
    let signature = ferrmod_image::linux::signature_of(file).ok()??;
    file.get(..file.len().checked_sub(signature.trailer)?)
}

impl PrivateKey {
    /// Whether the certificate is this key's.
    pub fn belongs_to(&self, certificate: &Certificate) -> bool {
        match (self, &certificate.key) {
            (Self::Rsa(own), Key::Rsa(public)) => {
                let modulus = own.n().to_bytes_be();
                let exponent = own.e().to_bytes_be();
                crate::RsaKey::new(&modulus, &exponent).as_ref() == Some(public)
            }
            (Self::P256(own), Key::P256(public)) => own.verifying_key() == public,
            (Self::P384(own), Key::P384(public)) => own.verifying_key() == public,
            _ => false,
        }
    }

    /// The signature over a digest: PKCS#1 v1.5 by RSA, deterministic (RFC 6979) by ECDSA.
    fn sign(&self, digest: Digest, hash: &Hash) -> Result<Vec<u8>, SignError> {
        use p256::ecdsa::signature::hazmat::PrehashSigner;
        let bytes = hash.as_bytes();
        match self {
            Self::Rsa(key) => {
                let padding = rsa::Pkcs1v15Sign { hash_len: Some(bytes.len()), prefix: digest.info().into() };
                key.sign_with_rng(&mut rand_core::OsRng, padding, bytes)
                    .map_err(|error| SignError::Key(alloc::format!("{error}")))
            }
            Self::P256(key) => {
                let signature: Result<p256::ecdsa::Signature, _> = key.sign_prehash(&hash.widened(P256_BYTES));
                signature.map(|signature| signature.to_der().as_bytes().to_vec()).map_err(|_| SignError::Digest(digest))
            }
            Self::P384(key) => {
                let signature: Result<p384::ecdsa::Signature, _> = key.sign_prehash(&hash.widened(P384_BYTES));
                signature.map(|signature| signature.to_der().as_bytes().to_vec()).map_err(|_| SignError::Digest(digest))
            }
        }
    }
}
