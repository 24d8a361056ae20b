//! Making the index of a tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use ferrmod_index::depmod::{self, Built, DepmodError, Event, Fault, Format, Options, Override, Search};
use ferrmod_index::trie::{NodeOrder, Trie, TrieWriter};
use proptest::prelude::*;

use crate::elf::Module;
use crate::scratch::Scratch;

const TREE: &str = "lib/modules/1.2.3";

fn options(scratch: &Scratch) -> Options<'static> {
    Options { root: scratch.path().to_owned(), release: "1.2.3".into(), ..Options::default() }
}

/// Writes a module of the tree that exports `s_NAME` and imports the `s_` of `needs`.
fn module(scratch: &Scratch, path: &str, needs: &[&str]) {
    let name = path.rsplit('/').next().unwrap().split('.').next().unwrap();
    let export = format!("s_{name}");
    let imports: Vec<String> = needs.iter().map(|name| format!("s_{name}")).collect();
    let imports: Vec<&str> = imports.iter().map(String::as_str).collect();
    let alias = format!("alias=test:{name}-*");
    let module = Module { exports: &[(&export, 1)], imports: &imports, modinfo: &[&alias, "license=GPL"] };
    scratch.write(&format!("{TREE}/{path}"), module.bytes());
}

fn build(options: &Options<'_>) -> (Built, Vec<String>) {
    let mut events = Vec::new();
    let built = depmod::build(options, &mut |event| events.push(format!("{event:?}"))).unwrap();
    (built, events)
}

fn text<'a>(built: &'a Built, name: &str) -> &'a str {
    let file = built.files().iter().find(|file| file.name == name).unwrap();
    std::str::from_utf8(&file.bytes).unwrap()
}

/// Every file of the index, as it is on the disk.
fn written(scratch: &Scratch) -> BTreeMap<String, Vec<u8>> {
    let folder = scratch.path().join(TREE);
    let entries = fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| name != "modules.ferrmod")
        .collect()
}

#[test]
fn dependencies_are_closed_and_in_order() {
    let scratch = Scratch::new();
    module(&scratch, "kernel/a.ko", &["b"]);
    module(&scratch, "kernel/b.ko", &["c"]);
    module(&scratch, "kernel/c.ko", &[]);
    scratch.write(&format!("{TREE}/modules.order"), "kernel/a.ko\nkernel/b.ko\nkernel/c.ko\n");
    let (built, _) = build(&options(&scratch));
    let wanted = "kernel/a.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko:\n";
    assert_eq!(text(&built, "modules.dep"), wanted);
    assert!(text(&built, "modules.alias").contains("\nalias test:b-* b\n"));
    assert!(text(&built, "modules.symbols").contains("\nalias symbol:s_c c\n"));
}

#[test]
fn cycles_are_named_however_many_there_are() {
    let scratch = Scratch::new();
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        let others: Vec<&str> = names.into_iter().filter(|other| *other != name).collect();
        module(&scratch, &format!("kernel/{name}.ko"), &others);
    }
    // Two cycles, one of which needs the other.
    module(&scratch, "kernel/x.ko", &["y"]);
    module(&scratch, "kernel/y.ko", &["x", "a"]);
    module(&scratch, "kernel/self.ko", &["self"]);
    module(&scratch, "kernel/below.ko", &[]);
    let error = depmod::build(&options(&scratch), &mut |_| ()).unwrap_err();
    let DepmodError::Cycles { cycles, mut members } = error else {
        panic!("{error}");
    };
    members.sort();
    assert_eq!(members, ["a", "b", "c", "d", "e", "f", "self", "x", "y"]);
    assert!(cycles.iter().all(|cycle| cycle.len() > 1 && cycle.first() == cycle.last()), "{cycles:?}");
    assert!(!scratch.path().join(TREE).join("modules.dep").exists());
}

#[test]
fn a_broken_module_is_told_and_the_rest_is_indexed() {
    let scratch = Scratch::new();
    module(&scratch, "kernel/good.ko", &[]);
    let whole = fs::read(scratch.path().join(TREE).join("kernel/good.ko")).unwrap();
    scratch.write(&format!("{TREE}/kernel/empty.ko"), "");
    scratch.write(&format!("{TREE}/kernel/text.ko"), "not a module");
    scratch.write(&format!("{TREE}/kernel/cut.ko"), &whole[..whole.len() - 1]);
    scratch.write(&format!("{TREE}/kernel/packed.ko.xz"), b"\xfd7zXZ\0garbage");
    let (built, events) = build(&options(&scratch));
    assert_eq!((built.modules, built.broken), (5, 4));
    assert_eq!(events.iter().filter(|event| event.starts_with("Broken")).count(), 4, "{events:?}");
    assert!(text(&built, "modules.alias").contains("test:good-*"));
    // Its name is known, so that modprobe can say what is wrong with it.
    assert!(text(&built, "modules.dep").contains("kernel/cut.ko:\n"));
}

