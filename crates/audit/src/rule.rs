//! The rules of an audit: what each is called, how much it matters, and what to do.

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Information,
    /// Somebody should know why it is so.
    Warning,
    /// It should not be so on a machine that is trusted.
    Serious,
}

impl Severity {
    /// All, the gravest first.
    pub const ALL: [Severity; 3] = [Severity::Serious, Severity::Warning, Severity::Information];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Information => "information",
            Self::Warning => "warning",
            Self::Serious => "serious",
        }
    }
}

/// Makes the rules: name, identifier, severity, what it looks for, what to do.
macro_rules! rules {
    ($($name:ident, $id:literal, $severity:ident, $title:literal, $advice:literal;)*) => {
        /// A rule. Its identifier never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "kebab-case")]
        pub enum Rule {
            $(#[doc = concat!("`", $id, "`: ", $title)] $name,)*
        }

        impl Rule {
            /// All rules.
            pub const ALL: &[Rule] = &[$(Rule::$name),*];

            /// The identifier (`hidden-module`).
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Rule::$name => $id),* }
            }

            /// How much what it finds matters, when nothing else is known.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Rule::$name => Severity::$severity),* }
            }

            /// What it finds, a sentence without its full stop.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Rule::$name => $title),* }
            }

            /// What to do about it, in sentences.
            #[must_use]
            pub fn advice(self) -> &'static str {
                match self { $(Rule::$name => $advice),* }
            }
        }
    };
}

rules! {
    Unsigned, "unsigned", Warning, "A module carries no signature",
        "Sign it (`ferrmod sign`) with a key that the kernel trusts, or learn who put it there.";
    UnknownSigner, "unknown-signer", Warning, "A module is signed by somebody who is not trusted",
        "Name the certificates that you trust with --keyring or --cert (the machine owner's key of DKMS is often in /var/lib/dkms or /var/lib/shim-signed/mok).";
    BadSignature, "bad-signature", Serious, "A module's signature does not hold",
        "The file was changed after it was signed, or its signer was revoked. Reinstall its package and find out how it was changed.";
    AlteredMessage, "altered-message", Serious, "Bytes of a signature that Linux does not look at were changed",
        "Reinstall the package of the module and find out how it was changed.";
    OutOfTree, "out-of-tree", Warning, "A module was built outside of the kernel's tree",
        "Know where it comes from. The kernel's developers do not look into faults of such kernels.";
    Proprietary, "proprietary", Warning, "A module has a proprietary licence",
        "Know where it comes from. Nobody but its maker can look into it.";
    Staging, "staging", Warning, "A module is a staging driver",
        "Do without it where you can.";
    Forced, "forced", Serious, "A module was loaded by force",
        "Unload it, and build it for this kernel.";
    Test, "test", Warning, "A module is a test of the kernel",
        "Unload it; tests may do anything to the kernel they run in.";
    Livepatch, "livepatch", Information, "A module is a live patch",
        "Know who made it.";
    TaintMismatch, "taint-mismatch", Serious, "The kernel says two things about the taints of a module",
        "Somebody writes into the kernel's memory. Look at the machine from outside.";
    UnreadableFile, "unreadable-file", Warning, "The file of a module cannot be read as one",
        "Reinstall its package.";
    NoFile, "no-file", Warning, "A loaded module has no file in the tree of its kernel",
        "It was loaded from elsewhere, or its package was removed since.";
    SrcversionDiffers, "srcversion-differs", Warning, "A loaded module was built from other sources than its file",
        "After an update this is so until the module is loaded again; otherwise find out what is loaded.";
    BuildIdDiffers, "build-id-differs", Warning, "A loaded module is of another build than its file",
        "After an update this is so until the module is loaded again; otherwise find out what is loaded.";
    PackageDiffers, "package-differs", Serious, "A module's file is not what its package installed",
        "Reinstall the package and find out how the file was changed.";
    PackageMissing, "package-missing", Warning, "A module that a package installed is gone",
        "Reinstall the package, or, with dpkg, divert the file with dpkg-divert if it is to stay away.";
    Unpackaged, "unpackaged", Warning, "A module's file belongs to no package",
        "Modules that DKMS built are such files; for others find out who put them there.";
    UnpackagedTree, "unpackaged-tree", Warning, "A whole tree of modules belongs to no package",
        "A kernel that was built here is such a tree.";
    Unused, "unused", Information, "A loaded module is in use by nobody",
        "What is not loaded cannot be attacked; `ferrmod policy` finds what can do without.";
    HiddenModule, "hidden-module", Serious, "A module is in the kernel, and the list of modules does not show it",
        "This is how rootkits behave. Do not trust what the machine says of itself, and look at it from outside.";
    HiddenFromSysfs, "hidden-from-sysfs", Serious, "A listed module has no folder in /sys/module",
        "Somebody has taken it out of sysfs. Look at the machine from outside.";
    UnexplainedTaint, "unexplained-taint", Warning, "The kernel has a taint that no listed module explains",
        "Taints stay until the next boot. If nothing was unloaded since (see the kernel log), the module is hidden.";
    ClearedTaint, "cleared-taint", Serious, "A module has a taint that the kernel does not have",
        "Taints never go away by themselves: somebody writes into the kernel's memory.";
    ForcedUnload, "forced-unload", Warning, "A module was unloaded by force",
        "What the kernel does since is anybody's guess; boot again.";
    OtherTaint, "other-taint", Information, "The kernel is tainted by something else than a module",
        "The kernel log has the occasion.";
    MalformedView, "malformed-view", Serious, "A list of the kernel's has a line that the kernel does not write",
        "Find out what stands between you and the kernel.";
    Unchecked, "unchecked", Information, "Something could not be looked at",
        "Provide what the message names; root may read everything.";
    SettingOpen, "setting-open", Information, "A setting that would stop attackers is off",
        "The page of this command says what each setting stops.";
    ModprobePath, "modprobe-path", Serious, "The kernel runs an unexpected program to load modules",
        "Writing this path is a known way from a bug in the kernel to root. Set kernel.modprobe to /sbin/modprobe and look for who changed it.";
    BaselineNew, "baseline-new", Warning, "A module is not in the baseline",
        "If it should be there, write the baseline anew (--write-baseline).";
    BaselineGone, "baseline-gone", Information, "A module of the baseline is not there",
        "If it should not be there, write the baseline anew (--write-baseline).";
    BaselineChanged, "baseline-changed", Warning, "A module is another than in the baseline",
        "If an update explains it, write the baseline anew (--write-baseline).";
    BaselineSetting, "baseline-setting", Warning, "A setting is another than in the baseline",
        "If you changed it, write the baseline anew (--write-baseline).";
    BaselineKernel, "baseline-kernel", Information, "The baseline is of another kernel",
        "Write a baseline of this one (--write-baseline).";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_told_apart() {
        let mut ids: Vec<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.id());
            assert!(rule.id().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", rule.id());
            assert!(!rule.title().ends_with('.') && rule.advice().ends_with('.'), "{}", rule.id());
        }
    }
}
