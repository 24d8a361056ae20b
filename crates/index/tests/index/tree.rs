//! Made trees: where things are found, and what happens when they change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ferrmod_index::{FileProblem, Found, Index, Tree, TreeError, read_module};

use crate::scratch::Scratch;

fn open(folder: &Path, cache: &Scratch) -> Index {
    Index::with_cache(Tree::at(folder), Some(cache.path().to_owned()))
}

/// Where the module of this name is, in the tree.
fn file(index: &Index, name: &str) -> Option<String> {
    let found = index.file(name).unwrap()?;
    assert!(!found.name.contains('-'));
    Some(found.path.strip_prefix(&index.tree().folder).unwrap().to_str().unwrap().to_owned())
}

#[test]
fn trees_are_found_from_every_side() {
    let root = Scratch::new();
    root.write("lib/modules/6.1/kernel/a.ko", "");
    root.write("usr/lib/modules/6.12/modules.dep", "");
    root.write("usr/lib/modules/leftover/notes", "");
    let releases = |folder: &Path| -> Vec<String> {
        Tree::find_all(folder).unwrap().into_iter().map(|tree| tree.release).collect()
    };
    assert_eq!(releases(root.path()), ["6.1", "6.12"]);
    assert_eq!(releases(&root.path().join("lib/modules")), ["6.1"]);
    assert_eq!(releases(&root.path().join("lib/modules/6.1")), ["6.1"]);
    assert_eq!(releases(&root.path().join("lib/modules/6.1/kernel")), ["kernel"]);

    let tree = Tree::find(root.path(), Some("6.12")).unwrap();
    assert_eq!(tree.folder, root.path().join("usr/lib/modules/6.12"));
    assert_eq!(tree.root.as_deref(), Some(root.path()));
    assert_eq!(Tree::find(&root.path().join("lib/modules"), None).unwrap().root.as_deref(), Some(root.path()));
    assert!(matches!(Tree::find(root.path(), None), Err(TreeError::Several { found, .. }) if found.len() == 2));
    assert!(matches!(Tree::find(root.path(), Some("5")), Err(TreeError::NoRelease { found, .. }) if found.len() == 2));
    assert!(matches!(Tree::find(&root.path().join("usr"), None), Ok(tree) if tree.release == "6.12"));
    let empty = Scratch::new();
    assert!(matches!(Tree::find(empty.path(), None), Err(TreeError::None { .. })));
    assert!(matches!(Tree::find(&empty.path().join("x"), None), Err(TreeError::Unreadable { .. })));

    // A root without modules has none, whatever else lies in it.
    let other = Scratch::new();
    other.write("etc/passwd", "");
    other.write("src/kernel/a.ko", "");
    other.write("tmp/b.ko", "");
    assert!(matches!(Tree::find_all(other.path()), Err(TreeError::None { .. })));

    // A folder of modules that is nobody's release is taken for any.
    let loose = Scratch::new();
    loose.write("mine.ko", "");
    assert!(Tree::find(loose.path(), Some("6.1")).unwrap().root.is_none());
}

#[test]
fn one_link_for_two_names_of_the_folder_makes_no_second_tree() {
    let root = Scratch::new();
    root.write("usr/lib/modules/6.1/kernel/a.ko", "");
    symlink("usr/lib", root.path().join("lib")).unwrap();
    assert_eq!(Tree::find_all(root.path()).unwrap().len(), 1);
}

#[test]
fn names_are_found_whatever_the_dashes_and_endings() {
    let (tree, cache) = (Scratch::new(), Scratch::new());
    tree.write("kernel/lib/crc-itu-t.ko.xz", "");
    tree.write("kernel/b_c.ko", "");
    tree.write("kernel/c.ko.bak", "");
    tree.write("kernel/.ko", "");
    tree.write("source/hidden.ko", "");
    let index = open(tree.path(), &cache);
    for name in ["crc_itu_t", "crc-itu-t", "crc-itu_t"] {
        assert_eq!(file(&index, name).as_deref(), Some("kernel/lib/crc-itu-t.ko.xz"));
    }
    assert_eq!(file(&index, "b-c").as_deref(), Some("kernel/b_c.ko"));
    for name in ["c", "", "hidden", "crc", "../b_c"] {
        assert_eq!(file(&index, name), None, "{name}");
    }
    let names: Vec<_> = index.modules().unwrap().into_iter().map(|module| module.name).collect();
    assert_eq!(names, ["b_c", "crc_itu_t"]);
}

