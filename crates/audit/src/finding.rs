//! What an audit finds: values with their evidence.

use serde::Serialize;

use crate::rule::{Rule, Severity};
use crate::views::ViewName;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// The rule that found it.
    pub rule: Rule,
    /// How much it matters.
    pub severity: Severity,
    /// The module it is about; `None` when it is about the kernel or the tree.
    pub module: Option<String>,
    /// The file it was seen in: the module's own, or that of the kernel.
    pub place: Option<String>,
    /// The evidence, for people.
    pub message: String,
    /// The evidence.
    pub evidence: Evidence,
}

impl Finding {
    /// A finding with its rule's own severity.
    pub(crate) fn new(module: Option<&str>, place: Option<String>, evidence: Evidence) -> Self {
        let rule = evidence.rule();
        Self {
            rule,
            severity: rule.severity(),
            module: module.map(str::to_owned),
            place,
            message: evidence.to_string(),
            evidence,
        }
    }

    /// The same, but it matters that much.
    pub(crate) fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
}

/// How it is known what a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The kernel says it: a taint of the loaded module.
    Kernel,
    /// Its file says it.
    File,
    /// Both.
    Both,
}

impl Source {
    /// By whether the kernel and the file say it; `None` when neither does.
    pub(crate) fn of(kernel: bool, file: bool) -> Option<Self> {
        match (kernel, file) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Kernel),
            (false, true) => Some(Self::File),
            (false, false) => None,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kernel => "by its taint",
            Self::File => "by its file",
            Self::Both => "by its taint and its file",
        })
    }
}

