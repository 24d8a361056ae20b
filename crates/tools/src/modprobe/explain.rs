//! Who decided what: the lines of `--explain`.

use std::path::Path;

use bstr::BString;
use ferrmod_config::Entry;
use ferrmod_image::shown;
use ferrmod_index::{Index, Tree};
use ferrmod_plan::kmod::{Action, Forbidden, How, Module, Reason, Remove, RemoveAction, RemoveReason, Step};
use ferrmod_plan::why::Effect;

use crate::output::Output;
use crate::session::Session;

/// Adds a line of explanation.
fn line(out: &mut Output, text: &str) {
    comment(out, "  ", text);
}

/// Adds a comment: a name with a newline does not leave it, what is printed may go to a shell.
fn comment(out: &mut Output, indent: &str, text: &str) {
    out.put(&[b"# ", indent.as_bytes(), shown(text.as_bytes()).as_bytes(), b"\n"]);
}

/// What a line of modprobe.d that keeps a module out stops, and what it does not, as `ferrmod why` says it.
fn effect(entry: &Entry<'_>) -> Vec<String> {
    Effect::of(entry).map(|effect| effect.lines()).unwrap_or_default()
}

/// The same behind an error, set in; nothing when nobody wants to know.
pub(super) fn told(session: &mut Session, wanted: bool, entry: &Entry<'_>) {
    if wanted || session.log.is_terminal() {
        let lines = effect(entry);
        session.log.more(&format!("  {} {} ({})", entry.kind.word(), entry.name, entry.origin));
        lines.iter().for_each(|line| session.log.more(&format!("    {line}")));
    }
}

/// Why a name stands for nothing, as far as the folder of the modules tells, set in.
pub(super) fn absent(folder: &Path, name: &str) -> Vec<String> {
    if !folder.is_dir() {
        return vec!["  there is no such folder: the modules of this kernel are not installed".to_owned()];
    }
    let index = Index::with_cache(Tree::at(folder), None);
    if let Ok(Some(module)) = index.file(name) {
        return vec![format!("  {} is there, and the indexes do not know it: run depmod", module.path.display())];
    }
    let nearest = index.nearest(name).unwrap_or_default();
    if nearest.is_empty() { Vec::new() } else { vec![format!("  did you mean {}?", nearest.join(" or "))] }
}

/// Who says that a name stands for the module.
pub(super) fn how(module: &Module<'_>) -> String {
    match &module.how {
        How::Path => "it was given as a file".into(),
        How::ConfiguredAlias(entry) => format!("alias {} ({})", entry.name, entry.origin),
        How::Name => "it is the module's name (modules.dep)".into(),
        How::Symbol => "the module exports the symbol (modules.symbols)".into(),
        How::Command(entry) => format!("{} line of this name ({})", entry.kind.word(), entry.origin),
        How::Alias(pattern) => format!("alias {pattern} (modules.alias)"),
        How::Builtin => "it is built in (modules.builtin)".into(),
        How::BuiltinAlias(pattern) => format!("alias {pattern} (modules.builtin.alias)"),
        How::Dependency => "it is needed (modules.dep)".into(),
    }
}

/// Why a module is among those that are loaded.
pub(super) fn reason(reason: &Reason<'_>) -> String {
    match reason {
        Reason::Asked => "it is what was asked for".into(),
        Reason::NeededBy(module) => format!("{module} needs it (modules.dep)"),
        Reason::SoftdepOf { module, before, entry } => {
            format!("softdep {} {module} ({})", if *before { "before" } else { "after" }, entry.origin)
        }
    }
}

/// What `-R --explain` adds to a name.
pub(super) fn found(out: &mut Output, module: &Module<'_>) {
    line(out, &how(module));
}

/// What `-n --explain` and `-D --explain` add to a step. Steps that kmod does not show are named.
pub(super) fn step(out: &mut Output, step: &Step<'_>) {
    line(out, &format!("{}: {}", step.module.name, reason(&step.reason)));
    if !matches!(step.module.how, How::Dependency) {
        line(out, &format!("found: {}", how(&step.module)));
    }
    match &step.action {
        Action::Run(entry) => {
            line(out, &format!("install {} ({})", entry.name, entry.origin));
            effect(entry).iter().for_each(|text| line(out, &format!("  {text}")));
        }
        Action::Absent => line(out, "there is no such module"),
        Action::Forbidden(Forbidden::Masked(entry)) => line(out, &format!("masked ({})", entry.origin)),
        Action::Forbidden(Forbidden::NotAllowed(entry)) => {
            line(out, &format!("not named by an allow line (the first: {})", entry.origin));
        }
        Action::Insert(_) | Action::Builtin => {}
    }
    for entry in &step.options {
        line(out, &format!("options {} {} ({})", entry.name, entry.value, entry.origin));
    }
}

/// What `--explain` prints of a module that the blacklist keeps out.
pub(super) fn blacklisted(out: &mut Output, module: &Module<'_>, entry: &Entry<'_>) {
    comment(out, "", &format!("{} is not loaded", module.name));
    line(out, &format!("found: {}", how(module)));
    line(out, &format!("blacklist {} ({})", entry.name, entry.origin));
    effect(entry).iter().for_each(|text| line(out, &format!("  {text}")));
}

/// What `-r -n --explain` adds to a step.
pub(super) fn removal(out: &mut Output, step: &Remove<'_>) {
    let why = match &step.reason {
        RemoveReason::Asked => "it is what was asked for".into(),
        RemoveReason::HolderOf(module) => format!("it uses {module}"),
        RemoveReason::UnusedBy(module) => format!("{module} needed it, and nobody uses it any more"),
        RemoveReason::SoftdepOf { module, entry } => format!("softdep of {module} ({})", entry.origin),
    };
    line(out, &format!("{}: {why}", step.name));
    if let RemoveAction::Run(entry) = &step.action {
        line(out, &format!("remove {} ({})", entry.name, entry.origin));
    }
}

/// Who uses a module that was to be removed.
pub(super) fn in_use(session: &mut Session, references: i64, holders: &[BString]) {
    let modules = usize::try_from(references).unwrap_or(0);
    let text = if holders.is_empty() {
        format!("  it has {references} uses, none of them by a module: mounts, devices or programs that are open")
    } else {
        let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
        let others = modules.saturating_sub(holders.len());
        let more = if others > 0 { format!(", and {others} uses that are not modules") } else { String::new() };
        format!("  used by {}{more}; --remove-holders removes the modules that use it first", names.join(" "))
    };
    session.log.more(&text);
}
