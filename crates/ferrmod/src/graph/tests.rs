use std::io::Write as _;
use std::process::{Command, Stdio};

use ferrmod_plan::graph::{EdgeKind, Graph, Loaded, LoadedModule, Node, NodeKind, Origin, Stays, Wanted};
use proptest::prelude::*;

use super::*;

const DRAWING: Drawing<'_> = Drawing { title: "a <title> & \"more\"", notes: &[], all_edges: false };

fn node(name: &str) -> Node {
    Node { name: name.to_owned(), kind: NodeKind::File, ..Node::default() }
}

fn graph(names: &[&str], edges: &[(&str, &str, EdgeKind)]) -> Graph {
    let edges: Vec<_> = edges.iter().map(|(from, to, kind)| ((*from).to_owned(), (*to).to_owned(), *kind)).collect();
    Graph::new(names.iter().map(|name| node(name)).collect(), &edges)
}

/// Names that mean something in SVG, in DOT or on a terminal.
const HOSTILE: [&str; 9] =
    ["a\"b", "a\\", "\\N\\G", "</title><script>", "&lt;&amp", "]]>", "x\n\u{1b}[31m", "-- >", "\u{fffe}\u{0}é"];

fn hostile() -> Graph {
    let edges: Vec<_> = HOSTILE.windows(2).map(|pair| (pair[0], pair[1], EdgeKind::Needs)).collect();
    graph(&HOSTILE, &edges)
}

#[test]
fn pictures_hold_hostile_names_as_text() {
    let drawn = svg::svg(&hostile(), Colour::Directory, &DRAWING);
    assert!(
        !drawn.contains("<script") && !drawn.contains('\u{1b}') && !drawn.contains('\u{0}') && !drawn.contains("]]>")
    );
    assert!(drawn.contains("&lt;/title&gt;&lt;script&gt;") && drawn.contains("&amp;lt;&amp;amp"));
    // Every element that is opened is closed: all that is left of the tags nests.
    let mut open = Vec::new();
    for tag in drawn.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split([' ', '\n']).next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let text = text::text(&hostile(), false, &DRAWING);
    assert!(!anstream::adapter::strip_str(&text).to_string().contains('\u{1b}'));
}

/// What the real `dot` makes of DOT.
fn graphviz(dot: &str) -> Option<String> {
    let child = Command::new("dot").arg("-Tplain").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("CI").is_none(), "there is no `dot` (package graphviz)");
        std::eprintln!("SKIPPED: there is no `dot` (package graphviz)");
        return None;
    };
    child.stdin.take().unwrap().write_all(dot.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{dot}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn graphviz_reads_what_is_written_for_it() {
    let graph = hostile();
    let dot = dot::dot(&graph, Colour::Directory, &DRAWING);
    let Some(plain) = graphviz(&dot) else { return };
    let count = |what: &str| plain.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("node "), count("edge ")), (HOSTILE.len(), HOSTILE.len() - 1), "{plain}");
}

#[test]
fn cycles_locks_and_implied_edges_are_drawn_as_such() {
    use EdgeKind::{Needs, SoftPre};
    let mut graph = graph(
        &["a", "b", "c", "x", "y", "z"],
        &[
            ("a", "b", Needs),
            ("b", "a", Needs),
            ("b", "c", SoftPre),
            ("x", "y", Needs),
            ("y", "z", Needs),
            ("x", "z", Needs),
        ],
    );
    let c = graph.find("c").unwrap();
    graph.nodes[c].stays = vec![Stays::Permanent];
    let drawn = svg::svg(&graph, Colour::Directory, &DRAWING);
    assert_eq!(drawn.matches("class=\"b g0 cycle\"").count(), 2);
    // Two edges of the cycle, and one in the legend.
    assert_eq!(drawn.matches("class=\"e n c\"").count() + drawn.matches("class=\"e c\"").count(), 3);
    assert!(drawn.contains("cannot be removed: permanent: it has no exit function"));
    assert!(drawn.contains("b → c (wants before it)") && drawn.contains("cycle: a, b need each other"));
    assert!(!drawn.contains("x → z") && drawn.contains("x → y") && drawn.contains("y → z"));
    let all = svg::svg(&graph, Colour::Directory, &Drawing { all_edges: true, ..DRAWING });
    assert!(all.contains("x, y → z"));
    let dot = dot::dot(&graph, Colour::Directory, &DRAWING);
    assert!(
        dot.contains("\"a\" -> \"b\" [color=red") && !dot.contains("\"x\" -> \"z\"") && dot.contains("style=dashed")
    );
}

