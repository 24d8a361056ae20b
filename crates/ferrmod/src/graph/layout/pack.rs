//! Components side by side.

use super::{Layout, Part, Place};

/// Between components.
const GAP: f64 = 28.0;
/// Between nodes without edges.
const SINGLE_GAP: f64 = 7.0;
/// How much wider than high the picture should be.
const RATIO: f64 = 1.5;

/// Puts the components in shelves, the highest first, and below them the `single` nodes in rows.
pub(super) fn pack(sizes: &[(f64, f64)], mut parts: Vec<Part>, single: &[usize], least: f64) -> Layout {
    let area = |width: f64, height: f64| (width + GAP) * (height + GAP);
    let all: f64 = parts.iter().map(|part| area(part.width, part.height)).sum::<f64>()
        + single.iter().map(|&node| (sizes[node].0 + SINGLE_GAP) * (sizes[node].1 + SINGLE_GAP)).sum::<f64>();
    let widest = parts.iter().map(|part| part.width).fold(least, f64::max);
    let room = (all * RATIO).sqrt().max(widest);
    parts.sort_by(|a, b| b.height.total_cmp(&a.height));

    let mut layout = Layout { nodes: vec![Place::default(); sizes.len()], ..Layout::default() };
    let (mut top, mut bottom) = (0.0_f64, 0.0_f64);
    // The columns of the shelf: where each begins, how wide it is, and where it is free.
    let mut columns: Vec<(f64, f64, f64)> = Vec::new();
    for part in parts {
        // Below another of the shelf where there is room left, else beside it, else on a new shelf.
        let below = columns.iter_mut().find(|(_, width, free)| *width >= part.width && *free + part.height <= bottom);
        let at = match below {
            Some((x, _, free)) => {
                let at = (*x, *free);
                *free += part.height + GAP;
                at
            }
            None => {
                let mut x = columns.last().map_or(0.0, |(x, width, _)| x + width + GAP);
                if x + part.width > room {
                    x = 0.0;
                    columns.clear();
                    top = if bottom > 0.0 { bottom + GAP } else { 0.0 };
                }
                columns.push((x, part.width, top + part.height + GAP));
                (x, top)
            }
        };
        bottom = bottom.max(at.1 + part.height);
        layout.width = layout.width.max(at.0 + part.width);
        place(&mut layout, part, at);
    }
    if !single.is_empty() {
        let mut y = if bottom > 0.0 { bottom + GAP } else { 0.0 };
        let width = single.iter().map(|&node| sizes[node].0).fold(1.0, f64::max) + SINGLE_GAP;
        let height = single.iter().map(|&node| sizes[node].1).fold(1.0, f64::max) + SINGLE_GAP;
        let columns = ((room + SINGLE_GAP) / width).floor().max(1.0) as usize;
        for row in single.chunks(columns) {
            for (at, &node) in row.iter().enumerate() {
                let (own_width, own_height) = sizes[node];
                let x = at as f64 * width;
                layout.nodes[node] = Place { x, y, width: own_width, height: own_height };
                layout.width = layout.width.max(x + own_width);
                bottom = bottom.max(y + own_height);
            }
            y += height;
        }
    }
    layout.height = bottom;
    layout
}

fn place(layout: &mut Layout, part: Part, (x, y): (f64, f64)) {
    for (node, place) in part.nodes {
        layout.nodes[node] = Place { x: place.x + x, y: place.y + y, ..place };
    }
    layout.routes.extend(part.routes.into_iter().map(|mut route| {
        for piece in &mut route.pieces {
            piece.start = (piece.start.0 + x, piece.start.1 + y);
            piece.bend += x;
            piece.to = (piece.to.0 + x, piece.to.1 + y);
            piece.end += x;
        }
        route.head = (route.head.0 + x, route.head.1 + y, route.head.2);
        route
    }));
}
