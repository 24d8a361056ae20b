//! What a directive stops, and what it does not.

use ferrmod_config::{Entry, Kind, Place};

use super::command::{Command, classify};
use super::origin;
use crate::check::Origin;

/// A directive that may keep a module out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Directive {
    /// `blacklist` in modprobe.d.
    Blacklist,
    /// `modprobe.blacklist=` on the kernel's command line: the same.
    ModprobeBlacklist,
    /// `install` with a command that loads nothing.
    InstallNothing,
    /// `install` with a command that may load something.
    InstallCommand,
    /// `mask`, in modprobe.d or as `modprobe.mask=`.
    Mask,
    /// `allow`, in modprobe.d or as `modprobe.allow=`: it keeps out what it does not name.
    Allow,
    /// `module_blacklist=` on the kernel's command line.
    ModuleBlacklist,
    /// `kernel.modules_disabled`, or `nomodule`.
    ModulesDisabled,
    /// `rd.driver.blacklist=`, which dracut's initramfs reads.
    DriverBlacklist,
}

/// A way into the kernel that a directive stops or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Door {
    /// A device that is present, through udev.
    Devices,
    /// A request of the kernel for one of its aliases.
    Requests,
    /// `modprobe ALIAS`.
    Aliases,
    /// `modprobe -b NAME`.
    NameWithBlacklist,
    /// modules-load.d and `modules_load=`, through systemd.
    ModulesLoad,
    /// `modprobe NAME`.
    Name,
    /// `modprobe -i NAME`.
    IgnoreInstall,
    /// A module that needs it.
    Dependencies,
    /// A softdep of another module.
    Softdeps,
    /// An `install` line of another module that names it.
    Commands,
    /// `insmod FILE`, and any program that calls finit_module(2).
    File,
    /// The initramfs, while its copy of modprobe.d is an older one.
    Initramfs,
    /// kmod's own modprobe, and what uses libkmod (systemd, udev), which do not know the word.
    Kmod,
    /// Everything once the initramfs is left.
    AfterInitramfs,
    /// What is loaded already, and what is built in.
    Present,
}

impl Door {
    /// It in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Door::Devices => "devices",
            Door::Requests => "the kernel's requests for an alias",
            Door::Aliases => "modprobe ALIAS",
            Door::NameWithBlacklist => "modprobe -b NAME",
            Door::ModulesLoad => "modules-load.d and modules_load= (systemd)",
            Door::Name => "modprobe NAME",
            Door::IgnoreInstall => "modprobe -i NAME",
            Door::Dependencies => "modules that need it",
            Door::Softdeps => "softdeps of other modules",
            Door::Commands => "install lines of other modules",
            Door::File => "insmod FILE",
            Door::Initramfs => "an initramfs that was made before",
            Door::Kmod => "kmod's modprobe, udev and systemd (they do not know the word)",
            Door::AfterInitramfs => "anything after the initramfs",
            Door::Present => "what is loaded or built in",
        }
    }
}

/// Whether a directive counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "in_force", rename_all = "snake_case"))]
pub enum Force {
    /// It does.
    Yes,
    /// A line before it is the one that counts.
    Earlier {
        /// That line.
        line: Origin,
    },
    /// The module has soft dependencies, with which kmod does not run its `install` line.
    Softdeps {
        /// The line with the soft dependencies.
        line: Origin,
    },
    /// Everybody may write to the file, so that its commands are not run; the module is not loaded instead either.
    Untrusted,
}

/// What a directive stops, and what it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Effect {
    /// What it is.
    pub directive: Directive,
    /// Where it stands, and its words.
    pub origin: Origin,
    /// Whether it counts.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub force: Force,
    /// What it stops.
    pub stops: &'static [Door],
    /// What it does not stop.
    pub passes: &'static [Door],
}

