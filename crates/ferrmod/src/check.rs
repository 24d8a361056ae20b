//! `ferrmod check`: whether modules load on kernels, and if not, exactly why.

pub(crate) mod kernels;
mod show;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Args;
use ferrmod_index::{Found, in_parallel, module_name, normalise};
use ferrmod_plan::check::{
    Candidate, Checker, ImportProblem, Kernel, Origin, Policy, Reason, Settings, Together, Verdict,
};
use ferrmod_signature::{Keyring, certificates_der};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::firmware::Firmware;
use crate::tree::running_release;
use kernels::Files;

/// The name and version of the JSON schema (docs/schema/check.md).
const SCHEMA: &str = "ferrmod.check/1";

/// How many checks are explained without being asked for it: looking for the cause of every CRC takes its time.
const EXPLAINED: usize = 40;

/// Say whether modules load on kernels, and if not, exactly why.
///
/// MODULE is a file (it may be compressed), a folder with modules anywhere below it, or a name or alias that is looked up in each
/// kernel's own tree. Nothing is loaded and no kernel has to be running: everything comes from files, the kernel's image
/// (vmlinuz) or its Module.symvers, its modules, its configuration.
///
/// Files that stand in no kernel's tree are taken together: each may be what another one needs.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Check {
    /// Modules: files, folders, names or aliases.
    #[arg(value_name = "MODULE", required = true)]
    pub modules: Vec<OsString>,
    /// Parameters to load every one of them with.
    #[arg(last = true, value_name = "NAME=VALUE")]
    pub parameters: Vec<OsString>,
    /// A kernel: a folder of modules or a root with lib/modules in it, a release, or an image [default: the one in whose tree the
    /// first module stands, else the running one].
    #[arg(long, value_name = "TREE|RELEASE|IMAGE")]
    pub kernel: Vec<OsString>,
    /// Every kernel of this system, or of --root.
    #[arg(long)]
    pub all_kernels: bool,
    /// The root in which releases and --all-kernels are looked for.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// A kernel that a module may have been built for: evidence for what has changed since.
    #[arg(long, value_name = "TREE|RELEASE|IMAGE")]
    pub from: Vec<OsString>,
    /// A parameter to load every module with.
    #[arg(long, value_name = "NAME=VALUE")]
    pub param: Vec<OsString>,
    /// What the kernel is told: lines of a kernel configuration (CONFIG_MODULE_SIG_FORCE=y), of sysctl.conf
    /// (kernel.modules_disabled=1), of a kernel command line (module_blacklist=x lockdown=integrity), or `secure_boot`. Without
    /// this and --cmdline, the running kernel's own policy is taken for the running kernel.
    #[arg(long, value_name = "FILE")]
    pub policy: Vec<PathBuf>,
    /// The kernel's command line, or a file with it.
    #[arg(long, value_name = "TEXT|FILE")]
    pub cmdline: Option<OsString>,
    /// Secure boot is on: will it load after the reboot? The kernel is locked down if it was built to be; it trusts the certificates
    /// built into it, and those of --cert, and the firmware's and the machine owner's (--efivars, --db; without them those
    /// of this machine), except what dbx names. --efivars of a machine with secure boot on says the same.
    #[arg(long)]
    pub secure_boot: bool,
    /// The kernel's configuration [default: what stands beside the kernel].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The Module.symvers of a kernel whose image is not at hand.
    #[arg(long, value_name = "FILE")]
    pub symvers: Option<PathBuf>,
    /// Trust the certificates in this file (PEM or DER), too: the machine owner's keys.
    #[arg(long, value_name = "FILE")]
    pub cert: Vec<PathBuf>,
    /// Who the firmware and the machine's owner trust, and whom they forbid.
    #[command(flatten)]
    pub firmware: Firmware,
    /// Do not verify signatures, but believe those that are in form.
    #[arg(long)]
    pub no_verify: bool,
    /// These modules are loaded: a file as /proc/modules.
    #[arg(long, value_name = "FILE")]
    pub loaded: Option<PathBuf>,
    /// The kernel is handed the file as it is, and has to unpack it.
    #[arg(long)]
    pub as_is: bool,
    /// Look for the cause of every difference, however many there are.
    #[arg(long)]
    pub explain: bool,
    /// Only the answers, no reasons.
    #[arg(long, conflicts_with_all = ["explain", "json"])]
    pub brief: bool,
    /// Print one JSON document instead of text (schema: docs/schema/check.md).
    #[arg(long)]
    pub json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every module loads on every kernel, perhaps with a taint
  2  usage
  3  a module is refused or was not found, or a kernel's files cannot be read";

