//! Verifying a module's signature, in the order in which Linux looks at it.

use alloc::string::String;
use alloc::vec::Vec;

use der::asn1::ObjectIdentifier;
use ferrmod_image::SignatureError;
use ferrmod_image::linux::signature_of;

use crate::attributes::Attributes;
use crate::certificate::{Certificate, Colons, certificates};
use crate::key::{Key, Scheme, Wrong};
use crate::keyring::{Keyring, Trusted, names};
use crate::message::NOT_SIGNED;
use crate::reader::ParseError;
use crate::{Digest, Hash, Message, Signer, SignerId, name};

/// How a signature led to a trusted certificate.
#[derive(Debug, Clone, PartialEq)]
pub enum Matched {
    /// It names the certificate's issuer and serial number.
    IssuerAndSerial,
    /// It names the certificate's subject key identifier.
    KeyId,
    /// Its own certificate is in the message, and the trusted one has issued it, directly or through others in the message.
    Chain {
        /// The signer's certificate first.
        certificates: Vec<Certificate>,
    },
}

/// What in a message is not as signing tools write it, though the signature holds. Linux does not look at these; whoever wants
/// to know that a file is what somebody signed, to the byte, does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Oddity {
    /// The digest is not among those announced in front.
    Unannounced(Digest),
    /// There are bytes behind the message.
    Trailing(usize),
    /// The signature has attributes that are not signed.
    UnsignedAttributes,
    /// The algorithm's parameters are something else than NULL or nothing.
    Parameters,
    /// Another signature in the message could not be verified.
    OtherSignature(Refusal),
}

impl core::fmt::Display for Oddity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unannounced(digest) => write!(f, "{digest} is not among the digests announced in front"),
            Self::Trailing(count) => write!(f, "{count} bytes behind the message"),
            Self::UnsignedAttributes => f.write_str("attributes that are not signed"),
            Self::Parameters => f.write_str("parameters of an algorithm that has none"),
            Self::OtherSignature(refusal) => write!(f, "another signature: {refusal}"),
        }
    }
}

/// A signature that holds, by somebody trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed<'k> {
    /// The trusted certificate, and where it came from.
    pub by: &'k Trusted,
    /// How it was found.
    pub matched: Matched,
    /// The digest that was signed.
    pub digest: Digest,
    /// What the digest of the module is.
    pub hash: Hash,
    /// What was not looked at by Linux, and is not as it should be.
    pub oddities: Vec<Oddity>,
}

impl Signed<'_> {
    /// The certificate whose key made the signature.
    pub fn signer(&self) -> &Certificate {
        match &self.matched {
            Matched::Chain { certificates } => certificates.first().unwrap_or(&self.by.certificate),
            _ => &self.by.certificate,
        }
    }
}

/// Why a module does not count as signed. `Display` is for people; [`Refusal::errno`] is what Linux makes of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no signature.
    #[error("not signed")]
    Unsigned,
    /// What stands before the marker is no signature.
    #[error("{0}")]
    Envelope(SignatureError),
    /// The message cannot be read.
    #[error("the PKCS#7 message cannot be read: {0}")]
    Message(ParseError),
    /// The message has another type.
    #[error("the PKCS#7 message is not signed data")]
    NotSigned,
    /// A version that is neither 1 nor 3.
    #[error("version {0} of the PKCS#7 message is not known")]
    Version(u8),
    /// A signature's version that is neither 1 nor 3.
    #[error("version {0} of the signature is not known")]
    SignerVersion(u8),
    /// The versions of message and signature differ.
    #[error("versions {message} of the message and {signer} of the signature differ")]
    VersionMismatch {
        /// The message's.
        message: u8,
        /// The signature's.
        signer: u8,
    },
    /// Version 1 goes with issuer and serial number, version 3 with a key identifier.
    #[error("the signature's version does not go with the way it names the signer")]
    VersionOfId,
    /// What is signed is something else than data.
    #[error("the signature is over content of type {0}, not over data")]
    ContentType(ObjectIdentifier),
    /// The message has its own content.
    #[error("the PKCS#7 message carries content of its own, the module's signature must be detached")]
    Attached,
    /// Signed attributes lack the digest or the type of what is signed, or contradict it.
    #[error("the signed attributes do not name what is signed")]
    Attributes,
    /// There are signed attributes, which Linux refuses with modules (`sign-file` and `openssl cms -noattr` write none).
    #[error("the signature has signed attributes, which Linux refuses with modules")]
    SignedAttributes {
        /// Whether Linux calls them repeated, or S/MIME's.
        kind: AttributesKind,
    },
    /// A digest nobody knows.
    #[error("digest algorithm {0} is not known")]
    UnknownDigest(ObjectIdentifier),
    /// A signature algorithm nobody knows.
    #[error("signature algorithm {0} is not known")]
    UnknownAlgorithm(ObjectIdentifier),
    /// A digest that is known by name only.
    #[error("digest {0} is not supported")]
    UnsupportedDigest(Digest),
    /// A key that cannot be used here.
    #[error("the key of {signer} is of kind {kind}, which is not supported")]
    UnsupportedKey {
        /// The signer.
        signer: String,
        /// Algorithm and curve.
        kind: String,
    },
    /// Nobody trusted has this key.
    #[error("signed by {signer} (key {key}), who is not trusted")]
    UnknownKey {
        /// The issuer's name, or nothing.
        signer: String,
        /// Serial number or key identifier.
        key: String,
    },
    /// The signer's key made the signature, but over something else.
    #[error("changed after {signer} signed it: the digest is {found}")]
    Changed {
        /// The signer.
        signer: String,
        /// The digest of what is there.
        found: Hash,
    },
    /// The signature was not made by the key it names.
    #[error("the signature was not made by the key of {signer}")]
    Forged {
        /// The signer it names.
        signer: String,
    },
    /// The signer's certificate was revoked.
    #[error("the certificate of {signer} was revoked")]
    Revoked {
        /// The signer.
        signer: String,
    },
    /// The file is on the blacklist.
    #[error("the file's SHA-256 {0} is blacklisted")]
    Blacklisted(Hash),
}

