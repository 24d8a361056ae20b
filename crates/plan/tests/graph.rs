//! The graph: its algorithms compared with what is true by definition, and what is loaded.

use std::collections::BTreeSet;

use ferrmod_image::Image;
use ferrmod_index::{Index, Tree};
use ferrmod_plan::graph::{
    EdgeKind, Graph, LoadState, Loaded, LoadedModule, Node, Origin, Stays, Wanted, components, implied,
};
use proptest::prelude::*;

/// Which nodes each node reaches over one edge or more: Warshall's algorithm.
fn reach(nodes: usize, edges: &[(usize, usize)]) -> Vec<Vec<bool>> {
    let mut reach = vec![vec![false; nodes]; nodes];
    edges.iter().for_each(|&(from, to)| reach[from][to] = true);
    for middle in 0..nodes {
        for from in 0..nodes {
            if reach[from][middle] {
                let further = reach[middle].clone();
                reach[from].iter_mut().zip(further).for_each(|(reached, more)| *reached |= more);
            }
        }
    }
    reach
}

fn any_graph() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
    (1_usize..14).prop_flat_map(|nodes| {
        let ends = prop::collection::btree_set((0..nodes, 0..nodes), 0..40);
        (Just(nodes), ends.prop_map(|edges| edges.into_iter().collect()))
    })
}

proptest! {
    #[test]
    fn components_are_who_reaches_each_other((nodes, edges) in any_graph()) {
        let reach = reach(nodes, &edges);
        let mut out = vec![Vec::new(); nodes];
        edges.iter().for_each(|&(from, to)| out[from].push(to));
        let found = components(&out);
        let mut place = vec![usize::MAX; nodes];
        for (number, members) in found.iter().enumerate() {
            for &member in members {
                prop_assert_eq!(std::mem::replace(&mut place[member], number), usize::MAX, "twice");
            }
        }
        prop_assert!(place.iter().all(|&number| number < found.len()));
        for a in 0..nodes {
            for b in 0..nodes {
                prop_assert_eq!(place[a] == place[b], a == b || (reach[a][b] && reach[b][a]));
            }
        }
        for (from, to) in edges {
            prop_assert!(place[to] <= place[from], "what is needed comes first");
        }
    }

    #[test]
    fn a_reduction_reaches_the_same((nodes, edges) in any_graph()) {
        let implied = implied(nodes, &edges);
        let kept: Vec<_> = edges.iter().zip(&implied).filter(|(_, implied)| !**implied).map(|(edge, _)| *edge).collect();
        prop_assert_eq!(reach(nodes, &kept), reach(nodes, &edges));
    }

    #[test]
    fn without_cycles_no_edge_of_a_reduction_can_go((nodes, edges) in any_graph()) {
        let edges: Vec<_> = edges.into_iter().filter(|(from, to)| from < to).collect();
        let implied = implied(nodes, &edges);
        let kept: Vec<_> = edges.iter().zip(&implied).filter(|(_, implied)| !**implied).map(|(edge, _)| *edge).collect();
        for gone in 0..kept.len() {
            let mut fewer = kept.clone();
            let (from, to) = fewer.remove(gone);
            prop_assert!(!reach(nodes, &fewer)[from][to], "{from} → {to} is implied");
        }
    }

    #[test]
    fn what_cannot_be_removed_is_what_linux_refuses(
        references in -1_i64..5, holders in 0_usize..4, permanent: bool, live: bool,
    ) {
        let state = if live { LoadState::Live } else { LoadState::Loading };
        let holders: Vec<String> = (0..holders).map(|number| format!("h{number}")).collect();
        let loaded = Loaded { size: 1, references: Some(references), holders: holders.clone(), state, permanent };
        // delete_module(2): users, state, exit function, references.
        let goes = holders.is_empty() && live && !permanent && references <= 0;
        prop_assert_eq!(loaded.stays().is_empty(), goes);
        let outside = loaded.stays().iter().find_map(|why| match why {
            Stays::UsedElsewhere { uses } => Some(*uses),
            _ => None,
        });
        let more = references - holders.len() as i64;
        prop_assert_eq!(outside, (live && more > 0).then_some(more));
    }
}

fn node(name: &str) -> Node {
    Node { name: name.to_owned(), ..Node::default() }
}

fn edge(from: &str, to: &str, kind: EdgeKind) -> (String, String, EdgeKind) {
    (from.to_owned(), to.to_owned(), kind)
}

#[test]
fn a_cycle_is_named_and_told_from_one_of_wishes() {
    use EdgeKind::{Needs, SoftPost, SoftPre};
    let graph = Graph::new(
        ["d", "c", "b", "a", "e"].map(node).to_vec(),
        &[
            edge("a", "b", Needs),
            edge("b", "a", Needs),
            edge("c", "d", Needs),
            edge("d", "c", SoftPre),
            edge("e", "a", SoftPost),
            edge("a", "e", Needs),
        ],
    );
    let names = |members: &[usize]| members.iter().map(|&member| graph.nodes[member].name.clone()).collect::<Vec<_>>();
    let cycles: BTreeSet<_> = graph.cycles.iter().map(|cycle| (cycle.hard, names(&cycle.members))).collect();
    let wanted = [(false, vec!["c".to_owned(), "d".to_owned()]), (true, vec!["a".to_owned(), "b".to_owned()])];
    assert_eq!(cycles, BTreeSet::from(wanted));
}

