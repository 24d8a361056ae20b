//! What a tree of modules offers.
//!
//! A tree is the folder of one kernel's modules (`/lib/modules/RELEASE`). [`Tree`] finds trees, and an [`Index`] answers
//! for one of them: where the file of a module is, which modules an alias stands for, what a module needs, who exports a
//! symbol, what is built into the kernel.
//!
//! The answers come from what depmod wrote (`modules.dep`, `modules.alias`, `modules.softdep`) where that is there, and else
//! from the modules themselves. What was learned from the modules is kept in the user's cache folder: first the list of files,
//! which makes the look-up of one name a matter of microseconds, and once somebody asked for it the aliases, exports
//! and dependencies. A cache is never required and never believed against the files: what it says about a file
//! is compared with that file before it is handed out, and what it does not know is looked for in the tree.
//!
//! # What this crate does not do
//!
//! It reads no configuration (`modprobe.d`, `depmod.d`), decides no order of loading and loads nothing. Looking things up writes
//! nothing but the cache; what depmod writes, [`depmod`] makes.
#![forbid(unsafe_code)]

mod cache;
pub mod depmod;
mod file;
mod index;
mod listing;
mod name;
mod offers;
mod parallel;
mod scan;
mod table;
mod text;
mod tree;
pub mod trie;
mod unpack;

pub use ferrmod_image::{fnmatch, normalise_alias};
pub use file::{FileError, FileProblem, MAX_MODULE, read_module, read_packed};
pub use index::{Found, Index, Needs, SoftNeeds, Source};
pub use listing::ModuleFile;
pub use name::{module_name, normalise};
pub use offers::{Offer, OfferingModule, Offers, Progress};
pub use parallel::{in_parallel, in_parallel_reading, with_threads};
pub use scan::Facts;
pub use tree::{Tree, TreeError};
pub use unpack::{Unpacker, unpack};