/// Which of Linux's words for signed attributes is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributesKind {
    /// Nothing else is wrong with them.
    Plain,
    /// One of them is there twice.
    Repeated,
    /// One is an S/MIME capability.
    SMime,
}

/// `EINVAL`, `EPERM` and the like, as Linux numbers them.
mod errno {
    pub(super) const EINVAL: i32 = 22;
    pub(super) const ENODATA: i32 = 61;
    pub(super) const ENOPKG: i32 = 65;
    pub(super) const EBADMSG: i32 = 74;
    pub(super) const ENOKEY: i32 = 126;
    pub(super) const EKEYREJECTED: i32 = 129;
}

impl Refusal {
    /// What Linux's check gives, positive. `ENODATA`, `ENOPKG` and `ENOKEY` mean that the module counts as unsigned: it is loaded
    /// and taints the kernel unless signatures are enforced. The others end the load.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Unsigned => errno::ENODATA,
            Self::Envelope(SignatureError::IdType { .. })
            | Self::UnknownDigest(_)
            | Self::UnknownAlgorithm(_)
            | Self::UnsupportedDigest(_)
            | Self::UnsupportedKey { .. } => errno::ENOPKG,
            Self::Envelope(_) | Self::Message(_) | Self::VersionMismatch { .. } | Self::Attached | Self::Attributes => {
                errno::EBADMSG
            }
            Self::NotSigned | Self::Version(_) | Self::SignerVersion(_) | Self::VersionOfId | Self::ContentType(_) => {
                errno::EINVAL
            }
            Self::UnknownKey { .. } => errno::ENOKEY,
            Self::SignedAttributes { .. }
            | Self::Changed { .. }
            | Self::Forged { .. }
            | Self::Revoked { .. }
            | Self::Blacklisted(_) => errno::EKEYREJECTED,
        }
    }

    /// The name of [`Refusal::errno`].
    pub fn errno_name(&self) -> &'static str {
        match self.errno() {
            errno::ENODATA => "ENODATA",
            errno::ENOPKG => "ENOPKG",
            errno::EBADMSG => "EBADMSG",
            errno::EINVAL => "EINVAL",
            errno::ENOKEY => "ENOKEY",
            _ => "EKEYREJECTED",
        }
    }

    /// The module counts as unsigned, as opposed to badly signed: Linux loads it when it need not be signed.
    pub fn is_unsigned(&self) -> bool {
        matches!(self.errno(), errno::ENODATA | errno::ENOPKG | errno::ENOKEY)
    }

    /// How Linux calls the reason when signatures are enforced: `Loading of REASON is rejected`.
    pub fn enforced_reason(&self) -> Option<&'static str> {
        match self.errno() {
            errno::ENODATA => Some("unsigned module"),
            errno::ENOPKG => Some("module with unsupported crypto"),
            errno::ENOKEY => Some("module with unavailable key"),
            _ => None,
        }
    }

    /// What Linux 6.1 writes into its log, with the levels; often nothing.
    pub fn log_lines(&self) -> Vec<(u8, String)> {
        crate::words::log_lines(self)
    }

    fn of(error: ParseError) -> Self {
        if error.what == NOT_SIGNED { Self::NotSigned } else { Self::Message(error) }
    }
}

/// What a signature is over, which decides what is allowed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// A module: no signed attributes.
    #[default]
    Module,
    /// Any data; signed attributes are verified.
    Data,
}

