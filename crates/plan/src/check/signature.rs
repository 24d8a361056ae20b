//! What is known about a module's signature.

use std::fmt;

use ferrmod_image::SignatureError;
use ferrmod_image::linux::signature_of;
use ferrmod_signature::{Keyring, Refusal, verify};

use super::errno::{EBADMSG, EKEYREJECTED};
use super::verdict::Line;

/// What became of a module's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "state", rename_all = "snake_case"))]
pub enum Signed {
    /// There is none.
    Unsigned,
    /// There is one in the form that Linux takes, and nobody looked into it.
    Unverified,
    /// It holds, and the kernel has its key.
    Valid {
        /// The signer's name.
        signer: String,
    },
    /// It may hold, but the kernel has not got its key.
    UnknownKey {
        /// What is known of the key.
        text: String,
    },
    /// It is of a kind that the kernel does not verify.
    Unsupported {
        /// What is not supported.
        text: String,
    },
    /// It does not hold, or is none: the load ends, whether signatures are required or not.
    Bad {
        /// What is wrong with it.
        text: String,
        /// The answer.
        errno: i32,
    },
    /// Its key, or the module itself, was revoked.
    Revoked {
        /// What was.
        text: String,
    },
}

/// The errors that mean that a module counts as unsigned.
const ENOPKG: i32 = 65;
const ENOKEY: i32 = 126;

impl Signed {
    /// Looks at the signature of a file, and into it when there is a keyring. Also gives what Linux prints about it.
    pub(super) fn of(file: &[u8], keyring: Option<&Keyring>) -> (Signed, Vec<Line>) {
        let refusal = match (signature_of(file), keyring) {
            (Ok(None), _) => return (Signed::Unsigned, Vec::new()),
            (Ok(Some(_)), None) => return (Signed::Unverified, Vec::new()),
            (Err(error), _) => Refusal::Envelope(error),
            (Ok(Some(_)), Some(keyring)) => match verify(file, keyring) {
                Ok(signed) => {
                    return (Signed::Valid { signer: signed.signer().subject_text() }, Vec::new());
                }
                Err(refusal) => refusal,
            },
        };
        let lines = match &refusal {
            // A length that does not fit is refused without a word.
            Refusal::Envelope(SignatureError::Length { .. }) => Vec::new(),
            Refusal::Envelope(error) => vec![Line::new(3, error.to_string())],
            refusal => refusal.log_lines().into_iter().map(|(level, text)| Line::new(level, text)).collect(),
        };
        let text = refusal.to_string();
        let signed = match (&refusal, refusal.errno()) {
            (Refusal::Unsigned, _) => Signed::Unsigned,
            (Refusal::Revoked { .. } | Refusal::Blacklisted(_), _) => Signed::Revoked { text },
            (_, ENOPKG) => Signed::Unsupported { text },
            (_, ENOKEY) => Signed::UnknownKey { text },
            (Refusal::Envelope(_), _) => Signed::Bad { text, errno: EBADMSG },
            (_, errno) => Signed::Bad { text, errno },
        };
        (signed, lines)
    }

    /// The kernel's words for a module that counts as unsigned; `None` for one that is vouched for, or refused in any case.
    #[must_use]
    pub fn tolerated(&self) -> Option<&'static str> {
        match self {
            Signed::Unsigned => Some("unsigned module"),
            Signed::Unsupported { .. } => Some("module with unsupported crypto"),
            Signed::UnknownKey { .. } => Some("module with unavailable key"),
            Signed::Unverified | Signed::Valid { .. } | Signed::Bad { .. } | Signed::Revoked { .. } => None,
        }
    }

    /// The number with which a load ends whatever is required.
    pub(super) fn fatal(&self) -> Option<i32> {
        match self {
            Signed::Bad { errno, .. } => Some(*errno),
            Signed::Revoked { .. } => Some(EKEYREJECTED),
            _ => None,
        }
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signed::Unsigned => f.write_str("not signed"),
            Signed::Unverified => f.write_str("signed (not verified)"),
            Signed::Valid { signer } => write!(f, "signed by {signer}"),
            Signed::UnknownKey { text }
            | Signed::Unsupported { text }
            | Signed::Bad { text, .. }
            | Signed::Revoked { text } => f.write_str(text),
        }
    }
}
