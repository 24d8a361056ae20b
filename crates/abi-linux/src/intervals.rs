//! Interval trees: red-black trees by start, whose nodes know the greatest end below them.

use crate::export::{Export, exports};
use crate::field::layout;
use crate::rbtree::{self, CTree, Side, Tree};

layout! {
    mod interval = "interval_tree_node" { rb, start, last, subtree_last = "__subtree_last" }
    mod rb_root_cached = "rb_root_cached" { rb_root, rb_leftmost }
}

/// A node's members, in the order the search asks for them.
trait Intervals: Tree {
    fn start(&self, node: u64) -> u64;
    fn last(&self, node: u64) -> u64;
    fn greatest(&self, node: u64) -> u64;
    fn set_greatest(&mut self, node: u64, last: u64);
}

/// The greatest end of a node and what is below it.
fn measure<T: Intervals>(tree: &mut T, node: u64) {
    let below = [Side::Left, Side::Right].map(|side| match tree.child(node, side) {
        0 => 0,
        child => tree.greatest(child),
    });
    let greatest = tree.last(node).max(below[0]).max(below[1]);
    tree.set_greatest(node, greatest);
}

/// Links a node in; whether it became the first.
fn insert<T: Intervals>(tree: &mut T, node: u64) -> bool {
    let (start, last) = (tree.start(node), tree.last(node));
    let (mut parent, mut at, mut side, mut first) = (0, tree.root(), Side::Left, true);
    while at != 0 {
        parent = at;
        let greatest = tree.greatest(at).max(last);
        tree.set_greatest(at, greatest);
        side = if start < tree.start(at) { Side::Left } else { Side::Right };
        first &= side == Side::Left;
        at = tree.child(at, side);
    }
    tree.set_child(node, Side::Left, 0);
    tree.set_child(node, Side::Right, 0);
    tree.set_greatest(node, last);
    tree.set_parent(node, parent);
    tree.set_black(node, false);
    match parent {
        0 => tree.set_root(node),
        parent => tree.set_child(parent, side, node),
    }
    rbtree::insert(tree, node);
    first
}

/// The first node at or below `node` that meets an interval.
fn search<T: Intervals>(tree: &T, mut node: u64, start: u64, last: u64) -> u64 {
    loop {
        if node == 0 || tree.greatest(node) < start {
            return 0;
        }
        let left = tree.child(node, Side::Left);
        if left != 0 && tree.greatest(left) >= start {
            node = left;
        } else if tree.start(node) > last {
            return 0;
        } else if tree.last(node) >= start {
            return node;
        } else {
            node = tree.child(node, Side::Right);
        }
    }
}

/// The node that follows `node` among those that meet the interval.
fn next<T: Intervals>(tree: &T, node: u64, start: u64, last: u64) -> u64 {
    let right = tree.child(node, Side::Right);
    if right != 0 && tree.greatest(right) >= start {
        return search(tree, right, start, last);
    }
    // Up to the first node of which this is on the left.
    let mut node = node;
    loop {
        let parent = tree.parent(node);
        if parent == 0 {
            return 0;
        }
        let was_left = tree.child(parent, Side::Left) == node;
        node = parent;
        if !was_left {
            continue;
        }
        if tree.start(node) > last {
            return 0;
        }
        if tree.last(node) >= start {
            return node;
        }
        let right = tree.child(node, Side::Right);
        if right != 0 && tree.greatest(right) >= start {
            return search(tree, right, start, last);
        }
    }
}

/// Nodes in a module's memory; a node is known by its `rb`.
struct CIntervals(CTree);

impl CIntervals {
    fn object(node: u64) -> u64 {
        interval::rb.container(node)
    }
}

impl Tree for CIntervals {
    fn root(&self) -> u64 {
        self.0.root()
    }
    fn set_root(&mut self, node: u64) {
        self.0.set_root(node);
    }
    fn parent(&self, node: u64) -> u64 {
        self.0.parent(node)
    }
    fn set_parent(&mut self, node: u64, parent: u64) {
        self.0.set_parent(node, parent);
    }
    fn is_black(&self, node: u64) -> bool {
        self.0.is_black(node)
    }
    fn set_black(&mut self, node: u64, black: bool) {
        self.0.set_black(node, black);
    }
    fn child(&self, node: u64, side: Side) -> u64 {
        self.0.child(node, side)
    }
    fn set_child(&mut self, node: u64, side: Side, child: u64) {
        self.0.set_child(node, side, child);
    }
    fn rotated(&mut self, old: u64, new: u64) {
        measure(self, old);
        measure(self, new);
    }
    fn changed(&mut self, node: u64) {
        measure(self, node);
    }
}

impl Intervals for CIntervals {
    fn start(&self, node: u64) -> u64 {
        // SAFETY: a node of the module's, or a fault in its name; so for the others.
        unsafe { interval::start.get(Self::object(node)) }
    }
    fn last(&self, node: u64) -> u64 {
        // SAFETY: as above.
        unsafe { interval::last.get(Self::object(node)) }
    }
    fn greatest(&self, node: u64) -> u64 {
        // SAFETY: as above.
        unsafe { interval::subtree_last.get(Self::object(node)) }
    }
    fn set_greatest(&mut self, node: u64, last: u64) {
        // SAFETY: as above.
        unsafe { interval::subtree_last.set(Self::object(node), last) };
    }
}

