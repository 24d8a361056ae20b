//! `ferrmod why`: whether a module can ever be loaded on a system, by which paths, and which line of which file decides.

mod gather;
mod initramfs;
mod show;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bstr::{BStr, ByteSlice};
use clap::Args;
use ferrmod_config::{Config, Folders, Root, Sources};
use ferrmod_image::Image;
use ferrmod_index::{Found, Index, Offers, Tree};
use ferrmod_plan::check::{Candidate, Checker, Kernel, Policy, Rules, Settings, Together};
use ferrmod_plan::kmod::{How, Module, Modules, Paths};
use ferrmod_plan::why::{Answer, Facts, Judgement, Subject, System, answer};
use serde::Serialize;

use crate::check::kernels::{Files, Where, asked_for};
use crate::exit::{Exit, Failure};
use gather::Running;

/// The name and version of the JSON schema (docs/schema/why.md).
const SCHEMA: &str = "ferrmod.why/1";

/// Say whether a module can ever be loaded here, by which paths, and which line of which file blocks or allows each.
///
/// NAME is a module, an alias (`pci:v00008086d00001533...`, `fs-ext4`), or a module's file. All paths are gone through: modprobe and insmod,
/// the devices that are present, the kernel's own requests, alias lines, modules-load.d, the kernel's command line, softdeps,
/// modules that need it, install lines, device nodes, the initramfs. What stands in the way of each is named with its file and line,
/// and what each directive stops and does not stop is told. The file itself is judged as by `ferrmod check`.
///
/// Nothing is loaded. With --root it is all about another system: its configuration, its modules, its initramfs, and its /proc and /sys
/// where copies of these are there.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Why {
    /// A module: a name, an alias or a file.
    #[arg(value_name = "NAME")]
    pub name: OsString,
    /// The root of the system.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The kernel [default: the running one, or the only one in the root].
    #[arg(long, value_name = "RELEASE")]
    pub kernel: Option<String>,
    /// The kernel's command line, or a file with it [default: /proc/cmdline of the root].
    #[arg(long, value_name = "TEXT|FILE")]
    pub cmdline: Option<OsString>,
    /// What the kernel is told, besides: as for `ferrmod check`.
    #[arg(long, value_name = "FILE")]
    pub policy: Vec<PathBuf>,
    /// The initramfs [default: the kernel's, in /boot of the root].
    #[arg(long, value_name = "FILE")]
    pub initramfs: Option<PathBuf>,
    /// Also tell which paths are not there.
    #[arg(long)]
    pub all: bool,
    /// Print one JSON document instead of text (schema: docs/schema/why.md).
    #[arg(long)]
    pub json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  it can be loaded, or is loaded or built in
  1  it is blocked on every path
  2  usage
  3  there is no such module, or the system's files cannot be read";

/// The document that `--json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report {
    /// `ferrmod.why/1`.
    schema: &'static str,
    /// What was asked for.
    asked: String,
    /// The root of the system.
    root: String,
    /// The kernel's release.
    kernel: String,
    /// The modules that it stands for; none when there is none.
    modules: Vec<Answer>,
    /// Names like it, when there is none.
    nearest: Vec<String>,
    /// The command's exit code.
    exit_code: u8,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when the command line makes no sense, or the system's files cannot be read.
