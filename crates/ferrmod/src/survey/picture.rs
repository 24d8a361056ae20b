//! A survey for people: lines, a table by family, and a page of what differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Report;
use super::one::Finding;
use crate::output::{BAD, DIM, GOOD, HEAD, NOTE};
use crate::report::Ended;

/// What a table counts.
#[derive(Default)]
struct Count {
    modules: usize,
    loaded: usize,
    refused: usize,
    wrong: usize,
    untidy: usize,
    recorded: usize,
    agree: usize,
}

impl Count {
    fn add(&mut self, finding: &Finding) {
        self.modules += 1;
        self.wrong += usize::from(finding.went_wrong());
        self.loaded += usize::from(finding.init == Ended::Ok && finding.is_clean());
        self.refused += usize::from(matches!(finding.init, Ended::Error { .. }) && finding.is_clean());
        self.untidy += usize::from(!finding.went_wrong() && !finding.is_clean());
        self.recorded += usize::from(finding.agrees.is_some());
        self.agree += usize::from(finding.agrees == Some(true));
    }

    fn row(&self, name: &str) -> String {
        let compared = match self.recorded {
            0 => String::new(),
            recorded => format!(" {:>7} {:>5.1} %", self.agree, 100.0 * self.agree as f64 / recorded as f64),
        };
        format!(
            "{name:<28} {:>7} {:>7} {:>7} {:>7} {:>7}{compared}",
            self.modules, self.loaded, self.refused, self.untidy, self.wrong
        )
    }
}

/// The family of a module: its first folders in the tree, without `kernel`.
fn family(path: &str) -> String {
    let mut folders: Vec<&str> = path.split('/').skip_while(|part| *part == "kernel").collect();
    folders.pop();
    folders.truncate(2);
    folders.join("/")
}

/// The table of families, with the sum of all below.
pub(super) fn table(findings: &[Finding]) -> String {
    let mut families: BTreeMap<String, Count> = BTreeMap::new();
    let mut all = Count::default();
    for finding in findings {
        families.entry(family(&finding.path)).or_default().add(finding);
        all.add(finding);
    }
    let compared = if all.recorded == 0 { "" } else { " agree with Linux" };
    let mut out = format!(
        "{HEAD}{:<28} {:>7} {:>7} {:>7} {:>7} {:>7}{compared}{HEAD:#}\n",
        "Family", "modules", "clean", "refused", "untidy", "wrong"
    );
    for (name, count) in &families {
        let style = if count.wrong + count.untidy == 0 { GOOD } else { NOTE };
        let _ = writeln!(out, "{style}{}{style:#}", count.row(name));
    }
    let _ = writeln!(out, "{HEAD}{}{HEAD:#}", all.row("all"));
    out
}

/// Whether there is something to say about a module.
fn is_notable(finding: &Finding) -> bool {
    match finding.agrees {
        // A recording of a kernel that does not look for it says nothing about where tasks slept.
        Some(agrees) => !agrees || !finding.atomic_sleeps.is_empty(),
        None => !finding.is_clean(),
    }
}

/// A line a module: those there is something to say about, or all.
pub(super) fn lines(findings: &[Finding], all: bool) -> String {
    let mut out = String::new();
    for finding in findings.iter().filter(|finding| all || is_notable(finding)) {
        let style = if is_notable(finding) { BAD } else { GOOD };
        let reason = finding.reason();
        let said = if reason.is_empty() { "ok" } else { &reason };
        let _ = write!(out, "{style}{}{style:#}: {said}", finding.path);
        if all && !finding.registered.is_empty() {
            let _ = write!(out, " {DIM}({}){DIM:#}", finding.registered.join(", "));
        }
        out.push('\n');
    }
    out
}

/// The page about what differs, in Markdown.
pub(super) fn page(report: &Report) -> String {
    let mut all = Count::default();
    report.modules.iter().for_each(|finding| all.add(finding));
    let notable: Vec<&Finding> = report.modules.iter().filter(|finding| is_notable(finding)).collect();
    let way = if report.modprobe { "" } else { " without modprobe (no soft dependencies, no answered requests)" };
    let mut out = format!(
        "# Survey of Linux {}\n\nMade by `ferrmod survey --markdown`. Each of the {} modules was loaded behind its dependencies in a machine \
         of its own{way}, and everything was unloaded again.\n\n",
        report.kernel, all.modules
    );
    let _ = writeln!(out, "* {} loaded and unloaded, and left nothing behind", all.loaded);
    let _ = writeln!(out, "* {} refused with an error of their own, and left nothing behind", all.refused);
    let _ = writeln!(out, "* {} left something behind or did not unload", all.untidy);
    let _ = writeln!(out, "* {} went wrong (an oops, an endless sleep, a time-out, a forbidden sleep)", all.wrong);
    if all.recorded > 0 {
        let share = 100.0 * all.agree as f64 / all.recorded as f64;
        let _ = writeln!(out, "* {} of {} ({share:.1} %) did exactly what Linux did", all.agree, all.recorded);
    }
    // By what is missing most, which is what to do next.
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    for name in notable.iter().flat_map(|finding| &finding.called) {
        *missing.entry(name).or_default() += 1;
    }
    let mut missing: Vec<_> = missing.into_iter().collect();
    missing.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    if !missing.is_empty() {
        out.push_str("\n## Called, and provided by nobody\n\n| symbol | modules |\n|---|---|\n");
        for (name, count) in missing {
            let _ = writeln!(out, "| `{name}` | {count} |");
        }
    }
    if !notable.is_empty() {
        let title = if all.recorded > 0 { "Not as on Linux" } else { "Not clean" };
        let _ = writeln!(out, "\n## {title}\n\n| module | why |\n|---|---|");
        for finding in notable {
            let _ = writeln!(out, "| `{}` | {} |", finding.path, finding.reason().replace('|', "\\|"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_two_folders() {
        assert_eq!(family("kernel/drivers/net/ethernet/intel/e1000.ko"), "drivers/net");
        assert_eq!(family("kernel/lib/crc7.ko"), "lib");
        assert_eq!(family("crc7.ko"), "");
    }
}
