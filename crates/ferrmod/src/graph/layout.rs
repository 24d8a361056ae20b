//! Where everything stands in a picture: layers from left to right, users before what they need.
//!
//! Sugiyama's method, a component at a time: edges that close a cycle are turned around, every node gets a layer by its longest way to a
//! node without edges, nodes of a layer are ordered by where their neighbours are so that few edges cross, and are then moved as near to
//! their neighbours as their order allows. An edge over several layers passes each at a place of its own, so that it runs through no
//! node; edges to the same node share these places.

mod columns;
mod order;
mod pack;

use std::collections::HashMap;

use ferrmod_plan::graph::components;

/// From a node to what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The user.
    pub(super) from: usize,
    /// What it needs.
    pub(super) to: usize,
    /// Links of different classes look different, so they share no line.
    pub(super) class: usize,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Place {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// The line of all links of one class to one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Route {
    /// Where they come from.
    pub(super) from: Vec<usize>,
    /// Where they go to.
    pub(super) to: usize,
    /// Their class.
    pub(super) class: usize,
    /// What is drawn: from point to point in turns of a straight line and a curve. Each piece begins where another ends, or at a node.
    pub(super) pieces: Vec<Piece>,
    /// The tip of the arrow, and whether it points to the right.
    pub(super) head: (f64, f64, bool),
}

/// A piece of a line: straight to `bend`, a curve to `to`, then straight to `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) start: (f64, f64),
    /// Where the curve begins, at the height of `start`.
    pub(super) bend: f64,
    /// Where the curve ends.
    pub(super) to: (f64, f64),
    /// How far it goes on from there, at that height.
    pub(super) end: f64,
}

/// A picture's geometry.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The nodes, by their numbers.
    pub(super) nodes: Vec<Place>,
    pub(super) routes: Vec<Route>,
}

/// A node of a component, or a place where a line passes a layer.
#[derive(Clone, Debug)]
struct Vertex {
    layer: usize,
    /// The node; `None` for a line.
    node: Option<usize>,
    width: f64,
    height: f64,
    /// Vertices of the next higher layer (to the left) that have a line to this one.
    left: Vec<usize>,
    /// Vertices of the next lower layer (to the right).
    right: Vec<usize>,
    /// Its place in its layer.
    place: usize,
    /// Its middle.
    y: f64,
}

/// One component in the making.
#[derive(Default)]
struct Layered {
    vertices: Vec<Vertex>,
    /// The vertices of each layer, in their order.
    layers: Vec<Vec<usize>>,
    lines: Vec<Line>,
}

/// A route before it has a place.
#[derive(Clone, Debug)]
struct Line {
    from: Vec<usize>,
    to: usize,
    class: usize,
    turned: bool,
    /// Vertices: one of a layer, and one of the next lower layer.
    pieces: Vec<(usize, usize)>,
}

/// The height of the place where a line passes a layer.
const LINE: f64 = 4.0;

/// The picture of nodes of these sizes (width, height) with `links` between them. `title` is the least width.
pub(super) fn layout(sizes: &[(f64, f64)], links: &[Link], least: f64) -> Layout {
    let mut parts = Vec::new();
    let mut single = Vec::new();
    for members in connected(sizes.len(), links) {
        match members[..] {
            [one] => single.push(one),
            _ => parts.push(members),
        }
    }
    let mut part_of = vec![usize::MAX; sizes.len()];
    for (number, members) in parts.iter().enumerate() {
        members.iter().for_each(|&member| part_of[member] = number);
    }
    let mut links_of = vec![Vec::new(); parts.len()];
    for link in links.iter().filter(|link| link.from != link.to) {
        links_of[part_of[link.from]].push(*link);
    }
    let boxes = parts.iter().zip(&links_of).map(|(members, links)| one(sizes, members, links)).collect();
    pack::pack(sizes, boxes, &single, least)
}

/// Which nodes belong together whatever the direction, each group ascending.
fn connected(nodes: usize, links: &[Link]) -> Vec<Vec<usize>> {
    let mut both = vec![Vec::new(); nodes];
    for link in links {
        both[link.from].push(link.to);
        both[link.to].push(link.from);
    }
    components(&both)
}

/// Where the nodes of a component and its routes are, and how much room it takes.
struct Part {
    width: f64,
    height: f64,
    nodes: Vec<(usize, Place)>,
    routes: Vec<Route>,
}

fn one(sizes: &[(f64, f64)], members: &[usize], links: &[Link]) -> Part {
    let mut layered = layered(sizes, members, links);
    order::order(&mut layered);
    columns::heights(&mut layered);
    columns::part(&layered)
}