const ALIASES: &[Door] = &[Door::Devices, Door::Requests, Door::Aliases, Door::ModulesLoad, Door::NameWithBlacklist];
const NOT_ALIASES: &[Door] =
    &[Door::Name, Door::Dependencies, Door::Softdeps, Door::Commands, Door::File, Door::Initramfs, Door::Present];
/// The initramfs has the same command line.
const NOT_ALIASES_AT_BOOT: &[Door] =
    &[Door::Name, Door::Dependencies, Door::Softdeps, Door::Commands, Door::File, Door::Present];
const MODPROBE: &[Door] = &[
    Door::Devices,
    Door::Requests,
    Door::Aliases,
    Door::ModulesLoad,
    Door::Name,
    Door::Dependencies,
    Door::Softdeps,
    Door::Commands,
];
const NOT_MODPROBE: &[Door] = &[Door::File, Door::IgnoreInstall, Door::Initramfs, Door::Present];
const OWN_MODPROBE: &[Door] = &[
    Door::Requests,
    Door::Aliases,
    Door::Name,
    Door::IgnoreInstall,
    Door::Dependencies,
    Door::Softdeps,
    Door::Commands,
];
const NOT_OWN_MODPROBE: &[Door] = &[Door::Kmod, Door::File, Door::Initramfs, Door::Present];
const EVERYTHING: &[Door] = &[
    Door::Devices,
    Door::Requests,
    Door::Aliases,
    Door::ModulesLoad,
    Door::Name,
    Door::Dependencies,
    Door::Softdeps,
    Door::Commands,
    Door::File,
    Door::Initramfs,
];
const PRESENT: &[Door] = &[Door::Present];
const EARLY: &[Door] = &[Door::Initramfs];
const LATER: &[Door] = &[Door::AfterInitramfs];

impl Directive {
    /// What it stops, and what it does not.
    #[must_use]
    pub fn reach(self) -> (&'static [Door], &'static [Door]) {
        match self {
            Directive::Blacklist => (ALIASES, NOT_ALIASES),
            Directive::ModprobeBlacklist => (ALIASES, NOT_ALIASES_AT_BOOT),
            Directive::InstallNothing | Directive::InstallCommand => (MODPROBE, NOT_MODPROBE),
            Directive::Mask | Directive::Allow => (OWN_MODPROBE, NOT_OWN_MODPROBE),
            Directive::ModuleBlacklist => (EVERYTHING, PRESENT),
            Directive::ModulesDisabled => (EVERYTHING, PRESENT),
            Directive::DriverBlacklist => (EARLY, LATER),
        }
    }

    /// What a line of modprobe.d or a word of the command line is; `None` for a kind that keeps nothing out.
    #[must_use]
    pub fn of(entry: &Entry<'_>) -> Option<Directive> {
        Some(match (entry.kind, entry.origin.place) {
            (Kind::Blacklist, Place::CommandLine) => Directive::ModprobeBlacklist,
            (Kind::Blacklist, Place::File(_)) => Directive::Blacklist,
            (Kind::Install, _) => match classify(entry.value) {
                Command::Nothing { .. } => Directive::InstallNothing,
                Command::Loads | Command::Unknown => Directive::InstallCommand,
            },
            (Kind::Mask, _) => Directive::Mask,
            (Kind::Allow, _) => Directive::Allow,
            _ => return None,
        })
    }
}

impl Effect {
    /// The effect of a directive that stands at `origin`.
    #[must_use]
    pub fn new(directive: Directive, origin: Origin) -> Effect {
        let (stops, passes) = directive.reach();
        Effect { directive, origin, force: Force::Yes, stops, passes }
    }

    /// The effect of a line of modprobe.d or a word of the command line; `None` for a kind that keeps nothing out.
    #[must_use]
    pub fn of(entry: &Entry<'_>) -> Option<Effect> {
        let mut effect = Effect::new(Directive::of(entry)?, origin(entry));
        if entry.kind == Kind::Install && !entry.origin.trusted {
            effect.force = Force::Untrusted;
        }
        Some(effect)
    }
}
