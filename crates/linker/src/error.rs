//! Why a module was not linked.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bstr::BString;

use crate::report::{Level, Notice, Report};

/// Error numbers of Linux, positive.
pub mod errno {
    /// No such file or directory: an unknown symbol.
    pub const ENOENT: i32 = 2;
    /// Exec format error: the file is not a module this kernel takes.
    pub const ENOEXEC: i32 = 8;
    /// Out of memory.
    pub const ENOMEM: i32 = 12;
    /// Device or resource busy: the exporter is still initialising.
    pub const EBUSY: i32 = 16;
    /// Invalid argument: a version or a namespace does not fit.
    pub const EINVAL: i32 = 22;
}

/// One reason that ends a load. `Display` is the text Linux prints for it; variants marked *ours* are checks Linux does not
/// make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// `vermagic=` is not the kernel's.
    #[error("{module}: version magic '{found}' should be '{wanted}'")]
    Vermagic {
        /// The module.
        module: BString,
        /// What the module says.
        found: BString,
        /// What the kernel says.
        wanted: BString,
    },
    /// A check could not be made, and the kernel does not force loads.
    #[error("{module}: {reason}: not loaded by force")]
    NotForced {
        /// The module.
        module: BString,
        /// What could not be checked.
        reason: BString,
    },
    /// The CRC of `module_layout` is missing or differs. The text came before as a [`Notice`].
    #[error("{module}: module_layout differs")]
    ModuleLayout {
        /// The module.
        module: BString,
    },
    /// A live patch on a kernel without live patching.
    #[error("{module}: module is marked as livepatch module, but livepatch support is disabled")]
    NoLivepatch {
        /// The module.
        module: BString,
    },
    /// A section is writable and executable.
    #[error("{module}: section {section} (index {index}) has invalid WRITE|EXEC flags")]
    WriteExec {
        /// The module.
        module: BString,
        /// The section.
        section: BString,
        /// Its index.
        index: usize,
    },
    /// *Ours*: `sh_addralign` is no power of two, or larger than 2 MiB.
    #[error("{module}: section {section} (index {index}) has invalid alignment {align}")]
    Alignment {
        /// The module.
        module: BString,
        /// The section.
        section: BString,
        /// Its index.
        index: usize,
        /// `sh_addralign`.
        align: u64,
    },
    /// *Ours*: the sections do not fit into the module area of any x86-64 kernel.
    #[error("{module}: section {section} (index {index}) is too large for the module area")]
    TooLarge {
        /// The module.
        module: BString,
        /// The section.
        section: BString,
        /// Its index.
        index: usize,
    },
    /// *Ours*: the caller's buffers or addresses do not fit the layout.
    #[error("{module}: memory for {part} does not fit its layout")]
    Memory {
        /// The module.
        module: BString,
        /// The part.
        part: &'static str,
    },
    /// A common symbol.
    #[error("{module}: please compile with -fno-common")]
    Common {
        /// The module.
        module: BString,
    },
    /// A symbol's section index is out of range.
    #[error("{module}: Symbol {symbol} has an invalid section index {index} (max {max})")]
    SectionIndex {
        /// The module.
        module: BString,
        /// The symbol.
        symbol: BString,
        /// Its section index.
        index: u32,
        /// The last section's index.
        max: u32,
    },
    /// Symbols could not be bound. The texts came before as [`Notice`]s.
    #[error("{module}: {count} unknown symbols")]
    Unknown {
        /// The module.
        module: BString,
        /// How many.
        count: u32,
        /// The last one's error number, which Linux returns.
        errno: i32,
    },
    /// A relocation type that modules must not use.
    #[error("module: {module}: Unknown rela relocation: {kind}")]
    RelocationType {
        /// The module.
        module: BString,
        /// `ELF64_R_TYPE`.
        kind: u32,
    },
    /// The bytes to relocate are not zero.
    #[error(
        "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type {kind}, loc {location:016x}, val {value:x}"
    )]
    RelocationTarget {
        /// `ELF64_R_TYPE`.
        kind: u32,
        /// The address (Linux prints a hash of it).
        location: u64,
        /// What would have been written.
        value: u64,
    },
    /// The value does not fit the field.
    #[error(
        "module: overflow in relocation type {kind} val {value:x}\nmodule: `{module}' likely not compiled with -mcmodel=kernel"
    )]
    RelocationOverflow {
        /// The module.
        module: BString,
        /// `ELF64_R_TYPE`.
        kind: u32,
        /// What does not fit.
        value: u64,
    },
    /// *Ours*: a PC-relative value does not fit 32 bits (Linux truncates it).
    #[error(
        "module: {module}: relocation type {kind} of section {section} at {location:#x} cannot reach {symbol} at {target:#x}: more than 2 GiB away"
    )]
    RelocationReach {
        /// The module.
        module: BString,
        /// `ELF64_R_TYPE`.
        kind: u32,
        /// The section relocated.
        section: BString,
        /// The address of the field.
        location: u64,
        /// The symbol.
        symbol: BString,
        /// Its address and addend.
        target: u64,
    },
    /// *Ours*: `r_offset` lies outside its section.
    #[error("module: {module}: relocation {index} of section {section} lies outside it (offset {offset:#x})")]
    RelocationOffset {
        /// The module.
        module: BString,
        /// The section relocated.
        section: BString,
        /// Which relocation.
        index: usize,
        /// `r_offset`.
        offset: u64,
    },
    /// *Ours*: a relocation names a symbol the file does not have.
    #[error("module: {module}: relocation {index} of section {section} names symbol {symbol} of {count}")]
    RelocationSymbol {
        /// The module.
        module: BString,
        /// The section relocated.
        section: BString,
        /// Which relocation.
        index: usize,
        /// `ELF64_R_SYM`.
        symbol: u32,
        /// How many symbols there are.
        count: usize,
    },
    /// An `SHT_REL` section.
    #[error("module {module}: REL relocation unsupported")]
    Rel {
        /// The module.
        module: BString,
    },
    /// *Ours*: an entry of a table the kernel follows points outside the module.
    #[error("{module}: entry {index} of section {section} points outside the module")]
    TableEntry {
        /// The module.
        module: BString,
        /// The table's section.
        section: &'static str,
        /// Which entry.
        index: usize,
    },
    /// An exported name is already taken.
    #[error("{module}: exports duplicate symbol {symbol} (owned by {owner})")]
    Duplicate {
        /// The module.
        module: BString,
        /// The symbol.
        symbol: BString,
        /// Who has it: a module, or `kernel`.
        owner: BString,
    },
}