#[test]
fn updates_come_first() {
    let (tree, cache) = (Scratch::new(), Scratch::new());
    tree.write("kernel/a/x.ko", "");
    tree.write("extra/x.ko", "");
    assert_eq!(file(&open(tree.path(), &cache), "x").as_deref(), Some("extra/x.ko"));
    tree.write("updates/dkms/x.ko", "");
    assert_eq!(file(&open(tree.path(), &cache), "x").as_deref(), Some("updates/dkms/x.ko"));
}

#[test]
fn links_are_followed_once_and_never_in_circles() {
    let (tree, cache, elsewhere) = (Scratch::new(), Scratch::new(), Scratch::new());
    let real = elsewhere.write("weak.ko", "");
    tree.write("kernel/a.ko", "");
    fs::create_dir(tree.path().join("weak-updates")).unwrap();
    symlink(&real, tree.path().join("weak-updates/weak.ko")).unwrap();
    symlink("..", tree.path().join("kernel/loop")).unwrap();
    symlink(".", tree.path().join("kernel/self")).unwrap();
    symlink("nowhere", tree.path().join("kernel/dangling.ko")).unwrap();
    symlink(elsewhere.path(), tree.path().join("build")).unwrap();
    let index = open(tree.path(), &cache);
    let names: Vec<_> = index.modules().unwrap().into_iter().map(|module| module.name).collect();
    assert_eq!(names, ["a", "weak"]);
    assert_eq!(file(&index, "weak").as_deref(), Some("weak-updates/weak.ko"));
}

/// What is kept in the cache folder.
fn kept(cache: &Scratch) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_cache_follows_every_change() {
    let (tree, cache) = (Scratch::new(), Scratch::new());
    tree.write("kernel/one/a.ko", "");
    tree.write("kernel/two/b.ko", "");

    // What was just made may change again without a trace, so that nothing is kept.
    assert!(file(&open(tree.path(), &cache), "a").is_some());
    assert_eq!(kept(&cache), [""; 0]);

    tree.settle(1000);
    assert!(file(&open(tree.path(), &cache), "a").is_some());
    assert_eq!(kept(&cache).len(), 1);

    // New in a known folder, new in a new folder, gone, moved, hidden by an update.
    tree.write("kernel/one/new.ko", "");
    assert_eq!(file(&open(tree.path(), &cache), "new").as_deref(), Some("kernel/one/new.ko"));
    tree.write("kernel/three/c.ko", "");
    assert!(file(&open(tree.path(), &cache), "c").is_some());
    tree.settle(900);
    assert!(file(&open(tree.path(), &cache), "c").is_some());
    fs::remove_file(tree.path().join("kernel/two/b.ko")).unwrap();
    assert_eq!(file(&open(tree.path(), &cache), "b"), None);
    fs::rename(tree.path().join("kernel/one/a.ko"), tree.path().join("kernel/three/a.ko")).unwrap();
    assert_eq!(file(&open(tree.path(), &cache), "a").as_deref(), Some("kernel/three/a.ko"));
    tree.settle(800);
    assert!(file(&open(tree.path(), &cache), "a").is_some());
    tree.write("updates/a.ko", "");
    assert_eq!(file(&open(tree.path(), &cache), "a").as_deref(), Some("updates/a.ko"));
    tree.settle(700);
    assert_eq!(file(&open(tree.path(), &cache), "new").as_deref(), Some("kernel/one/new.ko"));
    tree.write("updates/new.ko", "");
    assert_eq!(file(&open(tree.path(), &cache), "new").as_deref(), Some("updates/new.ko"));
}

