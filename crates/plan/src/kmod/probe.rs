//! What loading a module takes.

use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_config::{Allowed, Entry};

use super::look_up::name_of_path;
use super::{File, How, Live, LiveState, Module, Modules};

/// Under which terms a module is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// The blacklist counts for names too, and not for aliases only (`-b`).
    pub use_blacklist: bool,
    /// The `install` line and the soft dependencies of the module that is asked for do not count (`-i`).
    pub ignore_commands: bool,
}

/// What becomes of a wish to load a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<'c> {
    /// These steps.
    Probe(Probe<'c>),
    /// Nothing, and that is no failure: this line says so.
    Blacklisted(Entry<'c>),
}

/// The steps that load one module, the first one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe<'c> {
    /// The steps. A module may come more than once.
    pub steps: Vec<Step<'c>>,
    /// Files that `modules.dep` names and that are not there: of this module, the error. What the module needs is then not known at all.
    pub missing: Vec<Missing>,
}

/// A dependency whose file is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The module that needs it.
    pub module: BString,
    /// The file.
    pub file: File,
    /// What the system says.
    pub error: io::ErrorKind,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'c> {
    /// The module.
    pub module: Rc<Module<'c>>,
    /// What is done with it.
    pub action: Action<'c>,
    /// Why it is there.
    pub reason: Reason<'c>,
    /// Whether it is the module that was asked for; it may come again because something around it needs it.
    pub target: bool,
    /// Whether everything ends when it fails: it is the module that is asked for, or needed by it.
    pub required: bool,
    /// The lines with its options.
    pub options: Vec<Entry<'c>>,
}

/// What is done in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'c> {
    /// The file is loaded.
    Insert(File),
    /// The command of this `install` line is run instead.
    Run(Entry<'c>),
    /// Nothing: it is built in.
    Builtin,
    /// There is no such module.
    Absent,
    /// It must not be loaded.
    Forbidden(Forbidden<'c>),
}

/// Why a module must not be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden<'c> {
    /// This `mask` line names it.
    Masked(Entry<'c>),
    /// There are `allow` lines, of which this is the first, and none names it.
    NotAllowed(Entry<'c>),
}

/// Why a module is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason<'c> {
    /// It is what was asked for.
    Asked,
    /// This module needs it.
    NeededBy(BString),
    /// This module would like to have it, by this line.
    SoftdepOf {
        /// The module.
        module: BString,
        /// Whether before that module.
        before: bool,
        /// The line.
        entry: Entry<'c>,
    },
}

/// What is still to be done.
enum Task<'c> {
    /// The module and everything around it, unless that was done before.
    Whole(Rc<Module<'c>>, Reason<'c>, bool),
    /// The module and its soft dependencies.
    WithSoftdeps(Rc<Module<'c>>, Reason<'c>),
    /// All modules of a name.
    Name(&'c BStr, Reason<'c>),
    /// The module alone.
    Alone(Rc<Module<'c>>, Reason<'c>),
}

impl<'c> Step<'c> {
    /// The texts of the options with a space between them, as the module gets them.
    #[must_use]
    pub fn options_text(&self) -> BString {
        bstr::join(" ", self.options.iter().map(|entry| entry.value)).into()
    }
}

