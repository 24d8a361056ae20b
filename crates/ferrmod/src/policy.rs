//! `ferrmod policy`: the fewest modules that a system needs.

mod observe;
mod replay;
mod show;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bstr::ByteSlice;
use clap::{Args, Subcommand};
use ferrmod_config::{Root, modules_listed};
use ferrmod_index::{Index, Tree, normalise};
use ferrmod_plan::policy::{self, Because, Dialect, Policy, Record};

#[cfg(feature = "schema")]
pub(crate) use self::replay::Report as Tested;
#[cfg(feature = "schema")]
pub(crate) use self::show::{Made, Simulated};
use crate::exit::{Exit, Failure};
use crate::replace::replace;

/// The fewest modules that a system needs: watch what it uses, allow that and no more, and see beforehand what would break.
///
/// `record` notes over days and boots what is loaded. `make` turns that (or a list of names) into a policy: every module that may be
/// loaded, with the reason, and the files that enforce it. `simulate` says what of a system would no longer work. `test` loads every
/// allowed module in a kernel of our own, with nothing else at hand.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What there is to do with policies.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "what a command is for is told of its arguments, and --help prints that")]
pub enum PolicyCommand {
    Record(RecordArgs),
    Make(MakeArgs),
    Simulate(SimulateArgs),
    Test(TestArgs),
}

/// Note which modules are loaded and in use.
///
/// What FILE holds already stays: one record is for many boots. It is written anew, whole, whenever a new module has come, and at the
/// end.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The record.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How long to watch, in seconds; without it, until interrupted. 0 is one look.
    #[arg(long = "for", value_name = "SECONDS")]
    pub period: Option<u64>,
    /// How often to look, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = crate::cli::seconds)]
    pub interval: Duration,
    /// The folder that is taken for `/`: what was kept of another system.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// Make a policy of what was seen or named.
#[derive(Debug, Args)]
pub struct MakeArgs {
    /// Records of use, made by `ferrmod policy record`.
    #[arg(long = "use", value_name = "FILE")]
    pub records: Vec<PathBuf>,
    /// Files with the name of a module on each line, as in modules-load.d.
    #[arg(long = "list", value_name = "FILE")]
    pub lists: Vec<PathBuf>,
    /// One more module that may be loaded.
    #[arg(long = "allow", value_name = "NAME")]
    pub names: Vec<String>,
    /// The folder that is taken for `/`.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The kernel's release [default: the running kernel's, or the only one there].
    #[arg(long, value_name = "RELEASE")]
    pub kernel: Option<String>,
    /// Write the policy and the files that enforce it into this folder; without it, the policy is only shown.
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// Write the file of modprobe.d for this modprobe: Ferrmod's has `allow`, kmod's has to be told of every module that may not.
    #[arg(long = "modprobe", value_name = "WHOSE", default_value = "ferrmod")]
    pub dialect: Whose,
    /// Print the policy as one JSON document (docs/json.md).
    #[arg(long)]
    pub json: bool,
}

/// Whose modprobe.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Whose {
    /// Ferrmod's.
    Ferrmod,
    /// kmod's.
    Kmod,
}

/// Say what of a system would no longer work with a policy.
///
/// Looked at are the devices that are present, what is mounted and what /etc/fstab wants mounted, and the rules of a firewall.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes:\n  0  nothing would break\n  1  something that works now would not work any more\n  2  usage\n  3  the policy or the tree cannot be read"
)]
pub struct SimulateArgs {
    /// The policy.
    #[arg(value_name = "POLICY")]
    pub policy: PathBuf,
    /// The folder that is taken for `/`.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// What `iptables-save` or `nft list ruleset` printed.
    #[arg(long, value_name = "FILE")]
    pub ruleset: Vec<PathBuf>,
    /// Print one JSON document (docs/json.md).
    #[arg(long)]
    pub json: bool,
}

