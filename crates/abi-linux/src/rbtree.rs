//! Red-black trees of C nodes.
//!
//! The algorithms are over any [`Tree`], so that they are tested without C memory; nodes are numbers, and 0 is none.

use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

layout! {
    mod rb_node = "rb_node" { parent_color = "__rb_parent_color", right = "rb_right", left = "rb_left" }
}

/// Which child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

/// The nodes and the root of a tree. A node that is not there is black.
pub(crate) trait Tree {
    fn root(&self) -> u64;
    fn set_root(&mut self, node: u64);
    fn parent(&self, node: u64) -> u64;
    fn set_parent(&mut self, node: u64, parent: u64);
    fn is_black(&self, node: u64) -> bool;
    fn set_black(&mut self, node: u64, black: bool);
    fn child(&self, node: u64, side: Side) -> u64;
    fn set_child(&mut self, node: u64, side: Side, child: u64);
    /// `new` has taken the place of `old`, which is below it now.
    fn rotated(&mut self, old: u64, new: u64);
    /// What is below `node` has changed: something was taken out.
    fn changed(&mut self, _node: u64) {}
}

/// Which child of its parent a node is. `node` may be none when the other child is not.
fn side_of<T: Tree>(tree: &T, node: u64, parent: u64) -> Side {
    if tree.child(parent, Side::Left) == node { Side::Left } else { Side::Right }
}

/// Puts `new` where `old` is below `parent`.
fn replace_child<T: Tree>(tree: &mut T, parent: u64, old: u64, new: u64) {
    if parent == 0 {
        tree.set_root(new);
    } else {
        let side = side_of(tree, old, parent);
        tree.set_child(parent, side, new);
    }
}

/// Turns `node` down to `side`; its child of the other side takes its place.
fn rotate<T: Tree>(tree: &mut T, node: u64, side: Side) -> u64 {
    let up = tree.child(node, side.other());
    let across = tree.child(up, side);
    let parent = tree.parent(node);
    tree.set_child(node, side.other(), across);
    if across != 0 {
        tree.set_parent(across, node);
    }
    replace_child(tree, parent, node, up);
    tree.set_parent(up, parent);
    tree.set_child(up, side, node);
    tree.set_parent(node, up);
    tree.rotated(node, up);
    up
}

/// Restores the colours after the red leaf `node` was linked in.
pub(crate) fn insert<T: Tree>(tree: &mut T, mut node: u64) {
    loop {
        let parent = tree.parent(node);
        if parent == 0 {
            tree.set_black(node, true);
            return;
        }
        if tree.is_black(parent) {
            return;
        }
        // A red parent is not the root.
        let grandparent = tree.parent(parent);
        let side = side_of(tree, parent, grandparent);
        let uncle = tree.child(grandparent, side.other());
        if uncle != 0 && !tree.is_black(uncle) {
            tree.set_black(parent, true);
            tree.set_black(uncle, true);
            tree.set_black(grandparent, false);
            node = grandparent;
            continue;
        }
        let top = if node == tree.child(parent, side.other()) { rotate(tree, parent, side) } else { parent };
        tree.set_black(top, true);
        tree.set_black(grandparent, false);
        rotate(tree, grandparent, side.other());
        return;
    }
}

/// Restores the colours after a black node below `parent` went, whose place is empty now.
pub(crate) fn restore<T: Tree>(tree: &mut T, mut parent: u64) {
    let mut node = 0;
    loop {
        // The place that lacks a black node is empty, and the other is not.
        let side = side_of(tree, node, parent);
        let mut sibling = tree.child(parent, side.other());
        if !tree.is_black(sibling) {
            tree.set_black(sibling, true);
            tree.set_black(parent, false);
            rotate(tree, parent, side);
            sibling = tree.child(parent, side.other());
        }
        let near = tree.child(sibling, side);
        let far = tree.child(sibling, side.other());
        let red = |tree: &T, node: u64| node != 0 && !tree.is_black(node);
        if !red(tree, near) && !red(tree, far) {
            tree.set_black(sibling, false);
            if !tree.is_black(parent) {
                tree.set_black(parent, true);
                return;
            }
            node = parent;
            parent = tree.parent(node);
            if parent == 0 {
                return;
            }
            continue;
        }
        if !red(tree, far) {
            tree.set_black(near, true);
            tree.set_black(sibling, false);
            sibling = rotate(tree, sibling, side.other());
        }
        let color = tree.is_black(parent);
        tree.set_black(sibling, color);
        tree.set_black(parent, true);
        let far = tree.child(sibling, side.other());
        tree.set_black(far, true);
        rotate(tree, parent, side);
        return;
    }
}

