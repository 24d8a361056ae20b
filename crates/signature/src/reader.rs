//! Reading DER with the name of what is expected at hand.

use core::ops::Range;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Header, Reader, SliceReader, Tag, TagNumber, Tagged};

/// Where a message or a certificate stops making sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: no {what}")]
pub struct ParseError {
    /// Bytes from the start of the message or certificate.
    pub offset: u32,
    /// What was expected there.
    pub what: &'static str,
}

/// A reader that names what it expects.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    reader: SliceReader<'a>,
    /// Where its bytes start in the message.
    base: u32,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: u32, what: &'static str) -> Result<Self, ParseError> {
        let reader = SliceReader::new(bytes).map_err(|_| ParseError { offset: base, what })?;
        Ok(Self { reader, base })
    }

    pub(crate) fn at(&self) -> u32 {
        self.base.saturating_add(u32::from(self.reader.position()))
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.reader.is_finished()
    }

    pub(crate) fn next_tag(&self) -> Option<Tag> {
        self.reader.peek_header().ok().map(|header: Header| header.tag)
    }

    pub(crate) fn any(&mut self, what: &'static str) -> Result<AnyRef<'a>, ParseError> {
        let offset = self.at();
        AnyRef::decode(&mut self.reader).map_err(|_| ParseError { offset, what })
    }

    /// The content of the next element, which has that tag; and where the content starts.
    pub(crate) fn content(&mut self, tag: Tag, what: &'static str) -> Result<(&'a [u8], u32), ParseError> {
        let offset = self.at();
        let any = self.any(what)?;
        if any.tag() != tag {
            return Err(ParseError { offset, what });
        }
        let value = any.value();
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        Ok((value, self.at().saturating_sub(length)))
    }

    pub(crate) fn inside(&mut self, tag: Tag, what: &'static str) -> Result<Self, ParseError> {
        let (bytes, base) = self.content(tag, what)?;
        Self::new(bytes, base, what)
    }

    /// The content of the next element if it has that context-specific tag.
    pub(crate) fn optional(
        &mut self,
        number: TagNumber,
        constructed: bool,
        what: &'static str,
    ) -> Result<Option<&'a [u8]>, ParseError> {
        let tag = Tag::ContextSpecific { constructed, number };
        if self.next_tag() != Some(tag) {
            return Ok(None);
        }
        Ok(Some(self.content(tag, what)?.0))
    }

    /// The whole next element, which has that tag.
    pub(crate) fn element(&mut self, tag: Tag, what: &'static str) -> Result<&'a [u8], ParseError> {
        let offset = self.at();
        let error = ParseError { offset, what };
        let bytes = self.reader.tlv_bytes().map_err(|_| error)?;
        let header = SliceReader::new(bytes).and_then(|reader| reader.peek_header()).map_err(|_| error)?;
        if header.tag == tag { Ok(bytes) } else { Err(error) }
    }

    pub(crate) fn oid(&mut self, what: &'static str) -> Result<ObjectIdentifier, ParseError> {
        let offset = self.at();
        ObjectIdentifier::decode(&mut self.reader).map_err(|_| ParseError { offset, what })
    }

    /// A small number; 255 for one of more than one byte.
    pub(crate) fn small(&mut self, what: &'static str) -> Result<u8, ParseError> {
        match self.content(Tag::Integer, what)?.0 {
            [number] => Ok(*number),
            _ => Ok(u8::MAX),
        }
    }

    /// `AlgorithmIdentifier`.
    pub(crate) fn algorithm(
        &mut self,
        what: &'static str,
    ) -> Result<(ObjectIdentifier, Option<AnyRef<'a>>), ParseError> {
        let mut inside = self.inside(Tag::Sequence, what)?;
        let oid = inside.oid(what)?;
        let parameters = if inside.is_at_end() { None } else { Some(inside.any(what)?) };
        inside.end(what)?;
        Ok((oid, parameters))
    }

    pub(crate) fn end(&self, what: &'static str) -> Result<(), ParseError> {
        if self.is_at_end() { Ok(()) } else { Err(ParseError { offset: self.at(), what }) }
    }

    /// Bytes that were not read.
    pub(crate) fn remaining(&self) -> usize {
        usize::try_from(self.reader.remaining_len()).unwrap_or(usize::MAX)
    }

    /// Where the content of the next element lies, which has that tag.
    pub(crate) fn range(&mut self, tag: Tag, what: &'static str) -> Result<Range<usize>, ParseError> {
        let (bytes, base) = self.content(tag, what)?;
        Ok(base as usize..base as usize + bytes.len())
    }

    /// Where the whole next element lies, which has that tag.
    pub(crate) fn element_range(&mut self, tag: Tag, what: &'static str) -> Result<Range<usize>, ParseError> {
        let start = self.at() as usize;
        let bytes = self.element(tag, what)?;
        Ok(start..start + bytes.len())
    }
}
