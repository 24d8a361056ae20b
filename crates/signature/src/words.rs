//! What Linux 6.1 writes into its log when it refuses a signature.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ferrmod_image::SignatureError;

use crate::verify::{AttributesKind, Refusal};

/// The lines with their levels; often none.
pub(crate) fn log_lines(refusal: &Refusal) -> Vec<(u8, String)> {
    const WARNING: u8 = 4;
    const ERROR: u8 = 3;
    let lines: &[(u8, &str)] = match refusal {
        Refusal::Envelope(error @ (SignatureError::IdType { .. } | SignatureError::NonZeroParameters { .. })) => {
            return alloc::vec![(ERROR, error.to_string())];
        }
        Refusal::NotSigned => &[(WARNING, "PKCS7: Only support pkcs7_signedData type")],
        Refusal::Version(_) => &[(WARNING, "PKCS7: Unsupported SignedData version")],
        Refusal::VersionMismatch { .. } => &[(WARNING, "PKCS7: SignedData-SignerInfo version mismatch")],
        Refusal::Attached => {
            &[(WARNING, "PKCS7: Data already supplied"), (ERROR, "PKCS#7 signature with non-detached data")]
        }
        Refusal::Attributes => &[(WARNING, "PKCS7: Missing required AuthAttr")],
        Refusal::SignedAttributes { kind } => match kind {
            AttributesKind::Plain => &[(WARNING, "PKCS7: Invalid module sig (has authattrs)")],
            AttributesKind::Repeated => &[(WARNING, "PKCS7: Repeated/multivalue AuthAttrs not permitted")],
            AttributesKind::SMime => &[(WARNING, "PKCS7: S/MIME Caps only allowed with Authenticode")],
        },
        Refusal::Blacklisted(hash) => return alloc::vec![(ERROR, alloc::format!("Module {hash} is blacklisted"))],
        _ => &[],
    };
    lines.iter().map(|(level, text)| (*level, (*text).to_string())).collect()
}
