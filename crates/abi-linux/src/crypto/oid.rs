//! Object identifiers: which of Linux's numbers an encoded one has, and its dotted form.
//!
//! The numbers differ from kernel to kernel; they are read from its `enum OID` by name.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use ferrmod_kernel::Errno;

use crate::boot::facts;
use crate::export::{Export, exports};
use crate::ram;

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c look_up_OID = look_up, c sprint_oid, c sprint_OID = sprint_number, c parse_OID = parse];

/// The names in `enum OID` and what they stand for.
const NAMES: &[(&str, &str)] = &[
    ("OID_id_dsa_with_sha1", "1.2.840.10030.4.3"),
    ("OID_id_dsa", "1.2.840.10040.4.1"),
    ("OID_id_ecPublicKey", "1.2.840.10045.2.1"),
    ("OID_id_prime192v1", "1.2.840.10045.3.1.1"),
    ("OID_id_prime256v1", "1.2.840.10045.3.1.7"),
    ("OID_id_ecdsa_with_sha1", "1.2.840.10045.4.1"),
    ("OID_id_ecdsa_with_sha224", "1.2.840.10045.4.3.1"),
    ("OID_id_ecdsa_with_sha256", "1.2.840.10045.4.3.2"),
    ("OID_id_ecdsa_with_sha384", "1.2.840.10045.4.3.3"),
    ("OID_id_ecdsa_with_sha512", "1.2.840.10045.4.3.4"),
    ("OID_rsaEncryption", "1.2.840.113549.1.1.1"),
    ("OID_md2WithRSAEncryption", "1.2.840.113549.1.1.2"),
    ("OID_md3WithRSAEncryption", "1.2.840.113549.1.1.3"),
    ("OID_md4WithRSAEncryption", "1.2.840.113549.1.1.4"),
    ("OID_sha1WithRSAEncryption", "1.2.840.113549.1.1.5"),
    ("OID_sha256WithRSAEncryption", "1.2.840.113549.1.1.11"),
    ("OID_sha384WithRSAEncryption", "1.2.840.113549.1.1.12"),
    ("OID_sha512WithRSAEncryption", "1.2.840.113549.1.1.13"),
    ("OID_sha224WithRSAEncryption", "1.2.840.113549.1.1.14"),
    ("OID_data", "1.2.840.113549.1.7.1"),
    ("OID_signed_data", "1.2.840.113549.1.7.2"),
    ("OID_email_address", "1.2.840.113549.1.9.1"),
    ("OID_contentType", "1.2.840.113549.1.9.3"),
    ("OID_messageDigest", "1.2.840.113549.1.9.4"),
    ("OID_signingTime", "1.2.840.113549.1.9.5"),
    ("OID_smimeCapabilites", "1.2.840.113549.1.9.15"),
    ("OID_smimeAuthenticatedAttrs", "1.2.840.113549.1.9.16.2.11"),
    ("OID_md2", "1.2.840.113549.2.2"),
    ("OID_md4", "1.2.840.113549.2.4"),
    ("OID_md5", "1.2.840.113549.2.5"),
    ("OID_mskrb5", "1.2.840.48018.1.2.2"),
    ("OID_krb5", "1.2.840.113554.1.2.2"),
    ("OID_krb5u2u", "1.2.840.113554.1.2.2.3"),
    ("OID_msIndirectData", "1.3.6.1.4.1.311.2.1.4"),
    ("OID_msStatementType", "1.3.6.1.4.1.311.2.1.11"),
    ("OID_msSpOpusInfo", "1.3.6.1.4.1.311.2.1.12"),
    ("OID_msPeImageDataObjId", "1.3.6.1.4.1.311.2.1.15"),
    ("OID_msIndividualSPKeyPurpose", "1.3.6.1.4.1.311.2.1.21"),
    ("OID_msOutlookExpress", "1.3.6.1.4.1.311.16.4"),
    ("OID_ntlmssp", "1.3.6.1.4.1.311.2.2.10"),
    ("OID_spnego", "1.3.6.1.5.5.2"),
    ("OID_IAKerb", "1.3.6.1.5.2.5"),
    ("OID_PKU2U", "1.3.5.1.5.2.7"),
    ("OID_Scram", "1.3.6.1.5.5.14"),
    ("OID_certAuthInfoAccess", "1.3.6.1.5.5.7.1.1"),
    ("OID_sha1", "1.3.14.3.2.26"),
    ("OID_id_ansip384r1", "1.3.132.0.34"),
    ("OID_sha256", "2.16.840.1.101.3.4.2.1"),
    ("OID_sha384", "2.16.840.1.101.3.4.2.2"),
    ("OID_sha512", "2.16.840.1.101.3.4.2.3"),
    ("OID_sha224", "2.16.840.1.101.3.4.2.4"),
    ("OID_commonName", "2.5.4.3"),
    ("OID_surname", "2.5.4.4"),
    ("OID_countryName", "2.5.4.6"),
    ("OID_locality", "2.5.4.7"),
    ("OID_stateOrProvinceName", "2.5.4.8"),
    ("OID_organizationName", "2.5.4.10"),
    ("OID_organizationUnitName", "2.5.4.11"),
    ("OID_title", "2.5.4.12"),
    ("OID_description", "2.5.4.13"),
    ("OID_name", "2.5.4.41"),
    ("OID_givenName", "2.5.4.42"),
    ("OID_initials", "2.5.4.43"),
    ("OID_generationalQualifier", "2.5.4.44"),
    ("OID_subjectKeyIdentifier", "2.5.29.14"),
    ("OID_keyUsage", "2.5.29.15"),
    ("OID_subjectAltName", "2.5.29.17"),
    ("OID_issuerAltName", "2.5.29.18"),
    ("OID_basicConstraints", "2.5.29.19"),
    ("OID_crlDistributionPoints", "2.5.29.31"),
    ("OID_certPolicies", "2.5.29.32"),
    ("OID_authorityKeyIdentifier", "2.5.29.35"),
    ("OID_extKeyUsage", "2.5.29.37"),
    ("OID_NetlogonMechanism", "1.2.752.43.14.2"),
    ("OID_appleLocalKdcSupported", "1.2.752.43.14.3"),
    ("OID_gostCPSignA", "1.2.643.2.2.35.1"),
    ("OID_gostCPSignB", "1.2.643.2.2.35.2"),
    ("OID_gostCPSignC", "1.2.643.2.2.35.3"),
    ("OID_gost2012PKey256", "1.2.643.7.1.1.1.1"),
    ("OID_gost2012PKey512", "1.2.643.7.1.1.1.2"),
    ("OID_gost2012Digest256", "1.2.643.7.1.1.2.2"),
    ("OID_gost2012Digest512", "1.2.643.7.1.1.2.3"),
    ("OID_gost2012Signature256", "1.2.643.7.1.1.3.2"),
    ("OID_gost2012Signature512", "1.2.643.7.1.1.3.3"),
    ("OID_gostTC26Sign256A", "1.2.643.7.1.2.1.1.1"),
    ("OID_gostTC26Sign256B", "1.2.643.7.1.2.1.1.2"),
    ("OID_gostTC26Sign256C", "1.2.643.7.1.2.1.1.3"),
    ("OID_gostTC26Sign256D", "1.2.643.7.1.2.1.1.4"),
    ("OID_gostTC26Sign512A", "1.2.643.7.1.2.1.2.1"),
    ("OID_gostTC26Sign512B", "1.2.643.7.1.2.1.2.2"),
    ("OID_gostTC26Sign512C", "1.2.643.7.1.2.1.2.3"),
    ("OID_sm2", "1.2.156.10197.1.301"),
    ("OID_sm3", "1.2.156.10197.1.401"),
    ("OID_SM2_with_SM3", "1.2.156.10197.1.501"),
    ("OID_sm3WithRSAEncryption", "1.2.156.10197.1.504"),
    ("OID_TPMLoadableKey", "2.23.133.10.1.3"),
    ("OID_TPMImportableKey", "2.23.133.10.1.4"),
    ("OID_TPMSealedData", "2.23.133.10.1.5"),
    ("OID_negoex", "1.3.6.1.4.1.311.2.2.30"),
    ("OID_id_ansip521r1", "1.3.132.0.35"),
    ("OID_sha3_256", "2.16.840.1.101.3.4.2.8"),
    ("OID_sha3_384", "2.16.840.1.101.3.4.2.9"),
    ("OID_sha3_512", "2.16.840.1.101.3.4.2.10"),
    ("OID_id_ecdsa_with_sha3_256", "2.16.840.1.101.3.4.3.10"),
    ("OID_id_ecdsa_with_sha3_384", "2.16.840.1.101.3.4.3.11"),
    ("OID_id_ecdsa_with_sha3_512", "2.16.840.1.101.3.4.3.12"),
    ("OID_id_rsassa_pkcs1_v1_5_with_sha3_256", "2.16.840.1.101.3.4.3.14"),
    ("OID_id_rsassa_pkcs1_v1_5_with_sha3_384", "2.16.840.1.101.3.4.3.15"),
    ("OID_id_rsassa_pkcs1_v1_5_with_sha3_512", "2.16.840.1.101.3.4.3.16"),
];

