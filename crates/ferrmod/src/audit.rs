//! `ferrmod audit`: what is loaded or installed, whether it should be, and what hides.

mod certificates;
mod follow;
mod openmetrics;
mod sarif;
mod text;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use ferrmod_audit::{Audit, Baseline, Options, Severity, Subject};
use ferrmod_linux::{Kernel, Roots};
use serde::Serialize;

#[cfg(feature = "schema")]
pub(crate) use self::follow::Line;
use crate::exit::{Exit, Failure};
use crate::replace::replace;
use certificates::Certificates;

/// The name and version of the JSON schema (docs/schema/audit.md).
const SCHEMA: &str = "ferrmod.audit/1";

/// The largest baseline that is read: one of ten thousand modules has some 4 MB.
const LARGEST_BASELINE: u64 = 1 << 28;

/// Say what is loaded or installed, whether it should be, and what hides.
///
/// Of each module: who vouches for it, where it comes from, its taints, whether its file is what is loaded and what its package
/// installed, and whether anybody uses it. Of the kernel: its taints, its settings, and whether the views in which it shows its
/// modules agree. What cannot be looked at is told; root may look at everything.
///
/// DIR may be the root of another system, or a folder with a copy of the files of one in it: proc/modules, proc/kallsyms, proc/sys/kernel,
/// sys/module, sys/bus, sys/kernel/btf, lib/modules, boot, var/lib/dpkg. Where it has no proc/modules, its installed modules are looked at.
///
/// The certificates are those built into the kernel's image, and those of --keyring and --cert.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, group = ArgGroup::new("form").args(["json", "sarif", "openmetrics"]))]
pub struct AuditArgs {
    /// The root of the system [default: this one].
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Look at all modules that are installed, not at those that are loaded.
    #[arg(long)]
    pub installed: bool,
    /// The kernel: a release, or its image (vmlinuz or vmlinux) for the certificates in it.
    #[arg(long, value_name = "RELEASE|IMAGE")]
    pub kernel: Option<OsString>,
    /// Trust the certificates in the files of this folder, too (*.pem, *.crt, *.cer, *.der, *.x509).
    #[arg(long, value_name = "DIR")]
    pub keyring: Vec<PathBuf>,
    /// Trust the certificates in this file, too (PEM or DER).
    #[arg(long, value_name = "FILE")]
    pub cert: Vec<PathBuf>,
    /// Say what is different from this baseline.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write what is there now as a baseline.
    #[arg(long, value_name = "FILE")]
    pub write_baseline: Option<PathBuf>,
    /// Stay, and print what is loaded and unloaded as it happens, until interrupted.
    #[arg(long, conflicts_with_all = ["installed", "sarif", "openmetrics", "baseline", "write_baseline"])]
    pub follow: bool,
    /// How often to look with --follow, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "0.25", value_parser = crate::cli::seconds)]
    pub interval: Duration,
    /// A line for each finding: otherwise many of one rule are taken together.
    #[arg(long)]
    pub all: bool,
    /// A line for each module.
    #[arg(long)]
    pub modules: bool,
    /// Print one JSON document instead of text (schema: docs/schema/audit.md); with --follow, one a line.
    #[arg(long)]
    pub json: bool,
    /// Print SARIF 2.1.0 instead of text.
    #[arg(long)]
    pub sarif: bool,
    /// Print OpenMetrics instead of text: the state of each module, and how many findings there are.
    #[arg(long)]
    pub openmetrics: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing was found that is more than information
  1  warnings
  2  usage
  3  something serious; or there is nothing to look at";

/// The document that `--json` prints.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report<'a> {
    schema: &'static str,
    #[serde(flatten)]
    audit: &'a Audit,
    /// The exit code of the command.
    exit_code: u8,
}

/// What is looked at.
struct Scene {
    kernel: Kernel,
    running: bool,
    root: PathBuf,
    release: Option<String>,
    certificates: Certificates,
}