pub(crate) fn why(args: &Why) -> Result<Exit, Failure> {
    let root = Root::new(&args.root).map_err(|error| Failure::File { path: args.root.display().to_string(), error })?;
    let running = Running::of(&args.root, root.is_host());
    let tree = tree(args, &running)?;
    let is_running = running.release.as_deref().is_none_or(|release| release == tree.release);
    let command_line = command_line(args, &running)?;
    let policy = policy(args, &running, is_running, command_line.as_ref())?;

    let paths = paths(&args.root, &tree);
    let config = Config::read(&Sources {
        root: &root,
        folders: Folders::Kmod34,
        paths: None,
        tree: Some((&root, &paths.inside)),
        command_line: command_line.as_ref().map(|(_, text)| text.as_bytes()),
    });
    let inside = paths.inside.clone();
    let modules = Modules::new(&config, &root, paths);
    let index = Index::new(tree.clone());
    let found = find(args, &modules, &index)?;
    if found.is_empty() {
        return absent(args, &tree, &index);
    }

    let mut system = gather::system(&root, &running, &inside);
    system.command_line = command_line;
    system.initramfs = initramfs::read(&root, &tree.release, args.initramfs.as_deref());
    let kernel = asked_for(Where { root: Some(&args.root), ..Where::default() }, tree.release.as_ref());
    let judge = Judge::new(kernel, &policy, &tree, &index);
    let kernel = judge.kernel();
    let answers = judge.answers(kernel.as_ref(), &modules, &system, &running, is_running, &found);

    let good = |answer: &Answer| answer.can_be_loaded || answer.built_in || answer.loaded.is_some();
    // The code of a module that did not what was wished: here, that none can be loaded.
    let exit = if answers.iter().any(good) { Exit::Clean } else { Exit::ModuleError };
    let report = Report {
        schema: SCHEMA,
        asked: args.name.to_string_lossy().into_owned(),
        root: args.root.display().to_string(),
        kernel: tree.release,
        modules: answers,
        nearest: Vec::new(),
        exit_code: exit as u8,
    };
    show::show(args, &report)?;
    Ok(exit)
}

/// Nothing has the name.
fn absent(args: &Why, tree: &Tree, index: &Index) -> Result<Exit, Failure> {
    let asked = args.name.to_string_lossy().into_owned();
    let nearest = index.nearest(&asked).unwrap_or_default();
    if !args.json {
        let hint = if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(" or ")) };
        let folder = tree.folder.display();
        return Err(Failure::Refused(format!("{asked}: no module of this name or alias in {folder}{hint}")));
    }
    let report = Report {
        schema: SCHEMA,
        asked,
        root: args.root.display().to_string(),
        kernel: tree.release.clone(),
        modules: Vec::new(),
        nearest,
        exit_code: Exit::Refused as u8,
    };
    show::show(args, &report)?;
    Ok(Exit::Refused)
}

/// The tree of the kernel.
fn tree(args: &Why, running: &Running) -> Result<Tree, Failure> {
    let running = running.release.as_deref().filter(|release| Tree::find(&args.root, Some(release)).is_ok());
    Tree::find(&args.root, args.kernel.as_deref().or(running)).map_err(|error| Failure::Tree(error.to_string()))
}

/// The two names of a tree's folder.
fn paths(root: &Path, tree: &Tree) -> Paths {
    let inside = tree.folder.strip_prefix(root).unwrap_or(&tree.folder);
    Paths { inside: Path::new("/").join(inside), shown: tree.folder.clone() }
}

/// The kernel's command line, and where it was read.
fn command_line(args: &Why, running: &Running) -> Result<Option<(String, String)>, Failure> {
    let Some(line) = &args.cmdline else { return Ok(running.command_line()) };
    let path = Path::new(line);
    match line.to_str() {
        Some(line) if !path.is_file() => Ok(Some(("--cmdline".to_owned(), line.to_owned()))),
        _ => {
            let path_text = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|error| Failure::File { path: path_text.clone(), error })?;
            Ok(Some((path_text, text)))
        }
    }
}

/// What the kernel is told.
fn policy(
    args: &Why,
    running: &Running,
    is_running: bool,
    command_line: Option<&(String, String)>,
) -> Result<Policy, Failure> {
    let mut policy = Policy::default();
    if let Some((source, line)) = command_line {
        policy.command_line(source, line);
    }
    if is_running {
        running.add_to(&mut policy);
    }
    for path in &args.policy {
        let source = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| Failure::File { path: source.clone(), error })?;
        policy.add(Policy::parse(&source, &text).map_err(|error| Failure::Usage(error.to_string()))?);
    }
    Ok(policy)
}