/// Verifies the module in `file` (unpacked, with its appended signature).
///
/// # Errors
/// [`Refusal`]: why the module does not count as signed.
pub fn verify<'k>(file: &[u8], keyring: &'k Keyring) -> Result<Signed<'k>, Refusal> {
    let signature = signature_of(file).map_err(Refusal::Envelope)?.ok_or(Refusal::Unsigned)?;
    let module = file.get(..file.len().saturating_sub(signature.trailer)).unwrap_or_default();
    let signed = verify_detached(module, signature.pkcs7, keyring, Purpose::Module)?;
    match keyring.revoked_file(file) {
        Some(hash) => Err(Refusal::Blacklisted(hash)),
        None => Ok(signed),
    }
}

/// Verifies a detached signature (PKCS#7, DER) over `module`.
///
/// # Errors
/// [`Refusal`]: why the module does not count as signed.
pub fn verify_detached<'k>(
    module: &[u8],
    pkcs7: &[u8],
    keyring: &'k Keyring,
    purpose: Purpose,
) -> Result<Signed<'k>, Refusal> {
    let message = Message::read(pkcs7).map_err(Refusal::of)?;
    let signers = check(&message, purpose)?;
    let carried = certificates(message.certificates).collect::<Result<Vec<_>, _>>().map_err(Refusal::Message)?;
    if message.content.is_some() {
        return Err(Refusal::Attached);
    }
    let mut verifier = Verifier { module, keyring, carried, hash: None };
    let mut found: Option<Signed<'k>> = None;
    let mut others = Vec::new();
    for checked in &signers {
        match verifier.verify(checked) {
            Ok(signed) => {
                found.get_or_insert(signed);
            }
            Err(refusal) if refusal.is_unsigned() => others.push(refusal),
            Err(refusal) => return Err(refusal),
        }
    }
    let Some(mut signed) = found else {
        // Linux answers ENOKEY only when no signature failed for want of an algorithm.
        let worst = others.iter().position(|refusal| refusal.errno() == errno::ENOPKG).unwrap_or(0);
        return Err(if others.is_empty() { Refusal::Unsigned } else { others.swap_remove(worst) });
    };
    signed.oddities = oddities(&message, &signers);
    signed.oddities.extend(others.into_iter().map(Oddity::OtherSignature));
    Ok(signed)
}

/// A signature whose outline holds.
struct Checked<'a> {
    signer: Signer<'a>,
    digest: Digest,
    scheme: Scheme,
    attributes: Option<Attributes<'a>>,
}

/// What Linux checks while it reads.
fn check<'a>(message: &Message<'a>, purpose: Purpose) -> Result<Vec<Checked<'a>>, Refusal> {
    if !matches!(message.version, 1 | 3) {
        return Err(Refusal::Version(message.version));
    }
    if message.digests.is_empty() {
        return Err(Refusal::Message(ParseError { offset: 0, what: "digest algorithm" }));
    }
    if !message.is_data() {
        return Err(Refusal::ContentType(message.content_type));
    }
    let mut out = Vec::new();
    for signer in message.signers() {
        out.push(check_signer(message, signer.map_err(Refusal::Message)?, purpose)?);
    }
    if out.is_empty() {
        return Err(Refusal::Message(ParseError { offset: 0, what: "signature" }));
    }
    if message.has_revocations {
        return Err(Refusal::Message(ParseError { offset: 0, what: "place for revocation lists" }));
    }
    Ok(out)
}

fn check_signer<'a>(message: &Message<'a>, signer: Signer<'a>, purpose: Purpose) -> Result<Checked<'a>, Refusal> {
    match (signer.version, message.version) {
        (1, 1) | (3, 3) => {}
        (1 | 3, _) => return Err(Refusal::VersionMismatch { message: message.version, signer: signer.version }),
        _ => return Err(Refusal::SignerVersion(signer.version)),
    }
    let digest = Digest::of_oid(&signer.digest).filter(|digest| digest.is_named_by_linux());
    let digest = digest.ok_or(Refusal::UnknownDigest(signer.digest))?;
    let attributes = match signer.signed_attributes {
        Some(content) => Some(Attributes::read(content)?),
        None => None,
    };
    let (scheme, _) = Scheme::of_message(&signer.algorithm).ok_or(Refusal::UnknownAlgorithm(signer.algorithm))?;
    if matches!(signer.id, SignerId::KeyId(_)) != (signer.version == 3) {
        return Err(Refusal::VersionOfId);
    }
    if let Some(attributes) = attributes
        && (purpose == Purpose::Module || attributes.kind == AttributesKind::Repeated)
    {
        return Err(Refusal::SignedAttributes { kind: attributes.kind });
    }
    Ok(Checked { signer, digest, scheme, attributes })
}

