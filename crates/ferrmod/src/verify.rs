//! `ferrmod verify`: who has signed a module, and whether that holds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bstr::ByteSlice;
use clap::Args;
use ferrmod_image::facts::Facts;
use ferrmod_image::{Image, compress};
use ferrmod_index::in_parallel_reading;
use ferrmod_linux::{Keys, parse_keys};
use ferrmod_signature::{Certificate, Colons, Keyring, Matched, Refusal, Signed};
use serde::Serialize;

use crate::cli::Request;
use crate::exit::{Exit, Failure};
use crate::firmware::Firmware;
use crate::kernel_image;
use crate::output::{self, BAD, GOOD, NOTE};
use crate::tree::Tree;

/// Say who has signed modules, and whether that holds.
///
/// MODULE is a file (it may be compressed), a folder with modules anywhere below it, or a name or alias that is looked up in the
/// tree. Without --cert, --keyring, --kernel, --efivars and --db, the certificates are those built into the kernel that each module was built
/// for; the image of that kernel is looked for as by `ferrmod run`.
///
/// A signature that Linux accepts although its message is not what signing tools write, so that somebody has changed a byte
/// that is not covered, is bad here.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Verify {
    /// Modules: files, folders, names or aliases.
    #[arg(value_name = "MODULE", required = true)]
    pub modules: Vec<OsString>,
    /// Trust the certificates in this file (PEM or DER).
    #[arg(long, value_name = "FILE")]
    pub cert: Vec<PathBuf>,
    /// Trust the certificates in the files of this folder (*.pem, *.crt, *.cer, *.der, *.x509).
    #[arg(long, value_name = "DIR")]
    pub keyring: Vec<PathBuf>,
    /// Trust the certificates built into this kernel (vmlinuz or vmlinux).
    #[arg(long, value_name = "IMAGE")]
    pub kernel: Vec<PathBuf>,
    /// The tree of modules, for names and for the images of kernels [default: the running kernel's].
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// Who the firmware and the machine's owner trust.
    #[command(flatten)]
    pub firmware: Firmware,
    /// Of the certificates that are trusted, only those count whose key is in this list of the kernel's keys, and what its blacklist
    /// names is refused: /proc/keys, or a copy of it. The kernel describes its keys and hands none out, so the certificates
    /// have to come from elsewhere.
    #[arg(long, value_name = "FILE")]
    pub proc_keys: Option<PathBuf>,
    /// Refuse what the certificates in this file have signed, and the certificates in this revocation list (PEM or DER).
    #[arg(long, value_name = "FILE")]
    pub revoked: Vec<PathBuf>,
    /// Refuse the files whose SHA-256, or that of whose signer's certificate (its signed part), is in this file: one a line, in
    /// hexadecimal, `bin:` or `tbs:` before it or not, as in /proc/keys and dbx listings.
    #[arg(long, value_name = "FILE")]
    pub blacklist: Vec<PathBuf>,
    /// Print only what does not verify.
    #[arg(short, long)]
    pub quiet: bool,
    /// Print one JSON document instead of text (schema: docs/schema/verify.md).
    #[arg(long)]
    pub json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every module is signed by somebody trusted
  1  a module is not signed, or by somebody who is not trusted; Linux loads it unless signatures are enforced
  2  usage
  3  a signature is bad or revoked; Linux refuses the module always. Or a file cannot be read";

/// The document that `--json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report {
    schema: &'static str,
    modules: Vec<Verdict>,
    exit_code: u8,
}

/// What is said of one module.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Verdict {
    file: String,
    /// `signed`, `unsigned`, `bad` or `unreadable`.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<Signer>,
    /// How the trusted certificate was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What Linux's check gives when it is not 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<&'static str>,
    /// What in the message is not as signing tools write it, although the signature holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    oddities: Vec<String>,
    /// What the signer's certificate says against the signature, at which Linux does not look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    concerns: Vec<String>,
}

/// The certificate that made a signature.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Signer {
    subject: String,
    serial: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    key: String,
    not_before: String,
    not_after: String,
}

impl Signer {
    fn of(certificate: &Certificate) -> Self {
        let [not_before, not_after] = certificate.validity_text();
        Self {
            subject: certificate.subject_text(),
            serial: Colons(certificate.serial()).to_string(),
            key_id: certificate.key_id().map(|key| Colons(key).to_string()),
            key: certificate.key.to_string(),
            not_before,
            not_after,
        }
    }
}

