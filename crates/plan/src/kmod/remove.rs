//! What removing a module takes.
//!
//! Unlike loading, this cannot be listed beforehand: whether a dependency may go depends on what went before it. So the steps come one
//! by one, each a value, to somebody who does it (or only writes it down) and says how it ended.

use std::collections::HashSet;
use std::rc::Rc;

use bstr::{BStr, BString, ByteSlice};
use ferrmod_config::Entry;

use super::look_up::name_of_path;
use super::probe::State;
use super::{How, Live, Module, Modules};

/// The most modules that wait for each other. More than any kernel loads in a row.
const DEEPEST: usize = 256;

/// Under which terms a module is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovalTerms {
    /// The modules that use it go first (`--remove-holders`).
    pub holders: bool,
    /// The `remove` line and the soft dependencies of the module that is asked for do not count (`-i`).
    pub ignore_commands: bool,
    /// That it is in use is no reason not to try: somebody waits until it is not (`--wait`).
    pub wait: bool,
    /// That it is not loaded is a failure (`--first-time`).
    pub first_time: bool,
    /// Whether it is loaded, built in or in use is not asked: what would be done if it could (`-D`).
    pub pretend: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remove<'c> {
    /// The module's name.
    pub name: BString,
    /// What is done.
    pub action: RemoveAction<'c>,
    /// Why.
    pub reason: RemoveReason<'c>,
}

/// What is done in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveAction<'c> {
    /// The kernel is asked to remove it.
    Delete,
    /// The command of this `remove` line is run instead.
    Run(Entry<'c>),
}

/// Why a module is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoveReason<'c> {
    /// It is what was asked for.
    Asked,
    /// It uses this module, which is to go.
    HolderOf(BString),
    /// This module needed it, and nobody does any more.
    UnusedBy(BString),
    /// This module wished to have it, by this line.
    SoftdepOf {
        /// The module.
        module: BString,
        /// The line.
        entry: Entry<'c>,
    },
}

/// Why a module is not removed, though nobody tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is in use, by so many, of which these are modules.
    InUse {
        /// How often.
        references: i64,
        /// The modules.
        holders: Vec<BString>,
    },
    /// It is built in.
    Builtin,
    /// It is not loaded.
    NotLoaded,
    /// There is no such module.
    NotFound,
    /// More modules wait for each other than a kernel can have loaded.
    TooDeep,
}

/// Why a removal ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovalEnd<E> {
    /// Nobody tried.
    Kept {
        /// The module, which may be another than the one that was asked for.
        name: BString,
        /// Why.
        why: Kept,
    },
    /// A step failed.
    Failed(E),
}

/// Somebody who does the steps.
pub trait Remover<'c> {
    /// What goes wrong.
    type Error;

    /// Does it, or writes it down.
    ///
    /// # Errors
    /// When it did not work.
    fn remove(&mut self, step: &Remove<'c>) -> Result<(), Self::Error>;

    /// A module that was only wished for, or is not needed any more, stays, which is no failure of the whole.
    fn kept(&mut self, name: &BStr, why: &Kept, reason: &RemoveReason<'c>);

    /// A step failed, which is no failure of the whole.
    fn failed(&mut self, error: Self::Error);
}

impl<'c> Modules<'c> {
    /// Removes `module` and what goes with it, in kmod's order: the soft dependencies after it (the last one first), its holders
    /// when asked for, itself, what it needed and nobody uses any more, the soft dependencies before it (the last one first).
    ///
    /// # Errors
    /// Why `module` is still there. Failures of what is only wished for are none.
    pub fn removal<R: Remover<'c>>(
        &self,
        module: &Rc<Module<'c>>,
        terms: RemovalTerms,
        live: &dyn Live,
        remover: &mut R,
    ) -> Result<(), RemovalEnd<R::Error>> {
        let mut walk = Walk { modules: self, terms, live, remover, open: HashSet::new() };
        walk.module(module, RemoveReason::Asked)
    }
}

struct Walk<'w, 'c, R> {
    modules: &'w Modules<'c>,
    terms: RemovalTerms,
    live: &'w dyn Live,
    remover: &'w mut R,
    /// The modules that wait for others to go.
    open: HashSet<BString>,
}

