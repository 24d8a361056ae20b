//! depmod.d: where `depmod` looks for modules, and which of several of one name counts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use bstr::BString;

use crate::ere::Pattern;
use crate::files::{Text, depmod_files};
use crate::lines::{Lines, Word, Words};
use crate::parse::{Fault, first_word};
use crate::{Folders, Origin, Place, Problem, Root, Warning};

/// Everything that was configured for `depmod`, for one kernel, in the order in which it counts.
///
/// Lines for other kernels (`override`, `external`) are not in it.
#[derive(Debug, Default)]
pub struct Config {
    files: Vec<(PathBuf, bool)>,
    search: Vec<(Search, Line)>,
    overrides: Vec<(Override, Line)>,
    external: Vec<(PathBuf, Line)>,
    exclude: Vec<(BString, Line)>,
    warnings: Vec<Warning>,
}

/// Where a directive stands: the index of its file, and the line.
#[derive(Debug, Clone, Copy)]
struct Line {
    file: usize,
    line: u32,
}

/// What a configuration of depmod is read from.
#[derive(Debug, Clone)]
pub struct Sources<'a> {
    /// Where the folders are looked for.
    pub root: &'a Root,
    /// The list of folders.
    pub folders: Folders,
    /// What `-C` named: files or folders that are read instead. Not looked for in the root. `None` when there was no `-C`.
    pub paths: Option<&'a [PathBuf]>,
    /// The version of the kernel, as in the name of its modules' folder.
    pub kernel: &'a [u8],
}

/// Where modules are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// `built-in`: the folders that the kernel installed, which no other word names.
    BuiltIn,
    /// `external`: the folders of the `external` lines.
    External,
    /// A folder in the modules' folder, as it is written.
    Folder(BString),
}

/// `override MODULE KERNEL FOLDER`: the module of this name in this folder comes before all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The module, as it is written.
    pub module: BString,
    /// The folder in the modules' folder.
    pub folder: BString,
}

impl Config {
    /// Reads all of it. What could not be read or understood is among the [`warnings`](Config::warnings).
    #[must_use]
    pub fn read(sources: &Sources<'_>) -> Config {
        let mut config = Config::default();
        let files = depmod_files(sources.root, sources.folders, sources.paths, &mut config.warnings);
        for file in files {
            if let Some(text) = crate::files::read(&file, &mut config.warnings) {
                config.add_text(text, sources.kernel);
            }
        }
        config
    }

    /// The configuration that one text makes, as if it stood in a file of this name.
    #[must_use]
    pub fn from_text(path: PathBuf, text: Vec<u8>, trusted: bool, kernel: &[u8]) -> Config {
        let mut config = Config::default();
        config.add_text(Text { path, bytes: text, trusted }, kernel);
        config
    }

    fn add_text(&mut self, text: Text, kernel: &[u8]) {
        let file = self.files.len();
        for line in Lines::new(&text.bytes) {
            if let Err(fault) = self.add_line(&line.text, Line { file, line: line.number }, kernel) {
                self.warnings.push(Warning {
                    file: text.path.clone(),
                    line: line.number,
                    columns: fault.columns,
                    text: line.text.into_owned().into(),
                    problem: fault.problem,
                });
            }
        }
        self.files.push((text.path, text.trusted));
    }

    fn add_line(&mut self, text: &[u8], line: Line, kernel: &[u8]) -> Result<(), Fault> {
        let Some((directive, mut words)) = first_word(text) else { return Ok(()) };
        let next =
            |words: &mut Words<'_>, what| words.next().map(|word| word.1.to_vec()).ok_or(Fault::missing(text, what));
        match directive.1 {
            b"search" => self.search.extend(words.map(|(_, word)| {
                let search = match word {
                    b"built-in" => Search::BuiltIn,
                    b"external" => Search::External,
                    folder => Search::Folder(folder.into()),
                };
                (search, line)
            })),
            b"override" => {
                let module = next(&mut words, "the name of a module")?;
                let version = words.next().ok_or(Fault::missing(text, "the version of a kernel, or '*'"))?;
                let folder = next(&mut words, "a folder")?;
                if is_for(version, kernel)? {
                    self.overrides.push((Override { module: module.into(), folder: folder.into() }, line));
                }
            }
            b"external" => {
                let version = words.next().ok_or(Fault::missing(text, "the version of a kernel, or '*'"))?;
                // kmod's page speaks of several folders in a line, but kmod takes the first of them.
                let folder = next(&mut words, "a folder")?;
                if is_for(version, kernel)? {
                    self.external.push((OsString::from_vec(folder).into(), line));
                }
            }
            b"exclude" => self.exclude.extend(words.map(|(_, word)| (word.into(), line))),
            b"include" | b"make_map_files" => return Err(Fault::word(directive, Problem::NotMade)),
            _ => return Err(Fault::word(directive, Problem::Unknown)),
        }
        Ok(())
    }

    fn origin(&self, line: Line) -> Origin<'_> {
        match self.files.get(line.file) {
            Some((path, trusted)) => Origin { place: Place::File(path), line: line.line, trusted: *trusted },
            // Does not happen: a line's file is kept.
            None => Origin { place: Place::CommandLine, line: line.line, trusted: false },
        }
    }

    /// What was wrong, in the order in which it was met.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Where to look, the most important first, over all `search` lines. When there is none: `updates`, then `built-in`, without
    /// origin.
    pub fn search(&self) -> impl Iterator<Item = (Search, Option<Origin<'_>>)> {
        let updates = Search::Folder("updates".into());
        let default = [(updates, None), (Search::BuiltIn, None)].into_iter().filter(|_| self.search.is_empty());
        default.chain(self.search.iter().map(|(search, line)| (search.clone(), Some(self.origin(*line)))))
    }

    /// The `override` lines for this kernel, in order.
    pub fn overrides(&self) -> impl Iterator<Item = (&Override, Origin<'_>)> {
        self.overrides.iter().map(|(override_, line)| (override_, self.origin(*line)))
    }

    /// The folders of `external` lines for this kernel, the most important first, as they are written.
    pub fn external(&self) -> impl Iterator<Item = (&Path, Origin<'_>)> {
        self.external.iter().map(|(folder, line)| (&**folder, self.origin(*line)))
    }

    /// The names of folders that are not entered, from `exclude` lines. `build` and `source` in the modules' folder are never entered and
    /// not listed.
    pub fn exclude(&self) -> impl Iterator<Item = (&[u8], Origin<'_>)> {
        self.exclude.iter().map(|(name, line)| (name.as_slice(), self.origin(*line)))
    }
}

/// Whether a line with this version is for this kernel. `Err` when the version cannot be understood.
fn is_for((at, version): Word<'_>, kernel: &[u8]) -> Result<bool, Fault> {
    if version == b"*" {
        return Ok(true);
    }
    match Pattern::new(version) {
        Some(pattern) => Ok(pattern.is_in(kernel)),
        None => Err(Fault::word((at, version), Problem::KernelPattern)),
    }
}
