//! `--json` (docs/schema/modprobe.md).

use bstr::{BStr, ByteSlice};
use ferrmod_config::{Entry, Place};
use ferrmod_plan::kmod::{
    Action, Forbidden, How, Kept, Module, Probe, Reason, Remove, RemoveAction, RemoveReason, Step, Table,
};
use serde_json::{Value, json};

use super::Context;
use super::showconfig::KINDS;
use crate::json::write;
use crate::output::Output;

/// Of `-n` and `-D`.
pub(super) const PROBE: &str = "ferrmod.modprobe.probe/1";
/// Of `-R`.
pub(super) const RESOLVE: &str = "ferrmod.modprobe.resolve/1";
/// Of `-r -n`.
pub(super) const REMOVE: &str = "ferrmod.modprobe.remove/1";
/// Of `-c`.
const CONFIG: &str = "ferrmod.modprobe.config/1";
/// Of `--show-modversions`.
pub(super) const MODVERSIONS: &str = "ferrmod.modprobe.modversions/1";
/// Of `--show-exports`.
pub(super) const EXPORTS: &str = "ferrmod.modprobe.exports/1";

fn text(bytes: &[u8]) -> String {
    bytes.to_str_lossy().into_owned()
}

/// A document of requests.
pub(super) fn requests(out: &mut Output, schema: &str, requests: Vec<Value>) {
    write(out, &json!({ "schema": schema, "requests": requests }));
}

/// One operand.
pub(super) fn request(name: &BStr, modules: Vec<Value>) -> Value {
    json!({ "name": text(name), "modules": modules })
}

/// A line of a configuration.
fn entry(entry: &Entry<'_>) -> Value {
    let file = match entry.origin.place {
        Place::File(path) => Some(path.to_string_lossy()),
        Place::CommandLine => None,
    };
    json!({
        "directive": entry.kind.word(),
        "name": text(entry.name),
        "value": text(entry.value),
        "file": file,
        "line": entry.origin.line,
    })
}

fn how(module: &Module<'_>) -> Value {
    let (source, pattern, line) = match &module.how {
        How::Path => ("file", None, None),
        How::ConfiguredAlias(line) => ("configuration", None, Some(line)),
        How::Command(line) => ("configuration", None, Some(line)),
        How::Name | How::Dependency => ("modules.dep", None, None),
        How::Symbol => ("modules.symbols", None, None),
        How::Alias(pattern) => ("modules.alias", Some(pattern), None),
        How::Builtin => ("modules.builtin", None, None),
        How::BuiltinAlias(pattern) => ("modules.builtin.alias", Some(pattern), None),
    };
    json!({ "source": source, "pattern": pattern.map(|pattern| text(pattern)), "line": line.map(entry) })
}

/// A module that a name stands for.
pub(super) fn module(module: &Module<'_>) -> Value {
    json!({
        "module": text(&module.name),
        "alias": module.alias.as_ref().map(|alias| text(alias)),
        "filename": module.file.as_ref().map(|file| file.shown.to_string_lossy()),
        "found": how(module),
    })
}

fn with(module_: &Module<'_>, members: Value) -> Value {
    let mut document = module(module_);
    if let (Value::Object(document), Value::Object(members)) = (&mut document, members) {
        document.extend(members);
    }
    document
}

/// A module that is in the kernel already.
pub(super) fn loaded(module: &Module<'_>) -> Value {
    with(module, json!({ "loaded": true, "blacklist": null, "missing": [], "steps": [] }))
}

/// A module that the blacklist keeps out.
pub(super) fn blacklisted(module: &Module<'_>, line: &Entry<'_>) -> Value {
    with(module, json!({ "loaded": false, "blacklist": entry(line), "missing": [], "steps": [] }))
}

/// What it takes to load a module.
pub(super) fn probe(context: &Context<'_>, module: &Module<'_>, probe: &Probe<'_>, parameters: &[u8]) -> Value {
    let missing = probe.missing.iter().map(|missing| {
        json!({
            "module": text(&missing.module),
            "filename": missing.file.shown.to_string_lossy(),
            "error": std::io::Error::from(missing.error).to_string(),
        })
    });
    let steps = probe.steps.iter().map(|found| step(context, found, parameters));
    let (missing, steps): (Vec<Value>, Vec<Value>) = (missing.collect(), steps.collect());
    with(module, json!({ "loaded": false, "blacklist": null, "missing": missing, "steps": steps }))
}

