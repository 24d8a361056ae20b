//! `depmod`: makes the index of a tree of modules.

mod interrupt;
mod json;
mod messages;
mod progress;
mod request;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use ferrmod_config::{Folders, Root, depmod as config};
use ferrmod_index::depmod::{self, Built, DepmodError, Difference, Event, Fault, Options, Override, Progress, Search};

use crate::flags::{Applet, Flag, HELP, JSON, Operand, VERSION};
use crate::report::{Fatal, Level, io_words};
use crate::session::{Session, Status, Stop};

use interrupt::Interrupt;
use messages::{Messages, path_text};
use request::Request;

/// `depmod`.
pub(crate) const APPLET: Applet = Applet {
    name: "depmod",
    synopsis: &["[options] [VERSION] [FILE...]", "-A [options] [VERSION]", "--check [options] [VERSION]"],
    summary: "make the index of a tree of modules",
    description: "Reads the modules in /lib/modules/VERSION and writes beside them what modprobe needs to know: which module needs \
        which (modules.dep), which hardware and names they stand for (modules.alias), what they export (modules.symbols), and \
        more, each as text and as a trie that is quick to search. Without VERSION it is the running kernel's tree. With FILEs \
        (absolute paths) only these are indexed.\n\nEvery file is written whole under another name, brought to the disk, and renamed: \
        depmod may be interrupted at any moment.\n\nWhat was learned from the modules is kept in modules.ferrmod, beside the index. \
        The next run reads only modules whose files are others since. The index is the same with and without it; it may be \
        deleted.",
    notes: "Exit status: 0 when the index is complete; 1 when there is none, when a module could not be read (the index then holds all \
        the others), or, with --check, when the index is not what it should be.",
    flags: &[
        Flag::long("all", "index all modules (what is done anyway)").short(b'a'),
        Flag::long("quick", "do nothing unless a module is newer than modules.dep").short(b'A').doc(
            "Do nothing unless a module is newer than modules.dep. Modules that were removed are not noticed. With -n, do nothing \
             at all.",
        ),
        Flag::long("basedir", "the root of the file system in which the tree is").short(b'b').value("DIRECTORY").doc(
            "Read and write in the file system whose root is DIRECTORY. Links in it do not lead out of it, and folders of external \
             lines are looked for in it; depmod.d is that of the running system, as in kmod, unless -C or --root-config say otherwise.",
        ),
        Flag::long("moduledir", "where the trees are in the root (/lib/modules)").short(b'm').value("DIRECTORY"),
        Flag::long("outdir", "write in the root DIRECTORY instead of that of -b").short(b'o').value("DIRECTORY"),
        Flag::long("config", "read this file or folder instead of depmod.d; may be given several times")
            .short(b'C')
            .value("PATH"),
        Flag::long("symvers", "take the kernel's symbols and their versions from this Module.symvers")
            .short(b'E')
            .value("FILE"),
        Flag::long("filesyms", "take the kernel's symbols from this System.map").short(b'F').value("FILE"),
        Flag::long("errsyms", "with -E or -F: report symbols that nobody exports").short(b'e'),
        Flag::long("show", "write to standard output and change nothing").short(b'n'),
        Flag::long("dry-run", "the same as --show").id("show"),
        Flag::long("symbol-prefix", "a character that stands before every symbol").short(b'P').value("CHARACTER"),
        Flag::long("warn", "report aliases that a module has twice").short(b'w'),
        Flag::long("verbose", "print which module needs which for what; twice and more: messages").short(b'v'),
        VERSION,
        HELP,
        Flag::long("unresolved-error", "nothing").short(b'u').kmod30(),
        Flag::long("quiet", "nothing").short(b'q').kmod30(),
        Flag::long("root", "nothing").short(b'r').kmod30(),
        Flag::long("map", "nothing").kmod30(),
        Flag::long("check", "compare the index with its tree, and write nothing").ours().doc(
            "Read the tree, compare with the index what it should be, and write nothing. Says for every file that is not as it \
             should be where it differs; the exit status is 1 then.",
        ),
        Flag::long("format", "write the files of kmod 30 or of kmod 34 (the default)").value("30|34").ours().doc(
            "Write the files as kmod of this release does. The two order the nodes of tries differently, and only 34 \
             writes modules.weakdep. modprobe of either reads both.",
        ),
        Flag::long("root-config", "with -b: read depmod.d of that root, not that of the system that runs").ours().doc(
            "With -b: read etc/depmod.d and the other folders in that root, and nothing of the system that runs. Paths of -C are \
             still the caller's.",
        ),
        Flag::long("no-cache", "do not keep, and do not use, what was learned from the modules").ours(),
        JSON,
    ],
    operands: Operand::Release,
    level: Level::Warning,
    run,
    ..Applet::BASE
};