impl<'c> Modules<'c> {
    /// What it takes to load `module`.
    #[must_use]
    pub fn probe(&self, module: &Rc<Module<'c>>, terms: Terms) -> Asked<'c> {
        if let Some(entry) = self.blacklisted(module, terms.use_blacklist) {
            return Asked::Blacklisted(entry);
        }
        let mut walk = Walk {
            modules: self,
            target: module.clone(),
            ignore_commands: terms.ignore_commands,
            tasks: vec![Task::Whole(module.clone(), Reason::Asked, true)],
            seen: HashSet::new(),
            required: HashSet::new(),
            names: HashMap::new(),
            missing: Vec::new(),
            done: Vec::new(),
        };
        walk.run();
        let (required, missing) = (&walk.required, walk.missing);
        let steps = walk
            .done
            .into_iter()
            .map(|(module, reason)| {
                let target = module.is_same(&walk.target);
                let options = self.config.options(&module.name, module.alias.as_ref().map(|alias| alias.as_slice()));
                Step {
                    action: self.action(&module, target && terms.ignore_commands),
                    required: required.contains(&key(&module)),
                    target,
                    options: options.collect(),
                    module,
                    reason,
                }
            })
            .collect();
        Asked::Probe(Probe { steps, missing })
    }

    /// The line that keeps `module` from being loaded: only what was found by an alias, unless `names` count as well.
    #[must_use]
    pub fn blacklisted(&self, module: &Module<'_>, names: bool) -> Option<Entry<'c>> {
        let config: &'c _ = self.config;
        (names || module.alias.is_some()).then(|| config.blacklist(&module.name)).flatten()
    }

    /// Why `name` must not be loaded, if it must not.
    #[must_use]
    pub fn forbidden(&self, name: &BStr) -> Option<Forbidden<'c>> {
        let config: &'c _ = self.config;
        if let Some(entry) = config.mask(name) {
            return Some(Forbidden::Masked(entry));
        }
        match config.allowed(name) {
            Allowed::No(entry) => Some(Forbidden::NotAllowed(entry)),
            Allowed::All | Allowed::By(_) => None,
        }
    }

    /// The `install` line that counts for `name`. A module with soft dependencies has none.
    #[must_use]
    pub fn install_command(&self, name: &BStr) -> Option<Entry<'c>> {
        let config: &'c _ = self.config;
        let entry = config.install(name)?;
        (!self.has_softdeps(name)).then_some(entry)
    }

    /// The `remove` line that counts for `name`. A module with soft dependencies has none.
    #[must_use]
    pub fn remove_command(&self, name: &BStr) -> Option<Entry<'c>> {
        let config: &'c _ = self.config;
        let entry = config.remove(name)?;
        (!self.has_softdeps(name)).then_some(entry)
    }

    fn has_softdeps(&self, name: &BStr) -> bool {
        self.config.soft_dependencies(name).is_some_and(|soft| !soft.pre.is_empty() || !soft.post.is_empty())
    }

    /// What is done to load `module` alone.
    fn action(&self, module: &Module<'c>, ignore_command: bool) -> Action<'c> {
        let name = module.name.as_bstr();
        if let Some(forbidden) = self.forbidden(name) {
            return Action::Forbidden(forbidden);
        }
        if !ignore_command && let Some(entry) = self.install_command(name) {
            return Action::Run(entry);
        }
        match &module.file {
            Some(file) => Action::Insert(file.clone()),
            None if is_found_builtin(module) || self.is_builtin(name) => Action::Builtin,
            None => Action::Absent,
        }
    }

    /// The state of a module that was found: as [`Modules::state`], and built in if it was found so.
    #[must_use]
    pub fn state_of(&self, module: &Module<'_>, live: &dyn Live) -> State {
        if is_found_builtin(module) { State::Builtin } else { self.state(module.name.as_bstr(), live) }
    }

    /// The state of the module of this name: built in as the tree knows it, else as the kernel says.
    #[must_use]
    pub fn state(&self, name: &BStr, live: &dyn Live) -> State {
        if self.is_builtin(name) {
            return State::Builtin;
        }
        match live.state(name) {
            LiveState::Absent => State::Absent,
            LiveState::Live => State::Live,
            LiveState::Going => State::Going,
            LiveState::Coming | LiveState::Unsaid => State::Coming,
        }
    }
}

/// The state of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is not there.
    Absent,
    /// It is a part of the kernel.
    Builtin,
    /// It works.
    Live,
    /// It is being loaded.
    Coming,
    /// It is being taken out.
    Going,
}

impl State {
    /// Whether there is nothing left to load.
    #[must_use]
    pub fn is_in_kernel(self) -> bool {
        matches!(self, State::Builtin | State::Live)
    }
}

