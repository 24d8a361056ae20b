//! kmod's look-up, probe and removal on made trees.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use bstr::{BStr, BString, ByteSlice};
use ferrmod_config::{Config, Folders, Root, Sources};
use ferrmod_index::trie::{NodeOrder, TrieWriter};
use ferrmod_plan::kmod::{
    Action, Asked, Forbidden, How, Kept, Live, LiveState, Module, Modules, Nothing, Paths, Probe, Reason, RemovalEnd,
    RemovalTerms, Remove, RemoveAction, Remover, State, Terms, Without,
};

/// A tree of modules without content, that is removed at the end.
struct Made {
    folder: PathBuf,
    root: Root,
    config: Config,
}

impl Made {
    /// `modules` are lines of modules.dep: a name and what it needs, what loads first last.
    fn new(modules: &[(&str, &[&str])], aliases: &[(&str, &str)], builtin: &[&str], config: &str) -> Made {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ferrmod-plan-kmod-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| format!("kernel/{}.ko", name.replace('_', "-"));
        let mut dep = TrieWriter::new();
        fs::create_dir_all(folder.join("kernel")).unwrap();
        for (number, (name, needs)) in modules.iter().enumerate() {
            let mut line = path(name) + ":";
            for need in *needs {
                line += " ";
                line += &path(need);
            }
            dep.insert(name.as_bytes(), line.as_bytes(), number as u32).unwrap();
            fs::write(folder.join(path(name)), b"").unwrap();
        }
        let mut alias = TrieWriter::new();
        for (number, (pattern, module)) in aliases.iter().enumerate() {
            alias.insert(pattern.as_bytes(), module.as_bytes(), number as u32).unwrap();
        }
        let mut inside = TrieWriter::new();
        for name in builtin {
            inside.insert(name.as_bytes(), b"", 0).unwrap();
        }
        for (name, trie) in [("dep", dep), ("alias", alias), ("builtin", inside)] {
            fs::write(folder.join(format!("modules.{name}.bin")), trie.finish(NodeOrder::ParentFirst).unwrap())
                .unwrap();
        }
        let file = folder.join("test.conf");
        fs::write(&file, config).unwrap();
        let root = Root::host();
        let config = Config::read(&Sources {
            root: &root,
            folders: Folders::Kmod34,
            paths: Some(&[file]),
            tree: None,
            command_line: None,
        });
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
        Made { folder, root, config }
    }

    fn modules(&self) -> Modules<'_> {
        let paths = Paths { inside: self.folder.clone(), shown: self.folder.clone() };
        Modules::new(&self.config, &self.root, paths)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn names<'a>(found: &'a [Rc<Module<'_>>]) -> Vec<&'a BStr> {
    found.iter().map(|module| module.name.as_bstr()).collect()
}

fn probe<'c>(modules: &Modules<'c>, name: &str, terms: Terms) -> Probe<'c> {
    let found = modules.look_up(name.into());
    match modules.probe(&found[0], terms) {
        Asked::Probe(probe) => probe,
        Asked::Blacklisted(entry) => panic!("blacklisted by {}", entry.origin),
    }
}

fn steps(probe: &Probe<'_>) -> Vec<String> {
    probe
        .steps
        .iter()
        .map(|step| match &step.action {
            Action::Insert(_) => step.module.name.to_string(),
            Action::Run(_) => format!("run:{}", step.module.name),
            Action::Builtin => format!("builtin:{}", step.module.name),
            Action::Absent => format!("absent:{}", step.module.name),
            Action::Forbidden(_) => format!("forbidden:{}", step.module.name),
        })
        .collect()
}

#[test]
fn the_first_source_that_knows_a_name_decides() {
    let made = Made::new(
        &[("a", &[]), ("b", &[]), ("c", &[])],
        &[("a", "b"), ("x*", "b"), ("x1", "c"), ("in", "c")],
        &["in", "b_in"],
        "alias a-1 b\nalias a_? c\ninstall only true\nremove gone true\n",
    );
    let modules = made.modules();
    let found = modules.look_up("a_1".into());
    assert_eq!(names(&found), ["b", "c"]);
    assert!(matches!(&found[0].how, How::ConfiguredAlias(entry) if entry.origin.line == 1));
    assert_eq!(found[1].alias.as_ref().unwrap(), "a_?");
    assert_eq!(names(&modules.look_up("a".into())), ["a"]);
    assert_eq!(modules.look_up("only".into())[0].file, None);
    assert!(matches!(modules.look_up("gone".into())[0].how, How::Command(_)));
    let found = modules.look_up("x1".into());
    assert_eq!(names(&found), ["b", "c"]);
    assert_eq!(found[0].how, How::Alias("x*".into()));
    assert_eq!(found[0].alias.as_ref().unwrap(), "x1");
    // An alias comes before what is built in.
    assert_eq!(names(&modules.look_up("in".into())), ["c"]);
    assert_eq!(modules.look_up("b-in".into())[0].how, How::Builtin);
    for absent in ["", "z", "a[", "a]", "a:b"] {
        assert!(modules.look_up(absent.into()).is_empty(), "{absent}");
    }
    assert!(modules.indexes.problems().is_empty());
}

