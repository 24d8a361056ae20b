//! What Linux would have printed while it loaded a module, as data.

use alloc::vec::Vec;
use core::fmt;

use bstr::BString;

/// The log level of a line, as in `<4>` of a kernel log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `KERN_ERR`.
    Err = 3,
    /// `KERN_WARNING`.
    Warn = 4,
    /// `KERN_NOTICE`.
    Notice = 5,
}

/// The reasons a kernel or a module is tainted that a load can add.
///
/// The bits are Linux's own (`/proc/sys/kernel/tainted`), so a set can be or-ed into a kernel's mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Taints(pub u64);

impl Taints {
    /// `P`: a module without a GPL-compatible licence.
    pub const PROPRIETARY: Taints = Taints(1 << 0);
    /// `F`: loaded although a check could not be made.
    pub const FORCED: Taints = Taints(1 << 1);
    /// `C`: a module of the staging directory.
    pub const STAGING: Taints = Taints(1 << 10);
    /// `O`: built outside the kernel's tree.
    pub const OUT_OF_TREE: Taints = Taints(1 << 12);
    /// `E`: not signed, or not with a key the kernel knows. Never set here; kernels set it.
    pub const UNSIGNED: Taints = Taints(1 << 13);
    /// `K`: a live patch.
    pub const LIVEPATCH: Taints = Taints(1 << 15);
    /// `N`: a module that tests the kernel.
    pub const TEST: Taints = Taints(1 << 18);

    /// The empty set.
    pub const NONE: Taints = Taints(0);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub fn contains(self, other: Taints) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds the bits of `other`.
    pub fn insert(&mut self, other: Taints) {
        self.0 |= other.0;
    }
}

/// How often Linux prints a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Every time.
    Always,
    /// Only while the kernel does not carry this taint yet.
    UnlessTainted(Taints),
    /// Once after boot.
    Once,
}

/// One line Linux would print, without its timestamp. Its text is its `Display`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A check could not be made and the module was loaded all the same (`MODULE_FORCE_LOAD`).
    Forced {
        /// The module.
        module: BString,
        /// What could not be checked: `bad vermagic`, a symbol, `no versions for exported symbols`.
        reason: BString,
    },
    /// Follows the first taint that makes lock debugging unreliable.
    LockDebuggingOff,
    /// No `intree=` in `.modinfo`.
    OutOfTree {
        /// The module.
        module: BString,
    },
    /// No `retpoline=` in `.modinfo`, on a kernel that uses retpolines: what the processor-bug code says.
    SpectreV2,
    /// The same: what the module loader says.
    NotRetpoline {
        /// The module.
        module: BString,
    },
    /// `staging=` in `.modinfo`.
    Staging {
        /// The module.
        module: BString,
    },
    /// `livepatch=` in `.modinfo`.
    Livepatch {
        /// The module.
        module: BString,
    },
    /// The licence is not GPL-compatible.
    Licence {
        /// The module.
        module: BString,
        /// What `license=` says, or `unspecified`.
        licence: BString,
    },
    /// One of the three names Linux does not believe.
    LicenceByName {
        /// The module.
        module: BString,
    },
    /// `test=` in `.modinfo`.
    Test {
        /// The module.
        module: BString,
    },
    /// A per-CPU section wants more alignment than a page.
    PerCpuAlignment {
        /// The module.
        module: BString,
        /// What it wants.
        wanted: u64,
        /// What it gets.
        given: u64,
    },
    /// A `__obsparm` section.
    ObsoleteParameters {
        /// The module.
        module: BString,
    },
    /// `__versions` has no entry for a symbol the module uses.
    NoVersion {
        /// The module.
        module: BString,
        /// The symbol.
        symbol: BString,
    },
    /// The CRC the module was built against is not the exporter's.
    VersionDiffers {
        /// The module.
        module: BString,
        /// The symbol.
        symbol: BString,
    },
    /// The symbol lives in a namespace the module does not import.
    NamespaceNotImported {
        /// The module.
        module: BString,
        /// The symbol.
        symbol: BString,
        /// Its namespace.
        namespace: BString,
    },
    /// A module that uses GPL-only symbols wants one of a proprietary module.
    GplMeetsProprietary {
        /// The module.
        module: BString,
        /// The symbol.
        symbol: BString,
        /// The proprietary module.
        owner: BString,
    },
    /// The module becomes proprietary, because it uses a proprietary module.
    InheritsTaint {
        /// The module.
        module: BString,
        /// The symbol.
        symbol: BString,
        /// The proprietary module.
        owner: BString,
    },
    /// The exporter's initialisation did not end in time.
    GaveUpWaiting {
        /// The module.
        module: BString,
        /// The exporter.
        owner: BString,
    },
    /// A symbol could not be bound.
    UnknownSymbol {
        /// The module.
        module: BString,
        /// The symbol.
        symbol: BString,
        /// The error number, positive.
        errno: i32,
    },
    /// The line of an error that ends the load.
    Fatal(crate::LinkError),
}

