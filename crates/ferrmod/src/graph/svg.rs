//! A graph as a picture: one SVG file, with nothing outside of it.

use std::fmt::Write as _;

use ferrmod_plan::graph::{EdgeKind, Graph, Node, NodeKind, Stays};

use super::groups::{Groups, HUES};
use super::layout::{Link, Piece, layout};
use super::words;
use super::{Colour, Drawing};

/// Size of the letters, how wide one is, and the height of a node, in pixels.
const FONT: f64 = 11.0;
/// See [`FONT`]: monospaced fonts are at most this wide.
const LETTER: f64 = FONT * 0.605;
/// See [`FONT`].
const HEIGHT: f64 = 20.0;
/// Around the picture.
const MARGIN: f64 = 20.0;
/// Between the box and its text.
const PADDING: f64 = 7.0;
/// The room of a lock.
const LOCK: f64 = 13.0;
/// A line of the legend.
const ROW: f64 = 20.0;
/// The least width of a picture, so that its legend has room.
const LEAST: f64 = 640.0;

/// Text as XML has it. What XML cannot hold is replaced.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            // XML 1.0, production 2 (Char).
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ if character.is_control() => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

/// Which look an edge has: its kind, and whether it is part of a cycle.
fn class(kind: EdgeKind, in_cycle: bool) -> usize {
    let kind = words::KINDS.iter().position(|(_, known)| *known == kind).unwrap_or_default();
    kind * 2 + usize::from(in_cycle)
}

/// The names of these looks in the style sheet.
const LOOKS: [&str; 4] = ["n", "p", "q", "w"];

fn label(node: &Node) -> String {
    let name = words::shown(&node.name);
    match &node.loaded {
        Some(loaded) => match loaded.references {
            Some(references) if references != 0 => format!("{name} {references}"),
            _ => name,
        },
        None => name,
    }
}

