//! ELF notes: the identity of a build.

/// `NT_GNU_BUILD_ID`.
const BUILD_ID: u32 = 3;

/// The build id in `notes` (the content of `.note.gnu.build-id`), in hexadecimal; `None` when there is none.
///
/// # References
/// gABI, "Note Section": namesz, descsz, type, then name and descriptor, each filled up to four bytes.
#[must_use]
pub fn build_id(notes: &[u8]) -> Option<String> {
    let mut rest = notes;
    while let Some((header, after)) = rest.split_first_chunk::<12>() {
        let word = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk::<4>()?));
        let (name_size, size, kind) = (word(0)?, word(4)?, word(8)?);
        let name = after.get(..usize::try_from(name_size).ok()?)?;
        let after = after.get(usize::try_from(name_size).ok()?.checked_next_multiple_of(4)?..)?;
        let descriptor = after.get(..usize::try_from(size).ok()?)?;
        if kind == BUILD_ID && name == b"GNU\0" && !descriptor.is_empty() && descriptor.len() <= 64 {
            return Some(descriptor.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        rest = after.get(usize::try_from(size).ok()?.checked_next_multiple_of(4)?..).unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A note.
    fn note(name: &[u8], kind: u32, descriptor: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((descriptor.len() as u32).to_le_bytes());
        out.extend(kind.to_le_bytes());
        for part in [name, descriptor] {
            out.extend(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    #[test]
    fn the_build_id_among_other_notes() {
        let notes = [note(b"Linux\0", 256, b"x"), note(b"GNU\0", 5, b"abc"), note(b"GNU\0", 3, b"\x01\xab")].concat();
        assert_eq!(build_id(&notes).as_deref(), Some("01ab"));
        assert_eq!(build_id(&note(b"GNU\0", 3, b"")), None);
        assert_eq!(build_id(&note(b"XXX\0", 3, b"\x01")), None);
        assert_eq!(build_id(&notes[..notes.len() - 4]), None);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(notes: Vec<u8>) {
            let _ = build_id(&notes);
        }

        #[test]
        fn sizes_that_lie_are_no_panic(name: u32, size: u32, tail in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = build_id(&[&name.to_le_bytes()[..], &size.to_le_bytes(), &3_u32.to_le_bytes(), &tail].concat());
        }
    }
}
