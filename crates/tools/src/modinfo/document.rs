//! `modinfo --json` (docs/schema/modinfo.md).

use std::path::Path;

use bstr::{BStr, ByteSlice};
use ferrmod_signature::Summary;
use serde_json::{Map, Value, json};

use super::fields::{Parameters, SIGNATURE, split};
use super::read::hexadecimal;

/// The schema's name and version.
pub(super) const SCHEMA: &str = "ferrmod.modinfo/1";

/// Of a module in a file.
pub(super) fn of_file<'a>(
    name: &BStr,
    shown: &Path,
    strings: impl Iterator<Item = &'a [u8]>,
    summary: Option<&Summary<'_>>,
    field: Option<&BStr>,
) -> Value {
    let mut document = fields(name, strings, field);
    document.insert("filename".into(), shown.to_string_lossy().into());
    document.insert("builtin".into(), false.into());
    let wanted = field.is_none_or(|field| SIGNATURE.contains(&field.as_bytes()));
    if wanted {
        document.insert("signature".into(), summary.map_or(Value::Null, signature));
    }
    document.into()
}

/// Of a module in the kernel.
pub(super) fn of_builtin<'a>(name: &BStr, strings: impl Iterator<Item = &'a [u8]>, field: Option<&BStr>) -> Value {
    let mut document = fields(name, strings, field);
    document.insert("filename".into(), Value::Null);
    document.insert("builtin".into(), true.into());
    document.into()
}

/// Of what could not be read.
pub(super) fn of_problem(name: &BStr, shown: Option<&Path>, text: &str) -> Value {
    json!({
        "module": name.to_str_lossy(),
        "filename": shown.map(|shown| shown.to_string_lossy()),
        "error": text,
    })
}

fn fields<'a>(name: &BStr, strings: impl Iterator<Item = &'a [u8]>, field: Option<&BStr>) -> Map<String, Value> {
    let mut parameters = Parameters::default();
    let mut fields = Vec::new();
    for string in strings {
        let (key, value) = split(string);
        let wanted = field.is_none_or(|field| field == key || (field == "parm" && key == b"parmtype"));
        // A parameter without a name is shown as it is.
        if wanted && !parameters.take(key, value).unwrap_or(false) {
            fields.push(json!({ "key": key.to_str_lossy(), "value": value.to_str_lossy() }));
        }
    }
    let parameters: Vec<Value> = parameters
        .list
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name.to_str_lossy(),
                "description": parameter.description.as_ref().map(|text| text.to_str_lossy()),
                "type": parameter.kind.as_ref().map(|text| text.to_str_lossy()),
            })
        })
        .collect();
    let mut document = Map::new();
    document.insert("module".into(), name.to_str_lossy().into());
    document.insert("fields".into(), fields.into());
    document.insert("parameters".into(), parameters.into());
    document
}

fn signature(summary: &Summary<'_>) -> Value {
    let text = |bytes: &[u8]| {
        let mut text = Vec::new();
        hexadecimal(bytes, &mut text);
        text.retain(|byte| !byte.is_ascii_whitespace());
        text.to_str_lossy().into_owned()
    };
    json!({
        "id": summary.id,
        "signer": summary.signer.map(|signer| signer.to_str_lossy()),
        "key": text(summary.key),
        "key_is_identifier": summary.key_is_identifier,
        "hash": summary.digest,
        "signature": text(summary.signature),
    })
}
