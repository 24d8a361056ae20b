//! Whether what is loaded should be, and what is hidden.
//!
//! [`audit()`] looks at a kernel (the running one, or what was kept of one), at the tree of modules that belongs to it and at the
//! database of packages, and answers with an [`Audit`]: every module with what is known of it, every view in which the kernel shows
//! its modules, every setting that matters, and the [`Finding`]s: each has a [`Rule`] with an identifier that does not change, a
//! [`Severity`], and its [`Evidence`] as data. Of a tree that no kernel runs, it looks at what is installed.
//!
//! What could not be looked at is a finding, too: nothing is passed over in silence.
//!
//! A [`Baseline`] is what was found good before; [`Follow`] tells what is loaded and unloaded as it happens.
//!
//! # What this crate does not do
//! It prints nothing, loads nothing, and does not find the certificates that a kernel trusts: who calls it hands them over. It reads
//! dpkg's database, asks the program `rpm` for rpm's, and knows no other. It believes the kernel's files: who controls the kernel can make all of them lie alike, and a
//! machine that may be owned is to be looked at from outside as well.
#![forbid(unsafe_code)]

mod audit;
mod baseline;
mod drivers;
mod file;
mod finding;
mod follow;
mod judge;
mod module;
mod note;
mod owners;
mod packages;
mod rpm;
mod rule;
mod settings;
mod sum;
mod taint;
mod views;

pub use audit::{Audit, AuditError, Options, PackageDatabase, Subject, Tree, audit};
pub use baseline::{Baseline, BaselineError, BaselineModule};
pub use drivers::in_use as modules_with_devices;
pub use file::{ModuleFile, Signature};
pub use finding::{Evidence, Finding, Source};
pub use follow::{By, Change, Event, Follow};
pub use module::{Loaded, Module};
pub use note::build_id;
pub use owners::{Owner, owner, owners};
pub use packages::{Diversion, ListFault, Packaged, Packages, parse_diversions, parse_md5sums};
pub use rpm::{RpmFile, parse_rpm};
pub use rule::{Rule, Severity};
pub use settings::Setting;
pub use sum::{CheckSum, Md5Sum};
pub use taint::Taint;
pub use views::{View, ViewName};
