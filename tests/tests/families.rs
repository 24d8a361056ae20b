//! Five families of real modules, each in a machine of its own: load the dependencies, load the module, unload everything.
//!
//! What init answers has to be what the real kernel answered (`data/linux-6.1-outcomes.tsv`), and afterwards nothing of any
//! of the modules may be left. `FERRMOD_MODULES=nls_cp` looks only at modules with that in their path.

mod survey;

use std::collections::BTreeMap;
use std::time::Instant;

use ferrmod_tests::corpus::tree_or_skip;
use survey::{Survey, outcomes};

/// Folder of the tree, and how its modules are called here.
const FAMILIES: [(&str, &str); 5] = [
    ("kernel/lib/", "lib"),
    ("kernel/fs/nls/", "fs/nls"),
    ("kernel/crypto/", "crypto"),
    ("kernel/arch/x86/crypto/", "arch/x86/crypto"),
    ("kernel/net/802/", "net/802"),
];

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
        if faults.is_empty() {
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
        faults.extend(survey.judge_with_requests(&expected).into_iter().map(|fault| format!("{}: {fault}", expected.path)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
