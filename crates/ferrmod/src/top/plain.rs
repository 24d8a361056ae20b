//! One frame for a script or a pipe.

use ferrmod_plan::graph::{Loaded, Stays};
use serde::Serialize;

use super::model::Model;
use super::source::{Parameter, Source};
use super::view;
use crate::exit::Failure;
use crate::output::HEAD;

/// The name and version of the JSON schema (docs/schema/top.md).
const SCHEMA: &str = "ferrmod.top/1";

/// The document of `--json`.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report<'a> {
    schema: &'static str,
    /// The kernel's release; empty when it is not known.
    kernel: &'a str,
    /// The loaded modules, in the order that was asked for.
    modules: Vec<Module<'a>>,
}

/// A loaded module.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Module<'a> {
    /// Its name, with `_`.
    name: &'a str,
    /// The letters of its taints.
    taints: &'a str,
    /// Size, references, holders, state.
    #[serde(flatten)]
    loaded: &'a Loaded,
    /// Why it cannot be removed; empty when it can.
    stays: &'a [Stays],
    /// Its parameters.
    parameters: Vec<Parameter>,
    /// What the kernel's log says about it, the newest last.
    log: Vec<String>,
}

/// The document of `--json`.
///
/// # Errors
/// [`Failure::Output`], which does not happen.
pub(super) fn json(model: &Model, source: &mut dyn Source) -> Result<String, Failure> {
    let modules = model.listed().into_iter().map(|row| {
        let detail = source.detail(&row.module.name);
        Module {
            name: &row.module.name,
            taints: &row.module.taints,
            loaded: &row.module.loaded,
            stays: &row.stays,
            parameters: detail.parameters,
            log: detail.log,
        }
    });
    let report = Report { schema: SCHEMA, kernel: &model.snapshot.kernel, modules: modules.collect() };
    Ok(serde_json::to_string_pretty(&report).map_err(std::io::Error::other)? + "\n")
}

/// The table as the live view has it, with all modules.
pub(super) fn table(model: &Model) -> String {
    let with_owned = view::with_owned(model);
    let (cells, rest) = view::head(with_owned);
    let mut out = format!("{HEAD}{}  {rest}{HEAD:#}\n", cells.join(" "));
    for row in model.listed() {
        let (cells, rest) = view::cells(row, with_owned);
        out.push_str(format!("{}  {rest}", cells.join(" ")).trim_end());
        out.push('\n');
    }
    out
}