#[test]
fn text_is_a_tree_that_ends() {
    use EdgeKind::{Needs, SoftPost};
    let graph = graph(
        &["a", "b", "c", "d"],
        &[
            ("a", "b", Needs),
            ("b", "c", Needs),
            ("c", "b", Needs),
            ("d", "b", Needs),
            ("a", "d", SoftPost),
            ("d", "gone", Needs),
        ],
    );
    let text = anstream::adapter::strip_str(&text::text(&graph, false, &DRAWING)).to_string();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "a",
            "├── b",
            "│   └── c",
            "│       └── b  (above)",
            "└── post: d",
            "    ├── b  (above)",
            "    └── gone  no such module",
            "cycle: b, c need each other, so that none loads",
        ]
    );
}

#[test]
fn colours_are_folders_that_tell_modules_apart() {
    let mut graph = graph(&["a", "b", "c"], &[]);
    for (node, folder) in graph.nodes.iter_mut().zip(["kernel/net/a", "kernel/net/a/x", "kernel/net/b"]) {
        node.directory = Some(folder.to_owned());
    }
    let groups = groups::Groups::of(&graph, Colour::Directory);
    assert_eq!(groups.names, [("kernel/net/a".to_owned(), 2), ("kernel/net/b".to_owned(), 1)]);
    graph.nodes[2].taints = "OE".to_owned();
    let groups = groups::Groups::of(&graph, Colour::Taint);
    assert_eq!(groups.names, [("no taint".to_owned(), 2), ("OE: out of tree, unsigned".to_owned(), 1)]);
    assert_eq!(groups.of, [Some(0), Some(0), Some(1)]);
}

#[test]
fn the_document_names_what_it_means() {
    let loaded = |name: &str, references, holders: &[&str]| LoadedModule {
        name: name.to_owned(),
        taints: String::new(),
        loaded: Loaded {
            size: 4096,
            references: Some(references),
            holders: holders.iter().map(ToString::to_string).collect(),
            ..Loaded::default()
        },
    };
    let all = [loaded("user", 0, &[]), loaded("used", 3, &["user"])];
    let graph = Graph::of_loaded(Origin::default(), &all, &Wanted::default()).unwrap();
    let document = serde_json::to_value(Report::new(&graph, "6.1", true)).unwrap();
    assert_eq!(document["schema"], "ferrmod.graph/1");
    assert_eq!(
        document["edges"][0],
        serde_json::json!({"from": "user", "to": "used", "kind": "needs", "implied": false})
    );
    let stays =
        serde_json::json!([{"reason": "used-by", "modules": ["user"]}, {"reason": "used-elsewhere", "uses": 2}]);
    assert_eq!(document["nodes"][0]["stays"], stays);
    assert_eq!(document["nodes"][0]["loaded"]["references"], 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_graph_is_drawn_in_any_form(
        names in prop::collection::btree_set("\\PC{1,12}", 1..8),
        ends in prop::collection::vec((0_usize..8, 0_usize..8, 0_usize..4), 0..20),
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let kinds = [EdgeKind::Needs, EdgeKind::SoftPre, EdgeKind::SoftPost, EdgeKind::Weak];
        let edges: Vec<_> = ends
            .iter()
            .map(|&(from, to, kind)| (names[from % names.len()], names[to % names.len()], kinds[kind]))
            .collect();
        let graph = graph(&names, &edges);
        let drawn = svg::svg(&graph, Colour::Taint, &DRAWING);
        // One box a module, besides those of the legend.
        prop_assert_eq!(drawn.matches("rx=\"4\"").count(), names.len());
        let lines = text::text(&graph, true, &DRAWING).lines().count();
        prop_assert!(lines >= names.len());
        let closed = dot::dot(&graph, Colour::Taint, &DRAWING).ends_with("}\n");
        prop_assert!(closed);
    }
}
