//! The JSON Schemas of every document that `--json` prints; `docs/schema` keeps them (`tests/schemas.rs`).
//!
//! A new report is one line in [`schemas`] and one row in `docs/json.md`.

use ferrmod_tools::schema_of;
use schemars::Schema;
use serde_json::{Value, json};

/// Name (`ferrmod.check/1`) and schema of each document, those of the tools included.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    let own = vec![
        ("ferrmod.audit/1", schema_of::<crate::audit::Report<'static>>()),
        ("ferrmod.audit.baseline/1", schema_of::<ferrmod_audit::Baseline>()),
        ("ferrmod.audit.event/1", schema_of::<crate::audit::Line<'static>>()),
        ("ferrmod.check/1", schema_of::<crate::check::Report>()),
        ("ferrmod.diff/1", schema_of::<crate::diff::Report>()),
        ("ferrmod.graph/1", schema_of::<crate::graph::Report<'static>>()),
        ("ferrmod.policy/1", schema_of::<crate::policy::Made<'static>>()),
        ("ferrmod.policy-record/1", schema_of::<ferrmod_plan::policy::Record>()),
        ("ferrmod.policy-simulation/1", schema_of::<crate::policy::Simulated<'static>>()),
        ("ferrmod.policy-test/1", schema_of::<crate::policy::Tested>()),
        ("ferrmod.run/1", schema_of::<crate::report::RunReport>()),
        ("ferrmod.sign/1", schema_of::<crate::sign::Report>()),
        ("ferrmod.survey/1", schema_of::<crate::survey::Report>()),
        ("ferrmod.top/1", schema_of::<crate::top::Report<'static>>()),
        ("ferrmod.verify/1", schema_of::<crate::verify::Report>()),
        ("ferrmod.why/1", schema_of::<crate::why::Report>()),
    ];
    own.into_iter().chain(ferrmod_tools::schemas()).map(|(name, schema)| (name, finished(name, schema))).collect()
}

/// The schema with its name: in its title, and as the only value of the member `schema`.
fn finished(name: &str, schema: Schema) -> Value {
    let mut schema = schema.to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("title".into(), name.into());
    }
    pin(&mut schema, name);
    schema
}

/// In the object itself, or in each of its kinds.
fn pin(schema: &mut Value, name: &str) {
    if let Some(member) = schema.pointer_mut("/properties/schema") {
        *member = json!({ "description": "Name and version of this form.", "const": name });
    }
    for list in ["anyOf", "oneOf"] {
        schema.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().for_each(|kind| pin(kind, name));
    }
}
