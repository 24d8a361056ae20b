//! Made roots: each finding at least once, and none where nothing is wrong.

mod baseline;
mod files;
mod follow;
mod hidden;
mod rpm;
mod settings;
mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;

use ferrmod_audit::{Finding, Rule};

/// The rules that some test has seen to find what they are for.
static FOUND: Mutex<BTreeSet<Rule>> = Mutex::new(BTreeSet::new());

/// Notes which rules found something, and gives it back.
fn noted(findings: Vec<Finding>) -> Vec<Finding> {
    FOUND.lock().unwrap().extend(findings.iter().map(|finding| finding.rule));
    findings
}

#[test]
fn every_rule_finds_something() {
    baseline::all();
    files::all();
    hidden::all();
    settings::all();
    let found = FOUND.lock().unwrap();
    let not: Vec<_> = Rule::ALL.iter().filter(|rule| !found.contains(rule)).map(|rule| rule.id()).collect();
    if world::keys().is_some() {
        assert!(not.is_empty(), "no test finds {not:?}");
    }
}