/// What a finding rests on. The text of a variant is its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, rename_all = "kebab-case")]
pub enum Evidence {
    /// [`Rule::Unsigned`]
    #[error("not signed, {source_}")]
    Unsigned {
        /// Who says it.
        #[serde(rename = "source")]
        source_: Source,
    },
    /// [`Rule::UnknownSigner`]
    #[error("{reason}{}", if *accepted { "; the kernel took its signature when it was loaded (no taint E)" } else { "" })]
    UnknownSigner {
        /// Who signed, and that nobody trusts them.
        reason: String,
        /// The module is loaded and the kernel did not mark it as unsigned.
        accepted: bool,
    },
    /// [`Rule::BadSignature`]
    #[error("{reason} (Linux: {errno})")]
    BadSignature {
        /// What is wrong with the signature.
        reason: String,
        /// What Linux's check gives.
        errno: &'static str,
    },
    /// [`Rule::AlteredMessage`]
    #[error("signed by {signer}, but the message is not what was written: {}; Linux does not look there", oddities.join(", "))]
    AlteredMessage {
        /// Who signed.
        signer: String,
        /// What is not as signing tools write it.
        oddities: Vec<String>,
    },
    /// [`Rule::OutOfTree`]
    #[error("built outside of the kernel's tree, {source_}")]
    OutOfTree {
        /// Who says it.
        #[serde(rename = "source")]
        source_: Source,
    },
    /// [`Rule::Proprietary`]
    #[error("proprietary, {source_}{}", licence.as_ref().map(|text| format!(" (licence `{text}`)")).unwrap_or_default())]
    Proprietary {
        /// Who says it.
        #[serde(rename = "source")]
        source_: Source,
        /// The licence that its file states.
        licence: Option<String>,
    },
    /// [`Rule::Staging`]
    #[error("a staging driver, {source_}: its quality is not vouched for")]
    Staging {
        /// Who says it.
        #[serde(rename = "source")]
        source_: Source,
    },
    /// [`Rule::Forced`]
    #[error("loaded by force (taint F): it was built for another kernel, or says not for which")]
    Forced {
        /// Its taints.
        taints: String,
    },
    /// [`Rule::Test`]
    #[error("a test, {source_}: not for kernels that are in use")]
    Test {
        /// Who says it.
        #[serde(rename = "source")]
        source_: Source,
    },
    /// [`Rule::Livepatch`]
    #[error("a live patch, {source_}: it replaces functions of the kernel")]
    Livepatch {
        /// Who says it.
        #[serde(rename = "source")]
        source_: Source,
    },
    /// [`Rule::TaintMismatch`]
    #[error("/proc/modules says taints `{proc}`, sysfs says `{sysfs}`")]
    TaintMismatch {
        /// What `/proc/modules` says.
        proc: String,
        /// What `/sys/module/NAME/taint` says.
        sysfs: String,
    },
    /// [`Rule::UnreadableFile`]
    #[error("{reason}")]
    UnreadableFile {
        /// What is wrong.
        reason: String,
    },
    /// [`Rule::NoFile`]
    #[error("loaded, and the tree of {release} has no file of it")]
    NoFile {
        /// The running kernel.
        release: String,
    },
    /// [`Rule::SrcversionDiffers`]
    #[error("loaded was {loaded}, the file now is {file} (srcversion)")]
    SrcversionDiffers {
        /// What the kernel says.
        loaded: String,
        /// What the file says.
        file: String,
    },
    /// [`Rule::BuildIdDiffers`]
    #[error("loaded was {loaded}, the file now is {file} (build id)")]
    BuildIdDiffers {
        /// What the kernel says.
        loaded: String,
        /// What the file says.
        file: String,
    },
    /// [`Rule::PackageDiffers`]
    #[error("not what package {package} installed: {algorithm} {found}, not {wanted}")]
    PackageDiffers {
        /// The package.
        package: String,
        /// The algorithm of the check sum.
        algorithm: String,
        /// The check sum in the database.
        wanted: String,
        /// The file's.
        found: String,
    },
    /// [`Rule::PackageMissing`]
    #[error("package {package} installed it, and it is gone")]
    PackageMissing {
        /// The package.
        package: String,
    },
    /// [`Rule::Unpackaged`]
    #[error("no package installed this file")]
    Unpackaged {
        /// The database that was asked.
        database: &'static str,
    },
    /// [`Rule::UnpackagedTree`]
    #[error("no package installed any of the {modules} modules of {release}")]
    UnpackagedTree {
        /// The kernel.
        release: String,
        /// How many modules its tree has.
        modules: usize,
    },
    /// [`Rule::Unused`]
    #[error("in use by nobody: no reference, no module needs it, no device is bound to it")]
    Unused {
        /// The memory it takes, in bytes.
        size: u64,
    },
    /// [`Rule::HiddenModule`]
    #[error("seen in {view} ({detail}), and /proc/modules does not list it")]
    HiddenModule {
        /// Where it was seen.
        view: ViewName,
        /// What was seen there.
        detail: String,
    },
    /// [`Rule::HiddenFromSysfs`]
    #[error("/proc/modules lists it, and it has no folder in /sys/module")]
    HiddenFromSysfs {
        /// Its state as `/proc/modules` has it.
        state: &'static str,
    },
    /// [`Rule::UnexplainedTaint`]
    #[error(
        "the kernel has taint {letter} ({meaning}), and no listed module has it: the module was unloaded since, or is hidden"
    )]
    UnexplainedTaint {
        /// The taint's letter.
        letter: char,
        /// What it says.
        meaning: &'static str,
    },
    /// [`Rule::ClearedTaint`]
    #[error("modules have taint {letter} ({}), and the kernel does not: kernel.tainted was overwritten", modules.join(", "))]
    ClearedTaint {
        /// The taint's letter.
        letter: char,
        /// The modules that have it.
        modules: Vec<String>,
    },
    /// [`Rule::ForcedUnload`]
    #[error("the kernel has taint R: {meaning}")]
    ForcedUnload {
        /// What the taint says.
        meaning: &'static str,
    },
    /// [`Rule::OtherTaint`]
    #[error("the kernel has taint {letter}: {meaning}")]
    OtherTaint {
        /// The taint's letter.
        letter: char,
        /// What it says.
        meaning: &'static str,
    },
    /// [`Rule::MalformedView`]
    #[error("{reason}: the kernel does not write such a line")]
    MalformedView {
        /// Where it is and what is missing.
        reason: String,
    },
    /// [`Rule::Unchecked`]
    #[error("not looked at: {what}: {reason}")]
    Unchecked {
        /// What was not looked at.
        what: String,
        /// Why, and what would help.
        reason: String,
    },
    /// [`Rule::SettingOpen`]
    #[error("{setting} is {value}: {meaning}")]
    SettingOpen {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What that means.
        meaning: &'static str,
    },
    /// [`Rule::ModprobePath`]
    #[error("the kernel runs {path} as root for whoever makes it want a module: {reason}")]
    ModprobePath {
        /// The program.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// [`Rule::BaselineNew`]
    #[error("not in the baseline")]
    BaselineNew {
        /// Its file.
        path: Option<String>,
    },
    /// [`Rule::BaselineGone`]
    #[error("in the baseline, and not here")]
    BaselineGone {
        /// Its file then.
        path: Option<String>,
    },
    /// [`Rule::BaselineChanged`]
    #[error("{field} was {} in the baseline and is {}", before.as_deref().unwrap_or("not there"), now.as_deref().unwrap_or("not there"))]
    BaselineChanged {
        /// What changed.
        field: &'static str,
        /// What it was.
        before: Option<String>,
        /// What it is.
        now: Option<String>,
    },
    /// [`Rule::BaselineSetting`]
    #[error("{setting} was {} in the baseline and is {}", before.as_deref().unwrap_or("not known"), now.as_deref().unwrap_or("not known"))]
    BaselineSetting {
        /// The setting.
        setting: String,
        /// What it was.
        before: Option<String>,
        /// What it is.
        now: Option<String>,
    },
    /// [`Rule::BaselineKernel`]
    #[error("the baseline is of {}, this is {}: srcversions, build ids and paths are not compared", before.join(", "), now.join(", "))]
    BaselineKernel {
        /// The releases of the baseline.
        before: Vec<String>,
        /// The releases here.
        now: Vec<String>,
    },
}

