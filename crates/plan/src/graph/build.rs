//! A graph from a tree's files and from what is loaded.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use bstr::{BStr, ByteSlice};
use ferrmod_config::Config;
use ferrmod_image::Image;
use ferrmod_index::{Facts, FileError, Found, Index, in_parallel, normalise, read_module};
use ferrmod_linker::Taints;
use thiserror::Error;

use super::{EdgeKind, Graph, LoadedModule, Node, NodeKind, Stays};
use crate::check::letters;

/// What a graph is made from.
#[derive(Clone, Copy, Default)]
pub struct Origin<'a> {
    /// The tree of modules.
    pub index: Option<&'a Index>,
    /// The administrator's configuration, and what depmod wrote: whose `softdep` and `weakdep` lines count before a module's own.
    pub config: Option<&'a Config>,
    /// Whether loading and unloading is switched off.
    pub disabled: bool,
}

/// Which part of it is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Only what these modules (names or aliases) need, and they themselves; everything when empty.
    pub modules: &'a [String],
    /// Who needs them instead.
    pub reverse: bool,
    /// How far from them, in edges.
    pub depth: Option<usize>,
}

/// Why there is no graph.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphError {
    /// The tree cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no such module.
    #[error("{name}: no such module{}", hint(nearest))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names that are like it.
        nearest: Vec<String>,
    },
    /// The module is not loaded.
    #[error("{name}: not loaded")]
    NotLoaded {
        /// What was asked for.
        name: String,
    },
}

fn hint(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(" or ")) }
}

/// What a module's file says.
#[derive(Clone, Default)]
struct Said {
    size: u64,
    licence: Option<String>,
    signed: bool,
    taints: String,
    permanent: bool,
    depends: Vec<String>,
    wishes: Vec<(String, EdgeKind)>,
}

fn lossy(text: &BStr) -> String {
    text.to_str_lossy().into_owned()
}

/// Reads one file.
fn said(path: &Path) -> Result<Said, FileError> {
    let bytes = read_module(path)?;
    let image = Image::read(&bytes).map_err(|error| FileError::read(path, error))?;
    let modinfo = image.modinfo();
    let mut taints = Taints::NONE;
    let stated = |key| modinfo.get(key).is_some();
    for (taint, has) in [
        (Taints::PROPRIETARY, !image.is_gpl_compatible()),
        (Taints::OUT_OF_TREE, !stated("intree")),
        (Taints::STAGING, stated("staging")),
        (Taints::LIVEPATCH, stated("livepatch")),
        (Taints::TEST, stated("test")),
    ] {
        if has {
            taints.insert(taint);
        }
    }
    let entry_points = image.entry_points();
    let soft = image
        .softdeps()
        .map(|softdep| (lossy(softdep.name), if softdep.before { EdgeKind::SoftPre } else { EdgeKind::SoftPost }));
    let weak = modinfo.all("weakdep").flat_map(|names| names.split_str(b" ").map(BStr::new));
    let weak = weak.filter(|name| !name.is_empty()).map(|name| (lossy(name), EdgeKind::Weak));
    Ok(Said {
        size: bytes.len() as u64,
        licence: image.licence().map(lossy),
        signed: matches!(image.signature(), Ok(Some(_))),
        taints: letters(taints),
        permanent: entry_points.init.is_some() && entry_points.exit.is_none(),
        depends: image.depends().map(|name| normalise(&name.to_str_lossy()).into_owned()).collect(),
        wishes: soft.chain(weak).collect(),
    })
}

/// A tree, as far as it was asked about.
struct Files<'a> {
    origin: Origin<'a>,
    index: &'a Index,
    /// Kept, because each time the index is asked it makes sure that they are still true.
    facts: Arc<Facts>,
    /// The file of each name, in the tree's folder.
    files: HashMap<String, std::path::PathBuf>,
    said: HashMap<String, Said>,
    /// What the names in wishes stand for.
    resolved: HashMap<String, Vec<String>>,
    unreadable: Vec<String>,
}