#[test]
fn every_cut_of_a_module_is_read_without_harm() {
    let modinfo = ["alias=x", "softdep=pre: y"];
    let whole = Module { exports: &[("a", 1), ("b", 2)], imports: &["c"], modinfo: &modinfo }.bytes();
    let facts = depmod::module_facts(&whole).unwrap();
    assert_eq!(facts.exports, [("a".into(), 1), ("b".into(), 2)]);
    assert_eq!((facts.imports, facts.aliases), (vec![("c".into(), 0)], vec!["x".into()]));
    for length in 0..whole.len() {
        assert!(depmod::module_facts(&whole[..length]).is_err());
    }
    for place in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[place] = value;
            let _ = depmod::module_facts(&damaged);
        }
    }
}

#[test]
fn the_cache_changes_the_work_and_not_the_index() {
    let scratch = Scratch::new();
    let paths: Vec<String> = (0..40).map(|number| format!("kernel/m{number}.ko")).collect();
    paths.iter().enumerate().for_each(|(number, path)| module(&scratch, path, &["m0"][..usize::from(number > 0)]));
    let options = options(&scratch);
    let run = |options: &Options<'_>| {
        let (built, _) = build(options);
        built.write(options).unwrap();
        (built.read, written(&scratch))
    };
    let (read, first) = run(&options);
    assert_eq!(read, 40);
    // Files that changed a moment ago are not kept, because another change might leave the same times; in the end all are.
    let all_are_kept = || {
        let (read, index) = run(&options);
        assert!(index == first);
        read == 0 || {
            thread::sleep(Duration::from_millis(20));
            false
        }
    };
    assert!((0..1000).any(|_| all_are_kept()));
    // A changed one, a new one, one that is gone.
    module(&scratch, "kernel/m3.ko", &["m9"]);
    module(&scratch, "kernel/new.ko", &["m3"]);
    fs::remove_file(scratch.path().join(TREE).join("kernel/m5.ko")).unwrap();
    let (read, with) = run(&options);
    assert_eq!(read, 2);
    let without = run(&Options {
        cache: false,
        root: options.root.clone(),
        release: options.release.clone(),
        ..Options::default()
    });
    assert_eq!(without, (40, with.clone()));
    // What is not whole is as good as nothing.
    let cache = scratch.path().join(TREE).join("modules.ferrmod");
    let bytes = fs::read(&cache).unwrap();
    for length in [0, 1, 11, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&cache, &bytes[..length]).unwrap();
        assert_eq!(run(&options), (40, with.clone()), "{length} bytes");
    }
}

#[test]
fn links_do_not_lead_out_of_the_root() {
    let scratch = Scratch::new();
    module(&scratch, "kernel/own.ko", &[]);
    let outside = Scratch::new();
    let foreign = outside.write("foreign.ko", Module::default().bytes());
    let tree = scratch.path().join(TREE);
    symlink(&foreign, tree.join("kernel/foreign.ko")).unwrap();
    symlink(outside.path(), tree.join("kernel/out")).unwrap();
    symlink("../../../../../../../../../../../../../../etc", tree.join("kernel/up")).unwrap();
    // Absolute links begin at the root.
    scratch.write("store/weak.ko", Module::default().bytes());
    symlink("/store/weak.ko", tree.join("kernel/weak.ko")).unwrap();
    // One that leads back up.
    symlink("..", tree.join("kernel/loop")).unwrap();
    let (built, events) = build(&options(&scratch));
    let mut lines: Vec<&str> = text(&built, "modules.dep").lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["kernel/own.ko:", "kernel/weak.ko:"]);
    assert!(events.iter().any(|event| event.starts_with("FolderLoop")), "{events:?}");

    // The folder of the index is found in the same way.
    let other = Scratch::new();
    symlink(outside.path(), other.path().join("lib")).unwrap();
    let options = Options { out: Some(other.path().to_owned()), ..options(&scratch) };
    let written = build(&options).0.write(&options);
    assert!(!outside.path().join("modules").exists(), "{written:?}");
}