#[test]
fn soft_dependencies_surround_a_module_and_its_dependencies() {
    let made = Made::new(
        &[("m", &["d2", "d1"]), ("d1", &[]), ("d2", &[]), ("p", &["d1"]), ("q", &[])],
        &[],
        &["bi"],
        "softdep m pre: p bi post: q\nsoftdep m pre: q nothing\nsoftdep d2 pre: m\noptions m a=1\noptions m b=2\n",
    );
    let modules = made.modules();
    let probe = probe(&modules, "m", Terms::default());
    assert_eq!(steps(&probe), ["d1", "d2", "d1", "p", "builtin:bi", "q", "m"]);
    let target = probe.steps.last().unwrap();
    assert!(target.target && target.required);
    assert_eq!(target.options_text(), "a=1 b=2");
    assert_eq!(target.options[1].origin.line, 5);
    assert!(matches!(&probe.steps[3].reason, Reason::SoftdepOf { module, before: true, entry }
        if module == "m" && entry.origin.line == 1));
    assert!(!probe.steps[3].required && probe.steps[0].required);
    let alone = self::probe(&modules, "m", Terms { ignore_commands: true, use_blacklist: false });
    assert_eq!(steps(&alone), ["d1", "d2", "m"]);
}

#[test]
fn circles_and_long_chains_of_soft_dependencies_end() {
    let count = 1_000;
    let mut lines = String::from("softdep a pre: b\nsoftdep b pre: a post: a b\n");
    for number in 0..count {
        lines += &format!("softdep c{number} pre: c{} post: a\ninstall c{number} true\n", number + 1);
    }
    let made = Made::new(&[("a", &["b"]), ("b", &["a"])], &[], &[], &lines);
    assert_eq!(steps(&probe(&made.modules(), "a", Terms::default())), ["b", "a", "b", "a"]);
    // A stack that would not do for a call per module.
    std::thread::scope(|scope| {
        let chain = || probe(&made.modules(), "c0", Terms::default()).steps.len();
        let thread = std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, chain).unwrap();
        assert!(thread.join().unwrap() >= count);
    });
}

#[test]
fn masked_modules_are_loaded_by_no_path() {
    let made = Made::new(
        &[("m", &["d"]), ("d", &[]), ("s", &[]), ("ok", &[])],
        &[("al*", "s")],
        &[],
        "softdep ok pre: s\nmask s\nmask d\ninstall s true\n",
    );
    let modules = made.modules();
    assert_eq!(steps(&probe(&modules, "m", Terms::default())), ["forbidden:d", "m"]);
    assert_eq!(steps(&probe(&modules, "ok", Terms::default())), ["forbidden:s", "ok"]);
    let by_alias = probe(&modules, "alias", Terms { ignore_commands: true, use_blacklist: false });
    assert!(matches!(by_alias.steps[0].action, Action::Forbidden(Forbidden::Masked(entry)) if entry.origin.line == 2));
    let made = Made::new(&[("m", &["d"]), ("d", &[])], &[], &[], "allow m\n");
    let modules = made.modules();
    assert!(matches!(modules.forbidden("d".into()), Some(Forbidden::NotAllowed(_))));
    assert_eq!(modules.forbidden("m".into()), None);
}

#[test]
fn the_blacklist_keeps_aliases_out_and_names_on_demand() {
    let made = Made::new(&[("m", &[]), ("n", &[])], &[("al*", "m")], &[], "blacklist m\nsoftdep n pre: m\n");
    let modules = made.modules();
    let ask = |name: &str, use_blacklist| {
        modules.probe(&modules.look_up(name.into())[0], Terms { use_blacklist, ignore_commands: false })
    };
    assert!(matches!(ask("al1", false), Asked::Blacklisted(entry) if entry.origin.line == 1));
    assert!(matches!(ask("m", false), Asked::Probe(_)));
    assert!(matches!(ask("m", true), Asked::Blacklisted(_)));
    assert!(matches!(ask("n", true), Asked::Probe(probe) if probe.steps.len() == 2));
}

