//! Running other programs, with what was run in every error.

use std::fmt::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%~".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            let _ = write!(line, " {argument}");
        } else {
            let _ = write!(line, " '{argument}'");
        }
    }
    line
}

/// Runs the command with our own output, and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// Runs the command and returns what it wrote; its errors go to our own stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("read what `{}` wrote", line(command)))
}

/// Whether a program of this name can be started.
pub(crate) fn exists(program: &str) -> bool {
    let found = |folder: std::path::PathBuf| folder.join(program).is_file();
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_quotes_what_a_shell_would_split() {
        assert_eq!(line(Command::new("a").args(["b=c", "d e", ""])), "a b=c 'd e' ''");
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(&mut Command::new("false")).unwrap_err().to_string();
        assert!(error.starts_with("`false` ended with"), "{error}");
        let error = run(&mut Command::new("/nonexistent")).unwrap_err().to_string();
        assert_eq!(error, "start `/nonexistent`");
    }
}
