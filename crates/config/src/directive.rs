//! Directives, and where they come from.

use std::fmt;
use std::path::Path;

use bstr::BStr;

/// What a line of modprobe.d says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `alias PATTERN MODULE`: a name that matches the pattern stands for the module.
    Alias,
    /// `blacklist MODULE`: the module is not loaded through an alias (nor by its name with `modprobe -b`).
    Blacklist,
    /// `options NAME TEXT`: parameters of a module, or of the modules of an alias.
    Options,
    /// `install PATTERN COMMAND`: what to run instead of loading the module.
    Install,
    /// `remove PATTERN COMMAND`: what to run instead of removing the module.
    Remove,
    /// `softdep PATTERN pre: A.. post: B..`: modules to load before and after, if they are there.
    Softdep,
    /// `weakdep PATTERN A..`: modules that may be wanted while the module runs.
    Weakdep,
    /// `mask PATTERN..`: modules that are never loaded, by any path. Not known to kmod.
    Mask,
    /// `allow PATTERN..`: when there is such a line, only modules that match one may be loaded. Not known to kmod.
    Allow,
}

impl Kind {
    /// The word that begins such a line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Alias => "alias",
            Kind::Blacklist => "blacklist",
            Kind::Options => "options",
            Kind::Install => "install",
            Kind::Remove => "remove",
            Kind::Softdep => "softdep",
            Kind::Weakdep => "weakdep",
            Kind::Mask => "mask",
            Kind::Allow => "allow",
        }
    }
}

/// One directive: what it says, about whom, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it says.
    pub kind: Kind,
    /// About whom: a module's name or a pattern, with `-` as `_` outside of brackets.
    pub name: &'a BStr,
    /// The rest: the module of an alias (`-` as `_`), the text of options with tabs as spaces, a command as it is in the
    /// file, the text of a softdep or weakdep. Empty for `blacklist`, `mask` and `allow`.
    pub value: &'a BStr,
    /// Where it stands.
    pub origin: Origin<'a>,
}

/// Where a directive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The file.
    pub place: Place<'a>,
    /// The line in that file, counted from 1: the last one when several were joined by backslashes, as in kmod's messages.
    /// On the kernel command line: the number of the word.
    pub line: u32,
    /// Whether commands from there may be run: the file belongs to root or to the caller, not everybody may write to it, and it
    /// is of the system that runs and not of another root.
    pub trusted: bool,
}

/// What a directive was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A file, named as one would open it from outside of the root.
    File(&'a Path),
    /// The kernel command line.
    CommandLine,
}

/// `/etc/modprobe.d/local.conf line 3`, or `kernel command line`.
impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::File(path) => write!(f, "{} line {}", path.display(), self.line),
            Place::CommandLine => f.write_str("kernel command line"),
        }
    }
}

impl Entry<'_> {
    /// Appends the directive as `modprobe --showconfig` prints it, without the line's end. Bytes are kept as they are.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.kind.word().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.name);
        if !matches!(self.kind, Kind::Blacklist | Kind::Mask | Kind::Allow) {
            out.push(b' ');
            match self.kind {
                Kind::Softdep => crate::softdep::write_softdep(self.value, out),
                Kind::Weakdep => crate::softdep::write_weakdep(self.value, out),
                _ => out.extend_from_slice(self.value),
            }
        }
    }
}