#[test]
fn a_missing_file_is_told() {
    let made = Made::new(&[("m", &["e", "d"]), ("d", &[]), ("e", &[])], &[], &[], "");
    fs::remove_file(made.folder.join("kernel/e.ko")).unwrap();
    let modules = made.modules();
    let probe = probe(&modules, "m", Terms::default());
    assert_eq!(steps(&probe), ["m"]);
    assert_eq!(probe.missing[0].file.shown, made.folder.join("kernel/e.ko"));
    fs::write(made.folder.join("modules.dep.bin"), b"junkjunkjunkjunk").unwrap();
    let modules = made.modules();
    assert!(modules.look_up("m".into()).is_empty());
    assert_eq!(modules.indexes.problems().len(), 1);
}

#[test]
fn a_file_of_the_caller_has_the_dependencies_of_its_name() {
    let made = Made::new(&[("m_x", &["d"]), ("d", &[])], &[], &[], "");
    let modules = made.modules();
    let module = modules.of_path(Path::new("/elsewhere/m-x.test.ko"), "/elsewhere/m-x.test.ko".into());
    assert_eq!((module.name.as_bstr(), module.needs.len()), ("m_x".into(), 1));
    assert!(module.file.as_ref().unwrap().of_caller);
}

/// A kernel of which modules can be taken.
#[derive(Default)]
struct Loaded(std::cell::RefCell<BTreeMap<BString, Vec<BString>>>);

impl Loaded {
    fn new(modules: &[(&str, &[&str])]) -> Loaded {
        let holders = |holders: &[&str]| holders.iter().map(|&holder| holder.into()).collect();
        Loaded(std::cell::RefCell::new(modules.iter().map(|&(name, users)| (name.into(), holders(users))).collect()))
    }
}

impl Live for Loaded {
    fn state(&self, name: &BStr) -> LiveState {
        if self.0.borrow().contains_key(&BString::from(name)) { LiveState::Live } else { LiveState::Absent }
    }

    fn references(&self, name: &BStr) -> Option<i64> {
        self.0.borrow().get(&BString::from(name)).map(|holders| holders.len() as i64)
    }

    fn holders(&self, name: &BStr) -> Vec<BString> {
        self.0.borrow().get(&BString::from(name)).cloned().unwrap_or_default()
    }
}

struct Taking<'l> {
    loaded: &'l Loaded,
    done: Vec<String>,
    fail: Option<&'static str>,
}

impl<'c> Remover<'c> for Taking<'_> {
    type Error = String;

    fn remove(&mut self, step: &Remove<'c>) -> Result<(), String> {
        if self.fail.is_some_and(|name| step.name == name) {
            return Err(step.name.to_string());
        }
        let word = if matches!(step.action, RemoveAction::Run(_)) { "run:" } else { "" };
        self.done.push(format!("{word}{}", step.name));
        let mut modules = self.loaded.0.borrow_mut();
        modules.remove(&step.name);
        modules.values_mut().for_each(|holders| holders.retain(|holder| *holder != step.name));
        Ok(())
    }

    fn kept(&mut self, name: &BStr, _: &Kept, _: &ferrmod_plan::kmod::RemoveReason<'c>) {
        self.done.push(format!("kept:{name}"));
    }

    fn failed(&mut self, error: String) {
        self.done.push(format!("failed:{error}"));
    }
}

fn removal(
    made: &Made,
    name: &str,
    terms: RemovalTerms,
    loaded: &Loaded,
    fail: Option<&'static str>,
) -> (Vec<String>, Result<(), RemovalEnd<String>>) {
    let modules = made.modules();
    let module = modules.look_up(name.into())[0].clone();
    let mut taking = Taking { loaded, done: Vec::new(), fail };
    let ended = modules.removal(&module, terms, loaded, &mut taking);
    (taking.done, ended)
}

#[test]
fn what_nobody_needs_any_more_goes_with_a_module() {
    let made = Made::new(
        &[("m", &["d2", "d1"]), ("d1", &[]), ("d2", &[]), ("p", &[]), ("q", &[]), ("u", &["d1"])],
        &[],
        &[],
        "softdep m pre: p post: q\n",
    );
    let all: &[(&str, &[&str])] =
        &[("m", &[]), ("d1", &["m", "u"]), ("d2", &["m"]), ("p", &[]), ("q", &["x"]), ("u", &["y"])];
    let (done, ended) = removal(&made, "m", RemovalTerms::default(), &Loaded::new(all), None);
    assert_eq!((done, ended), (["kept:q", "m", "d2", "p"].map(String::from).to_vec(), Ok(())));
    let ignore = RemovalTerms { ignore_commands: true, ..RemovalTerms::default() };
    assert_eq!(removal(&made, "m", ignore, &Loaded::new(all), None).0, ["m", "d2"]);
    let (done, ended) = removal(&made, "m", RemovalTerms::default(), &Loaded::new(all), Some("d2"));
    assert_eq!((done.contains(&"failed:d2".into()), ended), (true, Ok(())));
    let (_, ended) = removal(&made, "m", RemovalTerms::default(), &Loaded::new(all), Some("m"));
    assert_eq!(ended, Err(RemovalEnd::Failed("m".into())));
}

