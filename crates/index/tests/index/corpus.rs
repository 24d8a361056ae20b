//! Real trees, against depmod and against themselves.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use bstr::BStr;
use ferrmod_image::Image;
use ferrmod_image::compress::decompress;
use ferrmod_index::{Found, Index, MAX_MODULE, Source, Tree, Unpacker, read_module};
use ferrmod_tests::corpus;

use crate::scratch::Scratch;

/// The 6.1 tree in a folder of its own, where files can be put beside the modules: links to what is in it.
fn copy(tree: &corpus::Tree, root: &Scratch) -> Tree {
    let folder = root.path().join("lib/modules").join(&tree.release);
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(&tree.modules).unwrap().flatten() {
        if !entry.file_name().to_string_lossy().starts_with("modules.dep") {
            symlink(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    Tree::find(root.path(), Some(&tree.release)).unwrap()
}

#[test]
fn symbols_and_depends_tell_the_same_for_every_module() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    let index = Index::with_cache(Tree::at(&tree.modules), None);
    let facts = index.facts().unwrap();
    assert_eq!(facts.unreadable(), []);
    assert!(facts.exports_len() > 10_000);
    let mut edges = 0;
    for module in index.modules().unwrap() {
        let bytes = read_module(&module.path).unwrap();
        let image = Image::read(&bytes).unwrap();
        let needs = index.needs(&module.name, &image).unwrap();
        assert_eq!(needs.source, Source::Modinfo);
        let stated: BTreeSet<_> = needs.modules.iter().map(String::as_str).collect();
        let by_symbols: BTreeSet<_> = facts.needs(&module.name).unwrap().into_iter().collect();
        assert_eq!(stated, by_symbols, "{}", module.name);
        edges += stated.len();
    }
    assert!(edges > 5_000, "{edges}");
}

#[test]
fn the_second_question_is_answered_from_the_cache() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    let cache = Scratch::new();
    let open = || Index::with_cache(Tree::at(&tree.modules), Some(cache.path().to_owned()));
    let first = open();
    let answers = |index: &Index| {
        let found = |name: &str| index.resolve(name).unwrap();
        let all: Vec<_> = index.facts().unwrap().all_aliases().map(|(a, m)| (a.to_owned(), m.to_owned())).collect();
        (
            found("crc-itu-t"),
            found("pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00"),
            found("crypto-crc32c"),
            found("nosuchmodule"),
            index.exporter(BStr::new("crc7_be")).unwrap(),
            all,
        )
    };
    let (module, pci, crc, absent, exporter, aliases) = answers(&first);
    assert!(matches!(&module, Found::Module(file) if file.path.ends_with("crc-itu-t.ko")));
    assert!(matches!(&pci, Found::Alias(found) if found.len() == 1 && found[0].1.name == "e1000e"), "{pci:?}");
    assert!(matches!(&crc, Found::Alias(found) if found.len() >= 2), "{crc:?}");
    assert!(matches!(absent, Found::Absent { .. }));
    assert_eq!(exporter.as_deref(), Some("crc7"));
    assert!(aliases.len() > 15_000);
    let kept = fs::read_dir(cache.path()).unwrap().count();
    assert_eq!(kept, 2, "the list and the facts are kept");
    assert!(answers(&open()) == (module, pci, crc, absent, exporter, aliases));
}

#[test]
fn depmod_finds_the_same() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    let root = Scratch::new();
    let ours = Index::with_cache(Tree::at(&tree.modules), None);
    let copied = copy(&tree, &root);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let depmod = Command::new("depmod").env("PATH", path).arg("-b").arg(root.path()).arg(&tree.release).status();
    let Ok(status) = depmod else {
        corpus::skip("depmod", "install kmod");
        return;
    };
    assert!(status.success());
    let theirs = Index::with_cache(copied, None);

    // What each says that a module needs, followed to the end.
    let facts = ours.facts().unwrap();
    for module in ours.modules().unwrap().iter().step_by(17) {
        let mut closure = BTreeSet::new();
        let mut open = vec![module.name.as_str()];
        while let Some(name) = open.pop() {
            open.extend(facts.needs(name).unwrap().into_iter().filter(|needed| closure.insert(*needed)));
        }
        let bytes = read_module(&module.path).unwrap();
        let image = Image::read(&bytes).unwrap();
        let needs = theirs.needs(&module.name, &image).unwrap();
        assert_eq!(needs.source, Source::Depmod);
        assert_eq!(needs.modules.iter().map(String::as_str).collect::<BTreeSet<_>>(), closure, "{}", module.name);
        // Each comes before those that need it.
        for (place, name) in needs.modules.iter().enumerate() {
            let later = &needs.modules[place..];
            assert!(facts.needs(name).unwrap().iter().all(|needed| !later.iter().any(|later| later == needed)));
        }
        let of = |index: &Index| {
            let found = index.file(&module.name).unwrap().unwrap();
            found.path.strip_prefix(&index.tree().folder).unwrap().to_owned()
        };
        assert_eq!(of(&ours), of(&theirs));
        assert_eq!(ours.soft_needs(&module.name, &image).before, theirs.soft_needs(&module.name, &image).before);
    }

    // The modules of an alias, in their order: every hundredth alias, with its wildcards filled in.
    let text = fs::read_to_string(theirs.tree().folder.join("modules.alias")).unwrap();
    let mut compared = 0;
    for line in text.lines().filter(|line| line.starts_with("alias ")).step_by(101) {
        let pattern = line.split(' ').nth(1).unwrap();
        let name = pattern.replace('*', "0");
        let modules = |index: &Index| -> Vec<String> {
            index.aliases(&name).unwrap().into_iter().map(|(_, module)| module.name).collect()
        };
        assert_eq!(modules(&ours), modules(&theirs), "{name}");
        compared += 1;
    }
    assert!(compared > 100);
}