/// The numbers of an identifier's encoding (X.690, 8.19); `None` when it is none.
fn decode(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    let mut value: u64 = 0;
    let mut begun = false;
    for &byte in bytes {
        value = value.checked_mul(128)? + u64::from(byte & 0x7f);
        begun = byte & 0x80 != 0;
        if !begun {
            if numbers.is_empty() {
                // The first two are one number: 40 for each of the first.
                let first = (value / 40).min(2);
                numbers.extend([first, value - 40 * first]);
            } else {
                numbers.push(value);
            }
            value = 0;
        }
    }
    (!begun && !numbers.is_empty()).then_some(numbers)
}

fn dotted(numbers: &[u64]) -> String {
    let mut text = String::new();
    for (place, number) in numbers.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{}{number}", if place == 0 { "" } else { "." });
    }
    text
}

/// The number `enum OID` gives an identifier; its last, `OID__NR`, when it is in no list.
fn number_of(bytes: &[u8]) -> i32 {
    let btf = facts().btf();
    let known =
        decode(bytes).map(|numbers| dotted(&numbers)).and_then(|text| NAMES.iter().find(|(_, oid)| *oid == text));
    let number = known.and_then(|(name, _)| btf.enum_value(name)).or_else(|| btf.enum_value("OID__NR"));
    number.unwrap_or(-1) as i32
}

