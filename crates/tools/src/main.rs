//! The drop-in tools without the machine: small enough for an initramfs.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ferrmod_tools::main(std::env::args_os()).unwrap_or(std::process::ExitCode::FAILURE)
}