fn run(session: &mut Session) -> Result<Status, Stop> {
    let request = Request::read(session)?;
    let progress = Progress::default();
    let interrupt = Interrupt::new();
    let mut options = Options {
        root: request.root.clone(),
        module_dir: request.module_dir.clone(),
        out: request.out.clone(),
        release: request.release.clone(),
        format: request.format,
        files: request.files.clone(),
        symbol_prefix: request.symbol_prefix,
        report_needs: request.verbose,
        report_duplicates: request.report_duplicates,
        make_folder: !request.show && !request.check,
        tries: !request.show || request.check,
        cache: request.cache && !request.show,
        progress: Some(&progress),
        cancel: Some(interrupt.flag()),
        ..Options::default()
    };
    if request.quick {
        // kmod shows nothing when it is to be quick.
        if request.show {
            return Ok(Status::Success);
        }
        // Without the configuration: as in kmod, what it excludes is looked at as well.
        let mut messages = Messages::new(session, &request);
        match depmod::is_current(&options, &mut |event: Event<'_>| messages.event(&event)) {
            Ok(true) => return Ok(Status::Success),
            Ok(false) => {}
            // The whole run fails for the same reason, and says so.
            Err(DepmodError::Tree { path, error }) => no_tree(session, &path, &error),
            Err(error) => return Err(ended(session, error, &interrupt)),
        }
    }
    options.report_unknown = request.report_unknown && request.symbols_file().is_some();
    if options.report_unknown != request.report_unknown {
        session.log.warning(format_args!("-e needs -E or -F"));
    }
    let texts = request.texts()?;
    options.symvers = texts.symvers;
    options.system_map = texts.system_map;
    // It says which files of a tree count, and nothing about files that were named.
    if request.files.is_empty() {
        configure(session, &request, &mut options);
    }
    let terminal = session.log.is_terminal();
    let mut messages = Messages::new(session, &request);
    let built = progress::shown(&progress, terminal, || {
        depmod::build(&options, &mut |event: Event<'_>| messages.event(&event))
    });
    let failed = messages.failed;
    let built = match built {
        Ok(built) => built,
        Err(error) => return Err(ended(session, error, &interrupt)),
    };
    if request.check {
        return check(session, &request, &options, &built);
    }
    if request.json {
        json::index(&mut session.out, &options, &built);
    } else if request.show {
        for file in built.files().iter().filter(|file| !file.name.ends_with(".bin")) {
            session.out.add(&file.bytes);
        }
    } else if let Err(error) = built.write(&options) {
        return Err(ended(session, error, &interrupt));
    }
    Ok(Status::failed(failed || built.broken > 0))
}

/// Reads depmod.d into `options`.
fn configure(session: &mut Session, request: &Request, options: &mut Options<'_>) {
    // As kmod: the configuration is that of the running system, whatever root the tree is in.
    let root = match &request.given_root {
        Some(root) if request.root_config => Root::new(root).ok(),
        _ => Some(Root::host()),
    };
    // There is no configuration in a root that is not there; what else is wrong with it is said when it is looked into.
    let nowhere = root.is_none().then_some(&[][..]);
    let root = root.unwrap_or_else(Root::host);
    let paths = if request.config.is_empty() { nowhere } else { Some(request.config.as_slice()) };
    let kernel = request.release.as_encoded_bytes();
    let config = config::Config::read(&config::Sources { root: &root, folders: Folders::Kmod34, paths, kernel });
    let is_terminal = session.log.is_terminal();
    for warning in config.warnings() {
        let level = match warning.level() {
            ferrmod_config::Level::Error => Level::Error,
            ferrmod_config::Level::Info => Level::Info,
        };
        session.log.bytes(level, &warning.depmod_message());
        if is_terminal && session.log.shows(level) {
            session.log.more(&warning.render());
        }
    }
    options.search = config
        .search()
        .map(|(search, _)| match search {
            config::Search::BuiltIn => Search::BuiltIn,
            config::Search::External => Search::External,
            config::Search::Folder(folder) => Search::Folder(folder.into()),
        })
        .collect();
    options.overrides = config
        .overrides()
        .map(|(entry, _)| Override { module: entry.module.to_vec(), folder: entry.folder.to_vec() })
        .collect();
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    options.external = config.external().map(|(folder, _)| here.join(folder)).collect();
    options.exclude = config.exclude().map(|(name, _)| name.to_vec()).collect();
}

/// What is said of a tree that cannot be read.
fn no_tree(session: &mut Session, path: &Path, error: &io::Error) {
    let text = [b"could not open directory ", path_text(path), b": ", io_words(error).as_bytes()].concat();
    session.log.bytes(Level::Error, &text);
}

/// What is said when there is no index.
fn ended(session: &mut Session, error: DepmodError, interrupt: &Interrupt) -> Stop {
    match &error {
        DepmodError::Tree { path, error } => {
            no_tree(session, path, error);
            Fatal::new(format!("could not search modules: {}", io_words(error))).into()
        }
        DepmodError::File { path, error } => {
            let what: &[u8] = match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    let words = io_words(error);
                    let name = depmod::module_name(path);
                    session
                        .log
                        .bytes(Level::Error, &[b"hash_add_unique ", &name[..], b": ", words.as_bytes()].concat());
                    b"could not add module "
                }
                _ => b"could not create module ",
            };
            Fatal::new([what, path_text(path), b": ", io_words(error).as_bytes()].concat()).into()
        }
        DepmodError::Relative { path } => Fatal::new([path_text(path), b": not absolute path."].concat()).into(),
        DepmodError::Cycles { cycles, members } => {
            for cycle in cycles {
                session.log.error(format_args!("Cycle detected: {}", cycle.join(" -> ")));
            }
            session.log.error(format_args!("Found {} modules in dependency cycles!", members.len()));
            Stop::Done(Status::Failure)
        }
        DepmodError::Folder { path, error } => {
            let text = [b"could not create directory ", path_text(path), b": ", io_words(error).as_bytes()].concat();
            Fatal::new(text).into()
        }
        DepmodError::Write { folder, name, error } => {
            let path = folder.join(name);
            let text = [b"could not write ", path_text(&path), b": ", io_words(error).as_bytes()].concat();
            session.log.bytes(Level::Error, &text);
            Stop::Done(Status::Failure)
        }
        DepmodError::Cancelled => {
            interrupt.end();
            Stop::Done(Status::Failure)
        }
        error => Fatal::new(error.to_string()).into(),
    }
}

