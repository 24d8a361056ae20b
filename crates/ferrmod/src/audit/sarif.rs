//! An audit as SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format).

use std::fmt::Write;

use ferrmod_audit::{Audit, Finding, Rule, Severity};
use serde_json::{Value, json};

use crate::exit::Failure;

/// The schema, as the standard names it.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The document.
///
/// # Errors
/// None that can happen: there is nothing in it that JSON has no form for.
pub(super) fn document(audit: &Audit, exit_code: u8) -> Result<String, Failure> {
    let rules: Vec<Value> = Rule::ALL.iter().map(|rule| descriptor(*rule)).collect();
    // What could not be looked at is no result about a module, but something that the tool has to say of its run.
    let (unchecked, found): (Vec<&Finding>, Vec<&Finding>) =
        audit.findings.iter().partition(|finding| finding.rule == Rule::Unchecked);
    let notifications: Vec<Value> = unchecked.into_iter().map(notification).collect();
    let results: Vec<Value> = found.into_iter().map(result).collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "ferrmod audit",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "invocations": [{
                "executionSuccessful": true,
                "exitCode": exit_code,
                "toolExecutionNotifications": notifications,
            }],
            "properties": { "subject": audit.subject, "kernels": audit.releases() },
            "results": results,
        }],
    });
    Ok(serde_json::to_string_pretty(&document).map_err(std::io::Error::from)?)
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Serious => "error",
        Severity::Warning => "warning",
        Severity::Information => "note",
    }
}

fn descriptor(rule: Rule) -> Value {
    json!({
        "id": rule.id(),
        "shortDescription": { "text": format!("{}.", rule.title()) },
        "help": { "text": rule.advice() },
        "defaultConfiguration": { "level": level(rule.severity()) },
    })
}

fn notification(finding: &Finding) -> Value {
    json!({ "level": level(finding.severity), "message": { "text": finding.message }, "descriptor": { "id": finding.rule.id() } })
}

fn result(finding: &Finding) -> Value {
    let mut location = serde_json::Map::new();
    if let Some(place) = &finding.place {
        location.insert("physicalLocation".into(), json!({ "artifactLocation": { "uri": uri(place) } }));
    }
    if let Some(module) = &finding.module {
        location.insert("logicalLocations".into(), json!([{ "name": module, "kind": "module" }]));
    }
    let locations = if location.is_empty() { json!([]) } else { json!([location]) };
    let subject = finding.module.as_deref().unwrap_or_default();
    let text = match subject {
        "" => finding.message.clone(),
        module => format!("{module}: {}", finding.message),
    };
    json!({
        "ruleId": finding.rule.id(),
        "ruleIndex": Rule::ALL.iter().position(|rule| *rule == finding.rule),
        "level": level(finding.severity),
        "message": { "text": text },
        "locations": locations,
        // What stays the same from run to run, so that a finding is known again.
        "partialFingerprints": { "ruleAndModule/v1": format!("{}/{subject}", finding.rule.id()) },
        "properties": { "evidence": finding.evidence },
    })
}

/// A path as a URI reference: everything but what a path may have plainly is escaped.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("/lib/modules/a b+c.ko"), "file:///lib/modules/a%20b+c.ko");
        assert_eq!(uri("x:y"), "x%3Ay");
    }
}
