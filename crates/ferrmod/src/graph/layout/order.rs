//! The order of the nodes in their layers, so that few edges cross.

use super::Layered;

/// How often the layers are gone through at most, for a component of so many vertices.
fn sweeps(vertices: usize) -> usize {
    match vertices {
        0..=500 => 24,
        501..=3000 => 12,
        _ => 6,
    }
}

/// Orders the layers: each by where the neighbours in the layer before are on average, from the right to the left and back, as long as that
/// helps. The best order that was seen is taken.
pub(super) fn order(all: &mut Layered) {
    first(all);
    let mut best = all.layers.clone();
    let mut fewest = crossings(all);
    for sweep in 0..sweeps(all.vertices.len()) {
        if fewest == 0 {
            break;
        }
        let leftwards = sweep % 2 == 0;
        for step in 1..all.layers.len() {
            let layer = if leftwards { step } else { all.layers.len() - 1 - step };
            sort(all, layer, leftwards);
        }
        let now = crossings(all);
        if now < fewest {
            (fewest, best) = (now, all.layers.clone());
        }
    }
    all.layers = best;
    number(all);
}

fn number(all: &mut Layered) {
    for layer in &all.layers {
        for (place, &vertex) in layer.iter().enumerate() {
            all.vertices[vertex].place = place;
        }
    }
}

/// A beginning: depth first from the right, so that what belongs together is together.
fn first(all: &mut Layered) {
    let mut seen = vec![false; all.vertices.len()];
    let mut layers = vec![Vec::new(); all.layers.len()];
    for layer in all.layers.clone() {
        for start in layer {
            let mut stack = vec![start];
            while let Some(vertex) = stack.pop() {
                if std::mem::replace(&mut seen[vertex], true) {
                    continue;
                }
                layers[all.vertices[vertex].layer].push(vertex);
                stack.extend(all.vertices[vertex].left.iter().rev());
            }
        }
    }
    all.layers = layers;
    number(all);
}

fn sort(all: &mut Layered, layer: usize, by_right: bool) {
    let vertices = &all.vertices;
    let mut keyed: Vec<(f64, usize)> = all.layers[layer]
        .iter()
        .map(|&vertex| {
            let one = &vertices[vertex];
            let neighbours = if by_right { &one.right } else { &one.left };
            let sum: usize = neighbours.iter().map(|&other| vertices[other].place).sum();
            // Places are told as a part of the layer, so that who has no neighbours can stay about where it is.
            let of = |layer: usize| all.layers[layer].len().max(1) as f64;
            let key = match neighbours.first() {
                Some(&other) => (sum as f64 / neighbours.len() as f64 + 0.5) / of(vertices[other].layer),
                None => (one.place as f64 + 0.5) / of(layer),
            };
            (key, vertex)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.layers[layer] = keyed.into_iter().map(|(_, vertex)| vertex).collect();
    for (place, &vertex) in all.layers[layer].iter().enumerate() {
        all.vertices[vertex].place = place;
    }
}

/// How often edges cross: between two layers, pairs of edges whose ends are in opposite order.
pub(super) fn crossings(all: &Layered) -> u64 {
    let mut count = 0;
    for pair in all.layers.windows(2) {
        let [right, left] = pair else { continue };
        // A Fenwick tree of the edges so far, by their right end.
        let mut tree = vec![0_u64; right.len() + 1];
        let mut so_far = 0;
        for &vertex in left {
            let mut places: Vec<usize> =
                all.vertices[vertex].right.iter().map(|&other| all.vertices[other].place).collect();
            places.sort_unstable();
            for &place in &places {
                let mut at = place + 1;
                let mut above = 0;
                while at > 0 {
                    above += tree[at];
                    at &= at - 1;
                }
                count += so_far - above;
            }
            for place in places {
                so_far += 1;
                let mut at = place + 1;
                while at < tree.len() {
                    tree[at] += 1;
                    at += at & at.wrapping_neg();
                }
            }
        }
    }
    count
}
