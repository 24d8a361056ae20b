//! Plans for real modules.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use ferrmod_image::Image;
use ferrmod_index::Tree;
use ferrmod_plan::{Index, Options, Request, Why, plan};
use ferrmod_tests::corpus;

use crate::scratch::Scratch;

#[test]
fn every_module_of_6_1_gets_what_it_needs_before_it() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    let index = Index::with_cache(Tree::at(&tree.modules), None);
    let (mut loads, mut wishes) = (0, 0);
    for module in index.modules().unwrap().iter().step_by(3) {
        let plan = plan(&[Request::Name(module.name.clone())], Some(&index), Options::default()).unwrap();
        let mut there = HashSet::new();
        for load in &plan.loads {
            let image = Image::read(&load.bytes).unwrap();
            for needed in image.depends() {
                assert!(
                    there.contains(&needed.to_string().replace('-', "_")),
                    "{}: {} needs {needed}",
                    module.name,
                    load.name
                );
            }
            assert!(there.insert(load.name.clone()), "{}: {} twice", module.name, load.name);
            wishes += usize::from(matches!(load.why, Why::SoftdepOf { .. }));
        }
        assert!(there.contains(&module.name));
        loads += plan.loads.len();
    }
    assert!(loads > 4_000 && wishes > 50, "{loads} loads, {wishes} of them softdeps");
}

#[test]
fn modprobe_loads_the_same() {
    let Some(tree) = corpus::tree_or_skip("6.1") else {
        return;
    };
    let root = Scratch::new();
    let folder = root.path().join("lib/modules").join(&tree.release);
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(&tree.modules).unwrap().flatten() {
        symlink(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let depmod = Command::new("depmod").env("PATH", &path).arg("-b").arg(root.path()).arg(&tree.release).status();
    let Ok(status) = depmod else {
        corpus::skip("depmod", "install kmod");
        return;
    };
    assert!(status.success());
    let index = Index::with_cache(Tree::at(&tree.modules), None);
    let with_depmod = Index::with_cache(Tree::find(root.path(), None).unwrap(), None);
    for module in index.modules().unwrap().iter().step_by(97) {
        let output = Command::new("modprobe")
            .env("PATH", &path)
            .arg("-d")
            .arg(root.path())
            .args(["-C", "/dev/null", "-S", &tree.release, "-D", &module.name])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // A line of modprobe: "insmod PATH OPTIONS".
        let mut theirs: Vec<String> = Vec::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let path = line.split(' ').nth(1).unwrap_or_default();
            let name = corpus::module_name(path.as_ref()).unwrap_or_default();
            // What a softdep brought is printed again when it is needed later.
            if line.starts_with("insmod ") && !theirs.contains(&name) {
                theirs.push(name);
            }
        }
        let ours = |index: &Index| -> Vec<String> {
            let plan = plan(&[Request::Name(module.name.clone())], Some(index), Options::default()).unwrap();
            plan.loads.into_iter().map(|load| load.name).collect()
        };
        let (by_modules, by_depmod) = (ours(&index), ours(&with_depmod));
        let set = |names: &[String]| names.iter().cloned().collect::<HashSet<_>>();
        assert_eq!(set(&by_modules), set(&theirs), "{}", module.name);
        assert_eq!(set(&by_depmod), set(&theirs), "{}", module.name);
        assert_eq!(by_modules.last(), by_depmod.last());
    }
}