/// Load every module that a policy allows in a kernel of our own, with nothing else at hand.
///
/// Each is loaded in a machine of its own. What it needs and the policy does not allow is not there; what it requests and the policy
/// does not allow is noted. That the files of modprobe.d say the same as the policy is tested with them.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes:\n  0  every allowed module finds what it needs\n  1  one does not\n  2  usage\n  3  the policy, the tree or the kernel cannot be read\n  4  a module oopsed, or the watchdog ended it"
)]
pub struct TestArgs {
    /// The policy.
    #[arg(value_name = "POLICY")]
    pub policy: PathBuf,
    /// The folder that is taken for `/`.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The kernel's image (vmlinuz or vmlinux) [default: that of the tree].
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<PathBuf>,
    /// How long a load may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = crate::cli::seconds)]
    pub timeout: Duration,
    /// Print one JSON document (docs/json.md).
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when a file cannot be read or written, or holds no sense.
pub(crate) fn policy(args: &PolicyArgs) -> Result<Exit, Failure> {
    match &args.command {
        PolicyCommand::Record(args) => observe::record(args),
        PolicyCommand::Make(args) => make(args),
        PolicyCommand::Simulate(args) => simulate(args),
        PolicyCommand::Test(args) => replay::test(args),
    }
}

fn make(args: &MakeArgs) -> Result<Exit, Failure> {
    let (wanted, record) = wanted(args)?;
    if wanted.is_empty() {
        return Err(Failure::Usage(
            "no module is wanted: name a record with --use, a list with --list, or --allow NAME".into(),
        ));
    }
    let index = index(&args.root, args.kernel.as_deref())?;
    let release = index.tree().release.clone();
    let root = observe::root_modules(&args.root, &index)?;
    let policy = policy::make(&release, &wanted, root.as_deref(), &index).map_err(tree_failure)?;
    if let Some(folder) = &args.into {
        write(folder, &policy, args.dialect)?;
    }
    show::made(args, &policy, record.settled().as_ref())?;
    Ok(Exit::Clean)
}

/// What is wanted and why, and all records together.
fn wanted(args: &MakeArgs) -> Result<(BTreeMap<String, Because>, Record), Failure> {
    let mut together = Record::default();
    for path in &args.records {
        together.boots.extend(observe::read_record(path)?.boots);
    }
    let mut wanted = together.wanted();
    let mut name = |name: &str| {
        wanted.insert(normalise(name).into_owned(), Because::Named);
    };
    for path in &args.lists {
        // The reader leaves out what cannot be read, which here is a mistake.
        fs::metadata(path).map_err(|error| Failure::File { path: path.display().to_string(), error })?;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        for listed in modules_listed(&Root::host(), &path) {
            name(&listed.name.to_str_lossy());
        }
    }
    args.names.iter().for_each(|given| name(given));
    Ok((wanted, together))
}

/// Writes the policy and what enforces it.
fn write(folder: &Path, policy: &Policy, dialect: Whose) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::File { path: folder.display().to_string(), error })?;
    let mut json = serde_json::to_string_pretty(policy).map_err(std::io::Error::from)?;
    json.push('\n');
    let dialect = match dialect {
        Whose::Ferrmod => Dialect::Ferrmod,
        Whose::Kmod => Dialect::Kmod,
    };
    replace(&folder.join("policy.json"), json.as_bytes(), None)?;
    replace(&folder.join("modprobe.conf"), policy::modprobe_conf(policy, dialect).as_bytes(), None)?;
    replace(&folder.join("modules-load.conf"), policy::modules_load(policy).as_bytes(), None)?;
    if let Some(list) = policy::initramfs(policy) {
        replace(&folder.join("initramfs-modules"), list.as_bytes(), None)?;
    }
    Ok(())
}

fn simulate(args: &SimulateArgs) -> Result<Exit, Failure> {
    let policy = read_policy(&args.policy)?;
    let index = index(&args.root, Some(&policy.kernel))?;
    let mut in_use = observe::in_use(&args.root)?;
    for path in &args.ruleset {
        in_use.rules.extend(policy::rules(&observe::text(path)?));
    }
    let breaks = policy::breaks(&policy, &in_use, |alias| modules_of(&index, alias)).map_err(tree_failure)?;
    let exit = if breaks.iter().any(|one| one.works_now) { Exit::ModuleError } else { Exit::Clean };
    show::breaks(args, &in_use, &breaks)?;
    Ok(exit)
}

/// The modules of the tree with this name or alias.
fn modules_of(index: &Index, alias: &str) -> Result<Vec<String>, ferrmod_index::FileError> {
    if let Some(module) = index.file(alias)? {
        return Ok(vec![module.name]);
    }
    Ok(index.aliases(alias)?.into_iter().map(|(_, module)| module.name).collect())
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let content = |reason: String| Failure::Content { path: path.display().to_string(), reason };
    let policy: Policy = serde_json::from_str(&observe::text(path)?)
        .map_err(|error| content(format!("not a policy of `ferrmod policy make`: {error}")))?;
    if policy.schema != policy::SCHEMA {
        return Err(content(format!("not a policy: its schema is {:?} and not {:?}", policy.schema, policy::SCHEMA)));
    }
    Ok(policy)
}

/// The tree of a kernel below `root`.
fn index(root: &Path, release: Option<&str>) -> Result<Index, Failure> {
    let running = (release.is_none() && root == Path::new("/")).then(crate::tree::running_release).flatten();
    let tree = Tree::find(root, release.or(running.as_deref())).map_err(|error| Failure::Tree(error.to_string()))?;
    Ok(Index::new(tree))
}

fn tree_failure(error: ferrmod_index::FileError) -> Failure {
    Failure::Tree(error.to_string())
}
