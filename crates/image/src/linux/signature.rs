//! The signature that `sign-file` appends to a module.
//!
//! A signed module ends in the PKCS#7 message, then `struct module_signature` (12 bytes), then a marker of 28 bytes. This is
//! the envelope only: who signed and whether that holds is the business of another room.

use thiserror::Error;

/// The marker, `MODULE_SIG_STRING`.
const MARKER: &[u8] = b"~Module signature appended~\n";

/// Bytes of `struct module_signature`: algo, hash, id_type, signer_len, key_id_len, three of padding, big-endian sig_len.
const INFO: usize = 12;

/// `PKEY_ID_PKCS7`, the only kind of signature that Linux takes.
const PKCS7: u8 = 2;

/// An appended signature, whose parts lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a> {
    /// `algo`: always 0, the PKCS#7 message says it.
    pub algorithm: u8,
    /// `hash`: always 0, the PKCS#7 message says it.
    pub hash: u8,
    /// `id_type`: always 2 (PKCS#7).
    pub id_type: u8,
    /// `signer_len`: always 0, the PKCS#7 message names the signer.
    pub signer_length: u8,
    /// `key_id_len`: always 0, the PKCS#7 message names the key.
    pub key_id_length: u8,
    /// Bytes of the signature.
    pub length: u32,
    /// The PKCS#7 message (DER).
    pub pkcs7: &'a [u8],
    /// Bytes of the whole trailer: message, structure and marker.
    pub trailer: usize,
}

/// Why what stands before the marker is not a signature that Linux takes. `Display` is its log line where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The signature would be longer than the file (`EBADMSG`, for which Linux prints nothing).
    #[error("module: signature of {length} bytes does not fit into {available} bytes")]
    Length {
        /// `sig_len`, 0 when not even the structure fits.
        length: u32,
        /// Bytes of the file before the marker.
        available: usize,
    },
    /// The signature is not PKCS#7 (`ENOPKG`: the module counts as unsigned).
    #[error("module: not signed with expected PKCS#7 message")]
    IdType {
        /// `id_type`.
        id_type: u8,
    },
    /// A field that PKCS#7 makes superfluous is in use (`EBADMSG`).
    #[error("module: PKCS#7 signature info has unexpected non-zero params")]
    NonZeroParameters {
        /// The twelve bytes of `struct module_signature`.
        info: [u8; INFO],
    },
}

/// The signature appended to a file, looked at before anything else of it, as Linux does.
///
/// # Errors
/// [`SignatureError`] when the marker is there and what stands before it is no signature Linux takes.
pub fn of_file(file: &[u8]) -> Result<Option<Signature<'_>>, SignatureError> {
    split(file).1
}

/// Splits a file into the module and its signature, as `module_sig_check` does. When the signature is no good, only the marker
/// is taken away.
pub(super) fn split(file: &[u8]) -> (&[u8], Result<Option<Signature<'_>>, SignatureError>) {
    // Linux asks for more than the marker.
    let Some(module) = file.strip_suffix(MARKER).filter(|module| !module.is_empty()) else {
        return (file, Ok(None));
    };
    match parse(module) {
        Ok((covered, signature)) => (covered, Ok(Some(signature))),
        Err(error) => (module, Err(error)),
    }
}

/// The module proper, and the signature behind it.
fn parse(module: &[u8]) -> Result<(&[u8], Signature<'_>), SignatureError> {
    let available = module.len();
    let too_long = |length| SignatureError::Length { length, available };
    let (before, &info) = module.split_last_chunk::<INFO>().ok_or(too_long(0))?;
    let [algorithm, hash, id_type, signer_length, key_id_length, pad0, pad1, pad2, l0, l1, l2, l3] = info;
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    // Linux refuses a signature that leaves nothing of the module.
    let start = usize::try_from(length)
        .ok()
        .and_then(|length| before.len().checked_sub(length))
        .filter(|&start| start > 0)
        .ok_or(too_long(length))?;
    if id_type != PKCS7 {
        return Err(SignatureError::IdType { id_type });
    }
    if [algorithm, hash, signer_length, key_id_length, pad0, pad1, pad2] != [0; 7] {
        return Err(SignatureError::NonZeroParameters { info });
    }
    let (covered, pkcs7) = before.split_at_checked(start).ok_or(too_long(length))?;
    let trailer = pkcs7.len() + INFO + MARKER.len();
    Ok((covered, Signature { algorithm, hash, id_type, signer_length, key_id_length, length, pkcs7, trailer }))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn signed(info: [u8; 8], length: u32, signature: &[u8]) -> Vec<u8> {
        [b"module", signature, &info, &length.to_be_bytes(), MARKER].concat()
    }

    const GOOD: [u8; 8] = [0, 0, 2, 0, 0, 0, 0, 0];

    #[test]
    fn a_signature_is_set_aside() {
        let file = signed(GOOD, 3, b"sig");
        let (module, signature) = split(&file);
        assert_eq!(module, b"module");
        let signature = signature.unwrap().unwrap();
        assert_eq!((signature.pkcs7, signature.length, signature.trailer), (&b"sig"[..], 3, 3 + 12 + 28));
    }

    #[test]
    fn a_file_without_the_marker_is_unsigned() {
        assert_eq!(split(b"module"), (&b"module"[..], Ok(None)));
        // Nothing but the marker is not a signed module either.
        assert_eq!(split(MARKER), (MARKER, Ok(None)));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for length in [9, 10, u32::MAX] {
            let file = signed(GOOD, length, b"sig");
            assert_eq!(split(&file).1, Err(SignatureError::Length { length, available: 21 }));
        }
        let short = [b"0123456789", MARKER].concat();
        assert_eq!(split(&short).1, Err(SignatureError::Length { length: 0, available: 10 }));
    }

    #[test]
    fn the_kind_is_looked_at_before_the_other_fields() {
        let file = signed([0, 1, 3, 0, 0, 0, 0, 0], 3, b"sig");
        assert_eq!(split(&file).1, Err(SignatureError::IdType { id_type: 3 }));
        for field in [0, 1, 3, 4, 5, 6, 7] {
            let mut info = GOOD;
            if let Some(byte) = info.get_mut(field) {
                *byte = 1;
            }
            assert!(matches!(split(&signed(info, 3, b"sig")).1, Err(SignatureError::NonZeroParameters { .. })));
        }
    }
}
