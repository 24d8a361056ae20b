//! An audit as OpenMetrics text (RFC draft draft-richih-opsawg-openmetrics, version 1.0), for a collector that reads it from a file.
//!
//! How many findings there are is a gauge: it is counted anew in each run, and a counter may never go down.

use std::collections::BTreeMap;
use std::fmt::Write;

use ferrmod_audit::{Audit, Rule};

/// The text.
pub(super) fn exposition(audit: &Audit) -> String {
    let mut out = Exposition::default();
    out.family("ferrmod_audit", "info", None, "What was looked at, and by which version.");
    for release in audit.releases() {
        let labels = [
            ("subject", audit.subject.to_string()),
            ("release", release),
            ("version", env!("CARGO_PKG_VERSION").into()),
        ];
        out.sample("_info", &labels, 1);
    }
    out.family("ferrmod_modules", "gauge", None, "How many modules were looked at.");
    out.sample("", &[], audit.modules.len() as i128);
    per_module(&mut out, audit);
    findings(&mut out, audit);
    out.family("ferrmod_view_modules", "gauge", None, "How many modules a view of the kernel's shows.");
    for view in audit.views.iter().filter(|view| view.unreadable.is_none()) {
        let name = serde_json::to_value(view.view).ok().and_then(|name| name.as_str().map(str::to_owned));
        out.sample("", &[("view", name.unwrap_or_default())], view.modules as i128);
    }
    out.family(
        "ferrmod_setting_protects",
        "gauge",
        None,
        "Whether a setting protects (1) or not (0); not there when it is not known.",
    );
    for setting in &audit.settings {
        if let Some(on) = setting.on {
            out.sample("", &[("setting", setting.name.to_owned())], i128::from(on));
        }
    }
    if let Some(bits) = audit.tainted {
        out.family("ferrmod_kernel_tainted", "gauge", None, "The taints of the kernel, a bit each.");
        out.sample("", &[], i128::from(bits));
    }
    out.text.push_str("# EOF\n");
    out.text
}

fn per_module(out: &mut Exposition, audit: &Audit) {
    let loaded = || audit.modules.iter().filter_map(|module| Some((&module.name, module.loaded.as_ref()?)));
    out.family("ferrmod_module_size_bytes", "gauge", Some("bytes"), "The memory that a loaded module takes.");
    for (name, loaded) in loaded() {
        out.sample("", &[("module", name.clone())], i128::from(loaded.size));
    }
    out.family("ferrmod_module_references", "gauge", None, "How many uses a loaded module has.");
    for (name, loaded) in loaded() {
        if let Some(references) = loaded.references {
            out.sample("", &[("module", name.clone())], i128::from(references));
        }
    }
    out.family("ferrmod_module_taint", "gauge", None, "1 for each taint that a loaded module has.");
    for (name, loaded) in loaded() {
        for letter in loaded.taints.chars() {
            out.sample("", &[("module", name.clone()), ("taint", letter.to_string())], 1);
        }
    }
}

fn findings(out: &mut Exposition, audit: &Audit) {
    out.family("ferrmod_findings", "gauge", None, "How many findings of a rule there are.");
    // A rule that has found nothing says so, so that its first finding is a step and not a new series.
    let mut counts: BTreeMap<(Rule, &str), i128> =
        Rule::ALL.iter().map(|rule| ((*rule, rule.severity().name()), 0)).collect();
    for finding in &audit.findings {
        *counts.entry((finding.rule, finding.severity.name())).or_default() += 1;
    }
    for ((rule, severity), count) in counts {
        out.sample("", &[("rule", rule.id().to_owned()), ("severity", severity.to_owned())], count);
    }
}

/// The text as it grows.
#[derive(Default)]
struct Exposition {
    text: String,
    family: &'static str,
    /// The samples of the family so far: none may come twice.
    seen: std::collections::BTreeSet<String>,
}

impl Exposition {
    /// Begins a family of metrics.
    fn family(&mut self, name: &'static str, kind: &str, unit: Option<&str>, help: &str) {
        self.family = name;
        self.seen.clear();
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        if let Some(unit) = unit {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {}", escaped(help));
    }

    /// A sample of the family that was begun last.
    fn sample(&mut self, suffix: &str, labels: &[(&str, String)], value: i128) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        if self.seen.insert(labels.clone()) {
            let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.family);
        }
    }
}

/// A label's value or a help text: `escaped-string` of the grammar.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
