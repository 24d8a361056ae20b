//! A PKCS#7 message with a signature (RFC 2315, RFC 5652 `SignedData`), whose parts lie in the bytes it was read from.

use der::asn1::ObjectIdentifier;
use der::{Tag, TagNumber, Tagged};

use crate::reader::{Cursor, ParseError};
use crate::{Digest, name};

/// `id-signedData`.
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// `id-data`, what a detached signature of a file is over.
pub(crate) const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");

/// Who signed, as the message names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignerId<'a> {
    /// By the issuer of the signer's certificate and its serial number.
    IssuerAndSerial {
        /// The issuer's name, a whole DER element.
        issuer: &'a [u8],
        /// The serial number, big-endian as in the file: with a zero in front where the first bit is set.
        serial: &'a [u8],
    },
    /// By the subject key identifier of the signer's certificate.
    KeyId(&'a [u8]),
}

/// What [`Message::read`] misses in a message that is something else than signed data.
pub(crate) const NOT_SIGNED: &str = "signed data";

/// One signature of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer<'a> {
    /// `version`: 1 with an issuer, 3 with a key identifier.
    pub version: u8,
    /// Who signed.
    pub id: SignerId<'a>,
    /// The digest's object identifier.
    pub digest: ObjectIdentifier,
    /// The signed attributes: content of the set, without its tag and length.
    pub signed_attributes: Option<&'a [u8]>,
    /// The object identifier of the signature's algorithm.
    pub algorithm: ObjectIdentifier,
    /// The algorithms have parameters other than NULL.
    pub has_odd_parameters: bool,
    /// The signature itself.
    pub signature: &'a [u8],
    /// There are attributes that are not signed.
    pub has_unsigned_attributes: bool,
}

/// A message. Having one tells you that its outline holds; nothing of it was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `version`: 1, or 3 when a signer is named by a key identifier.
    pub version: u8,
    /// The digest algorithms announced in front: content of the set.
    pub digests: &'a [u8],
    /// The content's type; `data` for modules.
    pub content_type: ObjectIdentifier,
    /// Content carried inside the message. A module's signature is detached and has none.
    pub content: Option<&'a [u8]>,
    /// Certificates carried along: one after the other.
    pub certificates: &'a [u8],
    /// Revocation lists are carried along.
    pub has_revocations: bool,
    /// The signatures: content of the set.
    signers: &'a [u8],
    /// Bytes behind the message.
    pub trailing: usize,
}

impl<'a> Message<'a> {
    /// Reads a message. What stands behind it is [counted](Message::trailing) and not looked at.
    ///
    /// # Errors
    /// [`ParseError`] names the first thing that is not where it should be.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut outer = Cursor::new(bytes, 0, "message of reasonable length")?;
        let mut info = outer.inside(Tag::Sequence, "ContentInfo")?;
        let trailing = outer.remaining();
        let offset = info.at();
        if info.oid("content type")? != SIGNED_DATA {
            return Err(ParseError { offset, what: NOT_SIGNED });
        }
        let explicit = |number| Tag::ContextSpecific { constructed: true, number };
        let mut wrapped = info.inside(explicit(TagNumber::N0), "content of ContentInfo")?;
        info.end("end of ContentInfo")?;
        let mut data = wrapped.inside(Tag::Sequence, "SignedData")?;
        wrapped.end("end of the content")?;
        let version = data.small("version")?;
        let (digests, base) = data.content(Tag::Set, "set of digest algorithms")?;
        outline(digests, base)?;
        let mut content_info = data.inside(Tag::Sequence, "content")?;
        let content_type = content_info.oid("type of the content")?;
        let content = content_info.optional(TagNumber::N0, true, "content")?;
        content_info.end("end of the content")?;
        let certificates = data.optional(TagNumber::N0, true, "certificates")?.unwrap_or_default();
        let has_revocations = data.optional(TagNumber::N1, true, "revocation lists")?.is_some();
        let (signers, _) = data.content(Tag::Set, "set of signatures")?;
        data.end("end of SignedData")?;
        Ok(Self { version, digests, content_type, content, certificates, has_revocations, signers, trailing })
    }

    /// Whether the signature is over data, as a module's is.
    pub fn is_data(&self) -> bool {
        self.content_type == DATA
    }

    /// The digest algorithms announced in front; `None` for each that is not known or not well-formed.
    pub fn announced(&self) -> impl Iterator<Item = Option<Digest>> + use<'a> {
        let what = "digest algorithm";
        let mut cursor = Cursor::new(self.digests, 0, what).ok();
        core::iter::from_fn(move || {
            let inside = cursor.as_mut().filter(|cursor| !cursor.is_at_end())?;
            let algorithm = inside.algorithm(what).ok();
            if algorithm.is_none() {
                cursor = None;
            }
            Some(algorithm.and_then(|(oid, _)| Digest::of_oid(&oid)))
        })
    }

    /// The signatures, in file order. After an error nothing follows.
    pub fn signers(&self) -> impl Iterator<Item = Result<Signer<'a>, ParseError>> + use<'a> {
        let what = "signature";
        let mut cursor = Cursor::new(self.signers, 0, what).ok();
        core::iter::from_fn(move || {
            let inside = cursor.as_mut().filter(|cursor| !cursor.is_at_end())?;
            let signer = inside.inside(Tag::Sequence, what).and_then(signer);
            if signer.is_err() {
                cursor = None;
            }
            Some(signer)
        })
    }
}

/// Reads over digest algorithms, whose object identifiers may be anything.
fn outline(algorithms: &[u8], base: u32) -> Result<(), ParseError> {
    let what = "digest algorithm";
    let mut list = Cursor::new(algorithms, base, what)?;
    while !list.is_at_end() {
        let mut algorithm = list.inside(Tag::Sequence, what)?;
        algorithm.content(Tag::ObjectIdentifier, what)?;
        if !algorithm.is_at_end() {
            algorithm.any(what)?;
        }
        algorithm.end(what)?;
    }
    Ok(())
}

fn signer(mut info: Cursor<'_>) -> Result<Signer<'_>, ParseError> {
    let version = info.small("version of the signature")?;
    let id = match info.optional(TagNumber::N0, false, "key identifier")? {
        Some(key) => SignerId::KeyId(key),
        None => {
            let mut name_and_serial = info.inside(Tag::Sequence, "issuer and serial number")?;
            let issuer = name::element(&mut name_and_serial, "issuer")?;
            let (serial, _) = name_and_serial.content(Tag::Integer, "serial number")?;
            name_and_serial.end("end of the issuer and serial number")?;
            SignerId::IssuerAndSerial { issuer, serial }
        }
    };
    let (digest, digest_parameters) = info.algorithm("digest algorithm")?;
    let signed_attributes = info.optional(TagNumber::N0, true, "signed attributes")?;
    let (algorithm, parameters) = info.algorithm("signature algorithm")?;
    let (signature, _) = info.content(Tag::OctetString, "signature")?;
    let has_unsigned_attributes = info.optional(TagNumber::N1, true, "unsigned attributes")?.is_some();
    info.end("end of the signature")?;
    Ok(Signer {
        version,
        id,
        digest,
        signed_attributes,
        algorithm,
        has_odd_parameters: [digest_parameters, parameters].into_iter().flatten().any(|any| any.tag() != Tag::Null),
        signature,
        has_unsigned_attributes,
    })
}
