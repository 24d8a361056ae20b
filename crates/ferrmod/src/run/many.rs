//! Many modules in one machine, one after the other: `ferrmod run --all` and `--from`.
//!
//! Only one file is held at a time, so that what this takes is what the machine takes. A module that refuses, or goes wrong, ends
//! nothing: the next one comes.

use std::collections::{HashSet, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};

use ferrmod_image::linux::Image;
use ferrmod_index::{Found, Index, ModuleFile, module_name, read_module};
use ferrmod_kernel::Errno;
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
    why: String,
}

/// A module whose dependencies are being loaded.
struct Open {
    wanted: Wanted,
    bytes: Vec<u8>,
    needs: VecDeque<String>,
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

/// The file that a line of a list means: a file, one in the tree by its path there, or a name or alias.
fn files_of(index: &Index, line: &Request) -> Result<Vec<ModuleFile>, Failure> {
    let text = line.module.to_string_lossy();
    let of_path = |path: PathBuf| module_name(&path).map(|name| ModuleFile { name, path });
    let in_tree = index.tree().folder.join(&*text);
    for path in [PathBuf::from(&line.module), in_tree] {
        if let Some(file) = path.is_file().then(|| of_path(path)).flatten() {
            return Ok(Vec::from([file]));
        }
    }
    match index.resolve(&text).map_err(|error| Failure::Tree(error.to_string()))? {
        Found::Module(file) => Ok(Vec::from([file])),
        Found::Alias(files) => Ok(files.into_iter().map(|(_, file)| file).collect()),
        Found::Builtin(_) => Ok(Vec::new()),
        Found::Absent { .. } => Err(Failure::Refused(format!("{text} is not in {}", index.tree().folder.display()))),
    }
}

fn wanted(index: &Index, run: &Run) -> Result<Vec<Wanted>, Failure> {
    if let Some(path) = &run.from {
        let mut all = Vec::new();
        for line in requests_of(&read_list(path)?) {
            let files = files_of(index, &line)?;
            all.extend(files.into_iter().map(|file| Wanted {
                file,
                arguments: line.arguments.clone(),
                why: "requested".into(),
            }));
        }
        return Ok(all);
    }
    let mut files = index.modules().map_err(|error| Failure::Tree(error.to_string()))?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let of_all = |file| Wanted { file, arguments: Vec::new(), why: "requested".into() };
    Ok(files.into_iter().map(of_all).collect())
}

/// Loads them all; what came of each.
pub(super) fn load(session: &mut Session, run: &Run) -> Result<Vec<Load>, Failure> {
    let tree = session.tree();
    let index = tree.found()?;
    let wanted = wanted(index, run)?;
    let bar = ProgressBar::new(wanted.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {bar:30} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let mut loads = Vec::with_capacity(wanted.len());
    // Of several files of one name the first counts, as in every look-up.
    let mut tried = HashSet::new();
    for one in wanted {
        bar.set_message(one.file.name.clone());
        bring(session, index, one, &mut tried, &mut loads)?;
        bar.inc(1);
        if session.machine.dead().is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(loads)
}

/// Loads one behind what it needs, with a stack of its own: how deep modules need each other is up to the files.
fn bring(
    session: &mut Session,
    index: &Index,
    one: Wanted,
    tried: &mut HashSet<String>,
    loads: &mut Vec<Load>,
) -> Result<(), Failure> {
    let mut stack = Vec::new();
    open(index, one, tried, &mut stack, loads);
    while let Some(top) = stack.last_mut() {
        if let Some(need) = top.needs.pop_front() {
            let why = format!("dependency of {}", top.wanted.file.name);
            // One that is not in the tree is built in, or the load will say what is missing.
            if let Ok(Some(file)) = index.file(&need) {
                open(index, Wanted { file, arguments: Vec::new(), why }, tried, &mut stack, loads);
            }
            continue;
        }
        let Some(Open { wanted, bytes, .. }) = stack.pop() else { break };
        let planned = Planned {
            requested: wanted.why == "requested",
            name: wanted.file.name,
            path: wanted.file.path,
            bytes,
            arguments: wanted.arguments,
            why: wanted.why,
            optional: false,
        };
        let load = session.load_now(&planned)?;
        // Another module has asked for it before.
        let is_there = !load.init_ran && load.ended == Ended::errno(Errno::EEXIST.0);
        if !is_there {
            loads.push(load);
        }
        if session.machine.dead().is_some() {
            break;
        }
    }
    Ok(())
}

fn open(index: &Index, wanted: Wanted, tried: &mut HashSet<String>, stack: &mut Vec<Open>, loads: &mut Vec<Load>) {
    if !tried.insert(wanted.file.name.clone()) {
        return;
    }
    let needs = read_module(&wanted.file.path).map_err(|error| error.to_string()).and_then(|bytes| {
        let image = Image::read(&bytes).map_err(|error| error.to_string())?;
        let needs = index.needs(&wanted.file.name, &image).map_err(|error| error.to_string())?.modules;
        Ok((bytes, needs.into()))
    });
    match needs {
        Ok((bytes, needs)) => stack.push(Open { wanted, bytes, needs }),
        Err(reason) => loads.push(Load {
            module: wanted.file.name,
            file: wanted.file.path.display().to_string(),
            why: reason,
            arguments: String::new(),
            init_ran: false,
            optional: false,
            ended: Ended::errno(Errno::ENOEXEC.0),
        }),
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