/// Takes `node` out.
pub(crate) fn erase<T: Tree>(tree: &mut T, node: u64) {
    let (left, right) = (tree.child(node, Side::Left), tree.child(node, Side::Right));
    let lack = if left != 0 && right != 0 {
        // Its successor, which has no left child, takes its place and its colour.
        let successor = edge(tree, right, Side::Left);
        let below = tree.child(successor, Side::Right);
        let was_black = tree.is_black(successor);
        let mut parent = tree.parent(successor);
        if parent == node {
            parent = successor;
        } else {
            tree.set_child(parent, Side::Left, below);
            tree.set_child(successor, Side::Right, right);
            tree.set_parent(right, successor);
        }
        tree.set_child(successor, Side::Left, left);
        tree.set_parent(left, successor);
        let color = tree.is_black(node);
        tree.set_black(successor, color);
        let above = tree.parent(node);
        replace_child(tree, above, node, successor);
        tree.set_parent(successor, above);
        let lack = take_out(tree, below, parent, was_black);
        climb(tree, parent);
        lack
    } else {
        let below = left | right;
        let parent = tree.parent(node);
        replace_child(tree, parent, node, below);
        let was_black = tree.is_black(node);
        let lack = take_out(tree, below, parent, was_black);
        climb(tree, parent);
        lack
    };
    if let Some(parent) = lack {
        restore(tree, parent);
    }
}

/// A node with at most the child `below` has gone from below `parent`: a child that is left is red and turns black; otherwise,
/// and when the node was black, the place lacks a black node.
fn take_out<T: Tree>(tree: &mut T, below: u64, parent: u64, was_black: bool) -> Option<u64> {
    if below != 0 {
        tree.set_parent(below, parent);
        tree.set_black(below, true);
        return None;
    }
    (was_black && parent != 0).then_some(parent)
}

/// Tells a node and all above it that something below was taken out.
fn climb<T: Tree>(tree: &mut T, mut node: u64) {
    while node != 0 {
        tree.changed(node);
        node = tree.parent(node);
    }
}

/// The outermost node below `node` on one side.
pub(crate) fn edge<T: Tree>(tree: &T, mut node: u64, side: Side) -> u64 {
    while node != 0 && tree.child(node, side) != 0 {
        node = tree.child(node, side);
    }
    node
}

/// The node that follows to one side in order.
pub(crate) fn step<T: Tree>(tree: &T, node: u64, side: Side) -> u64 {
    let below = tree.child(node, side);
    if below != 0 {
        return edge(tree, below, side.other());
    }
    let mut node = node;
    loop {
        let parent = tree.parent(node);
        if parent == 0 || tree.child(parent, side) != node {
            return parent;
        }
        node = parent;
    }
}

/// The deepest node below `node` that comes first in post-order.
fn first_leaf<T: Tree>(tree: &T, mut node: u64) -> u64 {
    while node != 0 {
        match (tree.child(node, Side::Left), tree.child(node, Side::Right)) {
            (0, 0) => break,
            (0, right) => node = right,
            (left, _) => node = left,
        }
    }
    node
}

/// A tree in a module's memory.
pub(crate) struct CTree {
    /// The address of its `struct rb_root`.
    root: u64,
    /// The function to call with (old, new) after a rotation, or 0.
    rotate: u64,
}

const BLACK: u64 = 1;
/// The colour and a spare bit.
const FLAGS: u64 = 3;

impl CTree {
    /// The tree whose `struct rb_root` is at `root`.
    pub(crate) fn new(root: u64, rotate: u64) -> Self {
        Self { root, rotate }
    }

    fn word(node: u64) -> u64 {
        // SAFETY: a node of the module's, or a fault in its name.
        unsafe { rb_node::parent_color.get(node) }
    }
    fn set_word(node: u64, value: u64) {
        // SAFETY: as above.
        unsafe { rb_node::parent_color.set(node, value) };
    }
}

