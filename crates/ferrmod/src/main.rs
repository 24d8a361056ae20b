//! The `ferrmod` command.

fn main() -> std::process::ExitCode {
    ferrmod::main(std::env::args_os())
}