#[test]
fn of_several_files_the_configuration_chooses() {
    let scratch = Scratch::new();
    for path in ["kernel/a/m.ko", "updates/x/m.ko", "extra/m.ko", "kernel/dash-ed.ko", "extra/dash_ed.ko"] {
        module(&scratch, path, &[]);
    }
    let folder = |name: &str| Search::Folder(name.into());
    let chosen = |search: Vec<Search>, overrides: &[(&str, &str)], exclude: &[&str]| {
        let options = Options {
            search,
            overrides: overrides
                .iter()
                .map(|(module, folder)| Override { module: (*module).into(), folder: (*folder).into() })
                .collect(),
            exclude: exclude.iter().map(|&name| name.into()).collect(),
            ..options(&scratch)
        };
        let built = build(&options).0;
        text(&built, "modules.dep").lines().find(|line| line.ends_with("/m.ko:")).unwrap_or_default().to_owned()
    };
    assert_eq!(chosen(vec![], &[], &[]), "updates/x/m.ko:");
    assert_eq!(chosen(vec![folder("extra"), folder("updates")], &[], &[]), "extra/m.ko:");
    assert_eq!(chosen(vec![folder("kernel/a"), folder("updates"), folder("kernel")], &[], &[]), "kernel/a/m.ko:");
    assert_eq!(chosen(vec![], &[("m", "kernel/a")], &[]), "kernel/a/m.ko:");
    // The folder itself, and not those below it.
    assert_eq!(chosen(vec![], &[("m", "kernel")], &[]), "updates/x/m.ko:");
    assert_eq!(chosen(vec![folder("updates"), folder("extra")], &[], &["updates"]), "extra/m.ko:");
}

#[test]
fn what_a_killed_run_left_is_removed() {
    let scratch = Scratch::new();
    module(&scratch, "kernel/a.ko", &[]);
    let left = scratch.write(&format!("{TREE}/modules.dep.12345.ferrmod-tmp"), "half");
    let options = options(&scratch);
    build(&options).0.write(&options).unwrap();
    assert!(!left.exists());
    assert!(written(&scratch).keys().all(|name| !name.contains("tmp")));
}

#[test]
fn a_cancelled_run_leaves_the_old_index() {
    let scratch = Scratch::new();
    module(&scratch, "kernel/a.ko", &[]);
    let first = options(&scratch);
    build(&first).0.write(&first).unwrap();
    let before = written(&scratch);
    module(&scratch, "kernel/b.ko", &[]);
    let cancel = AtomicBool::new(false);
    let options = Options { cancel: Some(&cancel), ..options(&scratch) };
    let (built, _) = build(&options);
    cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(built.write(&options), Err(DepmodError::Cancelled)));
    assert!(matches!(depmod::build(&options, &mut |_| ()), Err(DepmodError::Cancelled)));
    assert_eq!(written(&scratch), before);
}

#[test]
fn a_check_finds_every_file_that_is_wrong() {
    let scratch = Scratch::new();
    module(&scratch, "kernel/a.ko", &[]);
    let options = options(&scratch);
    let (built, _) = build(&options);
    assert_eq!(built.check(&options).unwrap().len(), built.files().len());
    built.write(&options).unwrap();
    assert_eq!(built.check(&options).unwrap(), []);
    let tree = scratch.path().join(TREE);
    fs::write(tree.join("modules.dep"), "kernel/a.ko: kernel/b.ko\n").unwrap();
    fs::remove_file(tree.join("modules.alias")).unwrap();
    let mut trie = fs::read(tree.join("modules.alias.bin")).unwrap();
    *trie.last_mut().unwrap() ^= 1;
    fs::write(tree.join("modules.alias.bin"), &trie).unwrap();
    let found = built.check(&options).unwrap();
    let names: Vec<&str> = found.iter().map(|difference| difference.name).collect();
    assert_eq!(names, ["modules.dep", "modules.alias", "modules.alias.bin"]);
    assert!(matches!(&found[0].fault, Fault::Line { number: 1, .. }), "{found:?}");
    assert!(matches!(&found[1].fault, Fault::Unreadable { .. }), "{found:?}");
    assert!(matches!(&found[2].fault, Fault::Byte { at, .. } if *at == trie.len() - 1), "{found:?}");
}

