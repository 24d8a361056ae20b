//! Made modules that need each other in every way.

use std::fs;
use std::path::{Path, PathBuf};

use ferrmod_index::Tree;
use ferrmod_plan::{FileProblem, Index, Note, Options, Plan, Reason, Refusal, Request, Why, plan};

use crate::made::Made;
use crate::scratch::Scratch;

/// A module with these lines in its `.modinfo`.
fn module(name: &str, lines: &[&str]) -> Vec<u8> {
    let mut made = Made::module();
    let lines: Vec<_> = lines.iter().map(|line| format!("{line}\0")).collect();
    made.sections[0].data = format!("license=GPL\0{}name={name}\0", lines.concat()).into_bytes();
    made.bytes()
}

/// A tree with these modules: name and lines.
struct Forest {
    scratch: Scratch,
}

impl Forest {
    fn new(modules: &[(&str, &[&str])]) -> Forest {
        let forest = Forest { scratch: Scratch::new() };
        forest.scratch.write("tree/modules.builtin", "kernel/lib/builtin.ko\n");
        for (name, lines) in modules {
            forest.scratch.write(&format!("tree/kernel/{name}.ko"), module(name, lines));
        }
        forest
    }

    fn index(&self) -> Index {
        Index::with_cache(Tree::at(&self.scratch.path().join("tree")), None)
    }

    fn plan(&self, requests: &[&str]) -> Result<Plan, Refusal> {
        let requests: Vec<_> = requests.iter().map(|request| Request::from_argument(request)).collect();
        plan(&requests, Some(&self.index()), Options::default())
    }

