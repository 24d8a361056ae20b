//! What modprobe and libkmod would make of a name: whether this module is loaded by it.

use std::rc::Rc;

use bstr::{BStr, ByteSlice};
use ferrmod_config::{Entry, Kind};

use super::command::{Command, classify};
use super::hindrance::{Condition, Hindrance};
use super::origin;
use crate::kmod::{Action, Asked, Forbidden, How, Module, Modules, Probe, Step, Terms};

/// Who looks the name up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    /// modprobe, taken to be this project's.
    Modprobe,
    /// libkmod, which knows neither `mask` nor `allow`: udev, systemd.
    Libkmod,
}

/// What stands in the way, and what it depends on when nothing does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) hindrances: Vec<Hindrance>,
    pub(super) conditions: Vec<Condition>,
}

impl Outcome {
    pub(super) fn blocked(hindrance: Hindrance) -> Outcome {
        Outcome { hindrances: vec![hindrance], conditions: Vec::new() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.hindrances.is_empty()
    }

    pub(super) fn add(&mut self, other: Outcome) {
        for hindrance in other.hindrances {
            // What depmod did not write of one name it did not write of the next one.
            let unknown = |one: &Hindrance| matches!(one, Hindrance::NotIndexed { .. });
            let again = unknown(&hindrance) && self.hindrances.iter().any(unknown);
            if !again && !self.hindrances.contains(&hindrance) {
                self.hindrances.push(hindrance);
            }
        }
        for condition in other.conditions {
            if !self.conditions.contains(&condition) {
                self.conditions.push(condition);
            }
        }
    }
}

fn text(name: &BStr) -> String {
    name.to_str_lossy().into_owned()
}

fn forbidden(forbidden: Forbidden<'_>) -> Hindrance {
    match forbidden {
        Forbidden::Masked(entry) => Hindrance::Masked { origin: origin(&entry) },
        Forbidden::NotAllowed(entry) => Hindrance::NotAllowed { origin: origin(&entry) },
    }
}

/// Whether this modprobe would not run the command of a line, where it is the system's own: of a line of another system nobody here
/// would, which says nothing of that system.
pub(super) fn is_untrusted(modules: &Modules<'_>, entry: &Entry<'_>) -> bool {
    modules.indexes.root().is_host() && !entry.origin.trusted
}

/// What an `install` line means for the module that it is run instead of. libkmod runs it whoever may write to its file.
fn install(modules: &Modules<'_>, module: &BStr, entry: &Entry<'_>, through: Through) -> Outcome {
    let origin = origin(entry);
    if is_untrusted(modules, entry) && through == Through::Modprobe {
        return Outcome::blocked(Hindrance::UntrustedInstall { origin });
    }
    match classify(entry.value) {
        Command::Nothing { fails } => Outcome::blocked(Hindrance::Install { origin, fails }),
        Command::Loads | Command::Unknown => {
            let condition = Condition::Command { module: text(module), origin };
            Outcome { hindrances: Vec::new(), conditions: vec![condition] }
        }
    }
}

/// What stands about a module of this name, whoever asks for it and however.
pub(super) fn about(modules: &Modules<'_>, name: &BStr, through: Through) -> Outcome {
    let mut outcome = Outcome::default();
    if through == Through::Modprobe {
        if let Some(why) = modules.forbidden(name) {
            outcome.hindrances.push(forbidden(why));
        }
        if let ferrmod_config::Allowed::By(entry) = modules.config.allowed(name) {
            outcome.conditions.push(Condition::Allowed { origin: origin(&entry) });
        }
    }
    if let Some(entry) = modules.install_command(name) {
        outcome.add(install(modules, name, &entry, through));
    }
    outcome
}

/// What becomes of the module `wanted` when `word` is asked for; `always` when the blacklist counts for names as for aliases.
pub(super) fn ask(modules: &Modules<'_>, word: &BStr, wanted: &BStr, always: bool, through: Through) -> Outcome {
    let found = modules.look_up(word);
    let Some(module) = found.iter().find(|module| module.name == wanted) else {
        return Outcome::blocked(not_found(modules, word, &found));
    };
    let terms = Terms { use_blacklist: always, ignore_commands: false };
    match modules.probe(module, terms) {
        Asked::Blacklisted(entry) => Outcome::blocked(Hindrance::Blacklist { origin: origin(&entry) }),
        Asked::Probe(probe) => steps(modules, &probe, wanted, through),
    }
}

/// What becomes of the module when another one needs it: the blacklist does not count.
pub(super) fn needed(modules: &Modules<'_>, wanted: &BStr) -> Outcome {
    match modules.probe(&modules.named(wanted, How::Dependency), Terms::default()) {
        Asked::Blacklisted(entry) => Outcome::blocked(Hindrance::Blacklist { origin: origin(&entry) }),
        Asked::Probe(probe) => steps(modules, &probe, wanted, Through::Modprobe),
    }
}

/// What becomes of the module when another one wishes `word`: the blacklist does not count, by whatever name.
pub(super) fn wished(modules: &Modules<'_>, word: &BStr, wanted: &BStr) -> Outcome {
    let found = modules.look_up(word);
    if found.iter().any(|module| module.name == wanted) {
        needed(modules, wanted)
    } else {
        Outcome::blocked(not_found(modules, word, &found))
    }
}

/// Why a name does not stand for the module.
fn not_found(modules: &Modules<'_>, word: &BStr, found: &[Rc<Module<'_>>]) -> Hindrance {
    let Some(first) = found.first() else {
        return Hindrance::NotIndexed { name: text(word), folder: modules.shown().display().to_string() };
    };
    let origin = match &first.how {
        How::ConfiguredAlias(entry) | How::Command(entry) => Some(origin(entry)),
        _ => None,
    };
    Hindrance::Taken {
        name: text(word),
        modules: found.iter().map(|module| text(module.name.as_bstr())).collect(),
        origin,
    }
}

/// What stands in the way of the steps that the load takes.
fn steps(modules: &Modules<'_>, probe: &Probe<'_>, wanted: &BStr, through: Through) -> Outcome {
    let mut outcome = Outcome::default();
    for missing in &probe.missing {
        outcome.hindrances.push(Hindrance::DependencyMissing {
            module: text(missing.module.as_bstr()),
            file: missing.file.shown.display().to_string(),
        });
    }
    for step in probe.steps.iter().filter(|step| step.required) {
        let name = step.module.name.as_bstr();
        let own = name == wanted;
        let mut of_step = about(modules, name, through);
        of_step.hindrances.extend(absent(modules, step));
        if !own {
            of_step.conditions.retain(|condition| matches!(condition, Condition::Command { .. }));
            let needs = |hindrance| Hindrance::Needs { module: text(name), hindrance: Box::new(hindrance) };
            of_step.hindrances = of_step.hindrances.into_iter().map(needs).collect();
        }
        outcome.add(of_step);
    }
    outcome
}

/// Whether there is nothing to load in a step.
fn absent(modules: &Modules<'_>, step: &Step<'_>) -> Option<Hindrance> {
    matches!(step.action, Action::Absent).then(|| Hindrance::NoFile { folder: modules.shown().display().to_string() })
}

/// The lines of a kind whose name matches the module, in their order.
pub(super) fn lines<'c>(modules: &Modules<'c>, kind: Kind, module: &BStr) -> Vec<Entry<'c>> {
    let config: &'c ferrmod_config::Config = modules.config;
    let exact = kind == Kind::Blacklist;
    let matches = |entry: &Entry<'_>| {
        if exact { entry.name == module } else { ferrmod_image::fnmatch(entry.name, module) }
    };
    config.entries(kind).filter(matches).collect()
}
