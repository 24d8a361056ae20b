//! Bytes become code: a module's sections are placed, bound, relocated and fixed up.
//!
//! An [`Image`](ferrmod_image::Image) says what a file contains. This crate decides where each section goes
//! ([`Layout`]), binds the names it imports to what a kernel offers ([`SymbolTable`]), writes every relocation, and
//! applies the fix-ups Linux applies before a module's first instruction runs ([`link()`]). It does so for a caller who owns
//! the memory: the addresses come in as a [`Placement`], the bytes go out into [`Parts`], and what the kernel must
//! remember comes back as [`Linked`].
//!
//! ```text
//! Image ─check::check→ Report ─Layout::of→ Layout ─(caller allocates)→ Placement ─link→ Linked + filled Parts
//! ```
//!
//! The order of the checks, the texts and the error numbers are those of Linux 6.1, because an administrator reads them;
//! where Linux does not look (a relocation outside its section, a table entry that points outside the module) this crate
//! refuses with a text of its own and `ENOEXEC`.
//!
//! Nothing is printed here. What Linux would print is returned as [`Notice`]s in order, each with its level and with how
//! often Linux prints it, so that a kernel can print or suppress it.
//!
//! # What this crate does not do
//!
//! It allocates no executable memory and changes no protection; it runs no module code; it keeps no list of modules; it
//! checks no signature. It does not decide what a kernel offers: that is the caller's [`SymbolTable`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod alternatives;
mod bind;
pub mod bridge;
pub mod check;
mod error;
mod fixups;
mod layout;
mod link;
mod linked;
pub mod orc;
mod place;
mod relocate;
mod report;
mod symbols;
mod tables;

pub use error::{LinkError, Refused, errno};
pub use fixups::{Branch, BranchCode};
pub use layout::{Layout, LayoutOptions, PartKind, PartLayout, PerCpuLayout, SectionPlace};
pub use link::{Terms, link};
pub use linked::{
    Bug, Deferred, Exception, ExportedSymbol, Linked, NameRef, StaticCall, Symbol, SymbolView, Table, Tables,
};
pub use place::{PartBuffers, Parts, Placement};
pub use report::{Level, Notice, Repeat, Report, Taints};
pub use symbols::{BindError, Found, Owner, OwnerId, SymbolTable};
