//! Why there is no plan.

use std::fmt;
use std::path::PathBuf;

use ferrmod_index::FileError;

/// Why what was asked for cannot be loaded: at least one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Vec<Reason>);

impl Refusal {
    /// A refusal for these reasons; `None` when there are none.
    #[must_use]
    pub fn new(reasons: Vec<Reason>) -> Option<Refusal> {
        (!reasons.is_empty()).then_some(Refusal(reasons))
    }

    /// The reasons, in the order in which they were met; never empty.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, reason) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            reason.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// One reason, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is no module of this name or alias.
    NotFound {
        /// What was asked for.
        name: String,
        /// The tree that was looked in; `None` when there was none to look in.
        tree: Option<PathBuf>,
        /// Names like it.
        nearest: Vec<String>,
    },
    /// A module needs another one that is not there.
    DependencyMissing {
        /// The module.
        module: String,
        /// What it needs.
        dependency: String,
        /// The tree that was looked in.
        tree: Option<PathBuf>,
        /// The folder of the module's file, when that was looked in, too.
        folder: Option<PathBuf>,
        /// Names like it.
        nearest: Vec<String>,
    },
    /// Modules need each other.
    Cycle {
        /// Each needs the next one, and the last one the first.
        members: Vec<String>,
    },
    /// A file cannot be read, or is no module.
    Unreadable(FileError),
    /// Two of the files that were asked for are the same module.
    SameModule {
        /// Its name.
        name: String,
        /// The file that came first.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
}

/// A proposal, when there is one.
fn did_you_mean(f: &mut fmt::Formatter<'_>, nearest: &[String]) -> fmt::Result {
    if nearest.is_empty() { Ok(()) } else { write!(f, "; did you mean {}?", nearest.join(" or ")) }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotFound { name, tree: Some(tree), nearest } => {
                write!(f, "{name}: no module of this name or alias in {}", tree.display())?;
                did_you_mean(f, nearest)
            }
            Reason::NotFound { name, tree: None, .. } => {
                write!(f, "{name}: there is no tree of modules to look in; give the module's file, or a tree")
            }
            Reason::DependencyMissing { module, dependency, tree, folder, nearest } => {
                write!(f, "{module}: needs {dependency}, which is not there (looked in")?;
                let places = tree.iter().chain(folder).map(|place| place.display().to_string());
                let places: Vec<_> = ["the files given".to_owned()].into_iter().chain(places).collect();
                write!(f, " {})", places.join(", "))?;
                did_you_mean(f, nearest)
            }
            Reason::Cycle { members } => match members.as_slice() {
                [one] => write!(f, "{one}: needs itself"),
                members => {
                    write!(f, "modules need each other: {}", members.join(" needs "))?;
                    members.first().map_or(Ok(()), |first| write!(f, " needs {first}"))
                }
            },
            Reason::Unreadable(error) => error.fmt(f),
            Reason::SameModule { name, first, second } => {
                write!(f, "{}: is the module {name}, as {} is: give one of them", second.display(), first.display())
            }
        }
    }
}