/// Which links have to be turned around so that no cycle is left: those that lead back on a depth-first way.
fn turned(members: &[usize], out: &HashMap<usize, Vec<usize>>, links: &[Link]) -> Vec<bool> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Open,
        Done,
    }
    let mut seen: HashMap<usize, Seen> = HashMap::new();
    let mut turned = vec![false; links.len()];
    let nothing = Vec::new();
    for &start in members {
        if seen.contains_key(&start) {
            continue;
        }
        seen.insert(start, Seen::Open);
        let mut path = vec![(start, 0)];
        while let Some(&mut (node, ref mut next)) = path.last_mut() {
            let Some(&link) = out.get(&node).unwrap_or(&nothing).get(*next) else {
                seen.insert(node, Seen::Done);
                path.pop();
                continue;
            };
            *next += 1;
            let to = links[link].to;
            match seen.get(&to) {
                Some(Seen::Open) => turned[link] = true,
                Some(Seen::Done) => {}
                None => {
                    seen.insert(to, Seen::Open);
                    path.push((to, 0));
                }
            }
        }
    }
    turned
}

/// Layers, with places for lines that pass them.
fn layered(sizes: &[(f64, f64)], members: &[usize], links: &[Link]) -> Layered {
    let mut out: HashMap<usize, Vec<usize>> = HashMap::new();
    links.iter().enumerate().for_each(|(number, link)| out.entry(link.from).or_default().push(number));
    let turned = turned(members, &out, links);
    let local: HashMap<usize, usize> = members.iter().enumerate().map(|(at, &member)| (member, at)).collect();
    // The ends as they are layered: from the higher to the lower layer.
    let ends: Vec<(usize, usize)> = links
        .iter()
        .zip(&turned)
        .map(|(link, &turned)| {
            let (from, to) = (local[&link.from], local[&link.to]);
            if turned { (to, from) } else { (from, to) }
        })
        .collect();
    let mut down = vec![Vec::new(); members.len()];
    ends.iter().for_each(|&(from, to)| down[from].push(to));
    let mut layer = vec![0; members.len()];
    // Without cycles each component is one node, and comes after all that it leads to.
    for node in components(&down).into_iter().flatten() {
        layer[node] = down[node].iter().map(|&to| layer[to] + 1).max().unwrap_or(0);
    }
    let vertex = |layer, node, (width, height)| Vertex {
        layer,
        node,
        width,
        height,
        left: Vec::new(),
        right: Vec::new(),
        place: 0,
        y: 0.0,
    };
    let mut all = Layered::default();
    for (at, &member) in members.iter().enumerate() {
        all.vertices.push(vertex(layer[at], Some(member), sizes[member]));
    }
    // Links to the same node share a line; one that was turned around has its own.
    let mut lines: HashMap<(usize, usize, usize), usize> = HashMap::new();
    let mut chains: Vec<HashMap<usize, usize>> = Vec::new();
    for (number, (link, &(from, to))) in links.iter().zip(&ends).enumerate() {
        let turned = turned[number];
        let key = (to, link.class, if turned { number + 1 } else { 0 });
        let line = *lines.entry(key).or_insert_with(|| {
            all.lines.push(Line { from: Vec::new(), to: link.to, class: link.class, turned, pieces: Vec::new() });
            chains.push(HashMap::new());
            all.lines.len() - 1
        });
        all.lines[line].from.push(link.from);
        let mut left = from;
        for passed in (layer[to] + 1..layer[from]).rev() {
            if let Some(&there) = chains[line].get(&passed) {
                all.lines[line].pieces.push((left, there));
                left = usize::MAX;
                break;
            }
            let here = all.vertices.len();
            all.vertices.push(vertex(passed, None, (0.0, LINE)));
            chains[line].insert(passed, here);
            all.lines[line].pieces.push((left, here));
            left = here;
        }
        if left != usize::MAX {
            all.lines[line].pieces.push((left, to));
        }
    }
    let pieces: Vec<(usize, usize)> = all.lines.iter().flat_map(|line| line.pieces.iter().copied()).collect();
    for (left, right) in pieces {
        all.vertices[left].right.push(right);
        all.vertices[right].left.push(left);
    }
    all.layers = vec![Vec::new(); layer.iter().max().map_or(0, |most| most + 1)];
    for (number, vertex) in all.vertices.iter().enumerate() {
        all.layers[vertex.layer].push(number);
    }
    all
}

#[cfg(test)]
mod tests;
