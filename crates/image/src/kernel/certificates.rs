//! The certificates linked into a kernel.
//!
//! A stripped image has no symbol for them, but the list has a form: certificates one after the
//! other, then, aligned to 8, two 64-bit numbers: the length of the list, and that of the first
//! certificate when it is the key the kernel's own modules are signed with, else 0.

use core::ops::Range;

use bstr::ByteSlice;

use super::Section;
use crate::flat::u64_at;

/// The list, empty when there is none.
pub(super) fn find(bytes: &[u8], sections: &[Section]) -> Range<usize> {
    let mut fallback = 0..0;
    for section in sections.iter().filter(|section| is_init_data(bytes, section)) {
        let data = bytes.get(section.data.clone()).unwrap_or_default();
        let mut from = 0;
        while let Some(at) = data.get(from..).and_then(|rest| rest.find_byte(0x30)) {
            let start = from + at;
            from = start + 1;
            let (end, first) = run(data, start);
            if end == start {
                continue;
            }
            // The run cannot start inside itself: skip what it covers.
            from = end;
            let place = section.data.start + start..section.data.start + end;
            // Sections are aligned to more than 8, so that the offset is aligned as the address is.
            let numbers = end.next_multiple_of(8);
            let list = u64_at(data, numbers);
            let module_key = u64_at(data, numbers.saturating_add(8));
            if list != Some((end - start) as u64) {
                continue;
            }
            if module_key == Some(first as u64) {
                return place;
            }
            // The list of revoked certificates has this form too, when zeroes follow it; the
            // trusted one comes first.
            if module_key == Some(0) && fallback.is_empty() {
                fallback = place;
            }
        }
    }
    fallback
}

/// Whether a section holds data that is thrown away after boot, as these lists are.
fn is_init_data(bytes: &[u8], section: &Section) -> bool {
    let name = bytes.get(section.name.clone()).unwrap_or_default();
    !section.executable && (name.starts_with(b".init.data") || name.starts_with(b".init.rodata"))
}

/// End of the run of certificates at `start`, and the length of its first one.
fn run(data: &[u8], start: usize) -> (usize, usize) {
    let mut end = start;
    let mut first = 0;
    while let Some(len) = data.get(end..).and_then(certificate) {
        if end == start {
            first = len;
        }
        end += len;
    }
    (end, first)
}

/// Length of the certificate `bytes` start with (RFC 5280, 4.1: a sequence of the signed part, the
/// algorithm and the signature). Only the outer form is looked at.
fn certificate(bytes: &[u8]) -> Option<usize> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let (content, len) = element(bytes, SEQUENCE)?;
    let (signed, signed_len) = element(content, SEQUENCE)?;
    // Version 3, as an explicitly tagged integer: every certificate a kernel accepts has it.
    if !signed.starts_with(&[0xa0, 3, 2, 1, 2]) {
        return None;
    }
    let (_, algorithm_len) = element(content.get(signed_len..)?, SEQUENCE)?;
    let rest = content.get(signed_len + algorithm_len..)?;
    let (_, signature_len) = element(rest, BIT_STRING)?;
    (signature_len == rest.len()).then_some(len)
}

/// Content and whole length of the DER element with that tag at the start of `bytes`.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], usize)> {
    let (&found, rest) = bytes.split_first()?;
    if found != tag {
        return None;
    }
    let (header, len) = match *rest {
        [len @ 0..=0x7f, ..] => (2, usize::from(len)),
        [0x81, len, ..] => (3, usize::from(len)),
        [0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return None,
    };
    Some((bytes.get(header..header + len)?, header + len))
}
