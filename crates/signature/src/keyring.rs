//! Who is trusted, and who no longer.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use der::{Tag, TagNumber};

use crate::certificate::{Certificate, certificates};
use crate::reader::{Cursor, ParseError};
use crate::{Digest, Hash, SignerId};

/// A trusted certificate and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Trusted {
    /// The certificate.
    pub certificate: Certificate,
    /// Where it came from, for messages.
    pub origin: String,
}

/// Certificates that are trusted to vouch for modules, and what was revoked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keyring {
    trusted: Vec<Trusted>,
    revoked: Vec<Certificate>,
    /// Issuer and serial number.
    revoked_serials: Vec<(Vec<u8>, Vec<u8>)>,
    /// SHA-256 of whole files, or of signed parts of certificates.
    revoked_hashes: Vec<Vec<u8>>,
}

impl Keyring {
    /// Nobody is trusted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates in `list`, DER, one after the other: a single one, or as a kernel's image has them. How many
    /// there were.
    ///
    /// # Errors
    /// [`ParseError`] for the first that cannot be read. Those before it are trusted.
    pub fn add_der(&mut self, list: &[u8], origin: &str) -> Result<usize, ParseError> {
        let mut count = 0;
        for certificate in certificates(list) {
            self.add(certificate?, origin);
            count += 1;
        }
        Ok(count)
    }

    /// Trusts a certificate.
    pub fn add(&mut self, certificate: Certificate, origin: &str) {
        if !self.trusted.iter().any(|known| known.certificate.der() == certificate.der()) {
            self.trusted.push(Trusted { certificate, origin: origin.to_owned() });
        }
    }

    /// Trusts those certificates no longer for which `keep` says no.
    pub fn retain(&mut self, keep: impl FnMut(&Trusted) -> bool) {
        self.trusted.retain(keep);
    }

    /// Revokes a certificate: what its key signed is refused, whoever trusts it.
    pub fn revoke(&mut self, certificate: Certificate) {
        self.revoked.push(certificate);
    }

    /// Revokes a file by the SHA-256 of all of it, or a certificate by that of its signed part (`bin:` and `tbs:` of the
    /// kernel's blacklist, `EFI_CERT_SHA256` of dbx).
    pub fn revoke_hash(&mut self, sha256: &[u8]) {
        self.revoked_hashes.push(sha256.to_vec());
    }

    /// Revokes what a revocation list (X.509 CRL, DER) names. How many certificates it named.
    ///
    /// Who signed the list is not asked: it was given by hand.
    ///
    /// # Errors
    /// [`ParseError`] names what is not where it should be; nothing is revoked then.
    pub fn revoke_list(&mut self, list: &[u8]) -> Result<usize, ParseError> {
        let mut fields = Cursor::new(list, 0, "revocation list")?
            .inside(Tag::Sequence, "revocation list")?
            .inside(Tag::Sequence, "signed part of the revocation list")?;
        if fields.next_tag() == Some(Tag::Integer) {
            fields.content(Tag::Integer, "version")?;
        }
        fields.algorithm("algorithm")?;
        let issuer = fields.element(Tag::Sequence, "issuer")?;
        for _ in 0..2 {
            if matches!(fields.next_tag(), Some(Tag::UtcTime | Tag::GeneralizedTime)) {
                fields.any("time")?;
            }
        }
        let mut serials = Vec::new();
        if fields.next_tag() == Some(Tag::Sequence) {
            let mut entries = fields.inside(Tag::Sequence, "revoked certificates")?;
            while !entries.is_at_end() {
                let mut entry = entries.inside(Tag::Sequence, "revoked certificate")?;
                let (serial, _) = entry.content(Tag::Integer, "serial number")?;
                serials.push((issuer.to_vec(), serial.to_vec()));
            }
        }
        let extensions = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
        if fields.next_tag() == Some(extensions) {
            fields.content(extensions, "extensions")?;
        }
        fields.end("end of the revocation list")?;
        let count = serials.len();
        self.revoked_serials.append(&mut serials);
        Ok(count)
    }

    /// The trusted certificates.
    pub fn trusted(&self) -> &[Trusted] {
        &self.trusted
    }

    /// Nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.trusted.is_empty()
    }

    /// The trusted certificate that a signature names.
    pub(crate) fn find(&self, id: &SignerId<'_>) -> Option<&Trusted> {
        self.trusted.iter().find(|trusted| names(id, &trusted.certificate))
    }

    /// The trusted certificate that has issued this one.
    pub(crate) fn issuer_of(&self, certificate: &Certificate) -> Option<&Trusted> {
        self.trusted.iter().find(|trusted| certificate.is_issued_by(&trusted.certificate))
    }

    /// Whether a certificate was revoked.
    pub fn is_revoked(&self, certificate: &Certificate) -> bool {
        self.revoked.iter().any(|other| other.der() == certificate.der() || other.key == certificate.key)
            || self
                .revoked_serials
                .iter()
                .any(|(issuer, serial)| issuer == certificate.issuer() && serial == certificate.serial())
            || (!self.revoked_hashes.is_empty() && self.is_revoked_hash(&Digest::sha256(certificate.signed_part())))
    }

    /// Whether a file is on the list of revoked files: its SHA-256.
    pub(crate) fn revoked_file(&self, file: &[u8]) -> Option<Hash> {
        if self.revoked_hashes.is_empty() {
            return None;
        }
        Some(Digest::sha256(file)).filter(|hash| self.is_revoked_hash(hash))
    }

    fn is_revoked_hash(&self, hash: &Hash) -> bool {
        self.revoked_hashes.iter().any(|known| known == hash.as_bytes())
    }
}

/// Whether a signature names this certificate as its signer's.
pub(crate) fn names(id: &SignerId<'_>, certificate: &Certificate) -> bool {
    match id {
        SignerId::IssuerAndSerial { issuer, serial } => {
            certificate.serial() == *serial && certificate.issuer() == *issuer
        }
        SignerId::KeyId(key) => certificate.key_id() == Some(*key),
    }
}
