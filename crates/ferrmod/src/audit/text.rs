//! An audit as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use ferrmod_audit::{Audit, Finding, Rule, Severity, Signature, Subject, Taint};

use crate::output::{BAD, DIM, GOOD, HEAD, NOTE};

/// How many findings of one rule have a line each when not all are asked for.
const MOST: usize = 5;

/// How many names stand in a line of findings that were taken together.
const NAMES: usize = 12;

/// The text of `audit`; with `modules`, each module has a line, and with `all`, each finding.
pub(super) fn text(audit: &Audit, modules: bool, all: bool) -> String {
    let mut out = String::new();
    head(&mut out, audit);
    if modules {
        table(&mut out, audit);
    }
    for severity in Severity::ALL {
        section(&mut out, audit, severity, all);
    }
    settings(&mut out, audit);
    views(&mut out, audit);
    summary(&mut out, audit);
    out
}

fn head(out: &mut String, audit: &Audit) {
    for tree in &audit.trees {
        let modules = audit.modules.iter().filter(|module| module.release == tree.release).count();
        let release = if tree.release.is_empty() { "a kernel that does not say its release" } else { &tree.release };
        let _ = write!(out, "{HEAD}{release}{HEAD:#}: {modules} {} {}", plural(modules, "module"), audit.subject);
        if let Some(bits) = audit.tainted {
            let _ = match bits {
                0 => write!(out, ", not tainted"),
                bits => write!(out, ", tainted {bits} ({})", Taint::letters(bits)),
            };
        }
        let certificates = tree.certificates;
        let _ = match (&tree.folder, certificates) {
            (Some(folder), 0) => write!(out, "; files in {folder}"),
            (Some(folder), _) => {
                let vouch = if certificates == 1 { "vouches" } else { "vouch" };
                write!(
                    out,
                    "; files in {folder}, for which {certificates} {} {vouch}",
                    plural(certificates, "certificate")
                )
            }
            (None, _) => Ok(()),
        };
        out.push('\n');
    }
}

/// A line for each module.
fn table(out: &mut String, audit: &Audit) {
    let width = audit.modules.iter().map(|module| module.name.chars().count()).max().unwrap_or(0).clamp(6, 32);
    let _ = writeln!(
        out,
        "\n{HEAD}{:<width$}  {:>8}  {:>5}  {:<6}  vouched for by{HEAD:#}",
        "module", "size", "used", "taints"
    );
    for module in &audit.modules {
        let loaded = module.loaded.as_ref();
        let size = loaded.map(|loaded| loaded.size.to_string()).unwrap_or_default();
        let used = loaded.and_then(|loaded| loaded.references).map(|used| used.to_string()).unwrap_or_default();
        let taints = loaded.map(|loaded| loaded.taints.as_str()).unwrap_or_default();
        let signature = module.file.as_ref().map(|file| &file.signature);
        let by = match signature {
            Some(Signature::Signed { signer, .. }) => signer.clone(),
            Some(Signature::Altered { signer, .. }) => format!("{signer} {NOTE}(altered message){NOTE:#}"),
            Some(Signature::Unsigned) => format!("{NOTE}nobody{NOTE:#}"),
            Some(Signature::Unknown { reason }) => format!("{NOTE}{reason}{NOTE:#}"),
            Some(Signature::Bad { reason, .. }) => format!("{BAD}{reason}{BAD:#}"),
            Some(Signature::Unverified { signer }) => format!("{signer} {DIM}(not verified){DIM:#}"),
            Some(Signature::Unread) => format!("{NOTE}a file that cannot be read{NOTE:#}"),
            None => format!("{DIM}no file{DIM:#}"),
        };
        let _ = writeln!(out, "{:<width$}  {size:>8}  {used:>5}  {taints:<6}  {by}", module.name);
    }
}

/// `word`, or more of it.
fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// Whether a finding is told where the settings or views are.
fn told_elsewhere(finding: &Finding) -> bool {
    finding.rule == Rule::SettingOpen
}

