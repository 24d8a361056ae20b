use proptest::prelude::*;

use super::*;

fn boxes(count: usize) -> Vec<(f64, f64)> {
    (0..count).map(|at| (40.0 + (at * 37 % 80) as f64, 20.0)).collect()
}

/// What must hold for every picture: nodes do not overlap and are inside of it, and no line runs through a node that is not its end.
fn check(layout: &Layout, links: &[Link]) -> Result<(), TestCaseError> {
    let inside = |a: f64, b: f64| a >= -0.01 && b <= 0.01;
    for (at, a) in layout.nodes.iter().enumerate() {
        prop_assert!(inside(a.x, a.x + a.width - layout.width) && inside(a.y, a.y + a.height - layout.height));
        for b in &layout.nodes[at + 1..] {
            let apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
            prop_assert!(apart, "{a:?} {b:?}");
        }
    }
    let mut drawn = 0;
    for route in &layout.routes {
        drawn += route.from.len();
        for piece in &route.pieces {
            // Straight pieces are inside of columns, curves between them.
            prop_assert!(piece.start.0 <= piece.bend && piece.bend < piece.to.0 && piece.to.0 <= piece.end);
            for node in &layout.nodes {
                let through = |x0: f64, x1: f64, y: f64| {
                    x0 < node.x + node.width - 0.01
                        && x1 > node.x + 0.01
                        && y > node.y + 0.01
                        && y < node.y + node.height - 0.01
                };
                prop_assert!(!through(piece.start.0, piece.bend, piece.start.1), "{piece:?} {node:?}");
                prop_assert!(!through(piece.to.0, piece.end, piece.to.1), "{piece:?} {node:?}");
                let (y0, y1) = (piece.start.1.min(piece.to.1), piece.start.1.max(piece.to.1));
                let beside = node.x + node.width <= piece.bend + 0.01 || node.x >= piece.to.0 - 0.01;
                let clear = node.y >= y1 - 0.01 || node.y + node.height <= y0 + 0.01;
                prop_assert!(beside || clear, "a curve runs over a node: {piece:?} {node:?}");
            }
        }
    }
    prop_assert_eq!(drawn, links.iter().filter(|link| link.from != link.to).count());
    Ok(())
}

proptest! {
    #[test]
    fn nothing_overlaps_and_no_line_runs_through_a_node(
        nodes in 1_usize..24, ends in prop::collection::vec((0_usize..24, 0_usize..24, 0_usize..2), 0..50),
    ) {
        let mut links: Vec<Link> =
            ends.into_iter().map(|(from, to, class)| Link { from: from % nodes, to: to % nodes, class }).collect();
        links.sort_by_key(|link| (link.from, link.to, link.class));
        links.dedup();
        check(&layout(&boxes(nodes), &links, 0.0), &links)?;
    }
}

#[test]
fn who_needs_stands_left_of_what_is_needed() {
    let link = |from, to| Link { from, to, class: 0 };
    let links = [link(0, 1), link(1, 2), link(0, 2), link(3, 2)];
    let layout = layout(&boxes(4), &links, 0.0);
    let x: Vec<f64> = layout.nodes.iter().map(|place| place.x).collect();
    assert!(x[0] < x[1] && x[1] < x[2] && x[3] < x[2], "{x:?}");
    // Three users of node 2 come in on one line with one arrow.
    let route = layout.routes.iter().find(|route| route.to == 2).unwrap();
    assert_eq!((route.from.len(), route.head.0, route.head.2), (3, x[2], true));
}

#[test]
fn a_cycle_is_drawn_with_one_arrow_against_the_others() {
    let link = |from, to| Link { from, to, class: 0 };
    let layout = layout(&boxes(3), &[link(0, 1), link(1, 2), link(2, 0)], 0.0);
    let back: Vec<&Route> = layout.routes.iter().filter(|route| !route.head.2).collect();
    assert_eq!(back.len(), 1);
    assert_eq!((back[0].from.as_slice(), back[0].to), (&[2][..], 0));
}

#[test]
fn a_tree_that_can_be_drawn_without_crossings_is() {
    // A binary tree, its nodes numbered so that the first order is a bad one.
    let links: Vec<Link> =
        (1..31).map(|node| Link { from: (node * 7) % 31, to: (((node - 1) / 2) * 7) % 31, class: 0 }).collect();
    let members: Vec<usize> = (0..31).collect();
    let mut layered = layered(&boxes(31), &members, &links);
    order::order(&mut layered);
    assert_eq!(order::crossings(&layered), 0);
}
