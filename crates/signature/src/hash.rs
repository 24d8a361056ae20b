//! Digests of bytes.

use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

use crate::Digest;

/// The value of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash {
    bytes: [u8; 64],
    length: u8,
}

impl Hash {
    fn new(value: &[u8]) -> Self {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(value) {
            *to = *from;
        }
        Self { bytes, length: value.len().min(64) as u8 }
    }

    /// A value of `digest` that was made before; `None` when it is not as long as those are.
    pub fn from_bytes(digest: Digest, value: &[u8]) -> Option<Self> {
        (digest.info().last().copied().map(usize::from) == Some(value.len())).then(|| Self::new(value))
    }

    /// As a number of at least `size` bytes, as ECDSA takes it: the crates for the curves refuse short digests.
    #[cfg(feature = "ecdsa")]
    pub(crate) fn widened(&self, size: usize) -> alloc::vec::Vec<u8> {
        let bytes = self.as_bytes();
        [&alloc::vec![0; size.saturating_sub(bytes.len())], bytes].concat()
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl core::fmt::Display for Hash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Digest {
    /// The digest of the parts one after the other; `None` when it is [known by name only](Digest::is_supported).
    pub fn of(self, parts: &[&[u8]]) -> Option<Hash> {
        fn hash<D: sha2::Digest>(parts: &[&[u8]]) -> Hash {
            let mut digest = D::new();
            for part in parts {
                digest.update(part);
            }
            Hash::new(&digest.finalize())
        }
        Some(match self {
            Self::Sha1 => hash::<Sha1>(parts),
            Self::Sha224 => hash::<Sha224>(parts),
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Sha384 => hash::<Sha384>(parts),
            Self::Sha512 => hash::<Sha512>(parts),
            _ => return None,
        })
    }

    /// SHA-256 of a whole file, by which blacklists name it.
    pub(crate) fn sha256(bytes: &[u8]) -> Hash {
        Hash::new(&Sha256::digest(bytes))
    }

    /// `DigestInfo` up to the digest (RFC 8017, 9.2, note 1).
    pub(crate) fn info(self) -> &'static [u8] {
        match self {
            Self::Sha1 => b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
            Self::Sha224 => b"\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04\x05\x00\x04\x1c",
            Self::Sha256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
            Self::Sha384 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
            Self::Sha512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
            _ => b"",
        }
    }
}
