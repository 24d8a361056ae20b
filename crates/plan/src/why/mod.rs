//! Whether a module can ever be loaded on a system, by which paths, and which line of which file blocks or allows each.
//!
//! A module comes into a kernel because somebody names it, because a device or a program's request has an alias of it, because a list
//! names it at boot, or because another module needs or wishes it. [`answer`] goes through all of these [`Path`]s for one module,
//! as far as files tell, and judges each by what stands in its way: configuration, the kernel's own rules, files that are not there.
//! What a directive stops and what it does not is told by [`Effect`], which the tools' explanations use as well.
//!
//! # What this module does not do
//!
//! It reads no file of the system but the tree's indexes: devices, lists, the initramfs and the judgement of the module's file come as
//! values ([`System`], [`Subject`]). It does not know whether a program will ever ask for an alias. `symbol:` aliases, by which the
//! kernel asks for the exporter of a symbol, are not taken for paths: two drivers use them, and they would be listed for every second
//! module.

mod aliases;
mod command;
mod effect;
mod facts;
mod hindrance;
mod initramfs;
mod path;
mod probe;
mod text;
mod walk;

pub use aliases::{Group, group, is_device_alias};
pub use command::{Command, classify, loads};
pub use effect::{Directive, Door, Effect, Force};
pub use facts::{Device, Initramfs, InitramfsContents, Judgement, List, Loaded, Node, Reader, Subject, System, nodes};
pub use hindrance::{Absence, Condition, Hindrance};
pub use path::{Answer, Note, Path, Verdict, Way};
pub use walk::{Facts, answer};

use ferrmod_config::{Entry, Place};

use crate::check::Origin;

/// Where a directive stands, with its words.
#[must_use]
pub fn origin(entry: &Entry<'_>) -> Origin {
    let mut text = Vec::new();
    entry.write_to(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    match entry.origin.place {
        Place::File(path) => {
            Origin { source: path.display().to_string(), line: usize::try_from(entry.origin.line).ok(), text }
        }
        Place::CommandLine => {
            let text = match entry.kind {
                ferrmod_config::Kind::Blacklist | ferrmod_config::Kind::Mask | ferrmod_config::Kind::Allow => {
                    format!("modprobe.{}={}", entry.kind.word(), entry.name)
                }
                _ => text,
            };
            Origin { source: "kernel command line".to_owned(), line: None, text }
        }
    }
}
