//! Reading private keys: PKCS#8, PKCS#1 and SEC1, in PEM or DER, encrypted or not.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, KeyIvInit};
use der::Decode;
use der::asn1::ObjectIdentifier;
use md5::Md5;
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use sha2::Digest as _;

use crate::pem::{self, Block};

const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// A private key that signs modules. It is wiped from memory when it goes.
#[derive(Clone)]
pub enum PrivateKey {
    /// RSA.
    Rsa(alloc::boxed::Box<RsaPrivateKey>),
    /// ECDSA over NIST P-256.
    P256(p256::ecdsa::SigningKey),
    /// ECDSA over NIST P-384.
    P384(p384::ecdsa::SigningKey),
}

/// Says the kind and not the key.
impl core::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Rsa(_) => "Rsa(..)",
            Self::P256(_) => "P256(..)",
            Self::P384(_) => "P384(..)",
        })
    }
}

/// Why a private key could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is none.
    #[error("no private key in it")]
    None,
    /// It is encrypted, and no passphrase was given.
    #[error("the key is encrypted and needs a passphrase")]
    Encrypted,
    /// The passphrase is wrong, or the key is damaged.
    #[error("the key cannot be decrypted: wrong passphrase, or the file is damaged")]
    Passphrase,
    /// It is encrypted in a way that is not known here.
    #[error("the key is encrypted with {0}, which is not supported; `openssl pkcs8 -topk8` makes one that is")]
    Cipher(String),
    /// Its kind is not supported.
    #[error("a key of kind {0} is not supported; RSA and ECDSA over P-256 and P-384 are")]
    Kind(String),
    /// It cannot be read.
    #[error("the key cannot be read: {0}")]
    Malformed(String),
}

impl PrivateKey {
    /// Reads the first private key in `bytes`, PEM or DER (PKCS#8, `RSA PRIVATE KEY`, `EC PRIVATE KEY`).
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn read(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let mut any = false;
        for block in pem::blocks(bytes) {
            any = true;
            let content = || block.content.clone().ok_or_else(|| KeyError::Malformed("its base64 is damaged".into()));
            match block.label.as_str() {
                "PRIVATE KEY" => return Self::pkcs8(&content()?),
                "ENCRYPTED PRIVATE KEY" => return Self::encrypted(&content()?, passphrase),
                "RSA PRIVATE KEY" => return Self::pkcs1(&opened(&block, content()?, passphrase)?),
                "EC PRIVATE KEY" => return Self::sec1(&opened(&block, content()?, passphrase)?, None),
                _ => {}
            }
        }
        if any {
            return Err(KeyError::None);
        }
        let encrypted = pkcs8::EncryptedPrivateKeyInfo::from_der(bytes).is_ok();
        if encrypted {
            return Self::encrypted(bytes, passphrase);
        }
        Self::pkcs8(bytes)
            .or_else(|_| Self::pkcs1(bytes))
            .or_else(|_| Self::sec1(bytes, None))
            .map_err(|_| KeyError::None)
    }

    fn encrypted(der: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let info =
            pkcs8::EncryptedPrivateKeyInfo::from_der(der).map_err(|_| KeyError::Cipher("an unknown cipher".into()))?;
        let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
        let opened = info.decrypt(passphrase).map_err(|_| KeyError::Passphrase)?;
        Self::pkcs8(opened.as_bytes())
    }

    fn pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let info = pkcs8::PrivateKeyInfo::from_der(der).map_err(malformed)?;
        if info.algorithm.oid == EC {
            let curve = info.algorithm.parameters_oid().map_err(malformed)?;
            return Self::sec1(info.private_key, Some(curve));
        }
        match RsaPrivateKey::from_pkcs8_der(der) {
            Ok(key) => Ok(Self::Rsa(key.into())),
            Err(pkcs8::Error::PublicKey(_)) => Err(KeyError::Kind(info.algorithm.oid.to_string())),
            Err(error) => Err(malformed(error)),
        }
    }

    fn pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        RsaPrivateKey::from_pkcs1_der(der).map(|key| Self::Rsa(key.into())).map_err(malformed)
    }

    fn sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<Self, KeyError> {
        let key = sec1::EcPrivateKey::from_der(der).map_err(malformed)?;
        let named = key.parameters.and_then(|parameters| parameters.named_curve());
        match curve.or(named) {
            Some(P256) => p256::ecdsa::SigningKey::from_slice(key.private_key).map(Self::P256).map_err(malformed),
            Some(P384) => p384::ecdsa::SigningKey::from_slice(key.private_key).map(Self::P384).map_err(malformed),
            Some(curve) => Err(KeyError::Kind(curve.to_string())),
            None => Err(KeyError::Kind("of an elliptic curve without a name".into())),
        }
    }
}

fn malformed(error: impl core::fmt::Display) -> KeyError {
    KeyError::Malformed(error.to_string())
}

/// The content of a block, decrypted when its headers say that it is encrypted (RFC 1421, 4.6.1; the key by one round of MD5
/// over passphrase and salt, as OpenSSL has always done it).
fn opened(block: &Block, content: Vec<u8>, passphrase: Option<&[u8]>) -> Result<Vec<u8>, KeyError> {
    let Some(info) = block.header("DEK-Info") else { return Ok(content) };
    let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
    let (cipher, iv) = info.split_once(',').ok_or_else(|| KeyError::Cipher(info.to_string()))?;
    let iv = pem::unhex(iv.trim()).filter(|iv| iv.len() == 16).ok_or_else(|| KeyError::Cipher(info.to_string()))?;
    let mut key: Vec<u8> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    while key.len() < 32 {
        let mut digest = Md5::new();
        digest.update(&last);
        digest.update(passphrase);
        digest.update(iv.get(..8).unwrap_or_default());
        last = digest.finalize().to_vec();
        key.extend(&last);
    }
    macro_rules! decrypt {
        ($cipher:ty, $length:literal) => {
            cbc::Decryptor::<$cipher>::new_from_slices(key.get(..$length).unwrap_or_default(), &iv)
                .ok()
                .and_then(|cipher| cipher.decrypt_padded_vec_mut::<Pkcs7>(&content).ok())
                .ok_or(KeyError::Passphrase)
        };
    }
    match cipher {
        "AES-128-CBC" => decrypt!(aes::Aes128, 16),
        "AES-192-CBC" => decrypt!(aes::Aes192, 24),
        "AES-256-CBC" => decrypt!(aes::Aes256, 32),
        other => Err(KeyError::Cipher(other.to_string())),
    }
}