/// A number of pixels, no longer than it must be.
fn pixels(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn style() -> String {
    let mut out = String::from(
        "text{font:11px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}\
         .h{font-weight:bold;font-size:14px}\
         .bg{fill:#fff}.t,.h{fill:#1b1f24}.s{fill:#59636e}\
         .b{stroke:#8b949e;stroke-width:.8}.b.asked{stroke:#1b1f24;stroke-width:2.2}\
         .b.other{fill:#eceff2}.b.missing{fill:none;stroke-dasharray:3 2}.b.builtin{fill:#fff}\
         .b.cycle{stroke:#d1242f;stroke-width:2.2}\
         .l{fill:none;stroke:#cf222e;stroke-width:1.3}.lb{fill:#cf222e;stroke:#cf222e}\
         .by .l{stroke:#59636e;stroke-width:1}.by .lb{fill:none;stroke:#59636e}\
         .e{fill:none;stroke:#6e7781;stroke-width:1}.e:hover{stroke-width:2.4}\
         .a{fill:#6e7781;stroke:none}\
         .p,.q,.w{stroke:#8250df}.p{stroke-dasharray:6 3}.q{stroke-dasharray:2 3}.w{stroke-dasharray:1 4}\
         .p .a,.q .a,.w .a{fill:#8250df}\
         .c{stroke:#d1242f;stroke-width:2}.c .a{fill:#d1242f}\n",
    );
    for (number, hue) in HUES.iter().enumerate() {
        let _ = write!(out, ".g{number}{{fill:hsl({hue},72%,86%)}}");
    }
    out.push_str(
        "\n@media(prefers-color-scheme:dark){.bg{fill:#0d1117}.t,.h{fill:#f0f6fc}.s{fill:#9198a1}\
         .b{stroke:#656c76}.b.asked{stroke:#f0f6fc}.b.other{fill:#262c36}.b.builtin{fill:#0d1117}.b.cycle{stroke:#f85149}\
         .l{stroke:#f85149}.lb{fill:#f85149;stroke:#f85149}.by .l{stroke:#9198a1}.by .lb{stroke:#9198a1}.e{stroke:#7d8590}.a{fill:#7d8590}.p,.q,.w{stroke:#ab7df8}\
         .p .a,.q .a,.w .a{fill:#ab7df8}.c{stroke:#f85149}.c .a{fill:#f85149}",
    );
    for (number, hue) in HUES.iter().enumerate() {
        let _ = write!(out, ".g{number}{{fill:hsl({hue},45%,24%)}}");
    }
    out.push_str("}\n");
    out
}

/// The way of a piece: straight through the column, a curve between columns, straight again.
fn path(out: &mut String, piece: &Piece) {
    let (x0, y0) = piece.start;
    let (x1, y1) = piece.to;
    let middle = f64::midpoint(piece.bend, x1);
    let _ = write!(out, "M{},{}", pixels(x0), pixels(y0));
    if piece.bend > x0 {
        let _ = write!(out, "H{}", pixels(piece.bend));
    }
    if (y0 - y1).abs() < 0.05 {
        let _ = write!(out, "H{}", pixels(x1));
    } else {
        let (middle, y0, x1, y1) = (pixels(middle), pixels(y0), pixels(x1), pixels(y1));
        let _ = write!(out, "C{middle},{y0},{middle},{y1},{x1},{y1}");
    }
    if piece.end > x1 {
        let _ = write!(out, "H{}", pixels(piece.end));
    }
}

/// A lock, as high as the text, its left edge at `x`.
fn lock(out: &mut String, lock: Lock, x: f64, middle: f64) {
    let (left, top) = (pixels(x), pixels(middle - 0.5));
    let class = if lock == Lock::Modules { " class=\"by\"" } else { "" };
    let arc = format!("M{},{top}v-2.2a2.5,2.5,0,0,1,5,0v2.2", pixels(x + 1.5));
    let _ = write!(
        out,
        "<g{class}><path class=\"l\" d=\"{arc}\"/><rect class=\"lb\" x=\"{left}\" y=\"{top}\" width=\"8\" height=\"5.5\" rx=\"1\"/></g>"
    );
}

/// Why a module cannot be removed, as far as a sign tells it.
#[derive(Clone, Copy, PartialEq)]
enum Lock {
    /// Modules use it, and nothing else.
    Modules,
    /// There is something that no removal of modules changes.
    Other,
}

/// The signs in the legend besides the colours.
fn signs(graph: &Graph) -> Vec<(&'static str, &'static str)> {
    let has = |kind| graph.edges.iter().any(|edge| edge.kind == kind);
    let mut signs = Vec::new();
    if has(EdgeKind::Needs) {
        signs.push(("n", if graph.nodes.iter().any(|node| node.loaded.is_some()) { "uses" } else { "needs" }));
    }
    if has(EdgeKind::SoftPre) {
        signs.push(("p", "wants before (softdep pre)"));
    }
    if has(EdgeKind::SoftPost) {
        signs.push(("q", "wants after (softdep post)"));
    }
    if has(EdgeKind::Weak) {
        signs.push(("w", "may want (weakdep)"));
    }
    if !graph.cycles.is_empty() {
        signs.push(("c", "cycle"));
    }
    if graph.nodes.iter().any(|node| locked(node) == Some(Lock::Modules)) {
        signs.push(("by", "modules use it"));
    }
    if graph.nodes.iter().any(|node| locked(node) == Some(Lock::Other)) {
        signs.push(("lock", "cannot be removed (point at it for the reason)"));
    }
    if graph.nodes.iter().any(|node| node.kind == NodeKind::Builtin) {
        signs.push(("builtin", "built in"));
    }
    if graph.nodes.iter().any(|node| node.kind == NodeKind::Missing) {
        signs.push(("missing", "there is no such module"));
    }
    signs
}

/// Whether and how a module is marked as one that cannot be removed. One that is built in is drawn in its own way.
fn locked(node: &Node) -> Option<Lock> {
    if node.stays.is_empty() || node.kind == NodeKind::Builtin {
        return None;
    }
    let by_modules = node.stays.iter().all(|why| matches!(why, Stays::UsedBy { .. }));
    Some(if by_modules { Lock::Modules } else { Lock::Other })
}

/// Room for words, from left to right and then on the next line.
struct Flow {
    x: f64,
    y: f64,
    right: f64,
}

impl Flow {
    fn line(&mut self) {
        (self.x, self.y) = (MARGIN, self.y + ROW);
    }

    /// Where something of this width goes.
    fn take(&mut self, width: f64) -> (f64, f64) {
        if self.x > MARGIN && self.x + width > self.right {
            self.line();
        }
        let at = (self.x, self.y);
        self.x += width + 18.0;
        at
    }
}

/// The title and the legend, for a picture of this width: its text and its height.
fn legend(graph: &Graph, groups: &Groups, drawing: &Drawing<'_>, width: f64) -> (String, f64) {
    let mut out = String::new();
    let mut y = MARGIN + 12.0;
    let _ = writeln!(
        out,
        "<text class=\"h\" x=\"{MARGIN}\" y=\"{y}\">{}</text>",
        escape(&words::shortened(drawing.title, ((width - 2.0 * MARGIN) / (LETTER * 14.0 / FONT)) as usize))
    );
    y += ROW;
    for line in drawing.notes {
        let _ = writeln!(out, "<text class=\"s\" x=\"{MARGIN}\" y=\"{y}\">{}</text>", escape(line));
        y += ROW - 4.0;
    }
    y += 4.0;
    let mut flow = Flow { x: MARGIN, y, right: width - MARGIN };
    for (number, (name, count)) in groups.names.iter().enumerate() {
        let text = format!("{} {count}", words::shown(name));
        let (at, y) = flow.take(18.0 + text.chars().count() as f64 * LETTER);
        let fill = if number < HUES.len() { format!("g{number}") } else { "other".to_owned() };
        let _ = writeln!(
            out,
            "<rect class=\"b {fill}\" x=\"{}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\"/><text class=\"t\" x=\"{}\" y=\"{}\">{}</text>",
            pixels(at),
            pixels(y - 10.0),
            pixels(at + 17.0),
            pixels(y),
            escape(&text)
        );
    }
    flow.line();
    for (sign, text) in signs(graph) {
        let (x, y) = flow.take(34.0 + text.chars().count() as f64 * LETTER);
        let middle = y - 4.0;
        match sign {
            "lock" => lock(&mut out, Lock::Other, x + 10.0, middle),
            "by" => lock(&mut out, Lock::Modules, x + 10.0, middle),
            "builtin" | "missing" => {
                let _ = write!(
                    out,
                    "<rect class=\"b {sign}\" x=\"{}\" y=\"{}\" width=\"24\" height=\"12\" rx=\"3\"/>",
                    pixels(x),
                    pixels(y - 10.0)
                );
            }
            _ => {
                let _ = write!(
                    out,
                    "<g class=\"e {sign}\"><path d=\"M{},{}h24\"/>{}</g>",
                    pixels(x),
                    pixels(middle),
                    arrow(x + 28.0, middle, true)
                );
            }
        }
        let _ = writeln!(out, "<text class=\"t\" x=\"{}\" y=\"{}\">{text}</text>", pixels(x + 34.0), pixels(y));
    }
    (out, flow.y + ROW)
}

fn arrow(x: f64, y: f64, right: bool) -> String {
    let back = if right { -6 } else { 6 };
    format!("<path class=\"a\" d=\"M{},{}l{back},-3v6z\"/>", pixels(x), pixels(y))
}

/// The picture.
pub(super) fn svg(graph: &Graph, colour: Colour, drawing: &Drawing<'_>) -> String {
    let groups = Groups::of(graph, colour);
    let cycles = graph.cycle_of();
    let labels: Vec<String> = graph.nodes.iter().map(label).collect();
    let sizes: Vec<(f64, f64)> = graph
        .nodes
        .iter()
        .zip(&labels)
        .map(|(node, label)| {
            let lock = if locked(node).is_some() { LOCK } else { 0.0 };
            ((label.chars().count() as f64 * LETTER + 2.0 * PADDING + lock).ceil(), HEIGHT)
        })
        .collect();
    let same_cycle =
        |a: usize, b: usize| graph.cycles.iter().any(|cycle| cycle.members.contains(&a) && cycle.members.contains(&b));
    let links: Vec<Link> = graph
        .edges
        .iter()
        .filter(|edge| drawing.all_edges || !edge.implied)
        .map(|edge| {
            let in_cycle = cycles[edge.from].is_some() && same_cycle(edge.from, edge.to);
            Link { from: edge.from, to: edge.to, class: class(edge.kind, in_cycle) }
        })
        .collect();
    let picture = layout(&sizes, &links, LEAST);
    let width = picture.width.max(LEAST) + 2.0 * MARGIN;
    let (head, top) = legend(graph, &groups, drawing, width);
    let height = picture.height + top + MARGIN;
    let mut out = String::with_capacity(400 * graph.nodes.len() + 8192);
    let (w, h) = (pixels(width.ceil()), pixels(height.ceil()));
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\">\n<title>{}</title>\n<style>\n{}</style>\n<rect class=\"bg\" width=\"100%\" height=\"100%\"/>\n{head}<g transform=\"translate({MARGIN},{})\">",
        escape(drawing.title),
        style(),
        pixels(top)
    );
    for route in &picture.routes {
        let look = LOOKS.get(route.class / 2).copied().unwrap_or("n");
        let cycle = if route.class % 2 == 1 { " c" } else { "" };
        let users: Vec<&str> = route.from.iter().map(|&from| graph.nodes[from].name.as_str()).collect();
        let (verb, _) = words::KINDS.get(route.class / 2).copied().unwrap_or(words::KINDS[0]);
        let title = format!("{} → {} ({verb})", words::short(&users), graph.nodes[route.to].name);
        let mut d = String::new();
        route.pieces.iter().for_each(|piece| path(&mut d, piece));
        let (x, y, right) = route.head;
        let _ = writeln!(
            out,
            "<g class=\"e {look}{cycle}\"><title>{}</title><path d=\"{d}\"/>{}</g>",
            escape(&title),
            arrow(x, y, right)
        );
    }
    let (edges_out, edges_in) = (graph.edges_out(), graph.edges_in());
    for (number, (node, place)) in graph.nodes.iter().zip(&picture.nodes).enumerate() {
        let mut fill = match (node.kind, groups.of[number]) {
            (NodeKind::Missing, _) => "missing".to_owned(),
            (NodeKind::Builtin, _) => "builtin".to_owned(),
            (_, Some(group)) => format!("g{group}"),
            (_, None) => "other".to_owned(),
        };
        if node.asked {
            fill.push_str(" asked");
        }
        if cycles[number].is_some() {
            fill.push_str(" cycle");
        }
        let title = words::about(graph, number, &edges_out, &edges_in).join("\n");
        let (x, y) = (pixels(place.x), pixels(place.y));
        let _ = write!(
            out,
            "<g><title>{}</title><rect class=\"b {fill}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"4\"/><text class=\"t\" x=\"{}\" y=\"{}\">{}</text>",
            escape(&title),
            pixels(place.width),
            pixels(place.height),
            pixels(place.x + PADDING),
            pixels(place.y + 13.8),
            escape(&labels[number])
        );
        if let Some(sign) = locked(node) {
            lock(&mut out, sign, place.x + place.width - LOCK, place.y + HEIGHT / 2.0);
        }
        out.push_str("</g>\n");
    }
    out.push_str("</g>\n</svg>\n");
    out
}
