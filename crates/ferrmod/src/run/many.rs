//! Many modules in one machine, one after the other: `ferrmod run --all` and `--from`.
//!
//! Only the files of one module and of what it waits for are held at a time, so that what this takes is what the machine takes. A
//! module that is not found, refuses, or goes wrong, ends nothing: the next one comes.

use std::collections::{HashSet, VecDeque};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use ferrmod_image::linux::Image;
use ferrmod_index::{FileError, FileProblem, Found, Index, ModuleFile, module_name, read_module};
use ferrmod_kernel::Errno;
use ferrmod_plan::{Needs, Options, Why};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{Request, Run, request};
use crate::exit::Failure;
use crate::report::{Ended, Load};
use crate::session::Session;
use crate::tree::Planned;

/// A module that is to be loaded.
struct Wanted {
    file: ModuleFile,
    arguments: Vec<u8>,
    why: Why,
}

impl Wanted {
    fn requested(file: ModuleFile, arguments: Vec<u8>) -> Self {
        Self { file, arguments, why: Why::Requested { request: 0, alias: None } }
    }

    /// How it ended without ever coming to the machine.
    fn ended(self, ended: Ended) -> Load {
        Load {
            module: self.file.name,
            file: self.file.path.display().to_string(),
            why: self.why.to_string(),
            arguments: String::new(),
            init_ran: false,
            optional: matches!(self.why, Why::SoftdepOf { .. }),
            ended,
        }
    }
}

/// A module whose dependencies are being loaded.
struct Open {
    wanted: Wanted,
    bytes: Vec<u8>,
    /// What it needs, and what it would like to have before it.
    needs: VecDeque<(String, Why)>,
    /// What it would like to have after it.
    after: Vec<String>,
}

/// Whether the command is about many modules.
pub(super) fn is_wanted(run: &Run) -> bool {
    run.all || run.from.is_some()
}

/// The lines of a list: a module and its parameters each; empty lines and what follows a `#` are nothing.
fn requests_of(text: &str) -> Vec<Request> {
    let words = text.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    words
        .filter_map(|mut words| {
            let module = words.next()?.into();
            let parameters: Vec<_> = words.map(Into::into).collect();
            Some(request(&module, &parameters))
        })
        .collect()
}

fn read_list(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().lock().read_to_string(&mut text),
        _ => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|error| Failure::File { path: path.display().to_string(), error })?;
    Ok(text)
}

/// The modules that are asked for, when those are not all of the tree.
///
/// # Errors
/// [`Failure`] when the list cannot be read.
pub(super) fn list(run: &Run) -> Result<Vec<Request>, Failure> {
    run.from.as_deref().map_or(Ok(Vec::new()), |path| Ok(requests_of(&read_list(path)?)))
}

/// What became of a file that cannot be read as a module's.
fn unread(error: &FileError) -> Ended {
    let errno = match &error.problem {
        FileProblem::Io { kind: ErrorKind::NotFound, .. } => Errno::ENOENT,
        FileProblem::Io { kind: ErrorKind::PermissionDenied, .. } => Errno::EACCES,
        FileProblem::Io { kind: ErrorKind::InvalidInput, .. } => Errno::EINVAL,
        FileProblem::Io { .. } => Errno::EIO,
        FileProblem::TooLarge => Errno::EFBIG,
        FileProblem::Decompress(_) | FileProblem::Read(_) => Errno::ENOEXEC,
    };
    Ended::because(errno, error.to_string())
}

/// The files that a line of a list means: a file, one in the tree by its path there, or a name or alias. Else how it ends with the line.
fn files_of(index: Result<&Index, &Failure>, line: &Request) -> Result<Vec<ModuleFile>, Ended> {
    let text = line.module.to_string_lossy();
    let file_at = |path: PathBuf| {
        let name = module_name(&path).filter(|_| path.is_file())?;
        Some(Vec::from([ModuleFile { name, path }]))
    };
    if let Some(found) = file_at(PathBuf::from(&line.module)) {
        return Ok(found);
    }
    let index = index.map_err(|failure| Ended::because(Errno::ENOENT, failure.to_string()))?;
    let folder = &index.tree().folder;
    if let Some(found) = file_at(folder.join(&line.module)) {
        return Ok(found);
    }
    match index.resolve(&text).map_err(|error| unread(&error))? {
        Found::Module(file) => Ok(Vec::from([file])),
        Found::Alias(files) => Ok(files.into_iter().map(|(_, file)| file).collect()),
        Found::Builtin(_) => Err(Ended::Ok),
        Found::Absent { .. } => Err(Ended::because(Errno::ENOENT, format!("not in {}", folder.display()))),
    }
}

/// What is to be loaded, in order; with how it ended, what never comes so far.
type InOrder = Vec<(Wanted, Option<Ended>)>;

fn wanted(index: Result<&Index, Failure>, list: &[Request], all: bool) -> Result<InOrder, Failure> {
    if all {
        let mut files = index?.modules().map_err(|error| Failure::Tree(error.to_string()))?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        return Ok(files.into_iter().map(|file| (Wanted::requested(file, Vec::new()), None)).collect());
    }
    let of_line = |line: &Request| -> InOrder {
        let wanted = |file| Wanted::requested(file, line.arguments.clone());
        match files_of(index.as_ref().copied(), line) {
            Ok(files) => files.into_iter().map(|file| (wanted(file), None)).collect(),
            Err(ended) => {
                let file = ModuleFile { name: line.module.to_string_lossy().into_owned(), path: PathBuf::new() };
                Vec::from([(wanted(file), Some(ended))])
            }
        }
    };
    Ok(list.iter().flat_map(of_line).collect())
}