impl<'a> Files<'a> {
    fn new(origin: Origin<'a>, index: &'a Index) -> Result<Files<'a>, GraphError> {
        let mut files = HashMap::new();
        for module in index.modules()? {
            // The first of a name is the one that counts.
            files.entry(module.name).or_insert(module.path);
        }
        let facts = index.facts()?;
        Ok(Files {
            origin,
            index,
            facts,
            files,
            said: HashMap::new(),
            resolved: HashMap::new(),
            unreadable: Vec::new(),
        })
    }

    /// Reads the files of these names, as far as they are not known.
    fn read<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        let mut names: Vec<&str> = names.filter(|name| !self.said.contains_key(*name)).collect();
        names.sort_unstable();
        names.dedup();
        let wanted: Vec<_> =
            names.into_iter().filter_map(|name| Some((name.to_owned(), self.files.get(name)?.clone()))).collect();
        let read = in_parallel(&wanted, |(_, path)| said(path));
        for ((name, _), said) in wanted.into_iter().zip(read) {
            let said = said.unwrap_or_else(|error| {
                self.unreadable.push(error.to_string());
                Said::default()
            });
            self.said.insert(name, said);
        }
    }

    /// The names of the modules that a name in a wish stands for; those that the kernel has built in too.
    fn resolve(&mut self, name: &str) -> Result<Vec<String>, GraphError> {
        let normal = normalise(name).into_owned();
        if self.files.contains_key(&normal) {
            return Ok(vec![normal]);
        }
        if let Some(known) = self.resolved.get(name) {
            return Ok(known.clone());
        }
        let found = match self.index.resolve(name)? {
            Found::Module(module) => vec![module.name],
            Found::Alias(all) => all.into_iter().map(|(_, module)| module.name).collect(),
            Found::Builtin(name) => vec![name],
            Found::Absent { .. } => vec![normal],
        };
        self.resolved.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    /// The edges that lead away from a module whose file has been read.
    fn edges(&mut self, name: &str) -> Result<Vec<(String, EdgeKind)>, GraphError> {
        let said = self.said.get(name).cloned().unwrap_or_default();
        let mut all: BTreeSet<(String, EdgeKind)> = BTreeSet::new();
        let needs = self.facts.needs(name).unwrap_or_default();
        all.extend(needs.into_iter().map(|needed| (needed.to_owned(), EdgeKind::Needs)));
        // What the module names and nobody exports anything for is missing, or was renamed.
        let unknown = said.depends.into_iter().filter(|needed| !self.files.contains_key(needed));
        all.extend(unknown.map(|needed| (needed, EdgeKind::Needs)));
        // As in modprobe: the first line that is about a module counts, and depmod's come from the modules themselves.
        let mut wishes = said.wishes;
        if let Some(config) = self.origin.config {
            if let Some(soft) = config.soft_dependencies(name.as_bytes()) {
                wishes.retain(|(_, kind)| *kind == EdgeKind::Weak);
                wishes.extend(soft.pre.iter().map(|wish| (lossy(wish.name), EdgeKind::SoftPre)));
                wishes.extend(soft.post.iter().map(|wish| (lossy(wish.name), EdgeKind::SoftPost)));
            }
            if let Some(entry) = config.weakdeps(name.as_bytes()).next() {
                wishes.retain(|(_, kind)| *kind != EdgeKind::Weak);
                wishes.extend(entry.words().map(|wish| (lossy(wish), EdgeKind::Weak)));
            }
        }
        for (wish, kind) in wishes {
            all.extend(self.resolve(&wish)?.into_iter().filter(|wanted| wanted != name).map(|wanted| (wanted, kind)));
        }
        Ok(all.into_iter().collect())
    }

    fn node(&self, name: &str) -> Node {
        let mut node = Node { name: name.to_owned(), ..Node::default() };
        let Some(path) = self.files.get(name) else {
            if self.index.is_builtin(name) {
                node.kind = NodeKind::Builtin;
                node.stays.push(Stays::Builtin);
            }
            return node;
        };
        node.kind = NodeKind::File;
        let inside = path.strip_prefix(&self.index.tree().folder).unwrap_or(path);
        node.file = Some(inside.to_string_lossy().into_owned());
        node.directory = inside.parent().map(|parent| parent.to_string_lossy().into_owned());
        if let Some(said) = self.said.get(name) {
            node.file_size = Some(said.size);
            node.licence.clone_from(&said.licence);
            node.signed = Some(said.signed);
            node.taints.clone_from(&said.taints);
            if said.permanent {
                node.stays.push(Stays::Permanent);
            }
        }
        node
    }
}

