//! The configuration as one value, and the questions it answers.

use std::ops::Range;
use std::path::PathBuf;

use bstr::{BStr, BString};
use ferrmod_image::fnmatch;

use crate::command_line::CommandLine;
use crate::files::Text;
use crate::lines::Lines;
use crate::parse::{Parsed, parse};
use crate::{Entry, Kind, Origin, Place, SoftDependencies, Sources, Warning};
use ferrmod_image::normalise_alias;

/// Everything that was configured for `modprobe`, in the order in which it counts.
///
/// Holding one tells you that every file was read that has a say: what is not in here was not said. Names that are asked for may
/// be written with `-` or `_`.
#[derive(Debug, Default)]
pub struct Config {
    /// The bytes of all names and values, one behind the other.
    text: Vec<u8>,
    files: Vec<FileFacts>,
    /// The directives of each [`Kind`], in order.
    kept: [Vec<Kept>; KINDS],
    warnings: Vec<Warning>,
}

/// How many kinds of directives there are.
const KINDS: usize = Kind::Allow as usize + 1;

#[derive(Debug)]
struct FileFacts {
    path: PathBuf,
    trusted: bool,
}

/// A directive, as it is kept.
#[derive(Debug, Clone)]
struct Kept {
    name: Range<usize>,
    value: Range<usize>,
    /// Which file; `None` is the kernel command line.
    file: Option<usize>,
    line: u32,
}

