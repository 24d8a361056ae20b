//! The picture of what needs what: modules, the edges between them, cycles, and why a module stays.
//!
//! A [`Graph`] is made of a tree ([`Graph::of_tree`]) or of what is loaded ([`Graph::of_loaded`]). How it is drawn is not known here.

mod build;
mod components;
mod reduce;

use std::collections::HashMap;
use std::fmt;

pub use build::{GraphError, Origin, Wanted};
pub use components::components;
pub use reduce::implied;

/// Modules and what they need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    /// The modules, by name; each name once.
    pub nodes: Vec<Node>,
    /// The edges, by the numbers of their ends; no two with the same ends and kind.
    pub edges: Vec<Edge>,
    /// Modules that wait for each other.
    pub cycles: Vec<Cycle>,
    /// Files that could not be read as modules, and why.
    pub unreadable: Vec<String>,
}

/// A module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Node {
    /// Its name, with `_`.
    pub name: String,
    /// Where it is.
    pub kind: NodeKind,
    /// Whether it was asked for by name.
    pub asked: bool,
    /// Its file, in the tree.
    pub file: Option<String>,
    /// The folder of that file, in the tree (`kernel/fs/ext4`).
    pub directory: Option<String>,
    /// How large the file is unpacked, in bytes.
    pub file_size: Option<u64>,
    /// `license`, as the file states it.
    pub licence: Option<String>,
    /// Whether the file carries a signature in the form that Linux takes.
    pub signed: Option<bool>,
    /// The letters of the taints that it brought, or, when it is not loaded, that its file brings by what it states.
    pub taints: String,
    /// What the kernel says about it, when it is loaded.
    pub loaded: Option<Loaded>,
    /// Why it cannot be removed; empty when it can, or when it is not known to be loaded and nothing in its file is against it.
    pub stays: Vec<Stays>,
}

/// Where a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum NodeKind {
    /// A file of the tree.
    File,
    /// Part of the kernel's image.
    Builtin,
    /// Loaded, and there is no file of it at hand.
    Loaded,
    /// Nowhere: another module names it.
    #[default]
    Missing,
}

/// What the kernel says about a loaded module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Loaded {
    /// The memory that it takes, in bytes.
    pub size: u64,
    /// How many uses it has; `None` when the kernel cannot unload.
    pub references: Option<i64>,
    /// The modules that use it, the newest first.
    pub holders: Vec<String>,
    /// Where it stands in its life.
    pub state: LoadState,
    /// Whether it has no exit function.
    pub permanent: bool,
}

/// Where a loaded module stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum LoadState {
    /// It works.
    #[default]
    Live,
    /// Its init function runs.
    Loading,
    /// Its exit function runs.
    Unloading,
}

/// A loaded module, as somebody who looked at the kernel hands it in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadedModule {
    /// Its name, with `_`.
    pub name: String,
    /// The letters of its taints.
    pub taints: String,
    /// The rest.
    pub loaded: Loaded,
}

/// From a module to one that it needs, or would like to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The number of the module.
    pub from: usize,
    /// The number of what it needs.
    pub to: usize,
    /// How much it needs it.
    pub kind: EdgeKind,
    /// Whether other edges say it already: there is a longer way of [`EdgeKind::Needs`] from one to the other.
    pub implied: bool,
}

/// How much a module needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EdgeKind {
    /// It does not load without, or, between loaded modules, holds a reference to it.
    Needs,
    /// `softdep … pre:`, loaded before it where that is there.
    SoftPre,
    /// `softdep … post:`, loaded after it.
    SoftPost,
    /// `weakdep`: may be wanted while it runs.
    Weak,
}

/// Modules that wait for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// Their numbers, ascending.
    pub members: Vec<usize>,
    /// Whether it is one of hard dependencies, so that none of them loads; otherwise it needs a soft dependency to close, which
    /// modprobe leaves out.
    pub hard: bool,
}

/// Why a module cannot be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "reason", rename_all = "kebab-case"))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stays {
    /// Other modules use it.
    UsedBy {
        /// These, the newest first.
        modules: Vec<String>,
    },
    /// It has an init function and no exit function.
    Permanent,
    /// It has more references than modules that use it: open files, mounts, interfaces that are up, threads.
    UsedElsewhere {
        /// How many.
        uses: i64,
    },
    /// It is part of the kernel's image.
    Builtin,
    /// It is being loaded or unloaded.
    Busy {
        /// Which of both.
        state: LoadState,
    },
    /// The kernel was built without `CONFIG_MODULE_UNLOAD`.
    NoUnloading,
    /// Loading and unloading is switched off until the next boot (`kernel.modules_disabled`).
    Disabled,
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stays::UsedBy { modules } => write!(f, "used by {}", modules.join(", ")),
            Stays::Permanent => f.write_str("permanent: it has no exit function"),
            Stays::UsedElsewhere { uses: 1 } => f.write_str("used once outside of modules"),
            Stays::UsedElsewhere { uses } => write!(f, "used {uses} times outside of modules"),
            Stays::Builtin => f.write_str("built into the kernel"),
            Stays::Busy { state: LoadState::Unloading } => f.write_str("it is being unloaded"),
            Stays::Busy { .. } => f.write_str("it is being loaded"),
            Stays::NoUnloading => f.write_str("this kernel cannot unload modules (CONFIG_MODULE_UNLOAD is off)"),
            Stays::Disabled => f.write_str("unloading is switched off until the next boot (kernel.modules_disabled)"),
        }
    }
}