/// `--check`: says what is not as it should be.
fn check(session: &mut Session, request: &Request, options: &Options<'_>, built: &Built) -> Result<Status, Stop> {
    let differences = match built.check(options) {
        Ok(differences) => differences,
        Err(error) => {
            let text = error.to_string();
            return Err(Fatal::new(text).into());
        }
    };
    if request.json {
        json::check(&mut session.out, options, built, &differences);
    } else {
        for difference in &differences {
            session.out.add(&describe(difference));
            session.out.add(b"\n");
        }
        if !differences.is_empty() {
            let tree = options.tree_folder();
            let (wrong, all) = (differences.len(), built.files().len());
            session.out.add(path_text(&tree));
            session.out.add(format!(": {wrong} of {all} files are not what they should be; run depmod\n").as_bytes());
        }
    }
    Ok(Status::failed(!differences.is_empty() || built.broken > 0))
}

/// One line about a file that is not as it should be.
fn describe(difference: &Difference) -> Vec<u8> {
    let name = difference.name.as_bytes();
    match &difference.fault {
        Fault::Unreadable { text } => {
            let words = text.split(" (os error").next().unwrap_or_default();
            [name, b": ", words.as_bytes()].concat()
        }
        Fault::Line { number, found, wanted } => {
            let number = number.to_string();
            let said = |line: &Option<Vec<u8>>| match line {
                Some(line) => [b"'", line.as_slice(), b"'"].concat(),
                None => b"the end".to_vec(),
            };
            [name, b":", number.as_bytes(), b": ", &said(found), b" should be ", &said(wanted)].concat()
        }
        Fault::Byte { at, found, wanted } => {
            let sizes = if found == wanted { String::new() } else { format!(" ({found} bytes, {wanted} wanted)") };
            [name, format!(": differs from byte {at} on{sizes}").as_bytes()].concat()
        }
    }
}

/// Whether the work was asked to end.
fn is_set(flag: &std::sync::atomic::AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}
