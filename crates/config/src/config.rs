//! The configuration as one value, and the questions it answers.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;

use bstr::{BStr, BString};
use ferrmod_image::{fnmatch, normalise_alias};

use crate::by_name::ByName;
use crate::command_line::CommandLine;
use crate::files::Text;
use crate::lines::Lines;
use crate::parse::{Parsed, parse};
use crate::{Entry, Kind, Origin, Place, SoftDependencies, Sources, Warning};

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
    /// The directives of each kind by name, made when they are first asked for by name and are many.
    by_name: [OnceLock<ByName>; KINDS],
    warnings: Vec<Warning>,
}

/// So many directives are looked through one by one as fast as they are put in order once.
const FEW: usize = 64;

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
        self.of_kind(kind).iter().map(move |kept| self.entry(kind, kept))
    }

    fn of_kind(&self, kind: Kind) -> &[Kept] {
        self.kept.get(kind as usize).map(Vec::as_slice).unwrap_or_default()
    }

    fn bytes(&self, range: &Range<usize>) -> &BStr {
        BStr::new(self.text.get(range.clone()).unwrap_or_default())
    }

    fn entry(&self, kind: Kind, kept: &Kept) -> Entry<'_> {
        let (place, trusted) = match kept.file.and_then(|file| self.files.get(file)) {
            Some(file) => (Place::File(&file.path), file.trusted),
            None => (Place::CommandLine, true),
        };
        let origin = Origin { place, line: kept.line, trusted };
        Entry { kind, name: self.bytes(&kept.name), value: self.bytes(&kept.value), origin }
    }

    /// The name of a directive, by its number among those of its kind.
    fn name(&self, kind: Kind, number: u32) -> &[u8] {
        self.of_kind(kind).get(number as usize).map(|kept| self.bytes(&kept.name)).unwrap_or_default()
    }

    /// The directives of a kind by name, when it is worth having them so.
    fn by_name(&self, kind: Kind) -> Option<&ByName> {
        let count = self.of_kind(kind).len();
        let place = self.by_name.get(kind as usize).filter(|_| count > FEW)?;
        Some(place.get_or_init(|| ByName::new(count, |number| self.name(kind, number))))
    }

    /// The directives of a kind with these numbers; without numbers, those that are `wanted`.
    fn these<'a, W: Fn(&Entry<'a>) -> bool>(
        &'a self,
        kind: Kind,
        numbers: Option<Vec<u32>>,
        wanted: W,
    ) -> impl Iterator<Item = Entry<'a>> + use<'a, W> {
        let walked = numbers.is_none().then(|| self.entries(kind).filter(wanted));
        let numbers = numbers.into_iter().flatten();
        let found = numbers.filter_map(move |number| Some(self.entry(kind, self.of_kind(kind).get(number as usize)?)));
        walked.into_iter().flatten().chain(found)
    }

    /// The directives of a kind whose pattern matches `name`.
    fn matching<'a>(&'a self, kind: Kind, name: &[u8]) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let name = normalise_alias(name).into_owned();
        let index = self.by_name(kind);
        let numbers = index.map(|index| index.matching(&name, |number| self.name(kind, number)));
        self.these(kind, numbers, move |entry| fnmatch(entry.name, &name))
    }

    /// The directives of a kind of exactly one of these names, in order. Their names are no patterns here.
    fn named<'a>(&'a self, kind: Kind, names: Vec<Vec<u8>>) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let name = |number| self.name(kind, number);
        let numbers = self.by_name(kind).map(|index| {
            let mut numbers: Vec<u32> = names.iter().flat_map(|one| index.exactly(one, name)).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        });
        self.these(kind, numbers, move |entry| names.iter().any(|name| **entry.name == **name))
    }

    /// The `alias` lines whose pattern matches `name`, all of them, in order.
    pub fn aliases<'a>(&'a self, name: &[u8]) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        self.matching(Kind::Alias, name)
    }

    /// The first `blacklist` line of exactly this module.
    #[must_use]
    pub fn blacklist(&self, module: &[u8]) -> Option<Entry<'_>> {
        self.named(Kind::Blacklist, vec![normalise_alias(module).into_owned()]).next()
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
        let names = [Some(module), alias].into_iter().flatten();
        self.named(Kind::Options, names.map(|name| normalise_alias(name).into_owned()).collect())
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

    /// The first directive of a kind that is spelled exactly so. Patterns do not count as such.
    #[must_use]
    pub fn spelled(&self, kind: Kind, name: &[u8]) -> Option<Entry<'_>> {
        self.named(kind, vec![name.to_vec()]).next()
    }

    /// What all [`softdeps`](Config::softdeps) lines of the module ask for together: in order, each name once. `None` when
    /// there is no such line.
    #[must_use]
    pub fn soft_dependencies(&self, module: &[u8]) -> Option<SoftDependencies<'_>> {
        let mut lines = self.softdeps(module).peekable();
        lines.peek()?;
        Some(lines.collect())
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