/// The document that `--json` prints.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report {
    schema: &'static str,
    kernels: Vec<String>,
    modules: Vec<Row>,
    exit_code: u8,
}

/// One module on all kernels.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Row {
    /// What was asked for.
    asked: String,
    /// The answers, in the order of the kernels.
    verdicts: Vec<Cell>,
}

/// One module on one kernel.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Cell {
    /// It was found and judged.
    Judged {
        /// Its file.
        file: String,
        /// The answer; boxed, because a cell that says less should be small.
        #[serde(flatten)]
        verdict: Box<Verdict>,
    },
    /// There is no such module, or it cannot be read.
    Absent {
        /// The kernel's release.
        kernel: String,
        /// `absent`, in the place of a verdict's answer.
        answer: &'static str,
        /// Why.
        text: String,
    },
}

impl Cell {
    fn is_good(&self) -> bool {
        matches!(self, Cell::Judged { verdict, .. } if verdict.loads())
    }
}

/// What is to be checked.
enum Target {
    /// This file.
    File(PathBuf),
    /// The module of this name or alias of each kernel.
    Name(String),
}

impl Target {
    fn shown(&self) -> String {
        match self {
            Target::File(path) => path.display().to_string(),
            Target::Name(name) => name.clone(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when the command line makes no sense, or a kernel's files cannot be read.
pub(crate) fn check(args: &Check) -> Result<Exit, Failure> {
    let targets = targets(args)?;
    let (mut files, wanted) = kernels::find(args)?;
    let mut rows = judge(args, &targets, &files, wanted, &[])?;
    // What the cache said of a module that was replaced where it stood is looked up anew, once.
    let stale: Vec<bool> = files.iter_mut().map(Files::take_stale).collect();
    if stale.contains(&true) {
        rows = judge(args, &targets, &files, wanted, &stale)?;
    }
    let good = rows.iter().all(|row| row.verdicts.iter().all(Cell::is_good));
    let exit = if good { Exit::Clean } else { Exit::Refused };
    let report = Report {
        schema: SCHEMA,
        kernels: files.iter().take(wanted).map(|files| files.release().to_owned()).collect(),
        modules: rows,
        exit_code: exit as u8,
    };
    show::show(args, &report)?;
    Ok(exit)
}

/// The modules that were asked for.
fn targets(args: &Check) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    for module in &args.modules {
        let path = Path::new(module);
        if path.is_dir() {
            let before = targets.len();
            below(path, &mut targets)?;
            if targets.len() == before {
                return Err(Failure::Tree(format!("{}: no modules in this folder", path.display())));
            }
        } else if path.is_file() {
            targets.push(Target::File(path.to_owned()));
        } else {
            match module.to_str() {
                Some(name) if !name.contains('/') && module_name(path).is_none() => {
                    targets.push(Target::Name(name.to_owned()))
                }
                _ => return Err(Failure::no_module(path)),
            }
        }
    }
    Ok(targets)
}

/// Every module below a folder, sorted.
fn below(folder: &Path, targets: &mut Vec<Target>) -> Result<(), Failure> {
    let failed = |error| Failure::File { path: folder.display().to_string(), error };
    let mut entries: Vec<_> = fs::read_dir(folder).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => below(&path, targets)?,
            Ok(kind) if kind.is_file() && module_name(&path).is_some() => targets.push(Target::File(path)),
            _ => {}
        }
    }
    Ok(())
}

/// What the administrator of a kernel orders.
fn policy(args: &Check, release: &str) -> Result<Policy, Failure> {
    let mut policy = Policy::default();
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| Failure::File { path: path.display().to_string(), error })
    };
    let mut text = String::new();
    for path in &args.policy {
        text = read(path)?;
        let more =
            Policy::parse(&path.display().to_string(), &text).map_err(|error| Failure::Usage(error.to_string()))?;
        policy.add(more);
    }
    if let Some(line) = &args.cmdline {
        let path = Path::new(line);
        let (source, line) = match line.to_str() {
            Some(line) if !path.is_file() => ("--cmdline".to_owned(), line.to_owned()),
            _ => (path.display().to_string(), read(path)?),
        };
        policy.command_line(&source, &line);
    }
    drop(text);
    if args.policy.is_empty() && args.cmdline.is_none() && running_release().as_deref() == Some(release) {
        if let Ok(line) = fs::read_to_string("/proc/cmdline") {
            policy.command_line("/proc/cmdline", &line);
        }
        let disabled = "/proc/sys/kernel/modules_disabled";
        if let Ok(value) = fs::read_to_string(disabled) {
            let origin = Origin { source: disabled.to_owned(), line: None, text: value.trim().to_owned() };
            // What the kernel itself shows is a value that it takes.
            let _ = policy.sysctl("kernel.modules_disabled", value.trim(), origin);
        }
    }
    if let Some(path) = args.firmware.secure_boot()? {
        let origin = Origin { source: path.display().to_string(), line: None, text: "SecureBoot = 1".to_owned() };
        policy.secure_boot = Some(origin);
    }
    if args.secure_boot {
        let origin = Origin { source: "command line".to_owned(), line: None, text: "--secure-boot".to_owned() };
        policy.secure_boot = Some(origin);
    }
    Ok(policy)
}

