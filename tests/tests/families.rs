//! Five families of real modules, each in a machine of its own: load the dependencies, load the module, unload everything.
//!
//! What init answers has to be what the real kernel answered (`data/linux-6.1-outcomes.tsv`), and afterwards nothing of any
//! of the modules may be left. `FERRMOD_MODULES=nls_cp` looks only at modules with that in their path.

mod survey;

use std::collections::BTreeMap;
use std::time::Instant;

use ferrmod_tests::corpus::tree_or_skip;
use survey::{Survey, loading, outcomes};

/// Folder of the tree, and how its modules are called here.
const FAMILIES: [(&str, &str); 5] = [
    ("kernel/lib/", "lib"),
    ("kernel/fs/nls/", "fs/nls"),
    ("kernel/crypto/", "crypto"),
    ("kernel/arch/x86/crypto/", "arch/x86/crypto"),
    ("kernel/net/802/", "net/802"),
];

/// What is known not to be there yet: the module, and the kernel function it calls in vain.
const ABSENT: [(&str, &str); 1] = [("kernel/lib/test_bpf.ko", "bpf_prog_create")];

fn family(path: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|(folder, _)| path.starts_with(folder)).map(|&(_, name)| name)
}

#[test]
fn five_families_behave_as_on_linux_and_leave_nothing() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let only = std::env::var("FERRMOD_MODULES").unwrap_or_default();
    let survey = Survey::new(&tree);
    let start = Instant::now();
    let mut table: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
    let mut count = 0;
    for expected in outcomes() {
        let Some(family) = family(&expected.path).filter(|_| expected.path.contains(&only)) else { continue };
        count += 1;
        let (passed, failed) = table.entry(family).or_default();
        let faults = survey.judge(&expected);
        if let Some((_, function)) = ABSENT.iter().find(|(path, _)| *path == expected.path) {
            let text = format!("unimplemented kernel symbol {function} ");
            if !faults.iter().any(|fault| fault.contains(&text)) {
                failed.push(format!("{}: {function} was to be absent\n    {}", expected.path, faults.join("\n    ")));
            }
        } else if faults.is_empty() {
            *passed += 1;
        } else {
            failed.push(format!("{}\n    {}", expected.path, faults.join("\n    ")));
        }
    }
    println!("{count} modules in {:?}", start.elapsed());
    for (family, (passed, failed)) in &table {
        println!("{family:16} {passed:4} ok {:4} failed", failed.len());
    }
    let failed: Vec<&String> = table.values().flat_map(|(_, failed)| failed).collect();
    for one in &failed {
        println!("  {one}");
    }
    assert!(failed.is_empty(), "{} of {count} modules failed", failed.len());
    assert!(!only.is_empty() || count == 198, "{count} modules");
}

/// What has a softdep loads once that is there, as on a system with `modprobe`.
#[test]
fn modules_that_ask_for_others_get_them() {
    let Some(tree) = tree_or_skip("6.1") else { return };
    let survey = Survey::new(&tree);
    let mut faults = Vec::new();
    for expected in outcomes().into_iter().filter(|expected| family(&expected.path).is_some() && expected.init != 0) {
        // A cipher test suite: it says ENOENT or EAGAIN on every system, for it must never stay.
        if expected.path.ends_with("/tcrypt.ko") {
            continue;
        }
        faults.extend(
            survey.judge_with_requests(&expected).into_iter().map(|fault| format!("{}: {fault}", expected.path)),
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every module of the tree, to see how far the kernel's interface reaches: prints a table, and the functions that are missing
/// most. Takes minutes. With `FERRMOD_TREE=6.12` it is that kernel's tree, of which no outcomes are recorded: everything is to
/// load there.
#[test]
#[ignore = "a survey of 4,023 machines"]
fn the_whole_tree() {
    let version = std::env::var("FERRMOD_TREE").unwrap_or_else(|_| "6.1".into());
    let Some(tree) = tree_or_skip(&version) else { return };
    let only = std::env::var("FERRMOD_MODULES").unwrap_or_default();
    let survey = Survey::new(&tree);
    let start = Instant::now();
    let mut table: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    let all = if version == "6.1" { outcomes() } else { loading(&tree) };
    let expected: Vec<_> = all.into_iter().filter(|expected| expected.path.contains(&only)).collect();
    for one in &expected {
        let faults = survey.judge(one);
        let place = one.path.split('/').skip(1).take(2).collect::<Vec<_>>().join("/");
        table.entry(place).or_default()[usize::from(!faults.is_empty())] += 1;
        if let Some(first) = faults.first() {
            println!("FAILED {}\n    {}", one.path, faults.join("\n    "));
            let oops = faults.iter().find(|fault| fault.contains("unimplemented")).unwrap_or(first);
            let word = oops.split("symbol ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or(oops);
            *missing.entry(word.to_owned()).or_default() += 1;
        }
    }
    let mut missing: Vec<_> = missing.into_iter().collect();
    missing.sort_by_key(|(_, count)| usize::MAX - count);
    for (name, count) in missing.iter().take(200) {
        println!("MISSING {count:5} {name}");
    }
    for (place, [good, bad]) in &table {
        println!("PLACE {place:28} {good:5} ok {bad:5} failed");
    }
    let good: usize = table.values().map(|[good, _]| good).sum();
    println!("{good} of {} modules as on Linux, {:?}", expected.len(), start.elapsed());
}
