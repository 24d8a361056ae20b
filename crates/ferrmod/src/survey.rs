//! `ferrmod survey`: every module of a tree, each in a machine of its own.
//!
//! A module is loaded behind its dependencies, looked at, and everything is unloaded; then the machine is thrown away. What
//! came of it is compared with what another kernel did, if there is a recording of that.

mod one;
mod picture;
mod reference;

use std::path::{Path, PathBuf};

use ferrmod_index::{Index, ModuleFile, Tree as Folder, in_parallel, with_threads};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::Survey;
use crate::exit::{Exit, Failure};
use crate::kernel_image;
use crate::output;
use crate::replace::replace;
use crate::tree::running_release;
use one::{Finding, Stage};
use reference::Reference;

/// The name and version of the JSON schema (docs/schema/survey.md).
const SCHEMA: &str = "ferrmod.survey/1";

/// Everything a survey found, in the order of the modules' paths.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Report {
    schema: &'static str,
    /// The release of the kernel whose modules they are.
    kernel: String,
    /// Whether soft dependencies and requests of modules were answered.
    modprobe: bool,
    modules: Vec<Finding>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when there is no tree, no image of its kernel, or no recording where one was named.
pub(crate) fn survey(args: &Survey) -> Result<Exit, Failure> {
    let reference = args.compare.as_deref().map(Reference::read).transpose()?;
    let image = args.kernel.as_ref().map(PathBuf::from).filter(|path| path.is_file());
    let release = match (&args.kernel, &image) {
        (Some(release), None) => Some(release.to_string_lossy().into_owned()),
        _ => None,
    };
    let folder = args.tree.clone().unwrap_or_else(|| "/lib/modules".into());
    let release = release.or_else(|| args.tree.is_none().then(running_release).flatten());
    let tree = Folder::find(&folder, release.as_deref()).map_err(|error| Failure::Tree(error.to_string()))?;
    let release = tree.release.clone();
    let facts = kernel_image::facts(&release, image.as_deref(), Some(&folder), &[])?;
    let index = Index::new(tree);
    let modules = chosen(&index, &args.only)?;
    if modules.is_empty() {
        return Err(Failure::Tree(format!("{}: no module to look at", folder.display())));
    }
    let root = index.tree().folder.clone();
    let stage = Stage {
        index: std::sync::Arc::new(index),
        facts,
        timeout: args.timeout,
        cpus: args.cpus,
        checks: args.heap.into(),
        modprobe: !args.no_modprobe,
    };
    let mut findings = run(&stage, &modules, &root, args.jobs.map(usize::from));
    if let Some(reference) = &reference {
        findings.iter_mut().for_each(|finding| finding.compare(reference));
    }
    let report = Report { schema: SCHEMA, kernel: release, modprobe: stage.modprobe, modules: findings };
    show(args, &report)?;
    Ok(exit(&report.modules, reference.is_some()))
}

/// The modules whose path in the tree has one of `only` in it, or all of them, in the order of their paths.
fn chosen(index: &Index, only: &[String]) -> Result<Vec<ModuleFile>, Failure> {
    let mut modules = index.modules().map_err(|error| Failure::Tree(error.to_string()))?;
    let inside = |path: &Path| path.strip_prefix(&index.tree().folder).unwrap_or(path).to_string_lossy().into_owned();
    modules.retain(|module| {
        let path = inside(&module.path);
        only.is_empty() || only.iter().any(|part| path.contains(part.as_str()))
    });
    modules.sort_by(|one, other| one.path.cmp(&other.path));
    // Of several files of one name the first counts, as in every look-up.
    let mut seen = std::collections::HashSet::new();
    modules.retain(|module| seen.insert(module.name.clone()));
    Ok(modules)
}

/// Looks at all of `modules`, in their order, `jobs` of them at a time.
fn run(stage: &Stage, modules: &[ModuleFile], root: &Path, jobs: Option<usize>) -> Vec<Finding> {
    let bar = ProgressBar::new(modules.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {bar:30} {elapsed} (about {eta} to go) {msg}") {
        bar.set_style(style);
    }
    let look = |module: &ModuleFile| {
        let finding = stage.look(module, root);
        bar.inc(1);
        finding
    };
    let findings = match jobs {
        Some(jobs) => with_threads(jobs, modules, look),
        None => in_parallel(modules, look),
    };
    bar.finish_and_clear();
    findings
}

fn show(args: &Survey, report: &Report) -> Result<(), Failure> {
    if let Some(path) = &args.markdown {
        replace(path, picture::page(report).as_bytes(), None)?;
    }
    if args.json {
        output::json(report)?;
    } else {
        anstream::print!("{}", picture::lines(&report.modules, args.all));
        anstream::print!("{}", picture::table(&report.modules));
    }
    Ok(())
}

/// The exit code: the worst of what was seen; with a recording, whether everything is as recorded.
fn exit(findings: &[Finding], compared: bool) -> Exit {
    if compared {
        return if findings.iter().all(|finding| finding.agrees != Some(false)) {
            Exit::Clean
        } else {
            Exit::ModuleError
        };
    }
    if findings.iter().any(Finding::went_wrong) {
        Exit::Oops
    } else if findings.iter().any(|finding| !finding.left.is_nothing()) {
        Exit::LeftBehind
    } else {
        Exit::Clean
    }
}
