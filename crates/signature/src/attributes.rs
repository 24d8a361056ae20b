//! Signed attributes of a signature (RFC 5652, 11).

use alloc::vec::Vec;

use der::Tag;
use der::asn1::ObjectIdentifier;

use crate::message::DATA;
use crate::reader::Cursor;
use crate::verify::{AttributesKind, Refusal};
use crate::{Digest, Hash};

const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SMIME_CAPABILITIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.15");

/// The attributes, of which two must be there: the type and the digest of what is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a> {
    content: &'a [u8],
    digest: &'a [u8],
    /// Which of Linux's words is due when it refuses them.
    pub(crate) kind: AttributesKind,
}

impl<'a> Attributes<'a> {
    /// Reads the content of the set.
    pub(crate) fn read(content: &'a [u8]) -> Result<Self, Refusal> {
        let what = "signed attribute";
        let mut list = Cursor::new(content, 0, what).map_err(Refusal::Message)?;
        let mut kind = AttributesKind::Plain;
        let (mut types, mut digests) = (Vec::new(), Vec::new());
        while !list.is_at_end() {
            let mut attribute = list.inside(Tag::Sequence, what).map_err(Refusal::Message)?;
            let oid = attribute.oid(what).map_err(Refusal::Message)?;
            let mut values = attribute.inside(Tag::Set, what).map_err(Refusal::Message)?;
            while !values.is_at_end() {
                let value = values.any(what).map_err(Refusal::Message)?;
                match oid {
                    CONTENT_TYPE => types.push(value),
                    MESSAGE_DIGEST => digests.push(value),
                    SMIME_CAPABILITIES => kind = AttributesKind::SMime,
                    _ => {}
                }
            }
        }
        if types.len() > 1 || digests.len() > 1 {
            kind = AttributesKind::Repeated;
        }
        let of_data = types.first().and_then(|any| any.decode_as::<ObjectIdentifier>().ok()) == Some(DATA);
        match digests.first() {
            Some(digest) if of_data => Ok(Self { content, digest: digest.value(), kind }),
            _ => Err(Refusal::Attributes),
        }
    }

    /// Whether they name this digest.
    pub(crate) fn name(&self, hash: &Hash) -> bool {
        self.digest == hash.as_bytes()
    }

    /// The digest that is signed: of the attributes as a set, with the tag a set has by itself.
    pub(crate) fn hash(&self, digest: Digest) -> Option<Hash> {
        let length = der::Length::try_from(self.content.len()).ok()?;
        let mut header = [0; 8];
        let mut writer = der::SliceWriter::new(&mut header);
        der::Header::new(Tag::Set, length).and_then(|set| der::Encode::encode(&set, &mut writer)).ok()?;
        digest.of(&[writer.finish().ok()?, self.content])
    }
}
