//! The kernel as a Rust module sees it: a short table of C functions, each with a CRC.
//!
//! A module written with `ferrmod-sdk` imports the functions that `ferrmod-boundary` lists. This room defines them over the
//! safe values of `ferrmod-kernel`, and is the [`World`](ferrmod_kernel::world::World) for modules whose `vermagic` starts with
//! `ferrmod`: no Linux image is needed for them. [`boot()`] adds it to a kernel.
//!
//! Besides that table a Rust module may use `memcpy` and its relatives, which compilers call by themselves. Modules export to
//! each other as Linux modules do, through `__ksymtab`, with CRCs made the same way; a symbol whose CRC is another than the one
//! the module was compiled with is refused by the linker: `disagrees about version of symbol X`.
//!
//! A module never calls a function here directly: every export has a bridge (`ferrmod_linker::bridge`) that notes the caller, so
//! that memory, files and tasks are on the right module's account.
//!
//! # What this crate does not do
//! It decides nothing about loading, knows nothing of Linux's structs beyond `struct kernel_param`, and never names the process
//! or the hardware it runs on.
#![no_std]

extern crate alloc;

mod boot;
mod export;
mod files;
mod functions;
mod parameters;
mod ram;
mod tasks;
mod world;

pub use boot::{BootError, boot};
pub use export::provided;
