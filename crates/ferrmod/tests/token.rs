//! `ferrmod sign` with keys in a token: SoftHSM's, which is a token in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ferrmod_tests::corpus;

const MODULE: &[u8] = b"\x7fELF not really a module, but as good for a signature as any";
const PIN: &str = "4711;x";

/// A folder with tokens of its own, gone when dropped.
struct Tokens {
    folder: PathBuf,
    library: &'static str,
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Tokens {
    /// Tokens `first` and `second`, if SoftHSM is there.
    fn new(test: &str) -> Option<Self> {
        const LIBRARIES: [&str; 3] = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib64/pkcs11/libsofthsm2.so",
            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        ];
        let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).is_file()) else {
            corpus::skip("a token", "install the package softhsm2");
            return None;
        };
        let folder = std::env::temp_dir().join(format!("ferrmod-token-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("tokens")).unwrap();
        let tokens = Self { folder, library };
        let settings = format!("directories.tokendir = {}/tokens\nlog.level = ERROR\n", tokens.folder.display());
        fs::write(tokens.folder.join("softhsm2.conf"), settings).unwrap();
        for token in ["first", "second"] {
            tokens
                .tool("softhsm2-util", &["--init-token", "--free", "--label", token, "--so-pin", "8888", "--pin", PIN]);
        }
        fs::write(tokens.folder.join("a.ko"), MODULE).unwrap();
        Some(tokens)
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.folder).env("SOFTHSM2_CONF", self.folder.join("softhsm2.conf"));
        command.env_remove("KBUILD_SIGN_PIN").env_remove("PKCS11_MODULE_PATH");
        command
    }

    fn tool(&self, program: &str, words: &[&str]) {
        let output = self.command(program, words).output().unwrap();
        assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A key of that kind in token `first`, by its name; beside it as NAME.pem, its certificate as NAME.crt.
    fn add(&self, name: &str, id: &str, kind: &[&str]) {
        let (key, certificate, subject) = (format!("{name}.pem"), format!("{name}.crt"), format!("/CN={name}"));
        let make = ["req", "-x509", "-nodes", "-days", "9", "-keyout", &key, "-out", &certificate, "-subj", &subject];
        self.tool("openssl", &[&make[..], kind].concat());
        let import = ["--import", &key, "--token", "first", "--label", name, "--id", id, "--pin", PIN];
        self.tool("softhsm2-util", &import);
    }

    /// A URI in token `first` with the library.
    fn uri(&self, object: &str, query: &str) -> String {
        format!("pkcs11:token=first;{object}?module-path={}{query}", self.library)
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_ferrmod"), words).output().unwrap()
    }

    fn expect(&self, words: &[&str]) {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What is said when it fails, with that exit code and without the PIN.
    fn error(&self, code: i32, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(!said.contains("4711") && !said.contains("wrong1"), "{said}");
        assert_eq!(fs::read(self.folder.join("a.ko")).unwrap(), MODULE, "{words:?}");
        said
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap()
    }
}

const RSA: &[&str] = &["-newkey", "rsa:2048"];
const PIN_VALUE: &str = "&pin-value=4711%3bx";

#[test]
fn a_key_in_a_token_signs_as_the_same_key_in_a_file() {
    let Some(tokens) = Tokens::new("same") else { return };
    tokens.add("rsa", "01", RSA);
    let uri = tokens.uri("object=rsa", PIN_VALUE);
    for hash in ["sha1", "sha224", "sha256", "sha384", "sha512"] {
        tokens.expect(&["sign", "--hash", hash, "rsa.pem", "rsa.crt", "a.ko", "-o", "file.ko"]);
        tokens.expect(&["sign", "--hash", hash, &uri, "rsa.crt", "a.ko", "-o", "token.ko"]);
        assert_eq!(tokens.read("token.ko"), tokens.read("file.ko"), "{hash}");
    }
    // By its number, with the PIN in a file, of the environment, of the option; several modules in one go.
    fs::write(tokens.folder.join("pin"), format!("{PIN}\nanother line\n")).unwrap();
    let source = format!("&pin-source=file:{}/pin", tokens.folder.display());
    fs::write(tokens.folder.join("b.ko"), MODULE).unwrap();
    fs::write(tokens.folder.join("c.ko"), MODULE).unwrap();
    tokens.expect(&[
        "sign",
        "--hash",
        "sha512",
        &tokens.uri("id=%01;type=private", &source),
        "rsa.crt",
        "b.ko",
        "c.ko",
    ]);
    assert_eq!((tokens.read("b.ko"), tokens.read("c.ko")), (tokens.read("file.ko"), tokens.read("file.ko")));
    let words = ["sign", &tokens.uri("", ""), "rsa.crt", "a.ko", "-o", "d.ko"];
    let with_pin = tokens.command(env!("CARGO_BIN_EXE_ferrmod"), &words).env("KBUILD_SIGN_PIN", PIN).output().unwrap();
    assert!(with_pin.status.success(), "{}", String::from_utf8_lossy(&with_pin.stderr));
    tokens.expect(&[&words[..], &["--passphrase-file", "pin"]].concat());
    tokens.expect(&["verify", "d.ko", "--cert", "rsa.crt"]);
}

#[test]
fn curves_sign_what_verifies() {
    let Some(tokens) = Tokens::new("curves") else { return };
    for (name, id, curve) in [("p256", "02", "P-256"), ("p384", "03", "P-384")] {
        tokens.add(name, id, &["-newkey", "ec", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")]);
        // Digests shorter and longer than the curve; often enough for numbers with and without their highest bit.
        for hash in ["sha1", "sha256", "sha384", "sha512", "sha256", "sha256", "sha256", "sha256"] {
            let uri = tokens.uri(&format!("object={name}"), PIN_VALUE);
            let certificate = format!("{name}.crt");
            tokens.expect(&["sign", "--hash", hash, &uri, &certificate, "a.ko", "-o", "out.ko"]);
            tokens.expect(&["verify", "out.ko", "--cert", &certificate]);
            tokens.expect(&["sign", "--hash", hash, "--detached", &uri, &certificate, "a.ko"]);
            let message = ["-in", "a.ko.p7s", "-inform", "DER", "-content", "a.ko", "-binary", "-out", "content"];
            let signer = ["-certfile", &certificate, "-noverify"];
            tokens.tool("openssl", &[&["cms", "-verify"], &message[..], &signer[..]].concat());
        }
    }
}

#[test]
fn the_certificate_may_be_in_the_token_and_the_pin_be_wanted_each_time() {
    let Some(tokens) = Tokens::new("certificate") else { return };
    if Command::new("pkcs11-tool").arg("--version").output().is_err() {
        corpus::skip("pkcs11-tool", "install the package opensc");
        return;
    }
    tokens.add("rsa", "01", RSA);
    tokens.tool("openssl", &["x509", "-in", "rsa.crt", "-outform", "DER", "-out", "rsa.der"]);
    tokens.tool("openssl", &["rsa", "-in", "rsa.pem", "-outform", "DER", "-out", "key.der", "-traditional"]);
    let token = ["--module", tokens.library, "--token-label", "first", "--login", "--pin", PIN, "--write-object"];
    let certificate = ["rsa.der", "--type", "cert", "--id", "01", "--label", "rsa"];
    tokens.tool("pkcs11-tool", &[&token[..], &certificate[..]].concat());
    let strict = ["key.der", "--type", "privkey", "--id", "09", "--label", "strict", "--always-auth"];
    tokens.tool("pkcs11-tool", &[&token[..], &strict[..]].concat());
    tokens.expect(&["sign", "rsa.pem", "rsa.crt", "a.ko", "-o", "file.ko"]);
    let certificate = tokens.uri("object=rsa;type=cert", "");
    for key in ["id=%01", "object=strict"] {
        tokens.expect(&["sign", &tokens.uri(key, PIN_VALUE), &certificate, "a.ko", "-o", "token.ko"]);
        assert_eq!(tokens.read("token.ko"), tokens.read("file.ko"), "{key}");
    }
    // The same twice, the PIN being wanted twice.
    fs::copy(tokens.folder.join("a.ko"), tokens.folder.join("b.ko")).unwrap();
    fs::copy(tokens.folder.join("a.ko"), tokens.folder.join("c.ko")).unwrap();
    tokens.expect(&["sign", &tokens.uri("object=strict", PIN_VALUE), &certificate, "b.ko", "c.ko"]);
    assert_eq!((tokens.read("b.ko"), tokens.read("c.ko")), (tokens.read("file.ko"), tokens.read("file.ko")));
}

#[test]
fn mistakes_are_named_and_the_pin_is_not() {
    let Some(tokens) = Tokens::new("mistakes") else { return };
    tokens.add("rsa", "01", RSA);
    tokens.add("other", "02", RSA);
    let good = tokens.uri("object=rsa", PIN_VALUE);
    let sign = |uri: &str| tokens.error(3, &["sign", uri, "rsa.crt", "a.ko"]);
    assert!(sign(&tokens.uri("object=rsa", "")).contains("needs a PIN"));
    assert!(sign(&tokens.uri("object=rsa", "&pin-value=wrong1")).contains("it is wrong"));
    assert!(sign(&tokens.uri("object=rsa", "&pin-source=/nonexistent/pin")).contains("/nonexistent/pin"));
    let several = sign(&tokens.uri("", PIN_VALUE));
    assert!(several.contains("object=rsa;id=%01") && several.contains("object=other;id=%02"), "{several}");
    let none = sign(&tokens.uri("object=nobody", PIN_VALUE));
    assert!(none.contains("no such private key") && none.contains("object=other"), "{none}");
    let token = sign(&good.replace("token=first", "token=third"));
    assert!(token.contains("no such token") && token.contains("token=second"), "{token}");
    assert!(sign(&good.replace("token=first;", "")).contains("several tokens"));
    assert!(sign(&tokens.uri("object=other", PIN_VALUE)).contains("does not belong to the key"));
    assert!(sign(&tokens.uri("object=rsa;type=cert", PIN_VALUE)).contains("type=private"));
    assert!(sign("pkcs11:token=first?pin-value=4711%3bx").contains("no library is named"));
    assert!(sign("pkcs11:token=first?module-path=/nonexistent.so").contains("/nonexistent.so"));
    // A file that is no library, and a library that is none of a token's.
    assert!(sign(&format!("pkcs11:?module-path={}/a.ko", tokens.folder.display())).contains("a.ko"));
    assert!(sign("pkcs11:token=first?module-path=libsofthsm2.so").contains("begin with /"));
    let der = tokens.error(3, &["sign", &good, &tokens.uri("object=rsa;type=cert", ""), "a.ko"]);
    assert!(der.contains("no such certificate"), "{der}");
    tokens.expect(&["sign", &good, "rsa.crt", "a.ko", "-o", "out.ko"]);
}