impl Evidence {
    /// The rule that it is evidence for.
    #[must_use]
    pub fn rule(&self) -> Rule {
        match self {
            Self::Unsigned { .. } => Rule::Unsigned,
            Self::UnknownSigner { .. } => Rule::UnknownSigner,
            Self::BadSignature { .. } => Rule::BadSignature,
            Self::AlteredMessage { .. } => Rule::AlteredMessage,
            Self::OutOfTree { .. } => Rule::OutOfTree,
            Self::Proprietary { .. } => Rule::Proprietary,
            Self::Staging { .. } => Rule::Staging,
            Self::Forced { .. } => Rule::Forced,
            Self::Test { .. } => Rule::Test,
            Self::Livepatch { .. } => Rule::Livepatch,
            Self::TaintMismatch { .. } => Rule::TaintMismatch,
            Self::UnreadableFile { .. } => Rule::UnreadableFile,
            Self::NoFile { .. } => Rule::NoFile,
            Self::SrcversionDiffers { .. } => Rule::SrcversionDiffers,
            Self::BuildIdDiffers { .. } => Rule::BuildIdDiffers,
            Self::PackageDiffers { .. } => Rule::PackageDiffers,
            Self::PackageMissing { .. } => Rule::PackageMissing,
            Self::Unpackaged { .. } => Rule::Unpackaged,
            Self::UnpackagedTree { .. } => Rule::UnpackagedTree,
            Self::Unused { .. } => Rule::Unused,
            Self::HiddenModule { .. } => Rule::HiddenModule,
            Self::HiddenFromSysfs { .. } => Rule::HiddenFromSysfs,
            Self::UnexplainedTaint { .. } => Rule::UnexplainedTaint,
            Self::ClearedTaint { .. } => Rule::ClearedTaint,
            Self::ForcedUnload { .. } => Rule::ForcedUnload,
            Self::OtherTaint { .. } => Rule::OtherTaint,
            Self::MalformedView { .. } => Rule::MalformedView,
            Self::Unchecked { .. } => Rule::Unchecked,
            Self::SettingOpen { .. } => Rule::SettingOpen,
            Self::ModprobePath { .. } => Rule::ModprobePath,
            Self::BaselineNew { .. } => Rule::BaselineNew,
            Self::BaselineGone { .. } => Rule::BaselineGone,
            Self::BaselineChanged { .. } => Rule::BaselineChanged,
            Self::BaselineSetting { .. } => Rule::BaselineSetting,
            Self::BaselineKernel { .. } => Rule::BaselineKernel,
        }
    }
}
