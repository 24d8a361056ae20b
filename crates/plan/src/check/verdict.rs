//! What a check found: the answer, its reasons and their evidence.

use std::fmt;

use ferrmod_linker::Taints;

use super::errno;
use super::parameters::Known;
use super::policy::{Lockdown, Origin};
use super::prototype::Comparison;
use super::signature::Signed;

/// Whether a module loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Answer {
    /// It does.
    Loads,
    /// It does, and the kernel is tainted by it.
    LoadsWithTaint,
    /// It does not.
    Refused,
}

/// A line of the kernel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Line {
    /// Its level, 0 to 7.
    pub level: u8,
    /// Its text.
    pub text: String,
}

impl Line {
    /// A line.
    #[must_use]
    pub fn new(level: u8, text: impl Into<String>) -> Line {
        Line { level, text: text.into() }
    }
}

/// What became of one module on one kernel.
///
/// Having a `Verdict` tells you that every step of Linux's loader was gone through as far as a file and a kernel's own files tell; what
/// the module's init function would answer is not in it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Verdict {
    /// The kernel's release.
    pub kernel: String,
    /// The module's name.
    pub module: String,
    /// Whether it loads.
    pub answer: Answer,
    /// The error number Linux would answer to a load of this one file (positive), when that load is refused. A module that is refused
    /// without one is stopped by what has to come before it.
    pub errno: Option<i32>,
    /// The name of that number.
    pub errno_name: Option<&'static str>,
    /// The letters of the taints that the module gets, as `/proc/modules` shows them.
    pub taints: String,
    /// Why it does not load, in the order in which Linux would find out; empty when it does.
    pub reasons: Vec<Reason>,
    /// What is worth knowing and refuses nothing.
    pub notes: Vec<Note>,
    /// What Linux would print until it answers, on a kernel that has printed none of it before.
    pub log: Vec<Line>,
    /// The modules that load before it, in their order.
    pub needs: Vec<String>,
}

impl Verdict {
    /// Whether the module loads, with a taint or without.
    #[must_use]
    pub fn loads(&self) -> bool {
        self.answer != Answer::Refused
    }
}

/// The letters of taints, in the order in which `/proc/modules` shows them.
#[must_use]
pub fn letters(taints: Taints) -> String {
    const LETTERS: [(u32, char); 9] =
        [(0, 'P'), (1, 'F'), (10, 'C'), (12, 'O'), (13, 'E'), (15, 'K'), (16, 'X'), (17, 'T'), (18, 'N')];
    LETTERS.iter().filter(|(bit, _)| taints.0 >> bit & 1 == 1).map(|&(_, letter)| letter).collect()
}

/// A word of a version magic that is on one side alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Token {
    /// The word.
    pub word: String,
    /// Whether the module has it (and the kernel has not).
    pub in_module: bool,
    /// What it means, where that is known.
    pub meaning: Option<&'static str>,
}

/// Who exports a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Exporter {
    /// The kernel's release.
    pub kernel: String,
    /// The module; `None` for the kernel itself.
    pub module: Option<String>,
}

impl fmt::Display for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            Some(module) => write!(f, "{module} of {}", self.kernel),
            None => write!(f, "kernel {}", self.kernel),
        }
    }
}

/// What is wrong with an import.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "problem", rename_all = "snake_case"))]
pub enum ImportProblem {
    /// Nobody exports it here.
    Missing {
        /// Modules of this kernel that would export it, but cannot be loaded.
        stopped: Vec<String>,
        /// Other kernels and their modules that export it.
        elsewhere: Vec<Exporter>,
        /// Exports of this kernel with a name like it.
        nearest: Vec<String>,
    },
    /// It is for GPL-compatible modules only.
    GplOnly {
        /// The module's licence.
        licence: String,
        /// Who exports it.
        exporter: Exporter,
        /// The proprietary module whose symbols it uses, so that it counts as proprietary itself whatever its licence says.
        inherits_from: Option<String>,
    },
    /// It is of a proprietary module, and the module uses GPL-only symbols.
    ProprietaryOwner {
        /// The proprietary module.
        owner: String,
    },
    /// The module has CRCs of its imports and none for this.
    NoVersion {
        /// The CRC of the export.
        exported: Option<u32>,
    },
    /// The CRC that the module was built against is another.
    Version {
        /// The CRC in the module.
        built: u32,
        /// The CRC of the export.
        exported: u32,
        /// Who exports it.
        exporter: Exporter,
        /// The release the module was built for, as it says itself.
        built_for: Option<String>,
        /// What is different in the symbol's type, where that was looked for.
        compared: Option<Comparison>,
    },
    /// It is in a namespace that the module does not import.
    Namespace {
        /// The namespace.
        namespace: String,
        /// Who exports it.
        exporter: Exporter,
    },
    /// Something else that the log line says.
    Other,
}

