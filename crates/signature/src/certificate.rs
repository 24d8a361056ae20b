//! X.509 certificates (RFC 5280), as far as they vouch for modules.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use der::asn1::{GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Tag, TagNumber, Tagged};

use crate::key::{Key, Scheme, Wrong};
use crate::reader::{Cursor, ParseError};
use crate::{Digest, name};

const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// `codeSigning`.
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
/// `anyExtendedKeyUsage`.
const ANY_USE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// What a certificate says its key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uses {
    /// It may sign other certificates (basic constraints).
    pub is_authority: bool,
    /// `keyUsage`, most significant bit first, when it has one.
    pub key_usage: Option<u8>,
    /// Code signing, by `extKeyUsage`; `None` when it says nothing about that.
    pub code_signing: Option<bool>,
}

impl Uses {
    /// It may sign data such as modules: `keyUsage`, if there, has `digitalSignature`.
    pub fn may_sign_data(&self) -> bool {
        self.key_usage.is_none_or(|bits| bits & 0x80 != 0)
    }

    /// It may sign certificates: basic constraints say so, and `keyUsage`, if there, has `keyCertSign`.
    pub fn may_sign_certificates(&self) -> bool {
        self.is_authority && self.key_usage.is_none_or(|bits| bits & 0x04 != 0)
    }
}

/// A certificate. Having one tells you that its parts are where they should be; who issued it was not verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    der: Vec<u8>,
    signed: Range<usize>,
    issuer: Range<usize>,
    serial: Range<usize>,
    subject: Range<usize>,
    key_id: Option<Range<usize>>,
    authority_key_id: Option<Range<usize>>,
    algorithm: ObjectIdentifier,
    signature: Range<usize>,
    /// From when it is valid, in seconds since 1970.
    pub not_before: u64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: u64,
    /// What its key is for.
    pub uses: Uses,
    /// Its key.
    pub key: Key,
}

impl Certificate {
    /// Reads the certificate that `bytes` start with; and how long it is.
    ///
    /// # Errors
    /// [`ParseError`] names the first thing that is not where it should be.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), ParseError> {
        let mut outer = Cursor::new(bytes, 0, "certificate of reasonable length")?;
        let whole = outer.element_range(Tag::Sequence, "certificate")?;
        let der = bytes.get(whole).unwrap_or_default();
        let mut parts = Cursor::new(der, 0, "certificate")?.inside(Tag::Sequence, "certificate")?;
        let mut at = parts.clone();
        let signed = parts.element_range(Tag::Sequence, "signed part of the certificate")?;
        let (algorithm, _) = parts.algorithm("algorithm of the certificate's signature")?;
        let signature = parts.range(Tag::BitString, "signature of the certificate")?;
        parts.end("end of the certificate")?;

