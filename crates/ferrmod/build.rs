//! Builds the example modules that `ferrmod` without arguments loads.

fn main() {
    ferrmod_sdk_build::build_script();
}
