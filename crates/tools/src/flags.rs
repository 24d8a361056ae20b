//! Applets and their options as data.

use crate::report::Level;
use crate::session::{Session, Status, Stop};

/// A command: everything that is known about it before it runs.
#[derive(Debug)]
pub struct Applet {
    /// The name it is called by.
    pub name: &'static str,
    /// Which names lead to it.
    pub family: Family,
    /// What follows the name on the command line, one string a form: `[options] FILE [PARAMETER=VALUE]...`.
    pub synopsis: &'static [&'static str],
    /// One line, lower case, without a full stop.
    pub summary: &'static str,
    /// Paragraphs for the manual page, apart from each other by an empty line.
    pub description: &'static str,
    /// Text behind the options in `--help` and in the manual page (formats, exit status), paragraphs as in `description`.
    pub notes: &'static str,
    /// The options, in kmod's order (which shows when an abbreviation is ambiguous), ours behind them.
    pub flags: &'static [Flag],
    /// Commands within it, as of `kmod`.
    pub commands: &'static [&'static Applet],
    /// What the operands are, for completions.
    pub operands: Operand,
    /// The least important messages that are printed without `-v`.
    pub level: Level,
    /// Runs it.
    pub run: fn(&mut Session) -> Result<Status, Stop>,
}

impl Applet {
    /// What most applets have in common, for `..Applet::BASE`.
    pub const BASE: Applet = Applet {
        name: "",
        family: Family::Kmod,
        synopsis: &[],
        summary: "",
        description: "",
        notes: "",
        flags: &[],
        commands: &[],
        operands: Operand::Nothing,
        level: Level::Warning,
        run: |_| Ok(Status::Success),
    };
}

/// Which names lead to an applet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// One of kmod's names: reached through a link of that name and as `ferrmod NAME`.
    Kmod,
    /// A command that kmod does not have: `ferrmod NAME` only.
    Own,
}

/// What an applet's operands are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// It takes none.
    Nothing,
    /// Files of modules.
    Files,
    /// Names or aliases in the tree of modules, or files.
    Modules,
    /// Modules that are loaded.
    Loaded,
    /// A folder.
    Folder,
    /// A release of the kernel.
    Release,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    None,
    /// A value, named as in `--help`.
    Required(&'static str),
}

/// Where an option comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// kmod 34 has it.
    Kmod,
    /// kmod 30 had it, 34 has dropped it: taken, but no abbreviation of kmod 34's options becomes ambiguous because of it.
    Kmod30,
    /// kmod has no such option. Abbreviations as for [`Origin::Kmod30`].
    Ours,
}

/// An option.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// What the applet knows it by, the same for several spellings of one option.
    pub id: &'static str,
    /// Its long name, without dashes.
    pub long: Option<&'static str>,
    /// Its letter.
    pub short: Option<u8>,
    /// What it takes.
    pub value: Value,
    /// One line for `--help` and completions.
    pub summary: &'static str,
    /// Paragraphs for the manual page; empty: the summary will do.
    pub doc: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// Taken, but not shown: spellings that nobody should learn any more.
    pub hidden: bool,
}

impl Flag {
    /// An option with the long name `long`, which is its `id` as well.
    #[must_use]
    pub const fn long(long: &'static str, summary: &'static str) -> Flag {
        Flag {
            id: long,
            long: Some(long),
            short: None,
            value: Value::None,
            summary,
            doc: "",
            origin: Origin::Kmod,
            hidden: false,
        }
    }

    /// An option that has a letter only; `id` is what the applet knows it by.
    #[must_use]
    pub const fn letter(short: u8, id: &'static str, summary: &'static str) -> Flag {
        let mut flag = Flag::long(id, summary);
        flag.long = None;
        flag.short = Some(short);
        flag
    }

    /// With a letter.
    #[must_use]
    pub const fn short(mut self, short: u8) -> Flag {
        self.short = Some(short);
        self
    }

    /// With a value.
    #[must_use]
    pub const fn value(mut self, name: &'static str) -> Flag {
        self.value = Value::Required(name);
        self
    }

    /// Another spelling of the option `id`.
    #[must_use]
    pub const fn id(mut self, id: &'static str) -> Flag {
        self.id = id;
        self
    }

    /// With more to say in the manual page.
    #[must_use]
    pub const fn doc(mut self, doc: &'static str) -> Flag {
        self.doc = doc;
        self
    }

    /// From kmod 30.
    #[must_use]
    pub const fn kmod30(mut self) -> Flag {
        self.origin = Origin::Kmod30;
        self.hidden = true;
        self
    }

    /// Not kmod's.
    #[must_use]
    pub const fn ours(mut self) -> Flag {
        self.origin = Origin::Ours;
        self
    }

    /// Taken and not shown.
    #[must_use]
    pub const fn hidden(mut self) -> Flag {
        self.hidden = true;
        self
    }
}

/// `-s`.
pub const SYSLOG: Flag = Flag::long("syslog", "send messages to syslog instead of stderr")
    .short(b's')
    .doc("Send messages to the system log (facility daemon) instead of the standard error.");

/// `-v`.
pub const VERBOSE: Flag = Flag::long("verbose", "say more; may be given several times")
    .short(b'v')
    .doc("Print messages of one more level: warnings, then notices, information and what helps with debugging.");

/// `-q`.
pub const QUIET: Flag = Flag::long("quiet", "print no messages")
    .short(b'q')
    .doc("Print no messages. The exit status is what it would be without this option.");

/// `-V`.
pub const VERSION: Flag = Flag::long("version", "print the version").short(b'V');

/// `-h`.
pub const HELP: Flag = Flag::long("help", "print this help").short(b'h');

/// `--json`.
pub const JSON: Flag = Flag::long("json", "print one JSON document instead of text").ours();
