//! `ferrmod graph`: what needs what, as a picture.

mod dot;
mod groups;
mod layout;
pub(crate) mod loaded;
mod svg;
mod text;
mod words;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anstream::eprintln;
use clap::{Args, ValueEnum};
use ferrmod_config::{Config, Folders, Root, Sources};
use ferrmod_index::{Index, Tree};
use ferrmod_plan::graph::{EdgeKind, Graph, Node, Origin, Wanted};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output;
use crate::replace::replace;
pub use groups::Colour;
pub(crate) use groups::meaning;

/// The name and version of the JSON schema (docs/schema/graph.md).
const SCHEMA: &str = "ferrmod.graph/1";

/// Draw what needs what: modules, their dependencies, cycles, and why a module cannot be removed.
///
/// Without MODULE, everything in the tree (or, with --loaded, everything that is loaded). With MODULE, these and what they need, or, with
/// --reverse, who needs them.
///
/// Dependencies are those by symbols; `softdep` and `weakdep` come from the modules, from depmod's files and from the configuration of
/// the same root. In a picture, an edge that others imply is left out.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct GraphArgs {
    /// Modules, by names or aliases.
    #[arg(value_name = "MODULE")]
    pub modules: Vec<String>,
    /// What is loaded, with the references that hold each module, instead of what is in the tree.
    #[arg(long)]
    pub loaded: bool,
    /// The tree of modules: a folder with lib/modules in it, or a modules folder itself [default: the running kernel's].
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// Another system's root: its modules and configuration, and with --loaded its /proc and /sys as they were kept.
    #[arg(long, value_name = "DIR", conflicts_with = "tree")]
    pub root: Option<PathBuf>,
    /// Which kernel of the tree.
    #[arg(long, value_name = "RELEASE")]
    pub kernel: Option<String>,
    /// Who needs MODULE, instead of what it needs.
    #[arg(long, requires = "modules")]
    pub reverse: bool,
    /// How many edges away from MODULE.
    #[arg(long, value_name = "N", requires = "modules")]
    pub depth: Option<usize>,
    /// What colours tell.
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub colour: Colour,
    /// Draw edges that others imply, too.
    #[arg(long)]
    pub all_edges: bool,
    /// The form [default: what FILE ends in, else text].
    #[arg(long, value_enum, value_name = "FORM")]
    pub format: Option<Format>,
    /// The same as --format json (schema: docs/schema/graph.md).
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Write to FILE, whole or not at all, instead of to standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  done, and there is a cycle of dependencies, or a module that is needed is missing
  2  usage
  3  there is no such module, or the tree or /proc/modules cannot be read";

/// The forms of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
    /// A document.
    Json,
    /// A tree of lines.
    Text,
}

/// What a drawing has besides the graph.
struct Drawing<'a> {
    title: &'a str,
    /// Lines below the title.
    notes: &'a [String],
    /// Whether edges that others imply are drawn.
    all_edges: bool,
}

/// The document of `--json`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report<'a> {
    schema: &'static str,
    /// The kernel's release; empty when it is not known.
    kernel: &'a str,
    /// Whether this is what is loaded, and not what is in a tree.
    loaded: bool,
    /// The modules, by name.
    nodes: &'a [Node],
    /// What they need.
    edges: Vec<ReportEdge<'a>>,
    /// Modules that wait for each other.
    cycles: Vec<ReportCycle<'a>>,
    /// Files that could not be read as modules.
    unreadable: &'a [String],
}

/// From a module to one that it needs.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct ReportEdge<'a> {
    /// The module.
    from: &'a str,
    /// What it needs.
    to: &'a str,
    /// How much.
    kind: EdgeKind,
    /// Whether other edges say it already, by a longer way.
    implied: bool,
}

/// Modules that wait for each other.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct ReportCycle<'a> {
    /// Their names.
    members: Vec<&'a str>,
    /// Whether hard dependencies alone make it, so that none of them loads.
    hard: bool,
}

impl<'a> Report<'a> {
    fn new(graph: &'a Graph, kernel: &'a str, loaded: bool) -> Report<'a> {
        let name = |number: usize| graph.nodes[number].name.as_str();
        let edges = graph.edges.iter().map(|edge| ReportEdge {
            from: name(edge.from),
            to: name(edge.to),
            kind: edge.kind,
            implied: edge.implied,
        });
        let cycles = graph.cycles.iter().map(|cycle| ReportCycle {
            members: cycle.members.iter().map(|&member| name(member)).collect(),
            hard: cycle.hard,
        });
        Report {
            schema: SCHEMA,
            kernel,
            loaded,
            nodes: &graph.nodes,
            edges: edges.collect(),
            cycles: cycles.collect(),
            unreadable: &graph.unreadable,
        }
    }
}

/// The tree that is asked about.
pub(crate) fn find_tree(tree: Option<&Path>, root: Option<&Path>, release: Option<&str>) -> Result<Tree, Failure> {
    let own = || loaded::release(root);
    let found = match (tree, root) {
        (Some(folder), _) => Tree::find(folder, release),
        // A root that does not say which kernel ran has perhaps only one.
        (None, Some(root)) => Tree::find(root, release.map(str::to_owned).or_else(own).as_deref()),
        (None, None) => Tree::find(Path::new("/lib/modules"), release.map(str::to_owned).or_else(own).as_deref()),
    };
    found.map_err(|error| Failure::Tree(error.to_string()))
}

