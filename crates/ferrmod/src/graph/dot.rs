//! A graph for Graphviz.

use std::fmt::Write as _;

use ferrmod_plan::graph::{EdgeKind, Graph, NodeKind};

use super::groups::{Groups, HUES};
use super::words;
use super::{Colour, Drawing};

/// Text in double quotes. In labels Graphviz takes `\` and `&` for the beginning of something, so what stands there literally is escaped;
/// the same is done in names, where it only has to be done everywhere.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '&' => out.push_str("&amp;"),
            '\n' => out.push_str("\\n"),
            _ if character.is_control() => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

/// The graph in DOT.
pub(super) fn dot(graph: &Graph, colour: Colour, drawing: &Drawing<'_>) -> String {
    let groups = Groups::of(graph, colour);
    let cycles = graph.cycle_of();
    let (edges_out, edges_in) = (graph.edges_out(), graph.edges_in());
    let mut out = String::new();
    let head: Vec<&str> = std::iter::once(drawing.title).chain(drawing.notes.iter().map(String::as_str)).collect();
    let _ = writeln!(
        out,
        "digraph modules {{\n  rankdir=LR; concentrate=true; labelloc=t; fontname=\"monospace\"; label={};\n  node [shape=box, style=\"rounded,filled\", fontname=\"monospace\", fontsize=10, height=0.25, fillcolor=white, color=gray50];\n  edge [color=gray45, arrowsize=0.6];",
        quoted(&head.join("\n"))
    );
    for (number, node) in graph.nodes.iter().enumerate() {
        let mut label = words::shown(&node.name);
        if let Some(references) = node.loaded.as_ref().and_then(|loaded| loaded.references).filter(|&count| count != 0)
        {
            let _ = write!(label, " {references}");
        }
        let locked = !node.stays.is_empty() && node.kind != NodeKind::Builtin;
        if locked {
            label.push_str(" 🔒");
        }
        let tooltip = words::about(graph, number, &edges_out, &edges_in).join("\n");
        let _ = write!(out, "  {} [label={}, tooltip={}", quoted(&node.name), quoted(&label), quoted(&tooltip));
        match (node.kind, groups.of[number]) {
            (NodeKind::Missing, _) => out.push_str(", style=\"rounded,dashed\""),
            (NodeKind::Builtin, _) => {}
            // Hue, saturation and value, each from 0 to 1.
            (_, Some(group)) => {
                let _ = write!(out, ", fillcolor=\"{:.3} 0.22 0.97\"", f64::from(HUES[group]) / 360.0);
            }
            (_, None) => out.push_str(", fillcolor=gray93"),
        }
        if cycles[number].is_some() {
            out.push_str(", color=red, penwidth=2");
        } else if node.asked {
            out.push_str(", color=black, penwidth=2");
        }
        out.push_str("];\n");
    }
    for edge in graph.edges.iter().filter(|edge| drawing.all_edges || !edge.implied) {
        let mut looks = Vec::new();
        match edge.kind {
            EdgeKind::Needs => {}
            EdgeKind::SoftPre => looks.push("style=dashed, color=purple, tooltip=\"softdep pre\""),
            EdgeKind::SoftPost => looks.push("style=dotted, color=purple, tooltip=\"softdep post\""),
            EdgeKind::Weak => looks.push("style=dotted, color=gray60, tooltip=\"weakdep\""),
        }
        if graph.cycles.iter().any(|cycle| cycle.members.contains(&edge.from) && cycle.members.contains(&edge.to)) {
            looks.push("color=red, penwidth=2");
        }
        let _ = write!(out, "  {} -> {}", quoted(&graph.nodes[edge.from].name), quoted(&graph.nodes[edge.to].name));
        let _ = if looks.is_empty() { writeln!(out, ";") } else { writeln!(out, " [{}];", looks.join(", ")) };
    }
    out.push_str("}\n");
    out
}
