//! Public keys and what they can say about a signature.

use core::fmt;

use der::Tag;
use der::asn1::ObjectIdentifier;

use crate::reader::{Cursor, ParseError};
use crate::rsa::RsaKey;
use crate::{Digest, Hash};

/// `rsaEncryption`.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-ecPublicKey`.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
#[cfg(feature = "ecdsa")]
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
#[cfg(feature = "ecdsa")]
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// Bytes of a number modulo the order of P-256.
#[cfg(feature = "ecdsa")]
pub(crate) const P256_BYTES: usize = 32;
/// Bytes of a number modulo the order of P-384.
#[cfg(feature = "ecdsa")]
pub(crate) const P384_BYTES: usize = 48;

/// How a digest was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSA with the padding of PKCS#1 v1.5.
    Rsa,
    /// ECDSA; the algorithm's name may contain the digest's.
    Ecdsa,
    /// SM2, which Linux knows and nobody here verifies.
    Sm2,
}

/// Algorithms of signatures with the digest that their names contain. Only the first, those of ECDSA and SM2 stand in a module's
/// signature; the others are of certificates.
static ALGORITHMS: [(ObjectIdentifier, Scheme, Option<Digest>); 13] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"), Scheme::Rsa, None),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), Scheme::Ecdsa, Some(Digest::Sha1)),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.1"), Scheme::Ecdsa, Some(Digest::Sha224)),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), Scheme::Ecdsa, Some(Digest::Sha256)),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), Scheme::Ecdsa, Some(Digest::Sha384)),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), Scheme::Ecdsa, Some(Digest::Sha512)),
    (ObjectIdentifier::new_unwrap("1.2.156.10197.1.501"), Scheme::Sm2, Some(Digest::Sm3)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), Scheme::Rsa, Some(Digest::Sha1)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.14"), Scheme::Rsa, Some(Digest::Sha224)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), Scheme::Rsa, Some(Digest::Sha256)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"), Scheme::Rsa, Some(Digest::Sha384)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"), Scheme::Rsa, Some(Digest::Sha512)),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), Scheme::Rsa, Some(Digest::Md5)),
];

impl Scheme {
    /// The scheme of a certificate's signature algorithm, and its digest.
    pub(crate) fn of_certificate(oid: &ObjectIdentifier) -> Option<(Self, Option<Digest>)> {
        let known = ALGORITHMS.iter().find(|(known, ..)| known == oid);
        known.map(|(_, scheme, digest)| (*scheme, *digest))
    }

    /// The object identifier of this scheme over a digest.
    #[cfg(feature = "sign")]
    pub(crate) fn oid(self, digest: Digest) -> Option<ObjectIdentifier> {
        let known = ALGORITHMS.iter().find(|(_, scheme, of)| *scheme == self && *of == Some(digest));
        known.map(|(oid, ..)| *oid)
    }

