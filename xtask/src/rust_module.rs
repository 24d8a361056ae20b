//! `cargo xtask build-module`: a `.ko` file from a Rust crate.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ferrmod_sdk_build::Options;

/// What to build
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The crate's folder, or its Cargo.toml
    path: PathBuf,
    /// The file to write; by default NAME.ko in the current folder
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Never use the network
    #[arg(long)]
    offline: bool,
}

pub(crate) fn build(arguments: &Arguments) -> Result<()> {
    let path = &arguments.path;
    let manifest = if path.is_dir() { path.join("Cargo.toml") } else { path.clone() };
    let manifest = manifest.canonicalize().with_context(|| format!("{}", manifest.display()))?;
    // Not in the crate's own target folder, whose flags are others, and so that what the SDK is made of is made once.
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    let target_dir = Some(target.join("ferrmod-modules"));
    let options = Options { offline: arguments.offline, target_dir, ..Options::default() };
    let module = ferrmod_sdk_build::build(&manifest, &options)?;
    let output = arguments.output.clone().unwrap_or_else(|| Path::new(&module.name).with_extension("ko"));
    std::fs::write(&output, &module.bytes).with_context(|| format!("write {}", output.display()))?;
    println!("{}: module {}, {} bytes", output.display(), module.name, module.bytes.len());
    Ok(())
}