impl Scene {
    fn new(args: &AuditArgs) -> Result<Self, Failure> {
        let root = args.root.clone().unwrap_or_else(|| "/".into());
        if !root.is_dir() {
            return Err(Failure::Tree(format!("{}: not a folder", root.display())));
        }
        let running = root.canonicalize().is_ok_and(|root| root == Path::new("/"));
        let kernel = if running {
            Kernel::running()
        } else {
            let roots = Roots { proc: root.join("proc"), sys: root.join("sys"), dev: root.join("dev") };
            Kernel::recorded(roots)
        };
        let image = args.kernel.as_ref().map(PathBuf::from).filter(|path| path.is_file());
        let release = match (&args.kernel, &image) {
            (Some(release), None) => Some(release.to_string_lossy().into_owned()),
            _ => None,
        };
        let certificates = Certificates::new(args, root.clone(), image)?;
        Ok(Self { kernel, running, root, release, certificates })
    }

    /// What there is to look at.
    fn subject(&self, args: &AuditArgs) -> Subject {
        let lists = self.kernel.roots().proc.join("modules").exists();
        if args.installed || !lists { Subject::Installed } else { Subject::Loaded }
    }

    fn audit(&self, subject: Subject) -> Result<Audit, Failure> {
        let certificates = |tree: &ferrmod_index::Tree| self.certificates.of(tree);
        let options = Options {
            subject,
            kernel: &self.kernel,
            running: self.running,
            root: &self.root,
            rpm: OsStr::new("rpm"),
            release: self.release.as_deref(),
            certificates: &certificates,
        };
        ferrmod_audit::audit(&options).map_err(|error| Failure::Tree(error.to_string()))
    }
}

/// What an audit ends with.
fn exit(audit: &Audit) -> Exit {
    match audit.severity() {
        Some(Severity::Serious) => Exit::Refused,
        Some(Severity::Warning) => Exit::ModuleError,
        Some(Severity::Information) | None => Exit::Clean,
    }
}

fn read_baseline(path: &Path) -> Result<Baseline, Failure> {
    let unread = |error| Failure::File { path: path.display().to_string(), error };
    if std::fs::metadata(path).map_err(unread)?.len() > LARGEST_BASELINE {
        return Err(Failure::Content { path: path.display().to_string(), reason: "larger than any baseline".into() });
    }
    let text = std::fs::read(path).map_err(unread)?;
    Baseline::read(&text)
        .map_err(|error| Failure::Content { path: path.display().to_string(), reason: error.to_string() })
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when there is nothing to look at, or a file that was named cannot be read or written.
pub(crate) fn audit(args: &AuditArgs) -> Result<Exit, Failure> {
    let scene = Scene::new(args)?;
    if args.follow {
        return follow::follow(args, &scene);
    }
    let baseline = args.baseline.as_deref().map(|path| Ok::<_, Failure>((path, read_baseline(path)?))).transpose()?;
    let mut audit = scene.audit(scene.subject(args))?;
    if let Some((path, baseline)) = baseline {
        let findings = baseline.compare(&audit);
        audit.add(findings.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?);
    }
    if let Some(path) = &args.write_baseline {
        let text = Baseline::of(&audit).write().map_err(io::Error::from)?;
        replace(path, text.as_bytes(), path.exists().then_some(path))?;
    }
    let exit = exit(&audit);
    let out = if args.json {
        let report = Report { schema: SCHEMA, audit: &audit, exit_code: exit as u8 };
        serde_json::to_string_pretty(&report).map_err(io::Error::from)? + "\n"
    } else if args.sarif {
        sarif::document(&audit, exit as u8)? + "\n"
    } else if args.openmetrics {
        openmetrics::exposition(&audit)
    } else {
        text::text(&audit, args.modules, args.all)
    };
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(out.as_bytes())?;
    stdout.flush()?;
    Ok(exit)
}