impl Notice {
    /// The log level Linux uses for it.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Notice::Livepatch { .. } => Level::Notice,
            Notice::SpectreV2 | Notice::GplMeetsProprietary { .. } | Notice::NamespaceNotImported { .. } => Level::Err,
            Notice::Fatal(error) => error.level(),
            _ => Level::Warn,
        }
    }

    /// How often Linux prints it.
    #[must_use]
    pub fn repeat(&self) -> Repeat {
        match self {
            Notice::Forced { .. } => Repeat::UnlessTainted(Taints::FORCED),
            Notice::OutOfTree { .. } => Repeat::UnlessTainted(Taints::OUT_OF_TREE),
            Notice::Licence { .. } | Notice::LicenceByName { .. } => Repeat::UnlessTainted(Taints::PROPRIETARY),
            Notice::Test { .. } => Repeat::UnlessTainted(Taints::TEST),
            Notice::Livepatch { .. } | Notice::LockDebuggingOff => Repeat::Once,
            _ => Repeat::Always,
        }
    }

    /// The taint the kernel itself takes together with this line, whether the line is printed or not.
    ///
    /// A kernel that goes through a [`Report`] in order prints the line unless [`Notice::repeat`] says otherwise and then
    /// adds this to its own mask; the order matters, because a taint suppresses later lines.
    #[must_use]
    pub fn taint(&self) -> Taints {
        match self {
            Notice::Forced { .. } => Taints::FORCED,
            Notice::OutOfTree { .. } => Taints::OUT_OF_TREE,
            Notice::Staging { .. } => Taints::STAGING,
            Notice::Livepatch { .. } => Taints::LIVEPATCH,
            Notice::Licence { .. } | Notice::LicenceByName { .. } => Taints::PROPRIETARY,
            Notice::Test { .. } => Taints::TEST,
            _ => Taints::NONE,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Forced { module, reason } => write!(f, "{module}: {reason}: kernel tainted."),
            Notice::LockDebuggingOff => f.write_str("Disabling lock debugging due to kernel taint"),
            Notice::OutOfTree { module } => {
                write!(f, "{module}: loading out-of-tree module taints kernel.")
            }
            Notice::SpectreV2 => f.write_str("Spectre V2 : System may be vulnerable to spectre v2"),
            Notice::NotRetpoline { module } => {
                write!(f, "{module}: loading module not compiled with retpoline compiler.")
            }
            Notice::Staging { module } => write!(
                f,
                "{module}: module is from the staging directory, the quality is unknown, you have been warned."
            ),
            Notice::Livepatch { module } => {
                write!(f, "{module}: tainting kernel with TAINT_LIVEPATCH")
            }
            Notice::Licence { module, licence } => {
                write!(f, "{module}: module license '{licence}' taints kernel.")
            }
            Notice::LicenceByName { module } => {
                write!(f, "{module}: module license taints kernel.")
            }
            Notice::Test { module } => write!(f, "{module}: loading test module taints kernel."),
            Notice::PerCpuAlignment { module, wanted, given } => {
                write!(f, "{module}: per-cpu alignment {wanted} > {given}")
            }
            Notice::ObsoleteParameters { module } => {
                write!(f, "{module}: Ignoring obsolete parameters")
            }
            Notice::NoVersion { module, symbol } => {
                write!(f, "{module}: no symbol version for {symbol}")
            }
            Notice::VersionDiffers { module, symbol } => {
                write!(f, "{module}: disagrees about version of symbol {symbol}")
            }
            Notice::NamespaceNotImported { module, symbol, namespace } => {
                write!(f, "{module}: module uses symbol ({symbol}) from namespace {namespace}, but does not import it.")
            }
            Notice::GplMeetsProprietary { module, symbol, owner } => write!(
                f,
                "{module}: module using GPL-only symbols uses symbols {symbol} from proprietary module {owner}."
            ),
            Notice::InheritsTaint { module, symbol, owner } => {
                write!(f, "{module}: module uses symbols {symbol} from proprietary module {owner}, inheriting taint.")
            }
            Notice::GaveUpWaiting { module, owner } => {
                write!(f, "{module}: gave up waiting for init of module {owner}.")
            }
            Notice::UnknownSymbol { module, symbol, errno } => {
                write!(f, "{module}: Unknown symbol {symbol} (err -{errno})")
            }
            Notice::Fatal(error) => error.fmt(f),
        }
    }
}

/// What a step did to the log and to the taints, whether it succeeded or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The taints the module itself carries.
    pub taints: Taints,
    /// What Linux would print, in order. Some texts have more than one line: one `Notice` may hold a `\n`.
    pub notices: Vec<Notice>,
}

impl Report {
    pub(crate) fn say(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// A taint of the module that comes with a line.
    pub(crate) fn taint(&mut self, taint: Taints, notice: Notice) {
        self.taints.insert(taint);
        self.notices.push(notice);
        if taint == Taints::PROPRIETARY || taint == Taints::FORCED {
            self.notices.push(Notice::LockDebuggingOff);
        }
    }
}