/// Whether it was looked up among what is built in. Its aliases may name what the list does not.
fn is_found_builtin(module: &Module<'_>) -> bool {
    matches!(module.how, How::Builtin | How::BuiltinAlias(_))
}

/// What kmod takes for one module.
fn key(module: &Module<'_>) -> (BString, Option<BString>) {
    (module.name.clone(), module.alias.clone())
}

struct Walk<'w, 'c> {
    modules: &'w Modules<'c>,
    target: Rc<Module<'c>>,
    ignore_commands: bool,
    /// The next one last. Not recursion: a configuration may be as deep as it likes.
    tasks: Vec<Task<'c>>,
    seen: HashSet<(BString, Option<BString>)>,
    required: HashSet<(BString, Option<BString>)>,
    names: HashMap<&'c BStr, Vec<Rc<Module<'c>>>>,
    missing: Vec<Missing>,
    done: Vec<(Rc<Module<'c>>, Reason<'c>)>,
}

impl<'c> Walk<'_, 'c> {
    fn run(&mut self) {
        while let Some(task) = self.tasks.pop() {
            let next = match task {
                Task::Whole(module, reason, required) => self.whole(module, reason, required),
                Task::WithSoftdeps(module, reason) => self.with_softdeps(module, reason),
                Task::Name(name, reason) => self.name(name, &reason),
                Task::Alone(module, reason) => {
                    self.done.push((module, reason));
                    continue;
                }
            };
            self.tasks.extend(next.into_iter().rev());
        }
    }

    fn whole(&mut self, module: Rc<Module<'c>>, reason: Reason<'c>, required: bool) -> Vec<Task<'c>> {
        if !self.seen.insert(key(&module)) {
            return Vec::new();
        }
        if required {
            self.required.insert(key(&module));
        }
        let mut tasks = Vec::new();
        for need in self.needs(&module) {
            if required {
                self.required.insert(key(&need));
            }
            tasks.push(Task::WithSoftdeps(need, Reason::NeededBy(module.name.clone())));
        }
        let is_target = Rc::ptr_eq(&module, &self.target);
        tasks.push(if is_target && self.ignore_commands {
            Task::Alone(module, reason)
        } else {
            Task::WithSoftdeps(module, reason)
        });
        tasks
    }

    fn needs(&mut self, module: &Module<'c>) -> Vec<Rc<Module<'c>>> {
        let mut needs = Vec::with_capacity(module.needs.len());
        for file in &module.needs {
            if let Err(error) = self.modules.indexes.stat(&file.inside) {
                let error = error.kind();
                self.missing.push(Missing { module: module.name.clone(), file: file.clone(), error });
                return Vec::new();
            }
            needs.push(Rc::new(Module {
                name: name_of_path(&file.inside),
                alias: None,
                how: How::Dependency,
                file: Some(file.clone()),
                needs: Vec::new(),
            }));
        }
        needs
    }

    fn with_softdeps(&mut self, module: Rc<Module<'c>>, reason: Reason<'c>) -> Vec<Task<'c>> {
        let config: &'c _ = self.modules.config;
        let Some(soft) = config.soft_dependencies(&module.name) else {
            return vec![Task::Alone(module, reason)];
        };
        let name = module.name.clone();
        let of = |before: bool| {
            let name = name.clone();
            move |wish: ferrmod_config::Dependency<'c>| {
                Task::Name(wish.name, Reason::SoftdepOf { module: name.clone(), before, entry: wish.entry })
            }
        };
        let before: Vec<_> = soft.pre.into_iter().map(of(true)).collect();
        let after: Vec<_> = soft.post.into_iter().map(of(false)).collect();
        let mut tasks = before;
        tasks.push(Task::Alone(module, reason));
        tasks.extend(after);
        tasks
    }

    fn name(&mut self, name: &'c BStr, reason: &Reason<'c>) -> Vec<Task<'c>> {
        let found = self.names.entry(name).or_insert_with(|| self.modules.look_up(name));
        found.iter().map(|module| Task::Whole(module.clone(), reason.clone(), false)).collect()
    }
}