impl Verdict {
    fn unreadable(file: &Path, reason: String) -> Self {
        Self { result: "unreadable", reason: Some(reason), ..Self::new(file) }
    }

    fn new(file: &Path) -> Self {
        Self {
            file: file.display().to_string(),
            result: "signed",
            signer: None,
            matched: None,
            trusted_by: None,
            digest: None,
            reason: None,
            errno: None,
            oddities: Vec::new(),
            concerns: Vec::new(),
        }
    }

    fn of(file: &Path, verified: Result<Signed<'_>, Refusal>, now: u64) -> Self {
        match verified {
            Ok(signed) => Self {
                result: if signed.oddities.is_empty() { "signed" } else { "bad" },
                signer: Some(Signer::of(signed.signer())),
                matched: Some(match signed.matched {
                    Matched::IssuerAndSerial => "issuer and serial number",
                    Matched::KeyId => "key identifier",
                    Matched::Chain { .. } => "chain",
                }),
                trusted_by: Some(signed.by.origin.clone()),
                digest: Some(signed.digest.name()),
                concerns: concerns(signed.signer(), now),
                oddities: signed.oddities.iter().map(ToString::to_string).collect(),
                ..Self::new(file)
            },
            Err(refusal) => Self {
                result: if refusal.is_unsigned() { "unsigned" } else { "bad" },
                errno: Some(refusal.errno_name()),
                reason: Some(refusal.to_string()),
                ..Self::new(file)
            },
        }
    }

    fn exit(&self) -> Exit {
        match self.result {
            "signed" => Exit::Clean,
            "unsigned" => Exit::ModuleError,
            _ => Exit::Refused,
        }
    }

    fn line(&self) -> String {
        let file = &self.file;
        let unsaid = String::new();
        match (self.result, &self.signer) {
            ("signed", Some(signer)) => format!(
                "{file}: {GOOD}signed{GOOD:#} by {} ({}, {}), {}{}",
                signer.subject,
                signer.key,
                self.digest.unwrap_or_default(),
                self.trusted_by.as_ref().unwrap_or(&unsaid),
                self.concerns.iter().map(|concern| format!("; {NOTE}but{NOTE:#} {concern}")).collect::<String>(),
            ),
            ("bad", Some(signer)) => format!(
                "{file}: {BAD}bad{BAD:#}: signed by {}, but the message was changed: {}; Linux loads it",
                signer.subject,
                self.oddities.join(", ")
            ),
            (result, _) => {
                let style = if result == "unsigned" { NOTE } else { BAD };
                let errno = self.errno.map(|errno| format!(" (Linux: {errno})")).unwrap_or_default();
                let reason = self.reason.as_ref().unwrap_or(&unsaid);
                format!("{file}: {style}{result}{style:#}: {reason}{errno}")
            }
        }
    }
}

/// What a certificate says against what it has signed: its validity at `now` (seconds since 1970), and what its key is for.
fn concerns(certificate: &Certificate, now: u64) -> Vec<String> {
    let [from, until] = certificate.validity_text();
    let mut concerns = Vec::new();
    if now < certificate.not_before {
        concerns.push(format!("its certificate is not valid before {from}"));
    } else if now > certificate.not_after {
        concerns.push(format!("its certificate was valid until {until}"));
    }
    if !certificate.uses.may_sign_data() {
        concerns.push("its certificate says that the key is not for signing data (keyUsage)".to_owned());
    }
    if certificate.uses.code_signing == Some(false) {
        concerns.push("its certificate says that the key is not for signing code (extKeyUsage)".to_owned());
    }
    concerns
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The certificates that were asked for, or those of the kernels modules were built for.
struct Keyrings<'a> {
    asked: Option<Keyring>,
    revoked: Keyring,
    /// The keys that the kernel says it holds.
    held: Option<Keys>,
    tree: Option<&'a Path>,
    /// By release.
    kernels: Mutex<BTreeMap<String, Result<&'static Keyring, String>>>,
}

