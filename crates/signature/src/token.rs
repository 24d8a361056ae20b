//! Keys that never leave their token: what it has to sign, and what becomes of its answer.

use alloc::vec::Vec;

use crate::key::{Key, P256_BYTES, P384_BYTES};
use crate::sign::{element, tag};
use crate::{Digest, Hash};

impl Key {
    /// What a token signs for this public key: by RSA the `DigestInfo` (`CKM_RSA_PKCS`), by ECDSA the digest, cut to the length of the
    /// curve (`CKM_ECDSA`). `None` for other keys.
    pub fn token_input(&self, digest: Digest, hash: &Hash) -> Option<Vec<u8>> {
        let bytes = hash.as_bytes();
        let cut = |size: usize| bytes.get(..size).unwrap_or(bytes).to_vec();
        match self {
            Self::Rsa(_) => Some([digest.info(), bytes].concat()),
            Self::P256(_) => Some(cut(P256_BYTES)),
            Self::P384(_) => Some(cut(P384_BYTES)),
            Self::Unsupported { .. } => None,
        }
    }

    /// The signature, as a message has it, from what a token answered: by ECDSA two numbers of one length become DER.
    pub fn token_signature(&self, answer: Vec<u8>) -> Vec<u8> {
        match self {
            Self::P256(_) | Self::P384(_) if answer.len().is_multiple_of(2) => {
                let (r, s) = answer.split_at(answer.len() / 2);
                element(tag::SEQUENCE, &[&number(r), &number(s)])
            }
            _ => answer,
        }
    }
}

/// A DER `INTEGER` of big-endian bytes without a sign.
fn number(bytes: &[u8]) -> Vec<u8> {
    let significant = bytes.iter().position(|&byte| byte != 0).and_then(|at| bytes.get(at..)).unwrap_or(&[0]);
    // What begins with its highest bit set would be negative.
    let sign: &[u8] = if significant.first().is_some_and(|&byte| byte >= 0x80) { &[0] } else { &[] };
    element(tag::INTEGER, &[sign, significant])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be_and_positive() {
        assert_eq!(number(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(number(&[0, 0x80, 0]), [2, 3, 0, 0x80, 0]);
        assert_eq!(number(&[0, 0]), [2, 1, 0]);
        assert_eq!(number(&[]), [2, 1, 0]);
    }
}