#[test]
fn a_tree_that_changes_meanwhile_is_read_again() {
    let scratch = Scratch::new();
    module(&scratch, "kernel/a.ko", &[]);
    scratch.write(&format!("{TREE}/kernel/half.ko"), "not yet");
    let mut changes = 0;
    let tree: PathBuf = scratch.path().join(TREE);
    // modules.order is missing, which is told when the folders have been read.
    let built = depmod::build(&options(&scratch), &mut |event| match event {
        Event::InputMissing { .. } if changes == 0 => {
            fs::write(tree.join("kernel/late.ko"), Module::default().bytes()).unwrap()
        }
        Event::Changed { times } => changes = times,
        _ => {}
    })
    .unwrap();
    assert_eq!((changes, built.modules, built.changing), (1, 3, false));
}

#[test]
fn only_named_files_are_taken_when_some_are_named() {
    let scratch = Scratch::new();
    module(&scratch, "kernel/a.ko", &["b"]);
    module(&scratch, "kernel/b.ko", &[]);
    let file = |path: &str| scratch.path().join(TREE).join(path);
    let options = Options { files: vec![file("kernel/a.ko")], ..options(&scratch) };
    assert_eq!(text(&build(&options).0, "modules.dep"), "kernel/a.ko:\n");
    let twice = Options { files: vec![file("kernel/a.ko"), file("kernel/a.ko")], ..options };
    assert!(matches!(depmod::build(&twice, &mut |_| ()), Err(DepmodError::File { .. })));
}

#[test]
fn both_formats_hold_the_same() {
    let scratch = Scratch::new();
    (0..50).for_each(|number| module(&scratch, &format!("kernel/m{number}.ko"), &["m0"][..usize::from(number > 0)]));
    let read = |format| {
        let (built, _) = build(&Options { format, ..options(&scratch) });
        let file = built.files().iter().find(|file| file.name == "modules.alias.bin").unwrap().bytes.clone();
        let mut all = Vec::new();
        Trie::from_bytes(&file)
            .unwrap()
            .each(|key, priority, value| all.push((key.to_vec(), priority, value.to_vec())))
            .unwrap();
        (file, all, built.files().iter().any(|file| file.name == "modules.weakdep"))
    };
    let (new, old) = (read(Format::Kmod34), read(Format::Kmod30));
    assert_ne!(new.0, old.0);
    assert_eq!(new.1, old.1);
    assert_eq!((new.2, old.2), (true, false));
}

/// A folder that cannot be written is told, and nothing is changed.
#[test]
fn an_index_that_cannot_be_written_is_an_error() {
    let scratch = Scratch::new();
    module(&scratch, "kernel/a.ko", &[]);
    let out = scratch.write("file", "");
    let options = Options { out: Some(out), ..options(&scratch) };
    let options = Options { make_folder: true, ..options };
    assert!(matches!(depmod::build(&options, &mut |_| ()), Err(DepmodError::Folder { .. })));
    assert!(Path::new(&options.root).join("file").is_file());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// What is written is read back: every value of every key, by priority, the newest of equal ones first.
    #[test]
    fn a_trie_holds_what_was_put_into_it(
        entries in prop::collection::vec(("[a-d:*]{0,6}", "[a-c]{0,2}", 0u32..4), 0..60),
        children_first in any::<bool>(),
    ) {
        let mut writer = TrieWriter::new();
        let mut wanted: BTreeMap<String, Vec<(u32, usize, String)>> = BTreeMap::new();
        for (number, (key, value, priority)) in entries.iter().enumerate() {
            writer.insert(key.as_bytes(), value.as_bytes(), *priority).unwrap();
            wanted.entry(key.clone()).or_default().push((*priority, usize::MAX - number, value.clone()));
        }
        wanted.values_mut().for_each(|values| values.sort());
        let order = if children_first { NodeOrder::ChildrenFirst } else { NodeOrder::ParentFirst };
        let trie = Trie::from_bytes(&writer.finish(order).unwrap()).unwrap();
        let mut found: BTreeMap<String, Vec<(u32, String)>> = BTreeMap::new();
        trie.each(|key, priority, value| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.entry(text(key)).or_default().push((priority, text(value)));
        })
        .unwrap();
        for (key, values) in &wanted {
            let first = trie.find(key.as_bytes()).unwrap().expect("there");
            prop_assert_eq!(first.priority, values[0].0);
            prop_assert_eq!(first.value.to_string(), values[0].2.clone());
        }
        let wanted: BTreeMap<String, Vec<(u32, String)>> = wanted
            .into_iter()
            .map(|(key, values)| (key, values.into_iter().map(|(priority, _, value)| (priority, value)).collect()))
            .collect();
        prop_assert_eq!(found, wanted);
    }
}