#[test]
fn an_end_that_is_no_node_is_missing_and_shortcuts_are_implied() {
    use EdgeKind::{Needs, Weak};
    let graph = Graph::new(
        vec![node("a"), node("b")],
        &[
            edge("a", "b", Needs),
            edge("b", "gone", Needs),
            edge("a", "gone", Needs),
            edge("a", "gone", Weak),
            edge("a", "b", Needs),
        ],
    );
    assert_eq!(graph.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["a", "b", "gone"]);
    let edges: Vec<_> = graph.edges.iter().map(|edge| (edge.from, edge.to, edge.kind, edge.implied)).collect();
    assert_eq!(edges, [(0, 1, Needs, false), (0, 2, Needs, true), (0, 2, Weak, false), (1, 2, Needs, false)]);
}

fn loaded(name: &str, references: i64, holders: &[&str]) -> LoadedModule {
    let holders = holders.iter().map(ToString::to_string).collect();
    let loaded = Loaded { size: 4096, references: Some(references), holders, ..Loaded::default() };
    LoadedModule { name: name.to_owned(), taints: String::new(), loaded }
}

#[test]
fn holders_are_edges_and_reasons() {
    let all =
        [loaded("top", 0, &[]), loaded("middle", 3, &["top"]), loaded("base", 1, &["middle"]), loaded("other", 0, &[])];
    let graph = Graph::of_loaded(Origin::default(), &all, &Wanted::default()).unwrap();
    let stays = |name: &str| graph.nodes[graph.find(name).unwrap()].stays.clone();
    assert_eq!(stays("top"), []);
    let modules = vec!["top".to_owned()];
    assert_eq!(stays("middle"), [Stays::UsedBy { modules }, Stays::UsedElsewhere { uses: 2 }]);
    assert_eq!(stays("middle")[1].to_string(), "used 2 times outside of modules");
    assert_eq!(graph.edges.len(), 2);

    let names = |wanted: &Wanted<'_>| -> Vec<String> {
        Graph::of_loaded(Origin::default(), &all, wanted).unwrap().nodes.into_iter().map(|node| node.name).collect()
    };
    let asked = ["middle".to_owned()];
    let wanted = Wanted { modules: &asked, reverse: false, depth: None };
    assert_eq!(names(&wanted), ["base", "middle"]);
    assert_eq!(names(&Wanted { reverse: true, ..wanted }), ["middle", "top"]);
    let far = ["top".to_owned()];
    assert_eq!(names(&Wanted { modules: &far, reverse: false, depth: Some(1) }), ["middle", "top"]);
    let unknown = ["nobody".to_owned()];
    let error = Graph::of_loaded(Origin::default(), &all, &Wanted { modules: &unknown, ..wanted }).unwrap_err();
    assert_eq!(error.to_string(), "nobody: not loaded");
}

#[test]
fn the_edges_of_a_whole_tree_are_what_its_modules_say() {
    let Some(tree) = ferrmod_tests::corpus::tree_or_skip("6.1") else { return };
    let index = Index::with_cache(Tree::find(&tree.root, Some(&tree.release)).unwrap(), None);
    let origin = Origin { index: Some(&index), ..Origin::default() };
    let graph = Graph::of_tree(origin, &index, &Wanted::default()).unwrap();
    assert!(graph.nodes.len() > 4000 && graph.unreadable.is_empty() && graph.cycles.is_empty());
    let out = graph.edges_out();
    for (number, node) in graph.nodes.iter().enumerate() {
        let Some(file) = &node.file else { continue };
        let bytes = std::fs::read(index.tree().folder.join(file)).unwrap();
        // modpost wrote this by the symbols, too.
        let image = Image::read(&bytes).unwrap();
        let mut said: Vec<String> = image.depends().map(|name| name.to_string().replace('-', "_")).collect();
        said.sort_unstable();
        let edges = out[number].iter().map(|&edge| graph.edges[edge]).filter(|edge| edge.kind == EdgeKind::Needs);
        let found: Vec<String> = edges.map(|edge| graph.nodes[edge.to].name.clone()).collect();
        assert_eq!(found, said, "{}", node.name);
    }

    // What a part of it says is what the whole says, and an alias in a softdep is who has it.
    let asked = ["ext4".to_owned()];
    let part = Graph::of_tree(origin, &index, &Wanted { modules: &asked, ..Wanted::default() }).unwrap();
    let names: Vec<&str> = part.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["crc16", "crc32c_generic", "crc32c_intel", "ext4", "jbd2", "mbcache"]);
    let users =
        Graph::of_tree(origin, &index, &Wanted { modules: &["jbd2".to_owned()], reverse: true, depth: Some(1) })
            .unwrap();
    let names: Vec<&str> = users.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["ext4", "jbd2", "ocfs2"]);
    let unknown = Graph::of_tree(origin, &index, &Wanted { modules: &["jdb2".to_owned()], ..Wanted::default() });
    assert_eq!(unknown.unwrap_err().to_string(), "jdb2: no such module; did you mean jbd2?");
}