impl Loaded {
    /// Why the module cannot be removed now; empty when it can.
    #[must_use]
    pub fn stays(&self) -> Vec<Stays> {
        let mut all = Vec::new();
        if self.state != LoadState::Live {
            all.push(Stays::Busy { state: self.state });
        }
        if !self.holders.is_empty() {
            all.push(Stays::UsedBy { modules: self.holders.clone() });
        }
        if self.permanent {
            all.push(Stays::Permanent);
        }
        match self.references {
            None => all.push(Stays::NoUnloading),
            // One reference is that of its own init while that runs.
            Some(references) if self.state == LoadState::Live => {
                let uses = references.saturating_sub(i64::try_from(self.holders.len()).unwrap_or(i64::MAX));
                if uses > 0 {
                    all.push(Stays::UsedElsewhere { uses });
                }
            }
            Some(_) => {}
        }
        all
    }
}

impl Graph {
    /// The number of the module of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.nodes.binary_search_by(|node| node.name.as_str().cmp(name)).ok()
    }

    /// For each module the numbers of its edges that lead away from it.
    #[must_use]
    pub fn edges_out(&self) -> Vec<Vec<usize>> {
        self.edges_by(|edge| edge.from)
    }

    /// For each module the numbers of its edges that lead to it.
    #[must_use]
    pub fn edges_in(&self) -> Vec<Vec<usize>> {
        self.edges_by(|edge| edge.to)
    }

    fn edges_by(&self, end: impl Fn(&Edge) -> usize) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); self.nodes.len()];
        for (number, edge) in self.edges.iter().enumerate() {
            all[end(edge)].push(number);
        }
        all
    }

    /// For each module the cycle that it is in; the worst one when it is in several.
    #[must_use]
    pub fn cycle_of(&self) -> Vec<Option<&Cycle>> {
        let mut all: Vec<Option<&Cycle>> = vec![None; self.nodes.len()];
        for cycle in &self.cycles {
            for &member in &cycle.members {
                if all[member].is_none_or(|known| !known.hard) {
                    all[member] = Some(cycle);
                }
            }
        }
        all
    }

    /// The graph of these nodes and edges (the ends by name): sorted, every edge once, cycles and implied edges found. An end that
    /// is no node becomes one that is [missing](NodeKind::Missing).
    #[must_use]
    pub fn new(mut nodes: Vec<Node>, edges: &[(String, String, EdgeKind)]) -> Graph {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|later, first| later.name == first.name);
        let mut missing: Vec<&str> = edges.iter().flat_map(|(from, to, _)| [from.as_str(), to]).collect();
        missing.sort_unstable();
        missing.dedup();
        missing.retain(|name| nodes.binary_search_by(|node| node.name.as_str().cmp(name)).is_err());
        nodes.extend(missing.into_iter().map(|name| Node { name: name.to_owned(), ..Node::default() }));
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let numbers: HashMap<&str, usize> =
            nodes.iter().enumerate().map(|(number, node)| (node.name.as_str(), number)).collect();
        let mut all: Vec<(usize, usize, EdgeKind)> = edges
            .iter()
            .filter_map(|(from, to, kind)| Some((*numbers.get(from.as_str())?, *numbers.get(to.as_str())?, *kind)))
            .collect();
        all.sort_unstable();
        all.dedup();
        let hard: Vec<(usize, usize)> =
            all.iter().filter(|edge| edge.2 == EdgeKind::Needs).map(|&(from, to, _)| (from, to)).collect();
        let mut implied = implied(nodes.len(), &hard).into_iter();
        let edges = all
            .into_iter()
            .map(|(from, to, kind)| {
                let implied = kind == EdgeKind::Needs && implied.next().unwrap_or(false);
                Edge { from, to, kind, implied }
            })
            .collect();
        let mut graph = Graph { nodes, edges, cycles: Vec::new(), unreadable: Vec::new() };
        let hard = graph.cycles_of(true, |kind| kind == EdgeKind::Needs);
        let mut soft = graph.cycles_of(false, |kind| matches!(kind, EdgeKind::Needs | EdgeKind::SoftPre));
        soft.retain(|cycle| hard.iter().all(|known| known.members != cycle.members));
        graph.cycles = hard.into_iter().chain(soft).collect();
        graph
    }

    fn cycles_of(&self, hard: bool, counts: impl Fn(EdgeKind) -> bool) -> Vec<Cycle> {
        let mut out = vec![Vec::new(); self.nodes.len()];
        self.edges.iter().filter(|edge| counts(edge.kind)).for_each(|edge| out[edge.from].push(edge.to));
        let cycles = components(&out).into_iter().filter(|members| match members[..] {
            [one] => out[one].contains(&one),
            _ => true,
        });
        cycles.map(|members| Cycle { members, hard }).collect()
    }
}