/// The configuration that counts for a tree: that of the root it is in.
pub(crate) fn configuration(tree: &Tree, root: Option<&Path>) -> Result<Config, Failure> {
    let open = |path: &Path| Root::new(path).map_err(|error| Failure::File { path: path.display().to_string(), error });
    let (root, inside) = match root.or(tree.root.as_deref()) {
        Some(root) => {
            let inside = tree.folder.strip_prefix(root).map(|inside| Path::new("/").join(inside));
            (open(root)?, inside.ok())
        }
        None => (Root::host(), None),
    };
    let absolute = std::path::absolute(&tree.folder).unwrap_or_else(|_| tree.folder.clone());
    let host = Root::host();
    let place = match &inside {
        Some(inside) => (&root, inside.as_path()),
        None => (&host, absolute.as_path()),
    };
    Ok(Config::read(&Sources {
        root: &root,
        folders: Folders::Kmod34,
        paths: None,
        tree: Some(place),
        command_line: None,
    }))
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when there is no such tree or module, or the file cannot be written.
pub(crate) fn run(args: &GraphArgs) -> Result<Exit, Failure> {
    let root = args.root.as_deref();
    let tree = find_tree(args.tree.as_deref(), root, args.kernel.as_deref());
    let tree = match tree {
        // What is loaded can be told without files.
        Err(_) if args.loaded && args.tree.is_none() && args.kernel.is_none() => None,
        tree => Some(tree?),
    };
    let config = tree.as_ref().map(|tree| configuration(tree, root)).transpose()?;
    let release = tree.as_ref().map(|tree| tree.release.clone()).unwrap_or_default();
    let index = tree.map(Index::new);
    let kernel = loaded::kernel(root);
    let disabled = args.loaded && kernel.modules_disabled().unwrap_or(false);
    let origin = Origin { index: index.as_ref(), config: config.as_ref(), disabled };
    let wanted = Wanted { modules: &args.modules, reverse: args.reverse, depth: args.depth };
    let graph = match &index {
        _ if args.loaded => Graph::of_loaded(origin, &loaded::loaded(&kernel)?, &wanted),
        Some(index) => Graph::of_tree(origin, index, &wanted),
        None => return Err(Failure::Tree("no tree of modules".to_owned())),
    };
    let graph = graph.map_err(|error| Failure::Refused(error.to_string()))?;
    graph.unreadable.iter().for_each(|text| eprintln!("ferrmod: {}", output::harmless(text)));

    let release = if release.is_empty() { loaded::release(root).unwrap_or_default() } else { release };
    let drawn = draw(args, &graph, &release)?;
    match &args.output {
        Some(path) => replace(path, anstream::adapter::strip_str(&drawn).to_string().as_bytes(), None)?,
        None => output::print(&drawn),
    }
    let missing = graph.edges.iter().any(|edge| {
        edge.kind == EdgeKind::Needs && graph.nodes[edge.to].kind == ferrmod_plan::graph::NodeKind::Missing
    });
    let bad = missing || graph.cycles.iter().any(|cycle| cycle.hard);
    Ok(if bad { Exit::ModuleError } else { Exit::Clean })
}

fn format_of(args: &GraphArgs) -> Format {
    let by_name = || {
        let ending = args.output.as_ref()?.extension().and_then(OsStr::to_str)?;
        match ending {
            "svg" => Some(Format::Svg),
            "dot" | "gv" => Some(Format::Dot),
            "json" => Some(Format::Json),
            _ => None,
        }
    };
    let json = args.json.then_some(Format::Json);
    args.format.or(json).or_else(by_name).unwrap_or(Format::Text)
}

fn draw(args: &GraphArgs, graph: &Graph, release: &str) -> Result<String, Failure> {
    let what = match (args.modules.is_empty(), args.reverse, args.loaded) {
        (true, _, false) => "all modules".to_owned(),
        (true, _, true) => "loaded modules".to_owned(),
        (false, reverse, loaded) => {
            let names = args.modules.join(", ");
            let loaded = if loaded { ", of what is loaded" } else { "" };
            if reverse {
                format!("who needs {names}{loaded}")
            } else {
                format!("what {names} {}{loaded}", if args.modules.len() == 1 { "needs" } else { "need" })
            }
        }
    };
    let title = if release.is_empty() { what } else { format!("{release}: {what}") };
    let implied = graph.edges.iter().filter(|edge| edge.implied).count();
    let mut note = format!("{} modules, {} edges", graph.nodes.len(), graph.edges.len());
    if implied > 0 && !args.all_edges {
        note.push_str(&format!(", {implied} of them implied by others and not drawn"));
    }
    let notes = [note];
    let drawing = Drawing { title: &title, notes: &notes, all_edges: args.all_edges };
    Ok(match format_of(args) {
        Format::Dot => dot::dot(graph, args.colour, &drawing),
        Format::Svg => svg::svg(graph, args.colour, &drawing),
        Format::Text => text::text(graph, args.reverse, &drawing),
        Format::Json => {
            let report = Report::new(graph, release, args.loaded);
            serde_json::to_string_pretty(&report).map_err(std::io::Error::other)? + "\n"
        }
    })
}

#[cfg(test)]
mod tests;
