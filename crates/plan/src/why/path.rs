//! The paths of a module into the kernel.

use super::aliases::Group;
use super::effect::Effect;
use super::facts::{Judgement, Loaded, Reader};
use super::hindrance::{Absence, Condition, Hindrance};
use crate::check::Origin;

/// How a module could come to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "way", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Way {
    /// `modprobe NAME`.
    Name {
        /// The name.
        name: String,
    },
    /// `insmod FILE`.
    File {
        /// The file.
        file: String,
    },
    /// udev loads it for a device.
    Device {
        /// The device's folder; empty when there is none.
        device: String,
        /// What the device asks for.
        modalias: String,
        /// The module's pattern that matches.
        pattern: String,
        /// The driver that has the device now.
        driver: Option<String>,
    },
    /// The kernel asks for it when somebody needs what it offers.
    Request {
        /// The kind of names.
        #[cfg_attr(feature = "serde", serde(flatten))]
        group: Group,
        /// The names.
        aliases: Vec<String>,
    },
    /// `modprobe ALIAS`, by an `alias` line.
    Alias {
        /// The line's pattern.
        pattern: String,
    },
    /// A list of modules that is loaded at boot.
    List {
        /// Who reads it.
        reader: Reader,
        /// The name in it.
        name: String,
    },
    /// A word of the kernel's command line.
    CommandLine {
        /// The key: `modules_load`, `rd.driver.pre`.
        key: String,
        /// Who reads it.
        reader: &'static str,
    },
    /// Another module wishes it.
    Softdep {
        /// That module, or the line's pattern.
        module: String,
        /// Whether it is to come before that module.
        before: bool,
        /// The name in the line.
        name: String,
    },
    /// Another module may want it while it runs.
    Weakdep {
        /// That module.
        module: String,
    },
    /// Other modules need it.
    Dependency {
        /// Those that need it themselves.
        direct: Vec<String>,
        /// How many need it, directly or not.
        total: usize,
    },
    /// The command of an `install` line of another module.
    Command {
        /// That module, or the line's pattern.
        module: String,
    },
    /// The initramfs.
    Initramfs {
        /// The file; empty when there is none.
        file: String,
        /// Its path in it.
        member: Option<String>,
        /// Who asks for it there.
        asked_by: Vec<String>,
    },
    /// Somebody opens a device node that was made beforehand.
    Node {
        /// The node.
        node: String,
        /// What the kernel then asks for.
        alias: String,
    },
}

/// What becomes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Verdict {
    /// The module can be loaded by it.
    Open,
    /// Something is in the way.
    Blocked,
    /// There is no such path here.
    Absent,
}

/// One path, and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Path {
    /// How.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub way: Way,
    /// Whether it needs no administrator's command: it happens at boot, for a device, or on a program's request.
    pub automatic: bool,
    /// Whether it is open.
    pub verdict: Verdict,
    /// The line that makes the path, where it is one.
    pub origin: Option<Origin>,
    /// What blocks it; empty when it is not blocked.
    pub blocked_by: Vec<Hindrance>,
    /// What it depends on, or what lets it in.
    pub conditions: Vec<Condition>,
    /// Why there is no such path.
    pub absent: Option<Absence>,
}

/// What is worth knowing besides.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "note", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Note {
    /// A line of modprobe.d names the module and does not count, because it cannot be understood.
    BadLine {
        /// The file.
        file: String,
        /// The line in it.
        line: u32,
        /// Its words.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is loaded from another file than this one would be: depmod knows another file by this name.
    OtherFile {
        /// The file that modprobe would take.
        file: String,
    },
    /// What depmod wrote is damaged.
    Index {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// All about one module.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Answer {
    /// Its name.
    pub module: String,
    /// Who says that what was asked for is this module, where it is not its name.
    pub found_by: Option<String>,
    /// Its file.
    pub file: Option<String>,
    /// Whether the kernel has it built in; then there is nothing to load.
    pub built_in: bool,
    /// Whether it is loaded now; `None` when it is not.
    pub loaded: Option<Loaded>,
    /// Whether it can be loaded: some path is open.
    pub can_be_loaded: bool,
    /// How many paths are open.
    pub open: usize,
    /// How many there are, open or blocked.
    pub present: usize,
    /// Whether the kernel would take the file.
    pub kernel: Judgement,
    /// The paths.
    pub paths: Vec<Path>,
    /// The directives that name it, and what each stops.
    pub directives: Vec<Effect>,
    /// What is worth knowing besides.
    pub notes: Vec<Note>,
}
