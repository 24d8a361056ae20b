//! Builds a module: `cargo run -p ferrmod-sdk-build --example build_module -- PATH/Cargo.toml [FILE.ko]`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let manifest = arguments.next().ok_or("the path of the module's Cargo.toml is missing")?;
    let started = std::time::Instant::now();
    let module = ferrmod_sdk_build::build(manifest.as_ref(), &ferrmod_sdk_build::Options::default())?;
    let file = arguments.next().map_or_else(|| format!("{}.ko", module.name).into(), std::path::PathBuf::from);
    std::fs::write(&file, &module.bytes)?;
    println!("{}: {} bytes in {} ms", file.display(), module.bytes.len(), started.elapsed().as_millis());
    Ok(())
}