/// What is wrong with a module that has to come before.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "problem", rename_all = "snake_case"))]
pub enum DependencyProblem {
    /// It is not there.
    Missing {
        /// Modules with a name like it.
        nearest: Vec<String>,
        /// Other kernels that have it.
        elsewhere: Vec<String>,
    },
    /// It does not load.
    Refused {
        /// Why.
        reasons: Vec<Reason>,
    },
    /// It needs what needs it.
    Cycle {
        /// Each needs the next one, and the last one the first.
        members: Vec<String>,
    },
    /// Its file cannot be read.
    Unreadable {
        /// What is wrong with it.
        text: String,
    },
}

/// Why a module does not load, with the evidence.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "reason", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// The kernel was built without modules.
    NoModules {
        /// Where that stands.
        origin: Origin,
    },
    /// Loading is switched off.
    ModulesDisabled {
        /// Where that stands.
        origin: Origin,
    },
    /// The file is empty.
    Empty,
    /// LoadPin takes modules from the file system of the first one alone.
    LoadPin {
        /// Where it is switched on.
        origin: Origin,
        /// Whether the module would be handed over without a file (unpacked by the tool, because the kernel cannot).
        without_file: bool,
    },
    /// The kernel was handed a packed file that it cannot unpack.
    Compressed {
        /// How it is packed.
        format: String,
        /// What the kernel unpacks.
        kernel: Option<&'static str>,
    },
    /// The file does not unpack.
    Unpack {
        /// What is wrong with it.
        text: String,
        /// Whether the kernel unpacks it and answers, and not the tool.
        by_kernel: bool,
    },
    /// The signature is none, or does not hold, or is not trusted where it has to be.
    Signature {
        /// What was found.
        signed: Signed,
        /// Where it stands that signatures are required; `None` when what was found is refused anyway.
        required: Option<Origin>,
        /// Whether it is lockdown that requires it.
        lockdown: Option<Lockdown>,
        /// The answer.
        errno: i32,
    },
    /// The file is not for this processor.
    Architecture {
        /// `e_machine`.
        machine: u16,
        /// Its name.
        name: &'static str,
    },
    /// The file is no module.
    Structure {
        /// What is wrong with it, in the kernel's words where it looks at that.
        text: String,
        /// Whether Linux 6.1 does not look (and what would follow is up to the file).
        beyond_linux: bool,
    },
    /// The kernel's command line forbids this module.
    Blacklisted {
        /// Where that stands.
        origin: Origin,
    },
    /// `struct module` is another, so that nothing of the module could be trusted.
    ModuleLayout {
        /// The CRC in the module.
        built: Option<u32>,
        /// The CRC of the kernel.
        exported: u32,
        /// The release the module was built for.
        built_for: Option<String>,
        /// What is different, where that was looked for.
        compared: Option<Comparison>,
    },
    /// `struct module` has another size, which Linux looks at since 6.4.
    ModuleSize {
        /// Bytes of the module's.
        found: u64,
        /// Bytes of the kernel's.
        wanted: u64,
        /// The release the module was built for.
        built_for: Option<String>,
    },
    /// The version magic is another.
    Vermagic {
        /// The module's.
        found: String,
        /// The kernel's.
        wanted: String,
        /// The words that differ; the release only when it counts.
        tokens: Vec<Token>,
    },
    /// Something cannot be checked, and the kernel does not take modules unchecked.
    NotForced {
        /// What it is: `bad vermagic`, a symbol.
        what: String,
    },
    /// A live patch for a kernel without live patching.
    Livepatch,
    /// A module of this name is loaded already.
    Loaded,
    /// An import cannot be bound.
    Import {
        /// The symbol.
        symbol: String,
        /// What is wrong.
        #[cfg_attr(feature = "serde", serde(flatten))]
        problem: ImportProblem,
        /// The error number of this one.
        errno: i32,
    },
    /// The module cannot be laid out, bound or relocated.
    Link {
        /// The kernel's words, or ours where it does not look.
        text: String,
        /// The answer.
        errno: i32,
        /// Whether Linux 6.1 does not look.
        beyond_linux: bool,
    },
    /// It exports what is exported already.
    Duplicate {
        /// The symbol.
        symbol: String,
        /// Who exports it: a module, or `kernel`.
        owner: String,
    },
    /// A parameter's value is refused.
    Parameter {
        /// The parameter.
        name: String,
        /// Its type.
        #[cfg_attr(feature = "serde", serde(rename = "type"))]
        kind: Option<String>,
        /// The value; `None` when there was none.
        value: Option<String>,
        /// The answer.
        errno: i32,
        /// The kernel's words.
        message: String,
        /// Whether it is lockdown that refuses it, because it says where hardware is.
        locked_down: bool,
        /// The parameters that the module has.
        known: Vec<Known>,
    },
    /// Something of this name is built in, and the kernel shows it in `/sys/module`, where the module would have to be.
    BuiltIn,
    /// The kernel's command line forbids the module's init function.
    Initcall {
        /// The function.
        function: String,
        /// Where that stands.
        origin: Origin,
    },
    /// A module that has to come before it does not load.
    Dependency {
        /// That module.
        module: String,
        /// What is wrong with it.
        #[cfg_attr(feature = "serde", serde(flatten))]
        problem: DependencyProblem,
    },
}

