//! `--json`: one document, one line.

use serde::Serialize;

use crate::output::Output;

/// Writes `document` and ends the line.
pub(crate) fn write(out: &mut Output, document: &impl Serialize) {
    // The output keeps its own failures; nothing in a document of ours can fail to be written.
    let _ = serde_json::to_writer(&mut *out, document);
    out.add(b"\n");
}
