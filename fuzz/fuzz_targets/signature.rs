//! Signatures, certificates, revocation lists and keys are bytes from anywhere: nothing makes reading or verifying them panic, and
//! nothing that was not signed counts as signed.
#![no_main]

use ferrmod_signature::{Certificate, Digest, Keyring, NameBy, PrivateKey, Purpose, SignerId};
use libfuzzer_sys::fuzz_target;

/// The certificate in Debian's kernel, whose private key nobody has.
const CERTIFICATE: &[u8] = include_bytes!("../seeds/signature/certificate.der");
/// What no message is over.
const MODULE: &[u8] = b"nobody has signed this";

fuzz_target!(|bytes: &[u8]| {
    let mut keyring = Keyring::new();
    keyring.add_der(CERTIFICATE, "seed").unwrap();
    for purpose in [Purpose::Module, Purpose::Data] {
        let refusal = ferrmod_signature::verify_detached(MODULE, bytes, &keyring, purpose).unwrap_err();
        let _ = (refusal.to_string(), refusal.errno(), refusal.log_lines());
    }
    let verified = ferrmod_signature::verify(bytes, &keyring);
    assert!(verified.is_err(), "{verified:?}");
    if let Some(summary) = ferrmod_signature::summary(bytes) {
        assert!(!summary.signature.is_empty());
    }
    if let Some(bare) = ferrmod_signature::strip(bytes) {
        let again = ferrmod_signature::append(bare, bytes.get(bare.len()..).unwrap_or_default());
        assert_eq!(ferrmod_signature::strip(&again), Some(bare));
    }
    for certificate in ferrmod_signature::certificates(bytes).map_while(Result::ok) {
        let _ = (certificate.subject_text(), certificate.called(), certificate.validity_text());
        let _ = (certificate.is_valid_at(0), certificate.is_issued_by(&certificate), certificate.key.to_string());
        let id = SignerId::IssuerAndSerial { issuer: certificate.issuer(), serial: certificate.serial() };
        let _ = format!("{id:?}");
        let hash = Digest::Sha256.of(&[bytes]).unwrap();
        let _ = ferrmod_signature::message(&certificate, Digest::Sha256, &hash, bytes, NameBy::KeyId);
        let (again, length) = Certificate::read(certificate.der()).unwrap();
        assert_eq!((again.der(), length), (certificate.der(), certificate.der().len()));
        // A stranger's certificate, trusted: its signatures are still its own.
        let mut stranger = Keyring::new();
        stranger.add(certificate, "input");
        let _ = ferrmod_signature::verify_detached(MODULE, bytes, &stranger, Purpose::Data);
    }
    let _ = (keyring.revoke_list(bytes), keyring.revoke_efi(bytes), keyring.add_efi(bytes, "efi"));
    for der in ferrmod_signature::certificates_der(bytes) {
        let _ = keyring.add_der(&der, "pem");
    }
    // Keys in encrypted forms may ask for as many rounds as they like, which is time and no fault.
    if !bytes.windows(9).any(|window| window.eq_ignore_ascii_case(b"ENCRYPTED")) && !is_encrypted(bytes) {
        let _ = PrivateKey::read(bytes, Some(b"passphrase"));
    }
});

/// PBES2 in it: 1.2.840.113549.1.5.13.
fn is_encrypted(bytes: &[u8]) -> bool {
    bytes.windows(9).any(|window| window == [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d])
}
