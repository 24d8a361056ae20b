//! `--json` of depmod: see docs/schema/depmod.md.

use bstr::{BStr, ByteSlice};
use ferrmod_index::depmod::{Built, Difference, Fault, IndexFile, Options};
use serde_json::{Map, Value, json};

use super::messages::path_text;
use crate::output::Output;

/// Name and version of the documents' form.
const SCHEMA: &str = "ferrmod.depmod/1";

fn text(bytes: &[u8]) -> Value {
    Value::String(bytes.to_str_lossy().into_owned())
}

/// Writes what the index says.
pub(super) fn index(out: &mut Output, options: &Options<'_>, built: &Built) {
    let lines = |name: &str| -> Vec<&[u8]> {
        let file = built.files().iter().find(|file: &&IndexFile| file.name == name);
        let lines = file.map(|file| file.bytes.lines()).into_iter().flatten();
        lines.filter(|line| !line.starts_with(b"#")).collect()
    };
    let dependencies: Vec<Value> = lines("modules.dep")
        .into_iter()
        .filter_map(|line| {
            let (path, needs) = line.split_once_str(b":")?;
            let needs: Vec<Value> = needs.split_str(b" ").filter(|path| !path.is_empty()).map(text).collect();
            Some(json!({ "path": text(path), "needs": needs }))
        })
        .collect();
    // Each line is a word that says what it is, a key, and the rest.
    let pairs = |name: &str, key: &str, value: &str, module_first: bool| -> Vec<Value> {
        lines(name)
            .into_iter()
            .filter_map(|line| {
                let (_, rest) = line.split_once_str(b" ")?;
                let (first, second) = if module_first {
                    rest.split_once_str(b" ")?
                } else {
                    // An alias may have spaces in it, and a module's name has none.
                    let place = rest.rfind_byte(b' ')?;
                    (rest.get(..place)?, rest.get(place + 1..)?)
                };
                Some(json!({ key: text(first), value: text(second) }))
            })
            .collect()
    };
    let mut document = Map::new();
    document.insert("schema".into(), SCHEMA.into());
    document.insert("tree".into(), text(path_text(&options.tree_folder())));
    document.insert("modules".into(), dependencies.into());
    document.insert("aliases".into(), pairs("modules.alias", "alias", "module", false).into());
    document.insert("softdeps".into(), pairs("modules.softdep", "module", "text", true).into());
    document.insert("weakdeps".into(), pairs("modules.weakdep", "module", "text", true).into());
    document.insert("symbols".into(), pairs("modules.symbols", "symbol", "module", false).into());
    let devnames: Vec<Value> = lines("modules.devname")
        .into_iter()
        .filter_map(|line| {
            let mut words = line.split_str(b" ").map(text);
            Some(json!({ "module": words.next()?, "node": words.next()?, "device": words.next()? }))
        })
        .collect();
    document.insert("devnames".into(), devnames.into());
    document.insert("unreadable".into(), built.broken.into());
    crate::json::write(out, &Value::Object(document));
}

/// Writes what is not as it should be.
pub(super) fn check(out: &mut Output, options: &Options<'_>, built: &Built, differences: &[Difference]) {
    let line = |line: &Option<Vec<u8>>| line.as_ref().map(|line| BStr::new(line).to_string());
    let differences: Vec<Value> = differences
        .iter()
        .map(|difference| match &difference.fault {
            Fault::Unreadable { text } => {
                let words = text.split(" (os error").next().unwrap_or_default();
                json!({ "file": difference.name, "unreadable": words })
            }
            Fault::Line { number, found, wanted } => {
                json!({ "file": difference.name, "line": number, "found": line(found), "wanted": line(wanted) })
            }
            Fault::Byte { at, found, wanted } => {
                json!({ "file": difference.name, "byte": at, "size": found, "wanted_size": wanted })
            }
        })
        .collect();
    let document = json!({
        "schema": SCHEMA,
        "tree": options.tree_folder().to_string_lossy(),
        "current": differences.is_empty(),
        "modules": built.modules,
        "unreadable": built.broken,
        "differences": differences,
    });
    crate::json::write(out, &document);
}