/// What the `allow` lines say about a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed<'a> {
    /// There is no `allow` line: every module may be loaded.
    All,
    /// This line names the module.
    By(Entry<'a>),
    /// There are `allow` lines and none names the module. The first of them.
    No(Entry<'a>),
}

impl Config {
    /// Reads all of it. What could not be read or understood is among the [`warnings`](Config::warnings).
    #[must_use]
    pub fn read(sources: &Sources<'_>) -> Config {
        let mut config = Config::default();
        let files = crate::files::modprobe_files(sources, &mut config.warnings);
        for file in files {
            if let Some(text) = crate::files::read(&file, &mut config.warnings) {
                config.add_text(text);
            }
        }
        if let Some(text) = sources.command_line {
            config.add_command_line(text);
        }
        config
    }

    /// The configuration that one text makes, as if it stood in a file of this name.
    #[must_use]
    pub fn from_text(path: PathBuf, text: Vec<u8>, trusted: bool) -> Config {
        let mut config = Config::default();
        config.add_text(Text { path, bytes: text, trusted });
        config
    }

    /// The configuration that a kernel command line makes.
    #[must_use]
    pub fn from_command_line(text: &[u8]) -> Config {
        let mut config = Config::default();
        config.add_command_line(text);
        config
    }

    fn add_text(&mut self, text: Text) {
        let file = Some(self.files.len());
        self.text.reserve(text.bytes.len());
        for line in Lines::new(&text.bytes) {
            if let Err(fault) = parse(&line, |parsed| self.keep(&parsed, file, line.number)) {
                self.warnings.push(Warning {
                    file: text.path.clone(),
                    line: line.number,
                    columns: fault.columns,
                    text: line.text.into_owned().into(),
                    problem: fault.problem,
                });
            }
        }
        self.files.push(FileFacts { path: text.path, trusted: text.trusted });
    }

    fn add_command_line(&mut self, text: &[u8]) {
        for (number, word) in CommandLine::new(text).words() {
            let mut warning = None;
            word.directives(|parsed| self.keep(parsed, None, number), &mut warning);
            self.warnings.extend(warning);
        }
    }

    fn keep(&mut self, parsed: &Parsed<'_>, file: Option<usize>, line: u32) {
        let mut add = |bytes: &[u8]| {
            let begin = self.text.len();
            self.text.extend_from_slice(bytes);
            begin..self.text.len()
        };
        let (name, value) = (add(&parsed.name), add(&parsed.value));
        if let Some(list) = self.kept.get_mut(parsed.kind as usize) {
            list.push(Kept { name, value, file, line });
        }
    }

    /// What was wrong, in the order in which it was met.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Every directive of a kind, in order.
    pub fn entries(&self, kind: Kind) -> impl Iterator<Item = Entry<'_>> {
        self.kept.get(kind as usize).into_iter().flatten().map(move |kept| {
            let bytes = |range: &Range<usize>| BStr::new(self.text.get(range.clone()).unwrap_or_default());
            let (place, trusted) = match kept.file.and_then(|file| self.files.get(file)) {
                Some(file) => (Place::File(&file.path), file.trusted),
                None => (Place::CommandLine, true),
            };
            let origin = Origin { place, line: kept.line, trusted };
            Entry { kind, name: bytes(&kept.name), value: bytes(&kept.value), origin }
        })
    }

    /// The directives of a kind whose pattern matches `name`.
    fn matching<'a>(&'a self, kind: Kind, name: &[u8]) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let name = normalise_alias(name).into_owned();
        self.entries(kind).filter(move |entry| fnmatch(entry.name, &name))
    }

    /// The `alias` lines whose pattern matches `name`, all of them, in order.
    pub fn aliases<'a>(&'a self, name: &[u8]) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        self.matching(Kind::Alias, name)
    }

    /// The first `blacklist` line of exactly this module.
    #[must_use]
    pub fn blacklist(&self, module: &[u8]) -> Option<Entry<'_>> {
        let module = normalise_alias(module);
        self.entries(Kind::Blacklist).find(|entry| **entry.name == *module)
    }

    /// The first `install` line whose pattern matches the module. Run its value only when `origin.trusted`.
    #[must_use]
    pub fn install(&self, module: &[u8]) -> Option<Entry<'_>> {
        self.matching(Kind::Install, module).next()
    }

    /// The first `remove` line whose pattern matches the module. Run its value only when `origin.trusted`.
    #[must_use]
    pub fn remove(&self, module: &[u8]) -> Option<Entry<'_>> {
        self.matching(Kind::Remove, module).next()
    }

    /// The `options` lines of a module, and of the alias it was asked for by, in order.
    pub fn options<'a>(&'a self, module: &[u8], alias: Option<&[u8]>) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let module = normalise_alias(module).into_owned();
        let alias = alias.map(|alias| normalise_alias(alias).into_owned());
        self.entries(Kind::Options).filter(move |entry| {
            **entry.name == *module || alias.as_deref().is_some_and(|alias| **entry.name == *alias)
        })
    }

    /// The texts of [`options`](Config::options) with a space between them: what the module gets. `None` when there is none.
    #[must_use]
    pub fn options_text(&self, module: &[u8], alias: Option<&[u8]>) -> Option<BString> {
        let texts: Vec<_> = self.options(module, alias).map(|entry| entry.value).collect();
        (!texts.is_empty()).then(|| bstr::join(" ", texts).into())
    }

    /// The `softdep` lines whose pattern matches the module, in order. kmod uses the first of them only.
    pub fn softdeps<'a>(&'a self, module: &[u8]) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        self.matching(Kind::Softdep, module)
    }

    /// What all [`softdeps`](Config::softdeps) lines of the module ask for together: in order, each name once. `None` when
    /// there is no such line.
    #[must_use]
    pub fn soft_dependencies(&self, module: &[u8]) -> Option<SoftDependencies<'_>> {
        let mut lines = self.softdeps(module).peekable();
        lines.peek()?;
        let mut all = SoftDependencies::default();
        lines.for_each(|entry| all.add(entry));
        Some(all)
    }

    /// The `weakdep` lines whose pattern matches the module, in order. kmod uses the first of them only.
    pub fn weakdeps<'a>(&'a self, module: &[u8]) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        self.matching(Kind::Weakdep, module)
    }

    /// The first `mask` line that matches the module: it must not be loaded, by whatever way it was asked for.
    #[must_use]
    pub fn mask(&self, module: &[u8]) -> Option<Entry<'_>> {
        self.matching(Kind::Mask, module).next()
    }

    /// Whether the `allow` lines let the module in.
    #[must_use]
    pub fn allowed(&self, module: &[u8]) -> Allowed<'_> {
        match (self.matching(Kind::Allow, module).next(), self.entries(Kind::Allow).next()) {
            (Some(entry), _) => Allowed::By(entry),
            (None, Some(first)) => Allowed::No(first),
            (None, None) => Allowed::All,
        }
    }
}