impl Keyrings<'_> {
    /// The keyring for a module.
    fn of(&self, file: &Path, module: &[u8]) -> Result<&Keyring, String> {
        if let Some(asked) = &self.asked {
            return Ok(asked);
        }
        // A module that is not even ELF is none of any kernel's; a changed one may still say which it was.
        let release = Image::read(module)
            .ok()
            .and_then(|image| image.modinfo().get("vermagic").map(kernel_image::release_of))
            .filter(|release| !release.is_empty())
            .ok_or("not a module that says which kernel it is for; name the certificates with --cert or --kernel")?;
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kernels.entry(release.clone()).or_insert_with(|| {
            let facts = kernel_image::facts(&release, None, self.tree, &[file.to_path_buf()]);
            let mut keyring = self.revoked.clone();
            facts.map_err(|error| error.to_string()).and_then(|facts| {
                add_kernel(&mut keyring, &facts, &release)?;
                keep_held(&mut keyring, self.held.as_ref());
                // There are as many as kernels, and they are needed to the end.
                Ok(&*Box::leak(Box::new(keyring)))
            })
        });
        known.clone()
    }
}

pub(crate) fn add_kernel(keyring: &mut Keyring, facts: &[u8], release: &str) -> Result<usize, String> {
    let facts = Facts::open(facts).map_err(|error| error.to_string())?;
    keyring.add_der(facts.certificates(), &format!("built into kernel {release}")).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::File { path: path.display().to_string(), error })
}

fn content(path: &Path) -> impl Fn(String) -> Failure {
    move |reason| Failure::Content { path: path.display().to_string(), reason }
}

/// Certificates in a file; how many.
pub(crate) fn add_file(keyring: &mut Keyring, path: &Path) -> Result<usize, Failure> {
    let mut count = 0;
    for der in ferrmod_signature::certificates_der(&read(path)?) {
        let origin = format!("certificate in {}", path.display());
        count += keyring.add_der(&der, &origin).map_err(|error| content(path)(format!("no certificate: {error}")))?;
    }
    Ok(count)
}

pub(crate) fn add_folder(keyring: &mut Keyring, folder: &Path) -> Result<(), Failure> {
    let unread = |error| Failure::File { path: folder.display().to_string(), error };
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(unread)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(unread)?;
    files.sort();
    let mut count = 0;
    for file in files {
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ["pem", "crt", "cer", "der", "x509"].contains(&ending) && file.is_file() {
            count += add_file(keyring, &file)?;
        }
    }
    if count == 0 {
        return Err(content(folder)("no certificate in it (*.pem, *.crt, *.cer, *.der, *.x509)".into()));
    }
    Ok(())
}

fn revoke(keyring: &mut Keyring, path: &Path) -> Result<(), Failure> {
    let bytes = read(path)?;
    for list in ferrmod_signature::revocation_lists_der(&bytes) {
        if keyring.revoke_list(&list).is_ok() {
            return Ok(());
        }
    }
    for der in ferrmod_signature::certificates_der(&bytes) {
        for certificate in ferrmod_signature::certificates(&der) {
            let certificate = certificate
                .map_err(|error| content(path)(format!("neither certificate nor revocation list: {error}")))?;
            keyring.revoke(certificate);
        }
    }
    Ok(())
}

fn blacklist(keyring: &mut Keyring, path: &Path) -> Result<(), Failure> {
    for (number, line) in read(path)?.lines().enumerate() {
        let line = line.trim_ascii().to_str_lossy();
        let digits = line.rsplit(':').next().unwrap_or_default().trim();
        if digits.is_empty() || line.starts_with('#') {
            continue;
        }
        let bytes: Option<Vec<u8>> = (digits.len() == 64 && digits.is_ascii())
            .then(|| (0..32).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()).collect())
            .flatten();
        let bytes = bytes.ok_or_else(|| content(path)(format!("line {}: no SHA-256 in hexadecimal", number + 1)))?;
        keyring.revoke_hash(&bytes);
    }
    Ok(())
}

/// Leaves the certificates whose key the kernel holds, if that is known.
fn keep_held(keyring: &mut Keyring, held: Option<&Keys>) {
    if let Some(keys) = held {
        keyring.retain(|trusted| {
            let certificate = &trusted.certificate;
            keys.holds(certificate.key_id().unwrap_or(certificate.serial()))
        });
    }
}

