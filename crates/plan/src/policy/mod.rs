//! The fewest modules that a system needs: what was seen in use, and what that needs, as a policy.
//!
//! [`Record`] keeps what was loaded over some boots. [`make`] takes the names in it, or a list of somebody's, and a tree, and answers with
//! a [`Policy`]: every module that may be loaded and why, and all others. From it come the files that enforce it ([`modprobe_conf`],
//! [`modules_load`], [`initramfs`]), and [`breaks()`] tells what of a system would no longer work with it.
//!
//! # What this module does not do
//!
//! It watches no system and writes no file. A policy binds modprobe and whoever calls it, the kernel's own requests among them; who may
//! call init_module(2) himself is bound by `modules_disabled`, from the point on that [`Record::settled`] tells.

mod breaks;
mod files;
mod record;

use std::collections::BTreeMap;
use std::fmt;

pub use breaks::{Break, InUse, Mount, Rule, Thing, breaks, rules};
pub use files::{Dialect, initramfs, modprobe_conf, modules_load, unspeakable};
pub use record::{Boot, Late, Record, RecordError, Seen, Settled};

use ferrmod_index::{FileError, Index};

use crate::{Options, Request, Why, plan};

/// The name and version of the form in which a policy is kept.
pub const SCHEMA: &str = "ferrmod.policy/1";

/// The modules that a system may load, and all others of its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Policy {
    /// [`SCHEMA`].
    pub schema: String,
    /// The release of the kernel whose tree it was made for.
    pub kernel: String,
    /// What may be loaded, by name.
    pub allowed: BTreeMap<String, Vec<Because>>,
    /// What is wanted and built into the kernel.
    pub builtin: Vec<String>,
    /// What is wanted and not in the tree.
    pub missing: Vec<String>,
    /// What is wanted and cannot be loaded as the tree is, with the reason.
    pub broken: BTreeMap<String, String>,
    /// Every other module of the tree.
    pub denied: Vec<String>,
    /// What has to be there before the root file system is; `None` when nobody could tell.
    pub root: Option<Vec<String>>,
}

/// Why a module may be loaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Because {
    /// It was seen loaded.
    Seen {
        /// In how many of the recorded boots.
        boots: usize,
        /// Whether anything used it while it was looked at.
        used: bool,
    },
    /// It is on a list, or was named.
    Named,
    /// The root file system is on what it drives.
    Root,
    /// That module cannot do without it.
    NeededBy(String),
    /// That module would like to have it.
    WishedBy(String),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::Seen { boots, used } => {
                let plural = if *boots == 1 { "" } else { "s" };
                write!(f, "seen in {boots} boot{plural}{}", if *used { ", in use" } else { ", never in use" })
            }
            Because::Named => f.write_str("named"),
            Because::Root => f.write_str("the root file system is on it"),
            Because::NeededBy(module) => write!(f, "needed by {module}"),
            Because::WishedBy(module) => write!(f, "wished by {module}"),
        }
    }
}

impl Policy {
    /// Whether the policy lets a module in.
    #[must_use]
    pub fn allows(&self, module: &str) -> bool {
        self.allowed.contains_key(module)
    }

    /// The modules that somebody wanted, without those that come along with them.
    pub fn wanted(&self) -> impl Iterator<Item = &str> {
        let asked = |because: &Because| !matches!(because, Because::NeededBy(_) | Because::WishedBy(_));
        self.allowed.iter().filter(move |(_, because)| because.iter().any(asked)).map(|(name, _)| name.as_str())
    }
}

/// The policy under which exactly `wanted` can be loaded, and what it needs.
///
/// `root` are those among them that have to be there before the root file system is, if that is known.
///
/// # Errors
/// The tree cannot be read.
pub fn make(
    kernel: &str,
    wanted: &BTreeMap<String, Because>,
    root: Option<&[String]>,
    index: &Index,
) -> Result<Policy, FileError> {
    let mut policy = Policy {
        schema: SCHEMA.to_owned(),
        kernel: kernel.to_owned(),
        allowed: BTreeMap::new(),
        builtin: Vec::new(),
        missing: Vec::new(),
        broken: BTreeMap::new(),
        denied: Vec::new(),
        root: None,
    };
    let root = match root {
        Some(names) => Some(policy.root_of(names, index)?),
        None => None,
    };
    for (name, because) in wanted {
        policy.want(name, because, index)?;
    }
    policy.root = root;
    policy.denied =
        index.modules()?.into_iter().map(|module| module.name).filter(|name| !policy.allows(name)).collect();
    policy.denied.dedup();
    Ok(policy)
}

impl Policy {
    /// What `names` need too, the names of all.
    fn root_of(&mut self, names: &[String], index: &Index) -> Result<Vec<String>, FileError> {
        for name in names {
            self.want(name, &Because::Root, index)?;
        }
        Ok(self.allowed.keys().cloned().collect())
    }

    fn want(&mut self, name: &str, because: &Because, index: &Index) -> Result<(), FileError> {
        if index.file(name)?.is_none() {
            let list = if index.is_builtin(name) { &mut self.builtin } else { &mut self.missing };
            if !list.iter().any(|known| known == name) {
                list.push(name.to_owned());
            }
            return Ok(());
        }
        match plan(&[Request::Name(name.to_owned())], Some(index), Options::default()) {
            Ok(plan) => {
                for load in plan.loads {
                    self.allow(
                        load.name,
                        match load.why {
                            Why::Requested { .. } => because.clone(),
                            Why::DependencyOf { module } => Because::NeededBy(module),
                            Why::SoftdepOf { module, .. } => Because::WishedBy(module),
                        },
                    );
                }
            }
            // It stays allowed: it was in use, and what it lacks may come back.
            Err(refusal) => {
                self.allow(name.to_owned(), because.clone());
                self.broken.insert(name.to_owned(), refusal.to_string());
            }
        }
        Ok(())
    }

    fn allow(&mut self, name: String, because: Because) {
        let reasons = self.allowed.entry(name).or_default();
        if !reasons.contains(&because) {
            reasons.push(because);
        }
    }
}