/// The names of the modules that are loaded.
fn loaded(args: &Check) -> Result<Vec<String>, Failure> {
    let Some(path) = &args.loaded else { return Ok(Vec::new()) };
    let text = fs::read_to_string(path).map_err(|error| Failure::File { path: path.display().to_string(), error })?;
    Ok(text.lines().filter_map(|line| Some(normalise(line.split_whitespace().next()?).into_owned())).collect())
}

/// The certificates that a kernel trusts.
fn keyring(args: &Check, kernel: &Kernel<'_>) -> Result<Option<Keyring>, Failure> {
    let Some(mut keyring) = kernel.keyring().filter(|_| !args.no_verify) else { return Ok(None) };
    for path in &args.cert {
        let failed = |reason: String| Failure::Content { path: path.display().to_string(), reason };
        let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
        let certificates = certificates_der(&bytes);
        if certificates.is_empty() {
            return Err(failed("no certificate in it, neither PEM nor DER".to_owned()));
        }
        for certificate in certificates {
            keyring.add_der(&certificate, &path.display().to_string()).map_err(|error| failed(error.to_string()))?;
        }
    }
    // The kernel takes over what this machine's firmware has, if it is to be booted here.
    let here = Path::new("/sys/firmware/efi/efivars");
    if args.secure_boot && !args.firmware.is_asked() && args.root.is_none() && here.is_dir() {
        let firmware = Firmware { efivars: vec![here.to_owned()], ..args.firmware.clone() };
        // A machine whose firmware has none of the variables trusts nobody more.
        if let Err(failure) = firmware.add_to(&mut keyring) {
            anstream::eprintln!("ferrmod: {failure}");
        }
        return Ok(Some(keyring));
    }
    args.firmware.add_to(&mut keyring)?;
    Ok(Some(keyring))
}

/// The parameters that were given, as the kernel gets them.
fn arguments(args: &Check) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let words: Vec<&[u8]> = args.param.iter().chain(&args.parameters).map(|word| word.as_bytes()).collect();
    words.join(&b' ')
}

