//! Names of digests and of the ways to sign one.

use core::fmt;

use der::asn1::ObjectIdentifier;

/// A digest that a signature may be over. Those that [are known by name only](Digest::is_supported) are never verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Digest {
    Md4,
    Md5,
    Ripemd160,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512_224,
    Sha512_256,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
    Sm3,
}

/// Object identifiers of digests, and their names as `modinfo` writes them.
static DIGESTS: [(Digest, ObjectIdentifier, &str); 15] = [
    (Digest::Md4, ObjectIdentifier::new_unwrap("1.2.840.113549.2.4"), "md4"),
    (Digest::Md5, ObjectIdentifier::new_unwrap("1.2.840.113549.2.5"), "md5"),
    (Digest::Ripemd160, ObjectIdentifier::new_unwrap("1.3.36.3.2.1"), "ripemd160"),
    (Digest::Sha1, ObjectIdentifier::new_unwrap("1.3.14.3.2.26"), "sha1"),
    (Digest::Sha224, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4"), "sha224"),
    (Digest::Sha256, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"), "sha256"),
    (Digest::Sha384, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"), "sha384"),
    (Digest::Sha512, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"), "sha512"),
    (Digest::Sha512_224, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.5"), "sha512-224"),
    (Digest::Sha512_256, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.6"), "sha512-256"),
    (Digest::Sha3_224, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.7"), "sha3-224"),
    (Digest::Sha3_256, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.8"), "sha3-256"),
    (Digest::Sha3_384, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.9"), "sha3-384"),
    (Digest::Sha3_512, ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.10"), "sha3-512"),
    (Digest::Sm3, ObjectIdentifier::new_unwrap("1.2.156.10197.1.401"), "sm3"),
];

impl Digest {
    /// The digest of this object identifier.
    pub fn of_oid(oid: &ObjectIdentifier) -> Option<Self> {
        DIGESTS.iter().find(|(_, known, _)| known == oid).map(|(digest, ..)| *digest)
    }

    /// The digest of this name (`sha256`).
    pub fn of_name(name: &str) -> Option<Self> {
        DIGESTS.iter().find(|(.., known)| *known == name).map(|(digest, ..)| *digest)
    }

    /// Its object identifier.
    pub fn oid(self) -> ObjectIdentifier {
        const NONE: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.0.0");
        DIGESTS.iter().find(|(digest, ..)| *digest == self).map_or(NONE, |(_, oid, _)| *oid)
    }

    /// Its name, as `modinfo` writes it.
    pub fn name(self) -> &'static str {
        DIGESTS.iter().find(|(digest, ..)| *digest == self).map_or("", |(.., name)| name)
    }

    /// Whether Linux has a number for its object identifier. A message with one that it has not is refused as a whole.
    pub(crate) fn is_named_by_linux(self) -> bool {
        self.is_supported() || matches!(self, Self::Md4 | Self::Md5 | Self::Sm3)
    }

    /// Whether a signature over this digest can be verified here.
    pub fn is_supported(self) -> bool {
        matches!(self, Self::Sha1 | Self::Sha224 | Self::Sha256 | Self::Sha384 | Self::Sha512)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
