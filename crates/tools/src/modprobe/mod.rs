//! `modprobe`: loads and removes modules with everything that belongs to them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bstr::{BStr, ByteSlice};
use ferrmod_config::{Config, Folders, Root, Sources};
use ferrmod_linux::{Kernel, LoadFlags};
use ferrmod_plan::kmod::{Modules, Paths};

use crate::explain::EXPLAIN;
use crate::flags::{Applet, Flag, HELP, JSON, Operand, QUIET, SYSLOG, VERBOSE, VERSION};
use crate::report::{Fatal, Level, stderr};
use crate::session::{Session, Status, Stop};

mod arguments;
mod command;
mod explain;
mod insert;
mod json;
mod live;
mod remove;
mod showconfig;
mod symbols;

use live::Running;

/// What `--explain` does.
const EXPLAINED: &str = "With -n, -D and -R: print behind each line why it is there, and which file and line decided. After an error, \
    print what the kernel logged about it and what the file shows; this is done without being asked when messages go to a \
    terminal.";

/// `modprobe`.
pub(crate) const APPLET: Applet = Applet {
    name: "modprobe",
    synopsis: &[
        "[options] MODULE [PARAMETER=VALUE]...",
        "[options] -a MODULE...",
        "[options] -r MODULE...",
        "[options] -R MODULE|ALIAS",
        "[options] -D MODULE|ALIAS",
        "[options] -c",
        "[options] --show-modversions FILE",
        "[options] --show-exports FILE",
    ],
    summary: "load and remove modules with what they need",
    description: "Loads MODULE into the running kernel, after the modules that it needs. MODULE is a name, in which - and _ are the \
        same, an alias, or a file: a path that begins with / or ./. What follows it are the module's parameters.\n\nWhere \
        modules are and what they need is read from the indexes that depmod wrote in /lib/modules/VERSION. What the \
        administrator wants is read from modprobe.d(5) and from the kernel command line: MODULE.PARAMETER=VALUE, and \
        modprobe.blacklist=MODULE,...\n\nA module that is loaded already, or built in, is no failure. The kernel says only in its \
        log why it does not take a module; --explain shows it.",
    notes: "Environment:\n\nMODPROBE_OPTIONS holds options that are put before those of the command line, parted by spaces, \
        with ' or \" around what has spaces in it. Commands of install and remove lines find there what this modprobe was told \
        with -C, -q, -s and -v, and in MODPROBE_MODULE the name of the module.\n\nExit status: 0 when all went well, else 1.",
    flags: &[
        Flag::long("all", "take every operand for a module, none for a parameter").short(b'a'),
        Flag::long("remove", "remove modules instead of loading them").short(b'r').doc(
            "Remove the modules, and then those that they needed and that nobody uses any more.",
        ),
        Flag::long("remove-dependencies", "old name of --remove-holders").id("remove-holders").hidden(),
        Flag::long("remove-holders", "with -r: first remove the modules that use it"),
        Flag::long("resolve-alias", "print the names of the modules that MODULE stands for").short(b'R'),
        Flag::long("wait", "with -r: wait for up to MSEC milliseconds until it is not in use").short(b'w').value("MSEC"),
        Flag::long("first-time", "fail if it is loaded, or removed, already"),
        Flag::long("ignore-install", "do not obey install and remove lines for MODULE").short(b'i').doc(
            "Do not obey install and remove lines, nor soft dependencies, for the MODULE that is asked for. They are obeyed for \
             the modules that it needs.",
        ),
        Flag::long("ignore-remove", "the same as --ignore-install").id("ignore-install"),
        Flag::long("use-blacklist", "obey blacklist lines for names as for aliases").short(b'b'),
        Flag::long("force", "--force-modversion and --force-vermagic; with -r, remove even what is in use").short(b'f').doc(
            "Load a module that may be for another kernel: --force-modversion and --force-vermagic together. With -r: have the \
             kernel remove a module by force, if it was built to. Either may crash the machine.",
        ),
        Flag::long("force-modversion", "do not compare the versions of symbols"),
        Flag::long("force-vermagic", "do not compare the version magic"),
        Flag::long("show-depends", "print what loading would take, and do nothing").short(b'D').doc(
            "Print what loading MODULE would take in the order in which it is done: insmod FILE OPTIONS, install COMMAND OPTIONS, \
             or builtin NAME. What is loaded already is not left out.",
        ),
        Flag::long("showconfig", "print the configuration and all aliases").short(b'c').id("show-config"),
        Flag::long("show-config", "the same as --showconfig"),
        Flag::long("show-modversions", "print the symbols that a file needs, with their versions"),
        Flag::long("dump-modversions", "the same as --show-modversions").id("show-modversions"),
        Flag::long("show-exports", "print the symbols that a file exports, with their versions"),
        Flag::long("dry-run", "do nothing; with -v or --explain, print what would be done").short(b'n'),
        Flag::long("show", "the same as --dry-run").id("dry-run"),
        Flag::long("config", "read this file or folder instead of the usual ones; may be given several times")
            .short(b'C')
            .value("PATH"),
        Flag::long("dirname", "take ROOT for the file system's root when looking for modules").short(b'd').value("ROOT").doc(
            "Look for modules in ROOT/lib/modules. Nothing outside of ROOT is taken for a part of it, wherever links point. The \
             configuration and the kernel command line are still those of the system that runs, as in kmod; -C names another \
             configuration, --root-config takes that of ROOT.",
        ),
        Flag::long("set-version", "take the modules of kernel VERSION instead of the running one's")
            .short(b'S')
            .value("VERSION"),
        SYSLOG,
        QUIET,
        VERBOSE,
        VERSION,
        HELP,
        Flag::long("root-config", "with -d: read the configuration of ROOT, not that of the system that runs").ours().doc(
            "With -d: read ROOT/etc/modprobe.d and the other folders in ROOT, and not the kernel command line, which is of the \
             system that runs: nothing of that system has a say. Commands of install and remove lines are shown, and not run. \
             Paths of -C are still the caller's.",
        ),
        Flag::long("show-alias", "the same as --resolve-alias").id("resolve-alias").ours().hidden(),
        Flag { summary: "say which line decided, and why a load failed", doc: EXPLAINED, ..EXPLAIN },
        JSON,
    ],
    operands: Operand::Modules,
    run,
    ..Applet::BASE
};

