//! Running cargo for a module.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{AssembleError, Assembled, assemble};

/// How a module is built.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where cargo keeps what it makes; `target/ferrmod` beside the manifest when there is none. It must not be one that
    /// another cargo has locked, as that of the cargo that runs a build script.
    pub target_dir: Option<PathBuf>,
    /// The module is built together with the kernel it is for: it does not taint it.
    pub in_tree: bool,
    /// Never use the network.
    pub offline: bool,
    /// Cargo features of the module's package.
    pub features: Vec<String>,
}

/// Why no module was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo cannot be run.
    #[error("cargo cannot be run: {0}; is the Rust toolchain in PATH?")]
    Run(std::io::Error),
    /// The compiler refused.
    #[error("the module at {manifest} does not compile:\n{output}")]
    Compile {
        /// The package's manifest.
        manifest: PathBuf,
        /// What cargo said.
        output: String,
    },
    /// The compiler made nothing to work on.
    #[error("cargo built no library from {manifest}; has the package a [lib]?")]
    NoArchive {
        /// The package's manifest.
        manifest: PathBuf,
    },
    /// The archive cannot be read from disk.
    #[error("{path}: {error}")]
    Read {
        /// The archive.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What the compiler made is no module.
    #[error("{manifest}: {error}")]
    Assemble {
        /// The package's manifest.
        manifest: PathBuf,
        /// Why.
        error: AssembleError,
    },
}

/// Settings of a module's own code. No red zone, because a kernel may use the stack below it at any time; frame pointers, because a
/// back-trace follows them.
const FLAGS: [&str; 2] = ["-Cno-redzone=yes", "-Cforce-frame-pointers=yes"];

/// What a profile of the module's workspace would say otherwise.
const PROFILE: [(&str, &str); 8] = [
    ("PANIC", "abort"),
    ("OPT_LEVEL", "s"),
    ("DEBUG", "0"),
    ("CODEGEN_UNITS", "1"),
    ("LTO", "off"),
    ("INCREMENTAL", "false"),
    ("OVERFLOW_CHECKS", "true"),
    ("STRIP", "none"),
];

/// Builds the module whose package has this manifest.
///
/// # Errors
/// [`BuildError`], with the compiler's own messages.
pub fn build(manifest: &Path, options: &Options) -> Result<Assembled, BuildError> {
    let target_dir = options.target_dir.clone().unwrap_or_else(|| {
        let package = manifest.parent().unwrap_or(Path::new("."));
        package.join("target").join("ferrmod")
    });
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["rustc", "--lib", "--crate-type", "staticlib", "--release"])
        .args(["--message-format", "json-render-diagnostics", "--color", "never"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target_dir)
        .stdin(Stdio::null());
    if options.offline {
        cargo.arg("--offline");
    }
    if !options.features.is_empty() {
        cargo.arg("--features").arg(options.features.join(","));
    }
    for name in std::env::vars_os().map(|(name, _)| name).filter(of_the_outer_cargo) {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    for (setting, value) in PROFILE {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    let output = cargo.output().map_err(BuildError::Run)?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BuildError::Compile { manifest: manifest.into(), output });
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = archive_in(&messages).ok_or_else(|| BuildError::NoArchive { manifest: manifest.into() })?;
    let archive = std::fs::read(&path).map_err(|error| BuildError::Read { path, error })?;
    assemble(&archive, options.in_tree).map_err(|error| BuildError::Assemble { manifest: manifest.into(), error })
}

/// Whether a variable tells about the cargo that started this program (as a build script or a test) and would steer the one
/// for the module: everything but the home, the registries and the network.
fn of_the_outer_cargo(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    if matches!(name, "RUSTFLAGS" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "RUSTDOCFLAGS") {
        return true;
    }
    let kept = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_MAKEFLAGS"];
    name.starts_with("CARGO") && !kept.iter().any(|kept| name.starts_with(kept))
}

/// The archive that cargo's messages (one JSON object a line) name: a string that ends in `.a`.
fn archive_in(messages: &str) -> Option<PathBuf> {
    let line = messages.lines().rfind(|line| {
        line.contains(r#""reason":"compiler-artifact""#) && line.contains(r#""crate_types":["staticlib"]"#)
    })?;
    let (_, files) = line.split_once(r#""filenames":["#)?;
    strings(files.split_once(']').map_or(files, |(files, _)| files))
        .find(|file| file.ends_with(".a"))
        .map(PathBuf::from)
}

/// The strings of a JSON array of strings.
fn strings(array: &str) -> impl Iterator<Item = String> + '_ {
    let mut letters = array.chars();
    std::iter::from_fn(move || {
        letters.find(|&letter| letter == '"')?;
        let mut string = String::new();
        loop {
            match letters.next()? {
                '"' => return Some(string),
                // A path has no control letters, so what is escaped stands for itself.
                '\\' => string.push(letters.next()?),
                letter => string.push(letter),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"crate_types":["lib"]},"filenames":["/x/libsdk.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"crate_types":["staticlib"]},"filenames":["/a \"b\"/libx.a"],"x":1}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(archive_in(messages), Some(PathBuf::from("/a \"b\"/libx.a")));
        assert_eq!(archive_in(""), None);
    }

    #[test]
    fn the_outer_cargo_is_not_heard() {
        let outer = |name: &str| of_the_outer_cargo(&name.into());
        assert!(outer("CARGO_TARGET_DIR") && outer("CARGO_PKG_NAME") && outer("RUSTC_WORKSPACE_WRAPPER"));
        assert!(outer("CARGO_ENCODED_RUSTFLAGS") && outer("CARGO"));
        assert!(!outer("CARGO_HOME") && !outer("PATH") && !outer("CARGO_NET_OFFLINE"));
    }
}