fn judge(args: &Check, targets: &[Target], files: &[Files], wanted: usize, anew: &[bool]) -> Result<Vec<Row>, Failure> {
    let kernels: Vec<Kernel<'_>> = files
        .iter()
        .enumerate()
        .map(|(number, files)| files.kernel(anew.get(number).copied().unwrap_or(false)))
        .collect::<Result<_, _>>()?;
    let all: Vec<&Kernel<'_>> = kernels.iter().collect();
    let together = together(targets, files);
    let explain = args.explain || (!args.brief && targets.len() * wanted <= EXPLAINED);
    let loaded = loaded(args)?;
    let keyrings = kernels.iter().map(|kernel| keyring(args, kernel)).collect::<Result<Vec<_>, _>>()?;
    let mut checkers = Vec::with_capacity(wanted);
    for (kernel, keyring) in kernels.iter().zip(&keyrings).take(wanted) {
        let settings = Settings { explain, unpacked_by_kernel: args.as_is, keyring: keyring.as_ref() };
        let policy = policy(args, &kernel.release)?;
        checkers.push(Checker::new(kernel, &policy, &together, &all, settings).with_loaded(loaded.iter().cloned()));
    }
    let places: Vec<Place<'_>> = checkers
        .into_iter()
        .zip(files)
        .map(|(checker, files)| Place { checker, files, offers_are_current: OnceLock::new() })
        .collect();
    let arguments = arguments(args);
    let bar = ProgressBar::new(targets.len() as u64);
    let look = ProgressStyle::with_template("checking {bar:30} {pos}/{len} {eta}");
    bar.set_style(look.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let rows = in_parallel(targets, |target| {
        let row = Row { asked: target.shown(), verdicts: row(target, &places, &arguments) };
        bar.inc(1);
        row
    });
    bar.finish_and_clear();
    Ok(rows)
}

/// The files that stand in no kernel's tree: they are what others may need.
fn together(targets: &[Target], files: &[Files]) -> Together {
    let mut together = Together::new();
    for target in targets {
        let Target::File(path) = target else { continue };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let in_a_tree = files
            .iter()
            .filter_map(Files::folder)
            .any(|folder| std::path::absolute(folder).is_ok_and(|folder| absolute.starts_with(folder)));
        if !in_a_tree && let Ok(file) = fs::read(path) {
            together.add(Candidate::new(path, &file).into_owned());
        }
    }
    together
}

/// A kernel to check on.
struct Place<'p> {
    checker: Checker<'p>,
    files: &'p Files,
    /// Whether every file of the tree is the one that the cache knows; looked at once, when something is refused.
    offers_are_current: OnceLock<bool>,
}

/// Checks one module on every kernel.
fn row(target: &Target, places: &[Place<'_>], arguments: &[u8]) -> Vec<Cell> {
    let absent = |place: &Place<'_>, text: String| Cell::Absent {
        kernel: place.checker.kernel().release.clone(),
        answer: "absent",
        text,
    };
    match target {
        Target::File(path) => match fs::read(path) {
            Ok(file) => {
                let candidate = Candidate::new(path, &file);
                places.iter().map(|place| cell(place, candidate.clone(), arguments)).collect()
            }
            Err(error) => places.iter().map(|place| absent(place, error.to_string())).collect(),
        },
        Target::Name(name) => places
            .iter()
            .map(|place| {
                let path = match find(place, name) {
                    Ok(path) => path,
                    Err(text) => return absent(place, text),
                };
                match fs::read(&path) {
                    Ok(file) => cell(place, Candidate::new(&path, &file), arguments),
                    Err(error) => absent(place, format!("{}: {error}", path.display())),
                }
            })
            .collect(),
    }
}

/// The file of the module of this name or alias.
fn find(place: &Place<'_>, name: &str) -> Result<PathBuf, String> {
    let Some(index) = place.files.index() else {
        return Err("this kernel's modules are not at hand".to_owned());
    };
    match index.resolve(name).map_err(|error| error.to_string())? {
        Found::Module(module) => Ok(module.path),
        Found::Alias(modules) => modules
            .into_iter()
            .next()
            .map(|(_, module)| module.path)
            .ok_or_else(|| "no module has this alias".to_owned()),
        Found::Builtin(name) => Err(format!("built into the kernel as {name}")),
        Found::Absent { nearest } if nearest.is_empty() => Err("no module of this name or alias".to_owned()),
        Found::Absent { nearest } => {
            Err(format!("no module of this name or alias; did you mean {}?", nearest.join(" or ")))
        }
    }
}

fn cell(place: &Place<'_>, mut candidate: Candidate<'_>, arguments: &[u8]) -> Cell {
    candidate.arguments = arguments.to_vec();
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    if place.checker.rules().loadpin.is_some() {
        let tree = place.files.folder().and_then(device);
        candidate.on_the_trees_file_system = tree.zip(device(&candidate.path)).map(|(tree, file)| tree == file);
    }
    let verdict = place.checker.check(&candidate);
    if let Some(offers) = place.checker.kernel().offers() {
        let changed = |name: &String| offers.find_module(name).is_some_and(|number| !offers.holds(number));
        let about_symbols = verdict.reasons.iter().any(|reason| {
            matches!(reason, Reason::Dependency { .. })
                || matches!(
                    reason,
                    Reason::Import { problem: ImportProblem::Missing { .. } | ImportProblem::Version { .. }, .. }
                )
        });
        if verdict.needs.iter().any(changed)
            || (about_symbols && !*place.offers_are_current.get_or_init(|| offers.is_current()))
        {
            place.files.is_stale();
        }
    }
    Cell::Judged { file: candidate.path.display().to_string(), verdict: Box::new(verdict) }
}