        let mut fields = at.inside(Tag::Sequence, "signed part of the certificate")?;
        let explicit = |number| Tag::ContextSpecific { constructed: true, number };
        if fields.next_tag() == Some(explicit(TagNumber::N0)) {
            fields.content(explicit(TagNumber::N0), "version")?;
        }
        let serial = fields.range(Tag::Integer, "serial number")?;
        fields.algorithm("algorithm")?;
        let issuer = fields.element_range(Tag::Sequence, "issuer")?;
        let mut validity = fields.inside(Tag::Sequence, "validity")?;
        let not_before = time(&mut validity)?;
        let not_after = time(&mut validity)?;
        validity.end("end of the validity")?;
        let subject = fields.element_range(Tag::Sequence, "subject")?;
        let key = Key::read(&mut fields)?;
        let mut certificate = Self {
            der: der.to_vec(),
            signed,
            issuer,
            serial,
            subject,
            key_id: None,
            authority_key_id: None,
            algorithm,
            signature: signature.start.saturating_add(1).min(signature.end)..signature.end,
            not_before,
            not_after,
            uses: Uses::default(),
            key,
        };
        for number in [TagNumber::N1, TagNumber::N2] {
            for constructed in [false, true] {
                fields.optional(number, constructed, "unique identifier")?;
            }
        }
        if !fields.is_at_end() {
            let mut list = fields.inside(explicit(TagNumber::N3), "extensions")?;
            let mut list = list.inside(Tag::Sequence, "extensions")?;
            while !list.is_at_end() {
                certificate.extension(&mut list)?;
            }
            fields.end("end of the signed part of the certificate")?;
        }
        Ok((certificate, der.len()))
    }

    fn extension(&mut self, list: &mut Cursor<'_>) -> Result<(), ParseError> {
        let mut extension = list.inside(Tag::Sequence, "extension")?;
        let kind = extension.oid("type of the extension")?;
        if extension.next_tag() == Some(Tag::Boolean) {
            extension.content(Tag::Boolean, "critical")?;
        }
        let mut value = extension.inside(Tag::OctetString, "value of the extension")?;
        extension.end("end of the extension")?;
        match kind {
            SUBJECT_KEY_ID => self.key_id = Some(value.range(Tag::OctetString, "subject key identifier")?),
            AUTHORITY_KEY_ID => {
                let mut parts = value.inside(Tag::Sequence, "authority key identifier")?;
                let tag = Tag::ContextSpecific { constructed: false, number: TagNumber::N0 };
                if parts.next_tag() == Some(tag) {
                    self.authority_key_id = Some(parts.range(tag, "key identifier of the authority")?);
                }
            }
            KEY_USAGE => {
                let (bits, _) = value.content(Tag::BitString, "key usage")?;
                self.uses.key_usage = Some(bits.get(1).copied().unwrap_or(0));
            }
            BASIC_CONSTRAINTS => {
                let mut parts = value.inside(Tag::Sequence, "basic constraints")?;
                self.uses.is_authority =
                    parts.next_tag() == Some(Tag::Boolean) && parts.content(Tag::Boolean, "authority")?.0 != [0];
            }
            EXTENDED_KEY_USAGE => {
                let mut uses = value.inside(Tag::Sequence, "extended key usage")?;
                let mut found = false;
                while !uses.is_at_end() {
                    let oid = uses.oid("use of the key")?;
                    found |= oid == CODE_SIGNING || oid == ANY_USE;
                }
                self.uses.code_signing = Some(found);
            }
            _ => {}
        }
        Ok(())
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.der.get(range.clone()).unwrap_or_default()
    }

    /// All of it, as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The part that its issuer has signed (`TBSCertificate`), as DER.
    pub fn signed_part(&self) -> &[u8] {
        self.slice(&self.signed)
    }

    /// The issuer's name, a whole DER element.
    pub fn issuer(&self) -> &[u8] {
        self.slice(&self.issuer)
    }

    /// The subject's name, a whole DER element.
    pub fn subject(&self) -> &[u8] {
        self.slice(&self.subject)
    }

    /// The serial number, big-endian as in the file.
    pub fn serial(&self) -> &[u8] {
        self.slice(&self.serial)
    }

    /// The subject key identifier, if it has one.
    pub fn key_id(&self) -> Option<&[u8]> {
        self.key_id.as_ref().map(|range| self.slice(range))
    }

    /// The identifier of the key it was signed with, if it names it.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_ref().map(|range| self.slice(range))
    }

    /// The subject's whole name as text.
    pub fn subject_text(&self) -> String {
        name::text(self.subject())
    }

    /// The subject's common name, or what it has instead.
    pub fn called(&self) -> String {
        name::short(self.subject()).map(ToString::to_string).unwrap_or_default()
    }

    /// Whether it is valid at this time, in seconds since 1970. Linux does not ask.
    pub fn is_valid_at(&self, time: u64) -> bool {
        (self.not_before..=self.not_after).contains(&time)
    }

    /// From when and until when it is valid, as `2026-11-16T11:46:57Z`.
    pub fn validity_text(&self) -> [String; 2] {
        [self.not_before, self.not_after].map(|seconds| {
            let time = der::DateTime::from_unix_duration(core::time::Duration::from_secs(seconds));
            time.map(|time| time.to_string()).unwrap_or_default()
        })
    }

    /// Whether `issuer` has signed it: by name, key identifier, permission and signature.
    pub fn is_issued_by(&self, issuer: &Certificate) -> bool {
        let named = self.issuer() == issuer.subject()
            && match (self.authority_key_id(), issuer.key_id()) {
                (Some(wanted), Some(found)) => wanted == found,
                _ => true,
            };
        named && issuer.uses.may_sign_certificates() && self.is_signed_by(&issuer.key) == Ok(true)
    }

    /// Whether it was signed with this key; `Ok(false)` when that cannot be told here.
    fn is_signed_by(&self, key: &Key) -> Result<bool, Wrong> {
        let Some((scheme, Some(digest))) = Scheme::of_certificate(&self.algorithm) else { return Ok(false) };
        let Some(hash) = Digest::of(digest, &[self.signed_part()]) else { return Ok(false) };
        key.verify(scheme, digest, &hash, self.slice(&self.signature))
    }
}

/// Seconds since 1970 of a UTCTime or GeneralizedTime.
fn time(fields: &mut Cursor<'_>) -> Result<u64, ParseError> {
    let what = "time";
    let offset = fields.at();
    let any = fields.any(what)?;
    let time = match any.tag() {
        Tag::UtcTime => any.decode_as::<UtcTime>().map(|time| time.to_unix_duration()),
        _ => any.decode_as::<GeneralizedTime>().map(|time| time.to_unix_duration()),
    };
    time.map(|time| time.as_secs()).map_err(|_| ParseError { offset, what })
}

/// The certificates in `list`, one after the other as a kernel's image has them; after an error nothing follows.
pub fn certificates(list: &[u8]) -> impl Iterator<Item = Result<Certificate, ParseError>> + '_ {
    let mut rest = list;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let read = Certificate::read(rest);
        rest = match &read {
            Ok((_, length)) => rest.get(*length..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(read.map(|(certificate, _)| certificate))
    })
}

/// Bytes as text, `66:f5:4e`.
#[derive(Debug, Clone, Copy)]
pub struct Colons<'a>(pub &'a [u8]);

impl fmt::Display for Colons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
