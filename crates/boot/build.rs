//! Links the kernel as a freestanding static image at its own addresses. Nothing here needs more than stable Rust.

use std::env;
use std::path::Path;

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let script = Path::new(&folder).join("linker.ld");
    println!("cargo:rerun-if-changed={}", script.display());
    println!("cargo:rerun-if-changed=build.rs");

    // On a *-none target the linker is called directly, elsewhere through the C compiler.
    let direct = env::var("TARGET").unwrap_or_default().ends_with("-none");
    if direct {
        println!("cargo:rustc-link-arg-bins=--no-pie");
    } else {
        for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
    }
    let prefix = if direct { "" } else { "-Wl," };
    let script = format!("-T{}", script.display());
    for argument in
        [&script, "--build-id=none", "--no-eh-frame-hdr", "--gc-sections", "-znorelro", "-zmax-page-size=4096"]
    {
        println!("cargo:rustc-link-arg-bins={prefix}{argument}");
    }
}