fn section(out: &mut String, audit: &Audit, severity: Severity, all: bool) {
    let mut rules: BTreeMap<Rule, Vec<&Finding>> = BTreeMap::new();
    for finding in audit.findings.iter().filter(|finding| finding.severity == severity && !told_elsewhere(finding)) {
        rules.entry(finding.rule).or_default().push(finding);
    }
    if rules.is_empty() {
        return;
    }
    let style = match severity {
        Severity::Serious => BAD,
        Severity::Warning => NOTE,
        Severity::Information => HEAD,
    };
    let _ = writeln!(out, "\n{style}{}{style:#}", severity.name());
    let shown = |rule: Rule, findings: usize| all || findings <= MOST || rule == Rule::Unchecked;
    let width = rules.iter().filter(|(rule, findings)| shown(**rule, findings.len()));
    let width = width.flat_map(|(_, findings)| findings).filter_map(|finding| finding.module.as_ref());
    let width = width.map(|name| name.chars().count()).max().unwrap_or(0).min(32);
    for (rule, findings) in rules {
        if shown(rule, findings.len()) {
            for finding in findings {
                let name = finding.module.as_deref().unwrap_or(if width == 0 { "" } else { "-" });
                let gap = if width == 0 { "" } else { "  " };
                let _ = writeln!(out, "  {:<18}  {name:<width$}{gap}{}", rule.id(), finding.message);
            }
        } else {
            together(out, rule, &findings);
        }
    }
}

/// Many findings of one rule in two lines.
fn together(out: &mut String, rule: Rule, findings: &[&Finding]) {
    let mut names: Vec<&str> = findings.iter().filter_map(|finding| finding.module.as_deref()).collect();
    names.dedup();
    let _ = writeln!(out, "  {:<18}  {} times: {}", rule.id(), findings.len(), rule.title());
    if !names.is_empty() {
        let more = if names.len() > NAMES { ", … (--all has them all)" } else { "" };
        names.truncate(NAMES);
        let _ = writeln!(out, "  {:<18}  {DIM}{}{more}{DIM:#}", "", names.join(", "));
    }
}

fn settings(out: &mut String, audit: &Audit) {
    if audit.settings.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{HEAD}settings{HEAD:#}");
    for setting in &audit.settings {
        let word = match setting.on {
            Some(true) => format!("{GOOD}on {GOOD:#}"),
            Some(false) => format!("{NOTE}off{NOTE:#}"),
            None => "?  ".to_owned(),
        };
        let value = setting.value.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
        let _ = writeln!(out, "  {word}  {}{value}: {}", setting.name, setting.meaning);
        let verb = if setting.on == Some(true) { "stops" } else { "would stop" };
        let _ = writeln!(out, "       {DIM}{verb} {}{DIM:#}", setting.stops);
    }
}

fn views(out: &mut String, audit: &Audit) {
    if audit.subject != Subject::Loaded {
        return;
    }
    let _ = writeln!(out, "\n{HEAD}views of what is loaded{HEAD:#}");
    for view in &audit.views {
        let _ = match &view.unreadable {
            None => writeln!(out, "  {:>5}  {}", view.modules, view.view),
            Some(reason) => writeln!(out, "      ?  {}: {reason}", view.view),
        };
    }
}

fn summary(out: &mut String, audit: &Audit) {
    let count = |severity| audit.findings.iter().filter(|finding| finding.severity == severity).count();
    let parts: Vec<String> = Severity::ALL
        .into_iter()
        .map(|severity| (count(severity), severity))
        .filter(|(count, _)| *count > 0)
        .map(|(count, severity)| match severity {
            Severity::Warning => format!("{count} {}", plural(count, "warning")),
            severity => format!("{count} {}", severity.name()),
        })
        .collect();
    let said = if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") };
    let _ = writeln!(out, "\n{said}");
}