/// The edges of a graph in the making, by name.
type Edges = BTreeMap<String, Vec<(String, EdgeKind)>>;

/// How far every name is that can be reached from `starts` within `depth` edges.
fn reach(
    starts: &[String],
    depth: usize,
    mut next: impl FnMut(&str) -> Result<Vec<String>, GraphError>,
) -> Result<BTreeSet<String>, GraphError> {
    let mut seen: BTreeSet<String> = starts.iter().cloned().collect();
    let mut queue: VecDeque<(String, usize)> = starts.iter().map(|name| (name.clone(), 0)).collect();
    while let Some((name, far)) = queue.pop_front() {
        if far >= depth {
            continue;
        }
        for to in next(&name)? {
            if seen.insert(to.clone()) {
                queue.push_back((to, far + 1));
            }
        }
    }
    Ok(seen)
}

/// The names within reach of `starts`, along or against `edges`.
fn select(edges: &Edges, starts: &[String], wanted: &Wanted<'_>) -> Result<BTreeSet<String>, GraphError> {
    let mut next: HashMap<&str, Vec<String>> = HashMap::new();
    for (from, all) in edges {
        for (to, _) in all {
            let (from, to) = if wanted.reverse { (to, from) } else { (from, to) };
            next.entry(from).or_default().push(to.clone());
        }
    }
    reach(starts, wanted.depth.unwrap_or(usize::MAX), |name| Ok(next.get(name).cloned().unwrap_or_default()))
}

/// The graph of `nodes` and those of `edges` that are between them.
fn whole(nodes: Vec<Node>, edges: &Edges) -> Graph {
    let names: BTreeSet<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let edges: Vec<(String, String, EdgeKind)> = edges
        .iter()
        .flat_map(|(from, all)| all.iter().map(move |(to, kind)| (from.clone(), to.clone(), *kind)))
        .filter(|(from, to, _)| names.contains(from) && names.contains(to))
        .collect();
    Graph::new(nodes, &edges)
}