/// Somebody who takes nothing and goes on as if.
struct Imagining<'l>(&'l Without<'l>, Vec<String>);

impl<'c> Remover<'c> for Imagining<'_> {
    type Error = std::convert::Infallible;

    fn remove(&mut self, step: &Remove<'c>) -> Result<(), Self::Error> {
        self.1.push(step.name.to_string());
        self.0.remove(step.name.as_bstr());
        Ok(())
    }

    fn kept(&mut self, _: &BStr, _: &Kept, _: &ferrmod_plan::kmod::RemoveReason<'c>) {}

    fn failed(&mut self, error: Self::Error) {
        match error {}
    }
}

#[test]
fn what_would_go_is_what_goes() {
    let made = Made::new(&[("m", &["d2", "d1"]), ("d1", &[]), ("d2", &["d1"]), ("u", &["d2"])], &[], &[], "");
    let all: &[(&str, &[&str])] = &[("m", &[]), ("d1", &["m", "d2"]), ("d2", &["m", "u"]), ("u", &[])];
    for (name, holders) in [("m", false), ("d1", true), ("d2", true), ("u", false)] {
        let terms = RemovalTerms { holders, ..RemovalTerms::default() };
        let loaded = Loaded::new(all);
        let modules = made.modules();
        let without = Without::new(&loaded);
        let mut imagining = Imagining(&without, Vec::new());
        let ended = modules.removal(&modules.look_up(name.into())[0], terms, &without, &mut imagining);
        let (done, really) = removal(&made, name, terms, &loaded, None);
        assert_eq!((&imagining.1, ended.is_ok()), (&done, really.is_ok()), "{name}");
    }
    let loaded = Loaded::new(all);
    let without = Without::new(&loaded);
    without.remove("m".into());
    assert_eq!((without.references("d2".into()), without.holders("d2".into())), (Some(1), vec!["u".into()]));
    assert_eq!((without.state("m".into()), without.references("m".into())), (LiveState::Absent, Some(0)));
}

#[test]
fn holders_go_first_and_a_module_goes_once() {
    let made = Made::new(&[("m", &["d"]), ("d", &[])], &[], &[], "");
    let all: &[(&str, &[&str])] = &[("m", &[]), ("d", &["m"])];
    let (_, ended) = removal(&made, "d", RemovalTerms::default(), &Loaded::new(all), None);
    assert!(matches!(ended, Err(RemovalEnd::Kept { why: Kept::InUse { references: 1, .. }, .. })));
    let terms = RemovalTerms { holders: true, ..RemovalTerms::default() };
    let (done, ended) = removal(&made, "d", terms, &Loaded::new(all), None);
    assert_eq!((done, ended), (["m", "d"].map(String::from).to_vec(), Ok(())));
}

#[test]
fn circles_of_removals_end() {
    let made = Made::new(
        &[("a", &[]), ("b", &[])],
        &[],
        &["bi"],
        "softdep a post: b\nsoftdep b post: a\nremove c true\nsoftdep c pre: c\n",
    );
    let loaded = Loaded::new(&[("a", &[]), ("b", &[])]);
    assert_eq!(removal(&made, "a", RemovalTerms::default(), &loaded, None).0, ["b", "a"]);
    assert_eq!(removal(&made, "c", RemovalTerms::default(), &loaded, None).0, ["run:c"]);
    // Each uses the other, as no kernel has it.
    let circle = Loaded::new(&[("a", &["b"]), ("b", &["a"])]);
    let terms = RemovalTerms { holders: true, ..RemovalTerms::default() };
    assert!(removal(&made, "a", terms, &circle, None).1.is_err());
    let ended = removal(&made, "bi", RemovalTerms::default(), &loaded, None).1;
    assert_eq!(ended, Err(RemovalEnd::Kept { name: "bi".into(), why: Kept::Builtin }));
    assert_eq!(made.modules().state("bi".into(), &Nothing), State::Builtin);
    let first = RemovalTerms { first_time: true, ..RemovalTerms::default() };
    let ended = removal(&made, "a", first, &Loaded::default(), None).1;
    assert_eq!(ended, Err(RemovalEnd::Kept { name: "a".into(), why: Kept::NotLoaded }));
}
