//! What stands in the way of a path, what it depends on, and why there is none.

use crate::check::{Origin, Reason};

/// What blocks a path.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "by", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Hindrance {
    /// This line blacklists it.
    Blacklist {
        /// The line.
        origin: Origin,
    },
    /// This `install` line runs a command instead, which loads nothing.
    Install {
        /// The line.
        origin: Origin,
        /// Whether the command fails, so that what needs the module is not loaded either.
        fails: Option<bool>,
    },
    /// The command of this `install` line is not run, because everybody may write to its file.
    UntrustedInstall {
        /// The line.
        origin: Origin,
    },
    /// This `mask` line names it.
    Masked {
        /// The line.
        origin: Origin,
    },
    /// There are `allow` lines, of which this is the first, and none names it.
    NotAllowed {
        /// The line.
        origin: Origin,
    },
    /// The name stands for something else before it would stand for this module.
    Taken {
        /// The name.
        name: String,
        /// The modules that it stands for.
        modules: Vec<String>,
        /// The line that says so, if it is one.
        origin: Option<Origin>,
    },
    /// modprobe finds nothing by this name in what depmod wrote.
    NotIndexed {
        /// The name.
        name: String,
        /// The folder of the modules.
        folder: String,
    },
    /// There is no module file of it.
    NoFile {
        /// The folder of the modules.
        folder: String,
    },
    /// A file of a module that has to come before is not there.
    DependencyMissing {
        /// The module.
        module: String,
        /// Its file, as modules.dep names it.
        file: String,
    },
    /// A module that has to come before is blocked.
    Needs {
        /// The module.
        module: String,
        /// Why.
        hindrance: Box<Hindrance>,
    },
    /// The module for whose sake it would be loaded is blocked.
    For {
        /// That module.
        module: String,
        /// Why.
        hindrance: Box<Hindrance>,
    },
    /// The kernel calls no modprobe.
    NoModprobe {
        /// Where that stands.
        origin: Origin,
    },
    /// dracut is told not to load it.
    DriverBlacklist {
        /// Where that stands.
        origin: Origin,
    },
    /// systemd takes the whole line for a name, and there is no such module.
    LineIsNoName {
        /// What follows the first word.
        rest: String,
    },
    /// The kernel would refuse the file.
    Kernel {
        /// Why.
        #[cfg_attr(feature = "serde", serde(flatten))]
        reason: Box<Reason>,
    },
}

/// What an open path still depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "condition", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Condition {
    /// A command is run instead of loading this module: what it does is its affair.
    Command {
        /// The module.
        module: String,
        /// The `install` line.
        origin: Origin,
    },
    /// These modules have to be loaded before, and nobody does it.
    After {
        /// The modules, in the order in which they load.
        modules: Vec<String>,
    },
    /// This line does not count there, because the copy in the initramfs has not got it.
    StaleInitramfs {
        /// The line.
        origin: Origin,
    },
    /// This `allow` line lets it in.
    Allowed {
        /// The line.
        origin: Origin,
    },
}

/// Why there is no such path here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "absence", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Absence {
    /// No device asks for any of its aliases.
    NoDevice {
        /// How many aliases of devices it has.
        aliases: usize,
        /// How many devices there are; `None` when nobody could look.
        devices: Option<usize>,
    },
    /// No initramfs was found.
    NoInitramfs {
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// The initramfs cannot be read.
    UnreadableInitramfs {
        /// What is wrong with it.
        problem: String,
    },
    /// It is not in the initramfs.
    NotInInitramfs,
    /// It is in the initramfs, and nothing there asks for it.
    NothingAsks,
    /// It would only be copied into an initramfs: modprobe never loads what a weakdep names.
    Weakdep,
    /// The module that wishes it is not there.
    NoParent,
}