    /// The scheme of a message's signature algorithm. Linux takes plain RSA here and not `sha256WithRSAEncryption`.
    pub(crate) fn of_message(oid: &ObjectIdentifier) -> Option<(Self, Option<Digest>)> {
        Self::of_certificate(oid).filter(|(scheme, digest)| !(*scheme == Self::Rsa && digest.is_some()))
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// RSA.
    Rsa(RsaKey),
    /// ECDSA over NIST P-256.
    #[cfg(feature = "ecdsa")]
    P256(p256::ecdsa::VerifyingKey),
    /// ECDSA over NIST P-384.
    #[cfg(feature = "ecdsa")]
    P384(p384::ecdsa::VerifyingKey),
    /// One that cannot be used here.
    Unsupported {
        /// Its algorithm.
        algorithm: ObjectIdentifier,
        /// The curve, when it is one of an elliptic curve.
        curve: Option<ObjectIdentifier>,
    },
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is of another kind than the key.
    Scheme,
    /// It is a signature by this key, over the digest of something else.
    Digest,
    /// It was not made by this key.
    Signature,
}

impl Key {
    /// Reads `SubjectPublicKeyInfo`.
    pub(crate) fn read(info: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let mut info = info.inside(Tag::Sequence, "public key")?;
        let (algorithm, parameters) = info.algorithm("algorithm of the public key")?;
        let curve = parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
        let offset = info.at();
        let (bits, base) = info.content(Tag::BitString, "bits of the public key")?;
        let error = |what| ParseError { offset, what };
        let bits =
            bits.split_first().filter(|(unused, _)| **unused == 0).ok_or(error("whole bytes of the public key"))?.1;
        if algorithm == RSA {
            let mut numbers = Cursor::new(bits, base + 1, "RSA key")?.inside(Tag::Sequence, "RSA key")?;
            let (modulus, _) = numbers.content(Tag::Integer, "modulus")?;
            let (exponent, _) = numbers.content(Tag::Integer, "exponent")?;
            numbers.end("end of the RSA key")?;
            return Ok(match RsaKey::new(modulus, exponent) {
                Some(key) => Self::Rsa(key),
                None => Self::Unsupported { algorithm, curve: None },
            });
        }
        #[cfg(feature = "ecdsa")]
        if algorithm == EC && curve == Some(P256) {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(bits);
            return key.map(Self::P256).map_err(|_| error("point on the curve P-256"));
        }
        #[cfg(feature = "ecdsa")]
        if algorithm == EC && curve == Some(P384) {
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(bits);
            return key.map(Self::P384).map_err(|_| error("point on the curve P-384"));
        }
        Ok(Self::Unsupported { algorithm, curve })
    }

    /// Whether it can be used here.
    pub fn is_supported(&self) -> bool {
        !matches!(self, Self::Unsupported { .. })
    }

    /// Which kind of signature it makes; `None` when it is another than [`Scheme`] knows.
    fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Rsa(_) => Some(Scheme::Rsa),
            Self::Unsupported { algorithm, .. } if *algorithm == RSA => Some(Scheme::Rsa),
            Self::Unsupported { algorithm, .. } if *algorithm != EC => None,
            _ => Some(Scheme::Ecdsa),
        }
    }

    /// Whether `signature` is this key's over `hash`. `Ok(false)` means that the key cannot be used here.
    pub(crate) fn verify(&self, scheme: Scheme, digest: Digest, hash: &Hash, signature: &[u8]) -> Result<bool, Wrong> {
        if self.scheme().is_some_and(|own| own != scheme) {
            return Err(Wrong::Scheme);
        }
        match self {
            Self::Rsa(key) => match key.signed(digest.info(), signature) {
                None => Err(Wrong::Signature),
                Some(signed) if signed == hash.as_bytes() => Ok(true),
                Some(_) => Err(Wrong::Digest),
            },
            #[cfg(feature = "ecdsa")]
            Self::P256(key) => {
                use p256::ecdsa::signature::hazmat::PrehashVerifier;
                let signature = p256::ecdsa::Signature::from_der(signature).map_err(|_| Wrong::Signature)?;
                key.verify_prehash(&hash.widened(P256_BYTES), &signature).map_err(|_| Wrong::Digest)?;
                Ok(true)
            }
            #[cfg(feature = "ecdsa")]
            Self::P384(key) => {
                use p384::ecdsa::signature::hazmat::PrehashVerifier;
                let signature = p384::ecdsa::Signature::from_der(signature).map_err(|_| Wrong::Signature)?;
                key.verify_prehash(&hash.widened(P384_BYTES), &signature).map_err(|_| Wrong::Digest)?;
                Ok(true)
            }
            Self::Unsupported { .. } => Ok(false),
        }
    }
}

/// `RSA 4096`, `ECDSA P-256`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(key) => write!(f, "RSA {}", key.bits()),
            #[cfg(feature = "ecdsa")]
            Self::P256(_) => f.write_str("ECDSA P-256"),
            #[cfg(feature = "ecdsa")]
            Self::P384(_) => f.write_str("ECDSA P-384"),
            Self::Unsupported { algorithm, curve: None } => write!(f, "{algorithm}"),
            Self::Unsupported { algorithm, curve: Some(curve) } => write!(f, "{algorithm} {curve}"),
        }
    }
}
