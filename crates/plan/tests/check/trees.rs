//! Every module of a distribution on its own kernel, and on another one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrmod_index::read_module;
use ferrmod_plan::check::{Answer, Candidate, Checker, Kernel, Policy, Reason, Settings, Together, Verdict};
use ferrmod_tests::corpus;

use crate::ground::{linux_6_1, linux_6_12};

/// Checks every module of the corpus's `version` on `kernel`, with two threads.
fn check_all(
    version: &str,
    kernel: &Kernel<'_>,
    others: &[&Kernel<'_>],
    every: usize,
    visit: impl Fn(&Verdict) + Sync,
) -> usize {
    let Some(tree) = corpus::tree(version) else { return 0 };
    let files: Vec<_> = tree.files().into_iter().step_by(every).collect();
    let together = Together::new();
    let policy = Policy::default();
    let keyring = kernel.keyring().unwrap();
    let checker = |settings| Checker::new(kernel, &policy, &together, others, settings);
    // Cryptography without optimisation takes long: for some of them.
    let (plain, verifying) =
        (checker(Settings::default()), checker(Settings { keyring: Some(&keyring), ..Settings::default() }));
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = files.get(number) else { break };
            let checker = if number.is_multiple_of(40) { &verifying } else { &plain };
            let bytes = read_module(path).unwrap();
            visit(&checker.check(&Candidate::new(path, &bytes)));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    files.len()
}

fn all_load(version: &str, kernel: &Kernel<'_>) -> usize {
    let wrong = Mutex::new(Vec::new());
    let taints = Mutex::new(BTreeMap::<String, usize>::new());
    let count = check_all(version, kernel, &[kernel], 1, |verdict| {
        if !verdict.loads() {
            wrong.lock().unwrap().push(format!("{}: {:?}", verdict.module, verdict.reasons));
        }
        *taints.lock().unwrap().entry(verdict.taints.clone()).or_default() += 1;
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {count}: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    let taints = taints.into_inner().unwrap();
    // Those whose signature was looked into are signed by the kernel's own key.
    assert!(taints.keys().all(|letters| !letters.contains('E')), "{taints:?}");
    println!("{version}: {count} load, by taints: {taints:?}");
    count
}

#[test]
fn every_module_of_6_1_loads_on_its_kernel() {
    let Some(kernel) = linux_6_1() else { return };
    assert_eq!(all_load("6.1", kernel), 4023);
}

#[test]
fn every_module_of_6_12_loads_on_its_kernel() {
    let Some(kernel) = linux_6_12() else { return };
    let count = all_load("6.12", kernel);
    assert!(count > 4200 && (count == 4227 || kernel.release != "6.12.96+deb13-amd64"), "{count}");
}

#[test]
fn no_module_of_6_1_loads_on_6_12() {
    let (Some(old), Some(new)) = (linux_6_1(), linux_6_12()) else { return };
    let crcs = AtomicUsize::new(0);
    let count = check_all("6.1", new, &[old, new], 10, |verdict| {
        assert_eq!(verdict.answer, Answer::Refused, "{verdict:?}");
        assert_eq!(verdict.errno_name, Some("ENOEXEC"), "{verdict:?}");
        let layout = matches!(verdict.reasons[..], [Reason::ModuleSize { .. }, Reason::ModuleLayout { .. }, ..]);
        assert!(layout, "{verdict:?}");
        let import = |reason: &&Reason| matches!(reason, Reason::Import { .. });
        crcs.fetch_add(verdict.reasons.iter().filter(import).count(), Ordering::Relaxed);
    });
    assert!(count > 400, "{count}");
    assert!(crcs.into_inner() > 3000);
}

#[test]
fn what_changed_between_two_kernels_is_found_in_their_types() {
    let (Some(old), Some(new)) = (linux_6_1(), linux_6_12()) else { return };
    let together = Together::new();
    let policy = Policy::default();
    let kernels = [old, new];
    let settings = Settings { explain: true, ..Settings::default() };
    let checker = Checker::new(new, &policy, &together, &kernels, settings);
    let path = crate::ground::module_path("lm75");
    let bytes = read_module(&path).unwrap();
    let verdict = checker.check(&Candidate::new(&path, &bytes));
    let mut explained = 0;
    for reason in &verdict.reasons {
        let text = reason.to_string();
        println!("{text}\n");
        explained += usize::from(text.contains("became") || text.contains("without") || text.contains("new "));
    }
    assert!(explained > 3, "{verdict:#?}");
}