impl Tree for CTree {
    fn root(&self) -> u64 {
        // SAFETY: the module's root.
        unsafe { ram::get(self.root) }
    }
    fn set_root(&mut self, node: u64) {
        // SAFETY: as above.
        unsafe { ram::put(self.root, node) };
    }
    fn parent(&self, node: u64) -> u64 {
        Self::word(node) & !FLAGS
    }
    fn set_parent(&mut self, node: u64, parent: u64) {
        Self::set_word(node, parent | Self::word(node) & BLACK);
    }
    fn is_black(&self, node: u64) -> bool {
        Self::word(node) & BLACK != 0
    }
    fn set_black(&mut self, node: u64, black: bool) {
        Self::set_word(node, Self::word(node) & !FLAGS | if black { BLACK } else { 0 });
    }
    fn child(&self, node: u64, side: Side) -> u64 {
        // SAFETY: as above.
        unsafe {
            match side {
                Side::Left => rb_node::left.get(node),
                Side::Right => rb_node::right.get(node),
            }
        }
    }
    fn set_child(&mut self, node: u64, side: Side, child: u64) {
        // SAFETY: as above.
        unsafe {
            match side {
                Side::Left => rb_node::left.set(node, child),
                Side::Right => rb_node::right.set(node, child),
            }
        }
    }
    fn rotated(&mut self, old: u64, new: u64) {
        if self.rotate != 0 {
            // SAFETY: the caller's function for its augmented nodes.
            unsafe { ram::call(self.rotate, [old, new]) };
        }
    }
}

/// A node says that it is in no tree by being its own parent.
fn is_cleared(node: u64) -> bool {
    CTree::word(node) == node
}