/// What was asked for.
#[derive(Debug, Default)]
struct Request {
    all: bool,
    remove: bool,
    holders: bool,
    wait: Option<u64>,
    resolve: bool,
    first_time: bool,
    ignore_commands: bool,
    use_blacklist: bool,
    force: bool,
    flags: LoadFlags,
    depends: bool,
    config: bool,
    modversions: bool,
    exports: bool,
    dry_run: bool,
    verbose: bool,
    explain: bool,
    json: bool,
    configs: Vec<PathBuf>,
    dirname: Option<OsString>,
    root_config: bool,
    version: Option<OsString>,
    /// What commands find in `MODPROBE_OPTIONS`.
    inherited: OsString,
}

/// What is known while it is done.
struct Context<'c> {
    request: &'c Request,
    modules: &'c Modules<'c>,
    kernel: &'c Kernel,
    live: &'c Running<'c>,
    /// The working folder, for paths that are printed whole.
    here: &'c Path,
}

fn run(session: &mut Session) -> Result<Status, Stop> {
    let options = arguments::inherited();
    let mut request = Request { inherited: options.clone().unwrap_or_default(), ..Request::default() };
    if let Some(options) = &options {
        session.arguments.splice(0..0, arguments::split(options));
    }
    let operands = arguments::read(session, &mut request)?;
    if operands.is_empty() && !request.config {
        // Whoever is quiet about what it could not do is not quiet about a command line that makes no sense.
        if session.log.is_syslog() {
            session.log.error(format_args!("missing parameters. See -h."));
        } else {
            stderr(&[session.name.as_bytes(), b": ERROR: missing parameters. See -h.\n"].concat());
        }
        return Ok(Status::Failure);
    }
    if !request.config && (request.modversions || request.exports) {
        return symbols::show(session, &request, &operands);
    }

    let here = working_folder();
    let (root, paths) = tree(&request, &here);
    let kernel = Kernel::running();
    let command_line = kernel.command_line().unwrap_or_default();
    let host = Root::host();
    // As in kmod, unless something else is asked for: whose modules they are does not change who decides about them.
    let is_foreign = request.root_config && root.as_ref().is_none_or(|root| !root.is_host());
    // There is no configuration in a root that is not there.
    let nowhere = (is_foreign && root.is_none()).then_some(&[][..]);
    let root = root.unwrap_or_else(Root::host);
    let config = Config::read(&Sources {
        root: if is_foreign { &root } else { &host },
        folders: Folders::Kmod34,
        paths: if request.configs.is_empty() { nowhere } else { Some(&request.configs) },
        tree: Some((&root, &paths.inside)),
        command_line: (!is_foreign).then_some(&command_line),
    });
    complain(session, &config);
    let modules = Modules::new(&config, &root, paths);
    let live = Running(&kernel);
    let context = Context { request: &request, modules: &modules, kernel: &kernel, live: &live, here: &here };
    let status = if request.config {
        Ok(showconfig::show(session, &context))
    } else if request.remove {
        remove::remove(session, &context, &operands)
    } else {
        insert::insert(session, &context, &operands)
    };
    for problem in modules.indexes.problems() {
        let file = modules.shown().join(problem.table.file());
        let text = format!(": {}; run depmod", problem.error);
        session.log.bytes(Level::Error, &[file.as_os_str().as_bytes(), text.as_bytes()].concat());
    }
    status
}

