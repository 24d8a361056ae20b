//! `ferrmod sign`: append a signature to modules, or take it away.

#[cfg(feature = "pkcs11")]
mod token;
#[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "what a URI names is of use with the feature alone"))]
mod uri;

use std::fs;
use std::path::{Path, PathBuf};

use anstream::println;
use clap::Args;
use ferrmod_image::compress::{self, Compression};
use ferrmod_signature::{Certificate, Digest, NameBy, PrivateKey, SignError};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output;
use crate::replace::replace;
use uri::Uri;

/// Sign modules, as the kernel's own `sign-file` does.
///
/// With a key: KEY CERT MODULE... signs each module in place, or one into the file of --output. The bytes are those that `sign-file` writes
/// (by RSA; by ECDSA they are deterministic, which those of `sign-file` are not). A signature that is there already is replaced.
///
/// Without the key at hand: --digest MODULE... prints what has to be signed, and --attach SIGNATURE CERT MODULE appends the
/// signature that was made elsewhere: raw, or as PKCS#7 (`openssl cms -sign -binary -noattr -nocerts -outform DER`).
///
/// --strip MODULE... takes signatures away.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Sign {
    /// KEY CERT MODULE..., CERT MODULE with --attach, MODULE... with --digest and --strip. KEY is PEM or DER (PKCS#8, PKCS#1, SEC1),
    /// CERT is PEM or DER. Both may be in a token: a pkcs11: URI with `module-path=`.
    #[arg(value_name = "KEY CERT MODULE", required = true)]
    pub operands: Vec<PathBuf>,
    /// The digest that is signed: sha1, sha224, sha256, sha384 or sha512.
    #[arg(long, value_name = "NAME", default_value = "sha256", value_parser = digest)]
    pub hash: Digest,
    /// Write the result to FILE, and leave the module as it is. With --digest, the digest's bytes.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Name the signer by the certificate's subject key identifier instead of issuer and serial number.
    #[arg(short, long)]
    pub key_id: bool,
    /// Write the PKCS#7 message alone, to MODULE.p7s or the file of --output.
    #[arg(short, long, conflicts_with_all = ["digest", "strip"])]
    pub detached: bool,
    /// Print the digest of the modules, to be signed elsewhere.
    #[arg(long, conflicts_with_all = ["attach", "strip"])]
    pub digest: bool,
    /// Append this signature, which was made elsewhere.
    #[arg(long, value_name = "SIGNATURE", conflicts_with = "strip")]
    pub attach: Option<PathBuf>,
    /// Take the signature away.
    #[arg(long)]
    pub strip: bool,
    /// The first line of this file is the key's passphrase, or the token's PIN [default: the environment variable KBUILD_SIGN_PIN].
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Print one JSON document instead of text (schema: docs/schema/sign.md).
    #[arg(long)]
    pub json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  2  usage
  3  a file cannot be read or written, the key does not belong to the certificate, or the signature to the module. Modules
     before it are done, none is half done";

fn digest(name: &str) -> Result<Digest, String> {
    let known = Digest::of_name(name).filter(|digest| digest.is_supported());
    known.ok_or_else(|| "sha1, sha224, sha256, sha384 or sha512".into())
}

#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report {
    schema: &'static str,
    modules: Vec<Done>,
}

/// What was done to one module.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Done {
    file: String,
    /// The file that was written, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// `signed`, `stripped`, `digest` or `unchanged`.
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<&'static str>,
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::File { path: path.display().to_string(), error })
}

fn refused(path: &Path, reason: impl ToString) -> Failure {
    Failure::Content { path: path.display().to_string(), reason: reason.to_string() }
}

/// The certificate in a file or a token.
fn certificate(sign: &Sign, path: &Path) -> Result<Certificate, Failure> {
    let uri = token_uri(path);
    // What is shown of a URI has no PIN.
    let path = uri.map_or(path, |uri| Path::new(Uri::shown(uri)));
    let der = match uri {
        Some(uri) => certificate_in_token(sign, uri)?,
        None => {
            let blocks = ferrmod_signature::certificates_der(&read(path)?);
            blocks.into_iter().next().ok_or_else(|| refused(path, "no certificate in it"))?
        }
    };
    let (certificate, _) =
        Certificate::read(&der).map_err(|error| refused(path, format!("not a certificate: {error}")))?;
    Ok(certificate)
}

/// The operand, when it is the URI of something in a token.
fn token_uri(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| Uri::is_one(text))
}