extern "C" fn rb_insert_color(node: u64, root: u64) {
    insert(&mut CTree::new(root, 0), node);
}
extern "C" fn rb_erase(node: u64, root: u64) {
    erase(&mut CTree::new(root, 0), node);
}
/// `void __rb_insert_augmented(struct rb_node *, struct rb_root *, void (*augment_rotate)(old, new))`
extern "C" fn __rb_insert_augmented(node: u64, root: u64, rotate: u64) {
    insert(&mut CTree::new(root, rotate), node);
}
/// `void __rb_erase_color(struct rb_node *parent, struct rb_root *, void (*augment_rotate)(old, new))`
extern "C" fn __rb_erase_color(parent: u64, root: u64, rotate: u64) {
    restore(&mut CTree::new(root, rotate), parent);
}
pub(crate) extern "C" fn rb_first(root: u64) -> u64 {
    let tree = CTree::new(root, 0);
    edge(&tree, tree.root(), Side::Left)
}
extern "C" fn rb_last(root: u64) -> u64 {
    let tree = CTree::new(root, 0);
    edge(&tree, tree.root(), Side::Right)
}
pub(crate) extern "C" fn rb_next(node: u64) -> u64 {
    if is_cleared(node) { 0 } else { step(&CTree::new(0, 0), node, Side::Right) }
}
extern "C" fn rb_prev(node: u64) -> u64 {
    if is_cleared(node) { 0 } else { step(&CTree::new(0, 0), node, Side::Left) }
}
extern "C" fn rb_first_postorder(root: u64) -> u64 {
    let tree = CTree::new(root, 0);
    first_leaf(&tree, tree.root())
}
extern "C" fn rb_next_postorder(node: u64) -> u64 {
    if node == 0 {
        return 0;
    }
    let tree = CTree::new(0, 0);
    let parent = tree.parent(node);
    let right = if parent == 0 { 0 } else { tree.child(parent, Side::Right) };
    if right != 0 && node != right { first_leaf(&tree, right) } else { parent }
}
/// `void rb_replace_node(struct rb_node *victim, struct rb_node *new, struct rb_root *)`
extern "C" fn rb_replace_node(victim: u64, new: u64, root: u64) {
    let mut tree = CTree::new(root, 0);
    // SAFETY: two nodes of the caller's.
    unsafe { ram::copy(new, victim, rb_node::SIZE.get()) };
    for side in [Side::Left, Side::Right] {
        let child = tree.child(victim, side);
        if child != 0 {
            tree.set_parent(child, new);
        }
    }
    let parent = tree.parent(victim);
    replace_child(&mut tree, parent, victim, new);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c rb_insert_color, c rb_erase, c __rb_insert_augmented, c __rb_erase_color, c rb_first, c rb_last, c rb_next, c rb_prev,
    c rb_first_postorder, c rb_next_postorder, c rb_replace_node, c rb_replace_node_rcu = rb_replace_node,
];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Nodes are their keys; 0 is none. The augmented value of a node is the number of nodes below it and itself.
    #[derive(Clone, Default)]
    struct Model {
        root: u64,
        nodes: Vec<[u64; 3]>,
        black: Vec<bool>,
        sizes: Vec<u64>,
    }

    impl Model {
        fn new() -> Self {
            Self { root: 0, nodes: alloc::vec![[0; 3]; 300], black: alloc::vec![true; 300], sizes: alloc::vec![0; 300] }
        }
        fn link(&mut self, key: u64) {
            let (mut parent, mut at, mut side) = (0, self.root, Side::Left);
            while at != 0 {
                parent = at;
                side = if key < at { Side::Left } else { Side::Right };
                at = self.child(at, side);
            }
            self.nodes[key as usize] = [parent, 0, 0];
            self.black[key as usize] = false;
            match parent {
                0 => self.root = key,
                parent => self.set_child(parent, side, key),
            }
            let mut up = key;
            while up != 0 {
                self.resize(up);
                up = self.parent(up);
            }
        }
        fn resize(&mut self, node: u64) {
            let below = |side| self.sizes[self.child(node, side) as usize];
            self.sizes[node as usize] = 1 + below(Side::Left) + below(Side::Right);
        }
        /// The black height; checks order, colours, parents and sizes on the way.
        fn check(&self, node: u64, range: (u64, u64)) -> u32 {
            if node == 0 {
                return 1;
            }
            assert!(range.0 < node && node < range.1, "order");
            let heights = [Side::Left, Side::Right].map(|side| {
                let child = self.child(node, side);
                if child != 0 {
                    assert_eq!(self.parent(child), node);
                    assert!(self.black[node as usize] || self.black[child as usize], "two reds");
                }
                let range = if side == Side::Left { (range.0, node) } else { (node, range.1) };
                self.check(child, range)
            });
            assert_eq!(heights[0], heights[1], "black height");
            let below = |side| self.sizes[self.child(node, side) as usize];
            assert_eq!(self.sizes[node as usize], 1 + below(Side::Left) + below(Side::Right), "the augmented value");
            heights[0] + u32::from(self.black[node as usize])
        }
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
            assert_ne!(node, 0);
            self.nodes[node as usize][0] = parent;
        }
        fn is_black(&self, node: u64) -> bool {
            assert_ne!(node, 0, "C has no node there to ask");
            self.black[node as usize]
        }
        fn set_black(&mut self, node: u64, black: bool) {
            assert_ne!(node, 0);
            self.black[node as usize] = black;
        }
        fn child(&self, node: u64, side: Side) -> u64 {
            assert_ne!(node, 0);
            self.nodes[node as usize][1 + side as usize]
        }
        fn set_child(&mut self, node: u64, side: Side, child: u64) {
            assert_ne!(node, 0);
            self.nodes[node as usize][1 + side as usize] = child;
        }
        fn rotated(&mut self, old: u64, new: u64) {
            self.resize(old);
            self.resize(new);
        }
        fn changed(&mut self, node: u64) {
            self.resize(node);
        }
    }

    proptest! {
        #[test]
        fn stays_a_search_tree(operations in proptest::collection::vec((any::<bool>(), 1u64..64), 0..300)) {
            let mut tree = Model::new();
            let mut keys = BTreeSet::new();
            for (add, key) in operations {
                if add && keys.insert(key) {
                    tree.link(key);
                    insert(&mut tree, key);
                } else if !add && keys.remove(&key) {
                    erase(&mut tree, key);
                }
                tree.check(tree.root, (0, 1000));
                prop_assert!(tree.root == 0 || tree.is_black(tree.root) && tree.parent(tree.root) == 0);
            }
            let walk = |first: Side, next: Side| {
                let mut at = edge(&tree, tree.root, first);
                let mut seen = Vec::new();
                while at != 0 {
                    seen.push(at);
                    at = step(&tree, at, next);
                }
                seen
            };
            prop_assert!(walk(Side::Left, Side::Right).iter().eq(keys.iter()));
            prop_assert!(walk(Side::Right, Side::Left).iter().eq(keys.iter().rev()));
        }
    }
}
