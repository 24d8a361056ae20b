//! `modprobe -c`: the configuration as it is understood, and the aliases and symbols of the tree.

use ferrmod_config::Kind;
use ferrmod_plan::kmod::Table;

use super::{Context, json};
use crate::session::{Session, Status};

/// The directives in the order in which kmod prints them, ours behind them.
pub(super) const KINDS: [Kind; 9] = [
    Kind::Blacklist,
    Kind::Install,
    Kind::Remove,
    Kind::Alias,
    Kind::Options,
    Kind::Softdep,
    Kind::Weakdep,
    Kind::Mask,
    Kind::Allow,
];

/// Prints it.
pub(super) fn show(session: &mut Session, context: &Context<'_>) -> Status {
    if context.request.json {
        json::config(&mut session.out, context);
        return Status::Success;
    }
    let mut text = Vec::new();
    for kind in KINDS {
        for entry in context.modules.config.entries(kind) {
            entry.write_to(&mut text);
            text.push(b'\n');
        }
    }
    text.extend_from_slice(b"\n# End of configuration files. Dumping indexes now:\n\n");
    session.out.add(&text);
    for table in [Table::Aliases, Table::Symbols] {
        context.modules.indexes.lines(table, b"alias ", |lines| session.out.add(lines));
    }
    Status::Success
}