#[cfg(feature = "pkcs11")]
fn read_uri(sign: &Sign, text: &str) -> Result<(Uri, Option<String>), Failure> {
    let refuse = |reason: String| refused(Path::new(Uri::shown(text)), reason);
    let uri = Uri::read(text).map_err(refuse)?;
    let pin = match &uri.pin {
        Some(uri::Pin::Value(pin)) => Some(pin.clone().into_bytes()),
        Some(uri::Pin::File(file)) => Some(first_line(file)?),
        None => passphrase(sign)?,
    };
    let pin = pin.map(String::from_utf8).transpose().map_err(|_| refuse("the PIN is not UTF-8".into()))?;
    Ok((uri, pin))
}

#[cfg(feature = "pkcs11")]
fn certificate_in_token(sign: &Sign, text: &str) -> Result<Vec<u8>, Failure> {
    let (uri, pin) = read_uri(sign, text)?;
    let der = token::Token::open(&uri, pin, false).and_then(|token| token.certificate(&uri));
    der.map_err(|error| refused(Path::new(&uri.shown), error))
}

/// Signs with a key in a token.
#[cfg(feature = "pkcs11")]
fn sign_in_token(
    sign: &Sign,
    text: &str,
    certificate: &Certificate,
    modules: &[PathBuf],
    name_by: NameBy,
) -> Result<Vec<Done>, Failure> {
    let (uri, pin) = read_uri(sign, text)?;
    let refuse = |error| refused(Path::new(&uri.shown), error);
    let token = token::Token::open(&uri, pin, true).map_err(|error| refuse(error.to_string()))?;
    let key = token.key(&uri).map_err(|error| refuse(error.to_string()))?;
    each(sign, modules, &|_, module| {
        key.sign(module, certificate, sign.hash, name_by).map_err(|error| refuse(error.to_string()))
    })
}

#[cfg(not(feature = "pkcs11"))]
const WITHOUT: &str = "this program was built without the feature `pkcs11`, which reaches tokens";

#[cfg(not(feature = "pkcs11"))]
fn certificate_in_token(_: &Sign, text: &str) -> Result<Vec<u8>, Failure> {
    Err(refused(Path::new(Uri::shown(text)), WITHOUT))
}

#[cfg(not(feature = "pkcs11"))]
fn sign_in_token(_: &Sign, text: &str, _: &Certificate, _: &[PathBuf], _: NameBy) -> Result<Vec<Done>, Failure> {
    Err(refused(Path::new(Uri::shown(text)), WITHOUT))
}

fn first_line(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(file)?;
    Ok(bytes.split(|&byte| byte == b'\n').next().unwrap_or_default().to_vec())
}

/// The passphrase of the key, or the PIN of the token.
fn passphrase(sign: &Sign) -> Result<Option<Vec<u8>>, Failure> {
    use std::os::unix::ffi::OsStrExt;
    match &sign.passphrase_file {
        Some(file) => first_line(file).map(Some),
        None => Ok(std::env::var_os("KBUILD_SIGN_PIN").map(|pin| pin.as_bytes().to_vec())),
    }
}

fn key(sign: &Sign, path: &Path) -> Result<PrivateKey, Failure> {
    let passphrase = passphrase(sign)?;
    PrivateKey::read(&read(path)?, passphrase.as_deref()).map_err(|error| refused(path, error))
}

/// A module's file, which must not be compressed: a signature is inside of what is compressed.
fn module(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(path)?;
    match compress::detect(&bytes) {
        Compression::None => Ok(bytes),
        _ => Err(refused(path, "compressed; unpack it first, the signature is part of what is compressed")),
    }
}

/// The module without a signature, if it has one that can be read.
fn bare(file: &[u8]) -> &[u8] {
    ferrmod_signature::strip(file).unwrap_or(file)
}

/// How a message is made for one module.
type Maker<'a> = dyn Fn(&Path, &[u8]) -> Result<Vec<u8>, Failure> + 'a;

