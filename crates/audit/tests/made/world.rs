//! Roots of systems, made in temporary folders.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrmod_audit::{Audit, AuditError, Finding, Options, Rule, Subject, audit};
use ferrmod_linux::{Kernel, Roots};
use ferrmod_signature::{Certificate, Digest, Keyring, NameBy, PrivateKey, append, certificates_der, sign};
use ferrmod_tests::corpus;
use ferrmod_tests::module_file::Module;
use md5::Digest as _;

/// The release of the made kernels.
pub(crate) const RELEASE: &str = "6.1.0-made";

/// A key and its certificate.
pub(crate) struct Signer {
    key: PrivateKey,
    pub(crate) certificate: Certificate,
}

/// Two signers: one is trusted, the other not. `None` when `openssl` is not there to make them.
pub(crate) fn keys() -> Option<&'static [Signer; 2]> {
    static KEYS: OnceLock<Option<[Signer; 2]>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| Some([signer("ours")?, signer("foreign")?]));
    keys.as_ref()
}

fn signer(name: &str) -> Option<Signer> {
    let folder = std::env::temp_dir().join(format!("ferrmod-audit-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let words = format!("req -x509 -newkey rsa:2048 -nodes -keyout key -out crt -subj /CN={name} -days 30");
    let made = Command::new("openssl").args(words.split(' ')).current_dir(&folder).output();
    if !made.is_ok_and(|output| output.status.success()) {
        corpus::skip("openssl", "install the package openssl");
        return None;
    }
    let key = PrivateKey::read(&fs::read(folder.join("key")).unwrap(), None).unwrap();
    let der = certificates_der(&fs::read(folder.join("crt")).unwrap());
    let certificate = Certificate::read(&der[0]).unwrap().0;
    fs::remove_dir_all(&folder).unwrap();
    Some(Signer { key, certificate })
}

impl Signer {
    /// The module with this signer's signature.
    pub(crate) fn sign(&self, module: &[u8]) -> Vec<u8> {
        let message = sign(module, &self.key, &self.certificate, Digest::Sha256, NameBy::IssuerAndSerial);
        append(module, &message.unwrap())
    }
}

/// A module's file as a distribution has it.
pub(crate) fn module(name: &str, modinfo: &[&str]) -> Module {
    let lines = [format!("name={name}"), "license=GPL".into(), "intree=Y".into(), format!("srcversion=SRC{name}")];
    let own = |key: &str| modinfo.iter().any(|line| line.starts_with(key) && line[key.len()..].starts_with('='));
    let kept = lines.into_iter().filter(|line| !own(line.split('=').next().unwrap()));
    // `key=` alone takes the key away.
    let lines = kept.chain(modinfo.iter().filter(|line| !line.ends_with('=')).map(|line| (*line).to_owned()));
    Module {
        modinfo: lines.map(String::into_bytes).collect(),
        build_id: Some([7; 20]),
        sections: vec![(".gnu.linkonce.this_module", vec![0; 1024])],
        ..Module::default()
    }
}

/// A root.
pub(crate) struct World(pub(crate) PathBuf);

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl World {
    /// A system without a module, that is told to protect itself.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let world = Self(folder);
        world.file("proc/modules", "");
        world.file("proc/kallsyms", "0000000000000000 T _text\n0000000000000000 t prog\t[bpf]\n");
        world.file("proc/sys/kernel/osrelease", format!("{RELEASE}\n"));
        world.file("proc/sys/kernel/tainted", "0\n");
        world.file("proc/sys/kernel/modules_disabled", "1\n");
        world.file("proc/sys/kernel/modprobe", "\n");
        world.file("proc/sys/kernel/kptr_restrict", "1\n");
        world.file("proc/sys/kernel/dmesg_restrict", "1\n");
        world.file("sys/module/module/parameters/sig_enforce", "Y\n");
        world.file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        world.file("sys/kernel/btf/vmlinux", "");
        world.file("sys/kernel/tracing/available_filter_functions", "schedule\n");
        world.file("var/lib/dpkg/info/image.md5sums", "");
        fs::create_dir_all(world.path("sys/bus")).unwrap();
        fs::create_dir_all(world.tree()).unwrap();
        world.file(&format!("lib/modules/{RELEASE}/modules.order"), "");
        world
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.path("lib/modules").join(RELEASE).join("kernel")
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn append(&self, path: &str, content: &str) {
        let before = fs::read_to_string(self.path(path)).unwrap_or_default();
        self.file(path, before + content);
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub(crate) fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Installs a file of a module that the package `image` has as it is.
    pub(crate) fn install(&self, name: &str, file: &[u8]) {
        self.file(&format!("lib/modules/{RELEASE}/kernel/{name}.ko"), file);
        let sum: String = md5::Md5::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
        self.append("var/lib/dpkg/info/image.md5sums", &format!("{sum}  lib/modules/{RELEASE}/kernel/{name}.ko\n"));
    }

    /// A module is loaded: every view shows it.
    pub(crate) fn load(&self, name: &str, references: u32, taints: &str) {
        let taint = if taints.is_empty() { String::new() } else { format!(" ({taints})") };
        self.append("proc/modules", &format!("{name} 16384 {references} - Live 0x0000000000000000{taint}\n"));
        self.append("proc/kallsyms", &format!("0000000000000000 t {name}_init\t[{name}]\n"));
        self.append("sys/kernel/tracing/available_filter_functions", &format!("{name}_init [{name}]\n"));
        self.file(&format!("sys/kernel/btf/{name}"), "");
        self.file(&format!("sys/module/{name}/initstate"), "live\n");
        self.file(&format!("sys/module/{name}/taint"), format!("{taints}\n"));
        self.file(&format!("sys/module/{name}/srcversion"), format!("SRC{name}\n"));
        let note = [&4_u32.to_le_bytes()[..], &20_u32.to_le_bytes(), &3_u32.to_le_bytes(), b"GNU\0", &[7; 20]].concat();
        self.file(&format!("sys/module/{name}/notes/.note.gnu.build-id"), note);
    }

    /// A module that nothing is wrong with: signed (when there are keys), installed, loaded, in use.
    pub(crate) fn add_good(&self, name: &str) {
        self.install(name, &signed(&module(name, &[]).write()));
        self.load(name, 1, "");
    }

    pub(crate) fn kernel(&self) -> Kernel {
        Kernel::recorded(Roots { proc: self.path("proc"), sys: self.path("sys"), dev: self.path("dev") })
    }

    pub(crate) fn try_audit(&self, subject: Subject) -> Result<Audit, AuditError> {
        self.try_audit_with(subject, OsStr::new("rpm"))
    }

    /// As [`World::try_audit`], with another program as rpm.
    pub(crate) fn try_audit_with(&self, subject: Subject, rpm: &OsStr) -> Result<Audit, AuditError> {
        let certificates = |_: &ferrmod_index::Tree| {
            let mut keyring = Keyring::new();
            match keys() {
                Some([ours, _]) => keyring.add(ours.certificate.clone(), "made"),
                None => return Err("no keys could be made".to_owned()),
            }
            Ok(keyring)
        };
        let kernel = self.kernel();
        audit(&Options {
            subject,
            kernel: &kernel,
            running: false,
            root: &self.0,
            rpm,
            release: None,
            certificates: &certificates,
        })
    }

    pub(crate) fn audit(&self, subject: Subject) -> Audit {
        let audit = self.try_audit(subject).unwrap();
        crate::noted(audit.findings.clone());
        audit
    }

    pub(crate) fn loaded(&self) -> Vec<Finding> {
        self.audit(Subject::Loaded).findings
    }

    pub(crate) fn installed(&self) -> Vec<Finding> {
        self.audit(Subject::Installed).findings
    }
}

/// The file with a signature of somebody trusted.
pub(crate) fn signed(file: &[u8]) -> Vec<u8> {
    keys().map_or_else(|| file.to_vec(), |[ours, _]| ours.sign(file))
}

/// Rules and modules of findings, without what is said because there are no keys.
pub(crate) fn said(findings: &[Finding]) -> Vec<(&'static str, &str)> {
    let without_keys = |finding: &&Finding| {
        keys().is_some() || !(finding.rule == Rule::Unsigned || finding.message.contains("no keys could be made"))
    };
    let pair = |finding: &'_ Finding| finding.rule.id();
    findings
        .iter()
        .filter(without_keys)
        .map(|finding| (pair(finding), finding.module.as_deref().unwrap_or("")))
        .collect()
}
