//! Check sums of whole files, as databases of packages keep them.

use std::fmt;

use ferrmod_signature::{Digest, Hash};
use md5::{Digest as _, Md5};

/// An MD5 check sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Md5Sum(pub [u8; 16]);

impl fmt::Display for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A check sum of a file. `Display` writes it in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckSum {
    /// MD5, the only one that dpkg keeps.
    Md5(Md5Sum),
    /// Another.
    Other(Digest, Hash),
}

impl fmt::Display for CheckSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Md5(sum) => sum.fmt(f),
            Self::Other(_, hash) => hash.fmt(f),
        }
    }
}

impl CheckSum {
    /// The name of its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> String {
        match self {
            Self::Md5(_) => "MD5".to_owned(),
            Self::Other(digest, _) => digest.to_string().to_uppercase(),
        }
    }

    /// The same sum of `bytes`; `None` when it is not known how to make it.
    pub(crate) fn of_same_kind(&self, bytes: &[u8]) -> Option<Self> {
        Some(match self {
            Self::Md5(_) => Self::Md5(Md5Sum(Md5::digest(bytes).into())),
            Self::Other(digest, _) => Self::Other(*digest, digest.of(&[bytes])?),
        })
    }
}

/// Bytes of hexadecimal digits; `None` when they are no such digits or not in pairs.
pub(crate) fn bytes_of(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|&[high, low]| Some((digit(high)? * 16 + digit(low)?) as u8)).collect()
}