fn step(context: &Context<'_>, step: &Step<'_>, parameters: &[u8]) -> Value {
    let (action, line) = match &step.action {
        Action::Insert(_) => ("insmod", None),
        Action::Run(line) => ("install", Some(line)),
        Action::Builtin => ("builtin", None),
        Action::Absent => ("absent", None),
        Action::Forbidden(Forbidden::Masked(line)) => ("masked", Some(line)),
        Action::Forbidden(Forbidden::NotAllowed(line)) => ("not allowed", Some(line)),
    };
    let mut options = step.options_text();
    if step.target && !parameters.is_empty() {
        if !options.is_empty() {
            options.push(b' ');
        }
        options.extend_from_slice(parameters);
    }
    let reason = match &step.reason {
        Reason::Asked => json!({ "kind": "asked" }),
        Reason::NeededBy(module) => json!({ "kind": "dependency", "of": text(module) }),
        Reason::SoftdepOf { module, before, entry: line } => json!({
            "kind": if *before { "softdep pre" } else { "softdep post" },
            "of": text(module),
            "line": entry(line),
        }),
    };
    let loaded = context.modules.state_of(&step.module, context.live).is_in_kernel();
    with(
        &step.module,
        json!({
            "action": action,
            "line": line.map(entry),
            "options": text(&options),
            "options_lines": step.options.iter().map(entry).collect::<Vec<_>>(),
            "reason": reason,
            "target": step.target,
            "required": step.required,
            "loaded": loaded,
        }),
    )
}

fn removal_reason(reason: &RemoveReason<'_>) -> Value {
    match reason {
        RemoveReason::Asked => json!({ "kind": "asked" }),
        RemoveReason::HolderOf(module) => json!({ "kind": "holder", "of": text(module) }),
        RemoveReason::UnusedBy(module) => json!({ "kind": "unused", "of": text(module) }),
        RemoveReason::SoftdepOf { module, entry: line } => {
            json!({ "kind": "softdep", "of": text(module), "line": entry(line) })
        }
    }
}

/// A module that is not removed.
pub(super) fn stays(name: &BStr, why: &Kept, reason: Option<&RemoveReason<'_>>) -> Value {
    let (why, references, holders) = match why {
        Kept::InUse { references, holders } => ("in use", Some(*references), holders.as_slice()),
        Kept::Builtin => ("builtin", None, &[][..]),
        Kept::NotLoaded => ("not loaded", None, &[][..]),
        Kept::NotFound => ("not found", None, &[][..]),
        Kept::TooDeep => ("too deep", None, &[][..]),
    };
    json!({
        "module": text(name),
        "why": why,
        "references": references,
        "holders": holders.iter().map(|holder| text(holder)).collect::<Vec<_>>(),
        "reason": reason.map(removal_reason),
    })
}

/// What it takes to remove a module.
pub(super) fn removal(
    module: &Module<'_>,
    steps: &[Remove<'_>],
    stays_too: &[Value],
    kept: Option<(&BStr, &Kept)>,
) -> Value {
    let steps = steps.iter().map(|step| {
        let (action, line) = match &step.action {
            RemoveAction::Delete => ("rmmod", None),
            RemoveAction::Run(line) => ("remove", Some(entry(line))),
        };
        json!({ "action": action, "module": text(&step.name), "line": line, "reason": removal_reason(&step.reason) })
    });
    let mut left: Vec<Value> = kept.iter().map(|(name, why)| stays(name, why, None)).collect();
    left.extend_from_slice(stays_too);
    let steps: Vec<Value> = steps.collect();
    with(module, json!({ "steps": steps, "stays": left }))
}

/// Symbols with their CRCs.
pub(super) fn symbols(out: &mut Output, schema: &str, file: &BStr, symbols: &[(u64, &[u8])]) {
    let symbols: Vec<Value> =
        symbols.iter().map(|(crc, name)| json!({ "name": text(name), "crc": format!("{crc:#010x}") })).collect();
    write(out, &json!({ "schema": schema, "file": text(file), "symbols": symbols }));
}

/// The configuration and the aliases of the tree.
pub(super) fn config(out: &mut Output, context: &Context<'_>) {
    let directives: Vec<Value> =
        KINDS.iter().flat_map(|&kind| context.modules.config.entries(kind)).map(|line| entry(&line)).collect();
    let table = |table| {
        let mut rows = Vec::new();
        context.modules.indexes.each(table, |key, priority, module| {
            rows.push(json!({ "alias": text(key), "module": text(module), "priority": priority }));
        });
        rows
    };
    let (aliases, symbols) = (table(Table::Aliases), table(Table::Symbols));
    write(out, &json!({ "schema": CONFIG, "directives": directives, "aliases": aliases, "symbols": symbols }));
}