/// `enum OID look_up_OID(const void *data, size_t datasize)`
extern "C" fn look_up(data: u64, size: u64) -> i32 {
    // SAFETY: the module's bytes.
    number_of(unsafe { ram::bytes(data, size) })
}

/// `int parse_OID(const void *data, size_t datasize, enum OID *)`: `data` starts with tag and length.
extern "C" fn parse(data: u64, size: u64, out: u64) -> i32 {
    // SAFETY: the module's bytes and variable.
    unsafe {
        match ram::bytes(data, size) {
            // X.690, 8.19.1: the tag of an object identifier is 6.
            [6, length, rest @ ..] if usize::from(*length) <= rest.len() => {
                ram::put(out, number_of(&rest[..usize::from(*length)]));
                0
            }
            _ => Errno::EBADMSG.to_return(),
        }
    }
}

/// Writes text with its NUL as far as there is room; how long it is, or `ENOBUFS`.
unsafe fn give(text: &str, buffer: u64, room: u64) -> i32 {
    if text.len() as u64 >= room {
        return Errno::ENOBUFS.to_return();
    }
    // SAFETY: the caller has that much room.
    unsafe {
        ram::bytes_mut(buffer, text.len() as u64).copy_from_slice(text.as_bytes());
        ram::put(buffer + text.len() as u64, 0u8);
    }
    text.len() as i32
}

/// `int sprint_oid(const void *data, size_t datasize, char *buffer, size_t bufsize)`
extern "C" fn sprint_oid(data: u64, size: u64, buffer: u64, room: u64) -> i32 {
    // SAFETY: the module's bytes and buffer.
    unsafe {
        match decode(ram::bytes(data, size)) {
            Some(numbers) => give(&dotted(&numbers), buffer, room),
            None => {
                give("(bad)", buffer, room);
                Errno::EBADMSG.to_return()
            }
        }
    }
}

/// `int sprint_OID(enum OID, char *buffer, size_t bufsize)`
extern "C" fn sprint_number(number: i32, buffer: u64, room: u64) -> i32 {
    let btf = facts().btf();
    let known = NAMES.iter().find(|(name, _)| btf.enum_value(name) == Some(i64::from(number)));
    match known {
        // SAFETY: the module's buffer.
        Some((_, text)) => unsafe { give(text, buffer, room) },
        None => Errno::EBADMSG.to_return(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_decoded() {
        let dotted = |bytes: &[u8]| decode(bytes).map(|numbers| dotted(&numbers));
        // RFC 8017, A.1: rsaEncryption; X.690, 8.19.5's example.
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]).as_deref(), Some("1.2.840.113549.1.1.1"));
        assert_eq!(dotted(&[0x88, 0x37, 0x03]).as_deref(), Some("2.999.3"));
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0x2a, 0x86]), None);
    }
}
