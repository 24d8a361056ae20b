//! `ferrmod top`: what is loaded, live.

mod act;
mod machine;
mod model;
mod plain;
mod source;
mod terminal;
mod view;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anstream::print;
use clap::Args;

use crate::exit::{Exit, Failure};
pub(crate) use machine::top as of_machine;
pub use model::Column;
use model::Model;
#[cfg(feature = "schema")]
pub(crate) use plain::Report;
use source::{Source, System};

/// Show the loaded modules as they come and go: size, references, holders, taints, state.
///
/// On a terminal this is a live view; `?` in it lists the keys. Enter shows more about the module under the cursor: why it cannot be
/// removed, its parameters, what the kernel's log says about it. Modules can be loaded and unloaded from it; before, what would happen is
/// shown, and asked for.
///
/// Where standard output is no terminal, one table is printed, as with --once.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Top {
    /// Another system's root, with its /proc, /sys and /dev/kmsg as they were kept.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// How often the kernel is asked, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = crate::cli::seconds)]
    pub interval: Duration,
    /// Sort by this column.
    #[arg(long, value_enum, default_value_t, value_name = "COLUMN")]
    pub sort: Column,
    /// Only modules with this in their name or taints.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,
    /// Print one table and end.
    #[arg(long)]
    pub once: bool,
    /// Print one JSON document instead of text (schema: docs/schema/top.md).
    #[arg(long)]
    pub json: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  2  usage
  3  the kernel does not say what is loaded";

/// Runs the command.
///
/// # Errors
/// [`Failure`] when what is loaded cannot be read, or the terminal fails.
pub(crate) fn top(args: &Top) -> Result<Exit, Failure> {
    let mut source = System::new(args.root.clone());
    let mut model = Model::new(args.sort, args.filter.clone(), source.cannot_act());
    model.update(source.read()?);
    if args.json {
        print!("{}", plain::json(&model, &mut source)?);
    } else if args.once || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        print!("{}", plain::table(&model));
    } else {
        terminal::show(&mut model, &mut source, args.root.as_deref(), args.interval)?;
    }
    Ok(Exit::Clean)
}

#[cfg(test)]
mod tests;
