//! The sets of tools that a guest can have: ours, and Debian's of two releases.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use ferrmod_tests::corpus;

use crate::root::{NAMES, Root};

/// A set of tools: one binary of many names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tools {
    /// Ours, built for this test.
    Ours,
    /// The kmod of this machine: Debian 12's, to mean anything.
    Installed,
    /// Debian 13's, unpacked with its libraries in this folder.
    Unpacked(PathBuf),
}

impl Tools {
    /// Debian 12's, or `None` with a loud word.
    pub(crate) fn installed_or_skip() -> Option<Self> {
        let version = Command::new("/bin/kmod").arg("--version").stderr(Stdio::null()).output();
        let found = version.is_ok_and(|output| output.stdout.starts_with(b"kmod version 30"));
        if !found {
            corpus::skip("kmod 30", "install Debian 12's package kmod");
        }
        found.then_some(Self::Installed)
    }

    /// Debian 13's, or `None` with a loud word.
    pub(crate) fn unpacked_or_skip() -> Option<Self> {
        let folder = corpus::folder().join("kmod34");
        let found = folder.join("usr/bin/kmod").is_file();
        if !found {
            corpus::skip("kmod 34", "run `cargo xtask corpus`");
        }
        found.then_some(Self::Unpacked(folder))
    }

    /// Puts the tools into a guest, and with ours nothing else.
    pub(crate) fn install(&self, root: &Root) {
        match self {
            Self::Ours => root.program("usr/bin/kmod", ours()),
            Self::Installed => {
                root.program("usr/bin/kmod", Path::new("/bin/kmod"));
                for library in libraries(Path::new("/bin/kmod")) {
                    root.program(
                        library.to_str().expect("a library has a plain name").trim_start_matches('/'),
                        &library,
                    );
                }
            }
            Self::Unpacked(folder) => {
                root.program("usr/bin/kmod", &folder.join("usr/bin/kmod"));
                let libraries = folder.join(LIBRARIES);
                root.program(&format!("usr/lib64/{LINKER}"), &libraries.join(LINKER));
                for name in ["libc.so.6", "libzstd.so.1", "liblzma.so.5", "libz.so.1", "libcrypto.so.3"] {
                    root.program(&format!("{LIBRARIES}/{name}"), &libraries.join(name));
                }
            }
        }
        for name in NAMES {
            root.link(&format!("usr/sbin/{name}"), "../bin/kmod");
        }
    }
}

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LINKER: &str = "ld-linux-x86-64.so.2";

/// What a program is linked to, by ldd(1).
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// The first process of a guest, linked statically; built once a test run.
pub(crate) fn init() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("ferrmod-tests", "live_init"))
}

/// Our tools, linked statically; built once a test run.
fn ours() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| env::var_os("FERRMOD_LIVE_TOOLS").map_or_else(|| build("ferrmod-tools", "kmod"), Into::into))
}

/// `ferrmod` itself with the libraries it needs, if any: the file that `FERRMOD_LIVE_FERRMOD` names (from the workspace's folder on), or
/// one that is built once a test run.
pub(crate) fn install_ferrmod(root: &Root) {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| match env::var_os("FERRMOD_LIVE_FERRMOD") {
        Some(file) => Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file),
        None => build("ferrmod", "ferrmod"),
    });
    root.program("usr/bin/ferrmod", built);
    for library in libraries(built) {
        root.program(library.to_str().expect("a library has a plain name").trim_start_matches('/'), &library);
    }
}

/// Builds a binary, in a target folder of its own: the flags are not those of other builds.
fn build(package: &str, binary: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--release", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")])
        .args(["--package", package, "--bin", binary, "--target", "x86_64-unknown-linux-gnu"])
        .args(["--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("live-target"))
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "{package} does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let (_, rest) = messages.rsplit_once("\"executable\":\"").expect("cargo names what it built");
    PathBuf::from(rest.split('"').next().expect("a string has an end"))
}
