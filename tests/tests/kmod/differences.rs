//! Where we differ from kmod on purpose, and why.
//!
//! An entry that no longer explains anything fails the test, so the list cannot outlive its reasons.

mod level;
mod table;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::case::{Case, Ended, Outcome, difference};
use crate::run::{Side, run};
use crate::shard::Shard;
use crate::world::World;

pub(crate) use table::TABLE;

/// A deliberate difference.
pub(crate) struct Difference {
    /// Its name in reports.
    pub(crate) id: &'static str,
    /// The heading in the document.
    pub(crate) title: &'static str,
    /// What kmod does.
    pub(crate) kmod: &'static str,
    /// What we do.
    pub(crate) ours: &'static str,
    /// Why.
    pub(crate) reason: &'static str,
    /// Takes the difference out of both outcomes; nothing where it does not apply.
    ///
    /// It may change only what it is about: everything else is still compared.
    pub(crate) level: fn(&Case, &mut Outcome, &mut Outcome),
    /// Invocations that show it.
    pub(crate) witnesses: fn(&World) -> Vec<Case>,
}

/// What explains the difference of the two outcomes completely, if anything does.
pub(crate) fn explain(case: &Case, kmod: &Outcome, ours: &Outcome) -> Option<BTreeSet<&'static str>> {
    let (mut kmod, mut ours) = (kmod.clone(), ours.clone());
    let mut used = BTreeSet::new();
    for entry in TABLE {
        let before = (kmod.clone(), ours.clone());
        (entry.level)(case, &mut kmod, &mut ours);
        if before != (kmod.clone(), ours.clone()) {
            used.insert(entry.id);
        }
        if kmod == ours {
            return Some(used);
        }
    }
    None
}

/// Runs the witnesses of every entry: they must differ, and the entry must explain it.
pub(crate) fn check(shard: &mut Shard) -> Result<String, String> {
    let mut report = String::new();
    let mut ran = 0;
    for entry in TABLE {
        for case in (entry.witnesses)(&shard.world) {
            let Some(kmod) = run(&shard.peers, &shard.watchdog, &mut shard.world, &case, Side::Kmod(case.peer)) else {
                continue;
            };
            let Some(ours) = run(&shard.peers, &shard.watchdog, &mut shard.world, &case, Side::Ours) else {
                continue;
            };
            ran += 1;
            if !matches!(ours.ended, Ended::Exit(_)) {
                let _ = writeln!(report, "{}: {case}: ours ended with {:?}", entry.id, ours.ended);
            }
            match explain(&case, &kmod, &ours) {
                Some(used) if used.contains(entry.id) => {}
                Some(used) => {
                    let _ = writeln!(report, "{}: stale: {case} is explained by {used:?}", entry.id);
                }
                None if kmod == ours => {
                    let _ = writeln!(report, "{}: stale: {case} is the same on both sides", entry.id);
                }
                None => {
                    let _ = writeln!(report, "{}: not explained: {case}\n{}", entry.id, difference(&kmod, &ours));
                }
            }
        }
    }
    let verdict = if report.is_empty() { "ok" } else { "FAILED" };
    Ok(format!("{report}{verdict}: {} differences, {ran} invocations that show them", TABLE.len()))
}

/// docs/kmod-differences.md.
pub(crate) fn document() -> String {
    let mut text = String::from(
        "# Where Ferrmod's tools differ from kmod, and why\n\n\
         Made from the table of the differential tests (`tests/tests/kmod/differences/table.rs`); every entry is shown to be true\n\
         in each run, and everything else is compared byte for byte with kmod 34.2, or with kmod 30 for options that 34 dropped.\n",
    );
    for entry in TABLE {
        let _ = write!(
            text,
            "\n## {}\n\n* **kmod:** {}\n* **Ferrmod:** {}\n* **Why:** {}\n",
            entry.title, entry.kmod, entry.ours, entry.reason
        );
    }
    text
}
