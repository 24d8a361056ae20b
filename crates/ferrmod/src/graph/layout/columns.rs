//! From order to coordinates.

use super::{Layered, Line, Part, Piece, Place, Route, Vertex};

/// Between two nodes of a layer.
const GAP: f64 = 7.0;
/// Between two lines that pass a layer.
const LINE_GAP: f64 = 5.0;
/// Between layers: at least, at most, and more for each line that changes its height there.
const LEAST: f64 = 46.0;
/// See [`LEAST`].
const MOST: f64 = 150.0;
/// See [`LEAST`].
const EACH: f64 = 1.1;
/// How often heights are evened out.
const ROUNDS: usize = 16;

/// How far the middles of two neighbours in a layer must be from each other.
fn apart(a: &Vertex, b: &Vertex) -> f64 {
    let gap = if a.node.is_none() && b.node.is_none() { LINE_GAP } else { GAP };
    (a.height + b.height) / 2.0 + gap
}

/// Gives every vertex its height: as near to its neighbours as the order allows.
pub(super) fn heights(all: &mut Layered) {
    for layer in &all.layers {
        let mut y = 0.0;
        for (at, &vertex) in layer.iter().enumerate() {
            if let Some(&above) = at.checked_sub(1).and_then(|above| layer.get(above)) {
                y += apart(&all.vertices[above], &all.vertices[vertex]);
            }
            all.vertices[vertex].y = y;
        }
    }
    let count = all.layers.len();
    for round in 0..ROUNDS {
        for step in 0..count {
            let layer = if round % 2 == 0 { step } else { count - 1 - step };
            // The last rounds look to both sides.
            let sides = match (round + 4 >= ROUNDS, round % 2) {
                (true, _) => (true, true),
                (false, 0) => (false, true),
                (false, _) => (true, false),
            };
            even_out(all, layer, sides);
        }
    }
    let top = all.vertices.iter().map(|vertex| vertex.y - vertex.height / 2.0).fold(f64::INFINITY, f64::min);
    all.vertices.iter_mut().for_each(|vertex| vertex.y -= top);
}

/// Moves the vertices of a layer to where their neighbours are on average. Where that is too near to each other, as little as possible away
/// from it: least squares under the distances that must be, by pooling adjacent violators.
fn even_out(all: &mut Layered, layer: usize, (left, right): (bool, bool)) {
    struct Block {
        /// Where it would like to be, times its weight.
        sum: f64,
        weight: f64,
        count: usize,
    }
    let members = &all.layers[layer];
    let mut offsets = Vec::with_capacity(members.len());
    let mut blocks: Vec<Block> = Vec::with_capacity(members.len());
    let mut offset = 0.0;
    for (at, &vertex) in members.iter().enumerate() {
        if let Some(&above) = at.checked_sub(1).and_then(|above| members.get(above)) {
            offset += apart(&all.vertices[above], &all.vertices[vertex]);
        }
        offsets.push(offset);
        let one = &all.vertices[vertex];
        let mut heights = Vec::new();
        let mut add = |side: &[usize], is: bool| {
            heights.extend(side.iter().filter(|_| is).map(|&other| all.vertices[other].y));
        };
        add(&one.left, left);
        add(&one.right, right);
        let wish = if heights.is_empty() { one.y } else { heights.iter().sum::<f64>() / heights.len() as f64 };
        let weight = match (heights.is_empty(), one.node) {
            (true, _) => 0.1,
            (false, Some(_)) => 1.0,
            // A line that is straight is read more easily.
            (false, None) => 3.0,
        };
        blocks.push(Block { sum: (wish - offset) * weight, weight, count: 1 });
        while let [.., above, below] = &blocks[..]
            && above.sum / above.weight > below.sum / below.weight
        {
            let merged = Block {
                sum: above.sum + below.sum,
                weight: above.weight + below.weight,
                count: above.count + below.count,
            };
            blocks.truncate(blocks.len() - 2);
            blocks.push(merged);
        }
    }
    let mut at = 0;
    for block in blocks {
        for _ in 0..block.count {
            all.vertices[members[at]].y = block.sum / block.weight + offsets[at];
            at += 1;
        }
    }
}

/// The component with everything in its place.
pub(super) fn part(all: &Layered) -> Part {
    let count = all.layers.len();
    let widths: Vec<f64> = all
        .layers
        .iter()
        .map(|layer| layer.iter().map(|&vertex| all.vertices[vertex].width).fold(0.0, f64::max))
        .collect();
    // The highest layer is at the left.
    let mut lefts = vec![0.0; count];
    let mut x = 0.0;
    for layer in (0..count).rev() {
        lefts[layer] = x;
        let lines: usize = all.layers[layer].iter().map(|&vertex| all.vertices[vertex].right.len()).sum();
        x += widths[layer];
        if layer > 0 {
            x += (LEAST + EACH * lines as f64).min(MOST);
        }
    }
    let mut nodes = Vec::new();
    for vertex in &all.vertices {
        if let Some(node) = vertex.node {
            let (width, height) = (vertex.width, vertex.height);
            nodes.push((node, Place { x: lefts[vertex.layer], y: vertex.y - height / 2.0, width, height }));
        }
    }
    let height = all.vertices.iter().map(|vertex| vertex.y + vertex.height / 2.0).fold(0.0, f64::max);
    let routes = all.lines.iter().map(|line| route(all, line, &lefts, &widths)).collect();
    Part { width: x, height, nodes, routes }
}

fn route(all: &Layered, line: &Line, lefts: &[f64], widths: &[f64]) -> Route {
    let piece = |&(left, right): &(usize, usize)| {
        let (from, to) = (&all.vertices[left], &all.vertices[right]);
        let bend = lefts[from.layer] + widths[from.layer];
        // From a node's own edge, however much wider others of its layer are; a line passes the whole column.
        let start = if from.node.is_some() { lefts[from.layer] + from.width } else { bend };
        let end = lefts[to.layer] + if to.node.is_some() { 0.0 } else { widths[to.layer] };
        Piece { start: (start, from.y), bend, to: (lefts[to.layer], to.y), end }
    };
    let pieces: Vec<Piece> = line.pieces.iter().map(piece).collect();
    let head = if line.turned {
        let first = pieces.first().map(|piece| piece.start).unwrap_or_default();
        (first.0, first.1, false)
    } else {
        let last = line.pieces.iter().zip(&pieces).find(|((_, to), _)| all.vertices[*to].node.is_some());
        let last = last.map(|(_, piece)| piece.to).unwrap_or_default();
        (last.0, last.1, true)
    };
    Route { from: line.from.clone(), to: line.to, class: line.class, pieces, head }
}