impl Graph {
    /// What the modules of a tree need, by the symbols that they use and by the soft and weak dependencies that they state or
    /// the configuration states for them.
    ///
    /// Asked about all modules, or about who needs some, this reads every file; otherwise only those in the answer, and of the others
    /// what the index has kept.
    ///
    /// # Errors
    /// When the tree cannot be read, or there is no module of a name.
    pub fn of_tree(origin: Origin<'_>, index: &Index, wanted: &Wanted<'_>) -> Result<Graph, GraphError> {
        let mut files = Files::new(origin, index)?;
        let mut starts = Vec::new();
        for name in wanted.modules {
            match index.resolve(name)? {
                Found::Module(module) => starts.push(module.name),
                Found::Alias(all) => starts.extend(all.into_iter().map(|(_, module)| module.name)),
                Found::Builtin(name) => starts.push(name),
                Found::Absent { nearest } => return Err(GraphError::Unknown { name: name.clone(), nearest }),
            }
        }
        let mut edges = Edges::new();
        let names = if starts.is_empty() || wanted.reverse {
            let all: Vec<String> = files.files.keys().cloned().collect();
            files.read(all.iter().map(String::as_str));
            for name in &all {
                edges.insert(name.clone(), files.edges(name)?);
            }
            if starts.is_empty() {
                let ends = edges.values().flatten().map(|(to, _)| to.clone());
                all.iter().cloned().chain(ends).collect()
            } else {
                select(&edges, &starts, wanted)?
            }
        } else {
            let names = reach(&starts, wanted.depth.unwrap_or(usize::MAX), |name| {
                files.read([name].into_iter());
                let found = files.edges(name)?;
                let ends = found.iter().map(|(to, _)| to.clone()).collect();
                edges.insert(name.to_owned(), found);
                Ok(ends)
            })?;
            // Those at the rim have edges to the others, too.
            files.read(names.iter().map(String::as_str));
            for name in names.iter().filter(|name| !edges.contains_key(*name)).cloned().collect::<Vec<_>>() {
                let found = files.edges(&name)?;
                edges.insert(name, found);
            }
            names
        };
        let mut nodes: Vec<Node> = names.iter().map(|name| files.node(name)).collect();
        nodes.iter_mut().for_each(|node| node.asked = starts.contains(&node.name));
        let mut graph = whole(nodes, &edges);
        graph.unreadable = files.unreadable;
        Ok(graph)
    }

    /// What the loaded modules hold, as the kernel says it; with a tree at hand also what their files say, and the soft and weak
    /// dependencies between those that are loaded.
    ///
    /// # Errors
    /// When the tree cannot be read, or a module that was asked for is not loaded.
    pub fn of_loaded(origin: Origin<'_>, loaded: &[LoadedModule], wanted: &Wanted<'_>) -> Result<Graph, GraphError> {
        let mut edges = Edges::new();
        for module in loaded {
            for holder in &module.loaded.holders {
                edges.entry(holder.clone()).or_default().push((module.name.clone(), EdgeKind::Needs));
            }
        }
        let mut files = origin.index.map(|index| Files::new(origin, index)).transpose()?;
        if let Some(files) = &mut files {
            files.read(loaded.iter().map(|module| module.name.as_str()));
            for module in loaded {
                let soft = files.edges(&module.name)?.into_iter().filter(|(_, kind)| *kind != EdgeKind::Needs);
                edges.entry(module.name.clone()).or_default().extend(soft);
            }
        }
        let is_loaded = |name: &str| loaded.iter().any(|module| module.name == name);
        let mut starts = Vec::new();
        for asked in wanted.modules {
            let name = normalise(asked).into_owned();
            let all = match &mut files {
                Some(files) if !is_loaded(&name) => files.resolve(asked)?,
                _ => vec![name],
            };
            let before = starts.len();
            starts.extend(all.into_iter().filter(|name| is_loaded(name)));
            if starts.len() == before {
                return Err(GraphError::NotLoaded { name: asked.clone() });
            }
        }
        let chosen = if starts.is_empty() { None } else { Some(select(&edges, &starts, wanted)?) };
        let node = |module: &LoadedModule| {
            let mut node = match &files {
                Some(files) => files.node(&module.name),
                None => Node { name: module.name.clone(), ..Node::default() },
            };
            if node.file.is_none() {
                node.kind = NodeKind::Loaded;
            }
            node.asked = starts.contains(&module.name);
            node.taints.clone_from(&module.taints);
            node.stays = module.loaded.stays();
            if origin.disabled {
                node.stays.push(Stays::Disabled);
            }
            node.loaded = Some(module.loaded.clone());
            node
        };
        let chosen = |name: &str| chosen.as_ref().is_none_or(|chosen| chosen.contains(name));
        let nodes = loaded.iter().filter(|module| chosen(&module.name)).map(node).collect();
        let mut graph = whole(nodes, &edges);
        if let Some(files) = files {
            graph.unreadable = files.unreadable;
        }
        Ok(graph)
    }
}