fn keyrings(verify: &Verify) -> Result<Keyrings<'_>, Failure> {
    let mut keyring = Keyring::new();
    for path in &verify.revoked {
        revoke(&mut keyring, path)?;
    }
    for path in &verify.blacklist {
        blacklist(&mut keyring, path)?;
    }
    let held = verify.proc_keys.as_deref().map(|path| read(path).map(|text| parse_keys(&text))).transpose()?;
    held.iter().flat_map(|keys| &keys.blacklist).for_each(|hash| keyring.revoke_hash(hash));
    verify.firmware.revoke(&mut keyring)?;
    let revoked = keyring.clone();
    verify.firmware.add_to(&mut keyring)?;
    for path in &verify.cert {
        if add_file(&mut keyring, path)? == 0 {
            return Err(content(path)("no certificate in it".into()));
        }
    }
    for folder in &verify.keyring {
        add_folder(&mut keyring, folder)?;
    }
    for image in &verify.kernel {
        let facts = kernel_image::facts("", Some(image), None, &[])?;
        let count = add_kernel(&mut keyring, &facts, &image.display().to_string()).map_err(content(image))?;
        if count == 0 {
            return Err(content(image)("no certificate is built into this kernel".into()));
        }
    }
    let sources = [&verify.cert, &verify.keyring, &verify.kernel];
    let asked = verify.firmware.is_asked() || sources.iter().any(|source| !source.is_empty());
    keep_held(&mut keyring, held.as_ref());
    let asked = asked.then_some(keyring);
    Ok(Keyrings { asked, revoked, held, tree: verify.tree.as_deref(), kernels: Mutex::default() })
}

/// A module's file by its name's end.
fn is_module(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().any(|end| name.ends_with(end))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unread = |error| Failure::File { path: folder.display().to_string(), error };
    for entry in fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(unread)?);
        if kind.is_dir() {
            walk(&path, files)?;
        } else if is_module(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// The files that are meant.
fn files(verify: &Verify) -> Result<Vec<PathBuf>, Failure> {
    let tree = Tree::new(verify.tree.clone(), None);
    let mut files = Vec::new();
    for module in &verify.modules {
        let path = Path::new(module);
        if path.is_dir() {
            let mut below = Vec::new();
            walk(path, &mut below)?;
            if below.is_empty() {
                return Err(content(path)("no module below it".into()));
            }
            below.sort();
            files.append(&mut below);
        } else if path.exists() || path.components().count() > 1 || is_module(path) {
            files.push(path.to_path_buf());
        } else {
            let planned = tree.plan(&[Request { module: module.clone(), arguments: Vec::new() }], true)?;
            files.extend(planned.into_iter().filter(|planned| planned.requested).map(|planned| planned.path));
        }
    }
    Ok(files)
}

fn verify_file(path: &Path, keyrings: &Keyrings<'_>) -> Verdict {
    /// Linux takes modules of up to 2 GiB, and none comes near.
    const LARGEST: usize = 1 << 30;
    let file = match fs::read(path) {
        Ok(file) => file,
        Err(error) => return Verdict::unreadable(path, error.to_string()),
    };
    let module = match compress::decompress(&file, LARGEST) {
        Ok(module) => module,
        Err(error) => return Verdict::unreadable(path, error.to_string()),
    };
    match keyrings.of(path, &module) {
        Ok(keyring) => Verdict::of(path, ferrmod_signature::verify(&module, keyring), now()),
        Err(reason) => Verdict::unreadable(path, reason),
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when there is nothing to verify or nothing to verify it with.
pub(crate) fn verify(verify: &Verify) -> Result<Exit, Failure> {
    let files = files(verify)?;
    let keyrings = keyrings(verify)?;
    let modules = in_parallel_reading(&files, |path| verify_file(path, &keyrings));
    let exit = modules.iter().map(Verdict::exit).max().unwrap_or(Exit::Clean);
    if verify.json {
        let report = Report { schema: "ferrmod.verify/1", modules, exit_code: exit as u8 };
        output::json(&report)?;
        return Ok(exit);
    }
    for verdict in modules.iter().filter(|verdict| !verify.quiet || verdict.result != "signed") {
        output::print(&(verdict.line() + "\n"));
    }
    if modules.len() > 1 && !verify.quiet {
        let count = |result: &str| modules.iter().filter(|verdict| verdict.result == result).count();
        let parts: Vec<String> = ["signed", "unsigned", "bad", "unreadable"]
            .into_iter()
            .filter(|result| count(result) > 0)
            .map(|result| format!("{} {result}", count(result)))
            .collect();
        output::print(&format!("{} modules: {}\n", modules.len(), parts.join(", ")));
    }
    Ok(exit)
}
