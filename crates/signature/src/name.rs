//! Distinguished names (X.501), read from DER.

use alloc::string::String;

use bstr::{BStr, ByteSlice};
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

use crate::reader::{Cursor, ParseError};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The attributes of the name in `element` (a whole `RDNSequence`), in file order: type, and value as it stands in the file. What
/// does not hold together ends it.
fn attributes(element: &[u8]) -> impl Iterator<Item = (ObjectIdentifier, AnyRef<'_>)> {
    let content =
        AnyRef::from_der(element).ok().filter(|any| any.tag() == Tag::Sequence).map_or(&[][..], |any| any.value());
    let mut sets = SliceReader::new(content).ok();
    let mut pairs: Option<SliceReader<'_>> = None;
    core::iter::from_fn(move || {
        loop {
            if let Some(reader) = pairs.as_mut().filter(|reader| !reader.is_finished()) {
                let pair = AnyRef::decode(reader).ok().filter(|any| any.tag() == Tag::Sequence)?;
                let mut inside = SliceReader::new(pair.value()).ok()?;
                let kind = ObjectIdentifier::decode(&mut inside).ok()?;
                return Some((kind, AnyRef::decode(&mut inside).ok()?));
            }
            let reader = sets.as_mut().filter(|reader| !reader.is_finished())?;
            let set = AnyRef::decode(reader).ok().filter(|any| any.tag() == Tag::Set)?;
            pairs = SliceReader::new(set.value()).ok();
        }
    })
}

/// Reads over the outline of the name at the cursor: a sequence of sets of sequences of a type and a value.
pub(crate) fn element<'a>(cursor: &mut Cursor<'a>, what: &'static str) -> Result<&'a [u8], ParseError> {
    let mut sets = cursor.clone().inside(Tag::Sequence, what)?;
    while !sets.is_at_end() {
        let mut pairs = sets.inside(Tag::Set, what)?;
        while !pairs.is_at_end() {
            let mut pair = pairs.inside(Tag::Sequence, what)?;
            pair.content(Tag::ObjectIdentifier, what)?;
            pair.any(what)?;
            pair.end(what)?;
        }
    }
    cursor.element(Tag::Sequence, what)
}

/// What a name is called for short: its first common name, else its last attribute. This is what `modinfo` prints as the
/// signer.
pub fn short(element: &[u8]) -> Option<&BStr> {
    let mut last = None;
    for (kind, value) in attributes(element) {
        last = Some(BStr::new(value.value()));
        if kind == COMMON_NAME {
            break;
        }
    }
    last
}

/// The attribute types that have a short name of their own.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.5", "serialNumber"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// The whole name, `O = Example, CN = Key`, as `openssl` writes it.
pub fn text(element: &[u8]) -> String {
    use core::fmt::Write;
    let mut out = String::new();
    for (kind, value) in attributes(element) {
        if !out.is_empty() {
            out.push_str(", ");
        }
        let short = SHORT.iter().find(|(oid, _)| ObjectIdentifier::new_unwrap(oid) == kind);
        // Writing to a string does not fail.
        let _ = match short {
            Some((_, short)) => write!(out, "{short} = "),
            None => write!(out, "{kind} = "),
        };
        for character in value.value().to_str_lossy().chars() {
            // A name is somebody else's text: it must not steer the terminal.
            if character.is_control() {
                let _ = write!(out, "{}", character.escape_default());
            } else {
                out.push(character);
            }
        }
    }
    out
}
