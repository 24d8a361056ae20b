//! From a Rust crate to a `.ko` file, with nothing but the Rust toolchain.
//!
//! `cargo` compiles the crate and what it uses into an archive of objects. [`assemble()`] makes one relocatable file of it: it keeps
//! the sections that the module's entry points, parameters and exports lead to, merges them under the names a Linux module has,
//! and writes what only the whole can know — `depends=`, and a `__versions` record for each imported symbol, which is
//! `modpost`'s part in a kernel build. No linker, `objcopy` or script is needed.
//!
//! ```no_run
//! # fn main() -> Result<(), ferrmod_sdk_build::BuildError> {
//! let built = ferrmod_sdk_build::build("hello/Cargo.toml".as_ref(), &ferrmod_sdk_build::Options::default())?;
//! std::fs::write(format!("{}.ko", built.name), built.bytes).expect("a writable directory");
//! # Ok(())
//! # }
//! ```
//!
//! # What this crate does not do
//! It checks no code and signs nothing, and it builds no C: modules for Linux's own interface are built with kbuild.
#![forbid(unsafe_code)]

mod assemble;
mod cargo;
mod examples;
mod objects;
mod output;

pub use assemble::{AssembleError, Assembled, assemble};
pub use cargo::{BuildError, Options, build};
pub use examples::{EXAMPLES, build_script, module};