impl LinkError {
    /// The error number, positive.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            LinkError::Unknown { errno, .. } => *errno,
            LinkError::TooLarge { .. } | LinkError::Memory { .. } => errno::ENOMEM,
            _ => errno::ENOEXEC,
        }
    }

    /// The log level of its text.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            LinkError::Common { .. } => Level::Warn,
            _ => Level::Err,
        }
    }

    /// Whether its `Display` is a line of its own in the log; false when [`Notice`]s before it say all.
    pub(crate) fn prints(&self) -> bool {
        !matches!(self, LinkError::ModuleLayout { .. } | LinkError::Unknown { .. } | LinkError::NotForced { .. })
    }
}

/// A module that was refused: the reason, and everything Linux would have printed until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Taints and log lines so far, the reason's own line included.
    pub report: Report,
    /// What ended the load. Boxed, because a module that links should not pay for it.
    pub error: Box<LinkError>,
}

impl Refused {
    pub(crate) fn new(mut report: Report, error: LinkError) -> Refused {
        // The walk over the symbols goes on after an error, so its line may be there already.
        let said = |notice: &Notice| matches!(notice, Notice::Fatal(said) if *said == error);
        if error.prints() && !report.notices.iter().any(said) {
            report.say(Notice::Fatal(error.clone()));
        }
        Refused { report, error: Box::new(error) }
    }

    /// The error number, positive.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.error.errno()
    }

    /// Every unknown symbol, with its error number.
    #[must_use]
    pub fn unknown_symbols(&self) -> Vec<(&BString, i32)> {
        let unknown = |notice| match notice {
            &Notice::UnknownSymbol { ref symbol, errno, .. } => Some((symbol, errno)),
            _ => None,
        };
        self.report.notices.iter().filter_map(unknown).collect()
    }
}

impl From<LinkError> for Refused {
    fn from(error: LinkError) -> Refused {
        Refused::new(Report::default(), error)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl core::error::Error for Refused {}
