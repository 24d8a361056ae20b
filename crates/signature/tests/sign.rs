//! Signatures made here are those of `sign-file`, and `openssl` and this crate verify them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrmod_signature::{
    Certificate, Digest, KeyError, Keyring, Matched, NameBy, PrivateKey, Purpose, Refusal, SignError, append,
    certificates_der, message, sign, strip, verify, verify_detached,
};
use ferrmod_tests::corpus;

const MODULE: &[u8] = b"\x7fELF not really a module, but as good for a signature as any";

/// A folder of keys and certificates made by `openssl`, gone when dropped.
struct Keys(PathBuf);

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Keys {
    fn make(test: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            corpus::skip("openssl", "install the package openssl");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("ferrmod-signature-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Some(Self(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn openssl(&self, words: &str) -> std::process::Output {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// NAME.pem, a key of that kind, and NAME.crt, a certificate.
    fn add(&self, name: &str, kind: &str) -> (PrivateKey, Certificate) {
        self.openssl(&format!(
            "req -x509 -newkey {kind} -nodes -keyout {name}.pem -out {name}.crt -subj /O=Ferrmod/CN={name} -days 30 -addext keyUsage=critical,digitalSignature,keyCertSign"
        ));
        (self.key(&format!("{name}.pem"), None).unwrap(), self.certificate(&format!("{name}.crt")))
    }

    fn key(&self, name: &str, passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
        PrivateKey::read(&fs::read(self.path(name)).unwrap(), passphrase)
    }

    fn certificate(&self, name: &str) -> Certificate {
        let der = certificates_der(&fs::read(self.path(name)).unwrap());
        Certificate::read(&der[0]).unwrap().0
    }
}

const RSA: &str = "rsa:2048";
const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "ec -pkeyopt ec_paramgen_curve:P-384";
const DIGESTS: [Digest; 5] = [Digest::Sha1, Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512];

fn trusting(certificate: &Certificate) -> Keyring {
    let mut keyring = Keyring::new();
    keyring.add(certificate.clone(), "test");
    keyring
}

/// The kernel's own tool, from the headers in the corpus or installed.
fn sign_file() -> Option<PathBuf> {
    let below = "usr/lib/linux-kbuild-6.1/scripts/sign-file";
    let found = [corpus::folder().join("6.1-headers").join(below), Path::new("/").join(below)];
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        corpus::skip("sign-file", "run `cargo xtask corpus`, or install linux-kbuild-6.1");
    }
    found
}

#[test]
fn signatures_by_rsa_are_those_of_sign_file() {
    let (Some(keys), Some(tool)) = (Keys::make("sign-file"), sign_file()) else { return };
    let (key, certificate) = keys.add("rsa", RSA);
    for digest in DIGESTS {
        for (flag, name_by) in [(None, NameBy::IssuerAndSerial), (Some("-k"), NameBy::KeyId)] {
            fs::write(keys.path("module.ko"), MODULE).unwrap();
            let mut command = Command::new(&tool);
            command.args(flag).args([digest.name(), "rsa.pem", "rsa.crt", "module.ko"]).current_dir(&keys.0);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let theirs = fs::read(keys.path("module.ko")).unwrap();
            let ours = append(MODULE, &sign(MODULE, &key, &certificate, digest, name_by).unwrap());
            assert_eq!(theirs, ours, "{digest} {name_by:?}");
        }
    }
}

#[test]
fn what_is_signed_verifies_here_and_with_openssl() {
    let Some(keys) = Keys::make("openssl") else { return };
    fs::write(keys.path("module"), MODULE).unwrap();
    for (name, kind) in [("rsa", RSA), ("p256", P256), ("p384", P384)] {
        let (key, certificate) = keys.add(name, kind);
        let keyring = trusting(&certificate);
        for digest in DIGESTS {
            for (name_by, matched) in
                [(NameBy::IssuerAndSerial, Matched::IssuerAndSerial), (NameBy::KeyId, Matched::KeyId)]
            {
                let made = sign(MODULE, &key, &certificate, digest, name_by).unwrap();
                assert_eq!(made, sign(MODULE, &key, &certificate, digest, name_by).unwrap(), "deterministic");
                let file = append(MODULE, &made);
                let signed = verify(&file, &keyring).unwrap();
                assert_eq!((&signed.matched, signed.digest, signed.oddities.len()), (&matched, digest, 0));
                assert_eq!(strip(&file), Some(MODULE));
                fs::write(keys.path("signature"), &made).unwrap();
                keys.openssl(&format!(
                    "cms -verify -binary -inform DER -in signature -content module -certfile {name}.crt -CAfile {name}.crt -purpose any -out verified"
                ));
                let mut changed = file.clone();
                changed[9] ^= 1;
                assert!(matches!(verify(&changed, &keyring), Err(Refusal::Changed { .. })));
                assert!(matches!(verify(&file, &Keyring::new()), Err(Refusal::UnknownKey { .. })));
            }
        }
    }
}

#[test]
fn what_openssl_signs_verifies_here() {
    let Some(keys) = Keys::make("cms") else { return };
    fs::write(keys.path("module"), MODULE).unwrap();
    for (name, kind) in [("rsa", RSA), ("p256", P256), ("p384", P384)] {
        let (_, certificate) = keys.add(name, kind);
        let keyring = trusting(&certificate);
        for digest in DIGESTS {
            for flags in ["", " -nocerts", " -keyid", " -noattr", " -noattr -nocerts", " -noattr -nocerts -keyid"] {
                keys.openssl(&format!(
                    "cms -sign -binary -outform DER -in module -signer {name}.crt -inkey {name}.pem -md {digest} -out signature{flags}"
                ));
                let made = fs::read(keys.path("signature")).unwrap();
                let as_data = verify_detached(MODULE, &made, &keyring, Purpose::Data);
                assert!(as_data.is_ok(), "{name} {digest}{flags}: {as_data:?}");
                let as_module = verify_detached(MODULE, &made, &keyring, Purpose::Module);
                if flags.contains("noattr") {
                    assert!(as_module.is_ok(), "{name} {digest}{flags}: {as_module:?}");
                } else {
                    assert!(matches!(as_module, Err(Refusal::SignedAttributes { .. })));
                }
                let other = verify_detached(b"another", &made, &keyring, Purpose::Data);
                assert!(matches!(other, Err(Refusal::Changed { .. })), "{other:?}");
            }
        }
    }
}

#[test]
fn a_certificate_in_the_message_leads_to_its_issuer() {
    let Some(keys) = Keys::make("chain") else { return };
    let (_, authority) = keys.add("authority", RSA);
    let (_, stranger) = keys.add("stranger", RSA);
    keys.openssl("req -newkey rsa:2048 -nodes -keyout signer.pem -out signer.csr -subj /CN=signer");
    keys.openssl(
        "x509 -req -in signer.csr -CA authority.crt -CAkey authority.pem -CAcreateserial -days 30 -out signer.crt",
    );
    fs::write(keys.path("module"), MODULE).unwrap();
    keys.openssl(
        "cms -sign -binary -noattr -outform DER -in module -signer signer.crt -inkey signer.pem -md sha256 -out signature",
    );
    let file = append(MODULE, &fs::read(keys.path("signature")).unwrap());
    let keyring = trusting(&authority);
    let signed = verify(&file, &keyring).unwrap();
    assert!(matches!(&signed.matched, Matched::Chain { certificates } if certificates.len() == 1));
    assert_eq!(signed.signer().called(), "signer");
    assert!(matches!(verify(&file, &trusting(&stranger)), Err(Refusal::UnknownKey { .. })));
    let mut changed = file.clone();
    changed[9] ^= 1;
    // The carried certificate is enough to see that.
    assert!(matches!(verify(&changed, &Keyring::new()), Err(Refusal::Changed { .. })));

    let mut revoking = keyring.clone();
    revoking.revoke(keys.certificate("signer.crt"));
    assert!(matches!(verify(&file, &revoking), Err(Refusal::Revoked { .. })));
    let mut revoking = keyring.clone();
    revoking.revoke_hash(Digest::Sha256.of(&[authority.signed_part()]).unwrap().as_bytes());
    assert!(matches!(verify(&file, &revoking), Err(Refusal::Revoked { .. })));
    let mut revoking = keyring.clone();
    revoking.revoke_hash(Digest::Sha256.of(&[&file]).unwrap().as_bytes());
    assert!(matches!(verify(&file, &revoking), Err(Refusal::Blacklisted(_))));
}

#[test]
fn revocation_lists_are_read() {
    let Some(keys) = Keys::make("crl") else { return };
    let (_, authority) = keys.add("authority", RSA);
    keys.openssl("req -newkey rsa:2048 -nodes -keyout signer.pem -out signer.csr -subj /CN=signer");
    let settings = "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nserial=serial\nnew_certs_dir=.\npolicy=p\ndefault_md=sha256\ndefault_days=9\ndefault_crl_days=9\n[p]\ncommonName=supplied\n";
    fs::write(keys.path("settings"), settings).unwrap();
    fs::write(keys.path("index"), "").unwrap();
    fs::write(keys.path("serial"), "4711").unwrap();
    keys.openssl(
        "ca -batch -config settings -cert authority.crt -keyfile authority.pem -in signer.csr -out signer.crt",
    );
    keys.openssl("ca -config settings -cert authority.crt -keyfile authority.pem -revoke signer.crt");
    keys.openssl("ca -config settings -cert authority.crt -keyfile authority.pem -gencrl -out list.crl");
    let signer = keys.certificate("signer.crt");
    let mut keyring = trusting(&authority);
    let list = ferrmod_signature::revocation_lists_der(&fs::read(keys.path("list.crl")).unwrap());
    assert!(!keyring.is_revoked(&signer));
    assert_eq!(keyring.revoke_list(&list[0]), Ok(1));
    assert!(keyring.is_revoked(&signer));
    assert!(!keyring.is_revoked(&authority));
}

#[test]
fn keys_are_read_in_every_form() {
    let Some(keys) = Keys::make("forms") else { return };
    for (name, kind, traditional) in [("rsa", RSA, "rsa"), ("p256", P256, "ec"), ("p384", P384, "ec")] {
        let (key, certificate) = keys.add(name, kind);
        let wanted = sign(MODULE, &key, &certificate, Digest::Sha256, NameBy::IssuerAndSerial).unwrap();
        for (file, passphrase, command) in [
            ("der", None, format!("pkcs8 -topk8 -nocrypt -in {name}.pem -outform DER -out der")),
            ("old.der", None, format!("{traditional} -in {name}.pem -outform DER -out old.der")),
            (
                "encrypted.pem",
                Some("secret"),
                format!("pkcs8 -topk8 -in {name}.pem -passout pass:secret -out encrypted.pem"),
            ),
            (
                "encrypted.der",
                Some("secret"),
                format!("pkcs8 -topk8 -in {name}.pem -passout pass:secret -outform DER -out encrypted.der"),
            ),
            (
                "scrypt.pem",
                Some("secret"),
                format!("pkcs8 -topk8 -scrypt -scrypt_N 1024 -in {name}.pem -passout pass:secret -out scrypt.pem"),
            ),
        ] {
            keys.openssl(&command);
            let read = keys.key(file, passphrase.map(str::as_bytes)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let made = sign(MODULE, &read, &certificate, Digest::Sha256, NameBy::IssuerAndSerial).unwrap();
            assert_eq!(made, wanted, "{name} {file}");
            if passphrase.is_some() {
                assert_eq!(keys.key(file, None).unwrap_err(), KeyError::Encrypted, "{file}");
                assert_eq!(keys.key(file, Some(b"wrong")).unwrap_err(), KeyError::Passphrase, "{file}");
            }
        }
        for cipher in ["aes128", "aes192", "aes256"] {
            // OpenSSL 3 writes this form with -traditional only.
            keys.openssl(&format!("pkey -in {name}.pem -traditional -{cipher} -passout pass:secret -out old.pem"));
            let text = fs::read_to_string(keys.path("old.pem")).unwrap();
            assert!(text.contains("DEK-Info"), "{text}");
            let read = keys.key("old.pem", Some(b"secret")).unwrap();
            let made = sign(MODULE, &read, &certificate, Digest::Sha256, NameBy::IssuerAndSerial).unwrap();
            assert_eq!(made, wanted, "{name} {cipher}");
            assert_eq!(keys.key("old.pem", None).unwrap_err(), KeyError::Encrypted);
            assert!(keys.key("old.pem", Some(b"wrong")).is_err());
        }
    }
    fs::write(keys.path("nothing"), b"nothing").unwrap();
    assert_eq!(keys.key("nothing", None).unwrap_err(), KeyError::None);
    assert_eq!(keys.key("rsa.crt", None).unwrap_err(), KeyError::None);
}

#[test]
fn a_signature_made_elsewhere_is_attached() {
    let Some(keys) = Keys::make("attach") else { return };
    for (name, kind) in [("rsa", RSA), ("p384", P384)] {
        let (key, certificate) = keys.add(name, kind);
        let hash = Digest::Sha256.of(&[MODULE]).unwrap();
        fs::write(keys.path("hash"), hash.as_bytes()).unwrap();
        keys.openssl(&format!("pkeyutl -sign -inkey {name}.pem -in hash -out raw -pkeyopt digest:sha256"));
        let raw = fs::read(keys.path("raw")).unwrap();
        let made = message(&certificate, Digest::Sha256, &hash, &raw, NameBy::IssuerAndSerial).unwrap();
        assert!(verify(&append(MODULE, &made), &trusting(&certificate)).is_ok());
        if name == "rsa" {
            let whole = sign(MODULE, &key, &certificate, Digest::Sha256, NameBy::IssuerAndSerial).unwrap();
            assert_eq!(made, whole);
        }
        let other = Digest::Sha256.of(&[b"another"]).unwrap();
        let refused = message(&certificate, Digest::Sha256, &other, &raw, NameBy::IssuerAndSerial);
        assert!(matches!(refused, Err(SignError::Mismatch(_))), "{refused:?}");
    }
}

#[test]
fn a_key_signs_with_its_own_certificate_only() {
    let Some(keys) = Keys::make("own") else { return };
    let (first, _) = keys.add("first", RSA);
    let (_, second) = keys.add("second", RSA);
    let (curve, _) = keys.add("curve", P256);
    for key in [first, curve] {
        let refused = sign(MODULE, &key, &second, Digest::Sha256, NameBy::IssuerAndSerial);
        assert!(matches!(refused, Err(SignError::OtherKey(_))), "{refused:?}");
    }
}
