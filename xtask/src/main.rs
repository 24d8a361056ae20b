//! The project's own chores, run as `cargo xtask CHORE`.
//!
//! Real input is fetched (`corpus`), modules in C are built with the stock kbuild (`modules`), and
//! the whole of CI is one list of named steps (`ci`), so that what the CI machine does is what a
//! developer can do.
//!
//! # What this crate does not do
//!
//! It knows nothing about modules: everything about them is in the other crates.

#![forbid(unsafe_code)]

mod apt;
mod apt_sources;
mod bench;
mod ci;
mod command;
mod corpus;
mod kernel_api;
mod modules;
mod oracle;
mod rust_module;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own chores
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Fetch Debian's 6.1 and 6.12 kernels and its kmod with apt and unpack them into the cache folder
    Corpus,
    /// Build the C modules of tests/modules with kbuild against the fetched 6.1 headers
    Modules,
    /// Make a .ko file of a Rust crate written with ferrmod-sdk
    BuildModule(rust_module::Arguments),
    /// Write docs/kernel-api.md: which symbols are implemented, constant or absent
    KernelApi,
    /// Record what Debian's kernels do with each of their modules, in QEMU with Debian's modprobe
    Oracle(oracle::Options),
    /// Measure: the tools against Debian's kmod 30 and 34.2
    Bench(bench::Options),
    /// Run every step of CI
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Corpus => corpus::fetch(),
        Chore::Modules => modules::build(),
        Chore::BuildModule(arguments) => rust_module::build(&arguments),
        Chore::KernelApi => kernel_api::write(),
        Chore::Oracle(options) => oracle::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Ci(options) => ci::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