struct Verifier<'a, 'k> {
    module: &'a [u8],
    keyring: &'k Keyring,
    /// Certificates in the message.
    carried: Vec<Certificate>,
    /// The digest made last: signatures of one message mostly share it.
    hash: Option<(Digest, Hash)>,
}

impl<'k> Verifier<'_, 'k> {
    fn hash(&mut self, digest: Digest) -> Result<Hash, Refusal> {
        if let Some((known, hash)) = self.hash
            && known == digest
        {
            return Ok(hash);
        }
        let hash = digest.of(&[self.module]).ok_or(Refusal::UnsupportedDigest(digest))?;
        self.hash = Some((digest, hash));
        Ok(hash)
    }

    fn verify(&mut self, checked: &Checked<'_>) -> Result<Signed<'k>, Refusal> {
        let id = &checked.signer.id;
        let own = self.carried.iter().position(|certificate| names(id, certificate));
        let trusted = self.keyring.find(id);
        let hash = self.hash(checked.digest)?;
        if let Some(trusted) = trusted {
            self.holds(checked, &hash, &trusted.certificate)?;
            let matched = match id {
                SignerId::IssuerAndSerial { .. } => Matched::IssuerAndSerial,
                SignerId::KeyId(_) => Matched::KeyId,
            };
            return Ok(Signed { by: trusted, matched, digest: checked.digest, hash, oddities: Vec::new() });
        }
        let unknown = || unknown_key(id);
        let mut at = own.ok_or_else(unknown)?;
        let mut chain: Vec<Certificate> = Vec::new();
        // A chain is no longer than the certificates there are.
        for _ in 0..self.carried.len() {
            let certificate = self.carried.get(at).ok_or_else(unknown)?.clone();
            if chain.is_empty() {
                self.holds(checked, &hash, &certificate)?;
            } else if self.keyring.is_revoked(&certificate) {
                return Err(Refusal::Revoked { signer: certificate.called() });
            }
            let issuer = self.keyring.issuer_of(&certificate);
            let next = self.carried.iter().position(|other| certificate.is_issued_by(other));
            chain.push(certificate);
            if let Some(trusted) = issuer {
                if self.keyring.is_revoked(&trusted.certificate) {
                    return Err(Refusal::Revoked { signer: trusted.certificate.called() });
                }
                let matched = Matched::Chain { certificates: chain };
                return Ok(Signed { by: trusted, matched, digest: checked.digest, hash, oddities: Vec::new() });
            }
            at = next.ok_or_else(unknown)?;
        }
        Err(unknown())
    }

    /// Whether this certificate's key made the signature.
    fn holds(&self, checked: &Checked<'_>, hash: &Hash, certificate: &Certificate) -> Result<(), Refusal> {
        let signer = certificate.called();
        if self.keyring.is_revoked(certificate) {
            return Err(Refusal::Revoked { signer });
        }
        let signed = match &checked.attributes {
            Some(attributes) if !attributes.name(hash) => return Err(Refusal::Changed { signer, found: *hash }),
            Some(attributes) => &attributes.hash(checked.digest).ok_or(Refusal::UnsupportedDigest(checked.digest))?,
            None => hash,
        };
        match certificate.key.verify(checked.scheme, checked.digest, signed, checked.signer.signature) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::UnsupportedKey { signer, kind: kind(&certificate.key) }),
            Err(Wrong::Digest) => Err(Refusal::Changed { signer, found: *hash }),
            Err(Wrong::Scheme | Wrong::Signature) => Err(Refusal::Forged { signer }),
        }
    }
}

fn kind(key: &Key) -> String {
    alloc::format!("{key}")
}

fn unknown_key(id: &SignerId<'_>) -> Refusal {
    match id {
        SignerId::IssuerAndSerial { issuer, serial } => {
            Refusal::UnknownKey { signer: name::text(issuer), key: alloc::format!("{}", Colons(serial)) }
        }
        SignerId::KeyId(key) => {
            Refusal::UnknownKey { signer: "somebody".into(), key: alloc::format!("{}", Colons(key)) }
        }
    }
}

fn oddities(message: &Message<'_>, signers: &[Checked<'_>]) -> Vec<Oddity> {
    let mut out = Vec::new();
    if message.trailing > 0 {
        out.push(Oddity::Trailing(message.trailing));
    }
    let announced: Vec<_> = message.announced().collect();
    for checked in signers {
        if !announced.contains(&Some(checked.digest)) {
            out.push(Oddity::Unannounced(checked.digest));
        }
        if checked.signer.has_odd_parameters {
            out.push(Oddity::Parameters);
        }
        if checked.signer.has_unsigned_attributes {
            out.push(Oddity::UnsignedAttributes);
        }
    }
    out
}
