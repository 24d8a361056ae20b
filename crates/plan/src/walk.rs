//! The walk from what was asked for to what comes before it.
//!
//! Depth first, with a stack of its own: how deep modules need each other is up to the files.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use bstr::ByteSlice;
use ferrmod_image::Image;
use ferrmod_index::{FileError, Found, Index, ModuleFile, module_name, normalise, read_module};

use crate::{Load, Note, Options, Plan, Reason, Refusal, Request, Why};

/// A module that was read.
struct Module {
    name: String,
    path: PathBuf,
    bytes: Vec<u8>,
}

/// How a module came to be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Request,
    Hard,
    Soft,
}

/// A module whose dependencies are being looked at. The frame above it on the stack is one of those.
struct Frame {
    module: Module,
    why: Why,
    /// How it came here.
    edge: Edge,
    /// What has to come before it, in order.
    needs: VecDeque<(Edge, String)>,
    /// What is wanted after it.
    after: Vec<String>,
    /// How many modules were planned when it came.
    mark: usize,
}

/// A wish for later, when nothing is open any more.
struct Wish {
    module: String,
    wanted: String,
    before: bool,
}

/// What a name was resolved to.
enum Target {
    Files(Vec<(Option<String>, ModuleFile)>),
    Builtin(String),
    Absent,
}

/// The state of a walk.
pub(crate) struct Walk<'i> {
    index: Option<&'i Index>,
    options: Options,
    /// Files that were asked for, by the name of their module, while they are not on the stack or planned.
    given: HashMap<String, Module>,
    /// Which request the file of a module was, and where it is.
    given_paths: HashMap<String, (usize, PathBuf)>,
    stack: Vec<Frame>,
    planned: HashSet<String>,
    /// Modules that cannot be loaded, and why: they are not looked at again.
    refused: HashMap<String, Reason>,
    loads: Vec<Load>,
    later: VecDeque<Wish>,
    notes: Vec<Note>,
    reasons: Vec<Reason>,
    /// The modules in a folder, by name; read once.
    folders: HashMap<PathBuf, HashMap<String, PathBuf>>,
}

/// Reads `path`; its module is named as the module itself says, else as its file.
fn read(path: &Path) -> Result<Module, FileError> {
    let bytes = read_module(path)?;
    let image = Image::read(&bytes).map_err(|error| FileError::read(path, error))?;
    let stated = image.name().filter(|name| !name.is_empty());
    let name = match stated {
        Some(name) => normalise(&name.to_str_lossy()).into_owned(),
        None => module_name(path)
            .or_else(|| path.file_stem().map(|stem| normalise(&stem.to_string_lossy()).into_owned()))
            .unwrap_or_default(),
    };
    Ok(Module { name, path: path.to_owned(), bytes })
}

/// What a module has loaded with it, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// What it would like to have before it: names or aliases.
    pub before: Vec<String>,
    /// What has to be there before it: names of modules.
    pub modules: Vec<String>,
    /// What it would like to have after it.
    pub after: Vec<String>,
}

/// What the module `name` has loaded with it, whose file at `path` says `image`.
///
/// # Errors
/// When the tree of `index` cannot be read.
pub fn needs(
    index: Option<&Index>,
    options: Options,
    name: &str,
    path: &Path,
    image: &Image<'_>,
) -> Result<Needs, FileError> {
    let mut needs = Needs::default();
    let Some(index) = index else {
        if options.softdeps {
            for softdep in image.softdeps() {
                let list = if softdep.before { &mut needs.before } else { &mut needs.after };
                list.push(softdep.name.to_str_lossy().into_owned());
            }
        }
        let names = image.modinfo().get("depends").unwrap_or_default().split_str(b",");
        let own = names.filter(|name| !name.is_empty()).map(|name| normalise(&name.to_str_lossy()).into_owned());
        needs.modules.extend(own);
        return Ok(needs);
    };
    // What depmod wrote is about the tree's file, and not about another one of the same name.
    let is_the_trees = index.file(name)?.is_some_and(|file| file.path == path);
    if options.softdeps {
        let soft = index.soft_needs(name, image);
        (needs.before, needs.after) = (soft.before, soft.after);
    }
    needs.modules = if is_the_trees { index.needs(name, image)? } else { index.needs_of(image)? }.modules;
    Ok(needs)
}