/// The modules that the name stands for.
fn find<'c>(args: &Why, modules: &Modules<'c>, index: &Index) -> Result<Vec<Rc<Module<'c>>>, Failure> {
    let path = Path::new(&args.name);
    let bytes = args.name.as_bytes();
    if path.is_file() && (bytes.contains(&b'/') || ferrmod_index::module_name(path).is_some()) {
        return Ok(vec![modules.of_path(path, path.to_owned())]);
    }
    if bytes.contains(&b'/') {
        return Err(Failure::no_module(path));
    }
    let found = modules.look_up(BStr::new(bytes));
    if !found.is_empty() {
        return Ok(found);
    }
    // What depmod does not know may be there all the same.
    let failed = |error: ferrmod_index::FileError| Failure::Tree(error.to_string());
    let name = args.name.to_string_lossy();
    Ok(match index.resolve(&name).map_err(failed)? {
        Found::Module(file) => vec![modules.named(BStr::new(&file.name), How::Name)],
        Found::Alias(files) => {
            let how = |alias: String| How::Alias(alias.into());
            files.into_iter().map(|(alias, file)| modules.named(BStr::new(&file.name), how(alias))).collect()
        }
        Found::Builtin(name) => vec![modules.named(BStr::new(&name), How::Builtin)],
        Found::Absent { .. } => Vec::new(),
    })
}

/// The kernel as far as its files are at hand.
struct Judge<'j> {
    files: Result<Files, String>,
    policy: &'j Policy,
    tree: &'j Tree,
    index: &'j Index,
}

impl<'j> Judge<'j> {
    fn new(kernels: Result<Vec<Files>, Failure>, policy: &'j Policy, tree: &'j Tree, index: &'j Index) -> Judge<'j> {
        let files = match kernels {
            Ok(kernels) => kernels.into_iter().next().ok_or_else(|| "there is no such kernel".to_owned()),
            Err(failure) => Err(failure.to_string()),
        };
        Judge { files, policy, tree, index }
    }

    fn kernel(&self) -> Result<Kernel<'_>, String> {
        self.files.as_ref().map_err(Clone::clone)?.kernel(false).map_err(|failure| failure.to_string())
    }

    fn answers(
        &self,
        kernel: Result<&Kernel<'_>, &String>,
        modules: &Modules<'_>,
        system: &System,
        running: &Running,
        is_running: bool,
        found: &[Rc<Module<'_>>],
    ) -> Vec<Answer> {
        let own_offers: Option<Offers> = match kernel {
            Ok(_) => None,
            Err(_) => self.index.offers(&|_, _| ()).ok(),
        };
        let offers = kernel.ok().and_then(Kernel::offers).or(own_offers.as_ref());
        let rules = match kernel {
            Ok(kernel) => Rules::new(self.policy, &kernel.config),
            Err(_) => Rules::new(self.policy, &ferrmod_plan::check::KernelConfig::default()),
        };
        let facts = Facts { modules, rules: &rules, system, offers };
        let together = Together::new();
        let keyring = kernel.ok().and_then(Kernel::keyring);
        let kernels: Vec<&Kernel<'_>> = kernel.into_iter().collect();
        let settings = Settings { explain: true, unpacked_by_kernel: false, keyring: keyring.as_ref() };
        let checker = kernel.ok().map(|kernel| Checker::new(kernel, self.policy, &together, &kernels, settings));
        found
            .iter()
            .map(|module| {
                let subject = self.subject(module, kernel.err(), checker.as_ref(), running, is_running);
                answer(facts, module, &subject)
            })
            .collect()
    }

    /// The module with what its own file tells.
    fn subject(
        &self,
        module: &Module<'_>,
        unknown: Option<&String>,
        checker: Option<&Checker<'_>>,
        running: &Running,
        is_running: bool,
    ) -> Subject {
        let release = &self.tree.release;
        let mut subject = Subject {
            loaded: if is_running { running.loaded(module.name.as_bstr()) } else { None },
            judgement: Judgement::unknown(release, unknown.cloned().unwrap_or_default()),
            ..Subject::default()
        };
        let by_index = || self.index.file(&module.name.to_str_lossy()).ok().flatten().map(|file| file.path);
        let file = module.file.as_ref().map(|file| file.shown.clone()).filter(|file| file.is_file()).or_else(by_index);
        let Some(file) = file else { return subject };
        match fs::read(&file) {
            Ok(bytes) => {
                let candidate = Candidate::new(&file, &bytes);
                if let Ok(image) = Image::read(&candidate.bytes) {
                    subject.aliases = image.modinfo().all("alias").map(ToOwned::to_owned).collect();
                }
                if let Some(checker) = checker {
                    subject.judgement = Judgement::of(&checker.check(&candidate));
                }
            }
            Err(error) => subject.judgement = Judgement::unknown(release, format!("{}: {error}", file.display())),
        }
        subject.file = Some(file);
        subject
    }
}