fn split_operands<const N: usize>(operands: &[PathBuf], usage: &str) -> Result<([PathBuf; N], Vec<PathBuf>), Failure> {
    match operands.split_first_chunk::<N>() {
        Some((first, modules)) if !modules.is_empty() => Ok((first.clone(), modules.to_vec())),
        _ => Err(Failure::Usage(format!("give {usage}"))),
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] names the file and what is wrong with it.
pub(crate) fn sign(sign: &Sign) -> Result<Exit, Failure> {
    let name_by = if sign.key_id { NameBy::KeyId } else { NameBy::IssuerAndSerial };
    let done = if sign.digest {
        one_output(sign, &sign.operands)?;
        sign.operands.iter().map(|path| print_digest(sign, path)).collect::<Result<Vec<_>, _>>()?
    } else if sign.strip {
        one_output(sign, &sign.operands)?;
        sign.operands.iter().map(|path| strip(sign, path)).collect::<Result<Vec<_>, _>>()?
    } else if let Some(attached) = &sign.attach {
        let ([path], modules) = split_operands::<1>(&sign.operands, "CERT and MODULE with --attach")?;
        if modules.len() > 1 {
            return Err(Failure::Usage("a signature is of one module: give CERT and one MODULE with --attach".into()));
        }
        let certificate = certificate(sign, &path)?;
        let signature = read(attached)?;
        each(sign, &modules, &|path, module| {
            attach(sign.hash, &signature, &certificate, module, name_by)
                .map_err(|error| refused(attached, format!("{error} ({})", path.display())))
        })?
    } else {
        let ([key_path, path], modules) = split_operands::<2>(&sign.operands, "KEY, CERT and MODULE")?;
        if let Some(uri) = token_uri(&key_path) {
            let certificate = certificate(sign, &path)?;
            sign_in_token(sign, uri, &certificate, &modules, name_by)?
        } else {
            let key = key(sign, &key_path)?;
            let certificate = certificate(sign, &path)?;
            each(sign, &modules, &|_, module| {
                ferrmod_signature::sign(module, &key, &certificate, sign.hash, name_by)
                    .map_err(|error| refused(&key_path, error))
            })?
        }
    };
    if sign.json {
        let report = Report { schema: "ferrmod.sign/1", modules: done };
        output::json(&report)?;
    } else if sign.digest && sign.output.is_none() {
        for done in &done {
            println!("{}  {}", done.digest.as_deref().unwrap_or_default(), done.file);
        }
    }
    Ok(Exit::Clean)
}

fn one_output(sign: &Sign, modules: &[PathBuf]) -> Result<(), Failure> {
    if sign.output.is_some() && modules.len() > 1 {
        return Err(Failure::Usage("--output takes one module at a time".into()));
    }
    Ok(())
}

/// The message for a signature made elsewhere: raw, or PKCS#7 already.
fn attach(
    digest: Digest,
    signature: &[u8],
    certificate: &Certificate,
    module: &[u8],
    name_by: NameBy,
) -> Result<Vec<u8>, SignError> {
    let mut keyring = ferrmod_signature::Keyring::new();
    keyring.add(certificate.clone(), "");
    match ferrmod_signature::verify_detached(module, signature, &keyring, ferrmod_signature::Purpose::Module) {
        Ok(_) => return Ok(signature.to_vec()),
        Err(ferrmod_signature::Refusal::Message(_)) => {}
        // It is a message, so that it is no raw signature.
        Err(refusal) => return Err(SignError::Message(refusal.to_string())),
    }
    let hash = digest.of(&[module]).ok_or(SignError::Digest(digest))?;
    ferrmod_signature::message(certificate, digest, &hash, signature, name_by)
}

fn each(sign: &Sign, modules: &[PathBuf], make: &Maker<'_>) -> Result<Vec<Done>, Failure> {
    one_output(sign, modules)?;
    let mut done = Vec::new();
    for path in modules {
        let file = module(path)?;
        let bare = bare(&file);
        let message = make(path, bare)?;
        let (output, bytes) = if sign.detached {
            let mut beside = path.clone().into_os_string();
            beside.push(".p7s");
            (sign.output.clone().unwrap_or_else(|| beside.into()), message)
        } else {
            (sign.output.clone().unwrap_or_else(|| path.clone()), ferrmod_signature::append(bare, &message))
        };
        replace(&output, &bytes, Some(path))?;
        done.push(Done {
            file: path.display().to_string(),
            output: Some(output.display().to_string()),
            action: "signed",
            digest: None,
            algorithm: Some(sign.hash.name()),
        });
    }
    Ok(done)
}

fn print_digest(sign: &Sign, path: &Path) -> Result<Done, Failure> {
    let file = module(path)?;
    let hash = sign.hash.of(&[bare(&file)]).ok_or_else(|| refused(path, SignError::Digest(sign.hash)))?;
    if let Some(output) = &sign.output {
        replace(output, hash.as_bytes(), Some(path))?;
    }
    Ok(Done {
        file: path.display().to_string(),
        output: sign.output.as_ref().map(|output| output.display().to_string()),
        action: "digest",
        digest: Some(hash.to_string()),
        algorithm: Some(sign.hash.name()),
    })
}

fn strip(sign: &Sign, path: &Path) -> Result<Done, Failure> {
    let file = module(path)?;
    let stripped = ferrmod_signature::strip(&file);
    let output = sign.output.as_deref().unwrap_or(path);
    if stripped.is_some() || sign.output.is_some() {
        replace(output, stripped.unwrap_or(&file), Some(path))?;
    }
    Ok(Done {
        file: path.display().to_string(),
        output: Some(output.display().to_string()),
        action: if stripped.is_some() { "stripped" } else { "unchanged" },
        digest: None,
        algorithm: None,
    })
}