/// Loads them all; what came of each.
pub(super) fn load(session: &mut Session, run: &Run, list: &[Request]) -> Result<Vec<Load>, Failure> {
    let tree = session.tree();
    let wanted = wanted(tree.found(), list, run.all)?;
    let bar = ProgressBar::new(wanted.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {bar:30} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let mut many = Many {
        index: tree.found().ok(),
        options: Options { softdeps: !run.no_modprobe },
        tried: HashSet::new(),
        loads: Vec::with_capacity(wanted.len()),
    };
    for (one, ended) in wanted {
        bar.set_message(one.file.name.clone());
        match ended {
            Some(ended) => many.loads.push(one.ended(ended)),
            None => many.bring(session, one)?,
        }
        bar.inc(1);
        if session.machine.dead().is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(many.loads)
}

/// Modules that are being loaded.
struct Many<'i> {
    index: Option<&'i Index>,
    options: Options,
    /// Of several files of one name the first counts, as in every look-up.
    tried: HashSet<String>,
    loads: Vec<Load>,
}

impl Many<'_> {
    /// Loads one behind what it needs, and what it would like to have after it.
    fn bring(&mut self, session: &mut Session, one: Wanted) -> Result<(), Failure> {
        let mut later = VecDeque::new();
        self.bring_one(session, one, &mut later)?;
        while let Some((name, why)) = later.pop_front() {
            for wanted in self.sought(&name, &why) {
                self.bring_one(session, wanted, &mut later)?;
            }
        }
        Ok(())
    }

    /// Loads one behind what it needs, with a stack of its own: how deep modules need each other is up to the files. What a module
    /// would like to have, and what itself needs that module, finds nothing there yet.
    fn bring_one(
        &mut self,
        session: &mut Session,
        one: Wanted,
        later: &mut VecDeque<(String, Why)>,
    ) -> Result<(), Failure> {
        let mut stack = Vec::new();
        stack.extend(self.open(one));
        while let Some(top) = stack.last_mut() {
            if session.machine.dead().is_some() {
                return Ok(());
            }
            if let Some((name, why)) = top.needs.pop_front() {
                // The last one of the stack is the first to be loaded.
                for wanted in self.sought(&name, &why).into_iter().rev() {
                    stack.extend(self.open(wanted));
                }
                continue;
            }
            let Some(Open { wanted: Wanted { file, arguments, why }, bytes, after, .. }) = stack.pop() else { break };
            let planned = Planned {
                requested: matches!(why, Why::Requested { .. }),
                optional: matches!(why, Why::SoftdepOf { .. }),
                why: why.to_string(),
                name: file.name,
                path: file.path,
                bytes,
                arguments,
            };
            let load = session.load_now(&planned)?;
            // Another module has asked for it before.
            let is_there = !load.init_ran && load.ended == Ended::errno(Errno::EEXIST.0);
            if load.ended == Ended::Ok {
                let why = Why::SoftdepOf { module: planned.name, before: false };
                later.extend(after.into_iter().map(|name| (name, why.clone())));
            }
            if !is_there {
                self.loads.push(load);
            }
        }
        Ok(())
    }

    /// The files of what another module needs or would like to have. What is not in the tree is built in, or the load will say what
    /// is missing.
    fn sought(&mut self, name: &str, why: &Why) -> Vec<Wanted> {
        let Some(index) = self.index else { return Vec::new() };
        let found = match why {
            // Only a wish may be an alias.
            Why::SoftdepOf { .. } => index.resolve(name).map(|found| match found {
                Found::Module(file) => Vec::from([file]),
                Found::Alias(files) => files.into_iter().map(|(_, file)| file).collect(),
                Found::Builtin(_) | Found::Absent { .. } => Vec::new(),
            }),
            _ => index.file(name).map(|file| file.into_iter().collect()),
        };
        let wanted = |file| Wanted { file, arguments: Vec::new(), why: why.clone() };
        match found {
            Ok(files) => files.into_iter().map(wanted).collect(),
            Err(error) => {
                let file = ModuleFile { name: name.to_owned(), path: PathBuf::new() };
                self.loads.push(wanted(file).ended(unread(&error)));
                Vec::new()
            }
        }
    }

    /// Reads a module that was not tried yet.
    fn open(&mut self, wanted: Wanted) -> Option<Open> {
        let name = &wanted.file.name;
        if !self.tried.insert(name.clone()) {
            return None;
        }
        let path = &wanted.file.path;
        let read = read_module(path).and_then(|bytes| {
            let image = Image::read(&bytes).map_err(|error| FileError::read(path, error))?;
            let needs = ferrmod_plan::needs(self.index, self.options, name, path, &image)?;
            Ok((bytes, needs))
        });
        match read {
            Ok((bytes, Needs { before, modules, after })) => {
                let wish = Why::SoftdepOf { module: name.clone(), before: true };
                let need = Why::DependencyOf { module: name.clone() };
                let before = before.into_iter().map(|name| (name, wish.clone()));
                let needs = before.chain(modules.into_iter().map(|name| (name, need.clone()))).collect();
                Some(Open { wanted, bytes, needs, after })
            }
            Err(error) => {
                self.loads.push(wanted.ended(unread(&error)));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_comments_and_parameters() {
        let requests = requests_of("# all\ncrc7\n\n  lm75  # a chip\nraid6_pq x=1 y=2\n");
        let told: Vec<(String, String)> = requests
            .iter()
            .map(|one| {
                (one.module.to_string_lossy().into_owned(), String::from_utf8_lossy(&one.arguments).into_owned())
            })
            .collect();
        let expected = [("crc7", ""), ("lm75", ""), ("raid6_pq", "x=1 y=2")];
        assert!(told.iter().zip(expected).all(|((a, b), (c, d))| a == c && b == d) && told.len() == 3, "{told:?}");
    }
}
