//! Which colour a module has, and what the colours mean.

use std::collections::BTreeMap;

use clap::ValueEnum;
use ferrmod_plan::graph::{Graph, Node};

/// What colours tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// Where the module's file is (kernel/fs, kernel/drivers/gpu, …).
    #[default]
    Directory,
    /// What taints the module brings (P: not under the GPL, O: out of tree, E: unsigned, C: staging, …).
    Taint,
}

/// Hues that can be told apart, by most people also with a colour vision deficiency when they are next to each other.
pub(super) const HUES: [u16; 12] = [210, 30, 130, 280, 55, 180, 330, 90, 250, 12, 155, 305];

/// How many names of a folder are looked at for one that tells modules apart.
const DEEPEST: usize = 5;

/// The colours of a graph.
pub(super) struct Groups {
    /// What each colour means, and how many modules have it: those with the most first, at most as many as there are hues, and after them
    /// all others as one.
    pub(super) names: Vec<(String, usize)>,
    /// The colour of each node; `None` for the others.
    pub(super) of: Vec<Option<usize>>,
}

/// The part of the folder that a colour stands for: so many names, or one more where there are very many (`kernel/drivers`).
fn directory(node: &Node, names: usize) -> Option<String> {
    let directory = node.directory.as_deref()?;
    let names = if directory.starts_with("kernel/drivers/") { names + 1 } else { names };
    Some(directory.split('/').take(names).collect::<Vec<_>>().join("/"))
}

/// What each module's colour stands for.
fn names(graph: &Graph, colour: Colour) -> Vec<String> {
    let by = |name: &dyn Fn(&Node) -> String| graph.nodes.iter().map(name).collect::<Vec<_>>();
    if colour == Colour::Taint {
        return by(&|node| if node.taints.is_empty() { "no taint".to_owned() } else { node.taints.clone() });
    }
    // All of one colour says nothing: then a folder below it.
    for depth in 2..=DEEPEST {
        let found = by(&|node| directory(node, depth).unwrap_or_else(|| "no file".to_owned()));
        if found.iter().any(|name| Some(name) != found.first()) {
            return found;
        }
    }
    by(&|node| node.directory.clone().unwrap_or_else(|| "no file".to_owned()))
}

impl Groups {
    pub(super) fn of(graph: &Graph, colour: Colour) -> Groups {
        let names = names(graph, colour);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        names.iter().for_each(|name| *counts.entry(name).or_default() += 1);
        let mut sorted: Vec<(&str, usize)> = counts.into_iter().collect();
        sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let shown: Vec<&str> = sorted.iter().take(HUES.len()).map(|(name, _)| *name).collect();
        let of = names.iter().map(|name| shown.iter().position(|shown| shown == name)).collect();
        let mut legend: Vec<(String, usize)> =
            sorted.iter().take(HUES.len()).map(|(name, count)| (meaning(name, colour), *count)).collect();
        let others: usize = sorted.iter().skip(HUES.len()).map(|(_, count)| count).sum();
        if others > 0 {
            legend.push(("others".to_owned(), others));
        }
        Groups { names: legend, of }
    }
}

/// What letters of taints stand for.
pub(crate) fn meaning(letters: &str, colour: Colour) -> String {
    if colour != Colour::Taint || letters == "no taint" {
        return letters.to_owned();
    }
    let word = |letter| match letter {
        'P' => "proprietary",
        'F' => "forced",
        'C' => "staging",
        'O' => "out of tree",
        'E' => "unsigned",
        'K' => "live patch",
        'N' => "test",
        _ => "other",
    };
    format!("{letters}: {}", letters.chars().map(word).collect::<Vec<_>>().join(", "))
}