/// The working folder by the name that the user knows it by: `PWD`, if that is true.
fn working_folder() -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let real = std::env::current_dir().unwrap_or_default();
    let named = std::env::var_os("PWD").map(PathBuf::from).filter(|named| named.is_absolute() && *named != real);
    let same = |named: &PathBuf| {
        let (Ok(a), Ok(b)) = (named.metadata(), real.metadata()) else { return false };
        (a.dev(), a.ino()) == (b.dev(), b.ino())
    };
    named.filter(same).unwrap_or(real)
}

/// `path` behind the working folder, if it is relative. As kmod, and unlike [`Path::join`], it leaves the bytes alone.
fn absolute(here: &Path, path: &OsStr) -> PathBuf {
    if path.as_bytes().starts_with(b"/") {
        return path.into();
    }
    OsString::from_vec([here.as_os_str().as_bytes(), b"/", path.as_bytes()].concat()).into()
}

/// The root, unless it cannot be opened, and the folder of the modules.
fn tree(request: &Request, here: &Path) -> (Option<Root>, Paths) {
    let version = match &request.version {
        Some(version) => version.clone(),
        None => OsString::from_vec(Kernel::release().into()),
    };
    let inside = [b"/lib/modules/", version.as_bytes()].concat();
    let dirname = request.dirname.as_ref().filter(|dirname| !dirname.is_empty());
    let Some(dirname) = dirname else {
        let inside = PathBuf::from(OsString::from_vec(inside));
        return (Some(Root::host()), Paths { shown: inside.clone(), inside });
    };
    let outside = absolute(here, dirname);
    let shown = [outside.as_os_str().as_bytes(), &inside].concat();
    let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
    match Root::new(&outside) {
        Ok(root) => (Some(root), Paths { inside: path(inside), shown: path(shown) }),
        // Where nothing is, nothing is found: that is all there is to say.
        Err(_) => (None, Paths { inside: path(shown.clone()), shown: path(shown) }),
    }
}

/// Says what is wrong with the configuration: in kmod's words, and to people with the line and carets under the fault.
///
/// In kmod this is said before `-q` and `-s` are known, unless `KMOD_LOG` says otherwise; here all of them count.
fn complain(session: &mut Session, config: &Config) {
    if !session.log.shows_details(Level::Error) {
        return;
    }
    for warning in config.warnings() {
        let text = [warning.function().as_bytes(), b": ", &warning.message()].concat();
        if session.log.is_syslog() {
            session.log.bytes(Level::Error, &text);
        } else if session.log.shows(Level::Error) {
            stderr(&[b"libkmod: ERROR: ", &*text, b"\n"].concat());
            if session.log.is_terminal() {
                session.log.more(&warning.render());
            }
        }
    }
}

impl Context<'_> {
    /// What is said when nothing has the name: the end of everything, unless other operands follow.
    fn missing(&self, session: &mut Session, fatal: Fatal) -> Result<Status, Stop> {
        if !self.request.all {
            return Err(fatal.into());
        }
        session.log.bytes(Level::Warning, fatal.text());
        fatal.explanation().iter().for_each(|line| session.log.more(line));
        Ok(Status::Failure)
    }
}

/// An operand as the name of a module.
fn name(operand: &OsStr) -> &BStr {
    operand.as_bytes().as_bstr()
}