    fn file(&self, path: &str, content: &[u8]) -> String {
        self.scratch.write(path, content).to_str().unwrap().to_owned()
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.loads.iter().map(|load| &*load.name).collect()
}

/// The names of the modules that are planned, or the reasons.
fn answer(plan: Result<Plan, Refusal>) -> Result<String, String> {
    plan.map(|plan| names(&plan).join(" ")).map_err(|refusal| {
        assert!(!refusal.reasons().is_empty());
        refusal.to_string()
    })
}

#[test]
fn what_is_needed_comes_first_and_once() {
    let forest = Forest::new(&[
        ("top", &["depends=left,right,builtin"]),
        ("left", &["depends=bottom"]),
        ("right", &["depends=bottom,left"]),
        ("bottom", &["depends="]),
    ]);
    let plan = forest.plan(&["top"]).unwrap();
    assert_eq!(names(&plan), ["bottom", "left", "right", "top"]);
    let reasons: Vec<_> = plan.loads.iter().map(|load| load.why.to_string()).collect();
    assert_eq!(reasons, ["dependency of left", "dependency of top", "dependency of top", "requested"]);
    assert_eq!(plan.notes, []);
    for load in &plan.loads {
        assert_eq!(load.bytes, fs::read(&load.path).unwrap());
    }
    assert_eq!(answer(forest.plan(&["bottom", "top", "left", "top"])).unwrap(), "bottom left right top");
    let plan = forest.plan(&["top", "bottom"]).unwrap();
    assert_eq!(plan.loads[0].why, Why::Requested { request: 1, alias: None });
    assert_eq!(answer(forest.plan(&["left", "right"])).unwrap(), "bottom left right");
    assert_eq!(answer(forest.plan(&[])).unwrap(), "");
}

#[test]
fn aliases_bring_all_their_modules() {
    let forest = Forest::new(&[
        ("one", &["alias=dev:*x", "depends="]),
        ("two", &["alias=dev:ab?", "depends=one"]),
        ("three", &["alias=dev:c", "depends="]),
    ]);
    let plan = forest.plan(&["dev:abx"]).unwrap();
    assert_eq!(names(&plan), ["one", "two"]);
    assert_eq!(plan.loads[1].why, Why::Requested { request: 0, alias: Some("dev:ab?".to_owned()) });
}

#[test]
fn what_is_built_in_needs_no_loading() {
    let forest = Forest::new(&[("a", &["depends=builtin"])]);
    let plan = forest.plan(&["builtin", "a"]).unwrap();
    assert_eq!(names(&plan), ["a"]);
    assert_eq!(plan.notes, [Note::Builtin { name: "builtin".to_owned() }]);
}

#[test]
fn a_name_that_is_nothing_is_answered_with_names_like_it() {
    let forest = Forest::new(&[("crc7", &["depends="]), ("crc8", &["depends="])]);
    let refusal = forest.plan(&["crc9", "nothing_like_it"]).unwrap_err();
    let [Reason::NotFound { name, nearest, .. }, Reason::NotFound { nearest: none, .. }] = refusal.reasons() else {
        panic!("{refusal}");
    };
    assert_eq!(
        (name.as_str(), nearest.as_slice(), none.as_slice()),
        ("crc9", &["crc7".to_owned(), "crc8".to_owned()][..], &[][..])
    );
    assert!(refusal.to_string().contains("did you mean crc7 or crc8?"), "{refusal}");
}

#[test]
fn a_missing_dependency_is_told_with_who_needs_it() {
    let forest = Forest::new(&[("a", &["depends=b"]), ("b", &["depends=gone,lost"]), ("c", &["depends=gone"])]);
    let refusal = forest.plan(&["a", "c"]).unwrap_err();
    let missing: Vec<_> = refusal
        .reasons()
        .iter()
        .map(|reason| match reason {
            Reason::DependencyMissing { module, dependency, .. } => (module.as_str(), dependency.as_str()),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(missing, [("b", "gone"), ("b", "lost"), ("c", "gone")]);
}

#[test]
fn a_cycle_is_told_with_its_members_only() {
    let forest = Forest::new(&[
        ("start", &["depends=a"]),
        ("a", &["depends=b"]),
        ("b", &["depends=c"]),
        ("c", &["depends=a"]),
        ("own", &["depends=own"]),
    ]);
    let refusal = forest.plan(&["start"]).unwrap_err();
    let members = ["a", "b", "c"].map(str::to_owned).to_vec();
    assert_eq!(refusal.reasons(), [Reason::Cycle { members }]);
    assert_eq!(refusal.to_string(), "modules need each other: a needs b needs c needs a");
    assert_eq!(forest.plan(&["own"]).unwrap_err().to_string(), "own: needs itself");
}

#[test]
fn unreadable_files_are_told_with_what_is_wrong() {
    let forest = Forest::new(&[("a", &["depends=b"])]);
    forest.file("tree/kernel/b.ko", b"\x7fELF no more than this");
    let refusal = forest.plan(&["a"]).unwrap_err();
    let [Reason::Unreadable(error)] = refusal.reasons() else { panic!("{refusal}") };
    assert!(error.path.ends_with("b.ko") && matches!(error.problem, FileProblem::Read(_)));
    let refusal = forest.plan(&["/nowhere/x.ko"]).unwrap_err();
    let [Reason::Unreadable(error)] = refusal.reasons() else { panic!("{refusal}") };
    assert!(matches!(error.problem, FileProblem::Io { kind: std::io::ErrorKind::NotFound, .. }));
}

#[test]
fn softdeps_are_granted_where_that_is_possible() {
    let forest = Forest::new(&[
        ("a", &["depends=b", "softdep=pre: before missing broken post: after"]),
        ("b", &["depends="]),
        ("before", &["depends=b"]),
        ("after", &["depends=a"]),
        ("broken", &["depends=b,other,gone"]),
        ("other", &["depends="]),
    ]);
    let plan = forest.plan(&["a"]).unwrap();
    // "other" was wanted by nobody but the softdep that was given up.
    assert_eq!(names(&plan), ["b", "before", "a", "after"]);
    assert_eq!(plan.loads[1].why, Why::SoftdepOf { module: "a".to_owned(), before: true });
    assert_eq!(plan.loads[3].why, Why::SoftdepOf { module: "a".to_owned(), before: false });
    assert!(matches!(&plan.notes[0], Note::SoftdepMissing { module, wanted } if module == "a" && wanted == "missing"));
    assert!(matches!(&plan.notes[1], Note::SoftdepRefused { module, .. } if module == "a"));
    assert_eq!(plan.notes.len(), 2);

    let without = Options { softdeps: false };
    let plan = ferrmod_plan::plan(&[Request::Name("a".to_owned())], Some(&forest.index()), without).unwrap();
    assert_eq!(names(&plan), ["b", "a"]);

    // What was given up for a wish still is an error for one who needs it.
    assert!(
        matches!(forest.plan(&["a", "broken"]).unwrap_err().reasons(), [Reason::DependencyMissing { module, .. }] if module == "broken")
    );
}

#[test]
fn a_wish_that_makes_a_circle_is_granted_later() {
    let forest = Forest::new(&[
        ("a", &["depends=", "softdep=pre: wish"]),
        ("wish", &["depends=deep,a"]),
        ("deep", &["depends="]),
        ("x", &["depends=", "softdep=pre: y"]),
        ("y", &["depends=", "softdep=pre: x"]),
    ]);
    let plan = forest.plan(&["a"]).unwrap();
    assert_eq!(names(&plan), ["a", "deep", "wish"]);
    assert!(matches!(&plan.notes[..], [Note::SoftdepCycle { module, wanted }] if module == "a" && wanted == "wish"));
    assert_eq!(answer(forest.plan(&["x"])).unwrap(), "y x");
}

#[test]
fn the_modules_of_a_wished_alias_find_what_they_need() {
    let forest = Forest::new(&[
        ("a", &["depends=", "softdep=pre: any post: late"]),
        ("p", &["depends=q", "alias=any", "alias=late"]),
        ("q", &["depends=", "alias=any"]),
        ("r", &["depends=s", "alias=late"]),
        ("s", &["depends=", "alias=late"]),
    ]);
    assert_eq!(answer(forest.plan(&["a"])).unwrap(), "q p a s r");
}

#[test]
fn given_files_need_no_tree_and_find_each_other() {
    let forest = Forest::new(&[]);
    let user = forest.file("mine/user.ko", &module("user", &["depends=given,beside"]));
    let given = forest.file("elsewhere/some-file.ko", &module("given", &["depends="]));
    forest.file("mine/beside.ko", &module("beside", &["depends=given"]));
    let requests = [user.as_str(), &given].map(Request::from_argument);
    let plan = plan(&requests, None, Options::default()).unwrap();
    assert_eq!(names(&plan), ["given", "beside", "user"]);
    assert_eq!(plan.loads[0].path, Path::new(&given));
    assert_eq!(plan.loads[0].why, Why::Requested { request: 1, alias: None });

    // The name of a module that was given means that file.
    assert_eq!(answer(forest.plan(&["given", &given])).unwrap(), "given");
    assert_eq!(answer(forest.plan(&[&given, &given])).unwrap(), "given");
    let other = forest.file("third/given.ko", &module("given", &["depends="]));
    let refusal = forest.plan(&[&given, &other]).unwrap_err();
    assert!(matches!(refusal.reasons(), [Reason::SameModule { name, .. }] if name == "given"));

    let lonely = forest.file("lonely/user.ko", &module("user", &["depends=beside"]));
    let refusal = ferrmod_plan::plan(&[Request::File(PathBuf::from(&lonely))], None, Options::default()).unwrap_err();
    assert!(matches!(refusal.reasons(), [Reason::DependencyMissing { tree: None, folder: Some(_), .. }]));
    let refusal = ferrmod_plan::plan(&[Request::Name("user".to_owned())], None, Options::default()).unwrap_err();
    assert!(matches!(refusal.reasons(), [Reason::NotFound { tree: None, .. }]));
}

#[test]
fn the_tree_comes_before_the_folder_of_a_file() {
    let forest = Forest::new(&[("both", &["depends="])]);
    let user = forest.file("mine/user.ko", &module("user", &["depends=both,only-here"]));
    forest.file("mine/both.ko", &module("both", &["depends="]));
    forest.file("mine/only_here.ko", &module("only_here", &["depends="]));
    let plan = forest.plan(&[&user]).unwrap();
    assert_eq!(names(&plan), ["both", "only_here", "user"]);
    assert!(plan.loads[0].path.ends_with("tree/kernel/both.ko"));
    assert!(plan.loads[1].path.ends_with("mine/only_here.ko"));
}

#[test]
fn what_depmod_wrote_about_a_module_is_not_said_of_another_file() {
    let forest = Forest::new(&[("a", &["depends="]), ("b", &["depends="])]);
    forest.scratch.write("tree/modules.dep", "kernel/a.ko: kernel/b.ko\nkernel/b.ko:\n");
    assert_eq!(answer(forest.plan(&["a"])).unwrap(), "b a");
    let own = forest.file("mine/a.ko", &module("a", &["depends="]));
    assert_eq!(answer(forest.plan(&[&own])).unwrap(), "a");
}

#[test]
fn a_module_without_depends_is_asked_for_its_symbols() {
    let mut exporter = Made::module();
    exporter.sections[0].data = b"name=exporter\0depends=\0".to_vec();
    let table = exporter.section("__ksymtab", 1, 2, &[0; 12]);
    let strings = exporter.section("__ksymtab_strings", 1, 2, b"offered\0");
    let value = exporter.symbol("offered", 0x12, 2, 0);
    let base = exporter.symbol("", 3, strings as u16, 0);
    exporter.relocations(table, &[(0, 2, value, 0), (4, 2, base, 0)]);
    let mut user = Made::module();
    user.sections[0].data = b"name=user\0".to_vec();
    user.symbol("offered", 0x10, 0, 0);
    user.symbol("of_the_kernel", 0x10, 0, 0);
    let forest = Forest::new(&[]);
    forest.file("tree/kernel/exporter.ko", &exporter.bytes());
    forest.file("tree/kernel/user.ko", &user.bytes());
    assert_eq!(answer(forest.plan(&["user"])).unwrap(), "exporter user");
}

#[test]
fn a_long_chain_needs_no_long_stack() {
    let forest = Forest::new(&[]);
    for number in 0..3000 {
        let depends = format!("depends=m{}", number + 1);
        let lines: &[&str] = if number == 2999 { &["depends="] } else { &[&depends] };
        forest.file(&format!("tree/kernel/m{number}.ko"), &module(&format!("m{number}"), lines));
    }
    let plan = forest.plan(&["m0"]).unwrap();
    assert_eq!((plan.loads.len(), plan.loads[0].name.as_str()), (3000, "m2999"));
}
