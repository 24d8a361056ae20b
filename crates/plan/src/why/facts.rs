//! What is known of a system and of the module in question, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bstr::{BString, ByteSlice};
use ferrmod_config::{Config, Listed};

use crate::check::{Answer, Origin, Reason, Verdict};

/// What is known of a system.
#[derive(Debug, Default)]
pub struct System {
    /// The devices that say which module they want; `None` when nobody could look.
    pub devices: Option<Vec<Device>>,
    /// Lists of modules that are loaded at boot.
    pub lists: Vec<List>,
    /// The kernel's command line: where it was read, and its text.
    pub command_line: Option<(String, String)>,
    /// The device nodes that stand for modules (`modules.devname`).
    pub nodes: Vec<Node>,
    /// What the kernel starts with.
    pub initramfs: Initramfs,
    /// Where it stands that the kernel calls no modprobe (`kernel.modprobe` is empty).
    pub no_modprobe: Option<Origin>,
}

/// A device that is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its folder: `/sys/devices/pci0000:00/0000:00:1f.2`.
    pub path: String,
    /// What it asks for: `pci:v00008086d...`.
    pub modalias: String,
    /// The driver that has it now.
    pub driver: Option<String>,
    /// The module that driver is in; a driver without one is the kernel's own.
    pub module: Option<String>,
}

/// Who reads a list of modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Reader {
    /// `systemd-modules-load`: the files of modules-load.d. It obeys `blacklist` for names as for aliases.
    ModulesLoad,
    /// Debian's init script of kmod, which calls modprobe for each line of `/etc/modules`; systemd does not read it.
    InitScript,
}

/// A list of modules and who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Who.
    pub reader: Reader,
    /// Its lines, of all its files.
    pub lines: Vec<Listed>,
}

/// A line of `modules.devname`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The module.
    pub module: String,
    /// The node, below `/dev`.
    pub path: String,
    /// `c` or `b`.
    pub kind: char,
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Where it stands.
    pub origin: Origin,
}

impl Node {
    /// The alias that the kernel asks for when the node is opened and nobody has its number.
    #[must_use]
    pub fn alias(&self) -> String {
        let kind = if self.kind == 'b' { "block" } else { "char" };
        format!("{kind}-major-{}-{}", self.major, self.minor)
    }
}

/// The lines of `modules.devname`; a line that is none is left out.
#[must_use]
pub fn nodes(source: &str, text: &[u8]) -> Vec<Node> {
    let node = |(number, line): (usize, &[u8])| {
        let text = std::str::from_utf8(line).ok().filter(|line| !line.starts_with('#'))?;
        let mut words = text.split_ascii_whitespace();
        let (module, path, device) = (words.next()?, words.next()?, words.next()?);
        let (kind, numbers) = device.split_at_checked(1)?;
        let (major, minor) = numbers.split_once(':')?;
        let origin = Origin { source: source.to_owned(), line: Some(number), text: text.to_owned() };
        Some(Node {
            module: module.replace('-', "_"),
            path: path.to_owned(),
            kind: kind.chars().next().filter(|kind| matches!(kind, 'c' | 'b'))?,
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            origin,
        })
    };
    (1..).zip(text.lines()).filter_map(node).collect()
}

/// What is known of the initramfs.
#[derive(Debug, Default)]
pub enum Initramfs {
    /// Nobody looked.
    #[default]
    NotLooked,
    /// There is none where one would be.
    Missing {
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// It cannot be read.
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// This is in it.
    Read(Box<InitramfsContents>),
}

/// What an initramfs holds that has a say.
#[derive(Debug, Default)]
pub struct InitramfsContents {
    /// The file.
    pub file: String,
    /// The modules in it: names, and paths in the archive.
    pub modules: BTreeMap<String, String>,
    /// The lines of its lists: `conf/modules` of initramfs-tools, `modules-load.d` where systemd runs in it.
    pub lists: Vec<Listed>,
    /// Its modprobe.d, a value for each file, in the order in which they count.
    pub configs: Vec<Config>,
    /// Whether udev runs in it, so that devices have modules loaded.
    pub udev: bool,
}

/// What the kernel says of a module that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Loaded {
    /// `live`, `coming` or `going`.
    pub state: &'static str,
    /// How many uses it has; `None` when nobody says.
    pub references: Option<i64>,
    /// The modules that use it.
    pub used_by: Vec<String>,
}

/// Whether the kernel would take the module's file.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Judgement {
    /// The kernel's release.
    pub kernel: String,
    /// The answer; `None` when the kernel's files are not at hand, so that only what its rules say is known.
    pub answer: Option<Answer>,
    /// The name of the error number that a load of the file would end with.
    pub errno: Option<&'static str>,
    /// Why it would be refused.
    pub reasons: Vec<Reason>,
    /// What is known of its signature, in words.
    pub signature: Option<String>,
    /// Why it was not judged.
    pub unknown: Option<String>,
}

impl Judgement {
    /// What a check came to.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Judgement {
        use crate::check::Note;
        let signature = verdict.notes.iter().find_map(|note| match note {
            Note::SignedBy { .. } | Note::SignatureUnverified => Some(note.to_string()),
            _ => None,
        });
        Judgement {
            kernel: verdict.kernel.clone(),
            answer: Some(verdict.answer),
            errno: verdict.errno_name,
            reasons: verdict.reasons.clone(),
            signature,
            unknown: None,
        }
    }

    /// The kernel's files are not at hand.
    #[must_use]
    pub fn unknown(kernel: &str, why: String) -> Judgement {
        Judgement { kernel: kernel.to_owned(), unknown: Some(why), ..Judgement::default() }
    }
}

/// The module in question, with what only its own file and the kernel tell.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Its file as it is given to `insmod`; `None` when there is none.
    pub file: Option<PathBuf>,
    /// The aliases in its own `.modinfo`, for when depmod has not been run.
    pub aliases: Vec<BString>,
    /// Whether it is loaded now.
    pub loaded: Option<Loaded>,
    /// Whether the kernel would take it.
    pub judgement: Judgement,
}
