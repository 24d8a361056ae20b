//! What the administrator wants: modprobe.d, depmod.d and the kernel command line.
//!
//! [`Config::read`] reads every file that has a say in what `modprobe` does, in the order in which they count, into one value that
//! never changes afterwards. Each directive in it knows its [`Origin`]: the file and line that it stands on, and whether that file
//! may be trusted to run commands. So whoever answers a question with a `Config` can also say which line decided.
//! [`depmod::Config`] is the same for `depmod`, and [`modules_load()`] reads what is to be loaded at boot.
//!
//! Reading never fails. A line that cannot be understood, or a file that cannot be read, becomes a [`Warning`] and everything else
//! counts; a warning knows the columns at fault and can draw a caret under them.
//!
//! Files are opened through a [`Root`], so that a configuration of another system can be read without ever touching the one
//! that runs: neither `..` nor a symbolic link leads out of it.
//!
//! # What this crate does not do
//!
//! It does not look at modules: whether a name stands for one is for the index to say. It decides no order of loading, runs no
//! command and prints nothing.
#![forbid(unsafe_code)]

mod by_name;
mod command_line;
mod config;
pub mod depmod;
mod directive;
mod ere;
mod files;
mod lines;
mod modules_load;
mod name;
mod parse;
mod root;
mod softdep;
mod warning;

pub use config::{Allowed, Config};
pub use directive::{Entry, Kind, Origin, Place};
pub use files::{Folders, Sources};
pub use modules_load::{Listed, modules_listed, modules_load, parse_listed};
pub use root::{FolderEntry, Root};
pub use softdep::{Dependency, SoftDependencies};
pub use warning::{Level, Problem, Warning};