#[test]
fn a_damaged_cache_changes_no_answer() {
    let (tree, cache) = (Scratch::new(), Scratch::new());
    tree.write("kernel/a.ko", "");
    tree.write("kernel/b.ko", "");
    tree.settle(1000);
    assert!(file(&open(tree.path(), &cache), "a").is_some());
    let path = cache.path().join(kept(&cache).pop().unwrap());
    let whole = fs::read(&path).unwrap();
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x41;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(file(&open(tree.path(), &cache), "a").as_deref(), Some("kernel/a.ko"));
        fs::write(&path, &whole[..place]).unwrap();
        assert_eq!(file(&open(tree.path(), &cache), "c"), None);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let tree = Scratch::new();
    tree.write("kernel/a.ko", "");
    tree.settle(1000);
    for folder in ["/proc/nowhere", "/dev/null"] {
        let index = Index::with_cache(Tree::at(tree.path()), Some(folder.into()));
        assert!(file(&index, "a").is_some());
    }
    assert!(file(&Index::with_cache(Tree::at(tree.path()), None), "a").is_some());
}

#[test]
fn what_depmod_wrote_is_believed_while_its_files_are_there() {
    let (tree, cache) = (Scratch::new(), Scratch::new());
    tree.write("kernel/a.ko", "");
    tree.write("kernel/x-y.ko", "");
    tree.write("override/a.ko", "");
    tree.write(
        "modules.dep",
        "override/a.ko: kernel/x-y.ko kernel/gone.ko\nkernel/x-y.ko:\nkernel/gone.ko:\nbroken line\n",
    );
    tree.write("modules.alias", "# comment\nalias pci:v*d1 a\nalias x-alias[0-9] x-y\nalias lost nowhere\nalias odd\n");
    tree.write("modules.builtin", "kernel/fs/built-in.ko\n");
    tree.write("modules.builtin.modinfo", "built_in.alias=fs-built\0built_in.license=GPL\0");
    let index = open(tree.path(), &cache);
    assert_eq!(file(&index, "a").as_deref(), Some("override/a.ko"));
    assert_eq!(file(&index, "x_y").as_deref(), Some("kernel/x-y.ko"));
    assert_eq!(file(&index, "gone"), None);

    let modules = |name: &str| -> Vec<(String, String)> {
        match index.resolve(name).unwrap() {
            Found::Alias(found) => found.into_iter().map(|(alias, module)| (alias, module.name)).collect(),
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(modules("pci:v00d1"), [("pci:v*d1".to_owned(), "a".to_owned())]);
    assert_eq!(modules("x-alias5"), [("x-alias[0-9]".to_owned(), "x_y".to_owned())]);
    assert_eq!(index.resolve("built-in").unwrap(), Found::Builtin("built_in".to_owned()));
    assert_eq!(index.resolve("fs_built").unwrap(), Found::Builtin("built_in".to_owned()));
    assert!(matches!(index.resolve("lost").unwrap(), Found::Absent { .. }));
    assert!(matches!(index.resolve("x_z").unwrap(), Found::Absent { nearest } if nearest == ["x_y"]));
}

#[test]
fn files_that_are_no_modules_are_errors_and_nothing_worse() {
    let folder = Scratch::new();
    let problem = |path: &Path| read_module(path).unwrap_err().problem;
    assert!(matches!(problem(&folder.path().join("none.ko")), FileProblem::Io { .. }));
    assert!(matches!(problem(folder.path()), FileProblem::Io { .. }));
    assert!(matches!(problem(Path::new("/dev/zero")), FileProblem::Io { .. }));
    let cut = folder.write("cut.ko.xz", b"\xfd7zXZ\0\0\x04");
    assert!(matches!(problem(&cut), FileProblem::Decompress(_)));
    // Its text is no module: to read it is one thing, to take it for a module another.
    assert_eq!(read_module(&folder.write("text.ko", "hello")).unwrap(), b"hello");

    let index = Index::with_cache(Tree::at(folder.path()), None);
    let facts = index.facts().unwrap();
    let unreadable: Vec<_> = facts.unreadable().iter().map(|error| error.to_string()).collect();
    assert_eq!(unreadable.len(), 2);
    assert!(unreadable[1].ends_with("text.ko: Invalid ELF header len 5"), "{unreadable:?}");
}