impl<'c, R: Remover<'c>> Walk<'_, 'c, R> {
    fn module(&mut self, module: &Rc<Module<'c>>, reason: RemoveReason<'c>) -> Result<(), RemovalEnd<R::Error>> {
        let name = module.name.as_bstr();
        if self.open.len() >= DEEPEST {
            return Err(kept(name, Kept::TooDeep));
        }
        // Whoever waits for itself does so once.
        if !self.open.insert(name.into()) {
            return Ok(());
        }
        let ended = self.opened(module, reason);
        self.open.remove(name);
        ended
    }

    fn opened(&mut self, module: &Rc<Module<'c>>, reason: RemoveReason<'c>) -> Result<(), RemovalEnd<R::Error>> {
        let name = module.name.as_bstr();
        let asked = reason == RemoveReason::Asked;
        let config: &'c _ = self.modules.config;
        let ignore = asked && self.terms.ignore_commands;
        let command = if ignore { None } else { config.remove(name) };
        // What kmod does not ask when a command is to be run, or when all is only to be shown.
        let ask = command.is_none() && !self.terms.pretend;
        if ask {
            match self.modules.state_of(module, self.live) {
                State::Builtin => return Err(kept(name, Kept::Builtin)),
                State::Absent if asked && self.terms.first_time => return Err(kept(name, Kept::NotLoaded)),
                State::Absent => return Ok(()),
                State::Live | State::Coming | State::Going => {}
            }
        }
        let soft = if ignore { None } else { config.soft_dependencies(name) }.unwrap_or_default();
        for wish in soft.post.iter().rev() {
            self.wish(name, wish);
        }
        if self.terms.holders {
            // The last one first, as kmod does.
            for holder in self.live.holders(name).into_iter().rev() {
                let holder = self.modules.named(holder.as_bstr(), How::Name);
                self.module(&holder, RemoveReason::HolderOf(name.into()))?;
            }
        }
        if ask {
            // A holder may have taken it along, as a dependency that nobody used any more.
            if self.modules.state(name, self.live) == State::Absent {
                return Ok(());
            }
            let references = self.live.references(name).unwrap_or(0);
            // With `holders`, a dry run that asks the kernel itself still counts those that would have gone.
            if !self.terms.wait && references > 0 {
                let holders = self.live.holders(name);
                return Err(kept(name, Kept::InUse { references, holders }));
            }
        }
        let action = command.map_or(RemoveAction::Delete, RemoveAction::Run);
        self.step(name, action, reason)?;
        if command.is_none() {
            for need in &module.needs {
                self.unused(name, name_of_path(&need.inside).as_bstr());
            }
        }
        for wish in soft.pre.iter().rev() {
            self.wish(name, wish);
        }
        Ok(())
    }

    fn step(
        &mut self,
        name: &BStr,
        action: RemoveAction<'c>,
        reason: RemoveReason<'c>,
    ) -> Result<(), RemovalEnd<R::Error>> {
        self.remover.remove(&Remove { name: name.into(), action, reason }).map_err(RemovalEnd::Failed)
    }

    /// A dependency of `module`, which is gone: it goes alone, and only if nobody uses it.
    fn unused(&mut self, module: &BStr, name: &BStr) {
        if self.modules.state(name, self.live) != State::Live || self.live.references(name) != Some(0) {
            return;
        }
        let step = self.step(name, RemoveAction::Delete, RemoveReason::UnusedBy(module.into()));
        if let Err(RemovalEnd::Failed(error)) = step {
            self.remover.failed(error);
        }
    }

    /// A soft dependency of `module`: whatever happens to it is no failure.
    fn wish(&mut self, module: &BStr, wish: &ferrmod_config::Dependency<'c>) {
        let mut found = self.modules.look_up(wish.name);
        found.reverse();
        for wanted in found {
            let reason = RemoveReason::SoftdepOf { module: module.into(), entry: wish.entry };
            match self.module(&wanted, reason.clone()) {
                Ok(()) => {}
                Err(RemovalEnd::Kept { name, why }) => self.remover.kept(name.as_bstr(), &why, &reason),
                Err(RemovalEnd::Failed(error)) => self.remover.failed(error),
            }
        }
    }
}

fn kept<E>(name: &BStr, why: Kept) -> RemovalEnd<E> {
    RemovalEnd::Kept { name: name.into(), why }
}
