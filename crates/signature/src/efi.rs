//! Signature lists of UEFI (specification 2.10, 32.4.1): the content of the variables `db`, `dbx` and `MokListRT`.

use core::ops::ControlFlow;

use crate::certificate::Certificate;
use crate::keyring::Keyring;

/// `EFI_CERT_X509_GUID`, a5c059a1-94e4-4aa7-87b5-ab155c2bf072.
const X509: [u8; 16] = *b"\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72";
/// `EFI_CERT_SHA256_GUID`, c1c41626-504c-4092-aca9-41f936934328.
const SHA256: [u8; 16] = *b"\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28";
/// `EFI_CERT_X509_SHA256_GUID`, 3bd2a492-96c0-4079-b420-fcf98ef103ed.
const X509_SHA256: [u8; 16] = *b"\x92\xa4\xd2\x3b\xc0\x96\x79\x40\xb4\x20\xfc\xf9\x8e\xf1\x03\xed";

/// Bytes of `EFI_SIGNATURE_LIST`: type, size of the list, of its header, of one signature.
const HEADER: usize = 28;
/// Bytes of the owner's GUID before each signature.
const OWNER: usize = 16;

/// One entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EfiSignature<'a> {
    /// A certificate, DER.
    Certificate(&'a [u8]),
    /// SHA-256 of a whole file.
    Sha256(&'a [u8]),
    /// SHA-256 of a certificate's signed part.
    CertificateSha256(&'a [u8]),
    /// Of a kind that says nothing about modules.
    Other,
}

/// The bytes are no signature list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: no EFI signature list")]
pub struct EfiError {
    /// Bytes from the start.
    pub offset: usize,
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

/// Calls `each` with every entry of the lists in `bytes`.
fn walk<'a>(bytes: &'a [u8], mut each: impl FnMut(EfiSignature<'a>) -> ControlFlow<EfiError>) -> ControlFlow<EfiError> {
    let mut offset = 0;
    while offset < bytes.len() {
        let error = ControlFlow::Break(EfiError { offset });
        let list = bytes.get(offset..).unwrap_or_default();
        let sizes = (number(list, 16), number(list, 20), number(list, 24));
        let (Some(size), Some(header), Some(entry)) = sizes else { return error };
        let entries = list.get(..size).and_then(|list| list.get(HEADER.saturating_add(header)..));
        let (Some(entries), Some(kind)) = (entries, list.first_chunk::<16>()) else { return error };
        if entry <= OWNER || entries.len() % entry != 0 {
            return error;
        }
        for signature in entries.chunks_exact(entry).filter_map(|entry| entry.get(OWNER..)) {
            each(match *kind {
                X509 => EfiSignature::Certificate(signature),
                SHA256 => EfiSignature::Sha256(signature),
                // A hash, and the time of the revocation.
                X509_SHA256 => EfiSignature::CertificateSha256(signature.get(..32).unwrap_or(signature)),
                _ => EfiSignature::Other,
            })?;
        }
        // At least as much as the header: what is behind it was there.
        offset += size;
    }
    ControlFlow::Continue(())
}

/// Without the attributes that a file of `efivarfs` starts with.
fn content(bytes: &[u8]) -> &[u8] {
    let is_list = |bytes: &[u8]| walk(bytes, |_| ControlFlow::Continue(())).is_continue();
    match bytes.split_first_chunk::<4>() {
        Some((_, rest)) if !is_list(bytes) && is_list(rest) => rest,
        _ => bytes,
    }
}

impl Keyring {
    /// Trusts the certificates in EFI signature lists (`db`, `MokListRT`): the variable's content, or its file in `efivarfs`. How
    /// many there were. A certificate that cannot be read is passed over, as Linux does.
    ///
    /// # Errors
    /// [`EfiError`] when the bytes are no signature list.
    pub fn add_efi(&mut self, bytes: &[u8], origin: &str) -> Result<usize, EfiError> {
        let mut count = 0;
        let walked = walk(content(bytes), |signature| {
            if let EfiSignature::Certificate(der) = signature
                && let Ok((certificate, _)) = Certificate::read(der)
            {
                self.add(certificate, origin);
                count += 1;
            }
            ControlFlow::Continue(())
        });
        walked.break_value().map_or(Ok(count), Err)
    }

    /// Revokes the certificates and hashes in EFI signature lists (`dbx`). How many there were.
    ///
    /// # Errors
    /// [`EfiError`] when the bytes are no signature list.
    pub fn revoke_efi(&mut self, bytes: &[u8]) -> Result<usize, EfiError> {
        let mut count = 0;
        let walked = walk(content(bytes), |signature| {
            match signature {
                EfiSignature::Certificate(der) => match Certificate::read(der) {
                    Ok((certificate, _)) => self.revoke(certificate),
                    Err(_) => return ControlFlow::Continue(()),
                },
                EfiSignature::Sha256(hash) | EfiSignature::CertificateSha256(hash) => self.revoke_hash(hash),
                EfiSignature::Other => return ControlFlow::Continue(()),
            }
            count += 1;
            ControlFlow::Continue(())
        });
        walked.break_value().map_or(Ok(count), Err)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn list(kind: [u8; 16], signatures: &[&[u8]]) -> Vec<u8> {
        let entry = OWNER + signatures[0].len();
        let size = (HEADER + entry * signatures.len()) as u32;
        let mut out = [&kind[..], &size.to_le_bytes(), &0u32.to_le_bytes(), &(entry as u32).to_le_bytes()].concat();
        for signature in signatures {
            out.extend([0xee; OWNER]);
            out.extend(*signature);
        }
        out
    }

    #[test]
    fn lists_are_walked_to_their_end() {
        let bytes =
            [list(SHA256, &[&[1; 32], &[2; 32]]), list([9; 16], &[&[3; 7]]), list(X509_SHA256, &[&[4; 48]])].concat();
        let mut keyring = Keyring::new();
        assert_eq!(keyring.revoke_efi(&bytes), Ok(3));
        assert_eq!(keyring.add_efi(&bytes, "db"), Ok(0));
        // A file of efivarfs starts with four bytes of attributes.
        assert_eq!(keyring.revoke_efi(&[&[0x27, 0, 0, 0][..], &bytes].concat()), Ok(3));
        assert_eq!(keyring.revoke_efi(b""), Ok(0));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let good = list(SHA256, &[&[1; 32]]);
        for length in 1..good.len() {
            assert!(Keyring::new().revoke_efi(&good[..length]).is_err() || length == 4, "{length}");
        }
        for (at, value) in [(16, 0), (16, 27), (16, 77), (20, 1), (20, 255), (24, 0), (24, 16), (24, 47)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Keyring::new().revoke_efi(&bad).is_err(), "{at} {value}");
        }
    }
}