impl Reason {
    /// The error number that Linux answers for this reason; `None` for what stops modprobe and not the kernel.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        Some(match self {
            Reason::NoModules { .. } => errno::ENOSYS,
            Reason::ModulesDisabled { .. }
            | Reason::LoadPin { .. }
            | Reason::Blacklisted { .. }
            | Reason::Initcall { .. } => errno::EPERM,
            Reason::Empty | Reason::BuiltIn | Reason::Unpack { by_kernel: true, .. } => errno::EINVAL,
            Reason::Compressed { kernel, .. } => {
                if kernel.is_some() {
                    errno::EINVAL
                } else {
                    errno::EOPNOTSUPP
                }
            }
            Reason::Signature { errno, .. }
            | Reason::Import { errno, .. }
            | Reason::Link { errno, .. }
            | Reason::Parameter { errno, .. } => *errno,
            Reason::Architecture { .. }
            | Reason::Structure { .. }
            | Reason::ModuleLayout { .. }
            | Reason::ModuleSize { .. }
            | Reason::Vermagic { .. }
            | Reason::NotForced { .. }
            | Reason::Livepatch
            | Reason::Duplicate { .. } => errno::ENOEXEC,
            Reason::Loaded => errno::EEXIST,
            Reason::Unpack { .. } | Reason::Dependency { .. } => return None,
        })
    }

    /// One word for tables.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Reason::NoModules { .. } => "no modules",
            Reason::ModulesDisabled { .. } => "modules disabled",
            Reason::Empty => "empty",
            Reason::LoadPin { .. } => "loadpin",
            Reason::Compressed { .. } | Reason::Unpack { .. } => "compression",
            Reason::Signature { lockdown: Some(_), .. } => "lockdown",
            Reason::Signature { .. } => "signature",
            Reason::Architecture { .. } => "architecture",
            Reason::Structure { .. } => "no module",
            Reason::Blacklisted { .. } => "blacklist",
            Reason::ModuleLayout { .. } => "module_layout",
            Reason::ModuleSize { .. } => "module size",
            Reason::Vermagic { .. } => "vermagic",
            Reason::NotForced { .. } => "unchecked",
            Reason::Livepatch => "livepatch",
            Reason::Loaded => "loaded",
            Reason::Import { problem, .. } => match problem {
                ImportProblem::Missing { .. } => "symbol",
                ImportProblem::GplOnly { .. } | ImportProblem::ProprietaryOwner { .. } => "licence",
                ImportProblem::NoVersion { .. } | ImportProblem::Version { .. } => "crc",
                ImportProblem::Namespace { .. } => "namespace",
                ImportProblem::Other => "symbol",
            },
            Reason::Link { .. } => "link",
            Reason::Duplicate { .. } => "duplicate",
            Reason::Parameter { .. } => "parameter",
            Reason::BuiltIn => "built in",
            Reason::Initcall { .. } => "initcall",
            Reason::Dependency { problem: DependencyProblem::Cycle { .. }, .. } => "cycle",
            Reason::Dependency { .. } => "dependency",
        }
    }
}

/// What is worth knowing about a load and refuses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "note", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Note {
    /// No parameter has this name: the kernel warns and goes on.
    UnknownParameter {
        /// The name.
        name: String,
        /// Parameters with a name like it.
        nearest: Vec<String>,
        /// The parameters that the module has.
        known: Vec<Known>,
    },
    /// The module reads this parameter by a function of its own: what it answers is not known here.
    OwnParameter {
        /// The parameter.
        name: String,
    },
    /// A parameter comes from the kernel's command line (modprobe adds it; insmod does not).
    BootParameter {
        /// The parameter and its value.
        argument: String,
        /// Where it stands.
        origin: Origin,
    },
    /// The module was built for another release; with CRCs that does not matter.
    OtherRelease {
        /// The module's.
        built_for: String,
    },
    /// Something of this name is built in: modprobe loads nothing.
    BuiltIn,
    /// The tool has to unpack the file, because this kernel cannot.
    UnpackedByTool {
        /// How it is packed.
        format: String,
        /// What the kernel unpacks.
        kernel: Option<&'static str>,
    },
    /// There is a signature, and it was not verified.
    SignatureUnverified,
    /// Who signed the module, and that it holds.
    SignedBy {
        /// The signer.
        signer: String,
    },
    /// The kernel's configuration is not known: what distributions build is taken.
    ConfigUnknown,
    /// LoadPin is on: the module has to be on the file system that the first module came from.
    LoadPin {
        /// Where it is switched on.
        origin: Origin,
    },
    /// It cannot be loaded together with a module that exports the same symbol.
    NotTogether {
        /// The other module.
        module: String,
        /// The symbol.
        symbol: String,
    },
    /// A weak import that nobody exports: the module does without it.
    WeakMissing {
        /// The symbol.
        symbol: String,
    },
    /// The module taints the kernel.
    Taint {
        /// The letter.
        letter: char,
        /// Why the module gets it.
        why: String,
    },
}