fn tree(root: u64) -> CIntervals {
    CIntervals(CTree::new(rb_root_cached::rb_root.at(root), 0))
}
fn object_or_null(node: u64) -> u64 {
    if node == 0 { 0 } else { CIntervals::object(node) }
}

/// `void interval_tree_insert(struct interval_tree_node *, struct rb_root_cached *)`
extern "C" fn interval_tree_insert(object: u64, root: u64) {
    let node = interval::rb.at(object);
    if insert(&mut tree(root), node) {
        // SAFETY: the caller's root.
        unsafe { rb_root_cached::rb_leftmost.set(root, node) };
    }
}
extern "C" fn interval_tree_remove(object: u64, root: u64) {
    let node = interval::rb.at(object);
    // SAFETY: the caller's root.
    unsafe {
        if rb_root_cached::rb_leftmost.get::<u64>(root) == node {
            rb_root_cached::rb_leftmost.set(root, rbtree::rb_next(node));
        }
    }
    rbtree::erase(&mut tree(root), node);
}
/// `struct interval_tree_node *interval_tree_iter_first(struct rb_root_cached *, unsigned long start, unsigned long last)`
extern "C" fn interval_tree_iter_first(root: u64, start: u64, last: u64) -> u64 {
    let tree = tree(root);
    object_or_null(search(&tree, tree.root(), start, last))
}
extern "C" fn interval_tree_iter_next(object: u64, start: u64, last: u64) -> u64 {
    object_or_null(next(&CIntervals(CTree::new(0, 0)), interval::rb.at(object), start, last))
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] =
    exports![c interval_tree_insert, c interval_tree_remove, c interval_tree_iter_first, c interval_tree_iter_next];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Parent, left, right, colour, start, last, greatest.
    #[derive(Default)]
    struct Model {
        root: u64,
        nodes: Vec<[u64; 7]>,
    }

    impl Tree for Model {
        fn root(&self) -> u64 {
            self.root
        }
        fn set_root(&mut self, node: u64) {
            self.root = node;
        }
        fn parent(&self, node: u64) -> u64 {
            self.nodes[node as usize][0]
        }
        fn set_parent(&mut self, node: u64, parent: u64) {
            self.nodes[node as usize][0] = parent;
        }
        fn is_black(&self, node: u64) -> bool {
            self.nodes[node as usize][3] != 0
        }
        fn set_black(&mut self, node: u64, black: bool) {
            self.nodes[node as usize][3] = black.into();
        }
        fn child(&self, node: u64, side: Side) -> u64 {
            self.nodes[node as usize][1 + side as usize]
        }
        fn set_child(&mut self, node: u64, side: Side, child: u64) {
            self.nodes[node as usize][1 + side as usize] = child;
        }
        fn rotated(&mut self, old: u64, new: u64) {
            measure(self, old);
            measure(self, new);
        }
        fn changed(&mut self, node: u64) {
            measure(self, node);
        }
    }
    impl Intervals for Model {
        fn start(&self, node: u64) -> u64 {
            self.nodes[node as usize][4]
        }
        fn last(&self, node: u64) -> u64 {
            self.nodes[node as usize][5]
        }
        fn greatest(&self, node: u64) -> u64 {
            self.nodes[node as usize][6]
        }
        fn set_greatest(&mut self, node: u64, last: u64) {
            self.nodes[node as usize][6] = last;
        }
    }

    proptest! {
        #[test]
        fn finds_what_meets(
            intervals in proptest::collection::vec((0u64..100, 0u64..20, any::<bool>()), 1..50),
            start in 0u64..120,
            length in 0u64..30,
        ) {
            let mut tree = Model { root: 0, nodes: alloc::vec![[0; 7]; intervals.len() + 1] };
            for (index, &(start, length, _)) in intervals.iter().enumerate() {
                tree.nodes[index + 1] = [0, 0, 0, 0, start, start + length, 0];
                insert(&mut tree, index as u64 + 1);
            }
            for (index, _) in intervals.iter().enumerate().filter(|(_, interval)| interval.2) {
                rbtree::erase(&mut tree, index as u64 + 1);
            }
            let last = start + length;
            let mut found = Vec::new();
            let mut at = search(&tree, tree.root, start, last);
            while at != 0 {
                found.push(at as usize);
                at = next(&tree, at, start, last);
            }
            prop_assert!(found.windows(2).all(|pair| tree.nodes[pair[0]][4] <= tree.nodes[pair[1]][4]));
            found.sort_unstable();
            let expected: Vec<usize> = (1..tree.nodes.len())
                .filter(|&node| !intervals[node - 1].2 && tree.nodes[node][4] <= last && tree.nodes[node][5] >= start)
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
