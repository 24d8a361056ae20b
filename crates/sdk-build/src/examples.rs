//! The example modules of this repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::{Options, build};

/// The example modules, in an order in which they can be loaded.
pub const EXAMPLES: [&str; 4] = ["answer", "question", "mailbox", "crash"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest(name: &str) -> PathBuf {
    repository().join("modules").join(name).join("Cargo.toml")
}

fn options(target_dir: PathBuf) -> Options {
    // They use nothing but this repository, so there is nothing to fetch.
    Options { target_dir: Some(target_dir), in_tree: true, offline: true, features: Vec::new() }
}

/// An example module's file, for tests. The first call in a target directory takes a few seconds.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn module(name: &str) -> Vec<u8> {
    static BUILT: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(bytes) = built.get(name) {
        return bytes.clone();
    }
    // Tests lie in `TARGET/PROFILE/deps`.
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().nth(3).filter(|target| target.parent().is_some());
    let target = target.map_or_else(|| repository().join("target"), Path::to_path_buf).join("ferrmod-modules");
    match build(&manifest(name), &options(target)) {
        Ok(module) => {
            built.insert(name.into(), module.bytes.clone());
            module.bytes
        }
        Err(error) => panic!("example module {name}: {error}"),
    }
}

/// For a build script: builds the example modules into `OUT_DIR`, as `NAME.ko`.
///
/// # Panics
/// When one cannot be built.
pub fn build_script() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo runs build scripts with OUT_DIR"));
    for folder in ["modules", "crates/sdk/src", "crates/boundary/src", "crates/sdk/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", repository().join(folder).display());
    }
    for name in EXAMPLES {
        match build(&manifest(name), &options(out.join("modules"))) {
            Ok(module) => {
                let file = out.join(format!("{name}.ko"));
                if let Err(error) = std::fs::write(&file, module.bytes) {
                    panic!("{}: {error}", file.display());
                }
            }
            Err(error) => panic!("example module {name}: {error}"),
        }
    }
}
