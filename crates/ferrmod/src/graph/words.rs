//! What is said about a module in every view: in the tooltip of a picture and in a line of text.

use ferrmod_plan::graph::{EdgeKind, Graph, LoadState, NodeKind};

/// More names than this are counted.
const MOST: usize = 12;

/// Everything about module `number`, in lines.
pub(super) fn about(graph: &Graph, number: usize, out: &[Vec<usize>], into: &[Vec<usize>]) -> Vec<String> {
    let node = &graph.nodes[number];
    let mut lines = vec![node.name.clone()];
    lines.extend(node.file.clone());
    if let Some(loaded) = &node.loaded {
        let references = loaded.references.map_or("-".to_owned(), |references| references.to_string());
        let state = match loaded.state {
            LoadState::Live => "",
            LoadState::Loading => ", being loaded",
            LoadState::Unloading => ", being unloaded",
        };
        lines.push(format!("{} bytes in memory, {references} references{state}", loaded.size));
    } else if let Some(size) = node.file_size {
        lines.push(format!("{size} bytes"));
    }
    match node.kind {
        NodeKind::Missing => lines.push("there is no such module".to_owned()),
        NodeKind::Builtin => lines.push("built into the kernel".to_owned()),
        NodeKind::File | NodeKind::Loaded => {}
    }
    lines.extend(node.licence.as_ref().map(|licence| format!("licence: {licence}")));
    if !node.taints.is_empty() {
        lines.push(super::groups::meaning(&node.taints, super::Colour::Taint));
    }
    for (what, kind) in KINDS {
        let names = names(graph, &out[number], kind, |edge| edge.to);
        lines.extend((!names.is_empty()).then(|| format!("{what} {names}")));
    }
    let users = names(graph, &into[number], EdgeKind::Needs, |edge| edge.from);
    if node.loaded.is_none() && !users.is_empty() {
        lines.push(format!("needed by {users}"));
    }
    for cycle in graph.cycles.iter().filter(|cycle| cycle.members.contains(&number)) {
        lines.push(cycle_text(graph, cycle));
    }
    if !node.stays.is_empty() && node.kind != NodeKind::Builtin {
        let reasons: Vec<String> = node.stays.iter().map(ToString::to_string).collect();
        lines.push(format!("cannot be removed: {}", reasons.join("; ")));
    }
    lines
}

/// The words for edges that lead away.
pub(super) const KINDS: [(&str, EdgeKind); 4] = [
    ("needs", EdgeKind::Needs),
    ("wants before it", EdgeKind::SoftPre),
    ("wants after it", EdgeKind::SoftPost),
    ("may want", EdgeKind::Weak),
];

/// What a cycle means.
pub(super) fn cycle_text(graph: &Graph, cycle: &ferrmod_plan::graph::Cycle) -> String {
    let names: Vec<&str> = cycle.members.iter().map(|&member| graph.nodes[member].name.as_str()).collect();
    let what =
        if cycle.hard { "need each other, so that none loads" } else { "want each other, which modprobe leaves out" };
    format!("cycle: {} {what}", short(&names))
}

fn names(graph: &Graph, edges: &[usize], kind: EdgeKind, end: impl Fn(&ferrmod_plan::graph::Edge) -> usize) -> String {
    let names: Vec<&str> = edges
        .iter()
        .map(|&number| &graph.edges[number])
        .filter(|edge| edge.kind == kind)
        .map(|edge| graph.nodes[end(edge)].name.as_str())
        .collect();
    short(&names)
}

/// The first few names.
pub(super) fn short(names: &[&str]) -> String {
    let few = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MOST { format!("{few} and {} more", names.len() - MOST) } else { few }
}

/// A name as it can be shown anywhere: without control characters, and not longer than a line.
pub(super) fn shown(name: &str) -> String {
    shortened(name, 48)
}

/// As [`shown`], of at most so many letters.
pub(super) fn shortened(name: &str, longest: usize) -> String {
    let clean = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let mut text: String = name.chars().take(longest).map(clean).collect();
    if name.chars().nth(longest).is_some() {
        text.pop();
        text.push('…');
    }
    text
}