#[test]
fn a_built_in_module_is_no_file() {
    for version in ["6.1", "6.12"] {
        let Some(tree) = corpus::tree_or_skip(version) else {
            continue;
        };
        let index = Index::with_cache(Tree::at(&tree.modules), None);
        let builtin = fs::read_to_string(tree.modules.join("modules.builtin")).unwrap();
        let name = corpus::module_name(Path::new(builtin.lines().next().unwrap())).unwrap();
        assert!(index.is_builtin(&name));
        assert!(index.file(&name).unwrap().is_none());
        assert!(!index.is_builtin("nosuchmodule"));
    }
}

/// The fast decoders, and those in Rust, which are there without the features `liblzma` and `zstd`.
#[test]
fn every_decoder_unpacks_the_same() {
    let Some(tree) = corpus::tree_or_skip("6.12") else {
        return;
    };
    let mut unpacker = Unpacker::default();
    let mut memory = Vec::new();
    let mut compared = 0;
    for path in tree.files().iter().step_by(50) {
        let packed = fs::read(path).unwrap();
        let wanted = decompress(&packed, MAX_MODULE).unwrap();
        assert!(unpacker.unpack(&packed, &mut memory).unwrap() == &*wanted, "{}", path.display());
        compared += 1;
        if compared % 8 != 0 {
            continue;
        }
        // Two streams are one file, with padding between them as well; a stream with something else behind it is none.
        for between in [&[][..], &[0; 4], &[0; 8]] {
            let twice = [&packed, between, &packed].concat();
            assert!(unpacker.unpack(&twice, &mut memory).unwrap() == [&*wanted, &*wanted].concat());
        }
        for (cut, behind) in
            [(packed.len() / 2, &[][..]), (packed.len() - 1, &[]), (packed.len(), b"x"), (packed.len(), &[0])]
        {
            let damaged = [&packed[..cut], behind].concat();
            assert_eq!(
                unpacker.unpack(&damaged, &mut memory).unwrap_err(),
                decompress(&damaged, MAX_MODULE).unwrap_err()
            );
        }
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 1;
        assert!(unpacker.unpack(&damaged, &mut memory).is_err());
        // What was left by the damage does not show.
        assert!(unpacker.unpack(&packed, &mut memory).unwrap() == &*wanted);
    }
    assert!(compared > 50);
}
