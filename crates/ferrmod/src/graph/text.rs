//! A graph as a tree of lines, for a terminal.

use std::fmt::Write as _;

use ferrmod_plan::graph::{EdgeKind, Graph, NodeKind, Stays};

use super::Drawing;
use super::words;
use crate::output::{BAD, DIM, HEAD, NOTE};

/// More levels than this are not shown; no real tree is that deep.
const DEEPEST: usize = 64;

/// The graph as text: what was asked for, else what nobody needs, and below each what it needs (`reverse`: what needs it). What has been
/// shown with everything below it is not unfolded again.
pub(super) fn text(graph: &Graph, reverse: bool, drawing: &Drawing<'_>) -> String {
    let mut out = format!("{HEAD}{}{HEAD:#}\n", words::shortened(drawing.title, usize::MAX));
    for note in drawing.notes {
        let _ = writeln!(out, "{DIM}{note}{DIM:#}");
    }
    let (ahead, behind) =
        if reverse { (graph.edges_in(), graph.edges_out()) } else { (graph.edges_out(), graph.edges_in()) };
    let mut tree =
        Tree { graph, reverse, ahead, all_edges: drawing.all_edges, shown: vec![false; graph.nodes.len()], out };
    let asked: Vec<usize> = (0..graph.nodes.len()).filter(|&number| graph.nodes[number].asked).collect();
    if asked.is_empty() {
        (0..graph.nodes.len()).filter(|&number| behind[number].is_empty()).for_each(|root| tree.root(root));
        // What is left is in cycles, or behind one.
        for number in 0..graph.nodes.len() {
            if !tree.shown[number] {
                tree.root(number);
            }
        }
    } else {
        asked.into_iter().for_each(|root| tree.root(root));
    }
    let mut out = tree.out;
    for cycle in &graph.cycles {
        let style = if cycle.hard { BAD } else { NOTE };
        let _ = writeln!(out, "{style}{}{style:#}", words::cycle_text(graph, cycle));
    }
    out
}

struct Tree<'g> {
    graph: &'g Graph,
    reverse: bool,
    ahead: Vec<Vec<usize>>,
    all_edges: bool,
    shown: Vec<bool>,
    out: String,
}

impl Tree<'_> {
    fn root(&mut self, number: usize) {
        self.line("", "", number);
        self.below(&mut String::new(), number, 0);
    }

    /// What is below a module. A module that was unfolded before is not unfolded again, so that this ends, and is as long as the graph.
    fn below(&mut self, indent: &mut String, number: usize, depth: usize) {
        if std::mem::replace(&mut self.shown[number], true) {
            return;
        }
        let next: Vec<(usize, EdgeKind)> = self.ahead[number]
            .iter()
            .map(|&edge| &self.graph.edges[edge])
            .filter(|edge| self.all_edges || !edge.implied)
            .map(|edge| (if self.reverse { edge.from } else { edge.to }, edge.kind))
            .collect();
        for (at, &(to, kind)) in next.iter().enumerate() {
            let last = at + 1 == next.len();
            let (branch, more) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
            let label = match kind {
                EdgeKind::Needs => "",
                EdgeKind::SoftPre => "pre: ",
                EdgeKind::SoftPost => "post: ",
                EdgeKind::Weak => "weak: ",
            };
            self.line(&format!("{indent}{branch}"), label, to);
            if depth < DEEPEST {
                let length = indent.len();
                indent.push_str(more);
                self.below(indent, to, depth + 1);
                indent.truncate(length);
            }
        }
    }

    fn line(&mut self, before: &str, label: &str, number: usize) {
        let node = &self.graph.nodes[number];
        let style = match node.kind {
            NodeKind::Missing => BAD,
            _ if node.asked => HEAD,
            _ => anstyle::Style::new(),
        };
        let _ = write!(self.out, "{DIM}{before}{label}{DIM:#}{style}{}{style:#}", words::shown(&node.name));
        let mut facts = Vec::new();
        if let Some(loaded) = &node.loaded {
            let references = loaded.references.map_or("-".to_owned(), |references| references.to_string());
            facts.push(format!("{DIM}{} {references}{DIM:#}", loaded.size));
        }
        if !node.taints.is_empty() {
            facts.push(format!("{NOTE}{}{NOTE:#}", node.taints));
        }
        if node.kind == NodeKind::Missing {
            facts.push(format!("{BAD}no such module{BAD:#}"));
        }
        // Who uses it is what the tree itself shows.
        let others = node.stays.iter().filter(|why| !matches!(why, Stays::UsedBy { .. }));
        facts.extend(others.map(|why| format!("{DIM}{why}{DIM:#}")));
        if self.shown[number] && !self.ahead[number].is_empty() {
            facts.push(format!("{DIM}(above){DIM:#}"));
        }
        if !facts.is_empty() {
            let _ = write!(self.out, "  {}", facts.join("  "));
        }
        self.out.push('\n');
    }
}