impl<'i> Walk<'i> {
    pub(crate) fn new(index: Option<&'i Index>, options: Options) -> Walk<'i> {
        Walk {
            index,
            options,
            given: HashMap::new(),
            given_paths: HashMap::new(),
            stack: Vec::new(),
            planned: HashSet::new(),
            refused: HashMap::new(),
            loads: Vec::new(),
            later: VecDeque::new(),
            notes: Vec::new(),
            reasons: Vec::new(),
            folders: HashMap::new(),
        }
    }

    pub(crate) fn plan(mut self, requests: &[Request]) -> Result<Plan, Refusal> {
        // All files are read before anything else, because one may be what another needs.
        let mut names: Vec<Option<String>> = Vec::with_capacity(requests.len());
        for (number, request) in requests.iter().enumerate() {
            names.push(match request {
                Request::File(path) => self.give(number, path),
                Request::Name(_) => None,
            });
        }
        for (number, request) in requests.iter().enumerate() {
            match request {
                Request::File(_) => {
                    // Taken already when it was needed by one before it.
                    let name = names.get_mut(number).and_then(Option::take);
                    if let Some(module) = name.and_then(|name| self.given.remove(&name)) {
                        self.push(module, Why::Requested { request: number, alias: None }, Edge::Request);
                    }
                }
                Request::Name(name) => self.request(number, name),
            }
            self.run();
        }
        match Refusal::new(self.reasons) {
            Some(refusal) => Err(refusal),
            None => Ok(Plan { loads: self.loads, notes: self.notes }),
        }
    }

    /// Reads a file that was asked for; the name of its module.
    fn give(&mut self, number: usize, path: &Path) -> Option<String> {
        let module = match read(path) {
            Ok(module) => module,
            Err(error) => {
                self.refuse(Reason::Unreadable(error));
                return None;
            }
        };
        let name = module.name.clone();
        if let Some((_, first)) = self.given_paths.get(&name) {
            let same_file = fs::canonicalize(first).ok().zip(fs::canonicalize(path).ok()).is_some_and(|(a, b)| a == b);
            // The same file twice is the same wish twice.
            if !same_file {
                let (first, second) = (first.clone(), path.to_owned());
                self.refuse(Reason::SameModule { name, first, second });
            }
            return None;
        }
        self.given_paths.insert(name.clone(), (number, path.to_owned()));
        self.given.insert(name.clone(), module);
        Some(name)
    }

    fn refuse(&mut self, reason: Reason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Something cannot be loaded. Where it was only wished for, the wish is given up and all that was planned for it.
    fn fail(&mut self, reason: Reason) {
        let Some(place) = self.stack.iter().rposition(|frame| frame.edge == Edge::Soft) else {
            self.refuse(reason);
            return;
        };
        for frame in self.stack.get(place..).unwrap_or_default() {
            self.refused.insert(frame.module.name.clone(), reason.clone());
        }
        if let Some(Why::SoftdepOf { module, .. }) = self.abandon(place) {
            self.note(Note::SoftdepRefused { module, reason: Box::new(reason) });
        }
    }

    /// Takes everything from `place` of the stack on back, as if it had never been looked at; why it was.
    fn abandon(&mut self, place: usize) -> Option<Why> {
        let mark = self.stack.get(place)?.mark;
        let dropped: Vec<Frame> = self.stack.drain(place..).collect();
        let why = dropped.first().map(|frame| frame.why.clone());
        let planned =
            self.loads.drain(mark..).map(|load| Module { name: load.name, path: load.path, bytes: load.bytes });
        for module in planned.chain(dropped.into_iter().map(|frame| frame.module)) {
            self.planned.remove(&module.name);
            if self.given_paths.contains_key(&module.name) {
                self.given.insert(module.name.clone(), module);
            }
        }
        why
    }

    /// What `name` stands for. Aliases are asked for only by `aliases`.
    fn resolve(&mut self, name: &str, aliases: bool) -> Result<Target, FileError> {
        let normal = normalise(name);
        if let Some((_, path)) = self.given_paths.get(&*normal) {
            let file = ModuleFile { name: normal.into_owned(), path: path.clone() };
            return Ok(Target::Files(vec![(None, file)]));
        }
        let Some(index) = self.index else {
            return Ok(Target::Absent);
        };
        if !aliases {
            return Ok(match index.file(name)? {
                Some(file) => Target::Files(vec![(None, file)]),
                None if index.is_builtin(name) => Target::Builtin(normal.into_owned()),
                None => Target::Absent,
            });
        }
        Ok(match index.resolve(name)? {
            Found::Module(file) => Target::Files(vec![(None, file)]),
            Found::Alias(found) => Target::Files(found.into_iter().map(|(alias, file)| (Some(alias), file)).collect()),
            Found::Builtin(name) => Target::Builtin(name),
            Found::Absent { .. } => Target::Absent,
        })
    }

    fn nearest(&self, name: &str) -> Vec<String> {
        self.index.and_then(|index| index.nearest(name).ok()).unwrap_or_default()
    }

    fn tree(&self) -> Option<PathBuf> {
        self.index.map(|index| index.tree().folder.clone())
    }

    /// Looks at a name that was asked for. All modules of an alias are loaded, as modprobe does.
    fn request(&mut self, number: usize, name: &str) {
        match self.resolve(name, true) {
            Ok(Target::Files(files)) => {
                for (alias, file) in files {
                    self.take(&file, Why::Requested { request: number, alias }, Edge::Request);
                    self.run();
                }
            }
            Ok(Target::Builtin(name)) => self.note(Note::Builtin { name }),
            Ok(Target::Absent) => {
                let reason = Reason::NotFound { name: name.to_owned(), tree: self.tree(), nearest: self.nearest(name) };
                self.refuse(reason);
            }
            Err(error) => self.refuse(Reason::Unreadable(error)),
        }
    }

    /// Reads a module, unless it was given or is settled, and begins to look at what it needs.
    fn take(&mut self, file: &ModuleFile, why: Why, edge: Edge) {
        if self.planned.contains(&file.name) {
            // It came because another needs it; that it was asked for as well says more.
            let load = self.loads.iter_mut().find(|load| edge == Edge::Request && load.name == file.name);
            if let Some(load) = load
                && !matches!(load.why, Why::Requested { .. })
            {
                load.why = why;
            }
            return;
        }
        if let Some(reason) = self.refused.get(&file.name).cloned() {
            match (edge, why) {
                (Edge::Soft, Why::SoftdepOf { module, .. }) => {
                    self.note(Note::SoftdepRefused { module, reason: Box::new(reason) });
                }
                _ => self.fail(reason),
            }
            return;
        }
        if let Some(module) = self.given.remove(&file.name) {
            let asked = self.given_paths.get(&file.name).map(|&(request, _)| request);
            let why = match (asked, edge) {
                (Some(request), Edge::Hard) => Why::Requested { request, alias: None },
                _ => why,
            };
            self.push(module, why, edge);
            return;
        }
        match read(&file.path) {
            // What the tree calls it counts: others need it by this name.
            Ok(module) => self.push(Module { name: file.name.clone(), ..module }, why, edge),
            Err(error) => {
                self.refused.insert(file.name.clone(), Reason::Unreadable(error));
                self.take(file, why, edge);
            }
        }
    }

    /// Begins to look at what `module` needs.
    fn push(&mut self, module: Module, why: Why, edge: Edge) {
        // It was read as an image when it was entered; it cannot have changed.
        let needs = match Image::read(&module.bytes) {
            Ok(image) => needs(self.index, self.options, &module.name, &module.path, &image),
            Err(_) => Ok(Needs::default()),
        };
        let (needs, after) = match needs {
            Ok(Needs { before, modules, after }) => {
                let before = before.into_iter().map(|name| (Edge::Soft, name));
                (before.chain(modules.into_iter().map(|name| (Edge::Hard, name))).collect(), after)
            }
            // It is the tree that cannot be read, which no giving up of wishes mends.
            Err(error) => {
                self.refuse(Reason::Unreadable(error));
                return;
            }
        };
        let mark = self.loads.len();
        self.stack.push(Frame { module, why, edge, needs, after, mark });
    }

    /// Goes on until nothing is open.
    fn run(&mut self) {
        loop {
            if let Some(frame) = self.stack.last_mut() {
                let Some((edge, name)) = frame.needs.pop_front() else {
                    self.finish();
                    continue;
                };
                let module = frame.module.name.clone();
                let folder = frame.module.path.parent().map(Path::to_owned);
                self.follow(edge, &module, folder, &name);
            } else if let Some(wish) = self.later.pop_front() {
                // Who wished may have been given up itself.
                if self.planned.contains(&wish.module) {
                    self.grant(wish);
                }
            } else {
                return;
            }
        }
    }

    /// Looks at what a module that is planned would like to have.
    fn grant(&mut self, Wish { module, wanted, before }: Wish) {
        match self.resolve(&wanted, true) {
            Ok(Target::Files(files)) => {
                let mut files = files.into_iter().map(|(_, file)| file);
                if let Some(file) = files.next() {
                    self.take(&file, Why::SoftdepOf { module: module.clone(), before }, Edge::Soft);
                }
                // One after the other, so that each finds what it needs.
                for file in files.rev() {
                    self.later.push_front(Wish { module: module.clone(), wanted: file.name, before });
                }
            }
            Ok(Target::Builtin(name)) => self.note(Note::Builtin { name }),
            Ok(Target::Absent) => self.note(Note::SoftdepMissing { module, wanted }),
            Err(error) => self.refuse(Reason::Unreadable(error)),
        }
    }

    /// Looks at `name`, which `module` needs or would like to have before it.
    fn follow(&mut self, edge: Edge, module: &str, folder: Option<PathBuf>, name: &str) {
        let why = match edge {
            Edge::Hard | Edge::Request => Why::DependencyOf { module: module.to_owned() },
            Edge::Soft => Why::SoftdepOf { module: module.to_owned(), before: true },
        };
        // A dependency is a module's name and never an alias; a wish may be either.
        let found = match self.resolve(name, edge == Edge::Soft) {
            Ok(found) => found,
            Err(error) => {
                self.refuse(Reason::Unreadable(error));
                return;
            }
        };
        match found {
            Target::Files(files) => {
                let mut files = files.into_iter().map(|(_, file)| file);
                let Some(file) = files.next() else { return };
                // The other modules of an alias come after the first one and all that it needs.
                if let Some(frame) = self.stack.last_mut() {
                    files.rev().for_each(|file| frame.needs.push_front((edge, file.name)));
                }
                self.open_or_take(&file, why, edge, module);
            }
            Target::Builtin(name) => {
                if edge == Edge::Soft {
                    self.note(Note::Builtin { name });
                }
            }
            Target::Absent if edge == Edge::Soft => {
                self.note(Note::SoftdepMissing { module: module.to_owned(), wanted: name.to_owned() });
            }
            Target::Absent => self.follow_in_folder(module, folder, name, why),
        }
    }

    /// Looks for `name` beside the file of `module`, which needs it: the last place.
    fn follow_in_folder(&mut self, module: &str, folder: Option<PathBuf>, name: &str, why: Why) {
        let normal = normalise(name).into_owned();
        let beside = folder.as_ref().and_then(|folder| self.beside(folder, &normal));
        match beside {
            Some(path) => self.open_or_take(&ModuleFile { name: normal, path }, why, Edge::Hard, module),
            None => {
                let reason = Reason::DependencyMissing {
                    module: module.to_owned(),
                    dependency: name.to_owned(),
                    tree: self.tree(),
                    folder,
                    nearest: self.nearest(name),
                };
                self.fail(reason);
            }
        }
    }

    /// Takes a module that `module` needs, unless it waits for `module` itself.
    fn open_or_take(&mut self, file: &ModuleFile, why: Why, edge: Edge, module: &str) {
        match self.stack.iter().position(|open| open.module.name == file.name) {
            Some(place) => self.cycle(place, edge, module, &file.name),
            None => self.take(file, why, edge),
        }
    }

    /// The file of module `name` in `folder`.
    fn beside(&mut self, folder: &Path, name: &str) -> Option<PathBuf> {
        let modules = self.folders.entry(folder.to_owned()).or_insert_with(|| {
            // A file given without a folder is in the current one.
            let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let mut paths: Vec<_> = fs::read_dir(place)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| folder.join(entry.file_name()))
                .filter(|path| path.is_file())
                .collect();
            // Of crc7.ko and crc7.ko.xz the shorter name counts, whatever the order of the folder.
            paths.sort();
            let mut modules = HashMap::new();
            for path in paths {
                if let Some(name) = module_name(&path) {
                    modules.entry(name).or_insert(path);
                }
            }
            modules
        });
        modules.get(name).cloned()
    }

    /// `module` needs `wanted`, the module at `place` of the stack, which waits for it.
    fn cycle(&mut self, place: usize, edge: Edge, module: &str, wanted: &str) {
        if edge == Edge::Soft {
            self.note(Note::SoftdepCycle { module: module.to_owned(), wanted: wanted.to_owned() });
            return;
        }
        // The edge into the first of them is not part of the circle.
        let around = self.stack.iter().enumerate().skip(place + 1);
        let soft = around.rev().find(|(_, frame)| frame.edge == Edge::Soft).map(|(place, _)| place);
        match soft {
            // The circle goes through a wish. It is granted later, when what it needs is there.
            Some(place) => {
                let wanted = self.stack.get(place).map(|frame| frame.module.name.clone()).unwrap_or_default();
                if let Some(Why::SoftdepOf { module, before }) = self.abandon(place) {
                    self.note(Note::SoftdepCycle { module: module.clone(), wanted: wanted.clone() });
                    self.later.push_back(Wish { module, wanted, before });
                }
            }
            None => {
                let open = self.stack.get(place..).unwrap_or_default();
                let members = open.iter().map(|frame| frame.module.name.clone()).collect();
                self.fail(Reason::Cycle { members });
            }
        }
    }

    /// What the last module of the stack needs is planned: so is the module.
    fn finish(&mut self) {
        let Some(Frame { module, why, after, .. }) = self.stack.pop() else {
            return;
        };
        let Module { name, path, bytes } = module;
        for wanted in after {
            self.later.push_back(Wish { module: name.clone(), wanted, before: false });
        }
        self.planned.insert(name.clone());
        self.loads.push(Load { name, path, bytes, why });
    }
}
